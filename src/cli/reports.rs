//! Where a run is told: on the screen, and in the files that were asked for or that a build server names. They are opened before
//! anything is done, so that a run is not made in vain. Does not know what is told.

use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::cli::Context;
use crate::cli::args::RunArgs;
use crate::report::api::Reporter;
use crate::report::github::{self, Github};
use crate::report::named::Named;
use crate::report::outlet::Outlet;
use crate::report::outputs::Outputs;
use crate::report::{Setup as Screen, jsonl, junit, reporter};
use crate::session::fail::Fail;

/// The files that a run is told in besides the screen.
pub(crate) struct Reports {
    /// What `--events` comes to: none inside for standard output.
    events: Option<Option<Named<BufWriter<File>>>>,
    junit: Option<Named<BufWriter<File>>>,
}

impl Reports {
    /// Refuses what can be no file of reports. Changes nothing: it may be that of a run that goes on.
    pub(crate) fn check(args: &RunArgs) -> Result<(), Fail> {
        if let Some(path) = args.events.as_deref().filter(|_| !to_stdout(args)) {
            replaceable("--events", path, jsonl::BEGIN, "no events")?;
        }
        match args.junit.as_deref() {
            None => Ok(()),
            Some(path) if path == Path::new("-") => {
                let help = "standard output is /dev/stdout".to_owned();
                Err(Fail::Usage("--junit -: a report is written to a file".to_owned(), Some(help)))
            }
            Some(path) => replaceable("--junit", path, junit::BEGIN, "no report"),
        }
    }

    /// Says in the files of reports that no run could begin, so that none of an earlier one passes for that of this one. Those that a
    /// run writes to are left to it.
    pub(crate) fn none(context: &Context, args: &RunArgs, fail: &Fail) {
        let open = |path: &Path| {
            // To open a pipe might be to wait for whoever reads it.
            if path.exists() && !path.is_file() {
                return None;
            }
            let opened = File::options().write(true).create(true).truncate(false).open(path).and_then(|file| {
                file.try_lock()?;
                file.set_len(0).map(|()| file)
            });
            let told = |error: &io::Error| {
                tracing::debug!(%error, path = %path.display(), "an earlier report stays as it is");
            };
            opened.inspect_err(told).ok()
        };
        drop(args.events.as_deref().filter(|path| !to_stdout(args) && path.exists()).and_then(open));
        refused(context, args.junit.as_deref().and_then(open).as_mut(), fail);
    }

    /// The same where the files are open.
    pub(crate) fn refused(&mut self, context: &Context, fail: &Fail) {
        refused(context, self.junit.as_mut(), fail);
    }

    /// Empties the files that were asked for. Only a run that has its lock may do that.
    pub(crate) fn open(args: &RunArgs) -> Result<Self, Fail> {
        Self::check(args)?;
        let events = args.events.as_deref().map(|path| match to_stdout(args) {
            true => Ok(None),
            false => create("--events", path).map(Some),
        });
        let junit = args.junit.as_deref().map(|path| create("--junit", path));
        Ok(Self { events: events.transpose()?, junit: junit.transpose()? })
    }

    /// All that show or report a run.
    pub(crate) fn reporters(
        self,
        context: &Context,
        state: &Path,
        args: &RunArgs,
    ) -> io::Result<Vec<Box<dyn Reporter>>> {
        let surroundings = context.surroundings.clone();
        let size = move || surroundings.size();
        let to_stdout = to_stdout(args);
        let live = !to_stdout && context.surroundings.live();
        let stdout = || Outlet::new(Named::new("standard output", io::stdout()));
        let out = if to_stdout { Outlet::new(io::stderr())? } else { stdout()? };
        let state = context.shown(state);
        let mut reporters = vec![reporter(Screen {
            out: Box::new(out.clone()),
            style: context.style(),
            output: args.output,
            state: state.clone(),
            terminal: if live { Some(Box::new(size)) } else { None },
        })];
        match self.events {
            None => {}
            Some(None) => reporters.push(Box::new(jsonl::JsonLines::new(stdout()?))),
            Some(Some(file)) => reporters.push(Box::new(jsonl::JsonLines::new(Outlet::new(file)?))),
        }
        if let Some(file) = self.junit {
            reporters.push(Box::new(junit::Junit::new(file, state.as_str())));
        }
        if let Some(workspace) = context.surroundings.github().filter(|_| !live) {
            let style = crate::report::Style::plain(context.surroundings.zone());
            reporters.push(Box::new(Github::new(out, of_github(context, PAGE), workspace, style, state)));
            if let Some(file) = of_github(context, "GITHUB_OUTPUT") {
                reporters.push(Box::new(Outputs(file)));
            }
        }
        Ok(reporters)
    }
}

/// Says in the report of tests and on the page of the job that no run could begin, and why.
fn refused(context: &Context, junit: Option<&mut impl io::Write>, fail: &Fail) {
    let ((of, line), why) = (fail.place(), fail.plain());
    let report = junit.map_or(Ok(()), |out| junit::refused(out, of, line, &why));
    let page = context.surroundings.github().and_then(|_| of_github(context, PAGE));
    let page = page.map_or(Ok(()), |mut page| page.write_all(github::refused(of, &why).as_bytes()));
    for error in [report, page].into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "a report does not say that no run could begin");
    }
}

/// Whether events go to standard output, so that nothing else may.
pub(crate) fn to_stdout(args: &RunArgs) -> bool {
    args.events.as_deref() == Some(Path::new("-"))
}

/// The variable that names the page of a job on GitHub.
const PAGE: &str = "GITHUB_STEP_SUMMARY";

/// The file of GitHub's that a variable names. In a container the variable is often there, and its file is not.
fn of_github(context: &Context, variable: &str) -> Option<File> {
    let path = PathBuf::from(context.surroundings.var(variable)?);
    let file = File::options().append(true).open(path);
    file.inspect_err(|error| tracing::debug!(%error, "the file of {variable} cannot be written")).ok()
}

/// Refuses a file that is there and is no such report: one slip more, and a pipeline or its data would be gone.
fn replaceable(option: &str, path: &Path, begin: &str, holds: &str) -> Result<(), Fail> {
    let name = format!("{option} {}", path.display());
    if is_something_else(path, begin).map_err(|error| Fail::Usage(format!("{name}: {error}"), None))? {
        let message = format!("{name}: the file is there and holds {holds}");
        return Err(Fail::Usage(message, Some("name another file, or remove this one".to_owned())));
    }
    Ok(())
}

fn create(option: &str, path: &Path) -> Result<Named<BufWriter<File>>, Fail> {
    let name = format!("{option} {}", path.display());
    let cannot = |error: io::Error| Fail::Usage(format!("{name}: {error}"), None);
    let file = File::options().write(true).create(true).truncate(false).open(path).map_err(cannot)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            return Err(Fail::Usage(format!("{name}: another run writes to it"), Some("name another file".to_owned())));
        }
        // Some file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        file.set_len(0).map_err(cannot)?;
    }
    Ok(Named::new(name, BufWriter::new(file)))
}

fn is_something_else(path: &Path, begin: &str) -> io::Result<bool> {
    if !std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0) {
        return Ok(false);
    }
    let mut found = Vec::new();
    File::open(path)?.take(begin.len() as u64).read_to_end(&mut found)?;
    Ok(found != begin.as_bytes())
}
