//! What is told about the time that steps take and that a longer run took.

use super::live::Show;
use super::sample::{Sample, planned, started, style};
use crate::base::job::{JobState, Schedule};
use crate::event::Outcome;
use crate::plan::estimate::Spans;
use crate::report::slow::{slowest, text};
use crate::report::style::OutputMode;

/// Six steps, one after the other, of one to six times `ms`.
fn six(ms: u64, schedule: Schedule, state: JobState) -> Sample {
    let ids = ["a", "b", "c", "d", "e", "f"];
    let mut started = started(ids.iter().map(|id| planned(id, None)).collect(), 0);
    started.schedule = schedule;
    let mut run = Sample::new(started);
    let mut now = 0;
    for (n, id) in (1..).zip(ids) {
        run.start(now, id, "true");
        now += n * ms;
        run.end(now, id, Outcome::Built, None);
    }
    run.finish(now, state, None);
    run
}

fn told(run: &Sample, stages_ms: u64, eager_ms: u64) -> String {
    text(&run.view(), || Spans { stages_ms, eager_ms }, &style(false, None))
}

#[test]
fn the_slowest_five_and_what_eager_would_save() {
    let run = six(1_000, Schedule::Stages, JobState::Done);
    insta::assert_snapshot!(told(&run, 21_000, 15_000), @"
    slowest  f 6s · e 5s · d 4s · c 3s · b 2s
    stages   waiting for whole stages cost about 6s: `--schedule eager` would take about 15s
    ");
}

#[test]
fn what_is_not_worth_saying_is_not_said() {
    let run = six(1_000, Schedule::Stages, JobState::Done);
    assert_eq!(told(&run, 21_000, 19_000).lines().count(), 1, "less than a tenth");
    assert_eq!(told(&run, 10_000, 19_000).lines().count(), 1, "eager can be worse");
    assert_eq!(told(&six(1_000, Schedule::Eager, JobState::Done), 21_000, 15_000).lines().count(), 1);
    let unasked = || -> Spans { panic!("a short run, or one that failed, is not simulated") };
    let failed = six(1_000, Schedule::Stages, JobState::Failed);
    let told_slowest = "slowest  f 6s · e 5s · d 4s · c 3s · b 2s\n";
    assert_eq!(text(&failed.view(), unasked, &style(false, None)), "", "its end is what failed");
    assert_eq!(slowest(&failed.view(), &style(false, None)), told_slowest);
    let short = six(200, Schedule::Stages, JobState::Done);
    assert_eq!(text(&short.view(), unasked, &style(false, None)), "");
}

#[test]
fn what_is_short_is_told_exactly_and_of_what_was_never_measured_nothing() {
    let mut steps = vec![planned("quick", Some(58)), planned("short", Some(1_600))];
    steps.extend((0..8).map(|i| planned(&format!("new_{i}"), None)));
    let mut run = Sample::new(started(steps, 0));
    run.start(0, "quick", "a");
    run.start(0, "short", "a");
    let mut show = Show::new(80, 24, OutputMode::Failed);
    let text = show.events(&run, 0..3).tick(1_234).text();
    assert!(text.contains("quick  1.2s   ~58ms") && text.contains("short  1.2s   ~1.6s"), "{text}");
    assert!(text.contains("0:01 · at least ~1s left\n"), "{text}");
    for i in 0..5 {
        run.start(2_000, &format!("new_{i}"), "a");
        run.end(22_000, &format!("new_{i}"), Outcome::Built, None);
    }
    let text = show.events(&run, 3..run.events.len()).text();
    assert!(text.lines().any(|line| line.ends_with("· 0:22")), "{text}");
}

#[test]
fn the_time_of_all_attempts_counts() {
    let mut run = Sample::new(started(vec![planned("tried", None), planned("once", None)], 0));
    run.start(0, "tried", "x");
    run.retry(1_000, "tried", crate::report::tests::sample::failure("exit 1", &[], false), 4_000);
    run.start(5_000, "tried", "x");
    run.end(6_100, "tried", Outcome::Built, None);
    run.start(6_100, "once", "x");
    run.end(9_000, "once", Outcome::Built, None);
    run.finish(9_000, JobState::Done, None);
    assert_eq!(told(&run, 0, 0), "slowest  tried 6.1s with 2 attempts · once 2.9s\n");
}

#[test]
fn no_step_is_cut_in_two_by_the_end_of_a_line() {
    let run = six(1_000, Schedule::Stages, JobState::Done);
    let text = text(&run.view(), || Spans { stages_ms: 0, eager_ms: 0 }, &style(false, Some(24)));
    assert_eq!(text, "slowest  f 6s · e 5s\n         d 4s · c 3s\n         b 2s\n");
}
