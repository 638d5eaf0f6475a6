//! A job in full: what it is, how each of its steps stands and why. Does not know where jobs are kept.

use super::feed::{replaced, skipped_why};
use super::jobs::{EVERYTHING, excluded, vars};
use super::line::{Line, Tint, columns, squeeze};
use super::names::Names;
use super::past;
use super::plan::left as lines_of;
use super::style::{AT_LEAST, Style, UP_TO_DATE, job_tint, step_word};
use super::summary;
use crate::base::text::{millis, one_line};
use crate::event::Left;
use crate::plan::put_back::PutBack;
use crate::plan::reason::{Reason, ReasonCode};
use crate::view::{RunView, StepState, StepView};

/// How wide the column of step names gets at most.
const NAMES: usize = 40;
/// The least column of step names.
const STEP: usize = 8;
/// What is left of a terminal's line for the reasons, where names are long, in columns.
const WHY: usize = 20;

/// A job in full. `state` is the state's folder as it is put before the paths of logs.
#[must_use]
pub fn show(view: &RunView, style: &Style, state: &str) -> String {
    let mut out = head(view, style);
    if !view.steps.is_empty() {
        out.push('\n');
        out += &steps(view, style);
    }
    let started = view.head.as_ref().map(|head| &head.started);
    let undone = started.into_iter().flat_map(|started| &started.put_back).map(PutBack::done);
    let left = started.map(|started| left(&started.left)).unwrap_or_default();
    let notes: Vec<_> = undone.chain(left).chain(view.notes.iter().cloned()).collect();
    if !notes.is_empty() {
        out.push('\n');
    }
    notes.iter().for_each(|note| out += &style.folded(&Line::new().tint(Tint::Warn, "note").text(": ").text(note)));
    out.push('\n');
    out += &summary::text(view, style, state);
    out
}

/// What is out of date and not built, a line for each reason for that.
pub(crate) fn left(left: &[Left]) -> Vec<String> {
    lines_of(left.iter().map(|left| (left.reasons.as_slice(), left.step.as_str())))
}

/// Where the line of variables stands in the head, if there is one: behind that of the targets.
const VARS: usize = 4;

fn head(view: &RunView, style: &Style) -> String {
    let Some(head) = &view.head else {
        return String::new();
    };
    let started = &head.started;
    let why = view.end.as_ref().and_then(|end| end.why.as_deref());
    let status = Line::new().tint(job_tint(view.state()), view.state().word());
    let status = match why {
        Some(why) => status.text(&format!(" · {}", squeeze(why))),
        None => status,
    };
    let targets = match started.targets.as_slice() {
        [] => EVERYTHING.to_owned(),
        targets => targets.join(" "),
    };
    let text = |text: String| Line::new().text(&text);
    let mut rows = vec![
        ("job", Line::new().tint(Tint::Strong, head.job.as_str())),
        ("state", status),
        ("file", text(format!("{} · {} · {}", started.file, started.pipeline, started.project))),
        ("targets", text(targets + &excluded(&started.exclude))),
        (
            "run",
            text(format!("{} · {} · {} · -j{}", started.engine, started.mode, started.schedule, started.max_parallel)),
        ),
        (
            "began",
            text(format!(
                "{} {} by {} on {}, process {}",
                style.format(head.at, "%-d %b %Y"),
                style.clock(head.at),
                started.by,
                started.host,
                started.pid
            )),
        ),
    ];
    if let Some(vars) = vars(&started.vars) {
        rows.insert(VARS, ("vars", text(vars)));
    }
    rows.into_iter()
        .map(|(word, line)| style.folded(&Line::new().tint(Tint::Dim, &format!("{word:<7}  ")).then(line)))
        .collect()
}

fn steps(view: &RunView, style: &Style) -> String {
    let widest =
        |head: &str, cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or_default().max(columns(head));
    let words = view.steps.iter().map(|step| columns(word(step).0)).max().unwrap_or_default();
    let begin = STEP.max(words + 2);
    let all = Names::new(view.steps.iter().map(|step| step.plan.id.clone()).collect());
    let times = widest("TOOK", &mut view.steps.iter().map(|step| columns(&took(view, step))));
    let names = match style.width.map(usize::from) {
        None => all.longest().min(NAMES),
        Some(width) => {
            let room = width.saturating_sub(begin + 2 + times + 2 + WHY).max(STEP);
            all.longest().min(room).min(NAMES.max(width / 3))
        }
    };
    let names = names.max(columns("STEP"));
    let row = |tint, word: &str, name: &str, took: &str, why: &str| {
        let line = Line::new().tint(tint, word).at(begin, Tint::Plain, name);
        let line = line.at(begin + names + 2, Tint::Plain, took).at(begin + names + times + 4, Tint::Plain, why);
        style.cut(&line)
    };
    let mut out = row(Tint::Plain, "STATE", "STEP", "TOOK", "WHY");
    for step in &view.steps {
        let (word, tint) = word(step);
        let id = &step.plan.id;
        let name = if style.width.is_some() { all.cut(id, names) } else { id.clone() };
        out += &row(tint, word, &name, &took(view, step), &why(view, step));
    }
    out
}

/// The word for the state of a step, where there is room.
fn word(step: &StepView) -> (&'static str, Tint) {
    match (step.state, step_word(step.state)) {
        (StepState::Current, (_, tint)) => (if step.adopted { "adopted" } else { UP_TO_DATE }, tint),
        (_, word) => word,
    }
}

/// How long a step took, or has taken so far.
fn took(view: &RunView, step: &StepView) -> String {
    match step.state {
        StepState::Running | StepState::Publishing => millis(view.elapsed_ms.saturating_sub(step.began_ms)),
        StepState::Stopped if view.died() => format!("{AT_LEAST}{}", millis(step.took_ms)),
        StepState::Retrying | StepState::Built | StepState::Same | StepState::Failed | StepState::Stopped => {
            millis(step.took_ms)
        }
        StepState::Waiting | StepState::Current | StepState::Skipped => String::new(),
    }
}

/// What became of a step where that needs a word, and why it was to be built.
fn why(view: &RunView, step: &StepView) -> String {
    let mut parts = Vec::new();
    match (step.state, &step.failure) {
        (StepState::Skipped, _) => parts.push(skipped_why(view, step.because.as_deref())),
        (_, Some(failure)) => parts.push(summary::message(failure, Some(step))),
        (_, None) => {}
    }
    if let (Some(before), true) = (step.earlier.last(), step.flaky()) {
        parts.push(format!("flaky: {}, before: {}", summary::attempts(step), summary::squeezed(&before.failure)));
    }
    parts.extend(replaced(&step.replaced));
    let began = view.head.as_ref().map(|head| head.at).unwrap_or_default();
    // That it can only fail is no news once it has, for that reason.
    let said = |reason: &Reason| match (&step.failure, &reason.what) {
        (Some(failure), Some(what)) => reason.code == ReasonCode::CannotBegin && failure.message.contains(what),
        (None, _) | (_, None) => false,
    };
    let reasons: Vec<_> = step.plan.reasons.iter().filter(|reason| !said(reason)).cloned().collect();
    parts.extend(past::reasons(&reasons, step.state, &|node| past::changed(view, node), began));
    one_line(&parts.join("; "), 400)
}
