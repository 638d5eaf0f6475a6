//! `/projects/K/jobs/…`: lists, starts, watches and aborts jobs.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use futures::{Stream, StreamExt};
use serde_json::{Value, json};

use crate::base::id::NodeId;
use crate::base::job::{JobId, JobState};
use crate::event::RunStarted;
use crate::pipeline::dss_wire::{NO_PARTITION, StartJob, build};
use crate::pipeline::types::{Item, Pipeline};
use crate::server::archive::Standing;
use crate::server::auth::Right;
use crate::server::desk::Touch;
use crate::server::dss::state;
use crate::server::error::{ApiError, JSON};
use crate::server::jobs::Order;
use crate::server::project::{Names, Project};
use crate::server::reply::{self, Reply, json};
use crate::server::route::Call;
use crate::server::{App, live, logs, touch};
use crate::session::load::Loaded;
use crate::session::{Request, Session};
use crate::store::read::{RunFilter, RunRow};
use crate::view::StepView;

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

/// `POST /projects/K/jobs/`
pub(crate) async fn start(call: Call) -> Reply {
    let project = Arc::clone(call.project()?);
    let (app, by) = (Arc::clone(&call.app), call.who()?.initiator());
    let body = call.body.clone();
    let order = super::blocking(move || order(&app, &project, &body, by)).await?;
    let targets = order.queued.targets.clone();
    let mode = order.queued.mode;
    let job = call.app.jobs.start(order).await?;
    call.note("start", &job, &format!("{mode} {}", targets.join(" ")));
    let project = Arc::clone(call.project()?);
    super::blocking(move || {
        let loaded = project.loaded();
        let standing = project.archive.run(&loaded.pipeline.name, &job)?;
        let standing = standing.ok_or_else(|| ApiError::broken("the job was kept, and is not there"))?;
        json(&state::def(&standing.row, &loaded.pipeline))
    })
    .await
}

/// What a request asks for, understood.
fn order(app: &App, project: &Arc<Project>, body: &Bytes, by: String) -> Result<Order, ApiError> {
    let asked: Value =
        serde_json::from_slice(body).map_err(|error| ApiError::wrong(format!("the body is no JSON: {error}")))?;
    if !asked.is_object() {
        return Err(ApiError::wrong("the body is no JSON object"));
    }
    let asked: StartJob = serde_json::from_value(asked).map_err(|error| ApiError::wrong(error.to_string()))?;
    let kind = asked.kind.as_deref().unwrap_or(build::ONLY);
    let mode = state::mode_of(kind)
        .ok_or_else(|| ApiError::wrong(format!("type `{kind}`: one of {}", build::ALL.join(", "))))?;
    let loaded = project.fresh()?;
    let targets = targets(&loaded.pipeline, &asked)?;
    let built: Vec<String> = targets
        .iter()
        .filter(|name| !matches!(loaded.pipeline.names.get(*name), Some(Item::Node(id)) if loaded.pipeline.nodes[*id].maker.is_none()))
        .cloned()
        .collect();
    let request = Request { targets: built, mode: Some(mode), ..Request::default() };
    let number = app.projects.iter().position(|other| Arc::ptr_eq(other, project)).unwrap_or_default();
    if request.targets.is_empty() {
        let queued = queued(app, &loaded, &request, "local", by, targets);
        let source = loaded.source;
        return Ok(Order {
            number,
            project: Arc::clone(project),
            source,
            request: None,
            wants: Touch::default(),
            queued,
        });
    }
    let session = Session::of(&app.site, loaded, &request)?;
    let wants = touch::wants(&session);
    let queued = queued(app, &session.loaded, &request, session.engine.name(), by, targets);
    let source = session.loaded.source;
    Ok(Order { number, project: Arc::clone(project), source, request: Some(request), wants, queued })
}

