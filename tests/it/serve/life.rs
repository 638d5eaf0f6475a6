//! How the server begins, shares its store with `kiln run`, and ends.

use std::io::{Read, Write};

use super::ask::{go, kill, release, up};
use super::{Server, orders};
use crate::support::lines;

pub(super) fn states(server: &Server) -> Vec<(String, String)> {
    let jobs = server.get("/public/api/projects/ORDERS/jobs/").json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    jobs.as_array().unwrap().iter().map(|job| (text(&job["id"]), text(&job["state"]))).collect()
}

#[test]
fn who_reads_the_history_with_sqlite_takes_nothing_away() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let log = project.path(".kiln/kiln.db-wal");
    let ask = |sql: &str| {
        let said = std::process::Command::new("sqlite3").arg(project.path(".kiln/kiln.db")).arg(sql).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap()
    };
    let mut jobs = Vec::new();
    for round in 1..4 {
        jobs.push(server.build("orders"));
        assert_eq!(server.wait(jobs.last().unwrap()), "DONE");
        assert_eq!(ask("SELECT count(*) FROM runs"), format!("{round}\n"));
        assert!(log.exists(), "round {round}: the log of writes is the server's as long as it has the store open");
    }
    // A job that was ended while it waited has no beginning, and is swept like any other.
    let held = server.build("held");
    up(&project.path("held.up"));
    let waits = server.build("held");
    server.post(&format!("/public/api/projects/ORDERS/jobs/{waits}/abort"), "");
    assert_eq!(server.wait(&waits), "ABORTED");
    go(&project.path("held.go"));
    assert_eq!(server.wait(&held), "DONE");
    // The newest one stays.
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    for arguments in [&["gc", "--dry-run"][..], &["gc", "--keep-days", "0", "--keep-runs", "0"]] {
        project.expect(0, arguments);
    }
    let listed = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    assert!(listed.contains(&held) && !listed.contains(&waits), "{listed}");
}

#[test]
fn a_run_of_the_command_line_is_a_job_and_the_other_way_round() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let mut run = project.start(&["run", "gated"]);
    up(&project.path("gated.up"));
    let running = server.until("/public/api/jobs/running/?allUsers=True", |jobs| jobs[0]["state"] == "RUNNING");
    assert_eq!(running[0]["def"]["initiator"], "tester");
    let job = running[0]["id"].as_str().unwrap();
    // It has the pipeline: a job of the server waits for it, and says for whom.
    let waits = server.build("orders");
    let status = server.get(&format!("/public/api/projects/ORDERS/jobs/{waits}/")).json();
    assert_eq!(status["baseStatus"]["state"], "NOT_STARTED");
    assert_eq!(status["waitingFor"]["jobId"], job, "{status}");
    let message = status["waitingFor"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("process {}", run.id())), "{message}");
    let abort = server.post(&format!("/public/api/projects/ORDERS/jobs/{job}/abort"), "");
    assert_eq!(abort.status, 200, "{abort:?}");
    assert_eq!(run.wait().unwrap().code(), Some(143));
    assert_eq!(server.wait(job), "ABORTED");
    assert_eq!(server.wait(&waits), "DONE");
    let listed = project.expect(0, &["jobs", "list"]).out;
    assert!(listed.contains("API (local)") && listed.contains("tester"), "{listed}");
    // While a job of the server runs, the pipeline is taken.
    let held = server.build("held");
    up(&project.path("held.up"));
    let said = project.expect(3, &["run", "orders"]);
    assert!(said.err.contains(&format!("process {}", server.pid())), "{}", said.err);
    go(&project.path("held.go"));
    assert_eq!(server.wait(&held), "DONE");
    project.expect(0, &["run", "--wait", "orders"]);
}

#[test]
fn term_ends_what_runs_and_what_waits() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let running = server.build("gated");
    up(&project.path("gated.up"));
    let waits = server.build("gated");
    assert_eq!(server.state(&waits), "NOT_STARTED");
    let plan = project.expect(0, &["plan", "gated"]).out;
    assert!(plan.starts_with("orders · local · smart · a job waits for its turn since "), "{plan}");
    server.signal("TERM");
    let (code, said) = server.ended();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("SIGTERM: nothing more starts"), "{said}");
    let server = Server::start(&project, &[]);
    let expected = [(waits, "ABORTED".to_owned()), (running, "ABORTED".to_owned())];
    assert_eq!(states(&server), expected);
    assert!(!project.exists("build/gated.txt"));
}

