//! `/`: the projects and their jobs, the newest first. What is asked for stands in the address.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use maud::{Markup, html};

use crate::base::job::JobState;
use crate::base::text::millis;
use crate::server::App;
use crate::server::auth::{Right, Who};
use crate::server::error::ApiError;
use crate::server::listing::{filter, rows};
use crate::server::page::frame::Frame;
use crate::server::page::{watch, words};
use crate::server::project::Project;
use crate::server::query::Query;
use crate::server::reply::Reply;
use crate::server::route::Call;
use crate::store::read::{Reader, RunRow};

/// So many jobs are on a page.
const SHOWN: u32 = 50;
/// What the list can be narrowed by.
const FILTERS: [&str; 6] = ["project", "state", "since", "until", "output", "initiator"];

/// The variables that a run was given, and what was left out of its targets.
type Given = (BTreeMap<String, String>, Vec<String>);

/// A job with the key of its project.
struct Line {
    project: String,
    row: RunRow,
    /// What it was asked for.
    asked: String,
    waits: Option<String>,
}

/// A page of the list.
struct List {
    lines: Vec<Line>,
    /// Where the page with older jobs begins.
    older: Option<String>,
    /// Where the page with newer jobs ends.
    newer: Option<String>,
    /// What is wrong with what was asked for.
    wrong: Vec<String>,
}

/// `GET /`
pub(super) fn home(call: &Call) -> Reply {
    let (app, who, query) = (&call.app, call.who()?, &call.query);
    let projects = visible(app, who);
    let list = list(app, who, &projects, query)?;
    let live = format!("/live{}", words::query(kept(query, &["cursor", "newer"])));
    let main = html! {
        h1 class="unseen" { "Jobs" }
        (cards(&projects)?)
        section class="card" {
            (form(&projects, query))
            @for wrong in &list.wrong { p class="wrong" role="alert" { (wrong) } }
            (table(&list, query))
        }
    };
    Frame { title: "Jobs", who: Some(who), crumbs: &[], live: Some(&live), main }.reply()
}

/// `GET /live`: the list anew whenever it is another one.
pub(super) fn live(call: &Call) -> Reply {
    let (app, who, query) = (Arc::clone(&call.app), call.who()?.clone(), call.query.clone());
    let slot = watch::slot(&app)?;
    let look = move || {
        let projects = visible(&app, &who);
        let list = list(&app, &who, &projects, &query).map_err(|error| io::Error::other(error.message().to_owned()))?;
        let cards = cards(&projects).map_err(|error| io::Error::other(error.message().to_owned()))?;
        Ok(vec![
            body(&list, is_filtered(&query)).into_string(),
            pages(&list, &query).into_string(),
            cards.into_string(),
        ])
    };
    Ok(watch::list(slot, Box::new(look)))
}

fn visible(app: &App, who: &Who) -> Vec<Arc<Project>> {
    app.projects.iter().filter(|project| who.may(Right::View, &project.key())).cloned().collect()
}

/// The jobs of all projects that are meant, in one order.
fn list(app: &App, who: &Who, projects: &[Arc<Project>], query: &Query) -> Result<List, ApiError> {
    let mut all = Vec::new();
    let mut more = false;
    let wrong = unread(query, projects);
    for project in projects {
        let key = project.key();
        if query.get("project").is_some_and(|wanted| wanted != key) {
            continue;
        }
        // What cannot be read is told once.
        let Ok(filter) = filter(query, project) else { continue };
        let rows = rows(project, &filter, SHOWN + 1)?;
        more |= rows.last.is_some();
        let (known, loaded) = (app.waits(&rows.shown, who), project.loaded());
        let given = |reader: &Reader| rows.shown.iter().map(|row| reader.given(&row.id)).collect();
        let given: Vec<_> = project.archive.ask(Vec::new(), given)?;
        let line = |(row, (vars, exclude)): (RunRow, Given)| {
            let asked = words::asked(&row, &exclude, &vars);
            let waits = known.get(&row.id).map(|wait| crate::server::wording::waits(wait, &loaded));
            Line { project: key.clone(), row, asked, waits }
        };
        all.extend(rows.shown.into_iter().zip(given).map(line));
    }
    all.sort_by(|a, b| (b.row.rank, &b.row.id).cmp(&(a.row.rank, &a.row.id)));
    let over = all.len().saturating_sub(SHOWN as usize);
    let ahead = query.get("newer").is_some();
    if ahead && all.len() < SHOWN as usize && wrong.is_empty() {
        // The newest page is a whole one.
        return list(app, who, projects, &query.without("newer"));
    }
    if ahead {
        all.drain(..over);
    }
    all.truncate(SHOWN as usize);
    let rank = |line: &Line| format!("{}_{}", line.row.rank.as_millisecond(), line.row.id);
    let older = all.last().filter(|_| ahead || more || over > 0).map(rank);
    let newer = all.first().filter(|_| query.get("cursor").is_some() || (ahead && over > 0)).map(rank);
    Ok(List { lines: all, older, newer, wrong })
}

