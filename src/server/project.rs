//! The projects that are served: each a pipeline file, read again when it has changed. Does not know what is asked of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::base::file::FileStat;
use crate::base::id::{NodeId, RecipeId};
use crate::base::job::{JobId, JobState};
use crate::pipeline::types::Pipeline;
use crate::server::archive::{Archive, Standing};
use crate::server::error::{ApiError, words};
use crate::server::live::Of;
use crate::server::turn::{Turn, guard};
use crate::server::{Notice, Tell};
use crate::session::fail::Fail;
use crate::session::load::{self, Given, Loaded};
use crate::session::{Site, state};
use crate::store::filter::RunFilter;

/// Nobody waits longer for someone who looks at a file.
const PATIENCE: Duration = Duration::from_secs(2);

/// What each file that is served stands for: no two have a key, or a history, together.
#[derive(Debug, Default)]
pub(crate) struct Taken(Mutex<Vec<Identity>>);

#[derive(Debug)]
struct Identity {
    file: PathBuf,
    key: String,
    name: String,
    /// The state's folder.
    folder: PathBuf,
}

impl Taken {
    /// Lets a file, given by its number among those that are served, stand for this from now on.
    fn take(&self, number: usize, identity: Identity) -> Result<(), Fail> {
        let mut all = guard(&self.0);
        for (_, other) in all.iter().enumerate().filter(|(other, _)| *other != number) {
            let both = format!("{} and {} are both", other.file.display(), identity.file.display());
            let (what, help) = if other.key == identity.key {
                (format!("project {}", identity.key), "say `project = \"…\"` in one of them")
            } else if (&other.name, &other.folder) == (&identity.name, &identity.folder) {
                (format!("pipeline {}, with one history", identity.name), "give one of them another `name`")
            } else {
                continue;
            };
            return Err(Fail::Usage(format!("{both} {what}"), Some(help.to_owned())));
        }
        match all.get_mut(number) {
            Some(own) => *own = identity,
            None => all.push(identity),
        }
        Ok(())
    }
}

/// A project.
pub(crate) struct Project {
    file: PathBuf,
    /// The name of the pipeline.
    name: String,
    /// Its number among those that are served.
    pub(crate) number: usize,
    site: Site,
    taken: Arc<Taken>,
    tell: Tell,
    /// Whose turn it is to look at the file.
    turn: Turn,
    now: Mutex<Now>,
    /// Where its runs are kept.
    pub(crate) archive: Arc<Archive>,
}

struct Now {
    stat: Option<FileStat>,
    loaded: Arc<Loaded>,
    /// Whether the file counts once no job goes on.
    later: bool,
}

impl Project {
    /// Opens a project. `archives` has what was opened for others, `taken` what they stand for.
    pub(crate) fn open(
        (number, file): (usize, &Path),
        site: &Site,
        tell: Tell,
        taken: &Arc<Taken>,
        archives: &mut Vec<Arc<Archive>>,
    ) -> Result<Self, Fail> {
        let stat = stat(file);
        let loaded = Arc::new(load::load(file, &Given::default())?);
        let folder = state(site, &loaded.root);
        taken.take(number, identity(file, &loaded, &folder))?;
        let archive = match archives.iter().find(|archive| archive.folder == folder) {
            Some(archive) => Arc::clone(archive),
            None => {
                let archive = Arc::new(Archive::open(folder)?);
                archives.push(Arc::clone(&archive));
                archive
            }
        };
        let name = loaded.pipeline.name.clone();
        let (site, taken, now) = (site.clone(), Arc::clone(taken), Mutex::new(Now { stat, loaded, later: false }));
        Ok(Self { file: file.to_owned(), name, number, site, taken, tell, turn: Turn::default(), now, archive })
    }

    /// Reads the file. One that would stand for what another one does, or keep its history elsewhere, is not taken.
    fn read(&self, key: &str) -> Result<Loaded, Fail> {
        let loaded = load::load(&self.file, &Given::default())?;
        let folder = state(&self.site, &loaded.root);
        // Its history, its locks and its jobs at work go by these.
        let (root, name) = (loaded.root.display(), &loaded.pipeline.name);
        let changed = if folder != self.archive.folder {
            format!("its root has changed: it is {root} now")
        } else if *name != self.name {
            format!("its name has changed: it is {name} now")
        } else if loaded.pipeline.project != key && self.goes_on() {
            // Whoever watches that job asks for it by the key.
            let (file, project) = (self.file.display(), &loaded.pipeline.project);
            let help = "that counts once no job of it waits or runs".to_owned();
            return Err(Fail::Usage(format!("{file}: its project has changed: it is {project} now"), Some(help)));
        } else {
            self.taken.take(self.number, identity(&self.file, &loaded, &folder))?;
            return Ok(loaded);
        };
        let help = "start the server anew for that".to_owned();
        Err(Fail::Usage(format!("{}: {changed}", self.file.display()), Some(help)))
    }

    /// The pipeline as it was when the file was looked at last. Does not look at it.
    pub(crate) fn last(&self) -> Arc<Loaded> {
        Arc::clone(&self.lock().loaded)
    }

