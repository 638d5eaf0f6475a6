//! What runs of other pipelines write in place, or wrote when they were killed, also of those that have their root at or above what
//! this one reads and builds: nothing of it is read, and nothing put over it, whatever way leads there. Knows paths; changes nothing.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::base::span::{Problem, Problems, Span};
use crate::engine::local::aside::OfOther;
use crate::engine::local::files;
use crate::engine::local::staging::Staging;
use crate::pipeline::outline::Owner;
use crate::pipeline::paths::{STAGING, ancestors, folder_of, names, touch};
use crate::pipeline::types::{Pipeline, Recipe};

/// The half-written outputs of others.
#[derive(Debug)]
pub(super) struct Halves(Vec<Half>);

#[derive(Debug)]
struct Half {
    path: String,
    /// The same with all links above it followed; none where no folder is there.
    real: Option<PathBuf>,
    /// Whether that pipeline has its root below this one.
    below: bool,
    of: OfOther,
}

impl Halves {
    /// Mostly there are none, and then nothing is looked at.
    pub(super) fn look(root: &Path, staging: &Staging, pipeline: &Pipeline) -> Self {
        let half = |path: String, of, below| Half { real: place(root, &path), path, of, below };
        // What cannot be read is no obstacle: its own pipeline's next run tells of it.
        let here = staging.aside_of_others().unwrap_or_default().into_iter();
        let mut all: Vec<_> = here.map(|(path, of)| half(path, of, false)).collect();
        for below in roots_below(root, pipeline) {
            let staging = Staging::new(&root.join(below), "");
            let theirs = staging.aside_of_others().unwrap_or_default().into_iter();
            all.extend(theirs.map(|(path, of)| {
                let kept = of.kept.map(|kept| format!("{below}/{kept}"));
                half(format!("{below}/{path}"), OfOther { kept, ..of }, true)
            }));
        }
        Self(all)
    }

    /// Why nothing may be put at a path, and a way out.
    pub(super) fn obstacle(&self, root: &Path, path: &str) -> Option<(String, String)> {
        let Half { path: half, of, below, .. } = self.0.iter().find(|half| half.is_put_at(root, path))?;
        let last_good = match &of.kept {
            Some(kept) => format!("its last good content is in {kept}"),
            None => "there was none before".to_owned(),
        };
        Some(if half == path && !below {
            let help = "give the pipeline that name again and run it once";
            (format!("a run under another name was writing it in place; {last_good}"), help.to_owned())
        } else {
            let why = format!("a run of pipeline `{}` was writing {half} in place; {last_good}", of.pipeline);
            (why, format!("run `{}` to its end first", of.pipeline))
        })
    }

    /// What of a recipe's inputs and code is half-written.
    pub(super) fn read_by(&self, root: &Path, pipeline: &Pipeline, recipe: &Recipe) -> Problems {
        let mut found = Problems::new();
        for half in self.0.iter().filter(|half| half.of.stands) {
            for node in recipe.inputs.iter().map(|id| &pipeline.nodes[*id]) {
                if node.path.as_ref().is_some_and(|path| half.is_read_at(root, path)) {
                    let what = if node.maker.is_none() { "source" } else { "input" };
                    found.push(half.problem(&format!("{what} `{}`", node.name), &node.path_span));
                }
            }
            for (pattern, span) in recipe.files.iter().filter(|(pattern, _)| half.is_named(root, pattern)) {
                found.push(half.problem(&format!("`{pattern}` of `files`"), span));
            }
        }
        found
    }
}

impl Half {
    /// Whether what is put at a path is put over it, around it, or into it.
    fn is_put_at(&self, root: &Path, path: &str) -> bool {
        let meets = |half: &PathBuf, place: PathBuf| half.starts_with(&place) || place.starts_with(half);
        touch(&self.path, path)
            || self.real.as_ref().zip(place(root, path)).is_some_and(|(half, place)| meets(half, place))
    }

    /// Whether who reads a file or a folder gets to it.
    fn is_read_at(&self, root: &Path, path: &str) -> bool {
        touch(path, &self.path) || self.real.as_ref().is_some_and(|half| leads(&root.join(path), half))
    }

    /// The same for a path or a glob of `files`.
    fn is_named(&self, root: &Path, pattern: &str) -> bool {
        let found = || files::resolve(root, pattern, &BTreeSet::new()).unwrap_or_default();
        names(pattern, &self.path)
            || touch(pattern, &self.path)
            || found().iter().any(|path| self.is_read_at(root, path))
    }

    fn problem(&self, what: &str, span: &Span) -> Problem {
        let (path, OfOther { pipeline, kept, .. }) = (&self.path, &self.of);
        let why = format!("a run of pipeline `{pipeline}` writes {path} in place, or was killed while it did");
        let help = match kept {
            Some(kept) => format!("run `{pipeline}` to its end first; the last good content of {path} is in {kept}"),
            None => format!("run `{pipeline}` to its end first"),
        };
        Problem::new("half-written-source", format!("{what} is half-written")).at(span, why).help(help)
    }
}

/// The folders at or above what a pipeline reads, and above what it builds, in which another one stages.
fn roots_below<'a>(root: &Path, pipeline: &'a Pipeline) -> Vec<&'a str> {
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    for (owner, path) in pipeline.paths().iter() {
        let path = std::str::from_utf8(path).unwrap_or_default();
        let is_built = matches!(owner, Owner::Node(id) if pipeline.outline().maker(id).is_some());
        let path = if is_built { folder_of(path) } else { path };
        // What is above a folder that was looked at was looked at.
        let new = ancestors(path).take_while(|folder| !folder.is_empty() && seen.insert(*folder));
        found.extend(new.filter(|folder| root.join(folder).join(STAGING).is_dir()));
    }
    found
}

/// Where a path is with all links above it followed. What is there itself may be a link.
fn place(root: &Path, path: &str) -> Option<PathBuf> {
    let full = root.join(path);
    Some(fs::canonicalize(full.parent()?).ok()?.join(full.file_name()?))
}

/// Whether a path, or a link below it, leads to something, into it, or to a folder around it.
fn leads(path: &Path, to: &Path) -> bool {
    let is_there = |real: PathBuf| real.starts_with(to) || to.starts_with(&real);
    // Of links within a folder none is followed to more links.
    fs::canonicalize(path).is_ok_and(is_there)
        || links_below(path).any(|link| fs::canonicalize(link).is_ok_and(is_there))
}

/// The links in a folder and in those below it.
fn links_below(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let mut open = vec![folder.to_owned()];
    std::iter::from_fn(move || {
        let entries = fs::read_dir(open.pop()?).into_iter().flatten().flatten();
        let entries: Vec<_> = entries.filter_map(|entry| Some((entry.file_type().ok()?, entry.path()))).collect();
        open.extend(entries.iter().filter(|(kind, _)| kind.is_dir()).map(|(_, path)| path.clone()));
        Some(entries.into_iter().filter(|(kind, _)| kind.is_symlink()).map(|(_, path)| path))
    })
    .flatten()
}
