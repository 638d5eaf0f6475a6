//! What stands on the terminal while a run goes on.

use std::cell::Cell;
use std::rc::Rc;

use insta::assert_snapshot;

use super::sample::{Sample, Shared, every_ending, failure, morning, planned, started, style};
use super::terminal::Terminal;
use crate::base::job::JobState;
use crate::event::Outcome;
use crate::report::api::Reporter;
use crate::report::live::Live;
use crate::report::plain::Plain;
use crate::report::style::OutputMode;
use crate::view::RunView;

/// A run that is shown on a terminal.
pub(super) struct Show {
    out: Shared,
    size: Rc<Cell<(u16, u16)>>,
    pub(super) live: Live<Shared>,
    terminal: Terminal,
    view: RunView,
}

impl Show {
    pub(super) fn new(width: u16, height: u16, output: OutputMode) -> Self {
        let (out, size) = (Shared::default(), Rc::new(Cell::new((width, height))));
        let asked = Rc::clone(&size);
        let live = Live::new(out.clone(), Box::new(move || asked.get()), style(false, None), output, ".kiln");
        Self { out, size, live, terminal: Terminal::new(width, height), view: RunView::default() }
    }

    pub(super) fn events(&mut self, run: &Sample, range: std::ops::Range<usize>) -> &mut Self {
        for event in &run.events[range] {
            self.view.apply(event);
            self.live.event(&self.view, event).unwrap();
            self.terminal.write(&self.out.take());
        }
        self.live.flush(&self.view).unwrap();
        self.tick(self.view.elapsed_ms)
    }

    pub(super) fn tick(&mut self, ms: u64) -> &mut Self {
        self.live.tick(&self.view, ms).unwrap();
        self.terminal.write(&self.out.take());
        self
    }

    fn output(&mut self, step: &str, bytes: &[u8]) -> &mut Self {
        self.live.output(step, bytes).unwrap();
        self.terminal.write(&self.out.take());
        self
    }

    pub(super) fn text(&self) -> String {
        self.terminal.text()
    }
}

/// What stands on the terminal after each of some events.
fn frames(run: &Sample, range: std::ops::Range<usize>) -> String {
    let mut show = Show::new(80, 24, OutputMode::Failed);
    show.events(run, 0..range.start);
    let frames: Vec<String> = range.map(|i| format!("--- {i}\n{}\n", show.events(run, i..i + 1).text())).collect();
    frames.concat()
}

