//! Commands that write to the path of a node by themselves: what was built there is lost, and where it is the command's own it is
//! not what Kiln looks for. Knows the redirections of shells and some programs, and not what others do.

use std::collections::HashMap;

use toml::de::DeTable;

use crate::base::id::{NodeId, RecipeId};
use crate::base::span::{Problem, Problems, Span};
use crate::pipeline::lexer::{Simple, Value, Word, commands, word};
use crate::pipeline::locate::locate;
use crate::pipeline::paths::{ancestors, normal};
use crate::pipeline::refs::{Reference, values};
use crate::pipeline::shell::lacks_command;
use crate::pipeline::types::{Command, Pipeline, Recipe};

/// What a command writes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The number of the template in which it is named.
    template: usize,
    /// Where in that.
    span: Span,
    /// The path, relative to the root.
    pub(crate) path: String,
}

/// A warning for each path of a node that a recipe writes to and is not to. `text` is that of the file.
pub(crate) fn check(pipeline: &Pipeline, text: &str) -> Problems {
    let nodes = pipeline.nodes.iter().filter_map(|(id, node)| Some((node.path.as_deref()?, id)));
    let nodes: HashMap<&str, NodeId> = nodes.collect();
    let mut problems = Vec::new();
    for (id, recipe) in pipeline.recipes.iter() {
        let mut told: Vec<NodeId> = Vec::new();
        for target in targets(pipeline, id) {
            let Some(node) = ancestors(&target.path).find_map(|path| nodes.get(path)).copied() else { continue };
            if recipe.how.in_place && recipe.outputs.contains(&node) || told.contains(&node) {
                continue;
            }
            told.push(node);
            let span = place(recipe, target.template, &target.span, text);
            problems.push(problem(pipeline, recipe, node, &target.path).at(&span, "this path").warn());
        }
    }
    problems
}

fn problem(pipeline: &Pipeline, recipe: &Recipe, id: NodeId, path: &str) -> Problem {
    let (node, name) = (&pipeline.nodes[id], &recipe.name);
    let (message, help) = match node.maker {
        _ if recipe.outputs.contains(&id) => {
            let output = if recipe.outputs.len() == 1 { "output".to_owned() } else { format!("outputs.{}", node.name) };
            (
                format!("`{name}` writes to {path}, where its last good output stands"),
                format!(
                    "write to {{{{ {output} }}}}: it is put there when the recipe has succeeded; or say `in_place = true`"
                ),
            )
        }
        Some(maker) => (
            format!("`{name}` writes to {path}, which `{}` makes", pipeline.recipes[maker].name),
            format!("only one step can make `{}`: write to a path of your own", node.name),
        ),
        None => (
            format!("`{name}` writes to {path}, the path of source `{}`", node.name),
            format!(
                "what a step makes is its output: name `{}` as one of `{name}`, or write to a path of your own",
                node.name
            ),
        ),
    };
    Problem::new("undeclared-output", message).help(help)
}

/// Where a part of a template of the command of a recipe stands in the file.
pub(crate) fn place(recipe: &Recipe, template: usize, inner: &Span, text: &str) -> Span {
    template_place(recipe, template, text).map_or_else(|| recipe.run_span.clone(), |outer| locate(text, &outer, inner))
}

/// Where a template of the command of a recipe stands in the file.
fn template_place(recipe: &Recipe, template: usize, text: &str) -> Option<Span> {
    let outer = recipe.run_span.clone();
    if matches!(recipe.run, Some(Command::Shell(_))) {
        return Some(outer);
    }
    const KEY: &str = "x=";
    let line = format!("{KEY}{}", text.get(outer.clone())?);
    let (document, _) = DeTable::parse_recoverable(&line);
    let word = document.get_ref().get("x")?.get_ref().as_array()?.get(template)?.span();
    Some(outer.start + word.start - KEY.len()..outer.start + word.end - KEY.len())
}

/// What the command of a recipe writes to, as far as it tells.
pub(crate) fn targets(pipeline: &Pipeline, id: RecipeId) -> Vec<Target> {
    let recipe = &pipeline.recipes[id];
    let path = |node: NodeId| pipeline.nodes[node].path.clone();
    let value = |name: &str| -> Value {
        let of_root = match Reference::of(name)? {
            Reference::Output | Reference::OutputOf(_) => return None,
            Reference::Inputs | Reference::Input(_) => true,
            Reference::Var(_) | Reference::PipelineName | Reference::Project => false,
        };
        let [value] = values(pipeline, id, name, &path).try_into().ok()?;
        Some((value, of_root))
    };
    let (mut found, workdir) = (Vec::new(), recipe.how.workdir.as_str());
    match &recipe.run {
        None => {}
        Some(Command::Shell(template)) => {
            let all = commands(template, &value);
            all.iter().for_each(|simple| found.extend(written(simple, workdir, |word| (0, word.span.clone()))));
        }
        Some(Command::Words(words)) => {
            let read: Vec<_> = words.iter().map(|template| word(template, &value)).collect();
            let texts: Vec<_> = read.iter().map(|word| word.text.as_str()).collect();
            // A shell, its options with `-c`, and a text.
            match texts.iter().position(|word| word.starts_with('-') && word.contains('c')) {
                Some(at) if lacks_command(&texts[..1]) && !lacks_command(&texts[..=at]) && at + 1 < words.len() => {
                    let all = commands(&words[at + 1], &value);
                    let place = |word: &Word| (at + 1, word.span.clone());
                    all.iter().for_each(|simple| found.extend(written(simple, workdir, place)));
                }
                _ => {
                    // The word that a path stands in is known by its place among them.
                    let numbered = read.iter().enumerate().map(|(i, word)| Word { span: i..i, ..word.clone() });
                    let simple = Simple { words: numbered.collect(), ..Simple::default() };
                    let place = |word: &Word| (word.span.start, 0..words[word.span.start].text.len());
                    found.extend(written(&simple, workdir, place));
                }
            }
        }
    }
    found
}

