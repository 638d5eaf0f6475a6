//! Shows a run on a terminal: the lines that stay, and below them what runs just now. Asks for the size of the terminal at
//! each drawing, hides nothing and takes no input. Does not know what the lines that stay say.

use std::fmt;
use std::io;

use super::api::Reporter;
use super::diagnostics::Diagnostics;
use super::estimate;
use super::feed::{Feed, NAME, SHORTEST, WORD};
use super::line::{Line, Tint};
use super::outlet::Out;
use super::plain::BEHIND;
use super::screen::{Drawn, Screen};
use super::style::{OutputMode, Style, step_word};
use super::waiting::waits;
use crate::base::text::millis;
use crate::cause::{Cause, StopSignal};
use crate::event::Stamped;
use crate::view::{RunView, StepState, StepView};

/// Tells how many columns and rows the terminal has.
pub type Size = Box<dyn Fn() -> (u16, u16)>;

/// How often the region is drawn, in milliseconds.
const TICK: u64 = 100;
/// How much may wait for the next drawing.
const PENDING: usize = 64 << 10;
/// How many steps that wait are told.
const WAITS: usize = 3;
/// A terminal with fewer rows has no room for a region.
const LOW: usize = 3;
/// What the times of a step take, in columns.
const TIMES: usize = 18;
/// A terminal with fewer columns has no room for a margin.
const NARROW: usize = 60;

/// Lines that stay, above a region that is drawn again and again.
pub struct Live<W> {
    out: W,
    feed: Feed,
    size: Size,
    screen: Screen,
    pending: String,
    /// What comes above the region, too.
    diagnostics: Option<Diagnostics>,
    /// When the region was drawn last, in milliseconds since the run began.
    drawn: Option<u64>,
}

impl<W> fmt::Debug for Live<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let screen = &self.screen;
        f.debug_struct("Live").field("screen", screen).finish_non_exhaustive()
    }
}

impl<W: Out> Live<W> {
    /// Draws on `out`, a terminal of the size that `size` tells. The width of `style` does not matter. `state` is the state's
    /// folder as it is put before the paths of logs.
    pub fn new(out: W, size: Size, style: Style, output: OutputMode, state: impl Into<String>) -> Self {
        Self {
            out,
            feed: Feed::new(style, output, state.into()),
            size,
            screen: Screen::default(),
            pending: String::new(),
            diagnostics: None,
            drawn: None,
        }
    }

    /// Has what Kiln warns of above the region until nothing is drawn any more.
    #[must_use]
    pub fn below(mut self, diagnostics: Option<Diagnostics>) -> Self {
        diagnostics.iter().for_each(Diagnostics::hold);
        self.diagnostics = diagnostics;
        self
    }

    fn draw(&mut self, view: &RunView, elapsed_ms: u64) -> io::Result<()> {
        self.drawn = Some(elapsed_ms);
        let (width, height) = (self.size)();
        // The last column stays free: what a terminal does behind it differs.
        let (width, room) = (usize::from(width), usize::from(width.saturating_sub(1)));
        let color = self.feed.style().color;
        let region = self
            .region(view, elapsed_ms, width, usize::from(height))
            .into_iter()
            .map(|line| Drawn { text: line.render(color, Some(room)), columns: line.width().min(room) })
            .collect();
        self.pending += &self.warned();
        let frame = self.screen.frame(&self.pending, region, width);
        self.pending.clear();
        self.write(&frame)
    }

    fn warned(&self) -> String {
        self.diagnostics.as_ref().map(Diagnostics::take).unwrap_or_default()
    }

    fn write(&mut self, frame: &str) -> io::Result<()> {
        if frame.is_empty() { Ok(()) } else { self.out.write_all(frame.as_bytes()) }
    }

