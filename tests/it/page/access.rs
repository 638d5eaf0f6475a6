//! Pages for those who do not see them, or use no mouse: places and headings have names, nothing is told by colour alone,
//! what is to be read stands out, and what moves can be kept still.

use std::fmt::Write as _;

use super::driver::Browser;
use super::{Various, sign_in};
use crate::serve::ask::{go, up};
use crate::serve::{Server, orders};

/// What someone who reads a page with a screen reader would miss.
const LACKS: &str = r#"
    const wrong = [];
    const all = (selector) => [...document.querySelectorAll(selector)].filter((item) => item.checkVisibility());
    const name = (item) => {
        const by = (item.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
        const label = [...(item.labels ?? [])].map((label) => label.textContent).join(' ');
        const images = [...item.querySelectorAll('img')].map((img) => img.alt).join(' ');
        return (item.getAttribute('aria-label') ?? (by || label || item.textContent + images)).trim();
    };
    const tell = (what, items) => items.forEach((item) => wrong.push(what + ': ' + item.outerHTML.slice(0, 120)));
    if (!document.documentElement.lang) wrong.push('no language');
    if (!document.title) wrong.push('no title');
    // Places.
    if (all('main').length !== 1) wrong.push('not one main');
    if (all('body > header.bar').length !== 1) wrong.push('not one banner');
    for (const kind of ['nav', '[role=region]', 'form[role=search]']) {
        const names = all(kind).map((item) => item.getAttribute('aria-label') ?? name(item));
        if (names.some((name) => !name) || new Set(names).size !== names.length) wrong.push(kind + ' without names of their own: ' + names);
    }
    // Headings.
    const levels = [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].filter((item) => item.checkVisibility()).map((item) => Number(item.tagName[1]));
    if (levels.filter((level) => level === 1).length !== 1) wrong.push('not one h1: ' + levels);
    levels.forEach((level, i) => { if (level > (levels[i - 1] ?? 0) + 1) wrong.push('a heading is left out: ' + levels); });
    tell('an empty heading', all('h1,h2,h3').filter((item) => !item.textContent.trim()));
    // Names of what can be used.
    tell('no name', all('a[href],button,input:not([type=hidden]),select,textarea,[tabindex="0"]').filter((item) => !name(item)));
    tell('a field without a label', all('input:not([type=hidden]),select,textarea').filter((item) => !item.labels.length && !item.getAttribute('aria-label')));
    tell('a place in the order of focus of its own', all('[tabindex]').filter((item) => Number(item.tabIndex) > 0));
    tell('a button that sends by accident', all('button').filter((item) => !item.form && item.type === 'submit'));
    // Pictures.
    tell('a picture without words', all('img:not([alt])'));
    tell('a drawing without words', all('svg').filter((item) => item.getAttribute('aria-hidden') !== 'true' && !(item.getAttribute('role') === 'img' && name(item))));
    // Tables.
    tell('a table without a caption', all('table').filter((item) => !item.caption?.textContent));
    tell('a head without scope', all('th').filter((item) => !['col', 'row'].includes(item.scope)));
    tell('an empty head', all('th').filter((item) => !item.textContent.trim()));
    tell('a row without a head', all('tbody tr').filter((item) => item.cells.length > 1 && !item.querySelector('th[scope=row]')));
    // What is referred to is there, once.
    const ids = [...document.querySelectorAll('[id]')].map((item) => item.id);
    ids.filter((id, i) => ids.indexOf(id) !== i).forEach((id) => wrong.push('twice: ' + id));
    for (const attribute of ['aria-labelledby', 'aria-describedby', 'for']) {
        for (const item of document.querySelectorAll('[' + attribute + ']')) {
            for (const id of item.getAttribute(attribute).split(' ')) if (!document.getElementById(id)) wrong.push(attribute + ' to nothing: ' + id);
        }
    }
    // What speaks by itself: two lines that are said politely, and what went wrong.
    const live = [...document.querySelectorAll('[aria-live]:not([aria-live=off]),[role=status],[role=alert],[role=log]:not([aria-live=off])')];
    tell('it speaks by itself', live.filter((item) => !['link', 'said'].includes(item.id) && item.getAttribute('role') !== 'alert'));
    return wrong.join('\n');"#;

/// Texts that do not stand out from what is behind them as AA has it.
const FAINT: &str = r"
    const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
    const light = ({ r, g, b }) => {
        const [R, G, B] = [r, g, b].map((c) => c / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * R + 0.7152 * G + 0.0722 * B;
    };
    const over = (front, back) => ({ r: front.r * front.a + back.r * (1 - front.a), g: front.g * front.a + back.g * (1 - front.a), b: front.b * front.a + back.b * (1 - front.a), a: 1 });
    const behind = (item) => {
        for (let at = item; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.a === 1) return colour;
            if (colour.a > 0) return over(colour, behind(at.parentElement));
        }
        return { r: 255, g: 255, b: 255, a: 1 };
    };
    const wrong = new Set();
    let seen = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const item = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !item.checkVisibility() || item.closest('svg, [aria-hidden=true], .unseen, .pass, script, title, option')) continue;
        const style = getComputedStyle(item);
        const back = behind(item);
        const [a, b] = [light(over(parse(style.color), back)), light(back)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
        if (ratio < (large ? 3 : 4.5)) wrong.add(ratio.toFixed(2) + ' ' + item.className + ': ' + walker.currentNode.textContent.trim().slice(0, 40));
        seen++;
    }
    return seen < 3 ? 'nothing to read' : [...wrong].join('\n');";

/// A page as it is, in the light and in the dark.
#[track_caller]
fn all_can_use(browser: &Browser, name: &str) {
    assert_eq!(browser.script(LACKS), "", "{name}");
    for dark in [false, true] {
        browser.look(1280, 900, dark);
        assert_eq!(browser.script(FAINT), "", "{name}, {}", if dark { "dark" } else { "light" });
    }
    browser.look(1280, 900, false);
}

