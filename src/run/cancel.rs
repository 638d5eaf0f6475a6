//! How a run ends: by itself, because someone asks it to, because its time is over, because it cannot be kept any more.

use crate::base::job::JobState;
use crate::engine::api::Stop;
use crate::event::{Cause, Event, RunEnded};
use crate::run::setup::Effect;
use crate::run::state::{Run, State};

impl Run {
    /// Why it could not be kept, if so.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Someone asks the run to end: the first time all work is asked to, then it is killed.
    pub(super) fn asked(&mut self, cause: Cause) {
        self.signals += 1;
        let stop = if self.signals == 1 && !matches!(self.aborted, Some(Cause::TimeLimit { .. })) {
            Stop::Ask
        } else {
            Stop::Kill
        };
        self.abort(cause, stop);
    }

    /// The time of the run is over.
    pub(super) fn time_is_over(&mut self) {
        if self.aborted.is_none()
            && let Some(ms) = self.policy.time_limit_ms
        {
            self.abort(Cause::TimeLimit { ms }, Stop::Ask);
        }
    }

    fn abort(&mut self, cause: Cause, stop: Stop) {
        if self.aborted.is_none() {
            self.emit(Event::stopping(cause.clone()));
            self.aborted = Some(cause);
        }
        self.stopping = true;
        self.asked = true;
        self.effects.push(Effect::Stop(stop));
    }

    /// The history or a log cannot be kept: nothing more starts, what runs goes on to its end.
    pub(super) fn cannot_be_kept(&mut self, why: String) {
        if self.broken.is_some() {
            return;
        }
        self.stopping = true;
        self.emit(Event::stopping(Cause::Unkept { why: why.clone() }));
        self.broken = Some(why);
    }

    /// A step has failed; that may have been enough.
    pub(super) fn count_failure(&mut self, cause: Cause) {
        let enough = self.policy.max_fail.is_some_and(|max| self.failed >= u64::from(max));
        if !enough || self.stopping {
            return;
        }
        self.stopping = true;
        if self.left > 0 {
            self.emit(Event::stopping(cause));
        }
        if self.policy.kill {
            self.asked = true;
            self.effects.push(Effect::Stop(Stop::Ask));
        }
    }

    /// Ends the run when nothing goes on and nothing may start.
    pub(super) fn finish(&mut self) {
        let busy = self.running + self.staged.len() + self.flushing.len() + self.publishing > 0;
        if busy || !(self.stopping || self.left == 0) {
            return;
        }
        self.give_up_retries();
        // What waits for something that failed was skipped because of that already: for the rest it is the run that stopped.
        for i in 0..self.steps.len() {
            if matches!(self.steps[i].state, State::Waiting | State::Ready) {
                self.skip(i, None);
            }
        }
        let (state, because) = match (&self.aborted, &self.broken, &self.first_failure) {
            (Some(cause), ..) => (JobState::Aborted, Some(cause.clone())),
            (None, Some(why), _) => (JobState::Failed, Some(Cause::Unkept { why: why.clone() })),
            (None, None, Some(cause)) => (JobState::Failed, Some(cause.clone())),
            (None, None, None) => (JobState::Done, None),
        };
        self.emit(Event::RunEnded(RunEnded::new(state, because, self.counts)));
        self.effects.push(Effect::End);
        self.over = true;
    }
}
