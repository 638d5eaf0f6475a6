//! A DSS server that breaks at random, and one with very many jobs.

use std::fmt::Write as _;

use crate::dss::{is_list, is_status, project, run};
use crate::dss_server::{Asked, Fault, Server};
use crate::support::lines;

/// Numbers that look random, the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

fn faults(random: &mut Random) -> Fault {
    match random.below(8) {
        0 => Fault::CutBefore,
        1 => Fault::CutMiddle,
        2 => Fault::CutAfter,
        3 => Fault::Drip,
        4 => Fault::Answer(502, "", "<html>bad</html>".to_owned()),
        5 => Fault::Answer(503, "Retry-After: 0\r\n", String::new()),
        6 => Fault::DoneAnswer(504, String::new()),
        _ => Fault::Answer(429, "Retry-After: 0\r\n", "{}".to_owned()),
    }
}

/// A server that breaks as the numbers say: lost and slow answers, times at which nobody can ask it, lists that tell little.
fn broken(seed: u64, random: &mut Random) -> Server {
    let server = Server::start();
    server.with(|state| {
        state.has_running = seed.is_multiple_of(2);
        state.shuffled = seed.is_multiple_of(3);
        state.bare = seed.is_multiple_of(5);
        state.looks = Some(1 + u32::try_from(random.below(4)).unwrap());
        if seed.is_multiple_of(7) {
            state.clock -= 3_600_000;
        }
    });
    let reads: [fn(&Asked) -> bool; 3] = [is_list, is_status, |asked| asked.method == "GET"];
    for _ in 0..6 {
        server.fault(reads[random.below(3)], faults(random));
    }
    // It starts again: for a while nothing comes through.
    if random.below(2) == 0 {
        (0..random.below(4)).for_each(|_| server.fault(reads[2], Fault::CutBefore));
    }
    // A request is asked for once more at most: of those that are not done, only one.
    server.fault(Asked::is_start, faults(random));
    for _ in 0..3 {
        let done = [Fault::CutMiddle, Fault::CutAfter, Fault::Drip, Fault::DoneAnswer(504, String::new())];
        server.fault(Asked::is_start, done[random.below(4)].clone());
    }
    server
}

/// What `KILN_SEEDS` says of the seeds: how many, or from which to which (`200-250`).
fn seeds() -> std::ops::RangeInclusive<u64> {
    let text = std::env::var("KILN_SEEDS").unwrap_or_else(|_| "6".to_owned());
    match text.split_once('-') {
        Some((from, to)) => from.parse().unwrap()..=to.parse().unwrap(),
        None => 1..=text.parse().unwrap(),
    }
}

#[test]
fn random_faults_and_kills_make_neither_two_jobs_nor_none() {
    for seed in seeds() {
        println!("seed {seed}");
        let mut random = Random(seed);
        let server = broken(seed, &mut random);
        let one = seed % 4 == 3;
        server.job("old", "RECURSIVE_BUILD", "s1", "DONE", "API (kiln-key)");
        let mut steps = String::new();
        for i in 0..8 {
            let inputs = if i < 4 { String::new() } else { format!("\"s{}\"", i - 4) };
            writeln!(steps, "[dataset.s{i}]\ninputs = [{inputs}]").unwrap();
        }
        let settings = format!("max_parallel = 4\n{}", if one { "jobs = \"run\"" } else { "" });
        let project = project(&server, &settings, &steps);
        // All that goes wrong may go wrong for one step, with longer waits each time.
        let text = project.read("pipeline.toml").replace("lost_after = \"5s\"", "lost_after = \"10m\"");
        project.write("pipeline.toml", text);
        let mut kills = Vec::new();
        for _ in 0..random.below(3) {
            let requests = server.count(|_| true) + 1 + random.below(30);
            let mut child = project.start(&["run", "--engine", "prod"]);
            let all = if one { 2 } else { 9 };
            server.wait(|state| {
                state.asked.len() >= requests
                    || (state.jobs.len() >= all && state.jobs.iter().all(|job| job.state == "DONE"))
            });
            child.kill().unwrap();
            child.wait().unwrap();
            kills.push(requests);
        }
        let said = run(&project, 0, &[]);
        let mut jobs = server.jobs_per_step();
        let old = jobs.get_mut("s1").map(|old| *old -= 1);
        assert!(old.is_some());
        jobs.retain(|_, jobs| *jobs > 0);
        let case = format!("seed {seed}, killed at {kills:?}: {jobs:?}\n{}", said.out);
        assert!(jobs.len() == (if one { 1 } else { 8 }) && jobs.values().all(|jobs| *jobs == 1), "{case}");
    }
}

#[test]
fn very_many_jobs_are_followed_with_few_requests() {
    const JOBS: usize = 512;
    let server = Server::start();
    let mut steps = String::new();
    for i in 0..JOBS {
        writeln!(steps, "[dataset.s{i}]\ninputs = []").unwrap();
    }
    server.with(|state| state.looks = Some(3));
    let project = project(&server, "max_parallel = 512", &steps);
    let said = run(&project, 0, &["--events", "events"]);
    assert!(said.out.contains("512 built"), "{}", said.out);
    assert!(server.jobs_per_step().values().all(|jobs| *jobs == 1));
    let starts = server.count(Asked::is_start);
    let statuses = server.count(is_status);
    let looks = server.count(|asked| asked.method == "GET") - statuses;
    assert_eq!((starts, statuses), (JOBS, JOBS), "one request for each job, and one for its end");
    assert!(looks < 40, "{looks} lists");
    let events = lines(&project.read("events"));
    assert_eq!(events.iter().filter(|event| event["type"] == "step_ended").count(), JOBS);
}
