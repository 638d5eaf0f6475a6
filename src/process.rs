//! Processes of this machine, named so that a number that was given to another one since is not taken for it. Signals only
//! what it has looked at. Where the system does not tell when a process began (it is not Linux), its number has to do.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// A process, for good: its number, and when it began.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it began, in the system's ticks since it was started; none where the system does not tell.
    pub began: Option<u64>,
    /// The start of the system that it belongs to; none where the system does not tell.
    pub boot: Option<String>,
}

/// A process as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// When it began: with the number it names a process for good, until the system is started again.
    pub(crate) began: u64,
    /// It has ended, and only its parent has not noticed.
    pub(crate) ended: bool,
    pub(crate) name: String,
}

impl Look {
    /// What `/proc/PID/stat` says. The name may hold anything, so the fields behind it are counted from its last bracket.
    fn parse(stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(')')?;
        let (pid, name) = head.split_once('(')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |i: usize| fields.get(i)?.parse::<i32>().ok();
        Some(Self {
            pid: pid.trim().parse().ok()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            began: fields.get(19)?.parse().ok()?,
            ended: matches!(*fields.first()?, "Z" | "X"),
            name: name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        })
    }

    /// For people.
    pub(crate) fn label(&self) -> String {
        format!("{} (pid {})", self.name, self.pid)
    }

    /// Signals it, if it is still the one that was seen. It may end at any time, and then there is nothing to do.
    pub(crate) fn signal(&self, signal: Signal) {
        let is_same = || look(self.pid).is_some_and(|now| now.began == self.began);
        if let Some(pid) = Pid::from_raw(self.pid)
            && let Err(error) = send(pid, signal, &is_same)
        {
            tracing::debug!(%error, pid = self.pid, "it cannot be signalled");
        }
    }
}

/// A process as it is now.
pub(crate) fn look(pid: i32) -> Option<Look> {
    Look::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// All processes that can be seen.
pub(crate) fn all() -> Vec<Look> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| look(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Those of `processes` that descend from one of `roots`, the roots themselves included.
pub(crate) fn below<'a>(processes: &'a [Look], roots: &HashSet<i32>) -> Vec<&'a Look> {
    let parents: HashMap<i32, i32> = processes.iter().map(|process| (process.pid, process.parent)).collect();
    let descends = |process: &&Look| {
        let mut pid = process.pid;
        // What is seen while it changes might be a ring.
        for _ in 0..parents.len() + 1 {
            if roots.contains(&pid) {
                return true;
            }
            match parents.get(&pid) {
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    processes.iter().filter(descends).collect()
}

impl Process {
    /// This process.
    #[must_use]
    pub fn this() -> Self {
        Self::at(i32::try_from(std::process::id()).unwrap_or_default())
    }

    /// The process that has this number now.
    #[must_use]
    pub fn at(pid: i32) -> Self {
        Self { pid, began: look(pid).map(|look| look.began), boot: boot() }
    }

    /// Whether it is still there and has not ended.
    #[must_use]
    pub fn lives(&self) -> bool {
        match look(self.pid) {
            Some(look) => !look.ended && Some(look.began) == self.began && boot() == self.boot,
            None => {
                self.began.is_none() && self.raw().is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
            }
        }
    }

    /// Sends it a signal, unless it is not there any more. Whether it was.
    ///
    /// # Errors
    /// What the system says.
    pub fn signal(&self, signal: Signal) -> std::io::Result<bool> {
        self.raw().map_or(Ok(false), |pid| send(pid, signal, &|| self.lives()))
    }

    fn raw(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }

    /// Its number and name, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match look(self.pid) {
            Some(look) => format!("{} ({})", self.pid, look.name),
            None => self.pid.to_string(),
        }
    }

    /// All that descends from it, as far as the system tells.
    #[must_use]
    pub fn descendants(&self) -> Vec<Self> {
        let (all, boot) = (all(), boot());
        let below = below(&all, &HashSet::from([self.pid])).into_iter();
        let living = below.filter(|process| process.pid != self.pid && !process.ended);
        living.map(|process| Self { pid: process.pid, began: Some(process.began), boot: boot.clone() }).collect()
    }
}

/// Sends a signal to a process, if it still is the one that is meant. Whether it was.
fn send(pid: Pid, signal: Signal, is_same: &dyn Fn() -> bool) -> std::io::Result<bool> {
    // The way to a process is opened before it is looked at: it then stays the way to that one. A system that has no such ways
    // is given the number.
    let way = way(pid);
    if !is_same() {
        return Ok(false);
    }
    match way.map_or_else(|| kill_process(pid, signal), |way| send_through(&way, signal)) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(target_os = "linux")]
fn way(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(target_os = "linux")]
fn send_through(way: &OwnedFd, signal: Signal) -> Result<(), Errno> {
    rustix::process::pidfd_send_signal(way, signal)
}

#[cfg(not(target_os = "linux"))]
fn way(_: Pid) -> Option<OwnedFd> {
    None
}

#[cfg(not(target_os = "linux"))]
fn send_through(_: &OwnedFd, _: Signal) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn process(pid: i32, parent: i32) -> Look {
        Look { pid, parent, group: pid, session: 1, began: 0, ended: false, name: format!("p{pid}") }
    }

    #[test]
    fn a_name_may_hold_what_separates_fields() {
        let stat = "42 (a) (b) Z) S 7 42 40 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let seen = Look::parse(stat).unwrap();
        assert_eq!((seen.name.as_str(), seen.pid, seen.parent), ("a) (b) Z", 42, 7));
        assert_eq!((seen.group, seen.session, seen.began, seen.ended), (42, 40, 98_765, false));
        assert_eq!(Look::parse("42 (a"), None);
    }

    #[test]
    fn descendants_are_found_and_rings_end() {
        let all = [process(2, 1), process(3, 2), process(4, 3), process(5, 1), process(6, 7), process(7, 6)];
        let found: Vec<_> = below(&all, &HashSet::from([2])).iter().map(|process| process.pid).collect();
        assert_eq!(found, [2, 3, 4]);
    }

    #[test]
    fn a_number_that_belongs_to_another_process_is_not_signalled() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let process = Process::at(i32::try_from(child.id()).unwrap());
        let strangers = [
            Process { began: process.began.map(|began| began + 1), ..process.clone() },
            Process { boot: Some("another".to_owned()), ..process },
        ];
        for stranger in strangers {
            assert!(!stranger.lives());
            assert!(!stranger.signal(Signal::KILL).unwrap());
        }
        assert!(process.lives());
        assert!(Process::this().descendants().contains(&process));
        assert!(process.signal(Signal::KILL).unwrap());
        child.wait().unwrap();
        assert!(!process.lives());
        assert!(!process.signal(Signal::KILL).unwrap());
    }
}
