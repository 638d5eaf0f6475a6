//! The tables, and how the file is opened. Knows no events.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::fault::fault;
use crate::store::network::Journal;
use crate::store::{StoreError, sound};

/// The name of the database in the state's folder.
pub const FILE: &str = "kiln.db";

/// The format of the tables, kept as `user_version`.
const FORMAT: i64 = 2;
/// `Kiln` in ASCII, kept as `application_id`.
const APPLICATION: i64 = 0x4b69_6c6e;

/// Tables that are folded from the events.
pub(super) const DERIVED: [&str; 6] = ["runs", "steps", "keys", "durations", "publishing", "remote"];

/// The engine whose name does not stand in `durations`.
pub(super) const HERE: &str = "local";

const TABLES: &str = "
-- What happened, in order: the truth. `body` is the whole event as JSON. `at` is when; beginnings of runs stand in the order in
-- which they were kept, whatever their clocks said.
CREATE TABLE events (
    job TEXT NOT NULL, seq INTEGER NOT NULL, at TEXT NOT NULL, elapsed_ms INTEGER NOT NULL,
    type TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (job, seq)
) WITHOUT ROWID;

-- All that follows but `digests` is folded from the events, in the same transactions. Times are UTC.
CREATE TABLE runs (
    job TEXT PRIMARY KEY, pipeline TEXT NOT NULL, file TEXT NOT NULL, engine TEXT NOT NULL, mode TEXT NOT NULL,
    targets TEXT NOT NULL, state TEXT NOT NULL, asked TEXT NOT NULL, started TEXT, ended TEXT, took_ms INTEGER,
    planned INTEGER NOT NULL, built INTEGER NOT NULL DEFAULT 0, same INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0, stopped INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
    current INTEGER NOT NULL DEFAULT 0, flaky INTEGER NOT NULL DEFAULT 0, by TEXT NOT NULL, pid INTEGER NOT NULL, host TEXT NOT NULL, why TEXT
) WITHOUT ROWID;
CREATE INDEX runs_asked ON runs (asked);
CREATE INDEX runs_pipeline ON runs (pipeline, asked);
CREATE INDEX runs_state ON runs (state, asked);

-- The steps of a run that were or might have been built; those that were up to date are counted in `runs`.
CREATE TABLE steps (
    job TEXT NOT NULL, step TEXT NOT NULL, stage INTEGER NOT NULL, action TEXT NOT NULL, state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, began_ms INTEGER, took_ms INTEGER, why TEXT, log TEXT,
    PRIMARY KEY (job, step)
) WITHOUT ROWID;

-- The last good build of each step.
CREATE TABLE keys (
    pipeline TEXT NOT NULL, step TEXT NOT NULL, key TEXT NOT NULL, built_at TEXT NOT NULL, job TEXT NOT NULL,
    outputs TEXT NOT NULL, parts TEXT NOT NULL, PRIMARY KEY (pipeline, step)
);

-- How long each step usually takes, in milliseconds. With another engine than `local`, ENGINE/ stands before its name.
CREATE TABLE durations (
    pipeline TEXT NOT NULL, step TEXT NOT NULL, ms INTEGER NOT NULL, PRIMARY KEY (pipeline, step)
) WITHOUT ROWID;

-- Steps whose outputs are being put in place.
CREATE TABLE publishing (
    pipeline TEXT NOT NULL, step TEXT NOT NULL, job TEXT NOT NULL, attempt INTEGER NOT NULL, took_ms INTEGER NOT NULL,
    record TEXT NOT NULL, staged TEXT NOT NULL, PRIMARY KEY (pipeline, step)
) WITHOUT ROWID;

-- Digests of files that were read, with the state that the file had: a cache.
CREATE TABLE digests (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, digest TEXT NOT NULL, seen_ns INTEGER NOT NULL
) WITHOUT ROWID;

-- What Kiln itself remembers, such as when it last kept house.
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- Jobs elsewhere of steps that have not ended, or whose process died: what was asked for, the jobs for the same that there
-- were before, and the job itself once its id was known.
CREATE TABLE remote (
    pipeline TEXT NOT NULL, engine TEXT NOT NULL, step TEXT NOT NULL, job TEXT NOT NULL, at TEXT NOT NULL,
    request TEXT NOT NULL, known TEXT NOT NULL, remote TEXT, page TEXT, joined INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (pipeline, engine, step)
) WITHOUT ROWID;

-- Whoever changes the last good builds gives them another mark. Where the mark is the same, they are.
CREATE TRIGGER keys_inserted AFTER INSERT ON keys BEGIN
    INSERT OR REPLACE INTO notes (name, value) VALUES ('keys', hex(randomblob(16)));
END;
CREATE TRIGGER keys_updated AFTER UPDATE ON keys BEGIN
    INSERT OR REPLACE INTO notes (name, value) VALUES ('keys', hex(randomblob(16)));
