//! What would be built, in which order and why. Pure: what is on disk and what was built before comes in as data.

pub mod adopt;
pub mod decide;
pub mod estimate;
pub mod facts;
pub mod json;
pub mod key;
pub mod put_back;
pub mod reason;
pub mod record;
pub mod why;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::rc::Rc;

use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::span::{Problem, Problems};
use crate::graph::Graph;
use crate::pipeline::paths::put_there;
use crate::pipeline::types::Pipeline;
use crate::plan::decide::{Basis, Input, Verdict};
use crate::plan::reason::{Action, Fate, Reason, ReasonCode};
use crate::select::{Selection, Want};

/// The wanted steps in run order, each with what happens to it and why.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

/// That a step lacks an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The step.
    pub step: RecipeId,
    /// The number of the input among those of the step.
    pub at: usize,
    /// The input.
    pub node: NodeId,
    /// Whether what makes it was left out.
    pub left_out: bool,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The step.
    pub id: RecipeId,
    /// Its stage in the whole graph, counted from 1.
    pub stage: u32,
    /// What happens to it.
    pub action: Action,
    /// Why; empty for what is up to date. For what is out of date and not built, why not.
    pub reasons: Vec<Reason>,
    /// How long it usually takes, in milliseconds.
    pub expected_ms: Option<u64>,
}

impl Step {
    /// What becomes of it.
    #[must_use]
    pub fn fate(&self) -> Fate {
        Fate::of(self.action, &self.reasons)
    }
}

/// How many steps of each kind a plan has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanCounts {
    /// Built for certain.
    pub build: usize,
    /// Perhaps built.
    pub maybe: usize,
    /// Decided by the engine.
    pub ask: usize,
    /// To be built, which is not possible.
    pub cannot: usize,
    /// Out of date, and not built.
    pub left: usize,
    /// Up to date.
    pub skip: usize,
}

/// `2 build, 1 maybe, 55 up to date`
impl fmt::Display for PlanCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { build, maybe, ask, cannot, left, skip } = *self;
        let parts = Fate::ALL.iter().zip([build, maybe, ask, cannot, left, skip]).filter(|(_, n)| *n > 0);
        let parts: Vec<_> = parts.map(|(fate, n)| format!("{n} {}", fate.word())).collect();
        f.write_str(&parts.join(", "))
    }
}

impl Plan {
    /// Decides about every wanted step. `durations` says how long steps usually take, in milliseconds. Says which steps lack an
    /// input that is not there and that nothing builds, too: those cannot be built, nor can what is made from them.
    pub fn make(
        basis: &Basis<'_>,
        graph: &Graph,
        selection: &Selection,
        durations: &HashMap<String, u64>,
    ) -> (Self, Vec<Lack>) {
        let mut pending: DenseMap<NodeId, bool> = DenseMap::filled(basis.pipeline.nodes.len(), false);
        let mut steps = Vec::new();
        let mut lacks = Vec::new();
        for id in graph.order.iter().copied().filter(|id| selection.want[*id] != Want::No) {
            // In a long pipeline mostly nothing is looked at but this.
            if basis.facts.settled[id] {
                let (stage, action) = (graph.stage[id], Action::Skip);
                steps.push(Step { id, stage, action, reasons: Vec::new(), expected_ms: None });
                continue;
            }
            let recipe = &basis.pipeline.recipes[id];
            let input = |node| {
                if pending[node] { Input::Pending } else { basis.seen(node) }
            };
            // What could not be seen of a step hides nothing that it lacks.
            let unseen = basis.facts.unseen.contains_key(&id);
            let mut lack = || {
                let inputs = recipe.inputs.iter().copied().enumerate();
                let missing = inputs.filter(|(_, node)| input(*node) == Input::Missing);
                let before = lacks.len();
                let left_out = |node| basis.pipeline.nodes[node].maker.is_some_and(|maker| selection.excluded[maker]);
                lacks.extend(missing.map(|(at, node)| Lack { step: id, at, node, left_out: left_out(node) }));
                lacks[before..].iter().map(|lack| lacking(basis.pipeline, lack.node)).collect::<Vec<_>>()
            };
            let (action, reasons) = match basis.decide(id, &input) {
                Verdict::Build(reasons) if unseen => (Action::Cannot, [reasons, lack()].concat()),
                Verdict::Build(reasons) => (Action::Build, reasons),
                Verdict::Maybe(reasons) => (Action::Maybe, reasons),
                Verdict::Ask(reasons) => (Action::Ask, reasons),
                Verdict::Skip => (Action::Skip, Vec::new()),
                Verdict::Left(reasons) => (Action::Skip, reasons),
                Verdict::Lacks(_) => (Action::Cannot, lack()),
            };
            let reasons = in_words(reasons, selection);
            if action != Action::Skip {
                for output in &recipe.outputs {
                    pending[*output] = true;
                }
            }
            let expected_ms = durations.get(&recipe.name).copied();
            steps.push(Step { id, stage: graph.stage[id], action, reasons, expected_ms });
        }
        let mut plan = Self { steps };
        if plan.steps.iter().any(|step| step.action == Action::Cannot) {
            plan.hinder(&HashMap::new(), basis.pipeline, graph);
        }
        (plan, lacks)
    }

