//! Makes what is staged durable before it is put in place. Works on paths; knows no recipes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::syncfs;
use rustix::io::Errno;

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
    /// Makes the folders durable into which outputs of these steps were moved, and says of each step in turn whether they are. Of one
    /// that heals that is not needed: what a loss of power has undone is not as its record says, and is built again. Only where the
    /// state is on another file system the record may be kept without anything of that being seen for what it is.
    pub(crate) fn settle(&self, steps: &[StagedStep], heals: &dyn Fn(&str) -> bool) -> Vec<Result<(), Failure>> {
        let state = self.state.as_deref().map(device);
        let needed = |step: &str, output: &Staged| {
            let path = self.root.join(&output.to);
            let Some(folder) = path.parent() else { return Vec::new() };
            if heals(step) && state.is_none_or(|state| state == device(folder)) {
                return Vec::new();
            }
            // One that was made for it is in another one.
            self.up_from(folder).map(Path::to_owned).collect()
        };
        let each = |(step, staged): &StagedStep| {
            let outputs = staged.iter().map(|output| (output.to.clone(), needed(step, output)));
            outputs.collect::<Vec<_>>()
        };
        let steps: Vec<_> = steps.iter().map(each).collect();
        let settled = self.settle_all(steps.iter().flatten().flat_map(|(_, folders)| folders).cloned().collect());
        let output = |(to, folders): &(String, Vec<PathBuf>)| {
            let wrong = folders.iter().find_map(|folder| settled.get(folder));
            let why = |error| format!("that {to} is in place could not be made durable: {error}");
            wrong.map_or(Ok(()), |error| Err(Failure::new(FailureCode::Publish, why(error))))
        };
        steps.iter().map(|outputs| outputs.iter().try_for_each(output)).collect()
    }

    /// A folder and those that it is in, up to the root.
    fn up_from<'a>(&'a self, folder: &'a Path) -> impl Iterator<Item = &'a Path> {
        folder.ancestors().take_while(|above| above.starts_with(&self.root))
    }

    /// Makes folders durable: few one by one, many with the whole of each file system that they are on. Gives those with which that
    /// goes wrong, and why.
    fn settle_all(&self, folders: BTreeSet<PathBuf>) -> BTreeMap<PathBuf, String> {
        let mut wrong = BTreeMap::new();
        let mut note = |folders: &[PathBuf], result: io::Result<()>| {
            let Err(error) = result else { return };
            wrong.extend(folders.iter().map(|folder| (folder.clone(), format!("{}: {error}", folders[0].display()))));
        };
        if folders.len() <= FEW {
            folders.into_iter().for_each(|folder| note(std::slice::from_ref(&folder), self.settle_one(&folder)));
            return wrong;
        }
        let mut systems = BTreeMap::<_, Vec<_>>::new();
        folders.into_iter().for_each(|folder| systems.entry(device(&folder)).or_default().push(folder));
        for folders in systems.values() {
            note(folders, sync_system(folders.iter().map(PathBuf::as_path)));
        }
        wrong
    }

    /// Makes a folder durable; one that may not be read, with the whole file system by a folder above it.
    fn settle_one(&self, folder: &Path) -> io::Result<()> {
        fault("publish.settle")?;
        match File::open(folder) {
            Ok(file) => enough(file.sync_all()),
            Err(_) => sync_system(self.up_from(folder).filter(|above| device(above) == device(folder))),
        }
    }
}

/// The file system of a folder, where that can be told.
fn device(folder: &Path) -> Option<u64> {
    mount_of(folder).ok().map(|(device, _)| device)
}

/// Makes a file system durable, by the first of these folders on it that can be opened. There is nothing to folders that have gone:
/// that is seen.
fn sync_system<'a>(folders: impl Iterator<Item = &'a Path>) -> io::Result<()> {
    let mut unopened = Ok(());
    for folder in folders {
        match File::open(folder) {
            Ok(file) => return enough(syncfs(file).map_err(io::Error::from)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => unopened = Err(error),
        }
    }
    unopened
}

/// What the flushing of a folder comes to: on some file systems there is no such thing.
fn enough(flushed: io::Result<()>) -> io::Result<()> {
    let none = [Errno::INVAL, Errno::NOTSUP, Errno::NOSYS].map(|none| Some(none.raw_os_error()));
    flushed.or_else(|error| if none.contains(&error.raw_os_error()) { Ok(()) } else { Err(error) })
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
    fn folders_that_have_gone_or_are_on_another_file_system_are_settled() {
        let (dir, _there) = two_file_systems("mount");
        let staging = Staging::new(dir.path(), "p");
        let here = device(dir.path());
        assert!(here.is_some() && here != device(&dir.path().join("mount")));
        for many in [false, true] {
            let more = if many { FEW } else { 0 };
            let paths = ["mount/a", "gone/deep/a", "a"].map(str::to_owned).into_iter();
            let paths = paths.chain((0..more).map(|n| format!("{n}/a")));
            let steps: Vec<_> = paths.map(|path| (path.clone(), vec![staged(&path, &path)])).collect();
            let settled = staging.settle(&steps, &|_| false).into_iter().map(|step| step.map_err(|it| it.message));
            assert_eq!(settled.collect::<Vec<_>>(), vec![Ok(()); steps.len()]);
        }
    }

    #[test]
    fn what_a_file_system_does_not_know_is_enough() {
        let flushed = |error: Errno| enough(Err(io::Error::from(error))).is_ok();
        assert_eq!([Errno::INVAL, Errno::NOTSUP, Errno::IO, Errno::NOSPC].map(flushed), [true, true, false, false]);
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
