//! What a run that was killed had been writing in place, or was about to put there, and what becomes of it. Does not know how
//! that was found.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An output that was being written in place when a run was killed: the next run begins by undoing that. Or one that was
/// complete, and not in place yet: the next run begins by putting it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PutBack {
    /// The output; its path where the file does not have it any more.
    pub output: String,
    /// Whether there is a last good content, which is put back; otherwise what was written is taken away.
    pub last_good: bool,
    /// Whether its new content was complete, and is put in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub complete: bool,
    /// Whether it is in place already, and only nobody was told what was kept of what stood there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub placed: bool,
    /// Whether the way there is blocked, or leads out of the root, where nothing is touched: its last good content is kept, and
    /// not put back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out: bool,
    /// Where is kept what stands there, relative to the root: it may be somebody else's than that run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// Why nothing can be put back.
const OUT: &str = "the way there is blocked, or leads out of the root";

impl PutBack {
    /// An output that was being written in place.
    #[must_use]
    pub fn undone(output: String, last_good: bool, kept: Option<String>) -> Self {
        Self { output, last_good, complete: false, placed: false, out: false, kept }
    }

    /// An output that was complete, and is put in place; what stood there is kept, if it is.
    #[must_use]
    pub fn finished(output: String, kept: Option<String>) -> Self {
        Self { complete: true, ..Self::undone(output, false, kept) }
    }

    /// The same of one that is in place already.
    #[must_use]
    pub fn placed(output: String, kept: String) -> Self {
        Self { placed: true, ..Self::finished(output, Some(kept)) }
    }

    /// The sentence for it once it is done.
    #[must_use]
    pub fn done(&self) -> String {
        let Self { output, last_good, complete, placed: _, out, kept } = self;
        let why = self.before("it");
        if *complete {
            let kept = kept.as_ref().map(|kept| format!("; what stood there is kept in {kept}")).unwrap_or_default();
            return format!("finished `{output}`: {why}{kept}");
        }
        if let (true, Some(kept)) = (out, kept) {
            return format!("moved the last good content of `{output}` to {kept}: {why}, and {OUT}");
        }
        match (last_good, kept) {
            (true, None) => format!("restored `{output}`: {why}"),
            (true, Some(kept)) => format!("restored `{output}`: {why}; what stood there since is kept in {kept}"),
            (false, None) => format!("took away what there was of `{output}`: {why}"),
            (false, Some(kept)) => format!("moved what there was of `{output}` to {kept}: {why}"),
        }
    }

    /// What the next run does.
    #[must_use]
    pub fn then(&self) -> String {
        match (self.last_good, &self.kept) {
            (_, Some(kept)) if self.placed => format!("tells that what stood there is kept in {kept}"),
            (_, None) if self.complete => "puts it there".to_owned(),
            (_, Some(kept)) if self.complete => format!("moves what is there to {kept} and puts it there"),
            (_, Some(kept)) if self.out => format!("moves its last good content to {kept}, for {OUT}"),
            (true, None) => "puts its last good content back".to_owned(),
            (true, Some(kept)) => format!("moves what is there to {kept} and puts its last good content back"),
            (false, None) => "takes away what is there".to_owned(),
            (false, Some(kept)) => format!("moves what is there to {kept}"),
        }
    }

    /// What is kept where a step failed that wrote in place, and is not of its making.
    #[must_use]
    pub fn kept_of_others(&self) -> Option<String> {
        let Self { output, out, kept, .. } = self;
        let what = if *out {
            format!("{OUT}: the last good content of {output}")
        } else {
            format!("what somebody put at {output}")
        };
        kept.as_ref().map(|kept| format!("{what} is kept in {kept}"))
    }

    /// What had happened to an output, which is named as it is given.
    #[must_use]
    pub fn before(&self, output: &str) -> String {
        let done = if self.complete { "put" } else { "written" };
        format!("a run was killed while {output} was {done} in place")
    }
}

impl fmt::Display for PutBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, then) = (self.before(&format!("`{}`", self.output)), self.then());
        write!(f, "{before}; the next run first {then}")
    }
}
