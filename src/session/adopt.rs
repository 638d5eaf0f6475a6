//! Takes outputs that are there as built: a run of its own in the history, in which nothing is started. Does not know how
//! that is told.

use crate::base::id::RecipeId;
use crate::base::job::{JobId, JobState};
use crate::base::span::Problem;
use crate::engine::api::{BLOCKED, HALF_WRITTEN, Observed};
use crate::event::{Cause, Counts, Event, Outcome, RunEnded, Stamped, StepEnded, VERSION};
use crate::plan::Plan;
use crate::plan::adopt::{Adoption, Refusal, adopt as decide};
use crate::plan::decide::Basis;
use crate::plan::record::Record;
use crate::report::api::Journal;
use crate::session::fail::Fail;
use crate::session::locks::{is_free, lock};
use crate::session::start::{Origin, Ticket, new_job, open_journal_of, planned_step, started};
use crate::session::{Planned, Session};

/// What can be taken. Reads only, and is refused where taking it would be.
pub(crate) fn look(session: &Session) -> Result<Adoption, Fail> {
    is_free(session).map_err(|busy| busy.with_ways(session, None))?;
    Ok(look_closely(session, false)?.1)
}

fn look_closely(session: &Session, locked: bool) -> Result<(Planned, Adoption), Fail> {
    let (known, Observed { mut facts, seen, wrong }) = session.look(true, locked)?;
    for (id, problem) in wrong {
        facts.unseen.entry(id).or_default().push(problem.message);
    }
    let (pipeline, history) = (session.pipeline(), known.history.as_ref());
    let basis = Basis { pipeline, facts: &facts, history, mode: session.selection.mode };
    let put_back = session.to_put_back(&known);
    let moved = moved(session);
    let check = |id: RecipeId, record: Result<Record, Refusal>| {
        let why = match &record {
            Ok(_) => blocked(session, id).or_else(|| session.outputs.misfit(id)).or_else(|| moved.clone()),
            // A link that leads nowhere is there, too.
            Err(Refusal::NoOutput(_)) if is_link(session, id) => blocked(session, id),
            Err(_) => None,
        };
        why.map_or(record, |why| Err(Refusal::Blocked(why)))
    };
    let adoption = decide(&basis, &session.loaded.graph, &session.selection, &put_back, &check);
    let steps = adoption.current.iter().chain(adoption.taken.iter().map(|(step, _)| step)).cloned().collect();
    Ok((Planned { plan: Plan { steps }, facts, seen, known }, adoption))
}

/// Why no run could put an output of a step where it belongs, or have made it. What only a recipe needs, such as a secret, keeps nothing from being
/// taken.
fn blocked(session: &Session, id: RecipeId) -> Option<String> {
    let counts = |problem: &Problem| matches!(problem.code, BLOCKED | HALF_WRITTEN);
    let found = session.engine.obstacles(&[id]).into_iter().find(counts);
    found.and_then(|problem| problem.labels.into_iter().next()).map(|label| label.text)
}

fn is_link(session: &Session, id: RecipeId) -> bool {
    let paths = session.pipeline().recipes[id].outputs.iter();
    let mut paths = paths.filter_map(|node| session.pipeline().nodes[*node].path.as_deref());
    paths.any(|path| session.loaded.root.join(path).is_symlink())
}

/// Why nothing is taken where something half-written may have been moved, or renamed in the file: no step makes it where it was.
fn moved(session: &Session) -> Option<String> {
    let half = session.outputs.half_written();
    let is_made = |path: &String| {
        let mut nodes = session.pipeline().nodes.values();
        nodes.any(|node| node.maker.is_some() && node.path.as_ref() == Some(path))
    };
    let path = half.iter().find(|path| !is_made(path))?;
    Some(format!("a run was killed while it wrote {path} in place, which no step makes now: `kiln run` comes first"))
}

/// Takes what can be taken, and says under which id; none where there was nothing to take.
pub(crate) fn take(session: &Session, origin: Origin) -> Result<(Option<JobId>, Adoption), Fail> {
    let _lock = lock(session).map_err(|busy| busy.with_ways(session, None))?;
    let (mut writer, _committed) = open_journal_of(session)?;
    // What runs that died left is the next one's to finish: that changes outputs.
    let (planned, adoption) = look_closely(session, true)?;
    if adoption.taken.is_empty() {
        writer.close().map_err(|error| Fail::because("the history could not be closed", &error))?;
        return Ok((None, adoption));
    }
    let Ticket { job, began: at, .. } = new_job(session)?;
    let steps = adoption.taken.iter().map(|(step, _)| planned_step(session, step)).collect();
    let first = Event::RunStarted(Box::new(started(session, &planned.plan, origin, steps)));
    let ended = adoption.taken.iter().map(|(step, record)| {
        let ended = StepEnded::new(&session.pipeline().recipes[step.id].name, 0, Outcome::Adopted, 0);
        Event::StepEnded(Box::new(StepEnded { record: Some(record.clone()), ..ended }))
    });
    let current = (adoption.taken.len() + adoption.current.len()) as u64;
    let counts = Counts { current, ..Counts::default() };
    let last = Event::RunEnded(RunEnded::new(JobState::Done, Some(Cause::Adopted), counts));
    let events = std::iter::once(first).chain(ended).chain([last]).zip(0..);
    let stamp = |(event, seq)| Stamped { version: VERSION, job: job.clone(), seq, at, elapsed_ms: 0, event };
    let stamped = events.map(stamp).collect();
    writer.append(stamped, planned.seen);
    writer.close().map_err(|error| Fail::because("what was adopted could not be kept", &error))?;
    Ok((Some(job), adoption))
}
