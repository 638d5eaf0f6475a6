//! What ends a request early, with the exit code that it comes to. Does not know how it is shown.

use crate::base::span::{Problem, Problems, Source};
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

/// The way out where no state can be kept.
pub(crate) const ELSEWHERE: &str = "`--state DIR` or KILN_STATE keep history and logs elsewhere";

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

    /// The same with a way out, where the surroundings are in the way.
    pub(crate) fn or(self, help: &str) -> Self {
        match self {
            Self::Surroundings(text) => Self::Surroundings(format!("{text}\n  help: {help}")),
            other @ (Self::Mistakes(..) | Self::Usage(..) | Self::Nothing(_)) => other,
        }
    }

    /// What is wrong, without a picture of its place: for programs.
    pub(crate) fn plain(&self) -> String {
        match self {
            Self::Mistakes(source, problems) => {
                let line = |problem: &Problem| {
                    let line = problem.labels.first().map(|label| format!(":{}", source.line(label.span.start)));
                    let help = problem.help.as_ref().map(|help| format!("; {help}"));
                    let (line, help) = (line.unwrap_or_default(), help.unwrap_or_default());
                    format!("{}{line}: {}{help}", source.name, problem.message)
                };
                let wrong = problems.iter().filter(|problem| !problem.warning);
                wrong.map(line).collect::<Vec<_>>().join("\n")
            }
            Self::Usage(message, Some(help)) => format!("{message}; {help}"),
            Self::Usage(message, None) | Self::Nothing(message) | Self::Surroundings(message) => message.clone(),
        }
    }

    /// What it is about, for reports: a file with the line of the first mistake, else Kiln.
    pub(crate) fn place(&self) -> (&str, Option<usize>) {
        match self {
            Self::Mistakes(source, problems) => {
                let first = problems.iter().find(|problem| !problem.warning);
                let label = first.and_then(|problem| problem.labels.first());
                (&source.name, label.map(|label| source.line(label.span.start)))
            }
            Self::Usage(..) | Self::Nothing(_) | Self::Surroundings(_) => ("kiln", None),
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Mistakes(..) | Self::Usage(..) => exit::WRONG,
            Self::Nothing(_) => exit::NOTHING,
            Self::Surroundings(_) => exit::SURROUNDINGS,
        }
    }
}
