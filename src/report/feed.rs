//! The lines that a run leaves behind on a terminal or in a file: one for each event, what steps print, the summary. Does
//! not know where they are written, nor what is drawn below them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::jobs::vars;
use super::line::{Line, Tint, columns, wrap};
use super::names::Names;
use super::output::{Block, Lines};
use super::style::{OutputMode, Style, UP_TO_DATE, step_word};
use super::{slow, summary};
use crate::base::job::JobState;
use crate::base::text::{count, few, millis};
use crate::event::{Cause, Event, Replaced, RunStarted, Stamped, StepEnded, StepRetrying};
use crate::plan::reason::ReasonCode;
use crate::view::{RunView, StepState, StepView};

/// How much of a step's output is kept until the step ends.
const BLOCK: usize = 8 << 20;
/// That it was more.
const CUT: &str = "… cut after 8 MiB";
/// How wide the column of step names gets at most, unless the terminal has room for more.
const NAMES: usize = 36;
/// How many processes that were left behind are told.
const LEAKED: usize = 5;
/// How many paths of what was replaced are told.
const KEPT: usize = 4;
/// How many names of what was also built are told.
const ALSO: usize = 8;
/// More steps that are skipped at once for one reason are a number.
const SKIPPED: usize = 10;
/// What is left of a terminal's line for what stands behind the times, where names are long, in columns: `content unchanged`.
const NOTE: usize = 17;
/// On a terminal with fewer columns nothing is left for that: it goes to a line of its own.
const NARROW: usize = 60;
/// Fewer columns are not enough for words below each other.
const WORDS: usize = 20;
/// A name is cut to so many columns and no further.
pub(crate) const SHORTEST: usize = 8;
/// Where the word of a line stands, and where the name of its step.
pub(crate) const WORD: usize = 9;
/// As for [`WORD`].
pub(crate) const NAME: usize = WORD + 7;

/// What stands in the place of a name where a note is about all that runs: no node can be called so.
const THE_RUN: &str = "(run)";

/// Writes lines for events.
#[derive(Debug)]
pub(crate) struct Feed {
    style: Style,
    output: OutputMode,
    state: String,
    names: Names,
    took: usize,
    lines: BTreeMap<String, Lines>,
    blocks: BTreeMap<String, Block>,
    /// Steps whose beginning was told.
    begun: BTreeSet<String>,
    /// What steps printed before their beginning was told: events come only when they are on disk.
    early: BTreeMap<String, Block>,
    /// Steps that were skipped at once, and are told together.
    skipped: Vec<Skip>,
    /// Those that were not started because the run was stopped.
    unstarted: Vec<Skip>,
}

/// A step that was skipped.
#[derive(Debug)]
struct Skip {
    at: Timestamp,
    step: String,
    because: Option<String>,
}

impl Feed {
    /// A feed without a line so far. `state` is the state's folder, as a prefix of paths that are shown.
    pub(crate) fn new(style: Style, output: OutputMode, state: String) -> Self {
        Self {
            style,
            output,
            state,
            names: Names::default(),
            took: 3,
            lines: BTreeMap::new(),
            blocks: BTreeMap::new(),
            begun: BTreeSet::new(),
            early: BTreeMap::new(),
            skipped: Vec::new(),
            unstarted: Vec::new(),
        }
    }

    /// The style of its lines.
    pub(crate) fn style(&self) -> &Style {
        &self.style
    }

    /// Sets how many columns there are from now on.
    pub(crate) fn set_width(&mut self, width: u16) {
        self.style.width = Some(width);
    }

    /// The column behind the names of steps.
    pub(crate) fn after_names(&self) -> usize {
        NAME + self.name_columns() + 2
    }

    /// How wide the column of names is: on a terminal there is room for what stands behind it.
    fn name_columns(&self) -> usize {
        let longest = self.names.longest();
        let Some(width) = self.style.width.map(usize::from) else { return longest.min(NAMES) };
        let note = if width < NARROW { 0 } else { 2 + NOTE };
        let room = width.saturating_sub(NAME + 2 + self.took + note);
        // One long name is not to leave half of a line empty in all others.
        longest.min(room.max(SHORTEST)).min(NAMES.max(width / 3))
    }

