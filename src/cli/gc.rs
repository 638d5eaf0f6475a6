//! `kiln gc`: takes old runs out of the history; and what of that a run does by itself now and then.

use std::path::Path;

use crate::base::text::{count, size};
use crate::cli::args::GcArgs;
use crate::cli::jobs::state_folder;
use crate::cli::{Context, print};
use crate::exit;
use crate::session::fail::Fail;
use crate::store::gc::{Keep, Swept, gc as sweep, now_and_then};

pub(crate) fn gc(context: &Context, args: &GcArgs) -> Result<u8, Fail> {
    let state = state_folder(context)?;
    let keep = Keep { days: args.keep_days, runs: args.keep_runs, bytes: args.max_bytes };
    let swept = sweep(&state, keep, crate::clock::now(), args.dry_run);
    let swept = swept.map_err(|error| Fail::because("house cannot be kept", &error))?;
    print(&text(context, &swept, args.dry_run))?;
    Ok(exit::OK)
}

/// At the end of a run, if the last time is a day ago. That it fails is no failure of the run.
pub(crate) fn keep_house(state: &Path) {
    match now_and_then(state, crate::clock::now()) {
        Ok(None) => {}
        Ok(Some(swept)) => tracing::debug!(runs = swept.jobs.len(), bytes = swept.bytes, "old runs were taken out"),
        Err(error) => tracing::warn!(%error, "old runs could not be taken out of the history"),
    }
}

fn text(context: &Context, swept: &Swept, dry: bool) -> String {
    let verb = if dry { "would remove" } else { "removed" };
    let text = match swept.newest {
        None => format!("{verb} no runs"),
        Some(newest) => {
            let newest = context.style().date(newest, crate::clock::now());
            format!("{verb} {}, the newest of {newest}: {}", count(swept.jobs.len(), "run"), size(swept.bytes))
        }
    };
    let strays = match swept.strays {
        0 => String::new(),
        n => format!("; and the logs of {} that no history has", count(n, "run")),
    };
    let held = match swept.held {
        0 => String::new(),
        n => format!(", of which {n} hold last good builds"),
    };
    format!("{text}{strays}\n{} left{held}\n", swept.left)
}
