//! What steps print, cut into lines or kept until it is shown. Does not know how it is shown.

/// The longest line; a longer one is told in pieces.
pub const LONGEST: usize = 64 << 10;

/// Cuts bytes into lines as they come. Of what was printed over, as a progress bar is, only the last state is told.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    /// A return came, and nothing since: what comes next is printed over the line, unless it is a line end.
    returned: bool,
}

impl Lines {
    /// Takes bytes in and gives the lines that are complete with them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.extend(&rest[..end], &mut lines);
            if rest[end] == b'\n' {
                lines.push(self.take());
            }
            self.returned = rest[end] == b'\r';
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
        if bytes.is_empty() {
            return;
        }
        if std::mem::take(&mut self.returned) {
            self.partial.clear();
        }
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

    /// Its bytes, and whether more was printed than it holds.
    pub fn into_bytes(self) -> (Vec<u8>, bool) {
        (self.bytes, self.is_cut)
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
        check("\r10%\r20%\rdone\n", &["done"]);
        check("a line\n10%\r20%\r\rend\r\r\n30%\r40%\r", &["a line", "end", "40%"]);
        check("a\r\n\nb", &["a", "", "b"]);
        check("a\r\r\nb", &["a", "b"]);
        check("a\n\r\nb", &["a", "", "b"]);
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
