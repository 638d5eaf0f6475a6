//! `/projects/K/flow/…`: what is made from what.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use crate::pipeline::types::{Kind, Pipeline};
use crate::server::error::ApiError;
use crate::server::project::Names;
use crate::server::reply::{Reply, json};
use crate::server::route::Call;

/// `GET /projects/K/flow/graph/`
pub(crate) fn graph(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    let nodes = nodes(&loaded.pipeline);
    let of = |kind: &str| -> Vec<&String> {
        nodes.iter().filter(|(_, node)| node["type"] == kind).map(|(key, _)| key).collect()
    };
    json(&json!({
        "datasets": of("COMPUTABLE_DATASET"),
        "folders": of("COMPUTABLE_FOLDER"),
        "recipes": of("RUNNABLE_RECIPE"),
        "nodes": nodes,
    }))
}

/// Data and recipes by their keys. Clients look datasets and recipes up by their bare names, so these are the keys.
fn nodes(pipeline: &Pipeline) -> Map<String, Value> {
    let mut made: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut read: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let index = |id: crate::base::id::NodeId| crate::base::id::Id::index(id);
    let mut nodes = Map::new();
    for (id, recipe) in pipeline.recipes.iter() {
        let name = pipeline.recipe_name(id);
        for input in &recipe.inputs {
            let readers = read.entry(index(*input)).or_default();
            // One that reads it twice comes twice in a row.
            if readers.last() != Some(&name) {
                readers.push(name.clone());
            }
        }
        for output in &recipe.outputs {
            made.entry(index(*output)).or_default().push(name.clone());
        }
        let mut seen = HashSet::new();
        let inputs = recipe.inputs.iter().filter(|input| seen.insert(**input));
        let inputs: Vec<_> = inputs.map(|node| pipeline.reference(*node)).collect();
        let outputs: Vec<_> = recipe.outputs.iter().map(|node| pipeline.reference(*node)).collect();
        let node = node("RUNNABLE_RECIPE", "shell", &name, &name, &inputs, &outputs);
        nodes.insert(name, node);
    }
    for (id, thing) in pipeline.nodes.iter() {
        let (kind, sub) = match thing.kind {
            Kind::Dataset => ("COMPUTABLE_DATASET", "Filesystem"),
            Kind::Folder => ("COMPUTABLE_FOLDER", "Filesystem"),
            Kind::Model => ("COMPUTABLE_SAVED_MODEL", "PREDICTION"),
        };
        let key = pipeline.reference(id);
        let (made, read) = (made.remove(&index(id)).unwrap_or_default(), read.remove(&index(id)).unwrap_or_default());
        let node = node(kind, sub, &key, &thing.name, &made, &read);
        nodes.insert(key, node);
    }
    nodes
}

fn node(kind: &str, sub: &str, key: &str, name: &str, before: &[String], behind: &[String]) -> Value {
    json!({
        "type": kind,
        "subType": sub,
        "ref": key,
        "name": name,
        "predecessors": before,
        "successors": behind,
    })
}

/// The one zone that every project has; what is in no other one is in it.
fn default_zone() -> Value {
    json!({ "id": "default", "name": "Default", "color": "#2ab1ac", "items": [], "shared": [] })
}

/// `GET /projects/K/flow/zones`
pub(crate) fn zones(_: &Call) -> Reply {
    json(&json!([default_zone()]))
}

/// `GET /projects/K/flow/zones/Z`
pub(crate) fn zone(call: &Call) -> Reply {
    known(call.name("zone")?)?;
    json(&default_zone())
}

/// `GET /projects/K/flow/zones/Z/graph`: all there is.
pub(crate) fn zone_graph(call: &Call) -> Reply {
    known(call.name("zone")?)?;
    graph(call)
}

fn known(zone: &str) -> Result<(), ApiError> {
    if zone == "default" {
        return Ok(());
    }
    Err(ApiError::none(format!("zone `{zone}` does not exist: all of a flow is in the zone `default` here")))
}
