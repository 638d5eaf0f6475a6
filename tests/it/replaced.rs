//! What stands where an output belongs and was not built by Kiln: a build replaces it and keeps it, and says so.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::Value;

#[cfg(feature = "failpoints")]
use crate::running::{hear, pipe, tell};
use crate::space::{as_anybody, in_space, is_there};
use crate::support::{Project, lines};

const FOLDER: &str = "[dataset.s]\npath = \"s\"\n[folder.o]\npath = \"user\"\ninputs = [\"s\"]\nrun = \"cat {{ inputs.s }} >{{ output }}/made\"\n";

/// A project in which somebody's own folder is where an output belongs.
fn foreign() -> Project {
    let project = Project::new(FOLDER);
    project.write("s", "1\n");
    project.write("user/notes/x", "precious\n");
    project
}

/// Where the last run keeps what it has replaced.
pub(crate) fn kept(project: &Project) -> String {
    let jobs: Value = serde_json::from_str(&project.expect(0, &["jobs", "list", "--format", "json"]).out).unwrap();
    format!(".kiln/replaced/{}", jobs[0]["id"].as_str().unwrap())
}

#[test]
fn what_was_never_built_is_kept_and_told() {
    let project = foreign();
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("never built; replaces what is there: user\n"), "{plan}");
    let json: Value = serde_json::from_str(&project.expect(0, &["plan", "--format", "json"]).out).unwrap();
    assert_eq!(json["steps"][0]["reasons"][1], serde_json::json!({ "code": "output_foreign", "what": "user" }));
    let run = project.expect(0, &["run"]);
    let kept = kept(&project);
    assert!(
        run.out
            .contains("Kiln has not built what is at user: what is replaced is kept, unless it comes out the same\n"),
        "{}",
        run.out
    );
    assert!(run.out.contains(&format!("kept what was at user in {kept}/user\n")), "{}", run.out);
    assert_eq!(project.read(&format!("{kept}/user/notes/x")), "precious\n");
    assert_eq!((project.read("user/made").as_str(), project.exists("user/notes")), ("1\n", false));
    let events = lines(&project.expect(0, &["jobs", "show", "last", "--format", "json"]).out);
    let ended = events.iter().find(|event| event["type"] == "step_ended").unwrap();
    assert_eq!(ended["replaced"], serde_json::json!([{ "path": "user", "kept": format!("{kept}/user") }]));
    let shown = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(shown.contains(&format!("kept what was at user in {kept}/user")), "{shown}");
    // What Kiln has built is replaced without a trace, also where somebody has changed it since.
    project.write("s", "2\n");
    project.write("user/made", "changed\n");
    assert!(!project.expect(0, &["plan"]).out.contains("replaces"));
    assert!(!project.expect(0, &["run"]).out.contains("kept"));
    assert_eq!(fs::read_dir(project.path(".kiln/replaced")).unwrap().count(), 1);
}

/// What stands there is Kiln's own as long as some record of the pipeline tells of just that.
#[test]
fn what_was_built_under_another_name_is_kilns_own() {
    let text =
        |name: &str, word: &str| format!("[dataset.{name}]\npath = \"o/a\"\nrun = \"echo {word} >{{{{ output }}}}\"\n");
    let project = Project::new(&text("a", "1"));
    project.expect(0, &["run"]);
    project.pipeline(&text("renamed", "1"));
    for arguments in [&["plan"][..], &["why", "renamed"]] {
        let said = project.expect(0, arguments).out;
        assert!(said.contains("built under another name, `kiln adopt` takes it as built: a\n"), "{said}");
        assert!(!said.contains("replaces what is there"), "{said}");
    }
    let json: Value = serde_json::from_str(&project.expect(0, &["plan", "--format", "json"]).out).unwrap();
    let codes = serde_json::json!([{ "code": "never_built" }, { "code": "built_as", "what": "a" }]);
    assert_eq!(json["steps"][0]["reasons"], codes);
    assert!(project.expect(0, &["adopt"]).out.contains("  took  renamed  o/a\n"));
    assert!(project.expect(0, &["plan", "--check"]).out.contains("1 up to date"));
    // With another recipe there is nothing to take, and nothing to keep either.
    project.pipeline(&text("again", "2"));
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("  never built\n"), "{plan}");
    assert!(!project.expect(0, &["run"]).out.contains("kept"));
    assert!(!project.exists(".kiln/replaced"));
    // What somebody has changed since is not Kiln's.
    project.pipeline(&text("third", "3"));
    project.write("o/a", "mine\n");
    assert!(project.expect(0, &["plan"]).out.contains("never built; replaces what is there: o/a\n"));
    project.expect(0, &["run"]);
    assert_eq!(project.read(&format!("{}/o/a", kept(&project))), "mine\n");
}

