//! What is told of a run that has told nothing for long.

use insta::assert_snapshot;

use super::sample::{Sample, Shared, failure, planned, started, style};
use crate::event::Outcome;
use crate::report::api::Reporter;
use crate::report::plain::Plain;
use crate::report::style::OutputMode;
use crate::view::RunView;

#[test]
fn a_run_that_is_quiet_for_long_tells_what_still_runs() {
    let steps = ["orders", "charts", "a", "b", "c"].map(|step| planned(step, (step == "orders").then_some(120_000)));
    let mut run = Sample::new(started(steps.to_vec(), 0));
    run.start(0, "orders", "x");
    run.start(20_000, "charts", "x");
    let out = Shared::default();
    let mut plain = Plain::new(out.clone(), style(false, None), OutputMode::Failed, ".kiln");
    run.tell(&mut plain, &[]);
    drop(out.take());
    let until = |plain: &mut Plain<Shared>, view: &RunView, seconds: std::ops::RangeInclusive<u64>| {
        let tick = |second: u64| {
            plain.tick(view, second * 1_000).unwrap();
            out.take()
        };
        seconds.step_by(5).map(tick).collect::<String>()
    };
    assert_snapshot!(until(&mut plain, &run.view(), 0..=1_900), @r"
    02:01:00 run    orders  1m00s  usually 2m
    02:01:00 run    charts  40s
    02:03:00 run    orders  3m00s  usually 2m
    02:03:00 run    charts  2m40s
    02:07:00 run    orders  7m00s  usually 2m
    02:07:00 run    charts  6m40s
    02:12:00 run    orders  12m00s  usually 2m
    02:12:00 run    charts  11m40s
    02:17:00 run    orders  17m00s  usually 2m
    02:17:00 run    charts  16m40s
    02:22:00 run    orders  22m00s  usually 2m
    02:22:00 run    charts  21m40s
    02:27:00 run    orders  27m00s  usually 2m
    02:27:00 run    charts  26m40s
    ");
    // Whatever is told begins anew, and few are named.
    for step in ["a", "b", "c"] {
        run.start(1_900_000, step, "x");
    }
    run.end(1_901_000, "charts", Outcome::Built, None);
    run.tell(&mut plain, &[]);
    drop(out.take());
    assert_snapshot!(until(&mut plain, &run.view(), 1_905..=1_970), @r"
    02:32:45 run    orders  32m45s  usually 2m
    02:32:45 run    a       1m05s
    02:32:45 run    b       1m05s
             … and 1 more
    ");
    // What waits to be tried again is no less of the run.
    for step in ["orders", "a", "b", "c"] {
        run.retry(1_980_000, step, failure("exit 3", &[], false), 600_000);
    }
    run.tell(&mut plain, &[]);
    drop(out.take());
    assert_snapshot!(until(&mut plain, &run.view(), 1_985..=2_045), @r"
    02:34:05 retry  orders  in 8m55s
    02:34:05 retry  a       in 8m55s
    02:34:05 retry  b       in 8m55s
             … and 1 more
    ");
}
