//! Which steps are wanted: targets such as `orders`, `+orders`, `orders+`, `tag:daily`, `stg_*`, and what is left out of them.
//! Does not know what is out of date.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::job::BuildMode;
use crate::base::text::{did_you_mean, nearest};
use crate::graph::Graph;
use crate::pipeline::paths::{glob, is_glob};
use crate::pipeline::types::{Item, Pipeline};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The targets; none for all.
    pub targets: &'a [String],
    /// What is left out of that, in the same words. What reads it takes it as it is.
    pub exclude: &'a [String],
    /// What is built.
    pub mode: BuildMode,
}

/// The steps that a request asks for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The targets as they were given.
    pub targets: Vec<String>,
    /// What was left out of them, as it was given.
    pub exclude: Vec<String>,
    /// What is built.
    pub mode: BuildMode,
    /// What that was asked for with, where it was not by its own name.
    pub asked: Option<&'static str>,
    /// How each step is wanted.
    pub want: DenseMap<RecipeId, Want>,
    /// Steps that the engine cannot build, where all were asked for.
    pub not_for_engine: Vec<RecipeId>,
    /// Steps that would be wanted too, were they not left out, or built only when they are named.
    pub passed: Vec<RecipeId>,
    /// The steps that those are made from and that are not wanted either, so that it tells nothing of them that nothing is to be done.
    pub above: Vec<RecipeId>,
    /// Whether each step is left out.
    pub excluded: DenseMap<RecipeId, bool>,
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
    choice: Choice<'_>,
    can_build: &dyn Fn(RecipeId) -> bool,
) -> Result<Selection, SelectError> {
    let Choice { targets, exclude, mode } = choice;
    let buildable = buildable(graph, can_build);
    let mut selector = Selector::new(pipeline, graph, &buildable);
    for text in exclude {
        if !selector.exclude(text)? {
            return Err(SelectError::Nothing(no_match(pipeline, text, true)));
        }
    }
    let not_for_engine = if targets.is_empty() { selector.all() } else { Vec::new() };
    for target in targets {
        // One that was mistyped is told, whatever others there are.
        if !selector.target(target)? {
            return Err(SelectError::Nothing(no_match(pipeline, target, false)));
        }
    }
    if !selector.want.values().any(|want| *want == Want::Target) {
        return Err(SelectError::Nothing(nothing(&not_for_engine, choice).to_owned()));
    }
    if mode != BuildMode::Only {
        selector.close_upwards();
    }
    let passed = selector.passed(targets.is_empty(), mode);
    let above = selector.above(&passed);
    let Selector { want, excluded, .. } = selector;
    let (targets, exclude) = (targets.to_vec(), exclude.to_vec());
    Ok(Selection { targets, exclude, mode, asked: None, want, not_for_engine, passed, above, excluded })
}

/// That a target stands for nothing, or what is to be `excluded`.
pub(crate) fn no_match(pipeline: &Pipeline, target: &str, excluded: bool) -> String {
    let near = target.trim_matches('+').strip_prefix("tag:").and_then(|tag| like(pipeline, tag));
    let near = near.map(|near| format!("; did you mean `tag:{near}`?"));
    let hint = near.or_else(|| foreign(target).map(|way_out| format!("; {way_out}"))).unwrap_or_default();
    let which = if excluded { ", which --exclude names" } else { "" };
    format!("no step matches {target}{which}{hint}")
}

/// What targets can be.
const FORMS: &str = "targets are NAME, +NAME, NAME+, tag:TAG and patterns such as 'stg_*'";

/// What is said of a target as other tools have them.
fn foreign(target: &str) -> Option<&'static str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (head, tail) = (target.split('+').next().unwrap_or_default(), target.rsplit('+').next().unwrap_or_default());
    if target.contains(',') {
        Some("targets stand apart, and all of them are taken: what is both cannot be asked for")
    } else if target.starts_with('@') {
        Some("there is no `@`: NAME+ is all below it, and what that is made from is built with it")
    } else if target.contains('+') && (digits(head) || digits(tail)) {
        Some("how far is not said: +NAME is all above it, NAME+ all below it")
    } else if target.trim().is_empty() || target.contains(':') && !target.contains("tag:") {
        Some(FORMS)
    } else {
        None
    }
}

