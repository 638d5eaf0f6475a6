//! Kiln is killed at a moment that a recipe chooses: nothing good is lost, nothing half is seen, and the next run goes on
//! by itself.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};

use serde_json::Value;

use crate::support::{Project, started};

/// What a recipe does when it has got to where it is to wait: it says so and waits for the end of the test. It holds
/// nothing that it could still write.
pub(crate) const WAIT: &str = "exec 3<.kiln/gate; echo up >.kiln/up; exec cat <&3";

/// A recipe that waits as long as there is a file `block/NAME`, after it has done `half`, and otherwise does `whole`.
fn waits(name: &str, half: &str, whole: &str) -> String {
    format!("run = '''echo {name} >>ran; if [ -e block/{name} ]; then {half}; {WAIT}; fi; {whole}'''\n")
}

/// A project with the pipes on which a recipe says where it is, and waits.
pub(crate) fn project(text: &str) -> Project {
    let project = Project::new(text);
    std::fs::create_dir(project.path(".kiln")).unwrap();
    let pipes = [project.path(".kiln/up"), project.path(".kiln/gate")];
    assert!(Command::new("mkfifo").args(pipes).status().unwrap().success());
    project.write("src", "1");
    project
}

/// Starts a run, waits until all of `done` are shown as built and a recipe waits, and kills Kiln.
pub(crate) fn kill_when_waiting(project: &Project, arguments: &[&str], done: &[&str]) {
    let gate = File::options().read(true).write(true).open(project.path(".kiln/gate")).unwrap();
    let mut kiln = project.start(&[&["run", "--events", "-"], arguments].concat());
    let mut up = String::new();
    File::open(project.path(".kiln/up")).unwrap().read_to_string(&mut up).unwrap();
    assert_eq!(up, "up\n");
    see_built(&mut kiln, done);
    kiln.kill().unwrap();
    kiln.wait().unwrap();
    project.settled();
    drop(gate); // should the recipe have outlived Kiln, it ends now
}

/// Waits until the run is in the history, and these steps are built.
fn see_built(kiln: &mut Child, done: &[&str]) {
    let mut left: Vec<&str> = done.to_vec();
    let mut lines = BufReader::new(kiln.stdout.as_mut().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("run_started"));
    while !left.is_empty() {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        left.retain(|step| event["type"] != "step_ended" || event["step"] != *step);
    }
}

fn jobs(project: &Project) -> Vec<Value> {
    serde_json::from_str(&project.expect(0, &["jobs", "list", "--format", "json"]).out).unwrap()
}

/// Runs to the end, and gives what was started.
#[track_caller]
fn go_on(project: &Project, arguments: &[&str]) -> Vec<String> {
    let run = started(&project.expect(0, &[&["run", "--events", "-"], arguments].concat()).out);
    assert!(!project.exists(".kiln/staging/p") || project.path(".kiln/staging/p").read_dir().unwrap().count() == 0);
    run
}

fn dataset(name: &str, inputs: &str, make: &str) -> String {
    format!("[dataset.{name}]\npath = \"build/{name}\"\ninputs = [{inputs}]\n{make}")
}

const SOURCE: &str = "[dataset.src]\npath = \"src\"\n";

