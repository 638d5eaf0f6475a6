//! What the end of a job means for a step: built, up to date, failed and why. Asks nobody.

use crate::base::text::one_line;
use crate::engine::api::Ended;
use crate::engine::dss::fault::is_busy;
use crate::engine::dss::spec::Spec;
use crate::engine::dss::told::{Names, Told, begun};
use crate::event::{Failure, FailureCode};
use crate::pipeline::dss_wire::{Activity, JobStatus, Trouble};

/// How much of a message is shown.
const MESSAGE: usize = 300;
/// How many of the last lines of a log are kept.
const TAIL: usize = 20;

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The step is over.
    Ended(Ended),
    /// Another job was building the same, as the message says.
    Busy(String),
    /// Someone aborted it.
    Aborted,
}

/// Judges a job that is over. `strict` says that it had to build what it was asked for, whatever its state.
pub(super) fn judge(told: &Told, spec: &Spec, job: &str, strict: bool) -> Verdict {
    match told.status.state() {
        "DONE" => Verdict::Ended(done(told, spec, job, strict, || also(&told.status, &Names::of(spec)))),
        "ABORTED" => Verdict::Aborted,
        _ => failed_of(&told.status, job, told.failed()),
    }
}

/// What a job that is DONE means for what `spec` says, which may be a part of what it was asked for; `also` says what else it
/// built.
pub(super) fn done(told: &Told, spec: &Spec, job: &str, strict: bool, also: impl FnOnce() -> Vec<String>) -> Ended {
    let status = &told.status;
    let ours = told.of(spec).iter().any(|(_, activity)| begun(activity));
    let counted = status.global.as_ref().and_then(|global| global.total);
    // Nothing was run where DSS says so; where it says nothing, the job is believed.
    let missing = status.base.as_ref().is_none_or(|base| base.activities.is_none());
    let untold = status.activities().next().is_none() && counted.map_or(missing, |counted| counted > 0);
    if ours || told.mute || untold {
        return Ended::Built(also());
    }
    if strict {
        let message = format!("DSS had nothing to run for {}: has it a recipe there? (job {job})", spec.names());
        return Ended::Failed(Failure::new(FailureCode::Remote, message));
    }
    Ended::Current(also())
}

/// What was built besides what was asked for.
pub(super) fn also(status: &JobStatus, all: &Names) -> Vec<String> {
    let activities = status.activities().map(|(_, activity)| activity);
    let others = activities.filter(|activity| begun(activity) && !all.has(activity));
    let mut also: Vec<String> =
        others.flat_map(|activity| activity.targets.iter().filter_map(|item| item.id.clone())).collect();
    also.sort();
    also.dedup();
    also
}

/// Whether any activity has come to a good end.
pub(super) fn some_done(status: &JobStatus) -> bool {
    status.activities().any(|(_, activity)| activity.state.as_deref() == Some("DONE"))
}

/// Why a job failed: what the first of its activities says that failed, of those that count.
pub(super) fn failed_of<'a>(
    status: &JobStatus,
    job: &str,
    broken: impl Iterator<Item = (&'a String, &'a Activity)>,
) -> Verdict {
    let broken: Vec<(&String, &Activity)> = broken.collect();
    let word = |activity: &Activity| activity.failure.as_ref().and_then(Trouble::text).map(str::to_owned);
    let first = broken.iter().find_map(|(id, activity)| Some((id.as_str(), word(activity)?)));
    let general = || status.error.as_ref().and_then(Trouble::text).map(|text| ("", text.to_owned()));
    let mute = || (broken.first().map_or("", |(id, _)| id.as_str()), String::new());
    let (activity, text) = first.or_else(general).unwrap_or_else(mute);
    if is_busy(&text) {
        return Verdict::Busy(one_line(&text, MESSAGE));
    }
    let place = if activity.is_empty() { format!("job {job}") } else { format!("activity {activity} of job {job}") };
    let message = match one_line(&text, MESSAGE) {
        text if text.is_empty() => format!("{place} failed, and DSS does not say why"),
        text => format!("{place} failed: {text}"),
    };
    let lines = status.log_tail.as_ref().map(|tail| tail.lines.clone()).unwrap_or_default();
    let tail = lines[lines.len().saturating_sub(TAIL)..].to_vec();
    Verdict::Ended(Ended::Failed(Failure { tail, ..Failure::new(FailureCode::Remote, message) }))
}

