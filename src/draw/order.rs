//! The order within layers, with few crossings: sweeps that put each vertex where the middle of its neighbours is, and
//! swaps of neighbours that help. The best order that was seen counts. Deterministic; knows no sizes.

use crate::draw::layers::{End, Layers, Vertex};

/// So many times down and up.
const SWEEPS: usize = 12;
/// In a larger picture neighbours are not swapped.
const SWAPS_UP_TO: usize = 4_000;

/// The order that means something may have one crossing more for each so many.
const DEAR: u64 = 3;

/// Orders the vertices of each layer. With `keep` the items stay in their first order, which means something, if not many more
/// lines cross then; only bends move.
pub(super) fn order(graph: &mut Layers, keep: bool) {
    let by_file = graph.layers.clone();
    let in_depth = in_depth(graph);
    let (fewest, mut best) = search(graph, vec![by_file.clone(), in_depth], false);
    if keep {
        let (crossings, kept) = search(graph, vec![by_file], true);
        if crossings <= fewest + fewest / DEAR {
            best = kept;
        }
    }
    graph.layers = best;
}

/// The best order that is found from some on, and how many lines cross in it.
fn search(graph: &mut Layers, starts: Vec<Vec<Vec<usize>>>, keep: bool) -> (u64, Vec<Vec<usize>>) {
    let mut best = Vec::new();
    let mut fewest = u64::MAX;
    for start in starts {
        graph.layers = start;
        for sweep in 0..SWEEPS {
            let crossings = crossings(graph);
            if crossings < fewest {
                fewest = crossings;
                best.clone_from(&graph.layers);
            }
            if fewest == 0 {
                break;
            }
            self::sweep(graph, sweep % 2 == 0, keep);
            if graph.vertices.len() <= SWAPS_UP_TO {
                swap(graph, keep);
            }
        }
    }
    (fewest, best)
}

/// Puts the items of a layer into their first order, and leaves all else where it stands.
fn items_in_order(graph: &mut Layers, layer: usize) {
    let is_item = |v: &usize| graph.vertices[*v].item.is_some();
    let mut items: Vec<usize> = graph.layers[layer].iter().copied().filter(is_item).collect();
    items.sort_unstable();
    let mut items = items.into_iter();
    let order = graph.layers[layer].iter().map(|v| if is_item(v) { items.next().unwrap_or(*v) } else { *v });
    graph.layers[layer] = order.collect();
}

/// The order in which the vertices are found from the first ones on: it keeps trees together.
fn in_depth(graph: &Layers) -> Vec<Vec<usize>> {
    let mut layers = vec![Vec::new(); graph.layers.len()];
    let mut seen = vec![false; graph.vertices.len()];
    for start in graph.layers.iter().flatten() {
        let mut stack = vec![*start];
        while let Some(v) = stack.pop() {
            if std::mem::replace(&mut seen[v], true) {
                continue;
            }
            layers[graph.vertices[v].layer].push(v);
            stack.extend(graph.vertices[v].after.iter().rev().map(|end| end.vertex));
        }
    }
    layers
}

fn positions(graph: &Layers) -> Vec<f64> {
    let mut position = vec![0.0; graph.vertices.len()];
    for layer in &graph.layers {
        for (i, v) in layer.iter().enumerate() {
            position[*v] = i as f64;
        }
    }
    position
}

/// Sorts each layer by the middle of the neighbours in the layer that was sorted before it.
fn sweep(graph: &mut Layers, down: bool, keep: bool) {
    let mut position = positions(graph);
    let n = graph.layers.len();
    let order: Vec<usize> = if down { (1..n).collect() } else { (0..n.saturating_sub(1)).rev().collect() };
    for layer in order {
        let middle = |v: usize| {
            let vertex = &graph.vertices[v];
            let ends = if down { &vertex.before } else { &vertex.after };
            let sum: f64 = ends.iter().map(|end| position[end.vertex] + end.port - end.own_port).sum();
            if ends.is_empty() { position[v] } else { sum / ends.len() as f64 }
        };
        let mut keyed: Vec<(f64, usize)> = graph.layers[layer].iter().map(|v| (middle(*v), *v)).collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        graph.layers[layer] = keyed.into_iter().map(|(_, v)| v).collect();
        if keep {
            items_in_order(graph, layer);
        }
        for (i, v) in graph.layers[layer].iter().enumerate() {
            position[*v] = i as f64;
        }
    }
}

