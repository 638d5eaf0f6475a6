//! What pages say where something is missing, wrong, waits, or is too long.

use super::driver::Browser;
use super::sign_in;
use crate::serve::ask::{go, up};
use crate::serve::{Server, orders};
use crate::support::Project;

/// [`orders`] with more in its file.
fn with(more: &str) -> Project {
    let project = orders();
    project.write("pipeline.toml", project.read("pipeline.toml") + more);
    project
}

#[test]
fn a_source_that_is_missing_hides_no_other_step() {
    let project = orders();
    std::fs::remove_file(project.path("raw.csv")).unwrap();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/projects/ORDERS/flow");
    assert_eq!(browser.text("document.querySelector('#steps tr').id"), "row-orders");
    let wrong = browser.shown(".choice .wrong");
    assert!(wrong.contains("source `raw` is not there, and `orders` needs it"), "{wrong}");
    assert!(browser.shown("#row-orders").contains("`raw` is not there"), "{}", browser.shown("#row-orders"));
    assert!(browser.shown("#row-gated").contains("never built"), "{}", browser.shown("#row-gated"));
    assert!(
        browser.shown("#row-split").contains("needs what cannot be built: orders"),
        "{}",
        browser.shown("#row-split")
    );
    assert!(browser.shown("#row-publish").contains("never built"), "{}", browser.shown("#row-publish"));
    assert_eq!(browser.text("document.querySelector('#step-orders').getAttribute('class')"), "step failed");
    // What does not need it can be planned alone.
    browser.click("#row-gated input");
    browser.click("#see");
    browser.until_shown("#outcome", "1 build");
    assert_eq!(browser.text("document.querySelector('.choice .wrong')"), "null");
}

#[test]
fn what_was_typed_and_what_was_ticked_stays_where_it_is() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/projects/ORDERS/flow");
    browser.write("#targets", "report +bad");
    browser.click("#row-publish input");
    // What will be started is seen beside the button that starts it.
    assert_eq!(browser.shown("#targets-help"), "Ticked: publish.");
    browser.click("#row-bad input");
    assert_eq!(browser.shown("#targets-help"), "Ticked: bad, publish.");
    browser.click("#row-bad input");
    browser.click("#see");
    browser.until("location.search.includes('target=report')");
    assert_eq!(browser.text("document.querySelector('#targets').value"), "report +bad");
    let ticked = "[...document.querySelectorAll('.plan input:checked')].map((box) => box.value)";
    assert_eq!(browser.text(ticked), "publish");
    assert_eq!(browser.shown("#targets-help"), "Ticked: publish.");
    browser.click("#start");
    browser.until("document.querySelector('#summary')");
    assert_eq!(browser.shown("#summary h1"), "report +bad publish");
}

#[test]
fn a_failure_and_its_log_say_the_same() {
    let run = r#"'''printf '\033[31mred\033[0m\n\342\200\256flip\nstep 1\rstep 2\r\nend\n'; exit 3'''"#;
    let project = with(&format!("\n[dataset.loud]\npath = \"build/loud\"\nrun = {run}\n"));
    let server = Server::start(&project, &[]);
    let job = server.build("loud");
    assert_eq!(server.wait(&job), "FAILED");
    let browser = Browser::start();
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{job}"));
    // The log has what was printed over, too.
    let said = "red\n\\u{202e}flip\nstep 1\nstep 2\nend";
    assert_eq!(browser.shown("#failures pre"), said.replace("step 1\n", ""));
    assert_eq!(browser.shown("#log-text").trim_end(), said);
    assert_eq!(browser.shown("#log-text .ansi-1"), "red");
}

#[test]
fn of_a_long_output_of_what_failed_the_end_is_seen() {
    let project = with("\n[dataset.loud]\npath = \"build/loud\"\nrun = 'seq 100; exit 3'\n");
    let server = Server::start(&project, &[]);
    let job = server.build("loud");
    assert_eq!(server.wait(&job), "FAILED");
    let browser = Browser::start();
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{job}"));
    let ends = "(() => { const box = document.querySelector('#failures pre'); const all = document.createRange(); all.selectNodeContents(box); \
         const [inner, outer] = [all, box].map((it) => it.getBoundingClientRect()); \
         return inner.top < outer.top && inner.bottom <= outer.bottom; })()";
    assert_eq!(browser.text(ends), "true");
}

