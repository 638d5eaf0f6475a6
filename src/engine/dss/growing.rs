//! The log of a job that goes on, which DSS sends whole each time: what is new of it, line by line and without secrets. Asks
//! nobody.

use std::fmt;

use crate::base::mask::Masker;
use crate::engine::dss::mask::Mask;

/// A log of which more comes. It is counted in bytes as DSS sends them: in a text, a fetch that ends within a character or a
/// secret reads otherwise than the next one.
#[derive(Debug)]
pub struct Growing {
    masker: Option<Masker>,
    /// How many bytes were taken in.
    seen: usize,
    /// The line that has not come to its end.
    held: Vec<u8>,
}

/// There is less of a log than was taken in before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shorter {
    before: usize,
    now: usize,
}

impl fmt::Display for Shorter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, now } = self;
        write!(f, "the log has become shorter, from {before} bytes to {now}: what came behind what was shown is lost")
    }
}

impl Growing {
    pub(super) fn new(mask: &Mask) -> Self {
        Self { masker: mask.masker(), seen: 0, held: Vec::new() }
    }

    /// The lines that have come to their end since the last time; all that is left where `whole` says that no more will come.
    pub(super) fn more(&mut self, log: &[u8], whole: bool) -> Result<String, Shorter> {
        let new = log.get(self.seen..).ok_or(Shorter { before: self.seen, now: log.len() })?;
        self.seen = log.len();
        match &mut self.masker {
            Some(masker) => masker.push(new, &mut self.held),
            None => self.held.extend_from_slice(new),
        }
        if whole && let Some(masker) = &mut self.masker {
            masker.finish(&mut self.held);
        }
        let end = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.held.drain(..if whole { self.held.len() } else { end }).collect();
        Ok(Mask::tickets(String::from_utf8_lossy(&lines).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_wherever_a_fetch_ends() {
        let log = "start ééééé\nsent k3y-0f-ours to\njobTicketSecret=abc k3y-0f-cars\nEND".as_bytes();
        let shown = "start ééééé\nsent *** to\njobTicketSecret=*** k3y-0f-cars\nEND";
        for first in 0..=log.len() {
            for second in first..=log.len() {
                let mut growing = Growing::new(&Mask::new("k3y-0f-ours"));
                let text: String = [(first, false), (second, false), (log.len(), true)]
                    .map(|(end, whole)| growing.more(&log[..end], whole).unwrap())
                    .concat();
                assert_eq!(text, shown, "fetched up to {first} and {second}");
            }
        }
    }

    #[test]
    fn a_log_that_becomes_shorter_is_told() {
        let mut growing = Growing::new(&Mask::default());
        assert_eq!(growing.more(b"one\ntwo", false).unwrap(), "one\n");
        assert_eq!(growing.more(b"one\n", false), Err(Shorter { before: 7, now: 4 }));
        assert_eq!(growing.more(b"one\ntwo\xc3", true).unwrap(), "two\u{fffd}", "what is no character is shown");
    }
}
