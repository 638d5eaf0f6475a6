//! Remembers that a request found nothing to do, and what that rested on. As long as all of that is the same, the same
//! request finds nothing to do again, and need not read the pipeline to know it. Where only some files changed, only the
//! [part](crate::session::part) of the pipeline that has to do with them is looked at. What is remembered is a guess until it is
//! [checked](Kept::hold) under the pipeline's lock; whenever anything is in doubt, it is as if nothing were remembered.

use std::collections::{BTreeSet, HashSet};
use std::ffi::CStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::base::digest::Digest;
use crate::base::file::{FileStat, Seen};
use crate::engine::api::Evidence;
use crate::event::RunStarted;
use crate::pipeline::paths::STAGING;
use crate::program::has_shell;
use crate::report::plan::not_for_engine;
use crate::select::Selection;
use crate::session::cache::{Kind, program};
use crate::session::home::is_settled;
use crate::session::load::{plain_root, text};
use crate::session::locks::{Locks, claim_alone, lock_of};
use crate::session::memo_format::{self as format, Files, Head, Memo, Variable};
use crate::session::part::{Ground, Part, Since};
use crate::session::start::Origin;
use crate::session::{Planned, Request, Session, Site, state};
use crate::stat::{changed, state_of};
use crate::store::lock::host;
use crate::store::write::Paused;

const MEMOS: Kind = Kind { ending: ".memo", kept: 8 };

/// What is asked for, with all that understands it: another program may find something else.
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
    memo: Memo,
}

/// A question that is about to be answered.
pub(crate) struct Asked {
    question: Question,
    /// The mark of the last good builds, from before they were read.
    mark: Option<String>,
}

/// That there is nothing to do, and what that rests on.
pub(crate) struct Finding {
    question: Question,
    file: FileStat,
    text: Digest,
    mark: String,
    ground: Ground,
    note: Option<String>,
}

/// What became of all that was remembered.
pub(crate) enum Held {
    /// It is still so, and the pipeline's lock is held.
    Nothing(Box<(Kept, Locks, Paused)>),
    /// Some of it has changed.
    Since(Box<Since>),
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

    /// What is remembered of it, if its file is as it was.
    pub(crate) fn recall(self) -> Option<Kept> {
        let memo = format::read(MEMOS.recall(&self.state, self.key)?)?;
        let now = state_of(&self.file).ok()?;
        (now == memo.head.file).then_some(Kept { question: self, memo })
    }

    /// Looks at the last good builds before they are read.
    pub(crate) fn asked(self, session: &Session) -> Asked {
        // There is none where a run of the pipeline has not ended.
        let mark = session.store.ask(|reader| reader.mark(&session.pipeline().name)).ok().flatten().flatten();
        Asked { question: self, mark }
    }
}

