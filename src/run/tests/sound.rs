//! What is true of every run, whatever happens in it: checked against what the engine really did and against a slow
//! scheduler that looks at everything anew each time.

use std::collections::BTreeMap;

use super::*;
use crate::event::StepEnded;

/// What a run is checked against.
pub(super) struct Bounds {
    pub(super) jobs: usize,
    pub(super) schedule: Schedule,
}

/// Where a step stands, as the events tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Waiting,
    /// It may start again at this millisecond.
    Again(u64),
    Begun,
    There,
    Gone,
}

/// Checks a run, and says what is wrong with it.
pub(super) fn check(ran: &Ran, bounds: &Bounds) -> Result<(), String> {
    dense(ran)?;
    within_limit(ran, bounds.jobs)?;
    attempts(ran)?;
    let mut replay = Replay {
        ran,
        bounds,
        seen: vec![Seen::Waiting; ran.steps.len()],
        index: ran.steps.iter().enumerate().map(|(i, step)| (step.name.as_str(), i)).collect(),
        stopping: false,
        culprits: Vec::new(),
    };
    let mut events = ran.events.iter().peekable();
    while let Some(event) = events.next() {
        replay.apply(event)?;
        let last_of_its_instant = events.peek().is_none_or(|next| next.elapsed_ms > event.elapsed_ms);
        if last_of_its_instant && events.peek().is_some() {
            replay.idle(event.elapsed_ms)?;
        }
    }
    if ran.driven.lost.is_none() || ran.driven.view.end.is_some() {
        replay.all_over()?;
    }
    Ok(())
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn dense(ran: &Ran) -> Result<(), String> {
    let dense = ran.events.iter().enumerate().all(|(i, event)| event.seq == i as u64);
    ensure(dense, || "the numbers of events have gaps".to_owned())
}

/// Never more attempts at once than there are slots.
fn within_limit(ran: &Ran, jobs: usize) -> Result<(), String> {
    let mut running = 0_usize;
    for entry in &ran.log {
        running = if entry.began { running + 1 } else { running - 1 };
        ensure(running <= jobs, || format!("{running} attempts at once at {} ms", entry.ms))?;
    }
    ensure(running == 0, || format!("{running} attempts have not ended"))
}

/// Each attempt is made once, in order.
fn attempts(ran: &Ran) -> Result<(), String> {
    let mut made: BTreeMap<&str, u32> = BTreeMap::new();
    for entry in ran.log.iter().filter(|entry| entry.began) {
        let last = made.entry(&entry.step).or_default();
        ensure(entry.attempt == *last + 1, || format!("attempt {} of {} after {last}", entry.attempt, entry.step))?;
        *last = entry.attempt;
    }
    Ok(())
}

struct Replay<'a> {
    ran: &'a Ran,
    bounds: &'a Bounds,
    seen: Vec<Seen>,
    index: HashMap<&'a str, usize>,
    stopping: bool,
    /// The steps that failed or were stopped, in order.
    culprits: Vec<usize>,
}

