//! `/projects/K/datasets/…`: looks at datasets, and clears those that are built.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::id::NodeId;
use crate::base::job::JobId;
use crate::engine::local::clear::clear as remove;
use crate::engine::local::places::inside;
use crate::pipeline::types::{Kind, Pipeline, Rebuild};
use crate::plan::record::History;
use crate::server::auth::Right;
use crate::server::desk::Touch;
use crate::server::error::ApiError;
use crate::server::project::{Names, Project};
use crate::server::reply::{Reply, json};
use crate::server::route::Call;
use crate::session::load::Loaded;
use crate::session::locks::{Busy, Locks, lock_now};

/// `GET /projects/K/datasets/`
pub(crate) fn list(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    let foreign = call.query.flag("foreign")?.unwrap_or(false);
    let tags: Vec<&str> = call.query.all("tags").flat_map(|tags| tags.split(',')).collect();
    let pipeline = &loaded.pipeline;
    let own = |id: NodeId| pipeline.nodes[id].project.as_ref().is_none_or(|project| *project == pipeline.project);
    let tagged = |id: NodeId| tags.is_empty() || pipeline.nodes[id].tags.iter().any(|tag| tags.contains(&tag.as_str()));
    let wanted = pipeline.nodes.ids().filter(|id| pipeline.nodes[*id].kind == Kind::Dataset);
    let all: Vec<Value> =
        wanted.filter(|id| (foreign || own(*id)) && tagged(*id)).map(|id| definition(pipeline, id)).collect();
    json(&all)
}

/// The dataset that the path names.
fn named(call: &Call, pipeline: &Pipeline) -> Result<NodeId, ApiError> {
    super::folders::find(pipeline, Kind::Dataset, call.name("dataset")?)
}

/// `GET /projects/K/datasets/D`
pub(crate) fn get(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    json(&definition(&loaded.pipeline, named(call, &loaded.pipeline)?))
}

/// A node as DSS defines a dataset or a managed folder.
pub(super) fn definition(pipeline: &Pipeline, id: NodeId) -> Value {
    let node = &pipeline.nodes[id];
    let path = node.path.as_deref();
    let recipe = node.maker.map(|maker| &pipeline.recipes[maker]);
    let rebuild = match recipe.map(|recipe| recipe.rebuild) {
        Some(Rebuild::Explicit) => "EXPLICIT_REBUILD",
        Some(Rebuild::Never) => "WRITE_PROTECT",
        Some(Rebuild::Changed | Rebuild::Always | Rebuild::Age(_)) | None => "NORMAL",
    };
    json!({
        "projectKey": node.project.as_ref().unwrap_or(&pipeline.project),
        "id": pipeline.id_of(id),
        "name": if node.kind == Kind::Dataset { pipeline.id_of(id) } else { node.name.clone() },
        "type": if path.is_some() { "Filesystem" } else { "Custom" },
        "managed": node.maker.is_some(),
        "featureGroup": false,
        "tags": node.tags,
        "shortDesc": node.description.as_deref().unwrap_or_default().lines().next().unwrap_or_default(),
        "description": node.description.as_deref().unwrap_or_default(),
        "params": { "connection": "filesystem_root", "path": path.unwrap_or_default() },
        "formatParams": {},
        "partitioning": { "dimensions": [], "ignoreNonMatchingFile": false },
        "flowOptions": {
            "rebuildBehavior": rebuild,
            "crossProjectBuildBehavior": "DEFAULT",
            "virtualizable": false,
            "ignoreErrorStatusOnBuild": false,
        },
        "schema": { "columns": [], "userModified": false },
        "checklists": { "checklists": [] },
        "customMeta": { "kv": {} },
    })
}

/// `GET /projects/K/datasets/D/metadata`
pub(crate) fn metadata(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    let node = &loaded.pipeline.nodes[named(call, &loaded.pipeline)?];
    json(&json!({
        "label": node.name,
        "description": node.description.as_deref().unwrap_or_default(),
        "tags": node.tags,
        "checklists": { "checklists": [] },
        "custom": { "kv": {} },
    }))
}

/// `GET /projects/K/datasets/D/schema`: what columns there are is not known here.
pub(crate) fn schema(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    named(call, &loaded.pipeline)?;
    json(&json!({ "columns": [], "userModified": false }))
}

/// `GET /projects/K/datasets/D/partitions`
pub(crate) fn partitions(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    named(call, &loaded.pipeline)?;
    json(&json!(["NP"]))
}

