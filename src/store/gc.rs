//! Keeps house: takes old runs out of the history, with their logs. Never a run that goes on, never the newest of a
//! pipeline, never one that holds the last good build of a step, or may have a job elsewhere that goes on.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::base::job::JobId;
use crate::files;
use crate::pipeline::paths::{OWN, REPLACED};
use crate::store::apply::time;
use crate::store::read::Reader;
use crate::store::{StoreError, is_same, lock, notes, recover, schema};

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Runs that began in the last so many days.
    pub days: u32,
    /// So many of the newest runs of each pipeline, however old.
    pub runs: u32,
    /// If history and logs are larger than this, the oldest runs go even if they would be kept.
    pub bytes: u64,
}

impl Keep {
    fn age(self) -> Duration {
        Duration::from_hours(24 * u64::from(self.days))
    }
}

/// What is kept unless it is said otherwise.
pub const KEEP: Keep = Keep { days: 30, runs: 100, bytes: 2 << 30 };

/// What was taken out, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The runs, the oldest first.
    pub jobs: Vec<JobId>,
    /// When the newest of them began.
    pub newest: Option<jiff::Timestamp>,
    /// How many bytes their logs and events took.
    pub bytes: u64,
    /// Logs of runs that are in no history.
    pub strays: usize,
    /// Runs that had kept what their outputs replaced, which has gone.
    pub replaced: usize,
    /// The files of these, relative to the root, with their sizes in bytes.
    pub kept: Vec<(String, u64)>,
    /// How many runs are left.
    pub left: u64,
    /// How many of those are left because they hold a last good build.
    pub held: u64,
    /// How many bytes history and logs take then, as far as that can be told before the file is made smaller.
    pub size: u64,
}

/// Under this name it is noted when house was kept.
const NOTE: &str = "gc";
/// How long after the last time house is kept again without being asked.
const EVERY: Duration = Duration::from_hours(24);
/// So many runs are taken out unasked, for that is to be quick.
const UNASKED: usize = 200;
/// So many rows are taken out in one transaction, for others may wait for it: a run may have very many.
const AT_ONCE: usize = 20_000;
/// Logs of a run that is in no history are left for so long: it may just begin.
const STRAY: Duration = Duration::from_hours(24);

/// Takes out what need not be kept; only says so with `dry`. Paths of files count from `root`.
///
/// # Errors
/// Why the store cannot be read or written.
pub fn gc(state: &Path, root: &Path, keep: Keep, now: jiff::Timestamp, dry: bool) -> Result<Swept, StoreError> {
    sweep((state, root), keep, now, dry, true)
}

/// Keeps house with [`KEEP`] if the last time is a day ago. It takes little at a time, so that nobody waits for it.
///
/// # Errors
/// Why the store cannot be read or written.
pub fn now_and_then(state: &Path, root: &Path, now: jiff::Timestamp) -> Result<Option<Swept>, StoreError> {
    let Some(reader) = Reader::open(state)? else { return Ok(None) };
    if !is_due(&reader, now)? {
        return Ok(None);
    }
    sweep((state, root), KEEP, now, false, false).map(Some)
}

/// The same at the end of a run. That it fails is no failure of the run.
pub fn keep_house(state: &Path, root: &Path, now: jiff::Timestamp) {
    match now_and_then(state, root, now) {
        Ok(None) => {}
        Ok(Some(swept)) => tracing::debug!(runs = swept.jobs.len(), bytes = swept.bytes, "old runs were taken out"),
        Err(error) => tracing::warn!(%error, "old runs could not be taken out of the history"),
    }
}

/// Whether the last time is a day ago. In a history without such a time it is the oldest run that counts: a new one has
/// nothing to take out.
///
/// # Errors
/// Why the store cannot be read.
pub fn is_due(reader: &Reader, now: jiff::Timestamp) -> Result<bool, StoreError> {
    let last = match reader.note(NOTE)? {
        Some(last) => Some(last),
        None => reader.oldest()?,
    };
    let last = last.and_then(|last| last.parse::<jiff::Timestamp>().ok());
    // A time that is yet to come was told by a clock that was ahead.
    let age = last.map(|last| Duration::try_from(now.duration_since(last)).unwrap_or(EVERY));
    Ok(age.is_none_or(|age| age >= EVERY))
}

