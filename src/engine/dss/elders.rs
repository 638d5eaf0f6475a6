//! Whether a list of jobs would show one that was asked for: servers may cut their lists, at either end. What lists showed
//! before the request is held against what they show now, and no clock. Asks nobody.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use crate::engine::dss::Dss;
use crate::event::Intent;
use crate::pipeline::dss_wire::JobItem;

/// How many of the jobs that lists showed are kept with a request: the newest of them is in every list that reaches back, and
/// it may be deleted.
const KEPT: usize = 10;
/// How many jobs that were started later are held against lists.
const WITNESSES: usize = 20;

/// What lists showed before a job was asked for: a later list that shows none of it may not reach back as far.
#[derive(Clone, Default)]
pub(super) struct Elders {
    /// Each job, with when it was asked for by the server's clock, as far as that is told, and how far it stood from an end of
    /// its list.
    ids: BTreeMap<String, (Option<i64>, usize)>,
    /// How many jobs the longest of them had.
    most: usize,
}

impl Elders {
    /// What is known of the lists before a request that another run made; nothing, where it was not kept.
    pub(super) fn of(intent: &Intent) -> Self {
        let known = intent.known.iter().filter(|_| !intent.elders.is_empty());
        let ids = intent.elders.iter().chain(known).map(|id| (id.clone(), (None, 0)));
        Self { ids: ids.collect(), most: intent.listed as usize }
    }

    pub(super) fn add(&mut self, jobs: &[JobItem]) {
        for (place, job) in jobs.iter().enumerate() {
            let Some(id) = job.id() else { continue };
            let initiated = job.def.as_ref().and_then(|def| def.initiated_ms);
            self.ids.insert(id.to_owned(), (initiated, place.min(jobs.len() - 1 - place)));
        }
        self.most = self.most.max(jobs.len());
    }

    /// How many jobs the longest list had.
    pub(super) fn listed(&self) -> u32 {
        u32::try_from(self.most).unwrap_or(u32::MAX)
    }

    /// The newest of them. Where nothing tells which these are, they stand at one of the ends of lists.
    pub(super) fn newest(&self) -> Vec<String> {
        let mut all: Vec<_> = self.ids.iter().collect();
        all.sort_by_key(|(id, (initiated, place))| (Reverse(*initiated), *place, *id));
        all.into_iter().take(KEPT).map(|(id, _)| id.clone()).collect()
    }

    /// Whether a list would show a job that is newer than these. One that is shorter than another was is not cut off.
    pub(super) fn reached(&self, jobs: &[JobItem]) -> bool {
        self.ids.is_empty() || shows(jobs, |id| self.ids.contains_key(id)) || !jobs.is_empty() && jobs.len() < self.most
    }
}

/// Whether a list names such a job.
fn shows(jobs: &[JobItem], which: impl Fn(&str) -> bool) -> bool {
    jobs.iter().filter_map(JobItem::id).any(which)
}

/// A job that is there for certain, and what lists showed before it was asked for. A list that shows some of that and not the
/// job ends before what is new.
#[derive(Clone)]
pub(super) struct Witness {
    id: String,
    elders: BTreeSet<String>,
}

impl Witness {
    /// Of a job that was accepted for a request; none where nothing is known that is older.
    pub(super) fn of(id: &str, intent: &Intent) -> Option<Self> {
        let elders: BTreeSet<String> = intent.elders.iter().filter(|elder| *elder != id).cloned().collect();
        (!elders.is_empty()).then(|| Self { id: id.to_owned(), elders })
    }

    /// Whether a list leaves it out, which no list has named (`named`).
    pub(super) fn is_left_out(&self, jobs: &[JobItem], named: &BTreeSet<String>) -> bool {
        !named.contains(&self.id) && shows(jobs, |id| self.elders.contains(id))
    }
}

