//! `POST /projects/K/jobs/`: understands what is asked for, and starts it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Value;

use crate::base::id::NodeId;
use crate::pipeline::dss_wire::{NO_PARTITION, StartJob, Target, build};
use crate::pipeline::types::Pipeline;
use crate::server::ask::{self, Asked};
use crate::server::dss::state;
use crate::server::error::ApiError;
use crate::server::jobs::Order;
use crate::server::project::{Names, Project, kind as kind_of};
use crate::server::reply::{Reply, json};
use crate::server::route::Call;
use crate::server::{App, blocking};

/// `POST /projects/K/jobs/`
pub(crate) async fn start(call: Call) -> Reply {
    let project = Arc::clone(call.project()?);
    let (app, by) = (Arc::clone(&call.app), call.who()?.initiator());
    let body = call.body.clone();
    let order = blocking(move || order(&app, &project, &body, by)).await?;
    let targets = order.queued.targets.clone();
    let mode = order.queued.mode;
    let job = call.app.jobs.start(order).await?;
    call.note("start", &job, &format!("{mode} {}", targets.join(" ")));
    let project = Arc::clone(call.project()?);
    blocking(move || {
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
    ask::order(app, project, loaded, Asked { targets, mode, engine: None }, by)
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

fn unknown(pipeline: &Pipeline, target: &Target) -> ApiError {
    let same = pipeline.nodes.iter().find(|(id, node)| pipeline.id_of(*id) == target.id || node.name == target.id);
    let word = match target.kind.as_str() {
        "DATASET" => "dataset",
        "MANAGED_FOLDER" => "managed folder",
        "SAVED_MODEL" => "saved model",
        other => other,
    };
    let help = match same {
        Some((_, node)) => {
            format!("; there is a node of that name, of type {}", kind_of(node.kind))
        }
        None => {
            let names = pipeline.nodes.ids().map(|id: NodeId| pipeline.id_of(id)).collect::<Vec<_>>();
            let near = crate::base::text::did_you_mean(&target.id, names.iter().map(String::as_str));
            near.map(|near| format!("; {near}")).unwrap_or_default()
        }
    };
    ApiError::none(format!("{word} `{}` does not exist in project {}{help}", target.id, target.project))
}
