//! Whole runs against a server made of numbers, on virtual time, under many seeds: lost answers, restarts, kills and stops.
//! Each step has one job, and all come to a good end.

mod lost;
mod many;
mod server;
mod told;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::weather::server::{Asked, QUIET, Random, Server, State, Weather};
use super::*;
use crate::base::file::Memory;
use crate::base::job::JobId;
use crate::clock;
use crate::engine::api::{Attempt, Ended, Notice, Noticed, Stop, Updates};
use crate::engine::limit::OpenFiles;
use crate::event::{Failure, FailureCode, Intent};
use crate::pipeline::{check, read};

/// How a run of the storm is made.
struct Case {
    steps: usize,
    parallel: u32,
    whole: bool,
    settings: &'static str,
}

impl Case {
    fn pipeline(&self) -> Arc<Pipeline> {
        let jobs = if self.whole { "jobs = \"run\"\n" } else { "" };
        let mut text = format!(
            "[pipeline]\nformat = 1\nname = \"p\"\nproject = \"P\"\n[engine.prod]\nkind = \"dss\"\nurl = \"http://dss.invalid\"\n\
             api_key = {{ env = \"KEY\" }}\nmax_parallel = {}\n{jobs}{}\n",
            self.parallel, self.settings
        );
        for i in 0..self.steps {
            writeln!(text, "[dataset.s{i}]\ninputs = []").unwrap();
        }
        let (raw, problems) = read::read(&text);
        assert!(problems.is_empty(), "{problems:?}");
        let options = check::Options { own: &[], vars: &[], project: None };
        let (pipeline, problems) = check::check(raw.unwrap(), &text, &options);
        assert!(problems.is_empty(), "{problems:?}");
        Arc::new(pipeline)
    }

    fn engine(&self, server: &Arc<Server>, state: &Path) -> DssEngine {
        let engine = DssEngine::open(&Opening {
            name: "prod".to_owned(),
            terms: Terms::default(),
            pipeline: self.pipeline(),
            root: "/r".into(),
            state: state.to_owned(),
            own: Vec::new(),
            environment: [("KEY".to_owned(), "key".into())].into(),
            digests: Box::new(Memory::default()),
            grace: Duration::from_secs(10),
            open_files: OpenFiles::default(),
        });
        let engine = engine.ok().unwrap();
        let settings = &engine.dss.settings;
        let calls = Calls {
            transport: Arc::clone(server) as Arc<dyn client::Transport>,
            mask: Mask::default(),
            timeout: settings.request_timeout,
            patience: settings.lost_after,
            peer: Peer::default(),
        };
        assert!(engine.dss.calls.set(Ok(calls)).is_ok());
        engine
    }
}

/// What the history knows of jobs, as the store keeps it.
#[derive(Default)]
struct Book {
    left: BTreeMap<String, LeftBehind>,
    /// All jobs that runs came to.
    accepted: Vec<String>,
    /// What people were told, and whether it was about all that runs.
    told: Vec<(bool, String)>,
}

impl Book {
    fn note(&mut self, run: &JobId, step: &str, notice: Notice) {
        let empty = Intent::default();
        let new = |intent, job| LeftBehind { step: step.to_owned(), run: run.clone(), intent, job, at: clock::now() };
        match notice {
            Notice::Told { of_all, text } => self.told.push((of_all, text)),
            Notice::Submitting(intent) => drop(self.left.insert(step.to_owned(), new(intent, None))),
            Notice::Accepted(job) => {
                self.accepted.push(job.id.clone());
                let left = self.left.entry(step.to_owned()).or_insert_with(|| new(empty, None));
                (left.run, left.job) = (run.clone(), Some(job));
            }
        }
    }

    fn ended(&mut self, run: &JobId, step: &str, ended: &Ended) {
        let (Ended::Failed(failure) | Ended::Stopped(failure)) = ended else { return };
        let may_go_on =
            [FailureCode::Died, FailureCode::Lost, FailureCode::Unreachable, FailureCode::SubmissionUnknown];
        if !may_go_on.contains(&failure.code) {
            self.forget(run, step);
        }
    }

    fn forget(&mut self, run: &JobId, step: &str) {
        if self.left.get(step).is_some_and(|left| left.run == *run) {
            self.left.remove(step);
        }
    }
}

/// How steps ended, by their names. A run that was killed has told of some only.
type Ends = BTreeMap<String, Ended>;

/// A run of these steps, which is killed or stopped at that time.
struct Run<'a> {
    case: &'a Case,
    server: &'a Arc<Server>,
    state: &'a Path,
    number: usize,
    kill: Option<Duration>,
    stop: Option<Duration>,
}

