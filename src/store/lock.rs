//! The lock of a pipeline: held by the kernel for as long as its run lives, whatever becomes of the process. Whether the
//! file exists means nothing.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::{Process, all};

/// Who holds a lock. It names itself to people, and to whoever wants a lock that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Holder {
    /// A process.
    Process {
        /// Which one.
        process: Process,
        /// The machine that it is one of.
        host: String,
        /// When it took the lock, for people.
        since: String,
    },
    /// What an older version has written there.
    Words(String),
}

impl Holder {
    /// This process.
    #[must_use]
    pub fn here(since: &str) -> Self {
        Self::Process { process: Process::this(), host: host(), since: since.to_owned() }
    }

    /// What stands in the file of a lock. What may follow for a moment is left of a longer line that stood there before.
    fn of(text: &str) -> Self {
        let line = text.lines().next().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|_| Self::Words(line.to_owned()))
    }

    /// Whether it was a process of this machine that is not there any more.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Process { process, host: named, .. } => *named == host() && !process.lives(),
            Self::Words(_) => false,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { process, host, since } => write!(f, "process {} on {host}, since {since}", process.pid),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// The lock of one pipeline. Dropping it frees it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Someone holds it: who, for people.
    Held(String),
    /// The file cannot be used.
    Io(io::Error),
}

/// The lock of who has runs waiting for their turn. No pipeline has this name.
pub const QUEUE: &str = "serve-queue";

/// What a run that died has left is waited for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The folder of all that is about runs that go on.
pub(super) fn folder(state: &Path) -> PathBuf {
    state.join("locks")
}

/// The file with this ending that is about the run of a pipeline.
pub(crate) fn beside(state: &Path, pipeline: &str, ending: &str) -> PathBuf {
    folder(state).join(format!("{pipeline}.{ending}"))
}

fn path(state: &Path, pipeline: &str) -> PathBuf {
    beside(state, pipeline, "lock")
}

impl Lock {
    /// Takes the lock of a pipeline and writes into it who has it.
    ///
    /// # Errors
    /// Who holds it, or why it cannot be taken.
    pub fn take(state: &Path, pipeline: &str, holder: &Holder) -> Result<Self, LockError> {
        Self::take_within(state, pipeline, holder, PATIENCE)
    }

    /// As [`Lock::take`], and waits for nothing that a run which died has left.
    ///
    /// # Errors
    /// Who holds it, or why it cannot be taken.
    pub fn take_now(state: &Path, pipeline: &str, holder: &Holder) -> Result<Self, LockError> {
        Self::take_within(state, pipeline, holder, Duration::ZERO)
    }

    fn take_within(state: &Path, pipeline: &str, holder: &Holder, patience: Duration) -> Result<Self, LockError> {
        let path = path(state, pipeline);
        let open = || {
            std::fs::create_dir_all(path.parent().unwrap_or(state))?;
            File::options().read(true).write(true).create(true).truncate(false).open(&path)
        };
        let mut file = open().map_err(LockError::Io)?;
        while let Err(error) = file.try_lock() {
            match (error, file.try_lock_shared()) {
                // Only someone who asks whether it is held stands in the way, and only for a moment.
                (TryLockError::WouldBlock, Ok(())) => file.unlock().map_err(LockError::Io)?,
                (TryLockError::WouldBlock, Err(TryLockError::WouldBlock)) => {
                    let holder = told(&file).map_err(LockError::Io)?;
                    if !holder.is_gone() {
                        return Err(LockError::Held(holder.to_string()));
                    }
                    outwait(&file, &holder, patience)?;
                    break;
                }
                (TryLockError::Error(error), _) | (_, Err(TryLockError::Error(error))) => {
                    return Err(LockError::Io(error));
                }
            }
        }
        let tell = |file: &mut File| {
            file.rewind()?;
            let text = serde_json::to_string(holder).map_err(io::Error::other)? + "\n";
            file.write_all(text.as_bytes())?;
            // What is mostly as long as what stood there needs no other room on the disk.
            file.set_len(text.len() as u64)
        };
        tell(&mut file).map_err(LockError::Io)?;
        Ok(Self { file })
    }

    /// Whether its file is still the one that others look at.
    #[must_use]
    pub fn stands(&self, state: &Path, pipeline: &str) -> bool {
        let file = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let there = std::fs::metadata(path(state, pipeline)).map(file);
        self.file.metadata().map(file).ok() == there.ok()
    }

    /// Another hold on the same lock, for another process: the lock is free once all of them are gone.
    ///
    /// # Errors
    /// What the system says.
    pub fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }
}

/// Waits for the guardian of a run that died, which still ends what that had started: mostly that takes a moment.
fn outwait(file: &File, holder: &Holder, patience: Duration) -> Result<(), LockError> {
    let not_yet = || LockError::Held(format!("{holder}, has died, but what it had started does not end"));
    if patience.is_zero() {
        return Err(not_yet());
    }
    tracing::info!(%holder, "waiting until nothing is left of a run that died");
    let (tell, told) = channel();
    // The lock is that of the file, whichever handle of it asked.
    let own = file.try_clone().map_err(LockError::Io)?;
    let asks = std::thread::Builder::new().name("kiln-lock".to_owned());
    asks.spawn(move || drop(tell.send(own.lock()))).map_err(LockError::Io)?;
    match told.recv_timeout(patience) {
        Ok(locked) => locked.map_err(LockError::Io),
        Err(_) => Err(not_yet()),
    }
}

