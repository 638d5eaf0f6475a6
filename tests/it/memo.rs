//! What is remembered of a run that found nothing to do: it spares work, and changes nothing that anybody can see.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::{Project, Said, copy, lines, started};

/// Two steps, one after the other, and a source that is reached through a link.
const PIPELINE: &str = r#"
[vars]
word = "x"
[dataset.source]
path = "in/source.txt"
[dataset.one]
path = "out/one.txt"
inputs = ["source"]
run = "cat {{ inputs.source }} code.sh >{{ output }}; echo {{ vars.word }} $REGION >>{{ output }}"
files = ["code.sh"]
env = { REGION = { env = "REGION" } }
[dataset.two]
path = "out/two.txt"
inputs = ["one"]
run = "cat {{ inputs.one }} >{{ output }}"
tags = ["end"]
"#;

/// The state of a file that is old enough to prove its content.
fn settle(path: &Path) {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

struct Bench(Project);

impl Bench {
    /// A project in which all is built, and that is remembered.
    fn new() -> Self {
        Self::of(PIPELINE)
    }

    fn of(pipeline: &str) -> Self {
        let mut project = Project::new(pipeline);
        project.variable("REGION", "north");
        project.write("real/source.txt", "1\n");
        project.write("real2/source.txt", "1\n");
        symlink("real", project.path("in")).unwrap();
        project.write("code.sh", "code\n");
        let bench = Self(project);
        for path in ["real/source.txt", "real2/source.txt", "code.sh", "pipeline.toml"] {
            settle(&bench.0.path(path));
        }
        bench.0.expect(0, &["run"]);
        bench
    }

    /// Runs until what is there proves what it is and that is remembered: a file that was written just now does not.
    fn remembered(&self) {
        for _ in 0..1_000 {
            if Self::knew(&self.run(&[])) {
                return;
            }
        }
        panic!("nothing is remembered");
    }

    fn run(&self, more: &[&str]) -> Said {
        self.0.expect(0, &[&["-v", "run", "--events", "-"], more].concat())
    }

    /// Whether a run knew beforehand that there was nothing to do.
    fn knew(said: &Said) -> bool {
        said.err.contains("there was nothing to do the last time holds=true")
    }

    /// After the change a run does what one does that remembers nothing: builds these steps, and then nothing.
    #[track_caller]
    fn builds(&self, steps: &[&str]) {
        let said = self.run(&[]);
        assert_eq!(started(&said.out), steps, "{}", said.err);
        assert!(!Self::knew(&said), "{}", said.err);
        assert_eq!(started(&self.run(&[]).out), [""; 0]);
        self.remembered();
    }
}

fn memos(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "memo")).collect()
}

/// Events without what differs from run to run.
fn plain(out: &str) -> Vec<Value> {
    let mut events = lines(out);
    for event in &mut events {
        let fields = event.as_object_mut().unwrap();
        for field in ["job", "at", "elapsed_ms", "pid"] {
            fields.remove(field);
        }
    }
    events
}

/// What was told to people, without what `-v` says besides.
fn notes(err: &str) -> Vec<&str> {
    err.lines().filter(|line| line.starts_with("note: ") || line.starts_with("warning: ")).collect()
}

#[test]
fn what_a_run_notes_is_noted_each_time() {
    let bench = Bench::of(&format!("{PIPELINE}[model.m]\ninputs = [\"two\"]\n"));
    let noted = ["note: not for this engine: m"];
    assert_eq!(notes(&bench.run(&[]).err), noted);
    bench.remembered();
    let said = bench.run(&[]);
    assert!(Bench::knew(&said), "{}", said.err);
    assert_eq!(notes(&said.err), noted);
    bench.0.write("code.sh", "other code\n");
    let said = bench.run(&[]);
    assert_eq!((started(&said.out), notes(&said.err)), (vec!["one".to_owned(), "two".to_owned()], noted.to_vec()));
}

