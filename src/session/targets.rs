//! Targets that are paths: what somebody finds among their files has a name in the pipeline. Does not know what is built.

use std::path::{Component, Path, PathBuf};

use crate::session::load::Loaded;

/// A target by its name, where it is exactly the path of a node: seen from `folder`, else from the root. What is the name of
/// something already stays what it is.
pub(crate) fn by_name(loaded: &Loaded, folder: &Path, target: &str) -> String {
    let pipeline = &loaded.pipeline;
    let (above, rest) = target.strip_prefix('+').map_or(("", target), |rest| ("+", rest));
    let (path, below) = rest.strip_suffix('+').map_or((rest, ""), |path| (path, "+"));
    if path.is_empty() || pipeline.names.contains_key(path) || path.starts_with("tag:") {
        return target.to_owned();
    }
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let node = [folder.as_path(), &loaded.root].iter().find_map(|from| {
        let whole = plain(&from.join(path));
        let wanted = whole.strip_prefix(&loaded.root).ok()?;
        pipeline.nodes.values().find(|node| node.path.as_deref().is_some_and(|path| Path::new(path) == wanted))
    });
    node.map_or_else(|| target.to_owned(), |node| format!("{above}{}{below}", node.name))
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}
