//! The page of a job: how it stands, what failed, the graph, the log of a step, all steps in time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use maud::{Markup, html};
use serde_json::{Value, json};

use crate::base::job::JobState;
use crate::base::text::{count, millis};
use crate::draw::collapse::Collapse;
use crate::server::archive::Standing;
use crate::server::auth::{Right, Who};
use crate::server::error::ApiError;
use crate::server::page::ansi::coloured;
use crate::server::page::figure::{self, Figure};
use crate::server::page::frame::{self, Frame};
use crate::server::page::steps::Rows;
use crate::server::page::waiting::Waiting;
use crate::server::page::{log, words};
use crate::server::project::Project;
use crate::server::reply::Reply;
use crate::server::route::Call;
use crate::session::again::undone;
use crate::session::load::Loaded;
use crate::view::{RunView, StepState, StepView};

/// The states by which steps can be narrowed, in the order of the chips.
const STATES: [StepState; 10] = [
    StepState::Failed,
    StepState::Running,
    StepState::Retrying,
    StepState::Publishing,
    StepState::Waiting,
    StepState::Built,
    StepState::Same,
    StepState::Current,
    StepState::Stopped,
    StepState::Skipped,
];

/// The states in the order of the bar that shows how far a job is: what has not ended is its rest.
const DONE_FIRST: [StepState; 6] =
    [StepState::Built, StepState::Same, StepState::Current, StepState::Failed, StepState::Stopped, StepState::Skipped];

/// What of a job is looked at, as the address says it.
#[derive(Clone)]
pub(super) struct Sight {
    /// Only steps in this state.
    show: Option<StepState>,
    /// The step whose log is shown.
    step: Option<String>,
    /// How the picture is collapsed.
    pub(super) by: Option<Collapse>,
    pub(super) who: Who,
}

impl Sight {
    pub(super) fn read(call: &Call) -> Result<Self, ApiError> {
        let show =
            call.query.get("show").and_then(|word| STATES.into_iter().find(|state| words::class(*state) == word));
        Ok(Self {
            show,
            step: call.query.get("step").map(str::to_owned),
            by: figure::how(&call.query),
            who: call.who()?.clone(),
        })
    }

    /// The address of the page with another thing looked at.
    fn address(&self, page: &str, show: Option<&str>, step: Option<&str>, by: Option<&str>) -> String {
        let pairs = [("show", show), ("step", step), ("by", by)];
        format!("{page}{}", words::query(pairs.into_iter().filter_map(|(name, value)| Some((name, value?)))))
    }

    fn by_word(&self) -> Option<&'static str> {
        self.by.map(Collapse::word)
    }

    fn show_word(&self) -> Option<&'static str> {
        self.show.map(words::class)
    }
}

/// A job as the page shows it.
struct Page<'a> {
    project: &'a Project,
    loaded: &'a Loaded,
    standing: &'a Standing,
    view: &'a RunView,
    sight: &'a Sight,
    now_ms: u64,
    /// The page without anything behind it.
    address: String,
}

/// `GET /projects/K/jobs/J`
pub(super) fn job(call: &Call) -> Reply {
    let (project, sight) = (call.project()?, Sight::read(call)?);
    let (standing, loaded) = (project.standing(call.name("job")?)?, project.loaded());
    let page = Page::new(project, &loaded, &standing, &sight);
    if call.query.get("part") == Some("log") {
        let log = page.log().map_err(|error| ApiError::broken(error.to_string()))?;
        return Ok(frame::piece(log));
    }
    let wait = Waiting::of(&call.app, project, &standing, &sight.who);
    let live = (!standing.row.state.is_over()).then(|| page.live());
    let key = project.key();
    let crumbs = [(key.as_str(), words::project_page(&key)), (standing.row.id.as_str(), page.address.clone())];
    let main = page.main(wait.as_ref()).map_err(|error| ApiError::broken(error.to_string()))?;
    let title = format!("{} · {}", words::job_state(standing.row.state).0, page.asked());
    Frame { title: &title, who: Some(&sight.who), crumbs: &crumbs, live: live.as_deref(), main }.reply()
}

