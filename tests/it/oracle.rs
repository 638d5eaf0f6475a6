//! The dry run tells the truth, and a run does exactly what it must: the real program over pipelines and edits made by
//! chance, against an oracle that knows only the rules.
//!
//! `KILN_CASES` is the number of pipelines of each test, `KILN_SEED` the first seed. A failure prints its seed.

mod edit;
mod kill;
mod model;
mod spec;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::{Project, lines};
use edit::Touch;
use model::{Expected, Why, World};
use spec::{Content, Kind, Random, Rebuild, Spec};

/// Parts of a pipeline that are edited at once.
const COMPONENTS: usize = 4;
/// So often a pipeline is edited.
const ROUNDS: usize = 9;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn smart_runs_do_what_they_must() {
    cases(1_000, 4, |bench| {
        let targets = bench.targets(25);
        bench.check(&targets, "smart");
    });
}

#[test]
fn every_mode_and_target_does_what_it_says() {
    cases(2_000, 4, |bench| {
        let targets = bench.targets(70);
        let mode = bench.random.pick(&["smart", "smart", "only", "forced", "missing"]);
        bench.check(&targets, mode);
    });
}

#[test]
fn what_is_remembered_is_true() {
    let mut knew = 0;
    let first = number("KILN_SEED", 4_000);
    for seed in first..first + number("KILN_CASES", 4) {
        let mut random = Random(seed);
        let spec = Spec::random(&mut random, COMPONENTS).plain();
        let mut bench = Bench::with(seed, random, spec);
        for _ in 0..ROUNDS {
            // The first one meets what was remembered before the edit.
            knew += (0..4).filter(|_| bench.run_again()).count();
            bench.edit();
            bench.world.failing.clear();
            bench.world.spec = std::mem::take(&mut bench.world.spec).plain();
            bench.apply(&[]);
        }
    }
    assert!(knew > ROUNDS, "only {knew} runs knew that there was nothing to do");
}

fn cases(seed: u64, cases: u64, round: impl Fn(&mut Bench)) {
    let (first, cases) = (number("KILN_SEED", seed), number("KILN_CASES", cases));
    for seed in first..first + cases {
        let mut bench = Bench::new(seed);
        let all = bench.all();
        bench.check(&all, "smart");
        for _ in 0..ROUNDS {
            bench.edit();
            round(&mut bench);
        }
        bench.finish();
    }
}

