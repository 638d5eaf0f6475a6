//! The tables are made again from the events, in the order in which they were kept.

use super::*;
use crate::view::{RunView, StepState};

/// All rows of all tables that are folded from the events.
fn tables(state: &Path) -> Vec<String> {
    let (connection, _) = schema::open_read(state).unwrap().unwrap();
    let mut all = Vec::new();
    for table in schema::DERIVED {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let columns = statement.column_count();
        let rows =
            statement.query_map([], |row| (0..columns).map(|i| row.get::<_, rusqlite::types::Value>(i)).collect());
        let rows: Vec<Vec<rusqlite::types::Value>> = rows.unwrap().collect::<Result<_, _>>().unwrap();
        all.extend(rows.into_iter().map(|row| format!("{table} {row:?}")));
    }
    all
}

#[test]
fn the_tables_can_be_made_again_from_the_events() {
    let dir = tempfile::tempdir().unwrap();
    let again = Tale::begin(3, &["a"]).build("a", "one more time");
    let again = again.end(JobState::Done, Counts { built: 1, current: 5, ..Counts::default() });
    keep(dir.path(), &[Tale::failing(1), Tale::dying(2), again]);
    let before = tables(dir.path());
    assert!(before.len() > 3 + 7 + 1 + 1, "{before:#?}");
    let (connection, _) = schema::open_write(dir.path()).unwrap();
    let spoil = "DELETE FROM runs WHERE state = 'FAILED'; UPDATE keys SET key = 'x'; DELETE FROM durations;
                 INSERT INTO steps (job, step, stage, action, state) VALUES ('x', 'y', 1, 'build', 'built')";
    connection.execute_batch(spoil).unwrap();
    drop(connection);
    assert_ne!(tables(dir.path()), before);
    remake(dir.path()).unwrap();
    assert_eq!(tables(dir.path()), before);
}

/// Runs that were kept in this order, whatever their clocks said: the first is ahead, and the second waited for its turn.
fn out_of_time() -> Vec<Tale> {
    let done = |tale: Tale| tale.end(JobState::Done, Counts::default());
    let ahead = done(Tale::begin(40, &["a"]).build("a", "older"));
    let mut waiting = Tale::begin(3, &["a"]);
    let Event::RunStarted(started) = waiting.events[0].event.clone() else { unreachable!("it begins") };
    waiting.events[0].event = Event::RunQueued(Box::new(RunStarted { steps: Vec::new(), ..(*started).clone() }));
    let between = done(Tale::begin(2, &["a"]).build("a", "between"));
    let mut late = done(waiting.clone().tell(Event::RunStarted(started)).build("a", "newest"));
    late.events.remove(0);
    vec![ahead, waiting, between, late]
}

#[test]
fn the_tables_are_made_again_in_the_order_in_which_runs_were_kept() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &out_of_time());
    let last = |step| Reader::open(dir.path()).unwrap().unwrap().history("p", None).unwrap().last(step).unwrap().key;
    assert_eq!(last("a"), record("a", "newest").key);
    let before = tables(dir.path());
    let (connection, _) = schema::open_write(dir.path()).unwrap();
    connection.execute_batch("UPDATE keys SET key = 'x'; DELETE FROM runs").unwrap();
    drop(connection);
    remake(dir.path()).unwrap();
    assert_eq!(tables(dir.path()), before);
    // One that waited has the place at which it was asked for.
    let runs = Reader::open(dir.path()).unwrap().unwrap().runs(&RunFilter::default()).unwrap();
    let minutes: Vec<_> = runs.iter().map(|run| run.start.as_second() / 60).collect();
    assert_eq!(minutes, [2, 3, 40]);
}

#[test]
fn a_store_of_before_that_order_was_kept_is_made_again_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two, three] = [1, 2, 3].map(|i| Tale::begin(i, &["a"]).build("a", &i.to_string()));
    keep(dir.path(), &[one, two]);
    let (connection, _) = schema::open_write(dir.path()).unwrap();
    connection.execute_batch("DROP INDEX events_began; UPDATE runs SET asked = '2026-01-01T00:00:00.000Z'").unwrap();
    drop(connection);
    let job = three.job.clone();
    keep(dir.path(), &[three]);
    let last = || Reader::open(dir.path()).unwrap().unwrap().find_run("last").unwrap()[0].id.clone();
    assert_eq!(last(), job, "it comes behind what was kept by then");
    remake(dir.path()).unwrap();
    assert_eq!(last(), job);
    let history = Reader::open(dir.path()).unwrap().unwrap().history("p", None).unwrap();
    assert_eq!(history.last("a").unwrap().key, record("a", "3").key);
}

