//! Two Kilns at once: who may run, who waits, and how one ends the other's run.

use std::io::{BufRead, BufReader};

use rustix::process::{Signal, kill_process};

use crate::processes::{guardian, signal};
use crate::running::{Running, hear, pipe, tell};
use crate::support::Project;

/// A step that says that it is up and waits, and one that needs it.
const WAITS: &str = "[dataset.a]\npath = \"build/a\"\nrun = 'echo up >up; read -r go <gate; echo a >{{ output }}'\n\
                     [dataset.b]\npath = \"build/b\"\ninputs = [\"a\"]\nrun = 'echo b >{{ output }}'\n";

fn waiting() -> (Project, Running) {
    let project = Project::new(WAITS);
    pipe(&project, "up");
    pipe(&project, "gate");
    let mut run = Running::start(&project, &[]);
    hear(&project, "up");
    run.until("step_started", Some("a"));
    (project, run)
}

#[test]
fn a_word_that_came_too_late_is_not_kept() {
    let (project, mut run) = waiting();
    project.write(".kiln/locks/p.asked", "who asked when all was done");
    tell(&project, "gate");
    run.end(0);
    assert!(!project.exists(".kiln/locks/p.asked"));
}

/// Another pipeline in the same root.
fn other(project: &Project, path: &str) {
    let head = "[pipeline]\nformat = 1\nname = \"q\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n";
    let text = format!("{head}[dataset.c]\npath = \"{path}\"\nrun = 'mkdir -p {{{{ output }}}}'\n");
    project.write("other.toml", text);
}

#[test]
fn the_second_run_says_who_is_in_the_way() {
    let (project, mut run) = waiting();
    let said = project.expect(3, &["run"]);
    assert!(said.err.contains(&format!("a run of `p` goes on: process {} on ", run.id())), "{}", said.err);
    assert!(said.err.contains(", since 20") && said.err.contains("--wait"), "{}", said.err);
    let job = run.events[0]["job"].as_str().unwrap().to_owned();
    let help = format!("; --wait waits for it, `kiln jobs abort {job}` ends it\n");
    assert!(said.err.ends_with(&help), "{}", said.err);
    // Another one that begins later is not the one that is in the way.
    other(&project, "c");
    project.expect(0, &["run", "-f", "other.toml"]);
    assert!(project.expect(3, &["run"]).err.ends_with(&help));
    tell(&project, "gate");
    run.end(0);
    project.expect(0, &["run"]);
}

/// What is half-written belongs to a run that lives. `adopt` waits for none, so it does not say that one can.
#[test]
fn nothing_is_adopted_while_a_run_goes_on() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nin_place = true\nrun = 'echo half >{{ output }}; echo up >up; read -r go <gate'\n",
    );
    pipe(&project, "up");
    pipe(&project, "gate");
    let mut run = Running::start(&project, &[]);
    hear(&project, "up");
    run.until("step_started", Some("a"));
    for arguments in [&["adopt"][..], &["adopt", "--dry-run"]] {
        let said = project.expect(3, arguments);
        assert!(said.err.contains(&format!("a run of `p` goes on: process {} on ", run.id())), "{}", said.err);
        let job = run.events[0]["job"].as_str().unwrap();
        assert!(said.err.ends_with(&format!("; `kiln jobs abort {job}` ends it\n")), "{}", said.err);
        assert_eq!(said.out, "");
    }
    tell(&project, "gate");
    run.end(0);
    project.expect(0, &["adopt", "--dry-run"]);
}

#[test]
fn a_run_waits_for_another_when_it_is_told_to() {
    let (project, mut run) = waiting();
    let mut second = project.start(&["run", "--wait"]);
    let mut line = String::new();
    BufReader::new(second.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with(&format!("waiting: a run of `p` goes on: process {}", run.id())), "{line}");
    tell(&project, "gate");
    run.end(0);
    let output = second.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing to do · 2 up to date"), "{output:?}");
}