/// What one command writes to.
fn written(simple: &Simple, workdir: &str, place: impl Fn(&Word) -> (usize, Span)) -> Vec<Target> {
    let tested = simple.words.first().is_some_and(|word| word.text == "[[");
    let to = simple.to.iter().filter(|_| !tested).cloned();
    let words = to.chain(by_program(&simple.words)).filter(|word| !word.open && !word.text.is_empty());
    let mut folder = Some(workdir.to_owned());
    for gone in &simple.gone_to {
        folder = folder.filter(|_| !gone.open).and_then(|folder| {
            if gone.from_root { Some(gone.text.clone()) } else { normal(&below(&folder, &gone.text)).ok() }
        });
    }
    let path = |word: &Word| {
        let path = if word.from_root { word.text.clone() } else { below(folder.as_deref()?, &word.text) };
        normal(&path).ok().filter(|path| !path.is_empty())
    };
    let target = |word: Word| {
        let (template, span) = place(&word);
        Some(Target { template, span, path: path(&word)? })
    };
    words.filter_map(target).collect()
}

/// A path as it is written in a folder.
fn below(folder: &str, path: &str) -> String {
    if folder.is_empty() || path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") }
}

/// Words before which no program stands, and after which one does.
const BEFORE: [&str; 16] = [
    "do", "then", "else", "elif", "if", "while", "until", "!", "{", "time", "exec", "command", "nohup", "env", "sudo",
    "builtin",
];

/// What the program of a command writes to, of those that are known.
fn by_program(words: &[Word]) -> Vec<Word> {
    let assigns = |word: &Word| word.text.split_once('=').is_some_and(|(name, _)| crate::base::text::is_name(name));
    let mut rest = words.iter().skip_while(|word| BEFORE.contains(&word.text.as_str()) || assigns(word));
    let Some(program) = rest.next() else { return Vec::new() };
    let args: Vec<&Word> = rest.collect();
    let found = match program.text.rsplit('/').next().unwrap_or_default() {
        "tee" => plain(&args),
        "touch" | "truncate" => plain(&without_values(&args, &["-r", "-s", "-d", "-t", "--reference", "--size"])),
        "cp" | "mv" | "install" | "ln" | "rsync" => return last(&args),
        "sort" | "curl" => by_option(&args, 'o'),
        "wget" => by_option(&args, 'O'),
        "cc" | "gcc" | "g++" | "clang" | "clang++" | "ld" | "go" | "rustc" | "pandoc" => behind(&args, "-o"),
        "dd" => args.iter().filter_map(|word| after(word, "of=")).collect(),
        "sed" | "perl" if args.iter().any(|word| edits(&word.text)) => plain(&args),
        "tar" => match args.as_slice() {
            [mode, file, ..] if !mode.text.starts_with("--") && mode.text.contains('c') && mode.text.ends_with('f') => {
                vec![(*file).clone()]
            }
            _ => Vec::new(),
        },
        "zip" => plain(&args).into_iter().take(1).collect(),
        _ => Vec::new(),
    };
    let long = ["--output", "--output-document"].into_iter().flat_map(|option| {
        let with = format!("{option}=");
        args.iter().filter_map(|word| after(word, &with)).chain(behind(&args, option)).collect::<Vec<_>>()
    });
    found.into_iter().chain(long).collect()
}

/// The words that are no options.
fn plain(args: &[&Word]) -> Vec<Word> {
    args.iter().filter(|word| !word.text.starts_with('-')).map(|word| (*word).clone()).collect()
}

/// The words but for what stands behind these options.
fn without_values<'a>(args: &[&'a Word], options: &[&str]) -> Vec<&'a Word> {
    let is_value = |i: usize| i.checked_sub(1).is_some_and(|i| options.contains(&args[i].text.as_str()));
    (0..args.len()).filter(|i| !is_value(*i)).map(|i| args[i]).collect()
}

/// A word behind the text that it begins with.
fn after(word: &Word, begin: &str) -> Option<Word> {
    Some(Word { text: word.text.strip_prefix(begin)?.to_owned(), ..word.clone() })
}

