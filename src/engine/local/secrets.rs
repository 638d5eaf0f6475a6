//! The secrets of a pipeline on this machine: read where they are named, given to recipes, and masked wherever Kiln writes.
//! Does not know who writes.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::base::mask::{SHORTEST, Secrets};
use crate::base::span::{Problem, Span};
use crate::base::text::is_name;
use crate::engine::api::Environment;
use crate::files::{SHORT, read_short};
use crate::pipeline::raw::{EnvValue, SecretValue};
use crate::pipeline::types::{Command, Pipeline, Recipe};

/// What is masked, as it was read last.
#[derive(Debug, Default)]
pub(crate) struct Masking {
    /// All that the pipeline names: each step asks for it.
    named: OnceLock<Vec<SecretValue>>,
    last: Mutex<Option<Last>>,
}

/// The values, and how they are masked.
type Last = (Vec<Vec<u8>>, Arc<Secrets>);

impl Masking {
    /// All secrets of the pipeline that can be read now: a recipe may print any of them.
    pub(crate) fn secrets(&self, pipeline: &Pipeline, own: &Environment) -> Option<Arc<Secrets>> {
        let named = self.named.get_or_init(|| {
            let all = pipeline.outline().with_secrets().flat_map(|id| pipeline.recipes[id].how.secrets.values());
            let distinct: BTreeMap<String, &SecretValue> = all.map(|secret| (format!("{secret:?}"), secret)).collect();
            distinct.into_values().cloned().collect()
        });
        let values: Vec<Vec<u8>> = named.iter().filter_map(|secret| read(secret, own).ok()).collect();
        if values.is_empty() {
            return None;
        }
        // Nothing is half done where this could panic.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, secrets)) = last.as_ref().filter(|(known, _)| *known == values) {
            return Some(Arc::clone(secrets));
        }
        let secrets = Secrets::new(&values)?;
        *last = Some((values, Arc::clone(&secrets)));
        Some(secrets)
    }
}

/// The value of a secret: what its file holds less a newline at the end, or a variable.
fn read(secret: &SecretValue, own: &Environment) -> Result<Vec<u8>, String> {
    match secret {
        SecretValue::Env(from) => {
            let value = own.get(from).ok_or_else(|| format!("{from} is not set"))?;
            if value.is_empty() { Err(format!("{from} is empty")) } else { Ok(value.as_bytes().to_owned()) }
        }
        SecretValue::File(path) => {
            let mut value = read_short(Path::new(path)).map_err(|error| format!("{path}: {error}"))?;
            if value.last() == Some(&b'\n') {
                value.pop();
            }
            if value.is_empty() {
                return Err(format!("{path} is empty"));
            }
            if value.contains(&0) {
                return Err(format!("{path} holds a NUL, which no variable can"));
            }
            Ok(value)
        }
    }
}

/// That a variable is not set.
pub(crate) fn unset(recipe: &Recipe, span: &Span, what: &str, variable: &str) -> Problem {
    lacking(recipe, span, format!("{what} the variable {variable}, which is not set"), variable)
}

fn lacking(recipe: &Recipe, span: &Span, message: String, variable: &str) -> Problem {
    Problem::new("unset-variable", message).for_step(span, &recipe.name).help(format!("set it: {variable}=… kiln run"))
}

/// The secrets of a recipe, each with where it is named.
fn placed(recipe: &Recipe) -> impl Iterator<Item = ((&String, &SecretValue), &Span)> {
    recipe.how.secrets.iter().zip(&recipe.how.secret_spans)
}

/// The mistakes of a recipe's secrets: variables that are not set, files that are not there. What is empty is no secret: a CI server
/// sets the variable of a secret that it does not have to nothing.
pub(crate) fn missing(recipe: &Recipe, own: &Environment) -> Vec<Problem> {
    let missing = placed(recipe).filter_map(|((name, secret), span)| match secret {
        SecretValue::Env(from) => match own.get(from) {
            Some(value) if value.is_empty() => {
                let message = format!("secret `{name}` takes the variable {from}, which is empty");
                Some(lacking(recipe, span, message, from))
            }
            Some(_) => None,
            None => Some(unset(recipe, span, &format!("secret `{name}` takes"), from)),
        },
        SecretValue::File(path) => {
            let (why, help) = unfit(path)?;
            let problem = Problem::new("missing-secret", format!("secret `{name}`: {why}"));
            Some(problem.for_step(span, &recipe.name).help(help))
        }
    });
    missing.collect()
}

