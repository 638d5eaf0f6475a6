//! What was most likely meant where a text is not TOML: quotes within quotes, backslashes, texts that do not end, conflicts of a
//! merge. Knows the messages of the parser, and no keys.

use crate::base::span::{Problem, Span};

/// The marks of a conflict, with what each begins.
const MARKS: [(&str, &str); 3] = [("<<<<<<<", "one side"), ("=======", "the other side"), (">>>>>>>", "its end")];

/// The first conflict that a merge has left in a text, if there is one.
pub(super) fn merge_conflict(text: &str) -> Option<Problem> {
    let mut problem = Problem::new("merge-conflict", "the file holds a conflict of a merge");
    let mut from = 0;
    for (mark, what) in MARKS {
        let at = from + line_that_begins(text.get(from..)?, mark)?;
        problem = problem.at(&(at..at + mark.len()), what);
        from = at + mark.len();
    }
    Some(problem.help("keep one side, or what is right of both, and take the marks out"))
}

/// Where the first line is that begins with a mark, alone or before a space.
fn line_that_begins(text: &str, mark: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.strip_prefix(mark).is_some_and(|rest| rest.trim_end().is_empty() || rest.starts_with(' ')) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// A mistake of the parser, with a way out where that is plain.
pub(super) fn problem(text: &str, span: &Span, message: &str) -> Problem {
    if let Some(problem) = no_end(text, span, message) {
        return problem;
    }
    if let Some(problem) = value(text, span, message) {
        return problem;
    }
    let one_line = message.lines().collect::<Vec<_>>().join(", ");
    let problem = Problem::new("syntax", format!("this is not TOML: {one_line}"));
    if let (true, Some(quote)) = (message.starts_with("unexpected key or value"), quote_within(text, span.start)) {
        let other = if quote == '"' { '\'' } else { '"' };
        let help = format!("what holds {quote} is written in {other}…{other} or in '''…'''");
        return problem.at(span, format!("the text has ended at the {quote} before")).help(help);
    }
    if message.starts_with("missing escaped value") {
        let help = "between \" a backslash begins an escape: write the text in '…' or '''…''', or each backslash twice";
        return problem.at(span, "here").help(help);
    }
    problem.at(span, "here")
}

/// What stands where a value is wanted and is none: nothing, `:` in the place of `=`, a word without quotes.
fn value(text: &str, span: &Span, message: &str) -> Option<Problem> {
    let rest = text.get(span.start..)?.lines().next().unwrap_or_default().trim();
    let before = text.get(..span.start)?.lines().next_back()?;
    let problem = |what: &str| Problem::new("syntax", format!("this is not TOML: {what}"));
    if message.starts_with("invalid unquoted key") && rest.starts_with(':') {
        let value = rest.trim_start_matches(':').trim();
        let problem = problem("a `:` stands between a key and its value").at(&(span.start..span.start + 1), "here");
        return Some(problem.help(format!("write `=`: {} = {value}", before.trim())));
    }
    let word = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    if message.starts_with("string values must be quoted") && (rest.is_empty() || rest.starts_with('#')) {
        return Some(problem("a key has no value").at(span, "here").help("a text that is empty is \"\""));
    }
    let wrong = ["invalid boolean", "invalid float", "string values must be quoted"];
    if word.is_empty()
        || !word.chars().all(char::is_alphabetic)
        || !wrong.iter().any(|begin| message.starts_with(begin))
    {
        return None;
    }
    let help = match word.to_lowercase().as_str() {
        "true" | "yes" | "on" => "write `true`",
        "false" | "no" | "off" => "write `false`",
        // There the parser says so.
        _ if message.starts_with("string") => return None,
        _ => "a text stands in quotes",
    };
    Some(problem(&format!("`{word}` is no value")).at(span, "here").help(help))
}

/// The quote that ended a text right before a place in it: the line goes on, with one more of them.
fn quote_within(text: &str, at: usize) -> Option<char> {
    let quote = text.get(..at)?.chars().next_back().filter(|c| matches!(c, '"' | '\''))?;
    let rest = text.get(at..)?.lines().next()?;
    rest.contains(quote).then_some(quote)
}

/// A text that goes on to the end of its line, or of the file: what counts is where it begins.
fn no_end(text: &str, span: &Span, message: &str) -> Option<Problem> {
    let kinds = [
        ("invalid multi-line basic string", "\"\"\""),
        ("invalid multi-line literal string", "'''"),
        ("invalid basic string", "\""),
        ("invalid literal string", "'"),
    ];
    let (_, quote) = kinds.into_iter().find(|(begin, _)| message.starts_with(begin))?;
    let rest = text.get(span.start..)?;
    let is_over = rest.is_empty() || rest.starts_with(['\n', '\r']);
    let at = text.get(..span.start)?.rfind(quote).filter(|_| is_over)?;
    let problem =
        Problem::new("syntax", "this is not TOML: a text has no end").at(&(at..at + quote.len()), "it begins here");
    let several = if quote.len() == 1 { "; a text of several lines stands between ''' and '''" } else { "" };
    Some(problem.help(format!("close it with {quote}{several}")))
}
