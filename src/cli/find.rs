//! Finds the pipeline file that a command works on.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::base::text::{few, nearest};
use crate::cli::surroundings::Surroundings;
use crate::session::fail::Fail;

/// The file to work on: the one that was named, or the one that there is.
pub(crate) fn find(named: Option<&Path>, surroundings: &Surroundings) -> Result<PathBuf, Fail> {
    if let Some(named) = named {
        return if is_gone(named) { Err(not_there(named, surroundings)) } else { Ok(named.to_owned()) };
    }
    let mut all = find_all(surroundings);
    match all.len() {
        1 => Ok(all.remove(0)),
        0 => Err(none(surroundings)),
        _ => {
            let names = names(&all);
            let help = format!("choose one: kiln -f {}", names[0]);
            Err(Fail::Usage(format!("there are several pipeline files: {}", names.join(", ")), Some(help)))
        }
    }
}

fn is_gone(named: &Path) -> bool {
    named.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Whether a file that was named is the one that would be taken without a name.
pub(crate) fn goes_without_saying(named: &Path, surroundings: &Surroundings) -> bool {
    matches!(find_all(surroundings).as_slice(), [only] if only == named.strip_prefix(".").unwrap_or(named))
}

/// A file that was named is not there: what is?
fn not_there(named: &Path, surroundings: &Surroundings) -> Fail {
    let there = names(&find_all(surroundings));
    let help = match nearest(&named.display().to_string(), there.iter().map(String::as_str)) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if there.is_empty() => None,
        None => Some(format!("there is {}", few(&there, 4))),
    };
    Fail::Usage(format!("{} cannot be read: there is no such file", named.display()), help)
}

/// There is no file: in a folder above there may be one.
pub(crate) fn none(surroundings: &Surroundings) -> Fail {
    let here = names(&others(surroundings));
    let help = match all_above(surroundings).as_slice() {
        _ if !here.is_empty() => format!("name one of those that are here with --file: {}", few(&here, 4)),
        [above] => {
            let folder =
                if above.ends_with("pipeline.toml") { above.parent() } else { above.parent().and_then(Path::parent) };
            let folder = folder.unwrap_or(Path::new("..")).display();
            format!("there is one above: kiln -f {}, or kiln -C {folder}", above.display())
        }
        above @ [_, ..] => format!("name one of those above with --file: {}", few(&names(above), 4)),
        [] => "name the file with --file, or write a first one with `kiln init`".to_owned(),
    };
    Fail::Usage("there is no pipeline.toml here, and no pipelines/*.toml".to_owned(), Some(help))
}

/// Whether a folder above has a pipeline file.
pub(crate) fn is_above(surroundings: &Surroundings) -> bool {
    !all_above(surroundings).is_empty()
}

/// The files of the nearest folder above that has some.
fn all_above(surroundings: &Surroundings) -> Vec<PathBuf> {
    let mut way = PathBuf::new();
    let mut files = surroundings.folder.ancestors().skip(1).map(|folder| {
        way.push("..");
        files_in(folder).into_iter().map(|file| way.join(file)).collect::<Vec<_>>()
    });
    files.find(|files| !files.is_empty()).unwrap_or_default()
}

/// Files of the folder that are pipelines by what they say, and not by their names.
fn others(surroundings: &Surroundings) -> Vec<PathBuf> {
    let says = |name: &String| {
        let path = surroundings.folder.join(name);
        let text = if path.is_file() { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        text.lines().any(|line| line.trim_end() == "[pipeline]")
    };
    toml_in(&surroundings.folder).into_iter().filter(says).map(PathBuf::from).collect()
}

fn names(files: &[PathBuf]) -> Vec<String> {
    files.iter().map(|path| path.display().to_string()).collect()
}

/// The names of the TOML files of a folder, in order.
fn toml_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".toml")).collect();
    names.sort();
    names
}

/// `pipeline.toml`, else all files in `pipelines/`, by name.
pub(crate) fn find_all(surroundings: &Surroundings) -> Vec<PathBuf> {
    files_in(&surroundings.folder)
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    if folder.join("pipeline.toml").is_file() {
        return vec![PathBuf::from("pipeline.toml")];
    }
    toml_in(&folder.join("pipelines")).into_iter().map(|name| Path::new("pipelines").join(name)).collect()
}
