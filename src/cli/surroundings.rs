//! What the process was started in: environment, folder, terminal, user. The only file that asks.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::cli::args::Color;
use crate::engine::api::Environment;

/// What the process was started in.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// The environment, as far as its names are text.
    pub(crate) environment: Environment,
    /// The working directory.
    pub(crate) folder: PathBuf,
    /// Whether standard output is a terminal.
    pub(crate) terminal: bool,
    /// Whether standard error is a terminal.
    pub(crate) error_terminal: bool,
    /// How many steps run at once unless said otherwise.
    pub(crate) cores: u32,
}

impl Surroundings {
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
    pub(crate) fn look() -> std::io::Result<Self> {
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Ok(Self {
            environment: environment.collect(),
            folder: std::env::current_dir()?,
            terminal: std::io::stdout().is_terminal(),
            error_terminal: std::io::stderr().is_terminal(),
            cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1)),
        })
    }

    /// A variable that is set and not empty.
    pub(crate) fn var(&self, name: &str) -> Option<String> {
        self.environment.get(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
    }

    /// Whether this is a CI job.
    pub(crate) fn ci(&self) -> bool {
        self.var("CI").is_some_and(|ci| !matches!(ci.as_str(), "0" | "false" | "no"))
    }

    /// How long a child may take to end when it is asked to. A CI service kills soon after it has asked.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(if self.ci() { 5 } else { 10 })
    }

    /// Whether the terminal can be redrawn.
    pub(crate) fn live(&self) -> bool {
        self.terminal && !self.ci() && self.var("TERM").is_none_or(|term| term != "dumb")
    }

    /// Whether what goes to a terminal (or not) is coloured.
    pub(crate) fn color(&self, choice: Color, terminal: bool) -> bool {
        match choice {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let dumb = self.var("TERM").is_some_and(|term| term == "dumb");
                self.var("NO_COLOR").is_none() && terminal && !dumb
            }
        }
    }

    /// Who starts things here.
    pub(crate) fn user(&self) -> String {
        if self.ci() {
            return "ci".to_owned();
        }
        self.var("USER").or_else(|| self.var("LOGNAME")).unwrap_or_else(account)
    }

    /// The time zone. Where no variable names one it is read from the file that holds it: to look its name up is much slower.
    pub(crate) fn zone(&self) -> TimeZone {
        let file = || TimeZone::tzif("local", &std::fs::read("/etc/localtime").ok()?).ok();
        let local = if self.environment.contains_key("TZ") { None } else { file() };
        local.unwrap_or_else(TimeZone::system)
    }

    /// The columns and the lines of the terminal.
    pub(crate) fn size(&self) -> (u16, u16) {
        let size = terminal_size::terminal_size();
        (size.map_or(80, |(width, _)| width.0), size.map_or(24, |(_, height)| height.0))
    }

    /// The width of the terminal, in columns.
    pub(crate) fn width(&self) -> Option<u16> {
        let set = self.var("COLUMNS").and_then(|columns| columns.parse().ok());
        set.or_else(|| terminal_size::terminal_size().map(|(width, _)| width.0))
    }
}

/// The name of the account that the process runs under, as far as the file of accounts knows it, else its number: a
/// container often sets no `USER`.
fn account() -> String {
    let number = rustix::process::getuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    name.filter(|name| !name.is_empty()).unwrap_or(number)
}
