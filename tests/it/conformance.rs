//! What every engine has to keep, as one set of tests for all of them: the one that builds here, the one on DSS, and the
//! scripted one. The record of what really went on is that of the recipes, of the server, and of the script.

mod scripted;
mod stands;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::conformance::scripted::Scripts;
use crate::conformance::stands::{Does, Dss, Here, Ran, Stand, Step};

fn stands() -> Vec<Box<dyn Stand>> {
    vec![Box::new(Here), Box::new(Dss), Box::new(Scripts)]
}

/// A step `name < inputs`.
fn step(text: &'static str, does: Does) -> Step {
    let (name, inputs) = text.split_once('<').unwrap_or((text, ""));
    Step { name: name.trim(), inputs: inputs.split_whitespace().collect(), does }
}

fn of<'a>(ran: &'a Ran, kind: &str) -> Vec<&'a Value> {
    ran.events.iter().filter(|event| event["type"] == kind).collect()
}

/// The steps of these events, in order, each with how it ended.
fn told(ran: &Ran, kind: &str) -> Vec<String> {
    let tell = |event: &&Value| {
        let outcome = event["outcome"].as_str().map(|outcome| format!(" {outcome}")).unwrap_or_default();
        format!("{}{outcome}", event["step"].as_str().unwrap())
    };
    let mut told: Vec<String> = of(ran, kind).iter().map(tell).collect();
    told.sort();
    told
}

fn place(ran: &Ran, kind: &str, step: &str) -> usize {
    ran.events.iter().position(|event| event["type"] == kind && event["step"] == step).unwrap()
}

fn starts(ran: &Ran) -> BTreeMap<&str, usize> {
    ran.starts.iter().map(|(step, starts)| (step.as_str(), *starts)).collect()
}

#[test]
fn each_step_begins_once_and_ends_once() {
    for stand in stands() {
        let steps = [
            step("a", Does::Build),
            step("b < a", Does::Build),
            step("c < a", Does::Build),
            step("d < b c", Does::Build),
        ];
        let ran = stand.run(&steps, 3, &[]);
        let name = stand.name();
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        assert_eq!(starts(&ran), BTreeMap::from([("a", 1), ("b", 1), ("c", 1), ("d", 1)]), "{name}: really");
        assert_eq!(told(&ran, "step_started"), ["a", "b", "c", "d"], "{name}");
        assert_eq!(told(&ran, "step_ended"), ["a built", "b built", "c built", "d built"], "{name}");
        for (first, then) in [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")] {
            assert!(place(&ran, "step_ended", first) < place(&ran, "step_started", then), "{name}: {first}, {then}");
        }
        let ends = of(&ran, "run_ended");
        assert_eq!((ends.len(), ends[0]["state"].as_str()), (1, Some("DONE")), "{name}");
    }
}

#[test]
fn a_failure_is_told_once_and_stops_what_needs_it() {
    for stand in stands() {
        let steps = [step("a", Does::Fail), step("b < a", Does::Build), step("c", Does::Build)];
        let ran = stand.run(&steps, 3, &["--keep-going"]);
        let name = stand.name();
        assert_eq!(ran.code, 1, "{name}: {ran:?}");
        assert_eq!(starts(&ran), BTreeMap::from([("a", 1), ("c", 1)]), "{name}");
        assert_eq!(told(&ran, "step_ended"), ["a failed", "c built"], "{name}");
        assert_eq!(told(&ran, "step_skipped"), ["b"], "{name}");
        assert_eq!(of(&ran, "run_ended")[0]["state"], "FAILED", "{name}");
        let failure = &ran.events[place(&ran, "step_ended", "a")]["failure"];
        assert!(!failure["message"].as_str().unwrap().is_empty(), "{name}: it says why");
    }
}

#[test]
fn what_cannot_even_begin_is_a_failure_of_its_step() {
    for stand in stands() {
        let steps = [step("a", Does::NotBegin), step("b < a", Does::Build), step("c", Does::Build)];
        let ran = stand.run(&steps, 3, &["--keep-going"]);
        let name = stand.name();
        assert_eq!(told(&ran, "step_ended"), ["a failed", "c built"], "{name}: {ran:?}");
        assert_eq!(told(&ran, "step_skipped"), ["b"], "{name}");
    }
}

