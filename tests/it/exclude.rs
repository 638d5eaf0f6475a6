//! What is left out of a run: it stays as it is, what reads it is built all the same, and all of that is told.

use serde_json::Value;

use crate::support::{Project, started};

const TEXT: &str = r#"
[dataset.s]
path = "s"
[dataset.stg_a]
path = "a"
inputs = ["s"]
run = "cat {{ inputs.s }} >{{ output }}"
[dataset.stg_b]
path = "b"
inputs = ["stg_a"]
run = "cat {{ inputs.stg_a }} >{{ output }}; exit $(cat code)"
[dataset.report]
path = "report"
inputs = ["stg_b", "s"]
run = "cat {{ inputs.stg_b }} {{ inputs.s }} >{{ output }}"
[task.tell]
inputs = ["report"]
run = "cat {{ inputs.report }} >told"
"#;

fn project() -> Project {
    let project = Project::new(TEXT);
    project.write("s", "1\n");
    project.write("code", "0");
    project
}

fn built(project: &Project, arguments: &[&str]) -> Vec<String> {
    started(&project.expect(0, &[&["run", "--events", "-"], arguments].concat()).out)
}

#[test]
fn what_is_left_out_stays_as_it_is_and_is_told() {
    let project = project();
    project.expect(0, &["run"]);
    project.write("s", "2\n");
    let plan = project.expect(0, &["plan", "--exclude", "stg_*"]).out;
    assert!(plan.contains("1 left") && plan.contains("out of date and left: stg_a (--exclude)\n"), "{plan}");
    for arguments in [&["--exclude", "stg_*"][..], &["--exclude", "stg_a", "--exclude", "b"], &["--exclude", "stg_a"]] {
        let run = project.expect(0, &[&["run"], arguments].concat());
        assert!(run.err.contains("note: out of date and left: stg_a"), "{}", run.err);
    }
    assert_eq!([project.read("a"), project.read("b"), project.read("report")], ["1\n", "1\n", "1\n2\n"]);
    // Also where it is remembered that there was nothing else to do.
    for _ in 0..2 {
        assert_eq!(built(&project, &["--exclude", "stg_a"]), Vec::<String>::new());
        assert_eq!(
            project.expect(0, &["run", "--exclude", "stg_a"]).err,
            "note: out of date and left: stg_a (--exclude)\n"
        );
    }
    assert_eq!(built(&project, &["report", "--exclude", "stg_a", "--mode", "forced"]), ["report", "stg_b"]);
}

#[test]
fn everything_tells_what_was_left_out() {
    let project = project();
    project.expect(0, &["run"]);
    project.write("s", "2\n");
    let json: Value =
        serde_json::from_str(&project.expect(0, &["plan", "--exclude", "a", "--format", "json"]).out).unwrap();
    assert_eq!(json["exclude"], serde_json::json!(["stg_a"]));
    let first = project.expect(0, &["run", "--exclude", "a", "--events", "-"]).out;
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(first["exclude"], serde_json::json!(["stg_a"]));
    assert_eq!(first["left"][0]["reasons"][0]["code"], "excluded");
    let list = project.expect(0, &["jobs", "list"]).out;
    assert!(list.contains("(everything) --exclude stg_a"), "{list}");
    let show = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(show.contains("targets  (everything) --exclude stg_a\n"), "{show}");
}

#[test]
fn what_failed_is_told_how_to_be_built_without_it_again() {
    let project = project();
    project.expect(0, &["run"]);
    project.write("s", "2\n");
    project.write("code", "3");
    project.expect(0, &["run", "stg_a"]);
    let run = project.expect(1, &["run", "--exclude", "tell", "-k"]).out;
    assert!(run.contains("kiln run -k --exclude tell"), "{run}");
    project.write("code", "0");
    assert_eq!(built(&project, &["--failed", "--exclude", "report"]), ["stg_b"]);
    // What was left out then is so again.
    project.write("s", "3\n");
    project.write("code", "3");
    project.expect(1, &["run", "--exclude", "stg_a", "--mode", "forced"]);
    project.write("code", "0");
    assert_eq!(built(&project, &["--failed"]), ["report", "stg_b", "tell"]);
    assert_eq!(project.read("a"), "2\n");
}

