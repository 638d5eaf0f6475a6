//! What runs say about themselves while they go on: which process they are and which paths they write, so that two
//! pipelines do not write to one path at a time, and a run can be asked to end from elsewhere. What stands in the file of a
//! run that does not hold its pipeline's lock means nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::pipeline::paths::PathSet;
use crate::process::Process;
use crate::store::lock;

/// What a run says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The process that it goes on in.
    pub process: Process,
    /// The machine of that process.
    pub host: String,
    /// What it writes, relative to the root, with the links above it followed.
    pub paths: Vec<String>,
    /// Whether the process is a server, that must not end with a run.
    #[serde(default)]
    pub serves: bool,
}

/// Why nothing was claimed.
#[derive(Debug)]
pub enum ClaimError {
    /// A run of another pipeline writes there.
    Taken {
        /// The other pipeline.
        pipeline: String,
        /// The path that both would write.
        path: String,
    },
    /// The file cannot be used.
    Io(PathBuf, io::Error),
}

/// One claim is made at a time.
const GATE: &str = ".claims.lock";

fn path(state: &Path, pipeline: &str) -> PathBuf {
    lock::beside(state, pipeline, "claim")
}

impl Claim {
    /// Claims the paths for a run that holds the lock of its pipeline in this state.
    ///
    /// # Errors
    /// Who writes there already, or why that cannot be told.
    pub fn make(&self, state: &Path, pipeline: &str) -> Result<(), ClaimError> {
        let _gate = gate(state, pipeline)?;
        // What a run before this one claimed is over.
        let own = path(state, pipeline);
        forget(&own).map_err(|error| ClaimError::Io(own, error))?;
        self.put(state, pipeline)
    }

    /// The same for who has claimed something already, which holds on if this cannot be had.
    ///
    /// # Errors
    /// Who writes there already, or why that cannot be told.
    pub fn renew(&self, state: &Path, pipeline: &str) -> Result<(), ClaimError> {
        let _gate = gate(state, pipeline)?;
        self.put(state, pipeline)
    }

    /// Whether the paths could be claimed now.
    ///
    /// # Errors
    /// Who writes there already, or why that cannot be told.
    pub fn free(state: &Path, pipeline: &str, paths: &[String]) -> Result<(), ClaimError> {
        if paths.is_empty() {
            return Ok(());
        }
        let failed = |error| ClaimError::Io(path(state, pipeline), error);
        for (other, claim) in Self::all(state).map_err(failed)?.into_iter().filter(|(other, _)| other != pipeline) {
            let theirs: PathSet<'_> = claim.paths.iter().map(String::as_str).collect();
            if let Some(path) = paths.iter().find(|path| theirs.touches(path)) {
                return Err(ClaimError::Taken { pipeline: other, path: path.clone() });
            }
        }
        Ok(())
    }

    fn put(&self, state: &Path, pipeline: &str) -> Result<(), ClaimError> {
        Self::free(state, pipeline, &self.paths)?;
        let own = path(state, pipeline);
        let failed = |error| ClaimError::Io(own.clone(), error);
        let text = serde_json::to_string(self).map_err(io::Error::other).map_err(failed)?;
        fs::write(&own, text).map_err(failed)
    }

    /// What the run of a pipeline says about itself, if one goes on and says something.
    #[must_use]
    pub fn of(state: &Path, pipeline: &str) -> Option<Self> {
        if !lock::is_held(state, pipeline) {
            return None;
        }
        serde_json::from_slice(&fs::read(path(state, pipeline)).ok()?).ok()
    }

    /// What all runs that go on say about themselves, with the names of their pipelines.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub fn all(state: &Path) -> io::Result<Vec<(String, Self)>> {
        let entries = match fs::read_dir(lock::folder(state)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut claims = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let Some(pipeline) = name.to_str().and_then(|name| name.strip_suffix(".claim")) else { continue };
            claims.extend(Self::of(state, pipeline).map(|claim| (pipeline.to_owned(), claim)));
        }
        claims.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(claims)
    }
}

fn gate(state: &Path, pipeline: &str) -> Result<File, ClaimError> {
    let open = || {
        let gate = File::options().write(true).create(true).truncate(false).open(lock::folder(state).join(GATE))?;
        gate.lock()?;
        Ok(gate)
    };
    open().map_err(|error| ClaimError::Io(path(state, pipeline), error))
}

fn forget(own: &Path) -> io::Result<()> {
    match fs::remove_file(own) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lock::{Lock, here_now};

    fn claim(paths: &[&str]) -> Claim {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Claim { process: Process::this(), host: "here".to_owned(), paths, serves: false }
    }

    #[test]
    fn two_runs_do_not_write_to_one_path() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path();
        let first = Lock::take(state, "a", &here_now()).unwrap();
        let _second = Lock::take(state, "b", &here_now()).unwrap();
        claim(&["build/x", "build/charts"]).make(state, "a").unwrap();
        assert_eq!(Claim::of(state, "a"), Some(claim(&["build/x", "build/charts"])));
        for taken in ["build/x", "build/charts/one", "build"] {
            match claim(&["other", taken]).make(state, "b") {
                Err(ClaimError::Taken { pipeline, path }) => {
                    assert_eq!((pipeline.as_str(), path.as_str()), ("a", taken));
                }
                made => panic!("{taken}: {made:?}"),
            }
        }
        claim(&["build/y", "build/xx", "build/charts2"]).make(state, "b").unwrap();
        // Who wants more and cannot have it keeps what it has.
        claim(&["build/y", "build"]).renew(state, "b").unwrap_err();
        assert_eq!(Claim::of(state, "b").unwrap().paths, ["build/y", "build/xx", "build/charts2"]);
        claim(&["build/y", "z"]).renew(state, "b").unwrap();
        assert_eq!(Claim::of(state, "b").unwrap().paths, ["build/y", "z"]);
        drop(first);
        assert_eq!(Claim::of(state, "a"), None);
        claim(&["build/x"]).make(state, "b").unwrap();
    }

    /// Each path with each would be ten thousand million comparisons.
    #[test]
    fn many_paths_are_not_compared_each_with_each() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path();
        let _locks = ["a", "b"].map(|name| Lock::take(state, name, &here_now()).unwrap());
        let all = |folder: &str| (0..100_000).map(|i| format!("build/{folder}/{i}")).collect::<Vec<_>>();
        let claim = |paths| Claim { paths, ..claim(&[]) };
        claim(all("one")).make(state, "a").unwrap();
        claim(all("other")).make(state, "b").unwrap();
        let last = [all("other"), vec!["build/one/99999/x".to_owned()]].concat();
        assert!(matches!(claim(last).renew(state, "b"), Err(ClaimError::Taken { path, .. }) if path.ends_with("/x")));
    }
}
