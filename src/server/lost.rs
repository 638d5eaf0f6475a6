//! Tells the history how a job ended that could not tell it, such as on a disk that was full. Does not know who asks for that.

use crate::base::job::{JobId, JobState};
use crate::event::{Counts, Event, RunEnded, Stamped};
use crate::run::recover::end;
use crate::server::archive::Archive;
use crate::server::jobs::stamped;
use crate::session::fail::Fail;
use crate::session::unread;
use crate::store::StoreError;
use crate::store::last_word::LastWord;
use crate::store::lock::{Lock, here_now};
use crate::store::read::RunRow;

/// Keeps how a job ended, with `put`. Whether that is in the history; what it was putting in place the next job has to finish
/// first.
pub(crate) fn keep(
    archive: &Archive,
    job: &JobId,
    put: impl FnOnce(Vec<Stamped>) -> Result<(), Fail>,
) -> Result<bool, Fail> {
    let row = archive.ask(None, |reader| reader.run(job)).map_err(unread)?;
    let (Some(row), Some(word)) = (row, archive.last_word(job)) else { return Ok(true) };
    match row.state {
        JobState::Queued => {
            let LastWord { state, because, at } = word;
            put(vec![stamped(job, 1, at, Event::RunEnded(RunEnded::new(state, Some(because), Counts::default())))])
                .map(|()| true)
        }
        JobState::Running => {
            // Whoever has the pipeline may be about to end it.
            let Ok(_lock) = Lock::take_now(&archive.folder, &row.pipeline, &here_now()) else { return Ok(false) };
            match told(archive, &row, word).map_err(unread)? {
                Some(events) => put(events).map(|()| true),
                None => Ok(false),
            }
        }
        JobState::Done | JobState::Failed | JobState::Aborted => Ok(true),
    }
}

/// How a job ended that had begun; none where something is still to be done for that.
fn told(archive: &Archive, row: &RunRow, word: LastWord) -> Result<Option<Vec<Stamped>>, StoreError> {
    let unfinished = archive.ask(Vec::new(), |reader| reader.unfinished(&row.pipeline))?;
    let run = unfinished.into_iter().find(|run| run.job == row.id && run.publishing.is_empty());
    Ok(run.map(|mut run| {
        let at = word.at;
        run.last_word = Some(word);
        end(&run, at)
    }))
}
