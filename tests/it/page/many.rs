//! A pipeline of 1,000 steps.

use std::fmt::Write as _;

use super::driver::Browser;
use super::looks::in_all_sizes;
use super::sign_in;
use crate::serve::Server;
use crate::support::{HEAD, Project};

/// Ten layers of a hundred steps; each reads two of the layer before. One fails.
fn thousand() -> Project {
    let project = Project::empty();
    let mut text = HEAD.replace("name = \"p\"", "name = \"orders\"\n[settings]\nschedule = \"eager\"");
    for layer in 0..10 {
        for i in 0..100 {
            let inputs = match layer {
                0 => String::new(),
                _ => format!("\"n{0}_{i}\", \"n{0}_{1}\"", layer - 1, (i * 7 + 3) % 100),
            };
            let run = if (layer, i) == (8, 42) { "echo no; exit 1" } else { "echo n >{{ output }}" };
            writeln!(
                text,
                "[dataset.n{layer}_{i}]\npath = \"build/n{layer}_{i}\"\ninputs = [{inputs}]\ntags = [\"team{}\"]\nrun = \"{run}\"",
                i % 5
            )
            .unwrap();
        }
    }
    project.write("pipeline.toml", text);
    project
}

/// Whether one of these can be seen whole where a picture stands, without scrolling in it.
fn seen(selector: &str) -> String {
    format!(
        "(() => {{ const room = document.querySelector('.canvas').getBoundingClientRect();
            const whole = (box) => box.left >= room.left && box.right <= room.right && box.top >= room.top && box.bottom <= room.bottom;
            return [...document.querySelectorAll('.kiln {selector} > .shape')].some((shape) => whole(shape.getBoundingClientRect())); }})()"
    )
}

#[test]
fn a_thousand_steps_are_planned_run_and_seen() {
    let project = thousand();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/projects/ORDERS/flow");
    browser.until_shown("#outcome", "1000 build");
    assert_eq!(browser.text("document.querySelectorAll('.kiln .group').length"), "10");
    in_all_sizes(&browser, "flow-1000");
    // What is many is folded, and found all the same.
    let tall = browser.script("return document.documentElement.scrollHeight").as_u64().unwrap();
    assert!(tall < 6_000, "{tall}");
    browser.write("#find", "n8_42");
    let found =
        "[...document.querySelectorAll('.plan tbody tr')].filter((row) => row.checkVisibility()).map((row) => row.id)";
    assert_eq!(browser.text(found), "row-n8_42");
    for width in [400, 1280] {
        browser.look(width, 900, false);
        browser.go(&format!("{}/projects/ORDERS/flow?by=none", server.url));
        browser.until(&seen(".step.build"));
        browser.picture(&format!("flow-all-{width}"));
    }
    browser.go(&format!("{}/projects/ORDERS/flow", server.url));
    browser.click(".ways a:nth-child(2)");
    browser.until("location.search.includes('by=tag')");
    assert_eq!(browser.text("document.querySelectorAll('.kiln .group').length"), "50");
    browser.click("#start");
    browser.until_shown("#summary .pill", "running");
    // What is counted keeps its place while it grows.
    let left = "document.querySelector('#chip-built') && document.querySelector('#chip-built .digits-4').offsetWidth";
    browser.until(left);
    let wide = browser.text(left);
    // It goes on before one's eyes, in groups.
    browser.until("[...document.querySelectorAll('.kiln .group .note')].some((note) => note.textContent.includes('done') || note.textContent === 'built')");
    browser.until_shown("#failures", "n8_42");
    browser.until_shown("#summary .pill", "failed");
    browser.until("document.querySelector('.kiln .group.failed')");
    // The page is the one of a job that has ended.
    browser.until("!document.querySelector('#main').dataset.live");
    assert_eq!(browser.text("document.querySelectorAll('#steps tr').length"), "1000");
    assert_eq!(browser.text("document.querySelector('#steps tr').id"), "row-n8_42");
    assert_eq!(browser.text(left), wide);
    in_all_sizes(&browser, "job-1000");
    for width in [400, 1280] {
        browser.look(width, 900, false);
        browser.go(&format!("{}?by=none", browser.text("location.origin + location.pathname")));
        browser.until(&seen("#step-n8_42"));
        browser.picture(&format!("job-all-{width}"));
    }
    browser.click("#chip-failed");
    browser.until("location.search.includes('show=failed')");
    assert_eq!(browser.text("document.querySelectorAll('#steps tr').length"), "1");
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}
