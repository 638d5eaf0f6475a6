//! Ends runs that died: finishes what they were about to put in place, and undoes what they had only begun. The caller holds the
//! lock of the pipeline.

use std::path::Path;

use crate::base::job::JobId;
use crate::base::text::count;
use crate::fault::fault;
use crate::plan::put_back::PutBack;
use crate::run::recover::{Recovered, recover};
use crate::session::command::run_with;
use crate::session::fail::Fail;
use crate::session::{Session, unread};
use crate::store::last_word::LastWord;
use crate::store::write::Writer;

/// Puts in place what a run that died was about to, tells the store how it ended, which `last_word` may know, and undoes what it
/// had only begun. Says what that was.
pub(crate) fn finish_the_dead(
    session: &Session,
    writer: &mut Writer,
    last_word: &dyn Fn(&JobId) -> Option<LastWord>,
) -> Result<Vec<PutBack>, Fail> {
    refuse_of_others(session)?;
    let Recovered { done, mut finished, .. } = end_the_dead(session, writer, last_word)?;
    let tidied = session.outputs.tidy(&done);
    finished.extend(tidied.map_err(|error| Fail::because("what a run that died left cannot be tidied up", &error))?);
    Ok(finished)
}

/// Refuses to begin where a run that died had another state, which alone knows what is complete of that. No run goes on.
pub(crate) fn refuse_of_others(session: &Session) -> Result<(), Fail> {
    let left = session.outputs.left_by_other();
    let left = left.map_err(|error| Fail::because("what a run that was killed has left cannot be read", &error))?;
    let Some((folder, state)) = left else { return Ok(()) };
    let why = format!("a run that was killed has left {folder}, and its state is in {}", state.display());
    let first = format!("first `{}`", run_with(Path::new(&session.loaded.source.name), &state));
    let path = session.loaded.root.join(&folder);
    let or = format!("or, where there is no such state any more, remove {}", path.display());
    Err(Fail::Surroundings(format!("{why}: only a run with that one can finish it\n  help: {first}; {or}")))
}

/// As [`finish_the_dead`], less what was only begun.
fn end_the_dead(
    session: &Session,
    writer: &mut Writer,
    last_word: &dyn Fn(&JobId) -> Option<LastWord>,
) -> Result<Recovered, Fail> {
    let (store, pipeline) = (&session.store, &session.pipeline().name);
    let found = store.ask(|reader| {
        let dead = reader.unfinished(pipeline)?;
        let steps = dead.iter().flat_map(|run| &run.publishing).map(|row| row.step.as_str());
        let history = reader.history(pipeline, Some(&steps.collect::<Vec<_>>()))?;
        Ok((dead, history))
    });
    let Some((mut dead, history)) = found.map_err(unread)? else { return Ok(Recovered::default()) };
    dead.iter_mut().for_each(|run| run.last_word = last_word(&run.job).or(run.last_word.take()));
    for process in session.outputs.end_survivors(!dead.is_empty()) {
        tracing::warn!("{process} lived on after a run that was killed, and was ended");
    }
    fault("recover.begin").map_err(|error| Fail::because("a run that died cannot be ended", &error))?;
    let recovered = recover(&dead, &history, session.outputs.as_ref(), writer, crate::clock::now());
    for run in &dead {
        let done = count(run.publishing.len(), "step");
        tracing::info!(job = %run.job, finished = done, "a run that died was ended");
    }
    writer.flush().map_err(|error| Fail::because("the history cannot be kept", &error))?;
    let left = store.ask(|reader| reader.left_behind(pipeline, session.engine.name())).map_err(unread)?;
    session.engine.resume(left.unwrap_or_default());
    if session.engine.looks_back() {
        let asked = store.ask(|reader| reader.asked_before(pipeline, session.engine.name())).map_err(unread)?;
        let accepted = store.ask(|reader| reader.accepted_before(session.engine.name())).map_err(unread)?;
        session.engine.look_back(asked.unwrap_or_default(), accepted.unwrap_or_default());
    }
    for (step, why) in &recovered.lost {
        tracing::warn!("`{step}`: a run was killed while it was put in place, and {why}");
    }
    Ok(recovered)
}