#[test]
fn what_was_done_is_not_done_again() {
    let write = |name: &str| waits(name, "echo half >\"$KILN_OUTPUT\"", &format!("echo {name} >\"$KILN_OUTPUT\""));
    let [a, b, c] =
        [("a", "\"src\""), ("b", "\"a\""), ("c", "\"b\"")].map(|(name, in_)| dataset(name, in_, &write(name)));
    let project = project(&format!("{SOURCE}{a}{b}{c}"));
    project.write("block/b", "");
    kill_when_waiting(&project, &[], &["a"]);
    assert!(!project.exists("build/b"), "nothing half");
    assert_eq!(jobs(&project)[0]["state"], "ABORTED", "its process is gone, whoever asks");
    std::fs::remove_file(project.path("block/b")).unwrap();
    project.write("block/c", "");
    kill_when_waiting(&project, &[], &["b"]);
    std::fs::remove_file(project.path("block/c")).unwrap();
    let died = jobs(&project)[0]["end"].clone();
    assert_eq!(go_on(&project, &[]), ["c"]);
    assert_eq!(project.read("ran"), "a\nb\nb\nc\nc\n");
    assert_eq!(["a", "b", "c"].map(|name| project.read(&format!("build/{name}"))), ["a\n", "b\n", "c\n"]);
    let jobs = jobs(&project);
    let told = |job: &Value| (job["state"].to_string(), job["built"].as_u64(), job["stopped"].as_u64());
    let want = [("DONE", 1, 0), ("ABORTED", 1, 1), ("ABORTED", 1, 1)];
    let want = want.map(|(state, built, stopped)| (format!("{state:?}"), Some(built), Some(stopped)));
    assert_eq!(jobs.iter().map(told).collect::<Vec<_>>(), want);
    assert!(jobs[1]["why"].as_str().unwrap().contains("without a last word"), "{}", jobs[1]);
    assert!(
        died.is_string() && jobs[1]["end"] == died,
        "it ended when it died, not when that was told: {died} {}",
        jobs[1]
    );
    let show = project.expect(0, &["jobs", "show", jobs[1]["id"].as_str().unwrap()]);
    assert!(show.out.contains("ABORTED"), "{}", show.out);
    assert_eq!(go_on(&project, &[]), [] as [&str; 0]);
}

/// Builds once, changes the source, kills Kiln in the middle of the second build, and gives the tree before and after.
fn killed_in_the_second_build(project: &Project, step: &str) -> [Vec<(String, String)>; 2] {
    assert_eq!(go_on(project, &[]), [step]);
    project.write("src", "2");
    project.write(&format!("block/{step}"), "");
    let outputs = || project.tree().into_iter().filter(|(path, _)| path.starts_with("build")).collect();
    let before = outputs();
    kill_when_waiting(project, &[], &[]);
    std::fs::remove_file(project.path(&format!("block/{step}"))).unwrap();
    [before, outputs()]
}

#[test]
fn of_two_outputs_none_is_half_done() {
    let half = "echo new >{{ outputs.a }}; echo ha >{{ outputs.b }}";
    let whole = "cat {{ inputs.src }} >{{ outputs.a }}; cat {{ inputs.src }} >{{ outputs.b }}";
    let nodes = "[dataset.a]\npath = \"build/a\"\n[dataset.b]\npath = \"build/deep/b\"\n";
    let recipe = format!("[recipe.both]\ninputs = [\"src\"]\noutputs = [\"a\", \"b\"]\n{}", waits("both", half, whole));
    let project = project(&format!("{SOURCE}{nodes}{recipe}"));
    let [before, after] = killed_in_the_second_build(&project, "both");
    assert_eq!(before, after);
    assert_eq!(go_on(&project, &[]), ["both"]);
    assert_eq!([project.read("build/a"), project.read("build/deep/b")], ["2", "2"]);
}

#[test]
fn a_folder_is_old_or_new() {
    let whole = "cat {{ inputs.src }} >{{ output }}/x; mkdir {{ output }}/in; cp {{ output }}/x {{ output }}/in/y";
    let recipe = waits("f", "echo new >{{ output }}/x; mkdir {{ output }}/other", whole);
    let project = project(&format!("{SOURCE}[folder.f]\npath = \"build/f\"\ninputs = [\"src\"]\n{recipe}"));
    let [before, after] = killed_in_the_second_build(&project, "f");
    assert_eq!(before, after);
    assert_eq!(go_on(&project, &[]), ["f"]);
    assert_eq!([project.read("build/f/x"), project.read("build/f/in/y")], ["2", "2"]);
    assert!(!project.exists("build/f/other"));
}

