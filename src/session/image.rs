//! Reads a pipeline file that was read before: an image of what its text came to is kept beside the state, and as long as the
//! text, the program and all that is given with it are the same, it is taken instead. Where there is none the file is read.

use std::path::Path;
use std::sync::Arc;

use crate::base::digest::Digest;
use crate::base::span::Source;
use crate::graph::Graph;
use crate::pipeline::image;
use crate::pipeline::types::Pipeline;
use crate::session::cache::{Kind, program};
use crate::session::fail::Fail;
use crate::session::load::{Given, Loaded, of, own_paths, plain_root, text};
use crate::session::{Site, remembers, state};

const IMAGES: Kind = Kind { ending: ".pipeline", kept: 4 };

/// A shorter text is read as quickly as its image.
const SHORT: usize = 32 << 10;

/// Reads and checks a file, or takes its image.
pub(crate) fn load(site: &Site, path: &Path, given: &Given<'_>) -> Result<Loaded, Fail> {
    let (source, seen) = text(path)?;
    match recall(site, path, &source, seen.digest, given) {
        Some((pipeline, graph)) => {
            tracing::debug!("the file's text is known");
            let (root, pipeline) = (plain_root(path), Arc::new(pipeline));
            Ok(Loaded { source, root, pipeline, graph, known: true, seen: Some(seen) })
        }
        None => Ok(Loaded { seen: Some(seen), ..of(path, source, given)? }),
    }
}

fn recall(site: &Site, path: &Path, source: &Source, text: Digest, given: &Given<'_>) -> Option<(Pipeline, Graph)> {
    let root = plain_root(path);
    let question = question(path, &root, source, text, given).filter(|_| remembers(site))?;
    let bytes = IMAGES.recall(&state(site, &root), question)?;
    let pipeline = image::read(Arc::new(bytes)).ok()?;
    let graph = Graph::build(&pipeline).ok()?;
    Some((pipeline, graph))
}

/// Keeps an image of a file that was read, where that saves time. A root that the file names is not known before it is read.
pub(super) fn keep(site: &Site, path: &Path, loaded: &Loaded, given: &Given<'_>) {
    let root = plain_root(path);
    if loaded.known || loaded.root != root || !remembers(site) {
        return;
    }
    if let Some(seen) = &loaded.seen
        && let Some(question) = question(path, &root, &loaded.source, seen.digest, given)
        && let Ok(bytes) = image::write(&loaded.pipeline)
    {
        IMAGES.keep(&state(site, &root), question, &bytes);
    }
}

/// All that what a file comes to depends on; none where it is read quickly enough.
fn question(path: &Path, root: &Path, source: &Source, text: Digest, given: &Given<'_>) -> Option<Digest> {
    if source.text.len() < SHORT {
        return None;
    }
    let own = own_paths(path, root);
    let asked = format!("{} {:?} {root:?} {own:?} {given:?} {text}", env!("CARGO_PKG_VERSION"), program()?);
    Some(Digest::of(asked.as_bytes()))
}