#[test]
fn that_another_file_has_the_same_history_is_noted_each_time() {
    let bench = Bench::new();
    let project = &bench.0;
    let twin = "pipelines/twin.toml";
    project.write(twin, project.read("pipeline.toml"));
    settle(&project.path(twin));
    bench.remembered();
    for _ in 0..5 {
        for (file, other) in [(twin, "pipeline.toml"), ("pipeline.toml", twin)] {
            let said = bench.run(&["-f", file]).err;
            let other = project.path(other).canonicalize().unwrap();
            let expected = format!("is also that of the pipeline `p` in {}:", other.display());
            assert!(matches!(notes(&said)[..], [note] if note.contains(&expected)), "{file}: {said}");
        }
    }
}

#[test]
fn a_run_that_knew_is_like_one_that_looked() {
    let bench = Bench::new();
    bench.remembered();
    let mut looking = bench.0.command(&["run", "--events", "-"]);
    let looked = looking.env("KILN_NO_MEMO", "1").output().unwrap();
    let knew = bench.run(&[]);
    assert!(Bench::knew(&knew), "{}", knew.err);
    assert_eq!(notes(&knew.err), notes(&String::from_utf8(looked.stderr).unwrap()));
    let looked = String::from_utf8(looked.stdout).unwrap();
    assert_eq!(plain(&knew.out), plain(&looked));
    assert_eq!(plain(&knew.out).len(), 2, "{}", knew.out);
    let runs = bench.0.expect(0, &["jobs", "list", "--format", "json", "--limit", "2"]);
    let runs: Vec<Value> = serde_json::from_str(&runs.out).unwrap();
    for field in ["state", "current", "built", "engine", "mode", "targets", "by", "why"] {
        assert_eq!(runs[0][field], runs[1][field], "{field}");
    }
    assert_eq!(runs[0]["current"], 2);
    let text = |said: Said| said.out.lines().last().unwrap().to_owned();
    let knew = text(bench.0.expect(0, &["run"]));
    // How long that takes is the machine's affair.
    assert!(knew.starts_with("nothing to do · 2 up to date · "), "{knew}");
}

#[test]
fn whatever_changes_is_seen() {
    let mut bench = Bench::new();
    bench.remembered();
    let project = &bench.0;
    project.write("real/source.txt", "2\n");
    bench.builds(&["one", "two"]);
    project.write("code.sh", "edoc\n");
    bench.builds(&["one", "two"]);
    fs::remove_file(project.path("out/two.txt")).unwrap();
    bench.builds(&["two"]);
    project.write("out/one.txt", "spoilt\n");
    bench.builds(&["one"]);
    // The same size and the same time, in place and as another file.
    let source = project.path("real/source.txt");
    let time = source.metadata().unwrap().modified().unwrap();
    project.write("real/source.txt", "3\n");
    File::options().write(true).open(&source).unwrap().set_modified(time).unwrap();
    bench.builds(&["one", "two"]);
    project.write("real/new", "4\n");
    File::options().write(true).open(project.path("real/new")).unwrap().set_modified(time).unwrap();
    fs::rename(project.path("real/new"), &source).unwrap();
    bench.builds(&["one", "two"]);
    // Another folder behind the link, with another content of that name.
    fs::remove_file(project.path("in")).unwrap();
    symlink("real2", project.path("in")).unwrap();
    bench.builds(&["one", "two"]);
    project.pipeline(&PIPELINE.replace("word = \"x\"", "word = \"y\""));
    bench.builds(&["one", "two"]);
    bench.0.variable("REGION", "south");
    bench.builds(&["one", "two"]);
    bench.0.variable("OTHER", "whatever");
    assert!(Bench::knew(&bench.run(&[])), "a variable that nothing reads");
}

