//! Keeps what a step wrote that did not get done and of which an input is lost: it may have been moved there, and this is all
//! that is left of it. One rule for steps that fail and for those of runs that died.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::base::digest::Digest;
use crate::base::id::NodeId;
use crate::base::job::JobId;
use crate::engine::local::Local;
use crate::engine::local::keep::{keep, kept_before};
use crate::engine::local::staging::{Staging, folders};

/// What a step wrote that did not get done: where it lies, and where it belongs, both relative to the root.
pub(super) struct Written {
    pub(super) from: String,
    pub(super) to: String,
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
        let is_same = || digest.is_some_and(|digest| self.digester.path(path).ok().flatten() == Some(digest));
        (self.digester.lacks(path) && !is_same()).then_some("files of an input are gone")
    }

    /// Keeps what was written, and says so; none where nothing was.
    pub(super) fn keep_written(&self, job: &JobId, lost: &str, written: &[Written]) -> io::Result<Option<String>> {
        let mut kept = Vec::new();
        for Written { from, to } in written {
            let from = self.root.join(from);
            // An empty folder is nothing.
            drop(fs::remove_dir(&from));
            match keep(&self.root, job, &from, to) {
                Ok(replaced) => kept.push(replaced.kept),
                // A run that died over this may have kept it already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    kept.extend(kept_before(&self.root, job, to).map(|replaced| replaced.kept));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((!kept.is_empty()).then(|| format!("{lost}, and what was written is kept in {}", kept.join(", "))))
    }

    /// Keeps what a step of a run that died wrote, if an input of it is lost, and says so.
    pub(super) fn keep_lost(&self, job: &JobId, step: &str) -> io::Result<Option<String>> {
        let recipe = self.pipeline.recipe(step).map(|id| &self.pipeline.recipes[id]);
        let Some(recipe) = recipe.filter(|recipe| recipe.name == step) else { return Ok(None) };
        let Some(lost) = self.lost(recipe.inputs.iter().map(|input| (*input, None))) else { return Ok(None) };
        let outputs: Vec<_> = recipe.outputs.iter().map(|node| self.pipeline.nodes[*node].path.clone()).collect();
        let written = self.staging.written(job, step, &outputs)?;
        self.keep_written(job, lost, &written)
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

    /// What a step of a run that died wrote, whose outputs belong at these paths.
    fn written(&self, job: &JobId, step: &str, outputs: &[Option<String>]) -> io::Result<Vec<Written>> {
        let run = self.root.join(&self.folder).join(job.as_str());
        let mut all = Vec::new();
        for own in folders(&run)? {
            let name = name_of(&own);
            let Some((rest, i)) = number_at_end(&name) else { continue };
            let is_its = number_at_end(rest).is_some_and(|(of, _)| of == step);
            let Some(to) = outputs.get(i).filter(|_| is_its).cloned().flatten() else { continue };
            // Its path may have been another one.
            let first = fs::read_dir(&own)?.next().transpose()?.map(|entry| entry.file_name());
            let file = first.map(|name| name.to_string_lossy().into_owned());
            let file = file.unwrap_or_else(|| to.rsplit('/').next().unwrap_or(&to).to_owned());
            all.push(Written { from: format!("{}/{job}/{name}/{file}", self.folder), to });
        }
        all.extend(self.written_in_place(job, step)?);
        Ok(all)
    }

    /// What a step wrote in place.
    pub(super) fn written_in_place(&self, job: &JobId, step: &str) -> io::Result<Vec<Written>> {
        let begun = self.begun_in_place(job, step)?.into_iter();
        Ok(begun.map(|path| Written { from: path.clone(), to: path }).collect())
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A name without the number at its end, and that.
fn number_at_end(name: &str) -> Option<(&str, usize)> {
    let (rest, number) = name.rsplit_once('-')?;
    Some((rest, number.parse().ok()?))
}
