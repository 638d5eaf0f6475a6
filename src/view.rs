//! The state of a run as its events tell it: what every reader shows. Any beginning of a run's events folds.

use std::collections::HashMap;

use crate::base::job::{JobId, JobState};
use crate::event::{
    Cause, Counts, Event, Failure, FailureCode, Outcome, PlannedStep, Replaced, RunEnded, RunStarted, Stamped,
    StepEnded, StepRetrying,
};

pub use crate::outcome::{ADOPTED, StepState};

/// A run, folded from its events.
#[derive(Clone, Debug, Default)]
pub struct RunView {
    /// The run's id and beginning; none before its first event. For a run that waits for its turn, when it was asked for.
    pub head: Option<Head>,
    /// When it was asked for.
    pub asked: Option<jiff::Timestamp>,
    /// Whether it waits for its turn, or ended without one.
    pub queued: bool,
    /// The steps in the order of the plan.
    pub steps: Vec<StepView>,
    /// How many steps ended in which way so far.
    pub counts: Counts,
    /// Why nothing more starts.
    pub stopping: Option<Cause>,
    /// How it ended.
    pub end: Option<RunEnded>,
    /// When the last event happened, in milliseconds since the run began.
    pub elapsed_ms: u64,
    /// What people should know of all of it, in the order in which it was told.
    pub notes: Vec<String>,
    index: HashMap<String, usize>,
}

/// What a run began with. Its steps are in [`RunView::steps`].
#[derive(Clone, Debug)]
pub struct Head {
    /// The run.
    pub job: JobId,
    /// When it began.
    pub at: jiff::Timestamp,
    /// The first event, less its steps.
    pub started: RunStarted,
}

/// What is told of a step whose outputs were only to be put in place when its run died.
const COMPLETE: &str = "its outputs are complete: the next run looks whether they can still be put in place";

/// A step of a run.
#[derive(Clone, Debug)]
pub struct StepView {
    /// As it was planned.
    pub plan: PlannedStep,
    /// Where it stands.
    pub state: StepState,
    /// Which attempt, counted from 1; 0 before the first.
    pub attempt: u32,
    /// When the attempt began, in milliseconds since the run began.
    pub began_ms: u64,
    /// How long it took, once it has ended.
    pub took_ms: u64,
    /// What it runs.
    pub command: String,
    /// The file that its output goes to, relative to the state's folder.
    pub log: String,
    /// Whether its outputs were taken as built, and so are up to date.
    pub adopted: bool,
    /// Why it failed, or why its last attempt did.
    pub failure: Option<Failure>,
    /// The attempts before this one, each of which failed.
    pub earlier: Vec<Earlier>,
    /// When the next attempt begins at the earliest, in milliseconds since the run began, while it is waited for.
    pub again_ms: u64,
    /// Processes that it had left behind and that were ended then.
    pub leaked: Vec<String>,
    /// What stood where its outputs were put in place, and was not of Kiln's making.
    pub replaced: Vec<Replaced>,
    /// The step because of which it was skipped.
    pub because: Option<String>,
}

/// An attempt that failed and was followed by another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Its number, counted from 1.
    pub attempt: u32,
    /// When it began, in milliseconds since the run began.
    pub began_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The file that its output went to, relative to the state's folder.
    pub log: String,
    /// Why it failed.
    pub failure: Failure,
}

impl RunView {
    /// Ends a run that ended so and has not told it, and says what becomes of its steps that have not ended: what ran was stopped,
    /// and `kept` says what was kept of it.
    pub fn end_untold(&mut self, state: JobState, because: Cause, kept: impl Fn(&str) -> Option<String>) -> Vec<Event> {
        let end = |step: &StepView| {
            let (id, after) = (&step.plan.id, step.state.after_death());
            if after == StepState::Skipped {
                return Event::StepSkipped { step: id.clone(), because: None };
            }
            let (outcome, took_ms, failure) = if after == StepState::Failed {
                (Outcome::Failed, step.took_ms, step.failure.clone())
            } else {
                let why = if step.state == StepState::Publishing {
                    COMPLETE.to_owned()
                } else {
                    std::iter::once(because.to_string()).chain(kept(id)).collect::<Vec<_>>().join("; ")
                };
                let took_ms = self.elapsed_ms.saturating_sub(step.began_ms);
                (Outcome::Stopped, took_ms, Some(Failure::new(FailureCode::Died, why)))
            };
            Event::StepEnded(Box::new(StepEnded { failure, ..StepEnded::new(id, step.attempt, outcome, took_ms) }))
        };
        let mut events: Vec<_> = self.steps.iter().filter(|step| !step.state.is_over()).map(end).collect();
        events.iter().for_each(|event| self.take(event));
        self.stopping = Some(because.clone());
        let end = Event::RunEnded(RunEnded::new(state, Some(because), self.counts));
        self.take(&end);
        events.push(end);
        events
    }

