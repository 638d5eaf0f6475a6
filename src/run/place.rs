//! Has the outputs of steps put in place, beside the loop. Decides nothing.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::event::{Failure, Staged};
use crate::run::{Done, Driver, crashed};

impl Driver<'_> {
    /// Makes the staged outputs of steps durable.
    pub(super) fn flush(&mut self, steps: Vec<(usize, Vec<Staged>)>) {
        tracing::debug!(steps = steps.len(), "new outputs are flushed");
        let (outputs, job) = (Arc::clone(&self.drive.outputs), self.drive.job.clone());
        let name = |step| self.drive.run.name(step).to_owned();
        let steps: Vec<_> = steps.into_iter().map(|(step, staged)| (name(step), staged)).collect();
        self.blocking(move || {
            let flushed = unless_it_panics(|| Ok(outputs.flush(&job, &steps)));
            Done::Flushed(flushed.unwrap_or_else(|failure| vec![Err(failure); steps.len()]))
        });
    }

    /// Puts the outputs of steps in place.
    pub(super) fn publish(&mut self, steps: Vec<(usize, String, Vec<Staged>)>) {
        let (outputs, job) = (Arc::clone(&self.drive.outputs), self.drive.job.clone());
        self.blocking(move || {
            let (mut results, mut placed) = (Vec::with_capacity(steps.len()), Vec::new());
            for (i, step, staged) in steps {
                let result = unless_it_panics(|| outputs.publish(&job, &step, &staged));
                placed.extend(result.is_ok().then_some((step, staged)));
                results.push((i, result));
            }
            let settled = unless_it_panics(|| Ok(outputs.settle(&placed)));
            let settled = settled.unwrap_or_else(|failure| vec![Err(failure); placed.len()]);
            for ((_, result), settled) in results.iter_mut().filter(|(_, result)| result.is_ok()).zip(settled) {
                if let (Ok(published), Err(failure)) = (&*result, settled) {
                    *result = Err(published.fails(failure));
                }
            }
            Done::Published(results)
        });
    }

    /// Takes back the outputs of which it could not be kept that they are put in place, and tells of each of their steps what people
    /// should know. Nothing of the run goes on any more.
    pub(super) fn take_back(&self) -> HashMap<String, String> {
        let steps = self.pending.iter().filter(|_| self.lost.is_some()).flat_map(|batch| &batch.publish);
        let take = |(_, step, staged): &(usize, String, Vec<Staged>)| {
            let told = self.drive.outputs.take_back(&self.drive.job, step, staged);
            (!told.is_empty()).then(|| (step.clone(), told.join("; ")))
        };
        steps.filter_map(take).collect()
    }
}

fn unless_it_panics<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(crashed(panic.as_ref())))
}
