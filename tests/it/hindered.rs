//! A step that lacks something: without `-k` nothing begins and all that is in the way is told; with it such a step fails, what
//! needs it is skipped, and all else is built. Plans say the same.

use serde_json::Value;

use crate::support::{ALL_THE_SAME, Project, started};

/// What a step lacks, and how that is told.
const LACKS: [(&str, &str); 5] = [
    ("secret", "secret `T` takes the variable NOT_HERE, which is not set"),
    ("source", "source `gone` is not there"),
    ("code", "`no.py` of `files` is not there"),
    ("tool", "tool `t` of `tool` failed"),
    ("blocked", "`blocked` cannot be put in place: f is a file, not a folder"),
];

const TEXT: &str = r#"
[dataset.gone]
path = "gone"
[dataset.secret]
path = "o/secret"
run = "echo >{{ output }}"
secrets = { T = { env = "NOT_HERE" } }
[dataset.below]
path = "o/below"
inputs = ["secret"]
run = "cat {{ inputs.secret }} >{{ output }}"
[dataset.source]
path = "o/source"
inputs = ["gone"]
run = "cat {{ inputs.gone }} >{{ output }}"
[dataset.code]
path = "o/code"
files = ["no.py"]
run = "echo >{{ output }}"
[dataset.tool]
path = "o/tool"
tools = { t = "test -e installed" }
run = "echo >{{ output }}"
[dataset.blocked]
path = "f/x"
run = "echo >{{ output }}"
[dataset.good]
path = "o/good"
run = "echo >{{ output }}"
[dataset.after]
path = "o/after"
inputs = ["good"]
run = "cat {{ inputs.good }} >{{ output }}"
"#;

fn project() -> Project {
    let project = Project::new(TEXT);
    project.write("f", "a file\n");
    project
}

#[test]
fn without_it_all_that_is_in_the_way_is_told_and_nothing_begins() {
    let project = project();
    for command in ["run", "plan"] {
        let said = project.expect(2, &[command]).err;
        for (_, why) in LACKS {
            let message = why.split(": f is").next().unwrap();
            assert!(said.contains(message), "{message}\n{said}");
        }
        assert!(said.ends_with("5 obstacles\n"), "{said}");
    }
    assert!(!project.exists("o") && !project.exists(".kiln"));
    // Of one alone the plan says it as well.
    let said = project.expect(2, &["plan", "secret"]).err;
    assert!(said.starts_with(ALL_THE_SAME), "{said}");
    assert!(said.ends_with("1 obstacle\n") && said.contains("help: set it: NOT_HERE=… kiln run"), "{said}");
}

#[test]
fn with_it_plans_say_what_cannot_be_built() {
    let project = project();
    for arguments in [&["plan", "-k"][..], &["run", "-n", "-k"]] {
        let plan = project.expect(0, arguments);
        for (step, why) in LACKS {
            let line = plan.out.lines().find(|line| line.starts_with(&format!("  cannot {step} "))).unwrap_or_default();
            assert!(line.contains(&format!("  {why}")), "{step}: {why}\n{}", plan.out);
        }
        let below = plan.out.lines().find(|line| line.starts_with("  cannot below ")).unwrap_or_default();
        assert!(below.contains("  needs what cannot be built: secret; "), "{below}");
        assert!(plan.out.contains("8 steps: 2 build, 6 cannot\n"), "{}", plan.out);
        assert!(!plan.err.contains("WARN"), "{}", plan.err);
    }
    let json: Value = serde_json::from_str(&project.expect(0, &["plan", "-k", "--format", "json"]).out).unwrap();
    let secret = json["steps"].as_array().unwrap().iter().find(|step| step["id"] == "secret").unwrap();
    let first = serde_json::json!({ "code": "cannot_begin", "what": LACKS[0].1 });
    assert_eq!((&secret["action"], &secret["reasons"][0]), (&"cannot".into(), &first));
    let svg = project.expect(0, &["plan", "-k", "--format", "svg"]).out;
    assert!(svg.contains(" · 2 build, 6 cannot</text>") && svg.contains(">cannot</text>"), "{svg}");
    assert_eq!(svg.matches("class=\"step cannot\"").count(), 6, "{svg}");
    let events = project.expect(1, &["run", "-k", "--events", "-"]).out;
    let started: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    let actions = started["steps"].as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap());
    assert_eq!(actions.filter(|action| *action == "cannot").count(), 6, "{started}");
}

#[test]
fn with_it_such_steps_fail_and_all_else_is_built() {
    let run = project().expect(1, &["run", "-k", "source"]).out;
    assert!(run.contains("  again  kiln run -k source\n"), "a source is no target: {run}");
    let mut project = project();
    // The first run makes the state, the second has it.
    for _ in 0..2 {
        let run = project.expect(1, &["run", "-k"]).out;
        for (step, why) in LACKS {
            let failed = run.lines().find(|line| line.starts_with(&format!("FAILED {step} "))).unwrap_or_default();
            assert!(failed.contains(why), "{step}: {why}\n{run}");
        }
        assert!(run.contains("; set it: NOT_HERE=… kiln run"), "{run}");
        assert!(run.contains("secret failed\n") && run.contains("5 failed · 1 skipped"), "{run}");
        assert!(run.ends_with("\nagain, all of it: kiln run -k --failed\n"), "{run}");
        assert!(project.exists("o/after") && !project.exists("o/below"));
    }
    project.variable("NOT_HERE", "sesame!");
    for path in ["gone", "no.py", "installed"] {
        project.write(path, "");
    }
    std::fs::remove_file(project.path("f")).unwrap();
    let run = project.expect(0, &["run", "--failed", "--events", "-"]);
    let mut built = started(&run.out);
    built.sort();
    assert_eq!(built, ["below", "blocked", "code", "secret", "source", "tool"]);
    assert!(!format!("{run:?}").contains("sesame!"));
}

