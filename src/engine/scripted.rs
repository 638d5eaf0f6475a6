//! An engine that carries out a script instead of steps, on the clock of its runtime: for tests of the run, on virtual
//! time. Does nothing outside.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::base::digest::Digest;
use crate::base::id::{DenseMap, RecipeId};
use crate::base::job::JobId;
use crate::base::span::Problems;
use crate::engine::api::{Attempt, Attempted, Ended, Engine, Observed, StagedOutput, Stop, Updates, Work};
use crate::engine::outputs::{Done, Outputs, Published, StagedStep};
use crate::event::{Failure, FailureCode, Replaced, Staged};
use crate::pipeline::types::Pipeline;
use crate::plan::facts::{Content, Facts};
use crate::plan::put_back::PutBack;
use crate::plan::record::OutputRecord;

/// What a step does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Ends well after so many milliseconds; its outputs have this content.
    Build(u64, &'static str),
    /// Fails after so many milliseconds.
    Fail(u64),
    /// Panics after so many milliseconds.
    Panic(u64),
    /// Runs until it is asked to end, and ends so many milliseconds later.
    Hang(u64),
    /// Runs until it is killed.
    Deaf,
    /// Ends well after so many milliseconds; putting its outputs in place fails.
    Lose(u64),
    /// Does one of these with each attempt, the last of them with all that follow.
    Each(Vec<Act>),
    /// Fails after so many milliseconds, in this way.
    FailAs(u64, FailureCode, Option<i32>, &'static str),
    /// Ends well after so many milliseconds; its log cannot be kept.
    NoLog(u64),
}

impl Act {
    /// What is done with an attempt.
    fn of(&self, attempt: u32) -> Self {
        let Self::Each(acts) = self else { return self.clone() };
        let i = (attempt.saturating_sub(1) as usize).min(acts.len().saturating_sub(1));
        acts.get(i).map_or(Self::Build(1, "built"), |act| act.of(1))
    }
}

/// The engine. Steps without an act end well after 1 ms.
pub struct Scripted {
    pipeline: Arc<Pipeline>,
    acts: HashMap<String, Act>,
    contents: HashMap<String, Content>,
    published: Mutex<Vec<String>>,
    ends_in: Duration,
    began: Instant,
    log: Arc<Mutex<Vec<Entry>>>,
}

/// That an attempt began or ended, as it really was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The step.
    pub step: String,
    /// Which attempt.
    pub attempt: u32,
    /// Whether it began; else it ended.
    pub began: bool,
    /// When, in milliseconds since the engine was made.
    pub ms: u64,
}

impl Scripted {
    /// An engine for a pipeline in which nothing is there but the sources.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>, acts: HashMap<String, Act>) -> Self {
        let began = Instant::now();
        let (contents, published, ends_in, log) = (HashMap::new(), Mutex::default(), Duration::ZERO, Arc::default());
        Self { pipeline, acts, contents, published, ends_in, began, log }
    }

    /// Says how long it takes to end what is left of a run.
    #[must_use]
    pub fn ending_in(mut self, ends_in: Duration) -> Self {
        self.ends_in = ends_in;
        self
    }

    /// Says what is there of a node.
    #[must_use]
    pub fn with(mut self, node: &str, content: Content) -> Self {
        self.contents.insert(node.to_owned(), content);
        self
    }

    /// What really went on, in order.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The paths that were put in place, in order.
    pub fn published(&self) -> Vec<String> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Engine for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn can_build(&self, id: RecipeId) -> bool {
        self.pipeline.outline().runs(id)
    }

    fn check(&self) -> Problems {
        Vec::new()
    }

    fn observe(&self, _wanted: &DenseMap<RecipeId, bool>, _probes: bool) -> Observed {
        let mut facts =
            Facts::unseen(jiff::Timestamp::UNIX_EPOCH, self.pipeline.nodes.len(), self.pipeline.recipes.len());
        for (id, node) in self.pipeline.nodes.iter() {
            let source = if node.maker.is_none() { Content::Is(Digest::of(b"source")) } else { Content::Missing };
            facts.nodes[id] = self.contents.get(&node.name).copied().unwrap_or(source);
        }
        Observed { facts, seen: Vec::new(), wrong: Vec::new() }
    }

    fn prepare(&self, id: RecipeId) -> Result<Arc<dyn Work>, Problems> {
        let recipe = &self.pipeline.recipes[id];
        let act = self.acts.get(&recipe.name).cloned().unwrap_or(Act::Build(1, "built"));
        let (pipeline, log) = (Arc::clone(&self.pipeline), Arc::clone(&self.log));
        Ok(Arc::new(ScriptedWork { pipeline, id, act, began: self.began, log }))
    }

    fn end(&self) -> BoxFuture<'static, Vec<String>> {
        let ends_in = self.ends_in;
        async move {
            if !ends_in.is_zero() {
                sleep(ends_in).await;
            }
            Vec::new()
        }
        .boxed()
    }
}

impl Outputs for Scripted {
    fn flush(&self, _job: &JobId, steps: &[StagedStep]) -> Vec<Result<(), Failure>> {
        steps.iter().map(|_| Ok(())).collect()
    }

    fn take_back(&self, _job: &JobId, _step: &str, _staged: &[Staged]) -> Vec<String> {
        vec!["it is taken back".to_owned()]
    }

    fn publish(&self, _job: &JobId, step: &str, staged: &[Staged]) -> Result<Published, Failure> {
        if matches!(self.acts.get(step), Some(Act::Lose(_))) {
            return Err(Failure::new(FailureCode::Publish, "it could not be put in place"));
        }
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.extend(staged.iter().map(|staged| staged.to.clone()));
        Ok(Published::default())
    }

