//! Which jobs may begin: not more than so many at once, in the order in which they were asked for, and none that needs what
//! another is building or builds what another still reads. Pure: it knows names, no files, no threads and no time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::base::job::JobId;
use crate::server::held::Away;

/// What steps make and read, by keys that are the same for all jobs of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touch {
    pub(crate) makes: BTreeSet<Arc<str>>,
    pub(crate) reads: BTreeSet<Arc<str>>,
}

impl Touch {
    fn add(&mut self, more: &Self) {
        self.makes.extend(more.makes.iter().cloned());
        self.reads.extend(more.reads.iter().cloned());
    }
}

/// Why a job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// As many jobs as may run at once do.
    Turn,
    /// Another job has something that it needs: which, and what.
    Job(JobId, Arc<str>),
    /// Another process has the pipeline: what is known of it, and which run that is where it is known.
    Process(Away, Option<JobId>),
    /// Someone has something that it needs, and it is not to be told who.
    Another,
    /// It looks at what is to be done.
    Looking,
    /// It was asked to end, and does.
    Ending,
}

#[derive(Clone, Debug)]
enum Stage {
    /// It waits. After it was planned once, for what it would make.
    Waiting(BTreeSet<Arc<str>>),
    /// It looks at what is to be done.
    Planning,
    /// It runs; the steps that have not ended.
    Running(BTreeMap<String, Touch>),
}

#[derive(Clone, Debug)]
struct Entry {
    job: JobId,
    project: usize,
    wants: Touch,
    stage: Stage,
}

/// The jobs that have not ended, in the order in which they were asked for.
#[derive(Debug)]
pub(crate) struct Desk {
    max_jobs: usize,
    entries: Vec<Entry>,
    /// How many of them do not wait.
    at_work: usize,
}

/// What is in the way of a job, all together: whether it has to wait is asked once, and not of each job before it.
#[derive(Default)]
struct Before {
    /// What those want who look, or wait longer.
    wants: Touch,
    /// What the steps touch that have not ended.
    steps: Touch,
}

impl Before {
    fn holds_up(&self, entry: &Entry) -> bool {
        let Stage::Waiting(makes) = &entry.stage else { return false };
        clash(&entry.wants, &self.wants).is_some()
            || needs(&entry.wants, &self.steps).is_some()
            || in_use(makes, &self.steps).is_some()
    }
}

impl Desk {
    /// A desk without a job.
    pub(crate) fn new(max_jobs: usize) -> Self {
        Self { max_jobs, entries: Vec::new(), at_work: 0 }
    }

    /// Takes a job in, with all that it might touch.
    pub(crate) fn add(&mut self, job: JobId, project: usize, wants: Touch) {
        self.entries.push(Entry { job, project, wants, stage: Stage::Waiting(BTreeSet::new()) });
    }

    /// The jobs that may look at what is to be done now. `free` says whether a job can have its pipeline.
    pub(crate) fn call(&mut self, mut free: impl FnMut(&JobId) -> bool) -> Vec<JobId> {
        let mut called = Vec::new();
        let mut before = self.at_all_places();
        for entry in &mut self.entries {
            if self.at_work >= self.max_jobs {
                break;
            }
            if !matches!(entry.stage, Stage::Waiting(_)) {
                continue;
            }
            if !before.holds_up(entry) && free(&entry.job) {
                entry.stage = Stage::Planning;
                self.at_work += 1;
                called.push(entry.job.clone());
            }
            before.wants.add(&entry.wants);
        }
        called
    }

    /// Somebody has something, as if it were a job with one step, until that is [over](Desk::over). Where a job is at work that
    /// touches it too, nobody has it: returns which.
    pub(crate) fn hold(&mut self, job: JobId, project: usize, touch: Touch) -> Option<JobId> {
        let at_work = self.entries.iter().find(|other| match &other.stage {
            Stage::Waiting(_) => false,
            Stage::Planning => clash(&touch, &other.wants).is_some(),
            Stage::Running(steps) => steps.values().any(|step| clash(&touch, step).is_some()),
        });
        if let Some(other) = at_work {
            return Some(other.job.clone());
        }
        let (wants, steps) = (touch.clone(), BTreeMap::from([(job.to_string(), touch)]));
        self.entries.push(Entry { job, project, wants, stage: Stage::Running(steps) });
        self.at_work += 1;
        None
    }

    /// A job knows its steps. Returns whether it may run; if not, it waits again.
    pub(crate) fn planned(&mut self, job: &JobId, steps: BTreeMap<String, Touch>) -> bool {
        let Some(i) = self.position(job) else { return false };
        let makes: BTreeSet<_> = steps.values().flat_map(|step| step.makes.iter().cloned()).collect();
        let in_use = self.in_use(i, &makes).is_some();
        self.at_work -= usize::from(in_use);
        self.entries[i].stage = if in_use { Stage::Waiting(makes) } else { Stage::Running(steps) };
        !in_use
    }

    /// A step of a job has ended.
    pub(crate) fn step_over(&mut self, job: &JobId, step: &str) {
        if let Some(i) = self.position(job)
            && let Stage::Running(steps) = &mut self.entries[i].stage
        {
            steps.remove(step);
        }
    }

    /// A job has ended.
    pub(crate) fn over(&mut self, job: &JobId) {
        if let Some(i) = self.position(job) {
            let waited = matches!(self.entries.remove(i).stage, Stage::Waiting(_));
            self.at_work -= usize::from(!waited);
        }
    }

