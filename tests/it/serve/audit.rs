//! What is noted of what was done, and who hears of it when the server itself breaks.

use super::ask::{go, up};
use super::{Server, orders};

#[test]
fn an_abort_that_is_refused_is_not_in_the_audit_log() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let mut other = project.start(&["run", "gated"]);
    up(&project.path("gated.up"));
    let list = server.until("/public/api/projects/ORDERS/jobs/running/", |jobs| jobs[0]["state"] == "RUNNING");
    let job = list[0]["id"].as_str().unwrap().to_owned();
    // Nobody knows any more which process it is.
    std::fs::remove_file(project.path(".kiln/locks/orders.claim")).unwrap();
    let abort = format!("/public/api/projects/ORDERS/jobs/{job}/abort");
    let refused = server.post(&abort, "");
    assert!(refused.status == 409 && refused.body.contains("is no run of this machine"), "{refused:?}");
    assert!(!project.exists(".kiln/audit.jsonl"));
    go(&project.path("gated.go"));
    assert!(other.wait().unwrap().success());
    // Nor is one of a job that has ended.
    assert_eq!(server.wait(&job), "DONE");
    assert_eq!(server.post(&abort, "").status, 200);
    assert!(!project.exists(".kiln/audit.jsonl"));
}

/// Without its thread no job begins: whoever looks after the server has to hear of it.
#[cfg(feature = "failpoints")]
#[test]
fn a_server_whose_jobs_crash_ends_and_says_that_this_is_a_bug() {
    let mut project = orders();
    project.variable("KILN_FAULT", "server.told=panic@1");
    let server = Server::start(&project, &[]);
    let answer = server.post("/public/api/projects/ORDERS/jobs/", "{\"outputs\": [{\"id\": \"orders\"}]}");
    assert_eq!(answer.status, 503, "{answer:?}");
    let (code, said) = server.ended();
    assert!(code == 70 && said.contains("the thread of the jobs crashed: this is a bug"), "{code} {said}");
}
