//! Whether outputs can be put where they belong: inside the root, in folders, with leave to write. Changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::{Access, access};

use crate::base::id::NodeId;
use crate::base::span::{Problem, Problems};
use crate::engine::api::BLOCKED;
use crate::engine::local::Local;
use crate::engine::local::half::Halves;
use crate::engine::local::ways::{Ways, Why};
use crate::files::{LOOKED_FOR, alike};
use crate::pipeline::paths::folder_of;
use crate::pipeline::types::{Node, Pipeline, Recipe};
use crate::stat::{Standing, standing};

/// Where the outputs of a pipeline belong. What is found out about a folder counts for all that belongs there.
#[derive(Debug, Default)]
pub(crate) struct Places {
    folders: Mutex<HashMap<String, Option<Why>>>,
    /// Where links lead.
    ways: OnceLock<Ways>,
    /// What other pipelines have not written to its end.
    halves: OnceLock<Halves>,
    /// What this one has not, and what will stand there once that is undone.
    own: OnceLock<BTreeMap<String, Option<String>>>,
    /// The folders that recipes run in, and whether those will not be there.
    pub(super) workdirs: Asked<bool>,
    /// What lies beside paths at which there is nothing, and is called most alike.
    near: Mutex<HashMap<String, Option<String>>>,
    /// Why programs cannot be started, by name; none where they can, or may be made by then.
    pub(super) programs: Asked<Option<String>>,
}

/// A look at where outputs belong.
pub(crate) struct Look<'a> {
    local: &'a Local,
    root: &'a Path,
    pipeline: &'a Pipeline,
    /// For each folder that is there: why nothing can be put there, and a way out.
    folders: MutexGuard<'a, HashMap<String, Option<Why>>>,
    ways: &'a Ways,
    halves: &'a OnceLock<Halves>,
    own: &'a BTreeMap<String, Option<String>>,
    /// The folder that was asked for last, whether it is there, and what is in the way: what makes neighbours mostly belongs in
    /// one.
    last: Option<(&'a str, bool, Option<Why>)>,
}

impl Places {
    /// Begins to look, for outputs of any number of recipes.
    pub(crate) fn look<'a>(&'a self, local: &'a Local) -> Look<'a> {
        let Local { root, pipeline, staging, .. } = local;
        let ways = self.ways.get_or_init(|| Ways::look(local));
        let own = self.own.get_or_init(|| staging.to_stand().unwrap_or_default());
        // Nothing is half done where this could panic.
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        Look { local, root, pipeline, folders, ways, halves: &self.halves, own, last: None }
    }

    /// What lies beside a path at which there is nothing, and may be meant.
    pub(super) fn near(&self, root: &Path, path: &str) -> Option<String> {
        let mut known = self.near.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= LOOKED_FOR {
            return known.get(path).cloned().flatten();
        }
        known.entry(path.to_owned()).or_insert_with(|| alike(root, path)).clone()
    }
}

/// Answers that are asked for by many steps: each is looked for once.
#[derive(Debug, Default)]
pub(super) struct Asked<T>(Mutex<HashMap<String, T>>);

impl<T: Clone> Asked<T> {
    /// The answer about `what`.
    pub(super) fn once(&self, what: &str, look: impl FnOnce() -> T) -> T {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known().get(what) {
            return answer.clone();
        }
        let answer = look();
        known().entry(what.to_owned()).or_insert(answer).clone()
    }
}

impl<'a> Look<'a> {
    /// Adds what is in the way of a recipe's outputs.
    pub(crate) fn check(&mut self, recipe: &Recipe, found: &mut Problems) {
        let pipeline = self.pipeline;
        found.extend(recipe.outputs.iter().filter_map(|id| self.obstacle(*id, &pipeline.nodes[*id])));
        let sources = recipe.inputs.iter().filter(|id| pipeline.nodes[**id].maker.is_none());
        found.extend(sources.filter_map(|id| self.wrong(*id)));
        found.extend(self.halves().read_by(self.root, pipeline, recipe));
    }

