//! Floor 0: small values that every floor above may use; knows nothing of pipelines.

pub mod cut;
pub mod digest;
pub mod file;
pub mod id;
pub mod job;
pub mod mask;
pub mod span;
pub mod text;
