//! How large things are drawn. No font is asked: widths of letters are those of a usual sans-serif, with some room.

use std::collections::HashMap;
use std::iter;

use crate::base::cut::distinct;
use crate::draw::picture::{Item, Picture, Shape};

/// The height of a letter of a name, and of a note.
pub(super) const NAME: f64 = 13.0;
/// As for [`NAME`].
pub(super) const NOTE: f64 = 11.0;
/// The height of a simple item, and of a part of another.
pub(super) const HEIGHT: f64 = 42.0;
/// As for [`HEIGHT`].
pub(super) const PART: f64 = 26.0;
/// The height of what stands above the parts of an item.
pub(super) const HEAD: f64 = 22.0;
/// The space around the parts of an item.
pub(super) const PAD: f64 = 8.0;
/// A longer name is cut, in characters.
const LONGEST: usize = 32;

/// Width and height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    pub(super) w: f64,
    pub(super) h: f64,
}

/// The names of a picture as they are shown: long ones are cut, and stay different.
#[derive(Debug, Default)]
pub(super) struct Labels(HashMap<String, String>);

impl Labels {
    pub(super) fn of(picture: &Picture) -> Self {
        let items = || picture.items.iter().flat_map(|item| iter::once(item).chain(item.members()));
        let parts = items().flat_map(|item| &item.parts).map(|part| part.name.as_str());
        Self(distinct(items().map(|item| item.id.as_str()).chain(parts), LONGEST))
    }

    /// What is shown of a name.
    pub(super) fn label<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }
}

/// How wide a text is at a size of letters.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let letter = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | '\'' | '|' | ' ' | 'f' | 't' | 'r' | '(' | ')' => 0.38,
        'm' | 'w' | 'M' | 'W' | '@' | '~' | '…' => 0.92,
        c if c.is_uppercase() || c == '_' => 0.68,
        c if c.is_ascii() => 0.58,
        c => 0.6 * unicode_width::UnicodeWidthChar::width(c).unwrap_or(0).max(1) as f64,
    };
    text.chars().map(letter).sum::<f64>() * size
}

/// How wide a part with this label is, for its outline takes some room.
pub(super) fn part_width(label: &str, shape: Shape) -> f64 {
    let outline = match shape {
        Shape::Dataset | Shape::Folder | Shape::Group => 20.0,
        Shape::Model | Shape::Source | Shape::Task => 34.0,
    };
    width(label, NAME) + outline
}

/// How wide the widest part of an item is.
pub(super) fn widest(item: &Item, labels: &Labels) -> f64 {
    item.parts.iter().map(|part| part_width(labels.label(&part.name), part.shape)).fold(0.0, f64::max)
}

/// How large an item is. Several parts stand side by side, or, with `stacked`, one below the other.
pub(super) fn size(item: &Item, labels: &Labels, stacked: bool) -> Size {
    if !item.members().is_empty() {
        return grid(item.members().len(), member(item.members(), labels)).size();
    }
    let note = width(&item.note, NOTE);
    let widest = widest(item, labels);
    if let [part] = item.parts.as_slice() {
        return Size { w: widest.max(note + part_width("", part.shape)).max(64.0), h: HEIGHT };
    }
    let n = item.parts.len() as f64;
    let head = width(labels.label(&item.id), NAME) + note + 30.0;
    if item.is_wide() {
        let size = grid(item.parts.len(), Size { w: widest, h: PART }).size();
        return Size { w: size.w.max(head), ..size };
    }
    let (columns, rows) = if stacked { (1.0, n) } else { (n, 1.0) };
    Size { w: (columns * (widest + PAD) + PAD).max(head), h: HEAD + rows * (PART + PAD) }
}

/// How things of one size stand in rows.
pub(super) struct Grid {
    pub(super) n: usize,
    pub(super) columns: usize,
    pub(super) cell: Size,
}

impl Grid {
    /// How large the box around them is.
    pub(super) fn size(&self) -> Size {
        let rows = self.n.div_ceil(self.columns);
        let (w, h) = (self.cell.w + PAD, self.cell.h + PAD);
        Size { w: self.columns as f64 * w + PAD, h: rows as f64 * h + HEAD }
    }
}

/// The size that has room for each of the members of an item.
pub(super) fn member(members: &[Item], labels: &Labels) -> Size {
    let sizes = members.iter().map(|item| size(item, labels, false));
    sizes.fold(Size { w: 0.0, h: 0.0 }, |a, b| Size { w: a.w.max(b.w), h: a.h.max(b.h) })
}

/// Rows and columns that make a box about twice as wide as it is high.
pub(super) fn grid(n: usize, cell: Size) -> Grid {
    let columns = (2.2 * n as f64 * (cell.h + PAD) / (cell.w + PAD)).sqrt().round();
    Grid { n, columns: (columns as usize).clamp(1, n), cell }
}
