//! Which steps are wanted: targets such as `orders`, `+orders`, `orders+`, `tag:daily`. Does not know what is out of date.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::job::BuildMode;
use crate::base::text::{did_you_mean, nearest};
use crate::graph::Graph;
use crate::pipeline::types::{Item, Pipeline};

/// The steps that a request asks for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The targets as they were given.
    pub targets: Vec<String>,
    /// What is built.
    pub mode: BuildMode,
    /// What that was asked for with, where it was not by its own name.
    pub asked: Option<&'static str>,
    /// How each step is wanted.
    pub want: DenseMap<RecipeId, Want>,
    /// Steps that the engine cannot build, where all were asked for.
    pub not_for_engine: Vec<RecipeId>,
    /// Steps that would be wanted too, were they not built only when they are named.
    pub by_name: Vec<RecipeId>,
}

/// How a step is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Not at all.
    No,
    /// Because a target is made from it.
    Upstream,
    /// As a target.
    Target,
}

/// Why nothing can be selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A target that cannot be meant: its text, what is wrong, a way out.
    #[error("{message}")]
    Target {
        /// What is wrong.
        message: String,
        /// A way out.
        help: String,
    },
    /// No step is wanted.
    #[error("nothing was selected: {0}")]
    Nothing(String),
}

/// Finds the steps that the targets ask for. `can_build` says whether the engine can build a step at all.
///
/// # Errors
/// The first target that cannot be meant, or that nothing was selected.
pub fn select(
    pipeline: &Pipeline,
    graph: &Graph,
    targets: &[String],
    mode: BuildMode,
    can_build: &dyn Fn(RecipeId) -> bool,
) -> Result<Selection, SelectError> {
    let buildable = buildable(graph, can_build);
    let steps = pipeline.recipes.len();
    let (want, passed) = (DenseMap::filled(steps, Want::No), DenseMap::filled(steps, false));
    let mut selector = Selector { pipeline, graph, buildable: &buildable, want, passed, readers: OnceCell::new() };
    let mut not_for_engine = Vec::new();
    if targets.is_empty() {
        not_for_engine = selector.all();
    }
    for target in targets {
        // One that was mistyped is told, whatever others there are.
        if !selector.target(target)? {
            return Err(SelectError::Nothing(no_match(pipeline, target)));
        }
    }
    if !selector.want.values().any(|want| *want == Want::Target) {
        return Err(SelectError::Nothing(nothing(&not_for_engine).to_owned()));
    }
    if mode != BuildMode::Only {
        selector.close_upwards();
    }
    let by_name = selector.by_name(targets.is_empty(), mode);
    Ok(Selection { targets: targets.to_vec(), mode, asked: None, want: selector.want, not_for_engine, by_name })
}

fn no_match(pipeline: &Pipeline, target: &str) -> String {
    let near = target.trim_matches('+').strip_prefix("tag:").and_then(|tag| like(pipeline, tag));
    let hint = near.map(|near| format!("; did you mean `tag:{near}`?")).unwrap_or_default();
    format!("no step matches {target}{hint}")
}

/// Why nothing was selected where all was asked for.
fn nothing(not_for_engine: &[RecipeId]) -> &'static str {
    if not_for_engine.is_empty() {
        "the pipeline has no recipe that is not `rebuild = \"explicit\"`"
    } else {
        "the engine can build none of the recipes: they have no `run`"
    }
}

/// The tag of the file that is most like one that it has not, if one is near.
fn like<'a>(pipeline: &'a Pipeline, tag: &str) -> Option<&'a str> {
    let recipes = pipeline.recipes.values().flat_map(|recipe| &recipe.tags);
    let tags = || recipes.clone().chain(pipeline.nodes.values().flat_map(|node| &node.tags)).map(String::as_str);
    if tags().any(|known| known == tag) { None } else { nearest(tag, tags()) }
}

/// The steps that the engine can build, and all that they are made from too.
fn buildable(graph: &Graph, can_build: &dyn Fn(RecipeId) -> bool) -> DenseMap<RecipeId, bool> {
    let mut buildable = DenseMap::filled(graph.order.len(), false);
    for id in &graph.order {
        buildable[*id] = can_build(*id) && graph.needs[*id].iter().all(|need| buildable[*need]);
    }
    buildable
}

struct Selector<'a> {
    pipeline: &'a Pipeline,
    graph: &'a Graph,
    buildable: &'a DenseMap<RecipeId, bool>,
    want: DenseMap<RecipeId, Want>,
    /// What a target would take in too, were it not built only when it is named.
    passed: DenseMap<RecipeId, bool>,
    /// Which steps read each node, once that was asked.
    readers: OnceCell<HashMap<NodeId, Vec<RecipeId>>>,
}

