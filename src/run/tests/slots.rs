//! Runs that share slots: what waits for one has not begun, and no run keeps one that it does not need.

use super::*;

fn shared(steps: &[&str], slots: &Arc<Semaphore>) -> Case {
    let mut case = case(steps, 2, Schedule::Stages);
    case.slots = Some(Arc::clone(slots));
    case
}

fn on_virtual_time<T>(all: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(all)
}

#[test]
fn what_waits_for_a_slot_has_not_begun() {
    let slots = Arc::new(Semaphore::new(1));
    let other = Arc::clone(&slots).try_acquire_owned().unwrap();
    let case = shared(&["a", "b"], &slots).act("a", Act::Build(5, "a"));
    let ran = on_virtual_time(async {
        let release = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(other);
        };
        tokio::join!(case.drive(), release).0
    });
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 2
    30 start a
    35 start b
    35 publish a
    35 built a
    36 publish b
    36 built b
    36 end DONE -
    ");
    assert_eq!(slots.available_permits(), 1);
}

#[test]
fn who_is_asked_to_end_waits_for_no_slot() {
    let slots = Arc::new(Semaphore::new(1));
    let _other = Arc::clone(&slots).try_acquire_owned().unwrap();
    let ran = shared(&["a", "b < a"], &slots).signal(20).run();
    insta::assert_snapshot!(ran.trace(), @"
    0 begin 2
    20 stopping: Ctrl-C
    20 skip a (-)
    20 skip b (-)
    20 end ABORTED Ctrl-C
    ");
}

#[test]
fn a_run_that_is_over_keeps_no_slot_from_others_while_it_ends() {
    let slots = Arc::new(Semaphore::new(1));
    let other = Arc::clone(&slots).try_acquire_owned().unwrap();
    let mut case = shared(&["a"], &slots).signal(20);
    case.ends_in = 1_000;
    let free = on_virtual_time(async {
        let release = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(other);
            slots.available_permits()
        };
        tokio::join!(case.drive(), release).1
    });
    assert_eq!(free, 1, "it was handed to a run that is over");
}

#[test]
fn a_slot_that_came_too_late_is_given_back() {
    let slots = Arc::new(Semaphore::new(2));
    // `a` fails while `c` waits for the slot that `b` has.
    let ran = shared(&["a", "b", "c"], &slots).act("a", Act::Fail(5)).act("b", Act::Build(20, "b")).run();
    assert!(ran.trace().contains("skip c"), "{}", ran.trace());
    assert_eq!(slots.available_permits(), 2);
}

#[test]
fn an_attempt_that_is_made_again_waits_for_a_slot_again() {
    let slots = Arc::new(Semaphore::new(1));
    let steps = ["a | retry = { max = 1, delay = \"10ms\", jitter = 0.0 }", "b"];
    let ran = shared(&steps, &slots)
        .act("a", Act::Each(vec![Act::Fail(5), Act::Build(5, "a")]))
        .act("b", Act::Build(50, "b"))
        .run();
    let trace = ran.trace();
    let at = |what: &str| trace.lines().find(|line| line.ends_with(what)).unwrap_or_else(|| panic!("{what}: {trace}"));
    assert_eq!((at("start b"), trace.matches("start a").count()), ("5 start b", 2), "{trace}");
    assert!(trace.contains("\n55 start a"), "{trace}");
}

#[test]
fn runs_take_turns() {
    let slots = Arc::new(Semaphore::new(1));
    let run = || shared(&["a", "b", "c"], &slots);
    let (one, other) = on_virtual_time(async { tokio::join!(run().drive(), run().drive()) });
    let starts = |ran: &Ran| -> Vec<u64> {
        let started = ran.events.iter().filter(|event| matches!(event.event, Event::StepStarted { .. }));
        started.map(|event| event.elapsed_ms).collect()
    };
    // Each step takes a millisecond. One had asked for its second slot before the other one came.
    assert_eq!((starts(&one), starts(&other)), (vec![0, 1, 3], vec![2, 4, 5]));
}
