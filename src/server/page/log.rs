//! The log of a step in a page: its end, and what it takes to go on from there. A log is never there as a whole.

use std::fs;
use std::io;

use maud::{Markup, html};

use crate::base::text::size;
use crate::server::archive::Standing;
use crate::server::logs;
use crate::server::page::ansi::coloured;
use crate::server::page::words;
use crate::server::project::Project;
use crate::view::StepView;

/// So much of the end of a log is in the page.
const SHOWN: u64 = 48 << 10;

/// The log of a step.
pub(super) fn panel(project: &Project, standing: &Standing, step: &StepView) -> io::Result<Markup> {
    let files = logs::files(&project.archive.folder, step);
    let whole: u64 = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum();
    let (from, text) = end(&files, whole)?;
    let id = &step.plan.id;
    let source = format!(
        "/public/api/projects/{}/jobs/{}/log{}",
        words::part(&project.key()),
        words::part(standing.row.id.as_str()),
        words::query([("activity", id.as_str())])
    );
    let to = from + text.len() as u64;
    let goes_on = !standing.row.state.is_over() && (words::goes_on(step.state) || step.attempt == 0);
    let text = String::from_utf8_lossy(&text);
    Ok(html! {
        section #log class="card log" aria-labelledby="log-head" data-step=(id) data-source=(source) data-from=(from) data-to=(to) data-follow=[goes_on.then_some("")] {
            header {
                h2 #log-head { "Log of " (id) }
                div class="tools" {
                    button type="button" #log-earlier class="plain" hidden { "Earlier" }
                    button type="button" #log-follow class="plain" hidden { "Follow" }
                    a class="button plain" href=(source) { "Whole log" @if whole > 0 { span class="quiet" { " " (size(whole)) } } }
                }
            }
            @if !step.command.is_empty() { pre class="command" { "$ " (words::plain(&step.command)) } }
            p #log-gap class="quiet gap" hidden[from == 0] { (size(from)) " before this are not shown." }
            pre #log-text class="text" tabindex="0" role="log" aria-live="off" aria-labelledby="log-head" { (coloured(&text)) }
            p #log-empty class="quiet" hidden[!text.is_empty()] {
                @if step.attempt == 0 { "It has not begun." } @else { "Nothing was printed." }
            }
        }
    })
}

/// The last part of a log, from the beginning of a line on, and where it begins.
fn end(files: &[std::path::PathBuf], whole: u64) -> io::Result<(u64, Vec<u8>)> {
    let mut from = whole.saturating_sub(SHOWN);
    let mut text = Vec::new();
    while (text.len() as u64) < SHOWN {
        let part = logs::part(files, from + text.len() as u64)?;
        if part.is_empty() {
            break;
        }
        text.extend_from_slice(&part);
    }
    if from > 0
        && let Some(line) = text.iter().position(|byte| *byte == b'\n')
    {
        text.drain(..=line);
        from += line as u64 + 1;
    }
    Ok((from, text))
}
