//! Makes a large picture small: steps of one stage or one tag become a group. What is to be done stays apart as long as
//! there is room. What leads from one group to another is always shown. Does not know how groups are drawn.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;

use crate::draw::group::{Key, folded, group, with_tag};
use crate::draw::picture::{Edge, Item, Picture, Shape};
use crate::draw::rows::{in_rows, rows};
use crate::plan::reason::Fate;

/// How items are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Collapse {
    /// The steps of a stage of which the same becomes, and of several stages where there are many
    Stage,
    /// The steps that have the same first tag; only those of one stage, or of a few, where tags need one another
    Tag,
    /// Not at all
    None,
}

impl Collapse {
    /// All ways.
    pub(crate) const ALL: [Self; 3] = [Self::Stage, Self::Tag, Self::None];

    /// The word for it, as the command line has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Tag => "tag",
            Self::None => "none",
        }
    }
}

/// A picture of more things is collapsed unless it is said how.
const LIMIT: usize = 150;
/// The same for its stages: a ribbon is not seen as a whole.
const LONG: usize = 60;
/// The same for what leads from one to the other: nobody can follow so many lines.
const EDGES: usize = 400;
/// So many things that are built may stand apart in a picture that is collapsed without being asked for.
const APART: usize = 40;
/// So many sources that have changed stand apart: of more it is enough that there are many.
const CHANGED: usize = 12;
/// Where more lines than so many for each thing would lead from one to the other, nothing stands apart.
const DENSE: usize = 3;
/// A picture with more stages has groups of several stages, where that is needed.
const MANY: usize = 30;
/// Of more groups than this nobody sees which way is the longest, and it would take long to find out.
const TRACED: usize = 2_000;

/// Who is grouped with whom, with the names of the layers.
pub(super) struct Grouping {
    pub(super) keys: Vec<Key>,
    pub(super) stages: BTreeMap<usize, String>,
}

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
    things(picture) > LIMIT || picture.stages.len() > LONG || picture.edges.len() > EDGES
}

/// A way to group what a picture shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By stage; so many things that are built may stand apart.
    Stages(usize),
    /// By tag, whatever the stage; not possible where tags need one another.
    Tags,
    /// By tag and stage.
    TagsOfStages,
    /// By several stages, and by tag or not.
    Rows(bool),
}

/// Collapses a picture as it is said, or by stage where it is large. Then, what is built stays apart while there is room.
#[must_use]
pub fn collapse(picture: Picture, how: Option<Collapse>) -> Picture {
    let asked = how.is_some();
    let mut how = how.unwrap_or(if is_large(&picture) { Collapse::Stage } else { Collapse::None });
    let mut remarks = Vec::new();
    let steps = picture.items.iter().filter(|item| item.is_step());
    let (all, without) = steps.fold((0, 0), |(all, n), item| (all + 1, n + usize::from(item.tags.is_empty())));
    if how == Collapse::Tag && without == all {
        how = Collapse::Stage;
        remarks.push("no step in the picture has a tag: it is grouped by stage".to_owned());
    } else if how == Collapse::Tag && without > 0 {
        remarks.push(format!("without a tag: {without} of {all} steps, grouped as if they had the same"));
    }
    let many = picture.stages.len() > MANY;
    let ways: &[Way] = match how {
        Collapse::None => return picture,
        Collapse::Stage if asked && many => &[Way::Rows(false)],
        Collapse::Stage if asked => &[Way::Stages(0)],
        Collapse::Stage => &[Way::Stages(APART), Way::Stages(0), Way::Rows(false)],
        Collapse::Tag => &[Way::Tags, Way::TagsOfStages, Way::Rows(true)],
    };
    let possible = |way: &&Way| match way {
        Way::Tags => true,
        Way::Stages(_) | Way::TagsOfStages => picture.stages.len() <= LONG,
        Way::Rows(_) => many,
    };
    let mut small = None;
    for way in ways.iter().filter(possible) {
        let Some(grouping) = grouping(&picture, *way) else { continue };
        let shown = grouped(&picture, &grouping);
        let fits = match way {
            Way::Tags => true,
            Way::Stages(APART) => !is_large(&shown) && !is_dense(&shown),
            Way::Stages(_) | Way::TagsOfStages | Way::Rows(_) => !is_large(&shown),
        };
        small = Some((*way, shown));
        if fits {
            break;
        }
    }
    let Some((way, small)) = small else { return picture };
    if way == Way::Rows(true) {
        remarks.push(
            "tags need one another: only steps of neighbouring stages are grouped, by tag where that is possible"
                .to_owned(),
        );
    }
    Picture { remarks, ..small }
}

/// Whether what stands apart is a tangle.
fn is_dense(picture: &Picture) -> bool {
    picture.edges.len() - picture.faint.len() > DENSE * picture.items.len()
}

fn grouping(picture: &Picture, way: Way) -> Option<Grouping> {
    let stages = || picture.stages.clone();
    match way {
        Way::Stages(room) => Some(Grouping { keys: by_stage(&picture.items, room), stages: stages() }),
        Way::Tags => by_tag_alone(picture).map(|keys| Grouping { keys, stages: BTreeMap::new() }),
        Way::TagsOfStages => Some(Grouping { keys: picture.items.iter().map(by_tag).collect(), stages: stages() }),
        Way::Rows(tagged) => Some(rows(picture, tagged)),
    }
}

