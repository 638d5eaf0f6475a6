//! Values inside quotes and here-documents: what is refused, wherever the root lies.

use crate::mistakes::told_of;
use crate::support::Project;

#[test]
fn a_value_in_a_here_document() {
    let text = "[vars]\nname = \"Ada L\"\n[dataset.s]\npath = \"in put\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\n\
        run = \"\"\"\npython3 - <<'PY'\nopen('{{ inputs.s }}', '{{ vars.name }}', '{{ output }}')\nPY\n\
        cat <<EOF\n{{ inputs.s }}\nEOF\nx=`cat {{ output }}`\n\"\"\"\n";
    insta::assert_snapshot!(told_of(text), @r#"
    inside-quotes

      × `inputs.s` stands in a here-document, and its value needs quotes: in put
        ╭─[pipeline.toml:13:7]
     12 │ python3 - <<'PY'
     13 │ open('{{ inputs.s }}', '{{ vars.name }}', '{{ output }}')
        ·       ───────┬──────
        ·              ╰── in a here-document
     14 │ PY
        ╰────
      help: read KILN_INPUT_S from the environment there, as Python does with
            os.environ["KILN_INPUT_S"]

    inside-quotes

      × `vars.name` stands in a here-document, and its value needs quotes: Ada L
        ╭─[pipeline.toml:13:25]
     12 │ python3 - <<'PY'
     13 │ open('{{ inputs.s }}', '{{ vars.name }}', '{{ output }}')
        ·                         ───────┬───────
        ·                                ╰── in a here-document
     14 │ PY
        ╰────
      help: hand it over as an argument, as in `python3 - {{ vars.name }} <<'PY'`, and read that

    inside-quotes

      × `inputs.s` stands in a here-document, and its value needs quotes: in put
        ╭─[pipeline.toml:16:1]
     15 │ cat <<EOF
     16 │ {{ inputs.s }}
        · ───────┬──────
        ·        ╰── in a here-document
     17 │ EOF
        ╰────
      help: write $KILN_INPUT_S: the shell fills it in

    inside-quotes

      × `output` stands inside backticks, `${…}` or `$'…'`, where a path cannot be quoted
        ╭─[pipeline.toml:18:8]
     17 │ EOF
     18 │ x=`cat {{ output }}`
        ·        ──────┬─────
        ·              ╰── no place for a path
     19 │ """
        ╰────
      help: write $(…) in place of backticks, or give it to a variable before: x={{ output }}
    pipeline.toml: 4 mistakes
    "#);
}

#[test]
fn where_the_root_lies_does_not_matter_for_quotes() {
    let text = "[pipeline]\nformat = 1\nname = \"p\"\n[folder.f]\npath = \"o/f\"\nrun = \"echo x >\\\"{{ output }}/x.txt\\\"\"\n\
        [dataset.here]\npath = \"o/here\"\ninputs = [\"f\"]\n\
        run = \"\"\"\nsh -s <<'E'\ncat '{{ inputs.f }}'/x.txt >\"{{ output }}\"\nE\n\"\"\"\n";
    let project = Project::new("");
    for root in ["plain", "two words"] {
        project.write(&format!("{root}/pipeline.toml"), text);
        let file = format!("{root}/pipeline.toml");
        project.expect(0, &["check", &file]);
        project.expect(0, &["run", "-f", &file]);
        assert_eq!(project.read(&format!("{root}/o/f/x.txt")), "x\n");
    }
    assert_eq!(project.read("two words/o/here"), "x\n");
}
