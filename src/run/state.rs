//! The run as a machine without time or files: `handle` takes what happened and says what to do. Everything is decided
//! here; the loop around it only waits and carries out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::base::digest::Digest;
use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::job::{BuildMode, JobId};
use crate::engine::api::{Attempted, Ended, Notice};
use crate::event::{Cause, Counts, Event, Failure, FailureCode, Outcome, Replaced, Staged, StepEnded};
use crate::pipeline::types::Pipeline;
use crate::plan::decide::{Basis, Input as NodeInput, Verdict};
use crate::plan::facts::{Content, Facts};
use crate::plan::key;
use crate::plan::reason::Action;
use crate::plan::record::{History, OutputRecord, Record};
use crate::run::publish::Linger;
use crate::run::schedule::Ready;
use crate::run::setup::{Effect, Input, Policy, Setup, SetupStep, Timer};
use crate::run::slot::Slot;

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Ready,
    Running,
    /// An attempt failed, and the next one is waited with.
    Retrying,
    Staged,
    Publishing,
    Over,
}

pub(super) struct StepRun {
    pub(super) id: RecipeId,
    pub(super) action: Action,
    pub(super) command: String,
    pub(super) state: State,
    /// How many of the run's steps that it needs have not ended.
    pub(super) waits: usize,
    pub(super) feeds: Vec<usize>,
    /// Which attempt, counted from 1; 0 before the first.
    pub(super) attempt: u32,
    /// Whether its attempt takes longer than it may.
    pub(super) overdue: bool,
    /// Why its last attempt failed, as long as there may be another one.
    pub(super) failure: Option<Failure>,
    pub(super) took_ms: u64,
    pub(super) record: Option<Record>,
    pub(super) staged: Vec<Staged>,
    pub(super) leaked: Vec<String>,
    pub(super) replaced: Vec<Replaced>,
}

/// A run.
pub struct Run {
    pub(super) job: JobId,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) facts: Facts,
    pub(super) history: Box<dyn History>,
    pub(super) mode: BuildMode,
    pub(super) policy: Policy,
    pub(super) steps: Vec<StepRun>,
    pub(super) ready: Ready,
    /// Steps whose inputs have arrived and that are not looked at yet.
    pub(super) arrived: VecDeque<usize>,
    pub(super) running: usize,
    pub(super) slot: Slot,
    pub(super) staged: Vec<usize>,
    pub(super) flushing: Vec<usize>,
    pub(super) publishing: usize,
    pub(super) linger: Linger,
    /// How many steps were flushed together the last time.
    pub(super) together: usize,
    /// Whether nothing more starts.
    pub(super) stopping: bool,
    /// Whether all that runs was asked to end.
    pub(super) asked: bool,
    pub(super) signals: usize,
    pub(super) aborted: Option<Cause>,
    /// Why the run cannot be kept.
    pub(super) broken: Option<String>,
    /// How many steps have failed, and how the first of them did.
    pub(super) failed: u64,
    pub(super) first_failure: Option<Cause>,
    /// Contents of nodes that this run built.
    pub(super) built: HashMap<NodeId, Digest>,
    pub(super) counts: Counts,
    pub(super) left: usize,
    pub(super) over: bool,
    pub(super) effects: Vec<Effect>,
}

impl Run {
    /// A run that has not begun. `up_to_date` steps are only counted.
    #[must_use]
    pub fn new(setup: Setup, up_to_date: u64) -> Self {
        let stages: Vec<u32> = setup.steps.iter().map(|step| step.stage).collect();
        let remaining = setup.steps.iter().map(|step| step.remaining_ms).collect();
        let ready = Ready::new(setup.policy.schedule, &stages, remaining);
        let steps = link(&setup.pipeline, setup.steps);
        Self {
            job: setup.job,
            pipeline: setup.pipeline,
            facts: setup.facts,
            history: setup.history,
            mode: setup.mode,
            policy: setup.policy,
            left: steps.len(),
            steps,
            ready,
            arrived: VecDeque::new(),
            running: 0,
            slot: Slot::Unneeded,
            staged: Vec::new(),
            flushing: Vec::new(),
            publishing: 0,
            linger: Linger::No,
            together: 0,
            stopping: false,
            asked: false,
            signals: 0,
            aborted: None,
            broken: None,
            failed: 0,
            first_failure: None,
            built: HashMap::new(),
            counts: Counts { current: up_to_date, ..Counts::default() },
            over: false,
            effects: Vec::new(),
        }
    }

