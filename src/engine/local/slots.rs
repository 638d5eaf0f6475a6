//! The folders that steps write into, handed on from step to step where nothing was left in them: to make a folder, or to name
//! one anew, takes a file system longer than to write a file. Knows no steps.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, Dir, Mode, OFlags, fstat, openat, stat};

/// The folders of one attempt: relative to the root, all but the ends of their names.
#[derive(Debug)]
pub(crate) struct Slot(String);

impl Slot {
    /// The folder of output number `i`.
    pub(crate) fn folder(&self, i: usize) -> String {
        format!("{}-{i}", self.0)
    }
}

/// The slots of a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    made: AtomicUsize,
    /// Folders that are there and empty, relative to the root: each the first of its slot.
    free: Mutex<Vec<String>>,
}

impl Slots {
    /// A slot below the folder of a run, which is relative to the root.
    pub(crate) fn take(&self, run: &str) -> Slot {
        let mut free = self.lock();
        while let Some(folder) = free.pop() {
            // What other runs have left is no slot of this one.
            if let Some(slot) =
                folder.strip_suffix("-0").filter(|_| Path::new(&folder).parent() == Some(Path::new(run)))
            {
                return Slot(slot.to_owned());
            }
        }
        Slot(format!("{run}/{}", self.made.fetch_add(1, Ordering::Relaxed)))
    }

    /// Keeps the only folder of a slot, relative to the root, if it is as it was made: what ran there may have made anything
    /// of it.
    pub(crate) fn keep(&self, root: &Path, folder: &str) -> bool {
        let keep = folder.ends_with("-0") && is_as_new(&root.join(folder)).unwrap_or(false);
        if keep {
            self.lock().push(folder.to_owned());
        }
        keep
    }

    /// Gives away all that are free, relative to the root.
    pub(crate) fn all(&self) -> Vec<String> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        // Nothing is half done where this could panic.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a folder is none behind a link, empty, and as free to be used as the one that it lies in.
fn is_as_new(folder: &Path) -> rustix::io::Result<bool> {
    let opened = openat(CWD, folder, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let (own, run) = (fstat(&opened)?, stat(folder.parent().unwrap_or(folder))?);
    let is_dots = |name: &[u8]| name == b"." || name == b"..";
    let is_alike = (own.st_mode, own.st_uid, own.st_gid) == (run.st_mode, run.st_uid, run.st_gid);
    Ok(is_alike && Dir::new(opened)?.all(|entry| entry.is_ok_and(|entry| is_dots(entry.file_name().to_bytes()))))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_an_empty_folder_is_handed_on_and_only_within_its_run() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let slots = Slots::default();
        let (one, two) = (slots.take("run").folder(0), slots.take("run").folder(0));
        assert_eq!((one.as_str(), two.as_str()), ("run/0-0", "run/1-0"));
        assert!(!slots.keep(root, &one), "it was never made");
        fs::create_dir_all(root.join(&one)).unwrap();
        fs::create_dir_all(root.join(&two).join("left")).unwrap();
        assert!(slots.keep(root, &one) && !slots.keep(root, &two));
        assert_eq!(slots.take("run").folder(1), "run/0-1", "the slot is free again");
        assert_eq!(slots.take("run").folder(0), "run/2-0", "it is taken once");
        fs::create_dir_all(root.join("run/2-1")).unwrap();
        assert!(!slots.keep(root, "run/2-1"), "not that of a second output");
        assert!(slots.keep(root, &one));
        assert_eq!(slots.take("other").folder(0), "other/3-0");
        assert!(slots.keep(root, &one));
        assert_eq!(slots.all(), [one]);
        assert!(slots.all().is_empty());
    }

    #[test]
    fn what_a_step_made_something_else_of_is_not_handed_on() {
        let dir = tempfile::tempdir().unwrap();
        let (root, slots) = (dir.path(), Slots::default());
        let folder = |name: &str| root.join("run").join(name);
        fs::create_dir_all(folder("0-0")).unwrap();
        assert!(slots.keep(root, "run/0-0"));
        fs::set_permissions(folder("0-0"), PermissionsExt::from_mode(0o500)).unwrap();
        assert!(!slots.keep(root, "run/0-0"), "nothing could be written there");
        fs::create_dir(root.join("elsewhere")).unwrap();
        symlink(root.join("elsewhere"), folder("1-0")).unwrap();
        assert!(!slots.keep(root, "run/1-0"), "it leads elsewhere");
        fs::write(folder("2-0"), "").unwrap();
        assert!(!slots.keep(root, "run/2-0"), "it is a file");
    }
}