/// What stands otherwise on the page of a job when these steps have changed. `wait` says why it waits.
pub(super) fn fragments(
    project: &Project,
    (standing, wait): (&Standing, Option<&Waiting>),
    sight: &Sight,
    figure: Option<&Figure>,
    steps: &BTreeSet<&str>,
) -> Value {
    let loaded = project.loaded();
    let page = Page::new(project, &loaded, standing, sight);
    let address = |step: &str| page.step_address(step);
    let rows = page.rows(&address);
    let changed: Vec<&StepView> = steps.iter().filter_map(|step| standing.view.step(step)).collect();
    let mut swap = vec![page.summary(wait).into_string(), page.failures().into_string(), rows.axis().into_string()];
    swap.extend(changed.iter().map(|step| rows.row(step).into_string()));
    let names = changed.iter().map(|step| step.plan.id.as_str());
    let said: Vec<String> =
        changed.iter().map(|step| format!("{} {}", step.plan.id, words::word(step.state))).collect();
    let over = standing.row.state.is_over();
    let said = match (over, said.len()) {
        (true, _) => format!("The job has ended: {}", words::job_state(standing.row.state).0),
        (false, 0..=3) => said.join(", "),
        (false, n) => format!("{n} steps have changed"),
    };
    let paint = figure.map(|figure| figure.repaint(&standing.view, names)).unwrap_or_default();
    let log = page.chosen().map(|step| step.plan.id.as_str());
    json!({ "swap": swap, "paint": paint, "said": said, "log": log })
}

impl<'a> Page<'a> {
    fn new(project: &'a Project, loaded: &'a Loaded, standing: &'a Standing, sight: &'a Sight) -> Self {
        let (row, view) = (&standing.row, &standing.view);
        let since = crate::clock::now().as_millisecond() - row.start.as_millisecond();
        let now_ms = match row.state {
            JobState::Queued => 0,
            JobState::Running => u64::try_from(since).unwrap_or(0).max(view.elapsed_ms),
            JobState::Done | JobState::Failed | JobState::Aborted => row.took_ms.unwrap_or(view.elapsed_ms),
        };
        let address = words::job_page(&loaded.pipeline.project, row.id.as_str());
        Self { project, loaded, standing, view, sight, now_ms, address }
    }

    /// What it was asked for.
    fn asked(&self) -> String {
        let row = &self.standing.row;
        match &self.view.head {
            Some(head) => words::asked(row, &head.started.exclude, &head.started.vars),
            None => words::asked(row, &[], &BTreeMap::new()),
        }
    }

