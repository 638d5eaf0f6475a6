//! Who asked a run to end: a word beside the lock of its pipeline, left before the signal is sent, which tells nothing itself. It is
//! for one process only, so that none that was left for an earlier run counts. Knows neither signals nor runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::text::one_line;
use crate::process::Process;

/// A word is cut, in characters.
const WHO: usize = 100;

/// The word as it is kept.
#[derive(Serialize, Deserialize)]
struct Word {
    to: Process,
    who: String,
}

fn path(state: &Path, pipeline: &str) -> PathBuf {
    state.join("locks").join(format!("{pipeline}.asked"))
}

/// Leaves the word for the run of a pipeline in the process `to`: `by ana with kiln jobs abort`.
///
/// # Errors
/// Why it cannot be left: then only the signal is known.
pub fn leave(state: &Path, pipeline: &str, to: &Process, who: &str) -> io::Result<()> {
    let word = Word { to: to.clone(), who: one_line(who, WHO) };
    fs::write(path(state, pipeline), serde_json::to_vec(&word).map_err(io::Error::other)?)
}

/// The word that was left for this process, if there is one.
#[must_use]
pub fn word(state: &Path, pipeline: &str) -> Option<String> {
    let word: Word = serde_json::from_slice(&fs::read(path(state, pipeline)).ok()?).ok()?;
    (word.to == Process::this()).then_some(word.who)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_for_one_process() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("locks")).unwrap();
        assert_eq!(word(dir.path(), "p"), None);
        leave(dir.path(), "p", &Process::this(), "by ana\nwith kiln jobs abort").unwrap();
        assert_eq!(word(dir.path(), "p").as_deref(), Some("by ana with kiln jobs abort"));
        assert_eq!(word(dir.path(), "q"), None);
        let earlier = Process { began: Some(0), ..Process::this() };
        leave(dir.path(), "p", &earlier, "by ana").unwrap();
        assert_eq!(word(dir.path(), "p"), None);
    }
}
