//! A program for tests that behaves as badly as it is told to. Each argument is something to do, in order:
//!
//! `up=FILE` makes a file · `wait=FILE` waits until there is one · `gone=PID` waits until there is no such process ·
//! `forever` · `deaf` lets TERM, INT and HUP do nothing · `print=TEXT` · `line=TEXT` · `err=TEXT` · `var=NAME` prints a
//! variable · `bytes=HEX` · `flood=BYTES` · `write=FILE:TEXT` · `pid=FILE` · `exit=CODE` · `kill=SIGNAL` · `mark=ANYTHING`
//! does nothing, and can be looked for · `fork … then …` does the first part in a child that nobody waits for · `daemon … then
//! …` does it in one that has lost its parent and has a session of its own · `ghost … then …` likewise, and it has neither
//! the environment nor the output of its parent.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, clippy::zombie_processes, reason = "it is for tests")]

use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::{Command, Stdio, exit};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process, setsid};
use tokio::signal::unix::{SignalKind, signal};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut rest = arguments.as_slice();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        let (what, how) = first.split_once('=').unwrap_or((first, ""));
        match what {
            "fork" | "daemon" | "ghost" => {
                let end = rest.iter().position(|word| word == "then").unwrap_or(rest.len());
                leave(what, &rest[..end]);
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            // What `daemon` and `ghost` come to: a process whose child loses its parent.
            "session" => {
                setsid().unwrap();
                Command::new(std::env::current_exe().unwrap()).args(rest).spawn().unwrap();
                return;
            }
            _ => act(what, how),
        }
    }
}

fn leave(how: &str, arguments: &[String]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    match how {
        "fork" => {}
        "daemon" => drop(command.arg("session")),
        _ => drop(command.arg("session").env_clear().stdout(Stdio::null()).stderr(Stdio::null())),
    }
    let mut child = command.args(arguments).spawn().unwrap();
    if how != "fork" {
        child.wait().unwrap();
    }
}

fn act(what: &str, how: &str) {
    match what {
        "up" => drop(std::fs::File::create(how).unwrap()),
        "wait" => until(|| Path::new(how).exists()),
        "gone" => until(|| !Path::new("/proc").join(how).exists()),
        "forever" => until(|| false),
        "deaf" => deaf(),
        "print" => print(how.as_bytes()),
        "line" => print(format!("{how}\n").as_bytes()),
        "err" => stderr().write_all(how.as_bytes()).unwrap(),
        "var" => print(std::env::var(how).unwrap_or_default().as_bytes()),
        "bytes" => print(&bytes(how)),
        "flood" => flood(how.parse().unwrap()),
        "write" => {
            let (file, text) = how.split_once(':').unwrap();
            std::fs::write(file, text).unwrap();
        }
        "pid" => {
            // Nobody finds a file that is not complete.
            std::fs::write(format!("{how}.new"), std::process::id().to_string()).unwrap();
            std::fs::rename(format!("{how}.new"), how).unwrap();
        }
        "exit" => exit(how.parse().unwrap()),
        "kill" => kill_process(getpid(), Signal::from_named_raw(how.parse().unwrap()).unwrap()).unwrap(),
        "mark" => {}
        other => panic!("fx cannot {other}"),
    }
}

fn until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn deaf() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        drop(signal(kind).unwrap());
    }
    // What is caught once stays caught.
    std::mem::forget(runtime);
}

fn print(bytes: &[u8]) {
    let mut out = stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).unwrap();
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn flood(mut left: usize) {
    let line = [b"0123456789abcdef".repeat(64), b"\n".to_vec()].concat().repeat(64);
    let mut out = stdout().lock();
    while left > 0 {
        let n = left.min(line.len());
        out.write_all(&line[..n]).unwrap();
        left -= n;
    }
    out.flush().unwrap();
}
