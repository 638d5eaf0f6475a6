//! Processes of this machine, named so that a number that was given to another one since is not taken for it. Signals only
//! what it has looked at. Where the system does not tell when a process began (it is not Linux), its number has to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::process::{Pid, Signal};
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

/// What is known of a process that is looked at.
struct Look {
    parent: i32,
    began: u64,
    name: String,
    /// It has ended, and only its parent has not noticed.
    ended: bool,
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
        let Some(pid) = self.raw() else { return Ok(false) };
        send(self, pid, signal)
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
        let mut children: BTreeMap<i32, Vec<(i32, u64)>> = BTreeMap::new();
        for pid in fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        {
            if let Some(look) = look(pid).filter(|look| !look.ended) {
                children.entry(look.parent).or_default().push((pid, look.began));
            }
        }
        let (mut found, mut seen, boot) = (Vec::new(), BTreeSet::from([self.pid]), boot());
        let mut next = vec![self.pid];
        while let Some(pid) = next.pop() {
            for (child, began) in children.remove(&pid).unwrap_or_default() {
                if seen.insert(child) {
                    found.push(Self { pid: child, began: Some(began), boot: boot.clone() });
                    next.push(child);
                }
            }
        }
        found
    }
}

/// The way to a process is opened before it is looked at: it then stays the way to that one.
#[cfg(target_os = "linux")]
fn send(process: &Process, pid: Pid, signal: Signal) -> std::io::Result<bool> {
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let way = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(way) => way,
        Err(Errno::SRCH) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if !process.lives() {
        return Ok(false);
    }
    match pidfd_send_signal(way, signal) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn send(process: &Process, pid: Pid, signal: Signal) -> std::io::Result<bool> {
    if !process.lives() {
        return Ok(false);
    }
    rustix::process::kill_process(pid, signal)?;
    Ok(true)
}

fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

/// A process as `/proc` shows it. Its name may hold anything, so the fields behind it are counted from its last bracket.
fn look(pid: i32) -> Option<Look> {
    let stat = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?).into_owned();
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.chars().filter(|c| !c.is_control()).collect();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ended = matches!(*fields.first()?, "Z" | "X");
    Some(Look { parent: fields.get(1)?.parse().ok()?, began: fields.get(19)?.parse().ok()?, name, ended })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

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
