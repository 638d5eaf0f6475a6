//! Looks for a job whose answer was lost: among the jobs that there were not before it was asked for, without trusting any
//! clock. Silence of the server is no answer, nor is a line that names no job. Starts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::engine::dss::Dss;
use crate::engine::dss::before::LISTS;
use crate::engine::dss::calls::{Backoff, Calls, HICCUPS};
use crate::engine::dss::elders::Elders;
use crate::engine::dss::fault::{Fault, Kind};
use crate::engine::dss::lines::together;
use crate::engine::dss::spec::{Relation, Spec};
use crate::engine::dss::who::Whose;
use crate::pipeline::dss_wire::JobItem;

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// These jobs of ours, the first that was asked for first; in most cases it is one.
    Jobs(Vec<JobItem>),
    /// None of ours for the whole time; but these do the same, and somebody else started them.
    Foreign(Vec<JobItem>),
    /// None for the whole time, in lists that could be read.
    None,
    /// None for certain, but these might be: in words for people.
    Unclear(Vec<String>),
    /// None, in lists that may not reach back to the time at which it was asked for.
    Short,
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
    /// What lists showed before: one that shows none of that is no sign that there is no other job.
    pub(super) elders: &'a Elders,
    /// Whether another run had asked for the job: what has ended since, and has no name, is in nobody's way.
    pub(super) later: bool,
}

/// What one list shows, and those before it.
#[derive(Default)]
struct Seen {
    /// New jobs that are the same, and who started them.
    found: Vec<(JobItem, Whose)>,
    /// New jobs that may be the same.
    unclear: Vec<String>,
    /// Lines that may be it and name no job: there are more of them than jobs that this list does not name.
    nameless: Vec<String>,
}

/// What lists have shown so far.
#[derive(Default)]
struct Memory {
    /// What jobs are whose lines do not tell it.
    resolved: BTreeMap<String, Relation>,
    /// Every job that a list has named.
    named: BTreeSet<String>,
    /// Jobs of which it is not known what they are, with all that lists told of them: the next list may not name them.
    open: BTreeMap<String, JobItem>,
    /// How many lists there were.
    lists: usize,
}

