//! What is said to those who begin: words of other tools, paths in place of names, what shells say of what they are given.

use crate::mistakes::told_of;
use crate::support::Project;

#[test]
fn a_path_or_a_slip_in_place_of_a_name() {
    let node = |inputs: &str| {
        format!(
            "[dataset.src]\npath = \"data/src.csv\"\n[dataset.a]\npath = \"a\"\nrun = \"true\"\ninputs = [\"{inputs}\"]\n"
        )
    };
    for (inputs, help) in [
        ("data/src.csv", "name the dataset that has this path: `src`"),
        ("scr", "did you mean `src`?"),
        ("other", "declare it: [dataset.other]"),
        ("more/x.csv", "declare it under a name: [dataset.more_x_csv] path = \"more/x.csv\""),
        ("../x y", "declare it under a name of letters, digits and `_`, with this path"),
    ] {
        let told = told_of(&node(inputs));
        let words: Vec<&str> = told.split_whitespace().collect();
        assert!(words.join(" ").contains(&format!("help: {help} pipeline.toml: 1 mistake")), "{inputs}: {told}");
    }
}

#[test]
fn keys_of_other_tools() {
    for (key, help) in [
        ("depends = [\"s\"]", "here it is `inputs`"),
        ("deps = [\"s\"]", "here it is `inputs`"),
        ("cmd = \"x\"", "here it is `run`"),
        ("command = \"x\"", "here it is `run`"),
        ("outs = [\"x\"]", "here it is `path`"),
        ("inptus = [\"x\"]", "did you mean `inputs`?"),
        ("log = \"x\"", "what a step prints is kept: `kiln jobs log STEP` shows it"),
        ("rebuild = true", "say: rebuild = \"always\""),
        ("rebuild = false", "say: rebuild = \"never\""),
    ] {
        let told = told_of(&format!("[dataset.a]\npath = \"a\"\nrun = \"true\"\n{key}\n"));
        assert!(told.contains(&format!("help: {help}\n")), "{key}: {told}");
    }
    let told = told_of("[dataset.S1.bam]\npath = \"a\"\n");
    assert!(told.contains("help: a name has no dot: [dataset.S1_bam]\n"), "{told}");
    let told = told_of("[dataset.a]\npath = \"a\"\n[[dataset]]\npath = \"b\"\n");
    assert!(told.contains("help: what there are several of has names here: [dataset.NAME]\n"), "{told}");
    let told = told_of("[dataset.a]\npath = \"a\"\nshell = \"cp x {{ output }}\"\n");
    assert!(told.contains("what is to be done stands in `run`"), "{told}");
    let told = told_of("[recipe.r]\nouts = [\"a\"]\noutputs = [\"a\"]\nrun = \"true\"\n[dataset.a]\npath = \"a\"\n");
    assert!(told.contains("help: here it is `outputs`\n"), "{told}");
}

#[test]
fn a_file_that_is_called_nearly_so_may_be_what_is_meant() {
    let project = Project::empty();
    project.write("in/a.csv", "");
    project.write("in/s2.csv", "");
    project.write("bin/trim.sh", "");
    let text = |source: &str, file: &str| {
        format!(
            "[dataset.s]\npath = \"{source}\"\n[dataset.x]\npath = \"x\"\ninputs = [\"s\"]\nfiles = [\"{file}\"]\nrun = \"true\"\n"
        )
    };
    project.pipeline(&text("in/A.csv", "bin/trm.sh"));
    for said in [project.expect(0, &["check"]).out, project.expect(2, &["plan"]).err, project.expect(2, &["run"]).err] {
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("help: did you mean `in/a.csv`? Else put the file there"), "{said}");
        assert!(words.contains("help: did you mean `bin/trim.sh`?"), "{said}");
    }
    // Of a series another one is not meant.
    project.pipeline(&text("in/s1.csv", "bin/trim.sh"));
    let said = project.expect(2, &["plan"]).err;
    assert!(!said.contains("did you mean") && said.contains("put the file there"), "{said}");
}

