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

/// Steps that each step has to do with.
type Edges = DenseMap<RecipeId, Vec<RecipeId>>;

impl Graph {
    /// Orders the steps of a pipeline.
    ///
    /// # Errors
    /// The cycles, one of each tangle, with each edge in order.
    pub fn build(pipeline: &Pipeline) -> Result<Self, Problems> {
        let needs: Edges = pipeline.recipes.ids().map(|id| needs(pipeline, id)).collect();
        let feeds = feeds(&needs);
        match topological(&needs, &feeds) {
            Some(order) => Ok(Self::ordered(needs, feeds, &order)),
            None => Err(Self::cycles(pipeline, &needs)),
        }
    }

    /// The mistakes of steps that have no order.
    fn cycles(pipeline: &Pipeline, needs: &Edges) -> Problems {
        let mut problems = Vec::new();
        // Tarjan's way calls itself as deep as the graph is.
        for knot in kosaraju_scc(&petgraph_of(needs)).into_iter().filter(|knot| knot.len() > 1) {
            problems.push(cycle(pipeline, needs, &knot));
        }
        problems.sort_by_key(|problem| problem.labels.first().map(|label| label.span.start));
        problems
    }

    fn ordered(needs: Edges, feeds: Edges, topological: &[RecipeId]) -> Self {
        let mut stage = DenseMap::filled(needs.len(), 1);
        for id in topological {
            stage[*id] = needs[*id].iter().map(|need| stage[*need] + 1).max().unwrap_or(1);
        }
        let mut order: Vec<_> = needs.ids().collect();
        order.sort_by_key(|id| stage[*id]);
        Self { order, stage, needs, feeds }
    }
}

/// The steps, each behind all that it needs; none where there is a cycle.
fn topological(needs: &Edges, feeds: &Edges) -> Option<Vec<RecipeId>> {
    let mut order: Vec<_> = needs.ids().filter(|id| needs[*id].is_empty()).collect();
    let mut waits: DenseMap<RecipeId, usize> = needs.values().map(Vec::len).collect();
    let mut done = 0;
    while let Some(id) = order.get(done).copied() {
        done += 1;
        for next in &feeds[id] {
            waits[*next] -= 1;
            if waits[*next] == 0 {
                order.push(*next);
            }
        }
    }
    (done == needs.len()).then_some(order)
}

/// The steps that need each step.
fn feeds(needs: &Edges) -> Edges {
    let mut feeds: Edges = DenseMap::filled(needs.len(), Vec::new());
    for (id, needs) in needs.iter() {
        needs.iter().for_each(|need| feeds[*need].push(id));
    }
    feeds
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
