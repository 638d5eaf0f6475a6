//! What a pipeline says held against what its projects on DSS have: nodes, kinds, ids, and what is made from what. Asks
//! nobody, changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::id::{NodeId, RecipeId};
use crate::base::span::{Problem, Problems};
use crate::base::text::{did_you_mean, nearest};
use crate::engine::dss::remote::Project;
use crate::pipeline::dss_wire::{self, FlowNode};
use crate::pipeline::types::{Kind, Node, Pipeline};

/// Compares a pipeline with the projects of its nodes. `own` is the project of nodes that name none.
#[must_use]
pub fn compare(pipeline: &Pipeline, own: &str, projects: &BTreeMap<String, Project>) -> Problems {
    let mut comparing = Comparing { pipeline, own, projects, problems: Vec::new() };
    for (id, _) in pipeline.nodes.iter() {
        comparing.node(id);
    }
    for (id, recipe) in pipeline.recipes.iter() {
        if !recipe.outputs.is_empty() {
            let found = comparing.recipe(id);
            comparing.problems.extend(found);
        }
    }
    let sources = pipeline.nodes.values().filter(|node| node.maker.is_none());
    let made: Vec<_> = sources.filter_map(|node| comparing.source(node)).collect();
    comparing.problems.extend(made);
    let mut problems = comparing.problems;
    problems.sort_by_key(|problem| (problem.warning, problem.labels.first().map(|label| label.span.start)));
    problems
}

/// A thing of the flow: its kind and its id.
type Thing = (Kind, String);

struct Comparing<'a> {
    pipeline: &'a Pipeline,
    own: &'a str,
    projects: &'a BTreeMap<String, Project>,
    problems: Problems,
}

