//! Jobs that cannot begin: they say what `kiln run` says, and leave nothing behind.

use super::{Server, orders};
use crate::support::{HEAD, Project};

#[test]
fn mistakes_that_a_run_finds_are_told_by_the_job() {
    let project = orders();
    std::fs::remove_file(project.path("raw.csv")).unwrap();
    let said = project.expect(2, &["run", "orders"]).err;
    assert!(said.contains("source `raw` is not there"), "{said}");
    let server = Server::start(&project, &[]);
    let job = server.build("orders");
    assert_eq!(server.wait(&job), "FAILED");
    let status = server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/")).json();
    let message = status["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("pipeline.toml:") && message.contains(": source `raw` is not there"), "{message}");
    assert!(message.contains("; put the file there"), "{message}");
    let log = server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/log")).body;
    assert!(log.contains("source `raw` is not there"), "{log}");
    // Nothing is held: the next one goes through.
    project.write("raw.csv", "1\n");
    assert_eq!(server.wait(&server.build("orders")), "DONE");
}

/// What a sound file asks of its surroundings and does not find, and what is said of it.
const WRONG: [(&str, &str); 7] = [
    (
        "[dataset.s]\npath = \"s.csv\"\n[dataset.a]\npath = \"build/a\"\ninputs = [\"s\"]\nrun = \"cat {{ inputs.s }} >{{ output }}\"\n",
        "source `s` is not there",
    ),
    (
        "[dataset.a]\npath = \"build/a\"\nrun = \"echo 1 >{{ output }}\"\ntools = { t = \"no-such-tool --version\" }\n",
        "no-such-tool",
    ),
    ("[dataset.a]\npath = \"build/a\"\nrun = \"echo 1 >{{ output }}\"\nfiles = [\"lib/no.awk\"]\n", "lib/no.awk"),
    (
        "[dataset.a]\npath = \"build/a\"\nrun = \"echo 1 >{{ output }}\"\nsecrets = { P = { env = \"PW\" } }\n",
        "secret `P` takes the variable PW, which is not set",
    ),
    (
        "[dataset.a]\npath = \"build/a\"\nrun = \"echo 1 >{{ output }}\"\nenv = { R = { env = \"REGION\" } }\n",
        "takes the variable REGION, which is not set",
    ),
    ("[dataset.a]\npath = \"link/a\"\nrun = \"echo 1 >{{ output }}\"\n", "`a` cannot be put in place"),
    (
        "[dataset.b]\npath = \"build/b\"\nrun = \"echo 1 >{{ output }}\"\n[dataset.a]\npath = \"build/a\"\ninputs = [\"b\"]\nrun = \"cat {{ inputs.b }} >{{ output }}\"\nsecrets = { P = { env = \"PW\" } }\n",
        "secret `P`",
    ),
];

#[test]
fn whatever_is_missing_is_told_as_by_kiln_run_and_nothing_is_made() {
    for (text, part) in WRONG {
        let project = Project::empty();
        project.write("pipeline.toml", HEAD.replace("name = \"p\"", "name = \"orders\"") + text);
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), project.path("link")).unwrap();
        let said = project.expect(2, &["run", "a"]).err;
        assert!(said.contains(part), "{part}: {said}");
        // What tools say is asked by the run itself; all else is seen before there is a state.
        assert_eq!(project.exists(".kiln"), text.contains("tools ="), "{part}");
        let before = project.tree();
        let server = Server::start(&project, &[]);
        let job = server.build("a");
        assert_eq!(server.wait(&job), "FAILED", "{part}");
        let status = server.get(&format!("/public/api/projects/ORDERS/jobs/{job}/")).json();
        let message = status["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("pipeline.toml:") && message.contains(part), "{message}");
        // What is wrong, word for word.
        let wrong = said.lines().find_map(|line| line.trim().strip_prefix("× ")).unwrap();
        assert!(message.contains(wrong), "{wrong}: {message}");
        assert_eq!(status["globalState"]["total"], 0);
        assert_eq!(project.tree(), before, "{part}");
        let left = |folder: &str| std::fs::read_dir(project.path(folder)).map_or(0, Iterator::count);
        assert_eq!((left(".kiln/staging"), left(".kiln/logs")), (0, 0), "{part}");
        // Whoever asks for the rest gets that.
        if text.contains("[dataset.b]") {
            assert_eq!(server.wait(&server.build("b")), "DONE");
        }
    }
}