/// Swaps neighbours as long as that takes crossings away; with `keep` no two items.
fn swap(graph: &mut Layers, keep: bool) {
    let mut position = positions(graph);
    for _ in 0..4 {
        let mut helped = false;
        for layer in &mut graph.layers {
            for i in 1..layer.len() {
                let (a, b) = (layer[i - 1], layer[i]);
                if keep && graph.vertices[a].item.is_some() && graph.vertices[b].item.is_some() {
                    continue;
                }
                let (now, then) = pair(&graph.vertices[a], &graph.vertices[b], &position);
                if then < now {
                    layer.swap(i - 1, i);
                    (position[a], position[b]) = (position[b], position[a]);
                    helped = true;
                }
            }
        }
        if !helped {
            break;
        }
    }
}

/// So many pairs of lines are compared at once; more are put in order first.
const PAIRS: usize = 64;

/// How many lines of two neighbours cross as they stand, and would if they were swapped.
fn pair(a: &Vertex, b: &Vertex, position: &[f64]) -> (usize, usize) {
    let mut counts = (0, 0);
    let place = |end: &End| position[end.vertex] + end.port;
    for (a, b) in [(&a.before, &b.before), (&a.after, &b.after)] {
        if a.len() * b.len() > PAIRS {
            let [a, b] = [a, b].map(|ends| {
                let mut places: Vec<f64> = ends.iter().map(place).collect();
                places.sort_unstable_by(f64::total_cmp);
                places
            });
            counts.0 += smaller(&b, &a);
            counts.1 += smaller(&a, &b);
            continue;
        }
        for x in a.iter().map(place) {
            for y in b.iter().map(place) {
                counts.0 += usize::from(x > y);
                counts.1 += usize::from(x < y);
            }
        }
    }
    counts
}

/// In how many pairs the first is smaller than the second. Both are in order, so that each is looked at once.
fn smaller(first: &[f64], second: &[f64]) -> usize {
    let mut passed = 0;
    let pairs = second.iter().map(|end| {
        passed += first[passed..].iter().take_while(|other| *other < end).count();
        passed
    });
    pairs.sum()
}

/// How many lines cross.
pub(super) fn crossings(graph: &Layers) -> u64 {
    let position = positions(graph);
    let mut total = 0;
    for layer in &graph.layers {
        let line = |v: usize, end: &End| (position[v] + end.own_port, position[end.vertex]);
        let mut lines: Vec<(f64, f64)> =
            layer.iter().flat_map(|v| graph.vertices[*v].after.iter().map(|end| line(*v, end))).collect();
        lines.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let ends: Vec<usize> = lines.iter().map(|(_, to)| *to as usize).collect();
        total += inversions(&ends);
    }
    total
}

/// How many pairs stand in the wrong order: a tree of counts, so that it takes n log n.
fn inversions(values: &[usize]) -> u64 {
    let len = values.iter().max().map_or(0, |max| max + 1);
    let mut tree = vec![0u64; len + 1];
    let mut total = 0;
    for (seen, value) in values.iter().enumerate() {
        let mut not_larger = 0;
        let mut i = value + 1;
        while i > 0 {
            not_larger += tree[i];
            i &= i - 1;
        }
        total += seen as u64 - not_larger;
        let mut i = value + 1;
        while i <= len {
            tree[i] += 1;
            i += i & i.wrapping_neg();
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_neighbours_are_counted_as_if_each_were_compared_with_each() {
        // Small numbers by chance, so that many are equal.
        let mut state = 7_u64;
        let mut next = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        for _ in 0..500 {
            let mut ends = || -> Vec<f64> { (0..next(9)).map(|_| next(12) as f64 / 2.0).collect() };
            let (mut first, mut second) = (ends(), ends());
            let each: usize = first.iter().flat_map(|a| second.iter().map(move |b| usize::from(a < b))).sum();
            first.sort_unstable_by(f64::total_cmp);
            second.sort_unstable_by(f64::total_cmp);
            let counted: usize = smaller(&first, &second);
            assert_eq!(counted, each, "{first:?} {second:?}");
        }
    }
}
