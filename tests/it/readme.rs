//! The pages for people keep their word: commands, links, examples.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::Project;

/// The programs of POSIX that the examples may use; no bash, no Python, nothing of GNU.
const POSIX: [&str; 28] = [
    "sh", "awk", "basename", "cat", "cmp", "cp", "cut", "date", "diff", "dirname", "env", "expr", "find", "grep",
    "head", "ls", "mkdir", "mv", "printf", "rm", "sed", "sort", "tail", "tee", "touch", "tr", "uniq", "wc",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn readme() -> String {
    page(&root().join("README.md"))
}

/// A folder with nothing but POSIX's programs in it.
fn posix(project: &Project) -> PathBuf {
    let bin = project.path("bin");
    fs::create_dir(&bin).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for name in POSIX {
        let program = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file());
        symlink(program.unwrap_or_else(|| panic!("there is no {name}")), bin.join(name)).unwrap();
    }
    bin
}

/// The blocks of a page in a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let begin = format!("\n```{language}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n").collect()
}

/// All pages, by their paths from the root.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "pipelines", "tests", "benches"] {
        let Ok(entries) = fs::read_dir(root().join(folder)) else { continue };
        let paths = entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name()));
        pages.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages.sort();
    assert!(pages.contains(&PathBuf::from("README.md")) && pages.contains(&PathBuf::from("ARCHITECTURE.md")));
    pages
}

#[test]
fn the_first_command_needs_only_a_shell_and_posix() {
    let text = readme();
    let command = blocks(&text, "sh").concat();
    let arguments = command.lines().find_map(|line| line.strip_prefix("cargo run --release -- ")).unwrap();
    let mut project = Project::empty();
    crate::support::copy(&root().join("pipelines"), &project.path("pipelines"));
    let bin = posix(&project);
    project.variable("PATH", bin.to_str().unwrap());
    project.expect(0, &arguments.split_whitespace().collect::<Vec<_>>());
    let page = text.split("Open `").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
    assert!(project.read(page).contains("<svg"), "{page} has no chart");
}

#[test]
fn the_second_command_is_there() {
    let text = readme();
    assert!(blocks(&text, "sh").iter().any(|block| block == "tests/run --install\n"));
    assert!(page(&root().join("tests/run")).contains("--install"));
}

/// The number of cores differs.
fn without_cores(plan: &str) -> String {
    let (before, after) = plan.split_once(" at -j").unwrap();
    format!("{before} at -j{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[test]
fn the_first_pipeline_does_what_is_said() {
    let text = readme();
    let mut project = Project::empty();
    project.write("data/orders.csv", &blocks(&text, "csv")[0]);
    project.write("pipeline.toml", &blocks(&text, "toml")[0]);
    let bin = posix(&project);
    project.variable("PATH", bin.to_str().unwrap());
    project.expect(0, &["check"]);
    let plan = project.expect(0, &["plan"]).out;
    let shown = blocks(&text, "console")[0].clone();
    let shown = shown.strip_prefix("$ kiln plan\n").unwrap();
    assert_eq!(without_cores(&plan), without_cores(shown));
    assert!(project.expect(0, &["run"]).out.contains("3 built"));
    assert_eq!(project.read("build/totals.csv"), "ada 35\ngrace 12\n");
    assert_eq!(project.expect(0, &["jobs", "log", "last", "send"]).out.lines().count(), 2);
    assert!(project.expect(0, &["run"]).out.contains("nothing to do · 3 up to date"));
    let plan = project.expect(0, &["plan", "--var", "least=20"]).out;
    assert!(plan.contains("build  letters") && plan.contains("\"10\"→\"20\"") && !plan.contains("totals  "), "{plan}");
}

#[test]
fn every_example_in_the_pages_is_sound() {
    for path in pages() {
        for block in blocks(&page(&root().join(&path)), "toml").iter().filter(|block| block.contains("[pipeline]")) {
            let project = Project::empty();
            project.write("pipeline.toml", block);
            let said = project.kiln(&["check"]);
            assert_eq!(said.code, 0, "{}:\n{block}\n{}", path.display(), said.out);
        }
    }
}

#[test]
fn links_point_to_what_is_there() {
    for path in pages() {
        let text = page(&root().join(&path));
        let targets = text.split("](").skip(1).map(|rest| rest.split([')', ' ']).next().unwrap());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { root().join(&path) } else { root().join(&path).parent().unwrap().join(file) };
            assert!(file.exists(), "{}: {target} is not there", path.display());
            let anchors =
                |text: &str| text.lines().filter(|line| line.starts_with('#')).map(anchor_of).collect::<Vec<_>>();
            let found = anchor.is_empty() || anchors(&page(&file)).iter().any(|other| other == anchor);
            assert!(found, "{}: {target} has no such heading", path.display());
        }
    }
}

/// How a heading is linked to.
fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words.replace(' ', "-").chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

#[test]
fn the_commands_that_are_named_exist() {
    let project = Project::empty();
    let known = |arguments: &[&str]| -> BTreeSet<String> {
        let help = project.expect(0, arguments).out;
        let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
        commands.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    };
    let (commands, jobs) = (known(&["-h"]), known(&["jobs", "-h"]));
    assert!(commands.contains("run") && jobs.contains("list"), "{commands:?} {jobs:?}");
    for path in pages() {
        let text = page(&root().join(&path));
        for (at, name) in text.match_indices("kiln ") {
            let (before, rest) = (&text[..at], &text[at + name.len()..]);
            if !before.ends_with(['`', '\n', '$', ' ']) || before.ends_with("the ") {
                continue;
            }
            let mut words =
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| !word.is_empty());
            let Some(word) = words.next().filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) else { continue };
            assert!(commands.contains(word), "{}: there is no `kiln {word}`", path.display());
            if let Some(next) =
                words.next().filter(|next| word == "jobs" && rest.starts_with("jobs ") && !next.starts_with('-'))
            {
                assert!(jobs.contains(next), "{}: there is no `kiln jobs {next}`", path.display());
            }
        }
    }
}