/// A run that is taken out.
struct Doomed {
    job: String,
    began: jiff::Timestamp,
    /// The order in which runs were kept.
    kept: String,
    bytes: u64,
}

/// Where nobody has asked for it, it is to be quick.
fn sweep(
    (state, root): (&Path, &Path),
    keep: Keep,
    now: jiff::Timestamp,
    dry: bool,
    asked: bool,
) -> Result<Swept, StoreError> {
    let opened = if dry { schema::open_read(state)? } else { open(state)? };
    // Kept files are removed only when asked for, because then they are listed.
    let kept = root.join(REPLACED);
    let replaced = if asked { old_names(&kept, now, |_| keep.age()) } else { Vec::new() };
    let replaced = own(replaced, (state, root), opened.as_ref())?;
    let mut files = Vec::new();
    for run in &replaced {
        files.extend(list(&kept.join(run), &format!("{REPLACED}/{run}")));
        if !dry {
            remove_all(&kept.join(run))?;
        }
    }
    let (replaced, kept) = (replaced.len(), files);
    let Some((mut connection, path)) = opened else { return Ok(Swept { replaced, kept, ..Swept::default() }) };
    let sql = |error: rusqlite::Error| StoreError::sql(&path, &error);
    if asked {
        schema::look_through(&connection, &path, "quick_check")?;
    }
    let logs = state.join("logs");
    let strays = strays(&logs, &connection, keep, now).map_err(sql)?;
    let total = size_of(&logs) + used(&connection).map_err(sql)?;
    let mut doomed =
        choose(&connection, &logs, keep, now, (total, if asked { usize::MAX } else { UNASKED })).map_err(sql)?;
    if !dry {
        let spared = remove(&mut connection, &doomed, AT_ONCE).map_err(sql)?;
        doomed.retain(|run| !spared.contains(&run.job));
        forget_files(&mut connection, root).map_err(sql)?;
        notes::set(&connection, NOTE, &now.to_string()).map_err(sql)?;
        let dead = doomed.iter().map(|run| run.job.as_str()).chain(strays.iter().map(String::as_str));
        for job in dead {
            remove_all(&logs.join(job))?;
        }
        if asked && let Err(error) = shrink(&connection, state) {
            tracing::debug!(%error, "the history keeps its size");
        }
    }
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
    let gone = if dry { doomed.len() as u64 } else { 0 };
    let bytes = doomed.iter().map(|run| run.bytes).sum();
    Ok(Swept {
        newest: doomed.last().map(|run| run.began),
        bytes,
        size: total.saturating_sub(bytes),
        jobs: doomed.into_iter().map(|run| JobId::from_text(&run.job)).collect(),
        strays: strays.len(),
        replaced,
        kept,
        left: count("SELECT count(*) FROM runs").map_err(sql)?.saturating_sub(gone),
        held: count("SELECT count(DISTINCT job) FROM keys").map_err(sql)?,
    })
}

/// Opens the store for writing where there is one.
fn open(state: &Path) -> Result<Option<(Connection, std::path::PathBuf)>, StoreError> {
    if schema::is_there(state)? { schema::open_write(state).map(Some) } else { Ok(None) }
}

/// The runs that may go: first those that are too old and not among the newest, then all others, the oldest first. A job that
/// was ended while it waited has never begun. Those that could not begin are counted apart: they push out none that did something.
const MAY_GO: &str = "SELECT job, began, asked, began < ?1 AND place > ?2 AS old
    FROM (SELECT job, began, asked, state, row_number() OVER (PARTITION BY pipeline, state = 'FAILED' AND planned = 0 ORDER BY asked DESC, job DESC) AS place
          FROM (SELECT *, coalesce(started, asked) AS began FROM runs))
    WHERE state NOT IN ('RUNNING', 'NOT_STARTED') AND place > 1 AND job NOT IN (SELECT job FROM keys)
          AND job NOT IN (SELECT job FROM remote)
    ORDER BY old DESC, asked, job";

