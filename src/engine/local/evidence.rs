//! What proves that nothing has changed on this machine: the states of files, and a few variables. Looks at nothing but
//! those.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat};

use crate::base::file::FileStat;
use crate::base::id::{DenseMap, RecipeId};
use crate::engine::api::{Environment, Evidence};
use crate::engine::local::Local;
use crate::engine::local::program::locate;
use crate::pipeline::paths::is_glob;
use crate::pipeline::raw::EnvValue;
use crate::pipeline::types::{Command, Rebuild, Recipe};
use crate::plan::facts::{Content, Facts};
use crate::stat::stat_of;

/// So many files are worth a thread.
const FOR_A_THREAD: usize = 512;

/// The evidence for facts.
pub(super) fn gather(local: &Local, wanted: &DenseMap<RecipeId, bool>, facts: &Facts) -> Evidence {
    let pipeline = &local.pipeline;
    let mut evidence = Evidence::default();
    let mut files = BTreeMap::new();
    for (id, _) in wanted.iter().filter(|(_, wanted)| **wanted) {
        let recipe = &pipeline.recipes[id];
        let mut told = own(recipe, &mut evidence);
        files.extend(facts.recipes[id].files.iter().map(|(path, digest)| (path.as_str(), *digest)));
        for node in recipe.inputs.iter().chain(&recipe.outputs) {
            let content = facts.nodes[*node];
            let node = &pipeline.nodes[*node];
            match (&node.path, &node.digest, content) {
                (Some(path), _, Content::Is(digest)) => drop(files.insert(path, digest)),
                // Nothing is asked for it.
                (None, None, _) => {}
                // What is not there yet, and what commands print.
                (Some(_) | None, ..) => told = false,
            }
        }
        if !told {
            evidence.closely.insert(id);
        }
    }
    let state = |path, digest| local.digester.proof(path, digest).map_or(FileStat::NONE, |seen| seen.stat);
    evidence.files = files.into_iter().map(|(path, digest)| (path.to_owned(), state(path, digest))).collect();
    evidence
}

/// What a recipe is made from besides nodes and files that are named. Whether that is all.
fn own(recipe: &Recipe, evidence: &mut Evidence) -> bool {
    let timeless = match recipe.rebuild {
        Rebuild::Changed | Rebuild::Explicit | Rebuild::Never => true,
        Rebuild::Always | Rebuild::Age(_) => false,
    };
    for value in recipe.how.env.values() {
        match value {
            EnvValue::Text(_) => {}
            EnvValue::From(name) => drop(evidence.variables.insert(name.clone())),
        }
    }
    evidence.shell |= recipe.how.default_shell && matches!(recipe.run, Some(Command::Shell(_)));
    timeless && recipe.how.tools.is_empty() && !recipe.files.iter().any(|(pattern, _)| is_glob(pattern))
}

/// The state of the file at a path; links are followed.
pub(crate) fn state_of(path: &Path) -> std::io::Result<FileStat> {
    Ok(stat_of(&path.metadata()?))
}

/// Whether the default shell is there, for a pipeline with this root.
pub(crate) fn has_shell(environment: &Environment, root: &Path) -> bool {
    locate("bash", environment.get("PATH"), root).is_ok()
}

/// The files below `root` that are not in the states that they were in, by their places. Looks on as many threads as that is
/// worth, `cores` at most; none if the root is not there.
pub(crate) fn changed(root: &Path, files: &[(&CStr, FileStat)], cores: u32) -> Option<Vec<usize>> {
    let root = File::open(root).ok()?;
    let look = |begin: usize, files: &[(&CStr, FileStat)]| {
        let (mut others, mut at, mut rest) = (Vec::new(), begin, files);
        while let Some((path, _)) = rest.first() {
            let folder = folder_of(path);
            let (neighbours, behind) = rest.split_at(rest.iter().take_while(|file| lies_in(file.0, folder)).count());
            others.extend(others_among(root.as_fd(), folder, neighbours).into_iter().map(|i| at + i));
            at += neighbours.len();
            rest = behind;
        }
        others
    };
    let share = files.len().div_ceil((cores as usize).min(files.len() / FOR_A_THREAD).max(1)).max(1);
    let mut chunks = files.chunks(share).enumerate().map(|(i, chunk)| (i * share, chunk));
    let (_, own) = chunks.next().unwrap_or_default();
    Some(std::thread::scope(|scope| {
        let threads: Vec<_> = chunks.map(|(begin, chunk)| scope.spawn(move || look(begin, chunk))).collect();
        let mut all = look(0, own);
        let join =
            |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        all.extend(threads.into_iter().flat_map(join));
        all
    }))
}

