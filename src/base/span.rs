//! Places in a text and mistakes found there; the only file that makes miette diagnostics.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity};

/// A range of bytes in a [`Source`].
pub type Span = Range<usize>;

/// A text with the name that it is shown under.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name, usually the path as the user gave it.
    pub name: String,
    /// The whole text.
    pub text: Arc<str>,
}

impl Source {
    /// The line of a byte, counted from 1.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|b| **b == b'\n').count() + 1
    }
}

/// A place with a word about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is there.
    pub text: String,
}

/// One mistake in a user's file. It holds places, not the text that they point into.
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
}

impl Problem {
    /// A mistake of kind `code`.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), labels: Vec::new(), help: None, warning: false }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, span: &Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span: span.clone(), text: text.into() });
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warn(mut self) -> Self {
        self.warning = true;
        self
    }
}

/// Mistakes that were found together.
pub type Problems = Vec<Problem>;

/// A problem joined with the text that its places point into, ready to be rendered.
#[derive(Debug)]
pub struct Located {
    problem: Problem,
    source: NamedSource<Arc<str>>,
}

impl Located {
    /// Joins a problem with its text.
    #[must_use]
    pub fn new(problem: Problem, source: &Source) -> Self {
        Self { problem, source: NamedSource::new(&source.name, Arc::clone(&source.text)) }
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
