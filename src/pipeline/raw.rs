//! The mirror of the file, as it was written, with the place of every word. The JSON Schema is made from these types.
//! Does not know whether what stands here makes sense.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use crate::base::job::{BuildMode, Schedule};
use crate::pipeline::raw_engine::RawEngine;
use crate::pipeline::retry::Retry;

/// A named table of entries, with the place of each name.
pub type Table<T> = BTreeMap<Spanned<String>, T>;

// What the schema says about texts; `check` says the same and more.
const NAME: &str = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$";
const PATH: &str = r"^[^/]";
const FOLDER: &str = r"^([^/]|$)";
const REBUILD: &str = r"^(changed|always|explicit|never|\s*([0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d|w)\s*)+)$";

fn names() -> serde_json::Value {
    serde_json::json!({ "pattern": NAME })
}

fn variables() -> serde_json::Value {
    serde_json::json!({ "pattern": "^[^=]+$", "not": { "pattern": "^KILN_" } })
}

/// A pipeline file of Kiln, format 1.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "pipeline", deny_unknown_fields)]
pub struct RawFile {
    /// What the pipeline is called and which project it belongs to.
    pub pipeline: RawPipeline,
    /// Defaults of `kiln run`; each has a flag.
    #[schemars(default)]
    pub settings: RawSettings,
    /// Engines besides `local`: servers that build.
    #[schemars(default, with = "BTreeMap<String, RawEngine>")]
    pub engine: Table<RawEngine>,
    /// Variables for the templates; `kiln run --var NAME=VALUE` replaces one.
    #[schemars(default, with = "BTreeMap<String, Scalar>", extend("propertyNames" = names()))]
    pub vars: Table<Spanned<Scalar>>,
    /// Keys for every recipe that does not say otherwise.
    #[schemars(default)]
    pub defaults: RawDefaults,
    /// Datasets: a file, or a table somewhere else.
    #[schemars(default, with = "BTreeMap<String, RawNode>", extend("propertyNames" = names()))]
    pub dataset: Table<Box<RawNode>>,
    /// Managed folders: the output is a directory.
    #[schemars(default, with = "BTreeMap<String, RawNode>", extend("propertyNames" = names()))]
    pub folder: Table<Box<RawNode>>,
    /// Saved models.
    #[schemars(default, with = "BTreeMap<String, RawNode>", extend("propertyNames" = names()))]
    pub model: Table<Box<RawNode>>,
    /// Recipes that stand on their own, for instance because they make several nodes.
    #[schemars(default, with = "BTreeMap<String, RawRecipe>", extend("propertyNames" = names()))]
    pub recipe: Table<Box<RawRecipe>>,
    /// Recipes without an output: publish, notify. Each is done at least once: if Kiln or the machine dies while one runs, or before its end is on disk, the next run does it again.
    #[schemars(default, with = "BTreeMap<String, RawTask>", extend("propertyNames" = names()))]
    pub task: Table<Box<RawTask>>,
}

/// `[pipeline]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPipeline {
    /// The version of the format of this file: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub format: Spanned<u32>,
    /// The name of the pipeline; its history is kept under it.
    #[schemars(with = "String", regex(pattern = NAME))]
    pub name: Spanned<String>,
    /// The DSS project key. Default: the name in upper case.
    #[serde(default)]
    pub project: Option<String>,
    /// The folder that paths are relative to, relative to the file. Default: the folder that holds `pipelines/` or the file.
    #[serde(default)]
    #[schemars(with = "Option<String>", regex(pattern = PATH))]
    pub root: Option<Spanned<String>>,
    /// What the pipeline is for.
    #[serde(default)]
    pub description: Option<String>,
}

impl RawPipeline {
    /// Stands for a table that is not there or could not be read: the rest of the file is looked at all the same.
    pub(crate) fn unread() -> Self {
        let (format, name) = (Spanned::new(0..0, 1), Spanned::new(0..0, String::new()));
        Self { format, name, project: None, root: None, description: None }
    }

    /// Whether the file says this.
    pub(crate) fn is_read(&self) -> bool {
        !self.name.span().is_empty()
    }
}

/// `[settings]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSettings {
    /// The engine that builds. Default: `local`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub engine: Option<Spanned<String>>,
    /// How many jobs run at once. Default: the number of cores.
    #[serde(default)]
    #[schemars(with = "Option<std::num::NonZeroU32>")]
    pub max_parallel: Option<Spanned<u32>>,
    /// When a step may start. Default: `stages`.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// What is built. Default: `smart`.
    #[serde(default)]
    pub mode: Option<BuildMode>,
}