/// Why a path is none of a file with a secret, and a way out.
fn unfit(path: &str) -> Option<(String, &'static str)> {
    match Path::new(path).metadata().ok().filter(|found| !found.is_dir()) {
        None => Some((format!("there is no file {path}"), "put the file there")),
        Some(found) if !found.is_file() => Some((
            format!("{path} is no regular file"),
            "it is read more than once: put the secret into a file, or into a variable",
        )),
        Some(found)
            if found.len() < 2
                && read_short(Path::new(path)).is_ok_and(|value| matches!(value.as_slice(), b"" | b"\n")) =>
        {
            Some((format!("{path} is empty"), "put the secret into the file"))
        }
        Some(found) if found.len() > SHORT => Some((format!("{path} is longer than 1 MiB"), "is it the right file?")),
        Some(_) => None,
    }
}

/// Warnings about secrets of a recipe that are too short to be masked.
pub(crate) fn short(recipe: &Recipe, own: &Environment) -> Vec<Problem> {
    let short = placed(recipe).filter(|((_, secret), _)| read(secret, own).is_ok_and(|value| value.len() < SHORTEST));
    let warn = |((name, _), span): ((&String, _), &Span)| {
        let message = format!("secret `{name}` of `{}` is not masked: it is too short", recipe.name);
        Problem::new("short-secret", message)
            .at(span, format!("it has fewer than {SHORTEST} bytes, which turn up everywhere"))
            .help("take a longer one")
            .warn()
    };
    short.map(warn).collect()
}

/// Warnings about secrets of a recipe that its shell cannot name.
pub(crate) fn unreadable(recipe: &Recipe) -> Vec<Problem> {
    let shell = matches!(recipe.run, Some(Command::Shell(_)));
    let odd = placed(recipe).filter(|((name, _), _)| shell && !is_name(name));
    let warn = |((name, _), span): ((&String, _), &Span)| {
        let message = format!("secret `{name}` of `{}` can be read by no shell", recipe.name);
        let help = "the name of a variable has letters, digits and `_`, and does not begin with a digit";
        Problem::new("unreadable-secret", message).at(span, "this name").help(help).warn()
    };
    odd.map(warn).collect()
}

/// The variables that secrets of the pipeline take, each with the name of such a secret.
pub(crate) fn variables(pipeline: &Pipeline) -> BTreeMap<&str, &str> {
    let named = pipeline.outline().with_secrets().flat_map(|id| &pipeline.recipes[id].how.secrets);
    let variables = named.filter_map(|(name, secret)| match secret {
        SecretValue::Env(from) => Some((from.as_str(), name.as_str())),
        SecretValue::File(_) => None,
    });
    variables.collect()
}

/// Warnings about variables that are shown as `env` of a recipe and are among those that `secrets` take.
pub(crate) fn shown(secrets: &BTreeMap<&str, &str>, recipe: &Recipe) -> Vec<Problem> {
    let shown = recipe.how.env.iter().filter_map(|(name, value)| match value {
        EnvValue::From(from) => Some((name, from, secrets.get(from.as_str())?)),
        EnvValue::Text(_) => None,
    });
    let warn = |(name, from, secret): (&String, &String, &&str)| {
        Problem::new("shown-secret", format!("`env.{name}` of `{}` takes {from}, which is a secret", recipe.name))
            .at(&recipe.span, format!("the secret `{secret}` takes it too"))
            .help(format!("give it as a secret here too: secrets = {{ {name} = {{ env = \"{from}\" }} }}"))
            .warn()
    };
    shown.map(warn).collect()
}

/// Adds the secrets of a recipe.
pub(crate) fn add(all: &mut Environment, recipe: &Recipe, own: &Environment) -> Result<(), String> {
    for (name, secret) in &recipe.how.secrets {
        let value = read(secret, own).map_err(|error| format!("secret `{name}`: {error}"))?;
        all.insert(name.clone(), std::ffi::OsStr::from_bytes(&value).to_owned());
    }
    Ok(())
}
