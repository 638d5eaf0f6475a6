//! One child process of the guardian: its output is kept as it comes, it is asked to end when that is wanted, and what it
//! leaves behind is ended. Knows no recipes.

use std::io::{self, PipeWriter};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::engine::api::{Environment, Stop};
use crate::engine::local::guardian::orders::{Command, Order, Report, Value};
use crate::engine::local::guardian::{Guardian, Way};
use crate::engine::local::log::{Log, Taken};
use crate::program;

/// What is started.
pub(crate) struct Start {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// What is run besides when it is asked to end.
    pub(crate) on_stop: Option<Vec<String>>,
    /// Their whole environment.
    pub(crate) env: Environment,
    /// The variables in it that mark processes as this step's.
    pub(crate) marks: Vec<&'static str>,
    /// The folder that they run in.
    pub(crate) workdir: PathBuf,
    /// How long it may take to end when it is asked to.
    pub(crate) grace: Duration,
    /// Whether its standard output is an answer of at most so many bytes, and no part of the log.
    pub(crate) asks: Option<usize>,
}

/// How a child ended.
pub(crate) struct Exit {
    /// Its status.
    pub(crate) status: ExitStatus,
    /// Whether it had been asked to end.
    pub(crate) stopped: bool,
    /// Processes that it had left behind and that were ended, for people.
    pub(crate) leaked: Vec<String>,
    /// Its standard output, where that is an answer; none where it is too long.
    pub(crate) answer: Option<Vec<u8>>,
}

/// Why there is no status.
pub(crate) enum NotRun {
    /// It did not start.
    Start(String),
    /// It was not started, because it was to end already.
    Stopped,
    /// Its guardian died, and it was ended with it.
    Lost,
}

/// Output is waited for this long after the main process ended and left others behind.
const QUIET: Duration = Duration::from_millis(200);
/// The same, however much is printed.
const QUIET_AT_MOST: Duration = Duration::from_secs(2);
/// What was left behind may take this long to end when it is asked to.
const LEFT_GRACE: Duration = Duration::from_secs(1);
/// A start that may succeed later is tried again so often, first soon and then every quarter of a second.
const TRIES: u32 = 120;
/// The same for a program that is being written to.
const TRIES_BUSY: u32 = 6;

/// Starts a child and waits for its end.
pub(crate) async fn run(
    start: &Start,
    guardian: &Guardian,
    log: &mut Log,
    mut stop: watch::Receiver<Stop>,
) -> Result<Exit, NotRun> {
    let path = start.env.get("PATH");
    let mut tries = 0;
    loop {
        if *stop.borrow() > Stop::Go {
            return Err(NotRun::Stopped);
        }
        let name = start.words.first().ok_or_else(|| NotRun::Start("there is no command".to_owned()))?;
        let program = program::locate(name, path, &start.workdir).map_err(NotRun::Start)?;
        let error = match Part::begin(start, &start.words, program.clone(), guardian).await {
            Ok(main) => match Follow::new(start, guardian, log, stop.clone(), main).until_end().await? {
                Ended::With(exit) => return Ok(exit),
                Ended::NotStarted(error) => error,
            },
            Err(error) => error.raw_os_error(),
        };
        tries += 1;
        let passing = error.map(Errno::from_raw_os_error).filter(|error| program::is_passing(*error));
        let most = if passing == Some(Errno::TXTBSY) { TRIES_BUSY } else { TRIES };
        if passing.is_none() || tries > most {
            return Err(NotRun::Start(program::explain(name, &program, &start.workdir, error)));
        }
        tokio::select! {
            () = sleep(Duration::from_millis(250.min(5 << tries.min(6)))) => {}
            _ = stop.wait_for(|stop| *stop > Stop::Go) => {}
        }
    }
}

/// A process of the guardian, with what it prints.
struct Part {
    way: Way,
    reader: Receiver,
    open: bool,
    /// The other end: while it is held, nothing tells of the end of what is printed. The report of the end of the process is
    /// enough, and comes at the same moment.
    _writer: PipeWriter,
    answer: Option<Answer>,
    status: Option<ExitStatus>,
    over: bool,
    leaked: Vec<String>,
}

