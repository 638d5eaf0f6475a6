//! What changes late: while Kiln looks at it, or between a run that was killed and the next one. And what such a run leaves beside
//! outputs on another file system.

use std::fs;
use std::os::unix::fs::symlink;

use crate::replaced::kept;
#[cfg(feature = "failpoints")]
use crate::running::{hear, pipe, tell};
#[cfg(feature = "failpoints")]
use crate::space::{in_space, is_there};
use crate::support::Project;

/// A file that has to be read anew when it is replaced: what somebody puts there meanwhile is theirs.
#[cfg(feature = "failpoints")]
#[test]
fn what_is_put_at_the_only_file_while_it_is_read_is_kept() {
    let project = Project::new(
        "[dataset.s]\npath = \"s\"\n[dataset.o]\npath = \"o\"\ninputs = [\"s\"]\n\
         run = 'head -c 100000 /dev/zero | cat - s >{{ output }}; [ ! -e o ] || touch o'\n",
    );
    project.write("s", "1\n");
    project.expect(0, &["run"]);
    project.write("s", "2\n");
    pipe(&project, "gate");
    let mut command = project.command(&["run"]);
    command.env("KILN_FAULT", "publish.exchange=wait").env("KILN_FAULT_GATE", project.path("gate"));
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    assert_eq!(hear(&project, "gate"), "here");
    project.write("mine", "precious\n");
    fs::rename(project.path("mine"), project.path("o")).unwrap();
    tell(&project, "gate");
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let kept = format!("{}/o", kept(&project));
    assert!(said.contains(&format!("kept what was at o in {kept}")), "{said}");
    assert_eq!(project.read(&kept), "precious\n");
    assert!(project.read("o").ends_with("2\n"));
    project.expect(0, &["plan", "--check"]);
}

/// What was about to be put in place is not put over what the file calls a source by now, nor where it says nothing.
#[cfg(feature = "failpoints")]
#[test]
fn what_the_file_does_not_say_any_more_is_not_put_in_place() {
    let other = "[task.other]\nrun = 'true'\n";
    for (now, step) in [
        (format!("[dataset.o]\npath = \"o\"\n{other}"), "o"),
        (format!("[dataset.o]\npath = \"p\"\nrun = 'echo 2 >{{{{ output }}}}'\n{other}"), "o"),
        (other.to_owned(), "o"),
    ] {
        let project = Project::new(&format!("[dataset.o]\npath = \"o\"\nrun = 'echo 1 >{{{{ output }}}}'\n{other}"));
        let output = project.command(&["run", "o"]).env("KILN_FAULT", "publish.place=kill@1").output().unwrap();
        assert!(!output.status.success() && !project.exists("o"));
        project.write("o", "mine\n");
        project.pipeline(&now);
        let plan = project.expect(0, &["plan"]);
        assert!(!format!("{plan:?}").contains("puts it there"), "{plan:?}");
        let said = project.expect(0, &["run", "other"]).err;
        let why = format!("o could not be put in place: the file does not say any more that `{step}` makes it\n");
        assert!(said.contains(&why), "{said}");
        assert_eq!(project.read("o"), "mine\n");
        assert!(!project.exists(".kiln/replaced") || now == other || now.contains("path = \"o\""), "{said}");
    }
}

/// A project, the script that builds it on a file system of its own, and what lies beside the output after a death.
#[cfg(feature = "failpoints")]
fn far(more: &str) -> Project {
    Project::new(&format!(
        "[dataset.s]\npath = \"s\"\n[folder.d]\npath = \"far/d\"\ninputs = [\"s\"]\n{more}run = 'cp s {{{{ output }}}}'\n"
    ))
}

/// Also where the step has nothing to do by then, and where what is left could not be removed at first.
#[cfg(feature = "failpoints")]
#[test]
fn what_is_left_beside_an_output_is_removed_by_the_next_run() {
    if !is_there() {
        return;
    }
    for more in ["", "in_place = true\n"] {
        for how in ["kill", "full"] {
            let project = far(more);
            let script = format!(
                "mkdir far; mount -t tmpfs none far; echo 1 >s; \"$KILN\" run 2>&1; echo 2 >s\n\
                 KILN_FAULT=beside.remove={how} \"$KILN\" run 2>&1; echo \"left $(ls -A far | tr '\\n' ' ')\"\n\
                 \"$KILN\" run 2>&1; echo \"then $(ls -A far | tr '\\n' ' ')$(cat far/d/s)\"; ls -A .kiln/staging/p\n\
                 \"$KILN\" plan --check >/dev/null && echo done"
            );
            let said = in_space(&project, &["--mount"], &script).out;
            let left = if more.is_empty() { ".d.kiln-new d" } else { ".d.kiln-kept d" };
            assert!(said.contains(&format!("left {left} \n")), "{more}{how}: {said}");
            assert!(said.contains("\nthen d 2\n") && said.ends_with("done\n"), "{more}{how}: {said}");
            assert!(!project.exists(".kiln/staging/p"), "{more}{how}: {said}");
        }
    }
}

