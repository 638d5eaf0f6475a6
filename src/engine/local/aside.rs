//! What is set aside for recipes that write in place, and how it is put back: when a step fails, and after a run that died.
//! What somebody else has put in its place since that run died is kept. Works on paths; knows no recipes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::job::JobId;
use crate::clock;
use crate::engine::local::across::{beside, elsewhere};
use crate::engine::local::digest::Digester;
use crate::engine::local::keep::{free, keep, kept_before};
use crate::engine::local::leftovers::{folders, remove_hidden};
use crate::engine::local::met::holds_root;
use crate::engine::local::places::{inside, leads_inside};
use crate::engine::local::put::Put;
use crate::engine::local::staging::Staging;
use crate::engine::outputs::Done;
use crate::event::Staged;
use crate::fault::fault;
use crate::files::{is_empty_folder, remove, rename, tree};
use crate::pipeline::paths::STAGING;
use crate::plan::put_back::PutBack;

/// An output that was set aside for a recipe that writes in place.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Aside {
    /// The output, relative to the root.
    path: String,
    /// Where its last good content is, relative to the root; none where there was none.
    kept: Option<String>,
    /// The folder that it is in, by device and number, where that was there.
    #[serde(default)]
    folder: Option<(u64, u64)>,
    /// Whether it was told already what was kept of it.
    #[serde(default)]
    told: bool,
}

impl Aside {
    /// Whether it is that of an output.
    pub(super) fn is_of(&self, path: &str) -> bool {
        self.path == path
    }
}

/// What another pipeline writes in place, or did when it was killed.
#[derive(Debug)]
pub(super) struct OfOther {
    /// The name of that pipeline.
    pub(super) pipeline: String,
    /// Where the last good content is, relative to the root; none where there was none.
    pub(super) kept: Option<String>,
    /// Whether anything is at its place now.
    pub(super) stands: bool,
}

/// What the way to an output leads to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To where its recipe wrote, or to nothing.
    There,
    /// To another folder, that somebody has put in the place of that one: what is there is not the recipe's.
    Elsewhere,
    /// Out of the root, where nothing is touched, or into something that is no folder.
    Out,
}

/// The list of what a step set aside. It is on disk before anything is moved.
const ASIDE: &str = "aside.json";
/// The end of the names of what is set aside beside its place.
const KEPT: &str = "kiln-kept";
/// The file of a run that its guardian writes to when nothing of the run is left, and Kiln neither.
const ENDED: &str = "ended";

impl Staging {
    /// Makes the file whose time tells when nothing of the run could write any more, once; it is empty until then.
    pub(crate) fn end_mark(&self, job: &JobId) -> io::Result<Option<File>> {
        if self.marked.set(()).is_err() {
            return Ok(None);
        }
        let folder = self.root.join(self.run_of(job));
        fs::create_dir_all(&folder)?;
        File::create(folder.join(ENDED)).map(Some)
    }

    /// Takes the mark away; gives it where something is left that it is for.
    pub(super) fn unmark(&self, run: &Path) -> Option<File> {
        self.marked.get()?;
        let mark = run.join(ENDED);
        if folders(run).is_ok_and(|left| left.is_empty()) {
            // Whoever finds it alone takes it away.
            drop(fs::remove_file(mark));
            return None;
        }
        File::options().write(true).open(mark).ok()
    }

