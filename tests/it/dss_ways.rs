//! Ways to a DSS server that are not the usual one, and what ends a job besides Ctrl-C.

use crate::dss::{ONE, is_list, project, run};
use crate::dss_server::{Asked, End, Fault, Server};
use crate::support::Project;

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
fn an_address_where_nothing_is_known_is_told_at_once() {
    let page = || Fault::Answer(404, "", "<html><title>Nothing here</title></html>".to_owned());
    let expected = "a web page came in place of an answer of DSS (404): check `url` and `path_prefix`: Nothing here";
    let server = Server::start();
    (0..100).for_each(|_| server.fault(|_| true, page()));
    let project = project(&server, "path_prefix = \"/api\"", ONE);
    // Not as long as an outage is waited for.
    project.write("pipeline.toml", project.read("pipeline.toml").replace("lost_after = \"5s\"", "lost_after = \"1h\""));
    let said = run(&project, 3, &[]);
    assert!(said.out.contains(expected), "{}", said.out);
    assert!(server.count(|_| true) < 20);
    assert_eq!(server.count(Asked::is_start), 0);
    for (code, arguments) in [(3, &["check", "--engine", "prod"][..]), (3, &["jobs", "list", "--engine", "prod"])] {
        let said = project.expect(code, arguments);
        assert!(format!("{}{}", said.out, said.err).contains(expected), "{said:?}");
    }
    // One that has answered before is waited for, whatever stands in front of it.
    let server = Server::start();
    server.fault(|asked| asked.path.contains("/running/"), page());
    (0..3).for_each(|_| server.fault(|asked| asked.path.contains("/jobs/Build_"), page()));
    run(&crate::dss::project(&server, "", ONE), 0, &[]);
}

#[test]
fn variables_of_the_file_mean_nothing_there() {
    let server = Server::start();
    let project = project(&server, "", &format!("[vars]\nday = \"1\"\n{ONE}"));
    for (command, var) in
        [("run", "day=2"), ("plan", "day=2"), ("run", "month=2"), ("plan", "month=2"), ("why", "month=2")]
    {
        let mut arguments = vec![command, "--engine", "prod", "--var", var];
        arguments.extend((command == "why").then_some("a"));
        let said = project.expect(2, &arguments);
        assert!(said.err.contains("--var has no effect on the engine `prod`"), "{command}: {}", said.err);
        assert!(said.err.contains("1 mistake"), "whether there is such a variable does not matter: {}", said.err);
    }
    assert_eq!(server.count(|_| true), 0);
}

#[test]
fn a_redirect_to_another_server_takes_no_key_along() {
    for status in [301, 302, 307, 308] {
        for (concerns, code) in [(Asked::is_start as fn(&Asked) -> bool, 1), (|asked: &Asked| asked.method == "GET", 3)]
        {
            let (server, other) = (Server::start(), Server::start());
            let to: &'static str = format!("Location: http://127.0.0.1:{}/projects/P/jobs/\r\n", other.port).leak();
            server.fault(concerns, Fault::Answer(status, to, String::new()));
            let said = run(&project(&server, "", ONE), code, &[]);
            assert!(said.out.contains("the key is not sent there; check `url`"), "{}", said.out);
            assert_eq!(other.count(|_| true), 0, "{status}: nothing is sent there at all");
        }
    }
    // On the same server a question is followed, and nothing that has an effect.
    let server = Server::start();
    server.fault(
        |asked| asked.method == "GET",
        Fault::Answer(302, "Location: /dip/publicapi/projects/P/jobs/\r\n", String::new()),
    );
    run(&project(&server, "", ONE), 0, &[]);
    let followed = server.with(|state| state.asked[1].clone());
    assert_eq!(
        (followed.path.as_str(), followed.header("authorization").is_some()),
        ("/dip/publicapi/projects/P/jobs/", true)
    );
}

