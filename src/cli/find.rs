//! Finds the pipeline file that a command works on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::surroundings::Surroundings;
use crate::session::fail::Fail;

/// The file to work on: the one that was named, or the one that there is.
pub(crate) fn find(named: Option<&Path>, surroundings: &Surroundings) -> Result<PathBuf, Fail> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let mut all = find_all(surroundings);
    match all.len() {
        1 => Ok(all.remove(0)),
        0 => Err(Fail::Usage(
            "there is no pipeline.toml here, and no pipelines/*.toml".to_owned(),
            Some("name the file with --file, or write a first one with `kiln init`".to_owned()),
        )),
        _ => {
            let names: Vec<_> = all.iter().map(|path| path.display().to_string()).collect();
            let help = format!("choose one: kiln -f {}", names[0]);
            Err(Fail::Usage(format!("there are several pipeline files: {}", names.join(", ")), Some(help)))
        }
    }
}

/// `pipeline.toml`, else all files in `pipelines/`, by name.
pub(crate) fn find_all(surroundings: &Surroundings) -> Vec<PathBuf> {
    if surroundings.folder.join("pipeline.toml").is_file() {
        return vec![PathBuf::from("pipeline.toml")];
    }
    let entries = fs::read_dir(surroundings.folder.join("pipelines"));
    let names = entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".toml")).collect();
    names.sort();
    names.into_iter().map(|name| Path::new("pipelines").join(name)).collect()
}
