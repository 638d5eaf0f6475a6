//! Checks templates: each name has a meaning here, and each value can stand where it is asked for.

use crate::base::id::{NodeId, RecipeId};
use crate::base::span::{Problem, Problems, Span};
use crate::base::text::{did_you_mean, nearest, one_line};
use crate::pipeline::locate::locate;
use crate::pipeline::refs::{Reference, values};
use crate::pipeline::template::{Piece, Place, Quotes, is_plain};
use crate::pipeline::types::{Command, Node, Pipeline, Recipe};

/// What a recipe names among its inputs and outputs, and is told as a mistake there: a template that uses it is none.
pub(super) struct Lost {
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
}

/// Checks the commands of a recipe. `spans` are the places of the templates of `run` and of `on_stop`.
pub(super) fn check(pipeline: &Pipeline, id: RecipeId, text: &str, lost: &Lost, spans: [&[Span]; 2]) -> Problems {
    let recipe = &pipeline.recipes[id];
    let mut problems = collisions(pipeline, recipe);
    for (command, spans) in [&recipe.run, &recipe.how.on_stop].into_iter().zip(spans) {
        let Some(command) = command else { continue };
        let shell = matches!(command, Command::Shell(_));
        let names = Names { pipeline, recipe, id, lost, shell };
        for (template, outer) in command.templates().iter().zip(spans) {
            for piece in &template.pieces {
                let Piece::Name { name, span, place } = piece else {
                    continue;
                };
                let name = template.slice(*name);
                problems.extend(names.check(name, *place, &|| locate(text, outer, &span.span())));
            }
        }
    }
    problems
}

struct Names<'a> {
    pipeline: &'a Pipeline,
    recipe: &'a Recipe,
    id: RecipeId,
    lost: &'a Lost,
    shell: bool,
}