#[test]
fn a_folder_is_kept_where_a_file_is_built_and_nothing_where_it_comes_out_the_same() {
    let text = "[dataset.a]\npath = \"a\"\nrun = \"echo new >{{ output }}\"\n\
        [dataset.b]\npath = \"b\"\nrun = \"echo same >{{ output }}\"\n\
        [folder.c]\npath = \"c\"\nrun = \"echo same >{{ output }}/x\"\n";
    let project = Project::new(text);
    project.write("a/mine", "precious\n");
    project.write("b", "same\n");
    project.write("c/x", "same\n");
    project.expect(0, &["run"]);
    let kept = kept(&project);
    assert_eq!(project.read(&format!("{kept}/a/mine")), "precious\n");
    assert_eq!(project.read("a"), "new\n");
    assert_eq!(fs::read_dir(project.path(&kept)).unwrap().count(), 1, "what is the same is not lost");
}

#[test]
fn what_cannot_have_been_built_is_kept_although_something_was() {
    let text = "[dataset.a]\npath = \"a\"\nrun = \"echo new >{{ output }}\"\n\
        [folder.b]\npath = \"b\"\nrun = \"echo new >{{ output }}/x\"\n\
        [dataset.c]\npath = \"c\"\nrun = \"echo new >{{ output }}\"\n";
    let project = Project::new(text);
    project.expect(0, &["run"]);
    fs::remove_file(project.path("a")).unwrap();
    project.write("a/mine", "precious\n");
    fs::remove_dir_all(project.path("b")).unwrap();
    project.write("b", "mine\n");
    project.write("c", "changed\n");
    let run = project.expect(0, &["run"]).out;
    let kept = kept(&project);
    assert_eq!(project.read(&format!("{kept}/a/mine")), "precious\n");
    assert_eq!(project.read(&format!("{kept}/b")), "mine\n");
    assert_eq!((project.read("a").as_str(), project.read("b/x").as_str()), ("new\n", "new\n"));
    assert!(run.contains("content as last built; what stood there was not; kept what was at a in "), "{run}");
    assert!(!project.exists(&format!("{kept}/c")), "a file for a file is a build's to replace");
    fs::remove_file(project.path("c")).unwrap();
    assert!(project.expect(0, &["run"]).out.contains("content as last built\n"));
}

#[test]
fn an_input_that_a_step_moves_away_is_not_lost() {
    for (how, run, code) in [
        (
            "",
            "mv s {{ output }}",
            "input `s` (s) changed while the run went on; if it was the step itself: a recipe writes to nothing that it reads",
        ),
        ("", "mv s {{ output }}; exit 3", "exit 3"),
        (
            "in_place = true\n",
            "mv s a",
            "input `s` (s) changed while the run went on; if it was the step itself: a recipe writes to nothing that it reads",
        ),
    ] {
        let project = Project::new(&format!(
            "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\n{how}run = \"{run}\"\n"
        ));
        project.write("s", "precious\n");
        let said = project.expect(1, &["run"]).out;
        let kept = format!("{}/a", kept(&project));
        assert!(said.contains(&format!("{code}; an input is gone, and what was written is kept in {kept}")), "{said}");
        assert_eq!(project.read(&kept), "precious\n");
        assert!(!project.exists("a") && !project.exists("s"), "{how}{run}");
    }
}