    /// A name as it is shown: in full where lines have no limit, and where all that stands behind it has room too.
    pub(super) fn name(&self, step: &str, behind: &[&str]) -> String {
        let behind = behind.iter().filter(|text| !text.is_empty()).map(|text| 2 + columns(text)).sum::<usize>();
        match self.style.width {
            Some(width) if NAME + columns(step) + behind > usize::from(width) => {
                self.short_name(step, self.name_columns())
            }
            _ => step.to_owned(),
        }
    }

    /// A name in so many columns, different from all others of the run.
    pub(crate) fn short_name(&self, step: &str, room: usize) -> String {
        self.names.cut(step, room)
    }

    /// Whether it shows what steps print.
    pub(crate) fn wants_output(&self) -> bool {
        self.output != OutputMode::Failed
    }

    /// The lines for an event, with their line ends; empty where it has none.
    pub(crate) fn event(&mut self, view: &RunView, event: &Stamped) -> String {
        if let Event::StepSkipped { step, because } = &event.event {
            if is_stopped_too(view, because.as_deref()) {
                self.unstarted.push(Skip { at: event.at, step: step.clone(), because: because.clone() });
                return String::new();
            }
            let same = |first: &Skip| first.because == *because;
            let before = if self.skipped.first().is_none_or(same) { String::new() } else { self.flush(view) };
            self.skipped.push(Skip { at: event.at, step: step.clone(), because: because.clone() });
            return before;
        }
        self.flush(view) + &self.lines_of(view, event)
    }

    /// The lines for what was held back to be told together.
    pub(crate) fn flush(&mut self, view: &RunView) -> String {
        let skipped = std::mem::take(&mut self.skipped);
        self.skips(view, &skipped)
    }

    fn skips(&self, view: &RunView, skipped: &[Skip]) -> String {
        let line = |skip: &Skip, name: &str, because: Option<&str>| {
            let (word, tint) = step_word(StepState::Skipped);
            let why = skipped_why(view, because);
            let line = self.clock(skip.at).at(WORD, tint, word).at(NAME, Tint::Plain, &self.name(name, &[&why]));
            self.noted(line, Tint::Plain, &why)
        };
        match skipped.first().filter(|_| skipped.len() > SKIPPED) {
            Some(first) => {
                let one = skipped.iter().all(|skip| skip.because == first.because);
                line(first, &count(skipped.len(), "step"), first.because.as_deref().filter(|_| one))
            }
            None => skipped.iter().map(|skip| line(skip, &skip.step, skip.because.as_deref())).collect(),
        }
    }

    fn lines_of(&mut self, view: &RunView, event: &Stamped) -> String {
        match &event.event {
            Event::RunQueued(_) => String::new(),
            Event::RunStarted(started) => self.began(started, event),
            Event::StepStarted { step, .. } => self.step_began(step),
            Event::StepRetrying(retrying) => self.retrying(view, retrying, event),
            Event::StepPublishing { .. } | Event::StepSubmitting { .. } | Event::StepSkipped { .. } => String::new(),
            Event::Noted { step, text } => {
                let line = self.clock(event.at).at(WORD, Tint::Warn, "note");
                let line = line.at(NAME, Tint::Plain, &self.name(step.as_deref().unwrap_or(THE_RUN), &[text]));
                self.noted(line, Tint::Plain, text)
            }
            Event::StepAccepted { remote, .. } if !remote.joined => String::new(),
            Event::StepAccepted { step, remote } => {
                let note = format!("{} was already building it", remote.id);
                let name = self.name(step, &[&note]);
                let line = self.clock(event.at).at(WORD, Tint::Calm, "join").at(NAME, Tint::Plain, &name);
                self.noted(line, Tint::Plain, &note)
            }
            Event::StepEnded(ended) => self.ended(view, ended, event),
            Event::StepCurrent { step, also_built } => {
                let also = if also_built.is_empty() { String::new() } else { format!("; {}", also(also_built)) };
                let note = format!("{UP_TO_DATE}{also}");
                self.noted(self.head(event, StepState::Current, step, &[&note]), Tint::Calm, &note)
            }
            Event::RunStopping { cause, .. } => self.style.folded(&self.stopping(view, cause, event)),
            Event::RunEnded(_) => {
                let unstarted = std::mem::take(&mut self.unstarted);
                self.skips(view, &unstarted) + &self.all_rest() + &self.summary(view)
            }
        }
    }

