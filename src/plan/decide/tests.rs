//! The decision about steps with more than one output.

use std::cell::Cell;

use super::*;
use crate::base::id::Id as _;
use crate::base::job::JobId;
use crate::pipeline::types::{Kind, Recipe};
use crate::pipeline::{check, read};
use crate::plan::record::OutputRecord;

/// A history of one step that counts how often its parts are read.
struct Counting(LastGood, Cell<u32>);

impl History for Counting {
    fn last(&self, _: &str) -> Option<&LastGood> {
        Some(&self.0)
    }

    fn parts(&self, _: &str) -> Parts {
        self.1.set(self.1.get() + 1);
        [("output:a".to_owned(), "folder a".to_owned())].into()
    }

    fn maker(&self, _: &str, _: Digest) -> Option<String> {
        None
    }

    fn others_in(&self, _: &str) -> bool {
        false
    }
}

#[test]
fn what_was_recorded_of_many_outputs_is_read_once() {
    let text = "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = \"a\"\n[dataset.b]\npath = \"b\"\n\
                [dataset.c]\npath = \"c\"\n[recipe.r]\noutputs = [\"a\", \"b\", \"c\"]\nrun = 'x'\n";
    let options = check::Options { own: &[], vars: &[], project: None };
    let (pipeline, _) = check::check(read::read(text).0.unwrap(), text, &options);
    let mut facts = Facts::unseen(jiff::Timestamp::UNIX_EPOCH, 3, 1);
    let (then, now) = (Digest::of(b"then"), Digest::of(b"now"));
    pipeline.nodes.iter().for_each(|(node, _)| facts.nodes[node] = Content::Is(now));
    // Of `c` it is recorded that it was elsewhere.
    let paths = [("a", "a"), ("b", "b"), ("c", "elsewhere")];
    let output = |(node, path): (&str, &str)| OutputRecord {
        node: node.to_owned(),
        path: Some(path.to_owned()),
        real: None,
        digest: then,
    };
    let (key, built_at, job) = (then, facts.now, JobId::from_text("p_1"));
    let last = LastGood { key, built_at, job, outputs: paths.map(output).into() };
    let history = Counting(last, Cell::new(0));
    let basis = Basis { pipeline: &pipeline, facts: &facts, history: &history, mode: BuildMode::Smart };
    let foreign = basis.foreign(pipeline.recipe("r").unwrap());
    let told = ["a", "b", "c"].map(|name| foreign(pipeline.node(name).unwrap()));
    assert_eq!(told, [true, false, true], "another kind, changed, and nobody's");
    assert_eq!(history.1.get(), 1);
}

/// Were each looked for among all, this would take minutes, and the time limit of tests ends it.
#[test]
fn very_many_outputs_that_changed_are_told_one_by_one() {
    const MANY: usize = 100_000;
    let mut pipeline = Pipeline::default();
    let (then, now) = (Digest::of(b"then"), Digest::of(b"now"));
    let name = |i: usize| format!("output_{i}");
    for i in 0..MANY {
        pipeline.nodes.push(Node {
            name: name(i),
            kind: Kind::Dataset,
            id: None,
            project: None,
            path: Some(name(i)),
            digest: None,
            maker: Some(RecipeId::from_index(0)),
            tags: Vec::new(),
            description: None,
            span: 0..0,
            path_span: 0..0,
        });
    }
    pipeline.recipes.push(Recipe { outputs: pipeline.nodes.ids().collect(), ..Recipe::default() });
    let mut facts = Facts::unseen(jiff::Timestamp::UNIX_EPOCH, MANY, 1);
    pipeline.nodes.ids().for_each(|node| facts.nodes[node] = Content::Is(now));
    let outputs =
        (0..MANY).map(|i| OutputRecord { node: name(i), path: Some(name(i)), real: None, digest: then }).collect();
    let last = LastGood { key: then, built_at: facts.now, job: JobId::from_text("p_1"), outputs };
    let history = Counting(last, Cell::new(0));
    for mode in [BuildMode::Smart, BuildMode::Forced] {
        let basis = Basis { pipeline: &pipeline, facts: &facts, history: &history, mode };
        let Verdict::Build(reasons) = basis.decide(RecipeId::from_index(0), &|_| Input::Pending) else {
            panic!("it is built")
        };
        let changed = reasons.iter().filter(|reason| reason.code == ReasonCode::OutputChanged);
        assert_eq!(changed.count(), MANY, "{mode}");
    }
}
