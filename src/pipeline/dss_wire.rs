//! The JSON of the DSS jobs and flow API, as DSS writes it and as its clients write it. Every field may be missing, be
//! null or be of another type than expected: then it is absent, and the rest is read. Does not know how it is sent.

mod words;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use words::{build, thing_type};

/// The partition of what has none.
pub const NO_PARTITION: &str = "NP";

/// Reads a value of any type; one that does not fit is absent.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}

/// What of a list fits; what is no list is empty.
fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(items) => items.into_iter().filter_map(|item| T::deserialize(item).ok()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Vec::new(),
    })
}

/// What of an object fits; what is no object is empty.
fn lenient_map<'de, D, T: DeserializeOwned>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(entries) => {
            entries.into_iter().filter_map(|(key, value)| Some((key, T::deserialize(value).ok()?))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => BTreeMap::new(),
    })
}

macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$fdoc:meta])* $field:ident: $type:ty = $key:literal,)*
        $(; lists $($(#[$ldoc:meta])* $list:ident: $item:ty = $lkey:literal,)*)?
        $(; maps $($(#[$mdoc:meta])* $map:ident: $value:ty = $mkey:literal,)*)?
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$fdoc])*
            #[serde(rename = $key, default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
            pub $field: Option<$type>,)*
            $($($(#[$ldoc])*
            #[serde(rename = $lkey, default, deserialize_with = "lenient_list")]
            pub $list: Vec<$item>,)*)?
            $($($(#[$mdoc])*
            #[serde(rename = $mkey, default, deserialize_with = "lenient_map")]
            pub $map: BTreeMap<String, $value>,)*)?
        }
    )*};
}

wire! {
    /// `POST /projects/K/jobs/`: what is asked for.
    StartJob {
        /// The build type; see [`build`].
        kind: String = "type",
        /// Whether the Hive metastore is brought up to date behind it.
        refresh_hive_metastore: bool = "refreshHiveMetastore",
        /// Whether the schema of each output is updated before its recipe runs.
        auto_update_schema: bool = "autoUpdateSchemaBeforeEachRecipeRun",
        ; lists
        /// What is built.
        outputs: Output = "outputs",
    }

    /// An output of a job: as requests name it, and as DSS echoes it (`target…`).
    Output {
        /// `DATASET`, `MANAGED_FOLDER`, `SAVED_MODEL`, …; none for a dataset.
        kind: String = "type",
        /// The name of a dataset, or the id of anything else.
        id: String = "id",
        /// The project; none for the project of the request.
        project: String = "projectKey",
        /// The partition, as one text; see [`Partition`].
        partition: Partition = "partition",
        /// Echo: the dataset.
        target_dataset: String = "targetDataset",
        /// Echo: its project.
        target_dataset_project: String = "targetDatasetProjectKey",
        /// Echo: the id of the managed folder.
        target_folder: String = "targetManagedFolder",
        /// Echo: its project.
        target_folder_project: String = "targetManagedFolderProjectKey",
        /// Echo: the id of the saved model.
        model: String = "savedModelId",
        /// Echo: the partition.
        target_partition: String = "targetPartition",
    }

    /// The definition of a job, as DSS keeps it.
    JobDef {
        /// The job's id.
        id: String = "id",
        /// Its name for people.
        name: String = "name",
        /// The build type.
        kind: String = "type",
        /// The project.
        project: String = "projectKey",
        /// Who started it: `API (key)`, or a login.
        initiator: String = "initiator",
        /// `API`, `SCHEDULER`, …
        triggered_from: String = "triggeredFrom",
        /// When it was asked for, in milliseconds since 1970.
        initiated_ms: i64 = "initiationTimestamp",
        /// The recipe that it was started from.
        recipe: String = "recipe",
        /// As in [`StartJob`].
        refresh_hive_metastore: bool = "refreshHiveMetastore",
        ; lists
        /// What it was asked to build.
        outputs: Output = "outputs",
    }

    /// A person or a key.
    Person {
        /// The login.
        login: String = "login",
        /// The name for people.
        name: String = "displayName",
    }

    /// A job in a list. Some lists have ids at the top, some in `def`: [`JobItem::id`] finds it.
    JobItem {
        /// The definition.
        def: JobDef = "def",
        /// Where it stands; see [`is_over`].
        state: String = "state",
        /// Whether that will not change any more.
        stable: bool = "stableState",
        /// When it started, in milliseconds since 1970; 0 for not yet.
        start_ms: i64 = "startTime",
        /// When it ended; 0 for not yet, or never begun.
        end_ms: i64 = "endTime",
        /// How many warnings there were.
        warnings: i64 = "warningsCount",
        /// The id, in lists of running jobs.
        job_id: String = "jobId",
        /// The id, as some versions have it.
        top_id: String = "id",
        /// The project, in lists of running jobs.
        project_key: String = "projectKey",
        /// Who started it, as some versions have it.
        person: Person = "initiator",
    }

    /// `GET /projects/K/jobs/J/`
    JobStatus {
        /// The definition, as some versions have it here too.
        def: JobDef = "def",
        /// Whether the job was deleted.
        removed: bool = "removed",
        /// Who started it.
        person: Person = "initiator",
        /// The state, with all activities.
        base: BaseStatus = "baseStatus",
        /// How many activities stand where.
        global: GlobalState = "globalState",
        /// Why it failed.
        error: Trouble = "error",
        /// The end of its log.
        log_tail: LogTail = "logTail",
    }

    /// `baseStatus` of a job.
    BaseStatus {
        /// The definition.
        def: JobDef = "def",
        /// Where it stands; see [`is_over`].
        state: String = "state",
        /// When it started, in milliseconds since 1970; 0 for not yet.
        start_ms: i64 = "jobStartTime",
        /// When it ended; 0 for not yet.
        end_ms: i64 = "jobEndTime",
        /// Its activities by their ids: a recipe for a partition each.
        activities: Activities = "activities",
    }

    /// An activity of a job.
    Activity {
        /// Its id.
        id: String = "activityId",
        /// The recipe.
        recipe: String = "recipeName",
        /// The recipe's type.
        recipe_type: String = "recipeType",
        /// Where it stands: `NOT_STARTED`, `RUNNING`, `DONE`, `FAILED`, `ABORTED`.
        state: String = "state",
        /// How long it took, in milliseconds.
        total_ms: i64 = "totalTime",
        /// What it is doing.
        message: String = "message",
        /// Why it failed.
        failure: Trouble = "firstFailure",
        /// What it warned of.
        warnings: Warnings = "warnings",
        ; lists
        /// What it reads.
        sources: Item = "sources",
        /// What it makes.
        targets: Item = "targets",
    }

    /// A thing of the flow: `{ type, id }`. The id may begin with the project and a dot.
    Item {
        /// The type.
        kind: String = "type",
        /// The id.
        id: String = "id",
        /// The partition, where DSS tells it.
        partition: String = "partition",
    }

    /// The warnings of an activity.
    Warnings {
        /// How many.
        total: i64 = "totalCount",
    }

    /// An error: the body of an answer, or why an activity failed.
    Trouble {
        /// A name of a class.
        kind: String = "errorType",
        /// What happened.
        message: String = "message",
        /// The same at length.
        detail: String = "detailedMessage",
    }

    /// `globalState` of a job: how many activities stand where.
    GlobalState {
        /// Not begun.
        not_started: i64 = "notStarted",
        /// Running.
        running: i64 = "running",
        /// Done.
        done: i64 = "done",
        /// Failed.
        failed: i64 = "failed",
        /// All; 0 where nothing had to run.
        total: i64 = "total",
    }

    /// The end of a log.
    LogTail {
        /// How many lines the log has.
        total: i64 = "totalLines",
        ; lists
        /// The last of them.
        lines: String = "lines",
    }

    /// `GET /projects/K/flow/graph/`
    FlowGraph {
        ; maps
        /// Data and recipes by their keys.
        nodes: FlowNode = "nodes",
    }

    /// A node of the flow graph: data or a recipe.
    FlowNode {
        /// `COMPUTABLE_DATASET`, `RUNNABLE_RECIPE`, …
        kind: String = "type",
        /// The name or the id.
        id: String = "ref",
        /// The type of the recipe or the dataset.
        sub: String = "subType",
        ; lists
        /// The keys of what it is made from.
        predecessors: String = "predecessors",
        /// The keys of what is made from it.
        successors: String = "successors",
    }

    /// A dataset, a managed folder, a saved model or a recipe, as the lists of a project hold it.
    Thing {
        /// The id, for all but datasets and recipes.
        id: String = "id",
        /// The name.
        name: String = "name",
        /// The type.
        kind: String = "type",
        /// The project.
        project: String = "projectKey",
        /// How it is rebuilt.
        flow: FlowOptions = "flowOptions",
        /// How it is partitioned.
        partitioning: Partitioning = "partitioning",
        ; lists
        /// Its tags.
        tags: String = "tags",
    }

    /// `partitioning` of a dataset.
    Partitioning {
        ; lists
        /// By what, in order; nothing for what is not partitioned.
        dimensions: Dimension = "dimensions",
    }

    /// What a dataset is partitioned by.
    Dimension {
        /// The name.
        name: String = "name",
        /// `time` or `value`.
        kind: String = "type",
    }

    /// `flowOptions` of a dataset.
    FlowOptions {
        /// `NORMAL`, `EXPLICIT_REBUILD`, `WRITE_PROTECT`.
        rebuild: String = "rebuildBehavior",
    }

    /// `GET /auth/info`
    AuthInfo {
        /// The login, or the name of the key.
        identity: String = "authIdentifier",
    }
}

/// Activities by their ids. Where they are missing, nothing is known; where there are none, nothing was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Activities(pub BTreeMap<String, Activity>);

impl<'de> Deserialize<'de> for Activities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let fits = |(key, value): (&String, &Value)| Some((key.clone(), Activity::deserialize(value).ok()?));
        let entries = value.as_object().ok_or_else(|| serde::de::Error::custom("no activities"))?;
        Ok(Self(entries.iter().filter_map(fits).collect()))
    }
}

