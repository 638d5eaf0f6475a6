//! The logs of a job as text: of one activity its files one behind the other, of the whole job what happened with what the
//! steps printed below it. Read from the files in parts, no faster than the reader takes them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use axum::body::Bytes;
use futures::Stream;

use crate::base::text::count;
use crate::event::{Event, Stamped};
use crate::server::turn::guard;
use crate::view::{RunView, StepState, StepView};

/// So much is read at a time.
const PART: usize = 64 << 10;
/// So much of a log is looked at for its last lines.
const TAIL: u64 = 16 << 10;

/// A piece of a log.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(String),
    File(PathBuf),
}

/// The files of a step: one for each attempt so far.
pub(crate) fn files(folder: &Path, step: &StepView) -> Vec<PathBuf> {
    let Some(stem) = step.log.strip_suffix(&format!("{}.log", step.attempt)) else { return Vec::new() };
    (1..=step.attempt).map(|attempt| folder.join(format!("{stem}{attempt}.log"))).collect()
}

/// The file of one attempt at a step; none where it had none.
fn file(folder: &Path, step: &StepView, attempt: u32) -> Option<Piece> {
    let place = usize::try_from(attempt.checked_sub(1)?).ok()?;
    files(folder, step).into_iter().nth(place).map(Piece::File)
}

/// The log of a whole job, from its events: what an attempt printed stands before how it ended.
pub(crate) fn whole(folder: &Path, events: &[Stamped], more: &str) -> Vec<Piece> {
    let view = RunView::fold(events);
    let mut pieces = Vec::new();
    for event in events {
        let ended = if let Event::StepRetrying(retrying) = &event.event {
            view.step(&retrying.step).map(|step| (step, retrying.attempt))
        } else if let Event::StepEnded(ended) = &event.event {
            // Of one that was not tried again what it printed stands there already.
            let told = |step: &&StepView| step.earlier.last().is_some_and(|last| last.attempt == step.attempt);
            view.step(&ended.step).filter(|step| !told(step)).map(|step| (step, step.attempt))
        } else {
            None
        };
        pieces.extend(ended.and_then(|(step, attempt)| file(folder, step, attempt)));
        if let Some((level, line)) = line(event) {
            pieces.push(Piece::Text(format!("{} {level} [kiln.run]  - {line}\n", head(event))));
        }
    }
    for state in [StepState::Running, StepState::Publishing] {
        pieces.extend(view.in_state(state).filter_map(|step| file(folder, step, step.attempt)));
    }
    if !more.is_empty() {
        pieces.push(Piece::Text(format!("{more}\n")));
    }
    pieces
}

/// The beginning of a line, as DSS writes it.
fn head(event: &Stamped) -> String {
    let at = event.at.to_zoned_datetime(jiff::tz::TimeZone::UTC);
    format!("[{}] [kiln]", at.strftime("%Y/%m/%d-%H:%M:%S.%3f"))
}

/// What an event says in a log.
fn line(event: &Stamped) -> Option<(&'static str, String)> {
    Some(match &event.event {
        Event::RunQueued(queued) => ("[INFO]", format!("asked for by {}", queued.by)),
        Event::RunStarted(run) => (
            "[INFO]",
            format!(
                "{} of {}, {}, {} up to date",
                run.mode,
                run.pipeline,
                count(run.steps.len(), "step"),
                run.up_to_date
            ),
        ),
        Event::StepStarted { step, attempt, command, .. } => {
            ("[INFO]", format!("{step}: attempt {attempt}: {command}"))
        }
        Event::StepRetrying(retrying) => {
            let (step, attempt, message) = (&retrying.step, retrying.attempt, &retrying.failure.message);
            ("[WARN]", format!("{step}: attempt {attempt}: {message}: again in {} ms", retrying.wait_ms))
        }
        Event::StepEnded(ended) => match &ended.failure {
            Some(failure) => ("[ERROR]", format!("{}: {}", ended.step, failure.message)),
            None => ("[INFO]", format!("{}: done in {} ms", ended.step, ended.took_ms)),
        },
        Event::StepSubmitting { step, .. } => ("[INFO]", format!("{step}: asking for a job")),
        Event::StepAccepted { step, remote } => ("[INFO]", format!("{step}: is job {}", remote.id)),
        Event::Noted { step: Some(step), text } => ("[WARN]", format!("{step}: {text}")),
        Event::Noted { step: None, text } => ("[WARN]", text.clone()),
        Event::StepCurrent { step, .. } => ("[INFO]", format!("{step}: up to date")),
        Event::StepSkipped { step, because } => (
            "[WARN]",
            match because {
                Some(because) => format!("{step}: skipped because of {because}"),
                None => format!("{step}: skipped, the run stopped"),
            },
        ),
        Event::RunStopping { cause, .. } => ("[WARN]", format!("nothing more starts: {cause}")),
        Event::RunEnded(end) => {
            ("[INFO]", format!("{}{}", end.state, end.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default()))
        }
        Event::StepPublishing { .. } => return None,
    })
}

