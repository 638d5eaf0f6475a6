//! The list of jobs, narrowed by time and page by page.

use super::driver::Browser;
use super::sign_in;
use crate::serve::{Server, orders};
use crate::support::Project;

/// A hundred and twenty jobs that have ended, one each hour from 1 March 2026 on: `j000` to `j119`.
fn history(project: &Project) {
    // Else the first job would be the time to take old runs out.
    project.expect(0, &["gc"]);
    let rows = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 119)
        INSERT INTO runs (job, pipeline, file, engine, mode, targets, state, asked, started, ended, took_ms, planned, by, pid, host)
        SELECT printf('j%03d', i), 'orders', 'pipeline.toml', 'local', 'smart', printf('[\"j%03d\"]', i), 'DONE', at, at, at, 1, 1,
               iif(i % 2, 'API (ci)', 'ana'), 0, ''
        FROM (SELECT i, strftime('%Y-%m-%dT%H:%M:%fZ', 1772323200 + 3600 * i, 'unixepoch') AS at FROM n)";
    rusqlite::Connection::open(project.path(".kiln/kiln.db")).unwrap().execute_batch(rows).unwrap();
}

/// The jobs that are shown, by their targets.
fn shown(browser: &Browser) -> Vec<String> {
    // A page may be seen before all of it is there.
    browser.until("document.readyState === 'complete'");
    let jobs = browser.script("return [...document.querySelectorAll('#jobs th a')].map((a) => a.innerText)");
    jobs.as_array().unwrap().iter().map(|job| job.as_str().unwrap().to_owned()).collect()
}

fn numbers(from: u32, to: u32) -> Vec<String> {
    (to..=from).rev().map(|i| format!("j{i:03}")).collect()
}

#[test]
fn the_list_goes_on_to_older_jobs_and_back() {
    let project = orders();
    project.expect(0, &["run", "orders"]);
    history(&project);
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/?until=2026-04-01");
    assert_eq!(shown(&browser), numbers(119, 70));
    assert_eq!(browser.shown("#pages"), "Older →");
    browser.click("#pages a[rel=next]");
    browser.until("location.search.includes('cursor=')");
    assert_eq!(shown(&browser), numbers(69, 20));
    assert_eq!(
        browser.text("[...document.querySelectorAll('#pages a')].map((a) => a.innerText)"),
        "← Newest,← Newer,Older →"
    );
    // The address keeps what was looked for, and where one is.
    assert!(browser.text("location.search").contains("until=2026-04-01"));
    browser.go(&browser.text("location.href"));
    assert_eq!(shown(&browser), numbers(69, 20));
    browser.click("#pages a[rel=next]");
    browser.until("!document.querySelector('#pages a[rel=next]')");
    assert_eq!(shown(&browser), numbers(19, 0));
    // Step by step back.
    browser.click("#pages a[rel=prev]");
    browser.until("document.querySelector('#jobs th a').innerText === 'j069'");
    assert_eq!(shown(&browser), numbers(69, 20));
    browser.click("#pages a[rel=prev]");
    browser.until("document.querySelector('#jobs th a').innerText === 'j119'");
    assert_eq!(shown(&browser), numbers(119, 70));
    assert_eq!(browser.shown("#pages"), "Older →");
    browser.click("#pages a[rel=next]");
    browser.until("document.querySelector('#jobs th a').innerText === 'j069'");
    browser.click("#pages a");
    browser.until("!/cursor=|newer=/.test(location.search)");
    assert_eq!(shown(&browser), numbers(119, 70));
    // A new job comes to the first page alone.
    browser.go(&format!("{}/", server.url));
    let newest = "document.querySelector('#jobs th a').innerText";
    browser.until(&format!("{newest} === 'orders'"));
    assert_eq!(shown(&browser).len(), 50);
    browser.click("#pages a[rel=next]");
    browser.until("location.search.includes('cursor=')");
    let older = shown(&browser);
    assert_eq!(server.wait(&server.build("report")), "DONE");
    browser.go(&browser.text("location.href"));
    assert_eq!(shown(&browser), older);
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}

