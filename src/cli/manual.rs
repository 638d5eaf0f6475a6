//! `kiln man`: manual pages, made from the command line.

use std::fs;
use std::io;
use std::path::Path;

use clap::{ArgAction, CommandFactory};

use crate::base::text::did_you_mean;
use crate::cli::args::Cli;
use crate::cli::print;
use crate::exit;
use crate::session::fail::Fail;

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
    let man = clap_mangen::Man::new(command.clone()).source(concat!("Kiln ", env!("CARGO_PKG_VERSION")));
    man.render(&mut page)?;
    let page = with_values(command, &String::from_utf8_lossy(&page));
    let Some((above, extra)) = page.split_once("\n.SH EXTRA\n") else { return Ok(page) };
    let (notes, examples) = match extra.split_once("Examples:\n") {
        None => (extra, None),
        Some((notes, examples)) => (notes, Some(examples)),
    };
    let notes = if notes.trim().is_empty() { String::new() } else { format!(".SH NOTES\n{notes}") };
    let examples = examples.map(|examples| format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", examples.trim_end()));
    Ok(format!("{above}\n{notes}{}", examples.unwrap_or_default()))
}

/// A page whose synopsis says of options with a value what that is.
fn with_values(command: &clap::Command, page: &str) -> String {
    let Some((above, rest)) = page.split_once("\n.SH SYNOPSIS\n") else { return page.to_owned() };
    let (mut synopsis, below) =
        rest.split_once('\n').map_or((rest.to_owned(), ""), |(line, below)| (line.to_owned(), below));
    for option in command.get_opts() {
        let (Some(long), Some(value)) = (option.get_long(), option.get_value_names().and_then(<[_]>::first)) else {
            continue;
        };
        let name = format!("\\fB\\-\\-{}\\fR]", long.replace('-', "\\-"));
        let value = value.replace('-', "\\-");
        let optional = option.get_num_args().is_some_and(|number| number.min_values() == 0);
        let value = if optional { format!("[\\fI{value}\\fR]") } else { format!("\\fI{value}\\fR") };
        synopsis = synopsis.replace(&name, &format!("{} {value}]", name.trim_end_matches(']')));
    }
    for argument in command.get_positionals().filter(|argument| matches!(argument.get_action(), ArgAction::Append)) {
        let Some(value) = argument.get_value_names().and_then(<[_]>::first) else { continue };
        for (open, close) in [('[', ']'), ('<', '>')] {
            let name = format!("{open}\\fI{value}\\fR{close}");
            synopsis = synopsis.replace(&name, &format!("{name}..."));
        }
    }
    format!("{above}\n.SH SYNOPSIS\n{synopsis}\n{below}")
}

fn below<'a>(command: &'a clap::Command, word: &str) -> Result<&'a clap::Command, Fail> {
    command.find_subcommand(word).ok_or_else(|| {
        let known = command.get_subcommands().map(clap::Command::get_name);
        let name = command.get_bin_name().unwrap_or(command.get_name());
        let help = did_you_mean(word, known).unwrap_or_else(|| format!("`{name} --help` says what there is"));
        Fail::Usage(format!("`{name}` has no command `{word}`"), Some(help))
    })
}