/// Whether a folder is not there, or holds nothing.
fn is_clear(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

fn variable(site: &Site, name: &str) -> Variable {
    let value = site.environment.get(name).map(|value| Digest::of(value.as_bytes()));
    Variable { name: name.to_owned(), value }
}

impl Kept {
    /// Takes the lock of the pipeline and opens the history, if all that was remembered is still so; else says which files
    /// have changed since, as long as nothing else has. Where others build in the same state the lock is not taken: what
    /// they may not write meanwhile is not known here.
    pub(crate) fn hold(self, site: &Site) -> Option<Held> {
        let Question { file, state, root, .. } = &self.question;
        let head = &self.memo.head;
        let pipeline = &head.started.pipeline;
        let locks = lock_of(pipeline, state, root, &[]).ok()?;
        let paused = Paused::open(state).ok()??;
        let holds = claim_alone(state, pipeline)
            && is_settled(state, pipeline, file)
            && paused.reader.mark(pipeline).ok()?.as_ref() == Some(&head.mark)
            && is_clear(&root.join(STAGING).join(pipeline))
            && head.variables.iter().all(|then| variable(site, &then.name) == *then)
            && (!head.shell || has_shell(site.environment.get("PATH"), root));
        let files = self.memo.files()?;
        let changed = if holds { changed(root, &files, site.cores)? } else { return None };
        let holds = changed.is_empty() && head.closely.is_empty();
        tracing::debug!(holds, changed = changed.len(), "there was nothing to do the last time");
        if !holds {
            let changed = changed.iter().map(|i| files[*i].0.to_bytes().to_owned()).collect();
            return Some(Held::Since(Box::new(since(self.memo, changed))));
        }
        Some(Held::Nothing(Box::new((self, locks, paused))))
    }

    /// The folder of the state; it is that of the root.
    pub(crate) fn state(&self) -> &Path {
        &self.question.state
    }

    /// The root, from which the paths of files count.
    pub(crate) fn root(&self) -> &Path {
        &self.question.root
    }

    /// Whether one of these files is one of those that it rests on.
    pub(crate) fn knows(&self, paths: &BTreeSet<String>) -> bool {
        let is = |path: &CStr| path.to_str().is_ok_and(|path| paths.contains(path));
        !paths.is_empty() && self.memo.files().is_none_or(|files| files.iter().any(|(path, _)| is(path)))
    }

    /// What is told by the way.
    pub(crate) fn note(&self) -> Option<&str> {
        self.memo.head.note.as_deref()
    }

    /// What a run begins with that finds nothing to do.
    pub(crate) fn started_by(&self, origin: Origin) -> RunStarted {
        let Origin { by, again, keep_going, vars } = origin;
        RunStarted {
            by,
            again,
            keep_going,
            vars,
            pid: std::process::id(),
            host: host(),
            ..self.memo.head.started.clone()
        }
    }
}

impl Asked {
    /// Whether the last good builds are those from which only the steps of a part can differ.
    pub(crate) fn is_from(&self, part: &Part) -> bool {
        self.mark.is_some() && self.mark == part.mark
    }

    /// What is to be remembered of a plan; none where there is something to do, or where nothing proves later that there is
    /// not.
    pub(crate) fn finding(self, site: &Site, session: &Session, planned: &Planned) -> Option<Finding> {
        let Self { question, mark } = self;
        // What is out of date is told each time.
        if planned.plan.left().next().is_some()
            || planned.plan.active().next().is_some()
            || session.loaded.root != question.root
        {
            return None;
        }
        let ground = ground(site, session, planned)?;
        let Seen { stat: file, digest: text, .. } = unchanged(&question.file, session.loaded.seen?)?;
        let note = not_for_engine(session.pipeline(), &session.selection);
        Some(Finding { question, file, text, mark: mark?, ground, note })
    }
}

/// What is seen of a file now, if it is still what it was when it was read, and its state proves it. Where its state then
/// proves nothing, for it had only just been written, it is read again.
fn unchanged(file: &Path, then: Seen) -> Option<Seen> {
    if then.holds_for(&state_of(file).ok()?) {
        return Some(then);
    }
    let (_, now) = text(file).ok()?;
    (now.holds_for(&now.stat) && now.digest == then.digest).then_some(now)
}

/// What a plan rests on.
pub(super) fn ground(site: &Site, session: &Session, planned: &Planned) -> Option<Ground> {
    let Evidence { files, variables, shell, closely } = session.evidence(&planned.facts)?;
    let variables = variables.iter().map(|name| variable(site, name)).collect();
    let pipeline = session.pipeline();
    // What is only told to be out of date is looked at each time.
    let Selection { passed, above, .. } = &session.selection;
    let passed = passed.iter().chain(above).copied().filter(|_| !planned.facts.asks);
    let closely = closely.into_iter().chain(passed).map(|id| pipeline.recipes[id].name.clone()).collect();
    let seen = Ground { variables, shell, closely, files: Files::of(files) };
    Some(match &session.part {
        None => seen,
        Some(part) => part.ground.with(pipeline, &part.steps, seen),
    })
}

/// What is different now from what is remembered, which these files are.
fn since(memo: Memo, changed: HashSet<Vec<u8>>) -> Since {
    let Head { mark, text, variables, shell, closely, .. } = memo.head.clone();
    Since { mark, text, ground: Ground { variables, shell, closely, files: Files::from(memo) }, changed }
}

impl Finding {
    /// Remembers it. That this fails is no failure of the run.
    pub(crate) fn remember(self, started: RunStarted) {
        let Self { question, file, text, mark, ground: Ground { variables, shell, closely, files }, note } = self;
        let head = Head { file, text, mark, variables, shell, closely, started, note };
        if let Some(bytes) = format::write(&head, &files) {
            MEMOS.keep(&question.state, question.key, &bytes);
        }
    }
}
