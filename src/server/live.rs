//! Server-sent events: what happens in a job, and what is added to the log of an activity. The history and the log's file are
//! the only queues: a stream that is told of news looks there for what is behind its place, so a slow reader costs nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::base::job::JobId;
use crate::server::archive::{Archive, Standing};
use crate::server::error::ApiError;
use crate::server::reply::{Reply, stream};
use crate::server::{App, abort, blocking, logs};
use crate::store::StoreError;
use crate::store::read::Reader;
use crate::view::{StepState, StepView};

/// How long a stream is silent before it says that it is still there.
const STILL_THERE: Duration = Duration::from_secs(15);
/// How often the history and the logs are looked at while someone follows them.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A page hears news no more often than this: each time it is made and drawn anew in parts.
const PACE: Duration = Duration::from_millis(250);
/// The type of a stream.
pub(crate) const KIND: &str = "text/event-stream;charset=utf-8";
/// So many events are read at a time.
const EVENTS: i64 = 256;

/// How often a page is told news: what comes meanwhile is told together.
struct Pace(Instant);

impl Pace {
    fn begin() -> Self {
        Self(Instant::now())
    }

    /// Waits until there may be news again.
    async fn rest(&self) {
        tokio::time::sleep_until(self.0).await;
    }

    /// Some were told.
    fn told(&mut self) {
        self.0 = Instant::now() + PACE;
    }
}

/// What a stream follows.
pub(crate) struct Follow {
    archive: Arc<Archive>,
    pipeline: String,
    job: JobId,
    news: watch::Receiver<u64>,
    what: What,
    done: bool,
    pace: Pace,
    _place: OwnedSemaphorePermit,
}

enum What {
    /// The events from this number on.
    Events(u64),
    /// The log of a step from this byte on. Whoever is further behind than so many bytes skips most of that.
    Log(String, u64, Option<u64>),
    /// Something else, made from how the job stands.
    Other(Look),
}

/// Makes the next piece of a stream from how the job stands; nothing where there is no news.
pub(crate) type Look = Box<dyn FnMut(&Standing) -> io::Result<String> + Send>;

impl Follow {
    fn new(app: &App, archive: &Arc<Archive>, pipeline: &str, job: JobId, what: What) -> Result<Self, ApiError> {
        let place = Arc::clone(&app.streams).try_acquire_owned();
        let place = place.map_err(|_| ApiError::busy("as many streams as may be are open"))?;
        let (archive, news) = (Arc::clone(archive), archive.follow());
        Ok(Self {
            archive,
            pipeline: pipeline.to_owned(),
            job,
            news,
            what,
            done: false,
            pace: Pace::begin(),
            _place: place,
        })
    }

    /// The next piece of the stream; none when all has been told.
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            if self.done {
                return Ok(None);
            }
            self.pace.rest().await;
            self.news.mark_unchanged();
            let (text, follow) = tokio::task::spawn_blocking(move || self.look()).await.map_err(io::Error::other)??;
            self = follow;
            if !text.is_empty() {
                if matches!(self.what, What::Other(_)) {
                    self.pace.told();
                }
                return Ok(Some((text.into(), self)));
            }
            if self.done {
                return Ok(None);
            }
            if tokio::time::timeout(STILL_THERE, self.news.changed()).await.is_err() {
                return Ok(Some((Bytes::from_static(b": still there\n\n"), self)));
            }
        }
    }

    fn look(mut self) -> io::Result<(String, Self)> {
        let store = |error: StoreError| io::Error::other(error.to_string());
        // Whether it is over is asked first: what is read afterwards is then all there is.
        let standing = self.archive.run(&self.pipeline, &self.job).map_err(store)?;
        let Some(standing) = standing else {
            self.done = true;
            return Ok((String::new(), self));
        };
        let over = standing.row.state.is_over();
        let mut text = String::new();
        match &mut self.what {
            What::Events(next) => {
                let some = |reader: &Reader| reader.some_events(&self.job, *next, EVENTS);
                let events = self.archive.ask(Vec::new(), some).map_err(store)?;
                self.done = over && (events.len() as i64) < EVENTS;
                for event in &events {
                    *next = event.seq + 1;
                    let json = serde_json::to_string(event).map_err(io::Error::other)?;
                    text += &message(&event.seq.to_string(), "event", &json);
                }
            }
            What::Other(look) => {
                text += &look(&standing)?;
                self.done = over;
            }
            What::Log(step, offset, lag) => {
                let view = standing.view.step(step);
                use StepState::{Built, Current, Failed, Same, Skipped, Stopped};
                let over_now =
                    |step: &StepView| matches!(step.state, Built | Same | Current | Failed | Stopped | Skipped);
                // As long as a job waits, its steps are not known.
                let ended = view.map_or(standing.row.begun, over_now);
                let files = view.map(|step| logs::files(&self.archive.folder, step)).unwrap_or_default();
                if let Some(to) = lag.and_then(|lag| skip(&files, *offset, lag)) {
                    *offset = to;
                    text += &message(&to.to_string(), "skip", "{}");
                }
                let part = logs::part(&files, *offset)?;
                let part = part.slice(..whole_characters(&part));
                if part.is_empty() {
                    self.done = over || ended;
                } else {
                    *offset += part.len() as u64;
                    let json = serde_json::to_string(&String::from_utf8_lossy(&part)).map_err(io::Error::other)?;
                    text += &message(&offset.to_string(), "log", &json);
                }
            }
        }
        if self.done {
            text += &message("", "end", &serde_json::json!({ "state": standing.row.state.word() }).to_string());
        }
        Ok((text, self))
    }
}

