//! A checked pipeline as bytes, and back: an image is read in a tenth of the time that its file is. It is of use to the program
//! that wrote it alone, and it is no format for others. Does not know where it is kept, nor whether it is still true of a file.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::base::id::{DenseMap, RecipeId};
use crate::pipeline::types::{How, Pipeline};

/// What an image holds besides the pipeline: how its recipes are run, each way once, and which of them each recipe has.
#[derive(BorshSerialize, BorshDeserialize)]
struct Ways {
    all: Vec<Arc<How>>,
    of: DenseMap<RecipeId, u32>,
}

/// The bytes of a pipeline.
///
/// # Errors
/// None that a sound pipeline could cause.
pub fn write(pipeline: &Pipeline) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipeline.serialize(&mut bytes)?;
    ways(pipeline).serialize(&mut bytes)?;
    Ok(bytes)
}

/// The pipeline of an image.
///
/// # Errors
/// The bytes are no image.
pub fn read(mut bytes: &[u8]) -> Result<Pipeline> {
    let mut pipeline = Pipeline::deserialize(&mut bytes)?;
    let ways = Ways::deserialize(&mut bytes)?;
    if !bytes.is_empty() || ways.of.len() != pipeline.recipes.len() {
        return Err(ErrorKind::InvalidData.into());
    }
    for (id, of) in ways.of.iter() {
        let how = ways.all.get(*of as usize).ok_or(ErrorKind::InvalidData)?;
        pipeline.recipes[id].how = Arc::clone(how);
    }
    Ok(pipeline)
}

fn ways(pipeline: &Pipeline) -> Ways {
    let mut all: Vec<Arc<How>> = Vec::new();
    let mut known: HashMap<*const How, u32> = HashMap::new();
    let number = |how| {
        *known.entry(Arc::as_ptr(how)).or_insert_with(|| {
            all.push(Arc::clone(how));
            u32::try_from(all.len() - 1).expect("there are no more ways than recipes")
        })
    };
    let of = pipeline.recipes.values().map(|recipe| &recipe.how).map(number).collect();
    Ways { all, of }
}

/// How long something takes.
pub(super) mod duration {
    use std::time::Duration;

    use super::{BorshDeserialize, BorshSerialize, Read, Result, Write};

    pub(in crate::pipeline) fn write(duration: &Duration, to: &mut impl Write) -> Result<()> {
        (duration.as_secs(), duration.subsec_nanos()).serialize(to)
    }

    pub(in crate::pipeline) fn read(from: &mut impl Read) -> Result<Duration> {
        let (secs, nanos) = BorshDeserialize::deserialize_reader(from)?;
        Ok(Duration::new(secs, nanos))
    }
}

/// How long something takes, where that is said.
pub(super) mod durations {
    use std::time::Duration;

    use super::{BorshDeserialize, BorshSerialize, Read, Result, Write};

    pub(in crate::pipeline) fn write(duration: &Option<Duration>, to: &mut impl Write) -> Result<()> {
        duration.map(|duration| (duration.as_secs(), duration.subsec_nanos())).serialize(to)
    }

    pub(in crate::pipeline) fn read(from: &mut impl Read) -> Result<Option<Duration>> {
        let parts = Option::<(u64, u32)>::deserialize_reader(from)?;
        Ok(parts.map(|(secs, nanos)| Duration::new(secs, nanos)))
    }
}

/// A regular expression.
pub(super) mod regex {
    use regex::Regex;

    use super::{BorshDeserialize, BorshSerialize, Error, Read, Result, Write};

    pub(in crate::pipeline) fn write(regex: &Regex, to: &mut impl Write) -> Result<()> {
        regex.as_str().serialize(to)
    }

    pub(in crate::pipeline) fn read(from: &mut impl Read) -> Result<Regex> {
        Regex::new(&String::deserialize_reader(from)?).map_err(Error::other)
    }
}

/// A value with its place, where there is one.
pub(super) mod spanned {
    use toml::Spanned;

    use super::{BorshDeserialize, BorshSerialize, Read, Result, Write};

    type Placed<T> = Option<Spanned<T>>;

    pub(in crate::pipeline) fn write<T: BorshSerialize>(value: &Placed<T>, to: &mut impl Write) -> Result<()> {
        value.as_ref().map(|value| (value.span(), value.get_ref())).serialize(to)
    }

