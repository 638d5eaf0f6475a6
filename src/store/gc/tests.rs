//! What is taken out of a history, and what is not.

use super::*;
use crate::base::digest::Digest;
use crate::base::file::{FileDigest, FileStat, Seen};
use crate::base::job::{BuildMode, JobState, Schedule};
use crate::event::{Counts, Event, Intent, Outcome, RunEnded, RunStarted, Stamped, StepEnded, VERSION};
use crate::plan::record::{Parts, Record};
use crate::report::api::Journal;
use crate::store::filter::RunFilter;
use crate::store::read::Reader;
use crate::store::write::{Writer, remake};

struct Store {
    dir: tempfile::TempDir,
}

const NOW: &str = "2026-06-01T12:00:00Z";

fn now() -> jiff::Timestamp {
    NOW.parse().unwrap()
}

fn days_ago(days: i64) -> jiff::Timestamp {
    now() - jiff::SignedDuration::from_hours(24 * days)
}

fn started(pipeline: &str) -> RunStarted {
    RunStarted {
        pipeline: pipeline.to_owned(),
        project: "P".to_owned(),
        file: "p.toml".to_owned(),
        engine: "local".to_owned(),
        mode: BuildMode::Smart,
        schedule: Schedule::Stages,
        targets: Vec::new(),
        exclude: Vec::new(),
        max_parallel: 1,
        by: "me".to_owned(),
        pid: 1,
        host: "here".to_owned(),
        kiln: "0".to_owned(),
        again: "kiln run".to_owned(),
        keep_going: false,
        vars: Default::default(),
        steps: Vec::new(),
        up_to_date: 0,
        left: Vec::new(),
        put_back: Vec::new(),
        expected_ms: None,
    }
}

impl Store {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A run of a day with a log; it builds a step where one is given, and has no end where `goes_on`.
    fn run(&self, pipeline: &str, days: i64, step: Option<&str>, goes_on: bool) -> String {
        let job = JobId::new(pipeline, &format!("{:05}", 99_999 - days));
        let mut events = vec![Event::RunStarted(Box::new(started(pipeline)))];
        if let Some(step) = step {
            let record = Record { key: Digest::of(b"key"), parts: Parts::new(), outputs: Vec::new() };
            events.push(Event::StepEnded(Box::new(StepEnded {
                step: step.to_owned(),
                attempt: 1,
                outcome: Outcome::Built,
                took_ms: 1,
                record: Some(record),
                also_built: Vec::new(),
                failure: None,
                flaky: false,
                leaked: Vec::new(),
                replaced: Vec::new(),
            })));
        }
        if !goes_on {
            events.push(Event::RunEnded(RunEnded::new(JobState::Done, None, Counts::default())));
        }
        self.append(&job, days, events);
        let logs = self.dir.path().join("logs").join(job.as_str());
        std::fs::create_dir_all(&logs).unwrap();
        std::fs::write(logs.join("a.1.log"), [b'x'; 1_000]).unwrap();
        job.to_string()
    }

    /// A job that waits for its turn.
    fn queued(&self, pipeline: &str, days: i64) -> String {
        let job = JobId::new(pipeline, "queued");
        self.append(&job, days, vec![Event::RunQueued(Box::new(started(pipeline)))]);
        job.to_string()
    }

    fn append(&self, job: &JobId, days: i64, events: Vec<Event>) {
        let stamp = |(seq, event)| {
            let (job, at) = (job.clone(), days_ago(days));
            Stamped { version: VERSION, job, seq, at, elapsed_ms: 0, event }
        };
        let mut writer = Writer::open(self.dir.path(), Box::new(|_| {})).unwrap();
        writer.append((0..).zip(events).map(stamp).collect(), Vec::new());
        writer.close().unwrap();
    }

    fn left(&self) -> Vec<String> {
        let reader = Reader::open(self.dir.path()).unwrap().unwrap();
        reader.runs(&RunFilter::default()).unwrap().into_iter().map(|run| run.id.to_string()).collect()
    }

    fn logs(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("logs")).unwrap().count()
    }
}

fn keep(days: u32, runs: u32, bytes: u64) -> Keep {
    Keep { days, runs, bytes }
}

const NO_LIMIT: u64 = u64::MAX;