/// For so many files in one folder it is opened: then the system need not find it again for each of them.
const FOR_A_FOLDER: usize = 4;

/// The files of one folder that are not in the states that they were in, by their places.
fn others_among(root: BorrowedFd<'_>, folder: &[u8], files: &[(&CStr, FileStat)]) -> Vec<usize> {
    let open = || openat(root, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok();
    let opened = if folder.is_empty() || files.len() < FOR_A_FOLDER { None } else { open() };
    let is_other = |(path, then): &(&CStr, FileStat)| {
        let now = match &opened {
            Some(opened) => statat(opened, &path[folder.len()..], AtFlags::empty()),
            None => statat(root, *path, AtFlags::empty()),
        };
        !now.is_ok_and(|now| is_file(&now) && state(&now).as_ref() == Some(then))
    };
    files.iter().enumerate().filter(|(_, file)| is_other(file)).map(|(i, _)| i).collect()
}

/// The folder of a path, with the stroke behind it; empty for what lies in the root.
fn folder_of(path: &CStr) -> &[u8] {
    let path = path.to_bytes();
    &path[..path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1)]
}

/// Whether that is the folder of a path.
fn lies_in(path: &CStr, folder: &[u8]) -> bool {
    path.to_bytes().strip_prefix(folder).is_some_and(|name| !name.contains(&b'/'))
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_file()
}

/// The state of a file, where it can be told; what the fields are made of differs between systems.
fn state(stat: &Stat) -> Option<FileStat> {
    let ns = |secs: i128, ns: i128| i64::try_from(secs * 1_000_000_000 + ns).ok();
    Some(FileStat {
        size: u64::try_from(i128::from(stat.st_size)).ok()?,
        mtime_ns: ns(stat.st_mtime.into(), stat.st_mtime_nsec.into())?,
        ctime_ns: ns(stat.st_ctime.into(), stat.st_ctime_nsec.into())?,
        inode: stat.st_ino,
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs;

    use super::*;

    #[test]
    fn changes_are_found_wherever_files_lie() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("many/deep")).unwrap();
        std::os::unix::fs::symlink("many", at("link")).unwrap();
        let names: Vec<_> = (0..6).map(|i| format!("many/{i}")).collect();
        let linked = names.iter().map(|name| name.replace("many", "link"));
        let paths: Vec<_> =
            ["a".to_owned(), "many/deep/b".to_owned()].into_iter().chain(names.clone()).chain(linked).collect();
        paths.iter().for_each(|path| fs::write(at(path), path).unwrap());
        let texts: Vec<_> = paths.iter().map(|path| CString::new(path.as_str()).unwrap()).collect();
        let files: Vec<_> =
            texts.iter().zip(&paths).map(|(text, path)| (text.as_c_str(), state_of(&at(path)).unwrap())).collect();
        let now = || {
            let changed = changed(root.path(), &files, 2).unwrap();
            changed.into_iter().map(|i| paths[i].as_str()).collect::<Vec<_>>()
        };
        assert_eq!(now(), [""; 0]);
        fs::remove_file(at("many/2")).unwrap();
        fs::write(at("many/4"), "anew").unwrap();
        fs::write(at("a"), "anew").unwrap();
        assert_eq!(now(), ["a", "many/2", "many/4", "link/2", "link/4"]);
        fs::remove_file(at("link")).unwrap();
        let linked: Vec<_> = (0..6).map(|i| format!("link/{i}")).collect();
        let here = ["a", "many/2", "many/4"].into_iter().chain(linked.iter().map(String::as_str));
        assert_eq!(now(), here.collect::<Vec<_>>());
    }
}