#[test]
fn what_a_step_moves_out_of_a_source_folder_is_not_lost() {
    let told = "files of an input are gone, and what was written is kept in";
    for (how, run) in [
        ("", "mv inbox/*.csv {{ output }}/"),
        ("", "mv inbox/*.csv {{ output }}/; exit 3"),
        ("in_place = true\n", "mkdir -p a; mv inbox/*.csv a/"),
    ] {
        let project = Project::new(&format!(
            "[folder.s]\npath = \"inbox\"\n[folder.a]\npath = \"a\"\ninputs = [\"s\"]\n{how}run = \"{run}\"\n"
        ));
        project.write("inbox/p.csv", "precious\n");
        project.write("inbox/stays", "");
        let said = project.expect(1, &["run"]).out;
        let kept = format!("{}/a", kept(&project));
        assert!(said.contains(&format!("; {told} {kept}")), "{said}");
        assert_eq!(project.read(&format!("{kept}/p.csv")), "precious\n");
        assert!(!project.exists("a"), "{how}{run}");
    }
}

/// Kiln does not know what else there was, but that it is older than the attempt.
#[test]
fn what_a_failing_step_moved_to_its_output_is_not_lost() {
    let moved = "what it had moved to its output is kept in";
    let lost = "an input is gone, and what was written is kept in";
    let folder = "[folder.a]\npath = \"o/a\"\n";
    let dataset = "[dataset.a]\npath = \"o/a\"\n";
    let in_place = "[dataset.a]\npath = \"o/a\"\nin_place = true\n";
    for (node, run, told, kept_as) in [
        (dataset, "mv other {{ output }}; exit 3", moved, "o/a"),
        (dataset, "mv other $(dirname {{ output }})/tmp; exit 3", moved, "o/tmp"),
        (dataset, "mv s $(dirname {{ output }})/tmp; exit 3", lost, "o/tmp"),
        (folder, "mkdir {{ output }}/deep; mv other {{ output }}/deep/; exit 3", moved, "o/a/deep/other"),
        (in_place, "mv other o/a; exit 3", moved, "o/a"),
    ] {
        let text = format!("[dataset.s]\npath = \"s\"\n{node}inputs = [\"s\"]\nrun = '{run}'\n");
        let project = Project::new(&text);
        project.write("s", "precious\n");
        project.write("other", "precious\n");
        let said = project.expect(1, &["run"]).out;
        assert!(said.contains(&format!("exit 3; {told} .kiln/replaced/")), "{said}");
        assert!(!said.contains("somebody"), "nobody has put anything there: {said}");
        assert_eq!(project.read(&format!("{}/{kept_as}", kept(&project))), "precious\n", "{run}");
        assert!(!project.exists("o/a"), "{run}");
    }
}

#[test]
fn a_step_that_is_out_of_time_says_what_is_kept() {
    let project = Project::new(
        "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\ntimeout = \"100ms\"\n\
        run = 'mv s {{ output }}; exec sleep 60'\n",
    );
    project.write("s", "precious\n");
    let said = project.expect(1, &["run"]).out;
    let kept = format!("{}/a", kept(&project));
    let told = format!("timed out after 0.1s; an input is gone, and what was written is kept in {kept}");
    assert!(said.contains(&told), "{said}");
    assert_eq!(project.read(&kept), "precious\n");
}

#[test]
fn what_a_step_wrote_is_kept_only_where_something_was_lost() {
    let project = Project::new(
        "[folder.s]\npath = \"inbox\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"echo half >{{ output }}; . ./do\"\n",
    );
    project.write("inbox/p.csv", "1\n");
    project.write("inbox/stays", "");
    project.write("do", "echo >inbox/new\n");
    project.expect(1, &["run"]);
    project.write("do", "exit 3\n");
    fs::remove_file(project.path("inbox/p.csv")).unwrap();
    project.expect(1, &["run"]);
    assert!(!project.exists(".kiln/replaced"), "nothing that the step began with is gone");
    // What was moved has another name, which is still there; links and copies are new.
    project.write("old", "1\n");
    project.write("do", "o=$KILN_OUTPUT; rm $o; ln old $o; ln -s old $o.link; cp -a old $o.copy; exit 3\n");
    project.expect(1, &["run"]);
    assert!(!project.exists(".kiln/replaced"), "nothing was moved");
}

#[test]
fn what_stands_at_a_new_path_is_kept_too() {
    let project = foreign();
    fs::remove_dir_all(project.path("user")).unwrap();
    project.expect(0, &["run"]);
    project.write("other/x", "precious\n");
    project.pipeline(&FOLDER.replace("user", "other"));
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("replaces what is there: other") && plan.contains("output moved"), "{plan}");
    project.expect(0, &["run"]);
    assert_eq!(project.read(&format!("{}/other/x", kept(&project))), "precious\n");
    assert!(project.exists("user/made"), "the old place is left alone");
}

