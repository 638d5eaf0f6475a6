//! Remembers that a request found nothing to do, and what that rested on. As long as all of that is the same, the same
//! request finds nothing to do again, and need not read the pipeline to know it. What is remembered is a guess until it is
//! [checked](Kept::hold) under the pipeline's lock; whenever anything is in doubt, it is as if nothing were remembered.

mod format;

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::base::digest::Digest;
use crate::base::file::{FileDigest, FileStat, Seen};
use crate::base::span::Source;
use crate::clock;
use crate::engine::api::Evidence;
use crate::engine::local::evidence::{has_shell, state_of, unchanged};
use crate::event::RunStarted;
use crate::session::load::{plain_root, text};
use crate::session::start::{Locks, Origin, is_alone, lock_of};
use crate::session::{Planned, Request, Session, Site, state};
use crate::store::lock::host;
use crate::store::read::Reader;
use format::{Head, Variable};

/// Where it is kept, below the state's folder.
const FOLDER: &str = "cache";
/// The end of the names of its files.
const ENDING: &str = ".memo";
/// So many requests are remembered.
const KEPT: usize = 8;

/// What is asked for, with all that understands it: another program may come to another verdict.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    file: PathBuf,
    /// The folder of the state; there is none elsewhere than in the root.
    state: PathBuf,
    root: PathBuf,
    key: Digest,
}

/// What is remembered of a question.
pub(crate) struct Kept {
    question: Question,
    memo: format::Memo,
}

/// A question that is about to be answered.
pub(crate) struct Basis {
    question: Question,
    /// The mark of the last good builds, from before they were read.
    mark: Option<String>,
}

/// That there is nothing to do, and what that rests on.
pub(crate) struct Verdict {
    question: Question,
    file: FileStat,
    mark: String,
    variables: Vec<Variable>,
    shell: bool,
    files: Vec<FileDigest>,
}

impl Question {
    /// The question that a request for a file is; none where nothing is remembered of it.
    pub(crate) fn new(site: &Site, file: &Path, request: &Request) -> Option<Self> {
        let root = plain_root(file);
        let state = state(site, &root);
        if site.state.is_some() || !state.is_dir() {
            return None;
        }
        let program = program()?;
        let version = env!("CARGO_PKG_VERSION");
        let asked = format!("{version} {program:?} {:?} {:?} {file:?} {root:?} {request:?}", site.folder, site.cores);
        Some(Self { file: file.to_owned(), state, root, key: Digest::of(asked.as_bytes()) })
    }

    fn path(&self) -> PathBuf {
        self.state.join(FOLDER).join(format!("{}{ENDING}", &self.key.to_string()[..32]))
    }

    /// What is remembered of it, if its file is as it was.
    pub(crate) fn recall(self) -> Option<Kept> {
        let memo = format::read(fs::read(self.path()).ok()?, self.key)?;
        let now = state_of(&self.file).ok()?;
        (now == memo.head.file).then_some(Kept { question: self, memo })
    }

    /// Looks at the last good builds before they are read.
    pub(crate) fn basis(self, session: &Session) -> Basis {
        let mark = mark(&self.state, &session.pipeline().name);
        Basis { question: self, mark }
    }
}

/// Which program this is: one that was built anew may understand a file otherwise.
fn program() -> Option<FileStat> {
    state_of(Path::new("/proc/self/exe")).ok()
}

/// The mark of the last good builds; none where a run of the pipeline has not ended.
fn mark(state: &Path, pipeline: &str) -> Option<String> {
    Reader::open(state).ok()??.mark(pipeline).ok()?
}

fn variable(site: &Site, name: &str) -> Variable {
    let value = site.environment.get(name).map(|value| Digest::of(value.as_bytes()));
    Variable { name: name.to_owned(), value }
}

impl Kept {
    /// Takes the lock of the pipeline and opens the history, if all that was remembered is still so. Where others build in the same state it is
    /// not taken: what they may not write meanwhile is not known here.
    pub(crate) fn hold(&self, site: &Site) -> Option<(Locks, Reader)> {
        let Question { state, root, .. } = &self.question;
        let head = &self.memo.head;
        let pipeline = &head.started.pipeline;
        let locks = lock_of(pipeline, state, root, &[]).ok()?;
        let reader = Reader::open(state).ok()??;
        let holds = is_alone(state, pipeline)
            && reader.mark(pipeline).ok()?.as_ref() == Some(&head.mark)
            && root.join(".kiln/staging").join(pipeline).symlink_metadata().is_err()
            && head.variables.iter().all(|then| variable(site, &then.name) == *then)
            && (!head.shell || has_shell(&site.environment))
            && self.memo.files().is_some_and(|files| unchanged(root, &files));
        tracing::debug!(holds, "there was nothing to do the last time");
        holds.then_some((locks, reader))
    }

    /// The folder of the state; it is that of the root.
    pub(crate) fn state(&self) -> &Path {
        &self.question.state
    }

    /// The root, from which the paths of files count.
    pub(crate) fn root(&self) -> &Path {
        &self.question.root
    }

    /// What a run begins with that finds nothing to do.
    pub(crate) fn started_by(&self, origin: Origin) -> RunStarted {
        let Origin { by, again } = origin;
        RunStarted { by, again, pid: std::process::id(), host: host(), ..self.memo.head.started.clone() }
    }
}

impl Basis {
    /// What is to be remembered of a plan; none where there is something to do, or where it cannot be told as cheaply that
    /// there is nothing.
    pub(crate) fn verdict(self, site: &Site, session: &Session, planned: &Planned) -> Option<Verdict> {
        let Self { question, mark } = self;
        if planned.plan.active().next().is_some() || session.loaded.root != question.root {
            return None;
        }
        let Evidence { files, variables, shell } = session.evidence(&planned.facts)?;
        let seen_ns = clock::now_ns();
        let file = state_of(&question.file).ok()?;
        let Source { text: now, .. } = text(&question.file).ok()?;
        let seen = Seen { stat: file, digest: question.key, seen_ns };
        if !seen.holds_for(&file) || now != session.loaded.source.text {
            return None;
        }
        let variables = variables.iter().map(|name| variable(site, name)).collect();
        Some(Verdict { question, file, mark: mark?, variables, shell, files })
    }
}

impl Verdict {
    /// Remembers it. That this fails is no failure of the run.
    pub(crate) fn remember(self, started: RunStarted) {
        let Self { question, file, mark, variables, shell, files } = self;
        let head = Head { file, mark, variables, shell, started };
        let Some(bytes) = format::write(question.key, &head, &files) else { return };
        match question.write(&bytes) {
            Ok(()) => tracing::debug!(files = files.len(), "that there is nothing to do is remembered"),
            Err(error) => tracing::debug!(%error, "nothing is remembered"),
        }
    }
}

impl Question {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let folder = self.state.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let new = folder.join(format!("{}.new", std::process::id()));
        fs::write(&new, bytes)?;
        fs::rename(&new, self.path())?;
        forget_old(&folder)
    }
}

/// Removes all but the newest.
fn forget_old(folder: &Path) -> io::Result<()> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.to_string_lossy().ends_with(ENDING) {
            continue;
        }
        all.push((fs::symlink_metadata(&path)?.modified()?, path));
    }
    all.sort();
    all.iter().rev().skip(KEPT).try_for_each(|(_, path)| fs::remove_file(path))
}
