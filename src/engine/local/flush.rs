//! Makes what is staged durable before it is put in place. Works on paths; knows no recipes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::syncfs;

use crate::engine::local::across::elsewhere;
use crate::engine::local::staging::Staging;
use crate::event::Staged;
use crate::fault::fault;
use crate::files::tree;

/// So many outputs are flushed one by one; more of them with the whole file system.
const FLUSH_ONE_BY_ONE: usize = 4;
/// The same for files of a folder, and folders in it.
const FEW: usize = 64;

impl Staging {
    /// Makes staged outputs durable: few of them one by one, many with the whole file system that they are staged on, less those
    /// on another one.
    pub(crate) fn flush(&self, staged: &[Staged]) -> io::Result<()> {
        fault("flush")?;
        let own = self.root.join(&self.folder);
        let is_few = staged.len() <= FLUSH_ONE_BY_ONE;
        if !is_few {
            syncfs(File::open(&own)?)?;
        }
        for Staged { from, to, .. } in staged {
            let path = self.root.join(from);
            // What is staged elsewhere is copied before it counts, and the copy is flushed.
            if is_few || from == to && elsewhere(&own, &path)? {
                flush(&path)?;
            }
        }
        Ok(())
    }
}

/// Makes a file or a folder durable with all that is in it.
pub(super) fn flush(path: &Path) -> io::Result<()> {
    match to_flush(path)? {
        Some(all) => all.iter().try_for_each(|path| File::open(path)?.sync_all()),
        None => Ok(syncfs(File::open(path)?)?),
    }
}

/// What is to be flushed one by one, each folder after what is in it; none of many files.
fn to_flush(path: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    let mut all = Vec::new();
    for entry in tree(path) {
        let (path, metadata) = entry?;
        if metadata.is_dir() || metadata.is_file() {
            all.push(path);
        }
        if all.len() > FEW {
            return Ok(None);
        }
    }
    all.reverse();
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::digest::Digest;
    use crate::engine::local::across::two_file_systems;

    fn staged(from: &str, to: &str) -> Staged {
        Staged { from: from.to_owned(), to: to.to_owned(), digest: Digest::of(b""), keep: false, stood: None }
    }

    #[test]
    fn many_outputs_are_flushed_wherever_they_lie() {
        // Either they lie elsewhere than what is staged, or that does.
        for (link, folder) in [("mount", "mount"), (".kiln", "here")] {
            let (dir, _there) = two_file_systems(link);
            let at = |path: &str| dir.path().join(path);
            let staging = Staging::new(dir.path(), "p");
            fs::create_dir_all(at(".kiln/staging/p")).unwrap();
            fs::create_dir_all(at(folder)).unwrap();
            let paths = ["a", "b", "c", "d", "e"].map(|name| format!("{folder}/{name}"));
            let all = paths.each_ref().map(|path| staged(path, path));
            paths[..4].iter().for_each(|path| fs::write(at(path), "x").unwrap());
            let error = staging.flush(&all).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "each of them is looked at");
            fs::write(at(&paths[4]), "x").unwrap();
            staging.flush(&all).unwrap();
        }
    }

    #[test]
    fn a_few_files_are_flushed_one_by_one_and_many_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("d/in")).unwrap();
        fs::write(at("d/in/f"), "x").unwrap();
        std::os::unix::fs::symlink("nowhere", at("d/link")).unwrap();
        assert_eq!(to_flush(&at("d")).unwrap(), Some(["d/in/f", "d/in", "d"].map(at).to_vec()));
        (0..FEW).for_each(|n| fs::write(at(&format!("d/in/{n}")), "x").unwrap());
        assert_eq!(to_flush(&at("d")).unwrap(), None);
        flush(&at("d")).unwrap();
    }
}
