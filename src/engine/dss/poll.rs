//! Follows all jobs of an engine at once: one list tells where they stand, and only a job that has ended is asked for by
//! itself. Also fetches the lists that are looked at before a job is asked for, one for all who want one. Does not know what
//! the jobs build.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::engine::dss::asks::{Ask, Followed, Key, Listed, Looked};
use crate::engine::dss::calls::Calls;
use crate::engine::dss::fault::{Fault, Kind};
use crate::engine::dss::looks::Looks;
use crate::engine::dss::source::{Source, Sources};
use crate::engine::dss::watched::{Watched, unlisted};
use crate::pipeline::dss_wire::{JobItem, JobStatus};

/// The shortest time between two looks at the same.
pub(super) const SHORTEST: Duration = Duration::from_millis(200);
/// The shortest time between the beginnings of two calls that look at what goes on: at most five a second, also where some
/// are longer on their way than others.
const APART: Duration = Duration::from_millis(220);
/// So many jobs are looked at less often.
const MANY: usize = 50;
/// How many jobs that no list tells of are asked for by themselves at once; one where there are more than a few.
const SINGLE: usize = 2;
/// After how long without a word a job is asked for by itself, where lists leave more than a few open.
const LONG: Duration = Duration::from_secs(2);
/// How many such jobs are a few.
const FEW: usize = 8;
/// How many jobs that have ended are asked for at once, where the server keeps up.
pub(super) const ENDS: usize = 32;

enum Done {
    Listed(String, Vec<oneshot::Sender<Listed>>, Result<Vec<JobItem>, Fault>),
    Round(Look, Duration, Result<Vec<JobItem>, Fault>),
    Status(Key, Why, Result<Box<JobStatus>, Fault>),
    Looked(Key, Looked),
}

/// Why a job is asked for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Someone wants to know how far it is.
    Live,
    /// No list told of it.
    Single,
    /// It has ended.
    End,
}

/// A look at the jobs of a project.
struct Look {
    project: String,
    source: Source,
    /// How many jobs were asked for.
    limit: usize,
}

