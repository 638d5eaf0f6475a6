//! Where links lead by which steps read: not to what recipes make, for then nobody knows that it is made first. What cannot be read is
//! told with its path, and with where links lead. Does not read what is there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::base::id::NodeId;
use crate::base::span::{Problem, Problems, Span};
use crate::engine::local::Local;
use crate::engine::local::files;
use crate::files::{real, tree};
use crate::pipeline::paths::{OWN, ancestors, folder_of, is_glob, lies_in};
use crate::pipeline::types::{Node, Pipeline, Recipe};

/// What is made at a path, as the file says that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) path: String,
    pub(super) node: NodeId,
}

type Later<T> = LazyLock<T, Box<dyn FnOnce() -> T + Send>>;

/// What recipes make below a root. It is asked for where there is a link.
pub(super) struct Built {
    root: PathBuf,
    real_root: Later<PathBuf>,
    /// By where it lies with all links above it followed.
    made: Later<BTreeMap<String, Made>>,
    /// The folders that were looked at: whether a link leads there.
    folders: Mutex<HashMap<String, bool>>,
}

/// A link that leads to what is made, to what lies in that, or to what holds it.
#[derive(Debug)]
struct Misled {
    link: String,
    /// Where it leads; below the root unless it leads around it.
    to: String,
    /// None where it leads into a folder that is for Kiln alone.
    made: Option<Made>,
}

impl std::error::Error for Misled {}

impl fmt::Display for Misled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, to, .. } = self;
        let shown = if to.is_empty() { "the root" } else { to };
        match &self.made {
            None => write!(f, "the link {link} leads into {OWN}, which is for Kiln alone"),
            Some(made) if made.path == *to => write!(f, "the link {link} leads to {shown}, which Kiln builds"),
            Some(made) => write!(f, "the link {link} leads to {shown}, where Kiln builds {}", made.path),
        }
    }
}

impl Built {
    pub(super) fn new(root: &Path, made: impl FnOnce() -> BTreeMap<String, Made> + Send + 'static) -> Self {
        let at = root.to_owned();
        let real_root = move || at.canonicalize().unwrap_or(at);
        Self {
            root: root.to_owned(),
            real_root: LazyLock::new(Box::new(real_root)),
            made: LazyLock::new(Box::new(made)),
            folders: Mutex::default(),
        }
    }

    /// What is made, by where it lies with all links above it followed.
    pub(super) fn made(&self) -> impl Iterator<Item = &str> {
        self.made.keys().map(String::as_str)
    }

    /// Refuses a path of the file that a link, in its own place or above it, leads to what is made.
    pub(super) fn refuse_path(&self, path: &str) -> io::Result<()> {
        if self.is_by_link(path) { self.refuse(&self.root.join(path)) } else { Ok(()) }
    }

    /// The same for a path with a link in it.
    pub(super) fn refuse(&self, full: &Path) -> io::Result<()> {
        let Some(made) = self.behind(full) else { return Ok(()) };
        let below = full.ancestors().take_while(|above| **above != *self.root);
        let link = below.into_iter().find(|above| above.is_symlink()).unwrap_or(full);
        let to = real(link).map(|real| self.shown(&real)).unwrap_or_default();
        let link_shown = link.strip_prefix(&self.root).unwrap_or(link).display().to_string();
        Err(io::Error::other(Misled { link: link_shown, to, made: made.cloned() }))
    }

    /// An error of the system about a path, with that path, and with where links there lead.
    pub(super) fn named(&self, full: &Path, error: io::Error) -> io::Error {
        if error.raw_os_error().is_none() {
            return error; // it was told where it was found
        }
        let path = full.strip_prefix(&self.root).unwrap_or(full);
        let real = real(full).filter(|real| *real != self.real_root.join(path));
        let links = real.map(|real| format!(" (with links followed {})", self.shown(&real))).unwrap_or_default();
        io::Error::new(error.kind(), format!("{}{links}: {error}", path.display()))
    }

    /// A path with all links followed as it is told: relative to the root where it lies there.
    fn shown(&self, real: &Path) -> String {
        real.strip_prefix(&*self.real_root).unwrap_or(real).display().to_string()
    }

