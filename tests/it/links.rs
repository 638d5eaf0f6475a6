//! Symbolic links where outputs belong, and other things in their way: nothing outside the root is touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{ALL_THE_SAME, Project, Said};

const STEP: &str = "[dataset.a]\npath = \"build/a\"\nrun = 'echo new >\"$KILN_OUTPUT\"'\n";

/// What is said of a step that is not even started.
#[track_caller]
fn refused(project: &Project) -> String {
    let said = project.expect(2, &["run"]);
    assert!(!project.exists(".kiln/logs"), "nothing was started");
    assert!(said.err.contains("`a` cannot be put in place"), "{}", said.err);
    said.err
}

#[test]
fn an_output_behind_a_link_that_leaves_the_root_is_refused() {
    let victim = tempfile::tempdir().unwrap();
    fs::write(victim.path().join("a"), "old").unwrap();
    for chained in [false, true] {
        let project = Project::new(STEP);
        match chained {
            false => symlink(victim.path(), project.path("build")).unwrap(),
            true => {
                symlink(victim.path(), project.path("far")).unwrap();
                symlink("far", project.path("build")).unwrap();
            }
        }
        assert!(refused(&project).contains("── build leads out of the root\n"));
    }
    assert_eq!(fs::read_to_string(victim.path().join("a")).unwrap(), "old");
    assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 1);
}

#[test]
fn a_link_to_a_folder_inside_the_root_is_followed() {
    let project = Project::new(STEP);
    project.write("data/b", "");
    symlink("data", project.path("build")).unwrap();
    project.expect(0, &["run"]);
    assert_eq!(project.read("data/a"), "new\n");
    assert!(project.path("build").is_symlink());
}

#[test]
fn a_link_in_the_place_of_an_output_is_not_replaced() {
    let project = Project::new(STEP);
    project.write("data", "old");
    project.write("build/b", "");
    symlink("../data", project.path("build/a")).unwrap();
    let said = refused(&project);
    assert!(said.contains("── build/a is a symbolic link, which would be replaced\n"));
    for dry in [&["plan"][..], &["run", "--dry-run"]] {
        assert_eq!(project.expect(2, dry).err, format!("{ALL_THE_SAME}{said}"), "a plan says what a run would");
    }
    let adopted = project.expect(4, &["adopt"]).out;
    assert!(adopted.contains("  left  a  build/a is a symbolic link, which would be replaced\n"), "{adopted}");
    assert_eq!(project.read("data"), "old");
    assert!(project.path("build/a").is_symlink());
}

