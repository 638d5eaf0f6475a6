//! `/projects/K/recipes/…`: what makes what.

use serde_json::{Value, json};

use crate::base::id::{NodeId, RecipeId};
use crate::pipeline::types::Pipeline;
use crate::server::error::ApiError;
use crate::server::project::Names;
use crate::server::reply::{Reply, json};
use crate::server::route::Call;

/// `GET /projects/K/recipes/`
pub(crate) async fn list(call: Call) -> Reply {
    let loaded = call.project()?.loaded();
    let all: Vec<Value> = loaded.pipeline.recipes.ids().map(|id| recipe(&loaded.pipeline, id)).collect();
    json(&all)
}

/// `GET /projects/K/recipes/R`
pub(crate) async fn get(call: Call) -> Reply {
    let loaded = call.project()?.loaded();
    let (pipeline, name) = (&loaded.pipeline, call.name("recipe")?);
    let id = pipeline
        .recipe_named(name)
        .ok_or_else(|| ApiError::none(format!("recipe `{name}` does not exist in project {}", pipeline.project)))?;
    let payload = pipeline.recipes[id].run.as_ref().map(|run| {
        let words: Vec<&str> = run.templates().iter().map(|template| template.text()).collect();
        words.join(" ")
    });
    json(&json!({ "recipe": recipe(pipeline, id), "payload": payload }))
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
