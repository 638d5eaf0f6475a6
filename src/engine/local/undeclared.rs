//! Paths that stand in a command although nothing says that it reads them: a change there is not seen, and what makes them may
//! run after it. Looks at names only; what a program opens by itself it does not know.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::base::id::RecipeId;
use crate::base::span::Problem;
use crate::base::text::few;
use crate::pipeline::overwrites;
use crate::pipeline::paths::{ancestors, normal};
use crate::pipeline::shell::ShellReader;
use crate::pipeline::template::{Piece, Place, Quotes, Template};
use crate::pipeline::types::{Command, Node, Pipeline, Rebuild, Recipe};

/// What ends a word that may be a path.
const ENDS: [char; 16] = ['\'', '"', '`', ';', '|', '&', '<', '>', '(', ')', '=', ',', ':', ' ', '\t', '\n'];
/// What makes of a word something that only the shell can tell.
const OPEN: [char; 10] = ['$', '*', '?', '[', ']', '{', '}', '~', '\\', '#'];

/// No path is longer, for any program: so what is may be data, and is often long.
const LONGEST: usize = 4096;

/// So many names are a few.
const FEW: usize = 5;

/// Looks for such paths.
pub(crate) struct Undeclared<'a> {
    root: &'a Path,
    real_root: PathBuf,
    nodes: HashMap<&'a str, &'a Node>,
}

impl<'a> Undeclared<'a> {
    pub(crate) fn new(pipeline: &'a Pipeline, root: &'a Path) -> Self {
        let nodes = pipeline.nodes.values().filter_map(|node| Some((node.path.as_deref()?, node)));
        let real_root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        Self { root, real_root, nodes: nodes.collect() }
    }

    /// A path that is there with all links followed, where that is in the root: it may be declared as that.
    fn real(&self, path: &str) -> Option<String> {
        let real = self.root.join(path).canonicalize().ok()?;
        real.strip_prefix(&self.real_root).ok()?.to_str().map(str::to_owned)
    }

