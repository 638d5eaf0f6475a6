//! Names that are cut to the room there is, and stay different where they are shown together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A name in `room` characters: a longer one lacks its middle, as names that are alike mostly differ at their ends.
#[must_use]
pub fn shorten(name: &str, room: usize) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= room {
        return name.to_owned();
    }
    let (begin, end) = (room.div_ceil(2).saturating_sub(1), room / 2);
    chars[..begin].iter().chain(&['…']).chain(&chars[chars.len() - end..]).collect()
}

/// All names that have to be cut to `room` characters, each with what is shown of it. Those that would be the same without
/// their middles are cut so that what they differ in is seen.
#[must_use]
pub fn distinct<'a>(names: impl IntoIterator<Item = &'a str>, room: usize) -> HashMap<String, String> {
    let long: BTreeSet<&str> = names.into_iter().filter(|name| name.chars().nth(room).is_some()).collect();
    let mut cut = HashMap::new();
    for (label, group) in grouped(long, |name| shorten(name, room)) {
        tell_apart(label, group, room, &mut cut);
    }
    cut
}

/// Names by what is shown of them.
fn grouped<'a>(
    names: impl IntoIterator<Item = &'a str>,
    label: impl Fn(&str) -> String,
) -> BTreeMap<String, Vec<&'a str>> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        groups.entry(label(name)).or_default().push(name);
    }
    groups
}

fn tell_apart(label: String, group: Vec<&str>, room: usize, cut: &mut HashMap<String, String>) {
    if let [only] = group.as_slice() {
        cut.insert((*only).to_owned(), label);
        return;
    }
    let same = group.windows(2).map(|two| two[0].chars().zip(two[1].chars()).take_while(|(a, b)| a == b).count());
    let same = same.min().unwrap_or_default();
    let all = group.len();
    for (label, group) in grouped(group, |name| around(name, same, room)) {
        if group.len() == all {
            // There is no room for what they differ in.
            cut.extend(group.into_iter().map(|name| (name.to_owned(), label.clone())));
        } else {
            tell_apart(label, group, room, cut);
        }
    }
}

/// The beginning of a name and what follows from character `at` on, with the whole word that is there if it is short.
fn around(name: &str, at: usize, room: usize) -> String {
    let chars: Vec<char> = name.chars().collect();
    let head = room / 4;
    let word = chars[..at].iter().rev().take_while(|c| c.is_alphanumeric()).count();
    let from = if word <= head { at - word } else { at };
    if from <= head + 1 {
        return chars[..room.saturating_sub(1)].iter().chain(&['…']).collect();
    }
    let left = room.saturating_sub(head + 1);
    let rest = &chars[from..];
    let (shown, end) = if rest.len() <= left { (rest.len(), "") } else { (left.saturating_sub(1), "…") };
    chars[..head].iter().chain(&['…']).chain(&rest[..shown]).collect::<String>() + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_both_ends() {
        let shown = [9, 8, 5, 1].map(|room| shorten("abcdefgh_", room));
        assert_eq!(shown, ["abcdefgh_", "abc…fgh_", "ab…h_", "…"]);
    }

    #[test]
    fn names_that_differ_in_the_middle_are_told_apart() {
        let of = |side: &str| format!("stg_salesforce_opportunity_{side}_history_snapshots_daily");
        let names = ["north", "south", "east", "west", "north_east"].map(of);
        let cut = distinct(names.iter().map(String::as_str).chain(["short", "stg_orders_of_all_shops_daily"]), 24);
        let shown: Vec<&str> = names.iter().map(|name| cut[name].as_str()).collect();
        let want = [
            "stg_sa…north_history_sn…",
            "stg_sa…south_history_sn…",
            "stg_sa…east_history_sna…",
            "stg_sa…west_history_sna…",
            "stg_sa…north_east_histo…",
        ];
        assert_eq!(shown, want);
        assert_eq!(cut.get("short"), None);
        assert_eq!(cut["stg_orders_of_all_shops_daily"], "stg_orders_…_shops_daily");
    }

    #[test]
    fn many_names_are_told_apart_in_little_room() {
        let name = |i: usize| format!("a_long_beginning_{}_of_the_same_kind_{}_and_a_long_end", i / 20, i % 20);
        for room in [12, 16, 24, 40] {
            let names: Vec<String> = (0..400).map(name).collect();
            let cut = distinct(names.iter().map(String::as_str), room);
            let shown: BTreeSet<&String> = cut.values().collect();
            assert!(cut.values().all(|label| label.chars().count() <= room));
            // Two differences that are far apart have no room together; one always has.
            assert!(shown.len() >= if room < 40 { 20 } else { 400 }, "{room}: {}", shown.len());
        }
        // One is the beginning of the other.
        let cut = distinct(["the_same_beginning_and_end", "the_same_beginning_and_end_and_end"], 12);
        assert_ne!(cut["the_same_beginning_and_end"], cut["the_same_beginning_and_end_and_end"]);
    }
}