/// A part of a copy is of no use where the file does not say any more that anything is built there.
#[cfg(feature = "failpoints")]
#[test]
fn a_copy_that_nobody_needs_any_more_is_removed() {
    if !is_there() {
        return;
    }
    let project = far("");
    project.write("other.toml", "[pipeline]\nformat = 1\nname = \"p\"\n[task.t]\nrun = 'true'\n");
    let script = "mkdir far; mount -t tmpfs none far; echo 1 >s; KILN_FAULT=publish.place=kill \"$KILN\" run 2>&1\n\
                  echo \"left $(ls -A far)\"; \"$KILN\" run -f other.toml 2>&1; echo \"then $(ls -A far)\"";
    let said = in_space(&project, &["--mount"], script).out;
    assert!(said.contains("left .d.kiln-new\n") && said.ends_with("then \n"), "{said}");
}

/// Two pipelines that write one file in place, one of them by way of a link, do not do so at once.
#[test]
fn what_is_written_by_way_of_a_link_is_claimed_where_it_lies() {
    let project = Project::empty();
    let text = |name: &str, folder: &str| {
        format!(
            "[pipeline]\nformat = 1\nname = \"{name}\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n[dataset.x]\npath = \"{folder}/x\"\n\
             in_place = true\nrun = 'if [ -e gate ]; then echo up >up; cat gate; fi; echo {name} >{{{{ output }}}}'\n"
        )
    };
    project.write("p.toml", text("p", "real"));
    project.write("q.toml", text("q", "link"));
    project.write("real/y", "");
    symlink("real", project.path("link")).unwrap();
    for pipe in ["up", "gate"] {
        crate::running::pipe(&project, pipe);
    }
    let mut first = project.start(&["run", "-f", "p.toml"]);
    assert_eq!(crate::running::hear(&project, "up"), "up\n");
    let said = project.expect(3, &["run", "-f", "q.toml"]).err;
    assert!(said.contains("a run of `p` writes real/x too"), "{said}");
    crate::running::tell(&project, "gate");
    assert!(first.wait().unwrap().success());
    assert_eq!(project.read("real/x"), "p\n");
}

/// What another pipeline has built in a folder that is replaced is kept with it, by whatever ways the two get there.
#[test]
fn a_folder_with_what_another_pipeline_has_built_in_it_is_kept() {
    for (outer_path, inner_path) in [("o/d", "o/d/x"), ("o/d", "link/d/x"), ("link/d", "o/d/x"), ("link/d", "link/d/x")]
    {
        let project = Project::empty();
        let head =
            |name: &str| format!("[pipeline]\nformat = 1\nname = \"{name}\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n");
        let outer = format!(
            "[dataset.s]\npath = \"s\"\n[folder.d]\npath = \"{outer_path}\"\ninputs = [\"s\"]\nrun = 'cp s {{{{ output }}}}/p'\n"
        );
        let inner = format!("[dataset.x]\npath = \"{inner_path}\"\nrun = 'echo precious >{{{{ output }}}}'\n");
        project.write("o/README", "");
        symlink("o", project.path("link")).unwrap();
        project.write("p.toml", head("p") + &outer);
        project.write("q.toml", head("q") + &inner);
        project.write("s", "1\n");
        project.expect(0, &["run", "-f", "p.toml"]);
        project.write("o/d/y", "changed by somebody: that is replaced");
        project.write("s", "2\n");
        let said = project.expect(0, &["run", "-f", "p.toml"]).out;
        assert!(!said.contains("kept") && !project.exists(".kiln/replaced"), "{said}");
        project.expect(0, &["run", "-f", "q.toml"]);
        project.write("s", "3\n");
        let plan = project.expect(0, &["plan", "-f", "p.toml"]).out;
        assert!(plan.contains("replaces what is there"), "{outer_path} {inner_path}: {plan}");
        let said = project.expect(0, &["run", "-f", "p.toml"]).out;
        let at = said.split(&format!("kept what was at {outer_path} in ")).nth(1).expect(&said).lines().next().unwrap();
        assert_eq!(project.read(&format!("{}/x", at.trim())), "precious\n", "{said}");
        assert_eq!((project.read("o/d/p").as_str(), project.exists("o/d/x")), ("3\n", false));
    }
}