#[test]
fn what_is_not_installed_is_known_beforehand() {
    let mut project = Project::empty();
    for (how, why) in [
        ("run = \"true\"\nshell = [\"fish9\", \"-c\"]", "`shell` names fish9, and there is no such program"),
        ("run = [\"no_such_prog\"]", "command not found: no_such_prog"),
    ] {
        project.pipeline(&format!("[dataset.a]\npath = \"a\"\n{how}\n"));
        for command in ["plan", "run"] {
            let said = project.expect(2, &[command]).err;
            assert!(said.contains(&format!("× {why}")), "{command}: {said}");
        }
        let said = project.expect(0, &["plan", "-k"]).out;
        assert!(said.contains("  cannot ") && said.contains(why), "{said}");
        let said = project.expect(0, &["why", "a"]).out;
        assert!(said.contains(&format!("in the way: {why}")), "{said}");
        let said = project.expect(0, &["check"]).out;
        assert!(said.contains(why) && said.contains("1 warning"), "{said}");
        // What is there already needs no program.
        project.write("a", "");
        project.expect(0, &["adopt"]);
        assert!(project.expect(0, &["run"]).out.contains("nothing to do"));
        project = Project::empty();
    }
    // Steps before it may install it.
    project.pipeline(
        "[dataset.a]\npath = \"a\"\nrun = \"true\"\n[dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = [\"no_such_prog\"]\n",
    );
    let said = project.expect(0, &["plan"]);
    assert!(said.err.contains("command not found: no_such_prog"), "{}", said.err);
    // Steps may make what is looked for below the root, or by its path.
    project.pipeline("[dataset.a]\npath = \"a\"\nrun = [\"./made/prog\"]\n");
    project.expect(0, &["plan"]);
}

#[test]
fn what_is_filled_in_in_commands_stands_nowhere_else() {
    let told = told_of("[vars]\nq = 2\n[dataset.a]\npath = \"out/{{ vars.q }}.csv\"\nrun = \"echo {{ vars.q }}\"\n");
    assert!(told.contains("`out/{{ vars.q }}.csv` has braces: nothing is filled in in a path"), "{told}");
    // What other programs fill in is a name as any other.
    assert!(told_of("[dataset.a]\npath = \"{{cookiecutter.slug}}/a\"\nrun = \"true\"\nx = 1\n").contains("1 mistake"));
    let project = Project::empty();
    project.pipeline(
        "[vars]\nq = 2\n[dataset.s]\ndigest = \"cat {{ vars.q }}\"\n[task.t]\ninputs = [\"s\"]\nrun = \"echo {{ vars.q }}\"\n\
         env = { A = \"{{ vars.q }}\", B = \"{{.ID}}\" }\ntools = { x = \"echo {{ vars.q }}\" }\n",
    );
    let told = project.expect(0, &["check"]).out;
    for key in ["digest", "env.A", "tools.x"] {
        assert!(
            told.contains(&format!("`{key}` has `{{{{ vars.q }}}}`, which is not filled in there")),
            "{key}: {told}"
        );
    }
    assert_eq!(told.matches("not-filled-in").count(), 3, "{told}");
}

#[test]
fn what_a_shell_says_of_what_it_is_given() {
    let mut project = Project::empty();
    project.pipeline(
        "[dataset.a]\npath = \"a\"\nrun = \"echo $MYDB >{{ output }}\"\n\
         [dataset.b]\npath = \"b\"\nshell = [\"sh\", \"-euc\"]\nrun = \"echo $MYDB >{{ output }}\"\n\
         [folder.f]\npath = \"o/f\"\nrun = \"echo x >{{ output }}\"\n\
         [folder.g]\npath = \"o/g\"\nrun = \"mkdir {{ output }}\"\n",
    );
    for step in ["a", "b"] {
        assert!(project.expect(1, &["run", step]).out.contains(": MYDB is not set\n"), "{step}");
    }
    for step in ["f", "g"] {
        let said = project.expect(1, &["run", step]).out;
        assert!(
            said.contains(&format!(": the folder `{step}` is there already, and empty: write files into it\n")),
            "{said}"
        );
    }
    project.variable("MYDB", "x");
    for step in ["a", "b"] {
        let said = project.expect(1, &["run", step]).out;
        assert!(said.contains(": MYDB is set, but not for the recipe: pass = [\"MYDB\"] hands it on\n"), "{said}");
    }
}

