//! The pages in `docs/`: the references are what the schema and the command line say, the tutorial's commands work.
//! `INSTA_UPDATE=always` writes the references anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory};
use serde_json::Value;

use crate::support::Project;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn is_current(page: &str, text: &str) {
    let path = root().join(page);
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{page} is not current; INSTA_UPDATE=always writes it anew");
}

#[test]
fn the_reference_of_commands_is_current() {
    let mut kiln = kiln::cli::args::Cli::command();
    kiln.build();
    let mut text = "# Commands\n\nWhat `kiln COMMAND --help` says, on one page; made from it.\n".to_owned();
    let everywhere: Vec<_> = kiln.get_arguments().filter(|arg| arg.get_id() != "version").collect();
    text += "\n## Options of every command\n\n";
    everywhere.iter().for_each(|arg| option(&mut text, arg));
    let _ = writeln!(text, "\n{}", kiln.get_after_help().unwrap());
    let shown = kiln.get_subcommands().filter(|command| !command.is_hide_set());
    shown.for_each(|command| section(&mut text, command, command.get_name()));
    is_current("docs/commands.md", &text);
}

fn section(text: &mut String, command: &Command, name: &str) {
    let mut command = command.clone();
    if command.has_subcommands() {
        command.get_subcommands().for_each(|below| section(text, below, &format!("{name} {}", below.get_name())));
        return;
    }
    let usage = command.render_usage().to_string();
    let _ = write!(text, "\n## kiln {name}\n\n{}.\n\n", command.get_about().unwrap());
    let _ = write!(text, "```text\n{}\n```\n\n", usage.trim_start_matches("Usage: "));
    let own = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !["help", "state"].contains(&arg.get_id().as_str()));
    own.for_each(|arg| option(text, arg));
    if let Some(more) = command.get_after_help() {
        let more = more.to_string();
        let (prose, examples) = more.split_once("Examples:\n").unwrap_or((&more, ""));
        let (examples, after) = examples.split_once("\n\n").unwrap_or((examples, ""));
        for part in [prose.trim(), after].into_iter().filter(|part| !part.is_empty()) {
            let _ = writeln!(text, "\n{part}");
        }
        if !examples.is_empty() {
            let lines: Vec<_> = examples.lines().map(str::trim).collect();
            let _ = writeln!(text, "\n```text\n{}\n```", lines.join("\n"));
        }
    }
}

/// An argument as an item of a list.
fn option(text: &mut String, arg: &Arg) {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let names = arg.get_value_names().filter(|_| takes_value).unwrap_or_default();
    let value = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0) && !arg.is_positional();
    let value = if optional && !value.is_empty() { format!("[{value}]") } else { value };
    let names = [arg.get_short().map(|c| format!("-{c}")), arg.get_long().map(|long| format!("--{long}"))];
    let names = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let _ = write!(text, "- `{}`: {}", format!("{names} {value}").trim(), arg.get_help().unwrap_or_default());
    let possible = if value.is_empty() { Vec::new() } else { arg.get_possible_values() };
    let values: Vec<_> = possible.iter().map(|value| format!("`{}`", value.get_name())).collect();
    let explained = possible.iter().any(|value| value.get_help().is_some());
    if !values.is_empty() && !explained {
        let _ = write!(text, "; {}", values.join(", "));
    }
    let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !default.is_empty() && !value.is_empty() {
        let _ = write!(text, " [default: {}]", default.join(", "));
    }
    text.push('\n');
    for value in possible.iter().filter(|value| value.get_help().is_some()) {
        let _ = writeln!(text, "  - `{}`: {}", value.get_name(), value.get_help().unwrap_or_default());
    }
}

