//! Which run has a log of a step: the last one that ran it. Does not know how logs are printed.

use crate::base::job::JobId;
use crate::cli::jobs::History;
use crate::session::fail::Fail;
use crate::session::unread;

impl History {
    /// What `kiln jobs log` is asked for: a run and a step of it. A lone name that no run has may be that of a step: its last run.
    pub(super) fn asked_for(&self, id: &str, step: Option<&str>) -> Result<(String, Option<String>), Fail> {
        let given = || (id.to_owned(), step.map(str::to_owned));
        match (step, self.find(id)) {
            (None, Err(Fail::Usage(message, help))) => match self.ran(id)? {
                Some(run) => Ok((run.to_string(), Some(id.to_owned()))),
                None => Err(Fail::Usage(message, help)),
            },
            (_, Err(fail)) => Err(fail),
            (_, Ok(_)) => Ok(given()),
        }
    }

    /// The last run that ran a step.
    pub(super) fn ran(&self, step: &str) -> Result<Option<JobId>, Fail> {
        let Some(reader) = &self.reader else { return Ok(None) };
        reader.ran(step, self.pipeline.as_deref()).map_err(unread)
    }
}
