//! `kiln completions` and `kiln man`: what other programs can be told about the command line, made from it.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::base::text::did_you_mean;
use crate::cli::args::Cli;
use crate::cli::print;
use crate::exit;
use crate::session::fail::Fail;

/// What makes a shell complete.
pub(crate) fn completions(shell: Shell) -> Result<u8, Fail> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kiln", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(exit::OK)
}

/// One manual page on standard output, or all of them in a folder.
pub(crate) fn man(words: &[String], into: Option<&Path>) -> Result<u8, Fail> {
    let mut kiln = Cli::command();
    kiln.build();
    match into {
        Some(folder) => {
            let cannot = |error| Fail::because(&format!("{} cannot be written", folder.display()), &error);
            fs::create_dir_all(folder).map_err(cannot)?;
            clap_mangen::generate_to(Cli::command(), folder).map_err(cannot)?;
        }
        None => {
            let command = words.iter().try_fold(&kiln, |command, word| below(command, word))?;
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(command.clone()).render(&mut page);
            rendered.map_err(|error| Fail::because("the page", &error))?;
            print(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(exit::OK)
}

fn below<'a>(command: &'a clap::Command, word: &str) -> Result<&'a clap::Command, Fail> {
    command.find_subcommand(word).ok_or_else(|| {
        let known = command.get_subcommands().map(clap::Command::get_name);
        let help = did_you_mean(word, known).unwrap_or_else(|| format!("`{command} --help` says what there is"));
        Fail::Usage(format!("`{command}` has no command `{word}`"), Some(help))
    })
}
