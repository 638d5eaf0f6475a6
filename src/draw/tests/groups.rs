//! Tests of pictures that are made small: what is grouped, what groups are called, that nothing is left out.

use super::{chain, item, random};
use crate::draw::collapse::{Collapse, collapse, is_large};
use crate::draw::layout::layout;
use crate::draw::picture::{Edge, Item, Part, Picture, Shape, What};
use crate::draw::{svg, text};
use crate::plan::reason::Fate;

#[test]
fn a_large_picture_is_collapsed_and_what_is_built_stays_apart() {
    let mut picture = random(20, 50, 1);
    picture.items[500].fate = Some(Fate::Build);
    picture.items[700].fate = Some(Fate::Maybe);
    let small = collapse(picture.clone(), None);
    assert!(!is_large(&small));
    let apart: Vec<_> = small.items.iter().filter(|item| item.is_step()).map(|item| item.id.as_str()).collect();
    assert_eq!(apart, ["step_10_0", "step_14_0"]);
    assert!(small.edges.iter().all(|edge| small.items[edge.from].layer < small.items[edge.to].layer));
    assert_eq!(collapse(picture.clone(), Some(Collapse::None)).items.len(), 1_000);
    picture.items.iter_mut().enumerate().for_each(|(i, item)| item.tags = vec![["a", "b"][i % 2].to_owned()]);
    let tagged = collapse(picture, Some(Collapse::Tag));
    assert_eq!(tagged.items.len(), 40);
    assert_eq!(tagged.items[20].parts[0].name, "a · 25 steps");
    assert_eq!(
        (tagged.items[20].counts(), tagged.items[20].note.as_str()),
        ([1, 0, 0, 0, 0, 24], "1 build, 24 up to date")
    );
}

/// Where each step of a picture is in one that was made small of it.
fn place(picture: &Picture, small: &Picture) -> Vec<usize> {
    let holds = |item: &Item, id: &String| item.id == *id && item.is_step() || item.steps().contains(id);
    let at = |step: &Item| small.items.iter().position(|item| holds(item, &step.id)).unwrap();
    picture.items.iter().map(at).collect()
}

#[test]
fn no_way_between_groups_is_left_out_though_a_longer_one_leads_there_too() {
    let mut picture = Picture::default();
    for (layer, tag) in ["A", "B", "C"].into_iter().enumerate() {
        picture.items.extend((1..=2).map(|i| Item { tags: vec![tag.to_owned()], ..item(&format!("{tag}{i}"), layer) }));
    }
    // Nothing leads from A2 to C2 by way of a B.
    picture.edges = [(0, 2), (0, 3), (1, 5), (2, 4)].map(|(from, to)| Edge { from, part: 0, to }).to_vec();
    let small = collapse(picture, Some(Collapse::Tag));
    let edges = [(0, 1), (0, 2), (1, 2)].map(|(from, to)| Edge { from, part: 0, to });
    assert_eq!(small.edges, edges);
    assert_eq!(small.faint.iter().collect::<Vec<_>>(), [&edges[1]]);
    let svg = svg::svg(&small);
    assert_eq!(svg.matches("marker-end=\"url(#kiln-tip-faint)\" d=\"M").count(), 2, "the line and the legend: {svg}");
    assert!(svg.contains("class=\"line faint\" data-from=\"1-0-A\" data-to=\"3-0-C\""), "{svg}");
    assert!(svg.contains(">a longer way leads there, too<"), "{svg}");
    assert!(text::mermaid(&small).contains("n0_0 -.-> n2_0"), "{}", text::mermaid(&small));
    assert!(text::dot(&small).contains("n0_0 -> n2_0 [color="), "{}", text::dot(&small));
}

