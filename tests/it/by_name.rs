//! Steps that are built only when they are named: others say that they are out of date, and what needs one that is not there
//! keeps nothing else from being built.

use serde_json::Value;

use crate::support::{Project, started};

const TEXT: &str = r#"
[dataset.s]
path = "s"
[dataset.m]
path = "m"
inputs = ["s"]
run = "cat {{ inputs.s }} >{{ output }}"
rebuild = "explicit"
[dataset.reader]
path = "reader"
inputs = ["m"]
run = "cat {{ inputs.m }} >{{ output }}"
[dataset.below]
path = "below"
inputs = ["reader"]
run = "cat {{ inputs.reader }} >{{ output }}"
[dataset.other]
path = "other"
run = "echo >{{ output }}"
"#;

fn project() -> Project {
    let project = Project::new(TEXT);
    project.write("s", "1\n");
    project
}

#[test]
fn what_is_out_of_date_is_told_and_not_built() {
    let project = project();
    project.expect(0, &["run", "m"]);
    let (told, note) = ("out of date and left: m (`rebuild = \"explicit\"`: built only when it is named)\n", "note: ");
    assert_eq!(project.expect(0, &["run"]).err, "");
    assert!(!project.expect(0, &["plan", "--check"]).out.contains("left"));
    project.write("s", "2\n");
    for arguments in [&["plan", "--check"][..], &["plan", "below"], &["run", "-n"]] {
        let plan = project.expect(0, arguments).out;
        assert!(plan.contains(told) && plan.contains("1 left, "), "{plan}");
    }
    assert!(!project.expect(0, &["plan", "other"]).out.contains("left"), "it has nothing to do with it");
    let json: Value = serde_json::from_str(&project.expect(0, &["plan", "--format", "json"]).out).unwrap();
    let step = json["steps"].as_array().unwrap().iter().find(|step| step["id"] == "m").unwrap();
    let codes: Vec<_> =
        step["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert_eq!((step["action"].as_str().unwrap(), codes), ("skip", vec!["rebuild_explicit", "input_changed"]));
    // Each time, also where nothing else is looked at any more.
    for _ in 0..3 {
        let run = project.expect(0, &["run"]);
        assert_eq!(run.err, format!("{note}{told}"));
        assert!(run.out.contains("nothing built · 1 left · 3 up to date"), "{}", run.out);
    }
    assert_eq!(project.read("m"), "1\n");
    project.expect(0, &["run", "m"]);
    assert_eq!(project.expect(0, &["run"]).err, "");
    // What cannot be looked at is in nobody's way.
    std::fs::remove_file(project.path("s")).unwrap();
    assert_eq!(project.expect(0, &["run"]).err, "");
}

#[test]
fn what_needs_one_that_is_not_there_keeps_nothing_else_from_being_built() {
    let project = project();
    let said = project.expect(2, &["run"]).err;
    assert!(said.contains("`m` is not there, and `reader` needs it"), "{said}");
    let plan = project.expect(0, &["run", "-k", "-n"]).out;
    assert!(plan.contains("reader  what it needs is missing: m\n"), "{plan}");
    for _ in 0..2 {
        let run = project.expect(1, &["run", "-k"]).out;
        let told = "`m` is not there, and `reader` needs it: there is nothing at m; build it first: kiln run m\n";
        assert!(run.contains(told), "{run}");
        assert!(run.contains("reader failed"), "{run}");
        assert!(!run.contains("  log  ") && !run.contains("  $ "), "nothing ran, nothing was printed: {run}");
        assert!(project.exists("other") && !project.exists("below"));
    }
    project.expect(0, &["run", "m"]);
    assert_eq!(started(&project.expect(0, &["run", "--events", "-"]).out), ["below", "reader"]);
    // So does a source.
    std::fs::remove_file(project.path("s")).unwrap();
    std::fs::remove_file(project.path("m")).unwrap();
    project.expect(2, &["run", "m"]);
    let run = project.expect(1, &["run", "-k", "m"]).out;
    assert!(
        run.contains("source `s` is not there, and `m` needs it: there is nothing at s; put the file there"),
        "{run}"
    );
}

#[test]
fn what_is_made_by_way_of_one_that_is_left_is_below_too() {
    let first = "[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"cat s >{{ output }}\"\n";
    let text = format!(
        "{first}{}",
        TEXT.replacen("inputs = [\"s\"]\nrun = \"cat {{ inputs.s", "inputs = [\"a\"]\nrun = \"cat {{ inputs.a", 1)
    );
    let project = Project::new(&text);
    project.write("s", "1\n");
    project.expect(0, &["run", "m", "below"]);
    project.write("s", "2\n");
    project.pipeline(&text.replace("cat {{ inputs.m", "cat  {{ inputs.m"));
    let left = "left, and may go out of date: m (`rebuild = \"explicit\"`: built only when it is named)\n";
    for target in ["s+", "a+"] {
        let plan = project.expect(1, &["plan", target, "--check"]).out;
        assert!(plan.contains("  build  a ") && plan.contains("  build  reader "), "{plan}");
        assert!(plan.contains("  maybe  below ") && plan.contains(left), "{plan}");
    }
    let run = project.expect(0, &["run", "a+", "--events", "-"]);
    assert_eq!(started(&run.out), ["a", "reader"]);
    assert!(run.err.contains(left), "{}", run.err);
}

#[test]
fn a_target_that_matches_nothing_is_told_among_others_too() {
    let project = Project::new(&TEXT.replace("path = \"other\"", "path = \"other\"\ntags = [\"daily\"]"));
    project.write("s", "1\n");
    for command in ["plan", "run", "adopt"] {
        let said = project.expect(4, &[command, "m", "tag:dayly"]).err;
        assert_eq!(said, "error: nothing was selected: no step matches tag:dayly; did you mean `tag:daily`?\n");
    }
    assert!(!project.exists("m") && !project.exists(".kiln"), "nothing was begun");
}

/// The command that is told after a failure is one that works.
#[test]
fn what_is_said_to_try_again_names_what_has_to_be_built_first() {
    let project = project();
    for arguments in [&["run", "-k"][..], &["run", "--failed"]] {
        let run = project.expect(1, arguments).out;
        assert!(run.contains("  again  kiln run -k m reader\n"), "{run}");
    }
    let run = project.expect(0, &["run", "-k", "m", "reader", "--events", "-"]);
    assert_eq!(started(&run.out), ["m", "reader"]);
}

#[test]
fn what_has_to_be_built_by_name_first_is_named_with_what_it_lacks_in_turn() {
    let text = "[dataset.far]\npath = \"far\"\nrebuild = \"explicit\"\nrun = \"echo 1 >{{ output }}\"\n\
        [dataset.near]\npath = \"near\"\ninputs = [\"far\"]\nrebuild = \"explicit\"\nrun = \"cp {{ inputs.far }} {{ output }}\"\n\
        [dataset.a]\npath = \"a\"\ninputs = [\"near\"]\nrun = \"cp {{ inputs.near }} {{ output }}\"\n";
    let project = Project::new(text);
    assert!(project.expect(1, &["run", "-k"]).out.contains("  again  kiln run -k near far a\n"));
    let run = project.expect(0, &["run", "-k", "near", "far", "a", "--events", "-"]);
    assert_eq!(started(&run.out), ["a", "far", "near"]);
    // What is there need not be named.
    let project = Project::new(text);
    project.expect(0, &["run", "far"]);
    assert!(project.expect(1, &["run", "-k"]).out.contains("  again  kiln run -k near a\n"));
}

#[test]
fn what_a_run_may_put_out_of_date_is_told_beforehand() {
    let text = "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"cp {{ inputs.s }} {{ output }}\"\n\
                  [dataset.e]\npath = \"e\"\ninputs = [\"a\"]\nrebuild = \"explicit\"\nrun = \"cp {{ inputs.a }} {{ output }}\"\n";
    let project = Project::new(text);
    project.write("s", "1\n");
    project.expect(0, &["run", "e"]);
    project.write("s", "2\n");
    let may = "left, and may go out of date: e (`rebuild = \"explicit\"`: built only when it is named)\n";
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains(may) && plan.contains("2 steps: 1 build, 1 left\n"), "{plan}");
    let run = project.expect(0, &["run"]);
    assert!(run.out.contains("1 built · 1 left · ") && run.err.contains(may), "{run:?}");
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("out of date and left: e") && plan.contains("2 steps: 1 left, 1 up to date\n"), "{plan}");
}

