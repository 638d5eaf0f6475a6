//! The domain: a checked pipeline. Every name in it is resolved, every path stays inside the root, every template
//! renders. Does not know how it was written (but for the places that later errors show).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::id::{NodeId, RecipeId};
use crate::base::job::{BuildMode, Schedule};
use crate::base::span::Span;
use crate::pipeline::image;
use crate::pipeline::outline::{Outline, Owner, Paths};
use crate::pipeline::raw::{EnvValue, SecretValue};
use crate::pipeline::raw_engine::RawEngine;
use crate::pipeline::retry::Retry;
use crate::pipeline::rows::{Late, Rows};
use crate::pipeline::template::Template;

/// A checked pipeline.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// The DSS project key.
    pub project: String,
    /// What it is for.
    pub description: Option<String>,
    /// Defaults of `kiln run`.
    pub settings: Settings,
    /// Engines that the file declares, by name, each with the place of that.
    pub engines: BTreeMap<String, (RawEngine, Span)>,
    /// The variables, with what `--var` replaced.
    pub vars: BTreeMap<String, String>,
    /// Datasets, folders and models in the order of the file.
    pub nodes: Rows<NodeId, Node>,
    /// What makes them, and tasks, in the order of the file.
    pub recipes: Rows<RecipeId, Recipe>,
    /// What each name stands for.
    pub names: Late<Names<Item>>,
    /// What is asked about all steps, once it is.
    pub(crate) outline: OnceLock<Outline>,
    /// All paths, once they are asked for.
    pub(crate) paths: OnceLock<Paths>,
}

/// Something by name. Files are written by those who run them, so the hash may be a quick one.
pub type Names<T> = HashMap<String, T, rustc_hash::FxBuildHasher>;

/// What a name stands for. A node and the recipe written inside it share a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub enum Item {
    /// A node.
    Node(NodeId),
    /// A recipe of its own, or a task.
    Recipe(RecipeId),
}

/// Defaults of `kiln run`.
#[derive(Clone, Debug, Default, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Settings {
    /// The engine that builds, and where that is said.
    pub engine: Option<(String, Span)>,
    /// How many jobs run at once.
    pub max_parallel: Option<u32>,
    /// When a step may start.
    pub schedule: Option<Schedule>,
    /// What is built.
    pub mode: Option<BuildMode>,
}

/// The kind of a node.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    borsh::BorshSerialize,
    borsh::BorshDeserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A file, or a table somewhere else.
    Dataset,
    /// A directory.
    Folder,
    /// A saved model.
    Model,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Folder => "folder",
            Self::Model => "model",
        }
    }
}

/// A thing with a name that can be built.
#[derive(Clone, Debug, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its id on DSS.
    pub id: Option<String>,
    /// The DSS project that it belongs to, where that is not the pipeline's.
    pub project: Option<String>,
    /// Where it lies: relative to the root, normal, with `/`.
    pub path: Option<String>,
    /// A command whose output stands for the content.
    pub digest: Option<String>,
    /// The recipe that makes it; `None` for a source.
    pub maker: Option<RecipeId>,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// What it is.
    pub description: Option<String>,
    /// Where its name stands in the file.
    pub span: Span,
    /// Where its path stands, or the name.
    pub path_span: Span,
}

/// What makes nodes from nodes.
#[derive(Clone, Debug, Default, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Recipe {
    /// Its name: its own, or that of the node that it is written in.
    pub name: String,
    /// Whether it is a task.
    pub task: bool,
    /// What it reads, in the order of the file.
    pub inputs: Vec<NodeId>,
    /// Where each input is named.
    pub input_spans: Vec<Span>,
    /// What it makes, in the order of the file.
    pub outputs: Vec<NodeId>,
    /// What it runs; `None` where only an engine that knows the recipe can build.
    pub run: Option<Command>,
    /// How it is run. Recipes that say nothing of their own share it.
    #[borsh(skip)]
    pub how: Arc<How>,
    /// Paths and globs of what it reads besides, with their places.
    pub files: Vec<(String, Span)>,
    /// When it runs again although nothing changed.
    pub rebuild: Rebuild,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// What it does.
    pub description: Option<String>,
    /// Where its name stands in the file.
    pub span: Span,
    /// Where `run` stands, or the name.
    pub run_span: Span,
}

