//! Makes what is staged durable before it is put in place. Works on paths; knows no recipes.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::syncfs;

use crate::engine::local::across::elsewhere;
use crate::engine::local::staging::Staging;
use crate::engine::outputs::StagedStep;
use crate::event::{Failure, FailureCode, Staged};
use crate::fault::fault;
use crate::files::tree;
use crate::stat::mount_of;

/// So many outputs are flushed one by one; more of them with the whole file system.
const FLUSH_ONE_BY_ONE: usize = 4;
/// The same for files of a folder, and folders in it.
const FEW: usize = 64;

impl Staging {
    /// Makes the staged outputs of steps durable, and says of each step in turn whether they are: few outputs one by one, many with
    /// the whole file system that they are staged on, less those on another one. Where that goes wrong nobody knows what it is
    /// about, and each file is flushed by itself.
    pub(crate) fn flush(&self, steps: &[StagedStep]) -> Vec<Result<(), Failure>> {
        let own = self.root.join(&self.folder);
        let is_few = steps.iter().map(|(_, staged)| staged.len()).sum::<usize>() <= FLUSH_ONE_BY_ONE;
        let all = || fault("flush.all").and_then(|()| Ok(syncfs(File::open(&own)?)?));
        let is_done = !is_few && all().is_ok();
        let one = |Staged { from, to, .. }: &Staged| {
            let path = self.root.join(from);
            fault("flush")?;
            match (is_few, is_done) {
                (true, _) => flush(&path),
                (false, false) => tree(&path).try_for_each(|entry| sync(&entry?)),
                // What is staged elsewhere is copied before it counts, and the copy is flushed.
                (false, true) if from == to && elsewhere(&own, &path)? => flush(&path),
                (false, true) => Ok(()),
            }
        };
        let failure = |output: &Staged, error: io::Error| {
            Failure::new(FailureCode::Publish, format!("{} could not be flushed: {error}", output.to))
        };
        let step = |(_, staged): &StagedStep| {
            staged.iter().try_for_each(|output| one(output).map_err(|error| failure(output, error)))
        };
        steps.iter().map(step).collect()
    }
}

impl Staging {
    /// Makes the folders durable into which outputs of these steps were moved: of those that do not heal, and where the state is on
    /// another file system. On one file system nothing that was written later is kept without that.
    pub(crate) fn settle(&self, steps: &[StagedStep], heals: &dyn Fn(&str) -> bool) -> io::Result<()> {
        let device = |path: &Path| mount_of(path).map(|(device, _)| device);
        let state = self.state.as_deref().map(device).transpose()?;
        let mut folders = BTreeMap::new();
        for (step, staged) in steps {
            for output in staged {
                let path = self.root.join(&output.to);
                let Some(folder) = path.parent() else { continue };
                let on = device(folder)?;
                if !heals(step) || state.is_some_and(|state| state != on) {
                    // One that was made for it is in another one.
                    let above = folder.ancestors().take_while(|above| above.starts_with(&self.root));
                    folders.extend(above.map(|above| (above.to_owned(), on)));
                }
            }
        }
        if folders.is_empty() {
            return Ok(());
        }
        fault("publish.settle")?;
        if folders.len() <= FEW {
            return folders.keys().try_for_each(|folder| File::open(folder)?.sync_all());
        }
        let systems: BTreeMap<_, _> = folders.into_iter().map(|(folder, on)| (on, folder)).collect();
        systems.values().try_for_each(|folder| Ok(syncfs(File::open(folder)?)?))
    }
}

/// Makes a file or a folder durable with all that is in it.
pub(super) fn flush(path: &Path) -> io::Result<()> {
    match to_flush(path)? {
        Some(all) => all.iter().try_for_each(|path| File::open(path)?.sync_all()),
        None => Ok(syncfs(File::open(path)?)?),
    }
}

/// Makes a file or a folder itself durable; there is nothing to a link but its folder.
fn sync((path, metadata): &(PathBuf, Metadata)) -> io::Result<()> {
    if metadata.is_dir() || metadata.is_file() { File::open(path)?.sync_all() } else { Ok(()) }
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
            let all = paths.each_ref().map(|path| (path.clone(), vec![staged(path, path)]));
            let flushed = || {
                let flushed = staging.flush(&all).into_iter();
                flushed.map(|step| step.map_err(|failure| failure.message)).collect::<Vec<_>>()
            };
            paths[..4].iter().for_each(|path| fs::write(at(path), "x").unwrap());
            let gone = format!("{} could not be flushed: No such file or directory (os error 2)", paths[4]);
            let mut expect = vec![Ok(()); 5];
            expect[4] = Err(gone);
            assert_eq!(flushed(), expect, "each of them is looked at");
            fs::remove_dir_all(at(".kiln/staging")).unwrap();
            assert_eq!(flushed(), expect, "the whole file system cannot be flushed");
            fs::create_dir_all(at(".kiln/staging/p")).unwrap();
            fs::write(at(&paths[4]), "x").unwrap();
            assert_eq!(flushed(), vec![Ok(()); 5]);
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