#[test]
fn the_reference_of_the_file_is_current() {
    let schema = fs::read_to_string(root().join("schemas/pipeline.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut text = format!(
        "# The pipeline file\n\n{} Every key that it may have; made from its [JSON Schema](../schemas/pipeline.schema.json). \
         Keys in bold have to be there.\n",
        schema["description"].as_str().unwrap()
    );
    let tables = schema["properties"].as_object().unwrap();
    // Datasets, folders and models have the same keys: told once, under the first of them.
    let same = |name: &str| ["folder", "model"].contains(&name);
    for (name, table) in tables {
        let named = table.get("additionalProperties").is_some();
        let heading = if named && name != "vars" { format!("{name}.NAME") } else { name.clone() };
        let _ = write!(text, "\n## `[{heading}]`\n\n{}\n", table["description"].as_str().unwrap());
        let of = table.get("additionalProperties").unwrap_or(table);
        if same(name) {
            text += "Its keys are those of a [dataset](#datasetname).\n";
        } else {
            keys(&mut text, &schema, alternative(&schema, resolve(&schema, of)));
        }
    }
    for (name, about) in
        [("Table", "A table in the place of a number"), ("Text", "What may stand in its `on`, besides")]
    {
        let of = &schema["$defs"][name];
        let _ = write!(text, "\n## {}\n\n{about}.\n", of["description"].as_str().unwrap());
        keys(&mut text, &schema, of);
    }
    text += VALUES;
    is_current("docs/reference.md", &text);
}

/// What no schema says.
const VALUES: &str = include_str!("docs/values.md");

/// The only kind of table that there is, where it stands among alternatives.
fn alternative<'a>(schema: &'a Value, value: &'a Value) -> &'a Value {
    match value["anyOf"].as_array().map(Vec::as_slice) {
        Some([only]) => resolve(schema, only),
        Some(several) => panic!("{} kinds of tables: say which is which", several.len()),
        None => value,
    }
}

fn resolve<'a>(schema: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(path) => schema.pointer(path.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

fn keys(text: &mut String, schema: &Value, table: &Value) {
    let Some(properties) = table["properties"].as_object() else { return };
    text.push_str("\n| key | value | |\n|---|---|---|\n");
    let required = table["required"].as_array().cloned().unwrap_or_default();
    for (name, key) in properties {
        let shown =
            if required.contains(&Value::from(name.as_str())) { format!("**`{name}`**") } else { format!("`{name}`") };
        let about = key["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(text, "| {shown} | {} | {about} |", kind(schema, key));
    }
}

/// What kind of value a schema takes, in a few words.
fn kind(schema: &Value, value: &Value) -> String {
    let value = resolve(schema, value);
    if let Some(word) = value["const"].as_str() {
        return format!("`\"{word}\"`");
    }
    if let Some(words) = value["enum"].as_array() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    }
    let either = value["anyOf"].as_array().or(value["oneOf"].as_array());
    if let Some(either) = either {
        let kinds: Vec<_> = either.iter().map(|one| kind(schema, one)).filter(|kind| kind != "nothing").collect();
        return kinds.join(" or ");
    }
    let said = &value["type"];
    let several = said.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(said));
    let types: Vec<_> = several.iter().filter_map(Value::as_str).collect();
    let word = |kind: &&str| match *kind {
        "null" => String::new(),
        "array" => match self::kind(schema, &value["items"]) {
            several if several.contains(" or ") => format!("list, each {several}"),
            one => format!("list of {one}s"),
        },
        "object" => object(schema, value),
        "string" => "text".to_owned(),
        "integer" | "number" => "number".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => panic!("{other}"),
    };
    let words: Vec<_> = types.iter().map(word).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" or ") }
}

fn object(schema: &Value, value: &Value) -> String {
    match value["properties"].as_object() {
        Some(keys) => format!("`{{ {} }}`", keys.keys().map(|key| format!("{key} = …")).collect::<Vec<_>>().join(", ")),
        None => format!("table of {}", kind(schema, &value["additionalProperties"])),
    }
}

/// The blocks of the tutorial: each with its language, in order.
fn blocks(text: &str) -> Vec<(String, String)> {
    let parts: Vec<_> = text.split("```").collect();
    let inside = parts.iter().skip(1).step_by(2);
    inside.map(|block| block.split_once('\n').map(|(head, body)| (head.to_owned(), body.to_owned())).unwrap()).collect()
}

/// Files are written as they stand in the page; `$ ` is a command, `→` after it the exit code, the lines below it are
/// among what it says.
#[test]
fn the_tutorial_does_what_it_says() {
    let page = fs::read_to_string(root().join("docs/tutorial.md")).unwrap();
    let project = Project::empty();
    let mut ran = 0;
    for (head, body) in blocks(&page) {
        match head.split_once(' ') {
            Some((_, file)) => project.write(file, &body),
            None if head == "console" => ran += console(&project, &body),
            None => {}
        }
        // The picture is the state after the block that draws it.
        if body.contains("--format svg") {
            is_current("docs/img/tutorial-plan.svg", &project.read("plan.svg"));
        }
    }
    assert!(ran >= 10, "only {ran} commands were found");
}

fn console(project: &Project, body: &str) -> usize {
    let commands: Vec<_> = body.split("$ ").skip(1).collect();
    for command in &commands {
        let (line, wanted) = command.split_once('\n').unwrap();
        let (line, code) =
            line.split_once("# → ").map_or((line, 0), |(line, code)| (line, code.trim().parse().unwrap()));
        let output = shell(project).args(["-c", line]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}\n{said}");
        for wanted in wanted.lines().filter(|line| !line.trim().is_empty()) {
            let parts: Vec<_> = wanted.split('…').map(str::trim).collect();
            let found = said.lines().any(|line| parts.iter().all(|part| line.contains(part)));
            assert!(found, "{line}: no line has {parts:?}\n{said}");
        }
    }
    commands.len()
}

/// A shell that finds the program.
fn shell(project: &Project) -> std::process::Command {
    let kiln = project.command(&[]);
    let bin = Path::new(kiln.get_program()).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    shell.current_dir(project.path("")).env_clear().env("PATH", path).env("TZ", "UTC").env("HOME", project.path(""));
    shell
}
