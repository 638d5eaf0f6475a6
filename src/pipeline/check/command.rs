//! Checks templates: each name has a meaning here, and each value can stand where it is asked for.

use std::collections::HashMap;

use crate::base::id::{Id, NodeId, RecipeId};
use crate::base::span::{Problem, Problems, Span};
use crate::base::text::did_you_mean;
use crate::pipeline::refs::{Reference, values};
use crate::pipeline::template::{Piece, Place, Template, is_plain};
use crate::pipeline::types::{Command, Pipeline, Recipe};

/// Checks the command of a recipe. `text` is the file, `root` the absolute root.
pub(super) fn check(pipeline: &Pipeline, id: RecipeId, text: &str, root: &str) -> Problems {
    let recipe = &pipeline.recipes[id];
    let Some(command) = &recipe.run else {
        return Vec::new();
    };
    let shell = matches!(command, Command::Shell(_));
    let names = Names { pipeline, recipe, id, root, shell };
    let mut problems = Vec::new();
    for template in command.templates() {
        for piece in &template.pieces {
            let Piece::Name { name, span, place } = piece else {
                continue;
            };
            if let Some(problem) = names.check(name, *place, &locate(text, &recipe.run_span, template, span)) {
                problems.push(problem);
            }
        }
    }
    problems.extend(collisions(pipeline, recipe));
    problems
}

/// Where a piece of a template stands in the file: exactly where the text stands there as it is, else the whole value.
pub(super) fn locate(text: &str, outer: &Span, template: &Template, inner: &Span) -> Span {
    locate_text(text, outer, &template.text, inner)
}

/// The same for a text that is no template yet.
pub(super) fn locate_text(text: &str, outer: &Span, template: &str, inner: &Span) -> Span {
    match text.get(outer.clone()).and_then(|value| value.find(template)) {
        Some(at) => outer.start + at + inner.start..outer.start + at + inner.end,
        None => outer.clone(),
    }
}

struct Names<'a> {
    pipeline: &'a Pipeline,
    recipe: &'a Recipe,
    id: RecipeId,
    root: &'a str,
    shell: bool,
}

impl Names<'_> {
    fn check(&self, name: &str, place: Place, span: &Span) -> Option<Problem> {
        let undefined = |help: String| {
            let problem = Problem::new("undefined-name", format!("`{name}` is not defined in `{}`", self.recipe.name));
            Some(problem.at(span, "this name").help(help))
        };
        let help = match Reference::of(name) {
            None => Some(
                "known are: inputs, inputs.NAME, output, outputs.NAME, vars.NAME, pipeline.name, project".to_owned(),
            ),
            Some(Reference::Input(node)) => self.among(&self.recipe.inputs, node, "inputs"),
            Some(Reference::OutputOf(node)) => self.among(&self.recipe.outputs, node, "outputs"),
            Some(Reference::Inputs) => self.any_input(),
            Some(Reference::Output) => self.only_output(),
            Some(Reference::Var(var)) => self.var(var),
            Some(Reference::PipelineName | Reference::Project) => None,
        };
        match help {
            Some(help) => undefined(help),
            None => self.quotes(name, place, span),
        }
    }

    /// The way out if `name` is not the name of one of `ids` with a path.
    fn among(&self, ids: &[NodeId], name: &str, key: &str) -> Option<String> {
        let names = || ids.iter().map(|id| self.pipeline.nodes[*id].name.as_str());
        match ids.iter().find(|id| self.pipeline.nodes[**id].name == name) {
            Some(id) if self.pipeline.nodes[*id].path.is_some() => None,
            Some(_) => Some(format!("`{name}` has no path")),
            None if key == "inputs" && self.pipeline.node(name).is_some() => {
                Some(format!("`{name}` is not among the inputs of `{}`: add it to `inputs`", self.recipe.name))
            }
            None => Some(did_you_mean(name, names()).unwrap_or_else(|| match names().next() {
                None => format!("`{}` has no {key}", self.recipe.name),
                Some(_) => format!("its {key} are: {}", names().collect::<Vec<_>>().join(", ")),
            })),
        }
    }

    fn any_input(&self) -> Option<String> {
        let any = self.recipe.inputs.iter().any(|id| self.pipeline.nodes[*id].path.is_some());
        (!any).then(|| format!("`{}` has no input with a path", self.recipe.name))
    }

    fn only_output(&self) -> Option<String> {
        match self.recipe.outputs.as_slice() {
            [] => Some("a task has no output".to_owned()),
            [id] if self.pipeline.nodes[*id].path.is_none() => Some(format!("`{}` has no path", self.recipe.name)),
            [_] => None,
            many => {
                let names = many.iter().map(|id| format!("outputs.{}", self.pipeline.nodes[*id].name));
                Some(format!("it has several outputs: {}", names.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    fn var(&self, name: &str) -> Option<String> {
        if self.pipeline.vars.contains_key(name) {
            return None;
        }
        let known = self.pipeline.vars.keys().map(String::as_str);
        Some(did_you_mean(name, known).unwrap_or_else(|| format!("declare it: [vars] {name} = \"…\"")))
    }

    /// Inside quotes a value can stand only if it needs none of its own.
    fn quotes(&self, name: &str, place: Place, span: &Span) -> Option<Problem> {
        if !self.shell || place == Place::Bare {
            return None;
        }
        let path = |id: NodeId| self.pipeline.nodes[id].path.as_ref().map(|path| format!("{}/{path}", self.root));
        let words = values(self.pipeline, self.id, name, &path);
        let message = match words.as_slice() {
            [word] if is_plain(word) => return None,
            [word] => format!("`{name}` stands inside quotes, and its value needs quotes of its own: {word}"),
            _ => format!("`{name}` stands inside quotes, and it is several words"),
        };
        let problem = Problem::new("inside-quotes", message).at(span, "inside quotes");
        Some(problem.help(self.way_out(name)))
    }

    fn way_out(&self, name: &str) -> String {
        let variable = match Reference::of(name) {
            Some(Reference::Output) => Some("KILN_OUTPUT".to_owned()),
            Some(Reference::OutputOf(node)) => Some(format!("KILN_OUTPUT_{}", node.to_uppercase())),
            Some(Reference::Input(node)) => Some(format!("KILN_INPUT_{}", node.to_uppercase())),
            _ => None,
        };
        match variable {
            Some(variable) => format!("take it out of the quotes, or write \"${variable}\""),
            None => "take it out of the quotes: Kiln quotes the value itself".to_owned(),
        }
    }
}

/// Two nodes whose names differ in case only would share a variable.
fn collisions(pipeline: &Pipeline, recipe: &Recipe) -> Problems {
    let mut problems = Vec::new();
    for (prefix, ids) in [("KILN_INPUT_", &recipe.inputs), ("KILN_OUTPUT_", &recipe.outputs)] {
        let mut seen: HashMap<String, NodeId> = HashMap::new();
        for id in ids {
            let node = &pipeline.nodes[*id];
            let variable = format!("{prefix}{}", node.name.to_uppercase());
            if let Some(other) = seen.insert(variable.clone(), *id).filter(|other| other.index() != id.index()) {
                let other = &pipeline.nodes[other];
                let message = format!("`{}` and `{}` would share the variable {variable}", other.name, node.name);
                let problem =
                    Problem::new("name-collision", message).at(&other.span, "this name").at(&node.span, "and this one");
                problems.push(problem.help("give one a name that differs in more than case"));
            }
        }
    }
    problems
}
