//! What people are told while it goes on, on virtual time: each wait once.

use super::*;

/// What is told in a run of so many steps on a server with which nothing is wrong, but that it is away for a time.
async fn told(steps: usize, away: Vec<(Duration, Duration)>, before: impl FnOnce(&mut State)) -> Vec<(bool, String)> {
    let weather = calm(60_000, away);
    let server = Arc::new(Server::new(7, weather));
    server.with(before);
    let case = Case { steps, parallel: 100, whole: false, settings: "" };
    let state = tempfile::tempdir().unwrap();
    let (book, ends) = (RefCell::default(), RefCell::default());
    let run = Run { case: &case, server: &server, state: state.path(), number: 1, kill: None, stop: None };
    assert!(run.run(&book, &(0..steps).collect(), &ends).await);
    let book: Book = book.into_inner();
    book.told
}

#[test]
fn a_server_that_is_away_is_told_once_for_all_steps() {
    in_virtual_time(async {
        assert_eq!(told(12, Vec::new(), |_| {}).await, []);
        let away = (Duration::ZERO, Duration::from_secs(40));
        let told = told(12, vec![away], |_| {}).await;
        let [(true, waits), (true, again)] = told.as_slice() else { panic!("{told:?}") };
        assert!(waits.ends_with("; waiting for it, for 15m00s at most"), "{waits}");
        assert!(again.starts_with("DSS answers again, after "), "{again}");
    });
}

#[test]
fn a_job_that_is_in_the_way_is_told_with_its_step() {
    in_virtual_time(async {
        let body = r#"{"type":"RECURSIVE_FORCED_BUILD","outputs":[{"type":"DATASET","id":"s1","projectKey":"P"}]}"#;
        let told = told(3, Vec::new(), |state| drop(state.start(body, "ana", Instant::now()))).await;
        let [(false, text)] = told.as_slice() else { panic!("{told:?}") };
        let expected = "builds it in another way (started by ana; to DSS we are me); waiting for its end, for 1h00m at most: \
                        http://dss.invalid/projects/P/jobs/Build_s1_NP_";
        assert!(text.starts_with("job Build_s1_NP_") && text.contains(expected), "{text}");
    });
}
