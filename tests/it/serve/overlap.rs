//! What one process writes no other one writes at the same time, whether a server's jobs or `kiln run`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use super::ask::{go, up};
use super::{Server, orders, orders_and};
use crate::support::Project;

/// Another pipeline over the same root: it writes what [`super::ORDERS`] writes too, and something of its own.
fn with_other() -> Project {
    orders_and(
        r#"
[dataset.gated]
path = "build/gated.txt"
run = "echo up >held.up; cat held.go >{{ output }}"
[dataset.charts]
path = "build/charts/x.csv"
run = "echo x >{{ output }}"
[dataset.orders]
path = "build/orders.csv"
run = "echo other >{{ output }}"
[dataset.own]
path = "build/own.txt"
run = "echo own >{{ output }}"
"#,
    )
}

/// Builds the folder `charts`.
fn charts(server: &Server) -> String {
    let output = "{\"type\": \"MANAGED_FOLDER\", \"id\": \"O2ue6CX3\"}";
    let body = format!("{{\"type\": \"RECURSIVE_BUILD\", \"outputs\": [{output}]}}");
    server.post("/public/api/projects/ORDERS/jobs/", &body).json()["id"].as_str().unwrap().to_owned()
}

fn waits_for(server: &Server, job: &str) -> String {
    let status = server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/")).json();
    assert_eq!(status["baseStatus"]["state"], "NOT_STARTED");
    status["waitingFor"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn kiln_run_does_not_write_what_a_job_writes() {
    let project = with_other();
    let server = Server::start(&project, &[]);
    let job = server.build("gated");
    up(&project.path("gated.up"));
    let said = project.expect(3, &["run", "-f", "other.toml", "gated"]).err;
    let holder = format!("a run of `orders` writes build/gated.txt too: process {}", server.pid());
    assert!(said.contains(&holder), "{said}");
    // What the job does not write is free, also when another job of the pipeline has written it.
    project.expect(0, &["run", "-f", "other.toml", "own"]);
    assert_eq!(server.wait(&charts(&server)), "DONE");
    // The server tells that a job is done before it has let go of what that wrote.
    while project.kiln(&["run", "-f", "other.toml", "orders"]).code == 3 {}
    assert_eq!(project.read("build/orders.csv"), "other\n");
    let mut waits = project.start(&["run", "--wait", "-f", "other.toml", "gated"]);
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&job), "DONE");
    up(&project.path("held.up"));
    assert_eq!(project.read("build/gated.txt"), "go\n");
    go(&project.path("held.go"));
    assert!(waits.wait().unwrap().success());
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn the_command_line_waits_for_a_job_that_waits_its_turn() {
    let project = with_other();
    let gated = project.read("other.toml").replace("echo other >", "echo up >held.up; cat held.go >");
    project.write("other.toml", gated);
    let server = Server::start(&project, &[]);
    let done = server.build("orders");
    assert_eq!(server.wait(&done), "DONE");
    let mut run = project.start(&["run", "--wait", "-f", "other.toml", "orders"]);
    up(&project.path("held.up"));
    let waits = server.build("orders");
    assert_eq!(server.state(&waits), "NOT_STARTED");
    let follower = project.start(&["jobs", "log", &waits, "--follow"]);
    let said = project.expect(1, &["jobs", "wait", &waits, "--timeout", "1ms"]).out;
    assert_eq!(said, format!("{waits} waits for its turn\n"));
    let mut waiting = project.start(&["jobs", "wait", &done, &waits]);
    let mut out = BufReader::new(waiting.stdout.take().unwrap());
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    go(&project.path("held.go"));
    assert!(run.wait().unwrap().success());
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, format!("{done} DONE\n{waits} DONE\n"));
    assert!(waiting.wait().unwrap().success());
    let followed = follower.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&followed.stdout), "== orders ==\nmade orders\n");
}

