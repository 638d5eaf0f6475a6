//! What is said where a disk is full: which one it is, and the way out. Does not know what was to be written.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How the system and SQLite say so.
const FULL: [&str; 3] = ["database or disk is full", "No space left on device", "quota exceeded"];

/// The way out for whoever could not write something in this folder.
pub(super) fn way_out(folder: &Path, error: &str) -> Option<String> {
    let full = FULL.iter().any(|words| error.contains(words));
    full.then(|| {
        let disk = disk(folder).unwrap_or_else(|| folder.to_owned());
        format!("no room is left on the disk at {}: free some, then `kiln run` goes on from there", disk.display())
    })
}

/// Where the disk that holds a folder begins.
fn disk(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let device = folder.metadata().ok()?.dev();
    let same = |above: &&Path| above.metadata().is_ok_and(|other| other.dev() == device);
    folder.ancestors().take_while(same).last().map(Path::to_owned)
}
