//! One job for all steps of a run (`jobs = "run"`): its activities are our steps, whatever becomes of it.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::dss::{project, run, signal, wait};
use crate::dss_server::{Asked, Fault, Server};
use crate::support::{Project, lines};

const STEPS: &str = r#"
[dataset.raw]
[dataset.a]
inputs = ["raw"]
[dataset.b]
inputs = ["a"]
retry = 0
[dataset.c]
inputs = ["b"]
[folder.charts]
id = "O2ue6CX3"
inputs = ["a"]
"#;

/// What DSS says of a job: its state, and that of each activity by what it makes.
fn status(state: &str, activities: &[(&str, &str)]) -> Value {
    let activity = |(target, state): &(&str, &str)| {
        let failure = json!({ "errorType": "E", "message": format!("no luck with {target}") });
        let failure = if *state == "FAILED" { failure } else { Value::Null };
        let body = json!({ "recipeName": format!("make_{target}"), "state": state, "firstFailure": failure,
            "targets": [{ "type": "DATASET", "id": format!("P.{target}") }] });
        (format!("make_{target}_NP"), body)
    };
    let activities: serde_json::Map<String, Value> = activities.iter().map(activity).collect();
    let total = activities.len();
    json!({ "baseStatus": { "state": state, "activities": activities }, "globalState": { "total": total } })
}

fn whole(server: &Server) -> Project {
    project(server, "jobs = \"run\"", STEPS)
}

/// How each step ended, in order of their names: `a built, b up to date`.
fn ends(events: &str) -> String {
    let end = |event: Value| {
        let step = event["step"].as_str()?.to_owned();
        match event["type"].as_str()? {
            "step_ended" => Some(format!("{step} {}", event["outcome"].as_str()?)),
            "step_current" => Some(format!("{step} up to date")),
            "step_skipped" => Some(format!("{step} skipped")),
            _ => None,
        }
    };
    let mut ends: Vec<String> = lines(events).into_iter().filter_map(end).collect();
    ends.sort();
    ends.join(", ")
}

/// The outputs of each job that was asked for.
fn asked(server: &Server) -> Vec<String> {
    server.with(|state| state.jobs.iter().map(|job| format!("{} {}", job.kind, job.key())).collect())
}

const ALL: &str = "RECURSIVE_BUILD a+b+c+O2ue6CX3";

