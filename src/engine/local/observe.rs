//! Looks at what steps are made from: sources, outputs, files of code, tools, variables. Changes nothing.

use std::cell::{LazyCell, OnceCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use crate::base::digest::Digest;
use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::mask::Secrets;
use crate::base::span::{Problem, Problems};
use crate::clock;
use crate::engine::api::Environment;
use crate::engine::local::Local;
use crate::engine::local::behind::{self, Read};
use crate::engine::local::check::{no_bash, no_file};
use crate::engine::local::digest::LinkMode;
use crate::engine::local::environ;
use crate::engine::local::files;
use crate::engine::local::places;
use crate::engine::local::probe::{LONGEST_DIGEST, LONGEST_TOOL, Probes};
use crate::engine::local::ways::behind_links;
use crate::pipeline::paths::is_glob;
use crate::pipeline::types::{Node, Recipe};
use crate::plan::facts::{Content, Facts, OwnFacts};

/// Looks at all that the wanted steps are made from. Tells what is needed for that and is not there, each with a step.
pub(crate) fn observe(
    local: &Local,
    wanted: &DenseMap<RecipeId, bool>,
    probes: bool,
) -> (Facts, Vec<(RecipeId, Problem)>) {
    let pipeline = &local.pipeline;
    let mut facts = Facts::unseen(clock::now(), pipeline.nodes.len(), pipeline.recipes.len());
    facts.reals = reals(local, wanted);
    let digests = digests(local, wanted);
    let built = || built_paths(local);
    let mut observer = Observer {
        local,
        facts,
        digests,
        has_bash: OnceCell::new(),
        probes: probes.then(|| Probes::new(local)),
        looked: DenseMap::filled(pipeline.nodes.len(), false),
        unseen: HashMap::new(),
        secrets: local.secrets(),
        built: LazyCell::new(&built),
        blocked: HashMap::new(),
        aside: local.staging.to_stand().unwrap_or_default(), // a run that cannot read it tells so when it tidies up
        problems: Vec::new(),
    };
    let mut wrong = Vec::new();
    for (id, _) in wanted.iter().filter(|(_, wanted)| **wanted) {
        observer.recipe(id, &pipeline.recipes[id]);
        wrong.extend(std::mem::take(&mut observer.problems).into_iter().map(|problem| (id, problem)));
    }
    (observer.facts, wrong)
}

/// The paths of what recipes make, also with links followed.
pub(super) fn built_paths(local: &Local) -> BTreeSet<&str> {
    let built = local.pipeline.nodes.values().filter(|node| node.maker.is_some());
    built.filter_map(|node| node.path.as_deref()).chain(local.digester.built.made()).collect()
}

/// Where the outputs of the wanted recipes lie that are behind links.
fn reals(local: &Local, wanted: &DenseMap<RecipeId, bool>) -> HashMap<NodeId, String> {
    let pipeline = &local.pipeline;
    let wanted = wanted.iter().filter(|(_, wanted)| **wanted);
    let outputs = wanted.flat_map(|(id, _)| &pipeline.recipes[id].outputs);
    let paths: Vec<_> = outputs.filter_map(|id| Some((*id, pipeline.nodes[*id].path.as_deref()?))).collect();
    behind_links(&local.root, &paths)
}

/// The digests of all paths of nodes that the wanted recipes read or make, looked up together.
fn digests(local: &Local, wanted: &DenseMap<RecipeId, bool>) -> DenseMap<NodeId, Option<Looked>> {
    let pipeline = &local.pipeline;
    let mut digests = DenseMap::filled(pipeline.nodes.len(), None);
    let mut asked = DenseMap::filled(pipeline.nodes.len(), false);
    for (id, _) in wanted.iter().filter(|(_, wanted)| **wanted) {
        let recipe = &pipeline.recipes[id];
        recipe.inputs.iter().chain(&recipe.outputs).for_each(|node| asked[*node] = true);
    }
    let asked = asked.iter().filter(|(_, asked)| **asked);
    let path = |id| {
        let node = &pipeline.nodes[id];
        Some((id, (node.path.as_deref()?, links_of(node))))
    };
    let (ids, paths): (Vec<_>, Vec<_>) = asked.filter_map(|(id, _)| path(id)).unzip();
    for (id, looked) in ids.into_iter().zip(local.digester.paths(&paths)) {
        digests[id] = Some(looked.map_err(|error| unread(local, &pipeline.nodes[id], &error)));
    }
    digests
}

/// What of links in a node counts.
pub(super) fn links_of(node: &Node) -> LinkMode {
    if node.maker.is_some() { LinkMode::Said } else { LinkMode::Followed }
}

/// What lies at a path, or that this cannot be told.
type Looked = Result<Option<Digest>, Box<Problem>>;

/// That what lies at the path of a node cannot be told.
fn unread(local: &Local, node: &Node, error: &std::io::Error) -> Box<Problem> {
    Box::new(behind::unreadable(&local.pipeline, Read::Node(node), error).at(&node.path_span, "this path"))
}

struct Observer<'a> {
    local: &'a Local,
    facts: Facts,
    digests: DenseMap<NodeId, Option<Looked>>,
    has_bash: OnceCell<bool>,
    probes: Option<Probes<'a>>,
    looked: DenseMap<NodeId, bool>,
    /// What is wrong with nodes that could not be looked at.
    unseen: HashMap<NodeId, Problem>,
    secrets: Option<Arc<Secrets>>,
    /// What globs leave out; most files have no glob.
    built: LazyCell<BTreeSet<&'a str>, &'a dyn Fn() -> BTreeSet<&'a str>>,
    /// For each folder that an output would lie in, the file that lies in its place.
    blocked: HashMap<&'a str, Option<&'a str>>,
    /// What recipes that write in place have set aside, in a run that goes on or died: the last good content counts.
    aside: BTreeMap<String, Option<String>>,
    problems: Problems,
}

