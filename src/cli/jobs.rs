//! `kiln jobs`: the runs of the past and of now, read from the store and from the log files beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::job::JobState;
use crate::base::text::{clean, parse_time};
use crate::cli::about::about;
use crate::cli::args::{Format, Jobs};
use crate::cli::tame::Tame;
use crate::cli::{Context, find, jobs_wait, print};
use crate::clock;
use crate::event::Counts;
use crate::exit;
use crate::pipeline::paths::OWN;
use crate::report::job;
use crate::report::jobs::{JobLine, list};
use crate::session::fail::Fail;
use crate::session::{load, state, unread};
use crate::store::filter::RunFilter;
use crate::store::read::{Reader, RunRow};
use crate::view::RunView;

pub(crate) fn jobs(context: &Context, jobs: Jobs) -> Result<u8, Fail> {
    let history = History::open(context)?;
    match jobs {
        Jobs::List { state, since, until, initiator, limit, format, output, state_dir: _ } => {
            let about = output.map(|output| about(context, &history, &output)).transpose()?;
            let since = since.map(|text| time(context, "--since", &text)).transpose()?;
            let until = until.map(|text| time(context, "--until", &text)).transpose()?;
            let filter = RunFilter { state, since, until, about, limit: Some(limit), ..RunFilter::default() };
            history.list(context, &RunFilter { by_some: initiator, ..filter }, format)
        }
        Jobs::Show { id, format } => history.show(context, &id, format),
        Jobs::Running { format, everywhere: _ } => {
            let filter = RunFilter { state: Some(JobState::Running), ..RunFilter::default() };
            history.list(context, &filter, format)
        }
        Jobs::Log { id, step, follow, activity, tail } => {
            let tame = context.surroundings.terminal.then(Tame::default);
            let (id, step) = history.asked_for(context, &id, step.or(activity).as_deref())?;
            history.log(context, (&id, step.as_deref()), tail, follow, tame)
        }
        Jobs::Wait { ids, timeout } => jobs_wait::wait(&history, &ids, timeout),
        Jobs::Abort { ids, .. } => history.abort(context, &ids),
        Jobs::Start(_) => {
            let help = "`kiln run` builds here; --engine NAME starts a job on a server".to_owned();
            Err(Fail::Usage("jobs start: on which engine?".to_owned(), Some(help)))
        }
    }
}

/// A point in time as people write it: a day, or a day and a time, in the local zone unless it says otherwise, or an age.
pub(crate) fn time(context: &Context, option: &str, text: &str) -> Result<jiff::Timestamp, Fail> {
    parse_time(text, &context.surroundings.zone(), clock::now()).ok_or_else(|| {
        let help =
            "write 2026-11-01, 2026-11-01T02:00, 2026-11-01T02:00:00Z, or as an age 2d, 12h, yesterday".to_owned();
        Fail::Usage(format!("{option} {text}: this is no point in time"), Some(help))
    })
}

/// The history in a state's folder.
pub(crate) struct History {
    state: PathBuf,
    /// The only pipeline whose runs count, where one was named.
    pub(super) pipeline: Option<String>,
    pub(super) reader: Option<Reader>,
}

impl History {
    /// The history beside the pipeline file, or in `--state`. With `--file`, of that pipeline only.
    pub(super) fn open(context: &Context) -> Result<Self, Fail> {
        let Some(file) = &context.file else { return Self::at(state_folder(context)?) };
        let (root, pipeline) = load::head_of(&find::find(Some(file), &context.surroundings)?)?;
        if pipeline.is_none() {
            let help = "`kiln check` shows what else is wrong".to_owned();
            return Err(Fail::Usage(format!("{} does not say which pipeline it is", file.display()), Some(help)));
        }
        Ok(Self { pipeline, ..Self::at(state(&context.site(), &root))? })
    }

    pub(crate) fn at(state: PathBuf) -> Result<Self, Fail> {
        let reader = Reader::open(&state).map_err(unread)?;
        Ok(Self { state, pipeline: None, reader })
    }

    /// The state's folder.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// What the events of a run tell. `last` is the last one of this pipeline that had something to do.
    pub(crate) fn view(&self, id: &str, pipeline: &str) -> Result<RunView, Fail> {
        let (reader, mut row) = self.find(id)?;
        if id == "last" {
            let last = reader.last_busy_run(pipeline).map_err(unread)?;
            row = last.ok_or_else(|| Fail::Usage(format!("`{pipeline}` has no run yet"), None))?;
        }
        Ok(RunView::fold(&reader.events(&row.id, 0).map_err(unread)?))
    }

    fn list(&self, context: &Context, filter: &RunFilter, format: Format) -> Result<u8, Fail> {
        let rows = self.rows(filter)?;
        match format {
            Format::Json => {
                let json = serde_json::to_string_pretty(&rows).map_err(|error| Fail::because("the list", &error))?;
                print(&format!("{json}\n"))?;
            }
            Format::Text if rows.is_empty() && self.reader.is_some() => print("no runs\n")?,
            Format::Text if rows.is_empty() => {
                let folder = clean(&context.shown(&self.state));
                print(&format!("no runs: there is no history in {folder}\n"))?;
            }
            Format::Text => {
                let now = clock::now();
                let lines: Result<Vec<JobLine>, Fail> = rows.iter().map(|row| self.line(row, now)).collect();
                print(&list(&lines?, &context.style(), now))?;
            }
        }
        Ok(exit::OK)
    }

