//! A project in a folder of its own, and the real program run in it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The beginning of a pipeline file.
pub(crate) const HEAD: &str = "[pipeline]\nformat = 1\nname = \"p\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n";
/// What a plan that is refused says before the mistakes that a run of it would be refused for, too.
pub(crate) const ALL_THE_SAME: &str = "note: with -k the plan is shown all the same, with what cannot be built\n";

/// A folder with a pipeline.
pub(crate) struct Project {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

/// The program: the one that was built with the tests, or the one that `KILN_BIN` names.
pub(crate) fn program() -> OsString {
    std::env::var_os("KILN_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_kiln").into())
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

impl Project {
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// With `pipeline.toml`: [`HEAD`] and `text`.
    pub(crate) fn new(text: &str) -> Self {
        let project = Self::empty();
        project.pipeline(text);
        project
    }

    /// Writes `pipeline.toml`: [`HEAD`] and `text`.
    pub(crate) fn pipeline(&self, text: &str) {
        self.write("pipeline.toml", format!("{HEAD}{text}"));
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    #[track_caller]
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Sets a variable for all that is run from now on.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The program with arguments, not started yet; its environment holds only what a test has set.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(self.dir.path()).env_clear();
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env("PATH", path)
            .env("TZ", "UTC")
            .env("HOME", self.dir.path())
            .env("USER", "tester")
            .env("COLUMNS", "100");
        command.envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn kiln(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        let code = output.status.code().unwrap_or(-1);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { out: text(output.stdout), err: text(output.stderr), code }
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Runs the program and wants it to end with `code`.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, arguments: &[&str]) -> Said {
        let said = self.kiln(arguments);
        assert_eq!(said.code, code, "kiln {arguments:?}\n{}\n{}", said.out, said.err);
        said
    }

    /// All files and folders below the root but the state, with the contents of files, in order.
    pub(crate) fn tree(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        walk(self.dir.path(), self.dir.path(), &mut all);
        all.sort();
        all
    }
}

fn walk(root: &Path, folder: &Path, all: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if name == ".kiln" {
            continue;
        }
        if path.is_dir() {
            all.push((format!("{name}/"), String::new()));
            walk(root, &path, all);
        } else {
            all.push((name, String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()));
        }
    }
}

/// The steps that a run built or found failed, in order of their names, from its events.
pub(crate) fn started(events: &str) -> Vec<String> {
    let mut steps: Vec<_> = lines(events)
        .into_iter()
        .filter(|event| event["type"] == "step_started")
        .map(|event| event["step"].as_str().unwrap().to_owned())
        .collect();
    steps.sort();
    steps
}

/// JSON lines.
pub(crate) fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}
