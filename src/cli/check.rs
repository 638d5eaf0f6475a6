//! `kiln check`: all mistakes of all files. Runs nothing.

use std::path::PathBuf;

use crate::base::text::count;
use crate::cli::fail::mistakes;
use crate::cli::{Context, find, print};
use crate::exit;
use crate::session::fail::Fail;
use crate::session::load::{self, Given};
use crate::session::{open_engine, state};

pub(crate) fn check(context: &Context, files: Vec<PathBuf>, vars: &[(String, String)]) -> Result<u8, Fail> {
    let files = if files.is_empty() { default(context)? } else { files };
    let mut code = exit::OK;
    for file in &files {
        match check_one(context, file, vars) {
            Ok(text) => print(&text)?,
            Err(fail) => {
                code = code.max(fail.code());
                print(&context.render_out(&fail))?;
            }
        }
    }
    Ok(code)
}

fn default(context: &Context) -> Result<Vec<PathBuf>, Fail> {
    let all = find::find_all(&context.surroundings);
    if context.file.is_some() || all.is_empty() {
        return find::find(context.file.as_deref(), &context.surroundings).map(|file| vec![file]);
    }
    Ok(all)
}

/// The line about a sound file, with what its engine warns of.
fn check_one(context: &Context, file: &std::path::Path, vars: &[(String, String)]) -> Result<String, Fail> {
    let loaded = load::load(file, &Given { vars, project: None })?;
    let site = context.site();
    let engine = open_engine(&site, &loaded, &state(&site, &loaded.root), None)?;
    let problems = engine.check();
    if problems.iter().any(|problem| !problem.warning) {
        return Err(Fail::Mistakes(loaded.source, problems));
    }
    let warnings = if problems.is_empty() {
        String::new()
    } else {
        mistakes(&loaded.source, &problems, context.style().color, context.render_width())
    };
    let pipeline = &loaded.pipeline;
    let stages = loaded.graph.stage.values().max().copied().unwrap_or(0);
    Ok(format!(
        "{warnings}{}: ok, {}, {} in {}\n",
        loaded.source.name,
        count(pipeline.nodes.len(), "node"),
        count(pipeline.recipes.len(), "recipe"),
        count(stages as usize, "stage"),
    ))
}
