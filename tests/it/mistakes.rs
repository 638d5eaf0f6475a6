//! What is wrong with the form of a file, and how it is told: all of it, each at its place, with a way out, and nothing
//! on the disk is touched.
#![expect(clippy::too_many_lines, reason = "what is told is long")]

use crate::support::Project;

/// What `check` and `run` say about a file, which is the same; they leave no trace.
#[track_caller]
pub(crate) fn told(file: impl AsRef<[u8]>) -> String {
    let project = Project::empty();
    project.write("pipeline.toml", file);
    refused(&project, &["run"]).1
}

/// As [`told`], for what stands below a sound head.
#[track_caller]
pub(crate) fn told_of(text: &str) -> String {
    told(format!("[pipeline]\nformat = 1\nname = \"p\"\n{text}"))
}

/// Runs a command that has to be refused, and `check`, and gives what both say.
#[track_caller]
pub(crate) fn refused(project: &Project, arguments: &[&str]) -> (String, String) {
    let before = project.tree();
    let check = project.kiln(&["check"]);
    let run = project.expect(2, arguments);
    assert_eq!(project.tree(), before, "something was touched");
    assert!(!project.exists(".kiln"), "a state was made");
    assert_eq!(run.out, "");
    if check.code == 2 {
        assert_eq!(check.out, run.err, "check says something else");
    }
    let root = project.path("").canonicalize().unwrap().display().to_string();
    let without_root = |text: String| text.replace(root.trim_end_matches('/'), "ROOT");
    (without_root(check.out), without_root(run.err))
}

/// The messages alone.
pub(crate) fn messages(told: &str) -> Vec<&str> {
    told.lines().filter_map(|line| line.trim_start().strip_prefix("× ")).collect()
}

