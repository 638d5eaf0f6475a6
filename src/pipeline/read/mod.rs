//! From text to the mirror of the file, with every mistake of form at once. Does not know what the words mean.

mod faults;
mod slip;
mod syntax;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::base::span::{Problem, Problems, Source};
use crate::base::text::did_you_mean;
use crate::pipeline::quick;
use crate::pipeline::raw::{RawFile, RawPipeline, Scalar, Table};
use crate::pipeline::raw_engine::{KINDS, RawEngine};
use crate::pipeline::read::faults::At;

/// The size of the largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 64 << 20;

const SECTIONS: [&str; 10] =
    ["pipeline", "settings", "engine", "vars", "defaults", "dataset", "folder", "model", "recipe", "task"];

/// Makes a [`Source`] of the bytes of a file.
///
/// # Errors
/// That it is too large or not UTF-8, with the line.
pub fn source(name: &str, bytes: Vec<u8>) -> Result<Source, Box<(Source, Problem)>> {
    let named = |text: String| Source::new(name, text);
    if bytes.len() as u64 > MAX_BYTES {
        let problem = Problem::new("file-too-large", format!("the file is over {} MiB", MAX_BYTES >> 20))
            .help("a pipeline file declares data; it does not hold it");
        return Err(Box::new((named(String::new()), problem)));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(named(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let problem = Problem::new("not-utf8", "the file is not UTF-8")
                .at(&(at..at + '\u{fffd}'.len_utf8()), "this byte")
                .help("save the file as UTF-8");
            Err(Box::new((named(text), problem)))
        }
    }
}

/// Reads a file's text.
///
/// # Errors
/// Every mistake of form: syntax, unknown keys, wrong types.
pub fn read(text: &str) -> (Option<RawFile>, Problems) {
    match quickly(text) {
        Some(file) => (Some(file), Vec::new()),
        None => thoroughly(text),
    }
}

/// Reads a file without mistakes most of whose tables are plain in a quarter of the time; gives up on all else.
fn quickly(text: &str) -> Option<RawFile> {
    let plain = quick::split(text)?;
    let (file, problems) = thoroughly(&plain.rest);
    let mut file = file.filter(|_| problems.is_empty())?;
    let sound = join(&mut file.dataset, plain.dataset)
        && join(&mut file.folder, plain.folder)
        && join(&mut file.model, plain.model)
        && join(&mut file.recipe, plain.recipe)
        && join(&mut file.task, plain.task);
    sound.then_some(file)
}

/// Joins two tables; false if they share a name.
fn join<T>(into: &mut Table<T>, mut from: Table<T>) -> bool {
    let both = into.len() + from.len();
    into.append(&mut from);
    into.len() == both
}

/// Reads a file's text as [`read`] does, without its short cut.
///
/// # Errors
/// The same.
pub fn thoroughly(text: &str) -> (Option<RawFile>, Problems) {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return (None, syntax::problems(text, document.get_ref(), &errors));
    }
    let mut reader = Reader { text, problems: Vec::new() };
    let file = reader.file(document.into_inner());
    reader.problems.sort_by_key(|p| p.labels.first().map(|l| l.span.start));
    (Some(file), reader.problems)
}

struct Reader<'t> {
    text: &'t str,
    problems: Problems,
}

/// What other tools call a section, and how it is written here.
const ELSEWHERE: [(&[&str], &str); 4] = [
    (&["source", "sources", "input", "inputs", "data"], "a source is a [dataset.NAME] or [folder.NAME] without `run`"),
    (&["test", "tests", "check", "checks"], "a check is a [task.NAME] that fails where something is wrong"),
    (
        &["step", "steps", "stage", "stages", "rule", "rules", "job", "jobs"],
        "a step stands with what it makes: [dataset.NAME], [folder.NAME] or [model.NAME]; one that makes several is a \
         [recipe.NAME], one that makes nothing a [task.NAME]",
    ),
    (&["params", "parameters", "variables"], "variables stand in [vars]"),
];

fn elsewhere(name: &str) -> Option<String> {
    ELSEWHERE.iter().find(|(others, _)| others.contains(&name)).map(|(_, here)| (*here).to_owned())
}

