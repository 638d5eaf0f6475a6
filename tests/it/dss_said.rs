//! What commands say when something about a server is not as it should be: each mistake once, with its place and a way out.

use crate::dss::{ONE, is_list, project};
use crate::dss_server::{Asked, End, Fault, Server};

#[test]
fn a_mistake_of_the_engine_is_told_once_for_all_steps() {
    let server = Server::start();
    let mut project =
        project(&server, "", "[dataset.a]\ninputs = []\n[dataset.b]\ninputs = []\n[dataset.c]\ninputs = []\n");
    project.variable("KEY", "");
    let said = project.expect(2, &["run", "--engine", "prod"]);
    assert_eq!(said.err.matches("the variable KEY is not set").count(), 1, "{}", said.err);
    assert!(said.err.contains("1 mistake"), "{}", said.err);
}

#[test]
fn a_job_that_failed_is_shown_with_its_cause_by_all_that_waits_for_it() {
    let server = Server::start();
    server.end("a", End::Failed("KeyError: 'customer_id'"));
    let project = project(&server, "", ONE);
    let page = format!("  page http://127.0.0.1:{}/projects/P/jobs/Build_a_NP_2026-11-24T02-00-00.000/\n", server.port);
    let waits: [&[&str]; 2] = [&["start", "--output", "a", "--wait"], &["wait", "last"]];
    for wait in waits {
        let said = project.expect(1, &[&["jobs", "--engine", "prod"], wait].concat()).out;
        for expected in
            ["000 FAILED\n", "activity py_a_NP of job", "KeyError: 'customer_id'", "  | [ERROR] it broke\n", &page]
        {
            assert!(said.contains(expected), "{expected} is missing in\n{said}");
        }
        assert!(!said.contains("t1cket"), "{said}");
    }
    server.with(|state| state.looks = None);
    let id = project.expect(0, &["jobs", "--engine", "prod", "start", "--output", "b"]).out;
    let looks =
        |state: &crate::dss_server::State| state.asked.iter().filter(|asked| asked.path.contains("/running/")).count();
    let before = server.with(|state| looks(state));
    let child = project.start(&["jobs", "--engine", "prod", "wait", id.trim()]);
    server.wait(|state| looks(state) > before);
    server.with(|state| state.jobs[1].removed = true);
    let said = crate::dss::wait(child);
    assert_eq!((said.code, said.out), (1, format!("{} GONE: DSS does not know it any more\n", id.trim())));
}

/// A server with a project that has these datasets and this flow.
fn flow(graph: &str, datasets: &str) -> Server {
    let server = Server::start();
    server.with(|state| {
        let mut page = |what: &str, text: &str| state.pages.insert(format!("/projects/P/{what}"), text.to_owned());
        page("flow/graph/", graph);
        page("datasets/", datasets);
        page("managedfolders/", "[]");
        page("savedmodels/", "[]");
    });
    server
}

#[test]
fn a_project_that_may_not_be_looked_at_does_not_keep_the_others_from_it() {
    let nodes = r#"{"nodes":{"a":{"type":"COMPUTABLE_DATASET","ref":"a","predecessors":[],"successors":[]}}}"#;
    let server = flow(nodes, r#"[{"name":"a"}]"#);
    let words = r#"{"errorType":"E","message":"not yours"}"#.to_owned();
    server.fault(|asked| asked.path.contains("/projects/ANOTHER/"), Fault::Answer(403, "", words));
    let steps = "[dataset.a]\n[dataset.rwa]\n[dataset.far]\nproject = \"ANOTHER\"\n";
    let said = project(&server, "", steps).expect(2, &["check", "--engine", "prod"]).out;
    assert!(said.contains("project P has no dataset `rwa`"), "{said}");
    assert!(said.contains("project ANOTHER cannot be looked at: DSS does not allow it"), "{said}");
    assert!(said.contains("1 mistake, 1 warning"), "{said}");
}

#[test]
fn a_flow_that_is_none_is_not_an_empty_one() {
    for (graph, expected) in [
        ("{}", "project P: DSS gave an answer that is not understood: the flow has no `nodes`"),
        (r#"{"nodes":[]}"#, "project P: DSS gave an answer that is not understood: the flow has no `nodes`"),
        (r#"{"nodes":{}}"#, "project P: DSS gives an empty flow of project P, which has 1 dataset: try again"),
    ] {
        let server = flow(graph, r#"[{"name":"a"}]"#);
        let project = project(&server, "", ONE);
        let said = project.expect(3, &["check", "--engine", "prod"]).out;
        assert!(said.contains(expected), "{said}");
        project.expect(3, &["import", "dss", "P", "--engine", "prod"]);
    }
}

#[test]
fn what_the_flow_does_not_name_is_told() {
    let graph = r#"{"nodes":{"a":{"type":"COMPUTABLE_DATASET","ref":"a","predecessors":[],"successors":[]},
        "k7":{"type":"COMPUTABLE_DATASET","predecessors":[],"successors":[]}}}"#;
    let server = flow(graph, r#"[{"name":"a"}]"#);
    let said = project(&server, "", ONE).expect(0, &["import", "dss", "P", "--engine", "prod"]).out;
    let expected = "# Not declared here, since the flow does not tell their names: k7 (COMPUTABLE_DATASET)";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_redirect_on_the_same_server_is_told_as_one() {
    let server = Server::start();
    let login = || Fault::Answer(302, "Location: /login\r\n", String::new());
    (0..8).for_each(|_| server.fault(|asked| is_list(asked) || asked.path == "/login", login()));
    let said = crate::dss::run(&project(&server, "", ONE), 3, &[]);
    let expected =
        "the server answers 302 and leads to /login on the same server, which is not followed, perhaps a login";
    assert!(said.out.contains(expected), "{}", said.out);
    assert_eq!(server.count(Asked::is_start), 0);
}
