//! Questions about jobs elsewhere: which ones runs that died left, and which ones runs came to. Knows no engine.

use std::collections::{BTreeSet, HashMap};

use rusqlite::params;

use crate::base::job::JobId;
use crate::engine::api::{AskedBefore, LeftBehind};
use crate::event::{Event, Intent, RemoteJob, Stamped};
use crate::store::StoreError;
use crate::store::read::{Reader, json, text};

/// Of how many of the last runs that came to a job it is known what they asked an engine for.
const BEFORE: u32 = 3;
/// Of how many of the last runs all jobs are known.
const LONG_BEFORE: u32 = 50;

impl Reader {
    /// Jobs that runs that died left with an engine.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn left_behind(&self, pipeline: &str, engine: &str) -> Result<Vec<LeftBehind>, StoreError> {
        let mut left = self.left_rows(pipeline, engine)?;
        // What there was before a request is in the event only.
        let runs: BTreeSet<String> = left.iter().map(|left| left.run.to_string()).collect();
        let mut of_step: HashMap<String, &mut LeftBehind> =
            left.iter_mut().map(|left| (left.step.clone(), left)).collect();
        let sql = "SELECT body FROM events WHERE type = 'step_submitting' AND job = ?1 ORDER BY seq";
        for run in runs {
            for Stamped { event, .. } in self.rows(sql, params![run], |row| json(row, 0))? {
                let Event::StepSubmitting { step, intent } = event else { continue };
                let left = of_step.get_mut(&step).filter(|left| left.run.as_str() == run);
                if let Some(left) = left.filter(|left| left.intent.request == intent.request) {
                    left.intent = intent;
                }
            }
        }
        Ok(left)
    }

    fn left_rows(&self, pipeline: &str, engine: &str) -> Result<Vec<LeftBehind>, StoreError> {
        let sql = "SELECT step, job, at, request, known, remote, page, joined FROM remote
                   WHERE pipeline = ?1 AND engine = ?2";
        self.rows(sql, params![pipeline, engine], |row| {
            let (page, joined) = (row.get(6)?, row.get(7)?);
            Ok(LeftBehind {
                step: row.get(0)?,
                run: JobId::from_text(&row.get::<_, String>(1)?),
                at: text(row, 2)?,
                intent: Intent { request: row.get(3)?, known: json(row, 4)?, ..Intent::default() },
                job: row.get::<_, Option<String>>(5)?.map(|id| RemoteJob { id, page, joined }),
            })
        })
    }

    /// The jobs that the last runs came to with an engine, whichever pipeline they were for.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn accepted_before(&self, engine: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT body FROM events WHERE type = 'step_accepted' AND job IN
                   (SELECT job FROM runs WHERE engine = ?1 ORDER BY asked DESC LIMIT ?2)";
        let events: Vec<Stamped> = self.rows(sql, params![engine, LONG_BEFORE], |row| json(row, 0))?;
        let id = |stamped: Stamped| {
            let Event::StepAccepted { remote, .. } = stamped.event else { return None };
            Some(remote.id)
        };
        Ok(events.into_iter().filter_map(id).collect())
    }

    /// What the last runs asked an engine for that came to a job, with these, the oldest first. Runs that came to none do not
    /// push them out: what they know is what those knew.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn asked_before(&self, pipeline: &str, engine: &str) -> Result<Vec<AskedBefore>, StoreError> {
        let sql = "SELECT body FROM events JOIN
                   (SELECT job, asked FROM runs WHERE pipeline = ?1 AND engine = ?2
                    AND EXISTS (SELECT 1 FROM events WHERE events.job = runs.job AND type = 'step_accepted')
                    ORDER BY asked DESC LIMIT ?3) USING (job)
                   WHERE type IN ('step_submitting', 'step_accepted') ORDER BY asked, job, seq";
        let events: Vec<Stamped> = self.rows(sql, params![pipeline, engine, BEFORE], |row| json(row, 0))?;
        // The request of each step that has no answer yet, and whether there was one before it.
        let mut open: HashMap<(String, String), (Intent, bool)> = HashMap::new();
        let mut asked = Vec::new();
        for Stamped { job: run, at, event, .. } in events {
            if let Event::StepSubmitting { step, intent } = event {
                let key = (run.as_str().to_owned(), step);
                let again = open.get(&key).is_some_and(|(before, _)| before.request == intent.request);
                open.insert(key, (intent, again));
            } else if let Event::StepAccepted { step, remote } = event
                && let Some((intent, twice)) = open.remove(&(run.as_str().to_owned(), step.clone()))
            {
                asked.push(AskedBefore { left: LeftBehind { step, run, intent, job: Some(remote), at }, twice });
            }
        }
        Ok(asked)
    }
}
