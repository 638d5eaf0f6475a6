//! The order of steps: what needs what, in which stage. The only file that names petgraph. Does not know what is wanted.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Index;

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
    pub needs: Edges,
    /// The steps that read an output of each step.
    pub feeds: Edges,
}

/// Steps that each step has to do with: those of all steps in one list, for a list for each step is a heap of small ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    /// Where those of each step begin; they end where the next ones begin.
    begins: Vec<u32>,
    steps: Vec<RecipeId>,
}

impl Edges {
    /// With room for so many steps, and none yet.
    fn with_room(steps: usize) -> Self {
        let mut begins = Vec::with_capacity(steps + 1);
        begins.push(0);
        Self { begins, steps: Vec::new() }
    }

    /// Adds the next step, with those that it has to do with, in order and each once.
    fn push(&mut self, steps: impl IntoIterator<Item = RecipeId>) {
        let begin = self.steps.len();
        self.steps.extend(steps);
        self.steps[begin..].sort_unstable();
        let mut kept = begin;
        for i in begin..self.steps.len() {
            if kept == begin || self.steps[kept - 1] != self.steps[i] {
                self.steps[kept] = self.steps[i];
                kept += 1;
            }
        }
        self.steps.truncate(kept);
        self.begins.push(place(kept));
    }

    /// Of how many steps it tells.
    fn len(&self) -> usize {
        self.begins.len() - 1
    }

    fn ids(&self) -> impl DoubleEndedIterator<Item = RecipeId> + use<> {
        (0..self.len()).map(RecipeId::from_index)
    }

    /// The same the other way round.
    fn turned(&self) -> Self {
        let mut begins = vec![0; self.begins.len()];
        for step in &self.steps {
            begins[step.index() + 1] += 1;
        }
        for i in 1..begins.len() {
            begins[i] += begins[i - 1];
        }
        let mut free = begins.clone();
        let mut steps = self.steps.clone();
        for id in self.ids() {
            for other in &self[id] {
                let at = &mut free[other.index()];
                steps[*at as usize] = id;
                *at += 1;
            }
        }
        Self { begins, steps }
    }
}

impl Index<RecipeId> for Edges {
    type Output = [RecipeId];
    fn index(&self, id: RecipeId) -> &[RecipeId] {
        let begin = id.index();
        &self.steps[self.begins[begin] as usize..self.begins[begin + 1] as usize]
    }
}

impl FromIterator<Vec<RecipeId>> for Edges {
    fn from_iter<I: IntoIterator<Item = Vec<RecipeId>>>(all: I) -> Self {
        let mut edges = Self::with_room(0);
        all.into_iter().for_each(|steps| edges.push(steps));
        edges
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("a file under 64 MiB has fewer than 2^32 inputs")
}

impl Graph {
    /// Orders the steps of a pipeline.
    ///
    /// # Errors
    /// The cycles, one of each tangle, with each edge in order.
    pub fn build(pipeline: &Pipeline) -> Result<Self, Problems> {
        let outline = pipeline.outline();
        let mut needs = Edges::with_room(pipeline.recipes.len());
        for id in outline.recipes() {
            needs.push(outline.inputs(id).filter_map(|input| outline.maker(input)));
        }
        let feeds = needs.turned();
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
    let mut waits: DenseMap<RecipeId, usize> = needs.ids().map(|id| needs[id].len()).collect();
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

/// The graph for petgraph: an edge from a step to each that needs it.
fn petgraph_of(needs: &Edges) -> DiGraph<(), (), u32> {
    let edges = needs.steps.len();
    let mut graph = DiGraph::with_capacity(needs.len(), edges);
    for _ in needs.ids() {
        graph.add_node(());
    }
    for id in needs.ids() {
        for need in &needs[id] {
            graph.add_edge(NodeIndex::new(need.index()), NodeIndex::new(id.index()), ());
        }
    }
    graph
}

/// The vertices of any graph, those together that lead to one another, behind all that leads to them.
#[must_use]
pub fn tangles(vertices: usize, edges: &BTreeSet<(usize, usize)>) -> Vec<Vec<usize>> {
    let mut graph: DiGraph<(), (), u32> = DiGraph::with_capacity(vertices, edges.len());
    let nodes: Vec<NodeIndex> = (0..vertices).map(|_| graph.add_node(())).collect();
    edges.iter().for_each(|(from, to)| _ = graph.add_edge(nodes[*from], nodes[*to], ()));
    // They come in the order against the edges.
    let tangles = kosaraju_scc(&graph).into_iter().rev();
    let sorted = |tangle: Vec<NodeIndex>| {
        let mut tangle: Vec<usize> = tangle.into_iter().map(NodeIndex::index).collect();
        tangle.sort_unstable();
        tangle
    };
    tangles.map(sorted).collect()
}

/// Of longer cycles only so many edges are shown.
const EDGES: usize = 6;

/// The mistake for a tangle of steps: a shortest cycle through its first step, with every edge labelled.
fn cycle(pipeline: &Pipeline, needs: &Edges, knot: &[NodeIndex<u32>]) -> Problem {
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
fn shortest_cycle(needs: &Edges, start: RecipeId) -> Vec<RecipeId> {
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
