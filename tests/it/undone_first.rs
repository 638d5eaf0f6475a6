//! What a plan says of what the next run undoes or finishes first: the run does just that, and what is half-written stays known as
//! that.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::crash::kill_when_waiting;
#[cfg(feature = "failpoints")]
use crate::serve::{
    Server,
    ask::{go, up},
    orders,
};
use crate::support::{Project, lines};
use crate::undone::{in_place, killed, last, replaced};

/// What a plan says is undone first; the next run does just that.
#[track_caller]
fn undoes_as_planned(project: &Project) -> Value {
    let json: Value = serde_json::from_str(&project.expect(0, &["plan", "other", "--format", "json"]).out).unwrap();
    project.expect(0, &["run", "other"]);
    let events = lines(&project.expect(0, &["jobs", "show", "last", "--format", "json"]).out);
    assert_eq!(events[0]["put_back"], json["put_back"]);
    json["put_back"].clone()
}

#[test]
fn a_plan_says_what_is_kept_for_another_reason_too() {
    let kept = |project: &Project| format!(".kiln/replaced/{}/o/m", last(project));
    for built in [true, false] {
        // All that is left of an input may have been moved there.
        let project = killed("m", built);
        fs::remove_file(project.path("src")).unwrap();
        let kept_in = kept(&project);
        assert_eq!(undoes_as_planned(&project)[0]["kept"], kept_in, "an input is gone");
        assert_eq!(project.read(&kept_in), "ha\n");
        // Nobody knows what it was made from.
        let project = killed("m", built);
        let text = project.read("pipeline.toml").replace("[dataset.m]", "[dataset.renamed]");
        project.write("pipeline.toml", text);
        let kept_in = kept(&project);
        assert_eq!(undoes_as_planned(&project)[0]["kept"], kept_in, "its step is renamed");
        // It is older than the attempt.
        let project = in_place();
        if built {
            project.expect(0, &["run", "m"]);
        }
        project.write("mine", "mine\n");
        let text = project.read("pipeline.toml").replace("echo ha >o/m", "[ ! -e block ] || mv mine o/m");
        project.write("pipeline.toml", text);
        project.write("block", "");
        kill_when_waiting(&project, &["m"], &[]);
        let kept_in = kept(&project);
        assert_eq!(undoes_as_planned(&project)[0]["kept"], kept_in, "it was moved there");
        assert_eq!(project.read(&kept_in), "mine\n");
    }
}

#[test]
fn an_empty_folder_is_nobodys() {
    let project = killed("f", true);
    fs::remove_dir_all(project.path("o/f")).unwrap();
    fs::create_dir(project.path("o/f")).unwrap();
    assert_eq!(undoes_as_planned(&project), serde_json::json!([{ "output": "f", "last_good": true }]));
    assert_eq!(project.read("o/f/a"), "1");
}

/// It stops nothing, and what is half-written there stays known as that, should the way ever come back.
#[test]
fn where_no_way_leads_to_it_any_more_it_stays_half_written() {
    let outside = tempfile::tempdir().unwrap();
    type Block = fn(&Project, &Path);
    let blocks: [Block; 4] = [
        |project, _| project.write("o", "a file\n"),
        |project, _| symlink("nowhere", project.path("o")).unwrap(),
        |project, _| symlink("o", project.path("o")).unwrap(),
        |project, outside| symlink(outside, project.path("o")).unwrap(),
    ];
    for (i, block) in blocks.iter().enumerate() {
        for built in [true, false] {
            let project = killed("m", built);
            fs::rename(project.path("o"), project.path("was")).unwrap();
            block(&project, outside.path());
            let kept = format!(".kiln/replaced/{}/o/m", last(&project));
            let good = serde_json::json!([{ "output": "m", "last_good": true, "out": true, "kept": kept }]);
            assert_eq!(undoes_as_planned(&project), if built { good } else { Value::Null }, "{i} {built}");
            assert_eq!(replaced(&project), if built { "1" } else { "" });
            assert_eq!(undoes_as_planned(&project), Value::Null, "{i} {built}: it is told once");
            fs::remove_file(project.path("o")).unwrap();
            fs::rename(project.path("was"), project.path("o")).unwrap();
            assert_eq!(project.read("o/m"), "ha\n");
            let told = project.expect(4, &["adopt", "m"]).out;
            assert!(told.contains("a run was killed while m was written in place"), "{i} {built}: {told}");
            assert_eq!(undoes_as_planned(&project), serde_json::json!([{ "output": "m", "last_good": false }]));
            assert!(!project.exists("o/m") && !project.exists(".kiln/staging/p"), "{i} {built}");
        }
    }
}

