//! The words that the DSS API has for what Kiln has too: build types and types of things.

use crate::base::job::BuildMode;
use crate::pipeline::types::Kind;

/// The build types that requests name.
pub mod build {
    use super::BuildMode;

    /// Runs the one recipe that makes the output.
    pub const ONLY: &str = "NON_RECURSIVE_FORCED_BUILD";
    /// Builds what is out of date, from the first such item down to the output.
    pub const SMART: &str = "RECURSIVE_BUILD";
    /// Builds all that the output is made from.
    pub const FORCED: &str = "RECURSIVE_FORCED_BUILD";
    /// Builds what is empty.
    pub const MISSING: &str = "RECURSIVE_MISSING_ONLY_BUILD";
    /// All of them.
    pub const ALL: [&str; 4] = [ONLY, SMART, FORCED, MISSING];

    /// The build type of a mode.
    #[must_use]
    pub fn of(mode: BuildMode) -> &'static str {
        match mode {
            BuildMode::Smart => SMART,
            BuildMode::Only => ONLY,
            BuildMode::Forced => FORCED,
            BuildMode::Missing => MISSING,
        }
    }
}

/// The type of a node, in requests and answers.
#[must_use]
pub fn thing_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Dataset => "DATASET",
        Kind::Folder => "MANAGED_FOLDER",
        Kind::Model => "SAVED_MODEL",
    }
}
