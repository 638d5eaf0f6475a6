//! Whether a step that failed is tried again, and when; what its time limit means. Has no clock: it is told when a time is
//! over.

use crate::base::digest::FieldHasher;
use crate::base::text::duration;
use crate::engine::api::{Ended, Stop};
use crate::event::{Event, Failure, FailureCode, StepRetrying};
use crate::pipeline::retry::{LONGEST_WAIT, Retry, RetryOn};
use crate::run::setup::{Effect, Timer};
use crate::run::state::{Run, State};

/// Whether a step is tried again after such a failure, were there an attempt left.
fn is_wanted(retry: &Retry, failure: &Failure) -> bool {
    let Some(on) = &retry.on else {
        return match failure.code {
            FailureCode::Exit
            | FailureCode::Signal
            | FailureCode::Timeout
            | FailureCode::Lost
            | FailureCode::Unreachable
            | FailureCode::Remote => true,
            FailureCode::Start
            | FailureCode::Refused
            | FailureCode::Denied
            | FailureCode::SubmissionUnknown
            | FailureCode::Died
            | FailureCode::Output
            | FailureCode::InputChanged
            | FailureCode::Publish
            | FailureCode::Stopped
            | FailureCode::Crashed => false,
        };
    };
    on.iter().any(|on| match on {
        RetryOn::Lost => matches!(failure.code, FailureCode::Lost | FailureCode::Unreachable),
        RetryOn::Timeout => failure.code == FailureCode::Timeout,
        RetryOn::Code(code) => failure.code != FailureCode::Timeout && failure.exit_code == Some(*code),
        RetryOn::Text(regex) => {
            let ran = !matches!(failure.code, FailureCode::Start | FailureCode::Stopped | FailureCode::Crashed);
            ran && failure.tail.iter().any(|line| regex.is_match(line))
        }
    })
}

/// How long the attempt after number `attempt` is waited with, in milliseconds. `chance` is from 0 to 1.
fn wait_ms(retry: &Retry, attempt: u32, chance: f64) -> u64 {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let longest = LONGEST_WAIT.as_secs_f64();
    let plain = (retry.delay.as_secs_f64() * retry.factor.powi(exponent)).min(longest);
    let wait = (plain * (1.0 + retry.jitter * (2.0 * chance - 1.0))).clamp(0.0, longest);
    u64::try_from(std::time::Duration::from_secs_f64(wait).as_millis()).unwrap_or(u64::MAX)
}

/// A number from 0 to 1 that is always the same for the same arguments.
fn chance(seed: u64, step: &str, attempt: u32) -> f64 {
    let digest = FieldHasher::default()
        .field(&seed.to_le_bytes())
        .field(step.as_bytes())
        .field(&attempt.to_le_bytes())
        .finish()
        .to_string();
    let number = u32::from_str_radix(digest.get(..8).unwrap_or_default(), 16).unwrap_or(u32::MAX / 2);
    f64::from(number) / f64::from(u32::MAX)
}

impl Run {
    fn retry(&self, i: usize) -> &Retry {
        &self.pipeline.recipes[self.steps[i].id].how.retry
    }

    /// Sets the time limit of the attempt that begins.
    pub(super) fn set_deadline(&mut self, i: usize) {
        self.steps[i].overdue = false;
        if let Some(timeout) = self.pipeline.recipes[self.steps[i].id].how.timeout {
            let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            self.effects.push(Effect::Wake(Timer::Deadline(i, self.steps[i].attempt), ms));
        }
    }

    /// The time that an attempt may take is over. Where everything was asked to end, that goes on.
    pub(super) fn deadline(&mut self, i: usize, attempt: u32) {
        let step = &mut self.steps[i];
        if step.state == State::Running && step.attempt == attempt && !self.asked {
            step.overdue = true;
            self.effects.push(Effect::StopStep(i, Stop::Ask));
        }
    }

    /// How an attempt ended: one that was stopped because of its time limit has failed.
    pub(super) fn timed_out(&self, i: usize, ended: Ended) -> Ended {
        let limit = self.pipeline.recipes[self.steps[i].id].how.timeout.filter(|_| self.steps[i].overdue);
        let (Ended::Stopped(stopped), Some(limit)) = (&ended, limit) else { return ended };
        // What became of a job elsewhere is part of it.
        let what = if self.facts.asks { format!(": {}", stopped.message) } else { String::new() };
        let message = format!("timed out after {}{what}", duration(limit));
        Ended::Failed(Failure { code: FailureCode::Timeout, message, ..stopped.clone() })
    }

