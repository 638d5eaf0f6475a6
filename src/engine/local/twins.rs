//! Paths that are one: those of two sources, and those that differ only in the case of letters, which are one on some file
//! systems, as are logs of steps with such names. Does not look at the disk.

use std::collections::HashMap;

use crate::base::span::{Problem, Span};
use crate::pipeline::types::{Node, Pipeline};

/// Warnings about them. That one of the two is built at the very path of the other is a mistake, and told before.
pub(crate) fn check(pipeline: &Pipeline) -> Vec<Problem> {
    let mut first: HashMap<String, &Node> = HashMap::new();
    let mut problems = Vec::new();
    for node in pipeline.nodes.values() {
        let Some(path) = &node.path else { continue };
        match first.get(&path.to_lowercase()) {
            None => drop(first.insert(path.to_lowercase(), node)),
            Some(twin) if twin.path != node.path && (twin.maker.is_some() || node.maker.is_some()) => {
                problems.push(warn(twin, node));
            }
            Some(twin) if twin.path == node.path => problems.push(twice(twin, node)),
            Some(_) => {}
        }
    }
    let mut steps: HashMap<String, (&str, &Span)> = HashMap::new();
    for recipe in pipeline.recipes.values() {
        match steps.get(&recipe.name.to_lowercase()) {
            None => drop(steps.insert(recipe.name.to_lowercase(), (&recipe.name, &recipe.span))),
            Some((name, span)) => problems.push(steps_alike((name, span), (&recipe.name, &recipe.span))),
        }
    }
    problems
}

fn steps_alike(first: (&str, &Span), second: (&str, &Span)) -> Problem {
    Problem::new("twin-step", format!("the names of the steps `{}` and `{}` differ only in case", first.0, second.0))
        .at(first.1, "this name")
        .at(second.1, "and this one")
        .help(
            "where upper and lower case are one, as on most Macs, they would share a log and a folder to write in: give one \
             another name",
        )
        .warn()
}

fn twice(first: &Node, second: &Node) -> Problem {
    Problem::new("same-source", format!("`{}` and `{}` are one source", first.name, second.name))
        .at(&first.path_span, "this path")
        .at(&second.path_span, "and this one")
        .help("one name is enough: what reads the second one can read the first")
        .warn()
}

fn warn(first: &Node, second: &Node) -> Problem {
    let message = format!("the paths of `{}` and `{}` differ only in case", first.name, second.name);
    Problem::new("twin-path", message)
        .at(&first.path_span, "this path")
        .at(&second.path_span, "and this one")
        .help(
            "where upper and lower case are one, as on most Macs, each would replace the other: give one another name",
        )
        .warn()
}
