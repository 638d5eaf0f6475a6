//! From the mirror of the file to a checked pipeline, with every mistake of meaning at once. Looks at no disk; cycles
//! are found by the graph.

mod command;
mod how;
mod make;
mod overlap;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::id::{Id, NodeId, RecipeId};
use crate::base::span::{Problem, Problems, Span};
use crate::base::text::{as_name, did_you_mean, is_name, one_line};
use crate::pipeline::check::how::Shell;
use crate::pipeline::paths;
use crate::pipeline::raw::{
    RawDefaults, RawFile, RawNode, RawPipeline, RawRecipe, RawSettings, RawTask, Scalar, Table,
};
use crate::pipeline::raw_engine::RawEngine;
use crate::pipeline::rows::Rows;
use crate::pipeline::types::{How, Item, Kind, Names, Node, Pipeline, Settings};

/// After so many mistakes no near names are looked for.
const SUGGESTED: usize = 200;

/// What the surroundings say about a file.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// The paths of the file itself, relative to the root, where it lies below it: its own, and the one that a link leads to.
    pub own: &'a [String],
    /// Variables that replace those of `[vars]`.
    pub vars: &'a [(String, String)],
    /// A project key that replaces that of the file.
    pub project: Option<&'a str>,
}

/// Checks what was read. The pipeline holds what is sound; it may be used only where no problem is more than a warning.
#[must_use]
pub fn check(raw: RawFile, text: &str, options: &Options<'_>) -> (Pipeline, Problems) {
    let mut checker = Checker {
        text,
        own: options.own,
        defaults: raw.defaults,
        common_shell: Shell::default(),
        tasks: Names::default(),
        common_how: None,
        pipeline: Pipeline::default(),
        problems: Vec::new(),
    };
    checker.header(&raw.pipeline, options.project);
    checker.settings(raw.settings);
    checker.engines(raw.engine);
    checker.vars(raw.vars, options.vars);
    checker.defaults();
    let mut entries = Vec::new();
    for (kind, table) in [(Kind::Dataset, raw.dataset), (Kind::Folder, raw.folder), (Kind::Model, raw.model)] {
        collect(&mut entries, table, |raw| Entry::Node(kind, raw));
    }
    collect(&mut entries, raw.recipe, Entry::Recipe);
    collect(&mut entries, raw.task, Entry::Task);
    entries.sort_by_key(|named| named.span.start);
    checker.entries(entries, &raw.pipeline);
    let Checker { pipeline, mut problems, .. } = checker;
    problems.sort_by_key(|p| p.labels.first().map(|label| label.span.start));
    problems.dedup(); // a mistake of `[defaults]` is found with each recipe
    (pipeline, problems)
}

/// What stands under a name.
enum Entry {
    Node(Kind, Box<RawNode>),
    Recipe(Box<RawRecipe>),
    Task(Box<RawTask>),
}

struct Named {
    name: String,
    span: Span,
    entry: Entry,
}

fn collect<T>(entries: &mut Vec<Named>, table: Table<T>, entry: impl Fn(T) -> Entry) {
    entries.reserve(table.len());
    for (name, raw) in table {
        let span = name.span();
        entries.push(Named { name: name.into_inner(), span, entry: entry(raw) });
    }
}

struct Checker<'a> {
    text: &'a str,
    own: &'a [String],
    defaults: RawDefaults,
    /// The shell of recipes that say nothing of it, and whether it is Kiln's own choice.
    common_shell: Shell,
    /// How recipes are run that say nothing of it, once there is one.
    common_how: Option<Arc<How>>,
    pipeline: Pipeline,
    /// The names of tasks.
    tasks: Names<()>,
    problems: Problems,
}

