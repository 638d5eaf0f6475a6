//! A picture as text that other programs draw: Graphviz's dot, and Mermaid. They find the places themselves.

use std::fmt::Write as _;

use crate::draw::picture::{Edge, Item, Picture, Shape};
use crate::plan::reason::Fate;

/// The colours of what happens to a step: inside and around it. They go with dark letters, on light and dark pages.
fn colors(fate: Fate) -> (&'static str, &'static str) {
    match fate {
        Fate::Build => ("#ffe3c7", "#c4540a"),
        Fate::Maybe => ("#fff6bf", "#9a6700"),
        Fate::Ask => ("#f1e5ff", "#8250df"),
        Fate::Cannot => ("#ffd4ce", "#cf222e"),
        Fate::Left => ("#dde1e6", "#424a53"),
        Fate::Skip => ("#eaf3ec", "#6b9c79"),
    }
}

/// The same for a source that has changed.
const CHANGED: (&str, &str) = ("#ffffff", "#c4540a");

/// What an edge leads from has changed, and is a reason to build what it leads to.
fn is_strong(picture: &Picture, edge: &Edge) -> bool {
    picture.items[edge.from].changed && picture.items[edge.to].fate.is_some_and(Fate::is_active)
}

/// Writes a picture as dot.
#[must_use]
pub fn dot(picture: &Picture) -> String {
    let mut out = String::from("digraph pipeline {\n");
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line(&format!("  label={}; labelloc=t; rankdir=TB;", quoted(&picture.title)));
    line("  node [fontname=\"sans-serif\", fontsize=12, style=filled, fillcolor=\"#ffffff\", color=\"#6e7781\"];");
    line("  edge [color=\"#8c959f\", arrowsize=0.7];");
    picture.items.iter().enumerate().for_each(|(i, item)| dot_item(i, item, &notes(picture, item), &mut line));
    for edge in &picture.edges {
        let cluster = (picture.items[edge.to].parts.len() > 1).then(|| format!("lhead=cluster_{}", edge.to));
        let faint = picture.faint.contains(edge).then(|| "color=\"#c6ced6\"".to_owned());
        let strong = is_strong(picture, edge).then(|| format!("color=\"{}\", penwidth=2", CHANGED.1));
        let said = [cluster, faint, strong].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let said = if said.is_empty() { said } else { format!(" [{said}]") };
        line(&format!("  n{}_{} -> n{}_0{said};", edge.from, edge.part, edge.to));
    }
    line("  compound=true;");
    line("}");
    out
}

fn dot_item(i: usize, item: &Item, notes: &[&str], line: &mut dyn FnMut(&str)) {
    let many = item.parts.len() > 1;
    if many {
        line(&format!("  subgraph cluster_{i} {{ label={}; color=\"#8c959f\";", quoted(&heading(item))));
    }
    for (k, part) in item.parts.iter().enumerate() {
        let notes = if many { &[] } else { notes };
        let text = [&[part.name.as_str()], notes].concat().join("\n");
        let (shape, style) = match part.shape {
            Shape::Source => ("parallelogram", "filled"),
            Shape::Dataset => ("cylinder", "filled"),
            Shape::Folder => ("folder", "filled"),
            Shape::Model => ("hexagon", "filled"),
            Shape::Task => ("box", "filled,rounded"),
            Shape::Group => ("box3d", "filled"),
        };
        let dash = match item.fate {
            Some(Fate::Maybe) => ",dashed",
            Some(Fate::Left) => ",dotted",
            _ => "",
        };
        let color = item.fate.map(colors).or(item.changed.then_some(CHANGED));
        let color = color.map(|(fill, edge)| format!(", fillcolor=\"{fill}\", color=\"{edge}\""));
        let color = if item.changed { color.map(|color| color + ", penwidth=2") } else { color };
        let (text, tip, color) = (quoted(&text), quoted(&item.tip), color.unwrap_or_default());
        line(&format!("  n{i}_{k} [label={text}, tooltip={tip}, shape={shape}, style=\"{style}{dash}\"{color}];"));
    }
    if many {
        line("  }");
    }
}