#[test]
fn a_file_that_becomes_something_else_is_seen() {
    let bench = Bench::new();
    bench.remembered();
    let two = bench.0.path("out/two.txt");
    fs::rename(&two, bench.0.path("away")).unwrap();
    symlink("/dev/null", &two).unwrap();
    let said = bench.0.kiln(&["-v", "run"]);
    assert!(!Bench::knew(&said) && said.code == 2, "{said:?}");
    fs::remove_file(&two).unwrap();
    fs::rename(bench.0.path("away"), &two).unwrap();
    bench.builds(&[]);
}

#[test]
fn other_requests_are_other_questions() {
    let bench = Bench::new();
    bench.remembered();
    for words in [&["two"][..], &["--var", "word=x"], &["--schedule", "eager"], &["-j", "7"], &["--mode", "missing"]] {
        assert!(!Bench::knew(&bench.run(words)), "{words:?}");
        assert!(Bench::knew(&bench.run(words)), "{words:?}");
    }
    let built = |words: &[&str]| started(&bench.run(words).out);
    assert_eq!(built(&["--mode", "forced"]), ["one", "two"]);
    assert_eq!(built(&["--mode", "forced"]), ["one", "two"]);
    assert_eq!(built(&["--var", "word=z"]), ["one", "two"]);
    assert_eq!(built(&["tag:end"]), ["one", "two"], "the records are those of another variable now");
}

#[test]
fn a_history_that_is_replaced_is_seen() {
    let bench = Bench::new();
    bench.remembered();
    let (state, kept) = (bench.0.path(".kiln"), bench.0.path("kept"));
    copy(&state, &kept);
    let restore = || {
        for file in ["kiln.db", "kiln.db-wal", "kiln.db-shm"] {
            drop(fs::remove_file(state.join(file)));
            drop(fs::copy(kept.join(file), state.join(file)));
        }
    };
    // What was built for another variable lies there, and the memo of it; then the old history comes back.
    bench.run(&["--var", "word=z"]);
    restore();
    let said = bench.run(&["--var", "word=z"]);
    assert_eq!(started(&said.out), ["one", "two"], "{}", said.err);
    restore();
    for file in ["kiln.db", "kiln.db-wal", "kiln.db-shm"] {
        drop(fs::remove_file(state.join(file)));
    }
    assert_eq!(started(&bench.run(&[]).out), ["one", "two"], "there is no history");
}

#[test]
fn records_that_change_from_elsewhere_are_seen() {
    let bench = Bench::new();
    bench.remembered();
    let spoil = "DELETE FROM keys WHERE step = 'two'";
    let store = bench.0.path(".kiln/kiln.db");
    let ok = std::process::Command::new("sqlite3").arg(store).arg(spoil).status().unwrap();
    assert!(ok.success());
    bench.builds(&["two"]);
    // Taken as built, in the meantime, for code that it was not built with.
    bench.0.write("code.sh", "other\n");
    bench.0.expect(0, &["adopt", "one"]);
    let said = bench.run(&[]);
    assert!(!Bench::knew(&said) && started(&said.out).is_empty(), "{}", said.err);
}

#[test]
fn what_a_run_left_behind_is_cleared_up_first() {
    let bench = Bench::new();
    bench.remembered();
    let left = ".kiln/staging/p/some_job/one/0/one.txt";
    bench.0.write(left, "half");
    bench.builds(&[]);
    assert!(!bench.0.exists(left));
}

#[test]
fn what_is_damaged_or_not_wanted_is_not_used() {
    let bench = Bench::new();
    bench.remembered();
    let folder = bench.0.path(".kiln/cache");
    let memo = || memos(&folder).remove(0);
    let bytes = fs::read(memo()).unwrap();
    for (i, damage) in [&bytes[..bytes.len() / 2], b"", b"something else"].into_iter().enumerate() {
        fs::write(memo(), damage).unwrap();
        assert!(!Bench::knew(&bench.run(&[])), "damage {i}");
        assert!(Bench::knew(&bench.run(&[])), "damage {i}: it is written anew");
    }
    let off = bench.0.command(&["-v", "run"]).env("KILN_NO_MEMO", "1").output().unwrap();
    assert!(!String::from_utf8(off.stderr).unwrap().contains("the last time"));
}

