//! Moves and removes files and folders, also such as their owner has made read-only. Knows nothing of what they are for.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// What an owner needs to move a folder, and to look at it.
const OWN: u32 = 0o600;

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

/// Renames a path, in place of a file that is there.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    moving(&[from], || fs::rename(from, to))
}

/// Swaps two paths in one step; where the file system cannot, in three, with what stood at `to` at `aside` for a moment.
pub(crate) fn exchange(from: &Path, to: &Path, aside: &Path) -> io::Result<()> {
    moving(&[from, to], || match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => swap_in_three(from, to, aside),
        Err(error) => Err(error.into()),
    })
}

fn swap_in_three(from: &Path, to: &Path, aside: &Path) -> io::Result<()> {
    if !end_swap(aside, to)? {
        return Err(io::Error::new(ErrorKind::AlreadyExists, format!("{} is in the way", aside.display())));
    }
    fs::rename(to, aside)?;
    if let Err(error) = fs::rename(from, to) {
        fs::rename(aside, to)?;
        return Err(error);
    }
    fs::rename(aside, from)
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

/// Removes whatever is at `path`; nothing there is fine. Folders that a recipe made read-only are no obstacle.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let all = |path: &Path| match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        result => result,
    };
    let result = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether it is a folder with nothing in it.
pub(crate) fn is_empty_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
        && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn make_writable(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, PermissionsExt::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
