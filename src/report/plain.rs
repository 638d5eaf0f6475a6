//! Shows a run as lines that are written once, for files, pipes and build servers. Does not know what the lines say.

use std::io::{self, Write};

use super::api::Reporter;
use super::feed::Feed;
use super::style::{OutputMode, Style};
use crate::event::Stamped;
use crate::view::RunView;

/// One line for each event, and a summary at the end.
#[derive(Debug)]
pub struct Plain<W> {
    out: W,
    feed: Feed,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`. `state` is the state's folder as it is put before the paths of logs.
    pub fn new(out: W, style: Style, output: OutputMode, state: impl Into<String>) -> Self {
        Self { out, feed: Feed::new(style, output, state.into()) }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write> Reporter for Plain<W> {
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

    fn wants_output(&self) -> bool {
        self.feed.wants_output()
    }
}
