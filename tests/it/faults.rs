//! The program fails at every point at which it can be made to: it dies, or is told that the disk is full. For a build
//! with the feature `failpoints`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::checker::{after_all, after_death, change, project};
use crate::support::{Project, copy};

/// So many times of a point are made to fail: the first ones.
const TIMES: u64 = 3;

/// A project whose first version is built, and whose source has changed since.
fn changed() -> Project {
    let project = project();
    change(&project, 1);
    project.expect(0, &["run", "-j1"]);
    after_all(&project);
    change(&project, 2);
    project
}

/// The points that a command comes to, and how often.
fn points(project: &Project, arguments: &[&str]) -> BTreeMap<String, u64> {
    let seen = project.path(".kiln/seen");
    let mut command = project.command(arguments);
    let output = command.env("KILN_FAULT_SEEN", &seen).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut points = BTreeMap::new();
    for point in fs::read_to_string(&seen).unwrap().lines() {
        *points.entry(point.to_owned()).or_default() += 1;
    }
    points
}

/// A copy, to be spoiled.
fn twin(project: &Project) -> Project {
    let twin = Project::empty();
    copy(&project.path(""), &twin.path(""));
    twin
}

/// Runs with a fault. What was shown, and how the program ended.
fn fail(project: &Project, fault: &str) -> (String, String, Option<i32>) {
    let mut command = project.command(&["run", "-j2", "--events", "-"]);
    let output = command.env("KILN_FAULT", fault).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

/// Every point, each time that is made to fail.
fn each(points: &BTreeMap<String, u64>) -> impl Iterator<Item = (&String, u64)> {
    points.iter().flat_map(|(point, times)| (1..=(*times).min(TIMES)).map(move |time| (point, time)))
}

#[test]
fn death_at_every_point() {
    let whole = changed();
    let points = points(&twin(&whole), &["run", "-j2"]);
    for point in ["aside.move", "flush", "publish.exchanged", "publish.place", "publish.remove", "store.committed"] {
        assert!(points.contains_key(point), "{point} is not come to: {points:?}");
    }
    println!("{points:?}");
    for (point, time) in each(&points) {
        println!("{point}=kill@{time}");
        let project = twin(&whole);
        let (shown, _, code) = fail(&project, &format!("{point}=kill@{time}"));
        assert_eq!(code, None, "it was to be killed at {point}");
        after_death(&project, &shown);
        project.expect(0, &["run", "-j2"]);
        after_all(&project);
    }
}

#[test]
fn death_while_a_death_is_cleared_up() {
    let whole = changed();
    for first in ["publish.place=kill@3", "aside.move=kill@1"] {
        let dead = twin(&whole);
        fail(&dead, first);
        let points = points(&twin(&dead), &["run", "-j2"]);
        let clears = ["recover", "tidy", "put_back", "publish", "store.commit"];
        for (point, time) in
            each(&points).filter(|(point, time)| *time < 3 && clears.iter().any(|part| point.starts_with(part)))
        {
            println!("{first}, {point}=kill@{time}");
            let project = twin(&dead);
            let (shown, _, _) = fail(&project, &format!("{point}=kill@{time}"));
            after_death(&project, &shown);
            project.expect(0, &["run", "-j2"]);
            after_all(&project);
        }
    }
}

#[test]
fn a_full_disk_at_every_point() {
    let whole = changed();
    let points = points(&twin(&whole), &["run", "-j2"]);
    for (point, time) in each(&points) {
        println!("{point}=full@{time}");
        let project = twin(&whole);
        let (shown, said, code) = fail(&project, &format!("{point}=full@{time}"));
        match code {
            // What is left over is the next run's to take away.
            Some(0) if point == "network" => assert!(said.contains("is on a network file system"), "{said}"),
            Some(0) => assert!(["publish.remove", "recover.told", "tidy.remove"].contains(&point.as_str()), "{said}"),
            Some(1 | 3) => assert!(said.contains("No space left"), "{point}: {said}"),
            code => panic!("{point}: {code:?}: {said}"),
        }
        if point.starts_with("store") {
            assert_eq!(code, Some(3), "{point}: {said}");
            assert!(said.contains("kiln.db"), "{said}");
        }
        after_death(&project, &shown);
        project.expect(0, &["run", "-j2"]);
        after_all(&project);
    }
}

#[test]
fn what_another_run_builds_before_the_lock_is_seen() {
    let text = "[vars]\nword = \"x\"\n[dataset.source]\npath = \"source\"\n\
        [dataset.copy]\npath = \"copy\"\ninputs = [\"source\"]\nrun = \"cat {{ inputs.source }} >{{ output }}\"\n\
        [dataset.word]\npath = \"word\"\nrun = \"echo {{ vars.word }} >{{ output }}\"\n";
    let project = Project::new(text);
    project.write("source", "1\n");
    let knew = |said: &str| said.contains("there was nothing to do the last time holds=true");
    assert!((0..1_000).any(|_| knew(&project.expect(0, &["-v", "run"]).err)), "nothing is remembered");
    project.write("source", "22\n");
    let mut command = project.command(&["-v", "run"]);
    let first = command.env("KILN_FAULT", "run.lock=stop").stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&first);
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");
    project.expect(0, &["run", "--var", "word=y"]);
    assert_eq!((project.read("copy"), project.read("word")), ("22\n".to_owned(), "y\n".to_owned()));
    kill_process(pid, Signal::CONT).unwrap();
    let output = first.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("only what has changed is looked at"), "{said}");
    assert_eq!((project.read("copy"), project.read("word")), ("22\n".to_owned(), "x\n".to_owned()));
}