    /// How many steps of each kind there are.
    #[must_use]
    pub fn counts(&self) -> PlanCounts {
        let mut counts = PlanCounts::default();
        for step in &self.steps {
            *match step.fate() {
                Fate::Build => &mut counts.build,
                Fate::Maybe => &mut counts.maybe,
                Fate::Ask => &mut counts.ask,
                Fate::Cannot => &mut counts.cannot,
                Fate::Left => &mut counts.left,
                Fate::Skip => &mut counts.skip,
            } += 1;
        }
        counts
    }

    /// Says first of steps that they cannot be built, and why; and the same of all that needs them.
    pub(crate) fn hinder(&mut self, why: &HashMap<RecipeId, Vec<String>>, pipeline: &Pipeline, graph: &Graph) {
        // What cannot be built above each step that is not, in the order of the graph.
        let mut causes: HashMap<RecipeId, RecipeId> = HashMap::new();
        for step in &mut self.steps {
            let why = why.get(&step.id).into_iter().flatten();
            let mut why: Vec<_> = why.map(|why| Reason::new(ReasonCode::CannotBegin).what(why)).collect();
            if !why.is_empty() {
                let told: HashSet<&Reason> = step.reasons.iter().collect();
                why.retain(|reason| !told.contains(reason));
                step.reasons.splice(..0, why);
                // What may be built may also not have to be.
                if step.action == Action::Build {
                    step.action = Action::Cannot;
                }
            }
            let above = graph.needs[step.id].iter().find_map(|need| causes.get(need)).copied();
            let is_told = step.reasons.iter().any(|reason| reason.code == ReasonCode::AboveFails);
            if let (Action::Cannot, false) = (step.action, is_told) {
                causes.insert(step.id, step.id);
            } else if let Some(cause) = above.filter(|_| step.action != Action::Skip) {
                if !is_told {
                    step.reasons.insert(0, Reason::new(ReasonCode::AboveFails).what(&pipeline.recipes[cause].name));
                }
                step.action = Action::Cannot;
                causes.insert(step.id, cause);
            }
        }
    }

    /// Names behind the inputs that a step lacks [what has to be named too](to_name): all of it can be asked for together.
    pub(crate) fn name_all(&mut self, pipeline: &Pipeline, named: &HashMap<NodeId, Vec<NodeId>>) {
        let lacks = |reason: &Reason| reason.code == ReasonCode::InputMissing;
        for step in self.steps.iter_mut().filter(|step| step.reasons.iter().any(lacks)) {
            let mut told: HashSet<Reason> = step.reasons.iter().cloned().collect();
            let mut with_named = |reason: Reason| {
                let name = reason.what.as_deref().filter(|_| lacks(&reason));
                let named = name.and_then(|name| named.get(&pipeline.node(name)?)).into_iter().flatten();
                let more = named.map(|node| lacking(pipeline, *node)).filter(|more| told.insert(more.clone()));
                let more: Vec<_> = more.collect();
                std::iter::once(reason).chain(more)
            };
            step.reasons = std::mem::take(&mut step.reasons).into_iter().flat_map(&mut with_named).collect();
        }
    }