#[test]
fn old_runs_go_with_their_logs_and_the_newest_of_each_pipeline_stay() {
    let store = Store::new();
    let other = store.run("q", 90, None, false);
    let old: Vec<_> = [50, 40, 30].map(|days| store.run("p", days, None, false)).to_vec();
    let young = store.run("p", 2, None, false);
    let dry = gc(store.dir.path(), store.dir.path(), keep(10, 2, NO_LIMIT), now(), true).unwrap();
    assert_eq!((store.left().len(), store.logs()), (5, 5), "a dry run changes nothing");
    let swept = gc(store.dir.path(), store.dir.path(), keep(10, 2, NO_LIMIT), now(), false).unwrap();
    assert_eq!(swept, dry);
    assert_eq!(swept.jobs.iter().map(JobId::as_str).collect::<Vec<_>>(), [&old[0], &old[1]]);
    assert_eq!(store.left(), [young, old[2].clone(), other]);
    assert_eq!(store.logs(), 3);
    assert!(swept.bytes > 2_000 && swept.newest == Some(days_ago(40)), "{swept:?}");
}

#[test]
fn a_run_stays_that_may_have_a_job_elsewhere() {
    let store = Store::new();
    let job = JobId::new("p", "lost");
    let elders = vec!["old".to_owned()];
    let intent = Intent { request: "r".to_owned(), known: vec!["k".to_owned()], elders, listed: 7 };
    let submitting = Event::StepSubmitting { step: "a".to_owned(), intent: intent.clone() };
    let end = RunEnded::new(JobState::Failed, None, Counts::default());
    store.append(&job, 90, vec![Event::RunStarted(Box::new(started("p"))), submitting, Event::RunEnded(end)]);
    let newest = store.run("p", 60, None, false);
    let swept = gc(store.dir.path(), store.dir.path(), keep(0, 0, 0), now(), false).unwrap();
    assert_eq!((swept.jobs.len(), store.left()), (0, vec![newest, job.to_string()]));
    // All that was there before the request is known for as long.
    let reader = Reader::open(store.dir.path()).unwrap().unwrap();
    let left = reader.left_behind("p", "local").unwrap();
    assert_eq!(left.into_iter().map(|left| (left.step, left.intent)).collect::<Vec<_>>(), [("a".to_owned(), intent)]);
}

#[test]
fn neither_a_run_that_goes_on_nor_one_with_a_last_good_build_is_removed() {
    let store = Store::new();
    let superseded = store.run("p", 90, Some("a"), false);
    let good = store.run("p", 80, Some("a"), false);
    let on = store.run("p", 70, None, true);
    let newest = store.run("p", 60, None, false);
    let swept = gc(store.dir.path(), store.dir.path(), keep(0, 0, 0), now(), false).unwrap();
    assert_eq!(swept.jobs.iter().map(JobId::as_str).collect::<Vec<_>>(), [superseded]);
    assert_eq!(store.left(), [newest, on, good.clone()]);
    assert_eq!((swept.left, swept.held), (3, 1));
    // The tables can still be made anew from the events that are left.
    remake(store.dir.path()).unwrap();
    let history = Reader::open(store.dir.path()).unwrap().unwrap().history("p", None).unwrap();
    assert_eq!(crate::plan::record::History::last(&history, "a").unwrap().job.as_str(), good);
}

/// A run may become the last good one of a step when it is chosen already.
#[test]
fn what_is_spared_at_the_last_moment_keeps_its_logs_and_does_not_count_as_gone() {
    let store = Store::new();
    let [first, spared, newest] = [90, 80, 2].map(|days| store.run("p", days, None, false));
    let (connection, _) = schema::open_write(store.dir.path()).unwrap();
    let sql = format!(
        "CREATE TRIGGER late AFTER DELETE ON runs WHEN old.job = '{first}' BEGIN
         INSERT INTO keys (pipeline, step, key, built_at, job, outputs, parts) VALUES ('p', 'a', '', '', '{spared}', '', ''); END"
    );
    connection.execute_batch(&sql).unwrap();
    drop(connection);
    let swept = gc(store.dir.path(), store.dir.path(), keep(0, 0, 0), now(), false).unwrap();
    assert_eq!(swept.jobs.iter().map(JobId::as_str).collect::<Vec<_>>(), [first.as_str()]);
    assert_eq!((swept.left, store.left()), (2, vec![newest, spared.clone()]));
    let logs = store.dir.path().join("logs");
    assert!(!logs.join(first).exists() && logs.join(spared).exists());
}

