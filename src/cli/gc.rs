//! `kiln gc`: takes old runs out of the history.

use std::path::Path;

use crate::base::text::{clean, count, size};
use crate::cli::args::GcArgs;
use crate::cli::jobs::{root, state_folder};
use crate::cli::{Context, print};
use crate::exit;
use crate::pipeline::paths::REPLACED;
use crate::session::fail::Fail;
use crate::store::gc::{Keep, Swept, gc as sweep};
use crate::store::recover::{Recovered, recover};

/// So many runs, and so many files, are named.
const LISTED: usize = 20;

pub(crate) fn gc(context: &Context, args: &GcArgs) -> Result<u8, Fail> {
    let state = state_folder(context)?;
    if args.recover {
        let done = recover(&state, crate::clock::now(), args.dry_run);
        let done = done.map_err(|error| Fail::because("the history cannot be recovered", &error))?;
        print(&recovered(context, &state, &done, args.dry_run))?;
        return Ok(exit::OK);
    }
    let keep = Keep { days: args.keep_days, runs: args.keep_runs, bytes: args.max_bytes };
    let swept = sweep(&state, &root(context)?, keep, crate::clock::now(), args.dry_run);
    let swept = swept.map_err(|error| Fail::because("old runs cannot be taken out", &error))?;
    print(&text(context, &swept, args))?;
    Ok(exit::OK)
}

fn text(context: &Context, swept: &Swept, args: &GcArgs) -> String {
    let verb = if args.dry_run { "would remove" } else { "removed" };
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
    let jobs = listed(swept.jobs.iter().map(ToString::to_string), swept.jobs.len());
    let replaced = match swept.replaced {
        0 => String::new(),
        n => {
            let bytes = size(swept.kept.iter().map(|(_, bytes)| bytes).sum());
            let files = swept.kept.iter().map(|(path, bytes)| format!("{}  {}", clean(path), size(*bytes)));
            let files = listed(files, swept.kept.len());
            format!("{verb} what {} had kept in {REPLACED}: {bytes}\n{files}", count(n, "run"))
        }
    };
    let held = match swept.held {
        0 => String::new(),
        1 => ", of which 1 holds last good builds".to_owned(),
        n => format!(", of which {n} hold last good builds"),
    };
    let over = if swept.size > args.max_bytes {
        let (now, wanted) = (size(swept.size), size(args.max_bytes));
        format!("still {now}, more than {wanted}: what holds last good builds, goes on or is the newest run stays\n")
    } else {
        String::new()
    };
    format!("{text}{strays}\n{jobs}{replaced}{} left{held}\n{over}", swept.left)
}

/// What goes, a line each, as far as that can be read.
fn listed(lines: impl Iterator<Item = String>, all: usize) -> String {
    let shown = if all > LISTED + 1 { LISTED } else { all };
    let more = (shown < all).then(|| format!("and {} more", all - shown));
    lines.take(shown).chain(more).map(|line| format!("  {line}\n")).collect()
}

fn recovered(context: &Context, state: &Path, done: &Recovered, dry: bool) -> String {
    let would = if dry { "would " } else { "" };
    let ends = if dry { "" } else { "d" };
    match done {
        Recovered::None => "there is no history: nothing to recover\n".to_owned(),
        Recovered::Sound => "the history is sound: nothing was moved\n".to_owned(),
        Recovered::Remade => {
            let made = if dry { "would be" } else { "was" };
            format!("what follows from the events could not be read and {made} made again; nothing is lost\n")
        }
        Recovered::Moved(why, files) => {
            // The others have its name with an end.
            let name = files.first().map(|file| context.shown(file)).unwrap_or_default();
            let logs = context.shown(&state.join("logs"));
            format!(
                "the history is damaged: {why}\n{would}move{ends} it to {name}\n\
                 a new history {begins}; what steps printed stays in {logs}\n\
                 the next run builds everything again, unless `kiln adopt` takes what is there as built\n",
                begins = if dry { "would begin" } else { "begins" },
            )
        }
    }
}