const ABOVE: &str = "[dataset.e1]\npath = \"e1\"\nrebuild = \"explicit\"\nrun = \"echo 1 >{{ output }}\"\n\
    [dataset.m]\npath = \"m\"\ninputs = [\"e1\"]\nrun = \"cp {{ inputs.e1 }} {{ output }}\"\n\
    [dataset.e2]\npath = \"e2\"\ninputs = [\"e1\"]\nrebuild = \"explicit\"\nrun = \"cp {{ inputs.e1 }} {{ output }}\"\n\
    [dataset.f]\npath = \"f\"\ninputs = [\"e2\"]\nrun = \"cp {{ inputs.e2 }} {{ output }}\"\n";

#[test]
fn what_is_below_one_that_is_not_there_is_told_too() {
    let text =
        ABOVE.replace("[dataset.m]\npath = \"m\"\ninputs = [\"e1\"]\nrun = \"cp {{ inputs.e1 }} {{ output }}\"\n", "");
    let project = Project::new(&text);
    let told = "out of date and left: e1, e2 (`rebuild = \"explicit\"`: built only when it is named)\n";
    let plan = project.expect(0, &["plan", "-k"]).out;
    assert!(plan.contains("3 steps: 1 cannot, 2 left\n") && plan.contains(told), "{plan}");
    let json: Value = serde_json::from_str(&project.expect(0, &["plan", "-k", "--format", "json"]).out).unwrap();
    let step = json["steps"].as_array().unwrap().iter().find(|step| step["id"] == "e2").unwrap();
    let codes: Vec<_> =
        step["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert_eq!((step["action"].as_str().unwrap(), codes), ("skip", vec!["rebuild_explicit", "never_built"]));
    let dot = project.expect(0, &["plan", "-k", "--format", "dot"]).out;
    assert!(!dot.contains("not asked for"), "{dot}");
    assert_eq!(dot.matches(" -> ").count(), 2, "e1 -> e2 -> f: {dot}");
    let run = project.expect(1, &["run", "-k"]);
    assert!(run.err.contains(told) && run.out.contains("2 left"), "{run:?}");
    // What is there may go out of date by what is not.
    project.expect(0, &["run", "e1", "e2", "f"]);
    std::fs::remove_file(project.path("e1")).unwrap();
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("3 steps: 2 left, 1 up to date\n") && plan.contains("out of date and left: e1 ("), "{plan}");
    assert!(plan.contains("left, and may go out of date: e2 ("), "{plan}");
}

