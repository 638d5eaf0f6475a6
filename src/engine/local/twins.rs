//! Paths that are one: those of two sources, and those that differ only in the case of letters, which are one on some file
//! systems. Does not look at the disk.

use std::collections::HashMap;

use crate::base::span::Problem;
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
    problems
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
