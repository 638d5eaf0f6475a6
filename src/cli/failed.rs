//! `kiln run --failed`: what an earlier run did not get done, as the targets of a new one.

use crate::base::job::{BuildMode, JobState};
use crate::base::text::count;
use crate::cli::args::RunArgs;
use crate::cli::jobs::History;
use crate::cli::{Context, find, note};
use crate::event::RunStarted;
use crate::pipeline::paths::is_glob;
use crate::pipeline::template::command_line;
use crate::pipeline::types::Pipeline;
use crate::session::again::undone;
use crate::session::fail::Fail;
use crate::session::load::{Given, load};
use crate::session::{Request, Session, state};
use crate::store::filter::RunFilter;
use crate::view::{Head, RunView};

/// The option, as it is told why a step is built.
const FAILED: &str = "--failed";

/// What `kiln run` was asked for: targets, or with `--failed` the steps that a run did not get done. With what it comes to:
/// it goes on after failures, and takes the variables, as that run did, unless it is said otherwise.
pub(crate) fn session(context: &Context, args: &RunArgs) -> Result<(Session, RunArgs), Fail> {
    let path = find::find(context.file.as_deref(), &context.surroundings)?;
    let (site, request) = (context.site(), args.request());
    let Some(id) = &args.failed else {
        return Ok((Session::open(&site, &path, &request)?, args.clone()));
    };
    let read = |vars: &[(String, String)]| load(&path, &Given { vars, ..request.given() });
    let mut loaded = read(&request.vars)?;
    let history = History::at(state(&site, &loaded.root))?;
    let view = history.view(id, &loaded.pipeline.name).map_err(|fail| match fail {
        Fail::Usage(message, _) if loaded.pipeline.names.contains_key(id) => Fail::Usage(
            message,
            Some(format!("--failed takes the id of a run; `kiln run {id}` builds what is called so")),
        ),
        other @ (Fail::Mistakes(..) | Fail::Usage(..) | Fail::Nothing(_) | Fail::Surroundings(_)) => other,
    })?;
    // In its own words it was not a mode that was asked for.
    let asked = request.mode.is_none().then_some(FAILED);
    let mut args = args.clone();
    let then = view.head.as_ref().map(|head| &head.started.vars).filter(|vars| !vars.is_empty());
    if let (true, Some(then)) = (args.wanted.instead.var.is_empty(), then) {
        args.wanted.instead.var = then.clone().into_iter().collect();
        loaded = read(&args.wanted.instead.var)?;
        let given = then.iter().flat_map(|(name, value)| ["--var".to_owned(), format!("{name}={value}")]);
        note(&format!("with the variables of that run: {}", command_line(&given.collect::<Vec<_>>())));
    }
    let request = again(&loaded.pipeline, &view, args.request()).map_err(|fail| match fail {
        Fail::Nothing(message) if id == "last" => Fail::Nothing(message + &failed_before(&history, &loaded.pipeline)),
        other @ (Fail::Mistakes(..) | Fail::Usage(..) | Fail::Nothing(_) | Fail::Surroundings(_)) => other,
    })?;
    let said = args.keep_going || args.max_fail.is_some() || args.fail_fast.is_some();
    let as_then = view.head.as_ref().is_some_and(|head| head.started.keep_going);
    let mut session = Session::of(&site, loaded, &request)?;
    session.selection.asked = asked.filter(|_| session.selection.mode == BuildMode::Only);
    args.keep_going |= !said && as_then;
    Ok((session, args))
}

/// Which run was most likely meant where the last one got everything done.
fn failed_before(history: &History, pipeline: &Pipeline) -> String {
    let filter = RunFilter {
        state: Some(JobState::Failed),
        pipeline: Some(pipeline.name.clone()),
        limit: Some(1),
        ..RunFilter::default()
    };
    // What cannot be read was told before.
    let runs = history.runs(&filter).unwrap_or_default();
    runs.first()
        .map(|run| format!("; the last one that failed is {0}: `kiln run --failed {0}`", run.id))
        .unwrap_or_default()
}

fn again(pipeline: &Pipeline, view: &RunView, request: Request) -> Result<Request, Fail> {
    let Some(head) = &view.head else { return Err(Fail::Nothing("that run never began".to_owned())) };
    if head.started.pipeline != pipeline.name {
        let help = format!("name its file with --file; this one is `{}`", pipeline.name);
        return Err(Fail::Usage(format!("{} is a run of `{}`", head.job, head.started.pipeline), Some(help)));
    }
    let RunStarted { targets, exclude, mode, .. } = &head.started;
    let known = |text: &&String| {
        let name = text.trim_matches('+');
        name.starts_with("tag:") || is_glob(name) || pipeline.names.contains_key(name)
    };
    let exclude = exclude.iter().filter(known).chain(&request.exclude).cloned().collect();
    if view.is_untried() {
        warn_of_variables(head, &request);
        let targets = targets.clone();
        return Ok(Request { targets, exclude, mode: request.mode.or(Some(*mode)), ..request });
    }
    let (here, gone) = undone(pipeline, view);
    if here.is_empty() {
        let but = if gone.is_empty() { "got everything done" } else { "left nothing undone that the file still has" };
        return Err(Fail::Nothing(format!("nothing was selected: {} {but}", head.job)));
    }
    if !gone.is_empty() {
        note(&format!(
            "{} left out, the file has no such steps any more: {}",
            count(gone.len(), "step"),
            gone.join(", ")
        ));
    }
    warn_of_variables(head, &request);
    let mode = request.mode.or(Some(head.started.mode.again()));
    Ok(Request { targets: here, exclude, mode, ..request })
}

/// What is given now counts.
fn warn_of_variables(head: &Head, request: &Request) {
    if head.started.vars != request.vars.iter().cloned().collect() {
        note(&format!("the variables are others than those of that run, which was `{}`", head.started.again));
    }
}