#[test]
fn only_the_newest_are_kept() {
    let bench = Bench::new();
    bench.remembered();
    for jobs in 10..22 {
        bench.run(&["-j", &jobs.to_string()]);
    }
    assert_eq!(memos(&bench.0.path(".kiln/cache")).len(), 8);
}

/// A comment so long that a file is worth an image.
fn long(text: &str) -> String {
    format!("{text}{}", "# A comment that makes the file long enough to be kept.\n".repeat(700))
}

/// Three ways from sources to one end: through a file, a folder, and what a tool prints.
const WAYS: &str = r#"
[dataset.s1]
path = "s1"
[dataset.s2]
path = "s2"
[dataset.a]
path = "out/a"
inputs = ["s1"]
run = "cat {{ inputs.s1 }} >{{ output }}"
[folder.f]
path = "out/f"
inputs = ["s2"]
run = "cp {{ inputs.s2 }} {{ output }}/f"
files = ["code.sh"]
[dataset.t]
path = "out/t"
run = "cat version >{{ output }}"
tools = { version = "cat version" }
[dataset.b]
path = "out/b"
inputs = ["a"]
run = "head -c 1 {{ inputs.a }} >{{ output }}"
env = { REGION = { env = "REGION" } }
[dataset.end]
path = "out/end"
inputs = ["b", "f", "t"]
run = "cat {{ inputs.b }} {{ inputs.f }}/f {{ inputs.t }} >{{ output }}"
[dataset.alone]
path = "out/alone"
inputs = ["s1"]
run = "cat {{ inputs.s1 }} >{{ output }}"
[dataset.other]
path = "out/other"
inputs = ["s2"]
run = "cat {{ inputs.s2 }} >{{ output }}"
"#;

