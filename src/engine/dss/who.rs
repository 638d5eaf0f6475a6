//! Who started a job: we, somebody else, or nobody says. DSS calls us by the login of a personal key or by the label of
//! another key, and may not tell which: the jobs that we started for certain show it too. Starts and ends nothing.

use std::sync::PoisonError;
use std::time::Duration;

use crate::engine::dss::Dss;
use crate::engine::dss::spec::Spec;
use crate::pipeline::dss_wire::JobItem;

/// How long it is tried to learn who we are: nothing may wait for it for long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who started a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The same identity as ours.
    Ours,
    /// Nothing tells.
    Unknown,
    /// Another identity, as far as names tell.
    Foreign,
}

/// A job of this process.
pub(super) struct Own {
    /// What was asked for.
    pub(super) request: String,
    /// Whether DSS named it in the answer to our request: who started it is who we are.
    pub(super) certain: bool,
}

impl Dss {
    pub(super) fn is_own(&self, job: &str) -> bool {
        self.own_request(job).is_some()
    }

    /// What a job of this process was asked for as.
    pub(super) fn own_request(&self, job: &str) -> Option<String> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.get(job).map(|own| own.request.clone())
    }

    /// Keeps that a job is one of this process.
    pub(super) fn remember(&self, job: &str, spec: &Spec, certain: bool) {
        let own = Own { request: spec.text(), certain };
        self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(job.to_owned(), own);
        self.owns.notify_waiters();
    }

    /// Comes back once a job turns out to be one that this process asked for.
    pub(super) async fn owned(&self, job: &str) {
        loop {
            let more = self.owns.notified();
            if self.is_own(job) {
                return;
            }
            more.await;
        }
    }

    /// Learns from a list by which name DSS calls us.
    pub(super) fn meet(&self, jobs: &[JobItem]) {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let certain = |job: &&JobItem| job.id().and_then(|id| own.get(id)).is_some_and(|own| own.certain);
        let names: Vec<String> = jobs.iter().filter(certain).filter_map(|job| Some(named(job)?.to_owned())).collect();
        drop(own);
        self.names.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    /// Who started a job, as far as DSS tells it.
    pub(super) fn by(&self, job: &JobItem) -> Option<String> {
        named(job).map(str::to_owned).or_else(|| self.learnt(job.id()?)?.initiator)
    }

    /// For people: who started a job, and who we are to DSS, where it does not count as ours.
    pub(super) fn started_by(&self, job: &JobItem) -> String {
        let me = self.identity.get().and_then(Option::as_deref);
        match (self.by(job), me) {
            (Some(by), Some(me)) => format!(" (started by {by}; to DSS we are {me})"),
            (Some(by), None) => format!(" (started by {by})"),
            (None, _) => String::new(),
        }
    }

    /// Whether we started a job.
    pub(super) async fn whose(&self, job: &JobItem) -> Whose {
        if job.id().is_some_and(|id| self.is_own(id)) {
            return Whose::Ours;
        }
        let Some(by) = self.by(job) else { return Whose::Unknown };
        if self.names.lock().unwrap_or_else(PoisonError::into_inner).contains(&by) {
            return Whose::Ours;
        }
        let Some(me) = self.identity().await else { return Whose::Unknown };
        if by == me || by.ends_with(&format!("({me})")) { Whose::Ours } else { Whose::Foreign }
    }

    /// Who we are to DSS. What it does not answer is asked again another time.
    async fn identity(&self) -> Option<&str> {
        let calls = self.calls().ok()?.patient(PATIENCE);
        let ask = || async {
            match calls.auth_info().await {
                Ok(info) => info.identity.map(Some).ok_or(()),
                Err(fault) if fault.passing() => Err(()),
                // This server does not say it.
                Err(_) => Ok(None),
            }
        };
        self.identity.get_or_try_init(ask).await.ok()?.as_deref()
    }
}

/// The name under which someone started a job.
fn named(job: &JobItem) -> Option<&str> {
    let login = job.person.as_ref().and_then(|person| person.login.as_deref());
    let by = job.def.as_ref().and_then(|def| def.initiator.as_deref()).or(login);
    by.filter(|by| !by.is_empty())
}
