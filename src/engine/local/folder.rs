//! The digest of a folder: of what lies in it, and of what links in it lead to where that counts. Knows no nodes.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base::digest::{Digest, FieldHasher, of_reader};
use crate::engine::local::digest::{Digester, LinkMode};

impl Digester {
    /// Paths in order, contents, executable bits, links; empty folders count.
    pub(super) fn folder(&self, full: &Path, path: &str, metadata: &Metadata, links: LinkMode) -> io::Result<Digest> {
        let mut hasher = FieldHasher::default();
        let mut walked = (links == LinkMode::Followed).then(|| Walked::from([place(metadata)]));
        self.add_folder(full, path, b"", &mut walked, &mut hasher)?;
        Ok(hasher.finish())
    }

    fn add_folder(
        &self,
        folder: &Path,
        path: &str,
        name: &[u8],
        walked: &mut Option<Walked>,
        hasher: &mut FieldHasher,
    ) -> io::Result<()> {
        hasher.field(b"folder").field(name);
        let mut entries: Vec<(OsString, PathBuf)> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            entries.push((entry.file_name(), entry.path()));
        }
        entries.sort();
        for (entry, full) in entries {
            let metadata = fs::symlink_metadata(&full)?;
            let inner: Vec<u8> = [name, b"/", entry.as_bytes()].concat();
            let text = entry.to_str().map(|entry| format!("{path}/{entry}"));
            if metadata.is_symlink() {
                let target = fs::read_link(&full)?;
                if path.starts_with(".kiln/") && target.starts_with(self.root.join(".kiln/staging")) {
                    let name = entry.display();
                    let why = format!("the link `{name}` in it leads to where it is staged: make it a relative one");
                    return Err(io::Error::other(why));
                }
                hasher.field(b"link").field(&inner).field(target.as_os_str().as_bytes());
                self.add_behind(&full, text, &inner, walked, hasher)?;
            } else if metadata.is_dir() {
                let text = text.ok_or_else(|| not_text(&full))?;
                walked.iter_mut().for_each(|walked| _ = walked.insert(place(&metadata)));
                self.add_folder(&full, &text, &inner, walked, hasher)?;
            } else if metadata.is_file() {
                let kind: &[u8] = if metadata.mode() & 0o111 == 0 { b"file" } else { b"program" };
                let digest = self.content(&full, text, &metadata)?;
                hasher.field(kind).field(&inner).field(digest.to_string().as_bytes());
            } else {
                return Err(io::Error::other(format!("{} is neither a file nor a folder", full.display())));
            }
        }
        Ok(())
    }

    /// Adds what a link leads to, where that counts. Folders may lead to one another in circles: each is walked through once.
    fn add_behind(
        &self,
        full: &Path,
        text: Option<String>,
        name: &[u8],
        walked: &mut Option<Walked>,
        hasher: &mut FieldHasher,
    ) -> io::Result<()> {
        let Some(all) = walked else { return Ok(()) };
        // It may lead nowhere, or in a circle.
        let Ok(metadata) = full.metadata() else { return Ok(()) };
        if metadata.is_file() {
            hasher.field(b"to").field(self.content(full, text, &metadata)?.to_string().as_bytes());
        } else if metadata.is_dir() && all.insert(place(&metadata)) {
            let text = text.ok_or_else(|| not_text(full))?;
            self.add_folder(full, &text, name, walked, hasher)?;
        }
        Ok(())
    }

    /// The digest of a file. One whose name is no text is not remembered.
    fn content(&self, full: &Path, text: Option<String>, metadata: &Metadata) -> io::Result<Digest> {
        match text {
            Some(text) => self.file(full, &text, metadata),
            None => Ok(of_reader(File::open(full)?)?),
        }
    }
}

/// The folders that were walked through, by device and number.
type Walked = HashSet<(u64, u64)>;

fn place(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn not_text(path: &Path) -> io::Error {
    io::Error::other(format!("the name of the folder {} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::file::Memory;

    #[test]
    fn a_folder_is_more_than_its_contents() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let digester = Digester::new(dir.path(), Box::new(Memory::default()));
        fs::create_dir(at("a")).unwrap();
        let mut seen = Vec::new();
        let look = |seen: &mut Vec<Digest>| {
            let digest = digester.path("a").unwrap().unwrap();
            assert!(!seen.contains(&digest), "step {}", seen.len());
            seen.push(digest);
        };
        look(&mut seen);
        fs::create_dir(at("a/empty")).unwrap();
        look(&mut seen);
        fs::write(at("a/f"), "x").unwrap();
        look(&mut seen);
        fs::rename(at("a/f"), at("a/empty/f")).unwrap();
        look(&mut seen);
        std::os::unix::fs::symlink("f", at("a/l")).unwrap();
        look(&mut seen);
        fs::remove_file(at("a/l")).unwrap();
        std::os::unix::fs::symlink("g", at("a/l")).unwrap();
        look(&mut seen);
        let mut permissions = fs::metadata(at("a/empty/f")).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        fs::set_permissions(at("a/empty/f"), permissions).unwrap();
        look(&mut seen);
    }

    #[test]
    fn what_a_link_leads_to_counts_where_links_are_followed() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("a/in")).unwrap();
        fs::create_dir_all(at("other/deep")).unwrap();
        fs::write(at("file"), "1").unwrap();
        fs::write(at("other/deep/x"), "1").unwrap();
        for (to, link) in [
            ("../file", "a/file"),
            ("../other", "a/folder"),
            ("../../other", "a/in/again"),
            ("..", "a/in/up"),
            ("../../a", "other/deep/back"),
            ("nowhere", "a/dead"),
            ("circle", "a/circle"),
        ] {
            symlink(to, at(link)).unwrap();
        }
        let look = |links| Digester::new(dir.path(), Box::new(Memory::default())).look("a", links).unwrap();
        let (said, mut followed) = (look(LinkMode::Said), look(LinkMode::Followed));
        for (path, text) in [("file", "2"), ("other/deep/x", "2"), ("other/new", "1")] {
            fs::write(at(path), text).unwrap();
            assert_eq!(look(LinkMode::Said), said, "{path}");
            let now = look(LinkMode::Followed);
            assert_ne!(now, followed, "{path}");
            followed = now;
        }
    }
}
