//! What requests and steps make and read, by names that are the same for all projects of a server: the path where there is
//! one, so that two pipelines with the same file between them do not get into each other's way.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::id::{NodeId, RecipeId};
use crate::select::Want;
use crate::server::desk::Touch;
use crate::session::{Planned, Session};

/// All that a request might touch.
pub(crate) fn wants(session: &Session) -> Touch {
    let mut all = Touch::default();
    for (id, _) in session.selection.want.iter().filter(|(_, want)| **want != Want::No) {
        add(&mut all, session, id);
    }
    all
}

/// What each step of a plan touches.
pub(crate) fn steps(session: &Session, planned: &Planned) -> BTreeMap<String, Touch> {
    let step = |id: RecipeId| {
        let mut touch = Touch::default();
        add(&mut touch, session, id);
        (session.pipeline().recipes[id].name.clone(), touch)
    };
    planned.plan.active().map(|active| step(active.id)).collect()
}

fn add(touch: &mut Touch, session: &Session, id: RecipeId) {
    let recipe = &session.pipeline().recipes[id];
    touch.makes.extend(recipe.outputs.iter().map(|node| key(session, *node)));
    touch.reads.extend(recipe.inputs.iter().map(|node| key(session, *node)));
    if recipe.outputs.is_empty() {
        touch.makes.insert(format!("{}.{}", session.pipeline().project, recipe.name).into());
    }
}

fn key(session: &Session, node: NodeId) -> Arc<str> {
    let node = &session.pipeline().nodes[node];
    match &node.path {
        Some(path) => session.loaded.root.join(path).to_string_lossy().into(),
        None => format!("{}.{}", node.project.as_ref().unwrap_or(&session.pipeline().project), node.name).into(),
    }
}
