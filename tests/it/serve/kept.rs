//! What becomes of jobs and their history where the state is taken away, or cannot be kept.

use super::ask::{go, up};
use super::life::states;
use super::{Server, orders};

#[test]
fn a_state_that_was_removed_is_begun_anew() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let ids = || states(&server).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let gone = server.build("orders");
    assert_eq!(server.wait(&gone), "DONE");
    project.free("orders");
    std::fs::remove_dir_all(project.path(".kiln")).unwrap();
    assert_eq!(states(&server), []);
    assert_eq!(server.get(&format!("/public/api/projects/ORDERS/jobs/{gone}/")).status, 404);
    // What runs and what waits is told as it is, here and on the command line.
    let runs = server.build("gated");
    up(&project.path("gated.up"));
    let waits = server.build("gated");
    assert_eq!(states(&server)[0], (waits.clone(), "NOT_STARTED".to_owned()));
    let path = format!("/public/api/projects/ORDERS/jobs/{runs}/");
    server.until(&path, |status| status["baseStatus"]["state"] == "RUNNING");
    let said = project.expect(3, &["serve", "--listen", "127.0.0.1:0"]);
    assert!(said.err.contains("another `kiln serve` is at work there"), "{}", said.err);
    go(&project.path("gated.go"));
    assert_eq!((server.wait(&runs), server.wait(&waits)), ("DONE".to_owned(), "DONE".to_owned()));
    let listed = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    assert!(listed.contains(&runs) && listed.contains(&waits) && !listed.contains(&gone), "{listed}");
    // Another history in its place, which the server has not begun, is not lost by it.
    project.free("orders");
    std::fs::remove_dir_all(project.path(".kiln")).unwrap();
    project.expect(0, &["run", "orders"]);
    assert_eq!(ids().len(), 1);
    let next = server.build("orders");
    assert_eq!(server.wait(&next), "DONE");
    assert_eq!((ids().len(), ids()[0].clone()), (2, next));
    let listed = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&listed).unwrap().as_array().unwrap().len(), 2, "{listed}");
}

#[test]
fn what_cannot_be_kept_is_told_as_it_is_and_kept_later() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let (job, waits) = (server.build("gated"), server.build("gated"));
    up(&project.path("gated.up"));
    let path = format!("/public/api/projects/ORDERS/jobs/{job}/");
    server.until(&path, |status| status["baseStatus"]["activities"]["compute_gated_NP"]["state"] == "RUNNING");
    let database = rusqlite::Connection::open(project.path(".kiln/kiln.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END";
    database.execute_batch(full).unwrap();
    assert_eq!(server.post(&format!("/public/api/projects/ORDERS/jobs/{waits}/abort"), "").status, 200);
    assert_eq!(server.wait(&waits), "ABORTED");
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&job), "FAILED");
    let told = |server: &Server| {
        let status = server.get(&path).json();
        let message = status["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("the history cannot be kept: ") && message.contains("no room"), "{status}");
        let ms = |name: &str| status["baseStatus"][name].as_i64().unwrap();
        assert!(ms("jobEndTime") >= ms("jobStartTime") && ms("jobStartTime") > 0, "{status}");
        assert_eq!(status["baseStatus"]["activities"]["compute_gated_NP"]["state"], "ABORTED");
        let listed = |state: &str| {
            let jobs = server.get(&format!("/public/api/projects/ORDERS/jobs/?state={state}")).json();
            jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((listed("FAILED"), listed("ABORTED")), (vec![job.clone()], vec![waits.clone()]));
        assert_eq!((listed("RUNNING"), listed("NOT_STARTED")), (Vec::new(), Vec::new()));
        let log = server.get(&format!("{path}log")).body;
        assert!(!log.contains("killed"), "{log}");
    };
    told(&server);
    let refused = server.post("/public/api/projects/ORDERS/jobs/", "{\"outputs\": [{\"id\": \"orders\"}]}");
    assert!(refused.status == 500 && refused.body.contains("no room"), "{refused:?}");
    // With room again all of it is kept, without a job that asks for it.
    database.execute_batch("DROP TRIGGER full").unwrap();
    let kept = |job: &str| -> String {
        database.query_row("SELECT state FROM runs WHERE job = ?1", [job], |row| row.get(0)).unwrap()
    };
    while kept(&job) == "RUNNING" || kept(&waits) == "NOT_STARTED" {}
    assert_eq!((kept(&job), kept(&waits)), ("FAILED".to_owned(), "ABORTED".to_owned()));
    told(&server);
    drop(server);
    let server = Server::start(&project, &[]);
    told(&server);
    assert_eq!(server.wait(&server.build("orders")), "DONE");
}
