//! How long a run still takes, from how long its steps usually take. Does not know the ways between steps: within a stage it
//! takes them to be independent.

use std::collections::BTreeMap;

use crate::base::job::Schedule;
use crate::base::text::millis;
use crate::plan::reason::Action;
use crate::view::{RunView, StepState};

/// The work that is left of some steps.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    sum: u64,
    longest: u64,
}

/// How long a run still takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) ms: u64,
    /// Whether steps are left of which nobody knows how long they take.
    pub(crate) at_least: bool,
}

/// How long the run still takes, as far as its steps were measured before.
pub(crate) fn left(view: &RunView, elapsed_ms: u64) -> Option<Left> {
    let started = &view.head.as_ref()?.started;
    let mut stages: BTreeMap<u32, Work> = BTreeMap::new();
    let mut at_least = false;
    // What cannot be built takes no time.
    for step in view.steps.iter().filter(|step| step.plan.action != Action::Cannot) {
        let left = match step.state {
            StepState::Waiting | StepState::Retrying if view.stopping.is_some() => continue,
            StepState::Waiting | StepState::Retrying => step.plan.expected_ms,
            StepState::Running => {
                let ran = elapsed_ms.saturating_sub(step.began_ms);
                step.plan.expected_ms.map(|ms| ms.saturating_sub(ran))
            }
            StepState::Publishing
            | StepState::Built
            | StepState::Same
            | StepState::Current
            | StepState::Failed
            | StepState::Stopped
            | StepState::Skipped => continue,
        };
        at_least |= left.is_none();
        let left = left.unwrap_or_default();
        let stage = match started.schedule {
            Schedule::Stages => step.plan.stage,
            Schedule::Eager => 0,
        };
        let work = stages.entry(stage).or_default();
        work.sum = work.sum.saturating_add(left);
        work.longest = work.longest.max(left);
    }
    let slots = u64::from(started.max_parallel.max(1));
    let each = stages.values().map(|work| work.sum.div_ceil(slots).max(work.longest));
    let ms = each.fold(0, u64::saturating_add);
    (ms > 0).then_some(Left { ms, at_least })
}

/// How long a step usually takes: as exact as a plan says it where it is short.
pub(crate) fn usual(ms: u64) -> String {
    if ms < 10_000 { millis(ms) } else { rough(ms) }
}

/// The time that is left in rough words: an estimate has no tenths.
pub(crate) fn rough(ms: u64) -> String {
    let secs = ((ms + 500) / 1_000).max(u64::from(ms > 0));
    let near = |unit: u64| (secs + unit / 2) / unit;
    match secs {
        0..10 => format!("{secs}s"),
        10..58 => format!("{}s", near(5) * 5),
        58..5_400 => format!("{}m", near(60)),
        _ => format!("{}h{:02}m", secs / 3_600, secs % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_exact_where_it_is_short() {
        assert_eq!([58, 1_600, 9_000, 12_000].map(usual), ["58ms", "1.6s", "9s", "10s"]);
    }

    #[test]
    fn estimates_are_rough() {
        let shown = [0, 1, 9_000, 9_001, 31_000, 58_000, 70_000, 95_000, 5_399_000, 7_500_000].map(rough);
        assert_eq!(shown, ["0s", "1s", "9s", "9s", "30s", "1m", "1m", "2m", "90m", "2h05m"]);
    }
}