    /// Warnings about a recipe whose `files` are these.
    pub(crate) fn check(&self, pipeline: &Pipeline, id: RecipeId, files: &[String]) -> Vec<Problem> {
        let recipe = &pipeline.recipes[id];
        let own = recipe.inputs.iter().chain(&recipe.outputs).filter_map(|id| pipeline.nodes[*id].path.as_deref());
        let declared: HashSet<&str> = own.chain(files.iter().map(String::as_str)).collect();
        let is_declared = |path: &str| ancestors(path).any(|path| declared.contains(path));
        let (mut inputs, mut others) = (BTreeSet::new(), BTreeSet::new());
        let undeclared = paths(pipeline, id).into_iter().filter(|path| !is_declared(path));
        for path in undeclared {
            let real = self.real(&path);
            if real.as_deref().is_some_and(is_declared) {
                continue;
            }
            // The node that lies there, or around it.
            let node = ancestors(real.as_deref().unwrap_or(&path)).find_map(|path| self.nodes.get(path));
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
fn paths(pipeline: &Pipeline, id: RecipeId) -> BTreeSet<String> {
    let recipe = &pipeline.recipes[id];
    let Some(command) = &recipe.run else { return BTreeSet::new() };
    let shell = matches!(command, Command::Shell(_));
    let written: HashSet<&str> = command.templates().iter().filter(|_| shell).flat_map(written).collect();
    let words = command.templates().iter().flat_map(|template| words(template, shell));
    let like_one = words.filter(|word| may_be_path(word) && !written.contains(word));
    let from_root = like_one.map(|word| normal(format!("{}/{word}", recipe.how.workdir).trim_start_matches('/')));
    let mut paths: BTreeSet<_> = from_root.filter_map(|path| path.ok().filter(|path| !path.is_empty())).collect();
    // That it writes there is told of its own.
    for target in overwrites::targets(pipeline, id) {
        paths.remove(&target.path);
    }
    paths
}

fn may_be_path(word: &str) -> bool {
    word.len() <= LONGEST && word.contains(['/', '.']) && !word.contains(OPEN) && !word.starts_with('/')
}

/// The words that a template writes to by itself: it reads them, if at all, as it wrote them.
fn written(template: &Template) -> Vec<&str> {
    let texts = template.pieces.iter().filter_map(|piece| match piece {
        Piece::Text(slice) => Some(template.slice(*slice)),
        _ => None,
    });
    let word = |text: &str| text.split(ENDS).next().map_or(0, str::len);
    let mut found = Vec::new();
    for text in texts {
        for (at, _) in text.match_indices('>') {
            let to = text[at + 1..].trim_start_matches(['>', '|', ' ', '\'', '"']);
            found.push(&to[..word(to)]);
        }
        for (at, _) in text.match_indices("tee ") {
            let to = text[at + 4..].split(['\n', ';', '|', '&', '>', '<', ')']).next().unwrap_or_default();
            let begins = text[..at].chars().next_back().is_none_or(|before| ENDS.contains(&before));
            found.extend(to.split([' ', '\'', '"']).filter(|word| begins && !word.starts_with('-')));
        }
    }
    found
}

/// The words of a template that are whole as they stand, but for those that nothing is read by.
fn words(template: &Template, shell: bool) -> Vec<&str> {
    let (mut reader, mut commands, mut found) = (ShellReader::default(), Commands::default(), Vec::new());
    let last = template.pieces.len().saturating_sub(1);
    for (i, piece) in template.pieces.iter().enumerate() {
        let Piece::Text(slice) = piece else {
            commands.is_said("", reader.place());
            reader.read("x");
            continue;
        };
        let text = template.slice(*slice);
        let mut at = 0;
        for word in text.split_inclusive(ENDS) {
            let bare = word.trim_end_matches(ENDS);
            // What a value stands beside is no path by itself.
            let whole = (i == 0 || at > 0) && (i == last || at + bare.len() < text.len());
            let is_said = !bare.is_empty() && commands.is_said(bare, reader.place()) && shell;
            if whole && !is_said && !bare.is_empty() {
                found.push(bare);
            }
            reader.read_begin(&text[at..], bare.len());
            let before = reader.place();
            reader.read_begin(&text[at + bare.len()..], word.len() - bare.len());
            commands.end(&word[bare.len()..], before, reader.place());
            at += word.len();
        }
    }
    found
}

/// Programs that read nothing of what their words name.
const SAY: [&str; 3] = ["echo", "printf", "rm"];
/// Programs to which a here-document is a text. To others it may be a program that reads.
const HAND_ON: [&str; 2] = ["cat", "tee"];
/// Words before which no program stands, and after which one does.
const BEFORE: [&str; 10] = ["do", "then", "else", "elif", "if", "while", "until", "!", "{", "time"];

/// Follows whose words the words of a shell text are.
#[derive(Default)]
struct Commands<'a> {
    now: Simple<'a>,
    /// Those in which it stands: `echo "$(cat a.csv)"`.
    outer: Vec<Simple<'a>>,
    /// Whether the here-document that is being read is no more than a text.
    text: bool,
}

/// A command as far as it was read.
#[derive(Default)]
struct Simple<'a> {
    program: Option<&'a str>,
    /// The word that was read last seems to be it.
    is_new: bool,
    /// The next word is the value of a variable.
    assigns: bool,
    /// The next word is where it reads from or writes to.
    redirected: bool,
}

impl<'a> Commands<'a> {
    /// Whether nothing is read by a word that stands at such a place.
    fn is_said(&mut self, word: &'a str, place: Place) -> bool {
        if is_document(place) {
            return self.text;
        }
        let redirected = std::mem::take(&mut self.now.redirected);
        match self.now.program {
            _ if place == Place::Comment => true,
            _ if redirected || self.now.assigns => false,
            Some(program) => SAY.contains(&program),
            None if BEFORE.contains(&word) => false,
            None => {
                (self.now.program, self.now.is_new) = (Some(if place == Place::Bare { word } else { "" }), true);
                false
            }
        }
    }

