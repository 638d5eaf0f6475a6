//! How a run that failed says that it is tried again.

use super::sample::{Sample, failure, planned, started, style};
use crate::base::job::JobState;
use crate::event::{Failure, FailureCode, Outcome};
use crate::report::summary;

#[test]
fn more_than_two_failures_have_one_way_to_try_them_again() {
    let run = |ids: &[&str]| {
        let mut run = Sample::new(started(ids.iter().map(|id| planned(id, None)).collect(), 0));
        for id in ids {
            run.start(0, id, "x");
            run.end(1_000, id, Outcome::Failed, Some(failure("exit 1", &[], false)));
        }
        run.finish(2_000, JobState::Failed, None);
        run.view()
    };
    let style = style(false, None);
    let three = summary::brief(&run(&["a", "b", "c"]), &style, "");
    assert!(
        three.ends_with("\n\n3 failed · 2s\nagain, all of it: kiln run --failed\n") && !three.contains("  again"),
        "{three}"
    );
    let four = summary::text(&run(&["a", "b", "c", "d"]), &style, "");
    let last = "\n\n4 failed · 2s\nagain, all of it: kiln run --failed build_orders_2026-11-23T02-00-00.123\n";
    assert!(four.ends_with(last), "{four}");
    let two = summary::brief(&run(&["a", "b"]), &style, "");
    assert!(two.contains("  again  kiln run a\n") && two.ends_with("  again  kiln run b\n\n2 failed · 2s\n"), "{two}");
}

#[test]
fn what_was_skipped_for_one_that_failed_can_be_built_with_it() {
    let mut run = Sample::new(started(vec![planned("a", None), planned("b", None)], 0));
    run.start(0, "a", "x");
    run.end(1_000, "a", Outcome::Failed, Some(failure("exit 1", &[], false)));
    run.skip(1_000, "b", Some("a"));
    run.finish(2_000, JobState::Failed, None);
    let brief = summary::brief(&run.view(), &style(false, None), "");
    let last = "  again  kiln run a\n\n1 failed · 1 skipped · 2s\nagain, with what was skipped: kiln run --failed\n";
    assert!(brief.ends_with(last), "{brief}");
}

#[test]
fn what_keeps_several_steps_from_beginning_is_told_once() {
    let ids = ["a", "b", "c", "d"];
    let mut run = Sample::new(started(ids.iter().map(|id| planned(id, None)).collect(), 0));
    for id in ids {
        run.start(0, id, "");
        let message = if id == "b" { "tool x is not there" } else { "secret `T` is not set" };
        run.end(0, id, Outcome::Failed, Some(Failure::new(FailureCode::Start, message)));
    }
    run.finish(2_000, JobState::Failed, None);
    insta::assert_snapshot!(summary::brief(&run.view(), &style(false, None), ""), @r#"
    FAILED a  pipelines/orders.toml:41  secret `T` is not set
      log    logs/build_orders_2026-11-23T02-00-00.123/a.1.log
      also   c, d

    FAILED b  pipelines/orders.toml:41  tool x is not there
      log    logs/build_orders_2026-11-23T02-00-00.123/b.1.log

    4 failed · 2s
    again, all of it: kiln run --failed
    "#);
}

#[test]
fn a_step_that_was_to_be_tried_again_says_so_once() {
    let mut run = Sample::new(started(vec![planned("a", None)], 0));
    for at in [0, 2_000] {
        run.start(at, "a", "x");
        run.retry(at + 1_000, "a", failure("exit 75", &[], false), 1_000);
    }
    let failure = Failure::new(FailureCode::Stopped, "before attempt 3/4, last: exit 75");
    run.end(3_500, "a", Outcome::Stopped, Some(failure.clone()));
    run.finish(3_500, JobState::Aborted, None);
    assert_eq!(summary::message(&failure, run.view().step("a")), "before attempt 3/4, last: exit 75");
}
