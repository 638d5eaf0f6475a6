//! What a picture shows: items in layers, and what leads from one to the other. Does not know where things stand.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::text::{count, millis};
use crate::graph::Graph;
use crate::pipeline::types::{Kind, Pipeline};
use crate::plan::reason::{Fate, ReasonCode};
use crate::plan::{Plan, Step};

/// So many outputs of a recipe stand side by side; more stand in rows, and what leads from them begins at their frame.
pub(super) const ABREAST: usize = 12;

/// A graph that can be drawn. It has no cycle: each edge leads to an item of a higher layer.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// What stands above it.
    pub title: String,
    /// What it is a picture of, in the order of the file.
    pub items: Vec<Item>,
    /// What leads where, each once.
    pub edges: Vec<Edge>,
    /// The names of layers.
    pub stages: BTreeMap<usize, String>,
    /// What is said of an edge that stands for some of the outputs of a step.
    pub said: BTreeMap<Edge, String>,
    /// The edges between groups that lead where a longer way leads, too: they are drawn so that they stand back.
    pub faint: BTreeSet<Edge>,
    /// What is to be said beside the picture: where it is not quite as it was asked for.
    pub remarks: Vec<String>,
}

/// A step, a source, or a group of them.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// Its name; for a group what tells it from all others.
    pub id: String,
    /// What it is.
    pub what: What,
    /// What happens to it; none for a source, or where nothing was planned.
    pub fate: Option<Fate>,
    /// What it makes; itself for a source, a task or a group.
    pub parts: Vec<Part>,
    /// What stands below its name.
    pub note: String,
    /// What is said when one points at it.
    pub tip: String,
    /// Its place in the order: the stage of a step, less for a source.
    pub layer: usize,
    /// Where it stands in the file.
    pub at: usize,
    /// Whether it is a source for whose change something is out of date, or a group of such.
    pub changed: bool,
    /// Words to group it by.
    pub tags: Vec<String>,
    /// The class it is painted by instead of that of its fate: what has become of it.
    pub paint: Option<&'static str>,
}

/// What an item is.
#[derive(Clone, Debug, Default)]
pub enum What {
    /// A step.
    #[default]
    Step,
    /// What no step of the picture makes.
    Source,
    /// Several steps, or several sources, as one thing.
    Group {
        /// The steps.
        steps: Vec<String>,
        /// How many of them have which fate, in the order of [`Fate::ALL`].
        counts: [usize; Fate::ALL.len()],
    },
    /// A frame in which these stand, all of the same size.
    Bundle(Vec<Item>),
}

impl Item {
    /// Whether it is a step, and not a source or a group.
    pub(crate) fn is_step(&self) -> bool {
        matches!(self.what, What::Step)
    }

    /// The steps of a group.
    pub(crate) fn steps(&self) -> &[String] {
        if let What::Group { steps, .. } = &self.what { steps } else { &[] }
    }

    /// How many steps of a group have which fate; nothing but for a group.
    pub(super) fn counts(&self) -> [usize; Fate::ALL.len()] {
        if let What::Group { counts, .. } = self.what { counts } else { Default::default() }
    }

    /// What stands in a frame.
    pub(super) fn members(&self) -> &[Self] {
        if let What::Bundle(members) = &self.what { members } else { &[] }
    }

    /// Whether it makes so much that it stands in rows.
    pub(super) fn is_wide(&self) -> bool {
        self.parts.len() > ABREAST
    }

    /// Whether it is a frame around others.
    pub(super) fn is_frame(&self) -> bool {
        self.parts.len() > 1 || !self.members().is_empty()
    }
}

/// A thing that has a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
}

/// What a thing is, told by its outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// A node that no recipe makes.
    Source,
    /// A file, or a table somewhere else.
    Dataset,
    /// A directory.
    Folder,
    /// A saved model.
    Model,
    /// A recipe without an output.
    Task,
    /// Several steps.
    Group,
}

impl Shape {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Dataset => "dataset",
            Self::Folder => "folder",
            Self::Model => "model",
            Self::Task => "task",
            Self::Group => "group",
        }
    }
}

impl From<Kind> for Shape {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Dataset => Self::Dataset,
            Kind::Folder => Self::Folder,
            Kind::Model => Self::Model,
        }
    }
}

/// A way from a part of one item to another item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// Where it begins.
    pub from: usize,
    /// At which of its parts; behind the last one for the whole of it.
    pub part: usize,
    /// Where it ends.
    pub to: usize,
}

/// The steps of a plan with all that they are made from; without a plan, all steps.
#[must_use]
pub fn picture(pipeline: &Pipeline, graph: &Graph, plan: Option<&Plan>, title: &str) -> Picture {
    let mut maker = Maker {
        pipeline,
        picture: Picture { title: title.to_owned(), ..Picture::default() },
        item_of: DenseMap::filled(pipeline.nodes.len(), None),
    };
    let steps: Vec<_> = match plan {
        None => graph.order.iter().map(|id| (*id, graph.stage[*id], None)).collect(),
        Some(plan) => plan.steps.iter().map(|step| (step.id, step.stage, Some(step))).collect(),
    };
    steps.iter().for_each(|(id, stage, step)| maker.step(*id, *stage, *step));
    maker.edges(steps.iter().map(|(id, ..)| *id));
    // What nothing reads is a part of the whole.
    if steps.len() == graph.order.len() {
        maker.unread();
    }
    maker.changed(steps.iter().filter_map(|(.., step)| *step));
    maker.picture
}

