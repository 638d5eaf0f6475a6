//! What each phase of a plan costs, on a pipeline file that is given: `cargo bench --bench phases -- FILE [PHASE] [ROUNDS]`.
//! Phases: read, check, graph, store, observe, plan. Prints the least time of each in milliseconds.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark tells times, and is no part of Kiln")]

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln::base::id::{DenseMap, RecipeId};
use kiln::base::job::BuildMode;
use kiln::engine::api::{Engine, Opening, Terms};
use kiln::engine::limit::OpenFiles;
use kiln::engine::local::LocalEngine;
use kiln::graph::Graph;
use kiln::pipeline::types::Pipeline;
use kiln::pipeline::{check, read};
use kiln::plan::Plan;
use kiln::plan::decide::Basis;
use kiln::select::{Choice, Want, select};
use kiln::store::read::Reader;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(file) = arguments.first() else {
        println!("usage: cargo bench --bench phases -- FILE [PHASE] [ROUNDS]");
        return;
    };
    let only = arguments.get(1).map(String::as_str).filter(|phase| *phase != "all");
    let rounds = arguments.get(2).and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let phases = Phases::new(Path::new(file));
    phases.all(only, rounds);
}

struct Phases {
    text: String,
    root: PathBuf,
}

impl Phases {
    fn new(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).expect("the file can be read");
        let root =
            file.canonicalize().expect("the file is there").parent().map(Path::to_owned).expect("it has a folder");
        Self { text, root }
    }

    fn all(&self, only: Option<&str>, rounds: u32) {
        let wanted = |phase: &str| only.is_none_or(|only| only == phase);
        if wanted("read") {
            time("read", rounds, || read::read(black_box(&self.text)));
        }
        if wanted("check") {
            let mut raws: Vec<_> = (0..rounds).map(|_| read::read(&self.text).0.expect("it is sound")).collect();
            let options = self.options();
            time("check", rounds, || check::check(raws.pop().expect("one a round"), &self.text, &options));
        }
        let pipeline = Arc::new(self.pipeline());
        if wanted("graph") {
            time("graph", rounds, || Graph::build(black_box(&pipeline)));
        }
        let graph = Graph::build(&pipeline).expect("it has no cycle");
        let state = self.root.join(".kiln");
        if wanted("store") {
            time("store", rounds, || {
                let reader = Reader::open(&state).expect("it can be read").expect("it was run once");
                (
                    reader.history(&pipeline.name, None).map(|_| ()),
                    reader.durations(&pipeline.name, "local", None),
                    reader.digests(),
                )
            });
        }
        let selection =
            select(&pipeline, &graph, Choice { targets: &[], exclude: &[], mode: BuildMode::Smart }, &|_| true)
                .expect("all can be selected");
        let wants: DenseMap<RecipeId, bool> = selection.want.values().map(|want| *want != Want::No).collect();
        if wanted("observe") {
            let mut engines: Vec<_> = (0..rounds).map(|_| self.engine(&pipeline)).collect();
            time("observe", rounds, || engines.pop().expect("one a round").observe(&wants, true));
        }
        if wanted("plan") {
            let facts = self.engine(&pipeline).observe(&wants, true).facts;
            let reader = Reader::open(&state).expect("it can be read").expect("it was run once");
            let history = reader.history(&pipeline.name, None).expect("it can be read");
            let basis = Basis { pipeline: &pipeline, facts: &facts, history: &history, mode: BuildMode::Smart };
            time("plan", rounds, || Plan::make(&basis, &graph, &selection, &HashMap::new()));
        }
    }

    fn options(&self) -> check::Options<'_> {
        check::Options { own: &[], vars: &[], project: None }
    }

    fn pipeline(&self) -> Pipeline {
        let (raw, problems) = read::read(&self.text);
        assert_eq!(problems, [], "the file is sound");
        let (pipeline, problems) = check::check(raw.expect("the file is sound"), &self.text, &self.options());
        assert_eq!(problems, [], "the file is sound");
        pipeline
    }

    fn engine(&self, pipeline: &Arc<Pipeline>) -> LocalEngine {
        let state = self.root.join(".kiln");
        let reader = Reader::open(&state).expect("it can be read");
        let digests = reader.map(|reader| reader.digests().expect("they can be read")).unwrap_or_default();
        LocalEngine::new(Opening {
            name: "local".to_owned(),
            terms: Terms::default(),
            pipeline: Arc::clone(pipeline),
            root: self.root.clone(),
            state,
            own: Vec::new(),
            environment: BTreeMap::new(),
            digests: Box::new(digests),
            grace: Duration::from_secs(1),
            open_files: OpenFiles::default(),
        })
    }
}

fn time<T>(name: &str, rounds: u32, mut phase: impl FnMut() -> T) {
    let mut least = Duration::MAX;
    for _ in 0..rounds {
        let began = Instant::now();
        let result = black_box(phase());
        least = least.min(began.elapsed());
        drop(result);
    }
    println!("{name:<8} {:8.2} ms", least.as_secs_f64() * 1_000.0);
}
