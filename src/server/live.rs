//! Server-sent events: what happens in a job, and what is added to the log of an activity. The history and the log's file are
//! the only queues: a stream that is told of news looks there for what is behind its place, so a slow reader costs nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::base::job::JobId;
use crate::server::archive::{Archive, Standing};
use crate::server::error::ApiError;
use crate::server::reply::{Reply, stream};
use crate::server::{App, abort, blocking, logs};
use crate::store::StoreError;
use crate::store::read::Reader;

/// How long a stream is silent before it says that it is still there.
const STILL_THERE: Duration = Duration::from_secs(15);
/// How often the history and the logs are looked at while someone follows them.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// At each so many of these looks it is seen whether runs have died.
const DEATHS: u64 = 5;
/// A page hears news no more often than this: each time it is made and drawn anew in parts.
const PACE: Duration = Duration::from_millis(250);
/// The type of a stream.
pub(crate) const KIND: &str = "text/event-stream;charset=utf-8";
/// So many events are read at a time.
const EVENTS: i64 = 256;

/// How often a stream is told news: what comes meanwhile is told together.
struct Pace {
    every: Duration,
    next: Instant,
}

impl Pace {
    fn begin(every: Duration) -> Self {
        Self { every, next: Instant::now() }
    }

    /// Waits until there may be news again.
    async fn rest(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    /// Some were told.
    fn told(&mut self) {
        self.next = Instant::now() + self.every;
    }
}

/// What a stream follows.
struct Follow {
    archive: Arc<Archive>,
    pipeline: String,
    job: JobId,
    news: watch::Receiver<u64>,
    look: Look,
    /// How long it waits for news before it looks without.
    patience: Duration,
    done: bool,
    pace: Pace,
    /// Since when nothing was told.
    silent: Instant,
    _slot: OwnedSemaphorePermit,
}

/// Makes the next piece of a stream from how the job stands, empty where there is no news; and whether it is the last one.
type Look = Box<dyn FnMut(&Archive, &Standing) -> io::Result<(String, bool)> + Send>;

impl Follow {
    /// The next piece of the stream; none when all has been told.
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        while !self.done {
            self.pace.rest().await;
            self.news.mark_unchanged();
            let (text, follow) = tokio::task::spawn_blocking(move || self.look()).await.map_err(io::Error::other)??;
            self = follow;
            if !text.is_empty() {
                self.pace.told();
                self.silent = Instant::now();
                return Ok(Some((text.into(), self)));
            }
            if self.done {
                break;
            }
            drop(tokio::time::timeout(self.patience, self.news.changed()).await);
            if self.silent.elapsed() >= STILL_THERE {
                self.silent = Instant::now();
                return Ok(Some((Bytes::from_static(b": still there\n\n"), self)));
            }
        }
        Ok(None)
    }

    fn look(mut self) -> io::Result<(String, Self)> {
        // Whether it is over is asked first: what is read afterwards is then all there is.
        let Some(standing) = self.archive.run(&self.pipeline, &self.job).map_err(lost)? else {
            self.done = true;
            return Ok((String::new(), self));
        };
        let (mut text, last) = (self.look)(&self.archive, &standing)?;
        self.done = last;
        if last {
            text += &message("", "end", &serde_json::json!({ "state": standing.row.state.word() }).to_string());
        }
        Ok((text, self))
    }
}

fn lost(error: StoreError) -> io::Error {
    io::Error::other(error.to_string())
}

/// A message. `data` has no line end: it is JSON on one line.
pub(crate) fn message(id: &str, kind: &str, data: &str) -> String {
    let id = if id.is_empty() { String::new() } else { format!("id: {id}\n") };
    format!("{id}event: {kind}\ndata: {data}\n\n")
}

/// A job of a pipeline.
pub(crate) struct Of<'a> {
    pub(crate) archive: &'a Arc<Archive>,
    pub(crate) pipeline: &'a str,
    pub(crate) job: JobId,
}

fn follow(app: &App, of: Of<'_>, (patience, pace): (Duration, Duration), look: Look) -> Reply {
    let slot = Arc::clone(&app.streams).try_acquire_owned();
    let slot = slot.map_err(|_| ApiError::busy("as many streams as may be are open"))?;
    let follow = Follow {
        archive: Arc::clone(of.archive),
        pipeline: of.pipeline.to_owned(),
        job: of.job,
        news: of.archive.follow(),
        look,
        patience,
        done: false,
        pace: Pace::begin(pace),
        silent: Instant::now(),
        _slot: slot,
    };
    Ok(stream(KIND, futures::stream::try_unfold(follow, Follow::next).boxed()))
}

