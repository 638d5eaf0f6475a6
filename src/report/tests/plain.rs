//! The lines of a run.

use std::io;

use insta::assert_snapshot;

use super::sample::{Sample, Shared, every_ending, failure, morning, planned, retries, started, style};
use crate::base::job::JobState;
use crate::event::Outcome;
use crate::report::api::Reporter;
use crate::report::jsonl::JsonLines;
use crate::report::live::Size;
use crate::report::outlet::Out;
use crate::report::plain::Plain;
use crate::report::style::{OutputMode, Style};
use crate::report::summary;
use crate::report::{Setup, reporter};
use crate::view::RunView;

fn shown(run: &Sample, style: Style, output: OutputMode, printed: &[(usize, &str, &[u8])]) -> String {
    let out = Shared::default();
    run.tell(&mut Plain::new(out.clone(), style, output, ".kiln"), printed);
    out.take()
}

fn plainly(run: &Sample) -> String {
    shown(run, style(false, None), OutputMode::Failed, &[])
}

#[test]
fn a_run_reads_as_the_product_page_says() {
    assert_snapshot!(plainly(&morning()), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    02:00:03 same   rates   3s   content unchanged
    02:00:40 built  orders  40s
    02:00:48 built  charts  8s
    02:01:11 FAILED split   31s  exit 3
      $ python3 recipes/split.py build/orders.csv build/train.csv build/test.csv --seed 20261123 --share 0.8 --by customer_…
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
    "#);
}

#[test]
fn colours_stand_on_words_only() {
    let text = shown(&morning(), style(true, None), OutputMode::Failed, &[]);
    let visible = text.replace('\u{1b}', "^");
    assert_snapshot!(visible, @r#"
    ^[2m02:00:00^[0m ^[1mbuild_orders_2026-11-23T02-00-00.123^[0m · 5 of 60 steps · -j4
    ^[2m02:00:03^[0m ^[36msame^[0m   rates   3s   content unchanged
    ^[2m02:00:40^[0m ^[32mbuilt^[0m  orders  40s
    ^[2m02:00:48^[0m ^[32mbuilt^[0m  charts  8s
    ^[2m02:01:11^[0m ^[1m^[31mFAILED^[0m split   31s  exit 3
    ^[2m  $ ^[0mpython3 recipes/split.py build/orders.csv build/train.csv build/test.csv --seed 20261123 --share 0.8 --by customer_…
    ^[2m  | ^[0mTraceback (most recent call last):
    ^[2m  | ^[0mKeyError: 'customer_id'
    ^[2m  log    ^[0m.kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
    ^[2m02:01:11^[0m ^[33mskip^[0m   report       split failed
    ^[2mslowest^[0m  orders 40s · split 31s · charts 8s · rates 3s
    ^[1m^[31mFAILED^[0m ^[1msplit^[0m  pipelines/orders.toml:41  exit 3
    ^[2m  kept   ^[0mtrain, test of 22 Nov 02:01
    ^[2m  log    ^[0m.kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
    ^[2m  again  ^[0mkiln run split

    ^[32m2 built^[0m · ^[36m1 unchanged^[0m · ^[1m^[31m1 failed^[0m · ^[33m1 skipped^[0m · 55 up to date · 1m11s
    ^[2magain^[0m, with what was skipped: kiln run --failed
    "#);
}

#[test]
fn every_ending_has_its_word() {
    assert_snapshot!(plainly(&every_ending()), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 8 of 11 steps · -j4
    02:00:00 built  built    0.4s
    02:00:01 same   same     1.5s  content unchanged
    02:00:01        maybe          up to date
    02:00:02 FAILED failed   2s    output build/failed.csv is missing
      $ make failed
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/failed.1.log
    02:00:02 skip   below          failed failed
    02:00:09 stop   Ctrl-C: nothing more starts, waiting for 1 step
    02:00:10 stop   stopped  10s
    02:00:10 skip   never          Ctrl-C
    02:00:10 skip   nothing        Ctrl-C
    slowest  stopped 10s · failed 2s · same 1.5s · built 0.4s
    FAILED failed  pipelines/orders.toml:41  output build/failed.csv is missing
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/failed.1.log
      again  kiln run failed

    1 built · 1 unchanged · 1 failed · 1 stopped · 3 skipped · 4 up to date · 10s

    aborted: Ctrl-C; `kiln run built never` goes on from here
    "#);
}

#[test]
fn a_narrow_place_cuts_the_command_and_no_path() {
    assert_snapshot!(summary::text(&morning().view(), &style(false, Some(40)), ".kiln"), @r#"
    FAILED split  pipelines/orders.toml:41
      exit 3
      $ python3 recipes/split.py build/orde…
      | Traceback (most recent call last):
      | KeyError: 'customer_id'
      kept   train, test of 22 Nov 02:01
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
      again  kiln run split

    2 built · 1 unchanged · 1 failed · 1
      skipped · 55 up to date · 1m11s
    again, with what was skipped: kiln run --failed build_orders_2026-11-23T02-00-00.123
    "#);
    assert_snapshot!(summary::text(&morning().view(), &style(false, Some(80)), "/var/kiln/"), @r#"
    FAILED split  pipelines/orders.toml:41  exit 3
      $ python3 recipes/split.py build/orders.csv build/train.csv build/test.csv --…
      | Traceback (most recent call last):
      | KeyError: 'customer_id'
      kept   train, test of 22 Nov 02:01
      log    /var/kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
      again  kiln run split

    2 built · 1 unchanged · 1 failed · 1 skipped · 55 up to date · 1m11s
    again, with what was skipped: kiln run --failed build_orders_2026-11-23T02-00-00.123
    "#);
}

#[test]
fn nothing_to_do_is_said() {
    let mut run = Sample::new(started(Vec::new(), 60));
    run.finish(120, JobState::Done, None);
    assert_snapshot!(plainly(&run), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 0 of 60 steps · -j4
    nothing to do · 60 up to date · 0.1s
    "#);
}

#[test]
fn a_run_that_only_looked_is_no_empty_line() {
    let mut run = Sample::new(started(vec![planned("charts", None)], 0));
    run.current(40, "charts");
    run.finish(50, JobState::Done, None);
    assert_snapshot!(plainly(&run), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 1 of 1 step · -j4
    02:00:00        charts       up to date
    nothing to do · 1 up to date · 50ms
    "#);
}

#[test]
fn a_run_that_fails_by_itself_says_why() {
    let mut run = Sample::new(started(vec![planned("charts", None)], 0));
    run.stopping(10, "the disk is full");
    run.skip(20, "charts", None);
    run.finish(50, JobState::Failed, Some("the disk is full"));
    assert_snapshot!(plainly(&run), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 1 of 1 step · -j4
    02:00:00 stop   the disk is full: nothing more starts
    02:00:00 skip   charts       the disk is full
    1 skipped · 50ms

    FAILED the disk is full
    "#);
}

#[test]
fn failures_are_told_in_the_order_in_which_they_came() {
    let steps = ["a", "b", "c"].map(|id| planned(id, None)).to_vec();
    let mut run = Sample::new(started(steps, 0));
    for id in ["a", "b", "c"] {
        run.start(0, id, "x");
    }
    run.end(3_000, "c", Outcome::Failed, Some(failure("exit 1", &[], false)));
    run.end(4_000, "a", Outcome::Failed, Some(failure("exit 2", &[], false)));
    run.end(4_500, "b", Outcome::Failed, Some(failure("signal 9", &[], false)));
    run.finish(5_000, JobState::Failed, None);
    let text = plainly(&run);
    let heads: Vec<_> = text.lines().filter(|line| line.starts_with("FAILED")).collect();
    assert_eq!(
        heads,
        [
            "FAILED c  pipelines/orders.toml:41  exit 1",
            "FAILED a  pipelines/orders.toml:41  exit 2",
            "FAILED b  pipelines/orders.toml:41  signal 9",
        ]
    );
}

#[test]
fn attempts_are_counted_and_flaky_steps_named() {
    assert_snapshot!(plainly(&retries()), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 3 of 3 steps · -j4
    02:00:00 retry  rates   0.4s  exit 7, attempt 1/3
    02:00:00 retry  rates   0.4s  timed out after 0.4s, attempt 2/3, again in 5.1s
    02:00:00 retry  orders  0.9s  exit 1, attempt 1/3, again in 1s
    02:00:03 built  orders  1.1s  flaky: attempt 2/3, 3s in all
    02:00:06 FAILED rates   0.1s  exit 7, attempt 3/3, 6s in all
      $ make rates
      | no route to host
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/rates.3.log
    02:00:06 stop   rates failed: nothing more starts, waiting for 1 step
    02:00:07 retry  split   7s    exit 2, attempt 1/3, again in 1s
    02:00:07 FAILED split   7s    exit 2
      $ make split
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
    slowest  split 7s · rates 6s with 3 attempts · orders 3s with 2 attempts
    flaky orders  attempt 2/3, 3s in all, before: exit 1  .kiln/logs/build_orders_2026-11-23T02-00-00.123/orders.1.log

    FAILED rates  pipelines/orders.toml:41  exit 7, attempt 3/3, 6s in all
      kept   rates of 22 Nov 02:01
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/rates.3.log
      again  kiln run rates

    FAILED split  pipelines/orders.toml:41  exit 2
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
      again  kiln run split

    1 built (1 flaky) · 2 failed · 7s
    "#);
}

#[test]
fn long_names_and_long_times_keep_the_columns_of_others() {
    let long = "a_name_of_more_than_forty_letters_which_is_rather_many";
    let mut run = Sample::new(started(vec![planned(long, Some(7_500_000)), planned("b", None)], 0));
    run.start(0, long, "x");
    run.start(0, "b", "x");
    run.end(1_000, "b", Outcome::Same, None);
    run.end(7_400_000, long, Outcome::Same, None);
    assert_snapshot!(plainly(&run), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 2 of 2 steps · -j4
    02:00:01 same   b                                     1s     content unchanged
    04:03:20 same   a_name_of_more_than_forty_letters_which_is_rather_many  2h03m  content unchanged
    "#);
}

const PRINTED: [(usize, &str, &[u8]); 6] = [
    (3, "orders", b"reading\r\n1 000 ro"),
    (3, "rates", b"\r 10%\r100%\r\n"),
    (4, "orders", b"ws\n"),
    (5, "orders", b"no end"),
    (9, "charts", b"\x1b[32mok\x1b[0m\tdone\n"),
    (9, "split", b"KeyError: 'customer_id'\n"),
];

#[test]
fn streamed_lines_are_whole_and_named() {
    assert_snapshot!(shown(&morning(), style(false, None), OutputMode::Stream, &PRINTED), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    orders | reading
    rates  | 100%
    orders | 1 000 rows
    02:00:03 same   rates   3s   content unchanged
    orders | no end
    02:00:40 built  orders  40s
    charts | ok	done
    split  | KeyError: 'customer_id'
    02:00:48 built  charts  8s
    02:01:11 FAILED split   31s  exit 3
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
    02:01:11 skip   report       split failed
    slowest  orders 40s · split 31s · charts 8s · rates 3s
    FAILED split  pipelines/orders.toml:41  exit 3
      kept   train, test of 22 Nov 02:01
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
      again  kiln run split

    2 built · 1 unchanged · 1 failed · 1 skipped · 55 up to date · 1m11s
    again, with what was skipped: kiln run --failed
    "#);
}

#[test]
fn streamed_lines_wait_for_the_beginning_of_their_step() {
    let mut run = Sample::new(started(vec![planned("orders", None), planned("x", None)], 0));
    run.start(0, "orders", "true");
    run.end(9_000, "orders", Outcome::Built, None);
    run.finish(9_000, JobState::Done, None);
    // However much came before it.
    let line = "x".repeat(1_023) + "\n";
    let much = line.repeat(16 << 10);
    let printed: [(usize, &str, &[u8]); 2] = [(0, "orders", much.as_bytes()), (2, "orders", b"last\n")];
    let text = shown(&run, style(false, None), OutputMode::Stream, &printed);
    assert_eq!(text.matches(&line).count(), 8 << 10);
    assert!(text.contains("orders | … cut after 8 MiB\norders | last\n"), "{}", &text[text.len() - 300..]);
    let printed: [(usize, &str, &[u8]); 3] = [(0, "orders", b"first\nsec"), (2, "orders", b"ond\n"), (2, "x", b"lost")];
    assert_snapshot!(shown(&run, style(false, None), OutputMode::Stream, &printed), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 2 of 2 steps · -j4
    orders | first
    orders | second
    02:00:09 built  orders  9s
    x      | lost
    1 built · 9s
    "#);
}

#[test]
fn grouped_lines_follow_the_end_of_their_step() {
    assert_snapshot!(shown(&morning(), style(false, None), OutputMode::Grouped, &PRINTED), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 60 steps · -j4
    02:00:03 same   rates   3s   content unchanged
      | 100%
    02:00:40 built  orders  40s
      | reading
      | 1 000 rows
      | no end
    02:00:48 built  charts  8s
      | ok	done
    02:01:11 FAILED split   31s  exit 3
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
    "#);
}

#[test]
fn a_group_that_was_cut_says_where_all_of_it_is() {
    let mut run = Sample::new(started(vec![planned("a", None)], 0));
    run.start(0, "a", "yes");
    run.end(5_000, "a", Outcome::Built, None);
    let flood = [b"y".repeat(1023), b"\n".to_vec()].concat().repeat(9 << 10);
    let text = shown(&run, style(false, None), OutputMode::Grouped, &[(2, "a", &flood)]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2 + (8 << 10) + 1);
    let last = "  | … cut after 8 MiB; all of it is in .kiln/logs/build_orders_2026-11-23T02-00-00.123/a.1.log";
    assert_eq!(lines.last(), Some(&last));
}

#[test]
fn any_beginning_and_any_end_of_a_run_can_be_shown() {
    for run in [morning(), every_ending()] {
        for cut in 0..=run.events.len() {
            let (mut before, mut after) = (run.clone(), run.clone());
            before.events.truncate(cut);
            after.events.drain(..cut);
            for part in [before, after] {
                for mode in [OutputMode::Failed, OutputMode::Grouped, OutputMode::Stream] {
                    shown(&part, style(true, Some(1)), mode, &PRINTED);
                }
                let text = summary::text(&part.view(), &style(false, Some(0)), "");
                assert!(text.len() > 3, "{text}");
            }
        }
    }
}

#[test]
fn each_event_is_one_line_of_json() {
    let out = Shared::default();
    let run = every_ending();
    run.tell(&mut JsonLines::new(out.clone()), &[]);
    let text = out.take();
    let read: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, run.events);
    let view = RunView::fold(&read);
    assert_eq!(view.state(), JobState::Aborted);
}

/// A file on a full disk.
struct Full;

impl Out for Full {}

impl io::Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_written_is_told() {
    for has_terminal in [true, false] {
        let setup = Setup {
            out: Box::new(Full),
            style: style(false, None),
            output: OutputMode::Failed,
            state: String::new(),
            terminal: has_terminal.then(|| -> Size { Box::new(|| (80, 24)) }),
            diagnostics: None,
        };
        let run = morning();
        let told = reporter(setup).event(&run.view(), &run.events[4]);
        assert_eq!(told.unwrap_err().kind(), io::ErrorKind::StorageFull, "{has_terminal}");
    }
}

#[test]
fn many_steps_that_are_skipped_at_once_are_a_number() {
    let ids: Vec<String> = (0..40).map(|i| format!("s{i}")).collect();
    let mut run = Sample::new(started(ids.iter().map(|id| planned(id, None)).collect(), 0));
    run.start(0, "s0", "x");
    run.start(0, "s1", "x");
    run.end(5, "s1", Outcome::Failed, Some(failure("exit 1", &[], false)));
    run.skip(5, "s2", Some("s1"));
    run.stopping(10, "Ctrl-C");
    run.end(15, "s0", Outcome::Stopped, None);
    ids[3..30].iter().for_each(|id| run.skip(20, id, None));
    ids[30..].iter().for_each(|id| run.skip(20, id, Some("s0")));
    run.finish(30, JobState::Aborted, Some("Ctrl-C"));
    let out = Shared::default();
    let (mut view, mut plain) =
        (RunView::default(), Plain::new(out.clone(), style(false, None), OutputMode::Failed, ""));
    for event in &run.events {
        view.apply(event);
        plain.event(&view, event).unwrap();
    }
    let told = out.take();
    assert!(told.contains("02:00:00 skip   s2        s1 failed\n02:00:00 stop   Ctrl-C"), "{told}");
    assert!(told.contains("02:00:00 skip   37 steps   Ctrl-C\nFAILED s1"), "{told}");
    assert_eq!(told.matches(" skip ").count(), 2, "{told}");
}

#[test]
fn what_failed_is_told_with_its_last_lines_when_it_fails() {
    let mut run = Sample::new(started(vec![planned("a", None), planned("b", None)], 0));
    run.start(0, "a", "make a");
    run.start(0, "b", "make b");
    let lines: Vec<String> = (0..12).map(|i| format!("line {i}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    run.end(1_000, "a", Outcome::Failed, Some(failure("exit 3", &lines, false)));
    run.end(9_000, "b", Outcome::Built, None);
    run.finish(9_000, JobState::Failed, None);
    assert_snapshot!(plainly(&run), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 2 of 2 steps · -j4
    02:00:01 FAILED a  1s   exit 3
      $ make a
      | line 2
      | line 3
      | line 4
      | line 5
      | line 6
      | line 7
      | line 8
      | line 9
      | line 10
      | line 11
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/a.1.log
    02:00:09 built  b  9s
    slowest  b 9s · a 1s
    FAILED a  pipelines/orders.toml:41  exit 3
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/a.1.log
      again  kiln run a

    1 built · 1 failed · 9s
    "#);
    // Where lines were shown as they came, they are not told again.
    let printed: &[(usize, &str, &[u8])] = &[(2, "a", b"line 11\n")];
    for output in [OutputMode::Stream, OutputMode::Grouped] {
        let text = shown(&run, style(false, None), output, printed);
        assert_eq!(text.matches("line 11").count(), 1, "{text}");
        assert_eq!(text.matches("/a.1.log").count(), 2, "{text}");
    }
}
