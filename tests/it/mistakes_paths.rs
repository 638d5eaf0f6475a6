//! Paths that leave the root or get into one another's way.
#![expect(clippy::too_many_lines, reason = "what is told is long")]

use crate::mistakes::{messages, told, told_of};
use crate::support::{HEAD, Project};

#[test]
fn paths_that_get_into_one_anothers_way() {
    let text = "[dataset.a]\npath = \"out/a\"\nrun = \"x\"\n[dataset.b]\npath = \"./out//a\"\nrun = \"x\"\n\
        [folder.c]\npath = \"out/c\"\nrun = \"x\"\n[dataset.d]\npath = \"out/c/d\"\nrun = \"x\"\n\
        [dataset.e]\npath = \"out/a.csv\"\nrun = \"x\"\n";
    insta::assert_snapshot!(told_of(text), @r#"
        same-path

          × `a` and `b` have one path
           ╭─[pipeline.toml:5:8]
         4 │ [dataset.a]
         5 │ path = "out/a"
           ·        ───┬───
           ·           ╰── this path
         6 │ run = "x"
         7 │ [dataset.b]
         8 │ path = "./out//a"
           ·        ─────┬────
           ·             ╰── and this one
         9 │ run = "x"
           ╰────
          help: what is built is replaced as a whole: give each its own path

        nested-path

          × the path of `d` lies inside that of `c`
            ╭─[pipeline.toml:11:8]
         10 │ [folder.c]
         11 │ path = "out/c"
            ·        ───┬───
            ·           ╰── this path
         12 │ run = "x"
         13 │ [dataset.d]
         14 │ path = "out/c/d"
            ·        ────┬────
            ·            ╰── and this one
         15 │ run = "x"
            ╰────
          help: what is built is replaced as a whole: give each its own path
        pipeline.toml: 2 mistakes
        "#);
    let sources = "[folder.all]\npath = \"in\"\n[dataset.one]\npath = \"in/one\"\n[dataset.same]\npath = \"in/one\"\n";
    let project = Project::new(sources);
    project.write("in/one", "");
    project.expect(0, &["check"]);
    let built = format!("{sources}[dataset.x]\npath = \"in/x\"\nrun = \"x\"\n");
    assert_eq!(messages(&told_of(&built)), ["the path of `x` lies inside that of `all`"]);
}

#[test]
fn many_nodes_at_one_path() {
    let many: Vec<_> = (0..20_000).map(|i| format!("[dataset.d{i}]\npath = \"a\"\nrun = \"x\"\n")).collect();
    let told = told_of(&many.concat());
    assert!(told.ends_with("pipeline.toml: 19999 mistakes\n"), "{}", &told[told.len() - 100..]);
}

#[test]
fn paths_that_leave_the_root() {
    let text = "[defaults]\nworkdir = \"/tmp\"\n[dataset.a]\npath = \"build/../../a\"\nrun = \"x\"\nworkdir = \"..\"\n\
        files = [\"../x.py\", \"src/{a\", \".kiln/kiln.db\"]\n[dataset.b]\npath = \"/b\"\n[dataset.c]\npath = \"\"\n\
        [dataset.d]\npath = \".\"\n[dataset.e]\npath = \"a\\nb\"\n";
    insta::assert_snapshot!(told_of(text), @r#"
        bad-path

          × `/tmp` is absolute
           ╭─[pipeline.toml:5:11]
         4 │ [defaults]
         5 │ workdir = "/tmp"
           ·           ───┬──
           ·              ╰── this path
         6 │ [dataset.a]
           ╰────
          help: a working directory is relative to the root and stays inside it

        bad-path

          × `build/../../a` leaves the root
           ╭─[pipeline.toml:7:8]
         6 │ [dataset.a]
         7 │ path = "build/../../a"
           ·        ───────┬───────
           ·               ╰── this path
         8 │ run = "x"
           ╰────
          help: paths are relative to the root and stay inside it

        bad-path

          × `..` leaves the root
            ╭─[pipeline.toml:9:11]
          8 │ run = "x"
          9 │ workdir = ".."
            ·           ──┬─
            ·             ╰── this path
         10 │ files = ["../x.py", "src/{a", ".kiln/kiln.db"]
            ╰────
          help: a working directory is relative to the root and stays inside it

        bad-path

          × `../x.py` leaves the root
            ╭─[pipeline.toml:10:10]
          9 │ workdir = ".."
         10 │ files = ["../x.py", "src/{a", ".kiln/kiln.db"]
            ·          ────┬────
            ·              ╰── this path
         11 │ [dataset.b]
            ╰────
          help: `files` are paths or globs relative to the root, inside it

        bad-glob

          × `src/{a` is not a glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
            ╭─[pipeline.toml:10:21]
          9 │ workdir = ".."
         10 │ files = ["../x.py", "src/{a", ".kiln/kiln.db"]
            ·                     ────┬───
            ·                         ╰── this path
         11 │ [dataset.b]
            ╰────
          help: `files` are paths or globs relative to the root, inside it

        bad-path

          × `.kiln/kiln.db` lies in `.kiln/`, where Kiln keeps its state
            ╭─[pipeline.toml:10:31]
          9 │ workdir = ".."
         10 │ files = ["../x.py", "src/{a", ".kiln/kiln.db"]
            ·                               ───────┬───────
            ·                                      ╰── this path
         11 │ [dataset.b]
            ╰────
          help: `files` are paths or globs relative to the root, inside it

        bad-path

          × `/b` is absolute
            ╭─[pipeline.toml:12:8]
         11 │ [dataset.b]
         12 │ path = "/b"
            ·        ──┬─
            ·          ╰── this path
         13 │ [dataset.c]
            ╰────
          help: paths are relative to the root and stay inside it; what lies elsewhere is reached by a
                link in the root, or named in the command

        bad-path

          × the path is empty
            ╭─[pipeline.toml:14:8]
         13 │ [dataset.c]
         14 │ path = ""
            ·        ─┬
            ·         ╰── this path
         15 │ [dataset.d]
            ╰────
          help: paths are relative to the root and stay inside it

        bad-path

          × `.` is the root itself
            ╭─[pipeline.toml:16:8]
         15 │ [dataset.d]
         16 │ path = "."
            ·        ─┬─
            ·         ╰── this path
         17 │ [dataset.e]
            ╰────
          help: paths are relative to the root and stay inside it

        bad-path

          × `a\nb` holds a control character
            ╭─[pipeline.toml:18:8]
         17 │ [dataset.e]
         18 │ path = "a\nb"
            ·        ───┬──
            ·           ╰── this path
            ╰────
          help: a path is one line of letters that can be seen: rename what lies there
        pipeline.toml: 10 mistakes
        "#);
}

#[test]
fn outputs_that_would_replace_the_file_itself_or_the_history_of_git() {
    insta::assert_snapshot!(told_of("[folder.b]\npath = \"./.git\"\nrun = \"x\"\n"), @r#"
        bad-path

          × `.git` is where git keeps the history
           ╭─[pipeline.toml:5:8]
         4 │ [folder.b]
         5 │ path = "./.git"
           ·        ────┬───
           ·            ╰── this path
         6 │ run = "x"
           ╰────
          help: what is built replaces what is at its path: give it one of its own
        pipeline.toml: 1 mistake
        "#);
    let says = |path: &str| messages(&told_of(&format!("[dataset.a]\npath = \"{path}\"\nrun = \"x\"\n"))).join("\n");
    assert_eq!(says(".git/hooks/x"), "`.git/hooks/x` lies in `.git`, where git keeps the history");
    assert_eq!(says("sub/.git"), "`sub/.git` is where git keeps the history");
    assert_eq!(says("sub/.git/x.git"), "`sub/.git/x.git` lies in `.git`, where git keeps the history");
    assert_eq!(says("./pipeline.toml"), "`pipeline.toml` is the pipeline file itself");
    assert_eq!(says("pipeline.toml/x"), "`pipeline.toml/x` lies in the pipeline file itself");
    // To read them is harmless.
    Project::new("[dataset.head]\npath = \".git/HEAD\"\n[dataset.self]\npath = \"pipeline.toml\"\n")
        .expect(0, &["check"]);
}

#[test]
fn outputs_around_the_file_itself() {
    let project = Project::empty();
    let text = |path: &str| format!("{HEAD}[folder.o]\npath = \"{path}\"\nrun = \"x\"\n");
    let told = |args: &[&str]| {
        let said = project.kiln(args);
        messages(&(said.out + &said.err)).join("\n")
    };
    project.write("pipelines/p.toml", text("pipelines"));
    for args in [&["check"][..], &["plan"], &["run"]] {
        assert_eq!(told(args), "`pipelines` holds the pipeline file itself");
    }
    project.write("pipelines/p.toml", text("pipelines/p"));
    project.expect(0, &["check"]);
    // What stands behind a link is the file as well.
    project.write("conf/real.toml", text("conf"));
    std::os::unix::fs::symlink("conf/real.toml", project.path("pipeline.toml")).unwrap();
    assert_eq!(told(&["check", "pipeline.toml"]), "`conf` holds the pipeline file itself");
}

#[test]
fn a_root_that_is_none() {
    let head = |root: &str| {
        format!("[pipeline]\nformat = 1\nname = \"p\"\nroot = \"{root}\"\n[dataset.a]\npath = \"../a\"\nrun = \"x\"\n")
    };
    insta::assert_snapshot!(told(head("/etc")), @r#"
        bad-root

          × `/etc` is absolute
           ╭─[pipeline.toml:4:8]
         3 │ name = "p"
         4 │ root = "/etc"
           ·        ───┬──
           ·           ╰── this root
         5 │ [dataset.a]
           ╰────
          help: say it relative to the folder of this file: root = ".."

        bad-path

          × `../a` leaves the root
           ╭─[pipeline.toml:6:8]
         5 │ [dataset.a]
         6 │ path = "../a"
           ·        ───┬──
           ·           ╰── this path
         7 │ run = "x"
           ╰────
          help: paths are relative to the root and stay inside it
        pipeline.toml: 2 mistakes
        "#);
    assert_eq!(messages(&told(head("nope/../none"))), ["there is no folder `nope/../none`", "`../a` leaves the root"]);
    assert_eq!(messages(&told(head("pipeline.toml")))[0], "root `pipeline.toml` is not a folder");
    let project = Project::empty();
    project.write(
        "conf/x/p.toml",
        "[pipeline]\nformat = 1\nname = \"p\"\nroot = \"../..\"\n[dataset.a]\npath = \"src\"\n",
    );
    project.write("src", "");
    project.expect(0, &["check", "conf/x/p.toml"]);
}

#[test]
fn paths_that_differ_only_in_case_are_warned_of() {
    let project = Project::new(
        "[dataset.a]\npath = \"out/Orders\"\nrun = \"x\"\n[dataset.b]\npath = \"out/orders\"\nrun = \"x\"\n[dataset.c]\npath = \"out/order\"\nrun = \"x\"\n",
    );
    let said = project.expect(0, &["check"]).out;
    assert!(said.contains("the paths of `a` and `b` differ only in case"), "{said}");
    assert_eq!(said.matches("twin-path").count(), 1, "{said}");
    let said = Project::new("[task.load]\nrun = \"x\"\n[task.Load]\nrun = \"x\"\n").expect(0, &["check"]).out;
    assert!(said.contains("the names of the steps `load` and `Load` differ only in case"), "{said}");
}

#[test]
fn a_file_of_a_step_in_its_own_output_is_no_input() {
    let said = told_of("[folder.o]\npath = \"src\"\nfiles = [\"src/*.py\"]\nrun = \"true\"\n");
    assert_eq!(messages(&said), ["`src/*.py` of `files` is made by `o` itself"]);
    assert!(said.contains("name others, or give `o` a path beside them"), "{said}");
    let said =
        told_of("[folder.o]\npath = \"src\"\nrun = \"true\"\n[task.t]\nfiles = [\"src/*.py\"]\nrun = \"true\"\n");
    assert!(said.contains("make `o` an input of `t`"), "{said}");
}

#[test]
fn a_folder_of_files_with_an_output_in_it_is_refused() {
    let made = "[dataset.g]\npath = \"lib/in/g\"\nrun = \"true\"\n[dataset.h]\npath = \"lib-not/h\"\nrun = \"true\"\n";
    let said = told_of(&format!("{made}[task.t]\nfiles = [\"lib\"]\nrun = \"true\"\n"));
    assert_eq!(messages(&said), ["`lib` of `files` holds what is made by a recipe"]);
    assert!(said.contains("name `lib/**`, and make `g` an input of `t`"), "{said}");
    let said = told_of("[dataset.g]\npath = \"lib/g\"\nfiles = [\"lib\"]\nrun = \"true\"\n");
    assert_eq!(messages(&said), ["`lib` of `files` holds what is made by `g` itself"]);
    let globs = format!("{made}[task.t]\nfiles = [\"lib/**\", \"lib-n\"]\ninputs = [\"g\"]\nrun = \"true\"\n");
    Project::new(&globs).expect(0, &["check"]);
}

#[test]
fn a_name_that_no_file_can_have() {
    let long = "é".repeat(128);
    let text =
        format!("[dataset.a]\npath = \"in/{long}/a\"\n[dataset.b]\npath = \"out/{}\"\nrun = \"x\"\n", &long[2..]);
    assert_eq!(long.len(), 256);
    assert_eq!(messages(&told_of(&text)), ["a name in the path is longer than 255 bytes"]);
}

#[test]
fn what_a_command_names_and_nothing_declares_is_warned_of() {
    let project = Project::new(
        "[dataset.a]\npath = \"build/a.csv\"\nrun = \"echo 1 >{{ output }}\"\n\
        [folder.f]\npath = \"build/f\"\nrun = \"true\"\n\
        [dataset.b]\npath = \"build/b.csv\"\nfiles = [\"lib\"]\n\
        run = \"sh ./scripts/b.sh lib/x.sh none.csv <build/a.csv build/f/part.csv >{{ output }}\"\n\
        [task.c]\nrebuild = \"always\"\nworkdir = \"scripts\"\nrun = [\"sh\", \"b.sh\", \"../build/a.csv\"]\n\
        [task.d]\ninputs = [\"a\"]\nfiles = [\"scripts/*.sh\"]\nrun = \"sh scripts/b.sh build/a.csv # lib/x.sh\"\n",
    );
    project.write("scripts/b.sh", "");
    project.write("lib/x.sh", "");
    let said = project.expect(0, &["check"]).out;
    let warnings: Vec<_> = said.lines().filter_map(|line| line.trim().strip_prefix("⚠ ")).collect();
    let wanted = [
        "`b` uses the paths of `a`, `f`, which are not in its `inputs`",
        "`b` uses scripts/b.sh, which is not in its `files`",
        "`c` uses the path of `a`, which is not in its `inputs`",
    ];
    assert_eq!(warnings, wanted, "{said}");
    assert!(said.contains("files = [\"lib\", \"scripts/b.sh\"]"), "{said}");
}

#[test]
fn paths_that_only_others_could_follow() {
    let said = |path: &str| told_of(&format!("[dataset.a]\npath = \"{path}\"\nrun = \"x\"\n"));
    let address = said("s3://bucket/x");
    assert_eq!(messages(&address), ["`s3://bucket/x` is an address, and no path below the root"]);
    assert!(address.contains("give it a `digest`"), "{address}");
    assert_eq!(messages(&said("~/x")), ["`~/x` would be a folder of the name `~`"]);
    let project = Project::new("[dataset.a]\npath = \"a/~/x\"\nrun = \"echo x >{{ output }}\"\n");
    project.expect(0, &["check"]);
}

#[test]
fn what_a_command_only_says_or_removes_is_not_warned_of() {
    let project = Project::new(
        "[dataset.a]\npath = \"build/a.csv\"\nrun = \"echo 1 >{{ output }}\"\n\
        [task.b]\nrun = '''\necho \"see README.md, or $(cat docs/c.md)\"\nrm -f build/a.csv\n\
        cat <<EOF\nin README.md and build/a.csv\nEOF\nprintf '%s\\n' README.md <docs/d.md\n'''\n\
        [task.c]\nrun = '''\nsh <<EOF\ncat docs/c.md\nEOF\n'''\n",
    );
    ["README.md", "docs/c.md", "docs/d.md"].iter().for_each(|path| project.write(path, ""));
    let said = project.expect(0, &["check"]).out;
    let warnings: Vec<_> = said.lines().filter_map(|line| line.trim().strip_prefix("⚠ ")).collect();
    let wanted = [
        "`b` uses docs/c.md, docs/d.md, which are not in its `files`",
        "`c` uses docs/c.md, which is not in its `files`",
    ];
    assert_eq!(warnings, wanted, "{said}");
}

#[test]
fn what_a_recipe_writes_past_its_output_is_warned_of() {
    let project = Project::new(
        r#"[dataset.src]
path = "data/src.csv"
[dataset.own_a]
path = "build/own_a.csv"
inputs = ["src"]
run = "sort {{ inputs.src }} > build/own_a.csv"
[dataset.own_b]
path = "build/own_b.csv"
inputs = ["src", "own_a"]
run = ["cp", "{{ inputs.own_a }}", "build/own_b.csv"]
in_place = true
[dataset.c]
path = "build/c.csv"
inputs = ["own_b"]
run = '''
cat {{ inputs.own_b }} build/c.csv >{{ output }} # what it made last, too
cp {{ output }} build/own_b.csv
sort -o {{ inputs.own_b }} {{ inputs.own_b }}
'''
[task.t]
inputs = ["c"]
run = ["sh", "-c", "date | tee -a data/src.csv"]
"#,
    );
    project.write("data/src.csv", "1\n");
    insta::assert_snapshot!(project.expect(0, &["check"]).out, @r#"
    undeclared-output

      ⚠ `own_a` writes to build/own_a.csv, where its last good output stands
        ╭─[pipeline.toml:11:32]
     10 │ inputs = ["src"]
     11 │ run = "sort {{ inputs.src }} > build/own_a.csv"
        ·                                ───────┬───────
        ·                                       ╰── this path
     12 │ [dataset.own_b]
        ╰────
      help: write to {{ output }}: it is put there when the recipe has succeeded; or say `in_place =
            true`

    undeclared-output

      ⚠ `c` writes to build/own_b.csv, which `own_b` makes
        ╭─[pipeline.toml:22:17]
     21 │ cat {{ inputs.own_b }} build/c.csv >{{ output }} # what it made last, too
     22 │ cp {{ output }} build/own_b.csv
        ·                 ───────┬───────
        ·                        ╰── this path
     23 │ sort -o {{ inputs.own_b }} {{ inputs.own_b }}
        ╰────
      help: only one step can make `own_b`: write to a path of your own

    undeclared-output

      ⚠ `t` writes to data/src.csv, the path of source `src`
        ╭─[pipeline.toml:27:35]
     26 │ inputs = ["c"]
     27 │ run = ["sh", "-c", "date | tee -a data/src.csv"]
        ·                                   ──────┬─────
        ·                                         ╰── this path
        ╰────
      help: what a step makes is its output: name `src` as one of `t`, or write to a path of your own
    pipeline.toml: 3 warnings
    pipeline.toml: ok, 4 nodes, 3 recipes, 1 task in 4 stages
    "#);
}
