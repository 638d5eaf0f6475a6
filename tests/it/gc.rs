//! `kiln gc`: what it says, what is left, and that nothing has to be built again.

use crate::support::Project;

fn runs(project: &Project) -> usize {
    let list = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    serde_json::from_str::<Vec<serde_json::Value>>(&list).unwrap().len()
}

#[test]
fn old_runs_go_and_nothing_is_built_again() {
    let project = Project::new(
        "[vars]\nx = \"0\"\n[dataset.a]\npath = \"a\"\nrun = \"echo {{ vars.x }} | tee {{ output }}\"\n\
         [dataset.b]\npath = \"b\"\nrun = \"echo b > {{ output }}\"\n",
    );
    for x in 0..5 {
        project.expect(0, &["run", "--var", &format!("x={x}")]);
    }
    // The first run made the `b` that stands, the last one the `a`; the three between may go.
    let dry = project.expect(0, &["gc", "--keep-days", "0", "--keep-runs", "0", "--dry-run"]).out;
    assert!(dry.starts_with("would remove 3 runs, the newest of "), "{dry}");
    let list = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    let ids: String = list[1..4].iter().rev().map(|job| format!("  {}\n", job["id"].as_str().unwrap())).collect();
    assert!(dry.contains(&format!(" B\n{ids}2 left")) || dry.contains(&format!("kB\n{ids}2 left")), "{dry}");
    assert!(dry.ends_with("\n2 left, of which 2 hold last good builds\n"), "{dry}");
    assert_eq!((runs(&project), std::fs::read_dir(project.path(".kiln/logs")).unwrap().count()), (5, 5));
    let said = project.expect(0, &["gc", "--keep-days", "0", "--keep-runs", "0"]).out;
    assert_eq!(said, dry.replace("would remove", "removed"));
    assert_eq!((runs(&project), std::fs::read_dir(project.path(".kiln/logs")).unwrap().count()), (2, 2));
    project.expect(0, &["plan", "--check", "--var", "x=4"]);
    let said = project.expect(0, &["gc", "--max-bytes", "1"]).out;
    assert!(
        said.ends_with("more than 1 B: what holds last good builds, goes on or is the newest run stays\n"),
        "{said}"
    );
    let said = project.expect(2, &["gc", "--keep-days", "-1"]);
    assert!(said.err.contains("invalid value '-1' for '--keep-days <N>'"), "{}", said.err);
    let said = project.expect(2, &["gc", "--max-bytes", "much"]);
    assert!(said.err.contains("`much` does not begin with a number"), "{}", said.err);
}

#[test]
fn without_a_history_there_is_nothing_to_keep() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = \"true > {{ output }}\"\n");
    assert_eq!(project.expect(0, &["gc"]).out, "removed no runs\n0 left\n");
    assert!(!project.exists(".kiln"));
}
