//! One job of the server, on a thread of its own: looks at what is to be done, asks whether it may, and drives the run. Does
//! not know what else goes on.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use tokio::sync::{Semaphore, mpsc as signals, watch};

use crate::base::job::{JobId, JobState};
use crate::engine::api::Stop;
use crate::event::{Cause, Counts, Event, RunEnded, RunStarted, Stamped};
use crate::report::api::{Journal, Reporter};
use crate::run::setup::Policy;
use crate::server::archive::Archive;
use crate::server::jobs::{Message, Order, stamped};
use crate::server::touch::steps;
use crate::session::fail::Fail;
use crate::session::finish::finish_the_dead;
use crate::session::load::{self, Given};
use crate::session::locks::Locks;
use crate::session::start::{Origin, Ready, Ticket, open_journal, open_journal_of, seed};
use crate::session::{Request, Session, Site};
use crate::store::gc::keep_house;
use crate::view::RunView;

/// A job that is called.
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) order: Box<Order>,
    pub(crate) site: Site,
    /// Whether it has to finish first what runs that died left.
    pub(crate) untidy: bool,
    /// The locks of its pipeline, which whatever it starts holds too.
    pub(crate) locks: Option<Arc<Locks>>,
    /// Ends the commands that it runs to look.
    pub(crate) stop: watch::Receiver<Stop>,
    /// How many steps may run in all jobs together.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) to: Sender<Message>,
}

/// What became of a job that was called.
#[derive(PartialEq, Eq)]
enum Came {
    ToAnEnd,
    /// It has to wait again.
    Back,
    /// It was asked to end before it ran.
    Asked(Cause),
    /// It went on to its end, and that is not in the history.
    Lost(String),
}

/// What asks a job to end.
pub(crate) type Signals = signals::UnboundedReceiver<Cause>;

impl Job {
    /// Does it all, and tells when it is over, whatever happens.
    pub(crate) fn carry_out(self, signals: Signals) {
        let archive = Arc::clone(&self.order.project.archive);
        let lost = Some((JobState::Failed, other(CRASHED)));
        let mut over = Over { id: self.id.clone(), to: self.to.clone(), archive, lost, back: None };
        let ended = match self.work(signals) {
            Ok(Came::ToAnEnd) => None,
            Ok(Came::Lost(why)) => {
                over.lost = Some((JobState::Failed, Cause::Unkept { why }));
                return;
            }
            Ok(Came::Back) => {
                over.back = Some(self.order);
                return;
            }
            Ok(Came::Asked(why)) => Some((JobState::Aborted, why)),
            Err(fail) => Some((JobState::Failed, other(fail.plain()))),
        };
        over.lost = ended.filter(|(state, why)| self.end(*state, None, Some(why.clone())).is_err());
    }