    fn live(&self) -> String {
        let from = self.standing.next.to_string();
        let pairs = [
            ("show", self.sight.show_word()),
            ("step", self.sight.step.as_deref()),
            ("by", self.sight.by_word()),
            ("from", Some(&from)),
        ];
        format!(
            "{}/live{}",
            self.address,
            words::query(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))))
        )
    }

    fn step_address(&self, step: &str) -> String {
        let address = self.sight.address(&self.address, self.sight.show_word(), Some(step), self.sight.by_word());
        format!("{address}#log")
    }

    fn rows<'b>(&'b self, address: &'b dyn Fn(&str) -> String) -> Rows<'b> {
        let chosen = self.chosen().map(|step| step.plan.id.as_str());
        Rows {
            loaded: self.loaded,
            view: self.view,
            now_ms: self.now_ms,
            over: self.standing.row.state.is_over(),
            address,
            chosen,
        }
    }

    fn main(&self, wait: Option<&Waiting>) -> io::Result<Markup> {
        let address = |step: &str| self.step_address(step);
        let rows = self.rows(&address);
        let figure = figure::of_job(self.loaded, self.standing, self.sight.by);
        let ways = |by: Option<&str>| {
            self.sight.address(&self.address, self.sight.show_word(), self.sight.step.as_deref(), by)
        };
        let log = self.log()?;
        let shown = |state: StepState| self.sight.show.is_none_or(|only| only == state);
        Ok(html! {
            (self.summary(wait))
            (self.failures())
            div class={ "pair" @if self.chosen().is_some() && figure.as_ref().is_some_and(Figure::is_small) { " beside" } } {
                @if let Some(figure) = &figure { (figure::card(figure, "Graph", self.sight.by, !self.view.steps.is_empty(), &ways)) }
                (log)
            }
            @if !self.view.steps.is_empty() {
                section class="card" aria-labelledby="steps-head" {
                    header { h2 #steps-head { "Steps" } (self.legend()) }
                    (rows.table(&shown))
                }
            }
        })
    }

    fn log(&self) -> io::Result<Markup> {
        match self.chosen() {
            Some(step) => log::panel(self.project, self.standing, step),
            None => Ok(html! { section #log hidden {} }),
        }
    }

    fn legend(&self) -> Markup {
        let tried = self.view.steps.iter().any(|step| !step.earlier.is_empty());
        html! {
            p class="legend quiet" aria-hidden="true" {
                span class="key wait" {} "ready, waiting" span class="key run" {} "running"
                @if tried { span class="key tried" {} "an attempt before" }
            }
        }
    }

    /// The step whose log is shown: the one that was chosen, else one that failed, else the one that began last.
    fn chosen(&self) -> Option<&'a StepView> {
        if let Some(name) = &self.sight.step {
            return self.view.step(name);
        }
        let steps = &self.view.steps;
        let failed = steps.iter().find(|step| step.state == StepState::Failed);
        let begun = || {
            steps.iter().filter(|step| step.attempt > 0).max_by_key(|step| (words::goes_on(step.state), step.began_ms))
        };
        failed.or_else(begun)
    }

    fn summary(&self, wait: Option<&Waiting>) -> Markup {
        let row = &self.standing.row;
        let goes_on = row.state == JobState::Running;
        html! {
            header #summary class="summary" data-now=[goes_on.then_some(self.now_ms)] {
                div class="title" {
                    (words::pill(row.state))
                    h1 { (self.asked()) }
                    (self.actions())
                }
                @if let Some(wait) = wait { p class="why" { (wait.markup()) } }
                @else if let Some(why) = &row.why { p class="why" { (words::plain(why)) } }
                dl class="facts" {
                    div { dt { "Started by" } dd { (row.by) } }
                    div { dt { "When" } dd { (words::time(row.asked)) } }
                    div { dt { "Took" } dd data-since=[goes_on.then_some(0)] { @if row.begun { (millis(self.now_ms)) } @else { "–" } } }
                    div { dt { "Mode" } dd { (row.mode) } }
                    div { dt { "Engine" } dd { (row.engine) @if let Some(head) = &self.view.head { " · " (head.started.max_parallel) " at once" } } }
                }
                (self.progress())
                (self.chips())
            }
        }
    }

    /// How many steps are in which state, as a bar.
    fn progress(&self) -> Markup {
        let all = self.view.steps.len();
        let mut from = 0;
        let part = |state: &StepState| {
            let (x, n) = (from, self.view.in_state(*state).count());
            from += n;
            (words::class(*state), x, n)
        };
        let parts: Vec<_> = DONE_FIRST.iter().map(part).filter(|(.., n)| *n > 0).collect();
        html! {
            @if all > 0 {
                svg class="progress" viewBox={ "0 0 " (all) " 1" } preserveAspectRatio="none" aria-hidden="true" {
                    @for (class, x, n) in parts { rect class=(class) x=(x) y="0" width=(n) height="1" {} }
                }
            }
        }
    }

    fn chips(&self) -> Markup {
        // As wide as the largest number may make them: they stay where they are while numbers grow.
        let digits = format!("digits-{}", self.view.steps.len().max(1).ilog10() + 1);
        let chip = |state: Option<StepState>, n: usize| {
            let word = state.map(words::class);
            let address = self.sight.address(&self.address, word, self.sight.step.as_deref(), self.sight.by_word());
            html! {
                a #{ "chip-" (word.unwrap_or("all")) } class={ "chip " (word.unwrap_or_default()) } href=(address)
                    aria-current=[(self.sight.show == state).then_some("true")] {
                    @if let Some(state) = state { span class="dot" aria-hidden="true" {} span class=(digits) { (n) } " " (words::word(state)) } @else { (count(n, "step")) }
                }
            }
        };
        let begun = self.view.head.as_ref().map(|head| &head.started);
        let (left, up_to_date) = begun.map_or((0, 0), |begun| (begun.left.len(), begun.up_to_date));
        html! {
            nav class="chips" aria-label="Steps by state" {
                // Which steps a job has that waits is not known yet; of one that was refused it never was.
                @if self.standing.row.begun && !self.view.is_untried() { (chip(None, self.view.steps.len())) }
                @for state in STATES {
                    @let n = self.view.in_state(state).count();
                    @if n > 0 || self.sight.show == Some(state) { (chip(Some(state), n)) }
                }
                @if left > 0 { span class="quiet" { (left) " out of date and left" } }
                @if up_to_date > 0 { span class="quiet" { (up_to_date) " up to date beforehand" } }
            }
        }
    }

    fn actions(&self) -> Markup {
        let (who, row, key) = (&self.sight.who, &self.standing.row, self.project.key());
        let over = row.state.is_over();
        let (here, _) = undone(&self.loaded.pipeline, self.view);
        let other = self
            .view
            .head
            .as_ref()
            .filter(|head| has_options(&head.started.again))
            .map(|head| crate::server::wording::again(&head.started));
        html! {
            div class="actions" {
                @if !over && who.may(Right::Abort, &key) {
                    form method="post" action={ (self.address) "/abort" } { button #abort class="danger" { "Abort" } }
                }
                @if over && who.may(Right::Run, &key) {
                    @if let Some(again) = other {
                        p class="quiet" { "Run with options of its own: " code { (again) } }
                    } @else {
                        @if !here.is_empty() && self.view.in_state(StepState::Failed).next().is_some() {
                            form method="post" action={ (self.address) "/again" } {
                                input type="hidden" name="what" value="failed";
                                button #failed-only class="main" { "Run failed only" }
                            }
                        }
                        form method="post" action={ (self.address) "/again" } { button #again { "Run again" } }
                    }
                }
            }
        }
    }

    /// What failed, with its last words.
    fn failures(&self) -> Markup {
        let failed: Vec<&StepView> = self.view.in_state(StepState::Failed).collect();
        html! {
            section #failures class="failures" aria-label="Failures" hidden[failed.is_empty()] {
                @for step in failed.iter().take(20) {
                    @let failure = step.failure.as_ref();
                    article class="card failure" {
                        h2 {
                            a #{ "failed-" (step.plan.id) } href=(self.step_address(&step.plan.id)) { (step.plan.id) }
                            " " span class="message" { (failure.map(|failure| words::plain(&failure.message)).unwrap_or_default()) }
                        }
                        p class="quiet" {
                            (step.plan.place)
                            @if step.attempt > 1 { " · attempt " (step.attempt) " of " (step.plan.attempts) }
                            @if let Some(kept) = failure.and_then(|failure| failure.kept) {
                                " · kept " (step.plan.outputs.join(", ")) " of " (words::time(kept))
                            }
                            @if let Some(failure) = failure.filter(|failure| !failure.spoiled.is_empty()) {
                                " · lost " (failure.spoiled.join(", ")) ": the recipe wrote where they belong"
                            }
                        }
                        @if let Some(failure) = failure.filter(|failure| !failure.tail.is_empty()) {
                            pre { span { (coloured(&failure.tail.join("\n"))) } }
                        }
                    }
                }
                @if failed.len() > 20 { p class="quiet" { (failed.len() - 20) " more have failed: see the steps below." } }
            }
        }
    }
}

/// Whether a run was given what a page cannot give.
pub(super) fn has_options(again: &str) -> bool {
    [" --var ", " --project ", " --partition ", " --exclude "].iter().any(|option| again.contains(option))
}
