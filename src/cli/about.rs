//! Which runs are about a node. Does not know how they are listed.

use crate::base::text::did_you_mean;
use crate::cli::jobs::History;
use crate::cli::{Context, find};
use crate::pipeline::types::Item;
use crate::session::fail::Fail;
use crate::session::load::{Given, load};
use crate::session::targets::Paths;
use crate::store::filter::About;

/// What runs have to be about to be about what is named so: a node or a step of the file, or what the file does not have any more
/// and the history still has.
pub(super) fn about(context: &Context, history: &History, name: &str) -> Result<About, Fail> {
    // History may outlive its file.
    let file = find::find(context.file.as_deref(), &context.surroundings).ok();
    let loaded = file.and_then(|file| load(&file, &Given::default()).ok());
    let name =
        loaded.as_ref().map_or(name.to_owned(), |loaded| Paths::new(loaded, &context.surroundings.folder).name(name));
    let pipeline = loaded.as_ref().map(|loaded| &loaded.pipeline);
    match pipeline.and_then(|pipeline| Some((pipeline, pipeline.names.get(&name)?))) {
        Some((pipeline, Item::Node(node))) => return Ok(About::node(pipeline, *node)),
        Some((_, Item::Recipe(_))) => return Ok(About::gone(&name)),
        None if history.ran(&name)?.is_some() => return Ok(About::gone(&name)),
        None => {}
    }
    let help = pipeline.and_then(|pipeline| did_you_mean(&name, pipeline.names.keys().map(String::as_str)));
    let help = help.unwrap_or_else(|| "`kiln list` shows what there is".to_owned());
    Err(Fail::Usage(format!("--output {name}: there is no such node, nor has a run built one"), Some(help)))
}