#[test]
fn the_command_line_ends_jobs_of_a_server_and_not_the_server() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let (runs, waits) = (server.build("gated"), server.build("gated"));
    up(&project.path("gated.up"));
    assert_eq!(server.state(&waits), "NOT_STARTED");
    assert_eq!(project.expect(0, &["jobs", "abort", &waits]).out, format!("{waits}: ended\n"));
    assert_eq!((server.state(&waits), server.state(&runs)), ("ABORTED".to_owned(), "RUNNING".to_owned()));
    // The last one is the one that goes on, also if another was asked for later.
    assert_eq!(project.expect(0, &["jobs", "abort", "last"]).out, format!("{runs}: ended\n"));
    assert_eq!(server.state(&runs), "ABORTED");
    let said = project.expect(0, &["jobs", "abort", &runs]).out;
    assert_eq!(said, format!("{runs}: it has ended already: ABORTED\n"));
    // Whoever asks for all of that ends only what runs.
    let runs = server.build("held");
    up(&project.path("held.up"));
    let status = format!("/public/api/projects/ORDERS/jobs/{runs}/");
    server.until(&status, |status| status["baseStatus"]["state"] == "RUNNING");
    assert_eq!(project.expect(0, &["jobs", "abort", "--all"]).out, format!("{runs}: ended\n"));
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    let audit = project.read(".kiln/audit.jsonl");
    assert_eq!(audit.matches("\"key\":\"kiln jobs abort\"").count(), 3, "{audit}");
    // A server that does nothing does not make anyone wait for ever, and nothing is left of what was wished.
    let runs = server.build("gated");
    up(&project.path("gated.up"));
    server.signal("STOP");
    let said = project.command(&["jobs", "abort", &runs]).env("CI", "true").output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let has_it = format!("the `kiln serve` that has it, process {} on ", server.pid());
    assert!(said.contains(&has_it) && said.contains(", cannot be asked: it does not listen"), "{said}");
    server.signal("CONT");
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&runs), "DONE");
}

#[test]
fn a_job_does_not_write_what_kiln_run_writes() {
    let project = with_other();
    let server = Server::start(&project, &[]);
    let mut run = project.start(&["run", "-f", "other.toml", "gated", "charts"]);
    up(&project.path("held.up"));
    let job = server.build("gated");
    let message = waits_for(&server, &job);
    let holder = format!("a run of `other` writes build/gated.txt too: process {}", run.id());
    assert!(message.contains(&holder), "{message}");
    // Who wants nothing of that is not held up, and holds up nobody.
    assert_eq!(server.wait(&server.build("report")), "DONE");
    // The server tells that a job is done before it has let go of the pipeline.
    project.expect(0, &["run", "--wait", "orders"]);
    // A folder around what another one writes is the same place.
    let around = charts(&server);
    let message = waits_for(&server, &around);
    assert!(message.contains("a run of `other` writes build/charts too"), "{message}");
    go(&project.path("held.go"));
    assert!(run.wait().unwrap().success());
    up(&project.path("gated.up"));
    go(&project.path("gated.go"));
    assert_eq!((server.wait(&job), server.wait(&around)), ("DONE".to_owned(), "DONE".to_owned()));
}

#[test]
fn projects_of_one_server_do_not_write_to_one_place() {
    let project = with_other();
    let server = Server::start(&project, &["-f", "pipeline.toml", "-f", "other.toml"]);
    let job = server.build("gated");
    up(&project.path("gated.up"));
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    let start = |output: &str| {
        let body = format!("{{\"outputs\": [{{\"id\": \"{output}\"}}]}}");
        let answer = server.post("/public/api/projects/OTHER/jobs/", &body);
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let charts = start("charts");
    let events = |job: &str| server.get(&format!("/public/api/projects/OTHER/jobs/{job}/events")).body;
    assert!(events(&charts).contains("event: end\ndata: {\"state\":\"DONE\"}"));
    // Nor is anything taken away that another one writes.
    let clear = server.head("DELETE", "/public/api/projects/OTHER/datasets/gated/data", "Connection: close\r\n");
    let clear = server.raw(clear.as_bytes());
    assert!(clear.status == 409 && clear.body.contains("a run of `orders` writes build/gated.txt too"), "{clear:?}");
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&job), "DONE");
}

#[test]
fn a_step_without_a_place_waits_and_does_not_run() {
    let project = orders();
    let server = Server::start(&project, &["--max-activities", "1", "--max-jobs", "2"]);
    let first = server.build("gated");
    up(&project.path("gated.up"));
    let second = server.build("held");
    let status = server
        .until(&format!("/public/api/projects/ORDERS/jobs/{second}/"), |job| job["baseStatus"]["state"] == "RUNNING");
    let activity = &status["baseStatus"]["activities"]["compute_held_NP"];
    assert_eq!((&activity["state"], &status["globalState"]["running"]), (&"NOT_STARTED".into(), &0.into()), "{status}");
    assert_eq!(status["globalState"]["notStarted"], 1);
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&first), "DONE");
    up(&project.path("held.up"));
    go(&project.path("held.go"));
    assert_eq!(server.wait(&second), "DONE");
    let times = server.get(&format!("/public/api/projects/ORDERS/jobs/{second}/")).json();
    let times = &times["runtimeSummary"]["activities"][0];
    let ms = |name: &str| times[name].as_u64().unwrap();
    assert_eq!(ms("totalTime"), ms("waitingTime") + ms("runningTime"), "{times}");
}

