//! What is advised for a slip is right: whoever follows it is understood.

use crate::support::Project;

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
