//! How things look for people: the words for states, times of day, dates. Does not know the terminal: width, colour and time
//! zone are given.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::line::{Line, Tint, fold};
use crate::base::job::JobState;
use crate::view::StepState;

/// How text for people is written.
#[derive(Clone, Debug)]
pub struct Style {
    /// Whether words are coloured.
    pub color: bool,
    /// How many columns there are; none where lines have no limit.
    pub width: Option<u16>,
    /// The zone of the times that are shown.
    pub zone: TimeZone,
}

/// What is shown of the output of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum OutputMode {
    /// Each line as it comes, behind the name of its step
    Stream,
    /// All of it at once when the step has ended
    Grouped,
    /// The last lines of steps that failed
    #[default]
    Failed,
}

impl Style {
    /// Neither colour nor a limit.
    #[must_use]
    pub fn plain(zone: TimeZone) -> Self {
        Self { color: false, width: None, zone }
    }

    /// The time of day: `02:00:03`.
    #[must_use]
    pub fn clock(&self, at: Timestamp) -> String {
        self.format(at, "%H:%M:%S")
    }

    /// The date and the time of day: `22 Nov 02:01`; with the year if `now` is in another one.
    #[must_use]
    pub fn date(&self, at: Timestamp, now: Timestamp) -> String {
        if self.same_year(at, now) { self.format(at, "%-d %b %H:%M") } else { self.format(at, "%-d %b %Y %H:%M") }
    }

    /// When something was, as briefly as `now` allows: `02:00` in the last 24 hours, `Sat 02:00` in the last week, else `3 Nov 02:00`.
    #[must_use]
    pub fn moment(&self, at: Timestamp, now: Timestamp) -> String {
        const DAY: i64 = 86_400;
        match now.as_second().saturating_sub(at.as_second()) {
            -60..DAY => self.format(at, "%H:%M"),
            DAY..604_800 => self.format(at, "%a %H:%M"),
            _ => self.date(at, now),
        }
    }

    fn same_year(&self, a: Timestamp, b: Timestamp) -> bool {
        let year = |at: Timestamp| at.to_zoned_datetime(self.zone.clone()).year();
        year(a) == year(b)
    }

    /// A time in the zone, in a form of `strftime`.
    pub(crate) fn format(&self, at: Timestamp, form: &str) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime(form).to_string()
    }

    /// The whole line with its line end.
    pub(crate) fn line(&self, line: &Line) -> String {
        line.render(self.color, None) + "\n"
    }

    /// The line, in as many as it takes where there is a width, each with its line end.
    pub(crate) fn folded(&self, line: &Line) -> String {
        let width = self.width.map_or(usize::MAX, usize::from);
        line.folded(width).iter().map(|line| self.line(line)).collect()
    }

    /// A text without colours whose lines are folded where there is a width.
    pub(crate) fn fold(&self, text: &str) -> String {
        fold(text, self.width.map(usize::from))
    }

    /// The line, cut where there is a width, with its line end.
    pub(crate) fn cut(&self, line: &Line) -> String {
        line.render(self.color, self.width.map(usize::from)) + "\n"
    }
}

/// What stands before how long something took whose end nobody saw.
pub(crate) const AT_LEAST: &str = "≥";

/// What is said of a step that need not be built, wherever people read it.
pub const UP_TO_DATE: &str = "up to date";

/// The word for the state of a step, of at most six letters so that it fits its column, and its colour.
pub(crate) fn step_word(state: StepState) -> (&'static str, Tint) {
    match state {
        StepState::Waiting => ("wait", Tint::Dim),
        StepState::Running => ("run", Tint::Plain),
        StepState::Retrying => ("retry", Tint::Warn),
        StepState::Publishing => ("save", Tint::Plain),
        StepState::Built => ("built", Tint::Good),
        StepState::Same => ("same", Tint::Calm),
        StepState::Current => ("", Tint::Calm), // "up to date" stands where there is room for it
        StepState::Failed => ("FAILED", Tint::Bad),
        StepState::Stopped => ("stop", Tint::Warn),
        StepState::Skipped => ("skip", Tint::Warn),
    }
}

/// The colour of the word for the state of a run.
pub(crate) fn job_tint(state: JobState) -> Tint {
    match state {
        JobState::Queued | JobState::Running => Tint::Plain,
        JobState::Done => Tint::Good,
        JobState::Failed => Tint::Bad,
        JobState::Aborted => Tint::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_as_brief_as_they_can_be() {
        let style = Style::plain(TimeZone::fixed(jiff::tz::offset(1)));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-23T01:05:00Z");
        let shown = [
            "2026-11-23T01:05:30Z",
            "2026-11-23T01:00:00Z",
            "2026-11-22T01:06:00Z",
            "2026-11-22T01:04:00Z",
            "2026-11-16T01:06:00Z",
            "2026-11-16T01:04:00Z",
            "2025-12-31T23:00:00Z",
            "2025-12-31T22:00:00Z",
            "2026-11-24T01:00:00Z",
        ]
        .map(|text| style.moment(at(text), now));
        assert_eq!(shown[..5], ["02:05", "02:00", "02:06", "Sun 02:04", "Mon 02:06"]);
        assert_eq!(shown[5..], ["16 Nov 02:04", "1 Jan 00:00", "31 Dec 2025 23:00", "24 Nov 02:00"]);
        assert_eq!(style.clock(now), "02:05:00");
        assert_eq!(style.date(at("2026-11-22T01:01:09Z"), now), "22 Nov 02:01");
        assert_eq!(style.date(at("2025-11-02T01:01:09Z"), now), "2 Nov 2025 02:01");
    }
}
