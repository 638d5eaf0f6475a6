//! Puts items that are made from the same and lead to the same into one box, where they stand in rows: a star becomes a
//! box, not a wall. All of them stay to be seen. Does not know how large they are.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::text::count;
use crate::draw::picture::{Edge, Item, Part, Picture, Shape, What};

/// Fewer are not worth a box.
const LEAST: usize = 6;
/// Of a step that makes much, so many outputs lead to one reader by lines of their own.
const FEW: usize = 6;

/// What is bundled: a layer, whether steps and whether changed, what leads there (with its part), where it leads.
type Key = (usize, [bool; 2], Vec<(usize, usize)>, Vec<usize>);

/// Bundles the items that only their names tell apart.
pub(super) fn bundle(picture: &Picture) -> Picture {
    let mut keys: Vec<Key> =
        picture.items.iter().map(|item| (item.layer, [item.is_step(), item.changed], Vec::new(), Vec::new())).collect();
    for edge in &picture.edges {
        keys[edge.from].3.push(edge.to);
        keys[edge.to].2.push((edge.from, edge.part));
    }
    let mut alike: BTreeMap<&Key, Vec<usize>> = BTreeMap::new();
    for (i, key) in keys.iter().enumerate() {
        let can = picture.items[i].parts.len() == 1 && picture.items[i].parts[0].shape != Shape::Group;
        if can {
            alike.entry(key).or_default().push(i);
        }
    }
    let bundles: Vec<Vec<usize>> = alike.into_values().filter(|members| members.len() >= LEAST).collect();
    let mut place: Vec<Option<usize>> = vec![None; picture.items.len()];
    let mut items = Vec::new();
    for members in &bundles {
        members.iter().for_each(|i| place[*i] = Some(items.len()));
        items.push(bundled(members.iter().map(|i| picture.items[*i].clone()).collect()));
    }
    for (item, place) in picture.items.iter().zip(&mut place) {
        if place.is_none() {
            *place = Some(items.len());
            items.push(item.clone());
        }
    }
    let at = |i: usize| place[i].unwrap_or_default();
    let mut read: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let wide = picture.edges.iter().filter(|edge| picture.items[edge.from].is_wide());
    wide.for_each(|edge| *read.entry((edge.from, edge.to)).or_default() += 1);
    let mut said = BTreeMap::new();
    let mut edge = |edge: &Edge| {
        let (all, read) = (picture.items[edge.from].parts.len(), read.get(&(edge.from, edge.to)).copied().unwrap_or(1));
        let part = if read > FEW { all } else { edge.part };
        let edge = Edge { from: at(edge.from), part, to: at(edge.to) };
        if read > FEW && read < all {
            said.insert(edge, format!("{read} of {all} outputs"));
        }
        edge
    };
    let (mut edges, mut faint) = (Vec::new(), BTreeSet::new());
    for (old, new) in picture.edges.iter().map(|old| (old, edge(old))) {
        edges.push(new);
        if picture.faint.contains(old) {
            faint.insert(new);
        }
    }
    edges.sort_unstable();
    edges.dedup();
    Picture { items, edges, said, faint, ..picture.clone() }
}

fn bundled(members: Vec<Item>) -> Item {
    let first = &members[0];
    let name = count(members.len(), if first.is_step() { "step" } else { "source" });
    let same = members.iter().all(|item| item.fate == first.fate);
    Item {
        id: format!("{}-bundle", first.id),
        fate: first.fate.filter(|_| same && first.paint.is_none()),
        parts: vec![Part { name, shape: Shape::Group }],
        layer: first.layer,
        at: first.at,
        changed: first.changed,
        what: What::Bundle(members),
        ..Item::default()
    }
}
