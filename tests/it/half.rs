//! What a killed run left half-written where it belongs: no way leads to it, for no other pipeline and for no other name, and a plan
//! reckons with what the next run takes away first.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::crash::kill_when_waiting;
use crate::running::{Running, hear, pipe, tell};
use crate::support::Project;
use crate::undone::{in_place, killed};

/// Another pipeline of the same root.
fn other(project: &Project, text: &str) {
    let head = "[pipeline]\nformat = 1\nname = \"other\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n";
    project.write("other.toml", format!("{head}{text}"));
}

/// Wants another pipeline to be refused by a plan and by a run, with the name of the one to run first, and nothing done.
#[track_caller]
fn is_refused(project: &Project, more: &[&str]) {
    for command in ["plan", "run"] {
        let said = project.expect(2, &[&[command, "-f", "other.toml"][..], more].concat()).err;
        assert!(said.contains("half-written") && said.contains("help: run `p` to its end first"), "{said}");
    }
    assert!(!project.exists("z"));
}

const READS: &str =
    "[dataset.z]\npath = \"z\"\ninputs = [\"x\"]\nrun = \"cat {{ inputs.x }}/* {{ inputs.x }} >{{ output }} || :\"\n";

#[test]
fn no_link_leads_to_it() {
    let project = killed("m", true);
    fs::create_dir_all(project.path("d/e")).unwrap();
    symlink("o/m", project.path("file")).unwrap();
    symlink("file", project.path("chain")).unwrap();
    symlink("o", project.path("folder")).unwrap();
    symlink(project.path("o/m"), project.path("d/e/inner")).unwrap();
    for path in ["file", "chain", "folder/m", "folder", "o/m", "o"] {
        other(&project, &format!("[dataset.x]\npath = \"{path}\"\n{READS}"));
        is_refused(&project, &[]);
    }
    other(&project, &format!("[folder.x]\npath = \"d\"\n{READS}"));
    is_refused(&project, &[]);
    for files in ["file", "folder/m", "folder/*", "o/*", "d/e/*"] {
        other(
            &project,
            &format!("[dataset.z]\npath = \"z\"\nrun = \"echo >{{{{ output }}}}\"\nfiles = [\"{files}\"]\n"),
        );
        is_refused(&project, &[]);
    }
    // What has nothing to do with it may be read, and once the run is over all may.
    project.write("d/plain", "1");
    other(&project, &format!("[dataset.x]\npath = \"d/plain\"\n{READS}"));
    project.expect(0, &["run", "-f", "other.toml"]);
    project.expect(0, &["run", "m"]);
    other(&project, &format!("[dataset.x]\npath = \"chain\"\n{READS}"));
    project.expect(0, &["run", "-f", "other.toml"]);
    assert_eq!(project.read("z"), "2");
}

#[test]
fn it_is_no_output_of_another_pipeline() {
    let project = killed("m", true);
    let x = |rebuild: &str| {
        format!(
            "[dataset.x]\npath = \"o/m\"\ninputs = []\nrebuild = \"{rebuild}\"\nrun = \"echo >{{{{ output }}}}\"\n{READS}"
        )
    };
    for (rebuild, more) in [
        ("never", &[][..]),
        ("explicit", &[]),
        ("changed", &["--mode", "missing"]),
        ("changed", &["--mode", "only", "z"]),
    ] {
        other(&project, &x(rebuild));
        is_refused(&project, more);
    }
    // Nor is a folder around it.
    other(&project, &format!("[folder.x]\npath = \"o\"\ninputs = []\nrun = \"echo >{{{{ output }}}}/a\"\n{READS}"));
    is_refused(&project, &[]);
    let said = project.expect(4, &["adopt", "-f", "other.toml", "x"]).out;
    assert!(said.contains("left  x  a run of pipeline `p` was writing o/m in place"), "{said}");
    // Nor what is put there through a link.
    symlink("o", project.path("link")).unwrap();
    other(&project, "[dataset.y]\npath = \"link/m\"\nrun = \"echo y >{{ output }}\"\n");
    for command in ["plan", "run"] {
        let said = project.expect(2, &[command, "-f", "other.toml"]).err;
        assert!(said.contains("a run of pipeline `p` was writing o/m in place"), "{said}");
    }
    project.expect(4, &["adopt", "-f", "other.toml"]);
    assert_eq!(project.read("o/m"), "ha\n");
}

