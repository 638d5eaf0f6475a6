//! A picture as SVG: for light and dark, with nothing from elsewhere. Steps have ids and classes, so that a script can
//! repaint them. Does not know where things stand until it is told.

use std::collections::BTreeMap;

use crate::draw::bundle::bundle;
use crate::draw::layout::{Layout, Rect, SAID_MORE, layout};
use crate::draw::picture::{Edge, Item, Picture, Shape, What};
use crate::draw::shapes::{LID, SHEET, line, num, outline, rounded};
use crate::draw::size::{HEAD, Labels, NAME, NOTE, PAD, width};
use crate::plan::reason::Fate;

/// The style sheet of every picture.
pub const STYLE: &str = include_str!("style.css");

/// The space around everything.
const MARGIN: f64 = 16.0;
/// The room of the title.
const TITLE: f64 = 30.0;
/// The room for the names of stages above a picture that goes to the right.
const ABOVE: f64 = 22.0;
/// The height of a row of the legend.
const KEY: f64 = 24.0;
/// The space between two of its entries.
const KEY_GAP: f64 = 18.0;
/// A picture is as wide as its legend in one row, up to this.
const LEGEND: f64 = 500.0;

/// Writes a picture as a file of its own.
#[must_use]
pub fn svg(picture: &Picture) -> String {
    write(picture, true)
}

/// Writes a picture as a part of a page that has [`STYLE`] and says the title itself.
#[must_use]
pub fn inline(picture: &Picture) -> String {
    write(picture, false)
}

fn write(picture: &Picture, alone: bool) -> String {
    let picture = &bundle(picture);
    let above = if alone { TITLE } else { 0.0 };
    let layout = layout(picture);
    let names = picture.stages.values().map(|name| width(name, NOTE));
    let (dx, dy) = match layout.down {
        true => (MARGIN + names.fold(0.0, f64::max) + 12.0, MARGIN + above),
        false => (MARGIN, MARGIN + above + ABOVE),
    };
    let title = width(&picture.title, 15.0) + 2.0 * MARGIN;
    let one_row = legend(picture, f64::INFINITY, 0.0).right + MARGIN;
    let least = if alone { one_row.min(LEGEND).max(title.min(1_200.0)) } else { 0.0 };
    let own = layout.size.w + dx + MARGIN + 4.0;
    let full = own.max(least).ceil();
    let shift = ((full - own) / 2.0).floor();
    let legend = legend(picture, full, dy + layout.size.h + 18.0);
    let height = (legend.y + KEY + MARGIN / 2.0).ceil();
    let mut out = String::new();
    let (w, h) = (num(full), num(height));
    put(
        &mut out,
        &format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"kiln\" role=\"img\" aria-label=\"{}\" \
             width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\">",
            escape(&picture.title)
        ),
    );
    if alone {
        put(&mut out, &format!("<style>\n{STYLE}</style>"));
    }
    let tips = [("tip", ""), ("tip-on", " on"), ("tip-faint", " faint")].map(|(id, class)| tip(id, class));
    put(&mut out, &format!("<defs>{}</defs>", tips.concat()));
    if alone {
        put(&mut out, &format!("<rect class=\"bg\" width=\"{w}\" height=\"{h}\" rx=\"6\"/>"));
        put(&mut out, &text("title", MARGIN, MARGIN + 12.0, &picture.title));
    }
    stages(&mut out, picture, &layout, shift, (dx, dy));
    put(&mut out, &format!("<g transform=\"translate({} {})\">", num(dx + shift), num(dy)));
    lines(&mut out, picture, &layout);
    let labels = &Labels::of(picture);
    for i in 0..picture.items.len() {
        item(&mut out, labels, &picture.items[i], layout.items[i], &layout.parts[i]);
    }
    put(&mut out, "</g>");
    out.push_str(&legend.text);
    put(&mut out, "</svg>");
    out
}

/// Text as it may stand in SVG: letters that mean something are spelled, letters that XML does not allow are left out.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn put(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn text(class: &str, x: f64, y: f64, text: &str) -> String {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    format!("<text{class} x=\"{}\" y=\"{}\">{}</text>", num(x), num(y), escape(text))
}

/// The head of an arrow.
fn tip(id: &str, class: &str) -> String {
    format!(
        "<marker id=\"kiln-{id}\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"tip{class}\" d=\"M0 0.5L8 4L0 7.5z\"/></marker>"
    )
}

fn stages(out: &mut String, picture: &Picture, layout: &Layout, shift: f64, (dx, dy): (f64, f64)) {
    for (number, begin, end) in &layout.bands {
        let Some(name) = picture.stages.get(number) else { continue };
        let (x, y) = match layout.down {
            true => (MARGIN + shift, dy + begin.midpoint(*end) + 4.0),
            false => (dx + shift + begin, dy - 8.0),
        };
        put(out, &text("stage", x, y, name));
    }
}

