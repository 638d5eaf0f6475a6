//! Files where folders were or are to be, and the other way round: what was not built so is kept, and plans say so.

use crate::replaced::kept;
use crate::support::Project;

#[test]
fn a_plan_says_that_something_of_another_kind_is_kept() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = \"echo 1 >{{ output }}\"\n");
    project.expect(0, &["run"]);
    project.pipeline("[folder.a]\npath = \"a\"\nrun = \"echo 1 >{{ output }}/x\"\n");
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("replaces what is there: a") && plan.contains("output of another kind: a"), "{plan}");
    // Whatever it is built for.
    let plan = project.expect(0, &["plan", "--mode", "forced"]).out;
    assert!(plan.contains("asked for: --mode forced; replaces what is there: a"), "{plan}");
    project.expect(0, &["run"]);
    assert_eq!(project.read(&format!("{}/a", kept(&project))), "1\n");
}

/// A name tells no kind: what is gone or new under one has none to compare with.
#[test]
fn an_output_with_another_name_is_not_of_another_kind() {
    let text = |name: &str| {
        format!(
            "[folder.{name}]\npath = \"a\"\n[recipe.r]\noutputs = [\"{name}\"]\nrun = \"echo 1 >{{{{ output }}}}/x\"\n"
        )
    };
    let project = Project::new(&text("a"));
    project.expect(0, &["run"]);
    project.pipeline(&text("b"));
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("output moved: a \"folder a\" is no longer an output"), "{plan}");
    assert!(!plan.contains("another kind"), "{plan}");
}

/// A path may begin with the word for a kind.
#[test]
fn a_path_tells_no_kind() {
    let text = |path: &str| format!("[dataset.a]\npath = \"{path}\"\nrun = \"echo 1 >{{{{ output }}}}\"\n");
    let project = Project::new(&text("folder x/a"));
    project.expect(0, &["run"]);
    project.pipeline(&text("b/a"));
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("output moved: a \"folder x/a\"→\"b/a\""), "{plan}");
    // Only what somebody else has put there is kept.
    project.write("b/a", "1\n");
    project.expect(0, &["run"]);
    project.pipeline(&text("folder x/a"));
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("output moved: a") && !plan.contains("another kind"), "{plan}");
}

/// Whichever of the three is a folder: what was built, what stands there now and is somebody's, what is to be there.
#[test]
fn what_is_of_another_kind_than_was_built_is_kept() {
    let text = |kind: &str, in_place: bool| {
        let run =
            if kind == "folder" { "mkdir -p {{ output }}; echo 1 >{{ output }}/f" } else { "echo 1 >{{ output }}" };
        format!("[{kind}.b]\npath = \"o/b\"\nin_place = {in_place}\nrun = \"{run}\"\n")
    };
    let kinds = ["dataset", "folder"];
    let all = kinds.iter().flat_map(|built| kinds.map(|stands| (*built, stands)));
    let all = all.flat_map(|(built, stands)| kinds.map(|now| (built, stands, now)));
    for (built, stands, now) in all.filter(|(built, stands, now)| built != stands || built != now) {
        for (in_place, mode) in [(false, "smart"), (true, "smart"), (false, "forced"), (true, "forced")] {
            let case = format!("{built}, {stands}, {now}, in_place = {in_place}, {mode}");
            let project = Project::new(&text(built, in_place));
            project.expect(0, &["run"]);
            std::process::Command::new("rm").args(["-rf", "o/b"]).current_dir(project.path("")).status().unwrap();
            let mine = if stands == "folder" { "o/b/mine" } else { "o/b" };
            project.write(mine, "precious\n");
            project.pipeline(&text(now, in_place));
            let plan = project.expect(0, &["plan", "--mode", mode]).out;
            assert!(built == now || plan.contains("replaces what is there: o/b"), "{case}: {plan}");
            let run = project.expect(0, &["run", "--mode", mode]).out;
            let kept = kept(&project);
            assert!(run.contains(&format!("kept what was at o/b in {kept}/o/b")), "{case}: {run}");
            assert_eq!(project.read(&format!("{kept}/{mine}")), "precious\n", "{case}");
        }
    }
}
