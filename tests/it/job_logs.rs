//! What steps of runs printed, as `kiln jobs log` shows and follows it.

use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use crate::jobs::{TWO, history, ids, list};
use crate::running::{Gate, Running, hear, pipe};
use crate::support::Project;

#[test]
fn a_log_without_a_last_line_end_leaves_the_next_one_its_own() {
    let project = Project::new("[task.a]\nrun = 'printf open'\n[task.b]\nrun = 'echo b'\n");
    project.expect(0, &["run"]);
    assert_eq!(project.expect(0, &["jobs", "log", "last"]).out, "== a ==\nopen\n== b ==\nb\n");
    assert_eq!(project.expect(0, &["jobs", "log", "last", "a"]).out, "open");
}

#[test]
fn a_log_is_found_by_an_output_of_its_step() {
    let text = "[recipe.split]\noutputs = [\"x\", \"y\"]\nrun = 'echo said; echo >{{ outputs.x }}; echo >{{ outputs.y }}'\n\
                [dataset.x]\npath = \"x\"\n[dataset.y]\npath = \"y\"\n";
    let project = Project::new(text);
    let said = project.expect(2, &["jobs", "log", "x"]);
    assert!(said.err.contains("`split` has not run yet"), "{}", said.err);
    project.expect(0, &["run"]);
    for arguments in [&["jobs", "log", "x"][..], &["jobs", "log", "last", "y"], &["jobs", "log", "split"]] {
        assert_eq!(project.expect(0, arguments).out, "said\n", "{arguments:?}");
    }
}

#[test]
fn logs_are_printed_for_a_run_or_a_step() {
    let project = history();
    let all = list(&project, &[]);
    let [newest, middle, oldest] = ids(&all).try_into().unwrap();
    assert_eq!(project.expect(0, &["jobs", "log", oldest]).out, "== a ==\nfrom a\n== b ==\nfrom b\n");
    assert_eq!(project.expect(0, &["jobs", "log", oldest, "b"]).out, "from b\n");
    assert_eq!(project.expect(0, &["jobs", "log", middle, "--follow"]).out, "== b ==\nfrom b\n");
    assert_eq!(project.expect(0, &["jobs", "log", newest]).out, "");
    let said = project.expect(2, &["jobs", "log", middle, "bb"]);
    assert!(said.err.contains("has no step `bb`"), "{}", said.err);
    let said = project.expect(2, &["jobs", "log", middle, "a"]);
    assert!(said.err.contains("has no step `a` that was built"), "{}", said.err);
}

#[test]
fn a_step_that_never_ran_says_so_and_why() {
    let text = "[dataset.s]\npath = \"s\"\n[dataset.c]\npath = \"c\"\ninputs = [\"s\"]\nrun = 'echo >{{ output }}'\n\
        [task.d]\ninputs = [\"c\"]\nrun = \"true\"\n";
    let project = Project::new(&(TWO.to_owned() + text));
    project.write("ok", "");
    project.write("s", "1");
    project.expect(0, &["run"]);
    std::fs::remove_file(project.path("ok")).unwrap();
    std::fs::remove_file(project.path("s")).unwrap();
    let text = project.read("pipeline.toml").replace("[task.d]\ninputs = [\"c\"]", "[task.d]\ninputs = [\"b\", \"c\"]");
    project.write("pipeline.toml", text.replace("echo from b", "echo from bb"));
    project.expect(1, &["run", "-k", "--mode", "forced"]);
    let log = |step: &str| project.expect(0, &["jobs", "log", "last", step]);
    assert_eq!(log("b").out, "from bb\n");
    let told = log("c").err;
    assert!(told.starts_with("note: `c` never ran: source `s` is not there, and `c` needs it: there is"), "{told}");
    let told = log("d").err;
    assert!(told == "note: `d` never ran: b failed\n" || told == "note: `d` never ran: c failed\n", "{told}");
    project.write("s", "1");
    project.expect(1, &["run", "-j1", "--mode", "forced", "d"]);
    assert_eq!(log("d").err, "note: `d` never ran: b failed\n");
}

#[test]
fn only_the_end_of_logs_is_printed() {
    let step = |name: &str, text: &str| {
        format!("[dataset.{name}]\npath = \"{name}\"\nrun = \"printf '{text}'; touch {{{{ output }}}}\"\n")
    };
    let project = Project::new(&(step("a", "1\\\\n2\\\\n3\\\\n") + &step("b", "4\\\\n5\\\\n6")));
    project.expect(0, &["run"]);
    for (arguments, expected) in [
        (&["--tail", "2"][..], "== a ==\n2\n3\n== b ==\n5\n6"),
        (&["--tail", "1", "--follow"], "== a ==\n3\n== b ==\n6"),
        (&["a", "--tail", "9"], "1\n2\n3\n"),
        (&["a", "--tail", "18446744073709551615"], "1\n2\n3\n"),
        (&["--activity", "b", "--tail", "1"], "6"),
        (&["a", "--tail", "0"], ""),
    ] {
        let said = project.expect(0, &[&["jobs", "log", "last"], arguments].concat());
        assert_eq!((said.out.as_str(), said.err.as_str()), (expected, ""), "{arguments:?}");
    }
    project.expect(2, &["jobs", "log", "last", "a", "--activity", "b"]);
    let said = project.expect(2, &["jobs", "wait", "last", "--timeout", "3000000000000000h"]);
    assert!(said.err.contains("'3000000000000000h' for '--timeout <TIME>': it is too long"), "{}", said.err);
}

