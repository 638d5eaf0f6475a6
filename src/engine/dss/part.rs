//! A step whose outputs are built by the one job of its run: what the job's activities mean for it. Asks DSS nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use crate::base::text::one_line;
use crate::engine::api::{Ended, Notice, Stop};
use crate::engine::dss::judge;
use crate::engine::dss::spec::Spec;
use crate::engine::dss::told::{Names, Told, is_failed};
use crate::engine::dss::whole::{Progress, Whole};
use crate::engine::dss::work::{Course, failed};
use crate::event::{Failure, FailureCode, RemoteJob};

/// A step of the one job.
pub(super) struct Part {
    pub(super) whole: Arc<Whole>,
    /// What the whole job was asked for.
    pub(super) all: Arc<Spec>,
    /// The same, as activities name it.
    pub(super) names: Arc<Names>,
    /// Whether it comes last: its end is the end of the job.
    pub(super) last: bool,
    /// Whether what was asked for has to be built, whatever its state.
    pub(super) strict: bool,
}

/// What the job means for a step.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Nothing yet.
    Wait,
    /// The step is over.
    Over(Ended),
    /// The job has failed elsewhere and did not come to the step: it needs one of its own.
    Own,
}

impl Part {
    /// Waits for the step's part of the job. None where the step needs a job of its own.
    pub(super) async fn run(&self, course: &mut Course) -> Option<Ended> {
        self.whole.begin(&course.dss, &course.calls, course.log.clone(), course.updates.clone());
        let mut progress = self.whole.progress.subscribe();
        let mut known = String::new();
        let mut told = BTreeMap::new();
        loop {
            let stop = *course.stop.borrow_and_update();
            self.whole.ask(stop);
            let now = progress.borrow_and_update().clone();
            if let Some(job) = now.job.as_ref().filter(|job| job.id != known) {
                known.clone_from(&job.id);
                let page = Some(course.dss.page(self.all.project(), &job.id));
                let remote = RemoteJob { id: job.id.clone(), page, joined: job.joined };
                if course.updates.notice(Notice::Accepted(remote)).await.is_err() {
                    tracing::debug!(job = job.id, "the history is kept no longer");
                }
            }
            if let Some(status) = &now.status {
                tell(course, status, &mut told);
            }
            match self.verdict(&now, &course.spec) {
                Verdict::Wait => {}
                Verdict::Over(ended) => return Some(ended),
                Verdict::Own => {
                    course.say(&format!("job {known} ended before it came to this step: it gets one of its own"));
                    return None;
                }
            }
            tokio::select! {
                biased;
                changed = progress.changed() => if changed.is_err() {
                    return Some(failed(FailureCode::Lost, "nobody follows the job any more"));
                },
                () = more(&mut course.stop) => {}
            }
        }
    }

    fn verdict(&self, now: &Progress, spec: &Spec) -> Verdict {
        let job = now.job.as_ref().map(|job| job.id.as_str()).unwrap_or_default();
        let nothing = Told::default();
        let told = now.status.as_deref().unwrap_or(&nothing);
        let ours = told.of(spec);
        let states: Vec<&str> =
            ours.iter().map(|(_, activity)| activity.state.as_deref().unwrap_or_default()).collect();
        let over = now.over.as_ref();
        if states.contains(&"FAILED") {
            let broken = ours.into_iter().filter(|(_, activity)| is_failed(activity));
            return match judge::failed_of(&told.status, job, broken) {
                judge::Verdict::Ended(ended) => Verdict::Over(ended),
                // Another job was building it.
                judge::Verdict::Busy(_) | judge::Verdict::Aborted if over.is_some() => Verdict::Own,
                judge::Verdict::Busy(_) | judge::Verdict::Aborted => Verdict::Wait,
            };
        }
        let done = !states.is_empty() && states.iter().all(|state| *state == "DONE");
        match over {
            None if done && !self.last => Verdict::Over(Ended::Built(Vec::new())),
            // DSS finds out first what is to be run, and then runs it: what it does not name then is left alone.
            None if !self.last && !self.strict && states.is_empty() && told.complete => {
                self.whole.early.lock().unwrap_or_else(PoisonError::into_inner).push(spec.clone());
                Verdict::Over(Ended::Current(Vec::new()))
            }
            None => Verdict::Wait,
            Some(ended) => self.at_the_end(ended, told, spec, job, done),
        }
    }