#[test]
fn after_a_kill_nothing_is_lost() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let running = server.build("gated");
    up(&project.path("gated.up"));
    let waits = server.build("gated");
    kill(server.pid());
    drop(server);
    project.settled();
    release(&project.path("gated.go"));
    // Nobody has told the store: what is shown is what is.
    let listed = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed[0]["state"].as_str(), listed[1]["state"].as_str()), (Some("ABORTED"), Some("ABORTED")));
    let server = Server::start(&project, &[]);
    let expected = [(waits, "ABORTED".to_owned()), (running, "ABORTED".to_owned())];
    assert_eq!(states(&server), expected);
    let next = server.build("held");
    up(&project.path("held.up"));
    go(&project.path("held.go"));
    assert_eq!(server.wait(&next), "DONE");
    assert_eq!(project.read("build/held.txt"), "go\n");
}

#[test]
fn one_server_at_a_time_has_jobs_waiting_in_a_state() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let said = project.expect(3, &["serve", "--listen", "127.0.0.1:0"]);
    assert!(said.err.contains("another `kiln serve` is at work there"), "{}", said.err);
    drop(server);
    Server::start(&project, &[]);
}

#[test]
fn a_changed_file_counts_for_the_next_job() {
    let project = orders();
    let server = Server::start(&project, &[]);
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", text.replace("echo made orders", "echo made them anew"));
    let job = server.build("orders");
    assert_eq!(server.wait(&job), "DONE");
    let log = server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/log?activity=compute_orders_NP"));
    assert_eq!(log.body, "made them anew\n");
    // A file with mistakes: no job, and the rest goes by what it said before.
    project.write("pipeline.toml", text.replace("inputs = [\"raw\"]", "inputs = [\"row\"]"));
    let refused = server.post("/public/api/projects/ORDERS/jobs/", "{\"outputs\": [{\"id\": \"orders\"}]}");
    assert_eq!(refused.status, 409, "{refused:?}");
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("pipeline.toml:") && message.contains("`row`"), "{message}");
    assert_eq!(server.get("/public/api/projects/ORDERS/datasets/orders/").status, 200);
    project.write("pipeline.toml", &text);
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    server.signal("TERM");
    let (_, said) = server.ended();
    assert!(said.contains("pipeline.toml has changed: the next job goes by what it says now"), "{said}");
    assert!(said.contains("what the file said before counts until it is mended"), "{said}");
}

#[test]
fn several_files_are_several_projects() {
    let project = orders();
    project.write(
        "other.toml",
        "[pipeline]\nformat = 1\nname = \"other\"\n[dataset.x]\npath = \"build/x\"\nrun = 'echo 1 >{{ output }}'\n",
    );
    let server = Server::start(&project, &["-f", "pipeline.toml", "-f", "other.toml"]);
    let projects = server.get("/public/api/projects/").json();
    let keys: Vec<_> = projects.as_array().unwrap().iter().map(|project| project["projectKey"].clone()).collect();
    assert_eq!(keys, ["ORDERS", "OTHER"]);
    let job = server.post("/public/api/projects/OTHER/jobs/", "{\"outputs\": [{\"id\": \"x\"}]}").json();
    let events = server.get(&format!("/public/api/projects/OTHER/jobs/{}/events", job["id"].as_str().unwrap()));
    assert!(events.body.contains("event: end\ndata: {\"state\":\"DONE\"}"), "{}", events.body);
    // The job of one project is none of the other.
    let job = job["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/")).status, 404);
    drop(server);
    project.write("other.toml", "[pipeline]\nformat = 1\nname = \"orders\"\n");
    let said = project.expect(2, &["serve", "-f", "pipeline.toml", "-f", "other.toml"]);
    assert!(said.err.contains("are both project ORDERS") || said.err.contains("empty"), "{}", said.err);
}

#[test]
fn what_was_done_is_in_the_audit_log() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let job = server.build("gated");
    up(&project.path("gated.up"));
    let status = format!("/public/api/projects/ORDERS/jobs/{job}/");
    server.until(&status, |status| status["baseStatus"]["state"] == "RUNNING");
    // What was refused was not done.
    let clear = server.head("DELETE", "/public/api/projects/ORDERS/datasets/orders/data", "Connection: close\r\n");
    let refused = server.raw(clear.as_bytes());
    assert!(refused.status == 409 && refused.body.contains(&format!("; wait for job {job}")), "{refused:?}");
    assert_eq!(server.post(&format!("/public/api/projects/ORDERS/jobs/{job}/abort"), "").status, 200);
    assert_eq!(server.wait(&job), "ABORTED");
    project.free("orders");
    assert_eq!(server.raw(clear.as_bytes()).status, 200);
    let audit = lines(&project.read(".kiln/audit.jsonl"));
    let what: Vec<_> =
        audit.iter().map(|line| (line["what"].as_str().unwrap(), line["key"].as_str().unwrap())).collect();
    assert_eq!(what, [("start", "local"), ("abort", "local"), ("clear", "local")]);
    assert_eq!(audit[0]["job"], job);
    assert_eq!(audit[2]["about"], "orders");
    // Nothing that is asked for is anywhere to be read.
    assert!(!project.read(".kiln/audit.jsonl").contains(&server.key));
}

