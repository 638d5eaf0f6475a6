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
                    a class="button plain" href=(source) { "Whole log " span #log-size class="quiet" { @if whole > 0 { (size(whole)) } } }
                }
            }
            @if !step.command.is_empty() { pre class="command" { "$ " (words::plain(&step.command)) } }
            p #log-gap class="quiet gap" hidden[from == 0] { (size(from)) " before this are not shown." }
            pre #log-text class="text" tabindex="0" role="log" aria-live="off" aria-labelledby="log-head" { (coloured(&text)) }
            p #log-empty class="quiet" hidden[!text.is_empty()] {
                @if step.attempt == 0 { "It has not begun." } @else if goes_on { "Nothing was printed yet." } @else { "Nothing was printed." }
            }
        }
    })
}

/// The last part of a log, from the beginning of a line on if it has one, and where it begins.
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
    if from > 0 {
        let cut = beginning(&text);
        text.drain(..cut);
        from += cut as u64;
    }
    Ok((from, text))
}

/// Where the first whole line of a part begins. With none, the part is shown from its first whole letter on: a line that is
/// longer than a part is cut, not left out.
fn beginning(text: &[u8]) -> usize {
    let line = text.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
    line.filter(|line| *line < text.len()).unwrap_or_else(|| logs::first_character(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(text: &[u8]) -> (u64, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, text).unwrap();
        end(&[log], text.len() as u64).unwrap()
    }

    #[test]
    fn the_end_begins_with_a_line() {
        assert_eq!(end_of(b"one\ntwo\n"), (0, b"one\ntwo\n".to_vec()));
        let text = "0123456789\n".repeat(10_000);
        let (from, shown) = end_of(text.as_bytes());
        assert_eq!(&text.as_bytes()[usize::try_from(from).unwrap()..], shown);
        assert!(from > 0 && shown.starts_with(b"0123456789\n"));
    }

    #[test]
    fn of_one_very_long_line_its_end_is_shown() {
        for last in ["", "\n"] {
            let text = "x".repeat(2_000_000) + last;
            let (from, shown) = end_of(text.as_bytes());
            assert_eq!(from, text.len() as u64 - SHOWN, "{last:?}");
            assert_eq!(&text.as_bytes()[usize::try_from(from).unwrap()..], shown, "{last:?}");
        }
        // It is not cut within a letter.
        for more in ["\n", "a\n", "ab\n", "abc\n"] {
            let text = "\u{1f525}".repeat(100_000) + more;
            let (from, shown) = end_of(text.as_bytes());
            assert!(String::from_utf8(shown).unwrap().starts_with('\u{1f525}'), "{more:?}");
            assert!(text.is_char_boundary(usize::try_from(from).unwrap()), "{more:?}");
        }
    }
}
