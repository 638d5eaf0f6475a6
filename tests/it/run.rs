//! Runs of the real program: how many steps run at once and in which order, what a failure does, what stays on disk.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;

use insta::assert_snapshot;

use crate::running::{Gate, Running, hear, pipe, story};
use crate::support::Project;

/// A dataset with a recipe. `{{ output }}` is written by `run` unless it does not.
fn dataset(name: &str, inputs: &[&str], run: &str) -> String {
    format!("[dataset.{name}]\npath = \"build/{name}\"\ninputs = {inputs:?}\nrun = '''{run}'''\n")
}

/// Replaces what is different in each run: job ids, times of day, durations, and with them the widths of columns.
fn steady(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<_> = line.split_whitespace().map(steady_word).collect();
        writeln!(out, "{}{}", &line[..indent], words.join(" ")).unwrap();
    }
    out
}

fn steady_word(word: &str) -> String {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if shape == "00:00:00" || shape == "00:00" {
        return "TIME".to_owned();
    }
    if word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with('s') {
        return "0s".to_owned();
    }
    match shape.find("0000-00-00T00-00-00.000") {
        Some(at) => format!("{}STAMP{}", &word[..at], &word[at + 23..]),
        None => word.to_owned(),
    }
}

#[test]
fn no_more_steps_run_at_once_than_asked_for() {
    for jobs in [1, 3] {
        let step = |i: usize| {
            let name = format!("s{i}");
            dataset(&name, &[], &format!("echo start >>marks; echo {i} >{{{{ output }}}}; echo end >>marks"))
        };
        let project = Project::new(&(0..12).map(step).collect::<String>());
        project.expect(0, &["run", "-j", &jobs.to_string()]);
        let (mut now, mut most) = (0, 0);
        for mark in project.read("marks").lines() {
            now = if mark == "start" { now + 1 } else { now - 1 };
            most = most.max(now);
        }
        assert_eq!(now, 0);
        assert!((1..=jobs).contains(&most), "{most} ran at once with -j {jobs}");
    }
}

#[test]
fn as_many_steps_run_at_once_as_asked_for() {
    // Each waits for its left and its right neighbour: with fewer than four at once none could end.
    let step = |i: usize| {
        let next = (i + 1) % 4;
        dataset(
            &format!("s{i}"),
            &[],
            &format!("echo up >p{next} & read -r up <p{i}; wait; echo \"$up\" >{{{{ output }}}}"),
        )
    };
    let project = Project::new(&(0..4).map(step).collect::<String>());
    (0..4).for_each(|i| pipe(&project, &format!("p{i}")));
    project.expect(0, &["run", "-j", "4"]);
    assert!((0..4).all(|i| project.read(&format!("build/s{i}")) == "up\n"));
}

/// `slow` ends only when the test says so, `above` at once; `below` needs only `above`.
fn uneven(extra: &str) -> (Project, Gate) {
    let slow = dataset("slow", &[], "read -r go <gate; echo s >{{ output }}");
    let rest = dataset("above", &[], "echo a >{{ output }}")
        + &dataset("below", &["above"], &format!("{extra}echo b >{{{{ output }}}}"));
    let project = Project::new(&(slow + &rest));
    let gate = Gate::new(&project, "gate");
    (project, gate)
}

#[test]
fn a_stage_waits_for_the_end_of_the_one_before() {
    let (project, gate) = uneven("");
    let mut run = Running::start(&project, &["-j", "4"]);
    run.until("step_ended", Some("above"));
    gate.open();
    run.end(0);
    let expect =
        ["started slow", "started above", "built above", "built slow", "started below", "built below", "ended DONE"];
    assert_eq!(run.story(), expect);
}

#[test]
fn an_eager_step_waits_only_for_its_inputs() {
    // `slow` is let go by `below` itself.
    let (project, _gate) = uneven("echo go >gate; ");
    let mut run = Running::start(&project, &["-j", "2", "--schedule", "eager"]);
    run.end(0);
    let order = run.story();
    let at = |what: &str| order.iter().position(|event| event == what).unwrap();
    assert!(at("started below") < at("built slow"), "{order:?}");
}

