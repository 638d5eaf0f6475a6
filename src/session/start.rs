//! From a plan to a run that is driven: the lock, the id, the steps. Does not know who watches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::base::file::{FileDigest, Memory};
use crate::base::id::{DenseMap, RecipeId};
use crate::base::job::{JobId, JobState, Maker};
use crate::engine::api::{Engine, Opening, Terms, Work};
use crate::engine::local::LocalEngine;
use crate::engine::local::ways::real_paths;
use crate::event::{Cause, Left, PlannedStep, RunStarted};
use crate::pipeline::paths::OWN;
use crate::pipeline::template::command_line;
use crate::pipeline::types::Pipeline;
use crate::plan::Step;
use crate::plan::estimate::{estimate, remaining};
use crate::plan::facts::Facts;
use crate::plan::put_back::PutBack;
use crate::plan::record::MemoryHistory;
use crate::process::Process;
use crate::report::api::Reporter;
use crate::run::setup::{Policy, Setup, SetupStep};
use crate::run::state::Run;
use crate::run::{Drive, Driven, drive};
use crate::session::fail::Fail;
use crate::session::lacking::{Hindered, Lacking};
use crate::session::unread;
use crate::session::{Planned, Session, Site};
use crate::store::claim::{Claim, ClaimError};
use crate::store::lock::{Lock, LockError, here, holder, host, is_held, wait_for};
use crate::store::read::Reader;
use crate::store::read::shared::Shared;
use crate::store::write::{Told, Writer};
use crate::store::{StoreError, is_same, make_folder};

/// Tells which batches of a journal are on disk, or why no more will be.
pub(crate) type Committed = mpsc::UnboundedReceiver<Result<u64, String>>;

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
    let locks = locks(&session.pipeline().name, session.store.state(), &session.loaded.root)?;
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
        return Err(goes_on(folder, name, &holder(folder, name).unwrap_or_default()));
    }
    let claims = if is_same(&own, state) { state } else { &own };
    Claim::free(claims, name, &writes(session)).map_err(|error| taken(claims, error))
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
    let own = root.join(OWN);
    let claims = if is_same(&own, state) { state } else { &own };
    Claim::free(claims, name, paths).map_err(|error| taken(claims, error))?;
    locks(name, state, root)
}