fn lines(out: &mut String, picture: &Picture, layout: &Layout) {
    let (mut says, mut told) = (Vec::new(), BTreeMap::new());
    let faint = |edge: &Edge| picture.faint.contains(edge);
    let all = || picture.edges.iter().zip(&layout.lines);
    // What stands back is behind all else.
    for (edge, points) in all().filter(|(edge, _)| faint(edge)).chain(all().filter(|(edge, _)| !faint(edge))) {
        let (from, to) = (&picture.items[edge.from], &picture.items[edge.to]);
        let on = [from, to].iter().all(|item| item.changed || item.fate.is_some_and(Fate::is_active));
        let (class, tip) = match (faint(edge), on) {
            (true, _) => ("line faint", "tip-faint"),
            (false, true) => ("line on", "tip-on"),
            (false, false) => ("line", "tip"),
        };
        // What is no step by itself has no outputs of its own: its part is its caption.
        let part = from.parts.get(edge.part).filter(|_| from.is_step());
        let from = part.map_or(&from.id, |part| &part.name);
        let (from, to) = (escape(from), escape(&to.id));
        let d = line(points, layout.down);
        put(
            out,
            &format!(
                "<path class=\"{class}\" data-from=\"{from}\" data-to=\"{to}\" marker-end=\"url(#kiln-{tip})\" d=\"{d}\"/>"
            ),
        );
        if let (Some(said), Some((x, y))) = (picture.said.get(edge), points.last()) {
            let nth = told.entry(edge.to).and_modify(|n| *n += 1).or_insert(0);
            says.push(match layout.down {
                true => text("note said", *x, y - 13.0 - SAID_MORE * f64::from(*nth), said),
                false => text("note said end", x - 12.0, y + 4.0, said),
            });
        }
    }
    // Above all lines.
    says.iter().for_each(|says| put(out, says));
}

/// The class of an item: what it is, and what happens to it.
fn class(item: &Item) -> String {
    let what = match &item.what {
        What::Step => "step",
        What::Source => "source",
        What::Group { steps, .. } if steps.is_empty() => "source",
        What::Group { .. } | What::Bundle(_) => "group",
    };
    match item.paint.or(item.fate.map(Fate::class)).or(item.changed.then_some("changed")) {
        None => what.to_owned(),
        Some(word) => format!("{what} {word}"),
    }
}

fn item(out: &mut String, labels: &Labels, item: &Item, rect: Rect, parts: &[Rect]) {
    let id = escape(&item.id);
    let (head, data) = match item.what {
        What::Step => ("step", format!(" data-step=\"{id}\"")),
        What::Source => ("node", format!(" data-node=\"{id}\"")),
        What::Group { .. } | What::Bundle(_) => ("group", String::new()),
    };
    let class = class(item);
    put(out, &format!("<g id=\"{head}-{id}\" class=\"{class}\"{data}><title>{}</title>", escape(&item.tip)));
    let middle = rect.x + rect.w / 2.0;
    if !item.members().is_empty() {
        put(out, &format!("<path class=\"shape frame\" d=\"{}\"/>", rounded(rect, 5.0)));
        put(out, &text("note", middle, rect.y + HEAD - 8.0, &item.parts[0].name));
        for (member, cell) in item.members().iter().zip(parts) {
            self::item(out, labels, member, *cell, &[*cell]);
        }
    } else if let [part] = item.parts.as_slice() {
        let lid = if part.shape == Shape::Dataset { LID / 2.0 } else { 0.0 };
        let y = rect.y + rect.h / 2.0 + lid;
        let lift = if item.note.is_empty() { 5.0 } else { -2.0 };
        put(out, &format!("<path class=\"shape\" d=\"{}\"/>", outline(part.shape, rect)));
        put(out, &text("", middle, y + lift, labels.label(&part.name)));
        if !item.note.is_empty() {
            put(out, &text("note", middle, y + 12.0, &item.note));
        }
        bar(out, item, rect);
    } else {
        put(out, &format!("<path class=\"shape frame\" d=\"{}\"/>", rounded(rect, 5.0)));
        frame_head(out, labels, item, rect);
        for (part, rect) in item.parts.iter().zip(parts) {
            let name = escape(&part.name);
            put(out, &format!("<path class=\"shape\" data-node=\"{name}\" d=\"{}\"/>", outline(part.shape, *rect)));
            let lid = if part.shape == Shape::Dataset { LID / 2.0 } else { 0.0 };
            put(out, &text("", rect.x + rect.w / 2.0, rect.y + rect.h / 2.0 + 4.5 + lid, labels.label(&part.name)));
        }
    }
    put(out, "</g>");
}