/// Why nothing was selected.
fn nothing(not_for_engine: &[RecipeId], choice: Choice<'_>) -> &'static str {
    if !choice.exclude.is_empty() {
        "--exclude leaves nothing over"
    } else if !choice.targets.is_empty() {
        "what is like these targets is `rebuild = \"explicit\"`, built only by its own name"
    } else if not_for_engine.is_empty() {
        "the pipeline has no recipe that is not `rebuild = \"explicit\"`"
    } else {
        "the engine can build none of the recipes: they have no `run`"
    }
}

fn is_source(spec: &Spec<'_>, does: &str) -> SelectError {
    let Spec { text, name, .. } = spec;
    let message = format!("target `{text}`: nothing makes `{name}`, it is a source");
    SelectError::Target { message, help: format!("`{name}+` {does} all that is made from it") }
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

pub(crate) struct Selector<'a> {
    pipeline: &'a Pipeline,
    graph: &'a Graph,
    buildable: &'a DenseMap<RecipeId, bool>,
    want: DenseMap<RecipeId, Want>,
    /// What is left out.
    excluded: DenseMap<RecipeId, bool>,
    /// What a target would take in too, were it not left out, or built only when it is named.
    passed: DenseMap<RecipeId, bool>,
    /// Which steps read each node, once that was asked.
    readers: OnceCell<HashMap<NodeId, Vec<RecipeId>>>,
}

/// A target in its parts: `+name+`.
#[derive(Clone, Copy)]
pub(crate) struct Spec<'t> {
    /// All of it.
    pub(crate) text: &'t str,
    /// With all above.
    pub(crate) up: bool,
    pub(crate) name: &'t str,
    /// With all below.
    pub(crate) down: bool,
}

impl<'t> Spec<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        let (up, rest) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
        let (down, name) = rest.strip_suffix('+').map_or((false, rest), |name| (true, name));
        Self { text, up, name, down }
    }

    /// Whether it stands for all that is like it, be that nothing.
    fn is_open(&self) -> bool {
        self.name.starts_with("tag:") || is_glob(self.name)
    }
}

impl<'a> Selector<'a> {
    pub(crate) fn new(pipeline: &'a Pipeline, graph: &'a Graph, buildable: &'a DenseMap<RecipeId, bool>) -> Self {
        let no = || DenseMap::filled(pipeline.recipes.len(), false);
        let want = DenseMap::filled(pipeline.recipes.len(), Want::No);
        Self { pipeline, graph, buildable, want, excluded: no(), passed: no(), readers: OnceCell::new() }
    }

    /// Whether a step is wanted only where it is named, or not at all.
    fn is_passed(&self, id: RecipeId) -> bool {
        self.excluded[id] || self.pipeline.outline().is_explicit(id)
    }

    /// Leaves out what a text stands for; says whether that is anything.
    fn exclude(&mut self, text: &str) -> Result<bool, SelectError> {
        let spec = Spec::of(text);
        let (named, readers) = self.named(&spec)?;
        if named.is_empty() && !spec.down && !spec.is_open() {
            return Err(is_source(&spec, "leaves out"));
        }
        let found = !named.is_empty() || spec.down && !readers.is_empty();
        self.around(&spec, named, readers).into_iter().for_each(|id| self.excluded[id] = true);
        Ok(found)
    }

    /// What a target that stands for these steps and for sources with these readers reaches, whatever of it can be built.
    pub(crate) fn around(&self, spec: &Spec<'_>, named: Vec<RecipeId>, readers: Vec<RecipeId>) -> Vec<RecipeId> {
        let mut found = named.clone();
        if spec.up {
            found.extend(self.reached(named.clone(), |graph, id| &graph.needs[id]));
        }
        if spec.down {
            found.extend(self.reached([named, readers].concat(), |graph, id| &graph.feeds[id]));
        }
        found
    }

    /// All that `next` leads to from these, and they themselves.
    fn reached(&self, mut queue: Vec<RecipeId>, next: fn(&Graph, RecipeId) -> &[RecipeId]) -> Vec<RecipeId> {
        let mut seen = DenseMap::filled(self.want.len(), false);
        let mut reached = Vec::new();
        while let Some(id) = queue.pop() {
            if !std::mem::replace(&mut seen[id], true) {
                reached.push(id);
                queue.extend(next(self.graph, id));
            }
        }
        reached
    }

    /// Wants all that can be built unasked, and gives what cannot be built.
    fn all(&mut self) -> Vec<RecipeId> {
        let mut not_for_engine = Vec::new();
        for id in &self.graph.order {
            if self.excluded[*id] {
                continue;
            }
            if !self.buildable[*id] {
                not_for_engine.push(*id);
            } else if !self.is_passed(*id) {
                self.want[*id] = Want::Target;
            }
        }
        not_for_engine
    }

    /// What is left out, be it only because nobody has named it, where it counts whether it is up to date: of all steps, or of
    /// those that wanted ones read or that a target would take in.
    fn passed(&self, all: bool, mode: BuildMode) -> Vec<RecipeId> {
        let looked = matches!(mode, BuildMode::Smart | BuildMode::Forced);
        let left = |id: &RecipeId| self.want[*id] == Want::No && self.is_passed(*id);
        let read = |id: &RecipeId| self.graph.feeds[*id].iter().any(|reader| self.want[*reader] != Want::No);
        let order = self.graph.order.iter().copied().filter(|_| looked);
        order.filter(|id| left(id) && self.buildable[*id] && (all || self.passed[*id] || read(id))).collect()
    }

