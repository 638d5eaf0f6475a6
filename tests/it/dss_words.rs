//! What commands make of words and files that mean something else than was meant: `last`, a name for an id, a key with more in
//! its file, a job that has ended.

use crate::dss::{ONE, project};
use crate::dss_jobs::busy;
use crate::dss_server::{Asked, Server};
use crate::support::Project;

#[test]
fn last_is_the_job_that_was_asked_for_last() {
    let id = |name: &str, second: usize| format!("Build_{name}_NP_2026-11-24T02-00-0{second}.000");
    let (first, second) = (id("a", 1), id("b", 2));
    // The second was asked for later, and began earlier.
    for told in ["as DSS tells", "as ids tell", "as it began"] {
        let server = Server::start();
        let (names, times) = match told {
            "as it began" => (["x", "y"].map(str::to_owned), [3, 4]),
            _ => ([first.clone(), second.clone()], [4, 3]),
        };
        let line = |i: usize| {
            let asked =
                if told == "as DSS tells" { format!(r#","initiationTimestamp":{}"#, i + 1) } else { String::new() };
            let (name, time) = (&names[i], times[i]);
            format!(r#"{{"def":{{"id":"{name}"{asked}}},"state":"RUNNING","startTime":{time}}}"#)
        };
        let status = r#"{"baseStatus":{"state":"RUNNING"}}"#;
        server.with(|state| {
            state.pages.insert("/projects/P/jobs/".to_owned(), format!("[{},{}]", line(0), line(1)));
            state.pages.insert(format!("/projects/P/jobs/{}/", names[1]), status.to_owned());
        });
        let said = project(&server, "", ONE).expect(0, &["jobs", "show", "--engine", "prod", "last"]);
        assert!(said.out.contains(&format!("job      {}\n", names[1])), "{told}: {said:?}");
    }
}

#[test]
fn a_job_that_has_ended_is_not_asked_to_end() {
    let server = busy();
    let project = project(&server, "", ONE);
    let aborts = || server.count(|asked| asked.method == "POST");
    let abort = |ids: &[&str]| project.expect(0, &[&["jobs", "abort", "--engine", "prod"], ids].concat()).out;
    assert_eq!(abort(&["last"]), "Build_c_4 ABORTED\n");
    assert_eq!(aborts(), 1);
    assert_eq!(abort(&["last", "b_2"]), "Build_c_4 had ended before: ABORTED\nBuild_b_2 had ended before: FAILED\n");
    assert_eq!(abort(&["last", "-n"]), "Build_c_4 had ended before: ABORTED\n0 jobs would be aborted\n");
    assert_eq!(aborts(), 1);
    assert_eq!(abort(&["c_4", "a_3"]), "Build_c_4 had ended before: ABORTED\nBuild_a_3 ABORTED\n");
    assert_eq!(aborts(), 2);
    let said = project.expect(2, &["jobs", "abort", "--engine", "prod"]);
    assert!(said.err.contains("--all"), "{said:?}");
}

#[test]
fn a_name_of_the_file_is_not_taken_for_an_id() {
    let server = Server::start();
    let steps = "[folder.charts]\nid = \"O2ue6CX3\"\ninputs = []\n[model.churn]\nid = \"kJ8\"\ninputs = []\n\
                 [folder.same]\nid = \"same\"\ninputs = []\n";
    let project = project(&server, "", steps);
    for (output, way_out) in [
        ("folder:charts", "did you mean `charts`, or folder:O2ue6CX3?"),
        ("model:churn", "did you mean `churn`, or model:kJ8?"),
    ] {
        for command in ["start", "list"] {
            let said = project.expect(2, &["jobs", command, "--engine", "prod", "--output", output]);
            assert!(said.err.contains(way_out), "{command} {output}: {said:?}");
        }
    }
    assert_eq!(server.count(|_| true), 0);
    for output in ["folder:O2ue6CX3", "folder:same", "model:charts", "dataset:charts"] {
        project.expect(0, &["jobs", "start", "--engine", "prod", "--output", output]);
    }
    assert_eq!(server.count(Asked::is_start), 4);
}

#[test]
fn a_file_that_holds_more_than_a_key_is_told_without_it() {
    let server = Server::start();
    let mut project = project(&server, "", ONE);
    let text = project.read("pipeline.toml");
    let run = |project: &Project, expected: &str| {
        let said = project.expect(2, &["run", "--engine", "prod"]);
        assert!(said.err.contains(expected) && !said.err.contains("s3cret"), "{expected}: {said:?}");
    };
    project.write("pipeline.toml", text.replace("{ env = \"KEY\" }", "{ file = \"key\" }"));
    for (key, what) in [
        ("s3cret-key\nanother\n", "it has 2 lines"),
        ("s3cret-key\u{1}", "there is a control character in it"),
        ("key: s3cret-key", "there is a space in it"),
    ] {
        project.write("key", key);
        run(&project, &format!("the file key holds more than a key: {what}"));
    }
    project.write("pipeline.toml", text.replace("api_key = { env = \"KEY\" }\n", ""));
    project.variable("DKU_API_KEY", "s3cret-key s3cret");
    run(&project, "the variable DKU_API_KEY holds more than a key");
    assert_eq!(server.count(|_| true), 0);
}

#[test]
fn why_a_key_of_dataikus_own_tools_is_not_taken_is_told() {
    let server = Server::start();
    let project = project(&server, "", ONE);
    project.write("pipeline.toml", project.read("pipeline.toml").replace("api_key = { env = \"KEY\" }\n", ""));
    let entry = r#"{"url":"https://other.example.com","api_key":"s3cret-key"}"#;
    project.write(".dataiku/config.json", format!(r#"{{"dss_instances":{{"x":{entry}}},"default_instance":"x"}}"#));
    let said = project.expect(2, &["run", "--engine", "prod"]);
    let words: Vec<&str> = said.err.split_whitespace().filter(|word| *word != "│").collect();
    let expected = "names no `api_key`, and that of the instance `x` of ~/.dataiku/config.json is for another server: \
                    https://other.example.com";
    assert!(words.join(" ").contains(expected), "{said:?}");
    assert_eq!(server.count(|_| true), 0);
}

#[test]
fn another_project_is_compared_with_and_named_as_people_do() {
    let server = Server::start();
    let project = project(&server, "", ONE);
    server.with(|state| {
        let mut page = |what: &str, text: &str| state.pages.insert(format!("/projects/OTHER/{what}/"), text.to_owned());
        page(
            "flow/graph",
            r#"{"nodes":{"a":{"type":"COMPUTABLE_DATASET","ref":"a","predecessors":[],"successors":[]}}}"#,
        );
        page("datasets", r#"[{"name":"a"}]"#);
        page("managedfolders", "[]");
        page("savedmodels", "[]");
    });
    let said = project.expect(0, &["check", "--engine", "prod", "--project", "OTHER"]);
    assert!(said.out.contains("no recipe of project OTHER makes `a`"), "{said:?}");
    let said = project.expect(3, &["check", "--engine", "prod", "--project", "Été 100%"]);
    assert!(said.out.contains("for project Été 100% with the key"), "{said:?}");
}

#[test]
fn what_is_built_here_has_sources_that_are_seen() {
    let unseen = |steps: &str| {
        let project = project(&Server::start(), "", steps);
        project.expect(0, &["check"]).out.contains("changes of source `raw` cannot be seen")
    };
    assert!(!unseen("[dataset.raw]\n[dataset.a]\ninputs = [\"raw\"]\n"));
    assert!(unseen("[dataset.raw]\n[dataset.a]\npath = \"a\"\ninputs = [\"raw\"]\nrun = \"touch {{ output }}\"\n"));
}
