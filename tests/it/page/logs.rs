//! Logs: what a step prints is text, comes as it is printed, and is never there as a whole.

use std::fs::File;
use std::io::Write;

use super::driver::Browser;
use super::sign_in;
use crate::serve::ask::{go, up};
use crate::serve::{Server, orders};
use crate::support::Project;

/// A project whose recipe prints what comes through a pipe.
fn talking() -> (Project, File) {
    let project = orders();
    let text = project.read("pipeline.toml");
    let talks = "\n[dataset.talk]\npath = \"build/talk\"\nrun = \"cat words.pipe; echo done >{{ output }}\"\n";
    project.write("pipeline.toml", text + talks);
    let pipe = project.path("words.pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Opened for both, so that opening waits for nobody.
    let words = File::options().read(true).write(true).open(pipe).unwrap();
    (project, words)
}

/// A job whose recipe has begun to talk, as its page shows that.
fn first_words(project: &Project, words: &mut File) -> (Server, Browser) {
    let server = Server::start(project, &[]);
    let browser = Browser::start();
    let job = server.build("talk");
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{job}?step=talk"));
    browser.until_shown("#row-talk", "running");
    words.write_all(b"first words\n").unwrap();
    browser.until_shown("#log-text", "first words");
    (server, browser)
}

#[test]
fn a_log_grows_while_one_looks() {
    let (project, mut words) = talking();
    let (_server, browser) = first_words(&project, &mut words);
    browser.until_shown("#log-size", "12 B");
    words.write_all("\x1b[31mred é\x1b[0m and <img src=x onerror='document.title=1'>\n".as_bytes()).unwrap();
    browser.until_shown("#log-text", "red é and <img src=x onerror='document.title=1'>");
    assert_eq!(browser.text("document.querySelector('#log-text .ansi-1').innerText"), "red é");
    assert_eq!(browser.text("document.querySelectorAll('#log img').length"), "0");
    words.write_all("one\rtwo \u{202e}flip\r\nthree\n".as_bytes()).unwrap();
    browser.until_shown("#log-text", "one\ntwo \\u{202e}flip\nthree\n");
    // Whoever reads further up is left in peace; whoever comes back sees on.
    words.write_all("line\n".repeat(200).as_bytes()).unwrap();
    browser.until("document.querySelector('#log-text').innerText.split('line').length === 201");
    browser.until_shown("#log-size", "1.1 kB");
    browser.until("document.querySelector('#log-follow').ariaPressed === 'true'");
    browser.script("document.querySelector('#log-text').scrollTop = 0");
    browser.until("document.querySelector('#log-follow').ariaPressed === 'false'");
    words.write_all(b"later words\n").unwrap();
    browser.click("#log-follow");
    browser.until_shown("#log-text", "later words");
    browser.script("document.querySelector('#log-text').scrollTop = 0");
    browser.until("document.querySelector('#log-follow').ariaPressed === 'false'");
    // The end of what it reads.
    drop(words);
    browser.until_shown("#summary .pill", "done");
    browser.until("!document.querySelector('#main').dataset.live");
    assert_eq!(browser.text("document.querySelector('#log-text').scrollTop"), "0");
    browser.until_shown("#log-text", "later words");
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}

#[test]
fn a_log_of_100_mb_stays_small() {
    let project = orders();
    let text = project.read("pipeline.toml").replace("[dataset.held]", "[dataset.unused]");
    let long = "awk 'BEGIN { for (i = 1; i <= 1250000; i++) print \\\"line \\\" i \\\" of a log that is very long indeed, \\\" i \\\" and no end of it in sight\\\" }'";
    let loud = format!(
        "\n[dataset.loud]\npath = \"build/loud\"\nrun = \"{long}; echo up >held.up; cat held.go; {long}; echo 1 >{{{{ output }}}}\"\nlog_limit = \"1GB\"\n"
    );
    project.write("pipeline.toml", text.replace("held.up; cat held.go", "unused") + &loud);
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    let job = server.build("loud");
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{job}?step=loud"));
    up(&project.path("held.up"));
    browser.go(&browser.text("location.href"));
    browser.until_shown("#log-text", "line 1250000 of");
    let held = |browser: &Browser| {
        browser.script("return document.querySelector('#log-text').textContent.length").as_u64().unwrap()
    };
    assert!(held(&browser) < 1 << 20, "{}", held(&browser));
    // The next 100 MB come while one looks.
    go(&project.path("held.go"));
    browser.until_shown("#summary .pill", "done");
    browser.until("document.querySelector('#log-text').textContent.trimEnd().endsWith('line 1250000 of a log that is very long indeed, 1250000 and no end of it in sight')");
    assert!(held(&browser) < 1 << 20, "{}", held(&browser));
    // The page is the one of a job that has ended.
    browser.until("!document.querySelector('#main').dataset.live");
    assert!(browser.shown("#log-gap").contains("before this are not shown"), "{}", browser.shown("#log-gap"));
    // Further up it is read in parts.
    let first = "document.querySelector('#log-text').textContent.split('\\n')[0]";
    let before = browser.text(first);
    browser.click("#log-earlier");
    browser.until(&format!("{first} !== {before:?}"));
    let number = |line: &str| line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap();
    assert!(number(&browser.text(first)) < number(&before), "{before} {}", browser.text(first));
    assert!(held(&browser) < 1 << 20, "{}", held(&browser));
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}

#[test]
fn of_one_very_long_line_the_end_is_shown_and_more_further_up() {
    let project = orders();
    let long = "head -c 2000000 /dev/zero | tr '\\\\0' x; echo; echo 1 >{{ output }}";
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", text + &format!("\n[dataset.long]\npath = \"build/long\"\nrun = \"{long}\"\n"));
    let server = Server::start(&project, &[]);
    let job = server.build("long");
    assert_eq!(server.wait(&job), "DONE");
    let browser = Browser::start();
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{job}?step=long"));
    browser.until_shown("#log-text", "xxxxxxxxxx");
    let held = "document.querySelector('#log-text').textContent.trimEnd().length";
    let before = browser.text(held);
    browser.click("#log-earlier");
    browser.until(&format!("{held} > {before}"));
    assert_eq!(browser.text("document.querySelector('#log-text').textContent.trimEnd().includes('\\n')"), "false");
    assert!(browser.shown("#log-gap").contains("before this are not shown"), "{}", browser.shown("#log-gap"));
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}

