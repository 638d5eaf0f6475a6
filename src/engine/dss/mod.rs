//! The engine that builds on a Dataiku DSS server: each step is a job there, started, followed, found again and aborted
//! through the jobs API. DSS decides what is out of date.

mod calls;
mod client;
pub mod compare;
mod dataiku;
mod fault;
mod find;
pub mod import;
mod judge;
mod mask;
mod poll;
pub mod remote;
mod settings;
mod spec;
mod submit;
mod tls;
mod work;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{OnceCell, mpsc, oneshot};

use crate::base::file::FileDigest;
use crate::base::id::{DenseMap, RecipeId};
use crate::base::job::{BuildMode, JobId};
use crate::base::span::{Problem, Problems};
use crate::engine::api::{Engine, LeftBehind, Observed, Opening, Work};
use crate::engine::dss::calls::{Calls, segment};
use crate::engine::dss::client::Http;
use crate::engine::dss::mask::Mask;
use crate::engine::dss::poll::{Ask, Followed, Listed, Poller};
use crate::engine::dss::settings::{Settings, settings};
use crate::engine::dss::spec::Spec;
use crate::engine::dss::work::DssWork;
use crate::event::{Failure, Staged};
use crate::pipeline::dss_wire::JobItem;
use crate::pipeline::raw_engine::RawEngine;
use crate::pipeline::types::{Kind, Pipeline, Recipe};
use crate::plan::facts::Facts;

/// The name of the kind.
pub const NAME: &str = "dss";

/// The engine.
pub struct DssEngine {
    dss: Arc<Dss>,
}

/// A server, and what this process knows of its jobs.
pub(crate) struct Dss {
    settings: Settings,
    pipeline: Arc<Pipeline>,
    state: PathBuf,
    mode: BuildMode,
    partition: Option<String>,
    /// Whether jobs that were only joined are aborted too.
    abort_joined: bool,
    calls: OnceLock<Result<Calls, Problem>>,
    asks: mpsc::UnboundedSender<Ask>,
    asked: Mutex<Option<mpsc::UnboundedReceiver<Ask>>>,
    left: Mutex<HashMap<String, LeftBehind>>,
    identity: OnceCell<Option<String>>,
    /// Jobs that this process started, and who started them as DSS calls us.
    own: Mutex<BTreeSet<String>>,
}

impl DssEngine {
    /// The engine for one pipeline. Connects to nothing yet.
    ///
    /// # Errors
    /// Every mistake in the engine's table, and what was asked for that has no meaning there.
    pub fn open(opening: Opening) -> Result<Self, Problems> {
        let Some((RawEngine::Dss(raw), _)) = opening.pipeline.engines.get(&opening.name) else {
            return Err(vec![Problem::new("unknown-engine", format!("there is no [engine.{}]", opening.name))]);
        };
        let settings = settings(raw, &opening)?;
        if opening.vars {
            let problem = Problem::new("useless-var", format!("--var has no effect on the engine `{}`", opening.name));
            return Err(vec![problem.help("variables of DSS are set in its project; leave --var out")]);
        }
        let (asks, asked) = mpsc::unbounded_channel();
        let Opening { pipeline, state, mode, partition, abort_joined, .. } = opening;
        Ok(Self {
            dss: Arc::new(Dss {
                settings,
                pipeline,
                state,
                mode,
                partition,
                abort_joined,
                calls: OnceLock::new(),
                asks,
                asked: Mutex::new(Some(asked)),
                left: Mutex::default(),
                identity: OnceCell::new(),
                own: Mutex::default(),
            }),
        })
    }
}

impl Dss {
    /// The way to the server, opened when it is first needed.
    fn calls(&self) -> Result<&Calls, Problem> {
        let made = self.calls.get_or_init(|| {
            let auth = self.settings.auth.as_ref().map_err(Clone::clone)?;
            let http = Http::new(&self.settings).map_err(|message| {
                Problem::new("engine", format!("the engine `{}` cannot be used: {message}", self.settings.name))
            })?;
            if self.settings.insecure_tls {
                tracing::warn!("{}", self.insecure());
            }
            Ok(Calls {
                transport: Arc::new(http),
                mask: Mask::new(auth.secret()),
                timeout: self.settings.request_timeout,
                patience: self.settings.lost_after,
            })
        });
        made.as_ref().map_err(Clone::clone)
    }

    fn insecure(&self) -> String {
        format!("[engine.{}] accepts any certificate: anyone on the way can read the key", self.settings.name)
    }

