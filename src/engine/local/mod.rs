//! The engine that builds on this machine: recipes are child processes, outputs are files and folders.

mod across;
mod aside;
mod behind;
pub(crate) mod check;
mod child;
pub(crate) mod clear;
mod digest;
mod environ;
pub(crate) mod evidence;
mod files;
mod flush;
mod folder;
pub mod guardian;
mod half;
mod keep;
mod leftovers;
mod log;
mod lost;
mod memory;
mod met;
mod observe;
mod overtaken;
pub(crate) mod places;
mod probe;
mod put;
mod secrets;
mod staging;
mod twins;
mod undeclared;
mod undo;
pub(crate) mod ways;
mod whose;
mod work;
mod written;

pub(crate) use environ::describe;

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::base::id::{DenseMap, RecipeId};
use crate::base::job::{BuildMode, JobId};
use crate::base::mask::Secrets;
use crate::base::span::{Problem, Problems};
use crate::engine::api::{Engine, Environment, Evidence, Observed, Opening, Stop, Work};
use crate::engine::local::digest::Digester;
use crate::engine::local::guardian::Guardian;
use crate::engine::local::memory::Kills;
use crate::engine::local::places::Places;
use crate::engine::local::secrets::Masking;
use crate::engine::local::staging::{Staging, not_in_place};
use crate::engine::outputs::{Done, Outputs, Published, StagedStep};
use crate::event::{Failure, Replaced, Staged};
use crate::pipeline::types::{Kind, Pipeline, Rebuild};
use crate::plan::facts::Facts;
use crate::plan::put_back::PutBack;
use crate::plan::record::OutputRecord;

/// The name of the engine.
pub const NAME: &str = "local";

/// The engine.
pub struct LocalEngine {
    local: Arc<Local>,
}

pub(crate) struct Local {
    pipeline: Arc<Pipeline>,
    root: PathBuf,
    state: PathBuf,
    /// The paths of the pipeline file.
    own: Vec<String>,
    environment: Environment,
    digester: Digester,
    staging: Staging,
    guardian: Guardian,
    masking: Masking,
    kills: Kills,
    places: Places,
    grace: Duration,
    mode: BuildMode,
    /// Ends the commands that only look.
    stop: OnceLock<watch::Receiver<Stop>>,
}

impl Local {
    /// What is masked wherever Kiln writes.
    fn secrets(&self) -> Option<Arc<Secrets>> {
        self.masking.secrets(&self.pipeline, &self.environment)
    }

    /// A text without secrets.
    fn masked(&self, text: String) -> String {
        self.secrets().map_or_else(|| text.clone(), |secrets| secrets.mask(&text))
    }
}

impl LocalEngine {
    /// The engine for one pipeline. Looks at nothing yet.
    ///
    /// # Errors
    /// What was asked for that it cannot do.
    pub fn open(opening: Opening) -> Result<Self, Problems> {
        if opening.terms.partition.is_some() {
            let problem = Problem::new("no-partitions", "--partition: the engine `local` builds no partitions");
            return Err(vec![problem.help("leave it out, or choose an engine that knows them")]);
        }
        Ok(Self::new(opening))
    }

    /// The engine for one pipeline, whatever else was asked for.
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        let Opening { pipeline, root, state, own, environment, digests, grace, terms, open_files, .. } = opening;
        let (at, made) = (root.clone(), Arc::clone(&pipeline));
        let digester = Digester::new(&root, digests).beside(move || ways::built(&at, &made));
        let staging = Staging::new(&root, &pipeline.name).of_state(&state);
        let (guardian, masking, kills) = (Guardian::new(open_files), Masking::default(), Kills::default());
        Self {
            local: Arc::new(Local {
                pipeline,
                root,
                state,
                own,
                environment,
                digester,
                staging,
                guardian,
                masking,
                kills,
                places: Places::default(),
                grace,
                mode: terms.mode,
                stop: OnceLock::new(),
            }),
        }
    }

    /// Refuses outputs that a run which died was about to put in place where the file does not say any more that this step makes
    /// them: what belongs there now may be somebody's. What is in place already stays.
    fn still_made(&self, step: &str, staged: &[Staged]) -> Result<(), Failure> {
        let Local { pipeline, digester, .. } = self.local.as_ref();
        let recipe = pipeline.recipe(step).map(|id| &pipeline.recipes[id]).filter(|recipe| recipe.name == step);
        let is_made = |path: &str| {
            let mut outputs = recipe.iter().flat_map(|recipe| &recipe.outputs);
            outputs.any(|node| pipeline.nodes[*node].path.as_deref() == Some(path))
        };
        let moves = |output: &Staged| output.from != output.to && !digester.is(&output.to, output.digest);
        match staged.iter().find(|output| !is_made(&output.to) && moves(output)) {
            Some(output) => {
                Err(not_in_place(output, &format!("the file does not say any more that `{step}` makes it")))
            }
            None => Ok(()),
        }
    }

    /// The same with the names of outputs in the place of their paths, as far as the file has them.
    fn named(&self, undone: Vec<PutBack>) -> Vec<PutBack> {
        let name = |path: String| {
            let node = self.local.pipeline.nodes.values().find(|node| node.path.as_ref() == Some(&path));
            node.map_or(path, |node| node.name.clone())
        };
        undone.into_iter().map(|put_back| PutBack { output: name(put_back.output), ..put_back }).collect()
    }
}

