//! A job that was asked for a second time, since nothing was seen of the first request: should both turn up, or one of
//! somebody else be taken and our own turn up behind it, one of them goes and it is told. Asks for no job.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use crate::engine::api::LeftBehind;
use crate::engine::dss::Dss;
use crate::engine::dss::calls::Calls;
use crate::engine::dss::elders::Elders;
use crate::engine::dss::find::{Found, Search};
use crate::engine::dss::spec::{Relation, Spec};
use crate::engine::dss::who::Whose;
use crate::engine::dss::work::{Course, Job};
use crate::pipeline::dss_wire::JobItem;

/// How long the look at the end of a run may take for each call.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits before: with the looks that came before it, it would be one too many in a second.
const APART: Duration = Duration::from_secs(1);

/// A step whose request may have come through twice.
pub(super) struct Twice {
    spec: Spec,
    /// The jobs that are accounted for.
    known: BTreeSet<String>,
    /// The job that counts.
    kept: String,
}

impl Course {
    /// Looks whether another job of ours had come of it after all: then one of them is aborted and told.
    pub(super) async fn double(&self, job: &Job, over: bool) -> Option<Job> {
        let mut known = job.twice.clone()?;
        known.insert(job.id.clone());
        let search = Search {
            dss: &self.dss,
            calls: &self.calls,
            project: self.spec.project(),
            spec: &self.spec,
            known: &known,
            elders: &Elders::default(),
            later: false,
        };
        let Found::Jobs(found) = search.run(Duration::ZERO, Duration::ZERO).await else { return None };
        let ours = self.dss.look(self.spec.project(), &job.id).await.and_then(Result::ok);
        let ours = ours.as_ref().and_then(|status| status.definition());
        let mut other = None;
        for found in found {
            // What somebody else started, or may have, is not for us to abort.
            let by = self.dss.by(&found);
            let is_alike = !job.joined && by.is_some() && by == ours.and_then(|def| def.initiator.clone());
            if is_alike || self.dss.whose(&found).await == Whose::Ours {
                other = Some(found);
                break;
            }
        }
        let other = other?;
        let other_id = other.id()?.to_owned();
        let ours = ours.and_then(|def| def.initiated_ms);
        let theirs = other.def.as_ref().and_then(|def| def.initiated_ms);
        let keep_other = !over && !job.joined && theirs.zip(ours).is_none_or(|(theirs, ours)| theirs <= ours);
        let (keep, end) = if keep_other { (other_id, job.id.clone()) } else { (job.id.clone(), other_id) };
        let ended = !keep_other && other.over();
        self.tell(&both(&end, &keep, ended));
        if !ended {
            let calls = self.calls.patient(self.dss.settings.grace);
            if let Err(fault) = calls.abort(self.spec.project(), &end).await {
                let page = self.dss.page(self.spec.project(), &end);
                self.tell(&format!("job {end} could not be aborted, end it on its page: {page} ({fault})"));
            }
        }
        known.insert(end);
        let kept = Job { id: keep, joined: job.joined, named: false, twice: Some(known) };
        if kept.id != job.id {
            self.accepted(&kept).await;
        }
        Some(kept)
    }

    /// This job is the one that counts for the step, whichever was taken for it before.
    pub(super) fn counts(&self, job: &Job) {
        let mut all = self.dss.twice.lock().unwrap_or_else(PoisonError::into_inner);
        for twice in all.iter_mut().filter(|twice| twice.spec.text() == self.spec.text()) {
            twice.known.insert(job.id.clone());
            twice.kept.clone_from(&job.id);
        }
    }

    /// The step is over, and another job of it may still turn up: the end of the run looks once more.
    pub(super) fn may_turn_up(&self, job: &Job) {
        let Some(mut known) = job.twice.clone() else { return };
        known.insert(job.id.clone());
        let twice = Twice { spec: self.spec.clone(), known, kept: job.id.clone() };
        self.dss.twice.lock().unwrap_or_else(PoisonError::into_inner).push(twice);
    }
}

impl Course {
    /// Tells of a job that goes on where it may be one that a run before had asked for, and whose answer was lost.
    pub(super) fn doubt(&self, job: &str) {
        let doubts = self.dss.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        let may_be = |left: &&LeftBehind| {
            let same = left.intent.request == self.spec.text() && !left.intent.known.iter().any(|known| known == job);
            same && left.job.as_ref().is_none_or(|kept| kept.id != job)
        };
        if let Some(LeftBehind { run, job: Some(kept), .. }) = doubts.iter().find(may_be) {
            let second = &kept.id;
            self.tell(&format!(
                "job {job} may be of the first request of run {run}, which took job {second} of a second one"
            ));
        }
    }
}

/// That there are two jobs for one step, and what becomes of them.
fn both(end: &str, keep: &str, ended: bool) -> String {
    match ended {
        true => format!("the first request had come through too: job {end} has ended beside job {keep}, which counts"),
        false => format!("the first request had come through too: job {end} is aborted, job {keep} counts"),
    }
}

impl Dss {
    /// The run is over: looks once more for jobs of requests whose answers were lost, ends them and tells them.
    pub(super) async fn turned_up(&self, calls: &Calls) {
        let twice = std::mem::take(&mut *self.twice.lock().unwrap_or_else(PoisonError::into_inner));
        if twice.is_empty() {
            return;
        }
        tokio::time::sleep(APART).await;
        let calls = calls.patient(PATIENCE);
        let projects: BTreeSet<String> = twice.iter().map(|twice| twice.spec.project().to_owned()).collect();
        for project in projects {
            let jobs = calls.jobs(&project, None).await;
            for twice in twice.iter().filter(|twice| twice.spec.project() == project) {
                match &jobs {
                    Ok(jobs) => self.turned_up_in(&calls, twice, jobs).await,
                    Err(fault) => {
                        tracing::warn!("whether another job goes on beside {} is not known: {fault}", twice.kept);
                    }
                }
            }
        }
    }

    async fn turned_up_in(&self, calls: &Calls, twice: &Twice, jobs: &[JobItem]) {
        for job in jobs {
            self.turned_up_as(calls, twice, job).await;
        }
        // The job that counts is there for certain: lists that lack it may lack another one.
        if !jobs.iter().any(|job| job.id() == Some(&twice.kept)) {
            let page = self.jobs_page(twice.spec.project());
            let (what, kept) = (twice.spec.text(), &twice.kept);
            tracing::warn!("whether the first request for {what} made a job beside {kept} is not known: see {page}");
        }
    }

    async fn turned_up_as(&self, calls: &Calls, twice: &Twice, job: &JobItem) {
        let Some(id) = job.id().filter(|id| !twice.known.contains(*id) && !self.is_own(id)) else { return };
        if self.relation(&twice.spec, id, job) != Relation::Same {
            return;
        }
        let (project, kept) = (twice.spec.project(), &twice.kept);
        match self.whose(job).await {
            Whose::Ours => tracing::warn!("{}", both(id, kept, job.over())),
            Whose::Unknown => {
                let page = self.page(project, id);
                tracing::warn!(
                    "job {id} may be of the first request, beside job {kept}, or of somebody else: it is left alone, see {page}"
                );
                return;
            }
            Whose::Foreign => return,
        }
        if job.over() {
            return;
        }
        if let Err(fault) = calls.abort(project, id).await {
            tracing::warn!("job {id} could not be aborted, end it on its page: {} ({fault})", self.page(project, id));
        }
    }
}