#[test]
fn an_abort_does_not_wait_for_a_run_that_waited_too() {
    let (project, mut run) = waiting();
    let mut second = project.start(&["run", "--wait"]);
    let mut line = String::new();
    BufReader::new(second.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let said = project.expect(0, &["jobs", "abort", "--all"]);
    assert!(said.out.ends_with(": ended\n"), "{}", said.out);
    run.end(143);
    // The second one has begun, and stands where nobody hears it.
    hear(&project, "up");
    tell(&project, "gate");
    assert!(second.wait_with_output().unwrap().status.success());
}

#[test]
fn two_pipelines_of_one_root_run_side_by_side_unless_they_write_to_one_path() {
    let (project, mut run) = waiting();
    other(&project, "build/c");
    project.expect(0, &["run", "-f", "other.toml"]);
    for path in ["build", "build/a", "build/b/below"] {
        other(&project, path);
        let said = project.expect(3, &["run", "-f", "other.toml"]);
        let why = format!("a run of `p` writes {path} too: process {}", run.id());
        assert!(said.err.contains(&why), "{}", said.err);
    }
    // What the run does not want is not in the way.
    tell(&project, "gate");
    run.end(0);
    other(&project, "build/a/below");
    let said = project.kiln(&["run", "-f", "other.toml"]);
    assert_ne!(said.code, 3, "{}", said.err);
}

#[test]
fn a_run_is_aborted_from_elsewhere() {
    let (project, mut run) = waiting();
    let said = project.expect(0, &["jobs", "abort", "last"]);
    assert!(said.out.ends_with(": ended\n"), "{}", said.out);
    // It returns when nothing is left of the run: the next one begins at once.
    run.end(143);
    assert!(!project.path(".kiln/locks/p.asked").exists(), "who asked is known, and nothing is left of it");
    let stopping = "stopping: by tester with kiln jobs abort";
    assert_eq!(run.story(), ["started a", stopping, "stopped a", "skipped b (a)", "ended ABORTED"]);
    let list = project.expect(0, &["jobs", "list"]).out;
    assert!(list.contains("  by tester with kiln jobs abort\n"), "{list}");
    let said = project.expect(0, &["jobs", "abort", "last"]);
    assert!(said.out.contains("it has ended already: ABORTED"), "{}", said.out);
    assert_eq!(project.expect(0, &["jobs", "abort", "--all"]).out, "no run goes on\n");
    project.expect(2, &["jobs", "abort", "nothing"]);
    project.expect(2, &["jobs", "abort"]);
}

#[test]
fn nothing_is_ended_where_an_id_means_nothing() {
    let (project, mut run) = waiting();
    let said = project.expect(2, &["jobs", "abort", "typo", "last", "tpyo"]).err;
    assert!(said.starts_with("error: there is no run `typo`\nerror: there is no run `tpyo`\n"), "{said}");
    tell(&project, "gate");
    run.end(0);
    assert_eq!(run.story(), ["started a", "built a", "started b", "built b", "ended DONE"]);
    // What is meant twice is told once.
    let job = run.events[0]["job"].as_str().unwrap();
    let said = project.expect(0, &["jobs", "abort", job, "last"]).out;
    assert_eq!(said, format!("{job}: it has ended already: DONE\n"));
}

#[test]
fn all_that_are_to_end_are_asked_before_any_is_waited_for() {
    let text = |name: &str, other: &str| {
        let asked = format!("echo x >to_{other} & read -r x <to_{name}; echo {name} >>both; exit 1");
        let head = format!("[pipeline]\nformat = 1\nname = \"{name}\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n");
        let run = format!("run = '''trap \"{asked}\" TERM; cat never & echo up >up_{name}; wait'''\n");
        format!("{head}[task.{name}]\n{run}")
    };
    let project = Project::empty();
    for name in ["to_p", "to_q", "up_p", "up_q", "never"] {
        pipe(&project, name);
    }
    let runs = [("p", "q"), ("q", "p")].map(|(name, other)| {
        let file = format!("{name}.toml");
        project.write(&file, text(name, other));
        let run = Running::start(&project, &["-f", &file]);
        hear(&project, &format!("up_{name}"));
        run
    });
    let said = project.expect(0, &["jobs", "abort", "--all"]).out;
    assert_eq!(said.matches(": ended\n").count(), 2, "{said}");
    runs.into_iter().for_each(|mut run| drop(run.end(143)));
    let mut both: Vec<_> = project.read("both").lines().map(str::to_owned).collect();
    both.sort();
    assert_eq!(both, ["p", "q"]);
}

#[test]
fn a_signal_of_somebody_else_is_told_as_such() {
    let (project, mut run) = waiting();
    // What was left for an earlier run says nothing of this one.
    project.write(
        ".kiln/locks/p.asked",
        r#"{"to":{"pid":1,"began":1,"boot":null},"cause":{"kind":"asked","by":"ana","with":"jobs_abort"}}"#,
    );
    run.signal(rustix::process::Signal::TERM);
    run.end(143);
    assert!(run.story().contains(&"stopping: SIGTERM".to_owned()), "{:?}", run.story());
}

#[test]
fn all_runs_are_aborted() {
    let (project, mut run) = waiting();
    let head = "[pipeline]\nformat = 1\nname = \"q\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n";
    project.write("other.toml", format!("{head}[task.c]\nrun = 'echo up >up2; read -r go <gate2'\n"));
    pipe(&project, "up2");
    pipe(&project, "gate2");
    project.write("third.toml", head.replace("\"q\"", "\"r\"") + "[task.d]\nrun = 'true'\n");
    let mut second = Running::start(&project, &["-f", "other.toml"]);
    hear(&project, "up2");
    second.until("step_started", Some("c"));
    // With a file, only those of its pipeline.
    let said = project.expect(0, &["jobs", "abort", "--all", "-f", "third.toml"]);
    assert_eq!(said.out, "no run goes on\n");
    let said = project.expect(2, &["jobs", "abort", "last", "-f", "third.toml"]);
    assert!(said.err.contains("`r` has no run yet"), "{}", said.err);
    let said = project.expect(0, &["jobs", "abort", "--all"]);
    assert_eq!(said.out.matches(": ended\n").count(), 2, "{}", said.out);
    run.end(143);
    second.end(143);
}

#[test]
fn the_last_run_of_a_file_is_aborted_and_no_other() {
    let (project, mut run) = waiting();
    other(&project, "build/c");
    project.expect(0, &["run", "-f", "other.toml"]);
    let said = project.expect(0, &["jobs", "abort", "last", "-f", "other.toml"]);
    assert!(said.out.contains("it has ended already: DONE"), "{}", said.out);
    let said = project.expect(0, &["jobs", "abort", "--all", "-f", "pipeline.toml"]);
    assert!(said.out.starts_with("build_p_") && said.out.ends_with(": ended\n"), "{}", said.out);
    run.end(143);
}

#[test]
fn a_run_that_is_not_in_the_history_yet_is_aborted_with_all() {
    let text =
        "[dataset.a]\npath = \"a\"\nrun = 'echo a >{{ output }}'\ntools = { t = 'echo up >up; read -r go <gate' }\n";
    let project = Project::new(text);
    pipe(&project, "up");
    pipe(&project, "gate");
    let mut run = project.start(&["run"]);
    hear(&project, "up");
    let said = project.expect(3, &["run"]).err;
    assert!(said.ends_with("; --wait waits for it, `kiln jobs abort last -f pipeline.toml` ends it\n"), "{said}");
    assert_eq!(
        project.expect(0, &["jobs", "abort", "last", "-f", "pipeline.toml"]).out,
        "a run of p that had not begun: ended\n"
    );
    assert_eq!(run.wait().unwrap().code(), Some(143));
    assert_eq!(project.expect(0, &["jobs", "list"]).out, "no runs\n");
}

#[test]
fn a_stranger_that_has_the_number_of_a_run_is_left_alone() {
    let (project, mut run) = waiting();
    let mut stranger = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let claim = project.read(".kiln/locks/p.claim");
    let mut claim: serde_json::Value = serde_json::from_str(&claim).unwrap();
    claim["process"]["pid"] = stranger.id().into();
    project.write(".kiln/locks/p.claim", claim.to_string());
    let said = project.expect(3, &["jobs", "abort", "last"]);
    assert!(said.err.contains(&format!("process {} on", run.id())), "{}", said.err);
    assert_eq!(stranger.try_wait().unwrap(), None);
    drop(stranger.stdin.take());
    assert!(stranger.wait().unwrap().success());
    tell(&project, "gate");
    run.end(0);
}

#[test]
fn what_is_stopped_is_ended_too() {
    // Kiln itself, and its guardian where that is all that is left.
    for dead in [false, true] {
        let project = Project::new(WAITS);
        pipe(&project, "up");
        pipe(&project, "gate");
        let mut run = project.start(&["run"]);
        hear(&project, "up");
        kill_process(guardian(&run), Signal::STOP).unwrap();
        signal(&run, if dead { Signal::KILL } else { Signal::STOP });
        if dead {
            run.wait().unwrap();
        }
        let said = project.expect(0, &["jobs", "abort", "last"]).out;
        assert!(said.ends_with(": ended\n"), "{said}");
        assert_eq!(run.wait().unwrap().code(), (!dead).then_some(143));
        assert!(project.expect(0, &["jobs", "list"]).out.contains(" ABORTED "));
        project.write("pipeline.toml", project.read("pipeline.toml").replace("echo up >up; read -r go <gate; ", ""));
        project.expect(0, &["run"]);
    }
}

#[test]
fn eight_at_once_do_the_work_once() {
    for (wait, codes) in [(&["run", "--wait"][..], &[0][..]), (&["run"], &[0, 3])] {
        let project = Project::new("[dataset.a]\npath = \"build/a\"\nrun = 'echo a >>ran; echo a >{{ output }}'\n");
        let kilns: Vec<_> = (0..8).map(|_| project.start(wait)).collect();
        let outputs: Vec<_> = kilns.into_iter().map(|kiln| kiln.wait_with_output().unwrap()).collect();
        for output in &outputs {
            assert!(codes.contains(&output.status.code().unwrap()), "{output:?}");
        }
        assert_eq!(project.read("ran"), "a\n", "{wait:?}");
        let done = outputs.iter().filter(|output| output.status.success()).count();
        let list = project.expect(0, &["jobs", "list"]).out;
        assert_eq!(list.matches(" DONE ").count(), done, "{list}");
    }
}
