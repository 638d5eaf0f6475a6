//! From text to the mirror of the file, with every mistake of form at once. Does not know what the words mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::base::span::{Problem, Problems, Source, Span};
use crate::base::text::did_you_mean;
use crate::pipeline::raw::{RawFile, RawPipeline, Table};

/// The size of the largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 64 << 20;

/// Mistakes of form beyond this many are not told.
const MAX_PROBLEMS: usize = 200;

const SECTIONS: [&str; 9] =
    ["pipeline", "settings", "vars", "defaults", "dataset", "folder", "model", "recipe", "task"];

/// Makes a [`Source`] of the bytes of a file.
///
/// # Errors
/// That it is too large or not UTF-8, with the line.
pub fn source(name: &str, bytes: Vec<u8>) -> Result<Source, Box<(Source, Problem)>> {
    let named = |text: String| Source { name: name.to_owned(), text: Arc::from(text) };
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
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return (None, errors.into_iter().take(MAX_PROBLEMS).map(|e| syntax(text, &e)).collect());
    }
    let mut reader = Reader { problems: Vec::new() };
    let file = reader.file(document.into_inner());
    reader.problems.sort_by_key(|p| p.labels.first().map(|l| l.span.start));
    reader.problems.truncate(MAX_PROBLEMS);
    (file, reader.problems)
}

fn syntax(text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    if error.message().contains("duplicate key") {
        return duplicate_key(text, span);
    }
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    Problem::new("syntax", format!("this is not TOML: {message}")).at(&span, "here")
}

/// TOML tells only the second place of a key that stands twice, and of that one character; both are wanted.
fn duplicate_key(text: &str, span: Span) -> Problem {
    let line_start = text[..span.start].rfind('\n').map_or(0, |i| i + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let header = line.trim_start().starts_with('[');
    let key = key_of(line);
    let second = line_start..line_start + line.trim_end().len();
    let first = first_place(text, &key, header, line_start);
    let mut problem = Problem::new("duplicate-key", format!("`{key}` stands twice"));
    if let Some(first) = first {
        problem = problem.at(&first, "first here");
    }
    problem.at(&second, "and again here").help("keep one of them, or give one another name")
}

fn key_of(line: &str) -> String {
    let line = line.trim();
    if line.starts_with('[') {
        let inner = line.trim_start_matches('[');
        return inner.split(']').next().unwrap_or_default().trim().to_owned();
    }
    line.split('=').next().unwrap_or_default().trim().to_owned()
}

fn first_place(text: &str, key: &str, header: bool, before: usize) -> Option<Span> {
    let mut offset = 0;
    let mut found = None;
    for line in text[..before].split_inclusive('\n') {
        let is_header = line.trim_start().starts_with('[');
        if is_header && !header {
            found = None;
        }
        if is_header == header && key_of(line) == key && found.is_none() {
            found = Some(offset..offset + line.trim_end().len());
        }
        offset += line.len();
    }
    found
}

struct Reader {
    problems: Problems,
}

impl Reader {
    fn file(&mut self, mut document: DeTable<'_>) -> Option<RawFile> {
        self.unknown_sections(&mut document);
        let pipeline = match take(&mut document, "pipeline") {
            Some(value) => self.value::<RawPipeline>(value, "[pipeline]"),
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
        let vars = self.table(&mut document, "vars");
        let dataset = self.table(&mut document, "dataset");
        let folder = self.table(&mut document, "folder");
        let model = self.table(&mut document, "model");
        let recipe = self.table(&mut document, "recipe");
        let task = self.table(&mut document, "task");
        Some(RawFile { pipeline: pipeline?, settings, vars, defaults, dataset, folder, model, recipe, task })
    }

    fn unknown_sections(&mut self, document: &mut DeTable<'_>) {
        for (key, _) in document.iter() {
            let name: &str = key.get_ref();
            if !SECTIONS.contains(&name) {
                let help =
                    did_you_mean(name, SECTIONS).unwrap_or_else(|| format!("known are: {}", SECTIONS.join(", ")));
                let problem = Problem::new("unknown-key", format!("unknown key `{name}`"));
                self.problems.push(problem.at(&key.span(), "unknown").help(help));
            }
        }
    }

    fn section<T: for<'de> Deserialize<'de> + Default>(&mut self, document: &mut DeTable<'_>, key: &str) -> T {
        take(document, key).and_then(|value| self.value(value, &format!("[{key}]"))).unwrap_or_default()
    }

    fn table<T: for<'de> Deserialize<'de>>(&mut self, document: &mut DeTable<'_>, section: &str) -> Table<T> {
        let mut entries = BTreeMap::new();
        let Some(value) = take(document, section) else {
            return entries;
        };
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            let problem = Problem::new("wrong-type", format!("`{section}` is not a table"));
            self.problems.push(problem.at(&span, "expected a table").help(format!("write `[{section}.NAME]`")));
            return entries;
        };
        for (key, value) in table {
            let name = Spanned::new(key.span(), key.into_inner().into_owned());
            let place = format!("[{section}.{}]", name.get_ref());
            if let Some(entry) = self.value(value, &place) {
                entries.insert(name, entry);
            }
        }
        entries
    }

    /// Reads one value. serde stops at the first mistake, so what it points at is taken out and the rest read again.
    fn value<T: for<'de> Deserialize<'de>>(&mut self, value: Spanned<DeValue<'_>>, place: &str) -> Option<T> {
        let mut value = value;
        let mut sound = true;
        loop {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(read) => return sound.then_some(read),
                Err(error) => error,
            };
            sound = false;
            let span = error.span().unwrap_or_else(|| value.span());
            self.problems.push(form(&error, &span, place));
            let taken = if let DeValue::Table(table) = value.get_mut() { take_out(table, &span) } else { false };
            if !taken || self.problems.len() > MAX_PROBLEMS {
                return None;
            }
        }
    }
}

fn take<'i>(document: &mut DeTable<'i>, key: &str) -> Option<Spanned<DeValue<'i>>> {
    document.remove(&Spanned::new(0..0, key.to_owned().into()))
}

/// Takes the entry out whose key or value holds `span`, as deep down as there is one.
fn take_out(table: &mut DeTable<'_>, span: &Span) -> bool {
    let holds = |outer: &Span| outer.start <= span.start && span.end <= outer.end;
    let mut key = None;
    for (name, value) in table.iter_mut() {
        if let DeValue::Table(inner) = value.get_mut()
            && take_out(inner, span)
        {
            return true;
        }
        if holds(&name.span()) || holds(&value.span()) {
            key = Some(name.clone());
        }
    }
    key.is_some_and(|key| table.remove(&key).is_some())
}

fn form(error: &toml::de::Error, span: &Span, place: &str) -> Problem {
    let message = error.message().trim();
    if let Some((key, known)) = unknown_field(message) {
        let help =
            did_you_mean(key, known.iter().copied()).unwrap_or_else(|| format!("known are: {}", known.join(", ")));
        return Problem::new("unknown-key", format!("unknown key `{key}` in {place}")).at(span, "unknown").help(help);
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        return Problem::new("missing-key", format!("{place} lacks {key}")).at(span, "in here");
    }
    Problem::new("wrong-type", format!("in {place}: {message}")).at(span, "here")
}

/// Takes serde's words for an unknown field apart.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"))?;
    let (key, rest) = rest.split_once('`')?;
    Some((key, rest.split('`').skip(1).step_by(2).collect()))
}
