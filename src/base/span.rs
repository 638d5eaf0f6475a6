//! Places in a text and mistakes found there; the only file that makes miette diagnostics.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, Severity, SourceCode, SourceSpan, SpanContents,
};

use crate::base::text::{count, steers};

/// A range of bytes in a [`Source`].
pub type Span = Range<usize>;

/// A text with the name that it is shown under.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name, usually the path as the user gave it.
    pub name: String,
    /// The whole text.
    pub text: Arc<String>,
    /// How many lines end before each stretch of it, once someone has asked for a line.
    ends: OnceLock<Arc<[usize]>>,
}

/// The bytes of a stretch: so few that the ends of lines in it can be counted in a byte, many at once.
const STRETCH: usize = 240;

/// How many lines end in a stretch.
fn ends(stretch: &[u8]) -> usize {
    stretch.iter().fold(0u8, |ends, b| ends + u8::from(*b == b'\n')).into()
}

impl Source {
    /// A text under a name.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: Arc::new(text.into()), ends: OnceLock::new() }
    }

    /// The line of a byte, counted from 1.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        let text = self.text.as_bytes();
        let before = self.ends.get_or_init(|| {
            let mut all = 0;
            let before = |stretch| {
                let before = all;
                all += ends(stretch);
                before
            };
            text.chunks(STRETCH).map(before).collect()
        });
        let at = offset.min(text.len().saturating_sub(1)) / STRETCH;
        let begin = at * STRETCH;
        1 + before.get(at).copied().unwrap_or_default() + ends(&text[begin..offset.clamp(begin, text.len())])
    }
}

/// A place with a word about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is there.
    pub text: String,
    /// Whether it only tells which step it is for.
    pub of_step: bool,
}

/// One mistake in a user's file, or what stands in its way on a machine. It holds places, not the text that they point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A stable word for the kind of mistake, such as `unknown-input`.
    pub code: &'static str,
    /// What is wrong: a lowercase fragment, without a period.
    pub message: String,
    /// Where; the first place counts most.
    pub labels: Vec<Label>,
    /// A way out.
    pub help: Option<String>,
    /// Whether it only warns.
    pub warning: bool,
    /// Whether it is no mistake of the file, but a state of the machine: something is not there, or cannot be read.
    pub obstacle: bool,
}

