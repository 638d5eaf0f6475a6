//! Very many steps in one job, on virtual time: what is done grows with their number, not faster.

use super::*;

#[test]
fn one_job_for_very_many_steps_comes_to_its_end() {
    in_virtual_time(async {
        let server = Arc::new(Server::new(7, calm(5_000, Vec::new())));
        let case = Case { steps: 5_000, parallel: 100, whole: true, settings: "" };
        let state = tempfile::tempdir().unwrap();
        let (book, ends) = (RefCell::default(), RefCell::default());
        let run = Run { case: &case, server: &server, state: state.path(), number: 1, kill: None, stop: None };
        assert!(run.run(&book, &(0..case.steps).collect(), &ends).await);
        let ends: Ends = ends.into_inner();
        assert_eq!((ends.len(), ends.values().all(good)), (case.steps, true));
    });
}