/// The last lines of a whole log.
pub(super) fn tail(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::dss_wire::{Target, build};

    fn told(text: &str) -> Told {
        Told::new(serde_json::from_str(text).unwrap())
    }

    fn verdict(text: &str, strict: bool) -> Verdict {
        let target = Target {
            kind: "DATASET".to_owned(),
            project: "P".to_owned(),
            id: "a".to_owned(),
            partition: "NP".to_owned(),
        };
        let spec = Spec { kind: build::SMART.to_owned(), targets: vec![target] };
        judge(&told(text), &spec, "j", strict)
    }

    fn message(verdict: Verdict) -> String {
        match verdict {
            Verdict::Ended(Ended::Failed(failure)) => failure.message,
            other @ (Verdict::Ended(_) | Verdict::Busy(_) | Verdict::Aborted) => format!("{other:?}"),
        }
    }

    const NOTHING: &str = r#"{"baseStatus":{"state":"DONE","activities":{}},"globalState":{"total":0}}"#;
    const OTHERS: &str = r#"{"baseStatus":{"state":"DONE","activities":{
        "x_NP":{"state":"DONE","targets":[{"id":"P.x"}]},"y_NP":{"state":"DONE","targets":[{"id":"y"}]}}}}"#;

    #[test]
    fn done_is_not_always_built() {
        let built = |also: &[&str]| Verdict::Ended(Ended::Built(also.iter().map(|id| (*id).to_owned()).collect()));
        assert_eq!(verdict(NOTHING, false), Verdict::Ended(Ended::Current(vec![])));
        assert_eq!(verdict(OTHERS, false), Verdict::Ended(Ended::Current(vec!["P.x".to_owned(), "y".to_owned()])));
        let ours = OTHERS.replace("\"y\"", "\"a\"");
        assert_eq!(verdict(&ours, false), built(&["P.x"]));
        assert_eq!(verdict(&ours.replace("\"a\"", "\"P.a\""), true), built(&["P.x"]));
        assert!(message(verdict(NOTHING, true)).starts_with("DSS had nothing to run for P.a"));
    }

    #[test]
    fn an_answer_that_names_no_targets_is_believed() {
        let text = r#"{"baseStatus":{"state":"DONE","activities":{"x_NP":{"state":"DONE"}}}}"#;
        assert_eq!(verdict(text, true), Verdict::Ended(Ended::Built(vec![])));
        for text in [
            r#"{"baseStatus":{"state":"DONE"},"globalState":{"total":2,"done":2}}"#,
            r#"{"baseStatus":{"state":"DONE"}}"#,
            r#"{"baseStatus":{"state":"DONE","activities":{"x_NP":{"state":"DONE","targets":[{"type":"DATASET"}]}}}}"#,
        ] {
            assert_eq!(verdict(text, true), Verdict::Ended(Ended::Built(vec![])), "{text}");
        }
        let nothing = r#"{"baseStatus":{"state":"DONE"},"globalState":{"total":0}}"#;
        assert_eq!(verdict(nothing, false), Verdict::Ended(Ended::Current(vec![])));
    }

    #[test]
    fn a_failure_names_the_activity_that_failed_first() {
        let text = r#"{"baseStatus":{"state":"FAILED","activities":{
            "ok_NP":{"state":"DONE"},
            "py_a_NP":{"state":"FAILED","firstFailure":{"errorType":"E","message":"KeyError: 'x'\nat line 3"}}}},
            "error":{"message":"job failed"},"logTail":{"lines":["one","two"]}}"#;
        let Verdict::Ended(Ended::Failed(failure)) = verdict(text, false) else { panic!() };
        assert_eq!(failure.message, "activity py_a_NP of job j failed: KeyError: 'x' at line 3");
        assert_eq!(failure.tail, ["one", "two"]);
        assert_eq!(
            message(verdict(r#"{"baseStatus":{"state":"FAILED"}}"#, false)),
            "job j failed, and DSS does not say why"
        );
        let mute = r#"{"baseStatus":{"state":"DONE","activities":{"py_a_NP":{"state":"FAILED"}}}}"#;
        let mute = told(mute);
        let Verdict::Ended(Ended::Failed(failure)) = failed_of(&mute.status, "j", mute.failed()) else { panic!() };
        assert_eq!(failure.message, "activity py_a_NP of job j failed, and DSS does not say why");
        let text = r#"{"baseStatus":{"state":"FAILED"},"error":{"message":"Dataset P.a is already being built"}}"#;
        assert_eq!(verdict(text, false), Verdict::Busy("Dataset P.a is already being built".to_owned()));
    }
}