    pub(in crate::pipeline) fn read<T: BorshDeserialize>(from: &mut impl Read) -> Result<Placed<T>> {
        let parts = Option::<(std::ops::Range<usize>, T)>::deserialize_reader(from)?;
        Ok(parts.map(|(span, value)| Spanned::new(span, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::check::{Options, check};
    use crate::pipeline::read;

    /// A file that says something under every key.
    const ALL: &str = r#"
[pipeline]
format = 1
name = "all"
project = "ALL"
description = "all of it"
[settings]
engine = "prod"
max_parallel = 3
schedule = "eager"
mode = "missing"
[vars]
country = "FR"
[engine.prod]
kind = "dss"
url = "https://dss.example.com"
api_key = { env = "KEY" }
insecure_tls = true
max_parallel = 5
jobs = "run"
on_running = "wait"
submit_grace = "30s"
[defaults]
timeout = "1.5s"
retry = { max = 2, delay = "5ms", factor = 2.5, jitter = 0.1, on = ["lost", "timeout", 75, { text = "re.et" }] }
[dataset.raw]
path = "raw.csv"
tags = ["daily"]
[dataset.orders]
path = "orders.csv"
inputs = ["raw"]
run = "cat {{ inputs.raw }} '{{ vars.country }}' >{{ output }} # {{ project }}"
files = ["a.py", "b/*.py"]
tools = { python = "python3 --version" }
env = { STAGE = "dev", REGION = { env = "REGION" } }
pass = ["AWS_*"]
secrets = { A = { env = "A" }, B = { file = "b" } }
rebuild = "20h"
workdir = "b"
grace = "3s"
log_limit = "1MiB"
on_stop = "true"
[folder.charts]
id = "O2ue6CX3"
project = "OTHER"
path = "charts"
inputs = ["orders"]
run = ["sh", "-c", "{{ output }}"]
shell = ["sh", "-euc"]
in_place = true
[dataset.table]
digest = "echo 1"
inputs = ["orders"]
run = "true"
rebuild = "never"
[model.churn]
id = "x"
inputs = ["orders"]
auto_update_schema = true
[task.tell]
inputs = ["charts"]
run = "true"
"#;

    fn pipeline(text: &str) -> Pipeline {
        let (raw, problems) = read::read(text);
        assert_eq!(problems, []);
        let options = Options { root: "/root", vars: &[], project: None };
        let (pipeline, problems) = check(raw.unwrap(), text, &options);
        assert_eq!(problems, []);
        pipeline
    }

    #[test]
    fn what_is_written_is_read() {
        let pipeline = pipeline(ALL);
        let bytes = write(&pipeline).unwrap();
        let read = read(&bytes).unwrap();
        let sorted = |pipeline: &Pipeline| {
            let mut names: Vec<_> = pipeline.names.clone().into_iter().collect();
            names.sort_by(|a, b| a.0.cmp(&b.0));
            names
        };
        assert_eq!(format!("{:?}", sorted(&read)), format!("{:?}", sorted(&pipeline)));
        let rest = |pipeline: &Pipeline| {
            let Pipeline { name, project, description, settings, engines, vars, nodes, recipes, names: _ } = pipeline;
            format!("{:#?}", (name, project, description, settings, engines, vars, nodes, recipes))
        };
        assert_eq!(rest(&read), rest(&pipeline));
    }

    #[test]
    fn what_is_cut_is_no_image() {
        let bytes = write(&pipeline(ALL)).unwrap();
        for length in (0..bytes.len()).step_by(13) {
            assert!(read(&bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(read(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn recipes_share_how_they_are_run_again() {
        let text = format!("{ALL}[task.tell_too]\ninputs = [\"charts\"]\nrun = \"true\"\n");
        let pipeline = pipeline(&text);
        let of = |pipeline: &Pipeline, name| Arc::clone(&pipeline.recipes[pipeline.recipe(name).unwrap()].how);
        let read = read(&write(&pipeline).unwrap()).unwrap();
        for pipeline in [&pipeline, &read] {
            assert!(Arc::ptr_eq(&of(pipeline, "tell"), &of(pipeline, "tell_too")));
            assert!(!Arc::ptr_eq(&of(pipeline, "tell"), &of(pipeline, "orders")));
        }
    }
}
