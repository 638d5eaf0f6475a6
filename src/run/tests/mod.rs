//! The run on virtual time, with scripted steps: what the tests share.

mod large;
mod pairs;
mod properties;
mod retries;
mod slots;
mod sound;
mod traces;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::*;
use crate::base::job::{BuildMode, JobState, Schedule};
use crate::cause::StopSignal;
use crate::engine::scripted::{Act, Entry, Scripted};
use crate::event::Outcome;
use crate::graph::Graph;
use crate::pipeline::types::Pipeline;
use crate::pipeline::{check, read};
use crate::plan::Plan;
use crate::plan::decide::Basis;
use crate::plan::estimate::remaining;
use crate::plan::record::MemoryHistory;
use crate::run::setup::{Policy, Setup, SetupStep};
use crate::select::{Choice, Want, select};

/// A journal that keeps everything at once.
struct Memory {
    told: mpsc::UnboundedSender<Result<u64, String>>,
    batches: u64,
    /// The batch that cannot be kept.
    broken: Option<u64>,
    /// From then on nothing can be kept.
    full: Option<Instant>,
    events: Vec<Stamped>,
}

impl Journal for Memory {
    fn append(&mut self, events: Arc<[Stamped]>, _digests: Vec<FileDigest>) -> u64 {
        self.batches += 1;
        let full = self.full.is_some_and(|full| Instant::now() >= full);
        let broken = full || self.broken.is_some_and(|broken| self.batches >= broken);
        if !broken {
            self.events.extend(events.iter().cloned());
        }
        let told = if broken { Err("the disk is full".to_owned()) } else { Ok(self.batches) };
        self.told.send(told).unwrap();
        self.batches
    }
}

struct Case {
    pipeline: Arc<Pipeline>,
    acts: HashMap<String, Act>,
    history: MemoryHistory,
    policy: Policy,
    /// Signals with the millisecond at which they come.
    signals: Vec<(u64, StopSignal)>,
    broken: Option<u64>,
    /// The millisecond from which on nothing can be kept.
    full: Option<u64>,
    /// The event that cannot be shown.
    unseen: Option<u64>,
    /// The slots that it shares with others.
    slots: Option<Arc<Semaphore>>,
    /// How many milliseconds the engine takes to end what is left.
    ends_in: u64,
}

struct Ran {
    driven: Driven,
    events: Vec<Stamped>,
    published: Vec<String>,
    /// What the engine really did.
    log: Vec<Entry>,
    /// The steps of the run, in its order.
    steps: Vec<Planned>,
}

/// A step as the run was given it.
#[derive(Debug)]
struct Planned {
    name: String,
    stage: u32,
    remaining_ms: u64,
    /// The steps of the run that it needs.
    needs: Vec<usize>,
}

/// Fails to show one event.
struct Blind(u64);

impl Reporter for Blind {
    fn event(&mut self, _view: &RunView, event: &Stamped) -> std::io::Result<()> {
        if event.seq == self.0 { Err(std::io::Error::other("nobody looks")) } else { Ok(()) }
    }
}

/// Steps as `name < input input | key = value; key = value`.
fn case(steps: &[&str], jobs: usize, schedule: Schedule) -> Case {
    let mut text = "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.src]\npath = \"src\"\n".to_owned();
    for step in steps {
        let (step, keys) = step.split_once('|').unwrap_or((step, ""));
        let (name, inputs) = step.split_once('<').unwrap_or((step, "src"));
        let inputs: Vec<_> = inputs.split_whitespace().map(|input| format!("{input:?}")).collect();
        let (name, inputs) = (name.trim(), inputs.join(", "));
        writeln!(
            text,
            "[dataset.{name}]\npath = \"{name}\"\ninputs = [{inputs}]\nrun = \"x\"\n{}",
            keys.replace(';', "\n")
        )
        .unwrap();
    }
    let (raw, problems) = read::read(&text);
    assert_eq!(problems, []);
    let options = check::Options { own: &[], vars: &[], project: None };
    let (pipeline, problems) = check::check(raw.unwrap(), &text, &options);
    assert_eq!(problems, []);
    Case {
        pipeline: Arc::new(pipeline),
        acts: HashMap::new(),
        history: MemoryHistory::default(),
        policy: Policy { schedule, jobs, max_fail: Some(1), kill: false, time_limit_ms: None, seed: 1 },
        signals: Vec::new(),
        broken: None,
        full: None,
        unseen: None,
        slots: None,
        ends_in: 0,
    }
}

