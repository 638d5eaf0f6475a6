//! A run that goes on while a test looks at it, and the named pipes through which tests and recipes wait for each other.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::Project;

/// A `kiln run` whose events are read as they come. It is killed if the test ends before it.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    /// All events so far.
    pub(crate) events: Vec<Value>,
}

impl Running {
    /// Starts `kiln run --events -` with more arguments.
    #[track_caller]
    pub(crate) fn start(project: &Project, arguments: &[&str]) -> Self {
        let mut child = project.start(&[&["run", "--events", "-"], arguments].concat());
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, events: Vec::new() }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next event; none at the end.
    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        if self.out.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.events.push(event.clone());
        Some(event)
    }

    /// Reads events up to one of a type, of a step where it is one of a step.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: &str, step: Option<&str>) -> Value {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("no {kind} {step:?} among {:#?}", self.events));
            if event["type"] == kind && step.is_none_or(|step| event["step"] == step) {
                return event;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Reads to the end, wants the exit code `code`, and gives what was said to people.
    #[track_caller]
    pub(crate) fn end(&mut self, code: i32) -> String {
        while self.next().is_some() {}
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{status}\n{text}");
        text
    }

    /// The events as words: `started a`, `built a`, `skipped b (a)`, `stopping`, `ended DONE`, in their order.
    pub(crate) fn story(&self) -> Vec<String> {
        self.events.iter().filter_map(words).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless the test fails.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn words(event: &Value) -> Option<String> {
    let text = |name: &str| event[name].as_str().unwrap_or("-");
    match text("type") {
        "step_started" => Some(format!("started {}", text("step"))),
        "step_ended" => Some(format!("{} {}", text("outcome"), text("step"))),
        "step_current" => Some(format!("current {}", text("step"))),
        "step_skipped" => Some(format!("skipped {} ({})", text("step"), text("because"))),
        "run_stopping" => Some(format!("stopping: {}", text("cause"))),
        "run_ended" => Some(format!("ended {}", text("state"))),
        _ => None,
    }
}

/// The events of a run that is over, as words.
pub(crate) fn story(events: &str) -> Vec<String> {
    crate::support::lines(events).iter().filter_map(words).collect()
}

/// A named pipe in the root through which a recipe is told to go on: `read -r go <gate`. Once it is dropped, such a recipe
/// reads the end of the pipe, and fails: none outlives its test, whatever became of its Kiln.
pub(crate) struct Gate(File);

impl Gate {
    pub(crate) fn new(project: &Project, name: &str) -> Self {
        pipe(project, name);
        // Open for both, so that neither side waits for the other to open it.
        Self(File::options().read(true).write(true).open(project.path(name)).unwrap())
    }

    /// Lets one recipe go on that reads from it.
    pub(crate) fn open(&self) {
        (&self.0).write_all(b"go\n").unwrap();
    }
}

/// Makes a named pipe in the root, through which recipes meet one another and [tell](hear) a test that they are there.
pub(crate) fn pipe(project: &Project, name: &str) {
    mknodat(CWD, project.path(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Waits for a recipe that writes into a pipe, and gives what it writes.
pub(crate) fn hear(project: &Project, name: &str) -> String {
    fs::read_to_string(project.path(name)).unwrap()
}

/// Lets a recipe go on that reads from a pipe.
pub(crate) fn tell(project: &Project, name: &str) {
    fs::write(project.path(name), "go\n").unwrap();
}
