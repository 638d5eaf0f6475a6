//! From an event to the rows that follow from it. The same for an event that happens and for one that is read again.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Result, params};
use serde::Serialize;

use crate::base::job::JobState;
use crate::event::{
    Cause, Counts, Event, FailureCode, Intent, Outcome, RemoteJob, RunEnded, RunStarted, Stamped, StepEnded,
};
use crate::store::schema::{DERIVED, HERE};
use crate::view::{ADOPTED, StepState};

/// A time as the tables hold it: UTC, to the millisecond, so that text sorts as time does.
pub(super) fn time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// How many steps of each run ended in which way, as far as `runs` does not say it yet: it is told once for many events.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<String, Counts>);

impl Tally {
    fn take(&mut self, stamped: &Stamped) {
        stamped.event.count(self.0.entry(stamped.job.to_string()).or_default());
    }

    /// A run is over: its end says all numbers.
    fn forget(&mut self, job: &str) {
        self.0.remove(job);
    }

    /// Tells `runs`, in the transaction of the events.
    pub(super) fn tell(self, connection: &Connection) -> Result<()> {
        let sql = "UPDATE runs SET built = built + ?2, same = same + ?3, failed = failed + ?4, stopped = stopped + ?5,
                   skipped = skipped + ?6, current = current + ?7, flaky = flaky + ?8 WHERE job = ?1";
        for (job, more) in self.0.into_iter().filter(|(_, more)| *more != Counts::default()) {
            let Counts { built, same, flaky, failed, stopped, skipped, current } = more;
            let [built, same, failed, stopped, skipped, current, flaky] =
                [built, same, failed, stopped, skipped, current, flaky].map(integer);
            run(connection, sql, params![job, built, same, failed, stopped, skipped, current, flaky])?;
        }
        Ok(())
    }
}

/// Keeps an event, and what follows from it but for the numbers in `tally`.
pub(super) fn keep(connection: &Connection, stamped: &Stamped, tally: &mut Tally) -> Result<()> {
    let rank = rank(connection, stamped)?;
    connection
        .prepare_cached("INSERT INTO events (job, seq, at, elapsed_ms, type, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            stamped.job.as_str(),
            integer(stamped.seq),
            rank,
            integer(stamped.elapsed_ms),
            stamped.event.kind(),
            json(stamped)?
        ])?;
    apply(connection, stamped, &rank, tally)
}

/// The last rank that was given. Older versions kept the order in `runs` only.
pub(super) const NEWEST: &str = "SELECT max((SELECT coalesce(max(asked), '') FROM runs),
    (SELECT coalesce(max(at), '') FROM events WHERE type IN ('run_queued', 'run_started')))";

/// When an event happened. Beginnings of runs stand in the order in which they are kept: where the clock was ahead for an
/// earlier one, that of a new one is a moment later. The event itself says what its own clock said.
fn rank(connection: &Connection, stamped: &Stamped) -> Result<String> {
    let at = time(stamped.at);
    if !matches!(stamped.event, Event::RunQueued(_) | Event::RunStarted(_)) {
        return Ok(at);
    }
    let newest: String = connection.prepare_cached(NEWEST)?.query_row([], |row| row.get(0))?;
    let next = newest.parse::<jiff::Timestamp>().ok();
    let next = next.and_then(|newest| newest.checked_add(jiff::SignedDuration::from_millis(1)).ok());
    Ok(next.map_or_else(|| at.clone(), |next| at.clone().max(time(next))))
}

