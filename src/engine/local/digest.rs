//! Digests of files and folders on this machine, with a memory of what was read, so that an unchanged file is not read
//! again. Knows no nodes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::base::digest::{Digest, of_reader};
use crate::base::file::{FileDigest, FileStat, Memory, Remembered, Seen};
use crate::clock;
use crate::engine::local::behind::{Built, Made};
use crate::engine::local::met::Met;
use crate::pipeline::paths::{OWN, lies_in};
use crate::stat::stat_of;

/// Digests what lies under one root. Shared by the jobs of a run: its memory is only ever added to.
pub(crate) struct Digester {
    pub(super) root: PathBuf,
    known: Known,
    fresh: Mutex<Fresh>,
    pub(super) built: Built,
    pub(super) met: Met,
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
    /// Files that were found to be written since they were seen before: as they were then, and as they were found last. What others
    /// have read of them meanwhile may have been anything, whatever they hold now.
    written: BTreeMap<String, (FileStat, Seen)>,
}

/// What of the links in a folder counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkMode {
    /// What they say. In what a step makes they may lead elsewhere from where it is staged.
    Said,
    /// And what they lead to: whoever reads them reads that.
    Followed,
}

/// A file of so many bytes is read in no time.
const SMALL: u64 = 64 << 10;
/// So many paths are worth a thread.
const FOR_A_THREAD: usize = 512;

impl Digester {
    pub(crate) fn new(root: &Path, known: Box<dyn Remembered>) -> Self {
        let known = Known { kept: known, all: OnceLock::new(), asked: Mutex::default() };
        let built = Built::new(root, BTreeMap::new);
        Self { root: root.to_owned(), known, fresh: Mutex::default(), built, met: Met::default() }
    }

    /// The same, with what is built here: no link that is followed may lead there.
    pub(super) fn beside(self, made: impl FnOnce() -> BTreeMap<String, Made> + Send + 'static) -> Self {
        Self { built: Built::new(&self.root, made), ..self }
    }

    /// The digest of what a step made at `path`, relative to the root; none if nothing is there. A link at `path` itself is
    /// followed.
    pub(crate) fn path(&self, path: &str) -> io::Result<Option<Digest>> {
        self.look(path, LinkMode::Said)
    }

    /// The digest of what lies at `path`. Where links are followed, that is not what is built.
    pub(crate) fn look(&self, path: &str, links: LinkMode) -> io::Result<Option<Digest>> {
        if links == LinkMode::Followed {
            self.built.refuse_path(path)?;
        }
        let full = self.root.join(path);
        self.at(&full, path, links).map_err(|error| self.built.named(&full, error))
    }

    /// As [`Digester::now`] for what was moved from `path` to `full` and is known by its old path: unless somebody has changed
    /// it, nothing is read for this.
    pub(crate) fn lying(&self, full: &Path, path: &str) -> Option<Digest> {
        self.at(full, path, LinkMode::Said).ok().flatten()
    }