    /// Whether its process died: then it took at least as long as is known.
    #[must_use]
    pub fn died(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.cause() == Some(Cause::Died))
    }

    /// Whether it ended ill before it was known which steps it had: all that it was asked for is undone.
    #[must_use]
    pub fn is_untried(&self) -> bool {
        self.steps.is_empty() && self.end.as_ref().is_some_and(|end| end.state != JobState::Done)
    }

    /// Folds events.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Stamped>) -> Self {
        let mut view = Self::default();
        for event in events {
            view.apply(event);
        }
        view
    }

    /// A step by its id.
    #[must_use]
    pub fn step(&self, id: &str) -> Option<&StepView> {
        self.index.get(id).map(|i| &self.steps[*i])
    }

    /// The step that makes a node, where that is no step's own name.
    #[must_use]
    pub fn maker(&self, node: &str) -> Option<&str> {
        let makes = |step: &&StepView| step.plan.outputs.iter().any(|output| output == node);
        self.steps.iter().find(makes).map(|step| step.plan.id.as_str()).filter(|_| self.step(node).is_none())
    }

    /// The steps in a state.
    pub fn in_state(&self, state: StepState) -> impl Iterator<Item = &StepView> {
        self.steps.iter().filter(move |step| step.state == state)
    }

    /// Where the run stands, as far as its events tell.
    #[must_use]
    pub fn state(&self) -> JobState {
        let now = if self.queued { JobState::Queued } else { JobState::Running };
        self.end.as_ref().map_or(now, |end| end.state)
    }

    /// Takes one more event in. Events of steps that the run does not know change nothing.
    pub fn apply(&mut self, stamped: &Stamped) {
        self.elapsed_ms = stamped.elapsed_ms;
        if let Event::RunQueued(started) | Event::RunStarted(started) = &stamped.event {
            self.begin(stamped, started);
        }
        self.take(&stamped.event);
    }

    fn take(&mut self, event: &Event) {
        event.count(&mut self.counts);
        match event {
            Event::RunQueued(_) => self.queued = true,
            Event::RunStarted(_) => self.queued = false,
            Event::StepStarted { step, attempt, command, log } => {
                let began_ms = self.elapsed_ms;
                self.with(step, |view| {
                    view.state = StepState::Running;
                    view.attempt = *attempt;
                    view.began_ms = began_ms;
                    view.failure = None;
                    view.command.clone_from(command);
                    view.log.clone_from(log);
                });
            }
            Event::StepRetrying(retrying) => self.retrying(retrying),
            // They tell where a running step is.
            Event::StepSubmitting { .. } | Event::StepAccepted { .. } | Event::Noted { step: Some(_), .. } => {}
            Event::Noted { step: None, text } => self.notes.push(text.clone()),
            Event::StepPublishing { step, .. } => self.with(step, |view| view.state = StepState::Publishing),
            Event::StepEnded(ended) => self.ended(ended),
            Event::StepCurrent { step, .. } => self.with(step, |view| view.state = StepState::Current),
            Event::StepSkipped { step, because } => self.with(step, |view| {
                view.state = StepState::Skipped;
                view.because.clone_from(because);
            }),
            Event::RunStopping { cause, because } => {
                self.stopping = Some(because.clone().unwrap_or_else(|| Cause::of_words(cause)));
            }
            Event::RunEnded(end) => self.end = Some(end.clone()),
        }
    }

    fn begin(&mut self, stamped: &Stamped, started: &RunStarted) {
        let mut started = started.clone();
        self.index = started.steps.iter().enumerate().map(|(i, step)| (step.id.clone(), i)).collect();
        self.steps = std::mem::take(&mut started.steps).into_iter().map(StepView::new).collect();
        self.counts = Counts { current: started.up_to_date, ..Counts::default() };
        self.asked.get_or_insert(stamped.at);
        self.head = Some(Head { job: stamped.job.clone(), at: stamped.at, started });
    }

    fn ended(&mut self, ended: &StepEnded) {
        self.with(&ended.step, |view| {
            view.state = StepState::of(ended.outcome);
            view.attempt = ended.attempt;
            view.took_ms = ended.took_ms;
            view.adopted = ended.outcome == Outcome::Adopted;
            view.failure.clone_from(&ended.failure);
            view.leaked.clone_from(&ended.leaked);
            view.replaced.clone_from(&ended.replaced);
        });
    }

    fn retrying(&mut self, retrying: &StepRetrying) {
        let now_ms = self.elapsed_ms;
        self.with(&retrying.step, |view| {
            view.state = StepState::Retrying;
            view.took_ms = retrying.took_ms;
            view.again_ms = now_ms.saturating_add(retrying.wait_ms);
            view.failure = Some(retrying.failure.clone());
            view.earlier.push(Earlier {
                attempt: retrying.attempt,
                began_ms: view.began_ms,
                took_ms: retrying.took_ms,
                log: view.log.clone(),
                failure: retrying.failure.clone(),
            });
        });
    }

    fn with(&mut self, step: &str, change: impl FnOnce(&mut StepView)) {
        if let Some(i) = self.index.get(step) {
            change(&mut self.steps[*i]);
        }
    }
}

