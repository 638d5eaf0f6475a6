//! What lives on of a run whose Kiln and guardian were killed together: it is found by its marks and ended before another
//! run begins, so that the two do not write to one place. The caller holds the pipeline's locks. Knows no recipes.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::park_timeout;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::process::{self, Look};

/// What does not end within this time stays.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Ends all that bears the mark of a run of the pipeline in this root, and names it.
pub(crate) fn end(pipeline: &str, root: &Path) -> Vec<String> {
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let (mut seen, begun) = (BTreeMap::new(), Instant::now());
    while begun.elapsed() < PATIENCE {
        let all = process::all();
        let own = ancestors(&all);
        let marked =
            all.iter().filter(|process| !own.contains(&process.pid) && is_marked(process.pid, pipeline, &root));
        let marked: HashSet<i32> = marked.map(|process| process.pid).collect();
        let mut living = process::below(&all, &marked);
        living.retain(|process| !process.ended && !own.contains(&process.pid));
        if living.is_empty() {
            break;
        }
        for process in living {
            seen.insert(process.pid, process.label());
            process.signal(Signal::KILL);
        }
        park_timeout(LOOK_AGAIN);
    }
    seen.into_values().collect()
}

/// This process, and all that it descends from.
fn ancestors(all: &[Look]) -> HashSet<i32> {
    let mut own = HashSet::new();
    let mut next = Some(rustix::process::getpid().as_raw_nonzero().get());
    while let Some(pid) = next.filter(|pid| own.insert(*pid)) {
        next = all.iter().find(|process| process.pid == pid).map(|process| process.parent);
    }
    own
}

fn is_marked(pid: i32, pipeline: &str, root: &Path) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let set: Vec<(&[u8], &[u8])> = environ.split(|byte| *byte == 0).filter_map(halves).collect();
    let of_pipeline = |(name, value): &(&[u8], &[u8])| *name == b"KILN_JOB" && is_run_of(value, pipeline);
    let writes_here = |(name, value): &(&[u8], &[u8])| {
        name.starts_with(b"KILN_OUTPUT") && Path::new(OsStr::from_bytes(value)).starts_with(root)
    };
    let works_here = || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd: PathBuf| cwd.starts_with(root));
    set.iter().any(of_pipeline) && (set.iter().any(writes_here) || works_here())
}

fn halves(variable: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = variable.iter().position(|byte| *byte == b'=')?;
    Some((&variable[..at], &variable[at + 1..]))
}

/// Whether an id is that of a run of the pipeline, and not of one whose name begins like it.
fn is_run_of(job: &[u8], pipeline: &str) -> bool {
    let rest = job.strip_prefix(format!("build_{pipeline}_").as_bytes());
    rest.is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit) && !rest.contains(&b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_other_pipelines_are_not_taken_for_ones_own() {
        assert!(is_run_of(b"build_p_2026-11-23T12-00-00.123", "p"));
        for other in ["build_p_q_2026-11-23T12-00-00.123", "build_p_2_2026-11-23T12-00-00.123", "build_p_", "p"] {
            assert!(!is_run_of(other.as_bytes(), "p"), "{other}");
        }
    }

    #[test]
    fn this_process_is_among_its_ancestors() {
        let own = ancestors(&process::all());
        assert!(own.contains(&i32::try_from(std::process::id()).unwrap()) && own.len() > 1);
    }
}
