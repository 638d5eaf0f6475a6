//! The folders that attempts leave in the staging folder, and how they go. Does not know what lies in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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
        tracing::warn!(
            "{shown}: what a step left there cannot be removed ({error}); it is in nobody's way: remove it yourself"
        );
        Ok(())
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