/// The pieces one behind the other from byte `offset` on, not more than `limit` bytes. A file that is not there (yet) is
/// empty.
pub(crate) fn stream(
    pieces: Vec<Piece>,
    offset: u64,
    limit: Option<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let state = Some((pieces.into_iter(), None::<File>, offset, limit.unwrap_or(u64::MAX)));
    futures::stream::try_unfold(state, |state| async move {
        let Some((mut pieces, mut file, mut skip, left)) = state.filter(|state| state.3 > 0) else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || {
            let part = next(&mut pieces, &mut file, &mut skip)?;
            io::Result::Ok(part.map(|mut part| {
                part.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - part.len() as u64;
                (part, Some((pieces, file, skip, left)))
            }))
        });
        read.await.map_err(io::Error::other)?
    })
}

fn next(pieces: &mut std::vec::IntoIter<Piece>, open: &mut Option<File>, skip: &mut u64) -> io::Result<Option<Bytes>> {
    loop {
        if let Some(file) = open {
            let mut part = vec![0; PART];
            let n = file.read(&mut part)?;
            if n > 0 {
                part.truncate(n);
                return Ok(Some(part.into()));
            }
            *open = None;
        }
        match pieces.next() {
            None => return Ok(None),
            Some(Piece::Text(text)) => {
                let from = usize::try_from(*skip).unwrap_or(usize::MAX).min(text.len());
                *skip -= from as u64;
                if from < text.len() {
                    return Ok(Some(Bytes::from(text.into_bytes().split_off(from))));
                }
            }
            Some(Piece::File(path)) => match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => {
                    let mut file = opened?;
                    let length = file.metadata()?.len();
                    let from = (*skip).min(length);
                    *skip -= from;
                    file.seek(SeekFrom::Start(from))?;
                    *open = Some(file);
                }
            },
        }
    }
}

/// What of some files is behind byte `offset`, not more than one part. Returns the bytes, and where they end.
pub(crate) fn part(files: &[PathBuf], offset: u64) -> io::Result<Bytes> {
    let pieces: Vec<_> = files.iter().cloned().map(Piece::File).collect();
    let mut skip = offset;
    Ok(next(&mut pieces.into_iter(), &mut None, &mut skip)?.unwrap_or_default())
}

/// Where the first whole character of a part begins that may have been cut.
pub(crate) fn first_character(part: &[u8]) -> usize {
    part.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count()
}

