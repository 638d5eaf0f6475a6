//! Kiln is killed after some of its events: the next plan tells the truth about the next run, which does the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, PipeReader, Read, pipe};

use serde_json::Value;

use super::model;
use super::spec::{Kind, Rebuild};
use super::{Bench, number};
use crate::support::{lines, started};

#[test]
fn what_a_killed_run_has_done_is_done() {
    let first = number("KILN_SEED", 3_000);
    for seed in first..first + number("KILN_CASES", 2) {
        let mut bench = Bench::new(seed);
        let all = bench.all();
        bench.check(&all, "smart");
        for _ in 0..4 {
            bench.edit();
            bench.world.failing.clear();
            bench.apply(&[]);
            bench.kill_and_go_on();
        }
        bench.finish();
    }
}

impl Bench {
    fn kill_and_go_on(&mut self) {
        let all = self.all();
        let told = format!("seed {}, edits {:?}", self.seed, self.edits);
        let wanted = model::wanted(&self.world.spec, &all, "smart");
        let (_, after) = self.world.run(&wanted, "smart").unwrap();
        let count = 1 + self.random.below(30);
        let seen = self.killed(count, &all);
        self.nothing_is_half(&told, &after);
        let plan = self.kiln(&["plan", "--format", "json"], "smart", &all);
        assert_eq!(plan.code, 0, "{told}\n{}", plan.err);
        let planned = self.planned(&plan.out);
        let run = self.kiln(&["run", "-j3", "--events", "-"], "smart", &all);
        assert_eq!(run.code, 0, "{told}\n{}", run.err);
        let ran: BTreeSet<String> = started(&run.out).into_iter().collect();
        for (step, (action, whys)) in &planned {
            let right = match *action {
                "build" => ran.contains(step),
                "skip" => !ran.contains(step),
                _ => true,
            };
            assert!(right, "{told}: {step}: planned {action} {whys:?}, ran {ran:?}");
        }
        let restless = self.world.spec.recipes.iter().filter(|r| matches!(r.rebuild, Rebuild::Always | Rebuild::Old));
        let restless: BTreeSet<_> = restless.map(|recipe| recipe.name.clone()).collect();
        let again: Vec<_> =
            built(&seen).into_iter().filter(|step| ran.contains(step) && !restless.contains(step)).collect();
        assert!(again.is_empty(), "{told}: done and shown, and done again: {again:?}");
        let finished = seen.iter().any(|event| event["type"] == "run_ended");
        let jobs = self.project.expect(0, &["jobs", "list", "--format", "json", "--limit", "2"]).out;
        let jobs: Value = serde_json::from_str(&jobs).unwrap();
        assert!(finished || jobs[1]["state"] == "ABORTED" || jobs[1]["state"] == "DONE", "{told}: {}", jobs[1]);
        self.world = after;
        self.disk = self.world.disk.clone();
        self.compare_disk(&told);
        self.check(&all, "smart");
    }

    /// Starts a run, and kills it after so many events; waits until none of its recipes is left. Gives the events.
    fn killed(&self, count: usize, targets: &[String]) -> Vec<Value> {
        let (mut left, writer) = inherited_pipe();
        let words = self.words(&["run", "-j3", "--events", "-"], "smart", targets);
        let mut kiln = self.project.start(&words.iter().map(String::as_str).collect::<Vec<_>>());
        drop(writer);
        let out = BufReader::new(kiln.stdout.take().unwrap());
        let seen: Vec<String> = out.lines().take(count).map(Result::unwrap).collect();
        drop(kiln.kill()); // it may have ended
        kiln.wait().unwrap();
        left.read_to_end(&mut Vec::new()).unwrap();
        lines(&seen.join("\n"))
    }

    /// What is not written in place is as it was, or as it will be. A table is somewhere else: what a recipe that is killed
    /// with its Kiln leaves there is between the two of them.
    fn nothing_is_half(&self, told: &str, after: &model::World) {
        let found: BTreeMap<String, String> = self.project.tree().into_iter().collect();
        for recipe in self.world.spec.recipes.iter().filter(|recipe| !recipe.in_place) {
            let nodes = recipe.outputs.iter().map(|i| &self.world.spec.nodes[*i]);
            for node in nodes.filter(|node| node.kind != Kind::Table) {
                let place = node.place();
                let there = match node.kind {
                    Kind::Dataset | Kind::Table => found.get(&place).cloned(),
                    Kind::Folder => found.contains_key(&format!("{place}/")).then(|| {
                        let inside = found.range(format!("{place}/")..format!("{place}0"));
                        inside.map(|(path, text)| format!("{path}:{text}")).collect()
                    }),
                };
                let ways =
                    [&self.world, after].map(|world| world.disk.get(&place).map(|content| content.shown(&place)));
                assert!(ways.contains(&there), "{told}: {place} is {there:?}, neither of {ways:?}");
            }
        }
    }
}

/// The steps that were shown as built.
fn built(events: &[Value]) -> Vec<String> {
    let good = |event: &&Value| event["outcome"] == "built" || event["outcome"] == "same";
    events.iter().filter(good).map(|event| event["step"].as_str().unwrap().to_owned()).collect()
}

/// A pipe whose end to write to is handed on to all that is started, so that its other end tells when all have ended.
fn inherited_pipe() -> (PipeReader, std::io::PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    rustix::io::fcntl_setfd(&writer, rustix::io::FdFlags::empty()).unwrap();
    (reader, writer)
}
