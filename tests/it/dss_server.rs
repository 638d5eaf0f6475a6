//! A server that speaks as DSS does, on the loopback, and breaks as it is told to. Its answers are literal JSON, and its
//! record of what was asked is the truth that tests hold Kiln against.

use std::collections::{BTreeMap, VecDeque};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use crate::dss_net::connection;
pub(crate) use crate::dss_net::{Asked, Fault};

/// Which requests a fault is for.
type Concerns = fn(&Asked) -> bool;

/// A job of the server.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) outputs: Value,
    pub(crate) state: String,
    pub(crate) by: String,
    pub(crate) initiated: i64,
    /// After how many looks at it it ends; none for not before it is told to.
    pub(crate) looks: Option<u32>,
    pub(crate) removed: bool,
    /// Whether no list shows it yet.
    pub(crate) hidden: bool,
    /// What its status says, one after the other; the last for ever.
    script: VecDeque<Value>,
}

impl Job {
    fn over(&self) -> bool {
        matches!(self.state.as_str(), "DONE" | "FAILED" | "ABORTED")
    }

    /// The ids of its outputs, joined by `+`.
    pub(crate) fn key(&self) -> String {
        let outputs = self.outputs.as_array().unwrap();
        outputs.iter().map(|output| output["id"].as_str().unwrap()).collect::<Vec<_>>().join("+")
    }
}

/// How a job of these outputs ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// DONE, with an activity for its outputs and for these.
    Built(Vec<&'static str>),
    /// DONE, with nothing run.
    Nothing,
    /// FAILED with this message.
    Failed(&'static str),
    /// FAILED with this message so many times, then built.
    Busy(u32),
    /// FAILED so many times, then built.
    Flaky(u32),
    /// ABORTED, by nobody here.
    Aborted,
    /// Not before it is aborted.
    Never,
}

pub(crate) struct State {
    pub(crate) jobs: Vec<Job>,
    pub(crate) asked: Vec<Asked>,
    /// Faults by what they concern; each is used once, in order.
    faults: Vec<(Concerns, Fault)>,
    ends: BTreeMap<String, End>,
    /// What the status of the next jobs says.
    scripts: VecDeque<Vec<Value>>,
    /// After how many looks jobs end.
    pub(crate) looks: Option<u32>,
    /// Whether it has the list of running jobs.
    pub(crate) has_running: bool,
    /// Whether jobs are listed in an order that tells nothing.
    pub(crate) shuffled: bool,
    /// What is left out of the lines of lists: `def`, or nothing.
    pub(crate) bare: bool,
    /// Whether lists name each job twice, and tell nothing the second time.
    pub(crate) repeats: bool,
    /// Whether lists name no job.
    pub(crate) nameless: bool,
    /// How many jobs a list shows at most: the newest, or the oldest.
    pub(crate) newest: usize,
    pub(crate) oldest: usize,
    /// Whether what is hidden stays so when another job is started.
    pub(crate) hides: bool,
    /// Whether a gateway answers for it.
    pub(crate) down: bool,
    /// The server's clock, in milliseconds.
    pub(crate) clock: i64,
    pub(crate) me: &'static str,
    /// Other paths and their answers.
    pub(crate) pages: BTreeMap<String, String>,
    /// How many jobs went on at once at most.
    pub(crate) most: usize,
    /// How many requests wait for an answer that will not come.
    silent: usize,
}

/// The server. It goes on until the process ends.
pub(crate) struct Server {
    pub(crate) port: u16,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with_streams(connection)
    }

    /// A server that speaks TLS with this certificate.
    pub(crate) fn with_tls(config: Arc<rustls::ServerConfig>) -> Self {
        Self::with_streams(move |stream, shared| {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            connection(rustls::StreamOwned::new(session, stream), shared);
        })
    }

    fn with_streams(serve: impl Fn(TcpStream, &(Mutex<State>, Condvar)) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            jobs: Vec::new(),
            asked: Vec::new(),
            faults: Vec::new(),
            ends: BTreeMap::new(),
            scripts: VecDeque::new(),
            looks: Some(2),
            has_running: true,
            shuffled: false,
            bare: false,
            repeats: false,
            nameless: false,
            newest: usize::MAX,
            oldest: usize::MAX,
            hides: false,
            down: false,
            clock: 1_700_000_000_000,
            me: "kiln-key",
            pages: BTreeMap::new(),
            most: 0,
            silent: 0,
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let server = Self { port, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).unwrap();
                let (shared, serve) = (Arc::clone(&shared), serve.clone());
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        server
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.shared.0.lock().unwrap());
        self.shared.1.notify_all();
        result
    }

    /// The next request that `concerns` holds for is broken so.
    pub(crate) fn fault(&self, concerns: Concerns, fault: Fault) {
        self.with(|state| state.faults.push((concerns, fault)));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.with(|state| state.faults.clear());
    }

    /// Jobs for this output end so.
    pub(crate) fn end(&self, output: &str, end: End) {
        self.with(|state| state.ends.insert(output.to_owned(), end));
    }

    /// The status of the next job that nothing was said of says this, one answer after the other.
    pub(crate) fn script(&self, answers: Vec<Value>) {
        self.with(|state| state.scripts.push_back(answers));
    }

    /// From now on, the status of a job says this.
    pub(crate) fn script_on(&self, i: usize, answers: Vec<Value>) {
        self.with(|state| state.jobs[i].script = answers.into());
    }

    /// A job that is there before.
    pub(crate) fn job(&self, id: &str, kind: &str, output: &str, state: &str, by: &str) {
        self.with(|server| {
            server.clock += 1_000;
            let (outputs, looks) = (json!([{ "type": "DATASET", "id": output, "projectKey": "P" }]), None);
            let script = VecDeque::new();
            let (id, kind, state, by) = (id.to_owned(), kind.to_owned(), state.to_owned(), by.to_owned());
            let initiated = server.clock;
            server.jobs.push(Job {
                id,
                kind,
                outputs,
                state,
                by,
                initiated,
                looks,
                removed: false,
                hidden: false,
                script,
            });
        });
    }

    /// Waits until something holds; it is looked at after each request.
    #[track_caller]
    pub(crate) fn wait(&self, holds: impl Fn(&State) -> bool) {
        let state = self.shared.0.lock().unwrap();
        drop(self.shared.1.wait_while(state, |state| !holds(state)).unwrap());
    }

    /// How many jobs there were for each set of outputs.
    pub(crate) fn jobs_per_step(&self) -> BTreeMap<String, usize> {
        self.with(|state| {
            let mut count = BTreeMap::new();
            for job in &state.jobs {
                *count.entry(job.key()).or_default() += 1;
            }
            count
        })
    }

    pub(crate) fn count(&self, concerns: impl Fn(&Asked) -> bool) -> usize {
        self.with(|state| state.asked.iter().filter(|asked| concerns(asked)).count())
    }
}

