//! Templates of commands: `{{ name }}` and nothing else is syntax. Knows the shell's quotes, so that a value is either
//! written as one safe word or refused; does not know paths or variables.

use std::fmt::Write as _;

use crate::base::span::Span;

/// A text with names to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The text as it was written: part of the key.
    pub text: String,
    /// Its pieces in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands as it is.
    Text(String),
    /// A name to be filled in.
    Name {
        /// The name, such as `inputs.orders`.
        name: String,
        /// Where it stands in the template, braces included.
        span: Span,
        /// Where it stands for the shell.
        place: Place,
    },
}

/// Where a piece stands for the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Outside all quotes: a value can be quoted.
    Bare,
    /// Inside quotes or a here-document: a value can only stand there if it needs no quotes.
    Quoted,
}

/// What is wrong with a template: the place in it and a fragment.
pub type TemplateError = (Span, String);

/// Reads a template.
///
/// # Errors
/// A `{{` without its `}}`, or something in braces that is not a name.
pub fn parse(text: &str) -> Result<Template, Vec<TemplateError>> {
    let mut pieces = Vec::new();
    let mut errors = Vec::new();
    let mut shell = ShellState::default();
    let mut at = 0;
    while let Some(open) = text[at..].find("{{").map(|i| at + i) {
        push_text(&mut pieces, &text[at..open]);
        shell.read(&text[at..open]);
        let Some(close) = text[open..].find("}}").map(|i| open + i) else {
            errors.push((open..open + 2, "`{{` has no `}}`".to_owned()));
            at = text.len();
            break;
        };
        let inner = text[open + 2..close].trim();
        let span = open..close + 2;
        match literal(inner) {
            Some(literal) => push_text(&mut pieces, literal),
            None if is_reference(inner) => {
                pieces.push(Piece::Name { name: inner.to_owned(), span, place: shell.place() });
            }
            None => errors.push((span, format!("`{inner}` is not a name"))),
        }
        shell.read("x");
        at = close + 2;
    }
    push_text(&mut pieces, &text[at..]);
    if errors.is_empty() { Ok(Template { text: text.to_owned(), pieces }) } else { Err(errors) }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if let Some(Piece::Text(last)) = pieces.last_mut() {
        last.push_str(text);
    } else if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// The text inside `{{ '…' }}`: the way to write braces themselves.
fn literal(inner: &str) -> Option<&str> {
    let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    inner.strip_prefix(quote)?.strip_suffix(quote).filter(|text| !text.contains(quote))
}

fn is_reference(inner: &str) -> bool {
    !inner.is_empty() && inner.split('.').all(crate::base::text::is_name)
}

impl Template {
    /// The names that it uses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Name { name, .. } => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// Fills it in for a shell: each value as one word, and `inputs` as one word for each. A value inside quotes is
    /// written as it stands; `check` has refused those that would need quotes of their own.
    #[must_use]
    pub fn for_shell(&self, values: &impl Fn(&str) -> Vec<String>) -> String {
        self.fill(|name, place| {
            let words = values(name);
            let quoted: Vec<_> = match place {
                Place::Bare => words.iter().map(|word| quote(word)).collect(),
                Place::Quoted => words,
            };
            quoted.join(" ")
        })
    }

    /// Fills it in as an argument of a program without a shell: several words only where the template is one name.
    #[must_use]
    pub fn for_words(&self, values: &impl Fn(&str) -> Vec<String>) -> Vec<String> {
        if let [Piece::Name { name, .. }] = self.pieces.as_slice() {
            return values(name);
        }
        vec![self.fill(|name, _| values(name).join(" "))]
    }

    fn fill(&self, value: impl Fn(&str, Place) -> String) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Name { name, place, .. } => out.push_str(&value(name, *place)),
            }
        }
        out
    }
}

/// Whether a word means itself to every shell, without quotes and inside any.
#[must_use]
pub fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./,:=@%+".contains(&b) || b >= 0x80)
}

/// The word, quoted for the shell where it needs to be.
#[must_use]
pub fn quote(word: &str) -> String {
    if is_plain(word) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Writes an argument list as a line that a shell would read the same way.
#[must_use]
pub fn command_line(words: &[String]) -> String {
    let mut line = String::new();
    for (i, word) in words.iter().enumerate() {
        let sep = if i == 0 { "" } else { " " };
        let _ = write!(line, "{sep}{}", quote(word));
    }
    line
}

/// One level of a shell text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Bare,
    Single,
    Double,
    /// `$'…'`
    Ansi,
    Comment,
    Backtick,
}

/// Follows a shell text far enough to know whether a place is inside quotes.
#[derive(Default)]
struct ShellState {
    levels: Vec<Level>,
    previous: char,
    escaped: bool,
    /// The word after `<<` while it is read, then the end mark that a here-document waits for.
    mark: Option<String>,
    line: String,
    in_document: bool,
}

impl ShellState {
    fn place(&self) -> Place {
        let quoted = matches!(self.levels.last(), Some(Level::Single | Level::Double | Level::Ansi));
        if quoted || self.in_document { Place::Quoted } else { Place::Bare }
    }

    fn read(&mut self, text: &str) {
        for (i, c) in text.char_indices() {
            if self.in_document {
                self.document(c);
            } else {
                self.step(c, &text[i..]);
            }
            self.previous = c;
        }
    }

    fn document(&mut self, c: char) {
        if c != '\n' {
            self.line.push(c);
            return;
        }
        if Some(self.line.trim_start_matches('\t')) == self.mark.as_deref() {
            self.in_document = false;
            self.mark = None;
        }
        self.line.clear();
    }

