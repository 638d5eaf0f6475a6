//! What is wrong with the bytes, the lines and the syntax of a file, and how it is told.

use crate::mistakes::{messages, told, told_of};
use crate::support::Project;

#[test]
fn a_key_that_stands_twice() {
    let text = "[dataset.a]\npath = \"a\"\nenv = { A = \"1\", B = \"2\", A = \"3\" }\npath = \"b\"\n\
        [dataset.b]\npath = \"b\"\n[dataset.a]\npath = \"c\"\n";
    insta::assert_snapshot!(told_of(text), @r#"
        duplicate-key

          × `A` stands twice
           ╭─[pipeline.toml:6:9]
         5 │ path = "a"
         6 │ env = { A = "1", B = "2", A = "3" }
           ·         ┬                 ┬
           ·         │                 ╰── and again here
           ·         ╰── first here
         7 │ path = "b"
           ╰────
          help: keep one of them, or give one another name

        duplicate-key

          × `path` stands twice
           ╭─[pipeline.toml:5:1]
         4 │ [dataset.a]
         5 │ path = "a"
           · ──┬─
           ·   ╰── first here
         6 │ env = { A = "1", B = "2", A = "3" }
         7 │ path = "b"
           · ──┬─
           ·   ╰── and again here
         8 │ [dataset.b]
           ╰────
          help: keep one of them, or give one another name

        duplicate-key

          × [dataset.a] stands twice
           ╭─[pipeline.toml:4:1]
         3 │ name = "p"
         4 │ [dataset.a]
           · ─────┬─────
           ·      ╰── first here
         5 │ path = "a"
           ╰────
            ╭─[pipeline.toml:10:1]
          9 │ path = "b"
         10 │ [dataset.a]
            · ─────┬─────
            ·      ╰── and again here
         11 │ path = "c"
            ╰────
          help: keep one of them, or give one another name
        pipeline.toml: 3 mistakes
        "#);
}

#[test]
fn several_mistakes_of_syntax_at_once() {
    insta::assert_snapshot!(told_of("[dataset.a\npath = \"a\"\n[dataset.b]\nrun = \"x\n[dataset.c]\npath = a\n"), @r#"
        syntax

          × this is not TOML: unclosed table, expected `]`
           ╭─[pipeline.toml:4:11]
         3 │ name = "p"
         4 │ [dataset.a
           ·           ▲
           ·           ╰── here
         5 │ path = "a"
           ╰────

        syntax

          × this is not TOML: a text has no end
           ╭─[pipeline.toml:7:7]
         6 │ [dataset.b]
         7 │ run = "x
           ·       ┬
           ·       ╰── it begins here
         8 │ [dataset.c]
           ╰────
          help: close it with "; a text of several lines stands between ''' and '''

        syntax

          × this is not TOML: string values must be quoted, expected literal string
           ╭─[pipeline.toml:9:8]
         8 │ [dataset.c]
         9 │ path = a
           ·        ┬
           ·        ╰── here
           ╰────
        pipeline.toml: 3 mistakes
        "#);
}

#[test]
fn what_is_no_pipeline_file_at_all_is_told_once_a_line() {
    let lines = told_of("root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n");
    assert_eq!(lines.matches("this is not TOML").count(), 2, "{lines}");
}

#[test]
fn a_file_that_is_not_utf8() {
    insta::assert_snapshot!(told(b"[pipeline]\nformat = 1\nname = \"caf\xe9\"\n"), @r#"
        not-utf8

          × the file is not UTF-8
           ╭─[pipeline.toml:3:12]
         2 │ format = 1
         3 │ name = "caf�"
           ·            ┬
           ·            ╰── this byte
           ╰────
          help: save the file as UTF-8
        pipeline.toml: 1 mistake
        "#);
    assert_eq!(messages(&told(b"\xff\xfe[\0p\0]\0")), ["the file is not UTF-8"]);
}

#[test]
fn a_file_of_more_than_64_mib() {
    let mut file = b"[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\n".to_vec();
    file.resize((64 << 20) + 1, b'\n');
    insta::assert_snapshot!(told(file), @r"
        file-too-large

          × the file is over 64 MiB
          help: a pipeline file declares data; it does not hold it
        pipeline.toml: 1 mistake
        ");
}

#[test]
fn nesting_without_an_end() {
    const DEPTH: usize = 100_000;
    let deep = |text: &str| text.repeat(DEPTH);
    for text in [
        format!("x = {}{}", deep("["), deep("]")),
        format!("x = {}", deep("[")),
        format!("x = {}1{}", deep("{a="), deep("}")),
        format!("x = {}", deep("{a=")),
        format!("{}a = 1", deep("a.")),
        format!("[{}a]", deep("a.")),
        format!("[[{}a]]", deep("a.")),
        format!("[dataset.a]\nenv.{}a = \"1\"", deep("a.")),
        format!("[dataset.a]\nrun = {}\"x\"{}", deep("["), deep("]")),
    ] {
        let told = told_of(&text);
        assert_eq!(messages(&told), ["the file is nested too deeply"], "{}", &text[..30]);
        assert!(told.len() < 2_000, "the whole line is shown");
    }
}

#[test]
fn a_place_in_a_long_line_is_cut_out() {
    let many: Vec<_> = (0..20_000).map(|i| format!("K{i} = {i}")).collect();
    let told = told_of(&format!("[dataset.a]\nrun = \"x\"\nenv = {{ {} }}\n", many.join(", ")));
    assert_eq!(messages(&told).len(), 20);
    insta::assert_snapshot!(told.split("\n\n").take(2).collect::<Vec<_>>().join("\n\n"), @r#"
        wrong-type

          × `env.K0` in [dataset.a] is an integer, not a string or { env = "NAME" }
           ╭─[pipeline.toml:6:14]
         6 │ env = { K0 = 0, K1 = 1, K2 = 2, K3 = 3, K4 = 4, K5 = 5
           ·              ┬
           ·              ╰── expected a string or { env = "NAME" }
           ╰────
          help: write it in quotes: "0"
        "#);
    insta::assert_snapshot!(told.lines().rev().take(3).collect::<Vec<_>>().join("\n"), @r#"
        pipeline.toml: 20000 mistakes
        … and 19900 more
        pipeline.toml:6: `env.K99` in [dataset.a] is an integer, not a string or { env = "NAME" }
        "#);
    let in_line = told.lines().filter(|line| line.starts_with("pipeline.toml:6: "));
    assert_eq!(in_line.count(), 80);
}

#[test]
fn how_lines_end_and_a_mark_of_their_order_change_nothing() {
    let text =
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = \"a\"\nrun = '''\necho {{ nope }}\n'''\nfoo = 1\n";
    let plain = told(text);
    insta::assert_snapshot!(plain, @r"
        unknown-key

          × unknown key `foo` in [dataset.a]
           ╭─[pipeline.toml:9:1]
         8 │ '''
         9 │ foo = 1
           · ─┬─
           ·  ╰── unknown
           ╰────
          help: no key is like it: `kiln schema pipeline` has the 24 that may stand here

        undefined-name

          × `nope` is not defined in `a`
           ╭─[pipeline.toml:7:6]
         6 │ run = '''
         7 │ echo {{ nope }}
           ·      ─────┬────
           ·           ╰── this name
         8 │ '''
           ╰────
          help: known are: inputs, inputs.NAME, output, outputs.NAME, vars.NAME, pipeline.name, project
        pipeline.toml: 2 mistakes
        ");
    assert_eq!(told(text.replace('\n', "\r\n")), plain);
    assert_eq!(told(format!("\u{feff}{text}")), plain);
    assert_eq!(messages(&told("\u{feff}pipelin = 1\n")), ["the file has no `[pipeline]`", "unknown section `pipelin`"]);
}

#[test]
fn a_script_with_other_line_ends_runs() {
    let project = Project::empty();
    let text = "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = \"a\"\nshell = [\"sh\", \"-euc\"]\nrun = '''\nx=1\necho $x >{{ output }}\n'''\n";
    project.write("pipeline.toml", text.replace('\n', "\r\n"));
    project.expect(0, &["run"]);
    assert_eq!(project.read("a"), "1\n");
    project.write("pipeline.toml", text);
    project.expect(0, &["plan", "--check"]);
}

#[test]
fn letters_that_a_terminal_obeys_are_not_shown() {
    let told = told_of("[dataset.\"a\\u001b[2Jb\"]\npath = \"\u{1b}[2J\"\n");
    assert!(!told.contains('\u{1b}'), "{told:?}");
    let told = told_of("[dataset.\"a\\u001b[2Jb\"]\n[dataset.x]\nrun = \"x\"\ninputs = [\"\\u001b[2J\"]\n");
    assert!(!told.contains('\u{1b}'), "{told:?}");
}

#[test]
fn slips_of_quotes_have_a_way_out() {
    insta::assert_snapshot!(told_of("[dataset.a]\nrun = \"awk \"{print}\" x\"\n[dataset.b]\nrun = \"sed 's/\\.x//'\"\n[dataset.c]\nrun = 'it's'\n"), @r#"
        syntax

          × this is not TOML: unexpected key or value, expected newline, `#`
           ╭─[pipeline.toml:5:13]
         4 │ [dataset.a]
         5 │ run = "awk "{print}" x"
           ·             ▲
           ·             ╰── the text has ended at the " before
         6 │ [dataset.b]
           ╰────
          help: what holds " is written in '…' or in '''…'''

        syntax

          × this is not TOML: missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\`, `"`, `x`, `u`,
          │ `U`
           ╭─[pipeline.toml:7:16]
         6 │ [dataset.b]
         7 │ run = "sed 's/\.x//'"
           ·                ▲
           ·                ╰── here
         8 │ [dataset.c]
           ╰────
          help: between " a backslash begins an escape: write the text in '…' or '''…''', or each
                backslash twice

        syntax

          × this is not TOML: unexpected key or value, expected newline, `#`
           ╭─[pipeline.toml:9:11]
         8 │ [dataset.c]
         9 │ run = 'it's'
           ·           ▲
           ·           ╰── the text has ended at the ' before
           ╰────
          help: what holds ' is written in "…" or in '''…'''
        pipeline.toml: 3 mistakes
        "#);
    insta::assert_snapshot!(told_of("[dataset.a]\nrun = \"\"\"\necho\n[dataset.b]\npath = \"b\"\n"), @r#"
        syntax

          × this is not TOML: a text has no end
           ╭─[pipeline.toml:5:7]
         4 │ [dataset.a]
         5 │ run = """
           ·       ─┬─
           ·        ╰── it begins here
         6 │ echo
           ╰────
          help: close it with """
        pipeline.toml: 1 mistake
        "#);
    let literal = told_of("[dataset.a]\nrun = '''\necho\n");
    assert!(literal.contains("it begins here") && literal.contains("help: close it with '''"), "{literal}");
    for other in ["path = \"a\" run = \"b\"", "run = \"true\";", "run = \"true\" // so"] {
        let told = told_of(&format!("[dataset.a]\n{other}\n"));
        assert!(told.contains("unexpected key or value") && !told.contains("what holds"), "{told}");
    }
}

#[test]
fn a_conflict_of_a_merge_is_told_as_one() {
    let text = "<<<<<<< HEAD\n[dataset.a]\n=======\n[dataset.b]\n>>>>>>> other\nrun = \"x\"\n";
    insta::assert_snapshot!(told_of(text), @r#"
        merge-conflict

          × the file holds a conflict of a merge
           ╭─[pipeline.toml:4:1]
         3 │ name = "p"
         4 │ <<<<<<< HEAD
           · ───┬───
           ·    ╰── one side
         5 │ [dataset.a]
         6 │ =======
           · ───┬───
           ·    ╰── the other side
         7 │ [dataset.b]
         8 │ >>>>>>> other
           · ───┬───
           ·    ╰── its end
         9 │ run = "x"
           ╰────
          help: keep one side, or what is right of both, and take the marks out
        pipeline.toml: 1 mistake
        "#);
    // In a text of several lines the same marks mean nothing.
    let fine = "[dataset.a]\npath = \"a\"\nrun = '''\ncat <<'X'\n<<<<<<< A\n=======\n>>>>>>> B\nX\n'''\n";
    Project::new(fine).expect(0, &["check"]);
    let other = told_of(&format!("{fine}wrong\n"));
    assert!(other.contains("key with no value") && !other.contains("conflict"), "{other}");
}
