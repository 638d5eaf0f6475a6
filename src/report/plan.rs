//! The plan for people. Does not know who shows it.

use std::collections::BTreeMap;

use super::line::{Line, Tint, columns};
use crate::base::id::RecipeId;
use crate::base::text::{count, few, millis, one_line};
use crate::pipeline::types::Pipeline;
use crate::plan::estimate::Estimate;
use crate::plan::put_back::PutBack;
use crate::plan::reason::{Reason, ReasonCode, sentences};
use crate::plan::{Plan, Step};
use crate::select::Selection;

/// What the text needs besides the plan.
#[derive(Clone, Debug)]
pub struct Heading<'a> {
    /// The engine.
    pub engine: &'a str,
    /// The state that the plan rests on, such as `state of 22 Nov 02:00 (FAILED, orders: exit 3)`.
    pub state: &'a str,
    /// How many steps run at once.
    pub jobs: u32,
    /// When the plan was made.
    pub now: jiff::Timestamp,
    /// What the next run undoes before anything else.
    pub put_back: &'a [PutBack],
    /// The steps that failed when they were last tried, with what happened: no reason to build them, and good to know.
    pub failed: &'a BTreeMap<String, String>,
}

/// Where the names of steps stand: behind the longest word for what is done.
const NAMED: usize = 9;
/// So many reasons of a step are shown.
const REASONS: usize = 3;
/// A name that is not longer than this has its column, however few are as long.
const NAME: usize = 40;
/// So many letters are shown of why a step failed last time.
const FAILED: usize = 120;
/// So many names stand in a list before it is cut.
const NAMES: usize = 12;

/// Writes the plan: stages, steps with their reasons, the expected span.
#[must_use]
pub fn text(
    pipeline: &Pipeline,
    selection: &Selection,
    plan: &Plan,
    estimate: &Estimate,
    heading: &Heading<'_>,
) -> String {
    let mut out = head(pipeline, selection, plan, heading);
    heading.put_back.iter().for_each(|put_back| line(&mut out, &put_back.to_string()));
    let names = |step: &Step| pipeline.recipes[step.id].name.as_str();
    let name_width = name_width(plan.active().map(|step| columns(names(step))));
    let time_width = plan.active().filter_map(expected).map(|text| text.len()).max();
    let mut stage = 0;
    for step in plan.active() {
        if step.stage != stage {
            stage = step.stage;
            line(&mut out, &format!("stage {stage}"));
        }
        let mut row = Line::new().text("  ").text(step.action.word()).at(NAMED, Tint::Plain, names(step));
        let mut behind = NAMED + name_width + 2;
        if let Some(width) = time_width {
            row = row.at(behind, Tint::Plain, &format!("{:>width$}", expected(step).unwrap_or_default()));
            behind += width + 2;
        }
        let failed =
            heading.failed.get(names(step)).map(|why| format!("; failed last time: {}", one_line(why, FAILED)));
        row = row.at(behind, Tint::Plain, &(reasons(&step.reasons, heading.now) + &failed.unwrap_or_default()));
        line(&mut out, &row.render(false, None));
    }
    let left_out = plan.left().map(|step| (step.reasons.as_slice(), names(step)));
    left(left_out).iter().for_each(|left| line(&mut out, left));
    foot(&mut out, pipeline, selection, estimate, heading);
    out
}

/// What is out of date and not built, or will be where what is built first differs, each with why it is not: a line for each
/// reason.
#[must_use]
pub fn left<'a>(steps: impl IntoIterator<Item = (&'a [Reason], &'a str)>) -> Vec<String> {
    let mut by_reason: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for (reasons, step) in steps {
        let Some(why) = reasons.first() else { continue };
        let has = |code| reasons.iter().any(|reason| reason.code == code);
        let how = match (has(ReasonCode::CannotBegin), has(ReasonCode::MayChange)) {
            (true, _) => "left, and cannot be looked at",
            (false, true) => "left, and may go out of date",
            (false, false) => "out of date and left",
        };
        by_reason.entry((how, why.to_string())).or_default().push(step);
    }
    let told = |((how, why), names): ((&str, String), Vec<&str>)| format!("{how}: {} ({why})", few(&names, NAMES));
    by_reason.into_iter().map(told).collect()
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn head(pipeline: &Pipeline, selection: &Selection, plan: &Plan, heading: &Heading<'_>) -> String {
    let steps = count(plan.steps.len(), "step");
    format!(
        "{} · {} · {} · {} · {steps}: {}\n",
        pipeline.name,
        heading.engine,
        selection.asked.map_or_else(|| selection.mode.to_string(), str::to_owned),
        heading.state,
        plan.counts()
    )
}