struct Maker<'a> {
    pipeline: &'a Pipeline,
    picture: Picture,
    /// Where each node is shown, so far: the item and the part.
    item_of: DenseMap<NodeId, Option<(usize, usize)>>,
}

impl Maker<'_> {
    fn step(&mut self, id: RecipeId, stage: u32, step: Option<&Step>) {
        let recipe = &self.pipeline.recipes[id];
        let part = |node: &NodeId| {
            let node = &self.pipeline.nodes[*node];
            Part { name: node.name.clone(), shape: node.kind.into() }
        };
        let mut parts: Vec<Part> = recipe.outputs.iter().map(part).collect();
        if parts.is_empty() {
            parts.push(Part { name: recipe.name.clone(), shape: Shape::Task });
        }
        for (i, node) in recipe.outputs.iter().enumerate() {
            self.item_of[*node] = Some((self.picture.items.len(), i));
        }
        let mut tags = recipe.tags.clone();
        tags.extend(recipe.outputs.iter().flat_map(|node| self.pipeline.nodes[*node].tags.iter().cloned()));
        let description = recipe
            .description
            .as_ref()
            .or_else(|| recipe.outputs.iter().find_map(|node| self.pipeline.nodes[*node].description.as_ref()));
        self.picture.stages.entry(stage as usize).or_insert_with(|| format!("stage {stage}"));
        self.picture.items.push(Item {
            id: recipe.name.clone(),
            fate: step.map(Step::fate),
            parts,
            note: step.map(note).unwrap_or_default(),
            tip: tip(&recipe.name, description.map(String::as_str), step),
            layer: stage as usize,
            at: recipe.span.start,
            tags,
            ..Item::default()
        });
    }

    /// Leads the inputs of each step to it. What no step of the picture makes becomes a source, one layer before the
    /// first that reads it.
    fn edges(&mut self, steps: impl Iterator<Item = RecipeId>) {
        for (to, id) in steps.enumerate() {
            for node in &self.pipeline.recipes[id].inputs {
                let layer = self.picture.items[to].layer - 1;
                let (from, part) = self.item_of[*node].unwrap_or_else(|| self.source(*node, layer));
                self.picture.edges.push(Edge { from, part, to });
                if !self.picture.items[from].is_step() {
                    self.picture.items[from].layer = self.picture.items[from].layer.min(layer);
                }
            }
        }
        self.picture.edges.sort_unstable();
        self.picture.edges.dedup();
    }

    /// The sources that no step reads.
    fn unread(&mut self) {
        for (id, node) in self.pipeline.nodes.iter() {
            if node.maker.is_none() && self.item_of[id].is_none() {
                self.source(id, 0);
            }
        }
    }

    /// Marks what is not made here and whose change is a reason.
    fn changed<'s>(&mut self, steps: impl Iterator<Item = &'s Step>) {
        let reasons = steps.flat_map(|step| &step.reasons).filter(|reason| reason.code == ReasonCode::InputChanged);
        let nodes: BTreeSet<NodeId> =
            reasons.filter_map(|reason| self.pipeline.node(reason.what.as_deref()?)).collect();
        let places: Vec<usize> = nodes.into_iter().filter_map(|node| Some(self.item_of[node]?.0)).collect();
        let picture = &mut self.picture;
        let mut n = 0;
        for at in places {
            let item = &mut picture.items[at];
            if matches!(item.what, What::Source) {
                item.changed = true;
                item.note.push_str(" · changed");
                item.tip.push_str("\nchanged");
                n += 1;
            }
        }
        if n > 0 {
            picture.title = format!("{} · {} changed", picture.title, count(n, "source"));
        }
    }

    fn source(&mut self, id: NodeId, layer: usize) -> (usize, usize) {
        let node = &self.pipeline.nodes[id];
        let (shape, note) = match node.maker {
            None => (Shape::Source, format!("source {}", node.kind.word())),
            Some(_) => (node.kind.into(), "not asked for".to_owned()),
        };
        let at = (self.picture.items.len(), 0);
        self.item_of[id] = Some(at);
        self.picture.items.push(Item {
            id: node.name.clone(),
            what: What::Source,
            parts: vec![Part { name: node.name.clone(), shape }],
            note,
            tip: tip(&node.name, node.description.as_deref(), None),
            layer,
            at: node.span.start,
            tags: node.tags.clone(),
            ..Item::default()
        });
        at
    }
}

/// `build · ~40s`
fn note(step: &Step) -> String {
    let fate = step.fate();
    match step.expected_ms {
        Some(ms) if fate.is_active() => format!("{} · ~{}", fate.word(), millis(ms)),
        _ => fate.word().to_owned(),
    }
}

fn tip(name: &str, description: Option<&str>, step: Option<&Step>) -> String {
    let mut lines = vec![name.to_owned()];
    lines.extend(description.map(str::to_owned));
    if let Some(step) = step {
        lines.push(step.fate().word().to_owned());
        lines.extend(step.reasons.iter().map(ToString::to_string));
    }
    lines.join("\n")
}