impl Case {
    fn act(mut self, step: &str, act: Act) -> Self {
        self.acts.insert(step.to_owned(), act);
        self
    }

    fn max_fail(mut self, max_fail: Option<u32>) -> Self {
        self.policy.max_fail = max_fail;
        self
    }

    fn kill(mut self) -> Self {
        self.policy.kill = true;
        self
    }

    fn signal(mut self, ms: u64) -> Self {
        self.signals.push((ms, StopSignal::Interrupt));
        self
    }

    /// Everything was built before, by this history, with contents as they were then.
    fn after(mut self, ran: &Ran) -> Self {
        for event in &ran.events {
            if let Event::StepEnded(ended) = &event.event
                && let Some(record) = &ended.record
            {
                let (job, outputs) = (event.job.clone(), record.outputs.clone());
                let last = crate::plan::record::LastGood { key: record.key, built_at: event.at, job, outputs };
                self.history.steps.insert(ended.step.clone(), (last, record.parts.clone()));
            }
        }
        self
    }

    fn run(self) -> Ran {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(self.drive())
    }

    async fn drive(self) -> Ran {
        let graph = Graph::build(&self.pipeline).unwrap();
        let selection =
            select(&self.pipeline, &graph, Choice { targets: &[], exclude: &[], mode: BuildMode::Smart }, &|_| true)
                .unwrap();
        let mut engine = Scripted::new(Arc::clone(&self.pipeline), self.acts);
        engine = engine.ending_in(Duration::from_millis(self.ends_in));
        for (last, _) in self.history.steps.values() {
            for output in &last.outputs {
                engine = engine.with(&output.node, crate::plan::facts::Content::Is(output.digest));
            }
        }
        let engine = Arc::new(engine);
        let facts = engine.observe(&selection.want.values().map(|want| *want != Want::No).collect(), true).facts;
        let basis = Basis { pipeline: &self.pipeline, facts: &facts, history: &self.history, mode: BuildMode::Smart };
        let (plan, lacks) = Plan::make(&basis, &graph, &selection, &HashMap::new());
        assert_eq!(lacks, []);
        let ways = remaining(&plan, &graph);
        let steps: Vec<_> = plan.active().map(|step| setup(step, ways[step.id])).collect();
        let started = started(&self.pipeline, &plan, &self.policy);
        let works = steps.iter().map(|step| engine.prepare(step.id).unwrap()).collect();
        let planned = planned(&self.pipeline, &graph, &steps);
        let job = JobId::from_text("build_p_1");
        let setup = Setup {
            job: job.clone(),
            pipeline: Arc::clone(&self.pipeline),
            facts,
            history: Box::new(self.history),
            mode: BuildMode::Smart,
            policy: self.policy,
            steps,
        };
        let (told, committed) = mpsc::unbounded_channel();
        let full = self.full.map(|ms| Instant::now() + Duration::from_millis(ms));
        let mut journal = Memory { told, batches: 0, broken: self.broken, full, events: Vec::new() };
        let blind = self.unseen.map(|seq| Box::new(Blind(seq)) as Box<dyn Reporter>);
        let (signal, signals) = mpsc::unbounded_channel();
        let drive = Drive {
            run: run(setup, started.up_to_date, self.slots.is_some()),
            slots: self.slots,
            job,
            events: 0,
            began: jiff::Timestamp::UNIX_EPOCH,
            engine: Arc::clone(&engine) as Arc<dyn Engine>,
            outputs: Arc::<Scripted>::clone(&engine),
            works,
            seen: Vec::new(),
            journal: &mut journal,
            committed,
            reporters: blind.into_iter().collect(),
            signals,
            threads: false,
        };
        // What comes at one instant comes in this order, each time.
        let driven = tokio::select! {
            biased;
            () = send(self.signals, signal) => unreachable!(),
            driven = super::drive(drive, started) => driven,
        };
        Ran { driven, events: journal.events, published: engine.published(), log: engine.log(), steps: planned }
    }
}

