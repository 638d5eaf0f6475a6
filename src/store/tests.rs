//! The store: what is kept, read back, remade, refused.

use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;

use super::filter::RunFilter;
use super::last_word::LastWord;
use super::read::Reader;
use super::write::{Writer, remake};
use super::*;
use crate::base::digest::Digest;
use crate::base::file::{FileDigest, FileStat, Seen};
use crate::base::job::{BuildMode, JobId, JobState, Schedule};
use crate::event::*;
use crate::plan::reason::{Action, Reason, ReasonCode};
use crate::plan::record::{History, OutputRecord, Record};
use crate::report::api::Journal;

mod again;

/// A run whose events are made up one after another.
#[derive(Clone)]
pub(super) struct Tale {
    job: JobId,
    began: jiff::Timestamp,
    pub(super) events: Vec<Stamped>,
}

impl Tale {
    /// A run of the pipeline `p` that begins in this minute of the hour.
    pub(super) fn begin(minute: i64, steps: &[&str]) -> Self {
        let began = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_mins(minute);
        let job = JobId::new("p", &began.strftime("%Y-%m-%dT%H-%M-%S.000").to_string());
        let step = |(i, id): (usize, &&str)| PlannedStep {
            id: (*id).to_owned(),
            outputs: vec![(*id).to_owned()],
            stage: 1 + u32::try_from(i).unwrap(),
            action: if i == 0 { Action::Build } else { Action::Maybe },
            reasons: vec![Reason::new(ReasonCode::NeverBuilt)],
            expected_ms: None,
            place: "p.toml:1".to_owned(),
            attempts: 1,
            after: (0..u32::try_from(i).unwrap()).collect(),
        };
        let started = RunStarted {
            pipeline: "p".to_owned(),
            project: "P".to_owned(),
            file: "p.toml".to_owned(),
            engine: "local".to_owned(),
            mode: BuildMode::Smart,
            schedule: Schedule::Stages,
            targets: vec!["+a".to_owned()],
            exclude: Vec::new(),
            max_parallel: 2,
            by: "ana".to_owned(),
            pid: 7,
            host: "here".to_owned(),
            kiln: "0".to_owned(),
            again: "kiln run".to_owned(),
            keep_going: false,
            vars: Default::default(),
            steps: steps.iter().enumerate().map(step).collect(),
            up_to_date: 5,
            left: Vec::new(),
            put_back: Vec::new(),
            expected_ms: None,
        };
        Self { job, began, events: Vec::new() }.tell(Event::RunStarted(Box::new(started)))
    }

    fn tell(mut self, event: Event) -> Self {
        let seq = self.events.len() as u64;
        let at = self.began + jiff::SignedDuration::from_millis(i64::try_from(seq).unwrap() * 250);
        self.events.push(Stamped { version: VERSION, job: self.job.clone(), seq, at, elapsed_ms: seq * 250, event });
        self
    }

    fn start(self, step: &str) -> Self {
        let (step, log) = (step.to_owned(), format!("logs/{step}.1.log"));
        self.tell(Event::StepStarted { step, attempt: 1, command: "make it".to_owned(), log })
    }

    fn publish(self, step: &str, content: &str) -> Self {
        let (step, record) = (step.to_owned(), record(step, content));
        let staged = record.outputs.iter().map(|output| Staged {
            from: format!(".kiln/staging/{step}"),
            to: output.path.clone().unwrap(),
            digest: output.digest,
            keep: false,
            stood: None,
        });
        let staged = staged.collect();
        self.tell(Event::StepPublishing { step, took_ms: 100, record, staged })
    }

    fn end_step(self, step: &str, outcome: Outcome, content: Option<&str>) -> Self {
        let failure = content.is_none().then(|| Failure::new(FailureCode::Exit, "exit 3"));
        let record = content.map(|content| record(step, content));
        let took_ms = 100 + content.map_or(0, |content| content.len() as u64);
        let step = step.to_owned();
        self.tell(Event::StepEnded(Box::new(StepEnded {
            step,
            attempt: 1,
            outcome,
            took_ms,
            flaky: false,
            leaked: Vec::new(),
            replaced: Vec::new(),
            record,
            also_built: Vec::new(),
            failure,
        })))
    }

    pub(super) fn build(self, step: &str, content: &str) -> Self {
        self.start(step).publish(step, content).end_step(step, Outcome::Built, Some(content))
    }