#[test]
fn steps_come_and_go_below_the_lines_that_stay() {
    assert_snapshot!(frames(&morning(), 0..7), @r#"
    --- 0
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    [0/5] 5 waiting · 0:00 · ~1m left
    ▮
    --- 1
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
             run    orders  0.0s   ~40s
             wait   split   for orders
    [0/5] 1 running · 4 waiting · 0:00 · ~1m left
    ▮
    --- 2
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
             run    orders  0.0s   ~40s
             run    rates   0.0s   ~3s
             wait   split   for orders
    [0/5] 2 running · 3 waiting · 0:00 · ~1m left
    ▮
    --- 3
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
             run    orders  2.9s   ~40s
             save   rates   2.9s   ~3s
             wait   split   for orders
    [0/5] 1 running · 1 saving · 3 waiting · 0:03 · ~1m left
    ▮
    --- 4
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    02:00:03 same   rates   3s   content unchanged
             run    orders  3.0s   ~40s
             wait   split   for orders
    [1/5] 1 running · 3 waiting · 0:03 · ~1m left
    ▮
    --- 5
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    02:00:03 same   rates   3s   content unchanged
             save   orders  39s    ~40s
             wait   split   for orders
    [1/5] 1 saving · 3 waiting · 0:39 · ~45s left
    ▮
    --- 6
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    02:00:03 same   rates   3s   content unchanged
    02:00:40 built  orders  40s
             wait   split   for the rest of stage 1
    [2/5] 3 waiting · 0:40 · ~45s left
    ▮
    "#);
}

#[test]
fn the_end_leaves_only_lines_that_stay() {
    assert_snapshot!(frames(&morning(), 9..13), @r#"
    --- 9
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    02:00:03 same   rates   3s   content unchanged
    02:00:40 built  orders  40s
    02:00:48 built  charts  8s
             run    split   8.0s   ~30s
             wait   report  for split
    [3/5] 1 running · 1 waiting · 0:48 · ~25s left
    ▮
    --- 10
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    02:00:03 same   rates   3s   content unchanged
    02:00:40 built  orders  40s
    02:00:48 built  charts  8s
    02:01:11 FAILED split   31s  exit 3
      $ python3 recipes/split.py build/orders.csv build/train.csv build/test.csv --…
      | Traceback (most recent call last):
      | KeyError: 'customer_id'
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
    [4/5] 1 waiting · 1 failed · 1:11 · ~5s left
    ▮
    --- 11
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    02:00:03 same   rates   3s   content unchanged
    02:00:40 built  orders  40s
    02:00:48 built  charts  8s
    02:01:11 FAILED split   31s  exit 3
      $ python3 recipes/split.py build/orders.csv build/train.csv build/test.csv --…
      | Traceback (most recent call last):
      | KeyError: 'customer_id'
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
    02:01:11 skip   report       split failed
    [5/5] 1 failed · 1:11
    ▮
    --- 12
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    02:00:03 same   rates   3s   content unchanged
    02:00:40 built  orders  40s
    02:00:48 built  charts  8s
    02:01:11 FAILED split   31s  exit 3
      $ python3 recipes/split.py build/orders.csv build/train.csv build/test.csv --…
      | Traceback (most recent call last):
      | KeyError: 'customer_id'
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
    02:01:11 skip   report       split failed
    slowest  orders 40s · split 31s · charts 8s · rates 3s
    FAILED split  pipelines/orders.toml:41  exit 3
      kept   train, test of 22 Nov 02:01
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
      again  kiln run split

    2 built · 1 unchanged · 1 failed · 1 skipped · 55 up to date · 1m11s
    again, with what was skipped: kiln run --failed
    ▮
    "#);
}

#[test]
fn what_is_left_is_what_plain_lines_say() {
    for run in [morning(), every_ending()] {
        let mut show = Show::new(120, 24, OutputMode::Failed);
        show.events(&run, 0..run.events.len()).tick(99_000);
        let out = Shared::default();
        run.tell(&mut Plain::new(out.clone(), style(false, Some(120)), OutputMode::Failed, ".kiln"), &[]);
        assert_eq!(show.text(), out.take() + "▮");
    }
}

#[test]
fn time_goes_on_between_events() {
    let run = morning();
    let mut show = Show::new(80, 24, OutputMode::Failed);
    show.events(&run, 0..3).tick(2_950);
    assert_snapshot!(show.text(), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
             run    orders  2.9s   ~40s
             run    rates   2.9s   ~3s
             wait   split   for orders
    [0/5] 2 running · 3 waiting · 0:02 · ~1m left
    ▮
    "#);
    show.tick(62_000);
    assert_snapshot!(show.text(), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
             run    orders  1m01s  ~40s
             run    rates   1m01s  ~3s
             wait   split   for orders
    [0/5] 2 running · 3 waiting · 1:02 · ~45s left
    ▮
    "#);
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let run = morning();
    let mut show = Show::new(80, 24, OutputMode::Failed);
    show.events(&run, 0..3).tick(12_100);
    show.live.tick(&show.view, 12_200).unwrap();
    assert_eq!(show.out.take(), "");
}

#[test]
fn a_narrow_terminal_wraps_no_line() {
    let run = every_ending();
    let mut show = Show::new(40, 12, OutputMode::Failed);
    show.events(&run, 0..14);
    assert_snapshot!(show.text(), @r#"
    02:00:00
      build_orders_2026-11-23T02-00-00.123 ·
      8 of 11 steps · -j4
    02:00:00 built  built    0.4s
    02:00:01 same   same     1.5s  content
                    unchanged
    02:00:01        maybe          up to
                    date
    02:00:02 FAILED failed   2s    output
                    build/failed.csv is
                    missing
      $ make failed
      log    .kiln/logs/build_orders_2026-11
    -23T02-00-00.123/failed.1.log
    02:00:02 skip   below          failed
                    failed
    02:00:09 stop   Ctrl-C: nothing more
                    starts,
                    waiting for 1 step
    02:00:10 stop   stopped  10s
    [7/8] 1 failed · stopping · 0:10 · Ctr…
    ▮
    "#);
    for width in 1..30 {
        let mut show = Show::new(width, 12, OutputMode::Stream);
        show.events(&run, 0..6).output("built", b"0123456789abcdef\n").tick(900);
        let rows = show.terminal.rows();
        show.tick(1_900).tick(300_000);
        assert_eq!(show.terminal.rows(), rows, "at {width} columns");
    }
}

#[test]
fn a_step_that_waits_for_its_retry_is_not_done() {
    let mut run = Sample::new(started(vec![planned("flaky", None), planned("other", None)], 0));
    run.start(0, "flaky", "x");
    run.start(10, "other", "x");
    run.retry(1_000, "flaky", failure("exit 1", &[], false), 3_000);
    let mut show = Show::new(80, 12, OutputMode::Failed);
    show.events(&run, 0..run.events.len());
    assert_snapshot!(show.tick(2_000).text(), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 2 of 2 steps · -j4
    02:00:01 retry  flaky  1s   exit 1, attempt 1/1, again in 3s
             run    other  1.9s
             retry  flaky  in 2s
    [0/2] 1 running · 1 to be retried · 0:02
    ▮
    "#);
    assert!(show.tick(9_000).text().contains("retry  flaky  now"), "{}", show.text());
}

#[test]
fn lines_that_stay_fit_the_terminal() {
    let long = "a_very_long_name_of_a_dataset_that_has_no_end_fr";
    let mut run = Sample::new(started(vec![planned(long, None), planned("b", None)], 0));
    run.start(0, long, "x");
    run.retry(1_000, long, failure("exit 1", &[], false), 1_000);
    run.start(2_000, long, "x");
    run.end(
        9_000,
        long,
        Outcome::Failed,
        Some(failure("the output build/a/very/long/path/of/a/file.csv is missing", &[], false)),
    );
    let mut show = Show::new(80, 24, OutputMode::Stream);
    show.events(&run, 0..2).output(long, b"1%\r2%\r100%\n").events(&run, 2..run.events.len());
    assert_snapshot!(show.text(), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 2 of 2 steps · -j4
    a_very_long_name_…that_has_no_end_fr | 100%
    02:00:01 retry  a_very_long_name_…that_has_no_end_fr  1s   exit 1, attempt 1/1,
                                                               again in 1s
    02:00:09 FAILED a_very_long_name_…that_has_no_end_fr  7s   the output
                    build/a/very/long/path/of/a/file.csv is missing, attempt 2/2,
                    9s in all
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/a_very_long_name_of_a_d
    ataset_that_has_no_end_fr.2.log
    [1/2] 1 waiting · 1 failed · 0:09
    ▮
    "#);
}

#[test]
fn wide_letters_wrap_no_line() {
    let mut run = Sample::new(started(vec![planned("日本語のデータセット", Some(5_000))], 0));
    run.start(0, "日本語のデータセット", "x");
    for width in 2..60 {
        let mut show = Show::new(width, 12, OutputMode::Failed);
        show.events(&run, 0..2);
        let rows = show.terminal.rows();
        show.tick(1_900).tick(300_000);
        assert_eq!(show.terminal.rows(), rows, "at {width} columns");
    }
}

fn many() -> Sample {
    let ids: Vec<String> = (1..=40).map(|i| format!("step_{i}")).collect();
    let mut started = started(ids.iter().map(|id| planned(id, Some(60_000))).collect(), 0);
    started.max_parallel = 20;
    let mut run = Sample::new(started);
    for (ms, id) in ids.iter().take(20).enumerate() {
        run.start(ms as u64, id, "x");
    }
    run.end(50_000, "step_1", Outcome::Built, None);
    run
}

#[test]
fn more_steps_than_rows_are_counted() {
    let run = many();
    let mut show = Show::new(80, 12, OutputMode::Failed);
    show.events(&run, 0..run.events.len());
    assert_snapshot!(show.text(), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 40 of 40 steps · -j20
    02:00:50 built  step_1   50s
             run    step_2   49s    ~1m
             run    step_3   49s    ~1m
             run    step_4   49s    ~1m
             run    step_5   49s    ~1m
             … and 15 more
    [1/40] 19 running · 20 waiting · 0:50 · ~1m left
    ▮
    "#);
    for height in 1..40 {
        let mut show = Show::new(80, height, OutputMode::Failed);
        show.events(&run, 0..run.events.len());
        let first = show.text();
        show.tick(50_000);
        assert_eq!(show.text(), first, "at {height} rows");
        assert_eq!(first.matches("built").count(), 1, "{first}");
    }
}

#[test]
fn a_terminal_that_shrinks_keeps_the_lines_that_stay() {
    let run = morning();
    let mut show = Show::new(80, 24, OutputMode::Failed);
    show.events(&run, 0..5);
    // The terminal wraps what stands there; the region below the lines that stay took more rows from then on.
    show.terminal = Terminal::new(30, 24);
    show.terminal.write(
        "line that stays\n         run    orders  3s    \n ~40s\n         wait   split   for or\nders\n[1/5] 1 running · 3 waiting · \n0:03 · ~1m left\n",
    );
    show.size.set((30, 24));
    show.tick(4_000);
    assert_snapshot!(show.text(), @r#"
    line that stays
      run    orders  3.9s ~40s
      wait   split for orders
    [1/5] 1 running · 3 waiting …
    ▮
    "#);
}

#[test]
fn streamed_output_stands_above() {
    let run = morning();
    let mut show = Show::new(60, 24, OutputMode::Stream);
    show.events(&run, 0..3).output("orders", b"reading\nhalf a").output("rates", b"\tok\x1b[2J\n").tick(500);
    assert_snapshot!(show.text(), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60
      steps · -j4
    orders | reading
    rates  |        ok
             run    orders  0.4s   ~40s
             run    rates   0.4s   ~3s
             wait   split   for orders
    [0/5] 2 running · 3 waiting · 0:00 · ~1m left
    ▮
    "#);
    let flood = b"x\n".repeat(40_000);
    show.output("orders", &flood);
    assert!(show.text().ends_with(" left\n▮"), "a flood does not wait");
    assert_eq!(show.text().matches("[0/5]").count(), 1);
}

#[test]
fn an_echoed_key_does_not_stay() {
    let run = every_ending();
    let mut show = Show::new(80, 24, OutputMode::Failed);
    show.events(&run, 0..12);
    show.terminal.write("^C");
    show.events(&run, 12..13);
    assert!(!show.text().contains("^C"), "{}", show.text());
}

#[test]
fn a_run_that_is_stopping_says_so() {
    let mut run = many();
    run.stopping(55_000, "step_3 failed");
    let mut show = Show::new(80, 8, OutputMode::Failed);
    show.events(&run, 0..run.events.len());
    assert_snapshot!(show.text(), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 40 of 40 steps · -j20
    02:00:50 built  step_1   50s
    02:00:55 stop   step_3 failed: nothing more starts, waiting for 19 steps
             run    step_2   54s    ~1m
             run    step_3   54s    ~1m
             … and 17 more
    [1/40] 19 running · stopping · 0:55 · ~5s left
    ▮
    "#);
    run.finish(60_000, JobState::Failed, Some("step_3: exit 1"));
    show.events(&run, run.events.len() - 1..run.events.len());
    assert!(!show.text().contains("running"), "{}", show.text());
}

#[test]
fn events_that_come_together_are_drawn_together() {
    let ids: Vec<String> = (0..500).map(|i| format!("s{i}")).collect();
    let mut run = Sample::new(started(ids.iter().map(|id| planned(id, None)).collect(), 0));
    for (i, id) in (0..).zip(&ids) {
        run.start(i / 10, id, "x");
        run.end(i / 10, id, Outcome::Built, None);
    }
    let mut show = Show::new(80, 24, OutputMode::Failed);
    let mut frames = 0;
    for event in &run.events {
        show.view.apply(event);
        show.live.event(&show.view, event).unwrap();
        frames += u32::from(!show.out.take().is_empty());
    }
    assert_eq!(frames, 1, "50 ms");
    show.tick(100);
    assert!(show.text().contains("built  s499"), "{}", show.text());
}

#[test]
fn what_waits_for_many_names_a_few() {
    let mut steps: Vec<_> = ["a", "b", "c", "d", "e"].map(|id| planned(id, None)).into();
    steps.push(crate::event::PlannedStep { after: vec![0, 1, 2, 3, 4], ..planned("all", None) });
    steps.push(crate::event::PlannedStep { after: vec![5], ..planned("later", None) });
    let mut started = started(steps, 0);
    started.schedule = crate::base::job::Schedule::Eager;
    let mut run = Sample::new(started);
    for id in ["a", "b", "c", "d"] {
        run.start(10, id, "x");
    }
    let mut show = Show::new(80, 24, OutputMode::Failed);
    show.events(&run, 0..run.events.len()).tick(1_000);
    assert_snapshot!(show.text(), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 7 of 7 steps · -j4
             run    a      0.9s
             run    b      0.9s
             run    c      0.9s
             run    d      0.9s
             wait   all    for a, b, c and 1 more
    [0/7] 4 running · 3 waiting · 0:01
    ▮
    "#);
}

#[test]
fn what_puts_outputs_in_place_is_not_running_and_a_second_ctrl_c_is_told_of() {
    let mut run = many();
    run.publish(54_000, "step_2");
    run.stopping(55_000, "Ctrl-C");
    let mut show = Show::new(100, 8, OutputMode::Failed);
    show.events(&run, 0..run.events.len());
    let status = "[1/40] 18 running · 1 saving · stopping · 0:55 · Ctrl-C again ends them now\n";
    assert!(show.text().contains(status), "{}", show.text());
    // A command that has ended waits until the outputs of others can be flushed with its own.
    for i in 21..=40 {
        run.start(55_001, &format!("step_{i}"), "x");
    }
    show.events(&run, run.events.len() - 20..run.events.len());
    assert!(show.text().contains("[1/40] 20 running · 19 saving · "), "{}", show.text());
}
