//! A run on DSS that is stopped while the server is silent: it ends at once, and loses no job.

use crate::dss::{ONE, is_list, is_status, project, signal, wait};
use crate::dss_server::{Asked, Fault, Server};
use crate::support::{Project, Said};

/// Waits until an answer is held back, and stops the run.
fn stopped(project: &Project, server: &Server, silent: usize) -> Said {
    let child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.silent() >= silent);
    signal(&child, "INT");
    let said = wait(child);
    assert_eq!(said.code, 130, "{said:?}");
    said
}

/// Starts a run, and stops it once it follows a job.
pub(crate) fn interrupted(project: &Project, server: &Server, more: &[&str]) -> Said {
    let child = project.start(&[&["run", "--engine", "prod"], more].concat());
    server.wait(|state| state.asked.iter().any(|asked| asked.path.contains("/running/")));
    signal(&child, "INT");
    let said = wait(child);
    assert_eq!(said.code, 130, "{said:?}");
    said
}

/// A project that would wait for an answer for hours.
fn patient(server: &Server) -> Project {
    let project = project(server, "request_timeout = \"1h\"", ONE);
    project.write("pipeline.toml", project.read("pipeline.toml").replace("\"5s\"", "\"1h\""));
    project
}

#[test]
fn nobody_waits_for_an_answer_without_effect() {
    type Concerns = fn(&Asked) -> bool;
    let questions: [(&str, Concerns); 3] = [
        ("the list", is_list),
        ("a job that may be the same", is_status),
        ("who we are", |asked| asked.path.ends_with("/auth/info")),
    ];
    for (name, concerns) in questions {
        let server = Server::start();
        server.job("Build_a_before", "RECURSIVE_BUILD", "a", "RUNNING", "API (kiln-key)");
        server.with(|state| state.bare = name.contains("same"));
        server.fault(concerns, Fault::Held);
        let said = stopped(&patient(&server), &server, 1);
        assert!(said.out.contains("stopped"), "{name}: {said:?}");
        assert_eq!(server.count(Asked::is_start), 0, "{name}");
    }
}

#[test]
fn who_is_stopped_between_two_requests_may_have_a_job() {
    let server = Server::start();
    server.fault(Asked::is_start, Fault::CutBefore);
    server.fault(Asked::is_start, Fault::Answer(429, "Retry-After: 3600\r\n", String::new()));
    let project = project(&server, "", ONE);
    let child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.asked.iter().filter(|asked| asked.is_start()).count() == 2);
    signal(&child, "INT");
    let said = wait(child);
    assert_eq!(said.code, 130, "{said:?}");
    assert!(said.out.contains("a job may have been started: its answer was lost"), "{said:?}");
    assert!(!said.out.contains("before a job was started"), "{said:?}");
}

#[test]
fn a_job_that_was_left_stays_for_the_run_after_the_next() {
    let server = Server::start();
    server.with(|state| state.looks = None);
    let project = patient(&server);
    let mut child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.asked.iter().any(|asked| asked.path.contains("/running/")));
    child.kill().unwrap();
    child.wait().unwrap();
    // What goes on is asked for first.
    server.fault(is_list, Fault::Held);
    let said = stopped(&project, &server, 1);
    let log = project.expect(0, &["jobs", "log", "last"]).out;
    assert!(format!("{}{log}", said.out).contains("may go on"), "{said:?}\n{log}");
    assert_eq!(server.with(|state| state.jobs[0].state.clone()), "RUNNING", "it was not asked to end");
    server.with(|state| state.jobs[0].looks = Some(2));
    let said = project.expect(0, &["run", "--engine", "prod"]);
    assert!(said.out.contains("1 built"), "{said:?}");
    assert_eq!(server.jobs_per_step()["a"], 1);
}

#[test]
fn a_job_that_dss_does_not_abort_is_named_with_the_way_out() {
    for (status, words) in [
        (
            403,
            "DSS does not allow it, or does not know the project (403): no; asked http://HERE for project P with the key from the variable KEY",
        ),
        (404, "DSS does not know it (404): no"),
        (500, "DSS says (500): no"),
    ] {
        let server = Server::start();
        server.with(|state| state.looks = None);
        let no = || Fault::Answer(status, "", r#"{"message":"no"}"#.to_owned());
        // What goes wrong inside DSS is asked for again.
        (0..if status == 500 { 3 } else { 1 }).for_each(|_| server.fault(|asked| asked.path.ends_with("/abort"), no()));
        let project = project(&server, "", ONE);
        let said = interrupted(&project, &server, &[]);
        let port = server.port;
        let page = format!("http://127.0.0.1:{port}/projects/P/jobs/Build_a_NP_2026-11-24T02-00-00.000/");
        let words = words.replace("HERE", &format!("127.0.0.1:{port}"));
        let expected = format!("goes on, DSS does not abort it: {words}; abort it by hand: {page}");
        assert!(said.out.contains(&expected), "{status}: {said:?}");
        // What has ended cannot be aborted either: that is no trouble.
        let server = Server::start();
        server.with(|state| state.looks = None);
        let body = r#"{"message":"no"}"#.to_owned();
        server.fault(|asked| asked.path.ends_with("/abort"), Fault::Answer(status, "", body));
        let project = crate::dss::project(&server, "", ONE);
        let child = project.start(&["run", "--engine", "prod", "--events", "-"]);
        server.wait(|state| state.asked.iter().any(|asked| asked.path.contains("/running/")));
        server.fault(is_status, Fault::DoneAnswer(502, String::new()));
        server.with(|state| state.jobs[0].state = "ABORTED".to_owned());
        signal(&child, "INT");
        let said = wait(child);
        assert!(!said.out.contains("goes on"), "{status}: {said:?}");
    }
}

#[test]
fn a_step_that_is_over_its_time_says_what_became_of_its_job() {
    let server = Server::start();
    server.with(|state| state.looks = None);
    let project = project(&server, "", "[dataset.a]\ninputs = []\ntimeout = \"300ms\"\n");
    let said = project.expect(1, &["run", "--engine", "prod"]);
    assert!(said.out.contains("timed out after 0.3s: job Build_a_NP_"), "{said:?}");
    assert!(said.out.contains("was aborted"), "{said:?}");
    let server = Server::start();
    server.fault(is_list, Fault::Held);
    let project = crate::dss::project(&server, "", "[dataset.a]\ninputs = []\ntimeout = \"300ms\"\n");
    let said = project.expect(1, &["run", "--engine", "prod"]);
    assert!(said.out.contains("timed out after 0.3s: stopped before a job was started"), "{said:?}");
    assert_eq!(server.count(Asked::is_start), 0);
}

#[test]
fn a_request_to_abort_that_went_wrong_inside_dss_is_sent_again_or_was_done() {
    for (times, done, body) in [(1, false, "Internal hiccup"), (3, true, "Request timed out")] {
        let server = Server::start();
        server.with(|state| state.looks = None);
        let body = format!(r#"{{"message":"{body}"}}"#);
        for _ in 0..times {
            let fault = if done { Fault::DoneAnswer(500, body.clone()) } else { Fault::Answer(500, "", body.clone()) };
            server.fault(|asked| asked.path.ends_with("/abort"), fault);
        }
        let project = crate::dss::project(&server, "", ONE);
        let said = interrupted(&project, &server, &[]);
        assert!(said.out.contains("was aborted") && !said.out.contains("goes on, DSS"), "{said:?}");
    }
}
