//! Paths of the file as text: made normal, kept inside the root. Does not look at the disk.

use std::collections::HashSet;

use globset::{GlobBuilder, GlobMatcher};

use crate::pipeline::template::filled;

/// Why a path of the file is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// It is absolute.
    Absolute,
    /// It goes above the root.
    Leaves,
    /// It is the address of something elsewhere.
    Address,
    /// It begins with the `~` that a shell fills in.
    Home,
    /// It is empty.
    Empty,
    /// It is the root itself.
    Root,
    /// A name in it is longer than file systems have it.
    Long,
    /// It holds a NUL or a line break.
    Control,
    /// It has double braces, as if something were filled in.
    Braces,
    /// It lies in a `.kiln/`, that of the root or of one below it.
    State,
    /// It is a `.git`, or lies in one.
    Git,
    /// It is the pipeline file.
    File,
    /// The pipeline file lies in it.
    AroundFile,
    /// It lies in the pipeline file, as if that were a folder.
    InFile,
}

/// What Kiln keeps its own in, wherever a root is, also one below another: nothing in it is read or built by a pipeline.
pub(crate) const OWN: &str = ".kiln";
/// Where in it what is built is staged.
pub(crate) const STAGING: &str = ".kiln/staging";
/// Where in it what runs have replaced is kept.
pub(crate) const REPLACED: &str = ".kiln/replaced";

/// So many bytes the name of a file may have.
pub(crate) const LONGEST: usize = 255;

impl PathError {
    pub(crate) fn message(&self, path: &str) -> String {
        match self {
            Self::Absolute => format!("`{path}` is absolute"),
            Self::Leaves => format!("`{path}` leaves the root"),
            Self::Address => format!("`{path}` is an address, and no path below the root"),
            Self::Home => format!("`{path}` would be a folder of the name `~`"),
            Self::Empty => "the path is empty".to_owned(),
            Self::Root => format!("`{path}` is the root itself"),
            Self::Long => format!("a name in the path is longer than {LONGEST} bytes"),
            Self::Control => format!("`{}` holds a control character", path.escape_debug()),
            Self::Braces => format!("`{path}` has braces: nothing is filled in in a path"),
            Self::State => format!("`{path}` lies in `.kiln/`, where Kiln keeps its state"),
            Self::Git if path.rsplit('/').next() == Some(".git") => format!("`{path}` is where git keeps the history"),
            Self::Git => format!("`{path}` lies in `.git`, where git keeps the history"),
            Self::File => format!("`{path}` is the pipeline file itself"),
            Self::AroundFile => format!("`{path}` holds the pipeline file itself"),
            Self::InFile => format!("`{path}` lies in the pipeline file itself"),
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> &'static str {
        match self {
            Self::Control => "a path is one line of letters that can be seen: rename what lies there",
            Self::Long => "no file system has such a name: give it a shorter one",
            Self::Address => {
                "what lies elsewhere has no `path`: give it a `digest`, a command that prints what stands for its content"
            }
            Self::Braces => "write the path out; what Kiln fills in stands in `run` and `on_stop`",
            Self::Absolute => {
                "paths are relative to the root and stay inside it; what lies elsewhere is reached by a link in the root, or named in the command"
            }
            Self::Leaves | Self::Home | Self::Empty | Self::Root => "paths are relative to the root and stay inside it",
            Self::State => "what is in there is for Kiln alone: name a path beside it",
            Self::Git | Self::File | Self::AroundFile | Self::InFile => {
                "what is built replaces what is at its path: give it one of its own"
            }
        }
    }
}

/// The path without `.`, `..` and doubled slashes, relative to the root. Empty for the root itself.
pub(crate) fn normal(path: &str) -> Result<String, PathError> {
    if path.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    if filled(path).is_some() {
        return Err(PathError::Braces);
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    // Mostly there is nothing to be made normal.
    if path.split('/').all(|part| !matches!(part, "" | "." | ".." | OWN)) {
        return Ok(path.to_owned());
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or(PathError::Leaves)?;
            }
            part => parts.push(part),
        }
    }
    if parts.contains(&OWN) {
        return Err(PathError::State);
    }
    Ok(parts.join("/"))
}