END;
CREATE TRIGGER keys_deleted AFTER DELETE ON keys BEGIN
    INSERT OR REPLACE INTO notes (name, value) VALUES ('keys', hex(randomblob(16)));
END;
";

/// What was added without another format: older stores are given it when they are opened for writing.
const LATER: &str = "
CREATE INDEX IF NOT EXISTS runs_by ON runs (pipeline, by, asked);
CREATE INDEX IF NOT EXISTS steps_failed ON steps (job) WHERE state = 'failed';
CREATE INDEX IF NOT EXISTS runs_ahead ON runs (asked) WHERE started < asked;
CREATE INDEX IF NOT EXISTS events_began ON events (at) WHERE type IN ('run_queued', 'run_started');
";

/// The size of a page in bytes. An event of more than a quarter of it takes a page of its own, and with half of this most
/// events of steps would.
const PAGE: i64 = 8 << 10;
/// So long the log of writes gets, in bytes, before it is worked into the tables: mostly that has time to the end of a run.
const LONG_LOG: i64 = 32 << 20;
/// So much of the tables is kept in memory, in KiB.
const CACHE: i64 = 16 << 10;

/// How long a connection waits for another one to finish writing, in milliseconds.
const BUSY_MS: u64 = 10_000;

/// Whether there is a store. Where nobody may look nothing is known, and that is another thing than none.
pub(super) fn is_there(state: &Path) -> Result<bool, StoreError> {
    let path = state.join(FILE);
    path.try_exists().map_err(|error| StoreError::io(&path, &error))
}

/// Opens the store for reading; none where there is none.
pub(super) fn open_read(state: &Path) -> Result<Option<(Connection, PathBuf)>, StoreError> {
    if !is_there(state)? {
        return Ok(None);
    }
    let path = state.join(FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(&path, flags)?;
    let sound = connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS));
    sound.map_err(|error| StoreError::sql(&path, &error))?;
    match format(&connection, &path)? {
        0 => Ok(None), // its maker died before there was a table
        _ => Ok(Some((connection, path))),
    }
}

/// Opens the store for writing, and makes what is missing of it.
pub(super) fn open_write(state: &Path) -> Result<(Connection, PathBuf), StoreError> {
    make_folder(state)?;
    open_with(state, tell_journal(state))
}

/// How the store is written there, said where that is worth a word.
pub(super) fn tell_journal(state: &Path) -> Journal {
    let journal = Journal::of(state);
    if let Journal::Delete(system) = journal {
        tracing::warn!(
            "{} is on a network file system ({system}): the history is kept in a slower way there, and only one machine \
             at a time may run; `--state DIR` puts it elsewhere",
            state.display()
        );
    }
    journal
}

/// Whether the log of writes is left as it is by who closes the store last.
pub(super) fn leave_log(connection: &Connection, leave: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leave).map(drop)
}

/// Opens the store for writing, with a journal of this kind, and makes what is missing of it.
pub(super) fn open_with(state: &Path, journal: Journal) -> Result<(Connection, PathBuf), StoreError> {
    let path = state.join(FILE);
    let sql = |error: rusqlite::Error| StoreError::sql(&path, &error);
    let mut connection = connect(&path, OpenFlags::default())?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS)).map_err(sql)?;
    // Until it is known to be sound nothing is written, not even what a Kiln that died left in the log of writes.
    leave_log(&connection, true).map_err(sql)?;
    let found = format(&connection, &path)?;
    if found > 0 {
        is_sound(&connection, &path)?;
    }
    leave_log(&connection, false).map_err(sql)?;
    if found == 0 {
        connection.pragma_update(None, "page_size", PAGE).map_err(sql)?;
    }
    connection.pragma_update(None, "journal_mode", journal.word()).map_err(sql)?;
    connection.pragma_update(None, "wal_autocheckpoint", LONG_LOG / PAGE).map_err(sql)?;
    connection.pragma_update(None, "cache_size", -CACHE).map_err(sql)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(sql)?;
    connection.pragma_update(None, "cell_size_check", true).map_err(sql)?;
    connection.set_prepared_statement_cache_capacity(64);
    if found == 0 {
        fault("store.make").map_err(|error| StoreError::io(&path, &error))?;
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(sql)?;
        // Another Kiln may have made them since.
        if format(&transaction, &path)? == 0 {
            transaction.execute_batch(TABLES).map_err(sql)?;
            transaction.pragma_update(None, "application_id", APPLICATION).map_err(sql)?;
            transaction.pragma_update(None, "user_version", FORMAT).map_err(sql)?;
        }
        transaction.commit().map_err(sql)?;
    }
    connection.execute_batch(LATER).map_err(sql)?;
    Ok((connection, path))
}

/// A file: its device, its inode, and when it was made, as numbers of inodes are given again.
pub(super) type Identity = (u64, u64, Option<SystemTime>);