/// A partition in a request: one text, though clients send lists of them too, which mean the same as joined by `,`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Partition(pub String);

impl<'de> Deserialize<'de> for Partition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match Value::deserialize(deserializer)? {
            Value::Array(items) => Ok(Self(items.iter().map(text).collect::<Vec<_>>().join(","))),
            Value::Null | Value::Object(_) => Err(serde::de::Error::custom("no partition")),
            one @ (Value::Bool(_) | Value::Number(_) | Value::String(_)) => Ok(Self(text(&one))),
        }
    }
}

/// Whether a job in this state will not change any more. A state that is not known is not over.
#[must_use]
pub fn is_over(state: &str) -> bool {
    matches!(state, "DONE" | "FAILED" | "ABORTED")
}

/// An output with all that makes it one and the same, whichever way it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The type, in its one spelling.
    pub kind: String,
    /// The project.
    pub project: String,
    /// The name or the id.
    pub id: String,
    /// The partition; `NP` where there is none.
    pub partition: String,
}

impl Output {
    /// What it names, in a request to `project` or in the echo of one.
    #[must_use]
    pub fn target(&self, project: &str) -> Target {
        let said = self.kind.as_deref().filter(|kind| !kind.is_empty());
        let (kind, echo, echo_project) = match said {
            None | Some("DATASET") if self.target_folder.is_some() && self.id.is_none() => {
                ("MANAGED_FOLDER", &self.target_folder, &self.target_folder_project)
            }
            None | Some("DATASET") => ("DATASET", &self.target_dataset, &self.target_dataset_project),
            Some("MANAGED_FOLDER") => ("MANAGED_FOLDER", &self.target_folder, &self.target_folder_project),
            Some("SAVED_MODEL") => ("SAVED_MODEL", &self.model, &None),
            Some("KNOWLEDGE_BANK" | "RETRIEVABLE_KNOWLEDGE") => ("RETRIEVABLE_KNOWLEDGE", &None, &None),
            Some(other) => (other, &None, &None),
        };
        let first = |some: &[&Option<String>], default: &str| {
            let mut some = some.iter().filter_map(|text| text.as_deref()).filter(|text| !text.is_empty());
            some.next().unwrap_or(default).to_owned()
        };
        let asked = self.partition.as_ref().map(|partition| partition.0.clone());
        Target {
            kind: kind.to_owned(),
            project: first(&[&self.project, echo_project], project),
            id: first(&[&self.id, echo], ""),
            partition: first(&[&asked, &self.target_partition], NO_PARTITION),
        }
    }
}

