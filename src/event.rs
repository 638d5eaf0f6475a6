//! What happens in a run, as plain data. Events are the truth that every reader folds: the store, the terminal, files of
//! JSON lines. Knows neither how they come about nor where they go.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::job::{BuildMode, JobId, JobState, Schedule};
use crate::outcome::StepState;
use crate::plan::put_back::PutBack;
use crate::plan::reason::{Action, Reason};
use crate::plan::record::Record;

pub use crate::cause::{Cause, Failure, FailureCode};
pub use crate::outcome::{Counts, Outcome};

/// The version of the form of events. It grows when a reader of the old form would misread the new one.
pub const VERSION: u32 = 1;

/// An event with its place in the run and in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "event")]
pub struct Stamped {
    /// The version of the form: 1.
    pub version: u32,
    /// The run.
    pub job: JobId,
    /// Its number in the run, counted from 0 without gaps.
    pub seq: u64,
    /// When, in UTC.
    #[schemars(with = "String")]
    pub at: jiff::Timestamp,
    /// Milliseconds since the run began.
    pub elapsed_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A run was asked for and waits for its turn. Its steps are not known yet.
    RunQueued(Box<RunStarted>),
    /// A run began.
    RunStarted(Box<RunStarted>),
    /// A step began.
    StepStarted {
        /// The step.
        step: String,
        /// Which attempt, counted from 1.
        attempt: u32,
        /// What it runs, as it can be shown.
        command: String,
        /// The file that its output goes to, relative to the state's folder.
        log: String,
    },
    /// An attempt at a step failed, and there will be another one.
    StepRetrying(Box<StepRetrying>),
    /// A job for a step is about to be asked for elsewhere. Should Kiln die now, the next run looks for it.
    StepSubmitting {
        /// The step.
        step: String,
        /// What is asked for.
        intent: Intent,
    },
    /// There is a job for a step elsewhere. Should Kiln die now, the next run goes on with it.
    StepAccepted {
        /// The step.
        step: String,
        /// The job.
        remote: RemoteJob,
    },
    /// Something that people should know while it goes on: what is waited for, or what went another way than it should.
    Noted {
        /// The step; none where it is about all that runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// What, in one sentence.
        text: String,
    },
    /// A step's new outputs are complete and flushed, and are about to be put in place. Should Kiln die now, the next run
    /// puts them in place, where that can still be done.
    StepPublishing {
        /// The step.
        step: String,
        /// How long it took so far, in milliseconds.
        took_ms: u64,
        /// What it is recorded with once it is done.
        record: Record,
        /// The outputs that are put in place.
        staged: Vec<Staged>,
    },
    /// A step ended.
    StepEnded(Box<StepEnded>),
    /// A step of which it was open whether it would be built turned out to be up to date.
    StepCurrent {
        /// The step.
        step: String,
        /// What the engine built all the same.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also_built: Vec<String>,
    },
    /// A step will not be built because of another.
    StepSkipped {
        /// The step.
        step: String,
        /// The step that failed or was stopped, and that this one needs; none when it is the run that stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// Nothing more will start.
    RunStopping {
        /// Why, in words, such as `Ctrl-C` or `split failed`.
        cause: String,
        /// The same as a value. Older versions did not tell it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<Cause>,
    },
    /// The run ended.
    RunEnded(RunEnded),
}

impl Event {
    /// That nothing more will start.
    #[must_use]
    pub fn stopping(because: Cause) -> Self {
        Self::RunStopping { cause: because.stopping(), because: Some(because) }
    }

    /// The word for what happened: its `type` in JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RunQueued(_) => "run_queued",
            Self::RunStarted(_) => "run_started",
            Self::StepStarted { .. } => "step_started",
            Self::StepRetrying(_) => "step_retrying",
            Self::StepSubmitting { .. } => "step_submitting",
            Self::StepAccepted { .. } => "step_accepted",
            Self::Noted { .. } => "noted",
            Self::StepPublishing { .. } => "step_publishing",
            Self::StepEnded(_) => "step_ended",
            Self::StepCurrent { .. } => "step_current",
            Self::StepSkipped { .. } => "step_skipped",
            Self::RunStopping { .. } => "run_stopping",
            Self::RunEnded(_) => "run_ended",
        }
    }

    /// The step to which nothing more happens from now on, and how it ended.
    #[must_use]
    pub fn over(&self) -> Option<(&str, StepState)> {
        match self {
            Self::StepEnded(ended) => Some((&ended.step, StepState::of(ended.outcome))),
            Self::StepCurrent { step, .. } => Some((step, StepState::Current)),
            Self::StepSkipped { step, .. } => Some((step, StepState::Skipped)),
            Self::RunQueued(_)
            | Self::RunStarted(_)
            | Self::StepStarted { .. }
            | Self::StepRetrying(_)
            | Self::StepSubmitting { .. }
            | Self::StepAccepted { .. }
            | Self::Noted { .. }
            | Self::StepPublishing { .. }
            | Self::RunStopping { .. }
            | Self::RunEnded(_) => None,
        }
    }

    /// Counts what it tells of a step.
    pub fn count(&self, counts: &mut Counts) {
        if let Self::StepEnded(ended) = self {
            counts.flaky += u64::from(ended.flaky);
        }
        if let Some((_, state)) = self.over() {
            state.count(1, counts);
        }
    }
}

