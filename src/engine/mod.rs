//! What carries steps out, and the table of all that can.

pub mod api;
pub mod local;
pub mod scripted;

use std::sync::Arc;

use crate::engine::api::{Engine, Opening};
use crate::engine::local::LocalEngine;

/// A kind of engine.
pub struct EngineKind {
    /// Its name in files and on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Opens it for a pipeline. Looks at nothing yet.
    pub open: fn(Opening) -> Arc<dyn Engine>,
}

/// All kinds of engines.
pub const ENGINES: &[EngineKind] = &[EngineKind {
    name: local::NAME,
    about: "builds on this machine: recipes are child processes",
    open: |opening| Arc::new(LocalEngine::new(opening)),
}];

/// The kind of that name.
#[must_use]
pub fn engine(name: &str) -> Option<&'static EngineKind> {
    ENGINES.iter().find(|kind| kind.name == name)
}