    /// The running steps, the oldest first, what waits for them, and the status; nothing before the run and after it.
    fn region(&self, view: &RunView, elapsed_ms: u64, width: usize, height: usize) -> Vec<Line> {
        if view.head.is_none() || view.end.is_some() || height < LOW {
            return Vec::new();
        }
        let mut running: Vec<&StepView> = view.steps.iter().filter(|step| step.state.is_running()).collect();
        running.sort_by_key(|step| step.began_ms);
        let margin = if width < NARROW { 2 } else { WORD };
        let (name, took) = (margin + NAME - WORD, self.took(margin, width));
        let columns = Columns { feed: &self.feed, word: margin, name, took };
        let room = (height / 2).saturating_sub(1);
        let shown = match running.len() {
            all if all <= room => all,
            _ => room.saturating_sub(1),
        };
        let mut lines: Vec<Line> = running[..shown].iter().map(|step| columns.running(step, elapsed_ms)).collect();
        if shown < running.len() && room > 0 {
            let more = format!("… and {} more", running.len() - shown);
            lines.push(Line::new().at(margin, Tint::Dim, &more));
        }
        let mut again: Vec<&StepView> = view.in_state(StepState::Retrying).collect();
        again.sort_by_key(|step| step.again_ms);
        // After a stop nothing is tried again.
        again.retain(|_| view.stopping.is_none());
        let rest = room - lines.len().min(room);
        lines.extend(again.into_iter().take(rest).map(|step| columns.retrying(step, elapsed_ms)));
        let rest = (room - lines.len().min(room)).min(WAITS);
        let behind = width.saturating_sub(columns.took + 1);
        lines.extend(waits(view, rest, behind).iter().map(|waits| columns.waiting(waits.step, &waits.why)));
        lines.push(status(view, elapsed_ms, running.len()));
        lines
    }

    /// Where the column behind the names stands: below that of the lines that stay, as far as there is room for the times.
    fn took(&self, margin: usize, width: usize) -> usize {
        let took = margin + self.feed.after_names() - WORD;
        let took = took.min(width.saturating_sub(TIMES).max(margin + NAME - WORD + SHORTEST));
        if width < NARROW { took.min(width / 2) } else { took }
    }
}

/// Where the words of a region's lines stand.
struct Columns<'a> {
    feed: &'a Feed,
    word: usize,
    name: usize,
    took: usize,
}

impl Columns<'_> {
    fn waiting(&self, step: &str, why: &str) -> Line {
        let (word, tint) = step_word(StepState::Waiting);
        Line::new().at(self.word, tint, word).at(self.name, Tint::Dim, &self.short(step)).at(self.took, Tint::Dim, why)
    }

    /// A name that leaves room for what stands behind it.
    fn short(&self, name: &str) -> String {
        self.feed.short_name(name, self.took.saturating_sub(self.name + 2).max(SHORTEST))
    }

    fn retrying(&self, step: &StepView, elapsed_ms: u64) -> Line {
        let (word, tint) = step_word(StepState::Retrying);
        let line = Line::new().at(self.word, tint, word).at(self.name, Tint::Plain, &self.short(&step.plan.id));
        let left = step.again_ms.saturating_sub(elapsed_ms).div_ceil(1_000) * 1_000;
        let when = if left == 0 { "now".to_owned() } else { format!("in {}", millis(left)) };
        line.at(self.took, Tint::Plain, &when)
    }

    fn running(&self, step: &StepView, elapsed_ms: u64) -> Line {
        let (word, tint) = step_word(step.state);
        let ran = elapsed_ms.saturating_sub(step.began_ms);
        let line = Line::new().at(self.word, tint, word).at(self.name, Tint::Plain, &self.short(&step.plan.id));
        let line = line.at(self.took, Tint::Plain, &running(ran));
        match step.plan.expected_ms {
            Some(ms) => line.at(self.took + 7, Tint::Dim, &format!("~{}", estimate::usual(ms))),
            None => line,
        }
    }
}

impl<W> Drop for Live<W> {
    fn drop(&mut self) {
        self.diagnostics.iter().for_each(Diagnostics::release);
    }
}

