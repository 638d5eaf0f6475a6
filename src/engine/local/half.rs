//! What runs of other pipelines write in place, or wrote when they were killed, also of those that have another root, above this one,
//! or at, above or in what this one reads and builds: nothing of it is read, and nothing put over it, whatever way leads there. Knows
//! paths; changes nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::span::{Problem, Problems, Span};
use crate::engine::api::HALF_WRITTEN;
use crate::engine::local::aside::OfOther;
use crate::engine::local::staging::Staging;
use crate::engine::local::ways::{Ways, files};
use crate::engine::local::{Local, files as named};
use crate::pipeline::outline::Owner;
use crate::pipeline::paths::{STAGING, is_glob, names, touch};
use crate::pipeline::types::{Pipeline, Recipe};

/// The half-written outputs of others.
#[derive(Debug)]
pub(super) struct Halves {
    all: Vec<Half>,
    /// Those that a path leads to, by their numbers, of paths that were looked at: many may read the same folder.
    led: Mutex<HashMap<PathBuf, Led>>,
}

/// The numbers of those that a path leads to.
type Led = Arc<BTreeSet<usize>>;

#[derive(Debug)]
struct Half {
    /// Relative to the root, or whole where it lies outside of it.
    path: String,
    /// The same with all links above it followed; none where no folder is there.
    real: Option<PathBuf>,
    /// Whether that pipeline has the same root.
    here: bool,
    of: OfOther,
}

impl Halves {
    /// Each folder at or above what is read or built is asked once whether somebody stages there; mostly nobody does.
    pub(super) fn look(local: &Local, ways: &Ways) -> Self {
        // What cannot be read is no obstacle: its own pipeline's next run tells of it.
        let here = local.staging.aside_of_others().unwrap_or_default().into_iter();
        let mut all: Vec<_> = here.map(|(path, of)| Half::new(&local.root, &local.root, path, of, true)).collect();
        for other in other_roots(local, ways) {
            let theirs = Staging::new(&other, "").aside_of_others().unwrap_or_default().into_iter();
            all.extend(theirs.map(|(path, of)| Half::new(ways.root(), &other, path, of, false)));
        }
        Self::of(all)
    }

    fn of(all: Vec<Half>) -> Self {
        Self { all, led: Mutex::default() }
    }

    /// Those that are at a path, around it or in it just now, whatever was known when a run was planned.
    pub(super) fn around(staging: &Staging, root: &Path, path: &str) -> Self {
        let here = staging.aside_of_others().unwrap_or_default().into_iter();
        let mut all: Vec<_> = here.map(|(half, of)| Half::new(root, root, half, of, true)).collect();
        let (place, own) = (place(root, path), root.canonicalize().unwrap_or_else(|_| root.to_owned()));
        let above = place.iter().flat_map(|place| place.ancestors().skip(1));
        for other in above.filter(|above| **above != own && above.join(STAGING).is_dir()) {
            let theirs = Staging::new(other, "").aside_of_others().unwrap_or_default().into_iter();
            all.extend(theirs.map(|(half, of)| Half::new(&own, other, half, of, false)));
        }
        Self::of(all)
    }

    /// Why nothing may be put at a path, and a way out.
    pub(super) fn obstacle(&self, root: &Path, path: &str) -> Option<(String, String)> {
        let Half { path: half, of, here, .. } = self.all.iter().find(|half| half.is_put_at(root, path))?;
        let last_good = match &of.kept {
            Some(kept) => format!("its last good content is in {kept}"),
            None => "there was none before".to_owned(),
        };
        Some(if half == path && *here {
            let help = "give the pipeline that name again and run it once";
            (format!("a run under another name was writing it in place; {last_good}"), help.to_owned())
        } else {
            let why = format!("a run of pipeline `{}` was writing {half} in place; {last_good}", of.pipeline);
            (why, format!("run `{}` to its end first", of.pipeline))
        })
    }

    /// Who has not written to its end what was read at a path.
    pub(super) fn writer_of(&self, root: &Path, path: &str) -> Option<String> {
        let Half { path, of, .. } = self.standing().find(|half| self.is_read(*half, root, path))?.1;
        let pipeline = &of.pipeline;
        Some(format!("a run of pipeline `{pipeline}` writes {path} in place: run `{pipeline}` to its end first"))
    }

    /// What of a recipe's inputs and code is half-written.
    pub(super) fn read_by(&self, root: &Path, pipeline: &Pipeline, recipe: &Recipe) -> Problems {
        let mut found = Problems::new();
        for which @ (_, half) in self.standing() {
            for node in recipe.inputs.iter().map(|id| &pipeline.nodes[*id]) {
                if node.path.as_ref().is_some_and(|path| self.is_read(which, root, path)) {
                    let what = if node.maker.is_none() { "source" } else { "input" };
                    found.push(half.problem(&format!("{what} `{}`", node.name), &node.path_span));
                }
            }
            for (pattern, span) in recipe.files.iter().filter(|(pattern, _)| self.is_named(which, root, pattern)) {
                found.push(half.problem(&format!("`{pattern}` of `files`"), span));
            }
        }
        found
    }

    /// Those that are there, with their numbers.
    fn standing(&self) -> impl Iterator<Item = (usize, &Half)> {
        self.all.iter().enumerate().filter(|(_, half)| half.of.stands)
    }

    /// Whether who reads a file or a folder gets to it.
    fn is_read(&self, (number, half): (usize, &Half), root: &Path, path: &str) -> bool {
        touch(path, &half.path) || self.led_to(root.join(path)).contains(&number)
    }

    /// The same for a path or a glob of `files`.
    fn is_named(&self, which @ (_, half): (usize, &Half), root: &Path, pattern: &str) -> bool {
        let found = || named::resolve(root, pattern, &BTreeSet::new()).unwrap_or_default();
        names(pattern, &half.path)
            || touch(pattern, &half.path)
            || found().iter().any(|path| self.is_read(which, root, path))
    }

