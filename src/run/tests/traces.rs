//! Traces of what happens when: order, stages, failures, signals, early cutoff.

use super::*;
use crate::view::StepState;

const DIAMOND: [&str; 4] = ["a", "b", "c < a", "d < c b"];

#[test]
fn a_stage_waits_for_the_one_before() {
    let case = case(&DIAMOND, 2, Schedule::Stages).act("a", Act::Build(10, "a")).act("b", Act::Build(50, "b"));
    let ran = case.act("c", Act::Build(10, "c")).act("d", Act::Build(10, "d")).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 4
    0 start a
    0 start b
    10 publish a
    10 built a
    50 publish b
    50 built b
    50 start c
    60 publish c
    60 built c
    60 start d
    70 publish d
    70 built d
    70 end DONE -
    ");
    assert_eq!(ran.published, ["a", "b", "c", "d"]);
}

#[test]
fn eager_starts_what_has_its_inputs() {
    let case = case(&DIAMOND, 2, Schedule::Eager).act("a", Act::Build(10, "a")).act("b", Act::Build(50, "b"));
    let ran = case.act("c", Act::Build(10, "c")).run();
    assert!(ran.trace().contains("10 start c"), "{}", ran.trace());
    assert!(ran.trace().contains("50 start d"), "{}", ran.trace());
}

#[test]
fn one_slot_is_one_step_at_a_time() {
    let case = case(&["a", "b", "c"], 1, Schedule::Stages).act("a", Act::Build(5, "a"));
    insta::assert_snapshot!(case.run().trace(), @"
    0 begin 3
    0 start a
    5 start b
    5 publish a
    5 built a
    6 start c
    6 publish b
    6 built b
    7 publish c
    7 built c
    7 end DONE -
    ");
}

#[test]
fn outputs_wait_for_more_where_they_come_together() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let case = names.iter().fold(case(&names, 4, Schedule::Stages), |case, name| case.act(name, Act::Build(5, "x")));
    let trace = case.run().trace();
    let published: Vec<&str> = trace.lines().filter(|line| line.contains("publish")).collect();
    // The first comes alone; those that come while it is flushed come together, and the next wait: here until nothing runs.
    insta::assert_snapshot!(published.join("\n"), @"
    5 publish a
    5 publish b
    5 publish c
    5 publish d
    15 publish e
    15 publish f
    15 publish g
    15 publish h
    15 publish i
    15 publish j
    15 publish k
    15 publish l
    ");
}

#[test]
fn a_failure_lets_running_steps_end_and_skips_the_rest() {
    let case = case(&["a", "b", "c", "d < a", "e < d", "f < b"], 2, Schedule::Eager);
    let ran = case.act("a", Act::Fail(5)).act("b", Act::Build(20, "b")).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 6
    0 start a
    0 start b
    5 failed a
    5 skip d (a)
    5 skip e (a)
    5 stopping: a failed
    20 publish b
    20 built b
    20 skip c (-)
    20 skip f (-)
    20 end FAILED a: exit 1
    ");
}

#[test]
fn keep_going_builds_what_it_can() {
    let case = case(&["a", "b", "d < a", "e < d", "f < b"], 2, Schedule::Stages).max_fail(None);
    let ran = case.act("a", Act::Fail(5)).act("b", Act::Build(20, "b")).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 5
    0 start a
    0 start b
    5 failed a
    5 skip d (a)
    5 skip e (a)
    20 publish b
    20 built b
    20 start f
    21 publish f
    21 built f
    21 end FAILED a: exit 1
    ");
}

#[test]
fn fail_fast_kill_stops_what_runs() {
    let case = case(&["a", "b", "f < b"], 2, Schedule::Stages).kill();
    let ran = case.act("a", Act::Fail(5)).act("b", Act::Hang(3)).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 3
    0 start a
    0 start b
    5 failed a
    5 stopping: a failed
    8 stopped b
    8 skip f (b)
    8 end FAILED a: exit 1
    ");
}

#[test]
fn the_second_failure_is_enough() {
    let case = case(&["a", "b", "c", "d"], 1, Schedule::Stages).max_fail(Some(2));
    let ran = case.act("a", Act::Fail(5)).act("c", Act::Fail(5)).run();
    assert_eq!(ran.driven.view.counts.failed, 2);
    assert_eq!(ran.driven.view.counts.skipped, 1, "{}", ran.trace());
}

#[test]
fn the_first_signal_asks_and_the_second_kills() {
    let case = case(&["a", "b", "c"], 2, Schedule::Stages).signal(10).signal(100);
    let ran = case.act("a", Act::Hang(30)).act("b", Act::Deaf).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 3
    0 start a
    0 start b
    10 stopping: Ctrl-C
    40 stopped a
    100 stopped b
    100 skip c (-)
    100 end ABORTED Ctrl-C
    ");
}

#[test]
fn a_panic_is_a_failure_that_says_so() {
    let ran = case(&["a", "b < a"], 2, Schedule::Stages).act("a", Act::Panic(5)).run();
    let failure = ran.driven.view.step("a").unwrap().failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::Crashed);
    assert_eq!(failure.message, "this is a bug in Kiln: the script says so");
    assert_eq!(ran.driven.view.state(), JobState::Failed);
}

#[test]
fn outputs_that_cannot_be_put_in_place_fail_their_step() {
    let ran = case(&["a", "b < a"], 2, Schedule::Stages).act("a", Act::Lose(5)).run();
    assert_eq!(ran.driven.view.state(), JobState::Failed);
    assert_eq!(ran.driven.view.counts.skipped, 1);
}

