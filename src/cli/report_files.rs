//! Which reports of a run were asked for, and whether they may be written where they were asked for; and what they say where no run
//! could begin, so that none of an earlier one passes for that of this one. Does not know how a run is told.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read as _, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::args::RunArgs;
use crate::cli::surroundings::Surroundings;
use crate::engine::local::ways::real_paths;
use crate::files::real;
use crate::pipeline::outline::Owner;
use crate::pipeline::paths::{OWN, lies_in, names, touch};
use crate::pipeline::types::Pipeline;
use crate::report::{github, jsonl, junit};
use crate::session::fail::Fail;

/// The reports that were asked for besides the screen.
#[derive(Debug, Default)]
pub(crate) struct ReportFiles {
    /// Of events.
    pub(super) events: Option<ReportFile>,
    /// Of tests.
    pub(super) junit: Option<ReportFile>,
}

/// Where a report goes.
#[derive(Debug)]
pub(crate) struct ReportFile {
    option: &'static str,
    pub(super) path: PathBuf,
    /// What every report of the kind begins with, and what is said of a file that does not.
    kind: (&'static str, &'static str),
    /// It may be something else than a report: it stays as it is.
    barred: AtomicBool,
    /// It is known that no pipeline reads or builds it.
    cleared: AtomicBool,
    /// The run of this process writes to it.
    pub(super) held: AtomicBool,
}

/// Ways to say standard output. As files they would be opened anew, and written from their beginning.
const STDOUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

impl ReportFiles {
    /// What `kiln run` was asked for.
    pub(crate) fn of(args: &RunArgs) -> Self {
        Self::new(args.events.clone(), args.junit.clone())
    }

    /// The same of a command line that could not be understood.
    pub(crate) fn of_words(words: &[OsString]) -> Self {
        let has = |word: &str| words.iter().any(|other| other == word);
        if !has("run") || has("-n") || has("--dry-run") {
            return Self::default();
        }
        Self::new(said(words, "--events"), said(words, "--junit"))
    }

    fn new(events: Option<PathBuf>, junit: Option<PathBuf>) -> Self {
        let file = |option, kind| {
            move |path| {
                let [barred, cleared, held] = [const { AtomicBool::new(false) }; 3];
                ReportFile { option, path, kind, barred, cleared, held }
            }
        };
        Self {
            events: events.map(file("--events", (jsonl::BEGIN, "no events"))),
            junit: junit.map(file("--junit", (junit::BEGIN, "no report"))),
        }
    }

    fn all(&self) -> impl Iterator<Item = &ReportFile> {
        self.events.iter().chain(&self.junit)
    }

    /// Whether a report goes to standard output, so that nothing else may.
    pub(crate) fn to_stdout(&self) -> bool {
        self.all().any(ReportFile::is_stdout)
    }

    /// Refuses what can be no file of reports, also for where the state was asked to be kept. Changes nothing: it may be that of a run
    /// that goes on.
    pub(crate) fn check_with(&self, state: Option<&Path>) -> Result<(), Fail> {
        let outside = self.each(|file| file.outside_state(state));
        let checked = self.check();
        outside.and(checked)
    }

    /// Checks each of them, whatever is wrong with another one: all that is refused is to stay as it is. Gives what is wrong first.
    fn each(&self, check: impl Fn(&ReportFile) -> Result<(), Fail>) -> Result<(), Fail> {
        let all: Vec<_> = self.all().map(|file| file.barring(check(file))).collect();
        all.into_iter().collect()
    }

    /// The same for what is there.
    pub(crate) fn check(&self) -> Result<(), Fail> {
        let each = self.each(ReportFile::check);
        if let (Some(events), Some(junit)) = (&self.events, &self.junit)
            && events.place() == junit.place()
        {
            let message = format!("--events and --junit: both are {}", junit.path.display());
            return Err(Fail::Usage(message, Some("give each a file of its own".to_owned())));
        }
        each
    }

    /// Refuses those that lie in what is built or around it: they would be replaced with it, or be taken for it. And those that are
    /// read: each run would find that changed.
    pub(crate) fn apart(&self, root: &Path, pipeline: &Pipeline) -> Result<(), Fail> {
        self.each(|file| {
            file.apart(root, pipeline)?;
            file.cleared.store(true, Ordering::SeqCst);
            Ok(())
        })
    }

    /// Where they lie in a root.
    pub(crate) fn below(&self, root: &Path) -> BTreeSet<String> {
        self.all().flat_map(|file| file.below(root)).collect()
    }

