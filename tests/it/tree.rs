//! Trees of processes: asked to end, ended, found wherever they hide, and never left behind.

use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};

use crate::output::{in_shell, shell};
use crate::processes::{Mark, fx, guardian, signal, until};
use crate::serve::Server;
use crate::support::{HEAD, Project, lines};

/// A step that is up, with processes that hide in four ways; none of them ends by itself or when it is asked to.
fn hiding(project: &Project, mark: &Mark) -> String {
    let mark = mark.word();
    let words = [
        ["fork", mark, "deaf", "up=forked", "forever", "then"],
        ["daemon", mark, "deaf", "up=daemon", "forever", "then"],
        ["ghost", mark, "deaf", "up=ghost", "forever", "then"],
    ];
    let mut words = words.concat();
    words.extend([mark, "deaf", "wait=forked", "wait=daemon", "wait=ghost", "up=all", "forever"]);
    format!("[task.hide]\n{}", project.fx(&words))
}

#[test]
fn nothing_outlives_kiln_when_it_is_killed() {
    let mark = Mark::new();
    let project = Project::empty();
    project.pipeline(&format!("{}\n[task.ok]\nrun = 'true'\n", hiding(&project, &mark)));
    let mut kiln = project.start(&["run", "hide"]);
    project.wait_for("all");
    assert_eq!(mark.pids().len(), 4);
    kiln.kill().unwrap();
    kiln.wait().unwrap();
    // The lock is free only when nothing is left, so the next run needs no patience.
    until("the lock is free", || project.kiln(&["run", "ok"]).code == 0);
    mark.none();
}

#[test]
fn a_guardian_that_is_killed_takes_its_steps_with_it_and_the_run_ends_in_order() {
    let mark = Mark::new();
    let project = Project::empty();
    project.pipeline(&format!("{}\n[task.after]\ninputs = [\"x\"]\nrun = 'true'\n[dataset.x]\npath = \"x\"\nrun = 'echo 1 >\"$KILN_OUTPUT\"'\n", hiding(&project, &mark)));
    let kiln = project.start(&["run", "-j1", "--keep-going"]);
    project.wait_for("all");
    kill_process(guardian(&kiln), Signal::KILL).unwrap();
    let said = kiln.wait_with_output().unwrap();
    mark.none();
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(out.contains("its guardian was killed"), "{out}");
    // What comes after it runs under a new one.
    assert!(out.contains("built  after"), "{out}");
    assert_eq!(project.expect(0, &["jobs", "list"]).out.matches("FAILED").count(), 1);
}

#[test]
fn what_the_shell_had_started_that_became_kiln_is_not_ended_with_the_guardian() {
    let (own, others) = (Mark::new(), Mark::new());
    let project = Project::empty();
    project.pipeline(&format!("[task.t]\n{}", project.fx(&[own.word(), "up=all", "forever"])));
    // One is there before, the other one loses its parent while Kiln runs.
    let (fx, apart) = (fx().display().to_string(), "</dev/null >/dev/null 2>&1 &");
    let other = |up: &str| format!("setsid {fx} {} up={up} forever {apart}", others.word());
    let script = format!("{} ( {fx} wait=all; {} ) {apart} exec \"$KILN\" run", other("before"), other("later"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(project.path(".")).env("KILN", crate::support::program());
    let kiln = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    ["before", "all", "later"].iter().for_each(|up| project.wait_for(up));
    kill_process(guardian(&kiln), Signal::KILL).unwrap();
    let said = kiln.wait_with_output().unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(out.contains("its guardian was killed"), "{out}");
    own.none();
    assert_eq!(others.pids().len(), 2, "{out}");
}

#[test]
fn what_does_not_end_when_it_is_asked_to_is_killed_after_its_grace() {
    let mark = Mark::new();
    let project = Project::empty();
    project.pipeline(&format!("{}grace = \"50ms\"\n", hiding(&project, &mark)));
    let kiln = project.start(&["run"]);
    project.wait_for("all");
    signal(&kiln, Signal::INT);
    let said = kiln.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(130));
    mark.none();
}

#[test]
fn a_second_signal_kills_at_once() {
    let mark = Mark::new();
    let project = Project::empty();
    project.pipeline(&format!("{}grace = \"10h\"\n", hiding(&project, &mark)));
    let kiln = project.start(&["run", "--events", "events"]);
    project.wait_for("all");
    signal(&kiln, Signal::INT);
    until("the run is stopping", || project.read("events").contains("run_stopping"));
    signal(&kiln, Signal::TERM);
    let said = kiln.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(130));
    mark.none();
}