/// What of the address cannot be read, in words.
fn unread(query: &Query, projects: &[Arc<Project>]) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(wanted) = query.get("project")
        && !projects.iter().any(|project| project.key() == wanted)
    {
        wrong.push(format!("there is no project `{wanted}` that you may see"));
    }
    // What one project does not know, another may.
    let meant = projects.iter().filter(|project| query.get("project").is_none_or(|wanted| wanted == project.key()));
    let others = FILTERS.iter().chain(&["cursor", "newer"]).filter(|name| **name != "output");
    let only = others.fold(query.clone(), |query, name| query.without(name));
    let errors: Vec<_> = meant.map(|project| filter(&only, project).err()).collect();
    if let Some(Some(error)) = errors.iter().min_by_key(|error| error.is_some()) {
        wrong.push(error.message().to_owned());
    }
    let alike = ["state", "since", "until", "cursor", "newer"];
    for name in alike {
        let others = FILTERS.iter().chain(&alike).filter(|other| **other != name);
        let only = others.fold(query.clone(), |query, other| query.without(other));
        let error = projects.first().and_then(|project| filter(&only, project).err());
        wrong.extend(error.map(|error| error.message().to_owned()));
    }
    wrong
}

/// What of the address is kept.
fn kept<'a>(query: &'a Query, more: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    FILTERS.iter().chain(more).filter_map(|name| query.get(name).map(|value| (*name, value)))
}

/// Whether not all jobs are asked for.
fn is_filtered(query: &Query) -> bool {
    kept(query, &["cursor", "newer"]).next().is_some()
}

/// The projects, each with how its last job stands and the way to its flow.
fn cards(projects: &[Arc<Project>]) -> Result<Markup, ApiError> {
    let mut cards = Vec::new();
    for project in projects {
        let loaded = project.loaded();
        let last = project.archive.last(&loaded.pipeline.name)?;
        cards.push((loaded, last));
    }
    Ok(html! {
        ul #projects class="projects" {
            @for (loaded, last) in &cards {
                @let (key, pipeline) = (&loaded.pipeline.project, &loaded.pipeline);
                li class="card project" {
                    h2 { a #{ "flow-" (key) } href=(words::flow_page(key)) { (key) } }
                    @if let Some(row) = last {
                        a #{ "last-" (key) } class="calm" href=(words::job_page(key, row.id.as_str())) { (words::pill(row.state)) }
                    } @else {
                        span class="quiet" { "never run" }
                    }
                    p class="quiet" {
                        (pipeline.description.as_deref().unwrap_or_default().lines().next().unwrap_or_default())
                        @if pipeline.description.is_none() { (loaded.source.name) }
                    }
                }
            }
        }
    })
}