impl Problem {
    /// A mistake of kind `code`.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), labels: Vec::new(), help: None, warning: false, obstacle: false }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, span: &Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span: span.clone(), text: text.into(), of_step: false });
        self
    }

    /// Adds the place in a step that it is for.
    #[must_use]
    pub fn for_step(mut self, span: &Span, name: &str) -> Self {
        self.labels.push(Label { span: span.clone(), text: format!("for `{name}`"), of_step: true });
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is wrong, for where no place can be shown, with the words at the place as far as they say more.
    #[must_use]
    pub fn placed(&self) -> String {
        // Which step it is for is known there, and that it is there.
        let place = self.labels.first().filter(|label| !label.of_step && !label.text.ends_with("here"));
        place.map_or_else(|| self.message.clone(), |label| format!("{}: {}", self.message, label.text))
    }

    /// The same with a way out, in one line.
    #[must_use]
    pub fn in_line(&self) -> String {
        let help = self.help.as_ref().map(|help| format!("; {}", help.replace('\n', " "))).unwrap_or_default();
        format!("{}{help}", self.placed())
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warn(mut self) -> Self {
        self.warning = true;
        self
    }

    /// Makes it a state of the machine.
    #[must_use]
    pub fn obstacle(mut self) -> Self {
        self.obstacle = true;
        self
    }
}

/// Mistakes that were found together.
pub type Problems = Vec<Problem>;

/// The same with each mistake told once: of several that only differ in their place, the first says how many there are. What
/// is wrong with an engine itself is found at each step, in the same place.
#[must_use]
pub fn merged(problems: Problems) -> Problems {
    let mut told: Vec<(Problem, usize)> = Vec::new();
    let mut places: HashMap<(&'static str, String, Option<String>), (usize, HashSet<_>)> = HashMap::new();
    for problem in problems {
        let same = (problem.code, problem.message.clone(), problem.help.clone());
        let (place, seen) = places.entry(same).or_insert_with(|| (told.len(), HashSet::new()));
        // Whoever looks twice finds it twice.
        let is_new = seen.insert(problem.labels.first().map(|label| (label.span.clone(), label.text.clone())));
        match told.get_mut(*place) {
            Some((_, more)) => *more += usize::from(is_new),
            None => told.push((problem, 0)),
        }
    }
    let tell = |(mut problem, more): (Problem, usize)| {
        if let Some(label) = problem.labels.first_mut().filter(|_| more > 0) {
            label.text = format!("{}, and at {}", label.text, count(more, "more place"));
        }
        problem
    };
    told.into_iter().map(tell).collect()
}

/// A problem joined with the text that its places point into, ready to be rendered.
#[derive(Debug)]
pub struct Located {
    problem: Problem,
    source: Excerpt,
}

impl Located {
    /// Joins a problem with its text.
    #[must_use]
    pub fn new(problem: &Problem, source: &Source) -> Self {
        let mut problem = problem.clone();
        problem.message = escaped(&problem.message);
        problem.help = problem.help.as_deref().map(escaped);
        for label in &mut problem.labels {
            label.text = escaped(&label.text);
        }
        let source = Excerpt::of(source, &mut problem.labels);
        Self { problem, source }
    }
}

/// The text with what steers a terminal as TOML would escape it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if (c.is_control() || steers(c)) && c != '\n' { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Lines longer than this are not shown whole.
const LONG_LINE: usize = 400;
/// What is shown to both sides of a place in a long line.
const MARGIN: usize = 40;

/// A text to show places in: whole, or a piece of one long line.
#[derive(Debug)]
struct Excerpt {
    name: String,
    text: Arc<String>,
    /// The line and the column that the text begins at.
    line: usize,
    column: usize,
}

impl Excerpt {
    /// The text around the labels, which are moved along with it. A label ends with its first line.
    fn of(source: &Source, labels: &mut Vec<Label>) -> Self {
        let text = &source.text;
        for label in labels.iter_mut() {
            let line_end = text[label.span.start..].find('\n').map_or(text.len(), |i| label.span.start + i);
            label.span.end = label.span.end.min(line_end).max(label.span.start);
        }
        let long = labels.iter().any(|label| lines_around(text, &label.span).any(|line| line.len() > LONG_LINE));
        match labels.first() {
            Some(first) if long => {
                let first = first.span.clone();
                Self::piece(source, &first, labels)
            }
            _ => Self { name: source.name.clone(), text: Arc::clone(text), line: 0, column: 0 },
        }
    }

    fn piece(source: &Source, first: &Span, labels: &mut Vec<Label>) -> Self {
        let text = &source.text;
        let line = line_of(text, first);
        let start = floor(text, first.start.saturating_sub(MARGIN).max(line.start));
        let end = floor(text, first.end.min(first.start + 2 * MARGIN) + MARGIN).min(line.end);
        labels.retain(|label| start <= label.span.start && label.span.start <= end);
        for label in labels {
            label.span = label.span.start - start..label.span.end.min(end) - start;
        }
        let column = text[line.start..start].chars().count();
        Self {
            name: source.name.clone(),
            text: Arc::new(text[start..end].to_owned()),
            line: source.line(start) - 1,
            column,
        }
    }
}

/// The line that a place begins in.
fn line_of(text: &str, span: &Span) -> Span {
    let start = text[..span.start].rfind('\n').map_or(0, |i| i + 1);
    start..text[span.start..].find('\n').map_or(text.len(), |i| span.start + i)
}

/// The line of a place, and those before and after it, which are shown too.
fn lines_around<'t>(text: &'t str, span: &Span) -> impl Iterator<Item = &'t str> {
    let line = line_of(text, span);
    let before = text[..line.start].strip_suffix('\n').map(|text| text.rsplit('\n').next().unwrap_or(text));
    let after = text[line.end..].strip_prefix('\n').map(|text| text.split('\n').next().unwrap_or(text));
    [Some(&text[line]), before, after].into_iter().flatten()
}

/// The last border between characters at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text.read_span(span, before, after)?;
        let column = if inner.line() == 0 { self.column + inner.column() } else { inner.column() };
        let (line, count) = (self.line + inner.line(), inner.line_count());
        Ok(Box::new(MietteSpanContents::new_named(self.name.clone(), inner.data(), *inner.span(), line, column, count)))
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Located {}

impl Diagnostic for Located {
    fn code(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(self.problem.code))
    }

    fn severity(&self) -> Option<Severity> {
        Some(if self.problem.warning { Severity::Warning } else { Severity::Error })
    }

    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.problem.labels.is_empty() {
            return None;
        }
        Some(Box::new(
            self.problem
                .labels
                .iter()
                .map(|label| LabeledSpan::new_with_span(Some(label.text.clone()), label.span.clone())),
        ))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_of_many_places_is_told_once() {
        let problem = |at: usize| Problem::new("unset", "X is not set").for_step(&(at..at + 1), "a").help("set it");
        let told = merged(vec![problem(1), Problem::new("other", "Y"), problem(5), problem(9)]);
        assert_eq!(told.len(), 2);
        assert_eq!(
            told[0].labels,
            [Label { span: 1..2, text: "for `a`, and at 2 more places".to_owned(), of_step: true }]
        );
        assert_eq!(merged(vec![problem(1), problem(1)]), [problem(1)]);
        let twice = merged(vec![problem(1), problem(5), problem(1), problem(5)]);
        assert_eq!(twice[0].labels[0].text, "for `a`, and at 1 more place");
    }

    #[test]
    fn lines_are_counted_from_one() {
        let source = Source::new("a", "a\n\nb");
        assert_eq!([0, 1, 2, 3, 4, 99].map(|at| source.line(at)), [1, 1, 2, 3, 3, 3]);
        assert_eq!(Source::new("a", "").line(0), 1);
        let long = "\n".repeat(300) + &"b".repeat(500) + "\n\n";
        let source = Source::new("a", long.as_str());
        for at in 0..=long.len() + 1 {
            let line = 1 + long.bytes().take(at).filter(|b| *b == b'\n').count();
            assert_eq!(source.line(at), line, "{at}");
        }
    }
}