#[test]
fn every_process_of_a_step_is_asked_to_end() {
    let mark = Mark::new();
    let project = Project::empty();
    // None is deaf: all of them end by being asked, the daemon too, although they have ten hours.
    let words =
        ["daemon", mark.word(), "up=daemon", "forever", "then", mark.word(), "wait=daemon", "up=all", "forever"];
    project.pipeline(&format!("[task.t]\n{}grace = \"10h\"\n", project.fx(&words)));
    let kiln = project.start(&["run"]);
    project.wait_for("all");
    signal(&kiln, Signal::TERM);
    assert_eq!(kiln.wait_with_output().unwrap().status.code(), Some(143));
    mark.none();
}

#[test]
fn what_a_step_leaves_behind_is_told_and_ended() {
    for how in ["fork", "daemon"] {
        let mark = Mark::new();
        let project = Project::empty();
        let words = [how, mark.word(), "up=left", "forever", "then", "wait=left", "print=done", "write={{ output }}:x"];
        project.pipeline(&format!("[dataset.a]\npath = \"a\"\n{}", project.fx(&words)));
        let said = project.expect(0, &["run", "--events", "-"]);
        mark.none();
        let ended = lines(&said.out).into_iter().find(|event| event["type"] == "step_ended").unwrap();
        assert_eq!(ended["outcome"], "built");
        let leaked = ended["leaked"][0].as_str().unwrap();
        assert!(leaked.starts_with("fx (pid "), "{leaked}");
        assert!(said.err.contains(&format!("leaked {leaked}")), "{}", said.err);
        assert_eq!(project.log("a"), b"done");
        assert_eq!(project.read("a"), "x");
    }
}

#[test]
fn what_ends_by_itself_soon_after_its_step_is_no_leak() {
    let project = Project::empty();
    // The child ends as soon as its parent has.
    let words = ["pid=parent", "fork", "wait=parent", "up=child", "print=late", "then", "wait=child", "exit=0"];
    project.pipeline(&format!("[task.t]\n{}", project.fx(&words)));
    let said = project.expect(0, &["run", "--events", "-"]);
    assert!(!said.out.contains("leaked"), "{}", said.out);
    assert_eq!(project.log("t"), b"late");
}

#[test]
fn a_process_that_nothing_ties_to_its_step_ends_with_the_run_and_is_told() {
    let mark = Mark::new();
    let project = Project::empty();
    let words = ["ghost", mark.word(), "up=ghost", "forever", "then", "wait=ghost"];
    project.pipeline(&format!("[task.t]\n{}", project.fx(&words)));
    let said = project.expect(0, &["run"]);
    mark.none();
    assert!(said.err.contains("had left its step, and was ended with the run"), "{}", said.err);
}

#[test]
fn a_server_tells_that_of_its_jobs() {
    let mark = Mark::new();
    let project = Project::empty();
    let words = ["ghost", mark.word(), "up=ghost", "forever", "then", "wait=ghost", "write={{ output }}:x"];
    let head = HEAD.replace("name = \"p\"", "name = \"orders\"");
    project.write("pipeline.toml", format!("{head}[dataset.a]\npath = \"a\"\n{}", project.fx(&words)));
    let server = Server::start(&project, &[]);
    let job = server.build("a");
    assert_eq!(server.wait(&job), "DONE");
    server.signal("TERM");
    let (code, said) = server.ended();
    mark.none();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("had left its step, and was ended with job {job}\n")), "{said}");
}