    /// What others have half-written. It is looked for once all that is read and built was looked at, which tells where.
    fn halves(&self) -> &'a Halves {
        self.halves.get_or_init(|| Halves::look(self.local, self.ways))
    }

    /// What is wrong with outputs for where links lead, whatever else is in their way.
    pub(crate) fn misled(&self) -> Problems {
        self.ways.wrong.keys().filter_map(|id| self.wrong(*id)).collect()
    }

    fn wrong(&self, id: NodeId) -> Option<Problem> {
        let (node, why) = (&self.pipeline.nodes[id], self.ways.wrong.get(&id)?.clone());
        Some(if node.maker.is_some() { blocked(node, why) } else { unsteady(node, why) })
    }

    fn obstacle(&mut self, id: NodeId, node: &'a Node) -> Option<Problem> {
        let (root, path) = (self.root, node.path.as_deref()?);
        let (half, own) = (self.halves().obstacle(root, path), self.own);
        let at_work = || {
            let (pipeline, at) = self.local.digester.met.at_work(root, path)?;
            Some((at_work(&pipeline, &at), "wait until it has ended, or give the output another path".to_owned()))
        };
        let half = half.or_else(at_work);
        let (there, folder) = self.folder(path);
        let unfit = || if there { unfit(&root.join(path)) } else { None };
        let why = half.or_else(|| folder.clone()).or_else(|| self.ways.wrong.get(&id).cloned()).or_else(|| {
            // One that was put over something half-written is moved away with it.
            let (what, help) = if own.contains_key(path) { None } else { unfit() }?;
            Some((format!("{path} is {what}"), help.to_owned()))
        });
        why.map(|why| blocked(node, why))
    }

    /// Whether the folder of a path is there, and what is in the way of what belongs in it.
    fn folder(&mut self, path: &'a str) -> (bool, &Option<Why>) {
        let name = folder_of(path);
        if self.last.as_ref().is_none_or(|(last, ..)| *last != name) {
            let way = self.ways.way(name);
            let nearest = way.nearest(name);
            let look = || obstacle_of(self.root, nearest, way.plain, self.own);
            let why = match self.folders.get(nearest) {
                Some(known) => known.clone(),
                None => self.folders.entry(nearest.to_owned()).or_insert_with(look).clone(),
            };
            self.last = Some((name, nearest == name, why));
        }
        self.last.as_ref().map_or((false, &None), |(_, there, why)| (*there, why))
    }
}

fn blocked(node: &Node, (why, help): Why) -> Problem {
    let problem = Problem::new(BLOCKED, format!("`{}` cannot be put in place", node.name));
    problem.at(&node.path_span, why).help(help)
}

fn unsteady(node: &Node, (why, help): Why) -> Problem {
    let problem = Problem::new("unsteady-source", format!("source `{}` would change with each run", node.name));
    problem.at(&node.path_span, why).help(help)
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

/// That a folder is not replaced since a pipeline has its root in it and is at work.
pub(super) fn at_work(pipeline: &str, root: &str) -> String {
    format!("a run of pipeline `{pipeline}`, which has its root in {root}, goes on")
}

/// Why nothing can be put at an output.
pub(super) const LEADS_OUT: &str = "a link leads out of the root";

/// That an output cannot be put where it belongs, since this is no folder.
pub(crate) fn file_above(node: &Node, above: &str) -> Problem {
    blocked(node, no_folder(above))
}

fn no_folder(path: &str) -> Why {
    (format!("{path} is a file, not a folder"), "move that file away, or give the output another path".to_owned())
}

/// Why nothing can be put into a folder that is there, and a way out. One that is plain is a folder inside the root.
fn obstacle_of(root: &Path, name: &str, plain: bool, own: &BTreeMap<String, Option<String>>) -> Option<Why> {
    if own.get(name) == Some(&None) {
        return None; // it is taken away first
    }
    let (folder, shown) = (root.join(name), if name.is_empty() { "the root" } else { name });
    // A link that leads nowhere is no folder either.
    let is_file = || {
        let there = fs::metadata(&folder);
        there.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |there| !there.is_dir())
    };
    if !plain && is_file() {
        return Some(no_folder(shown));
    }
    let (why, help) = match if plain { Ok(true) } else { inside(root, &folder) } {
        Ok(true) => {
            let error = access(&folder, Access::WRITE_OK | Access::EXEC_OK).err()?;
            (format!("{shown} cannot be written to: {error}"), "give leave to write there")
        }
        Ok(false) => {
            let help = "Kiln writes nothing outside the root: move the root with `[pipeline] root`, or remove the link";
            (format!("{shown} leads out of the root"), help)
        }
        Err(error) => (format!("{shown} cannot be looked at: {error}"), "make it readable"),
    };
    Some((why, help.to_owned()))
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
    fn a_folder_to_run_in_is_looked_at_once() {
        let (asked, mut looks) = (Asked::<bool>::default(), 0);
        for _ in 0..2 {
            let mut lacks = |workdir| {
                asked.once(workdir, || {
                    looks += 1;
                    workdir == "gone"
                })
            };
            assert_eq!((lacks("gone"), lacks("there")), (true, false));
        }
        assert_eq!(looks, 2);
    }

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
    }
}
