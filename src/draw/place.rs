//! Where the vertices of each layer stand, in their order: as near as possible to the middle of their neighbours, without
//! touching one another. Does not know which way the picture goes.

use crate::draw::layers::{End, Layers};

/// So many times down and up.
const SWEEPS: usize = 24;
/// The space between two items, and beside a bend.
const GAP: f64 = 18.0;
/// How much less a source pulls: it goes where it is read, and not the other way.
const LIGHT: f64 = 0.02;
/// As for [`GAP`].
const BEND_GAP: f64 = 10.0;

/// The middle of each vertex across the layers, beginning at 0. `extent` is how much room each takes there.
pub(super) fn place(graph: &Layers, extent: &[f64]) -> Vec<f64> {
    let mut at = vec![0.0; graph.vertices.len()];
    for layer in &graph.layers {
        let total: f64 = layer.windows(2).map(|pair| apart(graph, extent, pair[0], pair[1])).sum();
        let mut x = -total / 2.0;
        for (i, v) in layer.iter().enumerate() {
            if i > 0 {
                x += apart(graph, extent, layer[i - 1], *v);
            }
            at[*v] = x;
        }
    }
    let n = graph.layers.len();
    for sweep in 0..SWEEPS {
        let both = sweep + 2 >= SWEEPS;
        for i in 0..n {
            let (layer, sides) = if sweep % 2 == 0 { (i, (true, both)) } else { (n - 1 - i, (both, true)) };
            settle(graph, extent, &graph.layers[layer], sides, &mut at);
        }
    }
    let first = (0..at.len()).map(|v| at[v] - extent[v] / 2.0).fold(f64::INFINITY, f64::min);
    at.iter_mut().for_each(|x| *x -= first);
    at
}

/// How far the middles of two neighbours are apart at least.
fn apart(graph: &Layers, extent: &[f64], a: usize, b: usize) -> f64 {
    let bend = graph.vertices[a].item.is_none() || graph.vertices[b].item.is_none();
    extent[a].midpoint(extent[b]) + if bend { BEND_GAP } else { GAP }
}

/// Moves the vertices of a layer to where their neighbours pull them; `sides` says which neighbours.
fn settle(graph: &Layers, extent: &[f64], layer: &[usize], sides: (bool, bool), at: &mut [f64]) {
    let mut offset = 0.0;
    let mut offsets = Vec::with_capacity(layer.len());
    let mut wishes = Vec::with_capacity(layer.len());
    for (i, v) in layer.iter().enumerate() {
        if i > 0 {
            offset += apart(graph, extent, layer[i - 1], *v);
        }
        let (wish, weight) = wish(graph, extent, *v, sides, at);
        offsets.push(offset);
        wishes.push((wish - offset, weight));
    }
    for ((v, x), offset) in layer.iter().zip(rising(&wishes)).zip(offsets) {
        at[*v] = x + offset;
    }
}

/// Where the neighbours of a vertex pull it, and how strongly. Long lines pull most, so that they are straight.
fn wish(graph: &Layers, extent: &[f64], v: usize, sides: (bool, bool), at: &[f64]) -> (f64, f64) {
    let vertex = &graph.vertices[v];
    let (mut sum, mut weight) = (0.0, 0.0);
    let mut pull = |end: &End| {
        let bends = usize::from(vertex.item.is_none()) + usize::from(graph.vertices[end.vertex].item.is_none());
        let w = [1.0, 2.0, 8.0][bends] * if end.light { LIGHT } else { 1.0 };
        let (there, own) = ((end.port - 0.5) * extent[end.vertex], (end.own_port - 0.5) * extent[v]);
        let wish = match (end.loose, bends) {
            (false, _) => at[end.vertex] + there - own,
            // Two items: their middles, wherever the line begins, so that frames in a row make no staircase.
            (true, 0) => at[end.vertex],
            (true, _) => {
                at[v]
                    + to_frame(
                        vertex.item.is_some(),
                        (at[v], own, extent[v]),
                        (at[end.vertex], there, extent[end.vertex]),
                    )
            }
        };
        sum += w * wish;
        weight += w;
    };
    if sides.0 {
        vertex.before.iter().for_each(&mut pull);
    }
    if sides.1 {
        vertex.after.iter().for_each(&mut pull);
    }
    if weight == 0.0 { (at[v], 0.1) } else { (sum / weight, weight) }
}

/// How far a vertex has to move so that a line between a bend and a frame is straight: not at all as long as the frame is wide enough.
/// Each is where it stands, how far from there the line is, and how wide it is.
fn to_frame(is_frame: bool, own: (f64, f64, f64), other: (f64, f64, f64)) -> f64 {
    let (frame, bend) = if is_frame { (own, other) } else { (other, own) };
    let (half, line) = (frame.2 * 0.45, bend.0 + bend.1);
    let off = line - line.clamp(frame.0 - half, frame.0 + half);
    if is_frame { off } else { -off }
}

/// The rising values that are nearest to the wished ones, by weighted squares: neighbours that stand in the wrong order
/// are pooled until none does.
pub(super) fn rising(wishes: &[(f64, f64)]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (wish, weight) in wishes {
        pools.push((*wish, *weight, 1));
        while let [.., (a, wa, na), (b, wb, nb)] = pools.as_slice() {
            if a <= b {
                break;
            }
            let pool = ((a * wa + b * wb) / (wa + wb), wa + wb, na + nb);
            pools.truncate(pools.len() - 2);
            pools.push(pool);
        }
    }
    pools.into_iter().flat_map(|(value, _, n)| std::iter::repeat_n(value, n)).collect()
}