    fn work(&self, mut signals: Signals) -> Result<Came, Fail> {
        let Some(request) = &self.order.request else {
            let (started, why) = (Some(self.order.queued.clone()), self.absent()?);
            let state = if why.is_some() { JobState::Failed } else { JobState::Done };
            return self.end(state, started, why.map(other)).map(|()| Came::ToAnEnd);
        };
        let session = self.session(request)?;
        self.locks.iter().try_for_each(|locks| locks.lend(&session))?;
        let (mut writer, committed) = open_journal_of(&session)?;
        let mut undone = Vec::new();
        if self.untidy {
            let archive = &self.order.project.archive;
            undone = finish_the_dead(&session, &mut writer, &|job| archive.last_word(job))?;
            undone.iter().for_each(|undone| tracing::info!("{}", undone.done()));
            self.tell(Message::Tidied(self.order.project.number));
        }
        session.engine.heed(self.stop.clone());
        let RunStarted { by, again, keep_going, vars, .. } = self.order.queued.clone();
        let planned = session.plan_to_run(true, keep_going);
        if let Ok(why) = signals.try_recv() {
            return Ok(Came::Asked(why));
        }
        let (mut planned, hindered) = planned?;
        let left = session.passed_over(&mut planned);
        planned.plan.take_in(left, &session.loaded.graph);
        let (tell, told) = mpsc::channel();
        self.tell(Message::Planned(self.id.clone(), steps(&session, &planned), tell));
        if !told.recv().unwrap_or(false) {
            return Ok(Came::Back);
        }
        let ticket = Ticket { job: self.id.clone(), began: crate::clock::now(), events: 1 };
        let policy = Policy {
            schedule: session.schedule,
            jobs: session.jobs as usize,
            max_fail: (!keep_going).then_some(1),
            kill: false,
            time_limit_ms: None,
            seed: seed(),
        };
        let origin = Origin { by, again, keep_going, vars };
        let ready = Ready::make(&session, (planned, hindered), ticket, policy, origin)?;
        let ready = ready.after(undone).sharing(Arc::clone(&self.permits));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fail::because("no run can be driven", &error))?;
        let driven = runtime.block_on(ready.drive(&mut writer, committed, vec![self.reporter()], signals));
        let closed = writer.close();
        for process in &driven.left {
            tracing::warn!("{process} had left its step, and was ended with job {}", self.id);
        }
        if let Some(lost) = driven.lost.or_else(|| closed.err().map(|error| error.to_string())) {
            return Ok(Came::Lost(format!("the history cannot be kept: {lost}")));
        }
        keep_house(session.store.state(), &session.loaded.root, crate::clock::now());
        Ok(Came::ToAnEnd)
    }

    /// The request, understood anew: what was read when it was asked for may have changed while it waited.
    fn session(&self, request: &Request) -> Result<Session, Fail> {
        let file = self.order.project.file();
        let loaded = load::of(file, self.order.source.clone(), &request.given())?;
        Session::of(&self.site, loaded, request)
    }

    /// What is wrong with the sources that were asked for: nothing makes them, so they have to be there.
    fn absent(&self) -> Result<Option<String>, Fail> {
        let loaded = load::of(self.order.project.file(), self.order.source.clone(), &Given::default())?;
        let paths = self.order.queued.targets.iter().filter_map(|name| {
            let node = &loaded.pipeline.nodes[loaded.pipeline.node(name)?];
            Some((name, loaded.place(node.path_span.start), node.path.as_ref()?))
        });
        let absent = paths.filter(|(.., path)| !loaded.root.join(path).exists());
        let told = absent.map(|(name, place, path)| {
            format!("{place}: source `{name}` is not there: there is nothing at {path}; put the file there, or say what makes it with `run`")
        });
        let all: Vec<String> = told.collect();
        Ok((!all.is_empty()).then(|| all.join("; ")))
    }

    fn reporter(&self) -> Box<dyn Reporter> {
        let archive = Arc::clone(&self.order.project.archive);
        Box::new(Teller { id: self.id.clone(), to: self.to.clone(), archive })
    }

    fn tell(&self, message: Message) {
        // A server that is gone needs no news.
        drop(self.to.send(message));
    }

    /// Keeps the end of a job that was not driven.
    fn end(&self, state: JobState, started: Option<RunStarted>, why: Option<Cause>) -> Result<(), Fail> {
        let now = crate::clock::now();
        let begin = started.map(|started| Event::RunStarted(Box::new(started)));
        let end = Event::RunEnded(RunEnded::new(state, why, Counts::default()));
        let events = begin.into_iter().chain([end]).zip(1..).map(|(event, seq)| stamped(&self.id, seq, now, event));
        let (mut writer, _) = open_journal(&self.order.project.archive.folder)?;
        writer.append(events.collect(), Vec::new());
        writer.close().map_err(|error| Fail::because("the history could not be closed", &error))
    }
}

fn other(words: impl Into<String>) -> Cause {
    Cause::Other { words: words.into() }
}

/// What is said of a job that panicked.
const CRASHED: &str = "it crashed: this is a bug";

/// Tells the end of a job when it is dropped.
struct Over {
    id: JobId,
    to: Sender<Message>,
    archive: Arc<Archive>,
    /// How it ended, where that is not in the history.
    lost: Option<(JobState, Cause)>,
    back: Option<Box<Order>>,
}

impl Drop for Over {
    fn drop(&mut self) {
        let message = match (self.back.take(), self.lost.take()) {
            (Some(order), _) => Message::Back(self.id.clone(), order),
            (None, lost) => {
                lost.into_iter().for_each(|(state, why)| self.archive.lose(&self.id, state, why));
                Message::Over(self.id.clone())
            }
        };
        drop(self.to.send(message));
        self.archive.grown();
    }
}

/// Tells the desk which steps have ended, and those who follow the run that there is more.
struct Teller {
    id: JobId,
    to: Sender<Message>,
    archive: Arc<Archive>,
}

impl Reporter for Teller {
    fn event(&mut self, _: &RunView, event: &Stamped) -> io::Result<()> {
        if let Some((step, _)) = event.event.over() {
            drop(self.to.send(Message::StepOver(self.id.clone(), step.to_owned())));
        }
        self.archive.grown();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the history comes to be told of a job of which this was left.
    fn told(lost: Option<(JobState, Cause)>) -> Option<(JobState, Cause)> {
        let dir = tempfile::tempdir().unwrap();
        let archive = Arc::new(Archive::open(dir.path().join("state")).unwrap());
        let (to, messages) = mpsc::channel();
        let id = JobId::from_text("job");
        drop(Over { id: id.clone(), to, archive: Arc::clone(&archive), lost, back: None });
        assert!(matches!(messages.recv().unwrap(), Message::Over(over) if over == id));
        archive.last_word(&id).map(|word| (word.state, word.because))
    }

    #[test]
    fn a_job_that_nobody_ended_has_ended() {
        let crashed = (JobState::Failed, other(CRASHED));
        assert_eq!(told(Some(crashed.clone())), Some(crashed));
        assert_eq!(told(None), None);
    }
}
