//! The last good builds of a pipeline, as decisions ask for them. Does not know whether what was built is still there.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Row, params};

use crate::base::digest::Digest;
use crate::base::job::JobId;
use crate::plan::record::{History, LastGood, OutputRecord, Parts};
use crate::store::StoreError;
use crate::store::read::shared::Shared;
use crate::store::read::{Reader, json, text};

impl Reader {
    /// The last good builds of a pipeline; of these steps only, where some are named.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn history(&self, pipeline: &str, steps: Option<&[&str]>) -> Result<StoredHistory, StoreError> {
        let sql = "SELECT step, key, built_at, job, outputs FROM keys WHERE pipeline = ?1";
        let rows = self.of_steps(sql, (pipeline, steps), |row| {
            let last = LastGood {
                key: text(row, 1)?,
                built_at: text(row, 2)?,
                job: JobId::from_text(&row.get::<_, String>(3)?),
                outputs: json(row, 4)?,
            };
            Ok((row.get::<_, String>(0)?, last))
        })?;
        let reader = Arc::new(Shared::new(self.path.parent().unwrap_or(Path::new(""))));
        let (makers, others) = (OnceCell::new(), OnceCell::new());
        Ok(StoredHistory { last: rows.into_iter().collect(), makers, others, reader, pipeline: pipeline.to_owned() })
    }
}

/// The last good builds of a pipeline: what every decision needs is in memory, the parts of keys are read when asked for.
pub struct StoredHistory {
    last: HashMap<String, LastGood>,
    /// What all steps have built, by path: asked for only where something stands that no record of its own step tells of.
    makers: OnceCell<HashMap<String, Vec<(Digest, String)>>>,
    /// Where other pipelines have built something: asked for only where what was built has changed. None where that cannot be told.
    others: OnceCell<Option<BTreeSet<String>>>,
    reader: Arc<Shared>,
    pipeline: String,
}

impl StoredHistory {
    /// The same, asking what it has not in memory by the connection of others.
    #[must_use]
    pub fn by(self, reader: &Arc<Shared>) -> Self {
        Self { reader: Arc::clone(reader), ..self }
    }

    fn makers(&self) -> HashMap<String, Vec<(Digest, String)>> {
        let sql = "SELECT step, outputs FROM keys WHERE pipeline = ?1 ORDER BY built_at DESC";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, json::<Vec<OutputRecord>>(row, 1)?));
        let rows = self.reader.ask(|reader| reader.rows(sql, params![self.pipeline], read));
        let rows = rows.unwrap_or_else(|error| {
            tracing::warn!(%error, "what was built cannot be read; what stands there counts as somebody else's");
            None
        });
        let mut makers: HashMap<String, Vec<(Digest, String)>> = HashMap::new();
        for (step, outputs) in rows.into_iter().flatten() {
            for OutputRecord { path, digest, .. } in outputs {
                if let Some(path) = path {
                    makers.entry(path).or_default().push((digest, step.clone()));
                }
            }
        }
        makers
    }

    fn others(&self) -> Option<BTreeSet<String>> {
        let sql = "SELECT place.value FROM keys, json_each(keys.outputs) AS output,
                   json_each(json_array(output.value ->> 'path', output.value ->> 'real')) AS place
                   WHERE pipeline != ?1 AND place.value IS NOT NULL";
        let paths = self.reader.ask(|reader| reader.rows(sql, params![self.pipeline], |row| row.get(0)));
        Some(paths.ok()?.into_iter().flatten().collect())
    }
}

impl History for StoredHistory {
    fn last(&self, step: &str) -> Option<&LastGood> {
        self.last.get(step)
    }

    fn maker(&self, path: &str, digest: Digest) -> Option<String> {
        let made = self.makers.get_or_init(|| self.makers()).get(path)?;
        made.iter().find(|(made, _)| *made == digest).map(|(_, step)| step.clone())
    }

    fn others_in(&self, folder: &str) -> bool {
        // What cannot be told counts as if it were so: it is kept then.
        let Some(others) = self.others.get_or_init(|| self.others()) else { return true };
        let inside = format!("{folder}/");
        others.range(inside.clone()..).next().is_some_and(|path| path.starts_with(&inside))
    }

    fn parts(&self, step: &str) -> Parts {
        let sql = "SELECT parts FROM keys WHERE pipeline = ?1 AND step = ?2";
        match self.reader.ask(|reader| reader.rows(sql, params![self.pipeline, step], |row| json(row, 0))) {
            Ok(rows) => rows.and_then(|mut rows| rows.pop()).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, step, "the parts of a key cannot be read; all of them count as new");
                Parts::new()
            }
        }
    }
}