    /// The lines for what a step printed, as far as they are to be shown now.
    pub(crate) fn output(&mut self, step: &str, bytes: &[u8]) -> String {
        if self.output == OutputMode::Stream && !self.begun.contains(step) {
            self.early.entry(step.to_owned()).or_insert_with(|| Block::new(BLOCK)).push(bytes);
            return String::new();
        }
        match self.output {
            OutputMode::Failed => String::new(),
            OutputMode::Grouped => {
                let block = self.blocks.entry(step.to_owned());
                block.or_insert_with(|| Block::new(BLOCK)).push(bytes);
                String::new()
            }
            OutputMode::Stream => {
                let lines = self.lines.entry(step.to_owned()).or_default().push(bytes);
                self.prefixed(step, lines)
            }
        }
    }

    fn step_began(&mut self, step: &str) -> String {
        let early = self.early(step);
        let rest = self.rest(step);
        self.begun.insert(step.to_owned());
        rest + &self.output(step, &early)
    }

    fn began(&mut self, started: &RunStarted, event: &Stamped) -> String {
        self.names = Names::new(started.steps.iter().map(|step| step.id.clone()).collect());
        let expected = started.steps.iter().filter_map(|step| step.expected_ms);
        let took = expected.map(|ms| columns(&millis(ms))).max();
        self.took = took.unwrap_or_default().max(self.took);
        let planned = started.steps.len();
        let all =
            usize::try_from(started.up_to_date).unwrap_or(usize::MAX).saturating_add(planned + started.left.len());
        let steps = format!(" · {planned} of {} · ", count(all, "step"));
        let line = self.clock(event.at).text(" ").tint(Tint::Strong, event.job.as_str());
        let line = line.text(&steps).text(&format!("-j{}", started.max_parallel));
        let vars = vars(&started.vars).map(|vars| format!(" · vars {vars}"));
        let line = line.text(&vars.unwrap_or_default());
        self.style.folded(&line) + &self.foreign(started, event)
    }

    /// That what stands in the place of outputs, and is not of Kiln's making, will be replaced.
    fn foreign(&self, started: &RunStarted, event: &Stamped) -> String {
        let reasons = started.steps.iter().flat_map(|step| &step.reasons);
        let foreign = reasons.filter(|reason| reason.code == ReasonCode::OutputForeign);
        let paths: Vec<_> = foreign.filter_map(|reason| reason.what.clone()).collect();
        if paths.is_empty() {
            return String::new();
        }
        let text = format!(
            "Kiln has not built what is at {}: what is replaced is kept, unless it comes out the same",
            few(&paths, KEPT)
        );
        let line = self.clock(event.at).at(WORD, Tint::Warn, "note").at(NAME, Tint::Plain, THE_RUN);
        self.noted(line, Tint::Plain, &text)
    }

    fn ended(&mut self, view: &RunView, ended: &StepEnded, event: &Stamped) -> String {
        let took = millis(ended.took_ms);
        self.took = self.took.max(columns(&took));
        let state = StepState::of(ended.outcome);
        let step = view.step(&ended.step);
        let note = match (&ended.failure, state) {
            (Some(failure), _) => summary::message(failure, step),
            (None, StepState::Same) => same(step).to_owned(),
            (None, _) if !ended.also_built.is_empty() => also(&ended.also_built),
            (None, _) => String::new(),
        };
        let flaky = step.filter(|_| ended.flaky).map(|step| format!("flaky: {}", summary::attempts(step)));
        let leaked =
            (!ended.leaked.is_empty()).then(|| format!("leaked {}, ended with the step", few(&ended.leaked, LEAKED)));
        let kept = replaced(&ended.replaced);
        let notes: Vec<_> =
            [Some(note), flaky, kept, leaked].into_iter().flatten().filter(|note| !note.is_empty()).collect();
        let (tint, notes) = (if ended.flaky { Tint::Warn } else { Tint::Plain }, notes.join("; "));
        let line = self.head(event, state, &ended.step, &[&took, &notes]).at(self.after_names(), Tint::Plain, &took);
        let before = self.rest(&ended.step);
        let told = before + &self.noted(line, tint, &notes) + &self.block(step, &ended.step);
        match step.filter(|_| state == StepState::Failed) {
            Some(step) => told + &summary::words(step, &self.style, &self.state, self.output == OutputMode::Failed),
            None => told,
        }
    }

