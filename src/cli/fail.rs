//! How what ends a command early is shown: once, at the border of the program.

use std::fmt::Write as _;

use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::base::span::{Located, Problem, Source};
use crate::base::text::{clean, clean_lines, count, steers};
use crate::pipeline::raw_engine::without_secrets;
use crate::session::fail::Fail;

impl Fail {
    /// What the user reads.
    pub(crate) fn render(&self, color: bool, width: usize) -> String {
        match self {
            Self::Mistakes(source, problems) => mistakes(source, problems, color, width),
            Self::Usage(message, help) => {
                let help = help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default();
                clean_lines(&format!("error: {message}{help}\n"))
            }
            Self::Nothing(message) | Self::Surroundings(message) => clean_lines(&format!("error: {message}\n")),
        }
    }
}

/// So many problems are shown with the text around them, and so many in all; more would hide the first ones.
const DRAWN: usize = 20;
const SHOWN: usize = 100;

/// The text with `?` for what steers a terminal. Places stay what they are.
fn printable(source: &Source) -> Source {
    let control = |c: char| (c.is_control() || steers(c)) && !matches!(c, '\n' | '\r' | '\t');
    if !source.text.contains(control) {
        return source.clone();
    }
    let mut text = String::with_capacity(source.text.len());
    for c in source.text.chars() {
        if control(c) { text.extend(std::iter::repeat_n('?', c.len_utf8())) } else { text.push(c) }
    }
    Source::new(&source.name, text)
}

/// A problem without the text around it.
fn in_line(source: &Source, problem: &Problem) -> String {
    let message = clean_lines(&problem.message);
    match problem.labels.first() {
        Some(label) => format!("{}:{}: {message}", source.name, source.line(label.span.start)),
        None => format!("{}: {message}", source.name),
    }
}

/// Problems with their places in the text, and how many there are.
fn mistakes(source: &Source, problems: &[Problem], color: bool, width: usize) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let source = &Source::new(clean(&source.name), without_secrets(&source.text));
    let mut text = String::new();
    let source = &printable(source);
    for (i, problem) in problems.iter().take(DRAWN).enumerate() {
        if i > 0 {
            text.push('\n');
        }
        let located = Located::new(problem, source);
        if handler.render_report(&mut text, &located).is_err() {
            // A place that cannot be drawn must not hide what is wrong.
            writeln!(text, "{}", in_line(source, problem)).expect("a String takes everything");
        }
    }
    if problems.len() > DRAWN {
        text.push('\n');
    }
    for problem in problems.iter().take(SHOWN).skip(DRAWN) {
        writeln!(text, "{}", in_line(source, problem)).expect("a String takes everything");
    }
    if problems.len() > SHOWN {
        writeln!(text, "… and {} more", problems.len() - SHOWN).expect("a String takes everything");
    }
    let word = |problem: &Problem| match (problem.warning, problem.obstacle) {
        (true, _) => "warning",
        (false, true) => "obstacle",
        (false, false) => "mistake",
    };
    let many = |kind: &&str| problems.iter().filter(|problem| word(problem) == *kind).count();
    let kinds = ["mistake", "obstacle", "warning"].into_iter().filter(|kind| many(kind) > 0);
    let counts: Vec<String> = kinds.map(|kind| count(many(&kind), kind)).collect();
    writeln!(text, "{}: {}", source.name, counts.join(", ")).expect("a String takes everything");
    text
}
