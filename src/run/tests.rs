//! The run on virtual time, with scripted steps: traces of what happens when.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::*;
use crate::base::job::{BuildMode, JobState, Schedule};
use crate::engine::scripted::{Act, Scripted};
use crate::event::Outcome;
use crate::graph::Graph;
use crate::pipeline::types::Pipeline;
use crate::pipeline::{check, read};
use crate::plan::Plan;
use crate::plan::decide::Basis;
use crate::plan::estimate::remaining;
use crate::plan::record::MemoryHistory;
use crate::run::setup::{Policy, Setup, SetupStep};
use crate::select::{Want, select};

/// A journal that keeps everything at once.
struct Memory {
    told: mpsc::UnboundedSender<Result<u64, String>>,
    batches: u64,
    /// The batch that cannot be kept.
    broken: Option<u64>,
    events: Vec<Stamped>,
}

impl Journal for Memory {
    fn append(&mut self, events: Vec<Stamped>, _digests: Vec<FileDigest>) -> u64 {
        self.batches += 1;
        let broken = self.broken.is_some_and(|broken| self.batches >= broken);
        if !broken {
            self.events.extend(events);
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
    /// Signals by the millisecond at which they come.
    signals: Vec<u64>,
    broken: Option<u64>,
}

struct Ran {
    driven: Driven,
    events: Vec<Stamped>,
    published: Vec<String>,
}

/// Steps as `name < input input`.
fn case(steps: &[&str], jobs: usize, schedule: Schedule) -> Case {
    let mut text = "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.src]\npath = \"src\"\n".to_owned();
    for step in steps {
        let (name, inputs) = step.split_once('<').unwrap_or((step, "src"));
        let inputs: Vec<_> = inputs.split_whitespace().map(|input| format!("{input:?}")).collect();
        let (name, inputs) = (name.trim(), inputs.join(", "));
        writeln!(text, "[dataset.{name}]\npath = \"{name}\"\ninputs = [{inputs}]\nrun = \"x\"").unwrap();
    }
    let (raw, problems) = read::read(&text);
    assert_eq!(problems, []);
    let options = check::Options { root: "/r", vars: &[], project: None };
    let (pipeline, problems) = check::check(raw.unwrap(), &text, &options);
    assert_eq!(problems, []);
    Case {
        pipeline: Arc::new(pipeline),
        acts: HashMap::new(),
        history: MemoryHistory::default(),
        policy: Policy { schedule, jobs, max_fail: Some(1), kill: false },
        signals: Vec::new(),
        broken: None,
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
        self.signals.push(ms);
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
        let selection = select(&self.pipeline, &graph, &[], BuildMode::Smart, &|_| true).unwrap();
        let mut engine = Scripted::new(Arc::clone(&self.pipeline), self.acts);
        for (last, _) in self.history.steps.values() {
            for output in &last.outputs {
                engine = engine.with(&output.node, crate::plan::facts::Content::Is(output.digest));
            }
        }
        let engine = Arc::new(engine);
        let facts =
            engine.observe(&selection.want.values().map(|want| *want != Want::No).collect(), true).ok().unwrap().facts;
        let basis = Basis { pipeline: &self.pipeline, facts: &facts, history: &self.history, mode: BuildMode::Smart };
        let plan = Plan::make(&basis, &graph, &selection, &HashMap::new()).unwrap();
        let ways = remaining(&plan, &graph);
        let steps = plan.active().map(|step| SetupStep {
            id: step.id,
            stage: step.stage,
            action: step.action,
            command: String::new(),
            remaining_ms: ways[step.id],
        });
        let steps: Vec<_> = steps.collect();
        let started = started(&self.pipeline, &plan, &self.policy);
        let works = steps.iter().map(|step| engine.prepare(step.id).unwrap()).collect();
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
        let mut journal = Memory { told, batches: 0, broken: self.broken, events: Vec::new() };
        let (signal, signals) = mpsc::unbounded_channel();
        let drive = drive(Drive {
            run: Run::new(setup, started.up_to_date),
            job,
            events: 0,
            began: jiff::Timestamp::UNIX_EPOCH,
            started,
            engine: Arc::clone(&engine) as Arc<dyn Engine>,
            works,
            seen: Vec::new(),
            journal: &mut journal,
            committed,
            reporters: Vec::new(),
            signals,
        });
        let driven = tokio::select! { driven = drive => driven, () = send(self.signals, signal) => unreachable!() };
        let published = engine.published();
        Ran { driven, events: journal.events, published }
    }
}

/// Sends a signal at each of these milliseconds.
async fn send(at: Vec<u64>, signal: mpsc::UnboundedSender<&'static str>) {
    for ms in at {
        sleep_until(Instant::now() + Duration::from_millis(ms)).await;
        signal.send("Ctrl-C").unwrap();
    }
    std::future::pending::<()>().await;
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
    });
    RunStarted {
        pipeline: pipeline.name.clone(),
        project: pipeline.project.clone(),
        file: "p.toml".to_owned(),
        engine: "scripted".to_owned(),
        mode: BuildMode::Smart,
        schedule: policy.schedule,
        targets: Vec::new(),
        max_parallel: u32::try_from(policy.jobs).unwrap(),
        by: "test".to_owned(),
        pid: 1,
        host: "here".to_owned(),
        kiln: "0".to_owned(),
        again: "kiln run".to_owned(),
        steps: steps.collect(),
        up_to_date: plan.counts().skip as u64,
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
                Event::StepPublishing { step, .. } => format!("publish {step}"),
                Event::StepEnded(ended) => format!("{} {}", word(ended.outcome), ended.step),
                Event::StepCurrent { step } => format!("current {step}"),
                Event::StepSkipped { step, because } => format!("skip {step} ({})", because.as_deref().unwrap_or("-")),
                Event::RunStopping { cause } => format!("stopping: {cause}"),
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
    }
}