/// What is printed as an answer.
struct Answer {
    /// None at its end. Where it is too long nobody listens any more, so that who prints it ends.
    reader: Option<Receiver>,
    bytes: Vec<u8>,
    /// It may have so many bytes.
    longest: usize,
}

impl Answer {
    async fn more(&mut self) {
        if let Some(reader) = &self.reader
            && reader.readable().await.is_err()
        {
            self.reader = None;
        }
        self.read(|reader, buffer| reader.try_read(buffer));
    }

    /// Takes what is there. Only `try_read` tells the runtime when that is nothing.
    fn read(&mut self, read: impl Fn(&Receiver, &mut [u8]) -> io::Result<usize>) {
        let mut buffer = [0; 64 << 10];
        while let Some(reader) = &self.reader {
            match read(reader, &mut buffer) {
                Ok(0) => self.reader = None,
                Ok(n) => {
                    self.bytes.extend_from_slice(&buffer[..n]);
                    if self.bytes.len() > self.longest {
                        self.reader = None;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.reader = None,
            }
        }
    }

    /// All of it; none where that is too long.
    fn whole(mut self) -> Option<Vec<u8>> {
        self.read(|reader, buffer| Ok(rustix::io::read(reader, buffer)?));
        Some(self.bytes).filter(|bytes| bytes.len() <= self.longest)
    }
}

enum Next {
    Report(io::Result<Option<Report>>),
    Output(io::Result<()>),
    Answer,
}

impl Part {
    async fn begin(start: &Start, words: &[String], program: PathBuf, guardian: &Guardian) -> io::Result<Self> {
        let (reader, err) = io::pipe()?;
        let reader = Receiver::from_owned_fd(reader.into())?;
        let (answer, out) = match start.asks {
            Some(longest) => {
                let (reader, out) = io::pipe()?;
                let reader = Receiver::from_owned_fd(reader.into())?;
                (Some(Answer { reader: Some(reader), bytes: Vec::new(), longest }), Some(out))
            }
            None => (None, None),
        };
        let env: Vec<_> = start.env.iter().map(|(name, value)| (name.clone(), Value(value.clone()))).collect();
        let mark = |name: &&str| Some(format!("{name}={}", start.env.get(*name)?.to_str()?));
        let marks = start.marks.iter().filter_map(mark).collect();
        let command = Command { program, words: words.to_vec(), env, workdir: start.workdir.clone(), marks };
        let way = guardian.start(command, &[out.as_ref().unwrap_or(&err).as_fd(), err.as_fd()]).await?;
        Ok(Self { way, reader, open: true, _writer: err, answer, status: None, over: false, leaked: Vec::new() })
    }

    /// What comes next. Whoever stops waiting loses nothing. Only where it is not over.
    async fn next(&mut self) -> Next {
        tokio::select! {
            report = self.way.wire.receive(), if !self.over => Next::Report(report),
            ready = self.reader.readable(), if self.open => Next::Output(ready),
            () = more(&mut self.answer), if self.answer.as_ref().is_some_and(|answer| answer.reader.is_some()) => Next::Answer,
        }
    }

    async fn order(&self, order: &Order) {
        if !self.over {
            // A guardian that has gone is noticed where its reports are waited for.
            drop(self.way.wire.send(order, &[]).await);
        }
    }

    async fn end(&self) {
        let left = self.status.is_some();
        self.order(if left { &Order::Finish { grace_ms: 0 } } else { &Order::Kill }).await;
    }

    fn read(&mut self, log: &mut Log) -> io::Result<()> {
        let reader = &self.reader;
        self.open = log.take(|buffer| reader.try_read(buffer))? != Taken::End;
        Ok(())
    }
}

/// Takes what is in a pipe now, and not what comes meanwhile: it may be that nothing ends who prints that. The pipe is asked itself,
/// since the runtime may not have noticed yet that there is something in it.
fn drain(pipe: &impl AsFd, log: &mut Log) -> io::Result<()> {
    let mut left = usize::try_from(rustix::io::ioctl_fionread(pipe)?).unwrap_or(usize::MAX);
    let mut take = |buffer: &mut [u8]| {
        let most = left.min(buffer.len());
        let n = rustix::io::read(pipe, &mut buffer[..most])?;
        left -= n;
        Ok(n)
    };
    while log.take(&mut take)? == Taken::Some {}
    Ok(())
}

enum Ended {
    With(Exit),
    NotStarted(Option<i32>),
}

struct Follow<'a> {
    start: &'a Start,
    guardian: &'a Guardian,
    log: &'a mut Log,
    stop: watch::Receiver<Stop>,
    /// Whether anybody can still ask for an end.
    watched: bool,
    asked: Stop,
    main: Part,
    /// What runs because an end was asked for.
    helper: Option<Part>,
    /// When all of it is ended.
    kill_at: Option<Instant>,
    /// When what the main process left behind is ended, and when at the latest.
    quiet: Option<(Instant, Instant)>,
}

impl<'a> Follow<'a> {
    fn new(
        start: &'a Start,
        guardian: &'a Guardian,
        log: &'a mut Log,
        stop: watch::Receiver<Stop>,
        main: Part,
    ) -> Self {
        let (watched, asked, helper, kill_at, quiet) = (true, Stop::Go, None, None, None);
        Self { start, guardian, log, stop, watched, asked, main, helper, kill_at, quiet }
    }

