//! The run as a machine without time or files: `handle` takes what happened and says what to do. Everything is decided
//! here; the loop around it only waits and carries out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::base::digest::{Digest, FieldHasher};
use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::job::{BuildMode, JobId, JobState};
use crate::engine::api::{Ended, StagedOutput, Stop};
use crate::event::{Counts, Event, Failure, FailureCode, Outcome, RunEnded, Staged, StepEnded};
use crate::pipeline::types::Pipeline;
use crate::plan::decide::{Basis, Input as NodeInput, Verdict};
use crate::plan::facts::Facts;
use crate::plan::key;
use crate::plan::reason::Action;
use crate::plan::record::{History, OutputRecord, Record};
use crate::run::schedule::Ready;
use crate::run::setup::{Effect, Input, Policy, Setup, SetupStep};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Ready,
    Running,
    Staged,
    Publishing,
    Over,
}

/// Whether staged outputs wait for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Linger {
    No,
    Waiting,
    Over,
}

/// So many steps with staged outputs do not wait for more.
const LARGEST_BATCH: usize = 256;

struct StepRun {
    id: RecipeId,
    action: Action,
    command: String,
    state: State,
    /// How many of the run's steps that it needs have not ended.
    waits: usize,
    feeds: Vec<usize>,
    took_ms: u64,
    record: Option<Record>,
    staged: Vec<Staged>,
}