#[test]
fn lists_are_filtered_and_go_on_where_they_ended() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let made: Vec<_> = ["orders", "report", "bad", "orders"]
        .map(|output| {
            let job = server.build(output);
            (server.wait(&job), job)
        })
        .into();
    let list = |query: &str| -> Vec<String> {
        let jobs = server.get(&format!("/public/api/projects/ORDERS/jobs/?{query}")).json();
        jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    let ids: Vec<_> = made.iter().rev().map(|(_, job)| job.clone()).collect();
    assert_eq!(list(""), ids);
    assert_eq!(list("limit=2"), ids[..2]);
    assert_eq!(list("state=FAILED"), [ids[1].clone()]);
    assert_eq!(list("state=done"), [ids[0].clone(), ids[2].clone(), ids[3].clone()]);
    assert_eq!(list("output=train"), [ids[2].clone()]);
    let page = server.get("/public/api/projects/ORDERS/jobs/?limit=3").json();
    let cursor = page[2]["cursor"].as_str().unwrap();
    assert_eq!(list(&format!("cursor={cursor}")), [ids[3].clone()]);
    let asked = page[1]["def"]["initiationTimestamp"].as_i64().unwrap();
    assert_eq!(list(&format!("since={asked}")), ids[..2]);
    assert_eq!(list(&format!("until={asked}")), ids[2..]);
    assert_eq!(server.get("/public/api/projects/ORDERS/jobs/?output=nothing").status, 404);
    // What the file does not have any more has a history still.
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", &text[..text.find("[dataset.bad]").unwrap()]);
    assert_eq!(list("output=bad"), [ids[1].clone()]);
    assert_eq!(server.get("/public/api/projects/ORDERS/jobs/?output=nothing").status, 404);
}

#[test]
fn logs_are_read_from_any_byte_and_followed() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let job = server.build("report");
    assert_eq!(server.wait(&job), "DONE");
    let log = format!("/public/api/projects/ORDERS/jobs/{job}/log?activity=compute_orders_NP");
    assert_eq!(server.get(&log).body, "made orders\n");
    assert_eq!(server.get(&format!("{log}&offset=5")).body, "orders\n");
    assert_eq!(server.get(&format!("{log}&offset=999")).body, "");
    let followed = server.get(&format!("{log}&follow=True"));
    assert!(followed.head.contains("content-type: text/event-stream"), "{followed:?}");
    let expected = "id: 12\nevent: log\ndata: \"made orders\\n\"\n\nevent: end\ndata: {\"state\":\"DONE\"}\n\n";
    assert_eq!(followed.body, expected);
    // A browser that lost its connection goes on behind what it has seen.
    let again = server.head("GET", &format!("{log}&follow=True"), "Last-Event-ID: 5\r\nConnection: close\r\n");
    assert!(server.raw(again.as_bytes()).body.starts_with("id: 12\nevent: log\ndata: \"orders\\n\"\n\n"));
    assert_eq!(server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/log?follow=true")).status, 400);
}

#[test]
fn the_log_of_a_job_that_waits_is_empty_and_followed() {
    let project = orders();
    let server = Server::start(&project, &["--max-jobs", "1"]);
    let first = server.build("gated");
    up(&project.path("gated.up"));
    let waits = server.build("orders");
    let log = |activity: &str| format!("/public/api/projects/ORDERS/jobs/{waits}/log?activity={activity}");
    for activity in ["compute_orders_NP", "orders"] {
        let answer = server.get(&log(activity));
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{answer:?}");
    }
    assert_eq!(server.get(&log("nothing")).status, 404);
    let mut stream = server.connect();
    let head = server.head("GET", &format!("{}&follow=true", log("compute_orders_NP")), "Connection: close\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    go(&project.path("gated.go"));
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.contains("data: \"made orders\\n\"") && said.contains("event: end\ndata: {\"state\":"), "{said}");
    assert_eq!((server.wait(&first), server.wait(&waits)), ("DONE".to_owned(), "DONE".to_owned()));
}

