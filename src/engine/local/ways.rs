//! Where paths lie once the links above them are followed: which of a pipeline are one then, and which nothing may be built at.
//! Looks at each folder once; changes nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::base::id::{NodeId, RecipeId};
use crate::engine::local::Local;
use crate::engine::local::behind::Made;
use crate::engine::local::places::{Links, Top};
use crate::pipeline::outline::Owner;
use crate::pipeline::paths::{OWN, ancestors, collisions, first_of, folder_of, is_glob, lies_in, taken, touch};
use crate::pipeline::types::Pipeline;

/// Why nothing can be put at an output, and a way out.
pub(super) type Why = (String, String);

/// The folders of all paths of a pipeline, and what may not be built for where they lead.
#[derive(Debug)]
pub(super) struct Ways {
    root: PathBuf,
    top: Option<Top>,
    folders: HashMap<String, Way>,
    /// What may not be built where it would be.
    pub(super) wrong: BTreeMap<NodeId, Why>,
}

/// Where a folder lies.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// As far as its path is there, it is so long.
    there: usize,
    /// Whether that is surely a folder, with no link on the way to it.
    pub(super) plain: bool,
    /// The whole path with links followed, relative to the root; none where that leads out of it, or cannot be told.
    real: Option<String>,
}

impl Way {
    /// The nearest thing that is there, at or above the folder of this way; empty for the root.
    pub(super) fn nearest<'a>(&self, folder: &'a str) -> &'a str {
        &folder[..self.there]
    }
}

/// These paths, relative to the root, with the links above them followed, as far as they stay in the root.
pub(crate) fn real_paths(root: &Path, paths: Vec<String>) -> Vec<String> {
    let ways = Ways::of(root, paths.iter().map(String::as_str));
    let real = |path: String| ways.real(&path).map_or_else(|| path.clone(), Cow::into_owned);
    paths.into_iter().map(real).collect()
}

/// The same for what has links above it only.
pub(super) fn behind_links(root: &Path, paths: &[(NodeId, &str)]) -> HashMap<NodeId, String> {
    let ways = Ways::of(root, paths.iter().map(|(_, path)| *path));
    let real = |(id, path): &(NodeId, &str)| match ways.real(path)? {
        Cow::Owned(real) => Some((*id, real)),
        Cow::Borrowed(_) => None,
    };
    paths.iter().filter_map(real).collect()
}