impl Run<'_> {
    /// Runs; whether it came to its own end.
    async fn run(&self, book: &RefCell<Book>, steps: &BTreeSet<usize>, ends: &RefCell<Ends>) -> bool {
        let engine = self.case.engine(self.server, self.state);
        engine.resume(book.borrow().left.values().cloned().collect());
        engine.look_back(Vec::new(), book.borrow().accepted.clone());
        let job = JobId::from_text(&format!("run_{}", self.number));
        let ids: Vec<RecipeId> = engine.dss.pipeline.recipes.iter().map(|(id, _)| id).collect();
        let works: Vec<_> = steps.iter().map(|i| (*i, engine.prepare(ids[*i]).ok().unwrap())).collect();
        let (notices_to, mut notices) = mpsc::unbounded_channel::<Noticed>();
        // One for each step: who of many hears of it first is a matter of chance.
        let stops: Vec<watch::Sender<Stop>> = works.iter().map(|_| watch::Sender::new(Stop::Go)).collect();
        let slots = Semaphore::new(engine.max_parallel().unwrap() as usize);
        let mut all: FuturesUnordered<_> = works
            .into_iter()
            .zip(stops.iter().map(watch::Sender::subscribe))
            .map(|((i, work), stop)| {
                let (trouble, _) = mpsc::unbounded_channel();
                let updates = Updates::new(i, None, trouble).with_notices(notices_to.clone());
                let (slots, job) = (&slots, &job);
                async move {
                    let _slot = slots.acquire().await.unwrap();
                    (format!("s{i}"), step(&*work, i, job, &updates, &stop).await)
                }
            })
            .collect();
        let at = |time: Option<Duration>| {
            time.map_or(self.server.began + Duration::from_secs(1 << 24), |time| self.server.began + time)
        };
        let kept = async {
            while let Some((step, notice, kept)) = notices.recv().await {
                // It is on disk a little later.
                tokio::time::sleep(Duration::from_millis(3)).await;
                book.borrow_mut().note(&job, &format!("s{step}"), notice);
                // Who only tells something does not wait.
                let _unheard = kept.send(());
            }
        };
        let background = engine.background().unwrap();
        let stopping = async {
            tokio::time::sleep_until(at(self.stop)).await;
            stops.iter().for_each(|stop| stop.send_modify(|stop| *stop = Stop::Ask));
            std::future::pending::<()>().await;
        };
        let work = async {
            while let Some((step, ended)) = all.next().await {
                book.borrow_mut().ended(&job, &step, &ended);
                ends.borrow_mut().insert(step, ended);
            }
            engine.end().await;
            for (step, _) in ends.borrow().iter().filter(|(_, ended)| good(ended)) {
                book.borrow_mut().forget(&job, step);
            }
        };
        tokio::select! {
            biased;
            () = work => true,
            () = tokio::time::sleep_until(at(self.kill)) => false,
            () = kept => unreachable!("someone may always tell"),
            () = background => unreachable!("someone may always ask"),
            () = stopping => unreachable!("it goes on"),
        }
    }
}

/// All attempts at a step.
async fn step(work: &dyn Work, i: usize, job: &JobId, updates: &Updates, stop: &watch::Receiver<Stop>) -> Ended {
    for number in 1.. {
        let (inputs, files) = (Vec::new(), Vec::new());
        let attempt = Attempt { job: job.clone(), number, log: format!("{i}.log"), inputs, files, stood: Vec::new() };
        let ended = work.run(attempt, updates.clone(), stop.clone()).await.ended;
        let again = |failure: &Failure| {
            [FailureCode::Lost, FailureCode::Unreachable, FailureCode::Remote].contains(&failure.code)
        };
        if number == 3 || !matches!(&ended, Ended::Failed(failure) if again(failure)) {
            return ended;
        }
    }
    unreachable!("the third attempt is the last")
}

fn good(ended: &Ended) -> bool {
    matches!(ended, Ended::Built(_) | Ended::Current(_))
}

fn weather(random: &mut Random) -> Weather {
    let mut time = 0;
    let away = (0..random.below(4)).map(|_| {
        let from = time + 1_000 + random.below(200_000);
        time = from + random.below(90_000);
        (Duration::from_millis(from), Duration::from_millis(time))
    });
    let away = away.collect();
    Weather {
        has_running: random.percent(60),
        bare: random.percent(20),
        shuffled: random.percent(30),
        repeats: random.percent(30),
        missing: [0, 0, 3, 10][random.below(4) as usize],
        broken: [0, 5, 20][random.below(3) as usize],
        slow: [0, 3][random.below(2) as usize],
        length: [2_000, 60_000, 600_000][random.below(3) as usize],
        late: [1, 3_000, 8_000][random.below(3) as usize],
        away,
    }
}

/// Nothing goes wrong, but that the server is away for a time.
fn calm(length: u64, away: Vec<(Duration, Duration)>) -> Weather {
    Weather {
        has_running: true,
        bare: false,
        shuffled: false,
        repeats: false,
        missing: 0,
        broken: 0,
        slow: 0,
        length,
        late: 1,
        away,
    }
}

/// The calls that look at what goes on: the most of them in one second.
fn most_looks(state: &State) -> usize {
    let look = |(at, path, over): &Asked| {
        let looks = path.starts_with("GET") && !over && !path.contains("/log") && !path.contains("/auth/");
        looks.then_some(*at)
    };
    let looks: Vec<Duration> = state.asked.iter().filter_map(look).collect();
    let before = |at: Duration| looks.partition_point(|other| *other < at);
    looks.iter().map(|at| before(*at + Duration::from_secs(1)) - before(*at)).max().unwrap_or(0)
}

