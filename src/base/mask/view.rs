//! One way to read a stream: as it is, or with an encoding undone. Each is searched for secrets on its own, and knows for
//! each of its letters where in the stream it stands.

use std::collections::VecDeque;

use super::trie::{ROOT, Trie};
use super::{SHORTEST, Secrets};

/// How a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// As it is.
    Plain,
    /// `%41` is an `A`.
    Percent,
    /// The same, and `+` is a blank.
    Form,
    /// `\u0041` and `\x41` are an `A`, and so on.
    Escapes,
    /// As hexadecimal digits.
    Hex,
    /// As letters of base64, of either alphabet.
    Base64,
}

/// Programs that break lines of digits or letters do so after at least so many.
const BROKEN_AFTER: u64 = 30;

/// A reading of a stream, and how far the search in it has come.
#[derive(Debug)]
pub(super) struct View {
    reading: Reading,
    state: u32,
    /// Where the letters that the state stands for begin.
    starts: VecDeque<u64>,
    /// The beginning of something encoded, and where it stands.
    pending: Vec<u8>,
    pending_at: u64,
    /// Where the line of digits or letters begins, or that it was broken off.
    line: Line,
    /// Where the stream is.
    at: u64,
}

#[derive(Clone, Copy, Debug)]
enum Line {
    Since(u64),
    Broken,
}

/// Places in the stream that hold secrets.
type Found = Vec<(u64, u64)>;

impl View {
    /// All that are needed.
    pub(super) fn all(blanks: bool) -> Vec<Self> {
        use Reading::{Base64, Escapes, Form, Hex, Percent, Plain};
        let mut readings = vec![Plain, Percent, Escapes, Hex, Base64];
        readings.extend(blanks.then_some(Form));
        readings.into_iter().map(Self::new).collect()
    }

    fn new(reading: Reading) -> Self {
        let (starts, pending, line) = (VecDeque::new(), Vec::new(), Line::Since(0));
        Self { reading, state: ROOT, starts, pending, pending_at: 0, line, at: 0 }
    }

    /// What is looked for.
    pub(super) fn trie<'a>(&self, secrets: &'a Secrets) -> &'a Trie {
        match self.reading {
            Reading::Plain | Reading::Percent | Reading::Form | Reading::Escapes => &secrets.plain,
            Reading::Hex => &secrets.hex,
            Reading::Base64 => &secrets.base64,
        }
    }

    /// Reads bytes that stand at the place `at`.
    pub(super) fn push(&mut self, trie: &Trie, bytes: &[u8], at: u64, found: &mut Found) {
        for (at, byte) in (at..).zip(bytes) {
            self.at = at + 1;
            match self.reading {
                Reading::Plain => self.letter(trie, *byte, at, found),
                Reading::Percent | Reading::Form | Reading::Escapes => self.encoded(trie, *byte, at, found),
                Reading::Hex | Reading::Base64 => self.digit(trie, *byte, at, found),
            }
        }
    }

    /// From where on the stream may hold a secret that is not complete.
    pub(super) fn held(&self) -> u64 {
        let pending = if self.pending.is_empty() { self.at } else { self.pending_at };
        self.starts.front().copied().unwrap_or(pending)
    }

    /// The stream ends at the place `end`.
    pub(super) fn finish(&mut self, trie: &Trie, end: u64, found: &mut Found) {
        self.give_up(trie, found);
        if let Some(start) = self.starts.front().filter(|_| self.starts.len() >= SHORTEST) {
            found.push((*start, end));
        }
        *self = Self { at: end, line: Line::Since(end), ..Self::new(self.reading) };
    }

    /// The next letter; it stands from `start` to where the stream is.
    fn letter(&mut self, trie: &Trie, letter: u8, start: u64, found: &mut Found) {
        self.state = trie.step(self.state, letter);
        if self.state == ROOT {
            self.starts.clear();
            return;
        }
        self.starts.push_back(start);
        let over = self.starts.len() - trie.depth(self.state);
        self.starts.drain(..over);
        let length = trie.ends(self.state);
        if length > 0 {
            found.push((self.starts[self.starts.len() - length], self.at));
        }
    }

    fn digit(&mut self, trie: &Trie, byte: u8, at: u64, found: &mut Found) {
        let letter = match (self.reading, byte) {
            (Reading::Hex, _) => byte.to_ascii_lowercase(),
            (_, b'-') => b'+',
            (_, b'_') => b'/',
            (_, byte) => byte,
        };
        let belongs = letter.is_ascii_alphanumeric() || matches!(letter, b'+' | b'/');
        match self.line {
            Line::Broken if !matches!(byte, b'\n' | b'\r') => self.line = Line::Since(at),
            Line::Broken => return,
            Line::Since(start) if matches!(byte, b'\n' | b'\r') && at - start >= BROKEN_AFTER => {
                self.line = Line::Broken;
                return;
            }
            Line::Since(_) => {}
        }
        if !belongs {
            self.line = Line::Since(at + 1);
        }
        self.letter(trie, letter, at, found);
    }

    fn encoded(&mut self, trie: &Trie, byte: u8, at: u64, found: &mut Found) {
        if self.pending.is_empty() {
            if !matches!(byte, b'%' | b'\\' | b'+') {
                self.letter(trie, byte, at, found);
                return;
            }
            self.pending_at = at;
        }
        self.pending.push(byte);
        let read = match self.reading {
            Reading::Escapes => escape(&self.pending),
            Reading::Form if *self.pending == [b'+'] => Read::Is(vec![b' ']),
            Reading::Plain | Reading::Percent | Reading::Form | Reading::Hex | Reading::Base64 => {
                percent(&self.pending)
            }
        };
        match read {
            Read::More => {}
            Read::Is(letters) => {
                let start = self.pending_at;
                self.pending.clear();
                letters.into_iter().for_each(|letter| self.letter(trie, letter, start, found));
            }
            Read::No => self.first_as_it_is(trie, found),
        }
    }

    /// What was begun is nothing encoded: its first byte stands for itself, and the others are read anew.
    fn first_as_it_is(&mut self, trie: &Trie, found: &mut Found) {
        let (pending, start, end) = (std::mem::take(&mut self.pending), self.pending_at, self.at);
        let Some((first, rest)) = pending.split_first() else { return };
        self.at = start + 1;
        self.letter(trie, *first, start, found);
        for (at, byte) in (start + 1..).zip(rest) {
            self.at = at + 1;
            self.encoded(trie, *byte, at, found);
        }
        self.at = end;
    }

    fn give_up(&mut self, trie: &Trie, found: &mut Found) {
        while !self.pending.is_empty() {
            self.first_as_it_is(trie, found);
        }
    }
}

