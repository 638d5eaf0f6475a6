//! Which jobs may begin: not more than so many at once, in the order in which they were asked for, and none that needs what
//! another is building or builds what another still reads. Pure: it knows names, no files, no threads and no time.

use std::collections::{BTreeMap, BTreeSet};
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
}

impl Desk {
    /// A desk without a job.
    pub(crate) fn new(max_jobs: usize) -> Self {
        Self { max_jobs, entries: Vec::new() }
    }

    /// Takes a job in, with all that it might touch.
    pub(crate) fn add(&mut self, job: JobId, project: usize, wants: Touch) {
        self.entries.push(Entry { job, project, wants, stage: Stage::Waiting(BTreeSet::new()) });
    }

    /// The jobs that may look at what is to be done now. `free` says whether a job can have its pipeline.
    pub(crate) fn call(&mut self, mut free: impl FnMut(&JobId) -> bool) -> Vec<JobId> {
        let mut called = Vec::new();
        for i in 0..self.entries.len() {
            if self.at_work_at_all() >= self.max_jobs {
                break;
            }
            let waits = matches!(self.entries[i].stage, Stage::Waiting(_));
            if waits && self.why(i).is_none() && free(&self.entries[i].job) {
                self.entries[i].stage = Stage::Planning;
                called.push(self.entries[i].job.clone());
            }
        }
        called
    }

    /// A job knows its steps. Returns whether it may run; if not, it waits again.
    pub(crate) fn planned(&mut self, job: &JobId, steps: BTreeMap<String, Touch>) -> bool {
        let Some(i) = self.position(job) else { return false };
        let makes: BTreeSet<_> = steps.values().flat_map(|step| step.makes.iter().cloned()).collect();
        let in_use = self.in_use(i, &makes).is_some();
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
        self.entries.retain(|entry| entry.job != *job);
    }

    /// Why a job does not run yet, as far as that is known here; none if it does.
    pub(crate) fn waits(&self, job: &JobId) -> Option<Option<Wait>> {
        let i = self.position(job)?;
        match self.entries[i].stage {
            Stage::Waiting(_) => Some(self.why(i)),
            Stage::Planning => Some(Some(Wait::Looking)),
            Stage::Running(_) => None,
        }
    }

    /// The project of a job.
    pub(crate) fn project(&self, job: &JobId) -> Option<usize> {
        self.position(job).map(|i| self.entries[i].project)
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.entries.len() - self.at_work_at_all()
    }

    /// All jobs.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = &JobId> {
        self.entries.iter().map(|entry| &entry.job)
    }

    /// Whether a job of the project is at work.
    pub(crate) fn at_work(&self, project: usize) -> bool {
        self.entries.iter().any(|entry| entry.project == project && !matches!(entry.stage, Stage::Waiting(_)))
    }

    fn at_work_at_all(&self) -> usize {
        self.entries.iter().filter(|entry| !matches!(entry.stage, Stage::Waiting(_))).count()
    }

    fn position(&self, job: &JobId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.job == *job)
    }

    fn why(&self, i: usize) -> Option<Wait> {
        let entry = &self.entries[i];
        for (j, other) in self.entries.iter().enumerate().filter(|(j, _)| *j != i) {
            let shared = match &other.stage {
                Stage::Waiting(_) if j > i => None,
                Stage::Waiting(_) | Stage::Planning => clash(&entry.wants, &other.wants),
                Stage::Running(steps) => steps.values().find_map(|step| needs(&entry.wants, step)),
            };
            if let Some(shared) = shared {
                return Some(Wait::Job(other.job.clone(), shared));
            }
        }
        let Stage::Waiting(makes) = &entry.stage else { return None };
        if let Some((job, shared)) = self.in_use(i, makes) {
            return Some(Wait::Job(job, shared));
        }
        (self.at_work_at_all() >= self.max_jobs).then_some(Wait::Turn)
    }

    /// Another running job that still reads or makes one of these.
    fn in_use(&self, i: usize, makes: &BTreeSet<Arc<str>>) -> Option<(JobId, Arc<str>)> {
        self.entries.iter().enumerate().filter(|(j, _)| *j != i).find_map(|(_, other)| {
            let Stage::Running(steps) = &other.stage else { return None };
            let touched = |step: &Touch| common(makes, &step.reads).or_else(|| common(makes, &step.makes));
            steps.values().find_map(touched).map(|shared| (other.job.clone(), shared))
        })
    }
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
mod tests {
    use super::*;

