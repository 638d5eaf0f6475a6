//! The history of a state's folder, for many readers at once: connections that are lent, runs that are folded only as far as
//! they have grown. Writes nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::base::job::{JobId, JobState};
use crate::cause::Cause;
use crate::server::logs::Lines;
use crate::server::turn::guard;
use crate::session::fail::Fail;
use crate::store::last_word::LastWord;
use crate::store::lock::{Lock, LockError, QUEUE, here_now};
use crate::store::read::{Reader, RunRow};
use crate::store::{StoreError, make_folder};
use crate::view::RunView;

/// So many runs are kept folded.
const FOLDED: usize = 64;
/// So many connections are kept open.
const CONNECTIONS: usize = 8;

/// The history of a state's folder.
pub(crate) struct Archive {
    /// The folder.
    pub(crate) folder: PathBuf,
    readers: Mutex<Vec<Reader>>,
    /// Runs, each with when it was asked for last: the largest number is the newest.
    folded: Mutex<HashMap<JobId, (u64, Shared)>>,
    more: watch::Sender<u64>,
    /// How the store stood when it was asked last whether it has changed.
    seen: Mutex<Option<(Reader, i64)>>,
    /// How jobs ended whose end is not in the store yet.
    lost: Mutex<HashMap<JobId, LastWord>>,
    /// How many lines its logs have.
    pub(crate) lines: Lines,
    /// Says that this server has what waits there.
    queue: Mutex<Lock>,
    /// How often it was asked.
    #[cfg(test)]
    pub(crate) asked: std::sync::atomic::AtomicUsize,
}

/// A run that each of its followers folds on.
type Shared = Arc<Mutex<Folded>>;

#[derive(Default)]
struct Folded {
    next: u64,
    view: Arc<RunView>,
}

/// A run as it stands.
pub(crate) struct Standing {
    /// Its row in the list.
    pub(crate) row: RunRow,
    /// What its events tell.
    pub(crate) view: Arc<RunView>,
    /// The number of the event that comes next.
    pub(crate) next: u64,
}

