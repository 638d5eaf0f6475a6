//! The steps of a job as rows, each with a bar in time: how long it waited although it could have run, and how long each attempt ran.

use maud::{Markup, html};

use crate::base::job::Schedule;
use crate::base::text::millis;
use crate::report::past;
use crate::server::page::words;
use crate::server::timeline::{Did, Span, spans};
use crate::session::load::Loaded;
use crate::view::{RunView, StepState, StepView};

/// So many rows are shown at most.
pub(super) const MOST: usize = 1_500;
/// The marks of the axis.
const MARKS: [u64; 5] = [0, 1, 2, 3, 4];

/// What rows are made from.
pub(super) struct Rows<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) view: &'a RunView,
    /// How long the job has gone on, in milliseconds.
    pub(super) now_ms: u64,
    /// Whether it has ended.
    pub(super) over: bool,
    /// The address of a step.
    pub(super) address: &'a dyn Fn(&str) -> String,
    /// The step whose log is shown.
    pub(super) chosen: Option<&'a str>,
}

impl Rows<'_> {
    /// The end of the axis, in milliseconds: while the job goes on a round number, so that it seldom moves; then its end.
    pub(super) fn scale(&self) -> u64 {
        if self.over { self.now_ms.max(4) } else { scale(self.now_ms) }
    }

    /// The table of the steps that `shown` lets through: those that failed first, then in the order of the plan.
    pub(super) fn table(&self, shown: &dyn Fn(StepState) -> bool) -> Markup {
        let mut steps: Vec<&StepView> = self.view.steps.iter().filter(|step| shown(step.state)).collect();
        steps.sort_by_key(|step| step.state != StepState::Failed);
        let hidden = steps.len().saturating_sub(MOST);
        html! {
            table class="steps" {
                caption class="unseen" { "Steps, those that failed first" }
                thead { tr {
                    th scope="col" { "Step" }
                    th scope="col" { "State" }
                    th scope="col" class="time" { span class="unseen" { "Time line" } (self.axis()) }
                    th scope="col" class="number" { "Took" }
                } }
                tbody #steps { @for step in steps.iter().take(MOST) { (self.row(step)) } }
            }
            @if steps.is_empty() { p class="nothing" { "No steps here." } }
            @if hidden > 0 { p class="quiet" { (hidden) " more are not shown. Narrow the list by a state above." } }
        }
    }

    /// The axis above the bars.
    pub(super) fn axis(&self) -> Markup {
        let scale = self.scale();
        html! {
            div #axis class="axis" aria-hidden="true" data-scale=(scale) {
                @for mark in MARKS { span { @if mark == 0 { "0" } @else { (millis(scale * mark / 4)) } } }
            }
        }
    }

    /// The row of a step.
    pub(super) fn row(&self, step: &StepView) -> Markup {
        let id = &step.plan.id;
        let (class, word) = (words::class(step.state), words::word(step.state));
        let chosen = self.chosen == Some(id.as_str());
        let runs = matches!(step.state, StepState::Running | StepState::Publishing);
        let spans = spans(self.loaded, self.view, step, self.now_ms);
        // It could run: it waits for its turn, not for what it is made from.
        let ready = step.state == StepState::Waiting && spans.last().is_some_and(|span| span.open);
        html! {
            tr #{ "row-" (id) } class=(class) {
                th scope="row" {
                    a #{ "open-" (id) } href=((self.address)(id)) aria-current=[chosen.then_some("true")] { (id) }
                    @if let Some(failure) = &step.failure { small class="bad" { (words::plain(&failure.message)) } }
                    small { (why(self.view, step)) }
                }
                td class="state" { span class="word" { span class="dot" aria-hidden="true" {} (word) } @if ready { (if self.is_held(step) { " for its stage" } else { ", ready" }) } @if step.attempt > 1 { " · attempt " (step.attempt) } }
                td class="time" { (self.bar(&spans)) }
                td class="number" data-since=[runs.then_some(step.began_ms)] { (self.took(step)) }
            }
        }
    }

    /// Whether a step would run but for steps of the stages before its own.
    fn is_held(&self, step: &StepView) -> bool {
        open_stage(self.view).is_some_and(|stage| stage < step.plan.stage)
    }

    fn took(&self, step: &StepView) -> String {
        match step.state {
            StepState::Waiting | StepState::Skipped | StepState::Current => "–".to_owned(),
            StepState::Running | StepState::Publishing => millis(self.now_ms.saturating_sub(step.began_ms)),
            StepState::Built | StepState::Same | StepState::Failed | StepState::Stopped if step.attempt > 1 => {
                format!("{}, {} in all", millis(step.took_ms), millis(step.whole_ms()))
            }
            StepState::Retrying | StepState::Built | StepState::Same | StepState::Failed | StepState::Stopped => {
                millis(step.took_ms)
            }
        }
    }

    fn bar(&self, spans: &[Span]) -> Markup {
        let scale = self.scale();
        html! {
            svg class="bar" viewBox={ "0 0 " (scale) " 12" } preserveAspectRatio="none" aria-hidden="true" {
                @for span in spans { (part(span, scale)) }
            }
            span class="unseen" { (spans.iter().map(told).collect::<Vec<_>>().join(", ")) }
        }
    }
}

