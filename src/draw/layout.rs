//! Where everything stands: boxes, their parts, lines. Downwards where that is not too wide, else to the right. Does not
//! know how anything looks.

use crate::draw::layers::{End, Layers, layers, ranks};
use crate::draw::order::order;
use crate::draw::picture::{Item, Picture, Shape};
use crate::draw::place::{place, rising};
use crate::draw::shapes::{SHEET, inset};
use crate::draw::size::{Grid, HEAD, Labels, NOTE, PAD, PART, Size, grid, member, size, widest, width};

/// A picture that would be wider goes to the right.
const WIDEST: f64 = 1_200.0;
/// How much room a line takes that crosses a layer.
const BEND: f64 = 6.0;
/// The least space between two layers: downwards and to the right.
const BETWEEN: [f64; 2] = [38.0, 52.0];
/// The same where all lines are straight.
const STRAIGHT: [f64; 2] = [24.0, 36.0];
/// How much higher each more stands that is said of lines that end at one item.
pub(super) const SAID_MORE: f64 = 13.0;
/// The room for what is said of a line, beside its arrowhead.
const SAID: f64 = 26.0;

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
        if down {
            // What is said of a line stands above where it ends.
            let said = picture.said.iter();
            said.for_each(|(edge, said)| sizes[edge.to].w = sizes[edge.to].w.max(width(said, NOTE)));
        } else {
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
        for (i, layer) in graph.layers.iter().enumerate() {
            let thick = |v: &usize| graph.vertices[*v].item.map(|i| if down { sizes[i].h } else { sizes[i].w });
            let thickness = layer.iter().filter_map(thick).fold(0.0, f64::max);
            bands.push((begin, begin + thickness));
            begin += thickness
                + between(graph, layer, (&across, &extents), down).max(said_before(picture, graph, i + 1, down));
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
        if !item.members().is_empty() {
            return cells(&grid(item.members().len(), member(item.members(), self.labels)), rect);
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
        let ends = self.arrivals(items, parts);
        (0..self.picture.edges.len()).map(|e| self.line(e, ends[e], items, parts)).collect()
    }

    fn line(&self, e: usize, arrival: f64, items: &[Rect], parts: &[Vec<Rect>]) -> Vec<Point> {
        let edge = &self.picture.edges[e];
        let (from, to) = (&self.picture.items[edge.from], &self.picture.items[edge.to]);
        let whole = !from.members().is_empty() || edge.part == from.parts.len();
        let part = if whole { items[edge.from] } else { parts[edge.from][edge.part] };
        let (middle, end) = match self.down {
            true => (part.x + part.w / 2.0, part.y + part.h),
            false => (part.y + part.h / 2.0, part.x + part.w),
        };
        // From a frame as a whole a line goes straight, as far as it is wide.
        let towards = self.graph.bends[e].first().map_or(arrival, |bend| self.across[*bend]);
        let (least, most) = self.reach(part);
        let mut across = if whole { towards.clamp(least, most) } else { middle };
        let begin = self.point(end, across);
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
        let rect = items[edge.to];
        let behind = if is_stack(to) { SHEET } else { 0.0 };
        let edge_of = if self.down { rect.y - behind } else { rect.x };
        let inside =
            if to.is_frame() { 0.0 } else { inset(to.parts[0].shape, rect, arrival - self.across[edge.to], self.down) };
        // What is said of it stands beside its last piece, where nothing else runs.
        let said = self.picture.said.get(edge).map_or(0.0, |_| said_beside(self.picture, edge.to, self.down));
        points.push(self.point(self.bands[self.graph.vertices[edge.to].layer].0.min(edge_of) - said, arrival));
        points.push(self.point(edge_of + inside, arrival));
        points
    }

    /// Between where and where lines may leave or meet a box, across the layers.
    fn reach(&self, rect: Rect) -> (f64, f64) {
        let (begin, extent) = if self.down { (rect.x, rect.w) } else { (rect.y, rect.h) };
        let edge = (extent / 4.0).min(16.0);
        (begin + edge, begin + extent - edge)
    }

    /// Between where and where lines meet an item: where they come from the side, a frame around outputs at its head, for beside one of
    /// them they would seem to lead to that one.
    fn door(&self, i: usize, rect: Rect) -> (f64, f64) {
        let item = &self.picture.items[i];
        if self.down || !item.is_frame() || !item.members().is_empty() {
            return self.reach(rect);
        }
        (rect.y + HEAD / 4.0, rect.y + HEAD * 0.75)
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

    /// Where each line meets its item, across the layers: side by side, in the order in which they come. At a frame where it comes from, as
    /// far as its door is wide.
    fn arrivals(&self, items: &[Rect], parts: &[Vec<Rect>]) -> Vec<f64> {
        let mut coming: Vec<Vec<(f64, usize)>> = vec![Vec::new(); items.len()];
        for (e, edge) in self.picture.edges.iter().enumerate() {
            coming[edge.to].push((self.comes_from(e, parts), e));
        }
        let mut ends = vec![0.0; self.picture.edges.len()];
        for (i, lines) in coming.iter_mut().enumerate() {
            lines.sort_by(|a, b| a.0.total_cmp(&b.0));
            let last = lines.len().saturating_sub(1) as f64;
            let frame = self.picture.items[i].is_frame();
            let (least, most) = self.door(i, items[i]);
            let extent = if self.down { items[i].w } else { items[i].h };
            let room = if frame { most - least } else { extent * 0.6 };
            let step = if lines.len() < 2 { 0.0 } else { (room / last).min(12.0) };
            let first = self.across[i] - step * last / 2.0;
            let wishes =
                lines.iter().enumerate().map(|(k, (from, _))| (from.clamp(least, most) - step * k as f64, 1.0));
            let wished = rising(&wishes.collect::<Vec<_>>());
            for (k, (_, e)) in lines.iter().enumerate() {
                let own = step * k as f64;
                ends[*e] = own + if frame { wished[k].min(most - step * last).max(least) } else { first };
            }
        }
        ends
    }

    /// Where the last piece of a line begins, across the layers.
    fn comes_from(&self, e: usize, parts: &[Vec<Rect>]) -> f64 {
        if let Some(bend) = self.graph.bends[e].last() {
            return self.across[*bend];
        }
        let edge = &self.picture.edges[e];
        let from = &self.picture.items[edge.from];
        match parts[edge.from].get(edge.part).filter(|_| from.members().is_empty()) {
            Some(part) if self.down => part.x + part.w / 2.0,
            Some(part) => part.y + part.h / 2.0,
            None => self.across[edge.from],
        }
    }
}

/// The space behind a layer: more where lines are many, or run to the side.
fn between(graph: &Layers, layer: &[usize], (across, extents): (&[f64], &[f64]), down: bool) -> f64 {
    let lines = layer.iter().flat_map(|v| graph.vertices[*v].after.iter().map(move |end| (*v, end)));
    let aside = |(v, end): (usize, &End)| {
        let begin = across[v] + (end.own_port - 0.5) * extents[v];
        let half = if end.loose { extents[end.vertex] * 0.45 } else { 0.0 };
        (begin - across[end.vertex]).abs() - half > 1.0
    };
    let (mut all, mut straight) = (0, true);
    lines.for_each(|line| (all, straight) = (all + 1, straight && !aside(line)));
    if straight { STRAIGHT[usize::from(!down)] } else { BETWEEN[usize::from(!down)] + (all as f64).min(60.0) }
}

/// The space that is needed before a layer for what is said of lines that end in it.
fn said_before(picture: &Picture, graph: &Layers, layer: usize, down: bool) -> f64 {
    let ends = picture.said.keys().map(|edge| edge.to).filter(|to| graph.vertices[*to].layer == layer);
    ends.map(|to| said_beside(picture, to, down) + BETWEEN[usize::from(!down)]).fold(0.0, f64::max)
}

/// How long lines that end at an item are straight there, for what is said of them.
fn said_beside(picture: &Picture, to: usize, down: bool) -> f64 {
    let said = || picture.said.iter().filter(|(edge, _)| edge.to == to).map(|(_, said)| said);
    match down {
        true => SAID + SAID_MORE * said().skip(1).count() as f64,
        false => SAID + said().map(|said| width(said, NOTE)).fold(0.0, f64::max),
    }
}

/// Whether an item is drawn as a stack of sheets.
fn is_stack(item: &Item) -> bool {
    item.members().is_empty() && item.parts[0].shape == Shape::Group
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
    let plain = |i: &usize| picture.items[*i].members().is_empty() && !picture.items[*i].is_wide();
    for layer in &graph.layers {
        let items: Vec<usize> = layer.iter().filter_map(|v| graph.vertices[*v].item).filter(plain).collect();
        let widest = items.iter().map(|i| sizes[*i].w).fold(0.0, f64::max);
        items.iter().for_each(|i| sizes[*i].w = widest);
    }
}
