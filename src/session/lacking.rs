//! The work of a step that needs what is not there and what nothing builds unasked: it fails, and all else goes on.

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::engine::api::{Attempt, Ended, Stop, Updates, Work};
use crate::event::{Failure, FailureCode};

/// The work.
pub(super) struct Lacking {
    /// What it would run.
    pub(super) command: String,
    /// The input that is not there.
    pub(super) input: String,
}

impl Work for Lacking {
    fn describe(&self) -> String {
        self.command.clone()
    }

    fn run(&self, _attempt: Attempt, _updates: Updates, _stop: watch::Receiver<Stop>) -> BoxFuture<'static, Ended> {
        let message = format!("its input `{0}` is not there; build it first: kiln run {0}", self.input);
        std::future::ready(Ended::Failed(Failure::new(FailureCode::Start, message))).boxed()
    }
}
