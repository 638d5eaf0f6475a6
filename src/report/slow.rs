//! What took the time in a longer run: its slowest steps, and what waiting for stages cost. Does not know the ways between
//! steps.

use std::cmp::Reverse;

use super::line::{Line, Tint, columns};
use super::style::Style;
use crate::base::job::{JobState, Schedule};
use crate::base::text::millis;
use crate::plan::estimate::Spans;
use crate::view::{RunView, StepView};

/// Shorter runs need no advice.
const LONG_MS: u64 = 5_000;
/// How many of the slowest steps are named.
const SLOWEST: usize = 5;

/// What is told after a run that ended well: two lines at most; none for a run that was short. `spans` says what the schedules
/// would come to with the durations of this run: those of one that did not end well say nothing about that.
#[must_use]
pub fn text(view: &RunView, spans: impl FnOnce() -> Spans, style: &Style) -> String {
    if view.elapsed_ms < LONG_MS || view.state() != JobState::Done {
        return String::new();
    }
    let waited = barriers(view, spans());
    slowest(view, style) + &waited.map(|line| style.line(&line)).unwrap_or_default()
}

/// The slowest steps of a run that was not short. A run of one step has no slowest one. No step is cut in two where a terminal's
/// line ends.
pub(crate) fn slowest(view: &RunView, style: &Style) -> String {
    if view.elapsed_ms < LONG_MS {
        return String::new();
    }
    let mut steps: Vec<&StepView> = view.steps.iter().filter(|step| step.whole_ms() > 0).collect();
    if steps.len() < 2 {
        return String::new();
    }
    steps.sort_by_key(|step| Reverse(step.whole_ms()));
    steps.truncate(SLOWEST);
    let mut lines = vec![Line::new().tint(Tint::Dim, "slowest")];
    for step in steps {
        let named = named(step);
        let last = lines.last_mut().expect("there is one at least");
        let is_first = last.width() < NAMED;
        let room = style.width.map_or(usize::MAX, usize::from);
        if !is_first && last.width() + columns(" · ") + columns(&named) > room {
            lines.push(Line::new().at(NAMED, Tint::Plain, &named));
        } else {
            let line = std::mem::take(last);
            *last = if is_first { line.at(NAMED, Tint::Plain, &named) } else { line.text(" · ").text(&named) };
        }
    }
    lines.iter().map(|line| style.line(line)).collect()
}

/// Where the steps stand.
const NAMED: usize = 9;

/// `orders 6.1s`, or `orders 6.1s with 3 attempts`
fn named(step: &StepView) -> String {
    let (id, whole) = (&step.plan.id, millis(step.whole_ms()));
    if step.attempt > 1 { format!("{id} {whole} with {} attempts", step.attempt) } else { format!("{id} {whole}") }
}

/// Told where it is a tenth of the run or more.
fn barriers(view: &RunView, Spans { stages_ms, eager_ms }: Spans) -> Option<Line> {
    let by_stages = view.head.as_ref()?.started.schedule == Schedule::Stages;
    let saved = stages_ms.saturating_sub(eager_ms);
    if !by_stages || saved.saturating_mul(10) < view.elapsed_ms {
        return None;
    }
    let text = format!(
        "waiting for whole stages cost about {}: `--schedule eager` would take about {}",
        millis(saved),
        millis(view.elapsed_ms.saturating_sub(saved))
    );
    Some(Line::new().tint(Tint::Dim, "stages   ").text(&text))
}
