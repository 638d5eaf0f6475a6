//! `kiln serve`, as its clients see it.

mod alike;
mod answers;
pub(crate) mod ask;
mod audit;
mod clear;
mod closed;
mod dss;
mod files;
mod held_up;
mod hostile;
mod kept;
mod life;
mod limits;
mod overlap;
mod wrong;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};

use crate::support::Project;

/// A pipeline with all that a client can ask for.
pub(crate) const ORDERS: &str = r#"
[vars]
country = "FR"
[dataset.raw]
path = "raw.csv"
[dataset.orders]
path = "build/orders.csv"
inputs = ["raw"]
run = "cp {{ inputs.raw }} {{ output }}; echo made orders"
[folder.charts]
id = "O2ue6CX3"
path = "build/charts"
inputs = ["orders"]
run = "mkdir {{ output }}/sub; cp {{ inputs.orders }} {{ output }}/a.csv; cp {{ inputs.orders }} \"$KILN_OUTPUT/sub/b c.csv\""
[dataset.train]
path = "build/train.csv"
[dataset.test]
path = "build/test.csv"
[recipe.split]
inputs = ["orders"]
outputs = ["train", "test"]
run = "cp {{ inputs.orders }} {{ outputs.train }}; cp {{ inputs.orders }} {{ outputs.test }}"
[dataset.report]
path = "build/report.txt"
inputs = ["train"]
run = "cp {{ inputs.train }} {{ output }}"
[model.churn]
id = "kJ8dF2"
inputs = ["orders"]
[dataset.bad]
path = "build/bad.csv"
inputs = ["orders"]
run = "echo oh no >&2; exit 3"
[dataset.gated]
path = "build/gated.txt"
run = "echo up >gated.up; cat gated.go >{{ output }}"
[dataset.held]
path = "build/held.txt"
run = "echo up >held.up; cat held.go >{{ output }}"
[task.publish]
inputs = ["report"]
run = "cat {{ inputs.report }}"
"#;

/// A project with [`ORDERS`], and the pipes at which its gated recipes wait.
pub(crate) fn orders() -> Project {
    let project = Project::empty();
    let head = crate::support::HEAD.replace("name = \"p\"", "name = \"orders\"");
    project.write("pipeline.toml", format!("{head}{ORDERS}"));
    project.write("raw.csv", "1,2\n");
    for pipe in ["gated.up", "gated.go", "held.up", "held.go"] {
        let made = std::process::Command::new("mkfifo").arg(project.path(pipe)).status().unwrap();
        assert!(made.success());
    }
    project
}

/// The same, and another pipeline over the same root in `other.toml`.
pub(crate) fn orders_and(other: &str) -> Project {
    let project = orders();
    project.write("other.toml", format!("[pipeline]\nformat = 1\nname = \"other\"\n{other}"));
    project
}

/// A server that runs. It is ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Server {
    /// Starts a server in a project, and waits until it listens.
    pub(crate) fn start(project: &Project, arguments: &[&str]) -> Self {
        Self::listening(project, "127.0.0.1:0", arguments)
    }

    /// Starts a server that listens at this address.
    pub(crate) fn listening(project: &Project, address: &str, arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", address], arguments].concat();
        Self::of(project, &mut project.command(&arguments))
    }

    /// The server that a command starts.
    pub(crate) fn of(project: &Project, command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(url) = line.trim().strip_prefix("listening on ") else {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("{line:?} {said}");
        };
        let key = std::fs::read_to_string(project.path(".kiln/api-key")).unwrap_or_default().trim().to_owned();
        Self { url: url.to_owned(), child, key }
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended. Returns its exit code and what it said to people.
    pub(crate) fn ended(mut self) -> (i32, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
