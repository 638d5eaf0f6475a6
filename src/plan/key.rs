//! What a step's key is made of: every part with its name, so that a reason can name what changed. Does not decide.

use std::collections::BTreeSet;

use crate::base::digest::{Digest, FieldHasher, HEX};
use crate::base::id::{NodeId, RecipeId};
use crate::pipeline::refs::Reference;
use crate::pipeline::template::Template;
use crate::pipeline::types::{Command, Kind, Pipeline, Recipe};
use crate::plan::facts::OwnFacts;
use crate::plan::reason::ReasonCode;
use crate::plan::record::Parts;

/// What the name of a part begins with that is the content of an input.
pub const INPUT: &str = "input:";
/// The same where it is the path of an input.
pub const INPUT_PATH: &str = "input_path:";
/// What the name of a part begins with that is an output: its value is the kind, a space, and the path.
const OUTPUT: &str = "output:";
/// What the name of a part begins with that is what a tool prints.
pub(super) const TOOL: &str = "tool:";
/// The part that is the list which `{{ inputs }}` stands for.
pub(super) const INPUTS: &str = "inputs";

/// The key of a step, where all its inputs are known.
#[must_use]
pub fn key(pipeline: &Pipeline, id: RecipeId, own: &OwnFacts, inputs: &dyn Fn(NodeId) -> Option<Digest>) -> Digest {
    let mut hasher = FieldHasher::default();
    each(pipeline, id, own, inputs, &mut |name, value| add(&mut hasher, name, value));
    hasher.finish()
}

/// The key of a step and its parts, made together.
#[must_use]
pub fn key_and_parts(
    pipeline: &Pipeline,
    id: RecipeId,
    own: &OwnFacts,
    inputs: &dyn Fn(NodeId) -> Option<Digest>,
) -> (Digest, Parts) {
    let (mut hasher, mut parts) = (FieldHasher::default(), Parts::new());
    each(pipeline, id, own, inputs, &mut |name, value| {
        add(&mut hasher, name, value);
        parts.insert([name.0, name.1].concat(), value.to_owned());
    });
    (hasher.finish(), parts)
}

fn add(hasher: &mut FieldHasher, Name(kind, name): Name<'_>, value: &str) {
    hasher.begin(kind.len() + name.len()).add(kind.as_bytes()).add(name.as_bytes()).field(value.as_bytes());
}

/// The parts of the key by name. Inputs that are not known are left out.
#[must_use]
pub fn parts(pipeline: &Pipeline, id: RecipeId, own: &OwnFacts, inputs: &dyn Fn(NodeId) -> Option<Digest>) -> Parts {
    let mut parts = Parts::new();
    each(pipeline, id, own, inputs, &mut |name, value| {
        parts.insert([name.0, name.1].concat(), value.to_owned());
    });
    parts
}

/// The name of a part: its kind with the colon behind it, and what it is of.
#[derive(Clone, Copy)]
struct Name<'a>(&'static str, &'a str);

