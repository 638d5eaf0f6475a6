//! How pages look and how they are walked with keys: nothing lies on anything else, focus goes the way one reads.

use std::fmt::Write as _;

use super::driver::{Browser, ENTER};
use super::{Various, sign_in};
use crate::serve::{Server, orders};
use crate::support::{HEAD, Project};

/// Texts that lie on one another, or reach out of the window or of what holds them.
const OVERLAPS: &str = r"
    const boxes = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        const holder = node.parentElement;
        if (!node.textContent.trim() || !holder.checkVisibility() || holder.closest('.unseen, .pass, option, script, title, .canvas')) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const box of range.getClientRects()) {
            if (box.width < 1 || box.height < 1) continue;
            const scrolls = holder.closest('pre');
            if (scrolls) { const around = scrolls.getBoundingClientRect(); if (box.bottom > around.bottom || box.top < around.top) continue; }
            boxes.push({ text: node.textContent.trim().slice(0, 40), box, holder });
        }
    }
    const wrong = [];
    if (document.documentElement.scrollWidth > innerWidth) wrong.push('the page is wider than the window');
    for (let i = 0; i < boxes.length; i++) {
        const a = boxes[i];
        if (a.box.left < -1 || a.box.right > innerWidth + 1) wrong.push('outside: ' + a.text);
        for (let j = i + 1; j < boxes.length; j++) {
            const b = boxes[j];
            const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
            const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
            if (wide > 2 && high > 4) wrong.push(a.text + ' | ' + b.text);
        }
    }
    return wrong.slice(0, 10).join('\n');";

/// A page in all sizes and both rooms: nothing lies on anything else. Keeps pictures.
#[track_caller]
pub(super) fn in_all_sizes(browser: &Browser, name: &str) {
    for (width, height) in [(400, 900), (800, 900), (1280, 900)] {
        for dark in [false, true] {
            browser.look(width, height, dark);
            let room = if dark { "dark" } else { "light" };
            let wrong = browser.script(OVERLAPS);
            assert_eq!(wrong, "", "{name}, {width} wide, {room}");
            browser.picture(&format!("{name}-{width}-{room}"));
        }
    }
    browser.look(1280, 900, false);
}

/// What one comes by with the tab key: ids, or else texts.
fn walk(browser: &Browser, most: usize) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..most {
        browser.tab();
        let here = browser.text(
            "(document.activeElement.id || document.activeElement.className || document.activeElement.innerText).toString().trim()",
        );
        // Whoever is there can be seen to be there.
        let ring = browser.text("getComputedStyle(document.activeElement).outlineStyle");
        assert!(ring != "none", "{here} shows no focus");
        seen.push(here);
    }
    seen
}

#[test]
fn pages_look_well_in_all_sizes_and_in_the_dark() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    browser.go(&format!("{}/", server.url));
    browser.until("document.querySelector('#key')");
    in_all_sizes(&browser, "sign-in");
    sign_in(&browser, &server, "/");
    in_all_sizes(&browser, "home-empty");
    let jobs = Various::start(&project, &server);
    browser.go(&format!("{}/", server.url));
    browser.until_shown("#jobs", "waits for");
    in_all_sizes(&browser, "home");
    // When, and by whom, is told on one line, however narrow it is.
    for width in [400, 800, 1280] {
        browser.look(width, 900, false);
        let lines = "[...document.querySelectorAll('#jobs time, #jobs .by')].filter((item) => item.checkVisibility()).map((item) => { const range = document.createRange(); range.selectNodeContents(item); return range.getClientRects().length; })";
        let lines = browser.script(&format!("return {lines}"));
        let lines = lines.as_array().unwrap();
        assert!(lines.len() >= 3 && lines.iter().all(|lines| lines == 1), "{width}: {lines:?}");
    }
    browser.look(1280, 900, false);
    for (name, job) in jobs.pages() {
        browser.go(&format!("{}/projects/ORDERS/jobs/{job}", server.url));
        browser.until("document.querySelector('#summary h1')");
        in_all_sizes(&browser, name);
        // A picture with nothing beside it has all the room there is.
        let alone = browser.text("document.querySelector('#log').hidden") == "true";
        let share = "document.querySelector('.picture').offsetWidth / document.querySelector('.pair').offsetWidth";
        assert_eq!(browser.text(&format!("{share} === 1")) == "true", alone, "{name}");
    }
    browser.go(&format!("{}/projects/ORDERS/flow?target=report&mode=smart", server.url));
    browser.until_shown("#outcome", "up to date");
    in_all_sizes(&browser, "flow");
    browser.go(&format!("{}/projects/ORDERS/jobs/nothing", server.url));
    browser.until_shown("main", "job `nothing` does not exist");
    in_all_sizes(&browser, "sorry");
    jobs.end(&project, &server);
}

