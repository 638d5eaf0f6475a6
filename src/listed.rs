//! What targets stand for where nothing is to be built: sources and what is built only when it is named are among it. Does not know how
//! that is shown.

use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::graph::Graph;
use crate::pipeline::paths::{glob, is_glob};
use crate::pipeline::types::{Item, Pipeline};
use crate::select::{SelectError, Selector, Spec, no_match};

/// Steps and sources.
#[derive(Clone, Debug)]
pub struct Listed {
    steps: DenseMap<RecipeId, bool>,
    sources: DenseMap<NodeId, bool>,
}

impl Listed {
    /// What the targets stand for, or everything, less what is excluded.
    ///
    /// # Errors
    /// The first target that cannot be meant or stands for nothing, or that nothing is left.
    pub fn of(pipeline: &Pipeline, graph: &Graph, targets: &[String], exclude: &[String]) -> Result<Self, SelectError> {
        let mut listed = Self::all(pipeline, targets.is_empty());
        let any = DenseMap::filled(pipeline.recipes.len(), true);
        let selector = Selector::new(pipeline, graph, &any);
        targets.iter().try_for_each(|text| listed.mark(pipeline, &selector, text, true))?;
        exclude.iter().try_for_each(|text| listed.mark(pipeline, &selector, text, false))?;
        let any = listed.steps.values().any(|step| *step);
        if exclude.is_empty() || any || pipeline.nodes.ids().any(|id| listed.node(pipeline, id)) {
            return Ok(listed);
        }
        Err(SelectError::Nothing("--exclude leaves nothing over".to_owned()))
    }

    fn all(pipeline: &Pipeline, listed: bool) -> Self {
        let steps = DenseMap::filled(pipeline.recipes.len(), listed);
        Self { steps, sources: DenseMap::filled(pipeline.nodes.len(), listed) }
    }

    /// Whether a node is listed: with the step that makes it, if one does.
    #[must_use]
    pub fn node(&self, pipeline: &Pipeline, id: NodeId) -> bool {
        pipeline.nodes[id].maker.map_or(self.sources[id], |maker| self.steps[maker])
    }

    /// Whether a step is listed.
    #[must_use]
    pub fn step(&self, id: RecipeId) -> bool {
        self.steps[id]
    }

    /// Takes in what a text stands for, or takes it out.
    fn mark(
        &mut self,
        pipeline: &Pipeline,
        selector: &Selector<'_>,
        text: &str,
        listed: bool,
    ) -> Result<(), SelectError> {
        let spec = Spec::of(text);
        let (named, readers) = selector.named(&spec)?;
        let mut sources = sources(pipeline, spec.name);
        if named.is_empty() && sources.is_empty() {
            return Err(SelectError::Nothing(no_match(pipeline, text, !listed)));
        }
        if spec.up {
            let above = selector.around(&Spec { down: false, ..spec }, named.clone(), Vec::new());
            sources.extend(above.iter().flat_map(|id| &pipeline.recipes[*id].inputs));
        }
        let steps = selector.around(&spec, named, readers);
        steps.into_iter().for_each(|id| self.steps[id] = listed);
        // What is made is listed with what makes it.
        sources.into_iter().for_each(|id| self.sources[id] = listed);
        Ok(())
    }
}

/// The sources that a name, a tag or a pattern stands for.
fn sources(pipeline: &Pipeline, name: &str) -> Vec<NodeId> {
    let is_source = |id: &NodeId| pipeline.nodes[*id].maker.is_none();
    if let Some(tag) = name.strip_prefix("tag:") {
        let has = |id: &NodeId| pipeline.nodes[*id].tags.iter().any(|other| other == tag);
        return pipeline.nodes.ids().filter(|id| is_source(id) && has(id)).collect();
    }
    if is_glob(name) {
        // What is no pattern was told before.
        let Ok(pattern) = glob(name) else { return Vec::new() };
        return pipeline
            .nodes
            .ids()
            .filter(|id| is_source(id) && pattern.is_match(&pipeline.nodes[*id].name))
            .collect();
    }
    match pipeline.names.get(name) {
        Some(Item::Node(id)) => Some(*id).filter(is_source).into_iter().collect(),
        Some(Item::Recipe(_)) | None => Vec::new(),
    }
}
