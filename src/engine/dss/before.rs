//! What there is on the server before a job is asked for: a job that builds the same and goes on, and all that must not be
//! taken for the new one later. Answers may lack anything: then they are asked for again. Starts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use tokio::time::Instant;

use crate::engine::dss::calls::Backoff;
use crate::engine::dss::fault::Kind;
use crate::engine::dss::lines::{one_of, together};
use crate::engine::dss::spec::{Relation, Spec};
use crate::engine::dss::work::{Course, Go, stopped};
use crate::pipeline::dss_wire::{JobDef, JobItem, is_over};

/// How many lists are asked for at most, where lines of them name no job.
pub(super) const LISTS: usize = 6;
/// How often a job is asked for that lists do not tell enough of.
const TRIES: usize = 5;

/// What there is.
pub(super) struct Before {
    /// A job that builds the same in the same way, and goes on.
    pub(super) running: Option<JobItem>,
    /// Every job that may be the same, whether it goes on or not.
    pub(super) known: BTreeSet<String>,
}

/// What lists told of the jobs that may be the same as one.
#[derive(Default)]
pub(super) struct Alike {
    jobs: BTreeMap<String, JobItem>,
}

impl Alike {
    /// Adds a list. Whether all of its lines that matter name their job.
    pub(super) fn add(&mut self, jobs: &[JobItem], spec: &Spec) -> bool {
        let mut whole = true;
        for job in jobs.iter().filter(|job| spec.may_be(job)) {
            let Some(id) = job.id() else {
                whole = false;
                continue;
            };
            let known = self.jobs.remove(id).unwrap_or_default();
            self.jobs.insert(id.to_owned(), together(job.clone(), known));
        }
        whole
    }

    /// Their ids.
    pub(super) fn ids(&self) -> BTreeSet<String> {
        self.jobs.keys().cloned().collect()
    }
}

impl Course {
    pub(super) async fn before(&mut self) -> Go<Before> {
        let mut alike = Alike::default();
        for _ in 0..LISTS {
            let jobs = self.list().await?;
            if alike.add(&jobs, &self.spec) {
                break;
            }
        }
        let known = alike.ids();
        for (id, job) in alike.jobs {
            if self.is_running(&id, &job).await? {
                return Ok(Before { running: Some(job), known });
            }
        }
        Ok(Before { running: None, known })
    }

    /// Whether a job builds the same and goes on. It is asked for where its line does not tell that.
    async fn is_running(&mut self, id: &str, job: &JobItem) -> Go<bool> {
        if job.over() {
            return Ok(false);
        }
        let mut on = job.tells().then_some(true);
        let relation = |course: &Self| course.dss.relation(&course.spec, id, job);
        for _ in 0..TRIES {
            if relation(self) == Relation::Other || (relation(self) == Relation::Same && on.is_some()) {
                break;
            }
            // It may be one that this process has just asked for.
            let unknown = !self.dss.is_own(id);
            let status = async {
                tokio::select! {
                    status = self.dss.look(self.spec.project(), id) => status,
                    () = self.dss.owned(id), if unknown => None,
                }
            };
            if let Some(Ok(status)) = self.answer(status).await?
                && !status.state().is_empty()
            {
                on = Some(!is_over(status.state()));
            }
        }
        Ok(relation(self) == Relation::Same && on == Some(true))
    }

    /// The jobs of the project as they are now.
    pub(super) async fn list(&mut self) -> Go<Arc<Vec<JobItem>>> {
        let began = Instant::now();
        let mut backoff = Backoff::new();
        let mut said = false;
        loop {
            let fault = match self.answer(self.dss.jobs(self.spec.project())).await? {
                Some(Ok(jobs)) => return Ok(jobs),
                Some(Err(fault)) => fault,
                None => return Err(stopped("the run is over")),
            };
            let passing = fault.passing() || fault.page || fault.kind == Kind::Odd;
            if !passing || began.elapsed() > self.lost_after(&fault) {
                return Err(self.refused(&fault));
            }
            if !said {
                self.say(&format!("{fault}; trying again"));
                said = true;
            }
            self.rest(backoff.next(fault.retry_after)).await?;
        }
    }
}

impl crate::engine::dss::Dss {
    /// What a job of a list is to a request, with all that is known of it.
    pub(super) fn relation(&self, spec: &Spec, id: &str, job: &JobItem) -> Relation {
        match self.own_request(id) {
            Some(request) if request == spec.text() => return Relation::Same,
            Some(_) => return Relation::Other,
            None => {}
        }
        match (spec.relation_to(job), self.learnt(id)) {
            (Relation::Unclear, Some(learnt)) => {
                spec.relation(&job.def.clone().map_or(learnt.clone(), |def| one_of(def, learnt)))
            }
            (relation, _) => relation,
        }
    }

    /// Keeps what a job is asked to do: the next answer may tell less of it.
    pub(super) fn learn(&self, id: &str, def: &JobDef) {
        let mut defs = self.defs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = defs.remove(id).unwrap_or_default();
        defs.insert(id.to_owned(), one_of(def.clone(), known));
    }

    fn learnt(&self, id: &str) -> Option<JobDef> {
        self.defs.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}
