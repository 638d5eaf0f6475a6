//! `kiln why`: the parts of a key that differ, inputs, runs of the past.

use crate::support::Project;

const CHAIN: &str = r#"
[vars]
least = "1"
[dataset.raw]
path = "raw"
[dataset.a]
path = "a"
inputs = ["raw"]
run = "echo {{ vars.least }} > {{ output }}"
env = { STAGE = "dev" }
[dataset.b]
path = "b"
inputs = ["a", "raw"]
run = "cat {{ inputs }} > {{ output }}"
"#;

fn chain() -> Project {
    let project = Project::new(CHAIN);
    project.write("raw", "1\n");
    project
}

fn json(project: &Project, arguments: &[&str]) -> serde_json::Value {
    let arguments: Vec<_> = ["why"].iter().chain(arguments).chain(&["--format", "json"]).copied().collect();
    serde_json::from_str(&project.expect(0, &arguments).out).unwrap()
}

fn part<'a>(why: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    why["parts"].as_array().unwrap().iter().find(|part| part["name"] == name).unwrap()
}

#[test]
fn a_step_that_is_only_built_when_it_is_named_says_so() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = \"true\"\nrebuild = \"explicit\"\n");
    let said = project.expect(0, &["why", "a"]).out;
    assert!(said.contains("  would be built, but only when it is named: `kiln run a`\n"), "{said}");
}

#[test]
fn what_differs_is_told_by_name_with_both_values() {
    let project = chain();
    project.expect(0, &["run"]);
    let text = project.read("pipeline.toml").replace("\"dev\"", "\"prod\"");
    project.write("pipeline.toml", text);
    let said = project.expect(0, &["why", "a", "--var", "least=2"]);
    for line in [
        "  would be built\n",
        "    var changed: least \"1\"→\"2\"\n",
        "    env changed: STAGE \"dev\"→\"prod\"\n",
        "inputs\n    raw  raw  ",
        "  ~ env:STAGE  dev → prod\n",
        "  ~ var:least  1 → 2\n",
    ] {
        assert!(said.out.contains(line), "{line}\n{}", said.out);
    }
    assert!(!said.out.contains("input:raw"), "it stands among the inputs: {}", said.out);
    let why = json(&project, &["a"]);
    assert_eq!((&why["action"], &why["runs"][0]["state"]), (&"build".into(), &"built".into()));
    let stage = part(&why, "env:STAGE");
    assert_eq!((&stage["state"], &stage["old"], &stage["new"]), (&"changed".into(), &"dev".into(), &"prod".into()));
    assert_eq!(part(&why, "var:least")["state"], "same");
    assert_ne!(why["key"], why["last_good"]["key"]);
    let below = json(&project, &["b"]);
    assert_eq!((&below["action"], &below["key"]), (&"maybe".into(), &serde_json::Value::Null));
    assert_eq!(below["inputs"][0]["state"], "open");
    assert_eq!(below["inputs"][1]["state"], "same");
}

#[test]
fn what_is_up_to_date_says_so_and_has_the_key_it_was_built_with() {
    let project = chain();
    project.expect(0, &["run"]);
    let why = json(&project, &["b"]);
    assert_eq!((&why["action"], &why["key"]), (&"skip".into(), &why["last_good"]["key"]));
    let said = project.expect(0, &["why", "b"]);
    assert!(said.out.contains("would not be built: nothing that it is made from has changed"), "{}", said.out);
    assert!(said.out.contains("as it was built with"), "{}", said.out);
}

