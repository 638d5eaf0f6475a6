//! What a run says and how it ends: output of steps, colours, events, diagnostics, exit codes, signals.

use rustix::process::Signal;

use crate::running::{Gate, Running, hear, pipe};
use crate::support::{Project, lines};

const TALKS: &str = "[dataset.a]\npath = \"a\"\nrun = 'echo one; echo two >&2; echo a >{{ output }}'\n\
                     [dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = 'echo three; echo b >{{ output }}'\n";

/// What was said, without what stands before the last words of a line.
fn ends(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("{word:?} does not follow in\n{text}"));
        rest = &rest[at + word.len()..];
    }
}

#[test]
fn output_is_shown_as_asked_for() {
    let project = Project::new(TALKS);
    let failed = project.expect(0, &["run", "--mode", "forced"]).out;
    assert!(!failed.contains("one"), "{failed}");
    let streamed = project.expect(0, &["run", "--mode", "forced", "--output", "stream"]).out;
    ends(&streamed, &["build_p_", "a | one\na | two\n", "same   a", "b | three\n", "same   b", "2 unchanged"]);
    let grouped = project.expect(0, &["run", "--mode", "forced", "--output", "grouped"]).out;
    ends(
        &grouped,
        &["build_p_", "same   a", "content unchanged\n  | one\n  | two\n", "same   b", "\n  | three\n", "2 unchanged"],
    );
}

#[test]
fn a_pipe_gets_one_line_for_each_event() {
    let project = Project::new(TALKS);
    let said = project.expect(0, &["run"]);
    assert_eq!(said.out.lines().count(), 4, "{}", said.out);
    assert!(!said.out.contains(['\u{1b}', '\r']), "{:?}", said.out);
    assert_eq!(said.err, "");
}

#[test]
fn colours_come_only_where_they_are_wanted() {
    let mut project = Project::new(TALKS);
    let green = "\u{1b}[32mbuilt\u{1b}[0m";
    assert!(project.expect(0, &["run", "--color", "always"]).out.contains(green));
    for arguments in [&["run", "--mode", "forced"][..], &["run", "--mode", "forced", "--color", "never"], &["plan"]] {
        assert!(!project.expect(0, arguments).out.contains('\u{1b}'), "{arguments:?}");
    }
    project.variable("NO_COLOR", "1");
    assert!(!project.expect(0, &["run", "--mode", "forced"]).out.contains('\u{1b}'));
    assert!(project.expect(0, &["jobs", "list", "--color", "always"]).out.contains("\u{1b}[32mDONE"));
}

#[test]
fn events_are_lines_of_json_in_a_file_or_on_standard_output() {
    let project = Project::new(TALKS);
    let said = project.expect(0, &["run", "--events", "events.jsonl"]);
    assert!(said.out.contains("2 built"), "{}", said.out);
    let events = lines(&project.read("events.jsonl"));
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let step = ["step_started", "step_publishing", "step_ended"];
    assert_eq!(kinds, [&["run_started"][..], &step, &step, &["run_ended"]].concat());
    let seqs: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (0..8).collect::<Vec<_>>());
    let shown = lines(&project.expect(0, &["jobs", "show", "last", "--format", "json"]).out);
    assert_eq!(shown, events, "what is shown is what was kept");
    let said = project.expect(0, &["run", "--events", "-"]);
    assert_eq!(lines(&said.out).len(), 2);
    assert!(said.err.contains("nothing to do · 2 up to date"), "{}", said.err);
    project.expect(2, &["run", "--events", "no/such/folder/events.jsonl"]);
    project.expect(0, &["run", "--events", "events.jsonl"]);
    assert_eq!(lines(&project.read("events.jsonl")).len(), 2, "events may be replaced");
}

#[test]
fn events_replace_nothing_but_events() {
    let project = Project::new(TALKS);
    project.expect(0, &["run"]);
    project.write("empty", "");
    let before = (project.tree(), project.read("pipeline.toml"));
    for (file, why) in [
        ("pipeline.toml", "the file is there and holds no events"),
        (".kiln/kiln.db", "it lies where Kiln keeps its state"),
    ] {
        for mode in ["smart", "forced"] {
            let said = project.expect(2, &["run", "--mode", mode, "--events", file]);
            assert!(said.err.contains(&format!("--events {file}: {why}")), "{}", said.err);
        }
    }
    assert_eq!((project.tree(), project.read("pipeline.toml")), before);
    project.expect(0, &["run", "--events", "empty"]);
}

#[test]
fn what_was_forced_and_failed_is_tried_again_by_the_command_that_is_told() {
    let project = Project::new("[dataset.a]\npath = \"build/a\"\nrun = '[ ! -e fail ]; echo a >{{ output }}'\n");
    project.expect(0, &["run"]);
    project.write("fail", "");
    let said = project.expect(1, &["run", "--mode", "forced"]);
    assert!(said.out.contains("again  kiln run --mode only a\n"), "{}", said.out);
    std::fs::remove_file(project.path("fail")).unwrap();
    let said = project.expect(0, &["run", "--mode", "only", "a"]);
    assert!(said.out.contains("1 unchanged"), "{}", said.out);
}

