//! The way out of a damaged store: its files are moved aside, never deleted, and a new history begins. Logs stay where they
//! are. The caller says when, and for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::store::filter::RunFilter;
use crate::store::lock::{Lock, LockError};
use crate::store::read::Reader;
use crate::store::write::remake;
use crate::store::{StoreError, lock, notes, schema};

/// What became of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// There is none.
    None,
    /// All of it can be read: nothing was done.
    Sound,
    /// Its events can be read, and what follows from them was made again.
    Remade,
    /// It is damaged, for this reason: the files were moved to new names, and a new history was begun.
    Moved(String, Vec<PathBuf>),
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Someone uses it: what, and who.
    #[error("{0}: {1}")]
    Busy(String, String),
    /// The store cannot be used, and is not damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Under this name it is noted when a history was begun anew.
const NOTE: &str = "recovered";
/// The files of a store, by what comes after its name.
const FILES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Moves a store aside that is damaged, and begins a new one; with `dry`, only says so.
///
/// # Errors
/// Why nothing was done.
pub fn recover(state: &Path, now: jiff::Timestamp, dry: bool) -> Result<Recovered, RecoverError> {
    let path = state.join(schema::FILE);
    if !schema::is_there(state)? {
        return Ok(Recovered::None);
    }
    let alone = if dry { Alone::default() } else { Alone::with(state)? };
    alone.holds(state)?;
    let base = structure(state).and_then(|()| events(state));
    let why = match base.clone().and_then(|()| rows(state)) {
        Ok(()) => return Ok(Recovered::Sound),
        Err(StoreError::Damaged { message, .. }) => message,
        Err(StoreError::Older { found, .. }) => format!("its format {found} is too old"),
        Err(
            error @ (StoreError::Io { .. }
            | StoreError::Torn { .. }
            | StoreError::Newer { .. }
            | StoreError::Gone { .. }
            | StoreError::Crashed),
        ) => {
            return Err(error.into());
        }
    };
    // Only what follows from the events cannot be read: that is made again.
    if base.is_ok() && (dry || remake(state).and_then(|()| rows(state)).is_ok()) {
        return Ok(Recovered::Remade);
    }
    let stamp = now.strftime("%Y-%m-%dT%H-%M-%S.%3f");
    let to = state.join(format!("kiln.damaged-{stamp}.db"));
    let pairs = FILES.map(|end| (with_end(&path, end), with_end(&to, end)));
    let pairs: Vec<_> = pairs.into_iter().filter(|(from, _)| from.exists()).collect();
    if !dry {
        // All of that may have taken long, and a pipeline that was never run here has a lock only now.
        alone.holds(state)?;
        move_aside(state, &pairs)?;
        begin(state, now)?;
    }
    Ok(Recovered::Moved(why, pairs.into_iter().map(|(_, to)| to).collect()))
}

/// The locks of all that may write the store, so that nobody begins.
#[derive(Default)]
struct Alone(BTreeMap<String, Lock>);

impl Alone {
    fn with(state: &Path) -> Result<Self, RecoverError> {
        let take = |name: String| match Lock::take_now(state, &name, &lock::here_now()) {
            Ok(lock) => Ok((name, lock)),
            Err(LockError::Held(holder)) => Err(busy(&name, holder)),
            Err(LockError::Io(error)) => Err(StoreError::io(state, &error).into()),
        };
        lock::names(state).map(take).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody else works with this state.
    fn holds(&self, state: &Path) -> Result<(), RecoverError> {
        match lock::held(state).into_iter().find(|name| !self.0.contains_key(name)) {
            Some(name) => Err(busy(&name, lock::holder_words(state, &name))),
            None => Ok(()),
        }
    }
}

/// What goes on with a state, and who that is.
fn busy(name: &str, holder: String) -> RecoverError {
    let what =
        if name == lock::QUEUE { "a server works here".to_owned() } else { format!("a run of `{name}` goes on") };
    RecoverError::Busy(what, holder)
}

/// Whether the database as such is sound.
fn structure(state: &Path) -> Result<(), StoreError> {
    match schema::open_read(state)? {
        Some((connection, path)) => schema::look_through(&connection, &path, "integrity_check"),
        None => Ok(()),
    }
}

/// Whether all events can be read.
fn events(state: &Path) -> Result<(), StoreError> {
    let Some(reader) = Reader::open(state)? else { return Ok(()) };
    reader.digests()?;
    reader.jobs()?.iter().try_for_each(|job| reader.events(job, 0).map(drop))
}

/// Whether all else that Kiln may ask for can be read: it follows from the events.
fn rows(state: &Path) -> Result<(), StoreError> {
    let Some(reader) = Reader::open(state)? else { return Ok(()) };
    let pipelines: BTreeSet<String> = reader.runs(&RunFilter::default())?.into_iter().map(|run| run.pipeline).collect();
    for pipeline in pipelines {
        reader.history(&pipeline, None)?;
        reader.durations(&pipeline, schema::HERE, None)?;
        reader.unfinished(&pipeline)?;
    }
    Ok(())
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn move_aside(state: &Path, pairs: &[(PathBuf, PathBuf)]) -> Result<(), StoreError> {
    // What the file needs beside it goes first: were it cut short, the store is damaged as before.
    for (from, to) in pairs.iter().rev() {
        fs::rename(from, to).map_err(|error| StoreError::io(from, &error))?;
    }
    File::open(state).and_then(|folder| folder.sync_all()).map_err(|error| StoreError::io(state, &error))
}

/// A new history, which knows since when it is one.
fn begin(state: &Path, now: jiff::Timestamp) -> Result<(), StoreError> {
    let (connection, path) = schema::open_write(state)?;
    notes::set(&connection, NOTE, &now.to_string()).map_err(|error| StoreError::sql(&path, &error))
}

/// Since when there is a history, where the one before was moved aside.
pub(super) fn since(connection: &Connection) -> rusqlite::Result<Option<jiff::Timestamp>> {
    Ok(notes::get(connection, NOTE)?.and_then(|at| at.parse().ok()))
}

#[cfg(test)]
mod tests;
