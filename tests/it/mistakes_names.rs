//! What is wrong with names and with what they stand for: inputs, makers, cycles, engines.

use crate::mistakes::{messages, refused, told, told_of};
use crate::support::Project;

#[test]
fn an_unknown_input() {
    let text = "[dataset.orders]\npath = \"o\"\n[dataset.a]\nrun = \"x\"\ninputs = [\"ordres\", \"zzz\", \"orders\", \"orders\", \"t\"]\n\
        [task.t]\nrun = \"x\"\n";
    insta::assert_snapshot!(told_of(text), @r#"
        unknown-node

          × unknown input `ordres`
           ╭─[pipeline.toml:8:11]
         7 │ run = "x"
         8 │ inputs = ["ordres", "zzz", "orders", "orders", "t"]
           ·           ────┬───
           ·               ╰── no dataset, folder or model has this name
         9 │ [task.t]
           ╰────
          help: did you mean `orders`?

        unknown-node

          × unknown input `zzz`
           ╭─[pipeline.toml:8:21]
         7 │ run = "x"
         8 │ inputs = ["ordres", "zzz", "orders", "orders", "t"]
           ·                     ──┬──
           ·                       ╰── no dataset, folder or model has this name
         9 │ [task.t]
           ╰────
          help: declare it: [dataset.zzz]

        named-twice

          × input `orders` stands twice
           ╭─[pipeline.toml:8:38]
         7 │ run = "x"
         8 │ inputs = ["ordres", "zzz", "orders", "orders", "t"]
           ·                                      ────┬───
           ·                                          ╰── again here
         9 │ [task.t]
           ╰────
          help: leave one out

        not-a-node

          × input `t` is a task
           ╭─[pipeline.toml:8:48]
         7 │ run = "x"
         8 │ inputs = ["ordres", "zzz", "orders", "orders", "t"]
           ·                                                ─┬─
           ·                                                 ╰── a dataset, a folder or a model is needed
         9 │ [task.t]
           ╰────
          help: a task makes nothing: make `t` a [dataset] whose recipe writes {{ output }}
        pipeline.toml: 4 mistakes
        "#);
}

#[test]
fn one_name_for_two_things() {
    insta::assert_snapshot!(told_of("[dataset.a]\npath = \"a\"\n[folder.a]\npath = \"b\"\n[task.a]\nrun = \"x\"\n"), @r#"
        duplicate-name

          × the name `a` stands for two things
           ╭─[pipeline.toml:4:10]
         3 │ name = "p"
         4 │ [dataset.a]
           ·          ┬
           ·          ╰── first here
         5 │ path = "a"
         6 │ [folder.a]
           ·         ┬
           ·         ╰── and again here
         7 │ path = "b"
           ╰────
          help: names are unique over all kinds: give one another name; `id` holds its name on DSS

        duplicate-name

          × the name `a` stands for two things
           ╭─[pipeline.toml:4:10]
         3 │ name = "p"
         4 │ [dataset.a]
           ·          ┬
           ·          ╰── first here
         5 │ path = "a"
         6 │ [folder.a]
         7 │ path = "b"
         8 │ [task.a]
           ·       ┬
           ·       ╰── and again here
         9 │ run = "x"
           ╰────
          help: names are unique over all kinds: give one another name; `id` holds its name on DSS
        pipeline.toml: 2 mistakes
        "#);
}

#[test]
fn two_recipes_that_make_one_node() {
    let text = "[dataset.a]\npath = \"a\"\nrun = \"x\"\n[recipe.r]\noutputs = [\"a\"]\nrun = \"x\"\n";
    insta::assert_snapshot!(told_of(text), @r#"
        two-makers

          × `a` is made twice: by `a` and by `r`
           ╭─[pipeline.toml:4:10]
         3 │ name = "p"
         4 │ [dataset.a]
           ·          ┬
           ·          ╰── made here
         5 │ path = "a"
         6 │ run = "x"
         7 │ [recipe.r]
           ·         ┬
           ·         ╰── and here
         8 │ outputs = ["a"]
           ╰────
          help: a node is made by one recipe
        pipeline.toml: 1 mistake
        "#);
}

#[test]
fn a_cycle_has_each_edge_in_order() {
    let text = "[dataset.a]\npath = \"a\"\ninputs = [\"c\"]\nrun = \"x\"\n[dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = \"x\"\n\
        [dataset.c]\npath = \"c\"\ninputs = [\"src\", \"b\"]\nrun = \"x\"\n[dataset.src]\npath = \"src\"\n";
    insta::assert_snapshot!(told_of(text), @r#"
        cycle

          × cycle: a → b → c → a
            ╭─[pipeline.toml:6:11]
          5 │ path = "a"
          6 │ inputs = ["c"]
            ·           ─┬─
            ·            ╰── `a` needs `c`
          7 │ run = "x"
          8 │ [dataset.b]
          9 │ path = "b"
         10 │ inputs = ["a"]
            ·           ─┬─
            ·            ╰── `b` needs `a`
         11 │ run = "x"
         12 │ [dataset.c]
         13 │ path = "c"
         14 │ inputs = ["src", "b"]
            ·                  ─┬─
            ·                   ╰── `c` needs `b`
         15 │ run = "x"
            ╰────
          help: nothing can be built first: take one of these inputs away
        pipeline.toml: 1 mistake
        "#);
    let two = "[dataset.a]\ninputs = [\"b\"]\nrun = \"x\"\n[dataset.b]\ninputs = [\"a\"]\nrun = \"x\"\n\
        [dataset.x]\n[dataset.y]\n[recipe.r]\noutputs = [\"x\", \"y\"]\ninputs = [\"z\"]\nrun = \"x\"\n\
        [dataset.z]\ninputs = [\"y\", \"nope\"]\nrun = \"x\"\n";
    let told = told_of(two);
    assert_eq!(messages(&told), ["unknown input `nope`", "cycle: a → b → a", "cycle: r → z → r"]);
}

#[test]
fn an_input_that_the_recipe_makes_itself() {
    insta::assert_snapshot!(told_of("[dataset.a]\npath = \"a\"\ninputs = [\"a\"]\nrun = \"x\"\n"), @r#"
        self-input

          × `a` reads `a`, which it makes itself
           ╭─[pipeline.toml:6:11]
         5 │ path = "a"
         6 │ inputs = ["a"]
           ·           ─┬─
           ·            ╰── its own output
         7 │ run = "x"
           ╰────
          help: an input is made by something else
        pipeline.toml: 1 mistake
        "#);
}

#[test]
fn an_unknown_engine() {
    let text = "[settings]\nengine = \"lokal\"\n[dataset.a]\npath = \"a\"\nrun = \"x\"\nshell = [\"sh\", \"-c\"]\n";
    insta::assert_snapshot!(told_of(text), @r#"
        unknown-engine

          × unknown engine `lokal`
           ╭─[pipeline.toml:5:10]
         4 │ [settings]
         5 │ engine = "lokal"
           ·          ───┬───
           ·             ╰── this one
         6 │ [dataset.a]
           ╰────
          help: did you mean `local`?
        pipeline.toml: 1 mistake
        "#);
}

#[test]
fn an_unknown_variable_on_the_command_line() {
    let project = Project::new("[vars]\ncountry = \"FR\"\n[dataset.a]\nrun = \"x\"\n");
    insta::assert_snapshot!(refused(&project, &["run", "--var", "contry=DE", "--var", "zzz=1"]).1, @r#"
        unknown-var

          × --var contry: the file has no such variable
          help: did you mean `country`?

        unknown-var

          × --var zzz: the file has no such variable
          help: declare it:
                [vars]
                zzz = "…"
        pipeline.toml: 2 mistakes
        "#);
}

#[test]
fn many_mistakes_of_all_kinds_at_once() {
    let text = "[pipeline]\nformat = 3\nname = \"a b\"\nroot = \"/\"\n[settings]\nmax_parallel = 0\n[defaults]\nrebuild = \"x\"\n\
        [dataset.a]\npath = \"../a\"\nrun = \"{{ x }}\"\ninputs = [\"b\", \"nope\"]\nfoo = 1\n[dataset.b]\npath = \"b\"\nrun = \"x\"\ninputs = [\"c\"]\n\
        [dataset.c]\npath = \"b/c\"\nrun = \"{{ inputs.z }}\"\ninputs = [\"b\"]\n[folder.c]\n";
    let told_all = told(text);
    assert_eq!(
        messages(&told_all),
        [
            "unknown key `foo` in [dataset.a]",
            "`/` is absolute",
            "format 3 is not known",
            "`a b` cannot be a name",
            "`max_parallel` is 0",
            "`rebuild = \"x\"` is not an age: `x` does not begin with a number",
            "`../a` leaves the root",
            "`x` is not defined in `a`",
            "unknown input `nope`",
            "the path of `c` lies inside that of `b`",
            "the name `c` stands for two things",
            "`inputs.z` is not defined in `c`",
            "cycle: b → c → b"
        ]
    );
    // Of what kind the mistake of form is makes no difference to the others.
    let other = told(text.replace("foo = 1", "tags = 1"));
    assert_eq!(messages(&other)[0], "`tags` in [dataset.a] is an integer, not a list");
    assert_eq!(messages(&other)[1..], messages(&told_all)[1..]);
}

#[test]
fn what_follows_from_a_mistake_is_not_told_as_another() {
    let file = r#"
[dataset.raw]
path = "/abs/raw.csv"
[dataset.made]
path = "build/../../made.csv"
inputs = ["raw", "rawe"]
run = "cat {{ inputs.raw }} {{ inputs.rawe }} {{ inputs }} >{{ output }}"
[dataset.pair]
path = "build/pair.csv"
[recipe.split]
outputs = ["pair", "pear"]
inputs = ["made"]
run = "cp {{ inputs.made }} {{ outputs.pear }}; cp {{ inputs.made }} {{ outputs.pair }}"
"#;
    let project = Project::new(file);
    let told = project.expect(2, &["check"]).out;
    let codes: Vec<_> = told.lines().filter(|line| line.starts_with("bad-") || line.ends_with("-node")).collect();
    assert_eq!(codes, ["bad-path", "bad-path", "unknown-node", "unknown-node"], "{told}");
    assert!(told.ends_with("4 mistakes\n"), "{told}");
}

#[test]
fn a_mistake_of_form_hides_only_what_may_follow_from_it() {
    let text = r#"[pipeline]
format = 1
name = "p"
[dataset.a]
path = "a"
run = "echo {{ vars.b }} {{ inputs.n }} > {{ output }}"
retry = { max = 3, dely = "5s" }
[dataset.b]
path = "b"
run = "echo {{ vars.c }} {{ inputs.n }} > {{ output }}"
timeout = 5
[dataset.c]
path = "c"
inptus = ["a"]
run = "echo {{ vars.d }} {{ inputs.a }} > {{ output }}"
[dataset.e]
path = "e"
[dataset.f]
path = "f"
[recipe.m]
outputs = ["e", "f", "g"]
run = "echo > {{ output }}"
[dataset.src]
path = "s"
[dataset.h]
path = "h"
inputs = ["srcc"]
run = "cat {{ inputs.src }} {{ inputs.x }} > {{ output }}"
"#;
    let said = told(text);
    let expected = [
        "unknown key `dely` in [dataset.a.retry]",
        "`timeout` in [dataset.b] is an integer, not a string",
        "unknown key `inptus` in [dataset.c]",
        "`vars.b` is not defined in `a`",
        "`inputs.n` is not defined in `a`",
        "`vars.c` is not defined in `b`",
        "`inputs.n` is not defined in `b`",
        "`vars.d` is not defined in `c`",
        "unknown output `g`",
        "`output` is not defined in `m`",
        "unknown input `srcc`",
        "`inputs.x` is not defined in `h`",
    ];
    assert_eq!(messages(&said), expected, "{said}");
    assert!(said.contains("it has several outputs: outputs.e, outputs.f, outputs.g"), "{said}");
    assert!(said.contains("its inputs are: srcc") && said.contains("did you mean `src`?"), "{said}");
}

#[test]
fn no_mistake_hides_another_one() {
    let text = r#"[pipeline]
format = 1
nam = "p"
[dataset.a-b]
path = "../a"
inputs = ["nope", "c"]
rum = "x"
[dataset.c]
path = "/etc/c"
inputs = ["s", "n", "a-b"]
run = 'echo "{{ inputs.s }}" {{ output.c }} {{ vars.q }} {{ outputz }}'
timeout = "5 parsecs"
[dataset.s]
path = "s.txt"
[dataset.in]
path = "s.txt/inner"
inputs = ["s"]
run = "x"
[dataset.n]
path = 5
inputs = ["zz"]
run = "x {{ inputs.zz }}"
[dataset.m]
path = "m"
inptus = ["s"]
run = "x {{ inputs.s }}"
"#;
    let expected = [
        "[pipeline] lacks `name`",
        "unknown key `nam` in [pipeline]",
        "unknown key `rum` in [dataset.a-b]",
        "`path` in [dataset.n] is an integer, not a string",
        "unknown key `inptus` in [dataset.m]",
        "`a-b` cannot be a name",
        "`../a` leaves the root",
        "unknown input `nope`",
        "`/etc/c` is absolute",
        "`output.c` is not defined in `c`",
        "`vars.q` is not defined in `c`",
        "`outputz` is not defined in `c`",
        "`timeout = \"5 parsecs\"` is no time limit: `parsecs` is not a unit",
        "the path of `in` lies inside that of `s`",
        "unknown input `zz`",
    ];
    let said = told(text);
    assert_eq!(messages(&said)[..15], expected, "{said}");
    assert_eq!(messages(&said)[15..], ["cycle: a-b → c → a-b"], "{said}");
    // What a section that is written wrong may hold is not missed.
    let text = "[pipeline]\nformat = 1\nname = \"p\"\n[var]\nq = 1\n[datset.s]\npath = \"s\"\n\
                [dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"x {{ vars.q }} {{ vars }}\"\n";
    let expected = ["unknown section `var`", "unknown section `datset`", "`vars` is not defined in `a`"];
    assert_eq!(messages(&told(text)), expected);
}

#[test]
fn what_nothing_makes_is_a_mistake_unless_another_engine_could() {
    let lost = "[dataset.a]\npath = \"a\"\nrun = \"echo >{{ output }}\"\n[dataset.b]\npath = \"b\"\ninputs = [\"a\"]\n[dataset.c]\npath = \"c\"\ninputs = [\"b\"]\nrun = \"echo >{{ output }}\"\n";
    let told = told_of(lost);
    assert!(told.contains("`b` has no `run`: nothing makes it"), "{told}");
    let told =
        told_of("[dataset.a]\npath = \"a\"\ninputs = []\n[dataset.b]\npath = \"b\"\n[recipe.r]\noutputs = [\"b\"]\n");
    assert!(told.contains("`a` has no `run`") && told.contains("`r` has no `run`"), "{told}");
    assert!(told.contains("help: say what makes it: run = \"…\""), "{told}");
    let project = Project::new(&format!(
        "[engine.prod]\nkind = \"dss\"\nurl = \"https://dss.example.com\"\napi_key = {{ env = \"KEY\" }}\n{lost}"
    ));
    project.expect(0, &["check"]);
    let said = project.expect(0, &["run"]);
    assert_eq!(said.err, "note: not for this engine: b, c\n");
    // A saved model may be what another tool trains, or a server.
    let project =
        Project::new("[dataset.a]\npath = \"a\"\nrun = \"echo >{{ output }}\"\n[model.m]\ninputs = [\"a\"]\n");
    project.expect(0, &["check"]);
    assert_eq!(project.expect(0, &["run"]).err, "note: not for this engine: m\n");
}
