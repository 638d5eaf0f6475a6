//! What a step costs the loop of a run: `cargo bench --bench steps -- [STEPS…]`. Layers of steps that each need three, carried
//! out by the scripted engine on virtual time, 64 at once. Prints the time for each number of steps, and the most memory.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark tells times, and is no part of Kiln")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use kiln::base::digest::Digest;
use kiln::base::file::FileDigest;
use kiln::base::id::{DenseMap, Id as _, NodeId, RecipeId};
use kiln::base::job::{BuildMode, JobId, JobState, Schedule};
use kiln::engine::api::Engine;
use kiln::engine::scripted::Scripted;
use kiln::event::{PlannedStep, RunStarted, Stamped};
use kiln::graph::Graph;
use kiln::pipeline::types::{Kind, Node, Pipeline, Recipe};
use kiln::plan::facts::{Content, Facts};
use kiln::plan::reason::Action;
use kiln::plan::record::MemoryHistory;
use kiln::report::api::Journal;
use kiln::run::setup::{Policy, Setup, SetupStep};
use kiln::run::state::Run;
use kiln::run::{Drive, drive};
use tokio::sync::mpsc;

const JOBS: usize = 64;
const WIDTH: usize = 1_000;

fn main() {
    let numbers = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut sizes: Vec<usize> = numbers.map(|number| number.parse().expect("numbers of steps")).collect();
    if sizes.is_empty() {
        sizes = vec![10_000, 1_000_000];
    }
    for steps in sizes {
        let pipeline = Arc::new(pipeline(steps));
        let begun = Instant::now();
        run(&pipeline);
        let took = begun.elapsed();
        let each = took.as_secs_f64() * 1e6 / (steps as f64);
        println!("{steps:>9} steps  {:8.2} s  {each:6.2} µs a step  {} MiB", took.as_secs_f64(), peak());
    }
}

/// The most memory that was used so far, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// A source, and layers of steps.
fn pipeline(steps: usize) -> Pipeline {
    let mut pipeline = Pipeline::default();
    let node = |name: String, maker| Node {
        name,
        kind: Kind::Dataset,
        id: None,
        project: None,
        path: None,
        digest: None,
        maker,
        tags: Vec::new(),
        description: None,
        span: 0..0,
        path_span: 0..0,
    };
    pipeline.nodes.push(node("source".to_owned(), None));
    for i in 0..steps {
        pipeline.nodes.push(node(format!("s{i}"), Some(RecipeId::from_index(i))));
        let needs = (1..4).map(|k| i.checked_sub(WIDTH + k).map_or(0, |need| need + 1));
        let mut inputs: Vec<_> = needs.map(NodeId::from_index).collect();
        inputs.dedup();
        let recipe = Recipe {
            input_spans: inputs.iter().map(|_| 0..0).collect(),
            inputs,
            outputs: vec![NodeId::from_index(i + 1)],
            name: format!("s{i}"),
            ..Recipe::default()
        };
        pipeline.recipes.push(recipe);
    }
    pipeline
}

/// Nothing is kept, and told at once that it is.
struct Nowhere {
    told: mpsc::UnboundedSender<Result<u64, String>>,
    batches: u64,
}

impl Journal for Nowhere {
    fn append(&mut self, _events: Arc<[Stamped]>, _digests: Vec<FileDigest>) -> u64 {
        self.batches += 1;
        self.told.send(Ok(self.batches)).expect("the run listens");
        self.batches
    }
}

fn run(pipeline: &Arc<Pipeline>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let engine = Arc::new(Scripted::new(Arc::clone(pipeline), HashMap::new()));
        let graph = Graph::build(pipeline).expect("it has no cycle");
        let steps = graph.order.iter().map(|id| {
            let stage = graph.stage[*id];
            SetupStep { id: *id, stage, action: Action::Build, command: String::new(), remaining_ms: u64::from(stage) }
        });
        let steps: Vec<_> = steps.collect();
        let works = steps.iter().map(|step| engine.prepare(step.id).expect("it is ready")).collect();
        let (started, count) = (started(pipeline, &steps), steps.len() as u64);
        let job = JobId::from_text("build_bench_1");
        let nodes = pipeline.nodes.iter().map(|(_, node)| match node.maker {
            None => Content::Is(Digest::of(b"source")),
            Some(_) => Content::Missing,
        });
        let facts = Facts {
            nodes: nodes.collect::<DenseMap<_, _>>(),
            ..Facts::unseen(jiff::Timestamp::UNIX_EPOCH, 0, pipeline.recipes.len())
        };
        let policy =
            Policy { schedule: Schedule::Eager, jobs: JOBS, max_fail: None, kill: false, time_limit_ms: None, seed: 1 };
        let (pipeline, history) = (Arc::clone(pipeline), Box::new(MemoryHistory::default()));
        let setup = Setup { job: job.clone(), pipeline, facts, history, mode: BuildMode::Smart, policy, steps };
        let (told, committed) = mpsc::unbounded_channel();
        let (_signal, signals) = mpsc::unbounded_channel();
        let mut journal = Nowhere { told, batches: 0 };
        let going = Drive {
            slots: None,
            run: Run::new(setup, 0),
            job,
            began: jiff::Timestamp::UNIX_EPOCH,
            events: 0,
            engine: Arc::<Scripted>::clone(&engine),
            outputs: engine,
            works,
            seen: Vec::new(),
            journal: &mut journal,
            committed,
            reporters: Vec::new(),
            signals,
            threads: false,
        };
        let view = drive(going, started).await.view;
        assert_eq!((view.state(), view.counts.built), (JobState::Done, count));
    });
}

fn started(pipeline: &Pipeline, steps: &[SetupStep]) -> RunStarted {
    let step = |step: &SetupStep| PlannedStep {
        id: pipeline.recipes[step.id].name.clone(),
        outputs: pipeline.output_names(step.id).map(str::to_owned).collect(),
        stage: step.stage,
        action: Action::Build,
        reasons: Vec::new(),
        expected_ms: None,
        place: String::new(),
        attempts: 1,
        after: Vec::new(),
    };
    RunStarted {
        pipeline: "bench".to_owned(),
        project: "BENCH".to_owned(),
        file: "bench.toml".to_owned(),
        engine: "scripted".to_owned(),
        mode: BuildMode::Smart,
        schedule: Schedule::Eager,
        targets: Vec::new(),
        exclude: Vec::new(),
        max_parallel: 64,
        by: "bench".to_owned(),
        pid: 1,
        host: "here".to_owned(),
        kiln: "0".to_owned(),
        again: "kiln run".to_owned(),
        keep_going: false,
        vars: Default::default(),
        steps: steps.iter().map(step).collect(),
        up_to_date: 0,
        left: Vec::new(),
        put_back: Vec::new(),
        expected_ms: None,
    }
}
