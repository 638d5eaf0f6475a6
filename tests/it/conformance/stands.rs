//! The engines of the tests, each with a record of its own of what really went on.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kiln::base::file::FileDigest;
use kiln::base::job::{BuildMode, JobId, Schedule};
use kiln::engine::api::{Engine, Work};
use kiln::engine::scripted::{Act, Scripted};
use kiln::event::{PlannedStep, RunStarted, Stamped};
use kiln::graph::Graph;
use kiln::pipeline::types::Pipeline;
use kiln::pipeline::{check, read};
use kiln::plan::Plan;
use kiln::plan::decide::Basis;
use kiln::plan::record::MemoryHistory;
use kiln::report::api::{Journal, Reporter};
use kiln::run::setup::{Policy, Setup, SetupStep};
use kiln::run::state::Run;
use kiln::run::{Drive, drive};
use kiln::select::{Want, select};
use kiln::view::RunView;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::dss::{project, signal, wait};
use crate::dss_server::{Asked, End, Fault, Server};
use crate::support::{Project, Said, lines};

/// A step of a test.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) inputs: Vec<&'static str>,
    pub(super) does: Does,
}

/// What a step does.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Does {
    Build,
    Fail,
    /// Fails at the first attempt, of two.
    FailOnce,
    /// It cannot be started.
    NotBegin,
    /// Goes on until it is stopped, which the run is once it goes on.
    Hang,
}

/// What became of a run.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) events: Vec<Value>,
    pub(super) output: String,
    /// How often each step really began.
    pub(super) starts: BTreeMap<String, usize>,
    /// How many really went on at once at most.
    pub(super) most: usize,
    /// How many still go on.
    pub(super) on: usize,
}

/// An engine.
pub(super) trait Stand {
    fn name(&self) -> &'static str;
    /// A word of what its steps say.
    fn says(&self) -> &'static str;
    fn run(&self, steps: &[Step], jobs: usize, options: &[&str]) -> Ran;
}

fn pipeline(steps: &[Step], keys: impl Fn(&Step) -> String) -> String {
    let mut text = String::new();
    for step in steps {
        let inputs: Vec<_> = step.inputs.iter().map(|input| format!("{input:?}")).collect();
        let retry = if step.does == Does::FailOnce { "retry = { max = 1, delay = \"0s\" }\n" } else { "" };
        let (name, inputs, keys) = (step.name, inputs.join(", "), keys(step));
        writeln!(text, "[dataset.{name}]\ninputs = [{inputs}]\n{retry}{keys}").unwrap();
    }
    text
}

/// Runs the program; once `up` comes back it is stopped, where a step hangs.
fn program(project: &Project, steps: &[Step], arguments: &[&str], up: impl FnOnce()) -> (Said, Vec<Value>) {
    let child = project.start(&[&["run", "--events", "events"], arguments].concat());
    if steps.iter().any(|step| step.does == Does::Hang) {
        up();
        signal(&child, "INT");
    }
    let said = wait(child);
    let events = lines(&project.read("events"));
    (said, events)
}

/// The engine that builds on this machine.
pub(super) struct Here;

impl Stand for Here {
    fn name(&self) -> &'static str {
        "local"
    }

    fn says(&self) -> &'static str {
        "hello from a"
    }

    fn run(&self, steps: &[Step], jobs: usize, options: &[&str]) -> Ran {
        let body = |step: &Step| match step.does {
            Does::Build => "touch {{ output }}",
            Does::Fail => "exit 1",
            Does::FailOnce => "[ -e ../failed ] || { touch ../failed; exit 1; }; touch {{ output }}",
            Does::NotBegin => "",
            Does::Hang => "echo up >up; cat never",
        };
        let keys = |step: &Step| {
            let (name, body) = (step.name, body(step).replace("../failed", "failed"));
            if step.does == Does::NotBegin {
                return format!("path = \"{name}\"\nrun = [\"./no-such-program\"]");
            }
            let count = "echo \"$(ls on | wc -l)\" >>counts";
            format!(
                "path = \"{name}\"\nrun = '''echo {name} >>starts; touch on/{name}; {count}; trap \"rm -f on/{name}\" EXIT\necho hello from {name}\n{body}'''"
            )
        };
        let project = Project::new(&pipeline(steps, keys));
        project.write("starts", "");
        project.write("counts", "");
        std::fs::create_dir(project.path("on")).unwrap();
        for pipe in ["up", "never"] {
            assert!(std::process::Command::new("mkfifo").arg(project.path(pipe)).status().unwrap().success());
        }
        let jobs = jobs.to_string();
        let up = || drop(std::fs::read(project.path("up")).unwrap());
        let (said, events) = program(&project, steps, &[&["-j", &jobs], options].concat(), up);
        let mut starts = BTreeMap::new();
        for step in project.read("starts").lines() {
            *starts.entry(step.to_owned()).or_default() += 1;
        }
        let most = project.read("counts").lines().map(|count| count.trim().parse().unwrap()).max().unwrap_or(0);
        // Who reads the pipe that nobody writes to would still be there.
        let never = rustix::fs::open(
            project.path("never"),
            rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK,
            rustix::fs::Mode::empty(),
        );
        Ran { code: said.code, events, output: said.out, starts, most, on: usize::from(never.is_ok()) }
    }
}

/// The engine that builds on DSS.
pub(super) struct Dss;

