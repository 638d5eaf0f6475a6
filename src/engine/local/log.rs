//! The log of an attempt: any bytes, as they come, up to a limit; of more, the beginning and the end are kept. Its file is made
//! with the first of them: many steps print nothing. Does not know what prints.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::mask::{Masker, Secrets};
use crate::base::text::size;
use crate::engine::api::Updates;
use crate::fault::fault;

/// So many bytes of the end are kept for people.
const TAIL_BYTES: usize = 16 << 10;
/// So much of the end of a log that is too long is kept, at most.
const LARGEST_END: u64 = 1 << 20;

/// The log of an attempt.
pub(crate) struct Log {
    /// None as long as nothing was printed.
    file: Option<File>,
    path: PathBuf,
    updates: Updates,
    limit: u64,
    /// How much more goes straight to the file.
    room: u64,
    /// What comes after that, as much of it as is kept.
    end: Vec<u8>,
    dropped: u64,
    /// The last bytes, for people.
    last: Vec<u8>,
    masker: Option<Masker>,
    /// Whether nothing more can be kept.
    broken: bool,
}

/// What was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Some bytes.
    Some,
    /// Nothing for now.
    Nothing,
    /// The end: nobody can print any more.
    End,
}

/// Makes the file of a log that is finished, where nothing was printed: a step that failed names it.
pub(crate) fn leave(path: &Path) {
    if let Err(error) = File::options().append(true).create(true).open(path) {
        tracing::debug!(%error, path = %path.display(), "there is no file that nothing was printed to");
    }
}

impl Log {
    /// A new log of at most `limit` bytes, without the secrets. Its folder is made, so that it is known before anything
    /// starts whether there can be one.
    pub(crate) fn create(
        path: &Path,
        updates: Updates,
        limit: u64,
        secrets: Option<&Arc<Secrets>>,
    ) -> io::Result<Self> {
        if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
            std::fs::create_dir_all(parent)?;
        }
        let (file, end, last) = (None, Vec::new(), Vec::new());
        let room = limit - end_of(limit);
        let (path, masker) = (path.to_owned(), secrets.map(Masker::new));
        Ok(Self { file, path, updates, limit, room, end, dropped: 0, last, masker, broken: false })
    }

    /// Takes what `read` gives. What cannot be kept any more is thrown away.
    pub(crate) fn take(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Taken> {
        let mut buffer = [0; 64 << 10];
        match read(&mut buffer) {
            Ok(0) => Ok(Taken::End),
            Ok(n) => {
                self.print(&buffer[..n]);
                Ok(Taken::Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Taken::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Adds a line of Kiln's own.
    pub(crate) fn note(&mut self, text: &str) {
        let begin = if self.last.last().is_none_or(|byte| *byte == b'\n') { "" } else { "\n" };
        self.print(format!("{begin}[kiln] {text}\n").as_bytes());
    }

    /// Nothing more is printed. Returns the last lines.
    pub(crate) async fn finish(&mut self) -> Vec<String> {
        if let Some(masker) = &mut self.masker {
            let mut out = Vec::new();
            masker.finish(&mut out);
            self.masked(&out);
        }
        self.trim();
        if self.dropped > 0 {
            let text = format!("\n[kiln] {} bytes are left out here: ", self.dropped);
            let text = format!("{text}`log_limit` is {}\n", size(self.limit));
            self.write(text.as_bytes());
        }
        let end = std::mem::take(&mut self.end);
        self.write(&end);
        self.updates.end().await;
        self.tail()
    }

    fn print(&mut self, bytes: &[u8]) {
        match &mut self.masker {
            None => self.masked(bytes),
            Some(masker) => {
                let mut out = Vec::with_capacity(bytes.len());
                masker.push(bytes, &mut out);
                self.masked(&out);
            }
        }
    }

    fn masked(&mut self, bytes: &[u8]) {
        self.keep(bytes);
        self.updates.output(bytes);
        self.last.extend_from_slice(bytes);
        if self.last.len() > 2 * TAIL_BYTES {
            self.last = seen(&self.last);
            self.last.drain(..self.last.len().saturating_sub(TAIL_BYTES));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(self.room).unwrap_or(usize::MAX)));
        self.room -= now.len() as u64;
        self.write(now);
        if later.is_empty() {
            return;
        }
        self.end.extend_from_slice(later);
        if self.end.len() as u64 > 2 * end_of(self.limit) {
            self.trim();
        }
    }

    /// Forgets what comes before the part of the end that is kept.
    fn trim(&mut self) {
        let most = usize::try_from(end_of(self.limit)).unwrap_or(usize::MAX);
        let over = self.end.len().saturating_sub(most);
        self.end.drain(..over);
        self.dropped += over as u64;
    }

    /// Makes the file, even if nothing is in it, as [`leave`] does.
    pub(crate) fn make(&mut self) {
        self.attempt(|_| Ok(()));
    }

    fn write(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.attempt(|file| fault("log.write").and_then(|()| file.write_all(bytes)));
        }
    }

    /// Does something with the file. If that fails the child goes on all the same; the run is told.
    fn attempt(&mut self, act: impl FnOnce(&mut File) -> io::Result<()>) {
        if self.broken {
            return;
        }
        let opened = match &mut self.file {
            Some(file) => Ok(file),
            none => fault("log.create").and_then(|()| File::create(&self.path)).map(|file| none.insert(file)),
        };
        if let Err(error) = opened.and_then(act) {
            self.broken = true;
            self.updates.trouble(format!("{}: {error}", self.path.display()));
        }
    }

    fn tail(&self) -> Vec<String> {
        let last = seen(&self.last);
        let text = String::from_utf8_lossy(&last[last.len().saturating_sub(TAIL_BYTES)..]);
        // Its colours are those of a terminal; the log has them.
        let text = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<&str> = text.split(['\n', '\r']).map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let clean =
            |line: &str| line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        lines.iter().map(|line| clean(line)).collect()
    }
}

/// What a terminal would show of lines: what was printed over, as a progress bar is, is gone.
fn seen(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |i| i + 1);
        let begin = line[..end].iter().rposition(|byte| *byte == b'\r').map_or(0, |i| i + 1);
        out.extend_from_slice(&line[begin..]);
    }
    out
}

