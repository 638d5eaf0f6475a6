//! Paths on another file system than Kiln's own folder in the root, or behind another mount of it: nothing can be renamed from
//! there, so it is copied beside its place first. Knows no steps.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::base::digest::Digest;
use crate::files::tree;
use crate::pipeline::paths::LONGEST;
use crate::stat::mount_of;

/// Whether a rename from below `own`, which is there, to `path` would cross mounts.
pub(crate) fn elsewhere(own: &Path, path: &Path) -> io::Result<bool> {
    let mut there = path.parent();
    while let Some(folder) = there {
        match mount_of(folder) {
            Ok(mount) => return Ok(mount != mount_of(own)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => there = folder.parent(),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// A hidden path in the folder of `path`, always the same one. What stands for a name with which that would be too long is short.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short = || Digest::of(name.as_bytes()).to_string();
    let name = if name.len() + end.len() + 2 > LONGEST { short() } else { name.into_owned() };
    path.with_file_name(format!(".{name}.{end}"))
}

/// Copies a file or a folder with all that is in it. There must be nothing at `to`.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut folders = Vec::new();
    for entry in tree(from) {
        let (path, metadata) = entry?;
        let to = match path.strip_prefix(from) {
            Ok(below) if !below.as_os_str().is_empty() => to.join(below),
            Ok(_) | Err(_) => to.to_owned(),
        };
        if metadata.is_symlink() {
            symlink(fs::read_link(path)?, to)?;
        } else if metadata.is_dir() {
            fs::create_dir(&to)?;
            folders.push((to, metadata.permissions()));
        } else {
            fs::copy(path, to)?;
        }
    }
    // Nothing is put into a folder any more that may not be written to then.
    folders.into_iter().rev().try_for_each(|(folder, permissions)| fs::set_permissions(folder, permissions))
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
    use super::*;

    #[test]
    fn all_that_is_in_a_folder_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("a/empty")).unwrap();
        fs::write(at("a/file"), "x").unwrap();
        symlink("file", at("a/link")).unwrap();
        symlink("nowhere", at("a/empty/link")).unwrap();
        let program = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(at("a/file"), program).unwrap();
        copy(&at("a"), &at("b")).unwrap();
        let digester =
            crate::engine::local::digest::Digester::new(dir.path(), Box::new(crate::base::file::Memory::default()));
        assert_eq!(digester.path("a").unwrap(), digester.path("b").unwrap());
        assert!(!elsewhere(dir.path(), &at("not/there/yet")).unwrap());
        assert_eq!(beside(&at("a/file"), "new"), at("a/.file.new"));
        let long = |end: char| beside(&at(&format!("a/{}{end}", "n".repeat(248))), "kiln-new");
        fs::write(long('x'), "").unwrap();
        assert_ne!(long('x'), long('y'));
    }
}
