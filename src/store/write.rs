//! The one writer of the store: a thread that commits all that queued during its last commit, in order. What nobody waits for
//! waits a little for more.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::ErrorCode::DatabaseBusy;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::base::file::FileDigest;
use crate::event::{Event, Stamped};
use crate::fault::fault;
use crate::pipeline::paths::{OWN, lies_in};
use crate::plan::record::Record;
use crate::report::api::Journal;
use crate::store::network::Journal as Kept;
use crate::store::queue::{Queue, Queued, Waiting, queue};
use crate::store::read::Reader;
use crate::store::{StoreError, apply, schema, sound};

/// Writes events and digests. Dropped without [`Writer::close`] it still writes what was queued.
pub struct Writer {
    queue: Option<Queue<Batch>>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
    /// How the thread ended, once it has.
    ended: Result<(), StoreError>,
    batches: u64,
    path: PathBuf,
    file: Option<schema::Identity>,
    /// Whether the run is to end: then nobody is waited for any longer.
    stopping: Arc<AtomicBool>,
}

/// Is told the number of the highest batch that is on disk, or once why no more will be.
pub type Told = Box<dyn Fn(Result<u64, StoreError>) + Send>;

struct Batch {
    number: u64,
    events: Arc<[Stamped]>,
    digests: Vec<FileDigest>,
}

/// A store that is open for writing, and only asked so far: the same connection may [go on](Writer::go_on) to write.
pub struct Paused {
    /// Who asks.
    pub reader: Reader,
}

impl Paused {
    /// Opens the store; none where there is none.
    ///
    /// # Errors
    /// Why the store cannot be written.
    pub fn open(state: &Path) -> Result<Option<Self>, StoreError> {
        let Some(file) = schema::identity(&state.join(schema::FILE)) else { return Ok(None) };
        let (connection, path) = schema::open_with(state, Kept::of(state))?;
        // Until it writes nothing of it is worked into the tables.
        schema::leave_log(&connection, true).map_err(|error| StoreError::sql(&path, &error))?;
        Ok(Some(Self { reader: Reader::over(connection, path, file) }))
    }
}

impl Writer {
    /// Opens the store, and makes what is missing of it. `told` is called from the writer's thread.
    ///
    /// # Errors
    /// Why the store cannot be written.
    pub fn open(state: &Path, told: Told) -> Result<Self, StoreError> {
        let (connection, path) = schema::open_write(state)?;
        Self::over(connection, path, told)
    }

    /// Goes on with a connection that was only asked so far.
    ///
    /// # Errors
    /// Why the store cannot be written.
    pub fn go_on(paused: Paused, told: Told) -> Result<Self, StoreError> {
        let (connection, path) = paused.reader.into_parts();
        schema::tell_journal(path.parent().unwrap_or(&path));
        schema::leave_log(&connection, false).map_err(|error| StoreError::sql(&path, &error))?;
        Self::over(connection, path, told)
    }

    fn over(connection: Connection, path: PathBuf, told: Told) -> Result<Self, StoreError> {
        let (queue, queued) = queue();
        let thread = std::thread::Builder::new().name("kiln-store".to_owned());
        let (file, own) = (schema::identity(&path), path.clone());
        let (stopping, ended) = (Arc::new(AtomicBool::new(false)), Ok(()));
        let its = Thread { connection, path, file, queued, told, events: 0, stopping: Arc::clone(&stopping) };
        let thread = thread.spawn(move || its.run()).map_err(|error| StoreError::io(&own, &error))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), ended, batches: 0, path: own, file, stopping })
    }

    /// Whether the store that it writes is still the one that is there.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.file.is_some() && self.file == schema::identity(&self.path)
    }

    /// Waits until all that was queued is on disk.
    ///
    /// # Errors
    /// Why it is not.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        let (done, wait) = channel();
        if let Some(queue) = &self.queue {
            queue.flush(done);
        }
        match wait.recv() {
            Ok(()) => Ok(()),
            Err(_) => self.join(),
        }
    }

    /// Writes what is queued and closes the store.
    ///
    /// # Errors
    /// Why something was not written.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), StoreError> {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            self.ended = thread.join().unwrap_or(Err(StoreError::Crashed));
        }
        self.ended.clone()
    }
}

impl Journal for Writer {
    fn append(&mut self, events: Arc<[Stamped]>, digests: Vec<FileDigest>) -> u64 {
        self.batches += 1;
        if let Some(queue) = &self.queue {
            if events.iter().any(|event| matches!(event.event, Event::RunStopping { .. })) {
                self.stopping.store(true, Ordering::SeqCst);
            }
            let hurry = !events.iter().all(|event| may_wait(&event.event));
            // If the thread has ended it has told why, and `close` tells it again.
            queue.push(Batch { number: self.batches, events, digests }, hurry);
        }
        self.batches
    }

