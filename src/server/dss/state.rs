//! A job as DSS writes it, from what the history tells. Knows no routes.

use std::cell::OnceCell;
use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::base::id::{NodeId, RecipeId};
use crate::base::job::{BuildMode, JobState};
use crate::event::{Cause, RunEnded};
use crate::pipeline::dss_wire::{NO_PARTITION, build, thing_type};
use crate::pipeline::types::{Item, Pipeline};
use crate::select::{Choice, Want, select};
use crate::server::archive::Standing;
use crate::server::desk::Wait;
use crate::server::logs;
use crate::server::project::{Names, Project};
use crate::server::timeline::{Did, spans};
use crate::server::wording::waits;
use crate::session::load::Loaded;
use crate::store::read::RunRow;
use crate::view::{RunView, StepState, StepView};

/// So many lines of a log are in a job's status.
const TAIL: usize = 30;

/// The mode of a build type.
pub(crate) fn mode_of(kind: &str) -> Option<BuildMode> {
    let modes = [BuildMode::Smart, BuildMode::Only, BuildMode::Forced, BuildMode::Missing];
    modes.into_iter().find(|mode| build::of(*mode) == kind)
}

/// A pipeline as its jobs show it. What is the same for many of them is found once.
pub(crate) struct Shown<'a> {
    loaded: &'a Loaded,
    /// What is built where everything is asked for.
    all: OnceCell<Vec<Value>>,
}

impl<'a> Shown<'a> {
    pub(crate) fn new(loaded: &'a Loaded) -> Self {
        Self { loaded, all: OnceCell::new() }
    }
}

/// An element of a list of jobs.
pub(crate) fn item(row: &RunRow, shown: &Shown<'_>, wait: Option<&Wait>) -> Value {
    let (def, loaded) = (def(row, shown), shown.loaded);
    let mut item = json!({
        "def": def,
        "id": row.id,
        "jobId": row.id,
        "projectKey": loaded.pipeline.project,
        "state": row.state.word(),
        "stableState": row.state.is_over(),
        "startTime": start(row),
        "endTime": end(row),
        "warningsCount": 0,
    });
    if let Some(wait) = wait {
        item["waitingFor"] = waiting(wait, loaded);
    }
    item
}

/// What a job was asked for.
pub(crate) fn def(row: &RunRow, shown: &Shown<'_>) -> Value {
    let (pipeline, outputs) = (&shown.loaded.pipeline, outputs(row, shown));
    let names: Vec<&str> =
        if row.targets.is_empty() { vec!["all"] } else { row.targets.iter().map(String::as_str).collect() };
    let mode = BuildMode::of_word(&row.mode).unwrap_or_default();
    json!({
        "id": row.id,
        "name": format!("Build {} ({NO_PARTITION})", names.join(", ")),
        "type": build::of(mode),
        "projectKey": pipeline.project,
        "initiator": row.by,
        "triggeredFrom": if row.by.starts_with("API (") { "API" } else { "MANUAL" },
        "initiationTimestamp": row.asked.as_millisecond(),
        "mailNotification": false,
        "refreshHiveMetastore": false,
        "refreshIntermediateMirrors": false,
        "refreshTargetMirrors": false,
        "outputs": outputs,
    })
}

/// What nothing is made from, and the tasks.
fn ends(pipeline: &Pipeline) -> Vec<Value> {
    let recipes = pipeline.recipes.values().filter(|recipe| !recipe.task);
    let read: HashSet<NodeId> = recipes.flat_map(|recipe| &recipe.inputs).copied().collect();
    let ends = pipeline.nodes.iter().filter(|(id, node)| node.maker.is_some() && !read.contains(id));
    let tasks = pipeline.recipes.iter().filter(|(_, recipe)| recipe.task);
    ends.map(|(id, _)| echo(pipeline, id)).chain(tasks.flat_map(|(id, _)| made(pipeline, id))).collect()
}

