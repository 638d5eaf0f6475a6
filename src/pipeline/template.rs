//! Templates of commands: `{{ name }}` and nothing else is syntax. A value is either written as one safe
//! word or refused; does not know paths or variables.

use std::fmt::Write as _;

use crate::base::span::Span;
use crate::base::text::one_line;
use crate::pipeline::shell::ShellReader;

/// A text with names to be filled in.
#[derive(Clone, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Template {
    /// The text as it was written: part of the key.
    pub text: String,
    /// Its pieces in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a template. It holds places in the text, so that a long file makes no heap of small texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub enum Piece {
    /// Text that stands as it is.
    Text(Slice),
    /// A name to be filled in.
    Name {
        /// The name, such as `inputs.orders`.
        name: Slice,
        /// Where it stands in the template, braces included.
        span: Slice,
        /// Where it stands for the shell.
        place: Place,
    },
}

/// A part of a template's text, in bytes. A file under 64 MiB has no longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Slice {
    start: u32,
    end: u32,
}

impl Slice {
    fn new(span: Span) -> Self {
        let place = |at: usize| u32::try_from(at).expect("a file under 64 MiB has no text of 4 GiB");
        Self { start: place(span.start), end: place(span.end) }
    }

    /// Where it lies.
    #[must_use]
    pub fn span(self) -> Span {
        self.start as usize..self.end as usize
    }
}

/// Where a piece stands for the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub enum Place {
    /// Outside all quotes: a value can be quoted.
    Bare,
    /// Inside quotes or a here-document: a value can only stand there if it needs no quotes, wherever the root lies.
    Quoted(Quotes),
    /// Inside a comment: a value says nothing, as long as it stays on its line.
    Comment,
}

/// What a value stands in that is not bare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub enum Quotes {
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// A here-document in which the shell fills in variables.
    Document,
    /// A here-document whose mark is in quotes: the shell leaves it as it is.
    Verbatim,
    /// Backticks, `${…}` or `$'…'`, which shells read in several ways.
    Other,
}

/// What is wrong with a template: the place in it and a fragment.
pub type TemplateError = (Span, String);

/// Reads a template. It holds what is sound; it may be used only where there is no error: a `{{` without its `}}`, or
/// something in braces that is not a name.
#[must_use]
pub fn parse(text: impl Into<String>) -> (Template, Vec<TemplateError>) {
    let mut template = Template { text: text.into(), pieces: Vec::new() };
    let Template { text, pieces } = &mut template;
    let mut errors = Vec::new();
    let mut shell = ShellReader::default();
    let mut at = 0;
    while let Some(open) = twice(&text[at..], '{').map(|i| at + i) {
        push_text(pieces, at..open);
        shell.read(&text[at..open]);
        let Some(close) = twice(&text[open..], '}').map(|i| open + i) else {
            errors.push((open..open + 2, "`{{` has no `}}`".to_owned()));
            at = text.len();
            break;
        };
        let inner = inner(text, open + 2..close);
        let span = open..close + 2;
        match literal(&text[inner.clone()]) {
            Some(literal) => push_text(pieces, inner.start + literal.start..inner.start + literal.end),
            None if is_reference(&text[inner.clone()]) => {
                pieces.push(Piece::Name { name: Slice::new(inner), span: Slice::new(span), place: shell.place() });
            }
            None if inner.is_empty() => errors.push((span, "there is no name between the braces".to_owned())),
            None => errors.push((span, format!("`{}` is not a name", one_line(&text[inner], 60)))),
        }
        shell.read("x");
        at = close + 2;
    }
    push_text(pieces, at..text.len());
    (template, errors)
}

/// The first thing of a text that is filled in where it is a command.
pub(crate) fn filled(text: &str) -> Option<String> {
    if !text.contains("{{") {
        return None;
    }
    let (template, _) = parse(text);
    template.pieces.iter().find_map(|piece| match piece {
        Piece::Name { name, span, .. } => {
            let own = matches!(template.slice(*name).split('.').next(), Some("inputs" | "outputs" | "output" | "vars"));
            own.then(|| template.slice(*span).to_owned())
        }
        Piece::Text(_) => None,
    })
}

/// The name that was most likely meant by what stands in braces and is none, as `inputs.busy-shops`.
#[must_use]
pub fn like(braces: &str) -> Option<String> {
    let inner = braces.trim_matches(['{', '}']).trim();
    let plain = !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    Some(inner.replace('-', "_")).filter(|like| plain && is_reference(like))
}

/// Where a letter first stands twice in a row.
fn twice(text: &str, c: char) -> Option<usize> {
    text.match_indices(c).map(|(at, _)| at).find(|at| text[at + c.len_utf8()..].starts_with(c))
}

/// A part of a text without the blanks around it.
fn inner(text: &str, span: Span) -> Span {
    let start = span.end - text[span.clone()].trim_start().len();
    start..start + text[start..span.end].trim_end().len()
}

fn push_text(pieces: &mut Vec<Piece>, span: Span) {
    if !span.is_empty() {
        pieces.push(Piece::Text(Slice::new(span)));
    }
}

/// The text inside `{{ '…' }}`: the way to write braces themselves.
fn literal(inner: &str) -> Option<Span> {
    let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let text = inner.strip_prefix(quote)?.strip_suffix(quote).filter(|text| !text.contains(quote))?;
    Some(1..1 + text.len())
}

