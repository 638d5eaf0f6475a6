//! The port of engines: what carries steps out. Does not know which engines there are, nor when steps are started.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use crate::base::digest::Digest;
use crate::base::file::{FileDigest, FileStat, Remembered};
use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::job::{BuildMode, JobId};
use crate::base::span::{Problem, Problems};
use crate::engine::limit::OpenFiles;
use crate::event::{Failure, Intent, RemoteJob, Staged};
use crate::pipeline::types::Pipeline;
use crate::plan::facts::Facts;

/// Something that carries steps of one pipeline out.
pub trait Engine: Send + Sync {
    /// Its name: that of its table in the file, or of its kind.
    fn name(&self) -> &str;

    /// Whether it can build what the recipe makes, were its inputs there.
    fn can_build(&self, id: RecipeId) -> bool;

    /// How many steps run at once unless the request says otherwise, where the engine has a word on that.
    fn max_parallel(&self) -> Option<u32> {
        None
    }

    /// Takes note of what runs that died left with it. Called before a run begins.
    fn resume(&self, _left: Vec<LeftBehind>) {}

    /// Whether it wants to know what the last runs asked it for.
    fn looks_back(&self) -> bool {
        false
    }

    /// Takes note of what the last runs asked it for, the oldest first, and of all its jobs for long. Called behind `resume`.
    fn look_back(&self, _asked: Vec<AskedBefore>, _accepted: Vec<String>) {}

    /// What has to go on all the time while its work runs.
    fn background(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// Mistakes and warnings about the file that only this engine can see. Runs nothing.
    fn check(&self) -> Problems;

    /// Takes note of what ends the commands that only look: those that run and those that would be run.
    fn heed(&self, _stop: watch::Receiver<Stop>) {}

    /// Looks at what the wanted steps are made from. With `probes`, commands that only look may be run.
    fn observe(&self, wanted: &DenseMap<RecipeId, bool>, probes: bool) -> Observed;

    /// What proves later, without looking as closely, that all is as it was seen in these facts; none where nothing does.
    fn evidence(&self, _wanted: &DenseMap<RecipeId, bool>, _facts: &Facts) -> Option<Evidence> {
        None
    }

    /// What would keep steps from being made ready, one step or another, and warnings. Looks only.
    fn obstacles(&self, _ids: &[RecipeId]) -> Problems {
        Vec::new()
    }

    /// Makes a step ready, with no effect outside.
    ///
    /// # Errors
    /// Every mistake that can be found before anything starts.
    fn prepare(&self, id: RecipeId) -> Result<Arc<dyn Work>, Problems>;

    /// A run begins: `lock` is the pipeline's, to be held as long as anything of the run lives, whether or not Kiln does.
    fn hold(&self, _lock: OwnedFd) {}

    /// The run is over: ends what is left of it and lets go of the lock. Tells what that was, for people.
    fn end(&self) -> BoxFuture<'static, Vec<String>> {
        std::future::ready(Vec::new()).boxed()
    }
}

/// The code of a problem: an output cannot be put where it belongs.
pub const BLOCKED: &str = "blocked-output";

/// The code of a problem: what a step reads is half-written.
pub const HALF_WRITTEN: &str = "half-written-source";

/// What an engine is opened with.
pub struct Opening {
    /// The name that it was asked for by.
    pub name: String,
    /// What the request says to it.
    pub terms: Terms,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// The root, absolute.
    pub root: PathBuf,
    /// The folder of the state; logs go there.
    pub state: PathBuf,
    /// The paths of the pipeline file, relative to the root, where it lies below it.
    pub own: Vec<String>,
    /// Kiln's own environment.
    pub environment: Environment,
    /// Digests of files that were read before, by path.
    pub digests: Box<dyn Remembered>,
    /// How long work may take to end when it is asked to.
    pub grace: Duration,
    /// How many files may be open.
    pub open_files: OpenFiles,
}

/// What a request says to the engine.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What is built.
    pub mode: BuildMode,
    /// The project key, where the request says one.
    pub project: Option<String>,
    /// The partitions, where the request says some, as the engine reads them.
    pub partition: Option<String>,
    /// Whether a stopped run also ends jobs that it only joined.
    pub abort_joined: bool,
    /// Whether a job is asked for again of which it is not known whether a run before had started it.
    pub resubmit: bool,
}

