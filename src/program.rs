//! Programs: where one is found, and why one does not start, said so that it can be mended. Starts nothing.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::base::text::did_you_mean;

/// The file of a program that is named as a shell would name it, for a step that runs in `workdir`.
///
/// # Errors
/// Why there is none.
pub(crate) fn locate(name: &str, path: Option<&OsString>, workdir: &Path) -> Result<PathBuf, String> {
    if !workdir.is_dir() {
        let what = if workdir.exists() { "is not a folder" } else { "is not there" };
        return Err(format!("the working directory {} {what}", workdir.display()));
    }
    if name.contains('/') {
        return named(name, &workdir.join(name));
    }
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return Err(format!("command not found: {name} (PATH is not set)"));
    };
    let folders: Vec<PathBuf> = std::env::split_paths(path).map(|folder| workdir.join(folder)).collect();
    let mut files = folders.iter().map(|folder| folder.join(name)).filter(|file| file.is_file());
    if let Some(file) = files.clone().find(|file| is_executable(file)) {
        return Ok(file);
    }
    match files.next() {
        Some(file) => Err(format!("not executable: {}; chmod +x makes it so", file.display())),
        None => Err(not_found(name, path)),
    }
}

/// Whether the default shell is there, for a pipeline with this root.
pub(crate) fn has_shell(path: Option<&OsString>, root: &Path) -> bool {
    locate("bash", path, root).is_ok()
}

fn named(name: &str, file: &Path) -> Result<PathBuf, String> {
    match file.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(format!("command not found: {name}")),
        Err(error) => Err(format!("{name} cannot be looked at: {error}")),
        Ok(metadata) if metadata.is_dir() => Err(format!("not a program but a folder: {name}")),
        Ok(metadata) if !may_run(&metadata) => Err(format!("not executable: {name}; chmod +x makes it so")),
        Ok(_) => Ok(file.to_owned()),
    }
}

/// That a command is not there, with the one that is most like it.
fn not_found(name: &str, path: &OsStr) -> String {
    let known = programs(path);
    let hint = did_you_mean(name, known.iter().map(String::as_str)).map(|hint| format!("; {hint}"));
    format!("command not found: {name}{}", hint.unwrap_or_default())
}

fn programs(path: &OsStr) -> BTreeSet<String> {
    let entries = std::env::split_paths(path).filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let programs = entries.filter(|entry| is_executable(&entry.path()));
    programs.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| may_run(&metadata))
}

fn may_run(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
}

/// Whether a start that failed may succeed a little later.
pub(crate) fn is_passing(error: Errno) -> bool {
    matches!(error, Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::TXTBSY)
}

/// What a shell said of a command that it did not find, with the one that is most like it.
pub(crate) fn unknown_to_shell(tail: &[String], path: &OsStr) -> Option<String> {
    // bash: line 1: NAME: command not found · sh: 1: NAME: not found · zsh:1: command not found: NAME
    let name = tail.iter().rev().find_map(|line| {
        let named = line.strip_suffix(": command not found").or_else(|| line.strip_suffix(": not found"));
        let name = named.and_then(|line| line.rsplit(": ").next());
        name.or_else(|| line.split_once("command not found: ").map(|(_, name)| name))
    })?;
    Some(not_found(name, path))
}

/// The variable of which a shell said that it is not set.
pub(crate) fn unset_for_shell(tail: &[String]) -> Option<&str> {
    // bash: line 1: NAME: unbound variable · sh: 1: NAME: parameter not set · zsh:1: NAME: parameter not set
    let line = tail.last()?;
    let line = line.strip_suffix(": unbound variable").or_else(|| line.strip_suffix(": parameter not set"))?;
    let name = line.rsplit(": ").next()?;
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(is_letter) && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

/// Why a program that is there did not start.
pub(crate) fn explain(name: &str, program: &Path, workdir: &Path, error: Option<i32>) -> String {
    let shown = if name.contains('/') { name.to_owned() } else { program.display().to_string() };
    if !workdir.is_dir() {
        return format!("the working directory {} is not there any more", workdir.display());
    }
    match error.map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => missing_interpreter(&shown, program),
        Some(Errno::NOEXEC) => format!("{shown} is no program that this machine can run: {}", kind(program)),
        Some(Errno::ACCESS | Errno::PERM) => {
            format!("{shown} may not be run: its interpreter is not executable, or its file system is mounted `noexec`")
        }
        Some(Errno::TOOBIG) => {
            format!("{shown} was not started: its command line and environment are longer than the system takes")
        }
        Some(Errno::TXTBSY) => format!("{shown} is still being written to"),
        Some(Errno::AGAIN) => format!("{shown} was not started: there are too many processes"),
        Some(Errno::MFILE | Errno::NFILE) => format!("{shown} was not started: too many files are open"),
        Some(error) => format!("{shown} was not started: {error}"),
        None => format!("{shown} was not started"),
    }
}

/// The beginning of a file.
fn head(file: &Path) -> Vec<u8> {
    let mut head = vec![0; 256];
    let read = File::open(file).and_then(|mut file| file.read(&mut head));
    head.truncate(read.unwrap_or(0));
    head
}

