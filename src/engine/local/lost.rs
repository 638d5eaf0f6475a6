//! Saves what a failed or killed step left in its staging folder when it may be the only copy: an input has vanished, or a file
//! is older than the attempt.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::base::digest::Digest;
use crate::base::id::NodeId;
use crate::base::job::JobId;
use crate::engine::api::Done;
use crate::engine::local::Local;
use crate::engine::local::aside::{asides, name_of};
use crate::engine::local::digest::LinkMode;
use crate::engine::local::keep::{free, keep, kept_before};
use crate::engine::local::leftovers::folders;
use crate::engine::local::staging::{Staging, swapped};
use crate::event::{Failure, Staged};
use crate::files::{end_swap, is_empty_folder};
use crate::plan::put_back::PutBack;

/// What lies where a step writes that did not get done.
pub(super) struct Written {
    /// Where.
    from: PathBuf,
    /// Where it belongs, relative to the root.
    to: String,
    /// The folder that was made when the attempt began.
    own: PathBuf,
}

/// Why what was written by a step is kept that the file does not have any more: nobody knows what it was made from.
const UNKNOWN: &str = "the file does not have this step any more";
/// What is kept because it is older than the attempt.
const MOVED: &str = "what it had moved to its output";

impl Written {
    /// Whether it stood where the output belongs, and was being swapped with that when the run died.
    fn is_swapped(&self) -> bool {
        self.from.file_name() == swapped(Path::new(&self.to)).file_name()
    }

    /// Whether it is kept: where an input is lost, in the words given, everything is, but for an empty folder.
    fn is_kept(&self, lost: Option<&str>) -> bool {
        let something = self.from.symlink_metadata().is_ok() && !is_empty_folder(&self.from);
        something && (lost.is_some() || self.is_moved())
    }

    /// Whether anything of it is older than the attempt, as far as the file system knows when things were made.
    fn is_moved(&self) -> bool {
        let began = self.own.metadata().and_then(|own| own.created());
        began.and_then(|began| holds_older(&self.from, began)).unwrap_or(false)
    }
}

impl Local {
    /// What is lost of the inputs of a step, in words. What they were when it began may not be known.
    pub(super) fn lost(&self, inputs: impl IntoIterator<Item = (NodeId, Option<Digest>)>) -> Option<&'static str> {
        inputs.into_iter().find_map(|(node, digest)| self.lost_of(node, digest))
    }

    fn lost_of(&self, node: NodeId, digest: Option<Digest>) -> Option<&'static str> {
        let node = &self.pipeline.nodes[node];
        let path = node.path.as_deref()?;
        let Ok(metadata) = self.root.join(path).metadata() else { return Some("an input is gone") };
        // What a step has made can be made again.
        if !metadata.is_dir() || node.maker.is_some() {
            return None;
        }
        // Long before it began they may have gone too.
        let is_same =
            || digest.is_some_and(|digest| self.digester.look(path, LinkMode::Followed).ok().flatten() == Some(digest));
        (self.digester.lacks(path) && !is_same()).then_some("files of an input are gone")
    }

    /// Keeps what may be all that is left, and says so; none where nothing was.
    pub(super) fn keep_written(
        &self,
        job: &JobId,
        lost: Option<&str>,
        written: &[Written],
    ) -> io::Result<Option<String>> {
        let mut kept = Vec::new();
        for one in written {
            if one.is_swapped() && end_swap(&one.from, &self.root.join(&one.to))? {
                continue;
            }
            if one.is_swapped() || one.is_kept(lost) {
                kept.push(keep(&self.root, job, &one.from, &one.to)?.kept);
            } else if fs::remove_dir(&one.from).is_ok() || one.from.symlink_metadata().is_err() {
                // A run that died over this may have kept it already.
                kept.extend(kept_before(&self.root, job, &one.to).map(|replaced| replaced.kept));
            }
        }
        let what = lost.map_or_else(|| MOVED.to_owned(), |lost| format!("{lost}, and what was written"));
        Ok((!kept.is_empty()).then(|| format!("{what} is kept in {}", kept.join(", "))))
    }

    /// Keeps what a step of a run that died wrote, as far as it may be all that is left, and says so.
    pub(super) fn keep_lost(&self, job: &JobId, step: &str) -> io::Result<Option<String>> {
        let (lost, written) = self.left_by(job, step)?;
        self.keep_written(job, lost, &written)
    }

    /// Puts back what stood where a step wrote in place whose outputs could not be recorded, and says so. What stands there and
    /// is not as the step left it is kept, and so is what may be the only copy.
    pub(super) fn unpublish(&self, job: &JobId, step: &str, staged: &[Staged], failure: Failure) -> Failure {
        if !staged.iter().any(|output| output.from == output.to) {
            return failure;
        }
        let is_its = |path: &str| {
            let output = staged.iter().find(|output| output.to == path);
            output.is_some_and(|output| self.digester.is(path, output.digest))
        };
        let put_back = self.keep_lost(job, step).and_then(|kept| {
            let others = self.staging.put_back(job, step, is_its)?;
            Ok(kept.into_iter().chain(others).collect::<Vec<_>>())
        });
        let told = match put_back {
            Ok(kept) => [vec!["what stood there is put back".to_owned()], kept].concat().join("; "),
            Err(error) => format!("and the next run has to tidy up: {error}"),
        };
        Failure { message: format!("{}; {told}", failure.message), ..failure }
    }

    /// What [`Local::keep_lost`] would keep of what a step wrote in place: its path, and where. Changes nothing.
    pub(super) fn to_keep(&self, job: &JobId, step: &str) -> io::Result<Vec<(String, String)>> {
        let (lost, written) = self.left_by(job, step)?;
        let in_place = written.into_iter().filter(|one| one.from == self.root.join(&one.to) && one.is_kept(lost));
        in_place.map(|one| free(&self.root, job, &one.from, &one.to).map(|kept| (one.to, kept))).collect()
    }

    /// What is undone after runs that died, with where is kept what stands there: it may be somebody else's, or all that is left.
    pub(super) fn to_undo(&self, done: &Done) -> io::Result<Vec<PutBack>> {
        let mut undone = self.staging.to_undo(done, &self.digester)?;
        for (job, step) in self.staging.begun()?.iter().filter(|of| !done.contains(of)) {
            for (path, kept) in self.to_keep(job, step)? {
                if let Some(one) = undone.iter_mut().find(|one| one.output == path && !one.out) {
                    one.kept = Some(kept);
                }
            }
        }
        Ok(undone)
    }

    /// What lies where a step of a run that died wrote; and what is lost, in words, so that all of it is kept.
    fn left_by(&self, job: &JobId, step: &str) -> io::Result<(Option<&'static str>, Vec<Written>)> {
        let recipe = self.pipeline.recipe(step).map(|id| &self.pipeline.recipes[id]);
        let Some(recipe) = recipe.filter(|recipe| recipe.name == step) else {
            return Ok((Some(UNKNOWN), self.staging.written(job, step, &[])?));
        };
        let lost = self.lost(recipe.inputs.iter().map(|input| (*input, None)));
        let outputs: Vec<_> = recipe.outputs.iter().map(|node| self.pipeline.nodes[*node].path.clone()).collect();
        Ok((lost, self.staging.written(job, step, &outputs)?))
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
    let metadata = path.symlink_metadata()?;
    let is_older = metadata.created().is_ok_and(|made| made < time);
    if !metadata.is_dir() {
        return Ok(is_older && metadata.nlink() == 1);
    }
    if is_older {
        return Ok(true);
    }
    for entry in fs::read_dir(path)? {
        if holds_older(&entry?.path(), time)? {
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
