//! `kiln adopt`: what is there counts as built, what is not is left, and the history tells it.

use crate::support::{Project, lines, started};

const PIPELINE: &str = r#"
[dataset.raw]
path = "raw"
[dataset.a]
path = "a"
inputs = ["raw"]
run = "echo built by kiln > {{ output }}"
[folder.b]
path = "b"
inputs = ["a"]
run = "echo built by kiln > {{ output }}/x"
[dataset.c]
path = "c"
inputs = ["a"]
run = "echo built by kiln > {{ output }}"
[dataset.d]
path = "d"
inputs = ["c"]
run = "echo built by kiln > {{ output }}"
[task.tell]
inputs = ["a"]
run = "true"
"#;

/// A project whose outputs another tool has made, but for `c`.
fn moved() -> Project {
    let project = Project::new(PIPELINE);
    for path in ["raw", "a", "b/x", "d"] {
        project.write(path, format!("{path} of another tool\n"));
    }
    project
}

#[test]
fn what_is_there_is_taken_and_not_built() {
    let project = moved();
    let before = project.tree();
    let dry = project.expect(0, &["adopt", "--dry-run"]).out;
    assert!(dry.contains("  would take  a     a\n") && dry.contains("  left        c     c is not there\n"), "{dry}");
    assert!(dry.ends_with("would take 2 steps, left 3, 0 up to date\n"), "{dry}");
    assert!(!project.exists(".kiln"), "a dry run keeps nothing");
    let said = project.expect(0, &["adopt"]).out;
    for line in [
        "  took  a     a\n",
        "  took  b     b\n",
        "  left  c     c is not there\n",
        "  left  d     its input c is not there\n",
        "  left  tell  a task leaves nothing to see: name it if it was done\n",
        "took 2 steps, left 3, 0 up to date\nrecorded as build_p_",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert_eq!(project.tree(), before, "no output is touched");
    let run = project.expect(0, &["run", "--events", "-"]);
    assert_eq!(started(&run.out), ["c", "d", "tell"]);
    assert_eq!(project.read("a"), "a of another tool\n");
}

#[test]
fn what_is_left_out_is_not_taken() {
    let project = moved();
    let said = project.expect(0, &["adopt", "--exclude", "a"]).out;
    assert!(said.contains("  took  b     b\n") && !said.contains("  took  a"), "{said}");
    assert_eq!(started(&project.expect(0, &["run", "a", "--events", "-"]).out), ["a"]);
}

#[test]
fn it_stands_in_the_history_as_a_run_of_its_own() {
    let project = moved();
    project.expect(0, &["adopt"]);
    let list = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&list[0]["state"], &list[0]["why"], &list[0]["current"]),
        (&"DONE".into(), &"adopted".into(), &2.into())
    );
    let events = lines(&project.expect(0, &["jobs", "show", "last", "--format", "json"]).out);
    let ended: Vec<_> = events.iter().filter(|event| event["type"] == "step_ended").collect();
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|event| event["outcome"] == "adopted" && event["record"]["key"].is_string()));
    let shown = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(shown.contains("\nadopted  a     ") && shown.contains("\n2 adopted · "), "{shown}");
    assert!(!shown.contains("up to date"), "{shown}");
    // It says nothing about how long a build takes.
    let plan = project.expect(0, &["plan", "a", "--mode", "forced", "--format", "json"]).out;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["steps"][0]["expected_ms"], serde_json::Value::Null);
    // A change is noticed as after a build.
    project.write("raw", "another\n");
    let why = project.expect(0, &["why", "a"]).out;
    assert!(why.contains("input changed: raw") && why.contains("adopted"), "{why}");
}

#[test]
fn what_was_built_before_is_taken_only_by_name() {
    let project = moved();
    project.expect(0, &["run"]);
    project.write("pipeline.toml", project.read("pipeline.toml").replace("> {{ output }}\"", "| tee {{ output }}\""));
    let said = project.expect(0, &["adopt"]).out;
    assert!(said.contains("it was built before; name it to take it all the same: command changed"), "{said}");
    assert!(said.ends_with("took 0 steps, left 3, 2 up to date\n"), "{said}");
    let said = project.expect(0, &["adopt", "a", "tell"]).out;
    assert!(said.contains("took 1 step, left 0, 1 up to date\n"), "{said}");
    let run = project.expect(0, &["run", "--events", "-"]);
    assert_eq!(started(&run.out), ["c", "d"]);
}

#[test]
fn of_what_is_built_each_time_there_is_nothing_to_take() {
    let project = Project::new("[dataset.al]\npath = \"al\"\nrebuild = \"always\"\nrun = \"echo >{{ output }}\"\n");
    project.expect(0, &["run"]);
    let left = "  left  al  there is nothing to take: it was built before, and is built each time\n";
    assert!(project.expect(4, &["adopt"]).out.starts_with(left));
    assert!(project.expect(4, &["adopt", "al"]).out.starts_with(left));
    // What Kiln has never built becomes its own.
    let project = Project::new(&project.read("pipeline.toml").replace(crate::support::HEAD, ""));
    project.write("al", "by hand\n");
    assert!(project.expect(0, &["adopt"]).out.contains("  took  al  al\n"));
    assert!(!project.expect(0, &["plan"]).out.contains("replaces what is there"));
}