fn locks(name: &str, state: &Path, root: &Path) -> Result<Locks, Busy> {
    let lock = take(state, name)?;
    let (own, name, state) = (root.join(OWN), name.to_owned(), (state.to_owned(), lock));
    if is_same(&own, &state.0) {
        return Ok(Locks { name, state, root: None });
    }
    make_folder(&own).map_err(|error| Busy::Fail(Fail::because("nothing can be built in this root", &error)))?;
    let lock = take(&own, &name)?;
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

/// Says for a run that writes nothing that it goes on. Whether no other one does in this state.
pub(super) fn is_alone(state: &Path, name: &str) -> bool {
    let alone = || Claim::all(state).is_ok_and(|claims| claims.iter().all(|(other, _)| other == name));
    claim_of(Vec::new()).make(state, name).is_ok() && alone()
}

fn take(state: &Path, name: &str) -> Result<Lock, Busy> {
    let holder = here(&crate::clock::now().strftime("%F %T UTC").to_string());
    Lock::take(state, name, &holder).map_err(|error| match error {
        LockError::Held(holder) => goes_on(state, name, &holder),
        LockError::Io(error) => {
            Busy::Fail(Fail::because(&format!("no state can be kept in {}", state.display()), &error))
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
            let holder = holder(state, &pipeline).unwrap_or_default();
            let why = format!("a run of `{pipeline}` writes {path} too: {holder}");
            Busy::Held(Held { state: state.to_owned(), pipeline, why })
        }
        ClaimError::Io(path, error) => Busy::Fail(Fail::because(&path.display().to_string(), &error)),
    }
}

/// Opens the store of a session for writing.
pub(crate) fn open_journal_of(session: &Session) -> Result<(Writer, Committed), Fail> {
    session.store.let_go();
    open_journal(session.store.state())
}

/// Opens the store for writing.
pub(crate) fn open_journal(state: &Path) -> Result<(Writer, Committed), Fail> {
    journal(|told| Writer::open(state, told))
}

/// Goes on to write with the connection that asked.
pub(crate) fn go_on(history: Reader) -> Result<(Writer, Committed), Fail> {
    journal(|told| Writer::go_on(history, told))
}

fn journal(open: impl FnOnce(Told) -> Result<Writer, StoreError>) -> Result<(Writer, Committed), Fail> {
    let (told, committed) = mpsc::unbounded_channel();
    let tell = Box::new(move |result: Result<u64, StoreError>| {
        // When the run is over nobody listens any more, and `close` tells what is left.
        drop(told.send(result.map_err(|error| error.to_string())));
    });
    let writer = open(tell).map_err(|error| Fail::because("no run can be kept", &error))?;
    Ok((writer, committed))
}

/// A new id for a run of a pipeline whose lock is held.
pub(crate) fn new_job(session: &Session) -> Result<Ticket, Fail> {
    let pipeline = &session.pipeline().name;
    match session.store.ask(|reader| new_job_in(reader, pipeline)).map_err(unread)? {
        Some(ticket) => Ok(ticket),
        None => {
            let began = crate::clock::now();
            Ok(Ticket { job: JobId::at(pipeline, began, Maker::Run), began, events: 0 })
        }
    }
}

/// A new id for a run of a pipeline whose lock is held, in a history that is open.
///
/// # Errors
/// Why the history cannot be read.
pub(crate) fn new_job_in(reader: &Reader, pipeline: &str) -> Result<Ticket, StoreError> {
    let began = crate::clock::now();
    let job = JobId::free(pipeline, began, Maker::Run, |job| reader.job_exists(job))?;
    Ok(Ticket { job, began, events: 0 })
}

/// Where the chance in a run's waits comes from: two runs that fail together are not to come back together.
pub(crate) fn seed() -> u64 {
    crate::clock::now_ns().cast_unsigned() ^ u64::from(std::process::id())
}

/// Who asked for a run, and how it can be asked for again.
pub(crate) struct Origin {
    /// Who started it.
    pub(crate) by: String,
    /// How to call `kiln run` for the same file, to which targets can be added.
    pub(crate) again: String,
    /// Whether it goes on after failures.
    pub(crate) keep_going: bool,
    /// The variables that it was given.
    pub(crate) vars: BTreeMap<String, String>,
}

/// The place of a run in the history.
pub(crate) struct Ticket {
    /// Its id.
    pub(crate) job: JobId,
    /// When it begins.
    pub(crate) began: jiff::Timestamp,
    /// How many events it has already.
    pub(crate) events: u64,
}

/// A run that only has to be driven.
pub(crate) struct Ready {
    ticket: Ticket,
    run: Run,
    started: RunStarted,
    engine: Arc<dyn Engine>,
    works: Vec<Arc<dyn Work>>,
    seen: Vec<FileDigest>,
    slots: Option<Arc<Semaphore>>,
}

impl Ready {
    /// Makes every step ready.
    pub(crate) fn make(
        session: &Session,
        (planned, hindered): (Planned, Hindered),
        ticket: Ticket,
        policy: Policy,
        origin: Origin,
    ) -> Result<Self, Fail> {
        let Steps { works, setup: steps, events } = Steps::make(session, &planned, &hindered)?;
        let started = started(session, &planned, origin, events);
        let up_to_date = started.up_to_date;
        let Planned { facts, seen, known, .. } = planned;
        let (pipeline, mode) = (Arc::clone(session.pipeline()), session.selection.mode);
        let job = ticket.job.clone();
        let setup = Setup { job, pipeline, facts, history: known.history, mode, policy, steps };
        let run = Run::new(setup, up_to_date);
        Ok(Self { ticket, run, started, engine: Arc::clone(&session.engine), works, seen, slots: None })
    }

    /// A run in which nothing is done, for there is nothing to do.
    pub(crate) fn idle(site: &Site, state: &Path, ticket: Ticket, started: RunStarted, policy: Policy) -> Self {
        let pipeline = Arc::new(Pipeline::default());
        let engine = LocalEngine::new(Opening {
            name: started.engine.clone(),
            terms: Terms::default(),
            pipeline: Arc::clone(&pipeline),
            root: state.to_owned(),
            state: state.to_owned(),
            own: Vec::new(),
            environment: site.environment.clone(),
            digests: Box::new(Memory::default()),
            grace: site.grace,
        });
        let (job, mode) = (ticket.job.clone(), started.mode);
        let (facts, history) = (Facts::unseen(ticket.began, 0, 0), Box::new(MemoryHistory::default()));
        let setup = Setup { job, pipeline, facts, history, mode, policy, steps: Vec::new() };
        let run = Run::new(setup, started.up_to_date);
        Self { ticket, run, started, engine: Arc::new(engine), works: Vec::new(), seen: Vec::new(), slots: None }
    }

    /// After this was undone of a run that was killed.
    pub(crate) fn after(mut self, put_back: Vec<PutBack>) -> Self {
        self.started.put_back = put_back;
        self
    }

    /// What it begins with.
    pub(crate) fn started(&self) -> &RunStarted {
        &self.started
    }

    /// With its steps in places that it shares with other runs.
    pub(crate) fn sharing(self, slots: Arc<Semaphore>) -> Self {
        Self { run: self.run.sharing_slots(), slots: Some(slots), ..self }
    }

    /// Carries the run out, to its end.
    pub(crate) async fn drive(
        self,
        writer: &mut Writer,
        committed: Committed,
        reporters: Vec<Box<dyn Reporter>>,
        signals: mpsc::UnboundedReceiver<Cause>,
    ) -> Driven {
        let Self { ticket: Ticket { job, began, events }, run, started, engine, works, seen, slots } = self;
        let (journal, threads) = (writer, true);
        let going = Drive {
            run,
            job,
            began,
            events,
            engine,
            slots,
            works,
            seen,
            journal,
            committed,
            reporters,
            signals,
            threads,
        };
        drive(going, started).await
    }
}

/// What the plan comes to for the run.
struct Steps {
    works: Vec<Arc<dyn Work>>,
    setup: Vec<SetupStep>,
    events: Vec<PlannedStep>,
}

impl Steps {
    fn make(session: &Session, planned: &Planned, hindered: &Hindered) -> Result<Self, Fail> {
        let remaining = remaining(&planned.plan, &session.loaded.graph);
        let mut steps = Self { works: Vec::new(), setup: Vec::new(), events: Vec::new() };
        let mut problems = Vec::new();
        let mut places: DenseMap<RecipeId, Option<u32>> = DenseMap::filled(session.pipeline().recipes.len(), None);
        for (place, step) in (0..).zip(planned.plan.active()) {
            places[step.id] = Some(place);
            let work = match hindered.get(&step.id) {
                Some(why) => Ok(Lacking::of(why)),
                None => session.engine.prepare(step.id),
            };
            match work {
                Err(found) => problems.extend(found),
                Ok(work) => {
                    let command = work.describe();
                    let (id, stage, action) = (step.id, step.stage, step.action);
                    steps.setup.push(SetupStep { id, stage, action, command, remaining_ms: remaining[id] });
                    steps.works.push(work);
                }
            }
            let after = session.loaded.graph.needs[step.id].iter().filter_map(|need| places[*need]).collect();
            steps.events.push(PlannedStep { after, ..planned_step(session, step) });
        }
        if problems.is_empty() { Ok(steps) } else { Err(session.mistakes(problems)) }
    }
}

/// A step as the first event tells it, less the steps before it.
pub(super) fn planned_step(session: &Session, step: &Step) -> PlannedStep {
    let recipe = &session.pipeline().recipes[step.id];
    PlannedStep {
        id: recipe.name.clone(),
        outputs: session.pipeline().output_names(step.id).map(str::to_owned).collect(),
        stage: step.stage,
        action: step.action,
        reasons: step.reasons.clone(),
        expected_ms: step.expected_ms,
        place: session.loaded.place(recipe.span.start),
        attempts: recipe.how.retry.attempts(),
        after: Vec::new(),
    }
}

/// The first event.
pub(crate) fn started(session: &Session, planned: &Planned, origin: Origin, steps: Vec<PlannedStep>) -> RunStarted {
    let pipeline = session.pipeline();
    let estimate = estimate(&planned.plan, &session.loaded.graph, session.schedule, session.jobs);
    let left = |step: &Step| Left { step: pipeline.recipes[step.id].name.clone(), reasons: step.reasons.clone() };
    RunStarted {
        pipeline: pipeline.name.clone(),
        project: pipeline.project.clone(),
        file: session.loaded.source.name.clone(),
        engine: session.engine.name().to_owned(),
        mode: session.selection.mode,
        schedule: session.schedule,
        targets: session.selection.targets.clone(),
        exclude: session.selection.exclude.clone(),
        max_parallel: session.jobs,
        by: origin.by,
        pid: std::process::id(),
        host: host(),
        kiln: env!("CARGO_PKG_VERSION").to_owned(),
        again: origin.again,
        keep_going: origin.keep_going,
        vars: origin.vars,
        up_to_date: planned.plan.counts().skip as u64,
        left: planned.plan.left().map(left).collect(),
        put_back: Vec::new(),
        expected_ms: (estimate.unknown == 0).then_some(estimate.most_ms),
        steps,
    }
}