#[test]
fn after_a_failure_running_steps_end_and_no_more_start() {
    let bad = dataset("bad", &[], "exit 3");
    let good = dataset("good", &[], "read -r go <gate; echo g >{{ output }}");
    let project = Project::new(&(bad + &good + &dataset("later", &[], "echo l >{{ output }}")));
    let gate = Gate::new(&project, "gate");
    let mut run = Running::start(&project, &["-j", "2"]);
    run.until("run_stopping", None);
    gate.open();
    run.end(1);
    assert_eq!(
        run.story(),
        [
            "started bad",
            "started good",
            "failed bad",
            "stopping: bad failed",
            "built good",
            "skipped later (-)",
            "ended FAILED"
        ]
    );
    assert!(project.exists("build/good") && !project.exists("build/later"));
}

#[test]
fn fail_fast_kill_stops_running_steps() {
    let bad = dataset("bad", &[], "read -r up <up; exit 3");
    let good = dataset("good", &[], "echo half >{{ output }}; echo up >up; read -r never <never");
    let project = Project::new(&(bad + &good));
    pipe(&project, "up");
    let _never = Gate::new(&project, "never");
    let mut run = Running::start(&project, &["-j", "2", "--fail-fast=kill"]);
    let text = run.end(1);
    let expect = ["started bad", "started good", "failed bad", "stopping: bad failed", "stopped good", "ended FAILED"];
    assert_eq!(run.story(), expect);
    assert!(!project.exists("build/good"));
    assert!(text.contains("1 failed · 1 stopped"), "{text}");
}

#[test]
fn keep_going_builds_all_that_can_be_built() {
    let text = dataset("bad", &[], "exit 1")
        + &dataset("good", &[], "echo g >{{ output }}")
        + &dataset("worse", &["good"], "exit 2")
        + &dataset("below", &["bad", "good"], "exit 9")
        + &dataset("fine", &["good"], "echo f >{{ output }}")
        + &dataset("deep", &["below"], "exit 9");
    let project = Project::new(&text);
    let run = project.expect(1, &["run", "-k", "-j", "1", "--events", "-"]);
    assert_eq!(
        story(&run.out),
        [
            "started bad",
            "failed bad",
            "skipped below (bad)",
            "skipped deep (bad)",
            "started good",
            "built good",
            "started worse",
            "failed worse",
            "started fine",
            "built fine",
            "ended FAILED"
        ]
    );
    let told: Vec<_> = run.err.lines().filter(|line| line.starts_with("FAILED")).collect();
    assert_eq!(told, ["FAILED bad  pipeline.toml:6  exit 1", "FAILED worse  pipeline.toml:14  exit 2"]);
}

#[test]
fn what_the_run_left_blames_no_step_that_it_does_not_need() {
    let text = dataset("bad", &[], "exit 3")
        + &dataset("below", &["bad"], "x")
        + &dataset("other", &[], "echo o >{{ output }}");
    let project = Project::new(&text);
    let run = project.expect(1, &["run", "-j", "1"]).out;
    let shown = project.expect(0, &["jobs", "show", "last"]).out;
    for text in [run, shown] {
        let skipped: Vec<_> = text.lines().filter_map(|line| line.split_once("skip ").map(|(_, rest)| rest)).collect();
        assert_eq!(skipped.len(), 2, "{text}");
        let of = |step: &str| skipped.iter().find(|rest| rest.trim_start().starts_with(step)).unwrap();
        assert!(of("below").contains("  bad failed"), "{text}");
        assert!(of("other").contains("  not started: the run stopped after bad failed"), "{text}");
    }
    assert!(project.expect(0, &["why", "below"]).out.contains("bad failed"));
    let why = project.expect(0, &["why", "other"]).out;
    assert!(why.contains("the run stopped") && !why.contains("bad"), "{why}");
}

#[test]
fn so_many_failures_are_enough() {
    let bad = |name: &str| dataset(name, &[], "exit 1");
    let project = Project::new(&(bad("a") + &dataset("b", &[], "echo b >{{ output }}") + &bad("c") + &bad("d")));
    let run = project.expect(1, &["run", "--max-fail", "2", "-j", "1", "--events", "-"]);
    // `b` is put in place while `c` runs, so that its end may come before or after that of `c`.
    let (built, others): (Vec<_>, Vec<_>) = story(&run.out).into_iter().partition(|event| event == "built b");
    assert_eq!(built.len(), 1);
    assert_eq!(
        others,
        [
            "started a",
            "failed a",
            "started b",
            "started c",
            "failed c",
            "stopping: c failed",
            "skipped d (-)",
            "ended FAILED"
        ]
    );
}

