//! What is remembered of a file, so that it need not be read again. Plain data; does not look at the disk.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    /// Its size in bytes.
    pub size: u64,
    /// When its content changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When its content or its inode changed, in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Its inode.
    pub inode: u64,
}

impl FileStat {
    /// A state that no file has: it is that of nothing that is found.
    pub const NONE: Self = Self { size: 0, mtime_ns: 0, ctime_ns: 0, inode: 0 };
}

/// The digest of a file's content, and the state that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// Its path relative to the root.
    pub path: String,
    /// What was seen of it.
    pub seen: Seen,
}

/// What is remembered of files, by path relative to the root.
pub type Memory = HashMap<String, Seen, rustc_hash::FxBuildHasher>;

/// Where it is kept what was seen of files that were read before.
pub trait Remembered: Send + Sync {
    /// What was seen of one.
    fn one(&self, path: &str) -> Option<Seen>;

    /// What was seen of all.
    fn all(&self) -> Memory;
}

impl Remembered for Memory {
    fn one(&self, path: &str) -> Option<Seen> {
        self.get(path).copied()
    }

    fn all(&self) -> Memory {
        self.clone()
    }
}

/// What was seen of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its state before it was read.
    pub stat: FileStat,
    /// The digest of its content.
    pub digest: Digest,
    /// When the state was taken, in nanoseconds since 1970.
    pub seen_ns: i64,
}

/// File systems give times in steps: a file that changes again within one keeps its time.
const STEP_NS: i64 = 20_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// How long the step is that a file's time may be off by.
fn step(time: i64) -> i64 {
    if time % SECOND_NS == 0 { 2 * SECOND_NS } else { STEP_NS }
}

impl FileStat {
    /// Whether nobody has written to it, nor put another file in its place, since it was in the state `before`. A change of `ctime_ns`
    /// alone is no proof of either: a hard link that is made or removed, as whoever takes snapshots does, `chmod` and a move change that
    /// too. Who writes and then sets the old time again is not found out.
    #[must_use]
    pub fn is_unwritten(&self, before: &Self) -> bool {
        (self.size, self.mtime_ns, self.inode) == (before.size, before.mtime_ns, before.inode)
    }

    /// Whether it was written, or put in the place of another file, at a time or later, as far as the clock of the file system tells:
    /// it was in the state `before`. Of the same file of the same size `mtime_ns` is when, for links change `ctime_ns` too; what is
    /// put in its place may be as old as it likes.
    #[must_use]
    pub fn is_written_since(&self, before: &Self, time_ns: i64) -> bool {
        let same = (self.size, self.inode) == (before.size, before.inode);
        let at = if same { self.mtime_ns } else { self.ctime_ns };
        !self.is_unwritten(before) && at >= time_ns.saturating_sub(step(at))
    }

    /// When Kiln itself moved a file that it had digested in the state `before`: the time from which on its state proves
    /// what it is. It was written well before it was moved, so whoever writes to it later gives it another time.
    #[must_use]
    pub fn settled_by_move(&self, before: &Self) -> Option<i64> {
        let well_before = self.mtime_ns < self.ctime_ns.saturating_sub(step(self.mtime_ns).max(step(self.ctime_ns)));
        (self.is_unwritten(before) && well_before).then(|| self.ctime_ns.saturating_add(3 * SECOND_NS))
    }
}

impl Seen {
    /// Whether a file that is in the state `now` still has this digest. A file that changed just before it was looked at
    /// may have changed once more within the same step of the clock, so its state proves nothing.
    #[must_use]
    pub fn holds_for(&self, now: &FileStat) -> bool {
        let settled = |time: i64| time < self.seen_ns.saturating_sub(step(time));
        self.stat == *now && settled(now.mtime_ns) && settled(now.ctime_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_state_proves_nothing() {
        let stat = FileStat { size: 1, mtime_ns: 5 * SECOND_NS + 7, ctime_ns: 5 * SECOND_NS + 7, inode: 3 };
        let seen = |seen_ns| Seen { stat, digest: Digest::of(b""), seen_ns };
        assert!(!seen(5 * SECOND_NS + 8).holds_for(&stat));
        assert!(seen(6 * SECOND_NS).holds_for(&stat));
        assert!(!seen(6 * SECOND_NS).holds_for(&FileStat { inode: 4, ..stat }));
        let whole = FileStat { mtime_ns: 5 * SECOND_NS, ..stat };
        let seen = Seen { stat: whole, ..seen(6 * SECOND_NS) };
        assert!(!seen.holds_for(&whole), "a file system with whole seconds has longer steps");
    }

    #[test]
    fn a_move_settles_what_was_written_well_before_it() {
        let before = FileStat { size: 1, mtime_ns: 5 * SECOND_NS + 7, ctime_ns: 5 * SECOND_NS + 7, inode: 3 };
        let moved = |ns| FileStat { ctime_ns: before.ctime_ns + ns, ..before };
        let after = moved(2 * STEP_NS);
        let seen_ns = after.settled_by_move(&before).unwrap();
        let entry = Seen { stat: after, digest: Digest::of(b""), seen_ns };
        assert!(entry.holds_for(&after));
        assert_eq!(moved(STEP_NS / 2).settled_by_move(&before), None, "it may change within the same step");
        assert_eq!(FileStat { inode: 4, ..after }.settled_by_move(&before), None, "another file");
        assert_eq!(FileStat { mtime_ns: after.ctime_ns, ..after }.settled_by_move(&before), None, "it was changed");
    }
}
