//! `POST /projects/K/jobs/`: understands what is asked for, and starts it.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};

use crate::base::id::NodeId;
use crate::pipeline::dss_wire::{NO_PARTITION, StartJob, Target, build, thing_type};
use crate::pipeline::types::Pipeline;
use crate::server::ask::{self, Asked};
use crate::server::dss::state;
use crate::server::error::ApiError;
use crate::server::project::Names;
use crate::server::reply::{Reply, json};
use crate::server::route::Call;

/// `POST /projects/K/jobs/`
pub(crate) fn start(call: &Call) -> Reply {
    let asked = understood(&call.body)?;
    let kind = asked.kind.as_deref().unwrap_or(build::ONLY);
    let mode = state::mode_of(kind)
        .ok_or_else(|| ApiError::wrong(format!("type `{kind}`: one of {}", build::ALL.join(", "))))?;
    let project = call.project()?;
    let loaded = project.fresh()?;
    let targets = targets(&loaded.pipeline, &asked)?;
    let job = ask::start(call, loaded, Asked { targets, mode, engine: None, keep_going: false })?;
    let loaded = project.loaded();
    let standing = project.archive.run(&loaded.pipeline.name, &job)?;
    let standing = standing.ok_or_else(|| ApiError::broken("the job was kept, and is not there"))?;
    json(&state::def(&standing.row, &state::Shown::new(&loaded)))
}

/// The body as a request. Answers of DSS are read leniently; here, what does not fit is refused, as its absence would mean
/// something else: another build type, another output.
fn understood(body: &[u8]) -> Result<StartJob, ApiError> {
    // Some editors put a mark before the text.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let asked: Value =
        serde_json::from_slice(body).map_err(|error| ApiError::wrong(format!("the body is no JSON: {error}")))?;
    let Some(fields) = asked.as_object() else { return Err(ApiError::wrong("the body is no JSON object")) };
    text(fields, "", "type", &format!("one of {}", build::ALL.join(", ")))?;
    match fields.get("outputs") {
        None | Some(Value::Null) => {}
        Some(Value::Array(outputs)) => {
            for (i, output) in outputs.iter().enumerate() {
                check(&format!("outputs[{i}]"), output)?;
            }
        }
        Some(other) => return Err(unfit("outputs", other, "list", "one of objects with `id`")),
    }
    serde_json::from_value(asked).map_err(|error| ApiError::wrong(error.to_string()))
}

/// Refuses an output with a field that does not fit.
fn check(place: &str, output: &Value) -> Result<(), ApiError> {
    let Some(fields) = output.as_object() else {
        let message = format!("`{place}`: {} is no object; an output is an object with `id`", shown(output));
        return Err(ApiError::wrong(message));
    };
    let place = format!("{place}.");
    text(fields, &place, "type", "DATASET, MANAGED_FOLDER, SAVED_MODEL or TASK")?;
    text(fields, &place, "id", "the name of a dataset, or the id of something else")?;
    text(fields, &place, "projectKey", "the key of the project")?;
    for echo in ["targetDataset", "targetDatasetProjectKey", "targetManagedFolder", "targetManagedFolderProjectKey"] {
        text(fields, &place, echo, "what DSS calls it")?;
    }
    text(fields, &place, "savedModelId", "the id of the model")?;
    for partition in ["partition", "targetPartition"] {
        let list = fields.get(partition).and_then(Value::as_array);
        // Some clients send a list, even for what is not partitioned.
        if !list.is_some_and(|list| list.iter().all(Value::is_string)) {
            text(fields, &place, partition, &format!("{NO_PARTITION}, or leave it out"))?;
        }
    }
    Ok(())
}

/// Refuses a field that is there and no text.
fn text(fields: &Map<String, Value>, place: &str, name: &str, give: &str) -> Result<(), ApiError> {
    match fields.get(name) {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(other) => Err(unfit(&format!("{place}{name}"), other, "text", give)),
    }
}

fn unfit(place: &str, value: &Value, kind: &str, give: &str) -> ApiError {
    ApiError::wrong(format!("`{place}`: {} is no {kind}; give {give}", shown(value)))
}

/// A value as far as it fits into a message.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    let cut: String = text.chars().take(60).collect();
    if cut.len() < text.len() { cut + "…" } else { cut }
}

