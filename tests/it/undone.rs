//! What stands where a run that was killed had been writing in place: what the run left there is taken away, what somebody has
//! put there since is kept.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::crash::{WAIT, kill_when_waiting, project};
use crate::processes::{guardian, signal};
use crate::support::{Project, lines};

/// A file and a folder that are written in place, each by a recipe that waits while there is a file `block`, and a task.
pub(crate) fn in_place() -> Project {
    let recipe = |to: &str| {
        format!(
            "in_place = true\nrun = '''echo ha >{to}; if [ -e block ]; then {WAIT}; fi; cat {{{{ inputs.src }}}} >{to}'''\n"
        )
    };
    project(&format!(
        "[dataset.src]\npath = \"src\"\n[task.other]\nrun = \"true\"\n\
        [dataset.m]\npath = \"o/m\"\ninputs = [\"src\"]\n{}[folder.f]\npath = \"o/f\"\ninputs = [\"src\"]\n{}",
        recipe("o/m"),
        recipe("o/f/a"),
    ))
}

/// The same, killed in the midst of building one of them anew, or for the first time.
pub(crate) fn killed(node: &str, built: bool) -> Project {
    let project = in_place();
    if built {
        project.expect(0, &["run", node]);
        project.write("src", "2");
    }
    project.write("block", "");
    kill_when_waiting(&project, &[node], &[]);
    fs::remove_file(project.path("block")).unwrap();
    project
}

/// The id of the last run.
pub(crate) fn last(project: &Project) -> String {
    let jobs: Value = serde_json::from_str(&project.expect(0, &["jobs", "list", "--format", "json"]).out).unwrap();
    jobs[0]["id"].as_str().unwrap().to_owned()
}

/// All that is below `.kiln/replaced`, as one text.
pub(crate) fn replaced(project: &Project) -> String {
    let find = ["-c", "find .kiln/replaced -type f 2>&- | sort | xargs -r cat"];
    let found = std::process::Command::new("sh").args(find).current_dir(project.path("")).output().unwrap();
    String::from_utf8(found.stdout).unwrap()
}

#[test]
fn what_was_put_there_since_is_kept_and_told() {
    let project = killed("m", true);
    project.write("o/m", "mine\n");
    let kept = format!(".kiln/replaced/{}/o/m", last(&project));
    let json: Value = serde_json::from_str(&project.expect(0, &["plan", "--format", "json"]).out).unwrap();
    assert_eq!(json["put_back"], serde_json::json!([{ "output": "m", "last_good": true, "kept": kept }]));
    let plan = project.expect(1, &["plan", "--check", "other"]).out;
    assert!(
        plan.contains(&format!("first moves what is there to {kept} and puts its last good content back")),
        "{plan}"
    );
    assert_eq!(project.read("o/m"), "mine\n", "a plan changes nothing");
    let said = project.expect(0, &["run", "other"]).err;
    let done = format!(
        "note: restored `m`: a run was killed while it was written in place; what stood there since is kept in {kept}\n"
    );
    assert_eq!(said, done);
    assert_eq!((project.read("o/m"), project.read(&kept)), ("1".to_owned(), "mine\n".to_owned()));
    let events = lines(&project.expect(0, &["jobs", "show", "last", "--format", "json"]).out);
    assert_eq!(events[0]["put_back"], json["put_back"]);
    let shown = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(shown.contains(&done), "{shown}");
    project.expect(0, &["run", "--mode", "forced"]);
    assert!(!project.expect(0, &["jobs", "show", "last"]).out.contains("restored"), "it is told once");
}

#[test]
fn a_folder_is_kept_with_all_that_is_in_it() {
    let project = killed("f", true);
    project.write("o/f/deep/notes", "mine\n");
    // A change deep inside tells as much, and a folder that was moved there.
    for change in ["echo mine >>o/f/deep/notes", "mv o/f was; mv was o/f", "chmod 600 o/f/deep/notes"] {
        let change = std::process::Command::new("sh").args(["-c", change]).current_dir(project.path("")).status();
        assert!(change.unwrap().success());
    }
    project.expect(0, &["run", "other"]);
    assert_eq!(replaced(&project), "ha\nmine\nmine\n");
    assert_eq!(project.read("o/f/a"), "1");
    assert!(!project.exists("o/f/deep"));
}