#[test]
fn a_store_that_fails_stops_the_run_and_shows_nothing_more() {
    for broken in 1..8 {
        let mut case = case(&["a", "b < a", "c < b"], 2, Schedule::Stages);
        case.broken = Some(broken);
        let ran = case.run();
        assert_eq!(ran.driven.lost.as_deref(), Some("the disk is full"), "batch {broken}");
        assert_eq!(ran.driven.view.end, None, "batch {broken}: nothing is shown that is not kept");
    }
}

#[test]
fn what_had_come_to_its_end_was_not_stopped_and_is_no_success_where_it_cannot_be_kept() {
    let mut cut = Vec::new();
    for broken in 1.. {
        let mut case = case(&["a"], 1, Schedule::Stages);
        case.broken = Some(broken);
        let driven = case.run().driven;
        let Unkept::Still(view) = driven.unkept else { break };
        let end = view.end.clone().unwrap();
        assert_eq!((end.state, end.because), (JobState::Failed, Some(Cause::Unkept { why: driven.lost.unwrap() })));
        cut.push((driven.cut, view.in_state(StepState::Built).count()));
    }
    assert_eq!(cut, [(true, 0), (true, 0), (false, 1)]);
}

#[test]
fn what_is_complete_and_cannot_be_kept_is_taken_back() {
    let mut case = case(&["a"], 1, Schedule::Stages);
    case.broken = Some(2);
    let Unkept::Still(view) = case.run().driven.unkept else { panic!("it was kept") };
    let failure = view.step("a").unwrap().failure.clone().unwrap();
    assert_eq!(failure.message, "the disk is full; it is taken back");
}

#[test]
fn nothing_is_shown_or_put_in_place_that_is_not_kept() {
    for broken in 1.. {
        let steps = ["a", "b", "c < a", "d < a b", "e < c", "f < d", "g < e"];
        let mut case =
            case(&steps, 2, Schedule::Eager).max_fail(None).act("b", Act::Fail(3)).act("c", Act::Build(7, "c"));
        case.broken = Some(broken);
        let ran = case.run();
        let (shown, kept) = (&ran.driven.view, RunView::fold(&ran.events));
        assert_eq!(format!("{:?}", shown.steps), format!("{:?}", kept.steps), "batch {broken}");
        assert_eq!(shown.end, kept.end, "batch {broken}");
        let intended = |name: &String| {
            let publishes =
                |event: &Stamped| matches!(&event.event, Event::StepPublishing { step, .. } if step == name);
            ran.events.iter().any(publishes)
        };
        assert!(ran.published.iter().all(intended), "batch {broken}: {:?}", ran.published);
        if ran.driven.lost.is_none() {
            assert!(broken > 10, "there are more batches than that");
            assert_eq!(ran.published, ["a", "c", "e", "g"]);
            return;
        }
    }
}

#[test]
fn what_comes_out_the_same_builds_nothing_below() {
    let first = case(&["a", "b < a", "c < b"], 2, Schedule::Stages).run();
    // The record of `a` is lost: it is built again, comes out the same, and nothing below it runs.
    let mut again = case(&["a", "b < a", "c < b"], 2, Schedule::Stages).after(&first);
    again.history.steps.remove("a");
    let ran = again.run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 3
    0 start a
    1 publish a
    1 built a
    1 current b
    1 current c
    1 end DONE -
    ");
    let changed = case(&["a", "b < a", "c < b"], 2, Schedule::Stages).after(&first).act("a", Act::Build(1, "other"));
    let mut changed = changed;
    changed.history.steps.remove("a");
    let ran = changed.run();
    assert!(ran.trace().contains("same b"), "{}", ran.trace());
    assert!(ran.trace().contains("current c"), "{}", ran.trace());
}

/// Of outputs of which some may be in place it is not said that the old ones stand.
#[test]
fn only_what_stands_as_it_was_is_said_to_be_kept() {
    let first = case(&["a", "b < a"], 1, Schedule::Stages).run();
    for (act, is_kept) in [(Act::Fail(1), true), (Act::Lose(1), false)] {
        let again = case(&["a", "b < a"], 1, Schedule::Stages).after(&first);
        let mut again = again.act("a", Act::Build(1, "other")).act("b", act);
        again.history.steps.remove("a");
        let ran = again.run();
        let failure = ran.driven.view.step("b").and_then(|step| step.failure.as_ref()).unwrap();
        assert_eq!(failure.kept.is_some(), is_kept, "{failure:?}");
    }
}

#[test]
fn nothing_to_do_is_done() {
    let first = case(&DIAMOND, 2, Schedule::Stages).run();
    let ran = case(&DIAMOND, 2, Schedule::Stages).after(&first).run();
    assert_eq!(ran.trace(), "0 begin 0\n0 end DONE -");
    assert_eq!(ran.driven.view.counts.current, 4);
}

#[test]
fn every_beginning_of_the_events_folds() {
    let case = case(&["a", "b", "c < a", "d < c"], 2, Schedule::Stages).max_fail(None).act("c", Act::Fail(3));
    let ran = case.run();
    for n in 0..=ran.events.len() {
        let view = RunView::fold(&ran.events[..n]);
        let text: Vec<_> = ran.events[..n].iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        let read: Vec<Stamped> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, ran.events[..n]);
        assert_eq!(format!("{:?}", RunView::fold(&read).steps), format!("{:?}", view.steps));
    }
    let seqs: Vec<_> = ran.events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (0..ran.events.len() as u64).collect::<Vec<_>>());
}
