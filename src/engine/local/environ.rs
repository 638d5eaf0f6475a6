//! What a recipe is given on this machine: its command line and its environment. Starts nothing.

use crate::base::id::{NodeId, RecipeId};
use crate::base::span::{Problem, Problems};
use crate::engine::api::{Attempt, Environment};
use crate::engine::local::child::Start;
use crate::engine::local::secrets;
use crate::pipeline::raw::EnvValue;
use crate::pipeline::refs::values;
use crate::pipeline::template::Template;
use crate::pipeline::types::{Command, Pipeline, Recipe};
use crate::program;

/// What every recipe is given of Kiln's own environment.
const HANDED_ON: [&str; 4] = ["PATH", "HOME", "USER", "TMPDIR"];

/// The program of a recipe and its arguments, with paths from `path`.
pub(crate) fn command_line(pipeline: &Pipeline, id: RecipeId, path: &impl Fn(NodeId) -> Option<String>) -> Vec<String> {
    words(pipeline, id, pipeline.recipes[id].run.as_ref(), path)
}

/// What is to be said of a command that did not start for want of the shell that the file names.
pub(crate) fn no_shell(recipe: &Recipe, start: &Start) -> Option<String> {
    let (Some(Command::Shell(_)), Some(shell)) = (&recipe.run, recipe.how.shell.first()) else { return None };
    let named = !recipe.how.default_shell && start.workdir.is_dir();
    let gone = named && program::locate(shell, start.env.get("PATH"), &start.workdir).is_err();
    gone.then(|| format!("`shell` names {shell}, and there is no such program"))
}

/// What is run besides when a recipe is stopped.
pub(crate) fn on_stop(
    pipeline: &Pipeline,
    id: RecipeId,
    path: &impl Fn(NodeId) -> Option<String>,
) -> Option<Vec<String>> {
    let command = pipeline.recipes[id].how.on_stop.as_ref()?;
    Some(words(pipeline, id, Some(command), path))
}

fn words(
    pipeline: &Pipeline,
    id: RecipeId,
    command: Option<&Command>,
    path: &impl Fn(NodeId) -> Option<String>,
) -> Vec<String> {
    let recipe = &pipeline.recipes[id];
    let value = |name: &str| values(pipeline, id, name, path);
    match command {
        Some(Command::Shell(template)) => {
            let script = template.for_shell(&value);
            recipe.how.shell.iter().cloned().chain([script]).collect()
        }
        Some(Command::Words(words)) => words.iter().flat_map(|word: &Template| word.for_words(&value)).collect(),
        None => Vec::new(),
    }
}

/// The command of a recipe for people: relative paths, and no shell before a script. What is staged stands as `…/name`:
/// whoever gives the command again by hand does not write over what is there.
pub(crate) fn describe(pipeline: &Pipeline, id: RecipeId) -> String {
    let recipe = &pipeline.recipes[id];
    let path = |node| {
        let path: &String = pipeline.nodes[node].path.as_ref()?;
        let staged = !recipe.how.in_place && recipe.outputs.contains(&node);
        Some(if staged { format!("…/{}", path.rsplit('/').next().unwrap_or(path)) } else { path.clone() })
    };
    let words = command_line(pipeline, id, &path);
    match pipeline.recipes[id].run {
        Some(Command::Shell(_)) => words.last().cloned().unwrap_or_default().trim().to_owned(),
        Some(Command::Words(_)) | None => crate::pipeline::template::command_line(&words),
    }
}

/// The values of the `env` of a recipe.
pub(crate) fn env(recipe: &Recipe, own: &Environment) -> Result<Vec<(String, String)>, Problem> {
    let (values, wrong) = known_env(recipe, own);
    wrong.into_iter().next().map_or(Ok(values), Err)
}

/// The values of the `env` of a recipe that are known, and which variables are not set, or no text.
pub(crate) fn known_env(recipe: &Recipe, own: &Environment) -> (Vec<(String, String)>, Problems) {
    let (mut values, mut wrong) = (Vec::with_capacity(recipe.how.env.len()), Vec::new());
    for (name, value) in &recipe.how.env {
        match value {
            EnvValue::Text(text) => values.push((name.clone(), text.clone())),
            EnvValue::From(from) => match own.get(from) {
                // Keys are made of text.
                Some(value) => match value.to_str() {
                    Some(text) => values.push((name.clone(), text.to_owned())),
                    None => wrong.push(not_text(recipe, name, from)),
                },
                None => wrong.push(secrets::unset(recipe, &recipe.span, &format!("`env.{name}` takes"), from)),
            },
        }
    }
    (values, wrong)
}

