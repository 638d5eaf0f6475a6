//! The history as users see it: the list and its filters, one run in full, its logs.

use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use crate::running::{Gate, Running, hear, pipe};
use crate::support::{Project, Said};

const TWO: &str = "[dataset.a]\npath = \"a\"\nrun = 'echo from a; echo a >{{ output }}'\n\
                   [dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = 'echo from b; test -e ok; echo b >{{ output }}'\n";

/// A history of three runs, the newest first: DONE of `a`, DONE of all, FAILED of all.
fn history() -> Project {
    let project = Project::new(TWO);
    project.expect(1, &["run"]);
    project.write("ok", "");
    project.expect(0, &["run"]);
    project.expect(0, &["run", "a"]);
    project
}

fn json(said: &Said) -> Vec<Value> {
    serde_json::from_str(&said.out).unwrap()
}

fn list(project: &Project, filter: &[&str]) -> Vec<Value> {
    json(&project.expect(0, &[&["jobs", "list", "--format", "json"], filter].concat()))
}

fn ids(jobs: &[Value]) -> Vec<&str> {
    jobs.iter().map(|job| job["id"].as_str().unwrap()).collect()
}

#[test]
fn an_id_names_the_pipeline_and_the_moment_and_is_unique() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = 'echo a >{{ output }}'\n");
    for _ in 0..5 {
        project.expect(0, &["run"]);
    }
    let jobs = list(&project, &[]);
    let mut ids = ids(&jobs);
    for id in &ids {
        let stamp = id.strip_prefix("build_p_").unwrap();
        let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00-00-00.000", "{id}");
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

#[test]
fn the_list_has_each_run_with_its_fields() {
    let project = history();
    let jobs = list(&project, &[]);
    let states: Vec<_> = jobs.iter().map(|job| job["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["DONE", "DONE", "FAILED"]);
    let targets: Vec<_> = jobs.iter().map(|job| job["targets"].clone()).collect();
    assert_eq!(Value::from(targets), serde_json::json!([["a"], [], []]));
    for job in &jobs {
        let [start, end] =
            ["start", "end"].map(|field| job[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
        assert!(start <= end, "{job}");
    }
    assert_eq!((&jobs[2]["built"], &jobs[2]["failed"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(jobs[2]["why"], "b: exit 1");
    let text = project.expect(0, &["jobs", "list"]).out;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[0],
        ["JOB", "STATE", "BUILT", "FAIL", "START", "TOOK", "TARGETS", "WHY"],
        "what is the same for all is left out"
    );
    assert_eq!(lines[1][1..4], ["DONE", "0", "0"]);
    assert_eq!(lines[1][6..], ["a", "up", "to", "date"]);
    assert_eq!(lines[3][1..4], ["FAILED", "1", "1"]);
    assert_eq!(lines[3][6..], ["(everything)", "b:", "exit", "1"]);
    for line in &lines[1..] {
        let part = line[0].trim_start_matches('…');
        project.expect(0, &["jobs", "show", part]);
    }
}

#[test]
fn the_list_is_filtered() {
    let project = history();
    let all = list(&project, &[]);
    let [newest, middle, oldest] = ids(&all).try_into().unwrap();
    let check = |filter: &[&str], expect: &[&str]| assert_eq!(ids(&list(&project, filter)), expect, "{filter:?}");
    check(&["--state", "FAILED"], &[oldest]);
    check(&["--state", "done"], &[newest, middle]);
    check(&["--state", "ABORTED"], &[]);
    assert!(project.expect(2, &["jobs", "list", "--limit", "0"]).err.contains("write a whole number from 1 on"));
    check(&["--limit", "1"], &[newest]);
    check(&["--state", "done", "--limit", "1"], &[newest]);
    let began = |i: usize| all[i]["start"].as_str().unwrap();
    check(&["--since", began(1)], &[newest, middle]);
    check(&["--until", began(1)], &[oldest]);
    check(&["--since", began(1), "--until", began(0)], &[middle]);
    check(&["--since", "2020-01-01"], &[newest, middle, oldest]);
    check(&["--until", "2020-01-01T02:00"], &[]);
    assert_eq!(project.expect(0, &["jobs", "list", "--state", "RUNNING"]).out, "no runs\n");
    let said = project.expect(2, &["jobs", "list", "--since", "tomorrow"]);
    assert!(said.err.contains("--since tomorrow") && said.err.contains("2026-11-01"), "{}", said.err);
    project.expect(2, &["jobs", "list", "--state", "BROKEN"]);
}

#[test]
fn a_history_elsewhere_is_read_there() {
    let mut project = Project::new(TWO);
    project.expect(1, &["run", "--state", "history"]);
    assert_eq!(list(&project, &[]).len(), 0);
    for arguments in [&["--state", "history", "jobs", "list"][..], &["jobs", "list", "--state-dir", "history"]] {
        assert!(project.expect(0, arguments).out.contains("FAILED"), "{arguments:?}");
    }
    assert!(project.expect(0, &["jobs", "show", "last", "--state", "history"]).out.contains("--state history b\n"));
    project.variable("KILN_STATE", "history");
    assert_eq!(list(&project, &["--state", "FAILED"]).len(), 1);
    assert_eq!(project.expect(0, &["jobs", "log", "last", "b"]).out, "from b\n");
}

#[test]
fn with_a_file_only_the_runs_of_its_pipeline_count() {
    let project = Project::empty();
    for (name, step) in [("aa", "true"), ("bb", "false")] {
        let head = format!("[pipeline]\nformat = 1\nname = \"{name}\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n");
        project
            .write(&format!("pipelines/{name}.toml"), format!("{head}[task.{name}]\nrun = 'echo of {name}; {step}'\n"));
    }
    let none = project.expect(2, &["jobs", "show", "last", "-f", "pipelines/bb.toml"]);
    assert!(none.err.contains("`bb` has no run yet"), "{}", none.err);
    project.expect(1, &["run", "-f", "pipelines/bb.toml"]);
    project.expect(0, &["run", "-f", "pipelines/aa.toml"]);
    let all = list(&project, &[]);
    let [aa, bb] = ids(&all).try_into().unwrap();
    let of = |file: &str| [format!("pipelines/{file}.toml")];
    for (file, id) in [("aa", aa), ("bb", bb)] {
        let file = &of(file)[0];
        assert_eq!(ids(&list(&project, &["-f", file])), [id]);
        for part in ["last", &id[..10], "build_"] {
            let text = project.expect(0, &["jobs", "show", part, "-f", file]).out;
            assert!(text.starts_with(&format!("job      {id}\n")), "{part}: {text}");
        }
        let log = project.expect(0, &["jobs", "log", "last", "-f", file]).out;
        assert_eq!(log.contains("of bb"), id == bb, "{log}");
    }
    project.expect(0, &["jobs", "wait", "last"]);
    project.expect(1, &["jobs", "wait", "last", "-f", "pipelines/bb.toml"]);
    // Beside a state that is named, too; and an id in full is clear by itself.
    assert_eq!(ids(&list(&project, &["-f", "pipelines/bb.toml", "--state-dir", ".kiln"])), [bb]);
    assert!(project.expect(0, &["jobs", "show", bb, "-f", "pipelines/aa.toml"]).out.contains(bb));
    project.expect(2, &["jobs", "show", &bb[..10], "-f", "pipelines/aa.toml"]);
    let table = project.expect(0, &["jobs", "list"]).out;
    assert!(table.contains("  PIPELINE") && table.contains("  bb  "), "{table}");
    assert!(!project.expect(0, &["jobs", "list", "-f", "pipelines/bb.toml"]).out.contains("PIPELINE"));
}

#[test]
fn below_a_pipeline_it_is_told_where_it_is() {
    let project = history();
    project.write("sub/below/file", "");
    for arguments in [&["run"][..], &["plan"], &["jobs", "list"], &["gc", "--dry-run"], &["check"]] {
        let output = project.command(arguments).current_dir(project.path("sub/below")).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {text}");
        assert!(
            text.contains("there is one above: kiln -f ../../pipeline.toml, or kiln -C ../..\n"),
            "{arguments:?} {text}"
        );
    }
    // Of several none is chosen; those that are here are nearer, whatever they are called.
    let said = |project: &Project| {
        let output = project.command(&["plan"]).current_dir(project.path("sub/below")).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let several = Project::empty();
    for name in ["pipelines/a.toml", "pipelines/b.toml", "sub/below/c.toml", "sub/below/cargo.toml"] {
        several.write(name, project.read("pipeline.toml"));
    }
    several.write("sub/below/cargo.toml", "[package]\n");
    assert!(said(&several).contains("name one of those that are here with --file: c.toml\n"), "{}", said(&several));
    std::fs::remove_file(several.path("sub/below/c.toml")).unwrap();
    let above = "name one of those above with --file: ../../pipelines/a.toml, ../../pipelines/b.toml\n";
    assert!(said(&several).contains(above), "{}", said(&several));
    let arguments = ["jobs", "list", "-f", "../../pipeline.toml", "--format", "json"];
    let output = project.command(&arguments).current_dir(project.path("sub/below")).output().unwrap();
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap().len(), 3);
}

#[test]
fn a_run_is_found_by_last_and_by_a_part_that_only_it_has() {
    let project = history();
    let all = list(&project, &[]);
    let [newest, _, oldest] = ids(&all).try_into().unwrap();
    let named = |id: &str| project.expect(0, &["jobs", "show", id]).out.lines().next().unwrap().to_owned();
    assert_eq!(named("last"), format!("job      {newest}"));
    assert_eq!(named(oldest), format!("job      {oldest}"));
    assert_eq!(named(oldest.strip_prefix("build_p_").unwrap()), format!("job      {oldest}"));
    let said = project.expect(2, &["jobs", "show", "build_p_"]);
    assert!(said.err.contains("`build_p_` is part of the ids of 3 runs"), "{}", said.err);
    assert!(said.err.contains(newest) && said.err.contains(oldest), "{}", said.err);
    let said = project.expect(2, &["jobs", "show", "nonsense"]);
    assert!(said.err.contains("no run `nonsense`") && said.err.contains("kiln jobs list"), "{}", said.err);
    let said = Project::empty().expect(2, &["jobs", "show", "last"]);
    assert!(said.err.contains("there is no run yet"), "{}", said.err);
}

#[test]
fn a_run_is_shown_in_full() {
    let project = history();
    let all = list(&project, &["--state", "FAILED"]);
    let text = project.expect(0, &["jobs", "show", ids(&all)[0]]).out;
    for expect in [
        "state    FAILED · b: exit 1\n",
        "file     pipeline.toml · p · P\n",
        "targets  (everything)\n",
        "by tester on ",
        "1 built · 1 failed · ",
        "FAILED b  pipeline.toml:9  exit 1\n",
        "  | from b\n",
        "  again  kiln run b\n",
    ] {
        assert!(text.contains(expect), "{expect:?} is not in\n{text}");
    }
    let steps: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert!(steps.contains(&vec!["STATE", "STEP", "TOOK", "WHY"]), "{text}");
    assert!(
        steps.iter().any(|words| words.starts_with(&["built", "a"]) && words.ends_with(&["never", "built"])),
        "{text}"
    );
    let log = text.lines().find_map(|line| line.strip_prefix("  log    ")).unwrap();
    assert_eq!(project.read(log), "from b\n");
}

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
fn a_history_that_is_not_there_is_told_as_such() {
    let project = Project::new("[task.a]\nrun = 'true'\n");
    let said = project.expect(0, &["jobs", "list", "--state-dir", "nope"]).out;
    assert_eq!(said, "no runs: there is no history in nope\n");
    let said = project.expect(3, &["run", "--state", "/proc/none"]).err;
    assert!(
        said.contains("no state can be kept in /proc/none") && said.contains("help: `--state DIR` or KILN_STATE"),
        "{said}"
    );
}

#[test]
fn a_variable_that_is_empty_names_no_state() {
    let mut project = Project::new("[task.a]\nrun = 'true'\n");
    project.variable("KILN_STATE", "");
    project.expect(0, &["run"]);
    assert!(project.exists(".kiln/kiln.db"));
    let said = project.expect(2, &["plan", "--state", ""]).err;
    assert!(!said.contains("--state-dir"), "{said}");
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
fn runs_are_found_by_what_they_built() {
    let project = history();
    let states = |filter: &[&str]| {
        list(&project, filter).iter().map(|job| job["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // All runs of everything are about it, whatever came of that.
    assert_eq!(states(&["--output", "a"]), ["DONE", "DONE", "FAILED"]);
    assert_eq!(states(&["--output", "b"]), ["DONE", "FAILED"]);
    assert_eq!(states(&["--output", "./b", "--limit", "1"]), ["DONE"]);
    let said = project.expect(2, &["jobs", "list", "--output", "bb"]).err;
    assert!(said.starts_with("error: --output bb: there is no such node, nor has a run built one\n"), "{said}");
    // History outlives its file.
    std::fs::remove_file(project.path("pipeline.toml")).unwrap();
    assert_eq!(states(&["--output", "b"]), ["DONE", "FAILED"]);
}

#[test]
fn runs_are_listed_by_age_too() {
    let project = history();
    for (since, n) in [("2d", 3), ("12h", 3), ("yesterday", 3), ("1h 30m", 3)] {
        assert_eq!(list(&project, &["--since", since]).len(), n, "{since}");
        assert_eq!(list(&project, &["--until", since]).len(), 3 - n, "{since}");
    }
    let said = project.expect(2, &["jobs", "list", "--since", "2 parsecs"]).err;
    assert!(said.contains("or as an age 2d, 12h, yesterday"), "{said}");
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
fn an_empty_id_names_no_run() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = 'echo a >{{ output }}'\n");
    project.expect(0, &["run"]);
    for arguments in [
        &["jobs", "show", ""][..],
        &["jobs", "show", "…"],
        &["jobs", "log", ""],
        &["jobs", "wait", "last", ""],
        &["jobs", "abort", ""],
        &["jobs", "abort", "…"],
        &["run", "--failed="],
    ] {
        let said = project.expect(2, arguments);
        assert!(said.err.contains("error: an empty id names no run\n"), "{arguments:?}: {}", said.err);
    }
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
fn a_run_whose_process_was_killed_says_so() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = 'exec 3<gate; echo up >up; read -r go <&3; echo a >{{ output }}'\n\
         [dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = 'echo b >{{ output }}'\n",
    );
    pipe(&project, "up");
    let gate = Gate::new(&project, "gate");
    let mut run = Running::start(&project, &[]);
    hear(&project, "up");
    run.until("step_started", Some("a"));
    let id = list(&project, &[])[0]["id"].as_str().unwrap().to_owned();
    drop(run);
    project.settled();
    drop(gate); // should the recipe have outlived Kiln, it ends now
    let aborted = list(&project, &["--state", "ABORTED"]);
    assert_eq!(ids(&aborted), [id.as_str()]);
    let counts = |job: &Value| (job["stopped"].clone(), job["skipped"].clone());
    assert_eq!(counts(&aborted[0]), (1.into(), 1.into()), "before the next run has ended it");
    assert!(project.expect(0, &["jobs", "show", &id]).out.contains("state    ABORTED · "));
}

#[test]
fn what_a_run_was_asked_for_is_shown() {
    let text = "[vars]\nseed = 1\n[dataset.all]\npath = \"all\"\nrun = 'echo {{ vars.seed }} >{{ output }}'\n";
    let project = Project::new(text);
    let first = project.expect(0, &["run", "--var", "seed=8", "all"]).out;
    assert!(first.lines().next().unwrap().ends_with(" · vars seed=8"), "{first}");
    let shown = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(shown.contains("\ntargets  all\nvars     seed=8\nrun      local · smart · "), "{shown}");
    project.expect(0, &["run", "--mode", "forced"]);
    let shown = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(shown.contains("\ntargets  (everything)\nrun      local · forced · "), "a node may be called all: {shown}");
    let list = project.expect(0, &["jobs", "list"]).out;
    let at = list.find("TARGETS").unwrap();
    let asked: Vec<String> = list.lines().map(|line| line.chars().skip(at).collect()).collect();
    assert_eq!(asked[1..], ["(everything) --mode forced", "all --var seed=8"], "{list}");
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
