//! Which step starts next. Knows the order of steps and the barriers between stages; starts nothing itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::base::job::Schedule;

/// Steps that wait for a free slot, best first.
pub(crate) struct Ready {
    schedule: Schedule,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    /// How many steps of each stage have not ended, by position in `stages`.
    left: Vec<usize>,
    /// The position of the first stage that has not ended.
    gate: usize,
    /// The position of each step's stage.
    stage: Vec<usize>,
    /// How long the longest way from each step to the end takes.
    remaining: Vec<u64>,
}

impl Ready {
    /// No step is ready. `stages` are the stages of the steps, in rising order; `remaining` their longest ways.
    pub(crate) fn new(schedule: Schedule, stages: &[u32], remaining: Vec<u64>) -> Self {
        let mut left: Vec<usize> = Vec::new();
        let mut stage = Vec::with_capacity(stages.len());
        for (i, number) in stages.iter().enumerate() {
            if i == 0 || stages[i - 1] != *number {
                left.push(0);
            }
            stage.push(left.len() - 1);
            if let Some(last) = left.last_mut() {
                *last += 1;
            }
        }
        Self { schedule, heap: BinaryHeap::new(), left, gate: 0, stage, remaining }
    }

    /// A step has all its inputs.
    pub(crate) fn push(&mut self, step: usize) {
        let rank = match self.schedule {
            Schedule::Stages => self.stage[step] as u64,
            Schedule::Eager => u64::MAX - self.remaining[step],
        };
        self.heap.push(Reverse((rank, step)));
    }

    /// Takes the step out that starts next, if one may start now.
    pub(crate) fn pop(&mut self) -> Option<usize> {
        if self.may_start() { self.heap.pop().map(|Reverse((_, step))| step) } else { None }
    }

    /// Whether a step may start now.
    pub(crate) fn may_start(&self) -> bool {
        self.heap.peek().is_some_and(|Reverse((_, step))| match self.schedule {
            Schedule::Stages => self.stage[*step] <= self.gate,
            Schedule::Eager => true,
        })
    }

    /// A step has ended, in whatever way.
    pub(crate) fn ended(&mut self, step: usize) {
        self.left[self.stage[step]] -= 1;
        while self.left.get(self.gate) == Some(&0) {
            self.gate += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_waits_for_the_one_before() {
        let mut ready = Ready::new(Schedule::Stages, &[1, 1, 3], vec![9, 5, 1]);
        ready.push(2);
        assert_eq!(ready.pop(), None);
        ready.push(1);
        assert_eq!(ready.pop(), Some(1));
        ready.ended(1);
        assert_eq!(ready.pop(), None);
        ready.ended(0);
        assert_eq!(ready.pop(), Some(2));
    }

    #[test]
    fn eager_takes_the_longest_way_first() {
        let mut ready = Ready::new(Schedule::Eager, &[1, 1, 3], vec![5, 9, 9]);
        [2, 0, 1].into_iter().for_each(|step| ready.push(step));
        assert_eq!([ready.pop(), ready.pop(), ready.pop(), ready.pop()], [Some(1), Some(2), Some(0), None]);
    }
}
