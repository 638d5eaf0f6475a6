//! Puts outputs in place so that no half is ever seen. Works on paths; knows no recipes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, RenameFlags, access, renameat_with};

use crate::base::digest::Digest;
use crate::base::job::JobId;
use crate::engine::local::across::{beside, elsewhere};
use crate::engine::local::aside::asides;
use crate::engine::local::digest::Digester;
use crate::engine::local::flush::flush;
use crate::engine::local::half::Halves;
use crate::engine::local::keep::keep;
use crate::engine::local::places::{LEADS_OUT, Links, Top, at_work, inside, leads_inside};
use crate::engine::local::staging::{IS_GONE, IS_OTHER, NEW, Staging, swapped};
use crate::engine::outputs::Published;
use crate::event::{Failure, FailureCode, Replaced, Staged};
use crate::fault::fault;
use crate::files::{copy, end_swap, exchange, remove, rename};

impl Staging {
    /// Puts one output in place. Called again after a crash, it finishes what is left.
    fn place(
        &self,
        job: &JobId,
        staged: &Staged,
        is_last: bool,
        placed: &mut Placed,
        digester: &Digester,
    ) -> io::Result<()> {
        let (from, to) = (self.root.join(&staged.from), self.root.join(&staged.to));
        let is_there = |not| match digester.path(&staged.to)? {
            Some(digest) if digest == staged.digest => Ok(()),
            Some(_) | None => Err(io::Error::other(not)),
        };
        if staged.from == staged.to {
            return is_there(IS_OTHER);
        }
        // What stood there may have been set aside by who writes it in place.
        if staged.stood.is_some() && to.symlink_metadata().is_err() {
            self.refuse_half(&staged.to)?;
        }
        // Mostly nothing stands there, and one call does it all. It fails too where the way leads to another file system.
        if renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE).is_ok() {
            placed.puts.push(Put::New { new: from, to: staged.to.clone() });
        } else if let Ok(metadata) = from.symlink_metadata() {
            if !self.replace(job, staged, metadata.is_dir(), is_last, placed, digester)? {
                return Ok(());
            }
        } else {
            return is_there(IS_GONE);
        }
        digester.moved(&staged.from, &staged.to, staged.digest);
        Ok(())
    }

    /// Refuses to put something where another pipeline writes in place, or did when it was killed: it would be written over then. That it
    /// began may be later than the plan of this run.
    fn refuse_half(&self, path: &str) -> io::Result<()> {
        let obstacle = Halves::around(self, &self.root, path).obstacle(&self.root, path);
        obstacle.map_or(Ok(()), |(why, help)| Err(io::Error::other(format!("{why}; {help}"))))
    }

    /// Keeps what a run that died has swapped an output with, where nobody had seen it so.
    fn keep_left(&self, job: &JobId, output: &Staged, placed: &mut Placed, digester: &Digester) -> io::Result<()> {
        if output.from == output.to || self.is_of_this_run(job) {
            return Ok(());
        }
        let from = self.root.join(&output.from);
        for old in [&swapped(&from), &from] {
            placed.found.extend(self.keep_unknown(job, output, old, digester)?);
        }
        Ok(())
    }

    /// Keeps what lies at `old`, unless it is what stood at an output when its run was planned, or what was built for it.
    fn keep_unknown(
        &self,
        job: &JobId,
        output: &Staged,
        old: &Path,
        digester: &Digester,
    ) -> io::Result<Option<Replaced>> {
        if old.symlink_metadata().is_err() {
            return Ok(None);
        }
        let found = digester.lying(old, &output.from);
        let is_known = found.is_some() && [Some(output.digest), output.stood].contains(&found);
        let is_known = is_known && !digester.met.holds(&output.from);
        (!is_known).then(|| keep(&self.root, job, old, &output.to)).transpose()
    }

    /// Puts an output where something may stand, which is kept if it is to be and is not the same. Says whether the output was
    /// moved. Over what stood at the last one nothing has to be put back, for nothing is done after that which could fail: a file
    /// that need not be read for this is just replaced.
    fn replace(
        &self,
        job: &JobId,
        staged: &Staged,
        is_folder: bool,
        is_last: bool,
        placed: &mut Placed,
        digester: &Digester,
    ) -> io::Result<bool> {
        let (from, to) = (self.root.join(&staged.from), self.root.join(&staged.to));
        let copied = placed.copies.of(&to);
        let (aside, new) = (swapped(if copied.is_some() { &to } else { &from }), copied.unwrap_or(from));
        // A file that is in the state in which it was seen is not read for this. What has to be read may be another one by then.
        let quickly = digester.quickly(&staged.to);
        let looked_long = quickly.is_none();
        let now = quickly.map_or_else(|| digester.now(&staged.to), |now| now.ok().flatten());
        let is_same = now == Some(staged.digest);
        let holds_root = || digester.met.holds(&staged.to);
        match to.symlink_metadata() {
            Ok(standing) if !is_same && (holds_root() || is_foreign(staged, now, standing.is_dir() == is_folder)) => {
                self.refuse_half(&staged.to)?;
                if let Some((pipeline, at)) = digester.met.at_work(&self.root, &staged.to) {
                    return Err(io::Error::other(at_work(&pipeline, &at)));
                }
                let kept = keep(&self.root, job, &to, &staged.to)?;
                placed.puts.push(Put::Kept { from: to.clone(), kept });
                fault("publish.kept")?;
            }
            // It came out the same; or after a crash it is there already, and what stood there lies where it was staged.
            Ok(_) if is_same && (is_folder || !digester.is(&staged.from, staged.digest)) => return Ok(false),
            Ok(_) if looked_long || !is_same && !is_last => {
                fault("publish.exchange")?;
                exchange(&new, &to, &aside)?;
                placed.puts.push(Put::Swapped { new: new.clone(), to: staged.to.clone(), aside });
                fault("publish.exchanged")?;
                // What somebody has written there since it was looked at is theirs.
                if digester.lying(&new, &staged.to) != now || holds_root() {
                    let kept = keep(&self.root, job, &new, &staged.to)?;
                    placed.puts.pop();
                    placed.puts.extend([Put::Kept { from: to, kept }, Put::New { new, to: staged.to.clone() }]);
                }
                return Ok(true);
            }
            Ok(_) => return rename(&new, &to).map(|()| true),
            Err(_) => {}
        }
        rename(&new, &to)?;
        placed.puts.push(Put::New { new, to: staged.to.clone() });
        Ok(true)
    }

    /// Makes the folder that an output goes to. A link that the recipe made leads nothing in or out of the root.
    fn make_way(&self, output: &Staged) -> io::Result<()> {
        let top = self.top.get_or_init(|| Top::open(&self.root));
        let holds = |path: &str, links| {
            let folder = Path::new(path).parent();
            top.as_ref().zip(folder).is_some_and(|(top, folder)| top.holds(folder, links))
        };
        // What was staged lies where it was made to lie, if no link is on the way there.
        if holds(&output.to, Links::May) && (output.from == output.to || holds(&output.from, Links::None)) {
            return Ok(());
        }
        leads_inside(&self.root, &output.to)?;
        self.root.join(&output.to).parent().map_or(Ok(()), fs::create_dir_all)?;
        self.stays_inside(output)
    }

    /// Whether something may be put into the folder of an output, where that is still to be done.
    fn may_put(&self, output: &Staged) -> io::Result<()> {
        let leave = self.root.join(&output.to).parent().map_or(Ok(()), |folder| access(folder, Access::WRITE_OK));
        if leave.is_ok() || output.from == output.to || !self.root.join(&output.from).try_exists()? {
            return Ok(());
        }
        Ok(leave?)
    }

    /// Copies an output beside its place, durably, where that is on another file system. A crash leaves a part of it there until
    /// the next run.
    fn bring_near(
        &self,
        job: &JobId,
        step: &str,
        output: &Staged,
        placed: &mut Placed,
        digester: &Digester,
    ) -> io::Result<()> {
        let (from, to) = (self.root.join(&output.from), self.root.join(&output.to));
        // It was moved already.
        let is_gone = from.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if is_gone || from == to || !elsewhere(&from, &to)? {
            return Ok(());
        }
        let (new, old) = (beside(&to, NEW), swapped(&to));
        // A run that died may have swapped them; otherwise it is a part of a copy.
        let is_put = || digester.is(&output.to, output.digest);
        if output.stood != Some(output.digest) && new.symlink_metadata().is_ok() && is_put() {
            placed.found.extend(self.keep_unknown(job, output, &new, digester)?);
        }
        if !end_swap(&old, &to)? {
            placed.found.push(keep(&self.root, job, &old, &output.to)?);
        }
        remove(&new)?;
        placed.copies.0.push(new.clone());
        self.note_beside(job, step, &placed.copies.below(&self.root))?;
        copy(&from, &new)?;
        flush(&new)
    }

    fn stays_inside(&self, output: &Staged) -> io::Result<()> {
        let (own, from, to) = (self.root.join(&self.folder), self.root.join(&output.from), self.root.join(&output.to));
        let is_inside = |folder: &Path, path: &Path| match path.parent() {
            Some(parent) if parent.exists() => inside(folder, parent),
            Some(_) | None => Ok(true), // it was moved already
        };
        if !is_inside(&self.root, &to)? {
            return Err(io::Error::other(LEADS_OUT));
        }
        if output.from != output.to && !is_inside(&own, &from)? {
            return Err(io::Error::other("what was staged lies somewhere else, behind a link"));
        }
        Ok(())
    }

    /// Puts the outputs of a step in place, all or none, and forgets what was staged for it.
    pub(crate) fn publish(
        &self,
        job: &JobId,
        step: &str,
        staged: &[Staged],
        digester: &Digester,
    ) -> Result<Published, Failure> {
        let mut placed = Placed::default();
        if let Err((what, error)) = self.put_all(job, step, staged, digester, &mut placed) {
            let message = format!("{what} could not be put in place: {error}{}", placed.undo(&self.root, job));
            // What is left of it may be all that there is.
            if let Err(error) = self.forget_beside(job, step) {
                tracing::warn!(%error, step, "what is noted of copies cannot be removed");
            }
            return Err(Failure::new(FailureCode::Publish, message));
        }
        let Placed { puts, found, mut copies } = placed;
        if !std::mem::take(&mut copies.0).is_empty() {
            self.remove_beside(job, step);
        }
        let replaced = found.into_iter().chain(puts.into_iter().filter_map(Put::replaced)).collect();
        let (in_place, apart): (Vec<_>, Vec<_>) = staged.iter().partition(|output| output.from == output.to);
        let left = fault("publish.remove").and_then(|()| self.leave(apart.iter().map(|output| output.from.as_str())));
        let aside = || if in_place.is_empty() { Ok(()) } else { self.remove_aside(job, step) };
        if let Err(error) = left.and_then(|()| aside()) {
            self.tell(format!("what was staged for `{step}` could not be removed ({error}); the next run will"));
        }
        Ok(Published { seen: digester.take_fresh(), replaced })
    }

    fn put_all<'a>(
        &self,
        job: &JobId,
        step: &'a str,
        staged: &'a [Staged],
        digester: &Digester,
        placed: &mut Placed,
    ) -> Result<(), (&'a str, io::Error)> {
        // What is in the way of one is found before another is moved.
        for output in staged {
            let way = self.make_way(output).and_then(|()| self.may_put(output));
            way.map_err(|error| (output.to.as_str(), error))?;
        }
        // A disk that is full of the copies, too.
        for output in staged {
            let near = self.keep_left(job, output, placed, digester);
            let near = near.and_then(|()| self.bring_near(job, step, output, placed, digester));
            near.map_err(|error| (output.to.as_str(), error))?;
        }
        for (i, output) in staged.iter().enumerate() {
            let is_last = i + 1 == staged.len();
            let put = fault("publish.place").and_then(|()| self.place(job, output, is_last, placed, digester));
            put.map_err(|error| (output.to.as_str(), error))?;
        }
        let all = fault("publish.placed");
        if staged.iter().any(|output| output.from == output.to) {
            all.map_err(|error| (step, error))?;
            let folder = self.root.join(self.step(job, step));
            let asides = asides(&folder).map_err(|error| (step, error))?;
            for output in staged {
                let kept = self.keep_aside(job, &asides, output, digester);
                placed.puts.extend(kept.map_err(|error| (output.to.as_str(), error))?);
            }
            // From here on the new outputs are the good ones, whatever happens to what was set aside.
            self.forget_aside(job, step, asides).map_err(|error| (step, error))?;
        }
        Ok(())
    }
}