#[test]
fn what_might_be_built_and_is_not_needs_nothing() {
    let text = "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"head -1 s >{{ output }}\"\n\
                [dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = \"cat a >{{ output }}\"\nsecrets = { T = { env = \"TOKEN\" } }\n";
    let project = Project::new(text);
    project.write("s", "1\n");
    let mut with = project.command(&["run"]);
    assert!(with.env("TOKEN", "sesame!").status().unwrap().success());
    project.write("s", "1\n2\n");
    project.expect(2, &["run"]);
    let plan = project.expect(0, &["plan", "-k"]).out;
    let lacks = "secret `T` takes the variable TOKEN, which is not set; may change upstream: a\n";
    assert!(plan.contains("  maybe  b ") && plan.contains(lacks), "{plan}");
    let run = project.expect(0, &["run", "-k", "--events", "-"]);
    assert_eq!(started(&run.out), ["a"]);
    project.write("s", "3\n");
    project.expect(1, &["run", "-k"]);
    assert_eq!(project.read("b"), "1\n");
}

#[test]
fn each_step_that_reads_what_cannot_be_read_fails() {
    let text = "[dataset.s]\npath = \"s/x\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"cat s/x >{{ output }}\"\n\
                [dataset.b]\npath = \"b\"\ninputs = [\"s\"]\nrun = \"cat s/x >{{ output }}\"\n[dataset.c]\npath = \"c\"\nrun = \"echo >{{ output }}\"\n";
    let project = Project::new(text);
    // A name that leads to itself.
    std::os::unix::fs::symlink("s", project.path("s")).unwrap();
    let said = project.expect(2, &["run"]).err;
    assert!(said.contains("`s` cannot be read"), "{said}");
    let run = project.expect(1, &["run", "-k"]).out;
    assert!(run.contains("2 failed") && run.contains("1 built"), "{run}");
    assert!(run.contains("FAILED a ") && run.contains("FAILED b "), "{run}");
}

#[test]
fn all_inputs_that_are_not_there_are_named() {
    let step = |name: &str, inputs: &str| {
        format!("[dataset.{name}]\npath = \"{name}\"\ninputs = [{inputs}]\nrun = \"echo >{{{{ output }}}}\"\n")
    };
    let text = [step("a", ""), step("b", ""), step("c", r#""a", "b""#)].concat();
    let said = Project::new(&text).expect(2, &["plan", "--mode", "only", "c"]).err;
    assert!(said.contains("`a` is not there") && said.contains("`b` is not there"), "{said}");
    assert!(said.ends_with("2 obstacles\n"), "{said}");
}

/// What lies in the place of a folder is in the way of who builds there, and of nobody else.
#[test]
fn below_an_output_that_a_file_is_in_the_way_of_steps_are_skipped() {
    let step = |name: &str, path: &str, inputs: &str| {
        format!("[dataset.{name}]\npath = \"{path}\"\ninputs = [{inputs}]\nrun = \"cat f >{{{{ output }}}}\"\n")
    };
    let text =
        [step("x", "f/x", ""), step("c", "c", r#""x""#), step("d", "d", r#""c", "x""#), step("r", "f/r", r#""x""#)];
    let project = Project::new(&text.concat());
    project.write("f", "a file\n");
    let blocked = |name: &str| format!("`{name}` cannot be put in place: f is a file, not a folder");
    let skipped = "needs what cannot be built: x";
    let all = [("x", blocked("x")), ("c", skipped.to_owned()), ("d", skipped.to_owned()), ("r", blocked("r"))];
    let plan = project.expect(0, &["plan", "-k"]).out;
    for (step, why) in all {
        let line = plan.lines().find(|line| line.starts_with(&format!("  cannot {step} "))).unwrap_or_default();
        assert_eq!(line.split("; ").next(), Some(format!("  cannot {step}  {why}").as_str()), "{plan}");
        assert_eq!(line.matches("cannot be put").count(), why.matches("cannot be put").count(), "{plan}");
    }
    assert!(plan.contains("4 steps: 4 cannot\n"), "{plan}");
    let run = project.expect(1, &["run", "-k"]).out;
    assert!(run.contains("1 failed · 3 skipped"), "{run}");
    let said = project.expect(2, &["run"]).err;
    assert!(said.ends_with("2 obstacles\n"), "{said}");
    // Where nothing builds it, it is in the way of its reader.
    let said = project.expect(0, &["plan", "-k", "--mode", "only", "c"]).out;
    assert!(said.contains(&format!("  cannot c  {}", blocked("x"))), "{said}");
    // What two steps cannot read keeps both.
    let both = ["[dataset.s]\npath = \"s/x\"\n", &step("a", "a", r#""s""#), &step("b", "b", r#""a", "s""#)].concat();
    let project = Project::new(&both);
    std::os::unix::fs::symlink("s", project.path("s")).unwrap();
    let plan = project.expect(0, &["plan", "-k"]).out;
    assert_eq!(plan.matches("`s` cannot be read").count(), 2, "{plan}");
}
