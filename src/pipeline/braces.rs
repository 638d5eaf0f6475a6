//! `{output}` in a command, as Snakemake fills it in: to a shell that is a word like any other, and what is made is a file of that
//! name. Says what was meant. Does not know what is on the disk.

use crate::base::span::{Problem, Problems, Span};
use crate::base::text::few;
use crate::pipeline::overwrites::place;
use crate::pipeline::raw::EnvValue;
use crate::pipeline::shell::ShellReader;
use crate::pipeline::template::{Piece, Place, Quotes, Template, filled};
use crate::pipeline::types::{Command, Pipeline, Recipe};

/// What Kiln fills in, with a name behind it.
const OWN: [&str; 3] = ["inputs", "outputs", "vars"];
/// So many words are told.
const FEW: usize = 5;

/// What Snakemake fills in.
const WORDS: [&str; 7] = ["input", "output", "params", "wildcards", "threads", "resources", "log"];

/// Where something is filled in.
const ONLY: &str = "Kiln fills in `run` and `on_stop`, and nothing else";

/// A warning for each recipe with such words. `text` is that of the file.
pub(crate) fn check(pipeline: &Pipeline, text: &str) -> Problems {
    pipeline.recipes.values().filter_map(|recipe| of_recipe(pipeline, recipe, text)).collect()
}

fn of_recipe(pipeline: &Pipeline, recipe: &Recipe, text: &str) -> Option<Problem> {
    let command = recipe.run.as_ref()?;
    let shell = matches!(command, Command::Shell(_));
    let mut found = Vec::new();
    for (i, template) in command.templates().iter().enumerate() {
        found.extend(words(template, shell).into_iter().map(|(at, word)| (i, at, word)));
    }
    let mut told: Vec<String> = Vec::new();
    for (.., word) in &found {
        let word = format!("`{{{word}}}`");
        if !told.contains(&word) {
            told.push(word);
        }
    }
    let (_, _, first) = found.first()?;
    let (are, them) = if told.len() == 1 { ("is", "it as it stands") } else { ("are", "them as they stand") };
    let message = format!("{} of `{}` {are} not filled in: Kiln takes {them}", few(&told, FEW), recipe.name);
    let mut problem = Problem::new("single-braces", message).warn();
    for (i, at, word) in &found {
        let place = place(recipe, *i, at, text);
        let write = meant(pipeline, recipe, word).map(|meant| format!("write `{{{{ {meant} }}}}`"));
        problem = problem.at(&place, write.filter(|_| told.len() > 1).unwrap_or_else(|| "here".to_owned()));
    }
    Some(match meant(pipeline, recipe, first).filter(|_| told.len() == 1) {
        Some(meant) => problem.help(format!("write `{{{{ {meant} }}}}`")),
        None => problem.help("what Kiln fills in stands between `{{` and `}}`: inputs, outputs and variables"),
    })
}

/// A warning for each text that holds what is filled in in commands only.
pub(crate) fn unfilled(pipeline: &Pipeline) -> Problems {
    let mut problems = Problems::new();
    let mut warn = |key: String, text: &str, span: &Span, name: &str| {
        if let Some(braces) = filled(text) {
            let message = format!("`{key}` has `{braces}`, which is not filled in there");
            problems.push(Problem::new("not-filled-in", message).for_step(span, name).help(ONLY).warn());
        }
    };
    for node in pipeline.nodes.values() {
        warn("digest".to_owned(), node.digest.as_deref().unwrap_or_default(), &node.span, &node.name);
    }
    for recipe in pipeline.recipes.values() {
        for (name, tool) in &recipe.how.tools {
            warn(format!("tools.{name}"), &tool.command, &tool.span, &recipe.name);
        }
        for (name, value) in &recipe.how.env {
            if let EnvValue::Text(value) = value {
                warn(format!("env.{name}"), value, &recipe.span, &recipe.name);
            }
        }
    }
    problems
}