/// What was done to put the outputs of a step in place, in order, so that it can be undone.
#[derive(Default)]
struct Placed {
    puts: Vec<Put>,
    /// What a run that died had left, and is kept whatever becomes of this.
    found: Vec<Replaced>,
    copies: Copies,
}

impl Placed {
    /// Undoes it, the last first, and says what stays.
    fn undo(&mut self, root: &Path, job: &JobId) -> String {
        let mut told: String = self.found.iter().map(is_in).collect();
        for put in self.puts.drain(..).rev() {
            let Err(error) = fault("publish.undo").and_then(|()| put.undo(root)) else { continue };
            told += &put.told(&error);
            // What stood there goes neither with a copy nor with what is staged.
            if let Put::Swapped { new, to, .. } = &put {
                match keep(root, job, new, to) {
                    Ok(kept) => told += &is_in(&kept),
                    Err(_) => self.copies.0.retain(|copy| copy != new),
                }
            }
        }
        told
    }
}

/// A step on the way of an output to its place.
pub(super) enum Put {
    /// It was moved from `new` to where nothing stood.
    New { new: PathBuf, to: String },
    /// It was swapped with what stood there, which is at `new` now.
    Swapped { new: PathBuf, to: String, aside: PathBuf },
    /// What was at `from` is kept.
    Kept { from: PathBuf, kept: Replaced },
}

