//! The state of a file, as the system tells it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::base::file::FileStat;

/// The state of the file that this is told of.
#[must_use]
pub fn stat_of(metadata: &Metadata) -> FileStat {
    let ns = |secs: i64, ns: i64| secs.saturating_mul(1_000_000_000).saturating_add(ns);
    FileStat {
        size: metadata.size(),
        mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    }
}