/// Whichever way leads there: through steps that need not be named, and whatever else was asked for.
#[test]
fn what_is_said_to_build_first_can_be_built() {
    let by_way = ABOVE
        .replace("[dataset.e2]\npath = \"e2\"\ninputs = [\"e1\"]", "[dataset.e2]\npath = \"e2\"\ninputs = [\"m\"]");
    let by_way = by_way
        .replace("rebuild = \"explicit\"\nrun = \"cp {{ inputs.e1", "rebuild = \"explicit\"\nrun = \"cp {{ inputs.m");
    for text in [ABOVE, &by_way] {
        for targets in [&["f"][..], &["+f"], &["f", "e2"]] {
            let project = Project::new(text);
            let said = project.expect(2, &[&["run"], targets].concat()).err;
            let first = if targets.contains(&"e2") { "e1" } else { "e2 e1" };
            assert!(said.contains(&format!("help: build it first: kiln run {first}\n")), "{targets:?}: {said}");
            let again = project.expect(1, &[&["run", "-k"], targets].concat()).out;
            let failed = if targets.contains(&"e2") && text != ABOVE { "m" } else { *targets.last().unwrap() };
            let again_says = format!("kiln run -k {first} {}\n", failed.trim_start_matches('+'));
            assert!(again.contains(&again_says), "{targets:?}: {again_says}{again}");
            project.expect(0, &[&["run"], &first.split(' ').collect::<Vec<_>>()[..]].concat());
            project.expect(0, &[&["run"], targets].concat());
        }
        // What is there need not be named.
        let project = Project::new(text);
        project.expect(0, &["run", "e1"]);
        let said = project.expect(2, &["run"]).err;
        assert!(said.contains("help: build it first: kiln run e2\n"), "{said}");
    }
}
