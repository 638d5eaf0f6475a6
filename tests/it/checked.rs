//! The checker itself: in a world that is spoiled in one way it finds just that, whatever else is sound.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};

use crate::checker::{after_all, after_death, change, project};
use crate::support::{Project, copy};

/// A project that was built, to be spoiled.
fn built() -> Project {
    let project = project();
    change(&project, 1);
    project.expect(0, &["run", "-j2"]);
    project
}

fn twin(project: &Project) -> Project {
    let twin = Project::empty();
    copy(&project.path(""), &twin.path(""));
    twin
}

fn sql(project: &Project, text: &str) {
    rusqlite::Connection::open(project.path(".kiln/kiln.db")).unwrap().execute_batch(text).unwrap();
}

/// What a check complains of.
#[track_caller]
fn complaint(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("the checker sees nothing");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap()
}

/// Spoils a twin, and wants a complaint with these words.
#[track_caller]
fn finds(whole: &Project, words: &str, check: impl FnOnce(&Project), spoil: impl FnOnce(&Project)) {
    let project = twin(whole);
    spoil(&project);
    let said = complaint(|| check(&project));
    assert!(said.contains(words), "wanted {words:?}: {said}");
}

fn at_death(project: &Project) {
    after_death(project, "");
}

#[test]
fn a_sound_world_is_sound() {
    let project = built();
    at_death(&project);
    after_all(&project);
}

#[test]
fn a_half_a_mixture_and_a_stale_output_are_found() {
    let whole = built();
    finds(&whole, "out/one is half", at_death, |project| project.write("out/one", "one 1\n"));
    // What is taken as built counts as done.
    let adopt = |project: &Project| drop(project.expect(0, &["adopt", "split", "one", "charts", "place"]));
    finds(&whole, "split counts as done", at_death, |project| {
        project.write("out/test", "test 0\nend\n");
        adopt(project);
    });
    finds(&whole, "charts counts as done", at_death, |project| {
        project.write("out/charts/b-0", "charts 0\nend\n");
        adopt(project);
    });
    finds(&whole, "place counts as done", at_death, |project| {
        project.write("out/place", "place 0\nplace 1\nend\n");
        adopt(project);
    });
    finds(&whole, "one", after_all, |project| project.write("out/one", "one 0\nend\n"));
    finds(&whole, "charts", after_all, |project| fs::remove_dir_all(project.path("out/charts")).unwrap());
}

#[test]
fn what_was_shown_and_is_lost_is_found() {
    let whole = built();
    let events = whole.expect(0, &["jobs", "show", "last", "--format", "json"]).out;
    let lines: Vec<&str> = events.lines().collect();
    after_death(&whole, &events);
    after_death(&whole, &events[..events.len() - 10]);
    let swapped = [lines[0], lines[2], lines[1]].join("\n") + "\n";
    complaint(|| after_death(&whole, &swapped));
    let job = lines[0].split("\"job\":\"").nth(1).unwrap().split('"').next().unwrap();
    sql(&whole, &format!("DELETE FROM events WHERE job = '{job}' AND seq = 3"));
    complaint(|| after_death(&whole, &events));
}

#[test]
fn work_that_was_doubled_or_began_too_early_is_found() {
    let whole = built();
    let told = |spoil: fn(&str) -> String| move |project: &Project| project.write("told", spoil(&project.read("told")));
    let doubled = told(|text| {
        let begin = text.lines().find(|line| line.starts_with("begin-one")).unwrap();
        format!("{text}{begin}\n")
    });
    finds(&whole, "twice", after_all, doubled);
    let early =
        told(|text| text.lines().filter(|line| !line.starts_with("end-one")).map(|line| format!("{line}\n")).collect());
    finds(&whole, "had ended", after_all, early);
}

#[test]
fn what_is_left_over_is_found() {
    let whole = built();
    let staged = |project: &Project| project.write(".kiln/staging/p/run/one/0/one", "half");
    finds(&whole, "something staged is left over", after_all, staged);
    // Nobody holds the lock of that run.
    finds(&whole, "ABORTED", after_all, |project| sql(project, "UPDATE runs SET state = 'RUNNING'"));
    finds(&whole, "ABORTED", after_all, |project| sql(project, "UPDATE runs SET state = 'ABORTED'"));
    let index = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'asked)', 'host)')
                 WHERE name = 'runs_asked'";
    finds(&whole, "", after_all, |project| sql(project, index));
    let mut process = None;
    finds(&whole, "sleep 1000", after_all, |project| {
        let mut sleep = Command::new("sleep");
        process = Some(sleep.arg("1000").current_dir(project.path("")).stdout(Stdio::null()).spawn().unwrap());
    });
    let mut process = process.unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
}