#[test]
fn whoever_asks_a_job_to_end_again_does_not_make_it_harsher() {
    let project = orders();
    let text = project.read("pipeline.toml");
    let cleans = "trap 'echo asked >gated.up; read -r go <gated.go; echo cleaned >cleaned; exit 1' TERM; echo up >gated.up; sleep 300 & wait";
    let own = "run = \"echo up >gated.up; cat gated.go >{{ output }}\"";
    assert!(text.contains(own));
    project.write("pipeline.toml", text.replace(own, &format!("run = \"{cleans}\"")));
    let server = Server::start(&project, &[]);
    let job = server.build("gated");
    up(&project.path("gated.up"));
    let abort = || server.post(&format!("/public/api/projects/ORDERS/jobs/{job}/abort"), "");
    assert!(abort().body.contains("is asked to end"));
    assert_eq!(std::fs::read_to_string(project.path("gated.up")).unwrap(), "asked\n");
    for _ in 0..3 {
        let answer = abort();
        assert!(answer.body.contains("is asked to end"), "{answer:?}");
    }
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&job), "ABORTED");
    assert_eq!(project.read("cleaned"), "cleaned\n");
}

#[test]
fn a_run_with_options_is_asked_for_again_as_a_whole() {
    let project = orders();
    project.expect(0, &["run", "--mode", "forced", "--var", "country=DE", "orders"]);
    let server = Server::start(&project, &[]);
    let job = states(&server)[0].0.clone();
    let page = server.get(&format!("/projects/ORDERS/jobs/{job}")).body;
    assert!(page.contains("kiln run --var country=DE --mode forced orders"), "{page}");
    let again = server.post(&format!("/projects/ORDERS/jobs/{job}/again"), "");
    assert!(again.status == 409 && again.body.contains("kiln run --var country=DE --mode forced orders"), "{again:?}");
}

#[test]
fn a_log_is_followed_while_it_grows() {
    let project = orders();
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", text.replace("echo up >gated.up; cat", "echo one; echo up >gated.up; echo é; cat"));
    let server = Server::start(&project, &[]);
    let job = server.build("gated");
    up(&project.path("gated.up"));
    let path = format!("/public/api/projects/ORDERS/jobs/{job}/");
    server.until(&path, |status| status["baseStatus"]["activities"]["compute_gated_NP"]["state"] == "RUNNING");
    let mut stream = server.connect();
    let log = format!("{path}log?activity=compute_gated_NP&follow=true");
    stream.write_all(server.head("GET", &log, "Connection: close\r\n").as_bytes()).unwrap();
    let mut said = Vec::new();
    let mut read = |until: &str, said: &mut Vec<u8>| {
        let mut part = [0; 1024];
        while !String::from_utf8_lossy(said).contains(until) {
            let n = stream.read(&mut part).unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(said));
            said.extend(&part[..n]);
        }
    };
    // What it has printed is there while it still runs.
    read("é", &mut said);
    assert!(!String::from_utf8_lossy(&said).contains("event: end"));
    go(&project.path("gated.go"));
    read("event: end\ndata: {\"state\":", &mut said);
    assert_eq!(server.wait(&job), "DONE");
}

#[test]
fn a_run_of_another_process_is_followed() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let mut run = project.start(&["run", "gated"]);
    up(&project.path("gated.up"));
    let running = server.until("/public/api/projects/ORDERS/jobs/running/", |jobs| jobs[0]["state"] == "RUNNING");
    let events = format!("/public/api/projects/ORDERS/jobs/{}/events", running[0]["id"].as_str().unwrap());
    let mut stream = server.connect();
    stream.write_all(server.head("GET", &events, "Connection: close\r\n").as_bytes()).unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    go(&project.path("gated.go"));
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    for part in ["\"type\":\"step_started\"", "\"type\":\"run_ended\"", "event: end\ndata: {\"state\":\"DONE\"}"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(run.wait().unwrap().success());
}

