//! `kiln completions` and `kiln man`: what other programs can be told about the command line, made from it.

use std::fs;
use std::io;
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
            write_all(&kiln, folder).map_err(cannot)?;
        }
        None => {
            let command = words.iter().try_fold(&kiln, |command, word| below(command, word))?;
            print(&page(command).map_err(|error| Fail::because("the page", &error))?)?;
        }
    }
    Ok(exit::OK)
}

/// Writes the pages of a command and of all below it.
fn write_all(command: &clap::Command, folder: &Path) -> io::Result<()> {
    fs::write(folder.join(clap_mangen::Man::new(command.clone()).get_filename()), page(command)?)?;
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    below.into_iter().try_for_each(|command| write_all(command, folder))
}

/// The page of a command. What its help says at the end stands under headings that readers of manuals look for.
fn page(command: &clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    let page = String::from_utf8_lossy(&page).into_owned();
    let Some((above, extra)) = page.split_once("\n.SH EXTRA\n") else { return Ok(page) };
    let (notes, examples) = match extra.split_once("Examples:\n") {
        None => (extra, None),
        Some((notes, examples)) => (notes, Some(examples)),
    };
    let notes = if notes.trim().is_empty() { String::new() } else { format!(".SH NOTES\n{notes}") };
    let examples = examples.map(|examples| format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", examples.trim_end()));
    Ok(format!("{above}\n{notes}{}", examples.unwrap_or_default()))
}

fn below<'a>(command: &'a clap::Command, word: &str) -> Result<&'a clap::Command, Fail> {
    command.find_subcommand(word).ok_or_else(|| {
        let known = command.get_subcommands().map(clap::Command::get_name);
        let help = did_you_mean(word, known).unwrap_or_else(|| format!("`{command} --help` says what there is"));
        Fail::Usage(format!("`{command}` has no command `{word}`"), Some(help))
    })
}
