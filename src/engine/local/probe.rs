//! Commands that only look: versions of tools, digests of tables. Each is run once for all who ask the same.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::engine::api::Environment;

/// What a probe printed, or why it did not.
pub(crate) type Printed = Result<String, String>;

/// Runs probes and remembers what they printed.
#[derive(Default)]
pub(crate) struct Probes {
    printed: HashMap<(Vec<String>, String, Environment), Printed>,
}

impl Probes {
    /// What `command` prints in `shell`, less white space at both ends.
    pub(crate) fn ask(&mut self, root: &Path, shell: &[String], command: &str, env: &Environment) -> Printed {
        let question = (shell.to_vec(), command.to_owned(), env.clone());
        self.printed.entry(question).or_insert_with(|| run(root, shell, command, env)).clone()
    }
}

/// Runs one probe.
pub(crate) fn run(root: &Path, shell: &[String], command: &str, env: &Environment) -> Printed {
    let Some((program, options)) = shell.split_first() else { return Err("there is no shell".to_owned()) };
    let path = env.get("PATH").cloned().unwrap_or_default();
    let mut child = Command::new(find(program, &path).unwrap_or_else(|| program.into()));
    child.args(options).arg(command).current_dir(root).env_clear().envs(env).stdin(Stdio::null());
    let output = child.output().map_err(|error| format!("{program} could not be started: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{}: {said}", output.status))
}

/// Where a program is, searched along `path` as a shell would.
pub(crate) fn find(program: &str, path: &std::ffi::OsStr) -> Option<std::path::PathBuf> {
    if program.contains('/') {
        return None;
    }
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