/// Calls `part` with the name and the value of each part, always in the same order.
fn each(
    pipeline: &Pipeline,
    id: RecipeId,
    own: &OwnFacts,
    inputs: &dyn Fn(NodeId) -> Option<Digest>,
    part: &mut dyn FnMut(Name<'_>, &str),
) {
    let recipe = &pipeline.recipes[id];
    command(recipe, part);
    names(pipeline, recipe, part);
    for node in &recipe.inputs {
        let name = &pipeline.nodes[*node].name;
        if let Some(path) = &pipeline.nodes[*node].path {
            part(Name(INPUT_PATH, name), path);
        }
        if let Some(digest) = inputs(*node) {
            part(Name(INPUT, name), digest.hex(&mut [0; HEX]));
        }
    }
    for node in &recipe.outputs {
        let node = &pipeline.nodes[*node];
        let path = node.path.as_deref().unwrap_or_default();
        part(Name(OUTPUT, &node.name), &format!("{} {path}", node.kind.word()));
    }
    for (path, digest) in &own.files {
        part(Name("file:", path), digest.hex(&mut [0; HEX]));
    }
    for (name, printed) in &own.tools {
        if let Some(printed) = printed {
            part(Name(TOOL, name), printed);
        }
    }
    for (name, value) in &own.env {
        part(Name("env:", name), value);
    }
}

fn command(recipe: &Recipe, part: &mut dyn FnMut(Name<'_>, &str)) {
    match &recipe.run {
        Some(Command::Shell(template)) => {
            part(Name("command", ""), &template.text);
            part(Name("shell", ""), &list(recipe.how.shell.iter().map(String::as_str)));
        }
        Some(Command::Words(words)) => part(Name("command", ""), &list(words.iter().map(|word| word.text.as_str()))),
        None => {}
    }
    if !recipe.how.workdir.is_empty() {
        part(Name("workdir", ""), &recipe.how.workdir);
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    serde_json::to_string(&words.collect::<Vec<_>>()).expect("a list of texts is JSON")
}

/// The values of what the command names besides paths.
fn names(pipeline: &Pipeline, recipe: &Recipe, part: &mut dyn FnMut(Name<'_>, &str)) {
    let templates = recipe.run.as_ref().map(Command::templates).unwrap_or_default();
    let mut used: Vec<&str> = templates.iter().flat_map(Template::names).collect();
    used.sort_unstable();
    used.dedup();
    for name in used {
        match Reference::of(name) {
            Some(Reference::Var(var)) => {
                part(Name("var:", var), pipeline.vars.get(var).map_or("", String::as_str));
            }
            Some(Reference::PipelineName) => part(Name("pipeline.name", ""), &pipeline.name),
            Some(Reference::Project) => part(Name("project", ""), &pipeline.project),
            Some(Reference::Inputs) => {
                let names = recipe.inputs.iter().map(|id| pipeline.nodes[*id].name.as_str());
                part(Name(INPUTS, ""), &names.collect::<Vec<_>>().join(" "));
            }
            Some(Reference::Input(_) | Reference::Output | Reference::OutputOf(_)) | None => {}
        }
    }
}

/// Parts without the names of outputs, which are all that differs where a step has only another name.
pub(super) fn nameless(parts: &Parts) -> BTreeSet<(&str, &str)> {
    let name = |name| if str::starts_with(name, OUTPUT) { OUTPUT } else { name };
    parts.iter().map(|(part, value)| (name(part.as_str()), value.as_str())).collect()
}

/// The word for the kind and the path of an output, from the value of its part.
#[must_use]
pub fn output(value: &str) -> (&str, &str) {
    value.split_once(' ').unwrap_or((value, ""))
}

/// The kind of an output, from the parts of the key that it was built with.
pub(super) fn built_kind<'a>(parts: &'a Parts, node: &str) -> Option<&'a str> {
    parts.get(&[OUTPUT, node].concat()).map(|value| output(value).0)
}

/// Whether of two kinds one is a folder and the other is not.
pub(super) fn is_other_kind(one: &str, other: &str) -> bool {
    (one == Kind::Folder.word()) != (other == Kind::Folder.word())
}

/// What it means that the part `name` differs, and what to call it.
#[must_use]
pub fn meaning(name: &str) -> (ReasonCode, Option<&str>) {
    match name.split_once(':') {
        Some(("input" | "input_path", what)) => (ReasonCode::InputChanged, Some(what)),
        Some(("output", what)) => (ReasonCode::OutputMoved, Some(what)),
        Some(("file", what)) => (ReasonCode::CodeChanged, Some(what)),
        Some(("tool", what)) => (ReasonCode::ToolChanged, Some(what)),
        Some(("env", what)) => (ReasonCode::EnvChanged, Some(what)),
        Some(("var", what)) => (ReasonCode::VarChanged, Some(what)),
        _ if name == "command" => (ReasonCode::CommandChanged, None),
        _ => (ReasonCode::SettingChanged, Some(name)),
    }
}