/// At most so many of those that go, the oldest first: those that are old, then others until it all is small enough. Only what
/// goes is measured.
fn choose(
    connection: &Connection,
    logs: &Path,
    keep: Keep,
    now: jiff::Timestamp,
    (mut total, most): (u64, usize),
) -> rusqlite::Result<Vec<Doomed>> {
    let oldest = time(now.checked_sub(keep.age()).unwrap_or(jiff::Timestamp::UNIX_EPOCH));
    let mut statement = connection.prepare(MAY_GO)?;
    let mut rows = statement.query(params![oldest, keep.runs])?;
    let mut doomed = Vec::new();
    while doomed.len() < most
        && let Some(row) = rows.next()?
        && (total > keep.bytes || row.get("old")?)
    {
        let (job, began): (String, String) = (row.get(0)?, row.get(1)?);
        let events = "SELECT coalesce(sum(octet_length(body)), 0) FROM events WHERE job = ?1";
        let events = connection.prepare_cached(events)?.query_row([&job], |row| row.get::<_, i64>(0))?;
        let bytes = events.cast_unsigned() + size_of(&logs.join(&job));
        total = total.saturating_sub(bytes);
        doomed.push(Doomed { job, began: began.parse().unwrap_or_default(), kept: row.get(2)?, bytes });
    }
    doomed.sort_by(|a, b| (&a.kept, &a.job).cmp(&(&b.kept, &b.job)));
    Ok(doomed)
}

/// Takes runs out of the history, so many rows in one transaction, and gives those that it spared. The row of a run goes last, and
/// its first events just before: what is left where this is cut short is taken out by the next one.
fn remove(connection: &mut Connection, runs: &[Doomed], at_once: usize) -> rusqlite::Result<HashSet<String>> {
    const PARTS: [&str; 2] = [
        "DELETE FROM steps WHERE job = ?1 AND step IN (SELECT step FROM steps WHERE job = ?1 LIMIT ?2)",
        "DELETE FROM events WHERE job = ?1 AND seq IN (SELECT seq FROM events WHERE job = ?1 ORDER BY seq DESC LIMIT ?2)",
    ];
    let (mut spared, mut runs) = (HashSet::new(), runs.iter().peekable());
    while runs.peek().is_some() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut room = at_once;
        while let Some(Doomed { job, .. }) = runs.peek().filter(|_| room > 0) {
            // A run may have become the last good one of a step since it was chosen: then it stays.
            let held = "SELECT 1 FROM keys WHERE job = ?1 UNION SELECT 1 FROM remote WHERE job = ?1";
            if transaction.prepare_cached(held)?.query_row([job], |_| Ok(())).optional()?.is_some() {
                spared.insert(job.clone());
                runs.next();
                continue;
            }
            for part in PARTS {
                room -=
                    transaction.prepare_cached(part)?.execute(params![job, i64::try_from(room).unwrap_or(i64::MAX)])?;
            }
            if room > 0 {
                room -= transaction.prepare_cached("DELETE FROM runs WHERE job = ?1")?.execute([job])?;
                runs.next();
            }
        }
        transaction.commit()?;
    }
    Ok(spared)
}

