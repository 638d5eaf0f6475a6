//! A run that could not begin, in the history all the same: else the run before it would pass for the last one. Does not know how it
//! is told besides.

use crate::base::job::JobState;
use crate::base::text::count;
use crate::event::{Cause, Counts, Event, RunEnded, RunStarted, Stamped, VERSION};
use crate::plan::Plan;
use crate::report::api::Journal;
use crate::session::Session;
use crate::session::fail::Fail;
use crate::session::start::{Origin, Ticket, new_job, started};
use crate::store::write::Writer;

/// Keeps that a run was refused for what was in its way. That it was is told to people whether or not this can be kept.
pub(crate) fn keep(session: &Session, writer: &mut Writer, origin: Origin, fail: &Fail) {
    let Some(words) = why(fail) else { return };
    let kept = new_job(session).and_then(|Ticket { job, began: at, .. }| {
        let started =
            RunStarted { expected_ms: None, ..started(session, &Plan { steps: Vec::new() }, origin, Vec::new()) };
        let end = RunEnded::new(JobState::Failed, Some(Cause::Other { words }), Counts::default());
        let events = [Event::RunStarted(Box::new(started)), Event::RunEnded(end)].into_iter().zip(0..);
        let stamp = |(event, seq)| Stamped { version: VERSION, job: job.clone(), seq, at, elapsed_ms: 0, event };
        writer.append(events.map(stamp).collect(), Vec::new());
        session.store.let_go();
        writer.flush().map_err(|error| Fail::because("the history cannot be kept", &error))
    });
    if let Err(fail) = kept {
        tracing::warn!("that this run could not begin is not in the history: {}", fail.plain());
    }
}

/// The first obstacle, and how many more there are.
fn why(fail: &Fail) -> Option<String> {
    let Fail::Mistakes(_, problems) = fail else { return None };
    let mut wrong = problems.iter().filter(|problem| !problem.warning);
    let first = wrong.next()?.in_line();
    let more = wrong.count();
    Some(if more == 0 { first } else { format!("{first}; and {}", count(more, "more obstacle")) })
}
