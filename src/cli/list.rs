//! `kiln list` and `kiln show`: the pipeline as Kiln understands it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::base::id::RecipeId;
use crate::base::text::{age, clean, count, did_you_mean, duration, size};
use crate::cli::args::Format;
use crate::cli::table::table;
use crate::cli::{Context, find, print};
use crate::engine::local::describe;
use crate::exit;
use crate::listed::Listed;
use crate::pipeline::raw::{EnvValue, SecretValue};
use crate::pipeline::retry::{Retry, RetryOn};
use crate::pipeline::template::command_line;
use crate::pipeline::types::{Command, Item, Pipeline, Rebuild, Recipe};
use crate::report::line::{Line, columns};
use crate::session::fail::Fail;
use crate::session::load::{self, Given, Loaded};
use crate::session::targets::Paths;
use crate::session::unselected;

/// A line of the list.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    kind: &'static str,
    path: Option<&'a str>,
    recipe: Option<&'a str>,
    inputs: Vec<&'a str>,
    stage: Option<u32>,
    tags: Vec<&'a str>,
    description: Option<&'a str>,
}

pub(crate) fn list(context: &Context, targets: &[String], exclude: &[String], format: Format) -> Result<u8, Fail> {
    let loaded = open(context)?;
    let paths = Paths::new(&loaded, &context.surroundings.folder);
    let [targets, exclude] =
        [targets, exclude].map(|given| given.iter().map(|target| paths.name(target)).collect::<Vec<_>>());
    let listed = Listed::of(&loaded.pipeline, &loaded.graph, &targets, &exclude).map_err(unselected)?;
    let rows = rows(&loaded, &listed);
    match format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&rows).map_err(|error| Fail::because("the list", &error))?;
            print(&format!("{json}\n"))?;
        }
        Format::Text => print(&lines(&rows, context.style().width.map(usize::from)))?,
    }
    Ok(exit::OK)
}

fn open(context: &Context) -> Result<Loaded, Fail> {
    let path = find::find(context.file.as_deref(), &context.surroundings)?;
    load::load(&path, &Given::default())
}

