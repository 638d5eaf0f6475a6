//! Moves and removes files and folders, also such as their owner has made read-only, and follows links. Knows nothing of what they are for.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, RenameFlags, openat, renameat_with, statat, syncfs, unlinkat,
};
use rustix::io::Errno;

use crate::base::digest::Digest;
use crate::base::text::nearest;
use crate::fault::fault;
use crate::stat::{Standing, standing};

/// What an owner needs to move a folder, and to look at it.
const OWN: u32 = 0o600;

/// How a folder is opened that is to be emptied.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder that may be written to for now, and its mode.
struct Opened(File, Permissions);

impl Opened {
    /// None where it is no folder, or may be written to anyway, or is another one's.
    fn new(path: &Path) -> Option<Self> {
        let metadata = path.symlink_metadata().ok()?;
        let mode = metadata.permissions().mode();
        if !metadata.is_dir() || mode & OWN == OWN {
            return None;
        }
        fs::set_permissions(path, Permissions::from_mode(mode | OWN)).ok()?;
        Some(Self(File::open(path).ok()?, metadata.permissions()))
    }
}

/// Moves paths. A folder has where it lies written in itself: one that may not be written to may for so long.
fn moving(paths: &[&Path], go: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let Err(error) = go() else { return Ok(()) };
    if error.kind() != ErrorKind::PermissionDenied {
        return Err(error);
    }
    let opened: Vec<_> = paths.iter().filter_map(|path| Opened::new(path)).collect();
    if opened.is_empty() {
        return Err(error);
    }
    let moved = go();
    // Wherever it lies now.
    let closed = opened.into_iter().try_for_each(|Opened(folder, mode)| folder.set_permissions(mode));
    moved.and(closed)
}

/// Renames a path, in place of a file that is there. A folder of which that cannot be done, such as one in a lower layer of what is
/// mounted there, is copied and then removed: it stands as a whole at one of the two whenever that is cut short.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match moving(&[from], || fs::rename(from, to)) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices && from.is_dir() && !from.is_symlink() => {
            copy_over(from, to)?;
            // On a disk without room not even that can be done to its end.
            remove(from).map_err(|error| match complete(to, from).and_then(|()| remove(to)) {
                Ok(()) => error,
                Err(_) => io::Error::other(format!("{error}; all of {} is in {}", from.display(), to.display())),
            })
        }
        moved => moved,
    }
}

/// Copies back from a whole folder what another one lacks that was the same.
fn complete(whole: &Path, part: &Path) -> io::Result<()> {
    for entry in tree(whole) {
        let (path, metadata) = entry?;
        let to = path.strip_prefix(whole).map_or_else(|_| part.to_owned(), |below| part.join(below));
        if to.symlink_metadata().is_err() {
            copy_one(&path, &metadata, &to)?;
        }
    }
    Ok(())
}

/// Copies a folder durably, to where nothing is to be seen of it before it is whole.
fn copy_over(from: &Path, to: &Path) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(Digest::of(to.as_os_str().as_bytes()).to_string());
    let part = to.with_file_name(name);
    remove(&part)?;
    let whole = copy(from, &part).and_then(|()| Ok(syncfs(File::open(&part)?)?));
    let there = whole.and_then(|()| moving(&[&part], || fs::rename(&part, to)));
    there.inspect_err(|_| drop(remove(&part)))
}

/// Copies a file or a folder with all that is in it. There must be nothing at `to`. What is neither, nor a link, may have no end.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut folders = Vec::new();
    for entry in tree(from) {
        let (path, metadata) = entry?;
        let to = match path.strip_prefix(from) {
            Ok(below) if !below.as_os_str().is_empty() => to.join(below),
            Ok(_) | Err(_) => to.to_owned(),
        };
        copy_one(&path, &metadata, &to)?;
        if metadata.is_dir() {
            folders.push((to, metadata.permissions()));
        }
    }
    // Nothing is put into a folder any more that may not be written to then.
    folders.into_iter().rev().try_for_each(|(folder, permissions)| fs::set_permissions(folder, permissions))
}

/// Copies a file, a link, or a folder without what is in it.
fn copy_one(from: &Path, metadata: &fs::Metadata, to: &Path) -> io::Result<()> {
    if metadata.is_symlink() {
        symlink(fs::read_link(from)?, to)
    } else if metadata.is_dir() {
        fs::create_dir(to)
    } else if metadata.is_file() {
        fs::copy(from, to).map(|_| ())
    } else {
        Err(io::Error::other(format!("{} is neither a file nor a folder", from.display())))
    }
}

