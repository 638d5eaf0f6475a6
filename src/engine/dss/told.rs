//! What DSS tells of a job, with its activities by what they build: a step finds its own without a walk over those of all steps.
//! Says what was told, not what it means.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::engine::dss::spec::Spec;
use crate::pipeline::dss_wire::{Activity, JobStatus, Target};

/// The status of a job.
#[derive(Default)]
pub(super) struct Told {
    pub(super) status: JobStatus,
    /// The ids of the activities by the items that they name.
    by_item: HashMap<String, Vec<String>>,
    /// The ids of those that failed.
    failed: Vec<String>,
    /// Whether one has begun that does not say what it builds.
    pub(super) mute: bool,
    /// Whether DSS has found out what is to be run, runs it, tells all of it, and nothing of that has gone wrong.
    pub(super) complete: bool,
}

impl Told {
    pub(super) fn new(status: JobStatus) -> Self {
        let mut told = Self::default();
        let (mut all, mut at_work, mut sound) = (0, false, true);
        for (id, activity) in status.activities() {
            for item in activity.targets.iter().filter_map(|item| item.id.as_ref()) {
                told.by_item.entry(item.clone()).or_default().push(id.clone());
            }
            let named = !activity.targets.is_empty() && activity.targets.iter().all(|item| item.id.is_some());
            let state = activity.state.as_deref();
            told.mute |= !named && begun(activity);
            all += 1;
            at_work |= matches!(state, Some("RUNNING" | "DONE"));
            sound &= named && !matches!(state, Some("FAILED" | "ABORTED"));
            if is_failed(activity) {
                told.failed.push(id.clone());
            }
        }
        let counted = status.global.as_ref().and_then(|global| global.total);
        let complete = at_work && sound && counted == Some(all);
        Self { status, complete, ..told }
    }

    /// The activities that build what is asked for, in the order of their ids.
    pub(super) fn of(&self, spec: &Spec) -> Vec<(&String, &Activity)> {
        let names = spec.targets.iter().flat_map(names);
        let ids: BTreeSet<&String> = names.filter_map(|name| self.by_item.get(&name)).flatten().collect();
        ids.into_iter().filter_map(|id| self.activity(id)).collect()
    }

    /// The activities that failed.
    pub(super) fn failed(&self) -> impl Iterator<Item = (&String, &Activity)> {
        self.failed.iter().filter_map(|id| self.activity(id))
    }

    fn activity(&self, id: &str) -> Option<(&String, &Activity)> {
        self.status.base.as_ref()?.activities.as_ref()?.0.get_key_value(id)
    }
}

/// All that a request names, as activities may name it.
pub(super) struct Names(HashSet<String>);

impl Names {
    pub(super) fn of(spec: &Spec) -> Self {
        Self(spec.targets.iter().flat_map(names).collect())
    }

    /// Whether an activity builds any of it.
    pub(super) fn has(&self, activity: &Activity) -> bool {
        activity.targets.iter().any(|item| item.id.as_ref().is_some_and(|id| self.0.contains(id)))
    }
}

/// How activities name a target: by its bare id, or with the project before it.
fn names(target: &Target) -> [String; 2] {
    [target.id.clone(), format!("{}.{}", target.project, target.id)]
}

/// Whether an activity is or was at work.
pub(super) fn begun(activity: &Activity) -> bool {
    activity.state.as_deref() != Some("NOT_STARTED")
}

/// Whether it failed.
pub(super) fn is_failed(activity: &Activity) -> bool {
    activity.state.as_deref() == Some("FAILED")
}