/// A message. `data` has no line end: it is JSON on one line.
pub(crate) fn message(id: &str, kind: &str, data: &str) -> String {
    let id = if id.is_empty() { String::new() } else { format!("id: {id}\n") };
    format!("{id}event: {kind}\ndata: {data}\n\n")
}

/// The events of a job from number `from` on.
pub(crate) fn events(app: &App, archive: &Arc<Archive>, pipeline: &str, job: JobId, from: u64) -> Reply {
    let follow = Follow::new(app, archive, pipeline, job, What::Events(from))?;
    Ok(stream(KIND, pieces(follow)))
}

/// What `look` makes of a job, until it is over.
pub(crate) fn other(app: &App, archive: &Arc<Archive>, pipeline: &str, job: JobId, look: Look) -> Reply {
    let follow = Follow::new(app, archive, pipeline, job, What::Other(look))?;
    Ok(stream(KIND, pieces(follow)))
}

/// A place in the log of a step.
pub(crate) struct Place {
    pub(crate) step: String,
    /// The byte that comes next.
    pub(crate) from: u64,
    /// Whoever is further behind than so many bytes skips most of that.
    pub(crate) lag: Option<u64>,
}

/// The log of a step of a job from a place on.
pub(crate) fn log(app: &App, archive: &Arc<Archive>, pipeline: &str, job: JobId, place: Place) -> Reply {
    let follow = Follow::new(app, archive, pipeline, job, What::Log(place.step, place.from, place.lag))?;
    Ok(stream(KIND, pieces(follow)))
}

/// Where someone goes on who is further behind than `lag` bytes: at half of that.
fn skip(files: &[std::path::PathBuf], offset: u64, lag: u64) -> Option<u64> {
    let whole: u64 = files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum();
    (whole.saturating_sub(offset) > lag).then(|| whole - lag / 2)
}

fn pieces(follow: Follow) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures::stream::try_unfold(follow, Follow::next).boxed()
}

/// Looks after the history for those who follow it, and after what is wished: other processes are seen by looking only.
pub(crate) async fn look(app: Arc<App>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let hears = Arc::clone(&app);
        let heard = blocking(move || {
            abort::hear(&hears);
            Ok(())
        });
        if let Err(error) = heard.await {
            tracing::error!("what is wished was not heard: {}", error.message());
        }
        app.archives.iter().filter(|archive| archive.followed()).for_each(|archive| archive.grown());
    }
}

/// The bytes as far as they are whole characters: what is cut comes with the next part.
fn whole_characters(part: &[u8]) -> usize {
    match std::str::from_utf8(part) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => part.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_in_quick_succession_is_told_together() {
        let (news, mut heard) = watch::channel(0);
        let steps = async {
            for step in 1..=20 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                news.send_replace(step);
            }
        };
        let page = async {
            let (mut pace, mut told) = (Pace::begin(), Vec::new());
            while told.last() != Some(&20) {
                pace.rest().await;
                if heard.has_changed().unwrap() || heard.changed().await.is_ok() {
                    told.push(*heard.borrow_and_update());
                    pace.told();
                }
            }
            told
        };
        let ((), told) = tokio::join!(steps, page);
        // The first at once, and all of them in the end.
        assert_eq!((told[0], told.last()), (1, Some(&20)));
        assert!(told.len() <= 6, "{told:?}");
    }
}