impl State {
    /// How many answers are held back for ever.
    pub(crate) fn silent(&self) -> usize {
        self.silent
    }

    /// Does what was asked, as far as no fault prevents it.
    pub(crate) fn take(&mut self, asked: &Asked) -> ((u16, String), Option<Fault>) {
        self.asked.push(asked.clone());
        let fault = self.faults.iter().position(|(concerns, _)| concerns(asked)).map(|i| self.faults.remove(i).1);
        let answer = match &fault {
            Some(Fault::CutBefore | Fault::Held) => (0, String::new()),
            Some(Fault::Answer(status, _, body)) => (*status, body.clone()),
            Some(Fault::DoneAnswer(status, body)) => {
                self.handle(asked);
                (*status, body.clone())
            }
            Some(Fault::Hidden(shift)) => {
                self.handle(asked);
                let job = self.jobs.last_mut().unwrap();
                (job.hidden, job.initiated, job.looks) = (true, job.initiated + shift, None);
                (0, String::new())
            }
            Some(Fault::Crowded(others)) => {
                self.handle(asked);
                let body = r#"{"type":"RECURSIVE_BUILD","outputs":[{"type":"DATASET","id":"other"}]}"#;
                (0..*others).for_each(|_| drop(self.start("P", body)));
                (0, String::new())
            }
            Some(Fault::Foreign(by, done)) => {
                if *done {
                    self.handle(asked);
                }
                self.handle(asked);
                let job = self.jobs.last_mut().unwrap();
                (job.by, job.looks) = ((*by).to_owned(), None);
                (0, String::new())
            }
            None if self.down => (502, String::new()),
            Some(Fault::CutMiddle | Fault::CutAfter | Fault::Silent | Fault::Drip) | None => self.handle(asked),
        };
        self.silent += usize::from(matches!(fault, Some(Fault::Silent | Fault::Held)));
        (answer, fault)
    }