/// Where a character begins that the end of a part cuts; the length of the part if none is.
pub(crate) fn last_character(part: &[u8]) -> usize {
    let Some(behind) = part.iter().rev().take(3).position(|byte| byte & 0xC0 != 0x80) else { return part.len() };
    let begins = part.len() - 1 - behind;
    let length = match part[begins] {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    if behind + 1 < length { begins } else { part.len() }
}

/// The last lines of a file.
pub(crate) fn tail(path: &Path, lines: usize) -> Vec<String> {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut last: Vec<String> = text.lines().rev().take(lines).map(str::to_owned).collect();
    last.reverse();
    last
}

/// How many lines logs have, counted no further than they have grown since they were counted last.
#[derive(Default)]
pub(crate) struct Lines(Mutex<HashMap<PathBuf, Counted>>);

/// So many logs are remembered.
const REMEMBERED: usize = 256;

#[derive(Clone, Copy, Default)]
struct Counted {
    bytes: u64,
    ends: u64,
    /// Whether a line has begun behind the last end.
    begun: bool,
}

impl Lines {
    /// How many lines a log has; none where it cannot be read.
    pub(crate) fn of(&self, path: &Path) -> u64 {
        let known = self.all().get(path).copied().unwrap_or_default();
        let counted = known.go_on(path).unwrap_or_default();
        let mut all = self.all();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(path.to_owned(), counted);
        counted.ends + u64::from(counted.begun)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<PathBuf, Counted>> {
        guard(&self.0)
    }
}

impl Counted {
    fn go_on(self, path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        // One that has become shorter is another one.
        let mut counted = if file.metadata()?.len() < self.bytes { Self::default() } else { self };
        file.seek(SeekFrom::Start(counted.bytes))?;
        let mut part = vec![0; PART];
        loop {
            let n = file.read(&mut part)?;
            let Some(last) = part[..n].last() else { return Ok(counted) };
            counted.bytes += n as u64;
            counted.ends += part[..n].iter().filter(|byte| **byte == b'\n').count() as u64;
            counted.begun = *last != b'\n';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::events::{begin, built, happened, publishing, retrying};

    /// The log of a whole job with these events: files by their names, and of what happened the last word.
    fn told(events: &[(u64, serde_json::Value)]) -> String {
        let pieces = whole(Path::new(""), &happened(events), "");
        let word = |piece: &Piece| match piece {
            Piece::File(path) => path.display().to_string(),
            Piece::Text(text) => text.split_whitespace().next_back().unwrap().to_owned(),
        };
        pieces.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_log_of_a_job_has_every_attempt_before_how_it_ended() {
        let mut events = vec![(0, begin("a", 1))];
        assert_eq!(told(&events), "date x logs/j/a.1.log");
        events.push((1, retrying("a", 1)));
        assert_eq!(told(&events), "date x logs/j/a.1.log ms");
        let given_up = [events.clone(), vec![(2, built("a", 1, 1))]].concat();
        assert_eq!(told(&given_up), "date x logs/j/a.1.log ms ms", "it was not tried again");
        events.push((2, begin("a", 2)));
        assert_eq!(told(&events), "date x logs/j/a.1.log ms x logs/j/a.2.log");
        events.push((3, publishing("a")));
        assert_eq!(told(&events), "date x logs/j/a.1.log ms x logs/j/a.2.log");
        events.extend([(4, built("a", 2, 2)), (5, begin("b", 1))]);
        assert_eq!(told(&events), "date x logs/j/a.1.log ms x logs/j/a.2.log ms x logs/j/b.1.log");
    }

    #[test]
    fn a_character_that_is_cut_is_found_at_both_ends() {
        for text in ["ab", "aé", "a€", "a🔥"] {
            let bytes = text.as_bytes();
            assert_eq!((first_character(bytes), last_character(bytes)), (0, bytes.len()), "{text}");
            for cut in 2..bytes.len() {
                assert_eq!(last_character(&bytes[..cut]), 1, "{text} {cut}");
                assert_eq!(first_character(&bytes[cut..]), bytes.len() - cut, "{text} {cut}");
            }
        }
        // What is no text is let be.
        for bytes in [&b"\xff"[..], b"\x80\x80\x80\x80", b"\xe2\x82\xac\x80", b""] {
            assert_eq!(last_character(bytes), bytes.len(), "{bytes:?}");
        }
    }

    #[test]
    fn lines_are_counted_as_logs_grow() {
        let dir = tempfile::tempdir().unwrap();
        let (log, lines) = (dir.path().join("log"), Lines::default());
        assert_eq!(lines.of(&log), 0);
        let mut text = String::new();
        for (more, count) in [("one\n", 1), ("two", 2), (" and a half\n\n", 3), (&"x\n".repeat(PART), 3 + PART as u64)]
        {
            text += more;
            std::fs::write(&log, &text).unwrap();
            assert_eq!(lines.of(&log), count, "{more}");
            assert_eq!(lines.of(&log), count, "{more}");
        }
        std::fs::write(&log, "another one").unwrap();
        assert_eq!(lines.of(&log), 1);
    }
}