/// Forgets the digests of files that are not there any more. Of a file that another root has only the digest is lost: it is
/// read again.
fn forget_files(connection: &mut Connection, root: &Path) -> rusqlite::Result<()> {
    let gone: Vec<String> = {
        let mut statement = connection.prepare("SELECT path FROM digests")?;
        let paths = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let is_gone =
            |path: &String| root.join(path).symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        paths.into_iter().filter(is_gone).collect()
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for path in gone {
        transaction.prepare_cached("DELETE FROM digests WHERE path = ?1")?.execute([path])?;
    }
    transaction.commit()
}

/// Folders of logs whose run is in no history, and that are old enough for it not to be about to begin. Those of a history
/// that was moved aside stay as long as those of other runs.
fn strays(logs: &Path, connection: &Connection, keep: Keep, now: jiff::Timestamp) -> rusqlite::Result<Vec<String>> {
    let since = recover::since(connection)?;
    let most = |changed| if since.is_some_and(|since| changed <= since) { keep.age() } else { STRAY };
    let names: Vec<String> = old_names(logs, now, most);
    let known = jobs(connection)?;
    let mut strays: Vec<String> = names.into_iter().filter(|name| !known.contains(name)).collect();
    strays.sort();
    Ok(strays)
}

/// What lies in a folder and was changed longer ago than `most` says of that time, by name.
fn old_names(folder: &Path, now: jiff::Timestamp, most: impl Fn(jiff::Timestamp) -> Duration) -> Vec<String> {
    let old = std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
        let changed = jiff::Timestamp::try_from(entry.metadata().ok()?.modified().ok()?).ok()?;
        let age = Duration::try_from(now.duration_since(changed)).ok()?;
        (age > most(changed)).then(|| entry.file_name().into_string().ok())?
    });
    old.collect()
}

/// Of the runs that kept what their outputs replaced for too long those that are this state's to forget: all in its own root,
/// for nobody else does it. Elsewhere its own ones, for those of another state may lie beside them.
fn own(
    mut runs: Vec<String>,
    (state, root): (&Path, &Path),
    opened: Option<&(Connection, PathBuf)>,
) -> Result<Vec<String>, StoreError> {
    if runs.is_empty() || is_same(state, &root.join(OWN)) {
        return Ok(runs);
    }
    let Some((connection, path)) = opened else { return Ok(Vec::new()) };
    let known = jobs(connection).map_err(|error| StoreError::sql(path, &error))?;
    runs.retain(|run| known.contains(run));
    Ok(runs)
}

/// All runs that the history has.
fn jobs(connection: &Connection) -> rusqlite::Result<HashSet<String>> {
    connection.prepare("SELECT job FROM runs")?.query_map([], |row| row.get(0))?.collect()
}

fn remove_all(folder: &Path) -> Result<(), StoreError> {
    files::remove(folder).map_err(|error| StoreError::io(folder, &error))
}

/// The files below a folder, which is called `name`, with their sizes; an empty folder stands for itself.
fn list(folder: &Path, name: &str) -> Vec<(String, u64)> {
    let is_empty = |path: &Path| path.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    let mut found: Vec<_> = files::tree(folder).flatten().collect();
    found.retain(|(path, metadata)| !metadata.is_dir() || is_empty(path));
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let named = |(path, metadata): (PathBuf, std::fs::Metadata)| {
        let path = Path::new(name).join(path.strip_prefix(folder).unwrap_or(&path));
        if metadata.is_dir() {
            (format!("{}/", path.display().to_string().trim_end_matches('/')), 0)
        } else {
            (path.display().to_string(), metadata.len())
        }
    };
    found.into_iter().map(named).collect()
}

/// How many bytes the files below a folder have.
fn size_of(folder: &Path) -> u64 {
    files::tree(folder).flatten().filter(|(_, metadata)| !metadata.is_dir()).map(|(_, metadata)| metadata.len()).sum()
}

/// How many bytes of the database are in use.
fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT (page_count - freelist_count) * page_size
               FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// Gives what is not in use any more back to the system, if that is much and nobody works here who would have to wait for it.
fn shrink(connection: &Connection, state: &Path) -> rusqlite::Result<()> {
    let much = "SELECT freelist_count * 4 > page_count FROM pragma_freelist_count, pragma_page_count";
    if connection.query_row(much, [], |row| row.get(0))? && lock::held(state).is_empty() {
        connection.execute_batch("VACUUM")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
