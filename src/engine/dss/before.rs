//! What there is on the server before a job is asked for: a job that builds the same and goes on, and all that must not be
//! taken for the new one later. Answers may lack anything: then they are asked for again. Starts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use tokio::time::Instant;

use crate::engine::dss::calls::{Backoff, HICCUPS};
use crate::engine::dss::elders::Elders;
use crate::engine::dss::fault::Kind;
use crate::engine::dss::lines::{one_of, together};
use crate::engine::dss::spec::{Relation, Spec};
use crate::engine::dss::work::{Course, Go, failed, stopped};
use crate::event::FailureCode;
use crate::pipeline::dss_wire::{JobDef, JobItem, is_over};

/// How many lists are asked for at most, where lines of them name no job.
pub(super) const LISTS: usize = 6;
/// How often a job is asked for that lists do not tell enough of.
const TRIES: usize = 5;

/// What there is.
pub(super) struct Before {
    /// A job that builds the same and goes on, or some of the same.
    pub(super) running: Option<Running>,
    /// Every job that may be the same, whether it goes on or not.
    pub(super) known: BTreeSet<String>,
    /// All that lists showed.
    pub(super) elders: Elders,
}

/// A job that goes on.
pub(super) struct Running {
    pub(super) job: JobItem,
    /// Whether it builds the same in the same way: one for another. Where it builds only some of it, or in another way, DSS
    /// lets one of the two fail.
    pub(super) same: bool,
}

/// How a job stands to a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It is not in the way.
    Away,
    /// It goes on, and builds some of the same, or in another way.
    Touches,
    /// It goes on, and builds the same in the same way.
    Same,
}

/// What lists told of the jobs that may build some of the same as one.
#[derive(Default)]
pub(super) struct Alike {
    jobs: BTreeMap<String, JobItem>,
    /// Those that the last list named, and its lines that name none.
    last: BTreeSet<String>,
    nameless: Vec<JobItem>,
}

impl Alike {
    /// Adds a list. Whether all of its lines that matter name their job.
    pub(super) fn add(&mut self, jobs: &[JobItem], spec: &Spec) -> bool {
        self.last.clear();
        self.nameless.clear();
        for job in jobs.iter().filter(|job| spec.may_touch(job)) {
            let Some(id) = job.id() else {
                self.nameless.push(job.clone());
                continue;
            };
            let known = self.jobs.remove(id).unwrap_or_default();
            self.jobs.insert(id.to_owned(), together(job.clone(), known));
            self.last.insert(id.to_owned());
        }
        self.nameless.is_empty()
    }

    /// The ids of those that may be the same.
    pub(super) fn ids(&self, spec: &Spec) -> BTreeSet<String> {
        self.jobs.iter().filter(|(_, job)| spec.may_be(job)).map(|(id, _)| id.clone()).collect()
    }

    /// A job that goes on and builds some of the same, and that no list names.
    fn unnamed(&self, spec: &Spec) -> Option<&JobItem> {
        let on = |job: &JobItem| job.tells() && !job.over();
        let touches = |job: &JobItem| job.def.as_ref().map(|def| spec.touches(def)) == Some(Relation::Same);
        let mut lines = self.nameless.iter().filter(|job| on(job) && touches(job));
        // The last list may have left out the name of one that another list named.
        let named = |(id, job): &(&String, &JobItem)| !self.last.contains(*id) && !job.over();
        lines.nth(self.jobs.iter().filter(named).count())
    }
}

impl Course {
    pub(super) async fn before(&mut self) -> Go<Before> {
        let (mut alike, mut elders) = (Alike::default(), Elders::default());
        for _ in 0..LISTS {
            let jobs = self.list().await?;
            self.dss.meet(&jobs);
            elders.add(&jobs);
            if alike.add(&jobs, &self.spec) {
                break;
            }
        }
        if let Some(job) = alike.unnamed(&self.spec) {
            return Err(failed(FailureCode::Refused, unnamed(&self.spec, job)));
        }
        let known = alike.ids(&self.spec);
        let mut running = None;
        for (id, job) in alike.jobs {
            match self.standing(&id, &job).await? {
                Stand::Away => {}
                Stand::Touches => running = running.or(Some(Running { job, same: false })),
                Stand::Same => return Ok(Before { running: Some(Running { job, same: true }), known, elders }),
            }
        }
        Ok(Before { running, known, elders })
    }

