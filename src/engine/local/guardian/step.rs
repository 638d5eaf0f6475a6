//! One step, as the guardian has it: started, asked to end, ended with all that belongs to it.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command as Builder;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, timeout};

use crate::engine::local::guardian::orders::{Command, Order, Report};
use crate::engine::local::guardian::serve::{House, LOOK_AGAIN};
use crate::engine::local::guardian::tree::{self, Mark};
use crate::engine::local::guardian::wire::Wire;
use crate::process::{self, Look};

/// What does not end within this time is left to the end of the run.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves steps to their ends, one after the other. When Kiln does not want one any more, all of it is ended.
pub(super) async fn serve(way: OwnedFd, house: Rc<House>) {
    let Ok(mut wire) = Wire::new(way) else { return };
    while let Ok(Some(order)) = wire.receive().await {
        let command = match order {
            Order::Start(command) => command,
            // The step that this was meant for has ended meanwhile.
            Order::Ask | Order::Kill | Order::Finish { .. } => continue,
        };
        let outputs = wire.take_fd().and_then(|out| Ok((out, wire.take_fd()?)));
        let started = outputs.and_then(|(out, err)| start(&house, &command, out, err));
        match started {
            Ok(step) => step.serve(&mut wire).await,
            Err(error) => tell(&wire, &Report::NotStarted(error.raw_os_error())).await,
        }
    }
}

fn start(house: &Rc<House>, command: &Command, out: OwnedFd, err: OwnedFd) -> io::Result<Step> {
    let (name, arguments) = command.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut builder = Builder::new(&command.program);
    builder.arg0(name).args(arguments).current_dir(&command.workdir);
    builder.env_clear().envs(command.env.iter().map(|(name, value)| (name, &value.0)));
    let pipe = format!("pipe:[{}]", rustix::fs::fstat(&err)?.st_ino);
    builder.stdin(house.nothing.try_clone()?).stdout(out).stderr(err).process_group(0);
    let child = house.spawn(&mut builder)?;
    let main = i32::try_from(child.id()).map_err(io::Error::other)?;
    let mark = Mark { variables: command.marks.clone(), pipe };
    Ok(Step { house: Rc::clone(house), main, mark, alive: true })
}

async fn tell(wire: &Wire, report: &Report) {
    // A Kiln that has gone is noticed where its orders are waited for.
    drop(wire.send(report, &[]).await);
}

struct Step {
    house: Rc<House>,
    main: i32,
    mark: Mark,
    /// Whether the main process has not been reaped: its number, and that of its group, are its own.
    alive: bool,
}

impl Step {
    async fn serve(mut self, wire: &mut Wire) {
        let Some(status) = self.until_end(wire).await else { return };
        self.alive = false;
        let left = self.is_left();
        tell(wire, &Report::Ended { status, left }).await;
        if left {
            let ended = self.until_finished(wire).await;
            tell(wire, &Report::Finished(ended)).await;
        }
    }

    async fn until_end(&self, wire: &mut Wire) -> Option<i32> {
        let mut end = self.house.watch(self.main);
        let mut wanted = true;
        loop {
            tokio::select! {
                biased;
                status = &mut end => return status.ok().map(|status| status.as_raw()),
                order = wire.receive::<Order>(), if wanted => match order {
                    Ok(Some(Order::Ask)) => self.signal(Signal::TERM),
                    Ok(Some(Order::Kill)) => self.signal(Signal::KILL),
                    Ok(Some(Order::Start(_) | Order::Finish { .. })) => {} // neither makes sense now
                    Ok(None) | Err(_) => {
                        wanted = false;
                        self.signal(Signal::KILL);
                    }
                }
            }
        }
    }

    /// The main process has ended: waits until all others have, ends them when Kiln says so, and names those.
    async fn until_finished(&self, wire: &mut Wire) -> Vec<String> {
        while self.is_left() {
            tokio::select! {
                () = self.house.changed.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                order = wire.receive::<Order>() => match order {
                    Ok(Some(Order::Ask)) => self.signal(Signal::TERM),
                    Ok(Some(Order::Finish { grace_ms })) => return self.finish(Duration::from_millis(grace_ms)).await,
                    Ok(Some(Order::Kill | Order::Start(_)) | None) | Err(_) => return self.finish(Duration::ZERO).await,
                }
            }
        }
        Vec::new()
    }

    /// Asks what is left to end, ends it after `grace`, and names it.
    async fn finish(&self, grace: Duration) -> Vec<String> {
        let mut seen = BTreeMap::new();
        let begun = Instant::now();
        if !grace.is_zero() {
            let all = process::all();
            for process in self.members(&all) {
                seen.insert(process.pid, process.label());
                process.signal(Signal::TERM);
            }
        }
        while begun.elapsed() < grace + PATIENCE {
            let all = process::all();
            let left = self.members(&all);
            if left.is_empty() {
                break;
            }
            for process in left {
                seen.insert(process.pid, process.label());
                if begun.elapsed() >= grace {
                    process.signal(Signal::KILL);
                }
            }
            // Whether it was a child that ended or something below one: look again soon.
            drop(timeout(LOOK_AGAIN, self.house.changed.notified()).await);
        }
        seen.into_values().collect()
    }

    fn signal(&self, signal: Signal) {
        if self.alive {
            tree::signal_group(self.main, signal);
        }
        // Of those that were in the group just now all have it; what got away since is found before the step counts as ended.
        let all = if self.alive { self.house.look() } else { process::all().into() };
        for process in self.members(&all) {
            if !self.alive || process.group != self.main {
                process.signal(signal);
            }
        }
    }

    /// Whether anything but the main process is left.
    fn is_left(&self) -> bool {
        if !tree::group_lives(self.main) && !self.house.has_orphans() {
            return false;
        }
        !self.members(&process::all()).is_empty()
    }

    /// The living processes of this step.
    fn members<'a>(&self, all: &'a [Look]) -> Vec<&'a Look> {
        let mut roots: HashSet<i32> = self.alive.then_some(self.main).into_iter().collect();
        for process in all.iter().filter(|process| process.parent == self.house.me && !process.ended) {
            if !self.house.is_main(process.pid) && tree::is_marked(process, self.main, &self.mark) {
                roots.insert(process.pid);
            }
        }
        let mut members = process::below(all, &roots);
        members.retain(|process| !process.ended);
        members
    }
}