/// Makes the tables anew that are folded from the events.
pub(super) fn remake(connection: &Connection) -> Result<()> {
    for table in DERIVED {
        connection.execute(&format!("DELETE FROM {table}"), [])?;
    }
    // Runs of one pipeline do not overlap, so the order in which they began is the order of all events that matter.
    let order = "SELECT body, at FROM events JOIN (SELECT job, max(at) AS began FROM events
                 WHERE type IN ('run_queued', 'run_started') GROUP BY job) USING (job) ORDER BY began, job, seq";
    let mut statement = connection.prepare(order)?;
    let (mut rows, mut tally) = (statement.query([])?, Tally::default());
    while let Some(row) = rows.next()? {
        let (body, rank): (String, String) = (row.get(0)?, row.get(1)?);
        let event = serde_json::from_str(&body)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))?;
        apply(connection, &event, &rank, &mut tally)?;
    }
    tally.tell(connection)
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// What happens with every step is put in as one row of values: of rows that come from a question, or replace others, SQLite
/// copies each page first that it changes.
fn apply(connection: &Connection, stamped: &Stamped, rank: &str, tally: &mut Tally) -> Result<()> {
    let job = stamped.job.as_str();
    tally.take(stamped);
    match &stamped.event {
        Event::RunQueued(started) => run_begun(connection, (stamped, rank), started, JobState::Queued),
        Event::RunStarted(started) => run_begun(connection, (stamped, rank), started, JobState::Running),
        Event::StepStarted { step, attempt, log, .. } => {
            let sql = "UPDATE steps SET state = ?3, attempt = ?4, began_ms = ?5, log = ?6, why = NULL
                       WHERE job = ?1 AND step = ?2";
            let running = StepState::Running.stored();
            run(connection, sql, params![job, step, running, attempt, integer(stamped.elapsed_ms), log])
        }
        Event::StepRetrying(retrying) => {
            set_state(connection, job, &retrying.step, StepState::Retrying, Some(&retrying.failure.message))
        }
        // It changes nothing.
        Event::Noted { .. } => Ok(()),
        Event::StepSubmitting { step, intent } => submitting(connection, stamped, step, intent),
        Event::StepAccepted { step, remote } => accepted(connection, stamped, step, remote),
        Event::StepPublishing { step, took_ms, record, staged } => {
            set_state(connection, job, step, StepState::Publishing, None)?;
            let sql = "INSERT OR IGNORE INTO publishing (pipeline, step, job, attempt, took_ms, record, staged)
                       VALUES ((SELECT pipeline FROM runs WHERE job = ?1), ?2, ?1,
                       coalesce((SELECT attempt FROM steps WHERE job = ?1 AND step = ?2), 1), ?3, ?4, ?5)
                       ON CONFLICT (pipeline, step) DO UPDATE SET job = excluded.job, attempt = excluded.attempt,
                       took_ms = excluded.took_ms, record = excluded.record, staged = excluded.staged";
            run(connection, sql, params![job, step, integer(*took_ms), json(record)?, json(staged)?])
        }
        Event::StepEnded(ended) => step_ended(connection, stamped, ended),
        Event::StepCurrent { step, .. } => set_state(connection, job, step, StepState::Current, None),
        Event::StepSkipped { step, because } => {
            let why = because.as_ref().map(|cause| as_cause(connection, job, cause)).transpose()?;
            set_state(connection, job, step, StepState::Skipped, Some(why.as_deref().unwrap_or("the run stopped")))
        }
        Event::RunStopping { cause, .. } => {
            run(connection, "UPDATE runs SET why = ?2 WHERE job = ?1", params![job, cause])
        }
        Event::RunEnded(end) => {
            forget_run(connection, job, end)?;
            tally.forget(job);
            run_ended(connection, stamped, end)
        }
    }
}

fn run(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<()> {
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn set_state(connection: &Connection, job: &str, step: &str, state: StepState, why: Option<&str>) -> Result<()> {
    let sql = "UPDATE steps SET state = ?3, why = coalesce(?4, why) WHERE job = ?1 AND step = ?2";
    run(connection, sql, params![job, step, state.stored(), why])
}

/// Why a step was not started that needs this one, which has ended.
fn as_cause(connection: &Connection, job: &str, step: &str) -> Result<String> {
    let sql = "SELECT state FROM steps WHERE job = ?1 AND step = ?2";
    let word = connection.prepare_cached(sql)?.query_row([job, step], |row| row.get::<_, String>(0)).optional()?;
    Ok(word.and_then(|word| StepState::from_stored(&word)).unwrap_or(StepState::Stopped).as_cause(step))
}

/// A run that waited for its turn has its row already.
fn run_begun(
    connection: &Connection,
    (stamped, rank): (&Stamped, &str),
    started: &RunStarted,
    state: JobState,
) -> Result<()> {
    let sql =
        "INSERT INTO runs (job, pipeline, file, engine, mode, targets, state, asked, started, planned, current, by, pid, host)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?13, ?14, iif(?13 = 'NOT_STARTED', NULL, ?7), ?8, ?9, ?10, ?11, ?12)
               ON CONFLICT (job) DO UPDATE SET state = excluded.state, started = excluded.started,
               planned = excluded.planned, current = excluded.current WHERE state = 'NOT_STARTED'";
    run(
        connection,
        sql,
        params![
            stamped.job.as_str(),
            started.pipeline,
            started.file,
            started.engine,
            started.mode.word(),
            json(&started.targets)?,
            time(stamped.at),
            integer(started.steps.len() as u64),
            integer(started.up_to_date),
            started.by,
            started.pid,
            started.host,
            state.word(),
            rank
        ],
    )?;
    let sql = "INSERT INTO steps (job, step, stage, action, state) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut statement = connection.prepare_cached(sql)?;
    for step in &started.steps {
        let waiting = StepState::Waiting.stored();
        statement.execute(params![stamped.job.as_str(), step.id, step.stage, step.action.word(), waiting])?;
    }
    Ok(())
}

fn step_ended(connection: &Connection, stamped: &Stamped, ended: &StepEnded) -> Result<()> {
    let job = stamped.job.as_str();
    let state = StepState::of(ended.outcome).stored();
    let word = if ended.outcome == Outcome::Adopted { ADOPTED } else { state };
    let why = ended.failure.as_ref().map(|failure| failure.message.as_str());
    let sql = "UPDATE steps SET state = ?3, attempt = ?4, took_ms = ?5, why = ?6 WHERE job = ?1 AND step = ?2";
    run(connection, sql, params![job, ended.step, word, ended.attempt, integer(ended.took_ms), why])?;
    let sql = "DELETE FROM publishing WHERE job = ?1 AND step = ?2";
    run(connection, sql, params![job, ended.step])?;
    // A job that may go on is looked for by the next run.
    let may_go_on = [FailureCode::Died, FailureCode::Lost, FailureCode::Unreachable, FailureCode::SubmissionUnknown];
    if ended.failure.as_ref().is_some_and(|failure| !may_go_on.contains(&failure.code)) {
        forget(connection, job, &ended.step)?;
    }
    if let Some(record) = &ended.record {
        // Where one stands it is replaced, not updated, for then the trigger could not replace the mark.
        let sql = "INSERT OR REPLACE INTO keys (pipeline, step, key, built_at, job, outputs, parts)
                   VALUES ((SELECT pipeline FROM runs WHERE job = ?1), ?2, ?3, ?4, ?1, ?5, ?6)";
        let (outputs, parts) = (json(&record.outputs)?, json(&record.parts)?);
        run(connection, sql, params![job, ended.step, record.key.to_string(), time(stamped.at), outputs, parts])?;
    }
    match ended.outcome {
        Outcome::Built | Outcome::Same => took(connection, job, ended),
        // What was adopted took no time, and what did not end well says nothing about how long a build takes.
        Outcome::Adopted | Outcome::Failed | Outcome::Stopped => Ok(()),
    }
}

/// How long a step took with its engine.
fn took(connection: &Connection, job: &str, ended: &StepEnded) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO durations (pipeline, step, ms) VALUES ((SELECT pipeline FROM runs WHERE job = ?1),
               (SELECT iif(engine = ?4, ?2, engine || '/' || ?2) FROM runs WHERE job = ?1), ?3)
               ON CONFLICT (pipeline, step) DO UPDATE SET ms = (ms + excluded.ms + 1) / 2";
    run(connection, sql, params![job, ended.step, integer(ended.took_ms), HERE])
}

/// A job is about to be asked for: whatever was known of one for the step before is over.
fn submitting(connection: &Connection, stamped: &Stamped, step: &str, intent: &Intent) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO remote (pipeline, engine, step, job, at, request, known)
               SELECT pipeline, engine, ?2, job, ?3, ?4, ?5 FROM runs WHERE job = ?1";
    let known = json(&intent.known)?;
    run(connection, sql, params![stamped.job.as_str(), step, time(stamped.at), intent.request, known])
}

