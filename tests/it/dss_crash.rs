//! Kiln is killed while it builds on a DSS server, and goes on: each step has one job.

use std::os::unix::process::ExitStatusExt;

use crate::dss::{ONE, is_list, is_status, project};
use crate::dss_server::{Asked, Fault, Server};
use crate::support::Project;

const LAYERS: &str = r#"
[dataset.a]
inputs = []
[dataset.b]
inputs = []
[dataset.c]
inputs = ["a", "b"]
[dataset.d]
inputs = ["a"]
[dataset.e]
inputs = ["c", "d"]
"#;

/// Starts a run, and kills it once something holds of the server.
fn killed(project: &Project, server: &Server, when: impl Fn(&crate::dss_server::State) -> bool) {
    let mut child = project.start(&["run", "--engine", "prod"]);
    server.wait(when);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[track_caller]
fn goes_on(project: &Project, server: &Server, case: &str) {
    let said = project.kiln(&["run", "--engine", "prod"]);
    assert_eq!(said.code, 0, "{case}: {said:?}");
    let jobs = server.jobs_per_step();
    assert!(jobs.values().all(|jobs| *jobs == 1), "{case}: {jobs:?} {said:?}");
}

#[test]
fn a_kill_between_intent_request_and_answer_makes_no_second_job() {
    type Concerns = fn(&Asked) -> bool;
    let points: [(&str, Concerns, Fault); 6] = [
        ("before the intent", is_list, Fault::Held),
        ("behind the intent, before the request is done", Asked::is_start, Fault::Held),
        ("behind the request, before the answer", Asked::is_start, Fault::Silent),
        ("in the middle of the answer, and DSS cannot be asked", Asked::is_start, Fault::Silent),
        ("while the job runs", |asked| asked.path.contains("/running/"), Fault::Held),
        ("when the job has ended", is_status, Fault::Silent),
    ];
    for (name, concerns, fault) in points {
        for bare in [false, true] {
            let server = Server::start();
            server.with(|state| state.bare = bare);
            server.fault(concerns, fault.clone());
            let project = project(&server, "", ONE);
            killed(&project, &server, |state| state.silent() > 0);
            if name.contains("cannot be asked") {
                (0..3).for_each(|_| server.fault(is_list, Fault::Answer(502, "", String::new())));
            }
            goes_on(&project, &server, name);
            assert_eq!(server.jobs_per_step().len(), 1, "{name}");
        }
    }
}

#[test]
fn a_job_whose_status_cannot_be_read_any_more_ended_as_lists_tell() {
    for page in [(200, "<html><title>Log in</title></html>"), (500, ""), (200, "garbage")] {
        let server = Server::start();
        server.fault(is_status, Fault::Held);
        let project = project(&server, "", ONE);
        project.write("pipeline.toml", project.read("pipeline.toml").replace("\"5s\"", "\"200ms\""));
        killed(&project, &server, |state| state.silent() > 0);
        (0..1_000).for_each(|_| server.fault(is_status, Fault::Answer(page.0, "", page.1.to_owned())));
        goes_on(&project, &server, page.1);
        assert_eq!(server.jobs_per_step().len(), 1, "{page:?}");
    }
}

#[test]
fn a_job_that_could_not_be_looked_for_is_looked_for_again() {
    let no = r#"{"message":"the key is not known"}"#;
    for (name, concerns) in
        [("behind the request", Asked::is_start as fn(&Asked) -> bool), ("at its status", is_status)]
    {
        let server = Server::start();
        server.fault(concerns, Fault::Silent);
        let project = project(&server, "", ONE);
        killed(&project, &server, |state| state.silent() > 0);
        // The next run is not let in.
        (0..50).for_each(|_| server.fault(|asked| !asked.is_start(), Fault::Answer(401, "", no.to_owned())));
        let said = project.kiln(&["run", "--engine", "prod"]);
        assert_eq!(said.code, 3, "{name}: {said:?}");
        server.heal();
        goes_on(&project, &server, name);
    }
}

#[test]
fn what_a_gateway_does_not_know_has_not_vanished() {
    for answer in [Fault::Answer(404, "", "<html>Not here</html>".to_owned()), Fault::Answer(200, "", "{".to_owned())] {
        let server = Server::start();
        server.fault(is_status, Fault::Silent);
        let project = project(&server, "", ONE);
        killed(&project, &server, |state| state.silent() > 0);
        (0..2).for_each(|_| server.fault(is_status, answer.clone()));
        goes_on(&project, &server, &format!("{answer:?}"));
    }
}

#[test]
fn a_kill_at_any_request_makes_no_second_job() {
    let whole = {
        let server = Server::start();
        goes_on(&project(&server, "", LAYERS), &server, "undisturbed");
        server.count(|_| true)
    };
    // Each kill costs the next run seconds: every seventh request, the first ones among them.
    for n in (1..whole).step_by(7) {
        let server = Server::start();
        let project = project(&server, "", LAYERS);
        killed(&project, &server, |state| state.asked.len() >= n);
        goes_on(&project, &server, &format!("killed at request {n} of {whole}"));
        assert_eq!(server.jobs_per_step().len(), 5);
    }
}

#[test]
fn a_kill_and_a_job_in_the_way_go_together() {
    // Kiln is killed while it waits for a job of somebody else, while it is joined to one, and with one of its own.
    for (policy, by, jobs) in [
        ("", "API (other)", 2),
        ("on_running = \"wait\"", "API (kiln-key)", 2),
        ("on_running = \"join\"", "API (other)", 1),
        ("", "API (kiln-key)", 1),
    ] {
        let server = Server::start();
        server.job("Build_a_before", "RECURSIVE_BUILD", "a", "RUNNING", by);
        let project = project(&server, policy, ONE);
        killed(&project, &server, |state| state.asked.iter().any(|asked| asked.path.contains("/running/")));
        server.with(|state| state.jobs[0].looks = Some(4));
        let said = project.expect(0, &["run", "--engine", "prod"]);
        assert_eq!(server.jobs_per_step()["a"], jobs, "{policy} {by}: {said:?}");
    }
    for policy in ["wait", "fail", "join"] {
        let server = Server::start();
        server.with(|state| state.looks = None);
        let project = project(&server, &format!("on_running = \"{policy}\""), ONE);
        for (concerns, fault) in [
            (Asked::is_start as fn(&Asked) -> bool, Fault::Silent),
            (|asked: &Asked| asked.path.contains("/running/"), Fault::Held),
        ] {
            let silent = server.with(|state| state.silent());
            server.fault(concerns, fault);
            killed(&project, &server, |state| state.silent() > silent);
        }
        server.with(|state| state.jobs[0].looks = Some(2));
        // Its own job of before is no reason to wait, to fail or to ask for another.
        goes_on(&project, &server, policy);
        assert_eq!(server.jobs_per_step()["a"], 1, "{policy}");
    }
    // One that somebody else started is, also for the run after a kill.
    let server = Server::start();
    server.job("Build_a_before", "RECURSIVE_BUILD", "a", "RUNNING", "API (kiln-key)");
    server.fault(|asked| asked.path.ends_with("/auth/info"), Fault::Held);
    let project = project(&server, "on_running = \"fail\"", ONE);
    killed(&project, &server, |state| state.silent() > 0);
    let said = project.expect(1, &["run", "--engine", "prod"]);
    assert!(said.out.contains("builds it already"), "{said:?}");
    assert_eq!(server.jobs_per_step()["a"], 1);
}

#[test]
fn the_run_after_that_asks_for_new_jobs() {
    let server = Server::start();
    server.fault(is_status, Fault::Silent);
    let project = project(&server, "", LAYERS);
    killed(&project, &server, |state| state.silent() > 0);
    goes_on(&project, &server, "killed once");
    project.expect(0, &["run", "--engine", "prod"]);
    assert!(server.jobs_per_step().values().all(|jobs| *jobs == 2), "{:?}", server.jobs_per_step());
}

#[test]
fn a_job_that_was_left_and_builds_in_another_way_is_waited_for() {
    let server = Server::start();
    server.with(|state| state.looks = None);
    let project = project(&server, "", ONE);
    killed(&project, &server, |state| state.asked.iter().any(|asked| asked.path.contains("/running/")));
    server.with(|state| state.jobs[0].looks = Some(3));
    server.with(|state| state.looks = Some(1));
    project.expect(0, &["run", "--engine", "prod", "--mode", "forced"]);
    let kinds: Vec<_> =
        server.with(|state| state.jobs.iter().map(|job| (job.kind.clone(), job.state.clone())).collect());
    let done = |kind: &str| (kind.to_owned(), "DONE".to_owned());
    assert_eq!(kinds, [done("RECURSIVE_BUILD"), done("NON_RECURSIVE_FORCED_BUILD")]);
    let log = project.expect(0, &["jobs", "log", "last"]);
    assert!(log.out.contains("builds the same in another way"), "{}", log.out);
}

#[test]
fn a_job_that_was_left_and_did_not_end_well_does_not_count() {
    let server = Server::start();
    server.with(|state| state.looks = None);
    let project = project(&server, "", ONE);
    killed(&project, &server, |state| state.asked.iter().any(|asked| asked.path.contains("/running/")));
    server.with(|state| (state.jobs[0].state, state.looks) = ("FAILED".to_owned(), Some(1)));
    project.expect(0, &["run", "--engine", "prod"]);
    assert_eq!(server.jobs_per_step()["a"], 2);
    let log = project.expect(0, &["jobs", "log", "last"]).out;
    assert!(log.contains("did not end well: it does not count"), "{log}");
}

/// What a run was putting in place belongs to the root, not to the engine that is chosen next.
#[cfg(feature = "failpoints")]
#[test]
fn a_run_on_a_server_finishes_what_a_local_run_was_putting_in_place() {
    let server = Server::start();
    let project = project(
        &server,
        "",
        "[dataset.s]\npath = \"s\"\n[dataset.x]\npath = \"o/x\"\ninputs = [\"s\"]\nrun = 'cp s {{ output }}'\n\
         [dataset.y]\npath = \"o/y\"\ninputs = [\"x\"]\nin_place = true\nrun = 'cp s {{ output }}'\n",
    );
    project.write("s", "1");
    project.expect(0, &["run"]);
    project.write("s", "2");
    for (target, point, then) in [
        ("x", "publish.place", "killed while `x` was put in place; the next run first puts it there\n"),
        ("y", "flush", "killed while `y` was written in place; the next run first puts its last good content back\n"),
    ] {
        let mut command = project.command(&["run", "--mode", "only", target]);
        let died = command.env("KILN_FAULT", format!("{point}=kill@1")).output().unwrap();
        assert_eq!(died.status.code(), None, "{point}");
        project.settled();
        let plan = project.expect(0, &["plan", "--engine", "prod"]).out;
        assert!(plan.contains(then), "{plan}");
        project.expect(0, &["run", "--engine", "prod"]);
        assert_eq!((project.read("o/x").as_str(), project.read("o/y").as_str()), ("2", "1"));
        assert!(!project.exists(".kiln/staging/p"));
    }
}