impl Comparing<'_> {
    fn thing(node: &Node) -> Thing {
        (node.kind, node.id.clone().unwrap_or_else(|| node.name.clone()))
    }

    /// A node as the flow of a project names it: things of other projects have theirs before a dot.
    fn in_flow(&self, node: &Node, key: &str) -> Thing {
        let (kind, id) = Self::thing(node);
        match node.project.as_deref().unwrap_or(self.own) {
            own if own == key => (kind, id),
            other => (kind, format!("{other}.{id}")),
        }
    }

    fn project(&self, node: &Node) -> Option<(&str, &Project)> {
        let key = node.project.as_deref().unwrap_or(self.own);
        self.projects.get_key_value(key).map(|(key, project)| (key.as_str(), project))
    }

    /// Whether a node is there, and of its kind.
    fn node(&mut self, id: NodeId) {
        let node = &self.pipeline.nodes[id];
        let Some((key, project)) = self.project(node) else { return };
        let (kind, id) = Self::thing(node);
        if has(project, kind, &id) {
            let partitioned = self.partitioned(node, project, &id);
            self.problems.extend(partitioned);
            return;
        }
        let word = kind.word();
        let problem =
            Problem::new("not-on-dss", format!("project {key} has no {word} `{id}`")).at(&node.span, "this one");
        let other = [Kind::Dataset, Kind::Folder, Kind::Model].into_iter().find(|other| has(project, *other, &id));
        let help = match (other, by_name(project, kind, &id, &node.name)) {
            (Some(other), _) => format!("it has a {} of that name: [{}.{}]", other.word(), other.word(), node.name),
            (None, Some(found)) => format!("did you mean id = \"{found}\"? DSS knows a {word} by its id"),
            (None, None) => near(project, kind, &id).unwrap_or_else(|| format!("make it there, or say its `id`: {word}s of {key} are named as they are in the address of their page")),
        };
        self.problems.push(problem.help(help));
    }

    /// What is built and has partitions: which of them, the file does not say.
    fn partitioned(&self, node: &Node, project: &Project, id: &str) -> Option<Problem> {
        let is = |thing: &&dss_wire::Thing| node.kind == Kind::Dataset && thing.name.as_deref() == Some(id);
        let by = project.datasets.iter().find(is)?.partitioned_by();
        if by.is_empty() || node.maker.is_none() {
            return None;
        }
        let message = format!("on DSS `{}` is partitioned by {}", node.name, by.join(", "));
        let help = "say which partitions are built with `kiln run --partition SPEC`; without it none is named";
        Some(Problem::new("partitioned-on-dss", message).at(&node.span, "this one").help(help).warn())
    }

    /// Whether a recipe reads what DSS reads for its outputs, and makes all that DSS makes with them.
    fn recipe(&self, id: RecipeId) -> Problems {
        let recipe = &self.pipeline.recipes[id];
        let Some((key, project)) = self.project(&self.pipeline.nodes[recipe.outputs[0]]) else { return Vec::new() };
        let in_flow = |node: &NodeId| self.in_flow(&self.pipeline.nodes[*node], key);
        let here: Vec<Thing> = recipe.outputs.iter().map(in_flow).collect();
        if !here.iter().all(|(kind, id)| has(project, *kind, id)) {
            return Vec::new();
        }
        let flow = Flow { project, key };
        let makers = flow.makers(&here);
        let name = &recipe.name;
        let warn = |code, message: String, help: &str| {
            Problem::new(code, message).at(&recipe.span, "this one").help(help).warn()
        };
        if makers.is_empty() {
            let message = format!("no recipe of project {key} makes `{name}`");
            let help = "DSS has nothing to run for it: a job ends without having built it";
            return vec![warn("no-recipe-on-dss", message, help)];
        }
        let inputs: BTreeSet<Thing> = recipe.inputs.iter().map(in_flow).collect();
        let theirs = flow.of(&makers, |node| &node.predecessors);
        let says = |thing: &Thing| self.say(project, key, thing);
        let lacks: Vec<_> = theirs.difference(&inputs).filter(|thing| !here.contains(thing)).map(says).collect();
        let more: Vec<_> = inputs.difference(&theirs).map(says).collect();
        let siblings = flow.of(&makers, |node| &node.successors);
        let apart = siblings.iter().filter(|thing| !here.contains(thing)).filter_map(|thing| self.declared(key, thing));
        let apart: Vec<_> = apart.collect();
        let mut problems = Vec::new();
        if !lacks.is_empty() {
            let message = format!("on DSS `{name}` is made from {} too", lacks.join(", "));
            let help = "add what is missing to `inputs`, so that it is built before";
            problems.push(warn("input-only-on-dss", message, help));
        }
        if !more.is_empty() {
            let message = format!("on DSS `{name}` is not made from {}", more.join(", "));
            let help = "leave it out of `inputs`, unless it has to be built before";
            problems.push(warn("input-only-here", message, help));
        }
        if !apart.is_empty() {
            let message = format!("on DSS one recipe makes `{name}` and {}", apart.join(", "));
            let help = "declare one [recipe.NAME] with all of them as `outputs`: one job builds them together";
            problems.push(warn("made-together-on-dss", message, help));
        }
        problems
    }

    /// A source of the file that DSS makes: what it is made from is not built before.
    fn source(&self, node: &Node) -> Option<Problem> {
        let (key, project) = self.project(node)?;
        let flow = Flow { project, key };
        let makers = flow.makers(&[Self::thing(node)]);
        let from = flow.of(&makers, |node| &node.predecessors);
        let from: Vec<_> = from.iter().map(|thing| self.say(project, key, thing)).collect();
        if makers.is_empty() {
            return None;
        }
        let from = if from.is_empty() { String::new() } else { format!(" from {}", from.join(", ")) };
        let message = format!("on DSS `{}` is no source: a recipe makes it{from}", node.name);
        let problem = Problem::new("source-made-on-dss", message).at(&node.span, "a source here");
        Some(problem.help("say `inputs = [\"…\"]` if Kiln shall have it built").warn())
    }

    /// The name of a thing in the file.
    fn declared(&self, key: &str, thing: &Thing) -> Option<String> {
        let node = self.pipeline.nodes.values().find(|node| self.in_flow(node, key) == *thing)?;
        Some(format!("`{}`", node.name))
    }

    /// A thing for people: its name in the file, else that on DSS.
    fn say(&self, project: &Project, key: &str, thing: &Thing) -> String {
        let (kind, id) = thing;
        self.declared(key, thing).unwrap_or_else(|| match name_of(project, *kind, id) {
            Some(name) if name != id => format!("`{id}` ({} {name}, which the file lacks)", kind.word()),
            _ => format!("`{id}` ({}, which the file lacks)", kind.word()),
        })
    }
}

