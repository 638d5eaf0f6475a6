//! A DSS server made of numbers, on virtual time: it is slow, it breaks, it is away and comes back with other jobs, its lists
//! tell little. Its own record is the truth.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::engine::dss::client::{Request, Response, SendError, Transport};

/// How long it wants to be left alone, where it says so.
pub(super) const QUIET: Duration = Duration::from_secs(7);

/// Numbers that look random, the same for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// Whether something comes to pass that does so in so many of a hundred cases.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn ms(&mut self, up_to: u64) -> Duration {
        Duration::from_millis(self.below(up_to) + 1)
    }
}

/// What is wrong with the server.
pub(super) struct Weather {
    pub(super) has_running: bool,
    /// Whether lists tell ids and states only.
    pub(super) bare: bool,
    pub(super) shuffled: bool,
    /// Whether lists name some jobs twice.
    pub(super) repeats: bool,
    /// Of a hundred fields of an answer, how many are missing.
    pub(super) missing: u64,
    /// Of a hundred requests, how many come to no good, and how many take long.
    pub(super) broken: u64,
    pub(super) slow: u64,
    /// How long jobs take at most, and after how long at most lists show them, in milliseconds.
    pub(super) length: u64,
    pub(super) late: u64,
    /// Times at which the server is not there.
    pub(super) away: Vec<(Duration, Duration)>,
}

/// A job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) key: String,
    kind: String,
    outputs: Value,
    pub(super) by: String,
    born: Instant,
    shown: Instant,
    ends: Instant,
    /// How it ended, where not by itself.
    pub(super) fate: Option<&'static str>,
    pub(super) removed: bool,
}

impl Job {
    pub(super) fn state(&self, now: Instant) -> &'static str {
        self.fate.unwrap_or(if now >= self.ends { "DONE" } else { "RUNNING" })
    }

    fn over_at(&self, now: Instant) -> bool {
        self.state(now) != "RUNNING"
    }
}

/// A request as it came: when, what, and whether it was for a job that had ended.
pub(super) type Asked = (Duration, String, bool);

pub(super) struct State {
    pub(super) jobs: Vec<Job>,
    pub(super) asked: Vec<Asked>,
    /// When it said that it wants to be left alone for [`QUIET`].
    pub(super) quiet: Vec<Duration>,
    random: Random,
    weather: Weather,
    /// Requests that are on their way: when they come, what, and under which number.
    coming: Vec<(Instant, Request, usize)>,
    answers: BTreeMap<usize, (u16, String)>,
    tickets: usize,
    /// For which steps the last request was not done, and its answer lost.
    undone: BTreeMap<String, bool>,
    restarts: Vec<Instant>,
    /// That two jobs for one step went on at once.
    pub(super) doubled: Option<String>,
    pub(super) told: String,
    /// How many jobs a list shows at most.
    pub(super) cap: usize,
    /// What becomes of the next request for a job, and how many others start with it.
    pub(super) next: Option<Luck>,
    pub(super) crowd: usize,
    /// Whether every second list of all jobs fails that comes behind a request for one.
    pub(super) halting: bool,
    /// Whether the first list that shows jobs tells their ids and no more, those behind it no ids, and their status nothing.
    pub(super) shy: bool,
    lists: usize,
    halts: bool,
}

