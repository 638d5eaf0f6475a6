//! `kiln run`: takes the pipeline's lock, finishes what a run that died left, plans, and drives the run to its end.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::base::job::{JobId, JobState};
use crate::base::text::count;
use crate::cli::Context;
use crate::cli::args::{FailFast, RunArgs};
use crate::cli::fail::Fail;
use crate::cli::session::{Planned, Session};
use crate::cli::surroundings::host;
use crate::engine::api::Work;
use crate::event::{FailureCode, PlannedStep, RunStarted};
use crate::exit;
use crate::plan::estimate::{estimate, remaining};
use crate::plan::reason::Action;
use crate::report::api::Reporter;
use crate::report::{Setup as Screen, jsonl, reporter};
use crate::run::recover::recover;
use crate::run::setup::{Policy, Setup, SetupStep};
use crate::run::state::Run;
use crate::run::{Drive, Driven, drive};
use crate::signal::{NAMES, Os};
use crate::store::StoreError;
use crate::store::lock::{Lock, LockError};
use crate::store::read::Reader;
use crate::store::write::Writer;
use crate::view::{RunView, StepState};

pub(crate) fn run(context: &Context, args: &RunArgs) -> Result<u8, Fail> {
    let session = Session::open(context, &args.wanted)?;
    let events = args.events.as_deref().map(events_file).transpose()?;
    let _lock = lock(&session)?;
    let (told, committed) = mpsc::unbounded_channel();
    let tell = Box::new(move |result: Result<u64, StoreError>| {
        // When the run is over nobody listens any more, and `close` tells what is left.
        drop(told.send(result.map_err(|error| error.to_string())));
    });
    let mut writer = Writer::open(&session.state, tell).map_err(|error| Fail::because("no run can be kept", &error))?;
    finish_the_dead(&session, &mut writer)?;
    let planned = session.plan(true)?;
    let (job, began) = job_id(&session)?;
    let parts = Parts::make(context, &session, &planned, args)?;
    let to_stdout = args.events.as_deref() == Some(Path::new("-"));
    let reporters = reporters(context, &session, args, events, to_stdout);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fail::because("no run can be driven", &error))?;
    let Parts { works, started, setup_steps } = parts;
    let Planned { plan, facts, seen, known } = planned;
    let up_to_date = plan.counts().skip as u64;
    let setup = Setup {
        job: job.clone(),
        pipeline: Arc::clone(session.pipeline()),
        facts,
        history: known.history,
        mode: session.selection.mode,
        policy: policy(args, &session),
        steps: setup_steps,
    };
    let run = Run::new(setup, up_to_date);
    let engine = Arc::clone(&session.engine);
    let driven = runtime.block_on(async {
        let (signal, signals) = mpsc::unbounded_channel();
        let os = Os::catch()?;
        let parts = Drive {
            run,
            job,
            began,
            started,
            engine,
            works,
            seen,
            journal: &mut writer,
            committed,
            reporters,
            signals,
        };
        tokio::select! {
            driven = drive(parts) => io::Result::Ok(driven),
            () = os.pump(signal) => Err(io::Error::other("signals ended")),
        }
    });
    let driven = driven.map_err(|error| Fail::because("the run could not be driven", &error))?;
    let closed = writer.close();
    finish(driven, closed)
}

fn finish(driven: Driven, closed: Result<(), StoreError>) -> Result<u8, Fail> {
    if let Some(lost) = driven.lost {
        return Err(Fail::Surroundings(format!("the run was stopped, its history cannot be kept: {lost}")));
    }
    closed.map_err(|error| Fail::because("the history could not be closed", &error))?;
    Ok(code(&driven.view))
}

/// The exit code of a run.
fn code(view: &RunView) -> u8 {
    let crashed = |step: &crate::view::StepView| {
        step.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::Crashed)
    };
    if view.in_state(StepState::Failed).any(crashed) {
        return exit::BUG;
    }
    match view.state() {
        JobState::Done => exit::OK,
        JobState::Failed | JobState::Running => exit::FAILED,
        JobState::Aborted => {
            let why = view.end.as_ref().and_then(|end| end.why.as_deref()).unwrap_or_default();
            NAMES.iter().find(|(name, _)| *name == why).map_or(exit::INTERRUPTED, |(_, code)| *code)
        }
    }
}

fn lock(session: &Session) -> Result<Lock, Fail> {
    let name = &session.pipeline().name;
    let holder =
        format!("process {} on {}, since {}", std::process::id(), host(), crate::clock::now().strftime("%F %T UTC"));
    Lock::take(&session.state, name, &holder).map_err(|error| match error {
        LockError::Held(holder) => Fail::Surroundings(format!("a run of `{name}` goes on: {holder}")),
        LockError::Io(error) => Fail::because("the lock of the pipeline", &error),
    })
}

/// Puts in place what a run that died was about to, and tells the store how it ended.
fn finish_the_dead(session: &Session, writer: &mut Writer) -> Result<(), Fail> {
    let store = |error: StoreError| Fail::because("the history cannot be read", &error);
    let Some(reader) = Reader::open(&session.state).map_err(store)? else { return Ok(()) };
    let dead = reader.unfinished(&session.pipeline().name).map_err(store)?;
    let unsettled = recover(&dead, session.engine.as_ref(), writer, crate::clock::now());
    for run in &dead {
        let done = count(run.publishing.len(), "step");
        tracing::info!(job = %run.job, finished = done, "a run that died was ended");
    }
    writer.flush().map_err(|error| Fail::because("the history cannot be kept", &error))?;
    if let Some(step) = unsettled.first() {
        tracing::warn!(step, "what a run that died was about to put in place is gone");
    }
    session.engine.tidy().map_err(|error| Fail::because("what a run that died left cannot be tidied up", &error))
}

