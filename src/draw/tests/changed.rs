//! Sources that have changed are to be seen, whatever else a picture shows.

use std::fmt::Write as _;

use crate::base::id::RecipeId;
use crate::draw::collapse::{Collapse, collapse};
use crate::draw::picture::{Picture, picture};
use crate::draw::{svg, text};
use crate::graph::Graph;
use crate::pipeline::check::{Options, check};
use crate::pipeline::read::read;
use crate::plan::reason::{Action, Reason, ReasonCode};
use crate::plan::{Plan, Step};

/// So many sources, the last in the file first, each with a step of its own that reads it; those of some have changed.
fn sources(n: usize, changed: &[usize]) -> Picture {
    let mut text = "[pipeline]\nformat = 1\nname = \"p\"\n".to_owned();
    for i in 0..n {
        writeln!(text, "[dataset.s{i:02}]\npath = \"s{i:02}\"").unwrap();
    }
    for i in (0..n).rev() {
        writeln!(text, "[dataset.d{i:02}]\npath = \"d{i:02}\"\ninputs = [\"s{i:02}\"]\nrun = \"true\"").unwrap();
    }
    let (raw, _) = read(&text);
    let (pipeline, problems) = check(raw.unwrap(), &text, &Options { own: &[], vars: &[], project: None });
    assert!(problems.is_empty(), "{problems:?}");
    let graph = Graph::build(&pipeline).unwrap();
    let step = |id: &RecipeId| {
        let source = pipeline.recipes[*id].name.replace('d', "s");
        let is_changed = changed.iter().any(|i| source == format!("s{i:02}"));
        let reason = Reason::new(ReasonCode::InputChanged).what(source).change(Some("1"), Some("2"));
        let (action, reasons) = if is_changed { (Action::Build, vec![reason]) } else { (Action::Skip, Vec::new()) };
        Step { id: *id, stage: graph.stage[*id], action, reasons, expected_ms: None }
    };
    let plan = Plan { steps: graph.order.iter().map(step).collect() };
    picture(&pipeline, &graph, Some(&plan), "p")
}

fn names(picture: &Picture) -> Vec<String> {
    picture.items.iter().filter(|item| item.fate.is_none()).map(|item| item.parts[0].name.clone()).collect()
}

#[test]
fn a_source_that_has_changed_is_marked_with_what_it_leads_to() {
    let picture = sources(3, &[1]);
    assert_eq!(picture.title, "p · 1 source changed");
    let svg = svg::svg(&picture);
    assert!(svg.contains("<g id=\"node-s01\" class=\"source changed\""), "{svg}");
    assert!(svg.contains(">source dataset · changed</text>") && svg.contains(">changed</text>"), "{svg}");
    assert!(svg.contains("<path class=\"line on\" data-from=\"s01\" data-to=\"d01\""), "{svg}");
    assert!(svg.contains("<path class=\"line\" data-from=\"s00\" data-to=\"d00\""), "{svg}");
    assert_eq!((svg.matches("\"source changed\"").count(), svg.matches("\"swatch changed\"").count()), (1, 1), "{svg}");
    let mermaid = text::mermaid(&picture);
    assert_eq!((mermaid.matches(":::changed").count(), mermaid.matches(" ==> ").count()), (1, 1), "{mermaid}");
    let dot = text::dot(&picture);
    assert_eq!(dot.matches("color=\"#c4540a\", penwidth=2").count(), 2, "the source and what leads from it: {dot}");
    assert!(!svg::svg(&sources(3, &[])).contains(" changed\""));
}

#[test]
fn what_has_changed_stands_outside_of_groups_and_what_is_in_them_in_the_order_of_the_file() {
    let few = collapse(sources(20, &[7, 13]), Some(Collapse::Stage));
    assert_eq!(names(&few), ["18 sources: s00, s01, …", "s13", "s07"]);
    // Of many it is enough that they are many.
    let all: Vec<usize> = (0..20).collect();
    let many = collapse(sources(40, &all), Some(Collapse::Stage));
    assert_eq!(names(&many), ["40 sources: s00, s01, …"]);
    let group = many.items.iter().find(|item| item.fate.is_none()).unwrap();
    assert_eq!((group.note.as_str(), group.changed), ("20 changed", true));
}
