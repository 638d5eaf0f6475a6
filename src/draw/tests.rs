//! Tests of the pictures: nothing overlaps, few lines cross, text stays text.

use insta::assert_snapshot;

use crate::base::id::{Id, RecipeId};
use crate::draw::bundle::bundle;
use crate::draw::collapse::{Collapse, collapse, is_large};
use crate::draw::layers::layers;
use crate::draw::layout::{Rect, layout};
use crate::draw::order::{crossings, order};
use crate::draw::picture::{Edge, Item, Part, Picture, Shape, picture};
use crate::draw::shapes::outline;
use crate::draw::{svg, text};
use crate::graph::Graph;
use crate::pipeline::check::{Options, check};
use crate::pipeline::read::read;
use crate::plan::reason::{Action, Fate, Reason, ReasonCode};
use crate::plan::{Plan, Step};

fn item(name: &str, layer: usize) -> Item {
    Item {
        id: name.to_owned(),
        step: true,
        fate: Some(Fate::Skip),
        parts: vec![Part { name: name.to_owned(), shape: Shape::Dataset }],
        layer,
        ..Item::default()
    }
}

/// `layers` layers of `wide` steps, each made from up to three of the layers before: always the same for a seed.
fn random(layers: usize, wide: usize, seed: u64) -> Picture {
    let mut state = seed;
    let mut next = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut picture = Picture::default();
    for layer in 0..layers {
        for i in 0..wide {
            let to = picture.items.len();
            picture.items.push(item(&format!("step_{layer}_{i}"), layer));
            for _ in 0..if layer == 0 { 0 } else { 1 + next(3) } {
                picture.edges.push(Edge { from: next(layer * wide), part: 0, to });
            }
        }
    }
    picture.edges.sort_unstable();
    picture.edges.dedup();
    picture
}

fn overlap(a: Rect, b: Rect) -> bool {
    a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
}

#[test]
fn nothing_overlaps_and_no_line_runs_through_a_box() {
    for seed in 1..20 {
        let mut picture = random(2 + seed as usize % 7, 1 + seed as usize % 13, seed);
        if seed % 3 == 0 {
            picture.items[0].parts.push(Part { name: "a_longer_second_output".to_owned(), shape: Shape::Folder });
        }
        let layout = layout(&picture);
        let items = &layout.items;
        for i in 0..items.len() {
            for j in 0..i {
                assert!(!overlap(items[i], items[j]), "seed {seed}: {:?} {:?}", items[i], items[j]);
            }
            assert!(
                layout.parts[i].iter().all(|part| part.x >= items[i].x && part.x + part.w <= items[i].x + items[i].w)
            );
        }
        for (edge, line) in picture.edges.iter().zip(&layout.lines) {
            for (i, rect) in items.iter().enumerate().filter(|(i, _)| *i != edge.from && *i != edge.to) {
                let through =
                    |(x, y): &(f64, f64)| *x > rect.x && *x < rect.x + rect.w && *y > rect.y && *y < rect.y + rect.h;
                assert!(!line.iter().any(through), "seed {seed}: {edge:?} through {i}");
            }
        }
    }
}

#[test]
fn a_tree_is_drawn_without_a_crossing() {
    let mut picture = Picture::default();
    for i in 0..31usize {
        picture.items.push(item(&format!("n{i}"), (i + 1).ilog2() as usize));
    }
    let above = |i: usize| (i + 1).ilog2() - 1;
    picture.edges =
        (1..31).map(|i| Edge { from: (1 << above(i)) - 1 + i * 7 % (1 << above(i)), part: 0, to: i }).collect();
    let mut graph = layers(&picture);
    order(&mut graph, false);
    assert_eq!(crossings(&graph), 0);
}

#[test]
fn ordering_takes_most_crossings_away() {
    let picture = random(6, 12, 5);
    let mut graph = layers(&picture);
    let before = crossings(&graph);
    order(&mut graph, false);
    assert!(crossings(&graph) * 2 < before, "{} of {before}", crossings(&graph));
}

#[test]
fn the_same_graph_is_the_same_picture() {
    assert_eq!(svg::svg(&random(7, 14, 3)), svg::svg(&random(7, 14, 3)));
}