#[test]
fn what_dataikus_own_tools_are_configured_with_serves_where_the_file_says_nothing() {
    let (server, other) = (Server::start(), Server::start());
    let config = |port: u16| {
        let elsewhere = format!(r#"{{"url":"http://127.0.0.1:{}","api_key":"another"}}"#, other.port);
        format!(
            r#"{{"dss_instances":{{"old":{elsewhere},"new":{{"url":"http://127.0.0.1:{port}/","api_key":"s3cret-key"}}}},"default_instance":"new"}}"#
        )
    };
    let bare = |settings: &str| {
        let project = crate::support::Project::empty();
        let head = "[pipeline]\nformat = 1\nname = \"p\"\n[engine.prod]\nkind = \"dss\"\n";
        project.write("pipeline.toml", format!("{head}{settings}\n{ONE}"));
        project.write(".dataiku/config.json", config(server.port));
        project
    };
    // The file of the home folder alone says all.
    let mut project = bare("");
    project.variable("KILN_TEST_POLL", "10ms");
    run(&project, 0, &[]);
    let key = server.with(|state| state.asked.last().unwrap().header("authorization").map(str::to_owned));
    assert_eq!(key.as_deref(), Some("Basic czNjcmV0LWtleTo="));
    assert_eq!(other.count(|_| true), 0);
    // A name chooses among its instances.
    let mut project = bare("instance = \"old\"");
    project.variable("KILN_TEST_POLL", "10ms");
    run(&project, 0, &[]);
    assert!(other.count(Asked::is_start) == 1 && server.count(Asked::is_start) == 1);
    let said = bare("instance = \"none\"").expect(2, &["run", "--engine", "prod"]);
    assert!(said.err.contains("has no instance `none`; it has: new, old"), "{}", said.err);
    // Its key goes to no other server.
    let said = bare("url = \"http://127.0.0.1:9\"").expect(2, &["run", "--engine", "prod"]);
    assert!(said.err.contains("[engine.prod] names no `api_key`"), "{}", said.err);
    // The variables come before it.
    let mut project = bare("");
    project.variable("KILN_TEST_POLL", "10ms");
    project.variable("DKU_DSS_URL", &format!("http://127.0.0.1:{}", other.port));
    project.variable("DKU_API_KEY", "s3cret-key");
    run(&project, 0, &[]);
    assert_eq!(other.count(Asked::is_start), 2);
    // What is no such file is told, without its text.
    let project = bare("");
    project.write(".dataiku/config.json", "{\"api_key\": s3cret-key");
    let said = project.expect(2, &["run", "--engine", "prod"]);
    assert!(said.err.contains("config.json:1:13: it is no JSON") && !said.err.contains("s3cret"), "{}", said.err);
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

#[test]
fn a_key_that_may_not_see_what_runs_looks_at_the_list_of_all() {
    let words = || Fault::Answer(403, "", r#"{"errorType":"E","message":"not yours"}"#.to_owned());
    let server = Server::start();
    server.fault(|asked| asked.path.contains("/running/"), words());
    let project = project(&server, "", ONE);
    run(&project, 0, &[]);
    assert_eq!(server.count(|asked| asked.path.contains("/running/")), 1);
    server.job("Build_a_by_hand", "RECURSIVE_BUILD", "a", "RUNNING", "ana");
    server.fault(|asked| asked.path.contains("/running/"), words());
    let said = project.expect(0, &["jobs", "running", "--engine", "prod"]);
    assert!(said.out.contains("Build_a_by_hand"), "{said:?}");
    // What cannot be done without stays as it is.
    let server = Server::start();
    server.fault(crate::dss::is_list, words());
    let said = run(&crate::dss::project(&server, "", ONE), 3, &[]);
    let url = format!("http://127.0.0.1:{}", server.port);
    let expected = format!("(403): not yours; asked {url} for project P with the key from the variable KEY");
    assert!(said.out.contains(&expected), "{said:?}");
    // The end of a job is what a list tells, where its status is not to be had.
    let server = Server::start();
    server.fault(crate::dss::is_status, words());
    let said = run(&crate::dss::project(&server, "", ONE), 0, &[]);
    assert!(said.out.contains("1 built"), "{said:?}");
    let server = Server::start();
    let unknown = Fault::Answer(401, "", r#"{"message":"no such key"}"#.to_owned());
    server.fault(|asked| asked.path.contains("/running/"), unknown);
    let said = run(&crate::dss::project(&server, "", ONE), 1, &[]);
    assert!(said.out.contains("(401): no such key"), "{said:?}");
}

#[test]
fn a_hiccup_of_dss_before_a_job_is_asked_for_passes_by() {
    for (times, code) in [(2, 0), (3, 1)] {
        let server = Server::start();
        let hiccup = || Fault::Answer(500, "", r#"{"message":"Internal hiccup"}"#.to_owned());
        (0..times).for_each(|_| server.fault(is_list, hiccup()));
        let said = run(&project(&server, "", ONE), code, &[]);
        let expected = "the list of jobs: DSS says (500): Internal hiccup";
        assert_eq!(said.out.contains(expected), code == 1, "{said:?}");
        assert_eq!(server.count(Asked::is_start), usize::from(code == 0), "{said:?}");
    }
}

#[test]
fn a_key_that_is_not_accepted_is_named_with_the_way_out() {
    let server = Server::start();
    server.fault(is_list, Fault::Answer(401, "", r#"{"message":"Invalid API key"}"#.to_owned()));
    let said = run(&project(&server, "", ONE), 3, &[]);
    let url = format!("http://127.0.0.1:{}", server.port);
    let expected = format!(
        "DSS does not accept the API key (401): Invalid API key; it is from the variable KEY, for {url}: DSS makes keys at \"Profile, API keys\""
    );
    assert!(said.out.contains(&expected), "{said:?}");
}

#[test]
fn a_key_that_is_refused_is_told_with_where_it_is_from() {
    let server = Server::start();
    let url = format!("http://127.0.0.1:{}", server.port);
    let mut project = Project::empty();
    let text =
        format!("[pipeline]\nformat = 1\nname = \"p\"\n[engine.prod]\nkind = \"dss\"\nlost_after = \"5s\"\n{ONE}");
    project.write("pipeline.toml", &text);
    let entry = format!(r#"{{"url":"{url}","api_key":"s3cret-key"}}"#);
    project.write(".dataiku/config.json", format!(r#"{{"dss_instances":{{"x":{entry}}},"default_instance":"x"}}"#));
    let refused = |status: u16| server.fault(is_list, Fault::Answer(status, "", r#"{"message":"no"}"#.to_owned()));
    let place = format!("asked {url} for project P with the key from");
    for (status, expected) in [
        (401, format!("it is from the instance `x` of ~/.dataiku/config.json, for {url}: DSS makes keys")),
        (403, format!("(403): no; {place} the instance `x` of ~/.dataiku/config.json")),
        (404, format!("(404): no; {place} the instance `x` of ~/.dataiku/config.json")),
    ] {
        refused(status);
        let said = project.expect(3, &["run", "--engine", "prod"]);
        assert!(said.out.contains(&expected), "{said:?}");
    }
    project.variable("DKU_API_KEY", "s3cret-key");
    refused(403);
    let said = project.expect(3, &["jobs", "list", "--engine", "prod"]);
    assert!(said.err.contains(&format!("{place} the variable DKU_API_KEY")), "{said:?}");
    project.write("key", "s3cret-key");
    let named = format!("lost_after = \"5s\"\nurl = \"{url}\"\napi_key = {{ file = \"key\" }}\n");
    project.write("pipeline.toml", text.replace("lost_after = \"5s\"\n", &named));
    refused(403);
    let said = project.expect(3, &["jobs", "list", "--engine", "prod"]);
    assert!(said.err.contains(&format!("{place} the file key")), "{said:?}");
}

#[test]
fn a_server_that_refuses_later_has_failed_the_step() {
    let server = Server::start();
    server.fault(Asked::is_start, Fault::Answer(403, "", r#"{"message":"no"}"#.to_owned()));
    run(&project(&server, "", ONE), 1, &[]);
}

#[test]
fn a_server_that_wants_to_be_left_alone_for_long_is_waited_for_no_longer_than_any() {
    let server = Server::start();
    (0..50).for_each(|_| server.fault(|_| true, Fault::Answer(503, "Retry-After: 86400\r\n", String::new())));
    let project = project(&server, "", ONE);
    project.write("pipeline.toml", project.read("pipeline.toml").replace("\"5s\"", "\"200ms\""));
    // It would wait for minutes.
    let said = project.kiln(&["run", "--engine", "prod"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.out.contains("it wants to be asked again in 1d00h"), "{said:?}");
}