/// The server.
pub(super) struct Server {
    pub(super) began: Instant,
    state: Mutex<State>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Luck {
    Good,
    /// There is no connection.
    NotSent,
    /// It is done or not, and the answer is lost.
    Cut(bool),
    /// It is done or not, and a gateway answers.
    Gateway(bool),
    /// Another answer in its place; it is not done.
    Other(u16),
}

impl Server {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        let began = Instant::now();
        let restarts = weather.away.iter().map(|(from, _)| began + *from).collect();
        let state = State {
            jobs: Vec::new(),
            asked: Vec::new(),
            quiet: Vec::new(),
            random: Random(seed.wrapping_mul(7_919)),
            weather,
            coming: Vec::new(),
            answers: BTreeMap::new(),
            tickets: 0,
            undone: BTreeMap::new(),
            restarts,
            doubled: None,
            told: String::new(),
            cap: usize::MAX,
            next: None,
            crowd: 0,
            halting: false,
            shy: false,
            lists: 0,
            halts: false,
        };
        Self { began, state: Mutex::new(state) }
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Transport for Server {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, SendError>> {
        async move {
            let (luck, arrives, answers, ticket) = self.with(|state| state.receive(&request, self.began));
            let late = Instant::now() + request.timeout;
            if luck == Luck::NotSent {
                sleep_until(arrives).await;
                return Err(SendError::NotSent("connection refused".to_owned()));
            }
            sleep_until(arrives.min(late)).await;
            let answer = self.with(|state| {
                state.go_on(Instant::now());
                let done = ticket.and_then(|ticket| state.answers.remove(&ticket));
                done.unwrap_or_else(|| state.look(&request.path, Instant::now()))
            });
            sleep_until(answers.min(late)).await;
            let (status, body) = match luck {
                _ if answers > late => return Err(SendError::Cut("no answer in time".to_owned())),
                Luck::Cut(_) | Luck::NotSent => return Err(SendError::Cut("connection closed".to_owned())),
                Luck::Gateway(_) => (504, "<html>gateway</html>".to_owned()),
                Luck::Other(200) => (200, "<html><title>Starting</title></html>".to_owned()),
                Luck::Other(404) => (404, "<html><title>Nothing</title></html>".to_owned()),
                Luck::Other(status) => (status, String::new()),
                Luck::Good => answer,
            };
            let retry_after = matches!(status, 429 | 503).then(|| QUIET.as_secs().to_string());
            if retry_after.is_some() {
                self.with(|state| state.quiet.push(self.began.elapsed()));
            }
            Ok(Response { status, retry_after, body: body.into_bytes(), ..Response::default() })
        }
        .boxed()
    }
}

impl State {
    fn say(&mut self, began: Instant, text: &str) {
        writeln!(self.told, "{:>9.3} {text}", began.elapsed().as_secs_f64()).expect("a String takes everything");
    }

    /// A request is sent: what becomes of it, when it comes and when its answer does.
    fn receive(&mut self, request: &Request, began: Instant) -> (Luck, Instant, Instant, Option<usize>) {
        let now = Instant::now();
        let slow = self.weather.slow;
        let slow = self.random.percent(slow);
        let way = self.random.ms(if slow { 12_000 } else { 150 });
        let (arrives, answers) = (now + way, now + way + self.random.ms(if slow { 70_000 } else { 150 }));
        let since = arrives - began;
        let away = self.weather.away.iter().any(|(from, to)| since >= *from && since < *to);
        let start = request.body.is_some();
        self.halts ^= self.halting && request.path.ends_with("/jobs/") && !start && !self.undone.is_empty();
        let key = request.body.as_deref().map(key_of).unwrap_or_default();
        let mut luck = if away { self.away() } else { self.luck() };
        if let Some(next) = self.next.take_if(|_| start) {
            luck = next;
        } else if self.halts && request.path.ends_with("/jobs/") && !start {
            luck = Luck::Other(500);
        }
        let undone = matches!(luck, Luck::Cut(false) | Luck::Gateway(false) | Luck::Other(_));
        if start {
            // A request is asked for once more at most: of those that are not done, one in a row.
            let before = self.undone.insert(key.clone(), undone).unwrap_or(false);
            if before && undone {
                luck = if away { Luck::NotSent } else { Luck::Cut(true) };
                self.undone.insert(key.clone(), away);
            }
        }
        let over = request
            .path
            .rsplit('/')
            .nth(1)
            .is_some_and(|id| self.jobs.iter().any(|job| job.id == id && job.over_at(arrives)));
        self.asked.push((now - began, format!("{} {}", if request.post { "POST" } else { "GET" }, request.path), over));
        let what = if start { format!("start {key}") } else { request.path.clone() };
        self.say(began, &format!("{what}: {luck:?}, comes {since:?}, is answered {:?}", answers - began));
        let done = matches!(luck, Luck::Good | Luck::Cut(true) | Luck::Gateway(true));
        let ticket = (request.post && done).then(|| {
            self.tickets += 1;
            self.coming.push((arrives, request.clone(), self.tickets));
            self.tickets
        });
        (luck, arrives, answers, ticket)
    }

