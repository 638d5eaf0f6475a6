//! Waits for jobs of a server, starts and aborts them.

use std::time::Duration;

use tokio::time::Instant;

use crate::base::text::count;
use crate::cli::args::{Format, StartArgs};
use crate::cli::dss::Server;
use crate::cli::remote::table;
use crate::cli::{Context, print};
use crate::engine::dss::remote::Start;
use crate::event::Failure;
use crate::exit;
use crate::pipeline::dss_wire::{JobItem, JobStatus, NO_PARTITION, Target, thing_type};
use crate::pipeline::types::Kind;
use crate::session::fail::Fail;

/// How long `abort` waits for jobs to end.
const ENDING: Duration = Duration::from_secs(30);

pub(super) fn wait(server: &Server, ids: &[String], timeout: Option<Duration>) -> Result<u8, Fail> {
    let began = Instant::now();
    let ids = found(server, ids)?;
    let timeout = timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
    Ok(code(wait_for(server, &ids, timeout)? == (true, true)))
}

/// The jobs that ids mean, each once.
fn found(server: &Server, ids: &[String]) -> Result<Vec<String>, Fail> {
    let mut found: Vec<String> = Vec::new();
    for id in ids {
        let id = server.find(id)?;
        if !found.contains(&id) {
            found.push(id);
        }
    }
    Ok(found)
}

fn code(good: bool) -> u8 {
    if good { exit::OK } else { exit::FAILED }
}

/// Waits for jobs, and says how each ended: whether all did in time, and whether those that did are DONE.
fn wait_for(server: &Server, ids: &[String], timeout: Option<Duration>) -> Result<(bool, bool), Fail> {
    let mut open: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut all_done = true;
    let mut said = Ok(());
    let mut failed: Vec<(String, JobStatus)> = Vec::new();
    let tell = |id: &str, status: Option<&JobStatus>| {
        open.retain(|other| *other != id);
        let state = status.map_or("GONE: DSS does not know it any more", JobStatus::state);
        all_done &= state == "DONE";
        failed.extend(status.filter(|_| state == "FAILED").map(|status| (id.to_owned(), status.clone())));
        let line = print(&format!("{id} {state}\n"));
        said = std::mem::replace(&mut said, Ok(())).and(line);
    };
    let in_time = server.ask(server.remote.wait(&server.project, ids, timeout, tell))?;
    said?;
    for (id, status) in &failed {
        let why = server.ask(async { Ok(server.remote.why(&server.project, id, status).await) })?;
        print(&text(&why))?;
    }
    for id in &open {
        print(&format!("{id} goes on: {}\n", server.remote.page(&server.project, id)))?;
    }
    Ok((in_time, all_done))
}

/// Why a job failed: the same as `kiln run` shows of it.
fn text(failure: &Failure) -> String {
    let tail: String = failure.tail.iter().map(|line| format!("  | {line}\n")).collect();
    let page = failure.page.as_ref().map(|page| format!("  page {page}\n")).unwrap_or_default();
    format!("\n{}\n{tail}{page}", failure.message)
}

