//! The places of a run that shares them with other runs of its process: it asks for one place at a time, so that runs take
//! turns, and starts a step when it has it. What waits for a place has not begun.

use crate::run::setup::Effect;
use crate::run::state::Run;

/// The place of the step that starts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// None is needed: the run shares nothing.
    Unneeded,
    No,
    Asked,
    Had,
}

impl Run {
    /// A run that starts steps only in places that it shares with others.
    #[must_use]
    pub fn sharing_places(mut self) -> Self {
        self.place = Place::No;
        self
    }

    /// Whether the step that would start next has a place; asks for one if it could start.
    pub(super) fn has_place(&mut self) -> bool {
        if self.place == Place::No && self.ready.may_start() {
            self.place = Place::Asked;
            self.effects.push(Effect::AskPlace);
        }
        matches!(self.place, Place::Unneeded | Place::Had)
    }

    pub(super) fn take_place(&mut self) {
        if self.place == Place::Had {
            self.place = Place::No;
        }
    }

    /// Gives a place back that no step came to need.
    pub(super) fn leave_place(&mut self) {
        if self.place == Place::Had {
            self.place = Place::No;
            self.effects.push(Effect::LeavePlace);
        }
    }
}
