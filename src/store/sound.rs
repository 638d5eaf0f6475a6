//! Remembers in which state the store was when Kiln was done with it, so that it is looked through again only when somebody
//! else has written to it. A file beside it that may be lost: then it is looked through once more.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::file::FileStat;
use crate::stat::stat_of;

fn path(store: &Path) -> PathBuf {
    store.with_file_name("cache").join("store")
}

fn state(store: &Path) -> Option<FileStat> {
    Some(stat_of(&store.metadata().ok()?))
}

/// Whether the store is as Kiln left it.
pub(super) fn is_known(store: &Path) -> bool {
    let known = || serde_json::from_slice::<FileStat>(&fs::read(path(store)).ok()?).ok();
    state(store).is_some_and(|state| known() == Some(state))
}

/// Kiln is done with a store that was sound when it began. That this is not remembered is no failure.
pub(super) fn remember(store: &Path) {
    let write = || {
        let text = serde_json::to_vec(&state(store)?).ok()?;
        fs::create_dir_all(path(store).parent()?).ok()?;
        fs::write(path(store), text).ok()
    };
    if !is_known(store) && write().is_none() {
        tracing::debug!("the store will be looked through when it is opened again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_state_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("kiln.db");
        assert!(!is_known(&store));
        remember(&store);
        assert!(!is_known(&store), "there is none");
        fs::write(&store, "x").unwrap();
        remember(&store);
        assert!(is_known(&store));
        fs::write(&store, "xy").unwrap();
        assert!(!is_known(&store));
        fs::write(path(&store), "{").unwrap();
        assert!(!is_known(&store));
    }
}
