//! The state of a file and where it is mounted, as the system tells it.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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

/// A file system, and the mount by which it is reached: nothing can be renamed from one mount to another, although both be of
/// one file system. Older systems tell no mounts.
pub(crate) type Mount = (u64, u64);

/// The mount that a path leads to.
#[cfg(target_os = "linux")]
pub(crate) fn mount_of(path: &Path) -> io::Result<Mount> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
    match statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID) {
        Ok(found) => Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_mnt_id)),
        Err(rustix::io::Errno::NOSYS) => Ok((path.metadata()?.dev(), 0)),
        Err(error) => Err(error.into()),
    }
}

/// The mount that a path leads to.
#[cfg(not(target_os = "linux"))]
pub(crate) fn mount_of(path: &Path) -> io::Result<Mount> {
    Ok((path.metadata()?.dev(), 0))
}
