//! The schemas: what Kiln reads and writes fits them, and they refuse what the reader refuses.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Project, lines};

fn schema(what: &str) -> jsonschema::Validator {
    let text = Project::empty().expect(0, &["schema", what]).out;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = fs::read_to_string(repository.join(format!("schemas/{what}.schema.json"))).unwrap();
    assert_eq!(committed, text, "write it anew: kiln schema {what} >schemas/{what}.schema.json");
    jsonschema::draft202012::new(&serde_json::from_str(&text).unwrap()).unwrap()
}

#[track_caller]
fn fits(schema: &jsonschema::Validator, value: &Value, what: &str) {
    let wrong: Vec<_> = schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{what}\n{}", wrong.join("\n"));
}

fn json(toml: &str) -> Value {
    serde_json::to_value(toml.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}\n{toml}"))).unwrap()
}

/// Files of a folder and below it that end so.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

/// What stands between a line with three backticks and `toml` and the next one with three backticks.
fn toml_blocks(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<Vec<&str>> = None;
    for line in markdown.lines() {
        match (&mut block, line.trim()) {
            (None, "```toml") => block = Some(Vec::new()),
            (None, _) => {}
            (Some(lines), "```") => blocks.push(std::mem::take(lines).join("\n") + "\n"),
            (Some(lines), _) => lines.push(line),
        }
        if line.trim() == "```" {
            block = None;
        }
    }
    blocks
}

#[test]
fn what_ships_and_what_the_docs_say_fits() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut whole = Vec::new();
    files(&repository.join("pipelines"), ".toml", &mut whole);
    whole.push(repository.join("src/cli/init.toml"));
    assert!(whole.len() >= 3, "{whole:?}");
    let read = |path: &PathBuf| (path.display().to_string(), fs::read_to_string(path).unwrap());
    let mut texts: Vec<_> = whole.iter().map(read).collect();
    let mut pages = Vec::new();
    files(&repository.join("docs"), ".md", &mut pages);
    let top = ["README.md", "ARCHITECTURE.md", "pipelines/README.md"].map(|page| repository.join(page));
    pages.extend(top.into_iter().filter(|page| page.exists()));
    for (page, text) in pages.iter().map(read) {
        texts.extend(toml_blocks(&text).into_iter().map(|block| (page.clone(), block)));
    }
    let schema = schema("pipeline");
    let project = Project::empty();
    for (name, text) in texts {
        if text.contains("[pipeline]") {
            fits(&schema, &json(&text), &name);
            project.write("conf/pipelines/x.toml", &text);
            let said = project.kiln(&["check", "conf/pipelines/x.toml"]);
            assert_eq!(said.code, 0, "{name}\n{}{}", said.out, said.err);
        } else {
            fits(&schema, &json(&format!("[pipeline]\nformat = 1\nname = \"p\"\n{text}")), &name);
        }
    }
}

#[test]
fn plans_and_events_fit() {
    let project = Project::new(
        "[vars]\nx = 1\n[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"cat {{ inputs.s }} >{{ output }}; echo {{ vars.x }}\"\n\
         tools = { t = \"echo 1\" }\n[folder.f]\npath = \"f\"\ninputs = [\"a\"]\nrun = \"exit 3\"\n[task.t]\ninputs = [\"f\"]\nrun = \"true\"\n[model.m]\ninputs = [\"a\"]\n",
    );
    project.write("s", "1");
    let (plan, events) = (schema("plan"), schema("events"));
    let plans = |project: &Project| {
        for arguments in [
            &["plan", "--format", "json"][..],
            &["plan", "--format", "json", "--no-probes", "--mode", "forced", "--var", "x=2"],
        ] {
            let said = project.expect(0, arguments);
            fits(&plan, &serde_json::from_str(&said.out).unwrap(), &said.out);
        }
    };
    plans(&project);
    let run = project.expect(1, &["run", "--events", "-", "--keep-going"]);
    plans(&project);
    project.write("s", "2");
    let second = project.expect(1, &["run", "--events", "-", "a", "t"]);
    for event in lines(&run.out).iter().chain(&lines(&second.out)) {
        fits(&events, event, &event.to_string());
    }
    let show = project.expect(0, &["jobs", "show", "last", "--format", "json"]);
    assert!(!show.out.is_empty());
}