/// As [`normal`], for what is not the root itself.
pub(crate) fn inside(path: &str) -> Result<String, PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    let path = normal(path)?;
    if path.is_empty() { Err(PathError::Root) } else { Ok(path) }
}

/// As [`inside`], for one file or folder: a glob may be longer.
pub(crate) fn one_inside(path: &str) -> Result<String, PathError> {
    if path.contains("://") {
        return Err(PathError::Address);
    }
    if path == "~" || path.starts_with("~/") {
        return Err(PathError::Home);
    }
    let path = inside(path)?;
    if path.len() > LONGEST && path.split('/').any(|name| name.len() > LONGEST) {
        Err(PathError::Long)
    } else {
        Ok(path)
    }
}

/// Whether it depends on what is there which paths a pattern of `files` names.
pub(crate) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{', '\\'])
}

/// What is said to a glob where one file or folder is meant.
pub(crate) fn no_glob(path: &str) -> Option<String> {
    let folder = match first_of(path) {
        folder if folder.is_empty() => "one that holds them".to_owned(),
        folder => format!("path = \"{folder}\""),
    };
    is_glob(path).then(|| format!("a path is one file or folder, and no glob: name the folder, {folder}"))
}

/// What is to be done where nothing is at the path of a source.
pub(crate) fn put_there(path: &str) -> String {
    no_glob(path).unwrap_or_else(|| "put the file there, or say what makes it with `run`".to_owned())
}

/// A pattern of `files` as it is compared with paths.
pub(crate) fn glob(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    Ok(GlobBuilder::new(pattern).literal_separator(true).empty_alternates(true).build()?.compile_matcher())
}

/// Folders that no glob looks into, unless it begins in one.
pub(crate) const HIDDEN: [&str; 3] = [".git", OWN, "__pycache__"];

/// The folder that a glob looks into first.
pub(crate) fn first_of(glob: &str) -> String {
    let literal: Vec<_> = glob.split('/').take_while(|part| !is_glob(part)).collect();
    literal.join("/")
}

/// Whether a pattern of `files` names a path, whether anything is there or not.
pub(crate) fn names(pattern: &str, path: &str) -> bool {
    if !is_glob(pattern) {
        return pattern == path;
    }
    let inside = path.strip_prefix(&first_of(pattern)).unwrap_or(path);
    !inside.split('/').any(|name| HIDDEN.contains(&name)) && glob(pattern).is_ok_and(|glob| glob.is_match(path))
}

/// Whether a path is another one, or lies below it.
pub(crate) fn lies_in(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether two paths are the same, or one lies in the other.
pub(crate) fn touch(one: &str, other: &str) -> bool {
    lies_in(one, other) || lies_in(other, one)
}

/// The folder that a path lies in; empty for the root.
pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A path and all folders above it, the innermost first.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(parent, _)| parent))
}

/// Paths that others are compared with, of which each costs no more than it is deep, however many these are.
#[derive(Default)]
pub(crate) struct PathSet<'a> {
    paths: HashSet<&'a str>,
    /// They, and all folders above them.
    around: HashSet<&'a str>,
}

impl PathSet<'_> {
    /// Whether a path [touches](touch) one of them.
    pub(crate) fn touches(&self, path: &str) -> bool {
        self.around.contains(path) || ancestors(path).any(|path| self.paths.contains(path))
    }
}

impl<'a> FromIterator<&'a str> for PathSet<'a> {
    fn from_iter<I: IntoIterator<Item = &'a str>>(paths: I) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.paths.insert(path);
            // What is above a folder that is known is known.
            ancestors(path).take_while(|path| set.around.insert(path)).for_each(drop);
        }
        set
    }
}

