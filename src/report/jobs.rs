//! The table of jobs. Does not know where jobs are kept.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;

use super::line::{Line, Tint, columns, squeeze};
use super::style::{AT_LEAST, Style, job_tint};
use crate::base::job::{BuildMode, JobId, JobState};
use crate::base::text::{millis, one_line};
use crate::event::{Cause, Counts};

/// How wide the column of targets gets at most.
const TARGETS: usize = 30;
/// How much of the value of a variable is shown.
const VALUE: usize = 60;

/// What stands for targets where there are none: no node can be called so.
pub(crate) const EVERYTHING: &str = "(everything)";

/// The variables that a run was given, on one line, if any.
pub(crate) fn vars(vars: &BTreeMap<String, String>) -> Option<String> {
    let said = vars.iter().map(|(name, value)| format!("{name}={}", one_line(value, VALUE)));
    Some(said.collect::<Vec<_>>().join(" ")).filter(|said| !said.is_empty())
}

/// What was left out of the targets of a run, as options, each with a space before it.
pub(crate) fn excluded(exclude: &[String]) -> String {
    exclude.iter().map(|left_out| format!(" --exclude {left_out}")).collect()
}

/// A job as a line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobLine {
    /// Its id.
    pub job: JobId,
    /// Its pipeline.
    pub pipeline: String,
    /// Where it stands.
    pub state: JobState,
    /// How many steps ended in which way.
    pub counts: Counts,
    /// When it began.
    pub began: Timestamp,
    /// How long it took, or has taken so far, in milliseconds.
    pub took_ms: u64,
    /// Who started it.
    pub by: String,
    /// The targets as they were given; none for all.
    pub targets: Vec<String>,
    /// What was left out of them, as it was given.
    pub exclude: Vec<String>,
    /// The variables that it was given.
    pub vars: BTreeMap<String, String>,
    /// What was built, in a word: `smart`, `forced`.
    pub mode: String,
    /// Why it did not end well.
    pub why: Option<Cause>,
    /// How many steps it left out of date.
    pub left: u64,
}

impl JobLine {
    /// What it was asked for: targets, and what is not as ever.
    fn targets(&self) -> String {
        let mut asked =
            if self.targets.is_empty() { EVERYTHING.to_owned() } else { one_line(&self.targets.join(" "), TARGETS) };
        let vars: String = self.vars.iter().map(|(name, value)| format!(" --var {name}={value}")).collect();
        for besides in [excluded(&self.exclude), vars].iter().filter(|besides| !besides.is_empty()) {
            asked = format!("{asked} {}", one_line(besides, TARGETS));
        }
        if self.mode != BuildMode::Smart.to_string() {
            asked = format!("{asked} --mode {}", self.mode);
        }
        asked
    }

    /// How long it took: at least so long where nobody saw it end.
    fn took(&self) -> String {
        let died = self.state == JobState::Aborted && self.why.as_ref().is_none_or(|why| *why == Cause::Died);
        format!("{}{}", if died { AT_LEAST } else { "" }, millis(self.took_ms))
    }

    fn why(&self) -> String {
        let counts = self.counts;
        let nothing = counts.built + counts.same == 0;
        match (&self.why, self.state) {
            (Some(why), _) => squeeze(&why.to_string()),
            (None, JobState::Done) if nothing && self.left > 0 => format!("{} left", self.left),
            (None, JobState::Done) if nothing => "up to date".to_owned(),
            (None, JobState::Aborted) => Cause::Died.to_string(),
            (None, JobState::Done) if counts.flaky > 0 => format!("{} flaky", counts.flaky),
            (None, _) => String::new(),
        }
    }
}

/// The table of `jobs`, a line each, cut where there is a width. What says nothing about any of them takes no room.
#[must_use]
pub fn list(jobs: &[JobLine], style: &Style, now: Timestamp) -> String {
    let ids = short_ids(jobs);
    let mut rows = vec![Row::head()];
    rows.extend(jobs.iter().zip(ids).map(|(job, id)| Row::new(job, id, style, now)));
    let mut numbers = NUMBERS;
    // From the last one on, so that those before it stay where they are.
    for column in (NUMBERS.start..=TARGETS_AT).rev() {
        if tells_nothing(&rows[1..], column) {
            rows.iter_mut().for_each(|row| drop(row.cells.remove(column)));
            numbers.end -= usize::from(NUMBERS.contains(&column));
        }
    }
    let widths = Row::widths(&rows);
    rows.iter().map(|row| style.cut(&row.line(&widths, &numbers))).collect()
}

