//! What Kiln itself notes in the store: when it last kept house, and the mark of the last good builds.

use rusqlite::params;

use crate::store::StoreError;
use crate::store::read::Reader;

impl Reader {
    /// The mark of the last good builds of all pipelines: where it is the same, they are. None where a run of this pipeline
    /// has no end, and where nothing was ever built.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn mark(&self, pipeline: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM notes WHERE name = 'keys'
                   AND NOT EXISTS (SELECT 1 FROM runs WHERE state = 'RUNNING' AND pipeline = ?1)";
        Ok(self.rows(sql, params![pipeline], |row| row.get(0))?.pop())
    }

    /// What Kiln noted under this name.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.rows("SELECT value FROM notes WHERE name = ?1", params![name], |row| row.get(0))?.pop())
    }
}
