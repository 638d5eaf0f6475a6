//! Tests of where lines begin and end, and of recipes that make much.

use super::{chain, item, overlap};
use crate::draw::bundle::bundle;
use crate::draw::collapse::collapse;
use crate::draw::layout::{Rect, layout};
use crate::draw::picture::{Edge, Part, Picture, Shape};
use crate::draw::shapes::{inset, line};
use crate::draw::size::{NOTE, width};
use crate::draw::svg;

#[test]
fn no_line_ends_with_a_piece_that_has_no_length() {
    assert_eq!(line(&[(0.0, 0.0), (0.0, 4.0), (8.0, 12.0), (8.0, 12.04)], true), "M0 0L0 4C0 8 8 8 8 12");
    assert_eq!(line(&[(0.0, 0.0), (4.0, 0.0), (12.0, 8.0), (12.4, 8.0)], false), "M0 0L4 0C8 0 8 8 12 8L12.4 8");
}

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
        picture.items.push(item(&format!("a_step_with_a_name_{i}"), 1));
    }
    picture.items.push(item("read", 0));
    picture.edges = (0..20).map(|to| Edge { from: 20, part: 0, to }).collect();
    (0..40).for_each(|i| picture.items.push(item(&format!("unread_source_{i}"), 0)));
    // Steps differ in what they lead to, so that they stand side by side.
    for i in 0..20usize {
        picture.items.push(item(&format!("below_it_with_a_name_{i}"), 2));
        picture.edges.push(Edge { from: i, part: 0, to: 61 + i });
    }
    let picture = bundle(&picture);
    let laid = layout(&picture);
    let at = |id: &str| laid.items[picture.items.iter().position(|item| item.id == id).unwrap()];
    assert!(!laid.down);
    assert!(at("read").w < 200.0, "{:?}", at("read"));
}

/// One recipe that makes much, and readers of ten outputs each.
fn many_readers() -> Picture {
    let mut picture = chain(1);
    picture.items[1].parts = (0..100).map(|i| Part { name: format!("o{i}"), shape: Shape::Dataset }).collect();
    for reader in 0..10usize {
        let to = picture.items.len();
        picture.items.push(item(&format!("sum_{reader}"), 2));
        picture.edges.extend((0..10).map(|k| Edge { from: 1, part: reader * 10 + k, to }));
    }
    picture
}

#[test]
fn what_is_said_of_lines_stands_apart() {
    let picture = bundle(&many_readers());
    let laid = layout(&picture);
    assert!(laid.down);
    let mut said: Vec<Rect> = Vec::new();
    for (edge, line) in picture.edges.iter().zip(&laid.lines) {
        let Some(text) = picture.said.get(edge) else { continue };
        assert_eq!(text, "10 of 100 outputs");
        let (end, before) = (line[line.len() - 1], line[line.len() - 2]);
        // Curves are above it.
        assert!(before.0 == end.0 && before.1 <= end.1 - 26.0, "{line:?}");
        let (w, reader) = (width(text, NOTE), laid.items[edge.to]);
        assert!(reader.w >= w, "{reader:?}");
        let own = Rect { x: end.0 - w / 2.0, y: end.1 - 26.0, w, h: 16.0 };
        assert!(said.iter().all(|other| !overlap(*other, own)), "{said:?} {own:?}");
        said.push(own);
        // Below the frame it goes straight down.
        let frame = laid.items[edge.from];
        let below = end.0 > frame.x + 16.0 && end.0 < frame.x + frame.w - 16.0;
        assert!(!below || line.iter().all(|point| point.0 == end.0), "{line:?}");
    }
    assert_eq!(said.len(), 10);
    let drawn = svg::svg(&many_readers());
    assert!(drawn.rfind("<path class=\"line").unwrap() < drawn.find("class=\"note said\"").unwrap(), "{drawn}");
}

