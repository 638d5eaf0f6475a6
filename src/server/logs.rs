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
use crate::view::{RunView, StepView};

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

/// The log of a whole job, from its events.
pub(crate) fn whole(folder: &Path, events: &[Stamped], more: &str) -> Vec<Piece> {
    let view = RunView::fold(events);
    let mut pieces = Vec::new();
    for event in events {
        if let Event::StepEnded(ended) = &event.event
            && let Some(step) = view.step(&ended.step)
        {
            pieces.extend(files(folder, step).into_iter().rev().take(1).map(Piece::File));
        }
        if let Some((level, line)) = line(event) {
            pieces.push(Piece::Text(format!("{} {level} [kiln.run]  - {line}\n", head(event))));
        }
    }
    for step in view.in_state(crate::view::StepState::Running) {
        pieces.extend(files(folder, step).into_iter().rev().take(1).map(Piece::File));
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
