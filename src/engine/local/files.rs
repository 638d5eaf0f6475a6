//! The files that `files` names: paths as they stand, globs by walking the tree. Does not read them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::GlobMatcher;

use crate::engine::local::met::Met;
use crate::pipeline::paths::{self, HIDDEN, OWN, first_of, is_glob};

/// The paths that `pattern` names, in order. A path without a glob's letters names itself, whether it is there or not.
/// What recipes make (`built`) is left out of globs: it is no code. Links to folders are not followed.
pub(crate) fn resolve(root: &Path, pattern: &str, built: &BTreeSet<&str>) -> io::Result<Vec<String>> {
    resolve_and_meet(root, pattern, built, &Met::default())
}

/// The same, which says what it meets on the way.
pub(super) fn resolve_and_meet(
    root: &Path,
    pattern: &str,
    built: &BTreeSet<&str>,
    met: &Met,
) -> io::Result<Vec<String>> {
    if !is_glob(pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let mut walk = Walk::new(root, pattern, built)?;
    walk.go(PathBuf::from(first_of(pattern)))?;
    walk.roots.iter().for_each(|folder| met.root(&folder.to_string_lossy()));
    walk.links.iter().for_each(|link| met.link(&root.join(link)));
    walk.found.sort();
    Ok(walk.found)
}

/// The links to folders in which there is what a glob would name, did it follow them, in order: but for what counts by another name.
pub(crate) fn passed_over(
    root: &Path,
    pattern: &str,
    built: &BTreeSet<&str>,
    counts: &dyn Fn(&str) -> bool,
) -> io::Result<Vec<String>> {
    if !is_glob(pattern) {
        return Ok(Vec::new());
    }
    let mut walk = Walk::new(root, pattern, built)?;
    walk.go(PathBuf::from(first_of(pattern)))?;
    let mut links = Vec::new();
    for link in walk.passed.into_iter().filter(|link| root.join(link).is_dir()) {
        let mut behind = Walk::new(root, pattern, built)?;
        behind.go(link.clone())?;
        let all = behind.found.iter().all(|path| counts(path));
        links.extend((!all).then(|| link.to_string_lossy().into_owned()));
    }
    links.sort();
    Ok(links)
}

/// A look for what a glob names.
struct Walk<'a> {
    root: &'a Path,
    glob: GlobMatcher,
    built: &'a BTreeSet<&'a str>,
    found: Vec<String>,
    /// Those of them that are links.
    links: Vec<String>,
    /// The folders in which pipelines have their roots.
    roots: Vec<PathBuf>,
    /// Links that it does not name.
    passed: Vec<PathBuf>,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Path, pattern: &str, built: &'a BTreeSet<&'a str>) -> io::Result<Self> {
        let glob = paths::glob(pattern).map_err(io::Error::other)?;
        let (found, links, roots, passed) = Default::default();
        Ok(Self { root, glob, built, found, links, roots, passed })
    }

    fn go(&mut self, folder: PathBuf) -> io::Result<()> {
        let mut open = vec![folder];
        while let Some(folder) = open.pop() {
            self.look(&folder, &mut open)?;
        }
        Ok(())
    }

    /// Adds the files of a folder that are named, and the folders that are to be looked into.
    fn look(&mut self, folder: &Path, open: &mut Vec<PathBuf>) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display()))),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let path = folder.join(&name);
            if name == OWN {
                self.roots.push(folder.to_owned());
            }
            if path.to_str().is_some_and(|path| self.built.contains(path))
                || HIDDEN.iter().any(|hidden| name == *hidden)
            {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(path);
            } else if self.glob.is_match(&path) && self.root.join(&path).is_file() {
                // Keys are made of text. That it would change unseen is worse than that it has to be renamed.
                let text = path.into_os_string().into_string();
                let text = text.map_err(|path| io::Error::other(format!("the name {path:?} is not UTF-8")))?;
                self.links.extend(kind.is_symlink().then(|| text.clone()));
                self.found.push(text);
            } else if kind.is_symlink() {
                self.passed.push(path);
            }
        }
        Ok(())
    }
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
    fn a_link_to_a_folder_is_passed_over_where_there_is_something_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/x.py", "far/in/y.py", "far/in/z.py"] {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), "").unwrap();
        }
        std::os::unix::fs::symlink("../far", dir.path().join("a/link")).unwrap();
        let passed =
            |pattern| passed_over(dir.path(), pattern, &BTreeSet::new(), &|path| path == "a/link/in/z.py").unwrap();
        assert_eq!(resolve(dir.path(), "a/**/*.py", &BTreeSet::new()).unwrap(), ["a/x.py"]);
        assert_eq!(passed("a/**/*.py"), ["a/link"]);
        assert!(
            ["a/*.py", "a/**/*.txt", "a/**/z.py", "a/link/**/*.py", "a"]
                .into_iter()
                .all(|pattern| passed(pattern).is_empty())
        );
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
