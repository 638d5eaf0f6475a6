//! `kiln run`: takes the pipeline's lock, finishes what a run that died left, plans, and drives the run to its end.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::file::FileDigest;
use crate::base::job::{JobState, Schedule};
use crate::base::text::{few, one_line};
use crate::cause::{Cause, Failure, FailureCode, StopSignal};
use crate::cli::args::{FailFast, RunArgs};
use crate::cli::report_files::ReportFiles;
use crate::cli::reports::Reports;
use crate::cli::room::way_out;
use crate::cli::{Context, failed, find, note, print, tell, to_the_end};
use crate::exit;
use crate::fault::fault;
use crate::plan::estimate::{Spans, spans};
use crate::plan::put_back::PutBack;
use crate::report::job::left;
use crate::report::plan::not_for_engine;
use crate::report::slow;
use crate::run::setup::Policy;
use crate::run::{Driven, Unkept};
use crate::session::command::command as again;
use crate::session::fail::Fail;
use crate::session::finish::finish_the_dead;
use crate::session::home;
use crate::session::locks::{Locks, lock, wait_to_lock};
use crate::session::memo::{Asked, Held, Kept, Question};
use crate::session::part::{Part, Since};
use crate::session::refused;
use crate::session::start::{Committed, Origin, Ready, go_on, new_job, new_job_in, open_journal_of, seed, started};
use crate::session::{Request, Session, remembers, unread};
use crate::signal::{Signals, code_of};
use crate::store::StoreError;
use crate::store::asked;
use crate::store::gc::{is_due, keep_house};
use crate::store::last_word::{self, LastWord};
use crate::store::read::shared::Shared;
use crate::store::write::{Paused, Writer};
use crate::view::{RunView, StepState, StepView};

pub(crate) fn run(context: &Context, args: &RunArgs) -> Result<u8, Fail> {
    let files = Arc::new(ReportFiles::of(args));
    let none = |fail: &Fail| files.none(&context.surroundings, fail);
    files.check_with(context.state.as_deref()).inspect_err(none)?;
    let signals =
        Signals::catch().map_err(|error| Fail::because("signals cannot be caught", &error)).inspect_err(none)?;
    signals.before_end(stopped_before(context, &files));
    let question = question(context, args).inspect_err(none)?;
    let kept = question.clone().and_then(Question::recall);
    let kept = kept.filter(|kept| !kept.knows(&files.below(kept.root())));
    let since = match kept.and_then(|kept| kept.hold(&context.site())) {
        Some(Held::Nothing(held)) => return nothing_to_do(context, args, (&files, signals), *held),
        Some(Held::Since(since)) => Some(*since),
        None => None,
    };
    look_and_run(context, args, (&files, signals), (question, since))
}

/// A run of which it is not known that there is nothing to do.
fn look_and_run(
    context: &Context,
    args: &RunArgs,
    (files, signals): (&ReportFiles, Signals),
    (question, since): (Option<Question>, Option<Since>),
) -> Result<u8, Fail> {
    let none = |fail: &Fail| files.none(&context.surroundings, fail);
    let begin = |since| Begun::begin(context, args, files, question.as_ref(), since).inspect_err(none);
    let mut begun = begin(since)?;
    if begun.is_stale() {
        let before = begun.let_go();
        begun = begin(None)?;
        begun.undone.splice(..0, before);
    }
    let Begun { session, args, early, reports, locks: _locks, mut writer, committed, undone, asked } = begun;
    let args = &args;
    let mut session = to_the_end(session);
    let refused = |session: &Session, writer: &mut Writer, fail: &Fail| {
        none(fail);
        refused::keep(session, writer, origin(context, args), fail);
    };
    let plan = session.plan_to_run(true, args.keep_going);
    let (mut planned, hindered) = plan.inspect_err(|fail| refused(&session, &mut writer, fail))?;
    planned.seen.extend(early);
    let passed = session.passed_over(&mut planned);
    let finding = asked.and_then(|asked| asked.finding(&context.site(), &session, &planned));
    if finding.is_none() && question.is_some() {
        session.narrow(&context.site(), &planned);
    }
    session.unmatched(&planned).iter().for_each(|empty| note(empty));
    planned.plan.take_in(passed, &session.loaded.graph);
    let ticket = new_job(&session).inspect_err(none)?;
    let policy = policy(args, session.schedule, session.jobs);
    let ready = Ready::make(&session, (planned, hindered), ticket, policy, origin(context, args));
    let ready = ready.inspect_err(|fail| refused(&session, &mut writer, fail))?;
    left(&ready.started().left).iter().for_each(|left| note(left));
    not_for_engine(session.pipeline(), &session.selection).iter().for_each(|others| note(others));
    let finding = finding.map(|finding| (finding, ready.started().clone()));
    let ready = ready.after(undone);
    // Whatever is wrong with the history is told by who opens it anew.
    let due = session.store.ask(|history| is_due(history, crate::clock::now())).ok().flatten().unwrap_or(true);
    let (driven, closed) =
        drive(context, args, Going { store: &session.store, ready, writer, committed, files, reports, signals })?;
    let slow = slow::text(&driven.view, || spans_of(&session, &driven.view), &context.style());
    if due && driven.lost.is_none() {
        keep_house(session.store.state(), &session.loaded.root, crate::clock::now());
    }
    let shown = driven.unshown.is_empty();
    let code = told(driven, closed, session.store.state())?;
    if files.to_stdout() {
        tell(&slow, exit::OK);
    } else if shown {
        print(&slow)?;
    }
    if code == exit::OK {
        match finding {
            Some((finding, started)) => finding.remember(started),
            None => look_again(context, args, question, &session),
        }
        keep_image(context, args, &session);
    }
    Ok(code)
}