impl Put {
    fn undo(&self, root: &Path) -> io::Result<()> {
        match self {
            Self::New { new, to } => rename(&root.join(to), new),
            Self::Swapped { new, to, aside } => exchange(new, &root.join(to), aside),
            Self::Kept { from, kept } => rename(&root.join(&kept.kept), from),
        }
    }

    /// What is told where it stays so.
    fn told(&self, error: &io::Error) -> String {
        match self {
            Self::New { to, .. } | Self::Swapped { to, .. } => format!("; {to} is in place already: {error}"),
            Self::Kept { kept, .. } => format!("{}: {error}", is_in(kept)),
        }
    }

    fn replaced(self) -> Option<Replaced> {
        match self {
            Self::Kept { kept, .. } => Some(kept),
            Self::New { .. } | Self::Swapped { .. } => None,
        }
    }
}

fn is_in(Replaced { path, kept }: &Replaced) -> String {
    format!("; what was at {path} is in {kept}")
}

/// Whether what stands where an output goes, now with this digest, is somebody else's: not what Kiln has built, or saw when the
/// run was planned. Of another kind it was not built here either, whatever the records say.
fn is_foreign(staged: &Staged, now: Option<Digest>, same_kind: bool) -> bool {
    staged.keep || !same_kind || now.is_none() || now != staged.stood
}

