//! The engine that builds on this machine: recipes are child processes, outputs are files and folders.

mod across;
mod child;
mod digest;
mod environ;
mod files;
mod observe;
mod probe;
mod staging;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::file::FileDigest;
use crate::base::id::{DenseMap, RecipeId};
use crate::base::job::JobId;
use crate::base::span::Problems;
use crate::engine::api::{Engine, Environment, Observed, Opening, Work};
use crate::engine::local::digest::Digester;
use crate::engine::local::staging::Staging;
use crate::event::{Failure, Staged};
use crate::pipeline::types::{Pipeline, Recipe};

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
    environment: Environment,
    digester: Digester,
    staging: Staging,
    grace: Duration,
}

impl LocalEngine {
    /// The engine for one pipeline. Looks at nothing yet.
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        let Opening { pipeline, root, state, environment, digests, grace } = opening;
        let digester = Digester::new(&root, digests);
        let staging = Staging::new(&root, &pipeline.name);
        Self { local: Arc::new(Local { pipeline, root, state, environment, digester, staging, grace }) }
    }
}

impl Engine for LocalEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn can_build(&self, recipe: &Recipe) -> bool {
        recipe.run.is_some()
    }

    fn check(&self) -> Problems {
        observe::check(&self.local)
    }

    fn observe(&self, wanted: &DenseMap<RecipeId, bool>, probes: bool) -> Result<Observed, Problems> {
        let facts = observe::observe(&self.local, wanted, probes)?;
        Ok(Observed { facts, seen: self.local.digester.take_fresh() })
    }

    fn prepare(&self, id: RecipeId) -> Result<Arc<dyn Work>, Problems> {
        let problems = environ::missing_secrets(&self.local.pipeline.recipes[id], &self.local.environment);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Arc::new(work::LocalWork { local: Arc::clone(&self.local), id }))
    }

    fn flush(&self, staged: &[Staged]) -> std::io::Result<()> {
        self.local.staging.flush(staged)
    }

    fn publish(&self, job: &JobId, step: &str, staged: &[Staged]) -> Result<Vec<FileDigest>, Failure> {
        self.local.staging.publish(job, step, staged, &self.local.digester)
    }

    fn tidy(&self) -> std::io::Result<()> {
        self.local.staging.tidy()
    }
}
