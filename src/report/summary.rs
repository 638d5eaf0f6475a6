//! The end of a run in a few lines: how many steps ended how, and a block for each that failed, which says what to do next.
//! Does not know who shows it.

use std::collections::HashMap;
use std::fmt::Write;

use jiff::Timestamp;

use super::line::{Line, Tint, squeeze};
use super::style::{AT_LEAST, Style, UP_TO_DATE, step_word};
use crate::base::job::{BuildMode, JobState};
use crate::base::text::{clean, few, millis};
use crate::event::{Cause, Counts, Failure, FailureCode};
use crate::pipeline::template::quote;
use crate::plan::reason::ReasonCode;
use crate::view::{Head, RunView, StepState, StepView};

/// How many of the last lines of a step are shown.
const TAIL: usize = 10;
/// The longest line of them.
const TAIL_COLUMNS: usize = 400;
/// The longest line of a command where lines have no limit.
const COMMAND_COLUMNS: usize = 120;
/// How many lines of a command are shown.
const COMMAND_LINES: usize = 8;
/// How many names of outputs are told.
const OUTPUTS: usize = 6;
/// How many names of steps are told that could not begin for one reason.
const OTHERS: usize = 8;

/// So many failures each have the command that tries them again; of more there is one for all.
const EACH: usize = 2;

/// A block for each step that failed, then the counts, for the end is what is read, then how to go on or why the run was aborted. `state` is the state's folder as it is put before the paths of logs, such as `.kiln`.
#[must_use]
pub fn text(view: &RunView, style: &Style, state: &str) -> String {
    told(view, style, state, true)
}

/// The same after a run that was shown while it went on: the last lines of what failed were told when it failed, so here is only
/// where its log is, and what to do next.
pub(crate) fn brief(view: &RunView, style: &Style, state: &str) -> String {
    told(view, style, state, false)
}

fn told(view: &RunView, style: &Style, state: &str, words: bool) -> String {
    let failed = in_order_of_failing(view);
    let mut out = String::new();
    for step in view.steps.iter().filter(|step| step.flaky()) {
        out += &style.folded(&flaky(step, state));
    }
    let alike = alike(&failed);
    let together = failed.len() > EACH || alike.len() < failed.len();
    for (step, others) in alike {
        out += if out.is_empty() { "" } else { "\n" };
        out += &block(view, step, style, state, words, together);
        if !others.is_empty() {
            out += &folded_fact("also", &few(&others, OTHERS), style);
        }
    }
    if !failed.is_empty() {
        out.push('\n');
    }
    out += &style.folded(&counts(view));
    let last_words = last_words(view);
    // What was skipped for a step that failed is not built by the command that tries only that one again.
    let skipped = view.counts.skipped > 0 && !failed.is_empty();
    if let (true, None, Some(head)) = (together || skipped, &last_words, &view.head) {
        // Where the history is asked, other runs may have begun since.
        let which = if words { format!(" {}", head.job) } else { String::new() };
        let all = if together { ", all of it: " } else { ", with what was skipped: " };
        let line = Line::new().tint(Tint::Dim, "again").text(all);
        let line = line.text(&head.started.again).text(" --failed").text(&which);
        out += &style.line(&line);
    }
    if let Some(line) = last_words {
        out.push('\n');
        out += &style.folded(&line);
    }
    out
}

/// Steps that failed, each with the names of those after it that could not begin for the very same reason.
fn alike<'a>(failed: &[&'a StepView]) -> Vec<(&'a StepView, Vec<&'a str>)> {
    let mut all: Vec<(&StepView, Vec<&str>)> = Vec::new();
    let mut seen = HashMap::new();
    for step in failed {
        let first = obstacle(step).map(|why| *seen.entry(why).or_insert(all.len()));
        match first.and_then(|first| all.get_mut(first)) {
            Some((_, others)) => others.push(&step.plan.id),
            None => all.push((step, Vec::new())),
        }
    }
    all
}

