//! Wishes that jobs of a server end: a file for each, so that whoever may write the state's folder may wish it, and the server
//! that has the job sees it. Knows neither servers nor jobs.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::base::job::JobId;

/// The folder of wishes, in the state's folder.
const FOLDER: &str = "wishes";

fn path(state: &Path, job: &JobId) -> PathBuf {
    state.join(FOLDER).join(job.as_str())
}

/// Wishes that a job ends.
///
/// # Errors
/// What the system says.
pub fn wish(state: &Path, job: &JobId) -> io::Result<()> {
    fs::create_dir_all(state.join(FOLDER))?;
    File::create(path(state, job)).map(drop)
}

/// The wishes that nobody has heard yet.
#[must_use]
pub fn wishes(state: &Path) -> Vec<JobId> {
    let Ok(entries) = fs::read_dir(state.join(FOLDER)) else { return Vec::new() };
    entries.filter_map(|entry| Some(JobId::from_text(entry.ok()?.file_name().to_str()?))).collect()
}

/// Takes a wish away: it was heard, or is not held any more. Whether it was there.
pub fn forget(state: &Path, job: &JobId) -> bool {
    fs::remove_file(path(state, job)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_heard_once() {
        let dir = tempfile::tempdir().unwrap();
        let job = JobId::from_text("build_x_2026-11-29T10-00-00.000");
        assert!(wishes(dir.path()).is_empty() && !forget(dir.path(), &job));
        wish(dir.path(), &job).unwrap();
        assert_eq!(wishes(dir.path()), std::slice::from_ref(&job));
        assert!(forget(dir.path(), &job) && !forget(dir.path(), &job));
        assert!(wishes(dir.path()).is_empty());
    }
}
