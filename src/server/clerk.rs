//! What the thread of the jobs does: it keeps what was asked for before it tells anyone, holds a pipeline's lock while a job of
//! it is at work, and starts a thread for each job. Does not know who asks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc as signals, watch};
use tokio::time::Instant;

use crate::base::job::{JobId, JobState, Maker};
use crate::engine::api::Stop;
use crate::event::{Cause, Counts, Event, RunEnded, Stamped};
use crate::fault::fault;
use crate::report::api::Journal;
use crate::server::archive::Archive;
use crate::server::desk::{Desk, Wait};
use crate::server::error::ApiError;
use crate::server::held::Pipelines;
use crate::server::jobs::{Answer, Message, Order, Waits, ended, stamped};
use crate::server::lost::keep;
use crate::server::work;
use crate::session::fail::Fail;
use crate::session::{Site, unread};
use crate::store::filter::RunFilter;
use crate::store::read::RunRow;
use crate::store::write::Writer;

/// How often a pipeline is tried again that another process has.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// How often it is tried to keep what could not be kept.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// So many jobs may wait.
const MOST_WAITING: usize = 1_000;

/// A job that is at work.
struct AtWork {
    number: usize,
    signals: signals::UnboundedSender<Cause>,
    /// Ends the commands that it runs to look.
    stop: watch::Sender<Stop>,
    thread: JoinHandle<()>,
}

/// The thread.
pub(crate) struct Clerk {
    site: Site,
    archives: Vec<Arc<Archive>>,
    desk: Desk,
    /// The jobs that wait.
    orders: HashMap<JobId, Box<Order>>,
    at_work: HashMap<JobId, AtWork>,
    pipelines: Pipelines,
    journals: HashMap<PathBuf, Writer>,
    permits: Arc<Semaphore>,
    /// Jobs that are kept as soon as all that was written is on disk.
    answers: Vec<(Answer, JobId, PathBuf)>,
    /// Jobs whose end is kept then.
    ends: Vec<(JobId, Arc<Archive>, Cause)>,
    /// Jobs at work that were asked to end, and why: one that has to wait again ends instead.
    asked: HashMap<JobId, Cause>,
    ending: Option<Cause>,
    to: Sender<Message>,
}

impl Clerk {
    /// One of these histories, which ends what waited there when a server died. So many jobs run at once, and so many steps.
    pub(crate) fn new(
        site: Site,
        archives: &[Arc<Archive>],
        (max_jobs, max_activities): (usize, usize),
        to: Sender<Message>,
    ) -> Result<Self, Fail> {
        let mut clerk = Self {
            site,
            archives: archives.to_vec(),
            desk: Desk::new(max_jobs),
            orders: HashMap::new(),
            at_work: HashMap::new(),
            pipelines: Pipelines::default(),
            journals: HashMap::new(),
            permits: Arc::new(Semaphore::new(max_activities)),
            answers: Vec::new(),
            ends: Vec::new(),
            asked: HashMap::new(),
            ending: None,
            to,
        };
        for archive in archives {
            clerk.finish_the_dead(archive)?;
        }
        Ok(clerk)
    }

