//! Saves what a failed or killed step wrote when it may be the only copy: an input has vanished, or a file is older than the
//! attempt. Does not know where steps write.

use std::fs;
use std::io;

use crate::base::digest::Digest;
use crate::base::id::NodeId;
use crate::base::job::JobId;
use crate::engine::local::Local;
use crate::engine::local::digest::LinkMode;
use crate::engine::local::keep::{free, keep, kept_before};
use crate::engine::local::written::Written;
use crate::files::end_swap;
use crate::pipeline::types::Recipe;

/// Why what was written by a step is kept that the file does not have any more: nobody knows what it was made from.
const UNKNOWN: &str = "the file does not have this step any more";
/// What is kept because it is older than the attempt.
const MOVED: &str = "what it had moved to its output";

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

    /// What [`Local::keep_lost`] would keep of what a step wrote in place: its path, and where. Changes nothing.
    pub(super) fn to_keep(&self, job: &JobId, step: &str) -> io::Result<Vec<(String, String)>> {
        let (lost, written) = self.left_by(job, step)?;
        let in_place = written.into_iter().filter(|one| one.from == self.root.join(&one.to) && one.is_kept(lost));
        in_place.map(|one| free(&self.root, job, &one.from, &one.to).map(|kept| (one.to, kept))).collect()
    }

    /// What lies where a step of a run that died wrote; and what is lost, in words, so that all of it is kept.
    fn left_by(&self, job: &JobId, step: &str) -> io::Result<(Option<&'static str>, Vec<Written>)> {
        let recipe = self.pipeline.recipe(step).map(|id| &self.pipeline.recipes[id]);
        let Some(recipe) = recipe.filter(|recipe| recipe.name == step) else {
            return Ok((Some(UNKNOWN), self.staging.written(job, step, &[])?));
        };
        let lost = self.lost(recipe.inputs.iter().map(|input| (*input, None)));
        Ok((lost, self.written(job, recipe)?))
    }

    /// What lies where a step of a run writes.
    pub(super) fn written(&self, job: &JobId, recipe: &Recipe) -> io::Result<Vec<Written>> {
        let outputs: Vec<_> = recipe.outputs.iter().map(|node| self.pipeline.nodes[*node].path.clone()).collect();
        self.staging.written(job, &recipe.name, &outputs)
    }
}
