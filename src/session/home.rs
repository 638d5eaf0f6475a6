//! Which file the history of a pipeline is that of: one history for two of the same name mixes what is not the same. Does not
//! know what was built.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::session::load::{Loaded, head_of};
use crate::store::lock::beside;

fn note(state: &Path, pipeline: &str) -> PathBuf {
    beside(state, pipeline, "file")
}

/// Where the file of a pipeline lies.
fn place(loaded: &Loaded) -> Option<PathBuf> {
    Path::new(&loaded.source.name).canonicalize().ok()
}

/// What a note says: which file the history is that of, and which folder it was kept in then. In a copy of that folder the
/// note is there too, and nothing is shared.
fn text(state: &Path, place: &Path) -> Option<String> {
    let metadata = fs::metadata(state).ok()?;
    Some(format!("{}\n{}:{}", place.to_str()?, metadata.dev(), metadata.ino()))
}

/// What is to be said where the last run in this state was that of another file with a pipeline of this name, which is still
/// there. One that was moved is the same.
pub(crate) fn shared(state: &Path, loaded: &Loaded) -> Option<String> {
    let name = &loaded.pipeline.name;
    let said = fs::read_to_string(note(state, name)).ok()?;
    let other = PathBuf::from(said.lines().next()?);
    let is_of_here = text(state, &other).is_some_and(|text| text == said);
    if !is_of_here || other == place(loaded)? || head_of(&other).ok()?.1.as_ref() != Some(name) {
        return None;
    }
    Some(format!(
        "the history in {} is also that of the pipeline `{name}` in {}: what was built or done there counts here, and the other \
         way round; another `name`, or another folder with --state, keeps them apart",
        state.display(),
        other.display()
    ))
}

/// Whether it is noted that the history is that of this file.
pub(crate) fn is_settled(state: &Path, pipeline: &str, file: &Path) -> bool {
    let text = file.canonicalize().ok().and_then(|place| text(state, &place));
    text.is_some() && fs::read_to_string(note(state, pipeline)).ok() == text
}

/// Notes that the history is that of this file. The caller holds the pipeline's lock.
pub(crate) fn settle(state: &Path, loaded: &Loaded) {
    let Some(place) = place(loaded).filter(|place| !is_settled(state, &loaded.pipeline.name, place)) else { return };
    let note = note(state, &loaded.pipeline.name);
    let Some(text) = text(state, &place) else { return };
    if let Err(error) = fs::write(&note, text) {
        tracing::debug!(%error, "should another pipeline of this name come, nobody will know");
    }
}