impl Selector<'_> {
    /// Wants all that can be built unasked, and gives what cannot be built.
    fn all(&mut self) -> Vec<RecipeId> {
        let mut not_for_engine = Vec::new();
        for id in &self.graph.order {
            if !self.buildable[*id] {
                not_for_engine.push(*id);
            } else if !self.pipeline.outline().is_explicit(*id) {
                self.want[*id] = Want::Target;
            }
        }
        not_for_engine
    }

    /// What is left out only because nobody has named it, where it counts whether it is up to date: of all steps, or of those
    /// that wanted ones read or that a target would take in.
    fn by_name(&self, all: bool, mode: BuildMode) -> Vec<RecipeId> {
        let looked = matches!(mode, BuildMode::Smart | BuildMode::Forced);
        let left = |id: &RecipeId| self.want[*id] == Want::No && self.pipeline.outline().is_explicit(*id);
        let read = |id: &RecipeId| self.graph.feeds[*id].iter().any(|reader| self.want[*reader] != Want::No);
        let order = self.graph.order.iter().copied().filter(|_| looked);
        order.filter(|id| left(id) && self.buildable[*id] && (all || self.passed[*id] || read(id))).collect()
    }

    /// Wants what a target stands for; says whether that is anything.
    fn target(&mut self, text: &str) -> Result<bool, SelectError> {
        let (up, rest) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
        let (down, name) = rest.strip_suffix('+').map_or((false, rest), |name| (true, name));
        let (named, readers) = self.named(name, text)?;
        if named.is_empty() && !down && !name.starts_with("tag:") {
            let message = format!("target `{text}`: nothing makes `{name}`, it is a source");
            let help = format!("`{name}+` builds all that is made from it");
            return Err(SelectError::Target { message, help });
        }
        for id in &named {
            self.can(*id, text)?;
            self.want[*id] = Want::Target;
        }
        let mut found = !named.is_empty();
        if up {
            self.walk(named.clone(), false, |graph, id| &graph.needs[id]);
        }
        if down {
            for id in &readers {
                found |= self.take(*id);
            }
            let from = named.into_iter().chain(readers).collect();
            found |= self.walk(from, true, |graph, id| &graph.feeds[id]);
        }
        Ok(found)
    }

    /// The steps that a name stands for, and for a source the steps that read it.
    fn named(&self, name: &str, text: &str) -> Result<(Vec<RecipeId>, Vec<RecipeId>), SelectError> {
        if let Some(tag) = name.strip_prefix("tag:") {
            return Ok((self.tagged(tag), Vec::new()));
        }
        match self.pipeline.names.get(name) {
            Some(Item::Recipe(id)) => Ok((vec![*id], Vec::new())),
            Some(Item::Node(node)) => match self.pipeline.nodes[*node].maker {
                Some(id) => Ok((vec![id], Vec::new())),
                None => Ok((Vec::new(), self.readers(*node).to_vec())),
            },
            None => {
                let help = did_you_mean(name, self.pipeline.names.keys().map(String::as_str));
                let help = match help {
                    Some(help) => help,
                    None if name.trim().is_empty() => "targets are NAME, +NAME, NAME+ and tag:TAG".to_owned(),
                    None => "`kiln list` shows what there is".to_owned(),
                };
                Err(SelectError::Target { message: format!("unknown target `{text}`"), help })
            }
        }
    }

    /// The steps that read a node.
    fn readers(&self, node: NodeId) -> &[RecipeId] {
        let all = self.readers.get_or_init(|| {
            let mut readers: HashMap<NodeId, Vec<RecipeId>> = HashMap::new();
            let outline = self.pipeline.outline();
            let reads = outline.recipes().flat_map(|id| outline.inputs(id).map(move |node| (node, id)));
            reads.for_each(|(node, id)| readers.entry(node).or_default().push(id));
            readers
        });
        all.get(&node).map_or(&[], Vec::as_slice)
    }

    fn tagged(&self, tag: &str) -> Vec<RecipeId> {
        let node_has = |id: &RecipeId| {
            let outputs = &self.pipeline.recipes[*id].outputs;
            outputs.iter().any(|node| self.pipeline.nodes[*node].tags.iter().any(|t| t == tag))
        };
        let has = |id: &RecipeId| self.pipeline.recipes[*id].tags.iter().any(|t| t == tag) || node_has(id);
        self.graph.order.iter().copied().filter(|id| has(id) && self.buildable[*id]).collect()
    }

    fn can(&self, id: RecipeId, text: &str) -> Result<(), SelectError> {
        if self.buildable[id] {
            return Ok(());
        }
        let name = &self.pipeline.recipes[id].name;
        let why = if self.pipeline.recipes[id].run.is_none() {
            format!("`{name}` has no `run`")
        } else {
            format!("what `{name}` is made from has no `run`")
        };
        let message = format!("target `{text}`: this engine cannot build it: {why}");
        Err(SelectError::Target { message, help: "choose another engine, or say what it runs".to_owned() })
    }

    /// Wants a step that was reached from a target, unless it is built only when named.
    fn take(&mut self, id: RecipeId) -> bool {
        let explicit = self.pipeline.outline().is_explicit(id);
        let wanted = self.buildable[id] && !explicit;
        if wanted {
            self.want[id] = Want::Target;
        }
        self.passed[id] |= explicit;
        wanted
    }

    /// Takes all that `next` leads to from these; says whether there is any. What is built only when named stays out, and all
    /// behind it too, unless the way goes `through`.
    fn walk(&mut self, from: Vec<RecipeId>, through: bool, next: impl Fn(&Graph, RecipeId) -> &[RecipeId]) -> bool {
        let mut seen = DenseMap::filled(self.want.len(), false);
        let (mut queue, mut found) = (from, false);
        while let Some(id) = queue.pop() {
            for other in next(self.graph, id) {
                if std::mem::replace(&mut seen[*other], true) {
                    continue;
                }
                let taken = self.take(*other);
                found |= taken;
                if taken || through {
                    queue.push(*other);
                }
            }
        }
        found
    }

    /// Wants what the targets are made from. What is built only when named stays out, with all above it.
    fn close_upwards(&mut self) {
        for id in self.graph.order.iter().rev() {
            if self.want[*id] == Want::No {
                continue;
            }
            for need in &self.graph.needs[*id] {
                if self.want[*need] == Want::No && !self.pipeline.outline().is_explicit(*need) {
                    self.want[*need] = Want::Upstream;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
