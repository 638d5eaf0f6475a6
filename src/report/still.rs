//! What is told of a run that has told nothing for long, where nobody sees it go on. Does not know what was told before.

use super::estimate::usual;
use super::feed::{Feed, NAME, WORD};
use super::line::{Line, Tint};
use super::style::step_word;
use crate::base::text::millis;
use crate::view::{RunView, StepState, StepView};

/// How many steps are told that still run.
const STILL: usize = 3;
/// A run that has told nothing for so long tells what still runs, in milliseconds.
const QUIET: u64 = 60_000;
/// It does so again after twice the time each, and at least after this one: some build servers end what is silent for ten minutes.
const LONGEST: u64 = 5 * QUIET;

/// For how long nothing was told.
#[derive(Debug)]
pub(super) struct Quiet {
    /// Whether something was told since time went by.
    said: bool,
    /// When it began, in milliseconds since the run did.
    since_ms: u64,
    /// How long it may last.
    most_ms: u64,
}

impl Quiet {
    /// Nothing has been told, and no time has gone by.
    pub(super) fn new() -> Self {
        Self { said: true, since_ms: 0, most_ms: QUIET }
    }

    /// Something is told.
    pub(super) fn ends(&mut self) {
        self.said = true;
    }

    /// Says that so much time has gone by; whether it was quiet for too long.
    pub(super) fn is_over(&mut self, elapsed_ms: u64) -> bool {
        if std::mem::take(&mut self.said) {
            *self = Self { said: false, since_ms: elapsed_ms, most_ms: QUIET };
        }
        let over = elapsed_ms.saturating_sub(self.since_ms) >= self.most_ms;
        if over {
            *self = Self { said: false, since_ms: elapsed_ms, most_ms: (self.most_ms * 2).min(LONGEST) };
        }
        over
    }
}

impl Feed {
    /// The lines for what still runs, the oldest first, and what is to run again, so many milliseconds after the run began.
    pub(super) fn still(&self, view: &RunView, elapsed_ms: u64) -> String {
        let Some(head) = &view.head else { return String::new() };
        let at = head.at + jiff::SignedDuration::from_millis(i64::try_from(elapsed_ms).unwrap_or(i64::MAX));
        let again = |step: &StepView| step.state == StepState::Retrying;
        let goes_on = |step: &&StepView| step.state.is_running() || again(step);
        let mut running: Vec<&StepView> = view.steps.iter().filter(goes_on).collect();
        running.sort_by_key(|step| (again(step), step.began_ms));
        let whole = |ms: u64| millis(ms / 1_000 * 1_000);
        let line = |step: &&StepView| {
            let (word, tint) = step_word(step.state);
            let (took, usual) = if again(step) {
                (format!("in {}", whole(step.again_ms.saturating_sub(elapsed_ms))), String::new())
            } else {
                let usual = step.plan.expected_ms.map(|ms| format!("usually {}", usual(ms)));
                (whole(elapsed_ms.saturating_sub(step.began_ms)), usual.unwrap_or_default())
            };
            let line = self.clock(at).at(WORD, tint, word);
            let line = line.at(NAME, Tint::Plain, &self.name(&step.plan.id, &[&took, &usual]));
            self.noted(line.at(self.after_names(), Tint::Plain, &took), Tint::Dim, &usual)
        };
        let more = match running.len().saturating_sub(STILL) {
            0 => String::new(),
            more => self.style().line(&Line::new().at(WORD, Tint::Dim, &format!("… and {more} more"))),
        };
        running.iter().take(STILL).map(line).collect::<String>() + &more
    }
}
