//! Jobs that went astray: those of earlier runs, those that only other answers than lists show, those that come back. None of
//! them leads to a second job that nobody asked for.

use crate::dss::{ONE, is_list, is_status, project, run, signal, wait};
use crate::dss_cut::{DOUBT, killed, server};
use crate::dss_server::{Asked, End, Fault, Server, State};
use crate::support::Project;

const STEPS: &[&str] = &["run", "--engine", "prod"];

fn lists(state: &State) -> usize {
    state.asked.iter().filter(|asked| is_list(asked)).count()
}

/// Waits until so many more lists were asked for.
fn more_lists(server: &Server, more: usize) {
    let before = server.with(|state| lists(state));
    server.wait(|state| lists(state) >= before + more);
}

/// A project whose lost jobs are looked for for long.
fn patient(server: &Server, grace: &str, steps: &str) -> Project {
    let project = project(server, "", steps);
    project.write("pipeline.toml", project.read("pipeline.toml").replace("\"100ms\"", &format!("\"{grace}\"")));
    project
}

fn ids(server: &Server) -> Vec<String> {
    server.with(|state| state.jobs.iter().map(|job| job.id.clone()).collect())
}

#[test]
fn a_job_that_an_earlier_run_came_to_is_not_the_one_that_was_lost() {
    let server = Server::start();
    server.with(|state| state.hides = true);
    let project = patient(&server, "10s", ONE);
    run(&project, 0, &[]);
    // Lists show it when the next run has asked for another one.
    server.with(|state| state.jobs[0].hidden = true);
    server.fault(Asked::is_start, Fault::Hidden(0));
    let child = project.start(STEPS);
    server.wait(|state| state.jobs.len() == 2);
    more_lists(&server, 1);
    server.with(|state| state.jobs[0].hidden = false);
    more_lists(&server, 2);
    server.with(|state| (state.jobs[1].hidden, state.jobs[1].looks) = (false, Some(1)));
    let said = wait(child);
    assert_eq!(said.code, 0, "{said:?}");
    let (ids, log) = (ids(&server), project.expect(0, &["jobs", "log", "last"]).out);
    assert!(log.contains(&format!("is job {}", ids[1])) && !log.contains(&ids[0]) && ids.len() == 2, "{log} {ids:?}");
}

#[test]
fn that_lists_are_cut_is_not_forgotten_by_runs_that_end_without_a_job() {
    let server = server(true);
    let project = project(&server, "", ONE);
    run(&project, 0, &[]);
    server.with(|state| state.looks = None);
    server.fault(Asked::is_start, Fault::CutAfter);
    for number in 1..=5 {
        let said = run(&project, 1, &[]);
        assert!(said.out.contains(DOUBT), "{number}: {said:?}");
        assert_eq!(server.jobs_per_step()["a"], 2, "{number}: {said:?}");
    }
}

#[test]
fn a_job_that_lists_lack_counts_though_it_came_behind_the_one_that_was_lost() {
    let server = Server::start();
    server.job("in_the_way", "RECURSIVE_BUILD", "b", "RUNNING", "ana");
    (0..5).for_each(|i| server.job(&format!("old{i}"), "RECURSIVE_BUILD", "old", "DONE", "ana"));
    server.with(|state| (state.oldest, state.has_running) = (3, false));
    server.fault(|asked| asked.is_start() && asked.body.contains("\"a\""), Fault::CutAfter);
    let project = patient(&server, "2s", "[dataset.a]\ninputs = []\n[dataset.b]\ninputs = []\n");
    let child = project.start(&["run", "--engine", "prod", "-k"]);
    server.wait(|state| state.jobs.iter().any(|job| job.key() == "a"));
    more_lists(&server, 2);
    server.with(|state| state.jobs[0].state = "DONE".to_owned());
    let said = wait(child);
    assert_eq!((server.jobs_per_step()["a"], server.jobs_per_step()["b"]), (1, 2), "{said:?}");
    assert!(said.code == 1 && said.out.contains(DOUBT), "{said:?}");
}

