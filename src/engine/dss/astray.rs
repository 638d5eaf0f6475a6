//! Jobs that went astray, or that others are taken for: those of runs before are accounted for, and none of them is a job whose
//! answer was lost; one that DSS does not know for a while may come back; one that "already being built" names is the one that
//! is looked for. Asks for no job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::job::JobId;
use crate::base::text::duration;
use crate::engine::dss::Dss;
use crate::engine::dss::before::Running;
use crate::engine::dss::fault::Kind;
use crate::engine::dss::spec::{Relation, Spec};
use crate::engine::dss::who::Whose;
use crate::engine::dss::work::{Course, Go, Job, failed};
use crate::event::FailureCode;
use crate::pipeline::dss_wire::{JobItem, is_over};
use crate::pipeline::raw_engine::OnRunning;

/// What is known of such jobs.
#[derive(Default)]
pub(super) struct Astray {
    /// Jobs that runs before came to, and nobody looks for.
    accounted: BTreeSet<String>,
    /// Jobs that DSS does not know any more, and what they were asked for as.
    vanished: BTreeMap<String, String>,
}

impl Dss {
    fn astray(&self) -> MutexGuard<'_, Astray> {
        self.astray.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs before came to these jobs. What they left is looked for by itself.
    pub(super) fn account(&self, mut accepted: Vec<String>) {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let ids: BTreeSet<&String> = left.values().filter_map(|left| Some(&left.job.as_ref()?.id)).collect();
        accepted.retain(|job| !ids.contains(job));
        drop(left);
        self.astray().accounted.extend(accepted);
    }

    /// A job does not count, whatever becomes of it, unless it vanished and turns up.
    pub(super) fn does_not_count(&self, job: &str) {
        let mut astray = self.astray();
        if !astray.vanished.contains_key(job) {
            astray.accounted.insert(job.to_owned());
        }
    }

    /// Whether a job is one of this run or of one before, and so none whose answer was lost.
    pub(super) fn is_accounted_for(&self, job: &str) -> bool {
        self.is_own(job) || self.astray().accounted.contains(job)
    }

    /// DSS does not know a job any more: should it turn up beside another one, one of them goes.
    pub(super) fn vanished(&self, job: &str, spec: &Spec) {
        self.is_gone(job);
        self.own.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
        self.astray().vanished.insert(job.to_owned(), spec.text());
    }

    /// A run before may have asked for this, and nothing was seen of its job: as if it had vanished.
    pub(super) fn unseen(&self, run: &JobId, spec: &Spec) {
        self.astray().vanished.insert(run.to_string(), spec.text());
    }

    /// Whether a job for this vanished, or was never seen.
    pub(super) fn has_vanished(&self, spec: &Spec) -> bool {
        self.astray().vanished.values().any(|request| *request == spec.text())
    }
}

impl Course {
    /// DSS does not know a job, and no list shows it, as may be for a moment when it starts again: whether it comes back within
    /// `submit_grace` in which DSS answers.
    pub(super) async fn comes_back(&mut self, job: &str) -> Go<bool> {
        let grace = self.dss.settings.submit_grace;
        let limit = self.dss.settings.lost_after.max(grace * 4);
        let (began, mut counted, mut heard) = (Instant::now(), Duration::ZERO, None);
        let mut told = false;
        loop {
            let asked = Instant::now();
            let jobs = self.answer(self.dss.jobs(self.spec.project())).await?;
            let status = self.answer(self.dss.look(self.spec.project(), job)).await?;
            match (jobs, status) {
                (None, _) | (_, None) => return Ok(false),
                (Some(Ok(jobs)), _) if jobs.iter().any(|line| line.id() == Some(job)) => return Ok(true),
                (_, Some(Ok(status))) => return Ok(status.removed != Some(true)),
                (Some(Ok(_)), Some(Err(fault))) if fault.kind == Kind::NotFound && !fault.page => {
                    counted += heard.map_or(Duration::ZERO, |heard| asked - heard);
                    heard = Some(asked);
                }
                _ => heard = None,
            }
            if counted >= grace || began.elapsed() > limit {
                return Ok(false);
            }
            if !std::mem::replace(&mut told, true) {
                self.tell(&format!(
                    "DSS does not know job {job} any more: it may come back within {}",
                    duration(grace)
                ));
            }
            self.rest(Instant::now() + (grace / 10).clamp(Duration::from_millis(20), Duration::from_secs(1))).await?;
        }
    }

