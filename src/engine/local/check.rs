//! What is wrong with a pipeline on this machine, as far as it can be seen without running anything: for `kiln check`, and what would keep
//! steps from starting. Does not know which steps will be built.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use crate::base::span::{Problem, Problems};
use crate::engine::local::behind::{self, Read};
use crate::engine::local::observe::built_paths;
use crate::engine::local::undeclared::Undeclared;
use crate::engine::local::{Local, files, secrets, twins};
use crate::pipeline::paths::{is_glob, put_there};
use crate::pipeline::types::{Command, How, Kind, Node, Recipe};
use crate::program::{has_shell, locate};

/// Mistakes and warnings about a file on this machine. Runs nothing.
pub(crate) fn check(local: &Local) -> Problems {
    let mut problems = Vec::new();
    let built = built_paths(local);
    let has_bash = OnceCell::new();
    for node in local.pipeline.nodes.values().filter(|node| node.maker.is_none()) {
        problems.extend(source(local, node));
    }
    problems.extend(twins::check(&local.pipeline));
    problems.extend(local.places.look(local).misled());
    problems.extend(behind::check(local));
    let variables = secrets::variables(&local.pipeline);
    let undeclared = Undeclared::new(&local.pipeline, &local.root);
    let (mut workdirs, mut programs) = (HashSet::from([""]), HashSet::new());
    for (id, recipe) in local.pipeline.recipes.iter() {
        problems.extend(secrets::short(recipe, &local.environment));
        problems.extend(secrets::unreadable(recipe));
        problems.extend(secrets::shown(&variables, recipe));
        problems.extend(no_bash(local, recipe, &has_bash));
        let missing = no_program(local, recipe, true);
        problems.extend(missing.filter(|missing| programs.insert(missing.message.clone())).map(Problem::warn));
        if workdirs.insert(&recipe.how.workdir) {
            problems.extend(no_workdir(local, recipe));
        }
        let files = named(local, recipe, &built, &mut problems);
        problems.extend(behind::passed_over(local, recipe, &built, &files));
        problems.extend(undeclared.check(&local.pipeline, id, &files));
    }
    problems
}

/// What the `files` of a recipe name, with what is wrong with them.
fn named(local: &Local, recipe: &Recipe, built: &BTreeSet<&str>, problems: &mut Problems) -> Vec<String> {
    let mut files = Vec::new();
    for (pattern, span) in &recipe.files {
        let unreadable = |error| behind::unreadable(&local.pipeline, Read::Files(recipe, pattern), &error);
        let found = match files::resolve(&local.root, pattern, built) {
            Ok(found) => found,
            Err(error) => {
                problems.push(unreadable(error).for_step(span, &recipe.name).warn());
                continue;
            }
        };
        // Of what is named as it stands that was looked at.
        let by_glob = found.iter().filter(|path| *path != pattern);
        let mut misled = by_glob.filter_map(|path| local.digester.built.refuse_path(path).err());
        let misled = misled.find(|error| !behind::is_left_out(recipe, error));
        problems.extend(misled.map(|error| unreadable(error).at(span, "this glob")));
        if !found.iter().any(|path| local.root.join(path).exists()) {
            let problem = Problem::new("missing-file", format!("`{pattern}` of `files` is not there")).warn();
            problems.push(problem.at(span, "nothing found").help(no_file(local, pattern)));
        }
        files.extend(found);
    }
    files
}

/// A way out where nothing is at a path of `files`.
pub(super) fn no_file(local: &Local, path: &str) -> String {
    match local.places.near(&local.root, path).filter(|_| !is_glob(path)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "paths are relative to the root".to_owned(),
    }
}

fn source(local: &Local, node: &Node) -> Option<Problem> {
    match (&node.path, &node.digest) {
        (Some(path), _) if node.kind == Kind::Folder && local.root.join(path).is_file() => {
            let problem =
                Problem::new("not-a-folder", format!("source `{}` is a file, and no folder", node.name)).warn();
            let help = format!("name the folder that holds it, or say [dataset.{}]", node.name);
            Some(problem.at(&node.path_span, "there is a file").help(help))
        }
        (Some(path), _) if local.root.join(path).exists() => None,
        (Some(path), _) => {
            let problem = Problem::new("missing-source", format!("source `{}` is not there", node.name)).warn();
            let near = local.places.near(&local.root, path).map(|near| format!("did you mean `{near}`? Else "));
            let help = near.unwrap_or_default() + &put_there(path);
            Some(problem.at(&node.path_span, format!("there is nothing at {path}")).help(help))
        }
        (None, Some(_)) => None,
        (None, None) => {
            let problem =
                Problem::new("unseen-source", format!("changes of source `{}` cannot be seen", node.name)).warn();
            Some(
                problem
                    .at(&node.span, "it has neither a path nor a `digest`")
                    .help("give it a `digest` command that prints what stands for its content"),
            )
        }
    }
}

