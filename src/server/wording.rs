//! How things are said that the API and the pages both tell.

use crate::server::desk::Wait;
use crate::session::load::Loaded;

/// Why a job waits, in words.
pub(crate) fn waits(wait: &Wait, loaded: &Loaded) -> String {
    match wait {
        Wait::Turn => "waits for its turn: as many jobs as may run at once do".to_owned(),
        Wait::Job(job, what) => {
            let root = format!("{}/", loaded.root.display());
            format!("waits for {job}, which has `{}`", what.strip_prefix(&root).unwrap_or(what))
        }
        Wait::Process(who) => format!("waits: {who}"),
    }
}