    fn away(&mut self) -> Luck {
        [Luck::NotSent, Luck::Gateway(false), Luck::Other(503), Luck::Other(200), Luck::Cut(false)]
            [self.random.below(5) as usize]
    }

    fn luck(&mut self) -> Luck {
        let broken = self.weather.broken;
        if !self.random.percent(broken) {
            return Luck::Good;
        }
        match self.random.below(9) {
            0 => Luck::NotSent,
            1 | 2 => Luck::Cut(true),
            3 => Luck::Cut(false),
            4 => Luck::Gateway(true),
            5 => Luck::Gateway(false),
            6 => Luck::Other(429),
            7 => Luck::Other(200),
            _ => Luck::Other(503),
        }
    }

    /// Does what has come until now, and starts again where it does.
    pub(super) fn go_on(&mut self, now: Instant) {
        self.restarts.sort();
        self.coming.sort_by_key(|(at, ..)| *at);
        loop {
            let restart = self.restarts.first().copied().filter(|at| *at <= now);
            let coming = self.coming.first().map(|(at, ..)| *at).filter(|at| *at <= now);
            match (restart, coming) {
                (Some(restart), coming) if coming.is_none_or(|coming| restart <= coming) => {
                    self.restarts.remove(0);
                    self.restart(restart);
                }
                (_, Some(at)) => {
                    let (_, request, ticket) = self.coming.remove(0);
                    let answer = self.act(&request, at);
                    self.answers.insert(ticket, answer);
                }
                (_, None) => return,
            }
        }
    }

    fn restart(&mut self, at: Instant) {
        for i in 0..self.jobs.len() {
            if self.jobs[i].over_at(at) || self.jobs[i].removed {
                continue;
            }
            let luck = self.random.below(8);
            let job = &mut self.jobs[i];
            match luck {
                0 => job.fate = Some("ABORTED"),
                1 => job.fate = Some("FAILED"),
                2 => (job.fate, job.removed) = (Some("ABORTED"), true),
                3 => job.ends = at,
                _ => {}
            }
        }
    }

