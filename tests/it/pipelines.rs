//! The pipelines that ship with Kiln, from nothing to everything and back to nothing to do.

use std::path::Path;

use crate::support::{Project, copy, started};

/// A project with the pipelines and what they need.
pub(crate) fn shipped() -> Project {
    let project = Project::empty();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines"), &project.path("pipelines"));
    project
}

#[track_caller]
fn builds_once(file: &str, outputs: &[&str]) -> Project {
    let project = shipped();
    let before = project.tree();
    project.expect(0, &["check", file]);
    let plan = project.expect(1, &["plan", "-f", file, "--check", "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.out).unwrap();
    let mut planned: Vec<_> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["id"].as_str().unwrap().to_owned()).collect();
    planned.sort();
    assert_eq!(project.tree(), before, "a plan changes nothing");
    let run = project.expect(0, &["run", "-f", file, "--events", "-"]);
    assert_eq!(started(&run.out), planned);
    for output in outputs {
        assert!(project.exists(output), "{output}");
    }
    let again = project.expect(0, &["run", "-f", file, "--events", "-"]);
    assert_eq!(started(&again.out), [] as [&str; 0]);
    project.expect(0, &["plan", "-f", file, "--check"]);
    project
}

#[test]
fn weather_is_built_once() {
    let project = builds_once("pipelines/weather.toml", &["build/weather/report.html"]);
    let charts = std::fs::read_dir(project.path("build/weather/charts")).unwrap();
    let names: Vec<_> = charts.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 6);
    assert!(names.iter().all(|name| Path::new(name).extension().is_some_and(|extension| extension == "svg")));
}

#[test]
fn penguins_are_built_once() {
    builds_once("pipelines/penguins.toml", &["build/penguins/report.html"]);
}

#[test]
fn what_comes_out_the_same_stops_there() {
    let project = builds_once("pipelines/weather.toml", &[]);
    let recipe = "pipelines/recipes/weather/monthly.awk";
    project.write(recipe, format!("{}\n# a comment\n", project.read(recipe)));
    let run = project.expect(0, &["run", "-f", "pipelines/weather.toml", "--events", "-"]);
    assert_eq!(started(&run.out), ["monthly"]);
}