/// Kiln has built nothing there, whatever is recorded of the same path.
#[test]
fn what_stands_where_a_link_was_turned_to_is_kept() {
    let text = |more: &str| {
        let step = "[dataset.a]\npath = \"build/a\"\ninputs = [\"s\"]\nrun = 'cat s >{{ output }}'\n";
        format!("[dataset.s]\npath = \"s\"\n{step}{more}")
    };
    for more in ["", "in_place = true\n"] {
        let project = Project::new(&text(more));
        let turn = |to: &str| {
            fs::remove_file(project.path("build")).unwrap_or_default();
            symlink(to, project.path("build")).unwrap();
        };
        project.write("s", "1\n");
        project.write("first/b", "");
        project.write("second/a", "mine\n");
        turn("first");
        project.expect(0, &["run"]);
        // What somebody changes where it was built is a build's to replace, behind a link, too.
        for (input, change) in [("2\n", "1\n"), ("3\n", "changed\n")] {
            project.write("s", input);
            project.write("first/a", change);
            assert!(!project.expect(0, &["plan"]).out.contains("replaces"), "{more}");
            assert!(!project.expect(0, &["run"]).out.contains("kept"), "{more}");
        }
        turn("second");
        let plan = project.expect(0, &["plan"]).out;
        assert!(plan.contains("replaces what is there: build/a"), "{more}: {plan}");
        let said = project.expect(0, &["run"]).out;
        let at = kept(&project);
        assert_eq!(project.read(&format!("{at}/build/a")), "mine\n", "{more}: {said}");
        assert_eq!(["first/a", "second/a"].map(|path| project.read(path)), ["3\n", "3\n"]);
        assert!(project.expect(0, &["run"]).out.contains("1 up to date"));
        // The same where no link is any more.
        fs::remove_file(project.path("build")).unwrap();
        project.write("build/a", "mine too\n");
        project.expect(0, &["run"]);
        let at = kept(&project);
        assert_eq!(project.read(&format!("{at}/build/a")), "mine too\n", "{more}");
    }
}

/// What a run with another state left, only that state knows to be complete.
#[cfg(feature = "failpoints")]
#[test]
fn what_a_run_with_another_state_left_is_not_touched() {
    for other in [true, false] {
        let project = Project::new(
            "[dataset.s]\npath = \"s\"\n[dataset.x]\npath = \"o/x\"\ninputs = [\"s\"]\nrun = 'echo ran >>ran; cp s {{ output }}'\n",
        );
        let (first, then): (&[&str], &[&str]) =
            if other { (&["--state", "far"], &[]) } else { (&[], &["--state", "far"]) };
        let with = |state: &[&'static str], command: &'static str| [&[command], state].concat();
        for (n, state) in [("1", then), ("2", first)] {
            project.write("s", n);
            project.expect(0, &with(state, "run"));
        }
        project.write("s", "3");
        let mut command = project.command(&with(first, "run"));
        let died = command.env("KILN_FAULT", "publish.place=kill@1").output().unwrap();
        assert_eq!(died.status.code(), None);
        project.settled();
        let its = project.path("").canonicalize().unwrap().join(if other { "far" } else { ".kiln" });
        let file = project.path("pipeline.toml").canonicalize().unwrap();
        let first_run = format!("  help: first `kiln run -f {} --state {}`; or, ", file.display(), its.display());
        for command in ["plan", "run", "adopt"] {
            let said = project.expect(3, &with(then, command)).err;
            let why = format!("and its state is in {}: only a run with that one can finish it\n", its.display());
            assert!(
                said.contains("a run that was killed has left .kiln/staging/p/build_p_") && said.contains(&why),
                "{said}"
            );
            assert!(said.contains(&first_run) && said.contains("remove /"), "{said}");
        }
        assert_eq!(project.read("o/x"), "2");
        let said = project.expect(0, &with(first, "run")).err;
        assert!(said.contains("note: finished `x`"), "{said}");
        assert_eq!((project.read("o/x").as_str(), project.read("ran").lines().count()), ("3", 3));
        project.expect(0, &with(then, "run"));
        assert_eq!(fs::read_dir(project.path(".kiln/staging/p")).unwrap().count(), 0);
    }
}
