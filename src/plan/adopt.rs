//! Which outputs that are already there may count as built, and with which records. Pure; changes nothing.

use std::fmt;

use crate::base::id::RecipeId;
use crate::graph::Graph;
use crate::pipeline::types::Rebuild;
use crate::plan::Step;
use crate::plan::decide::{Basis, Verdict};
use crate::plan::facts::Content;
use crate::plan::key;
use crate::plan::put_back::PutBack;
use crate::plan::reason::{Action, Reason, ReasonCode};
use crate::plan::record::Record;
use crate::select::{Selection, Want};

/// What comes of the wanted steps, in run order.
#[derive(Clone, Debug, Default)]
pub struct Adoption {
    /// Those whose outputs count as built, with their records.
    pub taken: Vec<(Step, Record)>,
    /// Those that are up to date anyway.
    pub current: Vec<Step>,
    /// Those that could not be taken.
    pub left: Vec<(RecipeId, Refusal)>,
}

/// Why the outputs of a step do not count as built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This output is not there.
    NoOutput(String),
    /// This input is not there.
    NoInput(String),
    /// Nothing can be seen of this node.
    Unseen(String),
    /// Whether a task was done cannot be seen; it was not named.
    Task,
    /// It was built before and is out of date; it was not named.
    Stale(Vec<Reason>),
    /// It was built before, and is built each time, whatever is taken.
    Always,
    /// Why what is there is not to be taken, for people: something could not be looked at, an output could never be put where it is or
    /// have been built so, or a run has to put things in order first.
    Blocked(String),
    /// It was being written in place, or put there, when a run was killed: that has not been undone, or finished.
    Undone(PutBack),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOutput(node) => write!(f, "{node} is not there"),
            Self::NoInput(node) => write!(f, "its input {node} is not there"),
            Self::Unseen(node) => write!(f, "the content of {node} cannot be seen: it has neither a path nor a digest"),
            Self::Blocked(why) => f.write_str(why),
            Self::Undone(undone) => {
                write!(f, "{}: `kiln run` first {}", undone.before(&undone.output), undone.then())
            }
            Self::Always => f.write_str("there is nothing to take: it was built before, and is built each time"),
            Self::Task => f.write_str("a task leaves nothing to see: name it if it was done"),
            Self::Stale(reasons) => {
                let reasons: Vec<_> = reasons.iter().take(2).map(ToString::to_string).collect();
                write!(f, "it was built before; name it to take it all the same: {}", reasons.join("; "))
            }
        }
    }
}

/// What the surroundings say to what the facts say of a step.
pub type Check<'a> = &'a dyn Fn(RecipeId, Result<Record, Refusal>) -> Result<Record, Refusal>;

/// Decides about every wanted step. What the next run will undo is left to it: what is seen of it is not what is there. Only
/// what is named is taken although it was built before, or is a task. `check` may refuse what could be taken otherwise.
#[must_use]
pub fn adopt(
    basis: &Basis<'_>,
    graph: &Graph,
    selection: &Selection,
    put_back: &[PutBack],
    check: Check<'_>,
) -> Adoption {
    let mut adoption = Adoption::default();
    for id in graph.order.iter().copied().filter(|id| selection.want[*id] != Want::No) {
        let named = selection.want[id] == Want::Target && !selection.targets.is_empty();
        let step = |action, reasons| Step { id, stage: graph.stage[id], action, reasons, expected_ms: None };
        if let Some(why) = basis.facts.unseen.get(&id).and_then(|why| why.first()) {
            adoption.left.push((id, Refusal::Blocked(why.clone())));
            continue;
        }
        if let Some(undone) = undone(basis, id, put_back) {
            adoption.left.push((id, Refusal::Undone(undone.clone())));
            continue;
        }
        let reasons = match basis.decide(id, &|node| basis.seen(node)) {
            Verdict::Skip if named && is_unrecorded(basis, id) => vec![Reason::new(ReasonCode::NeverBuilt)],
            Verdict::Skip => {
                adoption.current.push(step(Action::Skip, Vec::new()));
                continue;
            }
            Verdict::Left(reasons) => reasons,
            Verdict::Lacks(node) => {
                let node = basis.pipeline.nodes[node].name.clone();
                adoption.left.push((id, Refusal::NoInput(node)));
                continue;
            }
            Verdict::Ask(_) => {
                let outputs = &basis.pipeline.recipes[id].outputs;
                let node = outputs.first().map(|node| basis.pipeline.nodes[*node].name.clone());
                adoption.left.push((id, Refusal::Unseen(node.unwrap_or_default())));
                continue;
            }
            // Nothing is replaced.
            Verdict::Build(mut reasons) | Verdict::Maybe(mut reasons) => {
                reasons.retain(|reason| reason.code != ReasonCode::OutputForeign);
                reasons
            }
        };
        match check(id, record(basis, id, named, &reasons)) {
            Ok(record) => adoption.taken.push((step(Action::Build, reasons), record)),
            Err(refusal) => adoption.left.push((id, refusal)),
        }
    }
    adoption
}

/// Whether it is not built although it never was: what is there counts, and can be taken.
fn is_unrecorded(basis: &Basis<'_>, id: RecipeId) -> bool {
    basis.history.last(&basis.pipeline.recipes[id].name).is_none()
}

fn undone<'a>(basis: &Basis<'_>, id: RecipeId, put_back: &'a [PutBack]) -> Option<&'a PutBack> {
    let makes = |name: &str| basis.pipeline.output_names(id).any(|output| output == name);
    put_back.iter().find(|put_back| makes(&put_back.output))
}

fn record(basis: &Basis<'_>, id: RecipeId, named: bool, reasons: &[Reason]) -> Result<Record, Refusal> {
    let recipe = &basis.pipeline.recipes[id];
    let mut outputs = Vec::new();
    for node in &recipe.outputs {
        let output = &basis.pipeline.nodes[*node];
        match basis.facts.nodes[*node] {
            Content::Missing => return Err(Refusal::NoOutput(output.name.clone())),
            Content::AsRecorded | Content::NotProbed => return Err(Refusal::Unseen(output.name.clone())),
            Content::Is(digest) => outputs.push(basis.output(*node, digest)),
        }
    }
    let built_before = basis.history.last(&recipe.name).is_some();
    if built_before && recipe.rebuild == Rebuild::Always {
        return Err(Refusal::Always);
    }
    if built_before && !named {
        return Err(Refusal::Stale(reasons.to_vec()));
    }
    if !named && outputs.is_empty() {
        return Err(Refusal::Task);
    }
    let known = |node| basis.seen(node).digest();
    if let Some(unknown) = recipe.inputs.iter().find(|node| known(**node).is_none()) {
        return Err(Refusal::Unseen(basis.pipeline.nodes[*unknown].name.clone()));
    }
    let own = &basis.facts.recipes[id];
    let (key, parts) = key::key_and_parts(basis.pipeline, id, own, &known);
    Ok(Record { key, parts, outputs })
}
