//! Every pair and every triple of what can end a run, at different instants and at the same one.

use super::sound::{Bounds, check};
use super::*;

/// Something that happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    CtrlC,
    Term,
    /// A step fails.
    Failure,
    /// A step takes longer than it may.
    Deadline,
    /// The run takes longer than it may.
    TimeLimit,
    /// The store cannot be written.
    Store,
    /// A log cannot be written.
    Log,
    /// A reporter cannot write.
    Reporter,
}

const BLOWS: [Blow; 8] =
    [Blow::CtrlC, Blow::Term, Blow::Failure, Blow::Deadline, Blow::TimeLimit, Blow::Store, Blow::Log, Blow::Reporter];

/// Four steps that run long enough for everything to come while they run, one that is tried again, and some that wait.
fn struck(blows: &[(u64, Blow)], keep_going: bool) -> Ran {
    let mut steps = vec!["slow".to_owned(), "deaf".to_owned(), "below < slow".to_owned(), "last".to_owned()];
    let mut acts = vec![("slow", Act::Build(100, "slow")), ("deaf", Act::Hang(40))];
    let mut case_of = Vec::new();
    let names: Vec<String> = (0..blows.len()).map(|i| format!("s{i}")).collect();
    for (name, (ms, blow)) in names.iter().zip(blows) {
        match blow {
            Blow::Failure => acts.push((name, Act::Fail(*ms))),
            Blow::Deadline => acts.push((name, Act::Hang(5))),
            Blow::Log => acts.push((name, Act::Each(vec![Act::Fail(*ms), Act::NoLog(5)]))),
            Blow::CtrlC | Blow::Term | Blow::TimeLimit | Blow::Store | Blow::Reporter => continue,
        }
        let keys = match blow {
            Blow::Deadline => format!("timeout = \"{ms}ms\"; retry = {{ max = 1, delay = \"1ms\", on = [75] }}"),
            Blow::Log => "retry = { max = 1, delay = \"0ms\" }".to_owned(),
            Blow::CtrlC | Blow::Term | Blow::Failure | Blow::TimeLimit | Blow::Store | Blow::Reporter => String::new(),
        };
        case_of.push(format!("{name} | {keys}"));
    }
    steps[1].push_str(" | timeout = \"80ms\"");
    case_of.extend(steps);
    let texts: Vec<&str> = case_of.iter().map(String::as_str).collect();
    let mut case = case(&texts, 6, Schedule::Stages).max_fail(if keep_going { None } else { Some(1) });
    for (step, act) in acts {
        case = case.act(step, act);
    }
    for (ms, blow) in blows {
        match blow {
            Blow::CtrlC => case.signals.push((*ms, StopSignal::Interrupt)),
            Blow::Term => case.signals.push((*ms, StopSignal::Terminate)),
            Blow::TimeLimit => case.policy.time_limit_ms = Some(case.policy.time_limit_ms.unwrap_or(*ms).min(*ms)),
            Blow::Store => case.full = Some(case.full.unwrap_or(*ms).min(*ms)),
            Blow::Reporter => case.unseen = Some(ms / 10),
            Blow::Failure | Blow::Deadline | Blow::Log => {}
        }
    }
    case.run()
}

/// How the run has to end: whether it was kept, its state and why.
fn expected(blows: &[(u64, Blow)]) -> (bool, JobState, Option<Cause>) {
    let kept = blows.iter().all(|(_, blow)| *blow != Blow::Store);
    // Of what comes at one instant signals are heard first, and a time limit is over last.
    let abort = blows.iter().filter(|(_, blow)| matches!(blow, Blow::CtrlC | Blow::Term | Blow::TimeLimit));
    match abort.min_by_key(|(ms, blow)| (*ms, *blow == Blow::TimeLimit)) {
        Some((_, Blow::CtrlC)) => (kept, JobState::Aborted, Some(Cause::Signal { signal: StopSignal::Interrupt })),
        Some((_, Blow::Term)) => (kept, JobState::Aborted, Some(Cause::Signal { signal: StopSignal::Terminate })),
        Some((ms, _)) => (kept, JobState::Aborted, Some(Cause::TimeLimit { ms: *ms })),
        // `deaf` takes too long in any case.
        None => (kept, JobState::Failed, None),
    }
}

fn examine(blows: &[(u64, Blow)]) {
    for keep_going in [false, true] {
        let ran = struck(blows, keep_going);
        let context = || format!("{blows:?}, keep going: {keep_going}\n{}", ran.trace());
        if let Err(wrong) = check(&ran, &Bounds { jobs: 6, schedule: Schedule::Stages }) {
            panic!("{wrong}: {}", context());
        }
        let (kept, state, why) = expected(blows);
        if !kept {
            assert_eq!(ran.driven.lost.as_deref(), Some("the disk is full"), "{}", context());
            assert_eq!(ran.driven.view.end, None, "nothing is shown that is not kept: {}", context());
            continue;
        }
        let end = ran.driven.view.end.clone().unwrap_or_else(|| panic!("no end: {}", context()));
        assert_eq!(end.state, state, "{}", context());
        if why.is_some() {
            assert_eq!(end.because, why, "{}", context());
        }
        let logs = ran.driven.lost.is_some();
        assert_eq!(logs, ran.trace().contains("no space left"), "{}", context());
    }
}

#[test]
fn every_pair() {
    for first in BLOWS {
        for second in BLOWS {
            examine(&[(20, first), (30, second)]);
            examine(&[(20, first), (20, second)]);
        }
    }
}

#[test]
fn every_triple() {
    for first in BLOWS {
        for second in BLOWS {
            for third in BLOWS {
                examine(&[(20, first), (30, second), (40, third)]);
                examine(&[(20, first), (20, second), (20, third)]);
            }
        }
    }
}
