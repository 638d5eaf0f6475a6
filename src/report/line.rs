//! A line for a terminal: coloured spans that can be measured, aligned and cut. All text that comes from a pipeline, a
//! command or a machine goes through here, so that nothing in it can steer the terminal. Does not know what lines say.

use std::fmt::Write;

use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Effects};
use unicode_width::UnicodeWidthChar;

use crate::base::text::clean;

/// What a span of text means, and so how it is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tint {
    /// Nothing in particular.
    Plain,
    /// Something went well.
    Good,
    /// Something was done and changed nothing.
    Calm,
    /// Something went wrong.
    Bad,
    /// Something was left out.
    Warn,
    /// It matters less than what is beside it.
    Dim,
    /// It names what the line is about.
    Strong,
}

impl Tint {
    fn style(self) -> anstyle::Style {
        let style = anstyle::Style::new();
        let color = |color: AnsiColor| style.fg_color(Some(color.into()));
        match self {
            Self::Plain => style,
            Self::Good => color(AnsiColor::Green),
            Self::Calm => color(AnsiColor::Cyan),
            Self::Bad => color(AnsiColor::Red).effects(Effects::BOLD),
            Self::Warn => color(AnsiColor::Yellow),
            Self::Dim => style.effects(Effects::DIMMED),
            Self::Strong => style.effects(Effects::BOLD),
        }
    }
}

/// A line of coloured spans, without its line end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    spans: Vec<(Tint, String)>,
}

impl Line {
    /// An empty line.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds text.
    pub(crate) fn text(self, text: &str) -> Self {
        self.tint(Tint::Plain, text)
    }

    /// Adds coloured text.
    pub(crate) fn tint(mut self, tint: Tint, text: &str) -> Self {
        if !text.is_empty() {
            self.spans.push((tint, clean(text)));
        }
        self
    }

    /// Adds text that a command printed: what would only colour it or move the cursor is left out, tabs stay.
    pub(crate) fn printed(mut self, text: &str) -> Self {
        let stripped = strip_str(text).to_string();
        let parts: Vec<String> = stripped.split('\t').map(clean).collect();
        self.spans.push((Tint::Plain, parts.join("\t")));
        self
    }

    /// Adds coloured text at a column, behind as many spaces as that needs: two if the line is too long already.
    pub(crate) fn at(mut self, column: usize, tint: Tint, text: &str) -> Self {
        if text.is_empty() {
            return self;
        }
        let gap = match column.saturating_sub(self.width()) {
            0 if column > 0 => 2,
            gap => gap,
        };
        self.spans.push((Tint::Plain, " ".repeat(gap)));
        self.tint(tint, text)
    }

    /// Adds another line behind this one.
    pub(crate) fn then(mut self, other: Self) -> Self {
        self.spans.extend(other.spans);
        self
    }

    /// How many columns it takes.
    pub(crate) fn width(&self) -> usize {
        self.spans.iter().map(|(_, text)| columns(text)).sum()
    }

    /// The line in as many as it takes where each has `width` columns, broken between words. What goes on stands below the last
    /// of its columns, where that leaves half of the width, else a little behind its beginning.
    pub(crate) fn folded(&self, width: usize) -> Vec<Self> {
        if self.width() <= width {
            return vec![self.clone()];
        }
        let plain: String = self.spans.iter().map(|(_, text)| text.as_str()).collect();
        let indent = plain.len() - plain.trim_start_matches(' ').len();
        let gap = plain.trim_end().rfind("  ").map(|at| at + 2).filter(|at| columns(&plain[..*at]) * 2 <= width);
        let (head, below) =
            gap.filter(|at| *at > indent).map_or((indent, indent + 2), |at| (at, columns(&plain[..at])));
        let (first, rest) = (width.saturating_sub(columns(&plain[..head])), width.saturating_sub(below));
        let (mut lines, mut at) = (Vec::new(), 0);
        for part in wrap(&plain[head..], first, rest) {
            let begin = if at == 0 { 0 } else { plain.len() - plain[at..].trim_start_matches(' ').len() };
            let words = part.trim_matches(' ');
            at = if at == 0 { head + words.len() } else { begin + words.len() };
            let indent = if begin == 0 { String::new() } else { " ".repeat(below) };
            lines.push(Self::new().text(&indent).then(self.part(begin, at)));
        }
        lines
    }

    /// What stands between two places of its text.
    fn part(&self, begin: usize, end: usize) -> Self {
        let mut at = 0;
        let spans = self.spans.iter().filter_map(|(tint, text)| {
            let place = at;
            at += text.len();
            let (from, to) = (begin.max(place), end.min(at));
            (from < to).then(|| (*tint, text[from - place..to - place].to_owned()))
        });
        Self { spans: spans.collect() }
    }

    /// The line as it is written, cut to `width` columns where that is given.
    pub(crate) fn render(&self, color: bool, width: Option<usize>) -> String {
        let mut room = width.filter(|width| self.width() > *width);
        let mut out = String::new();
        for (tint, text) in &self.spans {
            let (shown, full) = match &mut room {
                None => (text.clone(), false),
                Some(room) => fill(text, room),
            };
            let style = tint.style();
            if color && *tint != Tint::Plain && !shown.is_empty() {
                let _ = write!(out, "{style}{shown}{style:#}");
            } else {
                out.push_str(&shown);
            }
            if full {
                break;
            }
        }
        out
    }
}

/// As much of `text` as fits into `room` with an `…` behind it, and whether that filled it.
fn fill(text: &str, room: &mut usize) -> (String, bool) {
    let mut shown = String::new();
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if width + 1 > *room {
            if *room > 0 {
                shown.push('…');
            }
            return (shown, true);
        }
        *room -= width;
        shown.push(c);
    }
    (shown, false)
}

