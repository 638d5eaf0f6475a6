//! Groups of several stages, for pictures with very many of them. Groups that need one another become one: a picture has no cycle, and
//! what leads from one group to another is not left out. Does not know how groups are drawn.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::collapse::{Grouping, PLAIN, by_tag, rank};
use crate::draw::group::Key;
use crate::draw::picture::{Item, Picture};
use crate::graph::tangles;

/// So many groups of stages there are at most.
const FEW: usize = 20;
/// So many tags of a group are named.
const TAGS: usize = 3;

/// What is in one group if nothing leads back: of the same stages, the same tag, the same fate.
type Class = (usize, String, usize);

/// Groups of several stages with the names of these: one for each tag, or for each fate, in rows one behind the other.
pub(super) fn rows(picture: &Picture, tagged: bool) -> Grouping {
    let last = picture.items.iter().map(|item| item.layer).max().unwrap_or_default();
    let each = last.div_ceil(FEW).max(1);
    let bucket = |item: &Item| item.layer.saturating_sub(1) / each;
    let class = |item: &Item| match tagged {
        true => (bucket(item), by_tag(item).tag, if item.is_step() { PLAIN } else { rank(item) }),
        false => (bucket(item), String::new(), rank(item)),
    };
    let classes: Vec<Class> = picture.items.iter().map(class).collect();
    let mut numbers: BTreeMap<&Class, usize> = classes.iter().map(|class| (class, 0)).collect();
    numbers.values_mut().enumerate().for_each(|(i, number)| *number = i);
    let of_item: Vec<usize> = classes.iter().map(|class| numbers[class]).collect();
    let all: Vec<&Class> = numbers.into_keys().collect();
    let ends = picture.edges.iter().map(|edge| (of_item[edge.from], of_item[edge.to]));
    let ends = ends.filter(|(from, to)| from != to && all[*from].0 == all[*to].0).collect();
    let in_rows = in_rows(all.len(), &ends);
    let stride = in_rows.iter().map(|(row, _)| row + 1).max().unwrap_or(1);
    let mut keys = vec![Key::default(); all.len()];
    let mut first: BTreeMap<usize, usize> = BTreeMap::new();
    for (row, classes) in &in_rows {
        let (bucket, _, rank) = all[classes[0]];
        let row = bucket * stride + row;
        let tags: Vec<&str> = classes.iter().map(|class| all[*class].1.as_str()).collect();
        let tag = if tagged { called(&tags) } else { String::new() };
        let key = Key { layer: row, rank: *rank, tag, alone: None };
        classes.iter().for_each(|class| keys[*class] = key.clone());
        if *rank <= PLAIN {
            first.entry(*bucket).and_modify(|known| *known = row.min(*known)).or_insert(row);
        }
    }
    let name = |(bucket, row): (usize, usize)| {
        let (from, to) = (bucket * each + 1, (bucket * each + each).min(last));
        (row, if from == to { format!("stage {from}") } else { format!("stages {from}–{to}") })
    };
    Grouping {
        keys: of_item.into_iter().map(|class| keys[class].clone()).collect(),
        stages: first.into_iter().map(name).collect(),
    }
}

/// What a group with these tags is called; steps of which none has a tag are called by their names.
fn called(tags: &[&str]) -> String {
    match tags {
        [tag] => (*tag).to_owned(),
        tags if tags.len() <= TAGS => {
            let words = tags.iter().map(|tag| if tag.is_empty() { "no tag" } else { tag });
            words.collect::<Vec<_>>().join(", ")
        }
        tags => format!("{} tags", tags.len()),
    }
}

/// The vertices of a graph in rows, each behind all that leads to it; those in one that lead to one another.
pub(super) fn in_rows(vertices: usize, edges: &BTreeSet<(usize, usize)>) -> Vec<(usize, Vec<usize>)> {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); vertices];
    edges.iter().for_each(|(from, to)| before[*to].push(*from));
    // What has no row yet is of the same tangle.
    let mut row: Vec<Option<usize>> = vec![None; vertices];
    let mut rows = Vec::new();
    for tangle in tangles(vertices, edges) {
        let last = tangle.iter().flat_map(|v| &before[*v]).filter_map(|v| row[*v]).max();
        let own = last.map_or(0, |last| last + 1);
        tangle.iter().for_each(|v| row[*v] = Some(own));
        rows.push((own, tangle));
    }
    rows
}
