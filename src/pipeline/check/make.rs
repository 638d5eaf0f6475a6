//! Recipes: from the keys of a table to a checked [`Recipe`].

use toml::Spanned;

use crate::base::id::{Id as _, NodeId, RecipeId};
use crate::base::span::{Problem, Span};
use crate::base::text::{did_you_mean, parse_duration};
use crate::pipeline::check::command;
use crate::pipeline::check::{Checker, Entry, Named};
use crate::pipeline::locate::locate;
use crate::pipeline::paths;
use crate::pipeline::raw::{RawMake, Run, Table};
use crate::pipeline::template::{self, Template};
use crate::pipeline::types::{Command, Kind, Rebuild, Recipe};

/// A recipe with its outputs found, before its own keys are looked at.
pub(super) struct Draft {
    pub(super) name: String,
    span: Span,
    pub(super) task: bool,
    pub(super) own_item: bool,
    in_place: Option<Spanned<bool>>,
    outputs: Vec<NodeId>,
    /// Outputs that are told as mistakes of their own.
    lost: Vec<String>,
    make: Box<RawMake>,
}

impl Checker<'_> {
    /// The recipe that an entry holds, if it holds one. Registers the names of recipes and tasks.
    pub(super) fn recipe_of(&mut self, named: Named) -> Option<Draft> {
        let Named { name, span, entry } = named;
        let own_item = !matches!(entry, Entry::Node(..));
        match entry {
            Entry::Node(_, mut raw) => {
                let make = Box::new(raw.take_make());
                let id = self.pipeline.node(&name)?;
                if make.run.is_none() && make.inputs.is_none() {
                    self.keys_without_run(&name, &make, raw.in_place.as_ref());
                    return None;
                }
                Some(Draft {
                    name,
                    span,
                    task: false,
                    own_item,
                    in_place: raw.in_place,
                    outputs: vec![id],
                    lost: Vec::new(),
                    make,
                })
            }
            Entry::Recipe(mut raw) => {
                let make = Box::new(raw.take_make());
                if raw.outputs.is_empty() {
                    let problem =
                        Problem::new("no-output", format!("recipe `{name}` has no outputs")).at(&span, "this recipe");
                    self.problem(
                        problem.help(format!("say what it makes: outputs = [\"…\"], or make it a task: [task.{name}]")),
                    );
                }
                let (outputs, lost) = self.resolve_all(&raw.outputs, "output");
                Some(Draft { name, span, task: false, own_item, in_place: raw.in_place, outputs, lost, make })
            }
            Entry::Task(mut raw) => {
                let make = Box::new(raw.take_make());
                if make.run.is_none() {
                    let problem =
                        Problem::new("missing-key", format!("task `{name}` has no `run`")).at(&span, "this task");
                    self.problem(problem.help("a task is what it runs: run = \"…\""));
                }
                Some(Draft {
                    name,
                    span,
                    task: true,
                    own_item,
                    in_place: None,
                    outputs: Vec::new(),
                    lost: Vec::new(),
                    make,
                })
            }
        }
    }

    /// The nodes that are named, and the names that stand for none.
    fn resolve_all(&mut self, names: &[Spanned<String>], role: &str) -> (Vec<NodeId>, Vec<String>) {
        let mut ids = Vec::with_capacity(names.len());
        let mut lost = Vec::new();
        for name in names {
            let Some(id) = self.resolve(name, role) else {
                lost.push(name.get_ref().clone());
                continue;
            };
            if ids.contains(&id) {
                let problem = Problem::new("named-twice", format!("{role} `{}` stands twice", name.get_ref()));
                self.problem(problem.at(&name.span(), "again here").help("leave one out"));
            } else {
                ids.push(id);
            }
        }
        (ids, lost)
    }

    fn keys_without_run(&mut self, name: &str, make: &RawMake, in_place: Option<&Spanned<bool>>) {
        let keys: [(&str, Option<Span>); 16] = [
            ("shell", make.shell.as_ref().map(Spanned::span)),
            ("workdir", make.workdir.as_ref().map(Spanned::span)),
            ("files", make.files.as_ref().and_then(|files| files.first()).map(Spanned::span)),
            ("tools", first_key(make.tools.as_ref())),
            ("env", first_key(make.env.as_ref())),
            ("pass", make.pass.as_ref().and_then(|pass| pass.first()).map(Spanned::span)),
            ("secrets", first_key(make.secrets.as_ref())),
            ("rebuild", make.rebuild.as_ref().map(Spanned::span)),
            ("timeout", make.timeout.as_ref().map(Spanned::span)),
            ("retry", make.retry.as_ref().map(Spanned::span)),
            ("grace", make.grace.as_ref().map(Spanned::span)),
            ("log_limit", make.log_limit.as_ref().map(Spanned::span)),
            ("on_stop", make.on_stop.as_ref().map(Spanned::span)),
            ("in_place", in_place.map(Spanned::span)),
            ("auto_update_schema", make.auto_update_schema.as_ref().map(Spanned::span)),
            ("refresh_hive_metastore", make.refresh_hive_metastore.as_ref().map(Spanned::span)),
        ];
        for (key, span) in keys {
            let Some(span) = span else { continue };
            let problem = Problem::new("useless-key", format!("`{key}` of `{name}` does nothing: it has no `run`"));
            self.problem(
                problem.at(&span, "here").help("it is a source; say what makes it with `run`, or leave the key out"),
            );
        }
    }

    pub(super) fn add_recipe(&mut self, draft: Draft) {
        let Draft { name, span, task, in_place, outputs, lost: lost_outputs, mut make, .. } = draft;
        let id = RecipeId::from_index(self.pipeline.recipes.len());
        let raw_inputs = make.inputs.take().unwrap_or_default();
        let (inputs, lost_inputs) = self.inputs(&name, &raw_inputs, &outputs);
        self.claim(id, &name, &span, &outputs);
        let is_model = |node: &NodeId| self.pipeline.nodes[*node].kind == Kind::Model;
        let is_unmade = make.run.is_none() && !task && !outputs.iter().any(is_model);
        if is_unmade && self.pipeline.engines.is_empty() {
            self.nobody_makes(&name, &span);
        }
        let run_span = make.run.as_ref().map_or_else(|| span.clone(), Spanned::span);
        let (run, spans) = make.run.take().and_then(|run| self.command(&name, "run", run)).unzip();
        let (how, on_stop_spans) = self.how(&name, &mut make, in_place);
        let explicit = run.is_none() && make.rebuild.is_none() && self.makes_models(&outputs);
        let recipe = Recipe {
            task,
            run,
            how,
            files: self.files(make.files.take().unwrap_or_default()),
            rebuild: if explicit { Rebuild::Explicit } else { self.rebuild(make.rebuild.take()) },
            tags: make.tags.into_iter().map(Spanned::into_inner).collect(),
            description: make.description,
            inputs: inputs.iter().map(|(id, _)| *id).collect(),
            input_spans: inputs.into_iter().map(|(_, span)| span).collect(),
            outputs,
            span,
            run_span,
            name,
        };
        self.pipeline.recipes.push(recipe);
        let spans = spans.unwrap_or_default();
        let lost = command::Lost { inputs: lost_inputs, outputs: lost_outputs };
        let problems = command::check(&self.pipeline, id, self.text, &lost, [&spans, &on_stop_spans]);
        self.problems.extend(problems);
    }

    /// Only another engine could know how something is made from its inputs, and the file names none.
    fn nobody_makes(&mut self, name: &str, span: &Span) {
        let problem = Problem::new("missing-key", format!("`{name}` has no `run`: nothing makes it"));
        let help = "say what makes it: run = \"…\"; only an engine that has its recipe, such as a DSS server, needs none: [engine.NAME]";
        self.problem(problem.at(span, "made by nothing").help(help));
    }

    /// The inputs with their places, and the names that are told as mistakes of their own.
    fn inputs(
        &mut self,
        name: &str,
        raw: &[Spanned<String>],
        outputs: &[NodeId],
    ) -> (Vec<(NodeId, Span)>, Vec<String>) {
        let mut inputs: Vec<(NodeId, Span)> = Vec::with_capacity(raw.len());
        let mut lost = Vec::new();
        for input in raw {
            let Some(id) = self.resolve(input, "input") else {
                lost.push(input.get_ref().clone());
                continue;
            };
            let text = input.get_ref();
            if outputs.contains(&id) {
                let problem = Problem::new("self-input", format!("`{name}` reads `{text}`, which it makes itself"));
                self.problem(problem.at(&input.span(), "its own output").help("an input is made by something else"));
                lost.push(text.clone());
            } else if inputs.iter().any(|(other, _)| *other == id) {
                let problem = Problem::new("named-twice", format!("input `{text}` stands twice"));
                self.problem(problem.at(&input.span(), "again here").help("leave one out"));
            } else {
                inputs.push((id, input.span()));
            }
        }
        (inputs, lost)
    }

    /// Makes the recipe the maker of its outputs.
    fn claim(&mut self, id: RecipeId, name: &str, span: &Span, outputs: &[NodeId]) {
        for output in outputs {
            let node = &mut self.pipeline.nodes[*output];
            let Some(other) = node.maker else {
                node.maker = Some(id);
                continue;
            };
            let node = node.name.clone();
            let other = &self.pipeline.recipes[other];
            let problem =
                Problem::new("two-makers", format!("`{node}` is made twice: by `{}` and by `{name}`", other.name))
                    .at(&other.span.clone(), "made here")
                    .at(span, "and here");
            self.problem(problem.help("a node is made by one recipe"));
        }
    }

    /// The command, and the place of each of its templates.
    pub(super) fn command(&mut self, name: &str, key: &str, run: Spanned<Run>) -> Option<(Command, Vec<Span>)> {
        let span = run.span();
        let (command, spans) = match run.into_inner() {
            Run::Shell(text) if text.trim().is_empty() => return self.empty_run(name, key, &span),
            Run::Words(words) if words.first().is_none_or(|word| word.get_ref().is_empty()) => {
                return self.empty_run(name, key, &span);
            }
            Run::Shell(text) => (self.template(text, &span).map(Command::Shell), vec![span]),
            Run::Words(words) => {
                let spans: Vec<_> = words.iter().map(Spanned::span).collect();
                let first = words.first().map(|word| word.get_ref().as_str()).unwrap_or_default();
                if !first.contains("{{") {
                    let texts: Vec<&str> = words.iter().map(|word| word.get_ref().as_str()).collect();
                    self.one_program(&texts, &spans[0], ", or all of it as a text for the shell");
                }
                let words = words.into_iter().zip(&spans);
                let templates: Vec<_> = words.map(|(word, span)| self.template(word.into_inner(), span)).collect();
                (templates.into_iter().collect::<Option<_>>().map(Command::Words), spans)
            }
        };
        Some((command?, spans))
    }

    fn empty_run<T>(&mut self, name: &str, key: &str, span: &Span) -> Option<T> {
        self.problem(
            Problem::new("bad-value", format!("`{key}` of `{name}` is empty"))
                .at(span, "here")
                .help("say what it runs"),
        );
        None
    }

    /// The template as far as it is sound, so that its other mistakes are found too.
    fn template(&mut self, text: String, outer: &Span) -> Option<Template> {
        if text.contains('\0') {
            let problem = Problem::new("bad-value", "a command holds a NUL").at(outer, "here");
            self.problem(problem.help("no program can be given a NUL: leave it out"));
            return None;
        }
        let (template, errors) = template::parse(text);
        for (inner, message) in errors {
            let problem = Problem::new("bad-template", message).at(&locate(self.text, outer, &inner), "here");
            let like = template::like(&template.text[inner]).map(|like| format!("`{like}` is one; "));
            self.problem(problem.help(format!(
                "{}a template is a name between `{{{{` and `}}}}`; `{{{{ '{{{{' }}}}` writes the braces themselves",
                like.unwrap_or_default()
            )));
        }
        Some(template)
    }

    fn files(&mut self, files: Vec<Spanned<String>>) -> Vec<(String, Span)> {
        let mut sound = Vec::with_capacity(files.len());
        for file in files {
            let span = file.span();
            let problem = match paths::inside(file.get_ref()) {
                Ok(path) => match paths::glob(&path) {
                    Ok(_) => {
                        sound.push((path, span));
                        continue;
                    }
                    Err(error) => Problem::new("bad-glob", format!("`{path}` is not a glob: {}", error.kind())),
                },
                Err(error) => Problem::new("bad-path", error.message(file.get_ref())),
            };
            self.problem(
                problem.at(&span, "this path").help("`files` are paths or globs relative to the root, inside it"),
            );
        }
        sound
    }

    /// Whether only saved models are made, and nothing says when: DSS trains them only when it is asked to.
    fn makes_models(&self, outputs: &[NodeId]) -> bool {
        let models = outputs.iter().all(|node| self.pipeline.nodes[*node].kind == Kind::Model);
        !outputs.is_empty() && models && self.defaults.rebuild.is_none()
    }

    pub(super) fn rebuild(&mut self, own: Option<Spanned<String>>) -> Rebuild {
        let Some(rebuild) = own.or_else(|| self.defaults.rebuild.clone()) else {
            return Rebuild::Changed;
        };
        match rebuild.get_ref().as_str() {
            "changed" => Rebuild::Changed,
            "always" => Rebuild::Always,
            "explicit" => Rebuild::Explicit,
            "never" => Rebuild::Never,
            text => parse_duration(text).map(Rebuild::Age).unwrap_or_else(|error| {
                let problem = Problem::new("bad-duration", format!("`rebuild = \"{text}\"` is not an age: {error}"));
                let words = ["changed", "always", "explicit", "never"];
                let near = did_you_mean(&text.to_lowercase(), words);
                let help = near.unwrap_or_else(|| {
                    "write \"changed\", \"always\", \"explicit\", \"never\", or an age such as \"20h\"".to_owned()
                });
                self.problem(problem.at(&rebuild.span(), "here").help(help));
                Rebuild::Changed
            }),
        }
    }
}

fn first_key<T>(table: Option<&Table<T>>) -> Option<Span> {
    table.and_then(|table| table.keys().next()).map(Spanned::span)
}
