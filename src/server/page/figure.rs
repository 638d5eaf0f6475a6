//! The pictures in pages: that of a plan, painted by what becomes of each step. Where everything stands is the business of
//! `draw`.

use std::collections::{HashMap, HashSet};

use maud::{Markup, PreEscaped, html};

use crate::base::id::RecipeId;
use crate::base::job::BuildMode;
use crate::draw::collapse::{Collapse, collapse, is_large, things};
use crate::draw::picture::{Item, Picture, picture};
use crate::draw::svg::inline;
use crate::engine::local;
use crate::plan::reason::{Action, Fate, Reason};
use crate::plan::{Plan, Step};
use crate::select::{Choice, Want, select};
use crate::server::archive::Standing;
use crate::server::page::words;
use crate::server::query::Query;
use crate::session::load::Loaded;
use crate::view::{RunView, StepState};

/// A picture of so many things or less is shown as a whole.
const SMALL: usize = 30;

/// A picture, and what it takes to paint it anew.
pub(super) struct Figure {
    /// The picture, as it stands in a page.
    pub(super) svg: String,
    /// How many things it is a picture of.
    pub(super) things: usize,
    /// Whether it is collapsed if nothing else is said.
    large: bool,
    /// How many of them, or groups of them, it shows.
    shown: usize,
    /// Steps of the job that the file does not have any more.
    pub(super) lost: usize,
    /// What is to be said beside it.
    remarks: Vec<String>,
    /// The groups: the id of the element, and its steps.
    groups: Vec<(String, Vec<String>)>,
}

/// How a picture is asked to be collapsed: `by=stage`, `by=tag`, `by=none`.
pub(super) fn how(query: &Query) -> Option<Collapse> {
    let word = query.get("by")?;
    Collapse::ALL.into_iter().find(|way| way.word().eq_ignore_ascii_case(word))
}

/// The picture of a job: the steps that it was asked for, painted as they stand. None where nothing of it is in the file.
pub(super) fn of_job(loaded: &Loaded, standing: &Standing, how: Option<Collapse>) -> Option<Figure> {
    let view = &standing.view;
    let plan = plan(loaded, standing, view);
    if plan.steps.is_empty() {
        return None;
    }
    let known: HashSet<&str> = plan.steps.iter().map(|step| loaded.pipeline.recipes[step.id].name.as_str()).collect();
    let lost = view.steps.iter().filter(|step| !known.contains(step.plan.id.as_str())).count();
    let title = format!("the steps of job {}", standing.row.id);
    let mut picture = picture(&loaded.pipeline, &loaded.graph, Some(&plan), &title);
    // Nobody has looked at what is to be done: that it is up to date would be a guess.
    let untried = view.is_untried();
    picture.items.iter_mut().filter(|item| untried && item.is_step()).for_each(unasked);
    let (things, large) = (things(&picture), is_large(&picture));
    // How it is grouped is settled before anything is painted, so that it stays while the job goes on.
    picture = collapse(picture, how);
    let begun = standing.row.begun;
    for item in picture.items.iter_mut().filter(|_| !untried) {
        paint(item, view, begun);
    }
    Some(figure(&picture, things, large, lost))
}