impl Reader<'_> {
    fn file(&mut self, mut document: DeTable<'_>) -> RawFile {
        self.unknown_sections(&mut document);
        let pipeline = match take(&mut document, "pipeline") {
            Some(value) => self.structure::<RawPipeline>(value, "pipeline"),
            None => {
                let problem = Problem::new("no-pipeline", "the file has no `[pipeline]`")
                    .at(&(0..0), "expected here")
                    .help("begin with:\n[pipeline]\nformat = 1\nname = \"orders\"");
                self.problems.push(problem);
                None
            }
        };
        let settings = self.section(&mut document, "settings");
        let defaults = self.section(&mut document, "defaults");
        let engine = self.engines(&mut document);
        let vars = self.vars(&mut document);
        let dataset = self.table(&mut document, "dataset");
        let folder = self.table(&mut document, "folder");
        let model = self.table(&mut document, "model");
        let recipe = self.table(&mut document, "recipe");
        let task = self.table(&mut document, "task");
        let pipeline = pipeline.unwrap_or_else(RawPipeline::unread);
        RawFile { pipeline, settings, engine, vars, defaults, dataset, folder, model, recipe, task }
    }

    fn unknown_sections(&mut self, document: &mut DeTable<'_>) {
        for (key, _) in document.iter() {
            let name: &str = key.get_ref();
            if !SECTIONS.contains(&name) {
                let help = did_you_mean(name, SECTIONS)
                    .or_else(|| elsewhere(name))
                    .unwrap_or_else(|| format!("known are: {}", SECTIONS.join(", ")));
                let problem = Problem::new("unknown-section", format!("unknown section `{name}`"));
                self.problems.push(problem.at(&key.span(), "unknown").help(help));
            }
        }
    }

    fn section<T: for<'de> Deserialize<'de> + Default>(&mut self, document: &mut DeTable<'_>, key: &str) -> T {
        take(document, key).and_then(|value| self.structure(value, key)).unwrap_or_default()
    }

    fn table<T: for<'de> Deserialize<'de>>(&mut self, document: &mut DeTable<'_>, section: &str) -> Table<T> {
        let mut entries = BTreeMap::new();
        let Some(value) = take(document, section) else {
            return entries;
        };
        let header = format!("{section}.NAME");
        let Some(table) = self.as_table(section, &header, value) else { return entries };
        for (key, value) in table {
            let name = Spanned::new(key.span(), key.into_inner().into_owned());
            let place = format!("{section}.{}", name.get_ref());
            if let Some(entry) = self.structure(value, &place) {
                entries.insert(name, entry);
            }
        }
        entries
    }

    /// The engines: `kind` says which keys the rest of the table has.
    fn engines(&mut self, document: &mut DeTable<'_>) -> Table<RawEngine> {
        let mut entries = BTreeMap::new();
        let table = take(document, "engine").and_then(|value| self.as_table("engine", "engine.NAME", value));
        for (key, value) in table.unwrap_or_default() {
            let name = Spanned::new(key.span(), key.into_inner().into_owned());
            let place = format!("engine.{}", name.get_ref());
            if self.kind(&value, &place)
                && let Some(entry) = self.structure(value, &place)
            {
                entries.insert(name, RawEngine::Dss(Box::new(entry)));
            }
        }
        entries
    }

    /// Whether a table says which kind of engine it is. What is no table is told later.
    fn kind(&mut self, value: &Spanned<DeValue<'_>>, place: &str) -> bool {
        let DeValue::Table(table) = value.get_ref() else { return true };
        let known = KINDS.map(|kind| format!("`kind = \"{kind}\"`")).join(", ");
        let kind = table.iter().find(|(key, _)| key.get_ref() == "kind").map(|(_, kind)| kind);
        let problem = match kind.map(|kind| (kind, kind.get_ref().as_str())) {
            None => Problem::new("missing-key", format!("[{place}] does not say its `kind`"))
                .at(&value.span(), "in here")
                .help(format!("known is {known}; the engine `local` is always there")),
            Some((_, Some(kind))) if KINDS.contains(&kind) => return true,
            Some((kind, _)) => Problem::new("unknown-engine", format!("[{place}] is of no known kind"))
                .at(&kind.span(), "this kind")
                .help(format!("known is {known}")),
        };
        self.problems.push(problem);
        false
    }

    fn vars(&mut self, document: &mut DeTable<'_>) -> Table<Spanned<Scalar>> {
        let mut vars = BTreeMap::new();
        let table = take(document, "vars").and_then(|value| self.as_table("vars", "vars", value));
        for (key, value) in table.unwrap_or_default() {
            let name = Spanned::new(key.span(), key.into_inner().into_owned());
            let at = At { text: self.text, table: "vars", key: Some(name.get_ref()) };
            if let Some(var) = self.value(value, at) {
                vars.insert(name, var);
            }
        }
        vars
    }

    /// Reads a table with known keys. serde would take a list for one.
    fn structure<T: for<'de> Deserialize<'de>>(&mut self, value: Spanned<DeValue<'_>>, place: &str) -> Option<T> {
        if value.get_ref().is_table() {
            return self.value(value, At { text: self.text, table: place, key: None });
        }
        self.problems.push(faults::not_a_table(place, &value, place));
        None
    }

    fn as_table<'i>(&mut self, name: &str, header: &str, value: Spanned<DeValue<'i>>) -> Option<DeTable<'i>> {
        if !value.get_ref().is_table() {
            self.problems.push(faults::not_a_table(name, &value, header));
        }
        match value.into_inner() {
            DeValue::Table(table) => Some(table),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => None,
        }
    }

    /// Reads one value, or tells all its mistakes.
    fn value<T: for<'de> Deserialize<'de>>(&mut self, value: Spanned<DeValue<'_>>, at: At<'_>) -> Option<T> {
        let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        let test = |value: Spanned<DeValue<'_>>| T::deserialize(ValueDeserializer::from(value)).err();
        let (problems, sound) = faults::all(at, &value, &error, &test);
        self.problems.extend(problems);
        // What is wrong takes nothing from the rest, in which there may be mistakes of meaning.
        T::deserialize(ValueDeserializer::from(sound?)).ok()
    }
}

fn take<'i>(document: &mut DeTable<'i>, key: &str) -> Option<Spanned<DeValue<'i>>> {
    document.remove(&Spanned::new(0..0, key.to_owned().into()))
}

#[cfg(test)]
mod tests;
