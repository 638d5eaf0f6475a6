//! How late the poller sees an end and what it asks for that, on virtual time against a server made of numbers.

use std::sync::Mutex;

use serde_json::Value;

use tokio::sync::watch;

use super::*;
use crate::engine::dss::calls::Peer;
use crate::engine::dss::client::{Request, Response, SendError, Transport};
use crate::engine::dss::mask::Mask;
use crate::engine::dss::whole::Progress;

/// How long the server takes for an answer.
const LATENCY: Duration = Duration::from_millis(50);

/// A server whose jobs end at times that are known.
struct Made {
    began: Instant,
    /// When each job ends.
    ends: Vec<Duration>,
    /// Whether it has the list of running jobs.
    has_running: bool,
    /// In how many projects the jobs are, one after the other.
    projects: usize,
    /// Of a hundred fields, how many are missing; and which ones always are in lists.
    missing: (usize, &'static [&'static str]),
    /// How many of the jobs are in no list.
    unlisted: usize,
    /// Whether the status of a job never tells anything; and what is always answered in its place.
    mute: bool,
    unread: Option<(u16, &'static str)>,
    /// What is always answered in place of the list of running jobs.
    no_list: Option<(u16, &'static str)>,
    random: Mutex<Random>,
    /// Answers to the first calls.
    first: Mutex<Vec<Response>>,
    /// What was asked, and when.
    asked: Arc<Mutex<Vec<(Duration, String)>>>,
}

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

impl Made {
    fn new(ends: Vec<Duration>, has_running: bool) -> Self {
        let (random, missing) = (Mutex::new(Random(7)), (0, &[][..]));
        let (first, asked) = (Mutex::default(), Arc::default());
        Self {
            began: Instant::now(),
            ends,
            has_running,
            projects: 1,
            missing,
            unlisted: 0,
            mute: false,
            unread: None,
            no_list: None,
            random,
            first,
            asked,
        }
    }

    fn project(&self, job: usize) -> String {
        format!("P{}", job % self.projects)
    }

    fn state(&self, job: usize) -> &'static str {
        if self.began.elapsed() >= self.ends[job] { "DONE" } else { "RUNNING" }
    }

    /// What is left of an answer.
    fn spoiled(&self, value: Value, always: &[&str]) -> Value {
        let mut left = |(key, value): (String, Value)| {
            let lost = self.random.lock().unwrap().below(100) < self.missing.0 || always.contains(&key.as_str());
            (!lost).then(|| (key, self.spoiled(value, always)))
        };
        match value {
            Value::Object(fields) => Value::Object(fields.into_iter().filter_map(&mut left).collect()),
            Value::Array(items) => items.into_iter().map(|item| self.spoiled(item, always)).collect(),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
        }
    }

    fn line(&self, job: usize) -> String {
        let state = self.state(job);
        let line = format!(r#"{{"def":{{"id":"j{job}"}},"state":"{state}","stableState":{}}}"#, state == "DONE");
        self.left(line, self.missing.1)
    }

    /// The text of an answer, less what is missing.
    fn left(&self, text: String, always: &[&str]) -> String {
        match self.missing {
            (0, []) => text,
            _ => self.spoiled(serde_json::from_str(&text).unwrap(), always).to_string(),
        }
    }

    fn answer(&self, path: &str) -> (u16, String) {
        let (project, path) = path.trim_start_matches("/projects/").split_once("/jobs/").unwrap();
        // The newest first.
        let all = |limit: usize, keep: &dyn Fn(&usize) -> bool| {
            let here = (self.unlisted..self.ends.len()).rev().filter(|job| self.project(*job) == project);
            let lines = here.filter(keep).take(limit).map(|job| self.line(job));
            (200, format!("[{}]", lines.collect::<Vec<_>>().join(",")))
        };
        let (path, limit) = path.split_once("?limit=").unwrap_or((path, "1000000"));
        match path.trim_end_matches('/') {
            "" => all(limit.parse().unwrap(), &|_| true),
            "running" if self.no_list.is_some() => {
                self.no_list.map(|(status, body)| (status, body.to_owned())).unwrap_or_default()
            }
            "running" if self.has_running => all(usize::MAX, &|job| self.state(*job) == "RUNNING"),
            job => match job.strip_prefix('j').and_then(|job| job.parse().ok()) {
                Some(_) if self.unread.is_some() => {
                    self.unread.map(|(status, body)| (status, body.to_owned())).unwrap_or_default()
                }
                Some(_) if self.mute => (200, "{}".to_owned()),
                Some(job) => {
                    let text = format!(r#"{{"baseStatus":{{"state":"{}"}}}}"#, self.state(job));
                    (200, self.left(text, &[]))
                }
                None => (500, r#"{"message":"no such job"}"#.to_owned()),
            },
        }
    }
}

impl Transport for Made {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, SendError>> {
        async move {
            self.asked.lock().unwrap().push((self.began.elapsed(), request.path.clone()));
            tokio::time::sleep(LATENCY).await;
            if let Some(first) = self.first.lock().unwrap().pop() {
                return Ok(first);
            }
            let (status, body) = self.answer(&request.path);
            Ok(Response { status, body: body.into_bytes(), ..Response::default() })
        }
        .boxed()
    }
}

fn is_done(followed: &Followed) -> bool {
    matches!(followed, Followed::Over(status) | Followed::Listed(status, _) if status.state() == "DONE")
}

/// What following came to.
struct Course {
    /// How late the latest end was seen.
    latest: Duration,
    /// How many calls that look there were in the second that had most of them.
    most: usize,
    /// How many calls there were for what was known to have ended, and all of them.
    ends: usize,
    asked: Vec<(Duration, String)>,
}

async fn followed(made: Made) -> Course {
    let (ends, began) = (made.ends.clone(), made.began);
    let made = Arc::new(made);
    let (timeout, patience) = (Duration::from_secs(60), Duration::from_secs(900));
    let transport: Arc<dyn Transport> = Arc::clone(&made) as Arc<dyn Transport>;
    let calls = Calls { transport, mask: Mask::default(), timeout, patience, peer: Peer::default() };
    let (asks, asked) = mpsc::unbounded_channel();
    let poller = Poller::new(calls, asked, Duration::from_millis(500), patience).run();
    let wait = async {
        let mut waiting = FuturesUnordered::new();
        for (job, end) in ends.into_iter().enumerate() {
            let (reply, answer) = oneshot::channel();
            let (project, job) = (made.project(job), format!("j{job}"));
            asks.send(Ask::Follow { project, job, live: None, reply }).ok().unwrap();
            waiting.push(async move {
                let followed = answer.await.unwrap();
                assert!(is_done(&followed), "{followed:?}");
                began.elapsed().checked_sub(end).expect("no end is seen before it comes")
            });
        }
        let mut latest = Duration::ZERO;
        while let Some(late) = waiting.next().await {
            latest = latest.max(late);
        }
        latest
    };
    let latest = tokio::select! {
        biased;
        latest = wait => latest,
        () = poller => unreachable!("it goes on while someone may ask"),
    };
    let asked = made.asked.lock().unwrap().clone();
    let end = |(at, path): &&(Duration, String)| {
        let job = path.split_once("/jobs/j").and_then(|(_, job)| job.trim_end_matches('/').parse().ok());
        job.is_some_and(|job: usize| *at + LATENCY >= made.ends[job])
    };
    let looks: Vec<Duration> = asked.iter().filter(|asked| !end(asked)).map(|(at, _)| *at).collect();
    let since = |at: Duration| looks.partition_point(|other| *other < at);
    let most = looks.iter().map(|at| since(*at + Duration::from_secs(1)) - since(*at)).max().unwrap_or(0);
    Course { latest, most, ends: asked.len() - looks.len(), asked }
}

/// Ends that are spread over some time, from a tenth of a second on.
fn spread(jobs: usize, over: Duration) -> Vec<Duration> {
    let share = |job: usize| over * u32::try_from(job * 61 % jobs + 1).unwrap() / u32::try_from(jobs).unwrap();
    (0..jobs).map(|job| Duration::from_millis(100) + share(job)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_job_is_seen_soon_with_few_calls() {
    for has_running in [true, false] {
        for (jobs, within) in [(1, 1_000), (2, 1_000), (8, 1_000), (64, 3_000), (500, 3_000)] {
            for over in if jobs > 8 { &[1, 20][..] } else { &[1, 10, 3_600] } {
                let case = format!("{jobs} jobs over {over}s, list of running jobs {has_running}");
                let Course { latest, most, ends, .. } =
                    followed(Made::new(spread(jobs, Duration::from_secs(*over)), has_running)).await;
                assert!(latest <= Duration::from_millis(within), "{case}: {latest:?} late");
                assert!(most <= 5, "{case}: {most} calls in one second");
                assert_eq!(ends, jobs, "{case}: one call for each end");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_projects_share_the_calls_of_one_second() {
    for has_running in [true, false] {
        // A list for each project, one after the other: as much later as that takes.
        for (projects, within) in [(3, 3_000), (12, 10_000), (40, 30_000)] {
            let case = format!("{projects} projects, list of running jobs {has_running}");
            let mut made = Made::new(spread(projects * 5, Duration::from_secs(20)), has_running);
            made.projects = projects;
            let Course { latest, most, ends, .. } = followed(made).await;
            assert!(most <= 5, "{case}: {most} calls in one second");
            assert!(latest <= Duration::from_millis(within), "{case}: {latest:?} late");
            assert_eq!(ends, projects * 5, "{case}: one call for each end");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_is_seen_soon_whatever_is_missing_from_answers() {
    const NOTHING: &[&str] = &[];
    for has_running in [true, false] {
        for (jobs, (missing, always), within) in [
            (8, (20, NOTHING), 2_000),
            (200, (20, NOTHING), 2_600),
            (500, (20, NOTHING), 2_600),
            (8, (0, &["id"][..]), 2_600),
            (8, (0, &["state"][..]), 4_000),
            (8, (0, &["state", "stableState"][..]), 4_000),
            (64, (0, &["id"][..]), 17_000),
        ] {
            for over in [1, 20] {
                let case = format!("{jobs} jobs over {over}s, {missing} of 100 missing and {always:?}, {has_running}");
                let mut made = Made::new(spread(jobs, Duration::from_secs(over)), has_running);
                made.missing = (missing, always);
                let Course { latest, most, ends, .. } = followed(made).await;
                assert!(latest <= Duration::from_millis(within), "{case}: {latest:?} late");
                assert!(most <= 5, "{case}: {most} calls in one second");
                assert!(ends < 3 * jobs, "{case}: {ends} calls for ends");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_job_that_is_in_no_list_is_seen_soon_too() {
    for has_running in [true, false] {
        for (jobs, unlisted, within) in
            [(1, 1, 1_000), (2, 2, 1_000), (8, 1, 1_000), (8, 2, 1_000), (64, 4, 3_000), (500, 4, 3_000)]
        {
            for over in if jobs > 8 { &[5, 20][..] } else { &[5, 20, 3_600] } {
                let over = *over;
                let case = format!("{unlisted} of {jobs} jobs over {over}s in no list, {has_running}");
                let mut made = Made::new(spread(jobs, Duration::from_secs(over)), has_running);
                made.unlisted = unlisted;
                let Course { latest, most, .. } = followed(made).await;
                assert!(latest <= Duration::from_millis(within), "{case}: {latest:?} late");
                assert!(most <= 5, "{case}: {most} calls in one second");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_to_be_left_alone_is() {
    let answer = |status: u16| Response { status, retry_after: Some("7".to_owned()), ..Response::default() };
    for status in [429, 503] {
        let made = Made::new(vec![Duration::from_secs(1)], true);
        made.first.lock().unwrap().push(answer(status));
        let Course { asked, .. } = followed(made).await;
        assert!(asked[1].0 >= asked[0].0 + Duration::from_secs(7), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_in_place_of_answers_pass_by() {
    let page = || Response { status: 200, body: b"<html>Starting</html>".to_vec(), ..Response::default() };
    let made = Made::new(vec![Duration::from_secs(1)], true);
    *made.first.lock().unwrap() = (0..20).map(|_| page()).collect();
    assert!(followed(made).await.asked.len() > 20);
}

/// What becomes of the one job of a server, and when that is known.
async fn fate(made: Made, live: Option<watch::Sender<Progress>>) -> (Followed, Duration) {
    let (began, transport): (Instant, Arc<dyn Transport>) = (made.began, Arc::new(made));
    let timeout = Duration::from_secs(60);
    let calls = Calls { transport, mask: Mask::default(), timeout, patience: LOST_AFTER, peer: Peer::default() };
    let (asks, asked) = mpsc::unbounded_channel();
    let poller = Poller::new(calls, asked, Duration::from_millis(500), LOST_AFTER).run();
    let (reply, answer) = oneshot::channel();
    asks.send(Ask::Follow { project: "P0".to_owned(), job: "j0".to_owned(), live, reply }).ok().unwrap();
    tokio::select! {
        biased;
        followed = answer => (followed.unwrap(), began.elapsed()),
        () = poller => unreachable!("it goes on while someone may ask"),
        () = tokio::time::sleep(10 * LOST_AFTER) => panic!("it is waited for without an end"),
    }
}

const LOST_AFTER: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_job_whose_status_never_tells_anything_comes_to_an_end() {
    for (has_running, is_live) in [(true, false), (false, false), (true, true), (false, true)] {
        let case = format!("list of running jobs {has_running}, live {is_live}");
        let live = || is_live.then(|| watch::channel(Progress::default()).0);
        // It goes on for longer than a server is waited for that says nothing.
        let end = 3 * LOST_AFTER;
        let mut made = Made::new(vec![end], has_running);
        made.mute = true;
        let (followed, at) = fate(made, live()).await;
        assert!(is_done(&followed), "{case}: {followed:?}");
        assert!(at >= end && at < end + Duration::from_secs(10), "{case}: {at:?}");
        // Lists do not tell it either.
        let mut made = Made::new(vec![Duration::ZERO], has_running);
        (made.mute, made.missing) = (true, (0, &["state", "stableState"][..]));
        let (followed, at) = fate(made, live()).await;
        assert!(matches!(followed, Followed::Lost(_)), "{case}: {followed:?}");
        assert!(at >= LOST_AFTER && at < LOST_AFTER + Duration::from_secs(5), "{case}: {at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_status_can_never_be_read_comes_to_an_end() {
    for unread in [(200, "<html>Log in</html>"), (500, ""), (500, "{\"message\":\"no\"}"), (200, "garbage"), (403, "")]
    {
        for (has_running, is_live) in [(true, false), (false, false), (true, true), (false, true)] {
            let case = format!("{unread:?}, list of running jobs {has_running}, live {is_live}");
            let live = || is_live.then(|| watch::channel(Progress::default()).0);
            // Lists tell its end, and that counts.
            let end = 3 * LOST_AFTER;
            let mut made = Made::new(vec![end], has_running);
            made.unread = Some(unread);
            let (followed, at) = fate(made, live()).await;
            assert!(is_done(&followed), "{case}: {followed:?}");
            assert!(at >= end && at < end + Duration::from_secs(30), "{case}: {at:?}");
            // Lists tell that it has ended, and not how.
            let mut made = Made::new(vec![Duration::ZERO], has_running);
            (made.unread, made.missing) = (Some(unread), (0, &["state"][..]));
            let (followed, at) = fate(made, live()).await;
            assert!(matches!(followed, Followed::Lost(_)), "{case}: {followed:?}");
            assert!(at < LOST_AFTER + Duration::from_secs(10), "{case}: {at:?}");
        }
    }
}

/// Answers that are none, each of another kind.
const BROKEN: [(u16, &str); 6] = [
    (200, "<html>Log in</html>"),
    (503, "<html>Gateway</html>"),
    (200, "[{\"def\":{\"id\":\"j"),
    (500, ""),
    (500, "{\"message\":\"no\"}"),
    (429, ""),
];

#[tokio::test(start_paused = true)]
async fn a_list_of_running_jobs_that_is_broken_keeps_nobody_waiting() {
    for answer in BROKEN {
        for jobs in [1, 8, 40] {
            let mut made = Made::new(spread(jobs, Duration::from_secs(20)), true);
            made.no_list = Some(answer);
            let Course { latest, most, asked, .. } = followed(made).await;
            let case = format!("{answer:?}, {jobs} jobs");
            assert!(latest <= Duration::from_secs(3), "{case}: {latest:?} late");
            assert!(most <= 5, "{case}: {most} calls in one second");
            // It is asked for no more.
            let tries = asked.iter().filter(|(_, path)| path.ends_with("/running/")).count();
            assert!(tries <= 3, "{case}: {tries} times");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_that_lists_tell_is_taken_soon_where_no_status_can_be_read() {
    for answer in BROKEN {
        for (jobs, has_running) in [(1, true), (1, false), (40, true), (40, false)] {
            let mut made = Made::new(spread(jobs, Duration::from_secs(20)), has_running);
            made.unread = Some(answer);
            let Course { latest, ends, .. } = followed(made).await;
            let case = format!("{answer:?}, {jobs} jobs, list of running jobs {has_running}");
            assert!(latest <= Duration::from_secs(10), "{case}: {latest:?} late");
            assert!(ends <= 9 + 3 * jobs, "{case}: {ends} calls for ends");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_of_a_job_that_cannot_be_read_is_asked_for_less_and_less() {
    for (answer, is_live) in BROKEN.into_iter().flat_map(|answer| [(answer, true), (answer, false)]) {
        let mut made = Made::new(vec![Duration::ZERO], true);
        // Lists tell that it has ended, and not how.
        (made.unread, made.missing) = (Some(answer), (0, &["state"][..]));
        let asked = Arc::new(Mutex::new(Vec::new()));
        made.asked = Arc::clone(&asked);
        let live = is_live.then(|| watch::channel(Progress::default()).0);
        let (followed, at) = fate(made, live).await;
        assert!(matches!(followed, Followed::Lost(_)), "{answer:?}: {followed:?}");
        assert!(at < LOST_AFTER + Duration::from_secs(20), "{answer:?}: {at:?}");
        let calls = asked.lock().unwrap().iter().filter(|(_, path)| path.contains("/jobs/j0")).count();
        assert!(calls <= 15, "{answer:?}: {calls} calls");
    }
}
