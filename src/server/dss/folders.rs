//! `/projects/K/managedfolders/…` and `/projects/K/savedmodels/…`: looks at folders, at their files, and at models.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use axum::http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::base::id::NodeId;
use crate::base::text::did_you_mean;
use crate::pipeline::types::{Kind, Pipeline};
use crate::server::blocking;
use crate::server::dss::datasets::definition;
use crate::server::error::ApiError;
use crate::server::logs::{self, Piece};
use crate::server::project::Names;
use crate::server::reply::{self, Reply, json};
use crate::server::route::Call;
use crate::session::load::Loaded;

/// So many files of a folder are listed.
const MOST: usize = 100_000;

/// The node of a kind by its id, else by its name.
pub(super) fn find(pipeline: &Pipeline, kind: Kind, name: &str) -> Result<NodeId, ApiError> {
    let all: Vec<NodeId> = pipeline.nodes.ids().filter(|id| pipeline.nodes[*id].kind == kind).collect();
    let by_id = all.iter().find(|id| pipeline.id_of(**id) == name || pipeline.reference(**id) == name);
    let found = by_id.or_else(|| all.iter().find(|id| pipeline.nodes[**id].name == name)).copied();
    found.ok_or_else(|| {
        let word = match kind {
            Kind::Dataset => "dataset",
            Kind::Folder => "managed folder",
            Kind::Model => "saved model",
        };
        let names: Vec<String> = all.iter().map(|id| pipeline.id_of(*id)).collect();
        let near = did_you_mean(name, names.iter().map(String::as_str)).map(|near| format!("; {near}"));
        ApiError::none(format!(
            "{word} `{name}` does not exist in project {}{}",
            pipeline.project,
            near.unwrap_or_default()
        ))
    })
}

fn all(pipeline: &Pipeline, kind: Kind) -> Vec<Value> {
    let ids = pipeline.nodes.ids().filter(|id| pipeline.nodes[*id].kind == kind);
    ids.map(|id| definition(pipeline, id)).collect()
}

/// `GET /projects/K/managedfolders/`
pub(crate) async fn list(call: Call) -> Reply {
    json(&all(&call.project()?.loaded().pipeline, Kind::Folder))
}

/// `GET /projects/K/managedfolders/F`
pub(crate) async fn get(call: Call) -> Reply {
    let loaded = call.project()?.loaded();
    json(&definition(&loaded.pipeline, find(&loaded.pipeline, Kind::Folder, call.name("folder")?)?))
}

/// `GET /projects/K/savedmodels/`
pub(crate) async fn models(call: Call) -> Reply {
    json(&all(&call.project()?.loaded().pipeline, Kind::Model))
}

/// `GET /projects/K/savedmodels/M`
pub(crate) async fn model(call: Call) -> Reply {
    let loaded = call.project()?.loaded();
    json(&definition(&loaded.pipeline, find(&loaded.pipeline, Kind::Model, call.name("model")?)?))
}

/// Where the folder of the path lies.
fn place(call: &Call, loaded: &Loaded) -> Result<PathBuf, ApiError> {
    let id = find(&loaded.pipeline, Kind::Folder, call.name("folder")?)?;
    let path = loaded.pipeline.nodes[id].path.as_ref();
    path.map(|path| loaded.root.join(path)).ok_or_else(|| ApiError::none("this folder has no path here"))
}

/// `GET /projects/K/managedfolders/F/contents`
pub(crate) async fn contents(call: Call) -> Reply {
    let folder = place(&call, &call.project()?.loaded())?;
    blocking(move || {
        let mut items = Vec::new();
        match walk(&folder, &folder, &mut items) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(ApiError::broken(error.to_string())),
            _ => {}
        }
        items.sort_by(|a, b| a["path"].as_str().cmp(&b["path"].as_str()));
        json(&json!({ "items": items }))
    })
    .await
}

/// Lists the files of a folder. Links are not followed.
fn walk(root: &Path, folder: &Path, items: &mut Vec<Value>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata()?);
        if metadata.is_dir() {
            walk(root, &path, items)?;
        } else if metadata.is_file() && items.len() < MOST {
            let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            items.push(json!({
                "path": format!("/{name}"),
                "size": metadata.len(),
                "lastModified": u64::try_from(modified.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
            }));
        }
    }
    Ok(())
}

/// `GET /projects/K/managedfolders/F/contents/PATH`
pub(crate) async fn file(call: Call) -> Reply {
    let folder = place(&call, &call.project()?.loaded())?;
    let path = call.name("path")?.to_owned();
    let (full, length) = blocking(move || inside(&folder, &path)).await?;
    let mut response = reply::stream("application/octet-stream", logs::stream(vec![Piece::File(full)], 0, None));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    Ok(response)
}

/// A file in a folder, and how long it is. It is in the folder wherever links lead.
fn inside(folder: &Path, path: &str) -> Result<(PathBuf, u64), ApiError> {
    let none = || ApiError::none(format!("there is no file `{path}` in this folder"));
    let relative = Path::new(path.trim_start_matches('/'));
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) || path.contains('\0') {
        return Err(none());
    }
    let folder = folder.canonicalize().map_err(|_| none())?;
    let full = folder.join(relative).canonicalize().map_err(|_| none())?;
    let metadata = full.metadata().map_err(|_| none())?;
    if !full.starts_with(&folder) || !metadata.is_file() {
        return Err(none());
    }
    Ok((full, metadata.len()))
}
