//! The flow of a project: all of its graph with what is out of date and why; targets and a mode are picked, the plan is
//! shown, and a job is started.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use maud::{Markup, html};
use tokio::sync::{AcquireError, OwnedSemaphorePermit};

use crate::base::id::RecipeId;
use crate::base::job::BuildMode;
use crate::base::text::{count, few, millis};
use crate::draw::collapse::Collapse;
use crate::plan::estimate::estimate;
use crate::plan::put_back::PutBack;
use crate::plan::reason::sentences;
use crate::plan::{Plan, Step};
use crate::server::auth::{Right, Who};
use crate::server::blocking;
use crate::server::page::frame::Frame;
use crate::server::page::steps::MOST;
use crate::server::page::{figure, words};
use crate::server::project::Project;
use crate::server::query::Query;
use crate::server::reply::Reply;
use crate::server::route::Call;
use crate::server::{App, error::ApiError};
use crate::session::load::Loaded;
use crate::session::{Request, Session};

/// The modes with what they build.
const MODES: [(BuildMode, &str); 4] = [
    (BuildMode::Smart, "what is out of date on the way to the targets"),
    (BuildMode::Only, "the targets, whatever their state"),
    (BuildMode::Forced, "the targets and all that they are made from"),
    (BuildMode::Missing, "what has no output at all"),
];

/// A table of more steps than this is folded: so many rows stand first, the rest is shown when one asks for it.
const FOLDED: usize = 50;
/// So many ticked steps are named.
const FEW: usize = 5;

/// What is picked.
struct Picked {
    /// What was typed.
    typed: Vec<String>,
    /// The steps that were ticked.
    ticked: Vec<String>,
    mode: BuildMode,
    by: Option<Collapse>,
}

/// A plan, as far as there is one.
#[derive(Default)]
struct Found {
    plan: Option<Plan>,
    /// Why it cannot be run as it stands, or why there is none.
    wrong: Option<String>,
    /// The inputs that steps lack, by the step.
    lacks: HashMap<RecipeId, String>,
    expected: Option<(u64, u64)>,
    put_back: Vec<PutBack>,
}

/// `GET /projects/K/flow`
pub(super) async fn flow(call: Call) -> Reply {
    let slot = Arc::clone(&call.app.plans).acquire_owned().await;
    blocking(move || planned(&call, slot)).await
}

fn planned(call: &Call, slot: Result<OwnedSemaphorePermit, AcquireError>) -> Reply {
    let (who, picked) = (call.who()?, pick(&call.query));
    let (loaded, found) = find(&call.app, call.project()?, who, targets(&call.query), picked.mode);
    drop(slot);
    let key = &loaded.pipeline.project;
    let page = Page { loaded: &loaded, found: &found, picked: &picked, who, key };
    let crumbs = [(key.as_str(), words::project_page(key)), ("Flow", words::flow_page(key))];
    let title = format!("{key} · flow");
    Frame { title: &title, who: Some(who), crumbs: &crumbs, live: None, main: page.main() }.reply()
}

fn pick(query: &Query) -> Picked {
    let names = |field| query.all(field).flat_map(str::split_whitespace).map(str::to_owned).collect();
    let mode = query.get("mode").and_then(BuildMode::of_word).unwrap_or_default();
    Picked { typed: names("target"), ticked: names("step"), mode, by: figure::how(query) }
}

/// The targets of a form: those that were typed, and the steps that were ticked.
pub(super) fn targets(form: &Query) -> Vec<String> {
    let mut seen = HashSet::new();
    let named = form.all("target").chain(form.all("step")).flat_map(str::split_whitespace);
    named.filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}

