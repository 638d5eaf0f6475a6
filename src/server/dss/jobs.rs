//! `/projects/K/jobs/J/…`: watches and aborts a job.

use serde_json::json;

use crate::server::abort;
use crate::server::dss::state;
use crate::server::reply::{Reply, json};
use crate::server::route::Call;

/// `GET /projects/K/jobs/J/`
pub(crate) fn status(call: &Call) -> Reply {
    let project = call.project()?;
    let standing = project.standing(call.name("job")?)?;
    let wait = call.app.wait(&standing.row, call.who()?);
    json(&state::status(&standing, project, &project.loaded(), wait.as_ref()))
}

/// `POST /projects/K/jobs/J/abort`
pub(crate) fn abort(call: &Call) -> Reply {
    let said = abort::abort(call)?;
    json(&json!({ "msg": said }))
}
