//! What `[engine.NAME]` with `kind = "dss"` comes to: where the server is, who we are there, how patient we are. Connects
//! to nothing.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use toml::Spanned;

use crate::base::span::{Problem, Problems};
use crate::base::text::{duration, parse_duration};
use crate::engine::api::{Environment, Opening};
use crate::engine::dss::dataiku::{self, Instance};
use crate::engine::dss::poll::SHORTEST;
use crate::files::read_short;
use crate::pipeline::raw::SecretValue;
use crate::pipeline::raw_engine::{Jobs, OnRunning, RawDss, Secret};

/// How we prove who we are.
pub(super) enum Auth {
    /// An API key: the user of a basic authorization without a password, as Dataiku's own clients send it.
    Key(String),
    /// A JSON web token.
    Token(String),
}

impl Auth {
    /// The value of the header.
    pub(super) fn header(&self) -> String {
        match self {
            Self::Key(key) => format!("Basic {}", STANDARD.encode(format!("{key}:"))),
            Self::Token(token) => format!("Bearer {token}"),
        }
    }

    /// The secret itself, so that it can be masked.
    pub(super) fn secret(&self) -> &str {
        match self {
            Self::Key(secret) | Self::Token(secret) => secret,
        }
    }
}

/// Where a key or token is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum KeyFrom {
    /// A variable.
    Env(String),
    /// A file, relative to the root.
    File(String),
    /// An instance of the file of Dataiku's own tools.
    Instance(String),
    /// Nowhere.
    #[default]
    None,
}

impl KeyFrom {
    /// The line of a pipeline file that names it, where that is what `word` says.
    pub(super) fn line(&self, word: &str) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Env(name) => format!("{word} = {{ env = {} }}", quoted(name)),
            Self::File(path) => format!("{word} = {{ file = {} }}", quoted(path)),
            Self::Instance(name) => format!("instance = {} # its key is in ~/.dataiku/config.json", quoted(name)),
            Self::None => format!("# {word} = {{ env = \"…\" }}"),
        }
    }
}

impl std::fmt::Display for KeyFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "the file {path}"),
            Self::Instance(name) => write!(f, "the instance `{name}` of ~/.dataiku/config.json"),
            Self::None => f.write_str("nowhere"),
        }
    }
}

/// The settings.
pub(super) struct Settings {
    /// The name of the engine.
    pub(super) name: String,
    /// The server, without a `/` at its end.
    pub(super) url: String,
    /// What stands between it and the paths of the API.
    pub(super) prefix: String,
    /// Who we are, or why that is not known.
    pub(super) auth: Result<Auth, Problem>,
    /// Where that is from.
    pub(super) key_from: KeyFrom,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) insecure_tls: bool,
    /// The project of nodes that do not name one.
    pub(super) project: String,
    pub(super) max_parallel: u32,
    pub(super) jobs: Jobs,
    pub(super) on_running: Option<OnRunning>,
    pub(super) submit_grace: Duration,
    pub(super) resubmit: bool,
    pub(super) poll: Duration,
    pub(super) lost_after: Duration,
    pub(super) busy_limit: Duration,
    pub(super) request_timeout: Duration,
    pub(super) auto_update_schema: bool,
    pub(super) refresh_hive_metastore: bool,
    /// How long work may take to end when it is asked to.
    pub(super) grace: Duration,
}

/// Understands what the file says, and the surroundings where it says nothing.
pub(super) fn settings(raw: &RawDss, opening: &Opening) -> Result<Settings, Problems> {
    let mut reader = Reader { problems: Vec::new(), name: &opening.name, opening };
    let instance = reader.instance(raw);
    let url = reader.url(raw, instance.as_ref());
    let settings = Settings {
        name: opening.name.clone(),
        url,
        prefix: reader.prefix(raw.path_prefix.as_ref()),
        auth: reader.auth(raw, instance.as_ref()),
        key_from: key_from(raw, instance.as_ref()),
        ca_file: raw.ca_file.as_ref().map(|file| opening.root.join(file.get_ref())),
        insecure_tls: raw.insecure_tls.as_ref().is_some_and(|word| *word.get_ref()),
        project: match (&opening.terms.project, &raw.project) {
            (Some(asked), _) => asked.clone(),
            (None, Some(said)) => said.get_ref().clone(),
            (None, None) => opening.pipeline.project.clone(),
        },
        max_parallel: reader.parallel(raw.max_parallel.as_ref()),
        jobs: raw.jobs.unwrap_or(Jobs::Step),
        on_running: raw.on_running,
        submit_grace: reader.duration("submit_grace", raw.submit_grace.as_ref(), 30_000),
        resubmit: raw.resubmit.unwrap_or(true),
        poll: reader.poll(raw.poll.as_ref()),
        lost_after: reader.duration("lost_after", raw.lost_after.as_ref(), 15 * 60_000),
        busy_limit: reader.duration("busy_limit", raw.busy_limit.as_ref(), 60 * 60_000),
        request_timeout: reader.duration("request_timeout", raw.request_timeout.as_ref(), 60_000),
        auto_update_schema: raw.auto_update_schema.unwrap_or(false),
        refresh_hive_metastore: raw.refresh_hive_metastore.unwrap_or(false),
        grace: opening.grace,
    };
    if reader.problems.is_empty() { Ok(settings) } else { Err(reader.problems) }
}