/// `[defaults]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDefaults {
    /// The shell and its options for a `run` that is a string. Default: `["bash", "-euo", "pipefail", "-c"]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>", length(min = 1))]
    pub shell: Option<Spanned<Vec<String>>>,
    /// The folder that recipes run in, relative to the root. Default: the root.
    #[serde(default)]
    #[schemars(with = "Option<String>", regex(pattern = FOLDER))]
    pub workdir: Option<Spanned<String>>,
    /// Environment of every recipe, part of its key.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, EnvValue>", extend("propertyNames" = variables()))]
    pub env: Table<EnvValue>,
    /// Names of variables that every recipe is given and that are no part of its key; `*` stands for any letters.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub pass: Vec<Spanned<String>>,
    /// When recipes run again although nothing changed.
    #[serde(default)]
    #[schemars(with = "Option<String>", regex(pattern = REBUILD))]
    pub rebuild: Option<Spanned<String>>,
    /// How long an attempt may take, such as `30m`, and each command of `digest` and `tools`. Default: no limit.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Spanned<String>>,
    /// When a step that failed is tried again. Default: never.
    #[serde(default)]
    #[schemars(with = "Option<Retry>")]
    pub retry: Option<Spanned<Retry>>,
    /// How long a step may take to end when it is asked to; then it is killed. Default: `10s`, and `5s` where `CI` is set.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub grace: Option<Spanned<String>>,
    /// How large a log may get; of more, the beginning and the end are kept. Default: `1 GiB`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub log_limit: Option<Spanned<String>>,
}

/// The keys that every recipe has, wherever it stands. See [`RawNode`] for what they mean.
#[derive(Debug, Default)]
pub struct RawMake {
    pub(crate) inputs: Option<Vec<Spanned<String>>>,
    pub(crate) run: Option<Spanned<Run>>,
    pub(crate) shell: Option<Spanned<Vec<String>>>,
    pub(crate) workdir: Option<Spanned<String>>,
    pub(crate) files: Option<Vec<Spanned<String>>>,
    pub(crate) tools: Option<Table<Spanned<String>>>,
    pub(crate) env: Option<Table<EnvValue>>,
    pub(crate) pass: Option<Vec<Spanned<String>>>,
    pub(crate) secrets: Option<Table<SecretValue>>,
    pub(crate) rebuild: Option<Spanned<String>>,
    pub(crate) timeout: Option<Spanned<String>>,
    pub(crate) retry: Option<Spanned<Retry>>,
    pub(crate) grace: Option<Spanned<String>>,
    pub(crate) log_limit: Option<Spanned<String>>,
    pub(crate) on_stop: Option<Spanned<Run>>,
    pub(crate) auto_update_schema: Option<Spanned<bool>>,
    pub(crate) refresh_hive_metastore: Option<Spanned<bool>>,
    pub(crate) tags: Vec<Spanned<String>>,
    pub(crate) description: Option<String>,
}