/// The scripts of the guide's project, as short as they can be: each reads what its stage depends on.
const STAGES: [(&str, &str); 4] = [
    (
        "prepare",
        "import os, sys\nparams = open('params.yaml').read()\nos.makedirs('data/prepared', exist_ok=True)\n\
         open('data/prepared/train.tsv', 'w').write(open(sys.argv[1]).read().upper())\n",
    ),
    (
        "featurization",
        "import os, sys\nparams = open('params.yaml').read()\nos.makedirs(sys.argv[2], exist_ok=True)\n\
         open(sys.argv[2] + '/train.txt', 'w').write(open(sys.argv[1] + '/train.tsv').read()[::-1])\n",
    ),
    (
        "train",
        "import sys\nlines = open('params.yaml').read() + open(sys.argv[1] + '/train.txt').read()\n\
         open(sys.argv[2], 'w').write(str(len(lines)))\n",
    ),
    (
        "evaluate",
        "import os, sys\nos.makedirs('eval', exist_ok=True)\n\
         open('eval/metrics.json', 'w').write(open(sys.argv[1]).read() + open(sys.argv[2] + '/train.txt').read())\n",
    ),
];

#[test]
fn a_project_of_dvc_moves_by_the_guide_and_builds_nothing_again() {
    let guide = page(&root().join("docs/coming-from.md"));
    let mut project = Project::empty();
    project.write("data/data.xml", "<row Title=\"python list\"/>\n");
    project.write("params.yaml", "train:\n  seed: 1\n");
    for (name, script) in STAGES {
        project.write(&format!("src/{name}.py"), script);
    }
    fs::create_dir(project.path("bin")).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let python = std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|python| python.is_file());
    symlink(python.expect("python3"), project.path("bin/python")).unwrap();
    let path = format!("{}:{}", project.path("bin").display(), path.to_str().unwrap());
    project.variable("PATH", &path);

    // What `dvc repro` does.
    let yaml = blocks(&guide, "yaml")[0].clone();
    let commands: Vec<_> = yaml.lines().filter_map(|line| line.trim().strip_prefix("cmd: ")).collect();
    assert_eq!(commands.len(), STAGES.len());
    for command in commands {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-euc", command]).current_dir(project.path("")).env("PATH", &path);
        assert!(shell.status().unwrap().success(), "{command}");
    }

    project.write("pipeline.toml", &blocks(&guide, "toml")[0]);
    let built = project.tree();
    let moved = blocks(&guide, "sh")[0].clone();
    assert_eq!(moved, "kiln check\nkiln adopt\nkiln plan --check\n");
    for line in moved.lines() {
        let words: Vec<_> = line.split(' ').skip(1).collect();
        project.expect(0, &words);
    }
    assert!(project.expect(0, &["run"]).out.contains("nothing to do · 4 up to date"));
    assert_eq!(project.tree(), built, "nothing was touched");

    project.write("params.yaml", "train:\n  seed: 10\n");
    let said = project.expect(0, &["run"]).out;
    assert!(said.contains("2 built · 2 unchanged"), "two stages do not care: {said}");

    // With the parameters of one stage picked out, it alone of those that read the file does not care for those of others.
    let (before, picked) = guide.split_once("\n  ```toml\n").unwrap();
    assert!(before.contains("`tools`"));
    let picked: String =
        picked.split("\n  ```").next().unwrap().lines().map(|line| format!("{}\n", line.trim())).collect();
    let whole = &blocks(&guide, "toml")[0];
    let (above, below) = whole.split_once("[model.classifier]").unwrap();
    let (_, below) = below.split_once("\n[folder.eval]").unwrap();
    project.write("pipeline.toml", format!("{above}{picked}\n[folder.eval]{below}"));
    project.expect(0, &["run"]);
    project.write("params.yaml", "other: 1\ntrain:\n  seed: 10\nlast:\n  seed: 1\n");
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("2 build, 2 maybe"), "{plan}");
    project.write("params.yaml", "other: 1\ntrain:\n  seed: 11\nlast:\n  seed: 1\n");
    let plan = project.expect(0, &["plan", "classifier"]).out;
    assert!(plan.contains("  tool changed: params \"train:   seed: 10\"→\"train:   seed: 11\"\n"), "{plan}");
}