/// What the word is called here.
fn meant(pipeline: &Pipeline, recipe: &Recipe, word: &str) -> Option<String> {
    let (word, rest) = word.split_at(word.find(['.', '[']).unwrap_or(word.len()));
    let name = rest.strip_prefix('.');
    let of = |key: &str, nodes: &[_]| {
        let names: Vec<&str> = nodes.iter().map(|node| pipeline.nodes[*node].name.as_str()).collect();
        let found = name.filter(|name| names.contains(name)).or_else(|| names.first().copied())?;
        Some(format!("{key}.{found}"))
    };
    match word {
        "inputs" => of("inputs", &recipe.inputs),
        "outputs" => of("outputs", &recipe.outputs),
        "vars" => name.map(|name| format!("vars.{name}")),
        "input" => of("inputs", &recipe.inputs),
        "output" if recipe.outputs.len() == 1 => Some("output".to_owned()),
        "output" => of("outputs", &recipe.outputs),
        "params" | "wildcards" => name.map(|name| format!("vars.{name}")),
        _ => None,
    }
}

/// Such words of a template, without their braces, and where they stand with them. In other quotes than `"{output}"` it may be meant for another
/// program, as in Python's `f"{output}"`.
fn words(template: &Template, shell: bool) -> Vec<(Span, &str)> {
    let (mut reader, mut found) = (ShellReader::default(), Vec::new());
    for piece in &template.pieces {
        let Piece::Text(slice) = piece else {
            reader.read("x");
            continue;
        };
        let (text, before) = (template.slice(*slice), &template.text[..slice.span().start]);
        // What is written as `{{ '{output}' }}` is meant so.
        let meant = before.trim_end_matches(['\'', '"']).trim_end().ends_with("{{");
        let mut read = 0;
        for (at, _) in text.match_indices('{').filter(|_| !meant) {
            reader.read(&text[read..at]);
            read = at;
            let Some(word) = word(&text[at + 1..]) else { continue };
            let (before, after) = (&text[..at], &text[at + word.len() + 2..]);
            let fits = if shell {
                let quoted = before.ends_with('"') && after.starts_with('"');
                !before.ends_with(['$', '{'])
                    && match reader.place() {
                        Place::Bare => true,
                        Place::Quoted(Quotes::Double) => quoted,
                        Place::Quoted(_) | Place::Comment => false,
                    }
            } else {
                (before.is_empty() || before.ends_with('=')) && after.is_empty()
            };
            if fits {
                let start = slice.span().start + at;
                found.push((start..start + word.len() + 2, word));
            }
        }
        reader.read(&text[read..]);
    }
    found
}

/// What stands before the `}`, if Snakemake would fill it in, or Kiln with two braces.
fn word(text: &str) -> Option<&str> {
    let (word, _) = text.split_once('}')?;
    let (head, rest) = word.split_at(word.find(['.', '[']).unwrap_or(word.len()));
    let plain = rest.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '[' | ']' | '_'));
    let own = OWN.contains(&head) && rest.starts_with('.');
    ((WORDS.contains(&head) || own) && plain).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::template::parse;

    #[test]
    fn only_what_is_clearly_meant_for_snakemake_is_found() {
        for (text, found) in [
            ("cp {input} {output}", Some("input")),
            ("cp \"$KILN_INPUT\" \"{output}\"", Some("output")),
            ("cat {input[0]} >{{ output }}", Some("input[0]")),
            ("cp {{ inputs.a }} {output.x}", Some("output.x")),
            ("cp {wildcards.sample}.txt x", Some("wildcards.sample")),
            ("cp ${input} ${output}", None),
            ("echo {a,b} {inputs} {x}", None),
            ("cat {inputs.top} {output}", Some("inputs.top")),
            ("python3 -c 'print(f\"{output}\")'", None),
            ("python3 <<'PY'\nprint(f\"{output}\")\nPY\n", None),
            ("python3 -c \"print(f'{output}')\"", None),
            ("# {output}\ntrue", None),
            ("echo {{ '{output}' }}", None),
            ("echo {{ output }}", None),
            ("awk '{output}' x", None),
        ] {
            let (template, errors) = parse(text);
            assert_eq!(errors, [], "{text}");
            assert_eq!(words(&template, true).first().map(|(_, word)| *word), found, "{text}");
        }
        for (word, found) in
            [("{output}", Some("output")), ("-o={output}", Some("output")), ("print(f'{output}')", None)]
        {
            assert_eq!(words(&parse(word).0, false).first().map(|(_, word)| *word), found, "{word}");
        }
    }
}