impl Target {
    /// The output as requests name it.
    #[must_use]
    pub fn request(&self) -> Output {
        let partition = (self.partition != NO_PARTITION).then(|| Partition(self.partition.clone()));
        Output {
            kind: Some(self.kind.clone()),
            id: Some(self.id.clone()),
            project: Some(self.project.clone()),
            partition,
            ..Output::default()
        }
    }
}

impl JobItem {
    /// The id of the job.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        let def = self.def.as_ref().and_then(|def| def.id.as_deref());
        self.job_id.as_deref().or(def).or(self.top_id.as_deref()).filter(|id| !id.is_empty())
    }

    /// Whether it tells where it stands.
    #[must_use]
    pub fn tells(&self) -> bool {
        self.stable.is_some() || self.state.is_some()
    }

    /// Whether it will not change any more.
    #[must_use]
    pub fn over(&self) -> bool {
        self.stable == Some(true) || self.state.as_deref().is_some_and(is_over)
    }
}

impl JobStatus {
    /// The state; empty where the answer has none.
    #[must_use]
    pub fn state(&self) -> &str {
        self.base.as_ref().and_then(|base| base.state.as_deref()).unwrap_or_default()
    }

    /// The definition, wherever it stands.
    #[must_use]
    pub fn definition(&self) -> Option<&JobDef> {
        self.base.as_ref().and_then(|base| base.def.as_ref()).or(self.def.as_ref())
    }

    /// The activities by their ids.
    pub fn activities(&self) -> impl Iterator<Item = (&String, &Activity)> {
        self.base.iter().flat_map(|base| base.activities.iter().flat_map(|activities| &activities.0))
    }
}

impl Thing {
    /// The names of what it is partitioned by, in order.
    #[must_use]
    pub fn partitioned_by(&self) -> Vec<&str> {
        let dimensions = self.partitioning.iter().flat_map(|partitioning| &partitioning.dimensions);
        dimensions.filter_map(|dimension| dimension.name.as_deref()).collect()
    }
}

impl Trouble {
    /// What it says, on as many lines as it has; none where it says nothing.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        let texts = [self.detail.as_deref(), self.message.as_deref(), self.kind.as_deref()];
        texts.into_iter().flatten().map(str::trim).find(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests;
