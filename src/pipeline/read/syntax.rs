//! What is wrong with a text that is not TOML. Does not know which keys there are.

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use crate::base::span::{Problem, Problems, Span};
use crate::pipeline::read::slip;

/// Of so many keys that stand twice the first place is looked for; it takes a walk through the document.
const LOOKED_FOR: usize = 100;

/// The mistakes of a text, in order. `document` is what could be read of it.
pub(super) fn problems(text: &str, document: &DeTable<'_>, errors: &[Error]) -> Problems {
    let mut tables = Vec::new();
    let root = Spanned::new(0..0, DeValue::Table(document.clone()));
    collect(&root, &mut tables);
    if let Some(error) = errors.iter().find(|error| error.message().contains("recurs")) {
        return vec![too_deep(error)]; // what comes after it was read wrong
    }
    let mut errors: Vec<_> = errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
    let is_told = |mark: &Span| errors.iter().any(|(span, _)| mark.contains(&span.start));
    if let Some(conflict) = slip::merge_conflict(text).filter(|conflict| is_told(&conflict.labels[0].span)) {
        return vec![conflict]; // the rest follows from it
    }
    errors.sort_by_key(|(span, _)| (span.start, span.end));
    let mut problems: Problems = Vec::new();
    let mut second_header: Option<usize> = None;
    let mut broken: Option<usize> = None;
    for (span, message) in errors {
        if !message.starts_with("duplicate key") {
            // What else is wrong in the same line mostly follows from that.
            if broken.replace(span.start).is_some_and(|at| !text[at..span.start].contains('\n')) {
                continue;
            }
            problems.push(slip::problem(text, &span, message));
            continue;
        }
        let header = Header::of(text, span.start);
        let place = Place { text, tables: &tables, at: span.start };
        // Below a header that stands for the second time every key may seem to stand twice.
        if header.is_none() && second_header.is_some_and(|at| place.section() < at) {
            continue;
        }
        if header.is_some() {
            second_header = Some(span.start);
        }
        problems.extend(place.twice(header.as_ref(), problems.len() < LOOKED_FOR));
    }
    problems
}

fn too_deep(error: &Error) -> Problem {
    let problem = Problem::new("too-deep", "the file is nested too deeply")
        .help("a pipeline file needs no more than five levels");
    match error.span().filter(|span| !span.is_empty()) {
        Some(span) => problem.at(&span, "no deeper than this"),
        None => problem,
    }
}

type Table<'d, 'i> = (Span, &'d DeTable<'i>);

fn collect<'d, 'i>(value: &'d Spanned<DeValue<'i>>, tables: &mut Vec<Table<'d, 'i>>) {
    match value.get_ref() {
        DeValue::Table(table) => {
            tables.push((value.span(), table));
            table.values().for_each(|value| collect(value, tables));
        }
        DeValue::Array(array) => array.iter().for_each(|value| collect(value, tables)),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// The place of a key that stands for the second time. TOML tells no more than its first letter.
struct Place<'a, 'd, 'i> {
    text: &'a str,
    tables: &'a [Table<'d, 'i>],
    at: usize,
}

impl Place<'_, '_, '_> {
    /// Where the section begins that the place lies in.
    fn section(&self) -> usize {
        let headers = self.tables.iter().map(|(span, _)| span.start);
        headers.filter(|start| *start < self.at && self.text[*start..].starts_with('[')).max().unwrap_or(0)
    }

    fn twice(&self, header: Option<&Header>, look: bool) -> Option<Problem> {
        let (name, second, first) = match header {
            Some(Header { name, span }) => {
                (format!("[{name}]"), span.clone(), look.then(|| self.first_header(name)).flatten())
            }
            None => {
                let span = self.at..self.at + key_length(&self.text[self.at..]);
                let key = self.text.get(span.clone()).filter(|key| !key.is_empty())?;
                (format!("`{key}`"), span, look.then(|| self.first_key(key)).flatten())
            }
        };
        let mut problem = Problem::new("duplicate-key", format!("{name} stands twice"));
        if let Some(first) = first {
            problem = problem.at(&first, "first here");
        }
        let is_list = self.text.get(second.clone()).is_some_and(|header| header.starts_with("[["));
        let help = match header {
            Some(header) if is_list => format!("what there are several of has names here: [{}.NAME]", header.name),
            _ => "keep one of them, or give one another name".to_owned(),
        };
        Some(problem.at(&second, "and again here").help(help))
    }

    /// The first line that is the same header. The document has forgotten it.
    fn first_header(&self, name: &str) -> Option<Span> {
        let mut start = 0;
        for line in self.text[..self.at].split_inclusive('\n') {
            if let Some(header) = Header::of(self.text, start).filter(|header| header.name == name) {
                return (header.span.start < self.at && header.span.end <= self.at).then_some(header.span);
            }
            start += line.len();
        }
        None
    }

    /// The same key before this place: in the inline table around it, else in its section.
    fn first_key(&self, key: &str) -> Option<Span> {
        let bare = key.trim_matches(['"', '\'']);
        let inline = self.tables.iter().filter(|(span, _)| span.start < self.at && self.at < span.end);
        let around = inline.min_by_key(|(span, _)| span.len()).map(|(span, _)| span.clone());
        if let Some(around) = around {
            return self.keys(bare, |span| *span == around).into_iter().next();
        }
        let section = self.section();
        let own = self.keys(bare, |span| span.start == section);
        own.into_iter().next().or_else(|| self.keys(bare, |span| span.start > section).into_iter().next())
    }

    /// Where `key` stands before this place in tables that `near` takes, in order.
    fn keys(&self, key: &str, near: impl Fn(&Span) -> bool) -> Vec<Span> {
        let keys = self.tables.iter().filter(|(span, _)| near(span)).flat_map(|(_, table)| table.keys());
        let same = keys.filter(|other| other.get_ref() == key && other.span().start < self.at);
        let mut spans: Vec<_> = same.map(Spanned::span).collect();
        spans.sort_by_key(|span| span.start);
        spans
    }
}

/// A line that begins a table.
struct Header {
    /// What stands between its brackets, such as `dataset.orders`.
    name: String,
    span: Span,
}

impl Header {
    /// The header in the line that `at` lies in, if `at` lies in it.
    fn of(text: &str, at: usize) -> Option<Self> {
        let line = text[..at].rfind('\n').map_or(0, |i| i + 1);
        let rest = text[line..].split('\n').next()?;
        let start = line + (rest.len() - rest.trim_start().len());
        let rest = rest.trim_start();
        let inner = rest.trim_start_matches('[');
        let name = inner.split(']').next()?;
        let end = start + rest.len() - inner.len() + name.len() + (rest.len() - inner.len());
        let header = rest.starts_with('[') && at < end && end <= text.len() && !name.contains(['{', ',', '=']);
        header.then(|| Self { name: name.trim().to_owned(), span: start..end })
    }
}

fn key_length(rest: &str) -> usize {
    match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest[1..].find([quote, '\n']).map_or(1, |i| i + 2).min(rest.len()),
        _ => rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(rest.len()),
    }
}
