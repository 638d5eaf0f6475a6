//! The digest of a folder: of what lies in it, and of what links in it lead to where that counts. Knows no nodes.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base::digest::{Digest, FieldHasher, of_reader};
use crate::engine::local::digest::{Digester, LinkMode};
use crate::pipeline::paths::{OWN, STAGING, lies_in};

impl Digester {
    /// Paths in order, contents, executable bits, links; empty folders count. What a pipeline with its root in it keeps there does
    /// not.
    pub(super) fn folder(&self, full: &Path, path: &str, metadata: &Metadata, links: LinkMode) -> io::Result<Digest> {
        let mut hasher = FieldHasher::default();
        let mut walked = (links == LinkMode::Followed).then(|| Walked::from([(place(metadata), Vec::new())]));
        self.met.begin(path);
        // Folders may lie deeper in one another than a stack is.
        let mut open = vec![self.open(full.to_owned(), path.to_owned(), Vec::new(), &mut hasher)?];
        while let Some(folder) = open.last_mut() {
            let inner = match folder.entries.next() {
                Some(entry) => {
                    let inner = self.entry(folder, &entry, &mut walked, &mut hasher);
                    inner.map_err(|error| self.built.named(&folder.full.join(&entry), error))?
                }
                None => {
                    open.pop();
                    continue;
                }
            };
            open.extend(inner);
        }
        Ok(hasher.finish())
    }

    /// Adds an entry of a folder; gives what is in it where it is one itself.
    fn entry(
        &self,
        of: &Open,
        entry: &OsStr,
        walked: &mut Option<Walked>,
        hasher: &mut FieldHasher,
    ) -> io::Result<Option<Open>> {
        let full = of.full.join(entry);
        let metadata = fs::symlink_metadata(&full)?;
        let name: Vec<u8> = [&of.name, &b"/"[..], entry.as_bytes()].concat();
        let text = entry.to_str().map(|entry| format!("{}/{entry}", of.path));
        if metadata.is_symlink() {
            let target = fs::read_link(&full)?;
            if lies_in(&of.path, OWN) && target.starts_with(self.root.join(STAGING)) {
                let name = entry.display();
                let why = format!("the link `{name}` in it leads to where it is staged: make it a relative one");
                return Err(io::Error::other(why));
            }
            hasher.field(b"link").field(&name).field(target.as_os_str().as_bytes());
            return self.behind(full, text, name, walked, hasher);
        }
        if metadata.is_dir() {
            let text = text.ok_or_else(|| not_text(&full))?;
            walked.iter_mut().for_each(|walked| drop(walked.insert(place(&metadata), name.clone())));
            return self.open(full, text, name, hasher).map(Some);
        }
        if !metadata.is_file() {
            return Err(io::Error::other(format!("{} is neither a file nor a folder", full.display())));
        }
        let digest = self.content(&full, text, &metadata)?;
        hasher.field(kind(&metadata)).field(&name).field(digest.to_string().as_bytes());
        Ok(None)
    }

    /// Adds what a link leads to, where that counts. Folders may lead to one another in circles: each is walked through once.
    fn behind(
        &self,
        full: PathBuf,
        text: Option<String>,
        name: Vec<u8>,
        walked: &mut Option<Walked>,
        hasher: &mut FieldHasher,
    ) -> io::Result<Option<Open>> {
        let Some(walked) = walked else { return Ok(None) };
        self.built.refuse(&full)?;
        self.met.link(&full);
        let Ok(metadata) = full.metadata() else {
            hasher.field(b"nowhere"); // or in a circle
            return Ok(None);
        };
        if metadata.is_file() {
            let digest = self.content(&full, text, &metadata)?;
            hasher.field(b"to").field(kind(&metadata)).field(digest.to_string().as_bytes());
        } else if !metadata.is_dir() {
            hasher.field(b"other");
        } else if let Some(before) = walked.get(&place(&metadata)) {
            hasher.field(b"again").field(before);
        } else {
            walked.insert(place(&metadata), name.clone());
            let text = text.ok_or_else(|| not_text(&full))?;
            return self.open(full, text, name, hasher).map(Some);
        }
        Ok(None)
    }

    /// Begins with a folder that is walked through.
    fn open(&self, full: PathBuf, path: String, name: Vec<u8>, hasher: &mut FieldHasher) -> io::Result<Open> {
        let open = Open::new(full, path, name, hasher)?;
        if open.is_root {
            self.met.root(&open.path);
        }
        Ok(open)
    }

    /// The digest of a file. One whose name is no text is not remembered.
    fn content(&self, full: &Path, text: Option<String>, metadata: &Metadata) -> io::Result<Digest> {
        match text {
            Some(text) => self.file(full, &text, metadata),
            None => Ok(of_reader(File::open(full)?)?),
        }
    }
}

/// A folder whose entries are added one by one.
struct Open {
    full: PathBuf,
    /// As it is known.
    path: String,
    /// Below the folder that the digest is of.
    name: Vec<u8>,
    entries: std::vec::IntoIter<OsString>,
    /// Whether a pipeline has its root there.
    is_root: bool,
}

impl Open {
    fn new(full: PathBuf, path: String, name: Vec<u8>, hasher: &mut FieldHasher) -> io::Result<Self> {
        hasher.field(b"folder").field(&name);
        let entries = fs::read_dir(&full)?.map(|entry| Ok(entry?.file_name()));
        let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
        let all = entries.len();
        entries.retain(|entry| entry != OWN);
        let is_root = entries.len() < all;
        entries.sort();
        Ok(Self { full, path, name, entries: entries.into_iter(), is_root })
    }
}

/// The folders that were walked through, by device and number, with the names below the first one by which they were.
type Walked = HashMap<(u64, u64), Vec<u8>>;

/// A file that anybody may execute is another one than the same that nobody may.
fn kind(metadata: &Metadata) -> &'static [u8] {
    if metadata.mode() & 0o111 == 0 { b"file" } else { b"program" }
}

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
    fn what_other_pipelines_keep_in_it_does_not_count_and_depth_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let digester = Digester::new(dir.path(), Box::new(Memory::default()));
        let deep = format!("a{}", "/d".repeat(1900));
        fs::create_dir_all(at(&deep)).unwrap();
        let before = digester.path("a").unwrap();
        for folder in ["a", "a/d/d", &deep] {
            fs::create_dir_all(at(folder).join(".kiln/staging")).unwrap();
            fs::write(at(folder).join(".kiln/staging/half"), "ha").unwrap();
        }
        assert_eq!(digester.path("a").unwrap(), before);
        fs::write(at(&deep).join(".kiln-not"), "x").unwrap();
        assert_ne!(digester.path("a").unwrap(), before);
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

    #[test]
    fn where_a_link_leads_counts_also_to_what_was_walked_through_and_to_nothing() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for folder in ["a/2025", "a/2026", "code"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("code/x"), "1").unwrap();
        symlink("../now", at("a/now")).unwrap();
        let mut seen = Vec::new();
        let mut look = |what: &str| {
            let digest = Digester::new(dir.path(), Box::new(Memory::default())).look("a", LinkMode::Followed).unwrap();
            assert!(!seen.contains(&digest), "{what}");
            seen.push(digest);
        };
        look("nothing");
        for to in ["a", "a/2025", "a/2026", "code", "code/x"] {
            symlink(to, at("now")).unwrap();
            look(to);
            fs::remove_file(at("now")).unwrap();
        }
        symlink("code/x", at("now")).unwrap();
        fs::set_permissions(at("code/x"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        look("a program");
    }
}
