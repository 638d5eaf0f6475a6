//! The guardian of a run: the same program, started again as the parent of all that the run starts, so that nothing of it
//! outlives Kiln, nor gets away. This is Kiln's side: it starts the guardian, hands steps over to it, and takes its place
//! when it is killed. Knows no recipes.

pub(crate) mod orders;
mod serve;
mod step;
pub(crate) mod survivors;
mod tree;
mod wire;

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep};

pub(crate) use serve::{guard, mark};

use crate::engine::api::Stop;
use crate::engine::limit::OpenFiles;
use crate::engine::local::guardian::orders::{Command, Farewell, HandOver, Order};
use crate::engine::local::guardian::tree::Children;
use crate::engine::local::guardian::wire::Wire;
use crate::process::{self, Look};

/// The hidden command that makes Kiln a guardian.
pub const COMMAND: &str = "guardian";
/// The variable that tells a guardian from what it starts.
const VARIABLE: &str = "KILN_GUARDIAN";
/// Processes of a guardian that died are ended for so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// The guardian of a run, started with its first step.
#[derive(Debug, Default)]
pub(crate) struct Guardian {
    held: Mutex<Held>,
    /// One caller at a time takes the place of a guardian that died.
    mending: tokio::sync::Mutex<()>,
    files: OpenFiles,
    /// Whether it is for commands that only look. What ends Kiln ends it too, and that is not worth a word.
    looks: bool,
}

#[derive(Debug, Default)]
struct Held {
    locks: Vec<OwnedFd>,
    ended: Option<OwnedFd>,
    /// The variable that all steps of the run have, once there was one.
    job: Option<String>,
    alive: Option<Alive>,
}

#[derive(Debug)]
struct Alive {
    link: Arc<Wire>,
    process: Child,
    /// Ways whose steps are over, for other steps.
    ways: Vec<Wire>,
    /// Whether what others left may come to Kiln, too.
    shared: bool,
}

/// The way to a step of the guardian. When it is dropped before the step is over, all of the step is ended.
#[derive(Debug)]
pub(crate) struct Way {
    /// Where orders go to and reports come from.
    pub(crate) wire: Wire,
    link: Arc<Wire>,
}

impl Guardian {
    /// That of a run, started with its first step.
    pub(crate) fn new(files: OpenFiles) -> Self {
        Self { files, ..Self::default() }
    }

    /// Another guardian, with the same limits.
    pub(crate) fn beside(&self) -> Self {
        Self { looks: true, ..Self::new(self.files.clone()) }
    }

    /// Holds a lock until the run is over, and has guardians hold it.
    pub(crate) fn hold(&self, lock: OwnedFd) {
        self.held().locks.push(lock);
    }

    /// Has guardians write to a file when Kiln has gone and nothing of the run is left.
    pub(crate) fn mark_end(&self, file: OwnedFd) {
        let mut held = self.held();
        let told = held.alive.as_ref().map(|alive| alive.link.send_short(&HandOver::Ended, file.as_fd()));
        if let Some(Err(error)) = told {
            tracing::debug!(%error, "should Kiln be killed, nobody will know when all had ended");
        }
        held.ended = Some(file);
    }

