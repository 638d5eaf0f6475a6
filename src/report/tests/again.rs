//! How a run that failed says that it is tried again.

use super::sample::{Sample, failure, planned, started, style};
use crate::base::job::JobState;
use crate::event::Outcome;
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
    assert!(three.ends_with("\n\nagain, all of it: kiln run --failed\n") && !three.contains("  again"), "{three}");
    let four = summary::text(&run(&["a", "b", "c", "d"]), &style, "");
    let last = "\n\n4 failed · 2s\nagain, all of it: kiln run --failed build_orders_2026-11-23T02-00-00.123\n";
    assert!(four.ends_with(last), "{four}");
    let two = summary::brief(&run(&["a", "b"]), &style, "");
    assert!(two.contains("  again  kiln run a\n") && two.ends_with("  again  kiln run b\n"), "{two}");
}

#[test]
fn what_was_skipped_for_one_that_failed_can_be_built_with_it() {
    let mut run = Sample::new(started(vec![planned("a", None), planned("b", None)], 0));
    run.start(0, "a", "x");
    run.end(1_000, "a", Outcome::Failed, Some(failure("exit 1", &[], false)));
    run.skip(1_000, "b", Some("a"));
    run.finish(2_000, JobState::Failed, None);
    let brief = summary::brief(&run.view(), &style(false, None), "");
    let last = "  again  kiln run a\n\nagain, with what was skipped: kiln run --failed\n";
    assert!(brief.ends_with(last), "{brief}");
}
