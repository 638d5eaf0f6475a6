//! Attempts of real steps: what is tried again, what a time limit ends, what is shown and kept of it.

use std::io::Read;

use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};

use crate::running::pipe;
use crate::support::Project;

/// A step that fails until it has been tried `n` times.
fn fails_until(n: u32, keys: &str) -> Project {
    let run = format!(
        "echo try >>tries; n=$(wc -l <tries); echo attempt $n; [ $n -ge {n} ] || exit 75; echo a >{{{{ output }}}}"
    );
    Project::new(&format!("[dataset.a]\npath = \"a\"\nrun = '''{run}'''\n{keys}\n"))
}

/// What was shown, without what differs from run to run.
fn shown(project: &Project, text: &str) -> String {
    let job = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    let job: serde_json::Value = serde_json::from_str(&job).unwrap();
    let text = text.replace(job[0]["id"].as_str().unwrap(), "JOB");
    let is_time = |word: &str| {
        let word = word.trim_end_matches(',');
        let number = word.strip_suffix("ms").or_else(|| word.strip_suffix('s'));
        number.is_some_and(|number| number.parse::<f64>().is_ok())
    };
    let is_clock = |word: &str| word.matches(':').count() == 2;
    let words = |line: &str| {
        let words = line.split_whitespace().filter(|word| !is_clock(word));
        let took = |word: &str| if word.ends_with(',') { "TOOK," } else { "TOOK" }.to_owned();
        words.map(|word| if is_time(word) { took(word) } else { word.to_owned() }).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(words).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_flaky_step_is_built_and_named_as_such() {
    let project = fails_until(3, "retry = { max = 2, delay = \"0s\" }");
    let said = project.expect(0, &["run", "-j1"]);
    assert_snapshot!(shown(&project, &said.out), @r#"
    JOB · 1 of 1 step · -j1
    retry a TOOK exit 75, attempt 1/3
    retry a TOOK exit 75, attempt 2/3
    built a TOOK flaky: attempt 3/3, TOOK in all
    flaky a attempt 3/3, TOOK in all, before: exit 75 .kiln/logs/JOB/a.2.log
    1 built (1 flaky) · TOOK
    "#);
    let list: serde_json::Value =
        serde_json::from_str(&project.expect(0, &["jobs", "list", "--format", "json"]).out).unwrap();
    assert_eq!((list[0]["flaky"].as_u64(), list[0]["built"].as_u64()), (Some(1), Some(1)));
    assert!(project.expect(0, &["jobs", "list"]).out.contains("1 flaky"));
    let show = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(shown(&project, &show).contains("flaky: attempt 3/3, TOOK in all, before: exit 75"), "{show}");
    let why = project.expect(0, &["why", "a"]).out;
    assert!(shown(&project, &why).contains(" built TOOK, TOOK with 3 attempts "), "{why}");
    let log = project.expect(0, &["jobs", "log", "last"]).out;
    assert_eq!(log, "== a, attempt 1 ==\nattempt 1\n== a, attempt 2 ==\nattempt 2\n== a, attempt 3 ==\nattempt 3\n");
    assert_eq!(project.expect(0, &["jobs", "log", "last", "a"]).out, log);
}

#[test]
fn the_last_attempt_counts() {
    let project = fails_until(9, "retry = { max = 1, delay = \"0s\", on = [75] }");
    let said = project.expect(1, &["run", "-j1"]);
    assert_snapshot!(shown(&project, &said.out), @r#"
    JOB · 1 of 1 step · -j1
    retry a TOOK exit 75, attempt 1/2
    FAILED a TOOK exit 75, attempt 2/2, TOOK in all
    $ echo try >>tries; n=$(wc -l <tries); echo attempt $n; [ $n -ge 9 ] || exit 75; echo a >…/a
    | attempt 2
    log .kiln/logs/JOB/a.2.log
    FAILED a pipeline.toml:6 exit 75, attempt 2/2, TOOK in all
    log .kiln/logs/JOB/a.2.log
    again kiln run -j 1 a

    1 failed · TOOK
    "#);
    assert!(!project.exists("a"));
}

#[test]
fn what_on_does_not_name_is_not_tried_again() {
    let project =
        fails_until(9, "retry = { max = 3, delay = \"0s\", on = [1, \"timeout\", { text = \"attempt [5-9]\" }] }");
    project.expect(1, &["run"]);
    assert_eq!(project.read("tries"), "try\n");
    let project = fails_until(3, "retry = { max = 3, delay = \"0s\", on = [{ text = \"attempt [1-2]$\" }] }");
    project.expect(0, &["run"]);
    assert_eq!(project.read("tries"), "try\ntry\ntry\n");
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = [\"./no_such_program\"]\nretry = 5\n");
    let said = project.expect(1, &["run"]);
    assert!(!said.out.contains("retry"), "{}", said.out);
}

#[test]
fn a_step_that_takes_too_long_is_stopped() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = 'echo half >{{ output }}; read -r go <gate'\ntimeout = \"200ms\"\nretry = { max = 1, delay = \"0s\" }\n",
    );
    pipe(&project, "gate");
    let said = project.expect(1, &["run"]);
    assert!(said.out.contains("timed out after 0.2s, attempt 1/2"), "{}", said.out);
    assert!(said.out.contains("FAILED a  pipeline.toml:6  timed out after 0.2s, attempt 2/2"), "{}", said.out);
    assert!(!project.exists("a"));
}

#[test]
fn the_time_of_a_run_is_limited() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = 'read -r go <gate'\n[dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = 'echo b >{{ output }}'\n",
    );
    pipe(&project, "gate");
    let said = project.expect(124, &["run", "--timeout", "300ms"]);
    assert!(said.out.contains("aborted: time limit of 0.3s"), "{}", said.out);
    assert!(project.expect(0, &["jobs", "list"]).out.contains("ABORTED"));
    project.expect(2, &["run", "--timeout", "0s"]);
    project.expect(2, &["run", "--timeout", "5"]);
}

#[test]
fn a_third_signal_ends_the_program_at_once() {
    // Nobody reads what is shown, so that the program waits for its own output and hears nothing else.
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = 'head -c 4000000 /dev/zero | tr \"\\\\0\" \"x\"; echo a >{{ output }}'\n",
    );
    let mut child = project.start(&["run", "--output", "stream"]);
    let mut out = child.stdout.take().unwrap();
    let mut first = [0; 64 << 10];
    while !first.contains(&b'x') {
        assert!(out.read(&mut first).unwrap() > 0);
    }
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    let code = child.wait().unwrap().code().unwrap();
    assert!([129, 130, 143].contains(&code), "{code}");
    project.settled();
    // Whatever was reached: the history is sound and the next run goes on.
    assert!(project.expect(0, &["jobs", "list"]).out.contains("ABORTED"));
    project.expect(0, &["run"]);
}
