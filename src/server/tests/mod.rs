//! The server as a whole, on a real socket: every route of the table with every kind of key.

pub(crate) mod events;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use axum::http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::engine::limit::OpenFiles;
use crate::server::auth::Right;
use crate::server::auth::keys::hash_text;
use crate::server::route::{Below, Needs, Route};
use crate::server::router::PREFIXES;
use crate::server::{Notice, Options, routes, serve};
use crate::session::Site;

const PIPELINE: &str = "[pipeline]\nformat = 1\nname = \"orders\"\n[dataset.a]\npath = \"a\"\nrun = \"true\"\n[folder.f]\npath = \"f\"\nrun = \"true\"\n";
const RIGHTS: [Right; 4] = [Right::View, Right::Run, Right::Abort, Right::Clear];

/// A key that a test shows, and what it may do in the project `ORDERS`.
struct Key {
    text: String,
    rights: Vec<Right>,
    admin: bool,
}

fn keys() -> Vec<Key> {
    let key =
        |name: &str, rights: Vec<Right>, admin| Key { text: format!("the key of {name} for tests"), rights, admin };
    let mut keys: Vec<_> = RIGHTS.iter().map(|right| key(right.word(), vec![*right], false)).collect();
    keys.push(key("nothing", Vec::new(), false));
    keys.push(key("admin", Vec::new(), true));
    keys
}

/// Starts a server that lives as long as the process of the test.
fn start(folder: &std::path::Path) -> SocketAddr {
    std::fs::write(folder.join("pipeline.toml"), PIPELINE).unwrap();
    let line = |(i, key): (usize, &Key)| {
        let rights: Vec<_> = key.rights.iter().map(|right| format!("\"{}\"", right.word())).collect();
        let (hash, rights, admin) = (hash_text(&key.text), rights.join(", "), key.admin);
        format!("[keys.k{i}]\nhash = \"{hash}\"\nrights = {{ ORDERS = [{rights}] }}\nadmin = {admin}\n")
    };
    let text: String = keys().iter().enumerate().map(line).collect();
    let key_file = folder.join("keys.toml");
    std::fs::write(&key_file, text).unwrap();
    let site = Site {
        folder: folder.to_owned(),
        directory: None,
        state: None,
        environment: std::iter::empty().collect(),
        cores: 2,
        grace: std::time::Duration::from_secs(5),
        open_files: OpenFiles::default(),
    };
    let options = Options {
        files: vec![folder.join("pipeline.toml")],
        listen: "127.0.0.1:0".parse().unwrap(),
        key_file: Some(key_file),
        max_jobs: 2,
        max_activities: 2,
        link: false,
    };
    let (listens, address) = channel();
    let listens = Mutex::new(listens);
    std::thread::spawn(move || {
        let tell = move |notice: Notice<'_>| {
            if let Notice::Listening(address) = notice {
                listens.lock().unwrap().send(address).unwrap();
            }
        };
        serve(site, options, &(Arc::new(tell) as crate::server::Tell)).unwrap();
    });
    address.recv().unwrap()
}

/// Asks from an address of its own, as wrong keys are slowed down by address. Returns the status and all that was said.
async fn ask(server: SocketAddr, from: u32, method: &Method, path: &str, key: Option<&str>) -> (u16, String) {
    ask_as(server, from, method, path, key, &format!("Host: {server}\r\n")).await
}

/// The same with other lines in the head.
async fn ask_as(
    server: SocketAddr,
    from: u32,
    method: &Method,
    path: &str,
    key: Option<&str>,
    lines: &str,
) -> (u16, String) {
    let socket = TcpSocket::new_v4().unwrap();
    let [_, b, c, d] = from.to_be_bytes();
    socket.bind(SocketAddr::from(([127, b, c, d], 0))).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let body = if *method == Method::GET { "" } else { "{}" };
    let length = body.len();
    let text =
        format!("{method} {path} HTTP/1.1\r\n{lines}Connection: close\r\n{key}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    // A stream goes on for ever: its head is enough.
    let endless = |said: &[u8]| String::from_utf8_lossy(said).contains("content-type: text/event-stream");
    while !endless(&said) && stream.read_buf(&mut said).await.unwrap() > 0 {}
    let said = String::from_utf8_lossy(&said).into_owned();
    let status = said.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, said)
}

