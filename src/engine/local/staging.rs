//! Where recipes write before their outputs are put in place, and what is still to be done there after a run that died. Works
//! on paths; knows no recipes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::base::job::JobId;
use crate::engine::api::{Attempt, Updates};
use crate::engine::local::across::{beside, elsewhere};
use crate::engine::local::digest::Digester;
use crate::engine::local::keep::{free, kept_before};
use crate::engine::local::leftovers::folders;
use crate::engine::local::places::{LEADS_OUT, Top, inside};
use crate::event::{Failure, FailureCode, Replaced, Staged};
use crate::files::{end_swap, remove};
use crate::pipeline::paths::{OWN, STAGING};
use crate::plan::put_back::PutBack;
use crate::plan::record::OutputRecord;

/// The staging folders of one pipeline below `.kiln/staging/` of the root, on the file system that outputs are on.
#[derive(Debug)]
pub(crate) struct Staging {
    pub(super) root: PathBuf,
    /// Relative to the root.
    pub(super) folder: String,
    /// The folder of the state, where that is known.
    pub(super) state: Option<PathBuf>,
    /// That of the run, once something was staged.
    run: OnceLock<PathBuf>,
    /// Set once the run has the file that tells its end.
    pub(super) marked: OnceLock<()>,
    /// The root, opened with the first output that is put in place.
    pub(super) top: OnceLock<Option<Top>>,
    /// The way to the run, once a step of it has begun.
    run_loop: OnceLock<Updates>,
}

/// The end of the names of what is copied beside its place, and of what stood there while it is swapped with that.
pub(super) const NEW: &str = "kiln-new";
const OLD: &str = "kiln-old";

/// Why nothing can be put in place.
pub(super) const IS_OTHER: &str = "it changed before it was recorded";
pub(super) const IS_GONE: &str = "the staged output is gone";

impl Staging {
    pub(crate) fn new(root: &Path, pipeline: &str) -> Self {
        let (root, folder) = (root.to_owned(), format!("{STAGING}/{pipeline}"));
        Self {
            root,
            folder,
            state: None,
            run: OnceLock::new(),
            marked: OnceLock::new(),
            top: OnceLock::new(),
            run_loop: OnceLock::new(),
        }
    }

    /// From now on what people should know is told by the run, so that its history has it.
    pub(crate) fn tell_by(&self, updates: &Updates) {
        // One way is as good as another.
        drop(self.run_loop.set(updates.clone()));
    }

    /// Tells people what became of their data, or is to be done about it.
    pub(super) fn tell(&self, text: String) {
        match self.run_loop.get() {
            Some(updates) => updates.tell(true, text),
            None => tracing::warn!("{text}"),
        }
    }

    /// The folder of a run, relative to the root.
    pub(super) fn run_of(&self, job: &JobId) -> String {
        format!("{}/{job}", self.folder)
    }

    /// Where is kept what a step has set aside, relative to the root.
    pub(super) fn step(&self, job: &JobId, step: &str) -> String {
        format!("{}/{step}", self.run_of(job))
    }

    /// Where output number `i` of an attempt at a step is written, relative to the root: under its own file name, in a folder
    /// that no other attempt is ever given. What a step has left behind may still write there, and nobody reads that.
    pub(crate) fn path(&self, attempt: &Attempt, step: &str, i: usize, to: &str) -> String {
        let name = to.rsplit('/').next().unwrap_or(to);
        format!("{}-{}-{i}/{name}", self.step(&attempt.job, step), attempt.number)
    }

    /// Makes the folder that an output is written into; for a managed folder it itself too.
    pub(crate) fn prepare(&self, path: &str, folder: bool) -> io::Result<()> {
        let full = self.root.join(path);
        let Some(own) = full.parent() else { return Ok(()) };
        fs::create_dir_all(own)?;
        self.began(own)?;
        if folder { fs::create_dir_all(full) } else { Ok(()) }
    }

    /// Something lies in the folder of the run now.
    pub(super) fn began(&self, inside: &Path) -> io::Result<()> {
        if let Some(run) = inside.parent().filter(|_| self.run.get().is_none()) {
            self.mark(run)?;
            self.run.get_or_init(|| run.to_owned());
        }
        Ok(())
    }

    /// Whether something was staged for a run in this process: no other process has put anything of it in place.
    pub(super) fn is_of_this_run(&self, job: &JobId) -> bool {
        self.run.get().is_some_and(|run| *run == self.root.join(self.run_of(job)))
    }

    /// Removes what is left beside an output of a copy that was never put in place. What stood there is put back if it is gone in a
    /// swap with one; where something else stands there now, it stays until the output is put in place.
    pub(crate) fn clear_beside(&self, path: &str) -> io::Result<()> {
        let (full, own) = (self.root.join(path), self.root.join(OWN));
        let (new, old) = (beside(&full, NEW), beside(&full, OLD));
        if [&new, &old].iter().any(|left| left.symlink_metadata().is_ok()) && elsewhere(&own, &full)? {
            end_swap(&old, &full)?;
            remove(&new)?;
        }
        Ok(())
    }

