//! An answer that was lost, and a list that does not tell which job is ours: lines without ids, jobs of somebody else.

use crate::dss::{ONE, project, run};
use crate::dss_server::{Asked, Fault, Server};
use crate::dss_stop::interrupted;

/// The jobs that were started, by whom, and where they stand.
fn jobs(server: &Server) -> Vec<(String, String)> {
    server.with(|state| state.jobs.iter().map(|job| (job.by.clone(), job.state.clone())).collect())
}

#[test]
fn a_line_without_an_id_that_may_be_the_job_stops_the_step() {
    for bare in [false, true] {
        let server = Server::start();
        server.with(|state| (state.nameless, state.bare, state.looks) = (true, bare, None));
        server.fault(Asked::is_start, Fault::CutAfter);
        let project = project(&server, "", ONE);
        let said = run(&project, 1, &[]);
        assert_eq!(server.count(Asked::is_start), 1, "bare {bare}: {said:?}");
        let what = if bare { "a job without an id, RUNNING" } else { "RECURSIVE_BUILD of a without an id, RUNNING" };
        assert!(
            said.out.contains(&format!("DSS does not tell of these whether one of them is the job: {what}; see http"))
        );
        assert!(
            said.out.contains("/projects/P/jobs/: a job that is there and not wanted is aborted there; then run again")
        );
        // As long as it goes on it is in the way; then it is in nobody's.
        run(&project, 1, &[]);
        assert_eq!(server.count(Asked::is_start), 1);
        server.with(|state| (state.jobs[0].state, state.looks) = ("ABORTED".to_owned(), Some(1)));
        run(&project, 0, &[]);
        assert_eq!(server.count(Asked::is_start), 2);
    }
}

#[test]
fn a_job_in_the_way_that_has_no_id_is_told() {
    let server = Server::start();
    server.job("before", "RECURSIVE_BUILD", "a", "RUNNING", "ana");
    server.with(|state| state.nameless = true);
    let project = project(&server, "", ONE);
    let said = run(&project, 1, &[]);
    let expected = "RECURSIVE_BUILD goes on for P.a, started by ana, and DSS lists it without an id";
    assert!(said.out.contains(expected), "{}", said.out);
    assert_eq!(server.count(Asked::is_start), 0);
    server.with(|state| state.jobs[0].state = "DONE".to_owned());
    run(&project, 0, &[]);
}

#[test]
fn a_job_that_somebody_else_starts_meanwhile_is_joined_and_left_alone() {
    for (option, left) in [(&[][..], "RUNNING"), (&["--abort-joined"], "ABORTED")] {
        let server = Server::start();
        server.fault(Asked::is_start, Fault::Foreign("ana", false));
        let project = project(&server, "", ONE);
        let said = interrupted(&project, &server, option);
        assert_eq!(jobs(&server), [("ana".to_owned(), left.to_owned())], "{said:?}");
        let told = "builds the same (started by ana; to DSS we are kiln-key): it is taken, as one of somebody else";
        assert!(said.out.contains(told), "{said:?}");
    }
}

#[test]
fn of_a_job_of_ours_and_one_of_somebody_else_ours_is_taken() {
    let server = Server::start();
    server.with(|state| state.looks = None);
    server.fault(Asked::is_start, Fault::Foreign("ana", true));
    let project = project(&server, "", ONE);
    let said = interrupted(&project, &server, &[]);
    let expected = [("API (kiln-key)", "ABORTED"), ("ana", "RUNNING")];
    assert_eq!(jobs(&server), expected.map(|(by, state)| (by.to_owned(), state.to_owned())), "{said:?}");
}

#[test]
fn an_answer_that_may_have_made_a_job_says_so_with_the_page() {
    for (status, body) in
        [(200, "<html><title>Log in</title></html>"), (500, ""), (500, r#"{"message":"Read timed out"}"#)]
    {
        let server = Server::start();
        // It is made, and no list shows it for long.
        server.fault(Asked::is_start, Fault::Answer(status, "", body.to_owned()));
        let project = project(&server, "", ONE);
        let said = run(&project, 1, &[]);
        assert_eq!(server.count(Asked::is_start), 1, "{said:?}");
        let expected = "no job was found, and there may be one all the same: ";
        assert!(said.out.contains(expected) && said.out.contains("/projects/P/jobs/: a job that is"), "{said:?}");
        // It is there by now: the next run takes it.
        server.job("Build_a_late", "RECURSIVE_BUILD", "a", "RUNNING", "API (kiln-key)");
        server.with(|state| state.jobs[0].looks = Some(1));
        run(&project, 0, &[]);
        assert_eq!(server.count(Asked::is_start), 1);
    }
}

#[test]
fn of_several_jobs_that_may_be_the_one_none_is_taken() {
    let server = Server::start();
    server.with(|state| state.looks = None);
    server.fault(Asked::is_start, Fault::Foreign("API (kiln-key)", true));
    let project = project(&server, "", ONE);
    let ids: Vec<String> = (0..2).map(|n| format!("Build_a_NP_2026-11-24T02-00-00.00{n}")).collect();
    for _ in 0..2 {
        let said = run(&project, 1, &[]);
        let expected = format!("any of these jobs may be it: {}; see http", ids.join(", "));
        assert!(said.out.contains(&expected) && said.out.contains("`kiln run --engine prod --resubmit`"), "{said:?}");
    }
    // Whoever has ended one of them goes on with the other.
    server.with(|state| (state.jobs[0].state, state.jobs[1].looks) = ("ABORTED".to_owned(), Some(2)));
    run(&project, 0, &["--resubmit"]);
    assert_eq!(server.count(Asked::is_start), 1);
}
