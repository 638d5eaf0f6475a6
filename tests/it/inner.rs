//! A folder that one pipeline builds and in which another one has its root: what that keeps there is never lost with the folder.

use std::fs::{self, File};
use std::process::Command;

use crate::replaced::kept;
use crate::support::{Project, program};

/// Such a folder, in which the other one has run; `how` the recipe that makes it writes.
fn with_root_inside(how: &str) -> Project {
    let inner = "[pipeline]\nformat = 1\nname = \"inner\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n\
        [task.t]\nrun = '''if [ -e block ]; then exec 3<gate; echo >up; exec cat <&3; fi'''\n";
    let project = Project::new(&format!(
        "[dataset.s]\npath = \"s\"\n[folder.o]\npath = \"gen\"\ninputs = [\"s\"]\n{how}\
        run = \"mkdir {{{{ output }}}}/deep; cp inner.toml {{{{ output }}}}/deep/pipeline.toml; \
        cat s >{{{{ output }}}}/made; [ ! -e bad ]\"\n"
    ));
    project.write("s", "1\n");
    project.write("inner.toml", inner);
    project.expect(0, &["run"]);
    project.expect(0, &["-C", "gen/deep", "run"]);
    project
}

#[test]
fn its_history_is_kept_with_the_folder() {
    for how in ["", "in_place = true\n"] {
        let project = with_root_inside(how);
        project.expect(0, &["plan", "--check"]);
        project.write("bad", "");
        project.write("s", "2\n");
        let plan = project.expect(0, &["plan"]).out;
        assert!(plan.contains("replaces what is there: gen\n"), "{plan}");
        project.expect(1, &["run"]);
        assert!(project.exists("gen/deep/.kiln/kiln.db"), "a step that fails replaces nothing");
        fs::remove_file(project.path("bad")).unwrap();
        let run = project.expect(0, &["run"]).out;
        let kept = format!("{}/gen", kept(&project));
        assert!(run.contains(&format!("kept what was at gen in {kept}\n")), "{run}");
        let history = project.expect(0, &["-C", &format!("{kept}/deep"), "jobs", "list"]).out;
        assert!(history.contains("DONE"), "{history}");
        assert_eq!((project.read("gen/made").as_str(), project.exists("gen/deep/.kiln")), ("2\n", false));
        // What comes out the same stays as it is, unless it was written anew in its place.
        project.expect(0, &["-C", "gen/deep", "run"]);
        project.expect(0, &["run", "--mode", "forced"]);
        let copies = fs::read_dir(project.path(".kiln/replaced")).unwrap().count();
        let found = (project.exists("gen/deep/.kiln/kiln.db"), copies);
        assert_eq!(found, if how.is_empty() { (true, 1) } else { (false, 2) }, "{how}");
    }
}

#[test]
fn it_is_kept_that_came_there_while_the_folder_was_built() {
    let project = with_root_inside("");
    fs::remove_dir_all(project.path("gen/deep/.kiln")).unwrap();
    let run_inner = format!("{} -C gen/deep run", program().display());
    project.write("pipeline.toml", project.read("pipeline.toml").replace("[ ! -e bad ]", &run_inner));
    project.write("s", "2\n");
    let run = project.expect(0, &["run"]).out;
    assert!(run.contains("kept what was at gen in"), "{run}");
    assert!(project.exists(&format!("{}/gen/deep/.kiln/kiln.db", kept(&project))));
}

#[test]
fn while_a_run_goes_on_in_it_the_folder_is_not_replaced() {
    let project = with_root_inside("");
    let pipes = ["up", "gate"].map(|pipe| project.path(&format!("gen/deep/{pipe}")));
    assert!(Command::new("mkfifo").args(&pipes).status().unwrap().success());
    let gate = File::options().read(true).write(true).open(&pipes[1]).unwrap();
    project.write("gen/deep/block", "");
    let mut inner = project.start(&["-C", "gen/deep", "run", "--mode", "forced"]);
    drop(fs::read(&pipes[0]).unwrap());
    pipes.iter().for_each(|pipe| fs::remove_file(pipe).unwrap());
    project.write("s", "2\n");
    for command in ["plan", "run"] {
        let said = project.expect(2, &[command]).err;
        assert!(said.contains("a run of pipeline `inner`, which has its root in gen/deep, goes on"), "{said}");
        assert!(said.contains("help: wait until it has ended"), "{said}");
    }
    drop(gate);
    assert!(inner.wait().unwrap().success());
    assert_eq!(project.read("gen/made"), "1\n");
    project.expect(0, &["run"]);
}

#[test]
fn what_it_has_set_aside_is_no_prey_of_the_one_around_it() {
    let project = with_root_inside("");
    // As a run leaves it that was killed while it wrote in place.
    let step = "gen/deep/.kiln/staging/inner/build_inner_gone/m";
    project.write(
        &format!("{step}/aside.json"),
        r#"[{"path":"m","kept":".kiln/staging/inner/build_inner_gone/m/aside/0"}]"#,
    );
    project.write(&format!("{step}/aside/0"), "good\n");
    project.write("s", "2\n");
    for command in ["plan", "run"] {
        let said = project.expect(2, &[command]).err;
        assert!(said.contains("a run of pipeline `inner` was writing gen/deep/m in place"), "{said}");
    }
    assert_eq!(project.read(&format!("{step}/aside/0")), "good\n");
}
