//! Whether the system has killed something here because memory ran out. Knows no processes.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Remembers how often that has happened.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    /// Not known before something was started.
    seen: OnceLock<AtomicU64>,
}

impl Kills {
    /// Something is about to be started: what happened before is not its end.
    pub(crate) fn watch(&self) -> &AtomicU64 {
        self.seen.get_or_init(|| AtomicU64::new(count().unwrap_or(0)))
    }

    /// Whether it has happened since it is watched, or was asked for. Where the system does not tell, it has not.
    pub(crate) fn happened(&self) -> bool {
        is_more(self.watch(), count().unwrap_or(0))
    }
}

/// Whether it is a higher count than the last one, which it replaces.
fn is_more(last: &AtomicU64, now: u64) -> bool {
    now > last.swap(now, Ordering::Relaxed)
}

/// How many processes of Kiln's control group the system has killed for want of memory.
fn count() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    kills(&fs::read_to_string(Path::new("/sys/fs/cgroup").join(own).join("memory.events")).ok()?)
}

fn kills(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted() {
        assert_eq!(kills("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(kills("low 0\n"), None);
    }

    #[test]
    fn each_kill_is_told_once() {
        let last = AtomicU64::new(3);
        assert_eq!([3, 4, 4, 6].map(|now| is_more(&last, now)), [false, true, false, true]);
    }
}
