//! What nobody may read: our key, and the tickets that DSS writes into its logs. Everything that Kiln writes is searched.

use std::fs;
use std::path::Path;

use crate::dss::{ONE, project};
use crate::dss_server::{Asked, End, Fault, Server};
use crate::support::Project;

/// The key as it is, as it is sent, and the ticket.
const SECRETS: [&str; 5] = ["s3cret-key", "czNjcmV0LWtleTo", "s3cret%2Dkey", "7333637265742d6b6579", "t1cket"];
/// What a server that is very talkative says.
const TALK: &str = "start {\"jobTicketSecret\":\"t1cket\"} for s3cret-key, sent as Basic czNjcmV0LWtleTo=, 7333637265742d6b6579 in hex";

fn files(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

/// Runs a command at its most talkative, and searches what it said and all that is on disk.
fn searched(project: &Project, arguments: &[&str]) -> usize {
    let said = project.kiln(&[&["-vv"], arguments].concat());
    let mut all = vec![("stdout".to_owned(), said.out.into_bytes()), ("stderr".to_owned(), said.err.into_bytes())];
    assert!(arguments[0] != "run" || all[1].1.len() > 1_000, "it says what it does");
    files(&project.path("."), &mut all);
    for (name, content) in &all {
        for secret in SECRETS {
            let found = content.windows(secret.len()).position(|window| window.eq_ignore_ascii_case(secret.as_bytes()));
            let around = found.map(|at| String::from_utf8_lossy(&content[at.saturating_sub(200)..at + secret.len()]));
            assert!(found.is_none(), "kiln {arguments:?}: {name} holds {secret}: {}", around.unwrap_or_default());
        }
    }
    all.iter().map(|(_, content)| content.windows(3).filter(|window| window == b"***").count()).sum()
}

#[test]
fn no_secret_is_written_anywhere() {
    let talk = serde_json::json!({ "errorType": "E", "message": TALK }).to_string();
    let server = Server::start();
    server.end("a", End::Failed(TALK));
    let mut project = project(&server, "", ONE);
    project.variable("KILN_LOG", "trace");
    let run = ["run", "--engine", "prod", "--events", "events", "--output", "stream"];
    assert!(searched(&project, &run) > 5, "what is hidden leaves its mark");
    for arguments in [
        &["jobs", "log", "last"][..],
        &["jobs", "show", "last", "--format", "json"],
        &["jobs", "list", "--engine", "prod", "--format", "json"],
        &["jobs", "show", "--engine", "prod", "last"],
        &["jobs", "show", "--engine", "prod", "last", "--format", "json"],
        &["jobs", "log", "--engine", "prod", "last"],
        &["jobs", "wait", "--engine", "prod", "last"],
        &["check", "--engine", "prod"],
        &["import", "dss", "P", "--engine", "prod"],
        &["plan", "--engine", "prod"],
        &["show", "a", "--engine", "prod"],
    ] {
        searched(&project, arguments);
    }
    // Answers that mean an error, and pages.
    let page = format!("<html><title>{TALK}</title></html>");
    for fault in [
        Fault::Answer(500, "", talk.clone()),
        Fault::Answer(403, "", talk),
        Fault::Answer(200, "", page.clone()),
        Fault::Answer(400, "", page),
        Fault::Answer(400, "", TALK.to_owned()),
        Fault::Answer(302, "Location: http://127.0.0.1:9/?key=s3cret-key\r\n", String::new()),
        Fault::Answer(200, "", format!("[{{\"x\": {TALK}")),
    ] {
        for concerns in [Asked::is_start, |asked: &Asked| asked.method == "GET"] {
            let server = Server::start();
            server.fault(concerns, fault.clone());
            searched(&crate::dss::project(&server, "", ONE), &run);
        }
    }
}

#[test]
fn a_status_with_the_word_for_a_ticket_in_it_is_still_read() {
    let server = Server::start();
    server.job("Build_a_before", "RECURSIVE_BUILD", "a", "DONE", "API (kiln-key)");
    let status = r#"{"baseStatus":{"state":"DONE","def":{"id":"Build_a_before","projectKey":"P","jobTicketSecret":null,
        "comment":"jobTicketSecret\u003dt1cket and s3cret\u002dkey","name":"the word is jobTicketSecret"}}}"#;
    let page = ("/projects/P/jobs/Build_a_before/".to_owned(), status.to_owned());
    server.with(|state| state.pages.extend([page]));
    let project = project(&server, "", ONE);
    for format in ["text", "json"] {
        let show = ["jobs", "show", "--engine", "prod", "Build_a_before", "--format", format];
        project.expect(0, &show);
        searched(&project, &show);
    }
}

#[test]
fn a_key_from_a_file_or_from_dataikus_own_tools_is_kept_as_well() {
    let server = Server::start();
    server.end("a", End::Failed(TALK));
    let from_file = project(&server, "", ONE);
    let text = from_file.read("pipeline.toml");
    // The file with the key is outside of what is searched.
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "s3cret-key\n").unwrap();
    let named = format!("api_key = {{ file = {:?} }}", outside.path());
    from_file.write("pipeline.toml", text.replace("api_key = { env = \"KEY\" }", &named));
    searched(&from_file, &["run", "--engine", "prod"]);
    let mut from_tools = project(&server, "", ONE);
    from_tools.write("pipeline.toml", text.replace("api_key = { env = \"KEY\" }\n", ""));
    from_tools.variable("DKU_API_KEY", "s3cret-key");
    searched(&from_tools, &["run", "--engine", "prod"]);
    let token = project(&server, "", ONE);
    token.write("pipeline.toml", text.replace("api_key = ", "jwt = "));
    searched(&token, &["run", "--engine", "prod"]);
    let starts = server.count(Asked::is_start);
    assert_eq!(starts, 3, "each of them reached the server");
}