/// The names of what is to be built.
fn targets(pipeline: &Pipeline, asked: &StartJob) -> Result<Vec<String>, ApiError> {
    let mut names = BTreeSet::new();
    for output in &asked.outputs {
        let target = output.target(&pipeline.project);
        if target.id.is_empty() {
            return Err(ApiError::wrong("outputs: each has an `id`"));
        }
        if !["", NO_PARTITION].contains(&target.partition.as_str()) {
            let message = format!("`{}` is not partitioned: leave `partition` out", target.id);
            return Err(ApiError::wrong(message));
        }
        let name = match pipeline.find(&target) {
            Some(node) => pipeline.nodes[node].name.clone(),
            None if target.kind == "TASK" => task(pipeline, &target.id)?,
            None => return Err(unknown(pipeline, &target)),
        };
        names.insert(name);
    }
    if names.is_empty() {
        return Err(ApiError::wrong("outputs: name at least one output"));
    }
    Ok(names.into_iter().collect())
}

fn task(pipeline: &Pipeline, name: &str) -> Result<String, ApiError> {
    let task = pipeline.recipes.values().find(|recipe| recipe.task && recipe.name == name);
    task.map(|recipe| recipe.name.clone()).ok_or_else(|| ApiError::none(format!("task `{name}` does not exist")))
}

fn unknown(pipeline: &Pipeline, target: &crate::pipeline::dss_wire::Target) -> ApiError {
    let same = pipeline.nodes.iter().find(|(id, node)| pipeline.id_of(*id) == target.id || node.name == target.id);
    let word = match target.kind.as_str() {
        "DATASET" => "dataset",
        "MANAGED_FOLDER" => "managed folder",
        "SAVED_MODEL" => "saved model",
        other => other,
    };
    let help = match same {
        Some((_, node)) => {
            format!("; there is a node of that name, of type {}", crate::server::project::kind(node.kind))
        }
        None => {
            let names = pipeline.nodes.ids().map(|id: NodeId| pipeline.id_of(id)).collect::<Vec<_>>();
            let near = crate::base::text::did_you_mean(&target.id, names.iter().map(String::as_str));
            near.map(|near| format!("; {near}")).unwrap_or_default()
        }
    };
    ApiError::none(format!("{word} `{}` does not exist in project {}{help}", target.id, target.project))
}

/// The job as it is kept until it begins.
fn queued(app: &App, loaded: &Loaded, request: &Request, engine: &str, by: String, targets: Vec<String>) -> RunStarted {
    let pipeline = &loaded.pipeline;
    let settings = &pipeline.settings;
    RunStarted {
        pipeline: pipeline.name.clone(),
        project: pipeline.project.clone(),
        file: loaded.source.name.clone(),
        engine: engine.to_owned(),
        mode: request.mode.unwrap_or(crate::base::job::BuildMode::Smart),
        schedule: settings.schedule.unwrap_or(crate::base::job::Schedule::Stages),
        targets,
        max_parallel: settings.max_parallel.unwrap_or(app.site.cores),
        by,
        pid: std::process::id(),
        host: crate::session::start::host(),
        kiln: env!("CARGO_PKG_VERSION").to_owned(),
        again: crate::pipeline::template::command_line(&[
            "kiln".to_owned(),
            "run".to_owned(),
            "-f".to_owned(),
            loaded.source.name.clone(),
        ]),
        steps: Vec::new(),
        up_to_date: 0,
        expected_ms: None,
    }
}

/// The job that the path names.
fn standing(project: &Project, job: &str) -> Result<Standing, ApiError> {
    let pipeline = project.loaded().pipeline.name.clone();
    let found = project.archive.run(&pipeline, &JobId::from_text(job))?;
    found.ok_or_else(|| ApiError::none(format!("job `{job}` does not exist in project {}", project.key())))
}

/// `GET /projects/K/jobs/J/`
pub(crate) async fn status(call: Call) -> Reply {
    let (app, project, job) = (Arc::clone(&call.app), Arc::clone(call.project()?), call.name("job")?.to_owned());
    super::blocking(move || {
        let standing = standing(&project, &job)?;
        let wait = app.jobs.wait(&standing.row);
        json(&state::status(&standing, &project, &project.loaded(), wait.as_ref()))
    })
    .await
}

