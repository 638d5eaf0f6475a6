//! `kiln check`: all mistakes of all files. Runs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::span::{Problem, Problems};
use crate::base::text::{clean, count};
use crate::cli::dss::Server;
use crate::cli::{Context, find, note, print};
use crate::engine::dss::compare::compare;
use crate::engine::local::ways::real_paths;
use crate::exit;
use crate::pipeline::types::Node;
use crate::pipeline::{braces, overwrites, unused};
use crate::session::fail::Fail;
use crate::session::home;
use crate::session::load::{self, Given, Loaded};
use crate::session::{Request, open_engine, state};
use crate::store::read::shared::Shared;

/// What is said of a path that two files make.
const SAME_PATH: &str = "each would replace what the other built: give one of them another path";
/// What is said of a path inside one that another file makes.
const NESTED: &str = "a folder is replaced as a whole, with what the other built in it: give one of them another path";

pub(crate) fn check(
    context: &Context,
    files: Vec<PathBuf>,
    vars: &[(String, String)],
    engine: Option<&str>,
) -> Result<u8, Fail> {
    let named = [context.files.clone(), files].concat();
    let files = if named.is_empty() { default(context)? } else { named };
    let mut code = exit::OK;
    let given = Given { vars, ..Given::default() };
    // A file that is not there is told as where it is named with `--file`.
    let read = |file: &PathBuf| load::load(&find::find(Some(file), &context.surroundings)?, &given);
    let loaded: Vec<_> = files.iter().map(read).collect();
    let mut twice = twice(&loaded);
    for (i, (file, loaded)) in files.iter().zip(loaded).enumerate() {
        let problems = twice.remove(&i).unwrap_or_default();
        match loaded.and_then(|loaded| check_one(context, file, loaded, engine, problems)) {
            Ok(text) => print(&text)?,
            Err(fail) => {
                code = code.max(fail.code());
                print(&context.render_out(&fail))?;
            }
        }
    }
    Ok(code)
}

/// The paths that several files make, or of which one makes what lies in one of another, told in each of them, by the place of the
/// file.
fn twice(loaded: &[Result<Loaded, Fail>]) -> BTreeMap<usize, Problems> {
    let mut made: BTreeMap<PathBuf, Vec<(usize, &Node)>> = BTreeMap::new();
    for (i, loaded) in loaded.iter().enumerate().filter_map(|(i, loaded)| Some((i, loaded.as_ref().ok()?))) {
        let nodes = loaded.pipeline.nodes.values().filter(|node| node.maker.is_some());
        let (nodes, paths): (Vec<_>, _) = nodes.filter_map(|node| Some((node, node.path.clone()?))).unzip();
        for (node, path) in nodes.into_iter().zip(real_paths(&loaded.root, paths)) {
            made.entry(loaded.root.join(path)).or_default().push((i, node));
        }
    }
    let name = |i: usize| loaded[i].as_ref().map(|loaded| loaded.source.name.as_str()).unwrap_or_default();
    let mut problems: BTreeMap<usize, Problems> = BTreeMap::new();
    let mut warn = |i: usize, node: &Node, code, message, help: &str| {
        let problem = Problem::new(code, message).at(&node.path_span, "this path");
        problems.entry(i).or_default().push(problem.help(help).warn());
    };
    for (path, nodes) in &made {
        for (i, node) in nodes {
            let of_other = |(other, _): &&(usize, &Node)| name(*other) != name(*i);
            if let Some((other, twin)) = nodes.iter().find(of_other) {
                let message = format!("`{}` and `{}` of {} have one path", node.name, twin.name, name(*other));
                warn(*i, node, "same-path", message, SAME_PATH);
            }
            let around = path.ancestors().skip(1).filter_map(|above| made.get(above)).flatten();
            for (other, outer) in around.filter(of_other) {
                let (inner, outer_file, inner_file) = (&node.name, name(*other), name(*i));
                let outer_name = &outer.name;
                let message = format!("the path of `{inner}` lies inside that of `{outer_name}` of {outer_file}");
                warn(*i, node, "nested-path", message, NESTED);
                let message = format!("the path of `{inner}` of {inner_file} lies inside that of `{outer_name}`");
                warn(*other, outer, "nested-path", message, NESTED);
            }
        }
    }
    problems
}

