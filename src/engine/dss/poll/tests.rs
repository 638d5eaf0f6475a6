//! How late the poller sees an end and what it asks for that, on virtual time against a server made of numbers.

use std::sync::Mutex;

use super::*;
use crate::engine::dss::client::{Request, Response, SendError, Transport};
use crate::engine::dss::mask::Mask;

/// How long the server takes for an answer.
const LATENCY: Duration = Duration::from_millis(50);

/// A server whose jobs end at times that are known.
struct Made {
    began: Instant,
    /// When each job ends.
    ends: Vec<Duration>,
    /// Whether it has the list of running jobs.
    has_running: bool,
    /// What was asked, and when.
    asked: Mutex<Vec<(Duration, String)>>,
}

impl Made {
    fn state(&self, job: usize) -> &'static str {
        if self.began.elapsed() >= self.ends[job] { "DONE" } else { "RUNNING" }
    }

    fn answer(&self, path: &str) -> (u16, String) {
        let line = |job: usize| format!(r#"{{"def":{{"id":"j{job}"}},"state":"{}"}}"#, self.state(job));
        let all = |keep: &dyn Fn(&usize) -> bool| {
            let lines: Vec<_> = (0..self.ends.len()).filter(keep).map(line).collect();
            (200, format!("[{}]", lines.join(",")))
        };
        let path = path.trim_start_matches("/projects/P/jobs/").trim_end_matches('/');
        match path.split('?').next().unwrap() {
            "" => all(&|_| true),
            "running" if self.has_running => all(&|job| self.state(*job) == "RUNNING"),
            job => match job.strip_prefix('j').and_then(|job| job.parse().ok()) {
                Some(job) => (200, format!(r#"{{"baseStatus":{{"state":"{}"}}}}"#, self.state(job))),
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
            let (status, body) = self.answer(&request.path);
            Ok(Response { status, body: body.into_bytes(), ..Response::default() })
        }
        .boxed()
    }
}

/// What following so many jobs came to: how late the latest end was seen, how many calls that look there were in the
/// second that had most of them, and how many calls there were for ends.
async fn followed(ends: Vec<Duration>, has_running: bool) -> (Duration, usize, usize) {
    let made = Made { began: Instant::now(), ends: ends.clone(), has_running, asked: Mutex::default() };
    let made = Arc::new(made);
    let (timeout, patience) = (Duration::from_secs(60), Duration::from_secs(900));
    let transport: Arc<dyn Transport> = Arc::clone(&made) as Arc<dyn Transport>;
    let calls = Calls { transport, mask: Mask::default(), timeout, patience };
    let (asks, asked) = mpsc::unbounded_channel();
    let poller = Poller::new(calls, asked, Duration::from_millis(500), patience).run();
    let wait = async {
        let mut waiting = FuturesUnordered::new();
        for (job, end) in ends.into_iter().enumerate() {
            let (reply, answer) = oneshot::channel();
            let (project, job) = ("P".to_owned(), format!("j{job}"));
            asks.send(Ask::Follow { project, job, live: None, reply }).ok().unwrap();
            let began = made.began;
            waiting.push(async move {
                assert!(matches!(answer.await.unwrap(), Followed::Over(_)));
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
        latest = wait => latest,
        () = poller => unreachable!("it goes on while someone may ask"),
    };
    let asked = made.asked.lock().unwrap();
    let is_status = |path: &str| path.starts_with("/projects/P/jobs/j");
    let mut looks: Vec<Duration> = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, path) in asked.iter().rev() {
        // The last question about a job is the one for its end.
        if !(is_status(path) && seen.insert(path)) {
            looks.push(*at);
        }
    }
    let second = Duration::from_secs(1);
    let most =
        looks.iter().map(|at| looks.iter().filter(|other| **other >= *at && **other < *at + second).count()).max();
    (latest, most.unwrap_or(0), asked.len() - looks.len())
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
            for over in if jobs > 8 { &[1, 60][..] } else { &[1, 10, 3_600] } {
                let case = format!("{jobs} jobs over {over}s, list of running jobs {has_running}");
                let (latest, most, ends) = followed(spread(jobs, Duration::from_secs(*over)), has_running).await;
                assert!(latest <= Duration::from_millis(within), "{case}: {latest:?} late");
                assert!(most <= 5, "{case}: {most} calls in one second");
                assert_eq!(ends, jobs, "{case}: one call for each end");
            }
        }
    }
}
