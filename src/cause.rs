//! Why a run or a step did not end well, as a value and in words. Does not know what comes of that.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::text::millis;

/// Why nothing more of a run starts, or why it ended as it did. Its words are for people, and are all that older versions told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// A signal.
    Signal {
        /// Which.
        signal: StopSignal,
    },
    /// Somebody asked for it.
    Asked {
        /// Who, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// In which way.
        with: Way,
    },
    /// It took longer than its `--timeout`.
    TimeLimit {
        /// That, in milliseconds.
        ms: u64,
    },
    /// A step failed.
    Failed {
        /// The step.
        step: String,
        /// What happened to it, in a few words: `exit 3`.
        message: String,
    },
    /// What it does cannot be kept.
    Unkept {
        /// Why.
        why: String,
    },
    /// Its process died, be it killed or with the machine: nobody could tell.
    Died,
    /// Nothing was built: what was there was adopted.
    Adopted,
    /// Something else, such as that it could not begin.
    Other {
        /// What, in words.
        words: String,
    },
}

/// A signal that asks a run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StopSignal {
    /// From the keyboard.
    #[serde(rename = "Ctrl-C")]
    Interrupt,
    /// From another process.
    #[serde(rename = "SIGTERM")]
    Terminate,
    /// The terminal has gone.
    #[serde(rename = "SIGHUP")]
    Hangup,
}

/// How somebody asks a run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// With `kiln jobs abort`.
    JobsAbort,
    /// By way of a server, whose own record says who it was.
    Http,
}

impl Cause {
    /// The cause of which only the words are kept, as the table of runs and older versions have it.
    #[must_use]
    pub fn of_words(words: &str) -> Self {
        let signals = [StopSignal::Interrupt, StopSignal::Terminate, StopSignal::Hangup];
        let plain = signals.map(|signal| Self::Signal { signal }).into_iter().chain([Self::Died, Self::Adopted]);
        let other = || Self::Other { words: words.to_owned() };
        plain.into_iter().find(|cause| cause.to_string() == words).unwrap_or_else(other)
    }

    /// The words for why nothing more starts, while it is not known yet how the run ends: `split failed`.
    #[must_use]
    pub fn stopping(&self) -> String {
        if let Self::Failed { step, .. } = self { format!("{step} failed") } else { self.to_string() }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal { signal } => signal.fmt(f),
            Self::Asked { with: Way::Http, .. } => f.write_str("asked for over HTTP"),
            Self::Asked { by: Some(by), with: Way::JobsAbort } => write!(f, "by {by} with kiln jobs abort"),
            Self::Asked { by: None, with: Way::JobsAbort } => f.write_str("with kiln jobs abort"),
            Self::TimeLimit { ms } => write!(f, "time limit of {}", millis(*ms)),
            Self::Failed { step, message } => write!(f, "{step}: {message}"),
            Self::Unkept { why } => f.write_str(why),
            Self::Died => f.write_str("ended without a last word"),
            Self::Adopted => f.write_str("adopted"),
            Self::Other { words } => f.write_str(words),
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        })
    }
}

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

    /// With what else there is to say.
    #[must_use]
    pub fn also(mut self, told: Vec<String>) -> Self {
        self.message = [vec![self.message], told].concat().join("; ");
        self
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