#[test]
fn a_job_that_waits_for_its_turn_stays() {
    let store = Store::new();
    let waits = store.queued("p", 90);
    let old = store.run("p", 80, None, false);
    let newest = store.run("p", 2, None, false);
    let swept = gc(store.dir.path(), store.dir.path(), keep(0, 0, 0), now(), false).unwrap();
    assert_eq!(swept.jobs.iter().map(JobId::as_str).collect::<Vec<_>>(), [old]);
    let mut left = store.left();
    left.sort();
    let mut stay = [waits, newest];
    stay.sort();
    assert_eq!(left, stay);
}

#[test]
fn the_newest_is_the_one_that_was_kept_last() {
    let store = Store::new();
    let ahead = store.run("p", -900, None, false);
    let newest = store.run("p", 2, None, false);
    let swept = gc(store.dir.path(), store.dir.path(), keep(0, 0, 0), now(), false).unwrap();
    assert_eq!(swept.jobs.iter().map(JobId::as_str).collect::<Vec<_>>(), [ahead]);
    assert_eq!(store.left(), [newest]);
}

#[test]
fn house_is_kept_again_after_a_time_that_is_yet_to_come() {
    let store = Store::new();
    store.run("p", 2, None, false);
    gc(store.dir.path(), store.dir.path(), KEEP, days_ago(-900), false).unwrap();
    assert!(is_due(&Reader::open(store.dir.path()).unwrap().unwrap(), now()).unwrap());
}

#[test]
fn files_that_are_gone_are_forgotten() {
    let store = Store::new();
    store.run("p", 2, None, false);
    std::fs::write(store.dir.path().join("there"), "").unwrap();
    let stat = FileStat { size: 0, mtime_ns: 1, ctime_ns: 1, inode: 1 };
    let seen = Seen { stat, digest: Digest::of(b""), seen_ns: 1 };
    let files = ["there", "gone"].map(|path| FileDigest { path: path.to_owned(), seen });
    let mut writer = Writer::open(store.dir.path(), Box::new(|_| {})).unwrap();
    writer.append([].into(), files.to_vec());
    writer.close().unwrap();
    gc(store.dir.path(), store.dir.path(), keep(10, 2, NO_LIMIT), now(), false).unwrap();
    let known = Reader::open(store.dir.path()).unwrap().unwrap().digests().unwrap();
    assert_eq!(known.into_keys().collect::<Vec<_>>(), ["there"]);
}

#[test]
fn what_is_too_large_loses_its_oldest_runs() {
    let store = Store::new();
    let runs: Vec<_> = (1..=40).rev().map(|days| store.run("p", days, None, false)).collect();
    let all = size_of(&store.dir.path().join("logs"));
    assert_eq!(all, 40_000);
    let (connection, _) = schema::open_read(store.dir.path()).unwrap().unwrap();
    let used = used(&connection).unwrap();
    drop(connection);
    let swept = gc(store.dir.path(), store.dir.path(), keep(1_000, 1_000, used + 30_000), now(), false).unwrap();
    let gone = swept.jobs.len();
    assert!((5..15).contains(&gone), "{gone}");
    assert_eq!(store.left().last(), Some(&runs[gone]));
}

#[test]
fn what_stays_is_not_measured() {
    let effort = |said: i64| {
        let store = Store::new();
        for days in [60, 50, 40, 2] {
            store.run("p", days, None, false);
        }
        let (connection, _) = schema::open_write(store.dir.path()).unwrap();
        let more = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                    INSERT INTO events SELECT job, 10 + i, '', 0, 'noted', 'é' FROM runs, n";
        connection.execute(more, [said]).unwrap();
        let mut statement = connection.prepare(MAY_GO).unwrap();
        assert_eq!(statement.query_map(params![time(days_ago(45)), 1], |_| Ok(())).unwrap().count(), 3);
        let looked = statement.get_status(rusqlite::StatementStatus::VmStep);
        let (logs, keep) = (store.dir.path().join("logs"), keep(45, 1, NO_LIMIT));
        let doomed = choose(&connection, &logs, keep, now(), (0, 1)).unwrap();
        (looked, doomed.iter().map(|run| run.bytes).sum::<u64>())
    };
    let ((few, small), (many, large)) = (effort(1), effort(1_001));
    assert_eq!((few, large - small), (many, 2_000), "one run goes, and is measured in bytes");
}