/// The pairs of paths of which one is the other or lies in it, the outer one first, where that must not be: two that are built, or
/// one that is and a source inside it or around it. One is told of each path.
pub(crate) fn collisions<T: Copy + Ord>(mut paths: Vec<(&str, T)>, is_built: &dyn Fn(T) -> bool) -> Vec<(T, T)> {
    // As if by their folders: what separates those comes before all letters, and no path has a NUL.
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    paths.sort_by(|a, b| a.0.bytes().map(rank).cmp(b.0.bytes().map(rank)).then(a.1.cmp(&b.1)));
    let mut found = Vec::new();
    // What lies around the path, the innermost last: all of it, and what is built.
    let (mut around, mut built): (Vec<&(&str, T)>, Vec<_>) = (Vec::new(), Vec::new());
    for entry in &paths {
        for outer in [&mut around, &mut built] {
            while outer.last().is_some_and(|outer| !lies_in(entry.0, outer.0)) {
                outer.pop();
            }
        }
        let is_built = is_built(entry.1);
        let outer = if is_built { around.last() } else { built.last() };
        found.extend(outer.map(|outer| (outer.1, entry.1)));
        around.push(entry);
        if is_built {
            built.push(entry);
        }
    }
    found
}

/// Why nothing may be built at a path: what is there is lost when something is put in its place. `own` are the paths of the
/// pipeline file.
pub(crate) fn taken(path: &str, own: &[String]) -> Option<PathError> {
    if path.split('/').any(|name| name == ".git") {
        return Some(PathError::Git);
    }
    if path.split('/').any(|name| name == OWN) {
        return Some(PathError::State);
    }
    own.iter().find_map(|own| match (lies_in(path, own), lies_in(own, path)) {
        (true, true) => Some(PathError::File),
        (true, false) => Some(PathError::InFile),
        (false, true) => Some(PathError::AroundFile),
        (false, false) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_normal() {
        assert_eq!(inside("a/./b//c/../d").as_deref(), Ok("a/b/d"));
        assert_eq!(inside("a/../../b"), Err(PathError::Leaves));
        assert_eq!(inside("/etc/passwd"), Err(PathError::Absolute));
        assert_eq!(inside("./"), Err(PathError::Root));
        assert_eq!(inside(""), Err(PathError::Empty));
        assert_eq!(inside("a\nb"), Err(PathError::Control));
        assert_eq!(inside("x/../.kiln/kiln.db"), Err(PathError::State));
        assert_eq!(inside("x/.kiln/kiln.db"), Err(PathError::State));
        assert_eq!(inside("x/.kiln-not").as_deref(), Ok("x/.kiln-not"));
    }

    #[test]
    fn a_glob_names_nothing_in_a_folder_that_it_does_not_look_into() {
        for (pattern, path, want) in [
            ("**/*", "a/b", true),
            ("**/*", "a/.kiln/b", false),
            ("a/**", "a/__pycache__/b.pyc", false),
            (".git/hooks/*", ".git/hooks/a", true),
            (".git/hooks", ".git/hooks", true),
        ] {
            assert_eq!(names(pattern, path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn a_set_of_paths_says_of_each_what_comparing_with_all_says() {
        let all = ["a", "ab", "a/b", "a/bc", "a/b/c", "b", "b/a", "a b", "a/", "a//b"];
        for these in all.iter().flat_map(|one| all.map(|other| [*one, other])) {
            let set: PathSet<'_> = these.into_iter().collect();
            for path in all {
                assert_eq!(set.touches(path), these.iter().any(|one| touch(one, path)), "{these:?} {path}");
            }
        }
        assert!(!PathSet::default().touches("a"));
        assert!(touch("a", "a/b") && touch("a/b", "a") && touch("a", "a") && !touch("a", "ab"));
    }
}
