//! Follows all jobs of an engine at once: one list tells where they stand, and only a job that has ended is asked for by
//! itself. Also fetches the lists that are looked at before a job is asked for, one for all who want one. Does not know what
//! the jobs build.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::engine::dss::calls::Calls;
use crate::engine::dss::fault::{Fault, Kind};
use crate::engine::dss::whole::Progress;
use crate::pipeline::dss_wire::{JobItem, JobStatus, is_over};

/// The shortest time between the beginnings of two calls that look at what goes on: at most five a second.
const APART: Duration = Duration::from_millis(200);
/// So many jobs are looked at less often.
const MANY: usize = 50;
/// How often a job must be unknown to the server until it counts as gone.
const GONE_AFTER: u32 = 3;
/// How often the list of running jobs may lack a job that goes on until it is not asked for any more.
const LACKS: u32 = 3;
/// How many jobs that no list shows are asked for in one round.
const SINGLE: usize = 2;

/// A question to the poller.
pub(super) enum Ask {
    /// All jobs of a project, from a list that is asked for after this question.
    Jobs(String, oneshot::Sender<Listed>),
    /// The end of a job, and how far it is until then, where someone wants to know.
    Follow { project: String, job: String, live: Option<watch::Sender<Progress>>, reply: oneshot::Sender<Followed> },
    /// Something that has to go on besides.
    Drive(BoxFuture<'static, ()>),
}

/// All jobs of a project, or why they are not known.
pub(super) type Listed = Result<Arc<Vec<JobItem>>, Fault>;

/// What became of a job.
#[derive(Debug)]
pub(super) enum Followed {
    /// It ended.
    Over(Box<JobStatus>),
    /// The server does not know it any more.
    Gone,
    /// The server could not be asked for too long.
    Lost(Fault),
}

/// A job: its project and its id.
type Key = (String, String);

struct Watched {
    live: Option<watch::Sender<Progress>>,
    reply: oneshot::Sender<Followed>,
    unknown: u32,
    /// Its end was seen, and its status is on the way.
    ending: bool,
}

enum Done {
    Listed(String, Vec<oneshot::Sender<Listed>>, Result<Vec<JobItem>, Fault>),
    Round(String, Source, Result<Vec<JobItem>, Fault>),
    Status(Key, bool, Result<Box<JobStatus>, Fault>),
}

/// Where a round looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The list of running jobs, which servers have since 15.2.
    Running,
    /// The list of all jobs.
    All,
}

/// The poller of one engine.
pub(super) struct Poller {
    calls: Calls,
    asks: mpsc::UnboundedReceiver<Ask>,
    poll: Duration,
    lost_after: Duration,
    source: Source,
    lacks: u32,
    /// Where the jobs begin that are asked for by themselves.
    turn: usize,
    watched: BTreeMap<Key, Watched>,
    waiting: BTreeMap<String, Vec<oneshot::Sender<Listed>>>,
    listing: BTreeSet<String>,
    flight: FuturesUnordered<BoxFuture<'static, Done>>,
    drives: FuturesUnordered<BoxFuture<'static, ()>>,
    /// How many calls of the round are on their way.
    round: usize,
    round_began: Instant,
    next_round: Instant,
    next_call: Instant,
    /// When the server last answered as it should.
    heard: Instant,
}

impl Poller {
    pub(super) fn new(calls: Calls, asks: mpsc::UnboundedReceiver<Ask>, poll: Duration, lost_after: Duration) -> Self {
        let now = Instant::now();
        // A round is made again anyway: a call of it is made once.
        let calls = calls.patient(Duration::ZERO);
        Self {
            calls,
            asks,
            poll,
            lost_after,
            source: Source::Running,
            lacks: 0,
            turn: 0,
            watched: BTreeMap::new(),
            waiting: BTreeMap::new(),
            listing: BTreeSet::new(),
            flight: FuturesUnordered::new(),
            drives: FuturesUnordered::new(),
            round: 0,
            round_began: now,
            next_round: now,
            next_call: now,
            heard: now,
        }
    }