    fn line(&self, row: &RunRow, now: jiff::Timestamp) -> Result<JobLine, Fail> {
        // Only the word for a run that built nothing depends on it.
        let left = match &self.reader {
            Some(reader) if row.state == JobState::Done && row.built + row.same == 0 => {
                reader.left(&row.id).map_err(unread)?
            }
            _ => 0,
        };
        let given = self.reader.as_ref().map(|reader| reader.given(&row.id)).transpose().map_err(unread)?;
        let (vars, exclude) = given.unwrap_or_default();
        Ok(JobLine { left, vars, exclude, ..line(row, now) })
    }

    /// The runs of a list.
    pub(super) fn rows(&self, filter: &RunFilter) -> Result<Vec<RunRow>, Fail> {
        self.runs(&RunFilter { pipeline: self.pipeline.clone(), ..filter.clone() })
    }

    /// The runs of any pipeline, the newest first.
    pub(crate) fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, Fail> {
        let Some(reader) = &self.reader else { return Ok(Vec::new()) };
        reader.runs_now(filter, &self.state).map_err(unread)
    }

    /// The run that an id means.
    pub(super) fn find(&self, id: &str) -> Result<(&Reader, RunRow), Fail> {
        // Where there is one run only, all parts of ids are its own.
        if id.trim_start_matches('…').is_empty() {
            let help = "name one of `kiln jobs list`, or `last`".to_owned();
            return Err(Fail::Usage("an empty id names no run".to_owned(), Some(help)));
        }
        let none = || match (id, &self.pipeline) {
            ("last", None) => Fail::Usage("there is no run yet".to_owned(), None),
            ("last", Some(pipeline)) => Fail::Usage(format!("`{pipeline}` has no run yet"), None),
            _ => Fail::Usage(no_run(id), Some("`kiln jobs list` shows the runs".to_owned())),
        };
        let reader = self.reader.as_ref().ok_or_else(none)?;
        let mut rows = match &self.pipeline {
            Some(pipeline) if id == "last" => reader.last_run(pipeline).map_err(unread)?.into_iter().collect(),
            _ => reader.find_run(id).map_err(unread)?,
        };
        // An id in full needs nothing else to be clear.
        rows.retain(|row| row.id.as_str() == id || self.pipeline.as_ref().is_none_or(|name| row.pipeline == *name));
        if rows.len() > 1 {
            let some: Vec<_> = rows.iter().take(5).map(|row| row.id.to_string()).collect();
            let help = format!("among them: {}", some.join(", "));
            return Err(Fail::Usage(format!("`{id}` is part of the ids of {} runs", rows.len()), Some(help)));
        }
        let mut row = rows.pop().ok_or_else(none)?;
        reader.see_death(&mut row, &self.state).map_err(unread)?;
        Ok((reader, row))
    }

    fn show(&self, context: &Context, id: &str, format: Format) -> Result<u8, Fail> {
        let (reader, row) = self.find(id)?;
        let events = reader.events(&row.id, 0).map_err(unread)?;
        match format {
            Format::Text => {
                let state = context.shown(&self.state);
                let mut view = RunView::fold(&events);
                let so_far = if row.state == JobState::Running { so_far(&row, clock::now()) } else { 0 };
                view.elapsed_ms = view.elapsed_ms.max(row.took_ms.unwrap_or(so_far));
                row.end(&mut view);
                print(&job::show(&view, &context.style(), &state))?;
            }
            Format::Json => {
                let lines: Result<Vec<_>, _> = events.iter().map(serde_json::to_string).collect();
                let lines = lines.map_err(|error| Fail::because("the events", &error))?;
                print(&format!("{}\n", lines.join("\n")))?;
            }
        }
        Ok(exit::OK)
    }
}

/// What is said where no run has such an id.
pub(super) fn no_run(id: &str) -> String {
    format!("there is no run `{id}`")
}

/// The folder of the state: beside the pipeline file, or `--state`.
pub(crate) fn state_folder(context: &Context) -> Result<PathBuf, Fail> {
    let root = if context.state.is_some() { PathBuf::new() } else { root(context)? };
    Ok(state(&context.site(), &root))
}

/// The root of the pipeline file; where there is none, the folder itself: history may outlive its file.
pub(super) fn root(context: &Context) -> Result<PathBuf, Fail> {
    let found = match &context.file {
        Some(file) => Some(find::find(Some(file), &context.surroundings)?),
        None => find::find_all(&context.surroundings).into_iter().next(),
    };
    match found {
        Some(file) => Ok(load::head_of(&file)?.0),
        // Below a pipeline nothing is kept.
        None if !context.surroundings.folder.join(OWN).exists() && find::is_above(&context.surroundings) => {
            Err(find::none(&context.surroundings))
        }
        None => Ok(context.surroundings.folder.clone()),
    }
}

/// How long a run has gone on, in milliseconds.
fn so_far(row: &RunRow, now: jiff::Timestamp) -> u64 {
    u64::try_from(now.duration_since(row.start).as_millis()).unwrap_or_default()
}

fn line(row: &RunRow, now: jiff::Timestamp) -> JobLine {
    JobLine {
        job: row.id.clone(),
        pipeline: row.pipeline.clone(),
        state: row.state,
        counts: Counts {
            built: row.built,
            same: row.same,
            flaky: row.flaky,
            failed: row.failed,
            stopped: row.stopped,
            skipped: row.skipped,
            current: row.current,
        },
        began: row.start,
        took_ms: row.took_ms.unwrap_or_else(|| if row.state == JobState::Running { so_far(row, now) } else { 0 }),
        by: row.by.clone(),
        targets: row.targets.clone(),
        exclude: Vec::new(),
        vars: BTreeMap::new(),
        mode: row.mode.clone(),
        why: row.cause(),
        left: 0,
    }
}

/// How often a run that goes on is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);
