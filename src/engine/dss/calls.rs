//! The calls of the DSS API that Kiln makes: each a path, a question and what its answer holds. What has no effect is asked
//! again for a while when it goes wrong. Does not know what is to be built.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use crate::engine::dss::body::Much;
use crate::engine::dss::client::{Request, Transport};
use crate::engine::dss::fault::{Fault, Kind, judge};
use crate::engine::dss::lines::one_each;
use crate::engine::dss::mask::Mask;
use crate::engine::dss::silence::Silence;
use crate::pipeline::dss_wire::{AuthInfo, FlowGraph, JobItem, JobStatus, StartJob, Thing};

/// How much of an answer is read at most.
const LIMIT: Much = Much::All(256 << 20);
/// How much of a log holds its last lines.
const END: Much = Much::End(1 << 20);
/// The first wait before a call is made again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait before a call is made again.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// How long a server that never gave an answer that is understood is taken for one that starts: `url` may be wrong.
const STRANGE: Duration = Duration::from_secs(60);
/// How long one is that knows none of the addresses: that is no way in which servers start.
const NOWHERE: Duration = Duration::from_secs(2);

/// How often something is asked for that goes wrong inside DSS, as it says itself.
pub(super) const HICCUPS: u32 = 3;

/// The API of one server.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) mask: Mask,
    /// How long one answer may take.
    pub(super) timeout: Duration,
    /// How long a call without effect is tried.
    pub(super) patience: Duration,
    /// What calls have learnt of the server.
    pub(super) peer: Peer,
}

/// What calls have learnt of a server: what one answer says counts for all calls.
#[derive(Clone, Default)]
pub(super) struct Peer {
    quiet: Arc<Mutex<Option<Instant>>>,
    met: Arc<AtomicBool>,
    silence: Arc<Mutex<Silence>>,
    about: Arc<About>,
}

/// What is known of the way to a server from the beginning.
#[derive(Debug, Default)]
pub(super) struct About {
    /// How long it is waited for, and so left alone at most.
    pub(super) lost_after: Option<Duration>,
    /// Where the key is from and the server is, for people.
    pub(super) key: String,
    pub(super) url: String,
}

impl Peer {
    pub(super) fn new(about: About) -> Self {
        Self { about: Arc::new(about), ..Self::default() }
    }

    /// A fault of a call with what is known of the way to the server.
    fn known(&self, path: &str, mut fault: Fault) -> Fault {
        let longest = self.about.lost_after.unwrap_or(Duration::MAX);
        fault.retry_after = fault.retry_after.map(|wait| wait.min(longest));
        let About { key, url, .. } = &*self.about;
        // Of a job that is not there nothing else is wrong.
        let lost = fault.kind == Kind::NotFound && !fault.page && !is_of_job(path);
        let more = if fault.kind == Kind::Unknown {
            format!("it is from {key}, for {url}: DSS makes keys at \"Profile, API keys\"")
        } else if fault.kind == Kind::Forbidden || lost {
            format!("asked {} with the key from {key}", place(url, path))
        } else {
            return fault;
        };
        let joint = if fault.message.is_empty() { "" } else { "; " };
        fault.message = format!("{}{joint}{more}", fault.message);
        fault
    }

    /// When the server may be asked next, which it may have said itself.
    pub(super) fn quiet_until(&self) -> Instant {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now)
    }

    fn wants_quiet(&self, wait: Duration) {
        let until = self.quiet_until().max(Instant::now() + wait);
        *self.quiet.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Whether the server has given any answer that is understood.
    pub(super) fn is_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }

    /// What people have to be told of the server now, which is waited for so long.
    pub(super) fn news(&self, patience: Option<Duration>) -> Option<String> {
        let mut silence = self.silence();
        let patience =
            patience.map(|patience| silence.fault().map_or(patience, |fault| self.patience(fault, patience)));
        silence.news(Instant::now(), patience)
    }

    fn silence(&self) -> std::sync::MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it is worth to try on after such a fault: what never gave an answer that is understood may be no DSS.
    pub(super) fn patience(&self, fault: &Fault, patience: Duration) -> Duration {
        match self.is_met() {
            false if fault.kind == Kind::NotFound => patience.min(NOWHERE),
            false if fault.page || fault.kind == Kind::Odd => patience.min(STRANGE),
            true | false => patience,
        }
    }
}