/// A pipeline with its root in a folder of this one, killed as those above.
fn killed_below(built: bool) -> Project {
    let project = killed("m", built);
    let all: Vec<_> = fs::read_dir(project.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    fs::create_dir(project.path("sub")).unwrap();
    all.iter().for_each(|name| fs::rename(project.path("").join(name), project.path("sub").join(name)).unwrap());
    project
}

#[test]
fn a_pipeline_above_its_root_does_not_read_it_either() {
    let project = killed_below(true);
    fs::create_dir(project.path("d")).unwrap();
    symlink("../sub/o/m", project.path("d/link")).unwrap();
    for path in ["sub/o/m", "sub/o", "sub"] {
        other(&project, &format!("[folder.x]\npath = \"{path}\"\n{READS}"));
        is_refused(&project, &[]);
    }
    other(&project, "[dataset.z]\npath = \"z\"\nrun = \"echo >{{ output }}\"\nfiles = [\"sub/o/*\"]\n");
    is_refused(&project, &[]);
    other(&project, "[dataset.y]\npath = \"sub/o/m\"\nrun = \"echo y >{{ output }}\"\n");
    let said = project.expect(2, &["run", "-f", "other.toml"]).err;
    assert!(
        said.contains("a run of pipeline `p` was writing sub/o/m in place") && said.contains(" sub/.kiln/"),
        "{said}"
    );
    project.expect(0, &["-C", "sub", "run", "m"]);
    other(&project, &format!("[dataset.x]\npath = \"sub/o/m\"\n{READS}"));
    project.expect(0, &["run", "-f", "other.toml"]);
    assert_eq!(project.read("z"), "2");
}

#[test]
fn nor_is_it_read_from_further_above_or_by_way_of_links() {
    let project = killed_below(true);
    ["top", "d", "e"].iter().for_each(|folder| fs::create_dir(project.path(folder)).unwrap());
    fs::rename(project.path("sub"), project.path("top/sub")).unwrap();
    for (to, link) in
        [("top/sub/o", "folder"), ("top/sub/o/m", "file"), ("../top/sub/o/m", "d/file"), ("../d", "e/over")]
    {
        symlink(to, project.path(link)).unwrap();
    }
    for path in ["top", "folder/m", "folder", "file", "d", "e"] {
        other(&project, &format!("[folder.x]\npath = \"{path}\"\n{READS}"));
        is_refused(&project, &[]);
    }
    for files in ["top", "**/m", "t*/**/m", "folder/*", "d/*", "file", "e"] {
        let run = "run = \"echo >{{ output }}\"\n";
        other(&project, &format!("[dataset.z]\npath = \"z\"\n{run}files = [\"{files}\"]\n"));
        is_refused(&project, &[]);
    }
    // Nor is what was made from it taken as built.
    other(&project, &format!("[folder.x]\npath = \"top\"\n{READS}"));
    project.write("z", "ha\n");
    let said = project.expect(4, &["adopt", "-f", "other.toml"]).out;
    let why = "left  z  a run of pipeline `p` writes top/sub/o/m in place, or was killed while it did";
    assert!(said.contains(why), "{said}");
    project.expect(0, &["-C", "top/sub", "run", "m"]);
    project.expect(0, &["run", "-f", "other.toml"]);
}

#[test]
fn a_pipeline_below_does_not_read_what_one_above_it_writes() {
    let project = killed("m", true);
    fs::create_dir(project.path("o/in")).unwrap();
    symlink("../m", project.path("o/in/link")).unwrap();
    let head = "[pipeline]\nformat = 1\nname = \"other\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n";
    for (at, path) in [("o", "m"), ("o/in", "link")] {
        project.write(&format!("{at}/pipeline.toml"), format!("{head}[dataset.x]\npath = \"{path}\"\n{READS}"));
        for command in ["plan", "run"] {
            let said = project.expect(2, &["-C", at, command]).err;
            assert!(said.contains("half-written") && said.contains("help: run `p` to its end first"), "{said}");
        }
    }
    let y = "[dataset.y]\npath = \"m\"\nrun = \"echo y >{{ output }}\"\n";
    project.write("o/pipeline.toml", format!("{head}{y}"));
    let said = project.expect(2, &["-C", "o", "run"]).err;
    assert!(said.contains("a run of pipeline `p` was writing m in place; its last good content is in /"), "{said}");
    project.expect(0, &["run", "m"]);
    project.expect(0, &["-C", "o", "run"]);
}

#[test]
fn what_a_pipeline_below_keeps_is_for_nobody_else() {
    let project = killed_below(true);
    let out = "run = \"echo y >{{ output }}\"\n";
    for text in [format!("[dataset.y]\npath = \"sub/.kiln/y\"\n{out}"), "[folder.x]\npath = \"sub/.kiln\"\n".to_owned()]
    {
        other(&project, &text);
        for command in [&["check", "other.toml"][..], &["plan", "-f", "other.toml"], &["run", "-f", "other.toml"]] {
            let said = project.expect(2, command);
            let said = said.out + &said.err;
            assert!(said.contains("lies in `.kiln/`, where Kiln keeps its state"), "{said}");
            assert!(said.contains("help: what is in there is for Kiln alone: name a path beside it"), "{said}");
        }
    }
    symlink("sub/.kiln", project.path("link")).unwrap();
    other(&project, &format!("[dataset.y]\npath = \"link/y\"\n{out}"));
    for command in ["plan", "run"] {
        let said = project.expect(2, &[command, "-f", "other.toml"]).err;
        assert!(said.contains("a link leads to sub/.kiln/y"), "{said}");
    }
    assert!(!project.exists("sub/.kiln/y"));
    // What a run there changes in it changes nothing here.
    project.expect(0, &["-C", "sub", "run", "m"]);
    other(&project, &format!("[folder.x]\npath = \"sub\"\n{READS}"));
    project.expect(0, &["run", "-f", "other.toml"]);
    project.expect(0, &["-C", "sub", "run", "--mode", "forced", "m"]);
    assert!(project.expect(0, &["plan", "--check", "-f", "other.toml"]).out.contains("up to date"));
}

#[test]
fn it_is_not_adopted_where_it_was_moved_or_renamed_to() {
    let moves: [fn(&Project); 3] = [
        |project| {
            fs::rename(project.path("o/m"), project.path("o/renamed")).unwrap();
            let text = project.read("pipeline.toml").replace("path = \"o/m\"", "path = \"o/renamed\"");
            project.write("pipeline.toml", text);
        },
        |project| {
            let text = project.read("pipeline.toml").replace("[dataset.m]\npath = \"o/m\"", "[folder.m]\npath = \"o\"");
            let end = text.find("[folder.f]").unwrap();
            project.write("pipeline.toml", &text[..end]);
        },
        |project| {
            fs::rename(project.path("o/m"), project.path("elsewhere")).unwrap();
            let text = project.read("pipeline.toml").replace("path = \"o/m\"", "path = \"elsewhere\"");
            project.write("pipeline.toml", text);
        },
    ];
    for (i, rename) in moves.into_iter().enumerate() {
        for built in [true, false] {
            let project = killed("m", built);
            rename(&project);
            let said = project.expect(4, &["adopt", "m"]).out;
            let why = "a run was killed while it wrote o/m in place, which no step makes now: `kiln run` comes first";
            assert!(said.contains(&format!("  left  m  {why}\n")), "{i} {built}: {said}");
        }
    }
    // What was half-written is undone then, and all can be taken.
    let project = killed("m", true);
    let text = project.read("pipeline.toml").replace("path = \"o/m\"", "path = \"o/n\"");
    project.write("pipeline.toml", text);
    project.write("o/n", "mine\n");
    project.expect(4, &["adopt", "m"]);
    project.expect(0, &["run", "other"]);
    assert!(project.expect(0, &["adopt", "m"]).out.contains("took  m"));
}

#[test]
fn what_is_taken_away_first_is_in_nobodys_way() {
    for built in [true, false] {
        // A link in its place is moved away with it.
        let project = killed("m", built);
        fs::remove_file(project.path("o/m")).unwrap();
        project.write("mine", "mine\n");
        symlink("../mine", project.path("o/m")).unwrap();
        assert!(project.expect(0, &["plan", "m"]).out.contains("build  m"), "{built}");
        project.expect(0, &["run", "m"]);
        let made = if built { "2" } else { "1" };
        assert_eq!((project.read("o/m").as_str(), project.read("mine").as_str()), (made, "mine\n"));
    }
    // A file, where a folder belongs now.
    let project = killed("m", false);
    let text = "[dataset.y]\npath = \"o/m/y\"\nrun = \"echo y >{{ output }}\"\n";
    project.pipeline(text);
    assert!(project.expect(0, &["plan"]).out.contains("build  y"));
    project.expect(0, &["run"]);
    assert_eq!(project.read("o/m/y"), "y\n");
}

#[test]
fn where_no_way_leads_to_the_last_good_one_a_plan_does_not_count_it() {
    let project = in_place();
    project.expect(0, &["run", "m"]);
    project.write("block", "");
    kill_when_waiting(&project, &["m", "--mode", "forced"], &[]);
    fs::remove_file(project.path("block")).unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::rename(project.path("o"), outside.path().join("o")).unwrap();
    symlink(outside.path().join("o"), project.path("o")).unwrap();
    let plan = project.expect(0, &["plan", "-k", "m"]).out;
    assert!(plan.contains("cannot m") && plan.contains("`m` cannot be put in place"), "{plan}");
    project.expect(2, &["plan", "m"]);
    let run = project.expect(1, &["run", "-k", "m"]).out;
    assert!(run.contains("FAILED m"), "{run}");
}

#[track_caller]
fn shell(project: &Project, command: &str) {
    let status = Command::new("sh").args(["-euc", command]).current_dir(project.path("")).status().unwrap();
    assert!(status.success(), "{command}");
}

#[test]
fn what_is_written_while_a_step_reads_it_does_not_count_as_read_be_it_again_what_it_was() {
    for text in ["[dataset.x]\npath = \"d/x\"\n", "[folder.x]\npath = \"d\"\n"] {
        let run = "cat d/x >{{ output }}; echo >read; read -r go <gate";
        let project = Project::new(&format!("{text}[dataset.y]\npath = \"y\"\ninputs = [\"x\"]\nrun = \"{run}\"\n"));
        project.write("d/x", "whole\n");
        ["read", "gate"].iter().for_each(|name| pipe(&project, name));
        let run_while = |command: &str, code| {
            let mut run = Running::start(&project, &["--mode", "forced"]);
            hear(&project, "read");
            shell(&project, command);
            tell(&project, "gate");
            run.end(code);
            run
        };
        // In its place, by way of another file that is as old, and only with another time.
        for write in ["echo half >d/x; echo whole >d/x", "cp -p d/x n; mv n d/x", "touch d/x"] {
            let run = run_while(write, 1);
            let failure = &run.events.iter().find(|event| event["type"] == "step_ended").unwrap()["failure"];
            let said = failure["message"].as_str().unwrap();
            assert!(said.contains("was written while the step read it"), "{write}: {said}");
            assert_eq!(failure["code"], "input_changed");
        }
        // Links come and go with snapshots; and what was written just before was read as it is.
        for other in ["ln d/x link; rm link", "chmod o-r d/x; chmod o+r d/x", ":"] {
            shell(&project, "touch d/x");
            run_while(other, 0);
        }
    }
}

#[test]
fn what_was_written_before_a_step_began_is_no_matter_though_links_are_made_meanwhile() {
    let project = Project::new(
        "[dataset.x]\npath = \"x\"\n[dataset.z]\npath = \"z\"\nrun = \"echo >begun; read -r go <gate; echo >{{ output }}\"\n\
         [dataset.y]\npath = \"y\"\ninputs = [\"x\", \"z\"]\nrun = \"cat x >{{ output }}; echo >read; read -r go <gate\"\n",
    );
    project.write("x", "whole\n");
    ["begun", "read", "gate"].iter().for_each(|name| pipe(&project, name));
    let mut run = Running::start(&project, &[]);
    hear(&project, "begun");
    shell(&project, "touch -d '1 minute ago' x");
    tell(&project, "gate");
    hear(&project, "read");
    shell(&project, "ln x link; rm link");
    tell(&project, "gate");
    run.end(0);
}

#[test]
fn nothing_is_put_over_it_that_was_planned_before_it_was_begun() {
    let project = Project::new(
        "[dataset.x]\npath = \"sub/build/x\"\nrun = \"echo p >{{ output }}; echo >begun; read -r go <gate\"\n",
    );
    fs::create_dir_all(project.path("sub/build")).unwrap();
    ["begun", "gate", "sub/begun", "sub/gate"].iter().for_each(|name| pipe(&project, name));
    // Where it stands, and where it is set aside and nothing stands yet.
    for first in ["echo half >build/x", ":"] {
        let q = format!("{first}; echo >begun; read -r go <gate; echo q >>build/x");
        let head = crate::support::HEAD.replace("\"p\"", "\"q\"");
        project.write(
            "sub/pipeline.toml",
            format!("{head}[dataset.x]\npath = \"build/x\"\nin_place = true\nrun = \"{q}\"\n"),
        );
        let mut p = Running::start(&project, &["--mode", "forced"]);
        hear(&project, "begun");
        let mut q = project.start(&["-C", "sub", "run", "--mode", "forced"]);
        hear(&project, "sub/begun");
        tell(&project, "gate");
        p.end(1);
        let failure = &p.events.iter().find(|event| event["type"] == "step_ended").unwrap()["failure"];
        let said = failure["message"].as_str().unwrap();
        assert!(said.contains("a run of pipeline `q` was writing sub/build/x in place"), "{said}");
        assert!(said.contains("run `q` to its end first"), "{said}");
        tell(&project, "sub/gate");
        assert!(q.wait().unwrap().success());
        assert!(project.read("sub/build/x").ends_with("q\n") && !project.read("sub/build/x").contains('p'));
    }
}

#[test]
fn what_is_begun_in_place_while_a_step_reads_it_fails_that_step_and_says_who_writes_it() {
    let project = killed("m", false);
    project.expect(0, &["run", "m"]);
    project.write("src", "3");
    let run = "cat {{ inputs.x }} >{{ output }}; echo >read; read -r go <gate";
    other(
        &project,
        &format!("[dataset.x]\npath = \"o/m\"\n[dataset.z]\npath = \"z\"\ninputs = [\"x\"]\nrun = \"{run}\"\n"),
    );
    ["read", "gate"].iter().for_each(|name| pipe(&project, name));
    let mut reads = Running::start(&project, &["-f", "other.toml"]);
    hear(&project, "read");
    project.write("block", "");
    let wait = fs::File::options().read(true).write(true).open(project.path(".kiln/gate")).unwrap();
    let mut writes = project.start(&["run", "m"]);
    assert_eq!(hear(&project, ".kiln/up"), "up\n");
    tell(&project, "gate");
    reads.end(1);
    let failure = &reads.events.iter().find(|event| event["type"] == "step_ended").unwrap()["failure"];
    let said = failure["message"].as_str().unwrap();
    assert!(
        said.starts_with("input `x` (o/m) changed while the run went on; a run of pipeline `p` writes o/m"),
        "{said}"
    );
    assert!(said.ends_with("run `p` to its end first"), "{said}");
    drop(wait);
    assert!(writes.wait().unwrap().success());
}
