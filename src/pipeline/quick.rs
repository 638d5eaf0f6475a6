//! Takes the plain tables out of a file, those that hold only texts and lists of texts under well-known keys, as nearly all
//! tables of large files do. What is left is text for the thorough reader. Whatever looks odd is left, so this file finds no
//! mistakes and decides nothing: it only saves time.

use std::borrow::Cow;
use std::mem::take;
use std::ops::Range;

use toml::Spanned;
use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

use crate::base::span::Span;
use crate::pipeline::raw::{RawNode, RawRecipe, RawTask, Run, Table};

/// The plain tables of a file, and what is left of it.
#[derive(Default)]
pub(crate) struct Plain {
    pub(crate) dataset: Table<Box<RawNode>>,
    pub(crate) folder: Table<Box<RawNode>>,
    pub(crate) model: Table<Box<RawNode>>,
    pub(crate) recipe: Table<Box<RawRecipe>>,
    pub(crate) task: Table<Box<RawTask>>,
    /// The text, up to the end of its last table that is not plain, with blanks for the tables that were taken out: every
    /// place in it is that of the file.
    pub(crate) rest: String,
}

/// A table of more tokens is not plain.
const LONGEST: usize = 1 << 20;

/// Takes the plain tables out; none where two of them have one name, which only the thorough reader can tell of.
pub(crate) fn split(text: &str) -> Option<Plain> {
    let source = Source::new(text);
    let mut plain = Plain::default();
    let mut left: Vec<Range<usize>> = Vec::new();
    let mut tokens: Vec<Token> = Vec::new();
    let mut lexer = source.lex();
    let mut depth = 0usize;
    let mut begin = 0;
    loop {
        let token = lexer.next();
        let is_header = depth == 0
            && token.is_some_and(|token| token.kind() == TokenKind::LeftSquareBracket)
            && tokens.iter().rev().find(|token| token.kind() != TokenKind::Whitespace).is_none_or(is_newline);
        if is_header || token.is_none() {
            let end = token.map_or(text.len(), |token| token.span().start());
            // Keys above the first header may say anything of any table.
            if begin == 0 && !tokens.iter().all(is_blank) && tokens[0].kind() != TokenKind::LeftSquareBracket {
                return None;
            }
            if !plain.take(source, &tokens)? {
                left.push(begin..end);
            }
            tokens.clear();
            begin = end;
        }
        let Some(token) = token else { break };
        if tokens.len() > LONGEST || !is_sound(source, token) {
            return None;
        }
        if matches!(token.kind(), TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket) {
            depth += 1;
        } else if matches!(token.kind(), TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket) {
            depth = depth.saturating_sub(1);
        }
        tokens.push(token);
    }
    plain.rest = rest(text, &left);
    Some(plain)
}

/// Whether a comment or the end of a line holds nothing that TOML forbids there.
fn is_sound(source: Source<'_>, token: Token) -> bool {
    let mut sound = true;
    let mut error = |_: toml_parser::ParseError| sound = false;
    if token.kind() == TokenKind::Comment {
        source.get(token).inspect(|raw| raw.decode_comment(&mut error));
    } else if token.kind() == TokenKind::Newline {
        source.get(token).inspect(|raw| raw.decode_newline(&mut error));
    }
    sound
}

fn is_newline(token: &Token) -> bool {
    token.kind() == TokenKind::Newline
}

fn rest(text: &str, left: &[Range<usize>]) -> String {
    let mut rest = String::with_capacity(left.last().map_or(0, |range| range.end));
    for range in left {
        rest.extend(std::iter::repeat_n(' ', range.start - rest.len()));
        rest.push_str(&text[range.clone()]);
    }
    rest
}

