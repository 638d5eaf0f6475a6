//! A checked pipeline as bytes, and back. What is asked about all of its steps is read at once, and each node and each step only
//! when it is asked for. An image is of use to the program that wrote it alone, and it is no format for others. Does not know
//! where it is kept, nor whether it is still true of a file.

use std::collections::{BTreeMap, HashMap};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::ops::Range;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::base::id::{DenseMap, Id as _, RecipeId, WayId};
use crate::base::span::Span;
use crate::pipeline::outline::{Outline, Paths};
use crate::pipeline::raw_engine::RawEngine;
use crate::pipeline::rows::{self, Bytes, Late, Rows};
use crate::pipeline::types::{How, Node, Pipeline, Recipe, Settings};

/// What an image begins with.
#[derive(BorshSerialize, BorshDeserialize)]
struct Head {
    name: String,
    project: String,
    description: Option<String>,
    settings: Settings,
    engines: BTreeMap<String, (RawEngine, Span)>,
    vars: BTreeMap<String, String>,
}

/// The bytes of a pipeline.
///
/// # Errors
/// None that a sound pipeline could cause.
pub fn write(pipeline: &Pipeline) -> Result<Vec<u8>> {
    let head = Head {
        name: pipeline.name.clone(),
        project: pipeline.project.clone(),
        description: pipeline.description.clone(),
        settings: pipeline.settings.clone(),
        engines: pipeline.engines.clone(),
        vars: pipeline.vars.clone(),
    };
    let ways = ways(pipeline);
    let recipes = pipeline.recipes.iter().map(|(id, recipe)| (ways.of[id], recipe));
    let mut parts = Parts::default();
    parts.add(|to| head.serialize(to))?;
    parts.add(|to| rows::write(to, ways.all.iter(), |how, to| how.serialize(to)))?;
    parts.add(|to| rows::write(to, pipeline.nodes.values(), |node, to| node.serialize(to)))?;
    parts.add(|to| rows::write(to, recipes, |row, to| row.serialize(to)))?;
    parts.add(|to| (*pipeline.names).serialize(to))?;
    parts.add(|to| pipeline.outline().write(to))?;
    parts.add(|to| to.write_all(pipeline.paths().bytes()))?;
    Ok(parts.bytes)
}

/// The pipeline of an image.
///
/// # Errors
/// The bytes are no image.
pub fn read(bytes: Bytes) -> Result<Pipeline> {
    let all = (*bytes).as_ref();
    let [head, ways, nodes, recipes, names, outline, paths] = parts(all)?;
    let Head { name, project, description, settings, engines, vars } = Head::try_from_slice(&all[head])?;
    let ways: Rows<WayId, Arc<How>> = Rows::stored(&bytes, ways, Arc::<How>::deserialize)?;
    let nodes: Rows<_, Node> = Rows::stored(&bytes, nodes, Node::deserialize)?;
    let recipes = Rows::stored(&bytes, recipes, move |from| {
        let (way, recipe) = <(WayId, Recipe)>::deserialize(from)?;
        Ok(Recipe { how: Arc::clone(&ways[way]), ..recipe })
    })?;
    let outline = Outline::read(&all[outline], nodes.len(), recipes.len())?;
    let paths = Paths::read(&all[paths])?;
    let (bytes, read) = (Arc::clone(&bytes), names);
    let names = Late::stored(move || BorshDeserialize::try_from_slice(&(*bytes).as_ref()[read.clone()]));
    let (outline, paths) = (outline.into(), paths.into());
    Ok(Pipeline { name, project, description, settings, engines, vars, nodes, recipes, names, outline, paths })
}

/// The parts of an image, each with its length before it.
#[derive(Default)]
struct Parts {
    bytes: Vec<u8>,
}

impl Parts {
    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let begin = self.bytes.len();
        self.bytes.extend(0u64.to_le_bytes());
        let from = self.bytes.len();
        write(&mut self.bytes)?;
        let length = (self.bytes.len() - from) as u64;
        self.bytes[begin..from].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

/// Where the parts of an image lie. There are so many of them and nothing else.
fn parts<const N: usize>(bytes: &[u8]) -> Result<[Range<usize>; N]> {
    let mut at = 0;
    let mut next = || {
        let length = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        let begin = at + size_of::<u64>();
        at = begin.checked_add(usize::try_from(length).ok()?).filter(|end| *end <= bytes.len())?;
        Some(begin..at)
    };
    let parts: Option<Vec<_>> = (0..N).map(|_| next()).collect();
    let parts = parts.filter(|_| at == bytes.len()).and_then(|parts| parts.try_into().ok());
    parts.ok_or_else(|| ErrorKind::InvalidData.into())
}

/// How recipes are run, each way once, and which of them each recipe has.
struct Ways {
    all: Vec<Arc<How>>,
    of: DenseMap<RecipeId, WayId>,
}

fn ways(pipeline: &Pipeline) -> Ways {
    let mut all: Vec<Arc<How>> = Vec::new();
    let mut known: HashMap<*const How, WayId> = HashMap::new();
    let number = |recipe: &Recipe| {
        *known.entry(Arc::as_ptr(&recipe.how)).or_insert_with(|| {
            all.push(Arc::clone(&recipe.how));
            WayId::from_index(all.len() - 1)
        })
    };
    let of = pipeline.recipes.values().map(number).collect();
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
        let options = Options { own: &[], vars: &[], project: None };
        let (pipeline, problems) = check(raw.unwrap(), text, &options);
        assert_eq!(problems, []);
        pipeline
    }

    #[test]
    fn what_is_written_is_read() {
        let pipeline = pipeline(ALL);
        let bytes = write(&pipeline).unwrap();
        let read = read(Arc::new(bytes)).unwrap();
        let sorted = |pipeline: &Pipeline| {
            let mut names: Vec<_> = (*pipeline.names).clone().into_iter().collect();
            names.sort_by(|a, b| a.0.cmp(&b.0));
            names
        };
        assert_eq!(format!("{:?}", sorted(&read)), format!("{:?}", sorted(&pipeline)));
        let rest = |pipeline: &Pipeline| {
            let Pipeline { name, project, description, settings, engines, vars, nodes, recipes, .. } = pipeline;
            let (outline, paths) = (pipeline.outline(), pipeline.paths());
            format!("{:#?}", (name, project, description, settings, engines, vars, nodes, recipes, outline, paths))
        };
        assert_eq!(rest(&read), rest(&pipeline));
    }

    #[test]
    fn what_is_cut_is_no_image() {
        let bytes = write(&pipeline(ALL)).unwrap();
        for length in (0..bytes.len()).step_by(13) {
            assert!(read(Arc::new(bytes[..length].to_vec())).is_err(), "cut at {length}");
        }
        assert!(read(Arc::new([bytes, vec![0]].concat())).is_err());
    }

    #[test]
    fn recipes_share_how_they_are_run_again() {
        let text = format!("{ALL}[task.tell_too]\ninputs = [\"charts\"]\nrun = \"true\"\n");
        let pipeline = pipeline(&text);
        let of = |pipeline: &Pipeline, name| Arc::clone(&pipeline.recipes[pipeline.recipe(name).unwrap()].how);
        let read = read(Arc::new(write(&pipeline).unwrap())).unwrap();
        for pipeline in [&pipeline, &read] {
            assert!(Arc::ptr_eq(&of(pipeline, "tell"), &of(pipeline, "tell_too")));
            assert!(!Arc::ptr_eq(&of(pipeline, "tell"), &of(pipeline, "orders")));
        }
    }
}