    /// Why these jobs do not run yet, as far as that is known here. Those that do, or are not here, are left out.
    pub(crate) fn waits<'a>(&self, jobs: impl IntoIterator<Item = &'a JobId>) -> HashMap<JobId, Option<Wait>> {
        let asked: HashSet<&JobId> = jobs.into_iter().collect();
        let mut before = self.at_all_places();
        let mut waits = HashMap::new();
        for (i, entry) in self.entries.iter().enumerate() {
            let is_asked = asked.contains(&entry.job);
            match entry.stage {
                Stage::Waiting(_) => {
                    if is_asked {
                        waits.insert(entry.job.clone(), self.why(i, &before));
                    }
                    before.wants.add(&entry.wants);
                }
                Stage::Planning if is_asked => drop(waits.insert(entry.job.clone(), Some(Wait::Looking))),
                Stage::Planning | Stage::Running(_) => {}
            }
        }
        waits
    }

    /// The project of a job.
    pub(crate) fn project(&self, job: &JobId) -> Option<usize> {
        self.position(job).map(|i| self.entries[i].project)
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.entries.len() - self.at_work
    }

    /// All jobs.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = &JobId> {
        self.entries.iter().map(|entry| &entry.job)
    }

    /// Whether a job of the project is at work.
    pub(crate) fn at_work(&self, project: usize) -> bool {
        self.entries.iter().any(|entry| entry.project == project && !matches!(entry.stage, Stage::Waiting(_)))
    }

    fn position(&self, job: &JobId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.job == *job)
    }

    /// What is in the way of a job wherever it stands: what those want who look, and what runs.
    fn at_all_places(&self) -> Before {
        let mut before = Before::default();
        for entry in &self.entries {
            match &entry.stage {
                Stage::Waiting(_) => {}
                Stage::Planning => before.wants.add(&entry.wants),
                Stage::Running(steps) => steps.values().for_each(|step| before.steps.add(step)),
            }
        }
        before
    }

    /// Why a job waits; none if it need not.
    fn why(&self, i: usize, before: &Before) -> Option<Wait> {
        let entry = &self.entries[i];
        if before.holds_up(entry) {
            return self.holder(i).map(|(job, shared)| Wait::Job(job, shared));
        }
        (self.at_work >= self.max_jobs).then_some(Wait::Turn)
    }

    /// Who holds a job up that waits, and with what.
    fn holder(&self, i: usize) -> Option<(JobId, Arc<str>)> {
        let entry = &self.entries[i];
        let mut others = self.entries.iter().enumerate().filter(|(j, _)| *j != i);
        let first = others.find_map(|(j, other)| {
            let shared = match &other.stage {
                Stage::Waiting(_) if j > i => None,
                Stage::Waiting(_) | Stage::Planning => clash(&entry.wants, &other.wants),
                Stage::Running(steps) => steps.values().find_map(|step| needs(&entry.wants, step)),
            };
            shared.map(|shared| (other.job.clone(), shared))
        });
        let Stage::Waiting(makes) = &entry.stage else { return None };
        first.or_else(|| self.in_use(i, makes))
    }

    /// Another running job that still reads or makes one of these.
    fn in_use(&self, i: usize, makes: &BTreeSet<Arc<str>>) -> Option<(JobId, Arc<str>)> {
        self.entries.iter().enumerate().filter(|(j, _)| *j != i).find_map(|(_, other)| {
            let Stage::Running(steps) = &other.stage else { return None };
            let shared = steps.values().find_map(|step| in_use(makes, step));
            shared.map(|shared| (other.job.clone(), shared))
        })
    }
}

/// Something of `makes` that `step` reads or makes.
fn in_use(makes: &BTreeSet<Arc<str>>, step: &Touch) -> Option<Arc<str>> {
    common(makes, &step.reads).or_else(|| common(makes, &step.makes))
}

/// Something that `wants` reads or makes and `step` makes.
fn needs(wants: &Touch, step: &Touch) -> Option<Arc<str>> {
    common(&wants.makes, &step.makes).or_else(|| common(&wants.reads, &step.makes))
}

/// Something that one of the two makes and the other touches.
fn clash(one: &Touch, other: &Touch) -> Option<Arc<str>> {
    needs(one, other).or_else(|| common(&one.makes, &other.reads))
}

/// Something of `other` that is something of `one`, lies in it, or has it in it: the keys of what has a path are paths.
fn common(one: &BTreeSet<Arc<str>>, other: &BTreeSet<Arc<str>>) -> Option<Arc<str>> {
    if one.len() <= other.len() {
        return one.iter().find_map(|key| meets(key, other)).cloned();
    }
    other.iter().find(|key| meets(key, one).is_some()).cloned()
}

fn meets<'a>(key: &str, all: &'a BTreeSet<Arc<str>>) -> Option<&'a Arc<str>> {
    let mut around = key.match_indices('/').map(|(end, _)| &key[..end]).chain([key]);
    around.find_map(|path| all.get(path)).or_else(|| {
        let inside = format!("{key}/");
        let behind = (Bound::Included(inside.as_str()), Bound::Unbounded);
        all.range::<str, _>(behind).next().filter(|path| path.starts_with(&inside))
    })
}

#[cfg(test)]
mod tests;