/// Writes a picture as Mermaid, as GitHub and GitLab show it.
#[must_use]
pub fn mermaid(picture: &Picture) -> String {
    let mut out = String::from("flowchart TB\n");
    for (i, item) in picture.items.iter().enumerate() {
        let many = item.parts.len() > 1;
        if many {
            writeln!(out, "  subgraph s{i} [\"{}\"]", entities(&heading(item))).expect("a String takes everything");
        }
        for (k, part) in item.parts.iter().enumerate() {
            let mut text = entities(&part.name);
            for note in notes(picture, item).into_iter().filter(|_| !many) {
                write!(text, "<br/><small>{}</small>", entities(note)).expect("a String takes everything");
            }
            let (open, close) = match part.shape {
                Shape::Source => ("[/", "/]"),
                Shape::Dataset => ("[(", ")]"),
                Shape::Folder => ("[[", "]]"),
                Shape::Model => ("{{", "}}"),
                Shape::Task => ("([", "])"),
                Shape::Group => ("[", "]"),
            };
            let class = item.fate.map_or(if item.changed { "changed" } else { "source" }, Fate::class);
            writeln!(out, "  n{i}_{k}{open}\"{text}\"{close}:::{class}").expect("a String takes everything");
        }
        if many {
            out.push_str("  end\n");
        }
    }
    for edge in &picture.edges {
        let to =
            if picture.items[edge.to].parts.len() > 1 { format!("s{}", edge.to) } else { format!("n{}_0", edge.to) };
        let arrow = match picture.faint.contains(edge) {
            true => "-.->",
            false if is_strong(picture, edge) => "==>",
            false => "-->",
        };
        writeln!(out, "  n{}_{} {arrow} {to}", edge.from, edge.part).expect("a String takes everything");
    }
    out.push_str("  classDef source fill:#ffffff,stroke:#6e7781,color:#1f2328\n");
    let (fill, edge) = CHANGED;
    writeln!(out, "  classDef changed fill:{fill},stroke:{edge},color:#1f2328,stroke-width:3px")
        .expect("a String takes everything");
    for fate in Fate::ALL {
        let (fill, edge) = colors(fate);
        let dash = match fate {
            Fate::Maybe => ",stroke-dasharray:5 3",
            Fate::Left => ",stroke-dasharray:2 3",
            Fate::Build | Fate::Ask | Fate::Cannot | Fate::Skip => "",
        };
        writeln!(out, "  classDef {} fill:{fill},stroke:{edge},color:#1f2328{dash}", fate.class())
            .expect("a String takes everything");
    }
    out
}

/// More edges than this Mermaid does not draw unless the page says so, nor a longer text.
const EDGES: usize = 500;
/// As for [`EDGES`], in characters.
const TEXT: usize = 50_000;

/// What is to be said of a text that Mermaid refuses as long as nobody tells it otherwise, which the text itself cannot.
#[must_use]
pub fn too_much_for_mermaid(picture: &Picture, text: &str) -> Option<String> {
    let refused = |what: &str, n: usize, option: &str, most: usize| {
        (n > most).then(|| format!("{n} {what}: where `{option}` is not set, Mermaid draws no more than {most}"))
    };
    let length = || refused("characters", text.chars().count(), "maxTextSize", TEXT);
    refused("edges", picture.edges.len(), "maxEdges", EDGES).or_else(length)
}

/// What stands below the name of an item: what happens to it, and for a group the stages that it is of, for which there is no
/// other place here.
fn notes<'a>(picture: &'a Picture, item: &'a Item) -> Vec<&'a str> {
    let stages = picture.stages.get(&item.layer).filter(|_| item.fate.is_some());
    let stages = stages.filter(|_| item.parts[0].shape == Shape::Group);
    std::iter::once(&item.note).chain(stages).map(String::as_str).filter(|note| !note.is_empty()).collect()
}

fn heading(item: &Item) -> String {
    if item.note.is_empty() { item.id.clone() } else { format!("{} · {}", item.id, item.note) }
}

/// A text in quotes, as dot reads it.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{}\"", text.chars().filter(|c| !c.is_control()).collect::<String>())
}

/// A text as it may stand between quotes in Mermaid: what means something there is spelled by its number.
fn entities(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '"' | '#' | '<' | '>' | '&' | '`' | ';' => {
                write!(out, "#{};", c as u32).expect("a String takes everything");
            }
            c => out.push(c),
        }
    }
    out
}
