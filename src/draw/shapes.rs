//! The outlines of things as SVG paths. Does not know their colours.

use std::fmt::Write as _;

use crate::draw::layout::{Point, Rect};
use crate::draw::picture::Shape;

/// A number as it is written: a tenth is exact enough.
pub(super) fn num(value: f64) -> String {
    let tenths = (value * 10.0).round() as i64;
    if tenths % 10 == 0 { (tenths / 10).to_string() } else { format!("{:.1}", tenths as f64 / 10.0) }
}

/// How flat the ends of a cylinder are.
pub(super) const LID: f64 = 4.0;

/// How high the tab of a folder is.
const TAB: f64 = 5.0;

/// How far the sheet behind a group looks out, above and to the right.
pub(super) const SHEET: f64 = 4.0;

/// The outline of a shape that fills `rect`; a group has a sheet besides.
pub(super) fn outline(shape: Shape, rect: Rect) -> String {
    let Rect { x, y, w, h } = rect;
    let n = num;
    match shape {
        Shape::Dataset => {
            let (rx, side) = (n(w / 2.0), n(h - 2.0 * LID));
            let (top, w, right) = (n(y + LID), n(w), n(x + w));
            // The edge of the lid goes the same way round, so that the lid is filled as the rest is.
            format!(
                "M{x} {top}a{rx} {LID} 0 0 1 {w} 0v{side}a{rx} {LID} 0 0 1-{w} 0zM{right} {top}a{rx} {LID} 0 0 1-{w} 0",
                x = n(x)
            )
        }
        Shape::Folder => {
            let tab = tab(w);
            let (right, bottom) = (n(x + w), n(y + h));
            format!("M{x} {bottom}V{y}h{tab}l{TAB} {TAB}H{right}V{bottom}z", x = n(x), y = n(y), tab = n(tab))
        }
        Shape::Model => {
            let cut = (w / 4.0).min(12.0);
            let (left, right, middle) = (n(x + cut), n(x + w - cut), n(y + h / 2.0));
            let (top, bottom) = (n(y), n(y + h));
            format!("M{left} {top}H{right}L{} {middle}L{right} {bottom}H{left}L{} {middle}z", n(x + w), n(x))
        }
        Shape::Source => {
            let cut = (w / 4.0).min(10.0);
            let (right, y, bottom) = (n(x + w), n(y), n(y + h));
            format!("M{} {y}H{right}L{} {bottom}H{}z", n(x + cut), n(x + w - cut), n(x))
        }
        Shape::Task => rounded(rect, h / 2.0),
        Shape::Group => {
            let (begin, end) = (n(x + SHEET), n(x + w + SHEET));
            format!("{}M{begin} {}v-{SHEET}H{end}v{}h-{SHEET}", rounded(rect, 3.0), n(y), n(h))
        }
    }
}

/// How far inside of `rect` the outline of a shape begins, where a line comes to it: `along` from its middle, downwards or to the right.
pub(super) fn inset(shape: Shape, rect: Rect, along: f64, down: bool) -> f64 {
    let Rect { w, h, .. } = rect;
    let round = |r: f64, off: f64| r - (r * r - off.clamp(-r, r).powi(2)).sqrt();
    match (shape, down) {
        (Shape::Dataset, true) => LID * round(1.0, 2.0 * along / w),
        (Shape::Folder, true) => (along + w / 2.0 - tab(w)).clamp(0.0, TAB),
        (Shape::Model, false) => (w / 4.0).min(12.0) * (2.0 * along / h).abs().min(1.0),
        (Shape::Task, true) => round(h / 2.0, (along.abs() - (w - h) / 2.0).max(0.0)),
        (Shape::Task, false) => round(h / 2.0, along),
        _ => 0.0,
    }
}

/// How wide the tab of a folder is.
fn tab(w: f64) -> f64 {
    (w * 0.4).min(30.0)
}

/// A rectangle with round corners.
pub(super) fn rounded(rect: Rect, r: f64) -> String {
    let Rect { x, y, w, h } = rect;
    // As it is written, so that the end meets the beginning.
    let written = (r * 10.0).round() / 10.0;
    let (left, top, dx, dy, r) = (num(x + written), num(y), num(w - 2.0 * r), num(h - 2.0 * r), num(r));
    format!(
        "M{left} {top}h{dx}a{r} {r} 0 0 1 {r} {r}v{dy}a{r} {r} 0 0 1-{r} {r}h-{dx}a{r} {r} 0 0 1-{r}-{r}v-{dy}a{r} {r} 0 0 1 {r}-{r}z"
    )
}

/// A line through points: straight from each even one to the next, curved from there.
pub(super) fn line(points: &[Point], down: bool) -> String {
    let at = |(x, y): Point| format!("{} {}", num(x), num(y));
    let mut d = String::new();
    let mut last: Option<Point> = None;
    for pair in points.chunks(2) {
        match last {
            None => write!(d, "M{}", at(pair[0])),
            Some(a) => {
                let b = pair[0];
                let (c1, c2) = if down {
                    ((a.0, a.1.midpoint(b.1)), (b.0, a.1.midpoint(b.1)))
                } else {
                    ((a.0.midpoint(b.0), a.1), (a.0.midpoint(b.0), b.1))
                };
                write!(d, "C{} {} {}", at(c1), at(c2), at(b))
            }
        }
        .expect("a String takes everything");
        let end = pair.last().copied().unwrap_or(pair[0]);
        // A piece without a length as it is written would turn the arrowhead.
        if at(end) != at(pair[0]) {
            write!(d, "L{}", at(end)).expect("a String takes everything");
        }
        last = Some(end);
    }
    d
}
