//! `kiln init`: a first pipeline file that runs.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use crate::cli::find::find_all;
use crate::cli::{Context, print};
use crate::exit;
use crate::session::fail::Fail;

/// The file. It needs nothing but a POSIX shell.
const FIRST: &str = include_str!("init.toml");

pub(crate) fn init(context: &Context) -> Result<u8, Fail> {
    let others = find_all(&context.surroundings);
    let path = context.surroundings.folder.join("pipeline.toml");
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = file.map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            let help = "`kiln plan` shows what it would build".to_owned();
            Fail::Usage("there is a pipeline.toml here already".to_owned(), Some(help))
        } else {
            Fail::Surroundings(format!("{}: {error}", path.display()))
        }
    })?;
    file.write_all(FIRST.as_bytes()).map_err(|error| Fail::Surroundings(format!("{}: {error}", path.display())))?;
    print("wrote pipeline.toml; try `kiln plan`, then `kiln run`\n")?;
    if let Some(other) = others.first() {
        print(&format!("without --file it is taken now, and not {}: `-f {0}` names that\n", other.display()))?;
    }
    Ok(exit::OK)
}
