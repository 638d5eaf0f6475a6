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

/// What stands at a path itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) is_folder: bool,
    pub(crate) is_link: bool,
    /// Whether something is mounted just there: it cannot be moved, and what is in it is not of this place.
    pub(crate) is_mounted: bool,
}

/// What stands at a path, in one call of the system.
#[cfg(target_os = "linux")]
pub(crate) fn standing(path: &Path) -> io::Result<Standing> {
    use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags, statx};
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) {
        Ok(found) => {
            let kind = FileType::from_raw_mode(found.stx_mode.into());
            let is_mounted = found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
            Ok(Standing { is_folder: kind.is_dir(), is_link: kind.is_symlink(), is_mounted })
        }
        Err(rustix::io::Errno::NOSYS) => standing_of_old(path),
        Err(error) => Err(error.into()),
    }
}

/// What stands at a path.
#[cfg(not(target_os = "linux"))]
pub(crate) fn standing(path: &Path) -> io::Result<Standing> {
    standing_of_old(path)
}

/// The same where the system does not tell what is mounted.
fn standing_of_old(path: &Path) -> io::Result<Standing> {
    let metadata = path.symlink_metadata()?;
    Ok(Standing { is_folder: metadata.is_dir(), is_link: metadata.is_symlink(), is_mounted: false })
}