fn paths(route: &Route) -> Vec<String> {
    let filled = route.path.split('/').map(|part| match part {
        "{project}" => "ORDERS",
        "{dataset}" => "a",
        "{zone}" => "default",
        part if part.starts_with('{') => "nothing",
        part => part,
    });
    let filled = filled.collect::<Vec<_>>().join("/");
    match route.below {
        Below::Root => vec![filled],
        Below::Api => PREFIXES.iter().map(|prefix| format!("{prefix}{filled}")).collect(),
    }
}

#[tokio::test]
async fn every_route_with_every_key() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let mut from = 1;
    for route in routes() {
        for path in paths(route) {
            let label = format!("{} {path}", route.method);
            from += 1;
            let (status, said) = ask(server, from, &route.method, &path, None).await;
            match route.needs {
                Needs::Nothing => assert!(!said.contains("this needs a key:"), "{label}: {said}"),
                Needs::Page | Needs::Sight => assert_eq!(status, 303, "{label}: {said}"),
                Needs::Key | Needs::Right(_) => assert_eq!(status, 401, "{label}: {said}"),
            }
            let (status, said) = ask(server, from, &route.method, &path, Some("no key at all")).await;
            if route.needs != Needs::Nothing {
                assert_eq!(status, 401, "{label}: {said}");
                assert!(said.contains("\"errorType\":\"UnauthorizedException\""), "{label}: {said}");
            }
            for key in keys() {
                let (status, said) = ask(server, from, &route.method, &path, Some(&key.text)).await;
                let may = match route.needs {
                    Needs::Nothing => continue,
                    Needs::Key | Needs::Page => true,
                    Needs::Sight | Needs::Right(Right::View) => key.admin || !key.rights.is_empty(),
                    Needs::Right(right) => key.admin || key.rights.contains(&right),
                };
                let refused = [401, 403].contains(&status);
                assert_eq!(refused, !may, "{label} with {}: {said}", key.text);
                assert!(status != 500, "{label} with {}: {said}", key.text);
            }
        }
    }
}

/// Whoever asks for another server, or writes from another page, gets nothing, whatever the key: no route is left out.
#[tokio::test]
async fn every_route_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let admin = keys().pop().unwrap().text;
    let port = server.port();
    for route in routes() {
        for path in paths(route) {
            let label = format!("{} {path}", route.method);
            for host in ["evil.example", &format!("evil.example:{port}"), &format!("localhost.:{port}"), "127.0.0.1:1"]
            {
                for key in [None, Some(admin.as_str())] {
                    let line = format!("Host: {host}\r\n");
                    let (status, said) = ask_as(server, 1, &route.method, &path, key, &line).await;
                    assert_eq!(status, 421, "{label} at {host}: {said}");
                    assert!(!said.contains("set-cookie") && !said.contains("location:"), "{label}: {said}");
                }
            }
            let (status, said) = ask_as(server, 1, &route.method, &path, Some(&admin), "").await;
            assert_eq!(status, 400, "{label} without a host: {said}");
            if route.method == Method::GET {
                continue;
            }
            for line in [
                "Origin: http://evil.example",
                "Origin: null",
                "Sec-Fetch-Site: cross-site",
                "Sec-Fetch-Site: same-site",
            ] {
                let lines = format!("Host: {server}\r\n{line}\r\n");
                let (status, said) = ask_as(server, 1, &route.method, &path, Some(&admin), &lines).await;
                assert_eq!(status, 403, "{label} with {line}: {said}");
            }
        }
    }
}

