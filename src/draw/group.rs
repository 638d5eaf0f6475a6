//! Groups as items: what they are called, what is said of them. Does not know who is grouped with whom.

use std::collections::BTreeSet;

use crate::base::cut::shorten;
use crate::base::text::{count, few};
use crate::draw::picture::{ABREAST, Item, Part, Shape, What};
use crate::plan::reason::Fate;

/// So many names of a group are told.
const NAMES: usize = 20;
/// So many tags of a group are told.
const TAGS: usize = 6;
/// What a group is called has so many characters.
const LINE: usize = 31;
/// So many names of a group are shown: the rest is an ellipsis.
const FIRST: usize = 2;

/// What is grouped.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) layer: usize,
    /// That of the fate.
    pub(super) rank: usize,
    pub(super) tag: String,
    /// Items that stand alone have a number of their own.
    pub(super) alone: Option<usize>,
}

/// An item that stands alone among groups of a tag: it has one too.
pub(super) fn with_tag(key: &Key, item: Item) -> Item {
    match (key.tag.as_str(), item.note.as_str()) {
        ("", _) => item,
        (tag, "") => Item { note: tag.to_owned(), ..item },
        (tag, note) => Item { note: format!("{tag} · {note}"), ..item },
    }
}

/// A step with many outputs as one thing: in a picture that is made small they are a number, and in a `crowded` one any that are more
/// than one.
pub(super) fn folded(item: Item, crowded: bool) -> Item {
    if item.parts.len() <= if crowded { 1 } else { ABREAST } {
        return item;
    }
    let outputs = format!("{} · {} outputs", item.id, item.parts.len());
    Item { parts: vec![Part { name: outputs, shape: Shape::Group }], ..item }
}

/// `21 steps: n0000, n0012, …`: what a group is called, with all names where there is room for them. Never with a first and a last one:
/// that looks as if all between them were in it.
fn called(all: &str, members: &[&Item]) -> String {
    let first: Vec<&str> = members.iter().take(FIRST).map(|item| item.id.as_str()).collect();
    let more = if members.len() > FIRST { ", …" } else { "" };
    let room = LINE.saturating_sub(all.chars().count() + 2);
    let names = first.join(", ") + more;
    if names.chars().count() <= room {
        return format!("{all}: {names}");
    }
    format!("{all}: {}, …", shorten(first[0], room.saturating_sub(3)))
}

/// The tags that some of a group have.
fn tags_of(members: &[&Item]) -> String {
    let tags: BTreeSet<&str> = members.iter().flat_map(|item| item.tags.iter().map(String::as_str)).collect();
    let tags: Vec<&str> = tags.into_iter().collect();
    if tags.is_empty() { String::new() } else { format!(" · {}", few(&tags, TAGS)) }
}

/// The group of these items.
pub(super) fn group(key: &Key, members: &[usize], items: &[Item]) -> Item {
    let mut members: Vec<&Item> = members.iter().map(|i| &items[*i]).collect();
    members.sort_by_key(|item| item.at);
    let changed = members.iter().filter(|item| item.changed).count();
    let mut counts = [0; Fate::ALL.len()];
    members.iter().filter_map(|item| item.fate).for_each(|fate| counts[fate.rank()] += 1);
    let fate = Fate::ALL.into_iter().find(|fate| counts[fate.rank()] > 0);
    let steps = members.iter().filter(|item| item.is_step()).map(|item| item.id.clone()).collect();
    let thing = if members[0].is_step() { "step" } else { "source" };
    let all = count(members.len(), thing);
    let name = if key.tag.is_empty() { called(&all, &members) } else { format!("{} · {all}", key.tag) };
    let note = counts.iter().zip(Fate::ALL).filter(|(n, _)| **n > 0);
    let note: Vec<_> = note.map(|(n, fate)| format!("{n} {}", fate.word())).collect();
    let names: Vec<&str> = members.iter().map(|item| item.id.as_str()).collect();
    let note = if note.len() == 1 && counts.iter().sum::<usize>() == members.len() {
        fate.map(Fate::word).unwrap_or_default().to_owned()
    } else {
        let changed = (changed > 0).then(|| format!("{changed} changed"));
        note.into_iter().chain(changed).collect::<Vec<_>>().join(", ")
    };
    Item {
        // No blank may be in the id of an element.
        id: format!("{}-{}-{}", key.layer, key.rank, key.tag.replace('%', "%25").replace(char::is_whitespace, "%20")),
        what: What::Group { steps, counts },
        fate,
        parts: vec![Part { name, shape: Shape::Group }],
        note,
        tip: format!("{all}{}\n{}", tags_of(&members), few(&names, NAMES)),
        tags: Some(key.tag.clone()).filter(|tag| !tag.is_empty()).into_iter().collect(),
        layer: key.layer,
        at: members[0].at,
        changed: changed > 0,
        paint: members[0].paint.filter(|paint| members.iter().all(|item| item.paint == Some(*paint))),
    }
}
