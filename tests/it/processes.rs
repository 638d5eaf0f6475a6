//! Help for tests with real processes: the program `fx`, waiting for what must come, and looking for what must not be left.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::Project;

/// Whatever a test waits for comes sooner than this, or never.
const NEVER: Duration = Duration::from_secs(60);

/// The program that behaves as badly as it is told to.
pub(crate) fn fx() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let fx = tests.parent().unwrap().parent().unwrap().join("examples/fx");
    assert!(fx.is_file(), "{} is built with the tests", fx.display());
    fx
}

/// Waits until `done`.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < NEVER, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A word that no other process has among its arguments.
pub(crate) struct Mark(String);

impl Mark {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Self(format!("mark=kiln-test-{}-{}-", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)))
    }

    /// As an argument for `fx`.
    pub(crate) fn word(&self) -> &str {
        &self.0
    }

    /// The numbers of the living processes that bear it.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let bears = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == self.0.as_bytes())
        };
        numbers("/proc").into_iter().filter(bears).collect()
    }

    /// Asserts that no process bears it, now.
    #[track_caller]
    pub(crate) fn none(&self) {
        assert_eq!(self.pids(), [] as [u32; 0]);
    }
}

impl Drop for Mark {
    /// A test that failed leaves nothing behind.
    fn drop(&mut self) {
        for pid in self.pids() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The guardian of a Kiln that runs.
#[track_caller]
pub(crate) fn guardian(kiln: &Child) -> rustix::process::Pid {
    let mut found = None;
    until("the guardian is there", || {
        let children = |thread| fs::read_to_string(format!("/proc/{}/task/{thread}/children", kiln.id()));
        let threads = numbers(&format!("/proc/{}/task", kiln.id()));
        let children: String = threads.into_iter().filter_map(|thread| children(thread).ok()).collect();
        let is_guardian =
            |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "guardian");
        found = children.split_whitespace().find(is_guardian).and_then(|pid| pid.parse().ok());
        found.is_some()
    });
    rustix::process::Pid::from_raw(found.unwrap()).unwrap()
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

impl Project {
    /// `run = […]` with `fx` and these words.
    pub(crate) fn fx(&self, words: &[&str]) -> String {
        let fx = fx();
        let words: Vec<_> = std::iter::once(fx.to_str().unwrap()).chain(words.iter().copied()).collect();
        format!("run = {words:?}\n")
    }

    /// Waits until there is something at `path`.
    #[track_caller]
    pub(crate) fn wait_for(&self, path: &str) {
        until(path, || self.exists(path));
    }

    /// Waits until nothing is left of a run whose Kiln was killed.
    #[track_caller]
    pub(crate) fn settled(&self) {
        for lock in fs::read_dir(self.path(".kiln/locks")).unwrap() {
            fs::File::open(lock.unwrap().path()).unwrap().lock().unwrap();
        }
    }

    /// Waits until a run of that pipeline, which has been told to be over, has let go of everything.
    #[track_caller]
    pub(crate) fn free(&self, pipeline: &str) {
        fs::File::open(self.path(&format!(".kiln/locks/{pipeline}.lock"))).unwrap().lock().unwrap();
    }

    /// The log of the last attempt at a step.
    #[track_caller]
    pub(crate) fn log(&self, step: &str) -> Vec<u8> {
        let mut logs: Vec<PathBuf> = Vec::new();
        for run in fs::read_dir(self.path(".kiln/logs")).unwrap() {
            let files = fs::read_dir(run.unwrap().path()).unwrap().map(|file| file.unwrap().path());
            logs.extend(
                files.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with(&format!("{step}."))),
            );
        }
        logs.sort();
        fs::read(logs.last().unwrap_or_else(|| panic!("{step} has no log"))).unwrap()
    }
}