impl Dss {
    /// Keeps a job that lists have to show: the last few.
    pub(super) fn testify(&self, witness: Option<Witness>) {
        let mut all = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(witness);
        let over = all.len().saturating_sub(WITNESSES);
        all.drain(..over);
    }

    /// DSS does not know a job any more.
    pub(super) fn is_gone(&self, job: &str) {
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).retain(|witness| witness.id != job);
    }

    /// The jobs that lists have to show now.
    pub(super) fn witnesses(&self) -> Vec<Witness> {
        self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether one of the jobs that were there is left out of a list, and still known to DSS.
    pub(super) fn is_cut(&self, there: &[Witness], jobs: &[JobItem], named: &BTreeSet<String>) -> bool {
        let mut left_out = there.iter().filter(|witness| witness.is_left_out(jobs, named)).peekable();
        if left_out.peek().is_none() {
            return false;
        }
        let now = self.witnesses();
        left_out.any(|witness| now.iter().any(|other| other.id == witness.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ids: &[(&str, Option<i64>)]) -> Vec<JobItem> {
        let line =
            |(id, at): &(&str, Option<i64>)| serde_json::json!({ "jobId": id, "def": { "initiationTimestamp": at } });
        serde_json::from_value(ids.iter().map(line).collect()).unwrap()
    }

    #[test]
    fn the_newest_are_kept_by_what_the_server_tells_else_from_both_ends() {
        let ids: Vec<String> = (0..40).map(|i| format!("j{i:02}")).collect();
        let told: Vec<_> = ids.iter().enumerate().map(|(i, id)| (id.as_str(), Some((i as i64 * 7) % 40))).collect();
        let mut elders = Elders::default();
        elders.add(&list(&told));
        let mut newest: Vec<_> = told.clone();
        newest.sort_by_key(|(_, at)| Reverse(*at));
        assert_eq!(elders.newest(), newest[..KEPT].iter().map(|(id, _)| *id).collect::<Vec<_>>());
        let bare: Vec<_> = ids.iter().map(|id| (id.as_str(), None)).collect();
        let mut elders = Elders::default();
        elders.add(&list(&bare));
        let kept = elders.newest();
        assert_eq!(kept, ["j00", "j39", "j01", "j38", "j02", "j37", "j03", "j36", "j04", "j35"]);
        let intent = Intent { elders: kept, listed: elders.listed(), ..Intent::default() };
        let again = Elders::of(&intent);
        for elders in [elders, again] {
            assert!(elders.reached(&list(&[("x", None), ("j39", None)])), "it shows one that was there");
            assert!(elders.reached(&list(&[("x", None)])), "it is shorter than lists were");
            let others: Vec<String> = (0..40).map(|i| format!("x{i}")).collect();
            assert!(!elders.reached(&list(&others.iter().map(|id| (id.as_str(), None)).collect::<Vec<_>>())));
            assert!(!elders.reached(&[]));
        }
    }

    #[test]
    fn a_list_that_shows_what_is_older_and_not_the_job_is_cut_at_its_new_end() {
        let intent = |elders: &[&str]| Intent {
            elders: elders.iter().map(|id| (*id).to_owned()).collect(),
            ..Intent::default()
        };
        let witness = Witness::of("new", &intent(&["old", "older"])).unwrap();
        let none = BTreeSet::new();
        assert!(witness.is_left_out(&list(&[("older", None)]), &none));
        assert!(!witness.is_left_out(&list(&[("older", None)]), &BTreeSet::from(["new".to_owned()])), "one showed it");
        assert!(!witness.is_left_out(&list(&[("newest", None)]), &none), "it does not reach back as far");
        assert!(Witness::of("new", &intent(&[])).is_none() && Witness::of("new", &intent(&["new"])).is_none());
    }

    #[test]
    fn where_nothing_was_kept_of_lists_they_are_believed() {
        let intent: Intent = serde_json::from_str(r#"{"request":"r","known":["k"]}"#).unwrap();
        assert!(Elders::of(&intent).reached(&list(&[("x", None)])));
    }
}
