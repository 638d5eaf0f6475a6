//! `/projects/K/jobs/J/…`: watches and aborts a job.

use std::sync::Arc;

use serde_json::json;

use crate::server::dss::state;
use crate::server::reply::{Reply, json};
use crate::server::route::Call;
use crate::server::{abort, blocking};

/// `GET /projects/K/jobs/J/`
pub(crate) async fn status(call: Call) -> Reply {
    let (app, project, job) = (Arc::clone(&call.app), Arc::clone(call.project()?), call.name("job")?.to_owned());
    blocking(move || {
        let standing = project.standing(&job)?;
        let wait = app.jobs.wait(&standing.row);
        json(&state::status(&standing, &project, &project.loaded(), wait.as_ref()))
    })
    .await
}

/// `POST /projects/K/jobs/J/abort`
pub(crate) async fn abort(call: Call) -> Reply {
    let said = abort::abort(&call).await?;
    json(&json!({ "msg": said }))
}