#[test]
fn what_the_run_left_is_taken_away_and_what_is_the_same_needs_no_copy() {
    for (node, mine, path) in
        [("m", None, "o/m"), ("f", None, "o/f/a"), ("m", Some("1"), "o/m"), ("f", Some("1"), "o/f/a")]
    {
        let project = killed(node, true);
        assert_eq!(project.read(path), "ha\n");
        if let Some(mine) = mine {
            project.write(path, mine);
        }
        let said = project.expect(0, &["run", "other"]).err;
        assert_eq!(said, format!("note: restored `{node}`: a run was killed while it was written in place\n"));
        assert_eq!((project.read(path).as_str(), replaced(&project).as_str()), ("1", ""), "{node} {mine:?}");
    }
}

#[test]
fn where_nothing_was_good_before_it_is_kept_too() {
    let project = killed("m", false);
    project.write("o/m", "mine\n");
    let kept = format!(".kiln/replaced/{}/o/m", last(&project));
    assert!(project.expect(0, &["plan"]).out.contains(&format!("the next run first moves what is there to {kept}")));
    let said = project.expect(0, &["run", "other"]).err;
    assert_eq!(
        said,
        format!("note: moved what there was of `m` to {kept}: a run was killed while it was written in place\n")
    );
    assert_eq!((project.exists("o/m"), project.read(&kept)), (false, "mine\n".to_owned()));
}

/// Where somebody has put another folder in the place of the one that was written to, nothing in it is the run's.
#[test]
fn what_lies_in_another_folder_is_not_touched() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("m"), "precious\n").unwrap();
    for leads_out in [true, false] {
        let project = killed("m", true);
        project.write("mine/m", "mine\n");
        fs::rename(project.path("o"), project.path("was")).unwrap();
        let kept = format!(".kiln/replaced/{}/o/m", last(&project));
        let killed = "a run was killed while it was written in place";
        let (to, then, done) = if leads_out {
            (
                outside.path(),
                format!(
                    "first moves its last good content to {kept}, for the way there is blocked, or leads out of the root\n"
                ),
                format!(
                    "note: moved the last good content of `m` to {kept}: {killed}, and the way there is blocked, or leads out of the root\n"
                ),
            )
        } else {
            (
                Path::new("mine"),
                format!("first moves what is there to {kept} and puts its last good content back\n"),
                format!("note: restored `m`: {killed}; what stood there since is kept in {kept}\n"),
            )
        };
        symlink(to, project.path("o")).unwrap();
        let plan = project.expect(0, &["plan", "other"]).out;
        assert!(plan.contains(&then), "{plan}");
        assert_eq!(project.expect(0, &["run", "other"]).err, done);
        let (good, mine) = if leads_out { (kept.as_str(), "mine/m") } else { ("o/m", kept.as_str()) };
        assert_eq!((project.read(good).as_str(), project.read(mine).as_str()), ("1", "mine\n"));
        assert_eq!(project.expect(0, &["run", "other"]).err, "", "it is told once");
    }
    assert_eq!(fs::read_to_string(outside.path().join("m")).unwrap(), "precious\n");
}

/// The same where the step fails, and Kiln lives on.
#[test]
fn a_step_that_fails_takes_nothing_away_in_another_folder() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("m"), "precious\n").unwrap();
    let out = format!("ln -s {} o", outside.path().display());
    let theirs = "what somebody put at o/m is kept in";
    for (swap, told, good, mine) in [
        (
            out.as_str(),
            "the way there is blocked, or leads out of the root: the last good content of o/m is kept in",
            "",
            "mine/m",
        ),
        ("mv mine o", theirs, "o/m", ""),
        ("ln -s mine o", theirs, "o/m", ""),
    ] {
        let text = |run: &str| format!("[dataset.m]\npath = \"o/m\"\nin_place = true\nrun = '{run}'\n");
        let project = Project::new(&text("echo 1 >o/m"));
        project.expect(0, &["run"]);
        project.write("mine/m", "mine\n");
        project.pipeline(&text(&format!("echo half >o/m; mv o was; {swap}; exit 3")));
        let said = project.expect(1, &["run"]).out;
        let kept = format!(".kiln/replaced/{}/o/m", last(&project));
        assert!(said.contains(&format!("exit 3; {told} {kept}")), "{said}");
        let at = |place: &str| project.read(if place.is_empty() { &kept } else { place });
        assert_eq!((at(good).as_str(), at(mine).as_str()), ("1\n", "mine\n"), "{swap}");
        let left = fs::read_dir(project.path(".kiln/staging/p")).map(Iterator::count).unwrap_or_default();
        assert_eq!(left, 0, "nothing is left to be undone: {swap}");
    }
    assert_eq!(fs::read_to_string(outside.path().join("m")).unwrap(), "precious\n");
}

