//! What a good build is recorded with, and the port through which the plan asks for it.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::job::JobId;

/// The parts of a key by name, such as `file:recipes/orders.py` or `env:STAGE`.
pub type Parts = BTreeMap<String, String>;

/// What a good build is recorded with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The digest of all that the step is made from.
    pub key: Digest,
    /// The parts of the key by name.
    pub parts: Parts,
    /// What was made.
    pub outputs: Vec<OutputRecord>,
}

/// An output as it was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputRecord {
    /// The node.
    pub node: String,
    /// Its path relative to the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where that was with the links above it followed, if there were any: a link may be turned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<String>,
    /// The digest of its content.
    pub digest: Digest,
}

impl OutputRecord {
    /// Whether it is this content at this path.
    #[must_use]
    pub fn is(&self, path: &str, digest: Digest) -> bool {
        self.digest == digest && self.path.as_deref() == Some(path)
    }
}

/// The last good build of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGood {
    /// The key that it was built with.
    pub key: Digest,
    /// When it ended.
    pub built_at: jiff::Timestamp,
    /// The run that built it.
    pub job: JobId,
    /// What was made.
    pub outputs: Vec<OutputRecord>,
}

impl LastGood {
    /// What was made, by node: for who asks for many.
    #[must_use]
    pub fn by_node(&self) -> HashMap<&str, &OutputRecord> {
        self.outputs.iter().map(|output| (output.node.as_str(), output)).collect()
    }
}

/// What was built before. The parts of keys are asked for only where a key differs.
pub trait History {
    /// The last good build of a step.
    fn last(&self, step: &str) -> Option<&LastGood>;
    /// The parts of the key of a step's last good build; empty where there is none.
    fn parts(&self, step: &str) -> Parts;
    /// The step that has built this content at a path, whether the file still has it or not.
    fn maker(&self, path: &str, digest: Digest) -> Option<String>;
    /// Whether another pipeline has built something in a folder, by its path or with links followed.
    fn others_in(&self, folder: &str) -> bool;
}

/// A history in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryHistory {
    /// The last good build of each step, with the parts of its key.
    pub steps: HashMap<String, (LastGood, Parts)>,
}

impl History for MemoryHistory {
    fn last(&self, step: &str) -> Option<&LastGood> {
        self.steps.get(step).map(|(last, _)| last)
    }

    fn parts(&self, step: &str) -> Parts {
        self.steps.get(step).map(|(_, parts)| parts.clone()).unwrap_or_default()
    }

    fn maker(&self, path: &str, digest: Digest) -> Option<String> {
        let made = |last: &LastGood| last.outputs.iter().any(|output| output.is(path, digest));
        let mut makers = self.steps.iter().filter(|(_, (last, _))| made(last));
        makers.next().map(|(step, _)| step.clone())
    }

    /// It knows one pipeline.
    fn others_in(&self, _folder: &str) -> bool {
        false
    }
}
