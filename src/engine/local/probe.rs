//! Commands that only look: versions of tools, digests of tables. Each is run once for all who ask the same, and like a step:
//! none outlives Kiln, and what it leaves behind is ended.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::engine::api::{Environment, Stop, Updates};
use crate::engine::local::child::{self, Exit, NotRun, Start};
use crate::engine::local::guardian::Guardian;
use crate::engine::local::log::Log;

/// So much of what a probe says besides its answer is kept.
const SAID: u64 = 1 << 20;

/// What a probe printed, or why it did not.
pub(crate) type Printed = Result<String, String>;

/// Runs probes and remembers what they printed.
pub(crate) struct Probes<'a> {
    printed: HashMap<(Vec<String>, String, Environment), Printed>,
    guardian: &'a Guardian,
    /// Ends them, where somebody may want that.
    stop: Option<&'a watch::Receiver<Stop>>,
    watched: Option<Watched>,
}

/// A guardian for as long as there is something to ask, in a runtime of its own: nobody is to wait in another one.
struct Watched {
    runtime: Option<Runtime>,
    guardian: Guardian,
}

impl<'a> Probes<'a> {
    /// Probes beside the steps of a run that has this guardian.
    pub(crate) fn new(guardian: &'a Guardian, stop: Option<&'a watch::Receiver<Stop>>) -> Self {
        Self { printed: HashMap::new(), guardian, stop, watched: None }
    }

    /// What `command` prints in `shell`, less white space at both ends.
    pub(crate) fn ask(&mut self, root: &Path, shell: &[String], command: &str, env: &Environment) -> Printed {
        let question = (shell.to_vec(), command.to_owned(), env.clone());
        if let Some(printed) = self.printed.get(&question) {
            return printed.clone();
        }
        let start = Start {
            words: shell.iter().cloned().chain([command.to_owned()]).collect(),
            on_stop: None,
            env: env.clone(),
            marks: Vec::new(),
            workdir: root.to_owned(),
            grace: Duration::ZERO,
            asks: true,
        };
        let stop = self.stop.cloned();
        let printed = self.watched().and_then(|watched| watched.run(&start, stop));
        self.printed.entry(question).or_insert(printed).clone()
    }

    fn watched(&mut self) -> Result<&Watched, String> {
        if self.watched.is_none() {
            let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
            self.watched = Some(Watched { runtime: Some(runtime), guardian: self.guardian.beside() });
        }
        self.watched.as_ref().ok_or_else(String::new)
    }
}

impl Watched {
    fn run(&self, start: &Start, stop: Option<watch::Receiver<Stop>>) -> Printed {
        let Some(runtime) = &self.runtime else { return Err("it is over".to_owned()) };
        let wait = || runtime.block_on(ask(start, &self.guardian, stop));
        std::thread::scope(|scope| scope.spawn(wait).join()).unwrap_or_else(|_| Err("this is a bug in Kiln".to_owned()))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let (runtime, guardian) = (self.runtime.take(), &self.guardian);
        let end = || runtime.map(|runtime| runtime.block_on(guardian.end()));
        if std::thread::scope(|scope| scope.spawn(end).join()).is_err() {
            tracing::debug!("the guardian of probes ends with Kiln");
        }
    }
}

async fn ask(start: &Start, guardian: &Guardian, stop: Option<watch::Receiver<Stop>>) -> Printed {
    let (trouble, _) = mpsc::unbounded_channel();
    let log = Log::create(Path::new("/dev/null"), Updates::new(0, None, trouble), SAID, None);
    let mut log = log.map_err(|error| format!("nowhere to print to: {error}"))?;
    let (_go, never) = watch::channel(Stop::Go);
    let ran = child::run(start, guardian, &mut log, stop.unwrap_or(never)).await;
    let said = log.finish().await;
    match ran {
        Ok(Exit { status, answer, .. }) if status.success() => Ok(String::from_utf8_lossy(&answer).trim().to_owned()),
        Ok(Exit { status, .. }) => match said.iter().rfind(|line| !line.trim().is_empty()) {
            Some(said) => Err(format!("{}: {said}", child::words(status))),
            None => Err(child::words(status)),
        },
        Err(NotRun::Start(why)) => Err(why),
        Err(NotRun::Stopped | NotRun::Lost) => Err("it was ended".to_owned()),
    }
}
