//! Ends runs whose process died: what they were about to put in place is put in place, and the store is told. The caller
//! holds the pipeline's lock, so none of them still runs.

use crate::base::job::JobState;
use crate::engine::outputs::{Done, Outputs};
use crate::event::{Cause, Event, Outcome, Replaced, Stamped, StepEnded, VERSION};
use crate::fault::fault;
use crate::plan::put_back::PutBack;
use crate::plan::record::History;
use crate::report::api::Journal;
use crate::store::read::Unfinished;

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
    outputs: &dyn Outputs,
    journal: &mut dyn Journal,
    now: jiff::Timestamp,
) -> Recovered {
    let Recovered { mut lost, mut done, mut finished } = Recovered::default();
    for run in dead {
        let mut ending = Ending::of(run, now);
        let mut digests = Vec::new();
        for row in &run.publishing {
            let mut replaced = outputs.kept_before(&run.job, &row.staged);
            let mut staged = row.staged.clone();
            let last = history.last(&row.step).map(|last| last.outputs.as_slice()).unwrap_or_default();
            let ahead = outputs.halfway(&run.job, &row.step, &mut staged, last);
            let mut in_place = false;
            let published = ahead.and_then(|ahead| {
                let published = outputs.publish(&run.job, &row.step, &staged)?;
                in_place = true;
                replaced.extend(published.replaced.iter().cloned());
                let settled: Result<(), _> =
                    outputs.settle(&[(row.step.clone(), row.staged.clone())]).into_iter().collect();
                settled.map_err(|failure| published.fails(failure))?;
                Ok((ahead, published))
            });
            let (outcome, record, failure) = match published {
                Ok((ahead, published)) => {
                    done.insert((run.job.clone(), row.step.clone()));
                    finished.extend(ahead);
                    digests.extend(published.seen);
                    (Outcome::Built, Some(row.record.clone()), None)
                }
                Err(failure) => {
                    // What is in place is complete, only not recorded.
                    let give_up = || outputs.give_up(&run.job, &row.step, &row.staged, last);
                    let kept = if in_place { Vec::new() } else { give_up() };
                    let told =
                        kept.iter().map(|Replaced { path, kept }| format!("what is at {path} is kept in {kept}"));
                    let failure = failure.also(told.collect::<Vec<_>>());
                    replaced.extend(kept);
                    lost.push((row.step.clone(), failure.message.clone()));
                    (Outcome::Failed, None, Some(failure))
                }
            };
            let ended = StepEnded::new(&row.step, row.attempt, outcome, row.took_ms);
            ending.push(Event::StepEnded(Box::new(StepEnded { record, failure, replaced, ..ended })));
        }
        ending.rest(|step| outputs.keep_lost(&run.job, step));
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
    let mut ending = Ending::of(run, now);
    ending.rest(|_| None);
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

    /// Ends the steps that are not told yet, and the run.
    fn rest(&mut self, kept: impl Fn(&str) -> Option<String>) {
        let word = self.run.last_word.as_ref().map(|word| (word.state, word.because.clone()));
        let (state, because) = word.unwrap_or((JobState::Aborted, Cause::Died));
        let mut view = self.run.view.clone();
        self.events.iter().for_each(|event| view.apply(event));
        view.elapsed_ms = self.run.elapsed_ms;
        view.end_untold(state, because, kept).into_iter().for_each(|event| self.push(event));
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
