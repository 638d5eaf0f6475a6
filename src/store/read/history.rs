//! The last good builds of a pipeline, as decisions ask for them. Does not know whether what was built is still there.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::params;

use crate::base::job::JobId;
use crate::plan::record::{History, LastGood, Parts};
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
        let reader = Shared::new(self.path.parent().unwrap_or(Path::new("")));
        Ok(StoredHistory { last: rows.into_iter().collect(), reader, pipeline: pipeline.to_owned() })
    }
}

/// The last good builds of a pipeline: what every decision needs is in memory, the parts of keys are read when asked for.
pub struct StoredHistory {
    last: HashMap<String, LastGood>,
    reader: Shared,
    pipeline: String,
}

impl History for StoredHistory {
    fn last(&self, step: &str) -> Option<&LastGood> {
        self.last.get(step)
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
