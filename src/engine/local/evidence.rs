//! What proves that nothing has changed on this machine: the states of files, and a few variables. Looks at nothing but
//! those.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Stat, statat};

use crate::base::file::FileStat;
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

/// Whether the default shell is there.
pub(crate) fn has_shell(environment: &Environment) -> bool {
    find("bash", environment.get("PATH").map(AsRef::as_ref).unwrap_or_default()).is_some()
}

/// The files below `root` that are not in the states that they were in, by their places. Looks on as many threads as that is
/// worth; none if the root is not there.
pub(crate) fn changed(root: &Path, files: &[(&CStr, FileStat)]) -> Option<Vec<usize>> {
    let root = File::open(root).ok()?;
    let look = |begin: usize, files: &[(&CStr, FileStat)]| {
        let is_other = |(path, then): &(&CStr, FileStat)| {
            let now = statat(root.as_fd(), *path, AtFlags::empty());
            !now.is_ok_and(|now| is_file(&now) && state(&now).as_ref() == Some(then))
        };
        let others = files.iter().enumerate().filter(|(_, file)| is_other(file));
        others.map(|(i, _)| begin + i).collect::<Vec<_>>()
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = files.len().div_ceil(cores.min(files.len() / FOR_A_THREAD).max(1)).max(1);
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