/// The picture of the flow: all steps, with what a plan does with those that it has.
/// `lacks` are inputs that are not there, by the step that needs them.
pub(super) fn of_flow(
    loaded: &Loaded,
    plan: Option<&Plan>,
    lacks: &HashMap<RecipeId, String>,
    title: &str,
    how: Option<Collapse>,
) -> Figure {
    let mut steps = Vec::new();
    let planned: HashMap<RecipeId, &Step> =
        plan.iter().flat_map(|plan| &plan.steps).map(|step| (step.id, step)).collect();
    for id in &loaded.graph.order {
        let other = Step {
            id: *id,
            stage: loaded.graph.stage[*id],
            action: Action::Skip,
            reasons: Vec::new(),
            expected_ms: None,
        };
        steps.push(planned.get(id).map_or(other, |step| (*step).clone()));
    }
    let mut picture = picture(&loaded.pipeline, &loaded.graph, Some(&Plan { steps }), title);
    for item in picture.items.iter_mut().filter(|item| item.is_step()) {
        let asked = loaded.pipeline.recipe(&item.id).is_some_and(|id| planned.contains_key(&id));
        if !asked {
            unasked(item);
            item.note = if plan.is_some() { "not asked for".to_owned() } else { String::new() };
        }
        if let Some(input) = loaded.pipeline.recipe(&item.id).and_then(|id| lacks.get(&id)) {
            (item.paint, item.note) = (Some("failed"), "cannot".to_owned());
            item.tip = format!("{}: `{input}` is not there", item.id);
        }
    }
    let (things, large) = (things(&picture), is_large(&picture));
    let mut picture = collapse(picture, how);
    for item in picture.items.iter_mut().filter(|item| !item.steps().is_empty()) {
        let lacking = |name: &&String| loaded.pipeline.recipe(name).is_some_and(|id| lacks.contains_key(&id));
        let n = item.steps().iter().filter(lacking).count();
        if n > 0 {
            (item.paint, item.note) = (Some("failed"), format!("{n} of {} cannot", item.steps().len()));
        }
    }
    figure(&picture, things, large, 0)
}

fn figure(picture: &Picture, things: usize, large: bool, lost: usize) -> Figure {
    let groups = picture.items.iter().filter(|item| !item.steps().is_empty());
    let groups = groups.map(|item| (format!("group-{}", item.id), item.steps().to_vec())).collect();
    let remarks = picture.remarks.clone();
    Figure { svg: inline(picture), things, large, shown: picture.items.len(), lost, remarks, groups }
}

/// The plan that a job began with: what it was to build, and what was up to date.
fn plan(loaded: &Loaded, standing: &Standing, view: &RunView) -> Plan {
    let (pipeline, graph) = (&loaded.pipeline, &loaded.graph);
    let mode = BuildMode::of_word(&standing.row.mode).unwrap_or_default();
    let here = standing.row.engine == local::NAME;
    let can_build = |id: RecipeId| !here || pipeline.recipes[id].run.is_some();
    // Where the file has changed since, the targets may be gone: then only what the job had is shown.
    let exclude = view.head.as_ref().map_or(&[][..], |head| &head.started.exclude);
    let choice = Choice { targets: &standing.row.targets, exclude, mode };
    let wanted = select(pipeline, graph, choice, &can_build).ok();
    let left = view.head.iter().flat_map(|head| &head.started.left);
    let left: HashMap<&str, &Vec<Reason>> = left.map(|left| (left.step.as_str(), &left.reasons)).collect();
    let left = |id: RecipeId| left.get(pipeline.recipes[id].name.as_str()).copied();
    let step = |id: &RecipeId| {
        let ran = view.step(&pipeline.recipes[*id].name).map(|step| &step.plan);
        let wanted = wanted.as_ref().is_some_and(|selection| selection.want[*id] != Want::No);
        (ran.is_some() || wanted || left(*id).is_some()).then(|| Step {
            id: *id,
            stage: graph.stage[*id],
            action: ran.map_or(Action::Skip, |plan| plan.action),
            reasons: ran.map(|plan| &plan.reasons).or(left(*id)).cloned().unwrap_or_default(),
            expected_ms: None,
        })
    };
    Plan { steps: graph.order.iter().filter_map(step).collect() }
}

/// Says nothing of a step.
fn unasked(item: &mut Item) {
    (item.fate, item.paint, item.note) = (None, Some("unasked"), String::new());
    item.tip.clone_from(&item.id);
}

/// Paints a step or a group as it stands.
fn paint(item: &mut Item, view: &RunView, begun: bool) {
    let names: Vec<String> = if item.is_step() { vec![item.id.clone()] } else { item.steps().to_vec() };
    // What is left stays as it is, whatever the run does.
    if names.is_empty() || item.fate == Some(Fate::Left) {
        return;
    }
    let (class, note) = standing(&names, view, begun);
    (item.paint, item.note) = (Some(class), note);
}

