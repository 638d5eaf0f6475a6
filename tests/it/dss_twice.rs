//! A request that was lost and turns up all the same, behind the one that was sent in its place: one of the two jobs goes.

use crate::dss::{ONE, project, signal, wait};
use crate::dss_server::{Asked, End, Fault, Server};

/// Runs against a server on which the first job turns up with the second one, `shift` milliseconds from where it belongs.
fn turned_up(shift: i64, over: bool) {
    let server = Server::start();
    server.fault(Asked::is_start, Fault::Hidden(shift));
    server.with(|state| state.looks = over.then_some(1));
    let project = project(&server, "", ONE);
    let child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.asked.iter().any(|asked| asked.path.ends_with("/abort")));
    server.with(|state| (0..2).for_each(|i| state.jobs[i].looks = Some(0)));
    let said = wait(child);
    let case = format!("shift {shift}, over {over}: {said:?}");
    assert_eq!(said.code, 0, "{case}");
    let jobs: Vec<_> =
        server.with(|state| state.jobs.iter().map(|job| (job.id.clone(), job.initiated, job.state.clone())).collect());
    assert_eq!(jobs.len(), 2, "{case}");
    let aborted: Vec<_> = jobs.iter().filter(|(_, _, state)| state == "ABORTED").collect();
    assert_eq!((aborted.len(), server.count(|asked| asked.path.ends_with("/abort"))), (1, 1), "{case} {jobs:?}");
    let kept = jobs.iter().find(|(.., state)| state == "DONE").unwrap();
    let later = jobs.iter().max_by_key(|(_, initiated, _)| *initiated).unwrap();
    if !over {
        assert_eq!(aborted[0].0, later.0, "{case}: the later one goes");
    }
    let log = project.expect(0, &["jobs", "log", "last"]).out;
    let told =
        format!("the first request had come through too: job {} is aborted, job {} counts", aborted[0].0, kept.0);
    assert!(log.contains(&told) && said.out.contains(&told), "{log} {case}");
}

#[test]
fn of_two_jobs_for_one_step_the_later_one_is_aborted() {
    // The first request was done at once, and its job only listed late.
    turned_up(0, false);
    // It was done late.
    turned_up(10_000, false);
}

#[test]
fn a_second_job_is_aborted_even_at_the_end() {
    turned_up(10_000, true);
}

#[test]
fn what_somebody_else_starts_meanwhile_is_left_alone() {
    // Of the second one nobody says who started it.
    ["ana", ""].into_iter().for_each(left_alone);
}

fn left_alone(by: &str) {
    let server = Server::start();
    server.fault(Asked::is_start, Fault::CutBefore);
    server.with(|state| state.looks = None);
    let project = project(&server, "", ONE);
    let child = project.start(&["run", "--engine", "prod"]);
    // It has asked twice, and looks for another job of its own.
    server.wait(|state| state.asked.iter().filter(|asked| asked.is_start()).count() == 2 && !state.jobs.is_empty());
    server.job("Build_a_by_hand", "RECURSIVE_BUILD", "a", "RUNNING", by);
    let lists =
        |state: &crate::dss_server::State| state.asked.iter().filter(|asked| crate::dss::is_list(asked)).count();
    let before = server.with(|state| lists(state));
    server.wait(|state| lists(state) > before + 2);
    server.with(|state| (0..2).for_each(|i| state.jobs[i].looks = Some(0)));
    let said = wait(child);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(server.count(|asked| asked.path.ends_with("/abort")), 0, "{said:?}");
}

#[test]
fn what_may_be_somebody_elses_is_left_alone_at_the_end_and_told() {
    for (by, told) in [("ana", false), ("", true)] {
        let server = Server::start();
        server.fault(Asked::is_start, Fault::CutBefore);
        server.with(|state| state.looks = Some(1));
        let project = project(&server, "", "[dataset.a]\ninputs = []\n[dataset.b]\ninputs = [\"a\"]\n");
        let child = project.start(&["run", "--engine", "prod"]);
        server.wait(|state| state.jobs.len() == 1);
        server.with(|state| state.looks = None);
        server.wait(|state| state.jobs.len() == 2);
        server.job("Build_a_by_hand", "RECURSIVE_BUILD", "a", "RUNNING", by);
        server.with(|state| state.jobs[1].looks = Some(0));
        let said = wait(child);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(server.count(|asked| asked.path.ends_with("/abort")), 0, "{said:?}");
        let first = server.with(|state| state.jobs[0].id.clone());
        let page = format!("http://127.0.0.1:{}/projects/P/jobs/Build_a_by_hand/", server.port);
        let expected = format!(
            "job Build_a_by_hand may be of the first request, beside job {first}, or of somebody else: it is left alone, see {page}"
        );
        assert_eq!(said.err.contains(&expected), told, "{said:?}");
    }
}

#[test]
fn a_run_that_is_stopped_meanwhile_aborts_both() {
    let server = Server::start();
    server.fault(Asked::is_start, Fault::Hidden(10_000));
    server.with(|state| state.looks = None);
    let project = project(&server, "", ONE);
    let child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.asked.iter().any(|asked| asked.path.ends_with("/abort")));
    signal(&child, "INT");
    let said = wait(child);
    assert_eq!(said.code, 130, "{said:?}");
    let states: Vec<_> = server.with(|state| state.jobs.iter().map(|job| job.state.clone()).collect());
    assert_eq!(states, ["ABORTED", "ABORTED"], "{said:?}");
}