#[test]
fn what_leads_from_step_to_step_leads_from_group_to_group() {
    for seed in 1..=40u64 {
        let layers = [8, 35, 70][seed as usize % 3];
        let mut picture = random(layers, 1 + seed as usize % 7, seed);
        picture.stages = (0..layers).map(|layer| (layer, format!("stage {layer}"))).collect();
        for (i, item) in picture.items.iter_mut().enumerate() {
            let draw = (i as u64 * 2_654_435_761 + seed * 40_503) >> 7;
            item.fate = Some(Fate::ALL[draw as usize % Fate::ALL.len()]);
            item.tags = if draw.is_multiple_of(11) { Vec::new() } else { vec![format!("t{}", draw % 4)] };
        }
        for how in [None, Some(Collapse::Stage), Some(Collapse::Tag)] {
            let small = collapse(picture.clone(), how);
            let place = place(&picture, &small);
            let told = small.items.iter().map(|item| item.steps().len() + usize::from(item.is_step())).sum::<usize>();
            assert_eq!(told, picture.items.len(), "seed {seed} {how:?}");
            for Edge { from, to, .. } in &picture.edges {
                let (from, to) = (place[*from], place[*to]);
                let leads = small.edges.iter().any(|edge| (edge.from, edge.to) == (from, to));
                assert!(from == to || leads, "seed {seed} {how:?}: {} to {}", small.items[from].id, small.items[to].id);
            }
            assert!(small.edges.iter().all(|edge| small.items[edge.from].layer < small.items[edge.to].layer));
            assert!(svg::svg(&small).ends_with("</svg>\n"));
        }
    }
}

#[test]
fn steps_of_several_stages_that_need_one_another_are_one_group_whatever_becomes_of_them() {
    let mut picture = chain(100);
    for item in &mut picture.items[1..] {
        item.fate = Some(if item.layer % 2 == 0 { Fate::Maybe } else { Fate::Build });
    }
    let small = collapse(picture, None);
    assert_eq!(small.items[1].parts[0].name, "5 steps: c1, c2, …");
    assert_eq!(small.items[1].note, "3 build, 2 maybe");
    assert_eq!((small.items.len(), small.edges.len()), (21, 20));
}

#[test]
fn a_picture_of_very_many_arrows_is_collapsed_unless_it_is_said_otherwise() {
    let mut picture = Picture::default();
    for to in 0..140 {
        picture.items.push(Item { fate: Some(Fate::Build), ..item(&format!("n{to:03}"), to / 20) });
        picture.stages.insert(to / 20, format!("stage {}", to / 20 + 1));
        if to >= 20 {
            let before = to / 20 * 20 - 20;
            picture.edges.extend((0..8).map(|k| Edge { from: before + (to * 3 + k * 7) % 20, part: 0, to }));
        }
    }
    picture.edges.sort_unstable();
    assert_eq!(picture.edges.len(), 960);
    assert!(is_large(&picture));
    assert_eq!(collapse(picture.clone(), None).items.len(), 7, "what is built is a tangle and does not stay apart");
    let whole = collapse(picture.clone(), Some(Collapse::None));
    assert_eq!(text::mermaid(&whole).matches(" --> ").count(), 960);
    let said = text::too_much_for_mermaid(&whole, "").unwrap();
    assert_eq!(said, "960 edges: where `maxEdges` is not set, Mermaid draws no more than 500");
    let said = text::too_much_for_mermaid(&Picture::default(), &"é".repeat(50_001)).unwrap();
    assert!(said.starts_with("50001 characters: where `maxTextSize`"), "{said}");
    assert_eq!(text::too_much_for_mermaid(&collapse(picture.clone(), None), ""), None);
    picture.edges.truncate(400);
    assert!(!is_large(&picture));
}

#[test]
fn tags_that_follow_one_another_are_one_group_each() {
    let mut picture = random(20, 50, 1);
    for item in &mut picture.items {
        item.tags = vec![["raw", "clean", "mart", "report"][item.layer / 5].to_owned()];
    }
    let small = collapse(picture.clone(), Some(Collapse::Tag));
    let names: Vec<_> = small.items.iter().map(|item| item.parts[0].name.as_str()).collect();
    assert_eq!(names, ["raw · 250 steps", "clean · 250 steps", "mart · 250 steps", "report · 250 steps"]);
    let ways: Vec<_> = small.edges.iter().map(|edge| (edge.from, edge.to)).collect();
    assert_eq!(ways, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]);
    assert_eq!(small.faint.len(), 3);
    // A step that is made from what stands behind its tag: stage by stage then.
    picture.items[999].tags = vec!["raw".to_owned()];
    assert!(collapse(picture, Some(Collapse::Tag)).items.len() > 4);
}

