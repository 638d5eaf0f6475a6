//! What commands about the jobs of a DSS server say where something is not as it should be: a start without an answer, a status
//! that cannot be read, words that mean nothing.

use crate::dss::{ONE, is_list, is_status, project, wait};
use crate::dss_jobs::busy;
use crate::dss_server::{Asked, End, Fault, Server};
use crate::support::lines;

#[test]
fn a_start_without_an_answer_is_looked_for_and_never_repeated() {
    let id = |n: usize| format!("Build_a_NP_2026-11-24T02-00-00.00{n}");
    let busy = r#"{"message":"Dataset P.a is already being built by job x"}"#.to_owned();
    for (name, fault, nameless, expected) in [
        (
            "somebody else",
            Fault::Foreign("ana", false),
            false,
            format!(
                "no job of ours was found, but one of somebody else: {} (started by ana; to DSS we are kiln-key)",
                id(0)
            ),
        ),
        (
            "two",
            Fault::Foreign("API (kiln-key)", true),
            false,
            format!("any of these may be the job: {}, {}", id(0), id(1)),
        ),
        (
            "no id",
            Fault::CutAfter,
            true,
            "one of these may be the job: RECURSIVE_BUILD of a without an id, RUNNING".to_owned(),
        ),
        ("none", Fault::CutBefore, false, "no job was found, and there may be one all the same".to_owned()),
        (
            "busy",
            Fault::Answer(409, "", busy),
            false,
            "`kiln jobs running` shows the other job, `kiln jobs wait` waits for its end".to_owned(),
        ),
        (
            "no",
            Fault::Answer(500, "", r#"{"message":"no such dataset"}"#.to_owned()),
            false,
            "(500): no such dataset".to_owned(),
        ),
    ] {
        let server = Server::start();
        server.with(|state| (state.nameless, state.looks) = (nameless, None));
        server.fault(Asked::is_start, fault);
        let said = project(&server, "", ONE).expect(3, &["jobs", "start", "--engine", "prod", "--output", "a"]);
        assert!(said.err.contains(&expected), "{name}: {said:?}");
        let page = format!("see http://127.0.0.1:{}/projects/P/jobs/: a job that is there", server.port);
        assert_eq!(said.err.contains(&page), !["busy", "no"].contains(&name), "{name}: {said:?}");
        assert_eq!((server.count(Asked::is_start), said.out.as_str()), (1, ""), "{name}");
    }
}

#[test]
fn a_start_whose_job_no_list_shows_is_not_known() {
    let server = Server::start();
    (0..5).for_each(|i| server.job(&format!("old{i}"), "RECURSIVE_BUILD", "old", "DONE", "ana"));
    server.with(|state| state.newest = 3);
    server.fault(Asked::is_start, Fault::Crowded(4));
    let said = project(&server, "", ONE).expect(3, &["jobs", "start", "--engine", "prod", "--output", "a"]);
    assert!(said.err.contains("no job was found, and there may be one all the same"), "{said:?}");
    assert_eq!(server.count(Asked::is_start), 1);
}

#[test]
fn a_wait_is_over_in_time_where_the_status_cannot_be_read() {
    for (status, body) in [(500, ""), (200, "{"), (200, "<html></html>"), (502, "")] {
        let server = Server::start();
        server.job("Build_d_5", "RECURSIVE_BUILD", "d", "RUNNING", "ana");
        (0..1_000).for_each(|_| server.fault(is_status, Fault::Answer(status, "", body.to_owned())));
        let wait = ["jobs", "wait", "--engine", "prod", "Build_d_5", "--timeout", "50ms"];
        let said = project(&server, "", ONE).expect(1, &wait);
        let page = format!("http://127.0.0.1:{}/projects/P/jobs/Build_d_5/", server.port);
        assert_eq!(said.out, format!("Build_d_5 goes on: {page}\n"), "{said:?}");
        // The id is taken from a list: the time is not spent on the status.
        let asked: Vec<bool> = server.with(|state| state.asked.iter().take(2).map(is_list).collect());
        assert_eq!(asked, [false, true], "{status} {body}");
    }
}

#[test]
fn what_a_command_waits_for_is_told() {
    let server = Server::start();
    server.job("Build_d_5", "RECURSIVE_BUILD", "d", "RUNNING", "ana");
    // It breaks off: asked for again for seconds.
    (0..7).for_each(|_| server.fault(is_status, Fault::Answer(200, "", "{\"baseStatus\":".to_owned())));
    let said = project(&server, "", ONE).expect(0, &["jobs", "show", "--engine", "prod", "Build_d_5"]);
    assert!(said.out.contains("state    RUNNING"), "{said:?}");
    let expected = "the answer of DSS was lost: it breaks off; waiting for it";
    assert_eq!(said.err.matches(expected).count(), 1, "{said:?}");
}

#[test]
fn an_output_is_of_the_kind_that_is_said() {
    let server = Server::start();
    server.job("Build_data", "RECURSIVE_BUILD", "kJ8", "DONE", "ana");
    server.job("Build_model", "RECURSIVE_BUILD", "kJ8", "DONE", "ana");
    server.with(|state| state.jobs[1].outputs[0]["type"] = "SAVED_MODEL".into());
    let project = project(&server, "", "[dataset.a]\n[model.churn]\nid = \"kJ8\"\ninputs = [\"a\"]\n");
    for (output, expected) in [
        ("model:kJ8", &["Build_model"][..]),
        ("churn", &["Build_model"]),
        ("dataset:kJ8", &["Build_data"]),
        ("kJ8", &["Build_model", "Build_data"]),
    ] {
        let said = project.expect(0, &["jobs", "list", "--engine", "prod", "--output", output]);
        let ids: Vec<&str> = said.out.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!((ids.as_slice(), said.err.as_str()), (expected, ""), "{output}: {said:?}");
    }
    let said = project.expect(0, &["jobs", "list", "--engine", "prod", "--output", "chrun"]);
    let expected = "`chrun` is no node of the file, and no such job of [engine.prod] has that output";
    assert!(said.err.contains(expected), "{said:?}");
    let said = project.expect(0, &["jobs", "list", "--engine", "prod", "--output", "a"]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("no jobs\n", ""), "the file declares it");
}

#[test]
fn words_that_mean_nothing_are_told_with_a_way_out() {
    let server = busy();
    let project = project(&server, "", ONE);
    for (arguments, message, way_out) in [
        (&["list", "--limit", "0"][..], "invalid value '0' for '--limit <N>'", "write a whole number from 1 on"),
        (
            &["list", "--since", "2023-11-15", "--until", "2023-11-14"],
            "--since is not before --until: nothing can be between them",
            "exchange the two",
        ),
        (
            &["list", "--output", "x:y"],
            "--output x:y: `x` is no kind of thing",
            "write dataset:NAME, folder:ID or model:ID",
        ),
        (
            &["start", "--output", "folder:"],
            "--output \"folder:\" names nothing",
            "write the name of a node of the file",
        ),
        (&["log", "last", "a"], "a job on DSS has no step `a`", "name an activity: --activity NAME"),
        (&["show", "…"], "an empty id names no job", "name one of `kiln jobs list --engine prod`, or `last`"),
        (&["show", ""], "an empty id names no job", "name one of `kiln jobs list --engine prod`, or `last`"),
        (&["wait", "last", "--timeout", "soon"], "'soon' for '--timeout <TIME>'", "write 30s, 30m or 1h 30m"),
        (&["abort", "last", "--state", "RUNNING"], "--state chooses among --all", "leave it out, or write --all"),
    ] {
        let all: Vec<&str> =
            ["jobs", arguments[0], "--engine", "prod"].iter().chain(&arguments[1..]).copied().collect();
        let said = project.expect(2, &all);
        assert!(said.err.contains(message) && said.err.contains(way_out), "{arguments:?}: {said:?}");
        assert_eq!(said.out, "", "{arguments:?}");
    }
    assert_eq!(server.count(|asked| asked.method == "POST"), 0);
    // Servers before 15.2 know no list of all projects.
    let said = project.expect(3, &["jobs", "running", "--engine", "prod", "--everywhere"]);
    let expected = "this server has no list of the jobs of all projects (DSS 15.2 has); name one with --project";
    assert!(said.err.contains(expected), "{said:?}");
}

#[test]
fn a_log_that_cannot_be_written_any_more_stops_the_run_and_its_job_is_followed_to_its_end() {
    let server = Server::start();
    server.end("a", End::Never);
    let project = project(&server, "", "[dataset.a]\ninputs = []\n[dataset.b]\ninputs = []\n");
    let child = project.start(&["run", "--engine", "prod", "-j1", "-k", "--events", "events"]);
    server.wait(|state| !state.jobs.is_empty());
    std::fs::rename(project.path(".kiln/logs"), project.path("gone")).unwrap();
    project.write(".kiln/logs", "");
    server.with(|state| state.jobs[0].state = "DONE".to_owned());
    let said = wait(child);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("/a.1.log: Not a directory"), "{said:?}");
    let ended = lines(&project.read("events")).into_iter().find(|event| event["type"] == "step_ended").unwrap();
    assert_eq!((ended["step"].as_str(), ended["outcome"].as_str()), (Some("a"), Some("built")), "{ended}");
    assert_eq!(server.count(Asked::is_start), 1);
}
