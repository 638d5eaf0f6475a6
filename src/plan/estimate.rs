//! How long a plan will take: the longest way through it, and its span with so many jobs at once. Rests on recorded
//! durations; a step without one counts as nothing and is told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::base::id::{DenseMap, RecipeId};
use crate::base::job::Schedule;
use crate::graph::Graph;
use crate::plan::reason::Action;
use crate::plan::{Plan, Step};

/// An estimate of a plan, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// The span if nothing that is *maybe* is built.
    pub least_ms: u64,
    /// The span if all of it is built.
    pub most_ms: u64,
    /// How many steps have no recorded duration.
    pub unknown: usize,
    /// The longest way through the steps that are or may be built.
    pub longest: Vec<RecipeId>,
}

/// Estimates a plan with `jobs` at once.
#[must_use]
pub fn estimate(plan: &Plan, graph: &Graph, schedule: Schedule, jobs: u32) -> Estimate {
    let weight = weights(plan, graph.stage.len());
    let span = |with_maybe: bool| {
        let counts = |id: RecipeId| weight[id].filter(|w| with_maybe || w.certain).map(|w| w.ms);
        match schedule {
            Schedule::Stages => by_stages(graph, &counts, jobs),
            Schedule::Eager => eager(graph, &counts, jobs),
        }
    };
    let most_ms = span(true);
    let open = weight.values().flatten().any(|weight| !weight.certain);
    Estimate {
        least_ms: if open { span(false) } else { most_ms },
        most_ms,
        unknown: doable(plan).filter(|step| step.expected_ms.is_none()).count(),
        longest: longest(plan, graph),
    }
}

/// What both schedules come to, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// Stage by stage.
    pub stages_ms: u64,
    /// Each step as soon as its own inputs are there.
    pub eager_ms: u64,
}

/// What both schedules come to, with `jobs` at once, for steps that took so long; none for one that did not run.
#[must_use]
pub fn spans(graph: &Graph, took: &dyn Fn(RecipeId) -> Option<u64>, jobs: u32) -> Spans {
    Spans { stages_ms: by_stages(graph, took, jobs), eager_ms: eager(graph, took, jobs) }
}

/// The steps that take time: what cannot be built takes none.
fn doable(plan: &Plan) -> impl DoubleEndedIterator<Item = &Step> {
    plan.steps.iter().filter(|step| step.fate().is_active())
}

#[derive(Clone, Copy)]
struct Weight {
    ms: u64,
    certain: bool,
}

fn weights(plan: &Plan, len: usize) -> DenseMap<RecipeId, Option<Weight>> {
    let mut weight = DenseMap::filled(len, None);
    for step in doable(plan) {
        let ms = step.expected_ms.unwrap_or(0);
        weight[step.id] = Some(Weight { ms, certain: step.action == Action::Build });
    }
    weight
}

/// For each step of the plan, how long the longest way from its beginning to the end of the plan takes. A step counts for
/// at least one millisecond, so that of two ways the one with more steps is longer.
#[must_use]
pub fn remaining(plan: &Plan, graph: &Graph) -> DenseMap<RecipeId, u64> {
    let mut remaining = DenseMap::filled(graph.stage.len(), 0);
    for step in doable(plan).rev() {
        let after = graph.feeds[step.id].iter().map(|next| remaining[*next]).max().unwrap_or(0);
        remaining[step.id] = after + step.expected_ms.unwrap_or(0).max(1);
    }
    remaining
}

fn longest(plan: &Plan, graph: &Graph) -> Vec<RecipeId> {
    let remaining = remaining(plan, graph);
    let first_longest = |ids: &mut dyn Iterator<Item = RecipeId>| {
        ids.filter(|id| remaining[*id] > 0).max_by_key(|id| (remaining[*id], Reverse(*id)))
    };
    let mut way = Vec::new();
    let mut at = first_longest(&mut doable(plan).map(|step| step.id));
    while let Some(id) = at {
        way.push(id);
        at = first_longest(&mut graph.feeds[id].iter().copied());
    }
    way
}

/// Each stage waits for the one before; within it steps take the first free slot in order.
fn by_stages(graph: &Graph, counts: &dyn Fn(RecipeId) -> Option<u64>, jobs: u32) -> u64 {
    let mut start = 0;
    let mut end = 0;
    let mut stage = 0;
    let mut slots: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    for id in &graph.order {
        let Some(ms) = counts(*id) else { continue };
        if graph.stage[*id] != stage {
            (stage, start) = (graph.stage[*id], end);
            slots.clear();
        }
        end = end.max(take_slot(&mut slots, jobs, start, ms));
    }
    end
}

/// Steps begin when what they need has ended, the longest remaining way first.
fn eager(graph: &Graph, counts: &dyn Fn(RecipeId) -> Option<u64>, jobs: u32) -> u64 {
    let mut remaining: DenseMap<RecipeId, u64> = DenseMap::filled(graph.stage.len(), 0);
    let mut waits: DenseMap<RecipeId, usize> = DenseMap::filled(graph.stage.len(), 0);
    for id in graph.order.iter().rev() {
        if let Some(ms) = counts(*id) {
            remaining[*id] = ms + graph.feeds[*id].iter().map(|next| remaining[*next]).max().unwrap_or(0);
            waits[*id] = graph.needs[*id].iter().filter(|need| counts(**need).is_some()).count();
        }
    }
    let entry = |id: RecipeId| (remaining[id], Reverse(id));
    let mut ready: BinaryHeap<_> =
        graph.order.iter().filter(|id| counts(**id).is_some() && waits[**id] == 0).map(|id| entry(*id)).collect();
    let mut running: BinaryHeap<Reverse<(u64, RecipeId)>> = BinaryHeap::new();
    let mut now = 0;
    loop {
        while running.len() < jobs.max(1) as usize {
            let Some((_, Reverse(id))) = ready.pop() else {
                break;
            };
            running.push(Reverse((now + counts(id).unwrap_or(0), id)));
        }
        let Some(Reverse((end, id))) = running.pop() else {
            return now;
        };
        now = end;
        for next in &graph.feeds[id] {
            if counts(*next).is_some() {
                waits[*next] -= 1;
                if waits[*next] == 0 {
                    ready.push(entry(*next));
                }
            }
        }
    }
}

fn take_slot(slots: &mut BinaryHeap<Reverse<u64>>, jobs: u32, start: u64, ms: u64) -> u64 {
    let free = if slots.len() < jobs.max(1) as usize { start } else { slots.pop().map_or(start, |Reverse(end)| end) };
    slots.push(Reverse(free + ms));
    free + ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    /// Two ways of two steps, slow then quick and quick then slow: stages wait for the slow ones twice.
    #[test]
    fn both_schedules_are_simulated_with_what_the_steps_took() {
        let id = RecipeId::from_index;
        let graph = Graph {
            order: (0..4).map(id).collect(),
            stage: [1, 1, 2, 2].into_iter().collect(),
            needs: [vec![], vec![], vec![id(0)], vec![id(1)]].into_iter().collect(),
            feeds: [vec![id(2)], vec![id(3)], vec![], vec![]].into_iter().collect(),
        };
        let took = |ran: [Option<u64>; 4]| spans(&graph, &|id| ran[id.index()], 2);
        let slow = took([Some(10), Some(1), Some(1), Some(10)]);
        assert_eq!(slow, Spans { stages_ms: 20, eager_ms: 11 });
        let part = took([None, Some(1), None, Some(10)]);
        assert_eq!(part, Spans { stages_ms: 11, eager_ms: 11 });
    }
}