#[test]
fn tags_that_need_one_another_do_not_leave_a_picture_as_large_as_it_was() {
    let mut picture = chain(100);
    for i in 1..=100 {
        let name = |k: usize| Part { name: format!("r{i}_{k}"), shape: Shape::Dataset };
        picture.items[i].parts = (0..10).map(name).collect();
        picture.items[i].tags = vec![format!("t{}", i % 4)];
    }
    let small = collapse(picture, Some(Collapse::Tag));
    assert_eq!(small.items.len(), 21);
    assert_eq!(small.items[1].parts[0].name, "4 tags · 5 steps");
    assert!(small.title.ends_with("1001 shown as 21"), "{}", small.title);
    assert!(small.remarks[0].starts_with("tags need one another"), "{:?}", small.remarks);
}

#[test]
fn a_group_of_several_tags_says_that_some_steps_have_none() {
    let mut picture = chain(160);
    picture.items.iter_mut().enumerate().for_each(|(i, item)| {
        item.tags = if i % 3 == 0 { Vec::new() } else { vec![format!("t{}", i % 2)] };
    });
    let small = collapse(picture, Some(Collapse::Tag));
    let names: Vec<_> = small.items.iter().map(|item| item.parts[0].name.as_str()).collect();
    assert_eq!(names[1], "no tag, t0, t1 · 8 steps", "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with(", ")), "{names:?}");
}

#[test]
fn where_steps_have_no_tag_that_is_said() {
    let mut picture = random(20, 50, 1);
    let small = collapse(picture.clone(), Some(Collapse::Tag));
    assert_eq!(small.items.len(), 20);
    assert_eq!(small.remarks, ["no step in the picture has a tag: it is grouped by stage"]);
    picture.items[999].tags = vec!["last".to_owned()];
    let small = collapse(picture.clone(), Some(Collapse::Tag));
    assert_eq!(small.items.len(), 2);
    assert_eq!(small.remarks, ["without a tag: 999 of 1000 steps, grouped as if they had the same"]);
    picture.items.iter_mut().for_each(|item| item.tags = vec!["all".to_owned()]);
    assert!(collapse(picture, Some(Collapse::Tag)).remarks.is_empty());
}

#[test]
fn in_a_crowded_picture_the_outputs_of_a_step_are_a_number() {
    let mut picture = chain(20);
    for item in &mut picture.items[1..] {
        item.parts = (0..10).map(|k| Part { name: format!("{}_{k}", item.id), shape: Shape::Dataset }).collect();
    }
    let small = collapse(picture, None);
    assert!(small.title.ends_with("201 shown as 21"), "{}", small.title);
    assert_eq!(small.items[1].parts[0].name, "c1 · 10 outputs");
}

#[test]
fn names_of_a_group_do_not_look_like_a_range() {
    // Every third step is of the second stage: from the first to the last of a stage there are others.
    let step = |i: usize| item(&format!("n{i:04}"), usize::from(i.is_multiple_of(3)));
    let picture = Picture { items: (0..63).map(step).collect(), ..Picture::default() };
    let small = collapse(picture, Some(Collapse::Stage));
    let names = |picture: &Picture| picture.items.iter().map(|item| item.parts[0].name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&small), ["42 steps: n0001, n0002, …", "21 steps: n0000, n0003, …"]);
    for text in [svg::svg(&small), text::dot(&small), text::mermaid(&small)] {
        assert!(text.contains("21 steps: n0000, n0003, …"), "{text}");
        assert!(!text.contains('–'), "{text}");
    }
    let long = |i: usize| item(&format!("a_rather_long_name_of_a_table_{i}"), 0);
    let picture = Picture { items: (0..2).map(long).collect(), ..Picture::default() };
    assert_eq!(names(&collapse(picture, Some(Collapse::Stage))), ["2 steps: a_rather_…a_table_0, …"]);
}

#[test]
fn a_long_chain_is_collapsed_by_several_stages() {
    let mut picture = Picture::default();
    for layer in 1..=1_000 {
        picture.items.push(item(&format!("s{layer}"), layer));
        picture.stages.insert(layer, format!("stage {layer}"));
    }
    picture.items[600..].iter_mut().for_each(|item| item.fate = Some(Fate::Maybe));
    picture.edges = (0..999).map(|from| Edge { from, part: 0, to: from + 1 }).collect();
    let small = collapse(picture, None);
    assert_eq!((small.items.len(), small.edges.len()), (20, 19));
    assert_eq!(small.stages.values().next_back().unwrap(), "stages 951–1000");
    assert_eq!(
        (small.items[12].note.as_str(), small.items[12].parts[0].name.as_str()),
        ("maybe", "50 steps: s601, s602, …")
    );
}