/// A run is killed again when it has put all back, before it has forgotten what that was.
#[test]
fn what_is_back_is_not_announced_once_more() {
    let project = killed("m", true);
    let job = last(&project);
    fs::rename(project.path(&format!(".kiln/staging/p/{job}/m/aside/0")), project.path("o/m")).unwrap();
    assert!(!project.expect(0, &["plan", "m"]).out.contains("killed"));
    project.write("o/m", "edited\n");
    let plan = project.expect(0, &["plan", "m"]).out;
    assert!(plan.contains("output changed: m") && !plan.contains("killed"), "{plan}");
    project.expect(0, &["adopt", "m"]);
    assert_eq!(project.expect(0, &["run", "other"]).err, "");
    assert_eq!(project.read("o/m"), "edited\n", "it was adopted");
}

/// Nobody knows then when the recipe wrote last, so what it left is kept as well.
#[test]
fn when_the_guardian_is_killed_too_everything_is_kept() {
    let project = in_place();
    project.expect(0, &["run", "m"]);
    project.write("block", "");
    let gate = File::options().read(true).write(true).open(project.path(".kiln/gate")).unwrap();
    let mut kiln = project.start(&["run", "--mode", "forced", "m"]);
    let mut up = String::new();
    File::open(project.path(".kiln/up")).unwrap().read_to_string(&mut up).unwrap();
    let guardian = guardian(&kiln);
    signal(&kiln, Signal::STOP);
    kill_process(guardian, Signal::KILL).unwrap();
    kiln.kill().unwrap();
    kiln.wait().unwrap();
    drop(gate);
    fs::remove_file(project.path("block")).unwrap();
    let said = project.expect(0, &["run", "other"]).err;
    assert!(said.contains("; what stood there since is kept in .kiln/replaced/"), "{said}");
    assert_eq!((project.read("o/m").as_str(), replaced(&project).as_str()), ("1", "ha\n"));
}

#[test]
fn a_run_that_ends_in_order_leaves_no_mark() {
    let project = in_place();
    project.expect(0, &["run"]);
    project.write("src", "2");
    project.expect(0, &["run"]);
    let left = fs::read_dir(project.path(".kiln/staging/p")).map(Iterator::count).unwrap_or_default();
    assert_eq!(left, 0);
}

/// Kiln dies at a point of clearing up, or the disk is full there: there is one copy of each, always, and in the end each is
/// where it belongs.
#[cfg(feature = "failpoints")]
#[test]
fn nothing_is_lost_whenever_clearing_up_ends() {
    let mut came = 0;
    for (node, path) in [("m", "o/m"), ("f", "o/f/a")] {
        for point in [
            "recover.begin",
            "recover.told",
            "publish.keep",
            "put_back.remove",
            "put_back.removed",
            "tidy.remove",
            "run.lock",
        ] {
            for how in ["kill", "full"] {
                let project = killed(node, true);
                project.write(path, "mine\n");
                let mut command = project.command(&["run", "other"]);
                let output = command.env("KILN_FAULT", format!("{point}={how}")).output().unwrap();
                came += u32::from(!output.status.success());
                let copies = |text: &str| {
                    let grep = format!("grep -rlx {text} o .kiln/replaced .kiln/staging 2>&- | wc -l");
                    let found =
                        std::process::Command::new("sh").args(["-c", &grep]).current_dir(project.path("")).output();
                    String::from_utf8(found.unwrap().stdout).unwrap().trim().to_owned()
                };
                assert_eq!([copies("mine"), copies("1")], ["1", "1"], "{node} {how} {point}: {output:?}");
                let said = project.expect(0, &["run", "other"]).err;
                assert_eq!(
                    (project.read(path).as_str(), replaced(&project).as_str()),
                    ("1", "mine\n"),
                    "{how} {point}"
                );
                let told = String::from_utf8(output.stderr).unwrap() + &said;
                assert!(told.contains("kept in .kiln/replaced/"), "{node} {how} {point}: {told}");
            }
        }
    }
    assert!(came >= 20, "{came}");
}

