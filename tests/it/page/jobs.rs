//! Jobs: started, watched, aborted, run again, found.

use super::driver::Browser;
use super::{job, sign_in};
use crate::serve::ask::{go, up};
use crate::serve::{Server, orders};

#[test]
fn a_job_is_started_from_the_flow_and_seen_to_end() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/projects/ORDERS/flow");
    assert!(browser.shown("#row-gated").contains("never built"), "{}", browser.shown("#row-gated"));
    browser.click("#row-gated input");
    browser.click("#see");
    browser.until_shown("#outcome", "1 build");
    assert!(browser.shown("#row-orders").contains("not asked for"), "{}", browser.shown("#row-orders"));
    assert_eq!(browser.text("document.querySelector('#step-gated').getAttribute('class')"), "step build chosen");
    browser.click("#start");
    browser.until_shown("#summary .pill", "running");
    up(&project.path("gated.up"));
    browser.until_shown("#row-gated", "running");
    browser.until("document.querySelector('#step-gated').getAttribute('class') === 'step running'");
    assert!(
        browser.shown("#step-gated .note").is_empty()
            || browser.text("document.querySelector('#step-gated .note').textContent") == "running"
    );
    go(&project.path("gated.go"));
    browser.until_shown("#summary .pill", "done");
    browser.until_shown("#row-gated", "built");
    browser.until("document.querySelector('#step-gated').getAttribute('class') === 'step built'");
    assert_eq!(server.state(&job(&browser)), "DONE");
    // Without a reload: the page is the one that was there when it began.
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}

#[test]
fn a_job_is_aborted_and_run_again() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    let first = server.build("gated");
    up(&project.path("gated.up"));
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{first}"));
    browser.until_shown("#summary .pill", "running");
    browser.click("#abort");
    browser.until_shown("#summary .pill", "aborted");
    browser.until_shown("#row-gated", "stopped");
    assert_eq!(server.state(&first), "ABORTED");
    browser.click("#again");
    browser.until(&format!("!location.pathname.endsWith({first:?}) && document.querySelector('#summary')"));
    up(&project.path("gated.up"));
    go(&project.path("gated.go"));
    browser.until_shown("#summary .pill", "done");
    assert_eq!(server.state(&job(&browser)), "DONE");
}

#[test]
fn what_failed_stands_first_and_is_run_alone() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    let body = "{\"type\": \"RECURSIVE_BUILD\", \"outputs\": [{\"id\": \"orders\"}, {\"id\": \"bad\"}]}";
    let first = server.post("/public/api/projects/ORDERS/jobs/", body).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.wait(&first), "FAILED");
    sign_in(&browser, &server, &format!("/projects/ORDERS/jobs/{first}"));
    let failures = browser.shown("#failures");
    assert!(failures.contains("bad") && failures.contains("exit 3") && failures.contains("oh no"), "{failures}");
    assert_eq!(browser.text("document.querySelector('#steps tr').id"), "row-bad");
    assert_eq!(browser.shown("#log-head"), "Log of bad");
    assert_eq!(browser.shown("#log-text"), "oh no\n");
    browser.click("#failed-only");
    browser.until(&format!("!location.pathname.endsWith({first:?}) && document.querySelector('#summary')"));
    browser.until_shown("#summary .pill", "failed");
    assert_eq!(browser.shown("#summary h1"), "bad");
    assert_eq!(browser.text("[...document.querySelectorAll('#steps tr')].map((row) => row.id)"), "row-bad");
}

#[test]
fn jobs_are_found_and_the_address_keeps_what_was_looked_for() {
    let project = orders();
    let server = Server::start(&project, &[]);
    for output in ["orders", "bad", "report"] {
        server.wait(&server.build(output));
    }
    let browser = Browser::start();
    sign_in(&browser, &server, "/");
    let jobs = |browser: &Browser| browser.text("[...document.querySelectorAll('#jobs th a')].map((a) => a.innerText)");
    assert_eq!(jobs(&browser), "report,bad,orders");
    browser.script("document.querySelector('select[name=state]').value = 'FAILED'");
    browser.click("form.filters button");
    browser.until("location.search.includes('state=FAILED')");
    assert_eq!(jobs(&browser), "bad");
    browser.go(&browser.text("location.href"));
    assert_eq!(jobs(&browser), "bad");
    assert_eq!(browser.text("document.querySelector('select[name=state]').value"), "FAILED");
    browser.go(&format!("{}/?output=train", server.url));
    assert_eq!(jobs(&browser), "report");
    browser.go(&format!("{}/?initiator=nobody", server.url));
    assert_eq!(browser.shown("#jobs"), "No jobs here.");
    browser.go(&format!("{}/?output=nothing", server.url));
    assert_eq!(browser.shown(".wrong"), "output=nothing: there is no such output");
    // What comes while one looks is there at once.
    browser.go(&format!("{}/?state=RUNNING", server.url));
    assert_eq!(browser.shown("#jobs"), "No jobs here.");
    let held = server.build("held");
    up(&project.path("held.up"));
    browser.until_shown("#jobs", "held");
    browser.click(&format!("[id='job-{held}']"));
    browser.until_shown("#summary h1", "held");
    go(&project.path("held.go"));
    browser.until_shown("#summary .pill", "done");
}

#[test]
fn the_plan_says_what_is_put_back_first() {
    let project = orders();
    let text = project.read("pipeline.toml").replace("[dataset.held]", "[dataset.unused]");
    let placed = "\n[dataset.placed]\npath = \"build/placed\"\nin_place = true\n\
        run = \"echo half >\\\"$KILN_OUTPUT\\\"; echo up >held.up; said=$(cat held.go); echo $said >\\\"$KILN_OUTPUT\\\"\"\n";
    project.write("pipeline.toml", text.replace("held.up; cat held.go", "unused") + placed);
    let mut run = project.start(&["run", "placed"]);
    up(&project.path("held.up"));
    go(&project.path("held.go"));
    assert!(run.wait().unwrap().success());
    let mut run = project.start(&["run", "--mode", "forced", "placed"]);
    up(&project.path("held.up"));
    run.kill().unwrap();
    run.wait().unwrap();
    project.settled();
    assert_eq!(project.read("build/placed"), "half\n");
    let says =
        "a run was killed while `placed` was written in place; the next run first puts its last good content back";
    assert!(project.expect(0, &["plan"]).out.contains(says));
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/projects/ORDERS/flow?target=orders");
    assert_eq!(browser.shown(".choice .warn"), says);
    // Whatever the next job builds.
    browser.click("#start");
    browser.until_shown("#summary .pill", "done");
    assert_eq!(project.read("build/placed"), "go\n");
    browser.go(&format!("{}/projects/ORDERS/flow", server.url));
    assert_eq!(browser.text("document.querySelector('.choice .warn')"), "null");
}