pub(super) fn start(server: &Server, args: StartArgs) -> Result<u8, Fail> {
    let partition = args.partition.as_deref().unwrap_or(NO_PARTITION);
    let mut targets: Vec<Target> = Vec::new();
    for output in &args.output {
        let target = target(server, output, partition)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    let start = Start {
        kind: args.kind,
        targets,
        auto_update_schema: args.auto_update_schema,
        refresh_hive_metastore: args.refresh_hive_metastore,
    };
    let id = server.ask(server.remote.start(&server.project, start))?;
    print(&format!("{id}\n"))?;
    Ok(code(!args.wait || wait_for(server, &[id], None)? == (true, true)))
}

/// An output that jobs are chosen by.
pub(super) struct Wanted {
    pub(super) text: String,
    /// Whether the file declares it.
    pub(super) declared: bool,
    /// Whether it says of what kind it is.
    kind: bool,
    target: Target,
}

impl Wanted {
    /// What `--output` means, as for jobs that are started.
    pub(super) fn of(server: &Server, text: &str) -> Result<Self, Fail> {
        let target = target(server, text, NO_PARTITION)?;
        let declared = server.pipeline.node(text).is_some();
        Ok(Self { text: text.to_owned(), declared, kind: declared || text.contains(':'), target })
    }

    /// Whether a job was asked to build it.
    pub(super) fn is_of(&self, job: &JobItem, project: &str) -> bool {
        let outputs = job.def.iter().flat_map(|def| &def.outputs).map(|output| output.target(project));
        let same = |output: &Target| (&output.project, &output.id) == (&self.target.project, &self.target.id);
        outputs.into_iter().any(|output| same(&output) && (!self.kind || output.kind == self.target.kind))
    }
}

/// What an output means: a node of the file, else a dataset, unless it says what it is.
fn target(server: &Server, text: &str, partition: &str) -> Result<Target, Fail> {
    let (kind, name) = match text.split_once(':') {
        None => (None, text),
        Some(("dataset", name)) => (Some(Kind::Dataset), name),
        Some(("folder", name)) => (Some(Kind::Folder), name),
        Some(("model", name)) => (Some(Kind::Model), name),
        Some((kind, _)) => {
            let help = "write dataset:NAME, folder:ID or model:ID".to_owned();
            return Err(Fail::Usage(format!("--output {text}: `{kind}` is no kind of thing"), Some(help)));
        }
    };
    if name.is_empty() {
        let help = "write the name of a node of the file, dataset:NAME, folder:ID or model:ID".to_owned();
        return Err(Fail::Usage(format!("--output \"{text}\" names nothing"), Some(help)));
    }
    let pipeline = &server.pipeline;
    let node = pipeline.node(name).filter(|_| kind.is_none()).map(|id| &pipeline.nodes[id]);
    let partition = partition.to_owned();
    if let Some(node) = node {
        let project = node.project.clone().unwrap_or_else(|| server.project.clone());
        let id = node.id.clone().unwrap_or_else(|| node.name.clone());
        return Ok(Target { kind: thing_type(node.kind).to_owned(), project, id, partition });
    }
    let (project, id) = name.split_once('.').unwrap_or((&server.project, name));
    let kind = thing_type(kind.unwrap_or(Kind::Dataset)).to_owned();
    Ok(Target { kind, project: project.to_owned(), id: id.to_owned(), partition })
}

/// Whether DSS calls the state of a job that.
fn is_called(job: &JobItem, state: &str) -> bool {
    job.state.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(state))
}

pub(super) fn abort(
    context: &Context,
    server: &Server,
    ids: &[String],
    all: bool,
    state: Option<&str>,
    dry_run: bool,
) -> Result<u8, Fail> {
    if state.is_some() && !all {
        return Err(Fail::Usage(
            "--state chooses among --all".to_owned(),
            Some("leave it out, or write --all".to_owned()),
        ));
    }
    let ids: Vec<String> = if all {
        let mut jobs = server.ask(server.remote.jobs(&server.project))?;
        jobs.retain(|job| !job.over() && state.is_none_or(|state| is_called(job, state)));
        if jobs.is_empty() {
            let what = match state {
                Some(state) => format!("no job is {state}"),
                None => "no job goes on".to_owned(),
            };
            print(&format!("{what} in project {}\n", server.project))?;
            return Ok(exit::OK);
        }
        if dry_run {
            table::print_jobs(context, &server.project, &jobs, Format::Text)?;
        }
        jobs.iter().filter_map(JobItem::id).map(str::to_owned).collect()
    } else {
        found(server, ids)?
    };
    if dry_run {
        print(&format!("{} would be aborted\n", count(ids.len(), "job")))?;
        return Ok(exit::OK);
    }
    let (mut asked, mut refused) = (Vec::new(), Ok(()));
    for id in ids {
        match server.ask(server.remote.abort(&server.project, &id)) {
            Ok(()) => asked.push(id),
            // The others are asked all the same.
            Err(fail) => {
                print(&format!("{id} was not aborted: {}\n", fail.plain()))?;
                refused = refused.and(Err(fail));
            }
        }
    }
    // Asking is not ending.
    let (in_time, _) = wait_for(server, &asked, Some(ENDING))?;
    refused?;
    Ok(code(in_time))
}