#[test]
fn nothing_of_it_is_adopted_that_is_up_to_date_otherwise() {
    let project = killed("m", true);
    project.write("src", "1"); // as it was built
    assert!(project.expect(0, &["plan", "m"]).out.contains("1 up to date"));
    let told = project.expect(4, &["adopt", "m"]).out;
    let left =
        "  left  m  a run was killed while m was written in place: `kiln run` first puts its last good content back\n";
    assert!(told.contains(left) && told.contains("left 1, 0 up to date"), "{told}");
    assert_eq!(project.read("o/m"), "ha\n");
    project.expect(1, &["plan", "--check", "m"]);
}

/// Under its new name the pipeline knows nothing of that run: what is half written is no output.
#[test]
fn a_pipeline_that_is_named_anew_takes_nothing_half_for_an_output() {
    let project = killed("m", true);
    let job = last(&project);
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", text.replace("name = \"p\"", "name = \"renamed\""));
    let why = format!(
        "a run under another name was writing it in place; its last good content is in .kiln/staging/p/{job}/m/aside/0"
    );
    let flat = |text: String| text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    for arguments in [&["plan", "m"][..], &["run", "m"]] {
        let said = flat(project.expect(2, arguments).err);
        assert!(said.contains(&why) && said.contains("give the pipeline that name again and run it once"), "{said}");
    }
    let told = project.expect(4, &["adopt", "m"]).out;
    assert!(told.contains(&why), "{told}");
    project.write("pipeline.toml", &text);
    project.expect(0, &["run", "other"]);
    project.write("pipeline.toml", text.replace("name = \"p\"", "name = \"renamed\""));
    project.write("src", "1");
    project.expect(0, &["adopt", "m"]);
    assert_eq!(project.read("o/m"), "1");
}

/// Where the file system cannot swap two folders, what stood at an output lies elsewhere for a moment.
#[cfg(feature = "failpoints")]
#[test]
fn what_was_being_swapped_is_never_lost() {
    for (is_lost, is_theirs) in [(true, false), (false, false), (true, true)] {
        let project = in_place();
        let text = project.read("pipeline.toml").replace("in_place = true\n", "").replace(">o/f/a", ">{{ output }}/a");
        project.write("pipeline.toml", text);
        project.expect(0, &["run", "f"]);
        project.write("src", "2");
        let output = project.command(&["run", "f"]).env("KILN_FAULT", "publish.exchanged=kill@1").output().unwrap();
        assert_eq!(output.status.code(), None);
        let job = last(&project);
        let staged = project.path(&format!(".kiln/staging/p/{job}/f-1-0"));
        assert_eq!(fs::read_to_string(staged.join("f/a")).unwrap(), "1");
        fs::rename(staged.join("f"), staged.join(".f.kiln-old")).unwrap();
        fs::rename(project.path("o/f"), staged.join("f")).unwrap();
        if is_lost {
            fs::remove_dir_all(staged.join("f")).unwrap();
        }
        if is_theirs {
            project.write("o/f/a", "mine");
        }
        project.expect(0, &["run", "other"]);
        assert_eq!(project.read("o/f/a"), if is_theirs { "mine" } else { ["2", "1"][usize::from(is_lost)] });
        assert!(!project.exists(".kiln/staging/p"));
        assert_eq!(project.exists(".kiln/replaced"), is_theirs);
        if is_theirs {
            let kept = ["f", "f.2"].map(|kept| project.read(&format!(".kiln/replaced/{job}/o/{kept}/a")));
            assert_eq!(kept, ["mine", "1"], "theirs, and the last good one");
        }
    }
}

/// What was written in place and cannot be kept does not stay there until the next run.
#[cfg(feature = "failpoints")]
#[test]
fn what_does_not_count_as_built_is_put_back_at_once() {
    for built in [true, false] {
        for fault in ["publish.place", "publish.placed"] {
            let project = in_place();
            if built {
                project.expect(0, &["run", "m"]);
                project.write("src", "2");
            }
            let output = project.command(&["run", "m"]).env("KILN_FAULT", format!("{fault}=full@1")).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(
                said.contains("No space left on device") && said.contains("; what stood there is put back"),
                "{said}"
            );
            assert_eq!(fs::read_to_string(project.path("o/m")).ok().as_deref(), built.then_some("1"), "{fault}");
            assert_eq!(fs::read_dir(project.path(".kiln/staging/p")).unwrap().count(), 0, "{fault}");
            assert!(!project.exists(".kiln/replaced"), "{fault}");
            project.expect(0, &["run", "m"]);
        }
    }
}

