//! The part of a pipeline that has to be looked at: the steps whose files changed since there was nothing to do, those of
//! which no state of a file tells, and all that needs them. Does not look at anything itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::base::digest::Digest;
use crate::base::file::FileStat;
use crate::base::id::{DenseMap, RecipeId};
use crate::pipeline::types::{Pipeline, Recipe};
use crate::session::load::Loaded;
use crate::session::memo_format::Variable;

/// What it rests on that there is nothing to do, besides the pipeline's own file and its last good builds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ground {
    /// The variables that were read.
    pub(super) variables: Vec<Variable>,
    /// Whether the default shell has to be there.
    pub(super) shell: bool,
    /// The steps that have to be looked at closely each time.
    pub(super) closely: BTreeSet<String>,
    /// All files that were looked at, each with its state.
    pub(super) files: Vec<(String, FileStat)>,
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
    pub(super) changed: HashSet<String>,
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
        let mut all = now;
        let others: Vec<_> =
            self.variables.iter().filter(|then| all.variables.iter().all(|now| now.name != then.name)).collect();
        all.variables.extend(others.into_iter().cloned());
        all.shell |= self.shell;
        let looked = |name: &String| pipeline.recipe(name).is_some_and(|id| steps[id]);
        all.closely.extend(self.closely.iter().filter(|name| !looked(name)).cloned());
        let mut files: BTreeMap<_, _> = self.files.iter().cloned().collect();
        files.extend(all.files);
        all.files = files.into_iter().collect();
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
        let pipeline = &loaded.pipeline;
        let has_changed = |recipe: &Recipe| {
            let nodes = recipe.inputs.iter().chain(&recipe.outputs).filter_map(|id| pipeline.nodes[*id].path.as_ref());
            nodes.chain(recipe.files.iter().map(|(path, _)| path)).any(|path| changed.contains(path))
        };
        let mut steps = DenseMap::filled(pipeline.recipes.len(), false);
        for id in &loaded.graph.order {
            let recipe = &pipeline.recipes[*id];
            let needs = || loaded.graph.needs[*id].iter().any(|need| steps[*need]);
            steps[*id] = ground.closely.contains(&recipe.name) || has_changed(recipe) || needs();
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
