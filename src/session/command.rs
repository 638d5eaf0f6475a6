//! A request as a command, to which targets can be added. Does not know who asks.

use std::path::Path;

use crate::pipeline::template::command_line;
use crate::session::{Request, Site};

/// How a run would be asked for once more, of this file if it has to be named.
pub(crate) fn command(site: &Site, file: Option<&Path>, request: &Request, keep_going: bool) -> String {
    let mut words = vec!["kiln".to_owned(), "run".to_owned()];
    words.extend(keep_going.then(|| "-k".to_owned()));
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    if let Some(directory) = &site.directory {
        option("-C", directory.display().to_string());
    }
    if let Some(jobs) = request.jobs {
        option("-j", jobs.to_string());
    }
    if let Some(file) = file {
        option("-f", file.display().to_string());
    }
    if let Some(state) = &site.state {
        option("--state", state.display().to_string());
    }
    let said = [("--engine", &request.engine), ("--project", &request.project), ("--partition", &request.partition)];
    for (name, value) in said {
        if let Some(value) = value {
            option(name, value.clone());
        }
    }
    for left_out in &request.exclude {
        option("--exclude", left_out.clone());
    }
    for (name, value) in &request.vars {
        option("--var", format!("{name}={value}"));
    }
    command_line(&words)
}

/// How a file would be run with a state, wherever that is said: neither the working directory nor the environment changes it.
pub(crate) fn run_with(file: &Path, state: &Path) -> String {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let options = [("-f", file.as_path()), ("--state", state)];
    let options = options.into_iter().flat_map(|(name, path)| [name.to_owned(), path.display().to_string()]);
    command_line(&["kiln".to_owned(), "run".to_owned()].into_iter().chain(options).collect::<Vec<_>>())
}