#[test]
fn what_was_asked_for_by_stage_has_no_step_of_a_larger_stage_apart() {
    let mut picture = random(10, 10, 2);
    picture.items.iter_mut().for_each(|item| item.fate = Some(Fate::Build));
    let asked = collapse(picture.clone(), Some(Collapse::Stage));
    assert_eq!(asked.items.len(), 10);
    assert!(asked.items.iter().all(|item| item.steps().len() == 10));
    assert_eq!(collapse(picture, None).items.len(), 100, "it is small");
    // A chain is told by its stages, as a longer one is.
    for (n, how) in [(100, Some(Collapse::Stage)), (100, None), (1_000, None)] {
        let small = collapse(chain(n), how);
        assert_eq!(small.items.len(), 21, "{n}");
        assert_eq!(small.stages.values().next().unwrap(), &format!("stages 1–{}", n / 20));
    }
    assert_eq!(collapse(chain(50), None).items.len(), 51);
}

#[test]
fn groups_tell_who_is_in_them_and_tags_stand_in_columns() {
    let mut picture = random(20, 50, 1);
    picture.items.iter_mut().enumerate().for_each(|(i, item)| item.tags = vec![format!("tag_{}", i % 7)]);
    picture.items[3].tags = vec!["alone".to_owned()];
    let by_stage = collapse(picture.clone(), Some(Collapse::Stage));
    let first = &by_stage.items[0];
    assert_eq!((first.parts[0].name.as_str(), first.note.as_str()), ("50 steps: step_0_0, step_0_1, …", "up to date"));
    assert!(first.tip.starts_with("50 steps · alone, tag_0, tag_1, tag_2, tag_3, tag_4 and 2 more\n"), "{}", first.tip);
    // Each tag reads from all others of the stage before it.
    let ends = (50..1_000).flat_map(|to| [1, 4, 10, 23].map(|step| (to / 50 * 50 - 50 + (to * step + step) % 50, to)));
    picture.edges = ends.map(|(from, to)| Edge { from, part: 0, to }).collect();
    picture.edges.sort_unstable();
    let by_tag = collapse(picture, Some(Collapse::Tag));
    let alone = by_tag.items.iter().find(|item| item.id == "step_0_3").unwrap();
    assert_eq!(alone.note, "alone");
    let laid = layout(&by_tag);
    for layer in 1..20 {
        let row = by_tag.items.iter().zip(&laid.items).filter(|(item, _)| item.layer == layer);
        let places: Vec<f64> = row.map(|(_, rect)| if laid.down { rect.x } else { rect.y }).collect();
        assert!(places.is_sorted(), "{layer}: {places:?}");
    }
}

#[test]
fn a_group_of_sources_looks_as_the_legend_says() {
    let mut picture = chain(1);
    picture.items.extend((0..3).map(|i| Item { what: What::Source, fate: None, ..item(&format!("more_{i}"), 0) }));
    picture.edges.extend((2..5).map(|from| Edge { from, part: 0, to: 1 }));
    let small = collapse(picture, Some(Collapse::Stage));
    assert_eq!((small.items[0].parts[0].name.as_str(), small.items[0].note.as_str()), ("4 sources: s, more_0, …", ""));
    assert!(svg::svg(&small).contains("<g id=\"group-0-7-\" class=\"source\">"), "{}", svg::svg(&small));
}

#[test]
fn the_legend_has_every_colour_of_the_picture_and_no_shape_twice() {
    let mut picture = chain(3);
    for (i, fate) in [Fate::Maybe, Fate::Left, Fate::Skip].into_iter().enumerate() {
        picture.items[i + 1] = Item { fate: Some(fate), tags: vec!["t".to_owned()], ..item(&format!("c{i}"), i + 1) };
    }
    let svg = svg::svg(&collapse(picture, Some(Collapse::Tag)));
    let key = svg.rsplit_once("</g>\n</g>").unwrap().1;
    for word in ["maybe", "left", "up to date"] {
        assert!(key.contains(&format!(">{word}</text>")), "{word}: {svg}");
    }
    assert_eq!(key.matches("<rect class=\"swatch ").count(), 3, "{svg}");
    assert!(!key.contains(">build</text>"), "{svg}");
}
