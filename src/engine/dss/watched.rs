//! What is known of one job that is followed, from lists and from its own status, each of which may tell little: whether it
//! goes on, has ended or is gone. Asks nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::engine::dss::asks::{Followed, Key};
use crate::engine::dss::calls::Backoff;
use crate::engine::dss::fault::Fault;
use crate::engine::dss::told::Told;
use crate::engine::dss::whole::Progress;
use crate::pipeline::dss_wire::{BaseStatus, JobItem, JobStatus, is_over};

/// How often a job must be unknown to the server until it counts as gone.
const GONE_AFTER: u32 = 3;
/// How often the status of a job may not tell its end, though it has ended.
const MUTE_AFTER: u32 = 10;
/// How long the status of a job that has ended is asked for, where the server answers and does not give it: then what a list
/// told of its end has to do.
pub(super) const BELIEVED: Duration = Duration::from_secs(20);
/// How often in a row the status of a job may not be readable that has ended as lists tell, while they can be read; and how
/// often where that is so with many jobs.
const UNREAD: u32 = 5;
const UNREAD_OF_MANY: (u32, u32) = (2, 10);
/// How many lists of all jobs in a row leave a job out until it is asked for by itself: one that no list has ever told of, and
/// any other. And after how long lists are looked at for it once more.
const UNLISTED: [u32; 2] = [8, 16];
const ONCE_MORE: Duration = Duration::from_secs(5);
/// How many answers in a row tell nothing of where a job stands until lists are looked at for it.
const QUIET_AFTER: u32 = 3;

/// A job that is followed.
pub(super) struct Watched {
    pub(super) live: Option<watch::Sender<Progress>>,
    /// Who wants to know its end.
    pub(super) replies: Vec<oneshot::Sender<Followed>>,
    /// Its status is on the way, or will be.
    pub(super) asking: bool,
    /// When something last told that it goes on, or it was asked for.
    pub(super) touched: Instant,
    /// That it has ended, and its state, where a list told it.
    pub(super) ended: Option<Option<String>>,
    /// How often its status did not tell its end.
    mute: u32,
    /// How often the server did not know it.
    unknown: u32,
    /// How many answers about it in a row did not tell where it stands, and when the first of them came.
    quiet: u32,
    quiet_since: Option<Instant>,
    /// Since when its status cannot be read, whatever other calls come to.
    unread_since: Option<Instant>,
    /// How often that was so in a row, and when it is asked for again.
    unread: u32,
    backoff: Backoff,
    next: Instant,
    /// Whether a list told meanwhile that it has ended: it is not the server that cannot be asked.
    confirmed: bool,
    /// When anything last told of it.
    pub(super) heard: Instant,
    /// How many lists of all jobs in a row did not tell of it, and when the last of them came.
    lacked: u32,
    lacked_at: Instant,
    /// Whether no list has ever told of it.
    pub(super) stranger: bool,
}

/// The job that no list tells of and that was asked for longest ago, where it is time to ask again.
pub(super) fn unlisted(all: &BTreeMap<Key, Watched>, apart: Duration) -> Option<Key> {
    let due = |watched: &Watched| !watched.asking && watched.ended.is_none() && watched.is_due();
    let all = all.iter().filter(|(_, one)| one.is_unlisted() && due(one) && one.touched.elapsed() >= apart);
    all.min_by_key(|(_, one)| one.touched).map(|(key, _)| key.clone())
}

impl Watched {
    pub(super) fn new(live: Option<watch::Sender<Progress>>, reply: oneshot::Sender<Followed>) -> Self {
        Self {
            live,
            replies: vec![reply],
            asking: false,
            touched: Instant::now(),
            ended: None,
            mute: 0,
            unknown: 0,
            quiet: 0,
            quiet_since: None,
            unread_since: None,
            unread: 0,
            backoff: Backoff::new(),
            next: Instant::now(),
            confirmed: false,
            heard: Instant::now(),
            lacked: 0,
            lacked_at: Instant::now(),
            stranger: true,
        }
    }

    /// Another one wants to know its end.
    pub(super) fn join(&mut self, live: Option<watch::Sender<Progress>>, reply: oneshot::Sender<Followed>) {
        self.live = self.live.take().or(live);
        self.replies.push(reply);
    }

    /// Whether anyone still wants to know.
    pub(super) fn wanted(&mut self) -> bool {
        self.replies.retain(|reply| !reply.is_closed());
        !self.replies.is_empty()
    }

    /// Whether a list told how it ended.
    fn told(&self) -> bool {
        matches!(self.ended, Some(Some(_)))
    }

    /// Whether lists can tell more of it.
    pub(super) fn is_open(&self) -> bool {
        !self.told() || self.unread > 0 && !self.confirmed
    }

