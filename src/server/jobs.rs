//! The jobs of the server: one thread owns what waits and what runs, and everyone else sends it messages. Does not know what it
//! makes of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use tokio::sync::oneshot;

use crate::base::job::{JobId, JobState};
use crate::base::span::Source;
use crate::event::{Cause, Event, RunStarted, Stamped, VERSION};
use crate::server::archive::Archive;
use crate::server::clerk::Clerk;
use crate::server::desk::{Touch, Wait};
use crate::server::error::ApiError;
use crate::server::project::Project;
use crate::session::fail::Fail;
use crate::session::{Request, Site};
use crate::store::read::RunRow;

/// Something that was asked for.
pub(crate) struct Order {
    pub(crate) project: Arc<Project>,
    /// The file as it was when it was asked for.
    pub(crate) source: Source,
    /// What is asked for; nothing at all where nothing makes what was named.
    pub(crate) request: Option<Request>,
    /// All that it might touch.
    pub(crate) wants: Touch,
    /// The paths that it might write, relative to the root.
    pub(crate) writes: Vec<String>,
    /// The job as it is kept until it begins.
    pub(crate) queued: RunStarted,
}

/// What the thread of the jobs is told.
pub(crate) enum Message {
    /// Someone asks for a job.
    Start(Box<Order>, Answer),
    /// Someone wants a job to end. The answer says whether it was here.
    Abort(JobId, Cause, Sender<bool>),
    /// Someone wants to know why jobs wait, and for which project.
    Why(Vec<JobId>, Sender<Waits>),
    /// Someone who is no job wants to have something of a project until that is over. The answer is the job that has it, if one
    /// does, with the number of its project.
    Hold(JobId, usize, Touch, Sender<Option<(JobId, Option<usize>)>>),
    /// What runs that died left in a project is finished.
    Tidied(usize),
    /// A job knows its steps, and asks whether it may run.
    Planned(JobId, BTreeMap<String, Touch>, Sender<bool>),
    /// A job may not run yet.
    Back(JobId, Box<Order>),
    /// A step has ended.
    StepOver(JobId, String),
    /// A job has ended.
    Over(JobId),
    /// Everything is to end; why.
    End(Cause),
}

/// Why jobs wait, each with the number of the project that has the job which it waits for.
pub(crate) type Waits = HashMap<JobId, (Wait, Option<usize>)>;

/// Who waits to hear that a job is kept.
pub(crate) type Answer = Sender<Result<JobId, ApiError>>;

/// The way to the thread of the jobs.
pub(crate) struct Jobs {
    to: Sender<Message>,
}

impl Jobs {
    /// Starts the thread. It tells when everything has ended.
    pub(crate) fn begin(
        site: Site,
        archives: &[Arc<Archive>],
        max_jobs: usize,
        max_activities: usize,
    ) -> Result<(Self, oneshot::Receiver<()>), Fail> {
        let (to, messages) = mpsc::channel();
        let clerk = Clerk::new(site, archives, (max_jobs, max_activities), to.clone())?;
        let (tell, ended) = oneshot::channel();
        let work = move || {
            clerk.work(&messages);
            if tell.send(()).is_err() {
                tracing::debug!("nobody waits for the end of the jobs");
            }
        };
        let thread = std::thread::Builder::new().name("kiln-jobs".to_owned()).spawn(work);
        thread.map_err(|error| Fail::because("no jobs can be started", &error))?;
        Ok((Self { to }, ended))
    }

    /// Starts a job. It is kept when its id is known. May block.
    pub(crate) fn start(&self, order: Order) -> Result<JobId, ApiError> {
        let (tell, told) = mpsc::channel();
        self.send(Message::Start(Box::new(order), tell));
        told.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Asks a job to end, and says why. Whether it was one of ours that had not ended. May block.
    pub(crate) fn abort(&self, job: &JobId, why: Cause) -> bool {
        let (tell, told) = mpsc::channel();
        self.send(Message::Abort(job.clone(), why, tell));
        told.recv().unwrap_or(false)
    }

    /// Why jobs wait; those that do not are left out. May block.
    pub(crate) fn waits(&self, rows: &[RunRow]) -> Waits {
        let queued = rows.iter().filter(|row| row.state == JobState::Queued);
        let asked: Vec<JobId> = queued.map(|row| row.id.clone()).collect();
        if asked.is_empty() {
            return Waits::new();
        }
        let (tell, told) = mpsc::channel();
        self.send(Message::Why(asked, tell));
        told.recv().unwrap_or_default()
    }

    /// Has something of a project, as long as what is returned lives: no job touches it. Where one is at work that does, that is
    /// told, with the number of its project. May block.
    pub(crate) fn hold(&self, who: JobId, project: usize, touch: Touch) -> Result<Held<'_>, ApiError> {
        let (tell, told) = mpsc::channel();
        self.send(Message::Hold(who.clone(), project, touch, tell));
        // Nobody keeps jobs off any more where nobody answers.
        Ok(match told.recv().map_err(|_| ended())? {
            Some(other) => Err(other),
            None => Ok(Hold { jobs: self, who }),
        })
    }

    /// Asks everything to end.
    pub(crate) fn end(&self, why: Cause) {
        self.send(Message::End(why));
    }

    fn send(&self, message: Message) {
        // If the thread has ended, whoever waits for an answer gets none and says so.
        drop(self.to.send(message));
    }
}

/// What somebody has, or the job that is in the way, with the number of its project.
pub(crate) type Held<'a> = Result<Hold<'a>, (JobId, Option<usize>)>;

/// What somebody has who is no job.
pub(crate) struct Hold<'a> {
    jobs: &'a Jobs,
    who: JobId,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.jobs.send(Message::Over(self.who.clone()));
    }
}

/// Why nothing is asked for any more.
pub(crate) fn ended() -> ApiError {
    ApiError::busy("the server is ending")
}

/// An event of a job that is not driven.
pub(crate) fn stamped(job: &JobId, seq: u64, at: jiff::Timestamp, event: Event) -> Stamped {
    Stamped { version: VERSION, job: job.clone(), seq, at, elapsed_ms: 0, event }
}