    fn act(&mut self, request: &Request, at: Instant) -> (u16, String) {
        match &request.body {
            Some(body) => {
                let answer = self.start(body, "API (me)", at);
                for i in 0..std::mem::take(&mut self.crowd) {
                    self.start(&other(&format!("crowd{i}")), "ana", at);
                }
                answer
            }
            None => {
                let id = request.path.rsplit('/').nth(1).unwrap_or_default();
                match self.jobs.iter_mut().find(|job| job.id == id && !job.removed) {
                    Some(job) => {
                        if !job.over_at(at) {
                            job.fate = Some("ABORTED");
                        }
                        (200, r#"{"msg":"asked"}"#.to_owned())
                    }
                    None => not_found(),
                }
            }
        }
    }

    /// Starts a job.
    pub(super) fn start(&mut self, body: &str, by: &str, at: Instant) -> (u16, String) {
        let value: Value = serde_json::from_str(body).unwrap();
        let key = key_of(body);
        if self.jobs.iter().any(|job| job.key == key && !job.over_at(at) && job.by == by) {
            self.doubled = Some(key.clone());
        }
        let name: String = key.replace('+', "_").chars().take(80).collect();
        let id = format!("Build_{name}_NP_2026-11-24T02-00-00.{:03}", self.jobs.len());
        let (length, late) = (self.weather.length, self.weather.late);
        let (ends, shown) = (at + self.random.ms(length), at + self.random.ms(late));
        let (kind, outputs) = (value["type"].as_str().unwrap().to_owned(), value["outputs"].clone());
        let by = by.to_owned();
        self.jobs.push(Job {
            id: id.clone(),
            key,
            kind,
            outputs,
            by,
            born: at,
            shown,
            ends,
            fate: None,
            removed: false,
        });
        (200, json!({ "id": id }).to_string())
    }

    /// What is left of an answer.
    fn spoiled(&mut self, value: Value) -> Value {
        let missing = self.weather.missing;
        match value {
            Value::Object(fields) => {
                let kept = fields.into_iter().filter_map(|(key, value)| {
                    let lost = self.random.percent(missing);
                    (!lost).then(|| (key, self.spoiled(value)))
                });
                Value::Object(kept.collect())
            }
            Value::Array(items) => items.into_iter().map(|item| self.spoiled(item)).collect(),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
        }
    }

    fn def(job: &Job, began: Instant) -> Value {
        let outputs = job.outputs.as_array().unwrap().iter();
        let echo = outputs.map(|output| json!({ "type": "DATASET", "targetDatasetProjectKey": "P", "targetDataset": output["id"], "targetPartition": "NP" }));
        let initiated = i64::try_from((job.born - began).as_millis()).unwrap() - 3_600_000;
        json!({ "id": job.id, "type": job.kind, "projectKey": "P", "initiator": job.by, "initiationTimestamp": initiated, "outputs": echo.collect::<Vec<_>>() })
    }

    /// An answer to a question.
    fn look(&mut self, path: &str, now: Instant) -> (u16, String) {
        let began = self.jobs.first().map_or(now, |job| job.born);
        let (path, limit) = path.split_once("?limit=").unwrap_or((path, "1000000"));
        let limit: usize = limit.parse().unwrap();
        let answer = match path.trim_start_matches("/projects/P/jobs/").trim_end_matches('/') {
            "/auth/info" => json!({ "authIdentifier": "me" }),
            "" => self.list(now, began, limit, false),
            "running" if self.weather.has_running => self.list(now, began, usize::MAX, true),
            _ if self.shy => json!({}),
            id => match self.jobs.iter().find(|job| job.id == id && !job.removed) {
                Some(job) => {
                    let state = job.state(now);
                    let targets: Vec<Value> = job
                        .outputs
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|output| json!({ "type": "DATASET", "id": output["id"] }))
                        .collect();
                    let parts: serde_json::Map<String, Value> = targets
                        .iter()
                        .map(|target| {
                            (format!("make_{}", target["id"]), json!({ "state": state, "targets": [target] }))
                        })
                        .collect();
                    let total = parts.len();
                    json!({ "baseStatus": { "def": Self::def(job, began), "state": state, "activities": parts }, "globalState": { "total": total } })
                }
                None => return not_found(),
            },
        };
        (200, self.spoiled(answer).to_string())
    }

    fn list(&mut self, now: Instant, began: Instant, limit: usize, running: bool) -> Value {
        let bare = running || self.weather.bare || self.shy;
        let mut lines = Vec::new();
        for job in
            self.jobs.iter().rev().filter(|job| !job.removed && job.shown <= now && !(running && job.over_at(now)))
        {
            let state = job.state(now);
            let line = match self.shy && self.lists > 0 {
                true => json!({ "state": state }),
                false => json!({ "jobId": job.id, "state": state }),
            };
            lines.push(if bare {
                line.clone()
            } else {
                json!({ "def": Self::def(job, began), "state": state, "stableState": job.over_at(now) })
            });
            if self.weather.repeats && self.random.percent(30) {
                lines.push(line);
            }
        }
        self.lists += usize::from(!lines.is_empty());
        if self.weather.shuffled {
            let turn = self.random.below(lines.len() as u64 + 1) as usize;
            lines.rotate_left(turn);
        } else {
            lines.truncate(limit.min(self.cap));
        }
        Value::Array(lines)
    }
}

/// A request for a job that is nobody's business.
pub(super) fn other(output: &str) -> String {
    json!({ "type": "RECURSIVE_BUILD", "outputs": [{ "type": "DATASET", "id": output, "projectKey": "P" }] })
        .to_string()
}

fn not_found() -> (u16, String) {
    (404, r#"{"errorType":"NotFoundException","message":"no such job"}"#.to_owned())
}

/// The ids of what a request asks for.
fn key_of(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    let outputs = body["outputs"].as_array().unwrap().iter();
    outputs.map(|output| output["id"].as_str().unwrap()).collect::<Vec<_>>().join("+")
}