    fn step(&mut self, c: char, rest: &str) {
        if std::mem::take(&mut self.escaped) {
            return;
        }
        match self.levels.last().copied().unwrap_or(Level::Bare) {
            Level::Single => self.close_on(c, '\''),
            Level::Ansi if c == '\\' => self.escaped = true,
            Level::Ansi => self.close_on(c, '\''),
            Level::Comment => {
                if c == '\n' {
                    self.levels.pop();
                    self.end_of_line();
                }
            }
            Level::Double => self.double(c, rest),
            Level::Bare | Level::Backtick => self.bare(c, rest),
        }
    }

    fn close_on(&mut self, c: char, end: char) {
        if c == end {
            self.levels.pop();
        }
    }

    fn double(&mut self, c: char, rest: &str) {
        match c {
            '\\' => self.escaped = true,
            '"' => {
                self.levels.pop();
            }
            '$' if rest.starts_with("$(") => self.levels.push(Level::Bare),
            '`' => self.backtick(),
            _ => {}
        }
    }

    fn bare(&mut self, c: char, rest: &str) {
        let word_start = self.previous == '\0' || self.previous.is_whitespace() || ";|&()".contains(self.previous);
        match c {
            '\\' => self.escaped = true,
            '\'' if self.previous == '$' => self.levels.push(Level::Ansi),
            '\'' => self.levels.push(Level::Single),
            '"' => self.levels.push(Level::Double),
            '`' => self.backtick(),
            '#' if word_start => self.levels.push(Level::Comment),
            '(' if self.previous != '$' || self.levels.last() != Some(&Level::Bare) => self.levels.push(Level::Bare),
            ')' if self.levels.last() == Some(&Level::Bare) => {
                self.levels.pop();
            }
            '<' if self.previous != '<' => self.mark = here_mark(rest).or_else(|| self.mark.take()),
            '\n' => self.end_of_line(),
            _ => {}
        }
    }

    fn end_of_line(&mut self) {
        self.in_document = self.mark.is_some();
        self.line.clear();
    }

    fn backtick(&mut self) {
        if self.levels.last() == Some(&Level::Backtick) {
            self.levels.pop();
        } else {
            self.levels.push(Level::Backtick);
        }
    }
}

/// The end mark of a here-document whose `<<` begins `rest`. `<<<` is a here-string, `1<<2` is arithmetic.
fn here_mark(rest: &str) -> Option<String> {
    let word = rest.strip_prefix("<<")?;
    let word = word.strip_prefix('-').unwrap_or(word).trim_start_matches([' ', '\t']);
    let word = word.trim_start_matches(['\'', '"', '\\']);
    let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len());
    let mark = &word[..end];
    mark.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then(|| mark.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<Place> {
        let template = parse(text).unwrap();
        let place = |piece: &Piece| match piece {
            Piece::Name { place, .. } => Some(*place),
            Piece::Text(_) => None,
        };
        template.pieces.iter().filter_map(place).collect()
    }

    #[test]
    fn quotes_are_followed() {
        use Place::{Bare, Quoted};
        for (text, want) in [
            ("cat {{ a }} '{{ a }}' \"{{ a }}\" {{ a }}", vec![Bare, Quoted, Quoted, Bare]),
            (r#"echo "\"{{ a }}" {{ a }}"#, vec![Quoted, Bare]),
            (r#"echo "$(cat {{ a }}) {{ a }}""#, vec![Bare, Quoted]),
            ("# don't\ncat {{ a }}", vec![Bare]),
            ("echo a#'b {{ a }}'", vec![Quoted]),
            ("cat <<EOF\n{{ a }}\nEOF\ncat {{ a }}", vec![Quoted, Bare]),
            ("cat <<-'E'\n{{ a }}\n\tE\ncat {{ a }}", vec![Quoted, Bare]),
            ("x=$((1<<2)); cat {{ a }}", vec![Bare]),
            ("cat <<< x\n{{ a }}", vec![Bare]),
            ("(cd x && cat {{ a }}); (f '{{ a }}') {{ a }}", vec![Bare, Quoted, Bare]),
            (r"printf $'it\'s {{ a }}' {{ a }}", vec![Quoted, Bare]),
            ("x=`cat {{ a }}`; \"`cat {{ a }}` {{ a }}\"", vec![Bare, Bare, Quoted]),
        ] {
            assert_eq!(places(text), want, "{text}");
        }
    }

    #[test]
    fn values_become_words() {
        let values = |name: &str| match name {
            "inputs" => vec!["a b".to_owned(), "c".to_owned()],
            _ => vec!["it's".to_owned()],
        };
        assert_eq!(parse("cat {{ inputs }} {{v}}").unwrap().for_shell(&values), r"cat 'a b' c 'it'\''s'");
        assert_eq!(parse("{{ inputs }}").unwrap().for_words(&values), ["a b", "c"]);
        assert_eq!(parse("x={{ v }}").unwrap().for_words(&values), ["x=it's"]);
    }

    #[test]
    fn only_double_braces_are_syntax() {
        let text = "echo ${#x} {% x %} {# y #} } {{ '{{' }}x{{ \"}}\" }}";
        // The literal for `}}` cannot hold its own end mark; the first one found closes it.
        assert!(parse(text).is_err());
        let template = parse("${#x} {% x %} {{ '{{' }}.State}}").unwrap();
        assert_eq!(template.for_shell(&|_| Vec::new()), "${#x} {% x %} {{.State}}");
    }

    #[test]
    fn mistakes_are_placed() {
        assert_eq!(parse("a {{ b").unwrap_err()[0].0, 2..4);
        assert_eq!(parse("a {{ b + 1 }} {{}}").unwrap_err().len(), 2);
    }
}