    fn is_by_link(&self, path: &str) -> bool {
        self.is_behind_link(folder_of(path)) || self.root.join(path).is_symlink()
    }

    /// The same for a folder in which there is more. Each is looked at once.
    fn is_behind_link(&self, folder: &str) -> bool {
        // It is only ever added to.
        let lock = || self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let known = if folder.is_empty() { Some(false) } else { lock().get(folder).copied() };
        known.unwrap_or_else(|| {
            let found = self.is_by_link(folder);
            lock().insert(folder.to_owned(), found);
            found
        })
    }

    /// What is made where a path leads; nothing is named where that is for Kiln alone.
    fn behind(&self, full: &Path) -> Option<Option<&Made>> {
        if self.made.is_empty() {
            return None;
        }
        let real = real(full)?;
        // What is around the root is around all that is in it.
        let below =
            if self.real_root.starts_with(&real) { Path::new("") } else { real.strip_prefix(&*self.real_root).ok()? };
        let below = below.to_str()?;
        if below.split('/').any(|name| name == OWN) {
            return Some(None);
        }
        let around = ancestors(below).find_map(|path| self.made.get(path));
        let inside = || match below {
            "" => self.made.values().next(),
            _ => self.made.range(format!("{below}/")..format!("{below}0")).next().map(|(_, made)| made),
        };
        around.or_else(inside).map(Some)
    }
}

/// What is read.
#[derive(Clone, Copy)]
pub(super) enum Read<'a> {
    /// A source, or what a recipe makes.
    Node(&'a Node),
    /// What an entry of the `files` of a recipe names.
    Files(&'a Recipe, &'a str),
}

/// That it cannot be read, and a way out.
pub(super) fn unreadable(pipeline: &Pipeline, read: Read<'_>, error: &io::Error) -> Problem {
    let (what, otherwise) = match read {
        Read::Node(node) => (format!("`{}`", node.name), "Kiln digests contents: it has to read them"),
        Read::Files(_, file) => (
            format!("`{file}` of `files`"),
            "Kiln digests all of it: make it readable, give it another name, or name less in `files`",
        ),
    };
    let help = misled(error).map_or_else(|| otherwise.to_owned(), |misled| way_out(pipeline, read, misled));
    Problem::new("unreadable", format!("{what} cannot be read: {error}")).help(help)
}

fn way_out(pipeline: &Pipeline, read: Read<'_>, misled: &Misled) -> String {
    let Misled { link, to, made } = misled;
    let Some(made) = made else { return format!("remove the link {link}") };
    let add =
        format!("what is built is an input by its name: add \"{}\" to `inputs`, and ", pipeline.nodes[made.node].name);
    let (path, add, instead) = match read {
        Read::Files(_, glob) if is_glob(glob) => return format!("{add}the glob leaves the link out"),
        // What it makes itself is no input of it.
        Read::Files(recipe, file) if recipe.outputs.contains(&made.node) => (file, String::new(), String::new()),
        Read::Files(_, file) => (file, add, String::new()),
        Read::Node(node) => {
            (node.path.as_deref().unwrap_or_default(), add, format!(" in the place of `{}`", node.name))
        }
    };
    if lies_in(path, link) {
        let out = match read {
            Read::Files(..) => "leave it out of `files`".to_owned(),
            Read::Node(node) => format!("leave out `{}`", node.name),
        };
        return format!("{add}{out}");
    }
    // What else is behind the link may be read, too.
    let beside = lies_in(&made.path, to) && made.path != *to && !to.is_empty();
    let beside = if beside { format!(", \"{to}/**\"") } else { String::new() };
    format!(
        "{add}have files = [\"{path}/**\"{beside}]{instead}: globs follow no link to a folder, and leave out what is built"
    )
}

/// Whether a path is refused for a link to what is an input by its name, or what the recipe makes itself: globs leave that out.
pub(super) fn is_left_out(recipe: &Recipe, error: &io::Error) -> bool {
    let made = misled(error).and_then(|misled| misled.made.as_ref());
    made.is_some_and(|made| recipe.inputs.contains(&made.node) || recipe.outputs.contains(&made.node))
}

