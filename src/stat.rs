//! The states of files and where they are mounted, as the system tells it.

use std::ffi::CStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat};

use crate::base::file::FileStat;

/// So many files are worth a thread.
const FOR_A_THREAD: usize = 512;

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

/// The state of the file at a path; links are followed.
pub(crate) fn state_of(path: &Path) -> io::Result<FileStat> {
    Ok(stat_of(&path.metadata()?))
}

/// The files below `root` that are not in the states that they were in, by their places. Looks on as many threads as that is
/// worth, `cores` at most; none if the root is not there.
pub(crate) fn changed(root: &Path, files: &[(&CStr, FileStat)], cores: u32) -> Option<Vec<usize>> {
    let root = File::open(root).ok()?;
    let look = |begin: usize, files: &[(&CStr, FileStat)]| {
        let (mut others, mut at, mut rest) = (Vec::new(), begin, files);
        while let Some((path, _)) = rest.first() {
            let folder = folder_of(path);
            let (neighbours, behind) = rest.split_at(rest.iter().take_while(|file| lies_in(file.0, folder)).count());
            others.extend(others_among(root.as_fd(), folder, neighbours).into_iter().map(|i| at + i));
            at += neighbours.len();
            rest = behind;
        }
        others
    };
    let share = files.len().div_ceil((cores as usize).min(files.len() / FOR_A_THREAD).max(1)).max(1);
    let mut chunks = files.chunks(share).enumerate().map(|(i, chunk)| (i * share, chunk));
    let (_, own) = chunks.next().unwrap_or_default();
    Some(std::thread::scope(|scope| {
        let threads: Vec<_> = chunks.map(|(begin, chunk)| scope.spawn(move || look(begin, chunk))).collect();
        let mut all = look(0, own);
        let join =
            |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        all.extend(threads.into_iter().flat_map(join));
        all
    }))
}

/// For so many files in one folder it is opened: then the system need not find it again for each of them.
const FOR_A_FOLDER: usize = 4;

/// The files of one folder that are not in the states that they were in, by their places.
fn others_among(root: BorrowedFd<'_>, folder: &[u8], files: &[(&CStr, FileStat)]) -> Vec<usize> {
    let open = || openat(root, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok();
    let opened = if folder.is_empty() || files.len() < FOR_A_FOLDER { None } else { open() };
    let is_other = |(path, then): &(&CStr, FileStat)| {
        let now = match &opened {
            Some(opened) => statat(opened, &path[folder.len()..], AtFlags::empty()),
            None => statat(root, *path, AtFlags::empty()),
        };
        !now.is_ok_and(|now| is_file(&now) && state(&now).as_ref() == Some(then))
    };
    files.iter().enumerate().filter(|(_, file)| is_other(file)).map(|(i, _)| i).collect()
}

/// The folder of a path, with the stroke behind it; empty for what lies in the root.
fn folder_of(path: &CStr) -> &[u8] {
    let path = path.to_bytes();
    &path[..path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1)]
}

/// Whether that is the folder of a path.
fn lies_in(path: &CStr, folder: &[u8]) -> bool {
    path.to_bytes().strip_prefix(folder).is_some_and(|name| !name.contains(&b'/'))
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_file()
}

/// The state of a file, where it can be told; what the fields are made of differs between systems.
fn state(stat: &Stat) -> Option<FileStat> {
    let ns = |secs: i128, ns: i128| i64::try_from(secs * 1_000_000_000 + ns).ok();
    Some(FileStat {
        size: u64::try_from(i128::from(stat.st_size)).ok()?,
        mtime_ns: ns(stat.st_mtime.into(), stat.st_mtime_nsec.into())?,
        ctime_ns: ns(stat.st_ctime.into(), stat.st_ctime_nsec.into())?,
        inode: stat.st_ino,
    })
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

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs;

    use super::*;

    #[test]
    fn changes_are_found_wherever_files_lie() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("many/deep")).unwrap();
        std::os::unix::fs::symlink("many", at("link")).unwrap();
        let names: Vec<_> = (0..6).map(|i| format!("many/{i}")).collect();
        let linked = names.iter().map(|name| name.replace("many", "link"));
        let paths: Vec<_> =
            ["a".to_owned(), "many/deep/b".to_owned()].into_iter().chain(names.clone()).chain(linked).collect();
        paths.iter().for_each(|path| fs::write(at(path), path).unwrap());
        let texts: Vec<_> = paths.iter().map(|path| CString::new(path.as_str()).unwrap()).collect();
        let files: Vec<_> =
            texts.iter().zip(&paths).map(|(text, path)| (text.as_c_str(), state_of(&at(path)).unwrap())).collect();
        let now = || {
            let changed = changed(root.path(), &files, 2).unwrap();
            changed.into_iter().map(|i| paths[i].as_str()).collect::<Vec<_>>()
        };
        assert_eq!(now(), [""; 0]);
        fs::remove_file(at("many/2")).unwrap();
        fs::write(at("many/4"), "anew").unwrap();
        fs::write(at("a"), "anew").unwrap();
        assert_eq!(now(), ["a", "many/2", "many/4", "link/2", "link/4"]);
        fs::remove_file(at("link")).unwrap();
        let linked: Vec<_> = (0..6).map(|i| format!("link/{i}")).collect();
        let here = ["a", "many/2", "many/4"].into_iter().chain(linked.iter().map(String::as_str));
        assert_eq!(now(), here.collect::<Vec<_>>());
    }
}