macro_rules! raw_recipe {
    ($(#[$doc:meta])* $name:ident { $($extra:tt)* }) => {
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        $(#[$doc])*
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($extra)*
            /// Names of the nodes that it reads.
            #[serde(default)]
            #[schemars(with = "Option<Vec<String>>")]
            pub inputs: Option<Vec<Spanned<String>>>,
            /// What it runs: a string for the shell, or a list of words without one.
            #[serde(default)]
            #[schemars(with = "Option<Run>")]
            pub run: Option<Spanned<Run>>,
            /// The shell and its options.
            #[serde(default)]
            #[schemars(with = "Option<Vec<String>>", length(min = 1))]
            pub shell: Option<Spanned<Vec<String>>>,
            /// The folder that it runs in, relative to the root.
            #[serde(default)]
            #[schemars(with = "Option<String>", regex(pattern = FOLDER))]
            pub workdir: Option<Spanned<String>>,
            /// Code and data that it reads, as paths or globs: a change rebuilds.
            #[serde(default)]
            #[schemars(with = "Option<Vec<String>>", inner(regex(pattern = PATH)))]
            pub files: Option<Vec<Spanned<String>>>,
            /// Commands whose output, 64 kB at most, is part of the key, such as `python3 --version`.
            #[serde(default)]
            #[schemars(with = "Option<BTreeMap<String, String>>")]
            pub tools: Option<Table<Spanned<String>>>,
            /// Environment, part of the key.
            #[serde(default)]
            #[schemars(with = "Option<BTreeMap<String, EnvValue>>", extend("propertyNames" = variables()))]
            pub env: Option<Table<EnvValue>>,
            /// Names of variables that are handed on and are no part of the key; `*` stands for any letters.
            #[serde(default)]
            #[schemars(with = "Option<Vec<String>>")]
            pub pass: Option<Vec<Spanned<String>>>,
            /// Secret environment, no part of the key.
            #[serde(default)]
            #[schemars(with = "Option<BTreeMap<String, SecretValue>>", extend("propertyNames" = variables()))]
            pub secrets: Option<Table<SecretValue>>,
            /// `changed`, `always`, an age such as `20h`, `explicit` (only as a target) or `never`.
            #[serde(default)]
            #[schemars(with = "Option<String>", regex(pattern = REBUILD))]
            pub rebuild: Option<Spanned<String>>,
            /// How long an attempt may take, such as `30m`; then it is stopped and has failed.
            #[serde(default)]
            #[schemars(with = "Option<String>")]
            pub timeout: Option<Spanned<String>>,
            /// When it is tried again after it failed: how often, or `{ max = 2, delay = "5s", on = ["timeout", 75] }`.
            #[serde(default)]
            #[schemars(with = "Option<Retry>")]
            pub retry: Option<Spanned<Retry>>,
            /// How long it may take to end when it is asked to, such as `30s`; then it is killed.
            #[serde(default)]
            #[schemars(with = "Option<String>")]
            pub grace: Option<Spanned<String>>,
            /// How large its log may get, such as `10 MiB`; of more, the beginning and the end are kept.
            #[serde(default)]
            #[schemars(with = "Option<String>")]
            pub log_limit: Option<Spanned<String>>,
            /// What is run besides when it is asked to end, for what it has running elsewhere: `docker kill …`.
            #[serde(default)]
            #[schemars(with = "Option<Run>")]
            pub on_stop: Option<Spanned<Run>>,
            /// On DSS: whether the schema of its outputs is updated before it runs.
            #[serde(default)]
            #[schemars(with = "Option<bool>")]
            pub auto_update_schema: Option<Spanned<bool>>,
            /// On DSS: whether the Hive metastore is brought up to date behind it.
            #[serde(default)]
            #[schemars(with = "Option<bool>")]
            pub refresh_hive_metastore: Option<Spanned<bool>>,
            /// Words to select it by: `tag:daily`.
            #[serde(default)]
            #[schemars(with = "Vec<String>")]
            pub tags: Vec<Spanned<String>>,
            /// What it does.
            #[serde(default)]
            pub description: Option<String>,
        }

        impl $name {
            /// Takes the keys out that every recipe has.
            pub fn take_make(&mut self) -> RawMake {
                RawMake {
                    inputs: std::mem::take(&mut self.inputs),
                    run: std::mem::take(&mut self.run),
                    shell: std::mem::take(&mut self.shell),
                    workdir: std::mem::take(&mut self.workdir),
                    files: std::mem::take(&mut self.files),
                    tools: std::mem::take(&mut self.tools),
                    env: std::mem::take(&mut self.env),
                    pass: std::mem::take(&mut self.pass),
                    secrets: std::mem::take(&mut self.secrets),
                    rebuild: std::mem::take(&mut self.rebuild),
                    timeout: std::mem::take(&mut self.timeout),
                    retry: std::mem::take(&mut self.retry),
                    grace: std::mem::take(&mut self.grace),
                    log_limit: std::mem::take(&mut self.log_limit),
                    on_stop: std::mem::take(&mut self.on_stop),
                    auto_update_schema: std::mem::take(&mut self.auto_update_schema),
                    refresh_hive_metastore: std::mem::take(&mut self.refresh_hive_metastore),
                    tags: std::mem::take(&mut self.tags),
                    description: std::mem::take(&mut self.description),
                }
            }
        }
    };
}

raw_recipe! {
    /// `[dataset.NAME]`, `[folder.NAME]`, `[model.NAME]`. The recipe keys make the node's own recipe.
    RawNode {
        /// Where it lies, relative to the root: a file or a folder; a folder for `[folder.NAME]`.
        #[serde(default)]
        #[schemars(with = "Option<String>", regex(pattern = PATH))]
        pub path: Option<Spanned<String>>,
        /// Its id on DSS. Default: its name.
        #[serde(default)]
        pub id: Option<String>,
        /// The DSS project that it belongs to. Default: the pipeline's.
        #[serde(default)]
        pub project: Option<String>,
        /// A command whose output, 16 MB at most, stands for the content, for a node without a path; where it fails, what was built is built again, unless it is built only where it is missing.
        #[serde(default)]
        #[schemars(with = "Option<String>")]
        pub digest: Option<Spanned<String>>,
        /// The recipe writes to the final path itself; the last good output is put back when it fails.
        #[serde(default)]
        #[schemars(with = "Option<bool>")]
        pub in_place: Option<Spanned<bool>>,
    }
}

raw_recipe! {
    /// `[recipe.NAME]`
    #[schemars(extend("required" = ["outputs"]))]
    RawRecipe {
        /// Names of the nodes that it makes.
        #[serde(default)]
        #[schemars(with = "Vec<String>", length(min = 1))]
        pub outputs: Vec<Spanned<String>>,
        /// The recipe writes to the final paths itself; the last good outputs are put back when it fails.
        #[serde(default)]
        #[schemars(with = "Option<bool>")]
        pub in_place: Option<Spanned<bool>>,
    }
}

raw_recipe! {
    /// `[task.NAME]`
    #[schemars(extend("required" = ["run"]))]
    RawTask {}
}

/// What a recipe runs.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Run {
    /// A text for the shell.
    Shell(#[schemars(regex(pattern = r"\S"))] String),
    /// A program and its arguments, without a shell.
    Words(#[schemars(with = "Vec<String>", length(min = 1))] Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RunVisitor;
        impl<'de> Visitor<'de> for RunVisitor {
            type Value = Run;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string for the shell or a list of words")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Run, E> {
                // A shell takes a carriage return for a letter; how lines end is no part of a script.
                Ok(Run::Shell(text.replace("\r\n", "\n")))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Run, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                Ok(Run::Words(words))
            }
        }
        deserializer.deserialize_any(RunVisitor)
    }
}

