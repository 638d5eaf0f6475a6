//! Why a run or a step did not end well, as a value and in words. Does not know what comes of that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The kind.
    pub code: FailureCode,
    /// What happened, in a few words: `exit 3`.
    pub message: String,
    /// The code with which the command ended; 128 + n where signal n ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The last lines of its output.
    #[serde(default)]
    pub tail: Vec<String>,
    /// When the outputs that stand were built, where there are good ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub kept: Option<jiff::Timestamp>,
    /// Outputs that the command has changed where they belong, and not where it was told to write them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spoiled: Vec<String>,
    /// The page of the job that failed, where it ran elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// How many of the last lines of a step's output an event holds.
const TAIL_LINES: usize = 10;

impl Failure {
    /// A failure without output.
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        let (message, tail, spoiled) = (message.into(), Vec::new(), Vec::new());
        Self { code, message, exit_code: None, tail, kept: None, spoiled, page: None }
    }

    /// With so many last lines as are kept and shown.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_LINES));
        self
    }
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The command ended with a code other than 0.
    Exit,
    /// The command was ended by a signal.
    Signal,
    /// The command could not be started.
    Start,
    /// It took longer than its `timeout`.
    Timeout,
    /// The job that an engine elsewhere made of it failed.
    Remote,
    /// The engine would not have it.
    Refused,
    /// The engine no longer knows what became of it, or cannot be asked.
    Lost,
    /// The engine could not be asked for anything, since the run began.
    Unreachable,
    /// The engine answers, and lets nobody in: it has refused all that it was asked, since the run began.
    Denied,
    /// It is not known whether there is a job for it.
    SubmissionUnknown,
    /// An output is missing or not of its kind.
    Output,
    /// An input changed while the command ran.
    InputChanged,
    /// The outputs could not be put in place.
    Publish,
    /// It was stopped.
    Stopped,
    /// Kiln was killed while it ran.
    Died,
    /// Kiln itself failed.
    Crashed,
}

impl FailureCode {
    /// The word for it: what stands in JSON.
    #[must_use]
    pub fn word(self) -> String {
        let word = serde_json::to_value(self).ok();
        word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_else(|| "failed".to_owned())
    }
}
