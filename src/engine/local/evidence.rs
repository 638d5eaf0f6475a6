//! What proves that nothing has changed on this machine: the states of files, and a few variables. Looks at nothing but
//! those; knows no nodes once it was gathered.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Stat, statat};

use crate::base::file::{FileDigest, FileStat};
use crate::base::id::{DenseMap, RecipeId};
use crate::engine::api::{Environment, Evidence};
use crate::engine::local::Local;
use crate::engine::local::files::is_glob;
use crate::engine::local::probe::find;
use crate::pipeline::raw::EnvValue;
use crate::pipeline::types::{Command, Rebuild, Recipe};
use crate::plan::facts::{Content, Facts};
use crate::stat::stat_of;

/// So many files are worth a thread.
const FOR_A_THREAD: usize = 512;

/// The evidence for facts; none where something can change that no state of a file tells: what commands print, the time,
/// what lies in a folder, what is not there yet.
pub(super) fn gather(local: &Local, wanted: &DenseMap<RecipeId, bool>, facts: &Facts) -> Option<Evidence> {
    let pipeline = &local.pipeline;
    let mut evidence = Evidence::default();
    let mut files = Vec::new();
    let mut looked = DenseMap::filled(pipeline.nodes.len(), false);
    for (id, recipe) in pipeline.recipes.iter().filter(|(id, _)| wanted[*id]) {
        own(recipe, &mut evidence)?;
        files.extend(facts.recipes[id].files.iter().map(|(path, digest)| (path.as_str(), *digest)));
        for node in recipe.inputs.iter().chain(&recipe.outputs) {
            if std::mem::replace(&mut looked[*node], true) {
                continue;
            }
            let content = facts.nodes[*node];
            let node = &pipeline.nodes[*node];
            match (&node.path, &node.digest, content) {
                (Some(path), _, Content::Is(digest)) => files.push((path, digest)),
                // Nothing is asked for it.
                (None, None, _) => {}
                (Some(_) | None, ..) => return None,
            }
        }
    }
    let proven = |(path, digest): (&str, _)| {
        let seen = local.digester.proof(path, digest)?;
        Some(FileDigest { path: path.to_owned(), seen })
    };
    evidence.files = files.into_iter().map(proven).collect::<Option<_>>()?;
    Some(evidence)
}

/// What a recipe is made from besides nodes and files that are named.
fn own(recipe: &Recipe, evidence: &mut Evidence) -> Option<()> {
    let timeless = match recipe.rebuild {
        Rebuild::Changed | Rebuild::Explicit | Rebuild::Never => true,
        Rebuild::Always | Rebuild::Age(_) => false,
    };
    if !timeless || !recipe.tools.is_empty() || recipe.files.iter().any(|(pattern, _)| is_glob(pattern)) {
        return None;
    }
    for value in recipe.env.values() {
        match value {
            EnvValue::Text(_) => {}
            EnvValue::From(name) => drop(evidence.variables.insert(name.clone())),
        }
    }
    evidence.shell |= recipe.default_shell && matches!(recipe.run, Some(Command::Shell(_)));
    Some(())
}

/// The state of the file at a path; links are followed.
pub(crate) fn state_of(path: &Path) -> std::io::Result<FileStat> {
    Ok(stat_of(&path.metadata()?))
}

/// Whether the default shell is there.
pub(crate) fn has_shell(environment: &Environment) -> bool {
    find("bash", environment.get("PATH").map(AsRef::as_ref).unwrap_or_default()).is_some()
}

/// Whether all files below `root` are in the states that they were in. Looks on as many threads as that is worth.
pub(crate) fn unchanged(root: &Path, files: &[(&CStr, FileStat)]) -> bool {
    let Ok(root) = File::open(root) else { return false };
    let changed = AtomicBool::new(false);
    let look = |files: &[(&CStr, FileStat)]| {
        for (path, then) in files {
            if changed.load(Ordering::Relaxed) {
                return;
            }
            let now = statat(root.as_fd(), *path, AtFlags::empty());
            if !now.is_ok_and(|now| is_file(&now) && state(&now).as_ref() == Some(then)) {
                changed.store(true, Ordering::Relaxed);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = files.len().div_ceil(cores.min(files.len() / FOR_A_THREAD).max(1)).max(1);
    let mut chunks = files.chunks(share);
    let own = chunks.next().unwrap_or_default();
    std::thread::scope(|scope| {
        for chunk in chunks {
            scope.spawn(move || look(chunk));
        }
        look(own);
    });
    !changed.into_inner()
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
