//! What a request passes over: steps that are left out, or built only when they are named. Does not know how that is told.

use crate::base::id::{DenseMap, RecipeId};
use crate::base::job::BuildMode;
use crate::engine::api::Observed;
use crate::plan::decide::Basis;
use crate::plan::facts::Facts;
use crate::plan::reason::ReasonCode;
use crate::plan::{Plan, Step, left_out};
use crate::select::Selection;
use crate::session::fail::Fail;
use crate::session::{Planned, Session};

impl Session {
    /// The steps that were left out, or are built only when they are named and were not, and are out of date. Runs nothing; what
    /// is in the way of looking is in nobody's way who does not build them.
    pub(crate) fn passed_over(&self, planned: &mut Planned) -> Vec<Step> {
        let ids = &self.selection.passed;
        if ids.is_empty() || planned.facts.asks {
            return Vec::new();
        }
        let mut looked = DenseMap::filled(self.pipeline().recipes.len(), false);
        ids.iter().for_each(|id| looked[*id] = true);
        let Observed { facts, seen, wrong } = self.engine.observe(&looked, false);
        if !wrong.is_empty() {
            return Vec::new();
        }
        planned.seen.extend(seen);
        let history = planned.known.history.as_ref();
        let basis = Basis { pipeline: self.pipeline(), facts: &facts, history, mode: BuildMode::Smart };
        let pending = planned.plan.pending(self.pipeline());
        let why = |id: RecipeId| {
            if self.selection.excluded[id] { ReasonCode::Excluded } else { ReasonCode::RebuildExplicit }
        };
        ids.iter().filter_map(|id| left_out(&basis, &self.loaded.graph, &pending, (*id, why(*id)))).collect()
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
