//! The part of a pipeline that has to be looked at: the steps whose files changed since there was nothing to do, those of
//! which no state of a file tells, and all that needs them. Does not look at anything itself.

use std::collections::{BTreeSet, HashSet};

use crate::base::digest::Digest;
use crate::base::id::{DenseMap, RecipeId};
use crate::pipeline::outline::Owner;
use crate::pipeline::types::Pipeline;
use crate::session::load::Loaded;
use crate::session::memo_format::{Files, Variable};

/// What the finding "nothing to do" rests on, besides the pipeline's own file and its last good builds.
#[derive(Clone, Default)]
pub(crate) struct Ground {
    /// The variables that were read.
    pub(super) variables: Vec<Variable>,
    /// Whether the default shell has to be there.
    pub(super) shell: bool,
    /// The steps that have to be looked at closely each time.
    pub(super) closely: BTreeSet<String>,
    /// All files that were looked at, each with its state.
    pub(super) files: Files,
}

/// What has changed since there was nothing to do.
pub(crate) struct Since {
    /// The mark of the last good builds then.
    pub(super) mark: String,
    /// The digest of the pipeline's text then.
    pub(super) text: Digest,
    /// What that rested on.
    pub(super) ground: Ground,
    /// The files that are in another state now.
    pub(super) changed: HashSet<Vec<u8>>,
}

/// The steps that have to be looked at.
pub(crate) struct Part {
    /// Which steps.
    pub(crate) steps: DenseMap<RecipeId, bool>,
    /// The mark of the last good builds from which only these steps can differ.
    pub(super) mark: Option<String>,
    /// What it rests on that there is nothing to do for all others.
    pub(super) ground: Ground,
}

impl Ground {
    /// With what was seen since of the steps of a part.
    pub(super) fn with(&self, pipeline: &Pipeline, steps: &DenseMap<RecipeId, bool>, now: Self) -> Self {
        let files = self.files.with(&now.files);
        let mut all = Self { files, ..now };
        let others: Vec<_> =
            self.variables.iter().filter(|then| all.variables.iter().all(|now| now.name != then.name)).collect();
        all.variables.extend(others.into_iter().cloned());
        all.shell |= self.shell;
        let looked = |name: &String| pipeline.recipe(name).is_some_and(|id| steps[id]);
        all.closely.extend(self.closely.iter().filter(|name| !looked(name)).cloned());
        all
    }
}

impl Since {
    /// The part of a pipeline that has to do with it; none where the file says something else now.
    pub(crate) fn part(self, loaded: &Loaded) -> Option<Part> {
        let Self { mark, text, ground, changed } = self;
        if loaded.seen.as_ref()?.digest != text {
            return None;
        }
        let (pipeline, outline) = (&loaded.pipeline, loaded.pipeline.outline());
        let mut nodes = DenseMap::filled(pipeline.nodes.len(), false);
        let mut steps = DenseMap::filled(pipeline.recipes.len(), false);
        for (owner, _) in pipeline.paths().iter().filter(|(_, path)| changed.contains(*path)) {
            match owner {
                Owner::Node(id) => nodes[id] = true,
                Owner::Recipe(id) => steps[id] = true,
            }
        }
        let makers = nodes.iter().filter(|(_, changed)| **changed).filter_map(|(id, _)| outline.maker(id));
        let closely = ground.closely.iter().filter_map(|name| pipeline.recipe(name));
        makers.chain(closely).for_each(|id| steps[id] = true);
        for id in &loaded.graph.order {
            let reads = || outline.inputs(*id).any(|node| nodes[node]);
            let needs = || loaded.graph.needs[*id].iter().any(|need| steps[*need]);
            steps[*id] = steps[*id] || reads() || needs();
        }
        Some(Part { steps, mark: Some(mark), ground })
    }
}

impl Part {
    /// Whether it is so small that looking at it twice is nothing to what has been spared.
    pub(crate) fn is_small(&self) -> bool {
        is_small(self.steps.values().filter(|looked| **looked).count(), self.steps.len())
    }
}

/// Whether so many steps are few among so many.
pub(super) fn is_small(steps: usize, of: usize) -> bool {
    steps <= 100 || steps * 10 <= of
}
