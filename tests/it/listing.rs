//! `check` of several files, `init`, `list` and `show`: what a user sees of a pipeline before anything runs.

use crate::support::Project;

const SHOP: &str = "[vars]\ncountry = \"FR\"\n[dataset.raw]\npath = \"raw.csv\"\ndescription = \"As it came\"\ntags = [\"source\"]\n\
    [dataset.orders]\npath = \"build/orders.csv\"\ninputs = [\"raw\"]\nrun = '''\ngrep {{ vars.country }} {{ inputs.raw }} >{{ output }}\n'''\n\
    files = [\"recipes/*.py\"]\ntools = { grep = \"grep --version\" }\nenv = { STAGE = \"dev\", REGION = { env = \"REGION\" } }\n\
    pass = [\"AWS_*\"]\nsecrets = { PW = { file = \"/run/pw\" }, KEY = { env = \"API_KEY\" } }\nrebuild = \"20h\"\ntags = [\"daily\"]\n\
    [dataset.train]\npath = \"build/train.csv\"\n[dataset.test]\npath = \"build/test.csv\"\n[recipe.split]\ninputs = [\"orders\"]\n\
    outputs = [\"train\", \"test\"]\nrun = [\"python3\", \"split.py\", \"{{ inputs.orders }}\", \"a b\"]\nin_place = true\nworkdir = \"recipes\"\n\
    [model.churn]\nid = \"kJ8\"\nproject = \"CRM\"\ninputs = [\"train\"]\n[dataset.stg]\ninputs = [\"orders\"]\nrun = \"load\"\ndigest = \"count\"\n\
    [task.publish]\ninputs = [\"train\"]\nrun = \"true\"\ndescription = \"Tells the others\"\nrebuild = \"explicit\"\n";

fn file(name: &str, text: &str) -> String {
    format!("[pipeline]\nformat = 1\nname = \"{name}\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n{text}")
}