    /// "Already being built": the job that is named so is taken where an answer was `lost` and it is what came of that, joined
    /// or waited for where it goes on.
    pub(super) async fn in_the_way(&mut self, why: &str, lost: Option<&BTreeSet<String>>) -> Go<Option<Job>> {
        for id in ids_in(why) {
            let Some(Ok(status)) = self.answer(self.dss.look(self.spec.project(), &id)).await? else { continue };
            if status.removed == Some(true) {
                continue;
            }
            let (def, state) = (status.definition().cloned(), Some(status.state().to_owned()));
            let job = JobItem { def, state, job_id: Some(id.clone()), ..JobItem::default() };
            let same = self.dss.relation(&self.spec, &id, &job) == Relation::Same;
            let lost = lost.filter(|known| same && !known.contains(&id) && !self.dss.is_accounted_for(&id));
            if let Some(known) = lost
                && self.answer(self.dss.whose(&job)).await? != Whose::Foreign
            {
                self.tell(&format!("{why}: that is the job whose answer was lost"));
                let job = Job { id, joined: false, named: false, twice: Some(known.clone()) };
                self.accepted(&job).await;
                return Ok(Some(job));
            }
            if !is_over(status.state()) {
                return self.meet_running(&Running { job, same }).await;
            }
        }
        Ok(None)
    }

    /// A job that goes on, and builds the same or some of it: it is joined, or its end waited for.
    pub(super) async fn meet_running(&mut self, Running { job, same }: &Running) -> Go<Option<Job>> {
        let id = job.id().unwrap_or_default().to_owned();
        if *same {
            self.doubt(&id);
        }
        let ours = self.answer(self.dss.whose(job)).await? == Whose::Ours;
        // What builds it in another way, or only some of it, cannot be taken for it.
        let policy = match self.dss.settings.on_running {
            Some(OnRunning::Fail) => OnRunning::Fail,
            Some(OnRunning::Join) if *same => OnRunning::Join,
            None if *same && ours => OnRunning::Join,
            Some(OnRunning::Join | OnRunning::Wait) | None => OnRunning::Wait,
        };
        let by = self.dss.started_by(job);
        match policy {
            OnRunning::Fail => {
                let how = if *same { "" } else { ", in another way" };
                let message = format!("job {id} builds it already{how}{by} (on_running = \"fail\")");
                Err(failed(FailureCode::Refused, message))
            }
            OnRunning::Join => {
                let job = Job { joined: !self.dss.is_own(&id), id, named: false, twice: None };
                self.accepted(&job).await;
                Ok(Some(job))
            }
            OnRunning::Wait => {
                let how = if *same { "builds the same" } else { "builds it in another way" };
                self.wait_for(&id, &format!("{how}{by}")).await?;
                Ok(None)
            }
        }
    }
}

/// What may be ids of jobs in a message: they hold the time at which the job was asked for.
fn ids_in(message: &str) -> Vec<String> {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let words = message.split(|c: char| !part(c)).map(|word| word.trim_matches('.'));
    let dated = |word: &&str| word.chars().filter(char::is_ascii_digit).count() >= 8;
    words.filter(dated).take(3).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_jobs_in_a_message_are_found() {
        let id = "Build_a_NP_2026-11-24T02-00-00.000";
        for message in [
            format!("Dataset P.a is already being built by job {id}."),
            format!("already being built ('{id}', 3 of 10)"),
        ] {
            assert_eq!(ids_in(&message), [id], "{message}");
        }
        assert!(ids_in("Dataset P.a is already being built by another job").is_empty());
    }
}
