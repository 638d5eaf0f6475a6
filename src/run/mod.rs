//! The loop of a run: it waits for what happens, asks [`state::Run`] what to do, and carries that out. It decides nothing.

pub mod cancel;
mod place;
mod publish;
pub mod recover;
mod retry;
mod schedule;
pub mod setup;
mod slot;
pub mod state;
mod unkept;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::base::digest::Digest;
use crate::base::file::FileDigest;
use crate::base::id::NodeId;
use crate::base::job::JobId;
use crate::base::text::size;
use crate::engine::api::{Attempt, Attempted, Ended, Engine, Noticed, PRINTED_WAITING, Printed, Stop, Updates, Work};
use crate::engine::outputs::{Outputs, Published};
use crate::event::{Cause, Event, Failure, FailureCode, RunStarted, Staged, Stamped, VERSION};
use crate::report::api::{Journal, Reporter};
use crate::run::setup::{Effect, Input, Timer};
use crate::run::state::Run;
pub use crate::run::unkept::Unkept;
use crate::store::StoreError;
use crate::view::RunView;

/// What the loop needs.
pub struct Drive<'a> {
    /// What decides.
    pub run: Run,
    /// The run's id.
    pub job: JobId,
    /// When it begins.
    pub began: jiff::Timestamp,
    /// How many events it has already.
    pub events: u64,
    /// What carries steps out.
    pub engine: Arc<dyn Engine>,
    /// What puts their outputs in place.
    pub outputs: Arc<dyn Outputs>,
    /// The slots that it shares with other runs, if it does.
    pub slots: Option<Arc<Semaphore>>,
    /// The work of each step of the run.
    pub works: Vec<Arc<dyn Work>>,
    /// Digests of files that were read when the run was planned.
    pub seen: Vec<FileDigest>,
    /// Where events are kept.
    pub journal: &'a mut dyn Journal,
    /// Tells which batches of the journal are on disk, or why no more will be.
    pub committed: mpsc::UnboundedReceiver<Result<u64, String>>,
    /// What shows the run.
    pub reporters: Vec<Box<dyn Reporter>>,
    /// Requests to end.
    pub signals: mpsc::UnboundedReceiver<Cause>,
    /// Whether what may block is done on threads of its own. Not on virtual time, where all has to come in order.
    pub threads: bool,
}

/// What became of a run.
#[derive(Debug)]
pub struct Driven {
    /// The run as its events tell it.
    pub view: RunView,
    /// Why its events or a log could not be kept.
    pub lost: Option<String>,
    /// What became of what could not be kept when it happened.
    pub unkept: Unkept,
    /// Whether it was stopped for that.
    pub cut: bool,
    /// What could not be shown or reported, and why.
    pub unshown: Vec<String>,
    /// What was left of it at its end and was ended then, for people.
    pub left: Vec<String>,
}

/// Carries a run out, from its first event to its end.
pub async fn drive(drive: Drive<'_>, started: RunStarted) -> Driven {
    let (trouble_to, trouble) = mpsc::unbounded_channel();
    let (output_to, output) = mpsc::channel(PRINTED_WAITING);
    let (notices_to, notices) = mpsc::unbounded_channel();
    let background = drive.engine.background();
    let wanted = drive.reporters.iter().any(|reporter| reporter.wants_output());
    let tick_ms = drive.reporters.iter().map(|reporter| reporter.tick_ms()).filter(|ms| *ms > 0).min();
    let now = Instant::now();
    let mut driver = Driver {
        begun: now,
        tick_ms,
        tick: now,
        timers: BinaryHeap::new(),
        wakes: 0,
        seq: drive.events,
        jobs: JoinSet::new(),
        asked: Stop::Go,
        stops: BTreeMap::new(),
        trouble_to,
        trouble,
        output_to: wanted.then_some(output_to),
        output,
        left_out: BTreeMap::new(),
        notices_to,
        notices,
        background,
        asked_slot: None,
        slot: None,
        pending: VecDeque::new(),
        view: RunView::default(),
        over: false,
        lost: None,
        unshown: Vec::new(),
        drive,
    };
    driver.begin(started);
    while !driver.done() {
        driver.wait().await;
    }
    let taken = driver.take_back();
    let left = driver.drive.engine.end().await;
    let unkept = driver.make_up(&taken);
    driver.finish();
    let run = &driver.drive.run;
    let cut = run.broken().is_some();
    let lost = driver.lost.or_else(|| run.broken().map(str::to_owned));
    Driven { view: driver.view, lost, unkept, cut, unshown: driver.unshown, left }
}

