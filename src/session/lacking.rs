//! What keeps steps from being built, where all else is to go on: such a step cannot be built, and its work is to fail.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use globset::GlobMatcher;
use tokio::sync::watch;

use crate::base::file::FileDigest;
use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::job::BuildMode;
use crate::base::span::{Problem, Problems};
use crate::base::text::few;
use crate::engine::api::{Attempt, Attempted, Ended, Observed, Stop, Updates, Work};
use crate::event::{Failure, FailureCode};
use crate::files::{LOOKED_FOR, alike};
use crate::pipeline::paths::{glob, is_glob};
use crate::plan::decide::{Basis, Input};
use crate::plan::facts::Facts;
use crate::plan::record::History;
use crate::plan::{Lack, Plan, missing, to_name, to_name_each};
use crate::session::{Lacks, Planned, Session};

/// What keeps steps from being built, each for people and with a way out.
pub(crate) type Hindered = HashMap<RecipeId, Vec<String>>;

/// Decides nothing by what could not be seen.
pub(super) fn note_unseen(facts: &mut Facts, wrong: &[(RecipeId, Problem)]) {
    for (id, problem) in wrong {
        facts.unseen.entry(*id).or_default().push(problem.placed());
    }
}

impl Session {
    /// What steps lack with what has to be named for it, and the digests of what was read to find that out.
    pub(super) fn lacks(&self, inputs: Vec<Lack>, history: &dyn History) -> (Lacks, Vec<FileDigest>) {
        let pipeline = self.pipeline();
        let makers = |node: &NodeId| pipeline.nodes[*node].maker;
        let made: BTreeSet<_> = inputs.iter().map(|lack| lack.node).filter(|node| makers(node).is_some()).collect();
        let made: Vec<_> = made.into_iter().collect();
        let mut looked = DenseMap::filled(pipeline.recipes.len(), false);
        // Mostly there is none: then no way up has to be gone for each of them.
        let more = to_name(pipeline, &made, &|_| false).split_off(made.len());
        more.iter().filter_map(makers).for_each(|maker| looked[maker] = true);
        if !looked.values().any(|looked| *looked) {
            return (Lacks { inputs, named: made.into_iter().map(|node| (node, vec![node])).collect() }, Vec::new());
        }
        // What is in the way of looking is told by who builds it.
        let Observed { facts, seen, .. } = self.engine.observe(&looked, false);
        let basis = Basis { pipeline, facts: &facts, history, mode: BuildMode::Smart };
        let is_there = |node| basis.seen(node) != Input::Missing;
        let named = to_name_each(pipeline, &self.loaded.graph, &made, &is_there);
        (Lacks { inputs, named }, seen)
    }

    /// Drops a problem of a *reader* of an output if the step that makes it reports the same one: once that is built the reader can
    /// look at it, and where it cannot be built the reader is skipped.
    pub(super) fn own(&self, mut wrong: Vec<(RecipeId, Problem)>) -> Vec<(RecipeId, Problem)> {
        let pipeline = self.pipeline();
        let told: HashSet<(RecipeId, String)> = wrong.iter().map(|(id, what)| (*id, what.message.clone())).collect();
        wrong.retain(|(id, problem)| {
            let place = problem.labels.first().map(|label| &label.span);
            let is_it = |node: &NodeId| place == Some(&pipeline.nodes[*node].path_span);
            let makers = pipeline.recipes[*id].inputs.iter().filter(|node| is_it(node));
            let mut makers = makers.filter_map(|node| pipeline.nodes[*node].maker);
            !makers.any(|maker| told.contains(&(maker, problem.message.clone())))
        });
        wrong
    }