    /// How a job stands to what is to be built. It is asked for where its line does not tell that.
    async fn standing(&mut self, id: &str, job: &JobItem) -> Go<Stand> {
        if job.over() {
            return Ok(Stand::Away);
        }
        let mut on = job.tells().then_some(true);
        let relations =
            |course: &Self| (course.dss.relation(&course.spec, id, job), course.dss.touches(&course.spec, id, job));
        for _ in 0..TRIES {
            match relations(self) {
                (_, Relation::Other) => break,
                (Relation::Same | Relation::Other, Relation::Same) if on.is_some() => break,
                _ => {}
            }
            // It may be one that this process has just asked for.
            let unknown = !self.dss.is_own(id);
            let status = async {
                tokio::select! {
                    biased;
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
        Ok(match relations(self) {
            _ if on != Some(true) => Stand::Away,
            (Relation::Same, _) => Stand::Same,
            (_, Relation::Same) => Stand::Touches,
            _ => Stand::Away,
        })
    }

    /// The jobs of the project as they are now.
    pub(super) async fn list(&mut self) -> Go<Arc<Vec<JobItem>>> {
        let began = Instant::now();
        let mut backoff = Backoff::new();
        let (mut said, mut inside) = (false, 0);
        loop {
            let fault = match self.answer(self.dss.jobs(self.spec.project())).await? {
                Some(Ok(jobs)) => return Ok(jobs),
                Some(Err(fault)) => fault,
                None => return Err(stopped("the run is over")),
            };
            inside += u32::from(fault.is_inside());
            let hiccup = fault.is_inside() && inside < HICCUPS;
            let passing = fault.passing() || fault.page || fault.kind == Kind::Odd || hiccup;
            if !passing || began.elapsed() > self.lost_after(&fault) {
                let what = if fault.is_inside() { "the list of jobs: " } else { "" };
                return Err(self.refused_for(what, &fault));
            }
            if !said {
                self.say(&format!("{fault}; trying again"));
                said = true;
            }
            self.rest(backoff.next(fault.retry_after)).await?;
        }
    }
}

/// That a job is in the way that can be neither joined nor waited for.
fn unnamed(spec: &Spec, job: &JobItem) -> String {
    let def = job.def.as_ref();
    let kind = def.and_then(|def| def.kind.as_deref()).unwrap_or("a job");
    let by = def.and_then(|def| def.initiator.as_deref()).map(|by| format!(", started by {by}")).unwrap_or_default();
    let names = spec.names();
    format!(
        "{kind} goes on for {names}{by}, and DSS lists it without an id: it can be neither joined nor waited for; \
         run again when it has ended"
    )
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

    /// Whether a job of a list builds any of the same, with all that is known of it.
    fn touches(&self, spec: &Spec, id: &str, job: &JobItem) -> Relation {
        if let Some(request) = self.own_request(id) {
            let own = serde_json::from_str::<Spec>(&request).unwrap_or_else(|_| spec.clone());
            let common = own.targets.iter().any(|target| spec.targets.contains(target));
            return if common { Relation::Same } else { Relation::Other };
        }
        let def = match (job.def.clone(), self.learnt(id)) {
            (Some(def), Some(learnt)) => Some(one_of(def, learnt)),
            (def, learnt) => def.or(learnt),
        };
        def.map_or(Relation::Unclear, |def| spec.touches(&def))
    }

    /// Keeps what a job is asked to do: the next answer may tell less of it.
    pub(super) fn learn(&self, id: &str, def: &JobDef) {
        let mut defs = self.defs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = defs.remove(id).unwrap_or_default();
        defs.insert(id.to_owned(), one_of(def.clone(), known));
    }

    pub(super) fn learnt(&self, id: &str) -> Option<JobDef> {
        self.defs.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}
