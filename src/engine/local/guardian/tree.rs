//! Processes of this machine: which there are, which belong to whom, and how one is signalled that is surely still the
//! same. Where the system does not tell (it is not Linux), none are found, and only process groups can be ended.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::process::{Pid, Signal};

/// A process as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// When it was started, in the system's own units: with the number it names a process for good.
    pub(crate) started: u64,
    /// Whether it has ended and nobody has asked yet how.
    pub(crate) zombie: bool,
    pub(crate) name: String,
}

impl Process {
    /// What `/proc/PID/stat` says.
    fn parse(stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(')')?; // a name may hold anything
        let (pid, name) = head.split_once('(')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |i: usize| fields.get(i)?.parse::<i32>().ok();
        Some(Self {
            pid: pid.trim().parse().ok()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            started: fields.get(19)?.parse().ok()?,
            zombie: matches!(*fields.first()?, "Z" | "X"),
            name: name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        })
    }

    /// For people.
    pub(crate) fn label(&self) -> String {
        format!("{} (pid {})", self.name, self.pid)
    }
}

/// What marks the processes of a step: variables of their environment, and the pipe that they print to.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// `NAME=VALUE`; all of them.
    pub(crate) variables: Vec<String>,
    /// As the system names it: `pipe:[4711]`.
    pub(crate) pipe: String,
}

/// All processes that can be seen.
#[cfg(target_os = "linux")]
pub(crate) fn all() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| look(entry.file_name().to_str()?.parse().ok()?)).collect()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn all() -> Vec<Process> {
    Vec::new()
}

/// A process as it is now.
fn look(pid: i32) -> Option<Process> {
    Process::parse(&String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// The children of a process with one thread, where the system tells them. The file stays open: it is read with each step.
#[derive(Debug)]
pub(crate) struct Children(Option<File>);

impl Children {
    pub(crate) fn of(pid: i32) -> Self {
        Self(File::open(format!("/proc/{pid}/task/{pid}/children")).ok())
    }

    /// Their numbers now.
    pub(crate) fn list(&self) -> Option<Vec<i32>> {
        let file = self.0.as_ref()?;
        let (mut text, mut buffer) = (Vec::new(), [0; 4 << 10]);
        loop {
            match file.read_at(&mut buffer, text.len() as u64).ok()? {
                0 => break,
                n => text.extend_from_slice(&buffer[..n]),
            }
        }
        let text = String::from_utf8(text).ok()?;
        Some(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }
}

/// Those of `processes` that descend from one of `roots`, the roots themselves included.
pub(crate) fn below<'a>(processes: &'a [Process], roots: &HashSet<i32>) -> Vec<&'a Process> {
    let parents: HashMap<i32, i32> = processes.iter().map(|process| (process.pid, process.parent)).collect();
    let descends = |process: &&Process| {
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

/// Whether a process that lost its parent bears the mark of a step whose main process was `main`.
pub(crate) fn is_marked(process: &Process, main: i32, mark: &Mark) -> bool {
    process.group == main || process.session == main || has_variables(process.pid, mark) || holds(process.pid, mark)
}

fn has_variables(pid: i32, mark: &Mark) -> bool {
    let Ok(environ) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
    let set: HashSet<&[u8]> = environ.split(|byte| *byte == 0).collect();
    mark.variables.iter().all(|variable| set.contains(variable.as_bytes()))
}

fn holds(pid: i32, mark: &Mark) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|target| target.as_os_str() == mark.pipe.as_str())
}

/// Whether the environment that a process was started with has a variable.
pub(crate) fn has_variable(pid: i32, name: &str) -> bool {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mut set = environ.split(|byte| *byte == 0);
    set.any(|variable| variable.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")))
}

/// Signals a process, if it is still the one that was seen.
#[cfg(target_os = "linux")]
pub(crate) fn signal(process: &Process, signal: Signal) {
    use rustix::process::{PidfdFlags, kill_process, pidfd_open, pidfd_send_signal};
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    // From now on the handle stands for whoever has the number now, and for nobody else.
    let handle = pidfd_open(pid, PidfdFlags::empty());
    if look(process.pid).is_none_or(|now| now.started != process.started) {
        return;
    }
    // It may end at any time, and then there is nothing to do.
    let _ = match handle {
        Ok(handle) => pidfd_send_signal(handle, signal),
        Err(rustix::io::Errno::NOSYS) => kill_process(pid, signal),
        Err(_) => Ok(()),
    };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn signal(_: &Process, _: Signal) {}

/// Signals a process group. Only while its leader is a child that was not asked how it ended: the number is its own then.
pub(crate) fn signal_group(leader: i32, signal: Signal) {
    if let Some(leader) = Pid::from_raw(leader) {
        // A group that has ended is what is wanted.
        let _ = rustix::process::kill_process_group(leader, signal);
    }
}

/// Whether anything is left of a process group.
pub(crate) fn group_lives(leader: i32) -> bool {
    Pid::from_raw(leader).is_some_and(|leader| rustix::process::test_kill_process_group(leader).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32) -> Process {
        let name = format!("p{pid}");
        Process { pid, parent, group: pid, session: 1, started: 0, zombie: false, name }
    }

    #[test]
    fn a_name_may_hold_what_separates_fields() {
        let stat = "42 (a) (b) Z) S 7 42 40 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let seen = Process::parse(stat).unwrap();
        assert_eq!((seen.name.as_str(), seen.pid, seen.parent), ("a) (b) Z", 42, 7));
        assert_eq!((seen.group, seen.session, seen.started, seen.zombie), (42, 40, 98_765, false));
        assert_eq!(Process::parse("42 (a"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn children_come_and_go() {
        // Of this thread alone: whatever other tests start is not its child.
        let thread = std::fs::read_link("/proc/thread-self").unwrap();
        let children = Children(File::open(format!("/proc/{}/children", thread.display())).ok());
        assert_eq!(children.list(), Some(Vec::new()));
        let mut command = std::process::Command::new("cat");
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert_eq!(children.list(), Some(vec![i32::try_from(child.id()).unwrap()]));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(children.list(), Some(Vec::new()));
    }

    #[test]
    fn descendants_are_found_and_rings_end() {
        let all = [process(2, 1), process(3, 2), process(4, 3), process(5, 1), process(6, 7), process(7, 6)];
        let found: Vec<_> = below(&all, &HashSet::from([2])).iter().map(|process| process.pid).collect();
        assert_eq!(found, [2, 3, 4]);
    }
}
