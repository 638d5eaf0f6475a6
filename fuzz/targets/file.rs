//! Any bytes as a pipeline file: reading never panics, the quick way and the thorough one say the same, every mistake has
//! its place in the text and can be drawn; so has what the engine of this machine finds in commands.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use kiln::base::file::Memory;
use kiln::base::span::{Located, Problem, Source};
use kiln::engine::api::{Engine, Environment, Opening, Terms};
use kiln::engine::limit::OpenFiles;
use kiln::engine::local::LocalEngine;
use kiln::graph::Graph;
use kiln::pipeline::check::{Options, check};
use kiln::pipeline::read;
use kiln::pipeline::types::Pipeline;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let source = match read::source("fuzz.toml", bytes.to_vec()) {
        Ok(source) => source,
        Err(wrong) => {
            let (source, problem) = *wrong;
            return draw(&source, &problem);
        }
    };
    let (raw, problems) = read::read(&source.text);
    let (thorough, others) = read::thoroughly(&source.text);
    assert_eq!(format!("{raw:?}"), format!("{thorough:?}"));
    assert_eq!(problems, others);
    draw_some(&source, &problems);
    let Some(raw) = raw else {
        assert!(!problems.is_empty(), "no file, and no mistake");
        return;
    };
    let (pipeline, found) = check(raw, &source.text, &Options { own: &[], vars: &[], project: None });
    draw_some(&source, &found);
    match Graph::build(&pipeline) {
        Ok(_) => {}
        Err(cycles) => draw_some(&source, &cycles),
    }
    if found.iter().all(|problem| problem.warning) {
        draw_some(&source, &seen(pipeline));
    }
});

/// What the engine that builds on this machine finds in commands.
fn seen(pipeline: Pipeline) -> Vec<Problem> {
    let engine = LocalEngine::new(Opening {
        name: "local".to_owned(),
        terms: Terms::default(),
        pipeline: Arc::new(pipeline),
        root: "/nowhere".into(),
        state: "/nowhere/.kiln".into(),
        own: Vec::new(),
        environment: Environment::new(),
        digests: Box::new(Memory::default()),
        grace: Duration::ZERO,
        open_files: OpenFiles::default(),
    });
    engine.check()
}

/// Drawing takes longer than all the rest.
fn draw_some(source: &Source, problems: &[Problem]) {
    let (first, others) = problems.split_at(problems.len().min(3));
    first.iter().for_each(|problem| draw(source, problem));
    others.iter().for_each(|problem| place(source, problem));
}

/// A picture of the places can be made.
fn draw(source: &Source, problem: &Problem) {
    place(source, problem);
    let mut picture = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
    handler.render_report(&mut picture, &Located::new(problem, source)).unwrap();
    assert!(!picture.is_empty());
}

/// The places lie in the text.
fn place(source: &Source, problem: &Problem) {
    for label in &problem.labels {
        let inside = source.text.get(label.span.clone());
        assert!(inside.is_some(), "{}: {:?} is no place in the text", problem.code, label.span);
    }
}
