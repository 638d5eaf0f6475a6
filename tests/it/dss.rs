//! Runs on a DSS server: what it is asked for, and what becomes of a run when answers are lost, jobs collide, the server
//! breaks, or Kiln is killed. The record of the server is the truth.

use std::process::Child;

use crate::dss_server::{Asked, End, Fault, Server};
use crate::support::{Project, Said, lines};

/// A pipeline of three steps in a row, and one beside them.
const STEPS: &str = r#"
[dataset.raw]
[dataset.a]
inputs = ["raw"]
[dataset.b]
inputs = ["a"]
[dataset.c]
inputs = ["b"]
[folder.charts]
id = "O2ue6CX3"
inputs = ["a"]
auto_update_schema = true
"#;

pub(crate) const ONE: &str = "[dataset.a]\ninputs = []\n";

/// A project with an engine `prod` on the server.
pub(crate) fn project(server: &Server, settings: &str, steps: &str) -> Project {
    let mut project = Project::empty();
    let port = server.port;
    project.write(
        "pipeline.toml",
        format!(
            "[pipeline]\nformat = 1\nname = \"p\"\n[engine.prod]\nkind = \"dss\"\nurl = \"http://127.0.0.1:{port}\"\n\
             api_key = {{ env = \"KEY\" }}\nsubmit_grace = \"100ms\"\nlost_after = \"5s\"\n{settings}\n{steps}"
        ),
    );
    project.variable("KEY", "s3cret-key");
    project.variable("KILN_TEST_POLL", "10ms");
    project
}

pub(crate) fn run(project: &Project, code: i32, more: &[&str]) -> Said {
    let arguments: Vec<&str> = ["run", "--engine", "prod"].iter().chain(more).copied().collect();
    let said = project.expect(code, &arguments);
    assert!(!said.out.contains("s3cret-key") && !said.err.contains("s3cret-key"), "{said:?}");
    said
}

pub(crate) fn wait(child: Child) -> Said {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { out: text(output.stdout), err: text(output.stderr), code: output.status.code().unwrap_or(-1) }
}