#[test]
fn what_is_written_in_place_is_put_back_by_the_next_run_whatever_it_builds() {
    let nodes =
        "[dataset.a]\npath = \"build/a\"\n[folder.f]\npath = \"build/f\"\n[dataset.late]\npath = \"build/late\"\n";
    let half = "echo ha >{{ outputs.a }}; mkdir -p {{ outputs.f }}; echo ha >{{ outputs.f }}/half";
    let whole =
        "for o in {{ outputs.a }} {{ outputs.f }}/x; do cat {{ inputs.src }} >$o; done; echo >{{ outputs.late }}";
    let outputs = "inputs = [\"src\"]\noutputs = [\"a\", \"f\", \"late\"]\nin_place = true\n";
    let recipe = format!("[recipe.both]\n{outputs}{}", waits("both", half, whole));
    let other = "[task.other]\nrun = \"true\"\n";
    let project = project(&format!("{SOURCE}{nodes}{recipe}"));
    let [before, after] = killed_in_the_second_build(&project, "both");
    assert_ne!(before, after, "it writes to the place itself");
    project.pipeline(&format!("{SOURCE}{nodes}{recipe}{other}"));
    assert_eq!(go_on(&project, &["other"]), ["other"]);
    let now: Vec<_> = project.tree().into_iter().filter(|(path, _)| path.starts_with("build")).collect();
    assert_eq!(now, before, "the last good outputs are back");
    assert_eq!(go_on(&project, &[]), ["both"]);
    assert_eq!([project.read("build/a"), project.read("build/f/x")], ["2", "2"]);
    assert!(!project.exists("build/f/half"));
}

#[test]
fn a_plan_sees_what_the_next_run_puts_back() {
    let make = format!("in_place = true\n{}", waits("a", "echo ha >\"$KILN_OUTPUT\"", "cat src >\"$KILN_OUTPUT\""));
    let other = dataset("b", "", "run = 'echo b >{{ output }}'\n");
    let project = project(&format!("{SOURCE}{}{other}", dataset("a", "\"src\"", &make)));
    assert_eq!(go_on(&project, &["-j", "1"]), ["a", "b"]);
    project.write("block/a", "");
    // With the end of `b` the history has all that was before it: also that `a` has begun.
    kill_when_waiting(&project, &["--mode", "forced", "-j", "2"], &["b"]);
    assert_eq!(project.read("build/a"), "ha\n");
    let before = project.tree();
    let plan = project.expect(1, &["plan", "--check"]);
    assert!(plan.out.contains("2 up to date"), "{}", plan.out);
    assert!(!plan.out.contains("goes on"), "{}", plan.out);
    let says = "a run was killed while `a` was written in place; the next run first puts its last good content back";
    assert!(plan.out.contains(says), "{}", plan.out);
    assert!(project.expect(0, &["why", "a"]).out.contains(says));
    let why: Value = serde_json::from_str(&project.expect(0, &["why", "a", "--format", "json"]).out).unwrap();
    let run = (&why["runs"][0]["state"], &why["runs"][0]["why"]);
    assert_eq!(run, (&"stopped".into(), &"ended without a last word".into()), "its process is gone");
    let json: Value = serde_json::from_str(&project.expect(0, &["plan", "--format", "json"]).out).unwrap();
    assert_eq!(json["put_back"], serde_json::json!([{ "output": "a", "last_good": true }]));
    assert_eq!(project.tree(), before, "it only looks");
    let run = project.expect(0, &["run"]);
    assert_eq!(run.err, "note: restored `a`: a run was killed while it was written in place\n");
    assert!(run.out.contains("nothing to do · 2 up to date"), "{}", run.out);
    assert_eq!(project.read("build/a"), "1");
    let plan = project.expect(0, &["plan", "--check"]);
    assert!(!plan.out.contains("killed"), "{}", plan.out);
}

/// Makes the last run one that died when it was about to put `a` in place. What was built before is in `old.keys`.
const DIED: &str = "
    INSERT INTO publishing (pipeline, step, job, attempt, took_ms, record, staged)
        SELECT pipeline, step, job, 1, 5, json_object('key', key, 'parts', json(parts), 'outputs', json(outputs)),
               json_array(json_object('from', '.kiln/staging/p/x/a-1-0/a', 'to', 'build/a',
                                      'digest', json_extract(outputs, '$[0].digest'),
                                      'stood', (SELECT json_extract(outputs, '$[0].digest') FROM old.keys WHERE step = 'a')))
        FROM keys WHERE step = 'a' AND job = (SELECT max(job) FROM runs);
    DELETE FROM keys WHERE step = 'a';
    INSERT INTO keys SELECT * FROM old.keys WHERE step = 'a';
    DELETE FROM events WHERE job = (SELECT max(job) FROM runs) AND type IN ('step_ended', 'run_ended');
    UPDATE runs SET state = 'RUNNING', ended = NULL WHERE job = (SELECT max(job) FROM runs)";

