//! Where everything stands: boxes, their parts, lines. Downwards where that is not too wide, else to the right. Does not
//! know how anything looks.

use crate::draw::layers::{Layers, layers, ranks};
use crate::draw::order::order;
use crate::draw::picture::{Item, Picture, Shape};
use crate::draw::place::place;
use crate::draw::shapes::SHEET;
use crate::draw::size::{Grid, HEAD, Labels, PAD, PART, Size, grid, member, size, widest};

/// A picture that would be wider goes to the right.
const WIDEST: f64 = 1_200.0;
/// How much room a line takes that crosses a layer.
const BEND: f64 = 6.0;
/// The least space between two layers: downwards and to the right.
const BETWEEN: [f64; 2] = [38.0, 52.0];

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

/// A point.
pub(super) type Point = (f64, f64);

/// A picture with places.
pub(super) struct Layout {
    /// Whether it goes downwards.
    pub(super) down: bool,
    /// Where each item stands.
    pub(super) items: Vec<Rect>,
    /// Where its parts stand.
    pub(super) parts: Vec<Vec<Rect>>,
    /// The points of each line: straight from an even one to the next, curved from there.
    pub(super) lines: Vec<Vec<Point>>,
    /// Where each layer begins and ends, in the direction of the picture, with its number.
    pub(super) bands: Vec<(usize, f64, f64)>,
    /// How large all of it is.
    pub(super) size: Size,
}

/// Finds a place for everything.
pub(super) fn layout(picture: &Picture) -> Layout {
    let mut graph = layers(picture);
    order(&mut graph, picture.items.iter().any(|item| is_stack(item) && !item.tags.is_empty()));
    let labels = &Labels::of(picture);
    let down = Layouter::new(picture, labels, &graph, true).lay_out();
    if down.size.w <= WIDEST {
        return down;
    }
    let right = Layouter::new(picture, labels, &graph, false).lay_out();
    if right.size.w < down.size.w { right } else { down }
}

struct Layouter<'a> {
    picture: &'a Picture,
    labels: &'a Labels,
    graph: &'a Layers,
    down: bool,
    sizes: Vec<Size>,
    /// Where each layer begins and ends.
    bands: Vec<(f64, f64)>,
    /// The middle of each vertex across the layers.
    across: Vec<f64>,
}

impl<'a> Layouter<'a> {
    fn new(picture: &'a Picture, labels: &'a Labels, graph: &'a Layers, down: bool) -> Self {
        let mut sizes: Vec<Size> = picture.items.iter().map(|item| size(item, labels, !down)).collect();
        if !down {
            same_width(picture, graph, &mut sizes);
        }
        let extent = |v: usize| match graph.vertices[v].item {
            None => BEND,
            Some(i) if down => sizes[i].w,
            Some(i) => sizes[i].h,
        };
        let extents: Vec<f64> = (0..graph.vertices.len()).map(extent).collect();
        let across = place(graph, &extents);
        let mut begin = 0.0;
        let mut bands = Vec::new();
        for layer in &graph.layers {
            let thick = |v: &usize| graph.vertices[*v].item.map(|i| if down { sizes[i].h } else { sizes[i].w });
            let thickness = layer.iter().filter_map(thick).fold(0.0, f64::max);
            bands.push((begin, begin + thickness));
            let lines: usize = layer.iter().map(|v| graph.vertices[*v].after.len()).sum();
            begin += thickness + BETWEEN[usize::from(!down)] + (lines as f64).min(60.0);
        }
        Self { picture, labels, graph, down, sizes, bands, across }
    }

    fn lay_out(self) -> Layout {
        let items: Vec<Rect> = (0..self.picture.items.len()).map(|i| self.rect(i)).collect();
        let parts: Vec<Vec<Rect>> = items.iter().enumerate().map(|(i, rect)| self.parts(i, *rect)).collect();
        let lines = self.lines(&items, &parts);
        let numbers: Vec<usize> = ranks(self.picture).into_keys().collect();
        let bands = numbers.into_iter().zip(&self.bands).map(|(number, (begin, end))| (number, *begin, *end)).collect();
        let points = lines.iter().flatten().copied();
        let corners = items.iter().map(|rect| (rect.x + rect.w, rect.y + rect.h));
        let size = points
            .chain(corners)
            .fold(Size { w: 0.0, h: 0.0 }, |size, (x, y)| Size { w: size.w.max(x), h: size.h.max(y) });
        Layout { down: self.down, items, parts, lines, bands, size }
    }

    /// A point from its places along and across.
    fn point(&self, along: f64, across: f64) -> Point {
        if self.down { (across, along) } else { (along, across) }
    }

    fn rect(&self, i: usize) -> Rect {
        let (begin, end) = self.bands[self.graph.vertices[i].layer];
        let (x, y) = self.point(begin.midpoint(end), self.across[i]);
        let Size { w, h } = self.sizes[i];
        Rect { x: x - w / 2.0, y: y - h / 2.0, w, h }
    }