/// A new id. Runs of one millisecond get ids of the next ones.
fn job_id(session: &Session) -> Result<(JobId, jiff::Timestamp), Fail> {
    let store = |error: StoreError| Fail::because("the history cannot be read", &error);
    let reader = Reader::open(&session.state).map_err(store)?;
    let began = crate::clock::now();
    let mut stamp = began;
    loop {
        let text = stamp.to_zoned_datetime(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H-%M-%S.%3f").to_string();
        let job = JobId::new(&session.pipeline().name, &text);
        let taken = reader.as_ref().map_or(Ok(false), |reader| reader.job_exists(&job)).map_err(store)?;
        if !taken {
            return Ok((job, began));
        }
        stamp += jiff::SignedDuration::from_millis(1);
    }
}

fn policy(args: &RunArgs, session: &Session) -> Policy {
    let max_fail = if args.keep_going { None } else { Some(args.max_fail.unwrap_or(1)) };
    let kill = args.fail_fast == Some(FailFast::Kill);
    Policy { schedule: session.schedule, jobs: session.jobs as usize, max_fail, kill }
}

/// What the plan comes to for the run.
struct Parts {
    works: Vec<Arc<dyn Work>>,
    started: RunStarted,
    setup_steps: Vec<SetupStep>,
}

impl Parts {
    fn make(context: &Context, session: &Session, planned: &Planned, args: &RunArgs) -> Result<Self, Fail> {
        let graph = &session.loaded.graph;
        let remaining = remaining(&planned.plan, graph);
        let mut works = Vec::new();
        let mut steps = Vec::new();
        let mut setup_steps = Vec::new();
        let mut problems = Vec::new();
        for step in planned.plan.active() {
            let recipe = &session.pipeline().recipes[step.id];
            match session.engine.prepare(step.id) {
                Err(found) => problems.extend(found),
                Ok(work) => {
                    let command = work.describe();
                    let (id, stage, action) = (step.id, step.stage, step.action);
                    setup_steps.push(SetupStep { id, stage, action, command, remaining_ms: remaining[id] });
                    works.push(work);
                }
            }
            steps.push(PlannedStep {
                id: recipe.name.clone(),
                outputs: session.pipeline().output_names(step.id).map(str::to_owned).collect(),
                stage: step.stage,
                action: step.action,
                reasons: step.reasons.clone(),
                expected_ms: step.expected_ms,
                place: session.loaded.place(recipe.span.start),
            });
        }
        if !problems.is_empty() {
            return Err(Fail::Mistakes(session.loaded.source.clone(), problems));
        }
        let started = started(context, session, planned, args, steps);
        Ok(Self { works, started, setup_steps })
    }
}

fn started(
    context: &Context,
    session: &Session,
    planned: &Planned,
    args: &RunArgs,
    steps: Vec<PlannedStep>,
) -> RunStarted {
    let pipeline = session.pipeline();
    let estimate = estimate(&planned.plan, &session.loaded.graph, session.schedule, session.jobs);
    RunStarted {
        pipeline: pipeline.name.clone(),
        project: pipeline.project.clone(),
        file: session.loaded.source.name.clone(),
        engine: session.engine.name().to_owned(),
        mode: session.selection.mode,
        schedule: session.schedule,
        targets: session.selection.targets.clone(),
        max_parallel: session.jobs,
        by: context.surroundings.user(),
        pid: std::process::id(),
        host: host(),
        kiln: env!("CARGO_PKG_VERSION").to_owned(),
        again: again(context, args),
        up_to_date: planned.plan.steps.iter().filter(|step| step.action == Action::Skip).count() as u64,
        expected_ms: (estimate.unknown == 0).then_some(estimate.most_ms),
        steps,
    }
}

/// How this command would be given again for other targets.
fn again(context: &Context, args: &RunArgs) -> String {
    let mut words = vec!["kiln".to_owned(), "run".to_owned()];
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    if let Some(file) = &context.file {
        option("-f", file.display().to_string());
    }
    if let Some(state) = &context.state {
        option("--state", state.display().to_string());
    }
    for (name, value) in &args.wanted.var {
        option("--var", format!("{name}={value}"));
    }
    crate::pipeline::template::command_line(&words)
}

fn events_file(path: &Path) -> Result<Option<(PathBuf, File)>, Fail> {
    if path == Path::new("-") {
        return Ok(None);
    }
    let file =
        File::create(path).map_err(|error| Fail::Usage(format!("--events {}: {error}", path.display()), None))?;
    Ok(Some((path.to_owned(), file)))
}

fn reporters(
    context: &Context,
    session: &Session,
    args: &RunArgs,
    events: Option<Option<(PathBuf, File)>>,
    to_stdout: bool,
) -> Vec<Box<dyn Reporter>> {
    let surroundings = context.surroundings.clone();
    let size = move || surroundings.size();
    let live = !to_stdout && context.surroundings.live();
    let screen = reporter(Screen {
        out: if to_stdout { Box::new(io::stderr()) } else { Box::new(io::stdout()) },
        style: context.style(),
        output: args.output,
        state: context.shown(&session.state),
        terminal: if live { Some(Box::new(size)) } else { None },
    });
    let mut reporters = vec![screen];
    match events {
        None => {}
        Some(None) => reporters.push(Box::new(jsonl::JsonLines::new(io::stdout()))),
        Some(Some((_, file))) => reporters.push(Box::new(jsonl::JsonLines::new(io::BufWriter::new(file)))),
    }
    reporters
}
