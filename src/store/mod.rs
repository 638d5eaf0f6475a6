//! The durable history: events in SQLite, with tables that are folded from them in the same transaction, so that a user
//! can ask them with `sqlite3`. Log bytes are files beside it. Knows no engines.

mod apply;
pub mod asked;
pub mod claim;
pub mod filter;
pub mod gc;
pub mod last_word;
pub mod lock;
mod network;
mod notes;
mod queue;
pub mod read;
pub mod recover;
mod schema;
mod sound;
#[cfg(test)]
mod tests;
pub mod wish;
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
    /// A run was killed while it wrote: the next one that may write mends that.
    #[error("{path}: a run was killed while it wrote there; the next `kiln run` mends that")]
    Torn {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a newer version.
    #[error("{path}: its format {found} is newer than this version of Kiln, which knows {known}; take a newer Kiln")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The newest format that is known.
        known: i64,
    },
    /// It was written by an older version that was never released.
    #[error(
        "{path}: its format {found} is older than any that was released, the first is {known}; \
         `kiln gc --recover` moves it aside and begins a new history"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The format that is known.
        known: i64,
    },
    /// It is not a store, or it is damaged.
    #[error(
        "{path}: it is damaged, or no store of Kiln ({message}); `kiln gc --recover` moves it aside and begins a new \
         history; what steps printed stays in {logs}", logs = path.with_file_name("logs").display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// It is not the one any more that was written.
    #[error(
        "{path}: it was removed or replaced while it was written: what was kept since it was opened is in no history"
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// Who writes it panicked.
    #[error("the writer of the history crashed: this is a bug in Kiln")]
    Crashed,
}

impl StoreError {
    fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), message: error.to_string() }
    }

    fn sql(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let (path, message) = (path.to_owned(), error.to_string());
        if error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK) {
            return Self::Torn { path };
        }
        let row = matches!(
            error,
            FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
        );
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged { path, message },
            // Where there is a format of ours there is all that belongs to it.
            _ if ["unsupported file format", "no such table", "no such column"]
                .iter()
                .any(|text| message.contains(text)) =>
            {
                Self::Damaged { path, message }
            }
            _ if row => Self::Damaged { path, message: format!("a row cannot be read: {message}") },
            _ => Self::Io { path, message },
        }
    }

    fn body(path: &Path, error: &serde_json::Error) -> Self {
        Self::Damaged { path: path.to_owned(), message: format!("a row cannot be read: {error}") }
    }
}

/// Whether two paths lead to one folder.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}