#[test]
fn the_last_five_runs_are_told_the_newest_first() {
    let project = chain();
    for least in 1..=6 {
        project.expect(0, &["run", "a", "--var", &format!("least={least}")]);
    }
    project.write("pipeline.toml", project.read("pipeline.toml").replace("echo {{", "exit 3; echo {{"));
    project.expect(1, &["run", "a"]);
    let why = json(&project, &["a"]);
    let runs = why["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 5);
    assert_eq!((&runs[0]["state"], &runs[0]["why"]), (&"failed".into(), &"exit 3".into()));
    assert_eq!((&runs[1]["state"], &runs[1]["reasons"][0]["new"]), (&"built".into(), &"6".into()));
}

#[test]
fn a_step_that_was_never_built_a_source_and_a_typo() {
    let project = chain();
    let said = project.expect(0, &["why", "a"]);
    assert!(said.out.contains("never built") && said.out.contains("no good build is known"), "{}", said.out);
    let said = project.expect(0, &["why", "raw"]);
    assert_eq!(said.out, "raw: a source, no recipe makes it; read by a, b\n");
    let said = project.expect(2, &["why", "raww"]);
    assert!(said.err.contains("did you mean `raw`?"), "{}", said.err);
}

#[test]
fn what_is_out_of_date_and_not_built_says_why_not() {
    let project = chain();
    project.pipeline(&CHAIN.replace("env =", "rebuild = \"never\"\nenv ="));
    project.expect(0, &["run"]);
    let nothing = "would not be built: nothing that it is made from has changed";
    assert!(project.expect(0, &["why", "a"]).out.contains(nothing));
    project.write("raw", "2\n");
    let said = project.expect(0, &["why", "a"]).out;
    let never = "  is out of date, and would not be built\n    `rebuild = \"never\"`: what is there counts\n";
    assert!(said.contains(never) && said.contains("inputs\n  ~ raw  raw  "), "{said}");
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains(": 1 build, 1 left\n"), "{plan}");
    assert!(plan.contains("\nout of date and left: a (`rebuild = \"never\"`: what is there counts)\n"), "{plan}");
    let json: serde_json::Value = serde_json::from_str(&project.expect(0, &["plan", "--format", "json"]).out).unwrap();
    assert_eq!(json["steps"][0]["reasons"], serde_json::json!([{ "code": "rebuild_never" }]));
    let said = project.expect(0, &["why", "b", "--mode", "missing"]).out;
    assert!(said.contains("    --mode missing: its output is there\n"), "{said}");
    project.expect(0, &["plan", "--check", "--mode", "missing"]);
}

#[test]
fn what_somebody_else_has_made_and_is_never_built_counts_as_it_is() {
    let text = "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"cp s {{ output }}\"\n\
                [dataset.n]\npath = \"n\"\ninputs = [\"a\"]\nrebuild = \"never\"\nrun = \"cp a {{ output }}\"\n";
    let project = Project::new(text);
    project.write("s", "1\n");
    project.write("n", "by hand\n");
    assert!(project.expect(0, &["plan"]).out.contains(": 1 build, 1 up to date\n"));
    assert_eq!(project.expect(0, &["run"]).err, "");
    project.write("s", "2\n");
    assert_eq!(project.expect(0, &["run"]).err, "");
    let said = project.expect(0, &["why", "n"]).out;
    assert!(
        said.contains("would not be built: `rebuild = \"never\"`, and what is there counts, whoever made it"),
        "{said}"
    );
    assert!(said.contains("no good build is known") && !said.contains("is new"), "{said}");
    let said = project.expect(0, &["adopt"]).out;
    assert_eq!(said, "took 0 steps, left 0, 2 up to date\n");
    // Named, it is taken; from then on it is told that it was made from something else.
    assert!(project.expect(0, &["adopt", "n"]).out.contains("  took  n  n\n"));
    project.write("s", "3\n");
    project.expect(0, &["run"]);
    assert!(project.expect(0, &["plan"]).out.contains("out of date and left: n"));
    assert!(
        project.expect(0, &["adopt"]).out.contains("  left  n  it was built before; name it to take it all the same")
    );
    assert!(project.expect(0, &["adopt", "n"]).out.contains("  took  n  n\n"));
    assert!(project.expect(0, &["plan"]).out.contains(": 2 up to date\n"));
}

#[test]
fn a_run_that_found_it_up_to_date_says_so_in_the_words_of_all_others() {
    let project = chain();
    project.pipeline(&CHAIN.replace("echo {{ vars.least }}", "head -c 1 {{ inputs.raw }}"));
    project.expect(0, &["run"]);
    project.write("raw", "1 and more\n");
    project.pipeline(&CHAIN.replace("echo {{ vars.least }}", "head -c 1 {{ inputs.raw }}").replace(", \"raw\"]", "]"));
    project.expect(0, &["run", "b"]);
    project.write("raw", "1 and much more\n");
    let run = project.expect(0, &["run"]).out;
    let line = run.lines().find(|line| line.ends_with("up to date")).unwrap_or_else(|| panic!("{run}"));
    assert!(line.split_whitespace().skip(1).eq(["b", "up", "to", "date"]), "{line}");
    let shown = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(shown.lines().any(|line| line.starts_with("up to date  b ")), "{shown}");
    let said = project.expect(0, &["why", "b"]).out;
    assert!(said.contains("  up to date  ") && !said.contains("current"), "{said}");
}