fn form(projects: &[Arc<Project>], query: &Query) -> Markup {
    let states = [JobState::Running, JobState::Queued, JobState::Done, JobState::Failed, JobState::Aborted];
    let state = query.get("state").unwrap_or_default().to_ascii_uppercase();
    let chosen = |name: &str| query.get(name).unwrap_or_default();
    html! {
        form class="filters" method="get" action="/" role="search" aria-label="Jobs" {
            @if projects.len() > 1 {
                label { span { "Project" } select name="project" {
                    option value="" { "all" }
                    @for key in projects.iter().map(|project| project.key()) {
                        option value=(key) selected[chosen("project") == key] { (key) }
                    }
                } }
            }
            label { span { "State" } select name="state" {
                option value="" { "all" }
                @for known in states {
                    option value=(known.word()) selected[state == known.word()] { (words::job_state(known).0) }
                }
            } }
            label { span { "Since" } input type="date" name="since" value=(chosen("since")); }
            label { span { "Before" } input type="date" name="until" value=(chosen("until")); }
            label { span { "Output" } input type="text" name="output" value=(chosen("output")) autocomplete="off" spellcheck="false" size="12"; }
            label { span { "Started by" } input type="text" name="initiator" value=(chosen("initiator")) autocomplete="off" spellcheck="false" size="12"; }
            div class="ends" {
                button { "Filter" }
                @if kept(query, &[]).next().is_some() { a class="button plain" href="/" { "Clear" } }
            }
        }
    }
}

fn table(list: &List, query: &Query) -> Markup {
    html! {
        table class="jobs" {
            caption class="unseen" { "Jobs, the newest first" }
            thead { tr {
                th scope="col" { "State" }
                th scope="col" { "Job" }
                th scope="col" class="wide" { "Result" }
                th scope="col" class="wide" { "Started by" }
                th scope="col" class="wide" { "When" }
                th scope="col" class="number" { "Took" }
            } }
            (body(list, is_filtered(query)))
        }
        (pages(list, query))
    }
}

/// The ways to the other pages of the list.
fn pages(list: &List, query: &Query) -> Markup {
    let to = |name: &str, place: &str| format!("/{}", words::query(kept(query, &[]).chain([(name, place)])));
    html! {
        nav #pages class="pages" aria-label="Pages" {
            @if let Some(newer) = &list.newer {
                a class="button plain" href={ "/" (words::query(kept(query, &[]))) } { "← Newest" }
                a class="button plain" rel="prev" href=(to("newer", newer)) { "← Newer" }
            }
            @if let Some(older) = &list.older {
                a class="button plain" rel="next" href=(to("cursor", older)) { "Older →" }
            }
        }
    }
}

fn body(list: &List, filtered: bool) -> Markup {
    html! {
        tbody #jobs {
            @for line in &list.lines { (job(line)) }
            @if list.lines.is_empty() {
                tr { td colspan="6" class="nothing" {
                    @if filtered { "No jobs here." } @else { "No jobs yet. The flow of a project, above, is where one is started." }
                } }
            }
        }
    }
}

fn job(line: &Line) -> Markup {
    let Line { project, row, asked, waits } = line;
    html! {
        tr {
            td { (words::pill(row.state)) }
            th scope="row" {
                a #{ "job-" (row.id) } href=(words::job_page(project, row.id.as_str())) { (asked) }
                small {
                    span class="slim" { (words::time(row.asked)) " · " }
                    (project)
                    @if row.engine != "local" { " · " (row.engine) }
                    @if let Some(why) = waits.as_ref().or(row.why.as_ref()) { " · " (words::plain(why)) }
                }
            }
            td class="wide" { (counts(row)) }
            td class="wide by" title=(row.by) { (row.by) }
            td class="wide" { (words::time(row.asked)) }
            td class="number" { @if let Some(ms) = row.took_ms { (millis(ms)) } @else { "–" } }
        }
    }
}

fn counts(row: &RunRow) -> Markup {
    let all = [
        (row.built, "built", "built"),
        (row.same, "unchanged", "same"),
        (row.failed, "failed", "failed"),
        (row.stopped, "stopped", "stopped"),
        (row.skipped, "skipped", "skipped"),
    ];
    let some: Vec<_> = all.iter().filter(|(n, ..)| *n > 0).collect();
    html! {
        @for (n, word, class) in &some { span class={ "tally " (class) } { (n) " " (word) } " " }
        @if some.is_empty() && row.current > 0 { span class="tally current" { (row.current) " up to date" } }
    }
}
