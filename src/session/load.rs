//! Reads a pipeline file, checks it, and orders its steps. Does not know how the file was found.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::digest::Digest;
use crate::base::file::{FileStat, Seen};
use crate::base::span::{Problem, Source};
use crate::clock;
use crate::graph::Graph;
use crate::pipeline::raw_engine::RawEngine;
use crate::pipeline::types::Pipeline;
use crate::pipeline::{check, follows, read};
use crate::session::fail::Fail;
use crate::stat::state_of;

/// What a file is read with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given<'a> {
    /// `--var`
    pub(crate) vars: &'a [(String, String)],
    /// `--project`
    pub(crate) project: Option<&'a str>,
    /// `--engine`
    pub(crate) engine: Option<&'a str>,
}

/// A pipeline file without mistakes.
pub(crate) struct Loaded {
    /// The file's text and name.
    pub(crate) source: Source,
    /// The root, absolute.
    pub(crate) root: PathBuf,
    /// What the file says.
    pub(crate) pipeline: Arc<Pipeline>,
    /// Its steps in order.
    pub(crate) graph: Graph,
    /// Whether its text was known, and not read again.
    pub(super) known: bool,
    /// What was seen of the file when its text was read; none where that was not now.
    pub(super) seen: Option<Seen>,
}

impl Loaded {
    /// The place of a span: `orders.toml:41`.
    pub(crate) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.source.name, self.source.line(offset))
    }
}

/// Reads and checks a file.
pub(crate) fn load(path: &Path, given: &Given<'_>) -> Result<Loaded, Fail> {
    let (source, seen) = text(path)?;
    Ok(Loaded { seen: Some(seen), ..of(path, source, given)? })
}

/// Checks the text of a file.
pub(crate) fn of(path: &Path, source: Source, given: &Given<'_>) -> Result<Loaded, Fail> {
    let (raw, mut problems) = read::read(&source.text);
    let Some(raw) = raw else { return Err(Fail::Mistakes(source, problems)) };
    let root = root(path, raw.pipeline.root.as_ref()).unwrap_or_else(|problem| {
        problems.push(problem);
        PathBuf::from("/") // whatever else is wrong does not depend on it
    });
    let own = own_paths(path, &root);
    let options = check::Options { own: &own, vars: given.vars, project: given.project };
    let (pipeline, mut found) = check::check(raw, &source.text, &options);
    if let Some(useless) = useless_vars(&pipeline, given) {
        // Whether the file has such a variable does not matter then.
        found.retain(|problem| problem.code != "unknown-var");
        found.push(useless);
    }
    let found = follows::independent(&source.text, &problems, found);
    problems.extend(found);
    let graph = Graph::build(&pipeline);
    match graph {
        Ok(graph) if problems.is_empty() => {
            Ok(Loaded { source, root, pipeline: Arc::new(pipeline), graph, known: false, seen: None })
        }
        Ok(_) => Err(Fail::Mistakes(source, problems)),
        Err(cycles) => {
            problems.extend(cycles);
            Err(Fail::Mistakes(source, problems))
        }
    }
}

/// That `--var` has no effect, where the engine is one that has its own variables.
fn useless_vars(pipeline: &Pipeline, given: &Given<'_>) -> Option<Problem> {
    let said = pipeline.settings.engine.as_ref().map(|(name, _)| name.as_str());
    let name = given.engine.or(said).filter(|_| !given.vars.is_empty())?;
    match pipeline.engines.get(name)? {
        (RawEngine::Dss(_), _) => {
            let problem = Problem::new("useless-var", format!("--var has no effect on the engine `{name}`"));
            Some(problem.help("leave --var out: variables of DSS are set in its project"))
        }
    }
}