    fn retrying(&mut self, view: &RunView, retrying: &StepRetrying, event: &Stamped) -> String {
        let took = millis(retrying.took_ms);
        self.took = self.took.max(columns(&took));
        let step = view.step(&retrying.step);
        let attempt = step.map(summary::attempt).unwrap_or_default();
        let wait = match retrying.wait_ms {
            0 => String::new(),
            ms => format!(", again in {}", millis(ms)),
        };
        let note = format!("{}, {attempt}{wait}", summary::squeezed(&retrying.failure));
        let line = self.head(event, StepState::Retrying, &retrying.step, &[&took, &note]);
        let line = line.at(self.after_names(), Tint::Plain, &took);
        let before = self.rest(&retrying.step);
        self.begun.remove(&retrying.step);
        before + &self.noted(line, Tint::Plain, &note) + &self.block(step, &retrying.step)
    }

    fn stopping(&self, view: &RunView, cause: &str, event: &Stamped) -> Line {
        let running = view.steps.iter().filter(|step| step.state.is_running()).count();
        let (word, tint) = step_word(StepState::Stopped);
        let line = self.clock(event.at).at(WORD, tint, word);
        let line = line.at(NAME, Tint::Plain, cause).text(": nothing more starts");
        match running {
            0 => line,
            n => line.text(&format!(", waiting for {}", count(n, "step"))),
        }
    }

    fn summary(&self, view: &RunView) -> String {
        // The end of a run that did not end well is what failed.
        let slow = if view.state() == JobState::Done { String::new() } else { slow::slowest(view, &self.style) };
        slow + &summary::brief(view, &self.style, &self.state)
    }

    pub(super) fn clock(&self, at: Timestamp) -> Line {
        Line::new().tint(Tint::Dim, &self.style.clock(at))
    }

    fn head(&self, event: &Stamped, state: StepState, step: &str, behind: &[&str]) -> Line {
        let (word, tint) = step_word(state);
        let line = self.clock(event.at).at(WORD, tint, word);
        line.at(NAME, Tint::Plain, &self.name(step, behind))
    }

    /// The line with a note behind the times, in as many lines as that takes on a terminal.
    pub(super) fn noted(&self, line: Line, tint: Tint, note: &str) -> String {
        let column = self.after_took().max(line.width() + 2);
        let is_long = |width: &usize| !note.is_empty() && column.saturating_add(columns(note)) > *width;
        let Some(width) = self.style.width.map(usize::from).filter(is_long) else {
            return self.style.line(&line.at(column, tint, note));
        };
        let longest = note.split(' ').map(columns).max().unwrap_or_default().max(WORDS);
        let below = if column + longest <= width { column } else { NAME };
        // Where not even the first word has room, all of it stands below.
        let cramped = note.split(' ').next().is_some_and(|word| column + columns(word) > width);
        let (before, line, column) =
            if cramped { (self.style.line(&line), Line::new(), below) } else { (String::new(), line, column) };
        let mut parts = wrap(note, width.saturating_sub(column), width.saturating_sub(below)).into_iter();
        let first = line.at(column, tint, &parts.next().unwrap_or_default());
        let rest = parts.map(|part| self.style.line(&Line::new().at(below, tint, &part)));
        before + &self.style.line(&first) + &rest.collect::<String>()
    }

    fn after_took(&self) -> usize {
        self.after_names() + self.took + 2
    }