/// What bytes mean in an encoding.
enum Read {
    /// That is not known yet.
    More,
    /// Nothing: they stand for themselves.
    No,
    /// These.
    Is(Vec<u8>),
}

fn percent(bytes: &[u8]) -> Read {
    match bytes {
        [b'%'] => Read::More,
        [b'%', digits @ ..] => number(digits, 2, |n| u8::try_from(n).ok().map(|byte| vec![byte])),
        _ => Read::No,
    }
}

/// The number that `digits` digits make, as letters.
fn number(bytes: &[u8], digits: usize, letters: impl FnOnce(u32) -> Option<Vec<u8>>) -> Read {
    let text = std::str::from_utf8(bytes).unwrap_or("-");
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Read::No;
    }
    if bytes.len() < digits {
        return Read::More;
    }
    u32::from_str_radix(text, 16).ok().and_then(letters).map_or(Read::No, Read::Is)
}

fn escape(bytes: &[u8]) -> Read {
    let utf8 = |n: u32| char::from_u32(n).map(|c| c.to_string().into_bytes());
    match bytes {
        [b'\\'] | [b'\\', b'u' | b'x'] => Read::More,
        [b'\\', b'x', digits @ ..] => number(digits, 2, |n| u8::try_from(n).ok().map(|byte| vec![byte])),
        [b'\\', b'u', high @ .., b'\\'] if is_surrogate(high) => Read::More,
        [b'\\', b'u', high @ .., b'\\', b'u'] if is_surrogate(high) => Read::More,
        [b'\\', b'u', a, b, c, d, b'\\', b'u', low @ ..] if is_surrogate(&[*a, *b, *c, *d]) => {
            let high = u32::from_str_radix(&String::from_utf8_lossy(&[*a, *b, *c, *d]), 16).unwrap_or(0);
            number(low, 4, |low| utf8(0x1_0000 + ((high & 0x3ff) << 10) + (low & 0x3ff)))
        }
        [b'\\', b'u', high @ ..] if is_surrogate(high) => Read::More,
        [b'\\', b'u', digits @ ..] => number(digits, 4, utf8),
        [b'\\', letter] => match letter {
            b'n' => Read::Is(vec![b'\n']),
            b't' => Read::Is(vec![b'\t']),
            b'r' => Read::Is(vec![b'\r']),
            b'b' => Read::Is(vec![8]),
            b'f' => Read::Is(vec![12]),
            b'"' | b'\\' | b'/' | b'\'' => Read::Is(vec![*letter]),
            _ => Read::No,
        },
        _ => Read::No,
    }
}

/// Whether four digits are the first half of a character.
fn is_surrogate(digits: &[u8]) -> bool {
    let [b'd' | b'D', second, rest @ ..] = digits else { return false };
    let high = matches!(second.to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b');
    high && rest.len() == 2 && rest.iter().all(u8::is_ascii_hexdigit)
}
