//! `/projects/…`: the projects themselves.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::auth::Right;
use crate::server::error::ApiError;
use crate::server::project::Project;
use crate::server::reply::{Reply, json};
use crate::server::route::Call;

/// `GET /projects/`: those that the key may look at.
pub(crate) fn list(call: &Call) -> Reply {
    let who = call.who()?;
    let mine = call.app.projects.iter().filter(|project| who.may(Right::View, &project.key()));
    let all: Vec<Value> = mine.map(|project| summary(project)).collect();
    let tags: Vec<&str> = call.query.all("tags").collect();
    // Projects have no tags here: whoever asks for some gets none.
    json(&if tags.is_empty() { all } else { Vec::new() })
}

/// `GET /projects/K`
pub(crate) fn get(call: &Call) -> Reply {
    json(&summary(call.project()?))
}

fn summary(project: &Project) -> Value {
    let loaded = project.loaded();
    let pipeline = &loaded.pipeline;
    json!({
        "projectKey": pipeline.project,
        "name": pipeline.name,
        "projectType": "REGULAR",
        "projectStatus": "Kiln",
        "ownerLogin": "kiln",
        "shortDesc": pipeline.description.as_deref().unwrap_or_default().lines().next().unwrap_or_default(),
        "description": pipeline.description.as_deref().unwrap_or_default(),
        "tags": [],
        "contributors": [],
        "file": loaded.source.name,
    })
}

/// `GET /projects/K/metadata`
pub(crate) fn metadata(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    json(&json!({
        "label": loaded.pipeline.name,
        "description": loaded.pipeline.description.as_deref().unwrap_or_default(),
        "tags": [],
        "checklists": { "checklists": [] },
        "custom": { "kv": {} },
    }))
}

/// `GET /projects/K/variables`: those of the file, as they are written there.
pub(crate) fn variables(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    let file: Vars = toml::from_str(&loaded.source.text).map_err(|error| ApiError::broken(error.to_string()))?;
    json(&json!({ "standard": file.vars, "local": {} }))
}

/// What of a file a pipeline has as text only.
#[derive(Deserialize)]
struct Vars {
    #[serde(default)]
    vars: BTreeMap<String, Value>,
}

/// `PUT /projects/K/variables`: they stand in the file, and nowhere else.
pub(crate) fn set_variables(call: &Call) -> Reply {
    let file = call.project()?.loaded().source.name.clone();
    let message = format!(
        "variables cannot be set here, they are those of {file}: change its [vars]; a change counts for the next job"
    );
    Err(ApiError::method(message))
}
