//! What proves later that nothing has changed on this machine: the states of files, and a few variables. Looks at nothing.

use std::collections::BTreeMap;

use crate::base::file::FileStat;
use crate::base::id::{DenseMap, RecipeId};
use crate::engine::api::Evidence;
use crate::engine::local::Local;
use crate::pipeline::paths::is_glob;
use crate::pipeline::raw::EnvValue;
use crate::pipeline::types::{Command, Rebuild, Recipe};
use crate::plan::facts::{Content, Facts};

/// The evidence for facts.
pub(super) fn gather(local: &Local, wanted: &DenseMap<RecipeId, bool>, facts: &Facts) -> Evidence {
    let pipeline = &local.pipeline;
    let mut evidence = Evidence::default();
    let mut files = BTreeMap::new();
    for (id, _) in wanted.iter().filter(|(_, wanted)| **wanted) {
        let recipe = &pipeline.recipes[id];
        let mut told = own(recipe, &mut evidence);
        files.extend(facts.recipes[id].files.iter().map(|(path, digest)| (path.as_str(), *digest)));
        for node in recipe.inputs.iter().chain(&recipe.outputs) {
            let content = facts.nodes[*node];
            let node = &pipeline.nodes[*node];
            match (&node.path, &node.digest, content) {
                (Some(path), _, Content::Is(digest)) => drop(files.insert(path, digest)),
                // Nothing is asked for it.
                (None, None, _) => {}
                // What is not there yet, and what commands print.
                (Some(_) | None, ..) => told = false,
            }
        }
        if !told {
            evidence.closely.insert(id);
        }
    }
    let state = |path, digest| local.digester.proof(path, digest).map_or(FileStat::NONE, |seen| seen.stat);
    evidence.files = files.into_iter().map(|(path, digest)| (path.to_owned(), state(path, digest))).collect();
    evidence
}

/// What a recipe is made from besides nodes and files that are named. Whether that is all.
fn own(recipe: &Recipe, evidence: &mut Evidence) -> bool {
    let timeless = match recipe.rebuild {
        Rebuild::Changed | Rebuild::Explicit | Rebuild::Never => true,
        Rebuild::Always | Rebuild::Age(_) => false,
    };
    for value in recipe.how.env.values() {
        match value {
            EnvValue::Text(_) => {}
            EnvValue::From(name) => drop(evidence.variables.insert(name.clone())),
        }
    }
    evidence.shell |= recipe.how.default_shell && matches!(recipe.run, Some(Command::Shell(_)));
    timeless && recipe.how.tools.is_empty() && !recipe.files.iter().any(|(pattern, _)| is_glob(pattern))
}