/// Swaps two paths in one step; where the file system cannot, in three, with what stood at `to` at `aside` for a moment.
pub(crate) fn exchange(from: &Path, to: &Path, aside: &Path) -> io::Result<()> {
    moving(&[from, to], || match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::XDEV) => swap_in_three(from, to, aside),
        Err(error) => Err(error.into()),
    })
}

fn swap_in_three(from: &Path, to: &Path, aside: &Path) -> io::Result<()> {
    if !end_swap(aside, to)? {
        return Err(io::Error::new(ErrorKind::AlreadyExists, format!("{} is in the way", aside.display())));
    }
    rename(to, aside)?;
    if let Err(error) = fs::rename(from, to) {
        fs::rename(aside, to)?;
        return Err(error);
    }
    // Whoever is told that it failed takes it that nothing was done.
    fault("swap.third").and_then(|()| fs::rename(aside, from)).or_else(|error| {
        fs::rename(to, from)?;
        fs::rename(aside, to)?;
        Err(error)
    })
}

/// Ends a swap that was cut short: what stood at `to` goes back there from `aside`, where it may be the only copy. Says whether
/// that is over: nothing is done where something stands at `to`.
pub(crate) fn end_swap(aside: &Path, to: &Path) -> io::Result<bool> {
    if to.symlink_metadata().is_ok() {
        return Ok(aside.symlink_metadata().is_err());
    }
    match rename(aside, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(true),
    }
}

/// Removes whatever is at `path`; nothing there is fine. Folders that a recipe made read-only are no obstacle; what is mounted
/// there or below is: nothing of it is removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let all = || match remove_folder(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            make_writable(path)?;
            remove_folder(path)
        }
        result => result,
    };
    let result = match standing(path) {
        Ok(Standing { is_mounted: true, .. }) => Err(is_mounted(path)),
        Ok(Standing { is_folder: true, .. }) => all(),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_mounted(path: &Path) -> io::Error {
    io::Error::other(format!("{} is not removed, for something is mounted there", path.display()))
}

fn remove_folder(path: &Path) -> io::Result<()> {
    empty(rustix::fs::open(path, FOLDER, Mode::empty())?, path)?;
    fs::remove_dir(path)
}

/// Removes all that is in a folder. Whatever is done to that meanwhile, nothing is removed that lies elsewhere.
fn empty(folder: OwnedFd, path: &Path) -> io::Result<()> {
    let mut path = path.to_owned();
    // Each folder that is open, with its name in the one before.
    let mut open = vec![(Dir::new(folder)?, CString::default())];
    while let Some((entries, _)) = open.last_mut() {
        if let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            path.push(OsStr::from_bytes(name.to_bytes()));
            match remove_entry(entries.fd()?, &entry, &path) {
                Ok(Some(below)) => {
                    open.push((Dir::new(below)?, name.to_owned()));
                    continue;
                }
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(None) | Err(_) => {}
            }
        } else {
            let emptied = open.pop();
            if let Some(((_, name), (above, _))) = emptied.zip(open.last()) {
                match unlinkat(above.fd()?, name, AtFlags::REMOVEDIR) {
                    Err(error) if error != Errno::NOENT => return Err(error.into()),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        path.pop();
    }
    Ok(())
}

/// Removes an entry of a folder, or opens it where it is a folder itself.
fn remove_entry(folder: BorrowedFd<'_>, entry: &DirEntry, path: &Path) -> io::Result<Option<OwnedFd>> {
    let name = entry.file_name();
    let mut kind = entry.file_type();
    if kind == FileType::Unknown {
        kind = FileType::from_raw_mode(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
    }
    if !kind.is_dir() {
        unlinkat(folder, name, AtFlags::empty())?;
        return Ok(None);
    }
    match below(folder, name) {
        Err(Errno::XDEV) => Err(is_mounted(path)),
        below => Ok(Some(below?)),
    }
}

/// Opens a folder that lies in another one, and nothing that is mounted there. Older systems do not tell that.
#[cfg(target_os = "linux")]
fn below(folder: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat2(folder, name, FOLDER, Mode::empty(), rustix::fs::ResolveFlags::NO_XDEV) {
        Err(Errno::NOSYS | Errno::PERM) => openat(folder, name, FOLDER, Mode::empty()),
        opened => opened,
    }
}

/// Opens a folder that lies in another one.
#[cfg(not(target_os = "linux"))]
fn below(folder: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(folder, name, FOLDER, Mode::empty())
}

/// A file of so many bytes is no secret, key or certificate.
pub(crate) const SHORT: u64 = 1 << 20;

/// What is in a file that people name, and that is short. To read a pipe is to wait for whoever writes to it, a device may have no end:
/// only a file is read, wherever links lead to it.
pub(crate) fn read_short(path: &Path) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt;
    let refuse_other = |metadata: fs::Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is no regular file")),
    };
    refuse_other(fs::metadata(path)?)?;
    // It may be another one by now.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    refuse_other(file.metadata()?)?;
    let mut found = Vec::new();
    file.take(SHORT + 1).read_to_end(&mut found)?;
    if found.len() as u64 > SHORT {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(found)
}

/// What lies beside a path at which there is nothing, and is called most alike. Its numbers are the same: files of a series differ in nothing
/// else.
pub(crate) fn alike(root: &Path, path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let digits = |name: &str| name.chars().filter(char::is_ascii_digit).collect::<String>();
    let wanted = digits(name);
    let entries = fs::read_dir(root.join(folder)).ok()?.take(MANY);
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: Vec<String> = names.filter(|other| digits(other) == wanted && !other.starts_with('.')).collect();
    let near = nearest(name, names.iter().map(String::as_str))?;
    Some(if folder.is_empty() { near.to_owned() } else { format!("{folder}/{near}") })
}

/// So many files of a folder are looked at for a name.
const MANY: usize = 10_000;
/// For so many paths at most one that is like them is looked for: nobody reads more.
pub(crate) const LOOKED_FOR: usize = 20;

/// Whether it is a folder with nothing in it.
pub(crate) fn is_empty_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
        && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn make_writable(folder: &Path) -> io::Result<()> {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o700))?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && !standing(&entry.path())?.is_mounted {
                open.push(entry.path());
            }
        }
    }
    Ok(())
}

