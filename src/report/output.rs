//! What steps print, cut into lines or kept until it is shown. Does not know how it is shown.

/// The longest line; a longer one is told in pieces.
pub const LONGEST: usize = 64 << 10;

/// Cuts bytes into lines as they come.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    after_return: bool,
}

impl Lines {
    /// Takes bytes in and gives the lines that are complete with them. A carriage return ends a line too.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.extend(&rest[..end], &mut lines);
            let is_return = rest[end] == b'\r';
            let is_pair = rest[end] == b'\n' && self.after_return && self.partial.is_empty();
            // A progress bar begins each of its states with a return: that is no empty line.
            let is_nothing = is_return && self.partial.is_empty();
            if !is_pair && !is_nothing {
                lines.push(self.take());
            }
            // The second half of `\r\n`, which may come with the next bytes, ends no other line.
            self.after_return = is_return && (!is_nothing || self.after_return);
            rest = &rest[end + 1..];
        }
        self.extend(rest, &mut lines);
        lines
    }

    /// The line that has no end yet, if there is one.
    pub fn finish(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn extend(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        self.partial.extend_from_slice(bytes);
        while self.partial.len() > LONGEST {
            let mut cut = LONGEST;
            while cut > LONGEST - 4 && self.partial[cut] & 0xc0 == 0x80 {
                cut -= 1; // not within a character
            }
            let rest = self.partial.split_off(cut);
            lines.push(self.take());
            self.partial = rest;
        }
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.partial);
        String::from_utf8_lossy(&line).into_owned()
    }
}

/// Keeps what a step prints up to a limit.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    limit: usize,
    is_cut: bool,
}

impl Block {
    /// A block of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, is_cut: false }
    }

    /// Takes bytes in, as far as there is room.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.limit - self.bytes.len();
        self.is_cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Its lines, and whether more was printed than it holds.
    pub fn into_lines(self) -> (Vec<String>, bool) {
        let mut cutter = Lines::default();
        let mut lines = cutter.push(&self.bytes);
        lines.extend(cutter.finish());
        (lines, self.is_cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        for size in [1, 2, 3, text.len().max(1)] {
            let mut cutter = Lines::default();
            let mut lines: Vec<String> = text.as_bytes().chunks(size).flat_map(|chunk| cutter.push(chunk)).collect();
            lines.extend(cutter.finish());
            assert_eq!(lines, expect, "in chunks of {size}");
        }
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        check("", &[]);
        check("one\ntwo", &["one", "two"]);
        check("one\n\nthree\n", &["one", "", "three"]);
        check("one\r\ntwo\r\n\r\nend", &["one", "two", "", "end"]);
        check("\r10%\r20%\rdone\n", &["10%", "20%", "done"]);
        check("a\r\n\nb", &["a", "", "b"]);
        check("a\r\r\nb", &["a", "b"]);
        check("é…日\n", &["é…日"]);
    }

    #[test]
    fn a_line_without_an_end_comes_in_whole_characters() {
        let mut cutter = Lines::default();
        let text = "x".to_owned() + &"é".repeat(LONGEST);
        let mut lines = cutter.push(text.as_bytes());
        lines.extend(cutter.finish());
        assert!(lines.iter().all(|line| line.len() <= LONGEST));
        assert_eq!(lines.concat(), text);
    }

    #[test]
    fn invalid_bytes_are_shown_as_such() {
        assert_eq!(Lines::default().push(b"a\xffb\n"), ["a\u{fffd}b"]);
    }

    #[test]
    fn a_block_says_that_it_is_cut() {
        let mut block = Block::new(6);
        block.push(b"one\n");
        block.push(b"two\n");
        block.push(b"three\n");
        assert_eq!(block.into_lines(), (vec!["one".to_owned(), "tw".to_owned()], true));
        let mut block = Block::new(4);
        block.push(b"one\n");
        assert_eq!(block.into_lines(), (vec!["one".to_owned()], false));
    }
}
