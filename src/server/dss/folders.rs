//! `/projects/K/managedfolders/…` and `/projects/K/savedmodels/…`: looks at folders, at their files, and at models.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use axum::http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::base::id::NodeId;
use crate::base::text::did_you_mean;
use crate::pipeline::paths::OWN;
use crate::pipeline::types::{Kind, Pipeline};
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
pub(crate) fn list(call: &Call) -> Reply {
    json(&all(&call.project()?.loaded().pipeline, Kind::Folder))
}

/// `GET /projects/K/managedfolders/F`
pub(crate) fn get(call: &Call) -> Reply {
    let loaded = call.project()?.loaded();
    json(&definition(&loaded.pipeline, find(&loaded.pipeline, Kind::Folder, call.name("folder")?)?))
}

/// `GET /projects/K/savedmodels/`
pub(crate) fn models(call: &Call) -> Reply {
    json(&all(&call.project()?.loaded().pipeline, Kind::Model))
}

/// `GET /projects/K/savedmodels/M`
pub(crate) fn model(call: &Call) -> Reply {
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
pub(crate) fn contents(call: &Call) -> Reply {
    let folder = place(call, &call.project()?.loaded())?;
    json(&json!({ "items": Listing::of(&folder, MOST)? }))
}

/// A list of the files of a folder, less what pipelines keep for themselves. Links are not followed. What is taken away meanwhile is
/// not there.
struct Listing<'a> {
    root: &'a Path,
    most: usize,
    /// Folders that were found, and not looked into yet.
    open: Vec<PathBuf>,
    items: Vec<Value>,
}

impl Listing<'_> {
    /// The files, in order. Nothing where there is no folder; no list at all where it would not be whole.
    fn of(root: &Path, most: usize) -> Result<Vec<Value>, ApiError> {
        let mut listing = Listing { root, most, open: vec![root.to_owned()], items: Vec::new() };
        while let Some(folder) = listing.open.pop() {
            listing.folder(&folder)?;
        }
        listing.items.sort_by(|a, b| a["path"].as_str().cmp(&b["path"].as_str()));
        Ok(listing.items)
    }

    fn folder(&mut self, folder: &Path) -> Result<(), ApiError> {
        let Some(entries) = there(fs::read_dir(folder))? else { return Ok(()) };
        for entry in entries {
            self.entry(&entry.map_err(broken)?)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &fs::DirEntry) -> Result<(), ApiError> {
        let Some(metadata) = there(entry.metadata())? else { return Ok(()) };
        let path = entry.path();
        if entry.file_name() == OWN || !(metadata.is_dir() || metadata.is_file()) {
            return Ok(());
        }
        if metadata.is_dir() {
            self.open.push(path);
            return Ok(());
        }
        if self.items.len() >= self.most {
            let message = format!("there are more than {} files in this folder: they are not listed", self.most);
            return Err(ApiError::conflict(message));
        }
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let name = path.strip_prefix(self.root).unwrap_or(&path).to_string_lossy().into_owned();
        self.items.push(json!({
            "path": format!("/{name}"),
            "size": metadata.len(),
            "lastModified": u64::try_from(modified.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        }));
        Ok(())
    }
}

/// What was asked of a file system; none where it is not there.
fn there<T>(asked: io::Result<T>) -> Result<Option<T>, ApiError> {
    match asked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        asked => asked.map(Some).map_err(broken),
    }
}

fn broken(error: io::Error) -> ApiError {
    ApiError::broken(error.to_string())
}

/// `GET /projects/K/managedfolders/F/contents/PATH`
pub(crate) fn file(call: &Call) -> Reply {
    let folder = place(call, &call.project()?.loaded())?;
    let (full, length) = inside(&folder, call.name("path")?)?;
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
    let Ok(below) = full.strip_prefix(&folder) else { return Err(none()) };
    if below.iter().any(|name| name == OWN) || !metadata.is_file() {
        return Err(none());
    }
    Ok((full, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(items: &[Value]) -> Vec<&str> {
        items.iter().map(|item| item["path"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_list_is_whole_or_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("f");
        assert!(Listing::of(&root, 2).unwrap().is_empty());
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/b"), "b").unwrap();
        fs::write(root.join("a"), "a").unwrap();
        fs::create_dir(root.join("sub/.kiln")).unwrap();
        fs::write(root.join("sub/.kiln/api-key"), "c").unwrap();
        assert_eq!(paths(&Listing::of(&root, 2).unwrap()), ["/a", "/sub/b"]);
        assert_eq!(inside(&root, "/sub/b").unwrap().1, 1);
        assert!(inside(&root, "/sub/.kiln/api-key").is_err());
        let error = Listing::of(&root, 1).unwrap_err();
        assert_eq!((error.status.as_u16(), error.message().starts_with("there are more than 1 files")), (409, true));
    }

    #[test]
    fn what_goes_while_it_is_listed_takes_nothing_else_along() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("a"), "a").unwrap();
        fs::write(root.join("b"), "b").unwrap();
        let seen: Vec<_> = fs::read_dir(root).unwrap().map(Result::unwrap).collect();
        fs::remove_file(root.join("a")).unwrap();
        fs::remove_dir(root.join("sub")).unwrap();
        let mut listing = Listing { root, most: 9, open: Vec::new(), items: Vec::new() };
        seen.iter().for_each(|entry| listing.entry(entry).unwrap());
        assert!(listing.folder(&root.join("sub")).is_ok());
        assert_eq!(paths(&listing.items), ["/b"]);
    }
}