/// What is not there is named, by every route that names something.
#[tokio::test]
async fn every_404_names_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let admin = keys().pop().unwrap().text;
    let mut asked = 0;
    for route in routes().filter(|route| route.below == Below::Api && route.path.contains('{')) {
        // Each name in turn is one that is not there; those before it are.
        let parts: Vec<&str> = route.path.split('/').collect();
        for wrong in parts.iter().filter(|part| part.starts_with('{')) {
            let fill = |part: &str| match part {
                part if part == *wrong => "no-such-thing".to_owned(),
                "{project}" => "ORDERS".to_owned(),
                "{dataset}" => "a".to_owned(),
                "{folder}" => "f".to_owned(),
                other => other.to_owned(),
            };
            let path = parts.iter().map(|part| fill(part)).collect::<Vec<_>>().join("/");
            if path.contains('{') {
                continue;
            }
            for prefix in PREFIXES {
                let (status, said) = ask(server, 1, &route.method, &format!("{prefix}{path}"), Some(&admin)).await;
                assert_eq!(status, 404, "{} {path}: {said}", route.method);
                let body: serde_json::Value = serde_json::from_str(said.split_once("\r\n\r\n").unwrap().1).unwrap();
                let message = body["message"].as_str().unwrap();
                assert!(message.contains("`no-such-thing`"), "{path}: {message}");
                assert!(body["errorType"].as_str().unwrap().contains("NotFound"), "{said}");
                assert!(body["detailedMessage"].as_str().unwrap().contains("no-such-thing"), "{said}");
                asked += 1;
            }
        }
    }
    assert!(asked > 40, "{asked}");
    for path in ["/public/api/projects/ORDERS/scenarios/", "/dip/publicapi/projects/ORDERS/wikis/x", "/nothing/at/all"]
    {
        let (status, said) = ask(server, 1, &Method::GET, path, Some(&admin)).await;
        assert_eq!(status, 404);
        assert!(said.contains(&format!("GET {} is not part of this API", path.trim_end_matches('/'))), "{said}");
    }
}

#[tokio::test]
async fn whatever_is_asked_the_answer_is_json_and_says_what_this_is() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let admin = keys().pop().unwrap().text;
    for (method, path, status) in [
        (Method::GET, "/nothing", 404),
        (Method::GET, "/public/api", 404),
        (Method::GET, "/public/api/projects/ORDERS/scenarios/", 404),
        (Method::GET, "/public/api/projects/OTHER/jobs/", 404),
        (Method::POST, "/public/api/projects/ORDERS/datasets/", 405),
        (Method::PUT, "/dip/publicapi/projects/ORDERS/variables/", 405),
        (Method::OPTIONS, "/public/api/projects/", 405),
        (Method::GET, "/public/api/projects/%ff/jobs/", 400),
        (Method::GET, "/public/api/projects/ORDERS/jobs/%00/", 404),
        (Method::GET, "/public/api/projects/ORDERS/jobs/?limit=many", 400),
        (Method::GET, "/public/api/projects/ORDERS/jobs/?state=GONE", 400),
        (Method::GET, "/public/api/projects/ORDERS/jobs/?cursor=x", 400),
        (Method::GET, "/public/api/projects/ORDERS/managedfolders/a/contents/..%2f..%2fpipeline.toml", 404),
        (Method::GET, "/", 200),
        (Method::GET, "//public//api///projects///", 200),
        (Method::GET, "/dip/publicapi/projects", 200),
        (Method::GET, "/public/api/projects/ORDERS/jobs/?limit=0&state=done", 200),
    ] {
        let (got, said) = ask(server, 1, &method, path, Some(&admin)).await;
        assert_eq!(got, status, "{method} {path}: {said}");
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        for header in
            ["dss-version: ", "dss-api-version: 1\r\n", "x-content-type-options: nosniff", "content-security-policy: "]
        {
            assert!(format!("{head}\r\n").contains(header), "{method} {path}: {head}");
        }
        assert!(!head.contains("access-control-allow"), "{head}");
        if status >= 400 {
            let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {said}"));
            for key in ["errorType", "message", "detailedMessage"] {
                assert!(body[key].is_string(), "{said}");
            }
        }
    }
    let (status, said) = ask(server, 1, &Method::HEAD, "/healthz", None).await;
    assert!(status == 200 && said.ends_with("\r\n\r\n"), "{said}");
}

#[test]
fn no_two_routes_are_one() {
    let all: Vec<_> = routes().map(|route| (route.method.clone(), route.path, route.below == Below::Api)).collect();
    let distinct: HashSet<_> = all.iter().collect();
    assert_eq!(all.len(), distinct.len());
    assert!(routes().all(|route| route.path == "/" || !route.path.ends_with('/')));
}
