//! The plan as JSON, versioned. The same state gives the same bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::job::BuildMode;
use crate::pipeline::types::Pipeline;
use crate::plan::Plan;
use crate::plan::estimate::Estimate;
use crate::plan::put_back::PutBack;
use crate::plan::reason::{Action, Reason};
use crate::select::Selection;

/// The version of the form of the plan. It grows when a reader of the old form would misread the new one.
pub const VERSION: u32 = 1;

/// What would be built, in run order, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "plan")]
pub struct PlanJson {
    /// The version of the form: 1.
    pub version: u32,
    /// The name of the pipeline.
    pub pipeline: String,
    /// Its DSS project key.
    pub project: String,
    /// The engine.
    pub engine: String,
    /// What is built.
    pub mode: BuildMode,
    /// The targets as they were given; none for all.
    pub targets: Vec<String>,
    /// What was left out of them, as it was given. Absent where nothing was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The wanted steps in run order, those that are up to date included.
    pub steps: Vec<StepJson>,
    /// The longest way through the steps that are or may be built.
    pub longest_path: Vec<String>,
    /// The expected span in milliseconds: at least, at most. Absent where a duration is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<(u64, u64)>,
    /// Recipes that the engine cannot build, where all were asked for.
    pub not_for_engine: Vec<String>,
    /// Outputs that were being written in place when a run was killed: the next run undoes that first. Absent where
    /// there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub put_back: Vec<PutBack>,
}

/// A step of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepJson {
    /// Its id.
    pub id: String,
    /// Its recipe.
    pub recipe: String,
    /// What it makes; empty for a task.
    pub outputs: Vec<String>,
    /// The partition; `NP` where there are none.
    pub partition: String,
    /// Its stage in the whole graph, counted from 1.
    pub stage: u32,
    /// What happens to it.
    pub action: Action,
    /// Why; empty for what is up to date. For what is out of date and not built, why not.
    pub reasons: Vec<Reason>,
    /// How long it usually takes, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<u64>,
}

impl PlanJson {
    /// The plan with names in place of ids.
    #[must_use]
    pub fn new(pipeline: &Pipeline, selection: &Selection, plan: &Plan, estimate: &Estimate, engine: &str) -> Self {
        let name = |id| pipeline.recipes[id].name.clone();
        let steps = plan.steps.iter().map(|step| StepJson {
            id: name(step.id),
            recipe: name(step.id),
            outputs: pipeline.output_names(step.id).map(str::to_owned).collect(),
            partition: "NP".to_owned(),
            stage: step.stage,
            action: step.action,
            reasons: step.reasons.clone(),
            expected_ms: step.expected_ms,
        });
        Self {
            version: VERSION,
            pipeline: pipeline.name.clone(),
            project: pipeline.project.clone(),
            engine: engine.to_owned(),
            mode: selection.mode,
            targets: selection.targets.clone(),
            exclude: selection.exclude.clone(),
            steps: steps.collect(),
            longest_path: estimate.longest.iter().map(|id| name(*id)).collect(),
            expected_ms: (estimate.unknown == 0).then_some((estimate.least_ms, estimate.most_ms)),
            not_for_engine: selection.not_for_engine.iter().map(|id| name(*id)).collect(),
            put_back: Vec::new(),
        }
    }

    /// With what the next run undoes first.
    #[must_use]
    pub fn with(self, put_back: Vec<PutBack>) -> Self {
        Self { put_back, ..self }
    }
}