#[test]
fn a_recipe_that_makes_a_link_has_made_nothing() {
    let victim = tempfile::tempdir().unwrap();
    fs::write(victim.path().join("a"), "secret").unwrap();
    let there = victim.path().display();
    for (run, why) in [
        (format!("ln -s {there}/a \"$KILN_OUTPUT\""), "is a symbolic link: write the content itself"),
        (
            format!("own=$(dirname \"$KILN_OUTPUT\"); rmdir \"$own\"; ln -s {there} \"$own\""),
            "lies somewhere else, behind a link",
        ),
        (format!("echo new >\"$KILN_OUTPUT\"; ln -s {there} build"), "a link leads out of the root"),
    ] {
        let project = Project::new(&format!("[dataset.a]\npath = \"build/a\"\nrun = '''{run}'''\n"));
        let said = project.expect(1, &["run"]);
        assert!(said.out.contains(why), "{run}: {}", said.out);
        assert!(!project.path("build/a").is_file() || project.path("build").is_symlink());
        assert_eq!(fs::read_to_string(victim.path().join("a")).unwrap(), "secret");
        assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_link_to_where_an_output_is_staged_is_refused() {
    let folder = |link: &str| {
        let run = format!("echo x >{{{{ output }}}}/x; ln -s {link} {{{{ output }}}}/l");
        Project::new(&format!("[folder.a]\npath = \"build/a\"\nrun = \"{run}\"\n"))
    };
    let project = folder("{{ output }}/x");
    let said = project.expect(1, &["run"]).out;
    assert!(said.contains("the link `l` in it leads to where it is staged: make it a relative one"), "{said}");
    assert!(!project.exists("build/a"));
    let project = folder("x");
    project.expect(0, &["run"]);
    assert_eq!(project.read("build/a/l"), "x\n");
}

#[test]
fn what_is_no_folder_is_in_the_way() {
    let project = Project::new(STEP);
    project.write("build", "a file");
    let said = refused(&project);
    assert!(said.contains("── build is a file, not a folder\n"), "{said}");
    let run = project.expect(2, &["run"]).err;
    assert_eq!(run.matches("cannot be put in place").count(), 1, "{run}");
    assert!(!run.contains("leave to write"), "{run}");
    assert_eq!(project.read("build"), "a file");
}

#[test]
fn why_and_adopt_tell_of_a_link_where_an_output_belongs() {
    let project = Project::new(STEP);
    fs::create_dir_all(project.path("build")).unwrap();
    project.write("data", "x");
    symlink("../data", project.path("build/a")).unwrap();
    refused(&project);
    let link = "build/a is a symbolic link, which would be replaced";
    for _ in 0..2 {
        let why = project.expect(0, &["why", "a"]).out;
        assert!(why.contains(&format!("  in the way: `a` cannot be put in place: {link}; give it the path")), "{why}");
        assert!(!why.contains("replaces what is there"), "{why}");
        let adopted = project.expect(4, &["adopt"]).out;
        assert!(adopted.contains(link), "{adopted}");
        // One that leads nowhere is there, too.
        fs::remove_file(project.path("data")).ok();
    }
}

#[test]
fn a_link_that_a_step_makes_leads_no_step_after_it_out_of_the_root() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("out"), "precious").unwrap();
    // It is told when each fails, and at the end, once where that is all there is to say.
    for (b, told) in [("in_place = true\nrun = 'echo new >d/out'", 3), ("run = 'echo new >{{ output }}'", 4)] {
        let project = Project::new(&format!(
            "[dataset.a]\npath = \"a\"\nrun = 'ln -s {0} d; echo a >{{{{ output }}}}'\n\
            [dataset.b]\npath = \"d/out\"\ninputs = [\"a\"]\n{b}\n[dataset.c]\npath = \"d/new/out\"\ninputs = [\"a\"]\n{b}\n",
            outside.path().display(),
        ));
        let said = project.expect(1, &["run", "-k"]).out;
        assert_eq!(said.matches("a link leads out of the root").count(), told, "{said}");
        // Of two that failed for one reason only one is told; the way on is that of both.
        assert_eq!(said.contains("again, all of it: kiln run -k --failed"), told == 3, "{said}");
        let left: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["out"]);
        assert_eq!(fs::read_to_string(outside.path().join("out")).unwrap(), "precious");
        assert!(!project.exists(".kiln/replaced"));
    }
}

/// What is said of an output of one step that must not be at this path, by all who are asked.
#[track_caller]
fn misled(project: &Project, path: &str) -> String {
    project.pipeline(&format!("[folder.a]\npath = \"{path}\"\nrun = 'true'\n"));
    let said = refused(project);
    assert_eq!(project.expect(2, &["plan"]).err, format!("{ALL_THE_SAME}{said}"));
    assert_eq!(project.expect(2, &["check"]).out, said);
    said
}

#[test]
fn what_must_not_be_replaced_is_not_replaced_behind_a_link_either() {
    let project = Project::new("");
    project.write(".git/HEAD", "ref");
    project.write("sub/b", "");
    symlink(".", project.path("l")).unwrap();
    symlink("../.git", project.path("sub/g")).unwrap();
    fs::create_dir(project.path(".kiln")).unwrap();
    symlink("../.kiln", project.path("sub/k")).unwrap();
    let text = project.read("pipeline.toml");
    for (path, why) in [
        ("l/pipeline.toml", "a link leads to pipeline.toml: `pipeline.toml` is the pipeline file itself"),
        ("l/sub/g/hooks", "a link leads to .git/hooks: `.git/hooks` lies in `.git`, where git keeps the history"),
        ("sub/k/x", "it lies in .kiln, where Kiln keeps its state"),
    ] {
        let said = misled(&project, path);
        assert!(said.contains(why), "{path}: {said}");
    }
    project.pipeline("");
    assert_eq!(project.read("pipeline.toml"), text);
    assert_eq!(project.read(".git/HEAD"), "ref");
    // A link that leads nowhere else is none of this.
    project.pipeline(&STEP.replace("build/a", "l/sub/new/a"));
    project.expect(0, &["check"]);
    project.expect(0, &["run"]);
    assert_eq!(project.read("sub/new/a"), "new\n");
}