    /// What a recipe is asked for as.
    fn spec(&self, id: RecipeId) -> Spec {
        Spec::of(&self.pipeline, id, self.mode, &self.settings.project, self.partition.as_deref())
    }

    /// The page of a job for people.
    fn page(&self, project: &str, job: &str) -> String {
        format!("{}/projects/{}/jobs/{}/", self.settings.url, segment(project), segment(job))
    }

    /// All jobs of a project, as of after this question.
    async fn jobs(&self, project: &str) -> Option<Listed> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Jobs(project.to_owned(), reply)).ok()?;
        answer.await.ok()
    }

    /// The end of a job.
    fn follow(&self, project: &str, job: &str) -> oneshot::Receiver<Followed> {
        let (reply, answer) = oneshot::channel();
        // Without a poller the answer never comes, as the caller sees.
        drop(self.asks.send(Ask::Follow(project.to_owned(), job.to_owned(), reply)));
        answer
    }

    fn take_left(&self, step: &str) -> Option<LeftBehind> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(step)
    }

    fn is_own(&self, job: &str) -> bool {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).contains(job)
    }

    fn remember(&self, job: &str) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(job.to_owned());
    }

    /// Whether the same identity started a job, as far as that can be told.
    async fn is_mine(&self, job: &JobItem) -> bool {
        if job.id().is_some_and(|id| self.is_own(id)) {
            return true;
        }
        let Ok(calls) = self.calls() else { return false };
        let ask = || async { calls.auth_info().await.ok().and_then(|info| info.identity) };
        let Some(me) = self.identity.get_or_init(ask).await else { return false };
        let login = job.person.as_ref().and_then(|person| person.login.as_deref());
        let initiator = job.def.as_ref().and_then(|def| def.initiator.as_deref());
        let wrapped = format!("({me})");
        login == Some(me) || initiator.is_some_and(|by| by == me || by.ends_with(&wrapped))
    }
}

impl Engine for DssEngine {
    fn name(&self) -> &str {
        &self.dss.settings.name
    }

    fn max_parallel(&self) -> Option<u32> {
        Some(self.dss.settings.max_parallel)
    }

    fn can_build(&self, recipe: &Recipe) -> bool {
        !recipe.outputs.is_empty()
    }

    fn check(&self) -> Problems {
        let mut problems = Vec::new();
        let name = &self.dss.settings.name;
        if self.dss.settings.insecure_tls {
            problems.push(
                Problem::new("insecure-tls", self.dss.insecure()).help("name the authority with `ca_file`").warn(),
            );
        }
        for node in self.dss.pipeline.nodes.values().filter(|node| node.kind != Kind::Dataset && node.id.is_none()) {
            let kind = node.kind.word();
            let message = format!("{kind} `{}` has no `id`, and DSS knows it by its id only", node.name);
            let problem = Problem::new("no-id", message).at(&node.span, "this one").warn();
            problems.push(problem.help(format!("`kiln check --engine {name}` finds it by its name")));
        }
        problems
    }

    fn observe(&self, _wanted: &DenseMap<RecipeId, bool>, _probes: bool) -> Result<Observed, Problems> {
        let pipeline = &self.dss.pipeline;
        let mut facts = Facts::unseen(crate::clock::now(), pipeline.nodes.len(), pipeline.recipes.len());
        facts.asks = true;
        Ok(Observed { facts, seen: Vec::new() })
    }

    fn prepare(&self, id: RecipeId) -> Result<Arc<dyn Work>, Problems> {
        let calls = self.dss.calls().map_err(|problem| vec![problem])?;
        Ok(Arc::new(DssWork { dss: Arc::clone(&self.dss), calls: calls.clone(), id }))
    }

    fn resume(&self, left: Vec<LeftBehind>) {
        let mut all = self.dss.left.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(left.into_iter().map(|left| (left.step.clone(), left)));
    }

    fn background(&self) -> Option<BoxFuture<'static, ()>> {
        let asked = self.dss.asked.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let calls = self.dss.calls().ok()?.clone();
        let (poll, lost_after) = (self.dss.settings.poll, self.dss.settings.lost_after);
        Some(Poller::new(calls, asked, poll, lost_after).run().boxed())
    }

    fn flush(&self, _staged: &[Staged]) -> std::io::Result<()> {
        Ok(())
    }

    fn publish(&self, _job: &JobId, _step: &str, _staged: &[Staged]) -> Result<Vec<FileDigest>, Failure> {
        Ok(Vec::new())
    }

    fn tidy(&self) -> std::io::Result<()> {
        Ok(())
    }
}
