//! Requests that nobody means well.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::ask::{Answer, memory};
use super::{Server, orders};

/// Reads until the server closes.
fn closed(mut stream: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A connection that is reset is closed too.
    drop(stream.read_to_end(&mut said));
    said
}

/// What an error says. It has the form that clients know, and the headers of every answer.
#[track_caller]
fn told(answer: &Answer) -> String {
    let said = answer.json();
    assert!(said["errorType"].is_string() && said["detailedMessage"].is_string(), "{answer:?}");
    assert!(
        answer.head.contains("dss-version: ") && answer.head.contains("x-content-type-options: nosniff"),
        "{answer:?}"
    );
    said["message"].as_str().unwrap().to_owned()
}

#[test]
fn silent_and_slow_connections_are_closed() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let silent = server.connect();
    let mut half = server.connect();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Half").unwrap();
    let mut idle = server.connect();
    let port = server.port();
    idle.write_all(format!("GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n").as_bytes()).unwrap();
    let mut body = server.connect();
    let head = server.head("POST", "/public/api/projects/ORDERS/jobs/", "Content-Length: 100\r\n");
    body.write_all(format!("{head}{{\"out").as_bytes()).unwrap();
    // Each of these ends because the server closes it.
    closed(silent);
    closed(half);
    assert_eq!(Answer::of(&closed(idle)).status, 200);
    let slow = Answer::of(&closed(body));
    assert_eq!(slow.status, 408, "{slow:?}");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn whoever_holds_all_places_and_says_nothing_keeps_nobody_away() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let head = format!("GET /healthz HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", server.port());
    let half = || {
        let mut stream = server.connect();
        stream.write_all(&head.as_bytes()[..10]).unwrap();
        stream
    };
    // As many as there are places. Those that ask take the places of the first ones.
    let silent: Vec<TcpStream> = (0..512).map(|_| half()).collect();
    for _ in 0..3 {
        assert_eq!(server.get("/healthz").status, 200);
    }
    // Nobody waited until these had taken too long: all others are still there, and go on.
    let answers = all_answers(silent, &head.as_bytes()[10..]);
    let answered = answers.iter().filter(|status| **status == 200).count();
    assert!((500..512).contains(&answered) && answers[0] == 0, "{answered} of 512: {answers:?}");
}

/// Sends the rest on all connections, and only then asks for the answers: none is late because the others were.
fn all_answers(mut streams: Vec<TcpStream>, rest: &[u8]) -> Vec<u16> {
    for stream in &mut streams {
        drop(stream.write_all(rest)); // one was closed to make room
    }
    streams.into_iter().map(|stream| Answer::of(&closed(stream)).status).collect()
}

/// Whoever says that more will come, and sends it not, is answered where the answer does not depend on it.
#[test]
fn what_does_not_need_a_body_does_not_wait_for_it() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let port = server.port();
    let job = server.build("orders");
    assert_eq!(server.wait(&job), "DONE");
    let abort = format!("/public/api/projects/ORDERS/jobs/{job}/abort");
    let unsent = "Content-Length: 1000\r\n";
    let nobody =
        |line: &str| server.raw(format!("{line} HTTP/1.1\r\nHost: localhost:{port}\r\n{unsent}\r\n").as_bytes());
    for (status, answer) in [
        (200, nobody("GET /healthz")),
        (303, nobody("POST /sign-out")),
        (401, nobody("GET /sign-in/nothing")),
        (401, nobody(&format!("POST {abort}"))),
        (404, nobody("POST /nothing")),
        (200, server.raw(server.head("POST", &abort, unsent).as_bytes())),
        (200, server.raw(server.head("GET", "/public/api/projects/", "Transfer-Encoding: chunked\r\n").as_bytes())),
    ] {
        assert_eq!(answer.status, status, "{answer:?}");
    }
    // Without a key little is taken, and at once.
    let head = format!("POST /sign-in HTTP/1.1\r\nHost: localhost:{port}\r\n");
    let long = server.raw(format!("{head}Content-Length: 20000\r\n\r\n").as_bytes());
    assert_eq!((long.status, told(&long).as_str()), (413, "a request has 16384 bytes at most"));
}

#[test]
fn whoever_holds_all_places_and_owes_the_rest_keeps_nobody_away() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let rest = format!("key={}", server.key);
    let (port, length) = (server.port(), rest.len());
    let head = |path| format!("POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: {length}\r\n\r\nk");
    // As many as there are places.
    let mut owing: Vec<TcpStream> = (0..512).map(|_| server.connect()).collect();
    for stream in &mut owing {
        stream.write_all(head("/sign-in").as_bytes()).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(server.get("/public/api/projects/ORDERS/jobs/?limit=1").status, 200);
        assert_eq!(server.get("/healthz").status, 200);
    }
    // Nobody waited until these had taken too long: all others are still there, and go on.
    let answers = all_answers(owing, &rest.as_bytes()[1..]);
    let entered = answers.iter().filter(|status| **status == 303).count();
    assert!((500..512).contains(&entered) && answers[0] == 0, "{entered} of 512: {answers:?}");
}

