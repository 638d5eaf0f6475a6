//! The command line: one file for each command. Only here is the environment read and are mistakes rendered.

mod abort;
mod about;
mod adopt;
pub mod args;
mod candidates;
mod check;
mod completions;
mod dss;
mod fail;
mod failed;
mod find;
mod follow;
mod gc;
mod hint;
mod import;
mod init;
mod jobs;
mod jobs_abort;
mod jobs_wait;
mod list;
mod manual;
mod plan;
mod remote;
mod report_files;
mod reports;
mod room;
mod run;
mod schema;
mod serve;
mod step_log;
mod surroundings;
mod table;
mod tame;
mod why;

use std::ffi::OsString;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::base::text::clean_lines;
use crate::cli::args::{Cli, Color, Command, Everywhere};
use crate::cli::report_files::{ReportFiles, said};
use crate::cli::surroundings::Surroundings;
use crate::exit;
use crate::report::diagnostics::Diagnostics;
use crate::report::line::fold;
use crate::report::style::Style;
use crate::session::Site;
use crate::session::fail::Fail;
use crate::signal::survive_large_files;

/// What every command is given.
pub(crate) struct Context {
    pub(crate) file: Option<PathBuf>,
    /// All files that were named; only the server takes more than one.
    pub(crate) files: Vec<PathBuf>,
    /// The folder that was gone to.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) color: Color,
    pub(crate) surroundings: Surroundings,
    pub(crate) diagnostics: Diagnostics,
}

impl Context {
    /// Where requests are made.
    pub(crate) fn site(&self) -> Site {
        let Surroundings { environment, folder, cores, open_files, .. } = self.surroundings.clone();
        Site {
            folder,
            directory: self.directory.clone(),
            state: self.state.clone(),
            environment,
            cores,
            grace: self.surroundings.grace(),
            open_files,
        }
    }

    /// How standard output is written to.
    pub(crate) fn style(&self) -> Style {
        Style {
            color: self.surroundings.color(self.color, self.surroundings.terminal),
            width: self.surroundings.terminal.then(|| self.surroundings.width()).flatten(),
            zone: self.surroundings.zone(),
        }
    }

    /// A path as it is shown: relative to the working directory where it lies in it.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.surroundings.folder).unwrap_or(path).display().to_string()
    }

    /// How mistakes are rendered on standard error.
    fn render(&self, fail: &Fail) -> String {
        self.rendered(fail, self.surroundings.color(self.color, self.surroundings.error_terminal))
    }

    /// How mistakes are rendered on standard output, where they are the answer.
    pub(crate) fn render_out(&self, fail: &Fail) -> String {
        self.rendered(fail, self.style().color)
    }

    fn rendered(&self, fail: &Fail, color: bool) -> String {
        let text = fail.render(color, self.render_width());
        match (fail, self.surroundings.github()) {
            (Fail::Mistakes(source, problems), Some(workspace)) => text + &workspace.mistakes(source, problems),
            _ => text,
        }
    }

    /// How wide mistakes are rendered, in columns.
    pub(crate) fn render_width(&self) -> usize {
        usize::from(self.surroundings.width().unwrap_or(100).clamp(40, 120))
    }
}

/// Runs a command line. Returns the exit code.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::read(arguments.clone()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes. A closed pipe cannot be told of anything.
            let error = hint::hint(error);
            drop(error.print());
            return if error.use_stderr() { unread(&arguments, &error.to_string()) } else { exit::OK };
        }
    };
    let Cli { command, everywhere: Everywhere { file, directory, state, color, verbose } } = cli;
    if let Some(Err(error)) = directory.as_ref().map(std::env::set_current_dir) {
        let named = directory.as_deref().unwrap_or(Path::new("")).display();
        return tell(&clean_lines(&format!("error: -C {named}: {error}\n")), exit::WRONG);
    }
    let surroundings = match Surroundings::look() {
        Ok(surroundings) => surroundings,
        Err(error) => return tell(&format!("error: there is no working directory: {error}\n"), exit::SURROUNDINGS),
    };
    let diagnostics = diagnostics(verbose, &surroundings);
    if let Err(error) = survive_large_files() {
        tracing::warn!(%error, "a file that becomes too large will end Kiln");
    }
    // A variable that is empty is one that is not set.
    let named = || surroundings.environment.get("KILN_STATE").filter(|state| !state.is_empty()).map(PathBuf::from);
    let state = state.or_else(named);
    let context =
        Context { file: file.first().cloned(), files: file, directory, state, color, surroundings, diagnostics };
    guarded(|| match dispatch(&context, command) {
        Ok(code) => code,
        // Mistakes are drawn as wide as the terminal is.
        Err(fail @ Fail::Mistakes(..)) => tell(&context.render(&fail), fail.code()),
        Err(fail) => tell(&told(&context.render(&fail)), fail.code()),
    })
}

