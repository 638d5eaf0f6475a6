//! The last word of a run that could not tell the history how it ended, as where the disk was full: it is written over room that
//! was made before. Does not know when a run says one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::job::{JobId, JobState};
use crate::base::text::one_line;
use crate::cause::Cause;
use crate::store::lock;

/// How a run ended that could not tell the store.
#[derive(Clone, Debug, PartialEq)]
pub struct LastWord {
    /// Where it stands.
    pub state: JobState,
    /// Why.
    pub because: Cause,
    /// When it ended.
    pub at: jiff::Timestamp,
}

/// How a run ended, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    job: JobId,
    state: JobState,
    why: String,
    at: jiff::Timestamp,
}

/// So many bytes are kept for it: one block of any disk.
const ROOM: usize = 1024;
/// A cause is cut, in characters, so that it fits however it is written.
const WHY: usize = 100;

fn path(state: &Path, pipeline: &str) -> PathBuf {
    lock::beside(state, pipeline, "end")
}

/// Makes room for the last word of the runs of a pipeline, as long as there is some. The caller holds its lock.
///
/// # Errors
/// Why there is none.
pub fn make_room(state: &Path, pipeline: &str) -> io::Result<()> {
    let path = path(state, pipeline);
    if path.metadata().is_ok_and(|file| file.len() >= ROOM as u64) {
        return Ok(());
    }
    fs::write(&path, [b' '; ROOM])
}

/// Says how a run ended. The caller holds the lock of its pipeline.
///
/// # Errors
/// Why that cannot be kept either.
pub fn say(state: &Path, pipeline: &str, job: &JobId, word: &LastWord) -> io::Result<()> {
    let why = one_line(&word.because.to_string(), WHY);
    let kept = Kept { job: job.clone(), state: word.state, why, at: word.at };
    let mut text = serde_json::to_vec(&kept).map_err(io::Error::other)?;
    text.resize(text.len().max(ROOM), b' ');
    // Nothing is cut off first: where nothing is free, what was there is all that there is.
    let mut file = File::options().write(true).open(path(state, pipeline))?;
    file.write_all(&text)?;
    file.sync_data()
}

/// The last word of a run, if it said one.
#[must_use]
pub fn said(state: &Path, pipeline: &str, job: &JobId) -> Option<LastWord> {
    let kept: Kept = serde_json::from_slice(&fs::read(path(state, pipeline)).ok()?).ok()?;
    let Kept { job: of, state, why, at } = kept;
    (of == *job).then_some(LastWord { state, because: Cause::Unkept { why }, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_a_run_is_that_of_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (JobId::from_text("one"), JobId::from_text("other"));
        let unkept = |why: &str| Cause::Unkept { why: why.to_owned() };
        let word =
            |why: &str| LastWord { state: JobState::Failed, because: unkept(why), at: jiff::Timestamp::UNIX_EPOCH };
        fs::create_dir(dir.path().join("locks")).unwrap();
        assert!(say(dir.path(), "p", &one, &word("x")).is_err(), "no room was made");
        make_room(dir.path(), "p").unwrap();
        assert_eq!(said(dir.path(), "p", &one), None);
        say(dir.path(), "p", &one, &word(&"\"\u{1F600}".repeat(4_000))).unwrap();
        assert_eq!(path(dir.path(), "p").metadata().unwrap().len(), ROOM as u64);
        assert!(said(dir.path(), "p", &one).unwrap().because.to_string().ends_with('…'));
        // What is there already needs no more room, and is written over.
        make_room(dir.path(), "p").unwrap();
        say(dir.path(), "p", &other, &word("the disk is full")).unwrap();
        assert_eq!(said(dir.path(), "p", &one), None);
        assert_eq!(said(dir.path(), "p", &other), Some(word("the disk is full")));
        assert_eq!(said(dir.path(), "q", &other), None);
    }
}
