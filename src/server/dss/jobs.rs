//! `/projects/K/jobs/J/…`: watches and aborts a job.

use std::sync::Arc;

use rustix::process::Signal;
use serde_json::json;

use crate::base::job::JobId;
use crate::server::archive::Standing;
use crate::server::dss::state;
use crate::server::error::ApiError;
use crate::server::project::Project;
use crate::server::reply::{Reply, json};
use crate::server::route::Call;

use crate::store::claim::Claim;
use crate::store::lock::host;

/// The job that the path names.
pub(super) fn standing(project: &Project, job: &str) -> Result<Standing, ApiError> {
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
    super::blocking(move || abort_elsewhere(&project, id.as_str())).await
}

/// Asks a run of another process to end.
fn abort_elsewhere(project: &Project, job: &str) -> Reply {
    let row = standing(project, job)?.row;
    if row.state.is_over() {
        return json(&json!({ "msg": format!("job {} is {} already", row.id, row.state) }));
    }
    let claim = Claim::of(&project.archive.folder, &row.pipeline).filter(|claim| claim.host == host());
    match claim.map(|claim| claim.process.signal(Signal::TERM)) {
        Some(Ok(true)) => json(&json!({ "msg": format!("job {} is asked to end", row.id) })),
        _ => {
            let message = format!("job {} is no run of this machine, started by {}: end it there", row.id, row.by);
            Err(ApiError::conflict(message))
        }
    }
}