impl Archive {
    /// Opens the history of a folder, as the one server that has runs waiting there.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, Fail> {
        make_folder(&folder).map_err(|error| Fail::because("no state can be kept", &error))?;
        let queue = Mutex::new(queue(&folder)?);
        let (more, _) = watch::channel(0);
        Ok(Self {
            folder,
            readers: Mutex::default(),
            folded: Mutex::default(),
            more,
            seen: Mutex::default(),
            lost: Mutex::default(),
            lines: Lines::default(),
            queue,
            #[cfg(test)]
            asked: std::sync::atomic::AtomicUsize::default(),
        })
    }

    /// Has the folder anew that was removed, as the one server that has runs waiting there.
    pub(crate) fn renew(&self) -> Result<(), Fail> {
        let mut held = guard(&self.queue);
        if !held.stands(&self.folder, QUEUE) {
            make_folder(&self.folder).map_err(|error| Fail::because("no state can be kept", &error))?;
            *held = queue(&self.folder)?;
        }
        Ok(())
    }

    /// Asks the history something; `none` where there is none yet.
    pub(crate) fn ask<T>(
        &self,
        none: T,
        question: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        #[cfg(test)]
        self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let lent = guard(&self.readers).pop();
        let stands = lent.as_ref().is_none_or(Reader::stands);
        if !stands {
            // The history was removed or replaced: nothing that was seen of it counts.
            guard(&self.readers).clear();
            guard(&self.folded).clear();
        }
        let reader = match lent.filter(|_| stands) {
            Some(reader) => reader,
            None => match Reader::open(&self.folder)? {
                Some(reader) => reader,
                None => return Ok(none),
            },
        };
        let answer = question(&reader);
        let mut readers = guard(&self.readers);
        if readers.len() < CONNECTIONS {
            readers.push(reader);
        }
        answer
    }

    /// A run of a pipeline by its whole id.
    pub(crate) fn run(&self, pipeline: &str, job: &JobId) -> Result<Option<Standing>, StoreError> {
        let (mut view, mut next) = self.view(job)?;
        let row = self.ask(None, |reader| reader.run(job))?.filter(|row| row.pipeline == pipeline);
        let Some(mut row) = row else { return Ok(None) };
        // It may have gone on between the two questions.
        if row.state != view.state() {
            (view, next) = self.view(job)?;
        }
        self.see(std::slice::from_mut(&mut row))?;
        if view.end.is_none() && row.state.is_over() {
            row.end(Arc::make_mut(&mut view));
        }
        Ok(Some(Standing { row, view, next }))
    }

    /// The last run of a pipeline.
    pub(crate) fn last(&self, pipeline: &str) -> Result<Option<RunRow>, StoreError> {
        let mut row = self.ask(None, |reader| reader.last_run(pipeline))?;
        self.see(row.as_mut_slice())?;
        Ok(row)
    }

    /// Lets rows say what the store has not been told: that their process died, or how they ended otherwise.
    pub(crate) fn see(&self, rows: &mut [RunRow]) -> Result<(), StoreError> {
        self.ask((), |reader| rows.iter_mut().try_for_each(|row| reader.see_death(row, &self.folder)))?;
        for row in rows.iter_mut().filter(|row| !matches!(row.state, JobState::Done | JobState::Failed)) {
            if let Some(word) = self.last_word(&row.id) {
                row.end_with(word);
            }
        }
        Ok(())
    }

    /// A job ended, and that cannot be kept now.
    pub(crate) fn lose(&self, job: &JobId, state: JobState, because: Cause) {
        tracing::error!(%job, why = %because, "the end of a job cannot be kept now");
        guard(&self.lost).insert(job.clone(), LastWord { state, because, at: crate::clock::now() });
        self.grown();
    }

    /// How a job ended of which the store does not know it.
    pub(crate) fn last_word(&self, job: &JobId) -> Option<LastWord> {
        guard(&self.lost).get(job).cloned()
    }

    /// The jobs of which the store does not know how they ended.
    pub(crate) fn lost(&self) -> Vec<JobId> {
        guard(&self.lost).keys().cloned().collect()
    }

    /// The end of a job is in the store.
    pub(crate) fn found(&self, job: &JobId) {
        guard(&self.lost).remove(job);
        self.grown();
    }

    /// What the events of a run tell so far, and the number of the next one. Only those are read that are new.
    pub(crate) fn view(&self, job: &JobId) -> Result<(Arc<RunView>, u64), StoreError> {
        let known = guard(&self.folded).get(job).map(|(_, folded)| Arc::clone(folded)).unwrap_or_default();
        let mut folded = guard(&known);
        let events = self.ask(Vec::new(), |reader| reader.events(job, folded.next))?;
        if let Some(last) = events.last() {
            folded.next = last.seq + 1;
            // It is copied only for those who look at it just now.
            let view = Arc::make_mut(&mut folded.view);
            events.iter().for_each(|event| view.apply(event));
        }
        let (view, next) = (Arc::clone(&folded.view), folded.next);
        drop(folded);
        // Whatever is asked for, only what there is gets a place.
        if next > 0 {
            self.keep(job, known);
        }
        Ok((view, next))
    }

    fn keep(&self, job: &JobId, folded: Arc<Mutex<Folded>>) {
        let mut all = guard(&self.folded);
        let newest = all.values().map(|(used, _)| *used).max().unwrap_or(0) + 1;
        // Of two who began it at once the later one stays.
        all.insert(job.clone(), (newest, folded));
        if all.len() > FOLDED {
            let oldest = all.iter().min_by_key(|(_, (used, _))| *used).map(|(job, _)| job.clone());
            oldest.and_then(|job| all.remove(&job));
        }
    }

    /// Tells those who follow runs that there is more.
    pub(crate) fn grown(&self) {
        self.more.send_modify(|n| *n += 1);
    }

    /// Whether somebody has written to the history since this was asked last.
    pub(crate) fn has_changed(&self) -> bool {
        let mut seen = guard(&self.seen);
        let known = seen.take().filter(|(reader, _)| reader.stands());
        let (reader, before) = match known {
            Some((reader, version)) => (Some(reader), Some(version)),
            None => (Reader::open(&self.folder).ok().flatten(), None),
        };
        let now = reader.and_then(|reader| Some((reader.version().ok()?, reader)));
        let version = now.as_ref().map(|(version, _)| *version);
        *seen = now.map(|(version, reader)| (reader, version));
        version.is_none() || version != before
    }

    /// Tells whenever there may be more. The news carry nothing: whoever hears them looks for himself.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.more.subscribe()
    }

    /// Whether someone follows runs.
    pub(crate) fn followed(&self) -> bool {
        self.more.receiver_count() > 0
    }
}

/// Becomes the one server that has runs waiting in a folder.
fn queue(folder: &Path) -> Result<Lock, Fail> {
    Lock::take(folder, QUEUE, &here_now()).map_err(|error| match error {
        LockError::Held(holder) => {
            Fail::Surroundings(format!("{}: another `kiln serve` is at work there: {holder}", folder.display()))
        }
        LockError::Io(error) => Fail::because(&folder.display().to_string(), &error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::report::api::Journal;
    use crate::server::jobs::stamped;
    use crate::store::write::Writer;

    #[test]
    fn a_run_that_nobody_looks_at_grows_without_being_copied() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(dir.path().join("state")).unwrap();
        let job = JobId::from_text("job");
        let mut writer = Writer::open(&archive.folder, Box::new(|result| assert!(result.is_ok()))).unwrap();
        let mut append = |seq| {
            let event = Event::Noted { step: None, text: format!("event {seq}") };
            writer.append(vec![stamped(&job, seq, crate::clock::now(), event)].into(), Vec::new());
            writer.flush().unwrap();
        };
        append(0);
        assert!(archive.has_changed() && !archive.has_changed());
        let view = || archive.view(&job).unwrap();
        let place = Arc::as_ptr(&view().0);
        append(1);
        assert!(archive.has_changed() && !archive.has_changed());
        let (held, next) = view();
        assert_eq!((Arc::as_ptr(&held), next), (place, 2));
        // Who looks at it still sees it as it was.
        append(2);
        let (now, next) = view();
        assert!(next == 3 && !Arc::ptr_eq(&now, &held));
        assert!(archive.view(&JobId::from_text("nothing")).unwrap().1 == 0);
        assert_eq!(guard(&archive.folded).len(), 1);
    }
}
