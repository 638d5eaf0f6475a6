//! Requests, byte by byte.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Server;

/// What a server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let said = String::from_utf8_lossy(bytes);
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let chunked = head.contains("transfer-encoding: chunked");
        Self { status, head: head.to_owned(), body: if chunked { unchunk(body) } else { body.to_owned() } }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn unchunk(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        out += &rest[..length];
        body = rest[length..].trim_start_matches("\r\n");
    }
    out
}

impl Server {
    /// A connection.
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port())).unwrap()
    }

    /// Sends bytes, and reads until the server closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server that has seen enough closes before it has read all.
        drop(stream.write_all(bytes));
        let mut said = Vec::new();
        drop(stream.read_to_end(&mut said));
        Answer::of(&said)
    }

    /// Asks until the answer is so: a recipe may be up before the history says it.
    pub(crate) fn until(&self, path: &str, so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let answer = self.get(path).json();
            if so(&answer) {
                return answer;
            }
        }
    }

    /// The head of a request with the key.
    pub(crate) fn head(&self, method: &str, path: &str, more: &str) -> String {
        let (port, key) = (self.port(), &self.key);
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n{more}\r\n")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.raw(self.head("GET", path, "Connection: close\r\n").as_bytes())
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        let head = self.head("POST", path, &format!("Connection: close\r\nContent-Length: {}\r\n", body.len()));
        self.raw(format!("{head}{body}").as_bytes())
    }

    /// Starts a job of the project `ORDERS`. Returns its id.
    #[track_caller]
    pub(crate) fn build(&self, output: &str) -> String {
        let body = format!("{{\"type\": \"RECURSIVE_BUILD\", \"outputs\": [{{\"id\": \"{output}\"}}]}}");
        let answer = self.post("/public/api/projects/ORDERS/jobs/", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// The state of a job.
    pub(crate) fn state(&self, job: &str) -> String {
        let status = self.get(&format!("/public/api/projects/ORDERS/jobs/{job}/")).json();
        status["baseStatus"]["state"].as_str().unwrap().to_owned()
    }

    /// Reads the events of a job to their end, which is that of the job. Returns its state.
    pub(crate) fn wait(&self, job: &str) -> String {
        let answer = self.get(&format!("/public/api/projects/ORDERS/jobs/{job}/events"));
        let end = answer.body.rsplit("event: end\ndata: ").next().unwrap_or_default();
        let end: Value = serde_json::from_str(end.trim()).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        end["state"].as_str().unwrap().to_owned()
    }
}

/// Waits until the recipe is up that says so through the pipe.
pub(crate) fn up(pipe: &Path) {
    assert_eq!(std::fs::read_to_string(pipe).unwrap(), "up\n");
}

/// Lets the recipe go on that waits at the pipe.
pub(crate) fn go(pipe: &Path) {
    std::fs::write(pipe, "go\n").unwrap();
}

/// Lets a recipe go on if there is one that waits at the pipe.
pub(crate) fn release(pipe: &Path) {
    // Opened for both, a pipe waits for nobody.
    let mut pipe = std::fs::File::options().read(true).write(true).open(pipe).unwrap();
    pipe.write_all(b"go\n").unwrap();
}

/// The memory that a process has in use, in KiB.
pub(crate) fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Ends a process at once.
pub(crate) fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}