/// The stage at work where one follows the other: the first in which something has not ended.
pub(super) fn open_stage(view: &RunView) -> Option<u32> {
    let by_stage = view.head.as_ref().is_some_and(|head| head.started.schedule == Schedule::Stages);
    let open = view.steps.iter().filter(|step| by_stage && !step.state.is_over());
    open.map(|step| step.plan.stage).min()
}

/// Why it is as it is: what it was skipped for, why it is built.
fn why(view: &RunView, step: &StepView) -> String {
    match (step.state, &step.because) {
        (StepState::Skipped, Some(because)) => format!("not started because of {because}"),
        (StepState::Skipped, None) => "not started: the run stopped".to_owned(),
        _ => past::reasons(&step.plan.reasons, step.state, &|node| past::changed(view, node), crate::clock::now())
            .join("; "),
    }
}

/// A part of a bar in words: for those who see no bar, and for those who point at it.
fn told(span: &Span) -> String {
    let took = millis(span.to.saturating_sub(span.from));
    match (span.did, span.open) {
        (Did::Waited, true) => "waits".to_owned(),
        (Did::Waited, false) => format!("waited {took}"),
        (Did::Tried, _) => format!("tried for {took}"),
        (Did::Ran, true) => "runs".to_owned(),
        (Did::Ran, false) => format!("ran {took}"),
    }
}

/// A part of a bar. What waits is thin; what ran is seen however short it was.
fn part(span: &Span, scale: u64) -> Markup {
    let (class, y, height) = match span.did {
        Did::Waited => ("wait", 4, 4),
        Did::Tried => ("tried", 1, 10),
        Did::Ran => ("run", 1, 10),
    };
    let least = if span.did == Did::Waited { 0 } else { (scale / 150).max(1) };
    let since = span.open.then_some(span.from);
    html! { rect class=(class) data-since=[since] x=(span.from) y=(y) width=((span.to - span.from).max(least)) height=(height) { title { (told(span)) } } }
}

/// A round number not below so many milliseconds: 1, 2, 4, 6 or 8 times a power of ten, or of minutes and hours.
fn scale(ms: u64) -> u64 {
    const ROUND: [u64; 23] = [
        2_000, 4_000, 8_000, 12_000, 20_000, 40_000, 60_000, 80_000, 120_000, 240_000, 360_000, 480_000, 720_000,
        1_200_000, 2_400_000, 3_600_000, 4_800_000, 7_200_000, 14_400_000, 21_600_000, 28_800_000, 43_200_000,
        86_400_000,
    ];
    let round = ROUND.into_iter().find(|round| *round >= ms);
    round.unwrap_or_else(|| ms.div_ceil(172_800_000) * 172_800_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        for (ms, end) in [(0, 2_000), (2_000, 2_000), (2_001, 4_000), (61_000, 80_000), (90_000_000, 172_800_000)] {
            assert_eq!(scale(ms), end, "{ms}");
        }
    }
}
