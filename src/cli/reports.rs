//! Where a run is told: on the screen, and in the files that were asked for or that a build server names. They are opened before
//! anything is done, so that a run is not made in vain. Does not know what is told.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::cli::Context;
use crate::cli::args::RunArgs;
use crate::cli::report_files::{PAGE, ReportFile, ReportFiles, is_free, of_github};
use crate::report::api::Reporter;
use crate::report::github::Github;
use crate::report::named::Named;
use crate::report::outlet::Outlet;
use crate::report::outputs::Outputs;
use crate::report::{Setup as Screen, jsonl, junit, reporter};
use crate::session::fail::Fail;

/// The files that a run is told in besides the screen.
pub(crate) struct Reports {
    events: Option<To>,
    junit: Option<To>,
}

/// Where a report is written.
enum To {
    Stdout,
    File(Named<BufWriter<File>>),
}

impl Reports {
    /// Empties the files that were asked for. Only a run that has its lock may do that.
    pub(crate) fn open(files: &ReportFiles) -> Result<Self, Fail> {
        files.check()?;
        let open = |file: &Option<ReportFile>| file.as_ref().map(open).transpose();
        Ok(Self { events: open(&files.events)?, junit: open(&files.junit)? })
    }

    /// All that show or report a run.
    pub(crate) fn reporters(
        self,
        context: &Context,
        state: &Path,
        args: &RunArgs,
        to_stdout: bool,
    ) -> io::Result<Vec<Box<dyn Reporter>>> {
        let surroundings = context.surroundings.clone();
        let size = move || surroundings.size();
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
            diagnostics: context.surroundings.error_terminal.then(|| context.diagnostics.clone()),
        })];
        match self.events {
            None => {}
            Some(To::Stdout) => reporters.push(Box::new(jsonl::JsonLines::new(stdout()?))),
            Some(To::File(file)) => reporters.push(Box::new(jsonl::JsonLines::new(Outlet::new(file)?))),
        }
        match self.junit {
            None => {}
            Some(To::Stdout) => reporters.push(Box::new(junit::Junit::new(stdout()?, state.as_str()))),
            Some(To::File(file)) => reporters.push(Box::new(junit::Junit::new(file, state.as_str()))),
        }
        if let Some(workspace) = context.surroundings.github().filter(|_| !live) {
            let style = crate::report::Style::plain(context.surroundings.zone());
            reporters.push(Box::new(Github::new(out, of_github(&context.surroundings, PAGE), workspace, style, state)));
            if let Some(file) = of_github(&context.surroundings, "GITHUB_OUTPUT") {
                reporters.push(Box::new(Outputs(file)));
            }
        }
        Ok(reporters)
    }
}

fn open(asked: &ReportFile) -> Result<To, Fail> {
    if asked.is_stdout() {
        return Ok(To::Stdout);
    }
    let name = asked.name();
    let cannot = |error: io::Error| Fail::Usage(format!("{name}: {error}"), None);
    let file = File::options().write(true).create(true).truncate(false).open(&asked.path).map_err(cannot)?;
    if !is_free(&file) {
        return Err(Fail::Usage(format!("{name}: another run writes to it"), Some("name another file".to_owned())));
    }
    asked.held.store(true, Ordering::SeqCst);
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        file.set_len(0).map_err(cannot)?;
    }
    Ok(To::File(Named::new(name, BufWriter::new(file))))
}
