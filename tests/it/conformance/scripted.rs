//! The engine of the tests that carries out a script, on virtual time; what really went on is in its log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kiln::base::file::FileDigest;
use kiln::base::job::{BuildMode, JobId, Schedule};
use kiln::cause::{Cause, StopSignal};
use kiln::engine::api::{Engine, Work};
use kiln::engine::scripted::{Act, Scripted};
use kiln::event::{PlannedStep, RunStarted, Stamped};
use kiln::graph::Graph;
use kiln::pipeline::types::Pipeline;
use kiln::pipeline::{check, read};
use kiln::plan::Plan;
use kiln::plan::decide::Basis;
use kiln::plan::facts::Content;
use kiln::plan::record::{LastGood, MemoryHistory, Record};
use kiln::report::api::{Journal, Reporter};
use kiln::run::setup::{Policy, Setup, SetupStep};
use kiln::run::state::Run;
use kiln::run::{Drive, drive};
use kiln::select::{Choice, Want, select};
use kiln::view::RunView;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::conformance::stands::{Does, Ran, Stand, Step, pipeline};

/// The engine that carries out a script, on virtual time.
pub(super) struct Scripts;

/// Keeps everything at once.
struct Kept {
    told: mpsc::UnboundedSender<Result<u64, String>>,
    batches: u64,
    events: Vec<Value>,
}

impl Journal for Kept {
    fn append(&mut self, events: Arc<[Stamped]>, _digests: Vec<FileDigest>) -> u64 {
        self.batches += 1;
        self.events.extend(events.iter().map(|event| serde_json::to_value(event).unwrap()));
        self.told.send(Ok(self.batches)).unwrap();
        self.batches
    }
}

/// Keeps what steps say.
struct Heard(Arc<std::sync::Mutex<String>>);

impl Reporter for Heard {
    fn event(&mut self, _view: &RunView, _event: &Stamped) -> std::io::Result<()> {
        Ok(())
    }

    fn output(&mut self, _step: &str, bytes: &[u8]) -> std::io::Result<()> {
        self.0.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
        Ok(())
    }

    fn wants_output(&self) -> bool {
        true
    }
}

impl Stand for Scripts {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn says(&self) -> &'static str {
        "attempt 1"
    }

    fn run(&self, steps: &[Step], jobs: usize, options: &[&str]) -> Ran {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let keep_going = options.contains(&"--keep-going");
            scripted(steps, ready(steps, acts(steps), jobs, keep_going, &[])).await
        })
    }

    fn outlives(&self) -> bool {
        false
    }

    fn run_again(&self, steps: &[Step]) -> Ran {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let before = scripted(steps, ready(steps, acts(steps), 3, false, &[])).await;
            let mut ran = scripted(steps, ready(steps, HashMap::new(), 3, false, &before.events)).await;
            before.starts.into_iter().for_each(|(step, starts)| *ran.starts.entry(step).or_default() += starts);
            (ran.most, ran.on) = (ran.most.max(before.most), ran.on + before.on);
            ran
        })
    }
}

fn checked(steps: &[Step]) -> Pipeline {
    let head = "[pipeline]\nformat = 1\nname = \"p\"\n";
    let text = pipeline(steps, |step| format!("path = \"{}\"\nrun = \"x\"", step.name));
    let text = format!("{head}{text}");
    let (raw, problems) = read::read(&text);
    assert!(problems.is_empty(), "{problems:?}");
    let (pipeline, problems) =
        check::check(raw.unwrap(), &text, &check::Options { own: &[], vars: &[], project: None });
    assert!(problems.is_empty(), "{problems:?}");
    pipeline
}

fn started(pipeline: &Pipeline, active: &[kiln::plan::Step]) -> RunStarted {
    let steps = active.iter().map(|step| PlannedStep {
        id: pipeline.recipes[step.id].name.clone(),
        outputs: Vec::new(),
        stage: step.stage,
        action: step.action,
        reasons: Vec::new(),
        expected_ms: None,
        place: String::new(),
        after: Vec::new(),
        attempts: pipeline.recipes[step.id].how.retry.attempts(),
    });
    RunStarted {
        pipeline: "p".to_owned(),
        project: "P".to_owned(),
        file: "p.toml".to_owned(),
        engine: "scripted".to_owned(),
        mode: BuildMode::Smart,
        schedule: Schedule::Stages,
        targets: Vec::new(),
        exclude: Vec::new(),
        max_parallel: 1,
        by: String::new(),
        pid: 1,
        host: String::new(),
        kiln: String::new(),
        again: String::new(),
        keep_going: false,
        vars: Default::default(),
        steps: steps.collect(),
        up_to_date: 0,
        left: Vec::new(),
        put_back: Vec::new(),
        expected_ms: None,
    }
}

/// How often each step began, how many went on at once, and how many still do.
fn really(engine: &Scripted) -> (BTreeMap<String, usize>, usize, usize) {
    let (mut starts, mut on, mut most) = (BTreeMap::new(), 0_usize, 0);
    for entry in engine.log() {
        if entry.began {
            *starts.entry(entry.step).or_default() += 1;
            on += 1;
            most = most.max(on);
        } else {
            on -= 1;
        }
    }
    (starts, most, on)
}