/// This process, as who takes a lock now.
#[must_use]
pub fn here_now() -> Holder {
    Holder::here(&crate::clock::now().strftime("%F %T UTC").to_string())
}

/// The name of this machine.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Waits until nobody holds the lock of a pipeline.
///
/// # Errors
/// What the system says.
pub fn wait_for(state: &Path, pipeline: &str) -> io::Result<()> {
    File::options().read(true).open(path(state, pipeline))?.lock_shared()
}

/// Who holds the lock of a pipeline, or held it last.
#[must_use]
pub fn holder(state: &Path, pipeline: &str) -> Option<Holder> {
    told(&File::open(path(state, pipeline)).ok()?).ok()
}

/// The same, for people; nothing where nobody has said so.
#[must_use]
pub fn holder_words(state: &Path, pipeline: &str) -> String {
    holder(state, pipeline).map(|holder| holder.to_string()).unwrap_or_default()
}

fn told(mut file: &File) -> io::Result<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Holder::of(&text))
}

/// The names of what has ever gone on with a state.
pub(super) fn names(state: &Path) -> impl Iterator<Item = String> {
    let files = std::fs::read_dir(folder(state)).into_iter().flatten().flatten();
    let names = files.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".lock")?.to_owned()));
    names.filter(|name| !name.starts_with('.'))
}

/// The names of what goes on with a state, in their order.
#[must_use]
pub(crate) fn held(state: &Path) -> Vec<String> {
    let mut held: Vec<String> = names(state).filter(|name| is_held(state, name)).collect();
    held.sort();
    held
}

/// Whether a run of the pipeline goes on.
#[must_use]
pub fn is_held(state: &Path, pipeline: &str) -> bool {
    let file = File::options().read(true).open(path(state, pipeline));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The processes that hold the lock of a pipeline, as far as the system tells: a run, its guardian, and nobody who only waits.
#[must_use]
pub(crate) fn held_by(state: &Path, pipeline: &str) -> Vec<Process> {
    let Ok(lock) = std::fs::metadata(path(state, pipeline)) else { return Vec::new() };
    let is_lock = |file: std::fs::Metadata| (file.dev(), file.ino()) == (lock.dev(), lock.ino());
    let holds = |pid: i32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        // The system tells of a lock only where it is held by that very handle.
        let told =
            |fd: &Path| std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.display())).unwrap_or_default();
        open.filter(|fd| std::fs::metadata(fd.path()).is_ok_and(is_lock))
            .any(|fd| told(Path::new(&fd.file_name())).lines().any(|line| line.starts_with("lock:")))
    };
    all().iter().map(|look| Process::at(look.pid)).filter(|process| holds(process.pid)).collect()
}

#[cfg(test)]
mod tests {
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    fn holder(process: Process) -> Holder {
        Holder::Process { process, host: host(), since: "then".to_owned() }
    }

    #[test]
    fn holders_that_are_gone_are_known() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        // It has ended, and its parent has not asked how yet.
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        let gone = holder(Process::at(pid.as_raw_nonzero().get()));
        assert!(gone.is_gone());
        child.wait().unwrap();
        assert!(gone.is_gone());
        assert!(!Holder::here("now").is_gone());
        let of_another = Process { began: Some(0), ..Process::this() };
        assert!(holder(of_another.clone()).is_gone(), "its number was given to another one");
        let elsewhere = Holder::Process { process: of_another, host: "elsewhere".to_owned(), since: String::new() };
        assert!(!elsewhere.is_gone());
    }

    #[test]
    fn what_an_older_version_wrote_is_read() {
        let words = "process 7 on here, since 2026-11-23 12:00:00 UTC";
        let older = Holder::of(&format!("{words}\nand a rest"));
        assert_eq!((older.to_string().as_str(), older.is_gone()), (words, false));
        let now = Holder::here("now");
        assert_eq!(Holder::of(&serde_json::to_string(&now).unwrap()), now);
        assert_eq!(Holder::of("").to_string(), "");
    }

    #[test]
    fn what_does_not_end_of_a_run_that_died_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let gone = holder(Process { began: Some(0), ..Process::this() });
        let guardian = Lock::take(dir.path(), "p", &gone).unwrap();
        match Lock::take_within(dir.path(), "p", &Holder::here("now"), Duration::ZERO) {
            Err(LockError::Held(holder)) => {
                assert_eq!(holder, format!("{gone}, has died, but what it had started does not end"));
            }
            other => panic!("{other:?}"),
        }
        let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let mut names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        assert!(!names.any(|name| name.trim() == "kiln-lock"), "a thread waits that nobody waits for");
        drop(guardian);
        Lock::take(dir.path(), "p", &Holder::here("now")).unwrap();
    }

    #[test]
    fn one_holds_it_and_the_next_is_told_who() {
        let dir = tempfile::tempdir().unwrap();
        let take = |name, since| Lock::take(dir.path(), name, &Holder::here(since));
        assert!(!is_held(dir.path(), "p"));
        let first = take("p", "then").unwrap();
        assert!(is_held(dir.path(), "p"));
        match take("p", "now") {
            Err(LockError::Held(holder)) => assert_eq!(holder, Holder::here("then").to_string()),
            other => panic!("{other:?}"),
        }
        take("q", "now").unwrap();
        drop(first);
        assert!(!is_held(dir.path(), "p"));
        take("p", "now").unwrap();
    }
}
