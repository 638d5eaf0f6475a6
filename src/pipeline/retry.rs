//! When a step that failed is tried again: what the file says about it. Whether a failure is one of these is decided
//! elsewhere.

use std::fmt;
use std::time::Duration;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::base::text::{nearest, parse_duration};
use crate::pipeline::image;

/// The most attempts after the first.
pub const MOST: u32 = 100;
/// The longest wait between two attempts.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// When a step that failed is tried again.
#[derive(Clone, Debug, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Retry {
    /// How many more attempts there are after the first.
    pub max: u32,
    /// How long to wait before the second attempt.
    #[borsh(serialize_with = "image::duration::write", deserialize_with = "image::duration::read")]
    pub delay: Duration,
    /// By how much each further wait is longer than the one before.
    pub factor: f64,
    /// By which part of itself a wait may be shorter or longer, by chance.
    pub jitter: f64,
    /// After which failures; none for those that another attempt may mend.
    pub on: Option<Vec<RetryOn>>,
}

/// A failure after which a step is tried again.
#[derive(Clone, Debug, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub enum RetryOn {
    /// The job was lost.
    Lost,
    /// The step took longer than its `timeout`.
    Timeout,
    /// The command ended with this code; one that was ended by signal n counts as 128 + n.
    Code(i32),
    /// The last lines that it printed match.
    Text(#[borsh(serialize_with = "image::regex::write", deserialize_with = "image::regex::read")] Regex),
}

impl Default for Retry {
    fn default() -> Self {
        Self { max: 0, delay: Duration::from_secs(1), factor: 2.0, jitter: 0.1, on: None }
    }
}

impl Retry {
    /// How many attempts there are in all.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.max.saturating_add(1)
    }
}

/// `retry = { … }`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    /// How many more attempts there are after the first.
    #[schemars(with = "u32", range(max = 100))]
    max: Max,
    /// How long to wait before the second attempt. Default: `1s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    delay: Option<Delay>,
    /// By how much each further wait is longer than the one before; none is longer than an hour. Default: 2.
    #[serde(default)]
    #[schemars(with = "Option<f64>", range(min = 1, max = 100))]
    factor: Option<Factor>,
    /// By which part of itself a wait may be shorter or longer, by chance. Default: 0.1.
    #[serde(default)]
    #[schemars(with = "Option<f64>", range(min = 0, max = 1))]
    jitter: Option<Jitter>,
    /// After which failures. Default: any exit code, a signal, a timeout, a lost job, a job that failed elsewhere, a server that is away.
    #[serde(default)]
    #[schemars(length(min = 1))]
    on: Option<Vec<RetryOn>>,
}

/// `{ text = "…" }`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Text {
    /// A regular expression that the last lines of the output match.
    #[schemars(with = "String")]
    text: Pattern,
}

/// Reads a value with a rule of its own, so that a mistake has the place of the value.
macro_rules! read_by {
    ($name:ident($inner:ty) from $raw:ty, $rule:expr) => {
        struct $name($inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let rule: fn($raw) -> Result<$inner, String> = $rule;
                rule(<$raw>::deserialize(deserializer)?).map($name).map_err(de::Error::custom)
            }
        }
    };
}

read_by!(Max(u32) from i64, most);
read_by!(Delay(Duration) from String, |text| {
    parse_duration(&text).map_err(|error| format!("`delay = \"{text}\"` is not a duration: {error}"))
});
read_by!(Factor(f64) from f64, |value| within("factor", value, 1.0, 100.0));
read_by!(Jitter(f64) from f64, |value| within("jitter", value, 0.0, 1.0));
read_by!(Pattern(Regex) from String, |text| {
    Regex::new(&text).map_err(|error| {
        let last = error.to_string();
        let last = last.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("`{text}` is not a regular expression: {last}")
    })
});

fn most(max: i64) -> Result<u32, String> {
    u32::try_from(max)
        .ok()
        .filter(|max| *max <= MOST)
        .ok_or_else(|| format!("{max} more attempts: a number from 0 to {MOST} is needed"))
}

fn within(name: &str, value: f64, low: f64, high: f64) -> Result<f64, String> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(format!("`{name}` is {value}: {low} to {high} is possible"))
    }
}

impl<'de> Deserialize<'de> for Retry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RetryVisitor;
        impl<'de> Visitor<'de> for RetryVisitor {
            type Value = Retry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of further attempts or { max = 2, … }")
            }
            fn visit_i64<E: de::Error>(self, max: i64) -> Result<Retry, E> {
                Ok(Retry { max: most(max).map_err(E::custom)?, ..Retry::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Retry, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                let by_default = Retry::default();
                if table.on.as_ref().is_some_and(Vec::is_empty) {
                    return Err(de::Error::custom("`on` is empty: nothing would be tried again"));
                }
                Ok(Retry {
                    max: table.max.0,
                    delay: table.delay.map_or(by_default.delay, |delay| delay.0),
                    factor: table.factor.map_or(by_default.factor, |factor| factor.0),
                    jitter: table.jitter.map_or(by_default.jitter, |jitter| jitter.0),
                    on: table.on,
                })
            }
        }
        deserializer.deserialize_any(RetryVisitor)
    }
}

impl<'de> Deserialize<'de> for RetryOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnVisitor;
        impl<'de> Visitor<'de> for OnVisitor {
            type Value = RetryOn;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"lost\", \"timeout\", an exit code or { text = \"regex\" }")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<RetryOn, E> {
                match word {
                    "lost" => Ok(RetryOn::Lost),
                    "timeout" => Ok(RetryOn::Timeout),
                    _ => {
                        let near = nearest(word, ["lost", "timeout"]);
                        let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
                        Err(E::custom(format!(
                            "`{word}` names no failure{near}; write \"lost\", \"timeout\", an exit code or {{ text = \"regex\" }}"
                        )))
                    }
                }
            }
            fn visit_i64<E: de::Error>(self, code: i64) -> Result<RetryOn, E> {
                match i32::try_from(code) {
                    Ok(code @ 1..=255) => Ok(RetryOn::Code(code)),
                    _ => Err(E::custom(format!("{code} is no exit code of a failure: those are 1 to 255"))),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RetryOn, A::Error> {
                Ok(RetryOn::Text(Text::deserialize(MapAccessDeserializer::new(map))?.text.0))
            }
        }
        deserializer.deserialize_any(OnVisitor)
    }
}

impl JsonSchema for Retry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Retry".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let table = generator.subschema_for::<Table>();
        schemars::json_schema!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": MOST }, table] })
    }
}

impl JsonSchema for RetryOn {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RetryOn".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let text = generator.subschema_for::<Text>();
        schemars::json_schema!({ "anyOf": [
            { "enum": ["lost", "timeout"] },
            { "type": "integer", "minimum": 1, "maximum": 255 },
            text
        ] })
    }
}
