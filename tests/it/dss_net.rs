//! How the server of the tests speaks HTTP, and how it breaks off.

use std::io::{Read, Write};
use std::sync::{Condvar, Mutex};

use crate::dss_server::State;

/// What is done to a request instead of answering it as it should be.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The connection is closed, and nothing is done.
    CutBefore,
    /// It is done, and half of the answer is sent.
    CutMiddle,
    /// It is done, and the connection is closed.
    CutAfter,
    /// It is not done, and no answer comes until the client goes away.
    Held,
    /// It is done, and no answer comes until the client goes away.
    Silent,
    /// It is done, and the answer comes a byte at a time, each once the one before was taken.
    Drip,
    /// It is not done; this is the answer: status, further header lines, body.
    Answer(u16, &'static str, String),
    /// It is done, and the connection is closed; the job is in no list before another one was started. It was initiated so
    /// many milliseconds later than it seems.
    Hidden(i64),
    /// Somebody of this name starts the same at that moment, and the connection is closed; what was asked is done or not.
    Foreign(&'static str, bool),
    /// It is done, so many other jobs start behind it, and the connection is closed.
    Crowded(usize),
    /// It is done, and this is the answer.
    DoneAnswer(u16, String),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn is_start(&self) -> bool {
        self.method == "POST" && self.path.ends_with("/jobs/")
    }
}

pub(crate) fn connection(mut stream: impl Read + Write, shared: &(Mutex<State>, Condvar)) {
    while let Some(asked) = request(&mut stream) {
        let (answer, fault) = shared.0.lock().unwrap().take(&asked);
        shared.1.notify_all();
        let header = if let Some(Fault::Answer(_, header, _)) = &fault { *header } else { "" };
        if !send(&mut stream, answer, header, fault.as_ref()) {
            return; // with the stream, which ends the connection
        }
    }
}

/// Sends an answer; whether the connection goes on.
fn send(stream: &mut (impl Read + Write), (status, body): (u16, String), header: &str, fault: Option<&Fault>) -> bool {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json;charset=utf-8\r\nDSS-Version: 15.2.0\r\n{header}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = format!("{head}{body}").into_bytes();
    match fault {
        Some(Fault::CutBefore | Fault::CutAfter | Fault::Hidden(_) | Fault::Foreign(..) | Fault::Crowded(_)) => false,
        Some(Fault::CutMiddle) => {
            drop(stream.write_all(&answer[..head.len() + body.len() / 2]));
            false
        }
        Some(Fault::Silent | Fault::Held) => {
            // Until the client has had enough.
            drop(stream.read(&mut [0; 1]));
            false
        }
        Some(Fault::Drip) => answer.iter().all(|byte| stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_ok()),
        Some(Fault::Answer(..) | Fault::DoneAnswer(..)) | None => {
            stream.write_all(&answer).and_then(|()| stream.flush()).is_ok()
        }
    }
}

fn request(stream: &mut (impl Read + Write)) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..n]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut words = head.lines().next()?.split(' ');
    let mut asked = Asked {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        head: head.clone(),
        body: String::new(),
    };
    let length: usize = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + 4 + length {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..n]);
    }
    asked.body = String::from_utf8(bytes[end + 4..end + 4 + length].to_vec()).unwrap();
    Some(asked)
}