    /// Takes what happened, and says what to do.
    pub fn handle(&mut self, input: Input) -> Vec<Effect> {
        if self.over {
            return Vec::new();
        }
        match input {
            Input::Begin => self.begin(),
            Input::Ended { step, attempted, took_ms } => self.ended(step, attempted, took_ms),
            Input::Woken(timer) => self.woken(timer),
            Input::Slot => self.slot = Slot::Had,
            Input::Noticed { step, notice } => self.noticed(step, notice),
            Input::Flushed(result) => self.flushed(result),
            Input::Published { step, result } => self.published(step, result),
            Input::Asked(cause) => self.asked(cause),
            Input::Broken(why) => self.cannot_be_kept(why),
        }
        self.look_at_arrived();
        self.start();
        self.leave_slot();
        self.flush();
        self.finish();
        std::mem::take(&mut self.effects)
    }

    fn begin(&mut self) {
        self.arrived.extend((0..self.steps.len()).filter(|i| self.steps[*i].waits == 0));
        if let Some(ms) = self.policy.time_limit_ms {
            self.effects.push(Effect::Wake(Timer::TimeLimit, ms));
        }
    }

    fn woken(&mut self, timer: Timer) {
        match timer {
            Timer::Linger if self.linger == Linger::Waiting => self.linger = Linger::Over,
            Timer::Linger => {}
            Timer::Deadline(step, attempt) => self.deadline(step, attempt),
            Timer::Retry(step) => self.again(step),
            Timer::TimeLimit => self.time_is_over(),
        }
    }

    /// The log of an attempt, relative to the state's folder.
    #[must_use]
    pub fn log(&self, step: usize, attempt: u32) -> String {
        format!("logs/{}/{}.{attempt}.log", self.job, self.name(step))
    }

    /// The name of a step.
    #[must_use]
    pub fn name(&self, step: usize) -> &str {
        &self.pipeline.recipes[self.steps[step].id].name
    }

    /// What the key of a step says about its files of code.
    #[must_use]
    pub fn files(&self, step: usize) -> Vec<(String, Digest)> {
        self.facts.recipes[self.steps[step].id].files.clone()
    }

    /// What lay where the outputs of a step belong when the run was planned, as far as that was seen.
    #[must_use]
    pub fn stood(&self, step: usize) -> Vec<(NodeId, Digest)> {
        let outputs = &self.pipeline.recipes[self.steps[step].id].outputs;
        let seen = |node: &NodeId| match self.facts.nodes[*node] {
            Content::Is(digest) => Some((*node, digest)),
            Content::Missing | Content::AsRecorded | Content::NotProbed => None,
        };
        outputs.iter().filter_map(seen).collect()
    }

    pub(super) fn emit(&mut self, event: Event) {
        event.count(&mut self.counts);
        self.effects.push(Effect::Emit(Box::new(event)));
    }

    /// What is known of a node, now that all that the asking step needs has ended.
    fn input(&self, node: NodeId) -> NodeInput {
        self.built.get(&node).map_or_else(|| self.basis().seen(node), |digest| NodeInput::Is(*digest))
    }

