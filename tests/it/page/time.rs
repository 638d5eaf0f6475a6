//! The steps of a job in time: what waits is drawn apart from what runs, and attempts before the last one are seen.

use super::driver::Browser;
use super::sign_in;
use crate::serve::ask::{go, up};
use crate::serve::{Server, orders};

/// The parts of a step's bar: what they are, where they begin, how long they are, and whether they go on.
fn parts(browser: &Browser, step: &str) -> Vec<(String, f64, f64, bool)> {
    let script = format!(
        "return [...document.querySelectorAll('#row-{step} svg.bar rect')].map((rect) => [rect.getAttribute('class'), Number(rect.getAttribute('x')), Number(rect.getAttribute('width')), 'since' in rect.dataset])"
    );
    let parts = browser.script(&script);
    let part = |part: &serde_json::Value| {
        let number = |i: usize| part[i].as_f64().unwrap();
        (part[0].as_str().unwrap().to_owned(), number(1), number(2), part[3].as_bool().unwrap())
    };
    parts.as_array().unwrap().iter().map(part).collect()
}

fn kinds(browser: &Browser, step: &str) -> Vec<String> {
    parts(browser, step).into_iter().map(|(kind, ..)| kind).collect()
}

/// How a part of a bar looks: its colour, and how high it is on the screen.
fn looks(browser: &Browser, selector: &str) -> (String, f64) {
    let fill = browser.text(&format!("getComputedStyle(document.querySelector('{selector}')).fill"));
    let height = browser
        .script(&format!("return document.querySelector('{selector}').getBoundingClientRect().height"))
        .as_f64()
        .unwrap();
    (fill, height)
}

#[test]
fn a_step_that_waits_for_a_place_is_seen_to_wait() {
    let project = orders();
    let server = Server::start(&project, &["--max-activities", "1", "--max-jobs", "2"]);
    let browser = Browser::start();
    let first = server.build("gated");
    up(&project.path("gated.up"));
    let second = server.build("held");
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{second}"));
    browser.until_shown("#summary .pill", "running");
    browser.until_shown("#row-held .state", "waiting, ready");
    assert_eq!(browser.text("document.querySelector('#row-held').className"), "waiting");
    assert_eq!(browser.text("document.querySelector('#step-held').getAttribute('class')"), "step waiting");
    assert_eq!(browser.shown("#row-held .number"), "–");
    assert_eq!(browser.text("document.querySelector('#chip-running')"), "null");
    let waits = parts(&browser, "held");
    assert!(matches!(waits.as_slice(), [(kind, _, _, true)] if kind == "wait"), "{waits:?}");
    // It grows while one looks.
    browser.until(&format!(
        "Number(document.querySelector('#row-held rect.wait').getAttribute('width')) > {}",
        waits[0].2
    ));
    let (wait, thin) = looks(&browser, "#row-held rect.wait");
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&first), "DONE");
    up(&project.path("held.up"));
    browser.until_shown("#row-held .state", "running");
    browser.until("document.querySelector('#step-held').getAttribute('class') === 'step running'");
    let both = parts(&browser, "held");
    assert!(
        matches!(both.as_slice(), [(wait, _, _, false), (run, _, _, true)] if wait == "wait" && run == "run"),
        "{both:?}"
    );
    // One begins where the other ends.
    assert!((both[0].1 + both[0].2 - both[1].1).abs() < 1.0, "{both:?}");
    let (run, thick) = looks(&browser, "#row-held rect.run");
    assert!(wait != run && thin * 2.0 < thick, "{wait} {thin}, {run} {thick}");
    assert!(browser.shown(".legend").contains("ready, waiting"), "{}", browser.shown(".legend"));
    go(&project.path("held.go"));
    browser.until_shown("#summary .pill", "done");
    browser.until_shown("#row-held .state", "built");
    assert_eq!(kinds(&browser, "held"), ["wait", "run"]);
    let words = browser.text("document.querySelector('#row-held .time .unseen').textContent");
    assert!(words.starts_with("waited ") && words.contains(", ran "), "{words}");
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}

#[test]
fn a_job_that_waits_for_another_says_so_and_none_of_its_steps_runs() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    let first = server.build("gated");
    up(&project.path("gated.up"));
    let second = server.build("gated");
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{second}"));
    browser.until_shown("#summary .pill", "waiting");
    let why = browser.shown("#summary .why");
    assert!(why.contains(&first) && why.contains("gated"), "{why}");
    assert_eq!(browser.text("document.querySelectorAll('svg.bar').length"), "0");
    assert_eq!(browser.text("document.querySelector('#step-gated').getAttribute('class')"), "step waiting");
    go(&project.path("gated.go"));
    browser.until_shown("#summary .pill", "done");
    assert_eq!(server.wait(&first), "DONE");
}

/// The parts of the bar of `flaky` from its first attempt on: it may have waited before.
fn attempts(browser: &Browser) -> Vec<String> {
    kinds(browser, "flaky")
        .into_iter()
        .enumerate()
        .filter(|(i, kind)| *i > 0 || kind != "wait")
        .map(|(_, kind)| kind)
        .collect()
}

#[test]
fn attempts_before_the_last_one_are_drawn() {
    let project = orders();
    let text = project.read("pipeline.toml");
    let flaky = "\n[dataset.flaky]\npath = \"build/flaky\"\nretry = { max = 2, delay = \"1s\" }\n\
        run = \"echo try >>tries; n=$(wc -l <tries); echo attempt $n; [ $n -ge 3 ] || exit 75; echo up >held.up; cat held.go >{{ output }}\"\n";
    project.write(
        "pipeline.toml",
        text.replace("[dataset.held]", "[dataset.unused]").replace("held.up; cat held.go", "unused") + flaky,
    );
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    let job = server.build("flaky");
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{job}"));
    up(&project.path("held.up"));
    browser.until_shown("#row-flaky .state", "running · attempt 3");
    assert_eq!(attempts(&browser), ["tried", "wait", "tried", "wait", "run"]);
    let all = parts(&browser, "flaky");
    assert!(all.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{all:?}");
    let (last, before) = all.split_last().unwrap();
    assert!(last.3 && before.iter().all(|part| !part.3), "only the last goes on: {all:?}");
    assert_eq!(
        browser.text("document.querySelector('#row-flaky rect.tried title').textContent.startsWith('tried for ')"),
        "true"
    );
    // Not by the colour alone: it has an edge.
    assert_ne!(looks(&browser, "#row-flaky rect.tried").0, looks(&browser, "#row-flaky rect.run").0);
    let edge = |kind: &str| {
        browser.text(&format!("getComputedStyle(document.querySelector('#row-flaky rect.{kind}')).stroke"))
    };
    assert!(edge("tried") != "none" && edge("run") == "none", "{} {}", edge("tried"), edge("run"));
    browser.go(&browser.text("location.href"));
    assert!(browser.shown(".legend").contains("an attempt before"), "{}", browser.shown(".legend"));
    assert_eq!(attempts(&browser), ["tried", "wait", "tried", "wait", "run"]);
    super::looks::in_all_sizes(&browser, "job-attempts");
    go(&project.path("held.go"));
    browser.until_shown("#summary .pill", "done");
    browser.until_shown("#row-flaky .state", "built · attempt 3");
    let took = browser.shown("#row-flaky td.number");
    assert!(took.contains(", ") && took.ends_with(" in all"), "with the attempts before: {took}");
    assert_eq!(attempts(&browser), ["tried", "wait", "tried", "wait", "run"]);
    // Each attempt has its log.
    browser.until_shown("#log-text", "attempt 1\nattempt 2\nattempt 3");
}
