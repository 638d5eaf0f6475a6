//! The jobs of a DSS server in hand: listed, shown, followed, started, aborted; a pipeline compared with its project, and
//! written from one.

use std::io::BufRead;

use crate::dss::{ONE, project};
use crate::dss_server::{Asked, End, Fault, Server};
use crate::support::Project;

/// A server with jobs of the past and of now.
pub(crate) fn busy() -> Server {
    let server = Server::start();
    server.job("Build_a_1", "RECURSIVE_BUILD", "a", "DONE", "API (kiln-key)");
    server.job("Build_b_2", "RECURSIVE_FORCED_BUILD", "b", "FAILED", "ana");
    server.with(|state| state.clock += 86_400_000);
    server.job("Build_a_3", "RECURSIVE_BUILD", "a", "RUNNING", "ana");
    server.job("Build_c_4", "NON_RECURSIVE_FORCED_BUILD", "c", "RUNNING", "API (kiln-key)");
    server
}

fn jobs(project: &Project, code: i32, arguments: &[&str]) -> String {
    let all: Vec<&str> = ["jobs", arguments[0], "--engine", "prod"].iter().chain(&arguments[1..]).copied().collect();
    let said = project.expect(code, &all);
    assert!(!said.out.contains("s3cret-key") && !said.out.contains("t1cket"), "{}", said.out);
    said.out
}

#[test]
fn jobs_are_listed_and_chosen() {
    let server = busy();
    let project = project(&server, "", ONE);
    insta::assert_snapshot!(jobs(&project, 0, &["list"]), @r#"
        JOB        STATE    START              TOOK  BY              TYPE                        OUTPUTS
        Build_c_4  RUNNING  15 Nov 2023 22:13        API (kiln-key)  NON_RECURSIVE_FORCED_BUILD  c
        Build_a_3  RUNNING  15 Nov 2023 22:13        ana             RECURSIVE_BUILD             a
        Build_b_2  FAILED   14 Nov 2023 22:13        ana             RECURSIVE_FORCED_BUILD      b
        Build_a_1  DONE     14 Nov 2023 22:13        API (kiln-key)  RECURSIVE_BUILD             a
        "#);
    let ids = |arguments: &[&str]| -> Vec<String> {
        let text = jobs(&project, 0, &[&["list", "--format", "json"], arguments].concat());
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().replace("Build_", "")).collect()
    };
    assert_eq!(ids(&["--state", "FAILED"]), ["b_2"]);
    assert_eq!(ids(&["--state", "RUNNING"]), ["c_4", "a_3"]);
    for output in ["a", "dataset:a", "P.a"] {
        assert_eq!(ids(&["--output", output]), ["a_3", "a_1"], "{output}");
    }
    assert_eq!(ids(&["--output", "folder:a"]), [""; 0]);
    for wrong in [
        &["list", "--limit", "0"][..],
        &["list", "--since", "2023-11-15", "--until", "2023-11-14"],
        &["list", "--output", ""],
        &["start", "--output", ""],
        &["show", ""],
    ] {
        assert_eq!(jobs(&project, 2, wrong), "", "{wrong:?}");
    }
    assert_eq!(server.count(Asked::is_start), 0);
    assert_eq!(ids(&["--initiator", "ana", "--limit", "1"]), ["a_3"]);
    assert_eq!(ids(&["--since", "2023-11-15T20:00:00Z"]), ["c_4", "a_3"]);
    assert_eq!(ids(&["--until", "2023-11-15T20:00:00Z"]), ["b_2", "a_1"]);
    for has_running in [true, false] {
        server.with(|state| state.has_running = has_running);
        let running = jobs(&project, 0, &["running"]);
        assert!(running.contains("Build_a_3") && running.contains("Build_c_4"), "{running}");
        assert!(!running.contains("Build_a_1"), "{running}");
    }
}