#[test]
fn a_run_that_waited_tells_why_its_steps_were_built() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &out_of_time());
    let runs = Reader::open(dir.path()).unwrap().unwrap().step_runs("p", "a", 9).unwrap();
    let told: Vec<_> = runs.iter().map(|run| (run.began.as_second() / 60, run.reasons.len())).collect();
    assert_eq!(told, [(2, 1), (3, 1), (40, 1)]);
}

#[test]
fn the_last_place_is_not_looked_for_among_all_events() {
    let dir = tempfile::tempdir().unwrap();
    let (connection, _) = schema::open_write(dir.path()).unwrap();
    let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", apply::NEWEST)).unwrap();
    let plan: Vec<String> = plan.query_map([], |row| row.get("detail")).unwrap().map(Result::unwrap).collect();
    for index in ["runs_asked", "events_began"] {
        assert!(plan.iter().any(|line| line.contains(index)), "{plan:?}");
    }
}

/// A step that is tried again, one that fails, and one that is skipped for that.
fn tried_again() -> Tale {
    let retrying = StepRetrying {
        step: "a".to_owned(),
        attempt: 1,
        took_ms: 3,
        failure: Failure::new(FailureCode::Exit, "exit 1"),
        wait_ms: 5,
    };
    let again = Event::StepStarted {
        step: "a".to_owned(),
        attempt: 2,
        command: "make it".to_owned(),
        log: "logs/a.2.log".to_owned(),
    };
    let mut built = StepEnded::new("a", 2, Outcome::Built, 7);
    built.record = Some(record("a", "one"));
    let tale = Tale::begin(1, &["a", "b", "c"]).start("a").tell(Event::StepRetrying(Box::new(retrying))).tell(again);
    let tale = tale.publish("a", "one").tell(Event::StepEnded(Box::new(built)));
    let tale = tale.start("b").end_step("b", Outcome::Failed, None);
    tale.tell(Event::StepSkipped { step: "c".to_owned(), because: Some("b".to_owned()) })
}

/// Whoever reads the events and whoever reads the tables see the same, wherever a run has got to.
#[test]
fn the_tables_say_what_the_events_come_to() {
    for tale in [tried_again(), Tale::failing(1), Tale::dying(1)] {
        for n in 1..=tale.events.len() {
            let dir = tempfile::tempdir().unwrap();
            keep(dir.path(), &[Tale { events: tale.events[..n].to_vec(), ..tale.clone() }]);
            let mut view = RunView::default();
            tale.events[..n].iter().for_each(|event| view.apply(event));
            let (connection, _) = schema::open_read(dir.path()).unwrap().unwrap();
            for step in &view.steps {
                let sql = "SELECT state, attempt, why FROM steps WHERE step = ?1";
                let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                let told: (String, u32, Option<String>) = connection.query_row(sql, [&step.plan.id], row).unwrap();
                let why = match &step.because {
                    Some(cause) => Some(StepState::Failed.as_cause(cause)),
                    None => step.failure.as_ref().map(|failure| failure.message.clone()),
                };
                assert_eq!(told, (step.state.stored().to_owned(), step.attempt, why), "{} after {n}", step.plan.id);
            }
            let run = Reader::open(dir.path()).unwrap().unwrap().run(&tale.job).unwrap().unwrap();
            let Counts { built, failed, skipped, current, .. } = view.counts;
            assert_eq!((run.built, run.failed, run.skipped, run.current), (built, failed, skipped, current), "{n}");
        }
    }
}

#[test]
fn what_was_asked_for_before_is_told_in_the_order_in_which_runs_were_kept() {
    let dir = tempfile::tempdir().unwrap();
    let accepted = |minute, id: &str| {
        let intent = Intent { request: id.to_owned(), ..Intent::default() };
        let remote = RemoteJob { id: id.to_owned(), page: None, joined: false };
        let tale = Tale::begin(minute, &["a"]).start("a").tell(Event::StepSubmitting { step: "a".to_owned(), intent });
        tale.tell(Event::StepAccepted { step: "a".to_owned(), remote })
    };
    // The clock was ahead for the first one.
    keep(dir.path(), &[accepted(40, "first"), accepted(2, "second")]);
    let asked = Reader::open(dir.path()).unwrap().unwrap().asked_before("p", "local").unwrap();
    let ids: Vec<_> = asked.iter().map(|asked| asked.left.intent.request.as_str()).collect();
    assert_eq!(ids, ["first", "second"]);
}
