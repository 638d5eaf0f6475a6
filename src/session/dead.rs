//! What a run that died was about to put in place, seen by a plan as if it were in place: the next run begins by doing
//! that. Changes nothing.

use std::collections::HashSet;

use crate::base::digest::Digest;
use crate::engine::outputs::Outputs;
use crate::pipeline::types::Pipeline;
use crate::plan::facts::{Content, Facts};
use crate::plan::put_back::PutBack;
use crate::plan::record::{History, LastGood, MemoryHistory, Parts};
use crate::store::read::Unfinished;

/// A history with the steps that will be finished first.
struct Settled {
    before: Box<dyn History>,
    now: MemoryHistory,
}

impl History for Settled {
    fn last(&self, step: &str) -> Option<&LastGood> {
        self.now.last(step).or_else(|| self.before.last(step))
    }

    fn parts(&self, step: &str) -> Parts {
        if self.now.last(step).is_some() { self.now.parts(step) } else { self.before.parts(step) }
    }

    fn maker(&self, path: &str, digest: Digest) -> Option<String> {
        self.now.maker(path, digest).or_else(|| self.before.maker(path, digest))
    }

    fn others_in(&self, folder: &str) -> bool {
        self.before.others_in(folder)
    }
}

/// What of that is not in place yet. Forgets what cannot be put there any more: the next run builds it again.
pub(super) fn ahead(dead: &mut [Unfinished], before: &dyn History, outputs: &dyn Outputs) -> Vec<PutBack> {
    let mut ahead = Vec::new();
    for run in dead {
        run.publishing.retain_mut(|row| {
            let last = before.last(&row.step).map(|last| last.outputs.as_slice()).unwrap_or_default();
            let found = outputs.halfway(&run.job, &row.step, &mut row.staged, last);
            found.map(|found| ahead.extend(found)).is_ok()
        });
    }
    ahead
}

/// Takes in what runs that died will have built.
pub(super) fn settle(
    dead: &[Unfinished],
    pipeline: &Pipeline,
    facts: &mut Facts,
    before: Box<dyn History>,
) -> Box<dyn History> {
    let mut now = MemoryHistory::default();
    for (run, row) in dead.iter().flat_map(|run| run.publishing.iter().map(move |row| (run, row))) {
        let (key, outputs, built_at) = (row.record.key, row.record.outputs.clone(), run.last_at().unwrap_or(facts.now));
        // What is in place already is as it was seen.
        let to_come: HashSet<&String> = row.staged.iter().map(|staged| &staged.to).collect();
        for output in &outputs {
            if let Some(node) = pipeline.node(&output.node)
                && output.path.as_ref().is_some_and(|path| to_come.contains(path))
                && pipeline.nodes[node].path == output.path
            {
                facts.nodes[node] = Content::Is(output.digest);
            }
        }
        let last = LastGood { key, built_at, job: run.job.clone(), outputs };
        now.steps.insert(row.step.clone(), (last, row.record.parts.clone()));
    }
    if now.steps.is_empty() { before } else { Box::new(Settled { before, now }) }
}