#[test]
fn what_a_recipe_writes_over_in_place_is_kept() {
    let text = "[dataset.a]\npath = \"a\"\nin_place = true\nrun = \"[ ! -e bad ]; echo new >a\"\n";
    let project = Project::new(text);
    project.write("a", "precious\n");
    project.write("bad", "");
    assert!(!project.expect(1, &["run"]).out.contains("kept what"));
    assert_eq!(project.read("a"), "precious\n", "a step that fails replaces nothing");
    fs::remove_file(project.path("bad")).unwrap();
    project.expect(0, &["run"]);
    assert_eq!(
        (project.read("a").as_str(), project.read(&format!("{}/a", kept(&project))).as_str()),
        ("new\n", "precious\n")
    );
    project.expect(0, &["run", "--mode", "forced"]);
    assert_eq!(fs::read_dir(project.path(".kiln/replaced")).unwrap().count(), 1);
}

#[test]
fn on_another_file_system_it_is_kept_beside_its_place() {
    if !is_there() {
        return;
    }
    let project = Project::new(&FOLDER.replace("\"user\"", "\"disk/user\""));
    project.write("s", "1\n");
    let script = "mkdir disk && mount -t tmpfs none disk && mkdir disk/user && echo precious >disk/user/x\n\
        \"$KILN\" run; cat disk/user/made disk/.user.kiln-replaced-build_p_*/x";
    let said = in_space(&project, &["--mount"], script);
    assert!(said.out.ends_with("1\nprecious\n"), "{said:?}");
    assert!(said.out.contains("kept what was at disk/user in disk/.user.kiln-replaced-build_p_"), "{said:?}");
}

#[test]
fn a_folder_that_its_owner_may_not_write_to_can_be_replaced() {
    if !is_there() {
        return;
    }
    let make = "inputs = [\"s\"]\nrun = \"cat s >{{ output }}/x; chmod 555 {{ output }}\"\n";
    let text = format!(
        "[dataset.s]\npath = \"s\"\n[folder.a]\npath = \"o/a\"\n{make}[folder.b]\npath = \"o/b\"\nin_place = true\n{make}"
    );
    let project = Project::new(&text);
    project.write("s", "1\n");
    // What stood there before is somebody's, and read-only all the way down.
    project.write("o/a/sub/mine", "precious\n");
    project.write("o/b/sub/mine", "precious\n");
    let lock = "for o in a b; do chmod 555 o/$o/sub o/$o; done; \"$KILN\" run -k";
    let said = as_anybody(&project, lock);
    let kept = kept(&project);
    assert_eq!(project.read(&format!("{kept}/o/a/sub/mine")), "precious\n", "{said:?}");
    assert_eq!(project.read(&format!("{kept}/o/b/sub/mine")), "precious\n", "{said:?}");
    project.write("s", "2\n");
    let said = as_anybody(&project, "\"$KILN\" run -k; code=$?; stat -c %a o/a o/b .kiln/replaced/*/o/a; exit $code");
    assert!(said.code == 0 && said.out.ends_with("555\n555\n555\n"), "{said:?}");
    assert_eq!((project.read("o/a/x").as_str(), project.read("o/b/x").as_str()), ("2\n", "2\n"));
    // A step that fails puts the last one back.
    project.pipeline(&text.replace("cat s", "[ $(cat s) != 3 ]; cat s"));
    project.write("s", "3\n");
    let said = as_anybody(&project, "\"$KILN\" run -k; stat -c %a o/b");
    assert!(said.out.ends_with("555\n"), "{said:?}");
    assert_eq!(project.read("o/b/x"), "2\n");
    let said = as_anybody(&project, "\"$KILN\" gc --keep-days 0; code=$?; chmod u+w o/a o/b; exit $code");
    assert!(said.code == 0 && !project.exists(&kept), "{said:?}");
}