/// How a recipe is run: what mostly stands in `[defaults]`.
#[derive(Clone, Debug, Default, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct How {
    /// The folder that it runs in, relative to the root; empty for the root.
    pub workdir: String,
    /// Where that is said; nothing where it is not.
    pub workdir_span: Span,
    /// Commands whose output is part of the key.
    pub tools: BTreeMap<String, Tool>,
    /// Environment that is part of the key.
    pub env: BTreeMap<String, EnvValue>,
    /// Names of variables that are handed on.
    pub pass: Vec<String>,
    /// Secret environment.
    pub secrets: BTreeMap<String, SecretValue>,
    /// Where each of them is named, in their order.
    pub secret_spans: Vec<Span>,
    /// The shell for `run` when it is a text, for `tools` and for `digest`.
    pub shell: Arc<[String]>,
    /// Where that is said; nothing where it is not.
    pub shell_span: Span,
    /// Whether `shell` is Kiln's default rather than the user's word.
    pub default_shell: bool,
    /// How long an attempt may take.
    #[borsh(serialize_with = "image::durations::write", deserialize_with = "image::durations::read")]
    pub timeout: Option<Duration>,
    /// When it is tried again after it failed.
    pub retry: Retry,
    /// How long it may take to end when it is asked to; `None` for what the surroundings say.
    #[borsh(serialize_with = "image::durations::write", deserialize_with = "image::durations::read")]
    pub grace: Option<Duration>,
    /// How large its log may get, in bytes; `None` for [`LOG_LIMIT`].
    pub log_limit: Option<u64>,
    /// What is run besides when it is asked to end.
    pub on_stop: Option<Command>,
    /// On DSS: whether the schema of its outputs is updated before it runs.
    pub auto_update_schema: Option<bool>,
    /// On DSS: whether the Hive metastore is brought up to date behind it.
    pub refresh_hive_metastore: Option<bool>,
    /// Whether it writes to the final paths itself.
    pub in_place: bool,
}

/// A command whose output is part of the key.
#[derive(Clone, Debug, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Tool {
    /// The command, for the shell.
    pub command: String,
    /// Where it stands.
    pub span: Span,
}

/// What a recipe runs.
#[derive(Clone, Debug, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub enum Command {
    /// A text for the shell.
    Shell(Template),
    /// A program and its arguments.
    Words(Vec<Template>),
}

impl Command {
    /// Its templates.
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        match self {
            Self::Shell(template) => std::slice::from_ref(template),
            Self::Words(words) => words,
        }
    }
}

/// When a recipe runs again although nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub enum Rebuild {
    /// Only when something that it is made from changed.
    #[default]
    Changed,
    /// Each time.
    Always,
    /// When the last build is older than this.
    Age(#[borsh(serialize_with = "image::duration::write", deserialize_with = "image::duration::read")] Duration),
    /// As `Changed`, but only where it is a target itself.
    Explicit,
    /// Not as long as there is an output.
    Never,
}

impl Rebuild {
    /// Whether a recipe builds nothing over what is there, whoever made that.
    #[must_use]
    pub fn never(self, mode: BuildMode) -> bool {
        self == Self::Never && self.only_missing(mode)
    }

    /// Whether a recipe is built only where an output is missing.
    #[must_use]
    pub fn only_missing(self, mode: BuildMode) -> bool {
        match mode {
            BuildMode::Smart => self == Self::Never,
            BuildMode::Missing => true,
            BuildMode::Only | BuildMode::Forced => false,
        }
    }
}

/// How large a log may get, in bytes.
pub const LOG_LIMIT: u64 = 1 << 30;

/// Kiln's default shell.
pub const DEFAULT_SHELL: [&str; 4] = ["bash", "-euo", "pipefail", "-c"];

impl Pipeline {
    /// What is asked about all of its steps. Nodes and recipes that are added later are not in it.
    pub fn outline(&self) -> &Outline {
        self.outline.get_or_init(|| Outline::of(self.nodes.values(), self.recipes.values()))
    }

    /// All of its paths. Nodes and recipes that are added later are not in it.
    pub fn paths(&self) -> &Paths {
        self.paths.get_or_init(|| Paths::of(self.nodes.iter(), self.recipes.iter()))
    }

    /// The paths at which something is built.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        let built = |owner| matches!(owner, Owner::Node(id) if self.outline().maker(id).is_some());
        let built = self.paths().iter().filter(move |(owner, _)| built(*owner));
        built.filter_map(|(_, path)| std::str::from_utf8(path).ok())
    }

    /// The names of a recipe's outputs.
    pub fn output_names(&self, recipe: RecipeId) -> impl Iterator<Item = &str> {
        self.recipes[recipe].outputs.iter().map(|id| self.nodes[*id].name.as_str())
    }

    /// A node by its name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<NodeId> {
        match self.names.get(name)? {
            Item::Node(id) => Some(*id),
            Item::Recipe(_) => None,
        }
    }

    /// The recipe that a name stands for: that of the node, or the recipe itself.
    #[must_use]
    pub fn recipe(&self, name: &str) -> Option<RecipeId> {
        match self.names.get(name)? {
            Item::Node(id) => self.nodes[*id].maker,
            Item::Recipe(id) => Some(*id),
        }
    }
}