#[test]
fn what_is_left_is_told_in_the_order_of_a_run() {
    let step = |kind: &str, name: &str| format!("[{kind}.{name}]\npath = \"{name}\"\nrun = \"true\"\n");
    let all = [step("folder", "blocked"), step("dataset", "gone"), step("folder", "blocked_too"), step("task", "tell")];
    let project = Project::new(&all.concat().replace("path = \"tell\"\n", ""));
    project.write("blocked", "a file\n");
    project.write("blocked_too", "a file\n");
    let said = project.expect(4, &["adopt", "--dry-run"]).out;
    let left = said.lines().filter_map(|line| line.trim().strip_prefix("left"));
    let left: Vec<_> = left.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(left, ["blocked", "gone", "blocked_too", "tell"], "{said}");
}

#[test]
fn what_was_only_adopted_is_not_called_built() {
    let project = moved();
    project.expect(0, &["adopt"]);
    let said = project.expect(0, &["why", "a"]).out;
    assert!(said.contains("\n  adopted ") && said.contains(", as it was adopted with\n"), "{said}");
    assert!(!said.contains("good build") && !said.contains("built with"), "{said}");
    let json: serde_json::Value =
        serde_json::from_str(&project.expect(0, &["why", "a", "--format", "json"]).out).unwrap();
    assert_eq!(json["last_good"]["adopted"], true);
    project.expect(0, &["run", "a", "--mode", "forced"]);
    let said = project.expect(0, &["why", "a"]).out;
    assert!(said.contains("\n  last good build ") && said.contains(", as it was built with\n"), "{said}");
}

#[test]
fn nothing_of_what_was_named_is_an_exit_code_of_its_own() {
    let project = moved();
    for arguments in [&["adopt", "c"][..], &["adopt", "c", "d", "--dry-run"]] {
        let said = project.expect(4, arguments);
        assert!(said.out.contains("  left  c  c is not there\n"), "{}", said.out);
    }
    // Something of it is enough, taken now or held already; what a target is made from does not count.
    project.expect(0, &["adopt", "a", "c"]);
    project.expect(0, &["adopt", "a"]);
    project.expect(4, &["adopt", "c"]);
    // Without targets nothing was promised.
    project.expect(0, &["adopt"]);
    project.expect(0, &["adopt"]);
}

#[test]
fn a_task_that_was_done_is_taken_by_name() {
    let project = moved();
    project.expect(0, &["adopt", "tell"]);
    let run = project.expect(0, &["run", "tell", "--events", "-"]);
    assert_eq!(started(&run.out), [] as [&str; 0]);
}

#[test]
fn it_waits_for_no_run_that_goes_on_and_mends_one_that_died() {
    let project = moved();
    let said = project.expect(2, &["adopt", "nothing"]);
    assert!(said.err.contains("unknown target `nothing`"), "{}", said.err);
    project.expect(0, &["run"]);
    let store = rusqlite::Connection::open(project.path(".kiln/kiln.db")).unwrap();
    store
        .execute_batch("UPDATE runs SET state = 'RUNNING', ended = NULL; DELETE FROM events WHERE type = 'run_ended'")
        .unwrap();
    drop(store);
    project.expect(0, &["adopt", "tell"]);
    let list = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    assert!(list.contains("ABORTED") && !list.contains("RUNNING"), "{list}");
}

#[test]
fn a_file_is_no_managed_folder() {
    let project = Project::new("[folder.w]\npath = \"b/w\"\nrun = \"echo >{{ output }}/x\"\n");
    project.write("b/w", "a file\n");
    for arguments in [&["adopt", "-n"][..], &["adopt"]] {
        let said = project.expect(4, arguments).out;
        assert!(said.contains("  left  w  b/w is a file, a folder is needed\n"), "{said}");
    }
}

/// What it is made from has another name now, and its recipe is given that.
#[test]
fn what_has_another_name_is_taken_with_what_reads_it() {
    let text = |name: &str| {
        format!(
            "[dataset.{name}]\npath = \"a\"\nrun = 'echo 1 >{{{{ output }}}}'\n[dataset.b]\npath = \"b\"\ninputs = [\"{name}\"]\n\
            run = 'cp {{{{ inputs.{name} }}}} {{{{ output }}}}'\n"
        )
    };
    let project = Project::new(&text("old"));
    project.expect(0, &["run"]);
    project.pipeline(&text("new"));
    assert!(project.expect(0, &["plan"]).out.contains("2 steps: 2 build\n"));
    assert!(project.expect(0, &["adopt", "new", "b"]).out.contains("took 2 steps"));
    assert!(project.expect(0, &["plan"]).out.contains("2 steps: 2 up to date"));
}
