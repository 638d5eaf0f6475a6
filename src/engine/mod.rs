//! What carries steps out, and the table of all that can.

pub mod api;
pub mod dss;
pub mod limit;
pub mod local;
pub mod outputs;
pub mod scripted;

use std::sync::Arc;

use crate::base::span::Problems;
use crate::engine::api::{Engine, Opening};
use crate::engine::dss::DssEngine;
use crate::engine::local::LocalEngine;
use crate::engine::outputs::Outputs;
use crate::pipeline::raw_engine::RawEngine;
use crate::pipeline::types::Pipeline;

/// An engine that is open, and the outputs below its root.
pub struct Opened {
    /// What carries steps out.
    pub engine: Arc<dyn Engine>,
    /// What puts outputs in place, and finishes what runs that died left there: whichever engine they had.
    pub outputs: Arc<dyn Outputs>,
}

/// Opens an engine for a pipeline. Looks at nothing yet.
pub type Open = fn(Opening) -> Result<Opened, Problems>;

/// How the engine of that name is opened: `local`, or what the file declares it as. All kinds of engines are here.
#[must_use]
pub fn engine(name: &str, pipeline: &Pipeline) -> Option<Open> {
    match pipeline.engines.get(name) {
        Some((RawEngine::Dss(_), _)) => Some(|opening| {
            let engine = Arc::new(DssEngine::open(&opening)?);
            Ok(Opened { engine, outputs: Arc::new(LocalEngine::new(opening)) })
        }),
        None if name == local::NAME => Some(|opening| {
            let local = Arc::new(LocalEngine::open(opening)?);
            Ok(Opened { engine: Arc::<LocalEngine>::clone(&local), outputs: local })
        }),
        None => None,
    }
}