    /// Answers questions for as long as someone may ask.
    pub(super) async fn run(mut self) {
        loop {
            let due = self.round == 0 && self.watched.values().any(|watched| !watched.ending);
            tokio::select! {
                biased;
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.ask(ask),
                    None => return,
                },
                Some(()) = self.drives.next(), if !self.drives.is_empty() => {}
                Some(done) = self.flight.next(), if !self.flight.is_empty() => self.done(done),
                () = sleep_until(self.next_round), if due => self.begin_round(),
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Jobs(project, reply) => {
                self.waiting.entry(project.clone()).or_default().push(reply);
                self.list(project);
            }
            Ask::Drive(drive) => self.drives.push(drive),
            Ask::Follow { project, job, live, reply } => {
                if self.watched.is_empty() {
                    self.heard = Instant::now();
                    self.next_round = Instant::now() + self.poll;
                }
                self.watched.insert((project, job), Watched { live, reply, unknown: 0, ending: false });
            }
        }
    }

    /// The time at which the next call that looks may begin.
    fn slot(&mut self) -> Instant {
        let at = self.next_call.max(Instant::now());
        self.next_call = at + APART.min(self.poll);
        at
    }

    /// Fetches a list for all who wait for one, unless one is on its way: that one began before they asked.
    fn list(&mut self, project: String) {
        if self.listing.contains(&project) {
            return;
        }
        let Some(replies) = self.waiting.remove(&project) else { return };
        self.listing.insert(project.clone());
        let (calls, at) = (self.calls.clone(), self.slot());
        self.flight.push(
            async move {
                sleep_until(at).await;
                let jobs = calls.jobs(&project, None).await;
                Done::Listed(project, replies, jobs)
            }
            .boxed(),
        );
    }

    fn begin_round(&mut self) {
        self.watched.retain(|_, watched| !watched.reply.is_closed());
        self.round_began = Instant::now();
        let open = || self.watched.iter().filter(|(_, watched)| !watched.ending);
        let listed = open().filter(|(_, watched)| watched.live.is_none());
        let projects: BTreeSet<String> = listed.map(|((project, _), _)| project.clone()).collect();
        let live: Vec<Key> = open().filter(|(_, watched)| watched.live.is_some()).map(|(key, _)| key.clone()).collect();
        live.into_iter().for_each(|key| self.status(key, false));
        for project in projects {
            self.look(project, self.source);
        }
    }

    fn look(&mut self, project: String, source: Source) {
        self.round += 1;
        let (calls, at) = (self.calls.clone(), self.slot());
        let limit = (2 * self.watched.len()).max(100);
        self.flight.push(
            async move {
                sleep_until(at).await;
                let jobs = match source {
                    Source::Running => calls.running(&project).await,
                    Source::All => calls.jobs(&project, Some(limit)).await,
                };
                Done::Round(project, source, jobs)
            }
            .boxed(),
        );
    }

    /// Asks for one job. `ended` says that its end was seen: then it is asked for at once.
    fn status(&mut self, key: Key, ended: bool) {
        let at = if ended { Instant::now() } else { self.slot() };
        if ended {
            if let Some(watched) = self.watched.get_mut(&key) {
                watched.ending = true;
            }
        } else {
            self.round += 1;
        }
        let calls = self.calls.clone();
        self.flight.push(
            async move {
                sleep_until(at).await;
                let status = calls.status(&key.0, &key.1).await;
                Done::Status(key, ended, status.map(Box::new))
            }
            .boxed(),
        );
    }

    fn done(&mut self, done: Done) {
        let in_round = self.round > 0;
        match done {
            Done::Listed(project, replies, jobs) => {
                self.listing.remove(&project);
                self.listed(replies, jobs);
                self.list(project);
            }
            Done::Round(project, source, jobs) => {
                self.round -= 1;
                match jobs {
                    Ok(jobs) => self.seen(&project, source, &jobs),
                    Err(fault) => self.not_seen(project, source, &fault),
                }
            }
            Done::Status(key, ended, status) => {
                if !ended {
                    self.round -= 1;
                }
                self.status_seen(&key, status);
            }
        }
        if in_round && self.round == 0 {
            let poll = if self.watched.len() > MANY { self.poll * 2 } else { self.poll };
            // A server that takes its time is given as much again.
            self.next_round = Instant::now() + poll.max(self.round_began.elapsed().min(self.lost_after / 8));
        }
    }

