//! Lists of jobs: `/projects/K/jobs/`, and what runs in a project or everywhere. Long lists are read page by page while
//! they are sent.

use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use futures::{Stream, StreamExt};
use serde_json::{Value, json};

use crate::base::job::{JobId, JobState};
use crate::pipeline::types::Pipeline;
use crate::server::App;
use crate::server::auth::Right;
use crate::server::dss::state;
use crate::server::error::{ApiError, JSON};
use crate::server::project::{Names, Project};
use crate::server::reply::{self, Reply, json};
use crate::server::route::Call;
use crate::store::filter::RunFilter;
use crate::store::read::RunRow;

/// So many jobs are read at a time.
const PAGE: u32 = 500;

/// `GET /projects/K/jobs/`
pub(crate) async fn list(call: Call) -> Reply {
    let project = Arc::clone(call.project()?);
    let filter = filter(&call, &project)?;
    let limit = call.query.number("limit")?.filter(|limit| *limit > 0);
    let pages = Pages { app: Arc::clone(&call.app), project, filter, left: limit, first: true };
    Ok(reply::stream(JSON, pages.stream()))
}

/// What is asked for of the list.
fn filter(call: &Call, project: &Project) -> Result<Filter, ApiError> {
    let loaded = project.loaded();
    let word = call.query.get("state").map(str::to_ascii_uppercase);
    let states = [JobState::Queued, JobState::Running, JobState::Done, JobState::Failed, JobState::Aborted];
    let state = word.map(|word| {
        let known = states.into_iter().find(|state| state.word() == word);
        known
            .ok_or_else(|| ApiError::wrong(format!("state={word}: one of NOT_STARTED, RUNNING, DONE, FAILED, ABORTED")))
    });
    let behind = call.query.get("cursor").map(|cursor| {
        let parts = cursor.split_once(' ').or_else(|| cursor.split_once('_'));
        let read = parts.and_then(|(time, job)| Some((time.parse::<i64>().ok()?, job)));
        let place =
            read.and_then(|(time, job)| Some((jiff::Timestamp::from_millisecond(time).ok()?, JobId::from_text(job))));
        place
            .ok_or_else(|| ApiError::wrong("cursor: give the value of the header X-Next-Cursor or of a job's `cursor`"))
    });
    let steps = call.query.get("output").map(|output| steps_of(&loaded.pipeline, output));
    Ok(Filter {
        state: state.transpose()?,
        rows: RunFilter {
            pipeline: Some(loaded.pipeline.name.clone()),
            since: call.query.time("since")?,
            until: call.query.time("until")?,
            behind: behind.transpose()?,
            steps: steps.transpose()?,
            ..RunFilter::default()
        },
    })
}

/// The steps that make an output.
fn steps_of(pipeline: &Pipeline, output: &str) -> Result<Vec<String>, ApiError> {
    let named = pipeline.nodes.ids().find(|id| pipeline.id_of(*id) == output).or_else(|| pipeline.node(output));
    let node = named.ok_or_else(|| ApiError::none(format!("output={output}: there is no such output")))?;
    Ok(pipeline.nodes[node].maker.map(|maker| pipeline.recipes[maker].name.clone()).into_iter().collect())
}

struct Filter {
    state: Option<JobState>,
    rows: RunFilter,
}

/// A list of jobs that is read page by page while it is sent.
struct Pages {
    app: Arc<App>,
    project: Arc<Project>,
    filter: Filter,
    left: Option<u64>,
    first: bool,
}

impl Pages {
    fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        futures::stream::try_unfold(Some(self), |pages| async move {
            let Some(pages) = pages else { return Ok(None) };
            tokio::task::spawn_blocking(move || pages.next()).await.map_err(io::Error::other)?.map(Some)
        })
        .boxed()
    }

    fn next(mut self) -> io::Result<(Bytes, Option<Self>)> {
        let loaded = self.project.loaded();
        let mut text = if self.first { "[".to_owned() } else { String::new() };
        let want = self.left.map_or(PAGE, |left| u32::try_from(left).unwrap_or(PAGE).min(PAGE));
        let rows = rows(&self.project, &self.filter, want).map_err(|error| io::Error::other(error.to_string()))?;
        for row in &rows.shown {
            if !std::mem::take(&mut self.first) {
                text.push_str(",\n");
            }
            let mut item = state::item(row, &loaded, self.app.jobs.wait(row).as_ref());
            item["cursor"] = json!(format!("{}_{}", row.asked.as_millisecond(), row.id));
            text += &item.to_string();
        }
        self.left = self.left.map(|left| left.saturating_sub(rows.shown.len() as u64));
        let Some(last) = rows.last.filter(|_| self.left != Some(0)) else {
            text.push(']');
            return Ok((text.into(), None));
        };
        self.filter.rows.behind = Some(last);
        Ok((text.into(), Some(self)))
    }
}

/// Rows of a list, and where it goes on.
struct Rows {
    shown: Vec<RunRow>,
    last: Option<(jiff::Timestamp, JobId)>,
}

/// The next rows that fit. States are looked at here: a run that died may still stand as RUNNING in the history.
fn rows(project: &Project, filter: &Filter, want: u32) -> Result<Rows, crate::store::StoreError> {
    let archive = &project.archive;
    // All states but ABORTED are what the history says, or less.
    let exact = filter.state.filter(|state| *state != JobState::Aborted);
    let asked = RunFilter { limit: Some(want), state: exact, ..filter.rows.clone() };
    let mut rows = archive.ask(Vec::new(), |reader| reader.runs(&asked))?;
    let more = rows.len() as u64 == u64::from(want);
    let last = rows.last().map(|row| (row.asked, row.id.clone())).filter(|_| more);
    rows.iter_mut().for_each(|row| row.see_death(&archive.folder));
    rows.retain(|row| filter.state.is_none_or(|state| row.state == state));
    Ok(Rows { shown: rows, last })
}

/// `GET /projects/K/jobs/running/`
pub(crate) async fn running(call: Call) -> Reply {
    let project = Arc::clone(call.project()?);
    let app = Arc::clone(&call.app);
    super::blocking(move || json(&running_in(&app, &project)?)).await
}

/// `GET /jobs/running/`
pub(crate) async fn running_everywhere(call: Call) -> Reply {
    let all = call.query.flag("allUsers")?.unwrap_or(true);
    let (app, who) = (Arc::clone(&call.app), call.who()?.clone());
    super::blocking(move || {
        let mut items = Vec::new();
        for project in app.projects.iter().filter(|project| who.may(Right::View, &project.key())) {
            items.extend(running_in(&app, project)?);
        }
        items.retain(|item| all || item["def"]["initiator"] == json!(who.initiator()));
        json(&items)
    })
    .await
}

fn running_in(app: &App, project: &Project) -> Result<Vec<Value>, ApiError> {
    let loaded = project.loaded();
    let mut items = Vec::new();
    for state in [JobState::Queued, JobState::Running] {
        let rows = RunFilter { pipeline: Some(loaded.pipeline.name.clone()), ..RunFilter::default() };
        let rows = rows_of(project, &Filter { state: Some(state), rows })?;
        items.extend(rows.iter().map(|row| state::item(row, &loaded, app.jobs.wait(row).as_ref())));
    }
    Ok(items)
}

fn rows_of(project: &Project, filter: &Filter) -> Result<Vec<RunRow>, ApiError> {
    Ok(rows(project, filter, u32::MAX)?.shown)
}
