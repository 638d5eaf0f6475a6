//! Jobs of a server as a table or as JSON.

use serde::Serialize;

use crate::base::job::JobState;
use crate::base::text::millis;
use crate::cli::args::Format;
use crate::cli::table::table;
use crate::cli::{Context, print};
use crate::clock;
use crate::engine::dss::remote::began_ms;
use crate::exit;
use crate::pipeline::dss_wire::{JobItem, NO_PARTITION};
use crate::session::fail::Fail;

/// A job for programs.
#[derive(Serialize)]
struct Row {
    id: String,
    project: String,
    state: String,
    r#type: Option<String>,
    initiator: String,
    start: Option<jiff::Timestamp>,
    end: Option<jiff::Timestamp>,
    took_ms: Option<i64>,
    outputs: Vec<String>,
}

/// Prints jobs.
pub(super) fn print_jobs(context: &Context, project: &str, jobs: &[JobItem], format: Format) -> Result<u8, Fail> {
    let rows: Vec<Row> = jobs.iter().map(|job| row(job, project)).collect();
    match format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&rows).map_err(|error| Fail::because("the list", &error))?;
            print(&format!("{json}\n"))?;
        }
        Format::Text if rows.is_empty() => print("no jobs\n")?,
        Format::Text => {
            let (style, now) = (context.style(), clock::now());
            let mut lines = vec![["JOB", "STATE", "START", "TOOK", "BY", "TYPE", "OUTPUTS"].map(str::to_owned)];
            for row in rows {
                lines.push([
                    row.id,
                    row.state,
                    row.start.map(|start| style.date(start, now)).unwrap_or_default(),
                    row.took_ms.and_then(|took| u64::try_from(took).ok()).map(millis).unwrap_or_default(),
                    row.initiator,
                    row.r#type.unwrap_or_default(),
                    row.outputs.join(", "),
                ]);
            }
            print(&table(&lines))?;
        }
    }
    Ok(exit::OK)
}

fn row(job: &JobItem, project: &str) -> Row {
    let def = job.def.as_ref();
    let own = job.project_key.as_deref().or_else(|| def.and_then(|def| def.project.as_deref())).unwrap_or(project);
    let time = |ms: i64| jiff::Timestamp::from_millisecond(ms).ok();
    let (began, end) = (began_ms(job), job.end_ms.filter(|ms| *ms > 0));
    Row {
        id: job.id().unwrap_or_default().to_owned(),
        project: own.to_owned(),
        state: job.state.clone().unwrap_or_default(),
        r#type: def.and_then(|def| def.kind.clone()),
        initiator: by(job),
        start: (began > 0).then(|| time(began)).flatten(),
        end: end.and_then(time),
        took_ms: end.filter(|_| began > 0).map(|end| end - began),
        outputs: outputs(job, own),
    }
}

fn outputs(job: &JobItem, project: &str) -> Vec<String> {
    let outputs = job.def.iter().flat_map(|def| &def.outputs).map(|output| output.target(project));
    let text = |target: crate::pipeline::dss_wire::Target| {
        let name = if target.project == project { target.id } else { format!("{}.{}", target.project, target.id) };
        if target.partition == NO_PARTITION { name } else { format!("{name} ({})", target.partition) }
    };
    outputs.map(text).collect()
}

/// Who started a job.
pub(super) fn by(job: &JobItem) -> String {
    let person = job.person.as_ref().and_then(|person| person.login.clone().or_else(|| person.name.clone()));
    job.def.as_ref().and_then(|def| def.initiator.clone()).or(person).unwrap_or_default()
}

/// Whether a job stands there. What is not over goes on, however DSS calls it.
pub(super) fn is_in(job: &JobItem, state: JobState) -> bool {
    match state {
        JobState::Queued => job.state.as_deref() == Some("NOT_STARTED"),
        JobState::Running => !job.over(),
        JobState::Done | JobState::Failed | JobState::Aborted => job.state.as_deref() == Some(state.word()),
    }
}