    /// All above these that is not wanted, and none of them.
    fn above(&self, passed: &[RecipeId]) -> Vec<RecipeId> {
        let mut is_passed = DenseMap::filled(self.want.len(), false);
        passed.iter().for_each(|id| is_passed[*id] = true);
        let mut found = self.reached(passed.to_vec(), |graph, id| &graph.needs[id]);
        found.retain(|id| self.want[*id] == Want::No && self.buildable[*id] && !is_passed[*id]);
        found
    }

    /// Wants what a target stands for; says whether that is anything.
    fn target(&mut self, text: &str) -> Result<bool, SelectError> {
        let spec = Spec::of(text);
        let (named, readers) = self.named(&spec)?;
        if named.is_empty() && !spec.down && !spec.is_open() {
            return Err(is_source(&spec, "builds"));
        }
        for id in &named {
            // What a pattern happens to match has not been named.
            if self.excluded[*id] || is_glob(spec.name) {
                self.take(*id);
            } else {
                self.can(*id, text)?;
                self.want[*id] = Want::Target;
            }
        }
        let mut found = !named.is_empty();
        if spec.up {
            self.walk(named.clone(), false, |graph, id| &graph.needs[id]);
        }
        if spec.down {
            for id in &readers {
                found |= self.take(*id);
            }
            let from = named.into_iter().chain(readers).collect();
            found |= self.walk(from, true, |graph, id| &graph.feeds[id]);
        }
        Ok(found)
    }

    /// The steps that a name stands for, and for sources the steps that read them.
    pub(crate) fn named(&self, spec: &Spec<'_>) -> Result<(Vec<RecipeId>, Vec<RecipeId>), SelectError> {
        if let Some(tag) = spec.name.strip_prefix("tag:") {
            return Ok((self.tagged(tag), Vec::new()));
        }
        if is_glob(spec.name) {
            return self.like(spec);
        }
        match self.pipeline.names.get(spec.name) {
            Some(item) => Ok(self.stands_for(*item)),
            None => {
                let help = did_you_mean(spec.name, self.pipeline.names.keys().map(String::as_str));
                let help = foreign(spec.text).map(str::to_owned).or(help);
                let help = help.unwrap_or_else(|| "`kiln list` shows what there is".to_owned());
                Err(SelectError::Target { message: format!("unknown target `{}`", spec.text), help })
            }
        }
    }

    /// What makes a node or is a recipe; for a source the steps that read it.
    fn stands_for(&self, item: Item) -> (Vec<RecipeId>, Vec<RecipeId>) {
        match item {
            Item::Recipe(id) => (vec![id], Vec::new()),
            Item::Node(node) => match self.pipeline.nodes[node].maker {
                Some(id) => (vec![id], Vec::new()),
                None => (Vec::new(), self.readers(node).to_vec()),
            },
        }
    }

    /// What the names stand for that are like a pattern, as far as the engine can build it.
    fn like(&self, spec: &Spec<'_>) -> Result<(Vec<RecipeId>, Vec<RecipeId>), SelectError> {
        let pattern = glob(spec.name).map_err(|error| SelectError::Target {
            message: format!("target `{}` is no pattern: {}", spec.text, error.kind()),
            help: "`*` stands for any letters, `?` for one, `[a-c]` for one of these, `{a,b}` for either".to_owned(),
        })?;
        let mut found = (DenseMap::filled(self.want.len(), false), DenseMap::filled(self.want.len(), false));
        for (_, item) in self.pipeline.names.iter().filter(|(name, _)| pattern.is_match(name)) {
            let (named, readers) = self.stands_for(*item);
            named.into_iter().for_each(|id| found.0[id] = true);
            readers.into_iter().for_each(|id| found.1[id] = true);
        }
        let order = |of: &DenseMap<RecipeId, bool>| {
            self.graph.order.iter().copied().filter(|id| of[*id] && self.buildable[*id]).collect()
        };
        Ok((order(&found.0), order(&found.1)))
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

    /// Wants a step that was reached from a target, unless it is left out, or built only when named.
    fn take(&mut self, id: RecipeId) -> bool {
        let passed = self.is_passed(id);
        let wanted = self.buildable[id] && !passed;
        if wanted {
            self.want[id] = Want::Target;
        }
        self.passed[id] |= passed;
        wanted
    }

    /// Takes all that `next` leads to from these; says whether there is any. What is left out, or built only when named, stays
    /// out, and all behind it too, unless the way goes `through`.
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

    /// Wants what the targets are made from. What is left out, or built only when named, stays out, with all above it.
    fn close_upwards(&mut self) {
        for id in self.graph.order.iter().rev() {
            if self.want[*id] == Want::No {
                continue;
            }
            for need in &self.graph.needs[*id] {
                if self.want[*need] == Want::No && !self.is_passed(*need) {
                    self.want[*need] = Want::Upstream;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
