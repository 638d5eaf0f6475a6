//! Which processes belong to a step, and process groups. Where the system does not tell (it is not Linux), no processes are found,
//! and only process groups can be ended.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::process::{Pid, Signal};

use crate::process::Look;

/// What marks the processes of a step: variables of their environment, and the pipe that they print to.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// `NAME=VALUE`; all of them.
    pub(crate) variables: Vec<String>,
    /// As the system names it: `pipe:[4711]`.
    pub(crate) pipe: String,
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

/// Whether a process that lost its parent bears the mark of a step whose main process was `main`.
pub(crate) fn is_marked(process: &Look, main: i32, mark: &Mark) -> bool {
    process.group == main
        || process.session == main
        || has_variables(process.pid, &mark.variables)
        || holds(process.pid, mark)
}

/// Whether the environment that a process was started with has all of these: `NAME=VALUE`.
pub(crate) fn has_variables(pid: i32, variables: &[String]) -> bool {
    let Ok(environ) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
    let set: HashSet<&[u8]> = environ.split(|byte| *byte == 0).collect();
    variables.iter().all(|variable| set.contains(variable.as_bytes()))
}

fn holds(pid: i32, mark: &Mark) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|target| target.as_os_str() == mark.pipe.as_str())
}

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
}