/// The value of a variable: text, a number or a truth value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar(pub String);

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a truth value")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Scalar, E> {
                Ok(Scalar(v.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Scalar, E> {
                Ok(Scalar(format!("{v:?}")))
            }
            fn visit_bool<E: de::Error>(self, v: bool) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// A value of `env`: a text, or `{ env = "NAME" }` for a variable of Kiln's own environment.
#[derive(Clone, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub enum EnvValue {
    /// The value itself.
    Text(String),
    /// The value of a variable of Kiln's own environment.
    From(String),
}

/// `{ env = "NAME" }`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FromEnv {
    /// The name of a variable of Kiln's own environment.
    env: String,
}

impl JsonSchema for EnvValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EnvValue".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let from = generator.subschema_for::<FromEnv>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, from] })
    }
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvVisitor;
        impl<'de> Visitor<'de> for EnvVisitor {
            type Value = EnvValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or { env = \"NAME\" }")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<EnvValue, E> {
                Ok(EnvValue::Text(v.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EnvValue, A::Error> {
                let from = FromEnv::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(EnvValue::From(from.env))
            }
        }
        deserializer.deserialize_any(EnvVisitor)
    }
}

/// A value of `secrets`: named, never written.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, borsh::BorshSerialize, borsh::BorshDeserialize)]
#[schemars(rename_all = "lowercase")]
pub enum SecretValue {
    /// The value of a variable of Kiln's own environment.
    Env(String),
    /// What a file holds, less a newline at its end.
    File(String),
}

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;
        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = SecretValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ env = \"NAME\" } or { file = \"PATH\" }")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretValue, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Named {
                    env: Option<String>,
                    file: Option<String>,
                }
                match Named::deserialize(de::value::MapAccessDeserializer::new(map))? {
                    Named { env: Some(env), file: None } => Ok(SecretValue::Env(env)),
                    Named { env: None, file: Some(file) } => Ok(SecretValue::File(file)),
                    _ => Err(de::Error::custom("a secret is named by one of `env` and `file`")),
                }
            }
        }
        deserializer.deserialize_any(SecretVisitor)
    }
}
