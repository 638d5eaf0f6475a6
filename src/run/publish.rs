//! From complete outputs to outputs in place: they are flushed together, told, put in place, recorded.

use crate::base::digest::{Digest, FieldHasher};
use crate::engine::api::StagedOutput;
use crate::event::{Event, Failure, FailureCode, Outcome, Replaced, Staged};
use crate::run::setup::{Effect, LINGER_MS, Timer};
use crate::run::state::{Run, State};

/// Whether staged outputs wait for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linger {
    No,
    Waiting,
    Over,
}

/// So many steps with staged outputs do not wait for more.
const LARGEST_BATCH: usize = 256;

impl Run {
    /// All outputs of a step are complete.
    pub(super) fn complete(&mut self, i: usize, outputs: Vec<StagedOutput>) {
        let mut staged = Vec::new();
        let mut records = Vec::with_capacity(outputs.len());
        let basis = self.basis();
        let foreign = basis.foreign(self.steps[i].id);
        for output in outputs {
            let node = &self.pipeline.nodes[output.node];
            let digest = output.digest.unwrap_or_else(|| self.unseen(i, &node.name));
            records.push(basis.output(output.node, digest));
            let keep = output.staged.is_some() && foreign(output.node);
            staged.extend(output.staged.map(|staged| Staged { keep, ..staged }));
        }
        drop(foreign);
        let step = &mut self.steps[i];
        if let Some(record) = &mut step.record {
            record.outputs = records;
        }
        if staged.is_empty() {
            self.built(i);
        } else {
            step.staged = staged;
            step.state = State::Staged;
            self.staged.push(i);
        }
    }

    /// What stands for a content that cannot be seen: another one with each build.
    fn unseen(&self, i: usize, node: &str) -> Digest {
        let key = self.steps[i].record.as_ref().map(|record| record.key.to_string()).unwrap_or_default();
        FieldHasher::default().field(key.as_bytes()).field(node.as_bytes()).field(self.job.as_str().as_bytes()).finish()
    }

    /// Staged outputs are flushed together: at once when nothing could start anyway, or when the last ones came alone, else
    /// after a short wait for more.
    pub(super) fn flush(&mut self) {
        if self.staged.is_empty() || !self.flushing.is_empty() {
            return;
        }
        let busy = self.running >= self.policy.jobs && !self.stopping;
        let more = self.together > 1;
        if busy && more && self.linger != Linger::Over && self.staged.len() < LARGEST_BATCH {
            if self.linger == Linger::No {
                self.linger = Linger::Waiting;
                self.effects.push(Effect::Wake(Timer::Linger, LINGER_MS));
            }
            return;
        }
        self.linger = Linger::No;
        self.flushing = std::mem::take(&mut self.staged);
        self.together = self.flushing.len();
        let staged = self.flushing.iter().map(|i| (*i, self.steps[*i].staged.clone())).collect();
        self.effects.push(Effect::Flush(staged));
    }

    pub(super) fn flushed(&mut self, results: Vec<Result<(), Failure>>) {
        for (i, result) in std::mem::take(&mut self.flushing).into_iter().zip(results) {
            if let Err(failure) = result {
                self.fail(i, failure);
                continue;
            }
            let step = &mut self.steps[i];
            let Some(record) = step.record.clone() else {
                let message = "this is a bug in Kiln: nothing says what it is made from";
                self.fail(i, Failure::new(FailureCode::Crashed, message));
                continue;
            };
            step.state = State::Publishing;
            let (took_ms, staged) = (step.took_ms, step.staged.clone());
            self.publishing += 1;
            self.emit(Event::StepPublishing { step: self.name(i).to_owned(), took_ms, record, staged: staged.clone() });
            self.effects.push(Effect::Publish(i, staged));
        }
    }

    pub(super) fn published(&mut self, i: usize, result: Result<Vec<Replaced>, Failure>) {
        self.publishing -= 1;
        match result {
            Ok(replaced) => {
                self.steps[i].replaced = replaced;
                self.built(i);
            }
            Err(failure) => self.fail(i, failure),
        }
    }

    fn built(&mut self, i: usize) {
        let record = self.steps[i].record.take();
        let last = self.history.last(self.name(i)).map(|last| &last.outputs);
        let outputs = record.as_ref().map(|record| &record.outputs);
        let same = outputs.is_some_and(|outputs| !outputs.is_empty() && last == Some(outputs));
        for (node, output) in self.pipeline.recipes[self.steps[i].id].outputs.iter().zip(outputs.into_iter().flatten())
        {
            self.built.insert(*node, output.digest);
        }
        let outcome = if same { Outcome::Same } else { Outcome::Built };
        self.end_step(i, outcome, record, None);
        self.settle(i, true);
    }
}