/// What kept a step from beginning, where that is all there is to say of it.
pub(crate) fn obstacle(step: &StepView) -> Option<&str> {
    let missing = step.plan.reasons.iter().any(|reason| reason.code == ReasonCode::InputMissing);
    let failure = step.failure.as_ref().filter(|failure| failure.code == FailureCode::Start && !missing)?;
    (failure.tail.is_empty() && failure.kept.is_none()).then_some(failure.message.as_str())
}

/// What happened to a step, in a few words.
pub(crate) fn message(failure: &Failure, step: Option<&StepView>) -> String {
    let message = squeezed(failure);
    match step {
        // Before another attempt it says which.
        Some(step) if step.attempt > 1 && !between(step) => format!("{message}, {}", attempts(step)),
        _ => message,
    }
}

/// Whether a step was stopped when an attempt had failed and the next one had not begun.
fn between(step: &StepView) -> bool {
    let last = step.earlier.last().map(|earlier| earlier.attempt);
    step.state == StepState::Stopped && last == Some(step.attempt)
}

/// What happened, without the attempt.
pub(crate) fn squeezed(failure: &Failure) -> String {
    squeeze(&failure.message)
}

/// `attempt 2/3`
pub(crate) fn attempt(step: &StepView) -> String {
    format!("attempt {}/{}", step.attempt, step.plan.attempts.max(step.attempt))
}

/// `attempt 2/3, 6.1s in all`
pub(crate) fn attempts(step: &StepView) -> String {
    if step.attempt > 1 { format!("{}, {} in all", attempt(step), millis(step.whole_ms())) } else { attempt(step) }
}

/// A step that was built at last, and why it was not at first.
fn flaky(step: &StepView, state: &str) -> Line {
    let line = Line::new().tint(Tint::Warn, "flaky").text(" ").tint(Tint::Strong, &step.plan.id);
    let line = line.text("  ").text(&attempts(step));
    let Some(before) = step.earlier.last() else { return line };
    let line = line.text(", before: ").text(&squeezed(&before.failure));
    match path_below(state, &before.log) {
        Some(log) => line.text("  ").tint(Tint::Dim, &log),
        None => line,
    }
}

/// What stands before a line that a step printed.
pub(crate) fn quoted() -> Line {
    Line::new().tint(Tint::Dim, "  | ")
}

/// The file that the output of a step went to.
pub(crate) fn log_path(step: &StepView, state: &str) -> Option<String> {
    path_below(state, &step.log)
}

fn path_below(state: &str, log: &str) -> Option<String> {
    let dir = state.trim_end_matches('/');
    match (log, dir) {
        ("", _) => None,
        (log, "") => Some(log.to_owned()),
        (log, dir) => Some(format!("{dir}/{log}")),
    }
}

/// How many steps ended how, and how long that took.
pub(crate) fn counts(view: &RunView) -> Line {
    let Counts { built, same, flaky: _, failed, stopped, skipped, current } = view.counts;
    let flaky = |state| view.in_state(state).filter(|step| step.flaky()).count() as u64;
    let adopted = view.steps.iter().filter(|step| step.adopted).count() as u64;
    let current = current.saturating_sub(adopted);
    let left = view.head.as_ref().map_or(0, |head| head.started.left.len() as u64);
    let parts = [
        (built, "built", Tint::Good, flaky(StepState::Built)),
        (same, "unchanged", Tint::Calm, flaky(StepState::Same)),
        (adopted, "adopted", Tint::Calm, 0),
        (failed, "failed", Tint::Bad, 0),
        (stopped, "stopped", Tint::Warn, 0),
        (skipped, "skipped", Tint::Warn, 0),
        (left, "left", Tint::Warn, 0),
        (current, UP_TO_DATE, Tint::Plain, 0),
    ];
    let mut line = Line::new();
    if parts[..6].iter().all(|(n, ..)| *n == 0) {
        let nothing = match view.state() {
            JobState::Done if left == 0 => "nothing to do",
            JobState::Done | JobState::Queued | JobState::Running | JobState::Failed | JobState::Aborted => {
                "nothing built"
            }
        };
        line = line.text(nothing).text(" · ");
    }
    for (n, word, tint, flaky) in parts.into_iter().filter(|(n, ..)| *n > 0) {
        line = line.tint(tint, &format!("{n} {word}"));
        if flaky > 0 {
            line = line.text(" (").tint(Tint::Warn, &format!("{flaky} flaky")).text(")");
        }
        line = line.text(" · ");
    }
    let at_least = if view.died() { AT_LEAST } else { "" };
    line.text(&format!("{at_least}{}", millis(view.elapsed_ms)))
}