    fn prefixed(&self, step: &str, lines: Vec<String>) -> String {
        let name =
            if self.style.width.is_some() { self.short_name(step, self.name_columns()) } else { step.to_owned() };
        let prefix = Line::new().tint(Tint::Dim, &name);
        let prefix = prefix.at(self.name_columns() + 1, Tint::Dim, "| ");
        lines.iter().map(|text| self.style.line(&prefix.clone().printed(text))).collect()
    }

    /// What a step printed before its beginning was told, and that it is cut, if it is.
    fn early(&mut self, step: &str) -> Vec<u8> {
        let Some(block) = self.early.remove(step) else { return Vec::new() };
        let (bytes, is_cut) = block.into_bytes();
        if is_cut { [&bytes, "\n".as_bytes(), CUT.as_bytes(), b"\n"].concat() } else { bytes }
    }

    /// What a step printed that was not told yet: the line that has no end, or all before the step's beginning was told.
    fn rest(&mut self, step: &str) -> String {
        let early = self.early(step);
        let mut cutter = self.lines.remove(step).unwrap_or_default();
        let mut lines = cutter.push(&early);
        lines.extend(cutter.finish());
        self.prefixed(step, lines)
    }

    /// What is left of steps whose end was not told.
    fn all_rest(&mut self) -> String {
        let mut out = String::new();
        let open: BTreeSet<String> = self.lines.keys().chain(self.early.keys()).cloned().collect();
        for step in open {
            out += &self.rest(&step);
        }
        while let Some((step, block)) = self.blocks.pop_first() {
            out += &self.prefixed(&step, block.into_lines().0);
        }
        out
    }

    /// All that a step printed.
    fn block(&mut self, step: Option<&StepView>, id: &str) -> String {
        let Some(block) = self.blocks.remove(id) else {
            return String::new();
        };
        let (lines, is_cut) = block.into_lines();
        let mut out: String = lines.iter().map(|text| self.style.line(&summary::quoted().printed(text))).collect();
        if is_cut {
            let mut line = summary::quoted().text(CUT);
            if let Some(log) = step.and_then(|step| summary::log_path(step, &self.state)) {
                line = line.text(&format!("; all of it is in {log}"));
            }
            out += &self.style.line(&line);
        }
        out
    }
}

/// What an engine built besides what was asked for.
fn also(names: &[String]) -> String {
    format!("also built: {}", few(names, ALSO))
}

/// What it means that a step came out as it was built before.
fn same(step: Option<&StepView>) -> &'static str {
    let because = |code| step.is_some_and(|step| step.plan.reasons.iter().any(|reason| reason.code == code));
    if because(ReasonCode::OutputChanged) || step.is_some_and(|step| !step.replaced.is_empty()) {
        "content as last built; what stood there was not"
    } else if because(ReasonCode::OutputMissing) {
        "content as last built"
    } else {
        "content unchanged"
    }
}

/// What was kept of what stood where outputs are now.
pub(crate) fn replaced(replaced: &[Replaced]) -> Option<String> {
    let kept: Vec<_> = replaced.iter().map(|replaced| format!("{} in {}", replaced.path, replaced.kept)).collect();
    (!kept.is_empty()).then(|| format!("kept what was at {}", few(&kept, KEPT)))
}

/// Whether a step was not started because the run was stopped, or because of one that was stopped with it: all of them are told at
/// the end, together.
fn is_stopped_too(view: &RunView, because: Option<&str>) -> bool {
    let stopped = because.and_then(|id| view.step(id)).map(|step| step.state);
    view.stopping.is_some() && matches!(stopped, None | Some(StepState::Stopped))
}

/// Why a step was not started.
pub(crate) fn skipped_why(view: &RunView, because: Option<&str>) -> String {
    let Some(id) = because else {
        return match &view.stopping {
            None => "the run was stopped".to_owned(),
            Some(Cause::Failed { step, .. }) => format!("not started: the run stopped after {step} failed"),
            Some(cause) => cause.to_string(),
        };
    };
    view.step(id).map_or(StepState::Stopped, |step| step.state).as_cause(id)
}