    fn at(&self, full: &Path, path: &str, links: LinkMode) -> io::Result<Option<Digest>> {
        let Some(metadata) = metadata(full)? else { return Ok(None) };
        if metadata.is_dir() {
            return self.folder(full, path, &metadata, links).map(Some);
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

    /// As [`Digester::look`] for each of many paths, on as many threads as that is worth.
    pub(crate) fn paths(&self, paths: &[(&str, LinkMode)]) -> Vec<io::Result<Option<Digest>>> {
        self.known.expect(paths.len());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = paths.len().div_ceil(cores.min(paths.len() / FOR_A_THREAD).max(1)).max(1);
        let look = |paths: &[(&str, LinkMode)]| {
            let mut absent = Absent::default();
            let mut look = |path, links| if absent.holds(&self.root, path) { Ok(None) } else { self.look(path, links) };
            paths.iter().map(|(path, links)| look(path, *links)).collect::<Vec<_>>()
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

    /// Whether what lies at a path, or a file in that folder, was written since that time, as a look at it since then has found: be it
    /// what it was again by now. Nothing is looked at for this.
    pub(crate) fn written_since(&self, path: &str, time_ns: i64) -> bool {
        let all = &self.lock().written;
        let is =
            |(before, seen): &(FileStat, Seen)| seen.seen_ns >= time_ns && seen.stat.is_written_since(before, time_ns);
        !all.is_empty() && (all.get(path).is_some_and(is) || all.range(inside(path)).any(|(_, found)| is(found)))
    }

    /// Entries that were added since the last call.
    pub(crate) fn take_fresh(&self) -> Vec<FileDigest> {
        std::mem::take(&mut self.lock().untold)
    }

    /// What lay at `from` lies at `to` now. A file's state changes by that, what lies in a folder keeps its own, unless it had to be
    /// copied. Of what somebody has taken away already nothing is known.
    pub(crate) fn moved(&self, from: &str, to: &str, digest: Digest) {
        let Ok(metadata) = fs::metadata(self.root.join(to)) else { return };
        let mut fresh = self.lock();
        if metadata.is_file() {
            let stat = stat_of(&metadata);
            let settled = fresh.known.remove(from).and_then(|seen| stat.settled_by_move(&seen.stat));
            fresh.add(to, Seen { stat, digest, seen_ns: settled.unwrap_or_else(clock::now_ns) });
            return;
        }
        let now = |to: &str| Some(stat_of(&fs::metadata(self.root.join(to)).ok()?));
        let mut is_copy = None;
        for path in fresh.inside(from) {
            let Some(seen) = fresh.known.remove(&path) else { continue };
            let to = format!("{to}{}", &path[from.len()..]);
            // One file tells it of all.
            if *is_copy.get_or_insert_with(|| now(&to).is_some_and(|now| now.inode != seen.stat.inode)) {
                let copied = now(&to).map(|stat| Seen { stat, seen_ns: clock::now_ns(), ..seen });
                copied.into_iter().for_each(|seen| fresh.add(&to, seen));
            } else {
                fresh.add(&to, seen);
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

    /// The digest of the file at `full`, which is known as `path`.
    pub(super) fn file(&self, full: &Path, path: &str, metadata: &Metadata) -> io::Result<Digest> {
        let stat = stat_of(metadata);
        if let Some(digest) = self.remembered(path, &stat) {
            return Ok(digest);
        }
        let seen_ns = clock::now_ns();
        let digest = of_reader(File::open(full)?)?;
        let kept = self.known.get(path);
        let (mut fresh, seen) = (self.lock(), Seen { stat, digest, seen_ns });
        let before = fresh.known.get(path).copied().or(kept).map(|before| before.stat);
        if let Some(before) = before.filter(|before| !stat.is_unwritten(before)) {
            fresh.written.insert(path.to_owned(), (before, seen));
        }
        fresh.add(path, seen);
        Ok(digest)
    }
}

impl Fresh {
    fn add(&mut self, path: &str, seen: Seen) {
        self.known.insert(path.to_owned(), seen);
        if !lies_in(path, OWN) {
            self.untold.push(FileDigest { path: path.to_owned(), seen });
        }
    }

    /// The files that were read below a folder.
    fn inside(&self, folder: &str) -> Vec<String> {
        self.known.range(inside(folder)).map(|(path, _)| path.clone()).collect()
    }
}

/// All paths in a folder.
fn inside(folder: &str) -> std::ops::Range<String> {
    // `0` is what comes next after `/`.
    format!("{folder}/")..format!("{folder}0")
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_was_copied_to_its_place_was_not_written_there_since() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("from/in")).unwrap();
        ["from/f", "from/in/g"].iter().for_each(|path| fs::write(at(path), "x").unwrap());
        let digester = Digester::new(dir.path(), Box::new(Memory::default()));
        let digest = digester.path("from").unwrap().unwrap();
        crate::files::copy(&at("from"), &at("to")).unwrap();
        digester.moved("from", "to", digest);
        fs::remove_dir_all(at("from")).unwrap();
        assert_eq!(digester.path("to").unwrap(), Some(digest));
        assert!(!digester.written_since("to", 0), "by nobody but Kiln");
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
        let asked = paths.map(|path| (path, LinkMode::Said));
        let found: Vec<_> = digester.paths(&asked).into_iter().map(Result::unwrap).collect();
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