#[test]
fn a_job_is_shown_with_its_log() {
    let server = busy();
    server.end("b", End::Failed("no such column: x"));
    let project = project(&server, "", ONE);
    let shown = jobs(&project, 0, &["show", "b_2"]).replace(&server.port.to_string(), "PORT");
    insta::assert_snapshot!(shown, @r#"
        job      Build_b_2
        state    FAILED
        outputs  b
        type     RECURSIVE_FORCED_BUILD
        by       ana
        began    14 Nov 2023 22:13
        page     http://127.0.0.1:PORT/projects/P/jobs/Build_b_2/

        ACTIVITY  STATE   TOOK  RECIPE  WHAT
        py_b_NP   FAILED                no such column: x
          | [INFO] start {"jobTicketSecret":"***"}
          | [ERROR] it broke
        "#);
    let json: serde_json::Value =
        serde_json::from_str(&jobs(&project, 0, &["show", "last", "--format", "json"])).unwrap();
    assert_eq!(json["baseStatus"]["def"]["id"], "Build_c_4");
    assert_eq!(server.count(|asked| asked.path.contains("/jobs/last")), 0, "no job is called so");
    assert_eq!(jobs(&project, 0, &["log", "b_2"]).lines().count(), 3);
    assert_eq!(jobs(&project, 0, &["log", "b_2", "--tail", "1"]), "[INFO] end\n");
    assert_eq!(jobs(&project, 0, &["log", "b_2", "--activity", "py_b_NP", "--follow"]).lines().count(), 3);
    assert_eq!(server.count(|asked| asked.path.ends_with("/log?activity=py_b_NP")), 1);
    let said = project.expect(2, &["jobs", "show", "--engine", "prod", "Build"]);
    assert!(said.err.contains("`Build` is part of the ids of 4 jobs"), "{}", said.err);
    let said = project.expect(2, &["jobs", "show", "--engine", "prod", "nothing"]);
    assert!(said.err.contains("project P has no job `nothing`"), "{}", said.err);
    let said = project.expect(2, &["jobs", "list", "--engine", "prdo"]);
    assert!(said.err.contains("declares no engine `prdo`"), "{}", said.err);
}

#[test]
fn a_log_that_is_not_there_yet_is_waited_for() {
    let server = busy();
    server.with(|state| state.jobs.iter_mut().for_each(|job| job.looks = Some(2)));
    let missing = || Fault::Answer(404, "", r#"{"errorType": "NotFound", "message": "no log"}"#.to_owned());
    let is_log = |asked: &Asked| asked.path.contains("/log");
    let project = project(&server, "", ONE);
    server.fault(is_log, missing());
    assert_eq!(jobs(&project, 0, &["log", "a_3", "--follow"]).lines().count(), 3);
    assert!(server.count(is_log) > 1);
    // What looks like the beginning of a secret moves nothing.
    server.with(|state| {
        state.jobs[3].looks = Some(2);
        state.pages.insert("/projects/P/jobs/Build_c_4/log".to_owned(), "with s3cret-kettle\nend".to_owned());
    });
    server.fault(is_log, Fault::Answer(200, "", "with s3cret-k".to_owned()));
    assert_eq!(jobs(&project, 0, &["log", "c_4", "--follow"]), "with s3cret-kettle\nend");
    // Of a job that is over none comes any more.
    server.fault(is_log, missing());
    let said = project.expect(3, &["jobs", "log", "--engine", "prod", "a_1", "--follow"]);
    assert!(said.err.contains("no log"), "{}", said.err);
}

#[test]
fn jobs_are_waited_for() {
    let server = busy();
    server.with(|state| state.jobs.iter_mut().for_each(|job| job.looks = Some(2)));
    let project = project(&server, "", ONE);
    assert_eq!(jobs(&project, 0, &["wait", "a_1", "a_3"]).lines().count(), 2);
    assert!(jobs(&project, 1, &["wait", "a_1", "b_2"]).contains("Build_b_2 FAILED"));
    assert_eq!(jobs(&project, 0, &["wait", "a_1", "Build_a_1", "a_1"]), "Build_a_1 DONE\n", "once");
    server.job("Build_d_5", "RECURSIVE_BUILD", "d", "RUNNING", "ana");
    let page = format!("http://127.0.0.1:{}/projects/P/jobs/Build_d_5/", server.port);
    assert_eq!(jobs(&project, 1, &["wait", "d_5", "--timeout", "50ms"]), format!("Build_d_5 goes on: {page}\n"));
}

#[test]
fn jobs_are_started_once() {
    let server = Server::start();
    let steps = "[dataset.a]\ninputs = []\n[folder.charts]\nid = \"O2ue6CX3\"\ninputs = []\n";
    let project = project(&server, "", steps);
    let id = jobs(&project, 0, &["start", "--type", "RECURSIVE_FORCED_BUILD", "--output", "a", "--output", "charts"]);
    assert_eq!(id, "Build_a_NP_2026-11-24T02-00-00.000\n");
    let outputs = server.with(|state| (state.jobs[0].kind.clone(), state.jobs[0].outputs.clone()));
    let expected = serde_json::json!([
        { "type": "DATASET", "id": "a", "projectKey": "P" },
        { "type": "MANAGED_FOLDER", "id": "O2ue6CX3", "projectKey": "P" },
    ]);
    assert_eq!(outputs, ("RECURSIVE_FORCED_BUILD".to_owned(), expected));
    server.fault(Asked::is_start, Fault::CutAfter);
    let said = jobs(&project, 0, &["start", "--output", "folder:X1", "--partition", "2026-11-01", "--wait"]);
    assert_eq!(said, "Build_X1_NP_2026-11-24T02-00-00.001\nBuild_X1_NP_2026-11-24T02-00-00.001 DONE\n");
    server.fault(Asked::is_start, Fault::CutBefore);
    let said = project.expect(3, &["jobs", "start", "--engine", "prod", "--output", "a"]);
    assert!(said.err.contains("no job was found, and there may be one all the same"), "{}", said.err);
    assert_eq!(server.with(|state| state.jobs.len()), 2);
}

#[test]
fn jobs_are_aborted() {
    let server = busy();
    let project = project(&server, "", ONE);
    let states = || server.with(|state| state.jobs.iter().filter(|job| job.state == "ABORTED").count());
    assert!(jobs(&project, 0, &["abort", "--all", "--dry-run"]).ends_with("2 jobs would be aborted\n"));
    assert_eq!(states(), 0);
    assert_eq!(jobs(&project, 0, &["abort", "c_4"]), "Build_c_4 ABORTED\n");
    assert_eq!(states(), 1);
    assert_eq!(
        jobs(&project, 0, &["abort", "--all", "--state", "NOT_STARTED"]),
        "no job is NOT_STARTED in project P\n"
    );
    assert_eq!(jobs(&project, 0, &["abort", "--all"]), "Build_a_3 ABORTED\n");
    assert_eq!(states(), 2);
}

#[test]
fn of_all_jobs_some_are_aborted() {
    let server = busy();
    server.job("Build_d_5", "RECURSIVE_BUILD", "d", "NOT_STARTED", "ana");
    // Each is named twice in the list, and asked to end once.
    server.with(|state| state.repeats = true);
    let project = project(&server, "", ONE);
    let said = jobs(&project, 0, &["abort", "--all", "--project", "OTHER", "--state", "NOT_STARTED", "--dry-run"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("Build_d_5"), "{said}");
    assert_eq!(lines[2], "1 job would be aborted");
    let aborts =
        || server.with(|state| state.asked.iter().filter(|asked| asked.method == "POST").cloned().collect::<Vec<_>>());
    assert_eq!(aborts().len(), 0, "nothing is done");
    assert_eq!(server.count(|asked| !asked.path.contains("/projects/OTHER/")), 0, "no other project is asked");
    // One that cannot be aborted does not keep the others.
    server
        .fault(|asked| asked.path.ends_with("/abort"), Fault::Answer(403, "", r#"{"message":"not yours"}"#.to_owned()));
    let said =
        project.expect(3, &["jobs", "abort", "--engine", "prod", "--all", "--project", "OTHER", "--state", "running"]);
    assert!(said.out.contains("Build_c_4 was not aborted") && said.out.contains("not yours"), "{said:?}");
    assert!(said.out.ends_with("Build_a_3 ABORTED\n"), "{said:?}");
    let asked: Vec<String> = aborts().into_iter().map(|asked| asked.path).collect();
    let path = |id: &str| format!("/public/api/projects/OTHER/jobs/{id}/abort");
    assert_eq!(asked, [path("Build_c_4"), path("Build_a_3")]);
    assert_eq!(server.with(|state| state.jobs[4].state.clone()), "NOT_STARTED");
}

const GRAPH: &str = r#"{"nodes":{
    "raw":{"type":"COMPUTABLE_DATASET","ref":"raw","predecessors":[],"successors":["compute_a"]},
    "compute_a":{"type":"RUNNABLE_RECIPE","ref":"compute_a","subType":"python","predecessors":["raw","O2u","a"],"successors":["a","b"]},
    "a":{"type":"COMPUTABLE_DATASET","ref":"a","predecessors":["compute_a"],"successors":["train"]},
    "b":{"type":"COMPUTABLE_DATASET","ref":"b","predecessors":["compute_a"],"successors":[]},
    "O2u":{"type":"COMPUTABLE_FOLDER","ref":"O2u","predecessors":[],"successors":["compute_a"]},
    "train":{"type":"RUNNABLE_IMPLICIT_RECIPE","ref":"train","predecessors":["a"],"successors":["kJ8"]},
    "kJ8":{"type":"COMPUTABLE_SAVED_MODEL","ref":"kJ8","predecessors":["train"],"successors":["loop"]},
    "loop":{"type":"RUNNABLE_RECIPE","ref":"loop","subType":"sync","predecessors":["kJ8"],"successors":["raw"]},
    "MES":{"type":"COMPUTABLE_MODEL_EVALUATION_STORE","ref":"MES","predecessors":[],"successors":[]}}}"#;

/// A server with a project.
fn flow() -> Server {
    let server = Server::start();
    server.with(|state| {
        let mut page = |what: &str, text: &str| state.pages.insert(format!("/projects/P/{what}"), text.to_owned());
        page("flow/graph/", GRAPH);
        page(
            "datasets/",
            r#"[{"name":"raw"},{"name":"a","flowOptions":{"rebuildBehavior":"EXPLICIT_REBUILD"}},{"name":"b"}]"#,
        );
        page("managedfolders/", r#"[{"id":"O2u","name":"my charts"}]"#);
        page("savedmodels/", r#"[{"id":"kJ8","name":"churn"}]"#);
    });
    server
}

#[test]
fn a_file_is_compared_with_its_project() {
    let server = flow();
    let project = project(
        &server,
        "",
        "[dataset.raw]\n[dataset.a]\ninputs = [\"raw\", \"b\"]\n[dataset.b]\ninputs = []\n[folder.charts]\nid = \"my charts\"\n[dataset.rwa]\n[model.b2]\nid = \"b\"\ninputs = []\n",
    );
    project.expect(0, &["check"]);
    let said = project.expect(2, &["check", "--engine", "prod"]).out;
    let told = |line: &&str| ["×", "⚠", "help:", "mistakes"].iter().any(|word| line.contains(word));
    insta::assert_snapshot!(said.lines().filter(told).collect::<Vec<_>>().join("\n"), @r#"
          × project P has no folder `my charts`
          help: did you mean id = "O2u"? DSS knows a folder by its id
          × project P has no dataset `rwa`
          help: did you mean `raw`?
          × project P has no model `b`
          help: it has a dataset of that name: [dataset.b2]
          ⚠ on DSS `a` is made from `O2u` (folder my charts, which the file lacks) too
          help: add what is missing to `inputs`, so that it is built before
          ⚠ on DSS `a` is not made from `b`
          help: leave it out of `inputs`, unless it has to be built before
          ⚠ on DSS one recipe makes `a` and `b`
          help: declare one [recipe.NAME] with all of them as `outputs`: one job builds them together
          ⚠ on DSS `b` is made from `a`, `raw`, `O2u` (folder my charts, which the file lacks) too
          help: add what is missing to `inputs`, so that it is built before
          ⚠ on DSS one recipe makes `b` and `a`
          help: declare one [recipe.NAME] with all of them as `outputs`: one job builds them together
        pipeline.toml: 3 mistakes, 5 warnings
        "#);
    server.with(|state| state.pages.clear());
    let said = project.expect(3, &["check", "--engine", "prod"]);
    assert!(said.out.contains("project P: DSS does not know it (404)"), "{}", said.out);
}

#[test]
fn what_is_partitioned_is_told() {
    let server = flow();
    let by = r#""partitioning":{"dimensions":[{"name":"day","type":"time"},{"name":"country","type":"value"}]}"#;
    server.with(|state| {
        let text = format!(r#"[{{"name":"raw",{by}}},{{"name":"a",{by}}},{{"name":"b"}}]"#);
        state.pages.insert("/projects/P/datasets/".to_owned(), text);
    });
    let steps = "[dataset.raw]\n[dataset.a]\ninputs = [\"raw\"]\n";
    let said = project(&server, "", steps).expect(0, &["check", "--engine", "prod"]).out;
    assert!(said.contains("on DSS `a` is partitioned by day, country"), "{said}");
    assert!(said.contains("kiln run --partition SPEC"), "{said}");
    assert!(!said.contains("`raw` is partitioned"), "it is not built: {said}");
}

#[test]
fn a_flow_becomes_a_file_that_is_sound() {
    let server = flow();
    let project = project(&server, "", ONE);
    let file = project.expect(0, &["import", "dss", "P", "--engine", "prod"]).out;
    insta::assert_snapshot!(file.replace(&server.port.to_string(), "PORT"), @r#"
        # The flow of project P on http://127.0.0.1:PORT, as `kiln import dss P` found it.
        # `kiln check --engine prod` says where this file and the project have come apart.

        [pipeline]
        format = 1
        name = "p"
        project = "P"

        [settings]
        engine = "prod"

        [engine.prod]
        kind = "dss"
        url = "http://127.0.0.1:PORT"
        api_key = { env = "KEY" }

        # Not declared here, since a pipeline file has no word for them: MES (COMPUTABLE_MODEL_EVALUATION_STORE)

        [folder.my_charts]
        id = "O2u"

        # recipe train
        # It reads a too, which is made from what it makes: a file has no circles.
        [model.churn]
        id = "kJ8"
        inputs = []

        # recipe loop (sync)
        [dataset.raw]
        inputs = ["churn"]

        [dataset.a]

        # recipe compute_a (python)
        # It reads a too, which is made from what it makes: a file has no circles.
        [recipe.compute_a]
        inputs = ["my_charts", "raw"]
        outputs = ["a", "b"]
        rebuild = "explicit"

        [dataset.b]
        "#);
    project.write("imported.toml", &file);
    project.expect(0, &["check", "imported.toml"]);
    // Dataiku's own configuration serves as well.
    let mut bare = Project::empty();
    bare.variable("DKU_DSS_URL", &format!("http://127.0.0.1:{}/", server.port));
    bare.variable("DKU_API_KEY", "s3cret-key");
    let again = bare.expect(0, &["import", "dss", "P", "--target", "churn"]).out;
    assert!(again.contains("[model.churn]") && !again.contains("[dataset.raw]"), "{again}");
    assert!(again.contains("\napi_key = { env = \"DKU_API_KEY\" }\n"), "{again}");
    let said = bare.expect(2, &["import", "dss", "P", "--target", "chrun"]);
    assert!(said.err.contains("did you mean `churn`?"), "{}", said.err);
    bare.write(
        ".dataiku/config.json",
        r#"{"dss_instances":{"x":{"url":"http://127.0.0.1:9","api_key":"k"}},"default_instance":"x"}"#,
    );
    assert_eq!(bare.expect(0, &["import", "dss", "P", "--target", "churn"]).out, again);
}

#[test]
fn an_imported_file_names_the_key_that_was_used() {
    let server = flow();
    let mut tools = Project::empty();
    let entry = format!(r#"{{"url":"http://127.0.0.1:{}","api_key":"s3cret-key"}}"#, server.port);
    let config =
        format!(r#"{{"dss_instances":{{"old":{{"url":"http://127.0.0.1:9"}},"x":{entry}}},"default_instance":"x"}}"#);
    tools.write(".dataiku/config.json", config);
    let file = tools.expect(0, &["import", "dss", "P"]).out;
    assert!(file.contains("\ninstance = \"x\" # its key is in ~/.dataiku/config.json\n"), "{file}");
    tools.write("pipeline.toml", file);
    tools.expect(0, &["jobs", "list", "--engine", "prod"]);
    // A key of the environment goes before that of the file.
    tools.variable("DKU_API_KEY", "s3cret-key");
    let file = tools.expect(0, &["import", "dss", "P"]).out;
    assert!(file.contains("\napi_key = { env = \"DKU_API_KEY\" }\n"), "{file}");
    let project = project(&server, "", ONE);
    let text = project.read("pipeline.toml");
    project.write("key", "s3cret-key");
    for (word, named) in [("jwt", "env = \"KEY\""), ("api_key", "file = \"key\"")] {
        project.write("pipeline.toml", text.replace("api_key = { env = \"KEY\" }", &format!("{word} = {{ {named} }}")));
        let file = project.expect(0, &["import", "dss", "P", "--engine", "prod"]).out;
        assert!(file.contains(&format!("\n{word} = {{ {named} }}\n")), "{file}");
    }
}

#[test]
fn runs_here_are_waited_for_and_aborted() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = \"touch up; cat pipe >{{ output }}\"\n");
    let made = std::process::Command::new("mkfifo").arg(project.path("pipe")).status().unwrap();
    assert!(made.success());
    let mut child = project.start(&["run", "--events", "-"]);
    // The recipe is up once someone reads the pipe, and the run is known once it is told.
    let pipe = std::fs::OpenOptions::new().write(true).open(project.path("pipe")).unwrap();
    let mut told = std::io::BufReader::new(child.stdout.take().unwrap());
    told.read_line(&mut String::new()).unwrap();
    assert!(project.expect(0, &["jobs", "running"]).out.contains("RUNNING"));
    assert!(project.expect(1, &["jobs", "wait", "last", "--timeout", "10ms"]).out.contains("goes on"));
    project.expect(0, &["jobs", "abort", "last"]);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    drop(pipe);
    assert!(project.expect(1, &["jobs", "wait", "last"]).out.contains("ABORTED"));
}
