//! Which file the history of a pipeline is that of: one history for two of the same name mixes what is not the same. Does not
//! know what was built.

use std::fs;
use std::path::{Path, PathBuf};

use crate::session::load::{Loaded, head_of};

fn note(state: &Path, pipeline: &str) -> PathBuf {
    state.join("locks").join(format!("{pipeline}.file"))
}

/// Where the file of a pipeline lies.
fn place(loaded: &Loaded) -> Option<PathBuf> {
    Path::new(&loaded.source.name).canonicalize().ok()
}

/// What is to be said where the last run in this state was that of another file with a pipeline of this name, which is still
/// there. One that was moved is the same.
pub(crate) fn shared(state: &Path, loaded: &Loaded) -> Option<String> {
    let name = &loaded.pipeline.name;
    let other = PathBuf::from(fs::read_to_string(note(state, name)).ok()?);
    if other == place(loaded)? || head_of(&other).ok()?.1.as_ref() != Some(name) {
        return None;
    }
    Some(format!(
        "the history in {} is also that of the pipeline `{name}` in {}: what was built or done there counts here, and the other \
         way round; another `name`, or another folder with --state, keeps them apart",
        state.display(),
        other.display()
    ))
}

/// Notes that the history is that of this file. The caller holds the pipeline's lock.
pub(crate) fn settle(state: &Path, loaded: &Loaded) {
    let (Some(here), note) = (place(loaded), note(state, &loaded.pipeline.name)) else { return };
    let Some(here) = here.to_str() else { return };
    if fs::read_to_string(&note).is_ok_and(|then| then == here) {
        return;
    }
    if let Err(error) = fs::write(&note, here) {
        tracing::debug!(%error, "should another pipeline of this name come, nobody will know");
    }
}
