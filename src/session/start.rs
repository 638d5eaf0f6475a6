//! From a plan to a run that is driven: the id, the steps. Does not know who watches.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::base::file::{FileDigest, Memory};
use crate::base::id::{DenseMap, RecipeId};
use crate::base::job::{JobId, Maker};
use crate::engine::api::{Engine, Opening, Terms, Work};
use crate::engine::local::LocalEngine;
use crate::engine::outputs::Outputs;
use crate::event::{Cause, Left, PlannedStep, RunStarted};
use crate::pipeline::types::Pipeline;
use crate::plan::estimate::{estimate, remaining};
use crate::plan::facts::Facts;
use crate::plan::put_back::PutBack;
use crate::plan::record::MemoryHistory;
use crate::plan::{Plan, Step};
use crate::report::api::Reporter;
use crate::run::setup::{Policy, Setup, SetupStep};
use crate::run::state::Run;
use crate::run::{Drive, Driven, drive};
use crate::session::fail::{ELSEWHERE, Fail};
use crate::session::lacking::{Hindered, Lacking};
use crate::session::unread;
use crate::session::{Planned, Session, Site};
use crate::store::StoreError;
use crate::store::lock::host;
use crate::store::read::Reader;
use crate::store::write::{Paused, Told, Writer};

/// Tells which batches of a journal are on disk, or why no more will be.
pub(crate) type Committed = mpsc::UnboundedReceiver<Result<u64, String>>;

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
pub(crate) fn go_on(history: Paused) -> Result<(Writer, Committed), Fail> {
    journal(|told| Writer::go_on(history, told))
}

fn journal(open: impl FnOnce(Told) -> Result<Writer, StoreError>) -> Result<(Writer, Committed), Fail> {
    let (told, committed) = mpsc::unbounded_channel();
    let tell = Box::new(move |result: Result<u64, StoreError>| {
        // When the run is over nobody listens any more, and `close` tells what is left.
        drop(told.send(result.map_err(|error| error.to_string())));
    });
    let writer = open(tell).map_err(|error| {
        let fail = Fail::because("no run can be kept", &error);
        // All others say themselves what is to be done.
        if matches!(error, StoreError::Io { .. }) { fail.or(ELSEWHERE) } else { fail }
    })?;
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
    outputs: Arc<dyn Outputs>,
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
        let started = started(session, &planned.plan, origin, events);
        let up_to_date = started.up_to_date;
        let Planned { facts, seen, known, .. } = planned;
        let (pipeline, mode) = (Arc::clone(session.pipeline()), session.selection.mode);
        let job = ticket.job.clone();
        let setup = Setup { job, pipeline, facts, history: known.history, mode, policy, steps };
        let run = Run::new(setup, up_to_date);
        let (engine, outputs) = (Arc::clone(&session.engine), Arc::clone(&session.outputs));
        Ok(Self { ticket, run, started, engine, outputs, works, seen, slots: None })
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
            open_files: site.open_files.clone(),
        });
        let (job, mode) = (ticket.job.clone(), started.mode);
        let (facts, history) = (Facts::unseen(ticket.began, 0, 0), Box::new(MemoryHistory::default()));
        let setup = Setup { job, pipeline, facts, history, mode, policy, steps: Vec::new() };
        let run = Run::new(setup, started.up_to_date);
        let outputs = Arc::new(engine);
        let engine = Arc::<LocalEngine>::clone(&outputs);
        Self { ticket, run, started, engine, outputs, works: Vec::new(), seen: Vec::new(), slots: None }
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
        let Self { ticket: Ticket { job, began, events }, run, started, engine, outputs, works, seen, slots } = self;
        let (journal, threads) = (writer, true);
        let going = Drive {
            run,
            job,
            began,
            events,
            engine,
            outputs,
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
pub(crate) fn started(session: &Session, plan: &Plan, origin: Origin, steps: Vec<PlannedStep>) -> RunStarted {
    let pipeline = session.pipeline();
    let estimate = estimate(plan, &session.loaded.graph, session.schedule, session.jobs);
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
        up_to_date: plan.counts().skip as u64,
        left: plan.left().map(left).collect(),
        put_back: Vec::new(),
        expected_ms: (estimate.unknown == 0).then_some(estimate.most_ms),
        steps,
    }
}