#[test]
fn what_is_too_much_is_refused() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let jobs = "/public/api/projects/ORDERS/jobs/";
    let long = server.raw(server.head("POST", jobs, "Content-Length: 99999999\r\n").as_bytes());
    assert_eq!(long.status, 413, "{long:?}");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let head = server.head("POST", jobs, "Transfer-Encoding: chunked\r\nConnection: close\r\n");
    let endless = server.raw(format!("{head}{}", chunk.repeat(40)).as_bytes());
    // It may close before the answer is read, as it was sent more than it takes.
    assert_eq!(endless.status, 413, "{endless:?}");
    told(&endless);
    // Heads: of 32 KiB one is answered, of a byte more none, however much is read at once.
    let empty = server.head("GET", "/healthz", "X-Long: \r\n").len();
    for (length, status) in
        [(32 << 10, 200), ((32 << 10) + 1, 431), (33 << 10, 431), (40 << 10, 431), (64 << 10, 431), (1 << 20, 431)]
    {
        let header = format!("X-Long: {}\r\n", "x".repeat(length - empty));
        let answer = server.raw(server.head("GET", "/healthz", &header).as_bytes());
        assert_eq!(answer.status, status, "{length}: {answer:?}");
        if status != 200 {
            assert!(told(&answer).contains("32 KiB and 100 lines at most"), "{answer:?}");
        }
    }
    let many: String = (0..200).map(|i| format!("X-{i}: 1\r\n")).collect();
    let path = format!("/{}", "x".repeat(64 << 10));
    for answer in [server.raw(server.head("GET", "/healthz", &many).as_bytes()), server.get(&path)] {
        assert_eq!(answer.status, 431);
        assert!(told(&answer).contains("32 KiB and 100 lines at most"), "{answer:?}");
    }
    let marked = server.post(jobs, "\u{feff}{\"outputs\": []}");
    assert_eq!(told(&marked), "outputs: name at least one output");
    let deep = server.post(jobs, &"[".repeat(100_000));
    assert_eq!(deep.status, 400, "{deep:?}");
    for body in ["", "[]", "null", "\"x\"", "{", "\u{0}", "{\"outputs\": 7}", "{\"outputs\": [[]]}", "{\"type\": 7}"] {
        let answer = server.post(jobs, body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.json()["message"].is_string());
    }
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn only_requests_to_this_server_from_its_own_pages_count() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let (port, key) = (server.port(), &server.key);
    let jobs = "/public/api/projects/ORDERS/jobs/";
    let ask = |head: &str| server.raw(format!("{head}Connection: close\r\n\r\n").as_bytes());
    for path in ["/healthz", "/", jobs, "/nothing"] {
        for host in ["evil.example", "evil.example:80", "localhost.", &format!("localhost.:{port}"), "localhost:1", ""]
        {
            let answer = ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"));
            assert!([400, 421].contains(&answer.status), "{path} {host}: {answer:?}");
        }
    }
    assert_eq!(ask("GET /healthz HTTP/1.1\r\n").status, 400);
    assert_eq!(ask("GET /healthz HTTP/1.0\r\n").status, 400);
    for host in ["127.0.0.1", "localhost", "LocalHost", "[::1]"] {
        assert_eq!(ask(&format!("GET /healthz HTTP/1.1\r\nHost: {host}:{port}\r\n")).status, 200, "{host}");
    }
    assert_eq!(ask(&format!("GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost:{port}\r\n")).status, 421);
    let body = "{\"outputs\":[{\"id\":\"orders\"}]}";
    for more in
        ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]
    {
        let head =
            server.head("POST", jobs, &format!("{more}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len()));
        let answer = server.raw(format!("{head}{body}").as_bytes());
        assert_eq!(answer.status, 403, "{more}: {answer:?}");
    }
    assert_eq!(server.get(jobs).json().as_array().unwrap().len(), 0);
}

#[test]
fn what_is_no_http_harms_nothing() {
    let project = orders();
    let server = Server::start(&project, &[]);
    for bytes in [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), b"\r\n\r\n\r\n"] {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(closed(stream), b"");
    }
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: none\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHo st: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Null: a\0b\r\n\r\n",
        &[0; 5000],
    ] {
        let answer = server.raw(bytes);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(!told(&answer).is_empty());
    }
    // What can be read and not be understood is told too.
    let port = server.port();
    let ask = |line: &str, host: &str| server.raw(format!("{line}\r\nHost: {host}\r\n\r\n").as_bytes());
    let own = format!("localhost:{port}");
    for (answer, status, part) in [
        (ask("GET /public/api/projects/%ff/ HTTP/1.1", &own), 400, "what it says with % is no UTF-8"),
        (ask("GET http://evil.example/healthz HTTP/1.1", &own), 421, "`evil.example` is no name of this server"),
        (ask("GET /healthz HTTP/1.1", "evil.example"), 421, "`evil.example` is no name of this server"),
        (
            ask(&format!("GET http://127.0.0.1:{port}/healthz HTTP/1.1"), &own),
            421,
            "in its first line, and for `localhost",
        ),
    ] {
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(told(&answer).contains(part), "{part}: {answer:?}");
    }
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn readers_that_do_not_read_cost_nothing() {
    let project = orders();
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", text.replace("echo made orders", "head -c 30000000 /dev/zero | tr '\\\\0' x"));
    let server = Server::start(&project, &[]);
    let job = server.build("orders");
    assert_eq!(server.wait(&job), "DONE");
    let before = memory(server.pid());
    let log = format!("/public/api/projects/ORDERS/jobs/{job}/log?activity=compute_orders_NP");
    let readers: Vec<_> = (0..100)
        .map(|i| {
            let mut stream = server.connect();
            let follow = if i % 2 == 0 { "&follow=true" } else { "" };
            stream.write_all(server.head("GET", &format!("{log}{follow}"), "").as_bytes()).unwrap();
            // It is being answered: the first bytes are there.
            stream.read_exact(&mut [0; 9]).unwrap();
            stream
        })
        .collect();
    // A job is not kept waiting by them.
    assert_eq!(server.wait(&server.build("report")), "DONE");
    let after = memory(server.pid());
    assert!(after < before + (64 << 10), "{before} KiB, then {after} KiB for {} readers", readers.len());
}

