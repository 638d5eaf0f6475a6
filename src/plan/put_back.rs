//! What a run that was killed had been writing in place, and what becomes of it. Does not know how that was found.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An output that was being written in place when a run was killed. The next run begins by undoing that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PutBack {
    /// The output; its path where the file does not have it any more.
    pub output: String,
    /// Whether there is a last good content, which is put back; otherwise what was written is taken away.
    pub last_good: bool,
}

impl PutBack {
    /// The sentence for it once it is done.
    #[must_use]
    pub fn done(&self) -> String {
        let then = if self.last_good { "restored" } else { "took away what there was of" };
        format!("{then} `{}`: a run was killed while it was written in place", self.output)
    }
}

impl fmt::Display for PutBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = if self.last_good { "puts its last good content back" } else { "takes away what is there" };
        write!(f, "a run was killed while `{}` was written in place; the next run {then} first", self.output)
    }
}