/// What stands behind an option.
fn behind(args: &[&Word], option: &str) -> Vec<Word> {
    args.windows(2).filter(|pair| pair[0].text == option).map(|pair| pair[1].clone()).collect()
}

/// What stands behind an option of one letter, as in `-o a`, `-oa` and `-uo a`.
fn by_option(args: &[&Word], letter: char) -> Vec<Word> {
    let ends = |word: &Word| word.text.starts_with('-') && !word.text.starts_with("--") && word.text.ends_with(letter);
    let apart = args.windows(2).filter(|pair| ends(pair[0])).map(|pair| pair[1].clone());
    apart.chain(args.iter().filter_map(|word| after(word, &format!("-{letter}")))).collect()
}

/// The last word, or what comes to lie in the folder that it names, or that `-t` does.
fn last(args: &[&Word]) -> Vec<Word> {
    let names = |into: &Word, from: &[Word]| {
        let name = |word: &Word| word.text.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        let folder = into.text.trim_end_matches('/');
        let inside = |word: &Word| Word {
            text: format!("{folder}/{}", name(word)),
            open: into.open || word.open,
            ..into.clone()
        };
        from.iter().map(inside).collect()
    };
    let into = args.iter().find_map(|word| after(word, "--target-directory="));
    if let Some(into) = into.or_else(|| behind(args, "-t").pop()) {
        return names(&into, &plain(&without_values(args, &["-t"])));
    }
    match plain(args).split_last() {
        Some((into, from)) if !from.is_empty() && into.text.ends_with('/') => names(into, from),
        Some((into, from)) if !from.is_empty() => vec![into.clone()],
        _ => Vec::new(),
    }
}

/// Whether an option of sed or perl says that files are changed where they are.
fn edits(option: &str) -> bool {
    let letters = option.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
    let mut letters = letters.unwrap_or_default().chars().take_while(|c| "inEprszuwal0".contains(*c));
    letters.any(|c| c == 'i') || option.starts_with("--in-place")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::template::parse;

    /// What a text for a shell writes to.
    fn told(text: &str) -> Vec<String> {
        let (template, errors) = parse(text);
        assert_eq!(errors, [], "{text}");
        let value = |name: &str| match name {
            "inputs.a" => Some(("build/a.csv".to_owned(), true)),
            "vars.x" => Some(("x".to_owned(), false)),
            _ => None,
        };
        let all = commands(&template, &value);
        let found = all.iter().flat_map(|simple| written(simple, "w", |word| (0, word.span.clone())));
        found.map(|target| target.path).collect()
    }

    #[test]
    fn what_commands_write_to_is_found() {
        for (text, want) in [
            ("sort a >b; sort a >>../b 2>err", &["w/b", "b", "w/err"][..]),
            ("sort {{ inputs.a }} -o {{ inputs.a }}", &["build/a.csv"]),
            ("sort -uo b a; LC_ALL=C sort -ob a; sort --output=b a; sort --output b a", &["w/b", "w/b", "w/b", "w/b"]),
            ("x | sudo tee -a b 'c d' >/dev/null", &["w/b", "w/c d"]),
            ("if cp -f a b; then mv a c/d ./e/; fi", &["w/b", "w/e/a", "w/e/d"]),
            ("cp -t b c/a; cp a --target-directory=b; install -m 644 a b", &["w/b/a", "w/b/a", "w/b"]),
            ("curl -fsSo b u; wget -q -O b u; cc -flto a.c -o b; dd if=a of=b", &["w/b", "w/b", "w/b", "w/b"]),
            ("sed -i.bak s/a/b/ c; sed -Ei s/a/b/ {{ inputs.a }}", &["w/s/a/b", "w/c", "w/s/a/b", "build/a.csv"]),
            ("touch b; truncate -s 0 b; touch -r a b", &["w/b", "w/b", "w/b"]),
            ("tar -czf b a; tar cf b a; zip -r b a", &["w/b", "w/b", "w/b"]),
            ("cd b && x >c; cd ../..; y >d; cd $e; z >f", &["w/b/c", "d"]),
            ("x >{{ vars.x }}.csv; y >{{ inputs.a }}.bak", &["w/x.csv", "build/a.csv.bak"]),
            ("x >|b; y &>c", &["w/b", "w/c"]),
        ] {
            assert_eq!(told(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_only_read_or_said_is_not() {
        for text in [
            "sort b >{{ output }}; cat <b 2>&1 >&2",
            "cp a \"$KILN_OUTPUT\"; cp a {{ output }}/; cp a",
            "test -f b && [ -s b ] && diff b a; [[ a > b ]]; (( a > b ))",
            "echo 'x >b' \"y >b\"; awk '{ print > 2 }' b # >b",
            "cat <<E\nx >b\nE\ngrep -o x b; sed s/x/y/ b; perl -Mstrict -e 1 b; tar xf b; sort -k1 b",
            "x >$b >b* >{a,b} >~/b",
            "sort a | tee >(wc -l) | cat",
        ] {
            assert_eq!(told(text), [] as [&str; 0], "{text}");
        }
    }
}