/// The server shows them in the same colours: `src/server/page/ansi.rs`.
#[test]
fn colours_are_those_that_the_server_shows() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/");
    let cases: Vec<(String, serde_json::Value)> = serde_json::from_str(include_str!("colours.json")).unwrap();
    for (text, parts) in cases {
        let json = serde_json::to_string(&text).unwrap();
        let shown = browser.script(&format!(
            "const parts = []; for (const node of coloured({json}, {{}}).childNodes) {{ \
             const part = [node.className ?? '', node.textContent]; const last = parts.at(-1); \
             if (last && last[0] === part[0]) last[1] += part[1]; else parts.push(part); }} return parts"
        ));
        assert_eq!(shown, parts, "{text:?}");
    }
}

#[test]
fn what_comes_between_two_frames_is_shown_whole_if_it_is_little() {
    let (project, mut words) = talking();
    let (_server, browser) = first_words(&project, &mut words);
    // Frames come when the test says so, and what has come is counted.
    browser.click("#log-follow");
    browser.until("document.querySelector('#log-follow').ariaPressed === 'false'");
    browser.script(
        "window.frames_held = []; window.requestAnimationFrame = (show) => window.frames_held.push(show); window.heard = 0; \
         window.EventSource = class extends EventSource { addEventListener(kind, hear) { \
         super.addEventListener(kind, (event) => { hear(event); if (kind === 'log') window.heard += 1; }); } };",
    );
    browser.click("#log-follow");
    for piece in 1..=10 {
        words.write_all(format!("piece {piece}\n").as_bytes()).unwrap();
        browser.until(&format!("window.heard >= {piece}"));
    }
    browser.script("window.frames_held.splice(0).forEach((show) => show())");
    let all: String = (1..=10).map(|piece| format!("piece {piece}\n")).collect();
    assert_eq!(browser.text("document.querySelector('#log-text').textContent"), format!("first words\n{all}"));
    // Of more than is kept, the end is shown, and nothing is missing in it.
    let long = format!("{}\n", "x".repeat(999)).repeat(1_000);
    words.write_all(format!("{long}the end\n").as_bytes()).unwrap();
    browser.until(
        "(window.frames_held.splice(0).forEach((show) => show()), \
         document.querySelector('#log-text').textContent.endsWith('the end\\n'))",
    );
    browser.until("document.querySelector('#log-text').textContent.length <= 384 * 1024");
    let gaps = "document.querySelector('#log-text').textContent.split('\\n').slice(1, -2).filter((line) => line.length !== 999)";
    assert_eq!(browser.text(&format!("{gaps}.length")), "0");
    drop(words);
    browser.script("window.requestAnimationFrame = (show) => setTimeout(show)");
    browser.until_shown("#summary .pill", "done");
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}
