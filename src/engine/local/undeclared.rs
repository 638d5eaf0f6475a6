//! Paths that stand in a command although nothing says that it reads them: a change there is not seen, and what makes them may
//! run after it. Looks at names only; what a program opens by itself it does not know.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use crate::base::span::Problem;
use crate::base::text::few;
use crate::pipeline::paths::{ancestors, normal};
use crate::pipeline::shell::ShellReader;
use crate::pipeline::template::{Piece, Place, Template};
use crate::pipeline::types::{Command, Node, Pipeline, Rebuild, Recipe};

/// What ends a word that may be a path.
const ENDS: [char; 16] = ['\'', '"', '`', ';', '|', '&', '<', '>', '(', ')', '=', ',', ':', ' ', '\t', '\n'];
/// What makes of a word something that only the shell can tell.
const OPEN: [char; 10] = ['$', '*', '?', '[', ']', '{', '}', '~', '\\', '#'];

/// So many names are a few.
const FEW: usize = 5;

/// Looks for such paths.
pub(crate) struct Undeclared<'a> {
    root: &'a Path,
    nodes: HashMap<&'a str, &'a Node>,
}

impl<'a> Undeclared<'a> {
    pub(crate) fn new(pipeline: &'a Pipeline, root: &'a Path) -> Self {
        let nodes = pipeline.nodes.values().filter_map(|node| Some((node.path.as_deref()?, node)));
        Self { root, nodes: nodes.collect() }
    }

    /// Warnings about a recipe whose `files` are these.
    pub(crate) fn check(&self, pipeline: &Pipeline, recipe: &Recipe, files: &[String]) -> Vec<Problem> {
        let own = recipe.inputs.iter().chain(&recipe.outputs).filter_map(|id| pipeline.nodes[*id].path.as_deref());
        let declared: HashSet<&str> = own.chain(files.iter().map(String::as_str)).collect();
        let is_declared = |path: &str| ancestors(path).any(|path| declared.contains(path));
        let (mut inputs, mut others) = (BTreeSet::new(), BTreeSet::new());
        for path in paths(recipe).into_iter().filter(|path| !is_declared(path)) {
            // The node that lies there, or around it.
            let node = ancestors(&path).find_map(|path| self.nodes.get(path));
            match node {
                Some(node) => drop(inputs.insert(node.name.as_str())),
                None if self.root.join(&path).is_file() => drop(others.insert(path)),
                None => {}
            }
        }
        // What runs each time sees each change.
        if recipe.rebuild == Rebuild::Always {
            others.clear();
        }
        let problems = [undeclared_inputs(recipe, &inputs), undeclared_files(recipe, &others)];
        problems.into_iter().flatten().map(|problem| problem.at(&recipe.run_span, "here").warn()).collect()
    }
}

fn undeclared_inputs(recipe: &Recipe, names: &BTreeSet<&str>) -> Option<Problem> {
    let first = names.first()?;
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    let (paths, are) = if names.len() == 1 { ("path", "is") } else { ("paths", "are") };
    let message =
        format!("`{}` uses the {paths} of {}, which {are} not in its `inputs`", recipe.name, few(&quoted, FEW));
    let help = format!(
        "inputs are built before, and changes to them are seen: add \"{first}\" to `inputs`, and write {{{{ inputs.{first} }}}}"
    );
    Some(Problem::new("undeclared-input", message).help(help))
}

fn undeclared_files(recipe: &Recipe, paths: &BTreeSet<String>) -> Option<Problem> {
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    paths.first()?;
    let are = if paths.len() == 1 { "is" } else { "are" };
    let message = format!("`{}` uses {}, which {are} not in its `files`", recipe.name, few(&paths, FEW));
    let files = recipe.files.iter().map(|(file, _)| file.as_str()).chain(paths);
    let files: Vec<_> = files.map(|path| format!("{path:?}")).collect();
    let help = format!("changes to what is not in `files` are not seen: files = [{}]", files.join(", "));
    Some(Problem::new("undeclared-file", message).help(help))
}

/// The words of a command that may be paths, relative to the root.
fn paths(recipe: &Recipe) -> BTreeSet<String> {
    let Some(command) = &recipe.run else { return BTreeSet::new() };
    let shell = matches!(command, Command::Shell(_));
    let words = command.templates().iter().flat_map(|template| words(template, shell));
    let like_one = words.filter(|word| word.contains(['/', '.']) && !word.contains(OPEN) && !word.starts_with('/'));
    let from_root = like_one.map(|word| normal(format!("{}/{word}", recipe.how.workdir).trim_start_matches('/')));
    from_root.filter_map(|path| path.ok().filter(|path| !path.is_empty())).collect()
}

/// The words of a template outside of comments that are whole as they stand.
fn words(template: &Template, shell: bool) -> Vec<&str> {
    let (mut reader, mut found) = (ShellReader::default(), Vec::new());
    let last = template.pieces.len().saturating_sub(1);
    for (i, piece) in template.pieces.iter().enumerate() {
        let Piece::Text(slice) = piece else {
            reader.read("x");
            continue;
        };
        let text = template.slice(*slice);
        let mut at = 0;
        for word in text.split_inclusive(ENDS) {
            let bare = word.trim_end_matches(ENDS);
            // What a value stands beside is no path by itself.
            let whole = (i == 0 || at > 0) && (i == last || at + bare.len() < text.len());
            let comment = shell && reader.place() == Place::Comment;
            if whole && !comment && !bare.is_empty() {
                found.push(bare);
            }
            reader.read(word);
            at += word.len();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::template::parse;

    #[test]
    fn whole_words_of_a_command_are_found_and_no_others() {
        for (text, found) in [
            ("sh scripts/a.sh {{ inputs.x }} > {{ output }}", &["sh", "scripts/a.sh"][..]),
            ("cat '{{ inputs.x }}/a.csv' b.csv>{{ output }}", &["cat", "b.csv"]),
            ("python3 -c 'open(\"data/x.csv\")'", &["python3", "-c", "open", "data/x.csv"]),
            ("run --config=conf/a.yml,conf/b.yml", &["run", "--config", "conf/a.yml", "conf/b.yml"]),
            ("# see docs/a.md\nsh b.sh", &["sh", "b.sh"]),
            ("{{ vars.x }}.sh", &[]),
            ("a/{{ vars.x }}", &[]),
        ] {
            let (template, errors) = parse(text);
            assert_eq!(errors, [], "{text}");
            let words: Vec<_> = words(&template, true).into_iter().filter(|word| !word.starts_with('#')).collect();
            assert_eq!(words, found, "{text}");
        }
    }
}
