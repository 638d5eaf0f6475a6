//! Makes a large picture small: steps of one stage or one tag become a group. What is to be done stays apart as long as
//! there is room. Does not know how groups are drawn.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;

use crate::base::cut::shorten;
use crate::base::text::{count, few};
use crate::draw::picture::{ABREAST, Edge, Item, Part, Picture, Shape};
use crate::plan::reason::Fate;

/// How items are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Collapse {
    /// The steps of a stage of which the same becomes, and of several stages where there are many
    Stage,
    /// The steps that have the same first tag; only those of one stage where tags need one another
    Tag,
    /// Not at all
    None,
}

/// A picture of more things is collapsed unless it is said how.
const LIMIT: usize = 150;
/// The same for its stages: a ribbon is not seen as a whole.
const LONG: usize = 60;
/// So many items that are built may stand apart in a picture that is collapsed without being asked for.
const APART: usize = 40;
/// So many names of a group are told.
const NAMES: usize = 20;
/// So many tags of a group are told.
const TAGS: usize = 6;
/// So many characters of the names of a group are shown, and so many of what the last one differs in.
const SPAN: [usize; 2] = [31, 12];

/// A picture with more stages has groups of several stages, where that is needed: so many.
const MANY: usize = 30;
/// As for [`MANY`].
const FEW: usize = 20;
/// The rows of such a group of stages.
const ROWS: usize = 5;

/// What is grouped: layer, fate and tag. Items that stand alone have a number of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(usize, usize, String, Option<usize>);

/// How many things a picture shows: each output of a recipe is one.
#[must_use]
pub fn things(picture: &Picture) -> usize {
    things_of(&picture.items)
}

fn things_of(items: &[Item]) -> usize {
    items.iter().map(|item| item.parts.len()).sum()
}

/// Whether a picture is collapsed if nothing else is said.
#[must_use]
pub fn is_large(picture: &Picture) -> bool {
    things(picture) > LIMIT || picture.stages.len() > LONG
}

/// Collapses a picture as it is said, or by stage where it is large. Then, what is built stays apart while there is room.
#[must_use]
pub fn collapse(picture: Picture, how: Option<Collapse>) -> Picture {
    let asked = how.is_some();
    let how = how.unwrap_or(if is_large(&picture) { Collapse::Stage } else { Collapse::None });
    let (mut keys, tagged): (Vec<Key>, bool) = match how {
        Collapse::None => return picture,
        Collapse::Stage => (by_stage(&picture.items, if asked { 0 } else { APART }), false),
        Collapse::Tag => (picture.items.iter().map(by_tag).collect(), true),
    };
    let mut stages = picture.stages.clone();
    if let Some(whole) = tagged.then(|| by_tag_alone(&picture)).flatten() {
        (keys, stages) = (whole, BTreeMap::new());
    } else if stages.len() > MANY
        && (!tagged && (asked || stages.len() > LONG) || keys.iter().collect::<BTreeSet<_>>().len() > LIMIT)
    {
        (keys, stages) = several_stages(&picture, tagged);
    }
    let mut groups: BTreeMap<&Key, Vec<usize>> = BTreeMap::new();
    for (i, key) in keys.iter().enumerate() {
        groups.entry(key).or_default().push(i);
    }
    let mut place = vec![0; picture.items.len()];
    let mut items = Vec::new();
    for (key, members) in &groups {
        members.iter().for_each(|i| place[*i] = items.len());
        items.push(match members.as_slice() {
            [only] => folded(with_tag(key, Item { layer: key.0, ..picture.items[*only].clone() })),
            _ => group(key, members, &picture.items),
        });
    }
    let edge = |edge: &Edge| {
        let (from, to) = (place[edge.from], place[edge.to]);
        let part = if items[from].parts.len() > 1 { edge.part } else { 0 };
        Edge { from, part, to }
    };
    let mut edges: Vec<Edge> = picture.edges.iter().map(edge).collect();
    edges.sort_unstable();
    edges.dedup();
    // Within several stages both ways may be there; one is shown.
    edges.retain(|edge| items[edge.from].layer < items[edge.to].layer);
    let edges = without_shortcuts(&items, edges);
    let title = format!("{} · {} shown as {}", picture.title, things(&picture), things_of(&items));
    Picture { title, items, edges, stages, said: BTreeMap::new() }
}

/// An item that stands alone among groups of a tag: it has one too.
fn with_tag(key: &Key, item: Item) -> Item {
    match (key.2.as_str(), item.note.as_str()) {
        ("", _) => item,
        (tag, "") => Item { note: tag.to_owned(), ..item },
        (tag, note) => Item { note: format!("{tag} · {note}"), ..item },
    }
}

