//! Made-up runs. Knows no reporter.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::digest::Digest;
use crate::base::job::{BuildMode, JobId, JobState, Schedule};
use crate::event::{
    Cause, Counts, Event, Failure, FailureCode, Outcome, PlannedStep, RunEnded, RunStarted, Stamped, StepEnded,
    StepRetrying,
};
use crate::plan::reason::{Action, Reason, ReasonCode};
use crate::plan::record::{Parts, Record};
use crate::report::api::Reporter;
use crate::report::outlet::Out;
use crate::report::style::Style;
use crate::view::RunView;

/// The events of a run as they are made up.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) events: Vec<Stamped>,
    job: JobId,
}

pub(super) fn style(color: bool, width: Option<u16>) -> Style {
    Style { color, width, zone: TimeZone::UTC }
}

pub(super) fn began() -> Timestamp {
    "2026-11-23T02:00:00Z".parse().unwrap()
}

pub(super) fn planned(id: &str, expected_ms: Option<u64>) -> PlannedStep {
    PlannedStep {
        id: id.to_owned(),
        outputs: vec![id.to_owned()],
        stage: 1,
        action: Action::Build,
        reasons: vec![Reason::new(ReasonCode::NeverBuilt)],
        expected_ms,
        place: "pipelines/orders.toml:41".to_owned(),
        attempts: 1,
        after: Vec::new(),
    }
}

pub(super) fn started(steps: Vec<PlannedStep>, up_to_date: u64) -> RunStarted {
    RunStarted {
        pipeline: "orders".to_owned(),
        project: "ORDERS".to_owned(),
        file: "pipelines/orders.toml".to_owned(),
        engine: "local".to_owned(),
        mode: BuildMode::Smart,
        schedule: Schedule::Stages,
        targets: Vec::new(),
        exclude: Vec::new(),
        max_parallel: 4,
        by: "ci".to_owned(),
        pid: 4711,
        host: "build1".to_owned(),
        kiln: "0.1.0".to_owned(),
        again: "kiln run".to_owned(),
        keep_going: false,
        vars: Default::default(),
        steps,
        up_to_date,
        left: Vec::new(),
        put_back: Vec::new(),
        expected_ms: None,
    }
}

pub(super) fn failure(message: &str, tail: &[&str], kept: bool) -> Failure {
    Failure {
        spoiled: Vec::new(),
        code: FailureCode::Exit,
        message: message.to_owned(),
        exit_code: None,
        tail: tail.iter().map(|line| (*line).to_owned()).collect(),
        kept: kept.then(|| "2026-11-22T02:01:09Z".parse().unwrap()),
        page: None,
    }
}

impl Sample {
    pub(super) fn new(started: RunStarted) -> Self {
        let job = JobId::new("orders", "2026-11-23T02-00-00.123");
        let mut sample = Self { events: Vec::new(), job };
        sample.push(0, Event::RunStarted(Box::new(started)));
        sample
    }

    pub(super) fn push(&mut self, elapsed_ms: u64, event: Event) {
        self.events.push(Stamped {
            version: 1,
            job: self.job.clone(),
            seq: self.events.len() as u64,
            at: began() + jiff::SignedDuration::from_millis(elapsed_ms as i64),
            elapsed_ms,
            event,
        });
    }

    pub(super) fn start(&mut self, ms: u64, step: &str, command: &str) {
        let attempt = self.view().step(step).map_or(1, |step| step.attempt + 1);
        self.push(
            ms,
            Event::StepStarted {
                step: step.to_owned(),
                attempt,
                command: command.to_owned(),
                log: format!("logs/build_orders_2026-11-23T02-00-00.123/{step}.{attempt}.log"),
            },
        );
    }

    pub(super) fn retry(&mut self, ms: u64, step: &str, failure: Failure, wait_ms: u64) {
        let view = self.view();
        let (attempt, began_ms) = view.step(step).map_or((1, 0), |step| (step.attempt, step.began_ms));
        let (step, took_ms) = (step.to_owned(), ms - began_ms);
        self.push(ms, Event::StepRetrying(Box::new(StepRetrying { step, attempt, took_ms, failure, wait_ms })));
    }

    pub(super) fn publish(&mut self, ms: u64, step: &str) {
        let record = Record { key: Digest::of(b"key"), parts: Parts::new(), outputs: Vec::new() };
        let step = step.to_owned();
        self.push(ms, Event::StepPublishing { step, took_ms: 1, record, staged: Vec::new() });
    }

    pub(super) fn end(&mut self, ms: u64, step: &str, outcome: Outcome, failure: Option<Failure>) {
        let view = RunView::fold(&self.events);
        let attempt = view.step(step).map_or(1, |step| step.attempt);
        let took_ms = ms - view.step(step).map_or(ms, |step| step.began_ms);
        let step = step.to_owned();
        let flaky = attempt > 1 && matches!(outcome, Outcome::Built | Outcome::Same);
        let ended = StepEnded {
            step,
            attempt,
            outcome,
            took_ms,
            flaky,
            record: None,
            also_built: Vec::new(),
            failure,
            leaked: Vec::new(),
            replaced: Vec::new(),
        };
        self.push(ms, Event::StepEnded(Box::new(ended)));
    }

    pub(super) fn current(&mut self, ms: u64, step: &str) {
        self.push(ms, Event::StepCurrent { step: step.to_owned(), also_built: Vec::new() });
    }

    pub(super) fn skip(&mut self, ms: u64, step: &str, because: Option<&str>) {
        self.push(ms, Event::StepSkipped { step: step.to_owned(), because: because.map(str::to_owned) });
    }