    /// Sets the last good outputs of a step aside, which will write to these paths itself.
    pub(crate) fn set_aside(&self, job: &JobId, step: &str, paths: &[String]) -> io::Result<()> {
        let folder = self.step(job, step);
        if !asides(&self.root.join(&folder))?.is_empty() {
            // The attempt before could not be undone: what it set aside is the last good content, what stands is not.
            for kept in self.put_back(job, step, |_| true)? {
                self.tell(kept.to_string());
            }
        }
        for path in paths {
            leads_inside(&self.root, path)?;
        }
        let own = self.root.join(&folder).join("aside");
        fs::create_dir_all(&own)?;
        self.began(&self.root.join(&folder))?;
        let mut asides = Vec::with_capacity(paths.len());
        for (i, path) in paths.iter().enumerate() {
            let full = self.root.join(path);
            let there = full.symlink_metadata().is_ok();
            let kept = if there && elsewhere(&own, &full)? {
                // What could not be removed then.
                remove(&beside(&full, KEPT))?;
                beside(Path::new(path), KEPT).to_string_lossy().into_owned()
            } else {
                format!("{folder}/aside/{i}")
            };
            let folder = full.parent().and_then(|folder| folder.metadata().ok());
            let folder = folder.map(|folder| (folder.dev(), folder.ino()));
            asides.push(Aside { path: path.clone(), kept: there.then_some(kept), folder, told: false });
        }
        let list = File::create(self.root.join(&folder).join(ASIDE))?;
        serde_json::to_writer(&list, &asides)?;
        fault("aside.listed")?;
        list.sync_all()?;
        for aside in &asides {
            fault("aside.move")?;
            if let Some(kept) = &aside.kept {
                rename(&self.root.join(&aside.path), &self.root.join(kept))?;
            }
            if let Some(parent) = self.root.join(&aside.path).parent() {
                fs::create_dir_all(parent)?;
            }
        }
        Ok(())
    }

    /// Where the last good content of each output is that was set aside, relative to the root; none where there was none.
    fn aside(&self) -> io::Result<BTreeMap<String, Option<String>>> {
        let all = self.all_asides()?.into_iter().map(|(_, _, aside)| aside);
        Ok(all.filter(|aside| self.is_set(aside)).map(|aside| (aside.path, aside.kept)).collect())
    }

    /// What will stand at each of them once that is undone: of what no way leads to, nothing.
    pub(crate) fn to_stand(&self) -> io::Result<BTreeMap<String, Option<String>>> {
        let mut all = BTreeMap::new();
        for (_, _, aside) in self.all_asides()?.into_iter().filter(|(_, _, aside)| self.is_set(aside)) {
            let out = self.way(&aside)? == Way::Out;
            all.insert(aside.path, aside.kept.filter(|_| !out));
        }
        Ok(all)
    }

    /// Where runs that died were writing in place, less what stays on the list because no way leads there.
    pub(super) fn half_written(&self) -> io::Result<Vec<String>> {
        let all = self.all_asides()?.into_iter().map(|(_, _, aside)| aside);
        Ok(all.filter(|aside| self.is_set(aside) && !aside.told).map(|aside| aside.path).collect())
    }

    /// Where the last good content is of what all other pipelines of the root have set aside, or this one under another name: in a run
    /// that goes on or died.
    pub(super) fn aside_of_others(&self) -> io::Result<BTreeMap<String, OfOther>> {
        let own = self.root.join(&self.folder);
        let mut all = BTreeMap::new();
        for folder in folders(&self.root.join(STAGING))?.into_iter().filter(|folder| *folder != own) {
            let pipeline = name_of(&folder);
            let asides = Self::new(&self.root, &pipeline).aside()?.into_iter();
            all.extend(asides.map(|(path, kept)| {
                let stands = self.stands(&path);
                (path, OfOther { pipeline: pipeline.clone(), kept, stands })
            }));
        }
        Ok(all)
    }

    /// The outputs that a step was writing in place, where it wrote them.
    pub(super) fn begun_in_place(&self, job: &JobId, step: &str) -> io::Result<Vec<String>> {
        let asides = asides(&self.root.join(self.step(job, step)))?.into_iter();
        let its = asides.filter(|aside| self.is_set(aside) && self.way(aside).is_ok_and(|way| way == Way::There));
        Ok(its.map(|aside| aside.path).collect())
    }