fn sqlite(project: &Project, what: &str) -> Vec<u8> {
    let with = format!("ATTACH '{}' AS old; {what}", project.path("old.db").display());
    let output = Command::new("sqlite3").arg(project.path(".kiln/kiln.db")).arg(with).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// A project in which `a` was built from `1` and again from `2`, and Kiln died before that was in place; and the id of that run.
fn died_before_it_was_in_place() -> (Project, String) {
    let make = "run = 'cat {{ inputs.src }} >{{ output }}'\n";
    let [a, other] = ["a", "other"].map(|name| dataset(name, "\"src\"", make));
    let project = project(&format!("{SOURCE}{a}{other}"));
    assert_eq!(go_on(&project, &["a"]), ["a"]);
    sqlite(&project, "CREATE TABLE old.keys AS SELECT * FROM main.keys");
    project.write("src", "2");
    assert_eq!(go_on(&project, &["a"]), ["a"]);
    sqlite(&project, DIED);
    project.write(".kiln/staging/p/x/a-1-0/a", "2");
    project.write("build/a", "1");
    let job = jobs(&project)[0]["id"].as_str().unwrap().to_owned();
    (project, job)
}

#[test]
fn a_plan_sees_what_the_next_run_puts_in_place() {
    let (project, _) = died_before_it_was_in_place();
    let before = project.tree();
    let plan = project.expect(1, &["plan", "a", "--check"]);
    assert!(plan.out.contains("1 up to date"), "{}", plan.out);
    let says = "a run was killed while `a` was put in place; the next run first puts it there\n";
    assert!(plan.out.contains(says), "{}", plan.out);
    assert!(project.expect(0, &["why", "a"]).out.contains(says));
    let json: Value = serde_json::from_str(&project.expect(0, &["plan", "--format", "json"]).out).unwrap();
    assert_eq!(json["put_back"], serde_json::json!([{ "output": "a", "last_good": false, "complete": true }]));
    assert_eq!(project.tree(), before, "a plan changes nothing");
    let run = project.expect(0, &["run", "a"]);
    assert_eq!(run.err, "note: finished `a`: a run was killed while it was put in place\n");
    assert!(run.out.contains("nothing to do · 1 up to date"), "{}", run.out);
    assert_eq!(project.read("build/a"), "2");
    assert!(!project.exists(".kiln/replaced"), "what Kiln has built is its own to replace");
    let states: Vec<_> = jobs(&project).iter().map(|job| job["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["DONE", "ABORTED", "DONE"]);
    let age = sqlite(&project, "SELECT built_at = ended FROM main.keys JOIN runs USING (job) WHERE step = 'a'");
    assert_eq!(age, b"1\n", "it is as old as the run that built it");
    let plan = project.expect(0, &["plan", "a", "--check"]);
    assert!(!plan.out.contains("killed"), "{}", plan.out);
}

#[test]
fn what_was_changed_before_it_is_put_in_place_is_kept_and_not_adopted() {
    let (project, job) = died_before_it_was_in_place();
    project.write("build/a", "by hand\n");
    project.write("build/other", "by hand\n");
    let kept = format!(".kiln/replaced/{job}/build/a");
    let before = project.tree();
    let says = format!(
        "a run was killed while `a` was put in place; the next run first moves what is there to {kept} and puts"
    );
    assert!(project.expect(1, &["plan", "a", "--check"]).out.contains(&says));
    // Nothing that was named counts as built.
    let left = format!(" a was put in place: `kiln run` first moves what is there to {kept} and puts it there\n");
    for (code, arguments) in [(4, &["adopt", "a", "-n"][..]), (4, &["adopt", "a"]), (0, &["adopt"])] {
        let said = project.expect(code, arguments).out;
        assert!(said.contains(&left), "{said}");
        assert_eq!(project.tree(), before, "no output is changed");
    }
    assert!(project.expect(0, &["plan", "other"]).out.contains("1 up to date"), "it was adopted");
    assert!(project.expect(1, &["plan", "a", "--check"]).out.contains(&says), "also behind what was adopted");
    let said = project.expect(0, &["run"]).err;
    let done =
        format!("note: finished `a`: a run was killed while it was put in place; what stood there is kept in {kept}\n");
    assert_eq!(said, done);
    assert_eq!((project.read("build/a").as_str(), project.read(&kept).as_str()), ("2", "by hand\n"));
    project.expect(0, &["plan", "--check"]);
}

#[test]
fn a_plan_does_not_count_on_what_is_gone() {
    for (there, staged, why) in [
        (None, None, "output missing: a"),
        (Some("2 and more"), None, "output changed: a"),
        // As after an exchange: what is staged is the old content.
        (Some("2 and more"), Some("1"), "output changed: a"),
    ] {
        let (project, _) = died_before_it_was_in_place();
        std::fs::remove_dir_all(project.path(".kiln/staging")).unwrap();
        std::fs::remove_file(project.path("build/a")).unwrap();
        if let Some(there) = there {
            project.write("build/a", there);
        }
        if let Some(staged) = staged {
            project.write(".kiln/staging/p/x/a-1-0/a", staged);
        }
        let plan = project.expect(1, &["plan", "a", "--check"]).out;
        assert!(plan.contains("build  a") && plan.contains(why) && !plan.contains("killed"), "{plan}");
        assert_eq!(go_on(&project, &["a"]), ["a"]);
        assert_eq!(project.read("build/a"), "2");
        project.expect(0, &["plan", "a", "--check"]);
    }
}

#[test]
fn what_was_begun_in_place_for_the_first_time_is_taken_away() {
    let half = "echo ha >\"$KILN_OUTPUT\"";
    let make = format!("in_place = true\n{}", waits("a", half, "cat src >\"$KILN_OUTPUT\""));
    let project = project(&format!("{SOURCE}{}[task.other]\nrun = \"true\"\n", dataset("a", "\"src\"", &make)));
    project.write("block/a", "");
    kill_when_waiting(&project, &["a"], &[]);
    std::fs::remove_file(project.path("block/a")).unwrap();
    assert_eq!(project.read("build/a"), "ha\n");
    let plan = project.expect(0, &["plan"]);
    assert!(plan.out.contains("the next run first takes away what is there"), "{}", plan.out);
    let said = project.expect(0, &["run", "other"]).err;
    assert_eq!(said, "note: took away what there was of `a`: a run was killed while it was written in place\n");
    assert!(!project.exists("build/a"));
    assert_eq!(go_on(&project, &[]), ["a"]);
    assert_eq!(project.read("build/a"), "1");
}

#[test]
fn what_was_being_written_in_place_is_not_adopted() {
    let make = format!("in_place = true\n{}", waits("a", "echo ha >\"$KILN_OUTPUT\"", "cat src >\"$KILN_OUTPUT\""));
    let reader = dataset("b", "\"a\"", "run = 'cat {{ inputs.a }} >{{ output }}'\n");
    let project = project(&format!("{SOURCE}{}{reader}", dataset("a", "\"src\"", &make)));
    project.write("block/a", "");
    kill_when_waiting(&project, &["a"], &[]);
    let adopted = |arguments: &[&str]| {
        let before = project.tree();
        let said = project.kiln(&[&["adopt"], arguments].concat()).out;
        assert_eq!(project.tree(), before, "no output is touched");
        said
    };
    project.write("build/a", "by hand\n");
    let says = "  left  a  a run was killed while a was written in place: `kiln run` first moves what is there to .kiln/replaced/";
    for arguments in [&["a", "-n"][..], &["a"], &["a", "-n"]] {
        let said = adopted(arguments);
        assert!(said.contains(says), "{said}");
    }
    std::fs::remove_file(project.path("block/a")).unwrap();
    assert_eq!(go_on(&project, &[]), ["a", "b"]);
    // There is a last good content now, made from another input.
    project.write("src", "2");
    project.write("block/a", "");
    kill_when_waiting(&project, &[], &[]);
    project.write("build/a", "by hand\n");
    let says = "/build/a and puts its last good content back\n";
    for arguments in [&["a", "-n"][..], &["a"], &[]] {
        let said = adopted(arguments);
        assert!(said.contains(says), "{said}");
    }
    let plan = project.expect(0, &["plan", "a"]).out;
    assert!(plan.contains("input changed: src"), "nothing counts as built from it: {plan}");
    std::fs::remove_file(project.path("block/a")).unwrap();
    assert_eq!(go_on(&project, &[]), ["a", "b"]);
    assert_eq!(project.read("build/b"), "2");
}

#[test]
fn what_a_run_that_died_moved_away_is_kept_and_told() {
    let whole = "an input is gone, and what was written is kept in";
    let part = "files of an input are gone, and what was written is kept in";
    for (how, kind, moves, told) in [
        ("", "dataset", "mv in/s {{ output }}", whole),
        ("in_place = true\n", "dataset", "mkdir -p build; mv in/s build/a", whole),
        ("", "folder", "mv in/s/*.csv {{ output }}/", part),
        ("in_place = true\n", "folder", "mkdir -p build/a; mv in/s/*.csv build/a/", part),
    ] {
        let made = waits("a", moves, "echo >>ran; exit 1");
        let project = project(&format!(
            "[{kind}.s]\npath = \"in/s\"\n[{kind}.a]\npath = \"build/a\"\ninputs = [\"s\"]\n{how}{made}\
            [task.other]\nrun = \"true\"\n"
        ));
        let file = if kind == "folder" { "/p.csv" } else { "" };
        project.write(&format!("in/s{file}"), "precious\n");
        project.write("block/a", "");
        kill_when_waiting(&project, &["a"], &[]);
        std::fs::remove_file(project.path("block/a")).unwrap();
        let job = jobs(&project)[0]["id"].as_str().unwrap().to_owned();
        let kept = format!(".kiln/replaced/{job}/build/a");
        // In a dataset's case it cannot begin: nothing may be lost by that either.
        let code = if kind == "folder" { 1 } else { 2 };
        let said = project.expect(code, &["run", "a"]).err;
        assert_eq!(project.read(&format!("{kept}{file}")), "precious\n", "{said}");
        assert!(said.contains(&format!("`a`: {told} {kept}")), "{said}");
        assert!(!project.exists("build/a"), "{how}{kind}");
        let shown = project.expect(0, &["jobs", "show", &job]).out;
        assert!(shown.contains(&format!("{told} {kept}")), "{shown}");
        assert!(!project.expect(0, &["run", "other"]).err.contains("kept in"), "it is told once");
    }
}

/// Whatever the file says by now, and whatever stands where the input was.
#[test]
fn what_was_moved_is_kept_however_the_file_was_mended_since() {
    let text = |name: &str, how: &str, made: &str| {
        format!(
            "[dataset.s]\npath = \"in/s\"\n[dataset.{name}]\npath = \"build/a\"\ninputs = [\"s\"]\n{how}{made}\
            [task.other]\nrun = \"true\"\n"
        )
    };
    let unknown = "the file does not have this step any more, and what was written";
    for (how, moves) in [("", "mv in/s {{ output }}"), ("in_place = true\n", "mkdir -p build; mv in/s build/a")] {
        for mended in ["input", "renamed", "removed"] {
            let project = project(&text("a", how, &waits("a", moves, "exit 1")));
            project.write("in/s", "precious\n");
            project.write("block/a", "");
            kill_when_waiting(&project, &["a"], &[]);
            let job = jobs(&project)[0]["id"].as_str().unwrap().to_owned();
            match mended {
                "input" => project.write("in/s", ""),
                "renamed" => project.pipeline(&text("b", how, "run = \"cp {{ inputs.s }} {{ output }}\"\n")),
                _ => project.pipeline("[task.other]\nrun = \"true\"\n"),
            }
            let said = project.expect(0, &["run", "other"]).err;
            let mut found = Command::new("grep");
            let found = found.args(["-rlx", "precious", ".kiln/replaced"]).current_dir(project.path("")).output();
            let found = String::from_utf8(found.unwrap().stdout).unwrap();
            let told = if mended == "input" { "what it had moved to its output" } else { unknown };
            assert!(found.starts_with(&format!(".kiln/replaced/{job}/")), "{how}{mended}: {said}");
            assert!(said.contains(&format!("`a`: {told} is kept in .kiln/replaced/{job}/")), "{said}{found}");
        }
    }
}

/// Two outputs, and Kiln died between the one and the other.
#[cfg(feature = "failpoints")]
#[test]
fn outputs_that_are_half_in_place_are_finished_whatever_was_changed_since() {
    for (mine_a, mine_b) in [(false, true), (true, false), (true, true)] {
        let project = Project::new(
            "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"o/a\"\n[dataset.b]\npath = \"o/b\"\n\
            [task.other]\nrun = \"true\"\n[recipe.ab]\ninputs = [\"s\"]\noutputs = [\"a\", \"b\"]\n\
            run = 'cp s {{ outputs.a }}; cp s {{ outputs.b }}'\n",
        );
        project.write("s", "1");
        project.expect(0, &["run", "ab"]);
        project.write("s", "2");
        let died = project.command(&["run", "ab"]).env("KILN_FAULT", "publish.place=kill@2").output().unwrap();
        assert_eq!(died.status.code(), None);
        assert_eq!((project.read("o/a").as_str(), project.read("o/b").as_str()), ("2", "1"));
        if mine_a {
            project.write("o/a", "mine a");
        }
        if mine_b {
            project.write("o/b", "mine b");
        }
        let job = jobs(&project)[0]["id"].as_str().unwrap().to_owned();
        let kept = format!(".kiln/replaced/{job}/o/b");
        let plan = project.expect(0, &["plan", "ab"]).out;
        let moves = if mine_b { format!("moves what is there to {kept} and ") } else { String::new() };
        let then = format!("while `b` was put in place; the next run first {moves}puts it there\n");
        assert!(plan.contains(&then), "{plan}");
        assert_eq!(plan.contains("output changed: a"), mine_a, "{plan}");
        project.expect(0, &["run", "other"]);
        let a = if mine_a { "mine a" } else { "2" };
        assert_eq!((project.read("o/a").as_str(), project.read("o/b").as_str()), (a, "2"));
        assert_eq!(mine_b.then(|| project.read(&kept)).as_deref(), mine_b.then_some("mine b"));
        let again = project.expect(0, &["run", "ab"]).out;
        assert_eq!(again.contains("nothing to do"), !mine_a, "{again}");
        project.expect(0, &["plan", "--check", "ab"]);
    }
}

/// What stood where the first output went was moved away by the run that died, which told nobody.
#[cfg(feature = "failpoints")]
#[test]
fn what_a_run_that_died_has_kept_is_told_by_the_next() {
    let project = Project::new(
        "[dataset.a]\npath = \"o/a\"\n[dataset.b]\npath = \"o/b\"\n\
        [recipe.ab]\noutputs = [\"a\", \"b\"]\nrun = 'echo 1 >{{ outputs.a }}; echo 1 >{{ outputs.b }}'\n",
    );
    project.write("o/a", "precious\n");
    let died = project.command(&["run"]).env("KILN_FAULT", "publish.place=kill@2").output().unwrap();
    assert_eq!(died.status.code(), None);
    let job = jobs(&project)[0]["id"].as_str().unwrap().to_owned();
    let kept = format!(".kiln/replaced/{job}/o/a");
    let said = project.expect(0, &["run"]).err;
    let why = "a run was killed while it was put in place";
    let told = format!("note: finished `a`: {why}; what stood there is kept in {kept}\nnote: finished `b`: {why}\n");
    assert_eq!((said, project.read(&kept)), (told, "precious\n".to_owned()));
}