    /// The job is over, and no activity of the step has failed.
    fn at_the_end(&self, ended: &Ended, told: &Told, spec: &Spec, job: &str, done: bool) -> Verdict {
        let status = &told.status;
        if let Some(wrong) = self.wrong(told) {
            let message =
                format!("DSS ran {wrong} after all, which was taken for up to date, and it failed (job {job})");
            return Verdict::Over(failed(FailureCode::Remote, message));
        }
        if status.state() == "DONE" {
            return Verdict::Over(judge::done(told, spec, job, self.strict, || self.also(told)));
        }
        if done {
            return Verdict::Over(Ended::Built(self.also(told)));
        }
        match ended {
            Ended::Failed(_) | Ended::Stopped(_) => Verdict::Over(ended.clone()),
            Ended::Built(_) | Ended::Current(_) | Ended::Staged(_) if status.state() == "ABORTED" => {
                Verdict::Over(failed(FailureCode::Lost, format!("job {job} was aborted on DSS, not by Kiln")))
            }
            Ended::Built(_) | Ended::Current(_) | Ended::Staged(_) => self.undone(told, job),
        }
    }

    /// The job failed and did not come to the step: because of another step, or because of what no step is.
    fn undone(&self, told: &Told, job: &str) -> Verdict {
        let elsewhere = || told.failed().filter(|(_, activity)| !self.names.has(activity));
        if told.failed().next().is_some() && elsewhere().next().is_none() {
            return Verdict::Own;
        }
        // One that does not tell what it builds may be that of any step.
        let untold = told.failed().any(|(_, activity)| activity.targets.iter().all(|item| item.id.is_none()));
        match judge::failed_of(&told.status, job, elsewhere()) {
            judge::Verdict::Ended(Ended::Failed(failure)) if untold => {
                let message =
                    format!("{}; DSS does not say which step's it is, so this one may be built", failure.message);
                Verdict::Over(Ended::Failed(Failure { message, ..failure }))
            }
            judge::Verdict::Ended(ended) => Verdict::Over(ended),
            judge::Verdict::Busy(_) | judge::Verdict::Aborted => Verdict::Own,
        }
    }

    /// What was taken for up to date while the job went on, and failed behind that.
    fn wrong(&self, told: &Told) -> Option<String> {
        told.failed().next()?;
        let early = self.whole.early.lock().unwrap_or_else(PoisonError::into_inner);
        early.iter().find(|spec| broken(told, spec).is_some()).map(Spec::names)
    }

    /// What else was built: it is told with one step.
    fn also(&self, told: &Told) -> Vec<String> {
        if self.whole.tells_also() { judge::also(&told.status, &self.names) } else { Vec::new() }
    }
}

/// Says what is new of the step's activities.
fn tell(course: &Course, now: &Told, told: &mut BTreeMap<String, String>) {
    for (id, activity) in now.of(&course.spec) {
        let state = activity.state.as_deref().unwrap_or_default();
        let message = activity.message.as_deref().unwrap_or_default();
        let line = one_line(format!("activity {id} is {state} {message}").trim(), 200);
        if told.get(id) != Some(&line) {
            course.say(&line);
            told.insert(id.clone(), line);
        }
    }
}

/// Waits until more is asked for than before.
async fn more(stop: &mut watch::Receiver<Stop>) {
    if stop.changed().await.is_err() {
        std::future::pending::<()>().await; // the run that could ask has gone
    }
}

/// The activity of the step that failed.
pub(super) fn broken<'a>(told: &'a Told, spec: &Spec) -> Option<&'a str> {
    told.of(spec).into_iter().find(|(_, activity)| is_failed(activity)).map(|(id, _)| id.as_str())
}