#[test]
fn diagnostics_are_silent_until_asked_for() {
    let mut project = Project::new(TALKS);
    assert_eq!(project.expect(0, &["run"]).err, "");
    let said = project.expect(0, &["-v", "run", "--mode", "forced"]);
    assert!(said.err.contains("the pipeline is read") && said.err.contains("a step starts"), "{}", said.err);
    assert!(said.out.contains("2 unchanged") && !said.out.contains("DEBUG"), "{}", said.out);
    project.variable("KILN_LOG", "kiln::run=debug");
    let said = project.expect(0, &["run", "--mode", "forced"]);
    assert!(said.err.contains("a step starts") && !said.err.contains("the pipeline is read"), "{}", said.err);
}

#[test]
fn exit_codes_are_as_documented() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = 'test -e ok; echo a >{{ output }}'\n");
    project.expect(1, &["run"]);
    project.write("ok", "");
    project.expect(1, &["plan", "--check"]);
    project.expect(0, &["run"]);
    project.expect(0, &["plan", "--check"]);
    project.expect(4, &["run", "tag:none"]);
    for wrong in [&["run", "nothing"][..], &["run", "-j", "0"], &["frob"], &["run", "-f", "none.toml"], &[]] {
        project.expect(2, wrong);
    }
    project.write("state", "a file where the state's folder should be");
    let said = project.expect(3, &["run", "--state", "state"]);
    assert!(said.err.contains("state"), "{}", said.err);
    project.pipeline("[dataset.a]\npath = 1\n");
    project.expect(2, &["run"]);
    for fine in [&["--help"][..], &["--version"], &["run", "--help"]] {
        assert_eq!(project.expect(0, fine).err, "");
    }
}

/// A step that is up and waits; one below it.
fn waiting(before: &str) -> (Project, Gate) {
    let up = format!(
        "[dataset.a]\npath = \"a\"\nrun = '''{before}echo half >{{{{ output }}}}; echo up >up; read -r go <gate'''\n"
    );
    let project = Project::new(&(up + "[dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = 'echo b >{{ output }}'\n"));
    pipe(&project, "up");
    let gate = Gate::new(&project, "gate");
    (project, gate)
}

#[test]
fn signals_stop_a_run_and_have_exit_codes() {
    for (signal, name, code) in
        [(Signal::INT, "Ctrl-C", 130), (Signal::TERM, "SIGTERM", 143), (Signal::HUP, "SIGHUP", 129)]
    {
        let (project, _gate) = waiting("");
        let mut run = Running::start(&project, &[]);
        hear(&project, "up");
        run.signal(signal);
        let text = run.end(code);
        let stopping = format!("stopping: {name}");
        assert_eq!(run.story(), ["started a", &stopping, "stopped a", "skipped b (a)", "ended ABORTED"]);
        assert!(text.contains(&format!("aborted: {name}; `kiln run` goes on from here")), "{text}");
        assert!(!project.exists("a"));
        let jobs = project.expect(0, &["jobs", "list", "--format", "json"]).out;
        let jobs: serde_json::Value = serde_json::from_str(&jobs).unwrap();
        assert_eq!((jobs[0]["state"].as_str(), jobs[0]["why"].as_str()), (Some("ABORTED"), Some(name)));
    }
}

#[test]
fn a_second_signal_ends_what_does_not_listen() {
    let (project, _gate) = waiting("trap \"\" TERM INT HUP; ");
    let mut run = Running::start(&project, &[]);
    hear(&project, "up");
    run.signal(Signal::INT);
    run.until("run_stopping", None);
    run.signal(Signal::INT);
    run.end(130);
    assert!(!project.exists("a"));
}

#[test]
fn a_recipe_that_ends_well_although_it_was_asked_to_stop_is_built_or_stopped_but_never_half() {
    let (project, _gate) = waiting("trap \"echo whole >{{ output }}; exit 0\" TERM; ");
    let mut run = Running::start(&project, &[]);
    hear(&project, "up");
    run.signal(Signal::TERM);
    run.end(143);
    assert!(!project.exists("a") || project.read("a") == "whole\n");
    assert!(!project.exists("b"));
}

#[test]
fn a_reader_that_goes_away_stops_no_run() {
    let (project, gate) = waiting("");
    let mut child = project.start(&["run"]);
    drop(child.stdout.take());
    hear(&project, "up");
    gate.open();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(project.exists("b"));
}

#[test]
fn no_name_steers_a_terminal() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = 'echo a >{{ output }}'\n");
    let name = "x\u{1b}[31m\u{9b}y\nz";
    project.write(name, "");
    let shown = "\\u001b]0;title\\u0007 \\u202eturned";
    project.write(
        "shown.toml",
        format!("[pipeline]\nformat = 1\nname = \"p\"\n[dataset.s]\npath = \"a\"\ndescription = \"{shown}\"\nrun = \"true\"\ntools = {{ a = \"exit 3 # {shown}\" }}\n"),
    );
    project.write("good\u{1b}[1m\n.toml", project.read("pipeline.toml"));
    for arguments in [
        &["-C", name, "plan"][..],
        &["run", "-f", name],
        &["check", name],
        &["check", "good\u{1b}[1m\n.toml"],
        &["run", "--junit", &format!("{name}/x")],
        &["run", "--state", name],
        &["run", name],
        &["run", "--engine", name],
        &["why", name],
        &["jobs", "log", name],
        &["run", "--var", &format!("{name}=1")],
        &["show", "-f", "shown.toml", "s"],
        &["plan", "-f", "shown.toml"],
    ] {
        let said = project.kiln(arguments);
        let said = said.out + &said.err;
        assert!(!said.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{arguments:?} {said:?}");
        assert!(said.contains(r"\u{1b}"), "{arguments:?} {said:?}");
    }
}
