//! `kiln jobs --engine NAME`: the jobs of a DSS server, command by command. What the server is asked is in `cli/dss.rs`.

mod act;
mod show;
mod table;

use crate::cli::args::{Jobs, JobsArgs};
use crate::cli::dss::Server;
use crate::cli::jobs::time;
use crate::cli::tame::Tame;
use crate::cli::{Context, find};
use crate::engine::dss::remote::began_ms;
use crate::session::fail::Fail;

/// Runs a command about the jobs of a server.
pub(crate) fn jobs(context: &Context, engine: &str, args: JobsArgs) -> Result<u8, Fail> {
    let file = find::find(context.file.as_deref(), &context.surroundings)?;
    let server = Server::open(context, &file, engine, args.project.as_deref())?;
    match args.command {
        Jobs::List { state, since, until, output, initiator, limit, format, state_dir: _ } => {
            let milliseconds = |time: jiff::Timestamp| time.as_millisecond();
            let since = since.map(|text| time(context, "--since", &text)).transpose()?.map(milliseconds);
            let until = until.map(|text| time(context, "--until", &text)).transpose()?.map(milliseconds);
            if since.zip(until).is_some_and(|(since, until)| since >= until) {
                let message = "--since is not before --until: nothing can be between them".to_owned();
                return Err(Fail::Usage(message, Some("exchange the two".to_owned())));
            }
            let output = output.map(|output| act::Wanted::of(&server, &output)).transpose()?;
            let mut jobs = server.ask(server.remote.jobs(&server.project))?;
            jobs.retain(|job| {
                let began = began_ms(job);
                state.is_none_or(|state| table::is_in(job, state))
                    && since.is_none_or(|since| began >= since)
                    && until.is_none_or(|until| began < until)
                    && output.as_ref().is_none_or(|output| output.is_of(job, &server.project))
                    && initiator.as_ref().is_none_or(|initiator| table::by(job).contains(initiator.as_str()))
            });
            jobs.truncate(limit as usize);
            if let Some(output) = output.filter(|output| jobs.is_empty() && !output.declared) {
                let name = server.name();
                tracing::warn!(
                    "`{}` is no node of the file, and no such job of [engine.{name}] has that output",
                    output.text
                );
            }
            table::print_jobs(context, &server.project, &jobs, format)
        }
        Jobs::Running { everywhere, format } => {
            let project = (!everywhere).then_some(server.project.as_str());
            let jobs = server.ask(server.remote.running(project))?;
            table::print_jobs(context, &server.project, &jobs, format)
        }
        Jobs::Show { id, format } => show::show(context, &server, &id, format),
        Jobs::Log { id, step: None, activity, tail, follow } => {
            let tame = context.surroundings.terminal.then(Tame::default);
            show::log(&server, &id, activity.as_deref(), tail, follow, tame)
        }
        Jobs::Log { step: Some(step), .. } => Err(Fail::Usage(
            format!("a job on DSS has no step `{step}`"),
            Some("name an activity: --activity NAME".to_owned()),
        )),
        Jobs::Wait { ids, timeout } => act::wait(&server, &ids, timeout),
        Jobs::Start(start) => act::start(&server, start),
        Jobs::Abort { ids, all, state, dry_run, state_dir: _ } => {
            act::abort(context, &server, &ids, all, state.as_deref(), dry_run)
        }
    }
}
