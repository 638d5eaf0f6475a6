//! Kiln builds data pipelines that are declared in one TOML file.

pub mod base;
pub mod pipeline;
