//! Which jobs of a project are asked for, and a page of them. Does not know how they are shown.

use crate::base::job::{JobId, JobState};
use crate::pipeline::types::Pipeline;
use crate::server::archive::Archive;
use crate::server::error::ApiError;
use crate::server::project::{Names, Project};
use crate::server::query::Query;
use crate::store::StoreError;
use crate::store::filter::{About, RunFilter};
use crate::store::read::RunRow;

/// Which jobs are asked for.
pub(crate) fn filter(query: &Query, project: &Project) -> Result<RunFilter, ApiError> {
    let loaded = project.loaded();
    let word = query.get("state").map(str::to_ascii_uppercase);
    let states = [JobState::Queued, JobState::Running, JobState::Done, JobState::Failed, JobState::Aborted];
    let state = word.map(|word| {
        let known = states.into_iter().find(|state| state.word() == word);
        known
            .ok_or_else(|| ApiError::wrong(format!("state={word}: one of NOT_STARTED, RUNNING, DONE, FAILED, ABORTED")))
    });
    let about =
        query.get("output").map(|output| about(&loaded.pipeline, output).map_or_else(|| gone(project, output), Ok));
    Ok(RunFilter {
        state: state.transpose()?,
        pipeline: Some(loaded.pipeline.name.clone()),
        since: query.time("since")?,
        by: query.get("initiator").map(str::to_owned),
        until: query.time("until")?,
        behind: rank(query, "cursor")?,
        ahead: rank(query, "newer")?,
        about: about.transpose()?,
        ..RunFilter::default()
    })
}

/// The rank of a job in the list, as the list itself tells it.
fn rank(query: &Query, name: &str) -> Result<Option<(jiff::Timestamp, JobId)>, ApiError> {
    let Some(cursor) = query.get(name) else { return Ok(None) };
    let parts = cursor.split_once(' ').or_else(|| cursor.split_once('_'));
    let read = parts.and_then(|(time, job)| Some((time.parse::<i64>().ok()?, job)));
    let rank =
        read.and_then(|(time, job)| Some((jiff::Timestamp::from_millisecond(time).ok()?, JobId::from_text(job))));
    let wrong = || ApiError::wrong(format!("{name}: give the `cursor` of a job of the list"));
    rank.map(Some).ok_or_else(wrong)
}

/// What jobs have to be about to be about an output.
fn about(pipeline: &Pipeline, output: &str) -> Option<About> {
    let named = pipeline.nodes.ids().find(|id| pipeline.id_of(*id) == output).or_else(|| pipeline.node(output));
    named.map(|node| About::node(pipeline, node))
}

/// What jobs were about that were about an output which the file does not have any more: it has a history still.
fn gone(project: &Project, output: &str) -> Result<About, ApiError> {
    let about = About::gone(output);
    let pipeline = project.loaded().pipeline.name.clone();
    match project.archive.ask(Vec::new(), |reader| reader.step_runs(&pipeline, output, 1))?.is_empty() {
        true => Err(ApiError::none(format!("output={output}: there is no such output"))),
        false => Ok(about),
    }
}

/// Rows of a list, and where it goes on.
pub(crate) struct Rows {
    pub(crate) shown: Vec<RunRow>,
    pub(crate) last: Option<(jiff::Timestamp, JobId)>,
}

/// The next rows that fit, and where the list goes on if there may be more.
pub(crate) fn rows(project: &Project, filter: &RunFilter, want: u32) -> Result<Rows, StoreError> {
    let archive = &project.archive;
    let asked = RunFilter { limit: Some(want), ..filter.clone() };
    let mut shown = now(archive, &asked)?;
    // A name may be that of a key: jobs say it as DSS does.
    if let Some(key) = filter.by.as_ref().filter(|by| !by.starts_with("API (")) {
        let asked = RunFilter { by: Some(format!("API ({key})")), ..asked };
        shown.extend(now(archive, &asked)?);
        asked.put_in_order(&mut shown);
    }
    let more = shown.len() as u64 == u64::from(want);
    let last = shown.last().map(|row| (row.rank, row.id.clone())).filter(|_| more);
    Ok(Rows { shown, last })
}

/// Rows as they are, also those whose end the store does not know yet.
fn now(archive: &Archive, asked: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
    let mut rows = archive.ask(Vec::new(), |reader| reader.runs_now(asked, &archive.folder))?;
    let lost = archive.lost();
    if lost.is_empty() {
        return Ok(rows);
    }
    if asked.state.is_some_and(JobState::is_over) {
        // To the store they go on.
        for state in [JobState::Queued, JobState::Running] {
            let open = RunFilter { state: Some(state), limit: None, ..asked.clone() };
            let open = archive.ask(Vec::new(), |reader| reader.runs(&open))?;
            rows.retain(|row| !lost.contains(&row.id) || !open.iter().any(|other| other.id == row.id));
            rows.extend(open.into_iter().filter(|row| lost.contains(&row.id)));
        }
    }
    archive.see(&mut rows)?;
    rows.retain(|row| asked.state.is_none_or(|state| row.state == state));
    asked.put_in_order(&mut rows);
    Ok(rows)
}
