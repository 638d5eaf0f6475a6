//! Questions to the store. Read-only: asking changes nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::job::{JobId, JobState};
use crate::event::{Cause, Counts, Staged, Stamped};
use crate::plan::reason::Reason;
use crate::plan::record::Record;
use crate::store::filter::RunFilter;
use crate::store::last_word::{self, LastWord};
use crate::store::{StoreError, lock, schema};
use crate::view::{ADOPTED, RunView, StepState, StepView};

/// A connection that asks, and changes nothing.
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    file: Option<schema::Identity>,
}

/// A run as the list shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRow {
    /// Its id.
    pub id: JobId,
    /// The name of the pipeline.
    pub pipeline: String,
    /// Where it stands.
    pub state: JobState,
    /// When it was asked for.
    pub asked: jiff::Timestamp,
    /// Its rank among all runs, in the order in which they were kept: mostly when it was asked for.
    #[serde(skip)]
    pub rank: jiff::Timestamp,
    /// When it began; as long as it has not, when it was asked for.
    pub start: jiff::Timestamp,
    /// Whether it has begun.
    pub begun: bool,
    /// When it ended.
    pub end: Option<jiff::Timestamp>,
    /// How long it took, in milliseconds.
    pub took_ms: Option<u64>,
    /// The targets as they were given; none for all.
    pub targets: Vec<String>,
    /// The engine.
    pub engine: String,
    /// What was built.
    pub mode: String,
    /// Who started it.
    pub by: String,
    /// Steps that were built, with another content than before.
    pub built: u64,
    /// Steps that were built and came out as they were.
    pub same: u64,
    /// Steps that failed.
    pub failed: u64,
    /// Steps that were stopped.
    pub stopped: u64,
    /// Steps that were not started because of others.
    pub skipped: u64,
    /// Steps that were up to date.
    pub current: u64,
    /// Steps that were built although an attempt before had failed.
    pub flaky: u64,
    /// Why it ended as it did, or is ending.
    pub why: Option<String>,
}

/// An attempt at a step that ended by itself.
#[derive(Clone, Debug)]
pub struct LastAttempt {
    /// The run.
    pub job: JobId,
    /// When it began.
    pub began: jiff::Timestamp,
    /// When it ended.
    pub ended: jiff::Timestamp,
    /// Whether it went well.
    pub good: bool,
}

impl RunRow {
    /// Why it ended as it did, or is ending, as a value.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.why.as_deref().map(Cause::of_words)
    }

    /// Lets the view of a run that ended say so, although nothing has told the store yet.
    pub fn end(&self, view: &mut RunView) {
        if view.end.is_none() && self.state.is_over() {
            view.elapsed_ms = view.elapsed_ms.max(self.took_ms.unwrap_or(0));
            view.end_untold(self.state, self.cause().unwrap_or(Cause::Died), |_| None);
        }
    }

    /// A run that ended says so, although nothing has told the store yet.
    pub fn end_with(&mut self, word: LastWord) {
        self.took_ms = u64::try_from(word.at.duration_since(self.start).as_millis()).ok();
        (self.state, self.why, self.end) = (word.state, Some(word.because.to_string()), Some(word.at));
    }
}

/// What became of a step in a run in which it was, or might have been, built.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRun {
    /// The run.
    pub job: JobId,
    /// When the run began.
    pub began: jiff::Timestamp,
    /// Where the step stands, or how it ended.
    #[serde(skip)]
    pub state: StepState,
    /// Whether it was not built then, but taken as built.
    #[serde(skip)]
    pub adopted: bool,
    /// Which attempt it was, counted from 1; 0 where there was none.
    pub attempt: u32,
    /// How long it took, in milliseconds.
    pub took_ms: Option<u64>,
    /// How long it took with the attempts before the last and the waits between them, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_ms: Option<u64>,
    /// Why it failed or was not started.
    pub why: Option<String>,
    /// Why it was to be built.
    pub reasons: Vec<Reason>,
}

impl StepRun {
    /// The word for its state.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.adopted { ADOPTED } else { self.state.stored() }
    }
}