/// `POST /projects/K/jobs/J/abort`
pub(crate) async fn abort(call: Call) -> Reply {
    let (project, job) = (Arc::clone(call.project()?), call.name("job")?.to_owned());
    let row = super::blocking(move || Ok(standing(&project, &job)?.row)).await?;
    if row.state.is_over() {
        return json(&json!({ "msg": format!("job {} is {} already", row.id, row.state) }));
    }
    call.note("abort", &row.id, "");
    if call.app.jobs.abort(row.id.clone()).await {
        return json(&json!({ "msg": format!("job {} is asked to end", row.id) }));
    }
    let (project, id) = (Arc::clone(call.project()?), row.id.clone());
    let row = super::blocking(move || Ok(standing(&project, id.as_str())?.row)).await?;
    if row.state.is_over() {
        return json(&json!({ "msg": format!("job {} is {} already", row.id, row.state) }));
    }
    let message = format!("job {} is a run of another process, started by {}: stop it there", row.id, row.by);
    Err(ApiError::conflict(message))
}

/// `GET /projects/K/jobs/J/log`
pub(crate) async fn log(call: Call) -> Reply {
    let (project, job) = (Arc::clone(call.project()?), call.name("job")?.to_owned());
    let activity = call.query.get("activity").map(str::to_owned);
    let offset = call.query.number("offset")?;
    let follow = call.query.flag("follow")?.unwrap_or(false);
    let resumed = call.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let Some(activity) = activity else {
        if follow || offset.is_some() {
            return Err(ApiError::wrong("offset and follow are of one activity: name it with activity=…"));
        }
        let app = Arc::clone(&call.app);
        let pieces = super::blocking(move || {
            let standing = standing(&project, &job)?;
            let events = project.archive.ask(Vec::new(), |reader| reader.events(&standing.row.id, 0))?;
            let wait = app.jobs.wait(&standing.row).map(|wait| state::message(&wait, &project.loaded()));
            Ok(logs::whole(&project.archive.folder, &events, &wait.unwrap_or_default()))
        });
        return Ok(reply::stream("text/plain;charset=utf-8", logs::stream(pieces.await?, 0)));
    };
    let (archive, pipeline) = (Arc::clone(&project.archive), project.loaded().pipeline.name.clone());
    let (id, step) = super::blocking(move || {
        let standing = standing(&project, &job)?;
        let step = step(&standing, &project.loaded().pipeline, &activity)?;
        Ok((standing.row.id.clone(), step.clone()))
    })
    .await?;
    if follow {
        return live::log(&call.app, &archive, &pipeline, id, &step.plan.id, resumed.or(offset).unwrap_or(0));
    }
    let pieces = logs::files(&archive.folder, &step).into_iter().map(logs::Piece::File).collect();
    Ok(reply::stream("text/plain;charset=utf-8", logs::stream(pieces, offset.unwrap_or(0))))
}

/// The step that an activity is; its own name and those of its outputs do as well.
fn step<'a>(standing: &'a Standing, pipeline: &Pipeline, activity: &str) -> Result<&'a StepView, ApiError> {
    let steps = &standing.view.steps;
    let by_id = steps.iter().find(|step| state::activity_id(step, pipeline) == activity);
    by_id
        .or_else(|| steps.iter().find(|step| step.plan.id == activity))
        .ok_or_else(|| ApiError::none(format!("activity `{activity}` does not exist in job {}", standing.row.id)))
}

/// `GET /projects/K/jobs/J/events`
pub(crate) async fn events(call: Call) -> Reply {
    let (project, job) = (Arc::clone(call.project()?), call.name("job")?.to_owned());
    let pipeline = project.loaded().pipeline.name.clone();
    let archive = Arc::clone(&project.archive);
    let id = super::blocking(move || Ok(standing(&project, &job)?.row.id)).await?;
    let resumed = call.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let from = resumed.map(|last| last.saturating_add(1)).or(call.query.number("from")?).unwrap_or(0);
    live::events(&call.app, &archive, &pipeline, id, from)
}
