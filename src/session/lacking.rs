//! The work of a step that needs what is not there and what nothing builds unasked: it fails, and all else goes on.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::base::id::NodeId;
use crate::engine::api::{Attempt, Ended, Stop, Updates, Work};
use crate::event::{Failure, FailureCode};
use crate::pipeline::types::Pipeline;

/// The work.
pub(super) struct Lacking {
    /// The input that is not there.
    input: String,
}

impl Lacking {
    /// That of a step that needs this input.
    pub(super) fn of(pipeline: &Pipeline, input: NodeId) -> Arc<dyn Work> {
        Arc::new(Self { input: pipeline.nodes[input].name.clone() })
    }
}

impl Work for Lacking {
    /// It runs nothing.
    fn describe(&self) -> String {
        String::new()
    }

    fn run(&self, _attempt: Attempt, _updates: Updates, _stop: watch::Receiver<Stop>) -> BoxFuture<'static, Ended> {
        let message = format!("its input `{0}` is not there; build it first: kiln run {0}", self.input);
        std::future::ready(Ended::Failed(Failure::new(FailureCode::Start, message))).boxed()
    }
}