    /// The pipeline as it is in the file. While the file has mistakes, as it last had none; while somebody is held up who looks
    /// at it, as it was before. May block.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        if let Some(_turn) = self.turn.take(PATIENCE) {
            self.look();
        }
        self.last()
    }

    /// Reads the file if it has changed.
    fn look(&self) {
        let stat = stat(&self.file);
        let (known, later) = {
            let now = self.lock();
            (now.stat, now.later)
        };
        if stat == known && (!later || self.goes_on()) {
            return;
        }
        let read = self.read(&self.last().pipeline.project);
        let later = read.is_err() && self.goes_on();
        let mut now = self.lock();
        (now.stat, now.later) = (stat, later);
        match read {
            Ok(loaded) => self.replace(&mut now, loaded),
            Err(fail) => {
                drop(now);
                (self.tell)(Notice::Broken(&fail));
            }
        }
    }

    /// The pipeline as it is in the file now, for a job of its own.
    ///
    /// # Errors
    /// The mistakes in the file.
    pub(crate) fn fresh(&self) -> Result<Loaded, ApiError> {
        let loaded = self.read(&self.last().pipeline.project).map_err(|fail| ApiError::conflict(words(&fail)))?;
        if loaded.source.text != self.last().source.text {
            // Also where it was refused before, and nothing about it has changed but what others stand for.
            self.lock().stat = None;
            drop(self.loaded());
        }
        Ok(loaded)
    }

    /// Whether a job of it waits or runs.
    fn goes_on(&self) -> bool {
        self.first(JobState::Queued).or_else(|| self.running()).is_some()
    }

    /// A job of it that runs.
    pub(crate) fn running(&self) -> Option<JobId> {
        self.first(JobState::Running)
    }

    fn first(&self, state: JobState) -> Option<JobId> {
        let filter = RunFilter { pipeline: Some(self.name.clone()), state: Some(state), ..RunFilter::default() };
        let rows = self.archive.ask(Vec::new(), |reader| reader.runs_now(&filter, &self.archive.folder));
        Some(rows.ok()?.into_iter().next()?.id)
    }

    /// The key of the project.
    pub(crate) fn key(&self) -> String {
        self.loaded().pipeline.project.clone()
    }

    /// The job of that id.
    pub(crate) fn standing(&self, job: &str) -> Result<Standing, ApiError> {
        let found = self.archive.run(&self.name, &JobId::from_text(job))?;
        found.ok_or_else(|| ApiError::none(format!("job `{job}` does not exist in project {}", self.key())))
    }

    /// A job of it that is followed.
    pub(crate) fn of(&self, job: JobId) -> Of<'_> {
        Of { archive: &self.archive, pipeline: &self.name, job }
    }

    /// The name of its pipeline, which stays while the server runs.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    fn replace(&self, now: &mut Now, loaded: Loaded) {
        if loaded.source.text != now.loaded.source.text {
            (self.tell)(Notice::ReadAgain(&loaded.source.name));
            now.loaded = Arc::new(loaded);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        guard(&self.now)
    }
}

fn identity(file: &Path, loaded: &Loaded, folder: &Path) -> Identity {
    let Pipeline { project, name, .. } = &*loaded.pipeline;
    Identity { file: file.to_owned(), key: project.clone(), name: name.clone(), folder: folder.to_owned() }
}

fn stat(file: &Path) -> Option<FileStat> {
    let metadata = fs::metadata(file).ok()?;
    let ns = |secs: i64, nsecs: i64| secs.saturating_mul(1_000_000_000).saturating_add(nsecs);
    Some(FileStat {
        size: metadata.size(),
        mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    })
}

/// The names of a pipeline as DSS has them.
pub(crate) trait Names {
    /// The name of a dataset, or the id of another node.
    fn id_of(&self, node: NodeId) -> String;
    /// The name of a recipe. One that is written in its node is called after it, as DSS does it.
    fn recipe_name(&self, recipe: RecipeId) -> String;
    /// The key of a node in references: with its project where that is another one.
    fn reference(&self, node: NodeId) -> String;
    /// The recipe of that name.
    fn recipe_named(&self, name: &str) -> Option<RecipeId>;
}

impl Names for Pipeline {
    fn id_of(&self, node: NodeId) -> String {
        let node = &self.nodes[node];
        node.id.clone().unwrap_or_else(|| node.name.clone())
    }

    fn recipe_name(&self, recipe: RecipeId) -> String {
        let name = &self.recipes[recipe].name;
        let inline = self.node(name).is_some();
        if !inline {
            return name.clone();
        }
        let mut called = format!("compute_{name}");
        while self.names.contains_key(&called) {
            called.push('_');
        }
        called
    }

    fn reference(&self, node: NodeId) -> String {
        match self.nodes[node].project.as_ref().filter(|project| **project != self.project) {
            Some(project) => format!("{project}.{}", self.id_of(node)),
            None => self.id_of(node),
        }
    }

    fn recipe_named(&self, name: &str) -> Option<RecipeId> {
        self.recipes.ids().find(|id| self.recipe_name(*id) == name)
    }
}
