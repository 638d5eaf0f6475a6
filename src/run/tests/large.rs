//! A run of a hundred thousand steps: nothing in it takes longer for each step the more of them there are. A run that did
//! would take minutes, and the time limit of tests ends it.

use super::*;
use crate::base::id::{Id as _, NodeId, RecipeId};
use crate::engine::api::StagedOutput;
use crate::pipeline::types::{Kind, Node, Recipe};
use crate::plan::facts::Facts;
use crate::plan::reason::Action;
use crate::run::setup::{Effect, Input};

const STEPS: usize = 100_000;

/// A pipeline of steps of which each needs what `needs` says.
fn pipeline(needs: impl Fn(usize) -> Vec<usize>) -> Pipeline {
    let mut pipeline = Pipeline::default();
    for i in 0..STEPS {
        let maker = Some(RecipeId::from_index(i));
        pipeline.nodes.push(Node {
            name: format!("s{i}"),
            kind: Kind::Dataset,
            id: None,
            project: None,
            path: None,
            digest: None,
            maker,
            tags: Vec::new(),
            description: None,
            span: 0..0,
            path_span: 0..0,
        });
        let inputs: Vec<_> = needs(i).into_iter().map(NodeId::from_index).collect();
        pipeline.recipes.push(Recipe {
            input_spans: inputs.iter().map(|_| 0..0).collect(),
            inputs,
            outputs: vec![NodeId::from_index(i)],
            name: format!("s{i}"),
            ..Recipe::default()
        });
    }
    pipeline
}

/// Drives the machine alone: what it starts ends at once, in order. Returns how many inputs that took.
fn ends(pipeline: Pipeline, schedule: Schedule, fails: Option<usize>) -> (usize, crate::event::Counts) {
    let graph = Graph::build(&pipeline).unwrap();
    let steps = graph.order.iter().map(|id| SetupStep {
        id: *id,
        stage: graph.stage[*id],
        action: Action::Build,
        command: String::new(),
        remaining_ms: 1,
    });
    let steps: Vec<_> = steps.collect();
    let ids: Vec<_> = graph.order.clone();
    let mut run = Run::new(
        Setup {
            job: JobId::from_text("build_p_1"),
            facts: Facts::unseen(jiff::Timestamp::UNIX_EPOCH, pipeline.nodes.len(), pipeline.recipes.len()),
            pipeline: Arc::new(pipeline),
            history: Box::new(MemoryHistory::default()),
            mode: BuildMode::Smart,
            policy: Policy { schedule, jobs: 1_000, max_fail: None, kill: false, time_limit_ms: None, seed: 1 },
            steps,
        },
        0,
    );
    let mut inputs = VecDeque::from([Input::Begin]);
    let (mut handled, mut end) = (0, None);
    while let Some(input) = inputs.pop_front() {
        handled += 1;
        for effect in run.handle(input) {
            match effect {
                Effect::Start { step, .. } if Some(step) == fails => {
                    let attempted = Ended::Failed(Failure::new(FailureCode::Exit, "exit 1")).into();
                    inputs.push_back(Input::Ended { step, attempted, took_ms: 1 });
                }
                Effect::Start { step, .. } => {
                    let node = NodeId::from_index(ids[step].index());
                    let output = StagedOutput { node, digest: Some(Digest::of(b"x")), staged: None };
                    inputs.push_back(Input::Ended { step, attempted: Ended::Staged(vec![output]).into(), took_ms: 1 });
                }
                Effect::Emit(event) => {
                    if let Event::RunEnded(ended) = *event {
                        end = Some(ended.counts);
                    }
                }
                Effect::Wake(..)
                | Effect::Flush(_)
                | Effect::AskSlot
                | Effect::LeaveSlot
                | Effect::Publish(..)
                | Effect::StopStep(..)
                | Effect::Stop(_)
                | Effect::End => {}
            }
        }
    }
    (handled, end.unwrap())
}

#[test]
fn a_hundred_thousand_steps_are_built() {
    let layers = |i: usize| (1..4).filter_map(|k| i.checked_sub(1_000 + k)).collect();
    let (handled, counts) = ends(pipeline(layers), Schedule::Stages, None);
    assert_eq!((handled, counts.built), (STEPS + 1, STEPS as u64));
}

#[test]
fn a_hundred_thousand_steps_are_skipped() {
    let chain = |i: usize| i.checked_sub(1).into_iter().collect();
    let star = |i: usize| if i == 0 { Vec::new() } else { vec![0] };
    let needs: [&dyn Fn(usize) -> Vec<usize>; 2] = [&chain, &star];
    for needs in needs {
        let (_, counts) = ends(pipeline(needs), Schedule::Eager, Some(0));
        assert_eq!((counts.failed, counts.skipped), (1, STEPS as u64 - 1));
    }
}
