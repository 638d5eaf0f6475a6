//! What attempts leave in the staging folder and beside outputs, and how it goes. Does not know what it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::job::JobId;
use crate::engine::local::places::leads_inside;
use crate::engine::local::staging::Staging;
use crate::fault::fault;
use crate::files::remove;

impl Staging {
    /// Removes a folder in which nothing is needed any more. One that cannot be removed is told and gets a hidden name, under which
    /// it is in nobody's way: a step may have left there what belongs to another user.
    pub(super) fn discard(&self, folder: &Path) -> io::Result<()> {
        let Err(error) = fault("discard").and_then(|()| remove(folder)) else { return Ok(()) };
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let left = folder.with_file_name(format!(".{name}"));
        if fs::rename(folder, &left).is_err() {
            return Err(io::Error::new(error.kind(), format!("{} cannot be removed: {error}", folder.display())));
        }
        let shown = left.strip_prefix(&self.root).unwrap_or(&left).display();
        self.tell(format!(
            "{shown}: what a step left there cannot be removed ({error}); it is in nobody's way: remove it yourself"
        ));
        Ok(())
    }
}

/// The file of a run with what lies beside the outputs of a step and is of no use once that is over.
fn note(run: &Path, step: &str) -> PathBuf {
    run.join(format!("{NOTE}{step}.json"))
}

/// How such a file is called. No folder is called so.
const NOTE: &str = "beside-";

impl Staging {
    /// Notes what a step has beside its outputs, by paths relative to the root, so that it is removed whatever becomes of this run.
    pub(super) fn note_beside(&self, job: &JobId, step: &str, paths: &[String]) -> io::Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let run = self.root.join(self.run_of(job));
        fs::create_dir_all(&run)?;
        fs::write(note(&run, step), serde_json::to_vec(paths)?)
    }

    /// Removes what a step had beside its outputs. Of what cannot be removed it stays noted.
    pub(super) fn remove_beside(&self, job: &JobId, step: &str) {
        let run = self.root.join(self.run_of(job));
        self.remove_noted(&note(&run, step));
    }

    /// Forgets what a step had beside its outputs: it is put back, or somebody's.
    pub(super) fn forget_beside(&self, job: &JobId, step: &str) -> io::Result<()> {
        remove(&note(&self.root.join(self.run_of(job)), step))
    }

    /// Removes what all steps of a run had beside their outputs. Says whether something stays.
    pub(super) fn remove_all_beside(&self, run: &Path) -> io::Result<bool> {
        let mut stays = false;
        for entry in fs::read_dir(run)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(NOTE.as_bytes()) {
                stays |= !self.remove_noted(&entry.path());
            }
        }
        Ok(stays)
    }

    fn remove_noted(&self, note: &Path) -> bool {
        let Ok(text) = fs::read(note) else { return true };
        // One that was not written to its end says nothing, and nothing was there yet.
        let paths: Vec<String> = serde_json::from_slice(&text).unwrap_or_default();
        let mut all = true;
        // Behind a link out of the root nothing is touched.
        for path in paths.iter().filter(|path| leads_inside(&self.root, path).is_ok()) {
            if let Err(error) = fault("beside.remove").and_then(|()| remove(&self.root.join(path))) {
                self.tell(format!(
                    "{path}, which is out of date now, could not be removed: {error}; the next run tries again"
                ));
                all = false;
            }
        }
        all && remove(note).is_ok()
    }
}

/// The folders in a folder, less those with [hidden names](Staging::discard).
pub(super) fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = with_hidden(path)?;
    all.retain(|path| !is_hidden(path));
    Ok(all)
}

/// Tries once more to remove what could not be removed.
pub(super) fn remove_hidden(path: &Path) -> io::Result<()> {
    with_hidden(path)?.iter().filter(|path| is_hidden(path)).for_each(|left| {
        if let Err(error) = remove(left) {
            tracing::debug!(%error, left = %left.display(), "it still cannot be removed");
        }
    });
    Ok(())
}

fn with_hidden(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    Ok(paths?.into_iter().filter(|path| path.is_dir()).collect())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}