#[test]
fn each_step_is_told_as_its_activity_ends() {
    let server = Server::start();
    let begun = status("RUNNING", &[("a", "RUNNING"), ("O2ue6CX3", "NOT_STARTED"), ("c", "NOT_STARTED")]);
    let further = status("RUNNING", &[("a", "DONE"), ("O2ue6CX3", "RUNNING"), ("c", "RUNNING")]);
    server.script(vec![status("NOT_STARTED", &[]), begun, further]);
    let project = whole(&server);
    let mut child = project.start(&["run", "--engine", "prod", "--events", "-"]);
    let mut seen = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    // The job goes on: `a` is built, `b` has nothing to run, `c` and the folder are on their way.
    while !seen.contains("\"step\":\"b\"}") {
        assert!(out.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    assert_eq!(ends(&seen), "a built, b up to date");
    server.script_on(0, vec![status("DONE", &[("a", "DONE"), ("O2ue6CX3", "DONE"), ("c", "DONE"), ("x", "DONE")])]);
    while out.read_line(&mut seen).unwrap() > 0 {}
    assert_eq!(child.wait().unwrap().code(), Some(0), "{seen}");
    assert_eq!(ends(&seen), "a built, b up to date, c built, charts built");
    assert_eq!(asked(&server), [ALL]);
    let also: Vec<Value> = lines(&seen).into_iter().filter(|event| event["also_built"] == json!(["P.x"])).collect();
    assert_eq!(also.len(), 1, "what else was built is told once");
    let submitting = lines(&seen).into_iter().filter(|event| event["type"] == "step_submitting").count();
    let accepted = lines(&seen).into_iter().filter(|event| event["type"] == "step_accepted").count();
    assert_eq!((submitting, accepted), (1, 4));
}

#[test]
fn modes_are_types() {
    for (mode, expected) in [
        ("smart", vec![ALL]),
        ("missing", vec!["RECURSIVE_MISSING_ONLY_BUILD a+b+c+O2ue6CX3"]),
        ("forced", vec!["RECURSIVE_FORCED_BUILD a+b+c+O2ue6CX3"]),
        // DSS promises no order there.
        ("only", vec!["NON_RECURSIVE_FORCED_BUILD a", "NON_RECURSIVE_FORCED_BUILD b"]),
    ] {
        let server = Server::start();
        if mode != "only" {
            let all = [("a", "DONE"), ("b", "DONE"), ("c", "DONE"), ("O2ue6CX3", "DONE")];
            server.script(vec![status("DONE", &all)]);
        }
        let targets: &[&str] = if mode == "only" { &["a", "b"] } else { &[] };
        let said = run(&whole(&server), 0, &[&["--mode", mode], targets].concat());
        assert!(said.out.contains(if mode == "only" { "2 built" } else { "4 built" }), "{}", said.out);
        assert_eq!(asked(&server), expected);
    }
}

#[test]
fn nothing_to_do_is_up_to_date_or_a_failure() {
    let server = Server::start();
    server.script(vec![status("DONE", &[])]);
    let said = run(&whole(&server), 0, &[]);
    assert!(said.out.contains("4 up to date"), "{}", said.out);
    let server = Server::start();
    server.script(vec![status("DONE", &[("a", "DONE")])]);
    let said = run(&whole(&server), 1, &["--mode", "forced", "--keep-going"]);
    assert!(said.out.contains("DSS had nothing to run for P.b"), "{}", said.out);
}

#[test]
fn a_failure_is_that_of_its_step() {
    let server = Server::start();
    let end = [("a", "DONE"), ("b", "FAILED"), ("c", "NOT_STARTED"), ("O2ue6CX3", "DONE")];
    server.script(vec![status("FAILED", &end)]);
    let project = whole(&server);
    let said = run(&project, 1, &["--events", "events"]);
    assert!(said.out.contains("activity make_b_NP of job"), "{}", said.out);
    assert!(said.out.contains("no luck with b") && said.out.contains("/jobs/Build_a_NP"), "{}", said.out);
    assert_eq!(ends(&project.read("events")), "a built, b failed, c skipped, charts built");
    assert_eq!(asked(&server), [ALL]);
}

#[test]
fn what_fails_elsewhere_fails_the_steps_that_were_not_come_to() {
    for (end, expected) in [
        (&[("up", "FAILED"), ("a", "NOT_STARTED")][..], "activity make_up_NP of job"),
        (&[], "failed, and DSS does not say why"),
    ] {
        let server = Server::start();
        server.script(vec![status("FAILED", end)]);
        let said = run(&whole(&server), 1, &[]);
        assert!(said.out.contains(expected), "{}", said.out);
        assert_eq!(asked(&server), [ALL]);
    }
}

#[test]
fn what_a_failed_job_left_undone_gets_a_job_of_its_own() {
    // `b` is tried again by itself, and `c` behind it; the folder waits for nothing but was not come to.
    let server = Server::start();
    let end = [("a", "DONE"), ("b", "FAILED"), ("c", "ABORTED"), ("O2ue6CX3", "NOT_STARTED")];
    server.script(vec![status("FAILED", &end)]);
    let project = whole(&server);
    project.write(
        "pipeline.toml",
        project.read("pipeline.toml").replace("retry = 0", "retry = { max = 1, delay = \"0s\" }"),
    );
    run(&project, 0, &["--events", "events"]);
    assert_eq!(ends(&project.read("events")), "a built, b built, c built, charts built");
    let mut jobs = asked(&server);
    jobs[1..].sort();
    assert_eq!(jobs, [ALL, "RECURSIVE_BUILD O2ue6CX3", "RECURSIVE_BUILD b", "RECURSIVE_BUILD c"]);
}

#[test]
fn a_job_that_others_build_into_is_asked_for_again() {
    let server = Server::start();
    let busy =
        json!({ "baseStatus": { "state": "FAILED" }, "error": { "message": "Dataset P.a is already being built" } });
    server.script(vec![busy]);
    server.script(vec![status("DONE", &[("a", "DONE")])]);
    let said = run(&whole(&server), 0, &[]);
    assert!(said.out.contains("1 built") && said.out.contains("3 up to date"), "{}", said.out);
    assert_eq!(asked(&server), [ALL, ALL]);
}

#[test]
fn the_job_ends_with_its_run() {
    // Ctrl-C.
    let running = status("RUNNING", &[("a", "RUNNING"), ("b", "NOT_STARTED"), ("c", "NOT_STARTED")]);
    let server = Server::start();
    server.script(vec![running.clone()]);
    let project = whole(&server);
    let child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.asked.iter().filter(|asked| asked.path.ends_with(".000/")).count() > 1);
    signal(&child, "INT");
    let said = wait(child);
    assert_eq!(said.code, 130, "{said:?}");
    assert!(said.out.contains("was aborted"), "{said:?}");
    assert_eq!(server.with(|state| state.jobs[0].state.clone()), "ABORTED");
    // A step that failed: nothing is left for the run to wait for.
    let server = Server::start();
    server.script(vec![status("RUNNING", &[("a", "FAILED"), ("b", "RUNNING"), ("c", "NOT_STARTED")])]);
    let said = run(&whole(&server), 1, &[]);
    assert!(said.out.contains("no luck with a"), "{said:?}");
    assert!(said.err.contains("job Build_a_NP_2026-11-24T02-00-00.000 on DSS"), "{said:?}");
    assert_eq!(server.with(|state| state.jobs[0].state.clone()), "ABORTED");
    // Someone else.
    let server = Server::start();
    server.script(vec![running, status("ABORTED", &[("a", "DONE"), ("b", "ABORTED")])]);
    let said = run(&whole(&server), 1, &["--keep-going"]);
    assert!(said.out.contains("was aborted on DSS, not by Kiln") && said.out.contains("1 built"), "{said:?}");
}

#[test]
fn a_lost_answer_or_a_kill_makes_no_second_job() {
    let done = || status("DONE", &[("a", "DONE"), ("b", "DONE"), ("c", "DONE"), ("O2ue6CX3", "DONE")]);
    let page = "<html>bad</html>".to_owned();
    for fault in [
        Fault::CutBefore,
        Fault::CutMiddle,
        Fault::CutAfter,
        Fault::DoneAnswer(502, page.clone()),
        Fault::Answer(502, "", page),
        Fault::Drip,
    ] {
        let server = Server::start();
        server.script(vec![status("RUNNING", &[]), done()]);
        server.fault(Asked::is_start, fault.clone());
        let said = run(&whole(&server), 0, &[]);
        assert!(said.out.contains("4 built"), "{fault:?}: {}", said.out);
        assert_eq!(asked(&server), [ALL], "{fault:?}");
    }
    type Concerns = fn(&Asked) -> bool;
    let points: [(Concerns, Fault); 4] = [
        (|asked| asked.method == "GET" && asked.path.ends_with("/jobs/"), Fault::Held),
        (Asked::is_start, Fault::Held),
        (Asked::is_start, Fault::Silent),
        (|asked| asked.path.ends_with(".000/"), Fault::Held),
    ];
    for (i, (concerns, fault)) in points.into_iter().enumerate() {
        let server = Server::start();
        server.script(vec![
            status("RUNNING", &[("a", "DONE"), ("b", "RUNNING"), ("c", "NOT_STARTED"), ("O2ue6CX3", "NOT_STARTED")]),
            done(),
        ]);
        server.fault(concerns, fault);
        let project = whole(&server);
        let mut child = project.start(&["run", "--engine", "prod"]);
        server.wait(|state| state.silent() > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        let said = run(&project, 0, &[]);
        assert!(said.out.contains("4 built"), "point {i}: {}", said.out);
        assert_eq!(asked(&server), [ALL], "point {i}");
    }
}

#[test]
fn what_was_left_and_could_not_be_looked_for_is_looked_for_by_each_attempt() {
    let running = || status("RUNNING", &[("a", "RUNNING"), ("b", "NOT_STARTED")]);
    let server = Server::start();
    server.script(vec![running()]);
    server.fault(|asked| asked.path.ends_with(".000/"), Fault::Held);
    let project = whole(&server);
    let text = project.read("pipeline.toml").replace("retry = 0\n", "").replace("\"5s\"", "\"100ms\"");
    let retry = "inputs = [\"raw\"]\nretry = { max = 100, delay = \"0s\" }";
    project.write("pipeline.toml", text.replacen("inputs = [\"raw\"]", retry, 1));
    let mut child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.silent() > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    // The next run cannot ask for the job until it tries again.
    server.with(|state| state.down = true);
    let mut child = project.start(&["run", "--engine", "prod", "--events", "-", "a"]);
    let mut seen = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    while !seen.contains("step_retrying") {
        assert!(out.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    let asked_before = server.count(|_| true);
    server.with(|state| state.down = false);
    server.wait(|state| state.asked.len() > asked_before + 8);
    assert_eq!(asked(&server), [ALL], "while the job goes on there is no other: {seen}");
    server.script_on(0, vec![status("DONE", &[("a", "DONE"), ("b", "DONE"), ("c", "DONE"), ("O2ue6CX3", "DONE")])]);
    server.with(|state| state.jobs[0].state = "DONE".to_owned());
    while out.read_line(&mut seen).unwrap() > 0 {}
    assert_eq!(child.wait().unwrap().code(), Some(0), "{seen}");
}

#[test]
fn what_is_always_built_does_not_fit() {
    let server = Server::start();
    let project = project(&server, "jobs = \"run\"", "[dataset.a]\ninputs = []\nrebuild = \"always\"\n");
    let said = project.expect(2, &["run", "--engine", "prod"]);
    assert!(said.err.contains("`a` is always built, which one job for all cannot do"), "{}", said.err);
    assert_eq!(server.count(|_| true), 0);
}

#[test]
fn a_failure_that_names_no_step_is_told_as_such() {
    let server = Server::start();
    let mut end = status("FAILED", &[("a", "DONE"), ("b", "FAILED"), ("c", "NOT_STARTED")]);
    end["baseStatus"]["activities"]["make_b_NP"].as_object_mut().unwrap().remove("targets");
    server.script(vec![end]);
    let project = whole(&server);
    let said = run(&project, 1, &["--events", "events", "--keep-going"]);
    let expected = "failed: no luck with b; DSS does not say which step's it is, so this one may be built";
    assert!(said.out.contains("activity make_b_NP of job") && said.out.contains(expected), "{}", said.out);
    assert_eq!(asked(&server), [ALL], "what failed is not known, so nothing is asked for by itself");
}