/// Says in the reports that were asked for, as far as can be seen, that the command line was not understood.
fn unread(arguments: &[OsString], error: &str) -> u8 {
    let error = error.split("\n\nUsage:").next().unwrap_or_default().split("\n\nFor more").next().unwrap_or_default();
    let fail = Fail::Usage(error.trim_start_matches("error: ").trim_end().to_owned(), None);
    let folder = said(arguments, "-C").or_else(|| said(arguments, "--directory"));
    if folder.is_none_or(|folder| std::env::set_current_dir(folder).is_ok())
        && let Ok(surroundings) = Surroundings::look()
    {
        let files = ReportFiles::of_words(arguments);
        // What may be no report is barred by that.
        drop(files.check_with(None));
        files.none(&surroundings, &fail);
    }
    fail.code()
}

/// A panic is a bug of ours and has an exit code of its own. What it says was printed already.
fn guarded(command: impl FnOnce() -> u8) -> u8 {
    std::panic::catch_unwind(AssertUnwindSafe(command))
        .unwrap_or_else(|_| tell("error: this is a bug in Kiln; please report it with what stands above\n", exit::BUG))
}

fn dispatch(context: &Context, command: Command) -> Result<u8, Fail> {
    if context.files.len() > 1 && !matches!(command, Command::Serve(_) | Command::Check { .. }) {
        let help = "`kiln serve` and `kiln check` take several".to_owned();
        return Err(Fail::Usage("--file: this command works on one file".to_owned(), Some(help)));
    }
    match command {
        Command::Run(args) if args.dry_run => plan::dry_run(context, args),
        Command::Run(args) => run::run(context, &args),
        Command::Plan(args) => plan::plan(context, &args),
        Command::Check { files, var, engine } => check::check(context, files, &var, engine.as_deref()),
        Command::List { targets, exclude, format } => list::list(context, &targets, &exclude, format),
        Command::Show { name } => list::show(context, &name),
        Command::Why(args) => why::why(context, &args),
        Command::Jobs(mut args) => match args.engine.take() {
            Some(engine) if engine != crate::engine::local::NAME => remote::jobs(context, &engine, args),
            _ => jobs::jobs(context, args.command),
        },
        Command::Import(import) => import::import(context, import),
        Command::Serve(args) => serve::serve(context, &args),
        Command::Adopt(args) => adopt::adopt(context, &args),
        Command::Gc(args) => gc::gc(context, &args),
        Command::Completions { shell } => completions::completions(shell),
        Command::Man { command, into } => manual::man(&command, into.as_deref()),
        Command::Schema { what } => schema::schema(what),
        Command::Init => init::init(context),
        Command::Candidates { what, word } => {
            candidates::candidates(context, what, word.as_deref().unwrap_or_default())
        }
        Command::Guardian { files } => {
            let guarded = crate::engine::local::guardian::guard(files);
            guarded.map(|()| exit::OK).map_err(|error| Fail::because("no guardian", &error))
        }
    }
}

/// Something large that is used to the end of the process: to take it apart takes longer than to leave it to the system.
pub(crate) fn to_the_end<T>(value: T) -> ManuallyDrop<T> {
    ManuallyDrop::new(value)
}

fn tell(text: &str, code: u8) -> u8 {
    // If standard error is closed there is nobody to tell.
    drop(io::stderr().write_all(text.as_bytes()));
    code
}

/// Writes to standard output. A reader that went away has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Fail> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unprinted(&error)),
        _ => Ok(()),
    }
}

/// Tells something by the way that is worth knowing. A closed pipe cannot be told of anything.
pub(crate) fn note(text: &str) {
    drop(io::stderr().write_all(told(&format!("note: {}\n", clean_lines(text))).as_bytes()));
}

/// What is told by the way, folded where standard error is a terminal.
fn told(text: &str) -> String {
    fold(text, terminal_size::terminal_size_of(io::stderr()).map(|(width, _)| usize::from(width.0)))
}

/// What is told where standard output cannot be written.
pub(crate) fn unprinted(error: &io::Error) -> Fail {
    Fail::Surroundings(format!("standard output cannot be written: {error}"))
}

/// Writes what Kiln warns of as all else that it tells by the way: `warning: …`.
struct Warning;

impl<S, N> FormatEvent<S, N> for Warning
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        let error = *event.metadata().level() == tracing::Level::ERROR;
        let mut text = String::from(if error { "error: " } else { "warning: " });
        context.format_fields(Writer::new(&mut text), event)?;
        text.push('\n');
        out.write_str(&told(&text))
    }
}

/// Kiln's own diagnostics go to standard error. Off unless asked for.
fn diagnostics(verbose: u8, surroundings: &Surroundings) -> Diagnostics {
    let level = match verbose {
        0 => "warn",
        1 => "kiln=debug",
        _ => "trace",
    };
    let said = surroundings.var("KILN_LOG");
    let asked = verbose > 0 || said.is_some();
    let filter = said.unwrap_or_else(|| level.to_owned());
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(filter);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(verbose > 1);
    let diagnostics = Diagnostics::default();
    let to = diagnostics.clone();
    let subscriber = subscriber.with_writer(move || to.clone());
    let subscriber = subscriber.with_ansi(surroundings.error_terminal);
    // The second of two command lines in one process (a test) keeps the first one's.
    if asked {
        drop(subscriber.try_init());
    } else {
        drop(subscriber.event_format(Warning).try_init());
    }
    diagnostics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_has_its_exit_code() {
        assert_eq!(guarded(|| exit::OK), exit::OK);
        assert_eq!(guarded(|| panic!("on purpose")), exit::BUG);
    }
}
