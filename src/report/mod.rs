//! What shows a run: a file for each reporter, and one for each text about runs. Does not know how runs come about.

pub mod api;
pub mod choose;
pub mod diagnostics;
pub mod github;
pub mod job;
pub mod jobs;
pub mod jsonl;
pub mod junit;
pub mod live;
pub mod named;
pub mod outlet;
pub mod output;
pub mod outputs;
pub mod plain;
pub mod plan;
pub mod slow;
mod still;
pub mod style;
pub mod summary;

mod estimate;
pub(crate) mod feed;
pub(crate) mod line;
mod names;
pub(crate) mod past;
mod screen;
#[cfg(test)]
mod tests;
mod waiting;

pub use choose::{Setup, reporter};
pub use style::{OutputMode, Style};
