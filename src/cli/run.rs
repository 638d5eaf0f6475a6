//! `kiln run`: takes the pipeline's lock, finishes what a run that died left, plans, and drives the run to its end.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::base::job::JobState;
use crate::cli::args::{FailFast, RunArgs};
use crate::cli::{Context, failed, gc, print, tell};
use crate::event::FailureCode;
use crate::exit;
use crate::plan::estimate::{Spans, spans};
use crate::report::api::Reporter;
use crate::report::named::Named;
use crate::report::{Setup as Screen, jsonl, reporter, slow};
use crate::run::Driven;
use crate::run::setup::Policy;
use crate::session::fail::Fail;
use crate::session::start::{Origin, Ready, finish_the_dead, lock, new_job, open_journal, seed};
use crate::session::{Request, Session};
use crate::signal::{NAMES, Signals};
use crate::store::StoreError;
use crate::view::{RunView, StepState};

pub(crate) fn run(context: &Context, args: &RunArgs) -> Result<u8, Fail> {
    let signals = Signals::catch().map_err(|error| Fail::because("signals cannot be caught", &error))?;
    let session = failed::session(context, args)?;
    let early = session.preflight()?;
    let events = args.events.as_deref().map(events_file).transpose()?;
    let told = |why: &str| drop(writeln!(io::stderr(), "waiting: {why}"));
    let _lock = lock(&session, args.wait, told)?;
    let (mut writer, committed) = open_journal(&session.state)?;
    finish_the_dead(&session, &mut writer)?;
    let mut planned = session.plan(true)?;
    planned.seen.extend(early);
    let ticket = new_job(&session)?;
    let origin = Origin { by: context.surroundings.user(), again: command(context, &args.request()) };
    let ready = Ready::make(&session, planned, ticket, policy(args, &session), origin)?;
    let to_stdout = args.events.as_deref() == Some(Path::new("-"));
    let reporters = reporters(context, &session, args, events, to_stdout);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fail::because("no run can be driven", &error))?;
    let driven = runtime.block_on(ready.drive(&mut writer, committed, reporters, signals.listen()));
    let closed = writer.close();
    let slow = slow::text(&driven.view, || spans_of(&session, &driven.view), &context.style());
    if to_stdout {
        tell(&slow, exit::OK);
    } else if driven.unshown.is_empty() {
        print(&slow)?;
    }
    gc::keep_house(&session.state);
    let unshown = driven.unshown.join("; ");
    match finish(driven, closed)? {
        code if unshown.is_empty() => Ok(code),
        exit::OK => Err(Fail::Surroundings(format!("all went well, but {unshown}"))),
        code => Ok(tell(&format!("error: {unshown}\n"), code)),
    }
}

/// What the schedules come to with the durations of a run.
fn spans_of(session: &Session, view: &RunView) -> Spans {
    let took = |id| view.step(&session.pipeline().recipes[id].name).map(|step| step.took_ms);
    spans(&session.loaded.graph, &took, session.jobs)
}

fn finish(driven: Driven, closed: Result<(), StoreError>) -> Result<u8, Fail> {
    if let Some(lost) = driven.lost {
        return Err(Fail::Surroundings(format!("the run was stopped, what it did cannot be kept: {lost}")));
    }
    for process in &driven.left {
        tracing::warn!("{process} had left its step, and was ended with the run");
    }
    closed.map_err(|error| Fail::because("the history could not be closed", &error))?;
    Ok(if driven.over_time { exit::TIME_LIMIT } else { code(&driven.view) })
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
        JobState::Failed | JobState::Running | JobState::Queued => exit::FAILED,
        JobState::Aborted => {
            let why = view.end.as_ref().and_then(|end| end.why.as_deref()).unwrap_or_default();
            NAMES.iter().find(|(name, _)| *name == why).map_or(exit::INTERRUPTED, |(_, code)| *code)
        }
    }
}

fn policy(args: &RunArgs, session: &Session) -> Policy {
    let max_fail = if args.keep_going { None } else { Some(args.max_fail.unwrap_or(1)) };
    let kill = args.fail_fast == Some(FailFast::Kill);
    let time_limit_ms = args.timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    let seed = seed();
    Policy { schedule: session.schedule, jobs: session.jobs as usize, max_fail, kill, time_limit_ms, seed }
}

/// How this command would be given again for other targets.
pub(crate) fn command(context: &Context, request: &Request) -> String {
    let mut words = vec!["kiln".to_owned(), "run".to_owned()];
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    if let Some(file) = &context.file {
        option("-f", file.display().to_string());
    }
    if let Some(state) = &context.state {
        option("--state", state.display().to_string());
    }
    let said = [("--engine", &request.engine), ("--project", &request.project), ("--partition", &request.partition)];
    for (name, value) in said {
        if let Some(value) = value {
            option(name, value.clone());
        }
    }
    for (name, value) in &request.vars {
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
        out: if to_stdout { Box::new(io::stderr()) } else { Box::new(Named::new("standard output", io::stdout())) },
        style: context.style(),
        output: args.output,
        state: context.shown(&session.state),
        terminal: if live { Some(Box::new(size)) } else { None },
    });
    let mut reporters = vec![screen];
    match events {
        None => {}
        Some(None) => reporters.push(Box::new(jsonl::JsonLines::new(Named::new("standard output", io::stdout())))),
        Some(Some((path, file))) => {
            let file = Named::new(format!("--events {}", path.display()), io::BufWriter::new(file));
            reporters.push(Box::new(jsonl::JsonLines::new(file)));
        }
    }
    reporters
}
