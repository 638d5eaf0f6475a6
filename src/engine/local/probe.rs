//! Commands that only look: versions of tools, digests of tables. Each is run once for all who ask the same.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::engine::api::Environment;

/// A longer answer is cut.
const LONGEST: u64 = 16 << 20;

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

fn run(root: &Path, shell: &[String], command: &str, env: &Environment) -> Printed {
    let Some((program, options)) = shell.split_first() else { return Err("there is no shell".to_owned()) };
    let path = env.get("PATH").cloned().unwrap_or_default();
    let mut child = Command::new(find(program, &path).unwrap_or_else(|| program.into()));
    child.args(options).arg(command).current_dir(root).env_clear().envs(env).stdin(Stdio::null());
    let printed = scratch().and_then(|out| Ok((out.try_clone()?, out, scratch()?)));
    let (out, to_out, err) = printed.map_err(|error| format!("nowhere to print to: {error}"))?;
    let to_err = err.try_clone().map_err(|error| format!("nowhere to print to: {error}"))?;
    let status = child.stdout(to_out).stderr(to_err).status();
    let status = status.map_err(|error| format!("{program} could not be started: {error}"))?;
    if status.success() {
        return Ok(read(out).trim().to_owned());
    }
    let said = read(err);
    let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{status}: {said}"))
}

/// A file without a name. A pipe would have to be read to its end, and something left behind may hold it open.
#[cfg(target_os = "linux")]
fn scratch() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("kiln-probe", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

#[cfg(not(target_os = "linux"))]
fn scratch() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("kiln-probe-{}-{}", std::process::id(), crate::clock::now_ns()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// What was printed, as far as it is sensible.
fn read(mut file: File) -> String {
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.take(LONGEST).read_to_end(&mut bytes));
    if let Err(error) = read {
        tracing::warn!(%error, "what a command printed cannot be read");
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
