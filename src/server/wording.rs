//! How things are said that the API and the pages both tell.

use crate::base::job::BuildMode;
use crate::event::RunStarted;
use crate::pipeline::template::command_line;
use crate::server::desk::Wait;
use crate::session::load::Loaded;

/// The command that does the same as a run once more.
pub(crate) fn again(started: &RunStarted) -> String {
    let mode = if started.mode == BuildMode::Smart { String::new() } else { format!(" --mode {}", started.mode) };
    let targets =
        if started.targets.is_empty() { String::new() } else { format!(" {}", command_line(&started.targets)) };
    format!("{}{mode}{targets}", started.again)
}

/// Why a job does not run yet, in words.
pub(crate) fn waits(wait: &Wait, loaded: &Loaded) -> String {
    match wait {
        Wait::Turn => "waits for its turn: as many jobs as may run at once do".to_owned(),
        Wait::Job(job, what) => {
            let root = format!("{}/", loaded.root.display());
            format!("waits for {job}, which has `{}`", what.strip_prefix(&root).unwrap_or(what))
        }
        Wait::Another => "waits for another job".to_owned(),
        Wait::Looking => "looks at what is to be done".to_owned(),
        Wait::Ending => "was asked to end, and does".to_owned(),
        Wait::Process(away, Some(job)) => format!("waits for {job}: {}", away.why),
        Wait::Process(away, None) => format!("waits: {}", away.why),
    }
}
