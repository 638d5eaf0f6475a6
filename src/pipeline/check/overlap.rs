//! Paths that get into one another's way. Does not look at the disk.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::base::id::{NodeId, RecipeId};
use crate::base::span::Problem;
use crate::pipeline::check::{Checker, Nodes};
use crate::pipeline::paths::{ancestors, collisions, is_glob, lies_in, taken};

impl Checker<'_> {
    /// What is built lies apart from all else: no two outputs at one path, none inside another, none around a source.
    pub(super) fn overlaps(&mut self) {
        let nodes = &self.pipeline.nodes;
        let by_path: Vec<(&str, NodeId)> =
            nodes.iter().filter_map(|(id, node)| Some((node.path.as_deref()?, id))).collect();
        let is_built = |id: NodeId| nodes[id].maker.is_some();
        let found = collisions(by_path, &is_built);
        let problems: Vec<_> = found.into_iter().map(|(outer, inner)| overlap(nodes, outer, inner)).collect();
        self.problems.extend(problems);
        self.taken_paths();
        self.files_in_outputs();
    }

    /// What is put in place must not replace the pipeline file, nor what git keeps.
    fn taken_paths(&mut self) {
        let built = self.pipeline.nodes.values().filter(|node| node.maker.is_some());
        let taken = built.filter_map(|node| {
            let path = node.path.as_deref()?;
            let error = taken(path, self.own)?;
            let problem = Problem::new("bad-path", error.message(path)).at(&node.path_span, "this path");
            Some(problem.help(error.help()))
        });
        self.problems.extend(taken);
    }

    /// A file of `files` that a recipe makes, or a folder in which one is made, would be read before it is made.
    fn files_in_outputs(&mut self) {
        if self.pipeline.recipes.values().all(|recipe| recipe.files.is_empty()) {
            return;
        }
        let nodes = self.pipeline.nodes.values();
        let built: BTreeMap<&str, (&str, RecipeId)> =
            nodes.filter_map(|node| Some((node.path.as_deref()?, (node.name.as_str(), node.maker?)))).collect();
        let mut problems = Vec::new();
        for (id, recipe) in self.pipeline.recipes.iter() {
            for (file, span) in &recipe.files {
                let around = || ancestors(file).find_map(|path| built.get(path)).map(|made| (false, made));
                let Some((inside, (node, maker))) =
                    around().or_else(|| first_in(&built, file).map(|made| (true, made)))
                else {
                    continue;
                };
                let own = *maker == id;
                let by = if own { format!("`{}` itself", recipe.name) } else { "a recipe".to_owned() };
                let (message, label) = match inside {
                    false => (format!("`{file}` of `files` is made by {by}"), format!("it belongs to `{node}`")),
                    true => (format!("`{file}` of `files` holds what is made by {by}"), format!("`{node}` lies in it")),
                };
                let globs = format!("globs leave out what recipes make: name `{file}/**`");
                let help = match (own, inside) {
                    (true, false) => {
                        format!("`files` are what it is made from: name others, or give `{node}` a path beside them")
                    }
                    (true, true) => format!("{globs}, or give `{node}` a path outside"),
                    (false, false) => format!("make `{node}` an input of `{}`", recipe.name),
                    (false, true) => {
                        format!("{globs}, and make `{node}` an input of `{}` if it reads that", recipe.name)
                    }
                };
                problems.push(Problem::new("file-is-output", message).at(span, label).help(help));
            }
        }
        self.problems.extend(problems);
    }
}

/// The first of these paths that lies in a folder; none where it is a glob, for it leaves them out.
fn first_in<'a, T>(built: &'a BTreeMap<&str, T>, folder: &str) -> Option<&'a T> {
    if is_glob(folder) {
        return None;
    }
    let first = format!("{folder}/");
    let mut inside = built.range::<str, _>((Bound::Included(first.as_str()), Bound::Unbounded));
    inside.next().filter(|(path, _)| lies_in(path, folder)).map(|(_, made)| made)
}

fn overlap(nodes: &Nodes, outer: NodeId, inner: NodeId) -> Problem {
    let (outer, inner) = (&nodes[outer], &nodes[inner]);
    let (first, second) = if outer.span.start < inner.span.start { (outer, inner) } else { (inner, outer) };
    let same = outer.path == inner.path;
    let (code, message) = if same {
        ("same-path", format!("`{}` and `{}` have one path", first.name, second.name))
    } else {
        ("nested-path", format!("the path of `{}` lies inside that of `{}`", inner.name, outer.name))
    };
    let problem = Problem::new(code, message).at(&first.path_span, "this path").at(&second.path_span, "and this one");
    problem.help("what is built is replaced as a whole: give each its own path")
}
