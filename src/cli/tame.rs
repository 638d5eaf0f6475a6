//! What steps printed, for a terminal: its colours stay, and what would move the cursor, clear the screen, set a title or ring
//! is left out. Takes bytes as they come, so a sequence may be cut anywhere. Does not know where they go.

/// A longer colour is none.
const LONGEST: usize = 64;

/// Leaves out what steers a terminal.
#[derive(Debug, Default)]
pub(super) struct Tame {
    within: Within,
    /// The sequence that has begun.
    held: Vec<u8>,
    /// Whether what was shown has left a colour on.
    coloured: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    /// Text.
    #[default]
    Text,
    /// The first byte of a character that may be a control character of two bytes.
    Wide,
    /// Behind an escape character.
    Escape,
    /// A sequence of numbers, such as a colour.
    Numbers,
    /// A text for the terminal itself, such as a title. It ends with its line at the latest.
    Title,
}

impl Tame {
    /// The bytes that may be shown.
    pub(super) fn tame(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.within = self.next(*byte, &mut out);
        }
        out
    }

    /// A text is over, and another may follow: what has to be shown for nothing of it to go on there.
    pub(super) fn end(&mut self) -> &'static str {
        let left = std::mem::take(self);
        if left.coloured { "\x1b[0m" } else { "" }
    }

    fn next(&mut self, byte: u8, out: &mut Vec<u8>) -> Within {
        match (self.within, byte) {
            (_, 0x1b) => return Within::Escape,
            (Within::Title, b'\n' | 0x07) | (Within::Escape | Within::Numbers, b'\n') => {}
            (Within::Title, _) => return Within::Title,
            (Within::Escape, b'[') => {
                self.held = b"\x1b[".to_vec();
                return Within::Numbers;
            }
            (Within::Escape, b']' | b'P' | b'X' | b'^' | b'_') => return Within::Title,
            // As in `ESC ( B`.
            (Within::Escape, 0x20..=0x2f) => return Within::Escape,
            (Within::Escape, _) => return Within::Text,
            (Within::Numbers, 0x40..=0x7e) => {
                let numbers = |b: &u8| b.is_ascii_digit() || matches!(b, b';' | b':');
                if byte == b'm' && self.held.len() <= LONGEST && self.held[2..].iter().all(numbers) {
                    out.extend_from_slice(&self.held);
                    out.push(byte);
                    self.coloured = !self.held[2..].iter().all(|b| matches!(b, b'0' | b';'));
                }
                return Within::Text;
            }
            (Within::Numbers, _) => {
                if self.held.len() <= LONGEST {
                    self.held.push(byte);
                }
                return Within::Numbers;
            }
            (Within::Wide, 0x80..=0x9f) => return Within::Text,
            (Within::Wide, _) => out.push(0xc2),
            (Within::Text, _) => {}
        }
        match byte {
            0xc2 => return Within::Wide,
            b'\n' | b'\r' | b'\t' => out.push(byte),
            0..0x20 | 0x7f => {}
            _ => out.push(byte),
        }
        Within::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_on_behind_a_text() {
        for (text, end) in [
            ("\u{1b}[31mred", "\u{1b}[0m"),
            ("\u{1b}[31mred\u{1b}[0m", ""),
            ("\u{1b}[1mbold\u{1b}[m", ""),
            ("plain", ""),
            ("\u{1b}]title", ""),
        ] {
            let mut tame = Tame::default();
            tame.tame(text.as_bytes());
            assert_eq!(tame.end(), end, "{text:?}");
            assert_eq!(tame.tame(b"next"), b"next", "{text:?}");
        }
    }

    #[test]
    fn colours_stay_and_nothing_steers() {
        for (text, shown) in [
            ("plain é…日 µ\ttab\r\n", "plain é…日 µ\ttab\r\n"),
            (
                "\u{1b}[1;31mred\u{1b}[0m \u{1b}[38:5:4mblue\u{1b}[m",
                "\u{1b}[1;31mred\u{1b}[0m \u{1b}[38:5:4mblue\u{1b}[m",
            ),
            ("a\u{1b}[2J\u{1b}[H\u{1b}[3Ab\u{7}\u{8}c\u{0}", "abc"),
            ("a\u{1b}]0;title\u{7}b\u{1b}]8;;http://x\u{1b}\\link\u{1b}(Bc\u{1b}c", "ablinkc"),
            ("a\u{1b}]no end\nb\u{1b}[12\nc", "a\nb\nc"),
            ("\u{9b}2J\u{85}x", "2Jx"),
            ("\u{1b}[?25l\u{1b}[>4mx", "x"),
        ] {
            for size in [1, 2, 3, text.len()] {
                let mut tame = Tame::default();
                let out: Vec<u8> = text.as_bytes().chunks(size).flat_map(|bytes| tame.tame(bytes)).collect();
                assert_eq!(String::from_utf8_lossy(&out), shown, "{text:?} in pieces of {size}");
            }
        }
    }
}