async fn storm(seed: u64) {
    let mut random = Random(seed);
    let case = Case {
        steps: [1, 4, 12, 40][random.below(4) as usize],
        parallel: [2, 8, 100][random.below(3) as usize],
        whole: random.percent(20),
        settings: "",
    };
    let server = Arc::new(Server::new(seed, weather(&mut random)));
    let state = tempfile::tempdir().unwrap();
    let book = RefCell::new(Book::default());
    let all: BTreeSet<usize> = (0..case.steps).collect();
    let (mut steps, mut kills) = (all.clone(), random.below(4));
    let mut done = Ends::new();
    for number in 1.. {
        assert!(number < 12, "seed {seed}: it comes to no end: {done:?}\n{}", server.with(|state| state.told.clone()));
        let within = [300, 20_000, 200_000][random.below(3) as usize];
        let kill = (kills > 0).then(|| server.began.elapsed() + random.ms(within));
        kills = kills.saturating_sub(1);
        let ends = RefCell::default();
        let run = Run { case: &case, server: &server, state: state.path(), number, kill, stop: None };
        let own_end = run.run(&book, &steps, &ends).await;
        if own_end {
            done.extend(ends.into_inner());
            steps = all.iter().copied().filter(|i| !done.get(&format!("s{i}")).is_some_and(good)).collect();
            if steps.is_empty() {
                break;
            }
        } else {
            // Someone comes and starts it again, as it was.
            tokio::time::sleep(random.ms(60_000)).await;
        }
    }
    server.with(|state| {
        state.go_on(Instant::now());
        let told = &state.told;
        assert_eq!(state.doubled, None, "seed {seed}: two jobs at once\n{told}");
        if !case.whole {
            for i in all {
                let jobs: Vec<_> = state.jobs.iter().filter(|job| job.key == format!("s{i}")).collect();
                let well = jobs.iter().filter(|job| job.fate.is_none()).count();
                assert!(well == 1, "seed {seed}: s{i} has {jobs:?}\n{told}");
            }
        }
        let most = most_looks(state);
        assert!(most <= 5, "seed {seed}: {most} looks in one second\n{told}");
    });
}

fn in_virtual_time(work: impl Future<Output = ()>) {
    calls::begin_anew();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work);
}

/// Tells which seed it was that something went wrong with.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            writeln!(std::io::stderr(), "seed {}", self.0).unwrap();
        }
    }
}

/// A run is stopped: in the end none of its jobs goes on, unless it is named or may be there unknown, and it is soon over.
async fn stopped(seed: u64) {
    let mut random = Random(seed + 1_000_000);
    let (steps, parallel) = ([1, 4, 12][random.below(3) as usize], [2, 8, 100][random.below(3) as usize]);
    let case = Case { steps, parallel, whole: random.percent(20), settings: "" };
    let server = Arc::new(Server::new(seed, weather(&mut random)));
    let state = tempfile::tempdir().unwrap();
    let (book, ends) = (RefCell::default(), RefCell::default());
    let within = [1_000, 20_000, 200_000][random.below(3) as usize];
    let stop = random.ms(within);
    let run = Run { case: &case, server: &server, state: state.path(), number: 1, kill: None, stop: Some(stop) };
    assert!(run.run(&book, &(0..case.steps).collect(), &ends).await);
    // The answer to a request is waited for, then the job is looked for, then it is ended.
    let took = server.began.elapsed().saturating_sub(stop);
    let ends = format!("{:?}", ends.into_inner());
    server.with(|state| {
        state.go_on(Instant::now());
        let told = &state.told;
        assert!(took < Duration::from_secs(120), "seed {seed}: it ends {took:?} later\n{told}");
        // Whatever was answered so, the request for a job among it: nothing is asked meanwhile, but that jobs end.
        for from in &state.quiet {
            let early = |(at, what, _): &&Asked| at > from && *at < *from + QUIET && !what.ends_with("/abort");
            assert_eq!(state.asked.iter().find(early), None, "seed {seed}: asked to be quiet at {from:?}\n{told}");
        }
        for job in state.jobs.iter().filter(|job| job.state(Instant::now()) == "RUNNING") {
            let named = ends.contains(&job.id) || ends.contains("a job may have been started");
            assert!(named, "seed {seed}: {} goes on: {ends}\n{told}", job.id);
        }
    });
}

fn storms(seeds: std::ops::RangeInclusive<u64>) {
    for seed in seeds {
        let _seed = Seed(seed);
        in_virtual_time(storm(seed));
        in_virtual_time(stopped(seed));
    }
}

#[test]
fn each_step_has_one_job_whatever_becomes_of_the_server_and_of_kiln() {
    storms(1..=10);
}

#[test]
fn many_storms() {
    storms(11..=60);
}

/// Seeds with which something went wrong once.
#[test]
fn seeds_of_the_past() {
    for seed in [80, 83, 155, 199] {
        storms(seed..=seed);
    }
}