    /// What stands behind a word, and the places where that begins and ends.
    fn end(&mut self, end: &str, before: Place, after: Place) {
        let bare = before == Place::Bare;
        let is_new = std::mem::take(&mut self.now.is_new);
        match end {
            "\n" if is_document(before) && after != Place::Bare => {}
            "\n" if bare || is_document(before) || before == Place::Comment => {
                self.text = self.now.program.is_some_and(|program| HAND_ON.contains(&program));
                self.now = Simple::default();
            }
            "`" if before == after => {}
            "`" if after == Place::Quoted(Quotes::Other) => self.outer.push(std::mem::take(&mut self.now)),
            "`" => self.now = self.outer.pop().unwrap_or_default(),
            _ if !bare => {}
            "(" => self.outer.push(std::mem::take(&mut self.now)),
            ")" => self.now = self.outer.pop().unwrap_or_default(),
            ";" | "|" => self.now = Simple::default(),
            "&" if !self.now.redirected => self.now = Simple::default(),
            "<" | ">" => self.now.redirected = true,
            "=" if is_new => (self.now.program, self.now.assigns) = (None, true),
            " " | "\t" => self.now.assigns = false,
            _ => {}
        }
    }
}

/// Whether a place lies in a here-document, and outside of what a shell puts in there.
fn is_document(place: Place) -> bool {
    matches!(place, Place::Quoted(Quotes::Document | Quotes::Verbatim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::template::parse;

    #[test]
    fn what_is_long_is_no_path() {
        let words = ["a/".repeat(2000), "a/".repeat(3000), "a".to_owned(), "/a.x".to_owned(), "a.x".to_owned()];
        assert_eq!(words.map(|word| may_be_path(&word)), [true, false, false, false, true]);
    }

    #[test]
    fn what_a_command_writes_to_is_known() {
        for (text, found) in [
            ("sort a.txt >b.txt 2> err.log; cat b.txt", &["b.txt", "err.log"][..]),
            ("date >>'run.log' >| x.txt", &["run.log", "x.txt"]),
            ("sort a.txt | tee -a all.log \"b.log\" | wc -l; committee a.txt", &["all.log", "b.log"]),
        ] {
            let (template, _) = parse(text);
            let words: BTreeSet<_> = written(&template).into_iter().filter(|word| !word.is_empty()).collect();
            assert_eq!(words, found.iter().copied().collect(), "{text}");
        }
    }

    #[test]
    fn whole_words_of_a_command_are_found_and_no_others() {
        for (text, found) in [
            ("sh scripts/a.sh {{ inputs.x }} > {{ output }}", &["sh", "scripts/a.sh"][..]),
            ("cat '{{ inputs.x }}/a.csv' b.csv>{{ output }}", &["cat", "b.csv"]),
            ("python3 -c 'open(\"data/x.csv\")'", &["python3", "-c", "open", "data/x.csv"]),
            ("run --config=conf/a.yml,conf/b.yml", &["run", "--config", "conf/a.yml", "conf/b.yml"]),
            ("# see docs/a.md\nsh b.sh", &["sh", "b.sh"]),
            ("{{ vars.x }}.sh", &[]),
            ("echo see a.md >b.md <c.md; cat d.md", &["echo", "b.md", "c.md", "cat", "d.md"]),
            (
                "if ! x a.md; then printf '%s (b.md)' \"c.md $(cat d.md) e.md\" 2>&1 f.md; fi g.md",
                &["if", "!", "x", "a.md", "then", "printf", "cat", "d.md", "1", "fi", "g.md"],
            ),
            ("rm -f a.md && rm b.md || sh c.sh\nX=d.md rm e.md", &["rm", "rm", "sh", "c.sh", "X", "d.md", "rm"]),
            ("echo `cat a.md` b.md", &["echo", "cat", "a.md"]),
            (
                "cat <<EOF >a.md\nb.md $(sh c.sh)\n(d.md) \\`\nEOF\nsh e.sh",
                &["cat", "EOF", "a.md", "sh", "c.sh", "sh", "e.sh"],
            ),
            ("cat <<'E' | sh\nsh a.sh\nE\nsh b.sh", &["cat", "E", "sh", "sh", "a.sh", "E", "sh", "b.sh"]),
            ("python3 - <<E\nopen('a.csv')\nE", &["python3", "-", "E", "open", "a.csv", "E"]),
            ("{{ inputs.x }} rm a.md; echo {{ inputs.x }} b.md", &["rm", "a.md", "echo"]),
            ("a/{{ vars.x }}", &[]),
        ] {
            let (template, errors) = parse(text);
            assert_eq!(errors, [], "{text}");
            let words: Vec<_> = words(&template, true).into_iter().filter(|word| !word.starts_with('#')).collect();
            assert_eq!(words, found, "{text}");
        }
    }
}
