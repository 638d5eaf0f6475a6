//! One step on this machine: from a staging folder through a child process to complete outputs, or to a failure that
//! leaves everything as it was.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::base::digest::Digest;
use crate::base::id::{NodeId, RecipeId};
use crate::engine::api::{Attempt, Ended, StagedOutput, Stop, Updates, Work};
use crate::engine::local::child::{self, Exit, Start};
use crate::engine::local::{Local, environ, probe};
use crate::event::{Failure, FailureCode, Staged};
use crate::pipeline::types::{Kind, Recipe};

/// The work of a recipe.
pub(crate) struct LocalWork {
    pub(crate) local: Arc<Local>,
    pub(crate) id: RecipeId,
}

impl Work for LocalWork {
    fn describe(&self) -> String {
        environ::describe(&self.local.pipeline, self.id)
    }

    fn run(&self, attempt: Attempt, updates: Updates, stop: watch::Receiver<Stop>) -> BoxFuture<'static, Ended> {
        let step = Step { local: Arc::clone(&self.local), id: self.id, attempt };
        async move { step.run(updates, stop).await }.boxed()
    }
}

struct Step {
    local: Arc<Local>,
    id: RecipeId,
    attempt: Attempt,
}

impl Step {
    fn recipe(&self) -> &Recipe {
        &self.local.pipeline.recipes[self.id]
    }

    async fn run(self, updates: Updates, stop: watch::Receiver<Stop>) -> Ended {
        let result = match self.start() {
            Ok(start) => match child::run(start, updates, stop).await {
                Ok(exit) => self.judge(exit),
                Err(message) => Err(Ended::Failed(Failure::new(FailureCode::Start, message))),
            },
            Err(failure) => Err(Ended::Failed(failure)),
        };
        // Digesting may take long: not on the loop's thread.
        let end = tokio::task::spawn_blocking(move || {
            let ended =
                result.and_then(|tail| self.outputs().map_err(|failure| Ended::Failed(Failure { tail, ..failure })));
            match ended {
                Ok(outputs) => Ended::Staged(outputs),
                Err(ended) => self.undo(ended),
            }
        });
        end.await.unwrap_or_else(|error| {
            Ended::Failed(Failure::new(FailureCode::Crashed, format!("this is a bug in Kiln: {error}")))
        })
    }

    /// Where an output is written, relative to the root.
    fn staged(&self, node: NodeId) -> Option<String> {
        let path = self.local.pipeline.nodes[node].path.as_ref()?;
        if self.recipe().in_place {
            return Some(path.clone());
        }
        let i = self.recipe().outputs.iter().position(|output| *output == node)?;
        Some(self.local.staging.path(&self.attempt.job, &self.recipe().name, i, path))
    }

    /// The absolute path that the recipe is given for a node.
    fn given(&self, node: NodeId) -> Option<String> {
        let output = self.recipe().outputs.contains(&node);
        let path = if output { self.staged(node) } else { self.local.pipeline.nodes[node].path.clone() }?;
        Some(self.local.root.join(path).to_string_lossy().into_owned())
    }

    fn start(&self) -> Result<Start, Failure> {
        let recipe = self.recipe();
        let failed =
            |error: std::io::Error| Failure::new(FailureCode::Start, format!("no place for its output: {error}"));
        self.prepare().map_err(failed)?;
        let pipeline = &self.local.pipeline;
        let given = |node| self.given(node);
        let own = &self.local.environment;
        let env = environ::env(recipe, own).map_err(|problem| Failure::new(FailureCode::Start, problem.message))?;
        let mut env = environ::base(&env, own);
        environ::pass(&mut env, recipe, own);
        environ::secrets(&mut env, recipe, own).map_err(|message| Failure::new(FailureCode::Start, message))?;
        environ::paths(&mut env, pipeline, recipe, &given);
        Ok(Start {
            words: environ::command_line(pipeline, self.id, &given),
            env,
            workdir: self.local.root.join(&recipe.workdir),
            log: self.local.state.join(&self.attempt.log),
            grace: self.local.grace,
        })
    }

    fn prepare(&self) -> std::io::Result<()> {
        let recipe = self.recipe();
        let nodes = &self.local.pipeline.nodes;
        if recipe.in_place {
            let paths: Vec<_> = recipe.outputs.iter().filter_map(|node| nodes[*node].path.clone()).collect();
            self.local.staging.set_aside(&self.attempt.job, &recipe.name, &paths)?;
        }
        for node in &recipe.outputs {
            if let Some(path) = self.staged(*node) {
                self.local.staging.prepare(&path, nodes[*node].kind == Kind::Folder)?;
            }
        }
        Ok(())
    }