impl Engine for LocalEngine {
    fn name(&self) -> &str {
        NAME
    }

    fn can_build(&self, id: RecipeId) -> bool {
        self.local.pipeline.outline().runs(id)
    }

    fn check(&self) -> Problems {
        check::check(&self.local).into_iter().map(Problem::obstacle).collect()
    }

    fn heed(&self, stop: watch::Receiver<Stop>) {
        // It is told once, by whoever opened the engine.
        drop(self.local.stop.set(stop));
    }

    fn observe(&self, wanted: &DenseMap<RecipeId, bool>, probes: bool) -> Observed {
        let (facts, wrong) = observe::observe(&self.local, wanted, probes);
        // They quote what commands said.
        let mask = |(id, problem): (RecipeId, Problem)| {
            (id, Problem { message: self.local.masked(problem.message), obstacle: true, ..problem })
        };
        let wrong = wrong.into_iter().map(mask).collect();
        Observed { facts, seen: self.local.digester.take_fresh(), wrong }
    }

    fn evidence(&self, wanted: &DenseMap<RecipeId, bool>, facts: &Facts) -> Option<Evidence> {
        Some(evidence::gather(&self.local, wanted, facts))
    }

    fn obstacles(&self, ids: &[RecipeId]) -> Problems {
        let Local { pipeline, environment, places, .. } = self.local.as_ref();
        let mut look = places.look(&self.local);
        let (mut found, mut workdirs) = (Vec::new(), HashSet::new());
        for recipe in ids.iter().map(|id| &pipeline.recipes[*id]) {
            found.extend(secrets::missing(recipe, environment));
            look.check(recipe, &mut found);
            found.extend(check::no_program(&self.local, recipe, false));
            if workdirs.insert(&recipe.how.workdir) {
                found.extend(check::no_workdir(&self.local, recipe));
            }
        }
        found.into_iter().map(Problem::obstacle).collect()
    }

    fn prepare(&self, id: RecipeId) -> Result<Arc<dyn Work>, Problems> {
        let Local { pipeline, places, .. } = self.local.as_ref();
        let recipe = &pipeline.recipes[id];
        let mut problems = secrets::missing(recipe, &self.local.environment);
        places.look(&self.local).check(recipe, &mut problems);
        problems.extend(check::no_program(&self.local, recipe, false).filter(|problem| !problem.warning));
        if !problems.is_empty() {
            return Err(problems.into_iter().map(Problem::obstacle).collect());
        }
        for problem in secrets::short(recipe, &self.local.environment) {
            tracing::warn!("{}", problem.message);
        }
        Ok(Arc::new(work::LocalWork { local: Arc::clone(&self.local), id }))
    }

    fn hold(&self, lock: OwnedFd) {
        self.local.guardian.hold(lock);
    }

    fn end(&self) -> BoxFuture<'static, Vec<String>> {
        let local = Arc::clone(&self.local);
        async move {
            let left = local.guardian.end().await;
            if let Some(file) = local.staging.end()
                && let Err(error) = guardian::mark(&file).await
            {
                tracing::debug!(%error, "the next run will not know when all had ended");
            }
            left
        }
        .boxed()
    }
}