/// What a job was asked to build, in the form in which DSS echoes it.
fn outputs(row: &RunRow, shown: &Shown<'_>) -> Vec<Value> {
    let (loaded, pipeline) = (shown.loaded, &shown.loaded.pipeline);
    if row.targets.is_empty() {
        return shown.all.get_or_init(|| ends(pipeline)).clone();
    }
    let named = |name: &String| match pipeline.names.get(name) {
        Some(Item::Node(node)) => vec![echo(pipeline, *node)],
        Some(Item::Recipe(recipe)) => made(pipeline, *recipe),
        None => selected(loaded, name),
    };
    let mut told = HashSet::new();
    row.targets.iter().flat_map(named).filter(|output| told.insert(output.to_string())).collect()
}

/// What a target such as `+orders` or `tag:daily` stands for now; nothing where the file does not have it any more.
fn selected(loaded: &Loaded, target: &String) -> Vec<Value> {
    let (pipeline, targets) = (&loaded.pipeline, std::slice::from_ref(target));
    let choice = Choice { targets, exclude: &[], mode: BuildMode::Only };
    let found = select(pipeline, &loaded.graph, choice, &|_| true);
    let recipes = found.iter().flat_map(|selection| selection.want.iter());
    recipes.filter(|(_, want)| **want == Want::Target).flat_map(|(id, _)| made(pipeline, id)).collect()
}

/// What a recipe makes; of a task, itself.
fn made(pipeline: &Pipeline, id: RecipeId) -> Vec<Value> {
    let recipe = &pipeline.recipes[id];
    if recipe.task {
        let echo = json!({ "type": "TASK", "id": recipe.name, "projectKey": pipeline.project, "targetPartition": NO_PARTITION });
        return vec![echo];
    }
    recipe.outputs.iter().map(|node| echo(pipeline, *node)).collect()
}

fn echo(pipeline: &Pipeline, id: NodeId) -> Value {
    use crate::pipeline::types::Kind;
    let node = &pipeline.nodes[id];
    let project = node.project.as_ref().unwrap_or(&pipeline.project);
    let name = pipeline.id_of(id);
    let mut echo =
        json!({ "type": thing_type(node.kind), "id": name, "projectKey": project, "targetPartition": NO_PARTITION });
    match node.kind {
        Kind::Dataset => {
            echo["targetDataset"] = json!(name);
            echo["targetDatasetProjectKey"] = json!(project);
        }
        Kind::Folder => {
            echo["targetManagedFolder"] = json!(name);
            echo["targetManagedFolderProjectKey"] = json!(project);
        }
        Kind::Model => echo["savedModelId"] = json!(name),
    }
    echo
}

/// Why a job waits, for programs and for people.
pub(crate) fn waiting(wait: &Wait, loaded: &Loaded) -> Value {
    let (reason, job) = match wait {
        Wait::Turn => ("turn", None),
        Wait::Job(job, _) => ("job", Some(job)),
        Wait::Another => ("job", None),
        Wait::Process(_, job) => ("process", job.as_ref()),
        Wait::Looking => ("plan", None),
        Wait::Ending => ("end", None),
    };
    let mut waiting = json!({ "reason": reason, "message": waits(wait, loaded) });
    if let Some(job) = job {
        waiting["jobId"] = json!(job);
    }
    waiting
}

/// When a job started, in milliseconds since 1970; 0 where it did not.
fn start(row: &RunRow) -> i64 {
    if row.begun { row.start.as_millisecond() } else { 0 }
}

fn end(row: &RunRow) -> i64 {
    if row.begun { row.end.map_or(0, jiff::Timestamp::as_millisecond) } else { 0 }
}