    fn end(self, state: JobState, counts: Counts) -> Self {
        let failed = || Cause::Failed { step: "b".to_owned(), message: "exit 3".to_owned() };
        self.tell(Event::RunEnded(RunEnded::new(state, (state == JobState::Failed).then(failed), counts)))
    }

    /// `a` is built, `b` fails, `c` is skipped.
    pub(super) fn failing(minute: i64) -> Self {
        let tale = Self::begin(minute, &["a", "b", "c"]).build("a", "one").start("b");
        let tale = tale.end_step("b", Outcome::Failed, None);
        let tale = tale.tell(Event::StepSkipped { step: "c".to_owned(), because: Some("b".to_owned()) });
        tale.end(JobState::Failed, Counts { built: 1, failed: 1, skipped: 1, current: 5, ..Counts::default() })
    }

    /// `a` is built once more, `b` turns out to be up to date, and Kiln dies when `c` is being put in place.
    pub(super) fn dying(minute: i64) -> Self {
        let tale = Self::begin(minute, &["a", "b", "c"]).build("a", "another");
        tale.tell(Event::StepCurrent { step: "b".to_owned(), also_built: Vec::new() }).start("c").publish("c", "three")
    }
}

fn record(step: &str, content: &str) -> Record {
    let output = OutputRecord {
        node: step.to_owned(),
        path: Some(format!("build/{step}")),
        real: None,
        digest: Digest::of(content.as_bytes()),
    };
    let parts = [("command", content), ("env:STAGE", "dev")];
    Record {
        key: Digest::of(format!("{step} {content}").as_bytes()),
        parts: parts.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        outputs: vec![output],
    }
}

pub(super) fn keep(state: &Path, tales: &[Tale]) {
    let mut writer = Writer::open(state, Box::new(|_| {})).unwrap();
    for tale in tales {
        // In batches of two, as they might come.
        for batch in tale.events.chunks(2) {
            writer.append(batch.into(), Vec::new());
        }
    }
    writer.close().unwrap();
}

#[test]
fn what_is_kept_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (failing, dying) = (Tale::failing(1), Tale::dying(2));
    let (first, second) = (failing.job.clone(), dying.job.clone());
    let events = failing.events.clone();
    keep(dir.path(), &[failing, dying]);
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    assert_eq!(reader.events(&first, 0).unwrap(), events);
    assert_eq!(reader.events(&first, 3).unwrap(), events[3..]);
    let runs = reader.runs(&RunFilter::default()).unwrap();
    let told: Vec<_> = runs.iter().map(|run| (&run.id, run.state, run.built, run.failed, run.current)).collect();
    assert_eq!(told, [(&second, JobState::Running, 1, 0, 6), (&first, JobState::Failed, 1, 1, 5)]);
    assert_eq!(runs[1].targets, ["+a"]);
    assert_eq!(runs[1].why.as_deref(), Some("b: exit 3"));
    let history = reader.history("p", None).unwrap();
    let last = history.last("a").unwrap();
    assert_eq!((last.key, &last.job), (record("a", "another").key, &second));
    assert_eq!(last.outputs, record("a", "another").outputs);
    assert_eq!(history.parts("a"), record("a", "another").parts);
    assert!(history.last("b").is_none() && history.last("c").is_none(), "neither was ever good");
    assert_eq!(reader.durations("p", "local", None).unwrap()["a"], 105, "half of the old and of the new, rounded up");
    assert!(reader.history("q", None).unwrap().last("a").is_none(), "another pipeline");
    let dead = reader.unfinished("p").unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].job, second);
    assert_eq!(dead[0].publishing.iter().map(|row| row.step.as_str()).collect::<Vec<_>>(), ["c"]);
}

#[test]
fn of_each_engine_it_is_known_how_long_steps_take_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let with = |minute, engine: &str| {
        let mut tale = Tale::begin(minute, &["a"]);
        let Event::RunStarted(started) = &mut tale.events[0].event else { panic!() };
        engine.clone_into(&mut started.engine);
        tale
    };
    let here = with(1, "local").build("a", "").end(JobState::Done, Counts::default());
    // Such an engine leaves no record.
    let mut ended = StepEnded::new("a", 1, Outcome::Built, 60_000);
    let there = with(2, "prod").start("a").tell(Event::StepEnded(Box::new(ended.clone())));
    ended.failure = Some(Failure::new(FailureCode::Remote, "no"));
    let failed = StepEnded { outcome: Outcome::Failed, took_ms: 1, ..ended };
    let failed = with(3, "prod").start("a").tell(Event::StepEnded(Box::new(failed)));
    keep(dir.path(), &[here, there, failed]);
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    for steps in [None, Some(&["a"][..])] {
        let took = |engine| reader.durations("p", engine, steps).unwrap().get("a").copied();
        assert_eq!((took("local"), took("prod"), took("other")), (Some(100), Some(60_000), None));
    }
}