/// A recipe runs in a folder that is there by then. One warning is enough for all that run in it.
pub(super) fn no_workdir(local: &Local, recipe: &Recipe) -> Option<Problem> {
    let Local { pipeline, root, places, .. } = local;
    let workdir = Path::new(&recipe.how.workdir);
    // What others build makes the folders around it, and may hold more.
    let elsewhere = |node: &Node| node.maker.is_some_and(|id| pipeline.recipes[id].how.workdir != recipe.how.workdir);
    let made = |path: &str| workdir.starts_with(path) || Path::new(path).starts_with(workdir);
    let is_made = |node: &Node| node.path.as_deref().is_some_and(made) && elsewhere(node);
    let lacks = || !root.join(workdir).is_dir() && !pipeline.nodes.values().any(is_made);
    if !places.workdirs.once(&recipe.how.workdir, lacks) {
        return None;
    }
    let problem = Problem::new("missing-workdir", format!("the `workdir` of `{}` is not there", recipe.name)).warn();
    let label = format!("there is no folder {}", recipe.how.workdir);
    Some(problem.at(&recipe.how.workdir_span, label).help("make it, or name another one"))
}

/// A program that is not installed, where it is named without its folder: the shell that the file names, or the first word of a list. With
/// `anywhere` also a shell that is named by its path: what it leads to may be made by then. A warning where steps come before that may
/// install it.
pub(super) fn no_program(local: &Local, recipe: &Recipe, anywhere: bool) -> Option<Problem> {
    let How { shell, shell_span, default_shell, env, .. } = recipe.how.as_ref();
    let (name, span, is_shell) = match recipe.run.as_ref()? {
        Command::Shell(_) if *default_shell => return None,
        Command::Shell(_) => (shell.first()?.as_str(), shell_span, true),
        Command::Words(words) => (words.first()?.plain()?, &recipe.run_span, false),
    };
    let by_path = name.contains('/');
    if by_path && !(anywhere && is_shell) || env.contains_key("PATH") {
        return None;
    }
    let look =
        || locate(name, local.environment.get("PATH"), &local.root).err().filter(|_| by_path || !looks_inside(local));
    let why = local.places.programs.once(name, look)?;
    let (message, help) = match is_shell {
        true => (
            format!("`shell` names {name}, and there is no such program"),
            "install it, or name another one: shell = [\"sh\", \"-euc\"]",
        ),
        false => (why, "install it, or name it by its path"),
    };
    let problem = Problem::new("missing-program", message).for_step(span, &recipe.name).help(help);
    let installs = recipe.inputs.iter().any(|input| local.pipeline.nodes[*input].maker.is_some());
    Some(if installs { problem.warn() } else { problem })
}

/// Whether programs are looked for where steps may make them.
fn looks_inside(local: &Local) -> bool {
    let path = local.environment.get("PATH").cloned().unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.is_relative() || folder.starts_with(&local.root))
}

/// A script needs a shell; the default one may not be installed.
pub(super) fn no_bash(local: &Local, recipe: &Recipe, has_bash: &OnceCell<bool>) -> Option<Problem> {
    let shell = matches!(recipe.run, Some(Command::Shell(_)));
    if !recipe.how.default_shell || !shell {
        return None;
    }
    if *has_bash.get_or_init(|| has_shell(local.environment.get("PATH"), &local.root)) {
        return None;
    }
    let problem = Problem::new("no-bash", "bash is not installed, and there is no `shell =`");
    Some(
        problem
            .at(&recipe.run_span, "this is for the default shell")
            .help("install bash, or choose another shell:\n[defaults]\nshell = [\"sh\", \"-euc\"]"),
    )
}
