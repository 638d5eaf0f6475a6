//! What an earlier run did not get done, as the targets of a new one. Does not know who asks.

use std::collections::HashSet;

use crate::pipeline::types::Pipeline;
use crate::view::{RunView, StepState};

/// The steps that have no good end, by whether the file still has them.
pub(crate) fn undone(pipeline: &Pipeline, view: &RunView) -> (Vec<String>, Vec<String>) {
    let names: HashSet<_> = pipeline.recipes.values().map(|recipe| recipe.name.as_str()).collect();
    let open = view.steps.iter().filter(|step| match step.state {
        StepState::Built | StepState::Same | StepState::Current => false,
        StepState::Waiting
        | StepState::Running
        | StepState::Retrying
        | StepState::Publishing
        | StepState::Failed
        | StepState::Stopped
        | StepState::Skipped => true,
    });
    open.map(|step| step.plan.id.clone()).partition(|name| names.contains(name.as_str()))
}
