//! From targets and a mode to a job that can be queued. Does not know in which form they came.

use std::path::Path;
use std::sync::Arc;

use crate::base::job::{BuildMode, JobId, Schedule};
use crate::event::RunStarted;
use crate::pipeline::types::Item;
use crate::server::desk::Touch;
use crate::server::error::ApiError;
use crate::server::jobs::Order;
use crate::server::project::Project;
use crate::server::route::Call;
use crate::server::touch;
use crate::session::command::command;
use crate::session::load::Loaded;
use crate::session::locks::writes;
use crate::session::{Request, Session, Site};

/// What someone asks for.
pub(crate) struct Asked {
    /// The targets by their names in the file; none for all.
    pub(crate) targets: Vec<String>,
    pub(crate) mode: BuildMode,
    /// The engine, where it is not that of the file.
    pub(crate) engine: Option<String>,
    /// Whether it goes on after failures, and without steps that lack something.
    pub(crate) keep_going: bool,
}

/// Starts a job of the project that the path names, and notes who did. It is kept when its id is known. May block.
pub(crate) fn start(call: &Call, loaded: Loaded, asked: Asked) -> Result<JobId, ApiError> {
    let about = format!("{} {}", asked.mode, asked.targets.join(" "));
    let order = order(&call.app.site, call.project()?, loaded, asked, call.who()?.initiator())?;
    let job = call.app.jobs.start(order)?;
    call.note("start", &job, &about);
    Ok(job)
}

/// What is asked for, understood. Sources are there: where nothing else was named, nothing is to be done.
pub(crate) fn order(
    site: &Site,
    project: &Arc<Project>,
    loaded: Loaded,
    asked: Asked,
    by: String,
) -> Result<Order, ApiError> {
    let Asked { targets, mode, engine, keep_going } = asked;
    let built: Vec<String> = targets
        .iter()
        .filter(|name| !matches!(loaded.pipeline.names.get(*name), Some(Item::Node(id)) if loaded.pipeline.nodes[*id].maker.is_none()))
        .cloned()
        .collect();
    let nothing = built.is_empty() && !targets.is_empty();
    let request = Request { targets: built, mode: Some(mode), engine, ..Request::default() };
    if nothing {
        let queued = queued(site, &loaded, &request, "local", (by, keep_going), targets);
        let source = loaded.source;
        return Ok(Order {
            project: Arc::clone(project),
            source,
            request: None,
            wants: Touch::default(),
            writes: Vec::new(),
            queued,
        });
    }
    let session = Session::of(site, loaded, &request)?;
    let (wants, writes) = (touch::wants(&session), writes(&session));
    let queued = queued(site, &session.loaded, &request, session.engine.name(), (by, keep_going), targets);
    let source = session.loaded.source;
    Ok(Order { project: Arc::clone(project), source, request: Some(request), wants, writes, queued })
}

/// The job as it is kept until it begins.
fn queued(
    site: &Site,
    loaded: &Loaded,
    request: &Request,
    engine: &str,
    (by, keep_going): (String, bool),
    targets: Vec<String>,
) -> RunStarted {
    let pipeline = &loaded.pipeline;
    let settings = &pipeline.settings;
    RunStarted {
        pipeline: pipeline.name.clone(),
        project: pipeline.project.clone(),
        file: loaded.source.name.clone(),
        engine: engine.to_owned(),
        mode: request.mode.unwrap_or_default(),
        schedule: settings.schedule.unwrap_or(Schedule::Stages),
        targets,
        exclude: request.exclude.clone(),
        max_parallel: settings.max_parallel.unwrap_or(site.cores),
        by,
        pid: std::process::id(),
        host: crate::store::lock::host(),
        kiln: env!("CARGO_PKG_VERSION").to_owned(),
        again: command(site, Some(Path::new(&loaded.source.name)), request, keep_going),
        keep_going,
        vars: request.vars.iter().cloned().collect(),
        steps: Vec::new(),
        up_to_date: 0,
        left: Vec::new(),
        put_back: Vec::new(),
        expected_ms: None,
    }
}
