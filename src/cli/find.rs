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
            let names: Vec<_> = all.iter().map(|path| path.display().to_string()).collect();
            let help = format!("choose one: kiln -f {}", names[0]);
            Err(Fail::Usage(format!("there are several pipeline files: {}", names.join(", ")), Some(help)))
        }
    }
}

fn is_gone(named: &Path) -> bool {
    named.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// A file that was named is not there: what is?
fn not_there(named: &Path, surroundings: &Surroundings) -> Fail {
    let there: Vec<_> = find_all(surroundings).iter().map(|path| path.display().to_string()).collect();
    let help = match nearest(&named.display().to_string(), there.iter().map(String::as_str)) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if there.is_empty() => None,
        None => Some(format!("there is {}", few(&there, 4))),
    };
    Fail::Usage(format!("{} cannot be read: there is no such file", named.display()), help)
}

/// There is no file: in a folder above there may be one.
pub(crate) fn none(surroundings: &Surroundings) -> Fail {
    let help = match above(surroundings) {
        Some(above) => format!("there is one above: kiln -f {}", above.display()),
        None => "name the file with --file, or write a first one with `kiln init`".to_owned(),
    };
    Fail::Usage("there is no pipeline.toml here, and no pipelines/*.toml".to_owned(), Some(help))
}

/// The first file of the nearest folder above that has one.
pub(crate) fn above(surroundings: &Surroundings) -> Option<PathBuf> {
    let mut way = PathBuf::new();
    surroundings.folder.ancestors().skip(1).find_map(|folder| {
        way.push("..");
        files_in(folder).into_iter().next().map(|file| way.join(file))
    })
}

/// `pipeline.toml`, else all files in `pipelines/`, by name.
pub(crate) fn find_all(surroundings: &Surroundings) -> Vec<PathBuf> {
    files_in(&surroundings.folder)
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    if folder.join("pipeline.toml").is_file() {
        return vec![PathBuf::from("pipeline.toml")];
    }
    let entries = fs::read_dir(folder.join("pipelines"));
    let names = entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".toml")).collect();
    names.sort();
    names.into_iter().map(|name| Path::new("pipelines").join(name)).collect()
}
