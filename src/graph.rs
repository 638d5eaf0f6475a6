//! The order of steps: what needs what, in which stage. The only file that names petgraph. Does not know what is wanted.

use std::collections::VecDeque;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::base::id::{DenseMap, Id, RecipeId};
use crate::base::span::{Problem, Problems};
use crate::pipeline::types::Pipeline;

/// The steps of a pipeline in order. It has no cycle.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The steps by stage, within a stage in the order of the file. Each stands behind all that it needs.
    pub order: Vec<RecipeId>,
    /// The stage of each step, counted from 1: one more than the longest way to it has steps.
    pub stage: DenseMap<RecipeId, u32>,
    /// The steps that make the inputs of each step, each once.
    pub needs: DenseMap<RecipeId, Vec<RecipeId>>,
    /// The steps that read an output of each step.
    pub feeds: DenseMap<RecipeId, Vec<RecipeId>>,
}

impl Graph {
    /// Orders the steps of a pipeline.
    ///
    /// # Errors
    /// The cycles, one of each tangle, with each edge in order.
    pub fn build(pipeline: &Pipeline) -> Result<Self, Problems> {
        let needs: DenseMap<_, Vec<_>> = pipeline.recipes.ids().map(|id| needs(pipeline, id)).collect();
        let graph = petgraph_of(&needs);
        let mut backwards = Vec::with_capacity(needs.len());
        let mut problems = Vec::new();
        // Tarjan's way calls itself as deep as the graph is.
        for knot in kosaraju_scc(&graph) {
            if knot.len() > 1 {
                problems.push(cycle(pipeline, &needs, &knot));
            }
            backwards.extend(knot.into_iter().map(|node| RecipeId::from_index(node.index())));
        }
        if !problems.is_empty() {
            problems.sort_by_key(|problem| problem.labels.first().map(|label| label.span.start));
            return Err(problems);
        }
        Ok(Self::ordered(needs, backwards.into_iter().rev()))
    }

    fn ordered(needs: DenseMap<RecipeId, Vec<RecipeId>>, topological: impl Iterator<Item = RecipeId>) -> Self {
        let mut stage = DenseMap::filled(needs.len(), 1);
        let mut feeds: DenseMap<RecipeId, Vec<RecipeId>> = DenseMap::filled(needs.len(), Vec::new());
        for id in topological {
            stage[id] = needs[id].iter().map(|need| stage[*need] + 1).max().unwrap_or(1);
        }
        for (id, needs) in needs.iter() {
            for need in needs {
                feeds[*need].push(id);
            }
        }
        let mut order: Vec<_> = needs.ids().collect();
        order.sort_by_key(|id| stage[*id]);
        Self { order, stage, needs, feeds }
    }
}

fn needs(pipeline: &Pipeline, id: RecipeId) -> Vec<RecipeId> {
    let mut needs: Vec<_> =
        pipeline.recipes[id].inputs.iter().filter_map(|input| pipeline.nodes[*input].maker).collect();
    needs.sort_unstable();
    needs.dedup();
    needs
}

/// The graph for petgraph: an edge from a step to each that needs it.
fn petgraph_of(needs: &DenseMap<RecipeId, Vec<RecipeId>>) -> DiGraph<(), (), u32> {
    let edges = needs.values().map(Vec::len).sum();
    let mut graph = DiGraph::with_capacity(needs.len(), edges);
    for _ in needs.ids() {
        graph.add_node(());
    }
    for (id, needs) in needs.iter() {
        for need in needs {
            graph.add_edge(NodeIndex::new(need.index()), NodeIndex::new(id.index()), ());
        }
    }
    graph
}

/// Of longer cycles only so many edges are shown.
const EDGES: usize = 6;

/// The mistake for a tangle of steps: a shortest cycle through its first step, with every edge labelled.
fn cycle(pipeline: &Pipeline, needs: &DenseMap<RecipeId, Vec<RecipeId>>, knot: &[NodeIndex<u32>]) -> Problem {
    let start = knot.iter().map(|node| RecipeId::from_index(node.index())).min();
    let way = start.map(|start| shortest_cycle(needs, start)).unwrap_or_default();
    let mut names: Vec<_> = way.iter().map(|id| pipeline.recipes[*id].name.as_str()).collect();
    if names.len() > EDGES {
        names.splice(EDGES / 2..names.len() - EDGES / 2, ["…"]);
    }
    let mut problem = Problem::new("cycle", format!("cycle: {}", names.join(" → ")));
    for pair in way.windows(2).take(EDGES) {
        let (from, to) = (pair[0], &pipeline.recipes[pair[1]]);
        let input =
            to.inputs.iter().zip(&to.input_spans).find(|(input, _)| pipeline.nodes[**input].maker == Some(from));
        if let Some((input, span)) = input {
            problem = problem.at(span, format!("`{}` needs `{}`", to.name, pipeline.nodes[*input].name));
        }
    }
    problem.help("nothing can be built first: take one of these inputs away")
}

/// A shortest way from `start` along the edges back to it, `start` first and last.
fn shortest_cycle(needs: &DenseMap<RecipeId, Vec<RecipeId>>, start: RecipeId) -> Vec<RecipeId> {
    let mut next: DenseMap<RecipeId, Option<RecipeId>> = DenseMap::filled(needs.len(), None);
    let mut queue = VecDeque::from([start]);
    while let Some(id) = queue.pop_front() {
        for need in &needs[id] {
            if *need == start {
                next[start] = Some(id);
                queue.clear();
                break;
            }
            if next[*need].is_none() {
                next[*need] = Some(id);
                queue.push_back(*need);
            }
        }
    }
    let mut way = vec![start];
    let mut at = start;
    while let Some(id) = next[at] {
        way.push(id);
        at = id;
        if at == start {
            break;
        }
    }
    way
}
