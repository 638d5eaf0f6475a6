//! How many files may be open: the limit as Kiln found it, which is that of what it starts, and raised for Kiln itself. Does not
//! know who opens them.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

/// So many files Kiln needs for itself, and so many for a step.
const OWN_FILES: u64 = 24;
const STEP_FILES: u64 = 6;

/// What the number of files that may be open comes to, the same for all of a process.
#[derive(Clone, Debug)]
pub struct OpenFiles {
    /// The number as Kiln found it: steps get this.
    pub found: u64,
    /// So many steps can be open at once, whatever the run that they belong to.
    pub slots: Arc<Semaphore>,
}

impl OpenFiles {
    /// Raises the number as far as the system allows. Once in a process: whoever asks later finds what was raised.
    #[must_use]
    pub fn raise() -> Self {
        let found = getrlimit(Resource::Nofile);
        // A limit that stays as it was is not worth a word: what needs files waits for them.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: found.maximum, maximum: found.maximum });
        let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let slots = usize::try_from(now.saturating_sub(OWN_FILES) / STEP_FILES).unwrap_or(usize::MAX);
        Self::with(found.current.unwrap_or(u64::MAX), slots)
    }

    fn with(found: u64, slots: usize) -> Self {
        Self { found, slots: Arc::new(Semaphore::new(slots.clamp(1, Semaphore::MAX_PERMITS))) }
    }
}

impl Default for OpenFiles {
    /// No limit.
    fn default() -> Self {
        Self::with(u64::MAX, usize::MAX)
    }
}