struct Bench {
    seed: u64,
    project: Project,
    world: World,
    random: Random,
    /// What is below the root, as far as it was written.
    disk: BTreeMap<String, Content>,
    /// Whether the variables stand in the file.
    vars: bool,
    clock: u64,
    edits: Vec<&'static str>,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let spec = Spec::random(&mut random, COMPONENTS);
        Self::with(seed, random, spec)
    }

    fn with(seed: u64, mut random: Random, spec: Spec) -> Self {
        let mut world = World { spec, ..World::default() };
        for node in world.spec.nodes.iter().filter(|node| node.maker.is_none()) {
            world.disk.insert(node.place(), Content::of(node.kind, random.next() % 1_000));
        }
        for recipe in &world.spec.recipes {
            let mut file = |path: String| world.disk.insert(path, Content::File(format!("{}\n", random.next() % 100)));
            file(format!("tools/{}", recipe.key));
            match recipe.code {
                Some(true) => {
                    for name in ["a", "b"] {
                        file(format!("code/{}/{name}.txt", recipe.key));
                    }
                }
                Some(false) => {
                    file(format!("code/{}.txt", recipe.key));
                }
                None => {}
            }
            world.regions.insert(recipe.key.clone(), 1);
        }
        let vars = random.chance(50);
        Self::of(seed, world, random, vars)
    }

    fn of(seed: u64, world: World, random: Random, vars: bool) -> Self {
        let project = Project::empty();
        for folder in ["w1", "w2", "tables"] {
            fs::create_dir(project.path(folder)).unwrap();
        }
        let mut bench =
            Self { seed, project, world, random, disk: BTreeMap::new(), vars, clock: 1_000_000_000, edits: Vec::new() };
        bench.apply(&[]);
        bench
    }

    fn all(&self) -> Vec<String> {
        self.world.spec.recipes.iter().map(|recipe| recipe.name.clone()).collect()
    }

    /// Targets by chance; none at all in the rest of so many per cent.
    fn targets(&mut self, percent: usize) -> Vec<String> {
        if !self.random.chance(percent) {
            return Vec::new();
        }
        let count = 1 + self.random.below(4);
        let target = |_| {
            let recipe = self.random.pick(&self.world.spec.recipes);
            let name = recipe.outputs.first().map_or(&recipe.name, |o| &self.world.spec.nodes[*o].name);
            match (self.random.below(4), recipe.tag) {
                (0, _) => format!("+{name}"),
                (1, _) => format!("{name}+"),
                (2, Some(tag)) => format!("tag:t{tag}"),
                _ => name.clone(),
            }
        };
        (0..count).map(target).collect()
    }

    fn edit(&mut self) {
        let mut touches = Vec::new();
        if self.random.chance(60) {
            self.world.failing.clear();
        }
        self.edits.clear();
        for component in 0..COMPONENTS {
            self.edits.push(edit::edit(&mut self.world, &mut self.random, component, &mut touches));
        }
        self.apply(&touches);
    }

    /// What makes every other pipeline's file long enough for Kiln to keep what it came to.
    fn padding(&self) -> String {
        if self.seed.is_multiple_of(2) { "# Nothing but a long comment.\n".repeat(1_200) } else { String::new() }
    }

    /// Makes files and variables what the world says.
    fn apply(&mut self, touches: &[Touch]) {
        self.project.write("pipeline.toml", format!("{}{}", self.world.spec.write(self.vars), self.padding()));
        let stealth = |path: &String| touches.contains(&Touch::Stealth(path.clone()));
        for (path, content) in &self.world.disk {
            if self.disk.get(path) != Some(content) {
                let before = self.project.path(path).metadata().ok().filter(|_| stealth(path));
                write(&self.project, path, content);
                if let Some(before) = before {
                    time(&self.project.path(path), before.modified().unwrap());
                }
            }
        }
        for path in self.disk.keys().filter(|path| !self.world.disk.contains_key(*path)) {
            remove(&self.project.path(path));
        }
        self.disk = self.world.disk.clone();
        for touch in touches {
            self.clock += 60;
            let when = SystemTime::UNIX_EPOCH + Duration::from_secs(self.clock);
            match touch {
                Touch::Rewrite(path) => drop(self.disk.get(path).map(|content| write(&self.project, path, content))),
                Touch::Time(path) if self.disk.contains_key(path) => time(&self.project.path(path), when),
                Touch::Time(_) | Touch::Stealth(_) => {}
                Touch::All => touch_all(&self.project.path(""), when),
            }
        }
        for (key, value) in &self.world.regions {
            self.project.variable(&format!("KT_{key}"), &value.to_string());
        }
        let failing: Vec<_> = self.world.failing.iter().map(String::as_str).collect();
        self.project.variable("KT_FAIL", &failing.join(" "));
        self.project.variable("KT_OTHER", &self.random.next().to_string());
    }

    fn words(&self, command: &[&str], mode: &str, targets: &[String]) -> Vec<String> {
        let mut words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["--mode".to_owned(), mode.to_owned()]);
        if !self.vars {
            let vars = self.world.spec.vars.iter();
            words.extend(vars.flat_map(|(name, value)| ["--var".to_owned(), format!("{name}={value}")]));
        }
        words.push("--".to_owned());
        words.extend(targets.iter().cloned());
        words
    }

    fn kiln(&self, command: &[&str], mode: &str, targets: &[String]) -> crate::support::Said {
        let words = self.words(command, mode, targets);
        self.project.kiln(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Plans and runs, and compares both with the oracle.
    fn check(&mut self, targets: &[String], mode: &str) {
        let wanted = model::wanted(&self.world.spec, targets, mode);
        if wanted.is_empty() {
            return;
        }
        let told = format!("seed {}, mode {mode}, targets {targets:?}, edits {:?}", self.seed, self.edits);
        let (tree, state) = (self.project.tree(), state(&self.project));
        let plan = self.kiln(&["plan", "--format", "json"], mode, targets);
        let Some((expected, after)) = self.world.run(&wanted, mode) else {
            let run = self.kiln(&["run"], mode, targets);
            assert_eq!((plan.code, run.code), (2, 2), "{told}\n{}\n{}", plan.err, run.err);
            assert_eq!(self.project.tree(), tree, "{told}");
            return;
        };
        assert_eq!(plan.code, 0, "{told}\n{}", plan.err);
        let again = self.kiln(&["plan", "--format", "json"], mode, targets);
        assert_eq!(plan.out, again.out, "{told}: the same state gives the same bytes");
        let planned = self.planned(&plan.out);
        differ(&told, &expected.plan, &planned);
        if self.random.chance(30) {
            let blind = self.kiln(&["plan", "--format", "json", "--no-probes"], mode, targets);
            self.compare_blind(&told, &expected, &blind.out);
        }
        assert!(self.project.tree() == tree, "{told}: a plan changes nothing");
        assert_eq!(self::state(&self.project), state, "{told}: a plan changes nothing in the state");
        let schedule = if self.random.chance(50) { "stages" } else { "eager" };
        let run = self.kiln(&["run", "-k", "-j3", "--schedule", schedule, "--events", "-"], mode, targets);
        let failed = expected.ended.values().any(|end| *end == "failed");
        assert_eq!(run.code, i32::from(failed), "{told}\n{}", run.err);
        self.compare_run(&told, &expected, &run.out);
        self.world = after;
        self.disk = self.world.disk.clone();
        self.compare_disk(&told);
    }

    /// Runs, and compares that with the oracle. Whether it was remembered that there was nothing to do.
    fn run_again(&mut self) -> bool {
        let wanted = model::wanted(&self.world.spec, &[], "smart");
        let told = format!("seed {}, edits {:?}", self.seed, self.edits);
        let Some((expected, after)) = self.world.run(&wanted, "smart") else {
            // With -k all would be built that does not need what is not there.
            let run = self.kiln(&["-v", "run", "-j3", "--events", "-"], "smart", &[]);
            assert_eq!(run.code, 2, "{told}\n{}", run.err);
            return false;
        };
        let run = self.kiln(&["-v", "run", "-k", "-j3", "--events", "-"], "smart", &[]);
        let failed = expected.ended.values().any(|end| *end == "failed");
        assert_eq!(run.code, i32::from(failed), "{told}\n{}", run.err);
        self.compare_run(&told, &expected, &run.out);
        self.world = after;
        self.disk = self.world.disk.clone();
        self.compare_disk(&told);
        run.err.contains("holds=true")
    }

    /// Each step of a plan with its action and its reasons, as the oracle would tell them.
    fn planned(&self, json: &str) -> BTreeMap<String, (&'static str, BTreeSet<Why>)> {
        let json: Value = serde_json::from_str(json).unwrap();
        let folder =
            |name: &str| self.world.spec.nodes.iter().any(|node| node.name == name && node.kind == Kind::Folder);
        let step = |step: &Value| {
            let why = |reason: &Value| {
                let text = |key: &str| reason[key].as_str().unwrap_or_default().to_owned();
                let (code, mut what, mut old, mut new) = (text("code"), text("what"), text("old"), text("new"));
                if code == "rebuild_age" {
                    assert!(old.ends_with('Z'), "{reason}");
                    (what, old) = (String::new(), String::new());
                } else if folder(&what) && code != "output_moved" && old.len() == 64 {
                    assert_ne!(old, new);
                    (old, new) = ("folder".to_owned(), "folder".to_owned());
                }
                (code, what, old, new)
            };
            let actions = ["build", "maybe", "skip"];
            let action = actions.into_iter().find(|action| step["action"] == *action).unwrap();
            let whys: Vec<_> = step["reasons"].as_array().unwrap().iter().map(why).collect();
            let set: BTreeSet<_> = whys.iter().cloned().collect();
            assert_eq!(set.len(), whys.len(), "no reason stands twice: {whys:?}");
            (step["id"].as_str().unwrap().to_owned(), (action, set))
        };
        // What is only told to be out of date is none of the wanted steps.
        let is_told = |step: &&Value| step["reasons"][0]["code"] == "rebuild_explicit";
        let (told, steps): (Vec<_>, Vec<_>) = json["steps"].as_array().unwrap().iter().partition(is_told);
        assert!(told.iter().all(|step| step["action"] == "skip"), "{told:?}");
        steps.into_iter().map(step).collect()
    }

    /// Without probes less is known, and nothing that is said is wrong.
    fn compare_blind(&self, told: &str, expected: &Expected, json: &str) {
        let blind = self.planned(json);
        assert!(blind.keys().eq(expected.plan.keys()), "{told}");
        for (name, (action, _)) in &expected.plan {
            let (said, whys) = &blind[name];
            assert!(
                said == action || *said == "maybe",
                "{told}: {name} is {action}, and without probes {said} {whys:?}"
            );
        }
    }

    fn compare_run(&self, told: &str, expected: &Expected, events: &str) {
        let events = lines(events);
        let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|event| event["type"] == kind).collect() };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut ended: BTreeMap<String, String> = BTreeMap::new();
        for event in of("step_ended") {
            assert!(ended.insert(text(&event["step"]), text(&event["outcome"])).is_none(), "{told}: {event}");
        }
        let started: BTreeSet<_> = of("step_started").iter().map(|event| text(&event["step"])).collect();
        assert!(started.iter().eq(ended.keys()), "{told}: what starts ends");
        for (kind, end) in [("step_current", "current"), ("step_skipped", "skipped")] {
            for event in of(kind) {
                assert!(ended.insert(text(&event["step"]), end.to_owned()).is_none(), "{told}: {event}");
            }
        }
        let want: BTreeMap<_, _> = expected.ended.iter().map(|(name, end)| (name.clone(), (*end).to_owned())).collect();
        differ(told, &want, &ended);
    }

    /// What is on disk is what the oracle says, and nothing besides.
    fn compare_disk(&self, told: &str) {
        let mut want: BTreeMap<String, String> = BTreeMap::new();
        for (path, content) in &self.world.disk {
            match content {
                Content::File(text) => drop(want.insert(path.clone(), text.clone())),
                Content::Folder(files) => {
                    want.extend(files.iter().map(|(name, text)| (format!("{path}/{name}"), text.clone())));
                }
            }
        }
        let files = self.project.tree().into_iter().filter(|(path, _)| !path.ends_with('/') && path != "pipeline.toml");
        differ(told, &want, &files.collect());
        let staging = fs::read_dir(self.project.path(".kiln/staging/p"));
        assert!(staging.map_or(0, Iterator::count) == 0, "{told}: nothing is left of what was staged");
    }

    /// Repairs all, builds all, builds nothing, and builds all from nothing elsewhere.
    fn finish(&mut self) {
        self.world.failing.clear();
        self.apply(&[]);
        let all = self.all();
        self.edits = vec!["repair"];
        self.check(&all, "smart");
        self.edits = vec!["none"];
        let wanted = model::wanted(&self.world.spec, &all, "smart");
        let (expected, _) = self.world.run(&wanted, "smart").unwrap();
        let restless = |rebuild| matches!(rebuild, Rebuild::Always | Rebuild::Old);
        let rests = !self.world.spec.recipes.iter().any(|recipe| restless(recipe.rebuild));
        assert!(!rests || expected.ended.is_empty(), "the oracle has rest");
        self.check(&all, "smart");
        self.compare_with_scratch(&all);
    }

    fn compare_with_scratch(&mut self, all: &[String]) {
        let mut world = self.world.clone();
        world.records.clear();
        for node in world.spec.nodes.iter().filter(|node| node.maker.is_some()) {
            world.disk.remove(&node.place());
        }
        world.disk.retain(|path, _| !path.starts_with("build/"));
        let mut scratch = Self::of(self.seed, world, Random(self.seed), self.vars);
        scratch.edits = vec!["from scratch"];
        scratch.check(all, "smart");
        // What is never built again keeps what it was once made from.
        let mut old: BTreeSet<usize> = BTreeSet::new();
        for recipe in &self.world.spec.recipes {
            if recipe.rebuild == Rebuild::Never || recipe.inputs.iter().any(|i| old.contains(i)) {
                old.extend(&recipe.outputs);
            }
        }
        for (i, node) in self.world.spec.nodes.iter().enumerate().filter(|(i, _)| !old.contains(i)) {
            let place = node.place();
            assert_eq!(self.world.disk.get(&place), scratch.world.disk.get(&place), "seed {}: {i} {place}", self.seed);
        }
    }
}