/// What may hold a secret.
trait Masked {
    fn masked(self, secrets: &Arc<Secrets>) -> Self;
}

impl Masked for String {
    fn masked(self, secrets: &Arc<Secrets>) -> Self {
        secrets.mask(&self)
    }
}

impl Masked for Option<String> {
    fn masked(self, secrets: &Arc<Secrets>) -> Self {
        self.map(|text| text.masked(secrets))
    }
}

impl<'a> Observer<'a> {
    fn recipe(&mut self, id: RecipeId, recipe: &Recipe) {
        // What is not set keeps nothing else from being told.
        let (own, wrong) = environ::known_env(recipe, &self.local.environment);
        self.problems.extend(wrong);
        self.problems.extend(no_bash(self.local, recipe, &self.has_bash));
        let local = self.local;
        // Only probes need it.
        let env = LazyCell::new({
            let own = own.clone();
            move || {
                let mut env = environ::base(&own, &local.environment);
                environ::pass(&mut env, recipe, &local.environment);
                env
            }
        });
        let files = self.files(recipe);
        let tools = self.tools(recipe, &env);
        self.facts.recipes.set(id, OwnFacts { files, tools: self.mask_all(tools), env: self.mask_all(own) });
        for node in recipe.inputs.iter().chain(&recipe.outputs) {
            if !std::mem::replace(&mut self.looked[*node], true) {
                let before = self.problems.len();
                self.facts.nodes[*node] = self.node(*node);
                self.unseen.extend(self.problems[before..].iter().map(|problem| (*node, problem.clone())));
            } else if let Some(problem) = self.unseen.get(node) {
                // What one cannot see no other can.
                self.problems.push(problem.clone());
            }
        }
    }

    /// Facts are kept and shown. A secret that got among them is not: then it is no part of the key either.
    fn mask_all<T: Masked>(&self, named: Vec<(String, T)>) -> Vec<(String, T)> {
        match &self.secrets {
            Some(secrets) => named.into_iter().map(|(name, value)| (name, value.masked(secrets))).collect(),
            None => named,
        }
    }

    fn files(&mut self, recipe: &Recipe) -> Vec<(String, Digest)> {
        let mut found = Vec::new();
        for (pattern, span) in &recipe.files {
            let met = &self.local.digester.met;
            let paths = files::resolve_and_meet(&self.local.root, pattern, &self.built, met);
            let digests = paths.and_then(|paths| {
                let digest = |path: String| match self.local.digester.look(&path, LinkMode::Followed) {
                    Err(error) if is_glob(pattern) && behind::is_left_out(recipe, &error) => None,
                    looked => Some(looked.map(|digest| (path, digest))),
                };
                paths.into_iter().filter_map(digest).collect::<std::io::Result<Vec<_>>>()
            });
            let problem = match digests {
                Err(error) => behind::unreadable(&self.local.pipeline, Read::Files(recipe, pattern), &error),
                Ok(digests) => {
                    let missing = digests.iter().any(|(_, digest)| digest.is_none());
                    found.extend(digests.into_iter().filter_map(|(path, digest)| Some((path, digest?))));
                    if !missing {
                        continue;
                    }
                    Problem::new("missing-file", format!("`{pattern}` of `files` is not there"))
                        .help(no_file(self.local, pattern))
                }
            };
            self.problems.push(problem.for_step(span, &recipe.name));
        }
        found.sort();
        found.dedup();
        found
    }

