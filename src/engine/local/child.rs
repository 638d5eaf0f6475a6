//! One child process: started in a group of its own, its output kept in a file as it comes, stopped when asked. Knows no
//! recipes.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::engine::api::Environment;
use crate::engine::api::{Stop, Updates};

/// What is started.
pub(crate) struct Start {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// Its whole environment.
    pub(crate) env: Environment,
    /// The folder that it runs in.
    pub(crate) workdir: PathBuf,
    /// The file for its output.
    pub(crate) log: PathBuf,
    /// How long it may take to end when it is asked to.
    pub(crate) grace: Duration,
}

/// How a child ended.
pub(crate) struct Exit {
    /// Its status.
    pub(crate) status: ExitStatus,
    /// Whether it had been asked to end.
    pub(crate) stopped: bool,
    /// The last lines that it printed.
    pub(crate) tail: Vec<String>,
}

/// Why a child did not start.
pub(crate) type StartError = String;

/// Starts a child and waits for its end.
pub(crate) async fn run(start: Start, updates: Updates, stop: watch::Receiver<Stop>) -> Result<Exit, StartError> {
    let mut log = Log::create(&start.log, updates).map_err(|error| format!("{}: {error}", start.log.display()))?;
    let (reader, child) = spawn(&start)?;
    let mut reader = Receiver::from_owned_fd(reader.into()).map_err(|error| format!("no pipe: {error}"))?;
    let mut follow = Follow { child, stop, asked: Stop::Go, kill_at: None, grace: start.grace };
    let status =
        follow.until_end(&mut reader, &mut log).await.map_err(|error| format!("could not be followed: {error}"))?;
    drain(&reader, &mut log).map_err(|error| format!("its output could not be kept: {error}"))?;
    Ok(Exit { status, stopped: follow.asked > Stop::Go, tail: log.tail() })
}

fn spawn(start: &Start) -> Result<(io::PipeReader, Child), StartError> {
    let (program, arguments) = start.words.split_first().ok_or("there is no command")?;
    if !start.workdir.is_dir() {
        return Err(format!("the working directory {} is not there", start.workdir.display()));
    }
    let pipe = || -> io::Result<_> {
        let (reader, writer) = io::pipe()?;
        let second = writer.try_clone()?;
        Ok((reader, writer, second))
    };
    let (reader, out, err) = pipe().map_err(|error| format!("no pipe: {error}"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&start.env).current_dir(&start.workdir);
    command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
    let child = command.spawn().map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            format!("command not found: {program}")
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            format!("not executable: {program}")
        } else {
            format!("{program} could not be started: {error}")
        }
    })?;
    Ok((reader, child))
}

struct Follow {
    child: Child,
    stop: watch::Receiver<Stop>,
    asked: Stop,
    kill_at: Option<Instant>,
    grace: Duration,
}

impl Follow {
    async fn until_end(&mut self, reader: &mut Receiver, log: &mut Log) -> io::Result<ExitStatus> {
        let mut open = true;
        let mut watched = true;
        self.obey();
        loop {
            let kill_at = self.kill_at.unwrap_or_else(Instant::now);
            tokio::select! {
                status = self.child.wait() => return status,
                ready = reader.readable(), if open => {
                    ready?;
                    open = log.take(|buffer| reader.try_read(buffer))? != Taken::End;
                }
                changed = self.stop.changed(), if watched => {
                    watched = changed.is_ok();
                    self.obey();
                }
                () = sleep_until(kill_at), if self.kill_at.is_some() => {
                    self.kill_at = None;
                    self.signal(Signal::KILL);
                }
            }
        }
    }

    fn obey(&mut self) {
        let now = *self.stop.borrow_and_update();
        if now <= self.asked {
            return;
        }
        self.asked = now;
        if now == Stop::Kill {
            self.signal(Signal::KILL);
        } else {
            self.kill_at = Some(Instant::now() + self.grace);
            self.signal(Signal::TERM);
        }
    }

    /// Signals the child's whole group. The child is not reaped yet, so the number is still its own.
    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(Err(error)) = pid.map(|pid| kill_process_group(pid, signal)) {
            tracing::debug!(%error, "the group has ended already");
        }
    }
}

/// Takes what is in the pipe and does not wait for more: a grandchild may hold it open. The pipe is asked itself, since
/// the runtime may not have noticed yet that there is something in it.
fn drain(reader: &Receiver, log: &mut Log) -> io::Result<()> {
    while log.take(|buffer| Ok(rustix::io::read(reader, buffer)?))? == Taken::Some {}
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Taken {
    Some,
    Nothing,
    End,
}

/// The log of an attempt, and the end of it.
struct Log {
    path: PathBuf,
    file: File,
    /// Whether the file cannot be written any more.
    broken: bool,
    updates: Updates,
    last: Vec<u8>,
}

/// So many bytes of the end are kept for people.
const TAIL_BYTES: usize = 16 << 10;

impl Log {
    fn create(path: &std::path::Path, updates: Updates) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        Ok(Self { path: path.to_owned(), file: File::create(path)?, broken: false, updates, last: Vec::new() })
    }

    /// Takes what `read` gives.
    fn take(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Taken> {
        let mut buffer = [0; 64 << 10];
        match read(&mut buffer) {
            Ok(0) => Ok(Taken::End),
            Ok(n) => {
                self.keep(&buffer[..n]);
                self.updates.output(&buffer[..n]);
                self.last.extend_from_slice(&buffer[..n]);
                if self.last.len() > 2 * TAIL_BYTES {
                    self.last.drain(..self.last.len() - TAIL_BYTES);
                }
                Ok(Taken::Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Taken::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Writes to the file. If that fails the child goes on all the same; the run is told.
    fn keep(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        if let Err(error) = self.file.write_all(bytes) {
            self.broken = true;
            self.updates.trouble(format!("{}: {error}", self.path.display()));
        }
    }

    fn tail(&self) -> Vec<String> {
        let start = self.last.len().saturating_sub(TAIL_BYTES);
        let text = String::from_utf8_lossy(&self.last[start..]);
        let lines: Vec<&str> = text.split(['\n', '\r']).map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let clean =
            |line: &str| line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        lines.iter().map(|line| clean(line)).collect()
    }
}

/// The end of a child for people: `exit 3`, `killed by signal 9`.
pub(crate) fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}{}", signal_name(signal)),
        (None, None) => status.to_string(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
