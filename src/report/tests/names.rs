//! Long names on a terminal.

use insta::assert_snapshot;

use super::live::Show;
use super::sample::{Sample, planned, started};
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
        assert!(line.contains("…") && line.contains("_fr  3s     ~5s"), "{text}");
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
    02:00:01 built  stg_sa…north_history_dai…  1s
             run    stg_sa…south_history_dai…  1s
    [1/3] 1 running · 1 waiting · 0:01
    ▮
    "#);
    assert_snapshot!(show(200), @r#"
    02:00:00 build_orders_2026-11-23T02-00-00.123 · 3 of 3 steps · -j4
    02:00:01 built  stg_salesforce_opportunity_north_history_daily    1s
             run    stg_salesforce_opportunity_south_history_daily    1s
    [1/3] 1 running · 1 waiting · 0:01
    ▮
    "#);
}
