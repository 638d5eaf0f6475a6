//! The port of reporters: what shows or keeps the events of a run. Does not know who reports.

use std::io;
use std::sync::Arc;

use crate::base::file::FileDigest;
use crate::event::Stamped;
use crate::view::RunView;

/// Shows a run. It is called from one thread, in the order of the events, each after it is on disk.
pub trait Reporter {
    /// An event happened; `view` has it in already.
    ///
    /// # Errors
    /// What writing gives. The reporter is not called again.
    fn event(&mut self, view: &RunView, event: &Stamped) -> io::Result<()>;

    /// All that is known just now has been told: what was held back to be told together is due.
    ///
    /// # Errors
    /// As for [`Reporter::event`].
    fn flush(&mut self, _view: &RunView) -> io::Result<()> {
        Ok(())
    }

    /// A step printed something. Only for reporters that [want it](Reporter::wants_output).
    ///
    /// # Errors
    /// As for [`Reporter::event`].
    fn output(&mut self, _step: &str, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// Some time went by: `elapsed_ms` since the run began.
    ///
    /// # Errors
    /// As for [`Reporter::event`].
    fn tick(&mut self, _view: &RunView, _elapsed_ms: u64) -> io::Result<()> {
        Ok(())
    }

    /// The run is over, and nothing more is told: all of it is to be written.
    ///
    /// # Errors
    /// As for [`Reporter::event`].
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether so much waits to be read that what steps print is rather left out.
    fn is_behind(&self) -> bool {
        false
    }

    /// Whether it is told, at its end, also what of a run could not be kept: it tells a run as a whole.
    fn tells_unkept(&self) -> bool {
        false
    }

    /// Whether it wants the bytes that steps print.
    fn wants_output(&self) -> bool {
        false
    }

    /// How often it wants [`Reporter::tick`], in milliseconds; 0 for never.
    fn tick_ms(&self) -> u64 {
        0
    }
}

/// Keeps the events of a run, in order.
pub trait Journal {
    /// Takes events, and digests of files that were read. Returns the number of the batch, which rises by one with each
    /// call; once a batch is on disk, its number (or a higher one) is told to whoever opened the journal. Never blocks.
    fn append(&mut self, events: Arc<[Stamped]>, digests: Vec<FileDigest>) -> u64;

    /// Keeps events that it could not keep before, at once and all together.
    ///
    /// # Errors
    /// Why that is still not possible.
    fn again(&mut self, _events: &[Stamped]) -> Result<(), String> {
        Err("it keeps nothing any more".to_owned())
    }
}
