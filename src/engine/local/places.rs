//! Whether outputs can be put where they belong: inside the root, in folders, with leave to write. Changes nothing.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Access, access};

use crate::base::span::Problem;
use crate::pipeline::types::{Node, Pipeline, Recipe};

/// Where the outputs of a pipeline belong. What is found out about a folder counts for all that belongs there.
#[derive(Debug, Default)]
pub(crate) struct Places {
    folders: Mutex<HashMap<String, Folder>>,
}

/// A folder that outputs belong in.
#[derive(Clone, Debug)]
struct Folder {
    there: bool,
    /// Why nothing can be put there, and a way out.
    obstacle: Option<(String, &'static str)>,
}

impl Places {
    /// What is in the way of a recipe's outputs.
    pub(crate) fn check(&self, root: &Path, pipeline: &Pipeline, recipe: &Recipe) -> Vec<Problem> {
        let outputs = recipe.outputs.iter().map(|id| &pipeline.nodes[*id]);
        outputs.filter_map(|node| self.obstacle(root, node)).collect()
    }

    fn obstacle(&self, root: &Path, node: &Node) -> Option<Problem> {
        let path = node.path.as_deref()?;
        let folder = self.folder(root, path);
        let link = || folder.there && root.join(path).is_symlink();
        let (why, help) = folder.obstacle.clone().or_else(|| {
            let why = format!("{path} is a symbolic link, which would be replaced");
            link().then_some((why, "give it the path that the link leads to, or remove the link"))
        })?;
        let problem = Problem::new("blocked-output", format!("`{}` cannot be put in place", node.name));
        Some(problem.at(&node.path_span, why).help(help))
    }

    fn folder(&self, root: &Path, path: &str) -> Folder {
        let name = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        // Nothing is half done where this could panic.
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = folders.get(name) {
            return known.clone();
        }
        let there = root.join(name).symlink_metadata().is_ok();
        let folder = Folder { there, obstacle: obstacle_of(root, path) };
        folders.insert(name.to_owned(), folder.clone());
        folder
    }
}

/// Why nothing can be put into the folder of a path, and a way out.
fn obstacle_of(root: &Path, path: &str) -> Option<(String, &'static str)> {
    let (shown, folder) = nearest_folder(root, path);
    match inside(root, &folder) {
        Ok(true) => {}
        Ok(false) => {
            let help = "Kiln writes nothing outside the root: move the root with `[pipeline] root`, or remove the link";
            return Some((format!("{shown} leads out of the root"), help));
        }
        Err(error) => return Some((format!("{shown} cannot be looked at: {error}"), "make it readable")),
    }
    let leave = access(&folder, Access::WRITE_OK | Access::EXEC_OK);
    leave.err().map(|error| (format!("{shown} cannot be written to: {error}"), "give leave to write there"))
}

/// The nearest thing above `path` that is there: relative to the root for people, and in full.
fn nearest_folder<'a>(root: &Path, path: &'a str) -> (&'a str, PathBuf) {
    let mut above = path;
    while let Some((parent, _)) = above.rsplit_once('/') {
        above = parent;
        if root.join(above).symlink_metadata().is_ok() {
            return (above, root.join(above));
        }
    }
    ("the root", root.to_owned())
}

/// Whether a path that is there lies inside `root` with all links followed.
pub(crate) fn inside(root: &Path, path: &Path) -> io::Result<bool> {
    Ok(is_surely_inside(root, path) || is_inside(root, path)?)
}

fn is_surely_inside(root: &Path, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(root) else { return false };
    Top::open(root).is_some_and(|top| top.holds(below, Links::May))
}

/// A folder that is open, so that one call of the system tells whether something lies below it.
#[derive(Debug)]
pub(crate) struct Top(OwnedFd);

/// Whether there may be links on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    May,
    None,
}

#[cfg(target_os = "linux")]
impl Top {
    pub(crate) fn open(folder: &Path) -> Option<Self> {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
        rustix::fs::open(folder, flags, Mode::empty()).ok().map(Self)
    }

    /// Whether the system gets to a folder that is there without ever leaving the folder. A link to an absolute path leaves
    /// it.
    pub(crate) fn holds(&self, below: &Path, links: Links) -> bool {
        use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let resolve = match links {
            Links::May => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
            Links::None => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
        openat2(&self.0, below, flags, Mode::empty(), resolve).is_ok()
    }
}

#[cfg(not(target_os = "linux"))]
impl Top {
    pub(crate) fn open(_folder: &Path) -> Option<Self> {
        None
    }

    pub(crate) fn holds(&self, _below: &Path, _links: Links) -> bool {
        false
    }
}

fn is_inside(root: &Path, path: &Path) -> io::Result<bool> {
    Ok(fs::canonicalize(path)?.starts_with(fs::canonicalize(root)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_where_they_lead() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("a/b")).unwrap();
        symlink("a/b", at("in")).unwrap();
        symlink(other.path(), at("out")).unwrap();
        symlink("../out", at("a/chain")).unwrap();
        for (path, expect) in [("a/b", true), ("in", true), ("out", false), ("a/chain", false), ("", true)] {
            assert_eq!(inside(dir.path(), &at(path)).unwrap(), expect, "{path}");
            assert_eq!(is_inside(dir.path(), &at(path)).unwrap(), expect, "{path}");
        }
        assert_eq!(nearest_folder(dir.path(), "a/b/c/d"), ("a/b", at("a/b")));
        assert_eq!(nearest_folder(dir.path(), "x/y").0, "the root");
    }
}
