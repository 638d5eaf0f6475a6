//! Plans of steps that lack very much.

use super::*;
use crate::base::id::Id as _;
use crate::base::job::BuildMode;
use crate::pipeline::types::{Kind, Node, Recipe};
use crate::plan::facts::Facts;
use crate::plan::record::MemoryHistory;
use crate::select::{Choice, select};

/// Were each looked for among all, this would take minutes, and the time limit of tests ends it.
#[test]
fn very_many_inputs_that_are_missing_are_told_one_by_one() {
    const MANY: usize = 100_000;
    let mut pipeline = Pipeline::default();
    let node = |i: usize| Node {
        name: format!("n_{i:06}"),
        kind: Kind::Dataset,
        id: None,
        project: None,
        path: Some(format!("n_{i:06}")),
        digest: None,
        maker: None,
        tags: Vec::new(),
        description: None,
        span: 0..0,
        path_span: 0..0,
    };
    for i in 0..MANY {
        pipeline.nodes.push(node(i));
    }
    let inputs: Vec<_> = pipeline.nodes.ids().collect();
    pipeline.recipes.push(Recipe {
        name: "r".to_owned(),
        input_spans: (0..MANY).map(|at| at..at).collect(),
        inputs: inputs.clone(),
        ..Recipe::default()
    });
    let graph = Graph::build(&pipeline).unwrap();
    let facts = Facts::unseen(jiff::Timestamp::UNIX_EPOCH, MANY, 1);
    let history = MemoryHistory::default();
    let basis = Basis { pipeline: &pipeline, facts: &facts, history: &history, mode: BuildMode::Smart };
    let selection =
        select(&pipeline, &graph, Choice { targets: &[], exclude: &[], mode: BuildMode::Smart }, &|_| true).unwrap();
    let (mut plan, lacks) = Plan::make(&basis, &graph, &selection, &HashMap::new());
    assert_eq!((lacks.len(), plan.steps[0].reasons.len()), (MANY, MANY));
    let problems = missing(&pipeline, &lacks, &HashMap::new());
    let spans: Vec<_> = problems.iter().map(|problem| problem.labels.last().unwrap().span.start).collect();
    assert!(spans.into_iter().eq(0..MANY));
    let named = inputs.iter().map(|node| (*node, inputs[..2].to_vec())).collect();
    plan.name_all(&pipeline, &named);
    let why = plan.steps[0].reasons.iter().map(|reason| reason.what.clone().unwrap()).collect();
    plan.hinder(&[(RecipeId::from_index(0), why)].into(), &pipeline, &graph);
    assert_eq!(plan.steps[0].reasons.len(), MANY);
}

/// What is to be named with an input stands behind it, and each once.
#[test]
fn what_is_named_together_is_told_once() {
    let text = "[pipeline]\nformat = 1\nname = \"p\"\n";
    let made = |name: &str, input: &str| {
        format!("[dataset.{name}]\npath = \"{name}\"\nrebuild = \"explicit\"\ninputs = [{input}]\nrun = 'x'\n")
    };
    let text = [text, &made("a", ""), &made("b", "\"a\""), &made("c", "\"a\""), &made("d", "\"b\", \"c\"")].concat();
    let options = crate::pipeline::check::Options { own: &[], vars: &[], project: None };
    let (pipeline, _) = crate::pipeline::check::check(crate::pipeline::read::read(&text).0.unwrap(), &text, &options);
    let node = |name: &str| pipeline.node(name).unwrap();
    let reasons = vec![lacking(&pipeline, node("b")), lacking(&pipeline, node("c"))];
    let step = Step { id: pipeline.recipe("d").unwrap(), stage: 3, action: Action::Build, reasons, expected_ms: None };
    let mut plan = Plan { steps: vec![step] };
    let named = ["b", "c"].map(|name| (node(name), to_name(&pipeline, &[node(name)], &|_| false)));
    plan.name_all(&pipeline, &named.into());
    let told: Vec<_> = plan.steps[0].reasons.iter().filter_map(|reason| reason.what.as_deref()).collect();
    assert_eq!(told, ["b", "a", "c"]);
}

/// What steps have above them together is looked at once, and each is told the same as by itself.
#[test]
fn what_is_to_be_named_is_looked_for_once_for_all() {
    const MANY: usize = 50;
    let explicit = |name: &str| format!("[dataset.{name}]\npath = \"{name}\"\nrebuild = \"explicit\"\nrun = 'x'\n");
    let made =
        |name: &str, input: &str| format!("[dataset.{name}]\npath = \"{name}\"\ninputs = [{input}]\nrun = 'x'\n");
    let name = |i: usize| format!("n{i}");
    let first = made("n0", "\"gone\", \"there\", \"gone_too\"");
    let chain: String = (1..MANY).map(|i| made(&name(i), &format!("\"{}\", \"gone\"", name(i - 1)))).collect();
    let sources = ["gone", "there", "gone_too"].map(explicit).concat();
    let text = format!("[pipeline]\nformat = 1\nname = \"p\"\n{sources}{first}{chain}");
    let options = crate::pipeline::check::Options { own: &[], vars: &[], project: None };
    let (pipeline, _) = crate::pipeline::check::check(crate::pipeline::read::read(&text).0.unwrap(), &text, &options);
    let graph = Graph::build(&pipeline).unwrap();
    let nodes: Vec<_> = (0..MANY).map(|i| pipeline.node(&name(i)).unwrap()).collect();
    let looks = std::cell::Cell::new(0);
    let is_there = |node| {
        looks.set(looks.get() + 1);
        Some(node) == pipeline.node("there")
    };
    let named = to_name_each(&pipeline, &graph, &nodes, &is_there);
    assert_eq!(looks.get(), 3);
    for node in nodes {
        let by_itself: BTreeSet<_> = to_name(&pipeline, &[node], &is_there).into_iter().collect();
        assert_eq!((named[&node][0], named[&node].len()), (node, 3));
        assert_eq!(named[&node].iter().copied().collect::<BTreeSet<_>>(), by_itself);
    }
}