/// The picture of the groups. What leads from a step to another leads from its group to the other's, unless both are in one.
fn grouped(picture: &Picture, Grouping { keys, stages }: &Grouping) -> Picture {
    let mut groups: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    let few = picture.items.iter().filter(|item| item.changed).count() <= CHANGED;
    for (i, (key, item)) in keys.iter().zip(&picture.items).enumerate() {
        let alone = if few && item.changed { Some(i) } else { key.alone };
        groups.entry(Key { alone, ..key.clone() }).or_default().push(i);
    }
    let mut place = vec![0; picture.items.len()];
    let mut items = Vec::new();
    for (key, members) in &groups {
        members.iter().for_each(|i| place[*i] = items.len());
        items.push(match members.as_slice() {
            [only] => with_tag(key, Item { layer: key.layer, ..picture.items[*only].clone() }),
            _ => group(key, members, &picture.items),
        });
    }
    let mut items: Vec<Item> = items.into_iter().map(|item| folded(item, false)).collect();
    if things_of(&items) > LIMIT {
        items = items.into_iter().map(|item| folded(item, true)).collect();
    }
    let edge = |edge: &Edge| {
        let (from, to) = (place[edge.from], place[edge.to]);
        let part = if items[from].parts.len() > 1 { edge.part } else { 0 };
        Edge { from, part, to }
    };
    let mut edges: Vec<Edge> = picture.edges.iter().map(edge).filter(|edge| edge.from != edge.to).collect();
    edges.sort_unstable();
    edges.dedup();
    let faint = shortcuts(&items, &edges);
    let title = format!("{} · {} shown as {}", picture.title, things(picture), things_of(&items));
    Picture { title, items, edges, faint, stages: stages.clone(), ..Picture::default() }
}

/// The edges of groups that lead where a longer way leads, too. Of what is in the groups they may tell something that the longer way does
/// not.
fn shortcuts(items: &[Item], edges: &[Edge]) -> BTreeSet<Edge> {
    if items.len() > TRACED {
        return BTreeSet::new();
    }
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
    for edge in edges {
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
    let is_group = |i: usize| items[i].parts[0].shape == Shape::Group;
    let is_shortcut = |edge: &&Edge| far[edge.from][edge.to / 64] >> (edge.to % 64) & 1 == 1;
    edges.iter().filter(is_shortcut).filter(|edge| is_group(edge.from) || is_group(edge.to)).copied().collect()
}

/// The groups of a stage, less those that are small enough to stand apart: what is to be done, and what it is made from.
fn by_stage(items: &[Item], mut room: usize) -> Vec<Key> {
    let key = |item: &Item| Key { layer: item.layer, rank: rank(item), ..Key::default() };
    let mut sizes: BTreeMap<Key, usize> = BTreeMap::new();
    for item in items.iter().filter(|item| is_active(item)) {
        *sizes.entry(key(item)).or_default() += item.parts.len();
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
            key.alone = Some(i);
        }
        key
    };
    items.iter().enumerate().map(key).collect()
}

pub(super) fn by_tag(item: &Item) -> Key {
    let tag = item.tags.first().cloned().unwrap_or_default();
    Key { layer: item.layer, rank: usize::from(!item.is_step()), tag, alone: None }
}

/// Groups of all steps of a tag, one behind the other; none where some steps of a tag are made from what is made from others
/// of it.
fn by_tag_alone(picture: &Picture) -> Option<Vec<Key>> {
    let tag = |item: &Item| item.tags.first().cloned().unwrap_or_default();
    let steps = || picture.items.iter().filter(|item| item.is_step());
    let tags: BTreeSet<String> = steps().map(tag).collect();
    let number: BTreeMap<String, usize> = tags.into_iter().enumerate().map(|(i, tag)| (tag, i)).collect();
    let of_item: Vec<usize> =
        picture.items.iter().map(|item| number.get(&tag(item)).copied().unwrap_or_default()).collect();
    let edges = picture.edges.iter().filter(|edge| picture.items[edge.from].is_step());
    let edges = edges.map(|edge| (of_item[edge.from], of_item[edge.to])).filter(|(from, to)| from != to).collect();
    let rows = in_rows(number.len(), &edges);
    let mut row = vec![0; number.len()];
    for (own, tags) in &rows {
        let [tag] = tags.as_slice() else { return None };
        row[*tag] = *own;
    }
    let key = |(i, item): (usize, &Item)| match item.is_step() {
        true => Key { layer: row[of_item[i]] + 1, rank: 0, tag: tag(item), alone: None },
        false => Key { layer: 0, rank: 1, tag: tag(item), alone: None },
    };
    Some(picture.items.iter().enumerate().map(key).collect())
}

fn is_active(item: &Item) -> bool {
    item.fate.is_some_and(|fate| fate.is_active() || fate == Fate::Cannot)
}

/// The rank of a step of which nothing is planned.
pub(super) const PLAIN: usize = Fate::ALL.len();

/// What stands first: the position in [`Item::counts`], and sources behind all steps.
pub(super) fn rank(item: &Item) -> usize {
    match item.fate {
        Some(fate) => fate.rank(),
        None => PLAIN + usize::from(!item.is_step()),
    }
}