/// Variables of Kiln's own environment, as far as their names are text.
pub type Environment = BTreeMap<String, OsString>;

/// What an engine saw.
pub struct Observed {
    /// The facts that the plan rests on.
    pub facts: Facts,
    /// Digests of files that had to be read.
    pub seen: Vec<FileDigest>,
    /// What is needed to look and is not there, each with a step that needs it. Of such steps the facts are not to be trusted.
    pub wrong: Vec<(RecipeId, Problem)>,
}

/// What facts rest on. As long as all of it is the same, so are they.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Every file that was looked at, each once, with the state that proves its content; [`FileStat::NONE`] where only
    /// reading it does.
    pub files: Vec<(String, FileStat)>,
    /// The names of the variables that were read.
    pub variables: BTreeSet<String>,
    /// Whether it counts that the default shell is there.
    pub shell: bool,
    /// The steps whose facts rest on more than that: on the time, on what commands print, on what lies in a folder.
    pub closely: BTreeSet<RecipeId>,
}

/// A step, ready to be started.
pub trait Work: Send + Sync {
    /// What it runs, for people, on one line; empty where it runs nothing.
    fn describe(&self) -> String;

    /// Makes one attempt. It looks at `stop` whenever it waits.
    fn run(&self, attempt: Attempt, updates: Updates, stop: watch::Receiver<Stop>) -> BoxFuture<'static, Attempted>;
}

/// One attempt at a step.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The run.
    pub job: JobId,
    /// Its number, counted from 1.
    pub number: u32,
    /// The file for its output, relative to the state's folder.
    pub log: String,
    /// What the key says about the inputs.
    pub inputs: Vec<(NodeId, Digest)>,
    /// What the key says about the files of code, by path.
    pub files: Vec<(String, Digest)>,
    /// What lay where its outputs belong when the run was planned, as far as that was seen.
    pub stood: Vec<(NodeId, Digest)>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its outputs are complete, in the order of the recipe.
    Staged(Vec<StagedOutput>),
    /// The engine has built its outputs, and these besides, and keeps them itself.
    Built(Vec<String>),
    /// The engine found its outputs up to date; it may have built these.
    Current(Vec<String>),
    /// It failed.
    Failed(Failure),
    /// It was stopped.
    Stopped(Failure),
}

impl Ended {
    /// The same, with another failure where it is one.
    #[must_use]
    pub fn with_failure(self, change: impl FnOnce(Failure) -> Failure) -> Self {
        match self {
            Self::Failed(failure) => Self::Failed(change(failure)),
            Self::Stopped(failure) => Self::Stopped(change(failure)),
            Self::Staged(_) | Self::Built(_) | Self::Current(_) => self,
        }
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// How it ended.
    pub ended: Ended,
    /// Where it failed or was stopped, what else is to be said: what was kept of it, and where.
    pub told: Vec<String>,
    /// Processes that it had left behind, which were ended then; they are named for people.
    pub leaked: Vec<String>,
}

impl From<Ended> for Attempted {
    fn from(ended: Ended) -> Self {
        Self { ended, told: Vec::new(), leaked: Vec::new() }
    }
}

/// An output that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedOutput {
    /// The node.
    pub node: NodeId,
    /// The digest of its content; none where that cannot be seen.
    pub digest: Option<Digest>,
    /// How it is put in place; none where it is there already.
    pub staged: Option<Staged>,
}

/// How urgently work shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    Go,
    /// Soon, in order.
    Ask,
    /// At once.
    Kill,
}

/// What a run that died left with an engine: a job that was, or may have been, asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// The step.
    pub step: String,
    /// The run.
    pub run: JobId,
    /// What was to be asked for.
    pub intent: Intent,
    /// The job, where its id is known.
    pub job: Option<RemoteJob>,
    /// When that was written down.
    pub at: jiff::Timestamp,
}

/// What a run before asked an engine for, with the job that it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedBefore {
    /// The request and the job.
    pub left: LeftBehind,
    /// Whether it was asked for twice, since the first answer was lost: another job may have come of it.
    pub twice: bool,
}

/// What an engine tells about a job elsewhere. It counts once it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A job is about to be asked for.
    Submitting(Intent),
    /// There is a job.
    Accepted(RemoteJob),
    /// What people should know while it goes on, in one sentence: of the step, or of all that runs.
    Told {
        /// Whether it is about all that runs.
        of_all: bool,
        /// What.
        text: String,
    },
}

