//! All that is wrong with one value, in words for people. serde stops at the first mistake, so each part is tried by
//! itself. Does not know which keys there are: serde says it. Only of those that hold a time or a size it knows the units.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Error};

use crate::base::span::{Problem, Problems, Span};
use crate::base::text::{did_you_mean, is_name};
use crate::pipeline::shell::lacks_command;

/// Keys whose texts hold a number with a unit, and the unit to suggest.
const UNITS: [(&[&str], &str); 2] =
    [(&["timeout", "grace", "rebuild", "delay", "submit_grace", "request_timeout"], "s"), (&["log_limit"], "MiB")];

/// What other tools call a key, and what it is here: the first that is known where it stands.
const ELSEWHERE: [(&[&str], &[&str]); 9] = [
    (&["depends", "depends_on", "dependencies", "deps", "needs", "requires", "input", "from"], &["inputs"]),
    (&["cmd", "command", "commands", "script", "exec", "recipe"], &["run"]),
    (&["outs", "out", "output", "outputs", "targets", "produces", "file"], &["outputs", "path"]),
    (&["cwd", "dir", "directory", "working_dir", "wdir"], &["workdir"]),
    (&["environment", "envs"], &["env"]),
    (&["retries", "attempts", "tries"], &["retry", "max"]),
    (&["wait", "backoff", "interval"], &["delay"]),
    (&["path"], &["outputs"]),
    (&["desc", "doc", "comment", "message", "meta"], &["description"]),
];

/// Keys of other tools for what is no key of a step here, and how it is had.
const OTHERWISE: [(&[&str], &str); 8] = [
    (
        &["conda", "container", "singularity", "image", "docker", "envmodules"],
        "`shell` may begin with what enters it, as in [\"conda\", \"run\", \"-n\", \"env\", \"bash\", \"-euc\"]; `tools` makes its version count",
    ),
    (&["temp", "protected", "temporary", "persist"], "outputs stay, and are replaced as a whole by the next good run"),
    (&["log", "logs", "logfile"], "what a step prints is kept: `kiln jobs log STEP` shows it"),
    (&["benchmark"], "how long steps took is kept: `kiln why NODE` and `kiln jobs show last` show it"),
    (
        &["params", "parameters", "vars", "variables", "arguments"],
        "values stand in [vars], and a recipe takes them as {{ vars.NAME }}",
    ),
    (
        &["env_file", "envfile", "dotenv"],
        "no file of variables is read: `env` gives them values, `pass` lets them in from outside",
    ),
    (
        &["threads", "cores", "cpus", "jobs", "parallel", "resources", "mem", "mem_mb", "memory", "priority"],
        "how many steps run at once is `max_parallel` in [settings], or -j; how many threads one has its recipe says",
    ),
    (
        &["cache", "cached"],
        "what is up to date is not built again anyway; `rebuild = \"always\"` has it built each time",
    ),
];

/// Of more keys than these, a list of all is no help.
const LISTED: usize = 12;

/// Keys that say what is made, here or in other tools.
const OF_OUTPUTS: [&str; 8] = ["path", "in_place", "outputs", "output", "outs", "out", "targets", "produces"];
/// What is said to them in a task.
const NO_OUTPUT: &str =
    "a task has no output: what makes a file is a [dataset.NAME], what makes a folder a [folder.NAME]";

/// What is offered for a key that lacks, the first of which it takes.
const PLACEHOLDERS: [&str; 4] = ["key = \"…\"", "key = 1", "key = true", "key = [\"…\"]"];

/// Says what is wrong with a value, if something is.
type Test<'t> = dyn Fn(Spanned<DeValue<'_>>) -> Option<Error> + 't;

/// One step from a value to a part of it, with the place of what is left.
enum Step<'i> {
    Key(Span, Spanned<Cow<'i, str>>),
    Element(Span),
}

/// Where a value stands.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    /// The whole file.
    pub(super) text: &'a str,
    /// The table, such as `dataset.orders`.
    pub(super) table: &'a str,
    /// The key in it, where the value is not the table itself.
    pub(super) key: Option<&'a str>,
}

/// All mistakes in a value, of which `error` is the first, and the value without them.
pub(super) fn all<'i>(
    at: At<'_>,
    value: &Spanned<DeValue<'i>>,
    error: &Error,
    test: &Test<'_>,
) -> (Problems, Option<Spanned<DeValue<'i>>>) {
    let mut digger = Digger { at, test, path: Vec::new(), problems: Vec::new(), sound: None };
    digger.dig(value, error);
    (digger.problems, digger.sound)
}