#[test]
fn a_job_that_only_the_list_of_running_jobs_shows_is_found() {
    for (dies, everywhere) in [(false, false), (true, false), (false, true)] {
        let server = server(true);
        server.with(|state| (state.has_running, state.looks) = (!everywhere, None));
        if everywhere {
            let line = |id: &str, of: &str| format!(r#"{{"jobId":"{id}","projectKey":"{of}","state":"RUNNING"}}"#);
            let id = "Build_a_NP_2026-11-24T02-00-00.005";
            let lines = format!("[{},{}]", line("Build_a_elsewhere", "Q"), line(id, "P"));
            server.with(|state| state.pages.insert("/jobs/running".to_owned(), lines.clone()));
            server.with(|state| state.pages.insert("/jobs/running/".to_owned(), lines));
        }
        let project = project(&server, "", ONE);
        match dies {
            true => killed(&project, &server),
            false => server.fault(Asked::is_start, Fault::CutAfter),
        }
        let child = project.start(STEPS);
        server.wait(|state| state.asked.iter().any(is_status));
        server.with(|state| state.jobs.iter_mut().for_each(|job| job.looks = Some(3)));
        server.with(|state| state.looks = Some(0));
        let said = wait(child);
        let case = format!("dies {dies}, everywhere {everywhere}: {said:?}");
        assert_eq!((said.code, server.jobs_per_step()["a"]), (0, 1), "{case}");
    }
}

#[test]
fn the_job_that_is_already_building_is_the_one_that_was_lost() {
    let server = server(true);
    server.fault(Asked::is_start, Fault::Hidden(0));
    let lost = "Build_a_NP_2026-11-24T02-00-00.005";
    server.end("a", End::Failed("Dataset P.a is already being built by job Build_a_NP_2026-11-24T02-00-00.005"));
    let project = project(&server, "", ONE);
    let child = project.start(STEPS);
    server.wait(|state| state.asked.iter().any(|asked| is_status(asked) && asked.path.contains(lost)));
    server.end("a", End::Built(vec![]));
    server.with(|state| state.jobs[5].looks = Some(1));
    let said = wait(child);
    assert_eq!((said.code, server.jobs_per_step()["a"]), (0, 2), "{said:?}");
    let log = project.expect(0, &["jobs", "log", "last"]).out;
    assert!(
        log.contains(": that is the job whose answer was lost") && log.contains(&format!("is job {lost}")),
        "{log}"
    );
}

#[test]
fn what_collides_with_a_lost_job_that_nothing_names_is_asked_for_once_more_at_most() {
    let server = server(true);
    server.fault(Asked::is_start, Fault::Hidden(0));
    server.end("a", End::Busy(100));
    let said = run(&project(&server, "", ONE), 1, &[]);
    assert!(said.out.contains("the job may be the one that DSS speaks of: Dataset P.a is already being"), "{said:?}");
    assert_eq!(server.jobs_per_step()["a"], 3, "{said:?}");
}

/// A run that follows its job.
fn following(project: &Project, server: &Server) -> std::process::Child {
    server.with(|state| state.looks = None);
    let child = project.start(STEPS);
    server.wait(|state| state.asked.iter().any(|asked| asked.path.contains("/running/")));
    child
}

#[test]
fn a_job_that_dss_does_not_know_for_a_while_comes_back() {
    for dies in [false, true] {
        let server = Server::start();
        let project = patient(&server, "10s", ONE);
        let first = following(&project, &server);
        let child = if dies {
            signal(&first, "KILL");
            wait(first);
            server.with(|state| state.jobs[0].removed = true);
            project.start(STEPS)
        } else {
            server.with(|state| state.jobs[0].removed = true);
            first
        };
        let asked = |state: &State| state.asked.iter().filter(|asked| is_status(asked)).count();
        let before = server.with(|state| asked(state));
        server.wait(|state| asked(state) >= before + if dies { 2 } else { 5 });
        more_lists(&server, 1);
        server.with(|state| (state.jobs[0].removed, state.jobs[0].looks) = (false, Some(1)));
        let said = wait(child);
        assert_eq!((said.code, server.jobs_per_step()["a"]), (0, 1), "dies {dies}: {said:?}");
        let told = format!("DSS does not know job {} any more: it may come back within 10s", ids(&server)[0]);
        assert!(said.out.contains(&told), "{told}: {said:?}");
    }
}

#[test]
fn of_a_job_that_vanished_and_turns_up_and_the_one_in_its_place_the_later_one_goes() {
    let server = Server::start();
    let project = project(&server, "", ONE);
    let child = following(&project, &server);
    signal(&child, "KILL");
    wait(child);
    server.with(|state| state.jobs[0].removed = true);
    let child = project.start(STEPS);
    server.wait(|state| state.jobs.len() == 2);
    server.with(|state| state.jobs[0].removed = false);
    server.wait(|state| state.asked.iter().any(|asked| asked.path.ends_with("/abort")));
    server.with(|state| state.jobs[0].looks = Some(0));
    let said = wait(child);
    let ids = ids(&server);
    assert_eq!(said.code, 0, "{said:?}");
    let both = format!("job {} is aborted, job {} counts", ids[1], ids[0]);
    for told in [format!("job {} of run build_p_", ids[0]), " vanished from DSS".to_owned(), both] {
        assert!(said.out.contains(&told), "{told}: {said:?}");
    }
}

#[test]
fn one_refusal_between_good_answers_does_not_end_the_search() {
    for (status, header) in [(302, "Location: http://sign-on.invalid/\r\n"), (401, ""), (403, "")] {
        let server = Server::start();
        let project = patient(&server, "10s", ONE);
        killed(&project, &server);
        server.fault(is_list, Fault::Answer(status, header, String::new()));
        let said = run(&project, 0, &[]);
        assert_eq!(server.jobs_per_step()["a"], 1, "{status}: {said:?}");
    }
}

#[test]
fn what_collides_with_the_job_of_a_run_that_was_killed_takes_that_job() {
    let server = server(true);
    let project = project(&server, "", ONE);
    server.with(|state| state.looks = None);
    killed(&project, &server);
    server.with(|state| (state.jobs[5].state, state.looks) = ("DONE".to_owned(), Some(1)));
    server.end("a", End::Failed("Dataset P.a is already being built by job Build_a_NP_2026-11-24T02-00-00.005"));
    let said = run(&project, 0, &[]);
    assert_eq!(server.jobs_per_step()["a"], 2, "{said:?}");
}