/// Copies of outputs beside their places. Nothing is left of those that were not put in place, nor of what stood there before:
/// the disk may be full of it.
#[derive(Default)]
struct Copies(Vec<PathBuf>);

impl Copies {
    /// Their paths, relative to the root.
    fn below(&self, root: &Path) -> Vec<String> {
        let below = self.0.iter().filter_map(|copy| copy.strip_prefix(root).ok());
        below.map(|copy| copy.to_string_lossy().into_owned()).collect()
    }

    /// The copy that is to be put at a path, if one is.
    fn of(&self, to: &Path) -> Option<PathBuf> {
        let copy = beside(to, NEW);
        self.0.contains(&copy).then_some(copy)
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        for copy in &self.0 {
            if let Err(error) = remove(copy) {
                tracing::warn!(
                    "{}: what is left of a copy cannot be removed ({error}): remove it yourself",
                    copy.display()
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::engine::local::across::two_file_systems;

    fn job() -> JobId {
        JobId::from_text("build_p_1")
    }

    fn digester(root: &Path) -> Digester {
        Digester::new(root, Box::new(crate::base::file::Memory::default()))
    }

    fn staged(from: &str, to: &str) -> Staged {
        Staged { from: from.to_owned(), to: to.to_owned(), digest: Digest::of(b""), keep: false, stood: None }
    }

    #[test]
    fn of_a_copy_that_fails_nothing_is_left() {
        let (dir, _there) = two_file_systems(".kiln");
        let at = |path: &str| dir.path().join(path);
        let (staging, digester) = (Staging::new(dir.path(), "p"), digester(dir.path()));
        fs::create_dir(at(".kiln/from")).unwrap();
        fs::write(at(".kiln/from/file"), "x").unwrap();
        let _socket = UnixListener::bind(at(".kiln/from/socket")).unwrap(); // cannot be opened, by nobody
        let mut placed = Placed::default();
        staging.bring_near(&job(), "s", &staged(".kiln/from", "to"), &mut placed, &digester).unwrap_err();
        drop(placed);
        assert!(!at(".to.kiln-new").exists());
        fs::write(at(".to.kiln-new"), "what an earlier one left").unwrap();
        let mut placed = Placed::default();
        staging.bring_near(&job(), "s", &staged(".kiln/from/file", "to"), &mut placed, &digester).unwrap();
        assert_eq!(fs::read_to_string(at(".to.kiln-new")).unwrap(), "x");
        drop(placed);
        assert!(!at(".to.kiln-new").exists(), "it was not put in place");
    }

    #[test]
    fn what_stood_there_is_put_back_where_a_swap_with_a_copy_was_cut_short() {
        let (dir, _there) = two_file_systems(".kiln");
        let at = |path: &str| dir.path().join(path);
        let (staging, digester) = (Staging::new(dir.path(), "p"), digester(dir.path()));
        fs::write(at(".kiln/from"), "new").unwrap();
        for (stands, expect) in [(false, "old"), (true, "theirs")] {
            fs::create_dir(at(".to.kiln-old")).unwrap();
            fs::write(at(".to.kiln-old/file"), "old").unwrap();
            if stands {
                fs::write(at("to/file"), "theirs").unwrap();
            }
            staging.clear_beside("to").unwrap();
            assert_eq!(fs::read_to_string(at("to/file")).unwrap(), expect);
            assert_eq!(at(".to.kiln-old").exists(), stands, "it may be the only copy");
        }
        let mut placed = Placed::default();
        staging.bring_near(&job(), "s", &staged(".kiln/from", "to"), &mut placed, &digester).unwrap();
        assert_eq!(placed.found, [Replaced { path: "to".to_owned(), kept: ".to.kiln-replaced-build_p_1".to_owned() }]);
        assert_eq!(fs::read_to_string(at(".to.kiln-replaced-build_p_1/file")).unwrap(), "old");
    }

    #[test]
    fn a_folder_that_comes_out_the_same_is_known_as_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let (staging, digester) = (Staging::new(dir.path(), "p"), digester(dir.path()));
        for folder in ["o/d", ".kiln/staging/p/build_p_1/d-1-0/d"] {
            fs::create_dir_all(at(folder)).unwrap();
            fs::write(at(folder).join("f"), "x").unwrap();
        }
        let from = ".kiln/staging/p/build_p_1/d-1-0/d";
        let digest = digester.path(from).unwrap().unwrap();
        let stands = Staged { digest, stood: Some(digest), ..staged(from, "o/d") };
        let Published { seen, replaced } = staging.publish(&job(), "d", &[stands], &digester).unwrap();
        assert_eq!((replaced, at(from).exists()), (Vec::new(), false));
        let states: Vec<_> = seen.iter().map(|seen| (seen.path.as_str(), seen.seen.stat)).collect();
        assert_eq!(states, [("o/d/f", crate::stat::stat_of(&at("o/d/f").metadata().unwrap()))]);
    }
}