/// A step with many outputs as one thing: in a picture that is made small they are a number.
fn folded(item: Item) -> Item {
    if item.parts.len() <= ABREAST {
        return item;
    }
    let outputs = format!("{} · {} outputs", item.id, item.parts.len());
    Item { parts: vec![Part { name: outputs, shape: Shape::Group }], ..item }
}

/// The groups of a picture with very many stages: each has the steps of several, and a row for each fate. With them
/// the names of these rows.
fn several_stages(picture: &Picture, tagged: bool) -> (Vec<Key>, BTreeMap<usize, String>) {
    let last = picture.items.iter().map(|item| item.layer).max().unwrap_or_default();
    let each = last.div_ceil(FEW).max(1);
    // What is not built stands before what is, for it is never made from that.
    let row = |item: &Item| [2, 3, 4, 1, 1, 1, 0][if tagged && item.step { PLAIN } else { rank(item) }];
    let bucket = |item: &Item| item.layer.saturating_sub(1) / each;
    let key = |item: &Item| {
        let tag = if tagged { by_tag(item).2 } else { String::new() };
        Key(bucket(item) * ROWS + row(item), if tagged { 0 } else { rank(item) }, tag, None)
    };
    let mut first: BTreeMap<usize, usize> = BTreeMap::new();
    for item in picture.items.iter().filter(|item| item.step) {
        let row = bucket(item) * ROWS + row(item);
        first.entry(bucket(item)).and_modify(|known| *known = row.min(*known)).or_insert(row);
    }
    let name = |(bucket, row): (usize, usize)| {
        let (from, to) = (bucket * each + 1, (bucket * each + each).min(last));
        (row, if from == to { format!("stage {from}") } else { format!("stages {from}–{to}") })
    };
    (picture.items.iter().map(key).collect(), first.into_iter().map(name).collect())
}

/// The edges less those of groups that only say what a longer way says too.
fn without_shortcuts(items: &[Item], edges: Vec<Edge>) -> Vec<Edge> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
    for edge in &edges {
        next[edge.from].push(edge.to);
    }
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(items[*i].layer));
    // For each item what can be reached from it in two steps or more, and at all.
    let words = items.len().div_ceil(64);
    let mut far = vec![vec![0u64; words]; items.len()];
    let mut all = vec![vec![0u64; words]; items.len()];
    for i in order {
        for to in &next[i] {
            let beyond = all[*to].clone();
            far[i].iter_mut().zip(&beyond).for_each(|(far, beyond)| *far |= beyond);
            all[i].iter_mut().zip(&beyond).for_each(|(all, beyond)| *all |= beyond);
            all[i][to / 64] |= 1 << (to % 64);
        }
    }
    let grouped = |i: usize| items[i].parts[0].shape == Shape::Group;
    let is_shortcut = |edge: &Edge| far[edge.from][edge.to / 64] >> (edge.to % 64) & 1 == 1;
    edges.into_iter().filter(|edge| !(is_shortcut(edge) && (grouped(edge.from) || grouped(edge.to)))).collect()
}

/// The groups of a stage, less those that are small enough to stand apart: what is to be done, and what it is made from.
fn by_stage(items: &[Item], mut room: usize) -> Vec<Key> {
    let key = |item: &Item| Key(item.layer, rank(item), String::new(), None);
    let mut sizes: BTreeMap<Key, usize> = BTreeMap::new();
    for item in items.iter().filter(|item| is_active(item)) {
        *sizes.entry(key(item)).or_default() += 1;
    }
    let mut by_size: Vec<_> = sizes.into_iter().collect();
    by_size.sort_by_key(|(_, size)| *size);
    let mut apart = Vec::new();
    for (key, size) in by_size {
        if size > room {
            break;
        }
        room -= size;
        apart.push(key);
    }
    let key = |(i, item): (usize, &Item)| {
        let mut key = key(item);
        if apart.contains(&key) {
            key.3 = Some(i);
        }
        key
    };
    items.iter().enumerate().map(key).collect()
}

fn by_tag(item: &Item) -> Key {
    let tag = item.tags.first().cloned().unwrap_or_default();
    Key(item.layer, usize::from(!item.step), tag, None)
}

