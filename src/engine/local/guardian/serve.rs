//! The process that is the guardian: it is the parent of all that a run starts and takes in what lost its parent, so that
//! nothing gets away. When Kiln goes, it ends everything. It holds the pipeline's locks, which are free once it has gone. It
//! knows no recipes.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustix::process::{
    Resource, Rlimit, Signal as Number, WaitOptions, WaitStatus, getrlimit, setrlimit, wait as wait_for_any,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use crate::engine::local::guardian::orders::{Farewell, HandOver};
use crate::engine::local::guardian::step;
use crate::engine::local::guardian::tree::{self, Children};
use crate::engine::local::guardian::wire::Wire;
use crate::process::{self, Look};

/// How often is looked for what nobody tells of.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// The same when all is to end, at first and after `HOPELESS`.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_secs(1);
/// After this time Kiln is told what does not end, and need not wait for it.
const HOPELESS: Duration = Duration::from_secs(2);
/// So many numbers below the limit of steps stay free for what is handed to one that is started.
const SPARE: i32 = 16;
/// The clock of a file system moves on within this time, unless it counts whole seconds.
const CLOCK: Duration = Duration::from_millis(100);

/// What all steps of the guardian share.
pub(super) struct House {
    /// The guardian's own number.
    pub(super) me: i32,
    children: Children,
    /// Where is waited for the end of main processes.
    mains: RefCell<HashMap<i32, oneshot::Sender<WaitStatus>>>,
    /// A child has ended.
    pub(super) changed: Notify,
    /// The last picture of all processes, and since when it was whole.
    picture: RefCell<Option<(Instant, Rc<[Look]>)>>,
    /// What steps read.
    pub(super) nothing: File,
    /// How many files may be open: by steps, as Kiln found it, and by the guardian, as many as can be.
    limits: (Rlimit, Rlimit),
}

/// Runs the guardian until Kiln has gone and nothing is left. Steps may open so many files.
///
/// # Errors
/// What the system says before anything was started.
pub(crate) fn guard(files: u64) -> io::Result<()> {
    // Refused only to the leader of a group: then this is a session of its own already.
    let _ = rustix::process::setsid();
    let me = rustix::process::getpid();
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_child_subreaper(Some(me))?;
        // Not `kiln`: whoever ends all that is called so is to leave it alone, for it has to end the rest.
        rustix::thread::set_name(c"guardian")?;
    }
    let nothing = File::open("/dev/null")?;
    let limits = limits(files);
    let mains = RefCell::default();
    let me = me.as_raw_nonzero().get();
    let (changed, picture) = (Notify::new(), RefCell::default());
    let house = House { me, children: Children::of(me), mains, changed, picture, nothing, limits };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(Rc::new(house)))
}

async fn serve(house: Rc<House>) -> io::Result<()> {
    let _deaf = deafen()?;
    let mut ends = signal(SignalKind::child())?;
    let mut link = Wire::new(io::stdin().as_fd().try_clone_to_owned()?)?;
    let mut steps = FuturesUnordered::new();
    let (mut locks, mut ended) = (Vec::new(), None);
    loop {
        tokio::select! {
            biased;
            Some(()) = ends.recv() => house.reap(),
            Some(()) = steps.next(), if !steps.is_empty() => {}
            handed = link.receive::<HandOver>() => {
                match handed.ok().flatten().and_then(|what| Some((what, link.take_fd().ok()?))) {
                    Some((HandOver::Lock, lock)) => locks.push(lock),
                    Some((HandOver::Ended, file)) => ended = Some(File::from(file)),
                    Some((HandOver::Step, way)) => steps.push(step::serve(house.lifted(way), Rc::clone(&house))),
                    None => break, // Kiln has gone, or has had enough
                }
            }
        }
    }
    drop(steps);
    let heard = house.end_all(&link, &mut ends).await;
    match ended {
        Some(file) if !heard => mark(&file).await,
        Some(_) | None => Ok(()),
    }
}

