//! What Kiln itself notes in the store: when it last kept house, since when there is a history, and the mark of the last good
//! builds. Does not know what that means.

use rusqlite::{Connection, OptionalExtension as _, params};

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
        Ok(self.rows(GET, params![name], |row| row.get(0))?.pop())
    }
}

const GET: &str = "SELECT value FROM notes WHERE name = ?1";

/// What Kiln noted under this name.
pub(super) fn get(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row(GET, [name], |row| row.get(0)).optional()
}

/// Notes this under this name.
pub(super) fn set(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO notes (name, value) VALUES (?1, ?2)", [name, value]).map(drop)
}