    fn tidy(&self, _done: &Done) -> std::io::Result<Vec<PutBack>> {
        Ok(Vec::new())
    }

    fn settle(&self, steps: &[StagedStep]) -> Vec<Result<(), Failure>> {
        vec![Ok(()); steps.len()]
    }

    fn halfway(
        &self,
        _job: &JobId,
        _step: &str,
        _staged: &mut Vec<Staged>,
        _last: &[OutputRecord],
    ) -> Result<Vec<PutBack>, Failure> {
        Ok(Vec::new())
    }

    fn give_up(&self, _job: &JobId, _step: &str, _staged: &[Staged], _last: &[OutputRecord]) -> Vec<Replaced> {
        Vec::new()
    }

    fn kept_before(&self, _job: &JobId, _staged: &[Staged]) -> Vec<Replaced> {
        Vec::new()
    }

    fn left_by_other(&self) -> std::io::Result<Option<(String, PathBuf)>> {
        Ok(None)
    }

    fn end_survivors(&self, _died: bool) -> Vec<String> {
        Vec::new()
    }

    fn keep_lost(&self, _job: &JobId, _step: &str) -> Option<String> {
        None
    }

    fn put_back(&self, _done: &Done) -> Vec<PutBack> {
        Vec::new()
    }

    fn half_written(&self) -> Vec<String> {
        Vec::new()
    }

    fn misfit(&self, _id: RecipeId) -> Option<String> {
        None
    }
}

struct ScriptedWork {
    pipeline: Arc<Pipeline>,
    id: RecipeId,
    act: Act,
    began: Instant,
    log: Arc<Mutex<Vec<Entry>>>,
}

/// Tells the end of an attempt, in whatever way it ends.
struct Told {
    log: Arc<Mutex<Vec<Entry>>>,
    entry: Entry,
    clock: Instant,
}

impl Told {
    fn began(work: &ScriptedWork, attempt: u32) -> Self {
        let step = work.pipeline.recipes[work.id].name.clone();
        let entry = Entry { step, attempt, began: true, ms: 0 };
        let told = Self { log: Arc::clone(&work.log), entry, clock: work.began };
        told.tell(true);
        told
    }

    fn tell(&self, began: bool) {
        let ms = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let entry = Entry { began, ms, ..self.entry.clone() };
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.tell(false);
    }
}

impl Work for ScriptedWork {
    fn describe(&self) -> String {
        format!("{:?}", self.act)
    }

    fn run(
        &self,
        attempt: Attempt,
        updates: Updates,
        mut stop: watch::Receiver<Stop>,
    ) -> BoxFuture<'static, Attempted> {
        let act = self.act.of(attempt.number);
        let told = Told::began(self, attempt.number);
        let outputs = self.pipeline.recipes[self.id].outputs.clone();
        let staged = outputs.iter().map(|node| self.pipeline.nodes[*node].path.clone()).collect::<Vec<_>>();
        async move {
            let _told = told;
            updates.output(format!("attempt {}\n", attempt.number).as_bytes());
            let content = match act {
                Act::Build(ms, content) => after(ms, content, &mut stop).await,
                Act::Lose(ms) => after(ms, "lost", &mut stop).await,
                Act::NoLog(ms) => {
                    updates.trouble(format!("{}: no space left", attempt.log));
                    after(ms, "built", &mut stop).await
                }
                Act::Fail(ms) => {
                    if after(ms, "", &mut stop).await.is_some() {
                        let exit_code = Some(1);
                        return Ended::Failed(Failure { exit_code, ..Failure::new(FailureCode::Exit, "exit 1") });
                    }
                    None
                }
                Act::FailAs(ms, code, exit_code, printed) => {
                    if after(ms, "", &mut stop).await.is_some() {
                        let tail = printed.lines().map(str::to_owned).collect();
                        return Ended::Failed(Failure { exit_code, tail, ..Failure::new(code, format!("{code:?}")) });
                    }
                    None
                }
                Act::Panic(ms) => {
                    sleep(Duration::from_millis(ms)).await;
                    panic!("the script says so");
                }
                Act::Hang(ms) => {
                    reached(&mut stop, Stop::Ask).await;
                    sleep(Duration::from_millis(ms)).await;
                    None
                }
                Act::Deaf => {
                    reached(&mut stop, Stop::Kill).await;
                    None
                }
                Act::Each(_) => unreachable!("an attempt has one act"),
            };
            let Some(content) = content else { return Ended::Stopped(Failure::new(FailureCode::Stopped, "stopped")) };
            let digest = Digest::of(content.as_bytes());
            let output = |(node, path): (_, Option<String>)| {
                let staged =
                    path.map(|to| Staged { from: format!("staged/{to}"), to, digest, keep: false, stood: None });
                StagedOutput { node, digest: Some(digest), staged }
            };
            Ended::Staged(outputs.into_iter().zip(staged).map(output).collect())
        }
        .map(Attempted::from)
        .boxed()
    }
}

/// The content after that time; none when it was asked to stop before.
async fn after(ms: u64, content: &'static str, stop: &mut watch::Receiver<Stop>) -> Option<&'static str> {
    tokio::select! {
        biased;
        () = sleep(Duration::from_millis(ms)) => Some(content),
        () = reached(stop, Stop::Ask) => None,
    }
}

async fn reached(stop: &mut watch::Receiver<Stop>, level: Stop) {
    if stop.wait_for(|stop| *stop >= level).await.is_err() {
        std::future::pending::<()>().await; // the run that could ask has gone
    }
}