#[test]
fn what_is_stopped_is_told_as_stopped_and_really_is() {
    for stand in stands() {
        let steps = [step("a", Does::Hang), step("b < a", Does::Build)];
        let ran = stand.run(&steps, 3, &[]);
        let name = stand.name();
        assert_eq!(ran.code, 130, "{name}: {ran:?}");
        assert_eq!(told(&ran, "step_ended"), ["a stopped"], "{name}");
        assert_eq!(told(&ran, "step_skipped"), ["b"], "{name}");
        assert_eq!(of(&ran, "run_ended")[0]["state"], "ABORTED", "{name}");
        assert_eq!((starts(&ran), ran.on), (BTreeMap::from([("a", 1)]), 0), "{name}: nothing goes on");
    }
}

#[test]
fn the_run_after_one_that_was_killed_goes_on_with_what_was_left() {
    for stand in stands() {
        let steps = [step("a", Does::Build), step("b < a", Does::Cut), step("c < b", Does::Build)];
        let ran = stand.run_again(&steps);
        let name = stand.name();
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        let of_b = if stand.outlives() { 1 } else { 2 };
        let expected = BTreeMap::from([("a", 1), ("b", of_b), ("c", 1)]);
        assert_eq!(
            starts(&ran),
            expected,
            "{name}: what was built is not built again, what outlives Kiln is not doubled"
        );
        let ended = told(&ran, "step_ended");
        assert!(ended.ends_with(&["b built".to_owned(), "c built".to_owned()]), "{name}: {ended:?}");
        assert_eq!((ran.most, ran.on), (1, 0), "{name}: no step begins again before what was left of it has ended");
        assert_eq!(of(&ran, "run_ended")[0]["state"], "DONE", "{name}");
    }
}

#[test]
fn no_more_run_at_once_than_may() {
    for stand in stands() {
        let steps = ["a", "b", "c", "d", "e", "f"].map(|name| step(name, Does::Build));
        for jobs in [1, 2] {
            let ran = stand.run(&steps, jobs, &[]);
            assert_eq!((ran.code, ran.starts.len()), (0, 6), "{}: {ran:?}", stand.name());
            assert!(ran.most <= jobs, "{}: {} at once, {jobs} may", stand.name(), ran.most);
        }
    }
}

#[test]
fn what_may_run_at_once_does() {
    for stand in stands() {
        let ran = stand.run(&[step("a", Does::Meet("b")), step("b", Does::Meet("a"))], 2, &[]);
        assert_eq!((ran.code, ran.most), (0, 2), "{}: {ran:?}", stand.name());
    }
}

#[test]
fn what_fails_is_tried_again_as_often_as_it_may_be() {
    for stand in stands() {
        let steps = [step("a", Does::FailOnce), step("b < a", Does::Build)];
        let ran = stand.run(&steps, 3, &[]);
        let name = stand.name();
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        assert_eq!(starts(&ran), BTreeMap::from([("a", 2), ("b", 1)]), "{name}");
        assert_eq!(told(&ran, "step_retrying"), ["a"], "{name}");
        assert_eq!(told(&ran, "step_ended"), ["a built", "b built"], "{name}");
        let flaky: Vec<_> = of(&ran, "step_ended").into_iter().filter(|event| event["flaky"] == true).collect();
        assert_eq!(flaky.len(), 1, "{name}");
    }
}

#[test]
fn where_a_log_cannot_be_kept_nothing_more_starts() {
    for stand in stands() {
        let ran = stand.run(&[step("a", Does::NoLog), step("b", Does::Build)], 1, &["--keep-going"]);
        let name = stand.name();
        assert_eq!(ran.code, 3, "{name}: {ran:?}");
        assert_eq!((told(&ran, "step_skipped"), starts(&ran).get("b")), (vec!["b".to_owned()], None), "{name}");
        let end = of(&ran, "run_ended")[0];
        assert_eq!(end["state"], "FAILED", "{name}");
        assert!(end["why"].as_str().unwrap().contains("/a.1.log: "), "{name}: {end}");
    }
}

#[test]
fn what_a_step_says_is_handed_on() {
    for stand in stands() {
        let ran = stand.run(&[step("a", Does::Build)], 1, &["--output", "stream"]);
        assert!(ran.output.contains(stand.says()), "{}: {ran:?}", stand.name());
    }
}