/// A project with so many steps, each made from the one before and one further back.
fn chain(steps: usize) -> Project {
    let project = Project::empty();
    let mut text = HEAD.replace("name = \"p\"", "name = \"orders\"");
    for i in 0..steps {
        let inputs: Vec<_> =
            [i.checked_sub(1), i.checked_sub(4)].iter().flatten().map(|j| format!("\"step_{j}\"")).collect();
        writeln!(
            text,
            "[dataset.step_{i}]\npath = \"build/step_{i}\"\ninputs = [{}]\nrun = \"echo {i} >{{{{ output }}}}\"",
            inputs.join(", ")
        )
        .unwrap();
    }
    project.write("pipeline.toml", text);
    project
}

#[test]
fn one_step_and_twenty_look_well() {
    for steps in [1, 20] {
        let project = chain(steps);
        let server = Server::start(&project, &[]);
        let browser = Browser::start();
        sign_in(&browser, &server, "/projects/ORDERS/flow");
        browser.until_shown("#outcome", &format!("{steps} build"));
        in_all_sizes(&browser, &format!("flow-{steps}"));
        browser.click("#start");
        browser.until_shown("#summary .pill", "done");
        browser.until_shown("#chip-built", &format!("{steps} built"));
        assert_eq!(browser.text("document.querySelectorAll('.kiln .step.built').length"), steps.to_string());
        in_all_sizes(&browser, &format!("job-{steps}"));
        browser.go(&format!("{}/", server.url));
        browser.until_shown("#jobs", "everything");
        in_all_sizes(&browser, &format!("home-{steps}"));
        assert_eq!(browser.complaints(), [] as [&str; 0]);
    }
}

#[test]
fn all_is_done_by_keys() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let job = server.build("bad");
    server.wait(&job);
    let browser = Browser::start();
    sign_in(&browser, &server, "/");
    let expected = ["pass", "home", "plain", "flow-ORDERS", "last-ORDERS"];
    assert_eq!(walk(&browser, 5), expected);
    browser.go(&format!("{}/projects/ORDERS/jobs/{job}", server.url));
    browser.tab();
    assert_eq!(browser.text("document.activeElement.className"), "pass");
    browser.press(ENTER);
    // The skip link leads past the bar.
    browser.until("document.activeElement.id === 'main'");
    let expected = [
        "failed-only",
        "again",
        "chip-all",
        "chip-failed",
        "chip-built",
        "failed-bad",
        "canvas",
        "button plain",
        "log-text",
        "open-bad",
        "open-orders",
    ];
    assert_eq!(walk(&browser, expected.len()), expected);
    browser.press(ENTER);
    browser.until_shown("#log-head", "Log of orders");
    // A job is started without a mouse.
    browser.go(&format!("{}/projects/ORDERS/flow", server.url));
    browser.write("#targets", &format!("report{ENTER}"));
    browser.until("location.search.includes('target=report')");
    browser.until_shown("#outcome", "build");
    browser.write("#start", ENTER);
    browser.until_shown("#summary h1", "report");
    browser.until_shown("#summary .pill", "done");
}

#[test]
fn a_page_can_be_read_without_its_script() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let job = server.build("bad");
    server.wait(&job);
    let page = server.get(&format!("/projects/ORDERS/jobs/{job}"));
    assert_eq!(page.status, 200);
    for part in [
        "failed",
        "exit 3",
        "oh no",
        "class=\"step failed\"",
        "class=\"step built\"",
        "never built",
        "<rect class=\"run\"",
        "Run failed only",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert!(!page.body.contains(" style=") && !page.body.contains("<style") && !page.body.contains("<script>"));
    assert!(!page.body.replace("http://www.w3.org/2000/svg", "").contains("http://"), "{}", page.body);
}

#[test]
fn names_and_texts_are_never_markup() {
    let project = orders();
    let evil = "<img src=x onerror=document.title='evil'>";
    let text = project
        .read("pipeline.toml")
        .replace("name = \"orders\"", &format!("name = \"orders\"\ndescription = \"{evil}\""));
    let sneaky = format!(
        "\n[dataset.sneaky]\npath = \"build/sneaky\"\ndescription = \"{evil}\"\ntags = [\"t\"]\nenv = {{ A = \"{evil}\" }}\nrun = \"echo \\\"{evil}\\\" >&2; exit 7\"\n"
    );
    project.write("pipeline.toml", text + &sneaky);
    let server = Server::start(&project, &[]);
    let job = server.build("sneaky");
    server.wait(&job);
    let browser = Browser::start();
    sign_in(&browser, &server, "/");
    for path in [
        "/",
        "/projects/ORDERS/flow",
        &format!("/projects/ORDERS/jobs/{job}"),
        &format!("/?output={evil}"),
        "/projects/ORDERS/jobs/<img>",
        "/projects/ORDERS/flow?target=<img>",
    ] {
        browser.go(&format!("{}{path}", server.url));
        browser.until("document.querySelector('main h1, main .projects')");
        assert_eq!(browser.text("document.querySelectorAll('main img').length"), "0", "{path}");
        assert!(browser.text("document.title").ends_with("Kiln"), "{path}");
    }
    browser.go(&format!("{}/projects/ORDERS/jobs/{job}", server.url));
    assert!(browser.shown("#failures").contains(evil), "{}", browser.shown("#failures"));
    assert!(browser.shown("#log-text").contains(evil));
}
