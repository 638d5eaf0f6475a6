//! Paths that differ only in the case of letters: on some file systems they are one. Does not look at the disk.

use std::collections::HashMap;

use crate::base::span::Problem;
use crate::pipeline::types::{Node, Pipeline};

/// Warnings about them, where one of the two is built.
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
            Some(_) => {}
        }
    }
    problems
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
