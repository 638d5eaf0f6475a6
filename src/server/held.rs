//! The pipelines that the server has while jobs of theirs are at work: their locks, and what these jobs may write, which no
//! other process writes then. Does not know which jobs may begin.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::job::JobId;
use crate::server::jobs::Order;
use crate::session::fail::Fail;
use crate::session::locks::{self, Busy, Locks, lock_now};

/// The pipelines that the server has, by the numbers of their projects.
#[derive(Default)]
pub(crate) struct Pipelines {
    held: HashMap<usize, Pipeline>,
    /// Those that no job can have, and what is in the way: it is not asked again for each job that waits for them.
    away: HashMap<usize, Away>,
    /// Jobs that cannot have theirs for what they would write, and what is in the way.
    overlaps: HashMap<JobId, Away>,
    /// How often one was tried to be had.
    #[cfg(test)]
    pub(crate) tries: usize,
}

/// What is in the way of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// The pipeline of which a run goes on, where it is that.
    pub(crate) pipeline: Option<String>,
    /// It, for people.
    pub(crate) why: String,
}

impl From<Busy> for Away {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Held(locks::Held { pipeline, why, .. }) => Self { pipeline: Some(pipeline), why },
            Busy::Fail(fail) => Self { pipeline: None, why: fail.plain() },
        }
    }
}

/// A pipeline that the server has.
struct Pipeline {
    locks: Arc<Locks>,
    /// Whether what runs that died left is finished.
    tidy: bool,
    /// What the jobs at work may write.
    writes: HashMap<JobId, Vec<String>>,
}

impl Pipeline {
    /// Claims what the jobs at work may write, and this besides.
    fn claim(&self, more: &[String]) -> Result<(), Busy> {
        let mut all: Vec<_> = self.writes.values().flatten().chain(more).cloned().collect();
        all.sort_unstable();
        all.dedup();
        self.locks.serve(all)
    }
}

impl Pipelines {
    /// Takes the pipeline of a job, and claims what it may write. Whether it could have that.
    pub(crate) fn take(&mut self, job: &JobId, order: &Order) -> bool {
        let number = order.project.number;
        if self.away.contains_key(&number) || self.overlaps.contains_key(job) {
            return false;
        }
        match self.try_take(job, order) {
            Ok(tidy) => tidy,
            Err(busy) => {
                let is_others = matches!(&busy, Busy::Held(held) if held.pipeline != order.project.name());
                if is_others {
                    self.overlaps.insert(job.clone(), busy.into());
                } else {
                    self.away.insert(number, busy.into());
                }
                false
            }
        }
    }

    fn try_take(&mut self, job: &JobId, order: &Order) -> Result<bool, Busy> {
        #[cfg(test)]
        (self.tries += 1);
        let is_there = self.held.contains_key(&order.project.number);
        if !is_there {
            let (loaded, folder) = (order.project.last(), &order.project.archive.folder);
            let locks = Arc::new(lock_now(&loaded.pipeline.name, folder, &loaded.root, &order.writes)?);
            self.held.insert(order.project.number, Pipeline { locks, tidy: false, writes: HashMap::new() });
        }
        let Some(held) = self.held.get_mut(&order.project.number) else { return Ok(false) };
        if !held.locks.stand() {
            let folder = order.project.archive.folder.display();
            let why = format!("{folder} was removed while a job is at work: that job ends first");
            return Err(Busy::Fail(Fail::Surroundings(why)));
        }
        // The first job tidies up; until then the others wait.
        if is_there && !held.tidy {
            return Ok(false);
        }
        held.claim(&order.writes)?;
        held.writes.insert(job.clone(), order.writes.clone());
        Ok(true)
    }

    /// The locks of a job's pipeline, and whether it has to finish what runs that died left.
    pub(crate) fn locks(&self, number: usize) -> Option<(Arc<Locks>, bool)> {
        self.held.get(&number).map(|held| (Arc::clone(&held.locks), !held.tidy))
    }

    /// What runs that died left in a project is finished.
    pub(crate) fn tidied(&mut self, number: usize) {
        if let Some(held) = self.held.get_mut(&number) {
            held.tidy = true;
        }
    }

    /// A job is at work no more: what only it wrote others may write now.
    pub(crate) fn over(&mut self, job: &JobId, number: usize) {
        if let Some(held) = self.held.get_mut(&number)
            && held.writes.remove(job).is_some()
            && let Err(busy) = held.claim(&[])
        {
            let why = Away::from(busy).why;
            tracing::warn!(%job, "what it wrote stays claimed while its pipeline is at work: {why}");
        }
    }

    /// Lets go of those that are not needed.
    pub(crate) fn keep(&mut self, needed: impl Fn(usize) -> bool) {
        self.held.retain(|number, _| needed(*number));
    }

    /// Forgets what was in the way: it is asked anew.
    pub(crate) fn ask_anew(&mut self) {
        self.away.clear();
        self.overlaps.clear();
    }

    /// Whether some job cannot have its pipeline.
    pub(crate) fn is_missed(&self) -> bool {
        !self.away.is_empty() || !self.overlaps.is_empty()
    }

    /// What is in the way of a job of a project.
    pub(crate) fn in_the_way(&self, job: &JobId, number: usize) -> Option<&Away> {
        self.overlaps.get(job).or_else(|| self.away.get(&number))
    }
}