struct Digger<'a, 'i> {
    at: At<'a>,
    test: &'a Test<'a>,
    path: Vec<Step<'i>>,
    problems: Problems,
    /// The table that was looked at last, without what is wrong in it: in the end the whole one.
    sound: Option<Spanned<DeValue<'i>>>,
}

impl<'i> Digger<'_, 'i> {
    /// Tells `error`, or what is wrong with the parts of the value that it is about.
    fn dig(&mut self, value: &Spanned<DeValue<'i>>, error: &Error) {
        let before = self.problems.len();
        match value.get_ref() {
            DeValue::Table(table) => self.table(value.span(), table),
            DeValue::Array(array) => {
                for element in array.iter() {
                    self.path.push(Step::Element(value.span()));
                    self.part(element, &element.span());
                    self.path.pop();
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
        if self.problems.len() == before {
            self.tell(value, error);
        }
    }

    fn table(&mut self, span: Span, table: &DeTable<'i>) {
        let mut sound = DeTable::new();
        let mut broken: Vec<&str> = Vec::new();
        for (key, value) in table {
            self.path.push(Step::Key(span.clone(), key.clone()));
            let wrong = self.part(value, &key.span());
            self.path.pop();
            if wrong {
                broken.push(key.get_ref().as_ref());
            } else {
                sound.insert(key.clone(), value.clone());
            }
        }
        if broken.is_empty() {
            return;
        }
        // serde comes to what is missing last, so only now that all else is sound.
        let sound = Spanned::new(span, DeValue::Table(sound));
        if let Some(error) = (self.test)(self.within(sound.clone()))
            && missing_field(error.message().trim()).is_some_and(|key| !broken.contains(&key))
        {
            self.tell(&sound, &error);
        }
        self.sound = Some(sound);
    }

    /// Tells what is wrong with a part, and whether something is. What is wrong with all around it is not counted.
    fn part(&mut self, value: &Spanned<DeValue<'i>>, key: &Span) -> bool {
        let Some(error) = (self.test)(self.within(value.clone())) else { return false };
        let Some(span) = error.span() else { return false };
        let inside = |outer: &Span| outer.start <= span.start && span.end <= outer.end;
        if inside(&value.span()) || matches!(value.get_ref(), DeValue::Table(table) if deep_inside(table, &span)) {
            self.dig(value, &error);
        } else if inside(key) {
            self.tell(value, &error);
        } else {
            return false;
        }
        true
    }

    /// The value at the end of the path, and nothing besides.
    fn within(&self, value: Spanned<DeValue<'i>>) -> Spanned<DeValue<'i>> {
        self.path.iter().rev().fold(value, |value, step| match step {
            Step::Key(span, key) => {
                let mut table = DeTable::new();
                table.insert(key.clone(), value);
                Spanned::new(span.clone(), DeValue::Table(table))
            }
            Step::Element(span) => {
                let mut array = DeArray::new();
                array.push(value);
                Spanned::new(span.clone(), DeValue::Array(array))
            }
        })
    }

    fn tell(&mut self, value: &Spanned<DeValue<'i>>, error: &Error) {
        let span = error.span().unwrap_or_else(|| value.span());
        let message = error.message().trim();
        let problem = if let Some((key, known)) = unknown(message, "field") {
            let table = self.table_of(self.path.len().saturating_sub(1));
            let task = table.starts_with("task.") && self.path.len() == 1 && OF_OUTPUTS.contains(&key);
            let help = task
                .then(|| NO_OUTPUT.to_owned())
                .or_else(|| self.at.text[..span.start].ends_with('.').then(|| dotted(&table, key)).flatten())
                .or_else(|| elsewhere(key, value.get_ref(), &known))
                .or_else(|| did_you_mean(key, known.iter().copied()));
            let help = help.unwrap_or_else(|| known_are(&known));
            Problem::new("unknown-key", format!("unknown key `{key}` in [{table}]")).at(&span, "unknown").help(help)
        } else if let Some((word, known)) = unknown(message, "variant") {
            let help = did_you_mean(word, known.iter().copied()).unwrap_or_else(|| known_are(&known));
            let message = format!("`{}` in [{}] cannot be `{word}`", self.keys(), self.at.table);
            Problem::new("bad-value", message).at(&span, "unknown").help(help)
        } else if let Some(key) = missing_field(message) {
            let message = format!("[{}] lacks `{key}`", self.table_of(self.path.len()));
            let help = format!("add it: {key} = {}", self.placeholder(value, key));
            Problem::new("missing-key", message).at(&span, "in here").help(help)
        } else {
            self.wrong_type(value, message, &span)
        };
        self.problems.push(problem);
    }

    /// What may stand under a key that a table lacks: of the type that it takes there.
    fn placeholder(&self, table: &Spanned<DeValue<'i>>, key: &str) -> &'static str {
        let takes = |written: &&&'static str| {
            let DeValue::Table(mut with) = table.get_ref().clone() else { return false };
            let parsed = DeTable::parse(written).ok().and_then(|parsed| parsed.into_inner().into_iter().next());
            let Some((_, value)) = parsed else { return false };
            with.insert(Spanned::new(table.span(), key.to_owned().into()), value);
            let error = (self.test)(self.within(Spanned::new(table.span(), DeValue::Table(with))));
            error.is_none_or(|error| !error.message().starts_with("invalid type"))
        };
        let written = PLACEHOLDERS.iter().find(takes).unwrap_or(&PLACEHOLDERS[0]);
        written.trim_start_matches("key = ")
    }

    fn wrong_type(&self, value: &Spanned<DeValue<'i>>, message: &str, span: &Span) -> Problem {
        let what = format!("`{}` in [{}]", self.keys(), self.at.table);
        if message.starts_with("invalid value") {
            let problem = Problem::new("bad-value", format!("{what} is out of range"));
            return problem.at(span, format!("expected a whole number from 0 to {}", u32::MAX));
        }
        let Some(expected) = expected(message) else {
            return Problem::new("bad-value", format!("{what}: {message}")).at(span, "here");
        };
        let verb = if matches!(self.path.last(), Some(Step::Element(_))) { "holds" } else { "is" };
        let message = format!("{what} {verb} {}, not {expected}", found(value.get_ref()));
        let problem = Problem::new("wrong-type", message).at(span, format!("expected {expected}"));
        match self.way_out(value, &expected) {
            Some(help) => problem.help(help),
            None => problem,
        }
    }

    /// The same value as it was meant, where that is plain.
    fn way_out(&self, value: &Spanned<DeValue<'i>>, expected: &str) -> Option<String> {
        let written = self.at.text.get(value.span()).filter(|text| text.len() <= 60 && !text.contains('\n'))?;
        match value.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_)
                if expected.contains("string") =>
            {
                Some(match self.unit() {
                    _ if self.key() == Some("rebuild") && written == "true" => "say: rebuild = \"always\"".to_owned(),
                    _ if self.key() == Some("rebuild") && written == "false" => "say: rebuild = \"never\"".to_owned(),
                    Some(unit) => format!("write it in quotes and with its unit: \"{written}{unit}\""),
                    None => format!("write it in quotes: \"{written}\""),
                })
            }
            DeValue::String(_) if expected.contains("file =") => {
                let name = self.key().unwrap_or("NAME");
                Some(format!("a secret is named, never written: {name} = {{ env = \"{name}\" }}"))
            }
            DeValue::String(_) | DeValue::Array(_) if expected == "a table" => self.as_table(value.get_ref()),
            DeValue::String(text) if self.key() == Some("shell") && text.contains(['{', '|', '>', ';', '$']) => Some(
                "what is to be done stands in `run`; `shell` says what reads it, as in [\"sh\", \"-c\"]".to_owned(),
            ),
            DeValue::String(text) if expected == "a list" && self.key() == Some("shell") => {
                let mut words: Vec<_> = text.split_whitespace().collect();
                if lacks_command(&words) {
                    words.push("-c");
                }
                let words: Vec<_> = words.into_iter().map(|word| toml::Value::from(word).to_string()).collect();
                Some(format!("write it as a list, a word each: [{}]", words.join(", ")))
            }
            DeValue::String(_) if expected == "a list" => Some(format!("write it as a list: [{written}]")),
            DeValue::String(text) if expected == "true or false" && matches!(text.as_ref(), "true" | "false") => {
                Some(format!("leave the quotes out: {text}"))
            }
            DeValue::String(text) if expected.contains(" number") && text.parse::<u32>().is_ok() => {
                Some(format!("leave the quotes out: {text}"))
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        }
    }

    /// How a table is written in whose place stands a text or a list, such as `secrets = ["TOKEN"]`.
    fn as_table(&self, value: &DeValue<'_>) -> Option<String> {
        let first = match value.as_array() {
            Some(list) => list.iter().next().and_then(|first| first.get_ref().as_str()),
            None => value.as_str(),
        };
        let (name, rest) = first.map_or(("", None), |first| match first.split_once(['=', ' ']) {
            Some((name, value)) => (name, Some(value)),
            None => (first, None),
        });
        let name = if is_name(name) { name } else { "NAME" };
        let value = match self.key()? {
            "secrets" => format!("{{ env = \"{name}\" }}"),
            "tools" => toml::Value::from(format!("{name} {}", rest.unwrap_or("--version"))).to_string(),
            "env" => toml::Value::from(rest.unwrap_or("value")).to_string(),
            _ => return None,
        };
        Some(format!("write it as a table: {{ {name} = {value} }}"))
    }

    /// The unit that a number under this key would most likely be in.
    fn unit(&self) -> Option<&'static str> {
        let key = self.key()?;
        UNITS.iter().find(|(keys, _)| keys.contains(&key)).map(|(_, unit)| *unit)
    }

    /// The key that the value stands under.
    fn key(&self) -> Option<&str> {
        names(&self.path).last().or(self.at.key)
    }

    /// The keys from the table to the value: `env.A`.
    fn keys(&self) -> String {
        let own = self.at.key.into_iter();
        own.chain(names(&self.path)).collect::<Vec<_>>().join(".")
    }

    /// The table that the first steps of the path lead to: `dataset.orders.env`.
    fn table_of(&self, steps: usize) -> String {
        let whole = std::iter::once(self.at.table).chain(self.at.key);
        whole.chain(names(&self.path[..steps])).collect::<Vec<_>>().join(".")
    }
}

fn names<'s>(path: &'s [Step<'_>]) -> impl Iterator<Item = &'s str> {
    path.iter().filter_map(|step| match step {
        Step::Key(_, key) => Some(key.get_ref().as_ref()),
        Step::Element(_) => None,
    })
}

/// Parts of a table with a header, or of dotted keys, lie outside its own place.
fn deep_inside(table: &DeTable<'_>, span: &Span) -> bool {
    let inside = |outer: &Span| outer.start <= span.start && span.end <= outer.end;
    table.iter().any(|(key, value)| {
        let deeper = matches!(value.get_ref(), DeValue::Table(table) if deep_inside(table, span));
        deeper || inside(&key.span()) || inside(&value.span())
    })
}

/// What a value is, in words.
fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The mistake that what stands under `name` is no table; `header` is how one is written.
pub(super) fn not_a_table(name: &str, value: &Spanned<DeValue<'_>>, header: &str) -> Problem {
    Problem::new("wrong-type", format!("`{name}` is {}, not a table", found(value.get_ref())))
        .at(&value.span(), "expected a table")
        .help(format!("begin it with a line of its own: [{header}]"))
}

/// What serde expected, in our words.
fn expected(message: &str) -> Option<String> {
    if message == "wanted string or table" {
        return Some("a string".to_owned());
    }
    let (_, expected) = message.rsplit_once("expected ")?;
    Some(match expected {
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a map" => "a table".to_owned(),
        "u32" | "i64" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        other => other.to_owned(),
    })
}

/// What a key of another tool is called here, or how else what it means is said.
fn elsewhere(key: &str, value: &DeValue<'_>, known: &[&str]) -> Option<String> {
    let in_step = known.contains(&"run");
    if key == "file" && value.is_array() && known.contains(&"files") {
        return Some("here it is `files`".to_owned());
    }
    if key == "outputs" && value.is_array() && in_step {
        return Some(
            "what makes several outputs is a [recipe.NAME]; this table is one output, at its `path`".to_owned(),
        );
    }
    if let Some((_, how)) = OTHERWISE.iter().find(|(others, _)| in_step && others.contains(&key)) {
        return Some((*how).to_owned());
    }
    let (_, here) = ELSEWHERE.iter().find(|(others, _)| others.contains(&key))?;
    let here = here.iter().find(|here| known.contains(here))?;
    Some(format!("here it is `{here}`"))
}

/// What was meant by a table below one that has a name: a name with a dot.
fn dotted(table: &str, key: &str) -> Option<String> {
    let (kind, name) = table.split_once('.')?;
    let is_named = matches!(kind, "dataset" | "folder" | "model" | "recipe" | "task") && !name.contains('.');
    is_named.then(|| format!("a name has no dot: [{kind}.{name}_{key}]"))
}

fn known_are(known: &[&str]) -> String {
    match known {
        [only] => format!("only `{only}` is known here"),
        known if known.len() > LISTED => {
            format!("no key is like it: `kiln schema pipeline` has the {} that may stand here", known.len())
        }
        known => format!("known are: {}", known.join(", ")),
    }
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Takes serde's words for an unknown `what` apart.
fn unknown<'m>(message: &'m str, what: &str) -> Option<(&'m str, Vec<&'m str>)> {
    let rest = message.strip_prefix("unknown ")?.strip_prefix(what)?.strip_prefix(" `")?;
    let (key, rest) = rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are no "))?;
    Some((key, rest.split('`').skip(1).step_by(2).collect()))
}