impl Plain {
    /// Takes one table; false where it is not plain, none where there is another one of its name.
    fn take(&mut self, source: Source<'_>, tokens: &[Token]) -> Option<bool> {
        let mut reader = Reader { source, tokens };
        let Some((section, name)) = reader.header() else { return Some(false) };
        let is_new = match section {
            "dataset" | "folder" | "model" => {
                let Some(node) = reader.keys(node) else { return Some(false) };
                let table = match section {
                    "dataset" => &mut self.dataset,
                    "folder" => &mut self.folder,
                    _ => &mut self.model,
                };
                table.insert(name, node).is_none()
            }
            "recipe" => {
                let Some(recipe) = reader.keys(recipe) else { return Some(false) };
                self.recipe.insert(name, recipe).is_none()
            }
            "task" => {
                let Some(task) = reader.keys(task) else { return Some(false) };
                self.task.insert(name, task).is_none()
            }
            _ => return Some(false),
        };
        is_new.then_some(true)
    }
}

/// A value of a plain table.
enum Value {
    Text(Spanned<String>),
    List(Span, Vec<Spanned<String>>),
}

/// Reads the tokens of one table. Anything unexpected is none.
struct Reader<'a> {
    source: Source<'a>,
    tokens: &'a [Token],
}

impl<'a> Reader<'a> {
    /// The next token that is neither white space nor, with `lines`, a comment or the end of a line.
    fn next(&mut self, lines: bool) -> Option<Token> {
        loop {
            let (token, rest) = self.tokens.split_first()?;
            self.tokens = rest;
            let skipped = token.kind() == TokenKind::Whitespace || lines && is_blank(token);
            if !skipped {
                return Some(*token).filter(|token| token.kind() != TokenKind::Eof);
            }
        }
    }

    fn expect(&mut self, kind: TokenKind) -> Option<()> {
        (self.next(false)?.kind() == kind).then_some(())
    }

    /// `[section.name]`
    fn header(&mut self) -> Option<(&'a str, Spanned<String>)> {
        self.expect(TokenKind::LeftSquareBracket)?;
        let (section, _) = self.key(false)?;
        self.expect(TokenKind::Dot)?;
        let (name, span) = self.key(false)?;
        self.expect(TokenKind::RightSquareBracket)?;
        self.end_of_line()?;
        Some((section, Spanned::new(span, name.to_owned())))
    }

    /// A key without quotes.
    fn key(&mut self, lines: bool) -> Option<(&'a str, Span)> {
        let token = self.next(lines)?;
        let text = self.source.get(token)?.as_str();
        let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let sound = token.kind() == TokenKind::Atom && text.bytes().all(bare);
        sound.then(|| (text, token.span().start()..token.span().end()))
    }

    fn end_of_line(&mut self) -> Option<()> {
        let more = self.tokens.iter().position(|token| token.kind() != TokenKind::Whitespace);
        self.tokens = &self.tokens[more.unwrap_or(self.tokens.len())..];
        self.tokens.first().is_none_or(is_blank).then_some(())
    }

    /// All keys, each handed to `set`, which is false for one that it does not know or that it has.
    fn keys<T: Default>(&mut self, set: impl Fn(&mut T, &str, Value) -> bool) -> Option<Box<T>> {
        let mut table = Box::<T>::default();
        while self.tokens.iter().any(|token| !is_blank(token)) {
            let (key, _) = self.key(true)?;
            self.expect(TokenKind::Equals)?;
            let value = self.value()?;
            self.end_of_line()?;
            if !set(&mut table, key, value) {
                return None;
            }
        }
        Some(table)
    }

    fn value(&mut self) -> Option<Value> {
        let token = self.next(false)?;
        if token.kind() != TokenKind::LeftSquareBracket {
            return self.text(token).map(Value::Text);
        }
        let mut list = Vec::new();
        loop {
            let item = self.next(true)?;
            if item.kind() == TokenKind::RightSquareBracket {
                return Some(Value::List(token.span().start()..item.span().end(), list));
            }
            list.push(self.text(item)?);
            let behind = self.next(true)?;
            if behind.kind() == TokenKind::RightSquareBracket {
                return Some(Value::List(token.span().start()..behind.span().end(), list));
            } else if behind.kind() != TokenKind::Comma {
                return None;
            }
        }
    }

