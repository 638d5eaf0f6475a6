//! How many steps of a run ended in which way. Does not know what is counted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