#[test]
fn a_large_picture_is_collapsed_and_what_is_built_stays_apart() {
    let mut picture = random(20, 50, 1);
    picture.items[500].fate = Some(Fate::Build);
    picture.items[700].fate = Some(Fate::Maybe);
    let small = collapse(picture.clone(), None);
    assert!(!is_large(&small));
    let apart: Vec<_> = small.items.iter().filter(|item| item.step).map(|item| item.id.as_str()).collect();
    assert_eq!(apart, ["step_10_0", "step_14_0"]);
    assert!(small.edges.iter().all(|edge| small.items[edge.from].layer < small.items[edge.to].layer));
    assert_eq!(collapse(picture.clone(), Some(Collapse::None)).items.len(), 1_000);
    picture.items.iter_mut().enumerate().for_each(|(i, item)| item.tags = vec![["a", "b"][i % 2].to_owned()]);
    let tagged = collapse(picture, Some(Collapse::Tag));
    assert_eq!(tagged.items.len(), 40);
    assert_eq!(tagged.items[20].parts[0].name, "a · 25 steps");
    assert_eq!((tagged.items[20].counts, tagged.items[20].note.as_str()), ([1, 0, 0, 0, 24], "1 build, 24 up to date"));
}

#[test]
fn a_way_that_a_longer_one_tells_too_is_left_out_of_groups() {
    let mut picture = Picture::default();
    for layer in 0..3 {
        picture.items.extend((0..60).map(|i| item(&format!("s{layer}_{i}"), layer)));
    }
    picture.edges = vec![
        Edge { from: 0, part: 0, to: 60 },
        Edge { from: 0, part: 0, to: 120 },
        Edge { from: 60, part: 0, to: 120 },
    ];
    let small = collapse(picture, None);
    let ways: Vec<_> = small.edges.iter().map(|edge| (edge.from, edge.to)).collect();
    assert_eq!(ways, [(0, 1), (1, 2)]);
}

#[test]
fn a_star_is_a_box_in_which_every_step_stands() {
    let mut picture = Picture::default();
    picture.items.push(item("a", 0));
    picture.items.extend((1..=98).map(|i| item(&format!("s{i}"), 1)));
    picture.items.push(item("z", 2));
    picture.edges = (1..=98).flat_map(|i| [(0, i), (i, 99)]).map(|(from, to)| Edge { from, part: 0, to }).collect();
    picture.edges.sort_unstable();
    let bundled = bundle(&picture);
    assert_eq!((bundled.items.len(), bundled.edges.len(), bundled.items[0].members.len()), (3, 2, 98));
    let layout = layout(&bundled);
    assert!(layout.size.w < 1_300.0 && layout.size.h < 1_000.0, "{:?}", layout.size);
    let cells = &layout.parts[0];
    for (i, cell) in cells.iter().enumerate() {
        assert!(cells[..i].iter().all(|other| !overlap(*cell, *other)));
        let frame = layout.items[0];
        assert!(cell.x >= frame.x && cell.x + cell.w <= frame.x + frame.w && cell.y + cell.h <= frame.y + frame.h);
    }
    assert_eq!(svg::svg(&picture).matches("class=\"step skip\"").count(), 100);
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
    assert_eq!(ways, [(0, 1), (1, 2), (2, 3)]);
    // A step that is made from what stands behind its tag: stage by stage then.
    picture.items[999].tags = vec!["raw".to_owned()];
    assert!(collapse(picture, Some(Collapse::Tag)).items.len() > 4);
}

#[test]
fn steps_that_need_nothing_are_a_box_and_no_column() {
    let picture = Picture { items: (0..140).map(|i| item(&format!("s{i}"), 1)).collect(), ..Picture::default() };
    let layout = layout(&bundle(&picture));
    assert!(layout.size.w < 1_500.0 && layout.size.h < 1_500.0, "{:?}", layout.size);
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
        ("50 steps · maybe", "s601 – s650")
    );
}