    /// Does what it is told, until it was told to end and has.
    pub(crate) fn work(mut self, messages: &Receiver<Message>) {
        let mut tried = Instant::now();
        while self.ending.is_none() || !self.at_work.is_empty() {
            let every = self.tries_every();
            let changed = match messages.recv_timeout(every.saturating_sub(tried.elapsed())) {
                Ok(first) => self.hear(std::iter::once(first).chain(messages.try_iter())),
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.answer();
            let again = tried.elapsed() >= self.tries_every();
            if again {
                tried = Instant::now();
                self.pipelines.ask_anew();
                self.keep_lost();
            }
            if changed || again {
                self.call();
            }
        }
    }

    /// Does what it is told. Whether another job may begin for it: whoever only asks changes nothing about that.
    fn hear(&mut self, messages: impl Iterator<Item = Message>) -> bool {
        let mut changed = false;
        for message in messages {
            if let Err(error) = fault("server.told") {
                tracing::debug!(%error, "a test wants this to go wrong");
            }
            changed |= !matches!(message, Message::Why(..));
            self.take(message);
        }
        changed
    }

    /// How often is tried again what nobody tells of.
    fn tries_every(&self) -> Duration {
        let is_lost = self.archives.iter().any(|archive| !archive.lost().is_empty());
        match (self.pipelines.is_missed(), is_lost) {
            (true, _) => TRY_EVERY,
            (false, true) => KEEP_EVERY,
            (false, false) => Duration::MAX,
        }
    }

    /// Tells the history how jobs ended that could not tell it: now it may have room.
    fn keep_lost(&mut self) {
        for archive in self.archives.clone() {
            for job in archive.lost() {
                match keep(&archive, &job, |events| self.append_now(&archive.folder, events)) {
                    Ok(true) => archive.found(&job),
                    Ok(false) => {}
                    Err(fail) => tracing::debug!(%job, "its end still cannot be kept: {}", fail.plain()),
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Start(order, tell) => self.start(order, tell),
            Message::Abort(job, why, tell) => {
                let was_here = self.abort(&job, &why, false);
                if tell.send(was_here).is_err() {
                    tracing::debug!(%job, "whoever wanted a job to end has gone");
                }
            }
            Message::Why(jobs, tell) => {
                if tell.send(self.why(&jobs)).is_err() {
                    tracing::debug!("whoever asked why jobs wait has gone");
                }
            }
            Message::Hold(who, number, touch, tell) => {
                let other = self.desk.hold(who.clone(), number, touch);
                let other = other.map(|job| (job.clone(), self.desk.project(&job)));
                // Whoever has gone meanwhile has nothing.
                if tell.send(other).is_err() {
                    self.desk.over(&who);
                }
            }
            Message::Tidied(number) => self.pipelines.tidied(number),
            Message::Planned(job, steps, tell) => {
                let may = self.desk.planned(&job, steps);
                if tell.send(may).is_err() {
                    tracing::error!(%job, "a job asked and did not wait: this is a bug");
                }
            }
            Message::Back(job, order) => {
                self.gone(&job);
                let asked = self.asked.remove(&job).or_else(|| self.ending.clone());
                self.orders.insert(job.clone(), order);
                if let Some(why) = asked {
                    self.abort(&job, &why, false);
                }
            }
            Message::StepOver(job, step) => self.desk.step_over(&job, &step),
            Message::Over(job) => {
                self.desk.over(&job);
                self.asked.remove(&job);
                self.gone(&job);
            }
            Message::End(why) => self.end(why),
        }
    }

    fn start(&mut self, order: Box<Order>, tell: Answer) {
        let kept = match self.ending {
            Some(_) => Err(ended()),
            None if self.desk.waiting() >= MOST_WAITING => {
                Err(ApiError::busy(format!("{MOST_WAITING} jobs wait already")))
            }
            None => self.keep(&order).map_err(ApiError::from),
        };
        match kept {
            Ok(job) => {
                self.desk.add(job.clone(), order.project.number, order.wants.clone());
                self.answers.push((tell, job.clone(), order.project.archive.folder.clone()));
                self.orders.insert(job, order);
            }
            Err(error) => drop(tell.send(Err(error))),
        }
    }

    /// Puts a job into the history, under a new id.
    fn keep(&mut self, order: &Order) -> Result<JobId, Fail> {
        let archive = &order.project.archive;
        archive.renew()?;
        let now = crate::clock::now();
        let is_taken = |job: &JobId| match self.orders.contains_key(job) {
            true => Ok(true),
            false => archive.ask(false, |reader| reader.job_exists(job)),
        };
        let job = JobId::free(&order.queued.pipeline, now, Maker::Queue, is_taken).map_err(unread)?;
        let event = Event::RunQueued(Box::new(order.queued.clone()));
        self.append(&archive.folder, vec![stamped(&job, 0, now, event)])?;
        Ok(job)
    }

    /// Keeps events, and waits until they are on disk.
    fn append_now(&mut self, folder: &Path, events: Vec<Stamped>) -> Result<(), Fail> {
        self.append(folder, events)?;
        let kept = self.journals.get_mut(folder).map_or(Ok(()), Writer::flush);
        if kept.is_err() {
            self.journals.remove(folder);
        }
        kept.map_err(|error| Fail::because("the history cannot be kept", &error))
    }

    fn append(&mut self, folder: &Path, events: Vec<Stamped>) -> Result<(), Fail> {
        // One that was removed or replaced is let go of before there is another.
        if self.journals.get(folder).is_some_and(|writer| !writer.stands()) {
            self.journals.remove(folder);
        }
        if !self.journals.contains_key(folder) {
            let tell = Box::new(|result: Result<u64, crate::store::StoreError>| {
                if let Err(error) = result {
                    tracing::error!(%error, "a job could not be kept");
                }
            });
            let writer = Writer::open(folder, tell).map_err(|error| Fail::because("no job can be kept", &error))?;
            self.journals.insert(folder.to_owned(), writer);
        }
        if let Some(writer) = self.journals.get_mut(folder) {
            writer.append(events.into(), Vec::new());
        }
        Ok(())
    }

    /// Tells those who asked for jobs, once these are on disk.
    fn answer(&mut self) {
        if self.answers.is_empty() && self.ends.is_empty() {
            return;
        }
        let mut lost: HashMap<PathBuf, Fail> = HashMap::new();
        for (folder, writer) in &mut self.journals {
            if let Err(error) = writer.flush() {
                lost.insert(folder.clone(), Fail::because("no job can be kept", &error));
            }
        }
        for folder in lost.keys() {
            self.journals.remove(folder);
        }
        for (job, archive, why) in std::mem::take(&mut self.ends) {
            if lost.contains_key(&archive.folder) {
                archive.lose(&job, JobState::Aborted, why);
            }
        }
        for (tell, job, folder) in std::mem::take(&mut self.answers) {
            let answer = match lost.get(&folder) {
                None => Ok(job),
                Some(fail) => {
                    self.desk.over(&job);
                    self.orders.remove(&job);
                    Err(ApiError::from(Fail::Surroundings(fail.plain())))
                }
            };
            drop(tell.send(answer));
        }
    }

    /// Lets jobs begin.
    fn call(&mut self) {
        if self.ending.is_some() {
            return;
        }
        let Self { desk, pipelines, orders, .. } = self;
        let called = desk.call(|job| orders.get(job).is_some_and(|order| pipelines.take(job, order)));
        for job in called {
            self.begin(job);
        }
        // A lock that nobody came to need.
        self.pipelines.keep(|number| self.desk.at_work(number));
    }

    fn begin(&mut self, job: JobId) {
        let Some(order) = self.orders.remove(&job) else { return };
        let number = order.project.number;
        let (locks, untidy) = self.pipelines.locks(number).unzip();
        let (signals, received) = signals::unbounded_channel();
        let (stop, stopped) = watch::channel(Stop::Go);
        let archive = Arc::clone(&order.project.archive);
        let work = work::Job {
            id: job.clone(),
            order,
            site: self.site.clone(),
            untidy: untidy.unwrap_or(false),
            locks,
            stop: stopped,
            permits: Arc::clone(&self.permits),
            to: self.to.clone(),
        };
        let thread = std::thread::Builder::new().name(format!("kiln-job-{number}"));
        match thread.spawn(move || work.carry_out(received)) {
            Ok(thread) => drop(self.at_work.insert(job, AtWork { number, signals, stop, thread })),
            Err(error) => {
                let words = format!("there is no thread for it: {error}");
                archive.lose(&job, JobState::Failed, Cause::Other { words });
                self.desk.over(&job);
                self.pipelines.over(&job, number);
            }
        }
    }

    /// A job is at work no more.
    fn gone(&mut self, job: &JobId) {
        if let Some(at_work) = self.at_work.remove(job) {
            if at_work.thread.join().is_err() {
                tracing::error!(%job, "a job crashed: this is a bug");
            }
            self.pipelines.over(job, at_work.number);
            self.pipelines.keep(|number| self.desk.at_work(number));
        }
    }

    /// Asks a job to end. One that was asked before is asked again only if it is to be `harsh`.
    fn abort(&mut self, job: &JobId, why: &Cause, harsh: bool) -> bool {
        if let Some(order) = self.orders.remove(job) {
            self.desk.over(job);
            let archive = &order.project.archive;
            let event = stamped(job, 1, crate::clock::now(), aborted(why));
            if self.append(&archive.folder, vec![event]).is_err() {
                archive.lose(job, JobState::Aborted, why.clone());
            }
            self.ends.push((job.clone(), Arc::clone(archive), why.clone()));
            archive.grown();
            return true;
        }
        // Whoever asks once more is not to make it harsher: a second signal kills.
        if !harsh && self.asked.contains_key(job) {
            return true;
        }
        let Some(at_work) = self.at_work.get(job) else { return false };
        if at_work.signals.send(why.clone()).is_err() {
            tracing::debug!(%job, "it has just ended, or is on its way back");
        }
        at_work.stop.send_replace(Stop::Kill);
        self.asked.insert(job.clone(), why.clone());
        true
    }

    fn end(&mut self, why: Cause) {
        let again = self.ending.replace(why.clone()).is_some();
        let all: Vec<JobId> = self.desk.jobs().cloned().collect();
        for job in all {
            self.abort(&job, &why, again);
        }
    }

    fn why(&self, jobs: &[JobId]) -> Waits {
        let (ending, others): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| self.asked.contains_key(*job));
        let mut running = HashMap::new();
        let known = self.desk.waits(others).into_iter().map(|(job, why)| {
            let wait = why.or_else(|| self.process(&job, &mut running)).unwrap_or(Wait::Turn);
            let Wait::Job(other, _) = &wait else { return (job, (wait, None)) };
            // Whoever has something for a moment has no page.
            let has_page = self.orders.contains_key(other) || self.at_work.contains_key(other);
            let of = self.desk.project(other);
            (job, if has_page { (wait, of) } else { (Wait::Another, None) })
        });
        known.chain(ending.into_iter().map(|job| (job.clone(), (Wait::Ending, None)))).collect()
    }

    /// The process that is in the way of a job. `running` has what runs, by the history: each is asked once.
    fn process(&self, job: &JobId, running: &mut HashMap<PathBuf, Vec<RunRow>>) -> Option<Wait> {
        let project = &self.orders.get(job)?.project;
        let away = self.pipelines.in_the_way(job, project.number)?;
        let folder = &project.archive.folder;
        let rows = running.entry(folder.clone()).or_insert_with(|| {
            let filter = RunFilter { state: Some(JobState::Running), ..RunFilter::default() };
            project.archive.ask(Vec::new(), |reader| reader.runs_now(&filter, folder)).unwrap_or_default()
        });
        let mut others = rows.iter().filter(|row| !self.at_work.contains_key(&row.id));
        let run = away.pipeline.as_ref().and_then(|pipeline| others.find(|row| row.pipeline == *pipeline));
        Some(Wait::Process(away.clone(), run.map(|row| row.id.clone())))
    }

    /// Tells the history that jobs ended which waited when a server died.
    fn finish_the_dead(&mut self, archive: &Archive) -> Result<(), Fail> {
        let queued = RunFilter { state: Some(JobState::Queued), ..RunFilter::default() };
        for row in archive.ask(Vec::new(), |reader| reader.runs(&queued)).map_err(unread)? {
            self.append(&archive.folder, vec![stamped(&row.id, 1, crate::clock::now(), aborted(&Cause::Died))])?;
        }
        let journal = self.journals.get_mut(&archive.folder);
        journal.map_or(Ok(()), Writer::flush).map_err(|error| Fail::because("the history cannot be kept", &error))
    }
}

fn aborted(why: &Cause) -> Event {
    Event::RunEnded(RunEnded::new(JobState::Aborted, Some(why.clone()), Counts::default()))
}

#[cfg(test)]
mod tests;
