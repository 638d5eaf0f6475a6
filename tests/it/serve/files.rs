//! Pipeline files that change while they are served: what each stands for stays apart.

use super::ask::{go, up};
use super::{Server, orders};
use crate::support::Project;

fn file(name: &str, project: &str, run: &str) -> String {
    format!(
        "[pipeline]\nformat = 1\nname = \"{name}\"\nproject = \"{project}\"\n[dataset.{name}]\npath = \"build/{name}\"\nrun = '{run}'\n"
    )
}

fn build(server: &Server, project: &str, output: &str) -> super::ask::Answer {
    server
        .post(&format!("/public/api/projects/{project}/jobs/"), &format!("{{\"outputs\": [{{\"id\": \"{output}\"}}]}}"))
}

/// Waits for a job of a project.
fn wait(server: &Server, project: &str, job: &str) {
    let events = server.get(&format!("/public/api/projects/{project}/jobs/{job}/events"));
    assert!(events.body.contains("event: end\ndata: {\"state\":\"DONE\"}"), "{}", events.body);
}

#[test]
fn a_changed_file_does_not_take_what_another_one_stands_for() {
    let project = Project::empty();
    project.write("a.toml", file("a", "A", "echo 1 >{{ output }}"));
    project.write("b.toml", file("b", "B", "echo 1 >{{ output }}"));
    let server = Server::start(&project, &["-f", "a.toml", "-f", "b.toml"]);
    let job = build(&server, "A", "a").json()["id"].as_str().unwrap().to_owned();
    wait(&server, "A", &job);
    let theirs = [
        (file("b", "A", "echo 2 >{{ output }}"), "are both project A"),
        (file("c", "B", "echo 2 >{{ output }}"), "its name has changed: it is c now"),
        (
            file("b", "B", "echo 2 >{{ output }}").replace("format = 1", "format = 1\nroot = \"sub\""),
            "its root has changed",
        ),
    ];
    std::fs::create_dir(project.path("sub")).unwrap();
    for (text, part) in &theirs {
        project.write("b.toml", text);
        let projects = server.get("/public/api/projects/").json();
        let keys: Vec<_> = projects.as_array().unwrap().iter().map(|one| one["projectKey"].clone()).collect();
        assert_eq!(keys, ["A", "B"], "{part}");
        let jobs = server.get("/public/api/projects/A/jobs/").json();
        assert_eq!(jobs[0]["id"], *job, "{part}: {jobs}");
        assert_eq!(server.get("/public/api/projects/B/jobs/").json(), serde_json::json!([]), "{part}");
        // No job goes by what it says.
        let refused = build(&server, "B", "b");
        assert_eq!(refused.status, 409, "{part}: {refused:?}");
        assert!(refused.json()["message"].as_str().unwrap().contains(part), "{refused:?}");
    }
    wait(&server, "A", build(&server, "A", "a").json()["id"].as_str().unwrap());
    // A key that is free again may be had.
    project.write("b.toml", file("b", "A", "echo 2 >{{ output }}"));
    assert_eq!(build(&server, "B", "b").status, 409);
    project.write("a.toml", file("a", "C", "echo 1 >{{ output }}"));
    assert_eq!(server.get("/public/api/projects/C/jobs/").json().as_array().unwrap().len(), 2);
    wait(&server, "A", build(&server, "B", "b").json()["id"].as_str().unwrap());
    assert_eq!(project.read("build/b"), "2\n");
    server.signal("TERM");
    let (code, said) = server.ended();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("a.toml and b.toml are both project A"), "{said}");
    assert!(said.contains("what the file said before counts until it is mended"), "{said}");
    // Two with one history are not served at all.
    project.write("b.toml", file("a", "B", "echo 2 >{{ output }}"));
    let said = project.expect(2, &["serve", "--listen", "127.0.0.1:0", "-f", "a.toml", "-f", "b.toml"]).err;
    assert!(said.contains("a.toml and b.toml are both pipeline a, with one history"), "{said}");
}

#[test]
fn the_key_of_a_project_stays_while_a_job_of_it_goes_on() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let job = server.build("gated");
    up(&project.path("gated.up"));
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", text.replacen("name = \"orders\"", "name = \"orders\"\nproject = \"NEW\"", 1));
    assert_eq!(server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/")).status, 200);
    let refused = build(&server, "ORDERS", "orders");
    assert_eq!(refused.status, 409, "{refused:?}");
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("its project has changed: it is NEW now; that counts once no job of it"), "{message}");
    go(&project.path("gated.go"));
    // Then it counts, without anybody who asks for that.
    server.until("/public/api/projects/", |projects| projects[0]["projectKey"] == "NEW");
    wait(&server, "NEW", &job);
    wait(&server, "NEW", build(&server, "NEW", "orders").json()["id"].as_str().unwrap());
}