#[test]
fn check_takes_several_files_and_goes_on_after_a_wrong_one() {
    let project = Project::empty();
    project.write("a.toml", file("a", "[dataset.x]\npath = \"x\"\nrun = \"true\"\n"));
    project.write("b.toml", file("b", "[dataset.x]\npaht = \"x\"\n"));
    project.write(
        "pipelines/c.toml",
        file(
            "c",
            "[dataset.s]\npath = \"s\"\n[dataset.x]\npath = \"x\"\nrun = \"true\"\nfiles = [\"no.py\", \"no/*.py\"]\n",
        ),
    );
    let said = project.expect(2, &["check", "a.toml", "b.toml", "pipelines/c.toml", "none.toml"]);
    // However they are named.
    for arguments in [
        &["check", "-f", "a.toml", "-f", "b.toml", "-f", "pipelines/c.toml", "-f", "none.toml"][..],
        &["check", "-f", "a.toml", "b.toml", "pipelines/c.toml", "none.toml"],
    ] {
        assert_eq!(project.expect(2, arguments).out, said.out);
    }
    assert_eq!(said.err, "");
    insta::assert_snapshot!(said.out, @r#"
        same-path

          ⚠ `x` and `x` of pipelines/c.toml have one path
           ╭─[a.toml:7:8]
         6 │ [dataset.x]
         7 │ path = "x"
           ·        ─┬─
           ·         ╰── this path
         8 │ run = "true"
           ╰────
          help: each would replace what the other built: give one of them another path
        a.toml: 1 warning
        a.toml: ok, 1 node, 1 recipe in 1 stage
        unknown-key

          × unknown key `paht` in [dataset.x]
           ╭─[b.toml:7:1]
         6 │ [dataset.x]
         7 │ paht = "x"
           · ──┬─
           ·   ╰── unknown
           ╰────
          help: did you mean `path`?
        b.toml: 1 mistake
        missing-source

          ⚠ source `s` is not there
           ╭─[pipelines/c.toml:7:8]
         6 │ [dataset.s]
         7 │ path = "s"
           ·        ─┬─
           ·         ╰── there is nothing at s
         8 │ [dataset.x]
           ╰────
          help: put the file there, or say what makes it with `run`

        missing-file

          ⚠ `no.py` of `files` is not there
            ╭─[pipelines/c.toml:11:10]
         10 │ run = "true"
         11 │ files = ["no.py", "no/*.py"]
            ·          ───┬───
            ·             ╰── nothing found
            ╰────
          help: paths are relative to the root

        missing-file

          ⚠ `no/*.py` of `files` is not there
            ╭─[pipelines/c.toml:11:19]
         10 │ run = "true"
         11 │ files = ["no.py", "no/*.py"]
            ·                   ────┬────
            ·                       ╰── nothing found
            ╰────
          help: paths are relative to the root

        same-path

          ⚠ `x` and `x` of a.toml have one path
            ╭─[pipelines/c.toml:9:8]
          8 │ [dataset.x]
          9 │ path = "x"
            ·        ─┬─
            ·         ╰── this path
         10 │ run = "true"
            ╰────
          help: each would replace what the other built: give one of them another path
        pipelines/c.toml: 4 warnings
        pipelines/c.toml: ok, 2 nodes, 1 recipe in 1 stage
        error: none.toml cannot be read: there is no such file
          help: there is pipelines/c.toml
        "#);
    assert!(!project.exists(".kiln"));
}

#[test]
fn check_finds_the_files_by_itself() {
    let project = Project::empty();
    let said = project.expect(2, &["check"]);
    insta::assert_snapshot!(said.err, @r"
        error: there is no pipeline.toml here, and no pipelines/*.toml
          help: name the file with --file, or write a first one with `kiln init`
        ");
    for name in ["one", "two"] {
        project.write(&format!("pipelines/{name}.toml"), file(name, "[dataset.x]\nrun = \"true\"\n"));
    }
    project.write("pipelines/notes.txt", "");
    insta::assert_snapshot!(project.expect(0, &["check"]).out, @r"
        pipelines/one.toml: ok, 1 node, 1 recipe in 1 stage
        pipelines/two.toml: ok, 1 node, 1 recipe in 1 stage
        ");
    insta::assert_snapshot!(project.expect(2, &["list"]).err, @r"
        error: there are several pipeline files: pipelines/one.toml, pipelines/two.toml
          help: choose one: kiln -f pipelines/one.toml
        ");
    insta::assert_snapshot!(project.expect(0, &["check", "-f", "pipelines/two.toml"]).out, @r"pipelines/two.toml: ok, 1 node, 1 recipe in 1 stage");
    project.write("pipeline.toml", file("top", "[dataset.x]\nrun = \"true\"\n"));
    insta::assert_snapshot!(project.expect(0, &["check"]).out, @r"pipeline.toml: ok, 1 node, 1 recipe in 1 stage");
}

#[test]
fn init_writes_a_pipeline_that_runs() {
    let project = Project::empty();
    insta::assert_snapshot!(project.expect(0, &["init"]).out, @r"wrote pipeline.toml; try `kiln plan`, then `kiln run`");
    insta::assert_snapshot!(project.expect(0, &["check"]).out, @r"pipeline.toml: ok, 2 nodes, 2 recipes, 1 task in 3 stages");
    project.expect(1, &["plan", "--check"]);
    project.expect(0, &["run"]);
    assert_eq!(project.read("build/greetings.txt"), "Hello, Ada\nHello, Grace\nHello, Edsger\n");
    project.expect(0, &["plan", "--check"]);
    project.expect(0, &["run", "--var", "greeting=Good day"]);
    assert_eq!(project.read("build/greetings.txt").lines().next(), Some("Good day, Ada"));
    let before = project.tree();
    insta::assert_snapshot!(project.expect(2, &["init"]).err, @r"
        error: there is a pipeline.toml here already
          help: `kiln plan` shows what it would build
        ");
    assert_eq!(project.tree(), before);
}

#[test]
fn init_says_which_file_is_not_taken_any_more() {
    let project = Project::empty();
    project.write("pipelines/orders.toml", "[pipeline]\nformat = 1\nname = \"orders\"\n[dataset.x]\nrun = \"true\"\n");
    insta::assert_snapshot!(project.expect(0, &["init"]).out, @r"
    wrote pipeline.toml; try `kiln plan`, then `kiln run`
    without --file it is taken now, and not pipelines/orders.toml: `-f pipelines/orders.toml` names that
    ");
}

#[test]
fn list_shows_what_there_is() {
    let project = Project::new(SHOP);
    insta::assert_snapshot!(project.expect(0, &["list"]).out, @r"
        NAME     KIND     STAGE  MADE FROM  TAGS    PATH
        raw      dataset         (source)   source  raw.csv
        orders   dataset  1      raw        daily   build/orders.csv
        train    dataset  2      orders             build/train.csv
        test     dataset  2      orders             build/test.csv
        churn    model    3      train
        stg      dataset  2      orders
        publish  task     3      train
        ");
    let json: serde_json::Value = serde_json::from_str(&project.expect(0, &["list", "--format", "json"]).out).unwrap();
    insta::assert_snapshot!(serde_json::to_string(&json[1]).unwrap(), @r#"{"name":"orders","kind":"dataset","path":"build/orders.csv","recipe":"orders","inputs":["raw"],"stage":1,"tags":["daily"],"description":null}"#);
    let names: Vec<_> = json.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["raw", "orders", "train", "test", "churn", "stg", "publish"]);
    assert!(!project.exists(".kiln"));
}

#[test]
fn show_tells_all_about_a_node() {
    let project = Project::new(SHOP);
    insta::assert_snapshot!(project.expect(0, &["show", "orders"]).out, @r#"
        orders · dataset · pipeline.toml:12
          path     build/orders.csv
          tags     daily
          read by  split, stg
          recipe   orders (stage 1)
          inputs   raw
          outputs  orders
          run      grep FR raw.csv >…/orders.csv
          shell    sh -euc
          files    recipes/*.py
          tool     grep: grep --version
          env      REGION from the variable REGION
          env      STAGE="dev"
          pass     AWS_*
          secret   KEY from the variable API_KEY
          secret   PW from the file /run/pw
          rebuild  when something changed, or when older than 20h
        "#);
    insta::assert_snapshot!(project.expect(0, &["show", "raw"]).out, @r"
        raw · dataset · pipeline.toml:8
                   As it came
          path     raw.csv
          tags     source
          read by  orders
          made by  nothing: it is a source
        ");
    insta::assert_snapshot!(project.expect(0, &["show", "churn"]).out, @r"
        churn · model · pipeline.toml:35
          id       kJ8
          project  CRM
          recipe   churn (stage 3)
          inputs   train
          outputs  churn
          run      nothing: only an engine that knows the recipe can build it
          rebuild  when something changed, and only as a target
        ");
    insta::assert_snapshot!(project.expect(0, &["show", "stg"]).out, @r"
        stg · dataset · pipeline.toml:39
          digest   count
          recipe   stg (stage 2)
          inputs   orders
          outputs  stg
          run      load
          shell    sh -euc
          rebuild  when something changed
        ");
}

#[test]
fn show_tells_all_about_a_recipe() {
    let project = Project::new(SHOP);
    insta::assert_snapshot!(project.expect(0, &["show", "split"]).out, @r#"
        split · recipe · pipeline.toml:29
          recipe   split (stage 2)
          inputs   orders
          outputs  train, test
          run      python3 split.py build/orders.csv 'a b'
          workdir  recipes
          rebuild  when something changed
          in place it writes to the final paths itself
        "#);
    insta::assert_snapshot!(project.expect(0, &["show", "publish"]).out, @r"
        publish · task · pipeline.toml:43
                   Tells the others
          recipe   publish (stage 3)
          inputs   train
          run      true
          shell    sh -euc
          rebuild  when something changed, and only as a target
        ");
    insta::assert_snapshot!(project.expect(2, &["show", "ordres"]).err, @r"
        error: there is no node, recipe or task `ordres`
          help: did you mean `orders`?
        ");
    insta::assert_snapshot!(project.expect(2, &["show", "zzz"]).err, @r"
        error: there is no node, recipe or task `zzz`
          help: `kiln list` shows what there is
        ");
}

#[test]
fn what_only_this_machine_lacks_or_has_twice_is_a_warning() {
    let text = "[dataset.s]\npath = \"s\"\n[dataset.s2]\npath = \"./s\"\n\
                [dataset.a]\npath = \"a\"\nworkdir = \"nowhere\"\nrun = \"true\"\n\
                [dataset.b]\npath = \"b\"\nworkdir = \"nowhere\"\nrun = \"true\"\n\
                [dataset.c]\npath = \"made/c\"\nrun = \"true\"\n\
                [dataset.d]\npath = \"d\"\nworkdir = \"made\"\ninputs = [\"c\"]\nrun = \"true\"\n";
    let project = Project::new(text);
    project.write("s", "1");
    let said = project.expect(0, &["check"]).out;
    let told: Vec<_> = said.lines().filter_map(|line| line.trim_start().strip_prefix("⚠ ")).collect();
    assert_eq!(told, ["`s` and `s2` are one source", "the `workdir` of `a` is not there"], "{said}");
    std::fs::create_dir(project.path("nowhere")).unwrap();
    assert!(!project.expect(0, &["check"]).out.contains("workdir"), "it is there now");
}

#[test]
fn a_list_of_targets_has_what_they_stand_for() {
    let project = Project::empty();
    project.write("pipeline.toml", file("p", SHOP));
    let names = |arguments: &[&str]| {
        let said = project.expect(0, &[&["list", "--format", "json"], arguments].concat()).out;
        let rows: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (arguments, expected) in [
        (&["raw"][..], &["raw"][..]),
        (&["raw.csv"], &["raw"]),
        (&["orders"], &["orders"]),
        (&["+orders"], &["raw", "orders"]),
        (&["train"], &["train", "test"]),
        // What is built only when it is named is listed too.
        (&["train+"], &["train", "test", "churn", "publish"]),
        (&["tag:daily", "tag:source"], &["raw", "orders"]),
        (&["t*"], &["train", "test"]),
        (&["orders+", "--exclude", "split+"], &["orders", "stg"]),
        (&["--exclude", "orders+"], &["raw"]),
        (&["--exclude", "raw+"], &[]),
    ] {
        if expected.is_empty() {
            assert!(project.expect(4, &[&["list"], arguments].concat()).err.contains("leaves nothing over"));
        } else {
            assert_eq!(names(arguments), expected, "{arguments:?}");
        }
    }
    assert!(project.expect(2, &["list", "order"]).err.contains("did you mean `orders`?"));
    assert!(project.expect(4, &["list", "tag:dayly"]).err.contains("did you mean `tag:daily`?"));
}

#[test]
fn a_variable_that_nothing_uses_is_warned_of() {
    let text = "[vars]\nused = 1\nstops = 2\nidle = 3\nmore = 4\n[defaults]\nshell = [\"sh\", \"-euc\"]\n\
        [dataset.a]\npath = \"a\"\nrun = \"echo {{ vars.used }} vars.idle >{{ output }}\"\non_stop = \"echo {{ vars.stops }}\"\n\
        [task.t]\ninputs = [\"a\"]\nrun = [\"echo\", \"x{{ vars.more }}\"]\nenv = { M = \"vars.idle\" }\n";
    let project = Project::empty();
    project.write("pipeline.toml", format!("[pipeline]\nformat = 1\nname = \"p\"\n{text}"));
    let said = project.expect(0, &["check"]).out;
    assert!(said.contains("unused-var") && said.contains("variable `idle` is not used"), "{said}");
    assert!(said.contains("pipeline.toml: 1 warning\n") && !said.contains("`used` is"), "{said}");
    // What is given in its place is not used either.
    assert!(project.expect(0, &["check", "--var", "idle=4"]).out.contains("`idle` is not used"));
    let said = project.expect(0, &["plan"]);
    assert!(!(said.out + &said.err).contains("idle"));
}
