//! Where pipelines have their roots, and where links lead, as far as that was met while steps' inputs and outputs were looked at: no folder
//! is walked through for that alone. Does not know what is done about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::files::tree;
use crate::pipeline::paths::{OWN, lies_in};
use crate::store::lock::{QUEUE, held};

/// What was met. Shared by all who look.
#[derive(Debug, Default)]
pub(super) struct Met(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    /// The folders that hold a `.kiln`, as they are known.
    roots: BTreeSet<String>,
    /// The folders that links led to or into, with all links followed.
    links: BTreeSet<PathBuf>,
}

impl Met {
    fn all(&self) -> MutexGuard<'_, All> {
        // Nothing is half done where this could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A walk through a folder begins: what was met in it may be gone.
    pub(super) fn begin(&self, folder: &str) {
        self.all().roots.retain(|root| !lies_in(root, folder));
    }

    /// A folder with a `.kiln` in it was met.
    pub(super) fn root(&self, folder: &str) {
        self.all().roots.insert(folder.to_owned());
    }

    /// A link was met that is followed.
    pub(super) fn link(&self, link: &Path) {
        let Ok(real) = fs::canonicalize(link) else { return };
        let folder = if real.is_dir() { Some(real.as_path()) } else { real.parent() };
        self.all().links.extend(folder.map(Path::to_owned));
    }

    /// Whether a pipeline has its root in a folder, as the last walk through it met that.
    pub(super) fn holds(&self, folder: &str) -> bool {
        self.all().roots.iter().any(|root| lies_in(root, folder))
    }

    /// All roots, and all folders that links led to.
    pub(super) fn folders(&self) -> (BTreeSet<String>, BTreeSet<PathBuf>) {
        let all = self.all();
        (all.roots.clone(), all.links.clone())
    }

    /// A pipeline of which a run goes on, and its root, where that is in this folder.
    pub(super) fn at_work(&self, top: &Path, folder: &str) -> Option<(String, String)> {
        let mut inside: Vec<_> = self.all().roots.iter().filter(|root| lies_in(root, folder)).cloned().collect();
        inside.retain(|root| top.join(root).is_dir());
        inside.into_iter().find_map(|root| Some((runs_in(&top.join(&root))?, root)))
    }
}

/// A pipeline with its root in this very folder of which a run goes on.
fn runs_in(root: &Path) -> Option<String> {
    let state = root.join(OWN);
    held(&state).into_iter().find(|pipeline| pipeline != QUEUE)
}

/// Whether a pipeline has its root in a folder, where that was not walked through.
pub(super) fn holds_root(folder: &Path) -> bool {
    tree(folder).flatten().any(|(path, metadata)| metadata.is_dir() && path.file_name().is_some_and(|name| name == OWN))
}
