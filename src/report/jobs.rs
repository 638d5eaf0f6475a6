//! The table of jobs. Does not know where jobs are kept.

use std::collections::BTreeMap;

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

/// What a run was asked for, in words: targets, and what is not as ever. Of each no more than so many characters are shown.
pub(crate) fn asked(
    (targets, exclude): (&[String], &[String]),
    vars: &BTreeMap<String, String>,
    mode: &str,
    most: usize,
) -> String {
    let mut asked = if targets.is_empty() { EVERYTHING.to_owned() } else { one_line(&targets.join(" "), most) };
    let vars: String = vars.iter().map(|(name, value)| format!(" --var {name}={value}")).collect();
    for besides in [excluded(exclude), vars].iter().filter(|besides| !besides.is_empty()) {
        asked = format!("{asked} {}", one_line(besides, most));
    }
    if mode != BuildMode::Smart.word() {
        asked = format!("{asked} --mode {mode}");
    }
    asked
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
    fn targets(&self) -> String {
        asked((&self.targets, &self.exclude), &self.vars, &self.mode, TARGETS)
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

/// What a cell is made from.
struct Told<'a> {
    job: &'a JobLine,
    id: &'a str,
    style: &'a Style,
    now: Timestamp,
}

/// When a column says something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tells {
    Always,
    /// Where it is this of not all.
    Unless(&'static str),
    /// Where it is not the same of all.
    Apart,
}

/// A column of the table.
struct Column {
    head: &'static str,
    tells: Tells,
    /// Whether it holds numbers, which stand on the right, and close to one another.
    number: bool,
    cell: fn(&Told<'_>) -> String,
}

const fn words(head: &'static str, tells: Tells, cell: fn(&Told<'_>) -> String) -> Column {
    Column { head, tells, number: false, cell }
}

const fn number(head: &'static str, tells: Tells, cell: fn(&Told<'_>) -> String) -> Column {
    Column { head, tells, number: true, cell }
}

/// What may say nothing is a number of steps to which nothing has happened.
const SOME: Tells = Tells::Unless("0");

/// The column that has a colour. It is as wide as if a run had been ended.
const STATE: &str = "STATE";

/// The columns that give way where there is little room, and the one that they do it for.
const BY: &str = "BY";
const ASKED: &str = "TARGETS";
const WHY: &str = "WHY";
/// What is left of long ones.
const LEAST: [(&str, usize); 2] = [(ASKED, 12), (WHY, 20)];

static COLUMNS: [Column; 13] = [
    words("JOB", Tells::Always, |told| told.id.to_owned()),
    words(STATE, Tells::Always, |told| told.job.state.word().to_owned()),
    number("BUILT", Tells::Always, |told| told.job.counts.built.to_string()),
    number("SAME", SOME, |told| told.job.counts.same.to_string()),
    number("FAIL", SOME, |told| told.job.counts.failed.to_string()),
    number("STOP", SOME, |told| told.job.counts.stopped.to_string()),
    number("SKIP", SOME, |told| told.job.counts.skipped.to_string()),
    words("START", Tells::Always, |told| told.style.moment(told.job.began, told.now)),
    words("TOOK", Tells::Always, |told| told.job.took()),
    words(BY, Tells::Apart, |told| squeeze(&told.job.by)),
    words("PIPELINE", Tells::Apart, |told| squeeze(&told.job.pipeline)),
    words(ASKED, Tells::Unless(EVERYTHING), |told| told.job.targets()),
    words(WHY, Tells::Always, |told| told.job.why()),
];

impl Column {
    /// Whether it says something about one of them.
    fn tells(&self, cells: &[String]) -> bool {
        match self.tells {
            Tells::Always => true,
            Tells::Unless(word) => cells.iter().any(|cell| cell != word),
            Tells::Apart => cells.windows(2).any(|two| two[0] != two[1]),
        }
    }

    fn width(&self, cells: &[String]) -> usize {
        let least = if self.head == STATE { JobState::Aborted.word() } else { self.head };
        cells.iter().map(|cell| columns(cell)).fold(least.len(), usize::max)
    }
}

/// The table of `jobs`, a line each, cut where there is a width. What says nothing about any of them takes no room.
#[must_use]
pub fn list(jobs: &[JobLine], style: &Style, now: Timestamp) -> String {
    let ids = short_ids(jobs);
    let told: Vec<_> = jobs.iter().zip(&ids).map(|(job, id)| Told { job, id, style, now }).collect();
    let shown = COLUMNS.iter().map(|column| (column, told.iter().map(column.cell).collect::<Vec<_>>()));
    let shown = shown.filter(|(column, cells)| column.tells(cells));
    let mut shown: Vec<Shown> = shown.map(|(column, cells)| (column, column.width(&cells), cells)).collect();
    fit(&mut shown, style.width.map_or(usize::MAX, usize::from));
    let line = |row: Option<usize>| {
        let (mut line, mut at) = (Line::new(), 0);
        for (i, (column, width, cells)) in shown.iter().enumerate() {
            let cell = row.map_or(column.head, |row| &cells[row]);
            let tint = row.filter(|_| column.head == STATE).map_or(Tint::Plain, |row| job_tint(jobs[row].state));
            line = line.at(if column.number { at + width - columns(cell) } else { at }, tint, cell);
            at += width + gap(&shown, i);
        }
        style.cut(&line)
    };
    std::iter::once(None).chain((0..jobs.len()).map(Some)).map(line).collect()
}

/// A column with its width and its cells.
type Shown = (&'static Column, usize, Vec<String>);

/// Where a table is too wide, who started a run matters least, then what was not built, then all of what it was asked for: the end
/// of a line says why it ended so.
fn fit(shown: &mut Vec<Shown>, room: usize) {
    let over = |shown: &[Shown], least: &[(&str, usize)]| {
        let width = |(column, width, _): &Shown| match least.iter().find(|(head, _)| *head == column.head) {
            Some((_, least)) => *width.min(least),
            None => *width,
        };
        let widths = shown.iter().enumerate().map(|(i, column)| width(column) + gap(shown, i));
        widths.sum::<usize>().saturating_sub(room)
    };
    if over(shown, &[]) > 0 {
        shown.retain(|(column, ..)| column.head != BY);
    }
    for head in ["SAME", "SKIP", "STOP"] {
        if over(shown, &LEAST) > 0 {
            shown.retain(|(column, ..)| column.head != head);
        }
    }
    let over = over(shown, &LEAST[1..]);
    if let Some((_, width, cells)) = shown.iter_mut().find(|(column, ..)| column.head == ASKED).filter(|_| over > 0) {
        *width = (*width).min(width.saturating_sub(over).max(LEAST[0].1));
        cells.iter_mut().for_each(|cell| *cell = Line::new().text(cell).render(false, Some(*width)));
    }
}

/// How far the next column is from this one: numbers stand close to one another.
fn gap(shown: &[Shown], i: usize) -> usize {
    match shown.get(i + 1) {
        None => 0,
        Some((next, ..)) if shown[i].0.number && next.number => 1,
        Some(_) => 2,
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
