//! The engines of the tests, each with a record of its own of what really went on.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

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
    /// Goes on until Kiln is killed, which it is then; it ends well afterwards.
    Cut,
    /// Its log cannot be kept.
    NoLog,
    /// Ends well once that one goes on too.
    Meet(&'static str),
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
    /// Whether what goes on outlives Kiln.
    fn outlives(&self) -> bool;
    /// The run after one that was killed while a step went on. What really went on is that of both runs.
    fn run_again(&self, steps: &[Step]) -> Ran;
}

pub(super) fn pipeline(steps: &[Step], keys: impl Fn(&Step) -> String) -> String {
    let mut text = String::new();
    for step in steps {
        let inputs: Vec<_> = step.inputs.iter().map(|input| format!("{input:?}")).collect();
        let retry = if step.does == Does::FailOnce { "retry = { max = 1, delay = \"0s\" }\n" } else { "" };
        let (name, inputs, keys) = (step.name, inputs.join(", "), keys(step));
        writeln!(text, "[dataset.{name}]\ninputs = [{inputs}]\n{retry}{keys}").unwrap();
    }
    text
}

/// Has a file stand where the folder of logs belongs, where the log of a step cannot be kept.
fn spoil_logs(project: &Project, steps: &[Step]) {
    if steps.iter().any(|step| step.does == Does::NoLog) {
        project.write(".kiln/logs", "");
    }
}

/// Runs the program; where a step waits for something `up` comes back once it does. Where one hangs, it is stopped then.
fn program(project: &Project, steps: &[Step], arguments: &[&str], up: impl FnOnce()) -> (Said, Vec<Value>) {
    let child = project.start(&[&["run", "--events", "events"], arguments].concat());
    if steps.iter().any(|step| matches!(step.does, Does::Hang | Does::Meet(_))) {
        up();
    }
    if steps.iter().any(|step| step.does == Does::Hang) {
        signal(&child, "INT");
    }
    let said = wait(child);
    let events = lines(&project.read("events"));
    (said, events)
}

/// Starts a run, and kills it once `up` comes back.
fn killed(project: &Project, arguments: &[&str], up: impl FnOnce()) {
    let mut child = project.start(&[&["run"], arguments].concat());
    up();
    child.kill().unwrap();
    child.wait().unwrap();
    project.settled();
    let list = project.expect(0, &["jobs", "list"]).out;
    assert!(list.contains("ABORTED"), "{list}");
}

/// The engine that builds on this machine.
pub(super) struct Here;

impl Here {
    fn project(steps: &[Step]) -> Project {
        let body = |step: &Step| match step.does {
            Does::Build | Does::NoLog => "touch {{ output }}",
            Does::Fail => "exit 1",
            Does::FailOnce => "[ -e ../failed ] || { touch ../failed; exit 1; }; touch {{ output }}",
            Does::NotBegin => "",
            Does::Hang => "echo up >up; cat never",
            Does::Meet(other) if step.name < other => "echo here >met; echo up >up; touch {{ output }}",
            Does::Meet(_) => "read -r here <met; touch {{ output }}",
            Does::Cut => "[ -e cut ] || { touch cut; echo up >up; cat never; }; touch {{ output }}",
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
        for pipe in ["up", "never", "met"] {
            assert!(std::process::Command::new("mkfifo").arg(project.path(pipe)).status().unwrap().success());
        }
        project
    }

    /// Waits until a step says that it goes on.
    fn up(project: &Project) {
        drop(std::fs::read(project.path("up")).unwrap());
    }

    fn goes_on(project: &Project) -> bool {
        // Who reads the pipe that nobody writes to would still be there.
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        rustix::fs::open(project.path("never"), flags, rustix::fs::Mode::empty()).is_ok()
    }

    fn ran(project: &Project, said: Said, events: Vec<Value>) -> Ran {
        let mut starts = BTreeMap::new();
        for step in project.read("starts").lines() {
            *starts.entry(step.to_owned()).or_default() += 1;
        }
        let most = project.read("counts").lines().map(|count| count.trim().parse().unwrap()).max().unwrap_or(0);
        let on = usize::from(Self::goes_on(project));
        Ran { code: said.code, events, output: said.out, starts, most, on }
    }
}

impl Stand for Here {
    fn name(&self) -> &'static str {
        "local"
    }