fn misled(error: &io::Error) -> Option<&Misled> {
    error.get_ref()?.downcast_ref()
}

/// What is wrong with sources, and with folders of `files`, for where links lead.
pub(super) fn check(local: &Local) -> Problems {
    let pipeline = &local.pipeline;
    let sources = pipeline.nodes.values().filter(|node| node.maker.is_none()).filter_map(|node| {
        let error = refused(local, node.path.as_deref()?)?;
        Some(unreadable(pipeline, Read::Node(node), &error).at(&node.path_span, "this path"))
    });
    let files = pipeline.recipes.values().flat_map(|recipe| recipe.files.iter().map(move |file| (recipe, file)));
    let files = files.filter(|(_, (file, _))| !is_glob(file)).filter_map(|(recipe, (file, span))| {
        let error = refused(local, file)?;
        Some(unreadable(pipeline, Read::Files(recipe, file), &error).at(span, "this path"))
    });
    sources.chain(files).collect()
}

/// Warnings of links to folders that globs of `files` do not follow, where what is behind them counts by no other name. `files` is all
/// that these name.
pub(super) fn passed_over(local: &Local, recipe: &Recipe, built: &BTreeSet<&str>, files: &[String]) -> Problems {
    let Local { root, digester, .. } = local;
    let files: HashSet<&str> = files.iter().map(String::as_str).collect();
    let is_in = |path: &str| ancestors(path).any(|path| files.contains(path) || built.contains(path));
    let to = |path: &str| root.join(path).canonicalize().map(|real| digester.built.shown(&real)).unwrap_or_default();
    let counts = |path: &str| is_in(path) || is_in(&to(path));
    let warn = |(pattern, span): &(String, Span)| {
        let link = files::passed_over(root, pattern, built, &counts).unwrap_or_default().into_iter().next()?;
        let read = match digester.built.refuse_path(&link) {
            Ok(()) => format!("name `{link}` too, if it is read"),
            Err(_) => format!("name \"{}/**\" too, if more is read there than what is built", to(&link)),
        };
        let message = format!("`{pattern}` of `files` does not follow the link {link}");
        let problem = Problem::new("link-passed-over", message).at(span, "what lies behind it does not count").warn();
        Some(problem.help(format!("globs follow no links to folders: {read}")))
    };
    recipe.files.iter().filter_map(warn).collect()
}

/// Why a path is refused for where links lead, in its own place, above it, or in it.
fn refused(local: &Local, path: &str) -> Option<io::Error> {
    let Local { root, digester, .. } = local;
    let in_it = || {
        let full = root.join(path).join(""); // with a stroke at its end: a link in its own place is followed
        let links = tree(&full).flatten().filter(|(_, metadata)| metadata.is_symlink());
        let mut refused = links.map(|(link, _)| digester.built.refuse(&link));
        refused.find_map(Result::err)
    };
    digester.built.refuse_path(path).err().or_else(in_it)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::base::id::Id;

    #[test]
    fn a_link_leads_to_what_is_built_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for folder in ["in", "out/d", "out-not", "other", ".kiln/logs"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("out/a"), "").unwrap();
        let made = |path: &str| (path.to_owned(), Made { path: path.to_owned(), node: NodeId::from_index(0) });
        let built = Built::new(dir.path(), move || ["out/a", "out/d", "out/none"].map(made).into());
        for (to, made) in [
            ("../out/a", Some("out/a")),
            ("../out/d", Some("out/d")),
            ("../out", Some("out/a")),
            ("..", Some("out/a")),
            ("/", Some("out/a")),
            ("../.kiln/logs", Some(".kiln")),
            ("../out-not", None),
            ("../other", None),
            ("../out/none", Some("out/none")),
            ("../none/a", None),
        ] {
            symlink(to, at("in/link")).unwrap();
            let found = built.behind(&at("in/link")).map(|made| made.map_or(OWN, |made| made.path.as_str()));
            assert_eq!(found, made, "{to}");
            fs::remove_file(at("in/link")).unwrap();
        }
    }
}