/// A run.
pub struct Run {
    job: JobId,
    pipeline: Arc<Pipeline>,
    facts: Facts,
    history: Box<dyn History>,
    mode: BuildMode,
    policy: Policy,
    steps: Vec<StepRun>,
    ready: Ready,
    /// Steps whose inputs have arrived and that are not looked at yet.
    arrived: VecDeque<usize>,
    running: usize,
    staged: Vec<usize>,
    flushing: Vec<usize>,
    publishing: usize,
    linger: Linger,
    stopping: bool,
    signals: usize,
    aborted: Option<&'static str>,
    failed: Vec<(usize, String)>,
    /// Contents of nodes that this run built.
    built: HashMap<NodeId, Digest>,
    counts: Counts,
    left: usize,
    over: bool,
    effects: Vec<Effect>,
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
            staged: Vec::new(),
            flushing: Vec::new(),
            publishing: 0,
            linger: Linger::No,
            stopping: false,
            signals: 0,
            aborted: None,
            failed: Vec::new(),
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
            Input::Begin => self.arrived.extend((0..self.steps.len()).filter(|i| self.steps[*i].waits == 0)),
            Input::Ended { step, ended, took_ms } => self.ended(step, ended, took_ms),
            Input::LingerOver if self.linger == Linger::Waiting => self.linger = Linger::Over,
            Input::LingerOver => {}
            Input::Flushed(result) => self.flushed(result),
            Input::Published { step, result } => self.published(step, result),
            Input::Signal(name) => self.signal(name),
        }
        self.look_at_arrived();
        self.start();
        self.flush();
        self.finish();
        std::mem::take(&mut self.effects)
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

    fn emit(&mut self, event: Event) {
        self.effects.push(Effect::Emit(Box::new(event)));
    }

    /// What is known of a node, now that all that the asking step needs has ended.
    fn input(&self, node: NodeId) -> NodeInput {
        self.built.get(&node).map_or_else(|| self.basis().seen(node), |digest| NodeInput::Is(*digest))
    }

    fn basis(&self) -> Basis<'_> {
        Basis { pipeline: &self.pipeline, facts: &self.facts, history: self.history.as_ref(), mode: self.mode }
    }

    fn look_at_arrived(&mut self) {
        while let Some(i) = self.arrived.pop_front() {
            if self.steps[i].state != State::Waiting {
                continue;
            }
            let id = self.steps[i].id;
            let open = self.steps[i].action != Action::Build;
            if open && self.basis().decide(id, &|node| self.input(node)) == Verdict::Skip {
                self.counts.current += 1;
                self.emit(Event::StepCurrent { step: self.name(i).to_owned() });
                self.settle(i, true);
            } else {
                self.steps[i].state = State::Ready;
                self.ready.push(i);
            }
        }
    }

    fn start(&mut self) {
        while !self.stopping && self.running < self.policy.jobs {
            let Some(i) = self.ready.pop() else { break };
            let id = self.steps[i].id;
            let known = |node| match self.input(node) {
                NodeInput::Is(digest) => Some(digest),
                NodeInput::Pending | NodeInput::NotProbed | NodeInput::Missing => None,
            };
            let own = &self.facts.recipes[id];
            let record = Record {
                key: key::key(&self.pipeline, id, own, &known),
                parts: key::parts(&self.pipeline, id, own, &known),
                outputs: Vec::new(),
            };
            let inputs = self.pipeline.recipes[id].inputs.iter().filter_map(|node| Some((*node, known(*node)?)));
            let inputs = inputs.collect();
            let step = &mut self.steps[i];
            step.record = Some(record);
            step.state = State::Running;
            self.running += 1;
            let (command, log) = (self.steps[i].command.clone(), self.log(i, 1));
            self.emit(Event::StepStarted { step: self.name(i).to_owned(), attempt: 1, command, log });
            self.effects.push(Effect::Start(i, inputs));
        }
    }

    fn ended(&mut self, i: usize, ended: Ended, took_ms: u64) {
        self.running -= 1;
        self.steps[i].took_ms = took_ms;
        match ended {
            Ended::Failed(failure) => self.fail(i, failure),
            Ended::Stopped(failure) => {
                self.counts.stopped += 1;
                self.end_step(i, Outcome::Stopped, None, Some(failure));
                self.skip_below(i);
                self.settle(i, false);
            }
            Ended::Staged(outputs) => self.complete(i, outputs),
        }
    }

    /// All outputs of a step are complete.
    fn complete(&mut self, i: usize, outputs: Vec<StagedOutput>) {
        let mut staged = Vec::new();
        let mut records = Vec::with_capacity(outputs.len());
        for output in outputs {
            let node = &self.pipeline.nodes[output.node];
            let digest = output.digest.unwrap_or_else(|| self.unseen(i, &node.name));
            records.push(OutputRecord { node: node.name.clone(), path: node.path.clone(), digest });
            staged.extend(output.staged);
        }
        let step = &mut self.steps[i];
        if let Some(record) = &mut step.record {
            record.outputs = records;
        }
        if staged.is_empty() {
            self.built(i);
        } else {
            step.staged = staged;
            step.state = State::Staged;
            self.staged.push(i);
        }
    }

    /// What stands for a content that cannot be seen: another one with each build.
    fn unseen(&self, i: usize, node: &str) -> Digest {
        let key = self.steps[i].record.as_ref().map(|record| record.key.to_string()).unwrap_or_default();
        FieldHasher::default().field(key.as_bytes()).field(node.as_bytes()).field(self.job.as_str().as_bytes()).finish()
    }

    /// Staged outputs are flushed together: at once when nothing could start anyway, else after a short wait for more.
    fn flush(&mut self) {
        if self.staged.is_empty() || !self.flushing.is_empty() {
            return;
        }
        let busy = self.running >= self.policy.jobs && !self.stopping;
        if busy && self.linger != Linger::Over && self.staged.len() < LARGEST_BATCH {
            if self.linger == Linger::No {
                self.linger = Linger::Waiting;
                self.effects.push(Effect::Linger);
            }
            return;
        }
        self.linger = Linger::No;
        self.flushing = std::mem::take(&mut self.staged);
        let staged = self.flushing.iter().flat_map(|i| self.steps[*i].staged.clone()).collect();
        self.effects.push(Effect::Flush(staged));
    }

    fn flushed(&mut self, result: Result<(), String>) {
        for i in std::mem::take(&mut self.flushing) {
            if let Err(error) = &result {
                self.fail(i, Failure::new(FailureCode::Publish, format!("outputs could not be flushed: {error}")));
                continue;
            }
            let step = &mut self.steps[i];
            step.state = State::Publishing;
            let (took_ms, staged) = (step.took_ms, step.staged.clone());
            let Some(record) = step.record.clone() else {
                continue;
            };
            self.publishing += 1;
            self.emit(Event::StepPublishing { step: self.name(i).to_owned(), took_ms, record, staged: staged.clone() });
            self.effects.push(Effect::Publish(i, staged));
        }
    }

    fn published(&mut self, i: usize, result: Result<(), Failure>) {
        self.publishing -= 1;
        match result {
            Ok(()) => self.built(i),
            Err(failure) => self.fail(i, failure),
        }
    }

    fn built(&mut self, i: usize) {
        let record = self.steps[i].record.take();
        let last = self.history.last(self.name(i)).map(|last| &last.outputs);
        let outputs = record.as_ref().map(|record| &record.outputs);
        let same = outputs.is_some_and(|outputs| !outputs.is_empty() && last == Some(outputs));
        for (node, output) in self.pipeline.recipes[self.steps[i].id].outputs.iter().zip(outputs.into_iter().flatten())
        {
            self.built.insert(*node, output.digest);
        }
        let outcome = if same { Outcome::Same } else { Outcome::Built };
        *(if same { &mut self.counts.same } else { &mut self.counts.built }) += 1;
        self.end_step(i, outcome, record, None);
        self.settle(i, true);
    }

    fn fail(&mut self, i: usize, mut failure: Failure) {
        let last =
            self.history.last(self.name(i)).filter(|last| last.outputs.iter().any(|output| output.path.is_some()));
        failure.kept = last.map(|last| last.built_at);
        let name = self.name(i).to_owned();
        self.counts.failed += 1;
        self.failed.push((i, format!("{name}: {}", failure.message)));
        self.end_step(i, Outcome::Failed, None, Some(failure));
        self.skip_below(i);
        self.settle(i, false);
        let enough = self.policy.max_fail.is_some_and(|max| self.failed.len() as u64 >= u64::from(max));
        if enough && !self.stopping {
            self.stopping = true;
            if self.left > 0 {
                self.emit(Event::RunStopping { cause: format!("{name} failed") });
            }
            if self.policy.kill {
                self.effects.push(Effect::Stop(Stop::Ask));
            }
        }
    }

    fn end_step(&mut self, i: usize, outcome: Outcome, record: Option<Record>, failure: Option<Failure>) {
        let (step, took_ms) = (self.name(i).to_owned(), self.steps[i].took_ms);
        self.emit(Event::StepEnded(Box::new(StepEnded { step, attempt: 1, outcome, took_ms, record, failure })));
    }

    /// A step is over. If its outputs are there, the steps that wait for it come nearer.
    fn settle(&mut self, i: usize, there: bool) {
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
    fn skip_below(&mut self, cause: usize) {
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

    fn skip(&mut self, i: usize, because: Option<usize>) {
        self.counts.skipped += 1;
        let because = because.map(|cause| self.name(cause).to_owned());
        self.emit(Event::StepSkipped { step: self.name(i).to_owned(), because });
        self.settle(i, false);
    }

    fn signal(&mut self, name: &'static str) {
        self.signals += 1;
        if self.signals == 1 {
            self.aborted = Some(name);
            self.stopping = true;
            self.emit(Event::RunStopping { cause: name.to_owned() });
        }
        self.effects.push(Effect::Stop(if self.signals == 1 { Stop::Ask } else { Stop::Kill }));
    }

    fn finish(&mut self) {
        let busy = self.running + self.staged.len() + self.flushing.len() + self.publishing > 0;
        if busy || !(self.stopping || self.left == 0) {
            return;
        }
        let cause = self.failed.first().map(|(i, _)| *i).filter(|_| self.aborted.is_none());
        for i in 0..self.steps.len() {
            if matches!(self.steps[i].state, State::Waiting | State::Ready) {
                self.skip(i, cause);
            }
        }
        let (state, why) = match (self.aborted, self.failed.first()) {
            (Some(signal), _) => (JobState::Aborted, Some(signal.to_owned())),
            (None, Some((_, why))) => (JobState::Failed, Some(why.clone())),
            (None, None) => (JobState::Done, None),
        };
        self.emit(Event::RunEnded(RunEnded { state, why, counts: self.counts }));
        self.effects.push(Effect::End);
        self.over = true;
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
            took_ms: 0,
            record: None,
            staged: Vec::new(),
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
