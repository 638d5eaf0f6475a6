//! What a step printed as a part of a page: text, with the colours of a terminal as classes. What goes back to the beginning
//! of its line begins a new one; what would turn the direction of writing is spelled out. Everything else that steers terminals is left out.

use maud::{Markup, html};

use crate::server::page::words::harmless;

/// Colour and weight of what follows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    color: u8,
    bold: bool,
}

impl Style {
    fn class(self) -> Option<String> {
        let color = if self.color > 0 { format!("ansi-{}", self.color) } else { String::new() };
        let bold = if self.bold { " ansi-b" } else { "" };
        (self != Self::default()).then(|| format!("{color}{bold}").trim().to_owned())
    }

    /// With a list of numbers, as in `1;31`.
    fn with(mut self, codes: &str) -> Self {
        let mut codes = codes.split(';').map(|code| code.parse::<u8>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => self = Self::default(),
                1 => self.bold = true,
                22 => self.bold = false,
                code @ 30..=37 => self.color = code - 30,
                // One of very many colours, with what says which.
                38 | 48 => match codes.next() {
                    Some(5) => drop(codes.next()),
                    Some(2) => drop(codes.nth(2)),
                    _ => {}
                },
                39 => self.color = 0,
                code @ 90..=97 => self.color = if code == 90 { 8 } else { code - 90 },
                _ => {}
            }
        }
        self
    }
}

/// Text with its colours.
pub(super) fn coloured(text: &str) -> Markup {
    let mut style = Style::default();
    let mut parts: Vec<(Style, String)> = Vec::new();
    let text = text.replace("\r\n", "\n");
    for (i, piece) in text.split('\u{1b}').enumerate() {
        let mut rest = piece;
        if i > 0 {
            let (codes, behind) = escape(piece);
            if let Some(codes) = codes {
                style = style.with(codes);
            }
            rest = behind;
        }
        let plain = harmless(rest);
        match parts.last_mut() {
            Some((last, text)) if *last == style => text.push_str(&plain),
            _ => parts.push((style, plain)),
        }
    }
    html! {
        @for (style, text) in parts.iter().filter(|(_, text)| !text.is_empty()) {
            @match style.class() {
                Some(class) => span class=(class) { (text) },
                None => (text),
            }
        }
    }
}

/// What stands behind an escape character: the numbers of a colour if it is one, and the text after it.
fn escape(piece: &str) -> (Option<&str>, &str) {
    if let Some(body) = piece.strip_prefix('[') {
        let Some(end) = body.find(|c: char| ('@'..='~').contains(&c)) else { return (None, "") };
        let (codes, behind) = body.split_at(end);
        let is_color = behind.starts_with('m') && codes.bytes().all(|b| b.is_ascii_digit() || b == b';');
        return (is_color.then_some(codes), &behind[1..]);
    }
    if let Some(body) = piece.strip_prefix(']') {
        return (None, body.split_once('\u{7}').map_or("", |(_, behind)| behind));
    }
    let mut chars = piece.chars();
    chars.next();
    (None, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the script of the pages makes of them, too: `tests/it/page/logs.rs`.
    const CASES: &str = include_str!("../../../tests/it/page/colours.json");

    #[test]
    fn colours_are_those_that_the_script_shows() {
        let cases: Vec<(String, Vec<(String, String)>)> = serde_json::from_str(CASES).unwrap();
        for (text, parts) in cases {
            let span = |(class, text): &(String, String)| match class.as_str() {
                "" => text.clone(),
                class => format!("<span class=\"{class}\">{text}</span>"),
            };
            assert_eq!(coloured(&text).into_string(), parts.iter().map(span).collect::<String>(), "{text:?}");
        }
    }

    #[test]
    fn colours_are_classes_and_the_rest_is_text() {
        for (text, shown) in [
            ("plain <b>&", "plain &lt;b&gt;&amp;"),
            ("\u{1b}[31mred\u{1b}[0m on", "<span class=\"ansi-1\">red</span> on"),
            ("\u{1b}[1;92mgood\u{1b}[22;39m on", "<span class=\"ansi-2 ansi-b\">good</span> on"),
            ("\u{1b}[31m\u{1b}[31ma\u{1b}[31mb", "<span class=\"ansi-1\">ab</span>"),
            ("a\u{1b}[2K\u{1b}[1Ab\u{1b}]0;title\u{7}c\u{1b}(Bd", "abcBd"),
            ("\u{1b}[", ""),
            ("\u{1b}", ""),
            ("\u{1b}[99999mé", "é"),
            ("a\u{0}\u{8}b\tc\n", "ab\tc\n"),
            ("one\r\ntwo 1\rtwo 2\r\n", "one\ntwo 1\ntwo 2\n"),
            ("\u{202e}drow\u{2066} é", "\\u{202e}drow\\u{2066} é"),
        ] {
            assert_eq!(coloured(text).into_string(), shown, "{text:?}");
        }
    }
}