fn accepted(connection: &Connection, stamped: &Stamped, step: &str, remote: &RemoteJob) -> Result<()> {
    let sql = "INSERT INTO remote (pipeline, engine, step, job, at, request, known, remote, page, joined)
               SELECT pipeline, engine, ?2, job, ?3, '', '[]', ?4, ?5, ?6 FROM runs WHERE job = ?1
               ON CONFLICT (pipeline, engine, step) DO UPDATE SET
               job = excluded.job, remote = excluded.remote, page = excluded.page, joined = excluded.joined";
    let RemoteJob { id, page, joined } = remote;
    run(connection, sql, params![stamped.job.as_str(), step, time(stamped.at), id, page, joined])
}

/// A run is over. Of a run that died the jobs stay known, so that the next one goes on with them: those that were running,
/// and those that had ended well.
fn forget_run(connection: &Connection, job: &str, end: &RunEnded) -> Result<()> {
    if end.cause() == Some(Cause::Died) {
        return Ok(());
    }
    let sql = "DELETE FROM remote WHERE job = ?1 AND step IN
               (SELECT step FROM steps WHERE job = ?1 AND state IN ('built', 'same', 'current'))";
    run(connection, sql, params![job])
}

/// The job that this run had for a step is over, or does not count. One that an earlier run left, and that could not be
/// looked for, is left to the next run.
fn forget(connection: &Connection, job: &str, step: &str) -> Result<()> {
    let sql = "DELETE FROM remote WHERE step = ?2 AND job = ?1";
    run(connection, sql, params![job, step])
}

fn run_ended(connection: &Connection, stamped: &Stamped, end: &RunEnded) -> Result<()> {
    let c = &end.counts;
    let sql = "UPDATE runs SET state = ?2, ended = ?3, took_ms = ?4, why = ?5, built = ?6, same = ?7, failed = ?8,
               stopped = ?9, skipped = ?10, current = ?11, flaky = ?12 WHERE job = ?1";
    run(
        connection,
        sql,
        params![
            stamped.job.as_str(),
            end.state.word(),
            time(stamped.at),
            integer(stamped.elapsed_ms),
            end.why,
            integer(c.built),
            integer(c.same),
            integer(c.failed),
            integer(c.stopped),
            integer(c.skipped),
            integer(c.current),
            integer(c.flaky)
        ],
    )
}