    /// Says in them, and on the page of the job, that no run could begin, and why. Those that another run writes to are left to it.
    pub(crate) fn none(&self, surroundings: &Surroundings, fail: &Fail) {
        let ((of, line), why) = (fail.place(), fail.plain());
        drop(self.events.as_ref().filter(|file| file.path.exists()).and_then(ReportFile::emptied));
        let out = self.junit.as_ref().and_then(|file| match file.is_stdout() {
            true => Some(Box::new(io::stdout()) as Box<dyn Write>),
            false => Some(Box::new(file.emptied()?)),
        });
        let report = out.map_or(Ok(()), |mut out| junit::refused(&mut out, of, line, &why));
        let page = surroundings.github().and_then(|_| of_github(surroundings, PAGE));
        let page = page.map_or(Ok(()), |mut page| page.write_all(github::refused(of, &why).as_bytes()));
        for error in [report, page].into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "a report does not say that no run could begin");
        }
    }
}

impl ReportFile {
    pub(super) fn is_stdout(&self) -> bool {
        STDOUT.iter().any(|stdout| self.path == Path::new(stdout))
    }

    /// How errors call it.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.option, self.path.display())
    }

    /// What is refused stays as it is.
    fn barring(&self, checked: Result<(), Fail>) -> Result<(), Fail> {
        self.barred.fetch_or(checked.is_err(), Ordering::SeqCst);
        checked
    }

    /// Refuses one that lies in what Kiln keeps, here or for another pipeline: a report in the place of a part of a history would be its end.
    fn outside_state(&self, state: Option<&Path>) -> Result<(), Fail> {
        if self.is_stdout() {
            return Ok(());
        }
        let here = Path::new(".").canonicalize().unwrap_or_default();
        // Around where Kiln is told to work there may be anything.
        let is_kept = |place: &PathBuf| {
            let below = place.strip_prefix(&here).unwrap_or(place);
            below.components().any(|part| part.as_os_str() == OWN)
        };
        let state = state.and_then(|state| state.canonicalize().ok());
        let is_in_state = |place: &PathBuf| state.as_ref().is_some_and(|state| place.starts_with(state));
        if [beside(&self.path), Some(self.place())].iter().flatten().any(|place| is_kept(place) || is_in_state(place)) {
            let help = "what is in there is for Kiln alone: name a file beside it".to_owned();
            return Err(Fail::Usage(format!("{}: it lies where Kiln keeps its state", self.name()), Some(help)));
        }
        Ok(())
    }

    /// Refuses a file that is there and is no such report: one slip more, and a pipeline or its data would be gone.
    fn check(&self) -> Result<(), Fail> {
        let metadata = std::fs::metadata(&self.path).ok().filter(Metadata::is_file);
        let Some(metadata) = metadata.filter(|_| !self.is_stdout()) else { return Ok(()) };
        let (begin, holds) = self.kind;
        let refused = |why: &str, help: Option<&str>| {
            Err(Fail::Usage(format!("{}: {why}", self.name()), help.map(str::to_owned)))
        };
        if is_shown_in(&metadata) {
            return refused("what Kiln prints goes there too", Some("name another file; `-` is standard output"));
        }
        match begins(&self.path, begin) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let why = format!("the file is there and holds {holds}");
                refused(&why, Some("name another file, or remove this one"))
            }
            Err(error) => refused(&error.to_string(), None),
        }
    }

    /// The path with all links followed, as far as it is there; the same for all ways to say one file.
    fn place(&self) -> PathBuf {
        let path = if self.is_stdout() { Path::new(STDOUT[0]) } else { &self.path };
        std::path::absolute(path).ok().and_then(|whole| real(&whole)).unwrap_or_else(|| path.to_owned())
    }

    /// Where it lies in a root: as it was said, and with links followed; nowhere if it lies elsewhere.
    fn below(&self, root: &Path) -> BTreeSet<String> {
        let real = root.canonicalize().ok();
        let places = [std::path::absolute(&self.path).ok(), beside(&self.path), Some(self.place())];
        // By way of `..` it lies wherever links lead there.
        let is_plain = |place: &&PathBuf| !place.components().any(|part| part == Component::ParentDir);
        let places = places.iter().flatten().filter(is_plain);
        let inside = |place: &PathBuf| {
            let below = place.strip_prefix(root).ok().or_else(|| place.strip_prefix(real.as_ref()?).ok())?;
            below.to_str().map(str::to_owned)
        };
        if self.is_stdout() { BTreeSet::new() } else { places.filter_map(inside).collect() }
    }

    fn apart(&self, root: &Path, pipeline: &Pipeline) -> Result<(), Fail> {
        if self.is_stdout() {
            return Ok(());
        }
        let below = self.below(root);
        let is_any = |is: &dyn Fn(&str) -> bool| below.iter().any(|below| is(below));
        let refused = |why: String, beside| {
            let help = format!("name a file beside what the pipeline {beside}");
            Err(Fail::Usage(format!("{}: {why}", self.name()), Some(help)))
        };
        let outputs: Vec<_> = pipeline.outputs().map(str::to_owned).collect();
        let reals = real_paths(root, outputs.clone());
        let touched = |(output, real): &(&String, &String)| is_any(&|path| touch(path, output) || touch(path, real));
        if let Some((output, _)) = outputs.iter().zip(&reals).find(touched) {
            return refused(format!("{output} is built, and replaced as a whole"), "builds");
        }
        let around = self.around();
        let is_around = |path: &str| root.join(path).metadata().is_ok_and(|folder| around.contains(&id(&folder)));
        let is_read = |path: &str| is_any(&|below| names(path, below) || lies_in(below, path)) || is_around(path);
        for (owner, path) in pipeline.paths().iter() {
            let path = std::str::from_utf8(path).unwrap_or_default();
            let what = match owner {
                Owner::Node(id) if pipeline.outline().maker(id).is_some() => continue,
                _ if !is_read(path) => continue,
                Owner::Node(id) => format!("{path} is read as source `{}`", pipeline.nodes[id].name),
                Owner::Recipe(id) => format!("`{}` reads {path} by its `files`", pipeline.recipes[id].name),
            };
            return refused(format!("{what}, and would find it changed by each run"), "reads");
        }
        Ok(())
    }

    /// The file and all folders around it, with links followed.
    fn around(&self) -> HashSet<(u64, u64)> {
        self.place().ancestors().filter_map(|path| Some(id(&path.metadata().ok()?))).collect()
    }

    /// The file with nothing in it, where it may be written to.
    fn emptied(&self) -> Option<File> {
        let left = self.barred.load(Ordering::SeqCst) || self.is_stdout();
        // To open a pipe might be to wait for whoever reads it.
        if left || self.path.exists() && !self.path.is_file() {
            return None;
        }
        // An empty file may be anything, a source or an output: where no pipeline could be read, nobody knows.
        let is_empty = self.path.metadata().is_ok_and(|file| file.len() == 0);
        if is_empty && !self.cleared.load(Ordering::SeqCst) {
            tracing::debug!(path = %self.path.display(), "an empty file stays as it is");
            return None;
        }
        let opened = File::options().write(true).create(true).truncate(false).open(&self.path).and_then(|file| {
            if !self.held.load(Ordering::SeqCst) {
                is_free(&file).then_some(()).ok_or(io::ErrorKind::WouldBlock)?;
            }
            file.set_len(0).map(|()| file)
        });
        let told = |error: &io::Error| {
            tracing::debug!(%error, path = %self.path.display(), "an earlier report stays as it is");
        };
        opened.inspect_err(told).ok()
    }
}

