//! How a run ended as JUnit's XML, which build servers show as a report of tests: each step that was to be built is a test, each
//! attempt before its last a rerun. Does not know where it is written.

use std::io::{self, Write};
use std::time::Duration;

use jiff::tz::TimeZone;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::api::Reporter;
use super::feed::skipped_why;
use super::style::Style;
use super::summary;
use crate::base::job::JobState;
use crate::event::{Event, Failure, FailureCode, Stamped};
use crate::view::{RunView, StepState, StepView};

/// What every report begins with.
pub const BEGIN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites ";

/// Writes the report when the run has ended; until then there is nothing.
#[derive(Debug)]
pub struct Junit<W> {
    out: W,
    state: String,
}

impl<W: Write> Junit<W> {
    /// Writes to `out`. `state` is the state's folder as it is put before the paths of logs.
    pub fn new(out: W, state: impl Into<String>) -> Self {
        Self { out, state: state.into() }
    }
}

impl<W: Write> Reporter for Junit<W> {
    fn event(&mut self, view: &RunView, event: &Stamped) -> io::Result<()> {
        if matches!(event.event, Event::RunEnded(_)) {
            let written = report(view, &self.state).serialize(&mut self.out);
            written.map_err(io::Error::other)?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn tells_unkept(&self) -> bool {
        true
    }
}

/// The report of a run that could not begin: one test that did not end well. `of` is what it is about, such as the file that holds
/// mistakes, with the line of the first, and `why` says what is wrong, a line each.
///
/// # Errors
/// Why it cannot be written.
pub fn refused(out: &mut dyn Write, of: &str, line: Option<usize>, why: &str) -> io::Result<()> {
    let mut lines = why.lines();
    let mut status = error(lines.next().unwrap_or_default().to_owned());
    status.set_description(why);
    let mut case = TestCase::new("the run", status);
    case.set_classname(of);
    if let Some(line) = line {
        case.extra.insert("file".into(), of.into());
        case.extra.insert("line".into(), line.to_string().into());
    }
    let mut suite = TestSuite::new(of);
    suite.add_test_case(case);
    let mut report = Report::new("kiln");
    report.add_test_suite(suite);
    report.serialize(&mut *out).map_err(io::Error::other)?;
    out.flush()
}

/// The report of a run that is over.
fn report(view: &RunView, state: &str) -> Report {
    let mut suite = TestSuite::new(view.head.as_ref().map_or("", |head| &head.started.pipeline));
    if let Some(head) = &view.head {
        suite.extra.insert("timestamp".into(), head.at.to_string().into());
        suite.add_property(("job", head.job.as_str()));
        suite.add_property(("up-to-date", head.started.up_to_date.to_string().as_str()));
    }
    suite.set_time(Duration::from_millis(view.elapsed_ms));
    suite.add_test_cases(view.steps.iter().map(|step| case(view, step, state)));
    if let Some(why) = unseen(view) {
        suite.add_test_case(TestCase::new("the run", error(why)));
    }
    let mut report = Report::new("kiln");
    report.set_time(Duration::from_millis(view.elapsed_ms));
    report.add_test_suite(suite);
    report
}

fn case(view: &RunView, step: &StepView, state: &str) -> TestCase {
    let mut case = TestCase::new(step.plan.id.as_str(), status(view, step, state));
    if let Some(head) = &view.head {
        case.set_classname(head.started.pipeline.as_str());
    }
    case.set_time(Duration::from_millis(step.took_ms));
    if let Some((file, line)) = step.plan.place.rsplit_once(':') {
        case.extra.insert("file".into(), file.into());
        case.extra.insert("line".into(), line.into());
    }
    case
}

fn status(view: &RunView, step: &StepView, state: &str) -> TestCaseStatus {
    let mut status = match step.state {
        StepState::Built | StepState::Same | StepState::Current => TestCaseStatus::success(),
        StepState::Failed => failed(view, step, state),
        StepState::Stopped => error(step.failure.as_ref().map_or_else(|| "stopped".to_owned(), summary::squeezed)),
        StepState::Skipped => skipped(skipped_why(view, step.because.as_deref())),
        StepState::Waiting | StepState::Running | StepState::Retrying | StepState::Publishing => {
            error(format!("{}, as far as is known", step.state.stored()))
        }
    };
    status.add_reruns(step.earlier.iter().map(|earlier| {
        let mut rerun = TestRerun::new(kind(&earlier.failure));
        rerun.set_time(Duration::from_millis(earlier.took_ms)).set_type(earlier.failure.code.word());
        rerun.set_message(summary::squeezed(&earlier.failure)).set_description(earlier.failure.tail.join("\n"));
        rerun
    }));
    status
}

/// What failed is told with all that is told of it at the end of a run.
fn failed(view: &RunView, step: &StepView, state: &str) -> TestCaseStatus {
    let Some(failure) = &step.failure else { return error("it is not known why".to_owned()) };
    let mut status = TestCaseStatus::non_success(kind(failure));
    status.set_type(failure.code.word()).set_message(summary::message(failure, Some(step)));
    status.set_description(summary::failed(view, step, &Style::plain(TimeZone::UTC), state));
    status
}

fn error(message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(message);
    status
}

fn skipped(message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(message);
    status
}

/// Whether it is the command that failed, or something around it.
fn kind(failure: &Failure) -> NonSuccessKind {
    match failure.code {
        FailureCode::Exit
        | FailureCode::Signal
        | FailureCode::Timeout
        | FailureCode::Remote
        | FailureCode::Output
        | FailureCode::InputChanged => NonSuccessKind::Failure,
        FailureCode::Start
        | FailureCode::Refused
        | FailureCode::Lost
        | FailureCode::Unreachable
        | FailureCode::Denied
        | FailureCode::SubmissionUnknown
        | FailureCode::Publish
        | FailureCode::Stopped
        | FailureCode::Died
        | FailureCode::Crashed => NonSuccessKind::Error,
    }
}

/// Why a run did not end well although all that its steps tell is well: without this its report would be green.
fn unseen(view: &RunView) -> Option<String> {
    let end = view.end.as_ref().filter(|end| end.state != JobState::Done)?;
    let told = [StepState::Failed, StepState::Stopped];
    let told = view.steps.iter().any(|step| told.contains(&step.state));
    (!told).then(|| end.why.clone().unwrap_or_else(|| "it is not known why".to_owned()))
}
