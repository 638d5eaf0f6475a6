//! How much is said, and where: commands of several lines, what waits, the last lines of a run.

use std::io::Write;

use insta::assert_snapshot;

use super::live::Show;
use super::sample::{Sample, failure, morning, planned, started, style};
use crate::base::job::{JobState, Schedule};
use crate::event::{Outcome, PlannedStep};
use crate::report::diagnostics::Diagnostics;
use crate::report::style::OutputMode;
use crate::report::summary;

/// What is said of a step that ran this command and failed.
fn said(command: &str) -> String {
    let mut run = Sample::new(started(vec![planned("a", None)], 0));
    run.start(0, "a", command);
    run.end(1_000, "a", Outcome::Failed, Some(failure("exit 1", &[], false)));
    let view = run.view();
    summary::words(&view.steps[0], &style(false, None), "", true)
}

#[test]
fn a_command_keeps_its_lines() {
    let told = said("\nset -x\nif [ 3 -gt 2 ]; then\n    seq 1 3 \\\n      >a.txt\nfi\n");
    let lines = "  $ set -x\n    if [ 3 -gt 2 ]; then\n        seq 1 3 >a.txt\n    fi\n";
    assert!(told.starts_with(lines), "{told}");
    assert!(said("a  b \\\n  c").starts_with("  $ a b c\n"));
    let long = |n: usize| said(&(1..=n).map(|i| format!("echo {i}\n")).collect::<String>());
    assert!(long(9).contains("    echo 9\n"), "{}", long(9));
    let told = long(13);
    assert!(told.contains("    echo 8\n    … and 5 more lines\n") && !told.contains("echo 9"), "{told}");
}

#[test]
fn the_last_line_of_a_run_that_failed_is_what_failed() {
    let ids = ["a", "b", "c", "d"];
    let mut run = Sample::new(started(ids.map(|id| planned(id, None)).into(), 0));
    for id in ids {
        run.start(0, id, "x");
        run.end(6_000, id, Outcome::Failed, Some(failure("exit 1", &[], false)));
    }
    run.finish(6_000, JobState::Failed, None);
    let mut show = Show::new(80, 24, OutputMode::Failed);
    let text = show.events(&run, 0..run.events.len()).text();
    let end = text.trim_end_matches(['▮', '\n']);
    assert!(end.ends_with("\n\n4 failed · 6s\nagain, all of it: kiln run --failed"), "{text}");
    assert_eq!(text.matches("4 failed").count(), 1, "{text}");
    let slowest = text.find("slowest  ").unwrap();
    assert!(slowest < text.rfind("FAILED a").unwrap(), "{text}");
}

#[test]
fn names_are_whole_where_there_is_room() {
    let ids = ["region_partition_step_000", "region_partition_step_002"];
    let mut steps: Vec<_> = ids.map(|id| planned(id, None)).into();
    steps[1] = PlannedStep { after: vec![0], ..steps[1].clone() };
    let mut started = started(steps, 0);
    started.schedule = Schedule::Eager;
    let mut run = Sample::new(started);
    run.start(10, ids[0], "x");
    let drawn =
        |width: u16| Show::new(width, 24, OutputMode::Failed).events(&run, 0..run.events.len()).tick(1_000).text();
    assert!(drawn(200).contains("region_partition_step_002  for region_partition_step_000\n"), "{}", drawn(200));
    assert!(drawn(60).contains("for region_part"), "{}", drawn(60));
    assert!(!drawn(60).contains("for region_partition_step_000"), "{}", drawn(60));
}

#[test]
fn what_kiln_warns_of_stands_above_what_is_drawn() {
    let mut show = Show::new(80, 24, OutputMode::Failed);
    let mut diagnostics = Diagnostics::default();
    show.live = show.live.below(Some(diagnostics.clone()));
    show.events(&morning(), 0..2);
    diagnostics.write_all(b"warning: x is kept in .kiln/replaced/1/x\n").unwrap();
    assert_snapshot!(show.tick(1_000).text(), @"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    warning: x is kept in .kiln/replaced/1/x
             run    orders  0.9s   ~40s
             wait   split   for orders
    [0/5] 1 running · 4 waiting · 0:01 · ~1m left
    ▮
    ");
}