#[test]
fn a_plan_that_is_refused_says_it_too() {
    let project = killed("m", true);
    fs::remove_file(project.path("src")).unwrap();
    let said = project.expect(2, &["plan", "m"]).err;
    let kept = format!(".kiln/replaced/{}/o/m", last(&project));
    assert!(said.contains("source `src` is not there"), "{said}");
    assert!(
        said.contains(&format!("first moves what is there to {kept} and puts its last good content back")),
        "{said}"
    );
}

/// What is told of by its name is not taken for what had that name when the run was killed.
#[test]
fn it_is_undone_whatever_is_called_so_now() {
    let project = killed("m", true);
    let text = project.read("pipeline.toml").replace("o/m", "o/x").replace("o/f\"", "o/m\"").replace("o/x\"", "o/f\"");
    project.write("pipeline.toml", text);
    let undone = undoes_as_planned(&project);
    assert_eq!((&undone[0]["output"], &undone[0]["last_good"]), (&"f".into(), &true.into()), "{undone}");
}

/// A run is killed when the first of two outputs is in place, and somebody's own file is where the second belongs.
#[cfg(feature = "failpoints")]
#[test]
fn what_was_never_put_in_place_does_not_count_as_built() {
    let text = "[dataset.a]\npath = \"o/a\"\n[dataset.b]\npath = \"o/b\"\n[recipe.r]\noutputs = [\"a\", \"b\"]\n\
        run = 'echo 1 >{{ outputs.a }}; echo 1 >{{ outputs.b }}'\n";
    for harm in ["rm -r .kiln/staging", "for f in .kiln/staging/p/*/*/b; do echo other >$f; done"] {
        let project = Project::new(text);
        project.write("o/b", "mine\n");
        let output = project.command(&["run"]).env("KILN_FAULT", "publish.place=kill@2").output().unwrap();
        assert!(!output.status.success());
        assert_eq!((project.read("o/a"), project.read("o/b")), ("1\n".to_owned(), "mine\n".to_owned()));
        let harmed = std::process::Command::new("sh").args(["-c", harm]).current_dir(project.path("")).status();
        assert!(harmed.unwrap().success());
        let plan = project.expect(0, &["plan"]).out;
        assert!(plan.contains("never built; replaces what is there: o/a") && plan.contains("o/b"), "{harm}: {plan}");
        let run = project.expect(0, &["run"]);
        assert!(run.err.contains("`r`: a run was killed while it was put in place, and o/b could not be put in place: the staged output is gone"), "{}", run.err);
        assert!(run.out.contains("kept what was at o/b in .kiln/replaced/"), "{}", run.out);
        assert!(replaced(&project).contains("mine\n"));
    }
}

/// Killed at any point of putting two outputs where somebody's files are: what was kept of them is told once, as planned.
#[cfg(feature = "failpoints")]
#[test]
fn what_was_kept_and_not_told_is_told_as_planned() {
    let text = "[dataset.a]\npath = \"o/a\"\n[dataset.b]\npath = \"o/b\"\n[recipe.r]\noutputs = [\"a\", \"b\"]\n\
        run = 'echo 1 >{{ outputs.a }}; echo 1 >{{ outputs.b }}'\n[task.other]\nrun = 'true'\n";
    for (point, placed) in [
        ("publish.place=kill@1", [false, false]),
        ("publish.kept=kill@1", [false, false]),
        ("publish.place=kill@2", [true, false]),
        ("publish.kept=kill@2", [true, false]),
        ("publish.placed=kill@1", [true, true]),
    ] {
        let project = Project::new(text);
        project.write("o/a", "mine\n");
        project.write("o/b", "mine\n");
        let output = project.command(&["run", "r"]).env("KILN_FAULT", point).output().unwrap();
        assert!(!output.status.success());
        let first = undoes_as_planned(&project);
        let told = ["a", "b"]
            .map(|name| first.as_array().unwrap().iter().filter(|one| one["output"] == name).collect::<Vec<_>>());
        for (one, placed) in told.iter().zip(placed) {
            let [one] = one.as_slice() else { panic!("{point}: {first}") };
            assert_eq!(one["placed"] == true, placed, "{point}: {first}");
            assert_eq!(project.read(one["kept"].as_str().unwrap()), "mine\n", "{point}");
        }
        assert_eq!((project.read("o/a"), project.read("o/b")), ("1\n".to_owned(), "1\n".to_owned()));
        assert!(project.expect(0, &["plan", "r"]).out.contains("1 up to date"));
    }
}