impl<W: Out> Reporter for Live<W> {
    fn event(&mut self, view: &RunView, event: &Stamped) -> io::Result<()> {
        self.feed.set_width((self.size)().0);
        self.pending += &self.feed.event(view, event);
        // Events may come by the thousand, and each drawing looks at all steps: the next tick shows it.
        let just_drawn = self.drawn.is_some_and(|drawn| event.elapsed_ms.saturating_sub(drawn) < TICK);
        let soon = just_drawn && self.pending.len() < PENDING;
        if view.end.is_none() && (soon || self.out.waiting() > 0) {
            return Ok(());
        }
        self.draw(view, event.elapsed_ms)
    }

    fn flush(&mut self, view: &RunView) -> io::Result<()> {
        self.pending += &self.feed.flush(view); // the next tick shows it
        Ok(())
    }

    fn output(&mut self, step: &str, bytes: &[u8]) -> io::Result<()> {
        self.pending += &self.feed.output(step, bytes);
        if self.pending.len() < PENDING || self.out.waiting() > 0 {
            return Ok(()); // the next tick shows it
        }
        let frame = self.screen.above(&self.pending);
        self.pending.clear();
        self.write(&frame)
    }

    fn tick(&mut self, view: &RunView, elapsed_ms: u64) -> io::Result<()> {
        // A terminal that takes its time, or was told to pause, gets no more than the last state.
        if self.out.waiting() > 0 { Ok(()) } else { self.draw(view, elapsed_ms) }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn is_behind(&self) -> bool {
        self.pending.len() + self.out.waiting() > BEHIND
    }

    fn wants_output(&self) -> bool {
        self.feed.wants_output()
    }

    fn tick_ms(&self) -> u64 {
        TICK
    }
}

/// `[2/5] 2 running · 1 saving · 1 failed · 0:42 · ~1m left`; so many steps run or put their outputs in place.
fn status(view: &RunView, elapsed_ms: u64, busy: usize) -> Line {
    // Nothing tells that a command has ended before its outputs are put in place. More than may run at once do not run.
    let most = view.head.as_ref().map_or(busy, |head| head.started.max_parallel as usize);
    let running = (busy - view.in_state(StepState::Publishing).count()).min(most);
    let waiting = view.in_state(StepState::Waiting).count();
    let again = view.in_state(StepState::Retrying).count();
    let all = view.steps.len();
    // After a stop nothing more begins.
    let open = |n: usize| if view.stopping.is_some() { 0 } else { n };
    let parts = [
        (running, "running", Tint::Plain),
        (busy - running, "saving", Tint::Plain),
        (open(again), "to be retried", Tint::Warn),
        (open(waiting), "waiting", Tint::Plain),
        (view.in_state(StepState::Failed).count(), "failed", Tint::Bad),
    ];
    let mut line = Line::new().tint(Tint::Strong, &format!("[{}/{all}]", all - waiting - busy - again));
    line = line.text(" ");
    for (n, word, tint) in parts.into_iter().filter(|(n, ..)| *n > 0) {
        line = line.tint(tint, &format!("{n} {word}")).text(" · ");
    }
    if view.stopping.is_some() {
        line = line.tint(Tint::Warn, "stopping").text(" · ");
    }
    line = line.text(&stopwatch(elapsed_ms));
    // Steps that were asked to stop will not take their usual time: there is no estimate.
    if matches!(view.stopping, Some(Cause::Signal { signal: StopSignal::Interrupt })) {
        return line.text(" · Ctrl-C again ends them now");
    }
    match estimate::left(view, elapsed_ms) {
        None => line,
        Some(left) => {
            let at_least = if left.at_least { "at least " } else { "" };
            line.text(&format!(" · {at_least}~{} left", estimate::rough(left.ms)))
        }
    }
}

/// How long a step has run: with tenths as long as they can be read.
fn running(ms: u64) -> String {
    if ms < 10_000 { format!("{}.{}s", ms / 1_000, ms % 1_000 / 100) } else { millis(ms / 1_000 * 1_000) }
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