/// `GET /projects/K/jobs/J/`
pub(crate) fn status(standing: &Standing, project: &Project, loaded: &Loaded, wait: Option<&Wait>) -> Value {
    let Standing { row, view, .. } = standing;
    let pipeline = &loaded.pipeline;
    let def = def(row, &Shown::new(loaded));
    let shown: Vec<&StepView> = view.steps.iter().filter(|step| step.state != StepState::Current).collect();
    let activities: Map<String, Value> =
        shown.iter().map(|step| (activity_id(step, pipeline), activity(step, view, pipeline))).collect();
    let times: Vec<Value> = shown.iter().map(|step| summary(step, view, loaded)).collect();
    let resolve = if row.begun { row.start.as_millisecond() - row.asked.as_millisecond() } else { 0 };
    let mut status = json!({
        "def": def,
        "removed": false,
        "initiator": { "login": row.by, "displayName": row.by },
        "baseStatus": {
            "def": def,
            "state": row.state.word(),
            "jobStartTime": start(row),
            "jobEndTime": end(row),
            "resolveDuration": resolve.max(0),
            "execDuration": row.took_ms.unwrap_or(view.elapsed_ms),
            "activities": activities,
        },
        "globalState": counts(&shown),
        "logTail": tail(project, &shown, wait.map(|wait| waits(wait, loaded))),
        "runtimeSummary": {
            "jobType": def["type"],
            "triggerType": def["triggeredFrom"],
            "state": row.state.word(),
            "activities": times,
        },
    });
    if let Some(error) = error(row, view, &shown) {
        status["error"] = error.clone();
        status["baseStatus"]["firstFailure"] = error.clone();
        status["firstFailure"] = error;
    }
    if let Some(wait) = wait {
        status["waitingFor"] = waiting(wait, loaded);
    }
    status
}

/// The id of an activity: the recipe and the partition.
pub(crate) fn activity_id(step: &StepView, pipeline: &Pipeline) -> String {
    format!("{}_{NO_PARTITION}", recipe_name(step, pipeline))
}

/// The recipe of a step, also of a step that the file does not have any more.
fn recipe_name(step: &StepView, pipeline: &Pipeline) -> String {
    let id = &step.plan.id;
    match pipeline.recipe(id) {
        Some(recipe) if pipeline.recipes[recipe].name == *id => pipeline.recipe_name(recipe),
        _ if step.plan.outputs.contains(id) => format!("compute_{id}"),
        _ => id.clone(),
    }
}

fn activity(step: &StepView, view: &RunView, pipeline: &Pipeline) -> Value {
    let things = |nodes: Vec<NodeId>| -> Vec<Value> {
        let thing = |id: NodeId| json!({ "type": thing_type(pipeline.nodes[id].kind), "id": pipeline.reference(id) });
        nodes.into_iter().map(thing).collect()
    };
    let recipe = pipeline.recipe(&step.plan.id);
    let inputs = recipe.map(|id| pipeline.recipes[id].inputs.clone()).unwrap_or_default();
    let outputs = step.plan.outputs.iter().filter_map(|name| pipeline.node(name)).collect();
    let mut activity = json!({
        "activityId": activity_id(step, pipeline),
        "recipeName": recipe_name(step, pipeline),
        "recipeType": "shell",
        "state": state(step.state),
        "totalTime": time(step, view),
        "startTime": began(step, view),
        "warnings": { "totalCount": 0, "warnings": {} },
        "sources": things(inputs),
        "targets": things(outputs),
    });
    if let Some(failure) = failure(step) {
        activity["firstFailure"] = failure;
    }
    let message = match (step.state, &step.because) {
        (StepState::Skipped, Some(because)) => Some(format!("not started because of `{because}`")),
        (StepState::Skipped, None) => Some("not started: the run stopped".to_owned()),
        (StepState::Publishing, _) => Some("its outputs are being put in place".to_owned()),
        _ => None,
    };
    if let Some(message) = message {
        activity["message"] = json!(message);
    }
    activity
}