impl Replay<'_> {
    fn apply(&mut self, event: &Stamped) -> Result<(), String> {
        let now = event.elapsed_ms;
        match &event.event {
            Event::RunQueued(_) | Event::RunStarted(_) | Event::Noted { step: None, .. } => {}
            Event::StepStarted { step, .. } => {
                let i = self.index[step.as_str()];
                ensure(!self.stopping, || format!("{step} starts although nothing more is to"))?;
                // What may start again at this very instant may be heard of a moment later.
                let all = self.startable(now);
                let mut better = all.iter().take_while(|other| **other != i);
                let sound = all.contains(&i) && better.all(|other| self.seen[*other] == Seen::Again(now));
                ensure(sound, || {
                    let first = all.first().map(|i| &self.ran.steps[*i].name);
                    format!("{step} starts at {now} ms, the reference starts {first:?}")
                })?;
                self.seen[i] = Seen::Begun;
            }
            Event::StepRetrying(retrying) => {
                let i = self.begun(&retrying.step)?;
                self.seen[i] = Seen::Again(now + retrying.wait_ms);
            }
            Event::StepPublishing { step, .. }
            | Event::StepSubmitting { step, .. }
            | Event::StepAccepted { step, .. }
            | Event::Noted { step: Some(step), .. } => drop(self.begun(step)?),
            Event::StepEnded(ended) => self.ended(ended)?,
            Event::StepCurrent { step, .. } => {
                let i = self.index[step.as_str()];
                ensure(self.seen[i] == Seen::Waiting && self.has_all(i), || format!("{step} is current too early"))?;
                self.seen[i] = Seen::There;
            }
            Event::StepSkipped { step, because } => self.skipped(step, because.as_deref())?,
            Event::RunStopping { .. } => self.stopping = true,
            Event::RunEnded(_) => self.all_over()?,
        }
        Ok(())
    }

    fn begun(&self, step: &str) -> Result<usize, String> {
        let i = self.index[step];
        ensure(self.seen[i] == Seen::Begun, || format!("{step} goes on although it is {:?}", self.seen[i]))?;
        Ok(i)
    }

    fn ended(&mut self, ended: &StepEnded) -> Result<(), String> {
        let i = self.index[ended.step.as_str()];
        let fits = match ended.outcome {
            Outcome::Built | Outcome::Same => self.seen[i] == Seen::Begun,
            Outcome::Failed | Outcome::Stopped => matches!(self.seen[i], Seen::Begun | Seen::Again(_)),
            Outcome::Adopted => false,
        };
        ensure(fits, || format!("{} is {:?} although it is {:?}", ended.step, ended.outcome, self.seen[i]))?;
        let there = matches!(ended.outcome, Outcome::Built | Outcome::Same);
        if !there {
            self.culprits.push(i);
        }
        self.seen[i] = if there { Seen::There } else { Seen::Gone };
        Ok(())
    }

    /// The culprit failed or was stopped, and is above the step or is what ended the run.
    fn skipped(&mut self, step: &str, because: Option<&str>) -> Result<(), String> {
        let i = self.index[step];
        ensure(self.seen[i] == Seen::Waiting, || format!("{step} is skipped although it is {:?}", self.seen[i]))?;
        let guilty = match because {
            None => self.stopping,
            Some(name) => {
                let cause = self.index[name];
                self.culprits.contains(&cause) && self.is_above(cause, i)
            }
        };
        ensure(guilty, || format!("{step} is skipped because of {because:?}"))?;
        self.seen[i] = Seen::Gone;
        Ok(())
    }

    fn is_above(&self, above: usize, below: usize) -> bool {
        self.ran.steps[below].needs.iter().any(|need| *need == above || self.is_above(above, *need))
    }

    fn has_all(&self, i: usize) -> bool {
        self.ran.steps[i].needs.iter().all(|need| self.seen[*need] == Seen::There)
    }

    /// The steps that may start now but for the slots, best first: the slow scheduler.
    fn startable(&self, now: u64) -> Vec<usize> {
        let steps = &self.ran.steps;
        let over = |i: &usize| matches!(self.seen[*i], Seen::There | Seen::Gone);
        let gate = (0..steps.len()).filter(|i| !over(i)).map(|i| steps[i].stage).min();
        let ready = |i: &usize| match self.seen[*i] {
            Seen::Waiting => self.has_all(*i),
            Seen::Again(at) => at <= now,
            Seen::Begun | Seen::There | Seen::Gone => false,
        };
        let open = |i: &usize| self.bounds.schedule == Schedule::Eager || Some(steps[*i].stage) == gate;
        let mut startable: Vec<_> = (0..steps.len()).filter(|i| ready(i) && open(i)).collect();
        match self.bounds.schedule {
            Schedule::Stages => startable.sort_by_key(|i| (steps[*i].stage, *i)),
            Schedule::Eager => startable.sort_by_key(|i| (u64::MAX - steps[*i].remaining_ms, *i)),
        }
        startable
    }

    /// No slot is free while a step may start.
    fn idle(&self, now: u64) -> Result<(), String> {
        let begun = self.ran.log.iter().filter(|entry| entry.began && entry.ms <= now).count();
        let ended = self.ran.log.iter().filter(|entry| !entry.began && entry.ms <= now).count();
        let free = self.bounds.jobs.saturating_sub(begun - ended);
        let startable = self.startable(now);
        ensure(self.stopping || free == 0 || startable.is_empty(), || {
            format!("at {now} ms {free} slots are free, and {:?} may start", self.ran.steps[startable[0]].name)
        })
    }

    fn all_over(&self) -> Result<(), String> {
        let open = self.seen.iter().position(|seen| !matches!(seen, Seen::There | Seen::Gone));
        ensure(open.is_none(), || format!("{:?} has no end", open.map(|i| &self.ran.steps[i].name)))
    }
}