fn setup(step: &crate::plan::Step, remaining_ms: u64) -> SetupStep {
    let (id, stage, action) = (step.id, step.stage, step.action);
    SetupStep { id, stage, action, command: "make it".to_owned(), remaining_ms }
}

fn run(setup: Setup, up_to_date: u64, shares: bool) -> Run {
    let run = Run::new(setup, up_to_date);
    if shares { run.sharing_slots() } else { run }
}

/// Sends the signals, each at its time.
async fn send(signals: Vec<(u64, StopSignal)>, to: mpsc::UnboundedSender<Cause>) {
    let begun = Instant::now();
    for (ms, signal) in signals {
        sleep_until(begun + Duration::from_millis(ms)).await;
        to.send(Cause::Signal { signal }).unwrap();
    }
    std::future::pending::<()>().await;
}

fn planned(pipeline: &Pipeline, graph: &Graph, steps: &[SetupStep]) -> Vec<Planned> {
    let position = |id| steps.iter().position(|step| step.id == id);
    let planned = |step: &SetupStep| Planned {
        name: pipeline.recipes[step.id].name.clone(),
        stage: step.stage,
        remaining_ms: step.remaining_ms,
        needs: graph.needs[step.id].iter().filter_map(|id| position(*id)).collect(),
    };
    steps.iter().map(planned).collect()
}

fn started(pipeline: &Pipeline, plan: &Plan, policy: &Policy) -> RunStarted {
    let steps = plan.active().map(|step| crate::event::PlannedStep {
        id: pipeline.recipes[step.id].name.clone(),
        outputs: Vec::new(),
        stage: step.stage,
        action: step.action,
        reasons: step.reasons.clone(),
        expected_ms: None,
        place: String::new(),
        attempts: pipeline.recipes[step.id].how.retry.attempts(),
        after: Vec::new(),
    });
    RunStarted {
        pipeline: pipeline.name.clone(),
        project: pipeline.project.clone(),
        file: "p.toml".to_owned(),
        engine: "scripted".to_owned(),
        mode: BuildMode::Smart,
        schedule: policy.schedule,
        targets: Vec::new(),
        exclude: Vec::new(),
        max_parallel: u32::try_from(policy.jobs).unwrap(),
        by: "test".to_owned(),
        pid: 1,
        host: "here".to_owned(),
        kiln: "0".to_owned(),
        again: "kiln run".to_owned(),
        keep_going: false,
        vars: Default::default(),
        steps: steps.collect(),
        up_to_date: plan.counts().skip as u64,
        left: Vec::new(),
        put_back: Vec::new(),
        expected_ms: None,
    }
}

impl Ran {
    /// A line for each event.
    fn trace(&self) -> String {
        let line = |event: &Stamped| {
            let what = match &event.event {
                Event::RunQueued(_) => "queued".to_owned(),
                Event::RunStarted(started) => format!("begin {}", started.steps.len()),
                Event::StepStarted { step, .. } => format!("start {step}"),
                Event::StepRetrying(retrying) => {
                    format!("retry {} in {}ms ({})", retrying.step, retrying.wait_ms, retrying.failure.message)
                }
                Event::StepPublishing { step, .. } => format!("publish {step}"),
                Event::StepEnded(ended) if ended.flaky => format!("{} {} (flaky)", word(ended.outcome), ended.step),
                Event::StepEnded(ended) => format!("{} {}", word(ended.outcome), ended.step),
                Event::StepSubmitting { step, .. } => format!("submit {step}"),
                Event::Noted { step, text } => format!("noted {}: {text}", step.as_deref().unwrap_or("-")),
                Event::StepAccepted { step, remote } => format!("accepted {step} {}", remote.id),
                Event::StepCurrent { step, .. } => format!("current {step}"),
                Event::StepSkipped { step, because } => format!("skip {step} ({})", because.as_deref().unwrap_or("-")),
                Event::RunStopping { cause, .. } => format!("stopping: {cause}"),
                Event::RunEnded(end) => format!("end {} {}", end.state, end.why.as_deref().unwrap_or("-")),
            };
            format!("{} {what}", event.elapsed_ms)
        };
        self.events.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Built => "built",
        Outcome::Same => "same",
        Outcome::Failed => "failed",
        Outcome::Stopped => "stopped",
        Outcome::Adopted => "adopted",
    }
}
