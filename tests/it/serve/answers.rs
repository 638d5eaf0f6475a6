//! What lists and statuses say of jobs that had little to do, or were asked for in a way of their own.

use serde_json::{Value, json};

use super::{Server, orders};
use crate::support::Project;

const JOBS: &str = "/public/api/projects/ORDERS/jobs/";

/// The jobs that a list has, in its order.
#[track_caller]
fn listed(server: &Server, query: &str) -> Vec<String> {
    let answer = server.get(&format!("{JOBS}?{query}"));
    let jobs = answer.json();
    let jobs = jobs.as_array().unwrap_or_else(|| panic!("{query}: {answer:?}"));
    jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

fn status(server: &Server, job: &str) -> Value {
    server.get(&format!("{JOBS}{job}/")).json()
}

#[test]
fn all_jobs_that_were_asked_for_an_output_are_found_by_it() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let ended = |output: &str| {
        let job = server.build(output);
        server.wait(&job);
        job
    };
    let built = ended("orders");
    let current = ended("orders");
    assert_eq!(status(&server, &current)["globalState"]["total"], 0);
    std::fs::remove_file(project.path("raw.csv")).unwrap();
    let failed = ended("orders");
    assert_eq!(server.state(&failed), "FAILED");
    assert_eq!(listed(&server, "output=orders"), [failed.clone(), current, built]);
    assert_eq!(listed(&server, "output=orders&state=FAILED"), std::slice::from_ref(&failed));
    // What another output needs is built on the way, and what one recipe makes is made at once.
    project.write("raw.csv", "2\n");
    let report = ended("report");
    assert_eq!(listed(&server, "output=orders&limit=2"), [report.clone(), failed]);
    let test = ended("test");
    for output in ["train", "test"] {
        assert_eq!(listed(&server, &format!("output={output}")), [test.clone(), report.clone()], "{output}");
    }
    // A name is no part of another one, and a source can be asked for too.
    assert_eq!(listed(&server, "output=bad"), [] as [&str; 0]);
    let raw = ended("raw");
    assert_eq!(listed(&server, "output=raw"), [raw]);
    // The command line has more ways to ask for it.
    for target in ["+report", "report+"] {
        project.expect(0, &["run", "--wait", target]);
        let newest = listed(&server, "output=report&limit=1");
        assert_eq!(newest, listed(&server, "limit=1"), "{target}");
        assert!(newest[0] != report, "{target}");
    }
}

