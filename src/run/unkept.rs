//! What a run did and could not keep: once nothing runs any more there may be room again, for a step that failed leaves nothing behind. Decides
//! nothing about steps.

use std::collections::HashMap;

use crate::base::job::JobState;
use crate::engine::api::Notice;
use crate::event::{Cause, Event, RunEnded, Stamped};
use crate::run::{Driver, keep_sound};
use crate::view::RunView;

/// What became of what could not be kept when it happened.
#[derive(Debug)]
pub enum Unkept {
    /// There was nothing of that kind.
    Nothing,
    /// It is in the history now.
    MadeUp,
    /// It is in no history: the run as it is known then.
    Still(Box<RunView>),
}

impl Driver<'_> {
    /// Keeps what could not be kept when it happened, with how the run ended, and shows it then. Where there is still no way, reports
    /// that only people read are completed all the same. Of what was `taken` back it is told.
    pub(super) fn make_up(&mut self, taken: &HashMap<String, String>) -> Unkept {
        while let Ok((_, notice, _)) = self.notices.try_recv() {
            tell(&notice);
        }
        let Some(why) = self.lost.clone() else { return Unkept::Nothing };
        let mut events = self.untold(why.clone(), taken);
        match self.drive.journal.again(&events) {
            Ok(()) => {
                events.iter().for_each(|event| self.show(event));
                let view = &self.view;
                keep_sound(&mut self.drive.reporters, &mut self.unshown, |reporter| reporter.flush(view));
                Unkept::MadeUp
            }
            Err(error) => {
                tracing::debug!(%error, "nor can it be kept now");
                let mut view = self.view.clone();
                // Nobody will ever see in the history that all went well.
                if let Some(Stamped { event: Event::RunEnded(end), .. }) = events.last_mut()
                    && end.state == JobState::Done
                {
                    *end = RunEnded::new(JobState::Failed, Some(Cause::Unkept { why }), end.counts);
                }
                for event in &events {
                    view.apply(event);
                    keep_sound(&mut self.drive.reporters, &mut self.unshown, |reporter| {
                        if reporter.tells_unkept() { reporter.event(&view, event) } else { Ok(()) }
                    });
                }
                Unkept::Still(Box::new(view))
            }
        }
    }

    /// What has happened and is in no history, to the end of the run. Where it is not known that something is put in place, nothing is.
    fn untold(&mut self, why: String, taken: &HashMap<String, String>) -> Vec<Stamped> {
        let pending = std::mem::take(&mut self.pending);
        let first = pending.iter().find_map(|batch| batch.events.first()).map(|event| event.seq);
        let events = pending.iter().flat_map(|batch| batch.events.iter());
        let kept = |event: &&Stamped| !matches!(event.event, Event::StepPublishing { .. });
        let mut events: Vec<Stamped> = events.filter(kept).cloned().collect();
        // They are counted without gaps.
        let first = first.unwrap_or(self.seq);
        let mut view = self.view.clone();
        events.iter().for_each(|event| view.apply(event));
        if view.head.is_some() && view.end.is_none() {
            view.elapsed_ms = self.elapsed_ms();
            let ends = view.end_untold(JobState::Failed, Cause::Unkept { why }, |step| taken.get(step).cloned());
            events.extend(ends.into_iter().map(|event| self.stamp(event)));
        }
        events.iter_mut().zip(first..).for_each(|(event, seq)| event.seq = seq);
        events
    }
}

/// Tells people what cannot become an event any more.
pub(super) fn tell(notice: &Notice) {
    if let Notice::Told { text, .. } = notice {
        tracing::warn!("{text}");
    }
}
