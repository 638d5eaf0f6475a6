//! What is out of date and left counts as left, wherever a run is told: a green run says what it has not built.

use serde_json::Value;

use crate::support::Project;

const TEXT: &str = r#"
[dataset.a]
path = "c/a"
run = "echo a > {{ output }}"
[dataset.n]
path = "c/n"
rebuild = "never"
inputs = ["a"]
run = "cat {{ inputs.a }} > {{ output }}"
"#;

const NEVER: &str = "note: out of date and left: n (`rebuild = \"never\"`: what is there counts)\n";
const MISSING: &str = "note: out of date and left: a (--mode missing: its output is there)\n";

/// A project that is built, and then says something else.
fn changed() -> Project {
    let project = Project::new(TEXT);
    project.expect(0, &["run"]);
    let text = project.read("pipeline.toml").replace("echo a", "echo b").replace("cat {{", "cat  {{");
    project.write("pipeline.toml", &text);
    project
}

#[test]
fn a_run_that_leaves_what_is_out_of_date_says_so_each_time() {
    let project = changed();
    for _ in 0..3 {
        let run = project.expect(0, &["run", "--mode", "missing"]);
        assert!(run.out.contains("nothing built · 2 left · "), "{}", run.out);
        assert!(run.out.contains(" · 0 of 2 steps · "), "{}", run.out);
        assert!(run.err.contains(MISSING) && run.err.contains(NEVER), "{}", run.err);
    }
    let run = project.expect(0, &["run"]);
    assert!(run.out.contains("1 built · 1 left · "), "{}", run.out);
    for _ in 0..3 {
        let run = project.expect(0, &["run"]);
        assert!(run.out.contains("nothing built · 1 left · 1 up to date · "), "{}", run.out);
        assert_eq!(run.err, NEVER);
    }
    assert_eq!(project.read("c/n"), "a\n");
}

#[test]
fn what_may_go_out_of_date_while_others_are_built_is_told_beforehand() {
    let project = Project::new(TEXT);
    project.expect(0, &["run"]);
    project.write("pipeline.toml", project.read("pipeline.toml").replace("echo a", "echo b"));
    let told = "left, and may go out of date: n (`rebuild = \"never\"`: what is there counts)\n";
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains(" 1 build, 1 left\n") && plan.contains(told), "{plan}");
    let run = project.expect(0, &["run"]);
    assert!(run.out.contains("1 built · 1 left · ") && run.err.contains(told), "{run:?}");
    assert_eq!(project.expect(0, &["run"]).err, NEVER);
}

#[test]
fn a_job_tells_what_it_has_left_and_why() {
    let project = changed();
    project.expect(0, &["run"]);
    let shown = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(shown.contains(NEVER) && shown.contains("1 built · 1 left · "), "{shown}");
    let events = project.expect(0, &["run", "--events", "-"]).out;
    let begun: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    assert_eq!((&begun["up_to_date"], &begun["left"][0]["step"]), (&1.into(), &"n".into()), "{begun}");
    assert_eq!(begun["left"][0]["reasons"][0]["code"], "rebuild_never");
}

#[test]
fn the_list_of_runs_does_not_call_up_to_date_what_was_left() {
    let project = changed();
    project.expect(0, &["run"]);
    project.expect(0, &["run"]);
    let list = project.expect(0, &["jobs", "list"]).out;
    let why: Vec<_> = list.lines().map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(why[1], "1 left", "{list}");
}

/// A green box for what is out of date, or was never built, would say the opposite of the plan's own heading.
#[test]
fn pictures_have_a_colour_of_its_own_for_what_is_left() {
    let project = Project::new(
        "[dataset.a]\npath = \"c/a\"\nrun = \"echo a > {{ output }}\"\n\
         [dataset.z]\npath = \"c/z\"\nrebuild = \"explicit\"\ninputs = [\"a\"]\nrun = \"cp {{ inputs.a }} {{ output }}\"\n",
    );
    project.expect(0, &["run"]);
    let draw = |format| project.expect(0, &["plan", "--format", format]).out;
    let svg = draw("svg");
    assert!(svg.contains("class=\"step left\" data-step=\"z\""), "{svg}");
    assert!(svg.contains(">left</text>") && svg.contains("<rect class=\"swatch left\""), "{svg}");
    assert_eq!(svg.matches("class=\"step skip\"").count(), 1, "{svg}");
    let dot = draw("dot");
    assert!(dot.contains("label=\"z\\nleft\"") && dot.contains("style=\"filled,dotted\""), "{dot}");
    let mermaid = draw("mermaid");
    assert!(mermaid.contains("z<br/><small>left</small>\")]:::left"), "{mermaid}");
    assert!(mermaid.contains("classDef left "), "{mermaid}");
}
