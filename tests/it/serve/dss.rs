//! DSS's own client for Python, unmodified, in several versions, against a real server.

use std::path::Path;
use std::process::Command;

use super::{Server, orders};
use crate::support::Project;

/// The Python of a version of the client.
#[track_caller]
fn python(version: &str) -> Command {
    let target = Path::new(env!("CARGO_BIN_EXE_kiln")).ancestors().nth(2).unwrap();
    let python = target.join("dataiku").join(version).join("bin/python");
    assert!(
        python.exists(),
        "dataiku-api-client {version} is not installed in {}: run `tests/run --install` once",
        python.display()
    );
    Command::new(python)
}

/// Runs a scenario of `client.py` with a version of the client.
#[track_caller]
fn client(version: &str, scenario: &str) {
    let mut command = python(version);
    let project = orders();
    let server = Server::start(&project, &["--max-jobs", "4"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/serve/client.py");
    command.arg(script).args([&server.url, &server.key, scenario]).current_dir(project.path(""));
    command.env_clear().env("HOME", project.path("")).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    server.signal("TERM");
    let (code, told) = server.ended();
    assert!(output.status.success() && said == "ok\n", "{scenario} with {version}:\n{said}\nthe server: {told}");
    assert_eq!(code, 0, "{told}");
}

/// What the manual shows works as it stands there, but for the port, with the first pipeline of the README.
#[test]
fn the_manual_is_right() {
    let page = |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (manual, readme) = (page("docs/serve.md"), page("README.md"));
    let project = Project::empty();
    for (kind, file) in [("csv", "data/orders.csv"), ("toml", "pipeline.toml")] {
        let block = readme.split(&format!("```{kind}\n")).nth(1).unwrap().split("```").next().unwrap();
        project.write(file, block);
    }
    let server = Server::start(&project, &[]);
    let block = manual.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let script = block.replace("http://127.0.0.1:11200", &server.url);
    let output = python("15.2.0").arg("-c").arg(script).current_dir(project.path("")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("totals: done in "), "{output:?}");
    assert_eq!(project.read("build/totals.csv"), "ada 35\ngrace 12\n");
    let block = manual.split("```console\n$ curl").nth(1).unwrap().split("```").next().unwrap();
    let script = format!("curl -sS{}", block.replace("http://127.0.0.1:11200", &server.url));
    let output = Command::new("sh").arg("-c").arg(script).current_dir(project.path("")).output().unwrap();
    let jobs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(jobs[0]["state"], "DONE", "{output:?}");
}

macro_rules! scenarios {
    ($($module:ident $version:literal: $($scenario:ident)*;)*) => {$(
        mod $module {
            $(#[test]
            fn $scenario() {
                super::client($version, stringify!($scenario));
            })*
        }
    )*};
}

scenarios! {
    newest "15.2.0": jobs running kinds recipes graph abort failures things samples crowd;
    version_14 "14.7.5": jobs running kinds recipes graph abort failures things samples crowd;
    version_13 "13.5.6": jobs running kinds recipes graph abort failures things samples crowd;
}
