//! The engine that builds on a Dataiku DSS server: each step is a job there, started, followed, found again and aborted
//! through the jobs API. DSS decides what is out of date.

mod asks;
mod astray;
mod before;
mod body;
mod calls;
mod client;
pub mod compare;
mod dataiku;
mod elders;
mod fault;
mod find;
pub mod growing;
pub mod import;
mod judge;
mod lines;
mod looks;
mod mask;
mod part;
mod poll;
pub mod remote;
mod settings;
mod silence;
mod source;
mod spec;
mod submit;
mod tls;
mod told;
mod twice;
mod watched;
mod who;
mod whole;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Notify, OnceCell, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::base::id::{DenseMap, RecipeId};
use crate::base::job::BuildMode;
use crate::base::span::{Problem, Problems};
use crate::engine::api::{AskedBefore, Engine, LeftBehind, Observed, Opening, Terms, Updates, Work};
use crate::engine::dss::asks::{Ask, Followed, Listed, Looked};
use crate::engine::dss::astray::Astray;
use crate::engine::dss::calls::{About, Calls, Peer, segment};
use crate::engine::dss::client::Http;
use crate::engine::dss::elders::Witness;
use crate::engine::dss::mask::Mask;
use crate::engine::dss::part::Part;
use crate::engine::dss::poll::{ENDS, Poller};
use crate::engine::dss::settings::{Settings, settings};
use crate::engine::dss::spec::Spec;
use crate::engine::dss::twice::Twice;
use crate::engine::dss::who::Own;
use crate::engine::dss::whole::{Progress, Whole};
use crate::engine::dss::work::DssWork;
use crate::pipeline::dss_wire::{JobDef, StartJob};
use crate::pipeline::raw_engine::{Jobs, RawEngine};
use crate::pipeline::types::{Kind, Pipeline, Rebuild};
use crate::plan::facts::Facts;

/// How often it is looked whether the server is silent.
const LISTEN: Duration = Duration::from_secs(1);

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
    /// Whether a job is asked for again of which it is not known whether a run before had started it.
    resubmit: bool,
    calls: OnceLock<Result<Calls, Problem>>,
    asks: mpsc::UnboundedSender<Ask>,
    asked: Mutex<Option<mpsc::UnboundedReceiver<Ask>>>,
    left: Mutex<HashMap<String, LeftBehind>>,
    identity: OnceCell<Option<String>>,
    /// The one job of the run, where it has one.
    whole: Option<Arc<Whole>>,
    /// Jobs that this process started, and what was asked for.
    own: Mutex<BTreeMap<String, Own>>,
    /// That there are more of them.
    owns: Notify,
    /// By which names DSS calls us.
    names: Mutex<BTreeSet<String>>,
    /// What was asked for twice, or taken from somebody else: another job may turn up.
    twice: Mutex<Vec<Twice>>,
    /// What runs before asked for twice.
    doubts: Mutex<Vec<LeftBehind>>,
    /// Jobs that are accounted for, and what had one that vanished.
    astray: Mutex<Astray>,
    /// The last jobs that lists have to show.
    witnesses: Mutex<Vec<Witness>>,
    /// The way to tell people something of all that runs.
    updates: Mutex<Option<Updates>>,
    /// Places for questions about jobs that have ended.
    ends: Semaphore,
    /// What jobs of others were asked for as, where lists do not tell it.
    defs: Mutex<BTreeMap<String, JobDef>>,
}

