//! What the pages say and do is what the command line says and does.

use super::{Server, orders};
use crate::support::Project;

/// Runs a job once more, with the button of its page. Returns the status of the new one when it has ended.
fn again(server: &Server, job: &str, what: &str) -> serde_json::Value {
    let said = server.post(&format!("/projects/ORDERS/jobs/{job}/again"), &format!("what={what}"));
    assert_eq!(said.status, 303, "{said:?}");
    let place = said.head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let new = place.rsplit('/').next().unwrap().trim().to_owned();
    assert_eq!(server.wait(&new), "FAILED");
    server.get(&format!("/public/api/projects/ORDERS/jobs/{new}/")).json()
}

fn last(project: &Project) -> String {
    let list = project.expect(0, &["jobs", "list", "--format", "json", "--limit", "1"]).out;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    list[0]["job"].as_str().or_else(|| list[0]["id"].as_str()).unwrap().to_owned()
}

#[test]
fn a_run_that_went_on_after_failures_does_so_when_it_is_run_again() {
    let project = orders();
    let more = "\n[dataset.worse]\npath = \"build/worse\"\ninputs = [\"orders\"]\nrun = \"exit 1\"\n";
    project.write("pipeline.toml", project.read("pipeline.toml") + more);
    let server = Server::start(&project, &["--max-activities", "1"]);
    project.expect(1, &["run", "-k", "-j1", "bad", "worse"]);
    let job = last(&project);
    for what in ["failed", "all"] {
        let status = again(&server, &job, what);
        assert_eq!(status["globalState"]["failed"], 2, "{what}: {status}");
    }
    project.free("orders");
    project.expect(1, &["run", "-j1", "bad", "worse"]);
    let job = last(&project);
    let status = again(&server, &job, "failed");
    assert_eq!(
        (&status["globalState"]["failed"], &status["globalState"]["aborted"]),
        (&1.into(), &1.into()),
        "{status}"
    );
}

#[test]
fn a_run_that_was_refused_says_why_and_nothing_about_steps() {
    let project = orders();
    project.expect(0, &["run", "orders"]);
    std::fs::remove_file(project.path("raw.csv")).unwrap();
    project.expect(2, &["run", "report"]);
    let server = Server::start(&project, &[]);
    let refused = server.build("report");
    assert_eq!(server.wait(&refused), "FAILED");
    for job in [last(&project), refused] {
        let page = server.get(&format!("/projects/ORDERS/jobs/{job}"));
        assert!(page.status == 200 && page.body.contains("source `raw` is not there"), "{}", page.body);
        for word in ["up to date", "0 steps", "step current", "step waiting"] {
            assert!(!page.body.contains(word), "{word}: {}", page.body);
        }
        assert!(page.body.contains("id=\"step-report\" class=\"step unasked\""), "{}", page.body);
    }
}

#[test]
fn jobs_are_called_as_in_the_list_of_the_command_line() {
    let project = orders();
    for arguments in [
        &["run", "--exclude", "bad", "orders", "bad"][..],
        &["run", "--var", "country=DE", "orders"],
        &["run", "--mode", "only", "orders"],
    ] {
        project.kiln(arguments);
    }
    let server = Server::start(&project, &[]);
    let home = server.get("/").body;
    let list = project.expect(0, &["jobs", "list"]).out;
    for words in ["orders bad --exclude bad", "orders --var country=DE", "orders --mode only"] {
        let both = [("page", &home), ("list", &list)].map(|(where_, text)| (where_, text.contains(words)));
        assert_eq!(both, [("page", true), ("list", true)], "{words}: {list} {home}");
    }
}

#[test]
fn what_is_built_only_when_it_is_named_is_left_in_the_flow_too() {
    let project = orders();
    let text = project.read("pipeline.toml");
    let explicit = text.replace(
        "[task.publish]",
        "[dataset.rare]\npath = \"build/rare\"\nrebuild = \"explicit\"\nrun = \"true\"\n[task.publish]",
    );
    project.write("pipeline.toml", explicit);
    let server = Server::start(&project, &[]);
    let plan = project.expect(0, &["plan"]).out;
    let counts = plan.lines().next().unwrap().rsplit(": ").next().unwrap().to_owned();
    assert!(counts.contains(", 1 left"), "{counts}");
    let flow = server.get("/projects/ORDERS/flow").body;
    assert!(flow.contains(&format!("<p id=\"outcome\">{counts}")), "{counts}: {flow}");
    assert!(flow.contains("id=\"step-rare\" class=\"step left\""), "{flow}");
}

#[test]
fn an_output_that_is_gone_from_the_file_has_its_jobs_on_the_page_too() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let job = server.build("orders");
    assert_eq!(server.wait(&job), "DONE");
    let text = project.read("pipeline.toml");
    project.write(
        "pipeline.toml",
        text.replace("dataset.orders]", "dataset.requests]")
            .replace("\"orders\"]", "\"requests\"]")
            .replace("inputs.orders", "inputs.requests"),
    );
    let page = server.get("/?output=orders").body;
    assert!(page.contains(&format!("id=\"job-{job}\"")) && !page.contains("role=\"alert\""), "{page}");
    let page = server.get("/?output=nothing").body;
    assert!(
        page.contains("output=nothing: there is no such output") && !page.contains(&format!("id=\"job-{job}\"")),
        "{page}"
    );
}

#[test]
fn the_command_for_a_job_once_more_says_where_its_state_is() {
    let project = orders();
    let mut server = Server::start(&project, &["--state", "elsewhere"]);
    server.key = project.read("elsewhere/api-key").trim().to_owned();
    let events = server.get(&format!("/public/api/projects/ORDERS/jobs/{}/events", server.build("bad"))).body;
    assert!(events.contains("kiln run -f pipeline.toml --state elsewhere"), "{events}");
}
