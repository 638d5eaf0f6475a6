//! Digests of files that were read by earlier runs. Does not know whether the files are still as they were.

use std::sync::Arc;

use rusqlite::Row;

use crate::base::file::{FileStat, Memory, Remembered, Seen};
use crate::store::StoreError;
use crate::store::read::shared::Shared;
use crate::store::read::{Reader, text};

const COLUMNS: &str = "size, mtime_ns, ctime_ns, inode, digest, seen_ns";

impl Reader {
    /// Digests of files that were read.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn digests(&self) -> Result<Memory, StoreError> {
        let sql = format!("SELECT {COLUMNS}, path FROM digests");
        let rows = self.rows(&sql, [], |row| Ok((row.get(6)?, seen(row)?)))?;
        Ok(rows.into_iter().collect())
    }

    /// The digest of one file, if it was read.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn digest(&self, path: &str) -> Result<Option<Seen>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM digests WHERE path = ?1");
        Ok(self.rows(&sql, [path], seen)?.pop())
    }
}

fn seen(row: &Row<'_>) -> rusqlite::Result<Seen> {
    let stat = FileStat {
        size: row.get::<_, i64>(0)?.cast_unsigned(),
        mtime_ns: row.get(1)?,
        ctime_ns: row.get(2)?,
        inode: row.get::<_, i64>(3)?.cast_unsigned(),
    };
    Ok(Seen { stat, digest: text(row, 4)?, seen_ns: row.get(5)? })
}

/// The digests in a store, for who may ask from several threads. What cannot be read is read anew from the files.
pub struct StoredDigests(pub Arc<Shared>);

impl StoredDigests {
    fn ask<T>(&self, question: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Option<T> {
        let answer = self.0.ask(question);
        answer.inspect_err(|error| tracing::warn!(%error, "digests cannot be read; the files are")).ok()?
    }
}

impl Remembered for StoredDigests {
    fn one(&self, path: &str) -> Option<Seen> {
        self.ask(|reader| reader.digest(path)).flatten()
    }

    fn all(&self) -> Memory {
        self.ask(Reader::digests).unwrap_or_default()
    }
}
