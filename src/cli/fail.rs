//! What ends a command early: shown once, at the border of the program, with its exit code.

use std::fmt::Write as _;

use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::base::span::{Located, Problem, Problems, Source};
use crate::base::text::count;
use crate::exit;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Fail {
    /// Mistakes in a file.
    Mistakes(Source, Problems),
    /// A mistake on the command line: what and a way out.
    Usage(String, Option<String>),
    /// Nothing was selected.
    Nothing(String),
    /// The surroundings: what could not be done, and its causes.
    Surroundings(String),
}

impl Fail {
    /// A failure of the surroundings with all its causes.
    pub(crate) fn because(what: &str, error: &dyn std::error::Error) -> Self {
        let mut text = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::Surroundings(text)
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Mistakes(..) | Self::Usage(..) => exit::WRONG,
            Self::Nothing(_) => exit::NOTHING,
            Self::Surroundings(_) => exit::SURROUNDINGS,
        }
    }

    /// What the user reads.
    pub(crate) fn render(&self, color: bool, width: usize) -> String {
        match self {
            Self::Mistakes(source, problems) => mistakes(source, problems, color, width),
            Self::Usage(message, help) => {
                let help = help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default();
                format!("error: {message}{help}\n")
            }
            Self::Nothing(message) | Self::Surroundings(message) => format!("error: {message}\n"),
        }
    }
}

/// Problems with their places in the text, and how many there are.
pub(crate) fn mistakes(source: &Source, problems: &[Problem], color: bool, width: usize) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let mut text = String::new();
    for problem in problems {
        let located = Located::new(problem.clone(), source);
        if handler.render_report(&mut text, &located).is_err() {
            // A place that cannot be drawn must not hide what is wrong.
            writeln!(text, "{}: {}", source.name, problem.message).expect("a String takes everything");
        }
    }
    let wrong = problems.iter().filter(|problem| !problem.warning).count();
    let warnings = problems.len() - wrong;
    let mut counts = Vec::new();
    if wrong > 0 {
        counts.push(count(wrong, "mistake"));
    }
    if warnings > 0 {
        counts.push(count(warnings, "warning"));
    }
    writeln!(text, "{}: {}", source.name, counts.join(", ")).expect("a String takes everything");
    text
}
