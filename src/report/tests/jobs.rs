//! The table of jobs, and a job in full.

use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::sample::{Sample, began, every_ending, morning, planned, started, style};
use crate::base::job::{JobId, JobState};
use crate::event::{Cause, Counts, Outcome};
use crate::report::job::show;
use crate::report::jobs::{JobLine, list};
use crate::view::RunView;

fn counts(built: u64, same: u64, failed: u64, skipped: u64) -> Counts {
    Counts { built, same, failed, skipped, ..Counts::default() }
}

fn line(stamp: &str, state: JobState, counts: Counts, took_ms: u64) -> JobLine {
    let began = format!("{}:{}Z", &stamp[..13], &stamp[14..19].replace('-', ":"));
    JobLine {
        job: JobId::new("orders", stamp),
        pipeline: "orders".to_owned(),
        state,
        counts,
        began: began.parse().unwrap(),
        took_ms,
        by: "ci".to_owned(),
        targets: Vec::new(),
        exclude: Vec::new(),
        vars: BTreeMap::new(),
        mode: "smart".to_owned(),
        why: None,
        left: 0,
    }
}

fn days() -> Vec<JobLine> {
    let mut failed = line("2026-11-23T02-00-00.123", JobState::Failed, counts(2, 1, 1, 1), 71_200);
    failed.why = Some(Cause::of_words("split: exit 3"));
    let mut aborted = line("2026-11-22T14-10-31.004", JobState::Aborted, counts(1, 0, 0, 4), 9_000);
    aborted.why = Some(Cause::of_words("Ctrl-C"));
    aborted.by = "ana".to_owned();
    aborted.targets = vec!["charts".to_owned()];
    let done = line("2026-11-21T02-00-00.120", JobState::Done, Counts::default(), 1_000);
    vec![failed, aborted, done]
}