/// Says in the reports that a signal came before the run could begin.
fn stopped_before(context: &Context, files: &Arc<ReportFiles>) -> impl Fn(StopSignal) + Send + Sync + use<> {
    let (surroundings, files) = (context.surroundings.clone(), Arc::clone(files));
    move |signal| {
        files.none(&surroundings, &Fail::Surroundings(format!("stopped by {signal} before the run could begin")));
    }
}

/// After a small part of the pipeline was looked at, and built: looks at it once more, and remembers that there is nothing to
/// do now.
fn look_again(context: &Context, args: &RunArgs, question: Option<Question>, session: &Session) {
    let small = session.part.as_ref().is_some_and(Part::is_small);
    let Some(question) = question.filter(|_| small) else { return };
    let asked = question.asked(session);
    // Whatever is wrong is told by the next run.
    let Ok(planned) = session.plan(false) else { return };
    if let Some(finding) = asked.finding(&context.site(), session, &planned) {
        finding.remember(started(session, &planned.plan, origin(context, args), Vec::new()));
    }
}

/// Keeps what saves the next run the reading of the file. A file that is gone by now is no failure of this one.
fn keep_image(context: &Context, args: &RunArgs, session: &Session) {
    if let Ok(file) = find::find(context.file.as_deref(), &context.surroundings) {
        session.keep_image(&context.site(), &file, &args.request());
    }
}

/// A run that is about to plan: it has the lock of the pipeline, and nothing is left of runs that died.
struct Begun {
    session: Session,
    /// What it was asked for, with what `--failed` comes to.
    args: RunArgs,
    early: Vec<FileDigest>,
    reports: Reports,
    locks: Locks,
    writer: Writer,
    committed: Committed,
    undone: Vec<PutBack>,
    asked: Option<Asked>,
}

impl Begun {
    fn begin(
        context: &Context,
        args: &RunArgs,
        files: &ReportFiles,
        question: Option<&Question>,
        since: Option<Since>,
    ) -> Result<Self, Fail> {
        let (session, args) = failed::session(context, args)?;
        files.apart(&session.loaded.root, session.pipeline())?;
        let session = match since {
            Some(since) => session.since(since),
            None => session,
        };
        let early = session.preflight(args.keep_going)?;
        fault("run.lock").map_err(|error| Fail::because("the lock cannot be had", &error))?;
        let waiting = |why: &str| drop(writeln!(io::stderr(), "waiting: {why}"));
        let locks = if args.wait {
            wait_to_lock(&session, waiting)?
        } else {
            lock(&session).map_err(|busy| busy.with_ways(&session, Some("--wait waits for it")))?
        };
        let reports = Reports::open(files)?;
        let (mut writer, committed) = open_journal_of(&session)?;
        let undone = finish_the_dead(&session, &mut writer, &|_| None)?;
        undone.iter().for_each(|undone| note(&undone.done()));
        if let Err(error) = last_word::make_room(session.store.state(), &session.pipeline().name) {
            tracing::debug!(%error, "should the disk be full later, nobody will know");
        }
        let asked = question.map(|question| question.clone().asked(&session));
        if let Some(shared) = home::shared(session.store.state(), &session.loaded) {
            note(&shared);
        }
        home::settle(session.store.state(), &session.loaded);
        Ok(Self { session, args, early, reports, locks, writer, committed, undone, asked })
    }