fn in_order_of_failing(view: &RunView) -> Vec<&StepView> {
    let mut failed: Vec<_> = view.in_state(StepState::Failed).collect();
    failed.sort_by_key(|step| step.began_ms.saturating_add(step.took_ms));
    failed
}

/// What is said of a step as soon as it has failed: its command, its last lines where they were not shown, and where all is.
pub(crate) fn words(step: &StepView, style: &Style, state: &str, lines: bool) -> String {
    let mut out = if lines { said(step, style) } else { String::new() };
    if let Some(log) = log_path(step, state) {
        out += &fact("log", &log, style);
    }
    out
}

/// The command of a step and the last lines that it printed.
fn said(step: &StepView, style: &Style) -> String {
    let mut out = if step.command.is_empty() { String::new() } else { command(&step.command, style) };
    let tail = step.failure.as_ref().map_or(&[][..], |failure| &failure.tail);
    for text in &tail[tail.len().saturating_sub(TAIL)..] {
        let line = quoted().printed(text);
        out += &(line.render(style.color, Some(TAIL_COLUMNS)) + "\n");
    }
    out
}

fn fact(word: &str, text: &str, style: &Style) -> String {
    style.line(&Line::new().tint(Tint::Dim, &format!("  {word:<5}  ")).text(text))
}

/// The same of words, and not of what may be copied as it is.
fn folded_fact(word: &str, text: &str, style: &Style) -> String {
    style.folded(&Line::new().tint(Tint::Dim, &format!("  {word:<5}  ")).text(text))
}

/// All that is said of a step that failed, without what came of the others.
pub(crate) fn failed(view: &RunView, step: &StepView, style: &Style, state: &str) -> String {
    block(view, step, style, state, true, false)
}

fn block(view: &RunView, step: &StepView, style: &Style, state: &str, words: bool, together: bool) -> String {
    let failure = step.failure.as_ref();
    let message = failure.map(|failure| message(failure, Some(step)));
    let (word, tint) = step_word(StepState::Failed);
    let mut head = Line::new().tint(tint, word).text(" ").tint(Tint::Strong, &step.plan.id);
    for part in [Some(step.plan.place.clone()), message].into_iter().flatten() {
        head = head.text("  ").text(&part);
    }
    let mut out = style.folded(&head);
    if words {
        out += &said(step, style);
    }
    for (word, text) in facts(view, step, style, state, together) {
        let copied = matches!(word, "page" | "log" | "again");
        out += &if copied { fact(word, &text, style) } else { folded_fact(word, &text, style) };
    }
    out
}

/// A command as it is written, but for lines that are continued; of a long one the first lines.
fn command(command: &str, style: &Style) -> String {
    let width = style.width.map_or(COMMAND_COLUMNS, usize::from);
    let drawn =
        |mark: &str, text: &str| Line::new().tint(Tint::Dim, mark).text(text).render(style.color, Some(width)) + "\n";
    let joined = command.trim().split("\\\n").map(str::trim).collect::<Vec<_>>().join(" ");
    let lines: Vec<&str> = joined.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    // Not to say `1 more` where that one has room.
    let shown = if lines.len() > COMMAND_LINES + 1 { COMMAND_LINES } else { lines.len() };
    let mut out = String::new();
    for (i, line) in lines[..shown].iter().enumerate() {
        let squeezed = squeeze(line);
        out += &drawn(if i == 0 { "  $ " } else { "    " }, if lines.len() == 1 { &squeezed } else { line });
    }
    if shown < lines.len() {
        out += &drawn(&format!("    … and {} more lines", lines.len() - shown), "");
    }
    out
}

