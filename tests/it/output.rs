//! What steps print: any bytes, any amount, kept as it comes or told why not.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::processes::{fx, until};
use crate::support::{Project, Said, program};

/// A shell that does something before it becomes Kiln, which is `$0` to it; not started yet.
pub(crate) fn shell(project: &Project, script: &str) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).arg(program()).current_dir(project.path("")).env_clear();
    shell.envs(project.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

/// Runs such a shell to its end.
pub(crate) fn in_shell(project: &Project, script: &str) -> Said {
    let output = shell(project, script).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn any_bytes_are_kept_as_they_are() {
    let project = Project::empty();
    let words = ["bytes=fffe00c3", "err=and on standard error", "bytes=0d0d0a1b5b33316d", "print=no end"];
    project.pipeline(&format!("[task.t]\n{}", project.fx(&words)));
    for mode in ["failed", "grouped", "stream"] {
        project.expect(0, &["run", "--output", mode]);
        assert_eq!(project.log("t"), b"\xff\xfe\0\xc3and on standard error\r\r\n\x1b[31mno end");
    }
}

#[test]
fn standard_input_is_empty_and_both_outputs_are_read() {
    let project =
        Project::new("[task.t]\nrun = 'cat; head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero; echo ok'\n");
    project.expect(0, &["run"]);
    let log = project.log("t");
    assert_eq!((log.len(), &log[2_000_000..]), (2_000_003, b"ok\n".as_slice()));
}

#[test]
fn of_too_long_a_log_the_ends_are_kept() {
    let project = Project::empty();
    let words = ["line=the beginning", "flood=1000000", "line=the end"];
    project.pipeline(&format!("[task.t]\n{}log_limit = \"10 KiB\"\n", project.fx(&words)));
    project.expect(0, &["run", "--output", "stream"]);
    let log = String::from_utf8(project.log("t")).unwrap();
    assert!(log.starts_with("the beginning\n0123") && log.ends_with("the end\n"), "{log}");
    assert!(log.contains("\n[kiln] 989782 bytes are left out here: `log_limit` is 10 kB\n"), "{log}");
    assert!(log.len() < 11_000);
}

/// The most memory that Kiln itself had, in KiB, while a step printed so many bytes.
fn memory(project: &Project, bytes: &str, mode: &str) -> u64 {
    let words = [format!("flood={bytes}"), "pid=up".to_owned(), "wait=go".to_owned()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    project.pipeline(&format!("[task.t]\n{}log_limit = \"1 MiB\"\nrebuild = \"always\"\n", project.fx(&words)));
    for file in ["up", "go"] {
        drop(std::fs::remove_file(project.path(file)));
    }
    let mut command = project.command(&["run", "--output", mode]);
    let mut kiln = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    project.wait_for("up");
    let status = std::fs::read_to_string(format!("/proc/{}/status", kiln.id())).unwrap();
    project.write("go", "");
    assert!(kiln.wait().unwrap().success());
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    most.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_what_is_printed() {
    let project = Project::empty();
    for mode in ["failed", "stream", "grouped"] {
        let little = memory(&project, "1000", mode);
        let much = memory(&project, "60000000", mode);
        assert!(much < little + 30_000, "{mode}: {little} KiB, then {much} KiB");
    }
}

#[test]
fn a_log_that_cannot_be_written_stops_the_run() {
    let project = Project::empty();
    let flood = project.fx(&["wait=other", "flood=3000000", "up=flooded"]);
    let other = project.fx(&["up=other", "wait=flooded"]);
    project.pipeline(&format!("[task.flood]\n{flood}[task.other]\n{other}[task.never]\n{flood}"));
    // 1 KiB blocks: no file may become longer than 2 MB.
    let said = in_shell(&project, "ulimit -f 2000; exec \"$0\" run -j 2 --keep-going");
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        said.err.contains("what it did cannot be kept: ") && said.err.contains("/flood.1.log: File too large"),
        "{said:?}"
    );
    assert!(said.out.contains("skip   never"), "{said:?}");
    assert!(said.out.contains("built  other") && said.out.contains("built  flood"), "{said:?}");
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("2 up to date") && plan.contains("build  never"), "{plan}");
}

#[test]
fn a_step_whose_log_cannot_be_made_is_not_started_and_nothing_else_is() {
    let project = Project::new("[task.a]\nrun = \"echo >ran\"\n[task.b]\nrun = \"echo >ran\"\n");
    project.write(".kiln/logs", "no folder");
    let said = project.expect(3, &["run", "-j1", "--keep-going"]);
    assert!(said.err.contains("what it did cannot be kept: ") && said.err.contains(".kiln/logs/"), "{said:?}");
    assert!(said.out.contains("stop   a") && said.out.contains("skip   b"), "{said:?}");
    assert!(!project.exists("ran"));
    std::fs::remove_file(project.path(".kiln/logs")).unwrap();
    project.expect(0, &["run"]);
}

#[test]
fn what_cannot_be_shown_is_told_once_at_the_end_and_stops_no_run() {
    for (n, script) in ["\"$0\" run >/dev/full", "\"$0\" run --events /dev/full", "\"$0\" run --events - >/dev/full"]
        .iter()
        .enumerate()
    {
        let project = Project::new("[dataset.a]\npath = \"a\"\nrun = \"echo 1 >{{ output }}\"\n");
        let said = in_shell(&project, script);
        let place = ["standard output", "--events /dev/full", "standard output"][n];
        let told =
            format!("error: all went well, but {place} cannot be written: No space left on device (os error 28)\n");
        assert_eq!(said.code, 3, "{script}: {said:?}");
        assert!(said.err.ends_with(&told) && !said.err.contains("warning:"), "{script}: {said:?}");
        assert_eq!(project.read("a"), "1\n");
        project.expect(0, &["plan", "--check"]);
    }
    let project = Project::new("[task.a]\nrun = \"exit 3\"\n");
    let said = in_shell(&project, "\"$0\" run >/dev/full");
    assert_eq!(said.code, 1, "that a step failed goes before: {said:?}");
    assert!(said.err.starts_with("error: standard output cannot be written: No space left"), "{said:?}");
}

#[test]
fn a_log_that_cannot_be_printed_is_told() {
    let project = Project::new("[task.a]\nrun = \"echo hello\"\n");
    project.expect(0, &["run"]);
    let said = in_shell(&project, "\"$0\" jobs log last >/dev/full");
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.starts_with("error: standard output cannot be written: No space left"), "{said:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = \"read -r go <gate; echo 1 >{{ output }}\"\n");
    let _gate = crate::running::Gate::new(&project, "gate");
    // `read` takes one line and ends; only then the recipe goes on, and its end cannot be shown.
    let script =
        "{ \"$0\" run; echo $? >code; } | { read -r line; exec <&-; echo go >gate; echo \"$line\"; }; cat code";
    let said = in_shell(&project, script);
    assert_eq!(said.err, "");
    assert!(said.out.ends_with("\n0\n"), "{said:?}");
    assert_eq!(project.read("a"), "1\n");
}

/// The advice is followed to the letter, and then it works.
#[test]
fn an_output_that_was_not_written_is_named_as_the_recipe_can_name_it() {
    let several = "[dataset.one]\npath = \"o/one\"\n[dataset.two_b]\npath = \"o/two\"\n\
                   [recipe.both]\noutputs = [\"one\", \"two_b\"]\nrun = 'echo 1 >{{ outputs.one }}'\n";
    let project = Project::new(several);
    let said = project.expect(1, &["run"]).out;
    let (name, variable) = ("{{ outputs.two_b }}", "$KILN_OUTPUT_TWO_B");
    let told = format!("output `two_b` was not written: the recipe has to write to {name} (or {variable}); one that");
    assert!(said.contains(&told) && said.contains("one that writes to o/two itself says `in_place = true`"), "{said}");
    for target in [name, variable] {
        let run = format!("echo 1 >{{{{ outputs.one }}}}; echo {} >\"{target}\"", target.len());
        project.pipeline(&several.replace("echo 1 >{{ outputs.one }}", &run.replace("\"{{ outputs.two_b }}\"", name)));
        project.expect(0, &["run"]);
        assert_eq!(project.read("o/two"), format!("{}\n", target.len()));
    }
    let only = Project::new("[dataset.a]\npath = \"a\"\nrun = 'true'\n").expect(1, &["run"]).out;
    assert!(only.contains("write to {{ output }} (or $KILN_OUTPUT); one"), "{only}");
}

#[test]
fn a_step_that_cannot_start_says_why() {
    let project = Project::empty();
    let script = |name: &str, text: &str| {
        project.write(name, text);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(project.path(name), mode).unwrap();
    };
    script("shebang", "#!/no/such/interpreter\n");
    script("bare", "echo hi\n");
    project.write("plain", "");
    let fx = fx().display().to_string();
    project.pipeline(&format!(
        "[task.a]\nrun = [\"pyhton3\"]\n[task.b]\nrun = [\"./plain\"]\n[task.c]\nrun = [\"./shebang\"]\n[task.d]\nrun = [\"./bare\"]\n\
         [task.e]\nrun = [{fx:?}]\nworkdir = \"nowhere\"\n[task.f]\nrun = \"pyhton3 x\"\n"
    ));
    let said = project.expect(1, &["run", "-j1", "--keep-going"]);
    let root = project.path("").canonicalize().unwrap().display().to_string();
    let failed = said.out.lines().filter(|line| line.contains(" FAILED "));
    // 12:00:00 FAILED a 0.1s why: how long it took depends on the machine.
    let words = |line: &str| line.split_whitespace().skip(4).collect::<Vec<_>>().join(" ").replace(&root, "ROOT");
    let why: Vec<String> = failed.map(words).collect();
    insta::assert_snapshot!(why.join("\n"), @"
    command not found: pyhton3; did you mean `python3`?; install it, or name it by its path
    not executable: ./plain; chmod +x makes it so
    the interpreter of ./shebang is not there: /no/such/interpreter
    ./bare is no program that this machine can run: it has no `#!` line that names its interpreter
    the working directory ROOT/nowhere is not there
    exit 127: command not found: pyhton3; did you mean `python3`?
    ");
}

#[test]
fn the_exit_codes_by_which_a_shell_tells_what_happened_are_put_into_words() {
    const BASH: &str = r#"["bash", "-euo", "pipefail", "-c"]"#;
    for (run, why) in [
        (
            "sh -c 'kill -9 $$'; true",
            "exit 137: a program in it seems to have been killed by SIGKILL, possibly out of memory",
        ),
        ("sh -c 'kill $$'; true", "exit 143: a program in it seems to have been killed by SIGTERM"),
        (
            "yes | head -1",
            "exit 141: a program in it seems to have been killed by SIGPIPE, for what it wrote to had ended first",
        ),
        ("./plain; true", "exit 126: a program in it may not be executed (chmod +x), or is none"),
        ("exit 160", "exit 160"),
    ] {
        let project = Project::new(&format!("[task.t]\nshell = {BASH}\nrun = {run:?}\n"));
        project.write("plain", "");
        let said = project.expect(1, &["run"]).out;
        let told = said.lines().find(|line| line.starts_with("FAILED t")).unwrap_or_default();
        assert!(told.ends_with(why), "{run}: {said}");
    }
}

#[test]
fn the_log_of_a_step_that_failed_is_there_although_nothing_was_printed() {
    let made_a_link = "run = 'ln -s . {{ output }}'";
    for run in [
        "run = 'true'",
        "run = 'exit 1'",
        "run = 'kill $$'",
        made_a_link,
        "timeout = \"1ms\"\nrun = 'read -r go <never'",
    ] {
        let project = Project::new(&format!("[dataset.a]\npath = \"a\"\n{run}\n"));
        crate::running::pipe(&project, "never");
        let said = project.expect(1, &["run"]).out;
        let log = said.lines().find_map(|line| line.strip_prefix("  log    ")).unwrap();
        assert_eq!(project.read(log), "", "{run}: {said}");
    }
}

#[test]
fn who_does_not_read_holds_up_no_step() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = 'head -c 4000000 /dev/zero | tr \"\\0\" x; echo >{{ output }}'\n\
        [task.b]\ninputs = [\"a\"]\nrun = 'echo >up'\n",
    );
    let mut command = project.command(&["run", "--output", "stream"]);
    let kiln = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    project.wait_for("up");
    let said = kiln.wait_with_output().unwrap();
    let shown = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success() && shown.contains("2 built"), "{}", shown.lines().last().unwrap_or_default());
    assert!(shown.contains(" left out here, the log has all of it") && shown.len() < 3_000_000, "{}", shown.len());
    assert_eq!(project.log("a").len(), 4_000_000);
}

#[test]
fn who_does_not_read_keeps_nobody_from_ending_a_run_that_is_over() {
    let project = Project::new("[task.a]\nrun = 'head -c 4000000 /dev/zero | tr \"\\0\" x'\n");
    let mut command = project.command(&["run", "--output", "stream", "--events", "events"]);
    let mut kiln = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    project.wait_for("events");
    until("the run is over", || project.read("events").contains("\"type\":\"run_ended\""));
    kill_process(Pid::from_child(&kiln), Signal::TERM).unwrap();
    // It may come when all is done, or just before.
    let code = kiln.wait().unwrap().code();
    assert!([Some(143), Some(3)].contains(&code), "{code:?}");
    assert!(project.expect(0, &["jobs", "list"]).out.contains("DONE"));
}
