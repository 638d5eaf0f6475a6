//! What stood where an output is put in place, and is not of Kiln's making: it is moved out of the way and stays there until
//! it is old. Works on paths; knows no recipes.

use std::fs;
use std::io;
use std::path::Path;

use crate::base::job::JobId;
use crate::engine::local::across::{beside, elsewhere};
use crate::event::Replaced;
use crate::fault::fault;
use crate::files::{copy, rename};
use crate::pipeline::paths::{OWN, REPLACED};

/// Where a run keeps what belongs at a path, both relative to the root, and is at `from` now: with all that it has replaced, or
/// beside its place where it is on another file system.
fn place(root: &Path, job: &JobId, from: &Path, path: &str) -> io::Result<String> {
    let [usual, near] = places(job, path);
    Ok(if elsewhere(&root.join(OWN), from)? { near } else { usual })
}

fn places(job: &JobId, path: &str) -> [String; 2] {
    let near = beside(Path::new(path), &format!("kiln-replaced-{job}"));
    [format!("{REPLACED}/{job}/{path}"), near.to_string_lossy().into_owned()]
}

/// Where what belongs at `path`, and is at `from`, goes if the run keeps it now.
pub(super) fn free(root: &Path, job: &JobId, from: &Path, path: &str) -> io::Result<String> {
    let first = place(root, job, from, path)?;
    // After a crash there may be something else at the path than what is kept already.
    let others = (2..).map(|n| format!("{first}.{n}"));
    let mut free = std::iter::once(first.clone()).chain(others);
    let is_free = |kept: &String| root.join(kept).symlink_metadata().is_err();
    Ok(free.find(is_free).unwrap_or(first))
}

/// Moves what stood at `path`, and is at `from` now, to where it is kept.
pub(super) fn keep(root: &Path, job: &JobId, from: &Path, path: &str) -> io::Result<Replaced> {
    let kept = free(root, job, from, path)?;
    let to = root.join(&kept);
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    fault("publish.keep")?;
    rename(from, &to)?;
    Ok(Replaced { path: path.to_owned(), kept })
}

/// Keeps a copy of what stands at `path`.
pub(super) fn keep_copy(root: &Path, job: &JobId, path: &str) -> io::Result<Replaced> {
    let from = root.join(path);
    let kept = free(root, job, &from, path)?;
    let to = root.join(&kept);
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    copy(&from, &to)?;
    Ok(Replaced { path: path.to_owned(), kept })
}

/// What the run kept of a path before it died.
pub(super) fn kept_before(root: &Path, job: &JobId, path: &str) -> Option<Replaced> {
    let kept = places(job, path).into_iter().find(|kept| root.join(kept).symlink_metadata().is_ok())?;
    Some(Replaced { path: path.to_owned(), kept })
}
