//! The files that `files` names: paths as they stand, globs by walking the tree. Does not read them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::GlobMatcher;

use crate::pipeline::paths::{self, OWN, is_glob};

/// Folders that no glob looks into.
const HIDDEN: [&str; 3] = [".git", OWN, "__pycache__"];

/// The paths that `pattern` names, in order. A path without a glob's letters names itself, whether it is there or not.
/// What recipes make (`built`) is left out of globs: it is no code.
pub(crate) fn resolve(root: &Path, pattern: &str, built: &BTreeSet<&str>) -> io::Result<Vec<String>> {
    if !is_glob(pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let glob = paths::glob(pattern).map_err(io::Error::other)?;
    let literal: Vec<_> = pattern.split('/').take_while(|part| !is_glob(part)).collect();
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(literal.join("/"))];
    while let Some(folder) = open.pop() {
        look(root, &folder, &glob, built, (&mut found, &mut open))?;
    }
    found.sort();
    Ok(found)
}

/// Adds the files of a folder that are named, and the folders that are to be looked into.
fn look(
    root: &Path,
    folder: &Path,
    glob: &GlobMatcher,
    built: &BTreeSet<&str>,
    (found, open): (&mut Vec<String>, &mut Vec<PathBuf>),
) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let path = folder.join(&name);
        if path.to_str().is_some_and(|path| built.contains(path)) || HIDDEN.iter().any(|hidden| name == *hidden) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open.push(path);
        } else if glob.is_match(&path) && root.join(&path).is_file() {
            // Keys are made of text. That it would change unseen is worse than that it has to be renamed.
            let text = path.into_os_string().into_string();
            found.push(text.map_err(|path| io::Error::other(format!("the name {path:?} is not UTF-8")))?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn globs_find_code_and_no_outputs() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/x.py", "a/b/y.py", "a/b/z.txt", "a/out/o.py", ".git/h.py", "a/__pycache__/x.py", "top.py"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let built = BTreeSet::from(["a/out"]);
        let find = |pattern| resolve(dir.path(), pattern, &built).unwrap();
        assert_eq!(find("a/*.py"), ["a/x.py"]);
        assert_eq!(find("**/*.py"), ["a/b/y.py", "a/x.py", "top.py"]);
        assert_eq!(find("a/b/{y,z}.*"), ["a/b/y.py", "a/b/z.txt"]);
        assert_eq!(find("a/{,b/}{x,y}{,z}.py"), ["a/b/y.py", "a/x.py"]);
        assert_eq!(find("none/*.py"), [] as [&str; 0]);
        assert_eq!(find("plain.py"), ["plain.py"]);
    }

    #[test]
    fn a_name_that_is_no_text_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(b"a/bad\xff.py")), "").unwrap();
        let find = |pattern| resolve(dir.path(), pattern, &BTreeSet::new());
        assert_eq!(find("a/*").unwrap_err().to_string(), r#"the name "a/bad\xFF.py" is not UTF-8"#);
        assert_eq!(find("a/*.txt").unwrap(), [] as [&str; 0], "it is none of these");
    }
}
