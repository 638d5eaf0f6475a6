//! What is true of runs of any graph with any fate.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::sound::{Bounds, check};
use super::*;

/// A run that chance has made.
#[derive(Clone, Debug)]
struct Made {
    steps: Vec<MadeStep>,
    jobs: usize,
    eager: bool,
    max_fail: Option<u32>,
    kill: bool,
    time_limit_ms: Option<u64>,
    signals: Vec<u64>,
    full: Option<u64>,
    seed: u64,
}

#[derive(Clone, Debug)]
struct MadeStep {
    /// Steps above it, as parts of the steps that there are.
    needs: Vec<f64>,
    fate: Fate,
    ms: u64,
    retries: u32,
    delay_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Builds,
    Fails,
    FailsOnce,
    Hangs,
    TakesTooLong,
    Panics,
    Loses,
    LosesItsLog,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        20 => Just(Fate::Builds),
        2 => Just(Fate::Fails),
        3 => Just(Fate::FailsOnce),
        1 => Just(Fate::Hangs),
        1 => Just(Fate::TakesTooLong),
        1 => Just(Fate::Panics),
        1 => Just(Fate::Loses),
        1 => Just(Fate::LosesItsLog),
    ]
}

fn step() -> impl Strategy<Value = MadeStep> {
    (vec(0.0..1.0, 0..4), fate(), 0..60_u64, 0..3_u32, 0..40_u64)
        .prop_map(|(needs, fate, ms, retries, delay_ms)| MadeStep { needs, fate, ms, retries, delay_ms })
}

fn made() -> impl Strategy<Value = Made> {
    let policy = (1..8_usize, any::<bool>(), option::of(1..4_u32), any::<bool>(), any::<u64>());
    let fates = (option::weighted(0.1, 1..400_u64), vec(0..300_u64, 0..3), option::weighted(0.1, 0..300_u64));
    (vec(step(), 1..60), policy, fates).prop_map(
        |(steps, (jobs, eager, max_fail, kill, seed), (time_limit_ms, mut signals, full))| {
            signals.sort_unstable();
            Made { steps, jobs, eager, max_fail, kill, time_limit_ms, signals, full, seed }
        },
    )
}

impl Made {
    fn schedule(&self) -> Schedule {
        if self.eager { Schedule::Eager } else { Schedule::Stages }
    }

    fn case(&self) -> Case {
        let texts: Vec<String> = self.steps.iter().enumerate().map(|(i, step)| step.text(i)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut case = case(&texts, self.jobs, self.schedule()).max_fail(self.max_fail);
        for (i, step) in self.steps.iter().enumerate() {
            case = case.act(&format!("s{i}"), step.act());
        }
        case.policy.kill = self.kill;
        case.policy.time_limit_ms = self.time_limit_ms;
        case.policy.seed = self.seed;
        case.signals = self.signals.iter().map(|ms| (*ms, StopSignal::Interrupt)).collect();
        case.full = self.full;
        case
    }

    fn run(&self) -> Ran {
        self.case().run()
    }
}

impl MadeStep {
    fn text(&self, i: usize) -> String {
        let mut needs: Vec<_> = self.needs.iter().map(|part| (part * i as f64) as usize).filter(|_| i > 0).collect();
        needs.sort_unstable();
        needs.dedup();
        let needs = match needs.as_slice() {
            [] => "src".to_owned(),
            needs => needs.iter().map(|need| format!("s{need}")).collect::<Vec<_>>().join(" "),
        };
        let timeout = matches!(self.fate, Fate::Hangs | Fate::TakesTooLong);
        let timeout = if timeout { format!("timeout = \"{}ms\"; ", self.ms + 1) } else { String::new() };
        let retry = format!("retry = {{ max = {}, delay = \"{}ms\" }}", self.retries, self.delay_ms);
        format!("s{i} < {needs} | {timeout}{retry}")
    }

    fn act(&self) -> Act {
        match self.fate {
            Fate::Builds => Act::Build(self.ms, "x"),
            Fate::Fails => Act::Fail(self.ms),
            Fate::FailsOnce => Act::Each(vec![Act::Fail(self.ms), Act::Build(self.ms, "x")]),
            Fate::Hangs => Act::Hang(self.delay_ms),
            Fate::TakesTooLong => Act::Build(2 * self.ms + 5, "x"),
            Fate::Panics => Act::Panic(self.ms),
            Fate::Loses => Act::Lose(self.ms),
            Fate::LosesItsLog => Act::NoLog(self.ms),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_is_sound(made in made()) {
        let ran = made.run();
        let bounds = Bounds { jobs: made.jobs, schedule: made.schedule() };
        check(&ran, &bounds).map_err(|wrong| TestCaseError::fail(format!("{wrong}\n{}", ran.trace())))?;
        prop_assert_eq!(ran.driven.view.end.is_some(), made.full.is_none() || ran.driven.lost.as_deref() != Some("the disk is full"));
        if let Some(first) = made.signals.first() {
            let late = ran.log.iter().find(|entry| entry.began && entry.ms > *first);
            prop_assert_eq!(late, None, "nothing starts after a signal");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_run(made in made()) {
        prop_assert_eq!(made.run().trace(), made.run().trace());
    }

    #[test]
    fn any_beginning_of_the_events_folds_and_can_be_read_again(made in made(), part in 0.0..1.0) {
        let ran = made.run();
        let some = &ran.events[..(part * ran.events.len() as f64) as usize];
        let text: Vec<_> = some.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        let read: Vec<Stamped> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(&read[..], some);
        let (view, again) = (RunView::fold(some), RunView::fold(&read));
        prop_assert_eq!(format!("{:?}", view.steps), format!("{:?}", again.steps));
        prop_assert_eq!(view.counts, again.counts);
    }

    #[test]
    fn what_was_built_is_not_built_again(made in made(), part in 0.0..1.0) {
        let mut first = made.run();
        first.events.truncate((part * first.events.len() as f64) as usize);
        let ended = first.events.iter().filter_map(|event| if let Event::StepEnded(ended) = &event.event { Some(ended) } else { None });
        let built: Vec<_> = ended.filter(|ended| ended.record.is_some()).map(|ended| ended.step.clone()).collect();
        let mut again = made;
        again.steps.iter_mut().for_each(|step| step.fate = Fate::Builds);
        (again.signals, again.full, again.time_limit_ms) = (Vec::new(), None, None);
        let ran = again.case().after(&first).run();
        prop_assert_eq!(ran.driven.view.state(), JobState::Done);
        let twice = ran.log.iter().find(|entry| built.contains(&entry.step));
        prop_assert_eq!(twice, None);
        let whole = again.case().after(&first).after(&ran).run();
        prop_assert_eq!(whole.log.len(), 0, "the third run has nothing to do");
    }
}