impl Stand for Dss {
    fn name(&self) -> &'static str {
        "dss"
    }

    fn says(&self) -> &'static str {
        "is job Build_a_NP"
    }

    fn run(&self, steps: &[Step], jobs: usize, options: &[&str]) -> Ran {
        let server = Server::start();
        for step in steps {
            match step.does {
                Does::Build => {}
                Does::Fail => server.end(step.name, End::Failed("it broke")),
                Does::FailOnce => server.end(step.name, End::Flaky(1)),
                Does::NotBegin => {
                    let words = r#"{"errorType":"E","message":"no such dataset"}"#;
                    let concerns = |asked: &Asked| asked.is_start() && asked.body.contains("\"id\":\"a\"");
                    server.fault(concerns, Fault::Answer(500, "", words.to_owned()));
                }
                Does::Hang => server.end(step.name, End::Never),
            }
        }
        let project = project(&server, "", &pipeline(steps, |_| String::new()));
        let jobs = jobs.to_string();
        let up = || server.wait(|state| !state.jobs.is_empty());
        let (said, events) = program(&project, steps, &[&["--engine", "prod", "-j", &jobs], options].concat(), up);
        let (most, on) =
            server.with(|state| (state.most, state.jobs.iter().filter(|job| job.state == "RUNNING").count()));
        Ran { code: said.code, events, output: said.out, starts: server.jobs_per_step(), most, on }
    }
}

/// The engine that carries out a script, on virtual time.
pub(super) struct Scripts;

/// Keeps everything at once.
struct Kept {
    told: mpsc::UnboundedSender<Result<u64, String>>,
    batches: u64,
    events: Vec<Value>,
}

impl Journal for Kept {
    fn append(&mut self, events: Vec<Stamped>, _digests: Vec<FileDigest>) -> u64 {
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
        runtime.block_on(scripted(steps, jobs, options))
    }
}

fn checked(steps: &[Step]) -> Pipeline {
    let head = "[pipeline]\nformat = 1\nname = \"p\"\n";
    let text = pipeline(steps, |step| format!("path = \"{}\"\nrun = \"x\"", step.name));
    let text = format!("{head}{text}");
    let (raw, problems) = read::read(&text);
    assert!(problems.is_empty(), "{problems:?}");
    let (pipeline, problems) =
        check::check(raw.unwrap(), &text, &check::Options { root: "/r", vars: &[], project: None });
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
        attempts: pipeline.recipes[step.id].retry.attempts(),
    });
    RunStarted {
        pipeline: "p".to_owned(),
        project: "P".to_owned(),
        file: "p.toml".to_owned(),
        engine: "scripted".to_owned(),
        mode: BuildMode::Smart,
        schedule: Schedule::Stages,
        targets: Vec::new(),
        max_parallel: 1,
        by: String::new(),
        pid: 1,
        host: String::new(),
        kiln: String::new(),
        again: String::new(),
        steps: steps.collect(),
        up_to_date: 0,
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
        Does::Build => Act::Build(5, "built"),
        Does::Fail => Act::Fail(5),
        Does::FailOnce => Act::Each(vec![Act::Fail(5), Act::Build(5, "built")]),
        Does::NotBegin => Act::Panic(0),
        Does::Hang => Act::Hang(5),
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

fn ready(steps: &[Step], jobs: usize, keep_going: bool) -> Ready {
    let pipeline = Arc::new(checked(steps));
    let engine = Arc::new(Scripted::new(Arc::clone(&pipeline), acts(steps)));
    let graph = Graph::build(&pipeline).unwrap();
    let mode = BuildMode::Smart;
    let selection = select(&pipeline, &graph, &[], mode, &|_| true).unwrap();
    let wanted = selection.want.values().map(|want| *want != Want::No).collect();
    let facts = engine.observe(&wanted, true).ok().unwrap().facts;
    let history = MemoryHistory::default();
    let basis = Basis { pipeline: &pipeline, facts: &facts, history: &history, mode };
    let plan = Plan::make(&basis, &graph, &selection, &HashMap::new()).unwrap();
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

async fn scripted(steps: &[Step], jobs: usize, options: &[&str]) -> Ran {
    let Ready { engine, run, started, works } = ready(steps, jobs, options.contains(&"--keep-going"));
    let job = JobId::from_text("build_p_1");
    let (told, committed) = mpsc::unbounded_channel();
    let mut journal = Kept { told, batches: 0, events: Vec::new() };
    let heard = Arc::default();
    let (signal, signals) = mpsc::unbounded_channel();
    let driving = drive(Drive {
        places: None,
        run,
        job,
        events: 0,
        began: jiff::Timestamp::UNIX_EPOCH,
        started,
        engine: Arc::clone(&engine) as Arc<dyn Engine>,
        works,
        seen: Vec::new(),
        journal: &mut journal,
        committed,
        reporters: vec![Box::new(Heard(Arc::clone(&heard)))],
        signals,
        threads: false,
    });
    let hangs = steps.iter().any(|step| step.does == Does::Hang);
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if hangs {
            signal.send("Ctrl-C").unwrap();
        }
        std::future::pending::<()>().await;
    };
    let driven = tokio::select! {
        driven = driving => driven,
        () = stopping => unreachable!("it is pending"),
    };
    let (starts, most, on) = really(&engine);
    let state = journal.events.last().unwrap()["state"].clone();
    let code = if state == "DONE" {
        0
    } else if state == "ABORTED" {
        130
    } else {
        1
    };
    assert!(driven.lost.is_none());
    let output = heard.lock().unwrap().clone();
    Ran { code, events: journal.events, output, starts, most, on }
}
