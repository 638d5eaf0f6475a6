//! Paths on another file system than Kiln's own folder in the root, or behind another mount of it: nothing can be renamed from
//! there, so it is copied beside its place first. Knows no steps.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::digest::Digest;
use crate::pipeline::paths::LONGEST;
use crate::stat::{Mount, mount_of};

/// Whether a rename from below `own` to `path` would cross mounts.
pub(crate) fn elsewhere(own: &Path, path: &Path) -> io::Result<bool> {
    path.parent().map_or(Ok(false), |folder| Ok(mount(folder)? != mount(own)?))
}

/// The mount of a path, or of what will be there.
fn mount(path: &Path) -> io::Result<Mount> {
    match (mount_of(path), path.parent()) {
        (Err(error), Some(above)) if error.kind() == io::ErrorKind::NotFound => mount(above),
        (found, _) => found,
    }
}

/// A hidden path in the folder of `path`, always the same one. What stands for a name with which that would be too long is short.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short = || Digest::of(name.as_bytes()).to_string();
    let name = if name.len() + end.len() + 2 > LONGEST { short() } else { name.into_owned() };
    path.with_file_name(format!(".{name}.{end}"))
}

/// A root in which a link leads to another file system.
///
/// # Panics
///
/// If `/dev/shm` is none: what would be tested cannot be had then.
#[cfg(test)]
pub(crate) fn two_file_systems(link: &str) -> (tempfile::TempDir, tempfile::TempDir) {
    let (dir, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    std::os::unix::fs::symlink(there.path(), dir.path().join(link)).unwrap();
    assert!(elsewhere(there.path(), &dir.path().join("x")).unwrap(), "/dev/shm is no other file system");
    (dir, there)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_lies_beside_a_path_has_a_name_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir(at("a")).unwrap();
        assert!(!elsewhere(dir.path(), &at("not/there/yet")).unwrap());
        assert!(!elsewhere(&at("nor/this"), &at("a/file")).unwrap());
        assert_eq!(beside(&at("a/file"), "new"), at("a/.file.new"));
        let long = |end: char| beside(&at(&format!("a/{}{end}", "n".repeat(248))), "kiln-new");
        fs::write(long('x'), "").unwrap();
        assert_ne!(long('x'), long('y'));
    }
}
