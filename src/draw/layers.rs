//! The graph as the layout sees it: every line leads from one layer to the next, for a long one has a bend in each layer
//! between. Lines that leave the same part share their bends. Does not know the order within layers.

use std::collections::BTreeMap;

use crate::draw::picture::Picture;

/// An item or a bend, with its neighbours in the layers before and after.
#[derive(Clone, Debug)]
pub(super) struct Vertex {
    pub(super) layer: usize,
    /// The item; none for a bend.
    pub(super) item: Option<usize>,
    pub(super) before: Vec<End>,
    pub(super) after: Vec<End>,
}

/// The other end of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) vertex: usize,
    /// Where on that vertex the line begins: 0 its left end, 1 its right. Lines end in the middle.
    pub(super) port: f64,
    pub(super) own_port: f64,
    /// Whether it matters little for the picture where the line runs: it comes from a source, or stands back.
    pub(super) light: bool,
    /// Whether the line ends at a frame: anywhere there.
    pub(super) loose: bool,
}

/// The vertices, items first, and how each edge of the picture goes through them.
pub(super) struct Layers {
    pub(super) vertices: Vec<Vertex>,
    /// The vertices of each layer, in order.
    pub(super) layers: Vec<Vec<usize>>,
    /// For each edge of the picture the bends between its ends.
    pub(super) bends: Vec<Vec<usize>>,
}

/// Puts items into layers, with bends where lines cross them.
pub(super) fn layers(picture: &Picture) -> Layers {
    let vertex = |layer, item| Vertex { layer, item, before: Vec::new(), after: Vec::new() };
    let ranks = ranks(picture);
    let mut vertices: Vec<Vertex> =
        picture.items.iter().enumerate().map(|(i, item)| vertex(ranks[&item.layer], Some(i))).collect();
    let mut trunks: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    let mut bends = Vec::with_capacity(picture.edges.len());
    for edge in &picture.edges {
        let (first, last) = (vertices[edge.from].layer + 1, vertices[edge.to].layer);
        let from = &picture.items[edge.from];
        let light = !from.is_step() && from.fate.is_none() || picture.faint.contains(edge);
        let port = if from.is_wide() { 0.5 } else { (edge.part as f64 + 0.5) / from.parts.len() as f64 };
        let join = |vertices: &mut [Vertex], from: usize, port: f64, to: usize| {
            let loose = vertices[to].item.is_some_and(|i| picture.items[i].is_frame());
            vertices[from].after.push(End { vertex: to, port: 0.5, own_port: port, light, loose });
            vertices[to].before.push(End { vertex: from, port, own_port: 0.5, light, loose });
        };
        let trunk = trunks.entry((edge.from, edge.part)).or_default();
        for layer in first + trunk.len()..last {
            let bend = vertices.len();
            vertices.push(vertex(layer, None));
            match trunk.last() {
                None => join(&mut vertices, edge.from, port, bend),
                Some(before) => join(&mut vertices, *before, 0.5, bend),
            }
            trunk.push(bend);
        }
        let way = trunk[..last - first].to_vec();
        match way.last() {
            None => join(&mut vertices, edge.from, port, edge.to),
            Some(before) => join(&mut vertices, *before, 0.5, edge.to),
        }
        bends.push(way);
    }
    let mut layers = vec![Vec::new(); ranks.len()];
    for (i, vertex) in vertices.iter().enumerate() {
        layers[vertex.layer].push(i);
    }
    Layers { vertices, layers, bends }
}

/// The layers that have items, numbered without gaps.
pub(super) fn ranks(picture: &Picture) -> BTreeMap<usize, usize> {
    let mut used: Vec<usize> = picture.items.iter().map(|item| item.layer).collect();
    used.sort_unstable();
    used.dedup();
    used.into_iter().enumerate().map(|(rank, layer)| (layer, rank)).collect()
}
