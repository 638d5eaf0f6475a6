//! The locks that a run holds and what it claims to write, and who is in the way of that. Does not know what is built.

use std::path::{Path, PathBuf};

use crate::base::job::JobState;
use crate::engine::local::ways::real_paths;
use crate::pipeline::paths::OWN;
use crate::pipeline::template::command_line;
use crate::process::Process;
use crate::session::Session;
use crate::session::fail::{ELSEWHERE, Fail};
use crate::store::claim::{Claim, ClaimError};
use crate::store::lock::{Holder, Lock, LockError, here_now, holder_words, host, is_held, wait_for};
use crate::store::read::shared::Shared;
use crate::store::{is_same, make_folder};

/// The locks of a pipeline that a run holds.
pub(crate) struct Locks {
    name: String,
    state: (PathBuf, Lock),
    /// That of the root, where the state lies elsewhere.
    root: Option<(PathBuf, Lock)>,
}

impl Locks {
    /// Has the engine of a run hold them too, for as long as anything of the run lives.
    pub(crate) fn lend(&self, session: &Session) -> Result<(), Fail> {
        for (_, lock) in std::iter::once(&self.state).chain(&self.root) {
            let share = lock.share().map_err(|error| Fail::because("the lock of the pipeline", &error))?;
            session.engine.hold(share);
        }
        Ok(())
    }

    /// Whether their files are still those that others look at.
    pub(crate) fn stand(&self) -> bool {
        std::iter::once(&self.state).chain(&self.root).all(|(folder, lock)| lock.stands(folder, &self.name))
    }

    /// Claims what the jobs of a server write. What was claimed before holds on if this cannot be had.
    pub(crate) fn serve(&self, paths: Vec<String>) -> Result<(), Busy> {
        self.claim(&Claim { serves: true, ..claim_of(paths) }, Claim::renew)
    }

    /// Claims paths where all can see it who might write there, and says in the state which process this is.
    fn claim(&self, claim: &Claim, make: Make) -> Result<(), Busy> {
        let make = |claim: &Claim, folder: &Path| make(claim, folder, &self.name).map_err(|error| taken(folder, error));
        match &self.root {
            None => make(claim, &self.state.0),
            Some((root, _)) => {
                make(claim, root)?;
                make(&Claim { paths: Vec::new(), ..claim.clone() }, &self.state.0)
            }
        }
    }
}

/// How a claim is made.
type Make = fn(&Claim, &Path, &str) -> Result<(), ClaimError>;

/// Why a run cannot begin now.
pub(crate) enum Busy {
    Held(Held),
    Fail(Fail),
}

/// Someone holds the lock of a pipeline.
pub(crate) struct Held {
    /// In this folder.
    state: PathBuf,
    pub(crate) pipeline: String,
    /// Why that is in the way, for people.
    pub(crate) why: String,
}

impl Busy {
    pub(crate) fn fail(self) -> Fail {
        match self {
            Self::Held(Held { why, .. }) => Fail::Surroundings(why),
            Self::Fail(fail) => fail,
        }
    }

    /// The same for who asked for a session, with this way out and that of [ending] what is in the way.
    pub(crate) fn with_ways(self, session: &Session, way: Option<&str>) -> Fail {
        let Self::Held(Held { state, pipeline, why }) = self else { return self.fail() };
        let end = ending(session, &state, &pipeline).map(|end| format!("`{end}` ends it"));
        let ways: Vec<_> = way.map(str::to_owned).into_iter().chain(end).collect();
        Fail::Surroundings(if ways.is_empty() { why } else { format!("{why}; {}", ways.join(", ")) })
    }
}

/// Takes the lock of a pipeline in its state, and in its root where the state lies elsewhere: what is built is there. Claims
/// there what is to be written. The engine holds the locks too from then on.
pub(crate) fn lock(session: &Session) -> Result<Locks, Busy> {
    let locks = locks(&session.pipeline().name, session.store.state(), &session.loaded.root, Lock::take)?;
    locks.claim(&claim_of(writes(session)), Claim::make)?;
    locks.lend(session).map_err(Busy::Fail)?;
    Ok(locks)
}

/// The same once no run is in the way any more. Tells of each once.
pub(crate) fn wait_to_lock(session: &Session, mut tell: impl FnMut(&str)) -> Result<Locks, Fail> {
    let mut told = None;
    loop {
        let Held { state, pipeline, why } = match lock(session) {
            Ok(locks) => return Ok(locks),
            Err(Busy::Fail(fail)) => return Err(fail),
            Err(Busy::Held(held)) => held,
        };
        if told.as_ref() != Some(&why) {
            tell(&why);
            told = Some(why);
        }
        wait_for(&state, &pipeline).map_err(|error| Fail::because("the run cannot be waited for", &error))?;
    }
}

/// Whether the lock could be [had](lock) now. Takes and claims nothing.
pub(crate) fn is_free(session: &Session) -> Result<(), Busy> {
    let (name, state) = (&session.pipeline().name, session.store.state());
    let own = session.loaded.root.join(OWN);
    if let Some(folder) = [state, &own].into_iter().find(|folder| is_held(folder, name)) {
        return Err(goes_on(folder, name, &holder_words(folder, name)));
    }
    is_unclaimed(name, state, &session.loaded.root, &writes(session))
}

