//! Asks a job to end: one of the server's own, or a run of another process of this machine. Hears, too, which of its own are
//! wished to end by `kiln jobs abort`.

use std::net::IpAddr;

use rustix::process::Signal;

use crate::cause::{Cause, Way};
use crate::server::error::ApiError;
use crate::server::project::Project;
use crate::server::route::Call;
use crate::server::{App, audit};
use crate::store::asked;
use crate::store::claim::Claim;
use crate::store::lock::host;
use crate::store::read::RunRow;
use crate::store::wish;

/// Why a job was ended that somebody asked the server to end: who, the server's record of what was asked says.
const OVER_HTTP: Cause = Cause::Asked { by: None, with: Way::Http };

/// Why a job was ended that somebody asked to end who may write the state's folder.
const WITH_ABORT: Cause = Cause::Asked { by: None, with: Way::JobsAbort };

/// Asks the job that the path names to end. Returns what was done, in words. May block.
pub(crate) fn abort(call: &Call) -> Result<String, ApiError> {
    let project = call.project()?;
    let row = project.standing(call.name("job")?)?.row;
    if row.state.is_over() {
        return Ok(format!("job {} is {} already", row.id, row.state));
    }
    if !call.app.jobs.abort(&row.id, OVER_HTTP) {
        let row = project.standing(row.id.as_str())?.row;
        if row.state.is_over() {
            return Ok(format!("job {} is {} already", row.id, row.state));
        }
        elsewhere(project, &row)?;
    }
    // One that is refused has ended nothing.
    call.note("abort", &row.id, "");
    Ok(format!("job {} is asked to end", row.id))
}

/// Ends the jobs that someone wishes to end who may write the state's folder. May block.
pub(crate) fn hear(app: &App) {
    for archive in &app.archives {
        for job in wish::wishes(&archive.folder) {
            if wish::forget(&archive.folder, &job) && app.jobs.abort(&job, WITH_ABORT) {
                let line = audit::Line {
                    at: crate::clock::now().to_string(),
                    key: "kiln jobs abort",
                    from: IpAddr::from([127, 0, 0, 1]),
                    what: "abort",
                    project: "",
                    job: job.as_str(),
                    about: "",
                };
                audit::note(&archive.folder, &line);
            }
        }
    }
}

/// Asks a run of another process to end.
fn elsewhere(project: &Project, row: &RunRow) -> Result<(), ApiError> {
    let claim = Claim::of(&project.archive.folder, &row.pipeline);
    let claim = claim.filter(|claim| claim.host == host() && !claim.serves);
    let word = |to| asked::leave(&project.archive.folder, &row.pipeline, to, OVER_HTTP);
    if let Some(Err(error)) = claim.as_ref().map(|claim| word(&claim.process)) {
        tracing::debug!(%error, "the run does not know who ends it");
    }
    match claim.map(|claim| claim.process.signal(Signal::TERM)) {
        Some(Ok(true)) => Ok(()),
        _ => {
            let message = format!("job {} is no run of this machine, started by {}: end it there", row.id, row.by);
            Err(ApiError::conflict(message))
        }
    }
}
