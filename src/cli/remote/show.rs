//! One job of a server: what became of it, and its log.

use std::fmt::Write as _;
use std::time::Duration;

use crate::base::text::{clean, millis, one_line};
use crate::cli::args::Format;
use crate::cli::dss::Server;
use crate::cli::table::table;
use crate::cli::tame::Tame;
use crate::cli::{Context, print};
use crate::clock;
use crate::exit;
use crate::pipeline::dss_wire::{Activity, JobStatus, Trouble, is_over};
use crate::session::fail::Fail;

/// How often a log is fetched while it goes on: DSS sends all of it each time.
const FETCH: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(15)];

pub(super) fn show(context: &Context, server: &Server, id: &str, format: Format) -> Result<u8, Fail> {
    let id = server.find(id)?;
    let (mut status, value) = server.ask(server.remote.status(&server.project, &id))?;
    if status.state().is_empty() && matches!(format, Format::Text) {
        let state = server.ask(server.remote.listed(&server.project, &id))?;
        status.base.get_or_insert_default().state = Some(state).filter(|state| !state.is_empty());
    }
    match format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&value).map_err(|error| Fail::because("the job", &error))?;
            print(&format!("{json}\n"))?;
        }
        Format::Text => print(&text(context, server, &id, &status))?,
    }
    Ok(exit::OK)
}

fn text(context: &Context, server: &Server, id: &str, status: &JobStatus) -> String {
    let mut out = String::new();
    let mut line = |word: &str, text: &str| writeln!(out, "{word:<8} {text}").expect("a String takes everything");
    line("job", id);
    line("state", if status.state().is_empty() { "not told by DSS" } else { status.state() });
    if let Some(def) = status.definition() {
        let outputs: Vec<_> = def.outputs.iter().map(|output| output.target(&server.project).id).collect();
        line("outputs", &outputs.join(", "));
        line("type", def.kind.as_deref().unwrap_or_default());
        line("by", def.initiator.as_deref().unwrap_or_default());
    }
    let base = status.base.as_ref();
    if let Some(start) = base.and_then(|base| base.start_ms).filter(|ms| *ms > 0) {
        let at = jiff::Timestamp::from_millisecond(start).unwrap_or_default();
        let end = base.and_then(|base| base.end_ms).filter(|ms| *ms > start);
        let took = end.map(|end| format!(", took {}", millis((end - start).unsigned_abs()))).unwrap_or_default();
        line("began", &format!("{}{took}", context.style().date(at, clock::now())));
    }
    line("page", &server.remote.page(&server.project, id));
    out + &activities(status) + &trouble(status)
}

fn activities(status: &JobStatus) -> String {
    let mut lines = vec![["ACTIVITY", "STATE", "TOOK", "RECIPE", "WHAT"].map(str::to_owned)];
    for (id, activity) in status.activities() {
        let took = activity.total_ms.and_then(|ms| u64::try_from(ms).ok()).map(millis);
        lines.push([
            id.clone(),
            activity.state.clone().unwrap_or_default(),
            took.unwrap_or_default(),
            activity.recipe_type.clone().unwrap_or_default(),
            one_line(&what(activity), 200),
        ]);
    }
    let told = status.base.as_ref().is_some_and(|base| base.activities.is_some());
    if lines.len() == 1 && !told {
        return "what was run is not told by DSS\n".to_owned();
    }
    if lines.len() == 1 { "nothing was run\n".to_owned() } else { format!("\n{}", table(&lines)) }
}

fn what(activity: &Activity) -> String {
    let failure = activity.failure.as_ref().and_then(Trouble::text);
    let warnings = activity.warnings.as_ref().and_then(|warnings| warnings.total).filter(|n| *n > 0);
    let warned = warnings.map(|n| crate::base::text::count(usize::try_from(n).unwrap_or(0), "warning"));
    failure.or(activity.message.as_deref()).map(str::to_owned).or(warned).unwrap_or_default()
}

/// Why it failed, and the end of its log.
fn trouble(status: &JobStatus) -> String {
    let mut out = String::new();
    if let Some(text) = status.error.as_ref().and_then(Trouble::text) {
        writeln!(out, "\nfailed: {}", clean(text)).expect("a String takes everything");
    }
    let failed = status.state() == "FAILED";
    for line in status.log_tail.iter().filter(|_| failed).flat_map(|tail| &tail.lines) {
        writeln!(out, "  | {}", clean(line)).expect("a String takes everything");
    }
    out
}

pub(super) fn log(
    server: &Server,
    id: &str,
    activity: Option<&str>,
    tail: Option<usize>,
    follow: bool,
    mut tame: Option<Tame>,
) -> Result<u8, Fail> {
    let mut told = |text: &str| match &mut tame {
        None => print(text),
        Some(tame) => print(&String::from_utf8_lossy(&tame.tame(text.as_bytes()))),
    };
    let id = server.find(id)?;
    if !follow {
        let log = server.ask(server.remote.log(&server.project, &id, activity))?;
        told(last(&log, tail))?;
        return Ok(exit::OK);
    }
    let mut growing = server.remote.growing();
    let (mut begun, mut wait) = (false, FETCH[0]);
    loop {
        let status = server.ask(server.remote.status(&server.project, &id))?.0;
        let over = match status.state() {
            "" => is_over(&server.ask(server.remote.listed(&server.project, &id))?),
            state => is_over(state),
        };
        let new = server.ask(server.remote.more(&server.project, &id, activity, &mut growing, over))?;
        told(if begun { &new } else { last(&new, tail) })?;
        begun |= !new.is_empty();
        wait = if new.is_empty() { (wait * 2).min(FETCH[1]) } else { FETCH[0] };
        if over {
            return Ok(exit::OK);
        }
        server.runtime.block_on(async { tokio::time::sleep(wait).await });
    }
}

/// The last lines of a text, or all.
fn last(text: &str, lines: Option<usize>) -> &str {
    let Some(lines) = lines else { return text };
    let body = text.strip_suffix('\n').unwrap_or(text);
    match body.rmatch_indices('\n').nth(lines.saturating_sub(1)) {
        Some((at, _)) if lines > 0 => &text[at + 1..],
        None if lines > 0 => text,
        Some(_) | None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_cut_off() {
        let text = "a\nb\nc\n";
        for (lines, expected) in [(None, text), (Some(0), ""), (Some(1), "c\n"), (Some(2), "b\nc\n"), (Some(9), text)] {
            assert_eq!(last(text, lines), expected);
        }
    }
}
