//! The mirror of `[engine.NAME]`: what each kind of engine is told in the file, with the place of every word. Does not know
//! whether what stands here makes sense, nor what an engine does with it.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::pipeline::image;
use crate::pipeline::raw::SecretValue;

/// `[engine.NAME]`; its `kind` says which keys it has.
#[derive(Clone, Debug, JsonSchema, borsh::BorshSerialize, borsh::BorshDeserialize)]
#[schemars(untagged)]
pub enum RawEngine {
    /// A Dataiku DSS server.
    Dss(Box<RawDss>),
}

/// The kinds that a file can declare.
pub const KINDS: [&str; 1] = ["dss"];

/// `[engine.NAME]` with `kind = "dss"`: a Dataiku DSS server, which builds through its jobs API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, borsh::BorshSerialize, borsh::BorshDeserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDss {
    /// The kind of engine: `dss`.
    #[schemars(extend("const" = "dss"))]
    pub kind: String,
    /// Where the server is: `https://dss.example.com`. Default: `DKU_DSS_URL`, else `~/.dataiku/config.json`.
    #[schemars(with = "Option<String>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub url: Option<Spanned<String>>,
    /// The API key, named and never written. Default: `DKU_API_KEY`, else `~/.dataiku/config.json`.
    #[schemars(with = "Option<SecretValue>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub api_key: Option<Spanned<Secret>>,
    /// A JSON web token in place of the API key, named and never written.
    #[schemars(with = "Option<SecretValue>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub jwt: Option<Spanned<Secret>>,
    /// The name of an instance in `~/.dataiku/config.json`. Default: its `default_instance`.
    #[schemars(with = "Option<String>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub instance: Option<Spanned<String>>,
    /// A file of certificates (PEM) that are trusted besides those of the system, relative to the root.
    #[schemars(with = "Option<String>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub ca_file: Option<Spanned<String>>,
    /// Accepts any certificate, so that anyone between here and the server can read the key.
    #[schemars(with = "Option<bool>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub insecure_tls: Option<Spanned<bool>>,
    /// The project key. Default: the pipeline's.
    #[schemars(with = "Option<String>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub project: Option<Spanned<String>>,
    /// What stands between the url and the paths of the API. Default: `/public/api`.
    #[schemars(with = "Option<String>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub path_prefix: Option<Spanned<String>>,
    /// How many jobs run at once. Default: 5.
    #[schemars(with = "Option<std::num::NonZeroU32>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub max_parallel: Option<Spanned<u32>>,
    /// Which steps share a job. Default: `step`.
    pub jobs: Option<Jobs>,
    /// What to do about a job that builds the same already. Default: `join` where the same identity started it, else `wait`.
    pub on_running: Option<OnRunning>,
    /// How long to look for a job whose answer was lost. Default: `30s`.
    #[schemars(with = "Option<String>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub submit_grace: Option<Spanned<String>>,
    /// Whether a job that was not found in that time is asked for once more. Default: true.
    pub resubmit: Option<bool>,
    /// How often jobs are looked at; less often when there are many. Default: `500ms`; `200ms` at least.
    #[schemars(with = "Option<String>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub poll: Option<Spanned<String>>,
    /// How long a server that does not answer is waited for. Default: `15m`.
    #[schemars(with = "Option<String>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub lost_after: Option<Spanned<String>>,
    /// How long a step waits for others that are building the same. Default: `1h`.
    #[schemars(with = "Option<String>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub busy_limit: Option<Spanned<String>>,
    /// How long an answer of the server may take. Default: `60s`.
    #[schemars(with = "Option<String>")]
    #[borsh(serialize_with = "image::spanned::write", deserialize_with = "image::spanned::read")]
    pub request_timeout: Option<Spanned<String>>,
    /// Whether the schema of outputs is updated before each recipe; a recipe's own word counts more.
    pub auto_update_schema: Option<bool>,
    /// Whether the Hive metastore is brought up to date behind each job; a recipe's own word counts more.
    pub refresh_hive_metastore: Option<bool>,
}

/// Which steps share a job.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Deserialize,
    Serialize,
    JsonSchema,
    borsh::BorshSerialize,
    borsh::BorshDeserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Jobs {
    /// Each step has one of its own.
    Step,
    /// All steps of a run share one.
    Run,
}

/// What to do about a job that builds the same already.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Deserialize,
    Serialize,
    JsonSchema,
    borsh::BorshSerialize,
    borsh::BorshDeserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum OnRunning {
    /// Its end is this step's end.
    Join,
    /// Its end is waited for, then the step's own job is started.
    Wait,
    /// The step fails.
    Fail,
}

/// A secret as the file holds it.
#[derive(Clone, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub enum Secret {
    /// It is named.
    Named(SecretValue),
    /// It is written out, which is a mistake. It is not kept.
    Written,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;
        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = Secret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ env = \"NAME\" } or { file = \"PATH\" }")
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Secret, E> {
                Ok(Secret::Written)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                SecretValue::deserialize(de::value::MapAccessDeserializer::new(map)).map(Secret::Named)
            }
        }
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// The text of a file as it may be shown: what is written where the name of a secret belongs is hidden, at the same length.
#[must_use]
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    for key in ["api_key", "jwt"] {
        let mut at = 0;
        while let Some(found) = text[at..].find(key) {
            at += found + key.len();
            let behind = text[at..].trim_start_matches(['"', '\'', ' ', '\t']);
            let Some(value) = behind.strip_prefix('=').map(|value| value.trim_start_matches([' ', '\t'])) else {
                continue;
            };
            let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
            let begin = text.len() - value.len() + 1;
            let end = text[begin..].find([quote, '\n']).map_or(text.len(), |end| begin + end);
            if shown.is_empty() {
                shown = text.to_string();
            }
            shown.replace_range(begin..end, &"*".repeat(end - begin));
            at = end;
        }
    }
    if shown.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(shown) }
}

impl RawDss {
    /// The secrets that are written out, by their keys.
    pub fn written(&self) -> impl Iterator<Item = (&'static str, std::ops::Range<usize>)> {
        let secrets = [("api_key", &self.api_key), ("jwt", &self.jwt)];
        secrets.into_iter().filter_map(|(key, secret)| {
            let secret = secret.as_ref()?;
            (*secret.get_ref() == Secret::Written).then(|| (key, secret.span()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_written_out_is_not_shown() {
        let text = "[engine.p]\napi_key = \"abc\"\njwt='x.y'\napi_key = { env = \"K\" }\n# api_key: \"z\"\n";
        let shown = "[engine.p]\napi_key = \"***\"\njwt='***'\napi_key = { env = \"K\" }\n# api_key: \"z\"\n";
        assert_eq!(&*without_secrets(text), shown);
        assert_eq!(&*without_secrets("e = {api_key=\"abc"), "e = {api_key=\"***");
    }
}