/// Which file a path names now.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    path.metadata().map(|file| (file.dev(), file.ino(), file.created().ok())).ok()
}

/// The stores that this process has open, or had. A process loses its locks of a file with the
/// first handle of it that it closes, whoever opened that: another program would then take SQLite's log of writes for nobody's,
/// and remove it. So only what nothing here can have open yet is read by other means than SQLite's. This is the only state of
/// the whole process, as those locks are.
static KNOWN: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());

/// Connects to a store, after a look at its first bytes.
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    // Nobody else looks or connects in between.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if identity(path).is_none_or(|file| !known.contains(&file)) {
        begins_well(path)?;
    }
    let connection = Connection::open_with_flags(path, flags).map_err(|error| StoreError::sql(path, &error))?;
    known.extend(identity(path));
    Ok(connection)
}

/// Refuses what SQLite would take for an empty file and write over: it sees no content in a file of one byte. And what it
/// would take for whole although half of its last page is missing; with a log of writes beside it that may be mended.
fn begins_well(path: &Path) -> Result<(), StoreError> {
    const HEADER: &[u8] = b"SQLite format 3\0";
    let mut start = Vec::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io(path, &error)),
    };
    let length = file.metadata().map_err(|error| StoreError::io(path, &error))?.len();
    let page = HEADER.len() + size_of::<u16>();
    file.take(page as u64).read_to_end(&mut start).map_err(|error| StoreError::io(path, &error))?;
    let damaged = |why: &str| Err(StoreError::Damaged { path: path.to_owned(), message: why.to_owned() });
    match start.split_at_checked(HEADER.len()) {
        None if start.is_empty() && has_logs(path) => damaged("it is empty, and there are logs of runs"),
        None if start.is_empty() => Ok(()),
        Some((HEADER, page)) => {
            let logs =
                ["db-wal", "db-journal"].map(|log| path.with_extension(log).metadata().map_or(0, |log| log.len()));
            match page.try_into().map(u16::from_be_bytes) {
                Ok(page @ 512..) if logs == [0, 0] && length % u64::from(page) != 0 => damaged("its end is missing"),
                _ => Ok(()), // SQLite knows all else
            }
        }
        _ => damaged("it does not begin as a database does"),
    }
}

/// Whether runs have left logs beside a store: then it was not empty.
fn has_logs(path: &Path) -> bool {
    path.with_file_name("logs").read_dir().is_ok_and(|mut logs| logs.next().is_some())
}

/// A larger store is not looked through when it is opened for writing, but only by `kiln gc`; nor one that nobody has written
/// to since Kiln did.
const QUICKLY: i64 = 16 << 20;

/// Refuses a store that is damaged before anything is written to it.
fn is_sound(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let size = connection.query_row(size, [], |row| row.get::<_, i64>(0));
    if size.map_err(|error| StoreError::sql(path, &error))? > QUICKLY || sound::is_known(path) {
        return Ok(());
    }
    look_through(connection, path, "quick_check")
}

/// Looks through all of a store: `quick_check`, or `integrity_check`, which takes longer.
pub(super) fn look_through(connection: &Connection, path: &Path, how: &str) -> Result<(), StoreError> {
    let found = connection.query_row(&format!("PRAGMA {how}(1)"), [], |row| row.get::<_, String>(0));
    match found.map_err(|error| StoreError::sql(path, &error))?.as_str() {
        "ok" => Ok(()),
        wrong => {
            let message = wrong.lines().filter(|line| !line.starts_with("***")).collect::<Vec<_>>().join(" ");
            Err(StoreError::Damaged { path: path.to_owned(), message })
        }
    }
}

/// The format of the file; 0 for a new one.
fn format(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    // One question, so that another Kiln cannot make the tables in between.
    let question = "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
                    FROM pragma_application_id, pragma_user_version";
    let row = connection.query_row(question, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let (application, format, tables): (i64, i64, i64) = row.map_err(|error| StoreError::sql(path, &error))?;
    if application != APPLICATION && (application, format, tables) != (0, 0, 0) {
        return Err(StoreError::Damaged { path: path.to_owned(), message: "another program's database".to_owned() });
    }
    let (path, found, known) = (path.to_owned(), format, FORMAT);
    if format > FORMAT {
        return Err(StoreError::Newer { path, found, known });
    }
    if tables > 0 && format < FORMAT {
        return Err(StoreError::Older { path, found, known });
    }
    Ok(format)
}

/// Makes the state's folder, which git is not to look into.
pub(crate) fn make_folder(state: &Path) -> Result<(), StoreError> {
    let ignore = state.join(".gitignore");
    let made = std::fs::create_dir_all(state).and_then(|()| match File::create_new(&ignore) {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    });
    made.map_err(|error| StoreError::io(state, &error))
}