impl Calls {
    /// The same with another patience.
    pub(super) fn patient(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// All jobs of a project that the server keeps, or about `limit` of them. Neither order nor number is promised.
    pub(super) async fn jobs(&self, project: &str, limit: Option<usize>) -> Result<Vec<JobItem>, Fault> {
        let limit = limit.map(|limit| format!("?limit={limit}")).unwrap_or_default();
        self.list(&format!("/projects/{}/jobs/{limit}", segment(project))).await.map(one_each)
    }

    /// The jobs of a project that go on; servers before 15.2 do not know the question.
    pub(super) async fn running(&self, project: &str) -> Result<Vec<JobItem>, Fault> {
        self.list(&format!("/projects/{}/jobs/running/", segment(project))).await.map(one_each)
    }

    /// A job as DSS tells it, secrets masked.
    pub(super) async fn status_value(&self, project: &str, job: &str) -> Result<Value, Fault> {
        let path = job_path(project, job, "");
        let read = |body: Vec<u8>| self.json(String::from_utf8_lossy(&body).as_bytes());
        let value: Value = self.again(false, &path, read).await?;
        if value.is_object() { Ok(self.mask.value(value)) } else { Err(Fault::odd("the status of a job is no object")) }
    }

    /// A job.
    pub(super) async fn status(&self, project: &str, job: &str) -> Result<JobStatus, Fault> {
        serde_json::from_value(self.status_value(project, job).await?).map_err(|error| Fault::odd(error.to_string()))
    }

    /// The whole log of a job or of one of its activities, secrets masked.
    pub(super) async fn log(&self, project: &str, job: &str, activity: Option<&str>) -> Result<String, Fault> {
        let path = log_path(project, job, activity);
        self.again(false, &path, |body| Ok(self.mask.text(&String::from_utf8_lossy(&body)))).await
    }

    /// The last lines of the same, of however much.
    pub(super) async fn log_end(&self, project: &str, job: &str, activity: Option<&str>) -> Result<String, Fault> {
        let read = |body: Vec<u8>| Ok(self.mask.text(&String::from_utf8_lossy(&body)));
        self.again_for(END, false, &log_path(project, job, activity), read).await
    }

    /// The same as DSS sends it, with secrets.
    pub(super) async fn raw_log(&self, project: &str, job: &str, activity: Option<&str>) -> Result<Vec<u8>, Fault> {
        self.again(false, &log_path(project, job, activity), Ok).await
    }

    /// Asks for a job once. Whether a lost answer means that there is one is for the caller to find out.
    pub(super) async fn start(&self, project: &str, job: &StartJob) -> Result<String, Fault> {
        let body = serde_json::to_string(job).map_err(|error| Fault::odd(error.to_string()))?;
        let path = format!("/projects/{}/jobs/", segment(project));
        let answer = self.once(LIMIT, true, &path, Some(body)).await?;
        self.peer.silence().answered();
        // An answer that means success and names no job is as good as lost.
        let lost = |message: &str| Fault { kind: Kind::Cut, ..Fault::odd(message) };
        let value: Value = serde_json::from_slice(&answer).map_err(|_| lost("it is no JSON"))?;
        let id = value.get("id").or_else(|| value.get("jobId")).and_then(Value::as_str);
        id.filter(|id| !id.is_empty()).map(str::to_owned).ok_or_else(|| lost("it names no job"))
    }

    /// Asks a job to end. Asking again has no further effect: what went wrong inside DSS may go well then.
    pub(super) async fn abort(&self, project: &str, job: &str) -> Result<(), Fault> {
        let path = job_path(project, job, "abort");
        let mut tries = 1;
        loop {
            match self.again(true, &path, |_| Ok(())).await {
                Err(fault) if fault.is_inside() && tries < HICCUPS => sleep(FIRST_WAIT).await,
                result => return result,
            }
            tries += 1;
        }
    }

    /// Who we are.
    pub(super) async fn auth_info(&self) -> Result<AuthInfo, Fault> {
        self.get("/auth/info").await
    }

    /// The jobs of all projects that go on.
    pub(super) async fn running_everywhere(&self) -> Result<Vec<JobItem>, Fault> {
        self.list("/jobs/running/?allUsers=true").await.map(one_each)
    }

    /// The flow of a project.
    pub(super) async fn graph(&self, project: &str) -> Result<FlowGraph, Fault> {
        let graph: Value = self.get(&format!("/projects/{}/flow/graph/", segment(project))).await?;
        if !graph.get("nodes").is_some_and(Value::is_object) {
            return Err(Fault::odd("the flow has no `nodes`"));
        }
        serde_json::from_value(graph).map_err(|error| Fault::odd(error.to_string()))
    }

    /// Things of a project: `datasets`, `managedfolders`, `savedmodels`, `recipes`.
    pub(super) async fn things(&self, project: &str, what: &str) -> Result<Vec<Thing>, Fault> {
        self.list(&format!("/projects/{}/{what}/", segment(project))).await
    }

    async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Fault> {
        let Value::Array(items) = self.get(path).await? else {
            return Err(Fault::odd("a list was expected"));
        };
        Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.again(false, path, |body| self.json(&body)).await
    }

    /// Makes a call that may be made twice, until it goes well, cannot go well, or took too long.
    async fn again<T>(&self, post: bool, path: &str, read: impl Fn(Vec<u8>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.again_for(LIMIT, post, path, read).await
    }

    /// The same for so much of its answer.
    async fn again_for<T>(
        &self,
        much: Much,
        post: bool,
        path: &str,
        read: impl Fn(Vec<u8>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let began = Instant::now();
        let mut wait = FIRST_WAIT;
        // What ends a job does not wait.
        if !post {
            let until = self.peer.quiet_until();
            let rest = until.saturating_duration_since(Instant::now());
            if !rest.is_zero() && rest > self.patience {
                return Err(Fault::quiet(rest));
            }
            sleep_until(until).await;
        }
        loop {
            let fault = match self.once(much, post, path, None).await.map(&read) {
                Ok(Ok(answer)) => {
                    self.peer.silence().answered();
                    return Ok(answer);
                }
                // An answer that cannot be read is none.
                Ok(Err(fault)) => self.failed(path, fault),
                Err(fault) => fault,
            };
            let next = fault.retry_after.unwrap_or_else(|| jittered(wait));
            // Another call may have been told meanwhile that the server wants to be left alone.
            let quiet = self.peer.quiet_until().saturating_duration_since(Instant::now());
            let next = if post { next } else { next.max(quiet) };
            if !fault.passing() || began.elapsed() + next > self.peer.patience(&fault, self.patience) {
                return Err(fault);
            }
            tracing::debug!(%fault, path, "asking again");
            sleep(next).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// What an answer holds; one that is none is quoted.
    fn json<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Fault> {
        let read = serde_json::from_slice(body).inspect(|_| self.peer.met.store(true, Ordering::Relaxed));
        read.map_err(|error| {
            if error.is_eof() {
                return Fault { kind: Kind::Cut, ..Fault::odd("it breaks off") };
            }
            // A secret that is cut off is not known as one.
            let text = self.mask.text(&String::from_utf8_lossy(&body[..body.len().min(4_096)]));
            Fault::odd(format!("it is not the expected JSON: {}", crate::base::text::one_line(&text, 60)))
        })
    }

    async fn once(&self, much: Much, post: bool, path: &str, body: Option<String>) -> Result<Vec<u8>, Fault> {
        let request = Request { post, path: path.to_owned(), body, timeout: self.timeout, much };
        self.peer.silence().asked(Instant::now());
        let answer = match self.transport.send(request).await {
            Ok(response) => judge(response),
            Err(error) => Err(error.into()),
        };
        answer.map_err(|fault| self.failed(path, fault))
    }

    /// What a call came to that went wrong, with what is known of the way to the server, which may be silent.
    fn failed(&self, path: &str, fault: Fault) -> Fault {
        let fault = self.peer.known(path, Fault { message: self.mask.text(&fault.message), ..fault });
        if fault.passing() {
            self.peer.silence().failed(&fault);
        } else {
            self.peer.silence().answered();
        }
        fault.retry_after.into_iter().for_each(|wait| self.peer.wants_quiet(wait));
        fault
    }
}

/// Waits between tries that grow.
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST_WAIT)
    }

    /// When the next try may be made; later each time.
    pub(super) fn next(&mut self, wanted: Option<Duration>) -> Instant {
        let wait = wanted.unwrap_or_else(|| jittered(self.0));
        self.0 = (self.0 * 2).min(LONGEST_WAIT);
        Instant::now() + wait
    }

    /// Waits for that.
    pub(super) async fn wait(&mut self, wanted: Option<Duration>) {
        sleep_until(self.next(wanted)).await;
    }
}

/// Between a half and the whole of it, so that many who wait do not all come back at once.
fn jittered(wait: Duration) -> Duration {
    let share = (chance() % 1_000) as u32;
    wait / 2 + wait * share / 2_000
}

#[cfg(not(test))]
fn chance() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
thread_local!(static CHANCE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });

/// In tests the same waits follow one another each time.
#[cfg(test)]
fn chance() -> u64 {
    CHANCE.replace(CHANCE.get().wrapping_add(619))
}

/// What comes by chance on this thread begins anew: a seed makes the same of it, whatever came before.
#[cfg(test)]
pub(super) fn begin_anew() {
    CHANCE.set(0);
}

/// The parts of a path below `/projects/`.
fn parts(path: &str) -> Vec<&str> {
    let below = path.strip_prefix("/projects/").unwrap_or_default();
    below.split(['/', '?']).filter(|part| !part.is_empty()).collect()
}

/// Where something was asked, for people.
fn place(url: &str, path: &str) -> String {
    parts(path).first().map_or_else(|| url.to_owned(), |project| format!("{url} for project {project}"))
}

/// Whether a path is that of one job.
fn is_of_job(path: &str) -> bool {
    matches!(parts(path).as_slice(), [_, "jobs", job, ..] if *job != "running" && !job.starts_with("limit="))
}

/// The path of a job. It ends in `/`: some proxies misread addresses that end like a file's, as ids of jobs do.
fn job_path(project: &str, job: &str, what: &str) -> String {
    format!("/projects/{}/jobs/{}/{what}", segment(project), segment(job))
}

fn log_path(project: &str, job: &str, activity: Option<&str>) -> String {
    let query = activity.map(|activity| format!("?activity={}", segment(activity))).unwrap_or_default();
    job_path(project, job, &format!("log{query}"))
}

/// A text as a segment of a path, or as a value of a query.
pub(super) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    out
}
