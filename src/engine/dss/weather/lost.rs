//! An answer that is lost, and lists that fail or do not reach back far enough, on virtual time.

use super::server::{Luck, other};
use super::*;

/// How the one step of a run ended, after how long, and how many jobs there were for it.
async fn lost(before: impl FnOnce(&mut State)) -> (Ended, Duration, usize) {
    let server = Arc::new(Server::new(7, calm(60_000, Vec::new())));
    server.with(before);
    let case = Case { steps: 1, parallel: 1, whole: false, settings: "" };
    let state = tempfile::tempdir().unwrap();
    let (book, ends) = (RefCell::default(), RefCell::default());
    let run = Run { case: &case, server: &server, state: state.path(), number: 1, kill: None, stop: None };
    assert!(run.run(&book, &BTreeSet::from([0]), &ends).await);
    let ended = ends.into_inner().remove("s0").unwrap();
    let jobs = server.with(|state| state.jobs.iter().filter(|job| job.key == "s0").count());
    (ended, server.began.elapsed(), jobs)
}

#[test]
fn a_job_is_looked_for_no_longer_where_every_second_list_fails() {
    for luck in [Luck::Cut(false), Luck::Gateway(false)] {
        in_virtual_time(async move {
            let (ended, took, jobs) = lost(|state| (state.halting, state.next) = (true, Some(luck))).await;
            assert!(good(&ended), "{ended:?}");
            assert!(took < Duration::from_secs(150), "{took:?}");
            assert_eq!(jobs, 1);
        });
    }
}

#[test]
fn a_list_that_does_not_reach_back_is_no_sign_that_there_is_no_job() {
    for (crowd, well) in [(0, true), (2, true), (3, false), (7, false)] {
        in_virtual_time(async move {
            let (ended, took, jobs) = lost(|state| {
                for i in 0..5 {
                    state.start(&other(&format!("old{i}")), "ana", Instant::now());
                }
                (state.cap, state.crowd, state.next) = (3, crowd, Some(Luck::Cut(true)));
            })
            .await;
            assert_eq!((good(&ended), jobs), (well, 1), "{crowd} others: {ended:?}");
            assert!(took < Duration::from_secs(150), "{took:?}");
            if let Ended::Failed(failure) = ended {
                assert_eq!(failure.code, FailureCode::SubmissionUnknown);
                assert!(failure.message.contains("do not show whether there is one"), "{}", failure.message);
            }
        });
    }
}

#[test]
fn a_job_that_lists_named_once_and_never_told_of_may_be_the_one() {
    in_virtual_time(async {
        let (ended, took, jobs) = lost(|state| (state.shy, state.next) = (true, Some(Luck::Cut(true)))).await;
        assert_eq!(jobs, 1, "{ended:?}");
        assert!(took < Duration::from_secs(150), "{took:?}");
        let Ended::Failed(failure) = ended else { panic!("{ended:?}") };
        assert_eq!(failure.code, FailureCode::SubmissionUnknown);
        assert!(
            failure.message.contains("does not tell of these whether one of them is the job: Build_s0_NP_"),
            "{failure:?}"
        );
    });
}
