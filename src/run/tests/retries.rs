//! Traces of attempts, time limits and what ends them.

use super::*;

/// A step that is tried again without chance in its waits.
const AGAIN: &str = "a | retry = { max = 2, delay = \"100ms\", factor = 3.0, jitter = 0.0 }";

#[test]
fn a_step_is_tried_again_and_is_flaky() {
    let case = case(&[AGAIN, "b < a"], 1, Schedule::Stages);
    let ran = case.act("a", Act::Each(vec![Act::Fail(5), Act::Fail(5), Act::Build(5, "a")])).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 2
    0 start a
    5 retry a in 100ms (exit 1)
    105 start a
    110 retry a in 300ms (exit 1)
    410 start a
    415 publish a
    415 built a (flaky)
    415 start b
    416 publish b
    416 built b
    416 end DONE -
    ");
    assert_eq!(ran.driven.view.counts.flaky, 1);
    let step = ran.driven.view.step("a").unwrap();
    assert!(step.flaky());
    let logs: Vec<_> = step.earlier.iter().map(|earlier| earlier.log.as_str()).chain([step.log.as_str()]).collect();
    assert_eq!(logs, ["logs/build_p_1/a.1.log", "logs/build_p_1/a.2.log", "logs/build_p_1/a.3.log"]);
}

#[test]
fn another_step_runs_while_one_waits_to_be_tried_again() {
    let case = case(&[AGAIN, "b", "c"], 1, Schedule::Stages).act("b", Act::Build(150, "b"));
    insta::assert_snapshot!(case.act("a", Act::Each(vec![Act::Fail(5), Act::Build(5, "a")])).run().trace(), @"
    0 begin 3
    0 start a
    5 retry a in 100ms (exit 1)
    5 start b
    155 start a
    155 publish b
    155 built b
    160 start c
    160 publish a
    160 built a (flaky)
    161 publish c
    161 built c
    161 end DONE -
    ");
}

#[test]
fn the_last_attempt_fails_the_step() {
    let ran = case(&[AGAIN, "b < a"], 1, Schedule::Stages).act("a", Act::Fail(5)).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 2
    0 start a
    5 retry a in 100ms (exit 1)
    105 start a
    110 retry a in 300ms (exit 1)
    410 start a
    415 failed a
    415 skip b (a)
    415 end FAILED a: exit 1
    ");
}

#[test]
fn a_start_error_is_not_tried_again() {
    let act = Act::FailAs(5, FailureCode::Start, None, "");
    assert_eq!(case(&[AGAIN], 1, Schedule::Stages).act("a", act).run().trace().lines().count(), 4);
}

#[test]
fn on_chooses_what_is_tried_again() {
    let step = "a | retry = { max = 1, delay = \"0s\", on = [\"timeout\", 75, { text = \"reset by\" }] }";
    let again = |act| case(&[step], 1, Schedule::Stages).act("a", act).run().trace().contains("retry a in 0ms");
    assert!(again(Act::FailAs(5, FailureCode::Exit, Some(75), "")));
    assert!(again(Act::FailAs(5, FailureCode::Exit, Some(1), "x\nconnection reset by peer\ny")));
    assert!(!again(Act::FailAs(5, FailureCode::Exit, Some(1), "x")));
    assert!(!again(Act::FailAs(5, FailureCode::Lost, None, "")));
}

#[test]
fn the_time_of_an_attempt_is_limited() {
    let step = "a | timeout = \"50ms\"; retry = { max = 1, delay = \"10ms\", jitter = 0.0 }";
    let ran = case(&[step], 1, Schedule::Stages).act("a", Act::Hang(7)).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 1
    0 start a
    57 retry a in 10ms (timed out after 50ms)
    67 start a
    124 failed a
    124 end FAILED a: timed out after 50ms
    ");
    assert_eq!(ran.driven.view.step("a").unwrap().failure.as_ref().unwrap().code, FailureCode::Timeout);
}

#[test]
fn an_attempt_that_ends_in_time_leaves_no_limit_behind() {
    let step = "a | timeout = \"50ms\"; retry = { max = 1, delay = \"10ms\", jitter = 0.0 }";
    let acts = vec![Act::Fail(5), Act::Build(49, "a")];
    insta::assert_snapshot!(case(&[step], 1, Schedule::Stages).act("a", Act::Each(acts)).run().trace(), @"
    0 begin 1
    0 start a
    5 retry a in 10ms (exit 1)
    15 start a
    64 publish a
    64 built a (flaky)
    64 end DONE -
    ");
}

#[test]
fn the_time_of_the_run_is_limited() {
    let mut case = case(&["a", AGAIN.replacen('a', "b", 1).as_str(), "c"], 2, Schedule::Stages);
    case.policy.time_limit_ms = Some(50);
    let ran = case.act("a", Act::Hang(7)).act("b", Act::Fail(5)).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 3
    0 start a
    0 start b
    5 retry b in 100ms (exit 1)
    5 start c
    6 publish c
    6 built c
    50 stopping: time limit of 50ms
    57 stopped a
    57 stopped b
    57 end ABORTED time limit of 50ms
    ");
    assert_eq!(ran.driven.view.end.unwrap().because, Some(Cause::TimeLimit { ms: 50 }));
}

#[test]
fn a_signal_ends_the_wait_for_another_attempt() {
    let ran = case(&[AGAIN, "b < a"], 1, Schedule::Stages).act("a", Act::Fail(5)).signal(50).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 2
    0 start a
    5 retry a in 100ms (exit 1)
    50 stopping: Ctrl-C
    50 stopped a
    50 skip b (a)
    50 end ABORTED Ctrl-C
    ");
    let failure = ran.driven.view.step("a").unwrap().failure.as_ref().unwrap();
    assert_eq!((failure.code, failure.message.as_str()), (FailureCode::Stopped, "before attempt 2/3, last: exit 1"));
}

#[test]
fn a_failure_ends_the_wait_of_others_for_another_attempt() {
    let ran = case(&[AGAIN, "b", "c < a"], 2, Schedule::Stages).act("a", Act::Fail(5)).act("b", Act::Fail(20)).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 3
    0 start a
    0 start b
    5 retry a in 100ms (exit 1)
    20 failed b
    20 stopping: b failed
    20 failed a
    20 skip c (a)
    20 end FAILED b: exit 1
    ");
}

#[test]
fn a_log_that_cannot_be_kept_lets_what_runs_end() {
    let case = case(&["a", "b", "c"], 2, Schedule::Stages).act("a", Act::NoLog(10)).act("b", Act::Build(20, "b"));
    let ran = case.max_fail(None).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 3
    0 start a
    0 start b
    0 stopping: logs/build_p_1/a.1.log: no space left
    10 publish a
    10 built a
    20 publish b
    20 built b
    20 skip c (-)
    20 end FAILED logs/build_p_1/a.1.log: no space left
    ");
    assert_eq!(ran.driven.lost.as_deref(), Some("logs/build_p_1/a.1.log: no space left"));
}