impl Ways {
    /// Looks at the folders of these paths.
    fn of<'a>(root: &Path, paths: impl Iterator<Item = &'a str>) -> Self {
        let real_root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let mut ways = Self { root: real_root, top: Top::open(root), folders: HashMap::new(), wrong: BTreeMap::new() };
        std::iter::once("").chain(paths.map(folder_of)).for_each(|folder| ways.add(folder));
        ways
    }

    /// Looks at the folders of all sources and outputs.
    pub(super) fn look(local: &Local) -> Self {
        let Local { root, state, pipeline, own, .. } = local;
        let mut ways = Self::of(root, paths(pipeline).map(|(path, _)| path));
        files(pipeline).for_each(|(pattern, _)| {
            if is_glob(pattern) { ways.add(&first_of(pattern)) } else { ways.add(folder_of(pattern)) }
        });
        let states = [root.join(OWN), state.clone()].map(|state| ways.below(&state));
        let states: Vec<String> = states.into_iter().flatten().filter(|state| !state.is_empty()).collect();
        ways.wrong = ways.wrong(pipeline, own, &states);
        ways
    }

    /// The root with all links followed.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// All folders that were looked at, as far as they are there, with all links followed.
    pub(super) fn places(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().filter_map(|(folder, way)| {
            let there = self.root.join(way.nearest(folder));
            if way.plain { Some(there) } else { there.canonicalize().ok() }
        })
    }

    /// Where the folder of a path lies.
    pub(super) fn way(&self, folder: &str) -> &Way {
        &self.folders[folder]
    }

    fn add(&mut self, folder: &str) {
        if self.folders.contains_key(folder) {
            return;
        }
        let known = |path: &str| self.folders.get(path).cloned().or_else(|| self.there(path));
        let found = ancestors(folder).chain([""]).find_map(|path| Some((path, known(path)?)));
        let (above, way) = found.unwrap_or_default();
        // What is not there yet lies where the nearest thing above it does, and so do those beside it.
        let parent = folder.rsplit_once('/').map(|(parent, _)| parent);
        for path in parent.into_iter().filter(|parent| parent.len() > above.len()).chain([folder]) {
            let rest = path[above.len()..].trim_start_matches('/');
            let real = way.real.as_ref().map(|real| join(real, rest));
            self.folders.insert(path.to_owned(), Way { real, there: way.there, plain: way.plain });
        }
    }

    fn there(&self, path: &str) -> Option<Way> {
        if self.top.as_ref().is_some_and(|top| top.holds(Path::new(path), Links::None)) {
            return Some(Way { there: path.len(), plain: true, real: Some(path.to_owned()) });
        }
        let full = self.root.join(path);
        full.symlink_metadata().ok()?;
        Some(Way { there: path.len(), plain: false, real: self.below(&full) })
    }

    /// Where a path that need not be there lies in the root, if it does.
    fn below(&self, path: &Path) -> Option<String> {
        let there = path.ancestors().find(|above| above.symlink_metadata().is_ok())?;
        let real = there.canonicalize().ok()?.join(path.strip_prefix(there).ok()?);
        Some(real.strip_prefix(&self.root).ok()?.to_str()?.trim_end_matches('/').to_owned())
    }

    /// A path with all links above it followed; borrowed where there is none.
    fn real<'a>(&self, path: &'a str) -> Option<Cow<'a, str>> {
        let folder = folder_of(path);
        let real = self.folders.get(folder)?.real.as_ref()?;
        let name = path[folder.len()..].trim_start_matches('/');
        Some(if real == folder { Cow::Borrowed(path) } else { Cow::Owned(join(real, name)) })
    }

    fn wrong(&self, pipeline: &Pipeline, own: &[String], states: &[String]) -> BTreeMap<NodeId, Why> {
        let is_built = |id| pipeline.outline().maker(id).is_some();
        let mut wrong = BTreeMap::new();
        let reals: Vec<_> = paths(pipeline).filter_map(|(path, id)| Some((self.real(path)?, id))).collect();
        for (real, id) in reals.iter().filter(|(_, id)| !is_built(*id)) {
            let state = states.iter().find(|state| lies_in(state, real) && !state.split('/').any(|name| name == OWN));
            wrong.extend(state.map(|state| (*id, in_source(state))));
        }
        for (real, id) in reals.iter().filter(|(_, id)| is_built(*id)) {
            let state = states.iter().find(|state| touch(real, state)).map(|state| on_state(real, state));
            let on_own = || {
                let error = taken(real, own)?;
                Some((format!("a link leads to {real}: {}", error.message(real)), error.help().to_owned()))
            };
            wrong.extend(state.or_else(on_own).map(|why| (*id, why)));
        }
        // Without links that was looked at when the file was checked.
        if reals.iter().any(|(real, _)| matches!(real, Cow::Owned(_))) {
            let files: HashMap<&str, RecipeId> = files(pipeline).filter(|(path, _)| !is_glob(path)).collect();
            for (real, id) in reals.iter().filter(|(real, id)| matches!(real, Cow::Owned(_)) && is_built(*id)) {
                let read = ancestors(real).find_map(|path| Some((path, files.get(path)?)));
                wrong.extend(read.map(|(file, by)| (*id, in_files(real, file, &pipeline.recipes[*by].name))));
            }
            let reals = reals.iter().map(|(real, id)| (real.as_ref(), *id)).collect();
            for (outer, inner) in collisions(reals, &is_built) {
                for (id, other) in [(outer, inner), (inner, outer)].into_iter().filter(|(id, _)| is_built(*id)) {
                    let other = &pipeline.nodes[other];
                    let path = other.path.as_deref().unwrap_or_default();
                    let why = format!("with links followed it meets {path}, which is `{}`", other.name);
                    let help = "what is built is replaced as a whole: give each its own path";
                    wrong.entry(id).or_insert((why, help.to_owned()));
                }
            }
        }
        wrong
    }
}

fn paths(pipeline: &Pipeline) -> impl Iterator<Item = (&str, NodeId)> {
    pipeline.paths().iter().filter_map(|(owner, path)| match owner {
        Owner::Node(id) => Some((std::str::from_utf8(path).ok()?, id)),
        Owner::Recipe(_) => None,
    })
}

/// The paths and globs of `files`, each with its recipe.
pub(super) fn files(pipeline: &Pipeline) -> impl Iterator<Item = (&str, RecipeId)> {
    pipeline.paths().iter().filter_map(|(owner, path)| match owner {
        Owner::Recipe(id) => Some((std::str::from_utf8(path).ok()?, id)),
        Owner::Node(_) => None,
    })
}

/// What recipes make, by where it lies with all links above it followed.
pub(super) fn built(root: &Path, pipeline: &Pipeline) -> BTreeMap<String, Made> {
    let built = paths(pipeline).filter(|(_, id)| pipeline.outline().maker(*id).is_some());
    let made: Vec<_> = built.map(|(path, node)| Made { path: path.to_owned(), node }).collect();
    let reals = real_paths(root, made.iter().map(|made| made.path.clone()).collect());
    reals.into_iter().zip(made).collect()
}

fn in_files(real: &str, file: &str, recipe: &str) -> Why {
    let why = format!("with links followed it is {real}, and {file} is in the `files` of `{recipe}`");
    (why, "a glob leaves it out, as in \"folder/**\": what is built is an input by its name".to_owned())
}

fn on_state(path: &str, state: &str) -> Why {
    let meets = if lies_in(path, state) { "lies in" } else { "would replace" };
    let help = "give the output another path, or keep the state elsewhere with `--state`";
    (format!("it {meets} {state}, where Kiln keeps its state"), help.to_owned())
}

fn in_source(state: &str) -> Why {
    let help = "keep the state elsewhere with `--state`: each run would change what is read there";
    (format!("Kiln keeps its state in it, in {state}"), help.to_owned())
}

fn join(folder: &str, rest: &str) -> String {
    let slash = if folder.is_empty() || rest.is_empty() { "" } else { "/" };
    format!("{folder}{slash}{rest}")
}