    /// Lets go of all, to begin anew. What was undone of runs that died stays undone.
    fn let_go(self) -> Vec<PutBack> {
        self.undone
    }

    /// Whether something was built between the look at what has changed and the lock.
    fn is_stale(&self) -> bool {
        let part = self.session.part.as_ref();
        part.is_some_and(|part| !self.asked.as_ref().is_some_and(|asked| asked.is_from(part)))
    }
}

/// What is asked for, where it is remembered that there was nothing to do. It is not where someone does not want that, nor
/// where the targets depend on the history.
fn question(context: &Context, args: &RunArgs) -> Result<Option<Question>, Fail> {
    if args.failed.is_some() || !remembers(&context.site()) {
        return Ok(None);
    }
    let file = find::find(context.file.as_deref(), &context.surroundings)?;
    Ok(Question::new(&context.site(), &file, &args.request()))
}

/// The same as the rest of a run, for one that is known to have nothing to do.
fn nothing_to_do(
    context: &Context,
    args: &RunArgs,
    (files, signals): (&ReportFiles, Signals),
    (kept, _locks, paused): (Kept, Locks, Paused),
) -> Result<u8, Fail> {
    let reports = Reports::open(files)?;
    let started = kept.started_by(origin(context, args));
    let ticket = new_job_in(&paused.reader, &started.pipeline).map_err(unread)?;
    // Whatever is wrong with the history is told by who opens it anew.
    let due = is_due(&paused.reader, crate::clock::now()).unwrap_or(true);
    let (writer, committed) = go_on(paused)?;
    let policy = policy(args, started.schedule, started.max_parallel);
    let ready = Ready::idle(&context.site(), kept.state(), ticket, started, policy);
    kept.note().into_iter().for_each(note);
    let (driven, closed) = drive(
        context,
        args,
        Going { store: &Shared::new(kept.state()), ready, writer, committed, files, reports, signals },
    )?;
    if due {
        keep_house(kept.state(), kept.root(), crate::clock::now());
    }
    told(driven, closed, kept.state())
}

/// A run that only has to be driven, and all around it.
struct Going<'a> {
    store: &'a Shared,
    ready: Ready,
    writer: Writer,
    committed: Committed,
    files: &'a ReportFiles,
    reports: Reports,
    signals: Signals,
}