    /// Those that a path leads to. Each path is gone once.
    fn led_to(&self, path: PathBuf) -> Led {
        let mut led = self.led.lock().unwrap_or_else(PoisonError::into_inner);
        let look = |path: &PathBuf| Arc::new(leads(path, &self.all));
        Arc::clone(led.entry(path).or_insert_with_key(look))
    }
}

impl Half {
    /// What another pipeline writes at a path of its own root, as it is seen from this one.
    fn new(root: &Path, other: &Path, path: String, of: OfOther, here: bool) -> Self {
        let seen = |path: &str| {
            let full = other.join(path);
            full.strip_prefix(root).unwrap_or(&full).to_string_lossy().into_owned()
        };
        let kept = of.kept.as_deref().map(seen);
        Self { path: seen(&path), real: place(other, &path), here, of: OfOther { kept, ..of } }
    }

    /// Whether what is put at a path is put over it, around it, or into it.
    fn is_put_at(&self, root: &Path, path: &str) -> bool {
        let meets = |half: &PathBuf, place: PathBuf| half.starts_with(&place) || place.starts_with(half);
        touch(&self.path, path)
            || self.real.as_ref().zip(place(root, path)).is_some_and(|(half, place)| meets(half, place))
    }

    fn problem(&self, what: &str, span: &Span) -> Problem {
        let (path, OfOther { pipeline, kept, .. }) = (&self.path, &self.of);
        let why = format!("a run of pipeline `{pipeline}` writes {path} in place, or was killed while it did");
        let help = match kept {
            Some(kept) => format!("run `{pipeline}` to its end first; the last good content of {path} is in {kept}"),
            None => format!("run `{pipeline}` to its end first"),
        };
        Problem::new(HALF_WRITTEN, format!("{what} is half-written")).at(span, why).help(help)
    }
}

/// The roots of other pipelines that stage something, as far as those lie at or above this one's, or what this one reads and builds,
/// or were met in that. With all links followed.
fn other_roots(local: &Local, ways: &Ways) -> Vec<PathBuf> {
    let Local { root, pipeline, digester, .. } = local;
    // What lies at the root itself is known.
    let (mut seen, mut found) = (HashSet::from([ways.root().to_owned()]), Vec::new());
    let mut look = |folder: &Path| {
        // What is above a folder that was looked at was looked at.
        let new = folder.ancestors().take_while(|above| seen.insert((*above).to_owned()));
        found.extend(new.filter(|above| above.join(STAGING).is_dir()).map(Path::to_owned));
    };
    ways.root().parent().into_iter().for_each(&mut look);
    ways.places().for_each(|folder| look(&folder));
    // What is read may be a link itself.
    let sources = pipeline.paths().iter().filter_map(|(owner, path)| match owner {
        Owner::Node(id) if pipeline.outline().maker(id).is_none() => std::str::from_utf8(path).ok(),
        Owner::Node(_) | Owner::Recipe(_) => None,
    });
    let read: HashSet<_> = sources.chain(files(pipeline).map(|(file, _)| file).filter(|file| !is_glob(file))).collect();
    let links = read.into_iter().map(|path| root.join(path)).filter(|path| path.is_symlink());
    links.for_each(|link| digester.met.link(&link));
    let (roots, links) = digester.met.folders();
    let roots = roots.into_iter().filter_map(|path| root.join(path).canonicalize().ok());
    roots.chain(links).for_each(|folder| look(&folder));
    found
}

/// Where a path is with all links above it followed. What is there itself may be a link.
fn place(root: &Path, path: &str) -> Option<PathBuf> {
    let full = root.join(path);
    Some(fs::canonicalize(full.parent()?).ok()?.join(full.file_name()?))
}

/// To which of these a path, or a link below it or behind such a link, leads: to them, into them, or to a folder around them.
fn leads(path: &Path, to: &[Half]) -> BTreeSet<usize> {
    let (mut open, mut seen, mut led) = (vec![path.to_owned()], HashSet::new(), BTreeSet::new());
    let places: Vec<_> = to.iter().enumerate().filter_map(|(i, half)| Some((i, half.real.as_ref()?))).collect();
    while let Some(path) = open.pop() {
        if led.len() == places.len() {
            break;
        }
        let Ok(real) = fs::canonicalize(path) else { continue };
        let meets = places.iter().filter(|(_, place)| real.starts_with(place) || place.starts_with(&real));
        led.extend(meets.map(|(i, _)| *i));
        if !real.is_dir() || !seen.insert(real.clone()) {
            continue;
        }
        let entries = fs::read_dir(real).into_iter().flatten().flatten();
        let more = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_symlink()));
        open.extend(more.map(|entry| entry.path()));
    }
    led
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_gone_once_for_all_who_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        ["read/deep", "one", "other"].iter().for_each(|folder| fs::create_dir_all(root.join(folder)).unwrap());
        symlink(root.join("one"), root.join("read/deep/link")).unwrap();
        let half = |path: &str| {
            let of = OfOther { pipeline: "p".to_owned(), kept: None, stands: true };
            Half::new(root, root, path.to_owned(), of, true)
        };
        let halves = Halves::of(vec![half("other/a"), half("one/a")]);
        let read = || halves.standing().map(|which| halves.is_read(which, root, "read")).collect::<Vec<_>>();
        assert_eq!(read(), [false, true]);
        fs::remove_file(root.join("read/deep/link")).unwrap();
        assert_eq!(read(), [false, true], "it was not looked at again");
        assert!(halves.writer_of(root, "read").is_some() && halves.writer_of(root, "other/b").is_none());
    }
}