/// A notice on its way, and what is told once it is on disk.
pub type Noticed = (usize, Notice, oneshot::Sender<()>);

/// Where an attempt sends what its step prints. Sending never blocks: what is not fetched in time is counted and left out.
#[derive(Clone, Debug)]
pub struct Updates {
    step: usize,
    to: Option<mpsc::Sender<Printed>>,
    dropped: Arc<AtomicU64>,
    trouble: mpsc::UnboundedSender<String>,
    notices: Option<mpsc::UnboundedSender<Noticed>>,
}

/// What a step printed.
#[derive(Debug)]
pub struct Printed {
    /// The step.
    pub step: usize,
    /// So many bytes before these were left out.
    pub dropped: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// So many pieces of output wait to be shown.
pub const PRINTED_WAITING: usize = 64;

/// The run's events can be kept no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotKept;

impl Updates {
    /// The way to the run's loop, none where nobody wants to know; and the way to say that output cannot be kept.
    #[must_use]
    pub fn new(step: usize, to: Option<mpsc::Sender<Printed>>, trouble: mpsc::UnboundedSender<String>) -> Self {
        Self { step, to, dropped: Arc::default(), trouble, notices: None }
    }

    /// With the way to the run's loop for notices.
    #[must_use]
    pub fn with_notices(self, notices: mpsc::UnboundedSender<Noticed>) -> Self {
        Self { notices: Some(notices), ..self }
    }

    /// Hands on what the step printed.
    pub fn output(&self, bytes: &[u8]) {
        let Some(to) = &self.to else { return };
        match to.try_reserve() {
            Ok(place) => place.send(self.printed(bytes)),
            Err(mpsc::error::TrySendError::Full(())) => {
                self.dropped.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            // A run that does not listen any more has ended.
            Err(mpsc::error::TrySendError::Closed(())) => {}
        }
    }

    /// Says that the output cannot be kept: which file, and why. The attempt goes on; nothing more starts.
    pub fn trouble(&self, what: String) {
        drop(self.trouble.send(what));
    }

    /// Hands on a notice, and waits until it is on disk.
    ///
    /// # Errors
    /// That it never will be.
    pub async fn notice(&self, notice: Notice) -> Result<(), NotKept> {
        let (kept, wait) = oneshot::channel();
        let notices = self.notices.as_ref().ok_or(NotKept)?;
        notices.send((self.step, notice, kept)).map_err(|_| NotKept)?;
        wait.await.map_err(|_| NotKept)
    }

    /// Tells people something while it goes on, and does not wait until it is on disk.
    pub fn tell(&self, of_all: bool, text: impl Into<String>) {
        let (kept, _) = oneshot::channel();
        let Some(notices) = &self.notices else { return };
        // A run that does not listen any more has ended.
        drop(notices.send((self.step, Notice::Told { of_all, text: text.into() }, kept)));
    }

    /// The step prints nothing more: tells what was left out at the end. Waits for a place.
    pub async fn end(&self) {
        if let Some(to) = &self.to
            && self.dropped.load(Ordering::Relaxed) > 0
            && let Ok(place) = to.reserve().await
        {
            place.send(self.printed(b""));
        }
    }

    fn printed(&self, bytes: &[u8]) -> Printed {
        Printed { step: self.step, dropped: self.dropped.swap(0, Ordering::Relaxed), bytes: bytes.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_fetches_is_counted_and_told() {
        let (to, mut from) = mpsc::channel(1);
        let (trouble, _troubles) = mpsc::unbounded_channel();
        let updates = Updates::new(7, Some(to), trouble);
        updates.output(b"one");
        updates.output(b"four");
        updates.output(b"five!");
        let told = |printed: Printed| (printed.step, printed.dropped, printed.bytes);
        assert_eq!(told(from.recv().await.unwrap()), (7, 0, b"one".to_vec()));
        updates.output(b"six");
        assert_eq!(told(from.recv().await.unwrap()), (7, 9, b"six".to_vec()));
        updates.output(b"");
        updates.output(b"last");
        let (_, told_at_the_end) = tokio::join!(updates.end(), async {
            assert_eq!(told(from.recv().await.unwrap()), (7, 0, Vec::new()));
            told(from.recv().await.unwrap())
        });
        assert_eq!(told_at_the_end, (7, 4, Vec::new()));
    }
}