/// A pipeline with one thing of every kind, of which `split` is built.
fn every_kind() -> Picture {
    let text = r#"
[pipeline]
format = 1
name = "p"
[dataset.raw]
path = "raw.csv"
[dataset.train]
path = "train.csv"
description = 'rows <90%> & "more"'
[dataset.test]
path = "test.csv"
[recipe.split]
inputs = ["raw"]
outputs = ["train", "test"]
run = "true"
[model.churn]
path = "churn"
inputs = ["train"]
run = "true"
[folder.charts]
path = "charts"
inputs = ["churn", "test"]
run = "true"
[task.tell]
inputs = ["charts"]
run = "true"
"#;
    let (raw, _) = read(text);
    let (pipeline, problems) = check(raw.unwrap(), text, &Options { own: &[], vars: &[], project: None });
    assert!(problems.is_empty(), "{problems:?}");
    let graph = Graph::build(&pipeline).unwrap();
    let step = |(i, id): (usize, &RecipeId)| Step {
        id: *id,
        stage: graph.stage[*id],
        action: [Action::Build, Action::Maybe, Action::Maybe, Action::Skip][i],
        reasons: (i < 3)
            .then(|| Reason::new(ReasonCode::EnvChanged).what("A").change(Some("<a>"), Some("\u{7}\"b\"")))
            .into_iter()
            .collect(),
        expected_ms: (i == 0).then_some(40_000),
    };
    let plan = Plan { steps: graph.order.iter().enumerate().map(step).collect() };
    assert_eq!(pipeline.recipes[RecipeId::from_index(0)].name, "split");
    picture(&pipeline, &graph, Some(&plan), "p \"<&>")
}