/// The nodes of a pipeline as requests name them.
struct Nodes<'a> {
    /// By type, project, and id or name; where that fits two, an id counts.
    all: HashMap<(&'a str, &'a str, &'a str), NodeId>,
    /// The projects of those that are of another one.
    projects: HashSet<&'a str>,
}

impl<'a> Nodes<'a> {
    fn of(pipeline: &'a Pipeline) -> Self {
        let mut all = HashMap::new();
        let by_id = pipeline.nodes.iter().map(|(id, node)| (id, node, node.id.as_ref().unwrap_or(&node.name)));
        for (id, node, name) in by_id.chain(pipeline.nodes.iter().map(|(id, node)| (id, node, &node.name))) {
            let project = node.project.as_ref().unwrap_or(&pipeline.project);
            all.entry((thing_type(node.kind), project.as_str(), name.as_str())).or_insert(id);
        }
        Self { all, projects: pipeline.nodes.values().filter_map(|node| node.project.as_deref()).collect() }
    }

    /// What an output of a request names.
    fn find(&self, target: &Target) -> Option<NodeId> {
        let own = (target.project.as_str(), target.id.as_str());
        let other = target.id.split_once('.').filter(|(project, _)| self.projects.contains(project));
        let (project, name) = other.unwrap_or(own);
        self.all.get(&(target.kind.as_str(), project, name)).copied()
    }
}