    /// What keeps steps of a plan from being built; the plan says so too then.
    pub(super) fn hindered(&self, plan: &mut Plan, lacks: &Lacks, wrong: Vec<(RecipeId, Problem)>) -> Hindered {
        let (mut hindered, mut told) = (Hindered::new(), HashSet::new());
        let mut add = |id: RecipeId, problem: &Problem| {
            let line = problem.in_line();
            if told.insert((id, line.clone())) {
                hindered.entry(id).or_default().push(line);
            }
        };
        wrong.iter().for_each(|(id, problem)| add(*id, problem));
        let missing = self.missing(lacks);
        lacks.inputs.iter().zip(&missing).for_each(|(lack, problem)| add(lack.step, problem));
        let mut why: HashMap<RecipeId, Vec<String>> = HashMap::new();
        // One look at all that steps share; only where something is in the way, one at each of them, for whose way it is.
        let ids: Vec<_> = plan.active().map(|step| step.id).collect();
        let any = self.engine.obstacles(&ids).iter().any(|problem| !problem.warning);
        for id in ids.into_iter().filter(|_| any) {
            for problem in self.engine.obstacles(&[id]).iter().filter(|problem| !problem.warning) {
                add(id, problem);
                why.entry(id).or_default().push(problem.placed());
            }
        }
        plan.name_all(self.pipeline(), &lacks.named);
        plan.hinder(&why, self.pipeline(), &self.loaded.graph);
        hindered
    }
}

impl Session {
    /// That wanted steps read what is not there. What lies beside the place of a source, and is called nearly so, may be what is meant.
    pub(super) fn missing(&self, lacks: &Lacks) -> Problems {
        let pipeline = self.pipeline();
        let mut found = missing(pipeline, &lacks.inputs, &lacks.named);
        for (lack, problem) in lacks.inputs.iter().zip(&mut found).take(LOOKED_FOR) {
            let path = pipeline.nodes[lack.node].path.as_deref().filter(|_| problem.code == "missing-source");
            if let (Some(near), Some(help)) = (path.and_then(|path| alike(&self.loaded.root, path)), &mut problem.help)
            {
                *help = format!("did you mean `{near}`? Else {help}");
            }
        }
        found
    }

    /// The globs of `files` that match nothing, each with the steps of a plan that would be built without what it was to name.
    pub(crate) fn unmatched(&self, planned: &Planned) -> Vec<String> {
        let Planned { plan, facts, .. } = planned;
        let mut globs: HashMap<&str, Option<GlobMatcher>> = HashMap::new();
        let mut empty: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let steps = plan.active().filter(|step| !facts.asks && !facts.unseen.contains_key(&step.id));
        for (id, recipe) in steps.map(|step| (step.id, &self.pipeline().recipes[step.id])) {
            for (pattern, _) in recipe.files.iter().filter(|(pattern, _)| is_glob(pattern)) {
                let glob = globs.entry(pattern).or_insert_with(|| glob(pattern).ok());
                let matches = |path: &str| glob.as_ref().is_none_or(|glob| glob.is_match(path));
                if !facts.recipes[id].files.iter().any(|(path, _)| matches(path)) {
                    empty.entry(pattern).or_default().push(&recipe.name);
                }
            }
        }
        let told = |(pattern, steps): (&str, Vec<&str>)| {
            format!("nothing matches `{pattern}` of `files`, for {}", few(&steps, NAMES))
        };
        empty.into_iter().map(told).collect()
    }
}

/// So many steps are named.
const NAMES: usize = 4;

/// The work.
pub(super) struct Lacking {
    /// What it wants, each with a way out.
    why: Vec<String>,
}

impl Lacking {
    /// That of a step that is kept from being built by this.
    pub(super) fn of(why: &[String]) -> Arc<dyn Work> {
        Arc::new(Self { why: why.to_vec() })
    }
}

impl Work for Lacking {
    /// It runs nothing.
    fn describe(&self) -> String {
        String::new()
    }

    fn run(&self, _attempt: Attempt, _updates: Updates, _stop: watch::Receiver<Stop>) -> BoxFuture<'static, Attempted> {
        let ended = Ended::Failed(Failure::new(FailureCode::Start, self.why.join("; and ")));
        std::future::ready(ended.into()).boxed()
    }
}