#[test]
fn jobs_are_a_table() {
    let now = "2026-11-23T02:05:00Z".parse().unwrap();
    assert_snapshot!(list(&days(), &style(false, None), now), @r#"
    JOB           STATE    BUILT SAME FAIL SKIP  START      TOOK   BY   TARGETS       WHY
    …23T02-00-00  FAILED       2    1    1    1  02:00      1m11s  ci   (everything)  split: exit 3
    …22T14-10-31  ABORTED      1    0    0    4  14:10      9s     ana  charts        Ctrl-C
    …21T02-00-00  DONE         0    0    0    0  Sat 02:00  1s     ci   (everything)  up to date
    "#);
    let coloured = list(&days(), &style(true, Some(60)), now).replace('\u{1b}', "^");
    assert_snapshot!(coloured, @r#"
    JOB           STATE    BUILT FAIL  START      TOOK   TARGET…
    …23T02-00-00  ^[1m^[31mFAILED^[0m       2    1  02:00      1m11s  (every…
    …22T14-10-31  ^[33mABORTED^[0m      1    0  14:10      9s     charts…
    …21T02-00-00  ^[32mDONE^[0m         0    0  Sat 02:00  1s     (every…
    "#);
    assert_snapshot!(list(&days(), &style(false, Some(40)), now), @r#"
    JOB           STATE    BUILT FAIL  STAR…
    …23T02-00-00  FAILED       2    1  02:0…
    …22T14-10-31  ABORTED      1    0  14:1…
    …21T02-00-00  DONE         0    0  Sat …
    "#);
}

#[test]
fn where_there_are_several_pipelines_each_is_named() {
    let mut jobs = days();
    jobs[1].pipeline = "crm".to_owned();
    let now = "2026-11-23T02:05:00Z".parse().unwrap();
    assert_snapshot!(list(&jobs, &style(false, Some(80)), now), @r#"
    JOB           STATE    BUILT FAIL  START      TOOK   PIPELINE  TARGETS       WHY
    …23T02-00-00  FAILED       2    1  02:00      1m11s  orders    (everything)  sp…
    …22T14-10-31  ABORTED      1    0  14:10      9s     crm       charts        Ct…
    …21T02-00-00  DONE         0    0  Sat 02:00  1s     orders    (everything)  up…
    "#);
}

#[test]
fn wide_cells_keep_the_columns() {
    let mut jobs = days();
    jobs[1].targets = (1..20).map(|i| format!("node_{i}")).collect();
    jobs[2].counts = counts(123_456, 0, 7, 12_345);
    jobs[2].took_ms = 90_000_000;
    jobs.push(line("2025-11-21T02-00-00.120", JobState::Running, Counts::default(), 61_000));
    let now = "2026-11-23T02:05:00Z".parse().unwrap();
    assert_snapshot!(list(&jobs, &style(false, None), now), @r#"
    JOB                       STATE     BUILT SAME FAIL  SKIP  START              TOOK   BY   TARGETS                         WHY
    …23T02-00-00              FAILED        2    1    1     1  02:00              1m11s  ci   (everything)                    split: exit 3
    …22T14-10-31              ABORTED       1    0    0     4  14:10              9s     ana  node_1 node_2 node_3 node_4 n…  Ctrl-C
    …2026-11-21T02-00-00.120  DONE     123456    0    7 12345  Sat 02:00          1d01h  ci   (everything)
    …2025-11-21T02-00-00.120  RUNNING       0    0    0     0  21 Nov 2025 02:00  1m01s  ci   (everything)
    "#);
}

#[test]
fn no_jobs_are_only_a_head() {
    assert_snapshot!(list(&[], &style(false, None), began()), @r#"
    JOB  STATE    BUILT  START  TOOK  WHY
    "#);
}

#[test]
fn a_job_is_shown_with_each_step() {
    assert_snapshot!(show(&morning().view(), &style(false, Some(80)), ".kiln"), @r#"
    job      build_orders_2026-11-23T02-00-00.123
    state    FAILED · split: exit 3
    file     pipelines/orders.toml · orders · ORDERS
    targets  (everything)
    run      local · smart · stages · -j4
    began    23 Nov 2026 02:00:00 by ci on build1, process 4711

    STATE   STEP    TOOK  WHY
    built   orders  40s   never built
    same    rates   3s    never built
    FAILED  split   31s   exit 3; never built
    built   charts  8s    never built
    skip    report        split failed; never built

    FAILED split  pipelines/orders.toml:41  exit 3
      $ python3 recipes/split.py build/orders.csv build/train.csv build/test.csv --…
      | Traceback (most recent call last):
      | KeyError: 'customer_id'
      kept   train, test of 22 Nov 02:01
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
      again  kiln run split

    2 built · 1 unchanged · 1 failed · 1 skipped · 55 up to date · 1m11s
    again, with what was skipped: kiln run --failed build_orders_2026-11-23T02-00-00.123
    "#);
    assert_snapshot!(show(&every_ending().view(), &style(false, Some(40)), ".kiln"), @r#"
    job      build_orders_2026-11-23T02-00-00.123
    state    ABORTED · Ctrl-C
    file     pipelines/orders.toml · orders
             · ORDERS
    targets  built never
    run      local · smart · stages · -j4
    began    23 Nov 2026 02:00:00 by ci on
             build1, process 4711

    STATE       STEP     TOOK  WHY
    built       built    0.4s  never built
    same        same     1.5s  never built
    up to date  maybe          never built
    FAILED      failed   2s    output build…
    skip        below          failed faile…
    stop        stopped  10s   never built
    skip        never          Ctrl-C; neve…
    skip        nothing        Ctrl-C; neve…

    FAILED failed  pipelines/orders.toml:41
      output build/failed.csv is missing
      $ make failed
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/failed.1.log
      again  kiln run failed

    1 built · 1 unchanged · 1 failed · 1
      stopped · 3 skipped · 4 up to date ·
      10s

    aborted: Ctrl-C; `kiln run built never`
      goes on from here
    "#);
}

/// A run whose process died.
fn dead(mut view: RunView) -> RunView {
    view.end_untold(JobState::Aborted, Cause::Died, |_| None);
    view
}

#[test]
fn a_job_whose_process_died_is_shown_as_it_was_left() {
    let mut run = morning();
    run.events.truncate(8);
    assert_snapshot!(show(&dead(run.view()), &style(false, None), ".kiln"), @r#"
    job      build_orders_2026-11-23T02-00-00.123
    state    ABORTED · ended without a last word
    file     pipelines/orders.toml · orders · ORDERS
    targets  (everything)
    run      local · smart · stages · -j4
    began    23 Nov 2026 02:00:00 by ci on build1, process 4711

    STATE   STEP    TOOK  WHY
    built   orders  40s   never built
    same    rates   3s    never built
    stop    split   ≥0s   ended without a last word; never built
    skip    charts        ended without a last word; never built
    skip    report        ended without a last word; never built

    1 built · 1 unchanged · 1 stopped · 2 skipped · 55 up to date · ≥40s

    aborted: ended without a last word; `kiln run` goes on from here
    "#);
}

#[test]
fn what_was_complete_when_the_process_died_is_told() {
    let mut run = morning();
    run.events.truncate(8);
    run.publish(40_200, "split");
    let shown = show(&dead(run.view()), &style(false, None), ".kiln");
    let line = shown.lines().find(|line| line.starts_with("stop ")).unwrap();
    assert_eq!(
        line,
        "stop    split   ≥0.1s  its outputs are complete: the next run looks whether they can still be put in place; never built"
    );
}

#[test]
fn any_beginning_of_a_job_can_be_shown() {
    for run in [morning(), every_ending(), Sample::new(started(Vec::new(), 0))] {
        for cut in 0..=run.events.len() {
            let mut part = run.clone();
            part.events.truncate(cut);
            let text = show(&part.view(), &style(true, Some(3)), "");
            assert!(!text.is_empty());
        }
    }
}

/// The same run is told in the same words by the list and by its own summary.
#[test]
fn what_was_stopped_left_or_not_seen_to_end_is_told_as_such() {
    let mut jobs = days();
    jobs[0].counts.stopped = 2;
    jobs[1].why = Some(Cause::Died);
    jobs[2].left = 3;
    let now = "2026-11-23T02:05:00Z".parse().unwrap();
    assert_snapshot!(list(&jobs, &style(false, None), now), @r#"
    JOB           STATE    BUILT SAME FAIL STOP SKIP  START      TOOK   BY   TARGETS       WHY
    …23T02-00-00  FAILED       2    1    1    2    1  02:00      1m11s  ci   (everything)  split: exit 3
    …22T14-10-31  ABORTED      1    0    0    0    4  14:10      ≥9s    ana  charts        ended without a last word
    …21T02-00-00  DONE         0    0    0    0    0  Sat 02:00  1s     ci   (everything)  3 left
    "#);
}

/// Nobody saw it end: it took at least as long as is known.
#[test]
fn a_run_that_was_killed_took_at_least_so_long() {
    let mut run = Sample::new(started(vec![planned("a", None), planned("b", None)], 0));
    run.start(0, "a", "a");
    run.end(500, "a", Outcome::Built, None);
    run.start(500, "b", "b");
    let mut view = run.view();
    view.elapsed_ms = 2_500;
    let shown = show(&dead(view), &style(false, None), ".kiln");
    assert_snapshot!(shown, @r#"
    job      build_orders_2026-11-23T02-00-00.123
    state    ABORTED · ended without a last word
    file     pipelines/orders.toml · orders · ORDERS
    targets  (everything)
    run      local · smart · stages · -j4
    began    23 Nov 2026 02:00:00 by ci on build1, process 4711

    STATE   STEP  TOOK  WHY
    built   a     0.5s  never built
    stop    b     ≥2s   ended without a last word; never built

    1 built · 1 stopped · ≥2.5s

    aborted: ended without a last word; `kiln run` goes on from here
    "#);
}

#[test]
fn long_names_stay_different_and_leave_room_for_the_times() {
    let name =
        |end: &str| format!("a_very_long_node_name_which_describes_what_it_holds_in_great_detail_for_finance{end}");
    let names = [name(""), name("_b")];
    let mut run = Sample::new(started(names.iter().map(|name| planned(name, None)).collect(), 0));
    for name in &names {
        run.start(0, name, "a");
        run.end(100, name, Outcome::Built, None);
    }
    run.finish(200, JobState::Done, None);
    let table = |width| {
        let text = show(&run.view(), &style(false, width), ".kiln");
        text.split("\n\n").nth(1).unwrap().to_owned()
    };
    assert_snapshot!(table(Some(80)), @r#"
    STATE   STEP                                      TOOK  WHY
    built   a_very_long_node_na…t_detail_for_finance  0.1s  never built
    built   a_very_long_node_na…detail_for_finance_b  0.1s  never built
    "#);
    assert_snapshot!(table(Some(40)), @r#"
    STATE   STEP      TOOK  WHY
    built   a_v…ance  0.1s  never built
    built   a_v…ce_b  0.1s  never built
    "#);
    assert!(names.iter().all(|name| table(None).contains(&format!("{name}  0.1s  never built"))), "{}", table(None));
}

#[test]
fn who_started_a_run_gives_way_to_why_it_failed() {
    let mut jobs = days();
    for job in &mut jobs {
        job.targets = vec!["all_of_the_marts_of_the_north".to_owned()];
    }
    jobs[0].by = "someone_with_a_long_name".to_owned();
    let now = "2026-11-23T02:05:00Z".parse().unwrap();
    let table = |width| list(&jobs, &style(false, Some(width)), now);
    assert!(table(160).contains("someone_with_a_long_name"));
    assert_snapshot!(table(80), @r#"
    JOB           STATE    BUILT FAIL  START      TOOK   TARGETS       WHY
    …23T02-00-00  FAILED       2    1  02:00      1m11s  all_of_the_…  split: exit 3
    …22T14-10-31  ABORTED      1    0  14:10      9s     all_of_the_…  Ctrl-C
    …21T02-00-00  DONE         0    0  Sat 02:00  1s     all_of_the_…  up to date
    "#);
}