#[test]
fn an_unknown_key_has_a_near_one() {
    insta::assert_snapshot!(told_of("[dataset.a]\npaht = \"a\"\nrun = \"true\"\n[datsaet.b]\n[dataset.c]\nfoo = 1\n"), @r#"
        unknown-key

          × unknown key `paht` in [dataset.a]
           ╭─[pipeline.toml:5:1]
         4 │ [dataset.a]
         5 │ paht = "a"
           · ──┬─
           ·   ╰── unknown
         6 │ run = "true"
           ╰────
          help: did you mean `path`?

        unknown-section

          × unknown section `datsaet`
           ╭─[pipeline.toml:7:2]
         6 │ run = "true"
         7 │ [datsaet.b]
           ·  ───┬───
           ·     ╰── unknown
         8 │ [dataset.c]
           ╰────
          help: did you mean `dataset`?

        unknown-key

          × unknown key `foo` in [dataset.c]
           ╭─[pipeline.toml:9:1]
         8 │ [dataset.c]
         9 │ foo = 1
           · ─┬─
           ·  ╰── unknown
           ╰────
          help: no key is like it: `kiln schema pipeline` has the 24 that may stand here
        pipeline.toml: 3 mistakes
        "#);
}

#[test]
fn a_wrong_type_is_said_in_words() {
    let text = "[settings]\nmax_parallel = -1\nschedule = \"stage\"\n[vars]\nday = 2026-01-01\n\
        [dataset.a]\npath = 3\ninputs = \"b\"\ntags = [\"x\", 1]\nin_place = \"true\"\n\
        secrets = { P = \"hunter2\", Q = { fil = \"x\" }, R = {} }\nenv = { A = { env = 1 }, B = 2 }\n[[dataset.e]]\n";
    insta::assert_snapshot!(told_of(text), @r#"
        bad-value

          × `max_parallel` in [settings] is out of range
           ╭─[pipeline.toml:5:16]
         4 │ [settings]
         5 │ max_parallel = -1
           ·                ─┬
           ·                 ╰── expected a whole number from 0 to 4294967295
         6 │ schedule = "stage"
           ╰────

        bad-value

          × `schedule` in [settings] cannot be `stage`
           ╭─[pipeline.toml:6:12]
         5 │ max_parallel = -1
         6 │ schedule = "stage"
           ·            ───┬───
           ·               ╰── unknown
         7 │ [vars]
           ╰────
          help: did you mean `stages`?

        wrong-type

          × `day` in [vars] is a date, not a string, a number or a truth value
           ╭─[pipeline.toml:8:7]
         7 │ [vars]
         8 │ day = 2026-01-01
           ·       ─────┬────
           ·            ╰── expected a string, a number or a truth value
         9 │ [dataset.a]
           ╰────
          help: write it in quotes: "2026-01-01"

        wrong-type

          × `path` in [dataset.a] is an integer, not a string
            ╭─[pipeline.toml:10:8]
          9 │ [dataset.a]
         10 │ path = 3
            ·        ┬
            ·        ╰── expected a string
         11 │ inputs = "b"
            ╰────
          help: write it in quotes: "3"

        wrong-type

          × `inputs` in [dataset.a] is a string, not a list
            ╭─[pipeline.toml:11:10]
         10 │ path = 3
         11 │ inputs = "b"
            ·          ─┬─
            ·           ╰── expected a list
         12 │ tags = ["x", 1]
            ╰────
          help: write it as a list: ["b"]

        wrong-type

          × `tags` in [dataset.a] holds an integer, not a string
            ╭─[pipeline.toml:12:14]
         11 │ inputs = "b"
         12 │ tags = ["x", 1]
            ·              ┬
            ·              ╰── expected a string
         13 │ in_place = "true"
            ╰────
          help: write it in quotes: "1"

        wrong-type

          × `in_place` in [dataset.a] is a string, not true or false
            ╭─[pipeline.toml:13:12]
         12 │ tags = ["x", 1]
         13 │ in_place = "true"
            ·            ───┬──
            ·               ╰── expected true or false
         14 │ secrets = { P = "hunter2", Q = { fil = "x" }, R = {} }
            ╰────
          help: leave the quotes out: true

        wrong-type

          × `secrets.P` in [dataset.a] is a string, not { env = "NAME" } or { file = "PATH" }
            ╭─[pipeline.toml:14:17]
         13 │ in_place = "true"
         14 │ secrets = { P = "hunter2", Q = { fil = "x" }, R = {} }
            ·                 ────┬────
            ·                     ╰── expected { env = "NAME" } or { file = "PATH" }
         15 │ env = { A = { env = 1 }, B = 2 }
            ╰────
          help: a secret is named, never written: P = { env = "P" }

        unknown-key

          × unknown key `fil` in [dataset.a.secrets.Q]
            ╭─[pipeline.toml:14:34]
         13 │ in_place = "true"
         14 │ secrets = { P = "hunter2", Q = { fil = "x" }, R = {} }
            ·                                  ─┬─
            ·                                   ╰── unknown
         15 │ env = { A = { env = 1 }, B = 2 }
            ╰────
          help: did you mean `file`?

        bad-value

          × `secrets.R` in [dataset.a]: a secret is named by one of `env` and `file`
            ╭─[pipeline.toml:14:51]
         13 │ in_place = "true"
         14 │ secrets = { P = "hunter2", Q = { fil = "x" }, R = {} }
            ·                                                   ─┬
            ·                                                    ╰── here
         15 │ env = { A = { env = 1 }, B = 2 }
            ╰────

        wrong-type

          × `env.A.env` in [dataset.a] is an integer, not a string
            ╭─[pipeline.toml:15:21]
         14 │ secrets = { P = "hunter2", Q = { fil = "x" }, R = {} }
         15 │ env = { A = { env = 1 }, B = 2 }
            ·                     ┬
            ·                     ╰── expected a string
         16 │ [[dataset.e]]
            ╰────
          help: write it in quotes: "1"

        wrong-type

          × `env.B` in [dataset.a] is an integer, not a string or { env = "NAME" }
            ╭─[pipeline.toml:15:30]
         14 │ secrets = { P = "hunter2", Q = { fil = "x" }, R = {} }
         15 │ env = { A = { env = 1 }, B = 2 }
            ·                              ┬
            ·                              ╰── expected a string or { env = "NAME" }
         16 │ [[dataset.e]]
            ╰────
          help: write it in quotes: "2"

        wrong-type

          × `dataset.e` is a list, not a table
            ╭─[pipeline.toml:16:1]
         15 │ env = { A = { env = 1 }, B = 2 }
         16 │ [[dataset.e]]
            · ──────┬──────
            ·       ╰── expected a table
            ╰────
          help: begin it with a line of its own: [dataset.e]
        pipeline.toml: 13 mistakes
        "#);
}

#[test]
fn a_section_that_is_no_table() {
    let text = "folder = []\nvars = 1\n[pipeline]\nformat = \"1\"\nnme = \"x\"\n[dataset]\nb = 1\n";
    let messages = told(text);
    assert_eq!(
        self::messages(&messages),
        [
            "`folder` is a list, not a table",
            "`vars` is an integer, not a table",
            "`format` in [pipeline] is a string, not a whole number",
            "unknown key `nme` in [pipeline]",
            "`dataset.b` is an integer, not a table"
        ]
    );
}

#[test]
fn no_head() {
    insta::assert_snapshot!(told("[dataset.a]\npath = \"a\"\n"), @r#"
        no-pipeline

          × the file has no `[pipeline]`
           ╭─[pipeline.toml:1:1]
         1 │ [dataset.a]
           · ▲
           · ╰── expected here
         2 │ path = "a"
           ╰────
          help: begin with:
                [pipeline]
                format = 1
                name = "orders"
        pipeline.toml: 1 mistake
        "#);
    insta::assert_snapshot!(told("[pipeline]\ndescription = \"x\"\n[dataset.a]\npath = \"a\"\n"), @r#"
        missing-key

          × [pipeline] lacks `format`
           ╭─[pipeline.toml:1:1]
         1 │ [pipeline]
           · ─────┬────
           ·      ╰── in here
         2 │ description = "x"
           ╰────
          help: add it: format = 1
        pipeline.toml: 1 mistake
        "#);
    insta::assert_snapshot!(told(""), @r#"
        no-pipeline

          × the file has no `[pipeline]`
           ╭─[pipeline.toml:1:1]
           ╰────
          help: begin with:
                [pipeline]
                format = 1
                name = "orders"
        pipeline.toml: 1 mistake
        "#);
}

#[test]
fn an_empty_pipeline() {
    insta::assert_snapshot!(told_of("[vars]\na = 1\n"), @r#"
        empty-pipeline

          × the pipeline is empty
           ╭─[pipeline.toml:3:8]
         2 │ format = 1
         3 │ name = "p"
           ·        ─┬─
           ·         ╰── this one
         4 │ [vars]
           ╰────
          help: declare a dataset:
                [dataset.orders]
                path = "build/orders.csv"
                run = "…"
        pipeline.toml: 1 mistake
        "#);
}

#[test]
fn another_format_and_a_bad_name() {
    insta::assert_snapshot!(told("[pipeline]\nformat = 2\nname = \"my orders\"\n[dataset.a-b]\n[dataset.x]\nrun = \"x\"\ninputs = [\"a-b\"]\n"), @r#"
        unknown-format

          × format 2 is not known
           ╭─[pipeline.toml:2:10]
         1 │ [pipeline]
         2 │ format = 2
           ·          ┬
           ·          ╰── this version of Kiln reads 1
         3 │ name = "my orders"
           ╰────
          help: write `format = 1`, or use a newer Kiln

        bad-name

          × `my orders` cannot be a name
           ╭─[pipeline.toml:3:8]
         2 │ format = 2
         3 │ name = "my orders"
           ·        ─────┬─────
           ·             ╰── this name
         4 │ [dataset.a-b]
           ╰────
          help: `my_orders` can; a name has 1 to 128 letters (a to z), digits and `_`, and does not begin
                with a digit

        bad-name

          × `a-b` cannot be a name
           ╭─[pipeline.toml:4:10]
         3 │ name = "my orders"
         4 │ [dataset.a-b]
           ·          ─┬─
           ·           ╰── this name
         5 │ [dataset.x]
           ╰────
          help: `a_b` can; a name has 1 to 128 letters (a to z), digits and `_`, and does not begin with a
                digit; `id` holds a name on DSS that does not fit
        pipeline.toml: 3 mistakes
        "#);
}

#[test]
fn what_is_wrong_in_form_hides_no_mistake_of_meaning() {
    let told = told_of(
        "[dataset.a]\npath = \"a\"\nrun = \"true\"\ntimeout = 5\nlog_limit = 1\ngrace = \"5 parsecs\"\n\
         [dataset.b]\npath = \"a/b\"\nrun = \"true {{ nothing }}\"\nretry = { max = \"2\", delay = 3 }\n",
    );
    assert_eq!(
        messages(&told),
        [
            "`timeout` in [dataset.a] is an integer, not a string",
            "`log_limit` in [dataset.a] is an integer, not a string",
            "`retry.max` in [dataset.b] is a string, not a whole number",
            "`retry.delay` in [dataset.b] is an integer, not a string",
            "the path of `b` lies inside that of `a`",
            "`grace = \"5 parsecs\"` is not a time: `parsecs` is not a unit",
            "`nothing` is not defined in `b`",
        ],
        "{told}"
    );
    for help in ["and with its unit: \"5s\"", "and with its unit: \"1MiB\"", "and with its unit: \"3s\""] {
        assert!(told.contains(help), "{help}\n{told}");
    }
}