    /// Takes steps in that are not built, in their order.
    pub fn take_in(&mut self, left: Vec<Step>, graph: &Graph) {
        if left.is_empty() {
            return;
        }
        let places: HashMap<RecipeId, usize> = graph.order.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        self.steps.extend(left);
        self.steps.sort_by_key(|step| places.get(&step.id).copied());
    }

    /// The steps that are out of date and not built.
    pub fn left(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.fate() == Fate::Left)
    }

    /// The nodes that would be built, may be, or cannot be.
    pub(crate) fn pending(&self, pipeline: &Pipeline) -> BTreeSet<NodeId> {
        self.active().flat_map(|step| pipeline.recipes[step.id].outputs.iter().copied()).collect()
    }

    /// The steps that would be built, may be, or cannot be: all but those that are skipped.
    pub fn active(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.action != Action::Skip)
    }
}

/// That a step cannot be built for want of an input. What something makes can be asked for.
fn lacking(pipeline: &Pipeline, node: NodeId) -> Reason {
    let node = &pipeline.nodes[node];
    match node.maker {
        Some(_) => Reason::new(ReasonCode::InputMissing).what(&node.name),
        None => Reason::new(ReasonCode::CannotBegin).what(format!("source `{}` is not there", node.name)),
    }
}

/// Reasons with what was asked for as it was asked for.
fn in_words(mut reasons: Vec<Reason>, selection: &Selection) -> Vec<Reason> {
    let asked = reasons.iter_mut().filter(|reason| reason.code == ReasonCode::Asked);
    if let Some(words) = selection.asked {
        asked.for_each(|reason| reason.what = Some(words.to_owned()));
    }
    reasons
}

/// The targets to give so that these missing nodes are built: themselves, and above them every missing output of an `explicit` step.
pub(crate) fn to_name(pipeline: &Pipeline, nodes: &[NodeId], is_there: &dyn Fn(NodeId) -> bool) -> Vec<NodeId> {
    let mut named = nodes.to_vec();
    let mut seen: HashSet<RecipeId> = nodes.iter().filter_map(|node| pipeline.nodes[*node].maker).collect();
    let mut queue: VecDeque<RecipeId> = seen.iter().copied().collect();
    while let Some(id) = queue.pop_front() {
        for node in &pipeline.recipes[id].inputs {
            let Some(maker) = pipeline.nodes[*node].maker else { continue };
            let explicit = pipeline.outline().is_explicit(maker);
            if (explicit && is_there(*node)) || !seen.insert(maker) {
                continue;
            }
            // All others are built unasked.
            named.extend(explicit.then_some(*node));
            queue.push_back(maker);
        }
    }
    named
}

/// The same for each of these nodes by itself, what is nearest first. What they have above them together is looked at once.
pub(crate) fn to_name_each(
    pipeline: &Pipeline,
    graph: &Graph,
    nodes: &[NodeId],
    is_there: &dyn Fn(NodeId) -> bool,
) -> HashMap<NodeId, Vec<NodeId>> {
    /// The nodes to name by the places of what makes them, the last first. Most steps have those of one above them.
    type Named = Rc<BTreeMap<Reverse<usize>, NodeId>>;
    let mut open: Vec<RecipeId> = nodes.iter().filter_map(|node| pipeline.nodes[*node].maker).collect();
    let mut wanted = DenseMap::filled(pipeline.recipes.len(), false);
    while let Some(id) = open.pop() {
        if !std::mem::replace(&mut wanted[id], true) {
            open.extend(&graph.needs[id]);
        }
    }
    let mut above: DenseMap<RecipeId, Option<(usize, Named)>> = DenseMap::filled(pipeline.recipes.len(), None);
    for (place, id) in graph.order.iter().copied().enumerate().filter(|(_, id)| wanted[*id]) {
        let mut named = Named::default();
        for node in &pipeline.recipes[id].inputs {
            let Some(maker) = pipeline.nodes[*node].maker else { continue };
            let Some((place, more)) = &above[maker] else { continue };
            let explicit = pipeline.outline().is_explicit(maker);
            if explicit && (named.contains_key(&Reverse(*place)) || is_there(*node)) {
                continue;
            }
            if named.is_empty() {
                named = Rc::clone(more);
            } else if !Rc::ptr_eq(&named, more) && !more.is_empty() {
                Rc::make_mut(&mut named).extend(more.iter().map(|(place, node)| (*place, *node)));
            }
            // All others are built unasked.
            if explicit {
                Rc::make_mut(&mut named).insert(Reverse(*place), *node);
            }
        }
        above[id] = Some((place, named));
    }
    let named = |node: &NodeId| {
        let above = pipeline.nodes[*node].maker.and_then(|maker| above[maker].as_ref());
        let above = above.into_iter().flat_map(|(_, named)| named.values().copied());
        (*node, std::iter::once(*node).chain(above).collect())
    };
    nodes.iter().map(named).collect()
}

