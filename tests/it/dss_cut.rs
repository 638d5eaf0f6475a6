//! Lists that are cut off, at either end: what they do not show may be there all the same, for the run that asked for it and
//! for the next one.

use crate::dss::{ONE, project, run, signal, wait};
use crate::dss_server::{Asked, Fault, Server};
use crate::support::Project;

/// A server with five jobs of other things, whose lists show three, and that has no list of running jobs.
pub(crate) fn server(oldest: bool) -> Server {
    let server = Server::start();
    for i in 0..5 {
        server.job(&format!("old{i}"), "RECURSIVE_BUILD", "old", "DONE", "ana");
    }
    server.with(|state| {
        state.has_running = false;
        if oldest { state.oldest = 3 } else { state.newest = 3 }
    });
    server
}

/// Jobs of others push all that was there off the lists.
fn crowd(server: &Server) {
    for i in 0..4 {
        server.job(&format!("other{i}"), "RECURSIVE_BUILD", "other", "DONE", "ana");
    }
}

/// A run that is killed once its request is done and not answered.
pub(crate) fn killed(project: &Project, server: &Server) {
    let silent = server.with(|state| state.silent());
    server.fault(Asked::is_start, Fault::Silent);
    let mut child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.silent() > silent);
    child.kill().unwrap();
    child.wait().unwrap();
}

pub(crate) const DOUBT: &str = "the lists of DSS do not show whether there is one";
const WAY_OUT: &str = "should that end so too, `kiln run --engine prod --resubmit` asks for P.a again";

#[test]
fn a_job_that_the_run_before_may_have_started_is_not_asked_for_where_lists_do_not_reach_back() {
    for unknown in [false, true] {
        let server = server(false);
        let project = project(&server, "", ONE);
        if unknown {
            server.fault(Asked::is_start, Fault::Crowded(4));
            let said = run(&project, 1, &[]);
            assert!(said.out.contains(DOUBT) && said.out.contains(WAY_OUT), "{said:?}");
        } else {
            killed(&project, &server);
            crowd(&server);
        }
        // However often it is run.
        for _ in 0..2 {
            let said = run(&project, 1, &[]);
            assert_eq!(server.jobs_per_step()["a"], 1, "unknown {unknown}: {said:?}");
            let page = format!("see http://127.0.0.1:{}/projects/P/jobs/: a job that is there", server.port);
            for expected in [DOUBT, WAY_OUT, &page, " may have started a job (20"] {
                assert!(said.out.contains(expected), "{expected}: {said:?}");
            }
        }
        // Lists that show it are believed.
        server.with(|state| state.newest = usize::MAX);
        run(&project, 0, &[]);
        assert_eq!(server.jobs_per_step()["a"], 1, "unknown {unknown}");
    }
}

#[test]
fn a_list_that_shows_what_was_there_before_is_believed_by_the_next_run() {
    let server = server(false);
    server.fault(Asked::is_start, Fault::Held);
    let project = project(&server, "", ONE);
    let mut child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.silent() > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    run(&project, 0, &[]);
    assert_eq!(server.jobs_per_step()["a"], 1);
}

#[test]
fn whoever_has_looked_has_it_asked_for_again() {
    let server = server(false);
    let project = project(&server, "", ONE);
    killed(&project, &server);
    crowd(&server);
    server.with(|state| state.jobs[5].state = "ABORTED".to_owned());
    run(&project, 1, &[]);
    assert_eq!(server.jobs_per_step()["a"], 1);
    run(&project, 0, &["--resubmit"]);
    assert_eq!(server.jobs_per_step()["a"], 2);
    let log = project.expect(0, &["jobs", "log", "last"]).out;
    assert!(
        log.contains("it is not known whether there is a job of it: it does not count, as --resubmit says"),
        "{log}"
    );
    // What is found is taken even so.
    killed(&project, &server);
    run(&project, 0, &["--resubmit"]);
    assert_eq!(server.jobs_per_step()["a"], 3);
}

#[test]
fn a_list_that_lacks_the_newest_jobs_is_no_sign_that_there_is_none() {
    let server = server(true);
    let project = project(&server, "", "[dataset.a]\ninputs = []\n[dataset.b]\ninputs = [\"a\"]\n");
    // The job of the first step is in no list; that of the second one would not be either.
    server.fault(|asked| asked.is_start() && asked.body.contains("\"b\""), Fault::CutAfter);
    let said = run(&project, 1, &[]);
    assert!(said.out.contains(DOUBT), "{said:?}");
    assert_eq!((server.jobs_per_step()["a"], server.jobs_per_step()["b"]), (1, 1), "{said:?}");
    // Where that job is gone, lists are right not to show it.
    server.with(|state| (state.oldest, state.looks) = (usize::MAX, Some(1)));
    run(&project, 0, &[]);
    assert_eq!(server.jobs_per_step()["b"], 1);
}

#[test]
fn a_run_that_died_tells_the_next_one_which_jobs_lists_have_to_show() {
    let server = server(true);
    server.with(|state| state.looks = None);
    let steps = "[dataset.a]\ninputs = []\n[dataset.b]\ninputs = []\n";
    let project = project(&server, "max_parallel = 1", steps);
    // `a` has its job; `b` may have one.
    let child = project.start(&["run", "--engine", "prod", "a"]);
    server.wait(|state| state.asked.iter().any(|asked| asked.path.contains("/running/")));
    signal(&child, "KILL");
    wait(child);
    server.fault(|asked| asked.is_start() && asked.body.contains("\"b\""), Fault::Silent);
    let mut child = project.start(&["run", "--engine", "prod", "b"]);
    server.wait(|state| state.silent() > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    server.with(|state| state.jobs[5].looks = Some(1));
    let said = run(&project, 1, &["-k"]);
    assert!(said.out.contains(DOUBT), "{said:?}");
    assert_eq!((server.jobs_per_step()["a"], server.jobs_per_step()["b"]), (1, 1), "{said:?}");
}

#[test]
fn the_last_runs_tell_which_jobs_lists_have_to_show() {
    let server = server(true);
    let project = project(&server, "", ONE);
    run(&project, 0, &[]);
    // Its job is in no list, and DSS knows it.
    server.fault(Asked::is_start, Fault::CutAfter);
    let said = run(&project, 1, &[]);
    assert!(said.out.contains(DOUBT), "{said:?}");
    assert_eq!(server.jobs_per_step()["a"], 2, "{said:?}");
}

#[test]
fn that_a_second_job_cannot_be_ruled_out_is_told() {
    // Nothing that Kiln knows is missing from these lists before its second request is answered.
    let server = server(true);
    server.fault(Asked::is_start, Fault::CutAfter);
    let project = project(&server, "", ONE);
    let said = run(&project, 0, &[]);
    assert_eq!(server.jobs_per_step()["a"], 2, "{said:?}");
    assert!(said.err.contains("whether the first request for "), "{}", said.err);
    // Where all is listed there is nothing to tell.
    let server = Server::start();
    server.fault(Asked::is_start, Fault::CutBefore);
    let project = self::project(&server, "", ONE);
    let said = run(&project, 0, &[]);
    assert!(!said.err.contains("whether the first request"), "{}", said.err);
}