    fn tools(&mut self, recipe: &Recipe, env: &dyn Deref<Target = Environment>) -> Vec<(String, Option<String>)> {
        let mut tools = Vec::with_capacity(recipe.how.tools.len());
        for (name, tool) in &recipe.how.tools {
            let printed = match &mut self.probes {
                None => None,
                Some(probes) => match probes.ask(recipe, (&format!("tool `{name}`"), &tool.command), env, LONGEST_TOOL)
                {
                    Ok(printed) => Some(printed),
                    Err(error) => {
                        let problem =
                            Problem::new("tool-failed", format!("tool `{name}` of `{}` failed: {error}", recipe.name));
                        self.problems.push(
                            problem
                                .at(&tool.span, format!("asked with: {}", tool.command))
                                .help("install it, or correct the command in `tools`"),
                        );
                        None
                    }
                },
            };
            tools.push((name.clone(), printed));
        }
        tools
    }

    fn node(&mut self, id: NodeId) -> Content {
        let local = self.local;
        let node = &local.pipeline.nodes[id];
        match (&node.path, &node.digest) {
            (Some(path), _) => self.path(id, node, path),
            (None, Some(command)) => self.probe(id, node, command),
            (None, None) if node.maker.is_some() => Content::AsRecorded,
            (None, None) => Content::Is(Digest::of(b"")), // a source that cannot be seen: `check` has warned
        }
    }

    /// The file that lies where a path needs a folder. Each folder is looked at once.
    fn file_above(&mut self, path: &'a str) -> Option<&'a str> {
        let (folder, _) = path.rsplit_once('/')?;
        if let Some(known) = self.blocked.get(folder) {
            return *known;
        }
        let found = match self.local.root.join(folder).metadata() {
            Ok(metadata) => (!metadata.is_dir()).then_some(folder),
            Err(_) => self.file_above(folder).or_else(|| {
                // A link that leads nowhere.
                let there = self.local.root.join(folder).symlink_metadata().is_ok();
                there.then_some(folder)
            }),
        };
        self.blocked.insert(folder, found);
        found
    }

    fn path(&mut self, id: NodeId, node: &'a Node, path: &'a str) -> Content {
        let local = self.local;
        let looked = match self.aside.get(path) {
            None => self.digests[id].take().unwrap_or(Ok(None)),
            Some(None) => Ok(None),
            Some(Some(kept)) => local.digester.path(kept).map_err(|error| unread(local, node, &error)),
        };
        let problem = match looked {
            Ok(Some(digest)) => {
                if node.maker.is_some() && local.digester.met.holds(path) {
                    self.facts.roots.insert(id);
                }
                return Content::Is(digest);
            }
            Ok(None) => match node.maker.and_then(|_| self.file_above(path)) {
                None => return Content::Missing,
                // It is half-written, and taken away first.
                Some(above) if self.aside.get(above) == Some(&None) => return Content::Missing,
                Some(above) => places::file_above(node, above),
            },
            Err(problem) => *problem,
        };
        self.problems.push(problem);
        Content::NotProbed
    }

    /// Asks as the recipe would that makes the node, or the first one that reads it.
    fn probe(&mut self, id: NodeId, node: &Node, command: &str) -> Content {
        let Some(probes) = &mut self.probes else { return Content::NotProbed };
        let local = self.local;
        let recipes = &local.pipeline.recipes;
        let reader = || recipes.values().find(|recipe| recipe.inputs.contains(&id));
        let Some(asker) = node.maker.map(|maker| &recipes[maker]).or_else(reader) else { return Content::Missing };
        let env = match environ::looking(asker, &self.local.environment) {
            Ok(env) => env,
            Err(problem) => {
                self.problems.push(problem);
                return Content::NotProbed;
            }
        };
        let about = format!("`digest` of `{}`", node.name);
        match probes.ask(asker, (&about, command), &env, LONGEST_DIGEST) {
            Ok(printed) => Content::Is(Digest::of(printed.as_bytes())),
            // What a recipe makes may not be there yet; but what is never built over what is there may have been made by others.
            Err(error) if !node.maker.is_none_or(|maker| recipes[maker].rebuild.never(local.mode)) => {
                let error = self.secrets.as_ref().map_or_else(|| error.clone(), |secrets| secrets.mask(&error));
                self.facts.unasked.insert(id, error);
                Content::Missing
            }
            Err(error) => {
                let problem = Problem::new("digest-failed", format!("`digest` of `{}` failed: {error}", node.name));
                let help = match node.maker.map(|maker| &recipes[maker].name) {
                    None => "it has to print what stands for the content".to_owned(),
                    Some(step) => format!(
                        "whether `{}` is missing cannot be told: `kiln run --mode only {step}` builds it whatever is there",
                        node.name
                    ),
                };
                self.problems.push(problem.at(&node.span, format!("asked with: {command}")).help(help));
                Content::NotProbed
            }
        }
    }
}
