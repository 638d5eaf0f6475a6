//! What of Kiln's own environment reaches a recipe, and what of it is part of the key.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::support::{Project, started};

#[test]
fn only_what_is_listed_counts() {
    let text = "[dataset.a]\npath = \"a\"\nrun = 'env | sort >\"$KILN_OUTPUT\"'\n";
    let listed = format!("{text}env = {{ REGION = {{ env = \"REGION\" }} }}\npass = [\"AWS_*\"]\n");
    let mut project = Project::new(&listed);
    project.variable("REGION", "eu");
    project.variable("AWS_KEY", "1");
    project.variable("OTHER", "x");
    assert!(project.start(&["run"]).wait().unwrap().success());
    let seen = project.read("a");
    for line in ["AWS_KEY=1", "REGION=eu", "USER=tester", "LC_ALL=C.UTF-8", "TZ=UTC"] {
        assert!(seen.lines().any(|seen| seen == line), "{line} is missing in\n{seen}");
    }
    assert!(!seen.contains("OTHER"), "{seen}");
    project.variable("AWS_KEY", "2");
    project.variable("OTHER", "y");
    assert_eq!(started(&project.expect(0, &["run", "--events", "-"]).out), [] as [&str; 0]);
    project.variable("REGION", "us");
    let plan = project.expect(0, &["plan"]);
    assert!(plan.out.contains("env changed: REGION \"eu\"→\"us\""), "{}", plan.out);
    assert_eq!(started(&project.expect(0, &["run", "--events", "-"]).out), ["a"]);
    project.pipeline(text);
    let plan = project.expect(0, &["plan"]);
    assert!(plan.out.contains("env changed: REGION \"us\" is no longer in `env`"), "{}", plan.out);
}

#[test]
fn a_variable_that_is_no_text_is_not_taken_for_another_one() {
    let of = |from: &str| format!("[dataset.a]\npath = \"a\"\nrun = 'printf %s \"$A\" >\"$KILN_OUTPUT\"'\n{from}\n");
    let project = Project::new(&of("env = { A = { env = \"A\" } }"));
    let latin = OsStr::from_bytes(b"caf\xe9");
    let refused = project.command(&["run"]).env("A", latin).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("`env.A` takes the variable A, whose value is not UTF-8"), "{said}");
    project.pipeline(&of("pass = [\"A\"]"));
    assert!(project.command(&["run"]).env("A", latin).output().unwrap().status.success());
    assert_eq!(std::fs::read(project.path("a")).unwrap(), latin.as_bytes());
}
