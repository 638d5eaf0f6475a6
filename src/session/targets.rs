//! Targets that are paths: what somebody finds among their files has a name in the pipeline. Does not know what is built.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use crate::session::load::Loaded;

/// The names of what lies at paths. Nothing is looked up before a target is a path.
pub(crate) struct Paths<'a> {
    loaded: &'a Loaded,
    folder: &'a Path,
    known: OnceCell<Known<'a>>,
}

struct Known<'a> {
    /// The folder from which paths are seen, as the file system has it.
    folder: PathBuf,
    /// The names of nodes by their paths.
    names: HashMap<&'a str, &'a str>,
}

impl<'a> Paths<'a> {
    /// Paths that are seen from `folder`, else from the root.
    pub(crate) fn new(loaded: &'a Loaded, folder: &'a Path) -> Self {
        Self { loaded, folder, known: OnceCell::new() }
    }

    fn known(&self) -> &Known<'a> {
        self.known.get_or_init(|| {
            let mut names = HashMap::new();
            for node in self.loaded.pipeline.nodes.values() {
                if let Some(path) = &node.path {
                    names.entry(path.as_str()).or_insert(node.name.as_str());
                }
            }
            Known { folder: self.folder.canonicalize().unwrap_or_else(|_| self.folder.to_owned()), names }
        })
    }

    /// A target by its name, where it is exactly the path of a node. What is the name of something already stays what it is.
    pub(crate) fn name(&self, target: &str) -> String {
        let (above, rest) = target.strip_prefix('+').map_or(("", target), |rest| ("+", rest));
        let (path, below) = rest.strip_suffix('+').map_or((rest, ""), |path| (path, "+"));
        if path.is_empty() || self.loaded.pipeline.names.contains_key(path) || path.starts_with("tag:") {
            return target.to_owned();
        }
        let Known { folder, names } = self.known();
        let name = [folder, &self.loaded.root].into_iter().find_map(|from| {
            let whole = plain(&from.join(path));
            names.get(whole.strip_prefix(&self.loaded.root).ok()?.to_str()?)
        });
        name.map_or_else(|| target.to_owned(), |name| format!("{above}{name}{below}"))
    }
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}