/// The events of a job from number `next` on.
pub(crate) fn events(app: &App, of: Of<'_>, mut next: u64) -> Reply {
    let look = move |archive: &Archive, standing: &Standing| {
        let some = |reader: &Reader| reader.some_events(&standing.row.id, next, EVENTS);
        let events = archive.ask(Vec::new(), some).map_err(lost)?;
        let mut text = String::new();
        for event in &events {
            next = event.seq + 1;
            let json = serde_json::to_string(event).map_err(io::Error::other)?;
            text += &message(&event.seq.to_string(), "event", &json);
        }
        Ok((text, standing.row.state.is_over() && (events.len() as i64) < EVENTS))
    };
    follow(app, of, (STILL_THERE, Duration::ZERO), Box::new(look))
}

/// What `look` makes of a job for a page, until it is over.
pub(crate) fn page(
    app: &App,
    of: Of<'_>,
    mut look: impl FnMut(&Standing) -> io::Result<String> + Send + 'static,
) -> Reply {
    let look = move |_: &Archive, standing: &Standing| Ok((look(standing)?, standing.row.state.is_over()));
    follow(app, of, (STILL_THERE, PACE), Box::new(look))
}

/// The rest of the log of a step.
pub(crate) struct Tail {
    pub(crate) step: String,
    /// The byte that comes next.
    pub(crate) from: u64,
    /// Whoever is further behind than so many bytes skips most of that.
    pub(crate) lag: Option<u64>,
}

/// The log of a step of a job from there on. Nobody tells when it has grown.
pub(crate) fn log(app: &App, of: Of<'_>, mut tail: Tail) -> Reply {
    let look = move |archive: &Archive, standing: &Standing| added(archive, standing, &mut tail);
    follow(app, of, (LOOK_EVERY, Duration::ZERO), Box::new(look))
}

/// What has been added to a log; what comes next begins behind that.
fn added(archive: &Archive, standing: &Standing, tail: &mut Tail) -> io::Result<(String, bool)> {
    let view = standing.view.step(&tail.step);
    // As long as a job waits, its steps are not known.
    let ended = view.map_or(standing.row.begun, |step| step.state.is_over());
    let files = view.map(|step| logs::files(&archive.folder, step)).unwrap_or_default();
    let over = standing.row.state.is_over() || ended;
    let sizes = files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len());
    let whole: u64 = sizes.sum();
    let mut text = String::new();
    let far = tail.lag.filter(|lag| whole.saturating_sub(tail.from) > *lag);
    if let Some(lag) = far {
        // Most of what lies between is skipped, but no part of a character.
        let to = whole - lag / 2;
        tail.from = to + logs::first_character(&logs::part(&files, to)?) as u64;
        text += &message(&tail.from.to_string(), "skip", "{}");
    }
    let part = logs::part(&files, tail.from)?;
    if part.is_empty() {
        return Ok((text, over));
    }
    let to = match logs::last_character(&part) {
        // What comes next completes it, unless that is another attempt's.
        0 if !over && tail.from + part.len() as u64 >= whole => return Ok((text, false)),
        0 => part.len(),
        to => to,
    };
    let part = part.slice(..to);
    tail.from += part.len() as u64;
    let json = serde_json::to_string(&String::from_utf8_lossy(&part)).map_err(io::Error::other)?;
    text += &message(&tail.from.to_string(), "log", &json);
    Ok((text, false))
}

/// Looks after the history for those who follow it, and after what is wished: other processes are seen by looking only.
pub(crate) async fn look(app: Arc<App>) {
    for looks in 0_u64.. {
        tokio::time::sleep(LOOK_EVERY).await;
        let app = Arc::clone(&app);
        let looked = blocking(move || {
            abort::hear(&app);
            let followed = app.archives.iter().filter(|archive| archive.followed());
            // That a process died stands nowhere.
            let some = followed.filter(|archive| archive.has_changed() || looks.is_multiple_of(DEATHS));
            some.for_each(|archive| archive.grown());
            Ok(())
        });
        if let Err(error) = looked.await {
            tracing::error!("nobody looked after the history: {}", error.message());
        }
    }
}

#[cfg(test)]
mod tests;
