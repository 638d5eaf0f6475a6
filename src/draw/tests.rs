//! Tests of the pictures: nothing overlaps, few lines cross, text stays text.

mod changed;
mod groups;
mod lines;

use insta::assert_snapshot;

use crate::base::id::{Id, RecipeId};
use crate::draw::bundle::bundle;
use crate::draw::layers::layers;
use crate::draw::layout::{Rect, layout};
use crate::draw::order::{crossings, order};
use crate::draw::picture::{Edge, Item, Part, Picture, Shape, What, picture};
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
                // A piece does not turn back: it stays between its ends.
                let around = |ends: &[(f64, f64)]| {
                    let [(x, y), (to_x, to_y)] = [ends[0], ends[1]];
                    Rect { x: x.min(to_x), y: y.min(to_y), w: (x - to_x).abs(), h: (y - to_y).abs() }
                };
                // Where a piece only meets the edge of a layer it may do so behind it, by what floats are rounded.
                let inner = Rect { x: rect.x + 0.1, y: rect.y + 0.1, w: rect.w - 0.2, h: rect.h - 0.2 };
                let through = |ends| overlap(around(ends), inner);
                assert!(!line.windows(2).any(through), "seed {seed}: {edge:?} through {i}");
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
fn a_star_is_a_box_in_which_every_step_stands() {
    let mut picture = Picture::default();
    picture.items.push(item("a", 0));
    picture.items.extend((1..=98).map(|i| item(&format!("s{i}"), 1)));
    picture.items.push(item("z", 2));
    picture.edges = (1..=98).flat_map(|i| [(0, i), (i, 99)]).map(|(from, to)| Edge { from, part: 0, to }).collect();
    picture.edges.sort_unstable();
    let bundled = bundle(&picture);
    assert_eq!((bundled.items.len(), bundled.edges.len(), bundled.items[0].members().len()), (3, 2, 98));
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
fn steps_that_need_nothing_are_a_box_and_no_column() {
    let picture = Picture { items: (0..140).map(|i| item(&format!("s{i}"), 1)).collect(), ..Picture::default() };
    let layout = layout(&bundle(&picture));
    assert!(layout.size.w < 1_500.0 && layout.size.h < 1_500.0, "{:?}", layout.size);
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
      classDef changed fill:#ffffff,stroke:#c4540a,color:#1f2328,stroke-width:3px
      classDef build fill:#ffe3c7,stroke:#c4540a,color:#1f2328
      classDef maybe fill:#fff6bf,stroke:#9a6700,color:#1f2328,stroke-dasharray:5 3
      classDef ask fill:#f1e5ff,stroke:#8250df,color:#1f2328
      classDef cannot fill:#ffd4ce,stroke:#cf222e,color:#1f2328
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
    let mut picture =
        Picture { items: vec![Item { what: What::Source, fate: None, ..item("s", 0) }], ..Picture::default() };
    for i in 1..=n {
        picture.items.push(Item { fate: Some(Fate::Build), ..item(&format!("c{i}"), i) });
        picture.edges.push(Edge { from: i - 1, part: 0, to: i });
        picture.stages.insert(i, format!("stage {i}"));
    }
    picture
}

#[test]
fn the_lid_of_a_cylinder_is_filled_as_the_rest_is() {
    let cylinder = outline(Shape::Dataset, Rect { x: 0.0, y: 0.0, w: 40.0, h: 20.0 });
    // Both ways round are the same, from left to right above and back below: what is in both is filled.
    assert_eq!(cylinder, "M0 4a20 4 0 0 1 40 0v12a20 4 0 0 1-40 0zM40 4a20 4 0 0 1-40 0");
}

#[test]
fn a_step_of_two_outputs_that_reads_a_whole_chain_is_drawn() {
    for n in 1..60 {
        let mut picture = chain(n);
        let split = picture.items.len();
        let parts = ["train", "test"].map(|name| Part { name: name.to_owned(), shape: Shape::Dataset }).to_vec();
        picture.items.push(Item { parts, ..item("split", n + 1) });
        picture.edges.extend((1..=n).map(|from| Edge { from, part: 0, to: split }));
        picture.edges.sort_unstable();
        assert!(!svg::svg(&picture).contains("NaN"), "{n}");
    }
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