/// Where the key or token is from.
fn key_from(raw: &RawDss, instance: Option<&Instance>) -> KeyFrom {
    match raw.api_key.as_ref().or(raw.jwt.as_ref()).map(Spanned::get_ref) {
        Some(Secret::Named(SecretValue::Env(name))) => KeyFrom::Env(name.clone()),
        Some(Secret::Named(SecretValue::File(path))) => KeyFrom::File(path.clone()),
        Some(Secret::Written) | None => instance.map(|instance| instance.key_from.clone()).unwrap_or_default(),
    }
}

struct Reader<'a> {
    problems: Problems,
    name: &'a str,
    opening: &'a Opening,
}

impl Reader<'_> {
    fn place(&self) -> String {
        format!("[engine.{}]", self.name)
    }

    /// What Dataiku's own tools are configured with, where the file does not say all.
    fn instance(&mut self, raw: &RawDss) -> Option<Instance> {
        let complete = raw.url.is_some() && (raw.api_key.is_some() || raw.jwt.is_some());
        if complete && raw.instance.is_none() {
            return None;
        }
        let asked = raw.instance.as_ref().map(|name| name.get_ref().as_str());
        match dataiku::instance(&self.opening.environment, asked) {
            // A key goes to no other server than the one that it is for.
            Ok(instance) => instance.filter(|instance| {
                let same = |url: &str| url.trim_end_matches('/') == instance.url.trim_end_matches('/');
                instance.url.is_empty() || raw.url.as_ref().is_none_or(|url| same(url.get_ref()))
            }),
            Err(message) => {
                let mut problem = Problem::new("no-instance", format!("{}: {message}", self.place()));
                if let Some(instance) = &raw.instance {
                    problem = problem.at(&instance.span(), "this one");
                }
                self.problems.push(problem.help("say `url` and `api_key = { env = \"…\" }` here"));
                None
            }
        }
    }

    fn url(&mut self, raw: &RawDss, instance: Option<&Instance>) -> String {
        let said = raw.url.as_ref().map(|url| (url.get_ref().clone(), Some(url.span())));
        let Some((url, span)) =
            said.or_else(|| instance.filter(|known| !known.url.is_empty()).map(|known| (known.url.clone(), None)))
        else {
            let problem = Problem::new("missing-key", format!("{} lacks `url`", self.place()));
            let span = self.opening.pipeline.engines.get(self.name).map(|(_, span)| span.clone());
            let problem = span.into_iter().fold(problem, |problem, span| problem.at(&span, "this engine"));
            self.problems.push(problem.help(
                "say where the server is: url = \"https://dss.example.com\"; DKU_DSS_URL and ~/.dataiku/config.json serve too",
            ));
            return String::new();
        };
        let wrong = match behind_scheme(&url) {
            None => Some("it is not http:// or https:// and a host"),
            Some(rest) if rest.contains('@') => Some("a name and a password do not belong there"),
            Some(rest) if rest.contains(['?', '#']) => Some("it holds `?` or `#`"),
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            let shown = if url.contains('@') { "the url" } else { &url };
            let mut problem =
                Problem::new("bad-url", format!("{}: {shown} is no address of a server: {wrong}", self.place()));
            // A line with a password in it is not shown.
            if let Some(span) = span.filter(|_| !url.contains('@')) {
                problem = problem.at(&span, "here");
            }
            self.problems.push(problem.help("write it as https://dss.example.com:11200"));
        }
        url.trim_end_matches('/').to_owned()
    }

    fn prefix(&mut self, raw: Option<&Spanned<String>>) -> String {
        let Some(raw) = raw else { return "/public/api".to_owned() };
        let text = raw.get_ref();
        if !text.is_empty() && !text.starts_with('/') {
            let problem = Problem::new("bad-value", format!("`path_prefix = \"{text}\"` does not begin with `/`"));
            self.problems
                .push(problem.at(&raw.span(), "here").help("Dataiku's own are /public/api and /dip/publicapi"));
        }
        text.trim_end_matches('/').to_owned()
    }

    fn auth(&mut self, raw: &RawDss, instance: Option<&Instance>) -> Result<Auth, Problem> {
        for (key, span) in raw.written() {
            let problem = Problem::new("written-secret", format!("`{key}` of {} is written out", self.place()));
            self.problems.push(problem.at(&span, "a secret is named, never written").help(format!(
                "write {key} = {{ env = \"DSS_API_KEY\" }} or {{ file = \"…\" }}, and ask for a new one: this one may have been seen"
            )));
        }
        if let (Some(key), Some(jwt)) = (&raw.api_key, &raw.jwt) {
            let problem = Problem::new("two-secrets", format!("{} has `api_key` and `jwt`", self.place()));
            self.problems.push(problem.at(&key.span(), "one").at(&jwt.span(), "another").help("leave one out"));
        }
        let named = |secret: &Spanned<Secret>| match secret.get_ref() {
            Secret::Named(value) => self.secret(value, &secret.span()),
            Secret::Written => Ok(String::new()),
        };
        match (&raw.api_key, &raw.jwt, instance.and_then(|instance| instance.key.clone())) {
            (Some(key), _, _) => named(key).map(Auth::Key),
            (None, Some(jwt), _) => named(jwt).map(Auth::Token),
            (None, None, Some(key)) => Ok(Auth::Key(key)),
            (None, None, None) => Err(Problem::new("missing-secret", format!("{} names no `api_key`", self.place()))
                .help("write api_key = { env = \"DSS_API_KEY\" }; DKU_API_KEY and ~/.dataiku/config.json serve too")),
        }
    }

    fn secret(&self, value: &SecretValue, span: &std::ops::Range<usize>) -> Result<String, Problem> {
        let missing = |message: String| Problem::new("missing-secret", message).at(span, "named here");
        let text = match value {
            SecretValue::Env(name) => match variable(&self.opening.environment, name) {
                Some(text) => text,
                None => return Err(missing(format!("the variable {name} is not set")).help("set it to the API key")),
            },
            SecretValue::File(path) => {
                let full = self.opening.root.join(path);
                let read = read_short(&full).and_then(|text| String::from_utf8(text).map_err(std::io::Error::other));
                read.map_err(|error| missing(format!("{path} cannot be read: {error}")))?
            }
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(missing("the secret is empty".to_owned()));
        }
        Ok(text.to_owned())
    }

    fn parallel(&mut self, raw: Option<&Spanned<u32>>) -> u32 {
        if let Some(raw) = raw.filter(|raw| *raw.get_ref() == 0) {
            let problem = Problem::new("bad-value", "`max_parallel` is 0").at(&raw.span(), "nothing could run");
            self.problems
                .push(problem.help("leave it out for 5, which is how many activities DSS runs at once by default"));
        }
        let general = self.opening.pipeline.settings.max_parallel;
        raw.map(|raw| *raw.get_ref()).or(general).unwrap_or(5)
    }

    fn poll(&mut self, raw: Option<&Spanned<String>>) -> Duration {
        let poll = self.duration("poll", raw, 500);
        if let Some(raw) = raw.filter(|_| poll < SHORTEST) {
            let problem = Problem::new("bad-value", format!("`poll = \"{}\"` is too short", raw.get_ref()));
            self.problems.push(problem.at(&raw.span(), "here").help(format!(
                "write \"{}\" or longer: DSS is asked at most five times a second, however many jobs there are",
                duration(SHORTEST)
            )));
        }
        // Tests have no time to wait; what is shipped does not know of it.
        let hurry = variable(&self.opening.environment, "KILN_TEST_POLL").filter(|_| cfg!(debug_assertions));
        hurry.and_then(|text| parse_duration(&text).ok()).unwrap_or(poll)
    }

    fn duration(&mut self, key: &str, raw: Option<&Spanned<String>>, default_ms: u64) -> Duration {
        let Some(raw) = raw else { return Duration::from_millis(default_ms) };
        parse_duration(raw.get_ref()).unwrap_or_else(|error| {
            let problem = Problem::new("bad-duration", format!("`{key}` is no duration: {error}"));
            self.problems.push(problem.at(&raw.span(), "here").help("write \"500ms\", \"30s\", \"15m\" or \"1h\""));
            Duration::from_millis(default_ms)
        })
    }
}

/// A variable that is set and not empty.
pub(super) fn variable(environment: &Environment, name: &str) -> Option<String> {
    environment.get(name).and_then(|value| value.to_str()).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// What stands behind `http://` or `https://`, where there is something.
fn behind_scheme(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    (!rest.trim_matches('/').is_empty() && !rest.contains(char::is_whitespace)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sent_as_dataiku_does() {
        assert_eq!(Auth::Key("abc".to_owned()).header(), "Basic YWJjOg==");
        assert_eq!(Auth::Token("a.b.c".to_owned()).header(), "Bearer a.b.c");
    }
}
