//! What the next steps of a run wait for, for the region of a terminal. Does not know how it is drawn.

use super::line::columns;
use crate::base::cut::shorten;
use crate::base::job::Schedule;
use crate::base::text::few;
use crate::view::{RunView, StepState, StepView};

/// How many names are told.
const NAMES: usize = 3;
/// Where not all has room, what is waited for is named in so many characters: of a longer line the end would be cut, in which such names differ.
const LONG: usize = 24;

/// A step that waits, and for what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waits<'a> {
    /// The step.
    pub(super) step: &'a str,
    /// `for orders, rates and 3 more`
    pub(super) why: String,
}

/// At most `most` steps that wait for one that runs, in the order of the plan. Steps that wait for a free slot only, or for
/// steps that wait themselves, are not among them. Names are cut where they have no room in so many columns.
pub(super) fn waits(view: &RunView, most: usize, room: usize) -> Vec<Waits<'_>> {
    let Some(head) = &view.head else { return Vec::new() };
    if most == 0 || view.stopping.is_some() {
        return Vec::new();
    }
    // A stage waits for the whole stage before it, so only the next one has something to wait for.
    let stage = view.steps.iter().filter(|step| !step.state.is_over()).map(|step| step.plan.stage).min().unwrap_or(0);
    let by_stages = head.started.schedule == Schedule::Stages;
    let near = move |step: &&StepView| !by_stages || step.plan.stage <= stage + 1;
    let waiting = view.steps.iter().filter(|step| step.state == StepState::Waiting).filter(near);
    let told = waiting.filter_map(|step| {
        let (own, running) = before(view, step);
        let why = match (own, running.as_slice()) {
            (true, []) => return None,
            (false, []) if by_stages && step.plan.stage > stage => format!("for the rest of stage {stage}"),
            (false, []) => return None,
            (_, names) => {
                let whole = format!("for {}", few(names, NAMES));
                if columns(&whole) <= room {
                    return Some(Waits { step: &step.plan.id, why: whole });
                }
                let names: Vec<_> = names.iter().map(|name| shorten(name, LONG)).collect();
                format!("for {}", few(&names, NAMES))
            }
        };
        Some(Waits { step: &step.plan.id, why })
    });
    told.take(most).collect()
}

/// Whether any step that `step` needs is still open, and which of those run.
fn before<'a>(view: &'a RunView, step: &StepView) -> (bool, Vec<&'a str>) {
    let needs = step.plan.after.iter().filter_map(|place| view.steps.get(usize::try_from(*place).ok()?));
    let open: Vec<_> = needs.filter(|need| !need.state.is_over()).collect();
    let running = open.iter().filter(|need| need.state.is_running()).map(|need| need.plan.id.as_str()).collect();
    (!open.is_empty(), running)
}