#[test]
fn a_source_that_is_not_there_is_no_job_well_done() {
    let project = orders();
    let server = Server::start(&project, &[]);
    assert_eq!(server.wait(&server.build("raw")), "DONE");
    std::fs::remove_file(project.path("raw.csv")).unwrap();
    let job = server.build("raw");
    assert_eq!(server.wait(&job), "FAILED");
    let message = status(&server, &job)["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("pipeline.toml:"), "{message}");
    assert!(
        message.contains(": source `raw` is not there: there is nothing at raw.csv; put the file there"),
        "{message}"
    );
}

#[test]
fn whatever_was_asked_for_is_echoed() {
    let project = orders();
    let text = project.read("pipeline.toml").replace("[dataset.report]\n", "[dataset.report]\ntags = [\"daily\"]\n");
    project.write("pipeline.toml", text);
    let server = Server::start(&project, &[]);
    let outputs = |job: &Value| -> Vec<String> {
        let outputs = job["def"]["outputs"].as_array().unwrap();
        outputs
            .iter()
            .map(|output| format!("{} {}", output["type"].as_str().unwrap(), output["id"].as_str().unwrap()))
            .collect()
    };
    let start = |form: &str| {
        let answer = server.post("/projects/ORDERS/jobs", form);
        assert_eq!(answer.status, 303, "{answer:?}");
        let job = answer
            .head
            .lines()
            .find_map(|line| line.strip_prefix("location: "))
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned();
        server.wait(&job);
        outputs(&status(&server, &job))
    };
    assert_eq!(start("target=report"), ["DATASET report"]);
    assert_eq!(start("target=split"), ["DATASET train", "DATASET test"]);
    assert_eq!(start("target=tag:daily"), ["DATASET report"]);
    assert_eq!(start("target=%2Breport"), ["DATASET orders", "DATASET train", "DATASET test", "DATASET report"]);
    assert_eq!(start("target=publish"), ["TASK publish"]);
    drop(server);
    // Without a target: what nothing is made from, and what is done at the end.
    let line =
        "[dataset.a]\npath = \"a\"\nrun = \"echo 1 >{{ output }}\"\n[task.t]\ninputs = [\"a\"]\nrun = \"true\"\n";
    let project = Project::empty();
    project.write("pipeline.toml", crate::support::HEAD.replace("name = \"p\"", "name = \"orders\"") + line);
    project.expect(0, &["run"]);
    let server = Server::start(&project, &[]);
    assert_eq!(outputs(&server.get(JOBS).json()[0]), ["DATASET a", "TASK t"]);
}

#[test]
fn who_started_a_job_is_named_with_and_without_the_words_of_dss() {
    let project = orders();
    let server = Server::start(&project, &[]);
    project.expect(0, &["run", "orders"]);
    let mine = listed(&server, "");
    let mut theirs: Vec<String> = (0..3).map(|_| server.build("orders")).collect();
    theirs.iter().for_each(|job| assert_eq!(server.wait(job), "DONE"));
    theirs.reverse();
    for query in ["initiator=local", "initiator=API%20(local)", "initiator=API+%28local%29"] {
        assert_eq!(listed(&server, query), theirs, "{query}");
    }
    assert_eq!(listed(&server, "initiator=tester"), mine);
    assert_eq!(listed(&server, "initiator=nobody"), [] as [&str; 0]);
    // Page by page.
    let first = server.get(&format!("{JOBS}?initiator=local&limit=2")).json();
    assert_eq!(
        listed(&server, &format!("initiator=local&cursor={}", first[1]["cursor"].as_str().unwrap())),
        theirs[2..]
    );
}

#[test]
fn variables_are_what_they_are_in_the_file() {
    let project = orders();
    let text = project
        .read("pipeline.toml")
        .replace("country = \"FR\"", "country = \"FR\"\nyear = 2026\nshare = 0.5\nfull = true\nzip = \"01234\"");
    project.write("pipeline.toml", text);
    let server = Server::start(&project, &[]);
    let path = "/public/api/projects/ORDERS/variables/";
    let vars = json!({ "country": "FR", "year": 2026, "share": 0.5, "full": true, "zip": "01234" });
    assert_eq!(server.get(path).json(), json!({ "standard": vars, "local": {} }));
    let set = server.raw(server.head("PUT", path, "Connection: close\r\nContent-Length: 0\r\n").as_bytes());
    assert_eq!(set.status, 405, "{set:?}");
    assert!(
        set.json()["message"].as_str().unwrap().contains("they are those of pipeline.toml: change its [vars]"),
        "{set:?}"
    );
}

#[test]
fn a_request_for_another_project_is_told_where_to_ask() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let refused = server.post(JOBS, "{\"outputs\": [{\"id\": \"orders\", \"projectKey\": \"SALES\"}]}");
    assert_eq!(refused.status, 404, "{refused:?}");
    let message = "`orders`: project SALES is not part of project ORDERS: ask for it at /projects/SALES/jobs/";
    assert_eq!(refused.json()["message"], message);
}

#[test]
fn a_source_that_nothing_reads_is_in_the_flow() {
    let project = orders();
    project.write("pipeline.toml", project.read("pipeline.toml") + "[dataset.lonely]\npath = \"lonely.csv\"\n");
    let server = Server::start(&project, &[]);
    for path in ["flow/graph/", "flow/zones/default/graph"] {
        let graph = server.get(&format!("/public/api/projects/ORDERS/{path}")).json();
        assert_eq!(graph["nodes"]["lonely"]["type"], "COMPUTABLE_DATASET", "{path}: {graph}");
        assert_eq!(
            (&graph["nodes"]["lonely"]["predecessors"], &graph["nodes"]["lonely"]["successors"]),
            (&json!([]), &json!([]))
        );
    }
    let page = server.get("/projects/ORDERS/flow").body;
    assert!(page.contains("lonely"), "{page}");
    assert_eq!(server.get("/public/api/projects/ORDERS/flow/zones/default").json()["id"], "default");
}

#[test]
fn one_step_is_no_steps() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let job = server.build("orders");
    assert_eq!(server.wait(&job), "DONE");
    let log = server.get(&format!("{JOBS}{job}/log")).body;
    assert!(log.contains("smart of orders, 1 step, 0 up to date\n"), "{log}");
}
