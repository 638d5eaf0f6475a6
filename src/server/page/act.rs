//! What pages ask for: to start a job, to run one again, to end one. Whoever asked sees the job then.

use std::sync::Arc;

use crate::base::job::BuildMode;
use crate::server::ask::{self, Asked};
use crate::server::error::ApiError;
use crate::server::page::flow::targets;
use crate::server::page::job::has_options;
use crate::server::page::words;
use crate::server::query::Query;
use crate::server::reply::{Reply, see_other};
use crate::server::route::Call;
use crate::server::{abort as ending, blocking};
use crate::session::again::undone;
use crate::store::read::RunRow;

/// `POST /projects/K/jobs`
pub(super) async fn start(call: Call) -> Reply {
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    let targets = targets(&form);
    let word = form.get("mode").unwrap_or("smart");
    let mode = BuildMode::of_word(word)
        .ok_or_else(|| ApiError::wrong(format!("mode={word}: one of smart, only, forced, missing")))?;
    begin(call, Asked { targets, mode, engine: None }).await
}

/// `POST /projects/K/jobs/J/again`
pub(super) async fn again(call: Call) -> Reply {
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    let failed_only = match form.get("what") {
        None | Some("all") => false,
        Some("failed") => true,
        Some(other) => return Err(ApiError::wrong(format!("what={other}: one of all, failed"))),
    };
    let (project, name) = (Arc::clone(call.project()?), call.name("job")?.to_owned());
    let asked = blocking(move || {
        let standing = project.standing(&name)?;
        let loaded = project.loaded();
        if let Some(head) = &standing.view.head
            && has_options(&head.started.again)
        {
            let message =
                format!("job {name} had options of its own: say `{}`", crate::server::wording::again(&head.started));
            return Err(ApiError::conflict(message));
        }
        let then = BuildMode::of_word(&standing.row.mode).unwrap_or(BuildMode::Smart);
        if !failed_only {
            return Ok(Asked { targets: standing.row.targets.clone(), mode: then, engine: engine(&standing.row) });
        }
        let view = crate::report::job::settled(&standing.view, standing.row.state);
        let (here, _) = undone(&loaded.pipeline, &view);
        if here.is_empty() {
            return Err(ApiError::conflict(format!("job {name} left nothing undone that the file still has")));
        }
        Ok(Asked { targets: here, mode: then.again(), engine: engine(&standing.row) })
    })
    .await?;
    begin(call, asked).await
}

fn engine(row: &RunRow) -> Option<String> {
    Some(row.engine.clone())
}

async fn begin(call: Call, asked: Asked) -> Reply {
    let (app, project, by) = (Arc::clone(&call.app), Arc::clone(call.project()?), call.who()?.initiator());
    let about = format!("{} {}", asked.mode, asked.targets.join(" "));
    let order = blocking(move || {
        let loaded = project.fresh()?;
        ask::order(&app, &project, loaded, asked, by)
    });
    let order = order.await?;
    let job = call.app.jobs.start(order).await?;
    call.note("start", &job, &about);
    Ok(see_other(&words::job_page(&call.project()?.key(), job.as_str())))
}

/// `POST /projects/K/jobs/J/abort`
pub(super) async fn abort(call: Call) -> Reply {
    ending::abort(&call).await?;
    Ok(see_other(&words::job_page(&call.project()?.key(), call.name("job")?)))
}