    fn listed(&mut self, replies: Vec<oneshot::Sender<Listed>>, jobs: Result<Vec<JobItem>, Fault>) {
        if jobs.is_ok() {
            self.heard = Instant::now();
        }
        let jobs = jobs.map(Arc::new);
        for reply in replies {
            // Who asked may have been stopped since.
            drop(reply.send(jobs.clone()));
        }
    }

    /// A list came: what it shows as ended is asked for; what it does not show is looked for elsewhere.
    fn seen(&mut self, project: &str, source: Source, jobs: &[JobItem]) {
        self.heard = Instant::now();
        let shown: BTreeMap<&str, bool> = jobs.iter().filter_map(|job| Some((job.id()?, job.over()))).collect();
        let mut ended = Vec::new();
        let mut absent = Vec::new();
        for (key, watched) in self
            .watched
            .iter_mut()
            .filter(|(key, watched)| key.0 == project && !watched.ending && watched.live.is_none())
        {
            match shown.get(key.1.as_str()) {
                Some(true) => ended.push(key.clone()),
                Some(false) => watched.unknown = 0,
                None => absent.push(key.clone()),
            }
        }
        ended.into_iter().for_each(|key| self.status(key, true));
        if source == Source::Running && absent.len() > 1 {
            self.look(project.to_owned(), Source::All);
        } else {
            // Not always the same ones.
            self.turn = self.turn.wrapping_add(SINGLE);
            let from = if absent.is_empty() { 0 } else { self.turn % absent.len() };
            absent.rotate_left(from);
            absent.into_iter().take(SINGLE).for_each(|key| self.status(key, false));
        }
    }

    fn not_seen(&mut self, project: String, source: Source, fault: &Fault) {
        let unknown = matches!(fault.kind, Kind::NotFound | Kind::Refused | Kind::Mute | Kind::Odd);
        if source == Source::Running && unknown {
            // Servers before 15.2 take the question for the id of a job.
            tracing::debug!(%fault, "the server has no list of running jobs");
            self.source = Source::All;
            self.look(project, Source::All);
            return;
        }
        tracing::debug!(%fault, "jobs cannot be looked at");
        self.give_up(fault, |key| key.0 == project);
    }

    /// Jobs cannot be looked at: if that will stay so, or has been so for too long, who waits is told.
    fn give_up(&mut self, fault: &Fault, concerns: impl Fn(&Key) -> bool) {
        if !fault.hopeless() && self.heard.elapsed() < self.lost_after {
            return;
        }
        let keys: Vec<Key> = self.watched.keys().filter(|key| concerns(key)).cloned().collect();
        for key in keys {
            self.tell(&key, Followed::Lost(fault.clone()));
        }
    }

    fn status_seen(&mut self, key: &Key, status: Result<Box<JobStatus>, Fault>) {
        let Some(watched) = self.watched.get_mut(key) else { return };
        watched.ending = false;
        match status {
            Ok(status) if status.removed == Some(true) => self.tell(key, Followed::Gone),
            Ok(status) => {
                self.heard = Instant::now();
                watched.unknown = 0;
                if is_over(status.state()) {
                    self.tell(key, Followed::Over(status));
                } else if let Some(live) = &watched.live {
                    let status = Arc::new(*status);
                    live.send_modify(|progress| progress.status = Some(status));
                } else if self.source == Source::Running {
                    self.lacks += 1;
                    if self.lacks >= LACKS {
                        self.source = Source::All;
                    }
                }
            }
            Err(fault) if fault.kind == Kind::NotFound => {
                watched.unknown += 1;
                if watched.unknown >= GONE_AFTER {
                    self.tell(key, Followed::Gone);
                }
            }
            Err(fault) => self.give_up(&fault, |other| other == key),
        }
    }

    fn tell(&mut self, key: &Key, followed: Followed) {
        if let Some(watched) = self.watched.remove(key) {
            // Who asked may have been stopped since.
            drop(watched.reply.send(followed));
        }
    }
}

#[cfg(test)]
mod tests;