    /// Waits until there are files for one more step. It has them until it lets go of this; none where it is to end before.
    pub(crate) async fn slot(&self, mut stop: watch::Receiver<Stop>) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            // It is never closed.
            slot = Arc::clone(&self.files.slots).acquire_owned() => slot.ok(),
            Ok(_) = stop.wait_for(|stop| *stop > Stop::Go) => None,
        }
    }

    /// Has a step started, with these descriptors. A guardian that died before is replaced, once; one that dies now is
    /// noticed where its reports are waited for.
    pub(crate) async fn start(&self, command: Command, fds: &[BorrowedFd<'_>]) -> io::Result<Way> {
        let job = command.marks.iter().find(|mark| mark.starts_with("KILN_JOB="));
        self.held().job = job.cloned();
        let order = Order::Start(Box::new(command));
        let mut tried = false;
        loop {
            let (link, kept) = self.link()?;
            let sent = match kept {
                Some(wire) => wire.send(&order, fds).await.map(|()| wire),
                None => begin(&link, &order, fds).await,
            };
            match sent {
                Ok(wire) => return Ok(Way { wire, link }),
                Err(error) if tried || !is_gone(&error) => return Err(error),
                Err(_) => self.mend(&link).await,
            }
            tried = true;
        }
    }

    /// The step of this way is over: another one may have it.
    pub(crate) fn keep(&self, way: Way) {
        let Way { wire, link } = way;
        if let Some(alive) = self.held().alive.as_mut().filter(|alive| Arc::ptr_eq(&alive.link, &link)) {
            alive.ways.push(wire);
        }
    }

    /// The guardian of this way died: ends what is left of its steps.
    pub(crate) async fn lost(&self, way: &Way) {
        self.mend(&way.link).await;
    }

    async fn mend(&self, link: &Arc<Wire>) {
        let _alone = self.mending.lock().await;
        let dead = self.held().alive.take_if(|alive| Arc::ptr_eq(&alive.link, link));
        if let Some(mut dead) = dead {
            if !self.looks {
                tracing::warn!("the guardian of the run was killed; what it had started is ended");
            }
            let left = Dead::of(&dead.process, dead.shared, self.held().job.clone());
            bury(&mut dead.process);
            end_orphans(left).await;
        }
    }

    /// The run is over: lets go of the locks, ends the guardian and what is left, and tells what that was.
    pub(crate) async fn end(&self) -> Vec<String> {
        let (locks, alive, job) = {
            let mut held = self.held();
            held.ended = None;
            (std::mem::take(&mut held.locks), held.alive.take(), held.job.take())
        };
        drop(locks);
        let Some(Alive { link, mut process, ways, shared }) = alive else { return Vec::new() };
        drop(ways);
        let farewell = match Arc::into_inner(link) {
            Some(mut link) => farewell(&mut link).await,
            None => None, // a step still holds on to it: it was given up
        };
        match farewell {
            Some(Farewell { ended, alive }) if alive.is_empty() => {
                bury(&mut process);
                ended
            }
            // It stays with what does not end, and has the locks.
            Some(Farewell { alive, .. }) => {
                alive.into_iter().map(|name| format!("{name}, which does not end,")).collect()
            }
            None => {
                let left = Dead::of(&process, shared, job);
                bury(&mut process);
                end_orphans(left).await
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing is half done where this could panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the guardian, which is started if need be; and one to a step, if one was kept.
    fn link(&self) -> io::Result<(Arc<Wire>, Option<Wire>)> {
        let mut held = self.held();
        if let Some(alive) = &mut held.alive {
            return Ok((Arc::clone(&alive.link), alive.ways.pop()));
        }
        let alive = start(&held, self.files.found)?;
        Ok((Arc::clone(&held.alive.insert(alive).link), None))
    }
}

/// A new way to a step, and the order to start it.
async fn begin(link: &Wire, order: &Order, fds: &[BorrowedFd<'_>]) -> io::Result<Wire> {
    let (wire, other) = Wire::pair()?;
    link.send(&HandOver::Step, &[other.as_fd()]).await?;
    match wire.send(order, fds).await {
        Err(error) if !is_gone(&error) => Err(error),
        Ok(()) | Err(_) => Ok(wire),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

async fn farewell(link: &mut Wire) -> Option<Farewell> {
    link.close().ok()?;
    link.receive().await.ok().flatten()
}

/// Ends a guardian that has nothing to do any more, and asks how it ended.
fn bury(process: &mut Child) {
    // Both fail only where it has ended already and nobody needs to ask.
    drop(process.kill());
    drop(process.wait());
}

fn start(held: &Held, files: u64) -> io::Result<Alive> {
    let shared = is_shared();
    // What loses its guardian comes to Kiln, not to the system.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let (link, other) = Wire::pair()?;
    let mut command = std::process::Command::new(own_program()?);
    command.arg0("kiln").args([COMMAND, "--files", &files.to_string()]);
    command.env_clear().env(VARIABLE, "1").current_dir("/").stdin(other).stdout(Stdio::null());
    let process = command.spawn()?;
    for lock in &held.locks {
        link.send_short(&HandOver::Lock, lock.as_fd())?;
    }
    if let Some(file) = &held.ended {
        link.send_short(&HandOver::Ended, file.as_fd())?;
    }
    Ok(Alive { link: Arc::new(link), process, ways: Vec::new(), shared })
}

/// This very program, even if its file was replaced meanwhile.
fn own_program() -> io::Result<PathBuf> {
    let this = Path::new("/proc/self/exe");
    if this.exists() { Ok(this.to_owned()) } else { std::env::current_exe() }
}

/// What a guardian is about to start has its environment for a moment, but not a session of its own.
fn is_guardian(process: &Look) -> bool {
    process.session == process.pid && tree::has_variables(process.pid, &[format!("{VARIABLE}=1")])
}

/// Whether processes that never were a guardian's may come to Kiln when they lose their parent: it is the first process, or what
/// became Kiln had started some.
fn is_shared() -> bool {
    let me = own_pid();
    let foreign = |child: &i32| !process::look(*child).is_some_and(|child| is_guardian(&child));
    me == 1 || Children::of(me).list().is_some_and(|children| children.iter().any(foreign))
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// A guardian that died, and by what is known what it has left to Kiln.
struct Dead {
    pid: i32,
    began: u64,
    /// What it started is told from what others did by its session, which was the guardian's, and by this variable.
    job: Option<Vec<String>>,
}

impl Dead {
    /// It was not asked yet how it ended, so that its number is its own.
    fn of(process: &Child, shared: bool, job: Option<String>) -> Self {
        let pid = i32::try_from(process.id()).unwrap_or_default();
        let began = process::look(pid).map_or(0, |guardian| guardian.began);
        Self { pid, began, job: shared.then(|| job.into_iter().collect()) }
    }

    /// Whether it may have left a process that has come to Kiln. Kiln starts nothing else in another session than its own.
    fn has_left(&self, process: &Look) -> bool {
        let is_its =
            |job: &Vec<String>| process.session == self.pid || !job.is_empty() && tree::has_variables(process.pid, job);
        process.began >= self.began && self.job.as_ref().is_none_or(is_its) && !is_guardian(process)
    }
}

/// Ends what a guardian that died has left to Kiln.
async fn end_orphans(dead: Dead) -> Vec<String> {
    let me = own_pid();
    let begun = Instant::now();
    let mut seen = std::collections::BTreeMap::new();
    while begun.elapsed() < PATIENCE {
        let all = process::all();
        let Some(session) = all.iter().find(|process| process.pid == me).map(|process| process.session) else { break };
        let orphans = all.iter().filter(|process| process.parent == me && process.session != session);
        let orphans = orphans.filter(|process| process.ended || dead.has_left(process));
        let orphans: HashSet<i32> = orphans.map(|process| process.pid).collect();
        if orphans.is_empty() {
            break;
        }
        for process in process::below(&all, &orphans) {
            if !process.ended {
                seen.insert(process.pid, process.label());
                process.signal(Signal::KILL);
            } else if process.parent == me {
                // Its end is all that is asked for; it is a child and stays one until now.
                let _ = waitpid(Pid::from_raw(process.pid), WaitOptions::NOHANG);
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    seen.into_values().collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn who_is_to_end_waits_for_no_slot() {
        let guardian = Guardian::new(OpenFiles { found: 1, slots: Arc::new(Semaphore::new(1)) });
        let (to, stop) = watch::channel(Stop::Go);
        let first = guardian.slot(stop.clone()).now_or_never().flatten();
        assert!(first.is_some());
        let mut second = std::pin::pin!(guardian.slot(stop.clone()));
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        to.send(Stop::Ask).unwrap();
        assert!(second.now_or_never().is_some_and(|slot| slot.is_none()), "it waits no longer");
        drop(first);
        assert!(guardian.slot(stop).now_or_never().flatten().is_some(), "what need not wait is told elsewhere");
    }
}