impl Search<'_> {
    /// Looks until there is a candidate, or lists have shown none for `grace`. Time without lists does not count; of the time
    /// between two of them in which others failed, a part does.
    pub(super) async fn run(&self, grace: Duration, lost_after: Duration) -> Found {
        // The time that lists tell of, and as much of it as they reach back far enough.
        let (mut told, mut counted) = (Duration::ZERO, Duration::ZERO);
        // When the last list was asked for that came: what it shows may be as old as that.
        let mut heard: Option<Instant> = None;
        let (mut failed, mut refusals) = (false, 0);
        let (began, mut last_heard) = (Instant::now(), Instant::now());
        let limit = lost_after.max(grace * 4);
        let mut backoff = Backoff::new();
        let mut memory = Memory { named: self.known.clone(), ..Memory::default() };
        let there = self.dss.witnesses();
        // What is there by the time at which there was time enough: jobs of other steps that came meanwhile, too.
        let mut meanwhile = None;
        loop {
            let asked = Instant::now();
            match self.dss.jobs(self.project).await {
                None => return Found::Silence(Fault::odd("the run is over")),
                Some(Err(fault))
                    // One sign-on page or refusal between good answers is none yet.
                    if fault.hopeless() && refusals >= HICCUPS
                        || last_heard.elapsed() > self.calls.peer.patience(&fault, lost_after)
                        || began.elapsed() > limit =>
                {
                    return Found::Silence(fault);
                }
                Some(Err(fault)) => {
                    (failed, refusals) = (true, refusals + u32::from(fault.hopeless()));
                    backoff.wait(fault.retry_after).await;
                }
                Some(Ok(jobs)) => {
                    let since = heard.map_or(Duration::ZERO, |heard| asked - heard);
                    let since = if failed { since.min(grace / 4) } else { since };
                    told += since;
                    (heard, last_heard, failed, refusals) = (Some(asked), Instant::now(), false, 0);
                    backoff = Backoff::new();
                    self.dss.meet(&jobs);
                    let seen = self.look(&jobs, &mut memory).await;
                    let whole = self.elders.reached(&jobs) && !self.dss.is_cut(&there, &jobs, &memory.named);
                    counted += if whole { since } else { Duration::ZERO };
                    // What is not clear yet is given as long again, and some lists at least.
                    let enough = !self.later || memory.lists >= LISTS;
                    let late = counted >= grace && {
                        let now = meanwhile.get_or_insert_with(|| self.dss.witnesses());
                        !self.dss.is_cut(now, &jobs, &memory.named)
                    };
                    let late = late && (seen.is_clear() || counted >= grace * 2 && enough);
                    let short = told >= grace * 2;
                    match seen.ours() {
                        Some(ours) => return Found::Jobs(ours),
                        None if late || short && !seen.is_clear() && enough => {
                            return self.or_running(seen.at_last(), grace, &mut memory).await;
                        }
                        None if short && seen.is_clear() => {
                            return self.or_running(Found::Short, grace, &mut memory).await;
                        }
                        None => {}
                    }
                    sleep((grace / 10).clamp(Duration::from_millis(20), Duration::from_secs(1))).await;
                }
            }
        }
    }

    /// Where lists of all jobs show none, those of the running ones may: what they show counts, what they lack does not.
    async fn or_running(&self, found: Found, grace: Duration, memory: &mut Memory) -> Found {
        if grace.is_zero() || !matches!(found, Found::None | Found::Short) {
            return found;
        }
        for everywhere in [false, true] {
            let running = self.running(everywhere).await;
            let seen = self.look(&running, memory).await;
            match (seen.ours(), seen.is_clear() && seen.found.is_empty()) {
                (Some(ours), _) => return Found::Jobs(ours),
                (None, false) => return seen.at_last(),
                (None, true) => {}
            }
        }
        found
    }

    /// The running jobs of the project, as one list of them tells; none where it cannot be read.
    async fn running(&self, everywhere: bool) -> Vec<JobItem> {
        let calls = self.calls.patient(Duration::ZERO);
        let mut backoff = Backoff::new();
        for _ in 0..HICCUPS {
            let Some(at) = self.dss.slot().await else { break };
            sleep_until(at).await;
            let jobs = if everywhere { calls.running_everywhere().await } else { calls.running(self.project).await };
            match jobs {
                Ok(mut jobs) => {
                    let of_def = |job: &JobItem| job.def.as_ref()?.project.clone();
                    let told = |job: &JobItem| job.project_key.clone().or_else(|| of_def(job));
                    let here = |job: &JobItem| told(job).map_or(!everywhere, |project| project == self.project);
                    jobs.retain(|job| job.id().is_some() && here(job));
                    return jobs;
                }
                Err(fault) if fault.passing() => backoff.wait(fault.retry_after).await,
                Err(_) => break,
            }
        }
        Vec::new()
    }

    async fn look(&self, jobs: &[JobItem], memory: &mut Memory) -> Seen {
        let mut seen = Seen { nameless: self.nameless(jobs, memory), ..Seen::default() };
        let fits = |id: &str| !self.known.contains(id) && !self.dss.is_accounted_for(id);
        let mut open = std::mem::take(&mut memory.open);
        let named = jobs.iter().filter_map(|job| Some((job.id().filter(|id| fits(id))?, job)));
        let mut lines: BTreeMap<String, JobItem> = named
            .map(|(id, job)| (id.to_owned(), together(job.clone(), open.remove(id).unwrap_or_default())))
            .collect();
        open.retain(|id, _| fits(id));
        let absent: BTreeSet<String> = open.keys().cloned().collect();
        lines.extend(open);
        for (id, job) in lines {
            let mut relation = self.dss.relation(self.spec, &id, &job);
            if relation == Relation::Unclear {
                relation = self.resolve(&id, &job, absent.contains(&id), memory).await;
            } else {
                // The next list may tell less of it.
                memory.resolved.insert(id.clone(), relation);
            }
            match relation {
                Relation::Same => {
                    let whose = self.dss.whose(&job).await;
                    seen.found.push((job, whose));
                }
                Relation::Unclear => {
                    memory.open.insert(id.clone(), job);
                    seen.unclear.push(id);
                }
                Relation::Other => {}
            }
        }
        seen.found.sort_by_key(|(job, _)| (initiated(job), job.id().unwrap_or_default().to_owned()));
        seen
    }

    /// Lines that may be the job and name none, unless each may be a job that another list named.
    fn nameless(&self, jobs: &[JobItem], memory: &mut Memory) -> Vec<String> {
        let here: BTreeSet<&str> = jobs.iter().filter_map(JobItem::id).collect();
        let absent = memory.named.iter().filter(|id| !here.contains(id.as_str())).count();
        memory.named.extend(here.into_iter().map(str::to_owned));
        memory.lists += 1;
        // Several lists would have named it, were it a job that has an id.
        let past = |job: &JobItem| self.later && memory.lists >= LISTS && job.over();
        let may_be = |job: &&JobItem| job.id().is_none() && self.spec.may_be(job) && !past(job);
        let lines: Vec<String> = jobs.iter().filter(may_be).map(|job| self.words(job)).collect();
        if lines.len() > absent { lines } else { Vec::new() }
    }

    /// A line without an id, for people.
    fn words(&self, job: &JobItem) -> String {
        let def = job.def.as_ref();
        let kind = def.and_then(|def| def.kind.as_deref()).unwrap_or("a job");
        let ids = def.into_iter().flat_map(|def| &def.outputs).map(|output| output.target(self.project).id);
        let ids: Vec<String> = ids.filter(|id| !id.is_empty()).collect();
        let what = if ids.is_empty() { String::new() } else { format!(" of {}", ids.join(", ")) };
        let state = job.state.as_deref().map(|state| format!(", {state}")).unwrap_or_default();
        format!("{kind}{what} without an id{state}")
    }

    /// What a job is whose line in the list does not tell it. One that no list names now, and that DSS does not know, is gone.
    async fn resolve(&self, id: &str, job: &JobItem, absent: bool, memory: &mut Memory) -> Relation {
        if let Some(relation) = memory.resolved.get(id) {
            return *relation;
        }
        match self.dss.look(self.project, id).await {
            Some(Ok(status)) if absent && status.removed == Some(true) => return Relation::Other,
            Some(Err(fault)) if absent && fault.kind == Kind::NotFound && !fault.page => return Relation::Other,
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Relation::Unclear,
        }
        let relation = self.dss.relation(self.spec, id, job);
        if relation != Relation::Unclear {
            memory.resolved.insert(id.to_owned(), relation);
        }
        relation
    }
}