/// The flow of a project, asked for its recipes.
struct Flow<'a> {
    project: &'a Project,
    key: &'a str,
}

impl<'a> Flow<'a> {
    /// The recipes that make any of these.
    fn makers(&self, things: &[Thing]) -> Vec<&'a FlowNode> {
        let nodes = &self.project.graph.nodes;
        let made =
            nodes.values().filter(|node| node_thing(node, self.key).is_some_and(|thing| things.contains(&thing)));
        let mut keys: Vec<&String> = made.flat_map(|node| &node.predecessors).collect();
        keys.sort();
        keys.dedup();
        keys.into_iter().filter_map(|key| nodes.get(key)).filter(|node| node_thing(node, self.key).is_none()).collect()
    }

    /// What recipes read or make.
    fn of(&self, recipes: &[&'a FlowNode], side: impl Fn(&'a FlowNode) -> &'a Vec<String>) -> BTreeSet<Thing> {
        let keys = recipes.iter().flat_map(|recipe| side(recipe));
        keys.filter_map(|key| node_thing(self.project.graph.nodes.get(key)?, self.key)).collect()
    }
}

/// Whether a node of the flow is of a kind that a pipeline can declare.
pub(super) fn may_declare(node: &FlowNode) -> bool {
    node_kind(node).is_some()
}

fn node_kind(node: &FlowNode) -> Option<Kind> {
    match node.kind.as_deref()? {
        "COMPUTABLE_DATASET" => Some(Kind::Dataset),
        "COMPUTABLE_FOLDER" => Some(Kind::Folder),
        "COMPUTABLE_SAVED_MODEL" => Some(Kind::Model),
        _ => None,
    }
}

/// The thing that a node of the flow is, where it is one that a pipeline can declare.
pub(super) fn node_thing(node: &FlowNode, project: &str) -> Option<Thing> {
    let kind = node_kind(node)?;
    let id = node.id.as_deref().filter(|id| !id.is_empty())?;
    let own = id.strip_prefix(project).and_then(|rest| rest.strip_prefix('.'));
    Some((kind, own.unwrap_or(id).to_owned()))
}

/// All things of a kind: id and name.
fn things(project: &Project, kind: Kind) -> impl Iterator<Item = (&str, &str)> {
    let list = match kind {
        Kind::Dataset => &project.datasets,
        Kind::Folder => &project.folders,
        Kind::Model => &project.models,
    };
    list.iter().filter_map(move |thing| {
        let name = thing.name.as_deref();
        let id = if kind == Kind::Dataset { name } else { thing.id.as_deref() };
        Some((id?, name.or(id)?))
    })
}

fn has(project: &Project, kind: Kind, id: &str) -> bool {
    things(project, kind).any(|(known, _)| known == id)
}

/// The name of a thing for people.
pub(super) fn name_of<'a>(project: &'a Project, kind: Kind, id: &str) -> Option<&'a str> {
    things(project, kind).find(|(known, _)| *known == id).map(|(_, name)| name)
}

/// The id of what has the name that was taken for one.
fn by_name<'a>(project: &'a Project, kind: Kind, id: &str, name: &str) -> Option<&'a str> {
    let same = |known: &str| known.eq_ignore_ascii_case(id) || known.eq_ignore_ascii_case(name);
    things(project, kind).find(|(_, known)| same(known)).map(|(id, _)| id)
}

fn near(project: &Project, kind: Kind, id: &str) -> Option<String> {
    let by_id = did_you_mean(id, things(project, kind).map(|(id, _)| id));
    by_id.or_else(|| {
        let name = nearest(id, things(project, kind).map(|(_, name)| name))?;
        let id = things(project, kind).find(|(_, known)| *known == name)?.0;
        Some(format!("did you mean `{name}`? its id is {id}"))
    })
}
