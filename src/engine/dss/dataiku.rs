//! What Dataiku's own tools are configured with: two variables, else a file in the home folder. Reads nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::error::Category;

use crate::engine::api::Environment;
use crate::engine::dss::settings::{KeyFrom, variable};
use crate::files::read_short;

/// A server and a key for it.
pub(super) struct Instance {
    pub(super) url: String,
    pub(super) key: Option<String>,
    pub(super) key_from: KeyFrom,
}

/// The variable that holds the key.
const KEY: &str = "DKU_API_KEY";

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    dss_instances: BTreeMap<String, Entry>,
    default_instance: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    url: Option<String>,
    api_key: Option<String>,
}

/// The instance of that name, or what Dataiku's tools would take. The url is empty where only a key is configured.
pub(super) fn instance(environment: &Environment, asked: Option<&str>) -> Result<Option<Instance>, String> {
    let (url, key) = (variable(environment, "DKU_DSS_URL"), variable(environment, KEY));
    let from_key = || KeyFrom::Env(KEY.to_owned());
    if let (None, Some(url)) = (asked, url) {
        return Ok(Some(Instance { url, key, key_from: from_key() }));
    }
    let only_key = key.clone().map(|key| Instance { url: String::new(), key: Some(key), key_from: from_key() });
    let Some((path, config)) = config(environment)? else {
        return match asked {
            Some(asked) => Err(format!("instance `{asked}`: there is no ~/.dataiku/config.json")),
            None => Ok(only_key),
        };
    };
    let Some(name) = asked.or(config.default_instance.as_deref()) else { return Ok(only_key) };
    let Some(entry) = config.dss_instances.get(name) else {
        let known: Vec<_> = config.dss_instances.keys().map(String::as_str).collect();
        return Err(format!("{path} has no instance `{name}`; it has: {}", known.join(", ")));
    };
    let url = entry.url.clone().ok_or_else(|| format!("{path}: instance `{name}` has no url"))?;
    Ok(Some(match key.filter(|_| asked.is_none()) {
        Some(key) => Instance { url, key: Some(key), key_from: from_key() },
        None => Instance { url, key: entry.api_key.clone(), key_from: KeyFrom::Instance(name.to_owned()) },
    }))
}

fn config(environment: &Environment) -> Result<Option<(String, Config)>, String> {
    let Some(home) = variable(environment, "HOME") else { return Ok(None) };
    let path = Path::new(&home).join(".dataiku/config.json");
    let shown = path.display().to_string();
    let text = match read_short(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| format!("{shown}: {error}"))?,
    };
    // What the parser would quote may be a key.
    let config = serde_json::from_slice(&text).map_err(|error| {
        let what = match error.classify() {
            Category::Eof => "it breaks off",
            Category::Data => "a value is of another type than Dataiku's tools write there",
            Category::Syntax | Category::Io => "it is no JSON",
        };
        format!("{shown}:{}:{}: {what}", error.line(), error.column())
    })?;
    Ok(Some((shown, config)))
}