#[test]
fn a_path_that_two_files_make() {
    let project = Project::empty();
    let text = |name: &str, node: &str| {
        format!(
            "[pipeline]\nformat = 1\nname = \"{name}\"\n[dataset.{node}]\npath = \"build/x\"\nrun = \"echo >{{{{ output }}}}\"\n"
        )
    };
    project.write("pipelines/a.toml", text("a", "x"));
    project.write("pipelines/b.toml", text("b", "y"));
    let told = project.expect(0, &["check"]).out;
    assert!(
        told.contains("`x` and `y` of pipelines/b.toml have one path") && told.contains("a.toml: 1 warning"),
        "{told}"
    );
    assert!(
        told.contains("`y` and `x` of pipelines/a.toml have one path") && told.contains("b.toml: 1 warning"),
        "{told}"
    );
    assert!(!project.expect(0, &["check", "pipelines/a.toml"]).out.contains("warning"));
    // A folder that one replaces, with what the other has built in it.
    project.write("pipelines/b.toml", text("b", "y").replace("build/x", "build/x/in/y"));
    let told = project.expect(0, &["check"]).out;
    for said in [
        "the path of `y` of pipelines/b.toml lies inside that of `x`",
        "the path of `y` lies inside that of `x` of pipelines/a.toml",
        "a.toml: 1 warning",
        "b.toml: 1 warning",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    // The same by way of a link.
    project.write("build/own", "");
    std::os::unix::fs::symlink("build", project.path("link")).unwrap();
    project.write("pipelines/b.toml", text("b", "y").replace("build/x", "link/x/in/y"));
    let told = project.expect(0, &["check"]).out;
    assert!(told.contains("the path of `y` lies inside that of `x` of pipelines/a.toml"), "{told}");
    // What one file makes and the other reads is no mistake.
    project.write("pipelines/b.toml", text("b", "y").replace("run = ", "description = "));
    assert!(!project.expect(0, &["check"]).out.contains("one path"));
}

#[test]
fn numbers_of_steps_and_logs_of_nothing() {
    let project = Project::empty();
    for number in ["0", "x", "-1"] {
        let said = project.expect(2, &["run", &format!("-j{number}")]).err;
        assert!(said.contains("write a whole number from 1 on"), "{said}");
    }
    project.pipeline("[task.quiet]\nrun = \"true\"\n[task.loud]\nrun = \"echo x\"\n");
    project.expect(0, &["run"]);
    let said = project.expect(0, &["jobs", "log", "last", "quiet"]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("", "note: `quiet` has printed nothing\n"));
    let said = project.expect(0, &["jobs", "log", "last", "loud"]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("x\n", ""));
}

#[test]
fn a_run_is_tried_again_as_it_was_started() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = 'test -e ok; echo a >{{ output }}'\n");
    for file in ["pipeline.toml", "./pipeline.toml"] {
        let said = project.expect(1, &["run", "-j", "6", "-f", file]).out;
        assert!(said.contains("\n  again  kiln run -j 6 a\n"), "{said}");
    }
    project.write("other.toml", project.read("pipeline.toml"));
    let said = project.expect(1, &["run", "-f", "other.toml"]).out;
    assert!(said.contains("\n  again  kiln run -f other.toml a\n"), "{said}");
    // What is asked for by --failed is built as that run built it.
    project.expect(1, &["run", "--mode", "only", "a"]);
    project.write("ok", "");
    project.expect(0, &["run", "--failed"]);
    let shown = project.expect(0, &["jobs", "show", "last"]).out;
    assert!(shown.contains(" · only · "), "{shown}");
}

#[test]
fn what_failed_last_time_is_known_whatever_else_was_run() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrebuild = \"always\"\nrun = 'echo a >{{ output }}'\n\
         [dataset.b]\npath = \"b\"\nrun = 'test -e ok || exit 4; echo b >{{ output }}'\n",
    );
    let failed = "  never built; failed last time: exit 4\n";
    project.expect(1, &["run", "b"]);
    assert!(project.expect(0, &["plan"]).out.contains(failed));
    project.expect(0, &["run", "a"]);
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains(failed), "{plan}");
    assert!(plan.contains("  always rebuilt\n"), "{plan}");
    let why = project.expect(0, &["why", "b"]).out;
    assert!(why.contains("\n    never built\n    failed last time: exit 4\n"), "{why}");
    assert!(project.expect(0, &["why", "b", "--format", "json"]).out.contains("\"failed_last\": \"exit 4\""));
    // What went well since has not failed last time, whatever it is to be built for.
    project.write("ok", "");
    project.expect(0, &["run", "b"]);
    let plan = project.expect(0, &["plan", "--mode", "forced"]).out;
    assert!(plan.contains("  build  b") && !plan.contains("failed last time"), "{plan}");
}

#[test]
fn kiln_works_in_another_folder() {
    let project = Project::empty();
    project.write("sub/pipeline.toml", format!("{}[dataset.a]\npath = \"a\"\nrun = 'false'\n", crate::support::HEAD));
    let said = project.expect(1, &["-C", "sub", "run"]).out;
    assert!(said.contains("\n  log    .kiln/logs/") && said.contains("\n  again  kiln run -C sub a\n"), "{said}");
    assert!(project.exists("sub/.kiln") && !project.exists(".kiln"));
    let plan = project.expect(0, &["plan", "-C", "sub"]).out;
    assert!(plan.contains("  build  a  never built; failed last time: exit 1\n"), "{plan}");
    let said = project.expect(2, &["-C", "none", "run"]).err;
    assert!(said.starts_with("error: -C none: "), "{said}");
}