/// The root of a file and the name of its pipeline, as far as they can be told without the rest of the file being sound.
pub(crate) fn head_of(path: &Path) -> Result<(PathBuf, Option<String>), Fail> {
    let (source, _) = text(path)?;
    let (raw, _) = read::read(&source.text);
    let head = raw.as_ref().map(|raw| &raw.pipeline);
    let root = root(path, head.and_then(|head| head.root.as_ref()));
    let name = head.filter(|head| head.is_read()).map(|head| head.name.get_ref().clone());
    root.map(|root| (root, name)).map_err(|problem| Fail::Mistakes(source.clone(), vec![problem]))
}

/// The text of a file, and the state in which it was read.
pub(super) fn text(path: &Path) -> Result<(Source, Seen), Fail> {
    let name = path.display().to_string();
    let cannot = |error: std::io::Error| {
        let is_folder = error.kind() == ErrorKind::IsADirectory;
        let inner = path.join("pipeline.toml");
        let help = is_folder.then(|| match inner.is_file() {
            true => format!("name the file in it: --file {}", inner.display()),
            false => "name the pipeline file; there is no pipeline.toml in this folder".to_owned(),
        });
        Fail::Usage(format!("{name} cannot be read: {error}"), help)
    };
    let mut bytes = Vec::new();
    let (stat, seen_ns) = (state_of(path).unwrap_or(FileStat::NONE), clock::now_ns());
    let size = stat.size.min(read::MAX_BYTES) + 1;
    bytes.reserve(usize::try_from(size).unwrap_or_default());
    // One byte over the limit is enough to refuse the file.
    fs::File::open(path).and_then(|file| file.take(read::MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    let source = read::source(&name, bytes).map_err(|wrong| {
        let (source, problem) = *wrong;
        Fail::Mistakes(source, vec![problem])
    })?;
    let digest = Digest::of(source.text.as_bytes());
    Ok((source, Seen { stat, digest, seen_ns }))
}

/// The root of a file that does not name one.
pub(super) fn plain_root(path: &Path) -> PathBuf {
    let folder = folder_of(path);
    match folder.parent() {
        Some(above) if folder.file_name().is_some_and(|name| name == "pipelines") => above.to_owned(),
        _ => folder,
    }
}

/// Where a file lies below its root, as it is named and as the links on the way lead.
pub(super) fn own_paths(path: &Path, root: &Path) -> Vec<String> {
    let named = path.file_name().map(|name| folder_of(path).join(name));
    let below = |path: PathBuf| Some(path.strip_prefix(root).ok()?.to_string_lossy().into_owned());
    let mut paths: Vec<_> = named.into_iter().chain(path.canonicalize()).filter_map(below).collect();
    paths.dedup();
    paths
}

fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// The folder that paths are relative to.
fn root(path: &Path, said: Option<&toml::Spanned<String>>) -> Result<PathBuf, Problem> {
    let root = match said {
        Some(said) => said_root(&folder_of(path), said)?,
        None => plain_root(path),
    };
    if root.to_str().is_none() {
        return Err(Problem::new("bad-root", format!("the path of the root is not UTF-8: {}", root.display())));
    }
    Ok(root)
}

fn said_root(parent: &Path, said: &toml::Spanned<String>) -> Result<PathBuf, Problem> {
    let text = said.get_ref();
    let wrong = |message: String, label: &str, help: &str| {
        Err(Problem::new("bad-root", message).at(&said.span(), label).help(help))
    };
    if text.is_empty() || Path::new(text).is_absolute() {
        let message = if text.is_empty() { "`root` is empty".to_owned() } else { format!("`{text}` is absolute") };
        return wrong(message, "this root", "say it relative to the folder of this file: root = \"..\"");
    }
    match parent.join(text).canonicalize() {
        Ok(root) if root.is_dir() => Ok(root),
        Ok(_) => wrong(format!("root `{text}` is not a folder"), "relative to this file", "name a folder"),
        Err(_) => {
            let help = format!("looked for {}", parent.join(text).display());
            wrong(format!("there is no folder `{text}`"), "relative to this file", &help)
        }
    }
}
