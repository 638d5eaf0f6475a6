//! Why one step would be built or not: its inputs and the parts of its key, now and at its last good build. Pure; does
//! not know how it is shown, nor which runs there were.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::base::digest::Digest;
use crate::base::id::{NodeId, RecipeId};
use crate::plan::Plan;
use crate::plan::decide::{Basis, Input};
use crate::plan::key;

/// What a step is made from.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    /// Its inputs, in the order of the file.
    pub inputs: Vec<InputNow>,
    /// The key that it would be built with; none as long as not all of it is known.
    pub key: Option<Digest>,
    /// The parts of the key by name, those of now and those of the last good build.
    pub parts: Vec<PartNow>,
}

/// An input as it is now and as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputNow {
    /// The node.
    pub node: String,
    /// Its path, relative to the root.
    pub path: Option<String>,
    /// What is known of it.
    pub state: PartState,
    /// Its digest at the last good build.
    pub old: Option<String>,
    /// Its digest now.
    pub new: Option<String>,
}

/// A part of a key as it is now and as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartNow {
    /// Its name, such as `env:STAGE`.
    pub name: String,
    /// How the two compare.
    pub state: PartState,
    /// Its value at the last good build.
    pub old: Option<String>,
    /// Its value now.
    pub new: Option<String>,
}

/// How a value compares with that of the last good build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// It is the same.
    Same,
    /// It is another one.
    Changed,
    /// There was none.
    New,
    /// There is none any more.
    Gone,
    /// It is not known before something else is built, or probed.
    Open,
    /// It is an input that is not there.
    Missing,
}

/// Says what a step of a plan is made from.
#[must_use]
pub fn why(basis: &Basis<'_>, plan: &Plan, id: RecipeId) -> Why {
    let recipe = &basis.pipeline.recipes[id];
    let old = basis.history.parts(&recipe.name);
    let pending = plan.pending(basis.pipeline);
    let now = |node: NodeId| if pending.contains(&node) { Input::Pending } else { basis.seen(node) };
    let known = |node| now(node).digest();
    let new = key::parts(basis.pipeline, id, &basis.facts.recipes[id], &known);
    let open = basis.open_parts(id, &known);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).chain(&open).collect();
    let parts = names.into_iter().map(|name| {
        let (old, new) = (old.get(name).cloned(), new.get(name).cloned());
        let state = if open.contains(name) { PartState::Open } else { state(old.as_deref(), new.as_deref()) };
        PartNow { name: name.clone(), state, old, new }
    });
    let parts: Vec<PartNow> = parts.collect();
    let inputs = recipe.inputs.iter().map(|node| {
        let name = &basis.pipeline.nodes[*node].name;
        let part = format!("{}{name}", key::INPUT);
        let part = parts.binary_search_by(|other| other.name.cmp(&part)).ok().map(|at| &parts[at]);
        InputNow {
            node: name.clone(),
            path: basis.pipeline.nodes[*node].path.clone(),
            state: match (now(*node), part) {
                (Input::Missing, _) => PartState::Missing,
                (_, part) => part.map_or(PartState::Open, |part| part.state),
            },
            old: part.and_then(|part| part.old.clone()),
            new: part.and_then(|part| part.new.clone()),
        }
    });
    let key = open.is_empty().then(|| key::key(basis.pipeline, id, &basis.facts.recipes[id], &known));
    Why { inputs: inputs.collect(), key, parts }
}

fn state(old: Option<&str>, new: Option<&str>) -> PartState {
    match (old, new) {
        (Some(old), Some(new)) if old == new => PartState::Same,
        (Some(_), Some(_)) => PartState::Changed,
        (None, _) => PartState::New,
        (Some(_), None) => PartState::Gone,
    }
}
