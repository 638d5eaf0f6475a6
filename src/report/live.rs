//! Shows a run on a terminal: the lines that stay, and below them what runs just now. Asks for the size of the terminal at
//! each drawing, hides nothing and takes no input. Does not know what the lines that stay say.

use std::fmt;
use std::io::{self, Write};

use super::api::Reporter;
use super::estimate;
use super::feed::{Feed, NAME, WORD};
use super::line::{Line, Tint};
use super::screen::{Drawn, Screen};
use super::style::{OutputMode, Style, step_word};
use crate::base::text::millis;
use crate::event::Stamped;
use crate::view::{RunView, StepState, StepView};

/// Tells how many columns and rows the terminal has.
pub type Size = Box<dyn Fn() -> (u16, u16)>;

/// How often the region is drawn, in milliseconds.
const TICK: u64 = 100;
/// How much may wait for the next drawing.
const PENDING: usize = 64 << 10;
/// A terminal with fewer rows has no room for a region.
const LOW: usize = 3;
/// A terminal with fewer columns has no room for a margin.
const NARROW: usize = 60;

/// Lines that stay, above a region that is drawn again and again.
pub struct Live<W> {
    out: W,
    feed: Feed,
    size: Size,
    screen: Screen,
    pending: String,
}

impl<W> fmt::Debug for Live<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let screen = &self.screen;
        f.debug_struct("Live").field("screen", screen).finish_non_exhaustive()
    }
}

impl<W: Write> Live<W> {
    /// Draws on `out`, a terminal of the size that `size` tells. The width of `style` does not matter. `state` is the state's
    /// folder as it is put before the paths of logs.
    pub fn new(out: W, size: Size, style: Style, output: OutputMode, state: impl Into<String>) -> Self {
        Self {
            out,
            feed: Feed::new(style, output, state.into()),
            size,
            screen: Screen::default(),
            pending: String::new(),
        }
    }

    fn draw(&mut self, view: &RunView, elapsed_ms: u64) -> io::Result<()> {
        let (width, height) = (self.size)();
        // The last column stays free: what a terminal does behind it differs.
        let (width, room) = (usize::from(width), usize::from(width.saturating_sub(1)));
        let color = self.feed.style().color;
        let region = self
            .region(view, elapsed_ms, width, usize::from(height))
            .into_iter()
            .map(|line| Drawn { text: line.render(color, Some(room)), columns: line.width().min(room) })
            .collect();
        let frame = self.screen.frame(&self.pending, region, width);
        self.pending.clear();
        self.write(&frame)
    }

    fn write(&mut self, frame: &str) -> io::Result<()> {
        if frame.is_empty() {
            return Ok(());
        }
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }

    /// The running steps, the oldest first, and the status; nothing before the run and after it.
    fn region(&self, view: &RunView, elapsed_ms: u64, width: usize, height: usize) -> Vec<Line> {
        if view.head.is_none() || view.end.is_some() || height < LOW {
            return Vec::new();
        }
        let mut running: Vec<&StepView> = view.steps.iter().filter(|step| is_running(step)).collect();
        running.sort_by_key(|step| step.began_ms);
        let margin = if width < NARROW { 2 } else { WORD };
        let room = (height / 2).saturating_sub(1);
        let shown = match running.len() {
            all if all <= room => all,
            _ => room.saturating_sub(1),
        };
        let mut lines: Vec<Line> = running[..shown].iter().map(|step| self.running(step, elapsed_ms, margin)).collect();
        if shown < running.len() && room > 0 {
            let more = format!("… and {} more", running.len() - shown);
            lines.push(Line::new().at(margin, Tint::Dim, &more));
        }
        lines.push(status(view, elapsed_ms, running.len()));
        lines
    }

    fn running(&self, step: &StepView, elapsed_ms: u64, margin: usize) -> Line {
        let (word, tint) = step_word(step.state);
        let ran = elapsed_ms.saturating_sub(step.began_ms) / 1_000 * 1_000;
        let name = margin + NAME - WORD;
        let took = margin + self.feed.after_names() - WORD;
        let line =
            Line::new().at(margin, tint, word).at(name, Tint::Plain, &step.plan.id).at(took, Tint::Plain, &millis(ran));
        match step.plan.expected_ms {
            Some(ms) => line.at(took + 7, Tint::Dim, &format!("~{}", estimate::rough(ms))),
            None => line,
        }
    }
}

impl<W: Write> Reporter for Live<W> {
    fn event(&mut self, view: &RunView, event: &Stamped) -> io::Result<()> {
        self.feed.set_width((self.size)().0);
        self.pending += &self.feed.event(view, event);
        self.draw(view, event.elapsed_ms)
    }

    fn output(&mut self, step: &str, bytes: &[u8]) -> io::Result<()> {
        self.pending += &self.feed.output(step, bytes);
        if self.pending.len() < PENDING {
            return Ok(()); // the next tick shows it
        }
        let frame = self.screen.above(&self.pending);
        self.pending.clear();
        self.write(&frame)
    }

    fn tick(&mut self, view: &RunView, elapsed_ms: u64) -> io::Result<()> {
        self.draw(view, elapsed_ms)
    }

    fn wants_output(&self) -> bool {
        self.feed.wants_output()
    }

    fn tick_ms(&self) -> u64 {
        TICK
    }
}

fn is_running(step: &StepView) -> bool {
    matches!(step.state, StepState::Running | StepState::Publishing)
}

/// `[2/5] 3 running · 1 failed · 0:42 · ~1m left`
fn status(view: &RunView, elapsed_ms: u64, running: usize) -> Line {
    let waiting = view.in_state(StepState::Waiting).count();
    let all = view.steps.len();
    let parts = [
        (running, "running", Tint::Plain),
        (waiting, "waiting", Tint::Plain),
        (view.in_state(StepState::Failed).count(), "failed", Tint::Bad),
    ];
    let mut line = Line::new().tint(Tint::Strong, &format!("[{}/{all}]", all - waiting - running));
    line = line.text(" ");
    for (n, word, tint) in parts.into_iter().filter(|(n, ..)| *n > 0) {
        line = line.tint(tint, &format!("{n} {word}")).text(" · ");
    }
    if view.stopping.is_some() {
        line = line.tint(Tint::Warn, "stopping").text(" · ");
    }
    line = line.text(&stopwatch(elapsed_ms));
    match estimate::left(view, elapsed_ms) {
        None | Some(0) => line,
        Some(ms) => line.text(&format!(" · ~{} left", estimate::rough(ms))),
    }
}

/// `0:42`, `1:02:03`.
fn stopwatch(ms: u64) -> String {
    let secs = ms / 1_000;
    let (hours, minutes, secs) = (secs / 3_600, secs % 3_600 / 60, secs % 60);
    match hours {
        0 => format!("{minutes}:{secs:02}"),
        _ => format!("{hours}:{minutes:02}:{secs:02}"),
    }
}