/// The names of what is to be built.
fn targets(pipeline: &Pipeline, asked: &StartJob) -> Result<Vec<String>, ApiError> {
    let nodes = Nodes::of(pipeline);
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
        let name = match nodes.find(&target) {
            Some(node) => pipeline.nodes[node].name.clone(),
            // Who builds all that has no successor in the flow names tasks too, and knows no type for them.
            None if target.kind == "TASK" || (output.kind.is_none() && task(pipeline, &target.id).is_ok()) => {
                task(pipeline, &target.id)?
            }
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
    let task =
        pipeline.recipe(name).map(|id| &pipeline.recipes[id]).filter(|recipe| recipe.task && recipe.name == name);
    task.map(|recipe| recipe.name.clone()).ok_or_else(|| ApiError::none(format!("task `{name}` does not exist")))
}

fn unknown(pipeline: &Pipeline, target: &Target) -> ApiError {
    let (key, known) = (&target.project, pipeline.nodes.values().filter_map(|node| node.project.as_deref()));
    if *key != pipeline.project && !known.into_iter().any(|known| known == key) {
        let own = &pipeline.project;
        let message =
            format!("`{}`: project {key} is not part of project {own}: ask for it at /projects/{key}/jobs/", target.id);
        return ApiError::none(message);
    }
    let same = pipeline.nodes.iter().find(|(id, node)| pipeline.id_of(*id) == target.id || node.name == target.id);
    let word = match target.kind.as_str() {
        "DATASET" => "dataset",
        "MANAGED_FOLDER" => "managed folder",
        "SAVED_MODEL" => "saved model",
        other => other,
    };
    let help = match same {
        Some((_, node)) => {
            format!("; there is a node of that name, of type {}", thing_type(node.kind))
        }
        None => {
            let names = pipeline.nodes.ids().map(|id: NodeId| pipeline.id_of(id)).collect::<Vec<_>>();
            let near = crate::base::text::did_you_mean(&target.id, names.iter().map(String::as_str));
            near.map(|near| format!("; {near}")).unwrap_or_default()
        }
    };
    ApiError::none(format!("{word} `{}` does not exist in project {}{help}", target.id, target.project))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::load::{Given, load};

    #[test]
    fn of_two_that_a_request_may_mean_the_one_with_the_id_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.toml");
        let text = "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = \"a\"\n[dataset.x]\nid = \"y\"\npath = \"x\"\n[dataset.b]\nid = \"x\"\npath = \"b\"\n\
            [folder.f]\nid = \"X1\"\npath = \"f\"\n[dataset.c]\nproject = \"CRM\"\npath = \"c\"\n";
        std::fs::write(&file, text).unwrap();
        let loaded = load(&file, &Given::default()).unwrap();
        let nodes = Nodes::of(&loaded.pipeline);
        let find = |kind: &str, id: &str| {
            let body = serde_json::json!({ "outputs": [{ "type": kind, "id": id }] });
            let asked = understood(body.to_string().as_bytes()).unwrap();
            nodes.find(&asked.outputs[0].target("P")).map(|node| loaded.pipeline.nodes[node].name.clone())
        };
        let found = [
            ("DATASET", "a"),
            ("DATASET", "x"),
            ("DATASET", "y"),
            ("DATASET", "b"),
            ("MANAGED_FOLDER", "X1"),
            ("MANAGED_FOLDER", "f"),
            ("DATASET", "CRM.c"),
        ];
        assert_eq!(found.map(|(kind, id)| find(kind, id).unwrap()), ["a", "b", "x", "b", "f", "f", "c"]);
        for (kind, id) in [("DATASET", "f"), ("DATASET", "c"), ("DATASET", "P.a"), ("SAVED_MODEL", "a")] {
            assert_eq!(find(kind, id), None, "{kind} {id}");
        }
    }

    #[test]
    fn what_is_of_another_type_is_refused_by_name() {
        for (body, part) in [
            (r#"[]"#, "the body is no JSON object"),
            (
                r#"{"type": 5, "outputs": [{"id": "a"}]}"#,
                "`type`: 5 is no text; give one of NON_RECURSIVE_FORCED_BUILD, ",
            ),
            (r#"{"type": ["X"], "outputs": [{"id": "a"}]}"#, "`type`: [\"X\"] is no text; give one of "),
            (r#"{"type": false}"#, "`type`: false is no text"),
            (r#"{"outputs": "a"}"#, "`outputs`: \"a\" is no list; give one of objects with `id`"),
            (r#"{"outputs": {"id": "a"}}"#, "`outputs`: {\"id\":\"a\"} is no list"),
            (r#"{"outputs": ["a"]}"#, "`outputs[0]`: \"a\" is no object; an output is an object with `id`"),
            (r#"{"outputs": [{"id": "a"}, null]}"#, "`outputs[1]`: null is no object"),
            (r#"{"outputs": [7]}"#, "`outputs[0]`: 7 is no object"),
            (r#"{"outputs": [{"id": 5}]}"#, "`outputs[0].id`: 5 is no text"),
            (r#"{"outputs": [{"id": "a", "type": 5}]}"#, "`outputs[0].type`: 5 is no text"),
            (r#"{"outputs": [{"id": "a", "projectKey": 5}]}"#, "`outputs[0].projectKey`: 5 is no text"),
            (r#"{"outputs": [{"id": "a", "partition": 5}]}"#, "`outputs[0].partition`: 5 is no text"),
            (r#"{"outputs": [{"id": "a", "partition": [5]}]}"#, "`outputs[0].partition`: [5] is no text"),
            (r#"{"outputs": [{"targetDataset": {}}]}"#, "`outputs[0].targetDataset`: {} is no text"),
        ] {
            let error = understood(body.as_bytes()).err().unwrap_or_else(|| panic!("{body} is taken"));
            assert!(error.message().starts_with(part), "{body}: {}", error.message());
        }
        let long = format!(r#"{{"outputs": ["{}"]}}"#, "é".repeat(5_000));
        assert!(understood(long.as_bytes()).unwrap_err().message().len() < 300);
    }

    #[test]
    fn what_is_absent_null_or_unknown_is_let_be() {
        for body in [
            r#"{"outputs": [{"id": "a"}]}"#,
            r#"{"type": null, "outputs": [{"id": "a", "type": null, "projectKey": null, "partition": null}]}"#,
            r#"{"new": 5, "outputs": [{"id": "a", "new": [], "partition": "NP"}], "refreshHiveMetastore": true}"#,
            r#"{"outputs": [{"id": "a", "partition": ["NP"]}]}"#,
        ] {
            let asked = understood(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {}", error.message()));
            assert_eq!((asked.kind, asked.outputs.len()), (None, 1), "{body}");
            assert_eq!(asked.outputs[0].target("P").id, "a", "{body}");
        }
        for body in ["{}", r#"{"outputs": null}"#] {
            assert!(understood(body.as_bytes()).is_ok_and(|asked| asked.outputs.is_empty()), "{body}");
        }
    }
}