    fn set(text: &str) -> BTreeSet<Arc<str>> {
        text.split_whitespace().map(Arc::from).collect()
    }

    fn touch(reads: &str, makes: &str) -> Touch {
        Touch { makes: set(makes), reads: set(reads) }
    }

    fn steps(all: &[(&str, &str, &str)]) -> BTreeMap<String, Touch> {
        all.iter().map(|(name, reads, makes)| ((*name).to_owned(), touch(reads, makes))).collect()
    }

    fn job(name: &str) -> JobId {
        JobId::from_text(name)
    }

    fn call(desk: &mut Desk) -> Vec<String> {
        desk.call(|_| true).iter().map(JobId::to_string).collect()
    }

    fn why(desk: &Desk, name: &str) -> Option<Wait> {
        desk.waits(&job(name)).flatten()
    }

    #[test]
    fn not_more_than_so_many_at_once_in_order() {
        let mut desk = Desk::new(2);
        for name in ["a", "b", "c", "d"] {
            desk.add(job(name), 0, touch("", name));
        }
        assert_eq!(call(&mut desk), ["a", "b"]);
        assert_eq!(call(&mut desk), [] as [&str; 0]);
        assert_eq!(why(&desk, "c"), Some(Wait::Turn));
        desk.over(&job("b"));
        assert_eq!(call(&mut desk), ["c"]);
    }

    #[test]
    fn what_another_builds_is_waited_for_no_longer_than_it_is_built() {
        let mut desk = Desk::new(9);
        desk.add(job("long"), 0, touch("src", "a b c"));
        assert_eq!(call(&mut desk), ["long"]);
        desk.add(job("short"), 0, touch("src", "a b"));
        desk.add(job("other"), 0, touch("src", "x"));
        assert_eq!(call(&mut desk), ["other"]);
        assert!(desk.planned(&job("long"), steps(&[("a", "src", "a"), ("b", "a", "b"), ("c", "b", "c")])));
        assert_eq!(call(&mut desk), [] as [&str; 0]);
        assert_eq!(why(&desk, "short"), Some(Wait::Job(job("long"), "a".into())));
        desk.step_over(&job("long"), "a");
        assert_eq!(why(&desk, "short"), Some(Wait::Job(job("long"), "b".into())));
        desk.step_over(&job("long"), "b");
        assert_eq!(call(&mut desk), ["short"]);
        // `b` is up to date by now: nothing that `long` reads changes.
        assert!(desk.planned(&job("short"), steps(&[])));
    }

    #[test]
    fn what_another_still_reads_is_not_built_anew() {
        let mut desk = Desk::new(9);
        desk.add(job("reader"), 0, touch("a", "b"));
        assert_eq!(call(&mut desk), ["reader"]);
        assert!(desk.planned(&job("reader"), steps(&[("b", "a", "b")])));
        desk.add(job("maker"), 0, touch("src", "a"));
        assert_eq!(call(&mut desk), ["maker"]);
        assert!(!desk.planned(&job("maker"), steps(&[("a", "src", "a")])));
        assert_eq!(call(&mut desk), [] as [&str; 0]);
        assert_eq!(why(&desk, "maker"), Some(Wait::Job(job("reader"), "a".into())));
        desk.step_over(&job("reader"), "b");
        assert_eq!(call(&mut desk), ["maker"]);
        assert!(desk.planned(&job("maker"), steps(&[("a", "src", "a")])));
    }

    #[test]
    fn what_lies_in_a_folder_is_part_of_it() {
        for (wants, has) in
            [("/r/out/a", "/r/out"), ("/r/out", "/r/out/a"), ("/r/out", "/r/out"), ("/r/x/y /r/z", "/r/x")]
        {
            let mut desk = Desk::new(9);
            desk.add(job("maker"), 0, touch("", has));
            desk.add(job("reader"), 1, touch(wants, "/s/made"));
            assert_eq!(call(&mut desk), ["maker"]);
            assert_eq!(why(&desk, "reader"), Some(Wait::Job(job("maker"), has.into())), "{wants}");
            // Also against many.
            let mut desk = Desk::new(9);
            desk.add(job("maker"), 0, touch("", &format!("/a {has} /r/out.txt /z")));
            desk.add(job("reader"), 1, touch(wants, "/s/made"));
            assert_eq!(call(&mut desk), ["maker"]);
            assert_eq!(why(&desk, "reader"), Some(Wait::Job(job("maker"), has.into())), "{wants}");
        }
        for (wants, has) in
            [("/r/out/a", "/r/out/b"), ("/r/out-a", "/r/out"), ("/r/out", "/r/out.b /r/out-"), ("/r", "/rr/a")]
        {
            let mut desk = Desk::new(9);
            desk.add(job("maker"), 0, touch("", has));
            desk.add(job("reader"), 1, touch(wants, "/s/made"));
            assert_eq!(call(&mut desk), ["maker", "reader"], "{wants} {has}");
        }
    }

