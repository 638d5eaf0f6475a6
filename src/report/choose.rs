//! Which reporter shows a run. Does not look at the terminal itself.

use super::api::Reporter;
use super::diagnostics::Diagnostics;
use super::live::{Live, Size};
use super::outlet::Out;
use super::plain::Plain;
use super::style::{OutputMode, Style};

/// What a reporter is made from.
pub struct Setup {
    /// Where it writes.
    pub out: Box<dyn Out>,
    /// How text is written.
    pub style: Style,
    /// What is shown of the output of steps.
    pub output: OutputMode,
    /// The state's folder as it is put before the paths of logs, such as `.kiln`.
    pub state: String,
    /// The size of the terminal, where `out` is one that lines can be drawn on again.
    pub terminal: Option<Size>,
    /// What Kiln warns of, where that goes to the same terminal.
    pub diagnostics: Option<Diagnostics>,
}

/// The reporter that shows a run to people: drawn again and again where there is a terminal, else line by line.
#[must_use]
pub fn reporter(setup: Setup) -> Box<dyn Reporter> {
    let Setup { out, style, output, state, terminal, diagnostics } = setup;
    match terminal {
        Some(size) => Box::new(Live::new(out, size, style, output, state).below(diagnostics)),
        None => Box::new(Plain::new(out, style, output, state)),
    }
}