/// Nodes and tasks in the order of the file.
fn rows<'a>(loaded: &'a Loaded, listed: &Listed) -> Vec<Row<'a>> {
    let pipeline = &loaded.pipeline;
    let inputs = |recipe: &Recipe| recipe.inputs.iter().map(|id| pipeline.nodes[*id].name.as_str()).collect();
    let mut rows: Vec<(usize, Row<'_>)> = Vec::new();
    for (_, node) in pipeline.nodes.iter().filter(|(id, _)| listed.node(pipeline, *id)) {
        let recipe = node.maker.map(|id| (&pipeline.recipes[id], loaded.graph.stage[id]));
        let mut tags: Vec<_> = node.tags.iter().map(String::as_str).collect();
        tags.extend(recipe.into_iter().flat_map(|(recipe, _)| recipe.tags.iter().map(String::as_str)));
        tags.sort_unstable();
        tags.dedup();
        let row = Row {
            name: &node.name,
            kind: node.kind.word(),
            path: node.path.as_deref(),
            recipe: recipe.map(|(recipe, _)| recipe.name.as_str()),
            inputs: recipe.map(|(recipe, _)| inputs(recipe)).unwrap_or_default(),
            stage: recipe.map(|(_, stage)| stage),
            tags,
            description: node.description.as_deref(),
        };
        rows.push((node.span.start, row));
    }
    for (id, recipe) in pipeline.recipes.iter().filter(|(id, recipe)| recipe.task && listed.step(*id)) {
        let row = Row {
            name: &recipe.name,
            kind: "task",
            path: None,
            recipe: Some(&recipe.name),
            inputs: inputs(recipe),
            stage: Some(loaded.graph.stage[id]),
            tags: recipe.tags.iter().map(String::as_str).collect(),
            description: recipe.description.as_deref(),
        };
        rows.push((recipe.span.start, row));
    }
    rows.sort_by_key(|(at, _)| *at);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The table; on a terminal it has so many columns, and most of what is long is cut.
fn lines(rows: &[Row<'_>], width: Option<usize>) -> String {
    let mut lines = vec![["NAME", "KIND", "STAGE", "MADE FROM", "TAGS", "PATH"].map(str::to_owned)];
    for row in rows {
        let from = match row.recipe {
            None => "(source)".to_owned(),
            Some(_) => row.inputs.join(", "),
        };
        lines.push([
            row.name.to_owned(),
            row.kind.to_owned(),
            row.stage.map(|stage| stage.to_string()).unwrap_or_default(),
            from,
            row.tags.join(", "),
            row.path.unwrap_or_default().to_owned(),
        ]);
    }
    let Some(width) = width else { return table(&lines) };
    let over = table(&lines).lines().map(columns).max().unwrap_or_default().saturating_sub(width);
    if over > 0 {
        let longest = lines.iter().map(|line| columns(&line[FROM])).max().unwrap_or_default();
        let room = longest.saturating_sub(over).max(LEAST);
        for (line, row) in lines[1..].iter_mut().zip(rows).filter(|(_, row)| row.recipe.is_some()) {
            line[FROM] = some(&row.inputs, room);
        }
    }
    table(&lines).lines().map(|line| Line::new().text(line).render(false, Some(width)) + "\n").collect()
}

/// Which column says what a node is made from, and how wide that stays.
const FROM: usize = 3;
const LEAST: usize = 16;

/// As many names as have room, and how many there are besides.
fn some(names: &[&str], room: usize) -> String {
    let (mut width, mut best) = (0, None);
    for (i, name) in names.iter().enumerate() {
        width += columns(name) + if i == 0 { 0 } else { ", ".len() };
        if width > room {
            break;
        }
        let more = match names.len() - i - 1 {
            0 => String::new(),
            more => format!(" + {more} more"),
        };
        if width + more.len() <= room {
            best = Some((i + 1, more));
        }
    }
    match (best, names) {
        (Some((shown, more)), _) => names[..shown].join(", ") + &more,
        (None, [] | [_]) => names.concat(),
        (None, several) => count(several.len(), "input"),
    }
}

pub(crate) fn show(context: &Context, name: &str) -> Result<u8, Fail> {
    let loaded = open(context)?;
    let pipeline = &loaded.pipeline;
    let name = &*Paths::new(&loaded, &context.surroundings.folder).name(name);
    let Some(item) = pipeline.names.get(name) else {
        let help = did_you_mean(name, pipeline.names.keys().map(String::as_str));
        let help = help.or_else(|| Some("`kiln list` shows what there is".to_owned()));
        return Err(Fail::Usage(format!("there is no node, recipe or task `{name}`"), help));
    };
    let text = match item {
        Item::Node(id) => {
            let node = &pipeline.nodes[*id];
            let mut lines = Lines::new(&format!("{name} · {} · {}", node.kind.word(), loaded.place(node.span.start)));
            lines.add("", node.description.as_deref().unwrap_or_default());
            lines.add("path", node.path.as_deref().unwrap_or_default());
            lines.add("id", node.id.as_deref().unwrap_or_default());
            lines.add("project", node.project.as_deref().unwrap_or_default());
            lines.add("digest", node.digest.as_deref().unwrap_or_default());
            lines.add("tags", &node.tags.join(", "));
            let readers = pipeline.recipes.values().filter(|recipe| recipe.inputs.contains(id));
            lines.add("read by", &readers.map(|recipe| recipe.name.as_str()).collect::<Vec<_>>().join(", "));
            match node.maker {
                None => lines.add("made by", "nothing: it is a source"),
                Some(maker) => lines.recipe(&loaded, maker),
            }
            lines.0
        }
        Item::Recipe(id) => {
            let recipe = &pipeline.recipes[*id];
            let kind = if recipe.task { "task" } else { "recipe" };
            let mut lines = Lines::new(&format!("{name} · {kind} · {}", loaded.place(recipe.span.start)));
            lines.add("", recipe.description.as_deref().unwrap_or_default());
            lines.recipe(&loaded, *id);
            lines.0
        }
    };
    print(&text)?;
    Ok(exit::OK)
}

/// Lines with a word at their beginning; what is empty is left out.
struct Lines(String);

impl Lines {
    fn new(title: &str) -> Self {
        Self(format!("{}\n", clean(title)))
    }

    fn add(&mut self, word: &str, text: &str) {
        for (i, part) in text.trim_end().lines().enumerate() {
            let word = if i == 0 { word } else { "" };
            writeln!(self.0, "  {word:<9}{}", clean(part)).expect("a String takes everything");
        }
    }

    fn recipe(&mut self, loaded: &Loaded, id: RecipeId) {
        let pipeline = &loaded.pipeline;
        let recipe = &pipeline.recipes[id];
        let names = |ids: &[_]| ids.iter().map(|id| node_name(pipeline, *id)).collect::<Vec<_>>().join(", ");
        self.add("recipe", &format!("{} (stage {})", recipe.name, loaded.graph.stage[id]));
        self.add("inputs", &names(&recipe.inputs));
        self.add("outputs", &names(&recipe.outputs));
        match &recipe.run {
            None => self.add("run", "nothing: only an engine that knows the recipe can build it"),
            Some(Command::Shell(_)) => {
                self.add("run", &describe(pipeline, id));
                self.add("shell", &command_line(&recipe.how.shell));
            }
            Some(Command::Words(_)) => self.add("run", &describe(pipeline, id)),
        }
        self.add("workdir", &recipe.how.workdir);
        self.add("files", &recipe.files.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>().join(", "));
        for (name, tool) in &recipe.how.tools {
            self.add("tool", &format!("{name}: {}", tool.command));
        }
        for (name, value) in &recipe.how.env {
            self.add(
                "env",
                &match value {
                    EnvValue::Text(text) => format!("{name}={text:?}"),
                    EnvValue::From(from) => format!("{name} from the variable {from}"),
                },
            );
        }
        self.add("pass", &recipe.how.pass.join(", "));
        for (name, secret) in &recipe.how.secrets {
            self.add(
                "secret",
                &match secret {
                    SecretValue::Env(from) => format!("{name} from the variable {from}"),
                    SecretValue::File(path) => format!("{name} from the file {path}"),
                },
            );
        }
        self.add("rebuild", &rebuild(recipe.rebuild));
        self.add("timeout", &recipe.how.timeout.map(duration).unwrap_or_default());
        self.add("retry", &retry(&recipe.how.retry));
        self.add("grace", &recipe.how.grace.map(duration).unwrap_or_default());
        self.add("log", &recipe.how.log_limit.map(|limit| format!("up to {}", size(limit))).unwrap_or_default());
        match &recipe.how.on_stop {
            None => {}
            Some(Command::Shell(template)) => self.add("on stop", &template.text),
            Some(Command::Words(words)) => {
                let words: Vec<_> = words.iter().map(|word| word.text.clone()).collect();
                self.add("on stop", &format!("{words:?}"));
            }
        }
        if recipe.how.in_place {
            self.add("in place", "it writes to the final paths itself");
        }
        // A recipe inside its node has the tags of the node.
        if matches!(pipeline.names.get(&recipe.name), Some(Item::Recipe(_))) {
            self.add("tags", &recipe.tags.join(", "));
        }
    }
}

fn node_name(pipeline: &Pipeline, id: crate::base::id::NodeId) -> &str {
    &pipeline.nodes[id].name
}

fn retry(retry: &Retry) -> String {
    if retry.max == 0 {
        return String::new();
    }
    let on = retry.on.as_ref().map(|on| {
        let words = on.iter().map(|on| match on {
            RetryOn::Lost => "lost".to_owned(),
            RetryOn::Timeout => "timeout".to_owned(),
            RetryOn::Code(code) => format!("exit {code}"),
            RetryOn::Text(regex) => format!("output like `{regex}`"),
        });
        words.collect::<Vec<_>>().join(", ")
    });
    let on = on.unwrap_or_else(|| "any exit code, timeout, lost".to_owned());
    let then = if retry.factor > 1.0 { format!(", then {} times that", retry.factor) } else { String::new() };
    format!("{} more after {}{then}; on {on}", retry.max, duration(retry.delay))
}

fn rebuild(rebuild: Rebuild) -> String {
    match rebuild {
        Rebuild::Changed => "when something changed".to_owned(),
        Rebuild::Always => "always".to_owned(),
        Rebuild::Age(limit) => format!("when something changed, or when older than {}", age(limit)),
        Rebuild::Explicit => "when something changed, and only as a target".to_owned(),
        Rebuild::Never => "only while there is no output".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_names_are_shown_as_fit() {
        let names = ["orders", "é", "日本", "customers_of_the_north", "b"];
        let shown = |n: usize| match names.len() - n {
            0 => names.join(", "),
            more => format!("{} + {more} more", names[..n].join(", ")),
        };
        for room in 0..70 {
            let best = (1..=names.len()).rev().map(shown).find(|text| columns(text) <= room);
            assert_eq!(some(&names, room), best.unwrap_or_else(|| "5 inputs".to_owned()), "{room}");
        }
        assert_eq!((some(&[], 0), some(&["alone"], 0)), (String::new(), "alone".to_owned()));
    }

    #[test]
    fn a_list_fits_a_terminal() {
        let row = |name, inputs: &[&'static str], path| Row {
            name,
            kind: "dataset",
            path: Some(path),
            recipe: (!inputs.is_empty()).then_some(name),
            inputs: inputs.to_vec(),
            stage: None,
            tags: Vec::new(),
            description: None,
        };
        let rows = [
            row("a", &[], "a.csv"),
            row("mart", &["orders_of_the_north", "orders_of_the_south", "customers", "dates"], "build/mart.csv"),
        ];
        insta::assert_snapshot!(lines(&rows, Some(80)), @r#"
        NAME  KIND     STAGE  MADE FROM                     TAGS  PATH
        a     dataset         (source)                            a.csv
        mart  dataset         orders_of_the_north + 3 more        build/mart.csv
        "#);
        insta::assert_snapshot!(lines(&rows, Some(50)), @r#"
        NAME  KIND     STAGE  MADE FROM  TAGS  PATH
        a     dataset         (source)         a.csv
        mart  dataset         4 inputs         build/mart…
        "#);
        insta::assert_snapshot!(lines(&rows, None), @r#"
        NAME  KIND     STAGE  MADE FROM                                                   TAGS  PATH
        a     dataset         (source)                                                          a.csv
        mart  dataset         orders_of_the_north, orders_of_the_south, customers, dates        build/mart.csv
        "#);
        assert_eq!(some(&["a_b", "c_d", "e_f"], 12), "a_b + 2 more");
    }
}
