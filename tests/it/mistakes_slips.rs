//! Slips of those who know other tools and other formats: each is told with what to write instead.

use crate::mistakes::told_of;

/// The helps that are told, each in one line.
fn helps(told: &str) -> Vec<String> {
    let mut helps = Vec::new();
    for part in told.split("help: ").skip(1) {
        let lines = part.lines().take_while(|line| !line.trim().is_empty() && !line.starts_with("pipeline.toml:"));
        helps.push(lines.map(str::trim).collect::<Vec<_>>().join(" "));
    }
    helps
}

/// The only help for a dataset with these lines.
#[track_caller]
fn help(lines: &str) -> String {
    let told = told_of(&format!("[dataset.a]\npath = \"a\"\nrun = \"echo x >{{{{ output }}}}\"\n{lines}\n"));
    let [help] = helps(&told).try_into().unwrap_or_else(|_| panic!("one help is wanted: {told}"));
    help
}

#[test]
fn keys_that_are_said_otherwise() {
    assert_eq!(help("file = [\"t.awk\"]"), "here it is `files`");
    assert_eq!(help("file = \"t.awk\""), "here it is `path`");
    assert!(
        help("params = { a = 1 }").starts_with("values stand in [vars], and a recipe takes them as {{ vars.NAME }}")
    );
    assert!(help("env_file = \".env\"").starts_with("no file of variables is read: `env` gives them values"));
    assert!(help("threads = 4").starts_with("how many steps run at once is `max_parallel` in [settings], or -j"));
    assert!(help("cache = true").starts_with("what is up to date is not built again anyway"));
    assert!(help("outputs = [\"b\"]").starts_with("what makes several outputs is a [recipe.NAME]"));
    assert_eq!(help("foo = 1"), "no key is like it: `kiln schema pipeline` has the 24 that may stand here");
    assert_eq!(help("retry = { max = 1, wait = \"5s\" }"), "here it is `delay`");
    let told = told_of("[recipe.r]\npath = \"a\"\nrun = \"x\"\n");
    assert_eq!(helps(&told)[0], "here it is `outputs`", "{told}");
    for (section, way) in
        [("source", "a source is a [dataset.NAME]"), ("test", "a check is a [task.NAME]"), ("rule", "a step stands")]
    {
        let told = told_of(&format!("[{section}.a]\nrun = \"x\"\n"));
        assert!(helps(&told)[0].starts_with(way), "{told}");
    }
    let told = told_of("[settings]\nfoo = 1\n");
    assert_eq!(helps(&told)[0], "known are: engine, max_parallel, schedule, mode", "a short list is one: {told}");
}

#[test]
fn values_that_are_no_values() {
    assert_eq!(help("in_place = True"), "write `true`");
    assert_eq!(help("in_place = no"), "write `false`");
    assert_eq!(help("timeout = none"), "a text stands in quotes");
    assert_eq!(help("timeout: 10"), "write `=`: timeout = 10");
    assert_eq!(help("timeout ="), "a text that is empty is \"\"");
    assert_eq!(help("timeout = # later"), "a text that is empty is \"\"");
}

#[test]
fn tables_that_are_written_as_lists() {
    assert_eq!(help("retry = \"3\""), "leave the quotes out: 3");
    assert_eq!(help("secrets = [\"TOKEN\"]"), "write it as a table: { TOKEN = { env = \"TOKEN\" } }");
    assert_eq!(help("tools = [\"awk\"]"), "write it as a table: { awk = \"awk --version\" }");
    assert_eq!(help("tools = [\"awk -W version\"]"), "write it as a table: { awk = \"awk -W version\" }");
    assert_eq!(help("env = [\"A=1\"]"), "write it as a table: { A = \"1\" }");
    assert_eq!(help("env = []"), "write it as a table: { NAME = \"value\" }");
    assert_eq!(help("secrets = { TOKEN = \"abc\" }"), "a secret is named, never written: TOKEN = { env = \"TOKEN\" }");
}

