//! Ends runs whose process died: what they were about to put in place is put in place, and the store is told. The caller
//! holds the pipeline's lock, so none of them still runs.

use crate::base::job::JobState;
use crate::engine::api::{Done, Engine};
use crate::event::{Counts, DIED, Event, Failure, FailureCode, Outcome, RunEnded, Stamped, StepEnded, VERSION};
use crate::fault::fault;
use crate::plan::put_back::PutBack;
use crate::plan::record::History;
use crate::report::api::Journal;
use crate::store::read::Unfinished;
use crate::view::{StepState, StepView};

/// What came of runs that died.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The steps whose outputs could not be put in place, and why.
    pub lost: Vec<(String, String)>,
    /// The steps whose outputs are all in place now.
    pub done: Done,
    /// The outputs that were put in place now.
    pub finished: Vec<PutBack>,
}

/// Ends each of the runs. The history has what was built before them.
pub fn recover(
    dead: &[Unfinished],
    history: &dyn History,
    engine: &dyn Engine,
    journal: &mut dyn Journal,
    now: jiff::Timestamp,
) -> Recovered {
    let Recovered { mut lost, mut done, mut finished } = Recovered::default();
    for run in dead {
        let mut ending = Ending::of(run, now);
        let mut view = run.view.clone();
        let mut digests = Vec::new();
        for row in &run.publishing {
            let mut replaced = engine.kept_before(&run.job, &row.staged);
            let mut staged = row.staged.clone();
            let last = history.last(&row.step).map(|last| last.outputs.as_slice()).unwrap_or_default();
            let ahead = engine.halfway(&run.job, &mut staged, last);
            let published = ahead.and_then(|ahead| Ok((ahead, engine.publish(&run.job, &row.step, &staged)?)));
            let (outcome, record, failure) = match published {
                Ok((ahead, published)) => {
                    done.insert((run.job.clone(), row.step.clone()));
                    finished.extend(ahead);
                    digests.extend(published.seen);
                    replaced.extend(published.replaced);
                    (Outcome::Built, Some(row.record.clone()), None)
                }
                Err(failure) => {
                    lost.push((row.step.clone(), failure.message.clone()));
                    (Outcome::Failed, None, Some(failure))
                }
            };
            let ended = StepEnded::new(&row.step, row.attempt, outcome, row.took_ms);
            ending.ended(StepEnded { record, failure, replaced, ..ended });
        }
        for step in &run.view.steps {
            let kept = if step.state == StepState::Running { engine.keep_lost(&run.job, &step.plan.id) } else { None };
            ending.without_outputs(step, kept.as_deref());
        }
        ending.events.iter().for_each(|event| view.apply(event));
        ending.over(view.counts);
        journal.append(ending.events.into(), digests);
        if let Err(error) = fault("recover.told") {
            tracing::debug!(%error, "only a test can make this fail");
        }
    }
    Recovered { lost, done, finished }
}

/// How a run ended of which nothing was being put in place.
#[must_use]
pub fn end(run: &Unfinished, now: jiff::Timestamp) -> Vec<Stamped> {
    let (mut ending, mut view) = (Ending::of(run, now), run.view.clone());
    run.view.steps.iter().for_each(|step| ending.without_outputs(step, None));
    ending.events.iter().for_each(|event| view.apply(event));
    ending.over(view.counts);
    ending.events
}

struct Ending<'a> {
    run: &'a Unfinished,
    now: jiff::Timestamp,
    seq: u64,
    events: Vec<Stamped>,
}

impl<'a> Ending<'a> {
    fn of(run: &'a Unfinished, now: jiff::Timestamp) -> Self {
        Self { run, now, seq: run.last_seq.map_or(0, |seq| seq + 1), events: Vec::new() }
    }

    fn why(&self) -> &str {
        self.run.last_word.as_ref().map_or(DIED, |word| &word.why)
    }

    fn over(&mut self, counts: Counts) {
        let state = self.run.last_word.as_ref().map_or(JobState::Aborted, |word| word.state);
        self.push(Event::RunEnded(RunEnded { state, why: Some(self.why().to_owned()), counts }));
    }

    /// Ends a step that ran, or that would have run, and tells what was kept of it.
    fn without_outputs(&mut self, step: &StepView, kept: Option<&str>) {
        // What was complete has ended as that came out.
        if step.state.is_over() || step.state == StepState::Publishing {
            return;
        }
        let after = step.state.after_death();
        if after == StepState::Skipped {
            return self.push(Event::StepSkipped { step: step.plan.id.clone(), because: None });
        }
        let (outcome, took_ms, failure) = if after == StepState::Failed {
            (Outcome::Failed, step.took_ms, step.failure.clone())
        } else {
            let took_ms = self.run.elapsed_ms.saturating_sub(step.began_ms);
            let why = std::iter::once(self.why()).chain(kept).collect::<Vec<_>>().join("; ");
            (Outcome::Stopped, took_ms, Some(Failure::new(FailureCode::Died, why)))
        };
        self.ended(StepEnded { failure, ..StepEnded::new(&step.plan.id, step.attempt, outcome, took_ms) });
    }

    fn ended(&mut self, ended: StepEnded) {
        self.push(Event::StepEnded(Box::new(ended)));
    }

    fn push(&mut self, event: Event) {
        let (job, mut elapsed_ms) = (self.run.job.clone(), self.run.elapsed_ms);
        // It ended when Kiln was last seen alive, and what steps built is as old as that, whatever was said later.
        let told = self.run.last_word.as_ref().map(|word| word.at);
        let said = told.filter(|_| !matches!(event, Event::StepEnded(_)));
        let at = said.or_else(|| self.run.last_at()).unwrap_or(self.now);
        if let (Some(at), Some(head)) = (told, &self.run.view.head) {
            let lived = u64::try_from(at.duration_since(head.at).as_millis()).unwrap_or_default();
            elapsed_ms = elapsed_ms.max(lived);
        }
        self.events.push(Stamped { version: VERSION, job, seq: self.seq, at, elapsed_ms, event });
        self.seq += 1;
    }
}