/// The interpreter that the first line of a script names.
fn interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    let line = line.trim_start_matches([' ', '\t']);
    line.split([' ', '\t']).next().map(str::to_owned)
}

fn missing_interpreter(shown: &str, program: &Path) -> String {
    match interpreter(&head(program)) {
        Some(name) if name.ends_with('\r') => {
            format!("the first line of {shown} ends with a carriage return; write the file with Unix line ends")
        }
        Some(name) => format!("the interpreter of {shown} is not there: {name}"),
        None if program.exists() => {
            format!("the loader that {shown} asks for is not there: it was built for another system")
        }
        None => format!("command not found: {shown}"),
    }
}

/// What a file that cannot be run looks like.
fn kind(program: &Path) -> String {
    let head = head(program);
    match head.as_slice() {
        [] => "it is empty".to_owned(),
        [0x7f, b'E', b'L', b'F', _, order, ..] if head.len() > 19 => {
            let machine = [head[18], head[19]];
            let machine = if *order == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
            format!("it was built for {}", architecture(machine))
        }
        [b'M', b'Z', ..] => "it was built for Windows".to_owned(),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => "it was built for macOS".to_owned(),
        [b'#', b'!', ..] => "its first line names no program".to_owned(),
        _ => "it has no `#!` line that names its interpreter".to_owned(),
    }
}

/// The name of a processor in the head of an ELF file.
fn architecture(machine: u16) -> String {
    let name = match machine {
        0x03 => "x86",
        0x08 => "mips",
        0x15 => "ppc64",
        0x16 => "s390x",
        0x28 => "arm",
        0x3e => "x86_64",
        0xb7 => "aarch64",
        0xf3 => "riscv64",
        other => return format!("another processor ({other:#x})"),
    };
    format!("another processor: {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let file = dir.join(name);
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn programs_are_found_or_it_is_said_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        file(at, "present", b"", 0o755);
        file(at, "plain", b"", 0o644);
        fs::create_dir(at.join("folder")).unwrap();
        let path = OsString::from(at);
        let find = |name: &str| {
            let found = locate(name, Some(&path), at).map(|file| file.display().to_string());
            found.unwrap_or_else(|error| error).replace(&at.display().to_string(), "DIR")
        };
        assert_eq!(find("present"), "DIR/present");
        assert_eq!(find("./present"), "DIR/./present");
        assert_eq!(find("persent"), "command not found: persent; did you mean `present`?");
        assert_eq!(find("zzz"), "command not found: zzz");
        assert_eq!(find("./zzz"), "command not found: ./zzz");
        assert_eq!(find("plain"), "not executable: DIR/plain; chmod +x makes it so");
        assert_eq!(find("./plain"), "not executable: ./plain; chmod +x makes it so");
        assert_eq!(find("./folder"), "not a program but a folder: ./folder");
        assert_eq!(locate("x", None, at).unwrap_err(), "command not found: x (PATH is not set)");
        let gone = locate("x", Some(&path), &at.join("gone")).unwrap_err();
        assert!(gone.starts_with("the working directory ") && gone.ends_with("gone is not there"), "{gone}");
    }

    #[test]
    fn shells_are_understood() {
        let dir = tempfile::tempdir().unwrap();
        file(dir.path(), "python3", b"", 0o755);
        for line in [
            "bash: line 1: pyhton3: command not found",
            "sh: 1: pyhton3: not found",
            "zsh:1: command not found: pyhton3",
        ] {
            let tail = ["before".to_owned(), line.to_owned()];
            let said = unknown_to_shell(&tail, dir.path().as_os_str());
            assert_eq!(said.as_deref(), Some("command not found: pyhton3; did you mean `python3`?"));
        }
        assert_eq!(unknown_to_shell(&["exit".to_owned()], dir.path().as_os_str()), None);
    }

    #[test]
    fn what_does_not_start_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(18, 0);
        elf.extend([0xb7, 0]);
        for (name, content, error, want) in [
            (
                "gone.py",
                b"#!/no/such/python -u\n".as_slice(),
                Errno::NOENT,
                "the interpreter of X is not there: /no/such/python",
            ),
            (
                "crlf.sh",
                b"#!/bin/sh\r\n",
                Errno::NOENT,
                "the first line of X ends with a carriage return; write the file with Unix line ends",
            ),
            (
                "bare",
                b"echo hi\n",
                Errno::NOEXEC,
                "X is no program that this machine can run: it has no `#!` line that names its interpreter",
            ),
            (
                "other",
                &elf,
                Errno::NOEXEC,
                "X is no program that this machine can run: it was built for another processor: aarch64",
            ),
            (
                "tool.exe",
                b"MZ\x90",
                Errno::NOEXEC,
                "X is no program that this machine can run: it was built for Windows",
            ),
            ("busy", b"", Errno::TXTBSY, "X is still being written to"),
        ] {
            let file = file(at, name, content, 0o755);
            let said = explain(name, &file, at, Some(error.raw_os_error()));
            assert_eq!(said.replace(&file.display().to_string(), "X"), want);
        }
    }
}