/// How much of the end of a log is kept if it is too long.
fn end_of(limit: u64) -> u64 {
    (limit / 2).min(LARGEST_END)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    /// What a log of `limit` holds after pieces of `piece` bytes were printed.
    async fn kept(limit: u64, all: &[u8], piece: usize) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/a.log");
        let (trouble, _) = mpsc::unbounded_channel();
        let mut log = Log::create(&path, Updates::new(0, None, trouble), limit, None).unwrap();
        for piece in all.chunks(piece) {
            let taken = log.take(|buffer| {
                buffer[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            });
            assert_eq!(taken.unwrap(), Taken::Some);
        }
        log.finish().await;
        assert!(!log.broken);
        String::from_utf8(std::fs::read(path).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn of_too_long_a_log_both_ends_are_kept_and_the_rest_is_counted() {
        let all: Vec<u8> = (b'a'..=b'z').collect();
        for piece in [1, 2, 3, 7, 26] {
            assert_eq!(kept(26, &all, piece).await, "abcdefghijklmnopqrstuvwxyz");
            let short = "abcde\n[kiln] 16 bytes are left out here: `log_limit` is 10 B\nvwxyz";
            assert_eq!(kept(10, &all, piece).await, short, "in pieces of {piece}");
        }
        assert_eq!(kept(0, b"x", 1).await, "\n[kiln] 1 bytes are left out here: `log_limit` is 0 B\n");
    }

    #[tokio::test]
    async fn a_progress_bar_hides_nothing_of_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let (trouble, _) = mpsc::unbounded_channel();
        let mut log = Log::create(&dir.path().join("a.log"), Updates::new(0, None, trouble), 1 << 20, None).unwrap();
        log.print(b"wrong\r\n\r\n");
        for i in 0..1_000 {
            log.print(format!("\r{i:>99}%").as_bytes());
        }
        log.print(b"\rdone\r\nend");
        assert_eq!(log.finish().await, ["wrong", "done", "end"]);
    }

    #[test]
    fn a_long_progress_bar_is_not_looked_through_with_each_of_its_states() {
        let (trouble, _) = mpsc::unbounded_channel();
        let mut log = Log::create(Path::new("/dev/null"), Updates::new(0, None, trouble), 1 << 20, None).unwrap();
        log.print("a line\n".repeat((2 * TAIL_BYTES - 150) / 7).as_bytes());
        let (mut looks, states) = (0, 2_000);
        for i in 0..states {
            let before = log.last.len();
            log.print(format!("\r{i:>99}").as_bytes());
            looks += usize::from(log.last.len() < before + 100);
        }
        assert!((1..=states * 100 / TAIL_BYTES + 2).contains(&looks), "{looks}");
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_written_says_so_and_takes_on() {
        let (trouble, mut troubles) = mpsc::unbounded_channel();
        let mut log = Log::create(Path::new("/dev/full"), Updates::new(0, None, trouble), 100, None).unwrap();
        log.note("one");
        assert!(troubles.try_recv().unwrap().starts_with("/dev/full: "));
        log.note("two");
        assert_eq!(log.finish().await, ["[kiln] one", "[kiln] two"]);
        assert!(troubles.try_recv().is_err(), "it is told once");
    }
}
