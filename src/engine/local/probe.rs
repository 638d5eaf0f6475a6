//! Commands that only look: versions of tools, digests of tables. Each is run once for all who ask the same, and like a step:
//! none outlives Kiln, and what it leaves behind is ended.

use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::base::digest::Digest;
use crate::base::text::{duration, parse_duration, size};
use crate::engine::api::{Environment, Stop, Updates};
use crate::engine::local::Local;
use crate::engine::local::child::{self, Exit, NotRun, Start};
use crate::engine::local::guardian::Guardian;
use crate::engine::local::log::Log;
use crate::pipeline::types::Recipe;

/// So much of what a probe says besides its answer is kept.
const SAID: u64 = 1 << 20;

/// A `digest` may print so many bytes: of a larger table it can print what stands for that.
pub(crate) const LONGEST_DIGEST: usize = 16_000_000;
/// The same for a tool, what it prints is kept as it is.
pub(crate) const LONGEST_TOOL: usize = 64_000;

/// What a probe printed, or why it did not.
pub(crate) type Printed = Result<String, String>;

/// The shell, the command, its environment, how long that may take, and how long the answer may be.
type Question = (Arc<[String]>, String, Environment, Option<Duration>, usize);

/// Runs probes and remembers what they printed.
pub(crate) struct Probes<'a> {
    printed: HashMap<Question, Printed>,
    local: &'a Local,
    watched: Option<Watched>,
}

/// How long a probe may take, and how it is told that it takes longer.
struct Patience<'p> {
    /// What is asked.
    about: &'p str,
    /// The recipe whose limit it is.
    whose: &'p str,
    /// After so much time it is told that there is no answer yet; after twice the time again.
    slow: Duration,
    /// After so much time it is ended.
    most: Option<Duration>,
}

/// Most probes answer at once.
const SLOW: Duration = Duration::from_secs(10);

/// A guardian for as long as there is something to ask, in a runtime of its own: nobody is to wait in another one.
struct Watched {
    runtime: Option<Runtime>,
    guardian: Guardian,
}

impl<'a> Probes<'a> {
    /// Probes beside the steps of a run.
    pub(crate) fn new(local: &'a Local) -> Self {
        Self { printed: HashMap::new(), local, watched: None }
    }

    /// What `command` prints as `recipe` runs it, less white space at both ends; that may be so long. It may take as long as an attempt at
    /// that.
    pub(crate) fn ask(
        &mut self,
        recipe: &Recipe,
        (about, command): (&str, &str),
        env: &Environment,
        longest: usize,
    ) -> Printed {
        let shell = &recipe.how.shell;
        let question = (shell.clone(), command.to_owned(), env.clone(), recipe.how.timeout, longest);
        if let Some(printed) = self.printed.get(&question) {
            return printed.clone();
        }
        let start = Start {
            words: shell.iter().cloned().chain([command.to_owned()]).collect(),
            on_stop: None,
            env: env.clone(),
            marks: Vec::new(),
            workdir: self.local.root.clone(),
            grace: Duration::ZERO,
            asks: Some(longest),
        };
        // Tests have no time to wait; what is shipped does not know of it.
        let hurry = self.local.environment.get("KILN_TEST_SLOW").filter(|_| cfg!(debug_assertions));
        let slow = hurry.and_then(|text| parse_duration(text.to_str()?).ok()).unwrap_or(SLOW);
        let patience = Patience { about, whose: &recipe.name, slow, most: recipe.how.timeout };
        let stop = self.local.stop.get().cloned();
        let printed = self.watched().and_then(|watched| watched.run(&start, stop, patience));
        self.printed.entry(question).or_insert(printed).clone()
    }

    fn watched(&mut self) -> Result<&Watched, String> {
        if self.watched.is_none() {
            let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
            self.watched = Some(Watched { runtime: Some(runtime), guardian: self.local.guardian.beside() });
        }
        self.watched.as_ref().ok_or_else(String::new)
    }
}

impl Watched {
    fn run(&self, start: &Start, stop: Option<watch::Receiver<Stop>>, patience: Patience<'_>) -> Printed {
        let Some(runtime) = &self.runtime else { return Err("it is over".to_owned()) };
        let wait = || runtime.block_on(ask(start, &self.guardian, stop, patience));
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

async fn ask(
    start: &Start,
    guardian: &Guardian,
    stop: Option<watch::Receiver<Stop>>,
    Patience { about, whose, slow, most }: Patience<'_>,
) -> Printed {
    let (trouble, _) = mpsc::unbounded_channel();
    let log = Log::create(Path::new("/dev/null"), Updates::new(0, None, trouble), SAID, None);
    let mut log = log.map_err(|error| format!("nowhere to print to: {error}"))?;
    let (end, ends) = watch::channel(Stop::Go);
    let (began, mut told, mut over) = (Instant::now(), slow, false);
    let ran = {
        let mut ran = pin!(child::run(start, guardian, &mut log, ends));
        let mut stopped = pin!(stopped(stop));
        loop {
            // What was due first is told first, however late it is.
            tokio::select! {
                biased;
                ran = &mut ran => break ran,
                () = sleep_until(began + told) => {
                    tracing::warn!("{about} has not answered for {}", duration(told));
                    told *= 2;
                }
                () = &mut stopped, if *end.borrow() == Stop::Go => end.send_modify(|stop| *stop = Stop::Kill),
                Some(()) = OptionFuture::from(most.map(|most| sleep_until(began + most))), if !over => {
                    over = true;
                    end.send_modify(|stop| *stop = Stop::Kill);
                }
            }
        }
    };
    let said = log.finish().await;
    if let Some(most) = most.filter(|_| over) {
        return Err(format!("timed out after {}, the `timeout` of `{whose}`", duration(most)));
    }
    match ran {
        Ok(Exit { answer: None, .. }) => Err(too_long(start.asks)),
        Ok(Exit { status, answer: Some(answer), .. }) if status.success() => Ok(printed(answer)),
        Ok(Exit { status, .. }) => match said.iter().rfind(|line| !line.trim().is_empty()) {
            Some(said) => Err(format!("{}: {said}", child::words(status))),
            None => Err(child::words(status)),
        },
        Err(NotRun::Start(why)) => Err(why),
        Err(NotRun::Stopped | NotRun::Lost) => Err("it was ended".to_owned()),
    }
}

/// What an answer is to whoever compares answers: the text, less white space at both ends. Of what is no text, all bytes count.
pub(crate) fn printed(answer: Vec<u8>) -> String {
    match String::from_utf8(answer) {
        Ok(text) => text.trim().to_owned(),
        Err(error) => {
            let bytes = error.as_bytes().trim_ascii();
            format!("{} (not UTF-8, digest {})", String::from_utf8_lossy(bytes), Digest::of(bytes))
        }
    }
}

/// Why an answer does not count.
pub(crate) fn too_long(longest: Option<usize>) -> String {
    format!(
        "it printed more than {}: print a digest of it, as sha256sum does",
        size(longest.unwrap_or_default() as u64)
    )
}

/// Waits until it is to end; for ever where nobody wants that.
async fn stopped(stop: Option<watch::Receiver<Stop>>) {
    if let Some(mut stop) = stop
        && stop.wait_for(|stop| *stop > Stop::Go).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
