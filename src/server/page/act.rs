//! What pages ask for: to start a job, to run one again, to end one. Whoever asked sees the job then.

use crate::base::job::BuildMode;
use crate::server::abort as ending;
use crate::server::ask::{self, Asked};
use crate::server::error::ApiError;
use crate::server::page::flow::targets;
use crate::server::page::job::has_options;
use crate::server::page::words;
use crate::server::query::Query;
use crate::server::reply::{Reply, see_other};
use crate::server::route::Call;
use crate::session::again::undone;

/// `POST /projects/K/jobs`
pub(super) fn start(call: &Call) -> Reply {
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    let targets = targets(&form);
    let word = form.get("mode").unwrap_or("smart");
    let mode = BuildMode::of_word(word)
        .ok_or_else(|| ApiError::wrong(format!("mode={word}: one of smart, only, forced, missing")))?;
    begin(call, Asked { targets, mode, engine: None, keep_going: false })
}

/// `POST /projects/K/jobs/J/again`
pub(super) fn again(call: &Call) -> Reply {
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    let failed_only = match form.get("what") {
        None | Some("all") => false,
        Some("failed") => true,
        Some(other) => return Err(ApiError::wrong(format!("what={other}: one of all, failed"))),
    };
    let (project, name) = (call.project()?, call.name("job")?);
    let standing = project.standing(name)?;
    if let Some(head) = &standing.view.head
        && has_options(&head.started.again)
    {
        let message =
            format!("job {name} had options of its own: say `{}`", crate::server::wording::again(&head.started));
        return Err(ApiError::conflict(message));
    }
    let then = BuildMode::of_word(&standing.row.mode).unwrap_or_default();
    let engine = Some(standing.row.engine.clone());
    let keep_going = standing.view.head.as_ref().is_some_and(|head| head.started.keep_going);
    if !failed_only || standing.view.is_untried() {
        return begin(call, Asked { targets: standing.row.targets, mode: then, engine, keep_going });
    }
    let (here, _) = undone(&project.loaded().pipeline, &standing.view);
    if here.is_empty() {
        return Err(ApiError::conflict(format!("job {name} left nothing undone that the file still has")));
    }
    begin(call, Asked { targets: here, mode: then.again(), engine, keep_going })
}

fn begin(call: &Call, asked: Asked) -> Reply {
    let project = call.project()?;
    let job = ask::start(call, project.fresh()?, asked)?;
    Ok(see_other(&words::job_page(&project.key(), job.as_str())))
}

/// `POST /projects/K/jobs/J/abort`
pub(super) fn abort(call: &Call) -> Reply {
    ending::abort(call)?;
    Ok(see_other(&words::job_page(&call.project()?.key(), call.name("job")?)))
}