/// What helps to go on: the outputs that stand, the log, and how to try again, where that is not told for all together.
fn facts(view: &RunView, step: &StepView, style: &Style, state: &str, together: bool) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let head = view.head.as_ref();
    if let Some(kept) = step.failure.as_ref().and_then(|failure| failure.kept) {
        let now = head.map_or(kept, |head| head.at);
        facts.push(("kept", kept_outputs(&step.plan.outputs, kept, now, style)));
    }
    if let Some(spoiled) = step.failure.as_ref().map(|failure| &failure.spoiled).filter(|spoiled| !spoiled.is_empty()) {
        let them = if spoiled.len() == 1 { "it belongs" } else { "they belong" };
        facts.push((
            "lost",
            format!("{}: the recipe wrote where {them}, not to {{{{ output }}}}", few(spoiled, OUTPUTS)),
        ));
    }
    if let Some(page) = step.failure.as_ref().and_then(|failure| failure.page.clone()) {
        facts.push(("page", page));
    }
    if let Some(log) = log_path(step, state) {
        facts.push(("log", log));
    }
    if let Some(head) = head {
        let mode = if whatever_its_state(head) { " --mode only" } else { "" };
        // What is built only when it is named has to be named too.
        let missing = step.plan.reasons.iter().filter(|reason| reason.code == ReasonCode::InputMissing);
        let targets = missing.filter_map(|reason| reason.what.as_deref()).chain([step.plan.id.as_str()]);
        let targets: Vec<_> = targets.map(|target| quote(&clean(target))).collect();
        // What it lacks may be what was left out: its message tells how to build that.
        let left_out = targets.len() > 1 && !head.started.exclude.is_empty();
        if !left_out && (!together || targets.len() > 1) {
            facts.push(("again", format!("{}{mode} {}", head.started.again, targets.join(" "))));
        }
    }
    facts
}

/// Whether what is up to date was asked for too: the same words without a mode would not ask for it again.
fn whatever_its_state(head: &Head) -> bool {
    head.started.mode.again() == BuildMode::Only
}

fn kept_outputs(outputs: &[String], kept: Timestamp, now: Timestamp, style: &Style) -> String {
    format!("{} of {}", few(outputs, OUTPUTS), style.date(kept, now))
}

/// What there is to say about a run that ended early or failed without a step that failed.
fn last_words(view: &RunView) -> Option<Line> {
    let end = view.end.as_ref()?;
    let why = end.why.as_deref().map(squeeze);
    match end.state {
        JobState::Queued | JobState::Running | JobState::Done => None,
        JobState::Failed if view.counts.failed > 0 => None,
        JobState::Failed => {
            let why = why.unwrap_or_else(|| "it is not known why".to_owned());
            Some(Line::new().tint(Tint::Bad, "FAILED").text(" ").text(&why))
        }
        JobState::Aborted => {
            let why = why.unwrap_or_else(|| Cause::Died.to_string());
            let line = Line::new().tint(Tint::Warn, "aborted").text(": ").text(&why);
            let Some(head) = &view.head else {
                return Some(line);
            };
            let mut again = head.started.again.clone();
            if whatever_its_state(head) {
                again += " --failed";
            } else {
                if head.started.mode == BuildMode::Missing {
                    again += " --mode missing";
                }
                for target in &head.started.targets {
                    let _ = write!(again, " {}", quote(&clean(target)));
                }
            }
            Some(line.text(&format!("; `{again}` goes on from here")))
        }
    }
}
