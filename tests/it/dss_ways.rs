//! Ways to a DSS server that are not the usual one, and what ends a job besides Ctrl-C.

use crate::dss::{ONE, project, run};
use crate::dss_server::{End, Server};

#[test]
fn another_prefix_and_a_proxy_are_used() {
    let server = Server::start();
    run(&project(&server, "path_prefix = \"/dip/publicapi\"", ONE), 0, &[]);
    assert!(server.count(|_| true) > 2);
    assert_eq!(server.count(|asked| !asked.path.starts_with("/dip/publicapi/")), 0);
    // The proxy is asked for a host that is nowhere.
    let proxy = Server::start();
    let mut behind = project(&proxy, "", ONE);
    let text = behind.read("pipeline.toml");
    behind.write("pipeline.toml", text.replace(&format!("127.0.0.1:{}", proxy.port), "dss.invalid"));
    behind.variable("HTTP_PROXY", &format!("http://127.0.0.1:{}", proxy.port));
    behind.variable("http_proxy", &format!("http://127.0.0.1:{}", proxy.port));
    run(&behind, 0, &[]);
    assert!(proxy.count(|asked| asked.path.starts_with("http://dss.invalid/public/api/")) > 2);
}

#[test]
fn a_limit_of_time_and_a_failure_that_kills_abort_what_goes_on() {
    let server = Server::start();
    server.end("a", End::Never);
    let limited = project(&server, "", "[dataset.a]\ninputs = []\ntimeout = \"1s\"\n");
    let said = run(&limited, 1, &[]);
    assert!(said.out.contains("timed out after"), "{}", said.out);
    assert!(server.with(|state| state.jobs.iter().all(|job| job.state == "ABORTED")));
    let server = Server::start();
    server.end("a", End::Never);
    server.end("b", End::Failed("it broke"));
    let two = project(&server, "", "[dataset.a]\ninputs = []\n[dataset.b]\ninputs = []\n");
    run(&two, 1, &["--fail-fast=kill"]);
    let of_a = server.with(|state| state.jobs.iter().find(|job| job.key() == "a").map(|job| job.state.clone()));
    assert!(of_a.is_none_or(|state| state == "ABORTED"));
}
