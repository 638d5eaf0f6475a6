//! The folders that steps write into, handed on from step to step where nothing was left in them: to make a folder, or to name
//! one anew, takes a file system longer than to write a file. Knows no steps.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

    /// Keeps the only folder of a slot, relative to the root, if nothing is in it.
    pub(crate) fn keep(&self, root: &Path, folder: &str) -> bool {
        let keep = folder.ends_with("-0") && is_empty(&root.join(folder)).unwrap_or(false);
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

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

#[cfg(test)]
mod tests {
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
}
