//! A run that could not begin, as one of the night for want of a source: it is in the history, if there is one, and the run before it does not pass
//! for the last one.

use serde_json::Value;

use crate::support::{Project, lines, started};

const TEXT: &str = "[dataset.s]\npath = \"s.csv\"\n\
    [dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"cat {{ inputs.s }} >{{ output }}\"\nsecrets = { P = { env = \"PW\" } }\n\
    [dataset.b]\npath = \"b\"\nrun = \"echo >{{ output }}\"\n";

/// A project with a run, to the next one of which something lacks.
fn lacking() -> Project {
    let mut project = Project::new(TEXT);
    project.write("s.csv", "1\n");
    project.variable("PW", "long secret");
    project.expect(0, &["run"]);
    std::fs::remove_file(project.path("s.csv")).unwrap();
    project
}

fn jobs(project: &Project) -> Value {
    serde_json::from_str(&project.expect(0, &["jobs", "list", "--format", "json"]).out).unwrap()
}

#[test]
fn a_refused_run_is_the_newest_and_has_failed() {
    let project = lacking();
    let said = project.expect(2, &["run", "--junit", "j.xml", "--events", "e.jsonl"]);
    assert!(said.err.ends_with("pipeline.toml: 1 obstacle\n"), "{}", said.err);
    // They tell that no run began.
    assert!(project.read("j.xml").contains("errors=\"1\"") && project.read("e.jsonl").is_empty());
    let jobs = jobs(&project);
    assert_eq!((&jobs[0]["state"], &jobs[1]["state"]), (&"FAILED".into(), &"DONE".into()));
    let list = project.expect(0, &["jobs", "list"]).out;
    let why = "source `s` is not there, and `a` needs it: there is nothing at s.csv; put the file there";
    assert!(list.lines().nth(1).unwrap().contains(why), "{list}");
    let show = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(show.contains(&format!("state    FAILED · {why}")) && show.contains("\nFAILED source `s`"), "{show}");
    assert_eq!(lines(&project.expect(0, &["jobs", "show", "last", "--format", "json"]).out).len(), 2);
    let plan = project.expect(2, &["plan"]).err + &project.expect(0, &["plan", "-k"]).out;
    assert!(plan.contains(" (FAILED, source `s` is not there"), "{plan}");
}

#[test]
fn what_it_was_asked_for_is_what_it_did_not_get_done() {
    let mut project = lacking();
    project.variable("PW", "secret of the day");
    project.expect(2, &["run", "a", "--mode", "forced", "--exclude", "b"]);
    assert_eq!(project.expect(2, &["run", "--failed"]).out, "");
    project.expect(2, &["run", "--failed"]);
    project.write("s.csv", "2\n");
    let events = project.expect(0, &["run", "--failed", "--events", "-"]).out;
    assert_eq!(started(&events), ["a"]);
    assert_eq!(
        (&lines(&events)[0]["mode"], &lines(&events)[0]["exclude"]),
        (&"forced".into(), &serde_json::json!(["b"]))
    );
    let said = project.expect(4, &["run", "--failed"]);
    assert!(said.err.contains("got everything done"), "{}", said.err);
}

#[test]
fn all_that_is_in_the_way_is_counted() {
    let mut project = lacking();
    project.variable("PW", "long secret");
    let mut command = project.command(&["run"]);
    assert_eq!(command.env_remove("PW").output().unwrap().status.code(), Some(2));
    let why = jobs(&project)[0]["why"].as_str().unwrap().to_owned();
    assert!(why.ends_with("; and 1 more obstacle") && !why.contains('\n'), "{why}");
}

#[test]
fn what_is_no_run_is_not_kept() {
    let project = lacking();
    project.expect(2, &["plan"]);
    project.expect(2, &["run", "-n"]);
    project.expect(2, &["run", "none"]);
    project.write("pipeline.toml", project.read("pipeline.toml") + "x = 1\n");
    project.expect(2, &["run"]);
    assert_eq!(jobs(&project).as_array().unwrap().len(), 1);
    // Nor one for which there is no history yet.
    let project = Project::new(TEXT);
    project.expect(2, &["run"]);
    assert!(!project.exists(".kiln"));
}

/// What was built before is not built again for it, and house is kept as ever.
#[test]
fn it_takes_nothing_from_what_was_built() {
    let project = lacking();
    project.expect(2, &["run"]);
    project.write("s.csv", "1\n");
    assert_eq!(started(&project.expect(0, &["run", "--events", "-"]).out), [] as [&str; 0]);
    project.expect(2, &["run", "--failed", "none"]);
    std::fs::remove_file(project.path("s.csv")).unwrap();
    project.expect(2, &["run"]);
    project.expect(0, &["gc", "--keep-days", "0", "--keep-runs", "1"]);
    let stay = "the newest, the newest that could begin, and the one that holds the last good builds";
    assert_eq!(jobs(&project).as_array().unwrap().len(), 3, "{stay}");
    project.write("s.csv", "1\n");
    project.expect(0, &["plan", "--check"]);
}

/// What is in the way of an engine as a whole is told without the place where it is named.
#[test]
fn a_key_of_an_engine_is_in_the_way_too() {
    let project = Project::new(
        "[engine.prod]\nkind = \"dss\"\nurl = \"http://127.0.0.1:9\"\napi_key = { env = \"KEY\" }\n\
         [dataset.a]\npath = \"a\"\nrun = \"echo >{{ output }}\"\n",
    );
    project.expect(0, &["run"]);
    project.expect(2, &["run", "--engine", "prod"]);
    let newest = &jobs(&project)[0];
    assert_eq!((&newest["engine"], &newest["state"]), (&"prod".into(), &"FAILED".into()));
    assert_eq!(newest["why"], "the variable KEY is not set; set it to the API key");
}

#[test]
fn what_could_not_begin_pushes_nothing_out_of_the_history() {
    let project =
        Project::new("[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"exit 3\"\n");
    project.write("s", "");
    project.expect(1, &["run"]);
    std::fs::remove_file(project.path("s")).unwrap();
    for _ in 0..3 {
        project.expect(2, &["run"]);
    }
    project.expect(0, &["gc", "--keep-runs", "1", "--keep-days", "0"]);
    let list = project.expect(0, &["jobs", "list"]).out;
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(list.contains("a: exit 3") && list.contains("source `s` is not there"), "{list}");
}