#[test]
fn filters_that_cannot_be_read_say_so_together() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/");
    browser.until_shown("#jobs", "No jobs yet.");
    browser.go(&format!("{}/?since=abc&state=FOO&project=NOPE", server.url));
    let wrong = browser.text("[...document.querySelectorAll('.wrong')].map((wrong) => wrong.innerText).join('|')");
    for part in ["there is no project `NOPE`", "since=abc: this is no point in time", "state=FOO: one of"] {
        assert!(wrong.contains(part), "{part}: {wrong}");
    }
    assert_eq!(browser.shown("#jobs"), "No jobs here.");
}

#[test]
fn a_job_that_waits_leads_to_the_one_that_runs() {
    let about = "name = \"orders\"\ndescription = \"Orders of all shops\"";
    let project = orders();
    project.write("pipeline.toml", project.read("pipeline.toml").replace("name = \"orders\"", about));
    let server = Server::start(&project, &[]);
    let runs = server.build("gated");
    up(&project.path("gated.up"));
    let waits = server.build("gated");
    let browser = Browser::start();
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{waits}"));
    browser.until_shown("#waits-for", &runs);
    // It has no table of steps yet, and refers to none.
    assert_eq!(browser.text("document.querySelector('#steps, #graph-text')"), "null");
    browser.click("#waits-for");
    browser.until(&format!("location.pathname.endsWith({runs:?}) && document.querySelector('#summary')"));
    // What runs has not ended: nothing of the bar is filled.
    browser.until_shown("#row-gated", "running");
    assert_eq!(browser.text("document.querySelectorAll('.progress rect').length"), "0");
    go(&project.path("gated.go"));
    browser.until("document.querySelectorAll('.progress rect.built').length === 1");
    browser.until("!document.querySelector('#main').dataset.live");
    // Its axis ends where it ended.
    let took = browser.shown(".facts div:nth-child(3) dd");
    assert_eq!(browser.shown("#axis span:last-child"), took);
    assert_eq!(server.wait(&waits), "DONE");
    // A project has an address of its own.
    browser.go(&format!("{}/projects/ORDERS", server.url));
    browser.until("location.search === '?project=ORDERS'");
    browser.go(&format!("{}/projects/ORDERS/flow", server.url));
    assert_eq!(browser.shown(".summary .pre"), "Orders of all shops");
    assert!(browser.shown(".summary .quiet").starts_with("pipeline.toml · "), "{}", browser.shown(".summary"));
    // A picture that cannot be as it was asked for says so.
    browser.go(&format!("{}/projects/ORDERS/flow?by=tag", server.url));
    assert_eq!(browser.shown(".picture > .quiet"), "no step in the picture has a tag: it is grouped by stage");
}

#[test]
fn a_step_that_its_stage_holds_back_says_so() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let body = "{\"outputs\": [{\"id\": \"gated\"}, {\"id\": \"orders\"}, {\"id\": \"train\"}], \"type\": \"RECURSIVE_BUILD\"}";
    let job = server.post("/public/api/projects/ORDERS/jobs/", body).json()["id"].as_str().unwrap().to_owned();
    up(&project.path("gated.up"));
    let browser = Browser::start();
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{job}"));
    browser.until_shown("#row-orders", "built");
    browser.until_shown("#row-split", "waiting for its stage");
    browser.click("#abort");
    browser.until_shown("#summary .pill", "aborted");
    browser.until("document.querySelector('#again')");
    // Nothing has failed that could be run alone.
    assert_eq!(browser.text("document.querySelector('#failed-only')"), "null");
}

#[test]
fn a_long_name_is_seen_whole() {
    let name = "a_name_of_a_data_set_that_goes_on_and_on_".repeat(3);
    let project = with(&format!("\n[dataset.{name}]\npath = \"build/long\"\nrun = \"echo 1 >{{{{ output }}}}\"\n"));
    let server = Server::start(&project, &[]);
    let job = server.build(&name);
    assert_eq!(server.wait(&job), "DONE");
    let browser = Browser::start();
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{job}"));
    browser.until_shown("#log-head", &name);
    for page in [format!("jobs/{job}"), "flow".to_owned()] {
        browser.go(&format!("{}/projects/ORDERS/{page}", server.url));
        super::looks::in_all_sizes(&browser, &format!("long-{}", &page[..4]));
    }
    browser.go(&format!("{}/projects/ORDERS/jobs/{job}", server.url));
    for width in [400, 1280] {
        browser.look(width, 900, false);
        let inside = "(() => { const range = document.createRange(); range.selectNodeContents(document.querySelector('#log-head')); return range.getBoundingClientRect().right <= document.querySelector('#log').getBoundingClientRect().right; })()";
        assert_eq!(browser.text(inside), "true", "{width}");
    }
}
