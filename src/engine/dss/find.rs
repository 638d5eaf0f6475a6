//! Looks for a job whose answer was lost: among the jobs that there were not before it was asked for, without trusting any
//! clock. Silence of the server is no answer. Starts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::engine::dss::Dss;
use crate::engine::dss::calls::{Backoff, Calls};
use crate::engine::dss::fault::Fault;
use crate::engine::dss::spec::{Relation, Spec};
use crate::pipeline::dss_wire::JobItem;

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// These jobs, the first that was asked for first; in most cases it is one.
    Jobs(Vec<JobItem>),
    /// None for the whole time, in lists that could be read.
    None,
    /// None for certain, but these might be.
    Unclear(Vec<String>),
    /// The server could not be asked.
    Silence(Fault),
}

/// A search.
pub(super) struct Search<'a> {
    pub(super) dss: &'a Dss,
    pub(super) calls: &'a Calls,
    pub(super) project: &'a str,
    pub(super) spec: &'a Spec,
    /// The jobs that there were before.
    pub(super) known: &'a BTreeSet<String>,
}

impl Search<'_> {
    /// Looks until there is a candidate, or lists have shown none for `grace`. Time without lists does not count.
    pub(super) async fn run(&self, grace: Duration, lost_after: Duration) -> Found {
        let mut counted = Duration::ZERO;
        // When the last list was asked for, if it came: what it shows may be as old as that.
        let mut heard: Option<Instant> = None;
        let mut last_heard = Instant::now();
        let mut backoff = Backoff::new();
        let mut resolved = BTreeMap::new();
        loop {
            let asked = Instant::now();
            match self.dss.jobs(self.project).await {
                None => return Found::Silence(Fault::odd("the run is over")),
                Some(Err(fault))
                    if fault.hopeless() || last_heard.elapsed() > self.calls.peer.patience(&fault, lost_after) =>
                {
                    return Found::Silence(fault);
                }
                Some(Err(fault)) => {
                    heard = None;
                    backoff.wait(fault.retry_after).await;
                }
                Some(Ok(jobs)) => {
                    counted += heard.map_or(Duration::ZERO, |heard| asked - heard);
                    (heard, last_heard) = (Some(asked), Instant::now());
                    let (found, unclear) = self.candidates(&jobs, &mut resolved).await;
                    if !found.is_empty() {
                        return Found::Jobs(found);
                    }
                    // What is not clear yet is given as long again.
                    if counted >= grace && (unclear.is_empty() || counted >= grace * 2) {
                        return if unclear.is_empty() { Found::None } else { Found::Unclear(unclear) };
                    }
                    sleep((grace / 10).clamp(Duration::from_millis(20), Duration::from_secs(1))).await;
                }
            }
        }
    }

    /// New jobs that are the same, and new jobs that may be.
    async fn candidates(
        &self,
        jobs: &[JobItem],
        resolved: &mut BTreeMap<String, Relation>,
    ) -> (Vec<JobItem>, Vec<String>) {
        let (mut found, mut unclear) = (Vec::new(), Vec::new());
        for job in jobs {
            let Some(id) = job.id().filter(|id| !self.known.contains(*id)) else { continue };
            let mut relation = self.dss.relation(self.spec, id, job);
            if relation == Relation::Unclear {
                relation = self.resolve(id, job, resolved).await;
            } else {
                // The next list may tell less of it.
                resolved.insert(id.to_owned(), relation);
            }
            match relation {
                Relation::Same => found.push(job.clone()),
                Relation::Unclear => unclear.push(id.to_owned()),
                Relation::Other => {}
            }
        }
        found.sort_by_key(|job| (initiated(job), job.id().unwrap_or_default().to_owned()));
        (found, unclear)
    }

    /// What a job is whose line in the list does not tell it.
    async fn resolve(&self, id: &str, job: &JobItem, resolved: &mut BTreeMap<String, Relation>) -> Relation {
        if let Some(relation) = resolved.get(id) {
            return *relation;
        }
        let Some(Ok(_)) = self.dss.look(self.project, id).await else { return Relation::Unclear };
        let relation = self.dss.relation(self.spec, id, job);
        if relation != Relation::Unclear {
            resolved.insert(id.to_owned(), relation);
        }
        relation
    }
}

/// When a job was asked for, by the server's clock.
pub(super) fn initiated(job: &JobItem) -> i64 {
    job.def.as_ref().and_then(|def| def.initiated_ms).unwrap_or(i64::MAX)
}