#[test]
fn jobs_beyond_so_many_wait_for_their_turn_in_order() {
    let project = orders();
    let server = Server::start(&project, &["--max-jobs", "1"]);
    let first = server.build("gated");
    up(&project.path("gated.up"));
    let (second, third) = (server.build("orders"), server.build("held"));
    for job in [&second, &third] {
        let status = server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/")).json();
        assert_eq!(status["baseStatus"]["state"], "NOT_STARTED");
        assert_eq!((&status["waitingFor"]["reason"], &status["globalState"]["total"]), (&"turn".into(), &0.into()));
        assert_eq!(status["baseStatus"]["jobStartTime"], 0);
    }
    // One that is aborted while it waits never was at work.
    assert_eq!(server.post(&format!("/public/api/projects/ORDERS/jobs/{second}/abort"), "").status, 200);
    assert_eq!(server.wait(&second), "ABORTED");
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&first), "DONE");
    up(&project.path("held.up"));
    server.until(&format!("/public/api/projects/ORDERS/jobs/{third}/"), |job| job["baseStatus"]["state"] == "RUNNING");
    go(&project.path("held.go"));
    assert_eq!(server.wait(&third), "DONE");
    assert!(!project.exists("build/orders.csv"));
}

#[test]
fn the_end_of_a_log_says_how_long_all_of_it_is() {
    let project = orders();
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", text.replace("echo made orders", "seq 1000; printf end"));
    let server = Server::start(&project, &[]);
    let job = server.build("orders");
    assert_eq!(server.wait(&job), "DONE");
    let status = server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/")).json();
    let tail = &status["logTail"];
    assert_eq!(tail["totalLines"], 1001);
    let lines = tail["lines"].as_array().unwrap();
    assert_eq!((lines.len(), &lines[28], &lines[29]), (30, &"1000".into(), &"end".into()));
}

/// A file in a folder that another project builds is a part of it.
#[test]
fn a_job_waits_for_the_folder_around_what_it_reads() {
    let project = orders_and(
        r#"
[dataset.letters]
path = "build/charts/a.csv"
[dataset.copy]
path = "build/copy.csv"
inputs = ["letters"]
run = "cp {{ inputs.letters }} {{ output }}"
"#,
    );
    let text = project.read("pipeline.toml");
    let own = "mkdir {{ output }}/sub; cp";
    assert!(text.contains(own));
    project.write("pipeline.toml", text.replace(own, "mkdir {{ output }}/sub; echo up >held.up; cat held.go; cp"));
    project.write("keys.toml", keys(&project));
    let mut server =
        Server::start(&project, &["-f", "pipeline.toml", "-f", "other.toml", "--api-key-file", "keys.toml"]);
    server.key = ADMIN.to_owned();
    let charts = charts(&server);
    up(&project.path("held.up"));
    let start = "{\"type\": \"RECURSIVE_BUILD\", \"outputs\": [{\"id\": \"copy\"}]}";
    let job = server.post("/public/api/projects/OTHER/jobs/", start).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/public/api/projects/OTHER/jobs/{job}/");
    let waits = |server: &Server| server.get(&path).json()["waitingFor"].clone();
    assert_eq!(
        waits(&server),
        serde_json::json!({
            "reason": "job", "jobId": charts, "message": format!("waits for {charts}, which has `build/charts`"),
        })
    );
    // Who may not look at the project of that job is not told about it, wherever it is said.
    server.key = NARROW.to_owned();
    assert_eq!(waits(&server), serde_json::json!({ "reason": "job", "message": "waits for another job" }));
    for path in [&path, &format!("{path}log"), "/public/api/projects/OTHER/jobs/", "/public/api/jobs/running/", "/"] {
        let said = server.get(path);
        assert!(said.status == 200 && said.body.contains("waits for another job"), "{path}: {said:?}");
        assert!(!said.body.contains(&charts) && !said.body.contains("build/charts`"), "{path}: {said:?}");
    }
    server.key = ADMIN.to_owned();
    go(&project.path("held.go"));
    assert_eq!(server.wait(&charts), "DONE");
    let events = server.get(&format!("{path}events")).body;
    assert!(events.contains("event: end\ndata: {\"state\":\"DONE\"}"), "{events}");
    assert_eq!(project.read("build/copy.csv"), project.read("raw.csv"));
}

const ADMIN: &str = "the key of the admin for tests";
const NARROW: &str = "the key of somebody for tests";

/// A key that may do everything, and one that sees one project.
fn keys(project: &Project) -> String {
    let hash = |key: &str| {
        let mut child = project.command(&["serve", "--hash-key"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let (admin, narrow) = (hash(ADMIN), hash(NARROW));
    format!(
        "[keys.admin]\nhash = \"{admin}\"\nadmin = true\n[keys.ci]\nhash = \"{narrow}\"\nrights = {{ OTHER = [\"view\"] }}\n"
    )
}
