//! Clients that do not read, do not write, or come in crowds: they cost a bounded amount, and no step waits for them.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::ask::{Answer, go, memory, up};
use super::{Server, orders};

/// What the server may need more than before, in KiB, whoever watches.
const MORE: u64 = 64 << 10;

/// Asks for a stream, waits until it is being answered, and never reads on.
fn silent(server: &Server, path: &str) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(server.head("GET", path, "").as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200", "{path}");
    stream
}

#[test]
fn a_hundred_pages_that_do_not_read_cost_nothing() {
    let project = orders();
    let mut text = project.read("pipeline.toml");
    // A step with much to say, and many that begin and end.
    let loud = "echo up >gated.up; cat gated.go >{{ output }}; head -c 30000000 /dev/zero | tr '\\\\0' x";
    text = text.replace("echo up >gated.up; cat gated.go >{{ output }}", loud);
    for i in 0..150 {
        writeln!(text, "[dataset.s{i}]\npath = \"build/s{i}\"\nrun = \"echo {i} >{{{{ output }}}}\"").unwrap();
    }
    text += "[task.all]\ninputs = [\"gated\"";
    for i in 0..150 {
        write!(text, ", \"s{i}\"").unwrap();
    }
    text += "]\nrun = \"true\"\n";
    project.write("pipeline.toml", text);
    let server = Server::start(&project, &[]);
    // A first job, so that all is there that a server keeps anyway.
    assert_eq!(server.wait(&server.build("orders")), "DONE");
    let body = "{\"type\": \"RECURSIVE_BUILD\", \"outputs\": [{\"type\": \"TASK\", \"id\": \"all\"}]}";
    let job = server.post("/public/api/projects/ORDERS/jobs/", body).json()["id"].as_str().unwrap().to_owned();
    up(&project.path("gated.up"));
    // That a step runs is told a moment after it does.
    let status = format!("/public/api/projects/ORDERS/jobs/{job}/");
    server.until(&status, |status| status["baseStatus"]["activities"]["compute_gated_NP"]["state"] == "RUNNING");
    let before = memory(server.pid());
    let job_page = format!("/projects/ORDERS/jobs/{job}/live?from=0");
    let log = format!("/public/api/projects/ORDERS/jobs/{job}/log?activity=compute_gated_NP&follow=true&lag=393216");
    let events = format!("/public/api/projects/ORDERS/jobs/{job}/events");
    let kinds = [job_page.as_str(), log.as_str(), "/live", events.as_str()];
    let readers: Vec<_> = (0..100).map(|i| silent(&server, kinds[i % kinds.len()])).collect();
    // No step waits for them: the job ends, and so does another one.
    go(&project.path("gated.go"));
    assert_eq!(server.wait(&job), "DONE");
    assert_eq!(server.wait(&server.build("report")), "DONE");
    let after = memory(server.pid());
    assert!(after < before + MORE, "{before} KiB, then {after} KiB for {} readers", readers.len());
    // Those who read are told everything.
    let told = server.get(&job_page).body;
    assert!(told.contains("event: end\ndata: {\"state\":\"DONE\"}"), "{}", &told[told.len().saturating_sub(500)..]);
}

#[test]
fn there_are_only_so_many_streams_and_they_come_free() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let mut open: Vec<_> = (0..128).map(|_| silent(&server, "/live")).collect();
    for path in ["/live", "/public/api/projects/ORDERS/jobs/"] {
        let answer = server.get(path);
        if path == "/live" {
            assert_eq!(answer.status, 503, "{answer:?}");
            assert_eq!(answer.json()["message"], "as many streams as may be are open");
        } else {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    // Whoever goes away leaves room; the server finds out when it next has something to say.
    drop(open.pop());
    assert_eq!(server.wait_for_room(), 200);
}

impl Server {
    /// Asks for a stream until there is room for one. Returns the status.
    fn wait_for_room(&self) -> u16 {
        loop {
            let mut stream = self.connect();
            stream.write_all(self.head("GET", "/live", "").as_bytes()).unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            let status = Answer::of(&first).status;
            if status != 503 {
                return status;
            }
        }
    }
}

#[test]
fn a_crowd_of_silent_connections_passes() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let crowd: Vec<_> = (0..700).map_while(|_| TcpStream::connect(("127.0.0.1", server.port())).ok()).collect();
    assert!(crowd.len() >= 512, "{}", crowd.len());
    // Each of them is closed when it has said nothing for long enough: then it is one's turn.
    assert_eq!(server.get("/healthz").status, 200);
    drop(crowd);
    assert_eq!(server.wait(&server.build("orders")), "DONE");
}

/// Sends a byte each time the server has said nothing for a moment, until it answers or closes.
fn drip(server: &Server, start: &str, rest: u8) -> Answer {
    let mut stream = server.connect();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream.write_all(start.as_bytes()).unwrap();
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return Answer::of(&said),
            Ok(n) => said.extend(&part[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // It may be closed by now: the next look tells.
                drop(stream.write_all(&[rest]));
            }
            Err(_) => return Answer::of(&said),
        }
    }
}

#[test]
fn requests_that_drip_are_ended() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let jobs = "/public/api/projects/ORDERS/jobs/";
    let ended: Vec<u16> = std::thread::scope(|scope| {
        let head = scope.spawn(|| drip(&server, "GET /healthz HTTP/1.1\r\nX-Slow: ", b'x').status);
        let body = scope.spawn(|| drip(&server, &server.head("POST", jobs, "Content-Length: 100000\r\n"), b' ').status);
        let chunk = server.head("POST", jobs, "Transfer-Encoding: chunked\r\n") + "ffff\r\n";
        let server = &server;
        let chunked = scope.spawn(move || drip(server, &chunk, b' ').status);
        [head, body, chunked].map(|one| one.join().unwrap()).into()
    });
    // A head is not answered, the rest is told that it was too slow.
    assert!([0, 408].contains(&ended[0]), "{ended:?}");
    assert_eq!(ended[1..], [408, 408], "{ended:?}");
    assert_eq!(server.get(jobs).json().as_array().unwrap().len(), 0);
}
