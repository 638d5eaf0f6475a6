//! Moves and removes files and folders, also such as their owner has made read-only. Knows nothing of what they are for.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

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

/// Swaps two paths in one step; where the file system cannot, in two.
pub(crate) fn exchange(from: &Path, to: &Path) -> io::Result<()> {
    moving(&[from, to], || match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            let old = from.with_extension("kiln-old");
            fs::rename(to, &old)?;
            fs::rename(from, to)
        }
        Err(error) => Err(error.into()),
    })
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
