//! A step whose outputs are built by the one job of its run: what the job's activities mean for it. Asks DSS nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use crate::base::text::one_line;
use crate::engine::api::{Ended, Notice, Stop};
use crate::engine::dss::judge::{self, is};
use crate::engine::dss::spec::Spec;
use crate::engine::dss::whole::{Progress, Whole};
use crate::engine::dss::work::{Course, failed};
use crate::event::{Failure, FailureCode, RemoteJob};
use crate::pipeline::dss_wire::{Activity, JobStatus};

/// A step of the one job.
pub(super) struct Part {
    pub(super) whole: Arc<Whole>,
    /// What the whole job was asked for.
    pub(super) all: Arc<Spec>,
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
                self.tell(course, status, &mut told);
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
                changed = progress.changed() => if changed.is_err() {
                    return Some(failed(FailureCode::Lost, "nobody follows the job any more"));
                },
                () = more(&mut course.stop) => {}
            }
        }
    }

    /// Says what is new of the step's activities.
    fn tell(&self, course: &Course, status: &JobStatus, told: &mut BTreeMap<String, String>) {
        for (id, activity) in ours(status, &course.spec) {
            let state = activity.state.as_deref().unwrap_or_default();
            let message = activity.message.as_deref().unwrap_or_default();
            let line = one_line(format!("activity {id} is {state} {message}").trim(), 200);
            if told.get(id) != Some(&line) {
                course.say(&line);
                told.insert(id.clone(), line);
            }
        }
    }

    fn verdict(&self, now: &Progress, spec: &Spec) -> Verdict {
        let nothing = JobStatus::default();
        let job = now.job.as_ref().map(|job| job.id.as_str()).unwrap_or_default();
        let status = now.status.as_deref().unwrap_or(&nothing);
        let states: Vec<&str> =
            ours(status, spec).map(|(_, activity)| activity.state.as_deref().unwrap_or_default()).collect();
        let over = now.over.as_ref();
        if states.contains(&"FAILED") {
            return match judge::failed_of(status, job, |activity| targets(activity, spec)) {
                judge::Verdict::Ended(ended) => Verdict::Over(ended),
                // Another job was building it.
                judge::Verdict::Busy(_) | judge::Verdict::Aborted if over.is_some() => Verdict::Own,
                judge::Verdict::Busy(_) | judge::Verdict::Aborted => Verdict::Wait,
            };
        }
        let done = !states.is_empty() && states.iter().all(|state| *state == "DONE");
        match over {
            None if done && !self.last => Verdict::Over(Ended::Built(Vec::new())),
            None if self.is_current(status, &states) => {
                self.whole.early.lock().unwrap_or_else(PoisonError::into_inner).push(spec.clone());
                Verdict::Over(Ended::Current(Vec::new()))
            }
            None => Verdict::Wait,
            Some(ended) => self.at_the_end(ended, status, spec, job, done),
        }
    }

    /// The job is over, and no activity of the step has failed.
    fn at_the_end(&self, ended: &Ended, status: &JobStatus, spec: &Spec, job: &str, done: bool) -> Verdict {
        if let Some(wrong) = self.wrong(status) {
            let message =
                format!("DSS ran {wrong} after all, which was taken for up to date, and it failed (job {job})");
            return Verdict::Over(failed(FailureCode::Remote, message));
        }
        if status.state() == "DONE" {
            return Verdict::Over(self.with_also(judge::done(status, spec, &self.all, job, self.strict)));
        }
        if done {
            return Verdict::Over(self.with_also(Ended::Built(judge::also(status, &self.all))));
        }
        match ended {
            Ended::Failed(_) | Ended::Stopped(_) => Verdict::Over(ended.clone()),
            Ended::Built(_) | Ended::Current(_) | Ended::Staged(_) if status.state() == "ABORTED" => {
                Verdict::Over(failed(FailureCode::Lost, format!("job {job} was aborted on DSS, not by Kiln")))
            }
            Ended::Built(_) | Ended::Current(_) | Ended::Staged(_) => self.undone(status, job),
        }
    }

    /// The job failed and did not come to the step: because of another step, or because of what no step is.
    fn undone(&self, status: &JobStatus, job: &str) -> Verdict {
        let broken = |activity: &Activity| activity.state.as_deref() == Some("FAILED");
        let all: Vec<_> = status.activities().filter(|(_, activity)| broken(activity)).collect();
        let elsewhere = all.is_empty() || all.iter().any(|(_, activity)| !targets(activity, &self.all));
        if !elsewhere {
            return Verdict::Own;
        }
        // One that does not tell what it builds may be that of any step.
        let untold = all.iter().find(|(_, activity)| activity.targets.iter().all(|item| item.id.is_none()));
        match judge::failed_of(status, job, |activity| !targets(activity, &self.all)) {
            judge::Verdict::Ended(Ended::Failed(failure)) if untold.is_some() => {
                let message =
                    format!("{}; DSS does not say which step's it is, so this one may be built", failure.message);
                Verdict::Over(Ended::Failed(Failure { message, ..failure }))
            }
            judge::Verdict::Ended(ended) => Verdict::Over(ended),
            judge::Verdict::Busy(_) | judge::Verdict::Aborted => Verdict::Own,
        }
    }

    /// Whether a job that goes on leaves the step alone: DSS finds out first what is to be run, and then runs it.
    fn is_current(&self, status: &JobStatus, states: &[&str]) -> bool {
        let all: Vec<_> = status.activities().map(|(_, activity)| activity).collect();
        let begun = all.iter().any(|activity| matches!(activity.state.as_deref(), Some("RUNNING" | "DONE")));
        let whole = status.global.as_ref().and_then(|global| global.total) == i64::try_from(all.len()).ok();
        let sound = all.iter().all(|activity| {
            let named = !activity.targets.is_empty() && activity.targets.iter().all(|item| item.id.is_some());
            named && !matches!(activity.state.as_deref(), Some("FAILED" | "ABORTED"))
        });
        !self.last && !self.strict && states.is_empty() && begun && whole && sound
    }

    /// What was taken for up to date while the job went on, and failed behind that.
    fn wrong(&self, status: &JobStatus) -> Option<String> {
        let early = self.whole.early.lock().unwrap_or_else(PoisonError::into_inner);
        let fails = |spec: &Spec| ours(status, spec).any(|(_, activity)| activity.state.as_deref() == Some("FAILED"));
        early.iter().find(|spec| fails(spec)).map(Spec::names)
    }

    /// What else was built is told with one step.
    fn with_also(&self, ended: Ended) -> Ended {
        match ended {
            Ended::Built(also) if also.is_empty() || !self.whole.tells_also() => Ended::Built(Vec::new()),
            Ended::Current(also) if also.is_empty() || !self.whole.tells_also() => Ended::Current(Vec::new()),
            ended @ (Ended::Built(_) | Ended::Current(_) | Ended::Staged(_) | Ended::Failed(_) | Ended::Stopped(_)) => {
                ended
            }
        }
    }
}

/// Waits until more is asked for than before.
async fn more(stop: &mut watch::Receiver<Stop>) {
    if stop.changed().await.is_err() {
        std::future::pending::<()>().await; // the run that could ask has gone
    }
}

fn targets(activity: &Activity, spec: &Spec) -> bool {
    activity.targets.iter().any(|item| spec.targets.iter().any(|target| is(item, target)))
}

/// The activities that build what is asked for, with their ids.
fn ours<'a>(status: &'a JobStatus, spec: &'a Spec) -> impl Iterator<Item = (&'a String, &'a Activity)> {
    status.activities().filter(|(_, activity)| targets(activity, spec))
}

/// The activity of the step that failed.
pub(super) fn broken<'a>(status: &'a JobStatus, spec: &'a Spec) -> Option<&'a str> {
    let mut ours = ours(status, spec);
    ours.find(|(_, activity)| activity.state.as_deref() == Some("FAILED")).map(|(id, _)| id.as_str())
}
