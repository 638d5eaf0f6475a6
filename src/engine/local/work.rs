//! One step on this machine: from a staging folder through a child process to complete outputs, or to a failure that
//! leaves everything as it was.

use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::base::digest::Digest;
use crate::base::id::{NodeId, RecipeId};
use crate::clock;
use crate::engine::api::{Attempt, Attempted, Ended, StagedOutput, Stop, Updates, Work};
use crate::engine::local::child::{self, Exit, NotRun, Start};
use crate::engine::local::digest::LinkMode;
use crate::engine::local::half::Halves;
use crate::engine::local::log::{self, Log};
use crate::engine::local::observe::links_of;
use crate::engine::local::probe::{LONGEST_DIGEST, printed, too_long};
use crate::engine::local::{Local, environ, secrets};
use crate::event::{Failure, FailureCode, Staged};
use crate::pipeline::types::{Kind, LOG_LIMIT, Recipe};
use crate::program;

/// Exit codes that have more to them: a shell cannot execute a program, or does not find it; SIGKILL or SIGPIPE ended it.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
const KILLED: i32 = 128 + 9;
const NOT_READ: i32 = 128 + 13;

/// What is wrong with what a step has read.
const CHANGED: &str = "changed while the run went on";
const OWN: &str = "; if it was the step itself: a recipe writes to nothing that it reads";
const WRITTEN: &str = "was written while the step read it, though it holds what it held before";

/// So many files are a few.
const FEW: usize = 16;

/// What came of a command.
struct Ran {
    /// The digests of outputs that cannot be seen, where it went well.
    result: Result<Vec<(NodeId, Digest)>, Ended>,
    /// The last lines of what it printed.
    tail: Vec<String>,
    /// What it left behind.
    leaked: Vec<String>,
}

impl Ran {
    /// Nothing ran.
    fn ended(ended: Ended) -> Self {
        Self { result: Err(ended), tail: Vec::new(), leaked: Vec::new() }
    }
}

/// How a path is digested.
type Look<'a> = &'a dyn Fn(&str, LinkMode) -> io::Result<Option<Digest>>;

/// The work of a recipe.
pub(crate) struct LocalWork {
    pub(crate) local: Arc<Local>,
    pub(crate) id: RecipeId,
}

impl Work for LocalWork {
    fn describe(&self) -> String {
        self.local.masked(environ::describe(&self.local.pipeline, self.id))
    }

    fn run(&self, attempt: Attempt, updates: Updates, stop: watch::Receiver<Stop>) -> BoxFuture<'static, Attempted> {
        let step = Step { local: Arc::clone(&self.local), id: self.id, attempt, began_ns: 0 };
        async move { step.run(updates, stop).await }.boxed()
    }
}

/// What the end of a child means.
fn judge(status: ExitStatus, was_stopped: bool) -> Result<(), Ended> {
    if was_stopped {
        return Err(stopped());
    }
    if status.success() {
        return Ok(());
    }
    let code = if status.signal().is_some() { FailureCode::Signal } else { FailureCode::Exit };
    let exit_code = status.code().or(status.signal().map(|signal| 128 + signal));
    Err(Ended::Failed(Failure { exit_code, ..Failure::new(code, child::words(status)) }))
}

fn without_status(not_run: NotRun, no_shell: Option<String>) -> Ended {
    match not_run {
        NotRun::Start(message) => failed(FailureCode::Start, no_shell.unwrap_or(message)),
        NotRun::Stopped => stopped(),
        NotRun::Lost => failed(FailureCode::Lost, "its guardian was killed".to_owned()),
    }
}

fn failed(code: FailureCode, message: String) -> Ended {
    Ended::Failed(Failure::new(code, message))
}

fn stopped() -> Ended {
    Ended::Stopped(Failure::new(FailureCode::Stopped, "stopped"))
}

/// Does what may take long on a thread of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Ended> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| failed(FailureCode::Crashed, format!("this is a bug in Kiln: {error}")))
}

struct Step {
    local: Arc<Local>,
    id: RecipeId,
    attempt: Attempt,
    /// Before its command began, in nanoseconds since 1970.
    began_ns: i64,
}

impl Step {
    fn recipe(&self) -> &Recipe {
        &self.local.pipeline.recipes[self.id]
    }

