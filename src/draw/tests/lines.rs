//! Tests of where lines begin and end, and of recipes that make much.

use super::{chain, item};
use crate::draw::bundle::bundle;
use crate::draw::collapse::collapse;
use crate::draw::layout::{Rect, layout};
use crate::draw::picture::{Edge, Item, Part, Picture, Shape};
use crate::draw::svg;

#[test]
fn of_many_outputs_those_that_are_read_have_arrows() {
    let mut picture = chain(2);
    let part = |i: usize| Part { name: format!("o{i}"), shape: Shape::Dataset };
    picture.items[1].parts = (0..30).map(part).collect();
    let into = |parts: &[usize]| parts.iter().map(|part| Edge { from: 1, part: *part, to: 2 }).collect::<Vec<_>>();
    picture.edges = [vec![Edge { from: 0, part: 0, to: 1 }], into(&[3, 29])].concat();
    let bundled = bundle(&picture);
    let laid = layout(&bundled);
    let (frame, parts) = (laid.items[1], &laid.parts[1]);
    for (edge, line) in bundled.edges.iter().zip(&laid.lines).filter(|(edge, _)| edge.from == 1) {
        let own = parts[edge.part];
        assert_eq!(line[0], (own.x + own.w / 2.0, own.y + own.h), "{edge:?}");
        // Where it leaves the frame it has run through no other output.
        let out = line.iter().rev().find(|point| point.1 <= frame.y + frame.h + 0.1).unwrap();
        let below = |part: &&Rect| part.y > own.y && part.x < out.0 && out.0 < part.x + part.w;
        assert_eq!(parts.iter().find(below), None, "{edge:?}");
    }
    let drawn = svg::svg(&picture);
    assert!(drawn.contains("data-from=\"o3\"") && drawn.contains("data-from=\"o29\""), "{drawn}");
    // Of more of them one arrow says how many, unless it is all.
    picture.edges = into(&(0..20).collect::<Vec<_>>());
    let drawn = svg::svg(&picture);
    assert!(drawn.contains("data-from=\"c1\"") && drawn.contains(">20 of 30 outputs<"), "{drawn}");
    picture.edges = into(&(0..30).collect::<Vec<_>>());
    assert!(!svg::svg(&picture).contains("outputs<"));
}

#[test]
fn many_outputs_stand_in_rows_and_are_things_of_the_picture() {
    let mut picture = chain(2);
    let part = |i: usize| Part { name: format!("o{i}"), shape: Shape::Dataset };
    picture.items[1].parts = (0..100).map(part).collect();
    picture.edges =
        (0..100).map(|part| Edge { from: 1, part, to: 2 }).chain([Edge { from: 0, part: 0, to: 1 }]).collect();
    let drawn = svg::svg(&picture);
    assert_eq!(drawn.matches("class=\"line").count(), 2, "{drawn}");
    assert_eq!(drawn.matches("data-node=\"o").count(), 100, "{drawn}");
    assert!(drawn.contains("data-from=\"c1\""), "{drawn}");
    let laid = layout(&bundle(&picture));
    assert!(laid.down && laid.size.w < 1_000.0 && laid.size.h < 600.0, "{:?}", laid.size);
    picture.items[1].parts = (0..200).map(part).collect();
    let small = collapse(picture, None);
    assert_eq!(small.items[1].parts[0].name, "c1 · 200 outputs");
    assert!(small.title.ends_with("202 shown as 3"), "{}", small.title);
}

#[test]
fn a_frame_of_many_makes_no_other_item_of_its_column_wide() {
    let mut picture = Picture::default();
    for i in 0..20usize {
        picture.items.push(Item { step: true, ..item(&format!("a_step_with_a_name_{i}"), 1) });
    }
    picture.items.push(item("read", 0));
    picture.edges = (0..20).map(|to| Edge { from: 20, part: 0, to }).collect();
    (0..40).for_each(|i| picture.items.push(item(&format!("unread_source_{i}"), 0)));
    // Steps differ in what they lead to, so that they stand side by side.
    for i in 0..20usize {
        picture.items.push(Item { step: true, ..item(&format!("below_it_with_a_name_{i}"), 2) });
        picture.edges.push(Edge { from: i, part: 0, to: 61 + i });
    }
    let picture = bundle(&picture);
    let laid = layout(&picture);
    let at = |id: &str| laid.items[picture.items.iter().position(|item| item.id == id).unwrap()];
    assert!(!laid.down);
    assert!(at("read").w < 200.0, "{:?}", at("read"));
}
