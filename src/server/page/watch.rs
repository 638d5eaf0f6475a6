//! News for pages that are open: pieces of the page that are to stand where others of the same id stand now, made by the
//! same code as the page. The history is the only queue.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::response::Response;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use crate::base::job::JobState;
use crate::event::{Event, Stamped};
use crate::server::archive::Standing;
use crate::server::error::ApiError;
use crate::server::page::figure::{self, Figure};
use crate::server::page::job::{Sight, fragments};
use crate::server::page::steps::open_stage;
use crate::server::page::waiting::Waiting;
use crate::server::reply::{Reply, stream};
use crate::server::route::Call;
use crate::server::{App, live};
use crate::view::{RunView, StepState, StepView};

/// How often the list of jobs is looked at for a page that shows it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After so many looks without news a stream says that it is still there.
const STILL_THERE: u32 = 15;
/// So many events are told at a time.
const EVENTS: i64 = 2_000;

/// A slot among the streams that may be open.
pub(super) fn slot(app: &App) -> Result<OwnedSemaphorePermit, ApiError> {
    let slot = Arc::clone(&app.streams).try_acquire_owned();
    slot.map_err(|_| ApiError::busy("as many streams as may be are open"))
}

/// Makes the pieces of a page anew.
pub(super) type Look = Box<dyn FnMut() -> io::Result<Vec<String>> + Send>;

struct Watch {
    look: Look,
    last: Option<blake3::Hash>,
    _slot: OwnedSemaphorePermit,
}

/// A stream with the pieces of a page whenever they are others.
pub(super) fn list(slot: OwnedSemaphorePermit, look: Look) -> Response {
    let watch = Watch { look, last: None, _slot: slot };
    stream(live::KIND, futures::stream::try_unfold(watch, next).boxed())
}

async fn next(mut watch: Watch) -> io::Result<Option<(Bytes, Watch)>> {
    for _ in 0..STILL_THERE {
        let (pieces, back) =
            tokio::task::spawn_blocking(move || ((watch.look)(), watch)).await.map_err(io::Error::other)?;
        watch = back;
        let data = json!({ "swap": pieces? }).to_string();
        let hash = blake3::hash(data.as_bytes());
        if watch.last != Some(hash) {
            watch.last = Some(hash);
            return Ok(Some((live::message("", "news", &data).into(), watch)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(Some((Bytes::from_static(b": still there\n\n"), watch)))
}

/// `GET /projects/K/jobs/J/live`: what is other on the page of a job.
pub(super) fn job(call: &Call) -> Reply {
    let project = Arc::clone(call.project()?);
    let from = call.query.number("from")?.unwrap_or(0);
    let sight = Sight::read(call)?;
    let standing = project.standing(call.name("job")?)?;
    let figure = figure::of_job(&project.loaded(), &standing, sight.by);
    let mut news = News { app: Arc::clone(&call.app), next: from, figure, sight, stood: None };
    let followed = Arc::clone(&project);
    live::page(&call.app, project.of(standing.row.id), move |standing| news.look(&followed, standing))
}

/// What the page of a job has been told.
struct News {
    app: Arc<App>,
    next: u64,
    figure: Option<Figure>,
    sight: Sight,
    /// In which state it was, and why it waited.
    stood: Option<(JobState, Option<Waiting>)>,
}

impl News {
    fn look(&mut self, project: &crate::server::project::Project, standing: &Standing) -> io::Result<String> {
        let lost = |error: crate::store::StoreError| io::Error::other(error.to_string());
        let job = &standing.row.id;
        let mut events =
            project.archive.ask(Vec::new(), |reader| reader.some_events(job, self.next, EVENTS)).map_err(lost)?;
        // One that is newer than how the job stands here would be taken as told, and be shown by nobody.
        events.retain(|event| event.seq < standing.next);
        let wait = Waiting::of(&self.app, project, standing, &self.sight.who);
        let stands = Some((standing.row.state, wait.clone()));
        let changed = self.stood != stands;
        self.stood = stands;
        if events.is_empty() && !changed {
            return Ok(String::new());
        }
        self.next = events.last().map_or(self.next, |event| event.seq + 1);
        // What a page shows of a job that waits has no steps yet.
        if events.iter().any(|event| matches!(event.event, Event::RunStarted(_))) {
            self.figure = None;
            return Ok(live::message(&self.next.to_string(), "again", "{}"));
        }
        let mut steps: BTreeSet<&str> = events.iter().filter_map(step_of).collect();
        if standing.row.state.is_over() {
            // Those that a run left behind that died.
            steps.extend(standing.view.steps.iter().map(id));
        }
        let above: Vec<&str> = events.iter().filter_map(there).collect();
        if !above.is_empty() {
            steps.extend(standing.view.steps.iter().filter(|step| waits_for(&standing.view, step, &above)).map(id));
            steps.extend(begun_stage(&standing.view, &above).map(id));
        }
        let standing = (standing, wait.as_ref());
        let data = fragments(project, standing, &self.sight, self.figure.as_ref(), &steps);
        Ok(live::message(&self.next.to_string(), "news", &data.to_string()))
    }
}

fn id(step: &StepView) -> &str {
    &step.plan.id
}

/// The step whose outputs are there since an event.
fn there(event: &Stamped) -> Option<&str> {
    event.event.over().filter(|(_, state)| *state != StepState::Skipped).map(|(step, _)| step)
}

/// Whether a step waits, and is made from what one of these makes: it may be its turn now.
fn waits_for(view: &RunView, step: &StepView, above: &[&str]) -> bool {
    let place = |place: &u32| view.steps.get(*place as usize).map(id);
    step.state == StepState::Waiting && step.plan.after.iter().filter_map(place).any(|id| above.contains(&id))
}

/// The steps whose stage has come since these ended: nothing before it goes on any more.
fn begun_stage<'a>(view: &'a RunView, ended: &[&str]) -> impl Iterator<Item = &'a StepView> {
    let now = open_stage(view);
    let came = now.filter(|now| ended.iter().filter_map(|id| view.step(id)).any(|step| step.plan.stage < *now));
    view.steps.iter().filter(move |step| Some(step.plan.stage) == came)
}

/// The step that an event is about.
fn step_of(event: &Stamped) -> Option<&str> {
    match &event.event {
        Event::StepStarted { step, .. }
        | Event::StepSubmitting { step, .. }
        | Event::StepAccepted { step, .. }
        | Event::StepPublishing { step, .. }
        | Event::StepCurrent { step, .. }
        | Event::StepSkipped { step, .. } => Some(step),
        Event::StepRetrying(retrying) => Some(&retrying.step),
        Event::StepEnded(ended) => Some(&ended.step),
        Event::Noted { step, .. } => step.as_deref(),
        Event::RunQueued(_) | Event::RunStarted(_) | Event::RunStopping { .. } | Event::RunEnded(_) => None,
    }
}