    async fn run(mut self, updates: Updates, stop: watch::Receiver<Stop>) -> Attempted {
        let Some(_slot) = self.local.guardian.slot(stop.clone()).await else { return stopped().into() };
        self.local.staging.tell_by(&updates);
        self.local.kills.watch();
        // What is set aside is on disk before anything starts: not on the loop's thread.
        let is_long = self.recipe().how.in_place;
        self.began_ns = clock::now_ns();
        let begin = move || {
            let start = self.start();
            (self, start)
        };
        match if is_long { apart(begin).await } else { Ok(begin()) } {
            Ok((step, start)) => step.carry_out(start, updates, stop).await,
            Err(crashed) => crashed.into(),
        }
    }

    async fn carry_out(
        self,
        start: Result<Start, Failure>,
        updates: Updates,
        stop: watch::Receiver<Stop>,
    ) -> Attempted {
        let Ran { result, tail, leaked } = match start {
            Ok(start) => self.follow(&start, updates, stop).await,
            Err(failure) => Ran::ended(Ended::Failed(failure)),
        };
        if let Some(outputs) = result.as_ref().ok().and_then(|digests| self.quickly(digests)) {
            return Attempted { leaked, ..Ended::Staged(outputs).into() };
        }
        // Digesting may take long, and so may looking at what explains a failure: not on the loop's thread.
        let ended = apart(move || match result {
            Ok(digests) => {
                let look = |path: &str, links| self.local.digester.look(path, links);
                match self.outputs(&digests, &look) {
                    Ok(outputs) => Ended::Staged(outputs).into(),
                    Err(failure) => {
                        log::leave(&self.local.state.join(&self.attempt.log));
                        self.undone(Ended::Failed(Failure { tail, ..failure }))
                    }
                }
            }
            Err(ended) => self.undone(self.told(ended, tail)),
        });
        Attempted { leaked, ..ended.await.unwrap_or_else(Attempted::from) }
    }

    /// An end without outputs, with all that is to be said about it.
    fn undone(&self, ended: Ended) -> Attempted {
        let undone = self.undo(self.without_secrets(ended));
        Attempted { ended: self.with_spoiled(undone.ended), ..undone }
    }

    /// Runs the command, and asks for the digests of what cannot be seen.
    async fn follow(&self, start: &Start, updates: Updates, stop: watch::Receiver<Stop>) -> Ran {
        let path = self.local.state.join(&self.attempt.log);
        let limit = self.recipe().how.log_limit.unwrap_or(LOG_LIMIT);
        let mut log = match Log::create(&path, updates.clone(), limit, self.local.secrets().as_ref()) {
            Ok(log) => log,
            // That ends the run, as it does where a log cannot be written any more; it is no fault of this step.
            Err(error) => {
                updates.trouble(format!("{}: {error}", path.display()));
                return Ran::ended(stopped());
            }
        };
        let ran = child::run(start, &self.local.guardian, &mut log, stop.clone()).await;
        let (leaked, judged) = match ran {
            Ok(Exit { status, stopped, leaked, .. }) => (leaked, judge(status, stopped)),
            Err(not_run) => (Vec::new(), Err(without_status(not_run, environ::no_shell(self.recipe(), start)))),
        };
        let result = match judged {
            Ok(()) => self.ask(&mut log, stop).await,
            Err(ended) => Err(ended),
        };
        let tail = log.finish().await;
        if result.is_err() {
            log.make();
        }
        Ran { result, tail, leaked }
    }

    /// An end with the last lines, and with what they explain.
    fn told(&self, ended: Ended, tail: Vec<String>) -> Ended {
        ended.with_failure(|mut failure| {
            match (failure.code, failure.exit_code) {
                _ if let Some(why) = self.explained(&tail) => failure.message = format!("{}: {why}", failure.message),
                (FailureCode::Exit, Some(NOT_FOUND)) => {
                    let path = self.local.environment.get("PATH").cloned().unwrap_or_default();
                    let unknown = program::unknown_to_shell(&tail, &path).map(|unknown| format!(": {unknown}"));
                    failure.message += &unknown.unwrap_or_default();
                }
                (FailureCode::Signal, Some(KILLED)) => failure.message += self.out_of_memory(),
                (FailureCode::Exit, Some(NOT_EXECUTABLE)) => {
                    failure.message += ": a program in it may not be executed (chmod +x), or is none";
                }
                (FailureCode::Exit, Some(code)) if let Some(signal) = child::told_by_shell(code) => {
                    let why = match code {
                        KILLED => self.out_of_memory(),
                        NOT_READ => ", for what it wrote to had ended first",
                        _ => "",
                    };
                    failure.message =
                        format!("{}: a program in it seems to have been killed by {signal}{why}", failure.message);
                }
                _ => {}
            }
            Failure { tail, ..failure }
        })
    }

