//! Why a step was to be built, told once it is known what came of it. Does not know where it is told.

use jiff::Timestamp;

use crate::plan::reason::{Reason, ReasonCode, sentences, sentences_with};
use crate::view::{RunView, StepState};

/// The reasons of a step that stands so. What might have changed above it is told as it came out: `changed` says whether a node
/// became another, where that is known.
pub(crate) fn reasons(
    reasons: &[Reason],
    state: StepState,
    changed: &dyn Fn(&str) -> Option<bool>,
    now: Timestamp,
) -> Vec<String> {
    let is_open = |reason: &Reason| reason.code == ReasonCode::MayChange;
    let came = |reason: &Reason| reason.what.as_deref().and_then(changed);
    let (upstream, ran) = match state {
        StepState::Waiting => return sentences(reasons, now),
        StepState::Current => ("came out the same upstream", false),
        StepState::Skipped => ("might have changed upstream", false),
        StepState::Running
        | StepState::Retrying
        | StepState::Publishing
        | StepState::Built
        | StepState::Same
        | StepState::Failed
        | StepState::Stopped => ("changed upstream", true),
    };
    let some = reasons.iter().any(|reason| is_open(reason) && came(reason) != Some(false));
    let mut told = reasons.to_vec();
    // What is known to be as it was, is no reason: another one is.
    told.retain(|reason| !(ran && some && is_open(reason) && came(reason) == Some(false)));
    let unknown = told.iter().filter(|reason| ran && is_open(reason) && came(reason).is_none()).count();
    let upstream = if unknown > 1 { "changed upstream, at least one" } else { upstream };
    sentences_with(upstream, &told, now)
}

/// Whether a node became another one in a run, where it is named as the step that makes it.
pub(crate) fn changed(view: &RunView, node: &str) -> Option<bool> {
    match view.step(node)?.state {
        StepState::Built => Some(true),
        StepState::Same | StepState::Current => Some(false),
        StepState::Waiting
        | StepState::Running
        | StepState::Retrying
        | StepState::Publishing
        | StepState::Failed
        | StepState::Stopped
        | StepState::Skipped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_might_have_changed_is_told_as_it_came_out() {
        let may = |what: &str| Reason::new(ReasonCode::MayChange).what(what);
        let all = [may("a"), may("b"), Reason::new(ReasonCode::NotProbed).what("tool x")];
        let told = |state, of: &[Reason], changed: &dyn Fn(&str) -> Option<bool>| {
            reasons(of, state, changed, Timestamp::UNIX_EPOCH).join("; ")
        };
        let only_b = |node: &str| Some(node == "b");
        let unknown = |_: &str| None;
        assert_eq!(told(StepState::Waiting, &all, &only_b), "may change upstream: a, b; not probed: tool x");
        assert_eq!(told(StepState::Built, &all, &only_b), "changed upstream: b; not probed: tool x");
        assert_eq!(told(StepState::Failed, &all[..1], &unknown), "changed upstream: a");
        assert_eq!(told(StepState::Same, &all[..2], &unknown), "changed upstream, at least one: a, b");
        assert_eq!(told(StepState::Current, &all[..2], &|_| Some(false)), "came out the same upstream: a, b");
        assert_eq!(told(StepState::Skipped, &all[..1], &unknown), "might have changed upstream: a");
    }
}
