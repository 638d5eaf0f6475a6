//! What lies where steps write that did not get done, and whether it is older than they are. Works on paths; does not know what
//! is kept of it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::base::job::JobId;
use crate::engine::local::aside::{asides, name_of};
use crate::engine::local::leftovers::folders;
use crate::engine::local::staging::{Staging, swapped};
use crate::files::{is_empty_folder, tree};

/// What lies where a step writes that did not get done.
pub(super) struct Written {
    /// Where.
    pub(super) from: PathBuf,
    /// Where it belongs, relative to the root.
    pub(super) to: String,
    /// The folder that was made when the attempt began.
    own: PathBuf,
}

impl Written {
    /// Whether it stood where the output belongs, and was being swapped with that when the run died.
    pub(super) fn is_swapped(&self) -> bool {
        self.from.file_name() == swapped(Path::new(&self.to)).file_name()
    }

    /// Whether it is kept: where an input is lost, in the words given, everything is, but for an empty folder.
    pub(super) fn is_kept(&self, lost: Option<&str>) -> bool {
        let something = self.from.symlink_metadata().is_ok() && !is_empty_folder(&self.from);
        something && (lost.is_some() || self.is_moved())
    }

    /// Whether anything of it is older than the attempt, as far as the file system knows when things were made.
    fn is_moved(&self) -> bool {
        let began = self.own.metadata().and_then(|own| own.created());
        began.and_then(|began| holds_older(&self.from, began)).unwrap_or(false)
    }
}

impl Staging {
    /// The steps of which runs that died may have left something behind.
    pub(super) fn begun(&self) -> io::Result<BTreeSet<(JobId, String)>> {
        let mut all = BTreeSet::new();
        for run in folders(&self.root.join(&self.folder))? {
            for name in folders(&run)?.iter().map(|step| name_of(step)) {
                let job = JobId::from_text(&name_of(&run));
                let step =
                    number_at_end(&name).and_then(|(rest, _)| number_at_end(rest)).map(|(step, _)| step.to_owned());
                // It may be an attempt at the one, or what the other has set aside.
                all.extend(step.into_iter().chain([name]).map(|step| (job.clone(), step)));
            }
        }
        Ok(all)
    }

    /// What lies where a step of a run writes, whose outputs belong at these paths: with all that is beside them.
    pub(super) fn written(&self, job: &JobId, step: &str, outputs: &[Option<String>]) -> io::Result<Vec<Written>> {
        let run = self.root.join(self.run_of(job));
        let mut all = Vec::new();
        for own in folders(&run)? {
            let name = name_of(&own);
            let Some((rest, i)) = number_at_end(&name) else { continue };
            let is_its = number_at_end(rest).is_some_and(|(of, _)| of == step) && asides(&own)?.is_empty();
            if !is_its {
                continue;
            }
            let to = outputs.get(i).cloned().flatten();
            let files: Vec<_> = fs::read_dir(&own)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
            if files.is_empty() {
                // What was there may be kept already, with the folder where nobody knows where it belongs.
                let to = to.clone().unwrap_or_else(|| name.clone());
                all.push(Written { from: own.join(name_of(Path::new(&to))), to, own: own.clone() });
            }
            let old = to.as_deref().map(|to| own.join(name_of(&swapped(Path::new(to)))));
            // Its path may have been another one.
            let to = to.unwrap_or_else(|| format!("{name}/{name}"));
            let beside = |file: &Path| match &old {
                Some(old) if file == old => to.clone(),
                Some(_) | None => Path::new(&to).with_file_name(name_of(file)).to_string_lossy().into_owned(),
            };
            all.extend(files.into_iter().map(|from| Written { to: beside(&from), from, own: own.clone() }));
        }
        let own = self.root.join(self.step(job, step));
        let begun = self.begun_in_place(job, step)?.into_iter();
        all.extend(begun.map(|path| Written { from: self.root.join(&path), to: path, own: own.clone() }));
        Ok(all)
    }
}

/// Whether anything at or below a path was made before a time. A file that has another name too is not lost without this one.
fn holds_older(path: &Path, time: SystemTime) -> io::Result<bool> {
    for entry in tree(path) {
        let (_, metadata) = entry?;
        let is_older = metadata.created().is_ok_and(|made| made < time);
        if is_older && (metadata.is_dir() || metadata.nlink() == 1) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A name without the number at its end, and that.
fn number_at_end(name: &str) -> Option<(&str, usize)> {
    let (rest, number) = name.rsplit_once('-')?;
    Some((rest, number.parse().ok()?))
}