/// What a task of the loop came to.
enum Done {
    Ended(usize, Attempted, u64),
    Flushed(Vec<Result<(), Failure>>),
    Published(Vec<(usize, Result<Published, Failure>)>),
}

/// Events on their way to the disk, and what waits for them to be there.
struct Batch {
    number: u64,
    events: Arc<[Stamped]>,
    publish: Vec<(usize, String, Vec<Staged>)>,
    /// Who waits for it to be on disk.
    told: Vec<oneshot::Sender<()>>,
}

struct Driver<'a> {
    drive: Drive<'a>,
    begun: Instant,
    tick_ms: Option<u64>,
    tick: Instant,
    /// What is waited for, with a number that keeps the order of those of one instant.
    timers: BinaryHeap<Reverse<(Instant, u64, Timer)>>,
    wakes: u64,
    seq: u64,
    jobs: JoinSet<Done>,
    /// What all work is told.
    asked: Stop,
    /// The way to tell each attempt that runs, in an order that is always the same.
    stops: BTreeMap<usize, watch::Sender<Stop>>,
    trouble_to: mpsc::UnboundedSender<String>,
    trouble: mpsc::UnboundedReceiver<String>,
    output_to: Option<mpsc::Sender<Printed>>,
    output: mpsc::Receiver<Printed>,
    /// How much of what steps printed is not shown, since who reads is too slow.
    left_out: BTreeMap<usize, u64>,
    notices_to: mpsc::UnboundedSender<Noticed>,
    notices: mpsc::UnboundedReceiver<Noticed>,
    /// What the engine does all the time.
    background: Option<BoxFuture<'static, ()>>,
    /// The slot that is waited for.
    asked_slot: Option<BoxFuture<'static, Option<OwnedSemaphorePermit>>>,
    /// The slot of the step that starts next.
    slot: Option<OwnedSemaphorePermit>,
    pending: VecDeque<Batch>,
    view: RunView,
    over: bool,
    lost: Option<String>,
    unshown: Vec<String>,
}

