//! The state of a run as its events tell it: what every reader shows. Any beginning of a run's events folds.

use std::collections::HashMap;

use crate::base::job::{JobId, JobState};
use crate::event::{
    Counts, DIED, Event, Failure, Outcome, PlannedStep, RemoteJob, Replaced, RunEnded, RunStarted, Stamped, StepEnded,
    StepRetrying,
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
    pub stopping: Option<String>,
    /// How it ended.
    pub end: Option<RunEnded>,
    /// When the last event happened, in milliseconds since the run began.
    pub elapsed_ms: u64,
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
    /// The job that it is elsewhere.
    pub remote: Option<RemoteJob>,
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
    /// A run that has not told its end itself ended for this reason, after so many milliseconds.
    pub fn end_with(&mut self, why: Option<String>, took_ms: Option<u64>) {
        if let (Some(end), Some(_)) = (&mut self.end, &why) {
            end.why.clone_from(&why);
            self.stopping = why;
        }
        self.elapsed_ms = self.elapsed_ms.max(took_ms.unwrap_or(0));
    }

    /// Whether its process died: then it took at least as long as is known.
    #[must_use]
    pub fn died(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.why.as_deref() == Some(DIED))
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
        stamped.event.count(&mut self.counts);
        match &stamped.event {
            Event::RunQueued(started) => {
                self.begin(stamped, started);
                self.queued = true;
            }
            Event::RunStarted(started) => self.begin(stamped, started),
            Event::StepStarted { step, attempt, command, log } => {
                let began_ms = stamped.elapsed_ms;
                self.with(step, |view| {
                    view.state = StepState::Running;
                    view.attempt = *attempt;
                    view.began_ms = began_ms;
                    view.failure = None;
                    view.command.clone_from(command);
                    view.log.clone_from(log);
                });
            }
            Event::StepRetrying(retrying) => self.retrying(stamped.elapsed_ms, retrying),
            // They tell where a running step is.
            Event::StepSubmitting { .. } | Event::Noted { .. } => {}
            Event::StepAccepted { step, remote } => self.with(step, |view| view.remote = Some(remote.clone())),
            Event::StepPublishing { step, .. } => self.with(step, |view| view.state = StepState::Publishing),
            Event::StepEnded(ended) => self.ended(ended),
            Event::StepCurrent { step, .. } => self.with(step, |view| view.state = StepState::Current),
            Event::StepSkipped { step, because } => self.with(step, |view| {
                view.state = StepState::Skipped;
                view.because.clone_from(because);
            }),
            Event::RunStopping { cause } => self.stopping = Some(cause.clone()),
            Event::RunEnded(end) => self.end = Some(end.clone()),
        }
    }

    fn begin(&mut self, stamped: &Stamped, started: &RunStarted) {
        self.steps = started.steps.iter().cloned().map(StepView::new).collect();
        self.index = started.steps.iter().enumerate().map(|(i, step)| (step.id.clone(), i)).collect();
        self.counts = Counts { current: started.up_to_date, ..Counts::default() };
        let started = RunStarted { steps: Vec::new(), ..started.clone() };
        self.asked.get_or_insert(stamped.at);
        self.queued = false;
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

    fn retrying(&mut self, now_ms: u64, retrying: &StepRetrying) {
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
            remote: None,
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