    /// What the end of the child means; its last lines where it went well.
    fn judge(&self, exit: Exit) -> Result<Vec<String>, Ended> {
        let Exit { status, stopped, tail } = exit;
        if stopped {
            return Err(Ended::Stopped(Failure { tail, ..Failure::new(FailureCode::Stopped, "stopped") }));
        }
        if status.success() {
            return Ok(tail);
        }
        let code = if status.signal().is_some() { FailureCode::Signal } else { FailureCode::Exit };
        let exit_code = status.code().or(status.signal().map(|signal| 128 + signal));
        Err(Ended::Failed(Failure { tail, exit_code, ..Failure::new(code, child::words(status)) }))
    }

    /// The outputs of a recipe that ended well.
    fn outputs(&self) -> Result<Vec<StagedOutput>, Failure> {
        self.inputs_unchanged()?;
        self.recipe().outputs.iter().map(|node| self.output(*node)).collect()
    }

    fn output(&self, id: NodeId) -> Result<StagedOutput, Failure> {
        let node = &self.local.pipeline.nodes[id];
        let (Some(from), Some(to)) = (self.staged(id), &node.path) else {
            return Ok(StagedOutput { node: id, digest: self.probed(id)?, staged: None });
        };
        let wrong = |what: String| Failure::new(FailureCode::Output, format!("output `{}` {what}", node.name));
        let full = self.local.root.join(&from);
        let metadata = full.symlink_metadata().map_err(|_| wrong(self.not_written(to)))?;
        if node.kind == Kind::Folder && !metadata.is_dir() {
            return Err(wrong("is a managed folder, and the recipe made something else of it".to_owned()));
        }
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(wrong("is neither a file nor a folder".to_owned()));
        }
        let digest = self.local.digester.path(&from).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let digest = digest.ok_or_else(|| wrong("vanished".to_owned()))?;
        Ok(StagedOutput { node: id, digest: Some(digest), staged: Some(Staged { from, to: to.clone(), digest }) })
    }

    fn not_written(&self, to: &str) -> String {
        if self.recipe().in_place {
            return format!("was not written: there is nothing at {to}");
        }
        format!(
            "was not written: the recipe has to write to {{{{ output }}}} (or $KILN_OUTPUT), not to {to} itself; or say `in_place = true`"
        )
    }

    /// What the `digest` command prints stands for the content.
    fn probed(&self, id: NodeId) -> Result<Option<Digest>, Failure> {
        let recipe = self.recipe();
        let Some(command) = &self.local.pipeline.nodes[id].digest else { return Ok(None) };
        let env = environ::looking(recipe, &self.local.environment);
        let env = env.map_err(|problem| Failure::new(FailureCode::Output, problem.message))?;
        let printed = probe::run(&self.local.root, &recipe.shell, command, &env);
        let printed =
            printed.map_err(|error| Failure::new(FailureCode::Output, format!("`digest` failed: {error}")))?;
        Ok(Some(Digest::of(printed.as_bytes())))
    }

    /// What the step read is what its key says.
    fn inputs_unchanged(&self) -> Result<(), Failure> {
        let is = |path: &str, digest| self.local.digester.path(path).ok().flatten() == Some(digest);
        let changed =
            |message| Failure::new(FailureCode::InputChanged, format!("{message} changed while the run went on"));
        for (id, digest) in &self.attempt.inputs {
            let node = &self.local.pipeline.nodes[*id];
            if let Some(path) = &node.path
                && !is(path, *digest)
            {
                return Err(changed(format!("input `{}` ({path})", node.name)));
            }
        }
        match self.attempt.files.iter().find(|(path, digest)| !is(path, *digest)) {
            Some((path, _)) => Err(changed(format!("code {path}"))),
            None => Ok(()),
        }
    }

    /// Leaves everything as it was before the attempt.
    fn undo(&self, ended: Ended) -> Ended {
        let staging = &self.local.staging;
        let (job, step) = (&self.attempt.job, &self.recipe().name);
        let undone = staging.put_back(job, step).and_then(|()| staging.remove(job, step));
        match (undone, ended) {
            (Ok(()), ended) => ended,
            (Err(error), Ended::Failed(failure) | Ended::Stopped(failure)) => {
                let message = format!("{}; and the next run has to tidy up: {error}", failure.message);
                Ended::Failed(Failure { message, ..failure })
            }
            (Err(_), ended @ Ended::Staged(_)) => ended,
        }
    }
}
