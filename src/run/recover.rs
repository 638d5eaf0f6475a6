//! Ends runs whose process died: what they were about to put in place is put in place, and the store is told. The caller
//! holds the pipeline's lock, so none of them still runs.

use crate::base::job::JobState;
use crate::engine::api::Engine;
use crate::event::{Event, Failure, FailureCode, Outcome, RunEnded, Stamped, StepEnded, VERSION};
use crate::report::api::Journal;
use crate::store::read::{DIED, Unfinished};
use crate::view::StepState;

/// Ends each of the runs. Returns the steps whose outputs could not be put in place.
pub fn recover(
    dead: &[Unfinished],
    engine: &dyn Engine,
    journal: &mut dyn Journal,
    now: jiff::Timestamp,
) -> Vec<String> {
    let mut lost = Vec::new();
    for run in dead {
        let mut ending = Ending { run, now, seq: run.last_seq.map_or(0, |seq| seq + 1), events: Vec::new() };
        let mut view = run.view.clone();
        let mut digests = Vec::new();
        for row in &run.publishing {
            let (outcome, record, failure) = match engine.publish(&run.job, &row.step, &row.staged) {
                Ok(seen) => {
                    digests.extend(seen);
                    (Outcome::Built, Some(row.record.clone()), None)
                }
                Err(failure) => {
                    lost.push(row.step.clone());
                    (Outcome::Failed, None, Some(failure))
                }
            };
            let (step, attempt, took_ms) = (row.step.clone(), row.attempt, row.took_ms);
            ending.push(Event::StepEnded(Box::new(StepEnded { step, attempt, outcome, took_ms, record, failure })));
        }
        for step in run.view.in_state(StepState::Running) {
            let failure = Some(Failure::new(FailureCode::Stopped, DIED));
            let took_ms = run.elapsed_ms.saturating_sub(step.began_ms);
            let (id, attempt, outcome) = (step.plan.id.clone(), step.attempt, Outcome::Stopped);
            ending.push(Event::StepEnded(Box::new(StepEnded {
                step: id,
                attempt,
                outcome,
                took_ms,
                record: None,
                failure,
            })));
        }
        for step in run.view.in_state(StepState::Waiting) {
            ending.push(Event::StepSkipped { step: step.plan.id.clone(), because: None });
        }
        ending.events.iter().for_each(|event| view.apply(event));
        ending.push(Event::RunEnded(RunEnded {
            state: JobState::Aborted,
            why: Some(DIED.to_owned()),
            counts: view.counts,
        }));
        journal.append(ending.events, digests);
    }
    lost
}

struct Ending<'a> {
    run: &'a Unfinished,
    now: jiff::Timestamp,
    seq: u64,
    events: Vec<Stamped>,
}

impl Ending<'_> {
    fn push(&mut self, event: Event) {
        let (job, elapsed_ms) = (self.run.job.clone(), self.run.elapsed_ms);
        // Steps ended when Kiln did: what they built is as old as that.
        let died = self.run.last_at().filter(|_| matches!(event, Event::StepEnded(_)));
        let at = died.unwrap_or(self.now);
        self.events.push(Stamped { version: VERSION, job, seq: self.seq, at, elapsed_ms, event });
        self.seq += 1;
    }
}
