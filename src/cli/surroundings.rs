//! What the process was started in: environment, folder, terminal, user. The only file that asks.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::cli::args::Color;
use crate::engine::api::Environment;
use crate::engine::limit::OpenFiles;
use crate::report::github::Workspace;

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
    /// How many files may be open.
    pub(crate) open_files: OpenFiles,
}

impl Surroundings {
    /// Looks, once: the limit of open files, which only what is started keeps, is raised then.
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
    pub(crate) fn look() -> std::io::Result<Self> {
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Ok(Self {
            environment: environment.collect(),
            folder: std::env::current_dir()?,
            terminal: std::io::stdout().is_terminal(),
            error_terminal: std::io::stderr().is_terminal(),
            cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1)),
            open_files: OpenFiles::raise(),
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

    /// Where GitHub looks for files, where this is a job of GitHub's.
    pub(crate) fn github(&self) -> Option<Workspace> {
        self.var("GITHUB_ACTIONS").filter(|it| it == "true")?;
        let top = self.var("GITHUB_WORKSPACE").map(PathBuf::from);
        let top = top.map_or_else(|| self.folder.clone(), |top| top.canonicalize().unwrap_or(top));
        Some(Workspace { top, folder: self.folder.clone() })
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

    /// The time zone. It is read from the file that holds it, where that is plain to see: to look its name up is much slower, for
    /// that begins with a list of all zones.
    pub(crate) fn zone(&self) -> TimeZone {
        let read = |name: &str, file: &Path| TimeZone::tzif(name, &std::fs::read(file).ok()?).ok();
        let found = match self.environment.get("TZ").map(|zone| zone.to_str()) {
            None => read("local", Path::new("/etc/localtime")),
            Some(Some("UTC")) => Some(TimeZone::UTC),
            Some(Some(name)) if is_zone(name) && !self.environment.contains_key("TZDIR") => {
                read(name, &Path::new("/usr/share/zoneinfo").join(name))
            }
            Some(_) => None,
        };
        found.unwrap_or_else(TimeZone::system)
    }

    /// The columns and the lines of the terminal.
    pub(crate) fn size(&self) -> (u16, u16) {
        let size = terminal_size::terminal_size();
        (size.map_or(80, |(width, _)| width.0), size.map_or(24, |(_, height)| height.0))
    }

    /// The width of the terminal, in columns.
    pub(crate) fn width(&self) -> Option<u16> {
        let set = self.var("COLUMNS").and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
        set.or_else(|| terminal_size::terminal_size().map(|(width, _)| width.0))
    }
}

/// Whether a text can only be the name of a zone, such as `Europe/Paris`, and no rule and no path.
fn is_zone(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'/' | b'_');
    text.starts_with(|c: char| c.is_ascii_uppercase()) && text.contains('/') && text.bytes().all(plain)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// With one variable.
    fn with(name: &str, value: &str) -> Surroundings {
        let environment = [(name.to_owned(), value.into())].into();
        let (folder, open_files) = (PathBuf::new(), OpenFiles::default());
        Surroundings { environment, folder, terminal: false, error_terminal: false, cores: 1, open_files }
    }

    #[test]
    fn a_terminal_without_columns_is_none() {
        assert_eq!(with("COLUMNS", "72").width(), Some(72));
        assert_ne!(with("COLUMNS", "0").width(), Some(0));
    }

    #[test]
    fn a_zone_is_the_same_however_it_is_found() {
        let zone = |name: &str| with("TZ", name).zone();
        let (winter, summer) = ("2026-01-15T12:00:00Z".parse().unwrap(), "2026-07-15T12:00:00Z".parse().unwrap());
        for name in ["UTC", "Europe/Paris", "America/New_York"] {
            let Ok(known) = TimeZone::get(name) else { continue };
            for at in [winter, summer] {
                assert_eq!(zone(name).to_offset(at), known.to_offset(at), "{name}");
            }
        }
        assert!(!["", "UTC0", ":Europe/Paris", "/etc/localtime", "CET-1CEST", "../x/y"].into_iter().any(is_zone));
    }
}