#[test]
fn the_list_is_narrowed_by_days() {
    let project = orders();
    project.expect(0, &["run", "orders"]);
    history(&project);
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/");
    // The first day and the second one: 24 hours each.
    browser.script("document.querySelector('input[name=since]').value = '2026-03-02'");
    browser.script("document.querySelector('input[name=until]').value = '2026-03-03'");
    browser.click("form.filters button");
    browser.until("location.search.includes('since=2026-03-02&until=2026-03-03')");
    assert_eq!(shown(&browser), numbers(47, 24));
    assert!(!browser.text("document.querySelector('#pages').innerText").contains("Older"));
    for (name, value) in [("since", "2026-03-02"), ("until", "2026-03-03")] {
        assert_eq!(browser.text(&format!("document.querySelector('input[name={name}]').value")), value);
    }
    // Together with who started them.
    browser.write("input[name=initiator]", &format!("ana{}", super::driver::ENTER));
    browser.until("location.search.includes('initiator=ana')");
    let even: Vec<_> = (24..48).rev().filter(|i| i % 2 == 0).map(|i| format!("j{i:03}")).collect();
    assert_eq!(shown(&browser), even);
    browser.go(&format!("{}/?since=2026-03-02T12:00:00Z&until=1772463600000", server.url));
    assert_eq!(shown(&browser), numbers(38, 36));
    browser.go(&format!("{}/?since=tomorrow", server.url));
    let wrong = browser.shown(".wrong");
    assert!(wrong.starts_with("since=tomorrow: this is no point in time; write milliseconds"), "{wrong}");
    browser.click("form.filters a");
    browser.until("location.search === '' && document.querySelectorAll('#jobs th').length === 50");
}

#[test]
fn the_way_to_older_jobs_comes_when_there_are_some() {
    let project = orders();
    project.expect(0, &["run", "orders"]);
    let server = Server::start(&project, &[]);
    let browser = Browser::start();
    sign_in(&browser, &server, "/");
    assert_eq!(browser.text("document.querySelectorAll('#pages a').length"), "0");
    history(&project);
    // It is told to a page that is open.
    browser.until_shown("#pages", "Older →");
    assert_eq!(shown(&browser).len(), 50);
}

#[test]
fn several_projects_are_one_list_and_can_be_told_apart() {
    let project = orders();
    let other =
        "[pipeline]\nformat = 1\nname = \"other\"\n[dataset.x]\npath = \"build/x\"\nrun = 'echo 1 >{{ output }}'\n";
    project.write("other.toml", other);
    let server = Server::start(&project, &["-f", "pipeline.toml", "-f", "other.toml"]);
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    let job = server.post("/public/api/projects/OTHER/jobs/", "{\"outputs\": [{\"id\": \"x\"}]}").json();
    let events = format!("/public/api/projects/OTHER/jobs/{}/events", job["id"].as_str().unwrap());
    assert!(server.get(&events).body.contains("\"state\":\"DONE\""));
    let browser = Browser::start();
    sign_in(&browser, &server, "/");
    assert_eq!(shown(&browser), ["x --mode only", "orders"]);
    let cards = browser.text("[...document.querySelectorAll('.project h2')].map((card) => card.innerText)");
    assert_eq!(cards, "ORDERS,OTHER");
    browser.script("document.querySelector('select[name=project]').value = 'OTHER'");
    browser.click("form.filters button");
    browser.until("location.search.includes('project=OTHER')");
    assert_eq!(shown(&browser), ["x --mode only"]);
    // An output that only one of them has.
    browser.go(&format!("{}/?output=x", server.url));
    assert_eq!(shown(&browser), ["x --mode only"]);
    browser.click("#flow-OTHER");
    browser.until_shown("h1", "other");
    assert_eq!(browser.text("document.querySelectorAll('#steps tr').length"), "1");
}