#[test]
fn a_failed_step_is_told_last_with_what_helps() {
    let ok = "echo one; echo two; cp {{ inputs.a }} {{ output }}";
    let text = |b: &str| {
        dataset("a", &[], "echo a >{{ output }}")
            + &dataset("b", &["a"], b)
            + &dataset("c", &["b"], "cp {{ inputs.b }} {{ output }}")
    };
    let project = Project::new(&text(ok));
    project.expect(0, &["run", "-j", "1"]);
    project.pipeline(&text(
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done; echo half >{{ output }}; echo no good >&2; exit 3",
    ));
    let said = project.expect(1, &["run", "-j", "1", "-f", "pipeline.toml"]);
    assert_eq!(said.err, "");
    let today = project.expect(0, &["jobs", "show", "last"]).out;
    let began = today.lines().find_map(|line| line.strip_prefix("began    ")).unwrap();
    let day = began.split(" 20").next().unwrap();
    assert_snapshot!(steady(&said.out).replace(day, "DAY"), @r#"
    TIME build_p_STAMP · 2 of 3 steps · -j1
    TIME FAILED b 0s exit 3
      $ for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done; echo half >…/b; echo no good >&2; exit 3
      | line 4
      | line 5
      | line 6
      | line 7
      | line 8
      | line 9
      | line 10
      | line 11
      | line 12
      | no good
      log .kiln/logs/build_p_STAMP/b.1.log
    TIME skip c b failed
    FAILED b pipeline.toml:10 exit 3
      kept b of DAY TIME
      log .kiln/logs/build_p_STAMP/b.1.log
      again kiln run -j 1 b

    1 failed · 1 skipped · 1 up to date · 0s
    again, with what was skipped: kiln run -j 1 --failed
    "#);
    let log = said.out.lines().find_map(|line| line.strip_prefix("  log    ")).unwrap();
    assert!(project.read(log).starts_with("line 1\nline 2\n"));
}

#[test]
fn a_recipe_that_fails_halfway_harms_nothing() {
    let write = "echo $1 >{{ outputs.table }}; echo $1 >{{ outputs.charts }}/one.svg; echo $1 >{{ outputs.other }}";
    let text = |run: &str| {
        format!(
            "[dataset.table]\npath = \"build/table.csv\"\n[folder.charts]\npath = \"build/charts\"\n\
             [dataset.other]\npath = \"build/deep/er/other.csv\"\n\
             [recipe.both]\noutputs = [\"table\", \"charts\", \"other\"]\nrun = '''{run}'''\n"
        )
    };
    let project = Project::new(&text(&format!("set -- old; {write}")));
    project.write("build/notes.txt", "not ours");
    project.expect(0, &["run"]);
    assert_eq!(project.read("build/charts/one.svg"), "old\n");
    let before = project.tree();
    let harmed = |run: &str, why: &str| {
        project.pipeline(&text(run));
        let said = project.expect(1, &["run"]);
        assert!(said.out.contains(why), "{why} is not in\n{}", said.out);
        assert!(said.out.contains("kept   table, charts, other of "), "{}", said.out);
        let after = project.tree();
        let data = |tree: &[(String, String)]| {
            tree.iter().filter(|(path, _)| path.starts_with("build")).cloned().collect::<Vec<_>>()
        };
        assert_eq!(data(&after), data(&before));
    };
    harmed(&format!("set -- new; {write}; exit 3"), "exit 3");
    harmed("echo new >{{ outputs.table }}; echo new >{{ outputs.charts }}/one.svg", "other");
    harmed(&format!("set -- new; {write}; kill -9 $$"), "killed by SIGKILL, possibly out of memory");
    project.pipeline(&text(&format!("set -- new; {write}")));
    project.expect(0, &["run"]);
    assert_eq!(project.read("build/deep/er/other.csv"), "new\n");
    assert_eq!(project.read("build/notes.txt"), "not ours");
}

#[test]
fn what_a_failed_recipe_left_of_its_output_is_told() {
    let text = |run: &str| format!("[dataset.a]\npath = \"a\"\nrun = '''{run}'''\n");
    let good = "echo good >{{ output }}";
    let project = Project::new(&text(good));
    project.expect(0, &["run"]);
    let fails = |run: &str| {
        project.pipeline(&text(run));
        project.expect(1, &["run"]).out
    };
    let said = fails("echo worse >{{ output }}; exit 3");
    assert!(said.contains("\n  kept   a of "), "{said}");
    // A command that is given again by hand does not write over what is there.
    assert!(said.contains("\n  $ echo worse >…/a; exit 3\n"), "{said}");
    std::fs::remove_file(project.path("a")).unwrap();
    let said = fails("exit 3");
    assert!(!said.contains("  kept "), "{said}");
    project.pipeline(&text(good));
    project.expect(0, &["run"]);
    let said = fails("echo bad >a; exit 3");
    assert!(said.contains("\n  lost   a: the recipe wrote where it belongs, not to {{ output }}\n"), "{said}");
    assert!(!said.contains("  kept "), "{said}");
}

#[test]
fn a_folder_starts_empty_and_is_replaced_as_a_whole() {
    let text = |name: &str| {
        format!("[folder.f]\npath = \"build/f\"\nrun = 'echo x >{{{{ output }}}}/{name}; ls {{{{ output }}}} >seen'\n")
    };
    let project = Project::new(&text("one"));
    project.expect(0, &["run"]);
    project.pipeline(&text("two"));
    project.expect(0, &["run"]);
    assert_eq!(project.read("seen"), "two\n");
    assert!(project.exists("build/f/two") && !project.exists("build/f/one"));
}

#[test]
fn what_was_written_in_place_is_put_back() {
    let text = |run: &str| format!("[dataset.a]\npath = \"build/a\"\nin_place = true\nrun = '''{run}'''\n");
    let project = Project::new(&text("echo old >build/a"));
    project.expect(0, &["run"]);
    let before = project.tree();
    project.pipeline(&text("test ! -e build/a; echo new >build/a; exit 3"));
    let said = project.expect(1, &["run"]);
    assert!(said.out.contains("exit 3"), "{}", said.out);
    let built = |tree: Vec<(String, String)>| {
        tree.into_iter().filter(|(path, _)| path.starts_with("build")).collect::<Vec<_>>()
    };
    assert_eq!(built(project.tree()), built(before));
    project.pipeline(&text("echo new >build/a"));
    project.expect(0, &["run"]);
    assert_eq!(project.read("build/a"), "new\n");
}

#[test]
fn an_output_may_lie_behind_a_link_in_the_folder_beside() {
    let project = Project::new(&dataset("a", &[], "echo a >{{ output }}"));
    project.write("elsewhere/b", "b");
    project.write("build/.keep", "");
    symlink("../elsewhere", project.path("build/link")).unwrap();
    project.expect(0, &["run"]);
    assert_eq!(project.read("build/link/b"), "b");
    assert_eq!(project.read("build/a"), "a\n");
}

#[test]
fn a_run_below_a_failure_goes_on_from_there() {
    let text =
        dataset("a", &[], "echo a >{{ output }}") + &dataset("b", &["a"], "test -e ok; cp {{ inputs.a }} {{ output }}");
    let project = Project::new(&text);
    project.expect(1, &["run"]);
    project.write("ok", "");
    let run = project.expect(0, &["run", "--events", "-"]);
    assert_eq!(story(&run.out), ["started b", "built b", "ended DONE"]);
}

#[test]
fn two_runs_of_a_pipeline_do_not_meet() {
    let project = Project::new(&dataset("a", &[], "echo up >up; read -r go <gate; echo a >{{ output }}"));
    pipe(&project, "up");
    let gate = Gate::new(&project, "gate");
    let mut first = Running::start(&project, &[]);
    hear(&project, "up");
    let second = project.expect(3, &["run"]);
    let who = format!("a run of `p` goes on: process {} on ", first.id());
    assert!(second.err.contains(&who), "{}", second.err);
    assert!(project.expect(0, &["jobs", "list", "--state", "running"]).out.contains("RUNNING"));
    assert!(project.expect(0, &["plan"]).out.contains("a run goes on since"));
    gate.open();
    first.end(0);
    assert_eq!(project.read("build/a"), "a\n");
    project.expect(0, &["run"]);
    assert_eq!(project.expect(0, &["jobs", "list"]).out.lines().count(), 3);
}

#[test]
fn nothing_is_left_of_what_was_staged_where_an_output_has_no_path() {
    let text = "[dataset.a]\npath = \"a\"\nrun = \"echo a >{{ output }}\"\n\
        [dataset.table]\ndigest = \"cat table\"\n[dataset.b]\npath = \"b\"\n\
        [recipe.both]\ninputs = [\"a\"]\noutputs = [\"table\", \"b\"]\nrun = \"echo x >table; echo b >{{ outputs.b }}\"\n";
    let project = Project::new(text);
    project.expect(0, &["run", "-j1"]);
    assert_eq!(project.read("b"), "b\n");
    assert_eq!(std::fs::read_dir(project.path(".kiln/staging/p")).map_or(0, Iterator::count), 0);
}
