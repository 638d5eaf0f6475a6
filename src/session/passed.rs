//! What a request passes over: steps that are left out, or built only when they are named. Does not know how that is told.

use std::collections::HashMap;

use crate::base::id::{DenseMap, RecipeId};
use crate::base::job::BuildMode;
use crate::base::span::Problem;
use crate::engine::api::Observed;
use crate::plan::decide::Basis;
use crate::plan::facts::Facts;
use crate::plan::reason::ReasonCode;
use crate::plan::{Plan, Step, left_out, unseen};
use crate::select::Selection;
use crate::session::fail::Fail;
use crate::session::{Planned, Session};

impl Session {
    /// The steps that were left out, or are built only when they are named and were not, and are out of date. Runs nothing; what
    /// is in the way of looking is in nobody's way who does not build them: of those that it is in the way of, that is told.
    pub(crate) fn passed_over(&self, planned: &mut Planned) -> Vec<Step> {
        let ids = &self.selection.passed;
        if ids.is_empty() || planned.facts.asks {
            return Vec::new();
        }
        let mut looked = DenseMap::filled(self.pipeline().recipes.len(), false);
        self.selection.above.iter().for_each(|id| looked[*id] = true);
        let above = looked.clone();
        ids.iter().for_each(|id| looked[*id] = true);
        let Observed { facts, seen, wrong } = self.engine.observe(&looked, false);
        let wrong: HashMap<RecipeId, Problem> = wrong.into_iter().collect();
        planned.seen.extend(seen);
        let history = planned.known.history.as_ref();
        let basis = Basis { pipeline: self.pipeline(), facts: &facts, history, mode: BuildMode::Smart };
        let mut pending = planned.plan.pending(self.pipeline());
        let why = |id: RecipeId| {
            if self.selection.excluded[id] { ReasonCode::Excluded } else { ReasonCode::RebuildExplicit }
        };
        let left = |pending: &_, id| match wrong.get(&id) {
            Some(problem) => Some(unseen(&self.loaded.graph, (id, why(id)), &problem.message)),
            None => left_out(&basis, &self.loaded.graph, pending, (id, why(id))),
        };
        // What is made from what would have to be built first is not up to date, though nothing is built.
        for id in self.loaded.graph.order.iter().filter(|id| above[**id]) {
            if left(&pending, *id).is_some() {
                pending.extend(&self.pipeline().recipes[*id].outputs);
            }
        }
        ids.iter().filter_map(|id| left(&pending, *id)).collect()
    }

    /// Refuses to leave out what an engine builds all the same that decides by itself what it has to build for a step.
    pub(super) fn can_leave_out(&self, plan: &Plan, facts: &Facts) -> Result<(), Fail> {
        let Selection { mode, excluded, .. } = &self.selection;
        if !facts.asks || *mode == BuildMode::Only {
            return Ok(());
        }
        let left_out = |step: &Step| self.loaded.graph.needs[step.id].iter().copied().find(|need| excluded[*need]);
        let Some((step, need)) = plan.steps.iter().find_map(|step| Some((step.id, left_out(step)?))) else {
            return Ok(());
        };
        let name = |id: RecipeId| &self.pipeline().recipes[id].name;
        let message = format!("`{}` cannot be left out: `{}` is made from it", name(need), name(step));
        let help = "the engine decides what it builds for a target; with `--mode only` it builds targets alone";
        Err(Fail::Usage(message, Some(help.to_owned())))
    }
}