#[test]
fn runs_are_found_by_state_time_and_part_of_their_id() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &[Tale::failing(1), Tale::dying(2)]);
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    let ids = |filter: RunFilter| reader.runs(&filter).unwrap().len();
    let at = |minute| Some(jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_mins(minute));
    assert_eq!(ids(RunFilter { state: Some(JobState::Failed), ..RunFilter::default() }), 1);
    assert_eq!(ids(RunFilter { state: Some(JobState::Aborted), ..RunFilter::default() }), 0);
    assert_eq!(ids(RunFilter { since: at(2), ..RunFilter::default() }), 1);
    assert_eq!(ids(RunFilter { until: at(2), ..RunFilter::default() }), 1);
    assert_eq!(ids(RunFilter { since: at(1), until: at(3), ..RunFilter::default() }), 2);
    assert_eq!(ids(RunFilter { limit: Some(1), ..RunFilter::default() }), 1);
    assert_eq!(reader.find_run("last").unwrap()[0].state, JobState::Running);
    assert_eq!(reader.find_run("00-01").unwrap().len(), 1);
    assert_eq!(reader.find_run("build_p").unwrap().len(), 2);
    assert_eq!(reader.find_run("%").unwrap().len(), 0);
}

#[test]
fn the_last_run_is_the_one_that_was_kept_last_whatever_the_clock_said() {
    let dir = tempfile::tempdir().unwrap();
    let none = Counts::default();
    let done = |minute| Tale::begin(minute, &["a"]).end(JobState::Done, none);
    let [before, ahead, after] = [done(1), done(40), done(2)];
    keep(dir.path(), &[before.clone(), ahead.clone(), after.clone()]);
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    let list = reader.runs(&RunFilter::default()).unwrap();
    let ids: Vec<_> = list.iter().map(|run| &run.id).collect();
    assert_eq!(ids, [&after.job, &ahead.job, &before.job]);
    // What is told of it is the time that it took it for.
    assert_eq!((list[0].asked, list[0].start), (after.began, after.began));
    assert_eq!(reader.last_run("p").unwrap().unwrap().id, after.job);
    assert_eq!(reader.find_run("last").unwrap()[0].id, after.job);
    let since = RunFilter { since: Some(ahead.began), ..RunFilter::default() };
    assert_eq!(reader.runs(&since).unwrap().len(), 1);
    let until = RunFilter { until: Some(ahead.began), ..RunFilter::default() };
    let ids: Vec<_> = reader.runs(&until).unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(ids, [after.job, before.job], "whatever place it has among the others");
}

#[test]
fn a_run_that_died_lived_at_least_until_it_last_kept_output() {
    let dir = tempfile::tempdir().unwrap();
    let tale = Tale::begin(1, &["a", "b"]).start("a").start("b");
    keep(dir.path(), std::slice::from_ref(&tale));
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    let lived = || reader.unfinished("p").unwrap()[0].elapsed_ms;
    assert_eq!(lived(), 500, "its last event");
    let logs = dir.path().join("logs").join(tale.job.as_str());
    fs::create_dir_all(&logs).unwrap();
    for (log, secs) in [("a.1.log", 9), ("b.1.log", 70)] {
        let at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(60 + secs);
        fs::File::create(logs.join(log)).unwrap().set_modified(at).unwrap();
    }
    assert_eq!(lived(), 70_000);
}

#[test]
fn a_run_is_listed_as_what_it_said_last() {
    let dir = tempfile::tempdir().unwrap();
    let tale = Tale::dying(2);
    keep(dir.path(), &[Tale::failing(1), tale.clone()]);
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    let listed = |state| {
        let filter = RunFilter { state: Some(state), limit: Some(1), ..RunFilter::default() };
        let mut rows = reader.runs_now(&filter, dir.path()).unwrap();
        rows.pop().filter(|row| row.id == tale.job).map(|row| row.state)
    };
    assert_eq!([JobState::Failed, JobState::Aborted].map(listed), [None, Some(JobState::Aborted)]);
    fs::create_dir_all(dir.path().join("locks")).unwrap();
    last_word::make_room(dir.path(), "p").unwrap();
    let word = LastWord {
        state: JobState::Failed,
        because: Cause::Unkept { why: "the disk is full".to_owned() },
        at: tale.began,
    };
    last_word::say(dir.path(), "p", &tale.job, &word).unwrap();
    assert_eq!([JobState::Failed, JobState::Aborted].map(listed), [Some(JobState::Failed), None]);
}

