//! Lists of jobs: `/projects/K/jobs/`, and what runs in a project or everywhere. Long lists are read page by page while
//! they are sent.

use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use futures::{Stream, StreamExt};
use serde_json::{Value, json};

use crate::base::job::JobState;
use crate::server::auth::{Right, Who};
use crate::server::dss::state;
use crate::server::error::{ApiError, JSON};
use crate::server::listing::{filter, rows};
use crate::server::project::Project;
use crate::server::reply::{self, Reply, json};
use crate::server::route::Call;
use crate::server::{App, blocking};
use crate::store::filter::RunFilter;

/// So many jobs are read at a time.
const PAGE: u32 = 500;

/// `GET /projects/K/jobs/`
pub(crate) fn list(call: &Call) -> Reply {
    let project = Arc::clone(call.project()?);
    let filter = filter(&call.query, &project)?;
    let limit = call.query.number("limit")?.filter(|limit| *limit > 0);
    let (app, who) = (Arc::clone(&call.app), call.who()?.clone());
    // What is wrong with the history is told before the answer begins.
    let first = Pages { app, who, project, filter, left: limit, first: true }.next()?;
    Ok(reply::stream(JSON, stream(first)))
}

/// A list of jobs that is read page by page while it is sent.
struct Pages {
    app: Arc<App>,
    who: Who,
    project: Arc<Project>,
    filter: RunFilter,
    left: Option<u64>,
    first: bool,
}

/// A page and those behind it.
fn stream((first, rest): (Bytes, Option<Pages>)) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let rest = futures::stream::try_unfold(rest, |pages| async move {
        let Some(pages) = pages else { return Ok(None) };
        let page = blocking(move || pages.next()).await;
        page.map(Some).map_err(|error| io::Error::other(error.message().to_owned()))
    });
    futures::stream::once(std::future::ready(Ok(first))).chain(rest).boxed()
}

impl Pages {
    fn next(mut self) -> Result<(Bytes, Option<Self>), ApiError> {
        let loaded = self.project.loaded();
        let shown = state::Shown::new(&loaded);
        let mut text = if self.first { "[".to_owned() } else { String::new() };
        let want = self.left.map_or(PAGE, |left| u32::try_from(left).unwrap_or(PAGE).min(PAGE));
        let rows = rows(&self.project, &self.filter, want)?;
        let waits = self.app.waits(&rows.shown, &self.who);
        for row in &rows.shown {
            if !std::mem::take(&mut self.first) {
                text.push_str(",\n");
            }
            let mut item = state::item(row, &shown, waits.get(&row.id));
            item["cursor"] = json!(format!("{}_{}", row.rank.as_millisecond(), row.id));
            text += &item.to_string();
        }
        self.left = self.left.map(|left| left.saturating_sub(rows.shown.len() as u64));
        let Some(last) = rows.last.filter(|_| self.left != Some(0)) else {
            text.push(']');
            return Ok((text.into(), None));
        };
        self.filter.behind = Some(last);
        Ok((text.into(), Some(self)))
    }
}

/// `GET /projects/K/jobs/running/`
pub(crate) fn running(call: &Call) -> Reply {
    json(&running_in(&call.app, call.who()?, call.project()?)?)
}

/// `GET /jobs/running/`
pub(crate) fn running_everywhere(call: &Call) -> Reply {
    let all = call.query.flag("allUsers")?.unwrap_or(true);
    let (app, who) = (&call.app, call.who()?);
    let mut items = Vec::new();
    for project in app.projects.iter().filter(|project| who.may(Right::View, &project.key())) {
        items.extend(running_in(app, who, project)?);
    }
    items.retain(|item| all || item["def"]["initiator"] == json!(who.initiator()));
    json(&items)
}

fn running_in(app: &App, who: &Who, project: &Project) -> Result<Vec<Value>, ApiError> {
    let loaded = project.loaded();
    let shown = state::Shown::new(&loaded);
    let mut items = Vec::new();
    for state in [JobState::Queued, JobState::Running] {
        let pipeline = Some(loaded.pipeline.name.clone());
        let filter = RunFilter { pipeline, state: Some(state), ..RunFilter::default() };
        let rows = rows(project, &filter, u32::MAX)?.shown;
        let waits = app.waits(&rows, who);
        items.extend(rows.iter().map(|row| state::item(row, &shown, waits.get(&row.id))));
    }
    Ok(items)
}
