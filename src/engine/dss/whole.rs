//! One job for all steps of a run: which steps it is for, who asks for it, how far it is. What that means for a step is in
//! `part.rs`; how a job is found, asked for and followed is the same as for a single step.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::base::id::RecipeId;
use crate::engine::api::{Ended, LeftBehind, Stop, Updates};
use crate::engine::dss::Dss;
use crate::engine::dss::asks::Ask;
use crate::engine::dss::calls::Calls;
use crate::engine::dss::spec::Spec;
use crate::engine::dss::told::{Names, Told};
use crate::engine::dss::work::{Course, Job};
use crate::graph::Graph;
use crate::pipeline::dss_wire::is_over;

/// How often a job is looked at that the end of the run has to wait for.
const LOOK: Duration = Duration::from_millis(500);

/// How far the one job is.
#[derive(Clone, Default)]
pub(super) struct Progress {
    /// The job, once there is one.
    pub(super) job: Option<Job>,
    /// What DSS last said of it.
    pub(super) status: Option<Arc<Told>>,
    /// That nothing more comes; and what that means for a step that the status does not settle.
    pub(super) over: Option<Ended>,
}

/// What the steps come to.
pub(super) struct Shape {
    /// What is asked for.
    pub(super) all: Arc<Spec>,
    /// The same, as activities name it.
    pub(super) names: Arc<Names>,
    /// The steps that come last. Their end is the end of the job: it never outlives the run.
    pub(super) last: BTreeSet<RecipeId>,
}

/// The one job of a run.
pub(super) struct Whole {
    /// The steps that it is for.
    steps: Mutex<BTreeSet<RecipeId>>,
    /// What they come to, once all are known.
    shape: OnceLock<Shape>,
    begun: AtomicBool,
    pub(super) progress: watch::Sender<Progress>,
    /// How urgently it shall end.
    stop: watch::Sender<Stop>,
    /// Slots for the jobs of steps that it left undone.
    pub(super) slots: Semaphore,
    /// Steps that were taken for up to date while it went on.
    pub(super) early: Mutex<Vec<Spec>>,
    /// Whether a step has told what else was built.
    also_told: AtomicBool,
}

impl Whole {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            steps: Mutex::default(),
            shape: OnceLock::new(),
            begun: AtomicBool::new(false),
            progress: watch::Sender::new(Progress::default()),
            stop: watch::Sender::new(Stop::Go),
            slots: Semaphore::new(slots as usize),
            early: Mutex::default(),
            also_told: AtomicBool::new(false),
        }
    }

    /// A step belongs to it.
    pub(super) fn add(&self, id: RecipeId) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    fn steps(&self) -> BTreeSet<RecipeId> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the steps come to. No step may be added any more.
    pub(super) fn shape(&self, dss: &Dss) -> &Shape {
        self.shape.get_or_init(|| {
            let steps = self.steps();
            let (project, partition) = (&dss.settings.project, dss.partition.as_deref());
            let all = Spec::of_all(&dss.pipeline, steps.iter().copied(), dss.mode, project, partition);
            // A file with a circle has no run.
            let stages = Graph::build(&dss.pipeline).map(|graph| graph.stage);
            let stage = |id: &RecipeId| stages.as_ref().map_or(0, |stages| stages[*id]);
            let highest = steps.iter().map(stage).max();
            let names = Arc::new(Names::of(&all));
            Shape {
                all: Arc::new(all),
                names,
                last: steps.iter().filter(|id| Some(stage(id)) == highest).copied().collect(),
            }
        })
    }

    /// Asks it to end as urgently as that.
    pub(super) fn ask(&self, stop: Stop) {
        self.stop.send_if_modified(|now| {
            let more = stop > *now;
            *now = stop.max(*now);
            more
        });
    }

    /// Whether the asking step is the one to tell what else was built.
    pub(super) fn tells_also(&self) -> bool {
        !self.also_told.swap(true, Ordering::Relaxed)
    }

    /// The first step that comes has the job looked for or asked for, behind all that goes on.
    pub(super) fn begin(self: &Arc<Self>, dss: &Arc<Dss>, calls: &Calls, log: PathBuf, updates: Updates) {
        if self.begun.swap(true, Ordering::Relaxed) {
            return;
        }
        let spec = Spec::clone(&self.shape(dss).all);
        let course = Course {
            request: dss.request(&spec, &self.steps()),
            left: dss.all_left(),
            own: None,
            dss: Arc::clone(dss),
            calls: calls.clone(),
            spec,
            log,
            updates,
            stop: self.stop.subscribe(),
            whole: Some(Arc::clone(self)),
        };
        let whole = Arc::clone(self);
        let drive = async move {
            let ended = course.run().await;
            whole.progress.send_modify(|progress| progress.over = Some(ended));
        };
        // Without a poller nothing comes of it, as for a single step.
        drop(dss.asks.send(Ask::Drive(drive.boxed())));
    }

    /// The run is over: ends the job where it still goes on, and says which it was.
    pub(super) async fn end(&self, dss: &Dss, calls: &Calls) -> Vec<String> {
        let Progress { job, over, .. } = self.progress.borrow().clone();
        let Some(job) = job.filter(|job| over.is_none() && (!job.joined || dss.abort_joined)) else {
            return Vec::new();
        };
        let project = self.shape(dss).all.project().to_owned();
        let calls = calls.patient(LOOK);
        let page = dss.page(&project, &job.id);
        if let Err(fault) = calls.abort(&project, &job.id).await {
            tracing::warn!("job {} goes on, DSS does not abort it: {fault}; abort it by hand: {page}", job.id);
        }
        let deadline = Instant::now() + dss.settings.grace;
        while Instant::now() < deadline {
            match calls.status(&project, &job.id).await {
                Ok(status) if is_over(status.state()) => return vec![format!("job {} on DSS", job.id)],
                Ok(_) | Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
        tracing::warn!("job {} still ends on DSS: {page}", job.id);
        Vec::new()
    }
}

impl Dss {
    /// All that runs that died left. It stays until it was looked for.
    fn all_left(&self) -> Vec<LeftBehind> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<LeftBehind> = left.values().cloned().collect();
        drop(left);
        // Steps that had the same job left the same.
        all.sort_by(|one, other| one.step.cmp(&other.step));
        let mut seen = BTreeSet::new();
        all.retain(|left| match &left.job {
            Some(job) => seen.insert(job.id.clone()),
            None => seen.insert(left.intent.request.clone()),
        });
        all
    }
}
