//! How what is remembered is written to a file, and read again. What is damaged, or an answer to another question, is as if
//! it were not there. Does not know what is remembered, or why.

use std::ffi::CStr;

use serde::{Deserialize, Serialize};

use crate::base::digest::{Digest, HEX};
use crate::base::file::{FileDigest, FileStat};
use crate::event::RunStarted;

/// The format; another one is not read.
const MAGIC: &[u8] = b"kiln memo 1\n";
/// A state of a file: size, both times and inode.
const STATE: usize = 4 * 8;

/// What is remembered besides files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The state of the pipeline's file.
    pub(super) file: FileStat,
    /// The mark of the last good builds.
    pub(super) mark: String,
    /// The variables that were read.
    pub(super) variables: Vec<Variable>,
    /// Whether the default shell has to be there.
    pub(super) shell: bool,
    /// What the run began with.
    pub(super) started: RunStarted,
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Variable {
    pub(super) name: String,
    /// The digest of its value; none where it is not set.
    pub(super) value: Option<Digest>,
}

/// What is remembered.
pub(super) struct Memo {
    pub(super) head: Head,
    /// How many files.
    count: usize,
    /// Their states, and then their paths, each with a zero byte behind it.
    bytes: Vec<u8>,
}

impl Memo {
    /// The files below the root, each with its state.
    pub(super) fn files(&self) -> Option<Vec<(&CStr, FileStat)>> {
        let (states, mut paths) = self.bytes.split_at_checked(self.count.checked_mul(STATE)?)?;
        let mut files = Vec::with_capacity(self.count);
        for state in states.chunks_exact(STATE) {
            let path = CStr::from_bytes_until_nul(paths).ok()?;
            paths = &paths[path.count_bytes() + 1..];
            files.push((path, from_bytes(state)?));
        }
        paths.is_empty().then_some(files)
    }
}

/// The bytes of a file; none where a path cannot be written.
pub(super) fn write(key: Digest, head: &Head, files: &[FileDigest]) -> Option<Vec<u8>> {
    let head = serde_json::to_vec(head).ok()?;
    let mut body = Vec::with_capacity(head.len() + files.len() * (STATE + 48) + 16);
    body.extend((head.len() as u64).to_le_bytes());
    body.extend((files.len() as u64).to_le_bytes());
    body.extend(head);
    for file in files {
        let FileStat { size, mtime_ns, ctime_ns, inode } = file.seen.stat;
        for field in [size, mtime_ns.cast_unsigned(), ctime_ns.cast_unsigned(), inode] {
            body.extend(field.to_le_bytes());
        }
    }
    for file in files {
        if file.path.contains('\0') {
            return None;
        }
        body.extend(file.path.as_bytes());
        body.push(0);
    }
    Some([MAGIC, key.to_string().as_bytes(), Digest::of(&body).to_string().as_bytes(), &body].concat())
}

/// What the bytes of a file say, if they are whole and answer the question.
pub(super) fn read(mut bytes: Vec<u8>, key: Digest) -> Option<Memo> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(key.to_string().as_bytes())?;
    let (checksum, body) = rest.split_at_checked(HEX)?;
    if checksum != Digest::of(body).to_string().as_bytes() {
        return None;
    }
    let (length, rest) = number(body)?;
    let (count, rest) = number(rest)?;
    let (head, rest) = rest.split_at_checked(length)?;
    let (head, rest) = (serde_json::from_slice(head).ok()?, rest.len());
    bytes.drain(..bytes.len() - rest);
    Some(Memo { head, count, bytes })
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u64::from_le_bytes(*number)).ok()?, rest))
}

fn from_bytes(bytes: &[u8]) -> Option<FileStat> {
    let field = |i: usize| bytes.get(i * 8..)?.first_chunk().map(|field| u64::from_le_bytes(*field));
    let (mtime_ns, ctime_ns) = (field(1)?.cast_signed(), field(2)?.cast_signed());
    Some(FileStat { size: field(0)?, mtime_ns, ctime_ns, inode: field(3)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::file::Seen;
    use crate::base::job::{BuildMode, Schedule};

    fn head() -> Head {
        let file = FileStat { size: 1, mtime_ns: -2, ctime_ns: 3, inode: u64::MAX };
        let started = RunStarted {
            pipeline: "p".to_owned(),
            project: "P".to_owned(),
            file: "pipeline.toml".to_owned(),
            engine: "local".to_owned(),
            mode: BuildMode::Smart,
            schedule: Schedule::Eager,
            targets: vec!["a".to_owned()],
            max_parallel: 2,
            by: "someone".to_owned(),
            pid: 7,
            host: "here".to_owned(),
            kiln: "1".to_owned(),
            again: "kiln run".to_owned(),
            steps: Vec::new(),
            up_to_date: 2,
            expected_ms: Some(0),
        };
        let variables = vec![Variable { name: "A".to_owned(), value: None }];
        Head { file, mark: "mark".to_owned(), variables, shell: true, started }
    }

    fn files() -> Vec<FileDigest> {
        let file = |path: &str, inode| {
            let stat = FileStat { inode, ..head().file };
            FileDigest { path: path.to_owned(), seen: Seen { stat, digest: Digest::of(b""), seen_ns: 0 } }
        };
        vec![file("a/ä", 1), file("b", 2)]
    }

    #[test]
    fn what_is_written_is_read() {
        let key = Digest::of(b"question");
        let bytes = write(key, &head(), &files()).unwrap();
        let memo = read(bytes.clone(), key).unwrap();
        assert_eq!(memo.head, head());
        let found = memo.files().unwrap();
        let found: Vec<_> = found.iter().map(|(path, state)| (path.to_str().unwrap(), *state)).collect();
        assert_eq!(found, [("a/ä", files()[0].seen.stat), ("b", files()[1].seen.stat)]);
        assert!(read(bytes, Digest::of(b"another question")).is_none());
    }

    #[test]
    fn what_is_damaged_is_not_there() {
        let key = Digest::of(b"question");
        let bytes = write(key, &head(), &files()).unwrap();
        for length in 0..bytes.len() {
            assert!(read(bytes[..length].to_vec(), key).is_none(), "cut at {length}");
        }
        for i in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[i] ^= 4;
            assert!(read(bytes, key).is_none(), "another byte {i}");
        }
        assert!(read([bytes, vec![0]].concat(), key).is_none(), "more than there was");
    }
}
