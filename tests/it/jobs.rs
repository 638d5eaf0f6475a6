//! The history as users see it: the list and its filters, one run in full.

use serde_json::Value;

use crate::running::{Gate, Running, hear, pipe};
use crate::support::{Project, Said};

pub(crate) const TWO: &str = "[dataset.a]\npath = \"a\"\nrun = 'echo from a; echo a >{{ output }}'\n\
                   [dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = 'echo from b; test -e ok; echo b >{{ output }}'\n";

/// A history of three runs, the newest first: DONE of `a`, DONE of all, FAILED of all.
pub(crate) fn history() -> Project {
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

pub(crate) fn list(project: &Project, filter: &[&str]) -> Vec<Value> {
    json(&project.expect(0, &[&["jobs", "list", "--format", "json"], filter].concat()))
}

pub(crate) fn ids(jobs: &[Value]) -> Vec<&str> {
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