/// How wide the column of names is: of few long names each only pushes its own line.
fn name_width(names: impl Iterator<Item = usize>) -> usize {
    let mut widths: Vec<usize> = names.collect();
    widths.sort_unstable();
    let usual = widths.get(widths.len().saturating_sub(1) * 9 / 10).copied().unwrap_or(0);
    let most = (usual + usual / 4).max(NAME);
    widths.into_iter().filter(|width| *width <= most).max().unwrap_or(0)
}

fn expected(step: &Step) -> Option<String> {
    step.expected_ms.map(|ms| format!("~{}", millis(ms)))
}

fn reasons(reasons: &[Reason], now: jiff::Timestamp) -> String {
    let mut shown = sentences(reasons, now);
    let more = shown.len().saturating_sub(REASONS);
    if more > 0 {
        shown.truncate(REASONS);
        shown.push(format!("and {more} more"));
    }
    shown.join("; ")
}

fn foot(out: &mut String, pipeline: &Pipeline, selection: &Selection, estimate: &Estimate, heading: &Heading<'_>) {
    if !estimate.longest.is_empty() {
        let longest = way(pipeline, &estimate.longest);
        line(out, &format!("{}; longest: {longest}", span(estimate, heading.jobs)));
    }
    if let Some(others) = not_for_engine(pipeline, selection) {
        line(out, &others);
    }
}

/// What of all is not built, since the engine cannot.
#[must_use]
pub fn not_for_engine(pipeline: &Pipeline, selection: &Selection) -> Option<String> {
    let others: Vec<_> = selection.not_for_engine.iter().map(|id| pipeline.recipes[*id].name.as_str()).collect();
    (!others.is_empty()).then(|| format!("not for this engine: {}", few(&others, NAMES)))
}

fn way(pipeline: &Pipeline, ids: &[RecipeId]) -> String {
    let mut names: Vec<_> = ids.iter().take(NAMES).map(|id| pipeline.recipes[*id].name.as_str()).collect();
    if ids.len() > NAMES {
        names.push("…");
    }
    names.join(" → ")
}

fn span(estimate: &Estimate, jobs: u32) -> String {
    let (least, most) = (millis(estimate.least_ms), millis(estimate.most_ms));
    let never = |n| format!("{} never measured", count(n, "step"));
    match estimate.unknown {
        0 if least == most => format!("expected {most} at -j{jobs}"),
        0 => format!("expected {least}–{most} at -j{jobs}"),
        n if estimate.least_ms == 0 => format!("expected unknown at -j{jobs}: {}", never(n)),
        n => format!("expected at least {least} at -j{jobs}: {}", never(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_name_does_not_move_all_reasons_away() {
        assert_eq!(name_width([].into_iter()), 0);
        assert_eq!(name_width([3, 8, 5].into_iter()), 8);
        assert_eq!(name_width([3, 8, 110].into_iter()), 8);
        assert_eq!(name_width([3, 39, 110, 4, 5, 6].into_iter()), 39);
        assert_eq!(name_width([55, 56, 54].into_iter()), 56, "where all are long, all have their column");
    }

    #[test]
    fn what_may_take_no_time_at_all_is_not_expected_to() {
        let estimate = |least_ms, most_ms, unknown| Estimate { least_ms, most_ms, unknown, ..Estimate::default() };
        assert_eq!(span(&estimate(0, 2_000, 6), 2), "expected unknown at -j2: 6 steps never measured");
        assert_eq!(span(&estimate(1_000, 2_000, 1), 2), "expected at least 1s at -j2: 1 step never measured");
        assert_eq!(span(&estimate(0, 2_000, 0), 2), "expected 0s–2s at -j2");
    }
}
