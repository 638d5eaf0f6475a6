//! A step in time: since when it could have run, its attempts, and what it waited for in between. Pages draw it, the API sums
//! it up.

use crate::graph::Graph;
use crate::pipeline::types::Pipeline;
use crate::session::load::Loaded;
use crate::view::{RunView, StepState, StepView};

/// What a step did for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    /// It could have run and did not: it waited for its turn, or for its next attempt.
    Waited,
    /// An attempt ran that failed, and was followed by another one.
    Tried,
    /// Its last attempt ran, or runs.
    Ran,
}

/// A while, in milliseconds since the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) did: Did,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Whether it goes on.
    pub(crate) open: bool,
}

/// What a step of a run did up to now, in order.
pub(crate) fn spans(loaded: &Loaded, view: &RunView, step: &StepView, now_ms: u64) -> Vec<Span> {
    let attempts = attempts(step, now_ms);
    let mut spans = Vec::new();
    let mut since = ready(&loaded.pipeline, &loaded.graph, view, step);
    for attempt in attempts {
        if let Some(from) = since.filter(|since| *since < attempt.from) {
            spans.push(Span { did: Did::Waited, from, to: attempt.from, open: false });
        }
        since = Some(attempt.to);
        spans.push(attempt);
    }
    let waits = matches!(step.state, StepState::Waiting | StepState::Retrying) && view.end.is_none();
    if let Some(from) = since.filter(|_| waits && !view.queued) {
        spans.push(Span { did: Did::Waited, from, to: now_ms.max(from), open: true });
    }
    spans
}

fn attempts(step: &StepView, now_ms: u64) -> Vec<Span> {
    let before = step.earlier.iter().filter(|earlier| earlier.attempt < step.attempt);
    let tried = |from: u64, took: u64| Span { did: Did::Tried, from, to: from.saturating_add(took), open: false };
    let mut attempts: Vec<_> = before.map(|earlier| tried(earlier.began_ms, earlier.took_ms)).collect();
    let (from, open) = (step.began_ms, step.state.is_running());
    let last = match step.state {
        StepState::Waiting | StepState::Skipped | StepState::Current => None,
        StepState::Running | StepState::Publishing => Some(now_ms.max(from)),
        StepState::Retrying | StepState::Built | StepState::Same | StepState::Failed | StepState::Stopped => {
            (step.attempt > 0).then(|| from.saturating_add(step.took_ms))
        }
    };
    attempts.extend(last.map(|to| Span { did: Did::Ran, from, to, open }));
    attempts
}

/// When all that a step is made from was there; none while it is not.
fn ready(pipeline: &Pipeline, graph: &Graph, view: &RunView, step: &StepView) -> Option<u64> {
    let id = pipeline.recipe(&step.plan.id)?;
    let mut ready = 0;
    for above in &graph.needs[id] {
        let Some(above) = view.step(&pipeline.recipes[*above].name) else { continue };
        match above.state {
            StepState::Built | StepState::Same => ready = ready.max(above.began_ms.saturating_add(above.took_ms)),
            StepState::Current => {}
            StepState::Waiting
            | StepState::Running
            | StepState::Retrying
            | StepState::Publishing
            | StepState::Failed
            | StepState::Stopped
            | StepState::Skipped => return None,
        }
    }
    Some(ready)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::tests::events::{begin, built, happened, retrying};
    use crate::session::load::{Given, load};

    const FILE: &str = "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = \"a\"\nrun = \"x\"\n\
        [dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = \"x\"\n";

    /// What a step did in a run with these events, up to the last one.
    fn told(step: &str, now_ms: u64, events: &[(u64, serde_json::Value)]) -> String {
        let mut view = RunView::default();
        for event in happened(events) {
            view.apply(&event);
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.toml");
        std::fs::write(&file, FILE).unwrap();
        let loaded = load(&file, &Given::default()).unwrap();
        let tell =
            |span: &Span| format!("{:?} {}-{}{}", span.did, span.from, span.to, if span.open { "…" } else { "" });
        spans(&loaded, &view, view.step(step).unwrap(), now_ms).iter().map(tell).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_waits_for_its_turn_has_not_begun() {
        assert_eq!(told("a", 50, &[]), "Waited 0-50…");
        // It cannot run yet.
        assert_eq!(told("b", 50, &[]), "");
        let mut events = vec![(50, begin("a", 1))];
        assert_eq!(told("a", 70, &events), "Waited 0-50, Ran 50-70…");
        events.push((250, built("a", 1, 200)));
        assert_eq!(told("a", 300, &events), "Waited 0-50, Ran 50-250");
        assert_eq!(told("b", 300, &events), "Waited 250-300…");
        events.extend([(400, begin("b", 1)), (500, built("b", 1, 100))]);
        assert_eq!(told("b", 999, &events), "Waited 250-400, Ran 400-500");
    }

    #[test]
    fn earlier_attempts_are_told_apart() {
        let mut events = vec![(0, begin("a", 1)), (100, retrying("a", 100))];
        assert_eq!(told("a", 150, &events), "Ran 0-100, Waited 100-150…");
        events.push((200, begin("a", 2)));
        assert_eq!(told("a", 230, &events), "Tried 0-100, Waited 100-200, Ran 200-230…");
        events.push((300, built("a", 2, 100)));
        assert_eq!(told("a", 999, &events), "Tried 0-100, Waited 100-200, Ran 200-300");
    }

    #[test]
    fn nothing_waits_in_a_run_that_is_over() {
        let counts = json!({ "built": 0, "same": 0, "current": 0, "failed": 0, "stopped": 0, "skipped": 2 });
        let end = json!({ "type": "run_ended", "state": "ABORTED", "counts": counts });
        let skipped = |step: &str| (10, json!({ "type": "step_skipped", "step": step }));
        assert_eq!(told("a", 20, &[skipped("a"), skipped("b"), (20, end)]), "");
    }
}