impl DssEngine {
    /// The engine for one pipeline. Connects to nothing yet.
    ///
    /// # Errors
    /// Every mistake in the engine's table.
    pub fn open(opening: &Opening) -> Result<Self, Problems> {
        let Some((RawEngine::Dss(raw), _)) = opening.pipeline.engines.get(&opening.name) else {
            return Err(vec![Problem::new("unknown-engine", format!("there is no [engine.{}]", opening.name))]);
        };
        let settings = settings(raw, opening)?;
        let (asks, asked) = mpsc::unbounded_channel();
        // DSS promises no order between outputs that are built without what is above them.
        let whole = settings.jobs == Jobs::Run && opening.terms.mode != BuildMode::Only;
        let whole = whole.then(|| Arc::new(Whole::new(settings.max_parallel)));
        let Opening { pipeline, state, terms, .. } = opening;
        let Terms { mode, partition, abort_joined, resubmit, .. } = terms.clone();
        Ok(Self {
            dss: Arc::new(Dss {
                settings,
                pipeline: Arc::clone(pipeline),
                state: state.clone(),
                mode,
                partition,
                abort_joined,
                resubmit,
                calls: OnceLock::new(),
                asks,
                asked: Mutex::new(Some(asked)),
                left: Mutex::default(),
                identity: OnceCell::new(),
                whole,
                own: Mutex::default(),
                owns: Notify::new(),
                names: Mutex::default(),
                doubts: Mutex::default(),
                astray: Mutex::default(),
                witnesses: Mutex::default(),
                updates: Mutex::default(),
                twice: Mutex::default(),
                ends: Semaphore::new(ENDS),
                defs: Mutex::default(),
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
                peer: Peer::new(About {
                    lost_after: Some(self.settings.lost_after),
                    key: self.settings.key_from.to_string(),
                    url: self.settings.url.clone(),
                }),
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

    /// The page of all jobs of a project for people.
    fn jobs_page(&self, project: &str) -> String {
        format!("{}/projects/{}/jobs/", self.settings.url, segment(project))
    }

    /// All jobs of a project, as of after this question.
    async fn jobs(&self, project: &str) -> Option<Listed> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Jobs(project.to_owned(), reply)).ok()?;
        answer.await.ok()
    }

    /// The time at which one more call that looks may begin, without one too many in a second.
    async fn slot(&self) -> Option<Instant> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Slot(reply)).ok()?;
        answer.await.ok()
    }

    /// A job as it is now. It is asked for once for all who want to know, and what it is asked to do is kept.
    async fn look(&self, project: &str, job: &str) -> Option<Looked> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Look { project: project.to_owned(), job: job.to_owned(), reply }).ok()?;
        let looked = answer.await.ok()?;
        if let Some(def) = looked.as_ref().ok().and_then(|status| status.definition()) {
            self.learn(job, def);
        }
        Some(looked)
    }

    /// The end of a job.
    fn follow(&self, project: &str, job: &str) -> oneshot::Receiver<Followed> {
        self.follow_live(project, job, None)
    }

    /// The end of a job; how far it is goes to `live`.
    fn follow_live(
        &self,
        project: &str,
        job: &str,
        live: Option<watch::Sender<Progress>>,
    ) -> oneshot::Receiver<Followed> {
        let (reply, answer) = oneshot::channel();
        // Without a poller the answer never comes, as the caller sees.
        drop(self.asks.send(Ask::Follow { project: project.to_owned(), job: job.to_owned(), live, reply }));
        answer
    }

    /// The request for recipes in one job.
    fn request(&self, spec: &Spec, ids: &BTreeSet<RecipeId>) -> StartJob {
        let recipes = || ids.iter().map(|id| &self.pipeline.recipes[*id]);
        let schema = recipes().any(|recipe| recipe.how.auto_update_schema.unwrap_or(self.settings.auto_update_schema));
        let hive =
            recipes().any(|recipe| recipe.how.refresh_hive_metastore.unwrap_or(self.settings.refresh_hive_metastore));
        spec.request(schema, hive)
    }

    /// Whether a recipe can be built in one job with others.
    fn fits(&self, id: RecipeId) -> Result<(), Problem> {
        let recipe = &self.pipeline.recipes[id];
        if self.mode != BuildMode::Smart || recipe.rebuild != Rebuild::Always {
            return Ok(());
        }
        let message = format!("`{}` is always built, which one job for all cannot do", recipe.name);
        let help = format!("leave `rebuild` out, or leave `jobs = \"run\"` of [engine.{}] out", self.settings.name);
        Err(Problem::new("always-in-one-job", message).at(&recipe.span, "this one").help(help))
    }

    /// A step as part of the one job. All its steps are known.
    fn part(&self, whole: &Arc<Whole>, id: RecipeId) -> Part {
        let shape = whole.shape(self);
        let strict = self.mode == BuildMode::Forced;
        let (all, names) = (Arc::clone(&shape.all), Arc::clone(&shape.names));
        Part { all, names, last: shape.last.contains(&id), strict, whole: Arc::clone(whole) }
    }

    /// Tells people when the server does not answer, and when it does again.
    async fn tell_silence(&self, calls: &Calls) {
        loop {
            tokio::time::sleep(LISTEN).await;
            let updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // A command that is no run has another patience for each call.
            let patience = updates.is_some().then_some(self.settings.lost_after);
            match (calls.peer.news(patience), updates) {
                (Some(text), Some(updates)) => updates.tell(true, text),
                (Some(text), None) => tracing::warn!("{text}"),
                (None, _) => {}
            }
        }
    }

    fn take_left(&self, step: &str) -> Vec<LeftBehind> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(step).into_iter().collect()
    }

    /// Keeps what was left for whoever comes next.
    fn keep_left(&self, left: Vec<LeftBehind>) {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(left.into_iter().map(|left| (left.step.clone(), left)));
    }

    /// A job that a run before had is there, as far as is known.
    fn recall(&self, left: &LeftBehind) {
        let job = left.job.as_ref().filter(|job| !job.joined);
        self.testify(job.and_then(|job| Witness::of(&job.id, &left.intent)));
    }

    fn forget_left(&self) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Engine for DssEngine {
    fn name(&self) -> &str {
        &self.dss.settings.name
    }

    fn max_parallel(&self) -> Option<u32> {
        // DSS says how much of one job runs at once.
        let all = || u32::try_from(self.dss.pipeline.recipes.len()).unwrap_or(u32::MAX).max(1);
        Some(self.dss.whole.as_ref().map_or(self.dss.settings.max_parallel, |_| all()))
    }

    fn can_build(&self, id: RecipeId) -> bool {
        !self.dss.pipeline.recipes[id].outputs.is_empty()
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

    fn observe(&self, _wanted: &DenseMap<RecipeId, bool>, _probes: bool) -> Observed {
        let pipeline = &self.dss.pipeline;
        let mut facts = Facts::unseen(crate::clock::now(), pipeline.nodes.len(), pipeline.recipes.len());
        facts.asks = true;
        Observed { facts, seen: Vec::new(), wrong: Vec::new() }
    }

    fn prepare(&self, id: RecipeId) -> Result<Arc<dyn Work>, Problems> {
        let calls = self.dss.calls().map_err(|problem| vec![problem])?;
        if let Some(whole) = &self.dss.whole {
            self.dss.fits(id).map_err(|problem| vec![problem])?;
            whole.add(id);
        }
        Ok(Arc::new(DssWork { dss: Arc::clone(&self.dss), calls: calls.clone(), id }))
    }

    fn resume(&self, left: Vec<LeftBehind>) {
        left.iter().for_each(|left| self.dss.recall(left));
        self.dss.keep_left(left);
    }

    fn looks_back(&self) -> bool {
        true
    }

    fn look_back(&self, asked: Vec<AskedBefore>, accepted: Vec<String>) {
        self.dss.account(accepted);
        asked.iter().for_each(|asked| self.dss.recall(&asked.left));
        let twice = asked.into_iter().filter(|asked| asked.twice).map(|asked| asked.left).collect();
        *self.dss.doubts.lock().unwrap_or_else(PoisonError::into_inner) = twice;
    }

    fn background(&self) -> Option<BoxFuture<'static, ()>> {
        let asked = self.dss.asked.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let calls = self.dss.calls().ok()?.clone();
        let (poll, lost_after) = (self.dss.settings.poll, self.dss.settings.lost_after);
        let dss = Arc::clone(&self.dss);
        let going_on = async move {
            tokio::select! {
                biased;
                () = Poller::new(calls.clone(), asked, poll, lost_after).run() => {}
                () = dss.tell_silence(&calls) => {}
            }
        };
        Some(going_on.boxed())
    }

    fn end(&self) -> BoxFuture<'static, Vec<String>> {
        let dss = Arc::clone(&self.dss);
        async move {
            let Ok(calls) = dss.calls() else { return Vec::new() };
            dss.turned_up(calls).await;
            match &dss.whole {
                Some(whole) => whole.end(&dss, calls).await,
                None => Vec::new(),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod weather;