    pub(super) fn stopping(&mut self, ms: u64, cause: &str) {
        self.push(ms, Event::RunStopping { cause: cause.to_owned(), because: None });
    }

    pub(super) fn finish(&mut self, ms: u64, state: JobState, why: Option<&str>) {
        let counts: Counts = self.view().counts;
        self.push(ms, Event::RunEnded(RunEnded::new(state, why.map(Cause::of_words), counts)));
    }

    pub(super) fn view(&self) -> RunView {
        RunView::fold(&self.events)
    }

    /// Tells a reporter all events, and before the event `at` what a step prints.
    pub(super) fn tell(&self, reporter: &mut dyn Reporter, printed: &[(usize, &str, &[u8])]) {
        let mut view = RunView::default();
        for (i, event) in self.events.iter().enumerate() {
            for (_, step, bytes) in printed.iter().filter(|(at, ..)| *at == i) {
                reporter.output(step, bytes).unwrap();
            }
            view.apply(event);
            reporter.event(&view, event).unwrap();
            reporter.flush(&view).unwrap();
        }
    }
}

/// The run that the product's page shows.
pub(super) fn morning() -> Sample {
    let mut split = planned("split", Some(30_000));
    split.outputs = vec!["train".to_owned(), "test".to_owned()];
    split.stage = 2;
    split.after = vec![0];
    let mut report = planned("report", Some(5_000));
    report.stage = 3;
    report.after = vec![2, 3];
    let steps = vec![
        planned("orders", Some(40_000)),
        planned("rates", Some(3_000)),
        split,
        planned("charts", Some(8_000)),
        report,
    ];
    let mut run = Sample::new(started(steps, 55));
    run.start(10, "orders", "python3 recipes/orders.py data/raw_orders.csv build/orders.csv");
    run.start(12, "rates", "curl -fsS https://rates.example.com/eur -o build/rates.json");
    run.publish(3_000, "rates");
    run.end(3_020, "rates", Outcome::Same, None);
    run.publish(39_900, "orders");
    run.end(40_010, "orders", Outcome::Built, None);
    run.start(
        40_100,
        "split",
        "python3 recipes/split.py \\\n  build/orders.csv build/train.csv build/test.csv --seed 20261123 --share 0.8 --by customer_id",
    );
    run.start(40_110, "charts", "python3 recipes/charts.py build/orders.csv build/charts");
    run.end(48_110, "charts", Outcome::Built, None);
    let tail = ["Traceback (most recent call last):", "KeyError: 'customer_id'"];
    run.end(71_100, "split", Outcome::Failed, Some(failure("exit 3", &tail, true)));
    run.skip(71_100, "report", Some("split"));
    run.finish(71_200, JobState::Failed, Some("split: exit 3"));
    run
}

/// A run in which steps are tried again: one is built at last, one never, one waits when the run is stopped.
pub(super) fn retries() -> Sample {
    let again = |id: &str| PlannedStep { attempts: 3, ..planned(id, None) };
    let mut run = Sample::new(started(vec![again("orders"), again("rates"), again("split")], 0));
    run.start(0, "orders", "make orders");
    run.start(0, "rates", "make rates");
    run.start(0, "split", "make split");
    run.retry(400, "rates", failure("exit 7", &["no route to host"], false), 0);
    run.start(400, "rates", "make rates");
    run.retry(800, "rates", failure("timed out after 0.4s", &[], false), 5_100);
    run.retry(900, "orders", failure("exit 1", &[], false), 1_000);
    run.start(1_900, "orders", "make orders");
    run.end(3_000, "orders", Outcome::Built, None);
    run.start(5_900, "rates", "make rates");
    run.end(6_000, "rates", Outcome::Failed, Some(failure("exit 7", &["no route to host"], true)));
    run.stopping(6_000, "rates failed");
    run.retry(7_000, "split", failure("exit 2", &[], false), 1_000);
    run.end(7_000, "split", Outcome::Failed, Some(failure("exit 2", &[], false)));
    run.finish(7_000, JobState::Failed, Some("rates: exit 7"));
    run
}

/// A run with every kind of ending, stopped by a signal.
pub(super) fn every_ending() -> Sample {
    let ids = ["built", "same", "maybe", "failed", "below", "stopped", "never", "nothing"];
    let steps = ids.iter().map(|id| planned(id, None)).collect();
    let mut started = started(steps, 3);
    started.targets = vec!["built".to_owned(), "never".to_owned()];
    let mut run = Sample::new(started);
    for (ms, id) in [(0, "built"), (1, "same"), (2, "failed"), (3, "stopped")] {
        run.start(ms, id, &format!("make {id}"));
    }
    run.publish(400, "built");
    run.end(400, "built", Outcome::Built, None);
    run.end(1_500, "same", Outcome::Same, None);
    run.current(1_500, "maybe");
    run.end(2_000, "failed", Outcome::Failed, Some(failure("output build/failed.csv is missing", &[], false)));
    run.skip(2_000, "below", Some("failed"));
    run.stopping(9_000, "Ctrl-C");
    run.end(10_000, "stopped", Outcome::Stopped, None);
    run.skip(10_000, "never", None);
    run.skip(10_000, "nothing", None);
    run.finish(10_050, JobState::Aborted, Some("Ctrl-C"));
    run
}

/// Bytes that can be read while a reporter writes them.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Rc<RefCell<Vec<u8>>>);

impl Shared {
    /// What was written since the last call.
    pub(super) fn take(&self) -> String {
        String::from_utf8(self.0.take()).unwrap()
    }
}

impl Out for Shared {}

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