/// What was complete cannot be put where no way leads: the plan does not say that it is.
#[cfg(feature = "failpoints")]
#[test]
fn what_cannot_be_put_in_place_any_more_is_not_announced() {
    let outside = tempfile::tempdir().unwrap();
    for leads_out in [true, false] {
        let project =
            Project::new("[dataset.x]\npath = \"o/x\"\nrun = 'echo 1 >{{ output }}'\n[task.other]\nrun = 'true'\n");
        let output = project.command(&["run"]).env("KILN_FAULT", "publish.place=kill@1").output().unwrap();
        assert!(!output.status.success() && !project.exists("o/x"));
        fs::remove_dir(project.path("o")).unwrap();
        if leads_out {
            symlink(outside.path(), project.path("o")).unwrap();
        } else {
            project.write("o", "a file\n");
        }
        let said = project.expect(2, &["plan", "x"]);
        assert!(!format!("{said:?}").contains("puts it there"), "{said:?}");
        let run = project.expect(0, &["run", "other"]).err;
        let why = if leads_out { "a link leads out of the root" } else { "what is above it is no folder" };
        assert!(
            run.contains(&format!("while it was put in place, and o/x could not be put in place: {why}\n")),
            "{run}"
        );
        fs::remove_file(project.path("o")).unwrap();
        project.expect(0, &["run", "x"]);
        assert_eq!(project.read("o/x"), "1\n");
    }
}

/// Not while it is written, nor after that was cut short.
#[test]
fn what_is_half_written_is_no_source_of_another_pipeline() {
    let project = killed("m", true);
    let other = "[pipeline]\nformat = 1\nname = \"q\"\n[dataset.m]\npath = \"o/m\"\n\
        [dataset.z]\npath = \"z\"\ninputs = [\"m\"]\nrun = 'cat {{ inputs.m }} >{{ output }}'\n";
    project.write("q.toml", other);
    let folder = other.replace("[dataset.m]\npath = \"o/m\"", "[folder.m]\npath = \"o\"").replace("cat {{", "ls {{");
    let code = other.replace("inputs = [\"m\"]", "files = [\"o/*\"]").replace("cat {{ inputs.m }}", "cat o/m");
    for (text, what) in [(other, "source `m`"), (&folder, "source `m`"), (&code, "`o/*` of `files`")] {
        project.write("q.toml", text);
        for command in ["plan", "run"] {
            let said = project.expect(2, &[command, "-f", "q.toml"]).err;
            assert!(said.contains(&format!("{what} is half-written")), "{said}");
            assert!(said.contains("run `p` to its end first; the last good content of o/m"), "{said}");
        }
    }
    project.write("q.toml", other);
    project.expect(0, &["run", "-f", "pipeline.toml", "other"]);
    project.expect(0, &["run", "-f", "q.toml"]);
    assert_eq!(project.read("z"), "1");
}

/// A server is killed when what it built was about to be put in place, and another job waited behind that one: that job is the
/// last one of the history, and first waits there, then was ended by the next server.
#[cfg(feature = "failpoints")]
#[test]
fn what_a_job_had_complete_is_seen_behind_one_that_waited() {
    let mut project = orders();
    project.variable("KILN_FAULT", "publish.place=kill@1");
    let server = Server::start(&project, &[]);
    server.build("gated");
    up(&project.path("gated.up"));
    server.build("gated");
    go(&project.path("gated.go"));
    server.ended();
    project.settled();
    assert!(!project.exists("build/gated.txt"));
    project.variable("KILN_FAULT", "");
    let planned = || {
        let plan = project.expect(1, &["plan", "gated", "--check"]).out;
        assert!(plan.contains("1 up to date"), "{plan}");
        assert!(plan.contains("killed while `gated` was put in place; the next run first puts it there\n"), "{plan}");
    };
    planned();
    // The next server ends the job that waited, and puts nothing in place before a job is called.
    drop(Server::start(&project, &[]));
    planned();
    let run = project.expect(0, &["run", "gated"]);
    assert_eq!(run.err, "note: finished `gated`: a run was killed while it was put in place\n");
    assert!(run.out.contains("nothing to do"), "{}", run.out);
}
