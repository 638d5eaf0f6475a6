//! Questions about whole runs: lists of them, and which one is meant. Knows no steps.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{OptionalExtension, Row, params};

use crate::base::job::{JobId, JobState};
use crate::store::StoreError;
use crate::store::filter::{RUN, RunFilter};
use crate::store::read::{Reader, RunRow, json, number, text, wrong};
use crate::view::ADOPTED;

impl Reader {
    /// Runs, the newest first.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let (sql, values) = filter.question();
        self.rows(&sql, rusqlite::params_from_iter(values), run_row)
    }

    /// Runs as they are, the newest first: one whose process died may still stand as one that goes on in the store, and is
    /// over here.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn runs_now(&self, filter: &RunFilter, state: &Path) -> Result<Vec<RunRow>, StoreError> {
        let in_state = |state, limit| self.runs(&RunFilter { state, limit, ..filter.clone() });
        // Of the few that go on, some may not be what they seem.
        let mut rows = in_state(filter.state, filter.limit.filter(|_| filter.state.is_none_or(JobState::is_over)))?;
        if filter.state.is_some_and(JobState::is_over) {
            rows.extend(in_state(Some(JobState::Running), None)?);
            rows.extend(in_state(Some(JobState::Queued), None)?);
        }
        rows.iter_mut().try_for_each(|row| self.see_death(row, state))?;
        rows.retain(|row| filter.state.is_none_or(|state| row.state == state));
        filter.put_in_order(&mut rows);
        Ok(rows)
    }

    /// The runs that an id may mean: `last`, a whole id, or all that have it in theirs, the newest first.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn find_run(&self, id: &str) -> Result<Vec<RunRow>, StoreError> {
        if id == "last" {
            return self.runs(&RunFilter { limit: Some(1), ..RunFilter::default() });
        }
        let whole = self.rows(&format!("{RUN} WHERE job = ?1"), params![id], run_row)?;
        if !whole.is_empty() {
            return Ok(whole);
        }
        let id = id.trim_start_matches('…');
        // An index holds the ids: the rows themselves need not be read.
        let matching = "job IN (SELECT job FROM runs WHERE instr(job, ?1) > 0)";
        self.rows(&format!("{RUN} WHERE {matching} ORDER BY asked DESC, job DESC"), params![id], run_row)
    }

    /// The run of this id.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn run(&self, job: &JobId) -> Result<Option<RunRow>, StoreError> {
        Ok(self.rows(&format!("{RUN} WHERE job = ?1"), params![job.as_str()], run_row)?.pop())
    }

    /// The last run of a pipeline.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn last_run(&self, pipeline: &str) -> Result<Option<RunRow>, StoreError> {
        let filter = RunFilter { pipeline: Some(pipeline.to_owned()), limit: Some(1), ..RunFilter::default() };
        Ok(self.runs(&filter)?.pop())
    }

    /// The last run that ran a step; of a pipeline, where one is named.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn ran(&self, step: &str, pipeline: Option<&str>) -> Result<Option<JobId>, StoreError> {
        let ran = "EXISTS (SELECT 1 FROM steps WHERE steps.job = runs.job AND step = ?1 AND log IS NOT NULL)";
        let sql = format!(
            "SELECT job FROM runs WHERE {ran} AND pipeline = coalesce(?2, pipeline) ORDER BY asked DESC LIMIT 1"
        );
        let found = self.rows(&sql, params![step, pipeline], |row| row.get::<_, String>(0))?.pop();
        Ok(found.map(|id| JobId::from_text(&id)))
    }

    /// Of these steps those that failed when they were last tried, with what happened. Looks only at runs in which something failed,
    /// and asks of a step that failed there whether it was tried since.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn failed_last(
        &self,
        pipeline: &str,
        is_asked: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, String>, StoreError> {
        let failed = "SELECT step, coalesce(steps.why, ''), asked FROM runs CROSS JOIN steps USING (job)
            WHERE pipeline = ?1 AND failed > 0 AND steps.state = 'failed' ORDER BY asked DESC";
        let since = format!(
            "SELECT 1 FROM runs CROSS JOIN steps USING (job)
             WHERE pipeline = ?1 AND asked > ?2 AND step = ?3 AND (attempt > 0 OR steps.state = '{ADOPTED}') LIMIT 1"
        );
        let rows = self.rows(failed, [pipeline], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })?;
        let mut last: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (step, why, asked) in rows.into_iter().filter(|(step, ..)| is_asked(step)) {
            last.entry(step).or_insert((why, asked));
        }
        let mut found = BTreeMap::new();
        for (step, (why, asked)) in last {
            if self.rows(&since, params![pipeline, asked, step], |_| Ok(()))?.is_empty() {
                found.insert(step, why);
            }
        }
        Ok(found)
    }

    /// When the oldest run was asked for.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn oldest(&self) -> Result<Option<String>, StoreError> {
        Ok(self.rows("SELECT asked FROM runs ORDER BY asked LIMIT 1", params![], |row| row.get(0))?.pop())
    }

    /// The last run of a pipeline that was not over at once because nothing was to do; where there were only such, the last.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn last_busy_run(&self, pipeline: &str) -> Result<Option<RunRow>, StoreError> {
        let busy = "pipeline = ?1 AND (state <> 'DONE' OR built + same > 0)";
        let row =
            self.rows(&format!("{RUN} WHERE {busy} ORDER BY asked DESC LIMIT 1"), params![pipeline], run_row)?.pop();
        if row.is_some() { Ok(row) } else { self.last_run(pipeline) }
    }

    /// The variables that a run was given, and what was left out of its targets. They stand before its steps, of which there may
    /// be very many.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn given(&self, job: &JobId) -> Result<(BTreeMap<String, String>, Vec<String>), StoreError> {
        let of = |field: &str, none: &str| {
            let is_given = format!(r#"instr(substr(body, 1, instr(body, '"steps":[')), '"{field}":') > 0"#);
            format!("iif({is_given}, json_extract(body, '$.{field}'), '{none}')")
        };
        let sql = format!(
            "SELECT {}, {} FROM events WHERE job = ?1 AND type = 'run_started' ORDER BY seq LIMIT 1",
            of("vars", "{}"),
            of("exclude", "[]")
        );
        let row = |row: &rusqlite::Row<'_>| Ok((json(row, 0)?, json(row, 1)?));
        Ok(self.rows(&sql, [job.as_str()], row)?.pop().unwrap_or_default())
    }

    /// Whether there is a run of this id.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn job_exists(&self, job: &JobId) -> Result<bool, StoreError> {
        let found = self.connection.query_row("SELECT 1 FROM runs WHERE job = ?1", [job.as_str()], |_| Ok(()));
        Ok(found.optional().map_err(|error| self.sql(&error))?.is_some())
    }
}

pub(super) fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let state: String = row.get(2)?;
    let time = |column| row.get_ref(column)?.as_str_or_null()?.map(|_| text(row, column)).transpose();
    let (rank, began, end): (jiff::Timestamp, _, _) = (text(row, 3)?, time(4)?, time(5)?);
    let start = began.unwrap_or(rank);
    Ok(RunRow {
        id: JobId::from_text(&row.get::<_, String>(0)?),
        pipeline: row.get(1)?,
        state: JobState::of_word(&state).ok_or_else(|| wrong(2, format!("no run is `{state}`")))?,
        // What began before its rank is there because a clock was ahead.
        asked: rank.min(start),
        rank,
        start,
        begun: began.is_some(),
        end,
        took_ms: row.get::<_, Option<i64>>(6)?.map(i64::cast_unsigned),
        targets: json(row, 7)?,
        engine: row.get(8)?,
        mode: row.get(9)?,
        by: row.get(10)?,
        built: number(row, 11)?,
        same: number(row, 12)?,
        failed: number(row, 13)?,
        stopped: number(row, 14)?,
        skipped: number(row, 15)?,
        current: number(row, 16)?,
        why: row.get(17)?,
        flaky: number(row, 18)?,
    })
}
