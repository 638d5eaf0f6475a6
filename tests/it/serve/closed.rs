//! Closed by default: who is let in, from where, and with what.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::ask::Answer;
use super::{Server, orders};
use crate::support::{Project, program};

/// A key file with one key.
fn key_file(project: &Project, key: &str, rest: &str) {
    let mut child = project.command(&["serve", "--hash-key"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    project.write("keys.toml", format!("[keys.ci]\nhash = \"{}\"\n{rest}\n", said.trim()));
}

#[test]
fn other_machines_need_a_key_file() {
    let project = orders();
    for address in ["0.0.0.0:0", "[::]:0", "10.1.2.3:0"] {
        let said = project.expect(2, &["serve", "--listen", address]).err;
        assert!(said.contains("others can reach this address") && said.contains("--api-key-file FILE"), "{said}");
    }
    assert!(!project.exists(".kiln"));
    key_file(&project, "a key for these tests alone", "rights = { ORDERS = [\"view\"] }");
    let mut server = Server::listening(&project, "0.0.0.0:0", &["--api-key-file", "keys.toml"]);
    // With a key file there is no key of its own.
    assert!(server.key.is_empty() && !project.exists(".kiln/api-key"));
    assert_eq!(server.get("/public/api/projects/").status, 401);
    server.key = "a key for these tests alone".to_owned();
    assert_eq!(server.get("/public/api/projects/").status, 200);
    let start = server.post("/public/api/projects/ORDERS/jobs/", "{\"outputs\": [{\"id\": \"orders\"}]}");
    assert_eq!(start.status, 403, "{start:?}");
    assert_eq!(start.json()["message"], "key `ci` has no right `run` on project `ORDERS`");
}

#[test]
fn the_own_key_is_the_owners_alone() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let mode = std::fs::metadata(project.path(".kiln/api-key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(server.key.len() >= 32, "{}", server.key.len());
    assert_eq!(server.get("/public/api/auth/info").json()["authIdentifier"], "API (local)");
    let key = server.key.clone();
    server.signal("TERM");
    let (_, said) = server.ended();
    assert!(said.contains("the key is in .kiln/api-key") && !said.contains(&key), "{said}");
    // No link without a terminal.
    assert!(!said.contains("sign-in"), "{said}");
}

#[test]
fn keys_that_are_not_kept_well_are_told() {
    let project = orders();
    key_file(&project, "a key for these tests alone", "admin = true");
    let chmod = |path: &str, mode| {
        std::fs::set_permissions(project.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let told = |arguments: &[&str]| {
        let server = Server::start(&project, arguments);
        server.signal("TERM");
        server.ended().1
    };
    let with = ["--api-key-file", "keys.toml"];
    chmod("keys.toml", 0o600);
    assert!(!told(&with).contains("warning"));
    chmod("keys.toml", 0o644);
    let said = told(&with);
    assert!(said.contains("warning: keys.toml: everybody on this machine can read which keys there are"), "{said}");
    assert!(said.contains("chmod 600 keys.toml"), "{said}");
    chmod("keys.toml", 0o666);
    let said = project.expect(2, &["serve", "--listen", "127.0.0.1:0", "--api-key-file", "keys.toml"]).err;
    assert!(
        said.contains("everybody on this machine can write it (mode 0666)") && said.contains("chmod 600"),
        "{said}"
    );
    // The key that the server made for itself.
    let key = Server::start(&project, &[]).key.clone();
    chmod(".kiln/api-key", 0o644);
    let said = told(&[]);
    assert!(said.contains("others could read it until now (mode 0644)"), "{said}");
    project.write(".kiln/api-key", "hunter2");
    let said = told(&[]);
    assert!(
        said.contains("the key in it had 7 characters, at least 20 are needed: another one stands there now"),
        "{said}"
    );
    assert!(project.read(".kiln/api-key").trim().len() == 64 && !said.contains(&key));
}

#[test]
fn on_a_terminal_a_link_signs_a_browser_in_once() {
    let project = orders();
    let command = format!("exec {} serve --listen 127.0.0.1:0", program().to_string_lossy());
    let mut terminal = Command::new("script");
    terminal.args(["-qefc", &command, "/dev/null"]).current_dir(project.path("")).stdin(Stdio::null());
    let mut terminal = terminal.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(terminal.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let line = lines.find(|line| line.contains("/sign-in/")).unwrap();
    let link = line.split_whitespace().find(|word| word.contains("/sign-in/")).unwrap();
    let (host, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    assert!(line.contains("it works once"), "{line}");
    let port: u16 = host.rsplit(':').next().unwrap().parse().unwrap();
    let ask = |method: &str| {
        use std::io::Read;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        Answer::of(&said)
    };
    // Whoever only looks at it does not use it up.
    let looked = ask("HEAD");
    assert!(looked.status == 405 && !looked.head.contains("set-cookie"), "{looked:?}");
    let first = ask("GET");
    assert!(first.status == 303 && first.head.contains("set-cookie: kiln_"), "{first:?}");
    assert!(first.head.contains("HttpOnly; SameSite=Strict"), "{first:?}");
    let again = ask("GET");
    assert!(again.status == 401 && !again.head.contains("set-cookie"), "{again:?}");
    // The terminal goes away, and the server with it.
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {}
}

#[test]
fn whoever_may_not_look_at_a_project_is_not_told_that_there_is_one() {
    let project = orders();
    key_file(&project, "a key for these tests alone", "rights = { ORDERS = [], GONE = [\"run\"], \"*\" = [\"view\"] }");
    let mut server = Server::listening(&project, "localhost:0", &["--api-key-file", "keys.toml"]);
    server.key = "a key for these tests alone".to_owned();
    for key in ["ORDERS", "NOTHING"] {
        let answer = server.get(&format!("/public/api/projects/{key}/jobs/"));
        let message = format!("project `{key}` does not exist");
        assert_eq!((answer.status, answer.json()["message"].as_str().unwrap()), (404, message.as_str()), "{answer:?}");
    }
    server.signal("TERM");
    let (_, said) = server.ended();
    assert!(said.contains("warning: [keys.ci] has rights on GONE, which is not served"), "{said}");
    let said = project.expect(2, &["serve", "--listen", "nowhere"]).err;
    assert!(said.contains("write an address and a port, as 127.0.0.1:11200"), "{said}");
}