/// Whether no other run writes to a file. Some file systems have no locks: there nobody knows.
pub(super) fn is_free(file: &File) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// What follows an option among words, the last time that it was given.
pub(super) fn said(words: &[OsString], option: &str) -> Option<PathBuf> {
    let words: Vec<&OsString> = words.iter().take_while(|word| *word != "--").collect();
    let value = |i: usize| match words[i].as_bytes().strip_prefix(option.as_bytes())? {
        b"" => words.get(i + 1).map(PathBuf::from),
        [b'=', value @ ..] => Some(PathBuf::from(OsStr::from_bytes(value))),
        value => (!option.starts_with("--")).then(|| PathBuf::from(OsStr::from_bytes(value))),
    };
    (0..words.len()).rev().find_map(value)
}

/// The variable that names the page of a job on GitHub.
pub(super) const PAGE: &str = "GITHUB_STEP_SUMMARY";

/// The file of GitHub's that a variable names. In a container the variable is often there, and its file is not.
pub(super) fn of_github(surroundings: &Surroundings, variable: &str) -> Option<File> {
    let path = PathBuf::from(surroundings.var(variable)?);
    let file = File::options().append(true).open(path);
    file.inspect_err(|error| tracing::debug!(%error, "the file of {variable} cannot be written")).ok()
}

/// What the system tells it by.
fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether standard output or standard error goes to a file.
fn is_shown_in(file: &Metadata) -> bool {
    let goes = |fd: io::Result<std::os::fd::OwnedFd>| {
        let shown = fd.and_then(|fd| File::from(fd).metadata());
        shown.is_ok_and(|shown| id(&shown) == id(file))
    };
    goes(io::stdout().as_fd().try_clone_to_owned()) || goes(io::stderr().as_fd().try_clone_to_owned())
}

/// The path with the links above it followed.
fn beside(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

/// Whether a file begins so, or is empty.
fn begins(path: &Path, begin: &str) -> io::Result<bool> {
    let mut found = Vec::new();
    File::open(path)?.take(begin.len() as u64).read_to_end(&mut found)?;
    Ok(found.is_empty() || found == begin.as_bytes())
}