/// Two maps are equal, or what differs is told.
fn differ<T: PartialEq + std::fmt::Debug>(told: &str, want: &BTreeMap<String, T>, got: &BTreeMap<String, T>) {
    let names: BTreeSet<_> = want.keys().chain(got.keys()).collect();
    let differs = |name: &&String| want.get(*name) != got.get(*name);
    let all: Vec<_> = names.into_iter().filter(differs).collect();
    let line = |name: &&String| format!("{name}\n  oracle {:?}\n  kiln   {:?}", want.get(*name), got.get(*name));
    assert!(all.is_empty(), "{told}\n{}", all.iter().map(line).collect::<Vec<_>>().join("\n"));
}

fn write(project: &Project, path: &str, content: &Content) {
    match content {
        Content::File(text) => project.write(path, text),
        Content::Folder(files) => {
            remove(&project.path(path));
            files.iter().for_each(|(name, text)| project.write(&format!("{path}/{name}"), text));
        }
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

fn time(path: &Path, when: SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(when).unwrap();
}

fn touch_all(folder: &Path, when: SystemTime) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with(".kiln") {
            touch_all(&path, when);
        } else if path.is_file() {
            time(&path, when);
        }
    }
}

/// All files of the state with their sizes and times, less those that SQLite needs to read.
fn state(project: &Project) -> Vec<(String, u64, SystemTime)> {
    let mut all = Vec::new();
    let mut folders = vec![project.path(".kiln")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let (name, metadata) = (path.display().to_string(), path.metadata().unwrap());
            if metadata.is_dir() {
                folders.push(path);
            } else if !name.ends_with("-wal") && !name.ends_with("-shm") {
                all.push((name, metadata.len(), metadata.modified().unwrap()));
            }
        }
    }
    all.sort();
    all
}
