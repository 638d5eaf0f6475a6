//! Words, times and addresses as pages show them. Times are told in UTC, with what a script needs to tell them in the zone
//! of whoever looks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::base::job::JobState;
use crate::base::text::steers;
use crate::report::jobs;
use crate::store::read::RunRow;
use crate::view::StepState;

/// The word and the class of a job's state.
pub(super) fn job_state(state: JobState) -> (&'static str, &'static str) {
    match state {
        JobState::Queued => ("waiting", "waiting"),
        JobState::Running => ("running", "running"),
        JobState::Done => ("done", "built"),
        JobState::Failed => ("failed", "failed"),
        JobState::Aborted => ("aborted", "stopped"),
    }
}

/// The class of a step's state: pictures and rows are painted by it.
pub(super) fn class(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "waiting",
        StepState::Running => "running",
        StepState::Retrying => "retrying",
        StepState::Publishing => "publishing",
        StepState::Built => "built",
        StepState::Same => "same",
        StepState::Current => "current",
        StepState::Failed => "failed",
        StepState::Stopped => "stopped",
        StepState::Skipped => "skipped",
    }
}

/// The word for a step's state.
pub(super) fn word(state: StepState) -> &'static str {
    match state {
        StepState::Publishing => "saving",
        StepState::Same => "unchanged",
        StepState::Current => "up to date",
        StepState::Waiting
        | StepState::Running
        | StepState::Retrying
        | StepState::Built
        | StepState::Failed
        | StepState::Stopped
        | StepState::Skipped => class(state),
    }
}

/// Whether a step in this state goes on.
pub(super) fn goes_on(state: StepState) -> bool {
    matches!(state, StepState::Running | StepState::Retrying | StepState::Publishing)
}

/// A pill with the state of a job.
pub(super) fn pill(state: JobState) -> Markup {
    let (word, class) = job_state(state);
    html! { span class={ "pill " (class) } { (word) } }
}

/// A point in time.
pub(super) fn time(at: Timestamp) -> Markup {
    let zoned = at.to_zoned_datetime(TimeZone::UTC);
    let whole = zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    html! { time datetime=(whole) title=(whole) { (zoned.strftime("%-d %b %Y, %H:%M UTC").to_string()) } }
}

/// So much of what a job was asked for is shown.
const ASKED: usize = 2_000;

/// What a job was asked for, in the words of `kiln jobs list`.
pub(super) fn asked(row: &RunRow, exclude: &[String], vars: &BTreeMap<String, String>) -> String {
    jobs::asked((&row.targets, exclude), vars, &row.mode, ASKED)
}

/// The address of a job's page.
pub(super) fn job_page(project: &str, job: &str) -> String {
    format!("/projects/{}/jobs/{}", part(project), part(job))
}

/// The address of the list of a project's jobs.
pub(super) fn project_page(project: &str) -> String {
    format!("/{}", query([("project", project)]))
}

/// The address of a project's flow.
pub(super) fn flow_page(project: &str) -> String {
    format!("/projects/{}/flow", part(project))
}

/// A text as one part of an address.
pub(super) fn part(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Pairs as they stand behind the `?` of an address.
pub(super) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(pairs);
    let text = out.finish();
    if text.is_empty() { text } else { format!("?{text}") }
}

/// What a step printed as text for a page: without the codes that colour a terminal.
pub(super) fn plain(text: &str) -> String {
    harmless(&anstream::adapter::strip_str(text).to_string())
}

/// Text in which nothing steers where or in which direction something is shown. What goes back to the beginning of its line
/// begins a new one.
pub(super) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => out.push('\n'),
            c if steers(c) => out.extend(c.escape_unicode()),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}