const DIAMOND: [&str; 4] = ["a", "b", "c < a", "d < c b"];

#[test]
fn a_stage_waits_for_the_one_before() {
    let case = case(&DIAMOND, 2, Schedule::Stages).act("a", Act::Build(10, "a")).act("b", Act::Build(50, "b"));
    let ran = case.act("c", Act::Build(10, "c")).act("d", Act::Build(10, "d")).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 4
    0 start a
    0 start b
    10 publish a
    10 built a
    50 publish b
    50 built b
    50 start c
    60 publish c
    60 built c
    60 start d
    70 publish d
    70 built d
    70 end DONE -
    ");
    assert_eq!(ran.published, ["a", "b", "c", "d"]);
}

#[test]
fn eager_starts_what_has_its_inputs() {
    let case = case(&DIAMOND, 2, Schedule::Eager).act("a", Act::Build(10, "a")).act("b", Act::Build(50, "b"));
    let ran = case.act("c", Act::Build(10, "c")).run();
    assert!(ran.trace().contains("10 start c"), "{}", ran.trace());
    assert!(ran.trace().contains("50 start d"), "{}", ran.trace());
}

#[test]
fn one_slot_is_one_step_at_a_time() {
    let case = case(&["a", "b", "c"], 1, Schedule::Stages).act("a", Act::Build(5, "a"));
    insta::assert_snapshot!(case.run().trace(), @"
    0 begin 3
    0 start a
    5 start b
    6 start c
    7 publish a
    7 publish b
    7 publish c
    7 built a
    7 built b
    7 built c
    7 end DONE -
    ");
}

#[test]
fn a_failure_lets_running_steps_end_and_skips_the_rest() {
    let case = case(&["a", "b", "c", "d < a", "e < d", "f < b"], 2, Schedule::Eager);
    let ran = case.act("a", Act::Fail(5)).act("b", Act::Build(20, "b")).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 6
    0 start a
    0 start b
    5 failed a
    5 skip d (a)
    5 skip e (a)
    5 stopping: a failed
    20 publish b
    20 built b
    20 skip c (a)
    20 skip f (a)
    20 end FAILED a: exit 1
    ");
}

#[test]
fn keep_going_builds_what_it_can() {
    let case = case(&["a", "b", "d < a", "e < d", "f < b"], 2, Schedule::Stages).max_fail(None);
    let ran = case.act("a", Act::Fail(5)).act("b", Act::Build(20, "b")).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 5
    0 start a
    0 start b
    5 failed a
    5 skip d (a)
    5 skip e (a)
    20 publish b
    20 built b
    20 start f
    21 publish f
    21 built f
    21 end FAILED a: exit 1
    ");
}

#[test]
fn fail_fast_kill_stops_what_runs() {
    let case = case(&["a", "b", "f < b"], 2, Schedule::Stages).kill();
    let ran = case.act("a", Act::Fail(5)).act("b", Act::Hang(3)).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 3
    0 start a
    0 start b
    5 failed a
    5 stopping: a failed
    8 stopped b
    8 skip f (b)
    8 end FAILED a: exit 1
    ");
}

#[test]
fn the_second_failure_is_enough() {
    let case = case(&["a", "b", "c", "d"], 1, Schedule::Stages).max_fail(Some(2));
    let ran = case.act("a", Act::Fail(5)).act("c", Act::Fail(5)).run();
    assert_eq!(ran.driven.view.counts.failed, 2);
    assert_eq!(ran.driven.view.counts.skipped, 1, "{}", ran.trace());
}

#[test]
fn the_first_signal_asks_and_the_second_kills() {
    let case = case(&["a", "b", "c"], 2, Schedule::Stages).signal(10).signal(90);
    let ran = case.act("a", Act::Hang(30)).act("b", Act::Deaf).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 3
    0 start a
    0 start b
    10 stopping: Ctrl-C
    40 stopped a
    100 stopped b
    100 skip c (-)
    100 end ABORTED Ctrl-C
    ");
}

#[test]
fn a_panic_is_a_failure_that_says_so() {
    let ran = case(&["a", "b < a"], 2, Schedule::Stages).act("a", Act::Panic(5)).run();
    let failure = ran.driven.view.step("a").unwrap().failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::Crashed);
    assert_eq!(failure.message, "this is a bug in Kiln: the script says so");
    assert_eq!(ran.driven.view.state(), JobState::Failed);
}

