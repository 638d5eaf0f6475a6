//! Rare circumstances in which a plan must not lie and nothing good may be lost.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::Value;

use crate::crash::{WAIT, project as with_pipes};
use crate::support::{Project, lines, started};

const SOURCE: &str = "[dataset.src]\npath = \"src\"\n";

fn project(text: &str) -> Project {
    let project = Project::new(&format!("{SOURCE}{text}"));
    project.write("src", "1");
    project
}

/// What a run starts.
#[track_caller]
fn run(project: &Project, arguments: &[&str]) -> Vec<String> {
    started(&project.expect(0, &[&["run", "--events", "-"], arguments].concat()).out)
}

/// The failures of a run, by step.
#[track_caller]
fn failures(project: &Project) -> Vec<(String, String)> {
    let events = lines(&project.expect(1, &["run", "--events", "-"]).out);
    let failed = events.iter().filter(|event| event["outcome"] == "failed");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    failed.map(|event| (text(&event["step"]), text(&event["failure"]["message"]))).collect()
}

/// A plan: each step that is not up to date, its action and the codes of its reasons.
#[track_caller]
fn plan(project: &Project, arguments: &[&str]) -> Vec<String> {
    let plan = project.expect(0, &[&["plan", "--format", "json"], arguments].concat());
    let plan: Value = serde_json::from_str(&plan.out).unwrap();
    let step = |step: &Value| {
        let codes: Vec<_> =
            step["reasons"].as_array().unwrap().iter().map(|why| why["code"].as_str().unwrap()).collect();
        format!("{} {} {}", step["action"].as_str().unwrap(), step["id"].as_str().unwrap(), codes.join(" "))
    };
    plan["steps"].as_array().unwrap().iter().filter(|step| step["action"] != "skip").map(step).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn what_stands_for_a_table_is_asked_as_its_recipe_would_ask() {
    let look = "digest = 'test \"$TOKEN\" = secret; test \"$HANDED\" = on; cat \"$TABLE\"'\n";
    let made = "env = { TABLE = \"table\" }\npass = [\"HANDED\"]\nsecrets = { TOKEN = { env = \"MY_TOKEN\" } }\n";
    // Who reads it stands first, and knows nothing of all that.
    let reader = "[dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = 'cat table >{{ output }}'\n";
    let table = format!("[dataset.a]\ninputs = [\"src\"]\nrun = 'cat {{{{ inputs.src }}}} >$TABLE'\n{look}{made}");
    let mut project = project(&format!("{reader}{table}"));
    project.variable("MY_TOKEN", "secret");
    project.variable("HANDED", "on");
    assert_eq!(run(&project, &[]), ["a", "b"]);
    assert_eq!(plan(&project, &[]), NONE);
    project.write("table", "by hand");
    assert_eq!(plan(&project, &[]), ["build a output_changed", "maybe b may_change"]);
    fs::remove_file(project.path("table")).unwrap();
    assert_eq!(plan(&project, &["--no-probes"]), ["maybe a not_probed", "maybe b may_change"]);
    assert_eq!(plan(&project, &["--no-probes", "--mode", "missing"])[0], "maybe a not_probed");
    assert_eq!(plan(&project, &["--mode", "missing"])[0], "build a digest_failed");
}

#[test]
fn an_output_below_a_file_is_told_before_anything_runs() {
    let project =
        project("[dataset.a]\npath = \"src2/deep/a\"\ninputs = [\"src\"]\nrun = 'cp {{ inputs.src }} {{ output }}'\n");
    project.write("src2", "a file");
    for command in ["plan", "run"] {
        let said = project.expect(2, &[command]);
        assert!(said.err.contains("src2 is a file, not a folder"), "{}", said.err);
    }
    fs::remove_file(project.path("src2")).unwrap();
    assert_eq!(run(&project, &[]), ["a"]);
    assert_eq!(project.read("src2/deep/a"), "1");
}

#[test]
fn a_root_may_be_reached_by_a_link() {
    let project = project("[dataset.a]\npath = \"a\"\ninputs = [\"src\"]\nrun = 'cp {{ inputs.src }} {{ output }}'\n");
    assert_eq!(run(&project, &[]), ["a"]);
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("link");
    std::os::unix::fs::symlink(project.path(""), &link).unwrap();
    let file = link.join("pipeline.toml").display().to_string();
    assert_eq!(plan(&project, &["-f", &file]), NONE);
    let output = project.command(&["plan", "--check"]).current_dir(&link).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn sources_and_datasets_may_be_folders() {
    let text = "[dataset.in]\npath = \"in\"\n[dataset.a]\npath = \"a\"\ninputs = [\"in\"]\nrun = 'cp -r {{ inputs.in }} {{ output }}'\n\
                [dataset.n]\npath = \"n\"\ninputs = [\"a\"]\nrun = 'ls {{ inputs.a }} | wc -l >{{ output }}'\n";
    let project = project(text);
    project.write("in/x", "1");
    project.write("in/deep/y", "2");
    assert_eq!(run(&project, &[]), ["a", "n"]);
    assert_eq!(run(&project, &[]), NONE);
    project.write("in/deep/y", "3");
    assert_eq!(plan(&project, &[]), ["build a input_changed", "maybe n may_change"]);
    assert_eq!(run(&project, &[]), ["a", "n"]);
    assert_eq!(project.read("a/deep/y"), "3");
    fs::remove_file(project.path("a/deep/y")).unwrap();
    assert_eq!(plan(&project, &[]), ["build a output_changed", "maybe n may_change"]);
    assert_eq!(run(&project, &[]), ["a"], "it comes out as it was: nothing below it runs");
}

#[test]
fn what_can_not_be_read_is_told() {
    let project = project("[dataset.a]\npath = \"a\"\ninputs = [\"src\"]\nrun = 'cp {{ inputs.src }} {{ output }}'\n");
    fs::remove_file(project.path("src")).unwrap();
    assert!(Command::new("mkfifo").arg(project.path("src")).status().unwrap().success());
    for command in ["plan", "run"] {
        let said = project.expect(2, &[command]);
        assert!(said.err.contains("`src` cannot be read: it is neither a file nor a folder"), "{}", said.err);
    }
}

#[test]
fn what_changes_while_it_is_read_fails_its_step() {
    let changes =
        "[dataset.a]\npath = \"a\"\ninputs = [\"src\"]\nrun = 'cp {{ inputs.src }} {{ output }}; echo 2 >src'\n";
    let project =
        project(&format!("{changes}[dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = 'cp a {{{{ output }}}}'\n"));
    let input = ("a".to_owned(), "input `src` (src) changed while the run went on; if it was the step itself: a recipe writes to nothing that it reads".to_owned());
    assert_eq!(failures(&project), [input]);
    assert!(!project.exists("a") && !project.exists("b"));
    // Code that is put back after the run must not pass for what was built.
    let text = "[dataset.a]\npath = \"a\"\nfiles = [\"code\"]\nrun = 'if [ -e now ]; then echo other >code; fi; cp code {{ output }}'\n";
    let project = self::project(text);
    project.write("code", "one");
    project.write("now", "");
    assert_eq!(
        failures(&project),
        [(
            "a".to_owned(),
            "code code changed while the run went on; if the step itself writes it, `files` must not name it"
                .to_owned()
        )]
    );
    fs::remove_file(project.path("now")).unwrap();
    project.write("code", "one");
    assert_eq!(run(&project, &[]), ["a"]);
    assert_eq!(project.read("a"), "one");
}

#[test]
fn a_recipe_that_fails_half_way_in_place_leaves_what_was_there() {
    let text = "[dataset.a]\npath = \"out/a\"\n[folder.f]\npath = \"out/f\"\n[dataset.new]\npath = \"out/new\"\n\
        [recipe.r]\ninputs = [\"src\"]\noutputs = [\"a\", \"f\", \"new\"]\nin_place = true\n\
        run = 'for o in a f/x new; do cat src >out/$o; done; test ! -e bad'\n";
    let project = project(text);
    project.write("bad", "");
    assert_eq!(failures(&project), [("r".to_owned(), "exit 1".to_owned())]);
    assert!(["a", "f", "new"].iter().all(|name| !project.exists(&format!("out/{name}"))), "nothing was there");
    fs::remove_file(project.path("bad")).unwrap();
    assert_eq!(run(&project, &[]), ["r"]);
    let good = project.tree();
    project.write("bad", "");
    project.write("src", "2");
    assert_eq!(failures(&project), [("r".to_owned(), "exit 1".to_owned())]);
    fs::remove_file(project.path("bad")).unwrap();
    project.write("src", "1");
    assert_eq!(project.tree(), good);
    assert_eq!(run(&project, &[]), NONE, "what was put back is what was good");
}

/// Kiln's own folder becomes a link to one on another file system than the project. It goes with the guard.
///
/// # Panics
///
/// If `/dev/shm` is none: what would be tested cannot be had then.
fn state_elsewhere(project: &Project) -> tempfile::TempDir {
    let there = tempfile::tempdir_in("/dev/shm").unwrap();
    let devices = [there.path(), &project.path("")].map(|path| fs::metadata(path).unwrap().dev());
    assert_ne!(devices[0], devices[1], "/dev/shm is no other file system");
    std::os::unix::fs::symlink(there.path(), project.path(".kiln")).unwrap();
    there
}

#[test]
fn the_root_may_lie_on_another_file_system_than_kilns_own_folder() {
    let text = "[dataset.a]\npath = \"out/a\"\n[folder.f]\npath = \"out/f\"\n\
        [recipe.r]\ninputs = [\"src\"]\noutputs = [\"a\", \"f\"]\nrun = 'cp src {{ outputs.a }}; cp src {{ outputs.f }}/x'\n\
        [dataset.p]\npath = \"out/p\"\ninputs = [\"src\"]\nin_place = true\nrun = 'cp src {{ output }}; test ! -e bad'\n";
    let project = project(text);
    let _there = state_elsewhere(&project);
    assert_eq!(run(&project, &[]), ["p", "r"]);
    assert_eq!(run(&project, &[]), NONE);
    project.write("src", "2");
    project.write("bad", "");
    assert_eq!(failures(&project), [("p".to_owned(), "exit 1".to_owned())]);
    assert_eq!(project.read("out/p"), "1", "it is put back");
    fs::remove_file(project.path("bad")).unwrap();
    project.expect(0, &["run"]);
    assert_eq!(["out/a", "out/f/x", "out/p"].map(|path| project.read(path)), ["2", "2", "2"]);
    let mut left: Vec<_> = fs::read_dir(project.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a", "f", "p"], "nothing else is left there");
}

#[test]
fn a_copy_that_was_not_put_in_place_goes_before_a_step_begins() {
    let text =
        "[dataset.a]\npath = \"out/a\"\ninputs = [\"src\"]\nrun = 'test ! -e out/.a.kiln-new; cp src {{ output }}'\n";
    let project = project(text);
    let _there = state_elsewhere(&project);
    project.write("out/.a.kiln-new", "half");
    assert_eq!(run(&project, &[]), ["a"]);
    assert_eq!(project.read("out/a"), "1");
}

#[test]
fn two_pipelines_of_one_root_do_not_know_one_another() {
    let file = |name: &str| {
        format!(
            "[pipeline]\nformat = 1\nname = \"{name}\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n\
                 [dataset.a]\npath = \"build/{name}\"\nrun = 'echo {name} >{{{{ output }}}}'\n"
        )
    };
    let project = Project::empty();
    project.write("pipelines/one.toml", file("one"));
    project.write("pipelines/two.toml", file("two"));
    assert_eq!(run(&project, &["-f", "pipelines/one.toml"]), ["a"]);
    assert_eq!(plan(&project, &["-f", "pipelines/two.toml"]), ["build a never_built"]);
    assert_eq!(run(&project, &["-f", "pipelines/two.toml"]), ["a"]);
    assert_eq!(run(&project, &["-f", "pipelines/one.toml"]), NONE);
    assert_eq!(run(&project, &["-f", "pipelines/two.toml"]), NONE);
}

#[test]
fn one_run_at_a_time_wherever_its_state_lies() {
    let text = format!("[dataset.a]\npath = \"a\"\nin_place = true\nrun = '''echo half >a; {WAIT}'''\n");
    let project = with_pipes(&text);
    let gate = File::options().read(true).write(true).open(project.path(".kiln/gate")).unwrap();
    let mut kiln = project.start(&["run", "--events", "-"]);
    let mut up = String::new();
    File::open(project.path(".kiln/up")).unwrap().read_to_string(&mut up).unwrap();
    // What is shown is on disk.
    let mut events = BufReader::new(kiln.stdout.take().unwrap());
    let mut event = String::new();
    while !event.contains("step_started") {
        event.clear();
        assert_ne!(events.read_line(&mut event).unwrap(), 0, "the step was never shown");
    }
    let plan = project.expect(0, &["plan"]);
    assert!(plan.out.contains("a run goes on since"), "{}", plan.out);
    assert!(!plan.out.contains("was killed"), "{}", plan.out);
    let elsewhere = tempfile::tempdir().unwrap();
    for arguments in [&["run"][..], &["run", "--state", elsewhere.path().to_str().unwrap()]] {
        let said = project.expect(3, arguments);
        assert!(said.err.contains("a run of `p` goes on: process"), "{}", said.err);
    }
    assert_eq!(fs::read_dir(project.path(".kiln/staging/p")).unwrap().count(), 1, "what is staged was left alone");
    drop(gate);
    assert_eq!(kiln.wait().unwrap().code(), Some(0));
    assert_eq!(project.read("a"), "half\n", "nobody put anything back");
}

#[test]
fn tasks_in_every_mode() {
    let project = project("[task.t]\ninputs = [\"src\"]\nrun = 'echo {{ inputs.src }} >>done'\n");
    assert_eq!(run(&project, &["--mode", "missing"]), ["t"]);
    assert_eq!(run(&project, &["--mode", "missing"]), NONE);
    assert_eq!(run(&project, &[]), NONE);
    assert_eq!(run(&project, &["--mode", "only", "t"]), ["t"]);
    assert_eq!(run(&project, &["--mode", "forced"]), ["t"]);
    project.write("src", "2");
    assert_eq!(run(&project, &["--mode", "missing"]), NONE);
    assert_eq!(run(&project, &[]), ["t"]);
}

#[test]
fn never_and_explicit_mean_what_they_say() {
    let text = "[dataset.e]\npath = \"e\"\ninputs = [\"src\"]\nrun = 'cp src {{ output }}'\nrebuild = \"explicit\"\n\
        [dataset.n]\npath = \"n\"\ninputs = [\"src\"]\nrun = 'cp src {{ output }}'\nrebuild = \"never\"\n\
        [dataset.x]\npath = \"x\"\ninputs = [\"e\", \"n\"]\nrun = 'cat e n >{{ output }}'\n";
    let project = project(text);
    let said = project.expect(2, &["plan"]);
    assert!(said.err.contains("kiln run e"), "{}", said.err);
    assert_eq!(run(&project, &["e", "x"]), ["e", "n", "x"]);
    project.write("src", "2");
    assert_eq!(plan(&project, &[]), NONE, "neither is out of date unasked");
    assert_eq!(plan(&project, &["e", "x"]), ["build e input_changed", "maybe x may_change"]);
    assert_eq!(plan(&project, &["--mode", "only", "n"]), ["build n asked"]);
    fs::remove_file(project.path("n")).unwrap();
    assert_eq!(plan(&project, &["+x"]), ["build n output_missing", "maybe x may_change"]);
    project.write("n", "by hand");
    assert_eq!(plan(&project, &[]), ["build x input_changed"], "what is there is taken as it is");
}

/// Changes the memory of what was read of `src`.
fn remember(project: &Project, change: &str) {
    let sql = format!("UPDATE digests SET {change} WHERE path = 'src'");
    let status = Command::new("sqlite3").arg(project.path(".kiln/kiln.db")).arg(sql).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_file_is_read_again_only_when_its_state_differs_or_proves_nothing() {
    let project = project("[dataset.a]\npath = \"a\"\ninputs = [\"src\"]\nrun = 'cp {{ inputs.src }} {{ output }}'\n");
    assert_eq!(run(&project, &[]), ["a"]);
    // What is remembered is made wrong: whoever believes it has not read the file.
    let other = "digest = '0000000000000000000000000000000000000000000000000000000000000000'";
    remember(&project, &format!("{other}, seen_ns = ctime_ns + 3000000000"));
    assert_eq!(plan(&project, &[]), ["build a input_changed"], "it is not read");
    remember(&project, "seen_ns = max(ctime_ns, mtime_ns) + 1");
    assert_eq!(plan(&project, &[]), NONE, "it may have changed once more at that moment: it is read");
    remember(&project, "seen_ns = ctime_ns + 3000000000");
    assert_eq!(plan(&project, &[]), ["build a input_changed"]);
    // The same size, time and inode: only the time of the last change of the inode tells.
    let time = project.path("src").metadata().unwrap().modified().unwrap();
    let file = File::options().write(true).open(project.path("src")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"1", 0).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    assert_eq!(plan(&project, &[]), NONE, "it is read");
    assert_eq!(run(&project, &[]), NONE);
}

/// A pipeline in which something of each kind is missing, and a step that needs none of it.
const OBSTACLES: &str = "[dataset.good]\npath = \"o/good\"\nrun = \"echo 1 >{{ output }}\"\n\
    [dataset.code]\npath = \"o/code\"\nfiles = [\"gone.py\"]\nrun = \"echo 1 >{{ output }}\"\n\
    [dataset.tool]\npath = \"o/tool\"\ntools = { x = \"exit 3\" }\nrun = \"echo 1 >{{ output }}\"\n\
    [dataset.src]\npath = \"src\"\n\
    [dataset.needs]\npath = \"o/needs\"\ninputs = [\"src\"]\nrun = \"cat {{ inputs.src }} >{{ output }}\"\n\
    [dataset.work]\npath = \"o/work\"\nworkdir = \"nowhere\"\nrun = \"echo 1 >{{ output }}\"\n";

#[test]
fn one_kind_of_obstacle_hides_no_other() {
    for built in [false, true] {
        let project = Project::new(OBSTACLES);
        if built {
            project.expect(0, &["run", "good"]);
        }
        for command in ["plan", "run"] {
            let said = project.expect(2, &[command]).err;
            for obstacle in [
                "`gone.py` of `files` is not there",
                "tool `x` of `tool` failed: exit 3",
                "source `src` is not there, and `needs` needs it",
                "the `workdir` of `work` is not there",
            ] {
                assert_eq!(said.matches(obstacle).count(), 1, "{built} {command}: {obstacle}\n{said}");
            }
        }
        // What is missing to one target is no obstacle to another.
        project.expect(0, &["plan", "good"]);
    }
}

#[test]
fn what_is_missing_to_one_step_keeps_no_other_from_being_adopted() {
    let project = Project::new(OBSTACLES);
    for name in ["good", "code", "tool", "needs"] {
        project.write(&format!("o/{name}"), "1\n");
    }
    let said = project.expect(0, &["adopt"]).out;
    assert!(said.contains("  took  good   o/good\n") && said.contains("took 1 step, left 4"), "{said}");
    for left in ["left  code   `gone.py` of `files` is not there", "left  tool   tool `x` of `tool` failed: exit 3"] {
        assert!(said.contains(left), "{said}");
    }
    project.expect(4, &["adopt", "tool"]);
}

#[test]
fn folders_may_lie_deeper_than_a_stack_is() {
    let deep = "mkdir -p {{ output }}; cd {{ output }}; mkdir -p $(printf 'd/%.0s' $(seq 1800)); echo {{ vars.x }} >x";
    let built = ["f", "i", "bad"].map(|name| {
        let more = if name == "i" { "in_place = true\n" } else { "" };
        let end = if name == "bad" { "; exit 1" } else { "" };
        format!("[folder.{name}]\npath = \"{name}\"\n{more}run = \"{deep}{end}\"\n")
    });
    let reads = "[folder.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nfiles = [\"s/**/*.py\"]\n\
                 run = 'echo a >{{ output }}'\n";
    let project = Project::new(&format!("[vars]\nx = 1\n{}{reads}", built.concat()));
    project.write(&format!("s/{}code.py", "d/".repeat(1800)), "");
    for x in ["1", "2"] {
        let said = project.expect(1, &["run", "-k", "--var", &format!("x={x}")]);
        assert!(said.out.contains("FAILED bad") && said.out.contains("1 failed"), "{}", said.out);
        assert_eq!((project.read("f/x"), project.read("i/x")), (format!("{x}\n"), format!("{x}\n")));
    }
    assert!(!project.exists("bad"));
}
