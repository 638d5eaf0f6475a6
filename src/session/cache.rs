//! What is kept beside the state because it saves time: files below `.kiln/cache`, each the answer to one question. What is
//! damaged, or answers another question, is as if it were not there. Does not know what is kept.

use std::fs;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::base::digest::{Digest, HEX};
use crate::base::file::FileStat;
use crate::stat::state_of;

/// The folder, below that of the state.
const FOLDER: &str = "cache";
/// The format; another one is not read.
const MAGIC: &[u8] = b"kiln cache 1\n";

/// One kind of what is kept.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// The end of the names of its files.
    pub(super) ending: &'static str,
    /// So many of them are kept.
    pub(super) kept: usize,
}

impl Kind {
    fn path(self, state: &Path, question: Digest) -> PathBuf {
        state.join(FOLDER).join(format!("{}{}", &question.to_string()[..32], self.ending))
    }

    /// The answer to a question, where it is kept, behind something else in a file's bytes.
    pub(super) fn recall(self, state: &Path, question: Digest) -> Option<Answer> {
        open(fs::read(self.path(state, question)).ok()?, question)
    }

    /// Keeps the answer to a question. That this fails is no failure of anything.
    pub(super) fn keep(self, state: &Path, question: Digest, answer: &[u8]) {
        match self.write(state, question, answer) {
            Ok(()) => tracing::debug!(bytes = answer.len(), kind = self.ending, "kept for the next time"),
            Err(error) => tracing::debug!(%error, kind = self.ending, "nothing is kept"),
        }
    }

    fn write(self, state: &Path, question: Digest, answer: &[u8]) -> io::Result<()> {
        let folder = state.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let new = folder.join(format!("{}.new", std::process::id()));
        fs::write(&new, seal(question, answer))?;
        fs::rename(&new, self.path(state, question))?;
        self.forget_old(&folder)
    }

    /// Removes all but the newest.
    fn forget_old(self, folder: &Path) -> io::Result<()> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if !path.to_string_lossy().ends_with(self.ending) {
                continue;
            }
            all.push((fs::symlink_metadata(&path)?.modified()?, path));
        }
        all.sort();
        all.iter().rev().skip(self.kept).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

/// An answer that was kept.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    from: usize,
}

impl From<Vec<u8>> for Answer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, from: 0 }
    }
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for Answer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.from..]
    }
}

/// Which program this is: one that was built anew may understand a file otherwise.
pub(super) fn program() -> Option<FileStat> {
    state_of(Path::new("/proc/self/exe")).ok()
}

fn seal(question: Digest, answer: &[u8]) -> Vec<u8> {
    [MAGIC, question.to_string().as_bytes(), Digest::of(answer).to_string().as_bytes(), answer].concat()
}

fn open(bytes: Vec<u8>, question: Digest) -> Option<Answer> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(question.to_string().as_bytes())?;
    let (checksum, answer) = rest.split_at_checked(HEX)?;
    if checksum != Digest::of(answer).to_string().as_bytes() {
        return None;
    }
    let from = bytes.len() - answer.len();
    Some(Answer { bytes, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { ending: ".test", kept: 2 };

    #[test]
    fn what_is_kept_answers_its_question() {
        let state = tempfile::tempdir().unwrap();
        let question = Digest::of(b"question");
        assert_eq!(KIND.recall(state.path(), question), None);
        KIND.keep(state.path(), question, b"answer");
        assert_eq!(KIND.recall(state.path(), question).as_deref(), Some(&b"answer"[..]));
        assert_eq!(KIND.recall(state.path(), Digest::of(b"another")), None);
        KIND.keep(state.path(), question, b"");
        assert_eq!(KIND.recall(state.path(), question).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn so_many_are_kept() {
        let state = tempfile::tempdir().unwrap();
        for word in ["a", "b", "c", "d"] {
            KIND.keep(state.path(), Digest::of(word.as_bytes()), b"answer");
        }
        assert_eq!(fs::read_dir(state.path().join(FOLDER)).unwrap().count(), 2);
    }

    #[test]
    fn what_is_damaged_is_not_there() {
        let question = Digest::of(b"question");
        let bytes = seal(question, b"answer");
        for length in 0..bytes.len() {
            assert!(open(bytes[..length].to_vec(), question).is_none(), "cut at {length}");
        }
        for i in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[i] ^= 4;
            assert!(open(bytes, question).is_none(), "another byte {i}");
        }
        assert!(open([bytes, vec![0]].concat(), question).is_none(), "more than there was");
    }
}