#[test]
fn outputs_that_cannot_be_put_in_place_fail_their_step() {
    let ran = case(&["a", "b < a"], 2, Schedule::Stages).act("a", Act::Lose(5)).run();
    assert_eq!(ran.driven.view.state(), JobState::Failed);
    assert_eq!(ran.driven.view.counts.skipped, 1);
}

#[test]
fn a_store_that_fails_stops_the_run_and_shows_nothing_more() {
    for broken in 1..8 {
        let mut case = case(&["a", "b < a", "c < b"], 2, Schedule::Stages);
        case.broken = Some(broken);
        let ran = case.run();
        assert_eq!(ran.driven.lost.as_deref(), Some("the disk is full"), "batch {broken}");
        assert_eq!(ran.driven.view.end, None, "batch {broken}: nothing is shown that is not kept");
    }
}

#[test]
fn nothing_is_shown_or_put_in_place_that_is_not_kept() {
    for broken in 1.. {
        let steps = ["a", "b", "c < a", "d < a b", "e < c", "f < d", "g < e"];
        let mut case =
            case(&steps, 2, Schedule::Eager).max_fail(None).act("b", Act::Fail(3)).act("c", Act::Build(7, "c"));
        case.broken = Some(broken);
        let ran = case.run();
        let (shown, kept) = (&ran.driven.view, RunView::fold(&ran.events));
        assert_eq!(format!("{:?}", shown.steps), format!("{:?}", kept.steps), "batch {broken}");
        assert_eq!(shown.end, kept.end, "batch {broken}");
        let intended = |name: &String| {
            let publishes =
                |event: &Stamped| matches!(&event.event, Event::StepPublishing { step, .. } if step == name);
            ran.events.iter().any(publishes)
        };
        assert!(ran.published.iter().all(intended), "batch {broken}: {:?}", ran.published);
        if ran.driven.lost.is_none() {
            assert!(broken > 10, "there are more batches than that");
            assert_eq!(ran.published, ["a", "c", "e", "g"]);
            return;
        }
    }
}

#[test]
fn what_comes_out_the_same_builds_nothing_below() {
    let first = case(&["a", "b < a", "c < b"], 2, Schedule::Stages).run();
    // The record of `a` is lost: it is built again, comes out the same, and nothing below it runs.
    let mut again = case(&["a", "b < a", "c < b"], 2, Schedule::Stages).after(&first);
    again.history.steps.remove("a");
    let ran = again.run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 3
    0 start a
    1 publish a
    1 built a
    1 current b
    1 current c
    1 end DONE -
    ");
    let changed = case(&["a", "b < a", "c < b"], 2, Schedule::Stages).after(&first).act("a", Act::Build(1, "other"));
    let mut changed = changed;
    changed.history.steps.remove("a");
    let ran = changed.run();
    assert!(ran.trace().contains("same b"), "{}", ran.trace());
    assert!(ran.trace().contains("current c"), "{}", ran.trace());
}

#[test]
fn nothing_to_do_is_done() {
    let first = case(&DIAMOND, 2, Schedule::Stages).run();
    let ran = case(&DIAMOND, 2, Schedule::Stages).after(&first).run();
    assert_eq!(ran.trace(), "0 begin 0\n0 end DONE -");
    assert_eq!(ran.driven.view.counts.current, 4);
}

#[test]
fn every_beginning_of_the_events_folds() {
    let case = case(&["a", "b", "c < a", "d < c"], 2, Schedule::Stages).max_fail(None).act("c", Act::Fail(3));
    let ran = case.run();
    for n in 0..=ran.events.len() {
        let view = RunView::fold(&ran.events[..n]);
        let text: Vec<_> = ran.events[..n].iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        let read: Vec<Stamped> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, ran.events[..n]);
        assert_eq!(format!("{:?}", RunView::fold(&read).steps), format!("{:?}", view.steps));
    }
    let seqs: Vec<_> = ran.events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (0..ran.events.len() as u64).collect::<Vec<_>>());
}