#[test]
fn gc_takes_it_when_it_is_old_and_says_so() {
    let project = foreign();
    project.expect(0, &["run"]);
    let kept = kept(&project);
    let all = ["gc", "--keep-days", "30", "--keep-runs", "0"];
    assert!(!project.expect(0, &all).out.contains("replaced"));
    let month = SystemTime::now() - Duration::from_hours(24 * 31);
    fs::File::open(project.path(&kept)).unwrap().set_modified(month).unwrap();
    let dry = project.expect(0, &[&all[..], &["-n"]].concat()).out;
    let told = "would remove what 1 run had kept in .kiln/replaced: ";
    assert!(dry.contains(told) && dry.contains(&format!(" B\n  {kept}/user")), "{dry}");
    assert!(project.exists(&kept));
    // Nobody reads what a run does by the way.
    project.expect(0, &["run", "--mode", "forced"]);
    assert!(project.exists(&kept));
    assert!(project.expect(0, &all).out.contains("removed what 1 run had kept in .kiln/replaced: "));
    assert!(!project.exists(&kept));
}

/// Kiln dies at a point, or the disk is full there: what stood there is at its place or kept, and in the end it is kept.
#[cfg(feature = "failpoints")]
#[test]
fn it_is_never_lost_whenever_kiln_dies() {
    let in_place = "[dataset.o]\npath = \"user/notes/x\"\nin_place = true\nrun = \"echo new >user/notes/x\"\n";
    for (text, points) in [
        (
            FOLDER,
            &["publish.place", "publish.keep", "publish.kept", "publish.placed", "publish.remove", "store.committed"][..],
        ),
        (
            in_place,
            &["aside.listed", "aside.move", "publish.place", "publish.keep", "publish.placed", "publish.remove"],
        ),
    ] {
        for how in ["kill", "full"] {
            for point in points {
                let project = foreign();
                project.pipeline(text);
                let mut command = project.command(&["run"]);
                let output = command.env("KILN_FAULT", format!("{point}={how}@1")).output().unwrap();
                println!("{how} {point}: {:?}", output.status);
                let copies = std::process::Command::new("sh")
                    .args(["-c", "find . -name x -type f -o -name '[0-9]' -type f | xargs grep -l precious"])
                    .current_dir(project.path(""))
                    .output()
                    .unwrap();
                assert_eq!(String::from_utf8(copies.stdout).unwrap().lines().count(), 1, "{how} {point}");
                let said = project.expect(0, &["run"]);
                let found = std::process::Command::new("sh")
                    .args(["-c", "cat .kiln/replaced/*/user/notes/x"])
                    .current_dir(project.path(""))
                    .output()
                    .unwrap();
                assert_eq!(found.stdout, b"precious\n", "{how} {point}: {said:?}");
                let shown = project.expect(0, &["jobs", "list", "--format", "json"]).out;
                let jobs: Value = serde_json::from_str(&shown).unwrap();
                let told = jobs.as_array().unwrap().iter().any(|job| {
                    let id = job["id"].as_str().unwrap();
                    project.expect(0, &["jobs", "show", id, "--format", "json"]).out.contains(".kiln/replaced/")
                });
                assert!(told, "{how} {point}: it is told");
            }
        }
    }
}

#[test]
fn gc_of_another_state_leaves_what_it_does_not_know() {
    let project = foreign();
    project.expect(0, &["run"]);
    let (own, other) = (kept(&project), ["gc", "--state", "other", "--keep-days", "0"]);
    project.write("s2", "mine");
    let text = project.read("pipeline.toml") + "[dataset.s2]\npath = \"s2\"\nrun = \"echo 2 > {{ output }}\"\n";
    project.write("pipeline.toml", &text);
    project.expect(0, &["run", "s2", "--state", "other"]);
    let folders = || fs::read_dir(project.path(".kiln/replaced")).unwrap().count();
    assert_eq!(folders(), 2);
    let said = project.expect(0, &other).out;
    assert!(said.contains("removed what 1 run had kept"), "{said}");
    assert!(folders() == 1 && project.exists(&own));
    // What no history knows goes with the root's own.
    fs::create_dir(project.path(".kiln/replaced/build_p_gone")).unwrap();
    project.expect(0, &other);
    assert_eq!(folders(), 2);
    project.expect(0, &["gc", "--keep-days", "0"]);
    assert_eq!(folders(), 0);
}

