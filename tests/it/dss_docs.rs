//! docs/dss.md keeps its word: each of its command lines does what it says there, against a server that counts.

use std::collections::BTreeSet;

use clap::CommandFactory;

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

/// The blocks of a language, without the space before them where they stand in a list.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let block = |rest: &str| {
        let block = rest.split("```").next().unwrap();
        let margin =
            block.lines().filter(|line| !line.is_empty()).map(|line| line.len() - line.trim_start().len()).min();
        block.lines().map(|line| line.get(margin.unwrap_or(0)..).unwrap_or_default().to_owned() + "\n").collect()
    };
    PAGE.split(&fence).skip(1).map(block).collect()
}

/// A server with the project of the page: its flow is what the file of the page says.
fn orders() -> Server {
    let server = Server::start();
    server.with(|state| {
        let node = |kind: &str, id: &str, before: &str, behind: &str| {
            format!(r#""{id}":{{"type":"{kind}","ref":"{id}","predecessors":[{before}],"successors":[{behind}]}}"#)
        };
        let nodes = [
            node("COMPUTABLE_DATASET", "raw_orders", "", r#""clean""#),
            node("RUNNABLE_RECIPE", "clean", r#""raw_orders""#, r#""orders""#),
            node("COMPUTABLE_DATASET", "orders", r#""clean""#, r#""draw""#),
            node("RUNNABLE_RECIPE", "draw", r#""orders""#, r#""O2ue6CX3""#),
            node("COMPUTABLE_FOLDER", "O2ue6CX3", r#""draw""#, ""),
        ];
        let mut page = |what: &str, text: String| state.pages.insert(format!("/projects/ORDERS/{what}/"), text);
        page("flow/graph", format!(r#"{{"nodes":{{{}}}}}"#, nodes.join(",")));
        page("datasets", r#"[{"name":"raw_orders"},{"name":"orders"}]"#.to_owned());
        page("managedfolders", r#"[{"id":"O2ue6CX3","name":"charts"}]"#.to_owned());
        page("savedmodels", "[]".to_owned());
    });
    server
}

#[test]
fn from_zero_to_a_build_as_the_page_says() {
    let server = orders();
    let url = format!("http://127.0.0.1:{}", server.port);
    let mut project = Project::empty();
    project.variable("DSS_API_KEY", "s3cret-key");
    project.variable("KILN_TEST_POLL", "10ms");
    // The file that Kiln writes.
    let fence = blocks("");
    let lines: Vec<&str> = fence.iter().flat_map(|block| block.lines()).collect();
    let import = lines.iter().find(|line| line.contains("import")).unwrap();
    let export = lines.iter().find(|line| line.starts_with("export DKU_DSS_URL=")).unwrap();
    let script = format!("{export}\n{import}\n").replace("https://dss.example.com", &url);
    let kiln = crate::support::program();
    let script = script.replace("\nkiln ", &format!("\n{} ", kiln.to_str().unwrap()));
    let mut command = std::process::Command::new("sh");
    command.args(["-euc", &script]).current_dir(project.path("")).env_clear();
    command.env("HOME", project.path("")).env("DSS_API_KEY", "s3cret-key");
    assert!(command.status().unwrap().success(), "{script}");
    let imported = project.read("pipeline.toml");
    project.variable("DKU_API_KEY", "s3cret-key");
    project.expect(0, &["check", "--engine", "prod"]);
    // The file of the page: both say the same of the project.
    let file = &blocks("toml")[0];
    project.write("pipeline.toml", file.replace("https://dss.example.com", &url));
    let steps = PAGE.split("3. **Check.**").nth(1).unwrap().split("## ").next().unwrap();
    let commands: Vec<&str> = steps.split('`').filter(|text| text.starts_with("kiln ")).collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    for line in commands {
        let before = server.count(Asked::is_start);
        project.expect(0, &words(line));
        let expected = if line.contains("run") { 2 } else { 0 };
        let started = server.count(Asked::is_start) - before;
        assert_eq!(started, expected, "{line}");
    }
    for node in ["[dataset.raw_orders]", "[dataset.orders]", "[folder.charts]", "id = \"O2ue6CX3\"", "kind = \"dss\""] {
        assert!(imported.contains(node) && file.contains(node), "{node}: {imported}");
    }
}

#[test]
fn every_file_and_every_command_of_the_page_is_understood() {
    for file in blocks("toml") {
        let project = Project::empty();
        project.write("pipeline.toml", &file);
        project.expect(0, &["check"]);
    }
    let code = PAGE.split('`').skip(1).step_by(2).filter(|text| text.starts_with("kiln "));
    let fenced = PAGE.lines().filter(|line| line.trim_start().starts_with("kiln ") || line.contains("- kiln "));
    let mut understood = 0;
    for line in code.chain(fenced) {
        let arguments = words(line.split(" > ").next().unwrap());
        let said = kiln::cli::args::Cli::command().try_get_matches_from(std::iter::once("kiln").chain(arguments));
        assert!(said.is_ok(), "{line}: {}", said.unwrap_err());
        understood += 1;
    }
    assert!(understood > 15, "{understood} commands were found");
}

#[test]
fn the_table_of_keys_is_that_of_the_file() {
    let schema = include_str!("../../schemas/pipeline.schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    let known: BTreeSet<&str> =
        schema.pointer("/$defs/RawDss/properties").unwrap().as_object().unwrap().keys().map(String::as_str).collect();
    let table = PAGE.split("## Keys of `[engine.NAME]`").nth(1).unwrap().split("## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').nth(1).unwrap());
    let told: BTreeSet<&str> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).chain(["kind"]).collect();
    assert_eq!(told, known);
    // Each default may be written out.
    let mut file = blocks("toml")[0].clone();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(default) = cells[2].strip_prefix('`').and_then(|cell| cell.split('`').next()) else { continue };
        for key in cells[1].split('`').skip(1).step_by(2).filter(|key| !["url", "api_key", "jwt"].contains(key)) {
            let word = default.starts_with('"') || ["true", "false"].contains(&default);
            let value = if word { default.to_owned() } else { format!("{default:?}") };
            file = file.replacen("kind = \"dss\"", &format!("kind = \"dss\"\n{key} = {value}"), 1);
        }
    }
    assert!(file.matches(" = ").count() > 15, "{file}");
    let project = Project::empty();
    project.write("pipeline.toml", file);
    project.expect(0, &["check"]);
}

/// A block as YAML; none where no Python with a reader of YAML is there.
fn yaml(block: &str) -> Option<serde_json::Value> {
    // Whatever reads it: no tabs, and every bracket has its other half.
    assert!(!block.contains('\t'), "{block}");
    for line in block.lines() {
        for (open, close) in [('{', '}'), ('[', ']')] {
            assert_eq!(line.matches(open).count(), line.matches(close).count(), "{line}");
        }
    }
    let reader =
        "import json, sys, yaml; print(json.dumps({str(k): v for k, v in yaml.safe_load(sys.argv[1]).items()}))";
    let read = std::process::Command::new("python3").args(["-c", reader, block]).output().ok()?;
    let why = String::from_utf8_lossy(&read.stderr);
    if why.contains("No module named") {
        return None;
    }
    assert!(read.status.success(), "{why}\n{block}");
    Some(serde_json::from_slice(&read.stdout).unwrap())
}

#[test]
fn the_files_of_ci_are_sound() {
    let [gitlab, github] = &blocks("yaml")[..] else { panic!("there are two") };
    let run = "exec kiln run --engine prod --events events.jsonl";
    if let Some(file) = yaml(gitlab) {
        let stages: Vec<&str> =
            file["stages"].as_array().unwrap().iter().map(|stage| stage.as_str().unwrap()).collect();
        for job in ["check", "build"] {
            assert!(stages.contains(&file[job]["stage"].as_str().unwrap()), "{job}");
        }
        let script = file["build"]["script"].as_array().unwrap();
        assert_eq!(script.last().unwrap(), run);
        assert_eq!(file["build"]["cache"]["paths"], serde_json::json!([".kiln"]));
        assert_eq!(file["build"]["cache"]["when"], "always", "also a run that failed or was cut off is gone on with");
    }
    if let Some(file) = yaml(github) {
        let job = &file["jobs"]["build"];
        assert_eq!(job["env"]["DSS_API_KEY"], "${{ secrets.DSS_API_KEY }}");
        let steps = job["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["run"] == run).unwrap();
        assert_eq!(step["if"], "github.event_name == 'push'");
        let cached =
            |what: &str| steps.iter().find(|step| step["uses"].as_str().is_some_and(|uses| uses.contains(what)));
        assert_eq!(cached("cache/restore").unwrap()["with"]["path"], ".kiln");
        assert_eq!(cached("cache/save").unwrap()["if"], "always()");
        assert_eq!(cached("cache/save").unwrap()["with"]["key"], cached("cache/restore").unwrap()["with"]["key"]);
    }
    for key in ["$CI_PIPELINE_SOURCE", "resource_group: orders", "interruptible: false"] {
        assert!(gitlab.contains(key), "{key}");
    }
    assert!(github.contains("cancel-in-progress: false"));
}