#[test]
fn dot_tells_kinds_by_shape_and_fates_by_colour() {
    assert_snapshot!(text::dot(&every_kind()), @r##"
    digraph pipeline {
      label="p \"<&>"; labelloc=t; rankdir=TB;
      node [fontname="sans-serif", fontsize=12, style=filled, fillcolor="#ffffff", color="#6e7781"];
      edge [color="#8c959f", arrowsize=0.7];
      subgraph cluster_0 { label="split · build · ~40s"; color="#8c959f";
      n0_0 [label="train", tooltip="split\nrows <90%> & \"more\"\nbuild\nenv changed: A \"<a>\"→\"\\u{7}\"b\"\"", shape=cylinder, style="filled", fillcolor="#ffe3c7", color="#c4540a"];
      n0_1 [label="test", tooltip="split\nrows <90%> & \"more\"\nbuild\nenv changed: A \"<a>\"→\"\\u{7}\"b\"\"", shape=cylinder, style="filled", fillcolor="#ffe3c7", color="#c4540a"];
      }
      n1_0 [label="churn\nmaybe", tooltip="churn\nmaybe\nenv changed: A \"<a>\"→\"\\u{7}\"b\"\"", shape=hexagon, style="filled,dashed", fillcolor="#fff6bf", color="#9a6700"];
      n2_0 [label="charts\nmaybe", tooltip="charts\nmaybe\nenv changed: A \"<a>\"→\"\\u{7}\"b\"\"", shape=folder, style="filled,dashed", fillcolor="#fff6bf", color="#9a6700"];
      n3_0 [label="tell\nup to date", tooltip="tell\nup to date", shape=box, style="filled,rounded", fillcolor="#eaf3ec", color="#6b9c79"];
      n4_0 [label="raw\nsource dataset", tooltip="raw", shape=parallelogram, style="filled"];
      n0_0 -> n1_0;
      n0_1 -> n2_0;
      n1_0 -> n2_0;
      n2_0 -> n3_0;
      n4_0 -> n0_0 [lhead=cluster_0];
      compound=true;
    }
    "##);
}

#[test]
fn mermaid_tells_kinds_by_shape_and_fates_by_class() {
    assert_snapshot!(text::mermaid(&every_kind()), @r##"
    flowchart TB
      subgraph s0 ["split · build · ~40s"]
      n0_0[("train")]:::build
      n0_1[("test")]:::build
      end
      n1_0{{"churn<br/><small>maybe</small>"}}:::maybe
      n2_0[["charts<br/><small>maybe</small>"]]:::maybe
      n3_0(["tell<br/><small>up to date</small>"]):::skip
      n4_0[/"raw<br/><small>source dataset</small>"/]:::source
      n0_0 --> n1_0
      n0_1 --> n2_0
      n1_0 --> n2_0
      n2_0 --> n3_0
      n4_0 --> s0
      classDef source fill:#ffffff,stroke:#6e7781,color:#1f2328
      classDef build fill:#ffe3c7,stroke:#c4540a,color:#1f2328
      classDef maybe fill:#fff6bf,stroke:#9a6700,color:#1f2328,stroke-dasharray:5 3
      classDef ask fill:#f1e5ff,stroke:#8250df,color:#1f2328
      classDef left fill:#dde1e6,stroke:#424a53,color:#1f2328,stroke-dasharray:2 3
      classDef skip fill:#eaf3ec,stroke:#6b9c79,color:#1f2328
    "##);
}

#[test]
fn text_in_an_svg_is_text() {
    let svg = svg::svg(&every_kind());
    assert!(svg.contains("aria-label=\"p &quot;&lt;&amp;&gt;\""), "{svg}");
    assert!(svg.contains("rows &lt;90%&gt; &amp; &quot;more&quot;"), "{svg}");
    assert!(!svg.contains('\u{7}'));
    for class in ["step build", "step maybe", "step skip", "source"] {
        assert!(svg.contains(&format!("class=\"{class}\"")), "{class}");
    }
    assert!(svg.contains("<g id=\"step-split\" class=\"step build\" data-step=\"split\">"));
    assert!(svg.contains("data-node=\"train\"") && svg.contains("data-from=\"train\" data-to=\"churn\""));
}

fn chain(n: usize) -> Picture {
    let mut picture = Picture { items: vec![Item { step: false, fate: None, ..item("s", 0) }], ..Picture::default() };
    for i in 1..=n {
        picture.items.push(Item { fate: Some(Fate::Build), ..item(&format!("c{i}"), i) });
        picture.edges.push(Edge { from: i - 1, part: 0, to: i });
        picture.stages.insert(i, format!("stage {i}"));
    }
    picture
}

#[test]
fn what_was_asked_for_by_stage_has_no_step_of_a_larger_stage_apart() {
    let mut picture = random(10, 10, 2);
    picture.items.iter_mut().for_each(|item| item.fate = Some(Fate::Build));
    let asked = collapse(picture.clone(), Some(Collapse::Stage));
    assert_eq!(asked.items.len(), 10);
    assert!(asked.items.iter().all(|item| item.steps.len() == 10));
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

#[test]
fn the_lid_of_a_cylinder_is_filled_as_the_rest_is() {
    let cylinder = outline(Shape::Dataset, Rect { x: 0.0, y: 0.0, w: 40.0, h: 20.0 });
    // Both ways round are the same, from left to right above and back below: what is in both is filled.
    assert_eq!(cylinder, "M0 4a20 4 0 0 1 40 0v12a20 4 0 0 1-40 0zM40 4a20 4 0 0 1-40 0");
}

#[test]
fn a_small_picture_is_no_wider_than_what_it_shows() {
    let drawn = svg::svg(&chain(1));
    let width: u32 = drawn.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    assert!(width < 320, "{width}");
}

#[test]
fn long_names_are_cut_and_stay_different() {
    let name = |side: &str| format!("stg_salesforce_opportunity_{side}_history_snapshots_daily");
    let items = ["north", "south", "east"].iter().map(|side| item(&name(side), 1)).collect();
    let drawn = svg::svg(&Picture { items, ..Picture::default() });
    for side in ["north", "south", "east"] {
        assert!(drawn.contains(&format!(">stg_sale…{side}_history_snap")), "{drawn}");
    }
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
fn groups_tell_who_is_in_them_and_tags_stand_in_columns() {
    let mut picture = random(20, 50, 1);
    picture.items.iter_mut().enumerate().for_each(|(i, item)| item.tags = vec![format!("tag_{}", i % 7)]);
    picture.items[3].tags = vec!["alone".to_owned()];
    let by_stage = collapse(picture.clone(), Some(Collapse::Stage));
    let first = &by_stage.items[0];
    assert_eq!((first.parts[0].name.as_str(), first.note.as_str()), ("step_0_0 – 49", "50 steps · up to date"));
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
    picture.items.extend((0..3).map(|i| Item { step: false, fate: None, ..item(&format!("more_{i}"), 0) }));
    picture.edges.extend((2..5).map(|from| Edge { from, part: 0, to: 1 }));
    let small = collapse(picture, Some(Collapse::Stage));
    assert_eq!((small.items[0].parts[0].name.as_str(), small.items[0].note.as_str()), ("s – more_2", "4 sources"));
    assert!(svg::svg(&small).contains("<g id=\"group-0-6-\" class=\"source\">"), "{}", svg::svg(&small));
}