/// Somebody writes to it when its recipe has ended, and before that counts.
#[cfg(feature = "failpoints")]
#[test]
fn what_is_not_as_the_step_left_it_is_kept_when_that_is_put_back() {
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
    let project = in_place();
    project.expect(0, &["run", "m"]);
    project.write("src", "2");
    let mut command = project.command(&["run", "m"]);
    let run = command.env("KILN_FAULT", "flush=stop@1").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&run);
    waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
    project.write("o/m", "mine\n");
    kill_process(pid, Signal::CONT).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let kept = format!(".kiln/replaced/{}/o/m", last(&project));
    let told = format!("; what stood there is put back; what somebody put at o/m is kept in {kept}");
    assert!(said.contains(&told), "{said}");
    assert_eq!((project.read("o/m").as_str(), project.read(&kept).as_str()), ("1", "mine\n"));
}

/// One output that cannot be made durable is named, and is the only one that fails; what stood there is put back.
#[cfg(feature = "failpoints")]
#[test]
fn an_output_that_cannot_be_flushed_fails_alone() {
    let project = in_place();
    project.expect(0, &["run", "m"]);
    project.write("src", "2");
    let flush = |time: u32, arguments: &[&str]| {
        let mut command = project.command(&[&["run", "-k", "--events", "-"], arguments].concat());
        let output = command.env("KILN_FAULT", format!("flush=full@{time}")).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let failed = lines(&String::from_utf8(output.stdout).unwrap());
        failed.into_iter().filter(|event| event["failure"].is_object()).collect::<Vec<_>>()
    };
    let failed = flush(1, &["m"]);
    let full = "could not be flushed: No space left on device (os error 28)";
    assert_eq!(failed[0]["failure"]["message"], format!("o/m {full}; what stood there is put back"));
    assert_eq!((failed.len(), project.read("o/m").as_str()), (1, "1"));
    let plan = project.expect(0, &["plan"]).out;
    assert!(!plan.contains("the next run first"), "{plan}");
    let many = |n| format!("[dataset.a{n}]\npath = \"o/a{n}\"\ninputs = [\"src\"]\nrun = 'cp src {{{{ output }}}}'\n");
    project.pipeline(&(0..9).map(many).fold("[dataset.src]\npath = \"src\"\n".to_owned(), |all, one| all + &one));
    let failed = flush(7, &["-j9"]);
    let message = failed[0]["failure"]["message"].as_str().unwrap();
    assert!(failed.len() == 1 && message.starts_with("o/a") && message.ends_with(full), "{failed:?}");
    assert_eq!(fs::read_dir(project.path(".kiln/staging/p")).unwrap().count(), 0, "what was staged is gone");
    project.expect(0, &["run"]);
}

/// What was written in place, and of which the history could not be told that it is complete, is put back too.
#[cfg(feature = "failpoints")]
#[test]
fn what_the_history_could_not_be_told_of_is_put_back_at_once() {
    let mut told = 0;
    for time in 1..=4 {
        let project = in_place();
        project.expect(0, &["run", "m"]);
        project.write("src", "2");
        let mut command = project.command(&["run", "m"]);
        let output = command.env("KILN_FAULT", format!("store.commit=full@{time}")).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let plan = project.expect(0, &["plan"]).out;
        assert!(!plan.contains("the next run first"), "{time}: {said}{plan}");
        assert!(matches!(project.read("o/m").as_str(), "1" | "2"), "{time}: {said}");
        told +=
            usize::from(project.expect(0, &["jobs", "show", "last"]).out.contains("; what stood there is put back"));
        let said = project.expect(0, &["run", "m"]).err;
        assert!(!said.contains("restored"), "{time}: {said}");
        assert_eq!(project.read("o/m"), "2");
    }
    assert_eq!(told, 2, "the first commit, behind which all goes on, and that of what is complete");
}