    #[test]
    fn a_job_that_looks_says_so() {
        let mut desk = Desk::new(9);
        desk.add(job("a"), 0, touch("", "a"));
        assert_eq!(call(&mut desk), ["a"]);
        assert_eq!(why(&desk, "a"), Some(Wait::Looking));
        assert!(desk.planned(&job("a"), steps(&[("a", "", "a")])));
        assert_eq!(desk.waits(&job("a")), None);
    }

    #[test]
    fn who_came_first_is_not_overtaken_by_who_needs_the_same() {
        let mut desk = Desk::new(9);
        desk.add(job("first"), 0, touch("", "a"));
        assert_eq!(call(&mut desk), ["first"]);
        desk.add(job("second"), 0, touch("", "a b"));
        desk.add(job("third"), 0, touch("", "b"));
        desk.add(job("fourth"), 0, touch("b", "z"));
        assert_eq!(call(&mut desk), [] as [&str; 0]);
        assert_eq!(why(&desk, "third"), Some(Wait::Job(job("second"), "b".into())));
        assert_eq!(why(&desk, "fourth"), Some(Wait::Job(job("second"), "b".into())));
        desk.over(&job("first"));
        assert_eq!(call(&mut desk), ["second"]);
    }

    #[test]
    fn a_pipeline_that_another_process_has_is_not_touched() {
        let mut desk = Desk::new(9);
        desk.add(job("a"), 0, touch("", "a"));
        desk.add(job("b"), 1, touch("", "b"));
        let called = desk.call(|job| job.as_str() == "b");
        assert_eq!(called, [job("b")]);
        assert!(desk.at_work(1) && !desk.at_work(0));
        assert_eq!(why(&desk, "a"), None);
        assert_eq!(desk.waiting(), 1);
    }

    /// Random jobs over a chain of nodes: all of them end, and no two steps that touch the same ever run at once.
    #[test]
    fn all_jobs_end_and_no_steps_clash() {
        proptest::proptest!(|(jobs in proptest::collection::vec((0_usize..6, 1_usize..4), 1..12), max in 1_usize..4)| {
            let mut desk = Desk::new(max);
            let wants = |(from, n): (usize, usize)| -> BTreeMap<String, Touch> {
                (from..from + n).map(|i| (format!("s{i}"), touch(&format!("n{i}"), &format!("n{}", i + 1)))).collect()
            };
            for (i, span) in jobs.iter().enumerate() {
                let all = wants(*span);
                let all = Touch {
                    makes: all.values().flat_map(|step| step.makes.clone()).collect(),
                    reads: all.values().flat_map(|step| step.reads.clone()).collect(),
                };
                desk.add(job(&format!("j{i}")), 0, all);
            }
            let mut running: Vec<(usize, usize)> = Vec::new();
            let mut turns = 0;
            while desk.jobs().next().is_some() {
                turns += 1;
                proptest::prop_assert!(turns < 1_000, "it does not end: {desk:?}");
                for called in desk.call(|_| true) {
                    let i: usize = called.as_str()[1..].parse().unwrap();
                    if desk.planned(&called, wants(jobs[i])) {
                        running.push((i, jobs[i].0));
                    }
                }
                proptest::prop_assert!(running.len() <= max);
                for (a, step) in &running {
                    for (b, other) in running.iter().filter(|(b, _)| b != a) {
                        proptest::prop_assert!(step.abs_diff(*other) > 1, "j{a} at {step} with j{b} at {other}");
                    }
                }
                let (i, step) = running.remove(turns % running.len().max(1));
                let name = job(&format!("j{i}"));
                desk.step_over(&name, &format!("s{step}"));
                if step + 1 < jobs[i].0 + jobs[i].1 {
                    running.push((i, step + 1));
                } else {
                    desk.over(&name);
                }
            }
        });
    }
}
