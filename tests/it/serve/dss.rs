//! DSS's own client for Python, unmodified, in several versions, against a real server.

use std::path::Path;
use std::process::Command;

use super::{Server, orders};

/// Runs a scenario of `client.py` with a version of the client.
#[track_caller]
fn client(version: &str, scenario: &str) {
    let target = Path::new(env!("CARGO_BIN_EXE_kiln")).ancestors().nth(2).unwrap();
    let python = target.join("dataiku").join(version).join("bin/python");
    assert!(
        python.exists(),
        "dataiku-api-client {version} is not installed in {}: run `tests/run --install` once",
        python.display()
    );
    let project = orders();
    let server = Server::start(&project, &["--max-jobs", "4"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/serve/client.py");
    let mut command = Command::new(python);
    command.arg(script).args([&server.url, &server.key, scenario]).current_dir(project.path(""));
    command.env_clear().env("HOME", project.path("")).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    server.signal("TERM");
    let (code, told) = server.ended();
    assert!(output.status.success() && said == "ok\n", "{scenario} with {version}:\n{said}\nthe server: {told}");
    assert_eq!(code, 0, "{told}");
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
    newest "15.2.0": jobs running kinds recipes graph abort failures things crowd;
    version_14 "14.7.5": jobs running kinds recipes graph abort failures things crowd;
    version_13 "13.5.6": jobs running kinds recipes graph abort failures things crowd;
}
