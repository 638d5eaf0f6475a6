//! What carries steps out, and the table of all that can.

pub mod api;
pub mod dss;
pub mod local;
pub mod scripted;

use std::sync::Arc;

use crate::base::span::Problems;
use crate::engine::api::{Engine, Opening};
use crate::engine::dss::DssEngine;
use crate::engine::local::LocalEngine;
use crate::pipeline::raw_engine::RawEngine;
use crate::pipeline::types::Pipeline;

/// A kind of engine.
pub struct EngineKind {
    /// Its name: what `kind` says in files.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Opens it for a pipeline. Looks at nothing yet.
    pub open: fn(Opening) -> Result<Arc<dyn Engine>, Problems>,
}

/// All kinds of engines.
pub const ENGINES: &[EngineKind] = &[
    EngineKind {
        name: local::NAME,
        about: "builds on this machine: recipes are child processes",
        open: |opening| LocalEngine::open(opening).map(|engine| Arc::new(engine) as Arc<dyn Engine>),
    },
    EngineKind {
        name: dss::NAME,
        about: "builds on a Dataiku DSS server, through its jobs API",
        open: |opening| DssEngine::open(opening).map(|engine| Arc::new(engine) as Arc<dyn Engine>),
    },
];

/// The kind of the engine of that name: `local`, or what the file declares it as.
#[must_use]
pub fn engine(name: &str, pipeline: &Pipeline) -> Option<&'static EngineKind> {
    let kind = match pipeline.engines.get(name) {
        Some((RawEngine::Dss(_), _)) => dss::NAME,
        None if name == local::NAME => local::NAME,
        None => return None,
    };
    ENGINES.iter().find(|known| known.name == kind)
}
