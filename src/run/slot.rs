//! The slots of a run that shares them with other runs of its process: it asks for one slot at a time, so that runs take
//! turns, and starts a step when it has it. What waits for a slot has not begun.

use crate::run::setup::Effect;
use crate::run::state::Run;

/// The slot of the step that starts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// None is needed: the run shares nothing.
    Unneeded,
    No,
    Asked,
    Had,
}

impl Run {
    /// A run that starts steps only in slots that it shares with others.
    #[must_use]
    pub fn sharing_slots(mut self) -> Self {
        self.slot = Slot::No;
        self
    }

    /// Whether the step that would start next has a slot; asks for one if it could start.
    pub(super) fn has_slot(&mut self) -> bool {
        if self.slot == Slot::No && self.ready.may_start() {
            self.slot = Slot::Asked;
            self.effects.push(Effect::AskSlot);
        }
        matches!(self.slot, Slot::Unneeded | Slot::Had)
    }

    pub(super) fn take_slot(&mut self) {
        if self.slot == Slot::Had {
            self.slot = Slot::No;
        }
    }

    /// Gives a slot back that no step came to need.
    pub(super) fn leave_slot(&mut self) {
        if self.slot == Slot::Had {
            self.slot = Slot::No;
            self.effects.push(Effect::LeaveSlot);
        }
    }
}