    pub(super) fn basis(&self) -> Basis<'_> {
        Basis { pipeline: &self.pipeline, facts: &self.facts, history: self.history.as_ref(), mode: self.mode }
    }

    fn look_at_arrived(&mut self) {
        while let Some(i) = self.arrived.pop_front() {
            if self.steps[i].state != State::Waiting {
                continue;
            }
            let id = self.steps[i].id;
            let open = !matches!(self.steps[i].action, Action::Build | Action::Cannot);
            let decide = || self.basis().decide(id, &|node| self.input(node));
            if open && matches!(decide(), Verdict::Skip | Verdict::Left(_)) {
                self.emit(Event::StepCurrent { step: self.name(i).to_owned(), also_built: Vec::new() });
                self.settle(i, true);
            } else {
                self.steps[i].state = State::Ready;
                self.ready.push(i);
            }
        }
    }

    fn start(&mut self) {
        while !self.stopping && self.running < self.policy.jobs && self.has_slot() {
            let Some(i) = self.ready.pop() else { break };
            let id = self.steps[i].id;
            let known = |node| self.input(node).digest();
            let own = &self.facts.recipes[id];
            let (key, parts) = key::key_and_parts(&self.pipeline, id, own, &known);
            let record = Record { key, parts, outputs: Vec::new() };
            let inputs = self.pipeline.recipes[id].inputs.iter().filter_map(|node| Some((*node, known(*node)?)));
            let inputs = inputs.collect();
            let step = &mut self.steps[i];
            step.record = Some(record);
            step.state = State::Running;
            step.attempt += 1;
            step.failure = None;
            let (attempt, command) = (step.attempt, step.command.clone());
            self.running += 1;
            self.take_slot();
            // What runs nothing prints nothing.
            let log = if command.is_empty() { String::new() } else { self.log(i, attempt) };
            self.emit(Event::StepStarted { step: self.name(i).to_owned(), attempt, command, log });
            self.effects.push(Effect::Start { step: i, attempt, inputs });
            self.set_deadline(i);
        }
    }

    /// Keeps what an engine tells about a job for a running step.
    fn noticed(&mut self, i: usize, notice: Notice) {
        let step = self.name(i).to_owned();
        self.emit(match notice {
            Notice::Told { of_all, text } => Event::Noted { step: (!of_all).then_some(step), text },
            Notice::Submitting(intent) => Event::StepSubmitting { step, intent },
            Notice::Accepted(remote) => Event::StepAccepted { step, remote },
        });
    }

    /// The engine keeps the outputs itself: there is no key to record.
    fn built_elsewhere(&mut self, i: usize, also_built: Vec<String>) {
        let (attempt, took_ms) = (self.steps[i].attempt, self.steps[i].took_ms);
        let ended = StepEnded::new(self.name(i), attempt, Outcome::Built, took_ms);
        self.emit(Event::StepEnded(Box::new(StepEnded { also_built, ..ended })));
        self.settle(i, true);
    }

    fn ended(&mut self, i: usize, Attempted { ended, told, leaked }: Attempted, took_ms: u64) {
        self.running -= 1;
        self.steps[i].took_ms = took_ms;
        self.steps[i].leaked.extend(leaked);
        match self.timed_out(i, ended).with_failure(|failure| failure.also(told)) {
            Ended::Failed(failure) => self.attempt_failed(i, failure),
            Ended::Stopped(failure) => self.stopped(i, failure),
            Ended::Staged(outputs) => self.complete(i, outputs),
            Ended::Built(also) => self.built_elsewhere(i, also),
            Ended::Current(also_built) => {
                self.emit(Event::StepCurrent { step: self.name(i).to_owned(), also_built });
                self.settle(i, true);
            }
        }
    }

    pub(super) fn stopped(&mut self, i: usize, failure: Failure) {
        self.end_step(i, Outcome::Stopped, None, Some(failure.trimmed()));
        self.skip_below(i);
        self.settle(i, false);
    }

    pub(super) fn fail(&mut self, i: usize, failure: Failure) {
        let mut failure = failure.trimmed();
        // Of outputs that were to be put in place some may be in place.
        failure.kept = self.kept(i).filter(|_| failure.spoiled.is_empty() && failure.code != FailureCode::Publish);
        let cause = Cause::Failed { step: self.name(i).to_owned(), message: failure.message.clone() };
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| cause.clone());
        self.end_step(i, Outcome::Failed, None, Some(failure));
        self.skip_below(i);
        self.settle(i, false);
        self.count_failure(cause);
    }

    /// When the outputs of a step were built, where they stand as they were built then.
    fn kept(&self, i: usize) -> Option<jiff::Timestamp> {
        let last = self.history.last(self.name(i))?;
        let stood = self.stood(i);
        let name = |node: NodeId| self.pipeline.nodes[node].name.as_str();
        let stood: HashMap<&str, Digest> = stood.into_iter().map(|(node, digest)| (name(node), digest)).collect();
        let is_there = |output: &OutputRecord| stood.get(output.node.as_str()) == Some(&output.digest);
        let mut files = last.outputs.iter().filter(|output| output.path.is_some()).peekable();
        (!self.facts.asks && files.peek().is_some() && files.all(is_there)).then_some(last.built_at)
    }

    pub(super) fn end_step(&mut self, i: usize, outcome: Outcome, record: Option<Record>, failure: Option<Failure>) {
        let ended = StepEnded::new(self.name(i), self.steps[i].attempt, outcome, self.steps[i].took_ms);
        let leaked = std::mem::take(&mut self.steps[i].leaked);
        let replaced = std::mem::take(&mut self.steps[i].replaced);
        self.emit(Event::StepEnded(Box::new(StepEnded { record, failure, leaked, replaced, ..ended })));
    }

    /// A step is over. If its outputs are there, the steps that wait for it come nearer.
    pub(super) fn settle(&mut self, i: usize, there: bool) {
        self.steps[i].state = State::Over;
        self.left -= 1;
        self.ready.ended(i);
        if there {
            for next in std::mem::take(&mut self.steps[i].feeds) {
                self.steps[next].waits -= 1;
                if self.steps[next].waits == 0 {
                    self.arrived.push_back(next);
                }
            }
        }
    }

    /// Skips all that waits for the outputs of a step, and names it as the cause.
    pub(super) fn skip_below(&mut self, cause: usize) {
        let mut queue = VecDeque::from([cause]);
        while let Some(i) = queue.pop_front() {
            for next in self.steps[i].feeds.clone() {
                if self.steps[next].state == State::Waiting {
                    self.skip(next, Some(cause));
                    queue.push_back(next);
                }
            }
        }
    }

    pub(super) fn skip(&mut self, i: usize, because: Option<usize>) {
        let because = because.map(|cause| self.name(cause).to_owned());
        self.emit(Event::StepSkipped { step: self.name(i).to_owned(), because });
        self.settle(i, false);
    }
}

/// Joins the steps of a run with those of them that they need.
fn link(pipeline: &Pipeline, steps: Vec<SetupStep>) -> Vec<StepRun> {
    let mut position: DenseMap<RecipeId, Option<usize>> = DenseMap::filled(pipeline.recipes.len(), None);
    for (i, step) in steps.iter().enumerate() {
        position[step.id] = Some(i);
    }
    let mut runs: Vec<StepRun> = Vec::with_capacity(steps.len());
    for step in steps {
        runs.push(StepRun {
            id: step.id,
            action: step.action,
            command: step.command,
            state: State::Waiting,
            waits: 0,
            feeds: Vec::new(),
            attempt: 0,
            overdue: false,
            failure: None,
            took_ms: 0,
            record: None,
            staged: Vec::new(),
            leaked: Vec::new(),
            replaced: Vec::new(),
        });
    }
    for i in 0..runs.len() {
        let inputs = &pipeline.recipes[runs[i].id].inputs;
        let mut needs: Vec<usize> = inputs.iter().filter_map(|node| position[pipeline.nodes[*node].maker?]).collect();
        needs.sort_unstable();
        needs.dedup();
        runs[i].waits = needs.len();
        for need in needs {
            runs[need].feeds.push(i);
        }
    }
    runs
}