#[test]
fn paths_that_are_one_through_a_link_are_seen_as_one() {
    let step = |name: &str, path: &str| {
        format!("[dataset.{name}]\npath = \"{path}\"\nrun = 'echo {name} >{{{{ output }}}}'\n")
    };
    let project = Project::new("");
    project.write("real/b", "");
    symlink("real", project.path("l")).unwrap();
    for (other, met) in [
        (step("z", "real/a"), "real/a, which is `z`"),
        (step("z", "real/a/deep"), "real/a/deep, which is `z`"),
        ("[dataset.z]\npath = \"real/a\"\n".to_owned(), "real/a, which is `z`"),
    ] {
        project.pipeline(&format!("{}{other}", step("a", "l/a")));
        let said = refused(&project);
        assert!(said.contains(&format!("with links followed it meets {met}")), "{said}");
        assert!(said.contains("what is built is replaced as a whole: give each its own path"), "{said}");
        assert!(project.expect(2, &["check"]).out.contains(met));
    }
    // One of them may be all that is to be built.
    project.pipeline(&format!("{}{}", step("a", "l/a"), step("z", "real/a")));
    let said = project.expect(2, &["run", "z"]).err;
    assert!(said.contains("with links followed it meets l/a, which is `a`"), "{said}");
    project.pipeline(&format!("{}{}", step("a", "l/a"), step("z", "real/z")));
    project.expect(0, &["check"]);
    project.expect(0, &["run"]);
    assert!(project.expect(0, &["run"]).out.contains("2 up to date"));
}

#[test]
fn an_output_neither_holds_the_state_nor_lies_in_it() {
    let text = "[folder.a]\npath = \"build\"\nrun = 'echo 1 >{{ output }}/a'\n";
    let mut project = Project::new(text);
    let far = project.path("build/state").display().to_string();
    let replaced = "it would replace build/state, where Kiln keeps its state";
    for state in ["build/state", far.as_str()] {
        let said = project.expect(2, &["run", "--state", state]).err;
        assert!(said.contains(replaced) && said.contains("`--state`"), "{said}");
        assert!(project.expect(2, &["check", "--state", state]).out.contains(replaced));
        assert!(!project.exists("build"), "nothing was started");
    }
    symlink("build", project.path("l")).unwrap();
    project.write("build/b", "");
    assert!(project.expect(2, &["run", "--state", "l"]).err.contains("it lies in build, where Kiln keeps its state"));
    assert!(!project.exists("build/kiln.db"), "nor is it made there");
    project.variable("KILN_STATE", "build/state");
    assert!(project.expect(2, &["run"]).err.contains(replaced));
    project.variable("KILN_STATE", "build-state");
    project.expect(0, &["run"]);
    assert!(project.expect(0, &["run"]).out.contains("1 up to date"));
}

/// What lies there is made by no edge: nobody knows that it comes first, and a step would read what it makes itself.
#[test]
fn a_link_in_what_is_read_that_leads_to_what_is_built_is_refused() {
    let made = "[dataset.g]\npath = \"out/g\"\nrun = 'echo 1 >{{ output }}'\n";
    for (read, what) in [("inputs = [\"data\"]", "`data`"), ("files = [\"data\"]", "`data` of `files`")] {
        for to in ["../out/g", "../out", ".."] {
            let step = format!("[dataset.a]\npath = \"build/a\"\n{read}\nrun = 'echo >{{{{ output }}}}'\n");
            let project = Project::new(&format!("[folder.data]\npath = \"data\"\n{made}{step}"));
            project.write("data/x", "");
            symlink(to, project.path("data/link")).unwrap();
            for there in [false, true] {
                if there {
                    project.expect(0, &["run", "g"]);
                }
                let first = if to == ".." { "build/a" } else { "out/g" };
                for command in ["check", "plan", "run"] {
                    let said = project.expect(2, &[command]);
                    let leads = match to {
                        "../out/g" => "out/g, which Kiln builds".to_owned(),
                        _ => format!("{}, where Kiln builds {first}", if to == ".." { "the root" } else { "out" }),
                    };
                    let why = format!("{what} cannot be read: the link data/link leads to {leads}");
                    assert!(on_one_line(&said).contains(&why), "{command}: {said:?}");
                }
            }
            assert!(!project.exists("build/a"));
        }
    }
}