impl Names<'_> {
    fn check(&self, name: &str, place: Place, span: &dyn Fn() -> Span) -> Option<Problem> {
        let undefined = |help: String| {
            let problem = Problem::new("undefined-name", format!("`{name}` is not defined in `{}`", self.recipe.name));
            Some(problem.at(&span(), "this name").help(help))
        };
        let reference = Reference::of(name);
        if self.is_told(reference) {
            return None;
        }
        let help = match reference {
            None => Some(self.nearest(name).unwrap_or_else(|| {
                "known are: inputs, inputs.NAME, output, outputs.NAME, vars.NAME, pipeline.name, project".to_owned()
            })),
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

    /// Whether the mistake behind a name is told where its node is named.
    fn is_told(&self, reference: Option<Reference<'_>>) -> bool {
        let holds = |lost: &[String], node: &str| lost.iter().any(|name| name == node);
        match reference {
            // Where a name of the inputs is spelled otherwise, that is the mistake.
            Some(Reference::Input(node)) => {
                holds(&self.lost.inputs, node)
                    || self.pipeline.node(node).is_some_and(|id| !self.recipe.inputs.contains(&id))
                        && self.lost.inputs.iter().any(|lost| nearest(lost, [node]).is_some())
            }
            Some(Reference::OutputOf(node)) => holds(&self.lost.outputs, node),
            Some(Reference::Inputs) => !self.lost.inputs.is_empty(),
            Some(Reference::Output) => !self.lost.outputs.is_empty() && self.output_names().len() < 2,
            Some(Reference::Var(_) | Reference::PipelineName | Reference::Project) | None => false,
        }
    }

    /// The name that is known here and most like `name`.
    fn nearest(&self, name: &str) -> Option<String> {
        let node = |key: &str, id: &NodeId| format!("{key}.{}", self.pipeline.nodes[*id].name);
        let words = ["inputs", "output", "pipeline.name", "project"].map(str::to_owned).into_iter();
        let inputs = self.recipe.inputs.iter().map(|id| node("inputs", id));
        let outputs = self.recipe.outputs.iter().map(|id| node("outputs", id));
        let vars = self.pipeline.vars.keys().map(|var| format!("vars.{var}"));
        let known: Vec<_> = words.chain(inputs).chain(outputs).chain(vars).collect();
        did_you_mean(name, known.iter().map(String::as_str))
    }

    /// The way out if `name` is not the name of one of `ids` with a path.
    fn among(&self, ids: &[NodeId], name: &str, key: &str) -> Option<String> {
        let nodes = || ids.iter().map(|id| &self.pipeline.nodes[*id]);
        let has = |ids: &[NodeId]| ids.iter().any(|id| self.pipeline.nodes[*id].name == name);
        if let Some(node) = nodes().find(|node| node.name == name) {
            return node.path.is_none().then(|| format!("{} `{name}` has no path: give it one", node.kind.word()));
        }
        if key == "inputs" && has(&self.recipe.outputs) {
            return Some(format!("it is an output: write `outputs.{name}`"));
        }
        if key == "outputs" && has(&self.recipe.inputs) {
            return Some(format!("it is an input: write `inputs.{name}`"));
        }
        if key == "inputs" && self.pipeline.node(name).is_some() {
            return Some(format!("`{name}` is not among the inputs of `{}`: add it to `inputs`", self.recipe.name));
        }
        let lost = if key == "inputs" { &self.lost.inputs } else { &self.lost.outputs };
        let known: Vec<_> = nodes().map(|node| node.name.as_str()).chain(lost.iter().map(String::as_str)).collect();
        Some(match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{key}.{near}`?"),
            None if known.is_empty() => format!("`{}` has no {key}", self.recipe.name),
            None => format!("its {key} are: {}", known.join(", ")),
        })
    }

    fn any_input(&self) -> Option<String> {
        let any = self.recipe.inputs.iter().any(|id| self.pipeline.nodes[*id].path.is_some());
        (!any).then(|| format!("`{}` has no input with a path", self.recipe.name))
    }

    /// The outputs that it names, those that are told as mistakes there too.
    fn output_names(&self) -> Vec<&str> {
        let outputs = self.recipe.outputs.iter().map(|id| self.pipeline.nodes[*id].name.as_str());
        outputs.chain(self.lost.outputs.iter().map(String::as_str)).collect()
    }

    fn only_output(&self) -> Option<String> {
        match (self.recipe.outputs.as_slice(), self.output_names().as_slice()) {
            ([], []) => Some("a task has no output".to_owned()),
            ([id], [_]) if self.pipeline.nodes[*id].path.is_none() => {
                Some(format!("`{}` has no path", self.recipe.name))
            }
            (_, [_]) => None,
            (_, many) => {
                let names: Vec<_> = many.iter().map(|name| format!("outputs.{name}")).collect();
                Some(format!("it has several outputs: {}", names.join(", ")))
            }
        }
    }

    fn var(&self, name: &str) -> Option<String> {
        if self.pipeline.vars.contains_key(name) {
            return None;
        }
        let known = self.pipeline.vars.keys().map(String::as_str);
        Some(match nearest(name, known) {
            Some(near) => format!("did you mean `vars.{near}`?"),
            None => format!("declare it:\n[vars]\n{name} = \"…\""),
        })
    }

    /// Inside quotes a value can stand only if it needs none of its own. Where the root lies must not matter: of a path only
    /// what is below the root is looked at, and the rest is written as the quotes ask for.
    fn quotes(&self, name: &str, place: Place, span: &dyn Fn() -> Span) -> Option<Problem> {
        let Place::Quoted(quotes) = place else { return None };
        if !self.shell {
            return None;
        }
        let path = |id: NodeId| self.pipeline.nodes[id].path.as_ref().map(ToString::to_string);
        let words = values(self.pipeline, self.id, name, &path);
        let is_path = matches!(
            Reference::of(name),
            Some(Reference::Inputs | Reference::Input(_) | Reference::Output | Reference::OutputOf(_))
        );
        let (message, label) = match (words.as_slice(), quotes) {
            (_, Quotes::Other) if is_path => (
                "stands inside backticks, `${…}` or `$'…'`, where a path cannot be quoted".to_owned(),
                "no place for a path",
            ),
            ([word], _) if is_plain(word) => return None,
            ([word], Quotes::Document | Quotes::Verbatim) => (
                format!("stands in a here-document, and its value needs quotes: {}", one_line(word, 80)),
                "in a here-document",
            ),
            ([word], _) => (
                format!("stands inside quotes, and its value needs quotes of its own: {}", one_line(word, 80)),
                "inside quotes",
            ),
            (_, Quotes::Document | Quotes::Verbatim) => {
                ("stands in a here-document, and it is several words".to_owned(), "in a here-document")
            }
            _ => ("stands inside quotes, and it is several words".to_owned(), "inside quotes"),
        };
        let problem = Problem::new("inside-quotes", format!("`{name}` {message}")).at(&span(), label);
        Some(problem.help(way_out(name, quotes)))
    }
}

/// What can be written instead of a value inside quotes.
fn way_out(name: &str, quotes: Quotes) -> String {
    let variable = match Reference::of(name) {
        Some(Reference::Output) => Some("KILN_OUTPUT".to_owned()),
        Some(Reference::OutputOf(node)) => Some(format!("KILN_OUTPUT_{}", node.to_uppercase())),
        Some(Reference::Input(node)) => Some(format!("KILN_INPUT_{}", node.to_uppercase())),
        _ => None,
    };
    match (quotes, variable) {
        (Quotes::Double, Some(variable)) => format!("take it out of the quotes, or write \"${variable}\""),
        (Quotes::Single, Some(_)) => format!("take it out of the quotes: '…'{{{{ {name} }}}}'…'"),
        (Quotes::Single | Quotes::Double, None) => "take it out of the quotes: Kiln quotes the value itself".to_owned(),
        (Quotes::Document, Some(variable)) => format!("write ${variable}: the shell fills it in"),
        (Quotes::Verbatim, Some(variable)) => {
            format!("read {variable} from the environment there, as Python does with os.environ[\"{variable}\"]")
        }
        (Quotes::Verbatim, None) => {
            format!("hand it over as an argument, as in `python3 - {{{{ {name} }}}} <<'PY'`, and read that")
        }
        (Quotes::Document, None) => format!("give it to a variable before, x={{{{ {name} }}}}, and write $x"),
        (Quotes::Other, _) => {
            format!("write $(…) in place of backticks, or give it to a variable before: x={{{{ {name} }}}}")
        }
    }
}

/// Of so few names each is compared with each: to sort them takes longer.
const FEW: usize = 8;

/// Two nodes whose names differ in case only would share a variable.
fn collisions(pipeline: &Pipeline, recipe: &Recipe) -> Problems {
    let mut problems = Vec::new();
    for (prefix, ids) in [("KILN_INPUT_", &recipe.inputs), ("KILN_OUTPUT_", &recipe.outputs)] {
        let name = |id: &NodeId| pipeline.nodes[*id].name.as_str();
        let alike = |i: usize| ids[..i].iter().any(|id| name(id).eq_ignore_ascii_case(name(&ids[i])));
        if ids.len() <= FEW && !(1..ids.len()).any(alike) {
            continue;
        }
        let mut nodes: Vec<_> = ids.iter().map(|id| &pipeline.nodes[*id]).collect();
        let letters = |node: &Node| node.name.bytes().map(|b| b.to_ascii_uppercase()).collect::<Vec<_>>();
        if nodes.len() > 1 {
            nodes.sort_by_cached_key(|node| letters(node));
        }
        for pair in nodes.windows(2).filter(|pair| pair[0].name.eq_ignore_ascii_case(&pair[1].name)) {
            let (first, second) =
                if pair[0].span.start < pair[1].span.start { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
            let variable = format!("{prefix}{}", first.name.to_uppercase());
            let message = format!("`{}` and `{}` would share the variable {variable}", first.name, second.name);
            let problem =
                Problem::new("name-collision", message).at(&first.span, "this name").at(&second.span, "and this one");
            problems.push(problem.help("give one a name that differs in more than case"));
        }
    }
    problems
}
