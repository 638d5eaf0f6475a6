//! `/projects/K/recipes/…`: what makes what.

use serde_json::{Value, json};

use crate::base::id::{NodeId, RecipeId};
use crate::pipeline::types::Pipeline;
use crate::server::error::ApiError;
use crate::server::project::Names;
use crate::server::reply::{Reply, json};
use crate::server::route::Call;

/// `GET /projects/K/recipes/`
pub(crate) fn list(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    let all: Vec<Value> = loaded.pipeline.recipes.ids().map(|id| recipe(&loaded.pipeline, id)).collect();
    json(&all)
}

/// `GET /projects/K/recipes/R`
pub(crate) fn get(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    let pipeline = &loaded.pipeline;
    let id = named(pipeline, call.name("recipe")?)?;
    let payload = pipeline.recipes[id].run.as_ref().map(|run| {
        let words: Vec<&str> = run.templates().iter().map(|template| template.text()).collect();
        words.join(" ")
    });
    json(&json!({ "recipe": recipe(pipeline, id), "payload": payload }))
}

/// `GET /projects/K/recipes/R/status`: with what it runs. What is wrong with a file is told when it is read.
pub(crate) fn status(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    let id = named(&loaded.pipeline, call.name("recipe")?)?;
    let runs = loaded.pipeline.recipes[id].run.is_some();
    let engine = json!({ "type": "LOCAL", "label": "Kiln", "isSelectable": runs });
    let mut status = json!({
        "allMessagesForFrontend": { "messages": [], "maxSeverity": "SUCCESS", "anyMessage": false },
        "engines": [engine],
    });
    if runs {
        status["selectedEngine"] = engine;
    }
    json(&status)
}

fn named(pipeline: &Pipeline, name: &str) -> Result<RecipeId, ApiError> {
    let none = || ApiError::none(format!("recipe `{name}` does not exist in project {}", pipeline.project));
    pipeline.recipe_named(name).ok_or_else(none)
}

fn recipe(pipeline: &Pipeline, id: RecipeId) -> Value {
    let recipe = &pipeline.recipes[id];
    let items = |nodes: &[NodeId]| -> Vec<Value> {
        nodes.iter().map(|node| json!({ "ref": pipeline.reference(*node), "deps": [] })).collect()
    };
    json!({
        "name": pipeline.recipe_name(id),
        "type": "shell",
        "projectKey": pipeline.project,
        "tags": recipe.tags,
        "description": recipe.description.as_deref().unwrap_or_default(),
        "inputs": { "main": { "items": items(&recipe.inputs) } },
        "outputs": { "main": { "items": items(&recipe.outputs) } },
        "params": {},
        "customMeta": { "kv": {} },
    })
}
