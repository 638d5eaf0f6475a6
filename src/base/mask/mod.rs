//! Masks secrets in a stream of bytes, as they are and in the encodings in which programs print them. Does not know where
//! the secrets come from, nor where the bytes go.

mod patterns;
#[cfg(test)]
mod tests;
mod trie;
mod view;

use std::sync::Arc;

use trie::Trie;
use view::View;

/// What stands in the place of a secret.
pub const MASK: &str = "***";
/// Shorter secrets are not masked: they would turn up everywhere.
pub const SHORTEST: usize = 6;

/// What is masked.
#[derive(Debug)]
pub struct Secrets {
    /// Values and their lines.
    plain: Trie,
    /// The same in hexadecimal digits, in lower case.
    hex: Trie,
    /// The same in base64, at each of three offsets.
    base64: Trie,
    /// Whether a `+` may stand for a blank in them.
    blanks: bool,
}

impl Secrets {
    /// Those of the values that are long enough; none if there are none.
    #[must_use]
    pub fn new(values: &[Vec<u8>]) -> Option<Arc<Self>> {
        let plain = patterns::plain(values);
        if plain.is_empty() {
            return None;
        }
        let hex = plain.iter().map(|value| patterns::hex(value));
        let base64 = plain.iter().flat_map(|value| patterns::base64(value));
        Some(Arc::new(Self {
            hex: Trie::new(hex),
            base64: Trie::new(base64),
            blanks: plain.iter().any(|value| value.contains(&b' ')),
            plain: Trie::new(plain),
        }))
    }

    /// A text with its secrets masked.
    #[must_use]
    pub fn mask(self: &Arc<Self>, text: &str) -> String {
        let mut masker = Masker::new(self);
        let mut out = Vec::with_capacity(text.len());
        masker.push(text.as_bytes(), &mut out);
        masker.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Masks one stream. What comes out does not depend on how it comes in pieces. Bytes that may be the beginning of a secret
/// are held back until that is known.
#[derive(Debug)]
pub struct Masker {
    secrets: Arc<Secrets>,
    views: Vec<View>,
    /// Bytes that are held back.
    held: Vec<u8>,
    /// The place in the stream of the first of them.
    begin: u64,
    /// What is a secret of them and of what is yet to come: places in the stream.
    found: Vec<(u64, u64)>,
    /// Where the last mask ends that was written.
    masked: u64,
}

impl Masker {
    /// For a new stream.
    #[must_use]
    pub fn new(secrets: &Arc<Secrets>) -> Self {
        let views = View::all(secrets.blanks);
        Self { secrets: Arc::clone(secrets), views, held: Vec::new(), begin: 0, found: Vec::new(), masked: 0 }
    }

    /// Takes bytes in and adds to `out` what is known to be no secret, and masks.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let at = self.begin + self.held.len() as u64;
        self.held.extend_from_slice(bytes);
        let mut safe = at + bytes.len() as u64;
        for view in &mut self.views {
            view.push(view.trie(&self.secrets), bytes, at, &mut self.found);
            safe = safe.min(view.held());
        }
        self.emit(safe, out);
    }

    /// The stream ends. What looks like the beginning of a secret at its end is masked too.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let end = self.begin + self.held.len() as u64;
        for view in &mut self.views {
            view.finish(view.trie(&self.secrets), end, &mut self.found);
        }
        self.emit(end, out);
    }

    /// Writes what stands before the place `safe`.
    fn emit(&mut self, safe: u64, out: &mut Vec<u8>) {
        if safe == self.begin {
            return;
        }
        self.found.sort_unstable();
        let begin = self.begin;
        let bytes = |from: u64, to: u64| {
            let place = |at: u64| usize::try_from(at - begin).unwrap_or(usize::MAX);
            place(from)..place(to)
        };
        let mut at = self.begin.max(self.masked.min(safe));
        for &(start, end) in &self.found {
            if start >= safe {
                break;
            }
            if start > self.masked || (self.masked == 0 && start == 0) {
                out.extend_from_slice(&self.held[bytes(at, start)]);
                out.extend_from_slice(MASK.as_bytes());
            }
            self.masked = self.masked.max(end);
            at = self.masked.min(safe);
        }
        out.extend_from_slice(&self.held[bytes(at, safe)]);
        self.found.retain(|(_, end)| *end > safe);
        self.held.drain(bytes(self.begin, safe));
        self.begin = safe;
    }
}