    /// Where the way to an output leads now.
    fn way(&self, aside: &Aside) -> io::Result<Way> {
        let path = self.root.join(&aside.path);
        let Some(folder) = path.parent() else { return Ok(Way::There) };
        let found = match folder.metadata() {
            Ok(found) => found,
            Err(_) if self.is_blocked(folder) => return Ok(Way::Out),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Way::There),
            Err(error) => return Err(at(&aside.path)(error)),
        };
        if !found.is_dir() {
            return Ok(Way::Out);
        }
        if !inside(&self.root, folder).map_err(at(&aside.path))? {
            return Ok(Way::Out);
        }
        let same = aside.folder.is_none_or(|folder| folder == (found.dev(), found.ino()));
        Ok(if same { Way::There } else { Way::Elsewhere })
    }

    /// Whether something that is no folder stands where a folder belongs, or above it.
    pub(super) fn is_blocked(&self, folder: &Path) -> bool {
        let mut above = folder.ancestors().take_while(|above| *above != self.root);
        above.find(|above| above.symlink_metadata().is_ok()).is_some_and(|there| !there.is_dir())
    }

    /// Whether it was moved, as it was to be, so that what stands there is the step's.
    fn is_set(&self, aside: &Aside) -> bool {
        aside.kept.as_ref().is_none_or(|kept| self.stands(kept))
    }

    /// Whether something is there, at a path relative to the root.
    fn stands(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    /// Puts back what a step set aside that failed, if it did, forgets it, and says what was kept. What stands there is taken away
    /// where it looks as if it were the step's, and nobody has put another folder there.
    pub(crate) fn put_back(&self, job: &JobId, step: &str, is_its: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
        let folder = self.root.join(self.step(job, step));
        let put_back = |aside: &Aside| {
            let stands = self.stands(&aside.path);
            let is_theirs = || !is_its(&aside.path) || holds_root(&self.root.join(&aside.path));
            let theirs = stands && (self.way(aside)? == Way::Elsewhere || is_theirs());
            let undone = self.undo(job, &folder, aside, theirs)?;
            // What else was kept is told already.
            Ok(undone.filter(|undone| theirs || undone.out).and_then(|undone| undone.kept_of_others()))
        };
        let asides = asides(&folder)?;
        // What cannot be put back keeps no other from it.
        let all: Vec<io::Result<_>> = asides.iter().filter(|aside| self.is_set(aside)).map(put_back).collect();
        let told = all.into_iter().collect::<io::Result<Vec<Option<String>>>>()?;
        self.remove_aside(job, step)?;
        Ok(told.into_iter().flatten().collect())
    }

    /// Puts back what stood at an output, in the place of what stands there, which is kept if it is not the step's.
    fn undo(&self, job: &JobId, step: &Path, aside: &Aside, theirs: bool) -> io::Result<Option<PutBack>> {
        if self.way(aside)? == Way::Out {
            return self.keep_good(job, aside);
        }
        let from = self.root.join(&aside.path);
        let kept = theirs.then(|| keep(&self.root, job, &from, &aside.path)).transpose()?;
        let undone = self.undone(job, aside, kept.map(|replaced| replaced.kept));
        self.restore(step, aside).map_err(at(&aside.path))?;
        Ok(undone)
    }

    /// Keeps the last good content of an output where the way there leads out of the root.
    fn keep_good(&self, job: &JobId, aside: &Aside) -> io::Result<Option<PutBack>> {
        let Some(good) = aside.kept.as_ref().filter(|good| self.stands(good)) else { return Ok(None) };
        let kept = keep(&self.root, job, &self.root.join(good), &aside.path)?.kept;
        Ok(Some(PutBack { out: true, ..PutBack::undone(aside.path.clone(), true, Some(kept)) }))
    }

    /// Takes away what stands at an output, and puts back what stood there before.
    fn restore(&self, step: &Path, aside: &Aside) -> io::Result<()> {
        let path = self.root.join(&aside.path);
        let good = aside.kept.as_ref().map(|kept| self.root.join(kept));
        if good.as_ref().is_some_and(|good| good.symlink_metadata().is_err()) {
            return Ok(()); // it was not moved yet, or is back
        }
        fault("put_back.remove")?;
        let away = step.join("half");
        remove(&away)?;
        // At once, where that can be: of what is half removed nobody could tell whose it is.
        if rename(&path, &away).is_err() {
            remove(&path)?;
        }
        fault("put_back.removed")?;
        let Some(good) = good else { return Ok(()) };
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        rename(&good, &path)
    }

    /// What runs that died have set aside, and in which folders of a run and of its step that is told.
    fn all_asides(&self) -> io::Result<Vec<(PathBuf, PathBuf, Aside)>> {
        let mut all = Vec::new();
        for run in folders(&self.root.join(&self.folder))? {
            for step in folders(&run)? {
                all.extend(asides(&step)?.into_iter().map(|aside| (run.clone(), step.clone(), aside)));
            }
        }
        all.sort_by(|(_, _, a), (_, _, b)| a.path.cmp(&b.path));
        Ok(all)
    }

    /// What is to be undone after runs that died, less what steps had done by then, in a fixed order, with paths for names.
    /// Changes nothing.
    pub(crate) fn to_undo(&self, done: &Done, digester: &Digester) -> io::Result<Vec<PutBack>> {
        let mut all = Vec::new();
        for (run, step, aside) in self.all_asides()? {
            let (job, out) = (job_of(&run), self.way(&aside)? == Way::Out);
            if done.contains(&(job.clone(), name_of(&step))) {
                continue;
            }
            let good = aside.kept.as_ref().filter(|good| self.stands(good));
            // It is over, or nothing is done there.
            if !self.is_set(&aside) || out && good.is_none() {
                continue;
            }
            let moved = match good.filter(|_| out) {
                Some(good) => Some(self.root.join(good)),
                None => self.is_theirs(&run, &aside, digester)?.then(|| self.root.join(&aside.path)),
            };
            let kept = moved.map(|from| free(&self.root, &job, &from, &aside.path)).transpose()?;
            all.extend(self.undone(&job, &aside, kept).map(|undone| PutBack { out, ..undone }));
        }
        Ok(all)
    }

    /// Takes away what runs that died left behind, puts back what they had set aside, and tells what that was. What no way leads
    /// to stays on its list: it is half-written, should it ever come back.
    pub(crate) fn tidy(&self, digester: &Digester) -> io::Result<Vec<PutBack>> {
        let (mut all, mut unreached) = (Vec::new(), BTreeMap::<PathBuf, Vec<Aside>>::new());
        for (run, step, aside) in self.all_asides()? {
            let theirs = self.is_theirs(&run, &aside, digester)?;
            let begun = self.is_set(&aside) && self.way(&aside)? == Way::Out;
            all.extend(self.undo(&job_of(&run), &step, &aside, theirs)?);
            if begun {
                unreached.entry(step).or_default().push(Aside { kept: None, told: true, ..aside });
            }
        }
        fault("tidy.remove")?;
        self.clear(&unreached)?;
        Ok(all)
    }

    /// Takes away what runs that died left behind, less the lists of these steps, which become shorter.
    fn clear(&self, unreached: &BTreeMap<PathBuf, Vec<Aside>>) -> io::Result<()> {
        let own = self.root.join(&self.folder);
        remove_hidden(&own)?;
        for run in folders(&own)? {
            for step in folders(&run)? {
                let Some(asides) = unreached.get(&step) else {
                    // First of all: should the rest stay, nothing of it is undone twice.
                    remove(&step.join(ASIDE))?;
                    continue;
                };
                let (list, new) = (step.join(ASIDE), step.join("new.json"));
                fs::write(&new, serde_json::to_vec(asides)?)?;
                fs::rename(new, list)?;
            }
            let stays = self.remove_all_beside(&run)?;
            if !stays && !unreached.keys().any(|step| step.starts_with(&run)) {
                self.discard(&run)?;
                continue;
            }
            for step in folders(&run)? {
                let left = if unreached.contains_key(&step) { folders(&step)? } else { vec![step] };
                left.iter().try_for_each(|folder| self.discard(folder))?;
            }
        }
        if unreached.is_empty() {
            // What could not be removed may be in it.
            drop(fs::remove_dir(own));
        }
        Ok(())
    }

    /// What is undone at an output, if anything is. What was kept over that by a run that died is told too.
    fn undone(&self, job: &JobId, aside: &Aside, kept: Option<String>) -> Option<PutBack> {
        let before = || kept_before(&self.root, job, &aside.path).map(|replaced| replaced.kept);
        let kept = kept.or_else(|| if aside.told { None } else { before() });
        let pending = match &aside.kept {
            Some(good) => self.stands(good),
            None => self.stands(&aside.path) && !is_empty_folder(&self.root.join(&aside.path)),
        };
        let is_some = pending || kept.is_some();
        is_some.then(|| PutBack::undone(aside.path.clone(), aside.kept.is_some(), kept))
    }

    /// Whether what stands at an output may be somebody else's than the run's that died, and would be lost: it was changed
    /// when nothing of the run was left, or nobody knows when that was.
    fn is_theirs(&self, run: &Path, aside: &Aside, digester: &Digester) -> io::Result<bool> {
        let path = self.root.join(&aside.path);
        // Otherwise it is over, or has not begun. An empty folder is nothing.
        if !self.is_set(aside) || !self.stands(&aside.path) || is_empty_folder(&path) {
            return Ok(false);
        }
        let theirs = match ended(run) {
            _ if self.way(aside)? != Way::There => true,
            Some(ended) if !elsewhere(run, &path)? => changed_since(&path, ended).unwrap_or(true),
            Some(_) | None => true,
        };
        let good = || aside.kept.as_ref().and_then(|kept| digester.now(kept));
        let same = || good().is_some_and(|good| digester.is(&aside.path, good));
        Ok(theirs && !same() || holds_root(&path))
    }

    /// Forgets what a step has set aside.
    pub(crate) fn remove_aside(&self, job: &JobId, step: &str) -> io::Result<()> {
        remove(&self.root.join(self.step(job, step)))
    }

    /// Forgets what a step has set aside, wherever that is: from then on nothing is undone. Removes what lies beside its place.
    pub(super) fn forget_aside(&self, job: &JobId, step: &str, asides: Vec<Aside>) -> io::Result<()> {
        let own = format!("{}/", self.folder);
        let kept = asides.into_iter().filter_map(|aside| aside.kept);
        let beside: Vec<_> = kept.filter(|kept| !kept.starts_with(&own)).collect();
        self.note_beside(job, step, &beside)?;
        remove(&self.root.join(self.step(job, step)).join(ASIDE))?;
        if !beside.is_empty() {
            self.remove_beside(job, step);
        }
        Ok(())
    }

    /// Keeps what was set aside for an output that is in place, if it is to be kept and is not the same.
    pub(super) fn keep_aside(
        &self,
        job: &JobId,
        asides: &[Aside],
        output: &Staged,
        digester: &Digester,
    ) -> io::Result<Option<Put>> {
        let aside = asides.iter().find(|aside| aside.path == output.to);
        let Some(kept) = aside.and_then(|aside| aside.kept.as_ref()) else { return Ok(None) };
        let from = self.root.join(kept);
        let Ok(stood) = from.symlink_metadata() else { return Ok(None) };
        // Of another kind it was not built here, whatever the records say.
        let is_kept = output.keep || stood.is_dir() != self.root.join(&output.to).is_dir();
        if !is_kept || digester.is(kept, output.digest) && !digester.met.holds(kept) {
            return Ok(None);
        }
        keep(&self.root, job, &from, &output.to).map(|kept| Some(Put::Kept { from, kept }))
    }
}