#[test]
fn a_run_that_was_killed_is_aborted_wherever_one_looks() {
    let project = orders();
    let server = Server::start(&project, &[]);
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    // The server tells that a job is done before it has let go of the pipeline.
    let mut run = project.start(&["run", "--wait", "gated"]);
    up(&project.path("gated.up"));
    let running = server.until("/public/api/projects/ORDERS/jobs/running/", |jobs| jobs[0]["state"] == "RUNNING");
    let job = running[0]["id"].as_str().unwrap().to_owned();
    run.kill().unwrap();
    run.wait().unwrap();
    project.free("orders");
    // The store still says RUNNING; nobody has the pipeline.
    let database = rusqlite::Connection::open(project.path(".kiln/kiln.db")).unwrap();
    let said: String = database.query_row("SELECT state FROM runs WHERE job = ?1", [&job], |row| row.get(0)).unwrap();
    assert_eq!(said, "RUNNING");
    let status = server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/")).json();
    assert_eq!(status["baseStatus"]["state"], "ABORTED");
    assert_eq!(status["baseStatus"]["activities"]["compute_gated_NP"]["state"], "ABORTED");
    assert_eq!(status["globalState"]["running"], 0);
    for (query, found) in [("", 2), ("state=ABORTED", 1), ("state=RUNNING", 0), ("state=DONE", 1), ("limit=1", 1)] {
        let listed = server.get(&format!("/public/api/projects/ORDERS/jobs/?{query}")).json();
        assert_eq!(listed.as_array().unwrap().len(), found, "{query}: {listed}");
        if query != "state=DONE" && found > 0 {
            assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&job.clone().into(), &"ABORTED".into()));
            assert_eq!(listed[0]["stableState"], true);
            // It lived as long as its last sign of life.
            let ms = |name: &str| listed[0][name].as_i64().unwrap();
            assert!(ms("endTime") >= ms("startTime") && ms("startTime") > 0, "{listed}");
        }
    }
    for running in ["/public/api/projects/ORDERS/jobs/running/", "/public/api/jobs/running/"] {
        assert_eq!(server.get(running).json(), serde_json::json!([]));
    }
    // Who follows it is told the end; who aborts it is told that it is over.
    assert_eq!(server.wait(&job), "ABORTED");
    let abort = server.post(&format!("/public/api/projects/ORDERS/jobs/{job}/abort"), "");
    assert!(abort.body.contains("is ABORTED already"), "{abort:?}");
    let page = server.get(&format!("/projects/ORDERS/jobs/{job}")).body;
    assert!(page.contains("<span class=\"pill stopped\">aborted</span>"), "{page}");
    // The next job tells the store too.
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    let said: String = database.query_row("SELECT state FROM runs WHERE job = ?1", [&job], |row| row.get(0)).unwrap();
    assert_eq!(said, "ABORTED");
}

#[test]
fn a_step_that_will_not_end_does_not_keep_the_server() {
    let project = orders();
    let text = project.read("pipeline.toml");
    let stubborn = "run = \"trap '' TERM INT HUP; echo up >gated.up; while :; do read -r go <gated.go || :; done\"\ngrace = \"100ms\"";
    project.write("pipeline.toml", text.replace("run = \"echo up >gated.up; cat gated.go >{{ output }}\"", stubborn));
    let server = Server::start(&project, &[]);
    let job = server.build("gated");
    up(&project.path("gated.up"));
    server.signal("TERM");
    let (code, said) = server.ended();
    assert_eq!(code, 0, "{said}");
    // Its step is gone with it, and the end is in the history.
    project.free("orders");
    let server = Server::start(&project, &[]);
    assert_eq!(states(&server), [(job, "ABORTED".to_owned())]);
}

#[test]
fn clearing_takes_away_nothing_outside_the_root() {
    let project = orders();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("orders.csv"), "mine").unwrap();
    std::os::unix::fs::symlink(outside.path(), project.path("build")).unwrap();
    let server = Server::start(&project, &[]);
    let clear = |dataset: &str| {
        let head = server.head(
            "DELETE",
            &format!("/public/api/projects/ORDERS/datasets/{dataset}/data"),
            "Connection: close\r\n",
        );
        server.raw(head.as_bytes())
    };
    let answer = clear("orders");
    assert_eq!(answer.status, 409, "{answer:?}");
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`orders`") && message.contains("leads out of the root"), "{message}");
    assert_eq!(std::fs::read_to_string(outside.path().join("orders.csv")).unwrap(), "mine");
    // A source is nobody's to clear, and what is not there is clear.
    assert_eq!(clear("raw").status, 409);
    assert!(project.exists("raw.csv"));
    std::fs::remove_file(project.path("build")).unwrap();
    assert_eq!(clear("orders").status, 200);
    let audit = lines(&project.read(".kiln/audit.jsonl"));
    assert!(audit.iter().all(|line| line["what"] == "clear"), "{audit:?}");
}
