//! What is remembered of a file, so that it need not be read again. Plain data; does not look at the disk.

use crate::base::digest::Digest;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The digest of a file's content, and the state that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// Its path relative to the root.
    pub path: String,
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

impl FileDigest {
    /// Whether a file that is in the state `now` still has this digest. A file that changed just before it was looked at
    /// may have changed once more within the same step of the clock, so its state proves nothing.
    #[must_use]
    pub fn holds_for(&self, now: &FileStat) -> bool {
        let settled = |time: i64| {
            let step = if time % SECOND_NS == 0 { 2 * SECOND_NS } else { STEP_NS };
            time < self.seen_ns.saturating_sub(step)
        };
        self.stat == *now && settled(now.mtime_ns) && settled(now.ctime_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_state_proves_nothing() {
        let stat = FileStat { size: 1, mtime_ns: 5 * SECOND_NS + 7, ctime_ns: 5 * SECOND_NS + 7, inode: 3 };
        let seen = |seen_ns| FileDigest { path: "a".to_owned(), stat, digest: Digest::of(b""), seen_ns };
        assert!(!seen(5 * SECOND_NS + 8).holds_for(&stat));
        assert!(seen(6 * SECOND_NS).holds_for(&stat));
        assert!(!seen(6 * SECOND_NS).holds_for(&FileStat { inode: 4, ..stat }));
        let whole = FileStat { mtime_ns: 5 * SECOND_NS, ..stat };
        let seen = FileDigest { stat: whole, ..seen(6 * SECOND_NS) };
        assert!(!seen.holds_for(&whole), "a file system with whole seconds has longer steps");
    }
}
