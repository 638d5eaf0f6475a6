//! A DSS server that breaks at random, and one with very many jobs.

use std::fmt::Write as _;

use crate::dss::{is_list, is_status, project, run};
use crate::dss_server::{Asked, Fault, Server};
use crate::support::lines;

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
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

#[test]
fn random_faults_make_neither_two_jobs_nor_none() {
    let seeds: u64 = std::env::var("KILN_SEEDS").map_or(4, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        let mut random = Random(seed);
        let server = Server::start();
        server.with(|state| {
            state.has_running = seed % 2 == 0;
            state.shuffled = seed % 3 == 0;
            state.bare = seed % 5 == 0;
        });
        server.job("old", "RECURSIVE_BUILD", "s1", "DONE", "API (kiln-key)");
        for _ in 0..10 {
            let concerns: fn(&Asked) -> bool = [is_list, is_status][random.below(2)];
            server.fault(concerns, faults(&mut random));
        }
        // A request is asked for once more at most: of those that are not done, only one.
        server.fault(Asked::is_start, faults(&mut random));
        for _ in 0..3 {
            let done = [Fault::CutMiddle, Fault::CutAfter, Fault::Drip, Fault::DoneAnswer(504, String::new())];
            server.fault(Asked::is_start, done[random.below(4)].clone());
        }
        let mut steps = String::new();
        for i in 0..8 {
            let inputs = if i < 4 { String::new() } else { format!("\"s{}\"", i - 4) };
            writeln!(steps, "[dataset.s{i}]\ninputs = [{inputs}]").unwrap();
        }
        let said = run(&project(&server, "max_parallel = 4", &steps), 0, &[]);
        let mut jobs = server.jobs_per_step();
        *jobs.get_mut("s1").unwrap() -= 1;
        assert!(jobs.len() == 8 && jobs.values().all(|jobs| *jobs == 1), "seed {seed}: {jobs:?}\n{}", said.out);
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
