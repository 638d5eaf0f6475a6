//! Digests of files and folders on this machine, with a memory of what was read, so that an unchanged file is not read
//! again. Knows no nodes.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::base::digest::{Digest, FieldHasher, of_reader};
use crate::base::file::{FileDigest, FileStat, Memory, Remembered, Seen};
use crate::clock;
use crate::stat::stat_of;

/// Digests what lies under one root. Shared by the jobs of a run: its memory is only ever added to.
pub(crate) struct Digester {
    root: PathBuf,
    known: Known,
    fresh: Mutex<Fresh>,
}

/// What was read before, by other runs. Of a few files it is asked for by name; of more, all is fetched at once.
struct Known {
    kept: Box<dyn Remembered>,
    all: OnceLock<Memory>,
    asked: Mutex<HashMap<String, Option<Seen>>>,
}

/// So many files are a few.
const FEW: usize = 100;

impl Known {
    fn get(&self, path: &str) -> Option<Seen> {
        if self.all.get().is_none() {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner); // it is only ever added to
            match asked.get(path) {
                Some(seen) => return *seen,
                None if asked.len() < FEW => {
                    return *asked.entry(path.to_owned()).or_insert_with(|| self.kept.one(path));
                }
                None => {}
            }
        }
        self.all().get(path).copied()
    }

    fn all(&self) -> &Memory {
        self.all.get_or_init(|| self.kept.all())
    }

    /// So many will be asked for.
    fn expect(&self, files: usize) {
        if files > FEW {
            self.all();
        }
    }
}

/// What was read by this run.
#[derive(Default)]
struct Fresh {
    /// In order, so that what lies in a folder is found.
    known: BTreeMap<String, Seen>,
    /// Entries that are not in the store yet. What is staged does not belong there.
    untold: Vec<FileDigest>,
}

/// Where nothing stays.
const STAGED: &str = ".kiln/";

/// A file of so many bytes is read in no time.
const SMALL: u64 = 64 << 10;
/// So many paths are worth a thread.
const FOR_A_THREAD: usize = 512;

impl Digester {
    pub(crate) fn new(root: &Path, known: Box<dyn Remembered>) -> Self {
        let known = Known { kept: known, all: OnceLock::new(), asked: Mutex::default() };
        Self { root: root.to_owned(), known, fresh: Mutex::default() }
    }

    /// The digest of what lies at `path`, relative to the root; none if nothing is there. Links at `path` itself are
    /// followed.
    pub(crate) fn path(&self, path: &str) -> io::Result<Option<Digest>> {
        self.lying(&self.root.join(path), path)
    }

    /// As [`Digester::path`] for what was moved from `path` to `full` and is known by its old path: unless somebody has changed
    /// it, nothing is read for this.
    pub(crate) fn lying(&self, full: &Path, path: &str) -> io::Result<Option<Digest>> {
        let Some(metadata) = metadata(full)? else { return Ok(None) };
        if metadata.is_dir() {
            return self.folder(full, path).map(Some);
        }
        if !metadata.is_file() {
            return Err(io::Error::other("it is neither a file nor a folder"));
        }
        self.file(full, path, &metadata).map(Some)
    }

    /// As [`Digester::path`] where what cannot be read is nothing that is known: it counts neither as built, nor as the same.
    pub(crate) fn now(&self, path: &str) -> Option<Digest> {
        self.path(path).ok().flatten()
    }

    /// Whether this lies at `path`, as far as that can be told.
    pub(crate) fn is(&self, path: &str, digest: Digest) -> bool {
        self.now(path) == Some(digest)
    }

    /// As [`Digester::path`], where nothing large has to be read for it.
    pub(crate) fn quickly(&self, path: &str) -> Option<io::Result<Option<Digest>>> {
        let full = self.root.join(path);
        let metadata = match metadata(&full) {
            Ok(Some(metadata)) => metadata,
            Ok(None) => return Some(Ok(None)),
            Err(error) => return Some(Err(error)),
        };
        let known = || self.remembered(path, &stat_of(&metadata));
        if !metadata.is_file() || (metadata.len() > SMALL && known().is_none()) {
            return None;
        }
        Some(self.file(&full, path, &metadata).map(Some))
    }