/// A file, or a folder with all that is in it, each folder before what is in it. No link is followed. Folders may lie deeper in one
/// another than a stack is.
pub(crate) fn tree(path: &Path) -> impl Iterator<Item = io::Result<(PathBuf, fs::Metadata)>> {
    let mut open = vec![Ok(path.to_owned())];
    std::iter::from_fn(move || {
        let path = open.pop()?;
        Some(path.and_then(|path: PathBuf| {
            let metadata = path.symlink_metadata()?;
            if metadata.is_dir() {
                open.extend(fs::read_dir(&path)?.map(|entry| Ok(entry?.path())));
            }
            Ok((path, metadata))
        }))
    })
}

/// So many links lead to one another at most, as the system has it.
const LINKS: usize = 40;

/// A path with all links followed, also where they lead to what is not there yet; none where they lead in a circle.
pub(crate) fn real(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let there = path.ancestors().find(|above| above.symlink_metadata().is_ok())?;
        let rest = path.strip_prefix(there).ok()?;
        let to = match there.canonicalize() {
            Ok(real) if rest.as_os_str().is_empty() => return Some(real),
            Ok(real) => return Some(real.join(rest)),
            // A link that is named with a slash behind it would be followed when it is looked for.
            Err(_) => there.parent()?.join(there.read_link().ok()?).join(rest).components().collect(),
        };
        path = to;
    }
    None
}

#[cfg(test)]
mod tests {
    use rustix::fs::mknodat;

    use super::*;

