//! The jobs of the server: one thread owns what waits and what runs, and everyone else sends it messages. It keeps what was
//! asked for before it tells anyone, holds a pipeline's lock while a job of it is at work, and starts a thread for each job.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc as signals, oneshot, watch};

use crate::base::job::{JobId, JobState, Maker};
use crate::base::span::Source;
use crate::engine::api::Stop;
use crate::event::{Cause, Counts, Event, RunEnded, RunStarted, Stamped, VERSION};
use crate::report::api::Journal;
use crate::server::archive::Archive;
use crate::server::desk::{Desk, Touch, Wait};
use crate::server::error::ApiError;
use crate::server::held::Pipelines;
use crate::server::lost::keep;
use crate::server::project::Project;
use crate::server::work;
use crate::session::fail::Fail;
use crate::session::{Request, Site, unread};
use crate::store::filter::RunFilter;
use crate::store::read::RunRow;
use crate::store::write::Writer;

/// How often a pipeline is tried again that another process has.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// How often it is tried to keep what could not be kept.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// So many jobs may wait.
const MOST_WAITING: usize = 1_000;

/// Something that was asked for.
pub(crate) struct Order {
    pub(crate) project: Arc<Project>,
    /// The file as it was when it was asked for.
    pub(crate) source: Source,
    /// What is asked for; nothing at all where nothing makes what was named.
    pub(crate) request: Option<Request>,
    /// All that it might touch.
    pub(crate) wants: Touch,
    /// The paths that it might write, relative to the root.
    pub(crate) writes: Vec<String>,
    /// The job as it is kept until it begins.
    pub(crate) queued: RunStarted,
}

/// What the thread of the jobs is told.
pub(crate) enum Message {
    /// Someone asks for a job.
    Start(Box<Order>, Answer),
    /// Someone wants a job to end. The answer says whether it was here.
    Abort(JobId, Cause, Sender<bool>),
    /// Someone wants to know why a job waits, and for which project.
    Why(JobId, Sender<Option<(Wait, Option<usize>)>>),
    /// What runs that died left in a project is finished.
    Tidied(usize),
    /// A job knows its steps, and asks whether it may run.
    Planned(JobId, BTreeMap<String, Touch>, Sender<bool>),
    /// A job may not run yet.
    Back(JobId, Box<Order>),
    /// A step has ended.
    StepOver(JobId, String),
    /// A job has ended.
    Over(JobId),
    /// Everything is to end; why.
    End(Cause),
}

/// The way to the thread of the jobs.
pub(crate) struct Jobs {
    to: Sender<Message>,
}

impl Jobs {
    /// Starts the thread. It tells when everything has ended.
    pub(crate) fn begin(
        site: Site,
        archives: &[Arc<Archive>],
        max_jobs: usize,
        max_activities: usize,
    ) -> Result<(Self, oneshot::Receiver<()>), Fail> {
        let (to, messages) = mpsc::channel();
        let mut clerk = Clerk {
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
            to: to.clone(),
        };
        for archive in archives {
            clerk.finish_the_dead(archive)?;
        }
        let (tell, ended) = oneshot::channel();
        let work = move || {
            clerk.work(&messages);
            if tell.send(()).is_err() {
                tracing::debug!("nobody waits for the end of the jobs");
            }
        };
        let thread = std::thread::Builder::new().name("kiln-jobs".to_owned()).spawn(work);
        thread.map_err(|error| Fail::because("no jobs can be started", &error))?;
        Ok((Self { to }, ended))
    }

    /// Starts a job. It is kept when its id is known. May block.
    pub(crate) fn start(&self, order: Order) -> Result<JobId, ApiError> {
        let (tell, told) = mpsc::channel();
        self.send(Message::Start(Box::new(order), tell));
        told.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Asks a job to end, and says why. Whether it was one of ours that had not ended. May block.
    pub(crate) fn abort(&self, job: &JobId, why: Cause) -> bool {
        let (tell, told) = mpsc::channel();
        self.send(Message::Abort(job.clone(), why, tell));
        told.recv().unwrap_or(false)
    }

    /// Why a job waits, and the number of the project that has the job which it waits for; none if it does not wait. May block.
    pub(crate) fn wait(&self, row: &RunRow) -> Option<(Wait, Option<usize>)> {
        if row.state != JobState::Queued {
            return None;
        }
        let (tell, told) = mpsc::channel();
        self.send(Message::Why(row.id.clone(), tell));
        told.recv().ok().flatten()
    }

    /// Asks everything to end.
    pub(crate) fn end(&self, why: Cause) {
        self.send(Message::End(why));
    }

    fn send(&self, message: Message) {
        // If the thread has ended, whoever waits for an answer gets none and says so.
        drop(self.to.send(message));
    }
}

fn ended() -> ApiError {
    ApiError::busy("the server is ending")
}

/// A job that is at work.
struct AtWork {
    number: usize,
    signals: signals::UnboundedSender<Cause>,
    /// Ends the commands that it runs to look.
    stop: watch::Sender<Stop>,
    thread: JoinHandle<()>,
}

/// Who waits to hear that a job is kept.
type Answer = Sender<Result<JobId, ApiError>>;

struct Clerk {
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
    fn work(mut self, messages: &Receiver<Message>) {
        while self.ending.is_none() || !self.at_work.is_empty() {
            let is_lost = self.archives.iter().any(|archive| !archive.lost().is_empty());
            let wait = match (self.pipelines.is_missed(), is_lost) {
                (true, _) => TRY_EVERY,
                (false, true) => KEEP_EVERY,
                (false, false) => Duration::MAX,
            };
            match messages.recv_timeout(wait) {
                Ok(first) => std::iter::once(first).chain(messages.try_iter()).for_each(|message| self.take(message)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.answer();
            self.keep_lost();
            self.call();
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
            Message::Why(job, tell) => {
                if tell.send(self.why(&job)).is_err() {
                    tracing::debug!(%job, "whoever asked has gone");
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
        self.pipelines.ask_anew();
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

    fn why(&self, job: &JobId) -> Option<(Wait, Option<usize>)> {
        if self.asked.contains_key(job) {
            return Some((Wait::Ending, None));
        }
        let why = self.desk.waits(job)?;
        let process = || {
            let away = self.pipelines.in_the_way(job)?;
            let run = away.pipeline.as_ref().and_then(|pipeline| self.run_in_the_way(job, pipeline));
            Some(Wait::Process(away.clone(), run))
        };
        let wait = why.or_else(process).unwrap_or(Wait::Turn);
        let of = if let Wait::Job(other, _) = &wait { self.desk.project(other) } else { None };
        Some((wait, of))
    }

    /// The run that is in the way of a job, if it is in the history.
    fn run_in_the_way(&self, job: &JobId, pipeline: &str) -> Option<JobId> {
        let archive = &self.orders.get(job)?.project.archive;
        let running = RunFilter { state: Some(JobState::Running), ..RunFilter::default() };
        let rows = archive.ask(Vec::new(), |reader| reader.runs_now(&running, &archive.folder)).ok()?;
        let mut others = rows.into_iter().filter(|row| !self.at_work.contains_key(&row.id));
        others.find(|row| row.pipeline == pipeline).map(|row| row.id)
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

/// An event of a job that is not driven.
pub(crate) fn stamped(job: &JobId, seq: u64, at: jiff::Timestamp, event: Event) -> Stamped {
    Stamped { version: VERSION, job: job.clone(), seq, at, elapsed_ms: 0, event }
}

#[cfg(test)]
mod tests;
