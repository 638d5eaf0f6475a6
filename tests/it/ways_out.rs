//! What is advised for a slip is right: whoever follows it is understood.

use crate::mistakes::{told, told_of};
use crate::support::Project;

/// The help that is told, in one line.
fn help(told: &str) -> String {
    let (_, help) = told.split_once("help: ").unwrap_or_else(|| panic!("no help: {told}"));
    help.lines().take_while(|line| !line.starts_with("pipeline.toml:")).map(str::trim).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_shell_with_its_options_in_one_word() {
    let recipe = "[dataset.a]\npath = \"a\"\nrun = \"echo x >{{ output }}\"\n";
    let told = told_of(&format!("[defaults]\nshell = \"sh -euc\"\n{recipe}"));
    assert_eq!(help(&told), r#"write it as a list, a word each: ["sh", "-euc"]"#, "{told}");
    for (shell, words) in [
        (r#"["sh -euc"]"#, r#"a word each: ["sh", "-euc"]"#),
        (r#"["/bin/sh -eu", "-c"]"#, r#"a word each: ["/bin/sh", "-eu", "-c"]"#),
        (r#"["env sh", "-c"]"#, r#"a word each: ["env", "sh", "-c"]"#),
    ] {
        let told = told_of(&format!("{recipe}shell = {shell}\n"));
        assert_eq!(help(&told), words, "{told}");
    }
    let told = told_of(&format!("{recipe}shell = \"bash\"\n"));
    assert_eq!(help(&told), r#"write it as a list, a word each: ["bash", "-c"]"#, "{told}");
    for (shell, words) in
        [(r#"["/bin/sh", "-eu"]"#, r#"say: ["/bin/sh", "-eu", "-c"]"#), (r#"["zsh"]"#, r#"say: ["zsh", "-c"]"#)]
    {
        assert_eq!(help(&told_of(&format!("{recipe}shell = {shell}\n"))), words);
    }
    let told = told_of(
        r#"[dataset.a]
path = "a"
run = ["python3 -u", "a.py"]
"#,
    );
    assert_eq!(
        help(&told),
        r#"a word each: ["python3", "-u", "a.py"], or all of it as a text for the shell"#,
        "{told}"
    );
    // A path may have a space in it.
    let project = Project::empty();
    project.write(
        "pipeline.toml",
        format!("[pipeline]\nformat = 1\nname = \"p\"\n{recipe}shell = [\"/opt/my tools/sh\", \"-c\"]\n"),
    );
    project.expect(0, &["check"]);
}

#[test]
fn a_glob_in_the_place_of_a_path() {
    let way_out = "a path is one file or folder, and no glob: name the folder, path = \"data\"";
    let told = told_of("[dataset.a]\npath = \"a\"\ninputs = [\"data/*.csv\"]\nrun = \"true\"\n");
    assert_eq!(help(&told), way_out, "{told}");
    let project = Project::new(
        "[dataset.s]\npath = \"data/*.csv\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"true\"\n",
    );
    for said in [project.expect(0, &["check"]).out, project.expect(2, &["run"]).err] {
        assert_eq!(help(&said), way_out, "{said}");
    }
}

#[test]
fn what_is_offered_for_a_key_is_of_its_type() {
    let told = told_of("[dataset.a]\npath = \"a\"\nrun = \"true\"\nretry = { maxx = 2 }\n");
    assert!(told.contains("help: add it: max = 1\n"), "{told}");
    let told = told_of("[dataset.a]\npath = \"a\"\nrun = \"true\"\nretry = { max = 1, on = [{}] }\n");
    assert!(told.contains("help: add it: text = \"…\"\n"), "{told}");
    let told = self::told("[pipeline]\n[dataset.a]\npath = \"a\"\n");
    assert!(told.contains("help: add it: format = 1\n"), "{told}");
}

#[test]
fn a_task_that_is_to_have_an_output() {
    for key in ["path = \"a\"", "outputs = [\"a\"]"] {
        let told = told_of(&format!("[task.t]\nrun = \"true\"\n{key}\n"));
        let way_out =
            "a task has no output: what makes a file is a [dataset.NAME], what makes a folder a [folder.NAME]";
        assert_eq!(help(&told), way_out, "{told}");
    }
}

#[test]
fn a_secret_that_is_missing_is_shown_where_it_is_named() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = \"true\"\n[dataset.a.secrets]\nA = { file = \"nothing\" }\nB = { env = \"NOTHING\" }\n",
    );
    let said = project.expect(2, &["run"]).err;
    for line in ["[pipeline.toml:10:1]", "[pipeline.toml:11:1]"] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[test]
fn the_braces_of_snakemake_are_warned_of() {
    let project = Project::new(
        "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"cp {input} ${output}\"\n\
         [dataset.b]\npath = \"b\"\nrun = \"echo x >{output}\"\n\
         [dataset.c]\npath = \"c\"\nrun = [\"touch\", \"{wildcards.day}\"]\n",
    );
    project.write("s", "x");
    let said = project.expect(0, &["check"]).out;
    for told in [
        "`{input}` of `a` is not filled in",
        "help: write `{{ inputs.s }}`",
        "`{output}` of `b` is not filled in",
        "help: write `{{ output }}`",
        "help: write `{{ vars.day }}`",
        "pipeline.toml: 3 warnings\n",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[test]
fn a_glob_that_matches_nothing_is_told_before_it_is_built_without() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\nrun = \"echo x >{{ output }}\"\nfiles = [\"src/*.pyy\", \"m.*\"]\n\
         [dataset.b]\npath = \"b\"\nrun = \"echo x >{{ output }}\"\nfiles = [\"src/*.pyy\"]\n",
    );
    project.write("m.py", "x");
    let note = "note: nothing matches `src/*.pyy` of `files`, for a, b\n";
    for arguments in [&["plan"][..], &["run", "-n"], &["run"]] {
        assert_eq!(project.expect(0, arguments).err, note, "{arguments:?}");
    }
    // What is up to date is left in peace.
    assert_eq!(project.expect(0, &["plan"]).err, "");
}

#[test]
fn what_was_taken_out_of_the_file_is_not_told_to_be_gone() {
    let text = |keys: &str| format!("[dataset.a]\npath = \"a\"\nrun = \"echo x >{{{{ output }}}}\"\n{keys}");
    let project =
        Project::new(&text("files = [\"m.py\", \"src/*.py\"]\ntools = { t = \"echo 1\" }\nenv = { A = \"1\" }\n"));
    for path in ["m.py", "n.py", "src/a.py", "src/b.py"] {
        project.write(path, "x");
    }
    project.expect(0, &["run"]);
    let plan = |keys: &str| {
        project.pipeline(&text(keys));
        project.expect(0, &["plan"]).out
    };
    let told = plan("");
    for words in [
        "no longer in `files`: m.py, src/a.py, src/b.py",
        "A \"1\" is no longer in `env`",
        "t \"1\" is no longer in `tools`",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let same = "tools = { t = \"echo 1\" }\nenv = { A = \"1\" }\n";
    let told = plan(&format!("files = [\"m.py\", \"n.py\", \"src/*.py\"]\n{same}"));
    assert!(told.contains("  added to `files`: n.py\n"), "{told}");
    std::fs::remove_file(project.path("src/b.py")).unwrap();
    let told = plan(&format!("files = [\"m.py\", \"src/*.py\"]\n{same}"));
    assert!(told.contains("  code changed: src/b.py ") && told.contains(" is gone\n"), "{told}");
    let why = project.expect(0, &["why", "a"]).out;
    assert!(why.contains("- file:src/b.py") && why.contains(", no longer part of it\n"), "{why}");
}