    /// Forgets what was staged at these paths, relative to the root.
    pub(crate) fn leave<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        let mut folders = paths.into_iter().filter_map(|path| self.root.join(path).parent().map(Path::to_owned));
        // Mostly nothing is in it any more.
        folders.try_for_each(|own| if fs::remove_dir(&own).is_ok() { Ok(()) } else { self.discard(&own) })
    }

    /// What a run that died has kept of these outputs.
    pub(crate) fn kept_before(&self, job: &JobId, staged: &[Staged]) -> Vec<Replaced> {
        staged.iter().filter_map(|output| kept_before(&self.root, job, &output.to)).collect()
    }

    /// Whether a run has left something behind.
    pub(crate) fn is_left(&self) -> bool {
        folders(&self.root.join(&self.folder)).is_ok_and(|runs| !runs.is_empty())
    }

    /// The run is over: nothing more is staged. Gives the mark of its end where something is left that it is for.
    pub(crate) fn end(&self) -> Option<File> {
        let run = self.run.get()?;
        let mark = self.unmark(run);
        Self::forget_mark(run);
        // What is in it still could not be removed; the next run will.
        drop(fs::remove_dir(run));
        mark
    }

    /// What is still to be done where a run died that was about to put these outputs in place. Leaves those that are to be put
    /// there now. What was put there already may have been changed since; a plan sees that. What stands there and is not as it
    /// was built before is to be kept.
    pub(crate) fn halfway(
        &self,
        job: &JobId,
        staged: &mut Vec<Staged>,
        last: &[OutputRecord],
        digester: &Digester,
    ) -> Result<Vec<PutBack>, Failure> {
        let there = |output: &Staged| digester.is(&output.to, output.digest);
        let ready = |output: &Staged| output.from != output.to && digester.is(&output.from, output.digest);
        let found = |output: &Staged| there(output) || ready(output);
        if let Some((output, why)) = staged.iter().find_map(|output| self.no_way(output).map(|why| (output, why))) {
            return Err(not_in_place(output, why));
        }
        if let Some(lost) = staged.iter().find(|output| output.from == output.to && !there(output)) {
            return Err(not_in_place(lost, IS_OTHER));
        }
        let none = staged.first().filter(|_| !staged.iter().any(found));
        let unbuilt = || staged.iter().find(|output| !found(output) && self.is_before(job, output, digester));
        if let Some(gone) = none.or_else(unbuilt) {
            return Err(not_in_place(gone, IS_GONE));
        }
        // After an exchange the old content lies where the new one did.
        staged.retain(found);
        let (placed, ahead): (Vec<_>, Vec<_>) = staged.iter_mut().partition(|output| there(output));
        let untold = placed.into_iter().filter_map(|output| kept_before(&self.root, job, &output.to));
        let untold = untold.map(|Replaced { path, kept }| PutBack::placed(path, kept));
        Ok(untold.chain(ahead.into_iter().map(|output| self.to_finish(job, output, last, digester))).collect())
    }

    /// Why nothing can be put at an output, if nothing can.
    pub(super) fn no_way(&self, output: &Staged) -> Option<&'static str> {
        let to = self.root.join(&output.to);
        let folder = to.parent()?;
        if self.is_blocked(folder) {
            return Some("what is above it is no folder");
        }
        let leads_out = folder.exists() && inside(&self.root, folder).is_ok_and(|inside| !inside);
        leads_out.then_some(LEADS_OUT)
    }

    /// Whether the place still holds what it held before the run: the new content never got there.
    fn is_before(&self, job: &JobId, output: &Staged, digester: &Digester) -> bool {
        let now = digester.now(&output.to);
        let unkept = || output.keep && kept_before(&self.root, job, &output.to).is_none();
        now.is_some() && (now == output.stood || unkept())
    }

    /// What is still to be done at one output, and whether what stands there is to be kept.
    fn to_finish(&self, job: &JobId, output: &mut Staged, last: &[OutputRecord], digester: &Digester) -> PutBack {
        let (from, to) = (self.root.join(&output.from), self.root.join(&output.to));
        let standing = to.symlink_metadata().ok();
        let built = last.iter().find(|built| built.path.as_ref() == Some(&output.to));
        let is_built = || built.is_some_and(|built| digester.is(&output.to, built.digest));
        let keep = standing.as_ref().is_some_and(|standing| standing.is_dir() != from.is_dir() || !is_built());
        output.keep |= keep;
        // Whoever cannot look there does not put it there either.
        let kept = standing.filter(|_| output.keep).and_then(|_| free(&self.root, job, &to, &output.to).ok());
        let before = || kept_before(&self.root, job, &output.to).map(|replaced| replaced.kept);
        PutBack::finished(output.to.clone(), kept.or_else(before))
    }
}

pub(super) fn not_in_place(output: &Staged, why: &str) -> Failure {
    Failure::new(FailureCode::Publish, format!("{} could not be put in place: {why}", output.to))
}

/// Where lies, for a moment, what stood where an output goes, on a file system that cannot swap: beside what is swapped with it.
pub(super) fn swapped(new: &Path) -> PathBuf {
    beside(new, OLD)
}
