//! What a shell offers while a command line is typed: a line for each candidate, nothing where nothing can be read. For the
//! scripts of `kiln completions`; nobody is meant to type it.

use std::collections::BTreeSet;

use crate::base::job::JobState;
use crate::cli::args::Candidates;
use crate::cli::jobs::History;
use crate::cli::{Context, find, print};
use crate::exit;
use crate::pipeline::types::Pipeline;
use crate::session::fail::Fail;
use crate::session::load::{self, Given};
use crate::store::filter::RunFilter;
use crate::view::RunView;

/// Prints what may stand where `word` is typed.
pub(crate) fn candidates(context: &Context, what: Candidates, word: &str) -> Result<u8, Fail> {
    let words = match what {
        Candidates::Targets => in_file(context, |pipeline| targets(pipeline, word)),
        Candidates::Names => in_file(context, |pipeline| {
            let nodes = pipeline.nodes.values().map(|node| (node.span.start, node.name.as_str()));
            with_recipes(pipeline, nodes).into_iter().map(str::to_owned).collect()
        }),
        Candidates::Tags => in_file(context, tags),
        Candidates::Vars => in_file(context, |pipeline| pipeline.vars.keys().map(|name| format!("{name}=")).collect()),
        Candidates::Runs => runs(context, None, word),
        Candidates::Running => runs(context, Some(JobState::Running), word),
        Candidates::Logs => {
            let runs = runs(context, None, word).unwrap_or_default();
            Ok(runs.into_iter().chain(recipes(context)).collect())
        }
        Candidates::Steps => steps(context, word),
    };
    // A file that is half-written or not there is no news while one types.
    let lines: String = words.unwrap_or_default().iter().map(|word| format!("{word}\n")).collect();
    print(&lines)?;
    Ok(exit::OK)
}

fn in_file(context: &Context, words: impl Fn(&Pipeline) -> Vec<String>) -> Result<Vec<String>, Fail> {
    let path = find::find(context.file.as_deref(), &context.surroundings)?;
    Ok(words(&load::load(&path, &Given::default())?.pipeline))
}

/// The step that makes a node by another name, as far as the file can be read.
pub(super) fn maker(context: &Context, node: &str) -> Option<String> {
    let maker = |pipeline: &Pipeline| {
        let node = pipeline.nodes.values().find(|other| other.name == node)?;
        Some(pipeline.recipes[node.maker?].name.clone())
    };
    let made = in_file(context, |pipeline| maker(pipeline).into_iter().collect()).ok()?;
    made.into_iter().next().filter(|step| step != node)
}

/// The names of the steps of the file, as far as it can be read.
pub(super) fn recipes(context: &Context) -> Vec<String> {
    let names = |pipeline: &Pipeline| pipeline.recipes.values().map(|recipe| recipe.name.clone()).collect();
    in_file(context, names).unwrap_or_default()
}

/// Names of what can be built; paths, tags or names with all above them where the word has begun as one. Of a source, all below it.
fn targets(pipeline: &Pipeline, word: &str) -> Vec<String> {
    if word.starts_with("tag:") {
        return tags(pipeline).into_iter().map(|tag| format!("tag:{tag}")).collect();
    }
    if word.contains('/') {
        let made = pipeline.nodes.values().filter(|node| node.maker.is_some());
        return made.filter_map(|node| node.path.as_ref().map(ToString::to_string)).collect();
    }
    let made = pipeline.nodes.values().filter(|node| node.maker.is_some());
    let names = with_recipes(pipeline, made.map(|node| (node.span.start, node.name.as_str())));
    if word.starts_with('+') {
        return names.into_iter().map(|name| format!("+{name}")).collect();
    }
    let sources = pipeline.nodes.values().filter(|node| node.maker.is_none());
    let below = sources.map(|node| format!("{}+", node.name));
    names.into_iter().map(str::to_owned).chain(below).collect()
}

/// Names in the order of the file, with those of recipes: one with several outputs has a name of its own.
fn with_recipes<'a>(pipeline: &'a Pipeline, nodes: impl Iterator<Item = (usize, &'a str)>) -> Vec<&'a str> {
    let recipes = pipeline.recipes.values().map(|recipe| (recipe.span.start, recipe.name.as_str()));
    let names: BTreeSet<(usize, &str)> = nodes.chain(recipes).collect();
    names.into_iter().map(|(_, name)| name).collect()
}

fn tags(pipeline: &Pipeline) -> Vec<String> {
    let recipes = pipeline.recipes.values().flat_map(|recipe| &recipe.tags);
    let tags: BTreeSet<&String> = recipes.chain(pipeline.nodes.values().flat_map(|node| &node.tags)).collect();
    tags.into_iter().cloned().collect()
}

/// Ids of runs; where the word has begun with a digit, the moments in them, each a part that only one has.
fn runs(context: &Context, state: Option<JobState>, word: &str) -> Result<Vec<String>, Fail> {
    let rows = History::open(context)?.rows(&RunFilter { state, limit: Some(RUNS), ..RunFilter::default() })?;
    let last = std::iter::once("last".to_owned()).filter(|_| !rows.is_empty() || state.is_some());
    let moments = word.starts_with(|c: char| c.is_ascii_digit());
    let shown = |id: &str| if moments { id.rsplit('_').next().unwrap_or(id) } else { id }.to_owned();
    Ok(last.chain(rows.iter().map(|row| shown(row.id.as_str()))).collect())
}

/// So many runs are offered.
const RUNS: u32 = 20;

fn steps(context: &Context, run: &str) -> Result<Vec<String>, Fail> {
    let history = History::open(context)?;
    let (reader, row) = history.find(run)?;
    let events = reader.events(&row.id, 0).map_err(crate::session::unread)?;
    Ok(RunView::fold(&events).steps.into_iter().map(|step| step.plan.id).collect())
}
