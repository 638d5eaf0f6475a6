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

/// Opens an engine for a pipeline. Looks at nothing yet.
pub type Open = fn(Opening) -> Result<Arc<dyn Engine>, Problems>;

/// How the engine of that name is opened: `local`, or what the file declares it as. All kinds of engines are here.
#[must_use]
pub fn engine(name: &str, pipeline: &Pipeline) -> Option<Open> {
    match pipeline.engines.get(name) {
        Some((RawEngine::Dss(_), _)) => Some(|opening| Ok(Arc::new(DssEngine::open(opening)?))),
        None if name == local::NAME => Some(|opening| Ok(Arc::new(LocalEngine::open(opening)?))),
        None => None,
    }
}