fn drive(context: &Context, args: &RunArgs, going: Going<'_>) -> Result<(Driven, Result<(), StoreError>), Fail> {
    let Going { store, ready, mut writer, committed, files, reports, signals } = going;
    let (state, pipeline) = (store.state().to_owned(), ready.started().pipeline.clone());
    let word = move || asked::take(&state, &pipeline);
    let signals = signals.sent_by(word.clone());
    let reporters = reports.reporters(context, store.state(), args, files.to_stdout());
    let reporters = reporters.map_err(|error| Fail::because("the run cannot be shown", &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fail::because("no run can be driven", &error))?;
    let driven = runtime.block_on(ready.drive(&mut writer, committed, reporters, signals.listen()));
    // Who asked it to end when it was about to is of no use to anybody.
    drop(word());
    // Who closes the history last takes the log of writes away.
    store.let_go();
    Ok((driven, writer.close()))
}

fn origin(context: &Context, args: &RunArgs) -> Origin {
    let (request, keep_going) = (args.request(), args.keep_going);
    let (by, again) = (context.surroundings.user(), command(context, &request, keep_going));
    Origin { by, again, keep_going, vars: request.vars.into_iter().collect() }
}

/// The exit code, and what is to be said besides: what was to be shown, and was not.
fn told(driven: Driven, closed: Result<(), StoreError>, state: &Path) -> Result<u8, Fail> {
    let unshown = driven.unshown.join("; ");
    match finish(driven, closed, state)? {
        code if unshown.is_empty() => Ok(code),
        exit::OK => Err(Fail::Surroundings(format!("all went well, but {unshown}"))),
        code => Ok(tell(&format!("error: {unshown}\n"), code)),
    }
}

/// What the schedules come to with the durations of a run.
fn spans_of(session: &Session, view: &RunView) -> Spans {
    let took = |id| view.step(&session.pipeline().recipes[id].name).map(StepView::whole_ms);
    spans(&session.loaded.graph, &took, session.jobs)
}

fn finish(driven: Driven, closed: Result<(), StoreError>, state: &Path) -> Result<u8, Fail> {
    if let Some(lost) = &driven.lost {
        let fail = stopped(&driven, lost, state);
        let crashed = matches!(closed, Err(StoreError::Crashed));
        return if crashed { Ok(tell(&format!("error: {}\n", fail.plain()), exit::BUG)) } else { Err(fail) };
    }
    for process in &driven.left {
        tracing::warn!("{process} had left its step, and was ended with the run");
    }
    closed.map_err(|error| Fail::because("the history could not be closed", &error))?;
    Ok(code(&driven.view))
}

/// What is said of a run that could not be kept, here and where the next one looks for it.
fn stopped(driven: &Driven, lost: &str, state: &Path) -> Fail {
    let (view, made_up) = match &driven.unkept {
        Unkept::Still(view) => (&**view, false),
        Unkept::MadeUp => (&driven.view, true),
        Unkept::Nothing => (&driven.view, false),
    };
    if let (Some(head), false) = (&view.head, made_up) {
        let because = Cause::Unkept { why: lost.to_owned() };
        let word = LastWord { state: JobState::Failed, because, at: crate::clock::now() };
        if let Err(error) = last_word::say(state, &head.started.pipeline, &head.job, &word) {
            tracing::debug!(%error, "nor can that be kept");
        }
    }
    let failed = view.in_state(StepState::Failed).filter_map(|step| Some((step, step.failure.as_ref()?)));
    let failed: Vec<_> = failed.map(|(step, failure)| format!("{} ({})", step.plan.id, told_of(failure))).collect();
    let failed = if failed.is_empty() { String::new() } else { format!("\n  failed: {}", few(&failed, 8)) };
    let busy = [StepState::Running, StepState::Publishing, StepState::Stopped].into_iter();
    let busy: Vec<_> = busy.flat_map(|state| view.in_state(state)).map(|step| step.plan.id.as_str()).collect();
    let busy = if busy.is_empty() { String::new() } else { format!("\n  then ran: {}", few(&busy, 8)) };
    let help = way_out(state, lost).map(|help| format!("\n  help: {help}")).unwrap_or_default();
    let how = if driven.cut { "the run was stopped," } else { "the run has come to its end, but" };
    let what = if made_up { "what it did could be kept only now" } else { "what it did cannot be kept" };
    Fail::Surroundings(format!("{how} {what}: {lost}{failed}{busy}{help}"))
}

/// What happened to a step, with the last that it said.
fn told_of(failure: &Failure) -> String {
    let said = failure.tail.iter().rfind(|line| !line.trim().is_empty());
    let said = said.map(|line| format!(": {}", one_line(line, SAID))).unwrap_or_default();
    failure.message.clone() + &said
}

/// So much is told of a line that a step printed last.
const SAID: usize = 100;

/// The exit code of a run.
fn code(view: &RunView) -> u8 {
    let crashed = |step: &crate::view::StepView| {
        step.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::Crashed)
    };
    match (view.state(), view.end.as_ref().and_then(|end| end.because.as_ref())) {
        (JobState::Aborted, Some(Cause::TimeLimit { .. })) => exit::TIME_LIMIT,
        _ if view.in_state(StepState::Failed).any(crashed) => exit::BUG,
        (JobState::Aborted, Some(Cause::Signal { signal })) => code_of(*signal),
        (JobState::Aborted, _) => exit::TERMINATED, // that is how others ask
        (JobState::Done, _) => exit::OK,
        (JobState::Failed, _) if never_asked(view) => exit::SURROUNDINGS,
        (JobState::Failed | JobState::Running | JobState::Queued, _) => exit::FAILED,
    }
}

/// Whether nothing was asked for at all, since the engine could not be reached or lets nobody in.
fn never_asked(view: &RunView) -> bool {
    view.steps.iter().all(|step| {
        let unusable = [FailureCode::Unreachable, FailureCode::Denied];
        let unusable = step.failure.as_ref().is_some_and(|failure| unusable.contains(&failure.code));
        step.state == StepState::Skipped || (step.state == StepState::Failed && unusable)
    })
}

fn policy(args: &RunArgs, schedule: Schedule, jobs: u32) -> Policy {
    let max_fail = if args.keep_going { None } else { Some(args.max_fail.unwrap_or(1)) };
    let kill = args.fail_fast == Some(FailFast::Kill);
    let time_limit_ms = args.timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    let seed = seed();
    Policy { schedule, jobs: jobs as usize, max_fail, kill, time_limit_ms, seed }
}

/// How this command would be given again for other targets.
pub(crate) fn command(context: &Context, request: &Request, keep_going: bool) -> String {
    let file = context.file.as_ref().filter(|file| !find::goes_without_saying(file, &context.surroundings));
    again(&context.site(), file.map(PathBuf::as_path), request, keep_going)
}