fn summary(step: &StepView, view: &RunView, loaded: &Loaded) -> Value {
    let spans = spans(loaded, view, step, view.elapsed_ms);
    let sum = |waited: bool| -> u64 {
        spans.iter().filter(|span| (span.did == Did::Waited) == waited).map(|span| span.to - span.from).sum()
    };
    let (waiting, running) = (sum(true), sum(false));
    json!({
        "activityId": activity_id(step, &loaded.pipeline),
        "state": state(step.state),
        "activityType": "RECIPE",
        "engineType": "LOCAL",
        "totalTime": waiting + running,
        "preparingTime": 0,
        "waitingTime": waiting,
        "runningTime": running,
    })
}

/// How long a step has taken so far, as far as the events tell.
fn time(step: &StepView, view: &RunView) -> u64 {
    match step.state {
        StepState::Running | StepState::Publishing => view.elapsed_ms.saturating_sub(step.began_ms),
        StepState::Waiting
        | StepState::Retrying
        | StepState::Built
        | StepState::Same
        | StepState::Current
        | StepState::Failed
        | StepState::Stopped
        | StepState::Skipped => step.took_ms,
    }
}

fn began(step: &StepView, view: &RunView) -> i64 {
    let began = i64::try_from(step.began_ms).unwrap_or(i64::MAX);
    match &view.head {
        Some(head) if step.attempt > 0 => head.at.as_millisecond().saturating_add(began),
        _ => 0,
    }
}

fn state(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "NOT_STARTED",
        StepState::Running | StepState::Retrying | StepState::Publishing => "RUNNING",
        StepState::Built | StepState::Same | StepState::Current => "DONE",
        StepState::Failed => "FAILED",
        StepState::Stopped | StepState::Skipped => "ABORTED",
    }
}

fn failure(step: &StepView) -> Option<Value> {
    let failure = step.failure.as_ref().filter(|_| step.state == StepState::Failed)?;
    let message = format!("{}: {}", step.plan.id, failure.message);
    let detail =
        if failure.tail.is_empty() { message.clone() } else { format!("{message}\n{}", failure.tail.join("\n")) };
    Some(json!({
        "errorType": format!("kiln.{}", failure.code.word()),
        "message": message,
        "detailedMessage": detail,
        "stackTrace": [],
    }))
}

/// Why a job failed: its first step that failed, or what stands in the list.
fn error(row: &RunRow, view: &RunView, steps: &[&StepView]) -> Option<Value> {
    if row.state != JobState::Failed {
        return None;
    }
    let why = row.why.as_deref().unwrap_or("it is not known why");
    let named = match view.end.as_ref().and_then(RunEnded::cause) {
        Some(Cause::Failed { step, .. }) => view.step(&step),
        _ => None,
    };
    let first = named.into_iter().chain(steps.iter().copied()).find_map(failure);
    Some(first.unwrap_or_else(
        || json!({ "errorType": "kiln.failed", "message": why, "detailedMessage": why, "stackTrace": [] }),
    ))
}

fn counts(steps: &[&StepView]) -> Value {
    let count = |word: &str| steps.iter().filter(|step| state(step.state) == word).count();
    json!({
        "notStarted": count("NOT_STARTED"),
        "running": count("RUNNING"),
        "done": count("DONE"),
        "failed": count("FAILED"),
        "aborted": count("ABORTED"),
        "total": steps.len(),
    })
}

/// The end of the log: of the step that failed, else of the one that began last; why a job waits.
fn tail(project: &Project, steps: &[&StepView], wait: Option<String>) -> Value {
    let failed = steps.iter().find(|step| step.state == StepState::Failed);
    let last = || steps.iter().filter(|step| step.attempt > 0).max_by_key(|step| step.began_ms);
    let file =
        failed.or_else(last).filter(|step| !step.log.is_empty()).map(|step| project.archive.folder.join(&step.log));
    let mut lines = file.as_ref().map(|file| logs::tail(file, TAIL)).unwrap_or_default();
    let all = file.map_or(0, |file| project.archive.lines.of(&file));
    let total = all.max(lines.len() as u64) + u64::from(wait.is_some());
    lines.extend(wait);
    json!({ "totalLines": total, "lines": lines })
}