pub(crate) fn signal(child: &Child, name: &str) {
    let kill = std::process::Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

pub(crate) fn is_list(asked: &Asked) -> bool {
    asked.method == "GET" && asked.path.ends_with("/jobs/")
}

pub(crate) fn is_status(asked: &Asked) -> bool {
    asked.method == "GET" && asked.path.contains("/jobs/Build_") && asked.path.ends_with('/')
}

fn is_get(asked: &Asked) -> bool {
    asked.method == "GET"
}

#[track_caller]
pub(crate) fn one_job_each(server: &Server, steps: &[&str]) {
    let expected = steps.iter().map(|step| ((*step).to_owned(), 1)).collect();
    assert_eq!(server.jobs_per_step(), expected);
}

#[test]
fn one_job_is_started_for_each_step() {
    let server = Server::start();
    server.end("a", End::Built(vec!["raw_clean"]));
    server.end("c", End::Nothing);
    let project = project(&server, "", STEPS);
    let plan = project.expect(0, &["plan", "--engine", "prod"]);
    assert!(plan.out.contains("4 ask"), "{}", plan.out);
    assert_eq!(server.count(|_| true), 0, "a plan asks nobody");
    let said = run(&project, 0, &["--events", "events"]);
    one_job_each(&server, &["a", "b", "c", "O2ue6CX3"]);
    assert!(said.out.contains("also built: P.raw_clean"), "{}", said.out);
    assert!(said.out.contains("3 built") && said.out.contains("1 up to date"), "{}", said.out);
    let starts: Vec<Asked> =
        server.with(|state| state.asked.iter().filter(|asked| asked.is_start()).cloned().collect());
    assert_eq!(starts[0].header("authorization"), Some("Basic czNjcmV0LWtleTo="));
    let body: serde_json::Value = serde_json::from_str(&starts[0].body).unwrap();
    let expected = serde_json::json!({
        "type": "RECURSIVE_BUILD", "refreshHiveMetastore": false, "autoUpdateSchemaBeforeEachRecipeRun": false,
        "outputs": [{ "type": "DATASET", "id": "a", "projectKey": "P" }],
    });
    assert_eq!(body, expected);
    let charts = starts.iter().find(|start| start.body.contains("O2ue6CX3")).unwrap();
    assert!(charts.body.contains(r#""autoUpdateSchemaBeforeEachRecipeRun":true"#), "{}", charts.body);
    assert!(charts.body.contains("MANAGED_FOLDER"), "{}", charts.body);
    // The intent is there before the job is, and the job before its end.
    let events = lines(&project.read("events"));
    let of_a: Vec<&str> =
        events.iter().filter(|event| event["step"] == "a").map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(of_a, ["step_started", "step_submitting", "step_accepted", "step_ended"]);
}

#[test]
fn modes_are_types() {
    for (mode, kind, what) in [
        ("smart", "RECURSIVE_BUILD", "up to date"),
        ("missing", "RECURSIVE_MISSING_ONLY_BUILD", "up to date"),
        ("only", "NON_RECURSIVE_FORCED_BUILD", "DSS had nothing to run for P.a"),
        ("forced", "NON_RECURSIVE_FORCED_BUILD", "DSS had nothing to run for P.a"),
    ] {
        let server = Server::start();
        server.end("a", End::Nothing);
        let code = i32::from(what.starts_with("DSS"));
        let said = run(&project(&server, "", ONE), code, &["--mode", mode, "--partition", "2026-11-01/2026-11-03"]);
        assert!(said.out.contains(what), "{mode}: {}", said.out);
        let body = server.with(|state| state.asked.iter().find(|asked| asked.is_start()).unwrap().body.clone());
        assert!(body.contains(kind) && body.contains(r#""partition":"2026-11-01/2026-11-03""#), "{body}");
    }
}

#[test]
fn what_dss_would_build_all_the_same_cannot_be_left_out() {
    for mode in ["smart", "missing", "forced"] {
        let server = Server::start();
        let said = run(&project(&server, "", STEPS), 2, &["--exclude", "a", "--mode", mode]).err;
        assert!(said.contains("`a` cannot be left out: `b` is made from it"), "{said}");
        assert_eq!(server.count(|_| true), 0);
    }
    for (mode, left_out, built) in [("smart", "charts", &["a", "b", "c"][..]), ("only", "a", &["b", "c", "O2ue6CX3"])] {
        let server = Server::start();
        run(&project(&server, "", STEPS), 0, &["--exclude", left_out, "--mode", mode]);
        one_job_each(&server, built);
    }
}

/// Every way in which the answer to the one POST can be lost, with whether the run comes to a good end.
fn lost() -> Vec<(&'static str, Fault, bool)> {
    let page = "<html><title>Bad gateway</title></html>".to_owned();
    vec![
        ("cut before", Fault::CutBefore, true),
        ("cut in the middle", Fault::CutMiddle, true),
        ("cut after", Fault::CutAfter, true),
        ("silent", Fault::Silent, true),
        ("502, not done", Fault::Answer(502, "", page.clone()), true),
        ("502, done", Fault::DoneAnswer(502, page.clone()), true),
        ("503, not done", Fault::Answer(503, "Retry-After: 0\r\n", String::new()), true),
        ("503, done", Fault::DoneAnswer(503, "{}".to_owned()), true),
        ("504, done", Fault::DoneAnswer(504, String::new()), true),
        ("500 without a word, done", Fault::DoneAnswer(500, String::new()), true),
        ("500 without a word, not done", Fault::Answer(500, "", String::new()), false),
        ("200 with a page, done", Fault::DoneAnswer(200, page.clone()), true),
        ("200 with a page, not done", Fault::Answer(200, "", page.clone()), false),
        ("200 without an id, done", Fault::DoneAnswer(200, "{}".to_owned()), true),
        ("200 with half of a JSON, done", Fault::DoneAnswer(200, "{\"id\":".to_owned()), true),
        ("408, not done", Fault::Answer(408, "", String::new()), true),
        ("408, done", Fault::DoneAnswer(408, page.clone()), true),
        ("499, done", Fault::DoneAnswer(499, page.clone()), true),
        ("524, done", Fault::DoneAnswer(524, page.clone()), true),
        ("303, done", Fault::DoneAnswer(303, String::new()), true),
        ("303, not done", Fault::Answer(303, "Location: /elsewhere\r\n", String::new()), false),
        ("401 with a page, done", Fault::DoneAnswer(401, page.clone()), true),
        ("401 with a page, not done", Fault::Answer(401, "", page), false),
        ("409, done", Fault::DoneAnswer(409, r#"{"message":"conflict"}"#.to_owned()), true),
        ("500 that timed out, done", Fault::DoneAnswer(500, r#"{"message":"Read timed out"}"#.to_owned()), true),
        ("500 that timed out", Fault::Answer(500, "", r#"{"message":"Read timed out"}"#.to_owned()), false),
        ("drip", Fault::Drip, true),
        ("429", Fault::Answer(429, "Retry-After: 0\r\n", "{}".to_owned()), true),
    ]
}

#[test]
fn a_lost_answer_makes_neither_two_jobs_nor_none() {
    for (name, fault, good) in lost() {
        let all = [(true, false, false), (false, true, false), (true, false, true)];
        let kinds = if name.starts_with("cut") { &all[..] } else { &all[..1] };
        for (running, shuffled, bare) in kinds.iter().copied() {
            let server = Server::start();
            server.with(|state| (state.has_running, state.shuffled, state.bare) = (running, shuffled, bare));
            server.with(|state| state.repeats = shuffled);
            // What was built before must not be taken for the new job, whatever the clocks say.
            server.job("old_1", "RECURSIVE_BUILD", "a", "DONE", "API (kiln-key)");
            server.job("old_2", "RECURSIVE_BUILD", "a", "FAILED", "API (kiln-key)");
            server.with(|state| state.clock -= 3_600_000);
            server.fault(Asked::is_start, fault.clone());
            let project = project(&server, "request_timeout = \"300ms\"", ONE);
            let said = project.kiln(&["run", "--engine", "prod"]);
            let case = format!("{name}, running {running}, bare {bare}: {said:?}");
            assert_eq!(said.code, i32::from(!good), "{case}");
            let jobs = server.with(|state| state.jobs.iter().filter(|job| job.id.starts_with("Build")).count());
            assert_eq!(jobs, usize::from(good), "{case}");
        }
    }
}

#[test]
fn what_reads_is_tried_again() {
    let (html, empty) = ("<html>busy</html>".to_owned(), String::new());
    let all: [fn(&Asked) -> bool; 3] = [is_list, is_status, is_get];
    for concerns in all {
        let server = Server::start();
        for fault in [
            Fault::CutBefore,
            Fault::CutMiddle,
            Fault::CutAfter,
            Fault::Silent,
            Fault::Drip,
            Fault::Answer(502, "", html.clone()),
            Fault::Answer(503, "Retry-After: 0\r\n", empty.clone()),
            Fault::Answer(500, "", empty.clone()),
            Fault::Answer(404, "", html.clone()),
            Fault::Answer(200, "", "[{\"def\": {".to_owned()),
            Fault::Answer(429, "Retry-After: 0\r\n", empty.clone()),
        ] {
            server.fault(concerns, fault);
        }
        let project = project(&server, "request_timeout = \"200ms\"", ONE);
        let said = project.kiln(&["run", "--engine", "prod"]);
        assert_eq!(said.code, 0, "{said:?}");
        one_job_each(&server, &["a"]);
    }
}

#[test]
fn pages_in_place_of_answers_pass_by_until_the_deadline() {
    let page = || Fault::Answer(200, "", "<html><title>Log in</title></html>".to_owned());
    let all: [fn(&Asked) -> bool; 3] = [is_list, is_status, is_get];
    for concerns in all {
        let server = Server::start();
        (0..3).for_each(|_| server.fault(concerns, page()));
        run(&project(&server, "", ONE), 0, &[]);
        one_job_each(&server, &["a"]);
    }
    let server = Server::start();
    (0..200).for_each(|_| server.fault(is_get, page()));
    let project = project(&server, "", ONE);
    project.write("pipeline.toml", project.read("pipeline.toml").replace("\"5s\"", "\"300ms\""));
    let said = run(&project, 3, &[]);
    let expected = "a web page came in place of an answer of DSS, perhaps a login: check `url`: Log in";
    assert!(said.out.contains(expected), "{}", said.out);
    assert_eq!(server.jobs_per_step().len(), 0);
}

#[test]
fn two_lost_requests_are_both_told() {
    let server = Server::start();
    server.fault(Asked::is_start, Fault::CutBefore);
    server.fault(Asked::is_start, Fault::Answer(504, "", String::new()));
    let said = run(&project(&server, "", ONE), 1, &[]);
    let expected = "no job was found, and there may be one of each request all the same: the answer of DSS was lost";
    assert!(said.out.contains(expected), "{}", said.out);
    assert!(said.out.contains("; then a gateway answered for DSS: 504"), "{}", said.out);
    assert_eq!(server.jobs_per_step().len(), 0);
}

#[test]
fn a_job_that_was_lost_from_sight_is_what_the_next_attempt_looks_at_first() {
    for kept in [true, false] {
        let server = Server::start();
        server.with(|state| state.looks = None);
        let project =
            project(&server, "", "[dataset.a]\ninputs = []\nretry = { max = 100, delay = \"100ms\", factor = 1 }\n");
        project.write("pipeline.toml", project.read("pipeline.toml").replace("\"5s\"", "\"50ms\""));
        let child = project.start(&["run", "--engine", "prod"]);
        server.wait(|state| state.asked.iter().any(|asked| asked.path.contains("/running/")));
        server.with(|state| state.down = true);
        let before = server.count(|_| true);
        // So many requests that go wrong are more than one attempt makes.
        server.wait(|state| state.asked.len() > before + 12);
        server.with(|state| (state.down, state.jobs[0].looks, state.jobs[0].removed) = (false, Some(0), !kept));
        server.with(|state| state.looks = Some(0));
        let said = wait(child);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(
            server.jobs_per_step()["a"],
            if kept { 1 } else { 2 },
            "a job that is gone is asked for again: {said:?}"
        );
        let log = project.expect(0, &["jobs", "log", "last"]).out;
        assert!(log.contains("left job Build_a_NP"), "{log}");
    }
}

#[test]
fn looking_too_often_is_a_mistake() {
    let server = Server::start();
    let said = project(&server, "poll = \"50ms\"", ONE).expect(2, &["plan", "--engine", "prod"]);
    assert!(said.err.contains("`poll = \"50ms\"` is too short"), "{}", said.err);
    assert!(said.err.contains("pipeline.toml:10:8"), "{}", said.err);
    assert!(said.err.contains("at most five times a second"), "{}", said.err);
}

#[test]
fn what_cannot_go_well_is_said_once() {
    let words = r#"{"errorType":"E","message":"Dataset \u0027a\u0027 was not found"}"#.to_owned();
    for (status, header, expected) in [
        (401, "", "DSS does not accept the API key (401)"),
        (403, "", "DSS does not allow it, or does not know the project (403)"),
        (404, "", "DSS does not know it (404)"),
        (409, "", "DSS says (409): Dataset 'a' was not found"),
        (400, "", "DSS says (400): Dataset 'a' was not found"),
        (500, "", "DSS says (500): Dataset 'a' was not found"),
        (302, "Location: http://127.0.0.1:9/login\r\n", "the key is not sent there"),
    ] {
        let server = Server::start();
        server.fault(Asked::is_start, Fault::Answer(status, header, words.clone()));
        let said = run(&project(&server, "", ONE), 1, &[]);
        assert!(said.out.contains(expected), "{status}: {}", said.out);
        assert_eq!(server.count(Asked::is_start), 1);
        assert_eq!(server.jobs_per_step().len(), 0);
    }
    let server = Server::start();
    server.fault(is_list, Fault::Answer(401, "", words));
    let said = run(&project(&server, "", ONE), 3, &[]);
    assert!(said.out.contains("DSS does not accept the API key (401)"), "{}", said.out);
    assert_eq!(server.count(|_| true), 1);
}

#[test]
fn nobody_listens() {
    let server = Server::start();
    let project = project(&server, "", ONE);
    let text = project.read("pipeline.toml").replace(&server.port.to_string(), "9").replace("\"5s\"", "\"300ms\"");
    project.write("pipeline.toml", text);
    let said = run(&project, 3, &[]);
    assert!(said.out.contains("DSS cannot be reached"), "{}", said.out);
    // What has been reached once, and is away then, has failed.
    server.fault(Asked::is_start, Fault::CutBefore);
    project.write("pipeline.toml", project.read("pipeline.toml").replace(":9\"", &format!(":{}\"", server.port)));
    let child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.asked.iter().any(Asked::is_start));
    server.with(|state| state.down = true);
    assert_eq!(wait(child).code, 1);
}

#[test]
fn a_failure_shows_its_cause_its_log_and_its_page() {
    let server = Server::start();
    server.end("a", End::Failed("KeyError: 'customer_id'"));
    let project = project(&server, "", STEPS);
    let said = run(&project, 1, &[]);
    let page = format!("http://127.0.0.1:{}/projects/P/jobs/Build_a_NP_2026-11-24T02-00-00.000/", server.port);
    for expected in
        ["activity py_a_NP of job", "KeyError: 'customer_id'", "[ERROR] it broke", &page, "kiln run --engine prod a"]
    {
        assert!(said.out.contains(expected), "{expected} is missing in\n{}", said.out);
    }
    assert!(said.out.contains("jobTicketSecret") && !said.out.contains("t1cket"), "{}", said.out);
    let log = project.kiln(&["jobs", "log", "last"]);
    assert!(log.out.contains(&page) && !log.out.contains("t1cket"), "{}", log.out);
}

#[test]
fn a_job_that_is_in_the_way_is_waited_for() {
    let server = Server::start();
    server.end("a", End::Busy(2));
    run(&project(&server, "", ONE), 0, &[]);
    assert_eq!(server.jobs_per_step()["a"], 3);
    let server = Server::start();
    server.end("a", End::Busy(1_000));
    let said = run(&project(&server, "busy_limit = \"0s\"", ONE), 1, &[]);
    assert!(said.out.contains("already being built"), "{}", said.out);
    // The time that its own job takes is none in which another one is waited for.
    let server = Server::start();
    server.end("a", End::Busy(1));
    run(&project(&server, "busy_limit = \"1ms\"", ONE), 0, &[]);
    assert_eq!(server.jobs_per_step()["a"], 2);
}

#[test]
fn a_job_that_goes_on_is_joined_waited_for_or_refused() {
    for (by, policy, jobs, code, word) in [
        ("API (kiln-key)", "", 1, 0, "was already building it"),
        ("API (other)", "on_running = \"join\"", 1, 0, "was already building it"),
        ("API (other)", "", 2, 0, "built"),
        ("API (kiln-key)", "on_running = \"wait\"", 2, 0, "built"),
        ("API (kiln-key)", "on_running = \"fail\"", 1, 1, "builds it already"),
    ] {
        let server = Server::start();
        server.job("Build_a_before", "RECURSIVE_BUILD", "a", "RUNNING", by);
        server.with(|state| state.jobs[0].looks = Some(4));
        let said = run(&project(&server, policy, ONE), code, &[]);
        assert_eq!(server.jobs_per_step()["a"], jobs, "{by} {policy}");
        assert!(said.out.contains(word), "{by} {policy}: {}", said.out);
    }
}

#[test]
fn a_job_that_builds_some_of_it_in_another_way_is_waited_for_or_refused() {
    let begin = || {
        let server = Server::start();
        server.job("Build_a_before", "RECURSIVE_FORCED_BUILD", "a", "RUNNING", "API (kiln-key)");
        server
    };
    for settings in ["", "on_running = \"join\"", "jobs = \"run\""] {
        let server = begin();
        let project = project(&server, settings, STEPS);
        let child = project.start(&["run", "--engine", "prod"]);
        server.wait(|state| state.asked.iter().any(|asked| asked.path.contains("/running/")));
        assert_eq!(server.count(Asked::is_start), 0, "{settings}: DSS would let one of the two fail");
        server.with(|state| state.jobs[0].looks = Some(0));
        let said = wait(child);
        assert_eq!(said.code, 0, "{settings}: {said:?}");
    }
    for jobs in ["", "jobs = \"run\""] {
        let server = begin();
        let settings = format!("on_running = \"fail\"\n{jobs}");
        let said = run(&project(&server, &settings, STEPS), 1, &[]);
        let expected = "job Build_a_before builds it already, in another way (started by API (kiln-key)";
        assert!(said.out.contains(expected), "{settings}: {}", said.out);
        assert_eq!(server.count(Asked::is_start), 0);
    }
}

#[test]
fn a_stopped_run_aborts_what_it_started_and_nothing_else() {
    for (joined, option, aborted) in [(false, None, true), (true, None, false), (true, Some("--abort-joined"), true)] {
        let server = Server::start();
        server.with(|state| state.looks = None);
        if joined {
            server.job("Build_a_before", "RECURSIVE_BUILD", "a", "RUNNING", "API (kiln-key)");
        }
        let project = project(&server, "", ONE);
        let mut arguments = vec!["run", "--engine", "prod", "--events", "-"];
        arguments.extend(option);
        let child = project.start(&arguments);
        let looked =
            |state: &crate::dss_server::State| state.asked.iter().any(|asked| asked.path.contains("/jobs/running/"));
        server.wait(looked);
        signal(&child, "INT");
        let said = wait(child);
        assert_eq!(said.code, 130, "{said:?}");
        let state = server.with(|state| state.jobs[0].state.clone());
        assert_eq!(state == "ABORTED", aborted, "joined {joined}: {said:?}");
        assert_eq!(said.out.contains("it was joined, not started"), joined && !aborted, "{said:?}");
    }
}

#[test]
fn what_still_ends_is_named() {
    let server = Server::start();
    server.with(|state| state.looks = None);
    let project = project(&server, "", ONE);
    let child = project.start(&["run", "--engine", "prod", "--events", "-"]);
    server.wait(|state| state.asked.iter().any(|asked| asked.path.contains("/jobs/running/")));
    server.fault(|asked| asked.path.ends_with("/abort"), Fault::Silent);
    signal(&child, "INT");
    server.wait(|state| state.silent() > 0);
    signal(&child, "INT");
    let said = wait(child);
    assert!(said.out.contains("still ends on DSS"), "{said:?}");
    assert_eq!(said.code, 130);
}

#[test]
fn a_restart_of_the_server_ends_every_way() {
    for (end, removed, code, word) in [
        (End::Aborted, false, 1, "was aborted on DSS, not by Kiln"),
        (End::Failed("the backend died"), false, 1, "the backend died"),
        (End::Built(vec![]), false, 0, "1 built"),
        (End::Built(vec![]), true, 1, "vanished from DSS"),
    ] {
        let server = Server::start();
        server.end("a", end);
        (0..4).for_each(|_| server.fault(is_status, Fault::CutBefore));
        (0..4).for_each(|_| {
            server.fault(|asked| asked.path.contains("/running/"), Fault::Answer(502, "", String::new()));
        });
        server.with(|state| state.looks = if removed { None } else { Some(3) });
        let project = project(&server, "", ONE);
        let child = project.start(&["run", "--engine", "prod"]);
        server.wait(|state| state.asked.iter().filter(|asked| asked.path.contains("/running/")).count() > 2);
        server.with(|state| state.jobs[0].removed = removed);
        let said = wait(child);
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.out.contains(word), "{word}: {said:?}");
        one_job_each(&server, &["a"]);
    }
}
