//! Writes each event as one line of JSON, for programs. Does not know what events mean.

use std::io::{self, Write};

use super::api::Reporter;
use crate::event::Stamped;
use crate::view::RunView;

/// What every line begins with.
pub const BEGIN: &str = "{\"version\":";

/// One line of JSON for each event.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Reporter for JsonLines<W> {
    fn event(&mut self, _view: &RunView, event: &Stamped) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.out.write_all(&line)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
