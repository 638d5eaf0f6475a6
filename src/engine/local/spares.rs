//! Empty folders of steps that are over, for steps that begin: where many folders were removed just now, a file system takes
//! long to make new ones. Knows no steps.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// The folder of the one output of a step, in the folder of the step.
const ONLY: &str = "0";
/// More are never wanted at a time.
const MOST: usize = 64;

/// The folders of steps that wait.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    folders: Mutex<Vec<PathBuf>>,
}

impl Spares {
    /// Keeps the folder of a step, if it holds nothing but the empty folder of one output.
    pub(crate) fn keep(&self, step: &Path) -> bool {
        let bare = only(step).is_ok_and(|only| only) && is_empty(&step.join(ONLY)).unwrap_or(false);
        let mut folders = self.lock();
        let keep = bare && folders.len() < MOST;
        if keep {
            folders.push(step.to_owned());
        }
        keep
    }

    /// Makes the folder of the first output of a step of one that was kept, if there is one and nothing is there yet.
    pub(crate) fn take(&self, output: &Path) -> bool {
        let Some(step) = output.parent().filter(|_| output.file_name() == Some(OsStr::new(ONLY))) else { return false };
        let mut folders = self.lock();
        if let Some(own) = folders.iter().position(|folder| folder == step) {
            folders.swap_remove(own);
            return true;
        }
        let free = |spare: &PathBuf| renameat_with(CWD, spare, CWD, step, RenameFlags::NOREPLACE).is_ok();
        let taken = folders.last().is_some_and(free);
        if taken {
            folders.pop();
        }
        taken
    }

    /// Gives all away, each with the folder that it is in.
    pub(crate) fn all(&self) -> Vec<(PathBuf, PathBuf)> {
        let folders = std::mem::take(&mut *self.lock());
        folders.into_iter().map(|folder| (folder.parent().unwrap_or(&folder).to_owned(), folder)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        // Nothing is half done where this could panic.
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the folder of the one output is all that is there.
fn only(step: &Path) -> io::Result<bool> {
    let mut names = fs::read_dir(step)?;
    let first = names.next().transpose()?;
    Ok(first.is_some_and(|first| first.file_name() == ONLY) && names.next().is_none())
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_folder_is_kept_and_taken() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let spares = Spares::default();
        assert!(!spares.take(&at("a/0")), "there is none");
        for (step, more) in [("a", "a/0/rest"), ("b", "b/1"), ("c", "c/0/in/more")] {
            fs::create_dir_all(at(step).join("0")).unwrap();
            fs::create_dir_all(at(more)).unwrap();
            assert!(!spares.keep(&at(step)), "{more}");
        }
        assert!(!spares.keep(&at("nowhere")));
        fs::create_dir_all(at("d/0")).unwrap();
        assert!(spares.keep(&at("d")));
        assert!(!spares.take(&at("a/0")), "something is there");
        assert!(!spares.take(&at("e/1")), "not for a second output");
        assert!(spares.take(&at("e/0")));
        assert!(at("e/0").is_dir() && !at("d").exists());
        assert!(spares.keep(&at("e")) && spares.take(&at("e/0")), "a step that is tried again");
        assert!(spares.keep(&at("e")));
        assert_eq!(spares.all(), [(dir.path().to_owned(), at("e"))]);
        assert!(spares.all().is_empty());
    }
}