#[test]
fn what_was_not_started_tells_how_what_it_needs_ended() {
    for (outcome, told) in [(Outcome::Failed, "a failed"), (Outcome::Stopped, "a was stopped")] {
        let dir = tempfile::tempdir().unwrap();
        let tale = Tale::begin(0, &["a", "b"]).start("a").end_step("a", outcome, None);
        let skipped = Event::StepSkipped { step: "b".to_owned(), because: Some("a".to_owned()) };
        keep(dir.path(), &[tale.tell(skipped)]);
        let runs = Reader::open(dir.path()).unwrap().unwrap().step_runs("p", "b", 1).unwrap();
        assert_eq!(runs[0].why.as_deref(), Some(told));
    }
}

/// Whatever is asked of the store, it is refused, and its bytes stay what they are.
#[track_caller]
fn refused(state: &Path) -> StoreError {
    let file = state.join(FILE);
    let before = fs::read(&file).unwrap();
    let read = Reader::open(state).and_then(|reader| {
        let reader = reader.expect("there is a file");
        let job = JobId::from_text("x");
        reader
            .history("p", None)
            .map(drop)
            .and(reader.runs(&RunFilter::default()).map(drop))
            .and(reader.events(&job, 0))
    });
    let read = read.expect_err("reading");
    let write = Writer::open(state, Box::new(|_| {})).map(drop).expect_err("writing");
    assert_eq!(std::mem::discriminant(&read), std::mem::discriminant(&write), "{read} {write}");
    assert!(fs::read(&file).unwrap() == before, "it was overwritten");
    write
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE);
    for text in ["x", "no database at all\n", &"SQLite format 3, or not\n".repeat(100)] {
        fs::write(&file, text).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("`kiln gc --recover` moves it aside"), "{error}");
    }
    for sql in ["CREATE TABLE music (title)", "PRAGMA application_id = 5", "PRAGMA user_version = 1"] {
        fs::remove_file(&file).unwrap();
        rusqlite::Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        let error = refused(dir.path());
        assert!(error.to_string().contains("another program's database"), "{sql}: {error}");
    }
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &[Tale::failing(1)]);
    let (connection, _) = schema::open_write(dir.path()).unwrap();
    connection.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(connection);
    let error = refused(dir.path());
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn a_store_that_was_cut_off_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &[Tale::failing(1), Tale::dying(2)]);
    let whole = fs::read(dir.path().join(FILE)).unwrap();
    for length in [1, 50, 100, 512, 4_095, 4_096, 5_000, 8_192, whole.len() / 2, whole.len() - 4_096] {
        let cut = tempfile::tempdir().unwrap();
        fs::write(cut.path().join(FILE), &whole[..length]).unwrap();
        let error = refused(cut.path());
        assert!(matches!(error, StoreError::Damaged { .. }), "{length} of {}: {error}", whole.len());
    }
}

#[test]
fn half_a_page_at_the_end_counts_only_without_a_log_of_writes() {
    let dir = tempfile::tempdir().unwrap();
    let tale = Tale::failing(1);
    let mut writer = Writer::open(dir.path(), Box::new(|_| {})).unwrap();
    writer.append(tale.events.as_slice().into(), Vec::new());
    writer.flush().unwrap();
    // What a machine leaves that goes down while the log of writes is worked into the tables.
    let mut file = fs::File::options().append(true).open(dir.path().join(FILE)).unwrap();
    std::io::Write::write_all(&mut file, &[0; 4_096]).unwrap();
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    assert_eq!(reader.events(&tale.job, 0).unwrap(), tale.events);
}

#[test]
fn the_last_good_builds_have_another_mark_with_each_commit_that_changes_them() {
    let dir = tempfile::tempdir().unwrap();
    let mark = || Reader::open(dir.path()).unwrap().unwrap().mark("p").unwrap();
    let done = |tale: Tale| tale.end(JobState::Done, Counts::default());
    let mut seen = std::collections::BTreeSet::new();
    for minute in 1..4 {
        keep(dir.path(), &[done(Tale::begin(minute, &["a", "b"]).build("a", "one").build("b", "two"))]);
        assert!(seen.insert(mark().unwrap()), "built, again and again");
    }
    keep(dir.path(), &[done(Tale::begin(4, &["a"]).start("a").end_step("a", Outcome::Failed, None))]);
    assert!(seen.contains(&mark().unwrap()), "nothing was built");
    remake(dir.path()).unwrap();
    assert!(seen.insert(mark().unwrap()), "made again");
    let (connection, _) = schema::open_write(dir.path()).unwrap();
    for sql in ["UPDATE keys SET key = 'x' WHERE step = 'a'", "DELETE FROM keys WHERE step = 'a'"] {
        connection.execute(sql, []).unwrap();
        assert!(seen.insert(mark().unwrap()), "{sql}, by anybody");
    }
}