#[test]
fn pages_can_be_used_without_seeing_them() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    browser.go(&format!("{}/", server.url));
    browser.until("document.querySelector('#key')");
    all_can_use(&browser, "sign-in");
    sign_in(&browser, &server, "/");
    all_can_use(&browser, "home-empty");
    let jobs = Various::start(&project, &server);
    for query in ["", "?state=FAILED", "?since=2020-01-01&until=2021-01-01", "?output=nothing"] {
        browser.go(&format!("{}/{query}", server.url));
        browser.until("document.querySelector('#jobs')");
        all_can_use(&browser, "home");
    }
    for (name, job) in jobs.pages() {
        browser.go(&format!("{}/projects/ORDERS/jobs/{job}", server.url));
        browser.until("document.querySelector('#summary h1')");
        all_can_use(&browser, name);
    }
    // The picture says that the same is there in words; the bars have theirs.
    browser.go(&format!("{}/projects/ORDERS/jobs/{}", server.url, jobs.failed));
    let label = browser.text("document.querySelector('svg.kiln').getAttribute('aria-label')");
    assert_eq!(label, format!("the steps of job {}", jobs.failed));
    let words = browser.text(
        "document.getElementById(document.querySelector('.canvas').getAttribute('aria-describedby')).textContent",
    );
    assert!(words.contains("table of steps"), "{words}");
    let title = browser.text("document.querySelector('#step-bad > title').textContent");
    assert!(title.contains("bad") && title.contains("never built"), "{title}");
    let bar = browser.text("document.querySelector('#row-orders .time .unseen').textContent");
    assert!(bar.contains("ran "), "{bar}");
    for path in ["/projects/ORDERS/flow?target=report&mode=smart", "/projects/ORDERS/flow?target=nothing"] {
        browser.go(&format!("{}{path}", server.url));
        browser.until("document.querySelector('#steps')");
        all_can_use(&browser, path);
    }
    browser.go(&format!("{}/projects/ORDERS/jobs/nothing", server.url));
    browser.until_shown("main", "job `nothing` does not exist");
    all_can_use(&browser, "sorry");
    jobs.end(&project, &server);
}

#[test]
fn what_moves_keeps_still_where_that_is_wanted() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    let job = server.build("gated");
    up(&project.path("gated.up"));
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{job}"));
    browser.until_shown("#row-gated", "running");
    let moving = "document.getAnimations().filter((one) => one.playState === 'running').length";
    browser.motion(false);
    browser.until(&format!("{moving} > 0"));
    browser.motion(true);
    browser.until(&format!("{moving} === 0"));
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&job), "DONE");
}

#[test]
fn the_focus_is_seen_in_the_light_and_in_the_dark() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let job = server.build("bad");
    server.wait(&job);
    let browser = Browser::start();
    sign_in(&browser, &server, "/");
    for path in ["/", "/projects/ORDERS/flow", &format!("/projects/ORDERS/jobs/{job}")] {
        for dark in [false, true] {
            browser.go(&format!("{}{path}", server.url));
            browser.look(1280, 900, dark);
            let count = browser.script("return [...document.querySelectorAll('a[href],button,input:not([type=hidden]),select,[tabindex=\"0\"]')].filter((item) => item.checkVisibility() && !item.disabled).length");
            let mut seen = std::collections::HashSet::new();
            for _ in 0..count.as_u64().unwrap() {
                browser.tab();
                let here = browser.text(
                    "(() => { const item = document.activeElement; const style = getComputedStyle(item); const box = item.getBoundingClientRect();
                       window.walked ??= new Map(); if (!window.walked.has(item)) window.walked.set(item, window.walked.size);
                       return [window.walked.get(item), style.outlineStyle, parseFloat(style.outlineWidth) >= 2, box.width > 0 && box.height > 0 && box.top < innerHeight && box.bottom > 0, item.outerHTML.slice(0, 100)].join(' ') })()",
                );
                assert!(here.contains(" solid true true "), "{path}: {here}");
                seen.insert(here.split(' ').next().unwrap().to_owned());
            }
            // All that can be used is come by, and nothing holds the focus.
            let parts =
                browser.script("return document.querySelectorAll('input[type=date]').length * 3").as_u64().unwrap();
            assert!(seen.len() as u64 + parts >= count.as_u64().unwrap(), "{path}: {} of {count}", seen.len());
        }
    }
}

#[test]
fn a_long_run_does_not_chatter() {
    let project = orders();
    let mut text = project.read("pipeline.toml");
    for i in 0..60 {
        writeln!(
            text,
            "[dataset.s{i}]\npath = \"build/s{i}\"\nrun = \"echo {i} >{{{{ output }}}}\"\ntags = [\"many\"]"
        )
        .unwrap();
    }
    project.write("pipeline.toml", text);
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/projects/ORDERS/flow?target=tag:many");
    browser.until_shown("#outcome", "60 build");
    browser.click("#start");
    browser.until("document.querySelector('#summary')");
    browser.script(
        "window.told = []; new MutationObserver(() => window.told.push(performance.now())).observe(document.querySelector('#said'), { childList: true })",
    );
    browser.until_shown("#summary .pill", "done");
    browser.until("document.querySelector('#said').textContent.includes('The job has ended: done')");
    let gaps = browser.script("return window.told.slice(1).map((at, i) => at - window.told[i])");
    let gaps: Vec<f64> = gaps.as_array().unwrap().iter().map(|gap| gap.as_f64().unwrap()).collect();
    assert!(gaps.iter().all(|gap| *gap > 2_500.0), "{gaps:?}");
}