#[test]
fn a_browser_signs_in_with_a_key() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let (port, key) = (server.port(), &server.key);
    let host = format!("Host: localhost:{port}\r\nConnection: close\r\n");
    let sign_in = |key: &str| {
        let body = format!("key={key}");
        server.raw(format!("POST /sign-in HTTP/1.1\r\n{host}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    };
    let sent_away = server.raw(format!("GET / HTTP/1.1\r\n{host}\r\n").as_bytes());
    assert!(sent_away.status == 303 && sent_away.head.contains("location: /sign-in"), "{sent_away:?}");
    assert_eq!(sign_in("wrong").status, 401);
    // Whoever looks at pages is asked once more, and goes on to where he wanted to.
    let body = "key=wrong&next=%2Fprojects%2FORDERS%2Fflow";
    let again = server.raw(
        format!(
            "POST /sign-in HTTP/1.1\r\n{host}Accept: text/html,*/*\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    assert_eq!(again.status, 401, "{again:?}");
    assert!(
        again.body.contains("this key is not known: try again") && again.body.contains("type=\"password\""),
        "{again:?}"
    );
    assert!(again.body.contains("name=\"next\" value=\"/projects/ORDERS/flow\""), "{again:?}");
    assert!(!again.head.contains("www-authenticate"), "{again:?}");
    let answer = sign_in(key);
    assert_eq!(answer.status, 303, "{answer:?}");
    let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict;"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let ask = |method: &str, path: &str| {
        server
            .raw(format!("{method} {path} HTTP/1.1\r\n{host}Cookie: {cookie}\r\nContent-Length: 0\r\n\r\n").as_bytes())
    };
    let page = ask("GET", "/");
    assert!(page.status == 200 && page.body.contains(">ORDERS</a></h2>"), "{page:?}");
    assert_eq!(ask("GET", "/public/api/projects/").status, 200);
    // A browser says which page it writes from; whoever does not is none.
    let write = ask("POST", "/public/api/projects/ORDERS/jobs/");
    assert_eq!((write.status, told(&write).contains("says which page it comes from")), (403, true), "{write:?}");
    assert_eq!(ask("POST", "/sign-out").status, 303);
    assert_eq!(ask("GET", "/public/api/projects/").status, 401);
}

#[test]
fn whoever_guesses_keys_waits_and_nobody_else_does() {
    let project = orders();
    let server = Server::start(&project, &[]);
    let port = server.port();
    let guess = |i: u32| {
        let mut stream = server.connect();
        let head = format!(
            "GET /public/api/projects/ HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer guess number {i} of many\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    // By now each takes as long as any does.
    for i in 0..8 {
        assert_eq!(Answer::of(&closed(guess(i))).status, 401);
    }
    let guesses: Vec<_> = (8..48).map(guess).collect();
    // Whoever has the key is answered while they wait, from the same address.
    assert_eq!(server.get("/public/api/projects/").status, 200);
    let answers: Vec<Answer> = guesses.into_iter().map(|stream| Answer::of(&closed(stream))).collect();
    let many = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(many(401) + many(429), 40, "{answers:?}");
    assert!(many(429) > 0 && many(401) >= 4, "{} of 40 were turned away", many(429));
    let turned = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert!(turned.head.contains("retry-after: ") && turned.json()["message"] == "too many wrong keys", "{turned:?}");
}