#[test]
fn the_log_of_writes_stays_short_while_somebody_has_the_store_open() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &[Tale::begin(0, &["a"])]);
    let log = dir.path().join(FILE).with_extension("db-wal");
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    let mut longest = 0;
    for minute in 1..50 {
        // It begins and ends, and leaves a part of a page in each table.
        keep(dir.path(), &[Tale::begin(minute, &[]).end(JobState::Done, Counts::default())]);
        longest = longest.max(log.metadata().unwrap().len());
    }
    assert!((1..=write::SHORT_LOG + (256 << 10)).contains(&longest), "{longest}");
    keep(dir.path(), &[Tale::failing(50)]);
    assert_eq!(log.metadata().unwrap().len(), 0, "a run that did something leaves none");
    assert_eq!(reader.runs(&RunFilter::default()).unwrap().len(), 51);
}

#[test]
fn a_row_that_cannot_be_read_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let tale = Tale::failing(1);
    let job = tale.job.clone();
    keep(dir.path(), &[tale]);
    let (connection, _) = schema::open_write(dir.path()).unwrap();
    connection.execute_batch("UPDATE keys SET key = 'x'; UPDATE events SET body = '{' WHERE seq = 2").unwrap();
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    let wrong = [reader.history("p", None).map(drop).unwrap_err(), reader.events(&job, 0).map(drop).unwrap_err()];
    for error in wrong {
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_store_that_is_no_file_or_lies_nowhere_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(FILE)).unwrap();
    assert!(Reader::open(dir.path()).is_err() && Writer::open(dir.path(), Box::new(|_| {})).is_err());
    fs::write(dir.path().join("file"), "x").unwrap();
    let error = Writer::open(&dir.path().join("file/state"), Box::new(|_| {})).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(Reader::open(&dir.path().join("nothing")).unwrap().is_none());
    assert!(!dir.path().join("nothing").exists(), "reading makes nothing");
}

#[test]
fn batches_are_told_in_order_and_the_last_failure_once() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, told) = channel();
    let mut writer = Writer::open(dir.path(), Box::new(move |result| tell.send(result).unwrap())).unwrap();
    let tale = Tale::failing(1);
    let last = tale.events.iter().map(|event| writer.append([event.clone()].into(), Vec::new())).last();
    writer.flush().unwrap();
    let numbers: Vec<u64> = told.try_iter().map(Result::unwrap).collect();
    assert!(numbers.is_sorted());
    assert_eq!(numbers.last().copied(), last);
    // The same events once more cannot be kept.
    writer.append(tale.events.as_slice().into(), Vec::new());
    writer.append([].into(), Vec::new());
    assert!(writer.flush().is_err());
    assert!(writer.close().is_err(), "it says so again");
    let results: Vec<_> = told.try_iter().collect();
    assert!(matches!(results.as_slice(), [Err(_)]), "{results:?}");
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    assert_eq!(reader.events(&tale.job, 0).unwrap(), tale.events, "a batch is kept as a whole or not at all");
}

#[test]
fn digests_are_remembered_but_not_of_what_was_staged() {
    let dir = tempfile::tempdir().unwrap();
    let seen = |path: &str, size| Seen {
        stat: FileStat { size, mtime_ns: -5, ctime_ns: i64::MAX, inode: u64::MAX },
        digest: Digest::of(path.as_bytes()),
        seen_ns: 9,
    };
    let entry = |path: &str, size| FileDigest { path: path.to_owned(), seen: seen(path, size) };
    let mut writer = Writer::open(dir.path(), Box::new(|_| {})).unwrap();
    writer.append([].into(), vec![entry("a", 1), entry(".kiln/staging/p/a", 2), entry("b", u64::MAX), entry("a", 3)]);
    writer.close().unwrap();
    let digests = Reader::open(dir.path()).unwrap().unwrap().digests().unwrap();
    assert_eq!(digests.len(), 2);
    assert_eq!((&digests["a"], &digests["b"]), (&seen("a", 3), &seen("b", u64::MAX)));
}