/// Writes to a file at a later time than that of all that was written before: until the clock of its file system has moved on.
pub(crate) async fn mark(file: &File) -> io::Result<()> {
    let write = || {
        file.write_all_at(b"\n", 0)?;
        let metadata = file.metadata()?;
        Ok::<_, io::Error>((metadata.mtime(), metadata.mtime_nsec()))
    };
    let (first, begun) = (write()?, Instant::now());
    while write()? == first && begun.elapsed() < CLOCK {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Signals that end others do nothing here. They are caught, not ignored, so that children get them as ever.
fn deafen() -> io::Result<Vec<Signal>> {
    let kinds = [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::terminate(),
        SignalKind::alarm(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ];
    kinds.into_iter().map(signal).collect()
}

/// How many files steps may open, and how many the guardian may.
fn limits(files: u64) -> (Rlimit, Rlimit) {
    let own = getrlimit(Resource::Nofile);
    (Rlimit { current: (files < u64::MAX).then_some(files), maximum: own.maximum }, own)
}

impl House {
    /// A descriptor that is kept. One that would take the last numbers below the limit of steps is lifted above it: what is handed
    /// to a process that is started has to have a number below.
    fn lifted(&self, fd: OwnedFd) -> OwnedFd {
        let Some(limit) = self.limits.0.current.and_then(|limit| i32::try_from(limit).ok()) else { return fd };
        if fd.as_raw_fd() < limit.saturating_sub(SPARE) {
            return fd;
        }
        // Where there is nothing above, nothing is lowered either.
        rustix::io::fcntl_dupfd_cloexec(&fd, limit).unwrap_or(fd)
    }

    /// Starts a process with the limits that were found.
    pub(super) fn spawn(&self, command: &mut std::process::Command) -> io::Result<std::process::Child> {
        let (steps, own) = &self.limits;
        if steps == own {
            return command.spawn();
        }
        setrlimit(Resource::Nofile, *steps)?;
        let child = command.spawn();
        setrlimit(Resource::Nofile, *own)?;
        child
    }

    /// Waits for the end of a main process, from now on.
    pub(super) fn watch(&self, pid: i32) -> oneshot::Receiver<WaitStatus> {
        let (ended, watch) = oneshot::channel();
        self.mains.borrow_mut().insert(pid, ended);
        watch
    }

    /// Asks all children that have ended how. False when there are no children any more.
    fn reap_some(&self) -> bool {
        loop {
            match wait_for_any(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let main = self.mains.borrow_mut().remove(&pid.as_raw_nonzero().get());
                    if let Some(ended) = main {
                        // A step that does not wait any more is being ended.
                        let _ = ended.send(status);
                    }
                }
                Ok(None) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    fn reap(&self) {
        self.reap_some();
        self.changed.notify_waiters();
    }

    /// Whether the guardian has children that are no main processes. Cheap where the system tells children.
    pub(super) fn has_orphans(&self) -> bool {
        match self.children.list() {
            Some(children) => {
                let mains = self.mains.borrow();
                children.iter().any(|child| !mains.contains_key(child))
            }
            None => true,
        }
    }

    /// Whether a process is the main one of a step.
    pub(super) fn is_main(&self, pid: i32) -> bool {
        self.mains.borrow().contains_key(&pid)
    }

    /// All processes as they were a moment ago, once for all who ask within it: there may be thousands. What has begun since is
    /// not in it: that nothing is left it does not tell.
    pub(super) fn look(&self) -> Rc<[Look]> {
        let mut picture = self.picture.borrow_mut();
        match &*picture {
            Some((whole, all)) if whole.elapsed() < LOOK_AGAIN => Rc::clone(all),
            _ => {
                let all: Rc<[Look]> = process::all().into();
                Rc::clone(&picture.insert((Instant::now(), all)).1)
            }
        }
    }

    /// Ends all that is there, and tells Kiln. Whether that still listens.
    async fn end_all(&self, link: &Wire, ends: &mut Signal) -> bool {
        let (mut seen, mut told, begun) = (BTreeMap::new(), None, Instant::now());
        while self.reap_some() {
            let all = process::all();
            let living: Vec<&Look> = self.below(&all).into_iter().filter(|process| !process.ended).collect();
            for process in &living {
                seen.insert(process.pid, process.label());
                process.signal(Number::KILL);
            }
            self.mains.borrow().keys().for_each(|main| tree::signal_group(*main, Number::KILL));
            if told.is_none() && begun.elapsed() > HOPELESS {
                let alive = living.iter().map(|process| process.label()).collect();
                told = Some(self.tell(link, &Farewell { ended: Vec::new(), alive }).await);
            }
            // What cannot be ended may stay for hours: the end of a child is heard of, that of others is looked for.
            let pause = if told.is_none() { SOON } else { LATER };
            drop(timeout(pause, ends.recv()).await);
        }
        match told {
            Some(heard) => heard,
            None => self.tell(link, &Farewell { ended: seen.into_values().collect(), alive: Vec::new() }).await,
        }
    }

    /// Whether Kiln hears it: it may have gone, or may not read.
    async fn tell(&self, link: &Wire, farewell: &Farewell) -> bool {
        matches!(timeout(HOPELESS, link.send(farewell, &[])).await, Ok(Ok(())))
    }

    /// All that descends from the guardian, less itself.
    pub(super) fn below<'a>(&self, all: &'a [Look]) -> Vec<&'a Look> {
        let mut below = process::below(all, &HashSet::from([self.me]));
        below.retain(|process| process.pid != self.me);
        below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_within_a_moment_get_the_same_picture() {
        let (me, changed) = (rustix::process::getpid().as_raw_nonzero().get(), Notify::new());
        let (nothing, limits) = (File::open("/dev/null").unwrap(), limits(u64::MAX));
        let (mains, picture) = (RefCell::default(), RefCell::default());
        let house = House { me, children: Children::of(me), mains, changed, picture, nothing, limits };
        let first = house.look();
        assert!(Rc::ptr_eq(&first, &house.look()));
        tokio::time::advance(LOOK_AGAIN).await;
        assert!(!Rc::ptr_eq(&first, &house.look()), "it is old by now");
    }
}