fn is_reference(inner: &str) -> bool {
    !inner.is_empty() && inner.split('.').all(crate::base::text::is_name)
}

impl Template {
    /// The text as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All of it, where nothing is filled in.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Text(slice)] => Some(self.slice(*slice)),
            _ => None,
        }
    }

    /// A part of its text.
    #[must_use]
    pub fn slice(&self, slice: Slice) -> &str {
        &self.text[slice.span()]
    }

    /// The names that it uses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Name { name, .. } => Some(self.slice(*name)),
            Piece::Text(_) => None,
        })
    }

    /// Fills it in for a shell: each value as one word, and `inputs` as one word for each. `check` has refused values
    /// inside quotes that would need quotes of their own, but for the path of the root, of which it knows nothing.
    #[must_use]
    pub fn for_shell(&self, values: &impl Fn(&str) -> Vec<String>) -> String {
        self.fill(|name, place| {
            let words = values(name);
            let quoted: Vec<_> = match place {
                Place::Bare => words.iter().map(|word| quote(word)).collect(),
                Place::Quoted(quotes) => words.iter().map(|word| inside(word, quotes)).collect(),
                Place::Comment => words.iter().map(|word| one_line(word, usize::MAX)).collect(),
            };
            quoted.join(" ")
        })
    }

    /// Fills it in as an argument of a program without a shell: several words only where the template is one name.
    #[must_use]
    pub fn for_words(&self, values: &impl Fn(&str) -> Vec<String>) -> Vec<String> {
        if let [Piece::Name { name, .. }] = self.pieces.as_slice() {
            return values(self.slice(*name));
        }
        vec![self.fill(|name, _| values(name).join(" "))]
    }

    fn fill(&self, value: impl Fn(&str, Place) -> String) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(self.slice(*text)),
                Piece::Name { name, place, .. } => out.push_str(&value(self.slice(*name), *place)),
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

/// The word as it is written inside quotes, so that it means itself.
fn inside(word: &str, quotes: Quotes) -> String {
    let escaped = |special: &[char]| {
        let escape = |c: char| if special.contains(&c) { format!("\\{c}") } else { c.to_string() };
        word.chars().map(escape).collect()
    };
    match quotes {
        Quotes::Single => word.replace('\'', r"'\''"),
        Quotes::Double => escaped(&['\\', '"', '$', '`']),
        Quotes::Document => escaped(&['\\', '$', '`']),
        Quotes::Verbatim | Quotes::Other => word.to_owned(),
    }
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

/// The words of a line that [`command_line`] has written; none where it has not.
#[must_use]
pub fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(chars.next()?),
            '\'' => {
                let word = word.get_or_insert_default();
                while let Some(c) = Some(chars.next()?).filter(|c| *c != '\'') {
                    word.push(c);
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_read_as_it_was_written() {
        for list in [&["kiln", "run"][..], &["--var", "x=it's  \"a\" \\ b$"], &["", "'", " ", "a'b'", "ü"], &[]] {
            let list: Vec<_> = list.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(words(&command_line(&list)).unwrap(), list);
        }
        assert_eq!((words("an 'open one"), words("ends with \\")), (None, None));
    }

    #[track_caller]
    fn sound(text: &str) -> Template {
        let (template, errors) = parse(text);
        assert_eq!(errors, []);
        template
    }

    #[test]
    fn values_become_words() {
        let values = |name: &str| match name {
            "inputs" => vec!["a b".to_owned(), "c".to_owned()],
            _ => vec!["it's".to_owned()],
        };
        assert_eq!(sound("cat {{ inputs }} {{v}}").for_shell(&values), r"cat 'a b' c 'it'\''s'");
        assert_eq!(sound("{{ inputs }}").for_words(&values), ["a b", "c"]);
        assert_eq!(sound("x={{ v }}").for_words(&values), ["x=it's"]);
    }

    #[test]
    fn what_another_program_fills_in_is_its_own() {
        for (text, found) in [
            ("cat {{ inputs.src }}", Some("{{ inputs.src }}")),
            ("{{output}}", Some("{{output}}")),
            ("{{ vars.q }}x", Some("{{ vars.q }}")),
            ("docker ps --format '{{.ID}}'", None),
            ("{{ ref('orders') }}", None),
            ("{{cookiecutter.slug}}/a", None),
            ("{a}", None),
        ] {
            assert_eq!(filled(text).as_deref(), found, "{text}");
        }
    }

    #[test]
    fn only_double_braces_are_syntax() {
        let text = "echo ${#x} {% x %} {# y #} } {{ '{{' }}x{{ \"}}\" }}";
        // The literal for `}}` cannot hold its own end mark; the first one found closes it.
        assert_eq!(parse(text).1.len(), 1);
        let template = sound("${#x} {% x %} {{ '{{' }}.State}}");
        assert_eq!(template.for_shell(&|_| Vec::new()), "${#x} {% x %} {{.State}}");
    }

    #[test]
    fn mistakes_are_placed() {
        assert_eq!(parse("a {{ b").1[0].0, 2..4);
        assert_eq!(parse("a {{ b + 1 }} {{}} {{ c").1.len(), 3);
    }
}