    /// Why something was killed, as far as that is known.
    fn out_of_memory(&self) -> &'static str {
        if self.local.kills.happened() { ": out of memory" } else { ", possibly out of memory" }
    }

    /// What a shell said that has to do with what a recipe is given: a variable that it has not, a folder that is there already.
    fn explained(&self, tail: &[String]) -> Option<String> {
        let recipe = self.recipe();
        if let Some(name) = program::unset_for_shell(tail) {
            return Some(match self.local.environment.contains_key(name) {
                true => format!("{name} is set, but not for the recipe: pass = [\"{name}\"] hands it on"),
                false => format!("{name} is not set"),
            });
        }
        let line = tail.last().filter(|line| line.ends_with(": Is a directory") || line.ends_with(": File exists"))?;
        let nodes = recipe.outputs.iter().map(|id| &self.local.pipeline.nodes[*id]);
        let mut folders = nodes.filter(|node| node.kind == Kind::Folder);
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let node = folders.find(|node| {
            let words = line.split([' ', '\'', '‘', '’', ':']);
            let wanted = node.path.as_deref().map(name);
            wanted.is_some_and(|wanted| words.into_iter().any(|word| name(word) == wanted))
        })?;
        Some(format!("the folder `{}` is there already, and empty: write files into it", node.name))
    }

    /// What the `digest` commands of outputs print stands for their contents.
    async fn ask(&self, log: &mut Log, stop: watch::Receiver<Stop>) -> Result<Vec<(NodeId, Digest)>, Ended> {
        let recipe = self.recipe();
        let mut digests = Vec::new();
        for id in &recipe.outputs {
            let node = &self.local.pipeline.nodes[*id];
            let Some(command) = node.digest.as_ref().filter(|_| node.path.is_none()) else { continue };
            let env = environ::looking(recipe, &self.local.environment);
            let mut env = env.map_err(|problem| failed(FailureCode::Output, problem.message))?;
            environ::marks(&mut env, &self.attempt, &recipe.name);
            let start = Start {
                words: recipe.how.shell.iter().cloned().chain([command.clone()]).collect(),
                on_stop: None,
                env,
                marks: environ::MARKS.to_vec(),
                workdir: self.local.root.clone(),
                grace: recipe.how.grace.unwrap_or(self.local.grace),
                asks: Some(LONGEST_DIGEST),
            };
            let wrong = |why: &str| failed(FailureCode::Output, format!("`digest` of `{}` failed: {why}", node.name));
            match child::run(&start, &self.local.guardian, log, stop.clone()).await {
                Ok(Exit { stopped: true, .. }) => return Err(stopped()),
                Ok(Exit { answer: None, .. }) => return Err(wrong(&too_long(start.asks))),
                Ok(Exit { status, answer: Some(answer), .. }) if status.success() => {
                    digests.push((*id, Digest::of(printed(answer).as_bytes())));
                }
                Ok(Exit { status, .. }) => return Err(wrong(&child::words(status))),
                Err(NotRun::Start(why)) => return Err(wrong(&why)),
                Err(not_run @ (NotRun::Stopped | NotRun::Lost)) => return Err(without_status(not_run, None)),
            }
        }
        Ok(digests)
    }

    /// Where an output is written, relative to the root.
    fn staged(&self, node: NodeId) -> Option<String> {
        let path = self.local.pipeline.nodes[node].path.as_ref()?;
        if self.recipe().how.in_place {
            return Some(path.clone());
        }
        let i = self.recipe().outputs.iter().position(|output| *output == node)?;
        Some(self.local.staging.path(&self.attempt, &self.recipe().name, i, path))
    }

    /// The absolute path that the recipe is given for a node.
    fn given(&self, node: NodeId) -> Option<String> {
        let output = self.recipe().outputs.contains(&node);
        let path = if output { self.staged(node) } else { self.local.pipeline.nodes[node].path.clone() }?;
        Some(self.local.root.join(path).to_string_lossy().into_owned())
    }

    fn start(&self) -> Result<Start, Failure> {
        let recipe = self.recipe();
        let failed = |error: io::Error| Failure::new(FailureCode::Start, format!("no place for its output: {error}"));
        self.prepare().map_err(failed)?;
        let Local { pipeline, environment: own, .. } = &*self.local;
        let given = |node| self.given(node);
        let env = environ::env(recipe, own).map_err(|problem| Failure::new(FailureCode::Start, problem.message))?;
        let mut env = environ::base(&env, own);
        environ::pass(&mut env, recipe, own);
        secrets::add(&mut env, recipe, own).map_err(|message| Failure::new(FailureCode::Start, message))?;
        environ::paths(&mut env, pipeline, recipe, &given);
        environ::marks(&mut env, &self.attempt, &recipe.name);
        Ok(Start {
            words: environ::command_line(pipeline, self.id, &given),
            env,
            workdir: self.local.root.join(&recipe.how.workdir),
            grace: recipe.how.grace.unwrap_or(self.local.grace),
            marks: environ::MARKS.to_vec(),
            on_stop: environ::on_stop(pipeline, self.id, &given),
            asks: None,
        })
    }

    fn prepare(&self) -> io::Result<()> {
        let recipe = self.recipe();
        let nodes = &self.local.pipeline.nodes;
        for path in recipe.outputs.iter().filter_map(|node| nodes[*node].path.as_ref()) {
            self.local.staging.clear_beside(path)?;
        }
        if recipe.how.in_place {
            let paths: Vec<_> = recipe.outputs.iter().filter_map(|node| nodes[*node].path.clone()).collect();
            if let Some(mark) = self.local.staging.end_mark(&self.attempt.job)? {
                self.local.guardian.mark_end(mark.into());
            }
            self.local.staging.set_aside(&self.attempt.job, &recipe.name, &paths)?;
        }
        for node in &recipe.outputs {
            if let Some(path) = self.staged(*node) {
                self.local.staging.prepare(&path, nodes[*node].kind == Kind::Folder)?;
            }
        }
        Ok(())
    }

    /// The outputs of a recipe that ended well, where only a few files that are not large have to be read for that. A thread of
    /// its own would take longer to wake than the little there mostly is to read.
    fn quickly(&self, digests: &[(NodeId, Digest)]) -> Option<Vec<StagedOutput>> {
        if self.attempt.inputs.len() + self.attempt.files.len() + self.recipe().outputs.len() > FEW {
            return None;
        }
        // No folder is digested quickly, so links do not matter.
        let look =
            |path: &str, _| self.local.digester.quickly(path).unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()));
        self.outputs(digests, &look).ok()
    }

    /// The outputs of a recipe that ended well.
    fn outputs(&self, digests: &[(NodeId, Digest)], look: Look<'_>) -> Result<Vec<StagedOutput>, Failure> {
        self.inputs_unchanged(look)?;
        self.recipe().outputs.iter().map(|node| self.output(*node, digests, look)).collect()
    }

    fn output(&self, id: NodeId, digests: &[(NodeId, Digest)], look: Look<'_>) -> Result<StagedOutput, Failure> {
        let node = &self.local.pipeline.nodes[id];
        let (Some(from), Some(to)) = (self.staged(id), &node.path) else {
            let digest = digests.iter().find(|(node, _)| *node == id).map(|(_, digest)| *digest);
            return Ok(StagedOutput { node: id, digest, staged: None });
        };
        let wrong = |what: String| Failure::new(FailureCode::Output, format!("output `{}` {what}", node.name));
        let full = self.local.root.join(&from);
        let metadata = full.symlink_metadata().map_err(|_| wrong(self.not_written(&node.name, to)))?;
        if node.kind == Kind::Folder && !metadata.is_dir() {
            let made = if metadata.is_file() { "a file" } else { "something else" };
            return Err(wrong(format!(
                "is a managed folder, and the recipe made {made} of it: write into the folder, or say [dataset.{}]",
                node.name
            )));
        }
        if !metadata.is_dir() && !metadata.is_file() {
            let link = if metadata.is_symlink() { "is a symbolic link" } else { "is neither a file nor a folder" };
            return Err(wrong(format!("{link}: write the content itself")));
        }
        let digest = look(&from, LinkMode::Said).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let digest = digest.ok_or_else(|| wrong("vanished".to_owned()))?;
        let stood = self.attempt.stood.iter().find(|(node, _)| *node == id).map(|(_, digest)| *digest);
        let staged = Staged { from, to: to.clone(), digest, keep: false, stood };
        Ok(StagedOutput { node: id, digest: Some(digest), staged: Some(staged) })
    }

    fn not_written(&self, node: &str, to: &str) -> String {
        let recipe = self.recipe();
        if recipe.how.in_place {
            return format!("was not written: there is nothing at {to}");
        }
        let (name, variable) = match recipe.outputs.as_slice() {
            [_] => ("output".to_owned(), environ::ONLY_OUTPUT.to_owned()),
            _ => (format!("outputs.{node}"), environ::variable(environ::OUTPUT, node)),
        };
        format!(
            "was not written: the recipe has to write to {{{{ {name} }}}} (or ${variable}); one that writes to {to} itself says `in_place = true`"
        )
    }

    /// What the step read is what its key says, and was so all the while.
    fn inputs_unchanged(&self, look: Look<'_>) -> Result<(), Failure> {
        let wrong = |path: &str, links, digest| match look(path, links).ok().flatten() {
            Some(now) if now != digest => Some(CHANGED),
            None => Some(CHANGED),
            Some(_) => self.local.digester.written_since(path, self.began_ns).then_some(WRITTEN),
        };
        let failed = |what, more| Err(Failure::new(FailureCode::InputChanged, format!("{what} {more}")));
        for (id, digest) in &self.attempt.inputs {
            let node = &self.local.pipeline.nodes[*id];
            if let Some(path) = &node.path
                && let Some(why) = wrong(path, links_of(node), *digest)
            {
                let Local { root, staging, .. } = &*self.local;
                let writer = Halves::around(staging, root, path).writer_of(root, path);
                let writer = writer.map_or_else(|| OWN.to_owned(), |writer| format!("; {writer}"));
                return failed(format!("input `{}` ({path})", node.name), why.to_owned() + &writer);
            }
        }
        for (path, digest) in &self.attempt.files {
            if let Some(why) = wrong(path, LinkMode::Followed, *digest) {
                let hint = "; if the step itself writes it, `files` must not name it";
                return failed(format!("code {path}"), format!("{why}{hint}"));
            }
        }
        Ok(())
    }

    /// What Kiln says about a failure may quote what a command said.
    fn without_secrets(&self, ended: Ended) -> Ended {
        ended.with_failure(|failure| Failure { message: self.local.masked(failure.message), ..failure })
    }

    /// Names the outputs that the command has changed where they belong, if it was not told to write there.
    fn with_spoiled(&self, ended: Ended) -> Ended {
        if self.recipe().how.in_place {
            return ended;
        }
        let nodes = &self.local.pipeline.nodes;
        let is_as_it_was = |node: NodeId, digest| {
            let path = nodes[node].path.as_ref();
            path.is_none_or(|path| self.local.digester.is(path, digest))
        };
        let changed = self.attempt.stood.iter().filter(|(node, digest)| !is_as_it_was(*node, *digest));
        let spoiled = changed.map(|(node, _)| nodes[*node].name.clone()).collect();
        ended.with_failure(|failure| Failure { spoiled, ..failure })
    }

    /// Keeps what may be all that is left of something, and says so.
    fn saved(&self) -> io::Result<Option<String>> {
        let inputs = self.attempt.inputs.iter().map(|(node, digest)| (*node, Some(*digest)));
        let written = self.local.written(&self.attempt.job, self.recipe())?;
        self.local.keep_written(&self.attempt.job, self.local.lost(inputs), &written)
    }

    /// Leaves everything as it was before the attempt, but for what is to be kept of it.
    fn undo(&self, ended: Ended) -> Attempted {
        let mut told = Vec::new();
        let undone = self.saved().and_then(|saved| {
            told.extend(saved);
            told.extend(self.put_back()?);
            Ok(())
        });
        let ended = match (undone, ended) {
            (Err(error), Ended::Failed(failure) | Ended::Stopped(failure)) => {
                told.push(format!("and the next run has to tidy up: {error}"));
                Ended::Failed(failure)
            }
            (_, ended) => ended,
        };
        Attempted { told, ..ended.into() }
    }

    /// Puts back what was set aside, says what was kept of others, and forgets what was staged.
    fn put_back(&self) -> io::Result<Vec<String>> {
        let staging = &self.local.staging;
        let (job, step) = (&self.attempt.job, &self.recipe().name);
        if self.recipe().how.in_place {
            return staging.put_back(job, step, |_| true);
        }
        let staged: Vec<String> = self.recipe().outputs.iter().filter_map(|node| self.staged(*node)).collect();
        staging.leave(staged.iter().map(String::as_str)).map(|()| Vec::new())
    }
}
