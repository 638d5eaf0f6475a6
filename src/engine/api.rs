//! The port of engines: what carries steps out. Does not know which engines there are, nor when steps are started.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::base::digest::Digest;
use crate::base::file::{FileDigest, Memory};
use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::job::JobId;
use crate::base::span::Problems;
use crate::event::{Failure, Staged};
use crate::pipeline::types::{Pipeline, Recipe};
use crate::plan::facts::Facts;

/// Something that carries steps of one pipeline out.
pub trait Engine: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Whether it can build what the recipe makes, were its inputs there.
    fn can_build(&self, recipe: &Recipe) -> bool;

    /// Mistakes and warnings about the file that only this engine can see. Runs nothing.
    fn check(&self) -> Problems;

    /// Looks at what the wanted steps are made from. With `probes`, commands that only look may be run.
    ///
    /// # Errors
    /// What is needed to look and is not there.
    fn observe(&self, wanted: &DenseMap<RecipeId, bool>, probes: bool) -> Result<Observed, Problems>;

    /// Makes a step ready, with no effect outside.
    ///
    /// # Errors
    /// Every mistake that can be found before anything starts.
    fn prepare(&self, id: RecipeId) -> Result<Arc<dyn Work>, Problems>;

    /// Makes staged outputs durable. May block.
    ///
    /// # Errors
    /// What the system says.
    fn flush(&self, staged: &[Staged]) -> std::io::Result<()>;

    /// Puts the staged outputs of a step in place and forgets what was staged for it. May block. Called after it was
    /// committed that this is about to happen; called again for the same outputs, it finishes what is left.
    ///
    /// # Errors
    /// Why the outputs are not in place.
    fn publish(&self, job: &JobId, step: &str, staged: &[Staged]) -> Result<Vec<FileDigest>, Failure>;

    /// Takes away what runs that died left behind, and puts back what they had set aside. Called before a run begins and
    /// after all that had to be published was published.
    ///
    /// # Errors
    /// What the system says.
    fn tidy(&self) -> std::io::Result<()>;
}

/// What an engine is opened with.
pub struct Opening {
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// The root, absolute.
    pub root: PathBuf,
    /// The folder of the state; logs go there.
    pub state: PathBuf,
    /// Kiln's own environment.
    pub environment: Environment,
    /// Digests of files that were read before, by path.
    pub digests: Memory,
    /// How long work may take to end when it is asked to.
    pub grace: Duration,
}

/// Variables of Kiln's own environment, as far as their names are text.
pub type Environment = BTreeMap<String, OsString>;

/// What an engine saw.
pub struct Observed {
    /// The facts that the plan rests on.
    pub facts: Facts,
    /// Digests of files that had to be read.
    pub seen: Vec<FileDigest>,
}

/// A step, ready to be started.
pub trait Work: Send + Sync {
    /// What it runs, for people, on one line.
    fn describe(&self) -> String;

    /// Makes one attempt. It looks at `stop` whenever it waits.
    fn run(&self, attempt: Attempt, updates: Updates, stop: watch::Receiver<Stop>) -> BoxFuture<'static, Ended>;
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
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its outputs are complete, in the order of the recipe.
    Staged(Vec<StagedOutput>),
    /// It failed.
    Failed(Failure),
    /// It was stopped.
    Stopped(Failure),
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

/// Where an attempt sends what its step prints. Sending never blocks.
#[derive(Clone, Debug)]
pub struct Updates {
    /// The step.
    pub step: usize,
    /// The way to the run's loop; none where nobody wants to know.
    pub to: Option<mpsc::UnboundedSender<(usize, Vec<u8>)>>,
    /// The way to say that the output cannot be kept.
    pub trouble: mpsc::UnboundedSender<String>,
}

impl Updates {
    /// Hands on what the step printed.
    pub fn output(&self, bytes: &[u8]) {
        if let Some(to) = &self.to {
            // A run that does not listen any more has ended.
            drop(to.send((self.step, bytes.to_vec())));
        }
    }

    /// Says that the output cannot be kept: which file, and why. The attempt goes on; nothing more starts.
    pub fn trouble(&self, what: String) {
        drop(self.trouble.send(what));
    }
}