/// Looks and decides. Commands of the file are run for that only for those who may run jobs.
fn find(app: &App, project: &Project, who: &Who, targets: Vec<String>, mode: BuildMode) -> (Arc<Loaded>, Found) {
    let plan = || -> Result<(Arc<Loaded>, Found), ApiError> {
        let request = Request { targets, mode: Some(mode), ..Request::default() };
        let session = Session::of(&app.site, project.fresh()?, &request)?;
        session.engine.heed(app.stop.subscribe());
        let (mut planned, lacks) = session.sketch(who.may(Right::Run, &project.key()))?;
        let left = session.passed_over(&mut planned);
        planned.plan.take_in(left, &session.loaded.graph);
        let wrong = session.whole(&lacks).err().map(|fail| ApiError::from(fail).message().to_owned());
        let lacks: HashMap<_, _> = lacks
            .inputs
            .into_iter()
            .map(|lack| (lack.step, session.pipeline().nodes[lack.node].name.clone()))
            .collect();
        let span = estimate(&planned.plan, &session.loaded.graph, session.schedule, session.jobs);
        let expected =
            (wrong.is_none() && span.unknown == 0 && span.most_ms > 0).then_some((span.least_ms, span.most_ms));
        let put_back = session.to_put_back(&planned.known);
        let found = Found { plan: Some(planned.plan), wrong, lacks, expected, put_back };
        Ok((Arc::new(session.loaded), found))
    };
    let none = |error: ApiError| Found { wrong: Some(error.message().to_owned()), ..Found::default() };
    plan().unwrap_or_else(|error| (project.loaded(), none(error)))
}

struct Page<'a> {
    loaded: &'a Loaded,
    found: &'a Found,
    picked: &'a Picked,
    who: &'a Who,
    key: &'a str,
}