    /// An attempt failed: there is another one, or the step has failed.
    pub(super) fn attempt_failed(&mut self, i: usize, failure: Failure) {
        let retry = self.retry(i);
        let attempt = self.steps[i].attempt;
        if self.stopping || attempt >= retry.attempts() || !is_wanted(retry, &failure) {
            self.fail(i, failure);
            return;
        }
        let wait_ms = wait_ms(retry, attempt, chance(self.policy.seed, self.name(i), attempt));
        let (step, took_ms) = (self.name(i).to_owned(), self.steps[i].took_ms);
        let failure = failure.trimmed();
        self.steps[i].state = State::Retrying;
        self.steps[i].failure = Some(failure.clone());
        self.emit(Event::StepRetrying(Box::new(StepRetrying { step, attempt, took_ms, failure, wait_ms })));
        self.effects.push(Effect::Wake(Timer::Retry(i), wait_ms));
    }

    /// The wait for the next attempt is over.
    pub(super) fn again(&mut self, i: usize) {
        if self.steps[i].state == State::Retrying && !self.stopping {
            self.steps[i].state = State::Ready;
            self.ready.push(i);
        }
    }

    /// Nothing starts any more: steps that would be tried again have failed, or were stopped where the run was asked to end.
    pub(super) fn give_up_retries(&mut self) {
        for i in 0..self.steps.len() {
            if matches!(self.steps[i].state, State::Retrying | State::Ready)
                && let Some(failure) = self.steps[i].failure.take()
            {
                match self.aborted {
                    Some(_) => self.stopped(i, self.not_again(i, failure)),
                    None => self.fail(i, failure),
                }
            }
        }
    }

    /// That there is no other attempt, for it was not the step that ended.
    fn not_again(&self, i: usize, last: Failure) -> Failure {
        let (next, all) = (self.steps[i].attempt + 1, self.retry(i).attempts());
        let message = format!("before attempt {next}/{all}, last: {}", last.message);
        Failure { code: FailureCode::Stopped, message, ..last }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn retry(on: Vec<RetryOn>) -> Retry {
        Retry { max: 1, on: Some(on), ..Retry::default() }
    }

    fn exit(code: i32) -> Failure {
        Failure { exit_code: Some(code), ..Failure::new(FailureCode::Exit, format!("exit {code}")) }
    }

    #[test]
    fn without_on_all_but_mistakes_is_tried_again() {
        let plain = Retry { max: 1, ..Retry::default() };
        for code in [FailureCode::Exit, FailureCode::Signal, FailureCode::Timeout, FailureCode::Lost] {
            assert!(is_wanted(&plain, &Failure::new(code, "")), "{code:?}");
        }
        for code in [FailureCode::Start, FailureCode::Output, FailureCode::Crashed, FailureCode::Publish] {
            assert!(!is_wanted(&plain, &Failure::new(code, "")), "{code:?}");
        }
    }

    #[test]
    fn on_says_after_which_failures() {
        let code = retry(vec![RetryOn::Code(75)]);
        assert!(is_wanted(&code, &exit(75)));
        assert!(!is_wanted(&code, &exit(1)));
        let killed = Failure { exit_code: Some(137), ..Failure::new(FailureCode::Signal, "killed by signal 9") };
        assert!(is_wanted(&retry(vec![RetryOn::Code(137)]), &killed));
        let text = retry(vec![RetryOn::Text("reset by p..r".parse().unwrap())]);
        let printed = Failure { tail: vec!["x".to_owned(), "connection reset by peer".to_owned()], ..exit(1) };
        assert!(is_wanted(&text, &printed));
        assert!(!is_wanted(&text, &exit(1)));
        let late = Failure { exit_code: Some(143), ..Failure::new(FailureCode::Timeout, "") };
        assert!(is_wanted(&retry(vec![RetryOn::Timeout]), &late));
        assert!(!is_wanted(&retry(vec![RetryOn::Code(143), RetryOn::Lost]), &late));
    }

    #[test]
    fn waits_grow_and_differ_by_chance() {
        let retry = Retry { delay: Duration::from_secs(5), factor: 2.0, jitter: 0.1, ..Retry::default() };
        assert_eq!([1, 2, 3].map(|attempt| wait_ms(&retry, attempt, 0.5)), [5_000, 10_000, 20_000]);
        assert_eq!([0.0, 1.0].map(|chance| wait_ms(&retry, 1, chance)), [4_500, 5_500]);
        assert_eq!(wait_ms(&retry, 99, 1.0), 3_600_000);
        assert_eq!(wait_ms(&Retry { delay: Duration::ZERO, ..retry }, 3, 0.9), 0);
        let chances: Vec<_> = (0..100).map(|attempt| chance(7, "a", attempt)).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)));
        assert!(chances.iter().any(|chance| *chance < 0.2) && chances.iter().any(|chance| *chance > 0.8));
        assert_eq!(chance(7, "a", 3).to_bits(), chances[3].to_bits());
    }
}
