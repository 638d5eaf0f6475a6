//! How what is remembered is written, and read again. Does not know what is remembered, or why.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::file::FileStat;
use crate::event::RunStarted;
use crate::session::cache::Answer;

/// A state of a file: size, both times and inode.
const STATE: usize = 4 * 8;

/// What is remembered besides files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The state of the pipeline's file.
    pub(super) file: FileStat,
    /// The digest of its text.
    pub(super) text: Digest,
    /// The mark of the last good builds.
    pub(super) mark: String,
    /// The variables that were read.
    pub(super) variables: Vec<Variable>,
    /// Whether the default shell has to be there.
    pub(super) shell: bool,
    /// The steps that have to be looked at closely each time.
    pub(super) closely: BTreeSet<String>,
    /// What the run began with.
    pub(super) started: RunStarted,
    /// What each run tells by the way.
    pub(super) note: Option<String>,
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
    bytes: Answer,
    /// Where in that their states stand, and then their paths, each with a zero byte behind it.
    from: usize,
}

impl Memo {
    /// The files below the root, each with its state.
    pub(super) fn files(&self) -> Option<Vec<(&CStr, FileStat)>> {
        let (states, mut paths) = self.bytes[self.from..].split_at_checked(self.count.checked_mul(STATE)?)?;
        let mut files = Vec::with_capacity(self.count);
        for state in states.chunks_exact(STATE) {
            let path = CStr::from_bytes_until_nul(paths).ok()?;
            paths = &paths[path.count_bytes() + 1..];
            files.push((path, from_bytes(state)?));
        }
        paths.is_empty().then_some(files)
    }
}

/// Files with their states: those of a memo, and what was seen of some since. A memo holds many, and few are seen.
#[derive(Clone, Default)]
pub(super) struct Files {
    then: Option<Arc<Memo>>,
    now: BTreeMap<String, FileStat>,
}

impl From<Memo> for Files {
    fn from(memo: Memo) -> Self {
        Self { then: Some(Arc::new(memo)), now: BTreeMap::new() }
    }
}

impl Files {
    /// Those that were seen.
    pub(super) fn of(seen: Vec<(String, FileStat)>) -> Self {
        Self { then: None, now: seen.into_iter().collect() }
    }

    /// With what was seen of some since.
    pub(super) fn with(&self, seen: &Self) -> Self {
        let mut all = self.clone();
        all.now.extend(seen.now.iter().map(|(path, state)| (path.clone(), *state)));
        all
    }

    /// All of them by their paths, in order.
    fn all(&self) -> Option<Vec<(&[u8], FileStat)>> {
        let then = self.then.as_ref().map_or_else(|| Some(Vec::new()), |memo| memo.files())?;
        let mut now = self.now.iter().map(|(path, state)| (path.as_bytes(), *state)).peekable();
        let mut all = Vec::with_capacity(then.len() + self.now.len());
        for (path, state) in then {
            let path = path.to_bytes();
            while let Some(seen) = now.next_if(|(seen, _)| *seen < path) {
                all.push(seen);
            }
            all.push(now.next_if(|(seen, _)| *seen == path).unwrap_or((path, state)));
        }
        all.extend(now);
        Some(all)
    }
}

/// The bytes of a memo; none where a path cannot be written.
pub(super) fn write(head: &Head, files: &Files) -> Option<Vec<u8>> {
    let (head, files) = (serde_json::to_vec(head).ok()?, files.all()?);
    let mut body = Vec::with_capacity(head.len() + files.len() * (STATE + 48) + 16);
    body.extend((head.len() as u64).to_le_bytes());
    body.extend((files.len() as u64).to_le_bytes());
    body.extend(head);
    for (_, state) in &files {
        let FileStat { size, mtime_ns, ctime_ns, inode } = *state;
        for field in [size, mtime_ns.cast_unsigned(), ctime_ns.cast_unsigned(), inode] {
            body.extend(field.to_le_bytes());
        }
    }
    for (path, _) in &files {
        if path.contains(&0) {
            return None;
        }
        body.extend(*path);
        body.push(0);
    }
    Some(body)
}

/// What the bytes of a memo say.
pub(super) fn read(bytes: Answer) -> Option<Memo> {
    let (length, rest) = number(&bytes)?;
    let (count, rest) = number(rest)?;
    let (head, rest) = rest.split_at_checked(length)?;
    let (head, from) = (serde_json::from_slice(head).ok()?, bytes.len() - rest.len());
    Some(Memo { head, count, bytes, from })
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
            exclude: Vec::new(),
            max_parallel: 2,
            by: "someone".to_owned(),
            pid: 7,
            host: "here".to_owned(),
            kiln: "1".to_owned(),
            again: "kiln run".to_owned(),
            keep_going: false,
            vars: Default::default(),
            steps: Vec::new(),
            up_to_date: 2,
            left: Vec::new(),
            put_back: Vec::new(),
            expected_ms: Some(0),
        };
        let variables = vec![Variable { name: "A".to_owned(), value: None }];
        let (mark, text, closely) = ("mark".to_owned(), Digest::of(b"text"), BTreeSet::from(["a".to_owned()]));
        Head { file, text, mark, variables, shell: true, closely, started, note: Some("note".to_owned()) }
    }

    fn files() -> Vec<(String, FileStat)> {
        let file = |path: &str, inode| (path.to_owned(), FileStat { inode, ..head().file });
        vec![file("a/ä", 1), file("b", 2)]
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = write(&head(), &Files::of(files())).unwrap();
        let memo = read(bytes.clone().into()).unwrap();
        assert_eq!(memo.head, head());
        let found = memo.files().unwrap();
        let found: Vec<_> = found.iter().map(|(path, state)| (path.to_str().unwrap(), *state)).collect();
        assert_eq!(found, [("a/ä", files()[0].1), ("b", files()[1].1)]);
        for length in 0..bytes.len() {
            let cut = read(bytes[..length].to_vec().into());
            assert!(cut.is_none_or(|memo| memo.files().is_none()), "cut at {length}");
        }
    }

    #[test]
    fn what_was_seen_since_takes_the_place_of_what_was_written() {
        let file = |path: &str, inode| (path.to_owned(), FileStat { inode, ..head().file });
        let then = Files::from(read(write(&head(), &Files::of(files())).unwrap().into()).unwrap());
        let now =
            then.with(&Files::of(vec![file("b", 9), file("a", 8)])).with(&Files::of(vec![file("c", 7), file("a", 6)]));
        let bytes = write(&head(), &now).unwrap();
        let memo = read(bytes.into()).unwrap();
        let found: Vec<_> =
            memo.files().unwrap().into_iter().map(|(path, state)| (path.to_owned(), state.inode)).collect();
        assert_eq!(found, [(c"a".into(), 6), (c"a/ä".into(), 1), (c"b".into(), 9), (c"c".into(), 7)]);
    }
}
