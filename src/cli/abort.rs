//! `kiln jobs abort`: asks a run that goes on in another process to end, and waits until that process and all that it had
//! started are gone. A job of a server is ended by that, which lives on.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesOrdered, StreamExt};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::base::job::{JobId, JobState};
use crate::base::text::one_line;
use crate::cause::{Cause, Way};
use crate::cli::print;
use crate::exit;
use crate::process::Process;
use crate::session::fail::Fail;
use crate::store::asked;
use crate::store::claim::Claim;
use crate::store::lock::{Holder, QUEUE, held_by, holder, holder_words, host, is_held};
use crate::store::read::Reader;
use crate::store::wish::{forget, wish};

/// How often is looked whether the processes are gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So much longer than its grace a run may take to end when it is asked to; then it is told to kill.
const PATIENCE: Duration = Duration::from_secs(3);
/// So long processes that were killed may take to vanish.
const LAST: Duration = Duration::from_secs(5);

/// A longer name of who asks is cut, in characters.
const WHO: usize = 100;

/// A run that is to end.
pub(crate) struct Target {
    /// Its name, for people.
    pub(crate) name: String,
    /// Its pipeline.
    pub(crate) pipeline: String,
    /// Where it stands.
    pub(crate) state: JobState,
}

/// Ends runs for the user `by`: all are asked before any is waited for. The exit code says whether all of them are gone.
pub(crate) fn abort(state: &Path, runs: &[Target], by: &str, grace: Duration) -> Result<u8, Fail> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fail::because("nothing can be waited for", &error))?;
    let mut wrong = Vec::new();
    runtime.block_on(async {
        let mut ends: FuturesOrdered<_> =
            runs.iter().map(|run| end(state, run, by, grace).map(move |end| (run, end))).collect();
        while let Some((run, end)) = ends.next().await {
            match end {
                Ok(text) => print(&format!("{}: {text}\n", run.name))?,
                Err(text) => wrong.push(format!("{}: {text}", run.name)),
            }
        }
        Ok(())
    })?;
    if wrong.is_empty() { Ok(exit::OK) } else { Err(Fail::Surroundings(wrong.join("\nerror: "))) }
}

/// Ends one run: what became of it, or why it goes on.
async fn end(state: &Path, run: &Target, by: &str, grace: Duration) -> Result<String, String> {
    match run.state {
        JobState::Running if Claim::of(state, &run.pipeline).is_some_and(|claim| claim.serves) => {
            return served(state, run, grace).await;
        }
        JobState::Running => {}
        JobState::Queued => return served(state, run, grace).await,
        JobState::Done | JobState::Failed | JobState::Aborted => {
            return Ok(format!("it has ended already: {}", run.state));
        }
    }
    let process = process(state, &run.pipeline)?;
    let because = Cause::Asked { by: Some(one_line(by, WHO)), with: Way::JobsAbort };
    if let Err(error) = asked::leave(state, &run.pipeline, &process, because) {
        tracing::debug!(%error, "the run does not know who ends it");
    }
    let holder = holder(state, &run.pipeline);
    let mut left = Left { state, pipeline: &run.pipeline, holder, process: process.clone(), known: BTreeSet::new() };
    for patience in [grace + PATIENCE, LAST] {
        // What is stopped sees that it is to end, or its guardian that Kiln is gone, when it goes on.
        let on = left.look_closely().into_iter().map(|process| (process, Signal::CONT));
        for (process, signal) in std::iter::once((process.clone(), Signal::TERM)).chain(on) {
            if let Err(error) = process.signal(signal) {
                return Err(format!("process {} cannot be signalled: {error}", process.describe()));
            }
        }
        if left.wait(patience).await {
            asked::take_back(state, &run.pipeline, &process);
            return Ok("ended".to_owned());
        }
    }
    let names: Vec<_> = left.alive().iter().map(Process::describe).collect();
    Err(format!("these processes did not end: {}", names.join(", ")))
}

/// Ends a job of a server: that sees the wish, and the history tells when it has come true.
async fn served(state: &Path, run: &Target, grace: Duration) -> Result<String, String> {
    let server = holder_words(state, QUEUE);
    if !is_held(state, QUEUE) {
        return Err("the `kiln serve` that had it is gone: `kiln jobs list` tells what became of it".to_owned());
    }
    let job = JobId::from_text(&run.name);
    let cannot = |error: String| format!("the `kiln serve` that has it, {server}, cannot be asked: {error}");
    wish(state, &job).map_err(|error| cannot(error.to_string()))?;
    let until = Instant::now() + grace + PATIENCE;
    while Instant::now() < until {
        let row = Reader::open(state).and_then(|reader| reader.map_or(Ok(None), |reader| reader.run(&job)));
        let now = row.map_err(|error| cannot(error.to_string()))?.map(|row| row.state);
        if let Some(now) = now.filter(|now| now.is_over()) {
            // It may have ended by itself meanwhile.
            forget(state, &job);
            return Ok(if now == JobState::Aborted {
                "ended".to_owned()
            } else {
                format!("it has ended already: {now}")
            });
        }
        sleep(LOOK_EVERY).await;
    }
    if forget(state, &job) {
        return Err(cannot("it does not listen".to_owned()));
    }
    Err(format!("the `kiln serve` that has it, {server}, has asked it to end, and it goes on"))
}

/// The process that a run goes on in, or died in while its guardian lives on, if it is one that can be asked to end.
fn process(state: &Path, pipeline: &str) -> Result<Process, String> {
    let holder = holder(state, pipeline);
    let words = holder.as_ref().map(ToString::to_string).unwrap_or_default();
    let is_gone = holder.is_some_and(|holder| holder.is_gone());
    match Claim::of(state, pipeline) {
        Some(claim) if claim.host != host() => Err(format!("it goes on on another machine, {}: {words}", claim.host)),
        Some(claim) if !claim.serves && (claim.process.lives() || is_gone) => Ok(claim.process),
        _ => Err(format!("it is no `kiln run` of this machine ({words}): end it there")),
    }
}

/// What is left of a run.
struct Left<'a> {
    state: &'a Path,
    pipeline: &'a str,
    /// Who held the lock: once another run does, that waited for it, this one is gone.
    holder: Option<Holder>,
    process: Process,
    /// All that descended from it at some time: what is adopted by another process is still its own.
    known: BTreeSet<Process>,
}

impl Left<'_> {
    fn look(&mut self) {
        if self.process.lives() {
            self.known.extend(self.process.descendants());
        }
    }

    /// The same, and gives those that hold the lock for this run: Kiln, as long as it lives, and its guardian.
    fn look_closely(&mut self) -> Vec<Process> {
        self.look();
        let mut all = held_by(self.state, self.pipeline);
        all.retain(|_| self.holds());
        self.known.extend(all.iter().flat_map(Process::descendants));
        self.known.extend(all.iter().cloned());
        all
    }

    fn alive(&self) -> Vec<Process> {
        let all = std::iter::once(&self.process).chain(&self.known);
        all.filter(|process| process.lives()).cloned().collect()
    }

    fn holds(&self) -> bool {
        is_held(self.state, self.pipeline) && holder(self.state, self.pipeline) == self.holder
    }

    /// Waits until nothing is left, for so long. Whether nothing is.
    async fn wait(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            self.look();
            if self.alive().is_empty() && !self.holds() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
