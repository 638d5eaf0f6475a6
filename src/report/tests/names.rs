//! Long names on a terminal.

use insta::assert_snapshot;

use super::live::Show;
use super::sample::{Sample, failure, planned, started};
use crate::event::Outcome;
use crate::report::style::OutputMode;

#[test]
fn long_names_leave_room_for_the_times() {
    let name = |end: &str| format!("{}_{end}", "a_very_long_name_of_a_dataset".repeat(3));
    let steps = vec![
        planned(&name("fr"), Some(5_000)),
        crate::event::PlannedStep { after: vec![0], ..planned(&name("de"), None) },
    ];
    let mut run = Sample::new(started(steps, 0));
    run.start(0, &name("fr"), "true");
    for width in [80, 50] {
        let mut show = Show::new(width, 24, OutputMode::Failed);
        let text = show.events(&run, 0..2).tick(3_000).text();
        let line = text.lines().find(|line| line.contains("run ")).unwrap();
        assert!(line.contains("…") && line.contains("_fr  3.0s   ~5s"), "{text}");
        assert!(text.lines().any(|line| line.contains("…") && line.contains("_de  for ")), "{text}");
    }
}

#[test]
fn long_names_have_the_room_there_is_and_stay_different() {
    let names = ["north", "south", "central"].map(|side| format!("stg_salesforce_opportunity_{side}_history_daily"));
    let run = || {
        let mut run = Sample::new(started(names.iter().map(|name| planned(name, None)).collect(), 0));
        run.start(0, &names[0], "a");
        run.start(0, &names[1], "b");
        run.end(1_000, &names[0], Outcome::Built, None);
        run
    };
    let show = |width| Show::new(width, 24, OutputMode::Failed).events(&run(), 0..4).text();
    assert_snapshot!(show(80), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 3 of 3 steps · -j4
    02:00:01 built  stg_salesforce_opportunity_north_history_daily  1s
             run    stg_salesforce_op…outh_history_daily  1.0s
    [1/3] 1 running · 1 waiting · 0:01
    ▮
    "#);
    assert_snapshot!(show(200), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 3 of 3 steps · -j4
    02:00:01 built  stg_salesforce_opportunity_north_history_daily    1s
             run    stg_salesforce_opportunity_south_history_daily    1.0s
    [1/3] 1 running · 1 waiting · 0:01
    ▮
    "#);
}

#[test]
fn a_line_that_stays_has_the_whole_name_where_there_is_room() {
    let names: Vec<String> = (0..4).map(|i| format!("customer_orders_2026_{i:02}_eu")).collect();
    let longest = format!("{}_of_the_warehouse", names[0]);
    let run = || {
        let mut steps: Vec<_> = names.iter().map(|name| planned(name, None)).collect();
        steps.push(planned(&longest, None));
        let mut run = Sample::new(started(steps, 0));
        for name in names.iter().chain([&longest]) {
            run.start(0, name, "a");
        }
        run.end(600, &names[0], Outcome::Same, None);
        run.end(600, &names[1], Outcome::Built, None);
        run.end(700, &names[2], Outcome::Failed, Some(failure("exit 1", &["boom"], false)));
        run.end(800, &longest, Outcome::Built, None);
        run
    };
    let show = |width| Show::new(width, 24, OutputMode::Failed).events(&run(), 0..10).text();
    assert_snapshot!(show(80), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 5 of 5 steps · -j4
    02:00:00 same   customer_orders_2026_00_eu            0.6s  content unchanged
    02:00:00 built  customer_orders_2026_01_eu            0.6s
    02:00:00 FAILED customer_orders_2026_02_eu            0.7s  exit 1
      $ a
      | boom
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/customer_orders_2026_02
    _eu.1.log
    02:00:00 built  customer_orders_2026_00_eu_of_the_warehouse  0.8s
             run    customer_orders_2026_03_eu            0.8s
    [4/5] 1 running · 1 failed · 0:00
    ▮
    "#);
    assert_snapshot!(show(40), @r#"
    02:00:00
      build_orders_2026-11-23T02-00-00.123 ·
      5 of 5 steps · -j4
    02:00:00 same   customer…026_00_eu  0.6s
                    content unchanged
    02:00:00 built  customer…026_01_eu  0.6s
    02:00:00 FAILED customer…026_02_eu  0.7s
                    exit 1
      $ a
      | boom
      log    .kiln/logs/build_orders_2026-11
    -23T02-00-00.123/customer_orders_2026_02
    _eu.1.log
    02:00:00 built  customer…warehouse  0.8s
      run    cust…3_eu  0.8s
    [4/5] 1 running · 1 failed · 0:00
    ▮
    "#);
}

#[test]
fn long_names_that_are_waited_for_lack_their_middles() {
    let long = |end: &str| format!("a_name_that_is_much_longer_than_others_{end}");
    let mut steps: Vec<_> = ["one", "two"].map(|end| planned(&long(end), None)).into();
    steps.push(crate::event::PlannedStep { after: vec![0, 1], ..planned("all", None) });
    let mut started = started(steps, 0);
    started.schedule = crate::base::job::Schedule::Eager;
    let mut run = Sample::new(started);
    ["one", "two"].iter().for_each(|end| run.start(10, &long(end), "x"));
    let mut show = Show::new(120, 24, OutputMode::Failed);
    show.events(&run, 0..run.events.len()).tick(1_000);
    let text = show.text();
    assert!(text.contains("for a_name_that…n_others_one, a_name_that…n_others_two\n"), "{text}");
}