    fn parts(&self, i: usize, rect: Rect) -> Vec<Rect> {
        let item = &self.picture.items[i];
        if !item.members.is_empty() {
            return cells(&grid(item.members.len(), member(&item.members, self.labels)), rect);
        }
        if item.is_wide() {
            return cells(&grid(item.parts.len(), Size { w: widest(item, self.labels), h: PART }), rect);
        }
        let n = item.parts.len();
        if n == 1 {
            return vec![rect];
        }
        let (columns, rows) = if self.down { (n, 1) } else { (1, n) };
        let w = (rect.w - PAD) / columns as f64 - PAD;
        let part = |k: usize| {
            let (column, row) = ((k % columns) as f64, (k / columns % rows) as f64);
            let x = rect.x + PAD + column * (w + PAD);
            Rect { x, y: rect.y + HEAD + row * (PART + PAD), w, h: PART }
        };
        (0..n).map(part).collect()
    }

    fn lines(&self, items: &[Rect], parts: &[Vec<Rect>]) -> Vec<Vec<Point>> {
        let ends = self.arrivals(items);
        let edges = self.picture.edges.iter().enumerate();
        edges
            .map(|(e, edge)| {
                let from = &self.picture.items[edge.from];
                let whole = !from.members.is_empty() || edge.part == from.parts.len();
                let part = if whole { items[edge.from] } else { parts[edge.from][edge.part] };
                let begin = if self.down {
                    (part.x + part.w / 2.0, part.y + part.h)
                } else {
                    (part.x + part.w, part.y + part.h / 2.0)
                };
                let mut across = if self.down { begin.0 } else { begin.1 };
                let mut points = vec![begin];
                if from.is_wide() && !whole {
                    let way;
                    (across, way) = self.way_out(part, items[edge.from], across);
                    points.extend(way.into_iter().flat_map(|way| [begin, way]));
                }
                points.push(self.point(self.bands[self.graph.vertices[edge.from].layer].1, across));
                for bend in &self.graph.bends[e] {
                    let (begin, end) = self.bands[self.graph.vertices[*bend].layer];
                    points.push(self.point(begin, self.across[*bend]));
                    points.push(self.point(end, self.across[*bend]));
                }
                let (to, behind) = (items[edge.to], if is_stack(&self.picture.items[edge.to]) { SHEET } else { 0.0 });
                let end = if self.down { to.y - behind } else { to.x };
                points.push(self.point(self.bands[self.graph.vertices[edge.to].layer].0.min(end), ends[e]));
                points.push(self.point(end, ends[e]));
                points
            })
            .collect()
    }

    /// How a line leaves a thing that stands in rows: between two of those that stand before it, to where that way begins.
    fn way_out(&self, part: Rect, frame: Rect, across: f64) -> (f64, Option<Point>) {
        let (end, last) = match self.down {
            true => (part.y + part.h, frame.y + frame.h),
            false => (part.x + part.w, frame.x + frame.w),
        };
        // Behind the last one there is nothing but the edge of the frame.
        if end + 2.0 * PAD > last {
            return (across, None);
        }
        let across = if self.down { part.x + part.w } else { part.y + part.h } + PAD / 2.0;
        (across, Some(self.point(end + PAD, across)))
    }

    /// Where each line meets its item, across the layers: side by side, in the order in which they come.
    fn arrivals(&self, items: &[Rect]) -> Vec<f64> {
        let mut coming: Vec<Vec<(f64, usize)>> = vec![Vec::new(); items.len()];
        for (e, edge) in self.picture.edges.iter().enumerate() {
            let from = self.graph.bends[e].last().copied().unwrap_or(edge.from);
            let part = if self.graph.bends[e].is_empty() { edge.part as f64 } else { 0.0 };
            coming[edge.to].push((self.across[from] + part, e));
        }
        let mut ends = vec![0.0; self.picture.edges.len()];
        for (i, lines) in coming.iter_mut().enumerate() {
            lines.sort_by(|a, b| a.0.total_cmp(&b.0));
            let room = if self.down { items[i].w } else { items[i].h } * 0.6;
            let step = if lines.len() < 2 { 0.0 } else { (room / (lines.len() - 1) as f64).min(12.0) };
            let first = self.across[i] - step * (lines.len().saturating_sub(1)) as f64 / 2.0;
            for (k, (_, e)) in lines.iter().enumerate() {
                ends[*e] = first + step * k as f64;
            }
        }
        ends
    }
}

/// Whether an item is drawn as a stack of sheets.
fn is_stack(item: &Item) -> bool {
    item.members.is_empty() && item.parts[0].shape == Shape::Group
}

/// Where the things of a grid stand.
fn cells(grid: &Grid, rect: Rect) -> Vec<Rect> {
    let Grid { n, columns, cell } = *grid;
    let left = rect.x + (rect.w - columns as f64 * (cell.w + PAD) + PAD) / 2.0;
    let place = |k: usize| {
        let (column, row) = ((k % columns) as f64, (k / columns) as f64);
        Rect { x: left + column * (cell.w + PAD), y: rect.y + HEAD + row * (cell.h + PAD), w: cell.w, h: cell.h }
    };
    (0..n).map(place).collect()
}

/// Makes the items of a layer equally wide, so that they stand as a column. A frame around many others is no measure.
fn same_width(picture: &Picture, graph: &Layers, sizes: &mut [Size]) {
    let plain = |i: &usize| picture.items[*i].members.is_empty() && !picture.items[*i].is_wide();
    for layer in &graph.layers {
        let items: Vec<usize> = layer.iter().filter_map(|v| graph.vertices[*v].item).filter(plain).collect();
        let widest = items.iter().map(|i| sizes[*i].w).fold(0.0, f64::max);
        items.iter().for_each(|i| sizes[*i].w = widest);
    }
}
