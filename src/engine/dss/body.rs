//! The body of an answer as it comes in, kept up to a limit. Does not know what it holds.

/// How much of an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Much {
    /// All of it; more bytes than these are a fault.
    All(usize),
    /// Its last lines, up to so many bytes of them.
    End(usize),
}

/// It is longer than the limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong(pub(super) usize);

/// What was kept.
#[derive(Debug)]
pub(super) struct Body {
    much: Much,
    bytes: Vec<u8>,
    /// Whether there was more before it.
    cut: bool,
}

impl Body {
    pub(super) fn new(much: Much) -> Self {
        Self { much, bytes: Vec::new(), cut: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        match self.much {
            Much::All(limit) if self.bytes.len() + bytes.len() > limit => return Err(TooLong(limit)),
            Much::All(_) | Much::End(_) => self.bytes.extend_from_slice(bytes),
        }
        // Not with each piece: what stays has to be moved.
        if let Much::End(limit) = self.much
            && self.bytes.len() > 2 * limit
        {
            self.keep(limit);
        }
        Ok(())
    }

    fn keep(&mut self, limit: usize) {
        let over = self.bytes.len().saturating_sub(limit);
        self.cut |= over > 0;
        self.bytes.drain(..over);
    }

    /// What was kept, and whether there was more before it. The beginning of a line is missing from none: it may be that of a
    /// secret.
    pub(super) fn end(mut self) -> (Vec<u8>, bool) {
        if let Much::End(limit) = self.much {
            self.keep(limit);
        }
        if self.cut {
            let line = self.bytes.iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |at| at + 1);
            self.bytes.drain(..line);
        }
        (self.bytes, self.cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(much: Much, text: &str, size: usize) -> Result<(String, bool), TooLong> {
        let mut body = Body::new(much);
        for bytes in text.as_bytes().chunks(size) {
            body.push(bytes)?;
            assert!(body.bytes.len() <= 20, "{size}");
        }
        let (bytes, cut) = body.end();
        Ok((String::from_utf8(bytes).unwrap(), cut))
    }

    #[test]
    fn only_the_last_lines_are_kept_where_no_more_are_wanted() {
        let log = (0..100).map(|i| format!("l{i:02}\n")).collect::<String>();
        for size in [1, 7, 400] {
            assert_eq!(read(Much::End(10), &log, size), Ok(("l98\nl99\n".to_owned(), true)), "{size}");
            assert_eq!(read(Much::End(10), "l98\nl99\n", size), Ok(("l98\nl99\n".to_owned(), false)), "{size}");
            assert_eq!(read(Much::End(10), &"x".repeat(11), size), Ok((String::new(), true)), "{size}");
            assert_eq!(read(Much::All(8), "l98\nl99\n", size), Ok(("l98\nl99\n".to_owned(), false)), "{size}");
            assert_eq!(read(Much::All(7), "l98\nl99\n", size), Err(TooLong(7)), "{size}");
        }
    }
}