/// Says where it happened.
fn at(path: &str) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// The run whose folder it is.
fn job_of(run: &Path) -> JobId {
    JobId::from_text(&name_of(run))
}

/// The last part of a path, as text.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a step has set aside. Of a list that was not written to its end nothing was moved yet.
pub(super) fn asides(step: &Path) -> io::Result<Vec<Aside>> {
    match fs::read(step.join(ASIDE)) {
        Ok(list) => Ok(serde_json::from_slice(&list).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether all is told of what a step has set aside, and nothing is left of it but that list.
pub(super) fn is_told(step: &Path) -> io::Result<bool> {
    let asides = asides(step)?;
    Ok(!asides.is_empty() && asides.iter().all(|aside| aside.told) && folders(step)?.is_empty())
}

/// A time of the file system: seconds and nanoseconds.
type Time = (i64, i64);

/// When nothing of a run was left any more, by the clock of the file system, where that is known: its guardian may have been
/// killed too, or the clock may have been set back since.
fn ended(run: &Path) -> Option<Time> {
    let mark = run.join(ENDED).metadata().ok().filter(|mark| mark.len() > 0)?;
    let ended = (mark.mtime(), mark.mtime_nsec());
    (ended.0.saturating_mul(1_000_000_000).saturating_add(ended.1) <= clock::now_ns()).then_some(ended)
}

/// Whether anything at or below a path was changed then or later.
fn changed_since(path: &Path, time: Time) -> io::Result<bool> {
    for entry in tree(path) {
        let (_, metadata) = entry?;
        if (metadata.ctime(), metadata.ctime_nsec()) >= time {
            return Ok(true);
        }
    }
    Ok(false)
}