/// A step that is not built since it was left out or not named, `why`, and is out of date, or may go out of date by what is [pending](Plan::pending) in
/// a plan or would have to be built first; none where it is neither.
pub(crate) fn left_out(
    basis: &Basis<'_>,
    graph: &Graph,
    pending: &BTreeSet<NodeId>,
    (id, why): (RecipeId, ReasonCode),
) -> Option<Step> {
    let built_before = |node| match basis.seen(node) {
        _ if pending.contains(&node) => Input::Pending,
        Input::Missing if basis.pipeline.nodes[node].maker.is_some() => Input::Pending,
        seen @ (Input::Is(_) | Input::Pending | Input::NotProbed | Input::Missing) => seen,
    };
    let now = basis.decide(id, &|node| basis.seen(node));
    let verdict = if matches!(now, Verdict::Build(_)) { now } else { basis.decide(id, &built_before) };
    let (Verdict::Build(mut reasons) | Verdict::Maybe(mut reasons)) = verdict else { return None };
    // What was not probed may be as it was.
    reasons.retain(|reason| !matches!(reason.code, ReasonCode::OutputForeign | ReasonCode::NotProbed));
    if reasons.is_empty() {
        return None;
    }
    reasons.insert(0, Reason::new(why));
    Some(Step { id, stage: graph.stage[id], action: Action::Skip, reasons, expected_ms: None })
}

/// The same for a step that could not be looked at, for this.
pub(crate) fn unseen(graph: &Graph, (id, why): (RecipeId, ReasonCode), wrong: &str) -> Step {
    let reasons = vec![Reason::new(why), Reason::new(ReasonCode::CannotBegin).what(wrong)];
    Step { id, stage: graph.stage[id], action: Action::Skip, reasons, expected_ms: None }
}

/// That wanted steps read what is not there. For what something makes it is known what [has to be named](to_name).
pub(crate) fn missing(pipeline: &Pipeline, lacks: &[Lack], named: &HashMap<NodeId, Vec<NodeId>>) -> Problems {
    lacks.iter().map(|lack| problem(pipeline, *lack, named.get(&lack.node))).collect()
}

fn problem(pipeline: &Pipeline, lack: Lack, named: Option<&Vec<NodeId>>) -> Problem {
    let (recipe, node) = (&pipeline.recipes[lack.step], &pipeline.nodes[lack.node]);
    let is_source = node.maker.is_none() && node.path.is_some();
    let (code, kind) = if is_source { ("missing-source", "source ") } else { ("missing-input", "") };
    let mut problem = Problem::new(code, format!("{kind}`{}` is not there, and `{}` needs it", node.name, recipe.name));
    if let Some(path) = &node.path {
        problem = problem.at(&node.path_span, format!("there is nothing at {path}"));
    }
    if let Some(span) = recipe.input_spans.get(lack.at) {
        problem = problem.at(span, "needed here");
    }
    problem.obstacle().help(match named {
        None => put_there(node.path.as_deref().unwrap_or_default()),
        Some(named) => {
            let names: Vec<_> = named.iter().map(|node| pipeline.nodes[*node].name.as_str()).collect();
            let or = if lack.left_out {
                format!(", or leave out what needs it too: --exclude {}+", node.name)
            } else {
                String::new()
            };
            format!("build it first: kiln run {}{or}", names.join(" "))
        }
    })
}

#[cfg(test)]
mod tests;