/// `GET /projects/K/datasets/D/info`
pub(crate) fn info(call: &Call) -> Reply {
    let project = call.project()?;
    let loaded = project.loaded();
    let pipeline = &loaded.pipeline;
    let id = named(call, pipeline)?;
    let maker = pipeline.nodes[id].maker;
    let buildable = maker.is_some_and(|maker| pipeline.recipes[maker].run.is_some());
    let read = pipeline.recipes.values().any(|recipe| recipe.inputs.contains(&id));
    let recipes: Vec<Value> =
        maker.iter().map(|maker| json!({ "name": pipeline.recipe_name(*maker), "type": "shell" })).collect();
    let mut info = json!({
        "buildable": buildable,
        "upstreamBuildable": buildable,
        "downstreamBuildable": read,
        "partitioned": false,
        "recipes": recipes,
    });
    let step = maker.map(|maker| &pipeline.recipes[maker].name);
    let last = step.map(|step| project.archive.ask(None, |reader| reader.last_attempt(&pipeline.name, step)));
    if let Some(last) = last.transpose()?.flatten() {
        info["lastBuild"] = json!({
            "id": pipeline.id_of(id),
            "jobId": last.job,
            "buildStartTime": last.began.as_millisecond(),
            "buildEndTime": last.ended.as_millisecond(),
            "buildSuccess": last.good,
        });
    }
    json(&info)
}

/// So often, and so long each time, is waited for a job that has just ended to let go of its pipeline.
const MOMENTS: u32 = 100;
const MOMENT: Duration = Duration::from_millis(20);

/// The locks of a pipeline in which no job is at work.
fn lock_idle(project: &Project, loaded: &Loaded, writes: &[String]) -> Result<Locks, Busy> {
    let mut left = MOMENTS;
    loop {
        match lock_now(&loaded.pipeline.name, &project.archive.folder, &loaded.root, writes) {
            Err(Busy::Held(_)) if left > 0 && project.running().is_none() => std::thread::park_timeout(MOMENT),
            taken => return taken,
        }
        left -= 1;
    }
}

/// `DELETE /projects/K/datasets/D/data`: takes away what a recipe made, and moves aside what it did not. A source is not touched.
pub(crate) fn clear(call: &Call) -> Reply {
    let project = call.project()?;
    let loaded = project.loaded();
    let id = named(call, &loaded.pipeline)?;
    if let Some(partitions) = call.query.get("partitions").filter(|partitions| *partitions != "NP") {
        return Err(ApiError::wrong(format!("partitions={partitions}: this dataset is not partitioned")));
    }
    let (name, maker) = (loaded.pipeline.id_of(id), loaded.pipeline.nodes[id].maker);
    if maker.is_none() {
        return Err(ApiError::conflict(format!(
            "dataset `{name}` is a source: only what a recipe makes can be cleared"
        )));
    }
    let Some(path) = loaded.pipeline.nodes[id].path.clone() else {
        return Err(ApiError::conflict(format!("dataset `{name}` has no path: clear it where it lies")));
    };
    let busy = |busy: Busy| {
        let running = project.running().map_or(String::new(), |job| format!("; wait for job {job}"));
        ApiError::conflict(format!("{}{running}", busy.fail().plain()))
    };
    let writes = vec![path.clone()];
    let lock = lock_idle(project, &loaded, &writes).map_err(busy)?;
    lock.serve(writes).map_err(busy)?;
    let who = JobId::new(&format!("{}_cleared", loaded.pipeline.name), &stamp(crate::clock::now()));
    let full = loaded.root.join(&path);
    let touch = Touch { makes: [full.to_string_lossy().into()].into(), ..Touch::default() };
    let in_use = |other| ApiError::conflict(format!("dataset `{name}` is not cleared: {}", has_it(call, other)));
    let _hold = call.app.jobs.hold(who.clone(), project.number, touch)?.map_err(in_use)?;
    if !full.parent().is_none_or(|folder| !folder.exists() || inside(&loaded.root, folder).unwrap_or(false)) {
        let message = format!("dataset `{name}` is not cleared: the folder of {path} leads out of the root");
        return Err(ApiError::conflict(message));
    }
    let history = project.archive.ask(None, |reader| reader.history(&loaded.pipeline.name, Some(&[])).map(Some))?;
    let is_built = |digest| history.is_some_and(|history| history.maker(&path, digest).is_some());
    // One that fails halfway has taken something away.
    call.note("clear", &JobId::from_text(""), &name);
    let kept =
        remove(&loaded.root, &who, &path, is_built).map_err(|error| ApiError::broken(format!("{name}: {error}")))?;
    let kept = kept.map_or(String::new(), |kept| format!("; what Kiln had not built there is kept in {kept}"));
    json(&json!({ "msg": format!("dataset {name} is cleared{kept}") }))
}

/// Which job has something, as far as someone may know that.
fn has_it(call: &Call, (job, of): (JobId, Option<usize>)) -> String {
    let of = call.app.projects.iter().find(|project| Some(project.number) == of);
    let is_seen = of.zip(call.who().ok()).is_some_and(|(project, who)| who.may(Right::View, &project.key()));
    if is_seen {
        format!("job {job} makes or reads it; wait for that")
    } else {
        "another job makes or reads it".to_owned()
    }
}

/// A time as it stands in the ids of runs.
fn stamp(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H-%M-%S.%3f").to_string()
}
