//! Where a step stands, how it ended, and how many of a run ended in which way. Does not know what made it so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was built.
    Built,
    /// It was built, and came out as it was.
    Same,
    /// It was not built: its outputs were there, and count as built from now on.
    Adopted,
    /// It failed.
    Failed,
    /// It was stopped.
    Stopped,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepState {
    /// It has not begun.
    Waiting,
    /// It runs.
    Running,
    /// An attempt failed, and another one will be made.
    Retrying,
    /// Its outputs are being put in place.
    Publishing,
    /// It was built.
    Built,
    /// It was built, and came out as it was.
    Same,
    /// It turned out to be up to date.
    Current,
    /// It failed.
    Failed,
    /// It was stopped.
    Stopped,
    /// It was not started because of another, or because the run was stopped.
    Skipped,
}

impl StepState {
    /// Whether something is done for it just now.
    #[must_use]
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Publishing)
    }

    /// Whether nothing more will happen to it.
    #[must_use]
    pub fn is_over(self) -> bool {
        !self.is_running() && !matches!(self, Self::Waiting | Self::Retrying)
    }

    /// The state that a step is in when it has ended so.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Built => Self::Built,
            Outcome::Same => Self::Same,
            Outcome::Adopted => Self::Current,
            Outcome::Failed => Self::Failed,
            Outcome::Stopped => Self::Stopped,
        }
    }

    /// What becomes of it when the run dies: what ran was stopped, also where its outputs were complete; what was to be tried
    /// again has failed; what waited was not started.
    #[must_use]
    pub fn after_death(self) -> Self {
        match self {
            Self::Running | Self::Publishing => Self::Stopped,
            Self::Retrying => Self::Failed,
            Self::Waiting => Self::Skipped,
            Self::Built | Self::Same | Self::Current | Self::Failed | Self::Stopped | Self::Skipped => self,
        }
    }

    /// Counts so many steps in it, if nothing more will happen to them.
    pub fn count(self, steps: u64, counts: &mut Counts) {
        let number = match self {
            Self::Built => &mut counts.built,
            Self::Same => &mut counts.same,
            Self::Current => &mut counts.current,
            Self::Failed => &mut counts.failed,
            Self::Stopped => &mut counts.stopped,
            Self::Skipped => &mut counts.skipped,
            Self::Waiting | Self::Running | Self::Retrying | Self::Publishing => return,
        };
        *number += steps;
    }

    /// The word for it, as the store has it.
    #[must_use]
    pub fn stored(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Publishing => "publishing",
            Self::Built => "built",
            Self::Same => "same",
            Self::Current => "current",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
        }
    }

    /// The state that the store has this word for; what was adopted has a [word of its own](ADOPTED).
    #[must_use]
    pub fn from_stored(word: &str) -> Option<Self> {
        let all = [
            Self::Waiting,
            Self::Running,
            Self::Retrying,
            Self::Publishing,
            Self::Built,
            Self::Same,
            Self::Current,
            Self::Failed,
            Self::Stopped,
            Self::Skipped,
        ];
        if word == ADOPTED { Some(Self::Current) } else { all.into_iter().find(|state| state.stored() == word) }
    }

    /// Why a step was not started that needs this one, which ended so.
    #[must_use]
    pub fn as_cause(self, step: &str) -> String {
        match self {
            Self::Failed => format!("{step} failed"),
            Self::Skipped => format!("{step} was skipped"),
            Self::Waiting
            | Self::Running
            | Self::Retrying
            | Self::Publishing
            | Self::Built
            | Self::Same
            | Self::Current
            | Self::Stopped => format!("{step} was stopped"),
        }
    }
}

/// What the store says of a step that was not built, but counts as built from then on.
pub const ADOPTED: &str = "adopted";

/// How many steps ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Built, with another content than before.
    pub built: u64,
    /// Built, with the same content as before.
    pub same: u64,
    /// Those of them where an attempt before had failed.
    #[serde(default)]
    pub flaky: u64,
    /// Failed.
    pub failed: u64,
    /// Stopped while they ran.
    pub stopped: u64,
    /// Not started because of another, or because the run was stopped.
    pub skipped: u64,
    /// Up to date, beforehand or as it turned out.
    pub current: u64,
}