fn acts(steps: &[Step]) -> HashMap<String, Act> {
    let act = |does| match does {
        Does::Build | Does::Meet(_) => Act::Build(5, "built"),
        Does::Fail => Act::Fail(5),
        Does::FailOnce => Act::Each(vec![Act::Fail(5), Act::Build(5, "built")]),
        Does::NotBegin => Act::Panic(0),
        Does::Hang | Does::Cut => Act::Hang(5),
        Does::NoLog => Act::NoLog(5),
    };
    steps.iter().map(|step| (step.name.to_owned(), act(step.does))).collect()
}

/// A run that only has to be driven.
struct Ready {
    engine: Arc<Scripted>,
    run: Run,
    started: RunStarted,
    works: Vec<Arc<dyn Work>>,
}

/// What runs before have built, as their events tell it.
fn history(before: &[Value]) -> MemoryHistory {
    let mut history = MemoryHistory::default();
    for event in before.iter().filter(|event| event["record"].is_object()) {
        let record: Record = serde_json::from_value(event["record"].clone()).unwrap();
        let Record { key, parts, outputs } = record;
        let (built_at, job) = (jiff::Timestamp::UNIX_EPOCH, JobId::from_text("build_p_1"));
        let step = event["step"].as_str().unwrap().to_owned();
        history.steps.insert(step, (LastGood { key, built_at, job, outputs }, parts));
    }
    history
}

fn ready(steps: &[Step], acts: HashMap<String, Act>, jobs: usize, keep_going: bool, before: &[Value]) -> Ready {
    let pipeline = Arc::new(checked(steps));
    let history = history(before);
    let mut engine = Scripted::new(Arc::clone(&pipeline), acts);
    for output in history.steps.values().flat_map(|(last, _)| &last.outputs) {
        engine = engine.with(&output.node, Content::Is(output.digest));
    }
    let engine = Arc::new(engine);
    let graph = Graph::build(&pipeline).unwrap();
    let mode = BuildMode::Smart;
    let selection = select(&pipeline, &graph, Choice { targets: &[], exclude: &[], mode }, &|_| true).unwrap();
    let wanted = selection.want.values().map(|want| *want != Want::No).collect();
    let facts = engine.observe(&wanted, true).facts;
    let basis = Basis { pipeline: &pipeline, facts: &facts, history: &history, mode };
    let (plan, lacks) = Plan::make(&basis, &graph, &selection, &HashMap::new());
    assert_eq!(lacks, []);
    let active: Vec<_> = plan.active().cloned().collect();
    let setup = active.iter().map(|step| SetupStep {
        id: step.id,
        stage: step.stage,
        action: step.action,
        command: String::new(),
        remaining_ms: 0,
    });
    let max_fail = if keep_going { None } else { Some(1) };
    let schedule = Schedule::Stages;
    let policy = Policy { schedule, jobs, max_fail, kill: false, time_limit_ms: None, seed: 1 };
    let started = started(&pipeline, &active);
    let works = active.iter().map(|step| engine.prepare(step.id).ok().unwrap()).collect();
    let (history, steps_of) = (Box::new(history), setup.collect());
    let setup = Setup {
        job: JobId::from_text("build_p_1"),
        pipeline: Arc::clone(&pipeline),
        facts,
        history,
        mode,
        policy,
        steps: steps_of,
    };
    Ready { engine, run: Run::new(setup, 0), started, works }
}

/// Drives a run to its end, or to that of Kiln.
async fn scripted(steps: &[Step], ready: Ready) -> Ran {
    let Ready { engine, run, started, works } = ready;
    let job = JobId::from_text("build_p_1");
    let (told, committed) = mpsc::unbounded_channel();
    let mut journal = Kept { told, batches: 0, events: Vec::new() };
    let heard = Arc::default();
    let (signal, signals) = mpsc::unbounded_channel();
    let driving = Drive {
        slots: None,
        run,
        job,
        events: 0,
        began: jiff::Timestamp::UNIX_EPOCH,
        engine: Arc::clone(&engine) as Arc<dyn Engine>,
        outputs: Arc::<Scripted>::clone(&engine),
        works,
        seen: Vec::new(),
        journal: &mut journal,
        committed,
        reporters: vec![Box::new(Heard(Arc::clone(&heard)))],
        signals,
        threads: false,
    };
    let does = |what| steps.iter().any(|step| step.does == what);
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if does(Does::Hang) {
            signal.send(Cause::Signal { signal: StopSignal::Interrupt }).unwrap();
        }
        if !does(Does::Cut) {
            std::future::pending::<()>().await;
        }
    };
    let lost = tokio::select! {
        driven = drive(driving, started) => driven.lost,
        () = stopping => None, // dropped in the middle
    };
    assert_eq!(lost.is_some(), does(Does::NoLog), "{lost:?}");
    // What was dropped with the run is gone once the runtime has had a turn.
    tokio::task::yield_now().await;
    let (starts, most, on) = really(&engine);
    let state = journal.events.last().unwrap()["state"].clone();
    let code = if lost.is_some() {
        3
    } else if state == "DONE" {
        0
    } else if state == "ABORTED" {
        130
    } else {
        1
    };
    let output = heard.lock().unwrap().clone();
    Ran { code, events: journal.events, output, starts, most, on }
}