    /// As [`Digester::path`] for each of many paths, on as many threads as that is worth.
    pub(crate) fn paths(&self, paths: &[&str]) -> Vec<io::Result<Option<Digest>>> {
        self.known.expect(paths.len());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = paths.len().div_ceil(cores.min(paths.len() / FOR_A_THREAD).max(1)).max(1);
        let look = |paths: &[&str]| {
            let mut absent = Absent::default();
            let look = |path: &&str| if absent.holds(&self.root, path) { Ok(None) } else { self.path(path) };
            paths.iter().map(look).collect::<Vec<_>>()
        };
        if share >= paths.len() {
            return look(paths);
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = paths.chunks(share).map(|chunk| scope.spawn(move || look(chunk))).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().flat_map(join).collect()
        })
    }

    /// Whether a file that was read below a folder, by whomever, is not there any more.
    pub(crate) fn lacks(&self, folder: &str) -> bool {
        let is_gone = |path: &String| self.root.join(path).symlink_metadata().is_err();
        let prefix = format!("{folder}/");
        let fresh = self.lock().inside(folder); // nobody waits while files are looked at
        fresh.iter().any(is_gone) || self.known.all().keys().filter(|path| path.starts_with(&prefix)).any(is_gone)
    }

    /// What proves by its state alone that the file at `path` has this content; none where only reading it does.
    pub(crate) fn proof(&self, path: &str, digest: Digest) -> Option<Seen> {
        let proves = |seen: &Seen| seen.digest == digest && seen.holds_for(&seen.stat);
        let fresh = self.lock().known.get(path).copied().filter(proves);
        fresh.or_else(|| self.known.get(path).filter(proves))
    }

    /// Entries that were added since the last call.
    pub(crate) fn take_fresh(&self) -> Vec<FileDigest> {
        std::mem::take(&mut self.lock().untold)
    }

    /// What lay at `from` lies at `to` now. A file's state changes by that, what lies in a folder keeps its own. Of what
    /// somebody has taken away already nothing is known.
    pub(crate) fn moved(&self, from: &str, to: &str, digest: Digest) {
        let Ok(metadata) = fs::metadata(self.root.join(to)) else { return };
        let mut fresh = self.lock();
        if metadata.is_file() {
            let stat = stat_of(&metadata);
            let settled = fresh.known.remove(from).and_then(|seen| stat.settled_by_move(&seen.stat));
            fresh.add(to, Seen { stat, digest, seen_ns: settled.unwrap_or_else(clock::now_ns) });
            return;
        }
        for path in fresh.inside(from) {
            if let Some(seen) = fresh.known.remove(&path) {
                fresh.add(&format!("{to}{}", &path[from.len()..]), seen);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Fresh> {
        // A panic between two additions leaves nothing half done.
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of a file in a state that was seen before.
    fn remembered(&self, path: &str, stat: &FileStat) -> Option<Digest> {
        let holds = |seen: &Seen| seen.holds_for(stat);
        // Mostly nothing changed: then no thread waits for another one here.
        let known = self.known.get(path).filter(holds);
        known.or_else(|| self.lock().known.get(path).copied().filter(holds)).map(|seen| seen.digest)
    }

    fn file(&self, full: &Path, path: &str, metadata: &Metadata) -> io::Result<Digest> {
        let stat = stat_of(metadata);
        if let Some(digest) = self.remembered(path, &stat) {
            return Ok(digest);
        }
        let seen_ns = clock::now_ns();
        let digest = of_reader(File::open(full)?)?;
        self.lock().add(path, Seen { stat, digest, seen_ns });
        Ok(digest)
    }

    /// Paths in order, contents, executable bits, link targets; empty folders count.
    fn folder(&self, full: &Path, path: &str) -> io::Result<Digest> {
        let mut hasher = FieldHasher::default();
        self.add_folder(full, path, b"", &mut hasher)?;
        Ok(hasher.finish())
    }

    fn add_folder(&self, folder: &Path, path: &str, name: &[u8], hasher: &mut FieldHasher) -> io::Result<()> {
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
            } else if metadata.is_dir() {
                let text = text.ok_or_else(|| not_text(&full))?;
                self.add_folder(&full, &text, &inner, hasher)?;
            } else if metadata.is_file() {
                let kind: &[u8] = if metadata.mode() & 0o111 == 0 { b"file" } else { b"program" };
                let digest = match text {
                    Some(text) => self.file(&full, &text, &metadata)?,
                    None => of_reader(File::open(&full)?)?,
                };
                hasher.field(kind).field(&inner).field(digest.to_string().as_bytes());
            } else {
                return Err(io::Error::other(format!("{} is neither a file nor a folder", full.display())));
            }
        }
        Ok(())
    }
}

impl Fresh {
    fn add(&mut self, path: &str, seen: Seen) {
        self.known.insert(path.to_owned(), seen);
        if !path.starts_with(STAGED) {
            self.untold.push(FileDigest { path: path.to_owned(), seen });
        }
    }

    /// The files that were read below a folder.
    fn inside(&self, folder: &str) -> Vec<String> {
        // `0` is what comes next after `/`.
        let inside = self.known.range(format!("{folder}/")..format!("{folder}0"));
        inside.map(|(path, _)| path.clone()).collect()
    }
}

/// The folder that was looked for last: in one that is not there nothing is, so nothing of it is looked for.
#[derive(Default)]
struct Absent {
    folder: String,
    absent: bool,
}

impl Absent {
    /// Whether the folder that holds the path is not there.
    fn holds(&mut self, root: &Path, path: &str) -> bool {
        let Some((folder, _)) = path.rsplit_once('/') else { return false };
        if self.folder != folder {
            folder.clone_into(&mut self.folder);
            let looked = fs::symlink_metadata(root.join(folder));
            self.absent = looked.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        }
        self.absent
    }
}

/// None where nothing is.
fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_text(path: &Path) -> io::Error {
    io::Error::other(format!("the name of the folder {} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_was_written_long_before_it_was_put_in_place_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "x").unwrap();
        let time = |file: &Path, secs| {
            let time = std::time::UNIX_EPOCH + std::time::Duration::new(secs, 5);
            File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
        };
        time(&from, 1_000_000_000);
        let digester = Digester::new(dir.path(), Box::new(Memory::default()));
        let digest = digester.path("from").unwrap().unwrap();
        fs::rename(&from, &to).unwrap();
        // What is remembered is made wrong: whoever believes it has not read the file.
        let wrong = Digest::of(b"y");
        digester.moved("from", "to", wrong);
        assert_eq!(digester.path("to").unwrap(), Some(wrong));
        time(&to, 1_000_000_001);
        assert_eq!(digester.path("to").unwrap(), Some(digest), "it may have changed since");
    }

    #[test]
    fn what_was_staged_is_known_where_it_was_put_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let all = ["a", "d/f", "d/in/g", "d-other/f", "d0/f"].map(|path| format!(".kiln/{path}"));
        for path in &all {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), "x").unwrap();
        }
        let digester = Digester::new(dir.path(), Box::new(Memory::default()));
        let of_folder = digester.path(".kiln").unwrap().unwrap();
        for (from, to) in [(".kiln/a", "a"), (".kiln/d", "d")] {
            fs::rename(at(from), at(to)).unwrap();
            digester.moved(from, to, of_folder);
        }
        let told: Vec<_> = digester.take_fresh().into_iter().map(|entry| entry.path).collect();
        assert_eq!(told, ["a", "d/f", "d/in/g"]);
        let known: Vec<_> = digester.lock().known.keys().cloned().collect();
        assert_eq!(known, [".kiln/d-other/f", ".kiln/d0/f", "a", "d/f", "d/in/g"]);
    }

    #[test]
    fn a_folder_lacks_what_was_read_in_it_and_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in ["d/f", "d/in/g", "d-other/f", "d0/f"] {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), "x").unwrap();
        }
        let digester = Digester::new(dir.path(), Box::new(Memory::default()));
        assert!(["d", "d-other", "d0"].iter().all(|path| digester.path(path).unwrap().is_some()));
        ["d-other/f", "d0/f"].iter().for_each(|path| fs::remove_file(at(path)).unwrap());
        assert_eq!(["d", "d-other", "d0"].map(|path| digester.lacks(path)), [false, true, true]);
        fs::remove_file(at("d/in/g")).unwrap();
        assert!(digester.lacks("d"));
        // The same where others have read it.
        let read: Memory = digester.take_fresh().into_iter().map(|entry| (entry.path, entry.seen)).collect();
        let digester = Digester::new(dir.path(), Box::new(read));
        assert_eq!(["d", "d/f", "e"].map(|path| digester.lacks(path)), [true, false, false]);
    }

    #[test]
    fn in_a_folder_that_is_not_there_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("here")).unwrap();
        std::os::unix::fs::symlink("here", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dead")).unwrap();
        fs::write(dir.path().join("here/f"), "x").unwrap();
        let digester = Digester::new(dir.path(), Box::new(Memory::default()));
        let paths = ["none/a", "none/b", "here/f", "here/g", "link/f", "dead/f", "here/f/below", "none/c/d", "f"];
        let found: Vec<_> = digester.paths(&paths).into_iter().map(Result::unwrap).collect();
        let x = Some(Digest::of(b"x"));
        assert_eq!(found, [None, None, x, None, x, None, None, None, None]);
    }

    #[test]
    fn what_is_not_there_has_no_digest() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "x").unwrap();
        let digester = Digester::new(dir.path(), Box::new(Memory::default()));
        assert_eq!(digester.path("nothing").unwrap(), None);
        assert_eq!(digester.path("f/below").unwrap(), None);
        assert_eq!(digester.path("f").unwrap(), Some(Digest::of(b"x")));
    }
}
