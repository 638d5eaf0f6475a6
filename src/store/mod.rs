//! The durable history: events in SQLite, with tables that are folded from them in the same transaction, so that a user
//! can ask them with `sqlite3`. Log bytes are files beside it. Knows no engines.

mod apply;
pub mod claim;
pub mod filter;
pub mod gc;
pub mod lock;
pub mod read;
mod schema;
#[cfg(test)]
mod tests;
pub mod write;

use std::path::{Path, PathBuf};

pub use schema::FILE;
pub(crate) use schema::make_folder;

/// Why the store cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file cannot be used.
    #[error("{path}: {message}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// It was written by a newer version.
    #[error("{path}: its format {found} is newer than this version of Kiln, which knows {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The newest format that is known.
        known: i64,
    },
    /// It is not a store, or it is damaged.
    #[error("{path}: it is damaged, or no store of Kiln ({message}); move it aside to begin a new history")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl StoreError {
    fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), message: error.to_string() }
    }

    fn sql(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let (path, message) = (path.to_owned(), error.to_string());
        let row = matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..));
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged { path, message },
            _ if row => Self::Damaged { path, message: format!("a row cannot be read: {message}") },
            _ => Self::Io { path, message },
        }
    }

    fn body(path: &Path, error: &serde_json::Error) -> Self {
        Self::Damaged { path: path.to_owned(), message: format!("a row cannot be read: {error}") }
    }
}