    fn text(&self, token: Token) -> Option<Spanned<String>> {
        if !matches!(
            token.kind(),
            TokenKind::BasicString | TokenKind::LiteralString | TokenKind::MlBasicString | TokenKind::MlLiteralString
        ) {
            return None;
        }
        let raw = self.source.get(token)?;
        let span = token.span().start()..token.span().end();
        if let Some(text) = plain_text(token.kind(), raw.as_str()) {
            return Some(Spanned::new(span, text.to_owned()));
        }
        // Ends of lines within a text are made the same everywhere: that is left to the thorough reader.
        if raw.as_str().contains('\r') {
            return None;
        }
        let mut text = Cow::Borrowed("");
        let mut sound = true;
        let mut error = |_: toml_parser::ParseError| sound = false;
        let kind = raw.decode_scalar(&mut text, &mut error);
        debug_assert_eq!(kind, toml_parser::decoder::ScalarKind::String);
        sound.then(|| Spanned::new(span, text.into_owned()))
    }
}

/// What stands between the quotes of a text in which nothing stands for something else.
fn plain_text(kind: TokenKind, raw: &str) -> Option<&str> {
    let text = raw.strip_prefix('"')?.strip_suffix('"').filter(|_| kind == TokenKind::BasicString)?;
    // A fold looks at many letters at once.
    let odd = text.bytes().fold(false, |odd, b| odd | (b < b' ') | (b == 0x7f) | (b == b'\\') | (b == b'"'));
    (!odd).then_some(text)
}

fn is_blank(token: &Token) -> bool {
    matches!(token.kind(), TokenKind::Whitespace | TokenKind::Newline | TokenKind::Comment | TokenKind::Eof)
}

/// Puts a value where there is none yet.
fn put<T>(slot: &mut Option<T>, value: T) -> bool {
    slot.replace(value).is_none()
}

/// The keys that every recipe has.
macro_rules! make {
    ($table:ident, $key:ident, $value:ident) => {
        match ($key, $value) {
            ("inputs", Value::List(_, list)) => put(&mut $table.inputs, list),
            ("files", Value::List(_, list)) => put(&mut $table.files, list),
            ("run", Value::Text(text)) => {
                let span = text.span();
                put(&mut $table.run, Spanned::new(span, Run::Shell(text.into_inner())))
            }
            ("run", Value::List(span, list)) => put(&mut $table.run, Spanned::new(span, Run::Words(list))),
            ("workdir", Value::Text(text)) => put(&mut $table.workdir, text),
            ("rebuild", Value::Text(text)) => put(&mut $table.rebuild, text),
            ("description", Value::Text(text)) => put(&mut $table.description, text.into_inner()),
            ("tags", Value::List(_, list)) if !list.is_empty() => {
                let before = take(&mut $table.tags);
                $table.tags = list;
                before.is_empty()
            }
            _ => false,
        }
    };
}

fn node(table: &mut RawNode, key: &str, value: Value) -> bool {
    match (key, value) {
        ("path", Value::Text(text)) => put(&mut table.path, text),
        ("digest", Value::Text(text)) => put(&mut table.digest, text),
        ("id", Value::Text(text)) => put(&mut table.id, text.into_inner()),
        ("project", Value::Text(text)) => put(&mut table.project, text.into_inner()),
        (key, value) => make!(table, key, value),
    }
}

fn recipe(table: &mut RawRecipe, key: &str, value: Value) -> bool {
    match (key, value) {
        ("outputs", Value::List(_, list)) if !list.is_empty() => {
            let before = take(&mut table.outputs);
            table.outputs = list;
            before.is_empty()
        }
        (key, value) => make!(table, key, value),
    }
}

fn task(table: &mut RawTask, key: &str, value: Value) -> bool {
    make!(table, key, value)
}