/// The poller of one engine.
pub(super) struct Poller {
    calls: Calls,
    asks: mpsc::UnboundedReceiver<Ask>,
    poll: Duration,
    lost_after: Duration,
    sources: Sources,
    watched: BTreeMap<Key, Watched>,
    waiting: BTreeMap<String, Vec<oneshot::Sender<Listed>>>,
    listing: BTreeSet<String>,
    flight: FuturesUnordered<BoxFuture<'static, Done>>,
    drives: FuturesUnordered<BoxFuture<'static, ()>>,
    /// How many calls of the round are on their way, and how long the slowest of them took.
    round: usize,
    took: Duration,
    /// Whether the last round told nothing of some jobs.
    dim: bool,
    /// Of how many jobs the last lists of all told, and of how many they were to.
    told: (usize, usize),
    round_began: Instant,
    next_round: Instant,
    next_call: Instant,
    /// How many jobs are asked for in a list of all: more than are followed, since others have jobs too.
    reach: usize,
    singles: usize,
    /// Jobs that someone wants to know as they are now.
    looks: Looks,
    /// Jobs that have ended and are to be asked for, how many are, and how many may be at once.
    ends: VecDeque<Key>,
    ending: usize,
    wide: usize,
    /// When the server last answered as it should.
    heard: Instant,
    /// How many answers about single jobs in a row could not be read.
    unread: u32,
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
            sources: Sources::default(),
            watched: BTreeMap::new(),
            waiting: BTreeMap::new(),
            listing: BTreeSet::new(),
            flight: FuturesUnordered::new(),
            drives: FuturesUnordered::new(),
            round: 0,
            took: Duration::ZERO,
            dim: false,
            told: (0, 0),
            round_began: now,
            next_round: now,
            next_call: now,
            reach: 100,
            singles: 0,
            looks: Looks::default(),
            ends: VecDeque::new(),
            ending: 0,
            wide: ENDS,
            heard: now,
            unread: 0,
        }
    }

    /// Answers questions for as long as someone may ask.
    pub(super) async fn run(mut self) {
        loop {
            let due = self.round == 0 && self.watched.values().any(|watched| !watched.asking);
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
            Ask::Slot(reply) => drop(reply.send(self.slot())),
            Ask::Look { project, job, reply } => {
                self.looks.add((project, job), reply);
                self.look_next();
            }
            Ask::Follow { project, job, live, reply } => {
                if self.watched.is_empty() {
                    self.heard = Instant::now();
                    self.next_round = Instant::now() + self.poll;
                }
                match self.watched.entry((project, job)) {
                    Entry::Occupied(mut one) => one.get_mut().join(live, reply),
                    Entry::Vacant(place) => drop(place.insert(Watched::new(live, reply))),
                }
                self.reach = self.reach.max(2 * self.watched.len());
            }
        }
    }

    /// The time at which the next call that looks may begin.
    fn slot(&mut self) -> Instant {
        let at = self.next_call.max(Instant::now()).max(self.calls.peer.quiet_until());
        // Only tests look more often.
        self.next_call = at + if self.poll < SHORTEST { self.poll } else { APART };
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

    /// Asks for the next job that someone wants to know as it is now.
    fn look_next(&mut self) {
        let Some(key) = self.looks.next() else { return };
        let (calls, at) = (self.calls.clone(), self.slot());
        self.flight.push(
            async move {
                sleep_until(at).await;
                let status = calls.status(&key.0, &key.1).await;
                Done::Looked(key, status.map(Arc::new))
            }
            .boxed(),
        );
    }

    fn begin_round(&mut self) {
        self.watched.retain(|_, watched| watched.wanted());
        let usual = self.sources.next(self.dim);
        (self.round_began, self.took, self.dim) = (Instant::now(), Duration::ZERO, false);
        self.next_round = self.round_began + self.poll;
        let idle = || self.watched.iter().filter(|(_, watched)| !watched.asking);
        let listed = idle().filter(|(_, watched)| watched.wants_list());
        let mut projects: BTreeMap<String, Source> = BTreeMap::new();
        for ((project, _), watched) in listed {
            let source = projects.entry(project.clone()).or_insert(usual);
            // Whether a job has ended that does not tell it, only the list of all can tell.
            *source = if watched.is_quiet() { Source::All } else { *source };
        }
        let chosen = |which: &dyn Fn(&Watched) -> bool| -> Vec<Key> {
            idle().filter(|(_, watched)| which(watched)).map(|(key, _)| key.clone()).collect()
        };
        let ended = chosen(&|watched| watched.ended.is_some() && watched.is_due());
        let live = chosen(&|watched| watched.ended.is_none() && watched.live.is_some() && watched.is_due());
        live.into_iter().for_each(|key| self.status(key, Why::Live));
        projects.into_iter().for_each(|(project, source)| self.look(project, source));
        ended.into_iter().for_each(|key| self.ended(key));
        self.ask_unlisted();
    }

    /// Asks for jobs that no list tells of, each in its turn.
    fn ask_unlisted(&mut self) {
        while self.singles < SINGLE {
            let Some(key) = unlisted(&self.watched, self.poll) else { return };
            self.status(key, Why::Single);
        }
    }

    fn look(&mut self, project: String, source: Source) {
        self.round += 1;
        let (calls, at, limit) = (self.calls.clone(), self.slot(), self.reach);
        self.flight.push(
            async move {
                sleep_until(at).await;
                let jobs = match source {
                    Source::Running => calls.running(&project).await,
                    Source::All => calls.jobs(&project, Some(limit)).await,
                };
                Done::Round(Look { project, source, limit }, at.elapsed(), jobs)
            }
            .boxed(),
        );
    }

    /// A job has ended: it is asked for when its turn comes.
    fn ended(&mut self, key: Key) {
        if let Some(watched) = self.watched.get_mut(&key) {
            watched.asking = true;
            self.ends.push_back(key);
        }
        self.ask_ends();
    }

    fn ask_ends(&mut self) {
        while self.ending < self.wide {
            let Some(key) = self.ends.pop_front() else { return };
            self.status(key, Why::End);
        }
    }

    /// Asks for one job.
    fn status(&mut self, key: Key, why: Why) {
        let Some(watched) = self.watched.get_mut(&key) else { return };
        (watched.asking, watched.touched) = (true, Instant::now());
        let at = match why {
            Why::End => Instant::now().max(self.calls.peer.quiet_until()),
            Why::Live | Why::Single => self.slot(),
        };
        *self.count(why) += 1;
        let calls = self.calls.clone();
        self.flight.push(
            async move {
                sleep_until(at).await;
                let status = calls.status(&key.0, &key.1).await;
                Done::Status(key, why, status.map(Box::new))
            }
            .boxed(),
        );
    }

    fn count(&mut self, why: Why) -> &mut usize {
        match why {
            Why::Live => &mut self.round,
            Why::Single => &mut self.singles,
            Why::End => &mut self.ending,
        }
    }

    fn done(&mut self, done: Done) {
        let in_round = self.round > 0;
        match done {
            Done::Listed(project, replies, jobs) => {
                self.listing.remove(&project);
                self.listed(replies, jobs);
                self.list(project);
            }
            Done::Round(look, took, jobs) => {
                self.round -= 1;
                self.took = self.took.max(took);
                match jobs {
                    Ok(jobs) => self.seen(look, &jobs),
                    Err(fault) => self.not_seen(look, &fault),
                }
            }
            Done::Status(key, why, status) => {
                *self.count(why) -= 1;
                if why == Why::End {
                    // As many at once as the server can take.
                    self.wide = if status.is_ok() { (self.wide + 1).min(ENDS) } else { (self.wide / 2).max(1) };
                }
                self.status_seen(&key, status);
                if why == Why::End && self.watched.get(&key).is_some_and(Watched::is_due) {
                    // It did not tell how the job ended: the next answer may.
                    self.next_round = self.next_round.min(Instant::now() + self.poll / 4);
                }
                self.ask_ends();
                self.ask_unlisted();
            }
            Done::Looked(key, status) => {
                if status.is_ok() {
                    self.heard = Instant::now();
                }
                self.looks.told(&key, &status);
                self.look_next();
            }
        }
        if in_round && self.round == 0 {
            let poll = match self.dim {
                // The next list may tell more.
                true => self.poll / 4,
                false if self.watched.len() > MANY => self.poll * 2,
                false => self.poll,
            };
            // A server that takes its time is given as much again.
            self.next_round = Instant::now() + poll.max(self.took.min(self.lost_after / 8));
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

    /// A list came: what it shows as ended is asked for; what it tells nothing of is looked for elsewhere.
    fn seen(&mut self, look: Look, jobs: &[JobItem]) {
        self.heard = Instant::now();
        let Look { project, source, limit } = look;
        self.sources.came(source);
        let lines: BTreeMap<&str, &JobItem> = jobs.iter().filter_map(|job| Some((job.id()?, job))).collect();
        // What is not told of may be behind the end of the list.
        let more = source == Source::All && jobs.len() >= limit;
        let (mut ended, mut absent) = (Vec::new(), Vec::new());
        let mut open = 0;
        for (key, watched) in self.watched.iter_mut().filter(|(key, watched)| key.0 == project && watched.is_listed()) {
            watched.see(lines.get(key.1.as_str()).copied());
            let lacks = watched.ended.is_none() && watched.touched < self.round_began;
            if lacks && source == Source::All && !more {
                watched.lacks();
            }
            if watched.asking || watched.is_unlisted() {
                continue;
            }
            open += 1;
            match watched.ended {
                Some(_) if watched.is_due() => ended.push(key.clone()),
                Some(_) => {}
                None if watched.touched < self.round_began => absent.push((watched.touched, key.clone())),
                None => {}
            }
        }
        if source == Source::All {
            self.told = (self.told.0 / 2 + open - absent.len(), self.told.1 / 2 + open);
        }
        ended.into_iter().for_each(|key| self.ended(key));
        if source == Source::Running && jobs.iter().any(|job| job.id().is_none()) {
            // Lines that name no job: what it lacks may go on.
            self.sources.no_running();
        }
        if source == Source::Running && absent.len() > 1 {
            self.look(project, Source::All);
        } else if more && !absent.is_empty() {
            self.reach = self.reach.max(limit.saturating_mul(4));
            self.look(project, Source::All);
        } else {
            self.dim |= !absent.is_empty();
            absent.sort();
            // Where lists leave much open, or mostly tell, the next one is worth more, unless lists never tell of it.
            let strange = absent.len() <= SINGLE && absent.iter().all(|(_, key)| self.watched[key].stranger);
            let few = strange || absent.len() <= FEW && (source == Source::Running || !self.lists_tell());
            let single = match absent.first() {
                Some((touched, _)) if !few => usize::from(touched.elapsed() > LONG),
                Some(_) | None => SINGLE,
            };
            let free = single.saturating_sub(self.singles);
            absent.into_iter().take(free).for_each(|(_, key)| self.status(key, Why::Single));
        }
    }

    /// Whether the list of all jobs told of most that it was to tell of.
    fn lists_tell(&self) -> bool {
        2 * self.told.0 > self.told.1
    }

    fn not_seen(&mut self, look: Look, fault: &Fault) {
        let kinds = [Kind::NotFound, Kind::Refused, Kind::Mute, Kind::Odd, Kind::Forbidden];
        if look.source == Source::Running && kinds.contains(&fault.kind) {
            // Servers before 15.2 take the question for the id of a job; some keys may not see what others run.
            tracing::debug!(%fault, "the server has no list of running jobs");
            self.sources.no_running();
            self.look(look.project, Source::All);
            return;
        }
        tracing::debug!(%fault, "jobs cannot be looked at");
        self.sources.failed(look.source);
        self.give_up(fault, |key| key.0 == look.project);
    }

    /// Jobs cannot be looked at: if that will stay so, or has been so for too long, who waits is told.
    fn give_up(&mut self, fault: &Fault, concerns: impl Fn(&Key) -> bool) {
        let patience = self.calls.peer.patience(fault, self.lost_after);
        let all = fault.hopeless() || self.heard.elapsed() >= patience;
        // What other calls come to is no word on a job.
        let lost = self.watched.iter().filter(|(_, watched)| all || watched.heard.elapsed() >= patience);
        let lost = lost.filter(|(key, _)| concerns(key));
        let lost: Vec<_> = lost.map(|(key, watched)| (key.clone(), watched.lost(fault))).collect();
        lost.into_iter().for_each(|(key, followed)| self.tell(&key, followed));
    }

    fn status_seen(&mut self, key: &Key, status: Result<Box<JobStatus>, Fault>) {
        let Some(watched) = self.watched.get_mut(key) else { return };
        watched.asking = false;
        match status {
            Ok(status) => {
                (self.heard, self.unread) = (Instant::now(), 0);
                let lacking = watched.live.is_none() && watched.ended.is_none() && !status.state().is_empty();
                if let Some(followed) = watched.hear(status, self.lost_after) {
                    self.tell(key, followed);
                } else if lacking && self.sources.has_running() {
                    self.sources.lacks();
                }
            }
            Err(fault) if fault.kind == Kind::NotFound && !fault.page => {
                if let Some(followed) = watched.not_known() {
                    self.tell(key, followed);
                }
            }
            // Other calls may go well: then it is not waited for without an end.
            Err(fault) => {
                self.unread += 1;
                let patience = self.calls.peer.patience(&fault, self.lost_after);
                match watched.unread(&fault, patience, self.unread) {
                    Some(followed) => self.tell(key, followed),
                    // Lists may be allowed where this is not, and tell its end.
                    None if fault.kind == Kind::Forbidden => {}
                    None => self.give_up(&fault, |other| other == key),
                }
            }
        }
    }

    fn tell(&mut self, key: &Key, followed: Followed) {
        let replies = self.watched.remove(key).map(|watched| watched.replies).unwrap_or_default();
        for reply in replies {
            // Who asked may have been stopped since.
            drop(reply.send(followed.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