impl Outputs for LocalEngine {
    fn flush(&self, job: &JobId, steps: &[StagedStep]) -> Vec<Result<(), Failure>> {
        let flushed = self.local.staging.flush(steps);
        let each = steps.iter().zip(flushed).map(|((step, staged), flushed)| {
            flushed.map_err(|failure| failure.also(self.take_back(job, step, staged)))
        });
        each.collect()
    }

    fn take_back(&self, job: &JobId, step: &str, staged: &[Staged]) -> Vec<String> {
        self.local.take_back(job, step, staged)
    }

    fn publish(&self, job: &JobId, step: &str, staged: &[Staged]) -> Result<Published, Failure> {
        let published = self.local.staging.publish(job, step, staged, &self.local.digester);
        // What is staged stays: where something could not be undone, it may be all that there is.
        let in_place = staged.iter().any(|output| output.from == output.to);
        let taken = || if in_place { self.take_back(job, step, staged) } else { Vec::new() };
        published.map_err(|failure| failure.also(taken()))
    }

    fn settle(&self, steps: &[StagedStep]) -> Vec<Result<(), Failure>> {
        let Local { pipeline, mode, .. } = self.local.as_ref();
        // What is not as the record says is built again, if nobody has said otherwise.
        let heals = |step: &str| {
            let never = pipeline.recipe(step).is_some_and(|id| pipeline.recipes[id].rebuild == Rebuild::Never);
            *mode != BuildMode::Missing && !never
        };
        self.local.staging.settle(steps, &heals)
    }

    fn halfway(
        &self,
        job: &JobId,
        step: &str,
        staged: &mut Vec<Staged>,
        last: &[OutputRecord],
    ) -> Result<Vec<PutBack>, Failure> {
        self.still_made(step, staged)?;
        let ahead = self.local.staging.halfway(job, staged, last, &self.local.digester);
        ahead.map(|ahead| self.named(ahead))
    }

    fn give_up(&self, job: &JobId, step: &str, staged: &[Staged], last: &[OutputRecord]) -> Vec<Replaced> {
        // What another step makes there now is nobody's loss.
        if self.still_made(step, staged).is_err() {
            return Vec::new();
        }
        self.local.staging.give_up(job, step, staged, last, &self.local.digester)
    }

    fn kept_before(&self, job: &JobId, staged: &[Staged]) -> Vec<Replaced> {
        self.local.staging.kept_before(job, staged)
    }

    fn left_by_other(&self) -> std::io::Result<Option<(String, PathBuf)>> {
        self.local.staging.left_by_other()
    }

    fn end_survivors(&self, died: bool) -> Vec<String> {
        let Local { staging, pipeline, root, .. } = self.local.as_ref();
        if died || staging.is_left() { guardian::survivors::end(&pipeline.name, root) } else { Vec::new() }
    }

    fn keep_lost(&self, job: &JobId, step: &str) -> Option<String> {
        let kept = self.local.keep_lost(job, step);
        // Nothing is tidied up either then, and that tells why.
        kept.inspect_err(|error| tracing::debug!(%error, step, "what it wrote cannot be kept")).ok().flatten()
    }

    fn tidy(&self, done: &Done) -> std::io::Result<Vec<PutBack>> {
        for of @ (job, step) in &self.local.staging.begun()? {
            if done.contains(of) {
                continue;
            }
            if let Some(told) = self.local.keep_lost(job, step)? {
                tracing::warn!("a run was killed while it built `{step}`: {told}");
            }
        }
        self.local.staging.tidy(&self.local.digester).map(|undone| self.named(undone))
    }

    fn put_back(&self, done: &Done) -> Vec<PutBack> {
        // A run that cannot read it tells so.
        self.named(self.local.to_undo(done).unwrap_or_default())
    }

    fn half_written(&self) -> Vec<String> {
        // A run that cannot read it tells so.
        self.local.staging.half_written().unwrap_or_default()
    }

    fn misfit(&self, id: RecipeId) -> Option<String> {
        let Local { pipeline, root, .. } = self.local.as_ref();
        let folders = pipeline.recipes[id].outputs.iter().map(|node| &pipeline.nodes[*node]);
        let paths = folders.filter(|node| node.kind == Kind::Folder).filter_map(|node| node.path.as_deref());
        let mut files = paths.filter(|path| root.join(path).metadata().is_ok_and(|metadata| !metadata.is_dir()));
        files.next().map(|path| format!("{path} is a file, a folder is needed"))
    }
}
