//! Clearing a dataset: what Kiln has built goes, what it has not is kept, and nobody is in the middle of it.

use super::ask::{Answer, go, up};
use super::{Server, orders, orders_and};

/// Clears a dataset of a project.
fn clear(server: &Server, of: &str, dataset: &str) -> Answer {
    let path = format!("/public/api/projects/{of}/datasets/{dataset}/data");
    server.raw(server.head("DELETE", &path, "Connection: close\r\n").as_bytes())
}

#[test]
fn what_kiln_has_not_built_is_moved_aside() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let kept = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        let message = answer.json()["msg"].as_str().unwrap().to_owned();
        message.split_once("dataset orders is cleared").unwrap().1.to_owned()
    };
    // Never built.
    project.write("build/orders.csv", "precious");
    let said = kept(&clear(&server, "ORDERS", "orders"));
    let place = said.strip_prefix("; what Kiln had not built there is kept in ").unwrap();
    assert!(place.starts_with(".kiln/replaced/") && place.ends_with("/build/orders.csv"), "{place}");
    assert_eq!((project.read(place).as_str(), project.exists("build/orders.csv")), ("precious", false));
    // Built, and changed since.
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    project.free("orders");
    project.write("build/orders.csv", "precious too");
    let said = kept(&clear(&server, "ORDERS", "orders"));
    assert_eq!(project.read(said.rsplit(' ').next().unwrap()), "precious too");
    // As it was built, it goes, and nothing is left of it.
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    project.free("orders");
    assert_eq!(kept(&clear(&server, "ORDERS", "orders")), "");
    assert!(!project.exists("build/orders.csv"));
    assert_eq!(std::fs::read_dir(project.path(".kiln/replaced")).unwrap().count(), 2);
    assert_eq!(kept(&clear(&server, "ORDERS", "orders")), "");
}

#[test]
fn what_a_job_of_another_project_reads_is_not_cleared() {
    let project = orders_and(
        r#"
[dataset.theirs]
path = "build/orders.csv"
[dataset.copy]
path = "build/copy.csv"
inputs = ["theirs"]
run = "echo up >held.up; cat held.go; cp {{ inputs.theirs }} {{ output }}"
"#,
    );
    let server = Server::start(&project, &["-f", "pipeline.toml", "-f", "other.toml"]);
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    project.free("orders");
    let start = "{\"outputs\": [{\"id\": \"copy\"}]}";
    let job = server.post("/public/api/projects/OTHER/jobs/", start).json()["id"].as_str().unwrap().to_owned();
    up(&project.path("held.up"));
    let refused = clear(&server, "ORDERS", "orders");
    assert!(refused.status == 409 && refused.body.contains(&format!("job {job} makes or reads it")), "{refused:?}");
    go(&project.path("held.go"));
    let events = server.get(&format!("/public/api/projects/OTHER/jobs/{job}/events")).body;
    assert!(events.contains("event: end\ndata: {\"state\":\"DONE\"}"), "{events}");
    assert_eq!(project.read("build/copy.csv"), project.read("raw.csv"));
    assert_eq!(clear(&server, "ORDERS", "orders").status, 200);
    assert!(!project.exists("build/orders.csv"));
}