#[test]
fn recipes_with_several_outputs_in_a_row_make_no_staircase() {
    for down in [true, false] {
        let n = if down { 10 } else { 7 };
        let mut picture = chain(n);
        let name = if down { "o" } else { "an_output_with_a_long_name" };
        for item in &mut picture.items[1..] {
            let part = |k: usize| Part { name: format!("{name}_{}_{k}", item.id), shape: Shape::Dataset };
            item.parts = (0..10).map(part).collect();
        }
        picture.edges.extend((1..n).map(|from| Edge { from, part: 1, to: from + 1 }));
        picture.edges.sort_unstable();
        let laid = layout(&picture);
        assert_eq!(laid.down, down);
        let across = |(x, y): (f64, f64)| if down { x } else { y };
        let middles: Vec<f64> =
            laid.items[1..].iter().map(|rect| across((rect.x + rect.w / 2.0, rect.y + rect.h / 2.0))).collect();
        assert!(middles.iter().all(|middle| (middle - middles[0]).abs() < 1.0), "{middles:?}");
        for (edge, line) in picture.edges.iter().zip(&laid.lines).filter(|(edge, _)| edge.from > 0) {
            if down {
                assert!(line.iter().all(|point| (across(*point) - across(line[0])).abs() < 1.0), "{edge:?}: {line:?}");
            } else {
                // At the head of the frame, beside none of its outputs.
                let (frame, end) = (laid.items[edge.to], line[line.len() - 1]);
                assert!(end.1 > frame.y && end.1 < laid.parts[edge.to][0].y, "{edge:?}: {line:?}");
            }
        }
    }
}

#[test]
fn arrows_end_on_the_outline() {
    let rect = Rect { x: 0.0, y: 0.0, w: 100.0, h: 42.0 };
    let down = |shape, along| inset(shape, rect, along, true);
    let right = |shape, along| inset(shape, rect, along, false);
    // A folder is lower beside its tab, which slopes; a lid and a pill are round; a hexagon is pointed.
    assert_eq!([-40.0, -20.0, -17.0, 0.0, 40.0].map(|along| down(Shape::Folder, along)), [0.0, 0.0, 3.0, 5.0, 5.0]);
    assert_eq!([0.0, 30.0, 50.0].map(|along| down(Shape::Dataset, along)), [0.0, 4.0 * (1.0 - 0.8), 4.0]);
    assert_eq!([0.0, 29.0, 50.0].map(|along| down(Shape::Task, along)), [0.0, 0.0, 21.0]);
    assert_eq!([0.0, 21.0].map(|along| right(Shape::Task, along)), [0.0, 21.0]);
    assert_eq!([0.0, -10.5, 10.5].map(|along| right(Shape::Model, along)), [0.0, 6.0, 6.0]);
    let mut picture = chain(1);
    picture.items[1].parts[0].shape = Shape::Folder;
    let laid = layout(&picture);
    let folder = laid.items[1];
    assert_eq!(laid.lines[0].last(), Some(&(folder.x + folder.w / 2.0, folder.y + 5.0)));
}

#[test]
fn a_chain_is_no_higher_than_it_has_to_be() {
    let laid = layout(&chain(55));
    assert!(laid.size.h < 56.0 * 67.0, "{:?}", laid.size);
}

#[test]
fn what_is_said_of_two_lines_to_one_item_stands_one_above_the_other() {
    let mut picture = chain(1);
    picture.items.push(item("other", 1));
    for i in 1..=2 {
        let part = |k: usize| Part { name: format!("o{i}_{k}"), shape: Shape::Dataset };
        picture.items[i].parts = (0..30).map(part).collect();
        picture.edges.extend((0..10).map(|part| Edge { from: i, part, to: 3 }));
    }
    picture.items.push(item("reader", 2));
    let bundled = bundle(&picture);
    assert_eq!(bundled.said.len(), 2);
    let laid = layout(&bundled);
    for (edge, line) in bundled.edges.iter().zip(&laid.lines).filter(|(edge, _)| bundled.said.contains_key(edge)) {
        assert!(line[line.len() - 2].1 <= line[line.len() - 1].1 - 39.0, "{edge:?}: {line:?}");
    }
    let drawn = svg::svg(&picture);
    let heights: Vec<f64> = drawn
        .split("class=\"note said\"")
        .skip(1)
        .map(|text| text.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!((heights[0] - heights[1]).abs(), 13.0, "{drawn}");
}