/// Small documents that nobody may take: what stands below a sound head.
const REFUSED: &[&str] = &[
    "[dataset.a]\nfoo = 1",
    "[dataset.a]\npath = 1",
    "[dataset.a]\npath = \"\"",
    "[dataset.a]\npath = \"/etc/passwd\"",
    "[dataset.\"a-b\"]\npath = \"a\"",
    "[dataset.9a]\npath = \"a\"",
    "[dataset]\na = 1",
    "[dataset]\na = [\"path\"]",
    "[[dataset.a]]\npath = \"a\"",
    "[datasets.a]\npath = \"a\"",
    "[dataset.a]\nrun = \"\"",
    "[dataset.a]\nrun = []",
    "[dataset.a]\nrun = [1]",
    "[dataset.a]\nrun = { a = 1 }",
    "[dataset.a]\nrun = \"x\"\ninputs = \"a\"",
    "[dataset.a]\nrun = \"x\"\nshell = []",
    "[dataset.a]\nrun = \"x\"\nshell = \"sh\"",
    "[dataset.a]\nrun = \"x\"\nworkdir = \"/\"",
    "[dataset.a]\nrun = \"x\"\nfiles = [\"\"]",
    "[dataset.a]\nrun = \"x\"\nfiles = [\"/x\"]",
    "[dataset.a]\nrun = \"x\"\nrebuild = \"20\"",
    "[dataset.a]\nrun = \"x\"\nrebuild = \"sometimes\"",
    "[dataset.a]\nrun = \"x\"\nrebuild = \"\"",
    "[dataset.a]\nrun = \"x\"\nrebuild = 3600",
    "[dataset.a]\nrun = \"x\"\nenv = { A = 1 }",
    "[dataset.a]\nrun = \"x\"\nenv = { \"A=B\" = \"1\" }",
    "[dataset.a]\nrun = \"x\"\nenv = { KILN_X = \"1\" }",
    "[dataset.a]\nrun = \"x\"\nenv = { A = { file = \"x\" } }",
    "[dataset.a]\nrun = \"x\"\nenv = { A = {} }",
    "[dataset.a]\nrun = \"x\"\nsecrets = { A = \"x\" }",
    "[dataset.a]\nrun = \"x\"\nsecrets = { A = {} }",
    "[dataset.a]\nrun = \"x\"\nsecrets = { A = { env = \"A\", file = \"x\" } }",
    "[dataset.a]\nrun = \"x\"\nsecrets = { KILN_A = { env = \"A\" } }",
    "[dataset.a]\nrun = \"x\"\nin_place = \"yes\"",
    "[dataset.a]\nrun = \"x\"\ntags = \"daily\"",
    "[dataset.a]\nrun = \"x\"\ntools = [\"x\"]",
    "[dataset.a]\nrun = \"x\"\npass = \"HOME\"",
    "[recipe.r]\nrun = \"x\"",
    "[recipe.r]\nrun = \"x\"\noutputs = []",
    "[recipe.r]\nrun = \"x\"\noutputs = [\"a\"]\npath = \"x\"",
    "[task.t]\ninputs = []",
    "[task.t]\nrun = \"x\"\noutputs = [\"a\"]",
    "[task.t]\nrun = \"x\"\nin_place = true",
    "[settings]\nmax_parallel = 0",
    "[settings]\nmax_parallel = -1",
    "[settings]\nmax_parallel = 1.5",
    "[settings]\nschedule = \"stage\"",
    "[settings]\nmode = \"fast\"",
    "[settings]\nfoo = 1",
    "[defaults]\nrun = \"x\"",
    "[defaults]\nshell = []",
    "[defaults]\nrebuild = \"x\"",
    "[vars]\na = [1]",
    "[vars]\n\"a-b\" = 1",
];

/// Whole documents that nobody may take.
const REFUSED_WHOLE: &[&str] = &[
    "[dataset.a]\npath = \"a\"",
    "foo = 1\n[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = \"a\"",
    "[pipeline]\nname = \"p\"\n[dataset.a]\npath = \"a\"",
    "[pipeline]\nformat = 1\n[dataset.a]\npath = \"a\"",
    "[pipeline]\nformat = 2\nname = \"p\"\n[dataset.a]\npath = \"a\"",
    "[pipeline]\nformat = \"1\"\nname = \"p\"\n[dataset.a]\npath = \"a\"",
    "[pipeline]\nformat = 1\nname = \"a b\"\n[dataset.a]\npath = \"a\"",
    "[pipeline]\nformat = 1\nname = \"p\"\nfoo = 1\n[dataset.a]\npath = \"a\"",
    "[pipeline]\nformat = 1\nname = \"p\"\nroot = \"/\"\n[dataset.a]\npath = \"a\"",
    "pipeline = 1\n[dataset.a]\npath = \"a\"",
];

#[test]
fn what_the_reader_refuses_the_schema_refuses() {
    let schema = schema("pipeline");
    let project = Project::empty();
    let head = "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.z]\npath = \"z\"\n";
    let below = REFUSED.iter().map(|text| format!("{head}{text}\n"));
    for text in below.chain(REFUSED_WHOLE.iter().map(|text| (*text).to_owned())) {
        project.write("pipeline.toml", &text);
        assert_eq!(project.kiln(&["check"]).code, 2, "the reader takes\n{text}");
        assert!(!schema.is_valid(&json(&text)), "the schema takes\n{text}");
    }
}