/// The name of a recipe above what it makes, and what happens to it.
fn frame_head(out: &mut String, labels: &Labels, item: &Item, rect: Rect) {
    let y = rect.y + HEAD - 7.0;
    let name = labels.label(&item.id);
    let wide = width(name, NAME) + width(&item.note, NOTE) + 12.0;
    let x = rect.x + ((rect.w - wide) / 2.0).max(PAD);
    let note = x + width(name, NAME) + 10.0;
    put(
        out,
        &format!(
            "<text class=\"start\" x=\"{}\" y=\"{}\">{}</text><text class=\"note start\" x=\"{}\" y=\"{1}\">{}</text>",
            num(x),
            num(y),
            escape(name),
            num(note),
            escape(&item.note)
        ),
    );
}

/// Whether a bar tells the fates of a group: it has several, and nothing has become of it yet.
fn has_bar(item: &Item) -> bool {
    item.paint.is_none() && item.counts().iter().filter(|n| **n > 0).count() > 1
}

/// How much of a group has which fate.
fn bar(out: &mut String, item: &Item, rect: Rect) {
    let all: usize = item.counts().iter().sum();
    if !has_bar(item) {
        return;
    }
    let mut x = rect.x;
    for (n, fate) in item.counts().iter().zip(Fate::ALL) {
        let w = rect.w * *n as f64 / all as f64;
        if *n > 0 {
            let (x, y, w) = (num(x), num(rect.y + rect.h), num(w));
            put(out, &format!("<rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"6\"/>", fate.class()));
        }
        x += w;
    }
}

/// What the shapes and colours mean: entries in rows.
struct Legend {
    text: String,
    /// How wide the picture is.
    full: f64,
    /// Where the next entry begins.
    x: f64,
    y: f64,
    /// How far the rows reach.
    right: f64,
}

impl Legend {
    /// Puts an entry where there is room for it: what `symbol` draws there, and the words for it.
    fn entry(&mut self, words: &str, symbol: impl FnOnce(f64, f64) -> String) {
        let wide = 28.0 + width(words, NOTE);
        if self.x + wide > self.full - MARGIN && self.x > MARGIN {
            (self.x, self.y) = (MARGIN, self.y + KEY);
        }
        put(&mut self.text, &symbol(self.x, self.y));
        put(&mut self.text, &text("key", self.x + 28.0, self.y + 11.0, words));
        self.x += wide;
        self.right = self.right.max(self.x);
        self.x += KEY_GAP;
    }
}

/// The shapes and colours that the picture has.
fn legend(picture: &Picture, full: f64, top: f64) -> Legend {
    let mut legend = Legend { text: String::new(), full, x: MARGIN, y: top, right: MARGIN };
    let single = picture.items.iter().filter(|item| item.members().is_empty());
    let all: Vec<&Item> = single.chain(picture.items.iter().flat_map(|item| item.members())).collect();
    let mut shapes: Vec<Shape> = all.iter().flat_map(|item| &item.parts).map(|part| part.shape).collect();
    shapes.sort_unstable();
    shapes.dedup();
    for shape in shapes {
        legend.entry(shape.word(), |x, y| {
            let sheet = if shape == Shape::Group { SHEET } else { 0.0 };
            let d = outline(shape, Rect { x, y: y + sheet, w: 22.0 - sheet, h: 14.0 - sheet });
            format!("<g class=\"source\"><path class=\"shape\" d=\"{d}\"/></g>")
        });
    }
    let mut swatch = |words: &str, class: &str| {
        // A colour is no shape.
        legend.entry(words, |x, y| {
            let (x, y) = (num(x + 4.0), num(y));
            format!("<rect class=\"swatch {class}\" x=\"{x}\" y=\"{y}\" width=\"14\" height=\"14\"/>")
        });
    };
    if all.iter().any(|item| item.changed) {
        swatch("changed", "changed");
    }
    for fate in Fate::ALL {
        let shows = |item: &&Item| item.fate == Some(fate) || has_bar(item) && item.counts()[fate.rank()] > 0;
        if all.iter().filter(|item| item.paint.is_none()).any(shows) {
            swatch(fate.word(), fate.class());
        }
    }
    if !picture.faint.is_empty() {
        legend.entry("a longer way leads there, too", |x, y| {
            let (x, y) = (num(x), num(y + 7.0));
            format!("<path class=\"line faint\" marker-end=\"url(#kiln-tip-faint)\" d=\"M{x} {y}h22\"/>")
        });
    }
    legend
}