/// Whether a run is one of this machine, and of no server.
fn is_here(claim: &Claim) -> bool {
    claim.host == host() && !claim.serves && claim.process.lives()
}

/// The command that ends the run of a pipeline that goes on, where it is one: others may have begun since.
fn ending(session: &Session, state: &Path, pipeline: &str) -> Option<String> {
    let last = Shared::new(state).ask(|history| history.last_run(pipeline)).ok().flatten().flatten();
    let mut words = ["kiln", "jobs", "abort"].map(str::to_owned).to_vec();
    match last.filter(|run| run.state == JobState::Running) {
        Some(run) => words.push(run.id.to_string()),
        // It has begun, and is not in the history yet: it plans.
        None if pipeline == session.pipeline().name
            && Claim::of(state, pipeline).is_some_and(|claim| is_here(&claim)) =>
        {
            words.extend(["last".to_owned(), "-f".to_owned(), session.loaded.source.name.clone()]);
        }
        None => return None,
    }
    if !is_same(&session.loaded.root.join(OWN), state) {
        words.extend(["--state".to_owned(), state.display().to_string()]);
    }
    Some(command_line(&words))
}

/// Takes the locks of the pipeline of that name, if these paths could be claimed then. Claims nothing.
pub(crate) fn lock_of(name: &str, state: &Path, root: &Path, paths: &[String]) -> Result<Locks, Busy> {
    is_unclaimed(name, state, root, paths)?;
    locks(name, state, root, Lock::take)
}

/// The same for who has others to serve: what a run that died has left is not waited for.
pub(crate) fn lock_now(name: &str, state: &Path, root: &Path, paths: &[String]) -> Result<Locks, Busy> {
    is_unclaimed(name, state, root, paths)?;
    locks(name, state, root, Lock::take_now)
}

/// How a lock is taken.
type Take = fn(&Path, &str, &Holder) -> Result<Lock, LockError>;

/// Whether a run of the pipeline of that name could claim these paths.
fn is_unclaimed(name: &str, state: &Path, root: &Path, paths: &[String]) -> Result<(), Busy> {
    let own = root.join(OWN);
    let claims = if is_same(&own, state) { state } else { &own };
    Claim::free(claims, name, paths).map_err(|error| taken(claims, error))
}

fn locks(name: &str, state: &Path, root: &Path, way: Take) -> Result<Locks, Busy> {
    let lock = take(state, name, way)?;
    let (own, name, state) = (root.join(OWN), name.to_owned(), (state.to_owned(), lock));
    if is_same(&own, &state.0) {
        return Ok(Locks { name, state, root: None });
    }
    make_folder(&own).map_err(|error| Busy::Fail(Fail::because("nothing can be built in this root", &error)))?;
    let lock = take(&own, &name, way)?;
    Ok(Locks { name, state, root: Some((own, lock)) })
}

/// What a request may write, relative to the root, whatever links lead there: so it is claimed.
pub(crate) fn writes(session: &Session) -> Vec<String> {
    let wanted = session.wanted();
    let wanted = wanted.iter().filter(|(_, wanted)| **wanted);
    let outputs = wanted.flat_map(|(id, _)| &session.pipeline().recipes[id].outputs);
    let paths = outputs.filter_map(|node| session.pipeline().nodes[*node].path.clone()).collect();
    real_paths(&session.loaded.root, paths)
}

/// Claims for a run that writes nothing that it goes on; says whether no other one does in this state.
pub(super) fn claim_alone(state: &Path, name: &str) -> bool {
    let alone = || Claim::all(state).is_ok_and(|claims| claims.iter().all(|(other, _)| other == name));
    claim_of(Vec::new()).make(state, name).is_ok() && alone()
}

fn take(state: &Path, name: &str, way: Take) -> Result<Lock, Busy> {
    way(state, name, &here_now()).map_err(|error| match error {
        LockError::Held(holder) => goes_on(state, name, &holder),
        LockError::Io(error) => {
            Busy::Fail(Fail::because(&format!("no state can be kept in {}", state.display()), &error).or(ELSEWHERE))
        }
    })
}

fn goes_on(state: &Path, name: &str, holder: &str) -> Busy {
    let why = format!("a run of `{name}` goes on: {holder}");
    Busy::Held(Held { state: state.to_owned(), pipeline: name.to_owned(), why })
}

fn claim_of(paths: Vec<String>) -> Claim {
    Claim { process: Process::this(), host: host(), paths, serves: false }
}

/// Why a claim was not made.
fn taken(state: &Path, error: ClaimError) -> Busy {
    match error {
        ClaimError::Taken { pipeline, path } => {
            let holder = holder_words(state, &pipeline);
            let why = format!("a run of `{pipeline}` writes {path} too: {holder}");
            Busy::Held(Held { state: state.to_owned(), pipeline, why })
        }
        ClaimError::Io(path, error) => Busy::Fail(Fail::because(&path.display().to_string(), &error)),
    }
}
