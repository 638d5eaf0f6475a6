//! What the names in templates stand for. Does not know where nodes lie: paths are given by the caller.

use crate::base::id::{NodeId, RecipeId};
use crate::pipeline::types::Pipeline;

/// What a name in a template stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// `inputs`: the paths of all inputs that have one, in order.
    Inputs,
    /// `inputs.NAME`
    Input(&'a str),
    /// `output`: the path of the only output.
    Output,
    /// `outputs.NAME`
    OutputOf(&'a str),
    /// `vars.NAME`
    Var(&'a str),
    /// `pipeline.name`
    PipelineName,
    /// `project`
    Project,
}

impl<'a> Reference<'a> {
    /// What `name` stands for.
    #[must_use]
    pub fn of(name: &'a str) -> Option<Self> {
        match name.split_once('.') {
            None if name == "inputs" => Some(Self::Inputs),
            None if name == "output" => Some(Self::Output),
            None if name == "project" => Some(Self::Project),
            Some(("inputs", node)) => Some(Self::Input(node)),
            Some(("outputs", node)) => Some(Self::OutputOf(node)),
            Some(("vars", var)) => Some(Self::Var(var)),
            Some(("pipeline", "name")) => Some(Self::PipelineName),
            _ => None,
        }
    }
}

/// The values of a name in a template of `recipe`, with paths from `path`. Empty for a name that `check` refuses.
pub fn values(
    pipeline: &Pipeline,
    recipe: RecipeId,
    name: &str,
    path: &impl Fn(NodeId) -> Option<String>,
) -> Vec<String> {
    let recipe = &pipeline.recipes[recipe];
    let node = |among: &[NodeId], name: &str| {
        let id = among.iter().find(|id| pipeline.nodes[**id].name == name);
        id.and_then(|id| path(*id)).into_iter().collect()
    };
    match Reference::of(name) {
        None => Vec::new(),
        Some(Reference::Inputs) => recipe.inputs.iter().filter_map(|id| path(*id)).collect(),
        Some(Reference::Input(name)) => node(&recipe.inputs, name),
        Some(Reference::Output) => recipe.outputs.first().and_then(|id| path(*id)).into_iter().collect(),
        Some(Reference::OutputOf(name)) => node(&recipe.outputs, name),
        Some(Reference::Var(name)) => pipeline.vars.get(name).cloned().into_iter().collect(),
        Some(Reference::PipelineName) => vec![pipeline.name.clone()],
        Some(Reference::Project) => vec![pipeline.project.clone()],
    }
}
