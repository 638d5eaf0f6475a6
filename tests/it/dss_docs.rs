//! docs/dss.md keeps its word: each of its command lines does what it says there, against a server that counts.

use crate::dss::{ONE, project};
use crate::dss_jobs::busy;
use crate::dss_server::{Asked, Server};
use crate::support::{Project, Said};

const PAGE: &str = include_str!("../../docs/dss.md");

fn words(line: &str) -> Vec<&str> {
    line.split('#').next().unwrap().split_whitespace().skip_while(|word| *word != "kiln").skip(1).collect()
}

/// What each line of the table does, on a server with jobs of the past and of now.
fn does(python: &str, said: &Said, server: &Server) -> bool {
    let out = &said.out;
    let asked = |end: &str| server.count(|asked| asked.path.ends_with(end));
    let aborted = || server.with(|state| state.jobs.iter().filter(|job| job.state == "ABORTED").count());
    let started = || server.with(|state| state.jobs.last().unwrap().clone());
    match python {
        "`project.list_jobs()`" => out.lines().count() == 5,
        "of those, the ones that failed between two dates" => out.contains("Build_b_2") && out.lines().count() == 2,
        "`project.list_running_jobs()`" => out.lines().count() == 3 && asked("/jobs/running/") == 1,
        "`project.start_job(definition)`" => {
            started().kind == "RECURSIVE_FORCED_BUILD" && started().key() == "orders+O2ue6CX3" && asked("/") > 0
        }
        "`project.start_job_and_wait(definition)`" => {
            started().outputs[0]["partition"] == "2026-11-01" && out.ends_with(" DONE\n")
        }
        "`job.get_status()`" => out.contains("state    RUNNING"),
        "`job.get_log()`" => out.contains("log of Build_c_4") && asked("/log") == 1,
        "a loop around `job.get_status()`" => out == "Build_c_4 DONE\n",
        "`job.abort()`" => out == "Build_a_3 ABORTED\n" && aborted() == 1,
        "`abort()` of all jobs that are not `stableState`" => aborted() == 2,
        other => panic!("nobody tests {other}"),
    }
}

#[test]
fn what_dss_documents_for_jobs_is_one_line_each() {
    let rows: Vec<(&str, &str)> = PAGE
        .lines()
        .filter(|line| line.starts_with('|') && line.contains("| `kiln jobs"))
        .map(|line| {
            let (python, kiln) = line.trim_matches('|').split_once(" | ").unwrap();
            (python.trim(), kiln.trim().trim_matches('`'))
        })
        .collect();
    assert_eq!(rows.len(), 10);
    for (python, line) in rows {
        let server = busy();
        let project = project(&server, "", ONE);
        if line.contains(" wait ") {
            server.with(|state| state.jobs[3].looks = Some(2));
        }
        let said = project.expect(0, &words(line));
        assert!(does(python, &said, &server), "{line}: {said:?}");
    }
}

/// Runs every line with a command of a block, and says which there were.
fn block(language: &str, nth: usize, project: &Project) -> Vec<String> {
    let fence = format!("```{language}\n");
    let block = PAGE.split(&fence).nth(nth).unwrap().split("```").next().unwrap();
    let lines =
        block.lines().filter(|line| line.contains("kiln ") && !line.contains("name:") && !line.contains("image:"));
    let lines: Vec<_> = lines.filter(|line| words(line).first().is_some_and(|word| *word != "and")).collect();
    let mut ran = Vec::new();
    for line in lines {
        project.expect(0, &words(line));
        ran.push(words(line).join(" "));
    }
    ran
}

#[test]
fn the_jobs_of_ci_do_what_they_say() {
    for nth in [1, 2] {
        let server = Server::start();
        server.with(|state| {
            let graph = r#"{"nodes":{"a":{"type":"COMPUTABLE_DATASET","ref":"a","predecessors":["r"],"successors":[]},
                "r":{"type":"RUNNABLE_RECIPE","ref":"r","predecessors":[],"successors":["a"]}}}"#;
            for (what, text) in [
                ("flow/graph/", graph),
                ("datasets/", r#"[{"name":"a"}]"#),
                ("managedfolders/", "[]"),
                ("savedmodels/", "[]"),
            ] {
                state.pages.insert(format!("/projects/P/{what}"), text.to_owned());
            }
        });
        let ran = block("yaml", nth, &project(&server, "", ONE));
        assert!(ran.iter().any(|line| line == "check --engine prod"), "{ran:?}");
        assert!(ran.iter().any(|line| line.starts_with("run --engine prod")), "{ran:?}");
        assert_eq!(server.count(Asked::is_start), 1, "{ran:?}");
    }
}
