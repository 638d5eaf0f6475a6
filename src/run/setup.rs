//! What a run begins with, what can happen to it and what it can ask for: plain data between the machine and the loop.

use std::sync::Arc;

use crate::base::digest::Digest;
use crate::base::id::{NodeId, RecipeId};
use crate::base::job::{BuildMode, JobId, Schedule};
use crate::engine::api::{Attempted, Notice, Stop};
use crate::event::{Cause, Event, Failure, Replaced, Staged};
use crate::pipeline::types::Pipeline;
use crate::plan::facts::Facts;
use crate::plan::reason::Action;
use crate::plan::record::History;

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The run begins.
    Begin,
    /// An attempt at a step ended.
    Ended {
        /// The step.
        step: usize,
        /// What came of it.
        attempted: Attempted,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// The time that was asked for with [`Effect::Wake`] is over.
    Woken(Timer),
    /// The slot that was asked for with [`Effect::AskSlot`] is there.
    Slot,
    /// An engine tells about a job for a step.
    Noticed {
        /// The step.
        step: usize,
        /// What it tells.
        notice: Notice,
    },
    /// The staged outputs of the steps that were to be made durable are, or are not, in the same order.
    Flushed(Vec<Result<(), Failure>>),
    /// The outputs of a step are in place, or are not.
    Published {
        /// The step.
        step: usize,
        /// What they replaced that is kept; or why they are not.
        result: Result<Vec<Replaced>, Failure>,
    },
    /// Someone asks the run to end.
    Asked(Cause),
    /// The history or a log cannot be kept; the text says which and why.
    Broken(String),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// More staged outputs.
    Linger,
    /// The end of the time that an attempt at a step may take.
    Deadline(usize, u32),
    /// The next attempt at a step.
    Retry(usize),
    /// The end of the time that the run may take.
    TimeLimit,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Tell the world.
    Emit(Box<Event>),
    /// Start an attempt at a step.
    Start {
        /// The step.
        step: usize,
        /// Which attempt, counted from 1.
        attempt: u32,
        /// What its key says about its inputs.
        inputs: Vec<(NodeId, Digest)>,
    },
    /// Get a slot for the step that starts next, where runs share them, and send [`Input::Slot`].
    AskSlot,
    /// That slot is not needed any more.
    LeaveSlot,
    /// Send [`Input::Woken`] after so many milliseconds.
    Wake(Timer, u64),
    /// Make the staged outputs of these steps durable.
    Flush(Vec<(usize, Vec<Staged>)>),
    /// Put the outputs of a step in place, once all that was emitted before is committed.
    Publish(usize, Vec<Staged>),
    /// Tell the work of one step.
    StopStep(usize, Stop),
    /// Tell all running work.
    Stop(Stop),
    /// The run is over.
    End,
}

/// How long staged outputs wait for more of their kind, in milliseconds, and only while nothing could start if they were in
/// place. Each flush of many takes the whole file system, each commit the disk: longer saves more, and people see no difference.
pub const LINGER_MS: u64 = 50;

/// What a run does about parallelism and failure.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// When a step may start.
    pub schedule: Schedule,
    /// How many steps run at once.
    pub jobs: usize,
    /// How many failures stop the run; none for no number.
    pub max_fail: Option<u32>,
    /// Whether such a failure also stops what runs.
    pub kill: bool,
    /// How long the run may take, in milliseconds.
    pub time_limit_ms: Option<u64>,
    /// Where the chance in the waits between attempts comes from.
    pub seed: u64,
}

/// What a run begins with.
pub struct Setup {
    /// The run.
    pub job: JobId,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// What was there when it was planned.
    pub facts: Facts,
    /// What was built before.
    pub history: Box<dyn History>,
    /// What is built.
    pub mode: BuildMode,
    /// About parallelism and failure.
    pub policy: Policy,
    /// The steps that are or may be built, in run order.
    pub steps: Vec<SetupStep>,
}

/// A step that a run begins with.
pub struct SetupStep {
    /// The step.
    pub id: RecipeId,
    /// Its stage.
    pub stage: u32,
    /// What the plan says.
    pub action: Action,
    /// What it runs, for people; empty where it runs nothing, which has no log.
    pub command: String,
    /// How long the longest way from it to the end takes, in milliseconds.
    pub remaining_ms: u64,
}
