//! What takes long, hangs or breaks holds up nobody else, and nothing is half done because somebody hung up.

use std::io::Write;

use super::ask::{go, up};
use super::life::states;
use super::{Server, orders};
use crate::support::lines;

/// A file that cannot be read to its end, such as on a disk that hangs: here one that somebody has to write first.
#[test]
fn a_file_that_hangs_holds_up_nobody_else() {
    let project = orders();
    project.write(
        "other.toml",
        "[pipeline]\nformat = 1\nname = \"other\"\n[dataset.x]\npath = \"build/x\"\nrun = 'true'\n",
    );
    let server = Server::start(&project, &["-f", "other.toml", "-f", "pipeline.toml"]);
    std::fs::remove_file(project.path("other.toml")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(project.path("other.toml")).status().unwrap().success());
    let mut asks = server.connect();
    asks.write_all(server.head("GET", "/public/api/projects/OTHER/datasets/x/", "").as_bytes()).unwrap();
    // This waits until the server reads there; it hangs until this is closed.
    let hangs = std::fs::File::options().write(true).open(project.path("other.toml")).unwrap();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/public/api/projects/ORDERS/datasets/orders/").status, 200);
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    // Nor does it hold up those for long who ask for the same project: it is answered from what it said before.
    assert_eq!(server.get("/public/api/projects/OTHER/datasets/x/").status, 200);
    server.signal("TERM");
    let (code, said) = server.ended();
    assert_eq!(code, 0, "{said}");
    drop(hangs);
}

/// A command that is run to look at a tool, and does not end.
fn that_looks() -> crate::support::Project {
    let project = orders();
    let text = project.read("pipeline.toml");
    let own = "path = \"build/gated.txt\"\nrun = ";
    let tools = "path = \"build/gated.txt\"\ntools = { slow = \"echo up >gated.up; sleep 600\" }\nrun = ";
    assert!(text.contains(own));
    project.write("pipeline.toml", text.replace(own, tools));
    project
}

#[test]
fn a_job_that_looks_hears_that_it_is_to_end() {
    let project = that_looks();
    let server = Server::start(&project, &[]);
    let job = server.build("gated");
    up(&project.path("gated.up"));
    let path = format!("/public/api/projects/ORDERS/jobs/{job}/");
    assert_eq!(server.get(&path).json()["waitingFor"]["reason"], "plan");
    assert_eq!(server.post(&format!("{path}abort"), "").status, 200);
    assert_eq!(server.wait(&job), "ABORTED");
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    let job = server.build("gated");
    up(&project.path("gated.up"));
    server.signal("TERM");
    let (code, said) = server.ended();
    assert_eq!(code, 0, "{said}");
    let server = Server::start(&project, &[]);
    assert_eq!(states(&server)[0], (job, "ABORTED".to_owned()));
}

#[test]
fn a_page_that_looks_does_not_keep_the_server_from_ending() {
    let project = that_looks();
    let server = Server::start(&project, &[]);
    let mut asks = server.connect();
    asks.write_all(server.head("GET", "/projects/ORDERS/flow?target=gated", "").as_bytes()).unwrap();
    up(&project.path("gated.up"));
    server.signal("TERM");
    let (code, said) = server.ended();
    assert_eq!(code, 0, "{said}");
}

/// What is asked for is done to its end, whoever waits for that.
#[test]
fn no_job_is_started_without_a_line_in_the_audit_log() {
    let project = orders();
    let server = Server::start(&project, &["--max-jobs", "1"]);
    let held = server.build("held");
    up(&project.path("held.up"));
    let body = "{\"outputs\": [{\"id\": \"orders\"}]}";
    for _ in 0..40 {
        let head =
            server.head("POST", "/public/api/projects/ORDERS/jobs/", &format!("Content-Length: {}\r\n", body.len()));
        server.connect().write_all(format!("{head}{body}").as_bytes()).unwrap();
    }
    go(&project.path("held.go"));
    assert_eq!(server.wait(&held), "DONE");
    server.signal("TERM");
    assert_eq!(server.ended().0, 0);
    let server = Server::start(&project, &[]);
    let mut jobs: Vec<_> = states(&server).into_iter().map(|(job, _)| job).collect();
    let audit = lines(&project.read(".kiln/audit.jsonl"));
    let mut noted: Vec<_> = audit.iter().map(|line| line["job"].as_str().unwrap().to_owned()).collect();
    jobs.sort();
    noted.sort();
    assert_eq!(jobs, noted);
}

#[test]
fn a_history_that_cannot_be_read_is_told_before_the_answer_begins() {
    let project = orders();
    let server = Server::start(&project, &[]);
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    project.free("orders");
    // Another one in its place.
    for name in ["kiln.db-wal", "kiln.db-shm"] {
        drop(std::fs::remove_file(project.path(&format!(".kiln/{name}"))));
    }
    project.write(".kiln/new.db", "this is no history".repeat(1_000));
    std::fs::rename(project.path(".kiln/new.db"), project.path(".kiln/kiln.db")).unwrap();
    for path in ["jobs/", "jobs/running/", "jobs/?limit=5"] {
        let answer = server.get(&format!("/public/api/projects/ORDERS/{path}"));
        assert_eq!(answer.status, 500, "{path}: {answer:?}");
        assert!(answer.json()["message"].as_str().unwrap().starts_with("the history cannot be read"), "{answer:?}");
    }
}