/// The class and the note of steps that stand together.
fn standing(names: &[String], view: &RunView, begun: bool) -> (&'static str, String) {
    let fallback = if begun { StepState::Current } else { StepState::Waiting };
    let states: Vec<StepState> = names.iter().map(|name| view.step(name).map_or(fallback, |step| step.state)).collect();
    let some = |wanted: StepState| states.contains(&wanted);
    use StepState::{Built, Current, Failed, Publishing, Retrying, Running, Same, Skipped, Stopped, Waiting};
    let ended = states.iter().filter(|state| **state != Waiting && !words::goes_on(**state)).count();
    let order = [Failed, Running, Retrying, Publishing, Stopped, Skipped, Waiting, Built, Same, Current];
    let state = order.into_iter().find(|state| some(*state)).unwrap_or(Waiting);
    if let [only] = states.as_slice() {
        return (words::class(*only), words::word(*only).to_owned());
    }
    // Some have ended and others wait: it goes on.
    let state = if state == Waiting && ended > 0 { Running } else { state };
    let failed = states.iter().filter(|state| **state == Failed).count();
    let note = match (failed, ended) {
        (0, 0) => words::word(state).to_owned(),
        (0, n) if n == states.len() && states.iter().all(|other| *other == state) => words::word(state).to_owned(),
        (0, n) => format!("{n} of {} done", states.len()),
        (failed, _) => format!("{failed} of {} failed", states.len()),
    };
    (words::class(state), note)
}

impl Figure {
    /// Whether something else has room beside it.
    pub(super) fn is_small(&self) -> bool {
        self.shown <= SMALL
    }

    /// What is to be painted anew when these steps have changed: the id of the element, its class, its note.
    pub(super) fn repaint<'a>(
        &self,
        view: &RunView,
        steps: impl Iterator<Item = &'a str> + Clone,
    ) -> Vec<(String, String, String)> {
        let one = |id: String, what: &str, names: &[String]| {
            let (class, note) = standing(names, view, true);
            (id, format!("{what} {class}"), note)
        };
        let single = steps.clone().map(|step| one(format!("step-{step}"), "step", &[step.to_owned()]));
        let touched = |names: &[String]| steps.clone().any(|step| names.iter().any(|name| name == step));
        let groups = self.groups.iter().filter(|(_, names)| touched(names));
        single.chain(groups.map(|(id, names)| one(id.clone(), "group", names))).collect()
    }
}

/// A picture with the ways to collapse it otherwise. `has_table` says whether a table of the same steps is below it; `address`
/// is that of the page, without `by`.
pub(super) fn card(
    figure: &Figure,
    heading: &str,
    how: Option<Collapse>,
    has_table: bool,
    address: &dyn Fn(Option<&str>) -> String,
) -> Markup {
    let shown = how.unwrap_or(if figure.large { Collapse::Stage } else { Collapse::None });
    let ways = [(Collapse::Stage, "by stage"), (Collapse::Tag, "by tag"), (Collapse::None, "all")];
    html! {
        section class={ "card picture" @if figure.is_small() { " small" } } aria-labelledby="graph-head" {
            header {
                h2 #graph-head { (heading) }
                @if figure.things > SMALL || figure.large {
                    nav class="ways" aria-label="How the picture is grouped" {
                        @for (way, text) in ways {
                            a href=(address(Some(way.word()))) aria-current=[(way == shown).then_some("true")] { (text) }
                        }
                    }
                }
            }
            @if has_table { p #graph-text class="unseen" { "The same steps, with how they stand and why, are in the table of steps below." } }
            div class="canvas" tabindex="0" role="region" aria-label="Graph, scrolls" aria-describedby=[has_table.then_some("graph-text")] {
                (PreEscaped(&figure.svg))
            }
            @for remark in &figure.remarks { p class="quiet" { (remark) } }
            @if figure.lost > 0 {
                p class="quiet" {
                    "The file has changed since: " (figure.lost) " of this job's steps are not in the picture."
                }
            }
        }
    }
}

/// What happens to a step, as a pill.
pub(super) fn fate_pill(fate: Fate) -> Markup {
    let class = if fate == Fate::Cannot { "failed" } else { fate.class() };
    html! { span class={ "pill " (class) } { (fate.word()) } }
}
