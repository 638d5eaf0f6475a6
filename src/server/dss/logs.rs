//! `/projects/K/jobs/J/log` and `…/events`: what a job printed, and what happens in it.

use crate::base::id::RecipeId;
use crate::pipeline::dss_wire::NO_PARTITION;
use crate::pipeline::types::Pipeline;
use crate::server::archive::Standing;
use crate::server::dss::state;
use crate::server::error::ApiError;
use crate::server::project::Names;
use crate::server::reply::{self, Reply};
use crate::server::route::Call;
use crate::server::wording::waits;
use crate::server::{live, logs};
use crate::view::StepView;

/// `GET /projects/K/jobs/J/log`
pub(crate) fn log(call: &Call) -> Reply {
    let (project, job) = (call.project()?, call.name("job")?);
    let offset = call.query.number("offset")?;
    let (limit, lag) = (call.query.number("limit")?, call.query.number("lag")?);
    let follow = call.query.flag("follow")?.unwrap_or(false);
    let resumed = call.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let Some(activity) = call.query.get("activity") else {
        if follow || offset.is_some() {
            return Err(ApiError::wrong("offset and follow are of one activity: name it with activity=…"));
        }
        let standing = project.standing(job)?;
        let events = project.archive.ask(Vec::new(), |reader| reader.events(&standing.row.id, 0))?;
        let wait = call.app.wait(&standing.row, call.who()?).map(|wait| waits(&wait, &project.loaded()));
        let pieces = logs::whole(&project.archive.folder, &events, &wait.unwrap_or_default());
        return Ok(reply::stream("text/plain;charset=utf-8", logs::stream(pieces, 0, limit)));
    };
    let (standing, loaded, archive) = (project.standing(job)?, project.loaded(), &project.archive);
    let (name, step) = step(&standing, &loaded.pipeline, activity)?;
    if follow {
        let place = live::Place { step: name, from: resumed.or(offset).unwrap_or(0), lag };
        return live::log(&call.app, project.of(standing.row.id), place);
    }
    let pieces = step.iter().flat_map(|step| logs::files(&archive.folder, step)).map(logs::Piece::File).collect();
    Ok(reply::stream("text/plain;charset=utf-8", logs::stream(pieces, offset.unwrap_or(0), limit)))
}

/// The step that an activity is; its own name does as well. As long as a job waits it has no steps, and may come to have each.
fn step(standing: &Standing, pipeline: &Pipeline, activity: &str) -> Result<(String, Option<StepView>), ApiError> {
    let steps = &standing.view.steps;
    let by_id = steps.iter().find(|step| state::activity_id(step, pipeline) == activity);
    if let Some(step) = by_id.or_else(|| steps.iter().find(|step| step.plan.id == activity)) {
        return Ok((step.plan.id.clone(), Some(step.clone())));
    }
    let waits = !standing.row.begun && !standing.row.state.is_over();
    let is_meant = |id: &RecipeId| {
        let name = format!("{}_{NO_PARTITION}", pipeline.recipe_name(*id));
        name == activity || pipeline.recipes[*id].name == activity
    };
    match pipeline.recipes.ids().find(is_meant).filter(|_| waits) {
        Some(id) => Ok((pipeline.recipes[id].name.clone(), None)),
        None => Err(ApiError::none(format!("activity `{activity}` does not exist in job {}", standing.row.id))),
    }
}

/// `GET /projects/K/jobs/J/events`
pub(crate) fn events(call: &Call) -> Reply {
    let project = call.project()?;
    let id = project.standing(call.name("job")?)?.row.id;
    let resumed = call.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let from = resumed.map(|last| last.saturating_add(1)).or(call.query.number("from")?).unwrap_or(0);
    live::events(&call.app, project.of(id), from)
}