#[test]
fn nothing_is_followed_for_a_reader_that_has_gone() {
    let waits = "echo one; echo up >up; read -r go <gate; echo two; read -r go <gate; echo a >{{ output }}";
    let project = Project::new(&format!("[dataset.a]\npath = \"a\"\nrun = '{waits}'\n"));
    pipe(&project, "up");
    let gate = Gate::new(&project, "gate");
    let mut run = Running::start(&project, &[]);
    hear(&project, "up");
    run.until("step_started", Some("a"));
    let mut follower = project.start(&["jobs", "log", "last", "--follow"]);
    let mut out = BufReader::new(follower.stdout.take().unwrap());
    let mut text = String::new();
    while !text.ends_with("one\n") {
        assert!(out.read_line(&mut text).unwrap() > 0, "{text}");
    }
    drop(out);
    gate.open();
    // The run goes on meanwhile.
    assert!(follower.wait().unwrap().success());
    gate.open();
    run.end(0);
}

#[test]
fn a_run_that_goes_on_is_followed() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = 'echo one; echo up >up; read -r go <gate; echo two; echo a >{{ output }}'\n",
    );
    pipe(&project, "up");
    let gate = Gate::new(&project, "gate");
    let mut run = Running::start(&project, &[]);
    hear(&project, "up");
    run.until("step_started", Some("a"));
    let job = &list(&project, &[])[0];
    assert_eq!((&job["state"], &job["end"]), (&Value::from("RUNNING"), &Value::Null));
    // No event comes while a step works: what it has taken so far is told all the same.
    let store = rusqlite::Connection::open(project.path(".kiln/kiln.db")).unwrap();
    store.execute("UPDATE runs SET started = strftime('%Y-%m-%dT%H:%M:%fZ', started, '-2 hours')", []).unwrap();
    let shown = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(
        shown.contains("\nrun     a     2h00m  never built\n") && shown.contains("\nnothing built · 2h00m\n"),
        "{shown}"
    );
    for arguments in [&["jobs", "log", "last", "--follow"][..], &["jobs", "log", "last", "a", "--follow"]] {
        // The second one comes when the run is over, and ends at once.
        let mut follower = project.start(arguments);
        let mut out = BufReader::new(follower.stdout.take().unwrap());
        let mut text = String::new();
        while !text.ends_with("one\n") {
            assert!(out.read_line(&mut text).unwrap() > 0, "{text}");
        }
        if arguments.len() == 4 {
            gate.open();
            run.end(0);
        }
        out.read_to_string(&mut text).unwrap();
        assert_eq!(text.strip_prefix("== a ==\n").unwrap_or(&text), "one\ntwo\n");
        assert_eq!(follower.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn of_a_step_that_is_over_nothing_more_is_printed() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = 'echo from a; echo a >{{ output }}'\n\
         [dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = 'echo from b; read -r go <gate; echo b goes on; echo b >{{ output }}'\n",
    );
    let gate = Gate::new(&project, "gate");
    let mut run = Running::start(&project, &[]);
    run.until("step_started", Some("b"));
    let mut follower = project.start(&["jobs", "log", "last", "--follow"]);
    let mut out = BufReader::new(follower.stdout.take().unwrap());
    let mut text = String::new();
    while !text.ends_with("from b\n") {
        assert!(out.read_line(&mut text).unwrap() > 0, "{text}");
    }
    // The log of the one before is not looked at any more, of however many steps there are.
    let log = &run.events.iter().find(|event| event["type"] == "step_started").unwrap()["log"];
    let path = project.path(&format!(".kiln/{}", log.as_str().unwrap()));
    std::fs::write(path, "from a\nfrom nobody\n").unwrap();
    gate.open();
    run.end(0);
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, "== a ==\nfrom a\n== b ==\nfrom b\nb goes on\n");
    assert!(follower.wait().unwrap().success());
}

#[test]
fn the_log_of_a_step_needs_no_run() {
    let project = history();
    assert_eq!(project.expect(0, &["jobs", "log", "b"]).out, "from b\n");
    assert_eq!(project.expect(0, &["jobs", "log", "a", "--tail", "1"]).out, "from a\n");
    // The last run built nothing.
    let said = project.expect(2, &["jobs", "log", "last", "b"]).err;
    let ran = list(&project, &[])[1]["id"].as_str().unwrap().to_owned();
    let help = format!("help: {ran} is the last run that built it: `kiln jobs log b`\n");
    assert!(said.contains("has no step `b` that was built") && said.ends_with(&help), "{said}");
    let said = project.expect(2, &["jobs", "log", "nothing"]).err;
    assert!(said.contains("there is no run `nothing`, and no step of that name has run"), "{said}");
    project.write("pipeline.toml", project.read("pipeline.toml") + "[task.never_run]\ninputs = []\nrun = \"true\"\n");
    for arguments in [&["jobs", "log", "never_rnu"][..], &["jobs", "log", "last", "never_rnu"]] {
        let said = project.expect(2, arguments).err;
        assert!(said.ends_with("help: did you mean `never_run`?\n"), "{said}");
    }
    let said = project.expect(2, &["jobs", "log", "never_run"]).err;
    assert_eq!(said, "error: `never_run` has not run yet\n  help: `kiln run never_run` builds it\n");
}
