//! The flow of a project: all of its graph with what is out of date and why; targets and a mode are picked, the plan is
//! shown, and a job is started.

use std::collections::HashMap;
use std::sync::Arc;

use maud::{Markup, html};

use crate::base::id::RecipeId;
use crate::base::job::BuildMode;
use crate::base::text::{count, millis};
use crate::draw::collapse::Collapse;
use crate::pipeline::types::Pipeline;
use crate::plan::estimate::estimate;
use crate::plan::put_back::PutBack;
use crate::plan::reason::{Action, sentences};
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

/// What is picked.
struct Picked {
    targets: Vec<String>,
    mode: BuildMode,
    by: Option<Collapse>,
}

/// A plan, or why there is none.
enum Found {
    Plan { plan: Plan, expected: Option<(u64, u64)>, put_back: Vec<PutBack> },
    None(String),
}

/// `GET /projects/K/flow`
pub(super) async fn flow(call: Call) -> Reply {
    let (app, project, who) = (Arc::clone(&call.app), Arc::clone(call.project()?), call.who()?.clone());
    let picked = pick(&call.query);
    let place = Arc::clone(&call.app.plans).acquire_owned().await;
    blocking(move || {
        let (loaded, found) = find(&app, &project, &who, &picked);
        drop(place);
        let key = project.key();
        let page = Page { loaded: &loaded, found: &found, picked: &picked, who: &who, key: &key };
        let crumbs = [
            (key.as_str(), format!("/{}", words::query([("project", key.as_str())]))),
            ("Flow", words::flow_page(&key)),
        ];
        let title = format!("{key} · flow");
        Frame { title: &title, who: Some(&who), crumbs: &crumbs, live: None, main: page.main() }.reply()
    })
    .await
}

fn pick(query: &Query) -> Picked {
    let targets = query.all("target").flat_map(str::split_whitespace).map(str::to_owned).collect();
    let mode = query.get("mode").and_then(BuildMode::of_word).unwrap_or(BuildMode::Smart);
    Picked { targets, mode, by: figure::how(query) }
}

/// Looks and decides. Commands of the file are run for that only for those who may run jobs.
fn find(app: &App, project: &Project, who: &Who, picked: &Picked) -> (Arc<Loaded>, Found) {
    let plan = || -> Result<Found, ApiError> {
        let request = Request { targets: picked.targets.clone(), mode: Some(picked.mode), ..Request::default() };
        let session = Session::of(&app.site, project.fresh()?, &request)?;
        let planned = session.plan(who.may(Right::Run, &project.key()))?;
        let span = estimate(&planned.plan, &session.loaded.graph, session.schedule, session.jobs);
        let expected = (span.unknown == 0 && span.most_ms > 0).then_some((span.least_ms, span.most_ms));
        let put_back = session.put_back(&planned.known);
        Ok(Found::Plan { plan: planned.plan, expected, put_back })
    };
    let found = plan().unwrap_or_else(|error| Found::None(error.message().to_owned()));
    // Read after the plan: what the file says now is what it was made from.
    (project.loaded(), found)
}

struct Page<'a> {
    loaded: &'a Loaded,
    found: &'a Found,
    picked: &'a Picked,
    who: &'a Who,
    key: &'a str,
}

