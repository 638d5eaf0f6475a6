//! A region of lines at the bottom of a terminal that is drawn again and again, with lines above it that stay. Does not know
//! what the lines say, nor where they are written: it makes one text for each frame.

use std::fmt::Write;

/// Erases from the cursor to the end of the screen.
const ERASE_BELOW: &str = "\u{1b}[J";
/// Erases the line that the cursor is in.
const ERASE_LINE: &str = "\u{1b}[2K";

/// A line of the region as it is written, and how many columns it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// The line without its end.
    pub(crate) text: String,
    /// How many columns it takes.
    pub(crate) columns: usize,
}

/// What is on the screen of ours. The cursor stands at the beginning of the line below it.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    region: Vec<Drawn>,
    width: usize,
}

impl Screen {
    /// What to write so that `scroll` (whole lines) stands above and `region` below it; nothing if all that is there
    /// already. A region of an earlier, greater width takes more rows now, as terminals wrap it again.
    pub(crate) fn frame(&mut self, scroll: &str, region: Vec<Drawn>, width: usize) -> String {
        if scroll.is_empty() && self.region == region && self.width == width {
            return String::new();
        }
        let mut out = String::from("\r");
        match self.rows(width) {
            0 => {}
            rows => {
                let _ = write!(out, "\u{1b}[{rows}A");
            }
        }
        if !scroll.is_empty() {
            out += ERASE_BELOW;
            out += scroll;
        }
        for line in &region {
            out += ERASE_LINE;
            out += &line.text;
            out.push('\n');
        }
        out += ERASE_BELOW;
        self.region = region;
        self.width = width;
        out
    }

    /// What to write so that `scroll` stands above the region as it is.
    pub(crate) fn above(&mut self, scroll: &str) -> String {
        let region = self.region.clone();
        self.frame(scroll, region, self.width)
    }

    fn rows(&self, width: usize) -> usize {
        let rows = |line: &Drawn| line.columns.div_ceil(width.max(1)).max(1);
        self.region.iter().map(rows).sum()
    }
}