/// How many steps a run looked at; none if at all.
fn looked_at(said: &Said) -> Option<usize> {
    let (_, rest) = said.err.split_once("only what has changed is looked at steps=")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// One change after the other, once with all that is remembered and once without any of it.
#[test]
fn a_run_that_looks_at_a_part_is_like_one_that_looks_at_all() {
    let projects = [false, true].map(|remembers| {
        let mut project = Project::new(&long(WAYS));
        project.variable("REGION", "north");
        if !remembers {
            project.variable("KILN_NO_MEMO", "1");
        }
        for (path, text) in [("s1", "1\n"), ("s2", "2\n"), ("code.sh", "code"), ("version", "v1")] {
            project.write(path, text);
        }
        settle(&project.path("pipeline.toml"));
        project
    });
    let [looks, remembers] = projects;
    let write = |path: &str, text: &str| [&looks, &remembers].iter().for_each(|project| project.write(path, text));
    let remove =
        |path: &str| [&looks, &remembers].iter().for_each(|project| fs::remove_file(project.path(path)).unwrap());
    let same = |change: &str, steps: &[&str]| {
        let [all, part] = [&looks, &remembers].map(|project| project.expect(0, &["-v", "run", "--events", "-"]));
        assert_eq!(started(&part.out), steps, "{change}: {}", part.err);
        assert_eq!(outcome(&part.out), outcome(&all.out), "{change}");
        assert_eq!(looked_at(&all), None, "{change}");
        assert!(!all.err.contains("the file's text is known"), "{change}");
        looked_at(&part)
    };
    same("nothing is there", &["a", "alone", "b", "end", "f", "other", "t"]);
    same("all is built", &[]);
    // The folder and the tool are looked at each time, and the end that needs them.
    let part = same("nothing changed", &[]);
    assert!(part.is_some_and(|steps| steps >= 3), "{part:?}");
    write("s1", "12\n");
    assert!(same("a source", &["a", "alone", "b"]).is_some(), "the end stays: its inputs come out the same");
    write("s1", "2\n");
    same("a source, to the end", &["a", "alone", "b", "end"]);
    write("code.sh", "edoc");
    same("code", &["f"]);
    write("out/f/more", "spoilt");
    same("a folder", &["f"]);
    write("version", "v2");
    same("a tool", &["end", "t"]);
    remove("out/b");
    same("an output is gone", &["b"]);
    write("out/other", "spoilt");
    same("an output is spoilt", &["other"]);
    remove("out/alone");
    write("s2", "3\n");
    same("two at once", &["alone", "end", "f", "other"]);
    same("nothing at last", &[]);
    for path in ["out/end", "out/alone", "out/other"] {
        assert_eq!(looks.read(path), remembers.read(path), "{path}");
    }
}

/// What a run built and why, in the order of names: what runs at once comes in any order.
fn outcome(out: &str) -> Vec<String> {
    let mut outcome = Vec::new();
    for event in lines(out) {
        match event["type"].as_str().unwrap() {
            "run_started" => {
                outcome.push(format!("{} up to date", event["up_to_date"]));
                for step in event["steps"].as_array().unwrap() {
                    outcome.push(format!(
                        "{} {} {} {} {}",
                        step["id"], step["stage"], step["action"], step["reasons"], step["place"]
                    ));
                }
            }
            "step_ended" => outcome.push(format!("{} {}", event["step"], event["outcome"])),
            _ => {}
        }
    }
    outcome.sort();
    outcome
}

#[test]
fn a_changed_leaf_is_all_that_is_looked_at() {
    let pair = |i: u32| {
        let source = format!("[dataset.s{i}]\npath = \"s{i}\"\n");
        let run = "run = \"cat {{ inputs }} >{{ output }}\"\n";
        format!("{source}[dataset.d{i}]\npath = \"out/d{i}\"\ninputs = [\"s{i}\"]\n{run}")
    };
    let text: String = (0..30).map(pair).collect();
    let project = Project::new(&long(&text));
    (0..30).for_each(|i| project.write(&format!("s{i}"), "1"));
    settle(&project.path("pipeline.toml"));
    project.expect(0, &["run"]);
    let run = || project.expect(0, &["-v", "run", "--events", "-"]);
    assert!((0..1_000).any(|_| Bench::knew(&run())));
    for round in 2..5 {
        project.write("s7", round.to_string());
        let said = run();
        assert_eq!(started(&said.out), ["d7"]);
        // What was written just now may be looked at once more.
        assert!(looked_at(&said).is_some_and(|steps| steps <= 2), "{}", said.err);
        assert!(said.err.contains("the file's text is known"), "{}", said.err);
    }
    // Another text, and all is looked at.
    project.pipeline(&long(&text).replace("cat {{ inputs }} >{{ output }}", "cat <{{ inputs }} >{{ output }}"));
    let said = run();
    assert_eq!(started(&said.out).len(), 30);
    assert!(looked_at(&said).is_none() && !said.err.contains("the file's text is known"), "{}", said.err);
    // What was built is remembered at once.
    project.write("s7", "7");
    let said = run();
    assert_eq!(started(&said.out), ["d7"]);
    assert!(looked_at(&said).is_some(), "{}", said.err);
}

#[test]
fn what_files_alone_cannot_prove_is_looked_at() {
    let cases = ["tools = { t = \"cat version\" }", "files = [\"lib/*.sh\"]", "rebuild = \"20h\"", "files = [\"lib\"]"];
    for case in cases {
        let text = format!("[dataset.a]\npath = \"a\"\nrun = \"date >{{{{ output }}}}\"\n{case}\n");
        let project = Project::new(&text);
        project.write("version", "1");
        project.write("lib/a.sh", "1");
        for path in ["version", "lib/a.sh", "pipeline.toml"] {
            settle(&project.path(path));
        }
        for _ in 0..3 {
            let said = project.expect(0, &["-v", "run"]);
            assert!(!Bench::knew(&said), "{case}: {}", said.err);
        }
    }
}