/// What is over is told as it came out, by the run and by its steps.
#[test]
fn what_might_have_changed_is_told_afterwards_as_it_came_out() {
    let project = Project::new(
        "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"head -1 s > {{ output }}\"\n\
         [dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = \"cat a > {{ output }}\"\n",
    );
    for (source, told) in [("1\n2\n", "came out the same upstream: a\n"), ("3\n", "changed upstream: a\n")] {
        project.write("s", "1\n");
        project.expect(0, &["run"]);
        project.write("s", source);
        assert!(project.expect(0, &["plan"]).out.contains("  maybe  b  "), "{source}");
        project.expect(0, &["run"]);
        for arguments in [["jobs", "show", "last"], ["why", "b", "--no-probes"]] {
            let said = project.expect(0, &arguments).out;
            assert!(said.contains(told) && !said.contains("may change"), "{said}");
        }
    }
}

#[test]
fn what_counts_as_it_is_is_not_new_to_programs_either() {
    let text = "[dataset.s]\npath = \"s\"\n[dataset.n]\npath = \"n\"\ninputs = [\"s\"]\nrebuild = \"never\"\nrun = \"cp s {{ output }}\"\n";
    let project = Project::new(text);
    project.write("s", "1\n");
    project.write("n", "by hand\n");
    let why = json(&project, &["n"]);
    assert_eq!((&why["action"], &why["inputs"][0]["state"]), (&"skip".into(), &"same".into()));
    assert!(why["parts"].as_array().unwrap().iter().all(|part| part["state"] == "same"), "{why}");
}

#[test]
fn a_long_command_is_whole_where_no_terminal_ends_the_line() {
    let long = format!("echo {} >{{{{ output }}}}", "word ".repeat(40).trim_end());
    let project = Project::new(&format!("[dataset.a]\npath = \"a\"\nrun = \"{long}\"\n"));
    assert!(project.expect(0, &["why", "a"]).out.contains(&format!(" {long}\n")));
}

#[cfg(feature = "failpoints")]
#[test]
fn what_was_complete_when_its_run_died_was_stopped_as_everywhere_else() {
    let project = chain();
    let killed = project.command(&["run"]).env("KILN_FAULT", "publish.place=kill@1").output().unwrap();
    assert!(!killed.status.success());
    let run = &json(&project, &["a"])["runs"][0];
    let complete = "its outputs are complete: the next run looks whether they can still be put in place";
    assert_eq!((&run["state"], &run["why"]), (&"stopped".into(), &complete.into()));
    let jobs = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    let jobs: serde_json::Value = serde_json::from_str(&jobs).unwrap();
    assert_eq!((&jobs[0]["stopped"], &jobs[0]["skipped"]), (&1.into(), &1.into()));
}

#[test]
fn an_input_that_came_or_went_is_told_once() {
    let all = |inputs: &str| {
        let sources: String = ["s", "t", "u"].map(|s| format!("[dataset.{s}]\npath = \"{s}\"\n")).concat();
        format!(
            "{sources}[dataset.a]\npath = \"a\"\ninputs = [{inputs}]\nrun = \"cat {{{{ inputs }}}} >{{{{ output }}}}\"\n"
        )
    };
    let project = Project::new(&all("\"s\", \"t\""));
    ["s", "t", "u"].iter().for_each(|source| project.write(source, "1"));
    project.expect(0, &["run"]);
    for (inputs, told) in [
        ("\"s\"", "input removed: t"),
        ("\"s\", \"t\", \"u\"", "input added: u"),
        // The order counts, and nothing else tells it.
        ("\"t\", \"s\"", "setting changed: inputs \"s t\"→\"t s\""),
    ] {
        project.pipeline(&all(inputs));
        let plan = project.expect(0, &["plan"]).out;
        let line = plan.lines().find(|line| line.starts_with("  build  a")).unwrap();
        assert!(line.trim_end().ends_with(&format!("  {told}")), "{plan}");
    }
}

#[test]
fn as_many_runs_are_told_as_are_asked_for() {
    let project = chain();
    for _ in 0..7 {
        project.expect(0, &["run", "a", "--mode", "forced"]);
    }
    for (limit, n) in [(&[][..], 5), (&["--limit", "1"], 1), (&["--limit", "100"], 7)] {
        assert_eq!(json(&project, &[&["a"], limit].concat())["runs"].as_array().unwrap().len(), n);
    }
}