    async fn until_end(mut self) -> Result<Ended, NotRun> {
        while !self.main.over || self.helper.as_ref().is_some_and(|helper| !helper.over) {
            let until = [self.kill_at, self.quiet.map(|(at, _)| at)].into_iter().flatten().min();
            let is_helped = self.helper.as_ref().is_some_and(|helper| !helper.over);
            let helper = async {
                match &mut self.helper {
                    Some(helper) => helper.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.stop.changed(), if self.watched => {
                    self.watched = changed.is_ok();
                    self.obey().await;
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => self.woke().await,
                next = self.main.next(), if !self.main.over => {
                    if let Some(error) = self.main_next(next).await? {
                        return Ok(Ended::NotStarted(error));
                    }
                }
                next = helper, if is_helped => self.helper_next(next).await?,
            }
        }
        let parts = [Some(&self.main), self.helper.as_ref()].into_iter().flatten();
        for part in parts {
            if let Err(error) = drain(&part.reader, self.log) {
                self.log.note(&format!("the end of the output cannot be read: {error}"));
            }
        }
        let status = self.main.status.ok_or(NotRun::Lost)?;
        self.guardian.keep(self.main.way);
        if let Some(helper) = self.helper {
            self.guardian.keep(helper.way);
        }
        let answer = self.main.answer.map_or_else(|| Some(Vec::new()), Answer::whole);
        let (stopped, leaked) = (self.asked > Stop::Go, self.main.leaked);
        Ok(Ended::With(Exit { status, stopped, leaked, answer }))
    }

    /// Does what is asked for now, if that is more than before.
    async fn obey(&mut self) {
        let now = *self.stop.borrow_and_update();
        if now <= self.asked {
            return;
        }
        if now == Stop::Kill {
            self.kill().await;
            return;
        }
        self.asked = now;
        self.quiet = None;
        self.kill_at = Some(Instant::now() + self.start.grace);
        self.main.order(&Order::Ask).await;
        if let Some(words) = &self.start.on_stop {
            self.help(words).await;
        }
    }

    async fn kill(&mut self) {
        self.asked = Stop::Kill;
        (self.kill_at, self.quiet) = (None, None);
        self.main.end().await;
        if let Some(helper) = self.helper.as_ref().filter(|helper| !helper.over) {
            helper.end().await;
            self.log.note("`on_stop` was ended before it was done");
        }
    }

    async fn help(&mut self, words: &[String]) {
        let program = words.first().map_or("", String::as_str);
        let program = program::locate(program, self.start.env.get("PATH"), &self.start.workdir);
        let begun = match program {
            Ok(program) => Part::begin(self.start, words, program, self.guardian).await.map_err(|e| e.to_string()),
            Err(error) => Err(error),
        };
        match begun {
            Ok(helper) => self.helper = Some(helper),
            Err(error) => self.log.note(&format!("`on_stop` did not start: {error}")),
        }
    }

    /// A time has come.
    async fn woke(&mut self) {
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill().await;
        }
        if self.quiet.is_some_and(|(at, _)| at <= now) {
            self.quiet = None;
            let grace = self.start.grace.min(LEFT_GRACE);
            let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            self.main.order(&Order::Finish { grace_ms }).await;
        }
    }

    /// Takes in what the main process did; why it did not start.
    async fn main_next(&mut self, next: Next) -> Result<Option<Option<i32>>, NotRun> {
        match next {
            Next::Output(ready) => {
                if ready.and_then(|()| self.main.read(self.log)).is_err() {
                    self.main.open = false;
                }
                if let Some((at, latest)) = &mut self.quiet {
                    *at = (Instant::now() + QUIET).min(*latest);
                }
            }
            Next::Answer => {}
            Next::Report(Ok(Some(Report::NotStarted(error)))) => return Ok(Some(error)),
            Next::Report(Ok(Some(Report::Ended { status, left }))) => {
                self.main.status = Some(ExitStatus::from_raw(status));
                self.main.over = !left;
                match self.asked {
                    _ if !left => {}
                    Stop::Go => self.quiet = Some((Instant::now() + QUIET, Instant::now() + QUIET_AT_MOST)),
                    Stop::Ask => {} // the others have their time too
                    Stop::Kill => self.main.end().await,
                }
            }
            Next::Report(Ok(Some(Report::Finished(leaked)))) => {
                self.quiet = None;
                self.main.over = true;
                self.main.leaked = leaked;
            }
            Next::Report(Ok(None) | Err(_)) => {
                self.guardian.lost(&self.main.way).await;
                return Err(if self.asked > Stop::Go { NotRun::Stopped } else { NotRun::Lost });
            }
        }
        Ok(None)
    }

    async fn helper_next(&mut self, next: Next) -> Result<(), NotRun> {
        let Some(helper) = &mut self.helper else { return Ok(()) };
        match next {
            Next::Output(ready) => {
                if ready.and_then(|()| helper.read(self.log)).is_err() {
                    helper.open = false;
                }
            }
            Next::Answer => {}
            Next::Report(Ok(Some(Report::NotStarted(error)))) => {
                helper.over = true;
                let name = self.start.on_stop.iter().flatten().next().map_or("", String::as_str);
                let why = program::explain(name, Path::new(name), &self.start.workdir, error);
                self.log.note(&format!("`on_stop` did not start: {why}"));
            }
            Next::Report(Ok(Some(Report::Ended { status, left }))) => {
                let status = ExitStatus::from_raw(status);
                helper.status = Some(status);
                helper.over = !left;
                if left {
                    helper.end().await;
                }
                if !status.success() && self.asked < Stop::Kill {
                    self.log.note(&format!("`on_stop`: {}", words(status)));
                }
            }
            Next::Report(Ok(Some(Report::Finished(_)))) => helper.over = true,
            Next::Report(Ok(None) | Err(_)) => {
                helper.over = true;
                self.guardian.lost(&helper.way).await;
            }
        }
        Ok(())
    }
}

async fn more(answer: &mut Option<Answer>) {
    match answer {
        Some(answer) => answer.more().await,
        None => std::future::pending().await,
    }
}

/// The end of a child for people: `exit 3`, `killed by signal 9`.
pub(crate) fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => match signal_name(signal) {
            "" => format!("killed by signal {signal}"),
            name => format!("killed by {name}"),
        },
        (None, None) => status.to_string(),
    }
}

/// The signal that ended a program, as shells tell it by their own exit code.
pub(crate) fn told_by_shell(code: i32) -> Option<&'static str> {
    Some(signal_name(code - 128)).filter(|name| !name.is_empty())
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use tokio::sync::mpsc;

    use super::*;
    use crate::engine::api::Updates;

    #[tokio::test]
    async fn what_is_printed_while_a_pipe_is_emptied_does_not_keep_that_from_ending() {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        io::Write::write_all(&mut writer, b"word").unwrap();
        // All that is taken is printed again.
        let echo = PathBuf::from(format!("/proc/self/fd/{}", writer.as_raw_fd()));
        let mut log = Log::create(&echo, Updates::new(0, None, mpsc::unbounded_channel().0), 1_000, None).unwrap();
        drain(&reader, &mut log).unwrap();
        assert_eq!(rustix::io::ioctl_fionread(&reader).unwrap(), 4);
        assert_eq!(log.finish().await, ["word"]);
    }
}
