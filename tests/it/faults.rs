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
            // What is left over is the next run's to take away; where all is in place, only what was set aside can still fail.
            Some(0) if point == "network" => assert!(said.contains("is on a network file system"), "{said}"),
            Some(0) => {
                let no_harm = ["discard", "publish.placed", "publish.remove", "recover.told", "tidy.remove"];
                assert!(no_harm.contains(&point.as_str()), "{said}");
            }
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

/// What a run says to which this happens.
fn struck(project: &Project, fault: &str, code: i32) -> String {
    let output = project.command(&["run"]).env("KILN_FAULT", fault).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn an_attempt_after_one_that_could_not_be_undone_puts_back_the_last_good_content() {
    let run = "run = 'if [ -e bad ]; then echo half >out; exit 1; fi; echo good >out'";
    let project = Project::new(&format!(
        "[dataset.out]\npath = \"out\"\nin_place = true\nretry = {{ max = 1, delay = \"1ms\" }}\nfiles = [\"code\"]\n{run}\n"
    ));
    project.write("code", "1");
    project.expect(0, &["run"]);
    project.write("code", "2");
    project.write("bad", "");
    let said = struck(&project, "put_back.remove=full@1", 1);
    assert!(said.contains("the next run has to tidy up") && said.contains("attempt 2/2"), "{said}");
    assert_eq!(project.read("out"), "good\n");
    fs::remove_file(project.path("bad")).unwrap();
    project.expect(0, &["run"]);
}

#[test]
fn what_cannot_be_removed_is_in_the_way_of_no_run() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nfiles = [\"code\"]\nrun = 'mkdir {{ output }}; echo a >{{ output }}/x; test ! -e bad'\n\
        [dataset.b]\npath = \"b\"\nrun = 'echo b >{{ output }}'\n",
    );
    project.write("code", "1");
    project.write("bad", "");
    let said = struck(&project, "discard=full", 1);
    assert!(said.contains("/.a-1-0: what a step left there cannot be removed"), "{said}");
    let left = |said: &str| said.matches("cannot be removed").count();
    assert_eq!(left(&said), 1, "{said}");
    let said = project.expect(0, &["jobs", "show", "last"]).out;
    assert_eq!(left(&said), 1, "{said}");
    fs::remove_file(project.path("bad")).unwrap();
    // The folder of the run is left with it, and cannot be removed either.
    let said = struck(&project, "discard=full", 0);
    assert_eq!((left(&said), said.contains("killed")), (1, false), "{said}");
    let said = project.expect(0, &["run"]);
    assert_eq!(left(&said.err), 0, "{}", said.err);
    assert!(!project.exists(".kiln/replaced"));
}

#[test]
fn a_writer_of_the_history_that_crashes_ends_the_run_with_all_that_goes_on() {
    for fault in ["store.commit=panic@2", "store.committed=panic@2"] {
        let project = Project::new("[task.t]\nrun = \"true\"\n[task.u]\nrun = \"true\"\n");
        let output = project.command(&["run", "-j2"]).env("KILN_FAULT", fault).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{fault}: {said}");
        assert!(said.contains("the writer of the history crashed: this is a bug in Kiln"), "{said}");
        // The next one goes on from there.
        project.pipeline("[task.t]\nrun = \"true\"\n");
        project.expect(0, &["run"]);
    }
}

/// Only what comes last could not be kept: nothing was stopped.
#[test]
fn a_run_that_is_done_when_the_disk_is_full_was_not_stopped() {
    let mut ended = 0;
    for time in 1..=4 {
        let project = Project::new("[task.t]\nrun = \"true\"\n");
        let mut command = project.command(&["run", "--junit", "report.xml"]);
        let output = command.env("KILN_FAULT", format!("store.commit=full@{time}")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let (done, kept) = ("the run has come to its end, but ", "what it did could be kept only now: ");
        let is_done = project.expect(0, &["jobs", "show", "last"]).out.contains("state    DONE");
        assert_eq!(said.contains(&format!("{done}{kept}")), is_done && output.status.code() == Some(3), "{said}");
        if said.contains(done) {
            assert!(project.read("report.xml").contains("errors=\"0\""));
            ended += 1;
        }
    }
    assert_eq!(ended, 1);
}

/// A record that is on disk is not to outlive what it is about, where nobody would find that out.
#[test]
fn that_outputs_are_in_place_is_flushed_where_it_would_not_heal() {
    let far = tempfile::tempdir_in("/dev/shm").unwrap();
    let far = ["--state", far.path().to_str().unwrap()];
    let never = "rebuild = \"never\"\n";
    let cases: [(&str, &[&str], bool); 4] =
        [("", &[], false), (never, &[], true), ("", &["--mode", "missing"], true), ("", &far, true)];
    for (more, options, flushed) in cases {
        let project = Project::new(&format!("[dataset.a]\npath = \"o/a\"\n{more}run = 'echo 1 >{{{{ output }}}}'\n"));
        let arguments = [&["run"], options].concat();
        let output = project.command(&arguments).env("KILN_FAULT", "publish.settle=full").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(i32::from(flushed)), "{said}");
        let why = "that o/a is in place could not be made durable: ";
        assert_eq!(said.contains(why) && said.contains(": No space left on device"), flushed, "{said}");
        project.expect(0, &arguments);
    }
}

/// What cannot be made durable of one step is nothing to another, and what stood there is told.
#[test]
fn one_step_fails_where_its_folder_cannot_be_flushed() {
    let far = tempfile::tempdir_in("/dev/shm").unwrap();
    let dataset =
        |name: &str| format!("[dataset.{name}]\npath = \"o{name}/{name}\"\nrun = 'echo 1 >{{{{ output }}}}'\n");
    let project = Project::new(&(dataset("a") + &dataset("b")));
    ["a", "b"].iter().for_each(|name| project.write(&format!("o{name}/{name}"), "mine\n"));
    let mut command = project.command(&["run", "-k", "--state", far.path().to_str().unwrap()]);
    // Whether they are put in place together or not, the root is flushed first.
    let output = command.env("KILN_FAULT", "publish.settle=full@2").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let failed = |name: &str| said.contains(&format!("that o{name}/{name} is in place could not be made durable: "));
    assert_ne!(failed("a"), failed("b"), "{said}");
    let name = if failed("a") { "a" } else { "b" };
    assert!(said.contains(&format!("what stood at o{name}/{name} is kept in .kiln/replaced/")), "{said}");
}