impl Page<'_> {
    fn main(&self) -> Markup {
        let pipeline = &self.loaded.pipeline;
        let title = format!("the flow of {}", self.key);
        let figure = figure::of_flow(self.loaded, self.found.plan.as_ref(), &self.found.lacks, &title, self.picked.by);
        let address = |by: Option<&str>| {
            let typed = self.picked.typed.iter().map(|target| ("target", target.as_str()));
            let ticked = self.picked.ticked.iter().map(|step| ("step", step.as_str()));
            let mode = self.picked.mode.word();
            let pairs = typed.chain(ticked).chain([("mode", mode)]).chain(by.map(|by| ("by", by)));
            format!("{}{}", words::flow_page(self.key), words::query(pairs))
        };
        html! {
            header class="summary" {
                div class="title" { h1 { (pipeline.name) } }
                @if let Some(text) = &pipeline.description { p class="pre" { (words::plain(text)) } }
                p class="quiet" {
                    (self.loaded.source.name) " · " (count(pipeline.nodes.len(), "node")) " · " (count(pipeline.recipes.len(), "step"))
                }
            }
            form #flow class="flow" method="get" action=(words::flow_page(self.key)) {
                @if let Some(by) = self.picked.by { input type="hidden" name="by" value=(by.word()); }
                (self.choice())
                (figure::card(&figure, "Flow", self.picked.by, true, &address))
                (self.table())
            }
        }
    }

    /// Targets, mode, what it comes to, and the buttons.
    fn choice(&self) -> Markup {
        html! {
            section class="card choice" aria-labelledby="plan-head" {
                header { h2 #plan-head { "Plan" } (self.outcome()) }
                @if let Some(why) = &self.found.wrong { p class="wrong pre" role="alert" { (why) } }
                @for put_back in &self.found.put_back { p class="warn" { (put_back) } }
                div class="filters" {
                    label class="grow" { span { "Targets" }
                        input #targets type="text" name="target" value=(self.picked.typed.join(" ")) placeholder="everything; or NAME, +NAME, NAME+, tag:TAG, stg_*" autocomplete="off" spellcheck="false" aria-describedby="targets-help";
                    }
                    label { span { "Mode" } select #mode name="mode" {
                        @for (mode, what) in MODES { option value=(mode.word()) selected[mode == self.picked.mode] { (mode) ": " (what) } }
                    } }
                    div class="ends" {
                        button #see { "See the plan" }
                        @if self.who.may(Right::Run, self.key) {
                            button #start class="main" formmethod="post" formaction={ "/projects/" (words::part(self.key)) "/jobs" } { "Start" }
                        }
                    }
                }
                p #targets-help class="quiet" {
                    span #unticked hidden[!self.picked.ticked.is_empty()] { "Or tick steps below. Without a target, everything is built." }
                    span #ticked data-few=(FEW) { @if !self.picked.ticked.is_empty() { "Ticked: " (few(&self.picked.ticked, FEW)) "." } }
                }
            }
        }
    }

    fn outcome(&self) -> Markup {
        let Some(plan) = &self.found.plan else { return html! {} };
        html! {
            p #outcome {
                (plan.counts().to_string())
                @if let Some((least, most)) = &self.found.expected {
                    " · expected " @if least == most { (millis(*most)) } @else { (millis(*least)) "–" (millis(*most)) }
                }
            }
        }
    }

    fn table(&self) -> Markup {
        let planned: HashMap<RecipeId, &Step> =
            self.found.plan.iter().flat_map(|plan| &plan.steps).map(|step| (step.id, step)).collect();
        let mut steps: Vec<RecipeId> = self.loaded.graph.order.clone();
        let lacks = |id: &RecipeId| self.found.lacks.contains_key(id);
        let rank = |id: &RecipeId| planned.get(id).map_or(usize::MAX, |step| step.fate().rank());
        let folded = steps.len() > 2 * FOLDED;
        // What is ticked is seen.
        steps.sort_by_key(|id| (!lacks(id), folded && !self.is_ticked(*id), rank(id)));
        let hidden = steps.len().saturating_sub(MOST);
        steps.truncate(MOST);
        let more = steps.split_off(if folded { FOLDED } else { steps.len() });
        let row = |id: &RecipeId| self.row(*id, planned.get(id).copied());
        html! {
            section class="card" aria-labelledby="steps-head" {
                header {
                    h2 #steps-head { "Steps" }
                    input #find type="search" placeholder="Find a step" aria-label="Find a step" autocomplete="off" hidden;
                }
                table class="steps plan" {
                    caption class="unseen" { "Steps, those that are out of date first" }
                    thead { tr {
                        th scope="col" { "Step" }
                        th scope="col" { "Plan" }
                        th scope="col" class="number" { "Stage" }
                        th scope="col" class="number" { "Usually" }
                    } }
                    tbody #steps { @for id in &steps { (row(id)) } }
                }
                @if !more.is_empty() {
                    details #more {
                        summary { "Show all: " (count(more.len(), "more step")) }
                        table class="steps plan" {
                            caption class="unseen" { "More steps" }
                            tbody #steps-more { @for id in &more { (row(id)) } }
                        }
                    }
                }
                @if hidden > 0 { p class="quiet" { (hidden) " more are not shown: name them above." } }
            }
        }
    }

    fn is_ticked(&self, id: RecipeId) -> bool {
        self.picked.ticked.contains(&self.loaded.pipeline.recipes[id].name)
    }

    fn row(&self, id: RecipeId, step: Option<&Step>) -> Markup {
        let name = &self.loaded.pipeline.recipes[id].name;
        let now = crate::clock::now();
        html! {
            tr #{ "row-" (name) } class=(step.map_or("unasked", |step| step.fate().class())) {
                th scope="row" {
                    label { input type="checkbox" name="step" value=(name) checked[self.is_ticked(id)]; " " (name) }
                    @if let Some(input) = self.found.lacks.get(&id) { small class="bad" { "`" (input) "` is not there" } }
                    small { @if let Some(step) = step { (sentences(&step.reasons, now).join("; ")) } }
                }
                td { @if self.found.lacks.contains_key(&id) { span class="pill failed" { "cannot" } } @else if let Some(step) = step { (figure::fate_pill(step.fate())) } @else { span class="quiet" { "not asked for" } } }
                td class="number" { (self.loaded.graph.stage[id]) }
                td class="number" { @if let Some(ms) = step.and_then(|step| step.expected_ms) { (millis(ms)) } @else { "–" } }
            }
        }
    }
}
