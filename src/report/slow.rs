//! What took the time in a longer run: its slowest steps, and what waiting for stages cost. Does not know the ways between
//! steps.

use std::cmp::Reverse;

use super::line::{Line, Tint};
use super::style::Style;
use crate::base::job::{JobState, Schedule};
use crate::base::text::millis;
use crate::plan::estimate::Spans;
use crate::view::{RunView, StepView};

/// Shorter runs need no advice.
const LONG_MS: u64 = 5_000;
/// How many of the slowest steps are named.
const SLOWEST: usize = 5;

/// Two lines at most; none for a run that was short. `spans` says what the schedules would come to with the durations of this
/// run: those of one that did not end well say nothing about that.
#[must_use]
pub fn text(view: &RunView, spans: impl FnOnce() -> Spans, style: &Style) -> String {
    if view.elapsed_ms < LONG_MS {
        return String::new();
    }
    let waited = if view.state() == JobState::Done { barriers(view, spans()) } else { None };
    let lines = [slowest(view), waited];
    lines.into_iter().flatten().map(|line| style.line(&line)).collect()
}

/// A run of one step has no slowest one.
fn slowest(view: &RunView) -> Option<Line> {
    let mut steps: Vec<&StepView> = view.steps.iter().filter(|step| step.took_ms > 0).collect();
    if steps.len() < 2 {
        return None;
    }
    steps.sort_by_key(|step| Reverse(step.took_ms));
    steps.truncate(SLOWEST);
    let named: Vec<_> = steps.iter().map(|step| format!("{} {}", step.plan.id, millis(step.took_ms))).collect();
    Some(Line::new().tint(Tint::Dim, "slowest  ").text(&named.join(" · ")))
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
