//! `kiln jobs wait` for the runs here: it looks until they have ended.

use std::time::Duration;

use tokio::time::Instant;

use crate::base::job::JobState;
use crate::cli::jobs::{History, LOOK_EVERY};
use crate::cli::print;
use crate::exit;
use crate::session::fail::Fail;
use crate::store::read::RunRow;

/// Waits until runs have ended, and says how each did.
pub(super) fn wait(history: &History, ids: &[String], timeout: Option<Duration>) -> Result<u8, Fail> {
    let rows: Vec<RunRow> = ids.iter().map(|id| history.find(id).map(|(_, row)| row)).collect::<Result<_, _>>()?;
    let states = ends(history, &rows, timeout)?;
    Ok(if states.iter().all(|state| *state == JobState::Done) { exit::OK } else { exit::FAILED })
}

/// How runs ended, or where they stand when the time is over.
fn ends(history: &History, rows: &[RunRow], timeout: Option<Duration>) -> Result<Vec<JobState>, Fail> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fail::because("runs cannot be waited for", &error))?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut states = Vec::new();
    for row in rows {
        let state = loop {
            let (_, now) = history.find(row.id.as_str())?;
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if now.state.is_over() || late {
                break now.state;
            }
            runtime.block_on(async { tokio::time::sleep(LOOK_EVERY).await });
        };
        let word = match state {
            JobState::Running => "goes on",
            JobState::Queued => "waits for its turn",
            JobState::Done | JobState::Failed | JobState::Aborted => state.word(),
        };
        print(&format!("{} {word}\n", row.id))?;
        states.push(state);
    }
    Ok(states)
}