    fn again(&mut self, events: &[Stamped]) -> Result<(), String> {
        // One that has gone on without telling of a failure keeps all itself.
        if self.join().is_ok() || !self.stands() {
            return Err("the history is another one".to_owned());
        }
        let state = self.path.parent().unwrap_or(&self.path);
        keep_now(state, events).map_err(|error| error.to_string())
    }
}

/// So often is waited for who else writes the store while a run goes on, each time as long as SQLite does: for five minutes. Nothing of
/// Kiln writes as long; who does may never end.
const TRIES: usize = 30;

/// Does what writes the store. Who else writes there is waited for, as long as `patient` says so to the number of times it was: what
/// was done is not lost for that.
fn patiently(
    path: &Path,
    patient: impl Fn(usize) -> bool,
    mut write: impl FnMut() -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut tries = 1;
    loop {
        match write() {
            Err(error) if matches!(error.sqlite_error_code(), Some(DatabaseBusy)) && patient(tries) => {
                if tries == 1 {
                    tracing::warn!("{}: another process writes there, and is waited for", path.display());
                }
                tries += 1;
            }
            result => return result,
        }
    }
}

/// Keeps events in one transaction.
fn keep_now(state: &Path, events: &[Stamped]) -> Result<(), StoreError> {
    let (mut connection, path) = schema::open_write(state)?;
    let keep = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut tally = apply::Tally::default();
        events.iter().try_for_each(|event| apply::keep(&transaction, event, &mut tally))?;
        tally.tell(&transaction)?;
        fault("store.commit").map_err(full)?;
        transaction.commit()
    };
    patiently(&path, |_| false, keep).map_err(|error| StoreError::sql(&path, &error))
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Who flushed or closed it knows already.
        if self.thread.is_some()
            && let Err(error) = self.join()
        {
            tracing::error!(%error, "the history was not closed");
        }
    }
}

/// Events that nobody waits for stay for so long, so that more of them are written at once: what a commit takes is mostly
/// to wait for the disk. Where many steps end, outputs are put in place more often than this, and events of steps that have
/// ended are written with those of the next ones.
const LINGER: Duration = Duration::from_millis(50);

/// Whether what was built is known again by files.
fn leaves_files(record: &Record) -> bool {
    record.outputs.iter().any(|output| output.path.is_some())
}

/// Whether nothing happens any later because an event is on disk later: it is only shown then.
fn may_wait(event: &Event) -> bool {
    match event {
        Event::StepStarted { .. } | Event::StepCurrent { .. } | Event::StepSkipped { .. } | Event::Noted { .. } => true,
        // Were the end of a step lost that leaves no file, such as a task, it would be done once more; files are known again.
        Event::StepEnded(ended) => ended.failure.is_none() && ended.record.as_ref().is_none_or(leaves_files),
        Event::RunQueued(_)
        | Event::RunStarted(_)
        | Event::StepRetrying(_)
        | Event::StepSubmitting { .. }
        | Event::StepAccepted { .. }
        | Event::StepPublishing { .. }
        | Event::RunStopping { .. }
        | Event::RunEnded(_) => false,
    }
}

/// A log of writes that is not longer is left as it is, in bytes.
pub(super) const SHORT_LOG: u64 = 512 << 10;

/// A run in which nothing is done has so many events: it begins and ends.
const FEW: usize = 2;

struct Thread {
    connection: Connection,
    path: PathBuf,
    file: Option<schema::Identity>,
    queued: Queued<Batch>,
    told: Told,
    /// How many events were written.
    events: usize,
    stopping: Arc<AtomicBool>,
}

impl Thread {
    fn run(mut self) -> Result<(), StoreError> {
        while let Some(Waiting { batches, flushes, .. }) = self.queued.next(LINGER) {
            self.events += batches.iter().map(|batch| batch.events.len()).sum::<usize>();
            let (path, stopping) = (self.path.clone(), Arc::clone(&self.stopping));
            let patient = |tries| tries < TRIES && !stopping.load(Ordering::SeqCst);
            if let Err(error) = patiently(&path, patient, || self.commit(&batches)) {
                let error = StoreError::sql(&self.path, &error);
                (self.told)(Err(error.clone()));
                return Err(error);
            }
            if let Some(last) = batches.last() {
                (self.told)(Ok(last.number));
            }
            for done in flushes {
                if done.send(()).is_err() {
                    tracing::debug!("whoever waited for the disk has gone");
                }
            }
        }
        if let Err(error) = fault("store.close") {
            return Err(StoreError::io(&self.path, &error));
        }
        // Of a store that was removed, the log of writes beside it is another one's by now: SQLite would take that away.
        if self.file != schema::identity(&self.path) {
            drop(schema::leave_log(&self.connection, true));
            return Err(StoreError::Gone { path: self.path });
        }
        // What is in the log of writes is safe there. But who opens the store next reads all of it, so it is worked into the
        // tables. Of a run in which nothing was done a short log may stay, for that would take four more flushes.
        let log = self.path.with_extension("db-wal").metadata().map_or(0, |log| log.len());
        if (1..=FEW).contains(&self.events) && log <= SHORT_LOG {
            drop(schema::leave_log(&self.connection, true));
        } else if let Err(error) = self.work_in() {
            tracing::debug!(%error, "the log of writes stays as it is");
        }
        sound::remember(&self.path);
        Ok(())
    }