#[test]
fn a_name_that_cannot_be_one_is_told_once() {
    let made = |name: &str, input: &str, recipe: &str| {
        let declared = format!("[dataset.{name}]\npath = \"b\"\nrun = \"echo b >{{{{ output }}}}\"\n");
        let taken = format!("run = \"cp {{{{ inputs.{recipe} }}}} {{{{ output }}}}\"\n");
        told_of(&format!("{declared}[dataset.c]\npath = \"c\"\ninputs = [\"{input}\"]\n{taken}"))
    };
    // Whoever has followed the advice in one place is not led back.
    let told = made("busy-shops", "busy_shops", "busy_shops");
    assert!(told.contains("help: `busy_shops` can; ") && told.ends_with("pipeline.toml: 1 mistake\n"), "{told}");
    let told = made("busy_shops", "busy_shops", "busy-shops");
    assert!(told.contains("help: `inputs.busy_shops` is one; a template is a name between"), "{told}");
    let told = made("busy_shops", "busy-shops", "busy_shops");
    assert_eq!(helps(&told)[0], "did you mean `busy_shops`?", "{told}");
}

#[test]
fn a_task_makes_nothing_that_could_be_read() {
    let task = |name: &str, inputs: &str| format!("[task.{name}]\ninputs = [{inputs}]\nrun = \"true\"\n");
    let want = "a task makes nothing: make `q` a [dataset] whose recipe writes {{ output }}";
    for text in [[task("q", ""), task("r", "\"q\"")].concat(), [task("r", "\"q\""), task("q", "")].concat()] {
        let told = told_of(&text);
        assert!(told.contains("input `q` is a task") && helps(&told)[0] == want, "{told}");
    }
    let made =
        "[dataset.a]\npath = \"a\"\n[dataset.b]\npath = \"b\"\n[recipe.q]\noutputs = [\"a\", \"b\"]\nrun = \"true\"\n";
    let told = told_of(&[&task("r", "\"q\""), made].concat());
    assert_eq!(helps(&told)[0], "name what it makes", "{told}");
}

#[test]
fn names_of_variables_that_can_match_nothing() {
    assert_eq!(help("pass = [\"PG[*\"]"), "only `*` stands for others, for any letters: \"AWS_*\"");
}

/// The warnings of `kiln check`.
fn warnings(text: &str) -> String {
    let project = crate::support::Project::new(text);
    project.write("file", "1\n");
    project.expect(0, &["check"]).out
}

#[test]
fn what_cannot_be_what_it_is_said_to_be_is_warned_of() {
    let told = warnings("[folder.f]\npath = \"file\"\n[task.t]\ninputs = [\"f\"]\nrun = \"ls {{ inputs.f }}\"\n");
    assert!(told.contains("source `f` is a file, and no folder"), "{told}");
    assert_eq!(helps(&told)[0], "name the folder that holds it, or say [dataset.f]", "{told}");
    let told = warnings("[task.t]\nrun = \"true\"\nsecrets = { a-b = { file = \"/etc/hostname\" } }\n");
    assert!(told.contains("secret `a-b` of `t` can be read by no shell"), "{told}");
    let told = warnings("[task.t]\nrun = \"true\"\nshell = [\"no-such-shell\", \"-c\"]\n[task.u]\nrun = [\"true\"]\n");
    assert!(told.contains("`shell` names no-such-shell, and there is no such program"), "{told}");
    assert!(told.contains("shell = [\"no-such-shell\", \"-c\"]") && told.matches('⚠').count() == 1, "{told}");
}

#[test]
fn every_word_in_single_braces_is_underlined() {
    let text = "[dataset.top]\npath = \"file\"\n\
        [dataset.a]\npath = \"a\"\ninputs = [\"top\"]\nrun = \"cat {inputs.top} \\\"x\\\" >{output}\"\n";
    insta::assert_snapshot!(warnings(text), @r#"
    single-braces

      ⚠ `{inputs.top}`, `{output}` of `a` are not filled in: Kiln takes them as they stand
        ╭─[pipeline.toml:11:12]
     10 │ inputs = ["top"]
     11 │ run = "cat {inputs.top} \"x\" >{output}"
        ·            ──────┬─────        ────┬───
        ·                  │                 ╰── write `{{ output }}`
        ·                  ╰── write `{{ inputs.top }}`
        ╰────
      help: what Kiln fills in stands between `{{` and `}}`: inputs, outputs and variables
    pipeline.toml: 1 warning
    pipeline.toml: ok, 2 nodes, 1 recipe in 1 stage
    "#);
}