    /// Whether it may be asked for by itself: what could not be read is asked for later each time.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Whether its status does not tell where it stands, and no list has since.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet >= QUIET_AFTER
    }

    /// Whether lists are looked at for it: one that is asked for all the time needs none, as long as it tells something.
    pub(super) fn is_listed(&self) -> bool {
        self.live.is_none() || self.is_quiet()
    }

    /// Whether lists do not tell of it.
    pub(super) fn is_unlisted(&self) -> bool {
        self.lacked >= UNLISTED[usize::from(!self.stranger)] && !self.is_quiet()
    }

    /// Whether it is worth another list.
    pub(super) fn wants_list(&self) -> bool {
        self.is_listed() && self.is_open() && (!self.is_unlisted() || self.lacked_at.elapsed() >= ONCE_MORE)
    }

    /// A list of all jobs did not tell of it.
    pub(super) fn lacks(&mut self) {
        (self.lacked, self.lacked_at) = (self.lacked + 1, Instant::now());
    }

    /// What a list told of it, if anything. A line without a state tells nothing.
    pub(super) fn see(&mut self, line: Option<&JobItem>) {
        let Some(line) = line else { return };
        self.heard = Instant::now();
        let state = line.state.as_deref().filter(|state| !state.is_empty());
        if line.over() || line.tells() {
            (self.lacked, self.stranger) = (0, false);
        }
        if line.over() {
            self.confirmed |= self.unread > 0;
            let state = state.filter(|state| is_over(state)).map(str::to_owned);
            self.ended = Some(state.or(self.ended.take().flatten()));
        } else if self.ended.is_none() && line.tells() {
            (self.touched, self.unknown) = (Instant::now(), 0);
            self.readable();
            self.speaks();
        }
    }

    fn readable(&mut self) {
        (self.unread_since, self.unread, self.confirmed) = (None, 0, false);
        (self.backoff, self.next) = (Backoff::new(), Instant::now());
    }

    fn speaks(&mut self) {
        (self.quiet, self.quiet_since) = (0, None);
    }

    /// What its status told. The end, if there is one to tell, or if nothing has told where it stands for `lost_after`.
    pub(super) fn hear(&mut self, status: Box<JobStatus>, lost_after: Duration) -> Option<Followed> {
        if status.removed == Some(true) {
            return Some(Followed::Gone);
        }
        (self.unknown, self.heard) = (0, Instant::now());
        self.readable();
        if is_over(status.state()) {
            return Some(Followed::Over(status));
        }
        if self.ended.is_some() {
            let lacks = status.state().is_empty();
            return self.end_by_list(status, lacks);
        }
        if status.state().is_empty() {
            self.quiet += 1;
            let since = *self.quiet_since.get_or_insert_with(Instant::now);
            if self.is_quiet() && since.elapsed() >= lost_after {
                return Some(Followed::Lost(Fault::odd("neither its status nor a list says where it stands")));
            }
        } else {
            self.speaks();
        }
        if let Some(live) = &self.live {
            let status = Arc::new(Told::new(*status));
            live.send_modify(|progress| progress.status = Some(status));
        }
        None
    }

    /// Its status cannot be read, as that of `row` jobs in a row. What became of it, if that has gone on for too long: its end
    /// as a list told it, if one did.
    pub(super) fn unread(&mut self, fault: &Fault, lost_after: Duration, row: u32) -> Option<Followed> {
        self.unread += 1;
        // Lists are looked at for it.
        self.quiet = self.quiet.max(if fault.hopeless() { QUIET_AFTER } else { self.quiet + 1 });
        let since = *self.unread_since.get_or_insert_with(Instant::now);
        self.next = self.backoff.next(fault.retry_after).min(since + lost_after);
        let long = since.elapsed();
        let enough = match self.told() {
            true if fault.hopeless() => Duration::ZERO,
            true if !fault.is_away() => lost_after.min(BELIEVED),
            true | false => lost_after,
        };
        let often = self.unread >= UNREAD || self.unread >= UNREAD_OF_MANY.0 && row >= UNREAD_OF_MANY.1;
        let by_list = self.told() && self.confirmed && often;
        (long >= enough || by_list).then(|| self.lost(fault))
    }

    /// Nobody tells more of it: its end as a list told it, if one did.
    pub(super) fn lost(&self, fault: &Fault) -> Followed {
        match &self.ended {
            Some(Some(state)) => Followed::Listed(Box::new(ended_as(state, JobStatus::default())), fault.clone()),
            Some(None) | None => Followed::Lost(fault.clone()),
        }
    }

    /// The server does not know it. What became of it, if that says it.
    pub(super) fn not_known(&mut self) -> Option<Followed> {
        self.unknown += 1;
        let gone = self.unknown >= GONE_AFTER;
        match &self.ended {
            Some(Some(_)) => self.end_by_list(Box::default(), gone),
            Some(None) | None => gone.then_some(Followed::Gone),
        }
    }

    /// It has ended, and its status does not say how: a list may have. `believed` says that it will say no more.
    fn end_by_list(&mut self, status: Box<JobStatus>, believed: bool) -> Option<Followed> {
        self.mute += 1;
        let enough = self.mute >= MUTE_AFTER;
        match &self.ended {
            Some(Some(state)) if believed || enough => Some(Followed::Over(Box::new(ended_as(state, *status)))),
            _ if enough => Some(Followed::Lost(Fault::odd("the job has ended, and nothing says how"))),
            _ => None,
        }
    }
}

/// What a status tells, with the end that a list told.
pub(super) fn ended_as(state: &str, mut status: JobStatus) -> JobStatus {
    status.base.get_or_insert_with(BaseStatus::default).state = Some(state.to_owned());
    status
}
