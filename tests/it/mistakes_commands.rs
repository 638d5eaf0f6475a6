//! What is wrong with commands: templates, quotes, ages, variables, shells.
#![expect(clippy::too_many_lines, reason = "what is told is long")]

use crate::mistakes::{refused, told_of};
use crate::support::Project;

#[test]
fn names_that_a_template_does_not_know() {
    let text = "[vars]\ncountry = \"FR\"\n[dataset.s]\npath = \"s\"\n[dataset.table]\n[dataset.a]\npath = \"a\"\n\
        inputs = [\"s\", \"table\"]\nrun = \"\"\"\ncat {{ inputs.t }} \\\n  {{ inputs.table }} {{ vars.contry }} {{ inputs.a }}\n\
        echo \\\"{{ ouput }}\\\" {{ outputs.b }} {{}} {{ a b }} {{ x\n\"\"\"\n\
        [task.t]\nrun = [\"echo\", \"{{ output }}\", \"x {{ vars.day }}\"]\n";
    insta::assert_snapshot!(told_of(text), @r#"
        undefined-name

          × `inputs.t` is not defined in `a`
            ╭─[pipeline.toml:13:5]
         12 │ run = """
         13 │ cat {{ inputs.t }} \
            ·     ───────┬──────
            ·            ╰── this name
         14 │   {{ inputs.table }} {{ vars.contry }} {{ inputs.a }}
            ╰────
          help: its inputs are: s, table

        undefined-name

          × `inputs.table` is not defined in `a`
            ╭─[pipeline.toml:14:3]
         13 │ cat {{ inputs.t }} \
         14 │   {{ inputs.table }} {{ vars.contry }} {{ inputs.a }}
            ·   ─────────┬────────
            ·            ╰── this name
         15 │ echo \"{{ ouput }}\" {{ outputs.b }} {{}} {{ a b }} {{ x
            ╰────
          help: dataset `table` has no path: give it one

        undefined-name

          × `vars.contry` is not defined in `a`
            ╭─[pipeline.toml:14:22]
         13 │ cat {{ inputs.t }} \
         14 │   {{ inputs.table }} {{ vars.contry }} {{ inputs.a }}
            ·                      ────────┬────────
            ·                              ╰── this name
         15 │ echo \"{{ ouput }}\" {{ outputs.b }} {{}} {{ a b }} {{ x
            ╰────
          help: did you mean `vars.country`?

        undefined-name

          × `inputs.a` is not defined in `a`
            ╭─[pipeline.toml:14:40]
         13 │ cat {{ inputs.t }} \
         14 │   {{ inputs.table }} {{ vars.contry }} {{ inputs.a }}
            ·                                        ───────┬──────
            ·                                               ╰── this name
         15 │ echo \"{{ ouput }}\" {{ outputs.b }} {{}} {{ a b }} {{ x
            ╰────
          help: it is an output: write `outputs.a`

        undefined-name

          × `ouput` is not defined in `a`
            ╭─[pipeline.toml:15:8]
         14 │   {{ inputs.table }} {{ vars.contry }} {{ inputs.a }}
         15 │ echo \"{{ ouput }}\" {{ outputs.b }} {{}} {{ a b }} {{ x
            ·        ─────┬─────
            ·             ╰── this name
         16 │ """
            ╰────
          help: did you mean `output`?

        undefined-name

          × `outputs.b` is not defined in `a`
            ╭─[pipeline.toml:15:22]
         14 │   {{ inputs.table }} {{ vars.contry }} {{ inputs.a }}
         15 │ echo \"{{ ouput }}\" {{ outputs.b }} {{}} {{ a b }} {{ x
            ·                      ───────┬───────
            ·                             ╰── this name
         16 │ """
            ╰────
          help: its outputs are: a

        bad-template

          × there is no name between the braces
            ╭─[pipeline.toml:15:38]
         14 │   {{ inputs.table }} {{ vars.contry }} {{ inputs.a }}
         15 │ echo \"{{ ouput }}\" {{ outputs.b }} {{}} {{ a b }} {{ x
            ·                                      ──┬─
            ·                                        ╰── here
         16 │ """
            ╰────
          help: a template is a name between `{{` and `}}`; `{{ '{{' }}` writes the braces themselves

        bad-template

          × `a b` is not a name
            ╭─[pipeline.toml:15:43]
         14 │   {{ inputs.table }} {{ vars.contry }} {{ inputs.a }}
         15 │ echo \"{{ ouput }}\" {{ outputs.b }} {{}} {{ a b }} {{ x
            ·                                           ────┬────
            ·                                               ╰── here
         16 │ """
            ╰────
          help: a template is a name between `{{` and `}}`; `{{ '{{' }}` writes the braces themselves

        bad-template

          × `{{` has no `}}`
            ╭─[pipeline.toml:15:53]
         14 │   {{ inputs.table }} {{ vars.contry }} {{ inputs.a }}
         15 │ echo \"{{ ouput }}\" {{ outputs.b }} {{}} {{ a b }} {{ x
            ·                                                     ─┬
            ·                                                      ╰── here
         16 │ """
            ╰────
          help: a template is a name between `{{` and `}}`; `{{ '{{' }}` writes the braces themselves

        undefined-name

          × `output` is not defined in `t`
            ╭─[pipeline.toml:18:17]
         17 │ [task.t]
         18 │ run = ["echo", "{{ output }}", "x {{ vars.day }}"]
            ·                 ──────┬─────
            ·                       ╰── this name
            ╰────
          help: a task has no output

        undefined-name

          × `vars.day` is not defined in `t`
            ╭─[pipeline.toml:18:35]
         17 │ [task.t]
         18 │ run = ["echo", "{{ output }}", "x {{ vars.day }}"]
            ·                                   ───────┬──────
            ·                                          ╰── this name
            ╰────
          help: declare it:
                [vars]
                day = "…"
        pipeline.toml: 11 mistakes
        "#);
    let several = "[dataset.x]\npath = \"x\"\n[dataset.y]\npath = \"y\"\n[recipe.r]\noutputs = [\"x\", \"y\"]\nrun = \"{{ output }} {{ inputs }}\"\n";
    insta::assert_snapshot!(told_of(several), @r#"
        undefined-name

          × `output` is not defined in `r`
            ╭─[pipeline.toml:10:8]
          9 │ outputs = ["x", "y"]
         10 │ run = "{{ output }} {{ inputs }}"
            ·        ──────┬─────
            ·              ╰── this name
            ╰────
          help: it has several outputs: outputs.x, outputs.y

        undefined-name

          × `inputs` is not defined in `r`
            ╭─[pipeline.toml:10:21]
          9 │ outputs = ["x", "y"]
         10 │ run = "{{ output }} {{ inputs }}"
            ·                     ──────┬─────
            ·                           ╰── this name
            ╰────
          help: `r` has no input with a path
        pipeline.toml: 2 mistakes
        "#);
}

#[test]
fn a_value_inside_quotes() {
    let text = "[vars]\nname = \"Ada L\"\nplain = \"x\"\n[dataset.s]\npath = \"in put\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\n\
        run = '''\necho \"{{ vars.plain }}\" {{ vars.name }} \"{{ vars.name }}\" '{{ inputs.s }}'\n# it's {{ vars.name }}\ncat <<EOF\n{{ vars.name }}\nEOF\n'''\n";
    insta::assert_snapshot!(told_of(text), @r#"
    inside-quotes

      × `vars.name` stands inside quotes, and its value needs quotes of its own: Ada L
        ╭─[pipeline.toml:13:42]
     12 │ run = '''
     13 │ echo "{{ vars.plain }}" {{ vars.name }} "{{ vars.name }}" '{{ inputs.s }}'
        ·                                          ───────┬───────
        ·                                                 ╰── inside quotes
     14 │ # it's {{ vars.name }}
        ╰────
      help: take it out of the quotes: Kiln quotes the value itself

    inside-quotes

      × `inputs.s` stands inside quotes, and its value needs quotes of its own: in put
        ╭─[pipeline.toml:13:60]
     12 │ run = '''
     13 │ echo "{{ vars.plain }}" {{ vars.name }} "{{ vars.name }}" '{{ inputs.s }}'
        ·                                                            ───────┬──────
        ·                                                                   ╰── inside quotes
     14 │ # it's {{ vars.name }}
        ╰────
      help: take it out of the quotes: '…'{{ inputs.s }}'…'

    inside-quotes

      × `vars.name` stands in a here-document, and its value needs quotes: Ada L
        ╭─[pipeline.toml:16:1]
     15 │ cat <<EOF
     16 │ {{ vars.name }}
        · ───────┬───────
        ·        ╰── in a here-document
     17 │ EOF
        ╰────
      help: give it to a variable before, x={{ vars.name }}, and write $x
    pipeline.toml: 3 mistakes
    "#);
    // Without a shell there are no quotes.
    let project =
        Project::new("[vars]\nname = \"Ada L\"\n[dataset.a]\npath = \"a\"\nrun = [\"echo\", \"'{{ vars.name }}'\"]\n");
    project.expect(0, &["check"]);
}

#[test]
fn a_bad_age() {
    let text = "[defaults]\nrebuild = \"5 parsecs\"\n[dataset.a]\nrun = \"x\"\nrebuild = \"20\"\n[dataset.b]\nrun = \"x\"\nrebuild = \"Always\"\n";
    insta::assert_snapshot!(told_of(text), @r#"
        bad-duration

          × `rebuild = "5 parsecs"` is not an age: `parsecs` is not a unit
           ╭─[pipeline.toml:5:11]
         4 │ [defaults]
         5 │ rebuild = "5 parsecs"
           ·           ─────┬─────
           ·                ╰── here
         6 │ [dataset.a]
           ╰────
          help: write "changed", "always", "explicit", "never", or an age such as "20h"

        bad-duration

          × `rebuild = "20"` is not an age: `20` has a number without a unit
           ╭─[pipeline.toml:8:11]
         7 │ run = "x"
         8 │ rebuild = "20"
           ·           ──┬─
           ·             ╰── here
         9 │ [dataset.b]
           ╰────
          help: write "changed", "always", "explicit", "never", or an age such as "20h"

        bad-duration

          × `rebuild = "Always"` is not an age: `Always` does not begin with a number
            ╭─[pipeline.toml:11:11]
         10 │ run = "x"
         11 │ rebuild = "Always"
            ·           ────┬───
            ·               ╰── here
            ╰────
          help: did you mean `always`?
        pipeline.toml: 3 mistakes
        "#);
}

#[test]
fn keys_that_do_nothing() {
    let text = "[dataset.a]\npath = \"a\"\nfiles = [\"x\"]\nrebuild = \"1h\"\n[dataset.b]\npath = \"b\"\ndigest = \"x\"\nrun = \"x\"\n\
        [recipe.r]\nrun = \"x\"\n[task.t]\n[dataset.c]\nrun = \"\"\n[dataset.d]\nrun = []\n[dataset.e]\nrun = \"x\"\nshell = []\n";
    insta::assert_snapshot!(told_of(text), @r#"
        useless-key

          × `files` of `a` does nothing: it has no `run`
           ╭─[pipeline.toml:6:10]
         5 │ path = "a"
         6 │ files = ["x"]
           ·          ─┬─
           ·           ╰── here
         7 │ rebuild = "1h"
           ╰────
          help: it is a source; say what makes it with `run`, or leave the key out

        useless-key

          × `rebuild` of `a` does nothing: it has no `run`
           ╭─[pipeline.toml:7:11]
         6 │ files = ["x"]
         7 │ rebuild = "1h"
           ·           ──┬─
           ·             ╰── here
         8 │ [dataset.b]
           ╰────
          help: it is a source; say what makes it with `run`, or leave the key out

        useless-key

          × `b` has a path and a `digest` command
            ╭─[pipeline.toml:10:10]
          9 │ path = "b"
         10 │ digest = "x"
            ·          ─┬─
            ·           ╰── the content of its path is digested anyway
         11 │ run = "x"
            ╰────
          help: leave `digest` out, or the path

        no-output

          × recipe `r` has no outputs
            ╭─[pipeline.toml:12:9]
         11 │ run = "x"
         12 │ [recipe.r]
            ·         ┬
            ·         ╰── this recipe
         13 │ run = "x"
            ╰────
          help: say what it makes: outputs = ["…"], or make it a task: [task.r]

        missing-key

          × task `t` has no `run`
            ╭─[pipeline.toml:14:7]
         13 │ run = "x"
         14 │ [task.t]
            ·       ┬
            ·       ╰── this task
         15 │ [dataset.c]
            ╰────
          help: a task is what it runs: run = "…"

        bad-value

          × `run` of `c` is empty
            ╭─[pipeline.toml:16:7]
         15 │ [dataset.c]
         16 │ run = ""
            ·       ─┬
            ·        ╰── here
         17 │ [dataset.d]
            ╰────
          help: say what it runs

        bad-value

          × `run` of `d` is empty
            ╭─[pipeline.toml:18:7]
         17 │ [dataset.d]
         18 │ run = []
            ·       ─┬
            ·        ╰── here
         19 │ [dataset.e]
            ╰────
          help: say what it runs

        bad-value

          × `shell` is empty
            ╭─[pipeline.toml:21:9]
         20 │ run = "x"
         21 │ shell = []
            ·         ─┬
            ·          ╰── here
            ╰────
          help: name a program and its options: shell = ["sh", "-euc"]
        pipeline.toml: 8 mistakes
        "#);
}

#[test]
fn variables_that_cannot_be() {
    let text = "[defaults]\nenv = { KILN_OUTPUT = \"x\" }\n[dataset.a]\nrun = \"x\"\nenv = { \"A=B\" = \"x\", S = \"1\" }\n\
        secrets = { S = { env = \"S\" } }\npass = [\"\"]\n[dataset.b]\n[dataset.B]\n[task.t]\nrun = \"x\"\ninputs = [\"b\", \"B\"]\n";
    insta::assert_snapshot!(told_of(text), @r#"
        bad-name

          × `KILN_OUTPUT` cannot be a variable here
           ╭─[pipeline.toml:5:9]
         4 │ [defaults]
         5 │ env = { KILN_OUTPUT = "x" }
           ·         ─────┬─────
           ·              ╰── this name
         6 │ [dataset.a]
           ╰────
          help: names that begin with KILN_ are set by Kiln

        bad-name

          × `A=B` cannot be a variable here
           ╭─[pipeline.toml:8:9]
         7 │ run = "x"
         8 │ env = { "A=B" = "x", S = "1" }
           ·         ──┬──
           ·           ╰── this name
         9 │ secrets = { S = { env = "S" } }
           ╰────
          help: a variable's name is not empty and holds no `=`

        duplicate-name

          × `S` is in `env` and in `secrets`
            ╭─[pipeline.toml:8:22]
          7 │ run = "x"
          8 │ env = { "A=B" = "x", S = "1" }
            ·                      ┬
            ·                      ╰── here
          9 │ secrets = { S = { env = "S" } }
            ·             ┬
            ·             ╰── and here
         10 │ pass = [""]
            ╰────
          help: keep it in one of them

        bad-name

          × `` cannot be a variable here
            ╭─[pipeline.toml:10:9]
          9 │ secrets = { S = { env = "S" } }
         10 │ pass = [""]
            ·         ─┬
            ·          ╰── this name
         11 │ [dataset.b]
            ╰────
          help: a variable's name is not empty and holds no `=`

        name-collision

          × `b` and `B` would share the variable KILN_INPUT_B
            ╭─[pipeline.toml:11:10]
         10 │ pass = [""]
         11 │ [dataset.b]
            ·          ┬
            ·          ╰── this name
         12 │ [dataset.B]
            ·          ┬
            ·          ╰── and this one
         13 │ [task.t]
            ╰────
          help: give one a name that differs in more than case
        pipeline.toml: 5 mistakes
        "#);
}

#[test]
fn bash_is_found_where_a_step_would_find_it() {
    let mut project = Project::empty();
    let bash = "#!/bin/sh\necho it ran >\"$KILN_OUTPUT\"\n";
    project.write("pipeline.toml", "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = \"a\"\nrun = \"echo\"\n");
    project.write("tools/bash", bash);
    project.write("sub/x", "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(project.path("tools/bash"), mode).unwrap();
    project.variable("PATH", "tools");
    let mut command = project.command(&["run", "-f", "../pipeline.toml"]);
    let said = command.current_dir(project.path("sub")).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(project.read("a"), "it ran\n");
}

#[test]
fn no_bash_and_no_other_shell() {
    let mut project = Project::empty();
    project.write("pipeline.toml", "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = \"a\"\nrun = \"echo\"\n");
    project.variable("PATH", "/nowhere");
    insta::assert_snapshot!(refused(&project, &["run"]).1, @r#"
        no-bash

          × bash is not installed, and there is no `shell =`
           ╭─[pipeline.toml:6:7]
         5 │ path = "a"
         6 │ run = "echo"
           ·       ───┬──
           ·          ╰── this is for the default shell
           ╰────
          help: install bash, or choose another shell:
                [defaults]
                shell = ["sh", "-euc"]
        pipeline.toml: 1 obstacle
        "#);
}
