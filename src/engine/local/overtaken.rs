//! Outputs of a run that died which cannot be put in place any more, since somebody has put something else there: a copy of that is
//! kept, for the next build replaces it. Works on paths; knows no recipes.

use std::fs;

use crate::base::digest::Digest;
use crate::base::job::JobId;
use crate::engine::local::aside::asides;
use crate::engine::local::digest::Digester;
use crate::engine::local::keep::keep_copy;
use crate::engine::local::staging::Staging;
use crate::event::{Replaced, Staged};
use crate::files::remove;
use crate::plan::record::OutputRecord;

impl Staging {
    /// Keeps copies of what stands at these outputs and is nothing that Kiln has built there, or saw there when the run was planned. What
    /// it had built there before goes, where it lies among what was staged.
    pub(super) fn give_up(
        &self,
        job: &JobId,
        step: &str,
        staged: &[Staged],
        last: &[OutputRecord],
        digester: &Digester,
    ) -> Vec<Replaced> {
        // What stands at the place of something that was set aside is looked at when that is put back.
        let set_aside = asides(&self.root.join(self.step(job, step))).unwrap_or_default();
        let mut kept = Vec::new();
        for output in staged.iter().filter(|output| self.no_way(output).is_none()) {
            let built = |digest| last.iter().any(|built| built.is(&output.to, digest));
            let is_old = |digest: Digest| output.stood == Some(digest) || built(digest);
            let is_known = |digest: Digest| digest == output.digest || is_old(digest);
            let stands = self.root.join(&output.to).symlink_metadata().is_ok();
            let is_theirs = stands && !digester.now(&output.to).is_some_and(is_known);
            if is_theirs && !set_aside.iter().any(|aside| aside.is_of(&output.to)) {
                match keep_copy(&self.root, job, &output.to) {
                    Ok(copy) => kept.push(copy),
                    Err(error) => tracing::warn!("what is at {} cannot be kept: {error}", output.to),
                }
            }
            if output.from != output.to {
                self.leave_old(output, is_old, digester);
            }
        }
        kept
    }

    /// Removes what was staged where that is what stood at an output before.
    fn leave_old(&self, output: &Staged, is_old: impl Fn(Digest) -> bool, digester: &Digester) {
        let from = self.root.join(&output.from);
        let is_its = |digest: Digest| digest != output.digest && is_old(digest);
        if digester.now(&output.from).is_some_and(is_its) && !digester.met.holds(&output.from) {
            remove(&from).unwrap_or_else(|error| tracing::debug!(%error, "what was staged cannot be removed"));
        }
        // Of an empty folder nobody is to say that something was moved from there.
        from.parent().into_iter().for_each(|own| drop(fs::remove_dir(own)));
    }
}