/// A run that has no end in the store.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Its id.
    pub job: JobId,
    /// The number of its last event.
    pub last_seq: Option<u64>,
    /// When it was last seen alive, by that event or by what a step printed, in milliseconds since it began.
    pub elapsed_ms: u64,
    /// What its events tell.
    pub view: RunView,
    /// Steps whose outputs were being put in place.
    pub publishing: Vec<Publishing>,
    /// How it ended, where that is known: else its process died.
    pub last_word: Option<LastWord>,
}

impl Unfinished {
    /// When its last event happened.
    #[must_use]
    pub fn last_at(&self) -> Option<jiff::Timestamp> {
        let elapsed = jiff::SignedDuration::from_millis(i64::try_from(self.elapsed_ms).ok()?);
        self.view.head.as_ref()?.at.checked_add(elapsed).ok()
    }
}

/// A step whose outputs were being put in place.
#[derive(Clone, Debug)]
pub struct Publishing {
    /// The step.
    pub step: String,
    /// Which attempt.
    pub attempt: u32,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What it is recorded with.
    pub record: Record,
    /// Its outputs.
    pub staged: Vec<Staged>,
}

/// From run to step, not the other way: an index has the runs in order, and few of them are looked at.
const STEP_RUNS: &str = "SELECT job, started, steps.state, attempt, steps.took_ms, steps.why,
    (SELECT json_extract(value, '$.reasons') FROM events, json_each(body, '$.steps')
     WHERE events.job = runs.job AND events.type = 'run_started' AND json_extract(value, '$.id') = ?2)
    FROM runs CROSS JOIN steps USING (job) WHERE pipeline = ?1 AND step = ?2 ORDER BY asked DESC LIMIT ?3";

