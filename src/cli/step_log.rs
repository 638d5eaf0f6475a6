//! Which run has a log of a step: the last one that ran it; and why there is none. Does not know how logs are printed.

use crate::base::job::JobId;
use crate::base::text::did_you_mean;
use crate::cli::Context;
use crate::cli::candidates::{maker, recipes};
use crate::cli::jobs::{History, no_run};
use crate::event::FailureCode;
use crate::report::feed::skipped_why;
use crate::session::fail::Fail;
use crate::session::unread;
use crate::view::{RunView, StepState, StepView};

impl History {
    /// What `kiln jobs log` is asked for: a run and a step of it. A lone name that no run has may be that of a step: its last run.
    pub(super) fn asked_for(
        &self,
        context: &Context,
        id: &str,
        step: Option<&str>,
    ) -> Result<(String, Option<String>), Fail> {
        let given = || (id.to_owned(), step.map(str::to_owned));
        match (step, self.find(id)) {
            (None, Err(Fail::Usage(message, help))) => {
                if let Some(run) = self.ran(id)? {
                    return Ok((run.to_string(), Some(id.to_owned())));
                }
                if message != no_run(id) {
                    return Err(Fail::Usage(message, help));
                }
                // What is called so may be an output of a step that is called otherwise.
                let Some(step) = maker(context, id) else { return Err(nothing_called(id, &recipes(context))) };
                match self.ran(&step)? {
                    Some(run) => Ok((run.to_string(), Some(step))),
                    None => Err(nothing_called(&step, &recipes(context))),
                }
            }
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

/// That a lone name is neither that of a run nor that of a step that ever ran.
fn nothing_called(name: &str, steps: &[String]) -> Fail {
    if steps.iter().any(|step| step == name) {
        return Fail::Usage(format!("`{name}` has not run yet"), Some(format!("`kiln run {name}` builds it")));
    }
    let help = did_you_mean(name, steps.iter().map(String::as_str));
    let help = help.unwrap_or_else(|| "`kiln jobs list` shows the runs, `kiln list` the steps".to_owned());
    Fail::Usage(format!("{}, and no step of that name has run", no_run(name)), Some(help))
}

/// Why there is nothing that a step has printed, in a run of which this is known.
pub(super) fn silent(view: &RunView, step: &StepView) -> String {
    let id = &step.plan.id;
    let failure = step.failure.as_ref().filter(|failure| failure.code == FailureCode::Start);
    match (step.state, failure) {
        (StepState::Skipped, _) => format!("`{id}` never ran: {}", skipped_why(view, step.because.as_deref())),
        (StepState::Failed, Some(failure)) => format!("`{id}` never ran: {}", failure.message),
        (StepState::Waiting, _) => format!("`{id}` has not begun yet"),
        (StepState::Current, _) if step.attempt == 0 => format!("`{id}` never ran: it was up to date"),
        _ => format!("`{id}` has printed nothing"),
    }
}