#[test]
fn a_glob_that_does_not_follow_a_link_is_told() {
    let project = Project::new("[task.a]\nfiles = [\"code/**/*.sh\"]\nrun = \"true\"\n");
    project.write("code/main.sh", "");
    project.write("common/l.sh", "");
    symlink("../common", project.path("code/lib")).unwrap();
    let said = project.expect(0, &["check"]).out;
    assert!(said.contains("`code/**/*.sh` of `files` does not follow the link code/lib"), "{said}");
    project.pipeline("[task.a]\nfiles = [\"code/**/*.sh\", \"code/lib\"]\nrun = \"true\"\n");
    assert!(!project.expect(0, &["check"]).out.contains("does not follow"), "it is named");
}

/// All that was said, on one line.
fn on_one_line(said: &Said) -> String {
    let text = format!("{}{}", said.out, said.err).replace(" │ ", " ").replace(" ╰─▶ ", " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// However the way leads there: a step would be built from what lies there by chance, and again by the next run.
#[test]
fn a_link_that_leads_to_what_is_built_is_refused_wherever_it_stands() {
    let made = "[dataset.g]\npath = \"out/g\"\nrun = 'echo 1 >{{ output }}'\n";
    let source =
        |path: &str| (format!("[dataset.s]\npath = \"{path}\"\n"), "inputs = [\"s\"]".to_owned(), "`s`".to_owned());
    let files = |path: &str| (String::new(), format!("files = [\"{path}\"]"), format!("`{path}` of `files`"));
    for (read, link, why, help) in [
        (source("data"), ("out/g", "data"), "data leads to out/g, which", "add \"g\" to `inputs`, and leave out `s`"),
        (source("l/g"), ("out", "l"), "l leads to out, where", "add \"g\" to `inputs`, and leave out `s`"),
        (source("data"), ("far", "data"), "data/x leads to out/g, which", "files = [\"data/**\"] in the place of `s`"),
        (files("data"), ("out/g", "data"), "data leads to out/g, which", "and leave it out of `files`"),
        (files("l/g"), ("out", "l"), "l leads to out, where", "and leave it out of `files`"),
        (
            files("data/*"),
            ("../out/g", "data/x"),
            "data/x leads to out/g, which",
            "add \"g\" to `inputs`, and the glob leaves the link out",
        ),
        (
            files("l/*"),
            ("out", "l"),
            "l leads to out, where",
            "add \"g\" to `inputs`, and the glob leaves the link out",
        ),
    ] {
        let (node, reads, what) = read;
        let project =
            Project::new(&format!("{node}{made}[dataset.a]\npath = \"a\"\n{reads}\nrun = 'echo >{{{{ output }}}}'\n"));
        let (to, at) = link;
        project.write("far/y", "");
        symlink("../out/g", project.path("far/x")).unwrap();
        fs::create_dir_all(project.path(at).parent().unwrap()).unwrap();
        symlink(to, project.path(at)).unwrap();
        let why = format!("{what} cannot be read: the link {why} Kiln builds");
        // Of what is not there yet a glob names nothing.
        let commands = if reads.contains('*') { &[][..] } else { &["check", "plan", "run"][..] };
        for there in [commands, &["check", "plan", "run", "run -k"]] {
            for command in there {
                if project.exists("out/g") || !reads.contains('*') {
                    let code = if *command == "run -k" { 1 } else { 2 };
                    let said = on_one_line(&project.expect(code, &command.split(' ').collect::<Vec<_>>()));
                    assert!(said.contains(&why), "{command}: {why}: {said}");
                    assert!(code == 1 || said.contains(help), "{command}: {help}: {said}");
                }
            }
            project.expect(0, &["run", "g"]);
        }
        assert!(!project.exists("a"), "{why}");
        // What is built is read by its name, whatever links are there.
        let globs = if reads.contains('*') { reads.as_str() } else { "files = [\"far/**\"]" };
        for printed in ["1", "2"] {
            project.pipeline(&format!(
                "{}[dataset.a]\npath = \"a\"\ninputs = [\"g\"]\n{globs}\nrun = 'cp out/g {{{{ output }}}}'\n",
                made.replace('1', printed)
            ));
            project.expect(0, &["check"]);
            project.expect(0, &["run"]);
            assert_eq!(project.read("a").trim(), printed);
            assert!(project.expect(0, &["run"]).out.contains("2 up to date"));
        }
    }
}

/// Over several links, and before there is anything at their end.
#[test]
fn links_that_lead_to_one_another_are_followed_to_what_is_not_built_yet() {
    let made = "[dataset.g]\npath = \"out/g\"\nrun = 'echo 1 >{{ output }}'\n";
    let read = "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = 'echo >{{ output }}'\n";
    let project = Project::new(&format!("{made}{read}"));
    ["s", "via", "out"].iter().for_each(|folder| fs::create_dir(project.path(folder)).unwrap());
    symlink("../via/l", project.path("s/l")).unwrap();
    symlink("../out/g", project.path("via/l")).unwrap();
    for command in ["check", "run"] {
        let said = on_one_line(&project.expect(2, &[command]));
        assert!(said.contains("the link s/l leads to out/g, which Kiln builds"), "{command}: {said}");
    }
}

/// By whichever name the glob gets there: it would be code of what is made from it, or of itself.
#[test]
fn a_glob_leaves_out_what_is_built_behind_a_link() {
    let step = "[dataset.a]\npath = \"link/a.txt\"\nfiles = [\"real/*.txt\"]\nrun = 'cat real/c.txt >{{ output }}'\n";
    let project = Project::new(step);
    project.write("real/c.txt", "1");
    symlink("real", project.path("link")).unwrap();
    for text in ["1", "2"] {
        project.write("real/c.txt", text);
        project.expect(0, &["check"]);
        project.expect(0, &["run"]);
        assert_eq!(project.read("real/a.txt"), text);
        assert!(project.expect(0, &["run"]).out.contains("1 up to date"));
    }
}

/// As where no link is: each run would find it changed.
#[test]
fn what_is_named_as_code_holds_nothing_that_is_built_behind_a_link() {
    let text = |files: &str| {
        format!("[dataset.a]\npath = \"link/d/a\"\nfiles = [\"{files}\"]\nrun = 'echo new >{{{{ output }}}}'\n")
    };
    let project = Project::new("");
    project.write("real/d/c", "1");
    symlink("real", project.path("link")).unwrap();
    for files in ["real", "real/d", "real/d/a"] {
        project.pipeline(&text(files));
        let said = refused(&project);
        let why = format!("with links followed it is real/d/a, and {files} is in the `files` of `a`");
        assert!(said.contains(&why) && said.contains("a glob leaves it out"), "{said}");
        assert!(project.expect(2, &["check"]).out.contains(&why));
    }
    project.pipeline(&text("real/**"));
    project.expect(0, &["run"]);
    assert!(project.expect(0, &["run"]).out.contains("1 up to date"));
}

#[test]
fn a_link_to_what_a_step_makes_itself_is_no_code_of_it() {
    let made = |files: &str| {
        format!("[dataset.g]\npath = \"out/g\"\nfiles = [\"{files}\"]\nrun = 'cat code/x >{{{{ output }}}}'\n")
    };
    let project = Project::new(&made("code"));
    project.write("code/x", "1");
    symlink("../out/g", project.path("code/last")).unwrap();
    let said = on_one_line(&project.expect(2, &["run"]));
    assert!(said.contains("help: have files = [\"code/**\"]: globs"), "{said}");
    project.pipeline(&made("code/**"));
    for text in ["1", "2"] {
        project.write("code/x", text);
        project.expect(0, &["check"]);
        project.expect(0, &["run"]);
        assert_eq!(project.read("code/last"), text);
        assert!(project.expect(0, &["run"]).out.contains("1 up to date"));
    }
}

/// As the workspaces of npm have it: the way out that is told is one.
#[test]
fn of_a_folder_with_a_link_to_what_is_built_the_rest_can_be_read() {
    let made = "[folder.lib]\npath = \"packages/x/dist\"\nfiles = [\"packages/x/src/**\"]\n\
                run = 'cat packages/x/src/* >{{ output }}/i.js'\n";
    let app = |reads: &str| {
        format!(
            "[dataset.app]\npath = \"build/app\"\n{reads}\nrun = 'cat app/main.js app/node_modules/x/dist/i.js app/node_modules/x/own.js >{{{{ output }}}}'\n"
        )
    };
    let project = Project::new(&format!("{made}{}", app("files = [\"app\"]")));
    for path in ["app/main.js", "packages/x/src/i.js", "packages/x/own.js"] {
        project.write(path, format!("{path} 1\n"));
    }
    fs::create_dir_all(project.path("app/node_modules")).unwrap();
    symlink("../../packages/x", project.path("app/node_modules/x")).unwrap();
    let said = on_one_line(&project.expect(2, &["run"]));
    let way_out =
        "add \"lib\" to `inputs`, and have files = [\"app/**\", \"packages/x/**\"]: globs follow no link to a folder";
    assert!(said.contains(way_out), "{said}");
    let (_, files) = way_out.split_once("and have ").unwrap();
    let (files, _) = files.split_once(": ").unwrap();
    // The half of it is warned of, with the other half.
    project.pipeline(&format!("{made}{}", app("inputs = [\"lib\"]\nfiles = [\"app/**\"]")));
    let said = on_one_line(&project.expect(0, &["check"]));
    assert!(said.contains("name \"packages/x/**\" too, if more is read there than what is built"), "{said}");
    project.pipeline(&format!("{made}{}", app(&format!("inputs = [\"lib\"]\n{files}"))));
    assert!(!project.expect(0, &["check"]).out.contains('⚠'));
    project.expect(0, &["run"]);
    assert!(project.expect(0, &["run"]).out.contains("2 up to date"));
    for path in ["app/main.js", "packages/x/src/i.js", "packages/x/own.js"] {
        project.write(path, format!("{path} 2\n"));
        project.expect(0, &["run"]);
        assert!(project.read("build/app").contains(&format!("{path} 2\n")), "{path}");
        assert!(project.expect(0, &["run"]).out.contains("2 up to date"));
    }
}

#[test]
fn what_cannot_be_read_behind_a_link_is_told_with_both_paths() {
    let step = |read: &str| format!("[task.a]\n{read}\nrun = \"true\"\n");
    for (read, path, at) in [
        ("inputs = [\"s\"]", "data", "data/in/link"),
        ("inputs = [\"s\"]", "data/in/link", "data/in/link"),
        ("files = [\"data\"]", "x", "data/in/link"),
        ("files = [\"data/**\"]", "x", "data/in/link"),
    ] {
        let project = Project::new(&format!("[dataset.s]\npath = \"{path}\"\n{}", step(read)));
        project.write("data/in/x", "");
        project.write("x", "");
        // It is there, and to read it is an error whoever does.
        let target = Path::new("/proc/self/mem");
        symlink(target, project.path(at)).unwrap();
        let said = on_one_line(&project.expect(2, &["run"]));
        assert!(said.contains(&format!("cannot be read: {at} (with links followed /proc/")), "{said}");
        assert!(said.contains("/mem): Input/"), "{said}");
    }
}

#[test]
fn the_state_does_not_lie_in_what_is_read() {
    let project = Project::new("[folder.s]\npath = \"src\"\n[task.t]\ninputs = [\"s\"]\nrun = \"true\"\n");
    project.write("src/a", "");
    symlink("src", project.path("l")).unwrap();
    for state in ["src", "src/state", "l/state"] {
        for command in ["plan", "run"] {
            let said = project.expect(2, &[command, "--state", state]).err;
            assert!(said.contains("source `s` would change with each run"), "{said}");
        }
        assert_eq!(fs::read_dir(project.path("src")).unwrap().count(), 1, "nothing is made there");
    }
    project.expect(0, &["run"]);
}