impl StepView {
    /// How long it took with the attempts before the last and the waits between them, once it has ended.
    #[must_use]
    pub fn whole_ms(&self) -> u64 {
        let since = self.earlier.first().map_or(self.began_ms, |earlier| earlier.began_ms);
        self.began_ms.saturating_add(self.took_ms).saturating_sub(since)
    }

    /// Whether it was built although an attempt before had failed.
    #[must_use]
    pub fn flaky(&self) -> bool {
        self.attempt > 1 && matches!(self.state, StepState::Built | StepState::Same)
    }

    fn new(plan: PlannedStep) -> Self {
        Self {
            plan,
            state: StepState::Waiting,
            attempt: 0,
            began_ms: 0,
            took_ms: 0,
            command: String::new(),
            log: String::new(),
            adopted: false,
            failure: None,
            earlier: Vec::new(),
            again_ms: 0,
            leaked: Vec::new(),
            replaced: Vec::new(),
            because: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::StopSignal;

    /// An event as it stands in a history: what is said of a run, and no more.
    fn told(event: &str) -> Stamped {
        let stamp = r#""version":1,"job":"j","seq":1,"at":"2026-11-23T02:00:00Z","elapsed_ms":1"#;
        serde_json::from_str(&format!("{{{stamp},{event}}}")).unwrap()
    }

    #[test]
    fn older_versions_told_why_in_words_only() {
        let stopping = |cause: &str| {
            let event = told(&format!(r#""type":"run_stopping","cause":"{cause}""#));
            RunView::fold([&event]).stopping.unwrap()
        };
        assert_eq!(stopping("Ctrl-C"), Cause::Signal { signal: StopSignal::Interrupt });
        assert_eq!(stopping("a failed"), Cause::Other { words: "a failed".to_owned() });
        let end = |why: &str| {
            let counts = serde_json::to_string(&Counts::default()).unwrap();
            let event = format!(r#""type":"run_ended","state":"ABORTED",{why}"counts":{counts}"#);
            RunView::fold([&told(&event)])
        };
        assert!(end(r#""why":"ended without a last word","#).died());
        assert!(!end(r#""why":"SIGTERM","#).died() && !end("").died());
        // Now they stand beside the value.
        assert!(end(r#""why":"it died","because":{"kind":"died"},"#).died());
    }

    #[test]
    fn words_are_made_of_the_value() {
        let failed = Cause::Failed { step: "split".to_owned(), message: "exit 3".to_owned() };
        let Event::RunStopping { cause, because } = Event::stopping(failed.clone()) else { unreachable!() };
        assert_eq!((cause.as_str(), because.as_ref()), ("split failed", Some(&failed)));
        let end = RunEnded::new(JobState::Failed, because, Counts::default());
        assert_eq!((end.why.as_deref(), end.cause()), (Some("split: exit 3"), Some(failed)));
    }
}