/// Groups of all steps of a tag, one behind the other; none where some steps of a tag are made from what is made from others
/// of it.
fn by_tag_alone(picture: &Picture) -> Option<Vec<Key>> {
    let tag = |item: usize| picture.items[item].tags.first().map_or("", String::as_str);
    let mut before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for i in (0..picture.items.len()).filter(|i| picture.items[*i].step) {
        before.entry(tag(i)).or_default();
    }
    for edge in picture.edges.iter().filter(|edge| picture.items[edge.from].step) {
        if tag(edge.from) != tag(edge.to) {
            before.entry(tag(edge.to)).or_default().insert(tag(edge.from));
        }
    }
    let mut layers: BTreeMap<&str, usize> = BTreeMap::new();
    while layers.len() < before.len() {
        let layer = |tags: &BTreeSet<&str>| {
            tags.iter().try_fold(1, |layer, tag| layers.get(tag).map(|before| layer.max(before + 1)))
        };
        let next: Vec<_> = before.iter().filter(|(tag, _)| !layers.contains_key(*tag)).collect();
        let next: Vec<_> = next.into_iter().filter_map(|(tag, tags)| Some((*tag, layer(tags)?))).collect();
        if next.is_empty() {
            return None;
        }
        layers.extend(next);
    }
    let key = |(i, item): (usize, &Item)| {
        Key(if item.step { layers[tag(i)] } else { 0 }, usize::from(!item.step), tag(i).to_owned(), None)
    };
    Some(picture.items.iter().enumerate().map(key).collect())
}

fn is_active(item: &Item) -> bool {
    item.fate.is_some_and(Fate::is_active)
}

/// The rank of a step of which nothing is planned.
const PLAIN: usize = Fate::ALL.len();

/// What stands first: the position in [`Item::counts`], and sources behind all steps.
fn rank(item: &Item) -> usize {
    match item.fate {
        Some(fate) => fate.rank(),
        None => PLAIN + usize::from(!item.step),
    }
}

/// `part_000 – 082`: the names of the first and the last of a group, of the last one what it differs in.
fn span(first: &Item, last: &Item) -> String {
    let alike = first.id.chars().zip(last.id.chars()).take_while(|(a, b)| a == b);
    let alike: String = alike.map(|(a, _)| a).collect();
    let word = alike.trim_end_matches(char::is_alphanumeric).len();
    let [all, end] = SPAN;
    let end = shorten(&last.id[word..], end);
    format!("{} – {end}", shorten(&first.id, all.saturating_sub(3 + end.chars().count())))
}

/// The names of a group in a line: both where there are two and room for them.
fn names_of(members: &[&Item]) -> String {
    let both: Vec<&str> = members.iter().take(3).map(|item| item.id.as_str()).collect();
    let both = both.join(", ");
    let short = members.len() == 2 && both.chars().count() <= SPAN[0];
    if short { both } else { span(members[0], members[members.len() - 1]) }
}

/// The tags that some of a group have.
fn tags_of(members: &[&Item]) -> String {
    let tags: BTreeSet<&str> = members.iter().flat_map(|item| item.tags.iter().map(String::as_str)).collect();
    let tags: Vec<&str> = tags.into_iter().collect();
    if tags.is_empty() { String::new() } else { format!(" · {}", few(&tags, TAGS)) }
}

fn group(key: &Key, members: &[usize], items: &[Item]) -> Item {
    let members: Vec<&Item> = members.iter().map(|i| &items[*i]).collect();
    let mut counts = [0; Fate::ALL.len()];
    members.iter().filter_map(|item| item.fate).for_each(|fate| counts[fate.rank()] += 1);
    let fate = Fate::ALL.into_iter().find(|fate| counts[fate.rank()] > 0);
    let thing = if members[0].step { "step" } else { "source" };
    let all = count(members.len(), thing);
    let name = if key.2.is_empty() { names_of(&members) } else { format!("{} · {all}", key.2) };
    let note = counts.iter().zip(Fate::ALL).filter(|(n, _)| **n > 0);
    let note: Vec<_> = note.map(|(n, fate)| format!("{n} {}", fate.word())).collect();
    let mut names: Vec<&str> = members.iter().take(NAMES).map(|item| item.id.as_str()).collect();
    if members.len() > NAMES {
        names.push("…");
    }
    let note = if note.len() == 1 && counts.iter().sum::<usize>() == members.len() {
        fate.map(Fate::word).unwrap_or_default().to_owned()
    } else {
        note.join(", ")
    };
    Item {
        id: format!("{}-{}-{}", key.0, key.1, key.2),
        step: false,
        fate,
        parts: vec![Part { name, shape: Shape::Group }],
        note: match (key.2.is_empty(), note.is_empty()) {
            (true, true) => all.clone(),
            (true, false) => format!("{all} · {note}"),
            (false, _) => note,
        },
        tip: format!("{all}{}\n{}", tags_of(&members), names.join(", ")),
        tags: Some(key.2.clone()).filter(|tag| !tag.is_empty()).into_iter().collect(),
        layer: key.0,
        counts,
        paint: members[0].paint.filter(|paint| members.iter().all(|item| item.paint == Some(*paint))),
        steps: members.iter().filter(|item| item.step).map(|item| item.id.clone()).collect(),
        ..Item::default()
    }
}
