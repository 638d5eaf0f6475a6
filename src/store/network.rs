//! Which file system a store lies on: on one that several machines share, what SQLite's log of writes needs of shared memory
//! is not there. Knows no tables.

use std::path::Path;

use crate::fault::fault;

/// How writes to the store are made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Journal {
    /// A log of writes beside it: many may read while one writes.
    Wal,
    /// A journal that is deleted with each commit, on a network file system of this name.
    Delete(&'static str),
}

impl Journal {
    /// What is right for a folder.
    pub(super) fn of(state: &Path) -> Self {
        if fault("network").is_err() {
            return Self::Delete("a test's");
        }
        network(state).map_or(Self::Wal, Self::Delete)
    }

    /// SQLite's word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Wal => "WAL",
            Self::Delete(_) => "DELETE",
        }
    }
}

/// The name of the network file system that a folder lies on, if it does.
#[cfg(target_os = "linux")]
fn network(folder: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    name(u64::try_from(kind).ok()?)
}

#[cfg(not(target_os = "linux"))]
fn network(_: &Path) -> Option<&'static str> {
    None
}

/// The name of a network file system by the number that Linux gives it, in `statfs(2)`.
#[cfg(any(target_os = "linux", test))]
fn name(kind: u64) -> Option<&'static str> {
    // A number of 32 bits with its highest one set may come with its sign.
    let name = match kind & 0xffff_ffff {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x0102_1997 => "9p",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x1983_0326 => "BeeGFS",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        _ => return None,
    };
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    #[test]
    fn network_file_systems_are_told_apart() {
        let local = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1, 0x6573_5546];
        assert_eq!(local.map(name), [None; 7], "ext4, XFS, btrfs, tmpfs, overlay, ZFS, FUSE");
        assert_eq!(name(0x6969), Some("NFS"));
        assert_eq!(name(0xff53_4d42), Some("SMB"));
        assert_eq!(name(0xffff_ffff_ff53_4d42), Some("SMB"));
        assert_eq!(name(0x0102_1997), Some("9p"));
        assert_eq!(Journal::of(tempfile::tempdir().unwrap().path()), Journal::Wal);
    }

    #[test]
    fn without_shared_memory_nothing_lies_beside_the_store() {
        let dir = tempfile::tempdir().unwrap();
        for journal in [Journal::Wal, Journal::Delete("NFS"), Journal::Wal] {
            let (connection, _) = schema::open_with(dir.path(), journal).unwrap();
            connection.execute_batch("INSERT OR REPLACE INTO notes VALUES ('x', 'y')").unwrap();
            assert_eq!(dir.path().join("kiln.db-wal").exists(), journal == Journal::Wal);
            assert_eq!(dir.path().join("kiln.db-shm").exists(), journal == Journal::Wal);
        }
    }

    /// Older ones may lose what was written when two connections tidy up their log of writes at once.
    #[test]
    fn the_sqlite_that_comes_with_it_keeps_what_is_written() {
        assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    }
}