    fn handle(&mut self, asked: &Asked) -> (u16, String) {
        let path = asked.path.split('?').next().unwrap().trim_start_matches("http://dss.invalid");
        let path = path.trim_start_matches("/public/api").trim_start_matches("/dip/publicapi");
        if let Some(page) = self.pages.get(path) {
            return (200, page.clone());
        }
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["auth", "info"]) => (200, format!(r#"{{"authIdentifier":"{}"}}"#, self.me)),
            ("POST", ["projects", project, "jobs"]) => self.start(project, &asked.body),
            ("GET", ["projects", _, "jobs"]) => (200, self.list(false)),
            ("GET", ["projects", _, "jobs", "running"]) if self.has_running => (200, self.list(true)),
            ("GET", ["projects", _, "jobs", id]) => self.status(id),
            ("GET", ["projects", _, "jobs", id, "log"]) => self.log(id),
            ("POST", ["projects", _, "jobs", id, "abort"]) => self.abort(id),
            _ => not_found(path),
        }
    }

    fn start(&mut self, project: &str, body: &str) -> (u16, String) {
        let body: Value = serde_json::from_str(body).unwrap();
        self.clock += 1_000;
        let mut outputs = body["outputs"].clone();
        for output in outputs.as_array_mut().unwrap() {
            if output["projectKey"].is_null() {
                output["projectKey"] = json!(project);
            }
        }
        if !self.hides {
            self.jobs.iter_mut().for_each(|job| job.hidden = false);
        }
        let id = format!("Build_{}_NP_2026-11-24T02-00-00.{:03}", outputs[0]["id"].as_str().unwrap(), self.jobs.len());
        let kind = body["type"].as_str().unwrap().to_owned();
        let by = format!("API ({})", self.me);
        let initiated = self.clock;
        let state = "RUNNING".to_owned();
        let script: VecDeque<Value> = self.scripts.pop_front().unwrap_or_default().into();
        let looks = self.looks.filter(|_| script.is_empty());
        self.jobs.push(Job {
            id: id.clone(),
            kind,
            outputs,
            state,
            by,
            initiated,
            looks,
            removed: false,
            hidden: false,
            script,
        });
        self.most = self.most.max(self.jobs.iter().filter(|job| !job.over()).count());
        (200, format!(r#"{{"id":"{id}","extra":[1,2]}}"#))
    }

    fn look(&mut self, i: usize) {
        let job = &mut self.jobs[i];
        if job.state != "RUNNING" {
            return;
        }
        match job.looks {
            None => {}
            Some(0) => self.finish(i),
            Some(n) => job.looks = Some(n - 1),
        }
    }

    /// The next answer about a job that has a script.
    fn scripted(&mut self, i: usize) -> Option<String> {
        let job = &mut self.jobs[i];
        let answer = if job.script.len() > 1 { job.script.pop_front() } else { job.script.front().cloned() }?;
        job.state = answer["baseStatus"]["state"].as_str().unwrap().to_owned();
        Some(answer.to_string())
    }

    pub(crate) fn finish(&mut self, i: usize) {
        let key = self.jobs[i].key();
        if matches!(self.ends.get(&key), Some(End::Never)) {
            return;
        }
        let state = match self.ends.get_mut(&key) {
            Some(End::Failed(_)) => "FAILED",
            Some(End::Busy(n) | End::Flaky(n)) if *n > 0 => "FAILED",
            Some(End::Aborted) => "ABORTED",
            Some(End::Built(_) | End::Nothing | End::Busy(_) | End::Flaky(_) | End::Never) | None => "DONE",
        };
        self.jobs[i].state = state.to_owned();
    }

    fn def(&self, job: &Job) -> Value {
        let outputs = job.outputs.as_array().unwrap().iter().map(|output| match output["type"].as_str() {
            Some("MANAGED_FOLDER") => {
                json!({ "type": "MANAGED_FOLDER", "targetManagedFolderProjectKey": output["projectKey"],
                "targetManagedFolder": output["id"], "targetPartition": output["partition"].as_str().unwrap_or("NP") })
            }
            Some("SAVED_MODEL") => json!({ "type": "SAVED_MODEL", "savedModelId": output["id"] }),
            _ => json!({ "type": "DATASET", "targetDatasetProjectKey": output["projectKey"],
                "targetDataset": output["id"], "targetPartition": output["partition"].as_str().unwrap_or("NP") }),
        });
        json!({ "id": job.id, "type": job.kind, "projectKey": "P", "initiator": job.by, "triggeredFrom": "API",
            "initiationTimestamp": job.initiated, "outputs": outputs.collect::<Vec<_>>() })
    }

    fn list(&mut self, running: bool) -> String {
        (0..self.jobs.len()).for_each(|i| self.look(i));
        let jobs = self.jobs.iter().filter(|job| !job.removed && !job.hidden && (!running || !job.over()));
        let mut lines: Vec<Value> = jobs
            .rev()
            .map(|job| {
                if running || self.bare {
                    return json!({ "jobId": job.id, "projectKey": "P", "state": job.state });
                }
                json!({ "def": self.def(job), "state": job.state, "stableState": job.over(),
                    "startTime": job.initiated, "endTime": 0, "warningsCount": 0 })
            })
            .collect();
        if !running {
            lines.truncate(self.newest);
            lines.drain(..lines.len().saturating_sub(self.oldest));
        }
        if self.repeats {
            let again =
                lines.iter().map(|line| json!({ "jobId": line["jobId"].as_str().or(line["def"]["id"].as_str()) }));
            lines.extend(again.collect::<Vec<_>>());
        }
        if self.nameless {
            lines.iter_mut().for_each(|line| {
                line.as_object_mut().unwrap().remove("jobId");
                line.get_mut("def").map(|def| def.as_object_mut().unwrap().remove("id"));
            });
        }
        if self.shuffled {
            lines.sort_by_key(|line| line.to_string().bytes().map(u32::from).sum::<u32>() % 97);
        }
        Value::Array(lines).to_string()
    }

    fn status(&mut self, id: &str) -> (u16, String) {
        let Some(i) = self.jobs.iter().position(|job| job.id == id && !job.removed) else {
            return not_found(id);
        };
        self.look(i);
        if let Some(answer) = self.scripted(i) {
            return (200, answer);
        }
        let job = self.jobs[i].clone();
        let key = job.key();
        let mut activities = serde_json::Map::new();
        let mut error = Value::Null;
        let targets = |ids: &[&str]| {
            ids.iter().map(|id| json!({ "type": "DATASET", "id": format!("P.{id}") })).collect::<Vec<_>>()
        };
        let ours: Vec<&str> = key.split('+').collect();
        match (job.state.as_str(), self.ends.get_mut(&key)) {
            ("DONE", Some(End::Nothing)) => {}
            ("DONE", Some(End::Built(also))) => {
                activities.insert(format!("py_{key}_NP"), json!({ "state": "DONE", "targets": targets(&ours) }));
                for id in also.iter() {
                    activities.insert(format!("py_{id}_NP"), json!({ "state": "DONE", "targets": targets(&[id]) }));
                }
            }
            ("FAILED", Some(End::Failed(message))) => {
                let failure = json!({ "errorType": "E", "message": message });
                activities.insert(
                    format!("py_{key}_NP"),
                    json!({ "state": "FAILED", "firstFailure": failure, "targets": targets(&ours) }),
                );
            }
            ("FAILED", Some(End::Flaky(n))) => {
                *n = n.saturating_sub(1);
                error = json!({ "message": "it broke" });
            }
            ("FAILED", Some(End::Busy(n))) => {
                *n = n.saturating_sub(1);
                error = json!({ "message": format!("Dataset P.{key} is already being built by another job") });
            }
            _ => {
                activities.insert(format!("py_{key}_NP"), json!({ "state": job.state, "targets": targets(&ours) }));
            }
        }
        let total = activities.len();
        let tail =
            json!({ "totalLines": 2, "lines": ["[INFO] start {\"jobTicketSecret\":\"t1cket\"}", "[ERROR] it broke"] });
        let base = json!({ "def": self.def(&job), "state": job.state, "activities": activities, "jobStartTime": job.initiated });
        (
            200,
            json!({ "baseStatus": base, "globalState": { "total": total }, "error": error, "logTail": tail })
                .to_string(),
        )
    }

    fn log(&self, id: &str) -> (u16, String) {
        match self.jobs.iter().find(|job| job.id == id) {
            Some(job) => {
                (200, format!("[INFO] log of {}\nticket \"jobTicketSecret\":\"t1cket\"\n[INFO] end\n", job.id))
            }
            None => not_found(id),
        }
    }

    fn abort(&mut self, id: &str) -> (u16, String) {
        match self.jobs.iter_mut().find(|job| job.id == id) {
            Some(job) => {
                if !job.over() {
                    job.state = "ABORTED".to_owned();
                    job.script.drain(..job.script.len().saturating_sub(1));
                    job.script.iter_mut().for_each(|answer| answer["baseStatus"]["state"] = json!("ABORTED"));
                }
                (200, r#"{"msg":"abort requested"}"#.to_owned())
            }
            None => not_found(id),
        }
    }
}

fn not_found(what: &str) -> (u16, String) {
    let body = json!({ "errorType": "com.dataiku.dip.server.controllers.NotFoundException", "message": format!("not found: {what}") });
    (404, body.to_string())
}