    /// Works the log of writes into the tables and empties it, even if others have the store open; who reads it just now is
    /// not waited for.
    fn work_in(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(Duration::ZERO)?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    fn commit(&mut self, batches: &[Batch]) -> rusqlite::Result<()> {
        if batches.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut tally = apply::Tally::default();
        for batch in batches {
            for event in batch.events.iter() {
                apply::keep(&transaction, event, &mut tally)?;
            }
            keep_digests(&transaction, &batch.digests)?;
        }
        tally.tell(&transaction)?;
        fault("store.commit").map_err(full)?;
        transaction.commit()?;
        fault("store.committed").map_err(full)
    }
}

/// What SQLite says when the disk is full, in words of ours.
fn full(error: std::io::Error) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), Some(error.to_string()))
}

fn keep_digests(connection: &Connection, digests: &[FileDigest]) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO digests (path, size, mtime_ns, ctime_ns, inode, digest, seen_ns)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut statement = connection.prepare_cached(sql)?;
    // What was staged lies elsewhere by now.
    for entry in digests.iter().filter(|entry| !lies_in(&entry.path, OWN)) {
        let stat = &entry.seen.stat;
        statement.execute(params![
            entry.path,
            stat.size.cast_signed(),
            stat.mtime_ns,
            stat.ctime_ns,
            stat.inode.cast_signed(),
            entry.seen.digest.to_string(),
            entry.seen.seen_ns
        ])?;
    }
    Ok(())
}

/// Makes the tables anew that are folded from the events, in one transaction.
///
/// # Errors
/// Why that is not possible; then nothing has changed.
pub fn remake(state: &Path) -> Result<(), StoreError> {
    let (mut connection, path) = schema::open_write(state)?;
    let sql = |error: rusqlite::Error| StoreError::sql(&path, &error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    apply::remake(&transaction).map_err(sql)?;
    transaction.commit().map_err(sql)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Digest;
    use crate::event::{Outcome, StepEnded};
    use crate::plan::record::{OutputRecord, Parts};

    #[test]
    fn who_else_writes_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let connection = schema::open_write(dir.path()).unwrap().0;
            connection.busy_timeout(Duration::ZERO).unwrap();
            connection
        };
        let (other, own, mut tries) = (open(), open(), 0);
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let written = patiently(
            dir.path(),
            |tries| tries < 3,
            || {
                tries += 1;
                if tries == 3 {
                    other.execute_batch("ROLLBACK").unwrap();
                }
                own.execute_batch("BEGIN IMMEDIATE; COMMIT")
            },
        );
        assert_eq!((written, tries), (Ok(()), 3));
        let wrong = patiently(dir.path(), |_| true, || own.execute_batch("SELECT * FROM nothing"));
        assert!(wrong.is_err(), "nothing else is tried again");
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(patiently(dir.path(), |tries| tries < 3, || own.execute_batch("BEGIN IMMEDIATE; COMMIT")).is_err());
    }

    #[test]
    fn the_end_of_what_leaves_no_file_is_kept_at_once() {
        let output = |path: Option<&str>| OutputRecord {
            node: "o".to_owned(),
            path: path.map(str::to_owned),
            real: None,
            digest: Digest::of(b""),
        };
        let ended = |outputs: Option<Vec<OutputRecord>>| {
            let record = outputs.map(|outputs| Record { key: Digest::of(b""), parts: Parts::new(), outputs });
            Event::StepEnded(Box::new(StepEnded { record, ..StepEnded::new("s", 1, Outcome::Built, 1) }))
        };
        let waits = |outputs| may_wait(&ended(outputs));
        assert!(waits(Some(vec![output(Some("o"))])), "a file, which was put in place and noted before");
        assert!(!waits(Some(Vec::new())), "a task");
        assert!(!waits(Some(vec![output(None)])), "a table");
        assert!(waits(None), "a job that an engine knows again");
    }
}
