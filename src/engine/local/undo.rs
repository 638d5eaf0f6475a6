//! Takes back what steps wrote in place whose outputs do not count: what stood there is put back. Knows what may be the only copy
//! only from those who keep it.

use std::io;

use crate::base::job::JobId;
use crate::engine::local::Local;
use crate::engine::outputs::Done;
use crate::event::Staged;
use crate::plan::put_back::PutBack;

impl Local {
    /// Forgets what was staged for a step whose outputs do not count; where it wrote in place, puts back what stood there, and says
    /// so. What stands there and is not as the step left it is kept, and so is what may be the only copy.
    pub(super) fn take_back(&self, job: &JobId, step: &str, staged: &[Staged]) -> Vec<String> {
        let in_place = staged.iter().any(|output| output.from == output.to);
        let is_its = |path: &str| {
            let output = staged.iter().find(|output| output.to == path);
            output.is_some_and(|output| self.digester.is(path, output.digest))
        };
        let taken = self.keep_lost(job, step).and_then(|kept| {
            let others = if in_place {
                self.staging.put_back(job, step, is_its)?
            } else {
                self.staging.leave(staged.iter().map(|output| output.from.as_str()))?;
                Vec::new()
            };
            Ok(kept.into_iter().chain(others))
        });
        match taken {
            Ok(kept) => in_place.then(|| "what stood there is put back".to_owned()).into_iter().chain(kept).collect(),
            Err(error) => vec![format!("and the next run has to tidy up: {error}")],
        }
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
}