#[test]
fn a_job_that_turns_up_when_its_step_is_over_is_told_at_the_end() {
    for over in [false, true] {
        let server = Server::start();
        server.fault(Asked::is_start, Fault::Hidden(0));
        server.with(|state| (state.hides, state.looks) = (true, Some(1)));
        let project = project(&server, "", "[dataset.a]\ninputs = []\n[dataset.b]\ninputs = [\"a\"]\n");
        let child = project.start(&["run", "--engine", "prod"]);
        server.wait(|state| state.jobs.len() == 2);
        server.with(|state| state.looks = None);
        server.wait(|state| state.jobs.len() == 3);
        server.with(|state| {
            state.jobs[0].hidden = false;
            state.jobs[0].state = if over { "DONE" } else { "RUNNING" }.to_owned();
            state.jobs[2].looks = Some(0);
        });
        let said = wait(child);
        assert_eq!(said.code, 0, "{said:?}");
        let ids: Vec<_> = server.with(|state| state.jobs.iter().map(|job| job.id.clone()).collect());
        let what = if over {
            format!("job {} has ended beside job {}, which counts", ids[0], ids[1])
        } else {
            format!("job {} is aborted, job {} counts", ids[0], ids[1])
        };
        assert!(said.err.contains(&format!("the first request had come through too: {what}")), "{said:?}");
        let state = server.with(|state| state.jobs[0].state.clone());
        assert_eq!(state, if over { "DONE" } else { "ABORTED" });
    }
}

#[test]
fn a_job_that_turns_up_behind_its_run_is_told_by_the_next() {
    let server = Server::start();
    server.fault(Asked::is_start, Fault::Hidden(0));
    server.with(|state| (state.hides, state.looks) = (true, Some(1)));
    let project = project(&server, "", ONE);
    let said = project.expect(0, &["run", "--engine", "prod"]);
    assert!(!said.err.contains("come through"), "{said:?}");
    let ids: Vec<_> = server.with(|state| state.jobs.iter().map(|job| job.id.clone()).collect());
    server.with(|state| (state.jobs[0].hidden, state.jobs[0].looks) = (false, Some(5)));
    let said = project.expect(0, &["run", "--engine", "prod"]);
    assert!(said.out.contains(&format!("job {} may be of the first request of run build_p_", ids[0])), "{said:?}");
    assert!(said.out.contains(&format!("which took job {} of a second one", ids[1])), "{said:?}");
    assert_eq!(server.jobs_per_step()["a"], 2, "it is joined");
    // What has nothing to do with that is not doubted.
    server.with(|state| state.looks = Some(1));
    let said = project.expect(0, &["run", "--engine", "prod"]);
    assert!(!said.out.contains("may be of the first request"), "{said:?}");
}

#[test]
fn the_job_that_counts_is_the_one_that_built() {
    let server = Server::start();
    server.fault(Asked::is_start, Fault::Hidden(0));
    server.end("a", End::Busy(1));
    server.with(|state| (state.hides, state.looks) = (true, Some(1)));
    let project = project(&server, "", "[dataset.a]\ninputs = []\n[dataset.b]\ninputs = [\"a\"]\n");
    let child = project.start(&["run", "--engine", "prod"]);
    // The second one fails, since the first is being built; the third is asked for.
    server.wait(|state| state.jobs.len() == 3);
    server.with(|state| state.looks = None);
    server.wait(|state| state.jobs.len() == 4);
    server.with(|state| {
        (state.jobs[0].hidden, state.jobs[0].state) = (false, "DONE".to_owned());
        state.jobs[3].looks = Some(0);
    });
    let said = wait(child);
    assert_eq!(said.code, 0, "{said:?}");
    let ids: Vec<_> = server.with(|state| state.jobs.iter().map(|job| job.id.clone()).collect());
    let expected = format!("job {} has ended beside job {}, which counts", ids[0], ids[2]);
    assert!(said.err.contains(&expected), "{said:?}");
}

#[test]
fn a_second_job_that_dss_does_not_abort_is_named_with_its_page() {
    let server = Server::start();
    server.fault(Asked::is_start, Fault::Hidden(10_000));
    server.fault(|asked| asked.path.ends_with("/abort"), Fault::Answer(403, "", r#"{"message":"no"}"#.to_owned()));
    server.with(|state| state.looks = None);
    let project = project(&server, "", ONE);
    let child = project.start(&["run", "--engine", "prod"]);
    server.wait(|state| state.asked.iter().any(|asked| asked.path.ends_with("/abort")));
    server.with(|state| (0..2).for_each(|i| state.jobs[i].looks = Some(0)));
    let said = wait(child);
    assert_eq!(said.code, 0, "{said:?}");
    let id = server.with(|state| state.jobs[0].id.clone());
    let page = format!("http://127.0.0.1:{}/projects/P/jobs/{id}/", server.port);
    let expected = format!("job {id} could not be aborted, end it on its page: {page} (");
    assert!(said.out.contains(&expected), "{said:?}");
}