#[test]
fn on_stop_runs_when_a_step_is_stopped_and_only_then() {
    let mark = Mark::new();
    let project = Project::empty();
    let deaf = project.fx(&[mark.word(), "deaf", "up=up", "wait=helped"]);
    let helper = "on_stop = 'echo \"stop $KILN_STEP\"; echo {{ vars.what }} >helped'\n";
    project.pipeline(&format!("[vars]\nwhat = \"it\"\n[task.t]\n{deaf}{helper}"));
    let kiln = project.start(&["run"]);
    project.wait_for("up");
    signal(&kiln, Signal::INT);
    assert_eq!(kiln.wait_with_output().unwrap().status.code(), Some(130));
    mark.none();
    assert_eq!(project.read("helped"), "it\n");
    assert_eq!(project.log("t"), b"stop t\n");
    project.write("helped", "");
    project.expect(0, &["run"]);
    assert_eq!(project.read("helped"), "", "it ended by itself");
}

#[test]
fn an_on_stop_that_hangs_has_the_grace_of_its_step() {
    let mark = Mark::new();
    let project = Project::empty();
    let step = project.fx(&[mark.word(), "up=up", "forever"]);
    let helper = project.fx(&[mark.word(), "deaf", "forever"]).replace("run", "on_stop");
    project.pipeline(&format!("[task.t]\n{step}{helper}grace = \"50ms\"\n"));
    let kiln = project.start(&["run"]);
    project.wait_for("up");
    signal(&kiln, Signal::INT);
    assert_eq!(kiln.wait_with_output().unwrap().status.code(), Some(130));
    mark.none();
    assert_eq!(String::from_utf8(project.log("t")).unwrap(), "[kiln] `on_stop` was ended before it was done\n");
}

#[test]
fn steps_have_the_limits_that_kiln_was_given() {
    let project = Project::new("[task.t]\nrun = 'ulimit -n'\n");
    assert_eq!(in_shell(&project, "ulimit -Sn 64; exec \"$0\" run").code, 0);
    assert_eq!(project.log("t"), b"64\n");
}

#[test]
fn steps_of_every_job_of_a_server_have_them() {
    let project = Project::empty();
    let step = |name| format!("[dataset.{name}]\npath = \"{name}\"\nrun = \"ulimit -n >{{{{ output }}}}\"\n");
    let head = HEAD.replace("name = \"p\"", "name = \"orders\"");
    project.write("pipeline.toml", format!("{head}{}{}", step("a"), step("b")));
    let mut limited = shell(&project, "ulimit -Sn 64; exec \"$0\" serve --listen 127.0.0.1:0");
    let server = Server::of(&project, &mut limited);
    for name in ["a", "b"] {
        assert_eq!(server.wait(&server.build(name)), "DONE");
        assert_eq!(project.read(name), "64\n", "{name}");
    }
}

#[test]
fn many_steps_at_once_wait_for_what_is_scarce() {
    let text: Vec<_> = (0..60).map(|i| format!("[task.t{i}]\nrun = 'true'\n")).collect();
    let project = Project::new(&text.concat());
    let said = in_shell(&project, "ulimit -n 48; exec \"$0\" run -j 60");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("60 built"), "{said:?}");
}

