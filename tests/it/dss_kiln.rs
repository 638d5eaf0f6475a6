//! Kiln builds on Kiln: `kiln run --engine` against `kiln serve`, which speaks as DSS does. Each tests the other.

use crate::serve::{Server, orders};
use crate::support::{Project, lines};

/// A project whose engine is that server; its steps are those of the server's pipeline, without what they run.
fn remote(server: &Server, settings: &str) -> Project {
    let mut project = Project::empty();
    let url = &server.url;
    project.write(
        "pipeline.toml",
        format!(
            r#"
[pipeline]
format = 1
name = "remote"
project = "ORDERS"
[engine.prod]
kind = "dss"
url = "{url}"
api_key = {{ env = "KEY" }}
submit_grace = "200ms"
{settings}
[dataset.raw]
[dataset.orders]
inputs = ["raw"]
[folder.charts]
id = "O2ue6CX3"
inputs = ["orders"]
[recipe.split]
inputs = ["orders"]
outputs = ["train", "test"]
[dataset.train]
[dataset.test]
[dataset.report]
inputs = ["train"]
[dataset.bad]
inputs = ["orders"]
[dataset.gated]
inputs = []
"#
        ),
    );
    project.variable("KEY", &server.key);
    project.variable("KILN_TEST_POLL", "20ms");
    project
}

const GOOD: [&str; 5] = ["run", "--engine", "prod", "report", "charts"];

#[test]
fn a_pipeline_is_built_on_another_kiln() {
    for (settings, jobs) in [("", 4), ("jobs = \"run\"", 1)] {
        let there = orders();
        let server = Server::start(&there, &[]);
        let here = remote(&server, settings);
        let said = here.expect(0, &GOOD);
        assert!(said.out.contains("4 built"), "{settings}: {}", said.out);
        assert_eq!(there.read("build/report.txt"), "1,2\n");
        let list = here.expect(0, &["jobs", "list", "--engine", "prod", "--format", "json"]).out;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        assert_eq!(list.as_array().unwrap().len(), jobs, "{settings}: {list}");
        // What is up to date there is told so.
        let said = here.expect(0, &GOOD);
        assert!(said.out.contains("4 up to date"), "{settings}: {}", said.out);
    }
}

#[test]
fn a_failure_there_is_a_failure_here() {
    for settings in ["", "jobs = \"run\""] {
        let there = orders();
        let server = Server::start(&there, &[]);
        let here = remote(&server, settings);
        let said = here.expect(1, &["run", "--engine", "prod", "bad", "--events", "events"]);
        assert!(said.out.contains("oh no"), "{settings}: the log of the other Kiln: {}", said.out);
        let outcomes: Vec<_> = lines(&here.read("events"))
            .into_iter()
            .filter(|event| event["type"] == "step_ended")
            .map(|event| format!("{} {}", event["step"].as_str().unwrap(), event["outcome"].as_str().unwrap()))
            .collect();
        assert_eq!(outcomes, ["orders built", "bad failed"], "{settings}");
    }
}

#[test]
fn a_stop_here_is_a_stop_there() {
    for settings in ["", "jobs = \"run\""] {
        let there = orders();
        let server = Server::start(&there, &[]);
        let here = remote(&server, settings);
        let child = here.start(&["run", "--engine", "prod", "gated"]);
        // It opens once the recipe runs there.
        std::fs::read(there.path("gated.up")).unwrap();
        crate::dss::signal(&child, "INT");
        let said = crate::dss::wait(child);
        assert_eq!(said.code, 130, "{settings}: {said:?}");
        let list = here.expect(0, &["jobs", "list", "--engine", "prod"]).out;
        assert!(list.contains("ABORTED"), "{settings}: {list}");
    }
}

#[test]
fn the_commands_understand_another_kiln() {
    let there = orders();
    let server = Server::start(&there, &[]);
    let here = remote(&server, "");
    let checked = here.expect(0, &["check", "--engine", "prod"]).out;
    assert!(checked.contains("pipeline.toml: ok"), "{checked}");
    let imported = here.expect(0, &["import", "dss", "ORDERS", "--engine", "prod"]).out;
    here.write("imported.toml", &imported);
    here.expect(0, &["check", "imported.toml"]);
    for expected in ["[recipe.split]", "outputs = [\"test\", \"train\"]", "id = \"O2ue6CX3\"", "[model.churn]"] {
        assert!(imported.contains(expected), "{expected} is missing in\n{imported}");
    }
    let id = here.expect(0, &["jobs", "start", "--engine", "prod", "--output", "report", "--wait"]).out;
    assert!(id.contains("DONE"), "{id}");
    let shown = here.expect(0, &["jobs", "show", "--engine", "prod", "last"]).out;
    assert!(shown.contains("report") && shown.contains("DONE"), "{shown}");
    let log = here.expect(0, &["jobs", "log", "--engine", "prod", "last"]).out;
    assert!(log.contains("made orders"), "{log}");
}
