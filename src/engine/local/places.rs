//! Whether outputs can be put where they belong: inside the root, in folders, with leave to write. Changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::{Access, access};

use crate::base::span::{Problem, Problems};
use crate::engine::api::BLOCKED;
use crate::engine::local::half::Halves;
use crate::engine::local::staging::Staging;
use crate::pipeline::types::{Node, Pipeline, Recipe};
use crate::stat::{Standing, standing};

/// Where the outputs of a pipeline belong. What is found out about a folder counts for all that belongs there.
#[derive(Debug, Default)]
pub(crate) struct Places {
    folders: Mutex<Folders>,
    /// What other pipelines have not written to its end.
    halves: OnceLock<Halves>,
    /// What this one has not, and what will stand there once that is undone.
    own: OnceLock<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Default)]
struct Folders {
    all: Vec<Folder>,
    places: HashMap<String, usize>,
}

/// A folder that outputs belong in.
#[derive(Debug)]
struct Folder {
    there: bool,
    /// Why nothing can be put there, and a way out.
    obstacle: Option<(String, &'static str)>,
}

/// A look at where outputs belong.
pub(crate) struct Look<'a> {
    root: &'a Path,
    pipeline: &'a Pipeline,
    folders: MutexGuard<'a, Folders>,
    halves: &'a Halves,
    own: &'a BTreeMap<String, Option<String>>,
    /// The folder that was asked for last: what makes neighbours mostly belongs in one.
    last: Option<(&'a str, usize)>,
}

impl Places {
    /// Begins to look, for outputs of any number of recipes.
    pub(crate) fn look<'a>(&'a self, root: &'a Path, pipeline: &'a Pipeline, staging: &Staging) -> Look<'a> {
        let halves = self.halves.get_or_init(|| Halves::look(root, staging));
        let own = self.own.get_or_init(|| staging.to_stand().unwrap_or_default());
        // Nothing is half done where this could panic.
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        Look { root, pipeline, folders, halves, own, last: None }
    }
}

impl<'a> Look<'a> {
    /// Adds what is in the way of a recipe's outputs.
    pub(crate) fn check(&mut self, recipe: &Recipe, found: &mut Problems) {
        let pipeline = self.pipeline;
        found.extend(recipe.outputs.iter().filter_map(|id| self.obstacle(&pipeline.nodes[*id])));
        found.extend(self.halves.read_by(self.root, pipeline, recipe));
    }

    fn obstacle(&mut self, node: &'a Node) -> Option<Problem> {
        let (root, path) = (self.root, node.path.as_deref()?);
        let (half, own) = (self.halves.obstacle(root, path), self.own);
        let folder = self.folder(path);
        let unfit = || if folder.there { unfit(&root.join(path)) } else { None };
        let (why, help) = match (half, &folder.obstacle) {
            (Some(half), _) => half,
            (None, Some((why, help))) => (why.clone(), (*help).to_owned()),
            // One that was put over something half-written is moved away with it.
            (None, None)
                if !own.contains_key(path)
                    && let Some((what, help)) = unfit() =>
            {
                (format!("{path} is {what}"), help.to_owned())
            }
            (None, None) => return None,
        };
        let problem = Problem::new(BLOCKED, format!("`{}` cannot be put in place", node.name));
        Some(problem.at(&node.path_span, why).help(help))
    }

    fn folder(&mut self, path: &'a str) -> &Folder {
        let name = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let known = self.last.filter(|(last, _)| *last == name).map(|(_, place)| place);
        let Folders { all, places } = &mut *self.folders;
        let place = known.or_else(|| places.get(name).copied()).unwrap_or_else(|| {
            let there = self.root.join(name).symlink_metadata().is_ok();
            all.push(Folder { there, obstacle: obstacle_of(self.root, path, self.own) });
            places.insert(name.to_owned(), all.len() - 1);
            all.len() - 1
        });
        self.last = Some((name, place));
        &all[place]
    }
}

/// Why nothing can take the place of what stands at a path itself, and a way out.
fn unfit(path: &Path) -> Option<(&'static str, &'static str)> {
    match standing(path).ok()? {
        Standing { is_link: true, .. } => Some((
            "a symbolic link, which would be replaced",
            "give it the path that the link leads to, or remove the link",
        )),
        Standing { is_mounted: true, .. } => Some((
            "where something is mounted, and that cannot be replaced",
            "give it a path in there, or mount the folder above it",
        )),
        Standing { .. } => None,
    }
}

/// Why nothing can be put at an output.
pub(super) const LEADS_OUT: &str = "a link leads out of the root";

/// That an output cannot be put where it belongs, since this is no folder.
pub(crate) fn file_above(node: &Node, above: &str) -> Problem {
    let problem = Problem::new(BLOCKED, format!("`{}` cannot be put in place", node.name));
    problem.at(&node.path_span, no_folder(above)).help(MOVE_AWAY)
}

fn no_folder(path: &str) -> String {
    format!("{path} is a file, not a folder")
}

const MOVE_AWAY: &str = "move that file away, or give the output another path";

/// Why nothing can be put into the folder of a path, and a way out.
fn obstacle_of(root: &Path, path: &str, own: &BTreeMap<String, Option<String>>) -> Option<(String, &'static str)> {
    let (shown, folder) = nearest_folder(root, path);
    if own.get(shown) == Some(&None) {
        return None; // it is taken away first
    }
    // A link that leads nowhere is no folder either.
    let file =
        fs::metadata(&folder).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |there| !there.is_dir());
    if file {
        return Some((no_folder(shown), MOVE_AWAY));
    }
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

/// Refuses a path whose folder, as far as it is there, lies outside of the root, behind a link.
pub(crate) fn leads_inside(root: &Path, path: &str) -> io::Result<()> {
    let full = root.join(path);
    let above = full.ancestors().skip(1).find(|above| above.symlink_metadata().is_ok());
    let is_inside = above.map_or(Ok(true), |above| inside(root, above))?;
    if is_inside { Ok(()) } else { Err(io::Error::other(LEADS_OUT)) }
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