#[test]
fn more_steps_run_at_once_than_one_may_open_files() {
    let project = Project::empty();
    let others: Vec<_> = (0..45).map(|i| format!("wait=up{i}")).collect();
    let step = |i: usize| {
        let up = format!("up=up{i}");
        let words: Vec<_> = std::iter::once(&up).chain(&others).map(String::as_str).collect();
        format!("[task.t{i}]\n{}", project.fx(&words))
    };
    project.pipeline(&(0..45).map(step).collect::<String>());
    let said = in_shell(&project, "ulimit -Sn 40; exec \"$0\" run -j 45 --fail-fast kill");
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn a_digest_command_is_watched_over_like_its_step() {
    let mark = Mark::new();
    let project = Project::empty();
    // It says what it has to say, and leaves something behind that holds its output.
    let fx = crate::processes::fx();
    let leaves = format!("{} fork {} up=left forever then wait=left print=v1 err=quietly", fx.display(), mark.word());
    project.pipeline(&format!("[dataset.a]\nrun = \"touch built\"\ndigest = \"test ! -e built || exec {leaves}\"\n"));
    project.expect(0, &["run"]);
    mark.none();
    assert_eq!(project.log("a"), b"quietly");
    // It hangs, but not where a plan asks it.
    let hangs = format!("test ! -e built || exec {} {} deaf up=up forever", fx.display(), mark.word());
    project.pipeline(&format!("[dataset.a]\nrun = \"touch built\"\ndigest = \"{hangs}\"\ngrace = \"50ms\"\n"));
    std::fs::remove_file(project.path("built")).unwrap();
    let kiln = project.start(&["run"]);
    project.wait_for("up");
    signal(&kiln, Signal::INT);
    assert_eq!(kiln.wait_with_output().unwrap().status.code(), Some(130));
    mark.none();
}

/// A project whose only step writes the value of the variable `v` to its place itself: for ever where that is 1.
fn in_place() -> Project {
    Project::new(
        r#"
[vars]
v = "1"
[dataset.a]
path = "out/a"
in_place = true
run = '''i=0; while [ {{ vars.v }} = 1 ] || [ $i -lt 200 ]; do echo {{ vars.v }} >>{{ output }}; i=$((i+1)); done'''
"#,
    )
}

#[track_caller]
fn is_of_the_second_version(project: &Project) {
    let text = project.read("out/a");
    assert!(text.lines().all(|line| line == "2"), "a mixture: {text:?}");
    assert_eq!(text.lines().count(), 200);
    let plan = |v| project.expect(0, &["plan", "--var", v]).out;
    assert!(plan("v=2").contains("1 up to date"), "{}", plan("v=2"));
    assert!(plan("v=1").contains("1 build"), "{}", plan("v=1"));
}

#[test]
fn a_run_right_after_a_kill_does_not_mix_with_what_was_written_in_place() {
    for _ in 0..5 {
        let project = in_place();
        let mut kiln = project.start(&["run", "--var", "v=1"]);
        project.wait_for("out/a");
        kiln.kill().unwrap();
        kiln.wait().unwrap();
        project.expect(0, &["run", "--var", "v=2"]);
        is_of_the_second_version(&project);
    }
}

#[test]
fn what_lives_on_when_kiln_and_its_guardian_were_killed_is_ended_by_the_next_run() {
    let project = in_place();
    let mut kiln = project.start(&["run", "--var", "v=1"]);
    project.wait_for("out/a");
    let guardian = guardian(&kiln);
    // It cannot take the place of its guardian.
    signal(&kiln, Signal::STOP);
    kill_process(guardian, Signal::KILL).unwrap();
    kiln.kill().unwrap();
    kiln.wait().unwrap();
    let said = project.expect(0, &["run", "--var", "v=2"]);
    assert!(said.err.contains("lived on after a run that was killed, and was ended"), "{}", said.err);
    is_of_the_second_version(&project);
}

#[test]
fn what_only_looks_does_not_outlive_a_kiln_that_is_killed_while_it_plans() {
    let mark = Mark::new();
    let project = Project::empty();
    let probe =
        format!("{} {} daemon {} up=daemon forever then up=up forever", fx().display(), mark.word(), mark.word());
    project.pipeline(&format!("[task.a]\nrun = 'true'\ntools = {{ x = '{probe}' }}\n"));
    for command in ["plan", "run"] {
        let mut kiln = project.start(&[command]);
        project.wait_for("up");
        project.wait_for("daemon");
        assert_eq!(mark.pids().len(), 2, "{command}");
        kiln.kill().unwrap();
        kiln.wait().unwrap();
        until("nothing is left", || mark.pids().is_empty());
        for file in ["up", "daemon"] {
            std::fs::remove_file(project.path(file)).unwrap();
        }
    }
}

#[test]
fn what_a_step_leaves_behind_does_not_reach_another_one() {
    let project = Project::new(
        r#"
[dataset.a]
path = "out/a/data.txt"
run = '''
echo A >{{ output }}
late='until [ -e go ]; do :; done; echo late >>{{ output }}; : >late'
(setsid env -i bash -c "$late" >/dev/null 2>&1 </dev/null &)
'''
[dataset.b]
path = "out/b/data.txt"
inputs = ["a"]
run = "echo B >{{ output }}; : >go; until [ -e late ]; do :; done"
"#,
    );
    project.expect(0, &["run", "-j1"]);
    assert_eq!((project.read("out/a/data.txt").as_str(), project.read("out/b/data.txt").as_str()), ("A\n", "B\n"));
}
