//! What a sound file asks of its surroundings and does not find: sources, variables, secrets. A first run that is
//! refused leaves nothing behind.

use crate::mistakes::{messages, refused};
use crate::support::{ALL_THE_SAME, Project};

const TEXT: &str = "[dataset.s]\npath = \"s.csv\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"cat {{ inputs.s }} >{{ output }}\"\n";

#[test]
fn a_missing_source() {
    let project = Project::new(&format!("{TEXT}[dataset.b]\npath = \"b\"\nrun = \"echo >{{{{ output }}}}\"\n"));
    let (check, run) = refused(&project, &["run"]);
    assert!(check.contains("⚠ source `s` is not there"), "{check}");
    insta::assert_snapshot!(run, @r#"
        missing-source

          × source `s` is not there, and `a` needs it
            ╭─[pipeline.toml:7:8]
          6 │ [dataset.s]
          7 │ path = "s.csv"
            ·        ───┬───
            ·           ╰── there is nothing at s.csv
          8 │ [dataset.a]
          9 │ path = "a"
         10 │ inputs = ["s"]
            ·           ─┬─
            ·            ╰── needed here
         11 │ run = "cat {{ inputs.s }} >{{ output }}"
            ╰────
          help: put the file there, or say what makes it with `run`
        pipeline.toml: 1 obstacle
        "#);
    assert_eq!(project.expect(2, &["plan"]).err, format!("{ALL_THE_SAME}{}", project.expect(2, &["run"]).err));
    // What does not need it is built all the same.
    project.expect(0, &["run", "b"]);
    project.expect(2, &["run"]);
}

#[test]
fn a_variable_that_is_not_set() {
    let mut project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = \"echo $R >{{ output }}\"\nenv = { R = { env = \"REGION\" } }\n",
    );
    insta::assert_snapshot!(refused(&project, &["run"]).1, @r#"
        unset-variable

          × `env.R` takes the variable REGION, which is not set
           ╭─[pipeline.toml:6:10]
         5 │ shell = ["sh", "-euc"]
         6 │ [dataset.a]
           ·          ┬
           ·          ╰── for `a`
         7 │ path = "a"
           ╰────
          help: set it: REGION=… kiln run
        pipeline.toml: 1 obstacle
        "#);
    project.variable("REGION", "eu");
    project.expect(0, &["run"]);
    assert_eq!(project.read("a"), "eu\n");
}

#[test]
fn secrets_that_are_not_there() {
    let text = "[dataset.a]\npath = \"a\"\nrun = \"true >{{ output }}\"\nsecrets = { P = { env = \"PW\" }, Q = { file = \"/nowhere/pw\" } }\n";
    let project = Project::new(text);
    insta::assert_snapshot!(refused(&project, &["run"]).1, @r#"
        unset-variable

          × secret `P` takes the variable PW, which is not set
           ╭─[pipeline.toml:9:13]
         8 │ run = "true >{{ output }}"
         9 │ secrets = { P = { env = "PW" }, Q = { file = "/nowhere/pw" } }
           ·             ┬
           ·             ╰── for `a`
           ╰────
          help: set it: PW=… kiln run

        missing-secret

          × secret `Q`: there is no file /nowhere/pw
           ╭─[pipeline.toml:9:33]
         8 │ run = "true >{{ output }}"
         9 │ secrets = { P = { env = "PW" }, Q = { file = "/nowhere/pw" } }
           ·                                 ┬
           ·                                 ╰── for `a`
           ╰────
          help: put the file there
        pipeline.toml: 2 obstacles
        "#);
}

#[test]
fn a_tool_that_fails() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = \"true >{{ output }}\"\ntools = { t = \"exit 7\" }\n");
    let said = project.expect(2, &["plan"]);
    assert_eq!(messages(&said.err).len(), 1, "{}", said.err);
    project.expect(0, &["plan", "--no-probes"]);
    project.expect(0, &["check"]);
}