impl Page<'_> {
    fn plan(&self) -> Option<&Plan> {
        match self.found {
            Found::Plan { plan, .. } => Some(plan),
            Found::None(_) => None,
        }
    }

    fn main(&self) -> Markup {
        let pipeline = &self.loaded.pipeline;
        let title = format!("the flow of {}", self.key);
        let figure = figure::of_flow(self.loaded, self.plan(), &title, self.picked.by);
        let address = |by: Option<&str>| {
            let targets = self.picked.targets.iter().map(|target| ("target", target.as_str()));
            let mode = self.picked.mode.word();
            let pairs = targets.chain([("mode", mode)]).chain(by.map(|by| ("by", by)));
            format!("{}{}", words::flow_page(self.key), words::query(pairs))
        };
        html! {
            header class="summary" {
                div class="title" { h1 { (pipeline.name) } }
                p class="quiet" {
                    (pipeline.description.as_deref().unwrap_or_default()) " "
                    (self.loaded.source.name) " · " (count(pipeline.nodes.len(), "node")) " · " (count(pipeline.recipes.len(), "step"))
                }
            }
            form #flow class="flow" method="get" action=(words::flow_page(self.key)) {
                @if let Some(by) = self.picked.by { input type="hidden" name="by" value=(by_word(by)); }
                (self.choice())
                (figure::card(&figure, "Flow", self.picked.by, &address))
                (self.table())
            }
        }
    }

    /// Targets, mode, what it comes to, and the buttons.
    fn choice(&self) -> Markup {
        let pipeline = &self.loaded.pipeline;
        let other: Vec<&str> =
            self.picked.targets.iter().map(String::as_str).filter(|name| !is_step(pipeline, name)).collect();
        html! {
            section class="card choice" aria-labelledby="plan-head" {
                header { h2 #plan-head { "Plan" } (self.outcome()) }
                @match self.found {
                    Found::None(why) => p class="wrong pre" role="alert" { (why) },
                    Found::Plan { put_back, .. } => @for put_back in put_back { p class="warn" { (put_back) } },
                }
                div class="filters" {
                    label class="grow" { span { "Targets" }
                        input #targets type="text" name="target" value=(other.join(" ")) placeholder="everything; or NAME, +NAME, NAME+, tag:TAG" autocomplete="off" spellcheck="false" aria-describedby="targets-help";
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
                p #targets-help class="quiet" { "Or tick steps below. Without a target, everything is built." }
            }
        }
    }

    fn outcome(&self) -> Markup {
        let Found::Plan { plan, expected, .. } = self.found else { return html! {} };
        html! {
            p #outcome {
                (plan.counts().to_string())
                @if let Some((least, most)) = expected {
                    " · expected " @if least == most { (millis(*most)) } @else { (millis(*least)) "–" (millis(*most)) }
                }
            }
        }
    }

    fn table(&self) -> Markup {
        let planned: HashMap<RecipeId, &Step> =
            self.plan().into_iter().flat_map(|plan| &plan.steps).map(|step| (step.id, step)).collect();
        let mut steps: Vec<RecipeId> = self.loaded.graph.order.clone();
        let rank = |id: &RecipeId| {
            planned.get(id).map_or(4, |step| match step.action {
                Action::Build => 0,
                Action::Maybe => 1,
                Action::Ask => 2,
                Action::Skip => 3,
            })
        };
        steps.sort_by_key(rank);
        let hidden = steps.len().saturating_sub(MOST);
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
                    tbody #steps { @for id in steps.iter().take(MOST) { (self.row(*id, planned.get(id).copied())) } }
                }
                @if hidden > 0 { p class="quiet" { (hidden) " more are not shown: name them above." } }
            }
        }
    }

    fn row(&self, id: RecipeId, step: Option<&Step>) -> Markup {
        let name = &self.loaded.pipeline.recipes[id].name;
        let ticked = self.picked.targets.contains(name);
        let now = crate::clock::now();
        html! {
            tr #{ "row-" (name) } class=(step.map_or("unasked", |step| step.action.word())) {
                th scope="row" {
                    label { input type="checkbox" name="target" value=(name) checked[ticked]; " " (name) }
                    small { @if let Some(step) = step { (sentences(&step.reasons, now).join("; ")) } }
                }
                td { @if let Some(step) = step { (figure::action_pill(step.action)) } @else { span class="quiet" { "not asked for" } } }
                td class="number" { (self.loaded.graph.stage[id]) }
                td class="number" { @if let Some(ms) = step.and_then(|step| step.expected_ms) { (millis(ms)) } @else { "–" } }
            }
        }
    }
}

fn is_step(pipeline: &Pipeline, name: &str) -> bool {
    pipeline.recipe(name).is_some_and(|id| pipeline.recipes[id].name == name)
}

fn by_word(by: Collapse) -> &'static str {
    match by {
        Collapse::Stage => "stage",
        Collapse::Tag => "tag",
        Collapse::None => "none",
    }
}