    fn says(&self) -> &'static str {
        "hello from a"
    }

    fn run(&self, steps: &[Step], jobs: usize, options: &[&str]) -> Ran {
        let project = Self::project(steps);
        spoil_logs(&project, steps);
        let jobs = jobs.to_string();
        let (said, events) = program(&project, steps, &[&["-j", &jobs], options].concat(), || Self::up(&project));
        Self::ran(&project, said, events)
    }

    fn outlives(&self) -> bool {
        false
    }

    fn run_again(&self, steps: &[Step]) -> Ran {
        let project = Self::project(steps);
        killed(&project, &[], || Self::up(&project));
        assert!(!Self::goes_on(&project), "what was running is ended");
        // It could not say so itself.
        std::fs::read_dir(project.path("on")).unwrap().for_each(|on| std::fs::remove_file(on.unwrap().path()).unwrap());
        let (said, events) = program(&project, steps, &[], || ());
        Self::ran(&project, said, events)
    }
}

/// The engine that builds on DSS.
pub(super) struct Dss;

impl Dss {
    fn server(steps: &[Step]) -> Server {
        let server = Server::start();
        for step in steps {
            match step.does {
                Does::Build | Does::NoLog => {}
                Does::Fail => server.end(step.name, End::Failed("it broke")),
                Does::FailOnce => server.end(step.name, End::Flaky(1)),
                Does::NotBegin => {
                    let words = r#"{"errorType":"E","message":"no such dataset"}"#;
                    let concerns = |asked: &Asked| asked.is_start() && asked.body.contains("\"id\":\"a\"");
                    server.fault(concerns, Fault::Answer(500, "", words.to_owned()));
                }
                Does::Hang | Does::Cut | Does::Meet(_) => server.end(step.name, End::Never),
            }
        }
        server
    }

    fn ran(server: &Server, said: Said, events: Vec<Value>) -> Ran {
        let (most, on) =
            server.with(|state| (state.most, state.jobs.iter().filter(|job| job.state == "RUNNING").count()));
        Ran { code: said.code, events, output: said.out, starts: server.jobs_per_step(), most, on }
    }
}

impl Stand for Dss {
    fn name(&self) -> &'static str {
        "dss"
    }

    fn says(&self) -> &'static str {
        "is job Build_a_NP"
    }

    fn run(&self, steps: &[Step], jobs: usize, options: &[&str]) -> Ran {
        let server = Self::server(steps);
        let project = project(&server, "", &pipeline(steps, |_| String::new()));
        spoil_logs(&project, steps);
        let jobs = jobs.to_string();
        let meeting = || steps.iter().filter(|step| matches!(step.does, Does::Meet(_)));
        let up = || {
            server.wait(|state| state.jobs.len() >= meeting().count().max(1));
            meeting().for_each(|step| server.end(step.name, End::Built(Vec::new())));
        };
        let (said, events) = program(&project, steps, &[&["--engine", "prod", "-j", &jobs], options].concat(), up);
        Self::ran(&server, said, events)
    }

    fn outlives(&self) -> bool {
        true
    }

    fn run_again(&self, steps: &[Step]) -> Ran {
        let server = Self::server(steps);
        let project = project(&server, "", &pipeline(steps, |_| String::new()));
        let cut = steps.iter().find(|step| step.does == Does::Cut).unwrap().name;
        let up = || server.wait(|state| state.jobs.iter().any(|job| job.key() == cut));
        killed(&project, &["--engine", "prod"], up);
        server.end(cut, End::Built(Vec::new()));
        let (said, events) = program(&project, steps, &["--engine", "prod"], || ());
        Self::ran(&server, said, events)
    }
}
