//! `kiln completions` and `kiln man`: what other programs can be told about the command line, made from it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use clap::{CommandFactory, ValueHint};
use clap_complete::Shell;

use crate::base::text::did_you_mean;
use crate::cli::args::Cli;
use crate::cli::print;
use crate::exit;
use crate::session::fail::Fail;

/// What makes a shell complete.
pub(crate) fn completions(shell: Shell) -> Result<u8, Fail> {
    let mut script = Vec::new();
    let mut kiln = visible();
    clap_complete::generate(shell, &mut kiln, "kiln", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Bash {
        script += &names_in_bash(&kiln);
    }
    print(&script)?;
    Ok(exit::OK)
}

/// The command line without what nobody is meant to type.
fn visible() -> clap::Command {
    let kiln = Cli::command();
    let commands = kiln.get_subcommands().filter(|command| !command.is_hide_set());
    clap::Command::new("kiln")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .args(kiln.get_arguments())
        .subcommands(commands)
}

/// Bash knows of an argument only that it may be a file: where names are meant, those of the pipeline stand instead.
fn names_in_bash(kiln: &clap::Command) -> String {
    let is_named = |command: &&clap::Command| {
        command.get_positionals().any(|argument| argument.get_value_hint() == ValueHint::Other)
    };
    let named: Vec<_> = kiln.get_subcommands().filter(is_named).collect();
    let options = named.iter().flat_map(|command| command.get_opts());
    let options: BTreeSet<String> = options.flat_map(spelled).collect();
    let commands: Vec<_> = named.iter().map(|command| command.get_name()).collect();
    let options: Vec<_> = options.into_iter().collect();
    NAMES_IN_BASH.replace("COMMANDS", &commands.join("|")).replace("OPTIONS", &options.join("|"))
}

/// How an option that takes a value is written.
fn spelled(option: &clap::Arg) -> impl Iterator<Item = String> {
    let long = option.get_long().map(|long| format!("--{long}"));
    long.into_iter().chain(option.get_short().map(|short| format!("-{short}")))
}

const NAMES_IN_BASH: &str = r#"
_kiln_names() {
    _kiln "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" i file=()
    [[ ${COMP_CWORD} -lt 2 || ${cur} == -* ]] && return 0
    case "${COMP_WORDS[1]}" in COMMANDS) ;; *) return 0 ;; esac
    case "${prev}" in OPTIONS) return 0 ;; esac
    for ((i = 2; i < COMP_CWORD; i++)); do
        case "${COMP_WORDS[i]}" in -f|--file) file=(-f "${COMP_WORDS[i+1]}") ;; esac
    done
    compopt +o default +o bashdefault 2>/dev/null
    COMPREPLY=($(compgen -W "$("$1" list "${file[@]}" 2>/dev/null | awk 'NR > 1 { print $1 }')" -- "${cur}"))
    return 0
}
complete -F _kiln_names -o bashdefault -o default kiln
"#;

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