/// Nothing that is in the way of a step hides what else is, in the first run and in a later one.
#[test]
fn all_that_is_in_the_way_of_one_step_is_told_at_once() {
    let mut project = Project::new(
        "[dataset.s]\npath = \"s\"\n[dataset.f]\npath = \"f\"\nrun = \"echo >{{ output }}\"\n\
         [dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"true >{{ output }}\"\nfiles = [\"none.py\"]\nworkdir = \"nowhere\"\n\
         env = { R = { env = \"REGION\" }, Q = { env = \"QUEUE\" } }\nsecrets = { P = { env = \"PW\" } }\ntools = { t = \"exit 7\" }\n",
    );
    let wrong = ["missing-file", "missing-source", "tool-failed", "unset-variable", "unset-variable", "unset-variable"];
    for _ in 0..2 {
        let said = project.expect(2, &["run"]).err;
        let mut found: Vec<_> = said.lines().filter(|line| wrong.contains(line)).collect();
        found.sort_unstable();
        assert_eq!(found, wrong, "{said}");
        assert!(said.ends_with("pipeline.toml: 6 obstacles, 1 warning\n"), "{said}");
        project.expect(0, &["run", "f"]);
    }
    let plan = project.expect(0, &["plan", "-k"]).out;
    assert!(plan.contains("  cannot a  ") && plan.contains(" and 2 more\n"), "{plan}");
    project.variable("REGION", "eu");
    assert!(project.expect(2, &["run"]).err.contains("5 obstacles"));
}

#[test]
fn a_target_that_cannot_be_meant() {
    let project = Project::new(&format!("{TEXT}[model.m]\ninputs = [\"a\"]\n"));
    project.write("s.csv", "1");
    for target in ["aa", "s", "m", "tag:none", "+", ""] {
        let said = project.kiln(&["run", target]);
        assert!(matches!(said.code, 2 | 4), "{target}: {said:?}");
        assert!(said.err.starts_with("error: "), "{target}: {}", said.err);
    }
    assert!(!project.exists(".kiln"));
}

#[test]
fn what_is_odd_and_allowed() {
    let name = "n".repeat(128);
    let text = format!(
        "[defaults]\nshell = [\"sh\", \"-euc\"]\nworkdir = \"w\"\nenv = {{ A = \"1\" }}\npass = [\"B_*\"]\nrebuild = \"1h\"\n\
         [dataset.{name}]\npath = \"p/ü ö.csv\"\nrun = \"echo $A >{{{{ output }}}}\"\nworkdir = \".\"\n\
         [dataset.B]\npath = \"B\"\nrun = \"cat {{{{ inputs.{name} }}}} >{{{{ output }}}}\"\ninputs = [\"{name}\"]\nworkdir = \"\"\nsecrets = {{ A = {{ env = \"SECRET\" }} }}\nrebuild = \"changed\"\n\
         [dataset.b]\npath = \"sub/b\"\nin_place = true\nrun = \"mkdir -p ../sub; echo $A >{{{{ output }}}}\"\n\
         [task.each]\nrun = [\"true\", \"{{{{ inputs }}}}\"]\ninputs = [\"B\"]\n[task.other]\nrun = \"true\"\ninputs = [\"b\"]\n"
    );
    let mut project = Project::empty();
    project.write("pipeline.toml", format!("[pipeline]\nformat = 1\nname = \"p\"\n{text}"));
    project.write("w/keep", "");
    project.variable("SECRET", "x");
    project.expect(0, &["run"]);
    assert_eq!(project.read("B"), "1\n");
    assert_eq!(project.read("sub/b"), "1\n");
    project.expect(0, &["plan", "--check"]);
}

/// The line that has to be changed is shown, not the one with the name.
#[test]
fn a_tool_and_a_folder_are_shown_where_they_stand() {
    let text = "[dataset.a]\npath = \"a\"\nrun = \"echo >{{ output }}\"\ntools = { x = \"nosuch --version\" }\n";
    let said = Project::new(text).expect(2, &["run"]).err;
    assert!(said.contains("tool `x` of `a` failed") && said.contains("─[pipeline.toml:9:15]"), "{said}");
    let project = Project::new(&text.replace("tools = { x = \"nosuch --version\" }", "workdir = \"gone\""));
    let check = project.expect(0, &["check"]).out;
    assert!(check.contains("the `workdir` of `a` is not there") && check.contains("─[pipeline.toml:9:11]"), "{check}");
    project.write(
        "pipeline.toml",
        project
            .read("pipeline.toml")
            .replace("[defaults]", "[defaults]\nworkdir = \"away\"")
            .replace("workdir = \"gone\"", ""),
    );
    let check = project.expect(0, &["check"]).out;
    assert!(check.contains("there is no folder away") && check.contains("─[pipeline.toml:5:11]"), "{check}");
}
