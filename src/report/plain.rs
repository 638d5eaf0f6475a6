//! Shows a run as lines that are written once, for files, pipes and build servers. Does not know what the lines say.

use std::io;

use super::api::Reporter;
use super::feed::Feed;
use super::outlet::Out;
use super::still::Quiet;
use super::style::{OutputMode, Style};
use crate::event::Stamped;
use crate::view::RunView;

/// One line for each event, what still runs where there was none for long, and a summary at the end.
#[derive(Debug)]
pub struct Plain<W> {
    out: W,
    feed: Feed,
    quiet: Quiet,
}

/// How often it is looked whether a run has been quiet for long, in milliseconds.
const LOOK: u64 = 5_000;
/// So many bytes may wait to be read before what steps print is left out.
pub(super) const BEHIND: usize = 1 << 20;

impl<W: Out> Plain<W> {
    /// Writes to `out`. `state` is the state's folder as it is put before the paths of logs.
    pub fn new(out: W, style: Style, output: OutputMode, state: impl Into<String>) -> Self {
        Self { out, feed: Feed::new(style, output, state.into()), quiet: Quiet::new() }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.quiet.ends();
        self.out.write_all(text.as_bytes())
    }
}

impl<W: Out> Reporter for Plain<W> {
    fn event(&mut self, view: &RunView, event: &Stamped) -> io::Result<()> {
        let text = self.feed.event(view, event);
        self.write(&text)
    }

    fn flush(&mut self, view: &RunView) -> io::Result<()> {
        let text = self.feed.flush(view);
        self.write(&text)
    }

    fn output(&mut self, step: &str, bytes: &[u8]) -> io::Result<()> {
        let text = self.feed.output(step, bytes);
        self.write(&text)
    }

    fn tick(&mut self, view: &RunView, elapsed_ms: u64) -> io::Result<()> {
        if !self.quiet.is_over(elapsed_ms) || view.end.is_some() {
            return Ok(());
        }
        let text = self.feed.still(view, elapsed_ms);
        self.out.write_all(text.as_bytes())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn is_behind(&self) -> bool {
        self.out.waiting() > BEHIND
    }

    fn wants_output(&self) -> bool {
        self.feed.wants_output()
    }

    fn tick_ms(&self) -> u64 {
        LOOK
    }
}