impl Checker<'_> {
    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn header(&mut self, raw: &RawPipeline, project: Option<&str>) {
        if *raw.format.get_ref() != 1 {
            let message = format!("format {} is not known", raw.format.get_ref());
            let problem =
                Problem::new("unknown-format", message).at(&raw.format.span(), "this version of Kiln reads 1");
            self.problem(problem.help("write `format = 1`, or use a newer Kiln"));
        }
        let name = raw.name.get_ref();
        if raw.is_read() {
            self.name(name, &raw.name.span(), "");
        }
        let project = project.or(raw.project.as_deref()).map_or_else(|| name.to_uppercase(), str::to_owned);
        self.pipeline.name.clone_from(name);
        self.pipeline.project = project;
        self.pipeline.description.clone_from(&raw.description);
    }

    fn name(&mut self, name: &str, span: &Span, else_help: &str) -> bool {
        if is_name(name) {
            return true;
        }
        let problem =
            Problem::new("bad-name", format!("`{}` cannot be a name", one_line(name, 60))).at(span, "this name");
        let rule = "a name has 1 to 128 letters (a to z), digits and `_`, and does not begin with a digit";
        let like = as_name(name).map(|like| format!("`{like}` can; ")).unwrap_or_default();
        self.problem(problem.help(format!("{like}{rule}{else_help}")));
        false
    }

    fn settings(&mut self, raw: RawSettings) {
        let mut max_parallel = None;
        if let Some(jobs) = raw.max_parallel {
            if *jobs.get_ref() == 0 {
                let problem = Problem::new("bad-value", "`max_parallel` is 0").at(&jobs.span(), "nothing could run");
                self.problem(problem.help("leave it out for the number of cores"));
            }
            max_parallel = Some(*jobs.get_ref());
        }
        let engine = raw.engine.map(|engine| (engine.get_ref().clone(), engine.span()));
        self.pipeline.settings = Settings { engine, max_parallel, schedule: raw.schedule, mode: raw.mode };
    }

    fn engines(&mut self, raw: Table<RawEngine>) {
        for (name, engine) in raw {
            let span = name.span();
            if !self.name(name.get_ref(), &span, "") {
                continue;
            }
            if name.get_ref() == "local" {
                let problem = Problem::new("bad-name", "the engine `local` is this machine").at(&span, "this name");
                self.problem(problem.help("give the other one another name: [engine.prod]"));
            }
            self.pipeline.engines.insert(name.into_inner(), (engine, span));
        }
    }

    fn vars(&mut self, raw: Table<toml::Spanned<Scalar>>, given: &[(String, String)]) {
        let mut vars = BTreeMap::new();
        for (name, value) in raw {
            if self.name(name.get_ref(), &name.span(), "") {
                vars.insert(name.into_inner(), value.into_inner().0);
            }
        }
        for (name, value) in given {
            match vars.get_mut(name) {
                Some(slot) => slot.clone_from(value),
                None => {
                    let help = did_you_mean(name, vars.keys().map(String::as_str));
                    let mut problem =
                        Problem::new("unknown-var", format!("--var {name}: the file has no such variable"));
                    problem.help = help.or_else(|| Some(format!("declare it:\n[vars]\n{name} = \"…\"")));
                    self.problem(problem);
                }
            }
        }
        self.pipeline.vars = vars;
    }

    /// Mistakes in `[defaults]` are told once, whether a recipe takes them up or not.
    fn defaults(&mut self) {
        let names: Vec<_> = self.defaults.env.keys().map(|name| (name.get_ref().clone(), name.span())).collect();
        for (name, span) in names {
            self.variable(&name, &span);
        }
        self.take_common_shell();
        self.workdir(None);
        self.rebuild(None);
        self.timeout(None);
        self.grace(None);
        self.log_limit(None);
        self.pass(None);
    }

    fn entries(&mut self, entries: Vec<Named>, header: &RawPipeline) {
        if entries.is_empty() {
            let problem = Problem::new("empty-pipeline", "the pipeline is empty").at(&header.name.span(), "this one");
            self.problem(
                problem.help("declare a dataset:\n[dataset.orders]\npath = \"build/orders.csv\"\nrun = \"…\""),
            );
            return;
        }
        let entries = self.without_duplicates(entries);
        self.pipeline.nodes.reserve(entries.len());
        self.pipeline.names.reserve(entries.len());
        self.pipeline.recipes.reserve(entries.len());
        for named in &entries {
            if let Entry::Node(kind, raw) = &named.entry {
                self.node(named, *kind, raw);
            }
        }
        let mut recipes = Vec::with_capacity(entries.len());
        for named in entries {
            recipes.extend(self.recipe_of(named));
        }
        // One may be named, by mistake, before its turn has come.
        for (place, draft) in recipes.iter().enumerate().filter(|(_, draft)| draft.own_item) {
            self.pipeline.names.insert(draft.name.clone(), Item::Recipe(RecipeId::from_index(place)));
            if draft.task {
                self.tasks.insert(draft.name.clone(), ());
            }
        }
        for raw in recipes {
            self.add_recipe(raw);
        }
        self.overlaps();
    }

    /// Names are unique over all kinds; of two things of one name the first counts.
    fn without_duplicates(&mut self, entries: Vec<Named>) -> Vec<Named> {
        let mut first: Names<Span> = Names::with_capacity_and_hasher(entries.len(), rustc_hash::FxBuildHasher);
        let mut kept = Vec::with_capacity(entries.len());
        for named in entries {
            if let Some(span) = first.get(&named.name) {
                let problem =
                    Problem::new("duplicate-name", format!("the name `{}` stands for two things", named.name))
                        .at(span, "first here")
                        .at(&named.span, "and again here");
                self.problem(
                    problem.help("names are unique over all kinds: give one another name; `id` holds its name on DSS"),
                );
                continue;
            }
            first.insert(named.name.clone(), named.span.clone());
            // What it holds, and what refers to it, is looked at all the same.
            self.name(&named.name, &named.span, "; `id` holds a name on DSS that does not fit");
            kept.push(named);
        }
        kept
    }

    fn node(&mut self, named: &Named, kind: Kind, raw: &RawNode) {
        let path_span = raw.path.as_ref().map_or_else(|| named.span.clone(), toml::Spanned::span);
        let path = raw.path.as_ref().map(|path| match paths::one_inside(path.get_ref()) {
            Ok(path) => path,
            Err(error) => {
                let problem = Problem::new("bad-path", error.message(path.get_ref())).at(&path.span(), "this path");
                self.problem(problem.help(error.help()));
                // It has a path, so nothing that uses it is a mistake too. No sound path begins like this.
                format!("./{}", named.name)
            }
        });
        if let (Some(digest), Some(_)) = (&raw.digest, &raw.path) {
            let problem = Problem::new("useless-key", format!("`{}` has a path and a `digest` command", named.name))
                .at(&digest.span(), "the content of its path is digested anyway");
            self.problem(problem.help("leave `digest` out, or the path"));
        }
        let id = self.pipeline.nodes.push(Node {
            name: named.name.clone(),
            kind,
            id: raw.id.clone(),
            project: raw.project.clone(),
            path,
            digest: raw.digest.as_ref().map(|digest| digest.get_ref().clone()),
            maker: None,
            tags: raw.tags.iter().map(|tag| tag.get_ref().clone()).collect(),
            description: raw.description.clone(),
            span: named.span.clone(),
            path_span,
        });
        self.pipeline.names.insert(named.name.clone(), Item::Node(id));
    }

    /// The node whose path was named instead of its name.
    fn at_path(&self, text: &str) -> Option<String> {
        let path = paths::one_inside(text).ok()?;
        let node = self.pipeline.nodes.values().find(|node| node.path.as_ref() == Some(&path))?;
        Some(format!("name the {} that has this path: `{}`", node.kind.word(), node.name))
    }

    /// Whether a node has a name that cannot be one, and for which this was suggested.
    fn is_as_suggested(&self, text: &str) -> bool {
        let mut names = self.pipeline.nodes.values().map(|node| node.name.as_str());
        names.any(|name| !is_name(name) && as_name(name).as_deref() == Some(text))
    }

    /// The node of a name that something refers to.
    fn resolve(&mut self, name: &toml::Spanned<String>, role: &str) -> Option<NodeId> {
        let text = name.get_ref();
        match self.pipeline.names.get(text) {
            Some(Item::Node(id)) => return Some(*id),
            Some(Item::Recipe(_)) => {}
            // It has the name that was suggested for one that cannot be a name: that is told where it is declared.
            None if self.is_as_suggested(text) => return None,
            None => {
                let known = self.pipeline.nodes.values().map(|node| node.name.as_str());
                // In a long file with many mistakes it would take long to look for each.
                let near =
                    (self.problems.len() < SUGGESTED).then(|| self.at_path(text).or_else(|| did_you_mean(text, known)));
                let help = near.flatten().unwrap_or_else(|| declare(text));
                let problem = Problem::new("unknown-node", format!("unknown {role} `{text}`"));
                self.problem(problem.at(&name.span(), "no dataset, folder or model has this name").help(help));
                return None;
            }
        }
        let (kind, help) = if self.tasks.contains_key(text) {
            let help = format!("a task makes nothing: make `{text}` a [dataset] whose recipe writes {{{{ output }}}}");
            ("task", help)
        } else {
            ("recipe", "name what it makes".to_owned())
        };
        let problem = Problem::new("not-a-node", format!("{role} `{text}` is a {kind}"));
        self.problem(problem.at(&name.span(), "a dataset, a folder or a model is needed").help(help));
        None
    }
}

/// How what was named and is not there is declared: under its name, or, where that is none, under one that is like it.
fn declare(text: &str) -> String {
    if is_name(text) {
        return format!("declare it: [dataset.{}]", one_line(text, 60));
    }
    if let Some(way_out) = paths::no_glob(text) {
        return way_out;
    }
    match (paths::one_inside(text), as_name(text)) {
        (Ok(path), Some(name)) if text.len() <= 60 => {
            format!("declare it under a name:\n[dataset.{name}]\npath = {}", toml::Value::from(path))
        }
        (Ok(_) | Err(_), _) => "declare it under a name of letters, digits and `_`, with this path".to_owned(),
    }
}

/// What `check` fills.
type Nodes = Rows<NodeId, Node>;