#[test]
fn it_happens_by_itself_once_a_day_and_logs_without_a_run_go() {
    let store = Store::new();
    let old: Vec<_> = (0..110).map(|i| store.run("p", 300 - i, None, false)).collect();
    let stray = store.dir.path().join("logs/build_p_gone");
    std::fs::create_dir_all(&stray).unwrap();
    let later = crate::clock::now() + jiff::SignedDuration::from_hours(48);
    let swept = now_and_then(store.dir.path(), store.dir.path(), later).unwrap().unwrap();
    assert_eq!(swept.jobs.len(), 10);
    assert!(!stray.exists() && swept.strays == 1);
    assert_eq!(store.left().last(), Some(&old[10]));
    assert_eq!(
        now_and_then(store.dir.path(), store.dir.path(), later + jiff::SignedDuration::from_hours(23)).unwrap(),
        None
    );
    assert!(
        now_and_then(store.dir.path(), store.dir.path(), later + jiff::SignedDuration::from_hours(25))
            .unwrap()
            .is_some()
    );
    // What has just begun is no stray.
    std::fs::create_dir_all(&stray).unwrap();
    gc(store.dir.path(), store.dir.path(), keep(30, 100, NO_LIMIT), crate::clock::now(), false).unwrap();
    assert!(stray.exists());
}

#[test]
fn a_new_history_is_not_looked_through() {
    let store = Store::new();
    let run = store.run("p", 0, None, false);
    let hours = |hours| now() + jiff::SignedDuration::from_hours(hours);
    let look = |at| now_and_then(store.dir.path(), store.dir.path(), at).unwrap().is_some();
    assert!(!look(hours(1)) && look(hours(25)) && !look(hours(26)), "{run}");
}

#[test]
fn where_there_is_no_store_there_is_nothing_to_do() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(gc(dir.path(), dir.path(), KEEP, now(), false).unwrap(), Swept::default());
    assert_eq!(now_and_then(dir.path(), dir.path(), now()).unwrap(), None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn of_a_long_run_a_part_goes_at_a_time_and_what_is_left_goes_the_next_time() {
    let store = Store::new();
    let job = JobId::new("p", "long");
    let note = Event::Noted { step: None, text: "x".to_owned() };
    let events = std::iter::once(Event::RunStarted(Box::new(started("p")))).chain(vec![note; 9]);
    store.append(&job, 90, events.collect());
    let (mut connection, _) = schema::open_write(store.dir.path()).unwrap();
    // It is cut short in the second transaction.
    let cut = "CREATE TRIGGER cut BEFORE DELETE ON events WHEN OLD.seq = 3 BEGIN SELECT RAISE(ABORT, 'cut'); END";
    connection.execute_batch(cut).unwrap();
    let doomed = Doomed { job: job.to_string(), began: days_ago(90), kept: String::new(), bytes: 0 };
    assert!(remove(&mut connection, std::slice::from_ref(&doomed), 4).is_err());
    let left = |connection: &Connection, table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!((left(&connection, "events"), left(&connection, "runs")), (6, 1));
    connection.execute_batch("DROP TRIGGER cut").unwrap();
    remove(&mut connection, &[doomed], 4).unwrap();
    assert_eq!((left(&connection, "events"), left(&connection, "runs")), (0, 0));
}

#[test]
fn a_history_is_made_smaller_only_where_nobody_works() {
    let store = Store::new();
    let job = JobId::new("p", "long");
    let note = Event::Noted { step: None, text: "x".repeat(10_000) };
    let events = std::iter::once(Event::RunStarted(Box::new(started("p")))).chain(vec![note; 50]);
    let end = Event::RunEnded(RunEnded::new(JobState::Done, None, Counts::default()));
    store.append(&job, 90, events.chain([end]).collect());
    store.run("p", 1, None, false);
    let unused = || {
        let (connection, _) = schema::open_read(store.dir.path()).unwrap().unwrap();
        connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, u32>(0)).unwrap()
    };
    let sweep = || gc(store.dir.path(), store.dir.path(), keep(30, 1, NO_LIMIT), now(), false).unwrap();
    // It plans, and no run of it is in the history yet.
    let planning = lock::Lock::take(store.dir.path(), "p", &lock::here_now()).unwrap();
    assert_eq!(sweep().jobs, [job]);
    assert!(unused() > 40);
    drop(planning);
    sweep();
    assert_eq!(unused(), 0);
}