impl Driver<'_> {
    fn begin(&mut self, started: RunStarted) {
        let mut effects = vec![Effect::Emit(Box::new(Event::RunStarted(Box::new(started))))];
        effects.extend(self.drive.run.handle(Input::Begin));
        self.carry_out(effects);
    }

    fn done(&self) -> bool {
        let kept = self.pending.is_empty() || self.lost.is_some();
        (self.over || self.lost.is_some()) && kept && self.jobs.is_empty()
    }

    async fn wait(&mut self) {
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        tokio::select! {
            biased;
            Some(cause) = self.drive.signals.recv() => self.input(Input::Asked(cause)),
            // What waits for a writer that is no more would wait for ever.
            result = self.drive.committed.recv(), if !self.pending.is_empty() && self.lost.is_none() => {
                self.committed(result.unwrap_or_else(|| Err(StoreError::Crashed.to_string())));
            }
            Some(notice) = self.notices.recv() => self.noticed(notice),
            Some(done) = self.jobs.join_next() => self.task(done),
            Some(()) = OptionFuture::from(self.background.as_mut()) => self.background = None,
            Some(slot) = OptionFuture::from(self.asked_slot.as_mut()) => {
                (self.asked_slot, self.slot) = (None, slot);
                self.input(Input::Slot);
            }
            Some(why) = self.trouble.recv() => self.input(Input::Broken(why)),
            () = sleep_until(timer.unwrap_or(self.begun)), if timer.is_some() => {
                if let Some(Reverse((_, _, timer))) = self.timers.pop() {
                    self.input(Input::Woken(timer));
                }
            }
            () = sleep_until(self.tick), if self.tick_ms.is_some() => self.ticked(),
            Some(printed) = self.output.recv() => {
                self.print(&printed);
                tokio::task::yield_now().await; // however much is printed, an end is seen when it comes
            }
        }
    }

    fn input(&mut self, input: Input) {
        let effects = self.drive.run.handle(input);
        self.carry_out(effects);
    }

    /// Keeps what an engine tells, and tells it when that is on disk; that never comes where events are kept no longer.
    fn noticed(&mut self, (step, notice, kept): Noticed) {
        if self.lost.is_some() {
            return unkept::tell(&notice);
        }
        self.input(Input::Noticed { step, notice });
        if let Some(batch) = self.pending.back_mut() {
            batch.told.push(kept);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut events = Vec::new();
        let mut publish = Vec::new();
        for effect in effects {
            match effect {
                Effect::Emit(event) => events.push(self.stamp(*event)),
                Effect::Start { step, attempt, inputs } => self.start(step, attempt, inputs),
                Effect::AskSlot => {
                    let slots = self.drive.slots.clone();
                    self.asked_slot = slots.map(|slots| slots.acquire_owned().map(Result::ok).boxed());
                }
                Effect::LeaveSlot => self.slot = None,
                Effect::Wake(timer, ms) => self.wake(timer, ms),
                Effect::Flush(steps) => self.flush(steps),
                Effect::Publish(step, staged) => {
                    publish.push((step, self.drive.run.name(step).to_owned(), staged));
                }
                Effect::StopStep(step, stop) => {
                    if let Some(to) = self.stops.get(&step) {
                        tell(to, stop);
                    }
                }
                Effect::Stop(stop) => {
                    self.asked = self.asked.max(stop);
                    self.stops.values().for_each(|to| tell(to, stop));
                }
                // Whoever waits for a slot may have it: what ends with the run may take its time.
                Effect::End => (self.over, self.asked_slot, self.slot) = (true, None, None),
            }
        }
        if !events.is_empty() {
            let digests = std::mem::take(&mut self.drive.seen);
            let events: Arc<[Stamped]> = events.into();
            let number = self.drive.journal.append(Arc::clone(&events), digests);
            self.pending.push_back(Batch { number, events, publish, told: Vec::new() });
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn stamp(&mut self, event: Event) -> Stamped {
        let elapsed = self.begun.elapsed();
        let at = self.drive.began.checked_add(elapsed).unwrap_or(self.drive.began);
        let seq = self.seq;
        self.seq += 1;
        Stamped { version: VERSION, job: self.drive.job.clone(), seq, at, elapsed_ms: self.elapsed_ms(), event }
    }

    fn wake(&mut self, timer: Timer, ms: u64) {
        // A time that cannot be told comes after all that can happen.
        let Some(at) = Instant::now().checked_add(Duration::from_millis(ms)) else { return };
        self.timers.push(Reverse((at, self.wakes, timer)));
        self.wakes += 1;
    }

    fn start(&mut self, step: usize, attempt: u32, inputs: Vec<(NodeId, Digest)>) {
        let log = self.drive.run.log(step, attempt);
        let files = self.drive.run.files(step);
        let stood = self.drive.run.stood(step);
        let attempt = Attempt { job: self.drive.job.clone(), number: attempt, log, inputs, files, stood };
        let updates = Updates::new(step, self.output_to.clone(), self.trouble_to.clone());
        let updates = updates.with_notices(self.notices_to.clone());
        tracing::debug!(step = self.drive.run.name(step), log = attempt.log, "a step starts");
        let work = Arc::clone(&self.drive.works[step]);
        let (to, stop) = watch::channel(self.asked);
        self.stops.insert(step, to);
        let began = Instant::now();
        let slot = self.slot.take();
        self.jobs.spawn(async move {
            let _slot = slot;
            let run = AssertUnwindSafe(async { work.run(attempt, updates, stop).await });
            let attempted = run.catch_unwind().await;
            let attempted = attempted.unwrap_or_else(|panic| Ended::Failed(crashed(panic.as_ref())).into());
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            Done::Ended(step, attempted, took_ms)
        });
    }

    fn blocking(&mut self, work: impl FnOnce() -> Done + Send + 'static) {
        if self.drive.threads {
            self.jobs.spawn_blocking(work);
        } else {
            self.jobs.spawn(async { work() });
        }
    }

    fn task(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Ended(step, attempted, took_ms)) => {
                self.print_waiting(step);
                // What it could not keep is known before anything starts in its place.
                while let Ok(why) = self.trouble.try_recv() {
                    self.input(Input::Broken(why));
                }
                self.stops.remove(&step);
                self.input(Input::Ended { step, attempted, took_ms });
            }
            Ok(Done::Flushed(results)) => self.input(Input::Flushed(results)),
            Ok(Done::Published(results)) => {
                for (step, result) in results {
                    let result = result.map(|published| {
                        self.drive.seen.extend(published.seen);
                        published.replaced
                    });
                    self.input(Input::Published { step, result });
                }
            }
            // Every task catches its panics, and none is aborted.
            Err(error) => self.input(Input::Broken(error.to_string())),
        }
    }

    fn committed(&mut self, result: Result<u64, String>) {
        let number = match result {
            Ok(number) => number,
            Err(error) => {
                tracing::debug!(%error, "events could not be kept");
                self.lost = Some(error.clone());
                self.pending.iter_mut().for_each(|batch| batch.told.clear());
                self.input(Input::Broken(error));
                return;
            }
        };
        tracing::trace!(number, "events are on disk");
        let mut publish = Vec::new();
        while self.pending.front().is_some_and(|batch| batch.number <= number) {
            let Some(batch) = self.pending.pop_front() else {
                break;
            };
            for event in batch.events.iter() {
                self.show(event);
            }
            publish.extend(batch.publish);
            for waiting in batch.told {
                if waiting.send(()).is_err() {
                    tracing::debug!("who waited for the disk was stopped");
                }
            }
        }
        let view = &self.view;
        keep_sound(&mut self.drive.reporters, &mut self.unshown, |reporter| reporter.flush(view));
        if !publish.is_empty() {
            self.publish(publish);
        }
    }

    fn show(&mut self, event: &Stamped) {
        self.view.apply(event);
        let view = &self.view;
        keep_sound(&mut self.drive.reporters, &mut self.unshown, |reporter| reporter.event(view, event));
    }

    fn print(&mut self, printed: &Printed) {
        let Printed { step, bytes, dropped } = printed;
        if *dropped > 0 {
            *self.left_out.entry(*step).or_default() += dropped;
        }
        if self.drive.reporters.iter().any(|reporter| reporter.is_behind()) {
            *self.left_out.entry(*step).or_default() += bytes.len() as u64;
            return;
        }
        self.tell_left_out(*step);
        self.print_bytes(*step, bytes);
    }

    fn print_bytes(&mut self, step: usize, bytes: &[u8]) {
        let name = self.drive.run.name(step);
        keep_sound(&mut self.drive.reporters, &mut self.unshown, |reporter| reporter.output(name, bytes));
    }

    fn tell_left_out(&mut self, step: usize) {
        if let Some(bytes) = self.left_out.remove(&step) {
            let text = format!("\n… {} left out here, the log has all of it\n", size(bytes));
            self.print_bytes(step, text.as_bytes());
        }
    }

    /// A step has ended: what it printed comes before that is told.
    fn print_waiting(&mut self, ended: usize) {
        while let Ok(printed) = self.output.try_recv() {
            self.print(&printed);
        }
        self.tell_left_out(ended);
    }

    /// All that was told is to be written, however long that takes. A signal ends the process now: all is done that it could stop.
    fn finish(&mut self) {
        self.drive.signals.close();
        if let Ok(signal) = self.drive.signals.try_recv() {
            self.unshown.push(format!("{signal} came before all was written that is to be shown"));
            return;
        }
        keep_sound(&mut self.drive.reporters, &mut self.unshown, |reporter| reporter.finish());
    }

    fn ticked(&mut self) {
        self.tick = Instant::now() + Duration::from_millis(self.tick_ms.unwrap_or(1_000));
        let (view, elapsed_ms) = (&self.view, self.elapsed_ms());
        keep_sound(&mut self.drive.reporters, &mut self.unshown, |reporter| reporter.tick(view, elapsed_ms));
    }
}

fn tell(work: &watch::Sender<Stop>, stop: Stop) {
    work.send_modify(|now| *now = (*now).max(stop));
}

/// Calls each reporter; one that fails is not called again, and the run goes on. A reader that went away has seen enough;
/// anything else that goes wrong is told when the run is over.
fn keep_sound(
    reporters: &mut Vec<Box<dyn Reporter>>,
    unshown: &mut Vec<String>,
    mut call: impl FnMut(&mut dyn Reporter) -> std::io::Result<()>,
) {
    reporters.retain_mut(|reporter| {
        let Err(error) = call(reporter.as_mut()) else { return true };
        tracing::debug!(%error, "a reporter is not called again");
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            unshown.push(error.to_string());
        }
        false
    });
}

fn crashed(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::new(FailureCode::Crashed, format!("this is a bug in Kiln: {}", text.unwrap_or("a panic")))
}

#[cfg(test)]
mod tests;