#[test]
fn what_somebody_changes_while_it_is_built_is_kept() {
    let text = "[dataset.a]\npath = \"o/a\"\nrun = \"[ ! -e edit ] || echo mine >o/a; echo new >{{ output }}\"\n\
        [folder.b]\npath = \"o/b\"\nrun = \"[ ! -e edit ] || echo mine >o/b/mine; echo new >{{ output }}/x\"\n\
        [dataset.c]\npath = \"o/c\"\nrun = \"[ ! -e edit ] || echo mine >o/c; echo new >{{ output }}\"\n";
    let project = Project::new(text);
    project.expect(0, &["run"]);
    project.expect(0, &["run", "--mode", "forced"]);
    assert!(!project.exists(".kiln/replaced"), "what was there when it was planned is Kiln's to replace");
    fs::remove_file(project.path("o/c")).unwrap();
    project.write("edit", "");
    let run = project.expect(0, &["run", "--mode", "forced"]).out;
    let kept = kept(&project);
    for (path, of) in [("o/a", "o/a"), ("o/b/mine", "o/b"), ("o/c", "o/c")] {
        assert_eq!(project.read(&format!("{kept}/{path}")), "mine\n");
        assert!(run.contains(&format!("what stood there was not; kept what was at {of} in {kept}/{of}\n")), "{run}");
    }
    assert_eq!((project.read("o/a"), project.exists("o/b/mine")), ("new\n".to_owned(), false));
}

/// Whatever a build was asked for, or is made for.
#[test]
fn that_somebody_has_changed_what_is_replaced_is_told() {
    let text = |rebuild: &str| {
        format!(
            "[dataset.a]\npath = \"a\"\n[dataset.b]\npath = \"b\"\n[recipe.r]\noutputs = [\"a\", \"b\"]\n\
             rebuild = \"{rebuild}\"\nrun = \"echo 1 >{{{{ outputs.a }}}}; echo 1 >{{{{ outputs.b }}}}\"\n"
        )
    };
    for (rebuild, mode, missing) in [
        ("changed", "smart", false),
        ("changed", "forced", false),
        ("changed", "only", false),
        ("changed", "missing", true),
        ("never", "smart", true),
        ("always", "smart", false),
        ("0s", "smart", false),
    ] {
        let project = Project::new(&text(rebuild));
        project.expect(0, &["run"]);
        project.write("a", "mine\n");
        if missing {
            fs::remove_file(project.path("b")).unwrap();
        }
        let plan = project.expect(0, &["plan", "--mode", mode]).out;
        assert!(plan.contains("output changed: a "), "{rebuild} {mode}: {plan}");
        let run = project.expect(0, &["run", "--mode", mode]).out;
        assert!(run.contains("content as last built; what stood there was not"), "{rebuild} {mode}: {run}");
    }
}

/// Kiln has looked at what stands there, and is about to put the new folder in its place.
#[cfg(feature = "failpoints")]
#[test]
fn what_is_written_at_the_last_moment_is_kept() {
    for dies in [false, true] {
        let project = Project::new(FOLDER);
        project.write("s", "1\n");
        project.expect(0, &["run"]);
        project.write("s", "2\n");
        pipe(&project, "gate");
        let point = if dies { "publish.exchanged" } else { "publish.exchange" };
        let mut command = project.command(&["run"]);
        command.env("KILN_FAULT", format!("{point}=wait")).env("KILN_FAULT_GATE", project.path("gate"));
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        assert_eq!(hear(&project, "gate"), "here");
        let kept = kept(&project);
        // Whoever has the folder open writes to it wherever it lies.
        let staged = kept.replace(".kiln/replaced", ".kiln/staging/p") + "/o-1-0/user";
        let lies = if dies { staged } else { "user".to_owned() };
        project.write(&format!("{lies}/mine"), "precious\n");
        if dies {
            child.kill().unwrap();
        } else {
            tell(&project, "gate");
        }
        let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        if dies {
            project.expect(0, &["run"]);
            let shown = project.expect(0, &["jobs", "show", kept.rsplit('/').next().unwrap()]).out;
            assert!(shown.contains(&format!("kept what was at user in {kept}/user")), "{shown}");
        } else {
            assert!(said.contains(&format!("kept what was at user in {kept}/user")), "{said}");
        }
        assert_eq!(project.read(&format!("{kept}/user/mine")), "precious\n");
        assert_eq!((project.read("user/made").as_str(), project.exists("user/mine")), ("2\n", false));
        let left = fs::read_dir(project.path(".kiln/staging/p")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{dies}");
    }
}