/// Whether a column has the same for all, and that is nothing, or what goes without saying.
fn tells_nothing(rows: &[Row], column: usize) -> bool {
    let mut cells = rows.iter().map(|row| row.cells[column].as_str());
    match column {
        SAME..=SKIP => cells.all(|cell| cell == "0"),
        BY | PIPELINE => rows.windows(2).all(|two| two[0].cells[column] == two[1].cells[column]),
        TARGETS_AT => cells.all(|cell| cell == EVERYTHING),
        _ => false,
    }
}

/// The cells of a line, and the colour of the state.
struct Row {
    tint: Tint,
    cells: Vec<String>,
}

/// The columns that hold numbers, which stand on the right.
const NUMBERS: Range<usize> = 2..7;
/// The columns that may tell nothing.
const SAME: usize = 3;
const SKIP: usize = 6;
const BY: usize = 9;
const PIPELINE: usize = 10;
const TARGETS_AT: usize = 11;

impl Row {
    fn head() -> Self {
        let words = [
            "JOB", "STATE", "BUILT", "SAME", "FAIL", "STOP", "SKIP", "START", "TOOK", "BY", "PIPELINE", "TARGETS",
            "WHY",
        ];
        Self { tint: Tint::Plain, cells: words.map(str::to_owned).to_vec() }
    }

    fn new(job: &JobLine, id: String, style: &Style, now: Timestamp) -> Self {
        let counts = job.counts;
        Self {
            tint: job_tint(job.state),
            cells: vec![
                id,
                job.state.word().to_owned(),
                counts.built.to_string(),
                counts.same.to_string(),
                counts.failed.to_string(),
                counts.stopped.to_string(),
                counts.skipped.to_string(),
                style.moment(job.began, now),
                job.took(),
                squeeze(&job.by),
                squeeze(&job.pipeline),
                job.targets(),
                job.why(),
            ],
        }
    }

    fn widths(rows: &[Self]) -> Vec<usize> {
        let mut widths = vec![0; rows.first().map_or(0, |row| row.cells.len())];
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = columns(cell).max(*width);
            }
        }
        if let Some(state) = widths.get_mut(1) {
            *state = (*state).max("ABORTED".len());
        }
        widths
    }

    fn line(&self, widths: &[usize], numbers: &Range<usize>) -> Line {
        let mut line = Line::new();
        let mut column = 0;
        for (i, (cell, width)) in self.cells.iter().zip(widths).enumerate() {
            let tint = if i == 1 { self.tint } else { Tint::Plain };
            let start = if numbers.contains(&i) { column + width - columns(cell) } else { column };
            line = line.at(start, tint, cell);
            // Numbers stand close to one another.
            let gap = if numbers.contains(&i) && numbers.contains(&(i + 1)) { 1 } else { 2 };
            column += width + gap;
        }
        line
    }
}

/// In a longer table ids are whole: each would be compared with each.
const LONG: usize = 500;

/// For each job the shortest end of its id that no other one in the table has.
fn short_ids(jobs: &[JobLine]) -> Vec<String> {
    let ids: Vec<&str> = jobs.iter().map(|job| job.job.as_str()).collect();
    let short = |id: &&str| if ids.len() > LONG { (*id).to_owned() } else { short_id(id, &ids) };
    ids.iter().map(short).collect()
}

fn short_id(id: &str, all: &[&str]) -> String {
    let is_unique = |part: &str| all.iter().filter(|other| other.contains(part)).count() == 1;
    // `2026-11-23T02-00-00.123` without its year, month and milliseconds, as far as that tells it from others.
    let stamp = id.rsplit('_').next().unwrap_or(id);
    let day = stamp.find('T').and_then(|t| stamp.get(t.checked_sub(2)?..));
    let second = day.and_then(|day| day.split('.').next());
    [second, day, Some(stamp)]
        .into_iter()
        .flatten()
        .find(|part| *part != id && is_unique(part))
        .map_or_else(|| id.to_owned(), |part| format!("…{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_as_short_as_they_can_be() {
        let ids = [
            "build_orders_2026-11-23T02-00-00.123",
            "build_orders_2026-10-24T02-00-00.500",
            "build_orders_2026-11-24T02-00-00.123",
            "build_orders_2026-11-25T02-00-00.123",
            "build_orders_2026-12-25T02-00-00.123",
            "build_orders_2026-12-26T02-00-00.123",
            "build_crm_2026-12-26T02-00-00.123",
            "T",
            "é_1T",
        ];
        assert_eq!(
            ids.map(|id| short_id(id, &ids)),
            [
                "…23T02-00-00",
                "…24T02-00-00.500",
                "…24T02-00-00.123",
                "…2026-11-25T02-00-00.123",
                "…2026-12-25T02-00-00.123",
                "build_orders_2026-12-26T02-00-00.123",
                "build_crm_2026-12-26T02-00-00.123",
                "T",
                "…1T",
            ]
        );
    }
}