/// A run began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunStarted {
    /// The name of the pipeline.
    pub pipeline: String,
    /// Its DSS project key.
    pub project: String,
    /// The pipeline's file as it was given.
    pub file: String,
    /// The engine.
    pub engine: String,
    /// What is built.
    pub mode: BuildMode,
    /// When a step may start.
    pub schedule: Schedule,
    /// The targets as they were given; none for all.
    pub targets: Vec<String>,
    /// What was left out of them, as it was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// How many steps run at once.
    pub max_parallel: u32,
    /// Who started it.
    pub by: String,
    /// The process.
    pub pid: u32,
    /// The machine.
    pub host: String,
    /// The version of Kiln.
    pub kiln: String,
    /// How to call `kiln run` for the same file, to which targets can be added.
    pub again: String,
    /// Whether it goes on after failures.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep_going: bool,
    /// The variables that it was given in place of those of the file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
    /// The steps that are or may be built, in the order of the plan.
    pub steps: Vec<PlannedStep>,
    /// How many steps were up to date beforehand.
    pub up_to_date: u64,
    /// The steps that are out of date and not built.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Left>,
    /// What was undone first of a run that was killed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub put_back: Vec<PutBack>,
    /// How long it is expected to take, in milliseconds, where all durations are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<u64>,
}

/// A step that is out of date and not built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Left {
    /// Its id.
    pub step: String,
    /// Why it is not built, then what is out of date.
    pub reasons: Vec<Reason>,
}

/// A step of the plan, as a run begins with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedStep {
    /// Its id.
    pub id: String,
    /// What it makes.
    pub outputs: Vec<String>,
    /// Its stage, counted from 1.
    pub stage: u32,
    /// `build`, `maybe`, `ask`, or `cannot`: then it fails, or is skipped.
    pub action: Action,
    /// Why.
    pub reasons: Vec<Reason>,
    /// How long it usually takes, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<u64>,
    /// Where it stands in the pipeline's file: `orders.toml:41`.
    pub place: String,
    /// How many attempts there are at most.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempts: u32,
    /// The steps of this run that have to end before it: their places in the list of steps, counted from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<u32>,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(n: &u32) -> bool {
    *n == 1
}

/// An attempt at a step failed, and there will be another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepRetrying {
    /// The step.
    pub step: String,
    /// The attempt that failed, counted from 1.
    pub attempt: u32,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Why it failed.
    pub failure: Failure,
    /// How long the next attempt is waited with, in milliseconds.
    pub wait_ms: u64,
}

/// A new output on the way to its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Staged {
    /// Where it is now, relative to the root. The final path itself for a recipe that writes in place.
    pub from: String,
    /// Where it goes, relative to the root.
    pub to: String,
    /// The digest of its content.
    pub digest: Digest,
    /// Whether what stands there is not of Kiln's making, and is kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep: bool,
    /// The digest of what stood there when the run was planned: whatever else stands there is kept too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stood: Option<Digest>,
}

/// What stood where an output was put in place, and was not of Kiln's making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replaced {
    /// Where it stood, relative to the root.
    pub path: String,
    /// Where it is kept, relative to the root.
    pub kept: String,
}

/// What an engine is about to be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Intent {
    /// The request, in the engine's own words; the same request is the same text.
    pub request: String,
    /// The jobs for the same that there were before.
    #[serde(default)]
    pub known: Vec<String>,
    /// The newest jobs of any kind that there were before: a list that shows none of them may not reach back as far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elders: Vec<String>,
    /// How many jobs were listed then. A shorter list is not cut off.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub listed: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_nothing(n: &u32) -> bool {
    *n == 0
}

/// A job elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoteJob {
    /// Its id there.
    pub id: String,
    /// Its page for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// Whether someone else started it, and this run only waits for it.
    #[serde(default)]
    pub joined: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A step ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepEnded {
    /// The step.
    pub step: String,
    /// Which attempt, counted from 1.
    pub attempt: u32,
    /// How.
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether it was built although an attempt before had failed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub flaky: bool,
    /// What it is recorded with, where it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// What the engine built besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_built: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Processes that it had left behind and that were ended then, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaked: Vec<String>,
    /// What stood where its outputs were put in place, and was not of Kiln's making.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Replaced>,
}

impl StepEnded {
    /// That a step ended so, and nothing else to tell of it.
    #[must_use]
    pub fn new(step: &str, attempt: u32, outcome: Outcome, took_ms: u64) -> Self {
        Self {
            step: step.to_owned(),
            attempt,
            outcome,
            took_ms,
            flaky: attempt > 1 && matches!(outcome, Outcome::Built | Outcome::Same),
            record: None,
            also_built: Vec::new(),
            failure: None,
            leaked: Vec::new(),
            replaced: Vec::new(),
        }
    }
}

/// The run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunEnded {
    /// How.
    pub state: JobState,
    /// Why, in words, where it did not end well: `split: exit 3`, `Ctrl-C`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The same as a value. Older versions did not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Cause>,
    /// How many steps of each kind there were.
    pub counts: Counts,
}

impl RunEnded {
    /// That it ended so.
    #[must_use]
    pub fn new(state: JobState, because: Option<Cause>, counts: Counts) -> Self {
        Self { state, why: because.as_ref().map(Cause::to_string), because, counts }
    }

    /// Why, as a value, whichever version told it.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.because.clone().or_else(|| self.why.as_deref().map(Cause::of_words))
    }
}