impl Seen {
    /// Whether everything there is tells what it is.
    fn is_clear(&self) -> bool {
        self.unclear.is_empty() && self.nameless.is_empty()
    }

    /// The jobs that are ours. One of which nobody says whose it is counts as long as there is no stranger's beside it.
    fn ours(&self) -> Option<Vec<JobItem>> {
        let of = |whose: Whose| -> Vec<JobItem> {
            self.found.iter().filter(|(_, other)| *other == whose).map(|(job, _)| job.clone()).collect()
        };
        let (ours, unknown) = (of(Whose::Ours), of(Whose::Unknown));
        let found = if ours.is_empty() && unknown.len() == self.found.len() { unknown } else { ours };
        (!found.is_empty()).then_some(found)
    }

    /// What it comes to when there was time enough.
    fn at_last(self) -> Found {
        let clear = self.is_clear();
        let all_foreign = self.found.iter().all(|(_, whose)| *whose == Whose::Foreign);
        let jobs: Vec<JobItem> = self.found.into_iter().map(|(job, _)| job).collect();
        match (clear, all_foreign, jobs.is_empty()) {
            (true, _, true) => Found::None,
            (true, true, false) => Found::Foreign(jobs),
            _ => {
                let ids = jobs.iter().filter_map(JobItem::id).map(str::to_owned);
                Found::Unclear(ids.chain(self.unclear).chain(self.nameless).collect())
            }
        }
    }
}

/// When a job was asked for, by the server's clock.
pub(super) fn initiated(job: &JobItem) -> i64 {
    job.def.as_ref().and_then(|def| def.initiated_ms).unwrap_or(i64::MAX)
}