/// The words of a text in lines: the first of at most `first` columns, the others of at most `rest`; a longer word has a line
/// of its own.
pub(crate) fn wrap(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in words(text).split_inclusive(|word| word.ends_with([',', ';'])) {
        // What stands between two commas stays together where it has room.
        let whole = part.join(" ");
        let begins = lines.len() == 1 && lines[0].is_empty();
        let fits = columns(&whole) <= if begins { first.min(rest) } else { rest };
        let words = if fits { vec![whole.as_str()] } else { part.to_vec() };
        for word in words {
            let room = if lines.len() == 1 { first } else { rest };
            let line = lines.last_mut().expect("there is one at least");
            if line.is_empty() {
                line.push_str(word);
            } else if columns(line) + 1 + columns(word) <= room {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
    }
    lines
}

/// The words of a text. What stands between two backticks is one: it may be copied.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut from, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        quoted ^= c == '`' && (quoted || text[at + 1..].contains('`'));
        if c == ' ' && !quoted {
            words.push(&text[from..at]);
            from = at + 1;
        }
    }
    words.push(&text[from..]);
    words
}

/// A text whose lines are folded where there is a width.
pub(crate) fn fold(text: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| text.lines().any(|line| columns(line) > *width)) else {
        return text.to_owned();
    };
    let folded = text.lines().flat_map(|line| Line::new().text(line).folded(width));
    folded.map(|line| line.render(false, None) + "\n").collect()
}

/// How many columns a text takes, at most.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The command or message on one line: each run of white space becomes one space.
pub(crate) fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_columns_not_to_characters() {
        let line = Line::new().text("日本").tint(Tint::Bad, "語語").text(" end");
        assert_eq!(line.width(), 12);
        assert_eq!(line.render(false, Some(12)), "日本語語 end");
        assert_eq!(line.render(false, Some(8)), "日本語…");
        assert_eq!(line.render(false, Some(7)), "日本語…");
        assert_eq!(line.render(false, Some(1)), "…");
        assert_eq!(line.render(false, Some(0)), "");
    }

    #[test]
    fn a_cut_line_ends_its_colour() {
        let line = Line::new().tint(Tint::Good, "built").text(" orders");
        let cut = line.render(true, Some(4));
        assert_eq!(cut, "\u{1b}[32mbui…\u{1b}[0m");
    }

    #[test]
    fn columns_give_way_to_long_text() {
        let line = |name| Line::new().text(name).at(4, Tint::Plain, "x");
        assert_eq!(line("a").render(false, None), "a   x");
        assert_eq!(line("abcdef").render(false, None), "abcdef  x");
        assert_eq!(Line::new().at(0, Tint::Plain, "x").render(false, None), "x");
    }

    #[test]
    fn words_stay_whole() {
        assert_eq!(wrap("exit 1, attempt 1/4, again in 1s", 18, 10), ["exit 1, attempt", "1/4, again", "in 1s"]);
        assert_eq!(wrap("a/very/long/path is it", 4, 4), ["a/very/long/path", "is", "it"]);
        assert_eq!(wrap("", 4, 4), [""]);
        assert_eq!(
            wrap("so `kiln run -f x` ends it", 6, 6),
            ["so", "`kiln run -f x`", "ends", "it"],
            "it may be copied"
        );
        assert_eq!(wrap("an odd ` in it", 6, 6), ["an odd", "` in", "it"]);
    }

    #[test]
    fn a_word_without_width_is_a_word() {
        let line = Line::new().text("\u{200b} é one two");
        let lines: Vec<_> = line.folded(5).iter().map(|line| line.render(false, None)).collect();
        assert_eq!(lines, ["\u{200b} é", "  one", "  two"]);
    }

    #[test]
    fn a_line_goes_on_below_its_last_column() {
        let line =
            Line::new().tint(Tint::Bad, "FAILED").text(" ").tint(Tint::Strong, "a").text("  exit 1, out of memory");
        let folded =
            |line: &Line, width| line.folded(width).iter().map(|line| line.render(false, None)).collect::<Vec<_>>();
        assert_eq!(folded(&line, 32), ["FAILED a  exit 1, out of memory"]);
        assert_eq!(folded(&line, 24), ["FAILED a  exit 1,", "          out of memory"]);
        assert_eq!(folded(&line, 19), ["FAILED a  exit 1,", "  out of memory"], "there is no room below the column");
        let colored: Vec<_> = line.folded(24).iter().map(|line| line.render(true, None)).collect();
        assert_eq!(colored.join(""), line.render(true, None).replace("1, out", "1,          out"));
        assert_eq!(
            fold("a, b and c\n  build  x  never built before\n", Some(18)),
            "a, b and c\n  build  x  never\n    built before\n"
        );
        assert_eq!(fold("a, b and c", Some(6)), "a, b\n  and\n  c\n");
        assert_eq!(fold("a, b and c", None), "a, b and c");
        let whole = "日本  one two  a/very/long/path/indeed end";
        assert_eq!(folded(&Line::new().text(whole), 20), ["日本  one two", "  a/very/long/path/indeed", "  end"]);
    }

    #[test]
    fn text_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{7}"), r"a\u{1b}[2Jb c\u{7}");
        assert_eq!(clean("\u{9b}31m\u{202e}"), r"\u{9b}31m\u{202e}");
        let line = Line::new().printed("\u{1b}[31mred\u{1b}[0m\tend\u{8}\u{1b}]0;title\u{7}.");
        assert_eq!(line.render(false, None), "red\tend.");
    }
}
