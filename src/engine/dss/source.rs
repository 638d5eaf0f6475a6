//! Which list the rounds look at: that of the running jobs, which is short, unless the server has none, or one that cannot be
//! read or tells too little. Asks nobody.

/// How often the list of running jobs may lack a job that goes on until it is not asked for any more.
const LACKS: u32 = 3;
/// How often it may be that it cannot be read while the list of all jobs can.
const BROKEN: u32 = 3;

/// Where a round looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The list of running jobs, which servers have since 15.2.
    Running,
    /// The list of all jobs.
    All,
}

/// What is known of the list of running jobs.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Whether it is of no use.
    none: bool,
    lacks: u32,
    broken: u32,
    /// Whether it could not be read the last time: then the list of all jobs shows whether that is the server's fault.
    doubted: bool,
}

impl Sources {
    /// Where the next round looks. `dim` says that the last one told nothing of some jobs: the list of all tells most for
    /// one call.
    pub(super) fn next(&self, dim: bool) -> Source {
        if self.none || self.doubted || dim { Source::All } else { Source::Running }
    }

    /// Whether the list of running jobs is of use.
    pub(super) fn has_running(&self) -> bool {
        !self.none
    }

    /// The server has no list of running jobs that is of use.
    pub(super) fn no_running(&mut self) {
        self.none = true;
    }

    /// It lacked a job that goes on.
    pub(super) fn lacks(&mut self) {
        self.lacks += 1;
        self.none |= self.lacks >= LACKS;
    }

    /// A list came.
    pub(super) fn came(&mut self, source: Source) {
        match source {
            Source::Running => self.broken = 0,
            Source::All if self.doubted => {
                self.doubted = false;
                self.none |= self.broken >= BROKEN;
            }
            Source::All => {}
        }
    }

    /// A list could not be read.
    pub(super) fn failed(&mut self, source: Source) {
        match source {
            Source::Running if !self.doubted => (self.doubted, self.broken) = (true, self.broken + 1),
            Source::Running => {}
            // It is the server: the shorter list will do again.
            Source::All => (self.doubted, self.broken) = (false, 0),
        }
    }
}
