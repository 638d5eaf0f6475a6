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

const TEXT: &str = "text/plain;charset=utf-8";

/// `GET /projects/K/jobs/J/log`: of one activity, which may be followed, or of the whole job.
pub(crate) fn log(call: &Call) -> Reply {
    let standing = call.project()?.standing(call.name("job")?)?;
    let (offset, limit) = (call.query.number("offset")?, call.query.number("limit")?);
    let (follow, lag) = (call.query.flag("follow")?.unwrap_or(false), call.query.number("lag")?);
    match call.query.get("activity") {
        Some(activity) if follow => followed(call, &standing, activity, (offset, lag)),
        Some(activity) => of_activity(call, &standing, activity, (offset.unwrap_or(0), limit)),
        None if follow || offset.is_some() => {
            Err(ApiError::wrong("offset and follow are of one activity: name it with activity=…"))
        }
        None => whole(call, &standing, limit),
    }
}

/// What a job printed and what happened in it, without following it.
fn whole(call: &Call, standing: &Standing, limit: Option<u64>) -> Reply {
    let project = call.project()?;
    let events = project.archive.ask(Vec::new(), |reader| reader.events(&standing.row.id, 0))?;
    let wait = call.app.wait(&standing.row, call.who()?).map(|wait| waits(&wait, &project.loaded()));
    let pieces = logs::whole(&project.archive.folder, &events, &wait.unwrap_or_default());
    Ok(reply::stream(TEXT, logs::stream(pieces, 0, limit)))
}

/// What an activity has printed so far.
fn of_activity(call: &Call, standing: &Standing, activity: &str, (offset, limit): (u64, Option<u64>)) -> Reply {
    let project = call.project()?;
    let (_, step) = step(standing, &project.loaded().pipeline, activity)?;
    let files = step.iter().flat_map(|step| logs::files(&project.archive.folder, step));
    Ok(reply::stream(TEXT, logs::stream(files.map(logs::Piece::File).collect(), offset, limit)))
}

/// What an activity prints, as it comes. Who comes back goes on where it was.
fn followed(call: &Call, standing: &Standing, activity: &str, (offset, lag): (Option<u64>, Option<u64>)) -> Reply {
    let project = call.project()?;
    let (step, _) = step(standing, &project.loaded().pipeline, activity)?;
    let from = resumed(call).or(offset).unwrap_or(0);
    live::log(&call.app, project.of(standing.row.id.clone()), live::Tail { step, from, lag })
}

/// The last thing that who comes back has seen.
fn resumed(call: &Call) -> Option<u64> {
    call.headers.get("last-event-id")?.to_str().ok()?.parse().ok()
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
    let from = resumed(call).map(|last| last.saturating_add(1)).or(call.query.number("from")?).unwrap_or(0);
    live::events(&call.app, project.of(id), from)
}