#[test]
fn what_reads_what_is_not_there_cannot_do_without_it() {
    let project = project();
    let run = project.expect(2, &["run", "--exclude", "stg_a"]).err;
    assert!(run.contains("`stg_a` is not there, and `stg_b` needs it"), "{run}");
    let way_out = "build it first: kiln run stg_a, or leave out what needs it too: --exclude stg_a+\n";
    assert!(run.contains(way_out), "{run}");
    let run = project.expect(1, &["run", "-k", "--exclude", "stg_a"]).out;
    assert!(run.contains(way_out) && !run.contains("--exclude stg_a stg_a"), "{run}");
    let none = project.expect(4, &["run", "--exclude", "stg_a+"]).err;
    assert!(none.contains("--exclude leaves nothing over"), "{none}");
}

#[test]
fn mistakes_are_told() {
    let project = project();
    let none = project.expect(4, &["run", "report", "--exclude", "report"]).err;
    assert!(none.contains("--exclude leaves nothing over"), "{none}");
    let unknown = project.expect(2, &["run", "--exclude", "repotr"]).err;
    assert!(unknown.contains("unknown target `repotr`") && unknown.contains("did you mean `report`?"), "{unknown}");
    let none = project.expect(4, &["plan", "x*"]).err;
    assert!(none.contains("no step matches x*"), "{none}");
    for command in ["plan", "run", "list"] {
        let none = project.expect(4, &[command, "--exclude", "tag:nope"]).err;
        assert!(none.contains("no step matches tag:nope, which --exclude names"), "{none}");
    }
}

#[test]
fn what_other_tools_write_in_targets_is_told_as_what_it_is() {
    let project = project();
    for (target, code, way_out) in [
        ("tag:mart,tag:north", 4, "targets stand apart, and all of them are taken"),
        ("2+report", 2, "how far is not said: +NAME is all above it, NAME+ all below it"),
        ("report+1", 2, "how far is not said: +NAME is all above it, NAME+ all below it"),
        ("@report", 2, "there is no `@`: NAME+ is all below it, and what that is made from is built with it"),
        ("state:modified", 2, "targets are NAME, +NAME, NAME+, tag:TAG and patterns such as 'stg_*'"),
    ] {
        for command in ["list", "plan"] {
            let said = project.expect(code, &[command, target]).err;
            assert!(said.contains(way_out), "{target}: {said}");
        }
    }
}

#[test]
fn what_cannot_be_looked_at_hides_nothing_else() {
    let extra =
        "[dataset.e]\npath = \"e\"\ninputs = [\"s\"]\nenv = { EE = { env = \"EE\" } }\nrun = \"touch {{ output }}\"\n";
    let mut project = project();
    project.pipeline(&format!("{TEXT}{extra}"));
    project.variable("EE", "1");
    project.expect(0, &["run"]);
    project.write("s", "2\n");
    project.pipeline(&format!("{TEXT}{}", extra.replace("env = \"EE\"", "env = \"NONE\"")));
    for command in ["plan", "run"] {
        let said = project.expect(0, &[command, "--exclude", "stg_a", "--exclude", "e"]);
        let said = said.out + &said.err;
        assert!(said.contains("out of date and left: stg_a (--exclude)\n"), "{said}");
        assert!(said.contains("left, and cannot be looked at: e (--exclude)\n"), "{said}");
    }
}

#[test]
fn what_is_out_of_date_above_what_is_left_out_is_told_of_that() {
    let project = project();
    project.expect(0, &["run"]);
    project.write("s", "2\n");
    // Twice, for it may be remembered that there is nothing to do.
    for _ in 0..2 {
        let said = project.expect(0, &["run", "stg_b", "--exclude", "stg_a"]).err;
        assert_eq!(said, "note: out of date and left: stg_a (--exclude)\n");
        let said = project.expect(0, &["run", "tell", "--exclude", "report"]).err;
        assert_eq!(said, "note: out of date and left: report (--exclude)\n");
    }
    project.pipeline(
        &TEXT
            .replace("[\"stg_b\", \"s\"]", "[\"stg_b\"]")
            .replace("{{ inputs.s }} >{{ output }}\"\n[task", ">{{ output }}\"\n[task"),
    );
    project.expect(0, &["run"]);
    project.write("s", "3\n");
    for _ in 0..2 {
        let said = project.expect(0, &["run", "tell", "--exclude", "report"]).err;
        assert_eq!(said, "note: left, and may go out of date: report (--exclude)\n");
        assert_eq!(
            project.expect(0, &["run", "report", "--exclude", "stg_a"]).err,
            "note: out of date and left: stg_a (--exclude)\n"
        );
    }
    project.expect(0, &["run", "stg_b"]);
    let said = project.expect(0, &["run", "tell", "--exclude", "report"]).err;
    assert_eq!(said, "note: out of date and left: report (--exclude)\n");
    project.expect(0, &["run"]);
    assert_eq!(project.expect(0, &["run", "tell", "--exclude", "report"]).err, "");
}