fn default(context: &Context) -> Result<Vec<PathBuf>, Fail> {
    let all = find::find_all(&context.surroundings);
    if all.is_empty() { find::find(None, &context.surroundings).map(|file| vec![file]) } else { Ok(all) }
}

/// What the file says and the server knows otherwise.
fn on_engine(context: &Context, file: &Path, name: &str) -> Result<Problems, Fail> {
    if name == crate::engine::local::NAME {
        return Ok(Vec::new());
    }
    let server = Server::open(context, file, name, None)?;
    let nodes = server.pipeline.nodes.values();
    let keys: BTreeSet<String> =
        nodes.map(|node| node.project.clone().unwrap_or_else(|| server.project.clone())).collect();
    let mut projects = BTreeMap::new();
    let mut unseen = Vec::new();
    // The engine's own project first: what is wrong with that one is wrong with all.
    let mut keys: Vec<String> = keys.into_iter().collect();
    keys.sort_by_key(|key| *key != server.project);
    for key in keys {
        match server.ask(server.remote.contents(&key)) {
            Ok(contents) => drop(projects.insert(key, contents)),
            Err(Fail::Surroundings(message)) if key != server.project => {
                let problem = Problem::new("project-not-seen", format!("project {key} cannot be looked at: {message}"));
                unseen.push(problem.help("its nodes are not compared; the key needs to read that project").warn());
            }
            Err(Fail::Surroundings(message)) => return Err(Fail::Surroundings(format!("project {key}: {message}"))),
            Err(other @ (Fail::Mistakes(..) | Fail::Usage(..) | Fail::Nothing(_))) => return Err(other),
        }
    }
    let mut problems = compare(&server.pipeline, &server.project, &projects);
    problems.extend(unseen);
    Ok(problems)
}

/// The line about a sound file, with what its engine warns of and what is known of it already.
fn check_one(
    context: &Context,
    file: &Path,
    loaded: Loaded,
    remote: Option<&str>,
    known: Problems,
) -> Result<String, Fail> {
    let site = context.site();
    let store = Arc::new(Shared::new(&state(&site, &loaded.root)));
    let asked = Request { engine: remote.map(str::to_owned), ..Request::default() };
    if let Some(shared) = home::shared(store.state(), &loaded) {
        note(&shared);
    }
    let mut problems = open_engine(&site, &loaded, &store, &asked)?.engine.check();
    problems.extend(unused::check(&loaded.pipeline, &loaded.source.text));
    problems.extend(braces::check(&loaded.pipeline, &loaded.source.text));
    problems.extend(braces::unfilled(&loaded.pipeline));
    problems.extend(overwrites::check(&loaded.pipeline, &loaded.source.text));
    for name in loaded.pipeline.engines.keys() {
        let request = Request { engine: Some(name.clone()), ..Request::default() };
        open_engine(&site, &loaded, &store, &request)?;
    }
    if let Some(name) = remote {
        // What the engine finds on the server counts more than what it supposes.
        problems.retain(|problem| problem.code != "no-id");
        problems.extend(on_engine(context, file, name)?);
    }
    problems.extend(known);
    if problems.iter().any(|problem| !problem.warning) {
        return Err(Fail::Mistakes(loaded.source, problems));
    }
    let warnings = if problems.is_empty() {
        String::new()
    } else {
        context.render_out(&Fail::Mistakes(loaded.source.clone(), problems))
    };
    let pipeline = &loaded.pipeline;
    let tasks = pipeline.recipes.values().filter(|recipe| recipe.task).count();
    let recipes = count(pipeline.recipes.len() - tasks, "recipe");
    let made = if tasks == 0 { recipes } else { format!("{recipes}, {}", count(tasks, "task")) };
    let stages = loaded.graph.stage.values().max().copied().unwrap_or(0);
    Ok(format!(
        "{warnings}{}: ok, {}, {made} in {}\n",
        clean(&loaded.source.name),
        count(pipeline.nodes.len(), "node"),
        count(stages as usize, "stage"),
    ))
}