impl Reader {
    /// Opens the store; none where there is none. Creates nothing but the two files that SQLite needs beside it.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn open(state: &Path) -> Result<Option<Self>, StoreError> {
        // Looked at first: of a file that is replaced meanwhile this is not the one.
        let file = schema::identity(&state.join(schema::FILE));
        Ok(schema::open_read(state)?.map(|(connection, path)| Self { connection, path, file }))
    }

    /// One that asks by this connection.
    pub(super) fn over(connection: Connection, path: PathBuf, file: schema::Identity) -> Self {
        Self { connection, path, file: Some(file) }
    }

    pub(super) fn into_parts(self) -> (Connection, PathBuf) {
        (self.connection, self.path)
    }

    /// Whether the store that it reads is still the one that is there.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.file.is_some() && self.file == schema::identity(&self.path)
    }

    /// A number that is another one once somebody else has written. To another reader it means nothing.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn version(&self) -> Result<i64, StoreError> {
        let version = self.connection.query_row("PRAGMA data_version", [], |row| row.get(0));
        version.map_err(|error| self.sql(&error))
    }

    fn sql(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::sql(&self.path, error)
    }

    /// All rows of a question.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let ask =
            || -> rusqlite::Result<Vec<T>> { self.connection.prepare_cached(sql)?.query_map(values, read)?.collect() };
        ask().map_err(|error| self.sql(&error))
    }

    /// All rows about the steps of a pipeline, or about those of them that are named.
    fn of_steps<T>(
        &self,
        sql: &str,
        (pipeline, steps): (&str, Option<&[&str]>),
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let Some(steps) = steps else { return self.rows(sql, params![pipeline], read) };
        let mut ask = || -> rusqlite::Result<Vec<T>> {
            let mut question = self.connection.prepare(&format!("{sql} AND step = ?2"))?;
            let mut rows = Vec::new();
            for step in steps {
                rows.extend(question.query_row(params![pipeline, step], &mut read).optional()?);
            }
            Ok(rows)
        };
        ask().map_err(|error| self.sql(&error))
    }

    /// How long the steps of a pipeline usually take with an engine, in milliseconds; these steps only, where some are named.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn durations(
        &self,
        pipeline: &str,
        engine: &str,
        steps: Option<&[&str]>,
    ) -> Result<HashMap<String, u64>, StoreError> {
        let sql = "SELECT step, ms FROM durations WHERE pipeline = ?1";
        let before = if engine == schema::HERE { String::new() } else { format!("{engine}/") };
        let names: Option<Vec<String>> =
            steps.map(|steps| steps.iter().map(|step| format!("{before}{step}")).collect());
        let names: Option<Vec<&str>> = names.as_ref().map(|names| names.iter().map(String::as_str).collect());
        let rows =
            self.of_steps(sql, (pipeline, names.as_deref()), |row| Ok((row.get::<_, String>(0)?, number(row, 1)?)))?;
        let step = |name: String| name.strip_prefix(&before).filter(|step| !step.contains('/')).map(str::to_owned);
        Ok(rows.into_iter().filter_map(|(name, ms)| Some((step(name)?, ms))).collect())
    }

    /// The last attempt at a step that ended by itself, among the last thousand runs.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn last_attempt(&self, pipeline: &str, step: &str) -> Result<Option<LastAttempt>, StoreError> {
        let sql = "SELECT job, started, began_ms, took_ms, steps.state <> 'failed'
                   FROM (SELECT job, asked, started FROM runs WHERE pipeline = ?1 ORDER BY asked DESC LIMIT 1000)
                   JOIN steps USING (job) WHERE step = ?2 AND steps.state IN ('built', 'same', 'failed')
                   AND began_ms IS NOT NULL ORDER BY asked DESC LIMIT 1";
        let mut rows = self.rows(sql, params![pipeline, step], |row| {
            let millis =
                |column| row.get::<_, Option<i64>>(column).map(|ms| jiff::SignedDuration::from_millis(ms.unwrap_or(0)));
            let began = text::<jiff::Timestamp>(row, 1)? + millis(2)?;
            let job = JobId::from_text(&row.get::<_, String>(0)?);
            Ok(LastAttempt { job, began, ended: began + millis(3)?, good: row.get(4)? })
        })?;
        Ok(rows.pop())
    }

    /// The last runs in which a step of a pipeline was, or might have been, built, the newest first.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn step_runs(&self, pipeline: &str, step: &str, limit: u32) -> Result<Vec<StepRun>, StoreError> {
        let mut runs = self.rows(STEP_RUNS, params![pipeline, step, limit], |row| {
            let (reasons, state): (Option<String>, String) = (row.get(6)?, row.get(2)?);
            Ok(StepRun {
                job: JobId::from_text(&row.get::<_, String>(0)?),
                began: text(row, 1)?,
                adopted: state == ADOPTED,
                state: StepState::from_stored(&state).ok_or_else(|| wrong(2, format!("no step is `{state}`")))?,
                attempt: row.get(3)?,
                took_ms: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
                whole_ms: None,
                why: row.get(5)?,
                reasons: reasons.and_then(|reasons| serde_json::from_str(&reasons).ok()).unwrap_or_default(),
            })
        })?;
        for run in runs.iter_mut().filter(|run| run.attempt > 1 && run.took_ms.is_some()) {
            run.whole_ms = RunView::fold(&self.events(&run.job, 0)?).step(step).map(StepView::whole_ms);
        }
        Ok(runs)
    }

    /// The events of a run from number `from` on.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn events(&self, job: &JobId, from: u64) -> Result<Vec<Stamped>, StoreError> {
        self.some_events(job, from, -1)
    }

    /// The events of a run from number `from` on, at most `limit`; all if that is negative.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn some_events(&self, job: &JobId, from: u64, limit: i64) -> Result<Vec<Stamped>, StoreError> {
        let sql = "SELECT body FROM events WHERE job = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3";
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let bodies = self.rows(sql, params![job.as_str(), from, limit], |row| row.get::<_, String>(0))?;
        let read = |body: &String| serde_json::from_str(body).map_err(|error| StoreError::body(&self.path, &error));
        bodies.iter().map(read).collect()
    }

    /// Runs of a pipeline that have no end. If the pipeline's lock is free, their processes have died.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn unfinished(&self, pipeline: &str) -> Result<Vec<Unfinished>, StoreError> {
        let pipeline = Some(pipeline.to_owned());
        let filter = RunFilter { state: Some(JobState::Running), pipeline, ..RunFilter::default() };
        self.runs(&filter)?.into_iter().map(|run| self.unfinished_run(run.id)).collect()
    }

    /// How long a run lived at least, in milliseconds: as long as was `told`, or as a step still printed something.
    fn lived(&self, job: &JobId, began: jiff::Timestamp, told: u64) -> u64 {
        told.max(self.printed_until(job, began).unwrap_or(0))
    }

    /// When the last output of a run was kept, in milliseconds since it began.
    fn printed_until(&self, job: &JobId, began: jiff::Timestamp) -> Option<u64> {
        let logs = std::fs::read_dir(self.path.with_file_name("logs").join(job.as_str())).ok()?;
        let changed = logs.flatten().filter_map(|log| log.metadata().ok()?.modified().ok());
        let last = jiff::Timestamp::try_from(changed.max()?).ok()?;
        u64::try_from(last.duration_since(began).as_millis()).ok()
    }

    /// All runs that have events.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn jobs(&self) -> Result<Vec<JobId>, StoreError> {
        let sql = "SELECT DISTINCT job FROM events ORDER BY job";
        self.rows(sql, [], |row| Ok(JobId::from_text(&row.get::<_, String>(0)?)))
    }

    fn unfinished_run(&self, job: JobId) -> Result<Unfinished, StoreError> {
        let events = self.events(&job, 0)?;
        let sql = "SELECT step, attempt, took_ms, record, staged FROM publishing WHERE job = ?1";
        let publishing = self.rows(sql, params![job.as_str()], |row| {
            Ok(Publishing {
                step: row.get(0)?,
                attempt: row.get(1)?,
                took_ms: number(row, 2)?,
                record: json(row, 3)?,
                staged: json(row, 4)?,
            })
        })?;
        let last = events.last();
        let view = RunView::fold(&events);
        let (told, state) = (last.map_or(0, |event| event.elapsed_ms), self.path.parent());
        let last_word = view
            .head
            .as_ref()
            .zip(state)
            .and_then(|(head, state)| last_word::said(state, &head.started.pipeline, &job));
        let began = view.head.as_ref().map(|head| head.at);
        Ok(Unfinished {
            last_seq: last.map(|event| event.seq),
            elapsed_ms: began.map_or(told, |began| self.lived(&job, began, told)),
            view,
            job,
            publishing,
            last_word,
        })
    }

    /// A run whose process died says so, although nothing has told the store yet, and when that was.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn see_death(&self, row: &mut RunRow, state: &Path) -> Result<(), StoreError> {
        let alive = match row.state {
            JobState::Queued => lock::is_held(state, lock::QUEUE),
            JobState::Running => lock::is_held(state, &row.pipeline),
            JobState::Done | JobState::Failed | JobState::Aborted => return Ok(()),
        };
        if alive {
            return Ok(());
        }
        let told = "SELECT coalesce(max(elapsed_ms), 0) FROM events WHERE job = ?1";
        let told = self.connection.query_row(told, [row.id.as_str()], |row| number(row, 0));
        let told = told.map_err(|error| self.sql(&error))?;
        let lived = i64::try_from(self.lived(&row.id, row.start, told)).unwrap_or(0);
        let lived = jiff::SignedDuration::from_millis(lived);
        let at = row.start.checked_add(lived).unwrap_or(row.start);
        let died = LastWord { state: JobState::Aborted, because: Cause::Died, at };
        row.end_with(last_word::said(state, &row.pipeline, &row.id).unwrap_or(died));
        self.count_dead(row)
    }

    /// Counts what a run that is over has not told of.
    fn count_dead(&self, row: &mut RunRow) -> Result<(), StoreError> {
        let sql = "SELECT state, count(*) FROM steps WHERE job = ?1 GROUP BY state";
        let counted = self.rows(sql, [row.id.as_str()], |row| Ok((row.get::<_, String>(0)?, number(row, 1)?)));
        let mut more = Counts::default();
        for (state, n) in counted? {
            let state = StepState::from_stored(&state).filter(|state| !state.is_over());
            state.into_iter().for_each(|state| state.after_death().count(n, &mut more));
        }
        row.skipped += more.skipped;
        row.failed += more.failed;
        row.stopped += more.stopped;
        Ok(())
    }

    /// How many steps a run left out of date.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn left(&self, job: &JobId) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(json_array_length(body, '$.left'), 0) FROM events
                   WHERE job = ?1 AND type = 'run_started' ORDER BY seq LIMIT 1";
        Ok(self.rows(sql, [job.as_str()], |row| number(row, 0))?.pop().unwrap_or(0))
    }
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn wrong(column: usize, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
}

fn text<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|error: T::Err| wrong(column, error))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| wrong(column, error))
}

pub mod digests;
mod history;
mod remote;
mod runs;
pub mod shared;
#[cfg(test)]
mod tests;
