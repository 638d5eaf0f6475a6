//! The port of what lies below a root: outputs that are put in place there, and what runs that died have left there. It is there
//! beside the engine of a run, whichever that is. Does not know how outputs are made.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use crate::base::file::FileDigest;
use crate::base::id::RecipeId;
use crate::base::job::JobId;
use crate::event::{Failure, Replaced, Staged};
use crate::plan::put_back::PutBack;
use crate::plan::record::OutputRecord;

/// The outputs of one pipeline below its root.
pub trait Outputs: Send + Sync {
    /// Makes the staged outputs of steps durable, together, and says of each step in turn how that went. What fails is
    /// [taken back](Outputs::take_back). May block.
    fn flush(&self, job: &JobId, steps: &[StagedStep]) -> Vec<Result<(), Failure>>;

    /// Takes back what a step has made whose outputs are complete and will not be put in place, and tells what people should know
    /// of that. May block.
    fn take_back(&self, job: &JobId, step: &str, staged: &[Staged]) -> Vec<String>;

    /// Puts the staged outputs of a step in place and forgets what was staged for it. May block. Called after it was
    /// committed that this is about to happen; called again for the same outputs, it finishes what is left.
    ///
    /// # Errors
    /// Why the outputs are not in place.
    fn publish(&self, job: &JobId, step: &str, staged: &[Staged]) -> Result<Published, Failure>;

    /// Makes it durable that the outputs of these steps are in place, where a loss of power could undo that behind the back of
    /// their records and the next run would not see it, or not build them again. Says of each step in turn how that went: the
    /// record of one that fails is not to count. May block.
    fn settle(&self, steps: &[StagedStep]) -> Vec<Result<(), Failure>>;

    /// What is still to be done where a run died that was about to put these outputs of a step in place; the last record has what was
    /// built there before. Leaves those that are still to be put there, and marks what stands there to be kept if it is
    /// neither that nor the new content. Changes nothing.
    ///
    /// # Errors
    /// Why the outputs cannot be put in place any more: nothing of that is to be tried then.
    fn halfway(
        &self,
        job: &JobId,
        step: &str,
        staged: &mut Vec<Staged>,
        last: &[OutputRecord],
    ) -> Result<Vec<PutBack>, Failure>;

    /// Of outputs that cannot be put in place any more: keeps copies of what somebody has put there since, and takes away our old ones.
    fn give_up(&self, job: &JobId, step: &str, staged: &[Staged], last: &[OutputRecord]) -> Vec<Replaced>;

    /// What a run that died has kept of these outputs, and could not tell.
    fn kept_before(&self, job: &JobId, staged: &[Staged]) -> Vec<Replaced>;

    /// What a run that died has left of which only another state knows what it had done: its folder, relative to the root, and that
    /// state. Nothing of it is to be touched.
    ///
    /// # Errors
    /// Why nobody knows of which state it is.
    fn left_by_other(&self) -> io::Result<Option<(String, PathBuf)>>;

    /// Ends processes of runs that died and of which not even their own watch was left, and names them. `died` says
    /// whether there was such a run. Called before anything is put in place for it. May block.
    fn end_survivors(&self, died: bool) -> Vec<String>;

    /// Keeps what a step of a run that died wrote where an input of it is lost meanwhile: it may have been moved there. Says
    /// so; none where nothing was kept.
    fn keep_lost(&self, job: &JobId, step: &str) -> Option<String>;

    /// Takes away what runs that died left behind, less what [is kept](Outputs::keep_lost), puts back what they had set aside, and
    /// tells that, in a fixed order. Called before a run begins and after all that had to be published was published: by steps
    /// that are `done`.
    ///
    /// # Errors
    /// What the system says.
    fn tidy(&self, done: &Done) -> io::Result<Vec<PutBack>>;

    /// What `tidy` would undo of what was being written in place, where these steps are `done`, in a fixed order. Changes nothing.
    fn put_back(&self, done: &Done) -> Vec<PutBack>;

    /// The paths at which runs that died were writing in place, where that is not undone yet.
    fn half_written(&self) -> Vec<String>;

    /// Why what lies where the outputs of a step belong cannot have been built: it is not of their kind. Looks only.
    fn misfit(&self, id: RecipeId) -> Option<String>;
}

/// A step by its name, with its outputs that are staged.
pub type StagedStep = (String, Vec<Staged>);

/// Steps of runs that died whose outputs are all in place.
pub type Done = BTreeSet<(JobId, String)>;

/// Outputs that are in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Digests of files that were read for it.
    pub seen: Vec<FileDigest>,
    /// What stood there, was not of Kiln's making, and is kept.
    pub replaced: Vec<Replaced>,
}

impl Published {
    /// Why its step failed all the same, with what people would not be told otherwise.
    #[must_use]
    pub fn fails(&self, failure: Failure) -> Failure {
        let told =
            self.replaced.iter().map(|Replaced { path, kept }| format!("what stood at {path} is kept in {kept}"));
        failure.also(told.collect())
    }
}
