//! Which jobs of a project are asked for, and a page of them. Does not know how they are shown.

use crate::base::job::{JobId, JobState};
use crate::pipeline::types::Pipeline;
use crate::server::error::ApiError;
use crate::server::project::{Names, Project};
use crate::server::query::Query;
use crate::store::StoreError;
use crate::store::filter::RunFilter;
use crate::store::read::RunRow;

/// Which jobs are asked for.
pub(crate) struct Filter {
    pub(crate) state: Option<JobState>,
    pub(crate) rows: RunFilter,
}

impl Filter {
    /// What is asked for of the list.
    pub(crate) fn read(query: &Query, project: &Project) -> Result<Self, ApiError> {
        let loaded = project.loaded();
        let word = query.get("state").map(str::to_ascii_uppercase);
        let states = [JobState::Queued, JobState::Running, JobState::Done, JobState::Failed, JobState::Aborted];
        let state = word.map(|word| {
            let known = states.into_iter().find(|state| state.word() == word);
            known.ok_or_else(|| {
                ApiError::wrong(format!("state={word}: one of NOT_STARTED, RUNNING, DONE, FAILED, ABORTED"))
            })
        });
        let behind = query.get("cursor").map(|cursor| {
            let parts = cursor.split_once(' ').or_else(|| cursor.split_once('_'));
            let read = parts.and_then(|(time, job)| Some((time.parse::<i64>().ok()?, job)));
            let place = read
                .and_then(|(time, job)| Some((jiff::Timestamp::from_millisecond(time).ok()?, JobId::from_text(job))));
            place.ok_or_else(|| {
                ApiError::wrong("cursor: give the value of the header X-Next-Cursor or of a job's `cursor`")
            })
        });
        let steps = query.get("output").map(|output| steps_of(&loaded.pipeline, output));
        Ok(Self {
            state: state.transpose()?,
            rows: RunFilter {
                pipeline: Some(loaded.pipeline.name.clone()),
                since: query.time("since")?,
                by: query.get("initiator").map(str::to_owned),
                until: query.time("until")?,
                behind: behind.transpose()?,
                steps: steps.transpose()?,
                ..RunFilter::default()
            },
        })
    }
}

/// The steps that make an output.
fn steps_of(pipeline: &Pipeline, output: &str) -> Result<Vec<String>, ApiError> {
    let named = pipeline.nodes.ids().find(|id| pipeline.id_of(*id) == output).or_else(|| pipeline.node(output));
    let node = named.ok_or_else(|| ApiError::none(format!("output={output}: there is no such output")))?;
    Ok(pipeline.nodes[node].maker.map(|maker| pipeline.recipes[maker].name.clone()).into_iter().collect())
}

/// Rows of a list, and where it goes on.
pub(crate) struct Rows {
    pub(crate) shown: Vec<RunRow>,
    pub(crate) last: Option<(jiff::Timestamp, JobId)>,
}

/// The next rows that fit. States are looked at here: a run that died may still stand as RUNNING in the history.
pub(crate) fn rows(project: &Project, filter: &Filter, want: u32) -> Result<Rows, StoreError> {
    let archive = &project.archive;
    // All states but ABORTED are what the history says, or less.
    let exact = filter.state.filter(|state| *state != JobState::Aborted);
    let asked = RunFilter { limit: Some(want), state: exact, ..filter.rows.clone() };
    let mut rows = archive.ask(Vec::new(), |reader| reader.runs(&asked))?;
    let more = rows.len() as u64 == u64::from(want);
    let last = rows.last().map(|row| (row.asked, row.id.clone())).filter(|_| more);
    rows.iter_mut().for_each(|row| row.see_death(&archive.folder));
    rows.retain(|row| filter.state.is_none_or(|state| row.state == state));
    Ok(Rows { shown: rows, last })
}