    /// A folder with a file for each of these texts, in folders of these names.
    fn folders(all: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in all {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("file"), text).unwrap();
        }
        dir
    }

    /// What is in each of the three folders of a swap.
    fn found(dir: &Path) -> [Option<String>; 3] {
        ["from", "to", "aside"].map(|name| fs::read_to_string(dir.join(name).join("file")).ok())
    }

    fn swap(dir: &Path) -> io::Result<()> {
        swap_in_three(&dir.join("from"), &dir.join("to"), &dir.join("aside"))
    }

    #[test]
    fn of_a_folder_that_could_not_be_moved_away_all_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("whole/in/deep")).unwrap();
        fs::write(at("whole/in/deep/f"), "f").unwrap();
        fs::write(at("whole/g"), "g").unwrap();
        symlink("g", at("whole/link")).unwrap();
        fs::create_dir(at("part")).unwrap();
        fs::write(at("part/g"), "own").unwrap();
        complete(&at("whole"), &at("part")).unwrap();
        let read = |path: &str| fs::read_to_string(at(path)).unwrap();
        assert_eq!(["part/in/deep/f", "part/g", "part/link"].map(read), ["f", "own", "own"]);
    }

    #[test]
    fn a_swap_in_three_leaves_the_old_where_the_new_was() {
        let dir = folders(&[("from", "new"), ("to", "old")]);
        swap(dir.path()).unwrap();
        let swapped = [Some("old"), Some("new"), None].map(|text| text.map(str::to_owned));
        assert_eq!(found(dir.path()), swapped);
    }

    #[test]
    fn what_another_swap_has_left_is_not_written_over() {
        let dir = folders(&[("from", "new"), ("to", "theirs"), ("aside", "old")]);
        let all = [Some("new"), Some("theirs"), Some("old")].map(|text| text.map(str::to_owned));
        assert_eq!(swap(dir.path()).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(found(dir.path()), all);
        assert!(!end_swap(&dir.path().join("aside"), &dir.path().join("to")).unwrap());
        assert_eq!(found(dir.path()), all);
    }

    #[test]
    fn a_swap_that_fails_leaves_the_old_where_it_was() {
        let dir = folders(&[("to", "old")]);
        assert_eq!(swap(dir.path()).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(found(dir.path()), [None, Some("old".to_owned()), None]);
    }

    #[test]
    fn all_that_is_in_a_folder_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("a/empty")).unwrap();
        fs::write(at("a/file"), "x").unwrap();
        symlink("file", at("a/link")).unwrap();
        symlink("nowhere", at("a/empty/link")).unwrap();
        fs::set_permissions(at("a/file"), Permissions::from_mode(0o755)).unwrap();
        copy(&at("a"), &at("b")).unwrap();
        let all = |path: &str| {
            let whole = at(path);
            let entry = |(path, metadata): (PathBuf, fs::Metadata)| {
                let link = fs::read_link(&path).ok();
                let text = if link.is_none() { fs::read(&path).ok() } else { None };
                (path.strip_prefix(&whole).unwrap().to_owned(), metadata.permissions().mode(), link, text)
            };
            let mut all: Vec<_> = tree(&at(path)).map(|found| entry(found.unwrap())).collect();
            all.sort();
            all
        };
        assert_eq!((all("a").len(), all("a")), (5, all("b")));
        // Nobody will ever write to it.
        mknodat(CWD, at("a/pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let error = copy(&at("a"), &at("c")).unwrap_err().to_string();
        assert!(error.ends_with("/a/pipe is neither a file nor a folder"), "{error}");
    }

    #[test]
    fn whatever_is_there_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("d/in/deep")).unwrap();
        (0..100).for_each(|n| fs::write(at(&format!("d/in/{n}")), "x").unwrap());
        fs::create_dir(at("other")).unwrap();
        fs::write(at("other/f"), "x").unwrap();
        std::os::unix::fs::symlink("../other", at("d/link")).unwrap();
        fs::set_permissions(at("d/in"), Permissions::from_mode(0o000)).unwrap();
        std::os::unix::fs::symlink("other", at("link")).unwrap();
        for path in ["d", "link", "none", "none/below"] {
            remove(&at(path)).unwrap();
            assert!(at(path).symlink_metadata().is_err(), "{path}");
        }
        assert!(at("other/f").exists(), "no link is followed");
        remove(&at("other/f")).unwrap();
        assert!(is_empty_folder(&at("other")));
    }

    #[test]
    fn after_a_swap_that_was_cut_short_nothing_is_lost() {
        let dir = folders(&[("from", "new"), ("aside", "old")]);
        assert!(end_swap(&dir.path().join("aside"), &dir.path().join("to")).unwrap());
        assert_eq!(found(dir.path()), [Some("new"), Some("old"), None].map(|text| text.map(str::to_owned)));
        // Nor by the next swap.
        let dir = folders(&[("from", "new"), ("aside", "old")]);
        swap(dir.path()).unwrap();
        assert_eq!(found(dir.path()), [Some("old"), Some("new"), None].map(|text| text.map(str::to_owned)));
    }
}