/// That the value of a variable is none that could be compared.
fn not_text(recipe: &Recipe, name: &str, variable: &str) -> Problem {
    let message = format!("`env.{name}` takes the variable {variable}, whose value is not UTF-8");
    Problem::new("variable-not-utf8", message).for_step(&recipe.span, &recipe.name).help(format!(
        "take it out of `env`: `pass = [\"{variable}\"]` hands it on as it is, and it counts for nothing"
    ))
}

/// What every recipe is given, and `env`.
pub(crate) fn base(env: &[(String, String)], own: &Environment) -> Environment {
    let mut all = Environment::new();
    for name in HANDED_ON {
        if let Some(value) = own.get(name) {
            all.insert(name.to_owned(), value.clone());
        }
    }
    all.insert("LC_ALL".to_owned(), "C.UTF-8".into());
    all.insert("TZ".to_owned(), "UTC".into());
    all.extend(env.iter().map(|(name, value)| (name.clone(), value.into())));
    all
}

/// The environment of commands that look at what a recipe makes or reads: that of the recipe, less the paths.
pub(crate) fn looking(recipe: &Recipe, own: &Environment) -> Result<Environment, Problem> {
    if let Some(problem) = secrets::missing(recipe, own).into_iter().next() {
        return Err(problem);
    }
    let mut all = base(&env(recipe, own)?, own);
    pass(&mut all, recipe, own);
    secrets::add(&mut all, recipe, own)
        .map_err(|message| Problem::new("missing-secret", message).for_step(&recipe.span, &recipe.name))?;
    Ok(all)
}

/// Adds the variables that `pass` names. What `env` says goes before.
pub(crate) fn pass(all: &mut Environment, recipe: &Recipe, own: &Environment) {
    for pattern in &recipe.how.pass {
        for (name, value) in own.iter().filter(|(name, _)| matches(pattern, name)) {
            if !recipe.how.env.contains_key(name) {
                all.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for any letters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    while let Some((middle, after)) = rest.split_once('*') {
        let Some(at) = name.find(middle) else { return false };
        name = &name[at + middle.len()..];
        rest = after;
    }
    name.ends_with(rest)
}

/// The variables that mark the processes of an attempt.
pub(crate) const MARKS: [&str; 3] = ["KILN_JOB", "KILN_STEP", "KILN_ATTEMPT"];

/// Adds what marks the processes of an attempt.
pub(crate) fn marks(all: &mut Environment, attempt: &Attempt, step: &str) {
    let values = [attempt.job.as_str(), step, &attempt.number.to_string()];
    all.extend(MARKS.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.into())));
}

/// What stands before the name of an output in the variable that holds its path.
pub(crate) const OUTPUT: &str = "KILN_OUTPUT_";
/// As for [`OUTPUT`], of an input.
const INPUT: &str = "KILN_INPUT_";
/// The variable that holds the path of an output that is the only one.
pub(crate) const ONLY_OUTPUT: &str = "KILN_OUTPUT";

/// The variable that holds the path of a node.
pub(crate) fn variable(prefix: &str, node: &str) -> String {
    format!("{prefix}{}", node.to_uppercase())
}

/// Adds the paths of inputs and outputs.
pub(crate) fn paths(
    all: &mut Environment,
    pipeline: &Pipeline,
    recipe: &Recipe,
    path: &impl Fn(NodeId) -> Option<String>,
) {
    for (prefix, ids) in [(INPUT, &recipe.inputs), (OUTPUT, &recipe.outputs)] {
        for id in ids {
            if let Some(path) = path(*id) {
                all.insert(variable(prefix, &pipeline.nodes[*id].name), path.into());
            }
        }
    }
    if let [only] = recipe.outputs.as_slice()
        && let Some(path) = path(*only)
    {
        all.insert(ONLY_OUTPUT.to_owned(), path.into());
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_letters() {
        for (pattern, name, want) in [
            ("AWS_*", "AWS_REGION", true),
            ("AWS_*", "AWS", false),
            ("*_PROXY", "HTTPS_PROXY", true),
            ("A*B*C", "AxxBxxC", true),
            ("A*B*C", "AxxCxxB", false),
            ("HOME", "HOMES", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }
}
