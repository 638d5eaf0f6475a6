//! Commands that only look: what is told where they fail, take long, or never answer.

use crate::support::Project;

const TABLE: &str = r#"
[dataset.table]
run = "touch table"
digest = "cat table"
[dataset.copy]
path = "copy"
inputs = ["table"]
run = "touch {{ output }}"
"#;

#[test]
fn an_output_that_cannot_be_asked_for_is_told_with_what_is_wrong() {
    let project = Project::new(TABLE);
    project.expect(0, &["run"]);
    std::fs::remove_file(project.path("table")).unwrap();
    let reason = "output missing, or its `digest` is wrong: table: exit 1: cat: table: No such file or directory";
    for arguments in [&["plan"][..], &["why", "table"]] {
        let said = project.expect(0, arguments).out;
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
    project.expect(0, &["run"]);
    assert!(project.expect(0, &["plan"]).out.contains("2 up to date"));
}

#[test]
fn what_is_never_built_over_what_is_there_is_not_built_where_it_cannot_be_asked_for() {
    let project = Project::new(&TABLE.replace("run = \"touch table\"", "run = \"echo built >table\""));
    let never = TABLE.replace("run = \"touch table\"", "run = \"echo built >table\"\nrebuild = \"never\"");
    let ask = "`digest` of `table` failed: exit 1: cat: table: No such file or directory";
    let refused = |arguments: &[&str]| {
        let said = project.expect(2, arguments).err;
        assert!(said.contains(ask) && said.contains("kiln run --mode only table"), "{said}");
    };
    // With a record and without one.
    for built in [false, true] {
        project.pipeline(&TABLE.replace("run = \"touch table\"", "run = \"echo built >table\""));
        if built {
            project.expect(0, &["run"]);
            std::fs::remove_file(project.path("table")).unwrap();
        }
        // What may be built at any time is, where it is missing for all that is known.
        assert!(project.expect(0, &["plan", "--mode", "missing"]).out.contains("  build  "));
        project.pipeline(&never);
        refused(&["run"]);
        refused(&["run", "--mode", "missing"]);
        refused(&["plan"]);
        assert!(!project.path("table").exists());
    }
    let plan = project.expect(1, &["run", "-k"]).out;
    assert!(plan.contains(ask), "{plan}");
    assert!(!project.path("table").exists());
    std::fs::write(project.path("table"), "by hand").unwrap();
    project.expect(0, &["run"]);
    assert_eq!(project.read("table"), "by hand");
    project.expect(0, &["run", "--mode", "only", "table"]);
    assert_eq!(project.read("table"), "built\n");
}

#[test]
fn one_that_never_answers_is_ended_after_the_time_of_an_attempt() {
    let mut project = Project::new("");
    project.variable("KILN_TEST_SLOW", "50ms");
    let source = "[dataset.s]\ndigest = \"exec sleep 1000\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"touch {{ output }}\"\n";
    project.pipeline(&format!("timeout = \"300ms\"\n{source}"));
    for command in ["plan", "run", "why"] {
        let said = project.expect(2, &[&[command][..], if command == "why" { &["a"] } else { &[] }].concat()).err;
        assert!(said.contains("`digest` of `s` failed: timed out after 0.3s, the `timeout` of `a`"), "{said}");
        assert!(said.contains("`digest` of `s` has not answered for 50ms\n"), "{said}");
        assert!(said.contains("`digest` of `s` has not answered for 0.1s\n"), "{said}");
    }
    project.pipeline(
        "[dataset.a]\npath = \"a\"\nrun = \"touch {{ output }}\"\ntimeout = \"100ms\"\ntools = { sloth = \"exec sleep 1000\" }\n",
    );
    let said = project.expect(2, &["plan"]).err;
    assert!(said.contains("tool `sloth` of `a` failed: timed out after 0.1s, the `timeout` of `a`"), "{said}");
    assert!(said.contains("tool `sloth` has not answered for 50ms\n"), "{said}");
}

#[test]
fn each_step_waits_as_long_as_it_says() {
    let step = |name: &str, more: &str| {
        format!("[task.{name}]\nrun = \"true\"\ntools = {{ x = \"sleep 0.3; echo 1\" }}\n{more}\n")
    };
    let project = Project::new(&format!("{}{}", step("a", "timeout = \"100ms\""), step("b", "")));
    let said = project.expect(2, &["plan"]).err;
    assert!(said.contains("tool `x` of `a` failed: timed out after 0.1s") && said.contains("1 obstacle"), "{said}");
}

#[test]
fn an_answer_that_is_too_long_is_no_answer() {
    let print = |bytes: u32| format!("head -c {bytes} /dev/zero | tr '\\\\0' x");
    let a = "[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"touch {{ output }}\"\n";
    let source = |bytes| format!("[dataset.s]\ndigest = \"{}\"\n{a}", print(bytes));
    let tool = |bytes| {
        format!("[dataset.a]\npath = \"a\"\nrun = \"touch {{{{ output }}}}\"\ntools = {{ t = \"{}\" }}\n", print(bytes))
    };
    let output = |bytes| format!("[dataset.a]\nrun = \"true\"\ndigest = \"{}\"\n", print(bytes));
    let project = Project::new("");
    for (text, code, said) in [
        (source(16_000_000), 0, ""),
        (source(16_000_001), 2, "`digest` of `s` failed: it printed more than 16 MB: print a digest of it"),
        (tool(64_000), 0, ""),
        (tool(64_001), 2, "tool `t` of `a` failed: it printed more than 64 kB: print a digest of it"),
        (output(16_000_000), 0, ""),
        (output(16_000_001), 1, "`digest` of `a` failed: it printed more than 16 MB: print a digest of it"),
    ] {
        project.pipeline(&text);
        let run = project.expect(code, &["run"]);
        assert!((run.out + &run.err).contains(said), "{said}");
    }
    // Nobody waits for who never ends.
    project.pipeline("[task.t]\nrun = \"true\"\ntools = { t = \"yes\" }\n");
    project.expect(2, &["plan"]);
}

#[test]
fn of_an_answer_that_is_no_text_all_bytes_count() {
    let step = "inputs = [\"s\"]\nrun = \"touch table\"\ndigest = \"cat made\"\ntools = { t = \"cat tool\" }\n";
    let project = Project::new(&format!("[dataset.s]\ndigest = \"cat source\"\n[dataset.table]\n{step}"));
    let latin =
        |name: &str, accent: u8| std::fs::write(project.path(name), [b"caf", &[accent, b'\n'][..]].concat()).unwrap();
    let all = ["source", "tool", "made"];
    all.iter().for_each(|name| latin(name, 0xe9));
    project.expect(0, &["run"]);
    assert!(project.expect(0, &["plan"]).out.contains("1 up to date"));
    for (name, said) in
        all.into_iter().zip(["input changed: s", "tool changed: t \"caf\u{fffd} (not UTF-8", "output changed"])
    {
        latin(name, 0xe8);
        let plan = project.expect(0, &["plan"]).out;
        assert!(plan.contains(said), "{plan}");
        project.expect(0, &["run"]);
        assert!(project.expect(0, &["plan"]).out.contains("1 up to date"));
    }
}
