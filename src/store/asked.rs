//! Who asked a run to end: a word beside the lock of its pipeline, left before the signal is sent, which tells nothing itself. It is
//! for one process only, so that none that was left for an earlier run counts. Knows neither signals nor runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::process::Process;
use crate::store::lock;

/// The word as it is kept.
#[derive(Serialize, Deserialize)]
struct Word {
    to: Process,
    cause: Cause,
}

fn path(state: &Path, pipeline: &str) -> PathBuf {
    lock::beside(state, pipeline, "asked")
}

/// Leaves the word for the run of a pipeline in the process `to`.
///
/// # Errors
/// Why it cannot be left: then only the signal is known.
pub fn leave(state: &Path, pipeline: &str, to: &Process, cause: Cause) -> io::Result<()> {
    let word = Word { to: to.clone(), cause };
    fs::write(path(state, pipeline), serde_json::to_vec(&word).map_err(io::Error::other)?)
}

/// Takes the word that was left for this process, if there is one. The caller holds the lock of the pipeline: one that is for another
/// process is of no use any more.
#[must_use]
pub fn take(state: &Path, pipeline: &str) -> Option<Cause> {
    let path = path(state, pipeline);
    let word = fs::read(&path).ok()?;
    if let Err(error) = fs::remove_file(&path) {
        tracing::debug!(%error, "the word of who ends the run stays");
    }
    let word: Word = serde_json::from_slice(&word).ok()?;
    (word.to == Process::this()).then_some(word.cause)
}

/// Takes the word back that was left for a process that has ended: it ended by itself.
pub fn take_back(state: &Path, pipeline: &str, to: &Process) {
    let path = path(state, pipeline);
    let word: Option<Word> = fs::read(&path).ok().and_then(|word| serde_json::from_slice(&word).ok());
    if word.is_some_and(|word| word.to == *to) {
        drop(fs::remove_file(&path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::Way;

    #[test]
    fn a_word_is_for_one_process() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("locks")).unwrap();
        assert_eq!(take(dir.path(), "p"), None);
        let by_ana = Cause::Asked { by: Some("ana".to_owned()), with: Way::JobsAbort };
        leave(dir.path(), "p", &Process::this(), by_ana.clone()).unwrap();
        assert_eq!(take(dir.path(), "p"), Some(by_ana.clone()));
        assert_eq!(take(dir.path(), "p"), None, "it was taken");
        let earlier = Process { began: Some(0), ..Process::this() };
        leave(dir.path(), "p", &earlier, by_ana.clone()).unwrap();
        assert_eq!(take(dir.path(), "p"), None);
        leave(dir.path(), "p", &Process::this(), by_ana.clone()).unwrap();
        take_back(dir.path(), "p", &earlier);
        assert_eq!(take(dir.path(), "p"), Some(by_ana.clone()), "it is for another process");
        leave(dir.path(), "p", &earlier, by_ana).unwrap();
        take_back(dir.path(), "p", &earlier);
        assert!(!path(dir.path(), "p").exists());
    }
}
