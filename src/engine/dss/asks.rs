//! What the poller is asked, and what it answers. Knows not how it finds that out.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::engine::dss::fault::Fault;
use crate::engine::dss::whole::Progress;
use crate::pipeline::dss_wire::{JobItem, JobStatus};

/// A question to the poller.
pub(super) enum Ask {
    /// All jobs of a project, from a list that is asked for after this question.
    Jobs(String, oneshot::Sender<Listed>),
    /// A job as it is now.
    Look { project: String, job: String, reply: oneshot::Sender<Looked> },
    /// The end of a job, and how far it is until then, where someone wants to know.
    Follow { project: String, job: String, live: Option<watch::Sender<Progress>>, reply: oneshot::Sender<Followed> },
    /// When one more call that looks may begin.
    Slot(oneshot::Sender<Instant>),
    /// Something that has to go on besides.
    Drive(BoxFuture<'static, ()>),
}

/// All jobs of a project, or why they are not known.
pub(super) type Listed = Result<Arc<Vec<JobItem>>, Fault>;

/// A job as it is, or why that is not known.
pub(super) type Looked = Result<Arc<JobStatus>, Fault>;

/// What became of a job.
#[derive(Clone, Debug)]
pub(super) enum Followed {
    /// It ended.
    Over(Box<JobStatus>),
    /// It ended, as lists tell: its status cannot be read.
    Listed(Box<JobStatus>, Fault),
    /// The server does not know it any more.
    Gone,
    /// The server could not be asked for too long.
    Lost(Fault),
}

/// A job: its project and its id.
pub(super) type Key = (String, String);
